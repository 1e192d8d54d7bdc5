/* ei_suite.h: what ei's table does alike over every transport. Who includes it says the rows, and calls run_suite. */
#ifndef TEST_EI_SUITE_H
#define TEST_EI_SUITE_H

#include <fcntl.h>

#include "ei_world.h"

static const struct row *rows_of_suite;
static size_t rows_n;

#define EACH_WORLD(w)                                                                                                 \
    for (size_t row_ = 0; row_ < rows_n; row_++)                                                                      \
        for (struct world w = {0}, *once_ = &w; once_ && (world_open(&w, &rows_of_suite[row_]), true);                \
             world_close(&w), once_ = NULL)

/* ---- the facts ---- */

static void bytes_go_both_ways(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        char got[16] = "";
        write_all(w.client, "to the server", 13);
        read_all(w.server, got, 13);
        assert_memory_equal(got, "to the server", 13);
        write_all(w.server, "back", 4);
        read_all(w.client, got, 4);
        assert_memory_equal(got, "back", 4);
    }
}

static void a_read_gives_what_there_is(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        char got[16] = "";
        ssize_t len = sizeof got, none = 0;
        write_all(w.client, "four", 4);
        assert_int_equal(table()->read(w.server, got, &len, EI_SCLBK_INF_TMO), 0);
        assert_int_equal(len, 4);
        assert_int_equal(table()->read(w.server, got, &none, EI_SCLBK_INF_TMO), 0); /* of no bytes, at once */
        assert_int_equal(none, 0);
    }
}

static void a_read_that_times_out_loses_nothing(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        char got[8];
        ssize_t len = sizeof got;
        assert_int_equal(table()->read(w.server, got, &len, 0), ETIMEDOUT);
        assert_int_equal(gs_ei_error(), GS_ETIMEOUT);
        uint64_t began = real_ms();
        assert_int_equal(table()->read(w.server, got, &len, 20), ETIMEDOUT);
        assert_true(real_ms() - began >= 20);
        write_all(w.client, "late", 4);
        len = sizeof got;
        assert_int_equal(table()->read(w.server, got, &len, LONG_WAIT), 0);
        assert_int_equal(len, 4);
        assert_memory_equal(got, "late", 4);
    }
}

static void what_a_write_could_not_send_is_told_and_nothing_is_sent_twice(void **state)
{
    (void)state;
    enum { PIECE = 300000, MOST = 64 * 1024 * 1024 };
    static uint8_t out[PIECE], in[PIECE];
    EACH_WORLD(w)
    {
        size_t sent = 0, partial = 0;
        for (;;) {
            ssize_t len = PIECE;
            pattern_fill(out, PIECE, 7, sent);
            int e = table()->write(w.client, (char *)out, &len, 0);
            assert_true(len >= 0 && len <= PIECE);
            sent += (size_t)len;
            partial += len > 0 && len < PIECE;
            assert_true(sent < MOST);
            if (e) {
                assert_int_equal(e, ETIMEDOUT);
                assert_int_equal(len, 0);
                break;
            }
        }
        ssize_t len = 1;
        uint8_t more = pattern_byte(7, sent);
        int late = table()->write(w.client, (char *)&more, &len, 20); /* the kernel's buffers may have grown meanwhile */
        assert_true(late == 0 || late == ETIMEDOUT);
        sent += late == 0;
        for (size_t got = 0; got < sent;) {
            len = (ssize_t)(sent - got < PIECE ? sent - got : PIECE);
            int e = table()->read(w.server, (char *)in, &len, LONG_WAIT);
            if (e || !len)
                fail_msg("%zu of %zu bytes, then %d and %zd", got, sent, e, len);
            assert_int_equal(pattern_check(in, (size_t)len, 7, got), len);
            got += (size_t)len;
        }
        write_all(w.client, "after", 5);
        read_all(w.server, in, 5);
        assert_memory_equal(in, "after", 5);
        assert_true(partial > 0);
        len = sizeof in;
        assert_int_equal(table()->read(w.server, (char *)in, &len, 0), ETIMEDOUT);
    }
}

