/* gs_transport_from_ei: what is refused, what a table is asked, and what becomes of tables that answer nonsense. runner: tsan */
#include <gensock/ei.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ei_tables.h"
#include "support.h"

enum { WAIT = 5000 };

struct pair {
    gs_stream l, a, b;
    char at[64];
};

static void listen_on(struct pair *p, const char *scheme)
{
    char any[64];
    snprintf(any, sizeof any, "%s://127.0.0.1:0", scheme);
    assert_ok(gs_stream_listen(&p->l, any, NULL, GS_NO_MAILBOX));
    snprintf(p->at, sizeof p->at, "%s://127.0.0.1:%d", scheme, gs_stream_port(p->l));
}

static void open_pair(struct pair *p, const char *scheme)
{
    listen_on(p, scheme);
    assert_ok(gs_stream_connect(&p->a, p->at, NULL, GS_NO_MAILBOX, WAIT));
    assert_ok(gs_stream_accept(p->l, &p->b, GS_NO_MAILBOX, WAIT, NULL));
}

static void close_pair(struct pair *p)
{
    assert_ok(gs_stream_close(p->a));
    assert_ok(gs_stream_close(p->b));
    assert_ok(gs_stream_close(p->l));
}

static void make(const char *scheme, const ei_socket_callbacks *t)
{
    assert_ok(gs_transport_from_ei(scheme, t, sizeof *t, NULL));
}

static void assert_detail(int code, const char *part)
{
    if (!strstr(gs_error_detail(code), part))
        fail_msg("\"%s\" does not say \"%s\"", gs_error_detail(code), part);
}

/* ---- registration ---- */

static void a_table_without_a_needed_slot_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        const char *name;
    } slot[] = {
        {offsetof(ei_socket_callbacks, socket), "socket"},   {offsetof(ei_socket_callbacks, close), "close"},
        {offsetof(ei_socket_callbacks, listen), "listen"},   {offsetof(ei_socket_callbacks, accept), "accept"},
        {offsetof(ei_socket_callbacks, connect), "connect"}, {offsetof(ei_socket_callbacks, write), "write"},
        {offsetof(ei_socket_callbacks, read), "read"},       {offsetof(ei_socket_callbacks, get_fd), "get_fd"},
    };
    for (size_t i = 0; i < sizeof slot / sizeof *slot; i++) {
        ei_socket_callbacks t = tables_plain();
        memset((char *)&t + slot[i].at, 0, sizeof t.socket);
        assert_code(gs_transport_from_ei("never", &t, sizeof t, NULL), -EINVAL);
        assert_detail(-EINVAL, slot[i].name);
    }
    assert_null(gs_transport_find("never"));
}

static void a_table_that_ends_before_a_needed_slot_lacks_it(void **state)
{
    (void)state;
    ei_socket_callbacks t = tables_plain(), full = tables_full();
    assert_code(gs_transport_from_ei("never", &t, sizeof t - 1, NULL), -EINVAL); /* half a pointer is none */
    assert_detail(-EINVAL, "get_fd");
    assert_code(gs_transport_from_ei("never", &full, TABLES_SHORT - 1, NULL), -EINVAL);
    assert_detail(-EINVAL, "read");
    assert_code(gs_transport_from_ei("never", &t, sizeof t.flags, NULL), -EINVAL);
    assert_detail(-EINVAL, "socket");
    assert_code(gs_transport_from_ei("never", &t, (int)sizeof t.flags - 1, NULL), GS_EBADARG);
    assert_code(gs_transport_from_ei("never", &t, 0, NULL), GS_EBADARG);
    assert_code(gs_transport_from_ei("never", &t, -1, NULL), GS_EBADARG);
    assert_code(gs_transport_from_ei("never", NULL, sizeof t, NULL), GS_EBADARG);
    assert_null(gs_transport_find("never"));
}

static void a_longer_table_is_used_as_far_as_it_is_known(void **state)
{
    (void)state;
    struct {
        ei_socket_callbacks t;
        void (*later)(void);
    } longer = {tables_plain(), abort};
    struct pair p;
    assert_ok(gs_transport_from_ei("longer", &longer.t, sizeof longer, NULL));
    open_pair(&p, "longer");
    close_pair(&p);
}

