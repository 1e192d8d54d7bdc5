/* load_stream.c: the modes without a closed loop of messages: a bulk stream, short connections, idle connections. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { MIB = 1 << 20, CHUNK = 256 * 1024, WARM_MIB = 64, BASE = 100, EVENTS = 64 };

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

/* Sends the bytes and the end of the stream; the server tells how many came. */
static void stream(const struct load *l, const uint8_t *chunk, uint64_t mib)
{
    uint8_t want[8], got[8];
    int fd = dial(l);
    for (uint64_t left = mib * MIB; left; left -= CHUNK)
        write_whole(fd, chunk, CHUNK);
    finish_sending(fd);
    put64(want, mib * MIB);
    read_whole(fd, got, sizeof got);
    if (memcmp(want, got, sizeof got))
        wrong("the server counted other than the %llu MiB that were sent", (unsigned long long)mib);
    hang_up(fd);
}

void load_bulk(const struct load *l, struct result *r)
{
    uint8_t *chunk = need(CHUNK);
    for (size_t i = 0; i < CHUNK; i++)
        chunk[i] = (uint8_t)(i * 131);
    if (l->warmup_ms)
        stream(l, chunk, WARM_MIB);
    struct window w = window_begin(l);
    stream(l, chunk, l->mib);
    window_end(l, &w, r);
    r->messages = l->mib;
    free(chunk);
}

static void open_short(const struct load *l, int epoll)
{
    int fd = dial(l);
    struct epoll_event v = {.events = EPOLLIN, .data.fd = fd};
    finish_sending(fd);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &v))
        die("epoll_ctl");
}

/* The server must close: its end of the stream is what ends a connection here. */
static void end_short(int fd)
{
    char byte;
    ssize_t n = receive(fd, &byte, 1);
    if (n < 0)
        die("recv");
    if (n > 0)
        wrong("the server sent something on a connection without a message");
    hang_up(fd);
}

/* One window of short connections; the slots stay full, so the server always has something to do. */
static uint64_t churn_for(const struct load *l, int epoll, int ms, uint64_t most)
{
    struct epoll_event v[EVENTS];
    uint64_t done = 0, until = now_ns() + (uint64_t)ms * 1000000;
    while (done < most && now_ns() < until) {
        int n = epoll_wait(epoll, v, EVENTS, STALL_MS);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        if (n == 0)
            wrong("the server closed no connection for %d ms", STALL_MS);
        for (int i = 0; i < n; i++) {
            end_short(v[i].data.fd);
            open_short(l, epoll);
            done++;
        }
    }
    return done;
}

void load_churn(const struct load *l, struct result *r)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < l->connections; i++)
        open_short(l, epoll);
    churn_for(l, epoll, l->warmup_ms, UINT64_MAX);
    struct window w = window_begin(l);
    r->messages = churn_for(l, epoll, l->window_ms, l->most);
    window_end(l, &w, r);
    close(epoll); /* the connections that are open go with the process */
}

/* A connection that has been used: what its first message needed must be gone again. */
static int open_used(const struct load *l)
{
    uint8_t out[4 + 64], in[sizeof out];
    int fd = dial(l);
    put32(out, sizeof out - 4);
    for (size_t i = 4; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 7);
    write_whole(fd, out, sizeof out);
    read_whole(fd, in, sizeof in);
    if (memcmp(in, out, sizeof out))
        wrong("a message came back wrong");
    return fd;
}

/* Says where it is and waits for a line, so that the runner can look at the server meanwhile. */
static void tell(const char *what)
{
    char line[16];
    puts(what);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        wrong("stdin ended");
}

void load_idle(const struct load *l, struct result *r)
{
    uint64_t began = now_ns();
    for (int i = 0; i < l->connections; i++) {
        open_used(l);
        if (i == BASE - 1)
            tell("base");
    }
    tell("ready");
    r->messages = (uint64_t)l->connections;
    r->seconds = (double)(now_ns() - began) / 1e9;
}
