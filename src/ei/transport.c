/* transport.c: gs_transport_from_ei: the slots of gensock/transport.h over somebody's ei_socket_callbacks (reverse.h). */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "ei/reverse.h"
#include "gensock/ei.h"

enum {
    BACKLOG = 5,           /* gen_tcp's */
    CONNECT_MS = 120000,   /* about as long as the kernel's TCP tries */
    ACCEPT_MS = 10000,     /* a handshake inside accept */
    SLICE_MS = 100,        /* an accept whose descriptor says nothing: how soon it sees that the listener is closed */
    FIRST_SLOT = offsetof(ei_socket_callbacks, socket),
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct table *tables; /* grows at its head, nothing is taken out */

/* ---- addresses and options ---- */

static const struct table *table_of(const gs_io *io)
{
    const char *scheme = gs_io_scheme(io);
    pthread_mutex_lock(&mutex);
    const struct table *t = tables;
    while (t && t->scheme != scheme)
        t = t->next;
    pthread_mutex_unlock(&mutex);
    return t;
}

/* All that ei's tables know are addresses of IPv4. */
static int read_address(const gs_addr *a, struct sockaddr_in *out)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
    if (gs_addr_family(a) == AF_INET) {
        memcpy(out, &a->sa, sizeof *out);
        return 0;
    }
    if (gs_addr_family(a) != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return gs_fail(-EAFNOSUPPORT, "an ei table knows addresses of IPv4 only");
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = in6->sin6_port};
    memcpy(&out->sin_addr, in6->sin6_addr.s6_addr + 12, sizeof out->sin_addr);
    return 0;
}

/* What says something that nobody would do: the table makes its sockets itself. */
static bool refused(const gs_opt *o)
{
    switch (o->name) {
    case GS_OPT_LINGER:
        return false;
    case GS_OPT_FAMILY:
        return o->v.i != AF_INET && o->v.i != AF_UNSPEC;
    case GS_OPT_IP:
    case GS_OPT_IFADDR:
    case GS_OPT_PORT:
    case GS_OPT_FD:
    case GS_OPT_NETNS:
    case GS_OPT_BIND_TO_DEVICE:
        return true;
    default:
        return o->name >= GS_OPT_NODELAY && o->name <= GS_OPT_RAW;
    }
}

/* *backlog is untouched where none is said. */
static int read_options(const gs_opt *o, int *backlog)
{
    int e = 0;
    for (; o && o->name != GS_OPT_END; o++) {
        if (o->name == GS_OPT_FD && o->v.i >= 0)
            gsi_ei_sys.close((int)o->v.i); /* taken, also on failure */
        if (o->name == GS_OPT_BACKLOG)
            *backlog = (int)o->v.i;
        if (refused(o))
            e = gs_fail(-ENOTSUP, "option %s: an ei table does not have it", gs_opt_name_text(o->name));
    }
    return e;
}

/* A socket of the table for a target. *backlog: in and out. */
static int open_socket(gs_io *io, const gs_target *at, const gs_opt *opts, int *backlog, struct sockaddr_in *in, struct end **out)
{
    const struct table *t = table_of(io);
    int e = read_options(opts, backlog);
    if (e == 0)
        e = t && at->addr ? read_address(at->addr, in) : GS_EBADARG;
    if (e == 0)
        e = gsi_ei_table_socket(t, out);
    if (e == 0)
        (*out)->io = io;
    return e;
}

/* ---- readiness of FULL_IMPL tables ---- */

static bool probe_connection(struct watch *w);
static bool probe_listener(struct watch *w);

static int watch(struct end *e, gs_io *io)
{
    struct pollfd p = {.fd = e->fd, .events = POLLOUT};
    bool writes = e->fd >= 0 && poll(&p, 1, 0) > 0 && p.revents & POLLOUT;
    return gsi_ei_watch_add(&e->watch, e->fd, writes, io, e->stage == LISTENING ? probe_listener : probe_connection);
}

static struct end *end_of(struct watch *w) { return (struct end *)(void *)((char *)w - offsetof(struct end, watch)); }

/* End locked. A slot's answer: whoever is told -EAGAIN is told when to come again. */
static ssize_t tried(struct end *e, enum direction d, ssize_t answer)
{
    if (!e->table->full)
        return answer;
    if (answer == -EAGAIN) {
        e->paused[d] = true;
        gsi_ei_watch_want(&e->watch, d);
    } else if (e->paused[d]) {
        e->paused[d] = false;
        gsi_ei_watch_moved(&e->watch, d);
    }
    return answer;
}

/* ---- listen, accept ---- */

