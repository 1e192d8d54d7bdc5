/* wireguard.h: the WireGuard engine of a node, sans-IO: handshakes both ways, sessions, timers, cookies, cryptokey routing.
 *
 * It holds the sessions of one node key. Peers exist lazily: the caller's `find` says whether a key is in the network map, and
 * who that is; state is made by the first packet to the peer or by its first authentic initiation. Which path a datagram takes
 * (UDP address or relay) is the caller's matter, and a datagram's source is but a hint here: index and AEAD say whose it is.
 *
 *     switch (gsi_wireguard_feed(w, &source, datagram, n, now_ns, &packet)) ...    WG_PACKET: packet.p, packet.n of packet.peer
 *     if (now_ns >= gsi_wireguard_deadline(w)) gsi_wireguard_tick(w, now_ns, wall_ns);
 *     while (gsi_wireguard_output(w, &out)) ...send out.p, out.n to out.peer
 *     while (gsi_wireguard_next(w, &event)) ...
 *
 * after each feed, send or seal: initiations are made by tick, whose deadline is then already over.
 *
 * One thread at a time. now_ns is monotonic. tailnet-protocol.md 8; the WireGuard paper's rules.
 */
#ifndef GSI_WIREGUARD_H
#define GSI_WIREGUARD_H

#include "tailnet/crypto/crypto.h"
#include "tailnet/endpoint/endpoint.h"

struct wireguard;
struct wg_peer;
struct routes;

enum {
    WG_HEAD = 16,         /* free bytes that an inner packet needs in front, */
    WG_TAIL = 15 + 16,    /* and behind: padding and tag */
    WG_INNER_MAX = 65535, /* of an inner packet */
};

struct wg_config {
    uint8_t private_key[KEY_LEN]; /* copied; the caller wipes its own */
    /* Who has this key: an address that names a peer of the network map to the caller and in the routes. NULL: nobody, and its
     * initiations are dropped unanswered. Asked when there is no peer of this key yet, and by gsi_wireguard_peer: who leaves the
     * map needs gsi_wireguard_remove. Must not call the engine. */
    void *(*find)(void *arg, const uint8_t key[KEY_LEN]);
    void *arg;
    /* Borrowed: which inner addresses are whose (routes.h). A packet whose source is not its peer's is dropped. */
    const struct routes *routes;
    uint32_t mtu;                /* of inner packets: no padding goes beyond; 0: 1280 */
    uint32_t peers_max;          /* 0: 100,000 */
};

/* NULL with -ENOMEM, -EINVAL (no find, no routes, private key zero) in *error, which may be NULL. */
struct wireguard *gsi_wireguard_new(const struct wg_config *config, int *error);
/* Wipes all keys. NULL is nothing. */
void gsi_wireguard_free(struct wireguard *w);
const uint8_t *gsi_wireguard_public(const struct wireguard *w);

/* ---- peers ---- */

/* The peer of a key, made when there is none yet: it lives until gsi_wireguard_remove. Asks `find` anew for who it is.
 * NULL in *peer and: GS_EINVALID: our own key, or one of small order; -ENOENT: find knows nobody; -ENOBUFS: peers_max;
 * -ENOMEM. */
GS_MUST_USE int gsi_wireguard_peer(struct wireguard *w, const uint8_t key[KEY_LEN], struct wg_peer **peer);
/* The peer that left the network map: keys wiped, its packets, events and output dropped, the pointer is dead. One that is
 * unknown is nothing. */
void gsi_wireguard_remove(struct wireguard *w, const uint8_t key[KEY_LEN]);

struct wg_status {
    uint64_t session_ns; /* when the present session began; 0: there is none */
    uint64_t sent, received; /* bytes of datagrams of the transport */
    uint32_t staged;
    bool initiating;
};
const uint8_t *gsi_wireguard_key(const struct wg_peer *p);
void *gsi_wireguard_who(const struct wg_peer *p);
struct wg_status gsi_wireguard_status(const struct wg_peer *p);

/* Until then peers may not have heard of our key yet, and drop what they cannot place: initiations without a response are followed
 * after NEWCOMER_TIMEOUT, then twice as long, up to REKEY_TIMEOUT. */
void gsi_wireguard_newcomer(struct wireguard *w, uint64_t until_ns);

/* An initiation that waits for its response went nowhere, as the caller has learned, or the way to the peer is another since: the
 * next one goes now, but not sooner than after_ns behind it. Nothing where none waits. */
