/* Timers of a mailbox, on the virtual clock: never early, in order, cancelled exactly. runner: tsan */
#include <pthread.h>
#include <stdlib.h>

#include "census.h"
#include "gensock/mailbox.h"
#include "support.h"
#include "vclock.h"

static int set_up(void **state)
{
    gs_mailbox *mb = malloc(sizeof *mb);
    if (!mb || gs_mailbox_new(mb) < 0)
        return -1;
    *state = mb;
    return 0;
}

static int tear_down(void **state)
{
    vclock_stop();
    gs_mailbox_free(*(gs_mailbox *)*state);
    free(*state);
    return 0;
}

static void expect_timer(gs_mailbox mb, uint64_t ref, uint64_t at_ms)
{
    gs_msg m;
    assert_ok(gs_receive(mb, &m, GS_INFINITY));
    assert_int_equal(m.kind, GS_MSG_TIMER);
    assert_true(m.ref == ref);
    assert_int_equal(vclock_ms(), at_ms);
}

static void P3_timers_come_exactly_on_time(void **state)
{
    static const int after[] = {0, 1, 10, 100, 1000, 86400000};
    gs_mailbox mb = *(gs_mailbox *)*state;
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        uint64_t ref;
        vclock_start(VCLOCK_AUTO);
        assert_ok(gs_timer_start(mb, after[i], NULL, &ref));
        expect_timer(mb, ref, (uint64_t)after[i]);
        vclock_stop();
    }
}

static void P3_a_receive_times_out_exactly_on_time(void **state)
{
    static const int after[] = {0, 1, 10, 100, 1000, 86400000};
    gs_mailbox mb = *(gs_mailbox *)*state;
    gs_msg m;
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        vclock_start(VCLOCK_AUTO);
        assert_code(gs_receive(mb, &m, after[i]), GS_ETIMEOUT);
        assert_int_equal(vclock_ms(), after[i]);
        vclock_stop();
    }
}

static void a_receive_that_ends_before_the_timer_leaves_it(void **state)
{
    gs_mailbox mb = *(gs_mailbox *)*state;
    uint64_t ref;
    gs_msg m;
    vclock_start(VCLOCK_AUTO);
    assert_ok(gs_timer_start(mb, 100, NULL, &ref));
    assert_code(gs_receive(mb, &m, 99), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 99);
    expect_timer(mb, ref, 100);
}

static void equal_times_keep_the_order_of_starting(void **state)
{
    gs_mailbox mb = *(gs_mailbox *)*state;
    uint64_t ref[20];
    vclock_start(VCLOCK_AUTO);
    for (int i = 0; i < 20; i++)
        assert_ok(gs_timer_start(mb, 7, NULL, &ref[i]));
    for (int i = 0; i < 20; i++)
        expect_timer(mb, ref[i], 7);
}

static void cancel_tells_what_was_left(void **state)
{
    gs_mailbox mb = *(gs_mailbox *)*state;
    uint64_t ref;
    gs_msg m;
    vclock_start(VCLOCK_AUTO);
    assert_ok(gs_timer_start(mb, 1000, NULL, &ref));
    assert_code(gs_receive(mb, &m, 400), GS_ETIMEOUT);
    assert_int_equal(gs_timer_cancel(mb, ref), 600);
    assert_code(gs_timer_cancel(mb, ref), GS_EINVALID);
    assert_code(gs_receive(mb, &m, 5000), GS_ETIMEOUT);
    assert_code(gs_timer_cancel(mb, gs_make_ref()), GS_EINVALID);
}

static void a_timer_that_came_cannot_be_cancelled(void **state)
{
    gs_mailbox mb = *(gs_mailbox *)*state;
    uint64_t ref;
    vclock_start(VCLOCK_AUTO);
    assert_ok(gs_timer_start(mb, 5, NULL, &ref));
    expect_timer(mb, ref, 5);
    assert_code(gs_timer_cancel(mb, ref), GS_EINVALID);
}

/* Hundreds at random, a third cancelled, against a sorted list. */
enum { MANY = 700 };
struct planned {
    uint64_t ref;
    int at, n;
};

static int by_time(const void *a, const void *b)
{
    const struct planned *x = a, *y = b;
    return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : x->n - y->n;
}

