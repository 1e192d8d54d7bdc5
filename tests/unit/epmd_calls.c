/* The questions to epmd over every transport that this process can speak to itself by, with an epmd that does what a test tells
 * it: the right answer, a wrong one, none, half of one, one that never ends. runner: tsan */
#include <errno.h>
#include <gensock/ei.h>
#include <gensock/transport.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "census.h"
#include "support.h"

#define BYTES(text) (text), sizeof(text) - 1
#define PORT_OF_C1 "w\0\x12\x67H\0\0\6\0\6\0\2c1\0\0"
#define CREATION "v\0\xfb\1\xbf\x1f"

enum { WAIT = 20000 };
enum then { THEN_CLOSE, THEN_STAY, THEN_RESET, THEN_REPEAT };

/* An epmd of one connection. Its thread touches it from scripted_start to scripted_end. */
struct scripted {
    gs_stream listener;
    char address[128];
    const char *answer;
    size_t answer_n, part; /* part: bytes of one send; 0: all */
    enum then then;
    uint8_t request[5000];
    size_t request_n;
    int ended; /* THEN_STAY: how the caller's end came */
    pthread_t thread;
};

static void send_answer(struct scripted *t, gs_stream s)
{
    size_t part = t->part ? t->part : t->answer_n;
    for (size_t at = 0; at < t->answer_n; at += part) {
        if (gs_stream_send(s, t->answer + at, part < t->answer_n - at ? part : t->answer_n - at) < 0)
            return;
        if (t->part)
            pause_1ms();
    }
}

static void *scripted_run(void *arg)
{
    struct scripted *t = arg;
    gs_stream s;
    if (gs_stream_accept(t->listener, &s, GS_NO_MAILBOX, WAIT, NULL) < 0)
        return NULL;
    if (gs_stream_recv(s, t->request, sizeof t->request, 2, WAIT) == 2) {
        size_t n = (size_t)t->request[0] << 8 | t->request[1];
        if (gs_stream_recv(s, t->request + 2, sizeof t->request - 2, n, WAIT) == (ssize_t)n)
            t->request_n = n + 2;
    }
    send_answer(t, s);
    uint8_t more[64];
    if (t->then == THEN_STAY)
        t->ended = (int)gs_stream_recv(s, more, sizeof more, 0, WAIT);
    if (t->then == THEN_REPEAT)
        for (int i = 0; i < WAIT && gs_stream_send(s, t->answer + 4, t->answer_n - 4) == 0; i++)
            pause_1ms();
    if (t->then == THEN_RESET)
        assert_ok(gs_stream_setopts(s, GS_OPTS({.name = GS_OPT_LINGER, .v.linger = {.on = true, .seconds = 0}})));
    gs_stream_close(s);
    return NULL;
}

/* at: an address to listen at; a port of 0 becomes the one that it got. */
static void scripted_start(struct scripted *t, const char *at, const char *answer, size_t n, enum then then)
{
    *t = (struct scripted){.answer = answer, .answer_n = n, .then = then, .part = t->part};
    assert_ok(gs_stream_listen(&t->listener, at, NULL, GS_NO_MAILBOX));
    size_t len = strlen(at);
    if (len > 2 && strcmp(at + len - 2, ":0") == 0)
        snprintf(t->address, sizeof t->address, "%.*s%d", (int)len - 1, at, (int)assert_ok(gs_stream_port(t->listener)));
    else
        snprintf(t->address, sizeof t->address, "%s", at);
    assert_int_equal(pthread_create(&t->thread, NULL, scripted_run, t), 0);
}

static void scripted_end(struct scripted *t)
{
    pthread_join(t->thread, NULL);
    gs_stream_close(t->listener);
    t->part = 0;
}

#define LOCAL "tcp://127.0.0.1:0"

/* ---- each transport ---- */

