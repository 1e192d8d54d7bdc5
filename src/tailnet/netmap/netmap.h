/* netmap.h: what the control server says the network is: this node, its peers, relays, names, users and filter rules
 * (tailcfg.MapResponse).
 *
 * A message is read in two steps. gsi_map_parse makes an update of it: slow for a big map, touches nothing else, any thread.
 * gsi_netmap_apply puts the update in, in the thread that owns the map, in milliseconds for 10,000 peers; when it fails
 * nothing has changed. Then gsi_netmap_next tells what changed. A stream of messages begins with gsi_netmap_start: its first
 * message is a whole snapshot, until which the old map stays.
 *
 *     struct map_update *u;
 *     struct map_error why;
 *     int e = gsi_map_parse(json, n, &u, &why);
 *     if (e == 0)
 *         e = gsi_netmap_apply(m, u, wall_s, &why);      // takes u
 *     for (struct map_event ev; e == 0 && gsi_netmap_next(m, &ev);)
 *         switch (ev.kind) { case MAP_PEER: … }
 *
 * What is found in a map is borrowed, and constant, until the next apply or free.
 */
#ifndef GSI_TAILNET_NETMAP_H
#define GSI_TAILNET_NETMAP_H

#include "tailnet/crypto/crypto.h"
#include "tailnet/endpoint/endpoint.h"
#include "tailnet/filter/filter.h"
#include "tailnet/json/json.h"

enum {
    MAP_PEERS_MAX = 100000,
    MAP_ENDPOINTS_MAX = 100,   /* of a node: the first ones count */
    MAP_PREFIXES_MAX = 4096,   /* of a node's list */
    MAP_NODE_BYTES = 1 << 20,  /* all texts and lists of a node */
    MAP_RULES_BYTES = 64 << 20, /* of a named filter, likewise of the DERP map, the DNS configuration, … */
    MAP_TEXT_MAX = 1023,       /* names and the like; longer ones make a message invalid */
    MAP_NAMED_MAX = 4096,      /* named filters, display messages */
    MAP_REGIONS_MAX = 4096,
    MAP_USERS_MAX = 200000,
};

/* ---- what is in a map ---- */

/* A capability: values is a JSON array as it stood in the message, NULL for none. */
struct map_cap {
    const char *name, *values;
};

enum map_known { MAP_UNKNOWN, MAP_NO, MAP_YES };

/* This node or a peer. Lists that are absent have 0 entries. Texts are never NULL. */
struct map_node {
    int64_t id, user, sharer;
    uint8_t key[KEY_LEN], disco[KEY_LEN], machine[KEY_LEN]; /* zero: none */
    struct json_time key_expiry, last_seen;
    uint32_t home_derp; /* region; 0: none */
    uint32_t cap;       /* capability version */
    uint32_t addresses_n, allowed_n, routes_n, endpoints_n, tags_n, caps_n;
    const struct prefix *addresses;
    const struct prefix *allowed; /* AllowedIPs, by the rules of absent lists and of unsigned peers */
    const struct prefix *routes;  /* PrimaryRoutes */
    const struct endpoint *endpoints;
    const char *const *tags;
    const struct map_cap *caps; /* CapMap and Capabilities */
    const char *name;           /* as sent: with its dot at the end */
    const char *stable_id, *hostname, *os;
    struct ip masquerade_v4, masquerade_v6; /* under which this peer knows us */
    uint8_t online;                         /* enum map_known */
    bool machine_authorized, expired, unsigned_peer_api_only, wireguard_only, jailed, has_signature;
    uint32_t size; /* of this block */
};

struct map_user {
    int64_t id;
    const char *login, *display, *picture;
};

struct map_derp_node {
    const char *name, *host, *cert; /* cert: see CertName in the reference, 5.1 */
    const char *ipv4, *ipv6;        /* "": resolve host; anything but an address: this family is off */
    const char *stun_test_ip;
    int32_t region, stun_port, derp_port; /* as sent: 0 is the default, stun_port -1 none */
    bool stun_only, insecure_for_tests, can_port_80;
};

struct map_derp_region {
    int32_t id;
    bool avoid, no_measure_no_home;
    const char *code, *name;
    uint32_t nodes_n;
    const struct map_derp_node *nodes;
};

