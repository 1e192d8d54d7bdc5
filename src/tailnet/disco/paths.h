/* paths.h: the way to each peer: where WireGuard packets for it go now, and the disco messages that find out
 * (tailnet-protocol.md 7).
 *
 * One `struct paths` for a node, one `struct path` for each peer of its netmap. The caller owns sockets and relays:
 *
 *     struct route r = gsi_path_send(paths, path, now);       for each WireGuard packet to the peer
 *     if (r.udp)   …send it to r.to
 *     if (r.relay) …and by the relay, region r.region
 *
 *     gsi_paths_feed(paths, in, n, &from, now);               a disco packet came by UDP; gsi_paths_feed_relay: by a relay
 *
 *     do {                                                    after each of these, and when gsi_paths_deadline has passed
 *         gsi_paths_tick(paths, now);
 *         while (gsi_paths_output(paths, &packet)) …send it
 *         while (gsi_paths_next(paths, &event)) …
 *     } while (gsi_paths_deadline(paths) <= now);
 *
 * A path is DIRECT while a Pong came in the last 6.5 s; else packets go by the relay (and, in doubt, by UDP as well: the
 * receiver's replay window removes the copy). Disco goes on for 45 s after the last packet. One thread at a time; no clock, no
 * socket.
 *
 * What a peer can make us send is bounded: one Pong for each Ping, smaller than it, at most 20/s and 64 at once; pings to at most
 * PATH_CANDIDATES_MAX addresses, each once in 5 s, once more when a ping came from it, and for each CallMeMaybe, of which 3 and
 * then one in 5 s are heard; and to the best address each 3 s.
 */
#ifndef GSI_TAILNET_PATHS_H
#define GSI_TAILNET_PATHS_H

#include "tailnet/disco/disco.h"

enum { PATH_CANDIDATES_MAX = 100 };

struct paths;
struct path;

struct paths_config {
    uint8_t disco_private[KEY_LEN];
    uint8_t node_public[KEY_LEN];
    uint32_t peers_max; /* 0: 100,000 */
    bool loopback; /* peers on this host are reached over lo: laboratories and tests. Else 127/8 and ::1 of others are ignored */
    bool relay_only; /* no direct path is looked for, none is offered: only pings by the relay are sent and answered */
};

/* NULL: no memory. */
struct paths *gsi_paths_new(const struct paths_config *c);
/* Wipes the keys and frees each path. NULL is nothing. */
void gsi_paths_free(struct paths *p);
const uint8_t *gsi_paths_disco_public(const struct paths *p);

/* ---- the netmap ---- */

struct path_peer {
    uint8_t node[KEY_LEN];
    uint8_t disco[KEY_LEN]; /* all zero: has none, relay only */
    uint32_t home;          /* DERP region; 0: unknown */
    const struct endpoint *endpoints;
    size_t n;
    void *user;             /* given back in events */
};

/* Adds the peer, or changes it as the netmap says now: another disco key is a restarted peer, whose candidates stay. The path is
 * valid until gsi_path_remove. 0; -ENOMEM; -ENOSPC (peers_max); GS_EINVALID (the node's own key). Nothing has changed then. */
GS_MUST_USE int gsi_path_set(struct paths *p, const struct path_peer *peer, uint64_t now_ns, struct path **out);
void gsi_path_remove(struct paths *p, struct path *path);
/* NULL: no such peer. */
struct path *gsi_path_find(const struct paths *p, const uint8_t node[KEY_LEN]);
/* The peer whose Pings or Pongs came from this address last; a hint only. NULL: none. */
struct path *gsi_path_at(const struct paths *p, const struct endpoint *from);

/* ---- data ---- */

struct route {
    bool udp, relay;    /* neither: the peer cannot be reached; what is sent is lost */
    struct endpoint to; /* udp */
    uint32_t region;    /* relay */
};

