/* table.c: the calls of somebody's ei_socket_callbacks: positive errno become codes, SIGPIPE is kept away, pieces are
 * cut to what such a table takes, and what it claims to have moved is checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "ei/reverse.h"

enum {
    ERRNO_MAX = 4095, /* the kernel's */
    PIECES = 64,
    /* A table with FULL_IMPL may poll and then write to a blocking descriptor, which has room for so much when it says
     * that it is writable. */
    CHUNK = 16 * 1024,
};

/* ---- around each call ---- */

struct quiet {
    sigset_t pipe, before;
    bool pending;
};

/* A table may write as ei's own does, by write(2). */
static void quiet_begin(struct quiet *q)
{
    sigset_t now;
    sigemptyset(&q->pipe);
    sigaddset(&q->pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &q->pipe, &q->before);
    q->pending = sigismember(&q->before, SIGPIPE) && sigpending(&now) == 0 && sigismember(&now, SIGPIPE);
}

static void quiet_end(const struct quiet *q)
{
    static const struct timespec at_once;
    if (!q->pending)
        (void)sigtimedwait(&q->pipe, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &q->before, NULL);
}

/* error = a call of the table's, again while it is interrupted. */
#define CALL(error, ...)                                                                                              \
    do {                                                                                                              \
        struct quiet quiet;                                                                                           \
        quiet_begin(&quiet);                                                                                          \
        do                                                                                                            \
            (error) = (__VA_ARGS__);                                                                                  \
        while ((error) == EINTR);                                                                                     \
        quiet_end(&quiet);                                                                                            \
    } while (0)

static int code_of(int error) { return error > 0 && error <= ERRNO_MAX ? -error : error ? -EIO : 0; }

/* The same for a call that moves bytes or accepts: what is not possible now. */
static int code_of_try(const struct end *e, int error)
{
    return error == ETIMEDOUT && e->table->full ? -EAGAIN : code_of(error);
}

static int failed(const struct end *e, const char *call, int error)
{
    int code = code_of(error);
    if (code == 0)
        return 0;
    if (-code != error)
        return gs_fail(code, "%s: %s of the ei table answered %d, which is no errno", e->table->scheme, call, error);
    return gs_fail(code, "%s: %s of the ei table answered %s", e->table->scheme, call, gs_error_name(code));
}

/* ---- sockets ---- */

static struct end *end_new(const struct table *t)
{
    struct end *e = gsi_ei_zalloc(sizeof *e);
    if (!e)
        return NULL;
    e->table = t;
    e->fd = -1;
    pthread_mutex_init(&e->mutex, NULL);
    return e;
}

static void end_free(struct end *e)
{
    pthread_mutex_destroy(&e->mutex);
    gsi_ei_sys.free(e->early);
    gsi_ei_sys.free(e);
}

