/* The suite over a user's own base transport, made of nothing but memory and locks: no descriptor, small buffers, and
 * gs_transport_ready as the only way to say that something has changed. runner: tsan, memory */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/conformance.h"
#include "gensock/transport.h"

enum { ROOM = 5000, QUEUE = 16, NAME = 64 };

/* One lock for everything: a toy. The hook that gs_transport_ready calls may be called under it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct end {
    struct end *peer; /* NULL: it is gone */
    gs_io *io;
    uint8_t in[ROOM]; /* a queue of bytes, in[0..n) */
    size_t n;
    bool ended, reset, reset_told, shut; /* by the peer; and by this end */
    bool wants_read, wants_write;
    struct end *next; /* in a listener's queue */
};

struct listener {
    struct listener *next;
    gs_io *io;
    char name[NAME];
    struct end *first;
    int n;
};
static struct listener *listeners;

static struct listener *find(const char *name)
{
    struct listener *l = listeners;
    while (l && strcmp(l->name, name) != 0)
        l = l->next;
    return l;
}

static void tell_readable(struct end *e)
{
    if (e->wants_read && e->io)
        gs_transport_ready(e->io, true, false);
    e->wants_read = false;
}

static void tell_writable(struct end *e)
{
    if (e->wants_write && e->io)
        gs_transport_ready(e->io, false, true);
    e->wants_write = false;
}

static int toy_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)opts;
    if (strlen(at->rest) >= NAME)
        return -ENAMETOOLONG;
    struct listener *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->io = io;
    strcpy(l->name, at->rest);
    pthread_mutex_lock(&lock);
    bool taken = find(l->name);
    if (!taken) {
        l->next = listeners;
        listeners = l;
    }
    pthread_mutex_unlock(&lock);
    if (taken)
        free(l);
    else
        *ctx = l;
    return taken ? -EADDRINUSE : 0;
}

static int toy_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    (void)opts;
    struct end *mine = calloc(1, sizeof *mine), *theirs = calloc(1, sizeof *theirs);
    pthread_mutex_lock(&lock);
    struct listener *l = find(to->rest);
    int e = !mine || !theirs ? -ENOMEM : !l || l->n == QUEUE ? -ECONNREFUSED : 0;
    if (e == 0) {
        mine->io = io;
        mine->peer = theirs;
        theirs->peer = mine;
        struct end **last = &l->first;
        while (*last)
            last = &(*last)->next;
        *last = theirs;
        l->n++;
        gs_transport_ready(l->io, true, false);
        *ctx = mine;
    }
    pthread_mutex_unlock(&lock);
    if (e < 0) {
        free(mine);
        free(theirs);
    }
    return e;
}

static int toy_accept(void *listener, gs_io *io, void **ctx)
{
    struct listener *l = listener;
    pthread_mutex_lock(&lock);
    struct end *e = l->first;
    if (e) {
        l->first = e->next;
        l->n--;
        e->io = io;
        *ctx = e;
    }
    pthread_mutex_unlock(&lock);
    return e ? 0 : -EAGAIN;
}

static ssize_t toy_readv(void *ctx, const struct iovec *iov, int n)
{
    struct end *e = ctx;
    size_t k = 0;
    ssize_t result;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < n && k < e->n; i++) {
        size_t part = iov[i].iov_len < e->n - k ? iov[i].iov_len : e->n - k;
        memcpy(iov[i].iov_base, e->in + k, part);
        k += part;
    }
    if (k) {
        memmove(e->in, e->in + k, e->n - k);
        e->n -= k;
        if (e->peer)
            tell_writable(e->peer);
        result = (ssize_t)k;
    } else if (e->reset && !e->reset_told) {
        e->reset_told = true;
        result = -ECONNRESET;
    } else if (e->ended)
        result = 0;
    else {
        e->wants_read = true;
        result = -EAGAIN;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static ssize_t toy_writev(void *ctx, const struct iovec *iov, int n)
{
    struct end *e = ctx;
    size_t k = 0, wanted = 0;
    ssize_t result;
    pthread_mutex_lock(&lock);
    struct end *to = e->peer;
    for (int i = 0; i < n; i++) {
        size_t room = to ? ROOM - to->n : 0, part = iov[i].iov_len < room ? iov[i].iov_len : room;
        wanted += iov[i].iov_len;
        if (!part)
            continue;
        memcpy(to->in + to->n, iov[i].iov_base, part);
        to->n += part;
        k += part;
    }
    if (e->reset && !e->reset_told) {
        e->reset_told = true;
        result = -ECONNRESET;
    } else if (!to || e->shut)
        result = -EPIPE;
    else if (k || !wanted) {
        tell_readable(to);
        result = (ssize_t)k;
    } else {
        e->wants_write = true;
        result = -EAGAIN;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static int toy_shutdown(void *ctx, gs_how how)
{
    struct end *e = ctx;
    pthread_mutex_lock(&lock);
    if (how != GS_SHUT_READ) {
        e->shut = true;
        if (e->peer) {
            e->peer->ended = true;
            tell_readable(e->peer);
        }
    }
    if (how != GS_SHUT_WRITE) {
        e->ended = true;
        tell_readable(e);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

/* Locked. */
static void part(struct end *e, bool reset)
{
    struct end *peer = e->peer;
    if (peer) {
        peer->peer = NULL;
        peer->ended = true;
        peer->reset |= reset;
        tell_readable(peer);
        tell_writable(peer);
    }
    free(e);
}

static bool is_listener(const void *ctx)
{
    const struct listener *l = listeners;
    while (l && (const void *)l != ctx)
        l = l->next;
    return l;
}

static void toy_close(void *ctx, bool reset)
{
    pthread_mutex_lock(&lock);
    if (is_listener(ctx)) {
        struct listener *l = ctx, **at = &listeners;
        while (*at != l)
            at = &(*at)->next;
        *at = l->next;
        for (struct end *e = l->first, *next; e; e = next) {
            next = e->next;
            part(e, true);
        }
        free(l);
    } else
        part(ctx, reset);
    pthread_mutex_unlock(&lock);
}

static int toy_poll(void *ctx, size_t *buffered)
{
    (void)ctx;
    *buffered = 0;
    return -1;
}

static const struct gs_transport toy = {
    .size = sizeof toy,
    .scheme = "toy",
    .listen = toy_listen,
    .accept = toy_accept,
    .connect = toy_connect,
    .readv = toy_readv,
    .writev = toy_writev,
    .shutdown = toy_shutdown,
    .close = toy_close,
    .poll = toy_poll,
};

static void register_toy(void)
{
    if (gs_transport_register(&toy) < 0)
        abort();
}

CONFORMANCE_MAIN_WITH(register_toy, {"toy", "toy://box%u"})
