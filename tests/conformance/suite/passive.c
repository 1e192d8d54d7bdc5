/* passive.c: recv and unrecv: exact lengths, time, order. */
#include "suite.h"

#include <stdlib.h>

static void recv_gives_exactly_the_length(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "0123456");
    send_text(w->a, "789");
    recv_text(w->b, "0123");
    recv_text(w->b, "4567");
    recv_text(w->b, "8");
    recv_text(w->b, "9");
}

static void recv_of_length_0_gives_what_there_is(struct world *w)
{
    char buf[64], all[64];
    size_t n = 0;
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "some bytes");
    while (n < 10) {
        long k = assert_ok(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS));
        assert_true(k > 0 && n + (size_t)k <= 10);
        memcpy(all + n, buf, (size_t)k);
        n += (size_t)k;
    }
    assert_memory_equal(all, "some bytes", 10);
}

static void recv_never_takes_more_than_the_buffer(struct world *w)
{
    char buf[4];
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "abcdefgh");
    for (size_t n = 0; n < 8;) {
        long k = assert_ok(gs_stream_recv(w->b, buf, 3, 0, WAIT_MS));
        assert_in_range(k, 1, 3);
        assert_memory_equal(buf, &"abcdefgh"[n], (size_t)k);
        n += (size_t)k;
    }
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 5, 0), GS_EBADARG); /* a length that does not fit */
    assert_code(gs_stream_recv(w->b, NULL, 5, 0, 0), GS_EBADARG);
}

static void the_last_bytes_may_be_fewer_then_closed(struct world *w)
{
    char buf[16];
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "12345");
    assert_ok(gs_stream_close(w->a));
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 3, WAIT_MS), 3);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 10, WAIT_MS), 2);
    assert_memory_equal(buf, "45", 2);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 10, WAIT_MS), GS_ECLOSED);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), GS_ECLOSED);
}

static void recv_on_an_active_stream_is_einval(struct world *w)
{
    char buf[16];
    open_pair(w, B_OWNED, NULL, NULL);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, 0), -EINVAL);
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), -EINVAL);
    SET(w->b, ACTIVE, 5);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), -EINVAL);
    SET(w->b, ACTIVE, GS_ACTIVE_FALSE);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, 0), GS_ETIMEOUT);
}

static void a_second_recv_is_ealready(struct world *w)
{
    char buf[16];
    open_pair(w, NOBODY, NULL, NULL);
    struct task *t = task_start(w, run_recv, w->b);
    assert_blocks(t);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), -EALREADY);
    assert_code(gs_stream_unrecv(w->b, "x", 1), -EALREADY);
    send_text(w->a, "x");
    assert_code(task_result(t), 1);
    send_text(w->a, "y");
    recv_text(w->b, "y");
}

static void recv_times_out_and_never_early(struct world *w)
{
    static const int timeouts[] = {0, 1, 40};
    char buf[16];
    open_pair(w, NOBODY, NULL, NULL);
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        uint64_t began = real_ms();
        assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, timeouts[i]), GS_ETIMEOUT);
        assert_true(real_ms() + 1 >= began + (uint64_t)timeouts[i]);
    }
}

static void a_timed_out_recv_loses_no_byte(struct world *w)
{
    char buf[16];
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "abc");
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 10, 20), GS_ETIMEOUT);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 10, 0), GS_ETIMEOUT);
    send_text(w->a, "defg");
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 10, 20), GS_ETIMEOUT);
    send_text(w->a, "hijk");
    recv_text(w->b, "abcdefghij");
    recv_text(w->b, "k");
}

static void a_timed_out_recv_keeps_part_of_a_packet(struct world *w)
{
    char buf[16];
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)));
    assert_ok(gs_stream_send(w->a, "\0\0", 2));
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, 20), GS_ETIMEOUT);
    assert_ok(gs_stream_send(w->a, "\0\5he", 4));
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, 20), GS_ETIMEOUT);
    assert_code(gs_stream_pending(w->b), 0);
    assert_ok(gs_stream_send(w->a, "llo\0", 4));
    recv_one(w->b, "hello");
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, 0), GS_ETIMEOUT);
    assert_ok(gs_stream_send(w->a, "\0\0\0", 3));
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), 0); /* an empty packet */
}

/* A short wait that is repeated finds the bytes at last, whatever its length. */
static void recv_of_timeout_0_finds_what_is_there(struct world *w)
{
    char buf[4];
    ssize_t k;
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "now!");
    assert_until((k = gs_stream_recv(w->b, buf, sizeof buf, 4, 0)) != GS_ETIMEOUT, WAIT_MS);
    assert_code(k, 4);
    assert_memory_equal(buf, "now!", 4);
}

static void a_small_buffer_is_emsgsize_and_the_packet_stays(struct world *w)
{
    char small[4], exact[8];
    open_pair(w, NOBODY, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_OPTS(GS_INT(PACKET, GS_PACKET_2)));
    send_text(w->a, "8 bytes!");
    send_text(w->a, "next");
    assert_code(gs_stream_recv(w->b, small, sizeof small, 0, WAIT_MS), -EMSGSIZE);
    assert_code(gs_stream_recv(w->b, small, sizeof small, 0, WAIT_MS), -EMSGSIZE);
    long need = assert_ok(gs_stream_pending(w->b));
    assert_true(need >= 8);
    assert_code(gs_stream_recv(w->b, exact, sizeof exact, 0, WAIT_MS), 8);
    assert_memory_equal(exact, "8 bytes!", 8);
    assert_code(gs_stream_recv(w->b, small, sizeof small, 0, WAIT_MS), 4);
    assert_memory_equal(small, "next", 4);
    assert_code(gs_stream_pending(w->b), 0);
}

