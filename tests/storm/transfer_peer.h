/* transfer_peer.h: the far ends of the ownership-transfer storm: they send numbered frames cut anywhere, check the echoes, and
 * notice when nothing moves any more: a storm without a stall detector finds no lost wake-up. */
#ifndef TRANSFER_PEER_H
#define TRANSFER_PEER_H

#include <signal.h>

#include "transfer_con.h"

enum { CONS_OF_PEER = 8, BURST_BYTES = 60000, ECHO_ROOM = 1 << 16 };

/* What a run of the storm is, and what happened in it. */
struct storm {
    const char *scheme;
    gs_stream listener[2]; /* [0] is accepted from, [1] delivers accept messages */
    struct place at[2];
    _Atomic bool stop_chaos, stop_peers;
    _Atomic long echoes, ended, aborted, stalls;
    _Atomic long messages, passive, raw, unrecvs, selective, transfers, refused, foreign_closes, stolen, rearmed, deaths;
    _Atomic long accepts[4], nowait_full, drained, listener_moves, kept;
};
static struct storm *storm;

#define COUNT(what) atomic_fetch_add_explicit(&storm->what, 1, memory_order_relaxed)

struct peer_con {
    gs_stream s;
    struct con *c;
    uint32_t seq, frames;
    uint8_t echo[ECHO_ROOM];
    size_t echo_n;
};

/* A connection of the listener ends[0] becomes ends[1]. */
static void *accept_one(void *ends)
{
    gs_stream *s = ends;
    if (only_answers(gs_stream_accept(s[0], &s[1], GS_NO_MAILBOX, 5000, NULL), 0) == 0)
        only_answers(gs_stream_handshake(s[1], 5000), 0);
    return NULL;
}

/* When the library's side was last seen to move. */
struct pulse {
    uint64_t progress, ms;
};

static struct pulse pulse_of(struct con *c) { return (struct pulse){atomic_load(&c->progress), real_ms()}; }

/* Whether it has moved within the time; tells the stall when it has not. */
static bool moves(struct con *c, struct pulse *p, const char *where)
{
    uint64_t now = atomic_load(&c->progress);
    if (now != p->progress)
        *p = pulse_of(c);
    if (real_ms() - p->ms < STALL_MS || atomic_load(&c->doomed))
        return true;
    COUNT(stalls);
    if (getenv("GS_STORM_HALT"))
        raise(SIGSTOP);
    gs_stream s = {atomic_load(&c->id)};
    gs_stream_info_t info = {0};
    int e = gs_stream_info(s, &info);
    wrong("%s: connection %u (%s) stalled at frame %llu: info %s, active %d, buffered %zu, queued %zu, owner %llx", where,
          number_of(c), c->shared ? "shared" : "ordered", (unsigned long long)now, gs_error_name(e), info.active,
          info.buffered, info.queued, (unsigned long long)info.owner.id);
    return false;
}

static bool expected_end(struct peer_con *p, long e, const char *where)
{
    if (!atomic_load(&p->c->doomed))
        wrong("%s: connection %u (%s) ends with %s after %u of %u frames, %llu came", where, number_of(p->c),
              p->c->shared ? "shared" : "ordered", gs_error_name((int)e), p->seq, p->frames,
              (unsigned long long)atomic_load(&p->c->progress));
    return false;
}

/* Everything of n bytes; false: the connection is over. A timeout tells the rest, which goes on where it stopped. */
static bool send_all(struct peer_con *p, const uint8_t *bytes, size_t n)
{
    struct pulse pulse = pulse_of(p->c);
    while (n) {
        gs_rest rest;
        struct iovec v = {(void *)(uintptr_t)bytes, n};
        int e = gs_stream_sendv(p->s, &v, 1, &rest);
        if (e == 0)
            return true;
        if (e != GS_ETIMEOUT)
            return expected_end(p, e, "send");
        if (rest.header_n || rest.body_left != n - rest.body_at)
            wrong("send: the rest of %zu is told as %zu + %zu", n, rest.body_at, rest.body_left);
        bytes += rest.body_at;
        n = rest.body_left;
        if (!moves(p->c, &pulse, "send"))
            return false;
    }
    return true;
}

/* Takes the whole frames out of what came back. */
static void check_echoes(struct peer_con *p)
{
    static const gs_decoder four = {.type = GS_PACKET_4};
    size_t at = 0;
    for (gs_packet k;;) {
        ssize_t used = gs_decode(&four, p->echo + at, p->echo_n - at, &k, NULL);
        if (used <= 0) {
            if (used < 0)
                wrong("echo: connection %u: no frame", number_of(p->c));
            break;
        }
        at += (size_t)used;
        uint32_t seq;
        const struct con *c = parse_body(k.data.p, k.data.n, &seq, "echo");
        if (!c)
            continue;
        if (c != p->c)
            wrong("echo: connection %u got one of %u", number_of(p->c), number_of(c));
        if (!c->shared && seq < p->c->echoed)
            wrong("echo: connection %u: frame %u after %u", number_of(p->c), seq, p->c->echoed - 1);
        p->c->echoed = seq + 1;
        COUNT(echoes);
    }
    p->echo_n -= at;
    memmove(p->echo, p->echo + at, p->echo_n);
}

