/* Nowait calls: select and abort messages, cancel, and who may continue a wait. runner: tsan */
#include "socket_test.h"

static void recv_nowait_gives_a_select_message_and_then_the_bytes(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char buf[8];
    gs_msg m;
    tcp_pair(&a, &b);
    gs_wait w = nowait(mb);
    assert_code(gs_socket_recv(b, buf, sizeof buf, 0, &w), GS_ESELECT);
    assert_true(w.info.ref != 0 && w.info.socket.id == b.id);
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_int_equal(gs_socket_send(a, "hi", 2, 0, NULL), 2);
    assert_ok(gs_receive(mb, &m, 5000));
    assert_int_equal(m.kind, GS_MSG_SELECT);
    assert_true(m.ref == w.info.ref && m.socket.id == b.id);
    assert_int_equal(gs_socket_recv(b, buf, sizeof buf, 0, &w), 2);
    assert_memory_equal(buf, "hi", 2);
    assert_true(w.info.ref == 0);
    assert_int_equal(waiting(b), 0);
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void recv_nowait_is_done_at_once_when_bytes_are_there(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    gs_wait w = nowait(mb);
    assert_int_equal(gs_socket_recv(b, &c, 1, 0, &w), 1);
    assert_true(w.info.ref == 0);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void the_callers_own_reference_is_used(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb);
    w.ref = gs_make_ref();
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_true(w.info.ref == w.ref);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    gs_msg m;
    assert_ok(gs_receive_ref(mb, w.ref, &m, 5000));
    assert_int_equal(m.kind, GS_MSG_SELECT);
    assert_int_equal(gs_socket_recv(b, &c, 1, 0, &w), 1);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void close_under_a_wait_sends_abort_once(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    gs_msg m;
    local_pair(SOCK_STREAM, &a, &b);
    fill(b);
    gs_wait r = nowait(mb), r2 = nowait(mb), s = nowait(mb);
    assert_code(gs_socket_recv(b, &c, 1, 0, &r), GS_ESELECT);
    assert_code(gs_socket_recv(b, &c, 1, 0, &r2), GS_ESELECT);
    assert_code(gs_socket_send(b, &c, 1, 0, &s), GS_ESELECT);
    assert_ok(gs_socket_close(b));
    for (int i = 0; i < 3; i++) {
        assert_ok(gs_receive(mb, &m, 5000));
        assert_int_equal(m.kind, GS_MSG_ABORT);
        assert_code(m.error, GS_ECLOSED);
        assert_true(m.socket.id == b.id);
        assert_true(m.ref == r.info.ref || m.ref == r2.info.ref || m.ref == s.info.ref);
    }
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_code(gs_socket_cancel(b, &r.info), GS_ECLOSED);
    assert_ok(gs_socket_close(a));
    assert_ok(gs_mailbox_free(mb));
}

static void cancel_removes_the_wait(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    gs_msg m;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_ok(gs_socket_cancel(b, &w.info));
    assert_code(gs_socket_cancel(b, &w.info), GS_EINVALID);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_int_equal(gs_socket_recv(b, &c, 1, 0, GS_MS(0)), 1);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

/* The select is in the mailbox, between two posts, but nobody has received it: cancel takes it back. */
static void cancel_recalls_an_undelivered_select(void **state)
{
    (void)state;
    gs_socket a, b, other_a, other_b;
    gs_mailbox mb = new_mailbox();
    char c;
    gs_msg m;
    local_pair(SOCK_STREAM, &a, &b);
    local_pair(SOCK_STREAM, &other_a, &other_b);
    gs_wait w = nowait(mb), other = nowait(mb);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_code(gs_socket_recv(other_b, &c, 1, 0, &other), GS_ESELECT);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    assert_int_equal(gs_socket_send(other_a, "x", 1, 0, NULL), 1);
    assert_ok(gs_receive_ref(mb, other.info.ref, &m, 5000)); /* serves both descriptors: w's message waits now */
    assert_ok(gs_socket_cancel(b, &w.info));
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_int_equal(gs_socket_recv(other_b, &c, 1, 0, &other), 1);
    close_both(a, b);
    close_both(other_a, other_b);
    assert_ok(gs_mailbox_free(mb));
}

static void cancel_answers_closed_invalid_or_badarg_only(void **state)
{
    (void)state;
    gs_socket a, b;
    local_pair(SOCK_STREAM, &a, &b);
    assert_code(gs_socket_cancel(a, NULL), GS_EBADARG);
    assert_code(gs_socket_cancel(a, &(gs_select){0}), GS_EINVALID);
    assert_code(gs_socket_cancel(a, &(gs_select){.socket = b, .ref = 1}), GS_EINVALID);
    assert_code(gs_socket_cancel(a, &(gs_select){.socket = a, .ref = 1, .op = 99}), GS_EINVALID);
    assert_code(gs_socket_cancel(a, &(gs_select){.socket = a, .ref = 1, .op = -1}), GS_EINVALID);
    assert_code(gs_socket_cancel(GS_NO_SOCKET, &(gs_select){0}), GS_EBADARG);
    close_both(a, b);
    assert_code(gs_socket_cancel(a, &(gs_select){.socket = a}), GS_ECLOSED);
}

static void a_short_nowait_send_gives_the_rest_and_a_select(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    enum { BIG = 8 << 20 };
    static uint8_t out[BIG], in[BIG];
    pattern_fill(out, BIG, 7, 0);
    tcp_pair(&a, &b);
    gs_wait w = nowait(mb);
    ssize_t n = gs_socket_send(a, out, BIG, 0, &w);
    assert_in_range(n, 1, BIG - 1);
    assert_true(w.info.ref != 0);
    size_t sent = (size_t)n, got = 0;
    while (got < BIG) {
        while ((n = gs_socket_recv(b, in + got, BIG - got, 0, GS_MS(0))) > 0)
            got += (size_t)n;
        assert_code(n, GS_ETIMEOUT);
        if (sent == BIG) {
            if (got < BIG)
                got += (size_t)assert_ok(gs_socket_recv(b, in + got, BIG - got, 0, GS_MS(5000)));
            continue;
        }
        expect_message(mb, GS_MSG_SELECT, w.info.ref);
        n = gs_socket_send(a, out + sent, BIG - sent, 0, &w);
        if (n != GS_ESELECT)
            sent += (size_t)assert_ok(n);
        assert_true(sent == BIG || w.info.ref != 0);
    }
    assert_int_equal(pattern_check(in, BIG, 7, 0), BIG);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void waitall_nowait_gives_the_beginning_and_a_select(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char buf[6] = {0};
    tcp_pair(&a, &b);
    assert_int_equal(gs_socket_send(a, "abc", 3, 0, NULL), 3);
    assert_int_equal(gs_socket_recv(b, buf, 1, MSG_PEEK, GS_MS(5000)), 1);
    gs_wait w = nowait(mb);
    assert_int_equal(gs_socket_recv(b, buf, 6, MSG_WAITALL, &w), 3);
    assert_true(w.info.ref != 0);
    assert_int_equal(gs_socket_send(a, "def", 3, 0, NULL), 3);
    expect_message(mb, GS_MSG_SELECT, w.info.ref);
    assert_int_equal(gs_socket_recv(b, buf + 3, 3, MSG_WAITALL, &w), 3);
    assert_memory_equal(buf, "abcdef", 6);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void the_peers_end_is_a_select_then_closed(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    tcp_pair(&a, &b);
    gs_wait w = nowait(mb);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_ok(gs_socket_close(a));
    expect_message(mb, GS_MSG_SELECT, w.info.ref);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ECLOSED);
    assert_ok(gs_socket_close(b));
    assert_ok(gs_mailbox_free(mb));
}

static void accept_nowait_and_connect_nowait_finish_by_message(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket l = listener(&at), a = open_socket(AF_INET, SOCK_STREAM), b;
    gs_mailbox mb = new_mailbox();
    gs_wait acc = nowait(mb), con = nowait(mb);
    assert_code(gs_socket_accept(l, &b, &acc), GS_ESELECT);
    int e = gs_socket_connect(a, &at, &con);
    if (e == GS_ESELECT) {
        gs_msg m;
        assert_ok(gs_receive_ref(mb, con.info.ref, &m, 5000));
        e = gs_socket_connect(a, NULL, GS_MS(0));
    }
    assert_ok(e);
    expect_message(mb, GS_MSG_SELECT, acc.info.ref);
    assert_ok(gs_socket_accept(l, &b, &acc));
    assert_code(gs_socket_connect(a, &at, GS_MS(100)), -EISCONN);
    assert_code(gs_socket_connect(a, NULL, GS_MS(0)), GS_EINVALID);
    close_both(a, b);
    assert_ok(gs_socket_close(l));
    assert_ok(gs_mailbox_free(mb));
}

/* 10.255.255.1 could answer somewhere; a listener with a full backlog of its own never does. */
static gs_socket deaf_listener(gs_addr *at, gs_socket *fillers, int n)
{
    gs_socket l = bound(AF_INET, SOCK_STREAM, at);
    assert_ok(gs_socket_listen(l, 0));
    for (int i = 0; i < n; i++) {
        fillers[i] = open_socket(AF_INET, SOCK_STREAM);
        (void)!gs_socket_connect(fillers[i], at, GS_MS(20));
    }
    return l;
}

static void a_second_connect_is_ealready_and_cancel_lets_connect_go_on(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket fillers[3], l = deaf_listener(&at, fillers, 3), a = open_socket(AF_INET, SOCK_STREAM);
    gs_mailbox mb = new_mailbox();
    gs_msg m;
    gs_wait w = nowait(mb);
    assert_code(gs_socket_connect(a, &at, &w), GS_ESELECT);
    assert_true(info_of(a).state & GS_SOCKET_CONNECTING);
    assert_code(gs_socket_connect(a, &at, GS_MS(0)), -EALREADY);
    assert_code(gs_receive_ref(mb, w.info.ref, &m, 0), GS_ETIMEOUT);
    assert_ok(gs_socket_cancel(a, &w.info));
    assert_code(gs_socket_connect(a, &at, GS_MS(0)), -EALREADY);
    assert_code(gs_socket_connect(a, NULL, GS_MS(10)), GS_ETIMEOUT);
    for (int i = 0; i < 3; i++)
        assert_ok(gs_socket_close(fillers[i]));
    close_both(a, l);
    assert_ok(gs_mailbox_free(mb));
}

static void connect_refused_by_nowait_and_with_a_timeout(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket l = bound(AF_INET, SOCK_STREAM, &at), a = open_socket(AF_INET, SOCK_STREAM);
    gs_mailbox mb = new_mailbox();
    assert_code(gs_socket_connect(a, &at, GS_MS(5000)), -ECONNREFUSED);
    gs_wait w = nowait(mb);
    int e = gs_socket_connect(a, &at, &w);
    if (e == GS_ESELECT) {
        expect_message(mb, GS_MSG_SELECT, w.info.ref);
        e = gs_socket_connect(a, NULL, &w);
    }
    assert_code(e, -ECONNREFUSED);
    close_both(a, l);
    assert_ok(gs_mailbox_free(mb));
}

static void nobody_overtakes_a_told_waiter_but_its_own_mailbox(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox(), other = new_mailbox();
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb), w2 = nowait(other);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_int_equal(gs_socket_send(a, "xy", 2, 0, NULL), 2);
    assert_code(gs_socket_recv(b, &c, 1, 0, GS_MS(0)), GS_ETIMEOUT); /* nobody was told yet */
    assert_code(gs_socket_recv(b, &c, 1, 0, &w2), GS_ESELECT);
    expect_message(mb, GS_MSG_SELECT, w.info.ref);
    struct call t = {0};
    start(&t, run_recv, b, 0); /* another thread */
    join(&t);
    assert_code(t.result, GS_ETIMEOUT);
    assert_int_equal(gs_socket_recv(b, &c, 1, 0, GS_MS(0)), 1); /* in the turn of mb */
    assert_int_equal(c, 'x');
    expect_message(other, GS_MSG_SELECT, w2.info.ref);
    gs_wait fresh = nowait(other); /* names the mailbox that was told */
    assert_int_equal(gs_socket_recv(b, &c, 1, 0, &fresh), 1);
    assert_int_equal(c, 'y');
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
    assert_ok(gs_mailbox_free(other));
}

/* The select was right, but somebody with the same descriptor took the byte: the wait starts again, with a new
 * message. */
static void a_wait_that_comes_back_for_nothing_waits_again(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    gs_msg m;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    uint64_t first = w.info.ref;
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    expect_message(mb, GS_MSG_SELECT, first);
    assert_int_equal(read(info_of(b).fd, &c, 1), 1);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_true(w.info.ref != 0 && w.info.ref != first);
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_int_equal(gs_socket_send(a, "y", 1, 0, NULL), 1);
    expect_message(mb, GS_MSG_SELECT, w.info.ref);
    assert_int_equal(gs_socket_recv(b, &c, 1, 0, &w), 1);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void calling_again_too_early_keeps_the_wait(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    uint64_t ref = w.info.ref;
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_true(w.info.ref == ref);
    assert_int_equal(waiting(b), 1);
    w.timeout_ms = 10; /* the same wait, now blocking */
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ETIMEOUT);
    assert_int_equal(waiting(b), 0);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void the_mailboxs_end_takes_its_waits_along(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox(), heir = new_mailbox();
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait w = nowait(mb), behind = nowait(heir);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_code(gs_socket_recv(b, &c, 1, 0, &behind), GS_ESELECT);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    expect_message(mb, GS_MSG_SELECT, w.info.ref);
    assert_ok(gs_mailbox_free(mb)); /* told, and never came back */
    expect_message(heir, GS_MSG_SELECT, behind.info.ref);
    assert_int_equal(gs_socket_recv(b, &c, 1, 0, &behind), 1);
    close_both(a, b);
    assert_ok(gs_mailbox_free(heir));
}

static void recv_and_send_of_one_socket_wait_in_one_mailbox(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    static char sink[1 << 20];
    local_pair(SOCK_STREAM, &a, &b);
    fill(b);
    gs_wait r = nowait(mb), s = nowait(mb);
    assert_code(gs_socket_recv(b, &c, 1, 0, &r), GS_ESELECT);
    assert_code(gs_socket_send(b, "z", 1, 0, &s), GS_ESELECT);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    expect_message(mb, GS_MSG_SELECT, r.info.ref);
    assert_int_equal(gs_socket_recv(b, &c, 1, 0, &r), 1);
    while (gs_socket_recv(a, sink, sizeof sink, 0, GS_MS(0)) > 0)
        ;
    expect_message(mb, GS_MSG_SELECT, s.info.ref);
    assert_int_equal(gs_socket_send(b, "z", 1, 0, &s), 1);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void nowait_without_a_living_mailbox_is_badarg(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox();
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    gs_wait none = {.timeout_ms = GS_NOWAIT};
    assert_code(gs_socket_recv(b, &c, 1, 0, &none), GS_EBADARG);
    assert_ok(gs_mailbox_free(mb));
    gs_wait stale = nowait(mb);
    assert_code(gs_socket_recv(b, &c, 1, 0, &stale), GS_EBADARG);
    gs_wait foreign = {.timeout_ms = GS_NOWAIT, .to.id = a.id};
    assert_code(gs_socket_recv(b, &c, 1, 0, &foreign), GS_EBADARG);
    assert_code(gs_socket_recv(b, &c, 1, 0, GS_MS(-3)), GS_EBADARG);
    assert_int_equal(waiting(b), 0);
    close_both(a, b);
}

static void an_owner_takes_the_socket_with_it(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox(), watcher = new_mailbox();
    char c;
    gs_value v = {.kind = GS_VALUE_MAILBOX, .v.mailbox = mb};
    uint64_t ref;
    local_pair(SOCK_STREAM, &a, &b);
    assert_ok(gs_socket_setopt(b, "otp:controlling_process", &v));
    assert_true(info_of(b).owner.id == mb.id);
    assert_ok(gs_socket_monitor(b, watcher, &ref));
    gs_wait w = nowait(watcher);
    assert_code(gs_socket_recv(b, &c, 1, 0, &w), GS_ESELECT);
    assert_ok(gs_mailbox_free(mb));
    assert_code(gs_socket_recv(b, &c, 1, 0, GS_MS(0)), GS_ECLOSED);
    expect_message(watcher, GS_MSG_ABORT, w.info.ref);
    expect_message(watcher, GS_MSG_DOWN, ref);
    assert_code(gs_socket_recv(a, &c, 1, 0, GS_MS(5000)), GS_ECLOSED);
    assert_ok(gs_socket_close(a));
    assert_ok(gs_mailbox_free(watcher));
}

static void *receive_once(void *arg)
{
    gs_msg m;
    (void)!gs_receive(*(gs_mailbox *)arg, &m, 0);
    return NULL;
}

static void only_the_owners_turn_gives_the_socket_away(void **state)
{
    (void)state;
    gs_socket a, b;
    gs_mailbox mb = new_mailbox(), other = new_mailbox();
    gs_value mine = {.kind = GS_VALUE_MAILBOX, .v.mailbox = mb}, theirs = {.kind = GS_VALUE_MAILBOX, .v.mailbox = other};
    gs_value none = {.kind = GS_VALUE_MAILBOX};
    pthread_t t;
    local_pair(SOCK_STREAM, &a, &b);
    assert_ok(gs_socket_setopt(b, "otp:controlling_process", &mine));
    assert_int_equal(pthread_create(&t, NULL, receive_once, &mb), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_code(gs_socket_setopt(b, "otp:controlling_process", &theirs), GS_ENOTOWNER);
    receive_once(&mb); /* now it is this thread's turn */
    assert_ok(gs_socket_setopt(b, "otp:controlling_process", &theirs));
    assert_ok(gs_mailbox_free(mb));
    assert_true(info_of(b).owner.id == other.id);
    assert_code(gs_socket_setopt(b, "otp:controlling_process", &mine), GS_EBADARG); /* gone: nothing changed */
    assert_true(info_of(b).owner.id == other.id);
    assert_ok(gs_socket_setopt(b, "otp:controlling_process", &none));
    assert_ok(gs_mailbox_free(other));
    assert_true(info_of(b).owner.id == 0);
    close_both(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recv_nowait_gives_a_select_message_and_then_the_bytes),
        cmocka_unit_test(recv_nowait_is_done_at_once_when_bytes_are_there),
        cmocka_unit_test(the_callers_own_reference_is_used),
        cmocka_unit_test(close_under_a_wait_sends_abort_once),
        cmocka_unit_test(cancel_removes_the_wait),
        cmocka_unit_test(cancel_recalls_an_undelivered_select),
        cmocka_unit_test(cancel_answers_closed_invalid_or_badarg_only),
        cmocka_unit_test(a_short_nowait_send_gives_the_rest_and_a_select),
        cmocka_unit_test(waitall_nowait_gives_the_beginning_and_a_select),
        cmocka_unit_test(the_peers_end_is_a_select_then_closed),
        cmocka_unit_test(accept_nowait_and_connect_nowait_finish_by_message),
        cmocka_unit_test(a_second_connect_is_ealready_and_cancel_lets_connect_go_on),
        cmocka_unit_test(connect_refused_by_nowait_and_with_a_timeout),
        cmocka_unit_test(nobody_overtakes_a_told_waiter_but_its_own_mailbox),
        cmocka_unit_test(a_wait_that_comes_back_for_nothing_waits_again),
        cmocka_unit_test(calling_again_too_early_keeps_the_wait),
        cmocka_unit_test(the_mailboxs_end_takes_its_waits_along),
        cmocka_unit_test(recv_and_send_of_one_socket_wait_in_one_mailbox),
        cmocka_unit_test(nowait_without_a_living_mailbox_is_badarg),
        cmocka_unit_test(an_owner_takes_the_socket_with_it),
        cmocka_unit_test(only_the_owners_turn_gives_the_socket_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
