/* accept.c: connections from a listener: blocking, nowait, and as messages. */
#include "suite.h"

static void accept_times_out_and_never_early(struct world *w)
{
    static const int timeouts[] = {0, 1, 40};
    open_listener(w, NULL, GS_NO_MAILBOX);
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        uint64_t began = real_ms();
        assert_code(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, timeouts[i], NULL), GS_ETIMEOUT);
        assert_true(real_ms() + 1 >= began + (uint64_t)timeouts[i]);
    }
}

/* A task that connects to w->at and, where a layer has one, does its handshake. */
static void run_client(struct task *t)
{
    t->result = gs_stream_connect(&t->fresh, t->w->at, t->opts, t->mailbox, WAIT_MS);
}

static struct task *client(struct world *w) { return task_start(w, run_client, GS_NO_STREAM); }

/* The accepted end of a client is ready; both are closed. */
static void exchange_and_close(struct task *client, gs_stream server)
{
    assert_ok(gs_stream_handshake(server, WAIT_MS));
    assert_ok(task_result(client));
    send_text(client->fresh, "hi");
    recv_text(server, "hi");
    gs_stream_close(server);
    gs_stream_close(client->fresh);
}

static void a_timed_out_accept_leaves_the_listener_usable(struct world *w)
{
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, 5, NULL), GS_ETIMEOUT);
    struct task *c = client(w);
    assert_ok(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, WAIT_MS, NULL));
    exchange_and_close(c, w->b);
}

static void run_accept_handshake(struct task *t)
{
    run_accept(t);
    if (t->result == 0)
        t->result = gs_stream_handshake(t->fresh, WAIT_MS);
}

static void several_blocked_acceptors_get_one_each(struct world *w)
{
    enum { N = 5 };
    struct task *acceptor[N], *c[N];
    open_listener(w, NULL, GS_NO_MAILBOX);
    for (int i = 0; i < N; i++)
        acceptor[i] = task_start(w, run_accept_handshake, w->listener);
    for (int i = 0; i < N; i++)
        assert_blocks(acceptor[i]);
    for (int i = 0; i < N; i++)
        c[i] = client(w);
    for (int i = 0; i < N; i++) {
        assert_ok(task_result(acceptor[i]));
        assert_ok(task_result(c[i]));
        for (int j = 0; j < i; j++)
            assert_true(acceptor[i]->fresh.id != acceptor[j]->fresh.id);
        send_text(acceptor[i]->fresh, "x");
    }
    for (int i = 0; i < N; i++) {
        recv_text(c[i]->fresh, "x");
        gs_stream_close(c[i]->fresh);
        gs_stream_close(acceptor[i]->fresh);
    }
}

static void an_acceptor_that_times_out_hinders_no_other(struct world *w)
{
    open_listener(w, NULL, GS_NO_MAILBOX);
    struct task *first = task_start(w, run_accept_handshake, w->listener);
    struct task *brief = task_new(w, run_accept_handshake);
    brief->stream = w->listener;
    brief->timeout_ms = 20;
    task_go(brief);
    struct task *last = task_start(w, run_accept_handshake, w->listener);
    assert_code(task_result(brief), GS_ETIMEOUT);
    assert_blocks(first);
    assert_blocks(last);
    struct task *c1 = client(w), *c2 = client(w);
    assert_ok(task_result(first));
    assert_ok(task_result(last));
    assert_ok(task_result(c1));
    assert_ok(task_result(c2));
    gs_stream_close(first->fresh);
    gs_stream_close(last->fresh);
    gs_stream_close(c1->fresh);
    gs_stream_close(c2->fresh);
}

static void closing_the_listener_wakes_its_acceptors(struct world *w)
{
    for (int tries = 5, in_time = 0; tries-- > 0 && !in_time;) {
        open_listener(w, NULL, GS_NO_MAILBOX);
        struct task *one = task_start(w, run_accept, w->listener), *two = task_start(w, run_accept, w->listener);
        assert_blocks(one);
        assert_blocks(two);
        uint64_t began = real_ms();
        assert_ok(gs_stream_close(w->listener));
        assert_code(task_result(one), GS_ECLOSED);
        assert_code(task_result(two), GS_ECLOSED);
        uint64_t took = (one->ended_ms > two->ended_ms ? one->ended_ms : two->ended_ms) - began;
        in_time = took <= WAKE_MS;
        assert_true(assert_wakes_in_time(tries, took));
    }
}

