/* close_steps.h: a pair of streams, a thread inside a blocking call, and how long a close lets it wait. */
#ifndef CLOSE_STEPS_H
#define CLOSE_STEPS_H

#include "mailbox/mailbox.h"
#include "storm.h"

enum { REPEATS = 5, WAKE_MS = 50, MUCH = 1 << 20 };

static const char *const schemes[] = {"tcp", "unix", "mem"};
enum { SCHEMES = 3 };

/* ---- two ends ---- */

struct pair {
    gs_stream listener, a, b; /* a connected, b was accepted */
    struct place at;
    gs_mailbox owner; /* a's, when it was asked for */
};

static void open_pair(struct pair *p, const char *scheme, const gs_opt *opts, bool owned)
{
    *p = (struct pair){0};
    assert_ok(listen_at(scheme, NULL, GS_NO_MAILBOX, &p->listener, &p->at));
    if (owned)
        assert_ok(gs_mailbox_new(&p->owner));
    assert_ok(gs_stream_connect(&p->a, p->at.at, opts, p->owner, 5000));
    assert_ok(gs_stream_accept(p->listener, &p->b, GS_NO_MAILBOX, 5000, NULL));
}

static void close_pair(struct pair *p)
{
    assert_code(gs_stream_close(p->a), 0);
    assert_code(gs_stream_close(p->b), 0);
    assert_code(gs_stream_close(p->listener), 0);
    if (p->owner.id)
        assert_code(gs_mailbox_free(p->owner), 0);
    assert_until(gsi_live_count(GSI_STREAM) == 0, 2000);
}

/* Sends until nothing more is taken; the peer does not read. */
static size_t fill(gs_stream s)
{
    static const char zeros[1 << 16];
    size_t sent = 0;
    gs_rest rest;
    struct iovec v = {(void *)(uintptr_t)zeros, sizeof zeros};
    for (int e = 0; e >= 0;) {
        e = gs_stream_sendv(s, &v, 1, &rest);
        if (e < 0)
            assert_true(e == -EAGAIN || e == GS_ETIMEOUT);
        sent += e == 0 ? sizeof zeros : e == GS_ETIMEOUT ? rest.body_at : 0;
    }
    return sent;
}

/* ---- a thread inside a call ---- */

struct call {
    long (*run)(struct call *c);
    gs_stream s, out;
    gs_mailbox mb;
    struct place at;
    int fd;
    long answer;
    uint64_t ended_us;
    pthread_t thread;
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void *run_call(void *arg)
{
    struct call *c = arg;
    c->answer = c->run(c);
    c->ended_us = now_us();
    return NULL;
}

static void call_start(struct call *c) { c->thread = go(run_call, c); }

/* The call has come back with this; microseconds since `from`. */
static uint64_t call_end(struct call *c, uint64_t from, long expected, const char *what)
{
    join(c->thread);
    if (c->answer != expected)
        fail_msg("%s answers %ld (%s) instead of %s", what, c->answer, gs_error_name((int)c->answer),
                 gs_error_name((int)expected));
    return c->ended_us > from ? c->ended_us - from : 0;
}

/* Whether a receiver sleeps in this mailbox. */
static bool is_asleep(gs_mailbox h)
{
    struct gsi_mailbox *mb;
    if (gsi_mailbox_lock(h, &mb) < 0)
        return false;
    bool asleep = mb->sleeping;
    gsi_unlock(&mb->object);
    return asleep;
}

/* A busy machine makes any one of them late: the median counts, and none may hang. */
struct latencies {
    uint64_t us[REPEATS];
    int n;
};

static void add_latency(struct latencies *l, uint64_t us)
{
    int i = l->n++;
    for (; i > 0 && l->us[i - 1] > us; i--)
        l->us[i] = l->us[i - 1];
    l->us[i] = us;
}

static void check_latencies(const struct latencies *l, const char *what, const char *scheme)
{
    uint64_t median = l->us[l->n / 2];
    print_message("# %s, %s: woken after %llu us (worst %llu)\n", what, scheme, (unsigned long long)median,
                  (unsigned long long)l->us[l->n - 1]);
    if (median > WAKE_MS * 1000)
        fail_msg("%s over %s: woken only after %llu us", what, scheme, (unsigned long long)median);
}

#endif
