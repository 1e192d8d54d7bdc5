/* Two C nodes of ei itself in one process, over ei's table: how they meet, and what they are told when they do not.
 * runner: tsan, serial */
#include <arpa/inet.h>
#include <errno.h>
#include <gensock/ei.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "census.h"
#include "support.h"

enum { WAIT = 5000 };

static void node_init(ei_cnode *ec, const char *alive, const char *cookie, const gs_ei_setup *setup)
{
    char full[64];
    int size;
    ei_socket_callbacks *table = gs_ei_callbacks(&size);
    snprintf(full, sizeof full, "%s@localhost", alive);
    int e = ei_connect_xinit_ussi(ec, "localhost", alive, full, NULL, cookie, 0, table, size, (void *)(uintptr_t)setup);
    assert_int_equal(e, 0);
}

/* ---- meeting ---- */

struct server {
    ei_cnode *ec;
    int listener, fd, code;
    ErlConnect who;
    unsigned ms;
};

static void *accept_node(void *arg)
{
    struct server *s = arg;
    s->fd = ei_accept_tmo(s->ec, s->listener, &s->who, s->ms);
    s->code = s->fd < 0 ? erl_errno : 0;
    return NULL;
}

static void send_text(ei_cnode *ec, int fd, const char *text)
{
    ei_x_buff x;
    assert_int_equal(ei_x_new_with_version(&x), 0);
    assert_int_equal(ei_x_encode_string(&x, text), 0);
    assert_int_equal(ei_reg_send_tmo(ec, fd, "somebody", x.buff, x.index, WAIT), 0);
    ei_x_free(&x);
}

static void expect_text(int fd, const char *text)
{
    erlang_msg m;
    ei_x_buff x;
    char got[64] = "";
    int at = 0, version;
    assert_int_equal(ei_x_new(&x), 0);
    assert_int_equal(ei_xreceive_msg_tmo(fd, &m, &x, WAIT), ERL_MSG);
    assert_int_equal(m.msgtype, ERL_REG_SEND);
    assert_int_equal(ei_decode_version(x.buff, &at, &version), 0);
    assert_int_equal(ei_decode_string(x.buff, &at, got), 0);
    assert_string_equal(got, text);
    ei_x_free(&x);
}

static void talk(ei_cnode *client, int fd, struct server *s)
{
    send_text(client, fd, "hello");
    expect_text(s->fd, "hello");
    send_text(s->ec, s->fd, "and back");
    expect_text(fd, "and back");
    assert_string_equal(s->who.nodename, "client@localhost");
}

static void meet(const char *listen, const char *connect, const gs_ei_setup *setup)
{
    ei_cnode client, server;
    pthread_t t;
    gs_stream l;
    char address[128];
    node_init(&client, "client", "cookie", setup);
    node_init(&server, "server", "cookie", setup);
    struct server s = {.ec = &server, .listener = gs_ei_listen(&server, listen, 5), .ms = WAIT};
    assert_ok(s.listener);
    assert_ok(gs_ei_stream(s.listener, &l));
    int port = gs_stream_port(l);
    snprintf(address, sizeof address, "%s%.0d", connect, port > 0 ? port : 0);
    assert_int_equal(pthread_create(&t, NULL, accept_node, &s), 0);
    int fd = gs_ei_connect(&client, address, WAIT);
    assert_ok(fd);
    pthread_join(t, NULL);
    assert_int_equal(s.code, 0);
    talk(&client, fd, &s);
    assert_int_equal(ei_close_connection(fd), 0);
    assert_int_equal(ei_close_connection(s.fd), 0);
    assert_int_equal(ei_close_connection(s.listener), 0);
}

static void nodes_meet_at_a_gensock_address(void **state)
{
    (void)state;
    struct census before;
    char unix_address[128];
    snprintf(unix_address, sizeof unix_address, "unix://%s", temp_path("node"));
    meet("mem://warm", "mem://warm", NULL);
    meet("tcp://127.0.0.1:0", "tcp://127.0.0.1:", NULL); /* a thread keeps its eventfd */
    census_take(&before);
    meet("tcp://127.0.0.1:0", "tcp://127.0.0.1:", NULL);
    meet("tcp://[::1]:0", "tcp://[::1]:", NULL);
    meet(unix_address, unix_address, NULL);
    meet("mem://nodes", "mem://nodes", NULL);
    census_assert(&before);
}

/* 127.1.2.3 stands for ::1. */
static int to_ipv6(const struct sockaddr_in *in, bool listens, char *address, size_t cap, void *arg)
{
    assert_string_equal(arg, "of the setup");
    assert_int_equal(ntohl(in->sin_addr.s_addr), 0x7f010203);
    snprintf(address, cap, "tcp://[::1]:%d", listens ? 0 : ntohs(in->sin_port));
    return 0;
}

