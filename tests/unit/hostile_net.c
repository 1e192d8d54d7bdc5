/* A careless caller of each public call on addresses, names and interfaces gets an answer, never a crash (promise P7). */
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <string.h>
#include <sys/un.h>

#include "gensock/net.h"
#include "hostile.h"

/* No address: none, cut, longer than it can be, a path without end. */
static gs_addr wrong_addr(int i)
{
    gs_addr a;
    memset(&a, 0xff, sizeof a);
    static const struct {
        sa_family_t family;
        socklen_t len;
    } rows[] = {{AF_INET, 0}, {AF_INET, 1}, {AF_INET, 15}, {AF_INET6, 27}, {AF_INET, sizeof a.sa + 1}, {AF_INET6, UINT_MAX},
        {AF_UNIX, sizeof(struct sockaddr_un) + 1}, {AF_UNIX, sizeof a.sa}, {AF_PACKET, 1}};
    a.sa.ss_family = rows[i].family;
    a.len = rows[i].len;
    return a;
}
enum { WRONG_ADDRS = 9 };

static const int wrong_timeouts[] = {GS_NOWAIT, -3, INT_MIN};

HOSTILE(gs_addr_parse)
{
    (void)state;
    gs_addr a;
    assert_code(gs_addr_parse(NULL, ":1"), GS_EBADARG);
    assert_code(gs_addr_parse(&a, NULL), GS_EBADARG);
    assert_code(gs_addr_parse(NULL, NULL), GS_EBADARG);
    assert_code(gs_addr_parse(&a, "%n%n%s"), GS_EFORMAT);
    assert_code(gs_addr_parse(&a, ""), GS_EFORMAT);
}

HOSTILE(gs_addr_ip)
{
    (void)state;
    gs_addr a;
    assert_code(gs_addr_ip(NULL, "::1", 1), GS_EBADARG);
    assert_code(gs_addr_ip(&a, NULL, 1), GS_EBADARG);
    assert_code(gs_addr_ip(&a, "", 1), GS_EFORMAT);
}

HOSTILE(gs_addr_special)
{
    (void)state;
    gs_addr a;
    assert_code(gs_addr_special(NULL, AF_INET, GS_ADDR_ANY, 1), GS_EBADARG);
    assert_code(gs_addr_special(&a, AF_INET, (gs_addr_kind)3, 1), GS_EBADARG);
    assert_code(gs_addr_special(&a, AF_INET, (gs_addr_kind)-1, 1), GS_EBADARG);
    assert_code(gs_addr_special(&a, -1, GS_ADDR_ANY, 1), -EAFNOSUPPORT);
    assert_code(gs_addr_special(&a, INT_MAX, GS_ADDR_ANY, 1), -EAFNOSUPPORT);
}

HOSTILE(gs_addr_local)
{
    (void)state;
    gs_addr a;
    assert_code(gs_addr_local(NULL, "/", 1), GS_EBADARG);
    assert_code(gs_addr_local(&a, NULL, 1), GS_EBADARG);
    assert_code(gs_addr_local(&a, "/", SIZE_MAX), -ENAMETOOLONG);
    assert_code(gs_addr_local(&a, NULL, 0), 0);
}

HOSTILE(gs_addr_make)
{
    (void)state;
    gs_addr a;
    struct sockaddr_storage sa = {.ss_family = AF_INET};
    assert_code(gs_addr_make(NULL, (const struct sockaddr *)&sa, 16), GS_EBADARG);
    assert_code(gs_addr_make(&a, NULL, 16), GS_EBADARG);
    assert_code(gs_addr_make(&a, (const struct sockaddr *)&sa, 0), -EINVAL);
    assert_code(gs_addr_make(&a, (const struct sockaddr *)&sa, UINT_MAX), -EINVAL);
}

HOSTILE(gs_addr_text)
{
    (void)state;
    char text[8];
    assert_code(gs_addr_text(NULL, NULL, 0), GS_EBADARG);
    gs_addr good;
    assert_ok(gs_addr_parse(&good, ":1"));
    assert_code(gs_addr_text(&good, NULL, 1), GS_EBADARG);
    for (int i = 0; i < WRONG_ADDRS; i++) {
        gs_addr a = wrong_addr(i);
        strcpy(text, "before");
        assert_code(gs_addr_text(&a, text, sizeof text), GS_EBADARG);
        assert_string_equal(text, "");
    }
}

HOSTILE(gs_addr_family)
{
    (void)state;
    assert_code(gs_addr_family(NULL), GS_EBADARG);
    for (int i = 0; i < WRONG_ADDRS; i++) {
        gs_addr a = wrong_addr(i);
        assert_code(gs_addr_family(&a), GS_EBADARG);
    }
}

HOSTILE(gs_addr_port)
{
    (void)state;
    assert_code(gs_addr_port(NULL), GS_EBADARG);
    for (int i = 0; i < WRONG_ADDRS; i++) {
        gs_addr a = wrong_addr(i);
        assert_code(gs_addr_port(&a), GS_EBADARG);
    }
}

HOSTILE(gs_addr_set_port)
{
    (void)state;
    assert_code(gs_addr_set_port(NULL, 1), GS_EBADARG);
    for (int i = 0; i < WRONG_ADDRS; i++) {
        gs_addr a = wrong_addr(i);
        assert_code(gs_addr_set_port(&a, 1), GS_EBADARG);
    }
}