static int slot_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    struct sockaddr_in in;
    struct end *l;
    int backlog = BACKLOG, e = open_socket(io, at, opts, &backlog, &in, &l);
    if (e < 0)
        return e;
    l->stage = LISTENING;
    l->liar = gsi_ei_table_readable(l); /* nobody can be there yet */
    e = gsi_ei_table_listen(l, &in, backlog);
    if (e == 0 && l->table->full)
        e = watch(l, io);
    if (e < 0)
        gsi_ei_table_close(l);
    else
        *ctx = l;
    return e;
}

/* In a thread: a table with FULL_IMPL may do handshakes here, which a zero timeout would break off and lose. */
static void run_accept(struct end *l)
{
    bool blind = l->liar || gsi_ei_watch_blind(&l->watch);
    struct end *fresh = NULL;
    int e = gsi_ei_table_accept(l, blind ? SLICE_MS : ACCEPT_MS, &fresh);
    pthread_mutex_lock(&l->mutex);
    while (e == -EAGAIN && blind && !l->closed) {
        pthread_mutex_unlock(&l->mutex);
        (void)poll(NULL, 0, 1); /* in case that it does not wait at all */
        e = gsi_ei_table_accept(l, SLICE_MS, &fresh);
        pthread_mutex_lock(&l->mutex);
    }
    l->working = false;
    bool closed = l->closed, left = l->left;
    if (!closed && tried(l, READING, e) != -EAGAIN) {
        l->accepted = fresh;
        l->answer = e;
        gs_transport_ready(l->io, true, false);
    }
    pthread_mutex_unlock(&l->mutex);
    if (closed && e == 0)
        gsi_ei_table_close(fresh);
    if (left)
        gsi_ei_table_close(l);
}

/* Listener locked: what its thread has left. */
static int take_accepted(struct end *l, struct end **out)
{
    int e = l->answer;
    *out = l->accepted;
    l->accepted = NULL;
    l->answer = 0;
    return e < 0 ? e : *out ? 0 : -EAGAIN;
}

/* Listener locked. */
static int accept_full(struct end *l, struct end **out)
{
    int e = take_accepted(l, out);
    if (e != -EAGAIN)
        return (int)tried(l, READING, e);
    if (l->working)
        return e;
    if (l->liar || gsi_ei_watch_blind(&l->watch) || gsi_ei_table_readable(l)) {
        e = gsi_ei_work_start("gs-ei-accept", run_accept, l);
        l->working = e == 0;
        return e == 0 ? -EAGAIN : e;
    }
    return (int)tried(l, READING, -EAGAIN);
}

/* The descriptor has said nothing for a while: is that true? A zero timeout, since nobody may be there. */
static bool probe_listener(struct watch *w)
{
    struct end *l = end_of(w);
    pthread_mutex_lock(&l->mutex);
    bool idle = l->io && !l->working && !l->accepted && l->answer == 0, readable = idle && gsi_ei_table_readable(l);
    if (idle && !readable) {
        int e = gsi_ei_table_accept(l, 0, &l->accepted);
        l->liar |= e == 0;
        l->answer = e == -EAGAIN ? 0 : e;
    }
    bool found = readable || l->accepted || l->answer < 0;
    pthread_mutex_unlock(&l->mutex);
    return found;
}

static int slot_accept(void *listener, gs_io *io, void **ctx)
{
    struct end *l = listener, *fresh = NULL;
    bool full = l->table->full;
    pthread_mutex_lock(&l->mutex);
    int e = full ? accept_full(l, &fresh) : gsi_ei_table_accept(l, 0, &fresh);
    pthread_mutex_unlock(&l->mutex);
    if (e < 0)
        return e;
    fresh->stage = CONNECTED;
    fresh->io = io;
    e = full ? watch(fresh, io) : 0;
    if (e < 0)
        gsi_ei_table_close(fresh);
    else
        *ctx = fresh;
    return e;
}

/* ---- connect ---- */

static void run_connect(struct end *e)
{
    int code = gsi_ei_table_connect(e, CONNECT_MS);
    if (code == 0)
        code = gsi_ei_table_begin(e, false);
    pthread_mutex_lock(&e->mutex);
    bool left = e->left;
    e->working = false;
    if (!e->closed) {
        e->answer = code < 0 ? code : watch(e, e->io);
        e->stage = e->answer < 0 ? FAILED : CONNECTED;
        gs_transport_ready(e->io, true, true);
    }
    pthread_mutex_unlock(&e->mutex);
    if (left)
        gsi_ei_table_close(e);
}

