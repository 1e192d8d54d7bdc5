/* A careless caller of each public stream call gets an answer, never a crash (promise P7). */
/* runner: tsan */
#include <errno.h>
#include <gensock/stream.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"

/* No stream, one that was closed, a mailbox, numbers. */
enum { BAD = 5 };
static gs_mailbox mailbox;
static gs_stream bad[BAD], good, peer, listener;
static const int answer[BAD] = {GS_EBADARG, GS_ECLOSED, GS_EBADARG, GS_EBADARG, GS_EBADARG};
static char buf[64];

static int open_all(void **state)
{
    (void)state;
    gs_stream gone;
    assert_ok(gs_mailbox_new(&mailbox));
    assert_ok(gs_stream_listen(&listener, "mem://hostile", NULL, GS_NO_MAILBOX));
    assert_ok(gs_stream_connect(&good, "mem://hostile", NULL, GS_NO_MAILBOX, 1000));
    assert_ok(gs_stream_accept(listener, &peer, GS_NO_MAILBOX, 1000, NULL));
    assert_ok(gs_stream_listen(&gone, "mem://hostile-too", NULL, GS_NO_MAILBOX));
    assert_ok(gs_stream_close(gone));
    const gs_stream all[BAD] = {{0}, gone, {mailbox.id}, {UINT64_MAX}, {good.id ^ UINT64_C(0x80000000)}};
    memcpy(bad, all, sizeof bad);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    assert_ok(gs_stream_close(good));
    assert_ok(gs_stream_close(peer));
    assert_ok(gs_stream_close(listener));
    return gs_mailbox_free(mailbox);
}

#define EACH_BAD(call)                                                                                                \
    for (int i = 0; i < BAD; i++) {                                                                                   \
        gs_stream s = bad[i];                                                                                         \
        assert_code(call, answer[i]);                                                                                 \
    }

static const int bad_timeouts[] = {-3, -1000, INT_MIN};
#define EACH_BAD_TIMEOUT(call)                                                                                        \
    for (int i = 0; i < 3; i++) {                                                                                     \
        int ms = bad_timeouts[i];                                                                                     \
        assert_code(call, GS_EBADARG);                                                                                \
    }

static const char *const bad_addresses[] = {"", ":", "://", "tcp", "tcp:", "tcp:/", "tcp://", "tcp://x", "tcp://:99999",
    "tcp://[::1", "nowhere://x", "tcp+tcp://x:1", "+tcp://x:1", "xx+yy+zz+tcp://:1", "\xff\xfe://\x01"};

HOSTILE(gs_stream_listen)
{
    (void)state;
    gs_stream s;
    assert_code(gs_stream_listen(NULL, "tcp://:0", NULL, GS_NO_MAILBOX), GS_EBADARG);
    assert_code(gs_stream_listen(&s, NULL, NULL, GS_NO_MAILBOX), GS_EBADARG);
    for (size_t i = 0; i < sizeof bad_addresses / sizeof *bad_addresses; i++)
        assert_true(gs_stream_listen(&s, bad_addresses[i], NULL, GS_NO_MAILBOX) < 0);
    assert_code(gs_stream_listen(&s, "tcp://:0", NULL, (gs_mailbox){good.id}), GS_EBADARG);
    assert_code(gs_stream_listen(&s, "tcp://:0", GS_OPTS({.name = 999}), GS_NO_MAILBOX), -EINVAL);
    assert_code(gs_stream_listen(&s, "tcp://:0", GS_OPTS(GS_INT(PACKET, 99)), GS_NO_MAILBOX), -EINVAL);
    assert_code(gs_stream_listen(&s, "tcp://:0", GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE)), GS_NO_MAILBOX), -EINVAL);
}

HOSTILE(gs_stream_connect)
{
    (void)state;
    gs_stream s;
    assert_code(gs_stream_connect(NULL, "mem://hostile", NULL, GS_NO_MAILBOX, 0), GS_EBADARG);
    assert_code(gs_stream_connect(&s, NULL, NULL, GS_NO_MAILBOX, 0), GS_EBADARG);
    EACH_BAD_TIMEOUT(gs_stream_connect(&s, "mem://hostile", NULL, GS_NO_MAILBOX, ms));
    for (size_t i = 0; i < sizeof bad_addresses / sizeof *bad_addresses; i++)
        assert_true(gs_stream_connect(&s, bad_addresses[i], NULL, GS_NO_MAILBOX, 0) < 0);
    assert_code(gs_stream_connect(&s, "mem://hostile", NULL, GS_NO_MAILBOX, GS_NOWAIT), GS_EBADARG);
    assert_code(gs_stream_connect(&s, "mem://hostile", NULL, (gs_mailbox){77}, 0), GS_EBADARG);
    assert_code(gs_stream_connect(&s, "mem://hostile", GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_TRUE)), GS_NO_MAILBOX, 0), -EINVAL);
}

