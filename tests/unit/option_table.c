/* The table of options: a row for each, what each refuses, and that every value's text reads back as the value. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "census.h"
#include "fault.h"
#include "gensock/packet.h"
#include "support.h"
#include "transport/transport.h"

enum { PLACES = GSI_ON_LISTEN | GSI_ON_CONNECT | GSI_ON_SET | GSI_ON_GET };

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
    fault_stop();
    census_assert(&before);
    return 0;
}

static int check(gs_opt o, unsigned where)
{
    const gs_opt list[] = {o, {.name = GS_OPT_END}};
    return gsi_opts_check(list, where);
}

static gs_opt with_int(int name, int64_t i) { return (gs_opt){.name = name, .v.i = i}; }

/* A place where an option may stand. */
static unsigned some_place(const struct gsi_opt_row *row)
{
    unsigned bit = 1;
    while (!(row->where & bit))
        bit <<= 1;
    return bit;
}

/* ---- the table ---- */

static void every_option_has_a_row(void **state)
{
    (void)state;
    for (int i = GS_OPT_END + 1; i < GS_OPT_COUNT; i++) {
        const struct gsi_opt_row *row = gsi_opt_row(i);
        assert_non_null(row);
        assert_int_equal(row->name, i);
        assert_true(row->where && !(row->where & ~(unsigned)PLACES));
        assert_true(row->min <= row->max);
        assert_true(strlen(row->note) > 10);
        assert_non_null(row->initial);
        assert_string_equal(gs_opt_name_text(i), row->erlang);
        for (int j = 1; j < i; j++)
            assert_string_not_equal(gsi_opt_row(j)->erlang, row->erlang);
    }
    const int none[] = {GS_OPT_END, -1, GS_OPT_COUNT, GS_OPT_TRANSPORT, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_null(gsi_opt_row(none[i]));
        assert_null(gs_opt_name_text(none[i]));
    }
}

static void every_option_of_gen_tcp_is_known(void **state)
{
    (void)state;
    /* option(), listen_option(), connect_option(), option_name() of gen_tcp, and inet:setopts/2's beyond them */
    static const char *const names[] = {"active", "buffer", "debug", "delay_send", "deliver", "dontroute", "exit_on_close",
        "exclusiveaddruse", "header", "high_msgq_watermark", "high_watermark", "keepalive", "linger", "low_msgq_watermark",
        "low_watermark", "mode", "nodelay", "packet", "packet_size", "priority", "raw", "recbuf", "reuseaddr", "reuseport",
        "reuseport_lb", "send_timeout", "send_timeout_close", "handshake_timeout", "show_econnreset", "sndbuf", "tos", "tclass", "ttl", "recvtos",
        "recvtclass", "recvttl", "pktoptions", "ipv6_v6only", "fd", "ifaddr", "ip", "port", "netns", "bind_to_device", "backlog",
        "line_delimiter"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        gs_opt o;
        int e = gs_opt_parse(names[i], "no value of anything \x01", &o);
        if (strcmp(names[i], "netns")) /* whose value may be any text */
            assert_code(e, -EINVAL);
        else
            gs_opt_clear(&o);
    }
    static const struct {
        const char *name;
        int is;
        int64_t value;
    } atoms[] = {{"inet", GS_OPT_FAMILY, AF_INET}, {"inet6", GS_OPT_FAMILY, AF_INET6}, {"local", GS_OPT_FAMILY, AF_UNIX},
                 {"list", GS_OPT_MODE, 0}, {"binary", GS_OPT_MODE, 1}};
    static const char *const values[] = {NULL, "", "true"};
    for (size_t i = 0; i < 15; i++) {
        gs_opt o;
        assert_ok(gs_opt_parse(atoms[i % 5].name, values[i / 5], &o));
        assert_int_equal(o.name, atoms[i % 5].is);
        assert_int_equal(o.v.i, atoms[i % 5].value);
    }
}

