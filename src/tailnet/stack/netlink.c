/* netlink.c: netlink.h. */
#include "tailnet/stack/netlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <time.h>

#include "tailnet/bytes/bytes.h"

enum { MESSAGE = 256, SEQUENCE = 1, V4_BITS = 96 /* in front of an IPv4 address */ };

struct message {
    _Alignas(struct nlmsghdr) uint8_t bytes[MESSAGE];
    struct writer w;
};

/* Everything of netlink is a multiple of 4 long. */
static void begin(struct message *m, uint16_t type, uint16_t flags, const void *body, size_t n)
{
    struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags), .nlmsg_seq = SEQUENCE};
    m->w = writer_of(m->bytes, sizeof m->bytes);
    write_bytes(&m->w, &h, sizeof h);
    write_bytes(&m->w, body, n);
}

static void attribute(struct message *m, uint16_t type, const void *value, size_t n)
{
    struct rtattr a = {.rta_len = (uint16_t)(sizeof a + n), .rta_type = type};
    write_bytes(&m->w, &a, sizeof a);
    write_bytes(&m->w, value, n);
    write_zeros(&m->w, (4 - n % 4) % 4);
}

/* The kernel has answered when send returns. */
static int commit(int fd, struct message *m)
{
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
        uint8_t rest[MESSAGE];
    } answer;
    uint32_t n = (uint32_t)m->w.n;
    if (!m->w.ok)
        return -EMSGSIZE;
    memcpy(m->bytes, &n, sizeof n);
    if (send(fd, m->bytes, n, MSG_NOSIGNAL) < 0)
        return -errno;
    for (;;) {
        ssize_t r = recv(fd, &answer, sizeof answer, MSG_DONTWAIT);
        int e = r < 0 ? -errno : 0;
        if (e == -EINTR)
            continue;
        if (e < 0)
            return e;
        if (r < (ssize_t)(sizeof answer.h + sizeof answer.e) || answer.h.nlmsg_type != NLMSG_ERROR)
            return -EPROTO;
        return answer.e.error;
    }
}

int gsi_netlink_up(int fd, int index, uint32_t mtu, uint32_t queue)
{
    struct message m;
    struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(&m, RTM_NEWLINK, 0, &link, sizeof link);
    if (mtu)
        attribute(&m, IFLA_MTU, &mtu, sizeof mtu);
    if (queue)
        attribute(&m, IFLA_TXQLEN, &queue, sizeof queue);
    return commit(fd, &m);
}

/* As the kernel wants it: family, bits, and where the address's bytes begin. */
struct form {
    uint8_t family, bits;
    const uint8_t *p;
    size_t n;
};

static struct form form_of(const struct prefix *p)
{
    if (gsi_ip_is_v4(&p->ip))
        return (struct form){AF_INET, p->bits < V4_BITS ? 0 : (uint8_t)(p->bits - V4_BITS), p->ip.b + 12, 4};
    return (struct form){AF_INET6, p->bits, p->ip.b, IP_LEN};
}

/* 1: packets to the address are taken in; 0: not yet. */
static int is_local(int fd, const struct form *f)
{
    struct message m;
    struct rtmsg r = {.rtm_family = f->family, .rtm_dst_len = (uint8_t)(8 * f->n)};
    struct {
        struct nlmsghdr h;
        union {
            struct nlmsgerr e;
            struct rtmsg r;
        } body;
        uint8_t rest[4 * MESSAGE];
    } answer;
    int local = 0;
    begin(&m, RTM_GETROUTE, 0, &r, sizeof r);
    attribute(&m, RTA_DST, f->p, f->n);
    uint32_t n = (uint32_t)m.w.n;
    memcpy(m.bytes, &n, sizeof n);
    if (send(fd, m.bytes, n, MSG_NOSIGNAL) < 0)
        return -errno;
    for (;;) { /* the route, and that it is done */
        ssize_t got = recv(fd, &answer, sizeof answer, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got < (ssize_t)(sizeof answer.h + sizeof answer.body.r))
            return -EPROTO;
        if (answer.h.nlmsg_type == NLMSG_ERROR)
            return answer.body.e.error == -ENETUNREACH ? 0 : answer.body.e.error < 0 ? answer.body.e.error : local;
        local |= answer.h.nlmsg_type == RTM_NEWROUTE && answer.body.r.rtm_type == RTN_LOCAL;
    }
}

/* The kernel makes the local route of an IPv6 address later, in a thread of its own; until then it drops what comes. */
static int await_local(int fd, const struct form *f)
{
    enum { TRIES = 2000 };
    for (int i = 0; i < TRIES; i++) {
        int e = is_local(fd, f);
        if (e)
            return e < 0 ? e : 0;
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return -ETIMEDOUT;
}

/* Without duplicate address detection, as nobody else can be there; with less than all bits, the kernel adds the prefix's
 * route. */
int gsi_netlink_address(int fd, int index, const struct prefix *p, bool present)
{
    struct message m;
    struct form f = form_of(p);
    struct ifaddrmsg a = {.ifa_family = f.family, .ifa_prefixlen = f.bits, .ifa_flags = f.family == AF_INET6 ? IFA_F_NODAD : 0,
                          .ifa_index = (unsigned)index};
    begin(&m, present ? RTM_NEWADDR : RTM_DELADDR, present ? NLM_F_CREATE | NLM_F_REPLACE : 0, &a, sizeof a);
    attribute(&m, IFA_LOCAL, f.p, f.n);
    attribute(&m, IFA_ADDRESS, f.p, f.n);
    int e = commit(fd, &m);
    if (e == (present ? -EEXIST : -EADDRNOTAVAIL))
        e = 0;
    return e == 0 && present && f.family == AF_INET6 ? await_local(fd, &f) : e;
}

int gsi_netlink_route(int fd, int index, const struct prefix *p, bool present)
{
    struct message m;
    struct form f = form_of(p);
    struct rtmsg r = {.rtm_family = f.family, .rtm_dst_len = f.bits, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
                      .rtm_scope = present ? RT_SCOPE_LINK : RT_SCOPE_NOWHERE, .rtm_type = RTN_UNICAST};
    uint32_t oif = (uint32_t)index;
    if (f.family == AF_INET6)
        r.rtm_scope = RT_SCOPE_UNIVERSE;
    begin(&m, present ? RTM_NEWROUTE : RTM_DELROUTE, present ? NLM_F_CREATE | NLM_F_REPLACE : 0, &r, sizeof r);
    attribute(&m, RTA_DST, f.p, f.n);
    attribute(&m, RTA_OIF, &oif, sizeof oif);
    int e = commit(fd, &m);
    return e == (present ? -EEXIST : -ESRCH) ? 0 : e;
}