static void many_timers_agree_with_a_sorted_list(void **state)
{
    gs_mailbox mb = *(gs_mailbox *)*state;
    struct rng r = {test_seed()};
    static struct planned p[MANY];
    vclock_start(VCLOCK_AUTO);
    for (int i = 0; i < MANY; i++) {
        p[i] = (struct planned){.at = (int)rng_below(&r, 500), .n = i};
        assert_ok(gs_timer_start(mb, p[i].at, NULL, &p[i].ref));
    }
    size_t left = 0;
    for (int i = 0; i < MANY; i++) {
        if (rng_below(&r, 3) == 0)
            assert_int_equal(gs_timer_cancel(mb, p[i].ref), p[i].at);
        else
            p[left++] = p[i];
    }
    qsort(p, left, sizeof *p, by_time);
    for (size_t i = 0; i < left; i++)
        expect_timer(mb, p[i].ref, (uint64_t)p[i].at);
    gs_msg m;
    assert_code(gs_receive(mb, &m, 1000), GS_ETIMEOUT);
}

static void a_selective_receive_leaves_other_timers(void **state)
{
    gs_mailbox mb = *(gs_mailbox *)*state;
    uint64_t early, late;
    gs_msg m;
    vclock_start(VCLOCK_AUTO);
    assert_ok(gs_timer_start(mb, 10, NULL, &early));
    assert_ok(gs_timer_start(mb, 50, NULL, &late));
    assert_ok(gs_receive_ref(mb, late, &m, GS_INFINITY));
    assert_true(m.ref == late);
    assert_int_equal(vclock_ms(), 50);
    expect_timer(mb, early, 50);
}

static void a_mailbox_takes_its_timers_along(void **state)
{
    (void)state;
    struct census before;
    gs_mailbox mb;
    uint64_t ref;
    census_take(&before);
    assert_ok(gs_mailbox_new(&mb));
    for (int i = 0; i < 100; i++)
        assert_ok(gs_timer_start(mb, 1000 + i, NULL, &ref));
    assert_ok(gs_mailbox_free(mb));
    assert_code(gs_timer_start(mb, 1, NULL, &ref), GS_ECLOSED);
    assert_code(gs_timer_cancel(mb, ref), GS_ECLOSED);
    census_assert(&before);
}

static void careless_timers_are_badarg(void **state)
{
    gs_mailbox mb = *(gs_mailbox *)*state;
    uint64_t ref;
    assert_code(gs_timer_start(mb, -1, NULL, &ref), GS_EBADARG);
    assert_code(gs_timer_start(mb, 1, NULL, NULL), GS_EBADARG);
    assert_code(gs_timer_start(GS_NO_MAILBOX, 1, NULL, &ref), GS_EBADARG);
}

/* The receiver sleeps for longer; a timer started by another thread ends that. Real time. */
static void *start_soon(void *arg)
{
    uint64_t ref;
    return (void *)(intptr_t)gs_timer_start(*(gs_mailbox *)arg, 5, arg, &ref);
}

static void a_timer_of_another_thread_wakes_the_receiver(void **state)
{
    gs_mailbox *mb = *state;
    pthread_t t;
    gs_msg m;
    assert_int_equal(pthread_create(&t, NULL, start_soon, mb), 0);
    int e = gs_receive(*mb, &m, 10000);
    pthread_join(t, NULL);
    assert_ok(e);
    assert_int_equal(m.kind, GS_MSG_TIMER);
    assert_ptr_equal(m.user, mb);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(P3_timers_come_exactly_on_time),
        TEST(P3_a_receive_times_out_exactly_on_time),
        TEST(a_receive_that_ends_before_the_timer_leaves_it),
        TEST(equal_times_keep_the_order_of_starting),
        TEST(cancel_tells_what_was_left),
        TEST(a_timer_that_came_cannot_be_cancelled),
        TEST(many_timers_agree_with_a_sorted_list),
        TEST(a_selective_receive_leaves_other_timers),
        TEST(a_mailbox_takes_its_timers_along),
        TEST(careless_timers_are_badarg),
        TEST(a_timer_of_another_thread_wakes_the_receiver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
