/* ei_tailnet_watch.h: a network namespace of the test's own, and a watch on every packet of it. Only a tailnet's own packets may
 * pass: those of the lab's ports and encrypted ones between nodes. Any others, and any with a forbidden word in it, are findings.
 *
 *     main: watch_enter();       before any thread; a namespace with lo and one way out, so that what leaves by the host is
 *                                seen, not refused
 *     watch_open(&w); watch_allow(&w, port); watch_forbid(&w, "word");
 *     … watch_look(&w) …
 *     watch_prove(&w);           it sees each kind that it looks for
 */
#ifndef EI_TAILNET_WATCH_H
#define EI_TAILNET_WATCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

enum { WATCH_WORDS = 8, WATCH_PORTS = 8, WATCH_DNS = 53, WATCH_ROOM = 64 << 20 };

struct watch {
    int fd;
    uint16_t allowed[WATCH_PORTS]; /* of TCP */
    const char *forbidden[WATCH_WORDS];
    int n_allowed, n_forbidden;
    long packets, findings;
    char first[200]; /* the first finding */
    uint8_t packet[1 << 16];
};

static inline bool watch_lo_up(void)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = s >= 0 && ioctl(s, SIOCSIFFLAGS, &r) == 0;
    close(s);
    return up;
}

/* An interface that leads away, with an address of each family: nobody reads there. */
static inline bool watch_way_out(struct ifreq *way)
{
    int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC); /* kept until the process ends */
    int s4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), s6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000202)}; /* 192.0.2.2 */
    struct {
        struct in6_addr address;
        uint32_t prefix;
        int index;
    } own6 = {.prefix = 64};
    *way = (struct ifreq){.ifr_name = "out", .ifr_flags = IFF_TUN | IFF_NO_PI};
    bool made = ioctl(tun, TUNSETIFF, way) == 0;
    memcpy(&way->ifr_addr, &own, sizeof own);
    made = made && ioctl(s4, SIOCSIFADDR, way) == 0;
    way->ifr_flags = IFF_UP | IFF_RUNNING;
    made = made && ioctl(s4, SIOCSIFFLAGS, way) == 0;
    own6.index = (int)if_nametoindex(way->ifr_name);
    inet_pton(AF_INET6, "2001:db8::2", &own6.address);
    made = made && ioctl(s6, SIOCSIFADDR, &own6) == 0;
    close(s4);
    close(s6);
    return made;
}

static inline bool watch_route_all(void)
{
    struct ifreq way;
    if (!watch_way_out(&way))
        return false;
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct rtentry r4 = {.rt_flags = RTF_UP, .rt_dev = way.ifr_name};
    struct in6_rtmsg r6 = {.rtmsg_flags = RTF_UP, .rtmsg_metric = 1, .rtmsg_ifindex = (int)if_nametoindex(way.ifr_name)};
    memcpy(&r4.rt_dst, &any, sizeof any);
    memcpy(&r4.rt_genmask, &any, sizeof any);
    int s4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), s6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool routed = ioctl(s4, SIOCADDRT, &r4) == 0 && ioctl(s6, SIOCADDRT, &r6) == 0;
    close(s4);
    close(s6);
    return routed;
}

/* false: this process may not, or there is no /dev/net/tun. */
static inline bool watch_enter(void) { return unshare(CLONE_NEWNET) == 0 && watch_lo_up() && watch_route_all(); }

static inline void watch_open(struct watch *w)
{
    memset(w, 0, sizeof *w);
    w->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
    assert_true(w->fd >= 0);
    int room = WATCH_ROOM;
    assert_int_equal(setsockopt(w->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room), 0);
}

static inline void watch_allow(struct watch *w, int port)
{
    assert_true(port > 0 && w->n_allowed < WATCH_PORTS);
    w->allowed[w->n_allowed++] = (uint16_t)port;
}

static inline void watch_forbid(struct watch *w, const char *word)
{
    assert_true(w->n_forbidden < WATCH_WORDS);
    w->forbidden[w->n_forbidden++] = word;
}

static inline void watch_found(struct watch *w, const char *what, int from, int to)
{
    if (w->findings++ == 0)
        snprintf(w->first, sizeof w->first, "%s, from port %d to %d", what, from, to);
}

