/* The resolver: a caller gets its answer or its timeout, whatever the name server does, and a cancelled request is never
 * answered. runner: tsan
 */
#include <errno.h>
#include <netdb.h>
#include <sched.h>
#include <stdatomic.h>

#include "net_gate.h"

/* ---- blocking ---- */

static void assert_addr(const gs_addr *a, const char *text)
{
    char got[GS_ADDR_TEXT_MAX];
    gs_addr_text(a, got, sizeof got);
    assert_string_equal(got, text);
}

static void a_name_has_its_addresses_with_the_port(void **state)
{
    (void)state;
    gs_addr a[4];
    struct gsi_host h = host_named("two");
    gate_set(true);
    assert_int_equal(gsi_resolve(&h, GSI_NEVER, a, 4), 2);
    assert_addr(&a[0], "192.0.2.1:80");
    assert_addr(&a[1], "192.0.2.2:80");
    assert_int_equal(gsi_resolve(&h, GSI_NEVER, a, 1), 1);
    assert_int_equal(gsi_resolver_threads(), 1);
}

static void an_unknown_name_is_nxdomain_with_a_detail(void **state)
{
    (void)state;
    gs_addr a;
    struct gsi_host h = host_named("nx");
    gate_set(true);
    assert_code(gsi_resolve(&h, gsi_deadline(5000), &a, 1), GS_ENXDOMAIN);
    assert_non_null(strstr(gs_error_detail(GS_ENXDOMAIN), "nx"));
}

static void numeric_addresses_never_touch_the_pool(void **state)
{
    (void)state;
    gs_addr a;
    static const char *const names[][2] = {{"1.2.3.4", "1.2.3.4:80"}, {"::1", "[::1]:80"}, {"", "0.0.0.0:80"},
        {"127.1", "127.0.0.1:80"}, {"0x7f000001", "127.0.0.1:80"}, {"fe80::1%4000000000", "[fe80::1%4000000000]:80"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct gsi_host h = {.name = names[i][0], .port = 80};
        assert_int_equal(gsi_resolve(&h, 0, &a, 1), 1);
        assert_addr(&a, names[i][1]);
    }
    struct gsi_host any6 = {.name = "", .port = 80, .family = AF_INET6};
    assert_int_equal(gsi_resolve(&any6, 0, &a, 1), 1);
    assert_addr(&a, "[::]:80");
    struct gsi_host wrong = {.name = "1.2.3.4", .family = AF_INET6};
    assert_code(gsi_resolve(&wrong, 0, &a, 1), GS_ENXDOMAIN);
    wrong = (struct gsi_host){.name = "::1", .family = AF_INET};
    assert_code(gsi_resolve(&wrong, 0, &a, 1), GS_ENXDOMAIN);
    gs_addrinfo *list;
    assert_int_equal(gs_getaddrinfo("nx", NULL, NULL, 0, &list), GS_ETIMEOUT);
    gs_nameinfo info;
    assert_ok(gs_getnameinfo(&a, NI_NUMERICHOST | NI_NUMERICSERV, 0, &info));
    assert_string_equal(info.host, "::");
    assert_string_equal(info.service, "80");
    assert_int_equal(gsi_resolver_threads(), 0);
    assert_int_equal(gate_value(&gate.entered), 0);
}

static void a_slow_name_server_costs_the_timeout_and_no_more(void **state)
{
    (void)state;
    gs_addr a;
    struct gsi_host h = host_named("slow");
    for (int i = 0; i < 3; i++) {
        uint64_t begin = gsi_now();
        assert_code(gsi_resolve(&h, gsi_deadline(30), &a, 1), GS_ETIMEOUT);
        uint64_t took = (gsi_now() - begin) / GSI_MS;
        assert_in_range(took, 30, 2000);
    }
    assert_non_null(strstr(gs_error_detail(GS_ETIMEOUT), "slow"));
    assert_int_equal(gate_value(&gate.inside), 3);
    gs_addrinfo *list = (gs_addrinfo *)&a;
    assert_code(gs_getaddrinfo("slow", "80", NULL, 30, &list), GS_ETIMEOUT);
    assert_null(list);
    assert_ok(gs_addr_special(&a, AF_INET, GS_ADDR_LOOPBACK, 80));
    gs_nameinfo info;
    assert_code(gs_getnameinfo(&a, 0, 30, &info), GS_ETIMEOUT);
    assert_int_equal(gsi_resolver_threads(), 4);
}

static void zero_tries_once_and_asks_nobody(void **state)
{
    (void)state;
    gs_addr a;
    struct gsi_host h = host_named("slow");
    assert_code(gsi_resolve(&h, 0, &a, 1), GS_ETIMEOUT);
    assert_int_equal(gate_value(&gate.entered), 0);
    assert_int_equal(gsi_resolver_threads(), 0);
}

static void *resolve_in_thread(void *arg)
{
    gs_addr a[4];
    struct gsi_host h = host_named(arg);
    intptr_t n = gsi_resolve(&h, gsi_deadline(10000), a, 4);
    return (void *)n;
}

static void never_more_than_four_threads_and_the_others_wait_their_turn(void **state)
{
    (void)state;
    pthread_t t[12];
    for (int i = 0; i < 12; i++)
        assert_int_equal(pthread_create(&t[i], NULL, resolve_in_thread, (void *)(uintptr_t)"a7"), 0);
    assert_until(gate_value(&gate.inside) == 4, 5000);
    assert_int_equal(gsi_resolver_threads(), 4);
    gate_set(true);
    for (int i = 0; i < 12; i++) {
        void *n;
        pthread_join(t[i], &n);
        assert_int_equal((intptr_t)n, 1);
    }
    assert_int_equal(gate_value(&gate.entered), 12);
    assert_int_equal(gsi_resolver_threads(), 4);
}

static void idle_threads_go_and_later_look_ups_make_new_ones(void **state)
{
    (void)state;
    gs_addr a;
    struct gsi_host h = host_named("a1");
    gsi_pool_idle_ms = 1;
    gate_set(true);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(gsi_resolve(&h, gsi_deadline(5000), &a, 1), 1);
        assert_until(gsi_resolver_threads() == 0, 5000);
    }
    assert_int_equal(gate_value(&gate.entered), 6);
}

