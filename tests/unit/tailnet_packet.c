/* Inner packets: what is one, and what is none at each length field, fragment and extension header. */
#include "tailnet_packet_test.h"

static void refused(const uint8_t *in, size_t n)
{
    struct packet p;
    assert_code(parse(in, n, &p), GS_EINVALID);
}

static void a_packet_tells_its_fields_in_both_families(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    char text[ENDPOINT_TEXT];
    size_t n = v4(b, 8, 6, 30);
    tcp(b + 28, 0x12);
    b[28 + 12] = 0x60;
    assert_ok(parse(b, n + 13, &p)); /* 13 of padding */
    assert_int_equal(p.version, 4);
    assert_int_equal(p.length, n);
    assert_int_equal(p.header, 28);
    assert_int_equal(p.payload, 28 + 24);
    assert_int_equal(p.src_port, 40000);
    assert_int_equal(p.dst_port, 80);
    assert_int_equal(p.tcp_flags, PACKET_SYN | PACKET_ACK);
    assert_false(gsi_packet_is_syn(&p));
    assert_string_equal(gsi_ip_text(&p.src, text), "100.64.0.1");
    assert_string_equal(gsi_ip_text(&p.dst, text), "100.64.0.2");
    n = v6(b, 17, 20);
    put16(b + 40, 5);
    put16(b + 42, 53);
    put16(b + 44, 20);
    assert_ok(parse(b, n, &p));
    assert_int_equal(p.version, 6);
    assert_int_equal(p.protocol, PROTOCOL_UDP);
    assert_int_equal(p.src_port, 5);
    assert_int_equal(p.dst_port, 53);
    assert_int_equal(p.header, 40);
    assert_int_equal(p.payload, 48);
    assert_string_equal(gsi_ip_text(&p.dst, text), "fd7a:115c:a1e0::2");
    n = v6(b, 58, 8);
    b[40] = 129;
    assert_ok(parse(b, n, &p));
    assert_true(gsi_packet_is_echo_reply(&p) && !gsi_packet_is_icmp_error(&p) && !gsi_packet_is_echo_request(&p));
    /* ICMP of the other family is a protocol without ports */
    n = v6(b, 1, 1);
    assert_ok(parse(b, n, &p));
    assert_false(gsi_packet_is_icmp(&p));
}

/* The shortest whole packet of a protocol passes, and each cut of it is refused, with its length told rightly or not. */
static void each_protocol_has_a_shortest_packet(void **state)
{
    (void)state;
    static const struct {
        uint8_t protocol;
        size_t least;
    } rows[] = {{6, 20}, {17, 8}, {132, 12}, {1, 8}, {58, 8}, {99, 7}, {47, 0}, {59, 0}, {255, 0}};
    uint8_t b[ROOM];
    struct packet p;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int family = 4; family <= 6; family += 2)
            for (size_t body = 0; body <= 24; body++) {
                size_t n = family == 4 ? v4(b, 0, rows[i].protocol, body) : v6(b, rows[i].protocol, body), header = n - body;
                bool other = rows[i].protocol == (family == 4 ? 58 : 1);
                b[header + 12] = 0x50;
                if (rows[i].protocol == 17)
                    b[header + 5] = 8;
                if (other || body >= rows[i].least)
                    assert_ok(parse(b, n, &p));
                else
                    refused(b, n);
                for (size_t cut = 0; cut < n; cut++)
                    refused(b, cut);
            }
    for (unsigned version = 0; version < 16; version++) {
        size_t n = v4(b, 0, 47, 40);
        b[0] = (uint8_t)(version << 4 | 5);
        if (version != 4 && version != 6)
            refused(b, n);
    }
}

static void every_length_field_is_held_to_the_packet(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    for (unsigned total = 0; total <= 0xffff; total += total < 80 || total > 0xff00 ? 1 : 251) {
        size_t n = v4(b, 0, 6, 40);
        tcp(b + 20, 2);
        put16(b + 2, total);
        if (total >= 40 && total <= n) {
            assert_ok(parse(b, n, &p));
            assert_int_equal(p.length, total);
        } else {
            refused(b, n);
        }
        n = v6(b, 6, 40);
        tcp(b + 40, 2);
        put16(b + 4, total);
        if (total >= 20 && total <= 40)
            assert_ok(parse(b, n, &p));
        else
            refused(b, n);
        n = v4(b, 0, 17, 40);
        put16(b + 24, total);
        if (total >= 8 && total <= 40)
            assert_ok(parse(b, n, &p));
        else
            refused(b, n);
    }
    for (unsigned words = 0; words < 16; words++) {
        /* IHL, with the transport where it says */
        size_t n = v4(b, 0, 6, 60);
        b[0] = (uint8_t)(0x40 | words);
        if (words >= 5)
            tcp(b + words * 4, 2);
        if (words >= 5 && words * 4 + 20 <= n)
            assert_ok(parse(b, n, &p));
        else
            refused(b, n);
        /* TCP's data offset */
        n = v4(b, 0, 6, 30);
        tcp(b + 20, 2);
        b[32] = (uint8_t)(words << 4);
        if (words >= 5 && words * 4 <= 30)
            assert_ok(parse(b, n, &p));
        else
            refused(b, n);
    }
    /* the largest of each */
    static uint8_t big[40 + 65535];
    v4(big, 0, 47, 65515);
    put16(big + 2, 65535);
    assert_ok(parse(big, 65535, &p));
    v6(big, 47, 65535);
    assert_ok(parse(big, sizeof big, &p));
    assert_int_equal(p.length, 65575);
}

