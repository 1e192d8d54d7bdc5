/* peer.h: the engine, its peers and their sessions, as the files of this folder share them.
 *
 *   device.c     datagrams in: which message, whose, what becomes of it    noise.c    the handshake's cryptography
 *   transport.c  inner packets: seal, open, padding, staged ones           cookie.c   mac1, mac2, cookies, load
 *   session.c    key pairs: next, current, previous                        indexes.c  receiver indexes
 *   peer.c       the table of peers, their making and removal, events      routes.c   whose an inner address is
 *   queue.c      datagrams that wait for a key or to be fetched            replay.c   counters seen
 *   timers.c     every timer, and the heap of deadlines
 *
 * All of it belongs to the one thread that uses the engine.
 */
#ifndef GSI_WIREGUARD_PEER_H
#define GSI_WIREGUARD_PEER_H

#include "tailnet/wireguard/cookie.h"
#include "tailnet/wireguard/indexes.h"
#include "tailnet/wireguard/noise.h"
#include "tailnet/wireguard/replay.h"
#include "tailnet/wireguard/wireguard.h"

/* A session's keys, one pair from one handshake. */
struct keypair {
    struct aead *seal, *open;
    uint64_t counter; /* of the next packet; never goes back */
    uint64_t born_ns;
    uint32_t local, remote; /* indexes */
    bool initiator;
    bool last_minute; /* its renewal on receiving was begun */
    struct replay replay;
};

/* A packet that waits: inner at bytes + WG_HEAD while staged, a datagram at bytes when it is output. */
struct datagram {
    struct datagram *next;
    struct wg_peer *peer; /* NULL: a cookie reply */
    uint64_t source;
    size_t n, cap;
    uint8_t bytes[];
};

struct queue {
    struct datagram *first, **last;
    size_t n;
};

/* When each is due; NEVER: it is not set. See timers.c. */
struct timers {
    uint64_t initiate_ns, retransmit_ns, new_handshake_ns, keepalive_ns, zero_ns;
    uint64_t initiated_ns; /* the last initiation left; 0: none ever */
    uint32_t retries;
    bool another_keepalive;
};

struct wg_peer {
    struct wireguard *w;
    void *who;
    struct noise_peer noise;
    struct cookie_jar jar;
    struct noise_initiation initiation; /* ours, when pending */
    uint32_t initiation_index;
    bool initiation_pending;
    uint8_t stamp_received[STAMP_LEN], stamp_sent[STAMP_LEN];
    uint64_t initiation_received_ns; /* 0: none yet */
    struct keypair *next, *current, *previous;
    struct queue staged;
    struct timers timers;
    uint64_t due_ns; /* its key in the heap, not later than the first timer */
    size_t heap_at;
    uint64_t sent, received;
    unsigned events;            /* of wg_event_type, not yet fetched */
    struct wg_peer *events_next; /* in the engine's list while events != 0 */
};

struct wireguard {
    struct noise_self self;
    struct cookie_gate gate;
    struct indexes indexes;
    const struct routes *routes;
    void *(*find)(void *arg, const uint8_t key[KEY_LEN]);
    void *arg;
    uint32_t mtu, peers_max;
    uint64_t seed;
    struct wg_peer **peer; /* by key: linear probing, a power of two, at most half full */
    struct wg_peer **heap; /* by due_ns; cap / 2 long */
    size_t cap, n;
    struct queue output;
    struct datagram *lent; /* what the last gsi_wireguard_output gave */
    size_t held_bytes;
    struct wg_peer *events_first, *events_last;
    uint64_t wall_ns; /* the latest that tick was told */
    uint64_t newcomer_until_ns;
    uint64_t drops[WG_DROPS];
};

/* ---- peer.c ---- */

struct wg_peer *gsi_peer_find(const struct wireguard *w, const uint8_t key[KEY_LEN]);
/* Takes a copy of noise. -ENOBUFS, -ENOMEM. */
GS_MUST_USE int gsi_peer_make(struct wireguard *w, const struct noise_peer *noise, void *who, struct wg_peer **peer);
void gsi_peer_event(struct wg_peer *p, enum wg_event_type type);

