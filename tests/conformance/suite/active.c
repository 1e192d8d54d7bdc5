/* active.c: active true, once, N and false, and the switches between them in the middle of what has come. */
#include "suite.h"

/* So many short frames fit into every transport unread, and leave it writable: a unix socket is so only while a quarter of its
 * buffer is in use, and a test of one thread that meets an EAGAIN waits for that. */
enum { UNREAD = 30 };

static const gs_opt *packet_1(gs_opt o[3], int64_t active)
{
    o[0] = (gs_opt)GS_INT(PACKET, GS_PACKET_1);
    o[1] = (gs_opt)GS_INT(ACTIVE, active);
    o[2] = (gs_opt){.name = GS_OPT_END};
    return o;
}

/* a passive without owner, b owned by mb in this mode; both {packet,1}. */
static void framed_pair(struct world *w, int64_t active)
{
    gs_opt o[3];
    open_pair(w, B_OWNED, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)), packet_1(o, active));
}

static void true_delivers_all(struct world *w)
{
    framed_pair(w, GS_ACTIVE_TRUE);
    for (int i = 0; i < 5; i++)
        send_text(w->a, "frame");
    for (int i = 0; i < 5; i++)
        expect_packet(w->mb, w->b, "frame");
    expect_nothing(w->mb);
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_TRUE);
}

static void once_delivers_one_and_is_passive(struct world *w)
{
    framed_pair(w, GS_ACTIVE_ONCE);
    send_text(w->a, "one");
    send_text(w->a, "two");
    send_text(w->a, "three");
    expect_packet(w->mb, w->b, "one");
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_FALSE);
    expect_nothing(w->mb);
    recv_one(w->b, "two");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "three");
    expect_nothing(w->mb);
}

static void once_rearmed_in_the_handler_delivers_all(struct world *w)
{
    char text[16];
    framed_pair(w, GS_ACTIVE_ONCE);
    for (int i = 0; i < UNREAD; i++) {
        snprintf(text, sizeof text, "%d", i);
        send_text(w->a, text);
    }
    for (int i = 0; i < UNREAD; i++) {
        snprintf(text, sizeof text, "%d", i);
        expect_packet(w->mb, w->b, text);
        SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    }
    expect_nothing(w->mb);
}

/* Its frame is there already, and may be on its way to the mailbox: until it is received the mode is once all the same. */
static void once_in_the_handler_is_once_until_received(struct world *w)
{
    char got[8];
    gs_msg m;
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6));
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "a");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_ONCE);
    assert_code(gs_stream_recv(w->b, got, sizeof got, 0, 0), -EINVAL);
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE); /* twice is once */
    assert_code(gs_receive_ref(w->mb, 12345, &m, GS_NOWAIT), GS_ETIMEOUT); /* what is not wanted now stays */
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "b");
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_FALSE);
    expect_nothing(w->mb);
    recv_one(w->b, "c");
}

static void once_in_the_handler_is_taken_back(struct world *w)
{
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c\1d\0\1e", 11));
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "a");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    SET(w->b, ACTIVE, GS_ACTIVE_FALSE);
    expect_nothing(w->mb);
    recv_one(w->b, "b");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "c");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    assert_ok(gs_stream_unrecv(w->b, "\1C", 2));
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "C");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "d");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE); /* an empty packet, and one of 'e' */
    SET(w->b, PACKET, GS_PACKET_2);
    expect_packet(w->mb, w->b, "e");
    expect_nothing(w->mb);
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_FALSE);
}

static void once_in_the_handler_and_close_tells_nothing(struct world *w)
{
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b", 4));
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "a");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    assert_ok(gs_stream_close(w->b));
    expect_nothing(w->mb);
}

static void once_in_the_handler_moves_to_the_next_owner(struct world *w)
{
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6));
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "a");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma));
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_ONCE);
    expect_nothing(w->mb);
    expect_packet(w->ma, w->b, "b");
    expect_nothing(w->ma);
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_FALSE);
}

