/* The kernel has no memory for a watch (epoll_ctl fails): where no call can tell, the owner looks again by itself, and nothing is
 * late for ever. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "fault.h"
#include "stream_pair.h"

enum { FAILURES = 4, MANY = 1000000 };

static struct tcp_pair p;
static gs_mailbox other;
static char piece[65536];

static int set_up(void **state)
{
    (void)state;
    p = (struct tcp_pair){0};
    assert_ok(gs_mailbox_new(&other));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fault_stop();
    tcp_pair_close(&p);
    gs_mailbox_free(other);
    return 0;
}

static void expect_data(gs_mailbox mb, const char *text)
{
    gs_msg m;
    assert_ok(gs_receive(mb, &m, PAIR_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_DATA);
    assert_int_equal(m.packet.data.n, strlen(text));
    assert_memory_equal(m.packet.data.p, text, strlen(text));
}

static void owned_by(gs_stream s, gs_mailbox mb)
{
    gs_stream_info_t info;
    assert_ok(gs_stream_info(s, &info));
    assert_true(info.owner.id == mb.id);
}

/* The owner looks again until so many watches have failed, and finds nothing. */
static void retries_until(gs_mailbox mb, long failures)
{
    gs_msg m;
    bool told = false;
    bool all = wait_until((told |= gs_receive(mb, &m, 10) != GS_ETIMEOUT) || fault_fired() >= failures, PAIR_WAIT_MS);
    assert_int_equal(fault_stop(), failures);
    assert_true(all);
    assert_false(told);
}

/* The first to need the flusher, before it has any memory: the watch that it cannot take is not forgotten. */
static void the_flusher_without_memory_takes_a_watch_later(void **state)
{
    (void)state;
    gs_msg m;
    char got[8];
    gs_opt framed[] = {GS_INT(PACKET, GS_PACKET_1), {.name = GS_OPT_END}};
    tcp_pair_open(&p, framed, GS_OPTS(GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, GS_ACTIVE_FALSE)), true);
    assert_ok(gs_stream_unrecv(p.b, "\1a\1b", 4));
    assert_ok(gs_stream_setopts(p.b, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_TRUE))));
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    fault_fail_call(FAULT_realloc, 2, FAILURES, ENOMEM); /* 1: the list that the mailbox is put on, by this thread */
    assert_ok(gs_stream_send(p.b, "answer", 6));          /* corked: b is still to come; and the owner goes away */
    ssize_t e = gs_stream_recv(p.a, got, sizeof got, 0, PAIR_WAIT_MS);
    assert_int_equal(fault_stop(), FAILURES);
    assert_code(e, 6);
}

/* A thread in gs_receive. */
struct sleeper {
    pthread_t thread;
    gs_mailbox mb;
    uint64_t ref; /* 0: any message */
    int e;
    gs_msg m;
};

static void *sleep_in_receive(void *arg)
{
    struct sleeper *s = arg;
    s->e = s->ref ? gs_receive_ref(s->mb, s->ref, &s->m, PAIR_WAIT_MS) : gs_receive(s->mb, &s->m, PAIR_WAIT_MS);
    return NULL;
}

static void open_for_filling(void)
{
    gs_msg m;
    tcp_pair_open(&p, NULL, GS_OPTS(GS_INT(SNDBUF, 8192), GS_INT(SEND_TIMEOUT, GS_NOWAIT), GS_INT(ACTIVE, GS_ACTIVE_FALSE)),
                  true);
    assert_code(gs_receive(p.mb, &m, 0), GS_ETIMEOUT);
}

/* b's output is stuck until somebody reads, however often it was tried; how much it took. */
static size_t fill(void)
{
    size_t sent = 0;
    bool stays = wait_until((sent += gs_stream_send(p.b, piece, sizeof piece) == 0 ? sizeof piece : 0, fault_fired() >= FAILURES),
                            PAIR_WAIT_MS);
    assert_true(stays);
    return sent;
}

static void drain(size_t sent)
{
    while (sent) {
        ssize_t k = gs_stream_recv(p.a, piece, sizeof piece, 0, PAIR_WAIT_MS);
        assert_true(k > 0);
        sent -= (size_t)k;
    }
}