/* ---- session.c ---- */

/* May packets be sealed or opened with it? NULL: no. */
bool gsi_session_alive(const struct keypair *k, uint64_t now_ns);
/* A pair of these keys whose index is registered. NULL: no memory. gsi_session_free unless it is installed. */
struct keypair *gsi_session_new(const struct noise_keys *k, uint32_t local, bool initiator, uint64_t now_ns);
void gsi_session_free(struct wg_peer *p, struct keypair *k);
/* Takes the pair: ours as an initiator is current at once, as a responder it is next, until its first packet. */
void gsi_session_install(struct wg_peer *p, struct keypair *k);
/* An authentic packet came with it. True: that confirmed it, and it is current now. */
bool gsi_session_confirm(struct wg_peer *p, struct keypair *k);
/* Those older than REJECT_AFTER_TIME are wiped; NEVER or when the next one is. */
uint64_t gsi_session_expire(struct wg_peer *p, uint64_t now_ns);
void gsi_session_wipe_all(struct wg_peer *p);
/* The pending initiation, forgotten. */
void gsi_session_forget(struct wg_peer *p);

/* ---- queue.c ---- */

/* Room for a datagram of n bytes. NULL with -ENOBUFS, -ENOMEM in *error. */
struct datagram *gsi_datagram_new(struct wireguard *w, struct wg_peer *p, size_t n, int *error);
void gsi_datagram_free(struct wireguard *w, struct datagram *d);
void gsi_queue_init(struct queue *q);
void gsi_queue_put(struct queue *q, struct datagram *d);
struct datagram *gsi_queue_take(struct queue *q);
void gsi_queue_clear(struct wireguard *w, struct queue *q);
/* Takes what will be sent. */
void gsi_output_put(struct wireguard *w, struct datagram *d);
/* Drops what is for a peer. */
void gsi_output_forget(struct wireguard *w, const struct wg_peer *p);

/* ---- transport.c ---- */

/* Opens a transport datagram in place. */
enum wg_result gsi_transport_open(struct wireguard *w, uint8_t *in, size_t n, uint64_t now_ns, struct wg_packet *packet);
/* Seals and puts out what was staged, or an empty packet when nothing was and `keepalive` says so. */
void gsi_transport_flush(struct wg_peer *p, bool keepalive, uint64_t now_ns);

/* ---- device.c ---- */

/* Writes an initiation to the output. -ENOMEM, -ENOBUFS: it is tried again like one without answer. */
int gsi_handshake_initiate(struct wg_peer *p, uint64_t now_ns);

/* ---- timers.c: what happened; each may bring the peer's deadline nearer ---- */

void gsi_timers_init(struct wg_peer *p);
/* A new handshake is wanted, for a reason of its own, not as a retry. */
void gsi_timers_want_session(struct wg_peer *p, uint64_t now_ns);
void gsi_timers_initiation_sent(struct wg_peer *p, uint64_t now_ns);
/* A response to our initiation, or a packet that confirmed theirs. */
void gsi_timers_handshake_done(struct wg_peer *p);
/* Keys were derived, in either role. */
void gsi_timers_session_derived(struct wg_peer *p, uint64_t now_ns);
void gsi_timers_data_sent(struct wg_peer *p, uint64_t now_ns);
void gsi_timers_data_received(struct wg_peer *p, uint64_t now_ns);
/* Anything that the other side can tell to be ours, or we theirs: data, keepalives, handshake messages. */
void gsi_timers_authentic_sent(struct wg_peer *p);
void gsi_timers_authentic_received(struct wg_peer *p);

/* The heap: p->heap_at is set before; gone: p is its last. */
void gsi_timers_heap_add(struct wireguard *w, struct wg_peer *p);
void gsi_timers_heap_remove(struct wireguard *w, struct wg_peer *p);

#endif