static void n_counts_down_and_tells_passive(struct world *w)
{
    gs_msg m;
    framed_pair(w, 3);
    for (int i = 0; i < 5; i++)
        send_text(w->a, "x");
    for (int i = 0; i < 3; i++)
        expect_packet(w->mb, w->b, "x");
    expect(w->mb, GS_MSG_PASSIVE, w->b, &m);
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_FALSE);
    expect_nothing(w->mb);
    recv_one(w->b, "x");
    SET(w->b, ACTIVE, 5);
    expect_packet(w->mb, w->b, "x");
    assert_int_equal(GET(w->b, ACTIVE), 4);
    expect_nothing(w->mb);
}

static void n_adds_to_what_is_left(struct world *w)
{
    gs_msg m;
    framed_pair(w, 2);
    SET(w->b, ACTIVE, 3);
    assert_int_equal(GET(w->b, ACTIVE), 5);
    SET(w->b, ACTIVE, -3);
    assert_int_equal(GET(w->b, ACTIVE), 2);
    for (int i = 0; i < 3; i++)
        send_text(w->a, "x");
    expect_packet(w->mb, w->b, "x");
    assert_int_equal(GET(w->b, ACTIVE), 1);
    SET(w->b, ACTIVE, 1);
    expect_packet(w->mb, w->b, "x");
    expect_packet(w->mb, w->b, "x");
    expect(w->mb, GS_MSG_PASSIVE, w->b, &m);
}

static void n_down_to_0_tells_passive_at_once(struct world *w)
{
    static const int below[] = {-3, -7};
    gs_msg m;
    framed_pair(w, 3);
    for (size_t i = 0; i < 2; i++) {
        SET(w->b, ACTIVE, below[i]);
        assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_FALSE);
        expect(w->mb, GS_MSG_PASSIVE, w->b, &m);
        SET(w->b, ACTIVE, 3);
    }
    SET(w->b, ACTIVE, GS_ACTIVE_FALSE);
    SET(w->b, ACTIVE, 0);
    expect(w->mb, GS_MSG_PASSIVE, w->b, &m);
    expect_nothing(w->mb);
}

static void a_count_outside_its_range_is_einval(struct world *w)
{
    framed_pair(w, 1);
    static const int64_t bad[] = {32768, -32769, 32767, 65535};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(ACTIVE, bad[i]))), -EINVAL);
        assert_int_equal(GET(w->b, ACTIVE), 1);
    }
    SET(w->b, ACTIVE, 32766);
    assert_int_equal(GET(w->b, ACTIVE), 32767);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(ACTIVE, 1))), -EINVAL);
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE); /* from true and once a count starts anew */
    SET(w->b, ACTIVE, 2);
    assert_int_equal(GET(w->b, ACTIVE), 2);
}

static void true_to_false_in_the_handler_stops_the_batch(struct world *w)
{
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c\1d", 8));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    SET(w->b, ACTIVE, GS_ACTIVE_FALSE);
    expect_nothing(w->mb);
    recv_one(w->b, "b");
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "c");
    expect_packet(w->mb, w->b, "d");
}

static void once_in_the_handler_of_true_delivers_one_more(struct world *w)
{
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c\1d", 8));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "b");
    expect_nothing(w->mb);
    recv_one(w->b, "c");
    recv_one(w->b, "d");
}

static void a_count_in_the_handler_goes_by_what_was_delivered(struct world *w)
{
    gs_msg m;
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c\1d\1e\1f", 12));
    SET(w->b, ACTIVE, 5);
    expect_packet(w->mb, w->b, "a"); /* the four behind it may be claimed already */
    SET(w->b, ACTIVE, -2);
    expect_packet(w->mb, w->b, "b");
    expect_packet(w->mb, w->b, "c");
    expect(w->mb, GS_MSG_PASSIVE, w->b, &m);
    expect_nothing(w->mb);
    recv_one(w->b, "d");
}

static void a_new_packet_type_in_the_handler_reads_on(struct world *w)
{
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\4line\1x\0\3two1\n2\n", 16));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "line");
    expect_packet(w->mb, w->b, "x");
    SET(w->b, PACKET, GS_PACKET_2);
    expect_packet(w->mb, w->b, "two");
    SET(w->b, PACKET, GS_PACKET_LINE);
    expect_packet(w->mb, w->b, "1\n");
    expect_packet(w->mb, w->b, "2\n");
}

