/* gs_gethostname, gs_getaddrinfo, gs_getnameinfo: the C library's answers and errors in our types and codes. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/seam.h"
#include "census.h"
#include "fault.h"
#include "gensock/net.h"
#include "net/resolve.h"
#include "support.h"

static struct census before;

static int setup(void **state)
{
    (void)state;
    census_take(&before);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    census_assert(&before);
    return 0;
}

static void assert_addr(const gs_addr *a, const char *text)
{
    char got[GS_ADDR_TEXT_MAX];
    gs_addr_text(a, got, sizeof got);
    assert_string_equal(got, text);
}

static void the_hostname_is_the_kernels(void **state)
{
    (void)state;
    char expected[256] = "", got[256];
    assert_int_equal(gethostname(expected, sizeof expected - 1), 0);
    assert_int_equal(gs_gethostname(got, sizeof got), strlen(expected));
    assert_string_equal(got, expected);
    size_t n = strlen(expected);
    assert_int_equal(gs_gethostname(got, n + 1), n);
    assert_code(gs_gethostname(got, n), -ENAMETOOLONG);
    assert_string_equal(got, "");
    assert_code(gs_gethostname(NULL, 10), GS_EBADARG);
    assert_code(gs_gethostname(got, 0), GS_EBADARG);
    fault_fail_call(FAULT_gethostname, 1, 1, EFAULT);
    assert_code(gs_gethostname(got, sizeof got), -EFAULT);
    assert_int_equal(fault_stop(), 1);
}

static void numbers_are_answered_at_once(void **state)
{
    (void)state;
    gs_addrinfo *list;
    int n = (int)assert_ok(gs_getaddrinfo("127.0.0.1", "80", NULL, 0, &list));
    assert_in_range(n, 2, 5); /* stream, datagram, raw */
    for (int i = 0; i < n; i++) {
        assert_int_equal(list[i].family, AF_INET);
        assert_addr(&list[i].addr, "127.0.0.1:80");
    }
    gs_addrinfo_free(list);
    assert_int_equal(gs_getaddrinfo("::1", NULL, &(gs_hints){.type = SOCK_DGRAM}, 0, &list), 1);
    assert_int_equal(list[0].type, SOCK_DGRAM);
    assert_int_equal(list[0].protocol, IPPROTO_UDP);
    assert_addr(&list[0].addr, "[::1]:0");
    gs_addrinfo_free(list);
    gs_hints passive = {.family = AF_INET6, .type = SOCK_STREAM, .passive = true};
    assert_int_equal(gs_getaddrinfo(NULL, "443", &passive, 0, &list), 1);
    assert_addr(&list[0].addr, "[::]:443");
    gs_addrinfo_free(list);
    passive.passive = false;
    assert_int_equal(gs_getaddrinfo(NULL, "443", &passive, 0, &list), 1);
    assert_addr(&list[0].addr, "[::1]:443");
    gs_addrinfo_free(list);
    assert_code(gs_getaddrinfo("1.2.3.4", "1", &(gs_hints){.family = AF_INET6}, 0, &list), GS_ENXDOMAIN);
    assert_null(list);
    assert_code(gs_getaddrinfo("1.2.3.4", "1", &(gs_hints){.family = AF_PACKET}, 0, &list), -EAFNOSUPPORT);
    assert_code(gs_getaddrinfo("1.2.3.4", "1", &(gs_hints){.type = 77}, 0, &list), -ESOCKTNOSUPPORT);
    assert_int_equal(gsi_resolver_threads(), 0);
    gs_addrinfo_free(NULL);
}

static void localhost_and_service_names_are_looked_up(void **state)
{
    (void)state;
    gs_addrinfo *list;
    int n = (int)assert_ok(gs_getaddrinfo("localhost", "80", &(gs_hints){.type = SOCK_STREAM}, 10000, &list));
    bool found = false;
    for (int i = 0; i < n; i++) {
        gs_addr loopback;
        assert_ok(gs_addr_special(&loopback, list[i].family, GS_ADDR_LOOPBACK, 80));
        found = found || gs_addr_equal(&loopback, &list[i].addr);
        assert_int_equal(list[i].type, SOCK_STREAM);
    }
    assert_true(found);
    gs_addrinfo_free(list);
    assert_int_equal(gsi_resolver_threads(), 1);
    assert_code(gs_getaddrinfo("127.0.0.1", "gs-no-such", NULL, 10000, &list), GS_EFORMAT);
    assert_non_null(strstr(gs_error_detail(GS_EFORMAT), "service"));
}

static void malformed_names_are_told_before_anything_is_asked(void **state)
{
    (void)state;
    static const char *const hosts[] = {"", "a b", "a..b", ".", "host:80", "[::1]", ":::", "h\xc3\xa4", "1.2.3.4 ", "a\n"};
    static const char *const services[] = {"", "65536", "123456", "ht tp", "-1\n",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    gs_addrinfo *list;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        assert_code(gs_getaddrinfo(hosts[i], NULL, NULL, GS_INFINITY, &list), GS_EFORMAT);
        assert_true(gs_error_detail(GS_EFORMAT)[0] != '\0');
    }
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        assert_code(gs_getaddrinfo("localhost", services[i], NULL, GS_INFINITY, &list), GS_EFORMAT);
    assert_int_equal(gsi_resolver_threads(), 0);
}