/* ---- in the background ---- */

static void done_is_called_once_with_the_addresses(void **state)
{
    (void)state;
    uint64_t request = 0;
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER, .request = &request};
    struct gsi_host h = host_named("a9");
    gate_set(true);
    assert_ok(gsi_resolve_start(&h, on_result, &r, &request));
    assert_until(calls_of(&r) == 1, 5000);
    assert_false(gsi_resolve_cancel(request));
    assert_int_equal(r.n, 1);
    assert_addr(&r.first, "192.0.2.9:80");
    assert_true(r.seen == request && request != 0);
    assert_int_equal(calls_of(&r), 1);
}

static void done_gets_the_error_and_its_detail(void **state)
{
    (void)state;
    uint64_t request;
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct gsi_host h = host_named("nx");
    gate_set(true);
    assert_ok(gsi_resolve_start(&h, on_result, &r, &request));
    assert_until(calls_of(&r) == 1, 5000);
    assert_false(gsi_resolve_cancel(request));
    assert_code(r.n, GS_ENXDOMAIN);
}

static void a_started_numeric_address_is_answered_too(void **state)
{
    (void)state;
    gsi_sys.getaddrinfo = gsi_sys_default.getaddrinfo;
    static const char *const names[][2] = {{"", "0.0.0.0:80"}, {"::1", "[::1]:80"}, {"10.0.0.1", "10.0.0.1:80"}};
    for (int i = 0; i < 3; i++) {
        uint64_t request;
        struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct gsi_host h = {.name = names[i][0], .port = 80};
        assert_ok(gsi_resolve_start(&h, on_result, &r, &request));
        assert_until(calls_of(&r) == 1, 5000);
        gsi_resolve_cancel(request);
        assert_int_equal(r.n, 1);
        assert_addr(&r.first, names[i][1]);
    }
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0); /* before the seam is written again */
}

static void a_cancelled_request_is_never_answered(void **state)
{
    (void)state;
    uint64_t request[6];
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct gsi_host h = host_named("a1");
    for (int i = 0; i < 6; i++)
        assert_ok(gsi_resolve_start(&h, on_result, &r, &request[i]));
    assert_until(gate_value(&gate.inside) == 4, 5000);
    for (int i = 0; i < 6; i++) {
        assert_true(gsi_resolve_cancel(request[i])); /* four look up, two wait: neither blocks this */
        gsi_resolve_cancel(request[i]);
    }
    gate_set(true);
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    assert_int_equal(calls_of(&r), 0);
    assert_int_equal(gate_value(&gate.entered), 4);
    assert_false(gsi_resolve_cancel(0));
    assert_false(gsi_resolve_cancel(UINT64_MAX));
}

