/* recv.c: recv, recvfrom and recvmsg. */
#include <errno.h>
#include <limits.h>

#include "base/error.h"
#include "base/seam.h"
#include "socket/socket.h"

enum { IOV_LIMIT = 1024 };

struct recv_op {
    struct gsi_op op;
    struct msghdr m;
    struct iovec one; /* recv's and recvfrom's only piece */
    size_t total;
    int flags;
    size_t control_len; /* received */
    bool all; /* MSG_WAITALL: until `one` is full */
};

static ssize_t recv_once(const struct gsi_socket *s, struct msghdr *m, int flags)
{
    ssize_t r;
    do {
        r = gsi_sys.recvmsg(s->fd, m, flags | MSG_CMSG_CLOEXEC);
        if (r < 0)
            r = gsi_errno();
    } while (r == -EINTR);
    return r;
}

static size_t limit(size_t n, size_t most) { return most && n > most ? most : n; }

/* One packet, or what a stream has. */
static ssize_t take(struct gsi_socket *s, struct recv_op *o)
{
    struct msghdr m = o->m;
    struct iovec piece = o->one;
    bool all = o->all && s->type == SOCK_STREAM;
    if (m.msg_iov == &o->one) {
        piece.iov_base = (char *)o->one.iov_base + o->op.done;
        piece.iov_len = all ? o->total - o->op.done : limit(o->total, s->rcvbuf);
        m.msg_iov = &piece;
    }
    m.msg_controllen = limit(m.msg_controllen, s->rcvctrlbuf);
    ssize_t r = recv_once(s, &m, o->flags);
    /* The peer's end. A zero-length read would look the same. */
    if (r == 0 && s->type == SOCK_STREAM && o->total && !(o->flags & MSG_ERRQUEUE))
        r = GS_ECLOSED;
    if (r >= 0) {
        o->m.msg_namelen = m.msg_namelen;
        o->m.msg_flags = m.msg_flags;
        o->control_len = m.msg_controllen;
    }
    return r;
}

static ssize_t try_recv(struct gsi_socket *s, struct gsi_op *op)
{
    struct recv_op *o = (struct recv_op *)op;
    for (;;) {
        ssize_t r = take(s, o);
        if (r == GS_ECLOSED)
            return r;
        gsi_count(&s->count[GSI_Q_READ], r);
        if (r < 0 || !o->all || s->type != SOCK_STREAM)
            return r;
        op->done += (size_t)r;
        if (op->done == o->total)
            return r ? (ssize_t)op->done : 0;
    }
}

static ssize_t receive(gs_socket s, struct recv_op *o, int flags, gs_wait *w)
{
    o->flags = flags & ~MSG_WAITALL;
    o->all = (flags & MSG_WAITALL) && !(flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)) && o->m.msg_iov == &o->one;
    o->op.queue = GSI_Q_READ;
    o->op.events = flags & MSG_ERRQUEUE ? EPOLLERR : flags & MSG_OOB ? EPOLLPRI : EPOLLIN;
    o->op.try = try_recv;
    return gsi_socket_run(s, &o->op, w);
}

static struct recv_op one_piece(const char *name, void *p, size_t n)
{
    return (struct recv_op){.op.name = name, .one = {.iov_base = p, .iov_len = n}, .total = n, .m.msg_iovlen = 1};
}

ssize_t gs_socket_recv(gs_socket s, void *p, size_t n, int flags, gs_wait *w)
{
    if ((!p && n) || n > SSIZE_MAX)
        return GS_EBADARG;
    struct recv_op o = one_piece("recv", p, n);
    o.m.msg_iov = &o.one;
    return receive(s, &o, flags, w);
}

ssize_t gs_socket_recvfrom(gs_socket s, void *p, size_t n, gs_addr *from, int flags, gs_wait *w)
{
    if ((!p && n) || n > SSIZE_MAX)
        return GS_EBADARG;
    gs_addr a = {0};
    struct recv_op o = one_piece("recvfrom", p, n);
    o.m.msg_iov = &o.one;
    o.m.msg_name = &a.sa;
    o.m.msg_namelen = sizeof a.sa;
    ssize_t r = receive(s, &o, flags, w);
    if (from && r >= 0) {
        a.len = o.m.msg_namelen;
        *from = a;
    }
    return r;
}

ssize_t gs_socket_recvmsg(gs_socket s, gs_msghdr *m, int flags, gs_wait *w)
{
    if (!m || m->iovcnt < 0 || (!m->iov && m->iovcnt) || (!m->control && m->control_len))
        return GS_EBADARG;
    if (m->iovcnt > IOV_LIMIT)
        return -EINVAL;
    gs_addr a = {0};
    struct recv_op o = {.op.name = "recvmsg",
                        .m = {.msg_name = &a.sa, .msg_namelen = sizeof a.sa, .msg_iov = m->iov, .msg_iovlen = (size_t)m->iovcnt,
                              .msg_control = m->control, .msg_controllen = m->control_len}};
    for (int i = 0; i < m->iovcnt; i++) {
        if (!m->iov[i].iov_base && m->iov[i].iov_len)
            return GS_EBADARG;
        o.total |= m->iov[i].iov_len;
    }
    ssize_t r = receive(s, &o, flags, w);
    if (r < 0)
        return r;
    if (m->addr) {
        a.len = o.m.msg_namelen;
        *m->addr = a;
    }
    m->control_len = o.control_len;
    m->flags = o.m.msg_flags & ~MSG_CMSG_CLOEXEC;
    return r;
}
