/* The kernel's options on descriptors of tcp over IPv4, tcp over IPv6 and unix: each is set and read back where it applies and
 * -ENOTSUP where not; raw and pktoptions; the local address that ip, ifaddr and port say in order. */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "support.h"
#include "transport/kernel.h"

enum { TCP4 = 1, TCP6 = 2, LOCAL = 4, ALL = 7 };

static const struct {
    int bit, domain;
} families[] = {{TCP4, AF_INET}, {TCP6, AF_INET6}, {LOCAL, AF_UNIX}};

static int fresh(int domain)
{
    int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        skip_because("no sockets of family %d here", domain);
    return fd;
}

static int set_int(int fd, int name, int64_t i) { return gsi_kernel_setopt(fd, &(gs_opt){.name = name, .v.i = i}); }

static int64_t get_int(int fd, int name)
{
    gs_opt o = {.name = name, .v.i = -77};
    assert_ok(gsi_kernel_getopt(fd, &o));
    return o.v.i;
}

/* name, where it applies (0: where the kernel says), two values, the first not the default, and what get answers for them */
static const struct {
    int name, where;
    int64_t set[2], get[2];
} rows[] = {
    {GS_OPT_NODELAY, TCP4 | TCP6, {1, 0}, {1, 0}},
    {GS_OPT_KEEPALIVE, ALL, {1, 0}, {1, 0}},
    {GS_OPT_PRIORITY, ALL, {5, 0}, {5, 0}},
    {GS_OPT_RECBUF, ALL, {20000, 30000}, {40000, 60000}},
    {GS_OPT_SNDBUF, ALL, {20000, 30000}, {40000, 60000}},
    {GS_OPT_REUSEADDR, ALL, {1, 0}, {1, 0}},
    {GS_OPT_REUSEPORT, TCP4 | TCP6, {1, 0}, {1, 0}},
    {GS_OPT_REUSEPORT_LB, TCP4 | TCP6, {1, 0}, {1, 0}},
    {GS_OPT_TOS, TCP4 | TCP6, {0x10, 0}, {0x10, 0}},
    {GS_OPT_TCLASS, TCP6, {0x20, 0}, {0x20, 0}},
    {GS_OPT_TTL, TCP4 | TCP6, {7, 64}, {7, 64}},
    {GS_OPT_RECVTOS, TCP4 | TCP6, {1, 0}, {1, 0}},
    {GS_OPT_RECVTCLASS, TCP6, {1, 0}, {1, 0}},
    {GS_OPT_RECVTTL, TCP4 | TCP6, {1, 0}, {1, 0}},
    {GS_OPT_IPV6_V6ONLY, TCP6, {1, 0}, {1, 0}},
    {GS_OPT_DONTROUTE, ALL, {1, 0}, {1, 0}},
};

static void every_option_sets_and_reads_back_where_it_applies(void **state)
{
    (void)state;
    for (size_t f = 0; f < 3; f++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            int fd = fresh(families[f].domain), name = rows[i].name;
            if (!(rows[i].where & families[f].bit)) {
                int e = set_int(fd, name, rows[i].set[0]);
                bool reuseport = name == GS_OPT_REUSEPORT || name == GS_OPT_REUSEPORT_LB; /* older kernels take it on unix */
                if (!(reuseport && e == 0)) {
                    assert_code(e, -ENOTSUP);
                    assert_non_null(strstr(gs_error_detail(-ENOTSUP), gs_opt_name_text(name)));
                }
                gs_opt o = {.name = name};
                if (!reuseport)
                    assert_code(gsi_kernel_getopt(fd, &o), -ENOTSUP);
            } else {
                for (int v = 0; v < 2; v++) {
                    assert_ok(set_int(fd, name, rows[i].set[v]));
                    assert_int_equal(get_int(fd, name), rows[i].get[v]);
                }
            }
            close(fd);
        }
}

/* Whoever adds a row to the table is sent here. */
static void no_kernel_option_is_forgotten_here(void **state)
{
    (void)state;
    for (int name = 1; name < GS_OPT_COUNT; name++) {
        bool here = name == GS_OPT_RAW || name == GS_OPT_PKTOPTIONS || name == GS_OPT_BIND_TO_DEVICE;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            here |= rows[i].name == name;
        assert_int_equal(here, gsi_opt_row(name)->class == GSI_KERNEL_OPT);
        gs_opt o = {.name = name};
        if (!here) {
            assert_code(gsi_kernel_setopt(-1, &o), -ENOTSUP);
            assert_code(gsi_kernel_getopt(-1, &o), -ENOTSUP);
        }
    }
    gs_opt o = {.name = GS_OPT_TRANSPORT + 1};
    assert_code(gsi_kernel_setopt(-1, &o), -ENOTSUP);
    assert_code(gsi_kernel_getopt(-1, &o), -ENOTSUP);
}