static const char *ways(size_t i)
{
    static char local[200], abstract[64];
    static int files; /* a socket's file stays */
    char name[32];
    snprintf(name, sizeof name, "epmd%d", files++);
    snprintf(local, sizeof local, "unix://%s", temp_path(name));
    snprintf(abstract, sizeof abstract, "unix://@epmd-%d-%d", getpid(), files);
    const char *const all[] = {LOCAL, "tcp://[::1]:0", local, abstract, "mem://epmd"};
    return i < sizeof all / sizeof *all ? all[i] : NULL;
}

static void a_node_is_looked_up(void **state)
{
    (void)state;
    struct scripted t = {0};
    struct census before = {0};
    const char *way;
    for (size_t i = 0; (way = ways(i)); i++) {
        gs_epmd_node node;
        if (i == 1)
            census_take(&before);
        t.part = i & 1;
        scripted_start(&t, way, BYTES(PORT_OF_C1), THEN_CLOSE);
        assert_ok(gs_epmd_lookup(t.address, NULL, "c1", &node, WAIT));
        scripted_end(&t);
        assert_int_equal(t.request_n, 5);
        assert_memory_equal(t.request, "\0\3zc1", 5);
        assert_string_equal(node.name, "c1");
        assert_int_equal(node.port, 4711);
        assert_int_equal(node.type, GS_EPMD_HIDDEN);
        assert_int_equal(node.highest, 6);
    }
    census_assert(&before);
}

static void a_node_is_registered_until_its_stream_closes(void **state)
{
    (void)state;
    struct scripted t = {0};
    const char *way;
    for (size_t i = 0; (way = ways(i)); i++) {
        gs_epmd_node node = {.name = "c1", .port = 4711};
        gs_stream s;
        uint32_t creation;
        scripted_start(&t, way, BYTES(CREATION), THEN_STAY);
        assert_ok(gs_epmd_register(t.address, NULL, &node, &s, &creation, WAIT));
        assert_int_equal(creation, 0xfb01bf1f);
        char c;
        assert_code(gs_stream_recv(s, &c, 1, 0, 20), GS_ETIMEOUT); /* it stays */
        assert_ok(gs_stream_close(s));
        scripted_end(&t);
        assert_code(t.ended, GS_ECLOSED);
        assert_int_equal(t.request_n, 17);
        assert_memory_equal(t.request, "\0\17x\x12\x67H\0\0\6\0\6\0\2c1\0\0", 17);
    }
}

static void names_are_listed(void **state)
{
    (void)state;
    struct scripted t = {0};
    struct census before = {0};
    const char *way;
    for (size_t i = 0; (way = ways(i)); i++) {
        gs_epmd_node node[2] = {0};
        if (i == 1)
            census_take(&before);
        t.part = 5 * (i & 1);
        scripted_start(&t, way, BYTES("\0\0\x11\x11name n1 at port 35649\nname c1 at port 4711\nname c2 at port 1\n"),
                       THEN_CLOSE);
        assert_int_equal(assert_ok(gs_epmd_names(t.address, NULL, node, 2, WAIT)), 3);
        scripted_end(&t);
        assert_memory_equal(t.request, "\0\1n", 3);
        assert_string_equal(node[1].name, "c1");
        assert_int_equal(node[1].port, 4711);
    }
    census_assert(&before);
}

static void what_a_node_says_of_itself_is_registered(void **state)
{
    (void)state;
    struct scripted t = {0};
    gs_epmd_node node = {.name = "n", .port = 1, .type = GS_EPMD_NORMAL, .protocol = 2, .highest = 7, .lowest = 5, .extra_len = 2,
                         .extra = "ex"};
    gs_stream s;
    scripted_start(&t, LOCAL, BYTES("y\0\0\3"), THEN_CLOSE);
    assert_ok(gs_epmd_register(t.address, NULL, &node, &s, NULL, WAIT));
    scripted_end(&t);
    assert_memory_equal(t.request, "\0\20x\0\1M\2\0\7\0\5\0\1n\0\2ex", 18);
    char c;
    assert_code(gs_stream_recv(s, &c, 1, 0, WAIT), GS_ECLOSED); /* epmd's end is seen */
    gs_stream_close(s);
}

