/* tls_ends.h: two ends of TLS over a scripted transport, driven by their slots in one thread: what below is short, late, cut or
 * broken is decided byte by byte, and the same seed decides the same. Uses no cmocka, so that fuzz targets take it too.
 */
#ifndef TEST_TLS_ENDS_H
#define TEST_TLS_ENDS_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gensock/tls.h"
#include "transport/transport.h"

/* One direction. */
struct tls_pipe {
    uint8_t *p;
    size_t at, n, cap;
    size_t passed; /* bytes read out of it so far */
};

/* How an end's lower transport behaves; rates are of 256. */
struct tls_script {
    uint64_t seed;
    unsigned shorts, eintr, eagain, nothing; /* nothing: a write takes 0 bytes; a flush comes too early */
    size_t room;                             /* bytes that wait in a direction at most; 0: no limit */
    size_t read_stop;                        /* reads end after so many bytes: */
    int read_answer;                         /* 1: never; 0: with the end; < 0: with this error */
    size_t write_stop;                       /* writes fail after so many bytes: */
    int write_error;                         /* with this; 0: never */
    bool deaf;                               /* nothing comes in for now */
};

struct tls_end {
    struct gs_io io; /* first: what the layer calls is below it */
    struct tls_script script;
    struct tls_pipe *in, *out;
    size_t written;
    void *tls;
};

struct tls_ends {
    struct tls_pipe to_server, to_client;
    struct tls_end client, server;
};

static inline const struct gs_transport *tls_layer(void) { return gs_transport_find("tls"); }

/* ---- below ---- */

