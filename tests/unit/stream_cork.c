/* What leaves when: replies of a batch in one write, delay_send, and the flusher for owners that went away. The kernel's calls
 * are counted through the seam. runner: serial */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fault.h"
#include "stream_pair.h"

static struct tcp_pair p;

static int tear_down(void **state)
{
    (void)state;
    fault_stop();
    tcp_pair_close(&p);
    return 0;
}

static long writes(void) { return fault_seen_on(FAULT_send) + fault_seen_on(FAULT_sendmsg); }
static long reads(void) { return fault_seen_on(FAULT_recv) + fault_seen_on(FAULT_recvmsg) + fault_seen_on(FAULT_read); }

/* {packet,4} both ways; b active and owned. */
static void open_framed(void)
{
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_4), {.name = GS_OPT_END}};
    tcp_pair_open(&p, o, o, true);
}

static int waiting_in_kernel(gs_stream s)
{
    gs_stream_info_t info;
    int n = 0;
    assert_ok(gs_stream_info(s, &info));
    assert_int_equal(ioctl(info.fd, FIONREAD, &n), 0);
    return n;
}

/* n frames of 4 bytes leave a in one piece, and are all there for b. */
static void send_frames(int n)
{
    uint8_t *wire = calloc((size_t)n, 8);
    assert_non_null(wire);
    for (int i = 0; i < n; i++) {
        wire[i * 8 + 3] = 4;
        memcpy(wire + i * 8 + 4, &i, 4);
    }
    gs_opt raw[] = {GS_INT(PACKET, GS_PACKET_RAW), {.name = GS_OPT_END}},
           four[] = {GS_INT(PACKET, GS_PACKET_4), {.name = GS_OPT_END}};
    assert_ok(gs_stream_setopts(p.a, raw));
    int e = gs_stream_send(p.a, wire, (size_t)n * 8);
    free(wire);
    assert_ok(e);
    assert_ok(gs_stream_setopts(p.a, four));
    assert_until(waiting_in_kernel(p.b) == n * 8, PAIR_WAIT_MS);
}

/* Frames first … first + n - 1 come and go back. */
static void answer_from(unsigned first, unsigned n)
{
    gs_msg m;
    for (unsigned i = first; i < first + n; i++) {
        assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
        assert_int_equal(m.kind, GS_MSG_DATA);
        assert_memory_equal(m.packet.data.p, &i, 4);
        assert_ok(gs_stream_send(p.b, m.packet.data.p, m.packet.data.n));
    }
}

static void answer(unsigned n) { answer_from(0, n); }

static void expect_answers(int n)
{
    char got[8];
    for (int i = 0; i < n; i++) {
        assert_code(gs_stream_recv(p.a, got, sizeof got, 0, PAIR_WAIT_MS), 4);
        assert_memory_equal(got, &i, 4);
    }
}

static void replies_to_a_batch_leave_in_one_write(void **state)
{
    (void)state;
    open_framed();
    send_frames(20);
    fault_count();
    answer(20);
    long w = writes(), r = reads();
    fault_stop();
    assert_int_equal(w, 1);
    assert_in_range(r, 1, 2);
    expect_answers(20);
}

static void a_long_batch_takes_few_writes(void **state)
{
    (void)state;
    open_framed();
    send_frames(500);
    fault_count();
    answer(500);
    long w = writes();
    fault_stop();
    assert_in_range(w, 1, 20); /* a budget of frames bounds a batch; the flusher may come between */
    expect_answers(500);
}

enum { LONG = 9000, LONGS = 5, LONG_FRAME = LONG + 4 };

/* So many long frames, of 'a', 'b' …, leave a at once, and are all there for b. */
static void send_long_frames(void)
{
    static uint8_t wire[LONGS * LONG_FRAME];
    for (int i = 0; i < LONGS; i++) {
        wire[i * LONG_FRAME + 2] = LONG >> 8;
        wire[i * LONG_FRAME + 3] = LONG & 255;
        memset(wire + i * LONG_FRAME + 4, 'a' + i, LONG);
    }
    gs_opt raw[] = {GS_INT(PACKET, GS_PACKET_RAW), {.name = GS_OPT_END}},
           four[] = {GS_INT(PACKET, GS_PACKET_4), {.name = GS_OPT_END}};
    assert_ok(gs_stream_setopts(p.a, raw));
    assert_ok(gs_stream_send(p.a, wire, sizeof wire));
    assert_ok(gs_stream_setopts(p.a, four));
    assert_until(waiting_in_kernel(p.b) == sizeof wire, PAIR_WAIT_MS);
}

