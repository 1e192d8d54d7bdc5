/* message.c: gs_receive over streams: selective receive, the descriptor for foreign loops, who may receive. */
#include "suite.h"

#include <poll.h>

/* Two connections of framed streams to mb: b and *other (accepted), from a and *other_a. */
static void two_pairs(struct world *w, gs_stream *other_a, gs_stream *other)
{
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_1), {.name = GS_OPT_END}};
    open_pair(w, B_OWNED, o, o);
    *other_a = w->a;
    *other = w->b;
    gs_stream first_listener = w->listener;
    open_pair(w, B_OWNED, o, o);
    gs_stream_close(first_listener);
}

static void receive_from_leaves_other_streams(struct world *w)
{
    gs_msg m;
    gs_stream other_a, other;
    two_pairs(w, &other_a, &other);
    send_text(other_a, "other 1");
    send_text(other_a, "other 2");
    assert_ok(gs_post(w->mb, 7, "post", 4));
    assert_code(gs_receive_from(w->mb, w->b, &m, QUIET_MS), GS_ETIMEOUT);
    send_text(w->a, "mine");
    assert_ok(gs_receive_from(w->mb, w->b, &m, WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_DATA);
    assert_true(m.stream.id == w->b.id);
    assert_memory_equal(m.packet.data.p, "mine", 4);
    bool posted = false;
    for (int i = 0, data = 0; i < 3; i++) {
        assert_ok(gs_receive(w->mb, &m, WAIT_MS));
        if (m.kind == GS_MSG_POST) {
            assert_false(posted);
            posted = true;
            continue;
        }
        assert_true(m.stream.id == other.id);
        assert_int_equal(m.packet.data.n, 7);
        assert_int_equal(m.packet.data.p[6], '1' + data++);
    }
    assert_true(posted);
    expect_nothing(w->mb);
    gs_stream_close(other_a);
    gs_stream_close(other);
}

/* In the middle of one stream's batch another is asked for: the rest of the batch waits. */
static void receive_from_interrupts_a_batch_without_loss(struct world *w)
{
    gs_msg m;
    gs_stream other_a, other;
    two_pairs(w, &other_a, &other);
    SET(w->b, ACTIVE, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    send_text(other_a, "other");
    assert_ok(gs_receive_from(w->mb, other, &m, WAIT_MS));
    assert_true(m.kind == GS_MSG_DATA && m.stream.id == other.id);
    assert_memory_equal(m.packet.data.p, "other", 5);
    expect_packet(w->mb, w->b, "b");
    assert_ok(gs_receive_from(w->mb, w->b, &m, WAIT_MS));
    assert_true(m.kind == GS_MSG_DATA);
    assert_memory_equal(m.packet.data.p, "c", 1);
    expect_nothing(w->mb);
    gs_stream_close(other_a);
    gs_stream_close(other);
}

static void receive_ref_leaves_everything_else(struct world *w)
{
    gs_msg m;
    uint64_t ref, down;
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_1), {.name = GS_OPT_END}};
    open_pair(w, B_OWNED, o, o);
    send_text(w->a, "data");
    assert_ok(gs_post(w->mb, 1, "post", 4));
    assert_ok(gs_stream_monitor(w->a, w->mb, &down));
    assert_ok(gs_timer_start(w->mb, 5, &ref, &ref));
    assert_ok(gs_receive_ref(w->mb, ref, &m, WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_TIMER);
    assert_ptr_equal(m.user, &ref);
    assert_code(gs_receive_ref(w->mb, down, &m, 5), GS_ETIMEOUT);
    assert_ok(gs_stream_close(w->a));
    assert_ok(gs_receive_ref(w->mb, down, &m, WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_DOWN);
    int data = 0, posts = 0, closed = 0;
    for (int i = 0; i < 3; i++) {
        assert_ok(gs_receive(w->mb, &m, WAIT_MS));
        data += m.kind == GS_MSG_DATA;
        posts += m.kind == GS_MSG_POST;
        closed += m.kind == GS_MSG_CLOSED;
        assert_false(closed && !data);
    }
    assert_int_equal(data + 10 * posts + 100 * closed, 111);
}

static void receive_from_is_for_the_owner(struct world *w)
{
    gs_msg m;
    open_pair(w, B_OWNED, NULL, NULL);
    assert_code(gs_receive_from(w->ma, w->b, &m, 0), GS_ENOTOWNER);
    assert_code(gs_receive_from(w->mb, GS_NO_STREAM, &m, 0), GS_EBADARG);
    assert_code(gs_receive_ref(w->mb, 0, &m, 0), GS_EBADARG);
    gs_stream old = w->b;
    assert_ok(gs_stream_close(w->b));
    assert_code(gs_receive_from(w->mb, old, &m, WAIT_MS), GS_ECLOSED);
}

static void run_receive_from(struct task *t) { t->result = gs_receive_from(t->mailbox, t->stream, &t->msg, t->timeout_ms); }

static struct task *receiving_from(struct world *w)
{
    struct task *t = task_new(w, run_receive_from);
    t->mailbox = w->mb;
    t->stream = w->b;
    task_go(t);
    assert_blocks(t);
    return t;
}

static void closing_a_stream_ends_a_receive_from_it(struct world *w)
{
    open_pair(w, B_OWNED, NULL, NULL);
    struct task *t = receiving_from(w);
    assert_ok(gs_stream_close(w->b));
    assert_code(task_result(t), GS_ECLOSED);
}

static void one_thread_receives_at_a_time(struct world *w)
{
    gs_msg m;
    open_pair(w, B_OWNED, NULL, NULL);
    struct task *t = receiving_from(w);
    assert_code(gs_receive(w->mb, &m, 0), -EALREADY);
    send_text(w->a, "x");
    assert_ok(task_result(t));
    assert_code(gs_receive(w->mb, &m, 0), GS_ETIMEOUT); /* and then another may */
}

static void freeing_the_mailbox_ends_a_receive(struct world *w)
{
    for (int tries = 5, in_time = 0; tries-- > 0 && !in_time;) {
        struct task *t = task_new(w, run_receive);
        t->mailbox = w->mb;
        task_go(t);
        assert_blocks(t);
        uint64_t began = real_ms();
        assert_ok(gs_mailbox_free(w->mb));
        assert_code(task_result(t), GS_ECLOSED);
        in_time = t->ended_ms - began <= WAKE_MS;
        assert_true(assert_wakes_in_time(tries, t->ended_ms - began));
        assert_ok(gs_mailbox_new(&w->mb));
    }
}

/* ---- a foreign loop ---- */

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t end = real_ms() + (uint64_t)ms;
    int n;
    while ((n = poll(&p, 1, ms)) < 0 && real_ms() < end)
        ;
    return n > 0;
}

/* One message per readiness, until `n` have come; then it is quiet, soon, and stays so. */
static void loop_by_descriptor(struct world *w, int fd, int n)
{
    gs_msg m;
    for (int got = 0; got < n;) {
        assert_true(readable(fd, WAIT_MS));
        int e = gs_receive(w->mb, &m, 0);
        if (e != GS_ETIMEOUT)
            assert_ok(e);
        got += e == 0;
    }
    for (int i = 0; i < 20 && readable(fd, 0); i++)
        assert_code(gs_receive(w->mb, &m, 0), GS_ETIMEOUT);
    assert_false(readable(fd, 10));
}

static void the_descriptor_tells_of_everything(struct world *w)
{
    uint64_t ref;
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_1), {.name = GS_OPT_END}};
    open_pair(w, B_OWNED, o, o);
    int fd = (int)assert_ok(gs_mailbox_fd(w->mb));
    assert_int_equal(gs_mailbox_fd(w->mb), fd);
    loop_by_descriptor(w, fd, 0);
    for (int i = 0; i < 5; i++)
        send_text(w->a, "frame");
    loop_by_descriptor(w, fd, 5);
    assert_ok(gs_post(w->mb, 1, NULL, 0));
    assert_ok(gs_post(w->mb, 1, NULL, 0));
    loop_by_descriptor(w, fd, 2);
    assert_ok(gs_timer_start(w->mb, 1, NULL, &ref));
    assert_ok(gs_timer_start(w->mb, 20, NULL, &ref));
    loop_by_descriptor(w, fd, 2);
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b\1c", 6)); /* frames that the kernel knows nothing of */
    loop_by_descriptor(w, fd, 3);
    assert_ok(gs_stream_close(w->a));
    loop_by_descriptor(w, fd, 1);
}

