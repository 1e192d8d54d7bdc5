/* The texts that streams are opened with: scheme, host and port come apart, and every mistake is named. */
#include <errno.h>
#include <string.h>

#include "net/addr.h"
#include "support.h"

static void assert_split(const char *rest, const char *host, uint16_t port)
{
    char got[GSI_HOST_MAX + 1] = "untouched";
    uint16_t got_port = 1;
    assert_ok(gsi_hostport_split(rest, got, sizeof got, &got_port));
    assert_string_equal(got, host);
    assert_int_equal(got_port, port);
}

static void assert_refused(const char *rest, const char *word)
{
    char host[GSI_HOST_MAX + 1] = "untouched";
    uint16_t port = 7;
    assert_code(gsi_hostport_split(rest, host, sizeof host, &port), GS_EFORMAT);
    if (!strstr(gs_error_detail(GS_EFORMAT), word))
        fail_msg("%s: %s", rest, gs_error_detail(GS_EFORMAT));
    assert_string_equal(host, "untouched");
    assert_int_equal(port, 7);
}

static void host_and_port_come_apart(void **state)
{
    (void)state;
    assert_split("host:80", "host", 80);
    assert_split("a-b_c.Example.:65535", "a-b_c.Example.", 65535);
    assert_split("0.0.0.0:80", "0.0.0.0", 80);
    assert_split(":80", "", 80);
    assert_split(":0", "", 0);
    assert_split("[::1]:80", "::1", 80);
    assert_split("[::]:0", "::", 0);
    assert_split("[fe80::1%eth0]:80", "fe80::1%eth0", 80);
    assert_split("[::ffff:1.2.3.4]:1", "::ffff:1.2.3.4", 1);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    assert_refused("", "port is missing");
    assert_refused("host", "port is missing");
    assert_refused("[::1]", "port is missing");
    assert_refused("host:", "0 to 65535");
    assert_refused("host:65536", "0 to 65535");
    assert_refused("host:8o", "0 to 65535");
    assert_refused("host:80/path", "0 to 65535");
    assert_refused("::1:80", "brackets");
    assert_refused("::1", "brackets");
    assert_refused("[::1:80", "not closed");
    assert_refused("[::1]x:80", "only :PORT");
    assert_refused("[host]:80", "not an IPv6");
    assert_refused("[]:80", "not an IPv6");
    assert_refused("[::1%]:80", "interface");
    assert_refused("[::1%\x1b[31m]:80", "not printable");
    assert_refused("[::1%sixteen-letters-]:80", "interface");
    assert_refused("user@host:80", "letters");
    assert_refused("ho st:80", "letters");
    assert_refused("h\xc3\xa4st:80", "xn--");
    assert_refused("a..b:80", "empty label");
    assert_refused(".a:80", "empty label");
    assert_refused(".:80", "empty label");
}

static void names_have_at_most_253_characters_in_labels_of_63(void **state)
{
    (void)state;
    char rest[300], host[256];
    uint16_t port;
    memset(rest, 'a', sizeof rest);
    for (size_t i = 63; i < sizeof rest; i += 64)
        rest[i] = '.';
    strcpy(rest + 253, ":80");
    assert_ok(gsi_hostport_split(rest, host, sizeof host, &port));
    assert_int_equal(strlen(host), 253);
    strcpy(rest + 253, ".:80");
    assert_ok(gsi_hostport_split(rest, host, sizeof host, &port));
    strcpy(rest + 253, "a:80");
    assert_refused(rest, "253");
    strcpy(rest + 253, "aaaaaaaa:80");
    assert_refused(rest, "253");
    memset(rest, 'a', 64);
    strcpy(rest + 63, ":80");
    assert_ok(gsi_hostport_split(rest, host, sizeof host, &port));
    strcpy(rest + 63, "a:80");
    assert_refused(rest, "63");
}

static void a_short_buffer_is_not_overrun(void **state)
{
    (void)state;
    char host[6] = "12345";
    uint16_t port;
    assert_code(gsi_hostport_split("abcdef:80", host, 6, &port), -ENAMETOOLONG);
    assert_string_equal(host, "12345");
    assert_ok(gsi_hostport_split("abcde:80", host, 6, &port));
    assert_string_equal(host, "abcde");
}

static void schemes_come_off_in_lower_case(void **state)
{
    (void)state;
    char scheme[GSI_SCHEME_MAX + 1];
    const char *rest;
    assert_ok(gsi_scheme_split("TLS+unix:///s://x", scheme, sizeof scheme, &rest));
    assert_string_equal(scheme, "tls+unix");
    assert_string_equal(rest, "/s://x");
    assert_ok(gsi_scheme_split("mem://", scheme, sizeof scheme, &rest));
    assert_string_equal(rest, "");
    static const char *const bad[] = {"", "tcp", "tcp:/host", "://host", "1tcp://host", "t cp://host", "+a://host", "t/p://x",
        "abcdefghijklmnopqrstuvwxyzabcdef://x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_code(gsi_scheme_split(bad[i], scheme, sizeof scheme, &rest), GS_EFORMAT);
        assert_true(gs_error_detail(GS_EFORMAT)[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_and_port_come_apart),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(names_have_at_most_253_characters_in_labels_of_63),
        cmocka_unit_test(a_short_buffer_is_not_overrun),
        cmocka_unit_test(schemes_come_off_in_lower_case),
    };
    return cmocka_run_group_tests_name("net_hostport", tests, NULL, NULL);
}
