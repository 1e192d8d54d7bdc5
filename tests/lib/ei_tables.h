/* ei_tables.h: tables of ei's callbacks (ei_socket_callbacks) to be turned into transports, made of the kernel's TCP over IPv4.
 *
 *   tables_plain()  without FULL_IMPL: one system call each, as ei's own table; calls ignore tmo
 *   tables_full()   FULL_IMPL: each call waits up to tmo, on a blocking descriptor
 *                   of size TABLES_SHORT, that is all it takes: no slot behind `read`, so no descriptor either
 *   tables_bare()   without FULL_IMPL, the optional slots NULL
 *
 * A test may change what it gets, a copy. `tables` counts, and says what the descriptors are worth.
 */
#ifndef TEST_EI_TABLES_H
#define TEST_EI_TABLES_H

#include <ei.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* What the tables have done; tables_reset begins anew. */
static struct {
    _Atomic int sockets, closes, reads, writes, accepts, connects; /* calls */
    _Atomic int connect_completes, accept_completes, accepted;
    _Atomic int blocking;      /* calls that met the descriptor in the other mode than they may expect */
    _Atomic long longest;      /* write */
    void *_Atomic setup;       /* what the last socket got */
    _Atomic int shows;         /* what get_fd of sockets with FULL_IMPL tells that are made from now on */
} tables __attribute__((unused));

/* The socket itself; a descriptor that is never readable; one that always is; a file, which cannot be waited for. */
enum { SHOWS_TRUTH, SHOWS_NOTHING, SHOWS_NOISE, SHOWS_FILE };

struct tables_ctx {
    int fd, shown;
    bool full;
};

static inline int tables_show(int fd)
{
    int shows = tables.shows;
    if (shows == SHOWS_FILE)
        return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    return shows == SHOWS_TRUTH ? fd : eventfd(shows == SHOWS_NOISE, EFD_CLOEXEC | EFD_NONBLOCK);
}

static inline void tables_reset(void)
{
    tables.sockets = tables.closes = tables.reads = tables.writes = tables.accepts = tables.connects = 0;
    tables.connect_completes = tables.accept_completes = tables.accepted = tables.blocking = 0;
    tables.longest = 0;
    tables.shows = SHOWS_TRUTH;
}

static inline int tables_errno(int result) { return result < 0 ? errno : 0; }

/* ETIMEDOUT, 0, or another errno. */
static inline int tables_wait(int fd, short events, unsigned tmo)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n = poll(&p, 1, tmo == EI_SCLBK_INF_TMO ? -1 : (int)tmo);
    return n < 0 ? errno : n == 0 ? ETIMEDOUT : 0;
}

static inline void tables_expect_mode(const struct tables_ctx *c, bool blocking)
{
    tables.blocking += !(fcntl(c->fd, F_GETFL) & O_NONBLOCK) != blocking;
}

static inline int tables_new(void **ctx, int fd, bool full)
{
    struct tables_ctx *c = malloc(sizeof *c);
    if (!c) {
        close(fd);
        return ENOMEM;
    }
    *c = (struct tables_ctx){fd, full ? tables_show(fd) : fd, full};
    *ctx = c;
    return 0;
}

static inline int tables_socket(void **ctx, void *setup, bool full)
{
    tables.sockets++;
    tables.setup = setup;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : tables_new(ctx, fd, full);
}
static inline int tables_socket_plain(void **ctx, void *setup) { return tables_socket(ctx, setup, false); }
static inline int tables_socket_full(void **ctx, void *setup) { return tables_socket(ctx, setup, true); }

static inline int tables_close(void *ctx)
{
    struct tables_ctx *c = ctx;
    tables.closes++;
    if (c->shown != c->fd)
        close(c->shown);
    close(c->fd);
    free(c);
    return 0;
}

static inline int tables_listen(void *ctx, void *addr, int *len, int backlog)
{
    struct tables_ctx *c = ctx;
    int on = 1;
    socklen_t n = (socklen_t)*len;
    if (setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(c->fd, addr, n) < 0 ||
        listen(c->fd, backlog) < 0 || getsockname(c->fd, addr, &n) < 0)
        return errno;
    *len = (int)n;
    return 0;
}

static inline int tables_accept(void **ctx, void *addr, int *len, unsigned tmo)
{
    struct tables_ctx *c = *ctx;
    socklen_t n = (socklen_t)*len;
    tables.accepts++;
    tables_expect_mode(c, c->full);
    int e = c->full ? tables_wait(c->fd, POLLIN, tmo) : 0;
    if (e)
        return e;
    int fd = accept4(c->fd, addr, &n, SOCK_CLOEXEC);
    if (fd < 0)
        return errno;
    *len = (int)n;
    tables.accepted++;
    return tables_new(ctx, fd, c->full);
}