static void what_takes_the_place_of_an_absent_option_is_told(void **state)
{
    (void)state;
    static const char *const names[] = {"tcp_module", "inet_backend", "nopush", "broadcast", "read_packets", "multicast_if",
                                        "multicast_loop", "multicast_ttl", "add_membership", "drop_membership"};
    gs_opt o;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_code(gs_opt_parse(names[i], "true", &o), GS_EBADARG);
        assert_non_null(strstr(gs_error_detail(GS_EBADARG), names[i]));
        assert_true(strlen(gs_error_detail(GS_EBADARG)) > strlen(names[i]) + 40);
    }
    assert_code(gs_opt_parse("no_such", "1", &o), GS_EBADARG);
    assert_non_null(strstr(gs_error_detail(GS_EBADARG), "\"no_such\""));
}

/* ---- check ---- */

static void numbers_outside_their_range_are_einval(void **state)
{
    (void)state;
    for (int i = 1; i < GS_OPT_COUNT; i++) {
        const struct gsi_opt_row *row = gsi_opt_row(i);
        if (row->type != GSI_INT && row->type != GSI_BOOL && row->type != GSI_ACTIVE && row->type != GSI_TIMEOUT &&
            row->type != GSI_MODE && row->type != GSI_DELIVER && row->type != GSI_SEND_MODE)
            continue;
        unsigned where = some_place(row);
        assert_code(check(with_int(i, row->min), where), 0);
        assert_code(check(with_int(i, row->max), where), 0);
        const int64_t wrong[] = {row->max + 1, row->min - (row->type == GSI_TIMEOUT ? 3 : 1), INT64_MAX, INT64_MIN};
        for (size_t j = 0; j < 4; j++) {
            assert_code(check(with_int(i, wrong[j]), where), -EINVAL);
            char value[24];
            snprintf(value, sizeof value, "%lld", (long long)wrong[j]);
            const char *detail = gs_error_detail(-EINVAL);
            assert_non_null(strstr(detail, row->erlang));
            assert_non_null(strstr(detail, value));
            assert_non_null(strstr(detail, "is not "));
        }
    }
}

static void active_is_a_word_or_a_count(void **state)
{
    (void)state;
    static const int64_t right[] = {GS_ACTIVE_FALSE, GS_ACTIVE_TRUE, GS_ACTIVE_ONCE, -32768, -1, 0, 1, 32767};
    static const int64_t wrong[] = {-32769, 32768, GS_ACTIVE_FALSE - 1, GS_ACTIVE_ONCE + 1};
    for (size_t i = 0; i < 8; i++)
        assert_code(check(with_int(GS_OPT_ACTIVE, right[i]), GSI_ON_SET), 0);
    for (size_t i = 0; i < 4; i++)
        assert_code(check(with_int(GS_OPT_ACTIVE, wrong[i]), GSI_ON_SET), -EINVAL);
    assert_code(check(with_int(GS_OPT_ACCEPT, 0), GSI_ON_SET), -EINVAL);
    assert_code(check(with_int(GS_OPT_ACCEPT, -1), GSI_ON_SET), -EINVAL);
    assert_code(check(with_int(GS_OPT_ACCEPT, GS_ACTIVE_ONCE), GSI_ON_SET), 0);
}

static void packet_takes_the_types_of_streams_only(void **state)
{
    (void)state;
    for (int i = -1; i <= 17; i++) {
        bool right = i == 0 || i == 1 || i == 2 || (i >= 4 && i <= 14);
        assert_code(check(with_int(GS_OPT_PACKET, i), GSI_ON_SET), right ? 0 : -EINVAL);
    }
    assert_code(check(with_int(GS_OPT_PACKET, GS_PACKET_SSL_TLS), GSI_ON_SET), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), "ssl_tls"));
}

