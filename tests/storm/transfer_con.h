/* transfer_con.h: the connections of the ownership-transfer storm, what travels on them, and what is checked of each frame.
 *
 * A frame is: length (4) | connection (4) | sequence number (4) | filler, which both ends compute.
 * An ordered connection is read only by its owner, in its turn: its sequence number and sum are plain memory, so that
 * ThreadSanitizer sees a race unless the library orders one owner after the other. A shared one is also read by threads
 * that do not own it, so for it each frame must come exactly once.
 */
#ifndef TRANSFER_CON_H
#define TRANSFER_CON_H

#include <arpa/inet.h>

#include "storm.h"

enum { CONS_MAX = 1 << 16, SHARED_FRAMES = 512, HEAD = 8, FRAME_MAX = 20000, FILLER = 256, STRAGGLERS = 33 };

struct con {
    _Atomic bool shared;
    uint64_t sum;    /* ordered: the owner's */
    uint32_t expect; /* ordered: the owner's */
    uint32_t echoed; /* the peer's: last sequence number that came back, + 1 */
    _Atomic uint64_t id, progress, seen[SHARED_FRAMES / 64];
    _Atomic uint32_t total; /* frames sent in all, set before the peer's end */
    _Atomic bool doomed;    /* somebody is about to close it: it may end anywhere */
    _Atomic bool closed;    /* a foreign close has returned */
    _Atomic bool ended;     /* the peer saw a proper end */
    uint32_t stragglers;    /* the owner's: frames after a foreign close had returned */
};

static struct con cons[CONS_MAX];
static _Atomic uint32_t con_count;
static uint8_t filler[FILLER + FRAME_MAX];

static inline const uint8_t *filler_of(uint32_t con, uint32_t seq) { return filler + (con * 7 + seq * 13) % FILLER; }

/* Writes one frame of `body` bytes; its size. */
static inline size_t make_frame(uint8_t *p, uint32_t con, uint32_t seq, uint32_t body)
{
    uint32_t head[3] = {htonl(body), con, seq};
    memcpy(p, head, sizeof head);
    memcpy(p + sizeof head, filler_of(con, seq), body - HEAD);
    return 4 + (size_t)body;
}

/* The connection and sequence number of a frame's body with the right filler, or NULL. */
static inline struct con *parse_body(const uint8_t *p, size_t n, uint32_t *seq, const char *who)
{
    uint32_t head[2];
    if (n < HEAD || n > FRAME_MAX) {
        wrong("%s: a frame of %zu bytes", who, n);
        return NULL;
    }
    memcpy(head, p, sizeof head);
    *seq = head[1];
    if (head[0] >= atomic_load_explicit(&con_count, memory_order_relaxed)) {
        wrong("%s: a frame of no connection (%u)", who, head[0]);
        return NULL;
    }
    if (memcmp(p + HEAD, filler_of(head[0], head[1]), n - HEAD) != 0) {
        wrong("%s: connection %u, frame %u of %zu bytes: wrong bytes", who, head[0], head[1], n);
        return NULL;
    }
    return &cons[head[0]];
}

static inline uint32_t number_of(const struct con *c) { return (uint32_t)(c - cons); }

static inline void count_shared(struct con *c, uint32_t seq, const char *who)
{
    if (seq >= SHARED_FRAMES) {
        wrong("%s: shared connection %u: frame %u", who, number_of(c), seq);
        return;
    }
    uint64_t bit = UINT64_C(1) << seq % 64;
    if (atomic_fetch_or_explicit(&c->seen[seq / 64], bit, memory_order_relaxed) & bit)
        wrong("%s: shared connection %u: frame %u came twice", who, number_of(c), seq);
}

static inline void count_ordered(struct con *c, uint32_t seq, const char *who)
{
    if (seq != c->expect)
        wrong("%s: connection %u: frame %u instead of %u", who, number_of(c), seq, c->expect);
    c->expect = seq + 1;
    c->sum += seq;
}

/* A frame arrived at the library's side of stream `id`. Its connection, or NULL. `fresh`: the first of it. */
static inline struct con *got_frame(uint64_t id, const uint8_t *p, size_t n, const char *who, bool *fresh)
{
    uint32_t seq;
    struct con *c = parse_body(p, n, &seq, who);
    if (!c)
        return NULL;
    uint64_t known = 0;
    *fresh = atomic_compare_exchange_strong_explicit(&c->id, &known, id, memory_order_relaxed, memory_order_relaxed);
    if (!*fresh && known != id)
        wrong("%s: connection %u came on another's stream", who, number_of(c));
    if (c->shared)
        count_shared(c, seq, who);
    else
        count_ordered(c, seq, who);
    if (!c->shared && atomic_load_explicit(&c->closed, memory_order_acquire) && ++c->stragglers > STRAGGLERS)
        wrong("%s: connection %u: %u frames after its close had returned", who, number_of(c), c->stragglers);
    atomic_fetch_add_explicit(&c->progress, 1, memory_order_relaxed);
    return c;
}

/* Bytes that were received go back in front, in whoever's thread. */
static inline int put_back(gs_stream s, const uint8_t *p, size_t n)
{
    int e;
    while ((e = gs_stream_unrecv(s, p, n)) == -EALREADY)
        ;
    return only_answers(e, GS_ECLOSED);
}

/* In the end, all threads joined: an undisturbed connection has delivered every frame. */
static inline long check_con(const struct con *c)
{
    uint32_t total = atomic_load(&c->total), came = c->expect;
    if (atomic_load(&c->doomed) || !atomic_load(&c->ended))
        return 0;
    if (c->shared) {
        came = 0;
        for (int i = 0; i < SHARED_FRAMES / 64; i++)
            came += (uint32_t)__builtin_popcountll(atomic_load(&c->seen[i]));
    }
    if (came != total)
        wrong("connection %u (%s): %u of %u frames came", number_of(c), c->shared ? "shared" : "ordered", came, total);
    return 1;
}

#endif
