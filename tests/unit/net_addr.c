/* gs_addr: every text form reads and writes, what is made equals what is read, and nothing malformed gets through. */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault.h"
#include "gensock/net.h"
#include "support.h"

static gs_addr parsed(const char *text)
{
    gs_addr a = {0};
    if (gs_addr_parse(&a, text) != 0)
        fail_msg("%s: %s", text, gs_error_detail(GS_EFORMAT));
    return a;
}

static void assert_text(const gs_addr *a, const char *expected)
{
    char text[GS_ADDR_TEXT_MAX];
    assert_int_equal(gs_addr_text(a, text, sizeof text), strlen(expected));
    assert_string_equal(text, expected);
}

/* Reads as `text`, is written as `canonical`, and that reads back as the same. */
static void assert_round_trip(const char *text, const char *canonical)
{
    gs_addr a = parsed(text);
    assert_text(&a, canonical);
    gs_addr b = parsed(canonical);
    assert_true(gs_addr_equal(&a, &b));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(&a.sa, &b.sa, a.len);
}

static void inet_texts_round_trip(void **state)
{
    (void)state;
    assert_round_trip("1.2.3.4:80", "1.2.3.4:80");
    assert_round_trip("1.2.3.4", "1.2.3.4:0");
    assert_round_trip("255.255.255.255:65535", "255.255.255.255:65535");
    assert_round_trip(":80", "0.0.0.0:80");
    assert_round_trip("any:0", "0.0.0.0:0");
    assert_round_trip("any", "0.0.0.0:0");
    assert_round_trip("loopback:443", "127.0.0.1:443");
    assert_round_trip("broadcast:67", "255.255.255.255:67");
}

static void inet6_texts_round_trip(void **state)
{
    (void)state;
    assert_round_trip("[::1]:80", "[::1]:80");
    assert_round_trip("[::]", "[::]:0");
    assert_round_trip("[2001:DB8:0:0::1]:65535", "[2001:db8::1]:65535");
    assert_round_trip("[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]:5");
    assert_round_trip("[fe80::1%4000000000]:80", "[fe80::1%4000000000]:80");
    assert_round_trip("[::1]:80?flow=0xFFFFFFFF", "[::1]:80?flow=0xffffffff");
    assert_round_trip("[::1]?flow=0x5", "[::1]:0?flow=0x5");
}

static void a_scope_is_an_interfaces_name_or_index(void **state)
{
    (void)state;
    unsigned lo = if_nametoindex("lo");
    if (lo == 0)
        skip_because("this machine has no interface called lo");
    assert_round_trip("[fe80::1%lo]:80", "[fe80::1%lo]:80");
    char text[64];
    snprintf(text, sizeof text, "[fe80::1%%%u]:80", lo);
    assert_round_trip(text, "[fe80::1%lo]:80");
    gs_addr a = parsed(text);
    struct sockaddr_in6 in6;
    memcpy(&in6, &a.sa, sizeof in6);
    assert_int_equal(in6.sin6_scope_id, lo);
    assert_code(gs_addr_parse(&a, "[fe80::1%gs-nosuch]:80"), -ENODEV);
    assert_non_null(strstr(gs_error_detail(-ENODEV), "gs-nosuch"));
    assert_code(gs_addr_parse(&a, "[fe80::1%a-name-longer-than-16]:80"), -ENODEV);
}

static void local_texts_round_trip(void **state)
{
    (void)state;
    assert_round_trip("/tmp/s", "/tmp/s");
    assert_round_trip("./s", "./s");
    assert_round_trip("../s", "../s");
    assert_round_trip("local:s", "local:s");
    assert_round_trip("local:/tmp/s", "/tmp/s");
    assert_round_trip("local:@not-abstract", "local:@not-abstract");
    assert_round_trip("local:.hidden", "local:.hidden");
    assert_round_trip("local:", "local:");
    assert_round_trip("@name", "@name");
    assert_round_trip("@", "@");
    assert_round_trip("@a\\x00b\\\\c", "@a\\x00b\\\\c");
    assert_round_trip("/tmp/\xc3\xa4 b\n", "/tmp/\\xc3\\xa4 b\\x0a");
    assert_round_trip("/tmp/\\x41\\xFF", "/tmp/A\\xff");
}