static void stuck_output_goes_on_though_a_sleeping_owner_cannot_watch_yet(void **state)
{
    (void)state;
    open_for_filling();
    struct sleeper s = {.mb = p.mb};
    assert_int_equal(pthread_create(&s.thread, NULL, sleep_in_receive, &s), 0);
    fault_fail_call(FAULT_epoll_ctl, 1, MANY, ENOMEM);
    drain(fill());
    assert_true(fault_stop() >= FAILURES);
    pthread_join(s.thread, NULL);
    assert_code(s.e, 0);
    assert_int_equal(s.m.kind, GS_MSG_DRAINED);
}

static void so_it_does_in_a_selective_receive(void **state)
{
    (void)state;
    open_for_filling();
    struct sleeper s = {.mb = p.mb, .ref = gs_make_ref()};
    assert_int_equal(pthread_create(&s.thread, NULL, sleep_in_receive, &s), 0);
    fault_fail_call(FAULT_epoll_ctl, 1, MANY, ENOMEM);
    drain(fill());
    assert_true(fault_stop() >= FAILURES);
    gs_mailbox_free(p.mb);
    pthread_join(s.thread, NULL);
    assert_code(s.e, GS_ECLOSED);
}

static void stuck_output_goes_on_under_a_new_owner_that_cannot_watch_yet(void **state)
{
    (void)state;
    open_for_filling();
    size_t sent = 0;
    while (gs_stream_send(p.b, piece, sizeof piece) == 0)
        sent += sizeof piece;
    fault_fail_call(FAULT_epoll_ctl, 1, MANY, ENOMEM);
    assert_ok(gs_stream_controlling_process(p.b, p.mb, other));
    struct sleeper s = {.mb = other};
    assert_int_equal(pthread_create(&s.thread, NULL, sleep_in_receive, &s), 0);
    drain(sent + fill());
    assert_true(fault_stop() >= FAILURES);
    pthread_join(s.thread, NULL);
    assert_code(s.e, 0);
    assert_int_equal(s.m.kind, GS_MSG_DRAINED);
}

static void a_transfer_succeeds_though_the_new_owner_cannot_watch_yet(void **state)
{
    (void)state;
    for (int failures = 1; failures <= FAILURES; failures++) {
        tcp_pair_open(&p, NULL, NULL, true);
        fault_fail_call(FAULT_epoll_ctl, 1, failures, ENOMEM);
        int e = gs_stream_controlling_process(p.b, p.mb, other);
        assert_ok(gs_stream_send(p.a, "x", 1));
        owned_by(p.b, other);
        expect_data(other, "x");
        assert_true(fault_stop() > 0);
        assert_code(e, 0);
        tcp_pair_close(&p);
    }
}

static void a_listener_s_transfer_as_well(void **state)
{
    (void)state;
    gs_msg m;
    for (int failures = 1; failures <= FAILURES; failures++) {
        assert_ok(gs_mailbox_new(&p.mb));
        tcp_listen(&p, GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE)), p.mb);
        fault_fail_call(FAULT_epoll_ctl, 1, failures, ENOMEM);
        int e = gs_stream_controlling_process(p.listener, p.mb, other);
        assert_code(e, 0);
        retries_until(other, failures);
        assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, PAIR_WAIT_MS));
        assert_ok(gs_receive(other, &m, PAIR_WAIT_MS));
        assert_int_equal(m.kind, GS_MSG_ACCEPT);
        p.b = m.fresh;
        tcp_pair_close(&p);
    }
}

static void setopts_of_a_listener_succeeds_though_it_cannot_be_watched_yet(void **state)
{
    (void)state;
    gs_msg m;
    assert_ok(gs_mailbox_new(&p.mb));
    tcp_listen(&p, NULL, p.mb);
    assert_code(gs_receive(p.mb, &m, 0), GS_ETIMEOUT);
    fault_fail_call(FAULT_epoll_ctl, 1, FAILURES, ENOMEM);
    int e = gs_stream_setopts(p.listener, GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_ONCE)));
    assert_code(e, 0);
    retries_until(p.mb, FAILURES);
    assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, PAIR_WAIT_MS));
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_ACCEPT);
    p.b = m.fresh;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_flusher_without_memory_takes_a_watch_later),
        TEST(stuck_output_goes_on_though_a_sleeping_owner_cannot_watch_yet),
        TEST(so_it_does_in_a_selective_receive),
        TEST(stuck_output_goes_on_under_a_new_owner_that_cannot_watch_yet),
        TEST(a_transfer_succeeds_though_the_new_owner_cannot_watch_yet),
        TEST(a_listener_s_transfer_as_well),
        TEST(setopts_of_a_listener_succeeds_though_it_cannot_be_watched_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
