/* abort.c: abort.h. */
#include "tailnet/stack/abort.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum {
    ANSWER = 16 * 1024,
    AT_A_TIME = 256,
    CONNECTED = 1 << TCP_ESTABLISHED | 1 << TCP_SYN_SENT | 1 << TCP_SYN_RECV | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 |
                1 << TCP_CLOSE_WAIT | 1 << TCP_LAST_ACK | 1 << TCP_CLOSING,
};

struct request {
    struct nlmsghdr h;
    struct inet_diag_req_v2 r;
};

struct found {
    uint8_t family;
    struct inet_diag_sockid id;
};

struct search {
    const struct ip *remote; /* NULL: any */
    size_t n;
    uint32_t states;
    int count; /* of */
    struct found found[AT_A_TIME];
};

/* ---- one ---- */

static int destroy(int fd, const struct found *f)
{
    const struct request q = {
        .h = {.nlmsg_len = sizeof q, .nlmsg_type = SOCK_DESTROY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .r = {.sdiag_family = f->family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = UINT32_MAX, .id = f->id}};
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
        uint8_t rest[sizeof q];
    } answer;
    if (send(fd, &q, sizeof q, MSG_NOSIGNAL) < 0)
        return -errno;
    for (;;) { /* the kernel has answered when send returns */
        ssize_t n = recv(fd, &answer, sizeof answer, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        return n < (ssize_t)sizeof answer.h || answer.h.nlmsg_type != NLMSG_ERROR ? -EPROTO : answer.e.error;
    }
}

static void write_end(const struct endpoint *e, bool v4, uint32_t address[4], uint16_t *port)
{
    memcpy(address, v4 ? e->ip.b + 12 : e->ip.b, v4 ? 4 : IP_LEN);
    *port = htons(e->port);
}

int gsi_tcp_abort(int fd, int socket)
{
    struct sockaddr_storage own, peer;
    struct endpoint from, to;
    socklen_t own_n = sizeof own, peer_n = sizeof peer;
    uint64_t cookie;
    socklen_t cookie_n = sizeof cookie;
    if (getsockname(socket, (struct sockaddr *)&own, &own_n) < 0 || getpeername(socket, (struct sockaddr *)&peer, &peer_n) < 0 ||
        getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_n) < 0)
        return errno == ENOTCONN ? -ENOENT : -errno;
    int e = gsi_endpoint_of_sockaddr(&own, &from);
    if (e == 0)
        e = gsi_endpoint_of_sockaddr(&peer, &to);
    if (e < 0)
        return e;
    bool v4 = gsi_ip_is_v4(&to.ip);
    struct found f = {.family = v4 ? AF_INET : AF_INET6, .id.idiag_cookie = {(uint32_t)cookie, (uint32_t)(cookie >> 32)}};
    write_end(&from, v4, f.id.idiag_src, &f.id.idiag_sport);
    write_end(&to, v4, f.id.idiag_dst, &f.id.idiag_dport);
    return destroy(fd, &f);
}

/* ---- many ---- */

static bool is_wanted(const struct search *s, const struct inet_diag_msg *m)
{
    uint8_t bytes[IP_LEN];
    memcpy(bytes, m->id.idiag_dst, sizeof bytes);
    struct ip ip = m->idiag_family == AF_INET ? gsi_ip_of_v4(bytes) : gsi_ip_of_v6(bytes);
    for (size_t i = 0; s->remote && i < s->n; i++)
        if (gsi_ip_equal(&s->remote[i], &ip))
            return true;
    return !s->remote;
}

/* One answer: 0: it was the last; -EAGAIN: more follow. */
static int read_answer(struct search *s, const uint8_t *p, size_t n)
{
    struct nlmsghdr h;
    struct inet_diag_msg m;
    for (size_t at = 0; n - at >= sizeof h; at += NLMSG_ALIGN(h.nlmsg_len)) {
        memcpy(&h, p + at, sizeof h);
        if (h.nlmsg_type == NLMSG_DONE)
            return 0;
        if (h.nlmsg_type == NLMSG_ERROR || h.nlmsg_len < sizeof h || h.nlmsg_len > n - at)
            return -EPROTO;
        if (h.nlmsg_len >= sizeof h + sizeof m && s->count < AT_A_TIME) {
            memcpy(&m, p + at + sizeof h, sizeof m);
            if (is_wanted(s, &m))
                s->found[s->count++] = (struct found){m.idiag_family, m.id};
        }
        if (NLMSG_ALIGN(h.nlmsg_len) > n - at)
            break;
    }
    return -EAGAIN;
}

static int look(int fd, uint8_t family, struct search *s)
{
    uint8_t answer[ANSWER];
    const struct request q = {
        .h = {.nlmsg_len = sizeof q, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .r = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = s->states}};
    s->count = 0;
    if (send(fd, &q, sizeof q, MSG_NOSIGNAL) < 0)
        return -errno;
    for (int e = -EAGAIN;;) {
        ssize_t n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        e = n < 0 ? -errno : n == 0 ? -EPROTO : read_answer(s, answer, (size_t)n);
        if (n < 0 || e != -EAGAIN)
            return e;
    }
}

/* One that has gone by itself meanwhile is no error. */
static int abort_family(int fd, uint8_t family, struct search *s)
{
    int ended = 0, before;
    do {
        int e = look(fd, family, s);
        before = ended;
        for (int i = 0; i < s->count && (e == 0 || e == -ENOENT); i++)
            if ((e = destroy(fd, &s->found[i])) == 0)
                ended++;
        if (e < 0 && e != -ENOENT)
            return e;
    } while (s->count == AT_A_TIME && ended > before);
    return ended;
}

static int abort_search(int fd, const struct ip *remote, size_t n, uint32_t states)
{
    struct search s = {.remote = remote, .n = n, .states = states};
    int v4 = abort_family(fd, AF_INET, &s);
    int v6 = v4 < 0 ? v4 : abort_family(fd, AF_INET6, &s);
    return v6 < 0 ? v6 : v4 + v6;
}

int gsi_tcp_abort_with(int fd, const struct ip *remote, size_t n) { return n ? abort_search(fd, remote, n, CONNECTED) : 0; }

int gsi_tcp_abort_all(int fd) { return abort_search(fd, NULL, 0, CONNECTED | 1 << TCP_LISTEN); }
