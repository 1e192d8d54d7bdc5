/* The resolver's limits and its end: full queues, no threads, stop, exit and fork. runner: tsan
 */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "net_gate.h"

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

static void *resolve_in_thread(void *arg)
{
    gs_addr a[4];
    struct gsi_host h = host_named(arg);
    intptr_t n = gsi_resolve(&h, gsi_deadline(10000), a, 4);
    return (void *)n;
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    return cmocka_run_group_tests_name("net_pool", tests, NULL, NULL);
}
