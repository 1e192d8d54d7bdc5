/* open.c: connect, blocking and nowait, and what a fresh stream is. */
#include "suite.h"

#include <unistd.h>

static void both_ways(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "ping");
    recv_text(w->b, "ping");
    send_text(w->b, "pong!");
    recv_text(w->a, "pong!");
}

static void stream_with_owner_is_active(struct world *w)
{
    open_pair(w, BOTH_OWNED, NULL, NULL);
    assert_int_equal(GET(w->a, ACTIVE), GS_ACTIVE_TRUE);
    assert_int_equal(GET(w->b, ACTIVE), GS_ACTIVE_TRUE);
    send_text(w->a, "to b");
    expect_bytes(w->mb, w->b, "to b");
    send_text(w->b, "to a");
    expect_bytes(w->ma, w->a, "to a");
}

static void stream_without_owner_is_passive(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    assert_int_equal(GET(w->a, ACTIVE), GS_ACTIVE_FALSE);
    gs_opt on[] = {GS_INT(ACTIVE, GS_ACTIVE_ONCE), {.name = GS_OPT_END}};
    assert_code(gs_stream_setopts(w->a, on), -EINVAL);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(ACTIVE, 5))), -EINVAL);
    gs_stream s;
    assert_code(gs_stream_connect(&s, w->at, on, GS_NO_MAILBOX, WAIT_MS), -EINVAL);
}

static void connect_to_nobody_is_refused(struct world *w)
{
    gs_stream s;
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_ok(gs_stream_close(w->listener));
    assert_code(gs_stream_connect(&s, w->at, NULL, GS_NO_MAILBOX, WAIT_MS), w->facts->refused);
    assert_code(gs_stream_connect(&s, w->at, NULL, w->ma, WAIT_MS), w->facts->refused);
    expect_nothing(w->ma);
}

static void connect_for_a_dead_mailbox_is_badarg(struct world *w)
{
    gs_stream s;
    gs_mailbox gone;
    assert_ok(gs_mailbox_new(&gone));
    assert_ok(gs_mailbox_free(gone));
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_connect(&s, w->at, NULL, gone, WAIT_MS), GS_EBADARG);
}

static void run_accept_and_handshake(struct task *t)
{
    t->result = gs_stream_accept(t->stream, &t->fresh, GS_NO_MAILBOX, WAIT_MS, NULL);
    if (t->result == 0)
        t->result = gs_stream_handshake(t->fresh, WAIT_MS);
}

/* A nowait connect of a for ma, with b at the other end; its message is still to come. */
static void connect_nowait(struct world *w, const gs_opt *client, const gs_opt *server)
{
    open_listener(w, server, GS_NO_MAILBOX);
    assert_code(gs_stream_connect(&w->a, w->at, client, w->ma, GS_NOWAIT), GS_ESELECT);
}

static void finish_nowait(struct world *w)
{
    gs_msg m;
    struct task *t = task_start(w, run_accept_and_handshake, w->listener);
    expect(w->ma, GS_MSG_CONNECT, w->a, &m);
    assert_code(m.error, 0);
    assert_ok(task_result(t));
    w->b = t->fresh;
}

static void nowait_connect_tells_by_message(struct world *w)
{
    connect_nowait(w, NULL, NULL);
    finish_nowait(w);
    expect_nothing(w->ma);
    send_text(w->a, "first");
    recv_text(w->b, "first");
    send_text(w->b, "second");
    expect_bytes(w->ma, w->a, "second");
}

static void nowait_connect_without_owner_is_badarg(struct world *w)
{
    gs_stream s;
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_connect(&s, w->at, NULL, GS_NO_MAILBOX, GS_NOWAIT), GS_EBADARG);
}

static void nowait_connect_to_nobody_tells_why_and_is_closed(struct world *w)
{
    gs_msg m;
    gs_stream_info_t info;
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_ok(gs_stream_close(w->listener));
    assert_code(gs_stream_connect(&w->a, w->at, NULL, w->ma, GS_NOWAIT), GS_ESELECT);
    expect(w->ma, GS_MSG_CONNECT, w->a, &m);
    assert_code(m.error, w->facts->refused);
    assert_code(gs_stream_info(w->a, &info), GS_ECLOSED);
    expect_nothing(w->ma);
}

