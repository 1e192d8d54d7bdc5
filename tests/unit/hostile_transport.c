/* A careless caller of the public calls on transports and options gets an answer, never a crash (promise P7). */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gensock/transport.h"
#include "hostile.h"
#include "transport/transport.h"

HOSTILE(gs_transport_register)
{
    (void)state;
    static const struct gs_transport empty, one = {.size = 1}, hollow = {.size = sizeof hollow};
    struct gs_transport noise;
    memset(&noise, 0xff, sizeof noise);
    noise.scheme = "noise";
    noise.size = sizeof noise;
    assert_code(gs_transport_register(NULL), GS_EBADARG);
    assert_code(gs_transport_register(&empty), -EINVAL);
    assert_code(gs_transport_register(&one), -EINVAL);
    assert_code(gs_transport_register(&hollow), -EINVAL);
    assert_code(gs_transport_register(&noise), -EINVAL);
}

HOSTILE(gs_transport_find)
{
    (void)state;
    char *longest = calloc(1, 1 << 20);
    assert_null(gs_transport_find(NULL));
    assert_null(gs_transport_find(""));
    assert_null(gs_transport_find("tcp://"));
    assert_null(gs_transport_find("%n%s"));
    memset(longest, 't', (1 << 20) - 1);
    assert_null(gs_transport_find(longest));
    free(longest);
}

HOSTILE(gs_transport_ready)
{
    (void)state;
    gs_io none = {0};
    gs_transport_ready(NULL, true, true);
    gs_transport_ready(&none, true, true); /* nobody listens */
    gs_transport_ready(&none, false, false);
}

HOSTILE(gs_io_scheme)
{
    (void)state;
    gs_io none = {0};
    assert_null(gs_io_scheme(NULL));
    assert_null(gs_io_scheme(&none));
}

HOSTILE(gs_io_socket)
{
    (void)state;
    gs_io host = {0}, nowhere = {.netns = "/no/such/netns"};
    assert_code(gs_io_socket(NULL, AF_INET, SOCK_STREAM, 0), GS_EBADARG);
    assert_code(gs_io_socket(&nowhere, AF_INET, SOCK_STREAM, 0), -ENOENT);
    assert_true(gs_io_socket(&host, -1, SOCK_STREAM, 0) < 0);
    assert_true(gs_io_socket(&host, AF_INET, 99, 0) < 0);
    assert_true(gs_io_socket(&host, AF_INET, SOCK_STREAM, INT_MAX) < 0);
}

HOSTILE(gs_io_readv)
{
    (void)state;
    gs_io bottom = {0}, layer = {.lower = gs_transport_find("mem")};
    struct iovec v = {0};
    assert_code(gs_io_readv(NULL, &v, 1), GS_EBADARG);
    assert_code(gs_io_readv(&bottom, &v, 1), GS_EBADARG);
    assert_code(gs_io_readv(&layer, NULL, 1), GS_EBADARG);
    assert_code(gs_io_readv(&layer, &v, -1), GS_EBADARG);
}

HOSTILE(gs_io_writev)
{
    (void)state;
    gs_io bottom = {0}, layer = {.lower = gs_transport_find("mem")};
    struct iovec v = {0};
    assert_code(gs_io_writev(NULL, &v, 1), GS_EBADARG);
    assert_code(gs_io_writev(&bottom, &v, 1), GS_EBADARG);
    assert_code(gs_io_writev(&layer, NULL, 1), GS_EBADARG);
    assert_code(gs_io_writev(&layer, &v, INT_MIN), GS_EBADARG);
}

HOSTILE(gs_io_shutdown)
{
    (void)state;
    gs_io bottom = {0}, layer = {.lower = gs_transport_find("mem")};
    assert_code(gs_io_shutdown(NULL, GS_SHUT_READ), GS_EBADARG);
    assert_code(gs_io_shutdown(&bottom, GS_SHUT_READ), GS_EBADARG);
    assert_code(gs_io_shutdown(&layer, (gs_how)3), GS_EBADARG);
    assert_code(gs_io_shutdown(&layer, (gs_how)-1), GS_EBADARG);
}

HOSTILE(gs_io_flush)
{
    (void)state;
    gs_io bottom = {0}, layer = {.lower = gs_transport_find("mem")};
    assert_code(gs_io_flush(NULL), GS_EBADARG);
    assert_code(gs_io_flush(&bottom), GS_EBADARG);
    assert_code(gs_io_flush(&layer), 0); /* nothing is held back there */
}