static void flags_of_a_later_ei_are_refused(void **state)
{
    (void)state;
    ei_socket_callbacks t = tables_full();
    t.flags |= 1 << 5;
    assert_code(gs_transport_from_ei("never", &t, sizeof t, NULL), -EINVAL);
    assert_detail(-EINVAL, "0x21");
}

static void schemes_are_those_of_other_transports(void **state)
{
    (void)state;
    ei_socket_callbacks t = tables_plain();
    assert_code(gs_transport_from_ei("tcp", &t, sizeof t, NULL), -EEXIST);
    assert_code(gs_transport_from_ei(NULL, &t, sizeof t, NULL), -EINVAL);
    assert_code(gs_transport_from_ei("No", &t, sizeof t, NULL), -EINVAL);
    assert_ok(gs_transport_from_ei("once", &t, sizeof t, NULL));
    assert_code(gs_transport_from_ei("once", &t, sizeof t, NULL), -EEXIST);
}

/* The table is copied, two of them are two transports, and each socket gets its own setup. */
static void each_scheme_has_its_table_and_setup(void **state)
{
    (void)state;
    int one, two;
    struct pair p;
    ei_socket_callbacks t = tables_plain(), full = tables_full();
    assert_ok(gs_transport_from_ei("of-one", &t, sizeof t, &one));
    assert_ok(gs_transport_from_ei("of-two", &full, sizeof full, &two));
    memset(&t, 0xff, sizeof t);
    memset(&full, 0xff, sizeof full);
    open_pair(&p, "of-one");
    assert_ptr_equal(tables.setup, &one);
    close_pair(&p);
    open_pair(&p, "of-two");
    assert_ptr_equal(tables.setup, &two);
    close_pair(&p);
}

/* ---- what a table is asked ---- */

static void echo(const struct pair *p, size_t n, size_t times)
{
    uint8_t *out = malloc(n), *in = malloc(n);
    for (size_t i = 0; i < times; i++) {
        pattern_fill(out, n, i, 0);
        assert_ok(gs_stream_send(p->a, out, n));
        assert_int_equal(gs_stream_recv(p->b, in, n, n, WAIT), n);
        assert_memory_equal(in, out, n);
        assert_ok(gs_stream_send(p->b, in, n));
        assert_int_equal(gs_stream_recv(p->a, in, n, n, WAIT), n);
        assert_memory_equal(in, out, n);
    }
    free(out);
    free(in);
}

/* Without FULL_IMPL the descriptor is non-blocking in every call, with it blocking: ei_connect(3), flags. */
static void each_kind_meets_its_descriptor_as_ei_says(void **state)
{
    (void)state;
    const char *const names[] = {"mode-plain", "mode-full", "mode-short", "mode-bare"};
    ei_socket_callbacks t[] = {tables_plain(), tables_full(), tables_full(), tables_bare()};
    for (int i = 0; i < 4; i++) {
        struct pair p;
        assert_ok(gs_transport_from_ei(names[i], &t[i], i == 2 ? TABLES_SHORT : (int)sizeof t[i], NULL));
        tables_reset();
        open_pair(&p, names[i]);
        echo(&p, 50000, 3);
        close_pair(&p);
        assert_int_equal(tables.blocking, 0);
        assert_true(tables.reads >= 6 && tables.writes >= 6);
        assert_int_equal(tables.connects, 1);
    }
}

static void each_socket_is_closed_once(void **state)
{
    (void)state;
    const char *const names[] = {"close-plain", "close-full"};
    ei_socket_callbacks t[] = {tables_plain(), tables_full()};
    for (int i = 0; i < 2; i++) {
        struct pair p;
        gs_stream none;
        make(names[i], &t[i]);
        tables_reset();
        open_pair(&p, names[i]);
        assert_int_equal(tables.sockets, 2);
        assert_int_equal(tables.closes, 0);
        assert_ok(gs_stream_close(p.a));
        assert_ok(gs_stream_close(p.b));
        assert_int_equal(tables.closes, 2);
        assert_ok(gs_stream_close(p.l));
        assert_int_equal(tables.closes, 3);
        assert_code(gs_stream_connect(&none, p.at, NULL, GS_NO_MAILBOX, WAIT), -ECONNREFUSED);
        assert_detail(-ECONNREFUSED, names[i]);
        assert_int_equal(tables.closes, 4);
    }
}