static void any_other_family_is_raw(void **state)
{
    (void)state;
    assert_round_trip("raw:17:000300000002", "raw:17:000300000002");
    assert_round_trip("raw:0:", "raw:0:");
    assert_round_trip("raw:65535:00FF", "raw:65535:00ff");
    gs_addr a;
    assert_code(gs_addr_parse(&a, "raw:2:00"), GS_EFORMAT); /* too short for inet */
    char longest[16 + 2 * sizeof a.sa] = "raw:99:";
    memset(longest + 7, '0', 2 * (sizeof a.sa - 2));
    a = parsed(longest);
    assert_int_equal(a.len, sizeof a.sa);
    strcat(longest, "00");
    assert_code(gs_addr_parse(&a, longest), GS_EFORMAT);
}

static void malformed_texts_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ":", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4: 80",
        "1.2.3.4:80 ", "1.2.3.4:000080", "1.2.3:80", "1.2.3.4.5:80", "256.1.1.1:80", "01.2.3.4:80", "localhost:80",
        "localhost", "::1", "::1:80", "[::1", "[::1]80", "[::1]:", "[::1]:65536", "[::1]:80x", "[1.2.3.4]:80", "[]:80",
        "[::1%]:80", "[::1]:80?", "[::1]:80?flow=5", "[::1]:80?flow=0x", "[::1]:80?flow=0x123456789", "[:::1]:80",
        "[::1]]:80", "1.2.3.4:80?flow=0x5", "[::1]:80?flow=0x5 ", "/a\\", "/a\\y00", "/a\\x0", "/a\\x0g", "/a\\x00", "local:\\x00a",
        "@\\", "raw:", "raw:1", "raw:x:", "raw:65536:", "raw:17:0", "raw:17:0g", "raw:-1:", "anyx:1", "an:1", "any:x"};
    gs_addr before = parsed("192.0.2.1:7"), a = before;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (gs_addr_parse(&a, bad[i]) != GS_EFORMAT)
            fail_msg("accepted: %s", bad[i]);
        if (gs_error_detail(GS_EFORMAT)[0] == '\0')
            fail_msg("no detail: %s", bad[i]);
        assert_memory_equal(&a, &before, sizeof a);
    }
}

static void a_detail_quotes_hostile_text_safely(void **state)
{
    (void)state;
    gs_addr a;
    char text[600];
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = (char)(1 + i % 255);
    text[0] = '1';
    text[sizeof text - 1] = '\0';
    assert_code(gs_addr_parse(&a, text), GS_EFORMAT);
    const char *detail = gs_error_detail(GS_EFORMAT);
    assert_true(detail[0] == '"');
    assert_non_null(strstr(detail, "...\": "));
    for (const char *p = detail; *p; p++)
        assert_true(*p >= 0x20 && *p < 0x7f);
}

static void a_path_has_at_most_108_bytes_and_an_abstract_name_107(void **state)
{
    (void)state;
    char path[110];
    memset(path, 'p', sizeof path);
    path[0] = '/';
    gs_addr a;
    assert_code(gs_addr_local(&a, path, 109), -ENAMETOOLONG);
    assert_ok(gs_addr_local(&a, path, 108));
    assert_int_equal(a.len, offsetof(struct sockaddr_un, sun_path) + 108);
    assert_int_equal(gs_addr_path(&a).n, 108);
    assert_ok(gs_addr_local(&a, path, 107));
    assert_int_equal(a.len, sizeof(struct sockaddr_un));
    path[108] = '\0';
    a = parsed(path);
    assert_int_equal(gs_addr_path(&a).n, 108);
    path[108] = 'p';
    path[109] = '\0';
    assert_code(gs_addr_parse(&a, path), -ENAMETOOLONG);
    assert_non_null(strstr(gs_error_detail(-ENAMETOOLONG), "108"));
    path[0] = '@';
    assert_code(gs_addr_parse(&a, path), -ENAMETOOLONG);
    path[108] = '\0';
    a = parsed(path);
    assert_int_equal(gs_addr_path(&a).n, 108);
    assert_int_equal(gs_addr_path(&a).p[0], 0);
}

