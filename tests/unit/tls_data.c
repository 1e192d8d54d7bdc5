/* Bytes over TLS where records, keys and ends come between: close_notify in each direction, new keys under load, sendfile, bytes
 * that are decrypted and not yet asked for, and output that the socket does not take. runner: tsan */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tls_pair.h"

enum { FILE_BYTES = 1 << 20, SEED = 11 };

/* Sends n bytes of the pattern in pieces of many sizes, from a thread of its own; new keys every `keys` pieces. */
struct sender {
    gs_stream s;
    size_t n;
    int keys;
    bool finish; /* ends its direction behind them */
    int error, updates;
    pthread_t thread;
};

static void *send_all(void *arg)
{
    struct sender *v = arg;
    uint8_t *p = malloc(70000);
    struct rng r = {v->n};
    int piece = 0;
    for (size_t at = 0; p && at < v->n && v->error >= 0; piece++) {
        size_t k = 1 + rng_below(&r, 65000);
        k = k < v->n - at ? k : v->n - at;
        pattern_fill(p, k, SEED, at);
        v->error = gs_stream_send(v->s, p, k);
        at += k;
        if (v->keys && piece % v->keys == 0 && v->error >= 0) {
            v->error = gs_stream_setopts(v->s, GS_OPTS(GS_INT(TLS_KEY_UPDATE, v->updates % 2)));
            v->updates++;
        }
    }
    free(p);
    if (v->finish && v->error >= 0)
        v->error = gs_stream_shutdown(v->s, GS_SHUT_WRITE);
    return NULL;
}

static void start_sending(struct sender *v)
{
    assert_int_equal(pthread_create(&v->thread, NULL, send_all, v), 0);
}

static void sent(struct sender *v)
{
    pthread_join(v->thread, NULL);
    assert_code(v->error, 0);
}

/* n bytes of the pattern from `at` on, `piece` at a time at most; 0: what there is. */
static void take_pattern(gs_stream s, size_t at, size_t n, size_t piece)
{
    uint8_t *p = malloc(65536);
    assert_non_null(p);
    for (size_t end = at + n; at < end;) {
        size_t cap = end - at < 65536 ? end - at : 65536, length = piece < cap ? piece : cap;
        long k = assert_ok(gs_stream_recv(s, p, cap, length, TLS_WAIT_MS));
        assert_true(k > 0);
        assert_int_equal(pattern_check(p, (size_t)k, SEED, at), k);
        at += (size_t)k;
    }
    free(p);
}

static void assert_end(gs_stream s)
{
    char c;
    assert_code(gs_stream_recv(s, &c, 1, 0, TLS_WAIT_MS), GS_ECLOSED);
}

static void close_notify_ends_one_direction_alone(void **state)
{
    (void)state;
    for (int version = GS_TLS_1_2; version <= GS_TLS_1_3; version++)
        for (int who = 0; who < 2; who++) {
            struct tls_pair p;
            tls_pair_open(&p, TLS_CLIENT(GS_INT(TLS_MAX_VERSION, version), GS_INT(EXIT_ON_CLOSE, 0)),
                          TLS_SERVER(GS_INT(EXIT_ON_CLOSE, 0)));
            gs_stream first = who ? p.server : p.client, other = who ? p.client : p.server;
            struct sender a = {.s = first, .n = 300000, .finish = true}, b = {.s = other, .n = 3000000, .finish = true};
            start_sending(&a);
            take_pattern(other, 0, a.n, 0);
            assert_end(other);
            sent(&a);
            assert_true(gs_stream_send(first, "x", 1) < 0);
            start_sending(&b); /* the other way goes on */
            take_pattern(first, 0, b.n, 0);
            assert_end(first);
            sent(&b);
            tls_pair_close(&p);
        }
}

static void keys_change_in_the_middle_of_traffic(void **state)
{
    (void)state;
    struct tls_pair p;
    tls_pair_open(&p, TLS_CLIENT(NO_MORE), TLS_SERVER(NO_MORE));
    struct sender a = {.s = p.client, .n = 3 << 20, .keys = 4}, b = {.s = p.server, .n = 3 << 20, .keys = 3};
    struct sender *both[2] = {&a, &b};
    start_sending(&a);
    start_sending(&b);
    for (size_t at = 0; at < a.n; at += 1 << 16) { /* both ends receive while both send and both ask for new keys */
        take_pattern(p.server, at, 1 << 16, 0);
        take_pattern(p.client, at, 1 << 16, 0);
    }
    for (int i = 0; i < 2; i++) {
        sent(both[i]);
        assert_true(both[i]->updates > 10);
    }
    tls_carry(p.client, p.server, 1000);
    tls_carry(p.server, p.client, 1000);
    tls_pair_close(&p);
}

