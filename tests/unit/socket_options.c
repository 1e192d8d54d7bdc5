/* Options by level and name, typed and native. */
#include <netinet/tcp.h>

#include "socket_test.h"

static gs_value get(gs_socket s, const char *name)
{
    gs_value v = {0};
    assert_ok(gs_socket_getopt(s, name, &v));
    return v;
}

static void integers_and_booleans_are_set_and_got(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int domain, type;
        int64_t value;
    } rows[] = {
        {"socket:reuseaddr", AF_INET, SOCK_STREAM, 1}, {"socket:keepalive", AF_INET, SOCK_STREAM, 1},
        {"socket:broadcast", AF_INET, SOCK_DGRAM, 1}, {"socket:oobinline", AF_INET, SOCK_STREAM, 1},
        {"socket:priority", AF_INET, SOCK_STREAM, 3}, {"socket:rcvlowat", AF_INET, SOCK_STREAM, 7},
        {"socket:dontroute", AF_INET, SOCK_STREAM, 1}, {"socket:passcred", AF_UNIX, SOCK_STREAM, 1},
        {"ip:tos", AF_INET, SOCK_STREAM, 16}, {"ip:ttl", AF_INET, SOCK_STREAM, 99}, {"ip:recvtos", AF_INET, SOCK_DGRAM, 1},
        {"ip:multicast_ttl", AF_INET, SOCK_DGRAM, 4}, {"ip:multicast_loop", AF_INET, SOCK_DGRAM, 0},
        {"ip:mtu_discover", AF_INET, SOCK_DGRAM, 2}, {"ip:freebind", AF_INET, SOCK_STREAM, 1},
        {"ip:minttl", AF_INET, SOCK_STREAM, 3}, {"ipv6:v6only", AF_INET6, SOCK_STREAM, 1},
        {"ipv6:unicast_hops", AF_INET6, SOCK_STREAM, 9}, {"ipv6:tclass", AF_INET6, SOCK_STREAM, 32},
        {"ipv6:recvtclass", AF_INET6, SOCK_DGRAM, 1}, {"ipv6:flowinfo", AF_INET6, SOCK_DGRAM, 1},
        {"tcp:nodelay", AF_INET, SOCK_STREAM, 1}, {"tcp:cork", AF_INET, SOCK_STREAM, 1}, {"tcp:keepcnt", AF_INET, SOCK_STREAM, 4},
        {"tcp:keepidle", AF_INET, SOCK_STREAM, 50}, {"tcp:keepintvl", AF_INET, SOCK_STREAM, 6},
        {"tcp:user_timeout", AF_INET, SOCK_STREAM, 7000}, {"tcp:syncnt", AF_INET, SOCK_STREAM, 2},
        {"udp:cork", AF_INET, SOCK_DGRAM, 1}, {"otp:debug", AF_INET, SOCK_DGRAM, 0}, {"otp:iow", AF_INET, SOCK_DGRAM, 1},
        {"otp:rcvctrlbuf", AF_INET, SOCK_DGRAM, 100}, {"otp:sndctrlbuf", AF_INET, SOCK_DGRAM, 200},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gs_socket s = open_socket(rows[i].domain, rows[i].type);
        int e = gs_socket_setopt(s, rows[i].name, GS_VALUE_OF_INT(rows[i].value));
        if (e < 0)
            fail_msg("%s: %s", rows[i].name, gs_error_name(e));
        gs_value v = get(s, rows[i].name);
        assert_int_equal(v.kind, GS_VALUE_INT);
        if (v.v.i != rows[i].value)
            fail_msg("%s is %lld", rows[i].name, (long long)v.v.i);
        assert_true(gs_is_supported("options", rows[i].name));
        assert_ok(gs_socket_close(s));
    }
}

static void buffers_linger_times_texts_and_addresses(void **state)
{
    (void)state;
    gs_socket s = open_socket(AF_INET, SOCK_STREAM), d = open_socket(AF_INET, SOCK_DGRAM);
    assert_ok(gs_socket_setopt(s, "socket:rcvbuf", GS_VALUE_OF_INT(20000)));
    assert_true(get(s, "socket:rcvbuf").v.i >= 20000);
    gs_value v = {.kind = GS_VALUE_LINGER, .v.linger = {.on = true, .seconds = 7}};
    assert_ok(gs_socket_setopt(s, "socket:linger", &v));
    v = get(s, "socket:linger");
    assert_true(v.kind == GS_VALUE_LINGER && v.v.linger.on && v.v.linger.seconds == 7);
    v = (gs_value){.kind = GS_VALUE_LINGER};
    assert_ok(gs_socket_setopt(s, "socket:linger", &v));
    v = (gs_value){.kind = GS_VALUE_TIME, .v.us = 1500000};
    assert_ok(gs_socket_setopt(s, "socket:rcvtimeo", &v));
    assert_int_equal(get(s, "socket:rcvtimeo").v.us, 1500000);
    v = (gs_value){.kind = GS_VALUE_TEXT, .v.text = "reno"};
    assert_ok(gs_socket_setopt(s, "tcp:congestion", &v));
    assert_string_equal(get(s, "tcp:congestion").v.text, "reno");
    v.kind = GS_VALUE_ADDR;
    assert_ok(gs_addr_special(&v.v.addr, AF_INET, GS_ADDR_LOOPBACK, 0));
    assert_ok(gs_socket_setopt(d, "ip:multicast_if", &v));
    gs_value got = get(d, "ip:multicast_if");
    assert_true(gs_addr_equal(&got.v.addr, &v.v.addr));
    assert_int_equal(get(s, "socket:type").v.i, SOCK_STREAM);
    assert_int_equal(get(s, "socket:domain").v.i, AF_INET);
    assert_int_equal(get(s, "socket:protocol").v.i, IPPROTO_TCP);
    assert_int_equal(get(s, "socket:acceptconn").v.i, 0);
    assert_int_equal(get(s, "socket:error").v.i, 0);
    close_both(s, d);
}

