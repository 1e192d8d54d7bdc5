/* callbacks.c: ei's table. A context is looked up (box.c), a stream does the work, codes become errnos (thread.c).
 *
 * ei passes what a call is given: for connect and listen a sockaddr_in, for the others at most a timeout.
 * EI_SCLBK_FLG_FULL_IMPL: the timeouts are ours, and ei calls neither select nor fcntl.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ei/bridge.h"

enum { PIECES_MAX = 1024 };

static int left(struct gsi_ei_box *b, int e)
{
    gsi_ei_box_leave(b);
    return e < 0 ? gsi_ei_failed(e) : gsi_ei_succeeded();
}

/* ---- time ---- */

static int milliseconds(unsigned tmo) { return tmo == EI_SCLBK_INF_TMO ? GS_INFINITY : tmo > INT_MAX ? INT_MAX : (int)tmo; }

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Of a call that takes two steps. */
static int time_left(int timeout_ms, int64_t began)
{
    int64_t gone = timeout_ms > 0 ? now_ms() - began : 0;
    return timeout_ms <= 0 ? timeout_ms : gone >= timeout_ms ? 0 : (int)(timeout_ms - gone);
}

/* ---- life ---- */

static int new_socket(void **ctx, void *setup)
{
    struct gsi_ei_box *b;
    char next[GS_EI_ADDRESS_MAX];
    if (!ctx)
        return gsi_ei_failed(-EINVAL);
    gsi_ei_take_next(next);
    int e = gsi_ei_box_new(&b, setup);
    if (e < 0)
        return gsi_ei_failed(e);
    if (next[0]) {
        size_t n = strlen(next) + 1;
        b->address = gsi_ei_sys.malloc(n);
        if (!b->address) {
            (void)gsi_ei_box_close(b);
            return left(b, -ENOMEM);
        }
        memcpy(b->address, next, n);
    }
    *ctx = gsi_ei_box_ctx(b);
    return left(b, 0);
}

static int close_socket(void *ctx)
{
    struct gsi_ei_box *b = gsi_ei_box_enter(ctx);
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    if (!gsi_ei_box_close(b))
        return left(b, GS_EBADARG);
    gsi_ei_box_leave(b); /* ei closes what failed: why is still to be told */
    return 0;
}

/* ---- opening ---- */

/* What to open, and the options to open it with, from what ei and the setup say. */
static int prepare(struct gsi_ei_box *b, const struct sockaddr_in *in, size_t n, int backlog, char *address, gs_opt **opts)
{
    if (b->role != GSI_EI_FRESH)
        return gs_fail(-EINVAL, "this socket is connected, or listens, already");
    if (b->address)
        memcpy(address, b->address, strlen(b->address) + 1);
    else {
        int e = in && n >= sizeof *in ? gsi_ei_address(b->setup, in, backlog >= 0, address) : -EINVAL;
        if (e < 0)
            return e;
    }
    return gsi_ei_options(b->setup, address, backlog, opts);
}

/* IPv4, also as IPv6 writes it: the rest is beyond what ei has words for. */
static void tell_address(const gs_addr *a, bool with_any_port, void *addr, int *len)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    uint8_t ip[16];
    bool v6 = a && gs_addr_family(a) == AF_INET6;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (!addr || !len || *len < (int)sizeof in)
        return;
    if (v6)
        memcpy(ip, &((const struct sockaddr_in6 *)(const void *)&a->sa)->sin6_addr, sizeof ip);
    if (a && gs_addr_family(a) == AF_INET)
        in.sin_addr = ((const struct sockaddr_in *)(const void *)&a->sa)->sin_addr;
    else if (v6 && !memcmp(ip, mapped, sizeof mapped))
        memcpy(&in.sin_addr, ip + sizeof mapped, sizeof in.sin_addr);
    else
        v6 = v6 && with_any_port;
    if (v6 || (a && gs_addr_family(a) == AF_INET))
        in.sin_port = htons((uint16_t)gs_addr_port(a));
    memcpy(addr, &in, sizeof in);
    *len = (int)sizeof in;
}

