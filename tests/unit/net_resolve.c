/* The resolver: a caller gets its answer or its timeout, whatever the name server does; nothing is left behind.
 * The name server is a gate: getaddrinfo enters, and leaves when the test opens it. runner: tsan
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/seam.h"
#include "census.h"
#include "fault.h"
#include "net/pool.h"
#include "net/resolve.h"
#include "support.h"

/* ---- the name server ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int inside, entered;
    bool open;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

/* "a<N>" has the address 192.0.2.N; "nx" does not exist; anything else has two addresses. */
static int answer(const char *host, const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo numeric = *hints, *second;
    numeric.ai_flags |= AI_NUMERICHOST;
    char ip[32] = "192.0.2.1";
    if (host && !strcmp(host, "nx"))
        return EAI_NONAME;
    if (host && host[0] == 'a')
        snprintf(ip, sizeof ip, "192.0.2.%d", atoi(host + 1));
    int e = gsi_sys_default.getaddrinfo(ip, NULL, &numeric, out);
    if (e == 0 && host && host[0] == 't') {
        e = gsi_sys_default.getaddrinfo("192.0.2.2", NULL, &numeric, &second);
        (*out)->ai_next = second;
    }
    return e;
}

static void pass_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.inside++;
    gate.entered++;
    pthread_cond_broadcast(&gate.moved);
    while (!gate.open)
        pthread_cond_wait(&gate.moved, &gate.lock);
    gate.inside--;
    pthread_cond_broadcast(&gate.moved);
    pthread_mutex_unlock(&gate.lock);
}

static int slow_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)service;
    pass_gate();
    return answer(host, hints, out);
}

static int slow_getnameinfo(const struct sockaddr *a, socklen_t n, char *host, socklen_t host_cap, char *service,
                            socklen_t service_cap, int flags)
{
    if (!(flags & NI_NUMERICHOST))
        pass_gate();
    return gsi_sys_default.getnameinfo(a, n, host, host_cap, service, service_cap, NI_NUMERICHOST | NI_NUMERICSERV);
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = open;
    pthread_cond_broadcast(&gate.moved);
    pthread_mutex_unlock(&gate.lock);
}

static int gate_value(const int *value)
{
    pthread_mutex_lock(&gate.lock);
    int n = *value;
    pthread_mutex_unlock(&gate.lock);
    return n;
}

/* Each test starts without threads, with the gate closed, and ends as it started. */
static struct census before;

static int setup(void **state)
{
    (void)state;
    gate.open = false;
    gate.inside = gate.entered = 0;
    gsi_sys.getaddrinfo = slow_getaddrinfo;
    gsi_sys.getnameinfo = slow_getnameinfo;
    gsi_pool_idle_ms = 10000;
    census_take(&before);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gate_set(true);
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    assert_int_equal(gsi_resolver_threads(), 0);
    census_assert(&before);
    return 0;
}

static struct gsi_host host_named(const char *name) { return (struct gsi_host){.name = name, .port = 80, .family = AF_INET}; }

static void assert_addr(const gs_addr *a, const char *text)
{
    char got[GS_ADDR_TEXT_MAX];
    gs_addr_text(a, got, sizeof got);
    assert_string_equal(got, text);
}

/* ---- blocking ---- */

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

struct result {
    pthread_mutex_t lock;
    int calls, n;
    gs_addr first;
    uint64_t *request, seen; /* what *request was when done ran */
};

static void on_result(void *arg, int n, const gs_addr *addrs)
{
    struct result *r = arg;
    pthread_mutex_lock(&r->lock);
    r->calls++;
    r->n = n;
    r->seen = r->request ? *r->request : 0;
    if (n > 0)
        r->first = addrs[0];
    else if (n != -EDEADLK)
        assert_true(gs_error_detail(n)[0] != '\0');
    pthread_mutex_unlock(&r->lock);
}

static int calls_of(struct result *r)
{
    pthread_mutex_lock(&r->lock);
    int n = r->calls;
    pthread_mutex_unlock(&r->lock);
    return n;
}

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

