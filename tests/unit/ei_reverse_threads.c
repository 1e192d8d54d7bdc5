/* gs_transport_from_ei, tables with FULL_IMPL: connect and accept take as long as they want, and hinder nobody. runner: tsan */
#include <gensock/ei.h>
#include <gensock/mailbox.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ei_tables.h"
#include "support.h"

enum { WAIT = 10000 };

/* ---- a table whose connect waits for the test, and whose accept for a first byte of the client ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool open;
    int inside;
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void set_gate(bool open)
{
    pthread_mutex_lock(&gate.mutex);
    gate.open = open;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.mutex);
}

static int inside(void)
{
    pthread_mutex_lock(&gate.mutex);
    int n = gate.inside;
    pthread_mutex_unlock(&gate.mutex);
    return n;
}

static _Atomic unsigned connect_tmo;
static int stuck_connect(void *ctx, void *addr, int len, unsigned tmo)
{
    connect_tmo = tmo;
    pthread_mutex_lock(&gate.mutex);
    gate.inside++;
    while (!gate.open)
        pthread_cond_wait(&gate.cond, &gate.mutex);
    gate.inside--;
    pthread_mutex_unlock(&gate.mutex);
    return tables_connect_full(ctx, addr, len, tmo);
}

static _Atomic int broken_off;
static int shy_accept(void **ctx, void *addr, int *len, unsigned tmo)
{
    void *c = *ctx;
    char hello;
    ssize_t n = 1;
    int e = tables_accept(&c, addr, len, tmo);
    if (e)
        return e;
    if (tables_read(c, &hello, &n, tmo) != 0 || n != 1) { /* as one that does TLS in here */
        broken_off++;
        tables_close(c);
        return ETIMEDOUT;
    }
    *ctx = c;
    return 0;
}

static gs_stream listen_on(const char *scheme, char at[64])
{
    gs_stream l;
    snprintf(at, 64, "%s://127.0.0.1:0", scheme);
    assert_ok(gs_stream_listen(&l, at, NULL, GS_NO_MAILBOX));
    snprintf(at, 64, "%s://127.0.0.1:%d", scheme, gs_stream_port(l));
    return l;
}