/* Each but for its last `less` bytes. */
static void answer_long(size_t less)
{
    gs_msg m;
    for (int i = 0; i < LONGS; i++) {
        assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
        assert_int_equal(m.packet.data.n, LONG);
        assert_ok(gs_stream_send(p.b, m.packet.data.p, LONG - less));
    }
}

static void expect_long_answers(size_t less)
{
    static uint8_t got[LONG], want[LONG];
    for (int i = 0; i < LONGS; i++) {
        memset(want, 'a' + i, LONG);
        assert_code(gs_stream_recv(p.a, got, sizeof got, 0, PAIR_WAIT_MS), (int)(LONG - less));
        assert_memory_equal(got, want, LONG - less);
    }
}

/* They are not copied: as they came they are one piece of the read buffer, shorter by a byte each has a header of its own. */
static void long_echoes_of_a_batch_leave_in_one_write(void **state)
{
    (void)state;
    open_framed();
    for (size_t less = 0; less < 2; less++) {
        send_long_frames();
        fault_count();
        answer_long(less);
        long w = writes();
        fault_stop();
        assert_int_equal(w, 1);
        expect_long_answers(less);
    }
}

/* What the kernel does not take leaves the read buffer before that is read into again. */
static void long_echoes_that_the_kernel_refuses_arrive_whole(void **state)
{
    (void)state;
    open_framed();
    for (size_t less = 0; less < 2; less++) {
        send_long_frames();
        fault_fail_call(less ? FAULT_sendmsg : FAULT_send, 1, 1, EAGAIN);
        answer_long(less);
        long fired = fault_stop();
        send_frames(3);
        answer(3);
        assert_int_equal(fired, 1);
        expect_long_answers(less);
        expect_answers(3);
    }
}

static void the_reply_to_one_frame_leaves_at_once(void **state)
{
    (void)state;
    open_framed();
    send_frames(1);
    gs_msg m;
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    fault_count();
    assert_ok(gs_stream_send(p.b, m.packet.data.p, 4));
    long w = writes();
    fault_stop();
    assert_int_equal(w, 1);
    expect_answers(1);
}

static void sends_outside_a_batch_leave_one_by_one(void **state)
{
    (void)state;
    open_framed();
    fault_count();
    for (int i = 0; i < 5; i++)
        assert_ok(gs_stream_send(p.b, &i, 4));
    long w = writes();
    fault_stop();
    assert_int_equal(w, 5);
    expect_answers(5);
}

static void a_cork_is_bounded(void **state)
{
    (void)state;
    enum { BIG = 30000 };
    gs_msg m;
    char *p_big = calloc(1, BIG);
    assert_non_null(p_big);
    open_framed();
    send_frames(10);
    fault_count();
    for (int i = 0; i < 4; i++) {
        assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
        assert_ok(gs_stream_send(p.b, p_big, BIG));
    }
    long w = writes();
    fault_stop();
    free(p_big);
    assert_true(w >= 1); /* 120 kB, with six frames of the batch still to come */
}

static void flush_ends_a_cork(void **state)
{
    (void)state;
    gs_msg m;
    open_framed();
    send_frames(5);
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_ok(gs_stream_send(p.b, m.packet.data.p, 4));
    assert_ok(gs_stream_flush(p.b, PAIR_WAIT_MS));
    gs_stat stat;
    assert_ok(gs_stream_getstat(p.b, &stat));
    assert_int_equal(stat.send_pend, 0);
    expect_answers(1);
}