static void other_types_refuse_what_is_no_value(void **state)
{
    (void)state;
    gs_addr none = {0}, ip;
    char device[17] = "0123456789abcdef";
    assert_ok(gs_addr_ip(&ip, "::1", 1));
    assert_code(check(with_int(GS_OPT_SEND_TIMEOUT, GS_INFINITY), GSI_ON_SET), 0);
    assert_code(check(with_int(GS_OPT_SEND_TIMEOUT, GS_NOWAIT), GSI_ON_SET), 0);
    assert_code(check(with_int(GS_OPT_SEND_TIMEOUT, -3), GSI_ON_SET), -EINVAL);
    assert_code(check(with_int(GS_OPT_FAMILY, AF_UNSPEC), GSI_ON_LISTEN), -EINVAL);
    assert_code(check(with_int(GS_OPT_FAMILY, AF_NETLINK), GSI_ON_LISTEN), -EINVAL);
    assert_code(check((gs_opt){.name = GS_OPT_LINGER, .v.linger = {true, -1}}, GSI_ON_SET), -EINVAL);
    assert_code(check((gs_opt){.name = GS_OPT_LINGER, .v.linger = {false, 0}}, GSI_ON_SET), 0);
    assert_code(check((gs_opt)GS_STR(NETNS, NULL), GSI_ON_LISTEN), -EINVAL);
    assert_code(check((gs_opt)GS_STR(NETNS, ""), GSI_ON_LISTEN), -EINVAL);
    assert_code(check((gs_opt)GS_STR(BIND_TO_DEVICE, ""), GSI_ON_LISTEN), 0);
    assert_code(check((gs_opt)GS_STR(BIND_TO_DEVICE, device), GSI_ON_LISTEN), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), device));
    device[15] = '\0';
    assert_code(check((gs_opt)GS_STR(BIND_TO_DEVICE, device), GSI_ON_LISTEN), 0);
    assert_code(check((gs_opt){.name = GS_OPT_IP, .v.addr = NULL}, GSI_ON_LISTEN), -EINVAL);
    assert_code(check((gs_opt){.name = GS_OPT_IP, .v.addr = &none}, GSI_ON_LISTEN), -EINVAL);
    assert_code(check((gs_opt){.name = GS_OPT_IP, .v.addr = &ip}, GSI_ON_LISTEN), 0);
    assert_code(check((gs_opt){.name = GS_OPT_RAW, .v.raw = {-1, 1, "", 0}}, GSI_ON_SET), -EINVAL);
    assert_code(check((gs_opt){.name = GS_OPT_RAW, .v.raw = {1, -1, "", 0}}, GSI_ON_SET), -EINVAL);
    assert_code(check((gs_opt){.name = GS_OPT_RAW, .v.raw = {1, 1, NULL, 4}}, GSI_ON_SET), -EINVAL);
    assert_code(check((gs_opt){.name = GS_OPT_RAW, .v.raw = {1, 1, "", SIZE_MAX}}, GSI_ON_SET), -EINVAL);
    assert_code(check((gs_opt){.name = GS_OPT_RAW, .v.raw = {1, 1, NULL, 0}}, GSI_ON_SET), 0);
}

static void an_option_stands_only_where_its_row_says(void **state)
{
    (void)state;
    static const unsigned places[] = {GSI_ON_LISTEN, GSI_ON_CONNECT, GSI_ON_SET, GSI_ON_GET};
    gs_addr ip;
    assert_ok(gs_addr_ip(&ip, "::1", 1));
    for (int i = 1; i < GS_OPT_COUNT; i++)
        for (int j = 0; j < 4; j++) {
            const struct gsi_opt_row *row = gsi_opt_row(i);
            gs_opt o = with_int(i, row->type == GSI_FAMILY ? AF_INET : row->min);
            if (row->type == GSI_ADDR)
                o.v.addr = &ip;
            else if (row->type == GSI_STRING)
                o.v.s = "x";
            else if (row->type == GSI_RAW || row->type == GSI_BIN)
                o = (gs_opt){.name = i};
            assert_code(check(o, places[j]), row->where & places[j] ? 0 : -EINVAL);
        }
    assert_code(check(with_int(GS_OPT_BACKLOG, 1), GSI_ON_CONNECT), -EINVAL);
    assert_string_equal(gs_error_detail(-EINVAL), "option backlog cannot be given to connect");
}