static void ei_own_calls_reach_what_the_map_says(void **state)
{
    (void)state;
    const gs_ei_setup setup = {.map = to_ipv6, .map_arg = "of the setup"};
    ei_cnode client, server;
    pthread_t t;
    struct in_addr stand_in;
    int port = 0;
    gs_stream stream;
    gs_addr at;
    inet_pton(AF_INET, "127.1.2.3", &stand_in);
    node_init(&client, "client", "cookie", &setup);
    node_init(&server, "server", "cookie", &setup);
    struct in_addr bound = stand_in;
    struct server s = {.ec = &server, .listener = ei_xlisten(&server, &bound, &port, 5), .ms = WAIT};
    assert_true(s.listener >= 0);
    assert_true(port > 0);
    assert_int_equal(bound.s_addr, INADDR_ANY);
    assert_int_equal(pthread_create(&t, NULL, accept_node, &s), 0);
    int fd = ei_xconnect_host_port_tmo(&client, &stand_in, port, WAIT);
    assert_true(fd >= 0);
    pthread_join(t, NULL);
    talk(&client, fd, &s);
    assert_ok(gs_ei_stream(fd, &stream));
    assert_ok(gs_stream_peername(stream, &at));
    assert_int_equal(gs_addr_family(&at), AF_INET6);
    assert_memory_equal(s.who.ipadr, "\0\0\0\0", 4);
    ei_close_connection(fd);
    ei_close_connection(s.fd);
    ei_close_connection(s.listener);
}

static void a_node_of_plain_ei_is_met(void **state)
{
    (void)state;
    ei_cnode client, plain;
    pthread_t t;
    struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
    int port = 0;
    char address[64];
    node_init(&client, "client", "cookie", NULL);
    assert_int_equal(ei_connect_xinit(&plain, "localhost", "plain", "plain@localhost", NULL, "cookie", 0), 0);
    struct server s = {.ec = &plain, .listener = ei_xlisten(&plain, &loopback, &port, 5), .ms = WAIT};
    assert_true(s.listener >= 0);
    assert_int_equal(pthread_create(&t, NULL, accept_node, &s), 0);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", port);
    int fd = gs_ei_connect(&client, address, WAIT);
    assert_ok(fd);
    pthread_join(t, NULL);
    talk(&client, fd, &s);
    ei_close_connection(fd);
    ei_close_connection(s.fd);
    ei_close_connection(s.listener);
}

/* ---- not meeting ---- */

static void another_cookie_is_told_at_both_ends(void **state)
{
    (void)state;
    ei_cnode client, server;
    pthread_t t;
    node_init(&client, "client", "cookie", NULL);
    node_init(&server, "server", "another", NULL);
    struct server s = {.ec = &server, .listener = gs_ei_listen(&server, "mem://cookies", 5), .ms = WAIT};
    assert_ok(s.listener);
    struct census before;
    census_take(&before);
    assert_int_equal(pthread_create(&t, NULL, accept_node, &s), 0);
    assert_code(gs_ei_connect(&client, "mem://cookies", WAIT), -EIO);
    assert_non_null(strstr(gs_error_detail(-EIO), "cookie"));
    pthread_join(t, NULL);
    assert_int_equal(s.fd, ERL_ERROR);
    assert_true(s.code > 0);
    census_assert(&before);
    ei_close_connection(s.listener);
}

struct caller {
    ei_cnode *ec;
    const char *address;
    int code;
};

static void *call_node(void *arg)
{
    struct caller *c = arg;
    c->code = gs_ei_connect(c->ec, c->address, WAIT);
    return NULL;
}

/* A callback that failed before is not the reason. */
static void what_ei_itself_refuses_has_no_older_reason(void **state)
{
    (void)state;
    ei_cnode stranger, server;
    ErlConnect who;
    pthread_t t;
    node_init(&stranger, "client", "another", NULL);
    node_init(&server, "server", "cookie", NULL);
    int listener = gs_ei_listen(&server, "mem://strangers", 5);
    assert_ok(listener);
    assert_int_equal(ei_accept_tmo(&server, listener, &who, 20), ERL_ERROR);
    assert_int_equal(gs_ei_error(), GS_ETIMEOUT);
    struct caller c = {.ec = &stranger, .address = "mem://strangers"};
    assert_int_equal(pthread_create(&t, NULL, call_node, &c), 0);
    assert_int_equal(ei_accept_tmo(&server, listener, &who, WAIT), ERL_ERROR);
    pthread_join(t, NULL);
    assert_int_equal(gs_ei_error(), 0);
    assert_code(c.code, -EIO);
    ei_close_connection(listener);
}