static void pieces_are_written_in_order_and_empty_ones_are_nothing(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        struct iovec v[1100], none[2] = {{NULL, 0}, {NULL, 0}};
        char out[1100], got[1100];
        ssize_t len = 0;
        for (size_t i = 0; i < 1100; i++) {
            out[i] = (char)('a' + i % 26);
            v[i] = (struct iovec){&out[i], 1};
        }
        assert_int_equal(table()->writev(w.client, none, 2, &len, LONG_WAIT), 0);
        assert_int_equal(len, 0);
        assert_int_equal(table()->writev(w.client, NULL, 0, &len, LONG_WAIT), 0);
        for (size_t at = 0; at < 1100; at += (size_t)len) { /* more than writev(2) takes: a part of them, told */
            assert_int_equal(table()->writev(w.client, v + at, (int)(1100 - at), &len, LONG_WAIT), 0);
            assert_true(len > 0);
        }
        read_all(w.server, got, sizeof got);
        assert_memory_equal(got, out, sizeof got);
    }
}

static void the_end_of_the_peer_reads_as_nothing_again_and_again(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        char got[8];
        ssize_t len = sizeof got;
        write_all(w.client, "last", 4);
        assert_int_equal(table()->close(w.client), 0);
        w.client = NULL;
        read_all(w.server, got, 4);
        assert_memory_equal(got, "last", 4);
        for (int i = 0; i < 3; i++) {
            len = sizeof got;
            assert_true(readable(w.server, LONG_WAIT));
            assert_int_equal(table()->read(w.server, got, &len, LONG_WAIT), 0);
            assert_int_equal(len, 0);
        }
    }
}

static void writing_to_a_peer_that_is_gone_fails(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        int e = 0;
        uint64_t began = real_ms();
        assert_int_equal(table()->close(w.server), 0);
        w.server = NULL;
        while (e == 0 && real_ms() - began < LONG_WAIT) {
            ssize_t len = 4;
            e = table()->write(w.client, "gone", &len, LONG_WAIT);
        }
        assert_true(e == EPIPE || e == ECONNRESET);
        assert_true(gs_ei_error() < 0);
        for (int i = 0; i < 3; i++) { /* and goes on failing: nothing is told as written */
            ssize_t len = 4;
            e = table()->write(w.client, "gone", &len, i ? EI_SCLBK_INF_TMO : LONG_WAIT);
            assert_true(e == EPIPE || e == ECONNRESET);
            assert_int_equal(len, 0);
        }
    }
}

static int interruptions;

static ssize_t interrupted_recv(int fd, void *p, size_t n, int flags)
{
    if (interruptions++ % 3 == 2)
        return recv(fd, p, n, flags);
    errno = EINTR;
    return -1;
}

static ssize_t interrupted_sendmsg(int fd, const struct msghdr *m, int flags)
{
    if (interruptions++ % 3 == 2)
        return sendmsg(fd, m, flags);
    errno = EINTR;
    return -1;
}

static void signals_interrupt_no_call_without_a_timeout(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        char got[8] = "";
        ssize_t len = 4, room = sizeof got;
        interruptions = 0;
        gsi_ei_sys.recv = interrupted_recv;
        gsi_ei_sys.sendmsg = interrupted_sendmsg;
        int e = table()->write(w.client, "four", &len, EI_SCLBK_INF_TMO);
        int f = table()->read(w.server, got, &room, EI_SCLBK_INF_TMO);
        gsi_ei_sys.recv = recv;
        gsi_ei_sys.sendmsg = sendmsg;
        assert_int_equal(e, 0);
        assert_int_equal(f, 0);
        assert_int_equal(len, 4);
        assert_int_equal(room, 4);
        assert_memory_equal(got, "four", 4);
        assert_int_equal(interruptions, w.row->plain ? 6 : 0);
    }
}

/* The descriptor in a select: what ei's applications do. */
static void the_descriptor_is_readable_when_and_only_when_bytes_wait(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        char got[64];
        fd_set set;
        struct timeval no_time = {0};
        (void)readable(w.server, 100); /* what a layer still says to itself */
        ssize_t len = sizeof got;
        assert_int_equal(table()->read(w.server, got, &len, 0), ETIMEDOUT);
        assert_false(readable(w.server, 0));
        for (int round = 0; round < 3; round++) {
            write_all(w.client, "0123456789", 10);
            assert_true(readable(w.server, LONG_WAIT));
            for (int at = 0; at < 10; at += 2) {
                FD_ZERO(&set);
                FD_SET(fd_of(w.server), &set);
                assert_int_equal(select(fd_of(w.server) + 1, &set, NULL, NULL, &no_time), 1);
                read_all(w.server, got, 2);
                assert_int_equal(got[0], '0' + at);
            }
            assert_false(readable(w.server, 0));
        }
    }
}