static void unrecv_in_the_handler_comes_before_the_rest_of_the_batch(struct world *w)
{
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    assert_ok(gs_stream_unrecv(w->b, "\1A", 2));
    expect_packet(w->mb, w->b, "A");
    expect_packet(w->mb, w->b, "b");
    expect_packet(w->mb, w->b, "c");
}

static void everything_sent_comes_before_closed(struct world *w)
{
    gs_msg m;
    framed_pair(w, GS_ACTIVE_TRUE);
    for (int i = 0; i < UNREAD; i++)
        send_text(w->a, "data");
    assert_ok(gs_stream_close(w->a));
    for (int i = 0; i < UNREAD; i++)
        expect_packet(w->mb, w->b, "data");
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
    expect_nothing(w->mb);
}

static void once_after_the_peers_close_tells_closed(struct world *w)
{
    gs_msg m;
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_close(w->a));
    expect_nothing(w->mb); /* passive: nobody is told */
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
    expect_nothing(w->mb);
}

static void once_tells_data_and_then_closed(struct world *w)
{
    gs_msg m;
    framed_pair(w, GS_ACTIVE_FALSE);
    send_text(w->a, "last");
    assert_ok(gs_stream_close(w->a));
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect_packet(w->mb, w->b, "last");
    expect_nothing(w->mb);
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
}

static void count_of_one_tells_data_passive_and_then_closed(struct world *w)
{
    gs_msg m;
    framed_pair(w, 1);
    send_text(w->a, "last");
    assert_ok(gs_stream_close(w->a));
    expect_packet(w->mb, w->b, "last");
    expect(w->mb, GS_MSG_PASSIVE, w->b, &m);
    expect_nothing(w->mb);
    SET(w->b, ACTIVE, 1);
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
}

/* Part of a packet at the peer's end is not delivered: closed follows what was whole. */
static void half_a_packet_before_the_end_is_dropped(struct world *w)
{
    gs_msg m;
    framed_pair(w, GS_ACTIVE_TRUE);
    SET(w->a, PACKET, GS_PACKET_RAW);
    assert_ok(gs_stream_send(w->a, "\5whole\5ha", 9));
    assert_ok(gs_stream_close(w->a));
    expect_packet(w->mb, w->b, "whole");
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
}

static void too_long_a_packet_ends_the_stream(struct world *w)
{
    gs_msg m;
    framed_pair(w, GS_ACTIVE_TRUE);
    SET(w->b, PACKET_SIZE, 10);
    send_text(w->a, "0123456789");
    send_text(w->a, "0123456789x");
    expect_packet(w->mb, w->b, "0123456789");
    expect(w->mb, GS_MSG_ERROR, w->b, &m);
    assert_code(m.error, -EMSGSIZE);
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
    expect_nothing(w->mb);
}

static void views_outlive_the_stream(struct world *w)
{
    gs_msg m;
    framed_pair(w, GS_ACTIVE_TRUE);
    send_text(w->a, "still here");
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_ok(gs_stream_close(w->b));
    assert_int_equal(m.packet.data.n, 10);
    assert_memory_equal(m.packet.data.p, "still here", 10);
    expect_nothing(w->mb);
    gs_msg kept;
    assert_ok(gs_stream_close(w->a));
    close_all(w);
    framed_pair(w, GS_ACTIVE_TRUE);
    send_text(w->a, "kept");
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_ok(gs_msg_keep(&m, &kept));
    send_text(w->a, "over");
    expect_packet(w->mb, w->b, "over");
    assert_memory_equal(kept.packet.data.p, "kept", 4);
    gs_msg_drop(&kept);
}

