/* send.c: the send contract: queued with an owner, direct without; what a peer that does not read brings about. */
#include "suite.h"

#include <stdlib.h>

enum { SEED = 77, PIECE = 64 * 1024, LIMIT = 256 * 1024 * 1024 };

/* ---- queued ---- */

/* a owned and passive (it is there to send), b without owner. */
static void queued_pair(struct world *w, gs_opt one_more)
{
    open_pair(w, A_OWNED, (const gs_opt[]){GS_INT(ACTIVE, GS_ACTIVE_FALSE), one_more, {.name = GS_OPT_END}}, NULL);
}

static struct task *drain(struct world *w, uint64_t total)
{
    struct task *t = task_new(w, run_drain);
    t->stream = w->b;
    t->seed = SEED;
    t->total = total;
    task_go(t);
    return t;
}

static void nowait_send_says_eagain_and_then_drained(struct world *w)
{
    gs_msg m;
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    size_t sent = fill_until_eagain(w, w->a, SEED, 0);
    assert_code(gs_stream_send(w->a, "x", 1), -EAGAIN); /* nothing was taken */
    expect_nothing(w->ma);
    struct task *t = drain(w, sent);
    expect(w->ma, GS_MSG_DRAINED, w->a, &m);
    assert_code(gs_stream_flush(w->a, WAIT_MS), 0);
    assert_code(task_result(t), 0);
    assert_int_equal(t->n, sent);
    expect_nothing(w->ma); /* one drained for one eagain */
    send_text(w->a, "more");
    recv_text(w->b, "more");
}

static void fill_and_drain_several_times(struct world *w)
{
    gs_msg m;
    uint64_t at = 0;
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    for (int i = 0; i < 3; i++) {
        struct task *t = task_new(w, run_drain);
        t->stream = w->b;
        t->seed = SEED;
        t->ref = at;
        t->total = fill_until_eagain(w, w->a, SEED, at);
        at += t->total;
        task_go(t);
        expect(w->ma, GS_MSG_DRAINED, w->a, &m);
        assert_code(task_result(t), 0);
    }
}

/* Sends pattern pieces until an error; t->n tells how many bytes were answered with success. */
static void run_send_until_error(struct task *t)
{
    uint8_t *p = malloc(PIECE);
    for (t->n = 0; p && t->n < LIMIT && t->result == 0;) {
        pattern_fill(p, PIECE, SEED, t->n);
        t->result = gs_stream_send(t->stream, p, PIECE);
        t->n += t->result == 0 ? PIECE : 0;
    }
    free(p);
}

static size_t send_until(struct world *w, int expected)
{
    struct task *t = task_start(w, run_send_until_error, w->a);
    assert_code(task_result(t), expected);
    return t->n;
}

static void after_a_send_timeout_the_bytes_are_queued(struct world *w)
{
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, 30));
    size_t sent = send_until(w, GS_ETIMEOUT) + PIECE; /* the one that timed out included */
    gs_stat stat;
    assert_ok(gs_stream_getstat(w->a, &stat));
    assert_int_equal(stat.send_oct, sent);
    struct task *t = drain(w, sent);
    assert_code(task_result(t), 0);
    assert_code(gs_stream_flush(w->a, WAIT_MS), 0);
    send_text(w->a, "behind");
    recv_text(w->b, "behind");
}

static void send_timeout_close_closes(struct world *w)
{
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, 30));
    SET(w->a, SEND_TIMEOUT_CLOSE, 1);
    (void)send_until(w, GS_ETIMEOUT);
    assert_code(gs_stream_send(w->a, "x", 1), GS_ECLOSED);
}

static void a_blocked_send_goes_on_when_the_peer_reads(struct world *w)
{
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_INFINITY));
    struct task *sender = task_start(w, run_send_until_error, w->a);
    assert_blocks(sender);
    struct task *reader = drain(w, 2 * w->facts->holds);
    assert_code(task_result(reader), 0);
    assert_ok(gs_stream_close(w->b)); /* the endless sender ends */
    gs_stream_close(w->a);
    (void)task_result(sender);
}

static void closing_wakes_a_blocked_send(struct world *w)
{
    for (int tries = 5, in_time = 0; tries-- > 0 && !in_time;) {
        queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_INFINITY));
        struct task *sender = task_start(w, run_send_until_error, w->a);
        assert_blocks(sender);
        uint64_t began = real_ms();
        assert_ok(gs_stream_close(w->a));
        assert_code(task_result(sender), GS_ECLOSED);
        in_time = sender->ended_ms - began <= WAKE_MS;
        assert_true(assert_wakes_in_time(tries, sender->ended_ms - began));
        close_all(w);
    }
}