/* What has come back by now, or within the time. 0, or why there is no more. */
static int take_echoes(struct peer_con *p, int timeout_ms)
{
    for (;;) {
        ssize_t n = gs_stream_recv(p->s, p->echo + p->echo_n, sizeof p->echo - p->echo_n, 0, timeout_ms);
        if (n < 0)
            return (int)n;
        p->echo_n += (size_t)n;
        check_echoes(p);
        timeout_ms = 0;
    }
}

/* Half-closes, reads to the end that the owner's side makes, closes. */
static void finish(struct peer_con *p)
{
    atomic_store(&p->c->total, p->seq);
    struct pulse pulse = pulse_of(p->c);
    int e = gs_stream_shutdown(p->s, GS_SHUT_WRITE);
    if (e < 0 && !atomic_load(&p->c->doomed))
        wrong("shutdown: connection %u: %s", number_of(p->c), gs_error_name(e));
    do
        e = take_echoes(p, STALL_MS);
    while (e == GS_ETIMEOUT && moves(p->c, &pulse, "end"));
    if (e == GS_ECLOSED) {
        if (p->echo_n && !atomic_load(&p->c->doomed))
            wrong("echo: connection %u ends inside a frame", number_of(p->c));
        atomic_store(&p->c->ended, true);
        COUNT(ended);
    } else
        expected_end(p, e, "end");
}

static uint32_t body_of(struct rng *r) { return HEAD + (uint32_t)rng_below(r, rng_below(r, 40) ? 100 : FRAME_MAX - HEAD); }

/* A burst of frames, cut once anywhere. False: the connection is over. */
static bool burst(struct peer_con *p, struct rng *r, uint8_t *buffer)
{
    size_t n = 0;
    for (uint64_t k = 1 + rng_below(r, 24); k-- && p->seq < p->frames && n < BURST_BYTES - FRAME_MAX; p->seq++)
        n += make_frame(buffer + n, number_of(p->c), p->seq, body_of(r));
    size_t cut = rng_below(r, n + 1);
    if (!send_all(p, buffer, cut))
        return false;
    if (rng_below(r, 4) == 0)
        nap_us(200);
    return send_all(p, buffer + cut, n - cut);
}

static bool begin(struct peer_con *p, struct rng *r)
{
    uint32_t i = atomic_fetch_add(&con_count, 1);
    if (i >= CONS_MAX) {
        atomic_store(&con_count, CONS_MAX);
        return false;
    }
    struct con *c = &cons[i];
    *p = (struct peer_con){.c = c, .frames = 20 + (uint32_t)rng_below(r, SHARED_FRAMES - 20)};
    c->shared = rng_below(r, 4) == 0;
    const gs_opt *opts = GS_OPTS(GS_INT(SEND_TIMEOUT, STALL_MS));
    int e = gs_stream_connect(&p->s, storm->at[rng_below(r, 2)].at, opts, GS_NO_MAILBOX, 10000);
    if (e < 0)
        wrong("connect: %s %s", gs_error_name(e), gs_error_detail(e));
    return e == 0;
}

/* One step of a connection; false: it is over. */
static bool step(struct peer_con *p, struct rng *r, uint8_t *buffer)
{
    if (p->seq < p->frames && !burst(p, r, buffer))
        return false;
    int e = take_echoes(p, 0);
    if (e != GS_ETIMEOUT)
        return expected_end(p, e, "echo");
    if (rng_below(r, 500) == 0) { /* gone without a word */
        atomic_store(&p->c->doomed, true);
        COUNT(aborted);
        return false;
    }
    if (p->seq < p->frames && !atomic_load(&storm->stop_peers))
        return true;
    finish(p);
    return false;
}

static void *peer(void *arg)
{
    struct rng r = {.s = test_seed() + (uintptr_t)arg};
    struct peer_con *p = calloc(CONS_OF_PEER, sizeof *p);
    uint8_t *buffer = malloc(BURST_BYTES);
    int n = 0;
    while (!atomic_load(&storm->stop_peers) || n) {
        bool fresh = n < CONS_OF_PEER && !atomic_load(&storm->stop_peers) && begin(&p[n], &r);
        n += fresh;
        if (!n)
            break;
        int i = fresh ? n - 1 : (int)rng_below(&r, (uint64_t)n); /* an acceptor may wait for the first frame */
        if (step(&p[i], &r, buffer))
            continue;
        only_answers(gs_stream_close(p[i].s), 0);
        n--;
        if (i != n)
            p[i] = p[n];
    }
    free(buffer);
    free(p);
    return NULL;
}

#endif