static void accept_for_a_dead_mailbox_is_badarg_and_takes_nothing(struct world *w)
{
    gs_mailbox gone;
    assert_ok(gs_mailbox_new(&gone));
    assert_ok(gs_mailbox_free(gone));
    open_listener(w, NULL, GS_NO_MAILBOX);
    struct task *c = client(w);
    assert_code(gs_stream_accept(w->listener, &w->b, gone, WAIT_MS, NULL), GS_EBADARG);
    assert_ok(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, WAIT_MS, NULL));
    exchange_and_close(c, w->b);
}

static void accept_on_a_connection_is_einval(struct world *w)
{
    gs_stream s;
    open_pair(w, NOBODY, NULL, NULL);
    assert_code(gs_stream_accept(w->a, &s, GS_NO_MAILBOX, 0, NULL), -EINVAL);
}

/* ---- nowait ---- */

static void nowait_accept_tells_by_message(struct world *w)
{
    gs_msg m;
    uint64_t ref = 0;
    gs_stream none = GS_NO_STREAM;
    open_listener(w, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->mb);
    assert_code(gs_stream_accept(w->listener, &none, w->mb, GS_NOWAIT, &ref), GS_ESELECT);
    assert_true(ref != 0);
    struct task *c = client(w);
    expect(w->mb, GS_MSG_ACCEPT, w->listener, &m);
    assert_code(m.error, 0);
    assert_true(m.ref == ref);
    gs_stream_info_t info;
    assert_ok(gs_stream_info(m.fresh, &info));
    assert_true(info.owner.id == w->mb.id);
    w->b = m.fresh;
    exchange_and_close(c, w->b);
    expect_nothing(w->mb);
}

static void nowait_accepts_are_served_in_order(struct world *w)
{
    enum { N = 3 };
    gs_msg m;
    uint64_t ref[N];
    gs_stream none;
    struct task *c[N];
    open_listener(w, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->mb);
    for (int i = 0; i < N; i++)
        assert_code(gs_stream_accept(w->listener, &none, w->mb, GS_NOWAIT, &ref[i]), GS_ESELECT);
    for (int i = 0; i < N; i++)
        c[i] = client(w);
    gs_stream fresh[N];
    for (int i = 0; i < N; i++) {
        expect(w->mb, GS_MSG_ACCEPT, w->listener, &m);
        assert_code(m.error, 0);
        assert_true(m.ref == ref[i]);
        fresh[i] = m.fresh;
        assert_ok(gs_stream_handshake(fresh[i], WAIT_MS));
    }
    for (int i = 0; i < N; i++) {
        assert_ok(task_result(c[i]));
        gs_stream_close(fresh[i]);
        gs_stream_close(c[i]->fresh);
    }
}

static void a_cancelled_accept_sends_no_message(struct world *w)
{
    uint64_t ref, other;
    gs_stream none;
    gs_msg m;
    open_listener(w, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->mb);
    assert_code(gs_stream_accept(w->listener, &none, w->mb, GS_NOWAIT, &ref), GS_ESELECT);
    assert_code(gs_stream_accept(w->listener, &none, w->mb, GS_NOWAIT, &other), GS_ESELECT);
    assert_code(gs_stream_cancel(w->listener, ref), 0);
    assert_code(gs_stream_cancel(w->listener, ref), GS_EINVALID);
    assert_code(gs_stream_cancel(w->listener, gs_make_ref()), GS_EINVALID);
    struct task *c1 = client(w);
    expect(w->mb, GS_MSG_ACCEPT, w->listener, &m);
    assert_true(m.ref == other);
    assert_code(gs_stream_cancel(w->listener, other), GS_EINVALID);
    exchange_and_close(c1, m.fresh);
    struct task *c2 = client(w);
    expect_nothing(w->mb);
    assert_ok(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, WAIT_MS, NULL));
    exchange_and_close(c2, w->b);
}

static void closing_the_listener_aborts_nowait_accepts(struct world *w)
{
    uint64_t ref[2];
    gs_stream none;
    gs_msg m;
    open_listener(w, NULL, w->mb);
    for (int i = 0; i < 2; i++)
        assert_code(gs_stream_accept(w->listener, &none, w->mb, GS_NOWAIT, &ref[i]), GS_ESELECT);
    assert_ok(gs_stream_close(w->listener));
    for (int i = 0; i < 2; i++) {
        expect(w->mb, GS_MSG_ABORT, w->listener, &m);
        assert_true(m.ref == ref[i]);
        assert_code(m.error, GS_ECLOSED);
    }
    expect_nothing(w->mb);
}