static void closing_cancels_a_nowait_connect(struct world *w)
{
    connect_nowait(w, NULL, NULL);
    assert_ok(gs_stream_close(w->a));
    expect_nothing(w->ma);
}

static void end_of_the_owner_cancels_a_nowait_connect(struct world *w)
{
    gs_stream_info_t info;
    connect_nowait(w, NULL, NULL);
    assert_ok(gs_mailbox_free(w->ma));
    assert_code(gs_stream_info(w->a, &info), GS_ECLOSED);
}

static void run_connect_for(struct task *t)
{
    t->result = gs_stream_connect(&t->fresh, t->w->at, NULL, t->mailbox, t->timeout_ms);
}

/* Connects until the listener's queue has no room, or the layer's handshake waits for its accept: a connect that blocks. The
 * kernel's TCP drops what finds no room, and the connect waits too. */
static void the_owners_end_wakes_a_blocked_connect(struct world *w)
{
    enum { MOST = 40 };
    gs_stream filler[MOST];
    int n = 0;
    open_listener(w, GS_OPTS(GS_INT(BACKLOG, 1)), GS_NO_MAILBOX);
    while (n < MOST && gs_stream_connect(&filler[n], w->at, NULL, GS_NO_MAILBOX, 50) == 0)
        n++;
    struct task *t = task_new(w, run_connect_for);
    t->mailbox = w->ma;
    task_go(t);
    if (n < MOST && wait_until(task_blocks(t) || t->ended, WAIT_MS) && !t->ended) {
        uint64_t began = real_ms();
        assert_ok(gs_mailbox_free(w->ma));
        assert_code(task_result(t), GS_ECLOSED);
        assert_true(t->ended_ms - began < 2000);
    }
    gs_stream_close(w->listener);
    (void)task_result(t);
    while (n > 0)
        gs_stream_close(filler[--n]);
}

static void connect_message_comes_before_data(struct world *w)
{
    gs_msg m;
    connect_nowait(w, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_OPTS(GS_INT(PACKET, GS_PACKET_2)));
    finish_nowait(w); /* expect() takes the first message, whatever it is */
    send_text(w->b, "hello");
    expect(w->ma, GS_MSG_DATA, w->a, &m);
    assert_int_equal(m.packet.data.n, 5);
}

static void moving_a_connecting_stream_moves_its_message(struct world *w)
{
    gs_msg m;
    connect_nowait(w, NULL, NULL);
    assert_ok(gs_stream_controlling_process(w->a, w->ma, w->mb));
    struct task *t = task_start(w, run_accept_and_handshake, w->listener);
    expect(w->mb, GS_MSG_CONNECT, w->a, &m);
    assert_code(m.error, 0);
    assert_ok(task_result(t));
    w->b = t->fresh;
    send_text(w->b, "x");
    expect_bytes(w->mb, w->a, "x");
}

static void messages_carry_the_user_pointer(struct world *w)
{
    int one, two, three;
    gs_msg m;
    gs_opt of_a[] = {{.name = GS_OPT_USER, .v.ptr = &one}, {.name = GS_OPT_END}};
    gs_opt of_b[] = {{.name = GS_OPT_USER, .v.ptr = &two}, {.name = GS_OPT_END}};
    open_pair(w, BOTH_OWNED, of_a, of_b);
    send_text(w->a, "x");
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_ptr_equal(m.user, &two); /* inherited from the listener */
    of_a[0].v.ptr = &three;
    assert_ok(gs_stream_setopts(w->a, of_a));
    send_text(w->b, "y");
    expect(w->ma, GS_MSG_DATA, w->a, &m);
    assert_ptr_equal(m.user, &three);
    assert_ok(gs_stream_close(w->b));
    expect(w->ma, GS_MSG_CLOSED, w->a, &m);
    assert_ptr_equal(m.user, &three);
}

static void listening_twice_at_one_address_is_in_use(struct world *w)
{
    gs_stream again;
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_listen(&again, w->at, NULL, GS_NO_MAILBOX), -EADDRINUSE);
}