static void the_end_of_epmd_comes_as_a_message(void **state)
{
    (void)state;
    struct scripted t = {0};
    gs_epmd_node node = {.name = "c1", .port = 4711};
    gs_stream s;
    gs_mailbox mb;
    gs_msg m;
    scripted_start(&t, LOCAL, BYTES(CREATION), THEN_CLOSE);
    assert_ok(gs_epmd_register(t.address, NULL, &node, &s, NULL, WAIT));
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_stream_controlling_process(s, GS_NO_MAILBOX, mb));
    assert_ok(gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, true))));
    assert_ok(gs_receive(mb, &m, WAIT));
    assert_int_equal(m.kind, GS_MSG_CLOSED);
    assert_int_equal(m.stream.id, s.id);
    gs_mailbox_free(mb);
    scripted_end(&t);
}

enum { THREADS = 4, LOOKUPS = 50 };

static void *look_up_often(void *arg)
{
    struct scripted t = {0};
    intptr_t good = 0;
    (void)arg;
    for (int i = 0; i < LOOKUPS; i++) {
        gs_epmd_node node;
        scripted_start(&t, LOCAL, BYTES(PORT_OF_C1), THEN_CLOSE);
        good += gs_epmd_lookup(t.address, NULL, "c1", &node, WAIT) == 0 && node.port == 4711;
        scripted_end(&t);
    }
    return (void *)good;
}

static void threads_ask_at_once(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, look_up_often, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        void *good;
        pthread_join(thread[i], &good);
        assert_int_equal((intptr_t)good, LOOKUPS);
    }
}

/* ---- answers that are none ---- */

static void assert_detail(int e, const char *wanted)
{
    if (!strstr(gs_error_detail(e), wanted))
        fail_msg("\"%s\" does not say \"%s\"", gs_error_detail(e), wanted);
}

static const struct failing {
    const char *answer;
    size_t n;
    enum then then;
    int e;
    const char *detail;
} lookups[] = {
    {BYTES("w\1"), THEN_CLOSE, GS_ENXDOMAIN, "knows no node c1"},
    {BYTES("w\1"), THEN_STAY, GS_ENXDOMAIN, "knows no node c1"},
    {BYTES("SSH-2.0-"), THEN_STAY, GS_EINVALID, "no epmd"},
    {BYTES(""), THEN_CLOSE, GS_ECLOSED, "before its answer was whole"},
    {BYTES("w\0\x12\x67H\0"), THEN_CLOSE, GS_ECLOSED, "before its answer was whole"},
    {BYTES("w"), THEN_RESET, -ECONNRESET, ""},
}, registrations[] = {
    {BYTES("v\1\0\0\0c"), THEN_STAY, -EEXIST, "refuses the name c1"},
    {BYTES("y\1\0c"), THEN_STAY, -EEXIST, "refuses the name c1"},
    {BYTES(PORT_OF_C1), THEN_STAY, GS_EINVALID, "no epmd"},
    {BYTES(""), THEN_CLOSE, GS_ECLOSED, "its own host"},
    {BYTES("v\0\0"), THEN_RESET, -ECONNRESET, ""},
}, lists[] = {
    {BYTES("HTTP/1.0"), THEN_STAY, GS_EINVALID, "no epmd"},
    {BYTES("\0\0\x11\x11name n1 at port 35649\nname"), THEN_CLOSE, GS_ECLOSED, "before its answer was whole"},
    {BYTES("\0\0\x11\x11name n1 at port 35649\n"), THEN_RESET, -ECONNRESET, ""}, /* not taken for the list's end */
};
#define ROWS(table) (sizeof(table) / sizeof *(table))