static inline int tables_connect_plain(void *ctx, void *addr, int len, unsigned tmo)
{
    struct tables_ctx *c = ctx;
    (void)tmo;
    tables.connects++;
    tables_expect_mode(c, false);
    return tables_errno(connect(c->fd, addr, (socklen_t)len));
}

static inline int tables_connect_full(void *ctx, void *addr, int len, unsigned tmo)
{
    struct tables_ctx *c = ctx;
    socklen_t n = sizeof(int);
    tables.connects++;
    tables_expect_mode(c, true);
    int flags = fcntl(c->fd, F_GETFL), error = 0;
    fcntl(c->fd, F_SETFL, flags | O_NONBLOCK);
    int e = tables_errno(connect(c->fd, addr, (socklen_t)len));
    if (e == EINPROGRESS)
        e = tables_wait(c->fd, POLLOUT, tmo);
    if (e == 0 && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0)
        e = error;
    fcntl(c->fd, F_SETFL, flags);
    return e;
}

static inline int tables_moved(ssize_t k, ssize_t *len)
{
    *len = k < 0 ? *len : k;
    return k < 0 ? errno : 0;
}

static inline int tables_writev(void *ctx, const void *iov, int n, ssize_t *len, unsigned tmo)
{
    struct tables_ctx *c = ctx;
    tables.writes++;
    tables_expect_mode(c, c->full);
    int e = c->full ? tables_wait(c->fd, POLLOUT, tmo) : 0;
    long total = 0;
    for (int i = 0; i < n; i++)
        total += (long)((const struct iovec *)iov)[i].iov_len;
    if (total > tables.longest)
        tables.longest = total;
    return e ? e : tables_moved(writev(c->fd, iov, n), len);
}

static inline int tables_write(void *ctx, const char *buf, ssize_t *len, unsigned tmo)
{
    struct tables_ctx *c = ctx;
    tables.writes++;
    tables_expect_mode(c, c->full);
    int e = c->full ? tables_wait(c->fd, POLLOUT, tmo) : 0;
    if (*len > tables.longest)
        tables.longest = *len;
    return e ? e : tables_moved(write(c->fd, buf, (size_t)*len), len);
}

static inline int tables_read(void *ctx, char *buf, ssize_t *len, unsigned tmo)
{
    struct tables_ctx *c = ctx;
    tables.reads++;
    tables_expect_mode(c, c->full);
    int e = c->full ? tables_wait(c->fd, POLLIN, tmo) : 0;
    return e ? e : tables_moved(read(c->fd, buf, (size_t)*len), len);
}

static inline int tables_header_size(void *ctx, int *size)
{
    (void)ctx;
    *size = 2;
    return 0;
}

static inline int tables_connect_complete(void *ctx)
{
    (void)ctx;
    tables.connect_completes++;
    return 0;
}

static inline int tables_accept_complete(void *ctx)
{
    (void)ctx;
    tables.accept_completes++;
    return 0;
}

static inline int tables_get_fd(void *ctx, int *fd)
{
    *fd = ((struct tables_ctx *)ctx)->shown;
    return 0;
}

static inline ei_socket_callbacks tables_plain(void)
{
    return (ei_socket_callbacks){.socket = tables_socket_plain, .close = tables_close, .listen = tables_listen,
        .accept = tables_accept, .connect = tables_connect_plain, .writev = tables_writev, .write = tables_write,
        .read = tables_read, .handshake_packet_header_size = tables_header_size,
        .connect_handshake_complete = tables_connect_complete, .accept_handshake_complete = tables_accept_complete,
        .get_fd = tables_get_fd};
}

static inline ei_socket_callbacks tables_full(void)
{
    ei_socket_callbacks t = tables_plain();
    t.flags = EI_SCLBK_FLG_FULL_IMPL;
    t.socket = tables_socket_full;
    t.connect = tables_connect_full;
    return t;
}

enum { TABLES_SHORT = offsetof(ei_socket_callbacks, handshake_packet_header_size) };

static inline ei_socket_callbacks tables_bare(void)
{
    ei_socket_callbacks t = tables_plain();
    t.writev = NULL;
    t.connect_handshake_complete = t.accept_handshake_complete = NULL;
    return t;
}

#endif
