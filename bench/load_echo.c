/* load_echo.c: {packet,4} messages in a closed loop.
 *
 * A connection has a ring of `depth` frames. Message i is sent from place i % depth, which is stamped anew when i came back:
 * so nothing is copied to be sent, and what comes back is compared with the place that it was sent from. Small messages are
 * compared whole, of large ones both ends and a part that moves.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>
#include <stdlib.h>

#include "load.h"

enum { HEADER = 4, STAMP = 8, WHOLE = 256, PART = 64, EVENTS = 256, STEPS = 32, BUCKETS = 64 * STEPS };

struct connection {
    int fd;
    bool waits_out;
    uint64_t sent, back, limit; /* messages sent whole, come back, and the first that may not be sent yet */
    size_t partial;             /* bytes of message `sent` that are sent already */
    size_t in_n;
    uint8_t *ring, *in;
    uint64_t *sent_ns;
};

struct echo {
    const struct load *l;
    size_t frame, in_cap; /* bytes */
    int epoll;
    struct connection *c;
    uint64_t back, on_their_way;
    bool measuring, draining;
    uint64_t histogram[BUCKETS];
};

/* Buckets of 1/32 of each power of two of nanoseconds. */
static size_t bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (size_t)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - 5;
    return (size_t)(shift + 1) * STEPS + (size_t)(ns >> shift) - STEPS;
}

static double bucket_us(size_t bucket)
{
    if (bucket < STEPS)
        return (double)bucket / 1e3;
    return (double)((uint64_t)(bucket % STEPS + STEPS) << (bucket / STEPS - 1)) / 1e3;
}

static double percentile(const struct echo *e, double share)
{
    uint64_t all = 0, seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        all += e->histogram[i];
    for (size_t i = 0; i < BUCKETS; i++)
        if ((seen += e->histogram[i]) > 0 && (double)seen >= share * (double)all)
            return bucket_us(i);
    return 0;
}

static uint8_t *place(const struct echo *e, const struct connection *c, uint64_t message)
{
    return c->ring + (size_t)(message % (uint64_t)e->l->depth) * e->frame;
}

static void stamp(const struct echo *e, struct connection *c, uint64_t message)
{
    uint8_t *p = place(e, c, message);
    memcpy(p + HEADER, &message, STAMP);
    memcpy(p + e->frame - STAMP, &message, STAMP);
}

static void watch(struct echo *e, struct connection *c, int how, bool out)
{
    struct epoll_event v = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(e->epoll, how, c->fd, &v))
        die("epoll_ctl");
    c->waits_out = out;
}

/* Sends all messages up to the limit in one call, which wraps around the ring's end. */
static void send_messages(struct echo *e, struct connection *c)
{
    size_t left = (size_t)(c->limit - c->sent) * e->frame - c->partial;
    if (left == 0)
        return;
    uint8_t *from = place(e, c, c->sent) + c->partial, *end = c->ring + (size_t)e->l->depth * e->frame;
    size_t first = left < (size_t)(end - from) ? left : (size_t)(end - from);
    struct iovec iov[2] = {{from, first}, {c->ring, left - first}};
    uint64_t now = now_ns();
    ssize_t n = send_pieces(c->fd, iov, left > first ? 2 : 1);
    if (n < 0 && errno != EAGAIN)
        die("sendmsg");
    for (c->partial += n < 0 ? 0 : (size_t)n; c->partial >= e->frame; c->partial -= e->frame) {
        c->sent_ns[c->sent++ % (uint64_t)e->l->depth] = now;
        e->on_their_way++;
    }
    bool stuck = n < (ssize_t)left;
    if (stuck != c->waits_out)
        watch(e, c, EPOLL_CTL_MOD, stuck);
}

static void check(const struct echo *e, const struct connection *c, const uint8_t *got)
{
    const uint8_t *want = place(e, c, c->back);
    size_t n = e->frame;
    bool same = c->back < c->sent && get32(got) == e->l->size;
    if (same && n <= WHOLE) {
        same = !memcmp(got, want, n);
    } else if (same) {
        size_t at = (size_t)(c->back * 977) % (n - PART);
        same = !memcmp(got, want, HEADER + STAMP) && !memcmp(got + n - STAMP, want + n - STAMP, STAMP) && !memcmp(got + at, want + at, PART);
    }
    if (!same)
        wrong("message %llu of a connection came back wrong", (unsigned long long)c->back);
}