/* More than one record, one read and one buffer. */
static void no_bytes_hide_above_the_descriptor(void **state)
{
    (void)state;
    enum { MUCH = 200000 };
    static uint8_t out[MUCH], in[MUCH];
    EACH_WORLD(w)
    {
        pattern_fill(out, MUCH, 3, 0);
        size_t sent = 0;
        for (size_t got = 0; got < MUCH;) {
            while (sent < MUCH && sent - got < 60000) {
                ssize_t n = (ssize_t)(MUCH - sent < 30000 ? MUCH - sent : 30000);
                write_all(w.client, out + sent, (size_t)n);
                sent += (size_t)n;
            }
            ssize_t len = got % 7 ? 7777 : 4;
            len = (ssize_t)(MUCH - got) < len ? (ssize_t)(MUCH - got) : len;
            assert_true(readable(w.server, LONG_WAIT));
            int e = table()->read(w.server, (char *)in + got, &len, 0);
            if (e == ETIMEDOUT) /* part of a record */
                continue;
            assert_int_equal(e, 0);
            got += (size_t)len;
        }
        assert_int_equal(pattern_check(in, MUCH, 3, 0), MUCH);
        assert_false(readable(w.server, 0));
    }
}

static void *no_memory(size_t n)
{
    (void)n;
    return NULL;
}

/* Where a mailbox brings the bytes there is no second try: the connection ends, and says why. */
static void a_lack_of_memory_hides_no_bytes(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        char got[10] = "";
        ssize_t len = 2;
        write_all(w.client, "0123456789", 10);
        assert_true(readable(w.server, LONG_WAIT));
        gsi_ei_sys.malloc = no_memory;
        int e = table()->read(w.server, got, &len, LONG_WAIT);
        gsi_ei_sys.malloc = malloc;
        assert_true(readable(w.server, 0));
        if (e) {
            len = 2;
            assert_int_equal(e, ENOMEM);
            assert_int_equal(table()->read(w.server, got, &len, LONG_WAIT), ENOMEM);
            continue;
        }
        assert_int_equal(len, 2);
        read_all(w.server, got, 8);
        assert_memory_equal(got, "23456789", 8);
        assert_false(readable(w.server, 0));
    }
}

static void a_listener_is_readable_when_and_only_when_a_connection_waits(void **state)
{
    (void)state;
    for (size_t i = 0; i < rows_n; i++) {
        struct world w;
        pthread_t t[2];
        world_listen(&w, &rows_of_suite[i]);
        assert_false(readable(w.listener, 0));
        void *ctx = w.listener;
        int len = sizeof w.from;
        assert_int_equal(table()->accept(&ctx, &w.from, &len, 0), ETIMEDOUT);
        assert_int_equal(table()->accept(&ctx, &w.from, &len, 20), ETIMEDOUT);
        assert_ptr_equal(ctx, w.listener);
        struct world other = w;
        struct dialing d[2] = {{.w = &w}, {.w = &other}};
        for (int k = 0; k < 2; k++)
            assert_int_equal(pthread_create(&t[k], NULL, dial, &d[k]), 0);
        void *servers[2] = {w.listener, w.listener};
        for (int k = 0; k < 2; k++) {
            assert_true(readable(w.listener, LONG_WAIT));
            assert_int_equal(table()->accept(&servers[k], &w.from, &len, LONG_WAIT), 0);
        }
        for (int k = 0; k < 2; k++) {
            pthread_join(t[k], NULL);
            assert_int_equal(d[k].e, 0);
        }
        assert_false(readable(w.listener, 0));
        for (int k = 0; k < 2; k++)
            assert_int_equal(table()->close(servers[k]), 0);
        assert_int_equal(table()->close(other.client), 0);
        world_close(&w);
    }
}