static void values_outside_the_range_never_reach_the_kernel(void **state)
{
    (void)state;
    assert_code(set_int(-1, GS_OPT_TTL, 0), -EINVAL);
    assert_code(set_int(-1, GS_OPT_TOS, 256), -EINVAL);
    assert_code(set_int(-1, GS_OPT_NODELAY, 2), -EINVAL);
    assert_code(set_int(-1, GS_OPT_NODELAY, 1), -EBADF);
    assert_non_null(strstr(gs_error_detail(-EBADF), "nodelay"));
}

static void tos_and_tclass_leave_the_priority(void **state)
{
    (void)state;
    int four = fresh(AF_INET), six = fresh(AF_INET6);
    assert_ok(set_int(four, GS_OPT_PRIORITY, 3));
    assert_ok(set_int(four, GS_OPT_TOS, 0x10)); /* alone it would set the priority to 6 */
    assert_int_equal(get_int(four, GS_OPT_PRIORITY), 3);
    assert_ok(set_int(four, GS_OPT_PRIORITY, 1));
    assert_int_equal(get_int(four, GS_OPT_TOS), 0x10);
    assert_ok(set_int(six, GS_OPT_PRIORITY, 2));
    assert_ok(set_int(six, GS_OPT_TCLASS, 0x10));
    assert_int_equal(get_int(six, GS_OPT_PRIORITY), 2);
    close(four), close(six);
}

static void bind_to_device_names_an_interface(void **state)
{
    (void)state;
    int fd = fresh(AF_INET), local = fresh(AF_UNIX);
    gs_opt o = GS_STR(BIND_TO_DEVICE, "lo"), none = GS_STR(BIND_TO_DEVICE, "no-such-if");
    char name[IFNAMSIZ] = "";
    assert_ok(gsi_kernel_setopt(fd, &o));
    gs_opt raw = {.name = GS_OPT_RAW, .v.raw = {SOL_SOCKET, SO_BINDTODEVICE, name, sizeof name}};
    assert_ok(gsi_kernel_getopt(fd, &raw));
    assert_string_equal(name, "lo");
    assert_code(gsi_kernel_getopt(fd, &o), -EINVAL);
    int e = gsi_kernel_setopt(local, &none);
    assert_code(e, -ENODEV);
    assert_non_null(strstr(gs_error_detail(e), "bind_to_device"));
    close(fd), close(local);
}

static void raw_takes_any_option_as_bytes(void **state)
{
    (void)state;
    int fd = fresh(AF_INET), local = fresh(AF_UNIX), on = 1, got[4] = {-1, -1, -1, -1};
    gs_opt set = {.name = GS_OPT_RAW, .v.raw = {IPPROTO_TCP, TCP_NODELAY, &on, sizeof on}};
    gs_opt get = {.name = GS_OPT_RAW, .v.raw = {IPPROTO_TCP, TCP_NODELAY, got, sizeof got}};
    assert_ok(gsi_kernel_setopt(fd, &set));
    assert_int_equal(get_int(fd, GS_OPT_NODELAY), 1);
    assert_ok(gsi_kernel_getopt(fd, &get));
    assert_int_equal(get.v.raw.n, sizeof(int));
    assert_true(got[0] != 0);
    assert_int_equal(got[1], -1);
    assert_code(gsi_kernel_setopt(local, &set), -ENOTSUP);
    get.v.raw.n = sizeof got;
    assert_code(gsi_kernel_getopt(local, &get), -ENOTSUP);
    gs_opt hollow = {.name = GS_OPT_RAW, .v.raw = {1, 1, NULL, 4}};
    assert_code(gsi_kernel_getopt(fd, &hollow), -EINVAL);
    close(fd), close(local);
}

/* {raw, Protocol, Option, ValueBin}: the bytes go in as the initial value. */
static int seen_first;
static int peek(int fd, int level, int name, void *p, socklen_t *n)
{
    (void)fd, (void)level, (void)name;
    seen_first = *n >= sizeof(int) ? *(int *)p : 0;
    *n = 2;
    return 0;
}