void gsi_wireguard_hurry(struct wg_peer *p, uint64_t after_ns, uint64_t now_ns);

/* ---- in ---- */

/* Where a datagram came from. Cookies are bound to it; the limit under load counts by address (IPv6: by its /64) or key. */
struct wg_source {
    uint64_t id;          /* the caller's: comes back with what is to be sent there */
    struct endpoint from; /* none: it came over a relay, */
    uint8_t key[KEY_LEN]; /* whose frame named this source */
};

enum wg_result {
    WG_DROPPED, /* gsi_wireguard_drops counts why */
    WG_TAKEN,   /* a handshake message, a cookie, a keepalive */
    WG_PACKET,
};

struct wg_packet {
    struct wg_peer *peer;
    uint8_t *p; /* an IP packet of the length that its header says, inside the datagram, from an address of the peer's */
    size_t n;
};

/* A datagram, opened in place: its bytes are changed, also when it is dropped. No copy, no allocation for transport. */
GS_MUST_USE enum wg_result gsi_wireguard_feed(struct wireguard *w, const struct wg_source *from, uint8_t *datagram, size_t n,
                                              uint64_t now_ns, struct wg_packet *packet);

enum wg_drop {
    WG_DROP_MALFORMED, /* no message of WireGuard's, or of the wrong length */
    WG_DROP_UNKNOWN,   /* index or key that nobody has, or no longer */
    WG_DROP_FORGED,    /* mac1 or AEAD */
    WG_DROP_REPLAYED,  /* counter, timestamp, or initiations too near to each other */
    WG_DROP_LOAD,      /* under load: a cookie was sent instead, or the source has had its share */
    WG_DROP_INNER,     /* authentic, but no IP packet */
    WG_DROP_SOURCE,    /* an IP packet from an address that is not the peer's */
    WG_DROP_MEMORY,
    WG_DROPS,
};
uint64_t gsi_wireguard_drops(const struct wireguard *w, enum wg_drop why);

/* ---- out ---- */

/* The fast path: an inner packet of n bytes at p + WG_HEAD; cap counts from p. */
struct wg_slot {
    uint8_t *p;
    size_t cap;
    size_t n; /* afterwards: of the datagram at p; 0: it is lost */
};
/* Seals them in place, in order, and answers how many. One whose n is 0 then is lost: OpenSSL had no memory. Fewer than all: the
 * key is used up. 0: there is no session, and one is being made: give the packets to gsi_wireguard_send, which keeps them until
 * then. -EINVAL: a slot is too small for its n, or n is 0; nothing is sealed. */
GS_MUST_USE int gsi_wireguard_seal(struct wireguard *w, struct wg_peer *p, struct wg_slot *slots, int count, uint64_t now_ns);
/* The patient path: copies the packet; it comes out of gsi_wireguard_output when there is a session. At most 128 wait, the oldest
 * is dropped. -EINVAL (n), -ENOBUFS (too many bytes are held for all peers), -ENOMEM: the packet is lost. */
GS_MUST_USE int gsi_wireguard_send(struct wireguard *w, struct wg_peer *p, const void *inner, size_t n, uint64_t now_ns);

struct wg_output {
    struct wg_peer *peer; /* NULL: to the source (a cookie) */
    uint64_t source;      /* of what this answers; 0: it answers nothing */
    const uint8_t *p;     /* until the next call of gsi_wireguard_output */
    size_t n;
};
/* False: nothing to send. */
GS_MUST_USE bool gsi_wireguard_output(struct wireguard *w, struct wg_output *out);

/* ---- time ---- */

/* UINT64_MAX: never. */
uint64_t gsi_wireguard_deadline(const struct wireguard *w);
/* wall_ns since 1970: the timestamp of initiations; going back does no harm while the process lives. */
void gsi_wireguard_tick(struct wireguard *w, uint64_t now_ns, uint64_t wall_ns);

enum wg_event_type {
    WG_SESSION = 1, /* a handshake is done, the first or a later one: packets go both ways */
    WG_EXPIRED = 2, /* the last session ran out and its keys are gone */
    WG_GAVE_UP = 4, /* no answer for 90 s: what was staged is dropped */
};
struct wg_event {
    enum wg_event_type type;
    struct wg_peer *peer;
};
/* One event of a kind waits per peer. */
GS_MUST_USE bool gsi_wireguard_next(struct wireguard *w, struct wg_event *event);

#endif
