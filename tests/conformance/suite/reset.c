/* reset.c: linger 0, and what show_econnreset shows of a reset: closed or econnreset. */
#include "suite.h"

static gs_opt linger(bool on, int seconds)
{
    return (gs_opt){.name = GS_OPT_LINGER, .v.linger = {.on = on, .seconds = seconds}};
}

/* b shows resets or not; a closes with linger 0 (a reset, where the transport has such). */
static void reset_by_a(struct world *w, unsigned owned, bool show, bool active)
{
    open_pair(w, owned, (const gs_opt[]){linger(true, 0), {.name = GS_OPT_END}},
              GS_OPTS(GS_INT(SHOW_ECONNRESET, show), GS_INT(ACTIVE, active ? GS_ACTIVE_TRUE : GS_ACTIVE_FALSE)));
    assert_ok(gs_stream_close(w->a));
}

/* What comes before closed: nothing, the reset where it is shown and there is such, or what a secure transport always tells. */
static int told(const struct world *w, bool show)
{
    return w->facts->secure ? GS_ETRUNCATED : show && w->facts->resets ? -ECONNRESET : 0;
}

static void recv_tells_a_reset_as_shown(struct world *w)
{
    char buf[8];
    for (int show = 0; show < 2; show++) {
        reset_by_a(w, NOBODY, show, false);
        int expected = told(w, show) ? told(w, show) : GS_ECLOSED;
        assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), expected);
        assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), GS_ECLOSED);
        close_all(w);
    }
}

static void messages_tell_a_reset_as_shown(struct world *w)
{
    gs_msg m;
    for (int show = 0; show < 2; show++) {
        reset_by_a(w, B_OWNED, show, true);
        if (told(w, show)) {
            expect(w->mb, GS_MSG_ERROR, w->b, &m);
            assert_code(m.error, told(w, show));
        }
        expect(w->mb, GS_MSG_CLOSED, w->b, &m);
        expect_nothing(w->mb);
        close_all(w);
    }
}

static void once_tells_a_reset_as_shown(struct world *w)
{
    gs_msg m;
    reset_by_a(w, B_OWNED, true, false);
    expect_nothing(w->mb);
    SET(w->b, ACTIVE, GS_ACTIVE_ONCE);
    if (told(w, true)) {
        expect(w->mb, GS_MSG_ERROR, w->b, &m);
        assert_code(m.error, told(w, true));
    }
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
}

static void send_tells_a_reset_as_shown(struct world *w)
{
    for (int show = 0; show < 2; show++) {
        reset_by_a(w, NOBODY, show, false);
        int e = 0;
        assert_until((e = gs_stream_send(w->b, "x", 1)) < 0, WAIT_MS);
        if (w->facts->resets)
            assert_code(e, show ? -ECONNRESET : GS_ECLOSED);
        else
            assert_true(e == GS_ECLOSED || (show && e == -ECONNRESET));
        close_all(w);
    }
}

static void a_plain_close_is_no_reset(struct world *w)
{
    gs_msg m;
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(SHOW_ECONNRESET, 1)));
    send_text(w->a, "bye");
    assert_ok(gs_stream_close(w->a));
    expect_bytes(w->mb, w->b, "bye");
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
}

/* Output that is still queued is thrown away by linger 0. */
static void linger_0_drops_the_queue(struct world *w)
{
    gs_opt client[] = {GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(SEND_TIMEOUT, GS_NOWAIT), linger(true, 0), {.name = GS_OPT_END}};
    open_pair(w, A_OWNED, client, NULL);
    size_t sent = fill_until_eagain(w, w->a, 3, 0);
    assert_ok(gs_stream_close(w->a));
    struct task *t = task_new(w, run_drain);
    t->stream = w->b;
    t->seed = 3;
    task_go(t);
    assert_code(task_result(t), w->facts->secure ? GS_ETRUNCATED : GS_ECLOSED);
    assert_true(t->n < sent);
}

static void linger_can_be_asked_for(struct world *w)
{
    open_pair(w, NOBODY, (const gs_opt[]){linger(true, 5), {.name = GS_OPT_END}}, NULL);
    gs_opt o[] = {{.name = GS_OPT_LINGER}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_getopts(w->a, o));
    assert_true(o[0].v.linger.on);
    assert_int_equal(o[0].v.linger.seconds, 5);
    assert_ok(gs_stream_getopts(w->b, o));
    assert_false(o[0].v.linger.on);
}

CASES(reset) = {
    CASE(recv_tells_a_reset_as_shown),
    CASE(messages_tell_a_reset_as_shown),
    CASE(once_tells_a_reset_as_shown),
    CASE(send_tells_a_reset_as_shown),
    CASE(a_plain_close_is_no_reset),
    CASE(linger_0_drops_the_queue),
    CASE(linger_can_be_asked_for),
    {0},
};