static void one_send_below_the_watermark_is_taken_whole(struct world *w)
{
    size_t big = 2 * w->facts->holds;
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    send_pattern(w->a, SEED, 0, big);
    gs_stat stat;
    assert_ok(gs_stream_getstat(w->a, &stat));
    assert_true(stat.send_pend > 0);
    assert_code(gs_stream_send(w->a, "x", 1), -EAGAIN);
    struct task *t = drain(w, big);
    assert_code(task_result(t), 0);
}

static void close_lets_what_is_queued_go_out(struct world *w)
{
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    size_t sent = fill_until_eagain(w, w->a, SEED, 0);
    assert_ok(gs_stream_close(w->a));
    struct task *t = drain(w, 0);
    assert_code(task_result(t), GS_ECLOSED);
    assert_int_equal(t->n, sent);
}

static void the_end_of_the_owner_lets_what_is_queued_go_out(struct world *w)
{
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    size_t sent = fill_until_eagain(w, w->a, SEED, 0);
    assert_ok(gs_mailbox_free(w->ma));
    struct task *t = drain(w, 0);
    assert_code(task_result(t), GS_ECLOSED);
    assert_int_equal(t->n, sent);
}

static void shutdown_waits_for_what_is_queued(struct world *w)
{
    if (!w->facts->half_close)
        return;
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    size_t sent = fill_until_eagain(w, w->a, SEED, 0);
    assert_ok(gs_stream_shutdown(w->a, GS_SHUT_WRITE));
    assert_ok(gs_stream_shutdown(w->a, GS_SHUT_WRITE));
    assert_code(gs_stream_send(w->a, "x", 1), GS_ECLOSED);
    struct task *t = drain(w, 0);
    assert_code(task_result(t), GS_ECLOSED);
    assert_int_equal(t->n, sent);
}

static void a_postponed_shutdown_that_fails_closes(struct world *w)
{
    gs_msg m;
    if (!w->facts->half_close || !w->facts->send_sees_close)
        return;
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    (void)fill_until_eagain(w, w->a, SEED, 0);
    assert_ok(gs_stream_shutdown(w->a, GS_SHUT_WRITE));
    assert_ok(gs_stream_close(w->b));
    SET(w->a, ACTIVE, GS_ACTIVE_TRUE);
    assert_ok(gs_receive(w->ma, &m, WAIT_MS));
    if (m.kind == GS_MSG_DRAINED)
        assert_ok(gs_receive(w->ma, &m, WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_CLOSED);
    assert_code(gs_stream_send(w->a, "x", 1), GS_ECLOSED);
}

/* The owner does not receive meanwhile: the flusher finishes. */
static void output_goes_on_while_the_owner_is_away(struct world *w)
{
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    size_t sent = fill_until_eagain(w, w->a, SEED, 0);
    struct task *t = drain(w, sent);
    assert_code(task_result(t), 0);
    assert_until(({
                     gs_stat stat;
                     gs_stream_getstat(w->a, &stat) == 0 && stat.send_pend == 0;
                 }),
                 WAIT_MS);
}

static void flush_waits_until_the_queue_is_out(struct world *w)
{
    queued_pair(w, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    assert_code(gs_stream_flush(w->a, 0), 0);
    size_t sent = fill_until_eagain(w, w->a, SEED, 0);
    assert_code(gs_stream_flush(w->a, 0), GS_ETIMEOUT);
    assert_code(gs_stream_flush(w->a, 20), GS_ETIMEOUT);
    struct task *t = drain(w, sent);
    assert_code(gs_stream_flush(w->a, WAIT_MS), 0);
    assert_code(task_result(t), 0);
}

static void delay_send_arrives_without_another_call(struct world *w)
{
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(DELAY_SEND, 1), GS_INT(PACKET, GS_PACKET_1)), GS_OPTS(GS_INT(PACKET, GS_PACKET_1)));
    send_text(w->a, "one");
    send_text(w->a, "two");
    recv_one(w->b, "one");
    recv_one(w->b, "two");
    send_text(w->a, "three");
    expect_nothing(w->ma); /* the mailbox waits: out it goes */
    recv_one(w->b, "three");
    send_text(w->a, "four");
    assert_code(gs_stream_flush(w->a, WAIT_MS), 0);
    recv_one(w->b, "four");
}