static void close_in_the_handler_ends_the_batch(struct world *w)
{
    framed_pair(w, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    assert_ok(gs_stream_close(w->b));
    expect_nothing(w->mb);
    recv_end(w->a);
}

static void replies_in_the_handler_keep_their_order(struct world *w)
{
    char text[16];
    gs_msg m;
    framed_pair(w, GS_ACTIVE_TRUE);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < UNREAD; i++) {
            snprintf(text, sizeof text, "%d", i);
            send_text(w->a, text);
        }
        for (int i = 0; i < UNREAD; i++) {
            expect(w->mb, GS_MSG_DATA, w->b, &m);
            assert_ok(gs_stream_send(w->b, m.packet.data.p, m.packet.data.n));
        }
        for (int i = 0; i < UNREAD; i++) {
            snprintf(text, sizeof text, "%d", i);
            recv_one(w->a, text);
        }
    }
}

static void one_mailbox_serves_both_ends(struct world *w)
{
    gs_opt o[3];
    open_listener(w, packet_1(o, GS_ACTIVE_TRUE), w->mb);
    assert_code(gs_stream_connect(&w->a, w->at, o, w->mb, GS_NOWAIT), GS_ESELECT);
    gs_msg m;
    uint64_t ref;
    assert_code(gs_stream_accept(w->listener, &w->b, w->mb, GS_NOWAIT, &ref), GS_ESELECT);
    bool connected = false, accepted = false;
    while (!connected || !accepted) {
        assert_ok(gs_receive(w->mb, &m, WAIT_MS));
        assert_code(m.error, 0);
        if (m.kind == GS_MSG_ACCEPT) {
            w->b = m.fresh;
            accepted = true;
        } else {
            assert_int_equal(m.kind, GS_MSG_CONNECT);
            connected = true;
        }
    }
    send_text(w->a, "ping");
    for (int i = 0; i < 20; i++) {
        assert_ok(gs_receive(w->mb, &m, WAIT_MS));
        assert_int_equal(m.kind, GS_MSG_DATA);
        assert_true(m.stream.id == (i % 2 ? w->a.id : w->b.id));
        assert_ok(gs_stream_send(m.stream, "ping", 4));
    }
}

static void each_count_tells_its_own_passive(struct world *w)
{
    gs_msg m;
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b", 4));
    SET(w->b, ACTIVE, 1);
    expect_packet(w->mb, w->b, "a");
    SET(w->b, ACTIVE, 1); /* the first one's passive is still to come, and comes before the data of the second */
    expect(w->mb, GS_MSG_PASSIVE, w->b, &m);
    expect_packet(w->mb, w->b, "b");
    expect(w->mb, GS_MSG_PASSIVE, w->b, &m);
}

CASES(active) = {
    CASE(each_count_tells_its_own_passive),
    CASE(true_delivers_all),
    CASE(once_delivers_one_and_is_passive),
    CASE(once_rearmed_in_the_handler_delivers_all),
    CASE(once_in_the_handler_is_once_until_received),
    CASE(once_in_the_handler_is_taken_back),
    CASE(once_in_the_handler_and_close_tells_nothing),
    CASE(once_in_the_handler_moves_to_the_next_owner),
    CASE(n_counts_down_and_tells_passive),
    CASE(n_adds_to_what_is_left),
    CASE(n_down_to_0_tells_passive_at_once),
    CASE(a_count_outside_its_range_is_einval),
    CASE(true_to_false_in_the_handler_stops_the_batch),
    CASE(once_in_the_handler_of_true_delivers_one_more),
    CASE(a_count_in_the_handler_goes_by_what_was_delivered),
    CASE(a_new_packet_type_in_the_handler_reads_on),
    CASE(unrecv_in_the_handler_comes_before_the_rest_of_the_batch),
    CASE(everything_sent_comes_before_closed),
    CASE(once_after_the_peers_close_tells_closed),
    CASE(once_tells_data_and_then_closed),
    CASE(count_of_one_tells_data_passive_and_then_closed),
    CASE(half_a_packet_before_the_end_is_dropped),
    CASE(too_long_a_packet_ends_the_stream),
    CASE(views_outlive_the_stream),
    CASE(close_in_the_handler_ends_the_batch),
    CASE(replies_in_the_handler_keep_their_order),
    CASE(one_mailbox_serves_both_ends),
    {0},
};
