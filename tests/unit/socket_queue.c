/* Callers of several threads queue: in order, whatever becomes of one in the middle; close wakes them all. runner:
 * tsan, serial */
#include "socket_test.h"

enum { N = 5 };

/* Starts the i-th call only when the ones before it stand in the queue. */
static void start_in_order(struct call *c, int n, void (*run)(struct call *), gs_socket s, int timeout_ms, atomic_int *order)
{
    size_t before = waiting(s);
    for (int i = 0; i < n; i++) {
        c[i].order = order;
        start(&c[i], run, s, timeout_ms);
        assert_until(waiting(s) == before + (size_t)i + 1, 5000);
    }
}

static void receivers_get_the_bytes_in_the_order_they_came(void **state)
{
    (void)state;
    gs_socket a, b;
    struct call c[N] = {0};
    local_pair(SOCK_STREAM, &a, &b);
    start_in_order(c, N, run_recv, b, 10000, NULL);
    assert_int_equal(gs_socket_send(a, "12345", N, 0, NULL), N);
    for (int i = 0; i < N; i++) {
        join(&c[i]);
        assert_int_equal(c[i].result, 1);
        assert_int_equal(c[i].byte, '1' + i);
    }
    assert_int_equal(waiting(b), 0);
    close_both(a, b);
}

static void datagrams_go_to_receivers_in_order(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket b = bound(AF_INET, SOCK_DGRAM, &at), a = open_socket(AF_INET, SOCK_DGRAM);
    struct call c[N] = {0};
    start_in_order(c, N, run_recv, b, 10000, NULL);
    for (int i = 0; i < N; i++)
        assert_int_equal(gs_socket_sendto(a, &(char){(char)('a' + i)}, 1, &at, 0, NULL), 1);
    for (int i = 0; i < N; i++) {
        join(&c[i]);
        assert_int_equal(c[i].byte, 'a' + i);
    }
    close_both(a, b);
}

static void acceptors_get_connections_in_order(void **state)
{
    (void)state;
    gs_addr at, from[N];
    gs_socket l = listener(&at), client[N];
    struct call c[N] = {0};
    start_in_order(c, N, run_accept, l, 10000, NULL);
    for (int i = 0; i < N; i++) {
        client[i] = open_socket(AF_INET, SOCK_STREAM);
        assert_ok(gs_socket_connect(client[i], &at, GS_MS(5000)));
        assert_ok(gs_socket_sockname(client[i], &from[i]));
        join(&c[i]);
        assert_ok(c[i].result);
        gs_addr peer;
        assert_ok(gs_socket_peername(c[i].fresh, &peer));
        assert_true(gs_addr_equal(&peer, &from[i]));
        close_both(c[i].fresh, client[i]);
    }
    assert_ok(gs_socket_close(l));
}

/* Each sends one block; the blocks come out whole, in the order of the callers. */
static void senders_are_not_mixed_and_keep_their_order(void **state)
{
    (void)state;
    gs_socket a, b;
    struct call c[N] = {0};
    static char in[8 << 20];
    local_pair(SOCK_STREAM, &a, &b);
    fill(a);
    for (int i = 0; i < N; i++)
        c[i].byte = (char)('A' + i);
    start_in_order(c, N, run_send, a, 10000, NULL);
    uint64_t had = info_of(a).write_byte;
    size_t got = 0, want = (size_t)had + N * 4096;
    while (got < want)
        got += (size_t)assert_ok(gs_socket_recv(b, in + got, sizeof in - got, 0, GS_MS(5000)));
    for (int i = 0; i < N; i++) {
        join(&c[i]);
        assert_int_equal(c[i].result, 4096);
    }
    const char *p = in + had;
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 4096; k++)
            assert_int_equal(*p++, 'A' + i);
    close_both(a, b);
}

static void a_timeout_in_the_middle_loses_nobody(void **state)
{
    (void)state;
    gs_socket a, b;
    struct call c[4] = {0};
    local_pair(SOCK_STREAM, &a, &b);
    start_in_order(c, 1, run_recv, b, 10000, NULL);
    start_in_order(c + 1, 1, run_recv, b, 30, NULL);
    start_in_order(c + 2, 2, run_recv, b, 10000, NULL);
    join(&c[1]);
    assert_code(c[1].result, GS_ETIMEOUT);
    assert_int_equal(waiting(b), 3);
    assert_int_equal(gs_socket_send(a, "xyz", 3, 0, NULL), 3);
    join(&c[0]);
    join(&c[2]);
    join(&c[3]);
    assert_int_equal(c[0].byte, 'x');
    assert_int_equal(c[2].byte, 'y');
    assert_int_equal(c[3].byte, 'z');
    close_both(a, b);
}