static inline bool watch_allows(const struct watch *w, int port)
{
    for (int i = 0; i < w->n_allowed; i++)
        if (w->allowed[i] == port)
            return true;
    return false;
}

static inline void watch_judge(struct watch *w, size_t n)
{
    const uint8_t *p = w->packet, *rest;
    int protocol;
    bool inside;
    if (n >= 20 && p[0] >> 4 == 4) { /* 100.64.0.0/10 */
        inside = (p[12] == 100 && (p[13] & 0xc0) == 64) || (p[16] == 100 && (p[17] & 0xc0) == 64);
        protocol = p[9];
        rest = p + (p[0] & 15) * 4;
    } else if (n >= 40 && p[0] >> 4 == 6) {
        static const uint8_t own[] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0};
        inside = memcmp(p + 8, own, sizeof own) == 0 || memcmp(p + 24, own, sizeof own) == 0;
        protocol = p[6];
        rest = p + 40;
    } else {
        return;
    }
    w->packets++;
    int from = 0, to = 0;
    if ((protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) && p + n >= rest + 4) {
        from = rest[0] << 8 | rest[1];
        to = rest[2] << 8 | rest[3];
    }
    if (inside)
        watch_found(w, "an address of the tailnet", from, to);
    if (protocol == IPPROTO_TCP && !watch_allows(w, from) && !watch_allows(w, to))
        watch_found(w, "TCP that is not the lab's", from, to);
    if (protocol == IPPROTO_UDP && (from == WATCH_DNS || to == WATCH_DNS))
        watch_found(w, "a resolver", from, to);
    for (int i = 0; i < w->n_forbidden; i++)
        if (memmem(p, n, w->forbidden[i], strlen(w->forbidden[i])))
            watch_found(w, w->forbidden[i], from, to);
}

/* Takes in what has passed; the findings so far. */
static inline long watch_look(struct watch *w)
{
    struct tpacket_stats lost = {0};
    socklen_t size = sizeof lost;
    for (ssize_t n; (n = recv(w->fd, w->packet, sizeof w->packet, 0)) >= 0;)
        watch_judge(w, (size_t)n);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(getsockopt(w->fd, SOL_PACKET, PACKET_STATISTICS, &lost, &size), 0);
    assert_int_equal(lost.tp_drops, 0);
    return w->findings;
}

static inline void watch_proves(struct watch *w, int type, const char *to, int port, const char *text, const char *what)
{
    bool v6 = strchr(to, ':');
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    inet_pton(v6 ? AF_INET6 : AF_INET, to, v6 ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr);
    int s = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    w->findings = 0;
    int e = connect(s, v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4, v6 ? sizeof a6 : sizeof a4);
    if (type == SOCK_DGRAM && (e < 0 || send(s, text, strlen(text), 0) < 0))
        fail_msg("cannot send to %s: %s", to, strerror(errno));
    if (!wait_until(watch_look(w) > 0, 5000))
        fail_msg("does not see %s, to %s", what, to);
    if (strncmp(w->first, what, strlen(what)) != 0)
        fail_msg("sees \"%s\", not \"%s\"", w->first, what);
    close(s);
}

/* Each kind of finding, made on purpose. */
static inline void watch_prove(struct watch *w)
{
    watch_proves(w, SOCK_STREAM, "127.0.0.1", 4369, "", "TCP that is not the lab's");
    watch_proves(w, SOCK_STREAM, "::1", 4369, "", "TCP that is not the lab's");
    watch_proves(w, SOCK_DGRAM, "198.51.100.1", WATCH_DNS, "?", "a resolver");
    watch_proves(w, SOCK_DGRAM, "100.100.1.2", 7, "?", "an address of the tailnet");
    watch_proves(w, SOCK_DGRAM, "fd7a:115c:a1e0::7", 7, "?", "an address of the tailnet");
    for (int i = 0; i < w->n_forbidden; i++)
        watch_proves(w, SOCK_DGRAM, "127.0.0.1", 7, w->forbidden[i], w->forbidden[i]);
}

static inline void watch_close(struct watch *w) { close(w->fd); }

#endif