HOSTILE(gs_addr_path)
{
    (void)state;
    assert_int_equal(gs_addr_path(NULL).n, 0);
    for (int i = 0; i < WRONG_ADDRS; i++) {
        gs_addr a = wrong_addr(i);
        assert_int_equal(gs_addr_path(&a).n, 0);
    }
}

HOSTILE(gs_addr_equal)
{
    (void)state;
    gs_addr good;
    assert_ok(gs_addr_parse(&good, ":1"));
    assert_false(gs_addr_equal(NULL, NULL));
    assert_false(gs_addr_equal(&good, NULL));
    for (int i = 0; i < WRONG_ADDRS; i++) {
        gs_addr a = wrong_addr(i);
        assert_false(gs_addr_equal(&a, &a));
        assert_false(gs_addr_equal(&good, &a));
    }
}

HOSTILE(gs_gethostname)
{
    (void)state;
    char name[2];
    assert_code(gs_gethostname(NULL, 10), GS_EBADARG);
    assert_code(gs_gethostname(name, 0), GS_EBADARG);
}

HOSTILE(gs_getaddrinfo)
{
    (void)state;
    gs_addrinfo *list;
    assert_code(gs_getaddrinfo("localhost", NULL, NULL, 0, NULL), GS_EBADARG);
    assert_code(gs_getaddrinfo(NULL, NULL, NULL, 0, &list), GS_EBADARG);
    assert_code(gs_getaddrinfo("%n%s", NULL, NULL, GS_INFINITY, &list), GS_EFORMAT);
    for (int i = 0; i < 3; i++) {
        assert_code(gs_getaddrinfo("localhost", NULL, NULL, wrong_timeouts[i], &list), GS_EBADARG);
        assert_null(list);
    }
    gs_hints hints = {.family = -1, .type = INT_MAX, .protocol = INT_MIN};
    assert_true(gs_getaddrinfo("1.2.3.4", "80", &hints, GS_INFINITY, &list) < 0);
    assert_null(list);
}

HOSTILE(gs_addrinfo_free)
{
    (void)state;
    gs_addrinfo_free(NULL);
}

HOSTILE(gs_getnameinfo)
{
    (void)state;
    gs_nameinfo info;
    gs_addr good;
    assert_ok(gs_addr_parse(&good, "127.0.0.1:1"));
    assert_code(gs_getnameinfo(NULL, 0, 0, &info), GS_EBADARG);
    assert_code(gs_getnameinfo(&good, 0, 0, NULL), GS_EBADARG);
    assert_code(gs_getnameinfo(&good, -1, GS_INFINITY, &info), -EINVAL);
    for (int i = 0; i < 3; i++)
        assert_code(gs_getnameinfo(&good, 0, wrong_timeouts[i], &info), GS_EBADARG);
    for (int i = 0; i < WRONG_ADDRS; i++) {
        gs_addr a = wrong_addr(i);
        assert_code(gs_getnameinfo(&a, 0, 0, &info), GS_EBADARG);
    }
}

HOSTILE(gs_getifaddrs)
{
    (void)state;
    gs_ifaddr *list;
    assert_code(gs_getifaddrs(0, NULL, NULL), GS_EBADARG);
    assert_int_equal(gs_getifaddrs(-1, NULL, &list), 0);
    assert_null(list);
    assert_code(gs_getifaddrs(0, "", &list), -ENOENT);
    assert_null(list);
}

HOSTILE(gs_ifaddrs_free)
{
    (void)state;
    gs_ifaddrs_free(NULL);
}

HOSTILE(gs_if_names)
{
    (void)state;
    assert_code(gs_if_names(NULL), GS_EBADARG);
}

HOSTILE(gs_if_names_free)
{
    (void)state;
    gs_if_names_free(NULL);
}

HOSTILE(gs_if_name2index)
{
    (void)state;
    char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_code(gs_if_name2index(NULL), GS_EBADARG);
    assert_code(gs_if_name2index(""), -ENODEV);
    assert_code(gs_if_name2index(longest), -ENODEV);
    assert_code(gs_if_name2index("%n/../x"), -ENODEV);
}

HOSTILE(gs_if_index2name)
{
    (void)state;
    char name[16];
    assert_code(gs_if_index2name(1, NULL, 16), GS_EBADARG);
    assert_code(gs_if_index2name(1, name, 0), GS_EBADARG);
    assert_code(gs_if_index2name(UINT_MAX, name, sizeof name), -ENXIO);
    assert_string_equal(name, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_addr_parse), ROW(gs_addr_ip), ROW(gs_addr_special), ROW(gs_addr_local), ROW(gs_addr_make), ROW(gs_addr_text),
        ROW(gs_addr_family), ROW(gs_addr_port), ROW(gs_addr_set_port), ROW(gs_addr_path), ROW(gs_addr_equal),
        ROW(gs_gethostname), ROW(gs_getaddrinfo), ROW(gs_addrinfo_free), ROW(gs_getnameinfo), ROW(gs_getifaddrs),
        ROW(gs_ifaddrs_free), ROW(gs_if_names), ROW(gs_if_names_free), ROW(gs_if_name2index), ROW(gs_if_index2name),
    };
    return cmocka_run_group_tests_name("hostile_net", tests, NULL, NULL);
}