static int connect_full(struct end *e)
{
    e->working = true;
    int code = gsi_ei_work_start("gs-ei-connect", run_connect, e);
    return code < 0 ? code : -EINPROGRESS;
}

static int connect_plain(struct end *e)
{
    int code = gsi_ei_table_connect(e, 0);
    if (code == 0)
        code = gsi_ei_table_begin(e, false);
    if (code == 0)
        e->stage = CONNECTED;
    return code;
}

static int slot_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    struct sockaddr_in in;
    struct end *e;
    int backlog = 0, code = open_socket(io, to, opts, &backlog, &in, &e);
    if (code < 0)
        return code;
    bool full = e->table->full;
    e->stage = CONNECTING;
    e->peer = in;
    code = full ? connect_full(e) : connect_plain(e);
    if (code == 0 || code == -EINPROGRESS)
        *ctx = e;
    else
        gsi_ei_table_close(e);
    return code;
}

static int slot_handshake(void *ctx)
{
    struct end *e = ctx;
    pthread_mutex_lock(&e->mutex);
    int code = e->stage == FAILED ? e->answer : e->stage == CONNECTED ? 0 : -EINPROGRESS;
    if (e->stage == CONNECTING && !e->table->full) {
        code = gsi_ei_table_connected(e);
        if (code == 0)
            code = gsi_ei_table_begin(e, false);
        if (code == 0)
            e->stage = CONNECTED;
    }
    pthread_mutex_unlock(&e->mutex);
    if (code == 0 || code == -EINPROGRESS)
        return code;
    return gs_fail(code, "%s: connect of the ei table answered %s", e->table->scheme, gs_error_name(code));
}

/* ---- bytes, the end ---- */

enum { PROBE = 4096 };

/* Nobody else would notice that something came. The memory is there before the bytes are. */
static bool probe_connection(struct watch *w)
{
    struct end *e = end_of(w);
    uint8_t *p = gsi_ei_sys.malloc(PROBE);
    bool found = false;
    pthread_mutex_lock(&e->mutex);
    if (p && e->io && e->paused[READING] && !e->early && !e->probed) {
        ssize_t k = gsi_ei_table_readv(e, &(struct iovec){p, PROBE}, 1);
        found = k != -EAGAIN;
        e->probed = found && k <= 0;
        e->answer = e->probed ? (int)k : 0;
        if (k > 0) {
            e->early = p;
            e->early_at = 0;
            e->early_n = (size_t)k;
            p = NULL;
        }
    }
    pthread_mutex_unlock(&e->mutex);
    gsi_ei_sys.free(p);
    return found;
}

/* End locked. What a probe has met. */
static ssize_t take_early(struct end *e, const struct iovec *iov, int n)
{
    size_t taken = 0;
    if (!e->early) {
        e->probed = false;
        return e->answer;
    }
    for (int i = 0; i < n && e->early_at < e->early_n; i++) {
        size_t left = e->early_n - e->early_at, k = iov[i].iov_len < left ? iov[i].iov_len : left;
        if (k)
            memcpy(iov[i].iov_base, e->early + e->early_at, k);
        e->early_at += k;
        taken += k;
    }
    if (e->early_at == e->early_n) {
        gsi_ei_sys.free(e->early);
        e->early = NULL;
    }
    return (ssize_t)taken;
}

static ssize_t slot_readv(void *ctx, const struct iovec *iov, int n)
{
    struct end *e = ctx;
    pthread_mutex_lock(&e->mutex);
    bool early = e->early || e->probed;
    ssize_t k = tried(e, READING, early ? take_early(e, iov, n) : gsi_ei_table_readv(e, iov, n));
    pthread_mutex_unlock(&e->mutex);
    return k;
}

static ssize_t slot_writev(void *ctx, const struct iovec *iov, int n)
{
    struct end *e = ctx;
    pthread_mutex_lock(&e->mutex);
    ssize_t k = tried(e, WRITING, gsi_ei_table_writev(e, iov, n));
    pthread_mutex_unlock(&e->mutex);
    return k;
}

/* Tables have no reset. */
static void slot_close(void *ctx, bool reset)
{
    (void)reset;
    struct end *e = ctx;
    pthread_mutex_lock(&e->mutex);
    struct end *accepted = e->accepted;
    bool watched = e->table->full && (e->stage == CONNECTED || e->stage == LISTENING);
    e->closed = true;
    e->io = NULL; /* no probe begins any more */
    e->accepted = NULL;
    pthread_mutex_unlock(&e->mutex);
    if (watched)
        gsi_ei_watch_remove(&e->watch);
    if (accepted)
        gsi_ei_table_close(accepted);
    pthread_mutex_lock(&e->mutex);
    bool left = e->left = e->working;
    if (left)
        gsi_ei_table_nudge(e);
    pthread_mutex_unlock(&e->mutex);
    if (!left)
        gsi_ei_table_close(e);
}