static void wrong_answers_say_what_is_wrong_and_leave_nothing(void **state)
{
    (void)state;
    struct scripted t = {0};
    struct census before;
    for (int warm = 0; warm < 2; warm++) {
        census_take(&before);
        gs_epmd_node node = {.port = 9};
        for (size_t i = 0; i < ROWS(lookups); i++) {
            scripted_start(&t, LOCAL, lookups[i].answer, lookups[i].n, lookups[i].then);
            assert_code(gs_epmd_lookup(t.address, NULL, "c1", &node, WAIT), lookups[i].e);
            assert_detail(lookups[i].e, lookups[i].detail);
            assert_int_equal(node.port, 9);
            scripted_end(&t);
        }
        for (size_t i = 0; i < ROWS(registrations); i++) {
            gs_epmd_node me = {.name = "c1", .port = 4711};
            gs_stream s = GS_NO_STREAM;
            uint32_t creation = 9;
            scripted_start(&t, LOCAL, registrations[i].answer, registrations[i].n, registrations[i].then);
            assert_code(gs_epmd_register(t.address, NULL, &me, &s, &creation, WAIT), registrations[i].e);
            assert_detail(registrations[i].e, registrations[i].detail);
            assert_int_equal(creation, 9);
            assert_int_equal(s.id, 0);
            scripted_end(&t);
        }
        for (size_t i = 0; i < ROWS(lists); i++) {
            scripted_start(&t, LOCAL, lists[i].answer, lists[i].n, lists[i].then);
            assert_code(gs_epmd_names(t.address, NULL, &node, 1, WAIT), lists[i].e);
            assert_detail(lists[i].e, lists[i].detail);
            scripted_end(&t);
        }
    }
    census_assert(&before);
}

static void an_epmd_that_is_not_there_is_told_with_its_address(void **state)
{
    (void)state;
    gs_stream l;
    gs_epmd_node node;
    char at[64];
    assert_ok(gs_stream_listen(&l, LOCAL, NULL, GS_NO_MAILBOX));
    snprintf(at, sizeof at, "tcp://127.0.0.1:%d", (int)assert_ok(gs_stream_port(l)));
    gs_stream_close(l);
    assert_code(gs_epmd_lookup(at, NULL, "c1", &node, WAIT), -ECONNREFUSED);
    assert_detail(-ECONNREFUSED, at);
    assert_detail(-ECONNREFUSED, "is epmd running");
}

/* ---- time ---- */

static int ask(int call, const char *address, int timeout_ms)
{
    static gs_epmd_node node = {.name = "c1", .port = 1};
    gs_stream s;
    return call == 0   ? gs_epmd_lookup(address, NULL, "c1", &node, timeout_ms)
           : call == 1 ? gs_epmd_register(address, NULL, &node, &s, NULL, timeout_ms)
                       : (int)gs_epmd_names(address, NULL, &node, 1, timeout_ms);
}

static void silence_ends_with_the_timeout_and_not_before(void **state)
{
    (void)state;
    struct scripted t = {0};
    static const char *const first[] = {"w", "v", "\0"}; /* or after the first byte */
    enum { MS = 60 };
    for (int call = 0; call < 3; call++)
        for (size_t n = 0; n < 2; n++) {
            scripted_start(&t, LOCAL, first[call], n, THEN_STAY);
            uint64_t began = real_ms();
            assert_code(ask(call, t.address, MS), GS_ETIMEOUT);
            assert_true(real_ms() - began >= MS - 1); /* the test's clock drops a part of a millisecond */
            assert_detail(GS_ETIMEOUT, "in time");
            scripted_end(&t);
            scripted_start(&t, LOCAL, first[call], n, THEN_STAY);
            assert_code(ask(call, t.address, 0), GS_ETIMEOUT);
            scripted_end(&t);
        }
}