static void a_timeout_of_the_first_gives_its_place_to_the_second(void **state)
{
    (void)state;
    gs_socket a, b;
    struct call c[2] = {0};
    local_pair(SOCK_STREAM, &a, &b);
    start_in_order(c, 1, run_recv, b, 30, NULL);
    start_in_order(c + 1, 1, run_recv, b, 10000, NULL);
    join(&c[0]);
    assert_code(c[0].result, GS_ETIMEOUT);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    join(&c[1]);
    assert_int_equal(c[1].byte, 'x');
    close_both(a, b);
}

static void blocking_and_nowait_calls_share_one_queue(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    struct call c[2] = {0};
    char byte;
    gs_msg m;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb);
    start_in_order(c, 1, run_recv, b, 10000, NULL);
    assert_code(gs_socket_recv(b, &byte, 1, 0, &w), GS_ESELECT);
    start_in_order(c + 1, 1, run_recv, b, 10000, NULL);
    assert_int_equal(gs_socket_send(a, "1", 1, 0, NULL), 1);
    join(&c[0]);
    assert_int_equal(c[0].byte, '1');
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_int_equal(gs_socket_send(a, "23", 2, 0, NULL), 2);
    expect_message(mb, GS_MSG_SELECT, w.info.ref);
    assert_int_equal(waiting(b), 2); /* the last one does not overtake the one that was told */
    assert_int_equal(gs_socket_recv(b, &byte, 1, 0, &w), 1);
    assert_int_equal(byte, '2');
    join(&c[1]);
    assert_int_equal(c[1].byte, '3');
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void cancel_of_the_middle_one_lets_the_others_go_on(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    struct call c[2] = {0};
    char byte;
    gs_msg m;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb);
    start_in_order(c, 1, run_recv, b, 10000, NULL);
    assert_code(gs_socket_recv(b, &byte, 1, 0, &w), GS_ESELECT);
    start_in_order(c + 1, 1, run_recv, b, 10000, NULL);
    assert_ok(gs_socket_cancel(b, &w.info));
    assert_int_equal(waiting(b), 2);
    assert_int_equal(gs_socket_send(a, "12", 2, 0, NULL), 2);
    join(&c[0]);
    join(&c[1]);
    assert_int_equal(c[0].byte, '1');
    assert_int_equal(c[1].byte, '2');
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void cancel_of_the_first_one_wakes_the_second(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    struct call c[1] = {0};
    char byte;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb);
    assert_code(gs_socket_recv(b, &byte, 1, 0, &w), GS_ESELECT);
    start_in_order(c, 1, run_recv, b, 10000, NULL);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    expect_message(mb, GS_MSG_SELECT, w.info.ref);
    assert_int_equal(atomic_load(&c->ended), 0);
    assert_ok(gs_socket_cancel(b, &w.info));
    join(c);
    assert_int_equal(c->byte, 'x');
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void close_wakes_everybody_within_50_ms(void **state)
{
    (void)state;
    gs_socket a, b, duplicate;
    struct call c[2 * N] = {0};
    char byte;
    local_pair(SOCK_STREAM, &a, &b);
    fill(b);
    assert_ok(gs_socket_open_fd(&duplicate, info_of(b).fd, NULL));
    start_in_order(c, N, run_recv, b, GS_INFINITY, NULL);
    start_in_order(c + N, N, run_send, b, 60000, NULL);
    uint64_t at = real_ms();
    assert_ok(gs_socket_close(b));
    assert_true(real_ms() - at <= 50);
    for (int i = 0; i < 2 * N; i++) {
        join(&c[i]);
        assert_code(c[i].result, GS_ECLOSED);
        assert_true(c[i].ended_ms - at <= 50);
    }
    assert_code(gs_socket_close(b), GS_ECLOSED);
    /* Not by shutdown(2): the other holder of the connection still has it. */
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    assert_int_equal(gs_socket_recv(duplicate, &byte, 1, 0, GS_MS(5000)), 1);
    close_both(a, duplicate);
}

static void close_wakes_acceptors_and_frees_the_port(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket l = listener(&at), again = open_socket(AF_INET, SOCK_STREAM);
    struct call c[N] = {0};
    start_in_order(c, N, run_accept, l, GS_INFINITY, NULL);
    uint64_t before = real_ms();
    assert_ok(gs_socket_close(l));
    assert_ok(gs_socket_bind(again, &at));
    assert_ok(gs_socket_listen(again, 1));
    for (int i = 0; i < N; i++) {
        join(&c[i]);
        assert_code(c[i].result, GS_ECLOSED);
        assert_true(c[i].ended_ms - before <= 50);
    }
    assert_ok(gs_socket_close(again));
}

static void run_connect(struct call *c)
{
    c->result = gs_socket_connect(c->s, &c->to, GS_MS(60000));
}