static void receive_messages(struct echo *e, struct connection *c)
{
    ssize_t n = receive(c->fd, c->in + c->in_n, e->in_cap - c->in_n);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0)
        die("recv");
    if (n == 0)
        wrong("the server closed a connection");
    c->in_n += (size_t)n;
    uint64_t now = now_ns();
    size_t at = 0;
    for (; c->in_n - at >= e->frame; at += e->frame) {
        check(e, c, c->in + at);
        if (e->measuring)
            e->histogram[bucket_of(now - c->sent_ns[c->back % (uint64_t)e->l->depth])]++;
        stamp(e, c, c->back + (uint64_t)e->l->depth);
        c->back++;
        e->back++;
        e->on_their_way--;
        if (!e->draining)
            c->limit++;
    }
    if (c->in_n > at && at > 0)
        memmove(c->in, c->in + at, c->in_n - at);
    c->in_n -= at;
    if (at)
        send_messages(e, c);
}

static void turn(struct echo *e)
{
    struct epoll_event v[EVENTS];
    int n = epoll_wait(e->epoll, v, EVENTS, STALL_MS);
    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    if (n == 0)
        wrong("nothing came back for %d ms; %llu messages are on their way", STALL_MS, (unsigned long long)e->on_their_way);
    for (int i = 0; i < n; i++) {
        struct connection *c = v[i].data.ptr;
        if (v[i].events & EPOLLOUT)
            send_messages(e, c);
        if (v[i].events & ~(uint32_t)EPOLLOUT)
            receive_messages(e, c);
    }
}

static void open_connection(struct echo *e, struct connection *c)
{
    size_t depth = (size_t)e->l->depth;
    c->fd = dial(e->l);
    do_not_wait(c->fd);
    c->limit = depth;
    c->ring = need(depth * e->frame);
    c->in = need(e->in_cap);
    c->sent_ns = need(depth * sizeof *c->sent_ns);
    for (uint64_t m = 0; m < depth; m++) {
        uint8_t *p = place(e, c, m);
        put32(p, (uint32_t)e->l->size);
        for (size_t i = 0; i < e->l->size; i++)
            p[HEADER + i] = (uint8_t)(i * 131 + m * 17 + 7);
        stamp(e, c, m);
    }
    watch(e, c, EPOLL_CTL_ADD, false);
}

/* For ms, or until `most` messages came back. */
static void run_for(struct echo *e, int ms, uint64_t most)
{
    uint64_t until = now_ns() + (uint64_t)ms * 1000000, stop = most > UINT64_MAX - e->back ? UINT64_MAX : e->back + most;
    while (e->back < stop && now_ns() < until)
        turn(e);
}

void load_echo(const struct load *l, struct result *r)
{
    struct echo *e = need(sizeof *e);
    e->l = l;
    e->frame = HEADER + l->size;
    e->in_cap = (size_t)l->depth * e->frame;
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    e->c = need((size_t)l->connections * sizeof *e->c);
    for (int i = 0; i < l->connections; i++)
        open_connection(e, &e->c[i]);
    for (int i = 0; i < l->connections; i++)
        send_messages(e, &e->c[i]);

    if (l->warmup_ms)
        run_for(e, l->warmup_ms, UINT64_MAX);
    uint64_t before = e->back;
    e->measuring = true;
    struct window w = window_begin(l);
    run_for(e, l->window_ms, l->most);
    window_end(l, &w, r);
    e->measuring = false;
    r->messages = e->back - before;
    r->p50_us = percentile(e, 0.5);
    r->p99_us = percentile(e, 0.99);

    e->draining = true;
    for (int i = 0; i < l->connections; i++)
        e->c[i].limit = e->c[i].sent + (e->c[i].partial ? 1 : 0);
    while (e->on_their_way)
        turn(e);
    for (int i = 0; i < l->connections; i++) {
        hang_up(e->c[i].fd);
        free(e->c[i].ring);
        free(e->c[i].in);
        free(e->c[i].sent_ns);
    }
    close(e->epoll);
    free(e->c);
    free(e);
}