/* Where a WireGuard packet goes now; starts and keeps up the search for something better. */
struct route gsi_path_send(struct paths *p, struct path *path, uint64_t now_ns);
/* A WireGuard packet of the peer came by this region: it serves when the peer's home is unknown. */
void gsi_path_heard_relay(struct path *path, uint32_t region);
/* sendto() said that nobody can be there (ENETUNREACH, EHOSTUNREACH, EPERM …). */
void gsi_path_unreachable(struct paths *p, struct path *path, const struct endpoint *to);
/* Pings every candidate and the relay; the first Pong of all is told by PATHS_PONG. False: no disco key, or too many pings are
 * out. */
GS_MUST_USE bool gsi_path_ping(struct paths *p, struct path *path, uint64_t now_ns);

/* ---- this node ---- */

/* Its endpoints, best first (own.h), for CallMeMaybe: after each netcheck, and always in answer to PATHS_WANT_ENDPOINTS, even
 * when nothing was found. At most DISCO_ENDPOINTS_MAX are kept. */
void gsi_paths_endpoints(struct paths *p, const struct endpoint *own, size_t n, uint64_t now_ns);
/* Interfaces or addresses have changed: no path is trusted. */
void gsi_paths_link_changed(struct paths *p, uint64_t now_ns);

/* ---- packets ---- */

/* gsi_datagram_kind said DATAGRAM_DISCO. What is not right is dropped and counted. */
void gsi_paths_feed(struct paths *p, const void *in, size_t n, const struct endpoint *from, uint64_t now_ns);
/* node: whom the relay names as the sender. */
void gsi_paths_feed_relay(struct paths *p, const void *in, size_t n, uint32_t region, const uint8_t node[KEY_LEN],
                          uint64_t now_ns);

struct disco_packet {
    bool relay;            /* to node by region; else by UDP to to */
    struct endpoint to;
    uint32_t region;
    uint8_t node[KEY_LEN];
    size_t n;
    uint8_t bytes[DISCO_PACKET_MAX];
};

/* False: none. Take all: when 512 wait, no more are made. */
GS_MUST_USE bool gsi_paths_output(struct paths *p, struct disco_packet *out);

/* ---- time and events ---- */

/* UINT64_MAX: none. */
uint64_t gsi_paths_deadline(const struct paths *p);
void gsi_paths_tick(struct paths *p, uint64_t now_ns);

enum path_kind { PATH_NONE, PATH_RELAY, PATH_DIRECT };

struct path_info {
    enum path_kind kind;
    struct endpoint at;  /* DIRECT */
    uint32_t region;     /* of the relay, also when DIRECT; 0: none */
    uint64_t latency_ns; /* DIRECT: there and back */
    size_t candidates;
};

enum paths_event_type {
    PATHS_CHANGED = 1,    /* info: kind or address are others than told before; what changed meanwhile is told once */
    PATHS_PONG,           /* answer to gsi_path_ping: info tells the way of this Pong and its latency, kind RELAY too */
    PATHS_WANT_ENDPOINTS, /* STUN again, then gsi_paths_endpoints: a CallMeMaybe waits for it. No path */
};

struct paths_event {
    enum paths_event_type type;
    struct path *path;
    void *user;
    struct path_info info;
};

GS_MUST_USE bool gsi_paths_next(struct paths *p, struct paths_event *event);
void gsi_path_info(const struct path *path, struct path_info *info);

struct paths_stats {
    uint64_t opens;                                /* boxes tried */
    uint64_t unknown, malformed, stray, limited;   /* dropped: sender not in the netmap; not authentic or not disco; Pong or
                                                      CallMeMaybe out of place; more than a peer may send */
    uint64_t pings, pongs, calls;                  /* handed out */
    uint64_t full;                                 /* not made, as the output was not taken */
};
void gsi_paths_stats(const struct paths *p, struct paths_stats *out);

/* ---- the measure, pure ---- */

struct path_quality {
    struct endpoint at; /* all zero: none */
    uint64_t latency_ns;
};

/* Points for being faster, in percent of the slower one, and for being nearer: 50 loopback, 30 link-local, 20 private, 10 IPv6 */
GS_MUST_USE bool gsi_path_is_better(const struct path_quality *a, const struct path_quality *b);

#endif
