/* A careless caller of each public call of tailnet.h gets an answer, never a crash (promise P7). No node runs here. */
#include <errno.h>
#include <gensock/socket.h>
#include <gensock/stream.h>
#include <gensock/tailnet.h>
#include <string.h>
#include <sys/socket.h>

#include "hostile.h"

/* None, garbage, and handles of other kinds. */
static const gs_tailnet bad[] = {{0}, {1}, {UINT64_MAX}, {UINT64_C(0x7a) << 56}, {UINT64_C(0x7a000000deadbeef)}};
#define EACH_BAD(n) for (const gs_tailnet *n = bad; n < bad + sizeof bad / sizeof bad[0]; n++)

static bool is_refusal(int e) { return e == GS_EBADARG || e == GS_ECLOSED; }

HOSTILE(gs_tailnet_start)
{
    (void)state;
    gs_tailnet n = {77};
    const gs_tailnet_config none = {0};
    assert_code(gs_tailnet_start(NULL, NULL), GS_EBADARG);
    assert_code(gs_tailnet_start(&n, NULL), GS_EBADARG);
    assert_code(gs_tailnet_start(NULL, &none), GS_EBADARG);
    char long_name[128];
    memset(long_name, 'x', sizeof long_name);
    long_name[127] = '\0';
    const char *const no_tag[] = {"server"}, *const null_tag[] = {NULL};
    const gs_tailnet_config wrong[] = {
        {0}, /* neither state nor ephemeral */
        {.ephemeral = true, .hostname = ""},
        {.ephemeral = true, .hostname = "-"},
        {.ephemeral = true, .hostname = "a b"},
        {.ephemeral = true, .hostname = "\xff\xfe"},
        {.ephemeral = true, .hostname = long_name},
        {.ephemeral = true, .control_url = "nonsense"},
        {.ephemeral = true, .control_url = "ftp://example.org"},
        {.ephemeral = true, .control_url = "https://"},
        {.ephemeral = true, .control_url = "http://192.0.2.1"},
        {.ephemeral = true, .auth_key = "two words"},
        {.ephemeral = true, .auth_key = "\x01"},
        {.ephemeral = true, .tags = NULL, .n_tags = 1},
        {.ephemeral = true, .tags = no_tag, .n_tags = 1},
        {.ephemeral = true, .tags = null_tag, .n_tags = 1},
        {.ephemeral = true, .n_tags = SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_code(gs_tailnet_start(&n, &wrong[i]), -EINVAL);
        assert_true(*gs_error_detail(-EINVAL));
    }
    const gs_tailnet_config no_ca = {.ephemeral = true, .ca_file = "/nonexistent/ca.pem"};
    assert_code(gs_tailnet_start(&n, &no_ca), -ENOENT);
    const gs_tailnet_config empty_ca = {.ephemeral = true, .ca_file = "/dev/null"};
    assert_code(gs_tailnet_start(&n, &empty_ca), -EINVAL);
    const gs_tailnet_config no_folder = {.state_dir = "/dev/null/state"};
    assert_true(gs_tailnet_start(&n, &no_folder) < 0);
    assert_int_equal(n.id, 77);
}

HOSTILE(gs_tailnet_up)
{
    (void)state;
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_up(*n, 0)));
        assert_code(gs_tailnet_up(*n, GS_NOWAIT), GS_EBADARG);
        assert_code(gs_tailnet_up(*n, -77), GS_EBADARG);
    }
}

HOSTILE(gs_tailnet_stop)
{
    (void)state;
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_stop(*n, 0)));
        assert_true(is_refusal(gs_tailnet_stop(*n, -77)));
    }
}

HOSTILE(gs_tailnet_logout)
{
    (void)state;
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_logout(*n, 0)));
        assert_true(is_refusal(gs_tailnet_logout(*n, -77)));
    }
}

HOSTILE(gs_tailnet_status)
{
    (void)state;
    const gs_tailnet_status_t *s = NULL;
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_status(*n, &s)));
        assert_true(is_refusal(gs_tailnet_status(*n, NULL)));
    }
    assert_null(s);
}

HOSTILE(gs_tailnet_status_free)
{
    (void)state;
    gs_tailnet_status_free(NULL);
}

HOSTILE(gs_tailnet_state_name)
{
    (void)state;
    assert_string_equal(gs_tailnet_state_name(GS_TAILNET_RUNNING), "running");
    for (int i = -2; i < 100; i++)
        assert_non_null(gs_tailnet_state_name((gs_tailnet_state)i));
}