static void an_answer_without_end_has_no_more_time_than_none(void **state)
{
    (void)state;
    struct scripted t = {0};
    gs_epmd_node node;
    scripted_start(&t, LOCAL, BYTES("\0\0\x11\x11name n1 at port 35649\n"), THEN_REPEAT);
    assert_code(gs_epmd_names(t.address, NULL, &node, 1, 100), GS_ETIMEOUT);
    scripted_end(&t);
}

/* ---- transports that take nothing, or give without end ---- */

static int stuck_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    (void)to, (void)opts;
    *ctx = io;
    return 0;
}
static int endless_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    static size_t at;
    (void)io, (void)to, (void)opts;
    at = 0;
    *ctx = &at;
    return 0;
}
/* epmd's port, and lines of 1,000 bytes without a name. */
static ssize_t endless_readv(void *ctx, const struct iovec *iov, int n)
{
    size_t *at = ctx;
    char *p = iov->iov_base;
    (void)n;
    for (size_t i = 0; i < iov->iov_len; i++, ++*at)
        p[i] = *at < 4 ? "\0\0\x11\x11"[*at] : *at % 1000 == 0 ? '\n' : ' ';
    return (ssize_t)iov->iov_len;
}
static ssize_t endless_writev(void *ctx, const struct iovec *iov, int n)
{
    size_t all = 0;
    (void)ctx;
    for (int i = 0; i < n; i++)
        all += iov[i].iov_len;
    return (ssize_t)all;
}
static int stuck_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)io, (void)at, (void)opts, (void)ctx;
    return -ENOTSUP;
}
static int stuck_accept(void *listener, gs_io *io, void **ctx)
{
    (void)listener, (void)io, (void)ctx;
    return -EAGAIN;
}
static ssize_t stuck_move(void *ctx, const struct iovec *iov, int n)
{
    (void)ctx, (void)iov, (void)n;
    return -EAGAIN;
}
static void stuck_close(void *ctx, bool reset) { (void)ctx, (void)reset; }
static int stuck_poll(void *ctx, size_t *buffered)
{
    (void)ctx;
    *buffered = 0;
    return -1;
}
static const struct gs_transport stuck = {.size = sizeof stuck, .scheme = "stuck", .flags = GS_T_NO_HALF_CLOSE,
    .connect = stuck_connect, .listen = stuck_listen, .accept = stuck_accept, .readv = stuck_move, .writev = stuck_move,
    .close = stuck_close, .poll = stuck_poll};

static const struct gs_transport endless = {.size = sizeof endless, .scheme = "endless", .flags = GS_T_NO_HALF_CLOSE,
    .connect = endless_connect, .listen = stuck_listen, .accept = stuck_accept, .readv = endless_readv, .writev = endless_writev,
    .close = stuck_close, .poll = stuck_poll};

static void an_answer_without_end_has_an_end(void **state)
{
    (void)state;
    gs_epmd_node node;
    assert_ok(gs_transport_register(&endless));
    assert_code(gs_epmd_names("endless://anywhere", NULL, &node, 1, 1), GS_ETIMEOUT); /* however fast it comes */
    assert_code(gs_epmd_names("endless://anywhere", NULL, &node, 1, GS_INFINITY), -EMSGSIZE);
}

static void a_question_that_cannot_be_sent_ends_with_the_timeout(void **state)
{
    (void)state;
    assert_ok(gs_transport_register(&stuck));
    for (int call = 0; call < 3; call++)
        assert_code(ask(call, "stuck://anywhere", 20), GS_ETIMEOUT);
}

static void an_infinite_timeout_waits_for_the_answer(void **state)
{
    (void)state;
    struct scripted t = {.part = 1};
    gs_epmd_node node;
    scripted_start(&t, LOCAL, BYTES(PORT_OF_C1), THEN_CLOSE);
    assert_ok(gs_epmd_lookup(t.address, NULL, "c1", &node, GS_INFINITY));
    scripted_end(&t);
}

/* ---- what stands around it ---- */

