/* The accept herd: many threads accept from one listener at once, with and without timeouts, nowait, and while others come and
 * go. Each connection is accepted exactly once, none is left waiting, and the close wakes them all. */
#include <sys/resource.h>

#include "storm.h"

enum { THREADS = 16, CONNECTORS = 3, CONNECTIONS_MAX = 1 << 16 };

static const char *scheme;
static gs_stream listener;
static struct place at;
static _Atomic uint32_t begun;
static _Atomic uint8_t accepted[CONNECTIONS_MAX];
static _Atomic bool stop;
static _Atomic long by_blocking, by_timeout, by_nowait, timeouts, cancelled;

#define COUNT(what) atomic_fetch_add_explicit(&what, 1, memory_order_relaxed)

/* Who it is says its number; the answer tells the connector that it was accepted. */
static void greet(gs_stream s)
{
    uint32_t who = 0;
    ssize_t n = gs_stream_recv(s, &who, sizeof who, sizeof who, STALL_MS);
    if (n != sizeof who || who >= CONNECTIONS_MAX)
        wrong("an accepted connection says %zd (%s)", n, gs_error_name((int)n));
    else if (atomic_fetch_add(&accepted[who], 1))
        wrong("connection %u was accepted twice", who);
    only_answers(gs_stream_send(s, &who, sizeof who), 0);
    only_answers(gs_stream_close(s), 0);
}

/* A nowait accept and its message; now and then taken back. */
static int accept_nowait(gs_mailbox mb, struct rng *r)
{
    gs_stream s;
    gs_msg m;
    uint64_t ref;
    int e = gs_stream_accept(listener, &s, mb, GS_NOWAIT, &ref);
    if (e != GS_ESELECT)
        return only_answers(e, GS_ECLOSED);
    if (rng_below(r, 4) == 0 && only_answers(gs_stream_cancel(listener, ref), GS_EINVALID, GS_ECLOSED) == 0) {
        COUNT(cancelled);
        return 0;
    }
    e = gs_receive_ref(mb, ref, &m, 20);
    if (e == GS_ETIMEOUT) {
        e = only_answers(gs_stream_cancel(listener, ref), GS_EINVALID, GS_ECLOSED);
        if (e == 0)
            return 0;
        e = gs_receive_ref(mb, ref, &m, STALL_MS); /* too late to cancel: it must be there */
    }
    if (only_answers(e, GS_EBADARG) < 0)
        return e;
    if (m.kind == GS_MSG_ABORT)
        return GS_ECLOSED;
    if (m.kind != GS_MSG_ACCEPT || m.error < 0) {
        wrong("a nowait accept ends with kind %d, %s", m.kind, gs_error_name(m.error));
        return 0;
    }
    COUNT(by_nowait);
    only_answers(gs_stream_setopts(m.fresh, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE))), 0);
    greet(m.fresh);
    return 0;
}

static void *accept_all(void *arg)
{
    struct rng r = {.s = test_seed() + (uintptr_t)arg};
    bool nowait = (uintptr_t)arg % 4 == 3 && strcmp(scheme, "mem") != 0, timed = (uintptr_t)arg % 4 == 2;
    gs_mailbox mb = GS_NO_MAILBOX;
    if (nowait)
        only_answers(gs_mailbox_new(&mb), 0);
    for (int e = 0; e != GS_ECLOSED;) {
        gs_stream s;
        if (nowait) {
            e = accept_nowait(mb, &r);
            continue;
        }
        e = gs_stream_accept(listener, &s, GS_NO_MAILBOX, timed ? (int)rng_below(&r, 4) : GS_INFINITY, NULL);
        if (e == GS_ETIMEOUT && timed) {
            COUNT(timeouts);
            nap_us((unsigned)rng_below(&r, 3000));
        } else if (only_answers(e, GS_ECLOSED, -ECONNABORTED) == 0) {
            atomic_fetch_add(timed ? &by_timeout : &by_blocking, 1);
            greet(s);
        }
    }
    if (nowait)
        gs_mailbox_free(mb);
    return NULL;
}

static void *connect_all(void *arg)
{
    struct rng r = {.s = test_seed() * 7 + (uintptr_t)arg};
    while (!atomic_load(&stop) && !atomic_load(&wrongs)) {
        uint32_t who = atomic_fetch_add(&begun, 1), back = 0;
        if (who >= CONNECTIONS_MAX)
            break;
        gs_stream s;
        if (only_answers(gs_stream_connect(&s, at.at, NULL, GS_NO_MAILBOX, 5000), 0) < 0)
            break;
        only_answers(gs_stream_send(s, &who, sizeof who), 0);
        ssize_t n = gs_stream_recv(s, &back, sizeof back, sizeof back, STALL_MS);
        if (n != sizeof back || back != who)
            wrong("connection %u waits in vain to be accepted: %s", who, gs_error_name((int)n));
        only_answers(gs_stream_close(s), 0);
        if (rng_below(&r, 8) == 0)
            nap_us((unsigned)rng_below(&r, 2000));
    }
    return NULL;
}