/* What the kernel makes of it: bind takes each, and getsockname's answer is equal and reads the same. */
static void the_kernel_agrees_about_local_addresses(void **state)
{
    (void)state;
    char path[109];
    snprintf(path, sizeof path, "%s/", temp_dir());
    memset(path + strlen(path), 'x', sizeof path - 1 - strlen(path));
    path[108] = '\0';
    char abstract[108] = "";
    snprintf(abstract + 1, sizeof abstract - 1, "gensock-%d", (int)getpid());
    for (int i = 0; i < 4; i++) {
        gs_addr a;
        if (i < 2)
            assert_ok(gs_addr_local(&a, path, i == 0 ? 108 : 107));
        else if (i == 2)
            assert_ok(gs_addr_local(&a, abstract, sizeof abstract)); /* with its NULs */
        else
            assert_ok(gs_addr_local(&a, NULL, 0)); /* the kernel chooses an abstract name */
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (const struct sockaddr *)&a.sa, a.len), 0);
        struct sockaddr_storage sa;
        socklen_t n = sizeof sa;
        assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
        gs_addr b;
        assert_ok(gs_addr_make(&b, (const struct sockaddr *)&sa, n));
        if (i < 3)
            assert_true(gs_addr_equal(&a, &b));
        else
            assert_true(gs_addr_path(&b).n > 1 && gs_addr_path(&b).p[0] == 0);
        char text[GS_ADDR_TEXT_MAX];
        assert_true(gs_addr_text(&b, text, sizeof text) < GS_ADDR_TEXT_MAX);
        a = parsed(text);
        assert_true(gs_addr_equal(&a, &b));
        close(fd);
    }
}

static void hostile_path_bytes_are_printable_as_text(void **state)
{
    (void)state;
    uint8_t path[108];
    struct rng r = {test_seed()};
    for (int round = 0; round < 2000; round++) {
        size_t n = 1 + rng_below(&r, sizeof path);
        bool abstract = rng_below(&r, 2);
        for (size_t i = 0; i < n; i++)
            path[i] = (uint8_t)(abstract ? rng_next(&r) : 1 + rng_below(&r, 255));
        if (abstract)
            path[0] = 0;
        gs_addr a, b;
        char text[GS_ADDR_TEXT_MAX];
        assert_ok(gs_addr_local(&a, path, n));
        int len = gs_addr_text(&a, text, sizeof text);
        assert_in_range(len, 1, sizeof text - 1);
        for (const char *p = text; *p; p++)
            assert_true(*p >= 0x20 && *p < 0x7f);
        b = parsed(text);
        assert_true(gs_addr_equal(&a, &b));
        gs_bytes got = gs_addr_path(&b);
        assert_int_equal(got.n, n);
        assert_memory_equal(got.p, path, n);
    }
}

static void every_text_fits_the_maximum(void **state)
{
    (void)state;
    gs_addr a = {.len = sizeof a.sa};
    char text[GS_ADDR_TEXT_MAX];
    memset(&a.sa, 0xff, sizeof a.sa);
    for (unsigned family = 0; family < 300; family++) {
        a.sa.ss_family = (sa_family_t)family;
        a.len = family == AF_UNIX ? sizeof(struct sockaddr_un) : sizeof a.sa;
        int n = gs_addr_text(&a, text, sizeof text);
        assert_in_range(n, 1, sizeof text - 1);
        assert_int_equal(strlen(text), n);
    }
}

static void a_short_buffer_gets_the_beginning_and_a_nul(void **state)
{
    (void)state;
    gs_addr a = parsed("/tmp/a\nb");
    const char *whole = "/tmp/a\\x0ab";
    assert_int_equal(gs_addr_text(&a, NULL, 0), strlen(whole));
    for (size_t cap = 1; cap <= strlen(whole) + 1; cap++) {
        char text[32];
        memset(text, 'X', sizeof text);
        assert_int_equal(gs_addr_text(&a, text, cap), strlen(whole));
        assert_int_equal(strlen(text), cap - 1);
        assert_memory_equal(text, whole, cap - 1);
        assert_int_equal(text[cap], 'X');
    }
}

