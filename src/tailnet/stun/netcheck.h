/* netcheck.h: how the world sees this node, and which relay region is its home (tailnet-protocol.md 6).
 *
 * Sends STUN requests to the regions' nodes by the very socket that WireGuard uses, and reports. A full report each 5 min; while
 * the node is active also a short one, of the fastest regions, each 20 to 26 s, which keeps the NAT's mapping alive.
 *
 *     gsi_netcheck_regions(nc, regions, n, now);            the first time and when the DERP map or an address in it changes
 *     if (gsi_stun_is(in, n)) gsi_netcheck_feed(nc, in, n, now);
 *
 *     gsi_netcheck_tick(nc, now);                           after each of these, and when gsi_netcheck_deadline has passed
 *     while (gsi_netcheck_output(nc, &packet)) …send it
 *     while ((what = gsi_netcheck_next(nc, &report))) …
 *
 * With one region only, that is home at once. One thread at a time; no clock, no socket.
 */
#ifndef GSI_TAILNET_NETCHECK_H
#define GSI_TAILNET_NETCHECK_H

#include "tailnet/stun/stun.h"

enum { NETCHECK_REGIONS_MAX = 128, NETCHECK_NODES_MAX = 4 };

struct netcheck_node {
    struct endpoint v4, v6; /* with the STUN port; all zero: it has none, or no STUN, or is not resolved yet */
};

struct netcheck_region {
    uint32_t id;        /* not 0 */
    bool avoid;         /* no home, but when it is already */
    bool no_home;       /* NoMeasureNoHome */
    double score;       /* of HomeParams, multiplies the latency; 0: none */
    size_t n;
    struct netcheck_node nodes[NETCHECK_NODES_MAX];
};

enum netcheck_varies { VARIES_UNKNOWN, VARIES_NO, VARIES_YES };

struct netcheck_latency {
    uint32_t region;
    uint64_t ns;
};

struct netcheck_report {
    bool full, udp;                /* udp: some server answered */
    struct endpoint v4, v6;        /* we, as seen from outside; all zero: unknown */
    enum netcheck_varies varies;   /* MappingVariesByDestIP: a hard NAT */
    uint32_t home;                 /* 0: there is no region */
    size_t n;
    struct netcheck_latency latencies[NETCHECK_REGIONS_MAX]; /* of the regions that answered */
};

struct netcheck;

/* NULL: no memory. v4, v6: which sockets there are. */
struct netcheck *gsi_netcheck_new(bool v4, bool v6);
void gsi_netcheck_free(struct netcheck *nc);

/* Copies; what is known of regions that stay is kept; begins a full report. 0; -ENOMEM; GS_EINVALID: too many, or an id twice or
 * 0. */
GS_MUST_USE int gsi_netcheck_regions(struct netcheck *nc, const struct netcheck_region *regions, size_t n, uint64_t now_ns);
/* Once more now: the link changed or the relay's connection broke (full), or a CallMeMaybe waits. */
void gsi_netcheck_start(struct netcheck *nc, bool full, uint64_t now_ns);
/* There are peers, and traffic in the last 45 s. */
void gsi_netcheck_active(struct netcheck *nc, bool active, uint64_t now_ns);
/* While control is not connected a home stays, as peers could not learn the new one. False at first. */
void gsi_netcheck_control(struct netcheck *nc, bool connected);
/* A frame came by the region's relay. */
void gsi_netcheck_heard(struct netcheck *nc, uint32_t region, uint64_t now_ns);
/* Answer to NETCHECK_WANT_HTTPS: what GET /derp/latency-check took. */
void gsi_netcheck_latency(struct netcheck *nc, uint32_t region, uint64_t latency_ns);
/* A STUN response; 0, or GS_EINVALID: none, or to nothing that we asked. */
GS_MUST_USE int gsi_netcheck_feed(struct netcheck *nc, const void *in, size_t n, uint64_t now_ns);

struct netcheck_packet {
    struct endpoint to;
    uint8_t bytes[STUN_REQUEST_LEN];
};
GS_MUST_USE bool gsi_netcheck_output(struct netcheck *nc, struct netcheck_packet *out);
/* UINT64_MAX: none. */
uint64_t gsi_netcheck_deadline(const struct netcheck *nc);
void gsi_netcheck_tick(struct netcheck *nc, uint64_t now_ns);

enum netcheck_event {
    NETCHECK_NOTHING,
    NETCHECK_HOME,       /* the home is another: report->home */
    NETCHECK_WANT_HTTPS, /* no UDP answer: measure the regions by HTTPS, within 2 s */
    NETCHECK_REPORT,
};
/* report: as it stands now. */
GS_MUST_USE enum netcheck_event gsi_netcheck_next(struct netcheck *nc, struct netcheck_report *report);

/* ---- the choice of home, pure ---- */

struct home_region {
    uint32_t id;
    bool avoid, no_home;
    double score;
    uint64_t now_ns, best_ns; /* latency in this report, 0: it did not answer; the least of 5 min */
};
/* old: 0, none. heard: a frame of the old one's relay came within 8 s. 0: no region that answered may be home. */
uint32_t gsi_home_choose(const struct home_region *regions, size_t n, uint32_t old, bool heard);

#endif
