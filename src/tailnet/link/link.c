/* link.c: link.h on Linux: UDP_SEGMENT and UDP_GRO (udp(7)), sendmmsg and recvmmsg.
 *
 * A kernel or device without segmentation answers EIO or EINVAL to a message of segments: then the link turns it off and the
 * message leaves datagram by datagram.
 */
#include "tailnet/link/link.h"

#include <errno.h>
#include <netinet/udp.h>
#include <openssl/crypto.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { FAMILIES = 2, BUFFER = 4 * 1024 * 1024, REFUSALS = 16, DATAGRAM_MAX = 65507, PORT_TRIES = 8 };

static int real_bind(int fd, const struct sockaddr *at, socklen_t n) { return bind(fd, at, n); }
static int real_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags) { return sendmmsg(fd, m, n, flags); }
static int real_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *t)
{
    return recvmmsg(fd, m, n, flags, t);
}

struct link_calls gsi_link_calls = {
    .socket = socket, .setsockopt = setsockopt, .bind = real_bind, .sendmmsg = real_sendmmsg, .recvmmsg = real_recvmmsg};

struct post {
    struct endpoint to;
    struct iovec bytes;
    size_t segment;
};

struct refusal {
    struct endpoint to;
    int error;
};

struct link {
    int fd[FAMILIES]; /* [0] IPv4, [1] IPv6; -1: not there */
    uint16_t port[FAMILIES];
    bool offload;
    int posts;
    struct post post[LINK_QUEUE];
    int refusal_at, refusals;
    struct refusal refusal[REFUSALS];
    struct link_stat stat;
    uint8_t arrival[LINK_ARRIVALS][LINK_ARRIVAL];
};

/* ---- opening ---- */

static int set(int fd, int level, int name, int value)
{
    return gsi_link_calls.setsockopt(fd, level, name, &value, sizeof value);
}

/* As large as allowed: root may go beyond the system's limit. */
static void enlarge(int fd)
{
    if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER) < 0)
        (void)set(fd, SOL_SOCKET, SO_RCVBUF, BUFFER);
    if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER) < 0)
        (void)set(fd, SOL_SOCKET, SO_SNDBUF, BUFFER);
}

static int bind_to(int fd, bool v6, uint16_t port)
{
    static const uint8_t any[4];
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_storage in4;
    struct endpoint none = {gsi_ip_of_v4(any), port};
    socklen_t n = gsi_endpoint_to_sockaddr(&none, &in4);
    int r =
        v6 ? gsi_link_calls.bind(fd, (struct sockaddr *)&in6, sizeof in6) : gsi_link_calls.bind(fd, (struct sockaddr *)&in4, n);
    return r < 0 ? -errno : 0;
}

static int bound_port(int fd, uint16_t *port)
{
    struct sockaddr_storage at;
    struct endpoint e;
    socklen_t n = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &n) < 0)
        return -errno;
    int r = gsi_endpoint_of_sockaddr(&at, &e);
    *port = e.port;
    return r;
}

/* A family that the kernel or the machine has not is 0 with no descriptor. */
static int open_family(struct link *l, bool v6, uint16_t port)
{
    int fd = gsi_link_calls.socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : -errno;
    enlarge(fd);
    if (v6)
        (void)set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (l->offload && set(fd, IPPROTO_UDP, UDP_GRO, 1) < 0)
        l->offload = false;
    int e = bind_to(fd, v6, port);
    if (e == 0)
        e = bound_port(fd, &l->port[v6]);
    if (e == 0) {
        l->fd[v6] = fd;
        return 0;
    }
    close(fd);
    return e == -EADDRNOTAVAIL ? 0 : e; /* no IPv6 here */
}

static void close_family(struct link *l, bool v6)
{
    if (l->fd[v6] >= 0)
        close(l->fd[v6]);
    l->fd[v6] = -1;
    l->port[v6] = 0;
}

/* Any port will do, but one for both families is what firewalls and users expect: others are tried when the second is taken. */
static int open_both(struct link *l, const struct link_options *o)
{
    for (int tries = 0;; tries++) {
        int e = o->no_v4 ? 0 : open_family(l, false, o->port);
        if (e == 0 && !o->no_v6)
            e = open_family(l, true, o->port ? o->port : l->port[0]);
        if (e == -EADDRINUSE && !o->port && l->fd[0] >= 0 && tries < PORT_TRIES)
            close_family(l, false);
        else
            return e;
    }
}