static int open_listener(void *ctx, void *addr, int *len, int backlog)
{
    struct gsi_ei_box *b = gsi_ei_box_enter(ctx);
    char address[GS_EI_ADDRESS_MAX];
    gs_opt *opts = NULL;
    gs_stream s;
    gs_addr at;
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    int e = prepare(b, addr, len && *len > 0 ? (size_t)*len : 0, backlog < 0 ? 0 : backlog, address, &opts);
    if (e == 0)
        e = gs_stream_listen(&s, address, opts, GS_NO_MAILBOX);
    gsi_ei_sys.free(opts);
    if (e == 0)
        e = gsi_ei_box_settle(b, s, GS_NO_MAILBOX, GSI_EI_LISTENER);
    if (e == 0)
        tell_address(gs_stream_sockname(s, &at) == 0 ? &at : NULL, true, addr, len);
    return left(b, e);
}

static int connect_to(void *ctx, void *addr, int len, unsigned tmo)
{
    struct gsi_ei_box *b = gsi_ei_box_enter(ctx);
    char address[GS_EI_ADDRESS_MAX];
    gs_opt *opts = NULL;
    gs_stream s;
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    int e = prepare(b, addr, len > 0 ? (size_t)len : 0, -1, address, &opts);
    if (e == 0)
        e = gs_stream_connect(&s, address, opts, GS_NO_MAILBOX, milliseconds(tmo));
    gsi_ei_sys.free(opts);
    if (e == 0)
        e = gsi_ei_box_settle(b, s, GS_NO_MAILBOX, GSI_EI_CONNECTION);
    return left(b, e);
}

/* A connection with its handshake behind it. Takes s and its mailbox, also on failure. */
static int settle_accepted(struct gsi_ei_box *listener, gs_stream s, gs_mailbox mailbox, int timeout_ms, void **ctx)
{
    struct gsi_ei_box *b;
    int e = gsi_ei_box_handshake(listener, s, timeout_ms);
    if (e == 0)
        e = gsi_ei_box_new(&b, listener->setup);
    if (e < 0) {
        (void)gs_stream_close(s);
        if (mailbox.id)
            (void)gs_mailbox_free(mailbox);
        return e;
    }
    e = gsi_ei_box_settle(b, s, mailbox, GSI_EI_CONNECTION);
    if (e < 0)
        (void)gsi_ei_box_close(b);
    else
        *ctx = gsi_ei_box_ctx(b);
    gsi_ei_box_leave(b);
    return e;
}

static int accept_one(void **ctx, void *addr, int *len, unsigned tmo)
{
    struct gsi_ei_box *b = ctx ? gsi_ei_box_enter(*ctx) : NULL;
    int timeout_ms = milliseconds(tmo);
    int64_t began = now_ms();
    gs_stream s;
    gs_mailbox mailbox;
    gs_addr from;
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    if (b->role != GSI_EI_LISTENER)
        return left(b, gs_fail(-EINVAL, "this socket does not listen"));
    bool alone = b->way == GSI_EI_MAIL;
    if (alone && atomic_exchange(&b->reading, true))
        return left(b, -EALREADY);
    int e = gsi_ei_input_accept(b, &s, &mailbox, timeout_ms);
    if (alone)
        atomic_store(&b->reading, false);
    if (e == 0)
        e = settle_accepted(b, s, mailbox, time_left(timeout_ms, began), ctx);
    if (e == 0)
        tell_address(gs_stream_peername(s, &from) == 0 ? &from : NULL, false, addr, len);
    return left(b, e == GS_ECLOSED && !gsi_ei_box_is_open(b) ? GS_EBADARG : e);
}

/* ---- bytes ---- */

