/* The kernel has no memory for a watch (epoll_ctl fails): where no call can tell, the owner looks again by itself, and nothing is
 * late for ever. */
#include <errno.h>
#include <string.h>

#include "fault.h"
#include "stream_pair.h"

enum { FAILURES = 4 };

static struct tcp_pair p;
static gs_mailbox other;

static int set_up(void **state)
{
    (void)state;
    p = (struct tcp_pair){0};
    assert_ok(gs_mailbox_new(&other));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fault_stop();
    tcp_pair_close(&p);
    gs_mailbox_free(other);
    return 0;
}

static void expect_data(gs_mailbox mb, const char *text)
{
    gs_msg m;
    assert_ok(gs_receive(mb, &m, PAIR_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_DATA);
    assert_int_equal(m.packet.data.n, strlen(text));
    assert_memory_equal(m.packet.data.p, text, strlen(text));
}

static void owned_by(gs_stream s, gs_mailbox mb)
{
    gs_stream_info_t info;
    assert_ok(gs_stream_info(s, &info));
    assert_true(info.owner.id == mb.id);
}

/* The owner looks again until so many watches have failed, and finds nothing. */
static void retries_until(gs_mailbox mb, long failures)
{
    gs_msg m;
    bool told = false;
    bool all = wait_until((told |= gs_receive(mb, &m, 10) != GS_ETIMEOUT) || fault_fired() >= failures, PAIR_WAIT_MS);
    assert_int_equal(fault_stop(), failures);
    assert_true(all);
    assert_false(told);
}

static void a_transfer_succeeds_though_the_new_owner_cannot_watch_yet(void **state)
{
    (void)state;
    for (int failures = 1; failures <= FAILURES; failures++) {
        tcp_pair_open(&p, NULL, NULL, true);
        fault_fail_call(FAULT_epoll_ctl, 1, failures, ENOMEM);
        int e = gs_stream_controlling_process(p.b, p.mb, other);
        assert_ok(gs_stream_send(p.a, "x", 1));
        owned_by(p.b, other);
        expect_data(other, "x");
        assert_true(fault_stop() > 0);
        assert_code(e, 0);
        tcp_pair_close(&p);
    }
}

static void a_listener_s_transfer_as_well(void **state)
{
    (void)state;
    gs_msg m;
    for (int failures = 1; failures <= FAILURES; failures++) {
        assert_ok(gs_mailbox_new(&p.mb));
        tcp_listen(&p, GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE)), p.mb);
        fault_fail_call(FAULT_epoll_ctl, 1, failures, ENOMEM);
        int e = gs_stream_controlling_process(p.listener, p.mb, other);
        assert_code(e, 0);
        retries_until(other, failures);
        assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, PAIR_WAIT_MS));
        assert_ok(gs_receive(other, &m, PAIR_WAIT_MS));
        assert_int_equal(m.kind, GS_MSG_ACCEPT);
        p.b = m.fresh;
        tcp_pair_close(&p);
    }
}

static void setopts_of_a_listener_succeeds_though_it_cannot_be_watched_yet(void **state)
{
    (void)state;
    gs_msg m;
    assert_ok(gs_mailbox_new(&p.mb));
    tcp_listen(&p, NULL, p.mb);
    assert_code(gs_receive(p.mb, &m, 0), GS_ETIMEOUT);
    fault_fail_call(FAULT_epoll_ctl, 1, FAILURES, ENOMEM);
    int e = gs_stream_setopts(p.listener, GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_ONCE)));
    assert_code(e, 0);
    retries_until(p.mb, FAILURES);
    assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, PAIR_WAIT_MS));
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_ACCEPT);
    p.b = m.fresh;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_transfer_succeeds_though_the_new_owner_cannot_watch_yet),
        TEST(a_listener_s_transfer_as_well),
        TEST(setopts_of_a_listener_succeeds_though_it_cannot_be_watched_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
