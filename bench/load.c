/* load.c: the load generator: `load MODE PORT [--NAME NUMBER …]`, against 127.0.0.1:PORT; one JSON object on stdout.
 *
 *   echo   {packet,4} in a closed loop: --connections, each with --depth messages of --size bytes on their way
 *   bulk   a raw stream of --mib MiB, which the server counts: its 8-byte answer must be right
 *   churn  connect, end of stream in both directions, close, with --connections at a time
 *   idle   opens --connections, sends one message on each, says `base` (after 100) and `ready`, and holds them
 *
 * --tls: all of it over TLS 1.3. Everything is bounded by time (--warmup, --window: ms) and by count (--most). --server PID: the CPU time that this process
 * used in the window is part of the result, read at the window's two ends from its own CPU clock (nanoseconds, all threads).
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

void wrong(const char *format, ...)
{
    va_list a;
    va_start(a, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, a);
    fputc('\n', stderr);
    va_end(a);
    exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t))
        die("clock_gettime");
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static uint64_t server_cpu_ns(const struct load *l)
{
    clockid_t clock;
    if (!l->server)
        return 0;
    int e = clock_getcpuclockid(l->server, &clock);
    if (e)
        wrong("the CPU clock of process %d: %s", l->server, strerror(e));
    return clock_ns(clock);
}

struct window window_begin(const struct load *l) { return (struct window){.began_cpu_ns = server_cpu_ns(l), .began_ns = now_ns()}; }

void window_end(const struct load *l, const struct window *w, struct result *r)
{
    r->seconds = (double)(now_ns() - w->began_ns) / 1e9;
    r->server_cpu_ns = server_cpu_ns(l) - w->began_cpu_ns;
}

void *need(size_t n)
{
    void *p = calloc(1, n);
    if (!p)
        die("memory");
    return p;
}

void put32(uint8_t *p, uint32_t v)
{
    v = htonl(v);
    memcpy(p, &v, sizeof v);
}

uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return ntohl(v);
}

/* Sources rotate through 127.0.0.0/8: a source port is not missed while its last user is in TIME_WAIT. */
static void bind_source(int fd)
{
    static uint32_t count;
    uint32_t n = count++;
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(UINT32_C(127) << 24 | (1 + n % 200) << 16 | (n / 200 % 200) << 8 | 1)};
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) || bind(fd, (struct sockaddr *)&from, sizeof from))
        die("bind");
}

int dial(const struct load *l)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval stall = {STALL_MS / 1000, 0};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0)
        die("socket");
    bind_source(fd);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof stall) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof stall))
        die("setsockopt");
    if (connect(fd, (struct sockaddr *)&to, sizeof to))
        die("connect");
    if (l->tls)
        start_tls(fd);
    return fd;
}

void read_whole(int fd, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = receive(fd, (char *)p + at, n - at);
        if (got < 0)
            die("recv");
        if (got == 0)
            wrong("the server closed with %zu of %zu bytes missing", n - at, n);
        at += (size_t)got;
    }
}

void write_whole(int fd, const void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t put = send_pieces(fd, &(struct iovec){(char *)(uintptr_t)p + at, n - at}, 1);
        if (put < 0)
            die("send");
        at += (size_t)put;
    }
}

static uint64_t number(const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (end == text || *end || errno || v > most)
        wrong("%s: a number up to %llu is wanted", text, (unsigned long long)most);
    return v;
}

static void parse(int argc, char **argv, struct load *l)
{
    static const struct option names[] = {{"connections", 1, 0, 'c'}, {"depth", 1, 0, 'd'}, {"size", 1, 0, 's'},
                                          {"warmup", 1, 0, 'w'},      {"window", 1, 0, 't'}, {"most", 1, 0, 'm'},
                                          {"mib", 1, 0, 'b'},         {"server", 1, 0, 'p'}, {"tls", 0, 0, 'T'},  {0}};
    for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;)
        switch (o) {
        case 'c': l->connections = (int)number(optarg, 100000); break;
        case 'd': l->depth = (int)number(optarg, 100000); break;
        case 's': l->size = (size_t)number(optarg, 1 << 26); break;
        case 'w': l->warmup_ms = (int)number(optarg, 60000); break;
        case 't': l->window_ms = (int)number(optarg, 600000); break;
        case 'm': l->most = number(optarg, UINT64_MAX); break;
        case 'b': l->mib = number(optarg, 1 << 24); break;
        case 'T': l->tls = true; break;
        case 'p': l->server = (int)number(optarg, INT_MAX); break;
        default: exit(2);
        }
    if (optind + 2 != argc || !l->connections || !l->depth || l->size < 8 || !l->most)
        wrong("usage: load echo|bulk|churn|idle PORT [--connections N] [--depth N] [--size N] [--warmup MS] [--window MS]"
              " [--most N] [--mib N] [--server PID] [--tls]");
    l->port = (int)number(argv[optind + 1], 65535);
}

static void (*mode(const char *name))(const struct load *, struct result *)
{
    static const struct {
        const char *name;
        void (*run)(const struct load *, struct result *);
    } modes[] = {{"echo", load_echo}, {"bulk", load_bulk}, {"churn", load_churn}, {"idle", load_idle}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (!strcmp(name, modes[i].name))
            return modes[i].run;
    wrong("%s: no such mode", name);
}

int main(int argc, char **argv)
{
    struct load l = {.connections = 100, .depth = 1, .size = 64, .warmup_ms = 200, .window_ms = 1000, .most = UINT64_MAX, .mib = 1024};
    struct result r = {0};
    parse(argc, argv, &l);
    mode(argv[optind])(&l, &r);
    printf("{\"mode\":\"%s\",\"messages\":%llu,\"seconds\":%.6f,\"server_cpu_ns\":%llu,\"load_cpu_ns\":%llu,\"p50_us\":%.2f,\"p99_us\":%.2f}\n",
           argv[optind], (unsigned long long)r.messages, r.seconds, (unsigned long long)r.server_cpu_ns,
           (unsigned long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID), r.p50_us, r.p99_us);
    return fflush(stdout) ? 1 : 0;
}