static void without_an_address_it_is_this_hosts_as_the_environment_says(void **state)
{
    (void)state;
    struct scripted t = {0};
    gs_epmd_node node;
    scripted_start(&t, LOCAL, BYTES(PORT_OF_C1), THEN_CLOSE);
    setenv("ERL_EPMD_PORT", strrchr(t.address, ':') + 1, 1);
    assert_ok(gs_epmd_lookup(NULL, NULL, "c1", &node, WAIT));
    scripted_end(&t);
    static const char *const wrong[] = {"", "0", "65536", "99999999999999999999", "port", "43 69", "-1", "4369x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("ERL_EPMD_PORT", wrong[i], 1);
        assert_code(gs_epmd_names(NULL, NULL, NULL, 0, WAIT), -EINVAL);
        assert_detail(-EINVAL, "ERL_EPMD_PORT");
    }
    unsetenv("ERL_EPMD_PORT");
}

static void the_defaults_of_the_process_do_not_frame_it(void **state)
{
    (void)state;
    struct scripted t = {0};
    gs_epmd_node node;
    scripted_start(&t, LOCAL, BYTES(PORT_OF_C1), THEN_CLOSE);
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS,
                                  GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, 1), GS_INT(PACKET_SIZE, 3))));
    int e = gs_epmd_lookup(t.address, GS_OPTS(GS_INT(NODELAY, true)), "c1", &node, WAIT);
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS, NULL));
    scripted_end(&t);
    assert_ok(e);
    assert_memory_equal(t.request, "\0\3zc1", 5);

    struct census before;
    census_take(&before);
    scripted_start(&t, LOCAL, BYTES("\0\0\x11\x11"), THEN_CLOSE);
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS(GS_INT(EXIT_ON_CLOSE, false)))); /* its end closes no stream */
    e = (int)gs_epmd_names(t.address, NULL, &node, 1, WAIT);
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS, NULL));
    scripted_end(&t);
    assert_int_equal(e, 0);
    census_assert(&before);
}

static void options_are_the_connections(void **state)
{
    (void)state;
    gs_epmd_node node;
    assert_code(gs_epmd_lookup(LOCAL, GS_OPTS(GS_STR(NETNS, "/no/such/namespace")), "c1", &node, WAIT), -ENOENT);
}

/* What a thread's first wait makes stays, and a question waits or not, as fast as epmd is. */
static int wait_once(void **state)
{
    (void)state;
    gs_stream l, none;
    assert_ok(gs_stream_listen(&l, LOCAL, NULL, GS_NO_MAILBOX));
    assert_code(gs_stream_accept(l, &none, GS_NO_MAILBOX, 1, NULL), GS_ETIMEOUT);
    return gs_stream_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_is_looked_up),
        cmocka_unit_test(a_node_is_registered_until_its_stream_closes),
        cmocka_unit_test(names_are_listed),
        cmocka_unit_test(what_a_node_says_of_itself_is_registered),
        cmocka_unit_test(the_end_of_epmd_comes_as_a_message),
        cmocka_unit_test(threads_ask_at_once),
        cmocka_unit_test(wrong_answers_say_what_is_wrong_and_leave_nothing),
        cmocka_unit_test(an_epmd_that_is_not_there_is_told_with_its_address),
        cmocka_unit_test(silence_ends_with_the_timeout_and_not_before),
        cmocka_unit_test(an_answer_without_end_has_no_more_time_than_none),
        cmocka_unit_test(an_answer_without_end_has_an_end),
        cmocka_unit_test(a_question_that_cannot_be_sent_ends_with_the_timeout),
        cmocka_unit_test(an_infinite_timeout_waits_for_the_answer),
        cmocka_unit_test(without_an_address_it_is_this_hosts_as_the_environment_says),
        cmocka_unit_test(the_defaults_of_the_process_do_not_frame_it),
        cmocka_unit_test(options_are_the_connections),
    };
    return cmocka_run_group_tests(tests, wait_once, NULL);
}
