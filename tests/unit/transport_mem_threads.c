/* mem:// under threads: both directions at once, each in its own thread, sleeping only when the last answer was -EAGAIN: a
 * wake-up that is lost stops a thread for ever. Under ThreadSanitizer as well. runner: tsan
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "census.h"
#include "mem_ends.h"

enum { STALL_S = 20 };

/* An io as the stream layer has it: the hook takes a mutex of its own and wakes a sleeper. */
struct door {
    struct gs_io io;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
};

static void knock(struct gs_io *io, bool readable, bool writable)
{
    struct door *d = (struct door *)io;
    (void)readable, (void)writable;
    pthread_mutex_lock(&d->mutex);
    pthread_cond_broadcast(&d->moved);
    pthread_mutex_unlock(&d->mutex);
}

static void door_init(struct door *d)
{
    memset(d, 0, sizeof *d);
    d->io.ready = knock;
    pthread_mutex_init(&d->mutex, NULL);
    pthread_cond_init(&d->moved, NULL);
}

static void door_fini(struct door *d)
{
    pthread_cond_destroy(&d->moved);
    pthread_mutex_destroy(&d->mutex);
}

/* Sleeps until the level that was cleared before the last try is set. False: nobody knocked. */
static bool door_wait(struct door *d, _Atomic int *level)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += STALL_S;
    int e = 0;
    pthread_mutex_lock(&d->mutex);
    while (!atomic_load(level) && e == 0)
        e = pthread_cond_timedwait(&d->moved, &d->mutex, &end);
    pthread_mutex_unlock(&d->mutex);
    return e == 0;
}

struct flow {
    struct door *door;
    void *ctx;
    uint64_t seed, total;
    const char *trouble;
};

static void *send_all(void *arg)
{
    struct flow *f = arg;
    struct rng r = {f->seed};
    uint8_t chunk[5000];
    for (uint64_t at = 0; at < f->total;) {
        size_t n = 1 + (size_t)rng_below(&r, sizeof chunk);
        if (n > f->total - at)
            n = (size_t)(f->total - at);
        pattern_fill(chunk, n, f->seed, at);
        atomic_store(&f->door->io.writable, 0);
        ssize_t k = mem_write(f->ctx, chunk, n);
        if (k == -EAGAIN && !door_wait(f->door, &f->door->io.writable))
            return f->trouble = "the writer was not woken", NULL;
        if (k < 0 && k != -EAGAIN)
            return f->trouble = gs_error_name((int)k), NULL;
        at += k > 0 ? (uint64_t)k : 0;
    }
    if (mem()->shutdown(f->ctx, GS_SHUT_WRITE) < 0)
        f->trouble = "shutdown";
    return NULL;
}

static void *receive_all(void *arg)
{
    struct flow *f = arg;
    uint8_t chunk[7000];
    for (uint64_t at = 0;;) {
        atomic_store(&f->door->io.readable, 0);
        ssize_t k = mem_read(f->ctx, chunk, sizeof chunk);
        if (k == -EAGAIN && !door_wait(f->door, &f->door->io.readable))
            return f->trouble = "the reader was not woken", NULL;
        if (k < 0 && k != -EAGAIN)
            return f->trouble = gs_error_name((int)k), NULL;
        if (k == 0)
            return f->trouble = at == f->total ? NULL : "bytes are missing", NULL;
        if (k > 0 && pattern_check(chunk, (size_t)k, f->seed, at) != (size_t)k)
            return f->trouble = "bytes are wrong", NULL;
        at += k > 0 ? (uint64_t)k : 0;
    }
}

static void *accept_one(const char *name, struct door *listener, struct door *server, void *l)
{
    void *ctx;
    for (;;) {
        atomic_store(&listener->io.readable, 0);
        int e = mem()->accept(l, &server->io, &ctx);
        if (e == 0)
            return ctx;
        if (e != -EAGAIN || !door_wait(listener, &listener->io.readable))
            fail_msg("%s: no connection came", name);
    }
}

static void flows_under(const char *name, uint64_t seed, uint64_t total)
{
    struct door at_listener, at_a, at_b;
    void *l, *a, *b;
    door_init(&at_listener), door_init(&at_a), door_init(&at_b);
    assert_ok(mem()->listen(&at_listener.io, &(gs_target){.rest = name}, NULL, &l));
    char plain[64];
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(name, "?"), name);
    int e = mem()->connect(&at_a.io, &(gs_target){.rest = plain}, NULL, &a);
    b = accept_one(name, &at_listener, &at_b, l);
    while (e == -EINPROGRESS) {
        atomic_store(&at_a.io.writable, 0);
        e = mem()->handshake(a);
        if (e == -EINPROGRESS)
            assert_true(door_wait(&at_a, &at_a.io.writable));
    }
    assert_ok(e);
    mem()->close(l, false);
    struct flow flow[4] = {{&at_a, a, seed, total, NULL}, {&at_b, b, seed, total, NULL}, {&at_b, b, ~seed, total / 2, NULL},
                           {&at_a, a, ~seed, total / 2, NULL}};
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, i % 2 ? receive_all : send_all, &flow[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    mem()->close(a, false);
    mem()->close(b, false);
    for (int i = 0; i < 4; i++)
        if (flow[i].trouble)
            fail_msg("%s, flow %d: %s", name, i, flow[i].trouble);
    door_fini(&at_listener), door_fini(&at_a), door_fini(&at_b);
}

