/* Accepting when the kernel refuses: EMFILE and its kin neither spin nor lose a connection, nor end the listener. */
#include <errno.h>

#include "fault.h"
#include "stream_pair.h"

static struct tcp_pair p;

static int set_up(void **state)
{
    (void)state;
    p = (struct tcp_pair){0};
    return gs_mailbox_new(&p.mb);
}

static int tear_down(void **state)
{
    (void)state;
    fault_stop();
    tcp_pair_close(&p);
    return 0;
}

static void connect_a(void) { assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, PAIR_WAIT_MS)); }

static void exchange(void)
{
    char got[4];
    assert_ok(gs_stream_send(p.a, "x", 1));
    assert_code(gs_stream_recv(p.b, got, sizeof got, 0, PAIR_WAIT_MS), 1);
}

static void P8_a_blocking_accept_tells_transient_errors_and_goes_on(void **state)
{
    (void)state;
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED};
    tcp_listen(&p, NULL, GS_NO_MAILBOX);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        connect_a();
        fault_fail_call(FAULT_accept4, 1, 1, errors[i]);
        int e = gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL);
        assert_int_equal(fault_stop(), 1);
        assert_code(e, -errors[i]);
        assert_true(gs_error_is_transient(e));
        if (errors[i] == ECONNABORTED) { /* that one is gone */
            gs_stream_close(p.a);
            connect_a();
        }
        assert_ok(gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
        exchange();
        gs_stream_close(p.a);
        gs_stream_close(p.b);
    }
}

static void P8_a_nowait_accept_tells_the_error(void **state)
{
    (void)state;
    gs_msg m;
    gs_stream none;
    uint64_t ref;
    tcp_listen(&p, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), p.mb);
    assert_code(gs_stream_accept(p.listener, &none, p.mb, GS_NOWAIT, &ref), GS_ESELECT);
    connect_a();
    fault_fail_call(FAULT_accept4, 1, 1, EMFILE);
    int e = gs_receive(p.mb, &m, PAIR_WAIT_MS);
    assert_int_equal(fault_stop(), 1);
    assert_ok(e);
    assert_int_equal(m.kind, GS_MSG_ACCEPT);
    assert_true(m.ref == ref);
    assert_code(m.error, -EMFILE);
    assert_int_equal(m.fresh.id, 0);
    assert_code(gs_stream_accept(p.listener, &none, p.mb, GS_NOWAIT, &ref), GS_ESELECT);
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_code(m.error, 0);
    p.b = m.fresh;
    exchange();
}

static void P8_accept_messages_of_a_full_process_do_not_spin(void **state)
{
    (void)state;
    gs_msg m;
    tcp_listen(&p, GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(ACTIVE, GS_ACTIVE_FALSE)), p.mb);
    connect_a();
    fault_fail_call(FAULT_accept4, 1, 1000000, EMFILE);
    int told = 0, e = 0;
    uint64_t end = real_ms() + 450;
    while (real_ms() < end && (e = gs_receive(p.mb, &m, (int)(end - real_ms()))) == 0) {
        if (m.kind != GS_MSG_ACCEPT || m.error != -EMFILE)
            break;
        told++;
    }
    long tries = fault_seen_on(FAULT_accept4);
    fault_stop();
    assert_code(e, GS_ETIMEOUT);
    assert_in_range(told, 2, 8);
    assert_in_range(tries, told, 10);
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_ACCEPT);
    assert_code(m.error, 0);
    p.b = m.fresh;
    exchange();
}

/* A connection that cannot become a stream for lack of memory is reset, not forgotten. */
static void P8_accept_without_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    tcp_listen(&p, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), GS_NO_MAILBOX);
    for (long n = 1; n < 20; n++) {
        connect_a();
        fault_fail_call(FAULT_malloc, n, 1, ENOMEM);
        int e = gs_stream_accept(p.listener, &p.b, p.mb, PAIR_WAIT_MS, NULL);
        long fired = fault_stop();
        if (e == 0)
            exchange();
        else
            assert_true(e == -ENOMEM || e == GS_ESYSLIMIT);
        gs_stream_close(p.a);
        gs_stream_close(p.b);
        if (!fired)
            return; /* every allocation has failed once */
    }
    fail_msg("accept allocates 20 times");
}

static void a_mailbox_reset_by_its_end_leaves_the_queue_to_others(void **state)
{
    (void)state;
    gs_mailbox brief;
    gs_stream none;
    uint64_t ref;
    assert_ok(gs_mailbox_new(&brief));
    tcp_listen(&p, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_accept(p.listener, &none, brief, GS_NOWAIT, &ref), GS_ESELECT);
    connect_a();
    assert_ok(gs_mailbox_free(brief)); /* before it could take the connection */
    assert_ok(gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
    exchange();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(P8_a_blocking_accept_tells_transient_errors_and_goes_on),
        TEST(P8_a_nowait_accept_tells_the_error),
        TEST(P8_accept_messages_of_a_full_process_do_not_spin),
        TEST(P8_accept_without_memory_is_an_error_and_no_leak),
        TEST(a_mailbox_reset_by_its_end_leaves_the_queue_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