/* ---- limits ---- */

static void a_full_queue_is_system_limit(void **state)
{
    (void)state;
    uint64_t request[GSI_POOL_QUEUE + GSI_POOL_THREADS];
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct gsi_host h = host_named("a1");
    for (int i = 0; i < GSI_POOL_THREADS; i++)
        assert_ok(gsi_resolve_start(&h, on_result, &r, &request[i]));
    assert_until(gate_value(&gate.inside) == GSI_POOL_THREADS, 5000);
    for (int i = GSI_POOL_THREADS; i < GSI_POOL_QUEUE + GSI_POOL_THREADS; i++)
        assert_ok(gsi_resolve_start(&h, on_result, &r, &request[i]));
    gs_addr a;
    uint64_t one_more;
    assert_code(gsi_resolve_start(&h, on_result, &r, &one_more), GS_ESYSLIMIT);
    assert_code(gsi_resolve(&h, gsi_deadline(5000), &a, 1), GS_ESYSLIMIT);
    assert_non_null(strstr(gs_error_detail(GS_ESYSLIMIT), "256"));
    assert_true(gsi_resolve_cancel(request[GSI_POOL_THREADS + 7])); /* from the middle: there is room again */
    assert_ok(gsi_resolve_start(&h, on_result, &r, &request[GSI_POOL_THREADS + 7]));
    gate_set(true);
    assert_until(calls_of(&r) == GSI_POOL_QUEUE + GSI_POOL_THREADS, 10000);
}

static void a_timed_out_caller_leaves_the_queue(void **state)
{
    (void)state;
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint64_t request;
    struct gsi_host h = host_named("a1");
    for (int i = 0; i < GSI_POOL_THREADS; i++)
        assert_ok(gsi_resolve_start(&h, on_result, &r, &request));
    assert_until(gate_value(&gate.inside) == GSI_POOL_THREADS, 5000);
    gs_addr a;
    for (int i = 0; i < 20; i++)
        assert_code(gsi_resolve(&h, gsi_deadline(1), &a, 1), GS_ETIMEOUT);
    gate_set(true);
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    assert_int_equal(gate_value(&gate.entered), GSI_POOL_THREADS);
}

static void without_threads_it_is_system_limit(void **state)
{
    (void)state;
    gs_addr a;
    uint64_t request;
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct gsi_host h = host_named("a1");
    gate_set(true);
    fault_fail_call(FAULT_thread_create, 1, 2, EAGAIN);
    assert_code(gsi_resolve(&h, gsi_deadline(5000), &a, 1), GS_ESYSLIMIT);
    assert_code(gsi_resolve_start(&h, on_result, &r, &request), GS_ESYSLIMIT);
    assert_int_equal(fault_stop(), 2);
    assert_int_equal(gsi_resolve(&h, gsi_deadline(5000), &a, 1), 1);
    assert_int_equal(calls_of(&r), 0);
}

static void without_a_second_thread_the_first_does_all(void **state)
{
    (void)state;
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint64_t request;
    struct gsi_host h = host_named("a1");
    fault_fail_call(FAULT_thread_create, 2, 100, EAGAIN);
    for (int i = 0; i < 10; i++)
        assert_ok(gsi_resolve_start(&h, on_result, &r, &request));
    assert_int_equal(gsi_resolver_threads(), 1);
    gate_set(true);
    assert_until(calls_of(&r) == 10, 5000);
    assert_int_equal(fault_stop(), 9);
}

/* ---- the end ---- */