static void run_herd(long ms)
{
    pthread_t acceptors[THREADS], connectors[CONNECTORS];
    assert_ok(listen_at(scheme, GS_OPTS(GS_INT(BACKLOG, 128)), GS_NO_MAILBOX, &listener, &at));
    for (uintptr_t i = 0; i < THREADS; i++)
        acceptors[i] = go(accept_all, (void *)i);
    for (uintptr_t i = 0; i < CONNECTORS; i++)
        connectors[i] = go(connect_all, (void *)i);
    uint64_t end = real_ms() + (uint64_t)ms;
    while (real_ms() < end && !atomic_load(&wrongs))
        pause_1ms();
    atomic_store(&stop, true);
    for (int i = 0; i < CONNECTORS; i++)
        join(connectors[i]);
    uint64_t from = real_ms();
    assert_code(gs_stream_close(listener), 0);
    for (int i = 0; i < THREADS; i++)
        join(acceptors[i]);
    print_message("# all %d acceptors gone after %llu ms\n", THREADS, (unsigned long long)(real_ms() - from));
}

static void herd_over(const char *over)
{
    struct census before;
    scheme = over;
    for (int round = 0; round < 2; round++) {
        memset(accepted, 0, sizeof accepted);
        atomic_store(&begun, 0);
        atomic_store(&stop, false);
        by_blocking = by_timeout = by_nowait = timeouts = cancelled = 0;
        if (round == 1)
            census_take(&before);
        run_herd(round ? test_scale(2000, 20000) : 100);
        assert_until(gsi_live_count(GSI_STREAM) == 0, 2000);
    }
    uint32_t n = atomic_load(&begun) < CONNECTIONS_MAX ? atomic_load(&begun) : CONNECTIONS_MAX;
    print_message("# %s: %u connections; accepted %ld by blocking calls, %ld with a timeout, %ld nowait; %ld timeouts, %ld cancelled\n", over, n,
                  by_blocking, by_timeout, by_nowait, timeouts, cancelled);
    assert_int_equal(wrongs, 0);
    assert_int_equal(by_blocking + by_timeout + by_nowait, n);
    assert_true(by_blocking > 0 && by_timeout > 0 && timeouts > 0);
    census_assert(&before);
}

static void each_tcp_connection_is_accepted_once(void **state) { (void)state, herd_over("tcp"); }
static void each_unix_connection_is_accepted_once(void **state) { (void)state, herd_over("unix"); }
static void each_mem_connection_is_accepted_once(void **state) { (void)state, herd_over("mem"); }

/* A thundering herd costs a context switch of every thread for every connection. */
static void one_connection_wakes_about_one_thread(void **state)
{
    (void)state;
    enum { N = 200 };
    pthread_t acceptors[THREADS];
    struct rusage a, b;
    scheme = "tcp";
    memset(accepted, 0, sizeof accepted);
    atomic_store(&begun, 0);
    atomic_store(&stop, false);
    by_blocking = by_timeout = by_nowait = 0;
    assert_ok(listen_at("tcp", NULL, GS_NO_MAILBOX, &listener, &at));
    for (uintptr_t i = 0; i < THREADS; i++)
        acceptors[i] = go(accept_all, (void *)(i * 4)); /* all of them block without a timeout */
    assert_until(waiters(listener.id) == THREADS, 5000);
    getrusage(RUSAGE_SELF, &a);
    for (uint32_t who = 0; who < N; who++) {
        gs_stream s;
        uint32_t back = 0;
        assert_ok(gs_stream_connect(&s, at.at, NULL, GS_NO_MAILBOX, 5000));
        assert_ok(gs_stream_send(s, &who, sizeof who));
        assert_code(gs_stream_recv(s, &back, sizeof back, sizeof back, STALL_MS), sizeof back);
        assert_code(gs_stream_close(s), 0);
    }
    getrusage(RUSAGE_SELF, &b);
    long switches = b.ru_nvcsw - a.ru_nvcsw;
    assert_code(gs_stream_close(listener), 0);
    for (int i = 0; i < THREADS; i++)
        join(acceptors[i]);
    print_message("# %.1f voluntary context switches for a connection\n", (double)switches / N);
    assert_int_equal(by_blocking, N);
    /* Connector and acceptor wait for each other two or three times; a herd would add 16 each time. */
    assert_true(switches < N * 10);
}

int main(void)
{
    (void)test_seed(); /* threads read it */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_tcp_connection_is_accepted_once),
        cmocka_unit_test(each_unix_connection_is_accepted_once),
        cmocka_unit_test(each_mem_connection_is_accepted_once),
        cmocka_unit_test(one_connection_wakes_about_one_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
