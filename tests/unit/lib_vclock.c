/* The virtual clock: exact, free of cost, and real again when stopped.
 * runner: tsan */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/seam.h"
#include "support.h"
#include "vclock.h"

static void a_wait_costs_virtual_time_only(void **state)
{
    (void)state;
    uint64_t began = real_ms();
    vclock_start(VCLOCK_AUTO);
    uint64_t deadline = gsi_deadline(3600000);
    struct pollfd none = {.fd = -1};
    assert_int_equal(gsi_sys.poll(&none, 1, gsi_remaining_ms(deadline)), 0);
    assert_int_equal(vclock_ms(), 3600000);
    assert_int_equal(gsi_remaining_ms(deadline), 0);
    vclock_stop();
    assert_true(real_ms() - began < 60000);
}

static void what_is_ready_is_found_without_time_passing(void **state)
{
    (void)state;
    vclock_start(VCLOCK_AUTO);
    int fd = gsi_sys.eventfd(1, EFD_NONBLOCK);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(gsi_sys.poll(&p, 1, 1000), 1);
    assert_int_equal(vclock_ms(), 0);
    gsi_sys.close(fd);
    vclock_stop();
}

static void a_timerfd_ends_a_wait_at_its_time(void **state)
{
    (void)state;
    uint64_t count = 0;
    vclock_start(VCLOCK_AUTO);
    int fd = gsi_sys.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), ep = gsi_sys.epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    assert_int_equal(gsi_sys.epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
    struct itimerspec in_40ms = {.it_value.tv_nsec = 40000000};
    assert_int_equal(gsi_sys.timerfd_settime(fd, 0, &in_40ms, NULL), 0);
    assert_int_equal(gsi_sys.epoll_wait(ep, &e, 1, 30), 0);
    assert_int_equal(vclock_ms(), 30);
    assert_int_equal(gsi_sys.epoll_wait(ep, &e, 1, -1), 1);
    assert_int_equal(vclock_ms(), 40);
    assert_int_equal(gsi_sys.read(fd, &count, sizeof count), sizeof count);
    assert_int_equal(count, 1);
    assert_int_equal(gsi_sys.epoll_wait(ep, &e, 1, 100), 0);
    assert_int_equal(vclock_ms(), 140);
    gsi_sys.close(fd);
    gsi_sys.close(ep);
    vclock_stop();
}

static void *poll_a_second(void *answer)
{
    struct pollfd none = {.fd = -1};
    *(int *)answer = gsi_sys.poll(&none, 1, 1000);
    return NULL;
}

static void manual_waits_until_the_test_moves_the_clock(void **state)
{
    (void)state;
    int answer = -7;
    pthread_t t;
    vclock_start(VCLOCK_MANUAL);
    assert_int_equal(gsi_sys.thread_create(&t, poll_a_second, &answer), 0);
    assert_until(vclock_sleepers() == 1, 5000);
    vclock_advance(999);
    assert_false(wait_until(vclock_sleepers() == 0, 20));
    vclock_advance(1);
    assert_until(vclock_sleepers() == 0, 5000);
    pthread_join(t, NULL);
    assert_int_equal(answer, 0);
    vclock_stop();
}

static void stopped_it_is_the_real_clock(void **state)
{
    (void)state;
    uint64_t a = gsi_sys_default.now_ns(), b = gsi_now(), c = gsi_sys_default.now_ns();
    assert_true(a <= b && b <= c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_costs_virtual_time_only),
        cmocka_unit_test(what_is_ready_is_found_without_time_passing),
        cmocka_unit_test(a_timerfd_ends_a_wait_at_its_time),
        cmocka_unit_test(manual_waits_until_the_test_moves_the_clock),
        cmocka_unit_test(stopped_it_is_the_real_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