HOSTILE(gs_stream_accept)
{
    (void)state;
    gs_stream fresh;
    EACH_BAD(gs_stream_accept(s, &fresh, GS_NO_MAILBOX, 0, NULL));
    EACH_BAD_TIMEOUT(gs_stream_accept(listener, &fresh, GS_NO_MAILBOX, ms, NULL));
    assert_code(gs_stream_accept(listener, NULL, GS_NO_MAILBOX, 0, NULL), GS_EBADARG);
    assert_code(gs_stream_accept(good, &fresh, GS_NO_MAILBOX, 0, NULL), -EINVAL);
    assert_code(gs_stream_accept(listener, &fresh, (gs_mailbox){good.id}, 0, NULL), GS_EBADARG);
    assert_code(gs_stream_accept(listener, &fresh, GS_NO_MAILBOX, GS_NOWAIT, NULL), GS_EBADARG);
    assert_code(gs_stream_accept(listener, &fresh, GS_NO_MAILBOX, 0, NULL), GS_ETIMEOUT);
}

HOSTILE(gs_stream_cancel)
{
    (void)state;
    EACH_BAD(gs_stream_cancel(s, 1));
    assert_code(gs_stream_cancel(listener, 0), GS_EINVALID);
    assert_code(gs_stream_cancel(listener, UINT64_MAX), GS_EINVALID);
    assert_code(gs_stream_cancel(good, 1), GS_EINVALID);
}

HOSTILE(gs_stream_import)
{
    (void)state;
    gs_stream s;
    int fds[2];
    assert_code(gs_stream_import(&s, -1, NULL, GS_NO_MAILBOX), GS_EBADARG);
    assert_true(gs_stream_import(&s, 1 << 20, NULL, GS_NO_MAILBOX) < 0);
    assert_int_equal(pipe(fds), 0);
    assert_true(gs_stream_import(&s, fds[0], NULL, GS_NO_MAILBOX) < 0);
    assert_code(gs_stream_import(NULL, fds[1], NULL, GS_NO_MAILBOX), GS_EBADARG);
    assert_int_equal(close(fds[0]), -1); /* taken, also on failure */
    assert_int_equal(close(fds[1]), -1);
}

HOSTILE(gs_stream_export)
{
    (void)state;
    uint8_t *rest;
    size_t n;
    EACH_BAD(gs_stream_export(s, &rest, &n));
    assert_code(gs_stream_export(good, NULL, &n), GS_EBADARG);
    assert_code(gs_stream_export(good, &rest, NULL), GS_EBADARG);
    assert_code(gs_stream_export(good, &rest, &n), -ENOTSUP);
}

HOSTILE(gs_stream_send)
{
    (void)state;
    EACH_BAD(gs_stream_send(s, "x", 1));
    assert_code(gs_stream_send(good, NULL, 1), GS_EBADARG);
    assert_code(gs_stream_send(good, "x", SIZE_MAX), GS_EBADARG);
    assert_code(gs_stream_send(listener, "x", 1), -ENOTCONN);
    assert_ok(gs_stream_send(good, NULL, 0));
}

HOSTILE(gs_stream_sendv)
{
    (void)state;
    gs_rest rest;
    struct iovec one = {buf, 1}, none = {NULL, 1}, two[2] = {{buf, (size_t)SSIZE_MAX}, {buf, 1}};
    EACH_BAD(gs_stream_sendv(s, &one, 1, &rest));
    assert_code(gs_stream_sendv(good, NULL, 1, NULL), GS_EBADARG);
    assert_code(gs_stream_sendv(good, &one, -1, NULL), GS_EBADARG);
    assert_code(gs_stream_sendv(good, &one, 1025, NULL), GS_EBADARG);
    assert_code(gs_stream_sendv(good, &none, 1, NULL), GS_EBADARG);
    assert_code(gs_stream_sendv(good, two, 2, NULL), GS_EBADARG);
    assert_ok(gs_stream_sendv(good, NULL, 0, NULL));
}

HOSTILE(gs_stream_sendfile)
{
    (void)state;
    EACH_BAD(gs_stream_sendfile(s, STDIN_FILENO, 0, 0));
    assert_code(gs_stream_sendfile(good, -1, 0, 0), GS_EBADARG);
    assert_code(gs_stream_sendfile(good, STDIN_FILENO, -1, 0), GS_EBADARG);
    assert_code(gs_stream_sendfile(good, STDIN_FILENO, 1, SIZE_MAX), GS_EBADARG);
    assert_code(gs_stream_sendfile(good, 1 << 20, 0, 0), -EBADF);
}