static void close_wakes_a_connect(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket l = bound(AF_INET, SOCK_STREAM, &at), filler[3], s = open_socket(AF_INET, SOCK_STREAM);
    assert_ok(gs_socket_listen(l, 0));
    for (int i = 0; i < 3; i++) {
        filler[i] = open_socket(AF_INET, SOCK_STREAM);
        (void)!gs_socket_connect(filler[i], &at, GS_MS(20));
    }
    struct call c = {.to = at};
    start(&c, run_connect, s, 0);
    assert_until(waiting(s) == 1, 5000);
    assert_code(gs_socket_connect(s, &at, GS_MS(1000)), -EALREADY);
    uint64_t before = real_ms();
    assert_ok(gs_socket_close(s));
    join(&c);
    assert_code(c.result, GS_ECLOSED);
    assert_true(c.ended_ms - before <= 50);
    for (int i = 0; i < 3; i++)
        assert_ok(gs_socket_close(filler[i]));
    assert_ok(gs_socket_close(l));
}

/* ---- a storm: every byte arrives once, whoever is cancelled, times out or closes ---- */

struct storm {
    gs_socket s;
    atomic_int got, stop;
};

static void *storm_blocking(void *arg)
{
    struct storm *st = arg;
    struct rng r = {(uint64_t)(uintptr_t)&r};
    char c;
    while (!atomic_load(&st->stop)) {
        ssize_t n = gs_socket_recv(st->s, &c, 1, 0, GS_MS((int)rng_below(&r, 4)));
        if (n == GS_ECLOSED)
            break;
        if (n > 0)
            atomic_fetch_add(&st->got, (int)n);
        else
            assert_code(n, GS_ETIMEOUT);
    }
    return NULL;
}

static void *storm_nowait(void *arg)
{
    struct storm *st = arg;
    struct rng r = {(uint64_t)(uintptr_t)&r};
    gs_mailbox mb = new_mailbox();
    char c;
    gs_wait w = nowait(mb);
    while (!atomic_load(&st->stop)) {
        ssize_t n = gs_socket_recv(st->s, &c, 1, 0, &w);
        if (n == GS_ECLOSED)
            break;
        if (n > 0) {
            atomic_fetch_add(&st->got, (int)n);
            continue;
        }
        assert_code(n, GS_ESELECT);
        gs_msg m;
        int e = gs_receive(mb, &m, (int)rng_below(&r, 4));
        if (e == GS_ETIMEOUT && rng_below(&r, 2)) {
            e = gs_socket_cancel(st->s, &w.info);
            assert_true(e == 0 || e == GS_ECLOSED);
        } else if (e == GS_ETIMEOUT && rng_below(&r, 8) == 0) { /* die with the wait pending */
            assert_ok(gs_mailbox_free(mb));
            mb = new_mailbox();
            w = nowait(mb);
        }
    }
    assert_ok(gs_mailbox_free(mb));
    return NULL;
}

static void a_storm_of_receivers_loses_and_doubles_nothing(void **state)
{
    (void)state;
    enum { THREADS = 6 };
    const int total = (int)test_scale(4000, 40000);
    gs_socket a, b;
    pthread_t t[THREADS];
    struct storm st = {0};
    local_pair(SOCK_STREAM, &a, &b);
    st.s = b;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, i % 2 ? storm_nowait : storm_blocking, &st), 0);
    for (int sent = 0; sent < total; sent += 8) {
        assert_int_equal(gs_socket_send(a, "12345678", 8, 0, NULL), 8);
        if (sent % 256 == 0)
            pause_1ms();
    }
    assert_until(atomic_load(&st.got) == total, 20000);
    assert_int_equal(atomic_load(&st.got), total);
    assert_ok(gs_socket_close(b));
    atomic_store(&st.stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(atomic_load(&st.got), total);
    assert_ok(gs_socket_close(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receivers_get_the_bytes_in_the_order_they_came),
        cmocka_unit_test(datagrams_go_to_receivers_in_order),
        cmocka_unit_test(acceptors_get_connections_in_order),
        cmocka_unit_test(senders_are_not_mixed_and_keep_their_order),
        cmocka_unit_test(a_timeout_in_the_middle_loses_nobody),
        cmocka_unit_test(a_timeout_of_the_first_gives_its_place_to_the_second),
        cmocka_unit_test(blocking_and_nowait_calls_share_one_queue),
        cmocka_unit_test(cancel_of_the_middle_one_lets_the_others_go_on),
        cmocka_unit_test(cancel_of_the_first_one_wakes_the_second),
        cmocka_unit_test(close_wakes_everybody_within_50_ms),
        cmocka_unit_test(close_wakes_acceptors_and_frees_the_port),
        cmocka_unit_test(close_wakes_a_connect),
        cmocka_unit_test(a_storm_of_receivers_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