static void both_ends_hear_that_they_are_connections(void **state)
{
    (void)state;
    const char *const names[] = {"hear-plain", "hear-full"};
    ei_socket_callbacks t[] = {tables_plain(), tables_full()};
    for (int i = 0; i < 2; i++) {
        struct pair p;
        make(names[i], &t[i]);
        tables_reset();
        open_pair(&p, names[i]);
        assert_int_equal(tables.connect_completes, 1);
        assert_int_equal(tables.accept_completes, 1);
        close_pair(&p);
    }
}

/* One with FULL_IMPL may write to a blocking descriptor: no more than such a one has room for when it says writable. */
static void writes_with_full_impl_are_short(void **state)
{
    (void)state;
    struct pair p;
    ei_socket_callbacks t = tables_full(), plain = tables_plain();
    make("short-writes", &t);
    make("long-writes", &plain);
    tables_reset();
    open_pair(&p, "short-writes");
    echo(&p, 40000, 2);
    close_pair(&p);
    assert_int_equal(tables.longest, 16384);
    tables_reset();
    open_pair(&p, "long-writes");
    echo(&p, 40000, 2);
    close_pair(&p);
    assert_int_equal(tables.longest, 40000);
}

/* Else header and body would be a packet each. */
static void without_writev_short_pieces_are_one_write(void **state)
{
    (void)state;
    struct pair p;
    char in[8];
    ei_socket_callbacks t = tables_bare();
    make("gather", &t);
    open_pair(&p, "gather");
    assert_ok(gs_stream_setopts(p.a, GS_OPTS(GS_INT(PACKET, GS_PACKET_4))));
    assert_ok(gs_stream_setopts(p.b, GS_OPTS(GS_INT(PACKET, GS_PACKET_4))));
    tables_reset();
    assert_ok(gs_stream_send(p.a, "12345", 5));
    assert_int_equal(tables.writes, 1);
    assert_int_equal(gs_stream_recv(p.b, in, sizeof in, 0, WAIT), 5);
    close_pair(&p);
}

static int backlog_seen;
static int note_backlog(void *ctx, void *addr, int *len, int backlog)
{
    backlog_seen = backlog;
    return tables_listen(ctx, addr, len, backlog);
}

static void the_backlog_is_the_listeners(void **state)
{
    (void)state;
    gs_stream l;
    ei_socket_callbacks t = tables_plain();
    t.listen = note_backlog;
    make("backlog", &t);
    assert_ok(gs_stream_listen(&l, "backlog://127.0.0.1:0", NULL, GS_NO_MAILBOX));
    assert_int_equal(backlog_seen, 5);
    assert_ok(gs_stream_close(l));
    assert_ok(gs_stream_listen(&l, "backlog://127.0.0.1:0", GS_OPTS(GS_INT(BACKLOG, 77)), GS_NO_MAILBOX));
    assert_int_equal(backlog_seen, 77);
    assert_ok(gs_stream_close(l));
}

/* ---- what tables have no words for ---- */

static void options_that_a_table_has_not_are_refused(void **state)
{
    (void)state;
    gs_stream s;
    gs_addr ip;
    ei_socket_callbacks t = tables_plain();
    make("options", &t);
    assert_ok(gs_addr_parse(&ip, "127.0.0.1"));
    const gs_opt refused[] = {GS_INT(NODELAY, 1), GS_INT(PORT, 4000), GS_STR(NETNS, "/proc/self/ns/net"),
        GS_STR(BIND_TO_DEVICE, "lo"), {.name = GS_OPT_IP, .v.addr = &ip}, GS_INT(RECBUF, 5000)};
    tables_reset();
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const gs_opt list[] = {refused[i], {.name = GS_OPT_END}};
        assert_code(gs_stream_connect(&s, "options://127.0.0.1:9", list, GS_NO_MAILBOX, WAIT), -ENOTSUP);
        assert_detail(-ENOTSUP, gs_opt_name_text(refused[i].name));
    }
    assert_code(gs_stream_connect(&s, "options://[::1]:9", GS_OPTS(GS_INT(FAMILY, AF_INET6)), GS_NO_MAILBOX, WAIT), -ENOTSUP);
    assert_code(gs_stream_listen(&s, "options://127.0.0.1:0", GS_OPTS(GS_INT(REUSEADDR, 1)), GS_NO_MAILBOX), -ENOTSUP);
    assert_int_equal(tables.sockets, 0);
    int fd = dup(0);
    assert_code(gs_stream_connect(&s, "options://127.0.0.1:9", GS_OPTS(GS_INT(FD, fd)), GS_NO_MAILBOX, WAIT), -ENOTSUP);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken, also on failure */
}