static inline uint64_t tls_draw(struct tls_script *s)
{
    uint64_t z = s->seed += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline bool tls_happens(struct tls_script *s, unsigned rate) { return rate && (tls_draw(s) & 255) < rate; }

static inline void tls_pipe_put(struct tls_pipe *q, const void *p, size_t n)
{
    if (q->n + n > q->cap) {
        q->cap = 2 * (q->n + n);
        q->p = realloc(q->p, q->cap);
        if (!q->p)
            abort();
    }
    if (n)
        memcpy(q->p + q->n, p, n);
    q->n += n;
}

static inline ssize_t tls_below_readv(void *ctx, const struct iovec *iov, int n)
{
    struct tls_end *e = ctx;
    struct tls_script *s = &e->script;
    size_t left = e->in->n - e->in->at;
    if (s->deaf)
        return -EAGAIN;
    if (tls_happens(s, s->eintr))
        return -EINTR;
    if (s->read_answer <= 0) {
        if (e->in->passed >= s->read_stop)
            return s->read_answer;
        left = left < s->read_stop - e->in->passed ? left : s->read_stop - e->in->passed;
    }
    if (!left || tls_happens(s, s->eagain))
        return -EAGAIN;
    size_t k = n && iov[0].iov_len < left ? iov[0].iov_len : left;
    if (k > 1 && tls_happens(s, s->shorts))
        k = 1 + tls_draw(s) % (tls_draw(s) & 1 ? k : 7 < k ? 7 : k);
    memcpy(iov[0].iov_base, e->in->p + e->in->at, k);
    e->in->at += k;
    e->in->passed += k;
    if (e->in->at == e->in->n)
        e->in->at = e->in->n = 0;
    return (ssize_t)k;
}

static inline ssize_t tls_below_writev(void *ctx, const struct iovec *iov, int n)
{
    struct tls_end *e = ctx;
    struct tls_script *s = &e->script;
    size_t waits = e->out->n - e->out->at, k = n ? iov[0].iov_len : 0;
    if (tls_happens(s, s->eintr))
        return -EINTR;
    if (s->write_error) {
        if (e->written >= s->write_stop)
            return s->write_error;
        k = k < s->write_stop - e->written ? k : s->write_stop - e->written;
    }
    if (tls_happens(s, s->nothing))
        return 0;
    if ((s->room && waits >= s->room) || tls_happens(s, s->eagain))
        return -EAGAIN;
    if (s->room && k > s->room - waits)
        k = s->room - waits;
    if (k > 1 && tls_happens(s, s->shorts))
        k = 1 + tls_draw(s) % (tls_draw(s) & 1 ? k : 7 < k ? 7 : k);
    tls_pipe_put(e->out, iov[0].iov_base, k);
    e->written += k;
    return (ssize_t)k;
}

static inline int tls_below_flush(void *ctx)
{
    struct tls_script *s = &((struct tls_end *)ctx)->script;
    return !tls_happens(s, s->nothing) ? 0 : tls_draw(s) & 1 ? -EAGAIN : GS_EWANT_WRITE;
}

static inline int tls_below_shutdown(void *ctx, gs_how how) { return (void)ctx, (void)how, 0; }

static const struct gs_transport tls_below = {
    .size = sizeof tls_below,
    .scheme = "below",
    .readv = tls_below_readv,
    .writev = tls_below_writev,
    .flush = tls_below_flush,
    .shutdown = tls_below_shutdown,
};

/* ---- above ---- */

static inline int tls_end_open(struct tls_end *e, bool server, const gs_opt *opts, struct tls_pipe *in, struct tls_pipe *out,
                               const struct tls_script *script)
{
    memset(e, 0, sizeof *e);
    e->io.lower = &tls_below;
    e->io.lower_ctx = e;
    e->script = *script;
    e->in = in;
    e->out = out;
    return tls_layer()->upgrade(&e->io, server, &(gs_target){.rest = ""}, opts, &e->tls);
}

static inline void tls_end_close(struct tls_end *e)
{
    if (e->tls)
        tls_layer()->close(e->tls, true);
    e->tls = NULL;
}

/* 0 or why one of them could not be made. */
static inline int tls_ends_open(struct tls_ends *x, const gs_opt *client, const gs_opt *server, const struct tls_script *script)
{
    memset(x, 0, sizeof *x);
    int e = tls_end_open(&x->client, false, client, &x->to_client, &x->to_server, script);
    if (e < 0)
        return e;
    struct tls_script other = *script;
    other.seed = script->seed * 31 + 7;
    return tls_end_open(&x->server, true, server, &x->to_server, &x->to_client, &other);
}

static inline void tls_ends_close(struct tls_ends *x)
{
    tls_end_close(&x->client);
    tls_end_close(&x->server);
    free(x->to_server.p);
    free(x->to_client.p);
    memset(&x->to_server, 0, sizeof x->to_server);
    memset(&x->to_client, 0, sizeof x->to_client);
}

static inline ssize_t tls_end_read(struct tls_end *e, void *p, size_t n)
{
    return tls_layer()->readv(e->tls, &(struct iovec){p, n}, 1);
}

static inline ssize_t tls_end_write(struct tls_end *e, const void *p, size_t n)
{
    return tls_layer()->writev(e->tls, &(struct iovec){(void *)(uintptr_t)p, n}, 1);
}

static inline bool tls_goes_on(int e) { return e == GS_EWANT_READ || e == GS_EWANT_WRITE || e == -EAGAIN; }

/* Both steps in turn until each is done or has failed; what each then said. False: neither after so many steps. */
static inline bool tls_ends_handshake(struct tls_ends *x, int *client, int *server)
{
    *client = *server = GS_EWANT_READ;
    for (int i = 0; i < 200000; i++) {
        if (tls_goes_on(*client))
            *client = tls_layer()->handshake(x->client.tls);
        if (tls_goes_on(*server))
            *server = tls_layer()->handshake(x->server.tls);
        if (!tls_goes_on(*client) && !tls_goes_on(*server))
            return true;
        char nothing;
        if (*client == 0 && tls_goes_on(*server)) /* it has tickets to send, and for that room */
            (void)tls_end_read(&x->client, &nothing, 1);
        if (i > 1000 && ((*client < 0 && !tls_goes_on(*client)) || (*server < 0 && !tls_goes_on(*server))))
            return true; /* the other waits for bytes that will not come */
    }
    return false;
}

static inline size_t tls_end_buffered(struct tls_end *e)
{
    size_t n = 0;
    (void)tls_layer()->poll(e->tls, &n);
    return n;
}

#endif
