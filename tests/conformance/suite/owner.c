/* owner.c: controlling_process: one owner at every instant, and undelivered input reaches the new owner first, in order. */
#include "suite.h"

static void framed_pair(struct world *w, unsigned owned, int64_t active)
{
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, active), {.name = GS_OPT_END}};
    open_pair(w, owned, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)), o);
}

static gs_mailbox owner_of(gs_stream s)
{
    gs_stream_info_t info;
    assert_ok(gs_stream_info(s, &info));
    return info.owner;
}

static void undelivered_input_moves_along(struct world *w)
{
    framed_pair(w, B_OWNED, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c\1d", 8));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    send_text(w->a, "later");
    expect_packet(w->mb, w->b, "a"); /* the others are in the mailbox's hands now */
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma));
    assert_true(owner_of(w->b).id == w->ma.id);
    expect_packet(w->ma, w->b, "b");
    expect_packet(w->ma, w->b, "c");
    expect_packet(w->ma, w->b, "d");
    expect_packet(w->ma, w->b, "later");
    expect_nothing(w->mb);
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_TRUE);
}

static void part_of_a_frame_moves_along(struct world *w)
{
    framed_pair(w, B_OWNED, GS_ACTIVE_TRUE);
    SET(w->a, PACKET, GS_PACKET_RAW);
    send_text(w->a, "\5one+2\7twot");
    expect_packet(w->mb, w->b, "one+2");
    expect_nothing(w->mb); /* reads the part */
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma));
    send_text(w->a, "w");
    expect_nothing(w->ma);
    send_text(w->a, "oo!");
    expect_packet(w->ma, w->b, "twotwoo");
}

static void a_count_moves_along(struct world *w)
{
    gs_msg m;
    framed_pair(w, B_OWNED, 4);
    for (int i = 0; i < 5; i++)
        send_text(w->a, "x");
    expect_packet(w->mb, w->b, "x");
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma));
    assert_int_equal(GET(w->b, ACTIVE), 3);
    for (int i = 0; i < 3; i++)
        expect_packet(w->ma, w->b, "x");
    expect(w->ma, GS_MSG_PASSIVE, w->b, &m);
    expect_nothing(w->ma);
}

static void an_untold_passive_and_closed_move_along(struct world *w)
{
    gs_msg m;
    framed_pair(w, B_OWNED, 1);
    send_text(w->a, "x");
    assert_ok(gs_stream_close(w->a));
    expect_packet(w->mb, w->b, "x");
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma));
    expect(w->ma, GS_MSG_PASSIVE, w->b, &m);
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect(w->ma, GS_MSG_CLOSED, w->b, &m);
    expect_nothing(w->mb);
}

static void giving_to_oneself_changes_nothing(struct world *w)
{
    framed_pair(w, B_OWNED, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->mb));
    expect_packet(w->mb, w->b, "b");
    expect_packet(w->mb, w->b, "c");
}

static void only_the_owner_may_give(struct world *w)
{
    framed_pair(w, B_OWNED, GS_ACTIVE_TRUE);
    assert_code(gs_stream_controlling_process(w->b, w->ma, w->ma), GS_ENOTOWNER);
    assert_code(gs_stream_controlling_process(w->b, GS_NO_MAILBOX, w->ma), GS_ENOTOWNER);
    assert_code(gs_stream_controlling_process(w->a, w->mb, w->ma), GS_ENOTOWNER); /* it has none */
    assert_true(owner_of(w->b).id == w->mb.id);
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma)); /* nobody ever received on mb */
    assert_code(gs_stream_controlling_process(w->b, w->mb, w->ma), GS_ENOTOWNER);
}

static void the_owners_turn_is_needed(struct world *w)
{
    framed_pair(w, B_OWNED, GS_ACTIVE_TRUE);
    struct task *t = task_new(w, run_receive);
    t->mailbox = w->mb;
    task_go(t);
    assert_blocks(t);
    assert_code(gs_stream_controlling_process(w->b, w->mb, w->ma), GS_ENOTOWNER);
    send_text(w->a, "x");
    assert_ok(task_result(t));
    assert_code(gs_stream_controlling_process(w->b, w->mb, w->ma), GS_ENOTOWNER); /* that thread's turn goes on */
    expect_nothing(w->mb); /* now it is ours */
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma));
}

static void a_dead_mailbox_or_none_cannot_own(struct world *w)
{
    gs_mailbox gone;
    assert_ok(gs_mailbox_new(&gone));
    assert_ok(gs_mailbox_free(gone));
    framed_pair(w, B_OWNED, GS_ACTIVE_TRUE);
    assert_code(gs_stream_controlling_process(w->b, w->mb, gone), GS_EBADARG);
    assert_code(gs_stream_controlling_process(w->b, w->mb, GS_NO_MAILBOX), GS_EBADARG);
    assert_code(gs_stream_controlling_process(w->a, GS_NO_MAILBOX, gone), GS_EBADARG);
    send_text(w->a, "x");
    expect_packet(w->mb, w->b, "x");
}

static void run_grab(struct task *t)
{
    t->result = gs_stream_controlling_process(t->stream, GS_NO_MAILBOX, t->mailbox);
}