int gsi_link_open(struct link **out, const struct link_options *o)
{
    struct link *l = OPENSSL_malloc(sizeof *l);
    if (!l)
        return -ENOMEM;
    memset(l, 0, offsetof(struct link, arrival)); /* pages of the buffers come with use */
    l->fd[0] = l->fd[1] = -1;
    l->offload = !o->no_offload;
    int e = open_both(l, o);
    if (e == 0 && l->fd[0] < 0 && l->fd[1] < 0)
        e = -EAFNOSUPPORT;
    if (e == 0) {
        *out = l;
        return 0;
    }
    gsi_link_close(l);
    return gs_fail(e, "UDP port %u for the tailnet cannot be opened%s", o->port,
                   e == -EADDRINUSE ? ": another program has it, choose another or 0" : "");
}

void gsi_link_close(struct link *l)
{
    if (!l)
        return;
    close_family(l, false);
    close_family(l, true);
    OPENSSL_free(l);
}

int gsi_link_fd(const struct link *l, bool v6) { return l->fd[v6]; }
uint16_t gsi_link_port(const struct link *l, bool v6) { return l->port[v6]; }
struct link_stat gsi_link_stat(const struct link *l) { return l->stat; }

/* ---- sending ---- */

static size_t datagrams(const struct post *p) { return (p->bytes.iov_len + p->segment - 1) / p->segment; }

int gsi_link_put(struct link *l, const struct endpoint *to, const void *bytes, size_t n, size_t segment)
{
    struct post p = {*to, {(void *)(uintptr_t)bytes, n}, segment};
    if (!n || !segment || segment > n || segment > DATAGRAM_MAX ||
        (n > segment && (n > LINK_MESSAGE || datagrams(&p) > LINK_SEGMENTS)))
        return -EMSGSIZE;
    if (l->fd[!gsi_ip_is_v4(&to->ip)] < 0 || gsi_ip_is_none(&to->ip))
        return -EAFNOSUPPORT;
    if (l->posts == LINK_QUEUE)
        gsi_link_flush(l);
    l->post[l->posts++] = p;
    return 0;
}

static void refuse(struct link *l, const struct endpoint *to, int error)
{
    for (int i = 0; i < l->refusals; i++)
        if (gsi_endpoint_equal(&l->refusal[(l->refusal_at + i) % REFUSALS].to, to))
            return;
    if (l->refusals < REFUSALS)
        l->refusal[(l->refusal_at + l->refusals++) % REFUSALS] = (struct refusal){*to, error};
}

bool gsi_link_refused(struct link *l, struct endpoint *to, int *error)
{
    if (!l->refusals)
        return false;
    *to = l->refusal[l->refusal_at].to;
    *error = l->refusal[l->refusal_at].error;
    l->refusal_at = (l->refusal_at + 1) % REFUSALS;
    l->refusals--;
    return true;
}

