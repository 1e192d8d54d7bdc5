/* undelivered.c: undelivered.h. */
#include "tailnet/stack/undelivered.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum {
    ANSWER = 16 * 1024,
    /* The states in which something is sent; in that of a listener the same field counts connections. */
    SENDING = 1 << TCP_ESTABLISHED | 1 << TCP_CLOSE_WAIT | 1 << TCP_FIN_WAIT1 | 1 << TCP_LAST_ACK | 1 << TCP_CLOSING,
};

struct request {
    struct nlmsghdr h;
    struct inet_diag_req_v2 r;
};

/* One answer: 1: found; 0: not, and it was the last; -EAGAIN: more follow. */
static int read_answer(const uint8_t *p, size_t n)
{
    int found = 0;
    struct nlmsghdr h;
    struct inet_diag_msg m;
    for (size_t at = 0; n - at >= sizeof h; at += NLMSG_ALIGN(h.nlmsg_len)) {
        memcpy(&h, p + at, sizeof h);
        if (h.nlmsg_type == NLMSG_DONE)
            return found;
        if (h.nlmsg_type == NLMSG_ERROR || h.nlmsg_len < sizeof h || h.nlmsg_len > n - at)
            return -EPROTO;
        if (h.nlmsg_len >= sizeof h + sizeof m) {
            memcpy(&m, p + at + sizeof h, sizeof m);
            found |= m.idiag_wqueue > 0;
        }
        if (NLMSG_ALIGN(h.nlmsg_len) > n - at)
            break;
    }
    return found ? found : -EAGAIN;
}

static int ask(int fd, uint8_t family)
{
    uint8_t answer[ANSWER];
    const struct request q = {
        .h = {.nlmsg_len = sizeof q, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .r = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = SENDING}};
    if (send(fd, &q, sizeof q, MSG_NOSIGNAL) < 0)
        return -errno;
    int found = -EAGAIN;
    while (found == -EAGAIN) {
        ssize_t n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        found = n < 0 ? -errno : n == 0 ? -EPROTO : read_answer(answer, (size_t)n);
        if (n < 0)
            break;
    }
    return found;
}

int gsi_tcp_undelivered(int fd)
{
    int found = ask(fd, AF_INET);
    return found == 0 ? ask(fd, AF_INET6) : found;
}