static void an_ownerless_stream_goes_to_the_first(struct world *w)
{
    for (int round = 0; round < 10; round++) {
        framed_pair(w, NOBODY, GS_ACTIVE_FALSE);
        struct task *one = task_new(w, run_grab), *two = task_new(w, run_grab);
        one->stream = two->stream = w->b;
        one->mailbox = w->ma;
        two->mailbox = w->mb;
        task_go(one);
        task_go(two);
        long first = task_result(one), second = task_result(two);
        assert_true((first == 0) != (second == 0));
        assert_code(first == 0 ? second : first, GS_ENOTOWNER);
        gs_mailbox winner = first == 0 ? w->ma : w->mb;
        assert_true(owner_of(w->b).id == winner.id);
        SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
        send_text(w->a, "x");
        expect_packet(winner, w->b, "x");
        close_all(w);
    }
}

static void what_recv_left_over_reaches_the_new_owner(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "head and rest");
    recv_text(w->b, "head");
    assert_ok(gs_stream_unrecv(w->b, "!", 1));
    assert_ok(gs_stream_controlling_process(w->b, GS_NO_MAILBOX, w->mb));
    expect_nothing(w->mb); /* it stays passive */
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_bytes(w->mb, w->b, "! and rest");
}

static void queued_output_moves_along(struct world *w)
{
    enum { SEED = 9 };
    gs_msg m;
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(SEND_TIMEOUT, GS_NOWAIT)), NULL);
    size_t sent = fill_until_eagain(w, w->a, SEED, 0);
    assert_ok(gs_stream_controlling_process(w->a, w->ma, w->mb));
    struct task *t = task_new(w, run_drain);
    t->stream = w->b;
    t->seed = SEED;
    t->total = sent;
    task_go(t);
    expect(w->mb, GS_MSG_DRAINED, w->a, &m);
    assert_code(task_result(t), 0);
}

static void corked_replies_go_out_before_the_move(struct world *w)
{
    framed_pair(w, B_OWNED, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    send_text(w->b, "reply a"); /* corked: b and c are still to come */
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma));
    recv_one(w->a, "reply a");
    expect_packet(w->ma, w->b, "b");
    send_text(w->b, "reply b");
    expect_packet(w->ma, w->b, "c");
    recv_one(w->a, "reply b");
}

/* The mailbox ends in its own turn, in the middle of a batch. */
static void the_owners_end_in_a_batch_sends_what_was_corked(struct world *w)
{
    framed_pair(w, B_OWNED, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    send_text(w->b, "reply a");
    assert_ok(gs_mailbox_free(w->mb));
    recv_one(w->a, "reply a");
    recv_end(w->a);
}

static void delayed_output_moves_along(struct world *w)
{
    framed_pair(w, B_OWNED, GS_ACTIVE_TRUE);
    SET(w->b, DELAY_SEND, 1);
    send_text(w->b, "one");
    assert_ok(gs_stream_controlling_process(w->b, w->mb, w->ma));
    send_text(w->b, "two");
    expect_nothing(w->ma);
    recv_one(w->a, "one");
    recv_one(w->a, "two");
}

/* ---- under traffic ---- */

enum { FRAMES = 2000 };

static void run_send_numbered(struct task *t)
{
    for (uint32_t i = 0; i < FRAMES && t->result == 0; i++) {
        uint8_t p[64];
        pattern_fill(p, sizeof p, i, 0);
        memcpy(p, &i, sizeof i);
        t->result = gs_stream_send(t->stream, p, 4 + i % 60);
    }
}

static void frames_keep_their_order_while_the_owner_changes(struct world *w)
{
    gs_mailbox owner[2] = {w->mb, w->ma};
    struct rng r = {test_seed()};
    framed_pair(w, B_OWNED, GS_ACTIVE_TRUE);
    struct task *t = task_start(w, run_send_numbered, w->a);
    for (uint32_t i = 0, at = 0; i < FRAMES; i++) {
        gs_msg m;
        uint8_t p[64];
        expect(owner[at], GS_MSG_DATA, w->b, &m);
        pattern_fill(p, sizeof p, i, 0);
        memcpy(p, &i, sizeof i);
        assert_int_equal(m.packet.data.n, 4 + i % 60);
        assert_memory_equal(m.packet.data.p, p, m.packet.data.n);
        if (rng_below(&r, 3) == 0) {
            assert_ok(gs_stream_controlling_process(w->b, owner[at], owner[!at]));
            at = !at;
        }
    }
    assert_ok(task_result(t));
    expect_nothing(w->ma);
    expect_nothing(w->mb);
}

CASES(owner) = {
    CASE(undelivered_input_moves_along),
    CASE(part_of_a_frame_moves_along),
    CASE(a_count_moves_along),
    CASE(an_untold_passive_and_closed_move_along),
    CASE(giving_to_oneself_changes_nothing),
    CASE(only_the_owner_may_give),
    CASE(the_owners_turn_is_needed),
    CASE(a_dead_mailbox_or_none_cannot_own),
    CASE(an_ownerless_stream_goes_to_the_first),
    CASE(what_recv_left_over_reaches_the_new_owner),
    CASE(queued_output_moves_along),
    CASE(corked_replies_go_out_before_the_move),
    CASE(the_owners_end_in_a_batch_sends_what_was_corked),
    CASE(delayed_output_moves_along),
    CASE(frames_keep_their_order_while_the_owner_changes),
    {0},
};