static void unknown_numbers_are_einval_and_a_transports_own_pass(void **state)
{
    (void)state;
    assert_code(check(with_int(-1, 0), GSI_ON_SET), -EINVAL);
    assert_code(check(with_int(GS_OPT_COUNT, 0), GSI_ON_SET), -EINVAL);
    assert_code(check(with_int(999, 0), GSI_ON_SET), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), "999"));
    assert_code(check(with_int(GS_OPT_TRANSPORT, 0), GSI_ON_SET), 0);
    assert_code(check((gs_opt){.name = GS_OPT_TRANSPORT_STRING, .v.s = "file.pem"}, GSI_ON_SET), 0);
    assert_code(check((gs_opt){.name = GS_OPT_TRANSPORT_STRING, .v.s = NULL}, GSI_ON_SET), -EINVAL);
    assert_code(gsi_opts_check(NULL, GSI_ON_LISTEN), 0);
    assert_code(gsi_opts_check(GS_OPTS(GS_INT(NODELAY, 1), GS_INT(NODELAY, 2)), GSI_ON_LISTEN), -EINVAL);
}

/* ---- lists ---- */

static void find_answers_the_last_of_a_name(void **state)
{
    (void)state;
    const gs_opt *list = GS_OPTS(GS_INT(PORT, 1), GS_INT(NODELAY, 1), GS_INT(PORT, 2));
    assert_int_equal(gsi_opts_find(list, GS_OPT_PORT)->v.i, 2);
    assert_null(gsi_opts_find(list, GS_OPT_IP));
    assert_null(gsi_opts_find(list, GS_OPT_END));
    assert_null(gsi_opts_find(NULL, GS_OPT_PORT));
}

static void join_copies_whatever_a_value_points_to(void **state)
{
    (void)state;
    char device[] = "eth0", bytes[] = {1, 2, 3}, netns[] = "/run/netns/blue";
    gs_addr ip, wanted;
    assert_ok(gs_addr_ip(&ip, "127.0.0.1", 5));
    wanted = ip;
    const gs_opt first[] = {GS_STR(BIND_TO_DEVICE, device), {.name = GS_OPT_IP, .v.addr = &ip}, {.name = GS_OPT_END}};
    const gs_opt second[] = {{.name = GS_OPT_RAW, .v.raw = {6, 1, bytes, 3}}, GS_STR(NETNS, netns), GS_INT(PORT, 7),
                             {.name = GS_OPT_TRANSPORT + 3, .v.ptr = device}, {.name = GS_OPT_TRANSPORT_STRING + 3, .v.s = netns},
                             {.name = GS_OPT_END}};
    gs_opt *all = gsi_opts_join(first, second);
    assert_non_null(all);
    memset(device, 'x', sizeof device), memset(bytes, 9, sizeof bytes), memset(netns, 'x', sizeof netns),
        memset(&ip, 0, sizeof ip);
    assert_string_equal(all[0].v.s, "eth0");
    assert_true(gs_addr_equal(all[1].v.addr, &wanted));
    assert_int_equal((uintptr_t)all[1].v.addr % _Alignof(gs_addr), 0);
    assert_int_equal(all[2].v.raw.n, 3);
    assert_memory_equal(all[2].v.raw.p, "\1\2\3", 3);
    assert_string_equal(all[3].v.s, "/run/netns/blue");
    assert_int_equal(all[4].v.i, 7);
    assert_ptr_equal(all[5].v.ptr, device); /* unread */
    assert_string_equal(all[6].v.s, "/run/netns/blue");
    assert_int_equal(all[7].name, GS_OPT_END);
    gsi_free(all);
    all = gsi_opts_join(NULL, NULL);
    assert_int_equal(all[0].name, GS_OPT_END);
    gsi_free(all);
}