static void an_address_is_free_after_close(struct world *w)
{
    for (int i = 0; i < 3; i++) {
        open_listener(w, NULL, GS_NO_MAILBOX);
        assert_ok(gs_stream_close(w->listener));
        const char *path = strstr(w->at, "//") + 2;
        int e = gs_stream_listen(&w->listener, w->at, NULL, GS_NO_MAILBOX);
        if (e == -EADDRINUSE && w->facts->name_stays && unlink(path) == 0)
            e = gs_stream_listen(&w->listener, w->at, NULL, GS_NO_MAILBOX);
        assert_ok(e);
        assert_ok(gs_stream_close(w->listener));
    }
}

static void a_listener_is_no_connection(struct world *w)
{
    char buf[8];
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_send(w->listener, "x", 1), -ENOTCONN);
    assert_code(gs_stream_recv(w->listener, buf, sizeof buf, 0, 0), -ENOTCONN);
    assert_code(gs_stream_shutdown(w->listener, GS_SHUT_WRITE), -ENOTCONN);
    assert_code(gs_stream_handshake(w->listener, 0), -ENOTCONN);
    assert_code(gs_stream_unrecv(w->listener, "x", 1), -ENOTCONN);
}

/* A closed handle answers closed to everything, and never becomes another stream. */
static void a_stale_handle_is_closed_for_ever(struct world *w)
{
    char buf[8];
    gs_stat stat;
    gs_addr addr;
    uint64_t ref;
    const gs_peer *peer;
    open_pair(w, A_OWNED, NULL, NULL);
    gs_stream old = w->a;
    assert_ok(gs_stream_close(old));
    assert_ok(gs_stream_close(old));
    close_all(w);
    open_pair(w, A_OWNED, NULL, NULL);
    assert_true(w->a.id != old.id);
    assert_code(gs_stream_send(old, "x", 1), GS_ECLOSED);
    assert_code(gs_stream_recv(old, buf, sizeof buf, 0, 0), GS_ECLOSED);
    assert_code(gs_stream_unrecv(old, "x", 1), GS_ECLOSED);
    assert_code(gs_stream_pending(old), GS_ECLOSED);
    assert_code(gs_stream_flush(old, 0), GS_ECLOSED);
    assert_code(gs_stream_shutdown(old, GS_SHUT_BOTH), GS_ECLOSED);
    assert_code(gs_stream_getstat(old, &stat), GS_ECLOSED);
    assert_code(gs_stream_sockname(old, &addr), GS_ECLOSED);
    assert_code(gs_stream_peername(old, &addr), GS_ECLOSED);
    assert_code(gs_stream_peer(old, &peer), GS_ECLOSED);
    assert_code(gs_stream_setopts(old, GS_OPTS(GS_INT(PACKET, 4))), GS_ECLOSED);
    assert_code(gs_stream_monitor(old, w->ma, &ref), GS_ECLOSED);
    assert_code(gs_stream_controlling_process(old, w->ma, w->mb), GS_ECLOSED);
    assert_code(gs_stream_handshake(old, 0), GS_ECLOSED);
    assert_code(gs_stream_accept(old, &(gs_stream){0}, w->ma, 0, NULL), GS_ECLOSED);
    assert_false(gs_stream_secure(old));
    assert_ok(gs_stream_close(old));
    send_text(w->a, "alive");
    recv_text(w->b, "alive");
}

CASES(open) = {
    CASE(both_ways),
    CASE(stream_with_owner_is_active),
    CASE(stream_without_owner_is_passive),
    CASE(connect_to_nobody_is_refused),
    CASE(connect_for_a_dead_mailbox_is_badarg),
    CASE(nowait_connect_tells_by_message),
    CASE(nowait_connect_without_owner_is_badarg),
    CASE(nowait_connect_to_nobody_tells_why_and_is_closed),
    CASE(closing_cancels_a_nowait_connect),
    CASE(end_of_the_owner_cancels_a_nowait_connect),
    CASE(the_owners_end_wakes_a_blocked_connect),
    CASE(connect_message_comes_before_data),
    CASE(moving_a_connecting_stream_moves_its_message),
    CASE(messages_carry_the_user_pointer),
    CASE(listening_twice_at_one_address_is_in_use),
    CASE(an_address_is_free_after_close),
    CASE(a_listener_is_no_connection),
    CASE(a_stale_handle_is_closed_for_ever),
    {0},
};