static void multicast_groups_are_joined_and_left(void **state)
{
    (void)state;
    gs_socket d = open_socket(AF_INET, SOCK_DGRAM), d6 = open_socket(AF_INET6, SOCK_DGRAM);
    gs_addr group, loopback, group6;
    assert_ok(gs_addr_ip(&group, "239.1.2.3", 0));
    assert_ok(gs_addr_ip(&group6, "ff01::1234", 0));
    assert_ok(gs_addr_special(&loopback, AF_INET, GS_ADDR_LOOPBACK, 0));
    int lo = gs_if_name2index("lo");
    gs_value v = {.kind = GS_VALUE_MREQ, .v.mreq = {.group = &group, .interface = &loopback}};
    assert_ok(gs_socket_setopt(d, "ip:add_membership", &v));
    assert_code(gs_socket_setopt(d, "ip:add_membership", &v), -EADDRINUSE);
    assert_ok(gs_socket_setopt(d, "ip:drop_membership", &v));
    assert_code(gs_socket_setopt(d, "ip:drop_membership", &v), -EADDRNOTAVAIL);
    v.v.mreq.source = &loopback;
    assert_ok(gs_socket_setopt(d, "ip:add_source_membership", &v));
    assert_ok(gs_socket_setopt(d, "ip:drop_source_membership", &v));
    gs_value v6 = {.kind = GS_VALUE_MREQ, .v.mreq = {.group = &group6, .ifindex = (unsigned)lo}};
    assert_ok(gs_socket_setopt(d6, "ipv6:join_group", &v6));
    assert_ok(gs_socket_setopt(d6, "ipv6:leave_group", &v6));
    assert_code(gs_socket_setopt(d, "ip:add_membership", &v6), -EINVAL); /* an inet6 group */
    v.v.mreq.group = NULL;
    assert_code(gs_socket_setopt(d, "ip:add_membership", &v), -EINVAL);
    close_both(d, d6);
}