static void an_ip_alone_takes_a_port_beside_it(void **state)
{
    (void)state;
    gs_addr a;
    assert_ok(gs_addr_ip(&a, "10.1.2.3", 99));
    assert_text(&a, "10.1.2.3:99");
    assert_ok(gs_addr_ip(&a, "::1", 99));
    assert_text(&a, "[::1]:99");
    assert_ok(gs_addr_ip(&a, "fe80::1%4000000000", 1));
    assert_text(&a, "[fe80::1%4000000000]:1");
    static const char *const bad[] = {"", "1.2.3.4:5", "[::1]", "::1%", "127.1", "localhost", "::1 ", "1.2.3.4 ", ":",
        "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22:23:24"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_code(gs_addr_ip(&a, bad[i], 0), GS_EFORMAT);
}

static void special_addresses_are_those_of_their_family(void **state)
{
    (void)state;
    gs_addr a;
    assert_ok(gs_addr_special(&a, AF_INET, GS_ADDR_ANY, 1));
    assert_text(&a, "0.0.0.0:1");
    assert_ok(gs_addr_special(&a, AF_INET, GS_ADDR_LOOPBACK, 2));
    assert_text(&a, "127.0.0.1:2");
    assert_ok(gs_addr_special(&a, AF_INET, GS_ADDR_BROADCAST, 3));
    assert_text(&a, "255.255.255.255:3");
    assert_ok(gs_addr_special(&a, AF_INET6, GS_ADDR_ANY, 4));
    assert_text(&a, "[::]:4");
    assert_ok(gs_addr_special(&a, AF_INET6, GS_ADDR_LOOPBACK, 5));
    assert_text(&a, "[::1]:5");
    assert_code(gs_addr_special(&a, AF_INET6, GS_ADDR_BROADCAST, 6), -EINVAL);
    assert_code(gs_addr_special(&a, AF_UNIX, GS_ADDR_ANY, 7), -EAFNOSUPPORT);
    assert_code(gs_addr_special(&a, AF_INET, (gs_addr_kind)3, 8), GS_EBADARG);
    assert_text(&a, "[::1]:5");
}

static void ports_are_read_and_set(void **state)
{
    (void)state;
    gs_addr a = parsed("1.2.3.4:80");
    assert_int_equal(gs_addr_port(&a), 80);
    assert_ok(gs_addr_set_port(&a, 65535));
    assert_text(&a, "1.2.3.4:65535");
    a = parsed("[::1]:80?flow=0x7");
    assert_ok(gs_addr_set_port(&a, 1));
    assert_text(&a, "[::1]:1?flow=0x7");
    a = parsed("/tmp/s");
    assert_int_equal(gs_addr_port(&a), 0);
    assert_code(gs_addr_set_port(&a, 1), -EAFNOSUPPORT);
    assert_text(&a, "/tmp/s");
}

static void equality_is_of_the_end_point(void **state)
{
    (void)state;
    static const char *const different[] = {"1.2.3.4:80", "1.2.3.4:81", "1.2.3.5:80", "[::1]:80", "[::2]:80", "[::1]:81",
        "[fe80::1%1]:80", "[fe80::1%2]:80", "[::ffff:1.2.3.4]:80", "/s", "/s2", "@s", "@s\\x00", "@", "local:", "raw:17:00",
        "raw:17:01", "raw:17:0000", "raw:18:00"};
    enum { N = sizeof different / sizeof *different };
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < N; k++) {
            gs_addr a = parsed(different[i]), b = parsed(different[k]);
            if (gs_addr_equal(&a, &b) != (i == k))
                fail_msg("%s, %s", different[i], different[k]);
        }
    gs_addr a = parsed("[::1]:80?flow=0x5"), b = parsed("[::1]:80");
    assert_true(gs_addr_equal(&a, &b));
    a = parsed("1.2.3.4:80");
    b = a;
    struct sockaddr_in in;
    memcpy(&in, &b.sa, sizeof in);
    memset(in.sin_zero, 7, sizeof in.sin_zero); /* padding that a kernel or library left */
    memcpy(&b.sa, &in, sizeof in);
    assert_true(gs_addr_equal(&a, &b));
    a = parsed("/s");
    b = a;
    b.len = sizeof(struct sockaddr_un); /* as programs pass it */
    assert_true(gs_addr_equal(&a, &b));
}