static void raw_get_hands_the_initial_value_to_the_kernel(void **state)
{
    (void)state;
    int value = 4711;
    gs_opt get = {.name = GS_OPT_RAW, .v.raw = {1, 2, &value, sizeof value}};
    int (*was)(int, int, int, void *, socklen_t *) = gsi_sys.getsockopt;
    gsi_sys.getsockopt = peek;
    int e = gsi_kernel_getopt(0, &get);
    gsi_sys.getsockopt = was;
    assert_ok(e);
    assert_int_equal(seen_first, 4711);
    assert_int_equal(get.v.raw.n, 2);
}

static void connected(int domain, int *client, int *server)
{
    gs_addr a;
    int l = fresh(domain);
    *client = fresh(domain);
    assert_ok(gs_addr_special(&a, domain, GS_ADDR_LOOPBACK, 0));
    if (gsi_kernel_bind(l, &a) < 0)
        skip_because("no loopback address of family %d", domain);
    assert_ok(gsi_kernel_listen(l, NULL));
    assert_ok(gsi_kernel_name(gsi_kernel_ctx(l), false, &a));
    int e = gsi_kernel_connect(*client, &a);
    assert_true(e == 0 || e == -EINPROGRESS);
    assert_until((*server = gsi_kernel_accept(gsi_kernel_ctx(l))) >= 0, 5000);
    close(l);
}

static void pktoptions_gives_native_control_messages(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++) {
        int a, b, family = families[f].domain;
        connected(family, &a, &b);
        assert_ok(set_int(b, f ? GS_OPT_RECVTCLASS : GS_OPT_RECVTOS, 1));
        assert_ok(set_int(b, GS_OPT_RECVTTL, 1));
        assert_int_equal(send(a, "x", 1, 0), 1);
        char byte, room[512], scant[1];
        assert_until(recv(b, &byte, 1, 0) == 1, 5000);
        gs_opt o = {.name = GS_OPT_PKTOPTIONS, .v.bin = {room, sizeof room}};
        assert_ok(gsi_kernel_getopt(b, &o));
        bool found = false;
        struct msghdr m = {.msg_control = room, .msg_controllen = o.v.bin.n};
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            found |= f ? c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS
                       : c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS;
        assert_true(found);
        gs_opt small = {.name = GS_OPT_PKTOPTIONS, .v.bin = {scant, sizeof scant}};
        assert_code(gsi_kernel_getopt(b, &small), -EMSGSIZE);
        assert_code(gsi_kernel_setopt(b, &o), -EINVAL);
        close(a), close(b);
    }
    char room[64];
    int local = fresh(AF_UNIX);
    gs_opt o = {.name = GS_OPT_PKTOPTIONS, .v.bin = {room, sizeof room}};
    assert_code(gsi_kernel_getopt(local, &o), -ENOTSUP);
    close(local);
}

static void apply_takes_kernel_options_in_order_and_stops_at_the_first_error(void **state)
{
    (void)state;
    int fd = fresh(AF_INET);
    assert_ok(gsi_kernel_apply(fd, NULL));
    assert_ok(gsi_kernel_apply(fd, GS_OPTS(GS_INT(NODELAY, 0), GS_INT(PACKET, 4), {.name = GS_OPT_TRANSPORT}, GS_INT(NODELAY, 1))));
    assert_int_equal(get_int(fd, GS_OPT_NODELAY), 1);
    assert_code(gsi_kernel_apply(fd, GS_OPTS(GS_INT(KEEPALIVE, 1), GS_INT(TCLASS, 1), GS_INT(NODELAY, 0))), -ENOTSUP);
    assert_int_equal(get_int(fd, GS_OPT_KEEPALIVE), 1);
    assert_int_equal(get_int(fd, GS_OPT_NODELAY), 1);
    close(fd);
}

/* ---- ip, ifaddr, port ---- */

static void assert_local(int family, const gs_opt *opts, const char *wanted)
{
    gs_addr a;
    char text[GS_ADDR_TEXT_MAX];
    assert_code(gsi_opts_local(opts, family, &a), 1);
    assert_true(gs_addr_text(&a, text, sizeof text) > 0);
    assert_string_equal(text, wanted);
}