/* After messages that were waited for in vain. */
static void the_end_of_a_peer_is_no_timeout(void **state)
{
    (void)state;
    ei_cnode client, server;
    erlang_msg m;
    ei_x_buff x;
    pthread_t t;
    node_init(&client, "client", "cookie", NULL);
    node_init(&server, "server", "cookie", NULL);
    struct server s = {.ec = &server, .listener = gs_ei_listen(&server, "mem://ends", 5), .ms = WAIT};
    assert_ok(s.listener);
    assert_int_equal(pthread_create(&t, NULL, accept_node, &s), 0);
    int fd = gs_ei_connect(&client, "mem://ends", WAIT);
    assert_ok(fd);
    pthread_join(t, NULL);
    assert_int_equal(ei_x_new(&x), 0);
    assert_int_equal(ei_xreceive_msg_tmo(fd, &m, &x, 20), ERL_ERROR);
    assert_int_equal(gs_ei_error(), GS_ETIMEOUT);
    ei_close_connection(s.fd);
    assert_int_equal(ei_xreceive_msg_tmo(fd, &m, &x, WAIT), ERL_ERROR);
    assert_int_equal(gs_ei_error(), 0);
    ei_x_free(&x);
    ei_close_connection(fd);
    ei_close_connection(s.listener);
}

static void nobody_there_is_told_with_its_reason(void **state)
{
    (void)state;
    ei_cnode client;
    node_init(&client, "client", "cookie", NULL);
    assert_ok(gs_ei_next("mem://warm"));
    assert_ok(gs_ei_next(NULL));
    struct census before;
    census_take(&before);
    assert_code(gs_ei_connect(&client, "tcp://127.0.0.1:1", WAIT), -ECONNREFUSED);
    assert_int_equal(gs_ei_error(), -ECONNREFUSED);
    assert_true(*gs_error_detail(-ECONNREFUSED));
    assert_int_equal(erl_errno, ECONNREFUSED);
    assert_code(gs_ei_connect(&client, "pigeon://loft", WAIT), GS_ENOSCHEME);
    assert_code(gs_ei_connect(&client, "unix:///nowhere/at/all", WAIT), -ENOENT);
    census_assert(&before);
}

static void a_silent_peer_ends_each_call_in_its_time(void **state)
{
    (void)state;
    ei_cnode client, server;
    gs_stream silent, quiet;
    node_init(&client, "client", "cookie", NULL);
    node_init(&server, "server", "cookie", NULL);
    assert_ok(gs_stream_listen(&silent, "mem://silent", NULL, GS_NO_MAILBOX)); /* takes connections and says nothing */
    uint64_t began = real_ms();
    assert_code(gs_ei_connect(&client, "mem://silent", 50), GS_ETIMEOUT);
    assert_code(gs_ei_connect(&client, "mem://silent", 0), GS_ETIMEOUT);
    struct server s = {.ec = &server, .listener = gs_ei_listen(&server, "mem://waits", 5), .ms = 50};
    assert_ok(s.listener);
    accept_node(&s);
    assert_int_equal(s.code, ETIMEDOUT);
    assert_ok(gs_stream_connect(&quiet, "mem://waits", NULL, GS_NO_MAILBOX, WAIT));
    accept_node(&s); /* it is there, and shakes no hand */
    assert_int_equal(s.code, ETIMEDOUT);
    assert_in_range(real_ms() - began, 150, WAIT);
    gs_stream_close(quiet);
    gs_stream_close(silent);
    ei_close_connection(s.listener);
}

/* ---- options ---- */

static void options_of_the_setup_are_those_of_the_stream(void **state)
{
    (void)state;
    const gs_ei_setup setup = {
        .listen_opts = GS_OPTS(GS_INT(RECBUF, 65536), GS_INT(KEEPALIVE, false)),
        .connect_opts = GS_OPTS(GS_INT(NODELAY, false)),
    };
    ei_cnode client, server;
    pthread_t t;
    gs_stream stream;
    char address[64];
    node_init(&client, "client", "cookie", &setup);
    node_init(&server, "server", "cookie", &setup);
    /* What other parts of the program prefer for their streams disturbs no node. */
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, 1))));
    assert_ok(gs_set_default_opts(GS_LISTEN_DEFAULTS, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE), GS_INT(ACTIVE, GS_ACTIVE_ONCE))));
    struct server s = {.ec = &server, .listener = gs_ei_listen(&server, "tcp://127.0.0.1:0", 5), .ms = WAIT};
    assert_ok(s.listener);
    assert_ok(gs_ei_stream(s.listener, &stream));
    snprintf(address, sizeof address, "tcp://127.0.0.1:%ld", assert_ok(gs_stream_port(stream)));
    assert_int_equal(pthread_create(&t, NULL, accept_node, &s), 0);
    int fd = gs_ei_connect(&client, address, WAIT);
    pthread_join(t, NULL);
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS, NULL));
    assert_ok(gs_set_default_opts(GS_LISTEN_DEFAULTS, NULL));
    assert_ok(fd);
    talk(&client, fd, &s);
    gs_opt got[] = {GS_INT(NODELAY, 7), GS_INT(KEEPALIVE, 7), GS_INT(RECBUF, 7), {.name = GS_OPT_END}};
    assert_ok(gs_ei_stream(fd, &stream));
    assert_ok(gs_stream_getopts(stream, got));
    assert_int_equal(got[0].v.i, false); /* the setup's word, against ei's habit */
    assert_int_equal(got[1].v.i, true);
    assert_ok(gs_ei_stream(s.fd, &stream));
    assert_ok(gs_stream_getopts(stream, got));
    assert_int_equal(got[0].v.i, true);
    assert_int_equal(got[1].v.i, false);
    assert_int_equal(got[2].v.i, 2 * 65536);
    ei_close_connection(fd);
    ei_close_connection(s.fd);
    ei_close_connection(s.listener);
}

