/* The interfaces are those that the C library lists, in one array; odd lists of the kernel do no harm. */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>

#include "base/seam.h"
#include "census.h"
#include "fault.h"
#include "gensock/net.h"
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
    census_assert(&before);
    return 0;
}

static bool same(const gs_addr *a, const struct sockaddr *sa)
{
    if (!sa)
        return a->len == 0;
    gs_addr b;
    socklen_t n = sa->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
                  : sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                              : sizeof(struct sockaddr_ll);
    return gs_addr_make(&b, sa, n) == 0 && gs_addr_equal(a, &b);
}

static void the_list_is_the_c_librarys(void **state)
{
    (void)state;
    static const int families[] = {0, AF_INET, AF_INET6, AF_PACKET, AF_UNIX};
    struct ifaddrs *expected;
    assert_int_equal(getifaddrs(&expected), 0);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        gs_ifaddr *list;
        int n = (int)assert_ok(gs_getifaddrs(families[f], NULL, &list)), at = 0;
        for (struct ifaddrs *i = expected; i; i = i->ifa_next) {
            if (families[f] != 0 && (!i->ifa_addr || i->ifa_addr->sa_family != families[f]))
                continue;
            assert_true(at < n);
            assert_string_equal(list[at].name, i->ifa_name);
            assert_int_equal(list[at].flags, i->ifa_flags);
            assert_true(same(&list[at].addr, i->ifa_addr));
            assert_true(same(&list[at].netmask, i->ifa_netmask));
            if (i->ifa_flags & IFF_BROADCAST)
                assert_true(same(&list[at].broadaddr, i->ifa_broadaddr));
            if (!(i->ifa_flags & IFF_POINTOPOINT))
                assert_int_equal(list[at].dstaddr.len, 0);
            at++;
        }
        assert_int_equal(at, n);
        assert_true((n == 0) == (list == NULL));
        gs_ifaddrs_free(list);
    }
    freeifaddrs(expected);
}

static void names_and_indexes_are_the_kernels(void **state)
{
    (void)state;
    gs_if_name *list;
    struct if_nameindex *expected = if_nameindex();
    assert_non_null(expected);
    int n = (int)assert_ok(gs_if_names(&list)), count = 0;
    while (expected[count].if_index)
        count++;
    assert_int_equal(n, count);
    for (int i = 0; i < n; i++) {
        assert_true(i == 0 || list[i - 1].index < list[i].index);
        char name[IF_NAMESIZE];
        assert_non_null(if_indextoname(list[i].index, name));
        assert_string_equal(name, list[i].name);
        assert_int_equal(gs_if_name2index(list[i].name), list[i].index);
        assert_int_equal(gs_if_index2name(list[i].index, name, sizeof name), strlen(list[i].name));
        assert_string_equal(name, list[i].name);
        assert_code(gs_if_index2name(list[i].index, name, strlen(list[i].name)), -ENAMETOOLONG);
        assert_string_equal(name, "");
    }
    gs_if_names_free(list);
    if_freenameindex(expected);
}

static void what_is_not_there_is_told(void **state)
{
    (void)state;
    char name[IF_NAMESIZE];
    assert_code(gs_if_name2index("gs-nosuch"), -ENODEV);
    assert_code(gs_if_name2index(""), -ENODEV);
    assert_code(gs_if_name2index("0123456789abcdef"), -ENODEV);
    assert_code(gs_if_index2name(0, name, sizeof name), -ENXIO);
    assert_code(gs_if_index2name(0x7ffffffe, name, sizeof name), -ENXIO);
    assert_code(gs_if_index2name(0xffffffff, name, sizeof name), -ENXIO);
}

/* One entry in one block; freeifaddrs of the GNU C library frees the head only, so all entries are in that. */
struct odd_list {
    struct ifaddrs entry[4];
    struct sockaddr_ll ll;
    struct sockaddr_in in;
    struct sockaddr_storage strange;
};