HOSTILE(gs_set_default_opts)
{
    (void)state;
    const gs_opt lost[] = {{.name = GS_OPT_NETNS}, {.name = GS_OPT_END}}, wild[] = {{.name = INT_MIN}, {.name = GS_OPT_END}};
    assert_code(gs_set_default_opts(GS_LISTEN_DEFAULTS, lost), -EINVAL);
    assert_code(gs_set_default_opts(GS_CONNECT_DEFAULTS, wild), -EINVAL);
    assert_code(gs_set_default_opts((gs_defaults)-1, NULL), -EINVAL);
    assert_code(gs_set_default_opts((gs_defaults)INT_MAX, lost), -EINVAL);
    assert_ok(gs_set_default_opts(GS_LISTEN_DEFAULTS, NULL));
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS({.name = GS_OPT_END})));
}

HOSTILE(gs_opt_parse)
{
    (void)state;
    gs_opt o;
    assert_code(gs_opt_parse(NULL, "1", &o), GS_EBADARG);
    assert_code(gs_opt_parse("nodelay", NULL, &o), GS_EBADARG);
    assert_code(gs_opt_parse("nodelay", "true", NULL), GS_EBADARG);
    assert_code(gs_opt_parse("", "", &o), GS_EBADARG);
    assert_code(gs_opt_parse("%s%n", "%s%n", &o), GS_EBADARG);
    assert_code(gs_opt_parse("packet", "%s%n", &o), -EINVAL);
    /* every name with every nasty value: a code, and nothing left */
    static const char *const nasty[] = {"", ",", ",,", "true,", "-", "--1", "0x", "\xff\xfe", "%n%n%n", "999999999999999999999", "[", "[]:",
        "@", "/", "raw:", "1,", "1,1", "1,1,", "1,1,f", "1,1,ff", "0x0", "once", "infinity", " "};
    for (int i = 1; i < GS_OPT_COUNT; i++)
        for (size_t j = 0; j < sizeof nasty / sizeof nasty[0]; j++) {
            int e = gs_opt_parse(gs_opt_name_text(i), nasty[j], &o);
            assert_true(e == 0 || e == -EINVAL);
            if (e == 0)
                gs_opt_clear(&o);
        }
}

HOSTILE(gs_opt_clear)
{
    (void)state;
    gs_opt o = {.name = GS_OPT_END}, number = GS_INT(PORT, 5), unknown = {.name = INT_MAX}, hollow = {.name = GS_OPT_RAW};
    gs_opt_clear(NULL);
    gs_opt_clear(&o);
    gs_opt_clear(&o);
    gs_opt_clear(&number);
    gs_opt_clear(&unknown);
    gs_opt_clear(&hollow);
    assert_int_equal(number.name, GS_OPT_END);
    assert_int_equal(unknown.name, GS_OPT_END);
}

HOSTILE(gs_opt_text)
{
    (void)state;
    char buf[4];
    gs_opt o = GS_INT(PORT, 5), wild = {.name = INT_MIN}, hollow = {.name = GS_OPT_IFADDR}, text = {.name = GS_OPT_NETNS};
    assert_code(gs_opt_text(NULL, buf, sizeof buf), GS_EBADARG);
    assert_code(gs_opt_text(&o, NULL, 4), GS_EBADARG);
    assert_code(gs_opt_text(&wild, buf, sizeof buf), GS_EBADARG);
    assert_code(gs_opt_text(&hollow, buf, sizeof buf), GS_EBADARG);
    assert_code(gs_opt_text(&text, buf, sizeof buf), 0);
    buf[0] = 'x';
    assert_code(gs_opt_text(&o, buf, 0), 1);
    assert_int_equal(buf[0], 'x');
    assert_code(gs_opt_text(&o, buf, 1), 1);
    assert_int_equal(buf[0], '\0');
}

HOSTILE(gs_opt_name_text)
{
    (void)state;
    const int wild[] = {INT_MIN, -1, 0, GS_OPT_COUNT, GS_OPT_TRANSPORT, INT_MAX};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
        assert_null(gs_opt_name_text(wild[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_transport_register), ROW(gs_transport_find), ROW(gs_transport_ready),  ROW(gs_io_scheme), ROW(gs_io_socket),
        ROW(gs_io_readv),           ROW(gs_io_writev),      ROW(gs_io_shutdown),      ROW(gs_io_flush),
        ROW(gs_set_default_opts),
        ROW(gs_opt_parse),          ROW(gs_opt_clear),      ROW(gs_opt_text),         ROW(gs_opt_name_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