static void stop_aborts_what_waits_and_leaves_who_is_stuck(void **state)
{
    (void)state;
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint64_t request;
    struct gsi_host h = host_named("a1");
    for (int i = 0; i < GSI_POOL_THREADS; i++)
        assert_ok(gsi_resolve_start(&h, on_result, &r, &request));
    assert_until(gate_value(&gate.inside) == GSI_POOL_THREADS, 5000);
    assert_ok(gsi_resolve_start(&h, on_result, &r, &request));
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, resolve_in_thread, (void *)(uintptr_t)"a1"), 0);
    /* The thread may come before or after the first stop: stop until it has been told. */
    void *n = NULL;
    int stops = 0;
    do {
        assert_int_equal(gsi_resolver_stop(0), GSI_POOL_THREADS);
        stops++;
        pause_1ms();
    } while (pthread_tryjoin_np(t, &n) != 0 && stops < 5000);
    assert_code((intptr_t)n, GS_EABORTED);
    gate_set(true);
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    assert_int_equal(calls_of(&r), 5);
    assert_code(r.n < 0 ? r.n : GS_EABORTED, GS_EABORTED);
    gs_addr a;
    assert_int_equal(gsi_resolve(&h, gsi_deadline(5000), &a, 1), 1); /* it serves on */
}

static void on_stop(void *arg, int n, const gs_addr *addrs)
{
    (void)n;
    (void)addrs;
    on_result(arg, gsi_resolver_stop(0), addrs);
}

static void stop_on_a_resolver_thread_is_refused(void **state)
{
    (void)state;
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint64_t request;
    struct gsi_host h = host_named("a1");
    gate_set(true);
    assert_ok(gsi_resolve_start(&h, on_stop, &r, &request));
    assert_until(calls_of(&r) == 1, 5000);
    assert_code(r.n, -EDEADLK);
}

/* The exit code of a child process that has not hung. */
static int ended(pid_t pid)
{
    int status = -1;
    assert_until(waitpid(pid, &status, WNOHANG) == pid, 10000);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void exit_does_not_wait_for_a_name_server(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        gs_addr a;
        struct gsi_host h = host_named("slow");
        exit(gsi_resolve(&h, gsi_deadline(20), &a, 1) == GS_ETIMEOUT ? 7 : 1);
    }
    assert_int_equal(ended(pid), 7);
}

static void a_forked_child_has_no_threads_to_wait_for(void **state)
{
    (void)state;
    gs_addr a;
    struct gsi_host h = host_named("a1");
    gate_set(true);
    assert_int_equal(gsi_resolve(&h, gsi_deadline(5000), &a, 1), 1);
    assert_int_equal(gsi_resolver_threads(), 1);
    pid_t pid = fork();
    if (pid == 0)
        exit(7);
    assert_int_equal(ended(pid), 7);
}

static void stop_without_threads_is_nothing(void **state)
{
    (void)state;
    assert_int_equal(gsi_resolver_stop(0), 0);
    assert_int_equal(gsi_resolver_stop(GSI_NEVER), 0);
}

static void bad_names_and_families_are_told_before_anything_is_asked(void **state)
{
    (void)state;
    gs_addr a;
    struct gsi_host h = host_named("a b");
    assert_code(gsi_resolve(&h, GSI_NEVER, &a, 1), GS_EFORMAT);
    h = (struct gsi_host){.name = "a1", .family = AF_UNIX};
    assert_code(gsi_resolve(&h, GSI_NEVER, &a, 1), -EAFNOSUPPORT);
    h = host_named("a1");
    assert_code(gsi_resolve(&h, GSI_NEVER, &a, 0), GS_EBADARG);
    assert_int_equal(gsi_resolver_threads(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
        TEST(a_full_queue_is_system_limit),
        TEST(a_timed_out_caller_leaves_the_queue),
        TEST(without_threads_it_is_system_limit),
        TEST(without_a_second_thread_the_first_does_all),
        TEST(stop_aborts_what_waits_and_leaves_who_is_stuck),
        TEST(stop_on_a_resolver_thread_is_refused),
        TEST(exit_does_not_wait_for_a_name_server),
        TEST(a_forked_child_has_no_threads_to_wait_for),
        TEST(stop_without_threads_is_nothing),
        TEST(bad_names_and_families_are_told_before_anything_is_asked),
    };
    return cmocka_run_group_tests_name("net_resolve", tests, NULL, NULL);
}