static void tls_1_2_has_no_key_update(void **state)
{
    (void)state;
    struct tls_pair p;
    tls_pair_open(&p, TLS_CLIENT(GS_INT(TLS_MAX_VERSION, GS_TLS_1_2)), TLS_SERVER(NO_MORE));
    assert_code(gs_stream_setopts(p.client, GS_OPTS(GS_INT(TLS_KEY_UPDATE, 0))), -ENOTSUP);
    tls_carry(p.client, p.server, 1000);
    tls_pair_close(&p);
}

struct file_sender {
    gs_stream s;
    int fd;
    int64_t sent[2];
};

static void *send_file(void *arg)
{
    struct file_sender *v = arg;
    v->sent[0] = gs_stream_sendfile(v->s, v->fd, 0, 0);
    v->sent[1] = gs_stream_sendfile(v->s, v->fd, 12345, 54321);
    return NULL;
}

static void sendfile_sends_the_file(void **state)
{
    (void)state;
    struct tls_pair p;
    pthread_t thread;
    uint8_t *bytes = malloc(FILE_BYTES);
    assert_non_null(bytes);
    pattern_fill(bytes, FILE_BYTES, SEED, 0);
    struct file_sender v = {.fd = open(temp_path("sendfile"), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    assert_int_equal(write(v.fd, bytes, FILE_BYTES), FILE_BYTES);
    free(bytes);
    tls_pair_open(&p, TLS_CLIENT(NO_MORE), TLS_SERVER(NO_MORE));
    v.s = p.server;
    assert_int_equal(pthread_create(&thread, NULL, send_file, &v), 0);
    take_pattern(p.client, 0, FILE_BYTES, 0);
    take_pattern(p.client, 12345, 54321, 0);
    pthread_join(thread, NULL);
    assert_int_equal(v.sent[0], FILE_BYTES);
    assert_int_equal(v.sent[1], 54321);
    assert_true(gs_stream_sendfile(p.server, v.fd, FILE_BYTES - 10, 20) == GS_EEOF);
    close(v.fd);
    tls_pair_close(&p);
}

/* Nothing below tells of bytes that are decrypted already: whoever reads less than a record must not hang. */
static void one_byte_at_a_time(void **state)
{
    (void)state;
    enum { ALL = 100 * 1024 };
    struct tls_pair p;
    tls_pair_open(&p, TLS_CLIENT(NO_MORE), TLS_SERVER(NO_MORE));
    struct sender a = {.s = p.client, .n = ALL};
    start_sending(&a);
    for (size_t at = 0; at < ALL; at++)
        take_pattern(p.server, at, 1, 1);
    sent(&a);
    tls_pair_close(&p);
}

/* Small packets in few records, with {active, once}, by a mailbox whose descriptor is in somebody's epoll. */
static void a_foreign_epoll_is_told_of_decrypted_bytes(void **state)
{
    (void)state;
    enum { PACKETS = 3000 };
    struct tls_pair p;
    gs_mailbox mb;
    static uint8_t framed[PACKETS * 10];
    tls_pair_open(&p, TLS_CLIENT(NO_MORE), TLS_SERVER(GS_INT(PACKET, GS_PACKET_2), GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_stream_controlling_process(p.server, GS_NO_MAILBOX, mb));
    for (int i = 0; i < PACKETS; i++) {
        framed[i * 10 + 1] = 8;
        pattern_fill(framed + i * 10 + 2, 8, SEED, (uint64_t)i * 8);
    }
    assert_ok(gs_stream_send(p.client, framed, sizeof framed));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN};
    assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, (int)assert_ok(gs_mailbox_fd(mb)), &ev), 0);
    assert_ok(gs_stream_setopts(p.server, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_ONCE))));
    for (int i = 0; i < PACKETS;) {
        gs_msg m;
        assert_int_equal(epoll_wait(epoll, &ev, 1, TLS_WAIT_MS), 1);
        int e = gs_receive(mb, &m, 0);
        if (e == GS_ETIMEOUT)
            continue;
        assert_code(e, 0);
        assert_int_equal(m.kind, GS_MSG_DATA);
        assert_int_equal(m.packet.data.n, 8);
        assert_int_equal(pattern_check(m.packet.data.p, 8, SEED, (uint64_t)i * 8), 8);
        i++;
        assert_ok(gs_stream_setopts(p.server, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_ONCE))));
    }
    close(epoll);
    tls_pair_close(&p);
    gs_mailbox_free(mb);
}

/* ---- a full socket ---- */