static void addresses_are_of_ipv4(void **state)
{
    (void)state;
    struct pair p;
    ei_socket_callbacks t = tables_plain();
    make("four", &t);
    assert_code(gs_stream_listen(&p.l, "four://[::1]:0", NULL, GS_NO_MAILBOX), -EAFNOSUPPORT);
    assert_detail(-EAFNOSUPPORT, "IPv4");
    listen_on(&p, "four");
    snprintf(p.at, sizeof p.at, "four://[::ffff:127.0.0.1]:%d", gs_stream_port(p.l));
    assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, WAIT));
    assert_ok(gs_stream_accept(p.l, &p.b, GS_NO_MAILBOX, WAIT, NULL));
    close_pair(&p);
}

static void there_is_no_half_close(void **state)
{
    (void)state;
    struct pair p;
    ei_socket_callbacks t = tables_plain();
    make("halves", &t);
    open_pair(&p, "halves");
    assert_code(gs_stream_shutdown(p.a, GS_SHUT_WRITE), -ENOTSUP);
    assert_code(gs_stream_shutdown(p.a, GS_SHUT_BOTH), -ENOTSUP);
    echo(&p, 10, 1);
    close_pair(&p);
}

static int tell_no_address(void *ctx, void *addr, int *len, int backlog)
{
    int e = tables_listen(ctx, addr, len, backlog);
    memset(addr, 0, sizeof(struct sockaddr_in));
    return e;
}
static int tell_no_client(void **ctx, void *addr, int *len, unsigned tmo)
{
    int e = tables_accept(ctx, addr, len, tmo);
    *len = 0;
    return e;
}

/* What the table tells; what it keeps to itself, the kernel may know of its descriptor; else nobody does. */
static void names_are_what_the_table_and_its_descriptor_know(void **state)
{
    (void)state;
    struct pair p;
    gs_addr a, b;
    ei_socket_callbacks t = tables_full();
    t.listen = tell_no_address;
    t.accept = tell_no_client;
    make("silent", &t);
    open_pair(&p, "silent");
    assert_ok(gs_stream_peername(p.b, &b));
    assert_ok(gs_stream_sockname(p.a, &a));
    assert_true(gs_addr_equal(&a, &b));
    close_pair(&p);
    assert_ok(gs_transport_from_ei("mute", &t, TABLES_SHORT, NULL));
    assert_ok(gs_stream_listen(&p.l, "mute://127.0.0.1:0", NULL, GS_NO_MAILBOX));
    assert_code(gs_stream_sockname(p.l, &a), -ENOTSUP);
    assert_code(gs_stream_peername(p.l, &a), -ENOTCONN);
    assert_ok(gs_stream_close(p.l));
}

/* ---- tables that fail ---- */

static int failing;
static int fail_socket(void **ctx, void *setup)
{
    (void)ctx, (void)setup;
    return failing;
}
static int fail_listen(void *ctx, void *addr, int *len, int backlog)
{
    (void)ctx, (void)addr, (void)len, (void)backlog;
    return failing;
}
static int fail_connect(void *ctx, void *addr, int len, unsigned tmo)
{
    (void)ctx, (void)addr, (void)len, (void)tmo;
    return failing;
}
static int fail_complete(void *ctx)
{
    (void)ctx;
    return failing;
}