static void the_stream_and_the_addresses_are_told(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        int size = 0;
        gs_stream_info_t info;
        assert_int_equal(w.from.sin_family, AF_INET);
        assert_int_equal(ntohl(w.from.sin_addr.s_addr), w.row->tells_ip ? INADDR_LOOPBACK : 0);
        assert_int_equal(w.from.sin_port != 0, w.row->tells_ip);
        int port = gs_stream_port(stream_of(w.listener));
        assert_int_equal(ntohs(w.bound.sin_port), port > 0 ? port : 0);
        assert_ok(gs_stream_info(stream_of(w.client), &info));
        assert_int_equal(info.state, GS_CONNECTED);
        assert_ok(gs_stream_info(stream_of(w.listener), &info));
        assert_int_equal(info.state, GS_LISTENER);
        assert_int_equal(table()->handshake_packet_header_size(w.client, &size), 0);
        assert_int_equal(size, w.row->header);
        assert_int_equal(table()->handshake_packet_header_size(w.server, &size), 0);
        assert_int_equal(size, w.row->header);
        assert_int_equal(table()->connect_handshake_complete(w.client), 0);
        assert_int_equal(table()->accept_handshake_complete(w.server), 0);
        int fds[] = {fd_of(w.client), fd_of(w.server), fd_of(w.listener)};
        assert_true(fds[0] != fds[1] && fds[1] != fds[2] && fds[0] != fds[2]);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(fcntl(fds[i], F_GETFL) & O_NONBLOCK, 0);
        struct sockaddr_storage peer;
        socklen_t n = sizeof peer;
        assert_int_equal(getpeername(fds[0], (struct sockaddr *)&peer, &n) == 0, w.row->plain);
    }
}

/* ---- closing ---- */

struct blocked {
    void *ctx;
    int (*act)(struct blocked *b);
    _Atomic int result; /* -1: still inside */
};

static int blocked_read(struct blocked *b)
{
    char c[8];
    ssize_t len = sizeof c;
    return table()->read(b->ctx, c, &len, EI_SCLBK_INF_TMO);
}

static int blocked_accept(struct blocked *b)
{
    struct sockaddr_in in;
    int len = sizeof in;
    void *ctx = b->ctx;
    return table()->accept(&ctx, &in, &len, EI_SCLBK_INF_TMO);
}

static int blocked_write(struct blocked *b)
{
    static char much[1 << 20];
    for (int e = 0;;) {
        ssize_t len = sizeof much;
        if ((e = table()->write(b->ctx, much, &len, EI_SCLBK_INF_TMO)))
            return e;
    }
}

static void *run_blocked(void *arg)
{
    struct blocked *b = arg;
    atomic_store(&b->result, b->act(b));
    return NULL;
}

static void close_wakes(struct world *w, void **victim, int (*act)(struct blocked *))
{
    struct blocked b = {.ctx = *victim, .act = act, .result = -1};
    pthread_t t;
    char c[8];
    ssize_t len = sizeof c;
    (void)w;
    assert_int_equal(pthread_create(&t, NULL, run_blocked, &b), 0);
    for (int i = 0; i < 30; i++)
        pause_1ms();
    assert_int_equal(atomic_load(&b.result), -1);
    assert_int_equal(table()->close(*victim), 0);
    assert_until(atomic_load(&b.result) >= 0, LONG_WAIT);
    pthread_join(t, NULL);
    assert_int_equal(atomic_load(&b.result), EBADF);
    assert_int_equal(table()->read(*victim, c, &len, 0), EBADF);
    assert_int_equal(table()->close(*victim), EBADF);
    *victim = NULL;
}

static void close_wakes_who_reads(void **state)
{
    (void)state;
    EACH_WORLD(w) close_wakes(&w, &w.server, blocked_read);
}

static void close_wakes_who_accepts(void **state)
{
    (void)state;
    EACH_WORLD(w) close_wakes(&w, &w.listener, blocked_accept);
}

static void close_wakes_who_writes(void **state)
{
    (void)state;
    EACH_WORLD(w) close_wakes(&w, &w.client, blocked_write);
}

/* As with close(2): a process that was forked may go on with what its parent closes. */
static void a_socket_that_is_shared_outlives_its_close(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        char got[8];
        if (!w.row->plain)
            continue;
        int shared = dup(fd_of(w.client));
        assert_true(shared >= 0);
        assert_int_equal(table()->close(w.client), 0);
        w.client = NULL;
        assert_int_equal(write(shared, "child", 5), 5);
        read_all(w.server, got, 5);
        assert_memory_equal(got, "child", 5);
        close(shared);
    }
}

