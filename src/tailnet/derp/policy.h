/* policy.h: which relay connections to hold, and by which region a peer is reached (tailnet-protocol.md 5.4).
 *
 *     gsi_derp_policy_regions(p, regions, n, now);  gsi_derp_policy_home(p, id, now);      as the map and netcheck say
 *     region = gsi_derp_policy_route(p, peer_home, &peer->heard, now);                     for each packet to a peer
 *     gsi_derp_policy_dialed, _connected, _failed(p, attempt, now);                        what becomes of an attempt
 *
 *     gsi_derp_policy_tick(p, now);                           after these, and when gsi_derp_policy_deadline has passed
 *     while (gsi_derp_policy_next(p, &order)) …obey…
 *
 * The home region is held always, another for 60 s after the last packet to it; a region that was home counts as just written
 * to, for peers learn the new one later. A region's nodes are tried in order, then there is a pause. It opens nothing itself.
 * Times are nanoseconds of one monotonic clock. One thread at a time.
 */
#ifndef GSI_TAILNET_DERP_POLICY_H
#define GSI_TAILNET_DERP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

enum { POLICY_REGIONS_MAX = 128 };

#define POLICY_NODE_NS (UINT64_C(1500) * 1000000)    /* for a node's TCP connection */
#define POLICY_ROUND_NS (UINT64_C(10) * 1000000000)  /* from the first node's dialling to ServerInfo */
#define POLICY_IDLE_NS (UINT64_C(60) * 1000000000)
#define POLICY_STEADY_NS (UINT64_C(10) * 1000000000) /* a connection that held so long was no failure */
#define POLICY_PAUSE_NS (UINT64_C(10) * 1000000)     /* n² of them, at most PAUSE_MAX; times a random 0.5 to 1.5 */
#define POLICY_PAUSE_MAX_NS (UINT64_C(5) * 1000000000)

struct policy_region {
    uint32_t id;   /* not 0 */
    uint8_t nodes; /* that may be connected to: not STUNOnly; 0: as if the region were not there */
};

enum policy_what {
    POLICY_CONNECT, /* to this node; close what this region had before */
    POLICY_CLOSE,   /* what this region has */
    POLICY_PREFER,  /* gsi_derp_prefer(preferred) on what this region has */
};

struct policy_order {
    enum policy_what what;
    uint32_t region;
    uint8_t node;     /* the how-manieth of policy_region.nodes, from 0 */
    bool preferred;   /* of connect and prefer: it is our home */
    uint64_t attempt; /* names the connection from now on; never 0 */
};

/* Of each peer, kept by the caller; all zero at first. A hint: relays may lie. */
struct policy_heard {
    uint32_t region;
    uint64_t attempt;
};

struct derp_policy;

/* NULL: no memory. */
struct derp_policy *gsi_derp_policy_new(void);
void gsi_derp_policy_free(struct derp_policy *p);

/* All regions there are; those that stay keep their connections. 0; GS_EINVALID: too many, or an id twice or 0: nothing is
 * changed. */
GS_MUST_USE int gsi_derp_policy_regions(struct derp_policy *p, const struct policy_region *regions, size_t n, uint64_t now_ns);
/* 0: none. It may be one that the map does not have yet. */
void gsi_derp_policy_home(struct derp_policy *p, uint32_t region, uint64_t now_ns);

/* The region by which to send a packet to a peer of this home (0: unknown); it is connected to if it is not. 0: there is none. */
GS_MUST_USE uint32_t gsi_derp_policy_route(struct derp_policy *p, uint32_t home, const struct policy_heard *heard,
                                            uint64_t now_ns);
/* A packet of the peer came on the connection. */
void gsi_derp_policy_heard(const struct derp_policy *p, struct policy_heard *heard, uint64_t attempt);
/* The relay said there that the peer has gone. */
void gsi_derp_policy_gone(struct policy_heard *heard, uint64_t attempt);

/* What became of an attempt; of one that is no more, nothing happens. TCP stands: */
void gsi_derp_policy_dialed(struct derp_policy *p, uint64_t attempt, uint64_t now_ns);
/* The relay knows us: */
void gsi_derp_policy_connected(struct derp_policy *p, uint64_t attempt, uint64_t now_ns);
/* It failed or ended, and the caller has closed it: */
void gsi_derp_policy_failed(struct derp_policy *p, uint64_t attempt, uint64_t now_ns);

GS_MUST_USE bool gsi_derp_policy_next(struct derp_policy *p, struct policy_order *out);
/* UINT64_MAX: none. */
uint64_t gsi_derp_policy_deadline(const struct derp_policy *p);
void gsi_derp_policy_tick(struct derp_policy *p, uint64_t now_ns);

#endif