static void defaults_stand_in_front_and_are_copies(void **state)
{
    (void)state;
    gs_opt mine[] = {GS_INT(NODELAY, 1), GS_INT(BACKLOG, 9), {.name = GS_OPT_END}};
    assert_ok(gs_set_default_opts(GS_LISTEN_DEFAULTS, mine));
    mine[1].v.i = 1;
    gs_opt *all = gsi_opts_with_defaults(GS_LISTEN_DEFAULTS, GS_OPTS(GS_INT(NODELAY, 0)));
    assert_int_equal(all[0].v.i, 1);
    assert_int_equal(all[1].v.i, 9);
    assert_int_equal(gsi_opts_find(all, GS_OPT_NODELAY)->v.i, 0);
    gsi_free(all);
    all = gsi_opts_with_defaults(GS_CONNECT_DEFAULTS, NULL);
    assert_int_equal(all[0].name, GS_OPT_END);
    gsi_free(all);
    assert_code(gs_set_default_opts(GS_LISTEN_DEFAULTS, GS_OPTS(GS_INT(NODELAY, 2))), -EINVAL);
    assert_code(gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS(GS_INT(BACKLOG, 2))), -EINVAL);
    assert_code(gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS(GS_INT(FD, 2))), -EINVAL);
    assert_code(gs_set_default_opts((gs_defaults)2, NULL), -EINVAL);
    fault_fail_call(FAULT_malloc, 1, 1, ENOMEM);
    int poor = gs_set_default_opts(GS_LISTEN_DEFAULTS, mine);
    assert_int_equal(fault_stop(), 1);
    assert_code(poor, -ENOMEM);
    all = gsi_opts_with_defaults(GS_LISTEN_DEFAULTS, NULL);
    assert_int_equal(all[1].v.i, 9); /* a refused list changed nothing */
    gsi_free(all);
    assert_ok(gs_set_default_opts(GS_LISTEN_DEFAULTS, NULL));
    all = gsi_opts_with_defaults(GS_LISTEN_DEFAULTS, NULL);
    assert_int_equal(all[0].name, GS_OPT_END);
    gsi_free(all);
}

/* ---- text ---- */

static void assert_reads(const char *name, const char *text, const char *again)
{
    gs_opt o;
    char buf[600], cut[4];
    assert_ok(gs_opt_parse(name, text, &o));
    int n = gs_opt_text(&o, buf, sizeof buf);
    assert_string_equal(buf, again);
    assert_int_equal(n, strlen(again));
    assert_int_equal(gs_opt_text(&o, NULL, 0), n);
    assert_int_equal(gs_opt_text(&o, cut, sizeof cut), n);
    assert_int_equal(strlen(cut), n < 3 ? n : 3);
    assert_memory_equal(cut, again, strlen(cut));
    gs_opt_clear(&o);
    assert_int_equal(o.name, GS_OPT_END);
}