static void a_second_reader_is_refused_and_the_first_reads_on(void **state)
{
    (void)state;
    EACH_WORLD(w)
    {
        struct blocked b = {.ctx = w.server, .act = blocked_read, .result = -1};
        char c[8];
        pthread_t t;
        int e = ETIMEDOUT;
        assert_int_equal(pthread_create(&t, NULL, run_blocked, &b), 0);
        for (int i = 0; i < 30; i++) /* it is to be the first */
            pause_1ms();
        for (uint64_t began = real_ms(); e == ETIMEDOUT && real_ms() - began < LONG_WAIT;) {
            ssize_t len = sizeof c;
            e = table()->read(w.server, c, &len, 0);
        }
        assert_int_equal(e, EALREADY);
        write_all(w.client, "x", 1);
        pthread_join(t, NULL);
        assert_int_equal(atomic_load(&b.result), 0);
    }
}

struct writer {
    void *ctx;
    char mark;
    int times;
};

static void *write_blocks(void *arg)
{
    const struct writer *wr = arg;
    char block[1000];
    memset(block, wr->mark, sizeof block);
    for (int i = 0; i < wr->times; i++) {
        struct iovec v[2] = {{block, 400}, {block + 400, 600}};
        ssize_t len = 0;
        assert_int_equal(table()->writev(wr->ctx, v, 2, &len, i % 3 ? EI_SCLBK_INF_TMO : LONG_WAIT), 0);
        assert_int_equal(len, 1000);
    }
    return NULL;
}

static void writers_take_turns(void **state)
{
    (void)state;
    enum { WRITERS = 3, TIMES = 200 };
    EACH_WORLD(w)
    {
        struct writer wr[WRITERS];
        pthread_t t[WRITERS];
        int seen[WRITERS] = {0};
        char block[1000];
        for (int i = 0; i < WRITERS; i++) {
            wr[i] = (struct writer){w.client, (char)i, TIMES};
            assert_int_equal(pthread_create(&t[i], NULL, write_blocks, &wr[i]), 0);
        }
        for (int n = 0; n < WRITERS * TIMES; n++) {
            read_all(w.server, block, sizeof block);
            for (size_t k = 1; k < sizeof block; k++)
                assert_int_equal(block[k], block[0]);
            seen[(int)block[0]]++;
        }
        for (int i = 0; i < WRITERS; i++) {
            pthread_join(t[i], NULL);
            assert_int_equal(seen[i], TIMES);
        }
    }
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    EACH_WORLD(w) write_all(w.client, "warm", 4);
    struct census before;
    census_take(&before);
    for (int i = 0; i < 5; i++)
        EACH_WORLD(w) write_all(w.client, "unread", 6);
    census_assert(&before);
}

static int run_suite(const struct row *rows, size_t n)
{
    rows_of_suite = rows;
    rows_n = n;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(a_read_gives_what_there_is),
        cmocka_unit_test(a_read_that_times_out_loses_nothing),
        cmocka_unit_test(what_a_write_could_not_send_is_told_and_nothing_is_sent_twice),
        cmocka_unit_test(pieces_are_written_in_order_and_empty_ones_are_nothing),
        cmocka_unit_test(the_end_of_the_peer_reads_as_nothing_again_and_again),
        cmocka_unit_test(writing_to_a_peer_that_is_gone_fails),
        cmocka_unit_test(signals_interrupt_no_call_without_a_timeout),
        cmocka_unit_test(the_descriptor_is_readable_when_and_only_when_bytes_wait),
        cmocka_unit_test(no_bytes_hide_above_the_descriptor),
        cmocka_unit_test(a_lack_of_memory_hides_no_bytes),
        cmocka_unit_test(a_listener_is_readable_when_and_only_when_a_connection_waits),
        cmocka_unit_test(the_stream_and_the_addresses_are_told),
        cmocka_unit_test(close_wakes_who_reads),
        cmocka_unit_test(close_wakes_who_accepts),
        cmocka_unit_test(close_wakes_who_writes),
        cmocka_unit_test(a_socket_that_is_shared_outlives_its_close),
        cmocka_unit_test(a_second_reader_is_refused_and_the_first_reads_on),
        cmocka_unit_test(writers_take_turns),
        cmocka_unit_test(nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