/* The number is asked for once: it stays the same (ei_connect(3)). */
static int learn_descriptor(struct end *e)
{
    const struct table *t = e->table;
    int fd = -1, error = ENOTSUP;
    if (t->cbs.get_fd)
        CALL(error, t->cbs.get_fd(e->ctx, &fd));
    e->fd = error || fd < 0 ? -1 : fd;
    if (t->full)
        return 0;
    int flags = e->fd < 0 ? -1 : fcntl(e->fd, F_GETFL, 0);
    if (flags < 0 || fcntl(e->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return gs_fail(-EINVAL, "%s: get_fd of the ei table tells no descriptor, which it must without FULL_IMPL", t->scheme);
    return 0;
}

int gsi_ei_table_socket(const struct table *t, struct end **out)
{
    struct end *e = end_new(t);
    if (!e)
        return -ENOMEM;
    int error;
    CALL(error, t->cbs.socket(&e->ctx, t->setup));
    if (error) {
        int code = failed(e, "socket", error);
        end_free(e);
        return code;
    }
    int code = learn_descriptor(e);
    if (code < 0)
        gsi_ei_table_close(e);
    else
        *out = e;
    return code;
}

void gsi_ei_table_close(struct end *e)
{
    int error;
    struct quiet quiet;
    quiet_begin(&quiet);
    error = e->table->cbs.close(e->ctx); /* interrupted or not, it is gone */
    quiet_end(&quiet);
    (void)error;
    end_free(e);
}

int gsi_ei_table_listen(struct end *e, const struct sockaddr_in *at, int backlog)
{
    union {
        struct sockaddr_in in;
        struct sockaddr_storage room; /* for one that writes more than it was told */
    } a = {.in = *at};
    int n = sizeof a.in, error;
    CALL(error, e->table->cbs.listen(e->ctx, &a.in, &n, backlog));
    if (error)
        return failed(e, "listen", error);
    if (n >= (int)sizeof a.in && a.in.sin_family == AF_INET && a.in.sin_port)
        e->local = a.in;
    else if (at->sin_port)
        e->local = *at;
    return 0;
}

int gsi_ei_table_accept(struct end *listener, unsigned timeout_ms, struct end **out)
{
    const struct table *t = listener->table;
    struct end *e = end_new(t); /* before there is a connection that would be lost */
    if (!e)
        return -ENOMEM;
    union {
        struct sockaddr_in in;
        struct sockaddr_storage room;
    } a = {0};
    int n = sizeof a.in, error;
    void *ctx = listener->ctx;
    CALL(error, t->cbs.EI_ACCEPT_NAME(&ctx, &a.in, &n, timeout_ms));
    int code = code_of_try(listener, error);
    if (code == 0 && ctx == listener->ctx)
        code = gs_fail(-EIO, "%s: accept of the ei table left the listener's context in place", t->scheme);
    if (code < 0) {
        end_free(e);
        return code;
    }
    e->ctx = ctx;
    if (n >= (int)sizeof a.in && a.in.sin_family == AF_INET && a.in.sin_port)
        e->peer = a.in;
    if (listener->local.sin_addr.s_addr != htonl(INADDR_ANY))
        e->local = listener->local;
    code = learn_descriptor(e);
    if (code == 0)
        code = gsi_ei_table_begin(e, true);
    if (code < 0)
        gsi_ei_table_close(e);
    else
        *out = e;
    return code;
}

static int socket_int(int fd, int name)
{
    int value = 0;
    socklen_t n = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &n) < 0 ? -1 : value;
}

int gsi_ei_table_connect(struct end *e, unsigned timeout_ms)
{
    int error;
    CALL(error, e->table->cbs.connect(e->ctx, &e->peer, sizeof e->peer, timeout_ms));
    if (!e->table->full && error == EAGAIN && socket_int(e->fd, SO_DOMAIN) == AF_UNIX)
        return -EAGAIN;
    if (!e->table->full && (error == EINPROGRESS || error == EAGAIN)) /* ei takes both for one that goes on */
        return -EINPROGRESS;
    return failed(e, "connect", error);
}

int gsi_ei_table_connected(struct end *e)
{
    struct pollfd p = {.fd = e->fd, .events = POLLOUT};
    if (poll(&p, 1, 0) <= 0)
        return -EINPROGRESS;
    int error = socket_int(e->fd, SO_ERROR);
    if (error < 0) /* no socket */
        error = p.revents & POLLOUT ? 0 : EIO;
    return failed(e, "connect", error);
}

int gsi_ei_table_begin(struct end *e, bool accepted)
{
    const ei_socket_callbacks *cbs = &e->table->cbs;
    int (*complete)(void *) = accepted ? cbs->accept_handshake_complete : cbs->connect_handshake_complete;
    int error = 0;
    if (complete)
        CALL(error, complete(e->ctx));
    if (error && accepted) /* the listener stands */
        return gs_fail(-ECONNABORTED, "%s: accept_handshake_complete of the ei table answered %s", e->table->scheme,
                       gs_error_name(code_of(error)));
    return failed(e, "connect_handshake_complete", error);
}

/* ---- bytes ---- */

/* One piece: what did not fit waits below. */
ssize_t gsi_ei_table_readv(struct end *e, const struct iovec *iov, int n)
{
    while (n > 0 && !iov->iov_len)
        iov++, n--;
    if (n <= 0)
        return 0;
    ssize_t len = iov->iov_len > SSIZE_MAX ? SSIZE_MAX : (ssize_t)iov->iov_len, room = len;
    int error;
    CALL(error, e->table->cbs.read(e->ctx, iov->iov_base, &len, 0));
    if (error)
        return code_of_try(e, error);
    return len < 0 || len > room ? -EIO : len;
}

/* What the next call of the table shall write. */
struct chunk {
    struct iovec v[PIECES];
    int n;
    size_t bytes;
};

/* Cuts a chunk of at most `limit` bytes from *iov on, *at bytes into it. */
static void next_chunk(struct chunk *c, const struct iovec **iov, int *n, size_t *at, size_t limit)
{
    c->n = 0;
    c->bytes = 0;
    while (*n > 0 && c->n < PIECES && c->bytes < limit) {
        size_t left = (*iov)->iov_len - *at, k = left < limit - c->bytes ? left : limit - c->bytes;
        if (k)
            c->v[c->n++] = (struct iovec){(uint8_t *)(*iov)->iov_base + *at, k};
        c->bytes += k;
        *at += k;
        if (*at == (*iov)->iov_len) {
            (*iov)++;
            (*n)--;
            *at = 0;
        }
    }
}

/* Short pieces travel together also where the table has no writev: else each would be a packet. */
static int write_gathered(struct end *e, const struct chunk *c, ssize_t *len)
{
    uint8_t all[CHUNK];
    const char *p = c->v[0].iov_base;
    if (c->n > 1) {
        size_t at = 0;
        for (int i = 0; i < c->n; i++) {
            memcpy(all + at, c->v[i].iov_base, c->v[i].iov_len);
            at += c->v[i].iov_len;
        }
        p = (const char *)all;
    }
    int error;
    *len = (ssize_t)c->bytes;
    CALL(error, e->table->cbs.write(e->ctx, p, len, 0));
    return error;
}

static ssize_t write_chunk(struct end *e, const struct chunk *c)
{
    ssize_t len = 0;
    int error;
    if (c->n == 1 || !e->table->cbs.writev)
        error = write_gathered(e, c, &len);
    else
        CALL(error, e->table->cbs.writev(e->ctx, c->v, c->n, &len, 0));
    if (error)
        return code_of_try(e, error);
    return len > 0 && len <= (ssize_t)c->bytes ? len : -EIO; /* nothing, and no reason why: who believes that tries for ever */
}

ssize_t gsi_ei_table_writev(struct end *e, const struct iovec *iov, int n)
{
    size_t at = 0, limit = e->table->full || !e->table->cbs.writev ? CHUNK : SSIZE_MAX;
    ssize_t total = 0;
    struct chunk c;
    for (next_chunk(&c, &iov, &n, &at, limit); c.bytes; next_chunk(&c, &iov, &n, &at, limit)) {
        ssize_t k = write_chunk(e, &c);
        if (k < 0)
            return total ? total : k;
        total += k;
        if ((size_t)k < c.bytes)
            break;
    }
    return total;
}

/* ---- the descriptor ---- */

/* The connection that is being made is nobody else's yet. What is no socket does not care. */
void gsi_ei_table_nudge(struct end *e)
{
    if (e->fd >= 0)
        (void)shutdown(e->fd, SHUT_RDWR);
}

bool gsi_ei_table_readable(const struct end *e)
{
    struct pollfd p = {.fd = e->fd, .events = POLLIN};
    return e->fd >= 0 && poll(&p, 1, 0) > 0 && p.revents & POLLIN;
}