static int read_some(void *ctx, char *p, ssize_t *len, unsigned tmo)
{
    struct gsi_ei_box *b = gsi_ei_box_enter(ctx);
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    if (!len || *len < 0 || (!p && *len))
        return left(b, -EINVAL);
    if (b->role != GSI_EI_CONNECTION)
        return left(b, -ENOTCONN);
    if (!*len)
        return left(b, 0);
    if (atomic_exchange(&b->reading, true))
        return left(b, -EALREADY);
    ssize_t k = gsi_ei_input_read(b, p, (size_t)*len, milliseconds(tmo));
    atomic_store(&b->reading, false);
    if (k >= 0)
        *len = k;
    return left(b, k < 0 ? (int)k : 0);
}

static struct timespec after(int timeout_ms)
{
    struct timespec by;
    clock_gettime(CLOCK_MONOTONIC, &by);
    by.tv_sec += timeout_ms / 1000;
    by.tv_nsec += timeout_ms % 1000 * 1000000;
    if (by.tv_nsec >= 1000000000) {
        by.tv_sec++;
        by.tv_nsec -= 1000000000;
    }
    return by;
}

/* Another thread writes. *timeout_ms becomes what is left of it. */
static int await_writer(struct gsi_ei_box *b, int *timeout_ms)
{
    int e = *timeout_ms ? 0 : ETIMEDOUT;
    int64_t began = now_ms();
    struct timespec by = *timeout_ms > 0 ? after(*timeout_ms) : (struct timespec){0};
    pthread_mutex_lock(&b->mutex);
    atomic_fetch_add(&b->writers, 1);
    bool taken;
    while ((taken = atomic_exchange(&b->writing, true)) && e == 0)
        e = *timeout_ms < 0 ? pthread_cond_wait(&b->written, &b->mutex) : pthread_cond_timedwait(&b->written, &b->mutex, &by);
    atomic_fetch_sub(&b->writers, 1);
    pthread_mutex_unlock(&b->mutex);
    *timeout_ms = time_left(*timeout_ms, began);
    return taken ? GS_ETIMEOUT : 0;
}

/* One writer at a time, each with its own timeout. Who ends sees who waits, or who waits sees the end: each looks after it has
 * said what it does. */
static int begin_writing(struct gsi_ei_box *b, int *timeout_ms)
{
    return atomic_exchange(&b->writing, true) ? await_writer(b, timeout_ms) : 0;
}

static void end_writing(struct gsi_ei_box *b)
{
    atomic_store(&b->writing, false);
    if (!atomic_load(&b->writers))
        return;
    pthread_mutex_lock(&b->mutex);
    pthread_cond_signal(&b->written);
    pthread_mutex_unlock(&b->mutex);
}

/* The timeout is an option of the stream, which seldom changes. */
static int send_pieces(struct gsi_ei_box *b, const struct iovec *iov, int n, int timeout_ms, gs_rest *rest)
{
    gs_stream s = gsi_ei_box_stream(b);
    ssize_t k = b->way == GSI_EI_PLAIN && timeout_ms == GS_INFINITY ? gsi_ei_plain_write(b, iov, n) : -EAGAIN;
    if (k > 0)
        rest->body_left -= (size_t)k;
    if (k != -EAGAIN)
        return k < 0 ? (int)k : 0;
    if (timeout_ms != b->send_timeout) {
        int e = gs_stream_setopts(s, GS_OPTS(GS_INT(SEND_TIMEOUT, timeout_ms)));
        if (e < 0)
            return e;
        b->send_timeout = timeout_ms;
    }
    int e = gs_stream_sendv(s, iov, n, rest);
    if (e == 0)
        rest->body_left = 0;
    return e;
}

