/* load.h: what the parts of the load generator share. It is plain sockets and epoll, so that it favours no contender. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct load {
    int port;
    int connections, depth;
    size_t size;              /* bytes of a message without its 4-byte header */
    int warmup_ms, window_ms; /* the time that is measured follows the warm-up */
    uint64_t most;            /* messages after which the measured part ends early */
    uint64_t mib;             /* of a bulk stream */
    bool tls;                 /* TLS 1.3 */
    int server;               /* the pid whose CPU time is read, or 0 */
};

struct result {
    uint64_t messages; /* echoes, MiB or connections */
    double seconds;
    uint64_t server_cpu_ns;
    double p50_us, p99_us; /* 0: has no latency */
};

enum { STALL_MS = 5000 }; /* nothing moves for so long: the run has failed */

/* Each runs whole, checks what it gets, and ends the process with a line on stderr when something is wrong. */
void load_echo(const struct load *l, struct result *r);
void load_bulk(const struct load *l, struct result *r);
void load_churn(const struct load *l, struct result *r);
void load_idle(const struct load *l, struct result *r);

/* The window of a measurement: reads both clocks. */
struct window {
    uint64_t began_ns, began_cpu_ns;
};
struct window window_begin(const struct load *l);
void window_end(const struct load *l, const struct window *w, struct result *r);

_Noreturn void die(const char *what);              /* … and errno's text */
_Noreturn void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
void *need(size_t n);                              /* zeroed memory, or die */
int dial(const struct load *l);                    /* a connected blocking socket with nodelay */

/* load_tls.c: in clear, or in TLS where dial has begun it. -1 with errno, 0 at the end. */
void start_tls(int fd);
void do_not_wait(int fd);
ssize_t send_pieces(int fd, const struct iovec *iov, int n);
ssize_t receive(int fd, void *p, size_t n);
void finish_sending(int fd);
void hang_up(int fd);

void read_whole(int fd, void *p, size_t n);        /* blocking, at most STALL_MS without progress */
void write_whole(int fd, const void *p, size_t n);
void put32(uint8_t *p, uint32_t v);
uint32_t get32(const uint8_t *p);

#endif