/* The flusher may take the cork when this thread is held up; what is sent counts all the same. */
static void the_turns_statistics_count_what_it_corked(void **state)
{
    (void)state;
    enum { ANSWERS = 4, TRIES = 50 };
    gs_msg m;
    gs_stat stat;
    gs_stream_info_t info;
    bool stayed = false;
    open_framed();
    for (unsigned before = 0; before < TRIES * (ANSWERS + 1) && !stayed; before += ANSWERS + 1) {
        send_frames(ANSWERS + 1);
        fault_count();
        for (unsigned i = 1; i <= ANSWERS; i++) {
            answer_from(i - 1, 1);
            assert_ok(gs_stream_getstat(p.b, &stat));
            assert_int_equal(stat.send_cnt, before + i);
            assert_int_equal(stat.send_oct, 4 * (before + i));
            assert_int_equal(stat.send_max, 4);
        }
        assert_ok(gs_stream_info(p.b, &info));
        stayed = writes() == 0;
        fault_stop();
        if (stayed) {
            assert_int_equal(stat.send_pend, 8 * ANSWERS);
            assert_int_equal(info.queued, 8 * ANSWERS);
        }
        answer_from(ANSWERS, 1);
        assert_code(gs_receive(p.mb, &m, 0), GS_ETIMEOUT);
        assert_ok(gs_stream_getstat(p.b, &stat));
        assert_int_equal(stat.send_cnt, before + ANSWERS + 1);
        assert_int_equal(stat.send_pend, 0);
        expect_answers(ANSWERS + 1);
    }
    assert_true(stayed);
}

/* The owner got the first of five frames, answered, and does something else for long. */
static void the_flusher_sends_what_an_absent_owner_corked(void **state)
{
    (void)state;
    gs_msg m;
    open_framed();
    send_frames(5);
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_ok(gs_stream_send(p.b, m.packet.data.p, 4));
    expect_answers(1);
    for (int i = 1; i < 5; i++) { /* and the batch goes on as if nothing had been */
        assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
        assert_memory_equal(m.packet.data.p, &i, 4);
    }
}

static void close_in_a_batch_sends_what_was_corked(void **state)
{
    (void)state;
    gs_msg m;
    char got[8];
    open_framed();
    send_frames(5);
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_ok(gs_stream_send(p.b, m.packet.data.p, 4));
    assert_ok(gs_stream_close(p.b));
    expect_answers(1);
    assert_code(gs_stream_recv(p.a, got, sizeof got, 0, PAIR_WAIT_MS), GS_ECLOSED);
}

static void shutdown_in_a_batch_comes_behind_what_was_corked(void **state)
{
    (void)state;
    gs_msg m;
    char got[8];
    open_framed();
    send_frames(5);
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_ok(gs_stream_send(p.b, m.packet.data.p, 4));
    assert_ok(gs_stream_shutdown(p.b, GS_SHUT_WRITE));
    expect_answers(1);
    assert_code(gs_stream_recv(p.a, got, sizeof got, 0, PAIR_WAIT_MS), GS_ECLOSED);
}

static void delay_send_gathers_until_the_mailbox_waits(void **state)
{
    (void)state;
    gs_msg m;
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_4), {.name = GS_OPT_END}};
    tcp_pair_open(&p, o, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(DELAY_SEND, 1)), true);
    fault_count();
    for (int i = 0; i < 100; i++)
        assert_ok(gs_stream_send(p.b, &i, 4));
    assert_code(gs_receive(p.mb, &m, 0), GS_ETIMEOUT);
    long w = writes();
    fault_stop();
    assert_in_range(w, 1, 20); /* one; more only if the flusher thought that the owner was away */
    gs_stat stat;
    assert_ok(gs_stream_getstat(p.b, &stat));
    assert_int_equal(stat.send_pend, 0);
    expect_answers(100);
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(replies_to_a_batch_leave_in_one_write),
        TEST(a_long_batch_takes_few_writes),
        TEST(long_echoes_of_a_batch_leave_in_one_write),
        TEST(long_echoes_that_the_kernel_refuses_arrive_whole),
        TEST(the_reply_to_one_frame_leaves_at_once),
        TEST(sends_outside_a_batch_leave_one_by_one),
        TEST(a_cork_is_bounded),
        TEST(flush_ends_a_cork),
        TEST(the_turns_statistics_count_what_it_corked),
        TEST(the_flusher_sends_what_an_absent_owner_corked),
        TEST(close_in_a_batch_sends_what_was_corked),
        TEST(shutdown_in_a_batch_comes_behind_what_was_corked),
        TEST(delay_send_gathers_until_the_mailbox_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