struct envelope {
    struct sockaddr_storage to;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

static void address(struct mmsghdr *m, struct envelope *e, struct post *p)
{
    struct msghdr *h = &m->msg_hdr;
    *h = (struct msghdr){
        .msg_name = &e->to, .msg_namelen = gsi_endpoint_to_sockaddr(&p->to, &e->to), .msg_iov = &p->bytes, .msg_iovlen = 1};
    if (p->bytes.iov_len == p->segment)
        return;
    memset(e->control, 0, sizeof e->control);
    h->msg_control = e->control;
    h->msg_controllen = CMSG_LEN(sizeof(uint16_t));
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    memcpy(CMSG_DATA(c), &(uint16_t){(uint16_t)p->segment}, sizeof(uint16_t));
}

static void count(struct link *l, const struct post *p)
{
    l->stat.sent += datagrams(p);
    l->stat.sent_bytes += p->bytes.iov_len;
}

/* One message, datagram by datagram. */
static void send_singly(struct link *l, int fd, const struct post *p)
{
    for (size_t at = 0; at < p->bytes.iov_len; at += p->segment) {
        size_t n = p->bytes.iov_len - at < p->segment ? p->bytes.iov_len - at : p->segment;
        struct post one = {p->to, {(char *)p->bytes.iov_base + at, n}, n};
        struct envelope envelope;
        struct mmsghdr m;
        address(&m, &envelope, &one);
        int r;
        do
            r = gsi_link_calls.sendmmsg(fd, &m, 1, MSG_DONTWAIT);
        while (r < 0 && errno == EINTR);
        int error = r < 0 ? -errno : 0;
        if (r == 1)
            count(l, &one);
        else {
            l->stat.dropped++;
            if (error != -EAGAIN && error != -ENOBUFS)
                refuse(l, &p->to, error);
        }
    }
}

/* The first of the messages was refused. True: the rest may go on. */
static bool first_refused(struct link *l, int fd, const struct post *p, int error)
{
    bool segments = p->bytes.iov_len > p->segment;
    if (error == -EINTR)
        return false;
    if (segments && (error == -EIO || error == -EINVAL || error == -EMSGSIZE)) {
        if (error != -EMSGSIZE) /* that is this path's; the others are this machine's */
            l->offload = false;
        send_singly(l, fd, p);
    } else {
        l->stat.dropped += datagrams(p);
        if (error != -EAGAIN && error != -ENOBUFS)
            refuse(l, &p->to, error);
    }
    return true;
}

static void flush_family(struct link *l, bool v6)
{
    struct mmsghdr m[LINK_QUEUE];
    struct envelope envelope[LINK_QUEUE];
    struct post *of[LINK_QUEUE];
    unsigned n = 0;
    for (int i = 0; i < l->posts; i++) {
        struct post *p = &l->post[i];
        if (gsi_ip_is_v4(&p->to.ip) == v6)
            continue;
        if (!l->offload && p->bytes.iov_len > p->segment) {
            send_singly(l, l->fd[v6], p);
            continue;
        }
        address(&m[n], &envelope[n], p);
        of[n++] = p;
    }
    for (unsigned at = 0; at < n;) {
        int r = gsi_link_calls.sendmmsg(l->fd[v6], m + at, n - at, MSG_DONTWAIT);
        int error = r < 0 ? -errno : 0;
        for (int i = 0; i < r; i++)
            count(l, of[at + (unsigned)i]);
        if (r > 0)
            at += (unsigned)r;
        else
            at += first_refused(l, l->fd[v6], of[at], error);
    }
}

void gsi_link_flush(struct link *l)
{
    bool families[FAMILIES] = {false, false};
    for (int i = 0; i < l->posts; i++)
        families[!gsi_ip_is_v4(&l->post[i].to.ip)] = true;
    for (int v6 = 0; v6 < FAMILIES; v6++)
        if (families[v6])
            flush_family(l, v6);
    l->posts = 0;
}

/* ---- receiving ---- */

/* What UDP_GRO says: how long the joined datagrams are. */
static size_t segment_of(struct msghdr *h, size_t n)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        int size;
        if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
            continue;
        memcpy(&size, CMSG_DATA(c), sizeof size);
        if (size > 0 && (size_t)size < n)
            return (size_t)size;
    }
    return n;
}

int gsi_link_receive(struct link *l, bool v6, struct arrival out[LINK_ARRIVALS])
{
    struct mmsghdr m[LINK_ARRIVALS];
    struct iovec iov[LINK_ARRIVALS];
    struct envelope envelope[LINK_ARRIVALS];
    int r, n = 0;
    if (l->fd[v6] < 0)
        return 0;
    for (int i = 0; i < LINK_ARRIVALS; i++) {
        iov[i] = (struct iovec){l->arrival[i], LINK_ARRIVAL};
        m[i].msg_hdr = (struct msghdr){.msg_name = &envelope[i].to,
                                       .msg_namelen = sizeof envelope[i].to,
                                       .msg_iov = &iov[i],
                                       .msg_iovlen = 1,
                                       .msg_control = envelope[i].control,
                                       .msg_controllen = sizeof envelope[i].control};
    }
    do
        r = gsi_link_calls.recvmmsg(l->fd[v6], m, LINK_ARRIVALS, MSG_DONTWAIT, NULL);
    while (r < 0 && errno == EINTR);
    for (int i = 0; i < r; i++) {
        struct arrival a = {.p = l->arrival[i], .n = m[i].msg_len, .segment = segment_of(&m[i].msg_hdr, m[i].msg_len)};
        if (!a.n)
            continue;
        if (m[i].msg_hdr.msg_flags & MSG_TRUNC || gsi_endpoint_of_sockaddr(&envelope[i].to, &a.from) < 0) {
            l->stat.dropped++;
            continue;
        }
        l->stat.received += (a.n + a.segment - 1) / a.segment;
        l->stat.received_bytes += a.n;
        out[n++] = a;
    }
    return n;
}