static void fragments_are_told_apart_and_may_not_hide_a_header(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    for (unsigned offset = 0; offset < 0x2000; offset++)
        for (unsigned more = 0; more < 2; more++) {
            size_t n = v4(b, 0, 6, 20);
            tcp(b + 20, 2);
            put16(b + 6, offset | more << 13);
            bool fits = offset * 8 + 20 <= 65535;
            if (offset && (offset < PACKET_FRAGMENT_LEAST || !fits)) {
                refused(b, n);
            } else {
                assert_ok(parse(b, n, &p));
                assert_int_equal(p.later_fragment, offset > 0);
                assert_int_equal(p.first_fragment, !offset && more);
                assert_int_equal(p.dst_port, offset ? 0 : 80);
                assert_int_equal(gsi_packet_is_syn(&p), !offset);
            }
            n = v6(b, 44, 28);
            b[40] = 6;
            put16(b + 42, offset << 3 | more);
            tcp(b + 48, 2);
            if (offset && (offset < PACKET_FRAGMENT_LEAST || !fits)) {
                refused(b, n);
            } else {
                assert_ok(parse(b, n, &p));
                assert_int_equal(p.later_fragment, offset > 0);
                assert_int_equal(p.first_fragment, !offset && more);
                assert_int_equal(p.header, 48);
            }
        }
    /* a first fragment without its whole transport header is junk */
    for (size_t body = 0; body < 20; body++) {
        size_t n = v4(b, 0, 6, body);
        put16(b + 6, 0x2000);
        b[32] = 0x50;
        refused(b, n);
    }
    /* UDP tells the length of the whole, TSMP does not come in parts */
    size_t n = v4(b, 0, 17, 16);
    put16(b + 6, 0x2000);
    put16(b + 24, 4000);
    assert_ok(parse(b, n, &p));
    n = v4(b, 0, 99, 16);
    put16(b + 6, 0x2000);
    refused(b, n);
    put16(b + 6, 20);
    refused(b, n);
    put16(b + 6, 0x4000);
    assert_ok(parse(b, n, &p));
}

/* Each header is 8 bytes, the types in order; TCP behind them. */
static size_t chain(uint8_t *b, const uint8_t *types, size_t count)
{
    size_t n = v6(b, count ? types[0] : 6, count * 8 + 20);
    for (size_t i = 0; i < count; i++)
        b[40 + i * 8] = i + 1 < count ? types[i + 1] : 6;
    tcp(b + 40 + count * 8, 2);
    return n;
}

static void extension_headers_are_followed_within_bounds(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    static const struct {
        uint8_t types[6];
        size_t count;
        bool good;
    } rows[] = {
        {{0}, 0, true}, {{0}, 1, true}, {{60}, 1, true}, {{43}, 1, true}, {{44}, 1, true}, {{0, 60, 43, 60}, 4, true},
        {{0, 60, 43, 44}, 4, true},
        {{60, 60, 60, 60, 60}, 5, false}, {{60, 0}, 2, false}, {{0, 0}, 2, false}, {{44, 60}, 2, false}, {{44, 44}, 2, false},
        {{44, 0}, 2, false}, {{44, 43}, 2, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = chain(b, rows[i].types, rows[i].count);
        if (!rows[i].good) {
            refused(b, n);
            continue;
        }
        assert_ok(parse(b, n, &p));
        assert_int_equal(p.protocol, PROTOCOL_TCP);
        assert_int_equal(p.header, 40 + rows[i].count * 8);
        assert_int_equal(p.dst_port, 80);
        for (size_t cut = 0; cut < n; cut++) {
            put16(b + 4, (unsigned)(cut > 40 ? cut - 40 : 0));
            refused(b, cut);
        }
    }
    /* an extension's own length */
    for (unsigned units = 0; units < 256; units++) {
        size_t n = v6(b, 60, 100);
        b[40] = 47;
        b[41] = (uint8_t)units;
        if ((units + 1) * 8 <= 100) {
            assert_ok(parse(b, n, &p));
            assert_int_equal(p.header, 40 + (units + 1) * 8);
        } else {
            refused(b, n);
        }
    }
    /* a route not yet at its end would go to another destination */
    size_t n = chain(b, (const uint8_t[]){43}, 1);
    b[43] = 1;
    refused(b, n);
}

static void ipv4_written_as_ipv6_is_nobody(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    for (int at = 8; at <= 24; at += 16) {
        size_t n = v6(b, 47, 0);
        memcpy(b + at, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x64\x40\0\1", 16);
        refused(b, n);
        b[at + 9] = 1;
        assert_ok(parse(b, n, &p));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_tells_its_fields_in_both_families),
        cmocka_unit_test(each_protocol_has_a_shortest_packet),
        cmocka_unit_test(every_length_field_is_held_to_the_packet),
        cmocka_unit_test(fragments_are_told_apart_and_may_not_hide_a_header),
        cmocka_unit_test(extension_headers_are_followed_within_bounds),
        cmocka_unit_test(ipv4_written_as_ipv6_is_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