static void nowait_accept_may_name_another_mailbox(struct world *w)
{
    uint64_t ref;
    gs_stream none;
    gs_msg m;
    open_listener(w, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->mb);
    if (!w->facts->foreign_accept) {
        assert_code(gs_stream_accept(w->listener, &none, w->ma, GS_NOWAIT, &ref), -ENOTSUP);
        return;
    }
    assert_code(gs_stream_accept(w->listener, &none, w->ma, GS_NOWAIT, &ref), GS_ESELECT);
    struct task *c = client(w);
    expect(w->ma, GS_MSG_ACCEPT, w->listener, &m);
    assert_true(m.ref == ref);
    exchange_and_close(c, m.fresh);
    expect_nothing(w->mb);
}

static void a_mailbox_that_ends_takes_its_nowait_accepts_along(struct world *w)
{
    uint64_t ref;
    gs_stream none;
    gs_mailbox brief;
    if (!w->facts->foreign_accept)
        return;
    assert_ok(gs_mailbox_new(&brief));
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_accept(w->listener, &none, brief, GS_NOWAIT, &ref), GS_ESELECT);
    assert_ok(gs_mailbox_free(brief));
    assert_code(gs_stream_cancel(w->listener, ref), GS_EINVALID);
    struct task *c = client(w);
    assert_ok(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, WAIT_MS, NULL));
    exchange_and_close(c, w->b);
}

static void nowait_accept_without_owner_is_badarg(struct world *w)
{
    gs_stream none;
    open_listener(w, NULL, w->mb);
    assert_code(gs_stream_accept(w->listener, &none, GS_NO_MAILBOX, GS_NOWAIT, NULL), GS_EBADARG);
}

/* ---- messages ---- */

/* `n` clients come; how many accept messages follow before it is quiet. Streams are closed. */
static int accepts_of(struct world *w, int n)
{
    struct task *c[8];
    gs_stream fresh[8];
    gs_msg m;
    int got = 0;
    for (int i = 0; i < n; i++)
        c[i] = client(w);
    while (got < n && gs_receive(w->mb, &m, got ? 4 * QUIET_MS : WAIT_MS) == 0) {
        assert_int_equal(m.kind, GS_MSG_ACCEPT);
        assert_code(m.error, 0);
        assert_true(m.stream.id == w->listener.id);
        assert_int_equal(m.ref, 0);
        fresh[got++] = m.fresh;
        assert_ok(gs_stream_handshake(m.fresh, WAIT_MS));
    }
    for (int i = 0; i < got; i++)
        gs_stream_close(fresh[i]);
    if (got < n) { /* the rest is waiting still: taken by hand */
        assert_int_equal(GET(w->listener, ACCEPT), GS_ACTIVE_FALSE);
        for (int i = got; i < n; i++) {
            assert_ok(gs_stream_accept(w->listener, &fresh[i], GS_NO_MAILBOX, WAIT_MS, NULL));
            assert_ok(gs_stream_handshake(fresh[i], WAIT_MS));
            gs_stream_close(fresh[i]);
        }
    }
    for (int i = 0; i < n; i++) {
        assert_ok(task_result(c[i]));
        gs_stream_close(c[i]->fresh);
    }
    return got;
}

static const gs_opt *accept_mode(int mode, gs_opt o[3])
{
    o[0] = (gs_opt)GS_INT(ACCEPT, mode);
    o[1] = (gs_opt)GS_INT(ACTIVE, GS_ACTIVE_FALSE);
    o[2] = (gs_opt){.name = GS_OPT_END};
    return o;
}

static void accept_true_delivers_every_connection(struct world *w)
{
    gs_opt o[3];
    open_listener(w, accept_mode(GS_ACTIVE_TRUE, o), w->mb);
    assert_int_equal(accepts_of(w, 4), 4);
    assert_int_equal(GET(w->listener, ACCEPT), GS_ACTIVE_TRUE);
}

static void accept_once_delivers_one(struct world *w)
{
    gs_opt o[3];
    open_listener(w, accept_mode(GS_ACTIVE_ONCE, o), w->mb);
    assert_int_equal(accepts_of(w, 3), 1);
    SET(w->listener, ACCEPT, GS_ACTIVE_ONCE);
    assert_int_equal(accepts_of(w, 2), 1);
}

static void a_connection_that_waits_is_delivered_when_accept_is_set(struct world *w)
{
    gs_msg m;
    gs_opt o[3];
    open_listener(w, accept_mode(GS_ACTIVE_FALSE, o), w->mb);
    struct task *c = client(w);
    expect_nothing(w->mb);
    SET(w->listener, ACCEPT, GS_ACTIVE_ONCE);
    expect(w->mb, GS_MSG_ACCEPT, w->listener, &m);
    exchange_and_close(c, m.fresh);
}