struct map_derp {
    uint32_t regions_n;
    const struct map_derp_region *regions; /* by id */
};

/* HomeParams.RegionScore: latencies are multiplied with it. */
struct map_score {
    int32_t region;
    double score;
};

struct map_record { /* an ExtraRecord that is an A or AAAA */
    const char *name;
    struct ip ip;
};

struct map_dns {
    bool proxied; /* MagicDNS is on */
    uint32_t domains_n, records_n;
    const char *const *domains;
    const struct map_record *records;
};

struct map_message { /* a health warning: of DisplayMessages, or of Health with id = "" */
    const char *id, *title, *text, *severity;
};

/* ---- messages ---- */

struct map_error {
    const char *why; /* static text */
    size_t at;       /* offset in the message; 0 when it is about its sense */
};

struct map_update;
/* One message, decompressed. *out is the caller's until gsi_netmap_apply takes it. 0; GS_EINVALID with *why; -ENOMEM. */
GS_MUST_USE int gsi_map_parse(const void *json, size_t n, struct map_update **out, struct map_error *why);
/* NULL is nothing. */
void gsi_map_update_free(struct map_update *u);

/* ---- the map: one thread at a time ---- */

struct netmap;
/* NULL: no memory. */
struct netmap *gsi_netmap_new(void);
void gsi_netmap_free(struct netmap *m);

/* A map stream begins: the next message but keep-alives is a whole snapshot and must have Node; peers absent from it are
 * gone. The relays and users known so far are kept for a snapshot that brings none. */
void gsi_netmap_start(struct netmap *m);
/* Takes u, also when it fails. wall_s: the wall clock's Unix time, for expiry. Events not yet asked for are forgotten. 0;
 * GS_EINVALID with *why (drop the stream); -ENOMEM. The map is what it was then. */
GS_MUST_USE int gsi_netmap_apply(struct netmap *m, struct map_update *u, int64_t wall_s, struct map_error *why);

enum map_event_kind {
    MAP_SELF = 1,     /* before (NULL at first), after, changed */
    MAP_FILTER,       /* rules were told, perhaps the same: gsi_netmap_filter */
    MAP_DERP,         /* regions or scores were told, perhaps the same */
    MAP_DNS,          /* DNS configuration or domain */
    MAP_HEALTH,       /* messages for the user */
    MAP_TAILNET_LOCK, /* came on or went off: gsi_netmap_is_locked. No peer is to be trusted while it is on */
    MAP_PEER,         /* before NULL: added; after NULL: removed; else changed */
    MAP_PING,         /* text: URL, noise, types */
    MAP_BROWSE,       /* text: a login URL for the user, once for each */
    MAP_SLEEP,        /* seconds: the server wants this node to wait, at most 5 minutes */
    MAP_SESSION,      /* text: MapSessionHandle; seq */
};

enum map_changed {
    MAP_CHANGED_KEY = 1 << 0,
    MAP_CHANGED_DISCO = 1 << 1,
    MAP_CHANGED_ENDPOINTS = 1 << 2,
    MAP_CHANGED_ALLOWED = 1 << 3, /* AllowedIPs */
    MAP_CHANGED_ADDRESSES = 1 << 4,
    MAP_CHANGED_DERP = 1 << 5,
    MAP_CHANGED_ONLINE = 1 << 6,
    MAP_CHANGED_NAME = 1 << 7,
    MAP_CHANGED_CAPS = 1 << 8,
    MAP_CHANGED_USE = 1 << 9, /* expiry, jailed, masquerade, unsigned, WireGuard only: ask gsi_netmap_use again */
    MAP_CHANGED_OTHER = 1 << 10,
    MAP_CHANGED_ALL = (1 << 11) - 1,
};

struct map_event {
    enum map_event_kind kind;
    unsigned changed; /* enum map_changed; of a peer added or removed: all */
    const struct map_node *before, *after; /* before lives until the next call of gsi_netmap_next */
    const char *text, *types;
    bool noise; /* the URL is reached inside the control connection */
    int64_t seq;
    double seconds;
};

/* False: nothing more changed. */
GS_MUST_USE bool gsi_netmap_next(struct netmap *m, struct map_event *out);