static void failures_to_open_say_which_call_and_leave_nothing(void **state)
{
    (void)state;
    gs_stream s;
    ei_socket_callbacks t[] = {tables_plain(), tables_plain(), tables_plain(), tables_full(), tables_full()};
    const char *const names[] = {"no-socket", "no-listen", "no-connect", "no-connect-full", "no-complete"};
    const char *const words[] = {"socket", "listen", "connect", "connect", "connect"};
    t[0].socket = fail_socket;
    t[1].listen = fail_listen;
    t[2].connect = t[3].connect = fail_connect;
    t[4].connect_handshake_complete = fail_complete;
    struct pair p;
    ei_socket_callbacks good = tables_full();
    make("no-fault", &good);
    listen_on(&p, "no-fault");
    for (int i = 0; i < 5; i++) {
        char at[64];
        make(names[i], &t[i]);
        snprintf(at, sizeof at, "%s://127.0.0.1:%d", names[i], gs_stream_port(p.l));
        const int errors[] = {ENOBUFS, 99999, -5};
        for (int k = 0; k < 3; k++) {
            failing = errors[k];
            int wanted = k == 0 ? -ENOBUFS : -EIO;
            tables_reset();
            if (i == 1)
                assert_code(gs_stream_listen(&s, "no-listen://127.0.0.1:0", NULL, GS_NO_MAILBOX), wanted);
            else
                assert_code(gs_stream_connect(&s, at, NULL, GS_NO_MAILBOX, WAIT), wanted);
            assert_detail(wanted, words[i]);
            assert_detail(wanted, names[i]);
            assert_int_equal(tables.sockets, i == 0 ? 0 : 1);
            assert_int_equal(tables.closes, tables.sockets);
        }
    }
    assert_ok(gs_stream_close(p.l));
}

static _Atomic int accept_errors;
static int fail_accept(void **ctx, void *addr, int *len, unsigned tmo)
{
    if (accept_errors > 0 && accept_errors-- > 0)
        return EMFILE;
    return tables_accept(ctx, addr, len, tmo);
}

static void a_failing_accept_is_told_and_the_next_one_works(void **state)
{
    (void)state;
    const char *const names[] = {"fail-accept", "fail-accept-full"};
    ei_socket_callbacks t[] = {tables_plain(), tables_full()};
    for (int i = 0; i < 2; i++) {
        struct pair p;
        t[i].accept = fail_accept;
        make(names[i], &t[i]);
        listen_on(&p, names[i]);
        assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, WAIT));
        accept_errors = 1;
        assert_code(gs_stream_accept(p.l, &p.b, GS_NO_MAILBOX, WAIT, NULL), -EMFILE);
        assert_ok(gs_stream_accept(p.l, &p.b, GS_NO_MAILBOX, WAIT, NULL));
        echo(&p, 10, 1);
        close_pair(&p);
    }
}

static _Atomic int complete_errors;
static int fail_some_completes(void *ctx)
{
    (void)ctx;
    return complete_errors > 0 && complete_errors-- > 0 ? EPROTO : 0;
}

static void a_connection_that_the_table_gives_up_is_aborted(void **state)
{
    (void)state;
    const char *const names[] = {"give-up", "give-up-full"};
    ei_socket_callbacks t[] = {tables_plain(), tables_full()};
    for (int i = 0; i < 2; i++) {
        struct pair p;
        gs_stream other;
        t[i].accept_handshake_complete = fail_some_completes;
        make(names[i], &t[i]);
        listen_on(&p, names[i]);
        complete_errors = 1;
        assert_ok(gs_stream_connect(&other, p.at, NULL, GS_NO_MAILBOX, WAIT));
        int e = gs_stream_accept(p.l, &p.b, GS_NO_MAILBOX, WAIT, NULL);
        assert_code(e, -ECONNABORTED);
        assert_true(gs_error_is_transient(e));
        assert_ok(gs_stream_close(other));
        assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, WAIT));
        assert_ok(gs_stream_accept(p.l, &p.b, GS_NO_MAILBOX, WAIT, NULL));
        close_pair(&p);
    }
}