/* The listener finds its owner when a connection waits already. */
static void a_connection_that_waits_is_delivered_to_a_new_owner(struct world *w)
{
    gs_msg m;
    gs_opt o[3];
    open_listener(w, accept_mode(GS_ACTIVE_TRUE, o), w->ma);
    struct task *c = client(w);
    (void)wait_until(c->ended, 20); /* the base's connection is there by now, most times */
    assert_ok(gs_stream_controlling_process(w->listener, w->ma, w->mb));
    expect(w->mb, GS_MSG_ACCEPT, w->listener, &m);
    exchange_and_close(c, m.fresh);
}

static void accept_n_delivers_n(struct world *w)
{
    gs_opt o[3];
    open_listener(w, accept_mode(2, o), w->mb);
    assert_int_equal(accepts_of(w, 4), 2);
}

static void accept_call_on_a_delivering_listener_is_einval(struct world *w)
{
    gs_opt o[3];
    open_listener(w, accept_mode(GS_ACTIVE_TRUE, o), w->mb);
    assert_code(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, 0, NULL), -EINVAL);
    assert_code(gs_stream_accept(w->listener, &w->b, w->mb, GS_NOWAIT, NULL), -EINVAL);
    SET(w->listener, ACCEPT, GS_ACTIVE_FALSE);
    assert_code(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, 0, NULL), GS_ETIMEOUT);
}

static void accept_messages_need_an_owner(struct world *w)
{
    gs_opt o[3];
    new_address(w);
    assert_code(gs_stream_listen(&w->listener, w->at, accept_mode(GS_ACTIVE_TRUE, o), GS_NO_MAILBOX), -EINVAL);
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_setopts(w->listener, accept_mode(GS_ACTIVE_ONCE, o)), -EINVAL);
}

static void accepted_streams_inherit_the_listeners_options(struct world *w)
{
    open_pair(w, B_OWNED, NULL,
              GS_OPTS(GS_INT(PACKET, GS_PACKET_2), GS_INT(ACTIVE, 7), GS_INT(HEADER, 1), GS_INT(SEND_TIMEOUT, 1234),
                      GS_INT(HIGH_WATERMARK, 50000), GS_INT(EXIT_ON_CLOSE, 0)));
    assert_int_equal(GET(w->b, PACKET), GS_PACKET_2);
    assert_int_equal(GET(w->b, ACTIVE), 7);
    assert_int_equal(GET(w->b, HEADER), 1);
    assert_int_equal(GET(w->b, SEND_TIMEOUT), 1234);
    assert_int_equal(GET(w->b, HIGH_WATERMARK), 50000);
    assert_int_equal(GET(w->b, EXIT_ON_CLOSE), 0);
    SET(w->b, PACKET, GS_PACKET_4); /* its own from now on */
    assert_int_equal(GET(w->listener, PACKET), GS_PACKET_2);
}

static void closing_the_listener_in_its_message_leaves_the_connection(struct world *w)
{
    gs_msg m;
    gs_opt o[3];
    open_listener(w, accept_mode(GS_ACTIVE_TRUE, o), w->mb);
    struct task *c = client(w);
    expect(w->mb, GS_MSG_ACCEPT, w->listener, &m);
    assert_ok(gs_stream_close(w->listener));
    exchange_and_close(c, m.fresh);
    expect_nothing(w->mb);
}

/* Who connected and was not accepted sees the listener's end as its own. */
static void connections_in_the_queue_end_with_the_listener(struct world *w)
{
    char buf[4];
    if (w->facts->layered)
        return; /* its connect waits for the layer's handshake */
    open_listener(w, NULL, GS_NO_MAILBOX);
    w->a = open_client(w, NULL, GS_NO_MAILBOX);
    assert_ok(gs_stream_close(w->listener));
    assert_code(gs_stream_recv(w->a, buf, sizeof buf, 0, WAIT_MS), GS_ECLOSED);
}