HOSTILE(gs_stream_flush)
{
    (void)state;
    EACH_BAD(gs_stream_flush(s, 0));
    EACH_BAD_TIMEOUT(gs_stream_flush(good, ms));
    assert_ok(gs_stream_flush(good, 0));
}

HOSTILE(gs_stream_recv)
{
    (void)state;
    EACH_BAD(gs_stream_recv(s, buf, sizeof buf, 0, 0));
    EACH_BAD_TIMEOUT(gs_stream_recv(good, buf, sizeof buf, 0, ms));
    assert_code(gs_stream_recv(good, NULL, 1, 0, 0), GS_EBADARG);
    assert_code(gs_stream_recv(good, buf, 1, 2, 0), GS_EBADARG);
    assert_code(gs_stream_recv(good, buf, 0, SIZE_MAX, 0), GS_EBADARG);
    assert_code(gs_stream_recv(listener, buf, 1, 0, 0), -ENOTCONN);
    assert_code(gs_stream_recv(good, buf, 1, 0, 0), GS_ETIMEOUT);
}

HOSTILE(gs_stream_recv_packet)
{
    (void)state;
    gs_packet p;
    EACH_BAD(gs_stream_recv_packet(s, buf, sizeof buf, &p, 0));
    EACH_BAD_TIMEOUT(gs_stream_recv_packet(good, buf, sizeof buf, &p, ms));
    assert_code(gs_stream_recv_packet(good, buf, sizeof buf, NULL, 0), GS_EBADARG);
    assert_code(gs_stream_recv_packet(good, NULL, 1, &p, 0), GS_EBADARG);
}

HOSTILE(gs_stream_pending)
{
    (void)state;
    EACH_BAD(gs_stream_pending(s));
    assert_code(gs_stream_pending(listener), 0);
}

HOSTILE(gs_stream_unrecv)
{
    (void)state;
    EACH_BAD(gs_stream_unrecv(s, "x", 1));
    assert_code(gs_stream_unrecv(good, NULL, 1), GS_EBADARG);
    assert_code(gs_stream_unrecv(good, "x", SIZE_MAX), -ENOMEM);
    assert_code(gs_stream_unrecv(good, "x", (size_t)INT_MAX + 1), -ENOMEM);
    assert_code(gs_stream_unrecv(listener, "x", 1), -ENOTCONN);
}

HOSTILE(gs_stream_shutdown)
{
    (void)state;
    EACH_BAD(gs_stream_shutdown(s, GS_SHUT_WRITE));
    assert_code(gs_stream_shutdown(good, (gs_how)-1), GS_EBADARG);
    assert_code(gs_stream_shutdown(good, (gs_how)3), GS_EBADARG);
    assert_code(gs_stream_shutdown(listener, GS_SHUT_WRITE), -ENOTCONN);
}

HOSTILE(gs_stream_close)
{
    (void)state;
    for (int i = 0; i < BAD; i++)
        assert_code(gs_stream_close(bad[i]), i == 1 ? 0 : GS_EBADARG); /* twice is no mistake */
}

HOSTILE(gs_stream_controlling_process)
{
    (void)state;
    EACH_BAD(gs_stream_controlling_process(s, GS_NO_MAILBOX, mailbox));
    assert_code(gs_stream_controlling_process(good, GS_NO_MAILBOX, GS_NO_MAILBOX), GS_EBADARG);
    assert_code(gs_stream_controlling_process(good, GS_NO_MAILBOX, (gs_mailbox){good.id}), GS_EBADARG);
    assert_code(gs_stream_controlling_process(good, mailbox, mailbox), GS_ENOTOWNER);
}

HOSTILE(gs_stream_setopts)
{
    (void)state;
    EACH_BAD(gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE))));
    EACH_BAD(gs_stream_setopts(s, NULL));
    gs_mailbox quiet;
    gs_msg m;
    assert_ok(gs_mailbox_new(&quiet));
    assert_code(gs_receive(quiet, &m, 0), GS_ETIMEOUT); /* the turn of a mailbox that has delivered nothing */
    EACH_BAD(gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_ONCE))));
    EACH_BAD(gs_stream_send(s, "x", 1));
    assert_ok(gs_mailbox_free(quiet));
    assert_code(gs_stream_setopts(good, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_TRUE))), -EINVAL);
    assert_code(gs_stream_setopts(good, GS_OPTS(GS_INT(ACTIVE, 1 << 20))), -EINVAL);
    assert_true(gs_stream_setopts(good, GS_OPTS({.name = INT_MAX})) < 0); /* some transport's own, not this one's */
    assert_code(gs_stream_setopts(good, GS_OPTS({.name = INT_MIN})), -EINVAL);
    assert_ok(gs_stream_setopts(good, NULL));
}

