/* watch.c: watch.h. */
#include "tailnet/link/watch.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATAGRAM = 8 * 1024, AT_A_TIME = 64 };

int gsi_watch_open(void)
{
    const struct sockaddr_nl all = {.nl_family = AF_NETLINK,
                                    .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                                                 RTMGRP_IPV6_ROUTE};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&all, sizeof all) < 0) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

static void take(const struct nlmsghdr *h, const uint8_t *body, struct changes *out)
{
    struct rtmsg r;
    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
    case RTM_NEWADDR:
    case RTM_DELADDR: out->addresses = true; break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        if (h->nlmsg_len < sizeof *h + sizeof r)
            break;
        memcpy(&r, body, sizeof r);
        out->ways |= r.rtm_dst_len == 0 && !(r.rtm_flags & RTM_F_CLONED) && r.rtm_type == RTN_UNICAST;
        break;
    default: break;
    }
}

void gsi_watch_parse(const uint8_t *p, size_t n, struct changes *out)
{
    struct nlmsghdr h;
    while (n >= sizeof h) {
        memcpy(&h, p, sizeof h);
        if (h.nlmsg_len < sizeof h || h.nlmsg_len > n)
            return;
        take(&h, p + sizeof h, out);
        size_t whole = NLMSG_ALIGN(h.nlmsg_len);
        if (whole >= n)
            return;
        p += whole;
        n -= whole;
    }
}

void gsi_watch_read(int fd, struct changes *out)
{
    uint8_t datagram[DATAGRAM];
    for (int i = 0; i < AT_A_TIME; i++) {
        ssize_t n = recv(fd, datagram, sizeof datagram, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == ENOBUFS)
            *out = (struct changes){true, true};
        else if (n <= 0)
            return;
        else
            gsi_watch_parse(datagram, (size_t)n, out);
    }
}