static void a_nowait_accept_of_a_queued_connection_still_tells_by_message(struct world *w)
{
    gs_msg m;
    gs_stream none;
    uint64_t ref;
    open_listener(w, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->mb);
    struct task *c = client(w);
    (void)wait_until(c->ended, 20);
    assert_code(gs_stream_accept(w->listener, &none, w->mb, GS_NOWAIT, &ref), GS_ESELECT);
    assert_ok(gs_receive_ref(w->mb, ref, &m, WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_ACCEPT);
    assert_code(m.error, 0);
    exchange_and_close(c, m.fresh);
}

static void moving_a_listener_moves_its_messages(struct world *w)
{
    gs_opt o[3];
    open_listener(w, accept_mode(GS_ACTIVE_TRUE, o), w->ma);
    assert_ok(gs_stream_controlling_process(w->listener, w->ma, w->mb));
    assert_int_equal(accepts_of(w, 2), 2);
    expect_nothing(w->ma);
}

static void run_receive_ref(struct task *t) { t->result = gs_receive_ref(t->mailbox, t->ref, &t->msg, WAIT_MS); }

static void a_selective_receive_of_the_second_accept_wakes(struct world *w)
{
    uint64_t ref[2];
    gs_stream none;
    gs_msg m;
    open_listener(w, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->mb);
    for (int i = 0; i < 2; i++)
        assert_code(gs_stream_accept(w->listener, &none, w->mb, GS_NOWAIT, &ref[i]), GS_ESELECT);
    struct task *c1 = client(w);
    assert_code(gs_receive_ref(w->mb, ref[1], &m, QUIET_MS), GS_ETIMEOUT); /* the first one's took it */
    struct task *t = task_new(w, run_receive_ref);
    t->mailbox = w->mb;
    t->ref = ref[1];
    task_go(t);
    assert_blocks(t);
    struct task *c2 = client(w);
    assert_code(task_result(t), 0);
    assert_int_equal(t->msg.kind, GS_MSG_ACCEPT);
    gs_stream second = t->msg.fresh;
    expect(w->mb, GS_MSG_ACCEPT, w->listener, &m);
    assert_true(m.ref == ref[0]);
    exchange_and_close(c1, m.fresh);
    exchange_and_close(c2, second);
}

static void moving_a_listener_keeps_or_aborts_nowait_accepts(struct world *w)
{
    uint64_t old, fresh;
    gs_stream none;
    gs_msg m;
    open_listener(w, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->ma);
    assert_code(gs_stream_accept(w->listener, &none, w->ma, GS_NOWAIT, &old), GS_ESELECT);
    if (!w->facts->foreign_accept) { /* only the owner's can be pending */
        assert_ok(gs_stream_controlling_process(w->listener, w->ma, w->mb));
        expect(w->ma, GS_MSG_ABORT, w->listener, &m);
        assert_true(m.ref == old);
        assert_code(m.error, GS_EABORTED);
        return;
    }
    assert_code(gs_stream_accept(w->listener, &none, w->mb, GS_NOWAIT, &fresh), GS_ESELECT);
    assert_ok(gs_stream_controlling_process(w->listener, w->ma, w->mb));
    struct task *c1 = client(w);
    expect(w->ma, GS_MSG_ACCEPT, w->listener, &m);
    assert_true(m.ref == old);
    exchange_and_close(c1, m.fresh);
    struct task *c2 = client(w);
    expect(w->mb, GS_MSG_ACCEPT, w->listener, &m);
    assert_true(m.ref == fresh);
    exchange_and_close(c2, m.fresh);
}

CASES(accept) = {
    CASE(accept_times_out_and_never_early),
    CASE(a_timed_out_accept_leaves_the_listener_usable),
    CASE(several_blocked_acceptors_get_one_each),
    CASE(an_acceptor_that_times_out_hinders_no_other),
    CASE(closing_the_listener_wakes_its_acceptors),
    CASE(accept_for_a_dead_mailbox_is_badarg_and_takes_nothing),
    CASE(accept_on_a_connection_is_einval),
    CASE(nowait_accept_tells_by_message),
    CASE(nowait_accepts_are_served_in_order),
    CASE(a_cancelled_accept_sends_no_message),
    CASE(closing_the_listener_aborts_nowait_accepts),
    CASE(nowait_accept_may_name_another_mailbox),
    CASE(a_mailbox_that_ends_takes_its_nowait_accepts_along),
    CASE(nowait_accept_without_owner_is_badarg),
    CASE(accept_true_delivers_every_connection),
    CASE(accept_once_delivers_one),
    CASE(a_connection_that_waits_is_delivered_when_accept_is_set),
    CASE(a_connection_that_waits_is_delivered_to_a_new_owner),
    CASE(accept_n_delivers_n),
    CASE(accept_call_on_a_delivering_listener_is_einval),
    CASE(accept_messages_need_an_owner),
    CASE(accepted_streams_inherit_the_listeners_options),
    CASE(closing_the_listener_in_its_message_leaves_the_connection),
    CASE(connections_in_the_queue_end_with_the_listener),
    CASE(a_nowait_accept_of_a_queued_connection_still_tells_by_message),
    CASE(moving_a_listener_moves_its_messages),
    CASE(a_selective_receive_of_the_second_accept_wakes),
    CASE(moving_a_listener_keeps_or_aborts_nowait_accepts),
    {0},
};