static int slot_poll(void *ctx, size_t *buffered)
{
    struct end *e = ctx;
    *buffered = 0;
    return e->table->full ? -1 : e->fd;
}

/* What the table has told; then, where its descriptor is a socket, what the kernel knows. */
static int name_of(const struct end *e, bool peer, gs_addr *out)
{
    struct sockaddr_storage sa;
    struct sockaddr *a = (struct sockaddr *)&sa;
    socklen_t n = sizeof sa;
    const struct sockaddr_in *told = peer ? &e->peer : &e->local;
    if (told->sin_family == AF_INET)
        return gs_addr_make(out, (const struct sockaddr *)told, sizeof *told);
    if (e->fd < 0 || (peer ? getpeername(e->fd, a, &n) : getsockname(e->fd, a, &n)) < 0)
        return -ENOTSUP;
    return sa.ss_family == AF_INET || sa.ss_family == AF_INET6 ? gs_addr_make(out, a, n) : -ENOTSUP;
}

static int slot_name(void *ctx, bool peer, gs_addr *out)
{
    struct end *e = ctx;
    pthread_mutex_lock(&e->mutex);
    int code = peer && e->stage == LISTENING ? -ENOTCONN : name_of(e, peer, out);
    pthread_mutex_unlock(&e->mutex);
    return code;
}

/* ---- registration ---- */

static const struct gs_transport slots = {
    .size = sizeof slots,
    .flags = GS_T_HOST | GS_T_NO_HALF_CLOSE,
    .listen = slot_listen,
    .accept = slot_accept,
    .connect = slot_connect,
    .handshake = slot_handshake,
    .readv = slot_readv,
    .writev = slot_writev,
    .close = slot_close,
    .poll = slot_poll,
    .name = slot_name,
};

/* Whole slots only. */
static void copy_table(ei_socket_callbacks *to, const ei_socket_callbacks *from, size_t n)
{
    n = n < sizeof *to ? n : sizeof *to;
    n -= n > FIRST_SLOT ? (n - FIRST_SLOT) % sizeof from->socket : 0;
    memset(to, 0, sizeof *to);
    memcpy(to, from, n);
}

static int check_table(const ei_socket_callbacks *c)
{
    const char *missing = !c->socket                               ? "socket"
                          : !c->close                              ? "close"
                          : !c->listen                             ? "listen"
                          : !c->EI_ACCEPT_NAME                     ? "accept"
                          : !c->connect                            ? "connect"
                          : !c->write                              ? "write"
                          : !c->read                               ? "read"
                          : !(c->flags & EI_SCLBK_FLG_FULL_IMPL) && !c->get_fd ? "get_fd (without EI_SCLBK_FLG_FULL_IMPL)"
                                                                   : NULL;
    if (missing)
        return gs_fail(-EINVAL, "the ei table has no %s", missing);
    if (c->flags & ~EI_SCLBK_FLG_FULL_IMPL)
        return gs_fail(-EINVAL, "the ei table has flags of a later ei: 0x%x", (unsigned)c->flags);
    return 0;
}

int gs_transport_from_ei(const char *scheme, const ei_socket_callbacks *cbs, int cbs_sz, void *setup)
{
    if (!cbs || cbs_sz < (int)sizeof cbs->flags)
        return GS_EBADARG;
    struct table *t = gsi_ei_zalloc(sizeof *t);
    if (!t)
        return -ENOMEM;
    copy_table(&t->cbs, cbs, (size_t)cbs_sz);
    t->setup = setup;
    t->full = t->cbs.flags & EI_SCLBK_FLG_FULL_IMPL;
    t->transport = slots;
    t->transport.scheme = scheme;
    int e = check_table(&t->cbs);
    /* Behind gensock's own handler, which may still send, and before those of what the table stands on: the last
     * registered is first. */
    if (e == 0)
        (void)atexit(gsi_ei_watch_end);
    pthread_mutex_lock(&mutex); /* whoever finds the scheme finds the table */
    if (e == 0)
        e = gs_transport_register(&t->transport);
    if (e == 0) {
        t->scheme = t->transport.scheme = gs_transport_find(scheme)->scheme;
        t->next = tables;
        tables = t;
    }
    pthread_mutex_unlock(&mutex);
    if (e < 0)
        gsi_ei_sys.free(t);
    return e;
}