static void run_send_and_wait_for_another(struct task *t)
{
    gs_msg m;
    t->result = gs_stream_send(t->stream, "one", 3);
    if (t->result == 0)
        t->result = gs_receive_ref(t->mailbox, t->ref, &m, WAIT_MS);
}

static void delayed_output_leaves_before_a_selective_receive_sleeps(struct world *w)
{
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(DELAY_SEND, 1), GS_INT(PACKET, GS_PACKET_1)), GS_OPTS(GS_INT(PACKET, GS_PACKET_1)));
    struct task *t = task_new(w, run_send_and_wait_for_another);
    t->stream = w->a;
    t->mailbox = w->ma;
    assert_ok(gs_timer_start(w->ma, 10 * 1000, NULL, &t->ref));
    task_go(t);
    recv_one(w->b, "one");
    assert_ok(gs_mailbox_free(w->ma));
    assert_code(task_result(t), GS_ECLOSED);
    assert_ok(gs_mailbox_new(&w->ma));
}

/* ---- direct ---- */

/* Sends 1 MiB packets until the timeout; *rest of the last. */
static size_t fill_direct(struct world *w, size_t size, gs_rest *rest)
{
    uint8_t *p = malloc(size);
    assert_non_null(p);
    memset(p, 'p', size);
    int e = 0;
    size_t whole = 0;
    while (e == 0 && whole < 256) {
        e = gs_stream_sendv(w->a, &(struct iovec){p, size}, 1, rest);
        whole += e == 0;
    }
    free(p);
    assert_code(e, GS_ETIMEOUT);
    return whole;
}

/* Receives `total` packets of n bytes 'p'. */
static void run_recv_packets(struct task *t)
{
    t->buf = malloc(t->n);
    for (uint64_t i = 0; t->buf && i < t->total && t->result == 0; i++) {
        ssize_t k = gs_stream_recv(t->stream, t->buf, t->n, 0, t->timeout_ms);
        t->result = k < 0                                                                                ? (long)k
                    : (size_t)k != t->n || t->buf[0] != 'p' || memcmp(t->buf, t->buf + 1, t->n - 1) != 0 ? -EBADMSG
                                                                                                         : 0;
    }
}

static void a_direct_send_tells_the_rest_which_raw_completes(struct world *w)
{
    enum { SIZE = 1024 * 1024 };
    gs_rest rest;
    open_pair(w, NOBODY, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, 30)), GS_OPTS(GS_INT(PACKET, GS_PACKET_4)));
    size_t whole = fill_direct(w, SIZE, &rest);
    assert_int_equal(rest.body_at + rest.body_left, SIZE);
    assert_true(rest.header_n == 0 || rest.body_at == 0);
    assert_true(rest.header_n + rest.body_left > 0);
    gs_stat stat;
    assert_ok(gs_stream_getstat(w->a, &stat));
    assert_int_equal(stat.send_pend, 0); /* nothing is queued: it is the caller's */

    struct task *t = task_new(w, run_recv_packets);
    t->stream = w->b;
    t->n = SIZE;
    t->total = whole + 1;
    task_go(t);
    uint8_t *p = malloc(SIZE);
    assert_non_null(p);
    memset(p, 'p', SIZE);
    SET(w->a, SEND_TIMEOUT, WAIT_MS);
    SET(w->a, PACKET, GS_PACKET_RAW);
    int header = gs_stream_send(w->a, rest.header, rest.header_n);
    int body = gs_stream_send(w->a, p + rest.body_at, rest.body_left);
    free(p);
    assert_ok(header);
    assert_ok(body);
    SET(w->a, PACKET, GS_PACKET_4);
    send_text(w->a, "in step");
    assert_code(task_result(t), 0);
    recv_one(w->b, "in step");
}

static void send_mode_direct_does_so_with_an_owner(struct world *w)
{
    gs_rest rest;
    open_pair(w, A_OWNED,
              GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(SEND_MODE, GS_SEND_DIRECT), GS_INT(SEND_TIMEOUT, 20)), NULL);
    assert_int_equal(GET(w->a, SEND_MODE), GS_SEND_DIRECT);
    (void)fill_direct(w, PIECE, &rest);
    assert_int_equal(rest.header_n, 0);
    assert_int_equal(rest.body_at + rest.body_left, PIECE);
    gs_stat stat;
    assert_ok(gs_stream_getstat(w->a, &stat));
    assert_int_equal(stat.send_pend, 0);
}