static _Atomic int nonsense; /* 1: an errno that is none, 2: nothing moved, 3: more than there was */
static int odd_write(void *ctx, const char *buf, ssize_t *len, unsigned tmo)
{
    if (!nonsense)
        return tables_write(ctx, buf, len, tmo);
    *len = nonsense == 2 ? 0 : nonsense == 3 ? *len + 1 : -1;
    return nonsense == 1 ? 1 << 20 : 0;
}
static int odd_read(void *ctx, char *buf, ssize_t *len, unsigned tmo)
{
    if (!nonsense)
        return tables_read(ctx, buf, len, tmo);
    *len = nonsense == 3 ? *len + 1 : -1;
    return nonsense == 1 ? -7 : 0;
}

static void nonsense_of_a_table_is_an_error_of_the_stream(void **state)
{
    (void)state;
    char in[8];
    ei_socket_callbacks t = tables_bare();
    t.write = odd_write;
    t.read = odd_read;
    make("odd", &t);
    for (int i = 1; i <= 4; i++) {
        struct pair p;
        nonsense = 0;
        open_pair(&p, "odd");
        nonsense = i;
        assert_code(gs_stream_send(p.a, "x", 1), -EIO);
        assert_code(gs_stream_recv(p.b, in, sizeof in, 0, WAIT), -EIO);
        nonsense = 0;
        close_pair(&p);
    }
}

static void run_sends(gs_stream s, int last)
{
    int e = 0;
    assert_until((e = gs_stream_send(s, "x", 1)) < 0, WAIT);
    assert_code(e, last);
}

static void a_table_that_writes_to_who_is_gone_raises_no_signal(void **state)
{
    (void)state;
    const char *const names[] = {"pipe-plain", "pipe-full"};
    ei_socket_callbacks t[] = {tables_plain(), tables_full()};
    sigset_t pipe, before, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    for (int i = 0; i < 2; i++) {
        struct pair p;
        make(names[i], &t[i]);
        open_pair(&p, names[i]);
        assert_ok(gs_stream_close(p.b));
        run_sends(p.a, GS_ECLOSED); /* by default the signal ends the process */
        assert_ok(gs_stream_close(p.a));
        assert_ok(gs_stream_close(p.l));
    }
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &pipe, &before), 0);
    assert_int_equal(raise(SIGPIPE), 0); /* one of the program's own stays */
    struct pair p;
    open_pair(&p, "pipe-plain");
    assert_ok(gs_stream_close(p.b));
    run_sends(p.a, GS_ECLOSED);
    sigpending(&pending);
    assert_true(sigismember(&pending, SIGPIPE));
    assert_ok(gs_stream_close(p.a));
    assert_ok(gs_stream_close(p.l));
    int got;
    assert_int_equal(sigwait(&pipe, &got), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_without_a_needed_slot_is_refused_by_name),
        cmocka_unit_test(a_table_that_ends_before_a_needed_slot_lacks_it),
        cmocka_unit_test(a_longer_table_is_used_as_far_as_it_is_known),
        cmocka_unit_test(flags_of_a_later_ei_are_refused),
        cmocka_unit_test(schemes_are_those_of_other_transports),
        cmocka_unit_test(each_scheme_has_its_table_and_setup),
        cmocka_unit_test(each_kind_meets_its_descriptor_as_ei_says),
        cmocka_unit_test(each_socket_is_closed_once),
        cmocka_unit_test(both_ends_hear_that_they_are_connections),
        cmocka_unit_test(writes_with_full_impl_are_short),
        cmocka_unit_test(without_writev_short_pieces_are_one_write),
        cmocka_unit_test(the_backlog_is_the_listeners),
        cmocka_unit_test(options_that_a_table_has_not_are_refused),
        cmocka_unit_test(addresses_are_of_ipv4),
        cmocka_unit_test(there_is_no_half_close),
        cmocka_unit_test(names_are_what_the_table_and_its_descriptor_know),
        cmocka_unit_test(failures_to_open_say_which_call_and_leave_nothing),
        cmocka_unit_test(a_failing_accept_is_told_and_the_next_one_works),
        cmocka_unit_test(a_connection_that_the_table_gives_up_is_aborted),
        cmocka_unit_test(nonsense_of_a_table_is_an_error_of_the_stream),
        cmocka_unit_test(a_table_that_writes_to_who_is_gone_raises_no_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