HOSTILE(gs_stream_getopts)
{
    (void)state;
    gs_opt none[] = {{.name = GS_OPT_END}}, unknown[] = {{.name = 999}, {0}}, negative[] = {{.name = INT_MIN}, {0}};
    EACH_BAD(gs_stream_getopts(s, none));
    assert_code(gs_stream_getopts(good, NULL), GS_EBADARG);
    assert_code(gs_stream_getopts(good, unknown), -EINVAL);
    assert_code(gs_stream_getopts(good, negative), -EINVAL);
    assert_ok(gs_stream_getopts(good, none));
}

HOSTILE(gs_stream_getstat)
{
    (void)state;
    gs_stat stat;
    EACH_BAD(gs_stream_getstat(s, &stat));
    assert_code(gs_stream_getstat(good, NULL), GS_EBADARG);
}

HOSTILE(gs_stream_sockname)
{
    (void)state;
    gs_addr a;
    EACH_BAD(gs_stream_sockname(s, &a));
    assert_code(gs_stream_sockname(good, NULL), GS_EBADARG);
}

HOSTILE(gs_stream_peername)
{
    (void)state;
    gs_addr a;
    EACH_BAD(gs_stream_peername(s, &a));
    assert_code(gs_stream_peername(good, NULL), GS_EBADARG);
}

HOSTILE(gs_stream_port)
{
    (void)state;
    EACH_BAD(gs_stream_port(s));
    assert_true(gs_stream_port(good) < 0); /* mem has none */
}

HOSTILE(gs_stream_peer)
{
    (void)state;
    const gs_peer *who;
    EACH_BAD(gs_stream_peer(s, &who));
    assert_code(gs_stream_peer(good, NULL), GS_EBADARG);
    assert_code(gs_stream_peer(listener, &who), -ENOTCONN);
}

HOSTILE(gs_peer_free)
{
    (void)state;
    gs_peer_free(NULL);
}

HOSTILE(gs_peer_copy)
{
    (void)state;
    const char *tags[] = {"tag:a"};
    char node[] = "alpha";
    gs_peer from = {.kind = GS_PEER_TAILNET, .node = node, .tags = tags, .n_tags = 1};
    const gs_peer *copy;
    assert_code(gs_peer_copy(NULL, &copy), GS_EBADARG);
    assert_code(gs_peer_copy(&from, NULL), GS_EBADARG);
    assert_ok(gs_peer_copy(&from, &copy));
    node[0] = 'x';
    assert_string_equal(copy->node, "alpha");
    assert_string_equal(copy->tags[0], "tag:a");
    assert_null(copy->user);
    gs_peer_free(copy);
}

HOSTILE(gs_stream_upgrade)
{
    (void)state;
    EACH_BAD(gs_stream_upgrade(s, "tls", false, NULL, 0));
    EACH_BAD_TIMEOUT(gs_stream_upgrade(good, "tls", false, NULL, ms));
    assert_code(gs_stream_upgrade(good, NULL, false, NULL, 0), GS_EBADARG);
    assert_code(gs_stream_upgrade(good, "nowhere", false, NULL, 0), GS_ENOSCHEME);
    assert_code(gs_stream_upgrade(good, "tcp", false, NULL, 0), GS_ENOUPGRADE);
    assert_code(gs_stream_upgrade(listener, "tcp", false, NULL, 0), -ENOTCONN);
}

HOSTILE(gs_stream_handshake)
{
    (void)state;
    EACH_BAD(gs_stream_handshake(s, 0));
    EACH_BAD_TIMEOUT(gs_stream_handshake(good, ms));
    assert_code(gs_stream_handshake(listener, 0), -ENOTCONN);
    assert_ok(gs_stream_handshake(good, 0));
}

HOSTILE(gs_stream_negotiated_protocol)
{
    (void)state;
    EACH_BAD(gs_stream_negotiated_protocol(s, buf, sizeof buf));
    assert_code(gs_stream_negotiated_protocol(good, NULL, 1), GS_EBADARG);
    assert_code(gs_stream_negotiated_protocol(good, NULL, 0), GS_ENOPROTO);
}

HOSTILE(gs_stream_peercert)
{
    (void)state;
    EACH_BAD(gs_stream_peercert(s, buf, sizeof buf));
    assert_code(gs_stream_peercert(good, NULL, 1), GS_EBADARG);
    assert_code(gs_stream_peercert(good, NULL, 0), GS_ENOTSECURE);
}