static void a_direct_nowait_send_that_moved_nothing_is_eagain(struct world *w)
{
    open_pair(w, NOBODY, GS_OPTS(GS_INT(SEND_TIMEOUT, GS_NOWAIT)), NULL);
    uint8_t *p = calloc(1, PIECE);
    assert_non_null(p);
    gs_rest rest = {0};
    int e = 0;
    for (int i = 0; e != -EAGAIN && i < 100000; i++) {
        e = gs_stream_sendv(w->a, &(struct iovec){p, PIECE}, 1, &rest);
        if (e != 0 && e != -EAGAIN)
            assert_code(e, GS_ETIMEOUT);
    }
    free(p);
    assert_code(e, -EAGAIN);
    assert_int_equal(rest.body_left, PIECE);
}

static void what_a_failed_stream_did_not_send_is_all(struct world *w)
{
    gs_rest rest;
    if (!w->facts->send_sees_close)
        return;
    open_pair(w, NOBODY, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), NULL);
    assert_ok(gs_stream_close(w->b));
    assert_until(gs_stream_send(w->a, "x", 1) < 0, WAIT_MS);
    assert_code(gs_stream_sendv(w->a, &(struct iovec){"12345", 5}, 1, &rest), GS_ECLOSED);
    assert_int_equal(rest.header_n, 4);
    assert_int_equal(rest.header[3], 5);
    assert_int_equal(rest.body_at, 0);
    assert_int_equal(rest.body_left, 5);
}

/* ---- packets and pieces ---- */

static void a_packet_too_long_for_its_header_is_emsgsize(struct world *w)
{
    uint8_t *p = calloc(1, 65536);
    assert_non_null(p);
    open_pair(w, NOBODY, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)), GS_OPTS(GS_INT(PACKET, GS_PACKET_1)));
    int one = gs_stream_send(w->a, p, 256), fits = gs_stream_send(w->a, p, 255);
    SET(w->a, PACKET, GS_PACKET_2);
    int two = gs_stream_send(w->a, p, 65536);
    free(p);
    assert_code(one, -EMSGSIZE);
    assert_code(fits, 0);
    assert_code(two, -EMSGSIZE);
    char got[256];
    assert_code(gs_stream_recv(w->b, got, sizeof got, 0, WAIT_MS), 255);
    SET(w->a, PACKET, GS_PACKET_1);
    send_text(w->a, "usable");
    recv_one(w->b, "usable");
}

static void pieces_are_one_packet(struct world *w)
{
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_OPTS(GS_INT(PACKET, GS_PACKET_2)));
    struct iovec v[] = {{(void *)(uintptr_t) "one ", 4}, {NULL, 0}, {(void *)(uintptr_t) "packet", 6}};
    assert_ok(gs_stream_sendv(w->a, v, 3, NULL));
    recv_one(w->b, "one packet");
    assert_ok(gs_stream_sendv(w->a, NULL, 0, NULL));
    assert_ok(gs_stream_send(w->a, NULL, 0));
    recv_one(w->b, "");
    recv_one(w->b, "");
}

static void up_to_1024_pieces_may_be_sent(struct world *w)
{
    enum { N = 1025 };
    char bytes[N], got[N];
    struct iovec v[N];
    for (int i = 0; i < N; i++) {
        bytes[i] = (char)('a' + i % 26);
        v[i] = (struct iovec){&bytes[i], 1};
    }
    for (int owned = 0; owned < 2; owned++) {
        open_pair(w, owned ? A_OWNED : NOBODY, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_OPTS(GS_INT(PACKET, GS_PACKET_2)));
        assert_ok(gs_stream_sendv(w->a, v, 1024, NULL));
        assert_code(gs_stream_recv(w->b, got, sizeof got, 0, WAIT_MS), 1024);
        assert_memory_equal(got, bytes, 1024);
        assert_code(gs_stream_sendv(w->a, v, 1025, NULL), GS_EBADARG);
        assert_code(gs_stream_sendv(w->a, v, -1, NULL), GS_EBADARG);
        assert_code(gs_stream_send(w->a, NULL, 1), GS_EBADARG);
        close_all(w);
    }
}

/* ---- the peer is gone ---- */

