/* The fault injector hits what it is told to, counts it, and leaves the rest alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fault.h"
#include "support.h"

static void pair(int sv[2])
{
    assert_int_equal(gsi_sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
}

static void close_pair(int sv[2])
{
    gsi_sys.close(sv[0]);
    gsi_sys.close(sv[1]);
}

static void every_call_has_plausible_errors(void **state)
{
    (void)state;
    for (int c = 0; c < FAULT_CALLS; c++) {
        int n;
        fault_errors((enum fault_call)c, &n);
        if (n == 0)
            fail_msg("fault.c: %s needs a row of errors", fault_call_name((enum fault_call)c));
    }
}

static void every_call_goes_through_a_wrapper(void **state)
{
    (void)state;
#define CHECK(result, name, params, args)                                                                             \
    if (gsi_sys.name == gsi_sys_default.name)                                                                         \
        fail_msg("%s is not wrapped", #name);
    GSI_SYSCALLS(CHECK)
#undef CHECK
}

static void counting_counts_and_fails_nothing(void **state)
{
    (void)state;
    int sv[2];
    fault_count();
    pair(sv);
    void *p = gsi_alloc(10);
    assert_non_null(p);
    gsi_free(p);
    close_pair(sv);
    assert_int_equal(fault_seen(), 4);
    assert_int_equal(fault_seen_on(FAULT_close), 2);
    assert_int_equal(fault_stop(), 0);
}

static void the_nth_call_fails_once(void **state)
{
    (void)state;
    int sv[2];
    fault_fail_nth(2, false, 0);
    pair(sv);
    assert_null(gsi_alloc(1));
    void *p = gsi_alloc(1);
    assert_non_null(p);
    gsi_free(p);
    assert_int_equal(fault_stop(), 1);
    assert_int_equal(fault_first(), FAULT_malloc);
    close_pair(sv);
}

static void from_then_on_every_call_fails(void **state)
{
    (void)state;
    int sv[2];
    fault_fail_nth(1, true, 1);
    assert_int_equal(gsi_sys.socketpair(AF_UNIX, SOCK_STREAM, 0, sv), -1);
    assert_int_equal(errno, ENFILE);
    assert_null(gsi_alloc(1));
    assert_null(gsi_realloc(NULL, 1));
    assert_int_equal(gsi_sys.socket(AF_INET, SOCK_STREAM, 0), -1);
    assert_int_equal(fault_stop(), 4);
}

static void an_error_that_passes_by_itself_does_not_last(void **state)
{
    (void)state;
    int answers = 0;
    fault_fail_nth(1, true, 1);
    for (int i = 0; i < 10; i++) {
        struct pollfd none = {.fd = -1};
        answers += gsi_sys.poll(&none, 1, 0) == 0;
    }
    assert_int_equal(fault_stop(), 5);
    assert_int_equal(answers, 5);
}

static void one_kind_fails_with_the_error_that_was_asked_for(void **state)
{
    (void)state;
    int sv[2];
    char byte;
    pair(sv);
    assert_int_equal(gsi_sys.send(sv[0], "abc", 3, 0), 3);
    fault_fail_call(FAULT_recv, 2, 2, ETIMEDOUT);
    assert_int_equal(gsi_sys.recv(sv[1], &byte, 1, 0), 1);
    assert_int_equal(gsi_sys.recv(sv[1], &byte, 1, 0), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(gsi_sys.recv(sv[1], &byte, 1, 0), -1);
    assert_int_equal(gsi_sys.recv(sv[1], &byte, 1, 0), 1);
    assert_int_equal(byte, 'b');
    assert_int_equal(fault_fired_on(FAULT_recv), 2);
    assert_int_equal(fault_stop(), 2);
    close_pair(sv);
}

static void name_look_ups_answer_their_own_codes(void **state)
{
    (void)state;
    struct addrinfo *out = NULL;
    fault_fail_call(FAULT_getaddrinfo, 1, 1, EAI_AGAIN);
    assert_int_equal(gsi_sys.getaddrinfo("127.0.0.1", NULL, NULL, &out), EAI_AGAIN);
    assert_int_equal(fault_stop(), 1);
}

static void a_failing_close_closes(void **state)
{
    (void)state;
    int sv[2];
    pair(sv);
    fault_fail_call(FAULT_close, 1, 1, EIO);
    assert_int_equal(gsi_sys.close(sv[0]), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(fault_stop(), 1);
    assert_int_equal(fcntl(sv[0], F_GETFD), -1);
    gsi_sys.close(sv[1]);
}

static void short_moves_fewer_bytes_and_loses_none(void **state)
{
    (void)state;
    int sv[2];
    char in[1000], out[1000];
    size_t sent = 0, got = 0;
    pair(sv);
    pattern_fill(out, sizeof out, 7, 0);
    fault_start_profile(FAULT_SHORT, 1, 256);
    while (got < sizeof in) {
        struct iovec v[2] = {{out + sent, (sizeof out - sent) / 2}, {out + sent + (sizeof out - sent) / 2, 0}};
        v[1].iov_len = sizeof out - sent - v[0].iov_len;
        struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
        ssize_t n = sent < sizeof out ? gsi_sys.sendmsg(sv[0], &m, 0) : 0;
        sent += n > 0 ? (size_t)n : 0;
        n = gsi_sys.recv(sv[1], in + got, sizeof in - got, 0);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_true(fault_fired_on(FAULT_sendmsg) > 0);
    assert_true(fault_fired_on(FAULT_recv) > 0);
    fault_stop();
    assert_int_equal(pattern_check(in, sizeof in, 7, 0), sizeof in);
    close_pair(sv);
}

static void short_leaves_datagrams_whole(void **state)
{
    (void)state;
    int sv[2];
    char in[100];
    assert_int_equal(gsi_sys.socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
    fault_start_profile(FAULT_SHORT, 1, 256);
    assert_int_equal(gsi_sys.send(sv[0], "0123456789", 10, 0), 10);
    assert_int_equal(gsi_sys.recv(sv[1], in, sizeof in, 0), 10);
    assert_int_equal(fault_stop(), 0);
    close_pair(sv);
}

static void storms_interrupt_at_most_three_times_in_a_row(void **state)
{
    (void)state;
    int sv[2];
    pair(sv);
    assert_int_equal(gsi_sys.send(sv[0], "x", 1, 0), 1);
    const enum fault_profile storms[] = {FAULT_EINTR, FAULT_EAGAIN};
    for (size_t i = 0; i < 2; i++) {
        char byte;
        fault_start_profile(storms[i], 3, 256);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(gsi_sys.recv(sv[1], &byte, 1, MSG_PEEK), -1);
            assert_int_equal(errno, storms[i] == FAULT_EINTR ? EINTR : EAGAIN);
        }
        assert_int_equal(gsi_sys.recv(sv[1], &byte, 1, MSG_PEEK), 1);
        assert_int_equal(fault_stop(), 3);
    }
    close_pair(sv);
}

static void a_blocking_call_is_never_told_eagain(void **state)
{
    (void)state;
    int sv[2];
    char byte;
    assert_int_equal(gsi_sys.socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    fault_start_profile(FAULT_EAGAIN, 3, 256);
    assert_int_equal(gsi_sys.send(sv[0], "x", 1, 0), 1);
    assert_int_equal(gsi_sys.recv(sv[1], &byte, 1, 0), 1);
    assert_int_equal(fault_stop(), 0);
    close_pair(sv);
}

static void no_descriptors_no_memory_and_a_gone_peer_have_their_errors(void **state)
{
    (void)state;
    int sv[2];
    char byte;
    pair(sv);
    fault_start_profile(FAULT_NOFD, 1, 256);
    assert_int_equal(gsi_sys.socket(AF_INET, SOCK_STREAM, 0), -1);
    assert_int_equal(errno, EMFILE);
    assert_int_equal(gsi_sys.send(sv[0], "x", 1, 0), 1);
    assert_int_equal(fault_stop(), 1);
    fault_start_profile(FAULT_NOMEM, 1, 256);
    assert_null(gsi_zalloc(1));
    assert_int_equal(gsi_sys.socket(AF_INET, SOCK_STREAM, 0), -1);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(fault_stop(), 2);
    fault_start_profile(FAULT_GONE, 1, 256);
    assert_int_equal(gsi_sys.recv(sv[1], &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(gsi_sys.send(sv[1], "x", 1, 0), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(fault_stop(), 2);
    close_pair(sv);
}

static void event_descriptors_are_left_alone(void **state)
{
    (void)state;
    uint64_t one = 1;
    int fd = gsi_sys.eventfd(0, EFD_NONBLOCK);
    fault_fail_nth(1, true, 0);
    assert_int_equal(gsi_sys.write(fd, &one, sizeof one), sizeof one);
    assert_int_equal(gsi_sys.read(fd, &one, sizeof one), sizeof one);
    assert_int_equal(fault_stop(), 0);
    gsi_sys.close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_has_plausible_errors),
        cmocka_unit_test(every_call_goes_through_a_wrapper),
        cmocka_unit_test(counting_counts_and_fails_nothing),
        cmocka_unit_test(the_nth_call_fails_once),
        cmocka_unit_test(from_then_on_every_call_fails),
        cmocka_unit_test(an_error_that_passes_by_itself_does_not_last),
        cmocka_unit_test(one_kind_fails_with_the_error_that_was_asked_for),
        cmocka_unit_test(name_look_ups_answer_their_own_codes),
        cmocka_unit_test(a_failing_close_closes),
        cmocka_unit_test(short_moves_fewer_bytes_and_loses_none),
        cmocka_unit_test(short_leaves_datagrams_whole),
        cmocka_unit_test(storms_interrupt_at_most_three_times_in_a_row),
        cmocka_unit_test(a_blocking_call_is_never_told_eagain),
        cmocka_unit_test(no_descriptors_no_memory_and_a_gone_peer_have_their_errors),
        cmocka_unit_test(event_descriptors_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