static void the_descriptor_tells_what_came_before_it_was_asked_for(struct world *w)
{
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b", 4));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    assert_ok(gs_post(w->mb, 1, NULL, 0));
    loop_by_descriptor(w, (int)assert_ok(gs_mailbox_fd(w->mb)), 3);
}

static void the_descriptor_tells_of_connections(struct world *w)
{
    gs_msg m;
    open_listener(w, GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->mb);
    int fd = (int)assert_ok(gs_mailbox_fd(w->mb));
    assert_code(gs_stream_connect(&w->a, w->at, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->mb, GS_NOWAIT), GS_ESELECT);
    for (int got = 0; got < 2;) {
        assert_true(readable(fd, WAIT_MS));
        if (gs_receive(w->mb, &m, 0) != 0)
            continue;
        assert_code(m.error, 0);
        if (m.kind == GS_MSG_ACCEPT)
            w->b = m.fresh;
        got++;
    }
    send_text(w->a, "x");
    recv_text(w->b, "x");
}

static void the_descriptor_tells_of_room_to_write(struct world *w)
{
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(SEND_TIMEOUT, GS_NOWAIT)), NULL);
    int fd = (int)assert_ok(gs_mailbox_fd(w->ma));
    size_t sent = fill_until_eagain(w, w->a, 4, 0);
    struct task *t = task_new(w, run_drain);
    t->stream = w->b;
    t->seed = 4;
    t->total = sent;
    task_go(t);
    gs_msg m;
    int e = GS_ETIMEOUT;
    while (e == GS_ETIMEOUT) {
        assert_true(readable(fd, WAIT_MS));
        e = gs_receive(w->ma, &m, 0);
    }
    assert_ok(e);
    assert_int_equal(m.kind, GS_MSG_DRAINED);
    assert_code(task_result(t), 0);
}

CASES(message) = {
    CASE(receive_from_leaves_other_streams),
    CASE(receive_from_interrupts_a_batch_without_loss),
    CASE(receive_ref_leaves_everything_else),
    CASE(receive_from_is_for_the_owner),
    CASE(closing_a_stream_ends_a_receive_from_it),
    CASE(one_thread_receives_at_a_time),
    CASE(freeing_the_mailbox_ends_a_receive),
    CASE(the_descriptor_tells_of_everything),
    CASE(the_descriptor_tells_what_came_before_it_was_asked_for),
    CASE(the_descriptor_tells_of_connections),
    CASE(the_descriptor_tells_of_room_to_write),
    {0},
};