static void every_eai_code_has_its_documented_one(void **state)
{
    (void)state;
    static const struct {
        int eai, code;
    } rows[] = {{EAI_NONAME, GS_ENXDOMAIN}, {EAI_NODATA, GS_ENXDOMAIN}, {EAI_ADDRFAMILY, GS_ENXDOMAIN}, {EAI_AGAIN, -EAGAIN},
        {EAI_FAIL, -EIO}, {EAI_SERVICE, GS_EFORMAT}, {EAI_FAMILY, -EAFNOSUPPORT}, {EAI_SOCKTYPE, -ESOCKTNOSUPPORT},
        {EAI_MEMORY, -ENOMEM}, {EAI_BADFLAGS, -EINVAL}, {EAI_OVERFLOW, -EOVERFLOW}, {EAI_INTR, -EIO}};
    gs_addr a;
    gs_addrinfo *list;
    gs_nameinfo info;
    assert_ok(gs_addr_special(&a, AF_INET, GS_ADDR_LOOPBACK, 80));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fault_fail_call(FAULT_getaddrinfo, 1, 1, rows[i].eai);
        assert_code(gs_getaddrinfo("gs-name", "80", NULL, GS_INFINITY, &list), rows[i].code);
        assert_int_equal(fault_stop(), 1);
        assert_null(list);
        if (rows[i].eai != EAI_MEMORY)
            assert_non_null(strstr(gs_error_detail(rows[i].code), "gs-name"));
        fault_fail_call(FAULT_getnameinfo, 1, 1, rows[i].eai);
        assert_code(gs_getnameinfo(&a, 0, GS_INFINITY, &info), rows[i].code);
        assert_int_equal(fault_stop(), 1);
        assert_string_equal(info.host, "");
        if (rows[i].eai != EAI_MEMORY)
            assert_non_null(strstr(gs_error_detail(rows[i].code), "127.0.0.1:80"));
    }
}

static int system_error_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)host, (void)service, (void)hints, (void)out;
    errno = EMFILE;
    return EAI_SYSTEM;
}

/* A list of unusual entries: in one block each, as freeaddrinfo frees them. */
static int odd_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)service, (void)hints;
    long n = strtol(host + 1, NULL, 10);
    *out = NULL;
    for (long i = 0; i < n; i++) {
        struct {
            struct addrinfo info;
            struct sockaddr_in in;
        } *node = calloc(1, sizeof *node);
        node->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl((in_addr_t)i)};
        node->info = (struct addrinfo){.ai_family = AF_INET, .ai_addr = (struct sockaddr *)&node->in,
                                       .ai_addrlen = i % 3 == 2 ? 3 : sizeof node->in, .ai_next = *out};
        *out = &node->info;
    }
    return 0;
}

static void a_system_error_keeps_its_errno(void **state)
{
    (void)state;
    int (*was)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = gsi_sys.getaddrinfo;
    gsi_sys.getaddrinfo = system_error_getaddrinfo;
    gs_addrinfo *list;
    assert_code(gs_getaddrinfo("name", NULL, NULL, GS_INFINITY, &list), -EMFILE);
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    gsi_sys.getaddrinfo = was;
}

static void an_answer_is_bounded_and_malformed_entries_are_left_out(void **state)
{
    (void)state;
    int (*was)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = gsi_sys.getaddrinfo;
    gsi_sys.getaddrinfo = odd_getaddrinfo;
    gs_addrinfo *list;
    assert_int_equal(gs_getaddrinfo("n3", NULL, NULL, GS_INFINITY, &list), 2);
    gs_addrinfo_free(list);
    assert_int_equal(gs_getaddrinfo("n10000", NULL, NULL, GS_INFINITY, &list), GS_ADDRINFO_MAX);
    gs_addrinfo_free(list);
    assert_code(gs_getaddrinfo("n0", NULL, NULL, GS_INFINITY, &list), GS_ENXDOMAIN);
    assert_null(list);
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    gsi_sys.getaddrinfo = was;
}

static void nameinfo_in_numbers(void **state)
{
    (void)state;
    gs_addr a;
    gs_nameinfo info;
    assert_ok(gs_addr_parse(&a, "[2001:db8::1]:443"));
    assert_ok(gs_getnameinfo(&a, NI_NUMERICHOST | NI_NUMERICSERV, 0, &info));
    assert_string_equal(info.host, "2001:db8::1");
    assert_string_equal(info.service, "443");
    assert_ok(gs_addr_parse(&a, "/tmp/s"));
    assert_code(gs_getnameinfo(&a, 0, 0, &info), -EAFNOSUPPORT);
}

static void loopback_has_a_name(void **state)
{
    (void)state;
    gs_addr a;
    gs_nameinfo info;
    char expected[NI_MAXHOST];
    assert_ok(gs_addr_parse(&a, "127.0.0.1:0"));
    assert_int_equal(getnameinfo((const struct sockaddr *)&a.sa, a.len, expected, sizeof expected, NULL, 0, 0), 0);
    assert_ok(gs_getnameinfo(&a, NI_NUMERICSERV, 10000, &info));
    assert_string_equal(info.host, expected);
    assert_string_equal(info.service, "0");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_hostname_is_the_kernels),
        TEST(numbers_are_answered_at_once),
        TEST(localhost_and_service_names_are_looked_up),
        TEST(malformed_names_are_told_before_anything_is_asked),
        TEST(every_eai_code_has_its_documented_one),
        TEST(a_system_error_keeps_its_errno),
        TEST(an_answer_is_bounded_and_malformed_entries_are_left_out),
        TEST(nameinfo_in_numbers),
        TEST(loopback_has_a_name),
    };
    return cmocka_run_group_tests_name("net_names", tests, NULL, NULL);
}
