/* Nobody starves: posts, streams and timers of one mailbox take their turns, however busy one of them is. */
#include <stdlib.h>
#include <string.h>

#include "stream_pair.h"

enum { NEIGHBOURS = 200 }; /* messages of others that may come first: two batches and their posts */

static struct tcp_pair p;
static gs_stream other_a, other_b;

static int set_up(void **state)
{
    (void)state;
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_1), {.name = GS_OPT_END}};
    tcp_pair_open(&p, o, o, true);
    assert_ok(gs_stream_connect(&other_a, p.at, o, GS_NO_MAILBOX, PAIR_WAIT_MS));
    assert_ok(gs_stream_accept(p.listener, &other_b, p.mb, PAIR_WAIT_MS, NULL));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gs_stream_close(other_a);
    gs_stream_close(other_b);
    tcp_pair_close(&p);
    return 0;
}

/* n frames of one byte from a, in few writes. */
static void flood(int n)
{
    uint8_t wire[2000];
    for (size_t i = 0; i < sizeof wire; i += 2)
        wire[i] = 1, wire[i + 1] = 'f';
    assert_ok(gs_stream_setopts(p.a, GS_OPTS(GS_INT(PACKET, GS_PACKET_RAW))));
    for (int left = n; left > 0; left -= 1000)
        assert_ok(gs_stream_send(p.a, wire, left < 1000 ? (size_t)left * 2 : sizeof wire));
}

/* How many messages come before one that `is`; the posts and the flood go on meanwhile. */
static int messages_before(bool (*is)(const gs_msg *))
{
    gs_msg m;
    for (int n = 0; n < 100000; n++) {
        assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
        if (is(&m))
            return n;
    }
    return 100000;
}

static bool is_other(const gs_msg *m) { return m->kind == GS_MSG_DATA && m->stream.id == other_b.id; }
static bool is_post(const gs_msg *m) { return m->kind == GS_MSG_POST; }
static bool is_timer(const gs_msg *m) { return m->kind == GS_MSG_TIMER; }
static bool is_data(const gs_msg *m) { return m->kind == GS_MSG_DATA; }

static void P12_a_busy_stream_does_not_starve_another(void **state)
{
    (void)state;
    flood(20000);
    assert_ok(gs_stream_send(other_a, "me too", 6));
    assert_in_range(messages_before(is_other), 0, NEIGHBOURS);
}

static void P12_a_busy_stream_does_not_starve_posts(void **state)
{
    (void)state;
    flood(20000);
    assert_ok(gs_post(p.mb, 1, NULL, 0));
    assert_in_range(messages_before(is_post), 0, NEIGHBOURS);
}

static void P12_a_busy_stream_does_not_starve_timers(void **state)
{
    (void)state;
    uint64_t ref;
    flood(20000);
    assert_ok(gs_timer_start(p.mb, 0, NULL, &ref));
    assert_in_range(messages_before(is_timer), 0, NEIGHBOURS);
}

static void P12_a_busy_poster_does_not_starve_streams(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++)
        assert_ok(gs_post(p.mb, 1, NULL, 0));
    assert_ok(gs_stream_send(other_a, "me too", 6));
    assert_in_range(messages_before(is_data), 0, NEIGHBOURS);
}

/* One that answers every post with another. */
static void P12_posting_to_oneself_for_ever_does_not_starve_streams(void **state)
{
    (void)state;
    gs_msg m;
    assert_ok(gs_post(p.mb, 1, NULL, 0));
    assert_ok(gs_stream_send(other_a, "me too", 6));
    for (int n = 0; n < NEIGHBOURS; n++) {
        assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
        if (m.kind == GS_MSG_DATA)
            return;
        assert_ok(gs_post(p.mb, 1, NULL, 0));
    }
    fail_msg("%d posts came first", NEIGHBOURS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(P12_a_busy_stream_does_not_starve_another),
        TEST(P12_a_busy_stream_does_not_starve_posts),
        TEST(P12_a_busy_stream_does_not_starve_timers),
        TEST(P12_a_busy_poster_does_not_starve_streams),
        TEST(P12_posting_to_oneself_for_ever_does_not_starve_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