static int odd_getifaddrs(struct ifaddrs **out)
{
    struct odd_list *o = calloc(1, sizeof *o);
    o->ll = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = 1};
    o->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
    o->strange.ss_family = AF_APPLETALK;
    o->entry[0] = (struct ifaddrs){.ifa_name = "lo", .ifa_addr = (struct sockaddr *)&o->ll};
    o->entry[1] = (struct ifaddrs){.ifa_name = "lo", .ifa_addr = NULL}; /* a link without address, told twice */
    o->entry[2] = (struct ifaddrs){.ifa_name = "gs-gone", .ifa_addr = NULL};
    o->entry[3] = (struct ifaddrs){.ifa_name = "tun0", .ifa_flags = IFF_POINTOPOINT, .ifa_addr = (struct sockaddr *)&o->in,
                                   .ifa_dstaddr = (struct sockaddr *)&o->in, .ifa_netmask = (struct sockaddr *)&o->strange};
    for (int i = 0; i < 3; i++)
        o->entry[i].ifa_next = &o->entry[i + 1];
    *out = o->entry;
    return 0;
}

static int empty_getifaddrs(struct ifaddrs **out)
{
    *out = NULL;
    return 0;
}

static void odd_lists_do_no_harm(void **state)
{
    (void)state;
    int (*was)(struct ifaddrs **) = gsi_sys.getifaddrs;
    gs_ifaddr *list;
    gs_if_name *names;
    gsi_sys.getifaddrs = odd_getifaddrs;
    assert_int_equal(gs_getifaddrs(0, NULL, &list), 4);
    assert_int_equal(list[1].addr.len, 0);
    assert_int_equal(list[3].netmask.len, 0);
    assert_int_equal(gs_addr_family(&list[3].dstaddr), AF_INET);
    assert_int_equal(list[3].broadaddr.len, 0);
    gs_ifaddrs_free(list);
    assert_int_equal(gs_getifaddrs(AF_INET, NULL, &list), 1);
    gs_ifaddrs_free(list);
    if (if_nametoindex("lo") == 1) {
        assert_int_equal(gs_if_names(&names), 1);
        assert_string_equal(names[0].name, "lo");
        gs_if_names_free(names);
    }
    gsi_sys.getifaddrs = empty_getifaddrs;
    assert_int_equal(gs_getifaddrs(0, NULL, &list), 0);
    assert_null(list);
    assert_int_equal(gs_if_names(&names), 0);
    assert_null(names);
    gsi_sys.getifaddrs = was;
}

static void failures_are_told_and_leak_nothing(void **state)
{
    (void)state;
    gs_ifaddr *list;
    gs_if_name *names;
    char name[IF_NAMESIZE];
    fault_fail_call(FAULT_getifaddrs, 1, 2, EMFILE);
    assert_code(gs_getifaddrs(0, NULL, &list), -EMFILE);
    assert_code(gs_if_names(&names), -EMFILE);
    assert_int_equal(fault_stop(), 2);
    assert_null(list);
    assert_null(names);
    fault_fail_call(FAULT_malloc, 1, 2, ENOMEM);
    assert_code(gs_getifaddrs(0, NULL, &list), -ENOMEM);
    assert_code(gs_if_names(&names), -ENOMEM);
    assert_int_equal(fault_stop(), 2);
    assert_null(list);
    assert_null(names);
    fault_fail_call(FAULT_socket, 1, 1, EAFNOSUPPORT); /* a kernel without inet */
    assert_ok(gs_if_name2index("lo"));
    assert_int_equal(fault_stop(), 1);
    fault_fail_call(FAULT_ioctl, 1, 1, ENOMEM);
    assert_code(gs_if_index2name(1, name, sizeof name), -ENOMEM);
    assert_int_equal(fault_stop(), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_list_is_the_c_librarys),
        TEST(names_and_indexes_are_the_kernels),
        TEST(what_is_not_there_is_told),
        TEST(odd_lists_do_no_harm),
        TEST(failures_are_told_and_leak_nothing),
    };
    return cmocka_run_group_tests_name("net_interfaces", tests, NULL, NULL);
}