static int plain_client(const char *at)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    in.sin_port = htons((uint16_t)atoi(strrchr(at, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

/* ---- connect ---- */

static void a_connect_that_takes_long_ends_with_the_callers_time(void **state)
{
    (void)state;
    gs_stream l, s;
    char at[64], stuck[64];
    tables_reset();
    set_gate(false);
    l = listen_on("t-full", at);
    snprintf(stuck, sizeof stuck, "t-stuck%s", strchr(at, ':'));
    assert_code(gs_stream_connect(&s, stuck, NULL, GS_NO_MAILBOX, 20), GS_ETIMEOUT);
    assert_code(gs_stream_connect(&s, stuck, NULL, GS_NO_MAILBOX, 0), GS_ETIMEOUT);
    assert_until(inside() == 2, WAIT);
    assert_int_equal(connect_tmo, 120000);
    assert_int_equal(tables.closes, 0); /* the calls still use their sockets */
    set_gate(true);
    assert_until(tables.closes == 2, WAIT);
    assert_ok(gs_stream_close(l));
}

static void a_connect_that_takes_long_is_told_by_message(void **state)
{
    (void)state;
    gs_stream l, s, b;
    gs_mailbox m;
    gs_msg msg;
    char at[64], stuck[64];
    tables_reset();
    set_gate(false);
    assert_ok(gs_mailbox_new(&m));
    l = listen_on("t-full", at);
    snprintf(stuck, sizeof stuck, "t-stuck%s", strchr(at, ':'));
    assert_code(gs_stream_connect(&s, stuck, NULL, m, GS_NOWAIT), GS_ESELECT);
    assert_code(gs_receive(m, &msg, 20), GS_ETIMEOUT);
    set_gate(true);
    assert_ok(gs_receive(m, &msg, WAIT));
    assert_int_equal(msg.kind, GS_MSG_CONNECT);
    assert_code(msg.error, 0);
    assert_ok(gs_stream_accept(l, &b, GS_NO_MAILBOX, WAIT, NULL));
    assert_ok(gs_stream_send(b, "x", 1));
    assert_ok(gs_receive(m, &msg, WAIT));
    assert_int_equal(msg.kind, GS_MSG_DATA);
    assert_ok(gs_stream_close(b));
    assert_ok(gs_mailbox_free(m));
    assert_ok(gs_stream_close(l));
    assert_until(tables.closes == 3, WAIT);
}

static void closing_does_not_wait_for_a_connect(void **state)
{
    (void)state;
    gs_stream s;
    gs_mailbox m;
    gs_msg msg;
    tables_reset();
    set_gate(false);
    assert_ok(gs_mailbox_new(&m));
    assert_code(gs_stream_connect(&s, "t-stuck://127.0.0.1:1", NULL, m, GS_NOWAIT), GS_ESELECT);
    assert_until(inside() == 1, WAIT);
    assert_ok(gs_stream_close(s)); /* the gate is shut: it has waited for nothing */
    assert_int_equal(tables.closes, 0);
    assert_code(gs_receive(m, &msg, 5), GS_ETIMEOUT);
    set_gate(true);
    assert_until(tables.closes == 1, WAIT);
    assert_code(gs_receive(m, &msg, 5), GS_ETIMEOUT);
    assert_ok(gs_mailbox_free(m));
}

/* The kernel would try for minutes, the descriptor says earlier that nobody wants it any more. */
static void a_connect_that_was_given_up_is_broken_off(void **state)
{
    (void)state;
    enum { MOST = 8 };
    gs_stream l, s[MOST];
    gs_mailbox m;
    char at[64];
    tables_reset();
    set_gate(true);
    assert_ok(gs_mailbox_new(&m));
    snprintf(at, sizeof at, "t-full://127.0.0.1:0");
    assert_ok(gs_stream_listen(&l, at, GS_OPTS(GS_INT(BACKLOG, 0)), GS_NO_MAILBOX));
    snprintf(at, sizeof at, "t-full://127.0.0.1:%d", gs_stream_port(l));
    for (int i = 0; i < MOST; i++) /* more than the listener has room for */
        assert_code(gs_stream_connect(&s[i], at, NULL, m, GS_NOWAIT), GS_ESELECT);
    assert_until(tables.connects == MOST, WAIT);
    for (int i = 0; i < MOST; i++)
        assert_ok(gs_stream_close(s[i]));
    assert_until(tables.closes == MOST, WAIT);
    assert_ok(gs_stream_close(l));
    assert_ok(gs_mailbox_free(m));
}

static void calls_that_take_long_have_a_limit(void **state)
{
    (void)state;
    enum { LIMIT = 256 };
    static gs_stream s[LIMIT + 1];
    gs_mailbox m;
    tables_reset();
    set_gate(false);
    assert_ok(gs_mailbox_new(&m));
    int e = GS_ESELECT, n = 0;
    while (n <= LIMIT && (e = gs_stream_connect(&s[n], "t-stuck://127.0.0.1:1", NULL, m, GS_NOWAIT)) == GS_ESELECT)
        n++;
    assert_int_equal(n, LIMIT + 1); /* the last one is told by message, as every failure of a nowait connect */
    gs_msg msg;
    assert_ok(gs_receive(m, &msg, WAIT));
    assert_int_equal(msg.kind, GS_MSG_CONNECT);
    assert_code(msg.error, GS_ESYSLIMIT);
    assert_true(msg.stream.id == s[LIMIT].id);
    assert_int_equal(tables.closes, 1);
    for (int i = 0; i < LIMIT; i++)
        assert_ok(gs_stream_close(s[i]));
    set_gate(true);
    assert_until(tables.closes == LIMIT + 1, WAIT);
    assert_ok(gs_mailbox_free(m));
}

/* ---- accept ---- */

static void a_handshake_inside_accept_is_not_broken_off(void **state)
{
    (void)state;
    gs_stream l, b;
    gs_mailbox m;
    gs_msg msg;
    char at[64], in[8];
    tables_reset();
    broken_off = 0;
    l = listen_on("t-shy", at);
    int fd = plain_client(at);
    assert_code(gs_stream_accept(l, &b, GS_NO_MAILBOX, 0, NULL), GS_ETIMEOUT);
    assert_code(gs_stream_accept(l, &b, GS_NO_MAILBOX, 60, NULL), GS_ETIMEOUT); /* the client has said nothing yet */
    assert_int_equal(write(fd, "hi", 2), 2);
    assert_ok(gs_stream_accept(l, &b, GS_NO_MAILBOX, WAIT, NULL));
    assert_int_equal(gs_stream_recv(b, in, sizeof in, 0, WAIT), 1);
    assert_int_equal(in[0], 'i');
    assert_ok(gs_stream_close(b));
    close(fd);
    assert_ok(gs_stream_close(l));

    assert_ok(gs_mailbox_new(&m));
    assert_ok(gs_stream_listen(&l, "t-shy://127.0.0.1:0", GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE)), m));
    snprintf(at, sizeof at, "t-shy://127.0.0.1:%d", gs_stream_port(l));
    for (int i = 0; i < 3; i++) {
        fd = plain_client(at);
        assert_code(gs_receive(m, &msg, 20), GS_ETIMEOUT);
        assert_int_equal(write(fd, "h", 1), 1);
        assert_ok(gs_receive(m, &msg, WAIT));
        assert_int_equal(msg.kind, GS_MSG_ACCEPT);
        assert_code(msg.error, 0);
        assert_ok(gs_stream_close(msg.fresh));
        close(fd);
    }
    assert_ok(gs_mailbox_free(m));
    assert_int_equal(broken_off, 0);
}

static void closing_a_listener_does_not_wait_for_its_accept(void **state)
{
    (void)state;
    gs_stream l, b;
    char at[64];
    tables_reset();
    broken_off = 0;
    l = listen_on("t-shy", at);
    int fd = plain_client(at);
    tables.accepts = 0;
    assert_code(gs_stream_accept(l, &b, GS_NO_MAILBOX, 20, NULL), GS_ETIMEOUT);
    assert_until(tables.accepts == 1, WAIT);
    assert_ok(gs_stream_close(l)); /* the client is still to speak */
    assert_int_equal(tables.closes, 0);
    assert_int_equal(write(fd, "h", 1), 1);
    assert_until(tables.closes == 2, WAIT); /* what nobody wants any more, and the listener */
    close(fd);
}

static int hasty_accept(void **ctx, void *addr, int *len, unsigned tmo)
{
    (void)ctx, (void)addr, (void)len, (void)tmo;
    tables.accepts++;
    return ETIMEDOUT; /* without having waited */
}

/* And has no descriptor to wait for either. */
static void an_accept_that_does_not_wait_is_no_loop(void **state)
{
    (void)state;
    enum { QUIET = 200 };
    gs_stream l, b;
    ei_socket_callbacks hasty = tables_full();
    hasty.accept = hasty_accept;
    assert_ok(gs_transport_from_ei("t-hasty", &hasty, TABLES_SHORT, NULL));
    tables_reset();
    assert_ok(gs_stream_listen(&l, "t-hasty://127.0.0.1:0", NULL, GS_NO_MAILBOX));
    assert_code(gs_stream_accept(l, &b, GS_NO_MAILBOX, QUIET, NULL), GS_ETIMEOUT);
    assert_in_range(tables.accepts, 1, 2 * QUIET); /* a loop makes a million */
    assert_ok(gs_stream_close(l));
    assert_until(tables.closes == 1, WAIT);
}

/* One that came when its accept had given up is there for the next. */
static void what_a_thread_accepted_waits_for_the_next_accept(void **state)
{
    (void)state;
    gs_stream l, b;
    char at[64];
    tables_reset();
    l = listen_on("t-shy", at);
    int fd = plain_client(at);
    assert_code(gs_stream_accept(l, &b, GS_NO_MAILBOX, 20, NULL), GS_ETIMEOUT);
    assert_int_equal(write(fd, "h", 1), 1);
    assert_until(tables.accept_completes == 1, WAIT);
    assert_ok(gs_stream_accept(l, &b, GS_NO_MAILBOX, WAIT, NULL));
    assert_ok(gs_stream_close(b));
    close(fd);
    fd = plain_client(at);
    tables.accept_completes = 0;
    assert_code(gs_stream_accept(l, &b, GS_NO_MAILBOX, 20, NULL), GS_ETIMEOUT);
    assert_int_equal(write(fd, "h", 1), 1);
    assert_until(tables.accept_completes == 1, WAIT);
    tables.closes = 0;
    assert_ok(gs_stream_close(l)); /* and goes with its listener */
    assert_until(tables.closes == 2, WAIT);
    close(fd);
}

/* ---- the end of the process ---- */

/* As a child: leaves everything open, and a connect under way. */
static int leave_all_open(void)
{
    gs_stream l, a, b, s;
    gs_mailbox m;
    char at[64];
    set_gate(false);
    if (gs_mailbox_new(&m) < 0 || gs_stream_listen(&l, "t-full://127.0.0.1:0", NULL, GS_NO_MAILBOX) < 0)
        return 1;
    snprintf(at, sizeof at, "t-full://127.0.0.1:%d", gs_stream_port(l));
    if (gs_stream_connect(&a, at, NULL, m, WAIT) < 0 || gs_stream_accept(l, &b, m, WAIT, NULL) < 0 ||
        gs_stream_connect(&s, "t-stuck://127.0.0.1:1", NULL, m, GS_NOWAIT) != GS_ESELECT || !wait_until(inside() == 1, WAIT))
        return 2;
    return gs_stream_send(a, "unread", 6) < 0 ? 3 : 0;
}

static void the_process_ends_while_everything_is_open(void **state)
{
    (void)state;
    char out[2000] = "";
    const char *const argv[] = {"/proc/self/exe", "leave", NULL};
    struct child c = child_start(argv);
    bool ended = !child_expect(&c, "no such word", WAIT, out, sizeof out);
    int code = child_wait(&c, WAIT);
    child_stop(&c);
    if (!ended || code != 0)
        fail_msg("%d: %s", code, out);
}

static int set_up(void **state)
{
    (void)state;
    ei_socket_callbacks full = tables_full(), stuck = tables_full(), shy = tables_full();
    stuck.connect = stuck_connect;
    shy.accept = shy_accept;
    return gs_transport_from_ei("t-full", &full, sizeof full, NULL) ||
           gs_transport_from_ei("t-stuck", &stuck, sizeof stuck, NULL) ||
           gs_transport_from_ei("t-shy", &shy, sizeof shy, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connect_that_takes_long_ends_with_the_callers_time),
        cmocka_unit_test(a_connect_that_takes_long_is_told_by_message),
        cmocka_unit_test(closing_does_not_wait_for_a_connect),
        cmocka_unit_test(a_connect_that_was_given_up_is_broken_off),
        cmocka_unit_test(calls_that_take_long_have_a_limit),
        cmocka_unit_test(a_handshake_inside_accept_is_not_broken_off),
        cmocka_unit_test(closing_a_listener_does_not_wait_for_its_accept),
        cmocka_unit_test(an_accept_that_does_not_wait_is_no_loop),
        cmocka_unit_test(what_a_thread_accepted_waits_for_the_next_accept),
        cmocka_unit_test(the_process_ends_while_everything_is_open),
    };
    if (argc > 1 && !strcmp(argv[1], "leave"))
        return set_up(NULL) ? 9 : leave_all_open();
    return cmocka_run_group_tests(tests, set_up, NULL);
}