/* A client whose peer does not read, so that sends are refused at some time; the bytes that were taken. */
static size_t fill(gs_stream s, int mode)
{
    static uint8_t piece[30000];
    size_t at = 0;
    assert_ok(gs_stream_setopts(s, GS_OPTS(GS_INT(SEND_MODE, mode), GS_INT(SEND_TIMEOUT, GS_NOWAIT))));
    for (;;) {
        gs_rest rest = {.body_left = 0};
        pattern_fill(piece, sizeof piece, SEED, at);
        int e = gs_stream_sendv(s, &(struct iovec){piece, sizeof piece}, 1, &rest);
        if (e == 0) {
            at += sizeof piece;
            assert_true(at < (size_t)64 << 20);
            continue;
        }
        assert_true(e == -EAGAIN || e == GS_ETIMEOUT);
        assert_int_equal(rest.header_n, 0);
        if (mode == GS_SEND_DIRECT) {
            assert_int_equal(rest.body_at + rest.body_left, sizeof piece);
            at += rest.body_at;
        }
        return at;
    }
}

/* What was refused is never asked for again: other bytes may follow, here the pattern from where it stands. */
static void after_a_refused_send_other_bytes_follow(int mode)
{
    struct tls_pair p;
    gs_mailbox mb;
    assert_ok(gs_mailbox_new(&mb));
    tls_pair_open(&p, TLS_CLIENT(GS_INT(SNDBUF, 65536)), TLS_SERVER(GS_INT(RECBUF, 65536)));
    if (mode == GS_SEND_QUEUED)
        assert_ok(gs_stream_controlling_process(p.client, GS_NO_MAILBOX, mb));
    size_t at = fill(p.client, mode), end = at + 50000;
    uint8_t *more = malloc(50000);
    assert_non_null(more);
    pattern_fill(more, 50000, SEED, at);
    assert_ok(gs_stream_setopts(p.client, GS_OPTS(GS_INT(SEND_TIMEOUT, TLS_WAIT_MS))));
    size_t read = at / 2;
    take_pattern(p.server, 0, read, 0);
    struct sender keys = {.s = p.client};
    assert_code(gs_stream_setopts(keys.s, GS_OPTS(GS_INT(TLS_KEY_UPDATE, 1))), 0); /* while ciphertext is held back */
    while (at < end) { /* pieces, and what is read between them makes room */
        size_t k = end - at < 1000 ? end - at : 1000;
        assert_ok(gs_stream_send(p.client, more + 50000 - (end - at), k));
        at += k;
        size_t left = at - read < 30000 ? 0 : 20000;
        take_pattern(p.server, read, left, 0);
        read += left;
    }
    assert_ok(gs_stream_close(p.client)); /* what is held back still goes out, and close_notify behind it */
    take_pattern(p.server, read, end - read, 0);
    assert_end(p.server);
    free(more);
    tls_pair_close(&p);
    gs_mailbox_free(mb);
}

/* Nobody calls the sender's end again, and yet everything that was told as sent arrives. */
static void what_a_refused_direct_send_took_leaves_by_itself(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tls_pair p;
        tls_pair_open(&p, TLS_CLIENT(GS_INT(SNDBUF, 65536), GS_INT(SEND_TIMEOUT, i ? GS_NOWAIT : 0)), TLS_SERVER(GS_INT(RECBUF, 65536)));
        size_t at = 0;
        uint8_t piece[7000];
        for (int e = 0; e == 0;) {
            gs_rest rest = {0};
            pattern_fill(piece, sizeof piece, SEED, at);
            e = gs_stream_sendv(p.client, &(struct iovec){piece, sizeof piece}, 1, &rest);
            assert_true(e == 0 || e == GS_ETIMEOUT || e == -EAGAIN);
            at += e == 0 ? sizeof piece : rest.body_at;
        }
        take_pattern(p.server, 0, at, 0);
        tls_pair_close(&p);
    }
}

static void after_a_refused_queued_send(void **state)
{
    (void)state;
    after_a_refused_send_other_bytes_follow(GS_SEND_QUEUED);
}

static void after_a_refused_direct_send(void **state)
{
    (void)state;
    after_a_refused_send_other_bytes_follow(GS_SEND_DIRECT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_notify_ends_one_direction_alone),
        cmocka_unit_test(keys_change_in_the_middle_of_traffic),
        cmocka_unit_test(tls_1_2_has_no_key_update),
        cmocka_unit_test(sendfile_sends_the_file),
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(a_foreign_epoll_is_told_of_decrypted_bytes),
        cmocka_unit_test(what_a_refused_direct_send_took_leaves_by_itself),
        cmocka_unit_test(after_a_refused_queued_send),
        cmocka_unit_test(after_a_refused_direct_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