static void pending_tells_the_room_that_recv_packet_needs(struct world *w)
{
    static const char request[] = "GET /index.html HTTP/1.1\r\n";
    char buf[64];
    gs_packet p;
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_HTTP_BIN)));
    send_text(w->a, request);
    assert_code(gs_stream_recv_packet(w->b, buf, 10, &p, WAIT_MS), -EMSGSIZE);
    assert_code(gs_stream_pending(w->b), (long)sizeof request - 1);
    assert_code(gs_stream_recv_packet(w->b, buf, sizeof request - 1, &p, WAIT_MS), (long)sizeof request - 1);
    assert_int_equal(p.kind, GS_PK_HTTP_REQUEST);
    assert_int_equal(p.u.request.path.n, 11);
    assert_true((const char *)p.u.request.path.p >= buf && (const char *)p.u.request.path.p < buf + sizeof buf);
    assert_memory_equal(p.u.request.path.p, "/index.html", 11);
}

static void recv_packet_of_raw_gives_bytes(struct world *w)
{
    char buf[16];
    gs_packet p;
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "x");
    assert_code(gs_stream_recv_packet(w->b, buf, sizeof buf, &p, WAIT_MS), 1);
    assert_int_equal(p.kind, GS_PK_BYTES);
    assert_int_equal(p.data.n, 1);
    assert_memory_equal(p.data.p, "x", 1);
    assert_code(gs_stream_recv_packet(w->b, buf, sizeof buf, NULL, 0), GS_EBADARG);
}

static void unrecv_comes_first(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    assert_ok(gs_stream_unrecv(w->b, "early ", 6));
    recv_text(w->b, "ear");
    send_text(w->a, "later");
    assert_ok(gs_stream_unrecv(w->b, "EAR", 3));
    assert_ok(gs_stream_unrecv(w->b, NULL, 0));
    recv_text(w->b, "EARly later");
}

static void unrecv_is_framed_and_delivered_too(struct world *w)
{
    open_pair(w, B_OWNED, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)),
              GS_OPTS(GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    send_text(w->a, "second");
    recv_one(w->b, "second");
    assert_ok(gs_stream_unrecv(w->b, "\5first\6second", 13));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "first");
    expect_packet(w->mb, w->b, "second");
    assert_ok(gs_stream_unrecv(w->b, "\5third", 6)); /* active already: told at once */
    expect_packet(w->mb, w->b, "third");
}

static void unrecv_after_the_peers_end_is_still_received(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "abc");
    assert_ok(gs_stream_close(w->a));
    recv_text(w->b, "abc");
    assert_ok(gs_stream_unrecv(w->b, "again", 5));
    recv_text(w->b, "again");
    recv_end(w->b);
}

/* The owner takes the input over: the waiting recv ends, and no byte of what it had read is lost. */
static void turning_active_ends_a_waiting_recv(struct world *w)
{
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    struct task *t = task_new(w, run_recv);
    t->stream = w->b;
    t->n = 10;
    task_go(t);
    assert_blocks(t);
    send_text(w->a, "abc");
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    assert_code(task_result(t), -EINVAL);
    expect_bytes(w->mb, w->b, "abc");
    send_text(w->a, "def");
    expect_bytes(w->mb, w->b, "def");
}

static void a_new_packet_type_reads_on_where_the_old_one_stopped(struct world *w)
{
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)));
    assert_ok(gs_stream_send(w->a, "a line\n\0\3onetworaw", 18));
    recv_one(w->b, "a line\n");
    SET(w->b, PACKET, GS_PACKET_2);
    recv_one(w->b, "one");
    SET(w->b, PACKET, GS_PACKET_RAW);
    recv_text(w->b, "two");
    recv_text(w->b, "raw");
}

/* A recv and a send in two threads do not wait for one another. */
static void recv_and_send_may_run_at_once(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    struct task *t = task_start(w, run_recv, w->b);
    assert_blocks(t);
    send_text(w->b, "out");
    recv_text(w->a, "out");
    send_text(w->a, "i");
    assert_code(task_result(t), 1);
}

static void an_idle_stream_holds_no_buffer(struct world *w)
{
    struct census before, after;
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "warm");
    recv_text(w->b, "warm");
    census_take(&before);
    send_text(w->a, "0123456789");
    recv_text(w->b, "01234");
    recv_text(w->b, "56789");
    census_take(&after);
    assert_int_equal(after.blocks, before.blocks);
}

CASES(passive) = {
    CASE(recv_gives_exactly_the_length),
    CASE(recv_of_length_0_gives_what_there_is),
    CASE(recv_never_takes_more_than_the_buffer),
    CASE(the_last_bytes_may_be_fewer_then_closed),
    CASE(recv_on_an_active_stream_is_einval),
    CASE(a_second_recv_is_ealready),
    CASE(recv_times_out_and_never_early),
    CASE(a_timed_out_recv_loses_no_byte),
    CASE(a_timed_out_recv_keeps_part_of_a_packet),
    CASE(recv_of_timeout_0_finds_what_is_there),
    CASE(a_small_buffer_is_emsgsize_and_the_packet_stays),
    CASE(pending_tells_the_room_that_recv_packet_needs),
    CASE(recv_packet_of_raw_gives_bytes),
    CASE(unrecv_comes_first),
    CASE(unrecv_is_framed_and_delivered_too),
    CASE(unrecv_after_the_peers_end_is_still_received),
    CASE(turning_active_ends_a_waiting_recv),
    CASE(a_new_packet_type_reads_on_where_the_old_one_stopped),
    CASE(recv_and_send_may_run_at_once),
    CASE(an_idle_stream_holds_no_buffer),
    {0},
};