static void every_rows_text_reads_back(void **state)
{
    (void)state;
    for (int i = 1; i < GS_OPT_COUNT; i++) {
        const struct gsi_opt_row *row = gsi_opt_row(i);
        const char *name = row->erlang;
        char number[24];
        switch (row->type) {
        case GSI_INT:
        case GSI_TIMEOUT:
        case GSI_ACTIVE:
            snprintf(number, sizeof number, "%lld", (long long)row->min);
            assert_reads(name, number, number);
            snprintf(number, sizeof number, "%lld", (long long)row->max);
            assert_reads(name, number, number);
            if (row->type == GSI_TIMEOUT)
                assert_reads(name, "infinity", "infinity"), assert_reads(name, "nowait", "nowait");
            if (row->type == GSI_ACTIVE)
                assert_reads(name, "once", "once"), assert_reads(name, "true", "true"), assert_reads(name, "false", "false");
            break;
        case GSI_BOOL:
        case GSI_DEBUG:
            assert_reads(name, "true", "true"), assert_reads(name, "false", "false");
            break;
        case GSI_STRING:
            assert_reads(name, "eth0", "eth0");
            break;
        case GSI_PACKET:
            for (int p = 0; p <= 14; p++)
                if (gs_packet_type_name((gs_packet_type)p))
                    assert_reads(name, gs_packet_type_name((gs_packet_type)p), gs_packet_type_name((gs_packet_type)p));
            assert_reads(name, "0", "raw");
            break;
        case GSI_LINGER:
            assert_reads(name, "true,5", "true,5"), assert_reads(name, "false", "false,0"),
                assert_reads(name, "false,7", "false,7");
            break;
        case GSI_ADDR:
            assert_reads(name, "/tmp/a b", "/tmp/a b"), assert_reads(name, "@x\\x00", "@x\\x00");
            assert_reads(name, "[::1%1]:5?flow=0x7", i == GS_OPT_IP ? "[::1%lo]:0?flow=0x7" : "[::1%lo]:5?flow=0x7");
            assert_reads(name, "127.0.0.1", i == GS_OPT_IP ? "127.0.0.1" : "127.0.0.1:0");
            assert_reads(name, "127.0.0.1:80", i == GS_OPT_IP ? "127.0.0.1" : "127.0.0.1:80");
            assert_reads(name, "::1", i == GS_OPT_IP ? "::1" : "[::1]:0");
            break;
        case GSI_RAW:
            assert_reads(name, "6,1,01000000", "6,1,01000000"), assert_reads(name, "0,2147483647,", "0,2147483647,");
            assert_reads(name, "6,1,aBcD", "6,1,abcd");
            break;
        case GSI_BIN:
            assert_reads(name, "00ff", "00ff"), assert_reads(name, "", "");
            break;
        case GSI_PTR:
            assert_reads(name, "0x0", "0x0"), assert_reads(name, "0xffffffffffffffff", "0xffffffffffffffff");
            break;
        case GSI_SEND_MODE:
            assert_reads(name, "queued", "queued"), assert_reads(name, "direct", "direct");
            break;
        case GSI_FAMILY:
            assert_reads(name, "inet", "inet"), assert_reads(name, "inet6", "inet6"), assert_reads(name, "local", "local");
            break;
        case GSI_MODE:
            assert_reads(name, "list", "list"), assert_reads(name, "binary", "binary");
            break;
        case GSI_DELIVER:
            assert_reads(name, "port", "port"), assert_reads(name, "term", "term");
            break;
        }
    }
}