HOSTILE(gs_tailnet_whois)
{
    (void)state;
    gs_addr a, none = {0};
    const gs_peer *peer = NULL;
    assert_ok(gs_addr_ip(&a, "100.64.0.1", 0));
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_whois(*n, &a, &peer)));
        assert_true(gs_tailnet_whois(*n, &none, &peer) < 0);
        assert_code(gs_tailnet_whois(*n, NULL, &peer), GS_EBADARG);
        assert_code(gs_tailnet_whois(*n, &a, NULL), GS_EBADARG);
    }
    assert_null(peer);
}

HOSTILE(gs_tailnet_resolve)
{
    (void)state;
    gs_addr a;
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_resolve(*n, "peer", &a, 1)));
        assert_code(gs_tailnet_resolve(*n, NULL, &a, 1), GS_EBADARG);
        assert_true(is_refusal(gs_tailnet_resolve(*n, "peer", NULL, 0)));
        assert_true(is_refusal(gs_tailnet_resolve(*n, "peer", NULL, 1)));
    }
}

HOSTILE(gs_tailnet_ping)
{
    (void)state;
    gs_tailnet_pong pong;
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_ping(*n, "peer", 0, &pong)));
        assert_code(gs_tailnet_ping(*n, NULL, 0, &pong), GS_EBADARG);
        assert_code(gs_tailnet_ping(*n, "peer", 0, NULL), GS_EBADARG);
        assert_code(gs_tailnet_ping(*n, "peer", -77, &pong), GS_EBADARG);
    }
}

HOSTILE(gs_tailnet_socket)
{
    (void)state;
    gs_socket s = {77};
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_socket(*n, AF_INET, SOCK_STREAM, 0, &s)));
        assert_code(gs_tailnet_socket(*n, AF_INET, SOCK_STREAM, 0, NULL), GS_EBADARG);
        assert_true(gs_tailnet_socket(*n, AF_UNIX, SOCK_STREAM, 0, &s) < 0);
        assert_true(gs_tailnet_socket(*n, -1, -1, -1, &s) < 0);
    }
    assert_int_equal(s.id, 77);
}

HOSTILE(gs_tailnet_spawn)
{
    (void)state;
    static const char *const argv[] = {"true", NULL}, *const nothing[] = {NULL};
    pid_t pid = 77;
    EACH_BAD(n)
    {
        assert_true(is_refusal(gs_tailnet_spawn(*n, argv, NULL, &pid)));
        assert_true(is_refusal(gs_tailnet_spawn(*n, argv, nothing, &pid)));
        assert_code(gs_tailnet_spawn(*n, NULL, NULL, &pid), GS_EBADARG);
        assert_code(gs_tailnet_spawn(*n, nothing, NULL, &pid), GS_EBADARG);
        assert_code(gs_tailnet_spawn(*n, argv, NULL, NULL), GS_EBADARG);
    }
    assert_int_equal(pid, 77);
}

/* The scheme is known once a node was asked for, with or without success, and then needs one. */
static void an_address_of_a_tailnet_without_node_is_an_error(void **state)
{
    (void)state;
    gs_stream s;
    gs_tailnet n;
    assert_code(gs_tailnet_start(&n, &(gs_tailnet_config){0}), -EINVAL);
    assert_code(gs_stream_listen(&s, "tailnet://:7", NULL, GS_NO_MAILBOX), -ENETDOWN);
    assert_code(gs_stream_connect(&s, "tailnet://peer:7", NULL, GS_NO_MAILBOX, 0), -ENETDOWN);
    EACH_BAD(b)
    {
        const gs_opt *opts = GS_OPTS(GS_INT(TAILNET_NODE, (int64_t)b->id));
        assert_true(is_refusal(gs_stream_listen(&s, "tailnet://:7", opts, GS_NO_MAILBOX)));
        assert_true(is_refusal(gs_stream_connect(&s, "tailnet://peer:7", opts, GS_NO_MAILBOX, 0)));
    }
    static const char *const no_address[] = {"tailnet://",           "tailnet://peer",    "tailnet://:x",
                                             "tailnet://peer:65536", "tailnet://[::1:80", "tailnet://::1:80"};
    for (size_t i = 0; i < sizeof no_address / sizeof no_address[0]; i++)
        assert_true(gs_stream_connect(&s, no_address[i], NULL, GS_NO_MAILBOX, 0) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_tailnet_start),       ROW(gs_tailnet_up),         ROW(gs_tailnet_stop),  ROW(gs_tailnet_logout),
        ROW(gs_tailnet_status),      ROW(gs_tailnet_status_free), ROW(gs_tailnet_state_name), ROW(gs_tailnet_whois),
        ROW(gs_tailnet_resolve),     ROW(gs_tailnet_ping),       ROW(gs_tailnet_socket),
        ROW(gs_tailnet_spawn),
        cmocka_unit_test(an_address_of_a_tailnet_without_node_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
