/* request.h: what a node says about itself when it registers and when it asks for the map (tailnet-protocol.md 3 and 4.1).
 *
 * Plain values; pointers are borrowed for the call only, NULL and 0 leave a field out. Every map request carries the whole:
 * servers replace what they knew by it.
 */
#ifndef GSI_TAILNET_CONTROL_REQUEST_H
#define GSI_TAILNET_CONTROL_REQUEST_H

#include "tailnet/crypto/crypto.h"
#include "tailnet/disco/own.h"
#include "tailnet/endpoint/endpoint.h"

/* What is promised by declaring it: tailnet-protocol.md 4.6. At least 113 for headscale, below 120 without peer relays. */
enum { CAPABILITY_VERSION = 115 };

enum known { NOT_KNOWN, KNOWN_NO, KNOWN_YES };

struct derp_latency {
    int region;
    bool v6;
    uint64_t ns;
};

struct net_info {
    enum known mapping_varies_by_dest_ip, working_ipv6, os_has_ipv6, working_udp, working_icmpv4, upnp, pmp, pcp;
    int preferred_derp; /* the home region: without it nobody reaches us over DERP */
    const char *link_type;
    const struct derp_latency *latencies;
    size_t latencies_n;
};

struct hostinfo {
    const char *hostname; /* the wish; control decides */
    const char *os, *os_version, *app, *package, *ipn_version;
    const char *backend_log_id; /* 64 hex digits */
    const char *const *routable_ips; /* prefixes that this node offers to route */
    size_t routable_ips_n;
    const char *const *request_tags;
    size_t request_tags_n;
    bool userspace, userspace_router, shields_up, no_logs_no_support;
    const struct net_info *net;
};

struct register_request {
    const uint8_t *node_key;     /* public */
    const uint8_t *old_node_key; /* when it replaces one */
    const char *auth_key;
    const char *followup;        /* the login URL that was told: waits until the login is done */
    bool ephemeral;
    const struct hostinfo *host;
};

struct map_request {
    const uint8_t *node_key, *disco_key; /* public */
    const struct hostinfo *host;
    const struct own_endpoint *endpoints;
    size_t endpoints_n;
    bool compress; /* zstd; for the stream only */
};

/* The bodies as JSON: their length; -ENOBUFS, GS_EINVALID (a key or the Hostinfo is missing, a text is not UTF-8). */
GS_MUST_USE ssize_t gsi_register_body(void *out, size_t cap, uint16_t version, const struct register_request *r, bool logout);
GS_MUST_USE ssize_t gsi_map_body(void *out, size_t cap, uint16_t version, const struct map_request *r, bool stream);

#endif