static void texts_that_are_no_values_name_what_is_wanted(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *wanted;
    } rows[] = {
        {"nodelay", "yes", "true or false"},
        {"nodelay", "1", "true or false"},
        {"nodelay", "", "true or false"},
        {"active", "twice", "true, false, once or a number from -32768 to 32767"},
        {"active", "32768", "a number from -32768 to 32767"},
        {"active", "65536", "true, false, once"},
        {"accept", "0", "from 1 to 32767"},
        {"packet", "3", "asn1"},
        {"packet", "ssl_tls", "raw, 0, 1, 2, 4"},
        {"send_timeout", "-1", "milliseconds >= 0, infinity or nowait"},
        {"send_timeout", "5s", "milliseconds"},
        {"send_timeout", "2147483648", "milliseconds"},
        {"buffer", "-1", "a number from 0 to 2147483647"},
        {"buffer", "+1", "a number"},
        {"buffer", " 1", "a number"},
        {"buffer", "99999999999999999999", "a number"},
        {"buffer", "999999999999999999999999999999", "a number"},
        {"linger", "true", "seconds"},
        {"linger", "true,", "seconds"},
        {"linger", "true,-1", "seconds"},
        {"linger", "5", "true or false, and seconds"},
        {"ip", "localhost", "a numeric address"},
        {"ip", "", "a numeric address"},
        {"ifaddr", "1.2.3.4:99999", "a numeric address"},
        {"raw", "6,1", "level,number,bytes"},
        {"raw", "6,1,0", "in hexadecimal"},
        {"raw", "6,1,zz", "in hexadecimal"},
        {"raw", "-6,1,00", "level and number >= 0"},
        {"raw", "x,1,00", "level"},
        {"raw", "1,99999999999,00", "level"},
        {"pktoptions", "0", "hexadecimal"},
        {"user", "1000", "0x1000"},
        {"user", "0x", "hexadecimal"},
        {"user", "0x1g", "hexadecimal"},
        {"netns", "", "1 to 4095 bytes"},
        {"bind_to_device", "0123456789abcdef", "0 to 15 bytes"},
        {"family", "ipv6", "inet, inet6 or local"},
        {"mode", "text", "list or binary"},
        {"deliver", "x", "port or term"},
        {"send_mode", "x", "queued or direct"},
        {"inet", "false", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        gs_opt o = {.name = 77};
        int e = gs_opt_parse(rows[i].name, rows[i].text, &o);
        assert_code(e, rows[i].wanted ? -EINVAL : GS_EBADARG);
        assert_int_equal(o.name, 77);
        const char *detail = gs_error_detail(e);
        assert_non_null(strstr(detail, rows[i].name));
        if (rows[i].wanted && !strstr(detail, rows[i].wanted))
            fail_msg("%s %s: %s", rows[i].name, rows[i].text, detail);
    }
}

static void parsing_without_memory_is_enomem(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"ip", "::1"}, {"raw", "1,2,03"}, {"netns", "/x"}, {"pktoptions", "00"}};
    gs_opt o;
    for (size_t i = 0; i < 4; i++) {
        fault_fail_call(FAULT_malloc, 1, 1, ENOMEM);
        int e = gs_opt_parse(pairs[i][0], pairs[i][1], &o);
        assert_int_equal(fault_stop(), 1);
        assert_code(e, -ENOMEM);
    }
    fault_fail_call(FAULT_malloc, 1, 2, ENOMEM);
    const gs_opt *joined = gsi_opts_join(NULL, NULL), *all = gsi_opts_with_defaults(GS_LISTEN_DEFAULTS, NULL);
    assert_int_equal(fault_stop(), 2);
    assert_null(joined);
    assert_null(all);
}

static void what_has_no_text_is_badarg(void **state)
{
    (void)state;
    char buf[8] = "full";
    const gs_opt wrong[] = {with_int(GS_OPT_PACKET, 3), with_int(GS_OPT_NODELAY, 2), with_int(GS_OPT_FAMILY, 0),
                            {.name = GS_OPT_IP},        {.name = GS_OPT_END},        with_int(GS_OPT_TRANSPORT, 0)};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        buf[0] = 'x';
        assert_code(gs_opt_text(&wrong[i], buf, sizeof buf), GS_EBADARG);
        assert_int_equal(buf[0], '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(every_option_has_a_row),
        T(every_option_of_gen_tcp_is_known),
        T(what_takes_the_place_of_an_absent_option_is_told),
        T(numbers_outside_their_range_are_einval),
        T(active_is_a_word_or_a_count),
        T(packet_takes_the_types_of_streams_only),
        T(other_types_refuse_what_is_no_value),
        T(an_option_stands_only_where_its_row_says),
        T(unknown_numbers_are_einval_and_a_transports_own_pass),
        T(find_answers_the_last_of_a_name),
        T(join_copies_whatever_a_value_points_to),
        T(defaults_stand_in_front_and_are_copies),
        T(every_rows_text_reads_back),
        T(texts_that_are_no_values_name_what_is_wanted),
        T(parsing_without_memory_is_enomem),
        T(what_has_no_text_is_badarg),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
