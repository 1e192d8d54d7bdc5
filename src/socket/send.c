/* send.c: send, sendto and sendmsg: one loop over one message. */
#include <errno.h>
#include <limits.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "socket/socket.h"

enum { WINDOW = 64, IOV_LIMIT = 1024 };

ssize_t gsi_count(struct gsi_counts *c, ssize_t result)
{
    c->tries++;
    if (result == -EAGAIN)
        c->waits++;
    else if (result < 0)
        c->fails++;
    else {
        c->pkg++;
        c->byte += (uint64_t)result;
        if ((uint64_t)result > c->pkg_max)
            c->pkg_max = (uint64_t)result;
    }
    return result;
}

struct send_op {
    struct gsi_op op;
    struct msghdr m; /* the whole message as the caller has it */
    size_t total;
    int flags;
    int at;        /* a stream's rest begins in this piece */
    size_t offset; /* … at this byte of it */
};

/* Moves the beginning of the rest on by n bytes. */
static void advance(struct send_op *o, size_t n)
{
    o->op.done += n;
    for (n += o->offset; o->at < (int)o->m.msg_iovlen && n >= o->m.msg_iov[o->at].iov_len; o->at++)
        n -= o->m.msg_iov[o->at].iov_len;
    o->offset = n;
}

/* The message from where the rest begins: as it is at first, then through a window of it without its control messages. */
static const struct msghdr *rest(const struct send_op *o, struct msghdr *m, struct iovec *window)
{
    if (o->op.done == 0)
        return &o->m;
    *m = o->m;
    m->msg_control = NULL;
    m->msg_controllen = 0;
    m->msg_iov = window;
    m->msg_iovlen = 0;
    for (int i = o->at; i < (int)o->m.msg_iovlen && m->msg_iovlen < WINDOW; i++)
        window[m->msg_iovlen++] = o->m.msg_iov[i];
    window[0].iov_base = (char *)window[0].iov_base + o->offset;
    window[0].iov_len -= o->offset;
    return m;
}

static ssize_t send_once(const struct gsi_socket *s, const struct msghdr *m, int flags)
{
    ssize_t r;
    do {
        r = gsi_sys.sendmsg(s->fd, m, flags | MSG_NOSIGNAL);
        if (r < 0)
            r = gsi_errno();
    } while (r == -EINTR);
    return r;
}

static ssize_t try_send(struct gsi_socket *s, struct gsi_op *op)
{
    struct send_op *o = (struct send_op *)op;
    if (s->sndctrlbuf && o->m.msg_controllen > s->sndctrlbuf)
        return gsi_fail(-EINVAL, "%zu bytes of control messages, and otp:sndctrlbuf allows %zu", (size_t)o->m.msg_controllen,
                        s->sndctrlbuf);
    op->backoff = s->domain == AF_UNIX && s->type == SOCK_DGRAM && o->m.msg_name;
    struct msghdr m;
    struct iovec window[WINDOW];
    do {
        ssize_t r = gsi_count(&s->count[GSI_Q_WRITE], send_once(s, rest(o, &m, window), o->flags));
        if (r < 0)
            return r;
        if (s->type != SOCK_STREAM) {
            op->done = 0;
            return r;
        }
        advance(o, (size_t)r);
    } while (op->done < o->total);
    return (ssize_t)op->done;
}

static ssize_t send_message(gs_socket s, struct send_op *o, gs_wait *w)
{
    o->op.queue = GSI_Q_WRITE;
    o->op.events = EPOLLOUT;
    o->op.try = try_send;
    return gsi_socket_run(s, &o->op, w);
}

ssize_t gs_socket_send(gs_socket s, const void *p, size_t n, int flags, gs_wait *w)
{
    if ((!p && n) || n > SSIZE_MAX)
        return GS_EBADARG;
    struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
    struct send_op o = {.op.name = "send", .m = {.msg_iov = &v, .msg_iovlen = 1}, .total = n, .flags = flags};
    return send_message(s, &o, w);
}

ssize_t gs_socket_sendto(gs_socket s, const void *p, size_t n, const gs_addr *to, int flags, gs_wait *w)
{
    if ((!p && n) || n > SSIZE_MAX || !gsi_addr_ok(to))
        return GS_EBADARG;
    struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
    struct send_op o = {.op.name = "sendto", .total = n, .flags = flags,
                        .m = {.msg_name = (void *)(uintptr_t)&to->sa, .msg_namelen = to->len, .msg_iov = &v, .msg_iovlen = 1}};
    return send_message(s, &o, w);
}

/* The bytes of a vector; SIZE_MAX: not one. */
static size_t vector_size(const struct iovec *v, int n)
{
    size_t total = 0;
    if (n < 0 || n > IOV_LIMIT || (!v && n))
        return SIZE_MAX;
    for (int i = 0; i < n; i++) {
        if ((!v[i].iov_base && v[i].iov_len) || v[i].iov_len > SSIZE_MAX - total)
            return SIZE_MAX;
        total += v[i].iov_len;
    }
    return total;
}

ssize_t gs_socket_sendmsg(gs_socket s, const gs_msghdr *m, int flags, gs_wait *w)
{
    if (!m || (m->addr && !gsi_addr_ok(m->addr)) || (!m->control && m->control_len))
        return GS_EBADARG;
    size_t total = vector_size(m->iov, m->iovcnt);
    if (total == SIZE_MAX)
        return m->iovcnt > IOV_LIMIT ? -EINVAL : GS_EBADARG;
    struct send_op o = {.op.name = "sendmsg", .total = total, .flags = flags,
                        .m = {.msg_name = m->addr ? &m->addr->sa : NULL, .msg_namelen = m->addr ? m->addr->len : 0,
                              .msg_iov = m->iov, .msg_iovlen = (size_t)m->iovcnt,
                              .msg_control = m->control, .msg_controllen = m->control_len}};
    return send_message(s, &o, w);
}
