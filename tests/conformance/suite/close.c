/* close.c: the end of a stream: close, half close, exit_on_close, monitors. */
#include <fcntl.h>
#include <unistd.h>

#include "suite.h"

static void data_before_close_arrives(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "all of it");
    assert_ok(gs_stream_close(w->a));
    recv_text(w->b, "all of it");
    recv_end(w->b);
}

static void half_close_lets_the_answer_through(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "question");
    if (!w->facts->half_close) {
        assert_code(gs_stream_shutdown(w->a, GS_SHUT_WRITE), -ENOTSUP);
        return;
    }
    assert_ok(gs_stream_shutdown(w->a, GS_SHUT_WRITE));
    assert_code(gs_stream_send(w->a, "x", 1), GS_ECLOSED);
    SET(w->b, EXIT_ON_CLOSE, 0);
    recv_text(w->b, "question");
    recv_end(w->b);
    send_text(w->b, "answer");
    recv_text(w->a, "answer");
    assert_ok(gs_stream_close(w->b));
    recv_end(w->a);
}

static void half_close_between_mailboxes(struct world *w)
{
    gs_msg m;
    if (!w->facts->half_close)
        return;
    open_pair(w, BOTH_OWNED, NULL, GS_OPTS(GS_INT(EXIT_ON_CLOSE, 0)));
    send_text(w->a, "question");
    assert_ok(gs_stream_shutdown(w->a, GS_SHUT_WRITE));
    expect_bytes(w->mb, w->b, "question");
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
    gs_stream_info_t info;
    assert_ok(gs_stream_info(w->b, &info));
    assert_int_equal(info.state, GS_ENDED);
    send_text(w->b, "answer");
    expect_bytes(w->ma, w->a, "answer");
    expect_nothing(w->mb); /* closed is told once */
    assert_ok(gs_stream_close(w->b));
    expect(w->ma, GS_MSG_CLOSED, w->a, &m);
}

static void the_peers_end_closes_unless_exit_on_close_is_false(struct world *w)
{
    gs_msg m;
    char buf[4];
    open_pair(w, B_OWNED, NULL, NULL);
    assert_ok(gs_stream_close(w->a));
    expect(w->mb, GS_MSG_CLOSED, w->b, &m);
    assert_code(gs_stream_send(w->b, "x", 1), GS_ECLOSED);
    assert_code(gs_stream_setopts(w->b, NULL), GS_ECLOSED);
    close_all(w);

    open_pair(w, NOBODY, NULL, NULL);
    assert_ok(gs_stream_close(w->a));
    recv_end(w->b);
    assert_code(gs_stream_setopts(w->b, NULL), GS_ECLOSED);
    close_all(w);

    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(EXIT_ON_CLOSE, 0)));
    assert_ok(gs_stream_close(w->a));
    recv_end(w->b);
    assert_ok(gs_stream_setopts(w->b, NULL));
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), GS_ECLOSED);
}

static void shutdown_of_reading_ends_recv(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    struct task *t = task_start(w, run_recv, w->b);
    assert_blocks(t);
    int e = gs_stream_shutdown(w->b, GS_SHUT_READ);
    if (e == -ENOTSUP) {
        assert_ok(gs_stream_close(w->b));
        assert_code(task_result(t), GS_ECLOSED);
        return;
    }
    assert_ok(e);
    assert_code(task_result(t), GS_ECLOSED);
}

static void shutdown_both_ends_both_ways(struct world *w)
{
    if (!w->facts->half_close)
        return;
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "out");
    assert_ok(gs_stream_shutdown(w->a, GS_SHUT_BOTH));
    assert_code(gs_stream_send(w->a, "x", 1), GS_ECLOSED);
    recv_end(w->a);
    recv_text(w->b, "out");
    recv_end(w->b);
}

static void a_careless_shutdown_is_badarg(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    assert_code(gs_stream_shutdown(w->a, (gs_how)7), GS_EBADARG);
    assert_code(gs_stream_shutdown(GS_NO_STREAM, GS_SHUT_WRITE), GS_EBADARG);
    assert_code(gs_stream_close(GS_NO_STREAM), GS_EBADARG);
    send_text(w->a, "alive");
    recv_text(w->b, "alive");
}

