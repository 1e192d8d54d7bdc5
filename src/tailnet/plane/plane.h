/* plane.h: the data plane of a node: packets between the TUN inside and the UDP sockets and relays outside.
 *
 *     TUN  -> segment -> filter (out) -> routes -> WireGuard seals in place -> path: link (UDP), or the caller's relay
 *     link -> STUN to the caller, disco to the paths, WireGuard opens in place -> filter (in) -> stamp -> join -> TUN
 *
 * It owns none of its parts: they are the node's, which also configures them. Everything happens in the calling thread, in
 * batches; no payload is copied but for packets that wait for a handshake or go by a relay.
 *
 *     wait for gsi_namespace_tun, both gsi_link_fd, and until gsi_plane_deadline; then, as they are ready:
 *     gsi_plane_from_tun(p, now); gsi_plane_from_link(p, v6, now); gsi_plane_from_relay(p, …); gsi_plane_tick(p, now, wall); */
#ifndef GSI_TAILNET_PLANE_H
#define GSI_TAILNET_PLANE_H

#include "tailnet/disco/paths.h"
#include "tailnet/filter/filter.h"
#include "tailnet/link/link.h"
#include "tailnet/wireguard/routes.h"
#include "tailnet/wireguard/wireguard.h"

/* What routes and WireGuard's `find` answer: a peer of the network map. The node's memory, until it is out of all tables. */
struct plane_peer {
    const uint8_t *key; /* the node key */
    struct wg_peer *wg; /* NULL until the first packet to it: gsi_wireguard_peer */
    struct path *path;
    uint32_t identity; /* the stamp of its SYNs: 1 to PACKET_STAMP_MAX_V4; 0: they are dropped, nobody could say whose they are */
    bool jailed;
    void *user;
};

struct plane_config {
    int tun;     /* non-blocking, with virtio headers */
    size_t mtu;  /* of the inner network */
    struct link *link;
    struct wireguard *wireguard; /* its `find` and `routes` answer struct plane_peer */
    struct routes *routes;
    struct paths *paths;
    struct filter *filter;
    void *arg;
    /* A datagram leaves by this region's relay; borrowed for the call. */
    void (*relay)(void *arg, uint32_t region, const uint8_t key[KEY_LEN], const uint8_t *bytes, size_t n, bool disco);
    /* A STUN packet came. NULL: dropped. */
    void (*stun)(void *arg, const uint8_t *bytes, size_t n, const struct endpoint *from, uint64_t now_ns);
    /* A peer says that its filter refused a packet of ours. NULL: nobody cares. */
    void (*rejected)(void *arg, const struct tsmp *t);
};

struct plane_stat {
    uint64_t in, in_bytes, out, out_bytes; /* inner packets */
    uint64_t verdicts[VERDICTS];
    uint64_t no_route, no_way, malformed, unstamped, tun_full; /* dropped */
};

struct plane;
/* Copies the configuration. NULL: no memory. */
struct plane *gsi_plane_new(const struct plane_config *c);
void gsi_plane_free(struct plane *p);

/* Readable. False: the TUN is gone. Comes back after a bounded number of packets: level-triggered. */
GS_MUST_USE bool gsi_plane_from_tun(struct plane *p, uint64_t now_ns);
void gsi_plane_from_link(struct plane *p, bool v6, uint64_t now_ns);
/* A packet that a relay of this region brought from the node of this key; changed in place. */
void gsi_plane_from_relay(struct plane *p, uint32_t region, const uint8_t key[KEY_LEN], uint8_t *bytes, size_t n,
                          uint64_t now_ns);

/* UINT64_MAX: never. Events of paths and WireGuard are the caller's to take. */
uint64_t gsi_plane_deadline(const struct plane *p);
/* After each of the above when the deadline is over, and then. */
void gsi_plane_tick(struct plane *p, uint64_t now_ns, uint64_t wall_ns);

const struct plane_stat *gsi_plane_stat(const struct plane *p);

#endif