static void peer_credentials_and_native_bytes(void **state)
{
    (void)state;
    gs_socket a, b;
    local_pair(SOCK_STREAM, &a, &b);
    gs_value v = get(a, "socket:peercred");
    assert_true(v.kind == GS_VALUE_CRED && v.v.cred.pid == getpid() && v.v.cred.uid == getuid());
    close_both(a, b);
    tcp_pair(&a, &b);
    struct tcp_info info = {0};
    v = (gs_value){.kind = GS_VALUE_BYTES, .v.bytes = {&info, sizeof info}};
    assert_ok(gs_socket_getopt(a, "tcp:info", &v));
    assert_in_range(v.v.bytes.n, 8, sizeof info);
    assert_int_equal(info.tcpi_state, TCP_ESTABLISHED);
    v = (gs_value){0};
    assert_code(gs_socket_getopt(a, "tcp:info", &v), -EINVAL); /* where to? */
    int on = 1, got = 0;
    socklen_t n = sizeof got;
    assert_ok(gs_socket_setopt_native(a, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    assert_ok(gs_socket_getopt_native(a, IPPROTO_TCP, TCP_NODELAY, &got, &n));
    assert_true(got == 1 && n == sizeof got);
    assert_int_equal(get(a, "tcp:nodelay").v.i, 1);
    assert_code(gs_socket_setopt_native(a, IPPROTO_TCP, 9999, &on, sizeof on), -ENOPROTOOPT);
    close_both(a, b);
}

static void the_otp_level_is_the_librarys_own(void **state)
{
    (void)state;
    gs_socket s = open_socket(AF_INET, SOCK_STREAM);
    int mine;
    gs_value v = {.kind = GS_VALUE_PTR, .v.ptr = &mine};
    assert_ok(gs_socket_setopt(s, "otp:meta", &v));
    assert_ptr_equal(get(s, "otp:meta").v.ptr, &mine);
    v = (gs_value){.kind = GS_VALUE_BUFFER, .v.buffer = {.count = 4, .size = 1024}};
    assert_ok(gs_socket_setopt(s, "otp:rcvbuf", &v));
    v = get(s, "otp:rcvbuf");
    assert_true(v.v.buffer.count == 4 && v.v.buffer.size == 1024);
    assert_int_equal(get(s, "otp:fd").v.i, info_of(s).fd);
    assert_int_equal(get(s, "otp:use_registry").v.i, 1);
    assert_true(get(s, "otp:controlling_process").v.mailbox.id == 0);
    assert_code(gs_socket_setopt(s, "otp:fd", GS_VALUE_OF_INT(3)), -ENOPROTOOPT);
    assert_code(gs_socket_setopt(s, "otp:rcvctrlbuf", GS_VALUE_OF_INT(-1)), -EINVAL);
    assert_code(gs_socket_setopt(s, "otp:meta", GS_VALUE_OF_INT(1)), -EINVAL);
    assert_ok(gs_socket_close(s));
}

static void what_is_no_option_is_told(void **state)
{
    (void)state;
    gs_socket s = open_socket(AF_INET, SOCK_STREAM);
    gs_value v;
    static const char *const none[] = {"", "ip", "ip:", "tos", "ip:TOS", "socket:tos", "otp:nothing", "ip:tos ", ":::"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_code(gs_socket_setopt(s, none[i], GS_VALUE_OF_INT(1)), GS_EINVALID);
        assert_true(strlen(gs_error_detail(GS_EINVALID)) > 0);
        assert_code(gs_socket_getopt(s, none[i], &v), GS_EINVALID);
        assert_false(gs_is_supported("options", none[i]));
    }
    assert_code(gs_socket_setopt(s, "ip:sendsrcaddr", GS_VALUE_OF_INT(1)), -ENOPROTOOPT);
    assert_code(gs_socket_setopt(s, "socket:type", GS_VALUE_OF_INT(1)), -ENOPROTOOPT);
    assert_code(gs_socket_getopt(s, "ip:add_membership", &v), -ENOPROTOOPT);
    assert_code(gs_socket_setopt(s, "socket:linger", GS_VALUE_OF_INT(1)), -EINVAL);
    assert_code(gs_socket_setopt(s, "ip:tos", GS_VALUE_OF_INT(INT64_C(1) << 40)), -EINVAL);
    gs_value bad = {.kind = GS_VALUE_LINGER, .v.linger = {.on = true, .seconds = -1}};
    assert_code(gs_socket_setopt(s, "socket:linger", &bad), -EINVAL);
    bad = (gs_value){.kind = GS_VALUE_TIME, .v.us = -1};
    assert_code(gs_socket_setopt(s, "socket:rcvtimeo", &bad), -EINVAL);
    bad = (gs_value){.kind = GS_VALUE_TEXT};
    memset(bad.v.text, 'x', sizeof bad.v.text);
    assert_code(gs_socket_setopt(s, "tcp:congestion", &bad), -EINVAL);
    assert_ok(gs_socket_close(s));
}

/* Every row of the table, every way round: an answer, and never a crash; what is listed as got is got or refused by
 * the kernel. */
static void every_row_answers(void **state)
{
    (void)state;
    enum { MOST = 300 };
    static gs_support all[MOST];
    size_t n = gs_supports("options", all, MOST);
    assert_in_range(n, 100, MOST);
    gs_socket s = open_socket(AF_INET, SOCK_STREAM);
    uint8_t bytes[512];
    int ok = 0;
    for (size_t i = 0; i < n; i++) {
        gs_value v = {.kind = GS_VALUE_BYTES, .v.bytes = {bytes, sizeof bytes}};
        int e = gs_socket_getopt(s, all[i].name, &v);
        assert_true(e <= 0 && e != GS_EINVALID && e != GS_EBADARG);
        assert_true(all[i].supported || e == -ENOPROTOOPT);
        ok += e == 0;
        for (int kind = 0; kind <= GS_VALUE_ERROR + 1; kind++) {
            gs_value zero = {.kind = (gs_value_kind)kind};
            if (strcmp(all[i].name, "otp:debug") != 0)
                assert_true(gs_socket_setopt(s, all[i].name, &zero) <= 0);
        }
    }
    assert_true(ok > 50);
    assert_ok(gs_socket_close(s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_and_booleans_are_set_and_got),
        cmocka_unit_test(buffers_linger_times_texts_and_addresses),
        cmocka_unit_test(multicast_groups_are_joined_and_left),
        cmocka_unit_test(peer_credentials_and_native_bytes),
        cmocka_unit_test(the_otp_level_is_the_librarys_own),
        cmocka_unit_test(what_is_no_option_is_told),
        cmocka_unit_test(every_row_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