static void ip_ifaddr_and_port_replace_one_another_field_by_field(void **state)
{
    (void)state;
    gs_addr one, two, six, scoped, local, out;
    assert_ok(gs_addr_parse(&one, "127.0.0.1:11"));
    assert_ok(gs_addr_parse(&two, "127.0.0.2:22"));
    assert_ok(gs_addr_parse(&six, "[fd00::1]:66"));
    assert_ok(gs_addr_parse(&scoped, "[fe80::1%1]:77?flow=0x5"));
    assert_ok(gs_addr_parse(&local, "@here"));
#define IP(a) {.name = GS_OPT_IP, .v.addr = &(a)}
#define IFADDR(a) {.name = GS_OPT_IFADDR, .v.addr = &(a)}
    assert_code(gsi_opts_local(NULL, AF_INET, &out), 0);
    assert_code(gsi_opts_local(GS_OPTS(GS_INT(NODELAY, 1)), AF_INET, &out), 0);
    assert_local(AF_INET, GS_OPTS(IP(one)), "127.0.0.1:0"); /* its port is not used */
    assert_local(AF_INET, GS_OPTS(IFADDR(one)), "127.0.0.1:11");
    assert_local(AF_INET, GS_OPTS(GS_INT(PORT, 5)), "0.0.0.0:5");
    assert_local(AF_INET, GS_OPTS(IP(one), GS_INT(PORT, 5)), "127.0.0.1:5");
    assert_local(AF_INET, GS_OPTS(GS_INT(PORT, 5), IP(one)), "127.0.0.1:5");
    assert_local(AF_INET, GS_OPTS(IP(one), GS_INT(PORT, 5), IFADDR(two)), "127.0.0.2:22"); /* takes precedence */
    assert_local(AF_INET, GS_OPTS(IFADDR(two), IP(one)), "127.0.0.1:22");
    assert_local(AF_INET, GS_OPTS(IFADDR(two), GS_INT(PORT, 5)), "127.0.0.2:5");
    assert_local(AF_INET, GS_OPTS(IFADDR(two), GS_INT(PORT, 5), IP(one)), "127.0.0.1:5");
    assert_local(AF_INET, GS_OPTS(IFADDR(two), IFADDR(one)), "127.0.0.1:11");
    assert_local(AF_INET, GS_OPTS(GS_INT(PORT, 5), GS_INT(PORT, 6)), "0.0.0.0:6");
    assert_local(AF_INET6, GS_OPTS(GS_INT(PORT, 5)), "[::]:5");
    assert_local(AF_INET6, GS_OPTS(IFADDR(scoped), IP(six)), "[fd00::1%lo]:77?flow=0x5");
    assert_local(AF_INET6, GS_OPTS(IFADDR(six), IP(scoped)), "[fe80::1%lo]:66");
    assert_local(AF_UNIX, GS_OPTS(IFADDR(local)), "@here");
    assert_local(AF_UNIX, GS_OPTS(GS_INT(PORT, 0), IP(local)), "@here");
    assert_code(gsi_opts_local(GS_OPTS(GS_INT(PORT, 0)), AF_UNIX, &out), 0);
    assert_code(gsi_opts_local(GS_OPTS(GS_INT(PORT, 1)), AF_UNIX, &out), -EINVAL);
    assert_code(gsi_opts_local(GS_OPTS(GS_INT(PORT, 65536)), AF_INET, &out), -EINVAL);
    assert_code(gsi_opts_local(GS_OPTS(IP(six)), AF_INET, &out), -EINVAL);
    assert_string_equal(gs_error_detail(-EINVAL), "option ip: its family is inet6, but the socket's is inet");
    assert_code(gsi_opts_local(GS_OPTS(IFADDR(one)), AF_UNIX, &out), -EINVAL);
    assert_code(gsi_opts_local(GS_OPTS(IFADDR(local)), AF_INET6, &out), -EINVAL);
    assert_code(gsi_opts_local(NULL, AF_NETLINK, &out), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_sets_and_reads_back_where_it_applies),
        cmocka_unit_test(no_kernel_option_is_forgotten_here),
        cmocka_unit_test(values_outside_the_range_never_reach_the_kernel),
        cmocka_unit_test(tos_and_tclass_leave_the_priority),
        cmocka_unit_test(bind_to_device_names_an_interface),
        cmocka_unit_test(raw_takes_any_option_as_bytes),
        cmocka_unit_test(raw_get_hands_the_initial_value_to_the_kernel),
        cmocka_unit_test(pktoptions_gives_native_control_messages),
        cmocka_unit_test(apply_takes_kernel_options_in_order_and_stops_at_the_first_error),
        cmocka_unit_test(ip_ifaddr_and_port_replace_one_another_field_by_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