/* NULL: no message has come yet. */
const struct map_node *gsi_netmap_self(const struct netmap *m);
size_t gsi_netmap_peers_n(const struct netmap *m);
/* All peers, in no order: *at is 0 at first; NULL at the end. */
const struct map_node *gsi_netmap_each(const struct netmap *m, size_t *at);
/* Peers; NULL when there is none. By address: of Addresses, not of AllowedIPs. */
const struct map_node *gsi_netmap_by_id(const struct netmap *m, int64_t id);
const struct map_node *gsi_netmap_by_key(const struct netmap *m, const uint8_t key[KEY_LEN]);
const struct map_node *gsi_netmap_by_address(const struct netmap *m, const struct ip *ip);
/* Several peers may share a disco key: after is NULL at first, then the peer found before. */
const struct map_node *gsi_netmap_by_disco(const struct netmap *m, const uint8_t disco[KEY_LEN], const struct map_node *after);
/* Peers left out so far: of no key, of this node's key, of a key that another peer has. */
size_t gsi_netmap_dropped(const struct netmap *m);
/* Bytes of memory that the map holds, without the allocator's own. */
size_t gsi_netmap_bytes(const struct netmap *m);

enum map_use {
    MAP_USABLE,
    MAP_LOCKED,
    MAP_EXPIRED,
    MAP_UNREACHABLE, /* neither disco key nor relay */
    MAP_MASQUERADED, /* asks for a rewrite that we do not do */
};
/* Whether WireGuard may talk to this peer now; wall_s is corrected by the server's clock. */
GS_MUST_USE enum map_use gsi_netmap_use(const struct netmap *m, const struct map_node *peer, int64_t wall_s);
GS_MUST_USE bool gsi_netmap_is_locked(const struct netmap *m);

/* Never NULL, perhaps empty. */
const struct map_derp *gsi_netmap_derp(const struct netmap *m);
const struct map_derp_region *gsi_netmap_region(const struct netmap *m, int32_t id);
double gsi_netmap_score(const struct netmap *m, int32_t region); /* 1 unless told */
const struct map_dns *gsi_netmap_dns(const struct netmap *m);
const char *gsi_netmap_domain(const struct netmap *m);
const struct map_user *gsi_netmap_user(const struct netmap *m, int64_t id);
/* The i-th of all health warnings; false behind the last. */
GS_MUST_USE bool gsi_netmap_message(const struct netmap *m, size_t i, struct map_message *out);

/* False until the first filter came: drop everything then. */
GS_MUST_USE bool gsi_netmap_has_filter(const struct netmap *m);
/* The parts of the effective filter, by their names, for gsi_rules_compile: how many there are, of which out gets the first
 * cap. None at all where unsigned peers would get in by them (reference, 4.3). */
size_t gsi_netmap_filter(const struct netmap *m, struct filter_list *out, size_t cap);
/* Whether a node of this address is among the rule's sources. node: who has the address; NULL: nobody known. */
GS_MUST_USE bool gsi_map_rule_has_src(const struct filter_rule *r, const struct ip *src, const struct map_node *node);
/* out: NULL, or the capability. */
GS_MUST_USE bool gsi_map_node_has_cap(const struct map_node *n, const char *name, size_t name_n, const struct map_cap **out);

/* ---- names and identity ---- */

/* The addresses of a name: "alpha", "alpha.net.ts.net", with or without a dot at the end, in any case; then the DNS
 * configuration's records, then both below its search domains. How many there are, of which out gets the first cap;
 * GS_ENXDOMAIN. */
GS_MUST_USE int gsi_netmap_resolve(const struct netmap *m, const char *name, size_t n, struct ip *out, size_t cap);
/* Who has this address, self included; its name is the reverse of gsi_netmap_resolve. NULL: nobody. */
const struct map_node *gsi_netmap_node_at(const struct netmap *m, const struct ip *ip);

struct map_who {
    const struct map_node *node;
    const struct map_user *user;
    struct ip ip;
    size_t part, rule, grant, cap; /* gsi_netmap_who_cap's place */
};
/* False: nobody, or a user that is not told. */
GS_MUST_USE bool gsi_netmap_whois(const struct netmap *m, const struct ip *ip, struct map_who *out);
/* The capabilities that rules grant to it on this node, one by one; a name may come several times. */
GS_MUST_USE bool gsi_netmap_who_cap(const struct netmap *m, struct map_who *who, struct filter_capability *out);

#endif
