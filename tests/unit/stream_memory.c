/* Memory that a passive stream holds: none while it is idle, and none anew for each packet while packets come. Bytes and calls
 * are counted at the allocator's seam. runner: serial */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "census.h"
#include "fault.h"
#include "stream_pair.h"

enum { LONG = 100000, PACKETS = 20 };

static struct tcp_pair p;
static char *packet, *got;

static int set_up(void **state)
{
    (void)state;
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_4), GS_INT(SNDBUF, 2 * LONG), {.name = GS_OPT_END}};
    packet = calloc(1, LONG);
    got = malloc(LONG);
    assert_non_null(packet);
    assert_non_null(got);
    tcp_pair_open(&p, o, (const gs_opt[]){GS_INT(PACKET, GS_PACKET_4), GS_INT(ACTIVE, GS_ACTIVE_FALSE), {.name = GS_OPT_END}},
                  true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fault_stop();
    tcp_pair_close(&p);
    free(packet);
    free(got);
    return 0;
}

static void send_long(void) { assert_ok(gs_stream_send(p.a, packet, LONG)); }
static void recv_long(void) { assert_code(gs_stream_recv(p.b, got, LONG, 0, PAIR_WAIT_MS), LONG); }

static long bytes(void)
{
    struct census c;
    census_take(&c);
    return c.bytes;
}

static void the_next_long_packet_takes_no_new_memory(void **state)
{
    (void)state;
    send_long();
    recv_long();
    fault_count();
    for (int i = 0; i < PACKETS; i++) {
        send_long();
        recv_long();
    }
    long taken = fault_seen_on(FAULT_malloc) + fault_seen_on(FAULT_realloc);
    fault_stop();
    assert_in_range(taken, 0, PACKETS / 4); /* a wait of 100 ms gives it back: a machine may be that slow now and then */
}

static void a_recv_that_finds_nothing_leaves_no_buffer(void **state)
{
    (void)state;
    long before = bytes();
    send_long();
    recv_long();
    assert_true(bytes() >= before + LONG);
    assert_code(gs_stream_recv(p.b, got, LONG, 0, 0), GS_ETIMEOUT);
    assert_int_equal(bytes(), before);
    send_long();
    recv_long();
    assert_code(gs_stream_recv(p.b, got, LONG, 0, 20), GS_ETIMEOUT);
    assert_int_equal(bytes(), before);
}

static void *wait_for_long(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)gs_stream_recv(p.b, got, LONG, 0, GS_INFINITY);
}

static void a_recv_that_waits_for_long_holds_no_buffer(void **state)
{
    (void)state;
    long before = bytes(); /* the thread has a little of its own */
    send_long();
    recv_long();
    assert_true(bytes() >= before + LONG);
    pthread_t t;
    void *result;
    assert_int_equal(pthread_create(&t, NULL, wait_for_long, NULL), 0);
    bool given_back = wait_until(bytes() < before + LONG / 2, PAIR_WAIT_MS);
    send_long();
    pthread_join(t, &result);
    assert_true(given_back);
    assert_int_equal((intptr_t)result, LONG);
}

static void an_active_stream_keeps_nothing_of_its_passive_time(void **state)
{
    (void)state;
    gs_msg m;
    assert_code(gs_receive(p.mb, &m, 0), GS_ETIMEOUT); /* the mailbox's own buffers are there */
    long before = bytes();
    send_long();
    recv_long();
    assert_true(bytes() >= before + LONG);
    assert_ok(gs_stream_setopts(p.b, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_TRUE))));
    assert_int_equal(bytes(), before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_next_long_packet_takes_no_new_memory),
        TEST(a_recv_that_finds_nothing_leaves_no_buffer),
        TEST(a_recv_that_waits_for_long_holds_no_buffer),
        TEST(an_active_stream_keeps_nothing_of_its_passive_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