/* done is inside when cancel begins: cancel returns when it has returned. */
struct slow_done {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool inside, go, over;
    uint64_t request;
};

static void on_slow(void *arg, int n, const gs_addr *addrs)
{
    struct slow_done *s = arg;
    (void)n;
    (void)addrs;
    pthread_mutex_lock(&s->lock);
    assert_false(gsi_resolve_cancel(s->request)); /* of itself: does not wait for itself */
    s->inside = true;
    pthread_cond_broadcast(&s->moved);
    while (!s->go)
        pthread_cond_wait(&s->moved, &s->lock);
    s->over = true;
    pthread_mutex_unlock(&s->lock);
}

static void *cancel_in_thread(void *arg)
{
    struct slow_done *s = arg;
    pthread_mutex_lock(&s->lock);
    uint64_t request = s->request;
    pthread_mutex_unlock(&s->lock);
    assert_false(gsi_resolve_cancel(request));
    pthread_mutex_lock(&s->lock);
    assert_true(s->over);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void cancel_waits_for_a_done_that_runs(void **state)
{
    (void)state;
    struct slow_done s = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    struct gsi_host h = host_named("a1");
    gate_set(true);
    assert_ok(gsi_resolve_start(&h, on_slow, &s, &s.request));
    pthread_mutex_lock(&s.lock);
    while (!s.inside)
        pthread_cond_wait(&s.moved, &s.lock);
    pthread_mutex_unlock(&s.lock);
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, cancel_in_thread, &s), 0);
    pthread_mutex_lock(&s.lock);
    s.go = true;
    pthread_cond_broadcast(&s.moved);
    pthread_mutex_unlock(&s.lock);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
}

/* Start, and cancel at a random distance: done runs at most once, never after cancel, and never when cancel said so. */
struct racer {
    _Atomic int calls;
    _Atomic bool cancelled;
};

static void on_race(void *arg, int n, const gs_addr *addrs)
{
    struct racer *r = arg;
    (void)n;
    (void)addrs;
    assert_false(atomic_load(&r->cancelled));
    atomic_fetch_add(&r->calls, 1);
}

static _Atomic long prevented, answered;

static void *race(void *arg)
{
    struct rng rng = {(uint64_t)(uintptr_t)arg};
    struct gsi_host h = host_named("a3");
    for (long i = 0; i < test_scale(300, 10000); i++) {
        struct racer r[3] = {0};
        uint64_t request[3];
        for (int k = 0; k < 3; k++)
            assert_ok(gsi_resolve_start(&h, on_race, &r[k], &request[k]));
        for (uint64_t turns = rng_below(&rng, 30); turns > 0; turns--)
            sched_yield();
        for (int k = 0; k < 3; k++) {
            bool never = gsi_resolve_cancel(request[k]);
            atomic_store(&r[k].cancelled, true);
            assert_int_equal(atomic_load(&r[k].calls), !never);
            atomic_fetch_add(never ? &prevented : &answered, 1);
        }
    }
    return NULL;
}

static void cancel_and_answer_race_without_harm(void **state)
{
    (void)state;
    gate_set(true);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, race, (void *)(uintptr_t)(test_seed() + (unsigned)i)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    print_message("# prevented %ld, answered %ld\n", atomic_load(&prevented), atomic_load(&answered));
    assert_true(atomic_load(&prevented) > 0 && atomic_load(&answered) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_has_its_addresses_with_the_port),
        TEST(an_unknown_name_is_nxdomain_with_a_detail),
        TEST(numeric_addresses_never_touch_the_pool),
        TEST(a_slow_name_server_costs_the_timeout_and_no_more),
        TEST(zero_tries_once_and_asks_nobody),
        TEST(never_more_than_four_threads_and_the_others_wait_their_turn),
        TEST(idle_threads_go_and_later_look_ups_make_new_ones),
        TEST(done_is_called_once_with_the_addresses),
        TEST(done_gets_the_error_and_its_detail),
        TEST(a_started_numeric_address_is_answered_too),
        TEST(a_cancelled_request_is_never_answered),
        TEST(cancel_waits_for_a_done_that_runs),
        TEST(cancel_and_answer_race_without_harm),
    };
    return cmocka_run_group_tests_name("net_resolve", tests, NULL, NULL);
}