/* What has left is told as written; why the rest has not, the next call tells. */
static int write_pieces(void *ctx, const struct iovec *iov, int n, ssize_t *len, unsigned tmo)
{
    struct gsi_ei_box *b = gsi_ei_box_enter(ctx);
    size_t total = 0;
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    if (!len || n < 0 || (!iov && n))
        return left(b, -EINVAL);
    if (b->role != GSI_EI_CONNECTION)
        return left(b, -ENOTCONN);
    n = n < PIECES_MAX ? n : PIECES_MAX;
    for (int i = 0; i < n; i++) {
        if ((!iov[i].iov_base && iov[i].iov_len) || iov[i].iov_len > (size_t)SSIZE_MAX - total)
            return left(b, -EINVAL);
        total += iov[i].iov_len;
    }
    *len = 0;
    if (!total)
        return left(b, 0);
    int timeout_ms = milliseconds(tmo);
    int e = begin_writing(b, &timeout_ms);
    gs_rest rest = {.body_left = total};
    if (e == 0) {
        e = send_pieces(b, iov, n, timeout_ms, &rest);
        end_writing(b);
    }
    *len = (ssize_t)(total - rest.body_left);
    if (*len)
        return left(b, 0);
    return left(b, e == GS_ECLOSED ? gsi_ei_box_is_open(b) ? -EPIPE : GS_EBADARG : e);
}

static int write_vector(void *ctx, const void *iov, int n, ssize_t *len, unsigned tmo)
{
    return write_pieces(ctx, iov, n, len, tmo);
}

static int write_some(void *ctx, const char *p, ssize_t *len, unsigned tmo)
{
    struct iovec v = {(void *)(uintptr_t)p, len && *len > 0 ? (size_t)*len : 0};
    return write_pieces(ctx, &v, len && *len < 0 ? -1 : 1, len, tmo);
}

/* ---- about a connection ---- */

/* Erlang's distribution frames its handshake with 4 bytes where the carrier is TLS (inet_tls_dist: {packet, 4}), with 2 over
 * TCP. */
static int header_size(void *ctx, int *size)
{
    struct gsi_ei_box *b = gsi_ei_box_enter(ctx);
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    if (!size)
        return left(b, -EINVAL);
    if (b->role != GSI_EI_CONNECTION)
        return left(b, -ENOTCONN);
    *size = gs_stream_secure(gsi_ei_box_stream(b)) ? 4 : 2;
    return left(b, 0);
}

static int handshake_done(void *ctx, bool connected)
{
    struct gsi_ei_box *b = gsi_ei_box_enter(ctx);
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    if (b->role != GSI_EI_CONNECTION)
        return left(b, -ENOTCONN);
    const gs_opt *opts = !b->setup ? NULL : connected ? b->setup->connect_opts : b->setup->listen_opts;
    return left(b, gsi_ei_options_after_handshake(gsi_ei_box_stream(b), opts));
}

static int connect_done(void *ctx) { return handshake_done(ctx, true); }
static int accept_done(void *ctx) { return handshake_done(ctx, false); }

static int descriptor(void *ctx, int *fd)
{
    struct gsi_ei_box *b = gsi_ei_box_enter(ctx);
    if (!b)
        return gsi_ei_failed(GS_EBADARG);
    if (!fd)
        return left(b, -EINVAL);
    *fd = b->fd;
    gsi_ei_box_leave(b);
    return 0;
}

/* ---- the calls ---- */

ei_socket_callbacks *gs_ei_callbacks(int *size)
{
    static ei_socket_callbacks table = {
        .flags = EI_SCLBK_FLG_FULL_IMPL,
        .socket = new_socket,
        .close = close_socket,
        .listen = open_listener,
        .accept = accept_one,
        .connect = connect_to,
        .writev = write_vector,
        .write = write_some,
        .read = read_some,
        .handshake_packet_header_size = header_size,
        .connect_handshake_complete = connect_done,
        .accept_handshake_complete = accept_done,
        .get_fd = descriptor,
    };
    if (size)
        *size = (int)sizeof table;
    return &table;
}

int gs_ei_stream(int fd, gs_stream *out)
{
    struct gsi_ei_box *b = out ? gsi_ei_box_enter_fd(fd) : NULL;
    if (!b)
        return GS_EBADARG;
    gs_stream s = gsi_ei_box_stream(b);
    gsi_ei_box_leave(b);
    if (!s.id)
        return gs_fail(-ENOTCONN, "descriptor %d is not connected, and does not listen", fd);
    *out = s;
    return 0;
}
