/* connect.c: accept and connect. */
#include <errno.h>
#include <poll.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "socket/socket.h"

/* ---- accept ---- */

struct accept_op {
    struct gsi_op op;
    uint64_t fresh;
};

/* Options of the otp level are inherited; the owner is not: C has no self(). */
static uint64_t adopt_connection(const struct gsi_socket *listener, int fd)
{
    struct gsi_socket *s = gsi_socket_new(&(struct gsi_socket_seed){
        .fd = fd, .domain = listener->domain, .type = listener->type, .protocol = listener->protocol,
        .state = GS_SOCKET_BOUND | GS_SOCKET_CONNECTED, .registered = listener->registered});
    if (!s)
        return 0;
    s->debug = listener->debug;
    s->iow = listener->iow;
    s->meta = listener->meta;
    s->rcvbuf = listener->rcvbuf;
    s->rcvbuf_count = listener->rcvbuf_count;
    s->rcvctrlbuf = listener->rcvctrlbuf;
    s->sndctrlbuf = listener->sndctrlbuf;
    uint64_t id = s->id;
    gsi_socket_unlock(s);
    return id;
}

static ssize_t try_accept(struct gsi_socket *s, struct gsi_op *op)
{
    struct gsi_counts *c = &s->count[GSI_Q_ACCEPT];
    int fd, e;
    do {
        c->tries++;
        fd = gsi_sys.accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        e = fd < 0 ? gsi_errno() : 0;
    } while (e == -EINTR);
    if (e == -EAGAIN) {
        c->waits++;
        return e;
    }
    uint64_t id = e == 0 ? adopt_connection(s, fd) : 0;
    if (!id) {
        c->fails++;
        if (e == 0)
            gsi_sys.close(fd);
        return e < 0 ? e : -ENOMEM;
    }
    c->pkg++;
    ((struct accept_op *)op)->fresh = id;
    return 0;
}

int gs_socket_accept(gs_socket s, gs_socket *out, gs_wait *w)
{
    if (!out)
        return GS_EBADARG;
    struct accept_op a = {.op = {.name = "accept", .queue = GSI_Q_ACCEPT, .events = EPOLLIN, .try = try_accept}};
    int e = (int)gsi_socket_run(s, &a.op, w);
    if (e == 0)
        out->id = a.fresh;
    return e;
}

/* ---- connect ---- */

struct connect_op {
    struct gsi_op op;
    const gs_addr *to; /* NULL: finish */
};

static ssize_t connected(struct gsi_socket *s, ssize_t e)
{
    s->state &= ~(unsigned)GS_SOCKET_CONNECTING;
    s->failed_connect = e < 0;
    if (e == 0)
        s->state |= GS_SOCKET_BOUND | GS_SOCKET_CONNECTED;
    return e;
}

/* A wake may be spurious: the kernel is asked whether it is over before it is asked how. */
static ssize_t check_connect(struct gsi_socket *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};
    int n = gsi_sys.poll(&p, 1, 0), error = 0;
    int e = n < 0 ? gsi_errno() : 0;
    if (n == 0 || e == -EINTR)
        return -EAGAIN;
    socklen_t size = sizeof error;
    if (e == 0 && gsi_sys.getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        e = gsi_errno();
    return e < 0 ? e : connected(s, -error);
}

static ssize_t start_connect(struct gsi_socket *s, struct connect_op *c)
{
    bool stream = s->type == SOCK_STREAM || s->type == SOCK_SEQPACKET;
    if (stream && (s->state & GS_SOCKET_CONNECTED) && c->to->sa.ss_family != AF_UNSPEC)
        return -EISCONN;
    int e;
    do {
        e = gsi_sys.connect(s->fd, (const struct sockaddr *)&c->to->sa, c->to->len) < 0 ? gsi_errno() : 0;
        if (e == -ECONNABORTED && s->failed_connect)
            e = -EINTR;
        s->failed_connect = false;
    } while (e == -EINTR);
    if (e == -EINPROGRESS) {
        s->state |= GS_SOCKET_CONNECTING;
        c->op.continues = true;
        return -EAGAIN;
    }
    if (e == 0 && c->to->sa.ss_family == AF_UNSPEC) { /* RFC 3493 has no word for it: the association is dissolved */
        s->state &= ~(unsigned)(GS_SOCKET_CONNECTED | GS_SOCKET_CONNECTING);
        return 0;
    }
    /* A local listener whose backlog is full: no readiness will tell when it is not. */
    if (e == -EAGAIN && s->domain == AF_UNIX)
        c->op.backoff = true;
    return e == 0 ? connected(s, 0) : e;
}

static ssize_t try_connect(struct gsi_socket *s, struct gsi_op *op)
{
    struct connect_op *c = (struct connect_op *)op;
    bool under_way = s->state & GS_SOCKET_CONNECTING;
    if (!c->to)
        return under_way ? check_connect(s) : GS_EINVALID;
    if (!under_way)
        return start_connect(s, c);
    /* Begun by this very wait: try again means look again. Else by an earlier call. */
    return op->continues ? check_connect(s) : -EALREADY;
}

int gs_socket_connect(gs_socket s, const gs_addr *to, gs_wait *w)
{
    if (to && !gsi_addr_ok(to))
        return GS_EBADARG;
    struct connect_op c = {.op = {.name = "connect", .queue = GSI_Q_CONNECT, .events = EPOLLOUT, .try = try_connect,
                                  .resume = !to, .alone = true}, .to = to};
    return (int)gsi_socket_run(s, &c.op, w);
}