static void closing_wakes_a_waiting_recv(struct world *w)
{
    for (int tries = 5, in_time = 0; tries-- > 0 && !in_time;) {
        open_pair(w, NOBODY, NULL, NULL);
        struct task *t = task_start(w, run_recv, w->b);
        assert_blocks(t);
        uint64_t began = real_ms();
        assert_ok(gs_stream_close(w->b));
        assert_code(task_result(t), GS_ECLOSED);
        in_time = t->ended_ms - began <= WAKE_MS;
        assert_true(assert_wakes_in_time(tries, t->ended_ms - began));
        close_all(w);
    }
}

static void the_peers_close_wakes_a_waiting_recv(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    struct task *t = task_start(w, run_recv, w->b);
    assert_blocks(t);
    assert_ok(gs_stream_close(w->a));
    assert_code(task_result(t), GS_ECLOSED);
}

static void the_end_of_a_mailbox_closes_what_it_owns(struct world *w)
{
    gs_stream_info_t info;
    open_pair(w, BOTH_OWNED, NULL, NULL);
    gs_stream second_listener;
    struct world other = {.on = w->on, .facts = w->facts};
    open_listener(&other, NULL, w->mb);
    second_listener = other.listener;
    uint64_t began = real_ms();
    assert_ok(gs_mailbox_free(w->mb));
    assert_true(real_ms() - began < 1000);
    assert_code(gs_stream_info(w->b, &info), GS_ECLOSED);
    assert_code(gs_stream_info(second_listener, &info), GS_ECLOSED);
    gs_msg m;
    expect(w->ma, GS_MSG_CLOSED, w->a, &m);
    assert_code(gs_mailbox_free(w->mb), GS_ECLOSED);
    assert_code(gs_receive(w->mb, &m, 0), GS_ECLOSED);
}

/* ---- monitors ---- */

static void a_monitor_tells_when_the_stream_closes(struct world *w)
{
    gs_msg m;
    uint64_t one, two, three;
    open_pair(w, B_OWNED, NULL, NULL);
    assert_ok(gs_stream_monitor(w->b, w->ma, &one));
    assert_ok(gs_stream_monitor(w->b, w->ma, &two));
    assert_ok(gs_stream_monitor(w->listener, w->ma, &three));
    assert_true(one != two);
    expect_nothing(w->ma);
    assert_ok(gs_stream_close(w->b));
    uint64_t got[2];
    for (int i = 0; i < 2; i++) {
        expect(w->ma, GS_MSG_DOWN, w->b, &m);
        got[i] = m.ref;
    }
    assert_true((got[0] == one && got[1] == two) || (got[0] == two && got[1] == one));
    assert_ok(gs_stream_close(w->listener));
    expect(w->ma, GS_MSG_DOWN, w->listener, &m);
    assert_true(m.ref == three);
    expect_nothing(w->ma);
}

static void a_monitor_tells_of_the_peers_end_and_the_owners(struct world *w)
{
    gs_msg m;
    uint64_t ref;
    open_pair(w, B_OWNED, NULL, NULL);
    assert_ok(gs_stream_monitor(w->b, w->ma, &ref));
    assert_ok(gs_stream_close(w->a));
    expect(w->mb, GS_MSG_CLOSED, w->b, &m); /* exit_on_close closes it for good */
    expect(w->ma, GS_MSG_DOWN, w->b, &m);
    close_all(w);
    open_pair(w, B_OWNED, NULL, NULL);
    assert_ok(gs_stream_monitor(w->b, w->ma, &ref));
    assert_ok(gs_mailbox_free(w->mb));
    expect(w->ma, GS_MSG_DOWN, w->b, &m);
    assert_true(m.ref == ref);
}