HOSTILE(gs_stream_connection_information)
{
    (void)state;
    gs_connection_information info;
    EACH_BAD(gs_stream_connection_information(s, &info));
    assert_code(gs_stream_connection_information(good, NULL), GS_EBADARG);
    assert_code(gs_stream_connection_information(good, &info), GS_ENOTSECURE);
}

HOSTILE(gs_stream_secure)
{
    (void)state;
    for (int i = 0; i < BAD; i++)
        assert_false(gs_stream_secure(bad[i]));
    assert_false(gs_stream_secure(good));
    assert_false(gs_stream_secure(listener));
}

HOSTILE(gs_stream_info)
{
    (void)state;
    gs_stream_info_t info;
    EACH_BAD(gs_stream_info(s, &info));
    assert_code(gs_stream_info(good, NULL), GS_EBADARG);
}

HOSTILE(gs_stream_monitor)
{
    (void)state;
    uint64_t ref;
    EACH_BAD(gs_stream_monitor(s, mailbox, &ref));
    assert_code(gs_stream_monitor(good, mailbox, NULL), GS_EBADARG);
    assert_code(gs_stream_monitor(good, GS_NO_MAILBOX, &ref), GS_EBADARG);
    assert_code(gs_stream_monitor(good, (gs_mailbox){good.id}, &ref), GS_EBADARG);
}

HOSTILE(gs_stream_cancel_monitor)
{
    (void)state;
    for (int i = 0; i < BAD; i++)
        assert_code(gs_stream_cancel_monitor(bad[i], 1), i == 1 ? GS_EINVALID : GS_EBADARG);
    assert_code(gs_stream_cancel_monitor(good, 0), GS_EINVALID);
    assert_code(gs_stream_cancel_monitor(good, UINT64_MAX), GS_EINVALID);
}

/* A handle that another thread still holds after its stream closed, and after the place has a new stream. */
static void *use_stale(void *arg)
{
    gs_stream s = *(gs_stream *)arg;
    for (int i = 0; i < 1000; i++)
        if (gs_stream_send(s, "x", 1) != GS_ECLOSED || gs_stream_recv(s, (char[1]){0}, 1, 0, 0) != GS_ECLOSED)
            return NULL;
    return arg;
}

static void a_stale_handle_in_another_thread_is_an_error_code(void **state)
{
    (void)state;
    gs_stream stale, next[8];
    pthread_t thread;
    void *right = NULL;
    assert_ok(gs_stream_connect(&stale, "mem://hostile", NULL, GS_NO_MAILBOX, 1000));
    assert_ok(gs_stream_close(stale));
    assert_int_equal(pthread_create(&thread, NULL, use_stale, &stale), 0);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 4; i++) {
            assert_ok(gs_stream_connect(&next[i], "mem://hostile", NULL, GS_NO_MAILBOX, 1000));
            assert_ok(gs_stream_accept(listener, &next[4 + i], GS_NO_MAILBOX, 1000, NULL));
        }
        for (int i = 0; i < 8; i++)
            assert_ok(gs_stream_close(next[i]));
    }
    pthread_join(thread, &right);
    assert_ptr_equal(right, &stale);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_stream_listen), ROW(gs_stream_connect), ROW(gs_stream_accept), ROW(gs_stream_cancel), ROW(gs_stream_import),
        ROW(gs_stream_export), ROW(gs_stream_send), ROW(gs_stream_sendv), ROW(gs_stream_sendfile), ROW(gs_stream_flush),
        ROW(gs_stream_recv), ROW(gs_stream_recv_packet), ROW(gs_stream_pending), ROW(gs_stream_unrecv),
        ROW(gs_stream_shutdown), ROW(gs_stream_close), ROW(gs_stream_controlling_process), ROW(gs_stream_setopts),
        ROW(gs_stream_getopts), ROW(gs_stream_getstat), ROW(gs_stream_sockname), ROW(gs_stream_peername),
        ROW(gs_stream_port), ROW(gs_stream_peer), ROW(gs_peer_free), ROW(gs_peer_copy), ROW(gs_stream_upgrade), ROW(gs_stream_handshake),
        ROW(gs_stream_negotiated_protocol), ROW(gs_stream_peercert), ROW(gs_stream_connection_information),
        ROW(gs_stream_secure), ROW(gs_stream_info), ROW(gs_stream_monitor), ROW(gs_stream_cancel_monitor),
        cmocka_unit_test(a_stale_handle_in_another_thread_is_an_error_code)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