static void foreign_addresses_are_checked_before_they_are_taken(void **state)
{
    (void)state;
    struct sockaddr_storage sa = {.ss_family = AF_INET6};
    const struct sockaddr *p = (const struct sockaddr *)&sa;
    gs_addr a = parsed("1.2.3.4:80");
    assert_code(gs_addr_make(&a, p, sizeof(struct sockaddr_in6) - 1), -EINVAL);
    assert_code(gs_addr_make(&a, p, 1), -EINVAL);
    assert_code(gs_addr_make(&a, p, 0), -EINVAL);
    assert_code(gs_addr_make(&a, p, sizeof sa + 1), -EINVAL);
    assert_text(&a, "1.2.3.4:80");
    assert_ok(gs_addr_make(&a, p, sizeof sa));
    assert_int_equal(a.len, sizeof(struct sockaddr_in6));
    sa.ss_family = AF_UNIX;
    assert_ok(gs_addr_make(&a, p, 2));
    assert_text(&a, "local:");
    assert_int_equal(gs_addr_family(&a), AF_UNIX);
    memset((char *)&sa + 2, 'x', sizeof sa - 2);
    assert_code(gs_addr_make(&a, p, sizeof(struct sockaddr_un) + 1), -EINVAL); /* a path of 109 bytes */
    ((char *)&sa)[sizeof(struct sockaddr_un)] = '\0';
    assert_ok(gs_addr_make(&a, p, sizeof(struct sockaddr_un) + 1)); /* of 108, and its NUL */
    assert_int_equal(gs_addr_path(&a).n, 108);
    assert_code(gs_addr_make(&a, p, sizeof(struct sockaddr_un) + 2), -EINVAL);
    ((char *)&sa)[2] = '\0';
    assert_code(gs_addr_make(&a, p, sizeof(struct sockaddr_un) + 1), -EINVAL); /* an abstract name has no NUL */
}

static void nuls_inside_a_path_are_refused(void **state)
{
    (void)state;
    gs_addr a;
    assert_code(gs_addr_local(&a, "/a\0b", 4), -EINVAL);
    assert_code(gs_addr_local(&a, "/a\0", 3), -EINVAL);
    assert_ok(gs_addr_local(&a, "\0a\0b", 4));
    assert_text(&a, "@a\\x00b");
}

static void a_scope_name_without_descriptors_says_so(void **state)
{
    (void)state;
    gs_addr a;
    fault_fail_call(FAULT_socket, 1, 100, EMFILE);
    assert_code(gs_addr_parse(&a, "[fe80::1%lo]:80"), -EMFILE);
    assert_int_equal(fault_stop(), 2); /* of inet, then of unix */
    a = parsed("[fe80::1%1]:80");
    fault_fail_call(FAULT_socket, 1, 100, EMFILE);
    assert_text(&a, "[fe80::1%1]:80");
    assert_true(fault_stop() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inet_texts_round_trip),
        cmocka_unit_test(inet6_texts_round_trip),
        cmocka_unit_test(a_scope_is_an_interfaces_name_or_index),
        cmocka_unit_test(local_texts_round_trip),
        cmocka_unit_test(any_other_family_is_raw),
        cmocka_unit_test(malformed_texts_are_refused_and_change_nothing),
        cmocka_unit_test(a_detail_quotes_hostile_text_safely),
        cmocka_unit_test(a_path_has_at_most_108_bytes_and_an_abstract_name_107),
        cmocka_unit_test(the_kernel_agrees_about_local_addresses),
        cmocka_unit_test(hostile_path_bytes_are_printable_as_text),
        cmocka_unit_test(every_text_fits_the_maximum),
        cmocka_unit_test(a_short_buffer_gets_the_beginning_and_a_nul),
        cmocka_unit_test(an_ip_alone_takes_a_port_beside_it),
        cmocka_unit_test(special_addresses_are_those_of_their_family),
        cmocka_unit_test(ports_are_read_and_set),
        cmocka_unit_test(equality_is_of_the_end_point),
        cmocka_unit_test(foreign_addresses_are_checked_before_they_are_taken),
        cmocka_unit_test(nuls_inside_a_path_are_refused),
        cmocka_unit_test(a_scope_name_without_descriptors_says_so),
    };
    return cmocka_run_group_tests_name("net_addr", tests, NULL, NULL);
}