static void a_cancelled_monitor_is_silent(struct world *w)
{
    gs_msg m;
    uint64_t ref, other;
    open_pair(w, NOBODY, NULL, NULL);
    assert_ok(gs_stream_monitor(w->b, w->ma, &ref));
    assert_ok(gs_stream_monitor(w->b, w->ma, &other));
    assert_ok(gs_stream_cancel_monitor(w->b, ref));
    assert_code(gs_stream_cancel_monitor(w->b, ref), GS_EINVALID);
    assert_code(gs_stream_cancel_monitor(w->b, gs_make_ref()), GS_EINVALID);
    assert_ok(gs_stream_close(w->b));
    expect(w->ma, GS_MSG_DOWN, w->b, &m);
    assert_true(m.ref == other);
    assert_code(gs_stream_cancel_monitor(w->b, other), GS_EINVALID);
    expect_nothing(w->ma);
    assert_code(gs_stream_monitor(w->a, GS_NO_MAILBOX, &ref), GS_EBADARG);
    assert_code(gs_stream_monitor(w->a, w->ma, NULL), GS_EBADARG);
}

static void a_monitor_of_a_dead_mailbox_does_no_harm(struct world *w)
{
    gs_mailbox brief;
    uint64_t ref;
    open_pair(w, NOBODY, NULL, NULL);
    assert_ok(gs_mailbox_new(&brief));
    assert_ok(gs_stream_monitor(w->b, brief, &ref));
    assert_ok(gs_mailbox_free(brief));
    assert_ok(gs_stream_close(w->b));
    recv_end(w->a);
}

/* ---- import and export ---- */

static void export_gives_the_descriptor_and_what_was_received(struct world *w)
{
    uint8_t *rest = NULL;
    size_t n = 0;
    open_pair(w, NOBODY, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)), GS_OPTS(GS_INT(PACKET, GS_PACKET_1)));
    if (!w->facts->kernel || w->facts->layered) {
        assert_code(gs_stream_export(w->b, &rest, &n), -ENOTSUP);
        send_text(w->a, "alive");
        recv_one(w->b, "alive");
        return;
    }
    send_text(w->a, "one");
    recv_one(w->b, "one");
    assert_ok(gs_stream_unrecv(w->b, "\3two", 4));
    long fd = assert_ok(gs_stream_export(w->b, &rest, &n));
    assert_int_equal(n, 4);
    assert_memory_equal(rest, "\3two", 4);
    assert_code(gs_stream_send(w->b, "x", 1), GS_ECLOSED);
    send_text(w->a, "three");
    assert_ok(gs_stream_import(&w->b, (int)fd, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)), w->mb));
    expect_packet(w->mb, w->b, "three");
    send_text(w->b, "back");
    recv_one(w->a, "back");
    gs_free(rest);
    assert_code(gs_stream_export(w->b, NULL, &n), GS_EBADARG);
}

static void export_of_queued_output_is_ebusy(struct world *w)
{
    uint8_t *rest;
    size_t n;
    if (!w->facts->kernel || w->facts->layered)
        return;
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(SEND_TIMEOUT, GS_NOWAIT)), NULL);
    (void)fill_until_eagain(w, w->a, 1, 0);
    assert_code(gs_stream_export(w->a, &rest, &n), -EBUSY);
}

static void corked_replies_go_out_before_the_export(struct world *w)
{
    if (!w->facts->kernel || w->facts->layered)
        return;
    uint8_t *rest;
    size_t n;
    open_pair(w, B_OWNED, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)),
              GS_OPTS(GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    assert_ok(gs_stream_unrecv(w->b, "\1a\1b", 4));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "a");
    send_text(w->b, "reply a"); /* corked: b is still to come */
    int fd = gs_stream_export(w->b, &rest, &n);
    if (fd == -EBUSY) { /* a short write, under a fault profile */
        assert_ok(gs_stream_flush(w->b, WAIT_MS));
        fd = gs_stream_export(w->b, &rest, &n);
    }
    assert_ok(fd);
    assert_int_equal(n, 2);
    assert_memory_equal(rest, "\1b", 2);
    gs_free(rest);
    recv_one(w->a, "reply a");
    close(fd);
}