static void no_wake_is_lost_between_threads(void **state)
{
    (void)state;
    struct census before;
    char name[40];
    flows_under("warm", 0, 1000);
    census_take(&before);
    flows_under("smooth", 99, (uint64_t)test_scale(4 << 20, 64 << 20));
    for (uint64_t seed = 1; seed <= (uint64_t)test_scale(10, 100); seed++) {
        snprintf(name, sizeof name, "ragged?seed=%d", (int)seed);
        flows_under(name, seed, 100000);
    }
    census_assert(&before);
}

/* ---- opening and closing from everywhere ---- */

enum { CALLERS = 4 };

static _Atomic bool done;
static _Atomic long connected, refused;

static void *call_and_hang_up(void *arg)
{
    struct rng r = {*(uint64_t *)arg};
    struct door door;
    door_init(&door);
    while (!done) {
        void *ctx;
        int e = mem()->connect(&door.io, &(gs_target){.rest = "busy"}, NULL, &ctx);
        if (e == -ECONNREFUSED) {
            refused++;
            continue;
        }
        if (e < 0 && e != -EINPROGRESS)
            break;
        connected++;
        (void)mem_write(ctx, "x", rng_below(&r, 2));
        (void)mem()->handshake(ctx);
        mem()->close(ctx, rng_below(&r, 2));
    }
    door_fini(&door);
    return NULL;
}

/* A listener comes and goes, takes some callers and leaves others in its queue. */
static void listeners_come_and_go_under_callers(void **state)
{
    (void)state;
    struct census before;
    census_take(&before);
    pthread_t thread[CALLERS];
    uint64_t seed[CALLERS];
    done = false;
    for (int i = 0; i < CALLERS; i++) {
        seed[i] = test_seed() + (uint64_t)i;
        assert_int_equal(pthread_create(&thread[i], NULL, call_and_hang_up, &seed[i]), 0);
    }
    struct rng r = {test_seed()};
    struct door at_listener, at_server;
    door_init(&at_listener), door_init(&at_server);
    long taken = 0, end = test_scale(300, 5000);
    for (long i = 0; i < end || !connected || !taken; i++) {
        void *l, *ctx;
        char byte;
        assert_ok(mem()->listen(&at_listener.io, &(gs_target){.rest = "busy"}, GS_OPTS(GS_INT(BACKLOG, i % 3)), &l));
        for (uint64_t n = rng_below(&r, 60); n > 0; n--)
            if (mem()->accept(l, &at_server.io, &ctx) == 0) {
                taken++;
                (void)mem_read(ctx, &byte, 1);
                mem()->close(ctx, rng_below(&r, 2));
            }
        mem()->close(l, false);
    }
    done = true;
    for (int i = 0; i < CALLERS; i++)
        pthread_join(thread[i], NULL);
    door_fini(&at_listener), door_fini(&at_server);
    assert_true(connected > 0);
    assert_true(taken > 0);
    census_assert(&before);
}

/* ---- the registry ---- */

static void *look_up(void *arg)
{
    long *found = arg;
    for (int i = 0; i < 20000; i++)
        *found += gs_transport_find(i % 2 ? "tcp" : "late-63") != NULL;
    return NULL;
}

static void look_ups_go_on_while_schemes_are_registered(void **state)
{
    (void)state;
    static struct gs_transport t[64];
    static char scheme[64][20];
    pthread_t thread[2];
    long found[2] = {0};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, look_up, &found[i]), 0);
    for (int i = 0; i < 64; i++) {
        snprintf(scheme[i], sizeof scheme[i], "late-%d", i);
        t[i] = *mem();
        t[i].scheme = scheme[i];
        assert_ok(gs_transport_register(&t[i]));
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        assert_true(found[i] >= 10000 && found[i] <= 20000);
    }
    assert_non_null(gs_transport_find("late-0"));
    assert_non_null(gs_transport_find("late-63"));
}

static void *change_defaults(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++)
        if (gs_set_default_opts(GS_LISTEN_DEFAULTS,
                                i % 2 ? NULL : GS_OPTS(GS_STR(NETNS, "/run/netns/blue"), GS_INT(BACKLOG, i))) < 0)
            return (void *)1;
    return gs_set_default_opts(GS_LISTEN_DEFAULTS, NULL) < 0 ? (void *)1 : NULL;
}

static void defaults_change_while_others_copy_them(void **state)
{
    (void)state;
    pthread_t thread;
    void *failed;
    struct census before;
    census_take(&before);
    assert_int_equal(pthread_create(&thread, NULL, change_defaults, NULL), 0);
    for (int i = 0; i < 2000; i++) {
        gs_opt *all = gsi_opts_with_defaults(GS_LISTEN_DEFAULTS, GS_OPTS(GS_INT(NODELAY, 1)));
        const gs_opt *netns = gsi_opts_find(all, GS_OPT_NETNS);
        assert_int_equal(gsi_opts_find(all, GS_OPT_NODELAY)->v.i, 1);
        assert_true(!netns || !strcmp(netns->v.s, "/run/netns/blue"));
        gsi_free(all);
    }
    pthread_join(thread, &failed);
    assert_null(failed);
    census_assert(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_wake_is_lost_between_threads),
        cmocka_unit_test(listeners_come_and_go_under_callers),
        cmocka_unit_test(look_ups_go_on_while_schemes_are_registered),
        cmocka_unit_test(defaults_change_while_others_copy_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