static void sending_to_a_peer_that_closed_fails_at_last(struct world *w)
{
    if (!w->facts->send_sees_close)
        return;
    for (unsigned owned = 0; owned < 2; owned++) {
        open_pair(w, owned ? A_OWNED : NOBODY, owned ? GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)) : NULL, NULL);
        assert_ok(gs_stream_close(w->b));
        int e = 0;
        assert_until((e = gs_stream_send(w->a, "x", 1)) < 0, WAIT_MS);
        assert_code(e, GS_ECLOSED);
        assert_code(gs_stream_send(w->a, "x", 1), GS_ECLOSED);
        close_all(w);
    }
}

/* A failed background write hides nothing that the peer sent before it went. */
static void what_the_peer_sent_survives_a_failed_send(struct world *w)
{
    gs_msg m;
    if (!w->facts->send_sees_close)
        return;
    open_pair(w, A_OWNED, GS_OPTS(GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, GS_ACTIVE_FALSE)),
              GS_OPTS(GS_INT(PACKET, GS_PACKET_1)));
    send_text(w->b, "last words");
    assert_ok(gs_stream_close(w->b));
    recv_one(w->a, "last words");
    assert_ok(gs_stream_unrecv(w->a, "\12last words", 11));
    assert_until(gs_stream_send(w->a, "x", 1) < 0, WAIT_MS);
    SET(w->a, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->ma, w->a, "last words");
    expect(w->ma, GS_MSG_CLOSED, w->a, &m);
}

enum { SENDERS = 3, PACKETS = 200 };

static void run_send_numbers(struct task *t)
{
    uint8_t p[100];
    for (unsigned i = 0; i < PACKETS && t->result == 0; i++) {
        memset(p, (int)t->seed, sizeof p);
        p[1] = (uint8_t)i;
        t->result = gs_stream_send(t->stream, p, 2 + i % 99);
    }
}

static void senders_in_several_threads_keep_packets_whole(struct world *w)
{
    uint8_t p[100];
    unsigned next[SENDERS] = {0};
    struct task *t[SENDERS];
    for (unsigned owned = 0; owned < 2; owned++) {
        memset(next, 0, sizeof next);
        open_pair(w, owned ? A_OWNED : NOBODY, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_OPTS(GS_INT(PACKET, GS_PACKET_2)));
        for (unsigned i = 0; i < SENDERS; i++) {
            t[i] = task_new(w, run_send_numbers);
            t[i]->stream = w->a;
            t[i]->seed = i;
            task_go(t[i]);
        }
        for (int i = 0; i < SENDERS * PACKETS; i++) {
            long n = assert_ok(gs_stream_recv(w->b, p, sizeof p, 0, WAIT_MS));
            assert_true(n >= 2 && p[0] < SENDERS);
            unsigned who = p[0];
            assert_int_equal(p[1], (uint8_t)next[who]); /* in each sender's order */
            assert_int_equal(n, 2 + next[who] % 99);
            for (long k = 2; k < n; k++)
                assert_int_equal(p[k], who);
            next[who]++;
        }
        for (int i = 0; i < SENDERS; i++)
            assert_ok(task_result(t[i]));
        close_all(w);
    }
}

CASES(send) = {
    CASE(nowait_send_says_eagain_and_then_drained),
    CASE(fill_and_drain_several_times),
    CASE(after_a_send_timeout_the_bytes_are_queued),
    CASE(send_timeout_close_closes),
    CASE(a_blocked_send_goes_on_when_the_peer_reads),
    CASE(closing_wakes_a_blocked_send),
    CASE(one_send_below_the_watermark_is_taken_whole),
    CASE(close_lets_what_is_queued_go_out),
    CASE(the_end_of_the_owner_lets_what_is_queued_go_out),
    CASE(shutdown_waits_for_what_is_queued),
    CASE(a_postponed_shutdown_that_fails_closes),
    CASE(output_goes_on_while_the_owner_is_away),
    CASE(flush_waits_until_the_queue_is_out),
    CASE(delay_send_arrives_without_another_call),
    CASE(delayed_output_leaves_before_a_selective_receive_sleeps),
    CASE(a_direct_send_tells_the_rest_which_raw_completes),
    CASE(send_mode_direct_does_so_with_an_owner),
    CASE(a_direct_nowait_send_that_moved_nothing_is_eagain),
    CASE(what_a_failed_stream_did_not_send_is_all),
    CASE(a_packet_too_long_for_its_header_is_emsgsize),
    CASE(pieces_are_one_packet),
    CASE(up_to_1024_pieces_may_be_sent),
    CASE(sending_to_a_peer_that_closed_fails_at_last),
    CASE(what_the_peer_sent_survives_a_failed_send),
    CASE(senders_in_several_threads_keep_packets_whole),
    {0},
};