static void a_listener_can_be_exported_and_imported(struct world *w)
{
    uint8_t *rest;
    size_t n;
    if (!w->facts->kernel || w->facts->layered)
        return;
    open_listener(w, NULL, GS_NO_MAILBOX);
    long fd = assert_ok(gs_stream_export(w->listener, &rest, &n));
    gs_free(rest);
    assert_ok(gs_stream_import(&w->listener, (int)fd, NULL, GS_NO_MAILBOX));
    w->a = open_client(w, NULL, GS_NO_MAILBOX);
    assert_ok(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, WAIT_MS, NULL));
    send_text(w->a, "x");
    recv_text(w->b, "x");
}

/* As of gs_stream_listen: without an owner of its own, and active unless said otherwise. */
static void an_imported_listener_hands_down_its_mode(struct world *w)
{
    uint8_t *rest;
    size_t n;
    if (!w->facts->kernel || w->facts->layered)
        return;
    for (int mode = GS_ACTIVE_FALSE; mode <= GS_ACTIVE_TRUE; mode++) {
        open_listener(w, NULL, GS_NO_MAILBOX);
        long fd = assert_ok(gs_stream_export(w->listener, &rest, &n));
        gs_free(rest);
        const gs_opt *said = mode == GS_ACTIVE_FALSE ? GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)) : NULL;
        assert_ok(gs_stream_import(&w->listener, (int)fd, said, GS_NO_MAILBOX));
        w->a = open_client(w, NULL, GS_NO_MAILBOX);
        assert_ok(gs_stream_accept(w->listener, &w->b, w->mb, WAIT_MS, NULL));
        assert_int_equal(GET(w->b, ACTIVE), mode);
        close_all(w);
    }
}

static void run_long_file(struct task *t)
{
    t->result = (long)gs_stream_sendfile(t->stream, (int)t->ref, 0, 0);
}

/* What is queued behind a file is never taken for its rest: a stream that closes within it is reset. */
static void closing_within_a_file_sends_nothing_behind_it(struct world *w)
{
    static uint8_t got[65536];
    size_t size = 2 * w->facts->holds, at = 0;
    int fd = open(temp_path("long"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && unlink(temp_path("long")) == 0 && ftruncate(fd, (off_t)size) == 0); /* zeros */
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), NULL);
    struct task *t = task_new(w, run_long_file);
    t->stream = w->a;
    t->ref = (uint64_t)fd;
    task_go(t);
    assert_blocks(t);
    send_text(w->a, "behind"); /* its turn comes: it is queued */
    assert_ok(gs_stream_close(w->a));
    assert_code(task_result(t), GS_ECLOSED);
    close(fd);
    ssize_t k;
    while ((k = gs_stream_recv(w->b, got, sizeof got, 0, WAIT_MS)) > 0)
        for (at += (size_t)k; k > 0; k--)
            assert_int_equal(got[k - 1], 0);
    assert_true(k < 0 && at < size);
}

CASES(close) = {
    CASE(closing_within_a_file_sends_nothing_behind_it),
    CASE(data_before_close_arrives),
    CASE(half_close_lets_the_answer_through),
    CASE(half_close_between_mailboxes),
    CASE(the_peers_end_closes_unless_exit_on_close_is_false),
    CASE(shutdown_of_reading_ends_recv),
    CASE(shutdown_both_ends_both_ways),
    CASE(a_careless_shutdown_is_badarg),
    CASE(closing_wakes_a_waiting_recv),
    CASE(the_peers_close_wakes_a_waiting_recv),
    CASE(the_end_of_a_mailbox_closes_what_it_owns),
    CASE(a_monitor_tells_when_the_stream_closes),
    CASE(a_monitor_tells_of_the_peers_end_and_the_owners),
    CASE(a_cancelled_monitor_is_silent),
    CASE(a_monitor_of_a_dead_mailbox_does_no_harm),
    CASE(export_gives_the_descriptor_and_what_was_received),
    CASE(export_of_queued_output_is_ebusy),
    CASE(corked_replies_go_out_before_the_export),
    CASE(a_listener_can_be_exported_and_imported),
    CASE(an_imported_listener_hands_down_its_mode),
    {0},
};
