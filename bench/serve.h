/* serve.h: what the hand-written contenders share: `PROGRAM echo|sink`, the port on stdout, SIGTERM ends it. */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SERVE_BACKLOG = 1024, SERVE_HEADER = 4, SERVE_PACKET_MAX = 1 << 26, SERVE_BUFFER = 128 * 1024 };

_Noreturn static inline void serve_die(const char *what)
{
    fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* true: sink. */
static inline bool serve_is_sink(int argc, char **argv)
{
    bool sink = argc == 2 && !strcmp(argv[1], "sink");
    if (!sink && (argc != 2 || strcmp(argv[1], "echo"))) {
        fprintf(stderr, "usage: %s echo|sink\n", argv[0]);
        exit(2);
    }
    return sink;
}

static inline void serve_tell_port(int port)
{
    printf("%d\n", port);
    if (fflush(stdout))
        serve_die("stdout");
}

static inline int serve_bound(void)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) || bind(fd, (struct sockaddr *)&a, sizeof a))
        serve_die("bind");
    return fd;
}

static inline int serve_port(int fd)
{
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n))
        serve_die("getsockname");
    return ntohs(a.sin_port);
}

/* The bytes at the front of p that are whole packets; *missing: what the cut one behind them lacks, 0 when that is unknown. */
static inline size_t serve_whole(const uint8_t *p, size_t n, size_t *missing)
{
    size_t at = 0;
    *missing = 0;
    while (n - at >= SERVE_HEADER) {
        uint32_t len;
        memcpy(&len, p + at, sizeof len);
        len = ntohl(len);
        if (len > SERVE_PACKET_MAX)
            return SIZE_MAX;
        if (n - at - SERVE_HEADER < len) {
            *missing = len - (n - at - SERVE_HEADER);
            break;
        }
        at += SERVE_HEADER + len;
    }
    return at;
}

static inline void serve_count(uint8_t out[8], uint64_t count)
{
    uint32_t high = htonl((uint32_t)(count >> 32)), low = htonl((uint32_t)count);
    memcpy(out, &high, 4);
    memcpy(out + 4, &low, 4);
}

#endif
