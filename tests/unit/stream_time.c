/* Timeouts of streams on the virtual clock: exact, and without loss. */
#include <stdlib.h>
#include <string.h>

#include "stream_pair.h"
#include "vclock.h"

static struct tcp_pair p;

static int set_up(void **state)
{
    (void)state;
    tcp_pair_open(&p, NULL, NULL, false);
    vclock_start(VCLOCK_AUTO);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vclock_stop();
    tcp_pair_close(&p);
    return 0;
}

static void P3_recv_times_out_exactly(void **state)
{
    (void)state;
    char buf[16];
    assert_code(gs_stream_recv(p.b, buf, sizeof buf, 0, 60000), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 60000);
    assert_code(gs_stream_recv(p.b, buf, sizeof buf, 5, 0), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 60000);
    assert_ok(gs_stream_send(p.a, "abc", 3));
    assert_code(gs_stream_recv(p.b, buf, sizeof buf, 5, 1500), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 61500);
    assert_ok(gs_stream_send(p.a, "de", 2));
    assert_code(gs_stream_recv(p.b, buf, sizeof buf, 5, 1500), 5);
    assert_memory_equal(buf, "abcde", 5);
    assert_int_equal(vclock_ms(), 61500);
}

static void P3_accept_times_out_exactly(void **state)
{
    (void)state;
    gs_stream s;
    assert_code(gs_stream_accept(p.listener, &s, GS_NO_MAILBOX, 30000, NULL), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 30000);
}

static void P3_send_times_out_exactly(void **state)
{
    (void)state;
    enum { BIG = 16 << 20 };
    char *big = calloc(1, BIG);
    assert_non_null(big);
    assert_ok(gs_stream_setopts(p.a, GS_OPTS(GS_INT(SEND_TIMEOUT, 7000))));
    gs_rest rest;
    int e = gs_stream_sendv(p.a, &(struct iovec){big, BIG}, 1, &rest);
    free(big);
    assert_code(e, GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 7000);
    assert_int_equal(rest.body_at + rest.body_left, BIG);
}

/* Of a mem listener whose queue is full nobody takes a connection out. */
static void P3_connect_times_out_exactly(void **state)
{
    (void)state;
    gs_stream l, s[8];
    int n = 0, e;
    assert_ok(gs_stream_listen(&l, "mem://full", GS_OPTS(GS_INT(BACKLOG, 1)), GS_NO_MAILBOX));
    uint64_t before;
    do {
        before = vclock_ms();
        e = gs_stream_connect(&s[n], "mem://full", NULL, GS_NO_MAILBOX, 9000);
    } while (e == 0 && ++n < 8);
    for (int i = 0; i < n; i++)
        gs_stream_close(s[i]);
    gs_stream_close(l);
    assert_code(e, GS_ETIMEOUT);
    assert_int_equal(vclock_ms() - before, 9000);
}

static void P3_receive_from_times_out_exactly(void **state)
{
    (void)state;
    gs_msg m;
    assert_ok(gs_stream_controlling_process(p.b, GS_NO_MAILBOX, p.mb));
    assert_code(gs_receive_from(p.mb, p.b, &m, 12345), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 12345);
    assert_code(gs_receive_ref(p.mb, gs_make_ref(), &m, 5), GS_ETIMEOUT);
    assert_int_equal(vclock_ms(), 12350);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(P3_recv_times_out_exactly),
        TEST(P3_accept_times_out_exactly),
        TEST(P3_send_times_out_exactly),
        TEST(P3_connect_times_out_exactly),
        TEST(P3_receive_from_times_out_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