static void the_bridge_keeps_its_own_options(void **state)
{
    (void)state;
    static const gs_opt own[] = {
        GS_INT(ACTIVE, GS_ACTIVE_ONCE), GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, 5), GS_INT(FD, 3),
        GS_INT(BACKLOG, 9),             GS_INT(HEADER, 2),           GS_INT(SEND_MODE, GS_SEND_QUEUED),
    };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        const gs_opt opts[] = {GS_INT(KEEPALIVE, true), own[i], {.name = GS_OPT_END}};
        const gs_ei_setup setup = {.connect_opts = opts, .listen_opts = opts};
        ei_cnode ec;
        node_init(&ec, "node", "cookie", &setup);
        assert_code(gs_ei_connect(&ec, "mem://x", WAIT), -EINVAL);
        assert_non_null(strstr(gs_error_detail(-EINVAL), gs_opt_name_text(own[i].name)));
        assert_code(gs_ei_listen(&ec, "mem://x", 5), -EINVAL);
    }
    gs_opt endless[300];
    for (size_t i = 0; i < 299; i++)
        endless[i] = (gs_opt)GS_INT(KEEPALIVE, true);
    endless[299] = (gs_opt){.name = GS_OPT_END};
    const gs_ei_setup many = {.connect_opts = endless};
    ei_cnode ec;
    node_init(&ec, "node", "cookie", &many);
    assert_code(gs_ei_connect(&ec, "mem://x", WAIT), -EINVAL);
}

/* ei sends and receives in several threads over one descriptor. */
struct burst {
    ei_cnode *ec;
    int fd, times;
};

static void *send_burst(void *arg)
{
    const struct burst *b = arg;
    for (int i = 0; i < b->times; i++)
        send_text(b->ec, b->fd, "one of many");
    return NULL;
}

static void one_thread_sends_while_another_receives(void **state)
{
    (void)state;
    enum { TIMES = 300 };
    ei_cnode client, server;
    pthread_t t, sender, answerer;
    node_init(&client, "client", "cookie", NULL);
    node_init(&server, "server", "cookie", NULL);
    struct server s = {.ec = &server, .listener = gs_ei_listen(&server, "mem://busy", 5), .ms = WAIT};
    assert_ok(s.listener);
    assert_int_equal(pthread_create(&t, NULL, accept_node, &s), 0);
    int fd = gs_ei_connect(&client, "mem://busy", WAIT);
    assert_ok(fd);
    pthread_join(t, NULL);
    struct burst out = {&client, fd, TIMES}, back = {&server, s.fd, TIMES};
    assert_int_equal(pthread_create(&sender, NULL, send_burst, &out), 0);
    assert_int_equal(pthread_create(&answerer, NULL, send_burst, &back), 0);
    for (int i = 0; i < TIMES; i++) {
        expect_text(s.fd, "one of many");
        expect_text(fd, "one of many");
    }
    pthread_join(sender, NULL);
    pthread_join(answerer, NULL);
    ei_close_connection(fd);
    ei_close_connection(s.fd);
    ei_close_connection(s.listener);
}

int main(void)
{
    if (ei_init() != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_meet_at_a_gensock_address),
        cmocka_unit_test(ei_own_calls_reach_what_the_map_says),
        cmocka_unit_test(a_node_of_plain_ei_is_met),
        cmocka_unit_test(another_cookie_is_told_at_both_ends),
        cmocka_unit_test(what_ei_itself_refuses_has_no_older_reason),
        cmocka_unit_test(the_end_of_a_peer_is_no_timeout),
        cmocka_unit_test(nobody_there_is_told_with_its_reason),
        cmocka_unit_test(a_silent_peer_ends_each_call_in_its_time),
        cmocka_unit_test(options_of_the_setup_are_those_of_the_stream),
        cmocka_unit_test(the_bridge_keeps_its_own_options),
        cmocka_unit_test(one_thread_sends_while_another_receives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
