/* Inner packets: what is one and what is none, checksums against a naive sum, TSMP by its vector, and the stamp on a SYN, on to what the
 * kernel saves of it (on loopback). */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hex.h"
#include "support.h"
#include "tailnet/packet/packet.h"

enum { ROOM = 512 };

static void put16(uint8_t *p, unsigned v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }

/* A header and n bytes behind it, addresses 100.64.0.1 -> 100.64.0.2 and fd7a:115c:a1e0::1 -> ::2; the length. */
static size_t v4(uint8_t *out, unsigned options, uint8_t protocol, size_t n)
{
    size_t header = 20 + options;
    memset(out, 0, ROOM);
    out[0] = (uint8_t)(0x40 | header / 4);
    put16(out + 2, (unsigned)(header + n));
    out[8] = 64;
    out[9] = protocol;
    memcpy(out + 12, "\x64\x40\0\1\x64\x40\0\2", 8);
    return header + n;
}

static size_t v6(uint8_t *out, uint8_t next, size_t n)
{
    memset(out, 0, ROOM);
    out[0] = 0x60;
    put16(out + 4, (unsigned)n);
    out[6] = next;
    out[7] = 64;
    memcpy(out + 8, "\xfd\x7a\x11\x5c\xa1\xe0", 6);
    memcpy(out + 24, "\xfd\x7a\x11\x5c\xa1\xe0", 6);
    out[23] = 1;
    out[39] = 2;
    return 40 + n;
}

static void tcp(uint8_t *t, uint8_t flags)
{
    put16(t, 40000);
    put16(t + 2, 80);
    t[12] = 0x50;
    t[13] = flags;
}

/* In an allocation of exactly n bytes: a read beyond is seen. */
static int parse(const uint8_t *in, size_t n, struct packet *p)
{
    uint8_t *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    if (n)
        memcpy(exact, in, n);
    memset(p, 0xee, sizeof *p);
    int e = gsi_packet_parse(exact, n, p);
    struct packet none = {0};
    if (e < 0)
        assert_memory_equal(p, &none, sizeof none);
    free(exact);
    return e;
}

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
        {{0}, 0, true}, {{0}, 1, true}, {{60}, 1, true}, {{43}, 1, true}, {{44}, 1, true}, {{0, 60, 43, 60}, 4, true}, {{0, 60, 43, 44}, 4, true},
        {{60, 60, 60, 60, 60}, 5, false}, {{60, 0}, 2, false}, {{0, 0}, 2, false}, {{44, 60}, 2, false}, {{44, 44}, 2, false}, {{44, 0}, 2, false}, {{44, 43}, 2, false},
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

/* ---- checksums ---- */

static unsigned naive_sum(const uint8_t *p, size_t n, unsigned long sum)
{
    for (size_t i = 0; i < n; i++)
        sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
    while (sum > 0xffff)
        sum = sum % 0x10000 + sum / 0x10000;
    return (unsigned)sum;
}

static void sums_are_those_of_a_naive_one(void **state)
{
    (void)state;
    struct rng r = {test_seed()};
    static uint8_t b[2048];
    for (int i = 0; i < 20000; i++) {
        size_t n = rng_below(&r, 1500), at = rng_below(&r, 8);
        uint16_t before = (uint16_t)rng_below(&r, 0x10000);
        pattern_fill(b, sizeof b, rng_next(&r), 0);
        if (rng_below(&r, 4) == 0)
            memset(b, rng_below(&r, 2) ? 0xff : 0, sizeof b);
        assert_int_equal(gsi_checksum_add(before, b + at, n), naive_sum(b + at, n, before));
        /* one word becomes another */
        uint16_t checksum = (uint16_t)~naive_sum(b, 40, 0), old = (uint16_t)(b[6] << 8 | b[7]), new = (uint16_t)rng_below(&r, 0x10000);
        put16(b + 6, new);
        checksum = gsi_checksum_update(checksum, old, new);
        assert_int_equal(naive_sum(b, 40, checksum), 0xffff);
    }
}

static void checksums_set_are_good_and_each_flipped_bit_is_seen(void **state)
{
    (void)state;
    static const uint8_t protocols[] = {6, 17, 1, 58};
    uint8_t b[ROOM];
    struct packet p;
    for (size_t i = 0; i < sizeof protocols; i++)
        for (int family = 4; family <= 6; family += 2)
            for (size_t body = 21; body < 64; body++) {
                size_t n = family == 4 ? v4(b, 4, protocols[i], body) : v6(b, protocols[i], body), header = n - body;
                pattern_fill(b + header, body, body, 0);
                b[header + 12] = 0x50;
                if (protocols[i] == 17)
                    put16(b + header + 4, (unsigned)body);
                bool covered = protocols[i] != (family == 4 ? 58 : 1);
                assert_ok(parse(b, n, &p));
                gsi_packet_checksums_set(b, &p);
                assert_true(gsi_packet_checksums_good(b, &p));
                for (size_t bit = 0; bit < n * 8; bit++) {
                    size_t at = bit / 8;
                    struct packet q;
                    b[at] ^= (uint8_t)(1 << bit % 8);
                    bool seen = at >= header ? covered : family == 4 || at >= 8;
                    /* what is still such a packet */
                    if (seen && covered && parse(b, n, &q) == 0 && q.length == n && q.header == header && q.protocol == p.protocol && !q.first_fragment)
                        assert_false(gsi_packet_checksums_good(b, &q));
                    b[at] ^= (uint8_t)(1 << bit % 8);
                }
            }
}

static void a_udp_checksum_of_zero_is_none_in_ipv4_alone(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    size_t n = v4(b, 0, 17, 8);
    put16(b + 24, 8);
    assert_ok(parse(b, n, &p));
    gsi_packet_checksums_set(b, &p);
    put16(b + 26, 0);
    assert_true(gsi_packet_checksums_good(b, &p));
    n = v6(b, 17, 10);
    put16(b + 44, 10);
    assert_ok(parse(b, n, &p));
    assert_false(gsi_packet_checksums_good(b, &p));
    /* one that comes out as zero is sent as all ones */
    gsi_packet_checksums_set(b, &p);
    put16(b + 48, (unsigned)b[46] << 8 | b[47]);
    gsi_packet_checksums_set(b, &p);
    assert_int_equal(b[46] << 8 | b[47], 0xffff);
    assert_true(gsi_packet_checksums_good(b, &p));
}

/* What the kernel, or a device, does with it later: sums from start on and puts the complement at start + offset. */
static void a_partial_checksum_becomes_the_whole_one(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    for (int protocol = 6; protocol <= 17; protocol += 11)
        for (int family = 4; family <= 6; family += 2) {
            size_t n = family == 4 ? v4(b, 0, (uint8_t)protocol, 33) : v6(b, (uint8_t)protocol, 33);
            uint16_t start = 0, offset = 0;
            tcp(b + n - 33, 0x10);
            if (protocol == 17)
                put16(b + n - 33 + 4, 33);
            assert_ok(parse(b, n, &p));
            gsi_packet_checksums_set(b, &p);
            assert_true(gsi_packet_checksum_partial(b, &p, &start, &offset));
            assert_int_equal(start, n - 33);
            assert_int_equal(offset, protocol == 6 ? 16 : 6);
            put16(b + start + offset, (uint16_t)~naive_sum(b + start, n - start, 0));
            assert_true(gsi_packet_checksums_good(b, &p));
        }
    uint16_t start, offset;
    assert_ok(parse(b, v4(b, 0, 1, 8), &p));
    assert_false(gsi_packet_checksum_partial(b, &p, &start, &offset));
}

/* ---- TSMP ---- */

static void tsmp_is_built_as_its_vector_and_read_back(void **state)
{
    (void)state;
    /* tailnet-protocol.md A.6 */
    static const char *const own[] = {"100.64.0.1", "fd7a::1"}, *const peer[] = {"100.64.0.2", "fd7a::2"};
    uint8_t out[TSMP_PACKET_MAX], key[TSMP_KEY_LEN], b[ROOM];
    struct packet p;
    struct tsmp t;
    HEX(expected, "45000035000000004063b1e36440000164400002615869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b");
    memcpy(key, expected + 21, sizeof key);
    for (int i = 0; i < 2; i++) {
        struct ip a, c;
        assert_ok(gsi_ip_parse(own[i], strlen(own[i]), &a));
        assert_ok(gsi_ip_parse(peer[i], strlen(peer[i]), &c));
        size_t n = gsi_tsmp_advert(out, &a, &c, key);
        if (i == 0) {
            assert_int_equal(n, sizeof expected);
            assert_memory_equal(out, expected, n);
        }
        assert_ok(parse(out, n, &p));
        assert_ok(gsi_tsmp_parse(out, &p, &t));
        assert_int_equal(t.type, TSMP_ADVERT);
        assert_memory_equal(t.key, key, sizeof key);

        n = gsi_tsmp_ping(out, &a, &c, (const uint8_t *)"01234567");
        assert_ok(parse(out, n, &p));
        assert_ok(gsi_tsmp_parse(out, &p, &t));
        assert_int_equal(t.type, TSMP_PING);
        assert_memory_equal(t.data, "01234567", 8);
        n = gsi_tsmp_pong(out, &p, t.data, 1234);
        assert_ok(parse(out, n, &p));
        assert_true(gsi_packet_checksums_good(out, &p) && gsi_ip_equal(&p.src, &c) && gsi_ip_equal(&p.dst, &a));
        assert_ok(gsi_tsmp_parse(out, &p, &t));
        assert_int_equal(t.type, TSMP_PONG);
        assert_int_equal(t.peerapi_port, 1234);
        assert_memory_equal(t.data, "01234567", 8);

        /* a SYN from c to a is refused by a; c learns which of its flows that was */
        n = i == 0 ? v4(b, 0, 6, 20) : v6(b, 6, 20);
        tcp(b + n - 20, 2);
        assert_ok(parse(b, n, &p));
        n = gsi_tsmp_reject(out, &p, TSMP_ACL);
        struct packet syn = p;
        assert_ok(parse(out, n, &p));
        assert_ok(gsi_tsmp_parse(out, &p, &t));
        assert_int_equal(t.type, TSMP_REJECT);
        assert_int_equal(t.protocol, 6);
        assert_int_equal(t.reason, 'A');
        assert_int_equal(t.own.port, 40000);
        assert_int_equal(t.peer.port, 80);
        assert_true(gsi_ip_equal(&t.own.ip, &syn.src) && gsi_ip_equal(&t.peer.ip, &syn.dst) && !t.maybe_broken);
    }
    struct ip a = gsi_ip_of_v4((const uint8_t[]){1, 2, 3, 4}), c = {{1}};
    assert_int_equal(gsi_tsmp_ping(out, &a, &c, key), 0);
    assert_int_equal(gsi_tsmp_advert(out, &c, &a, key), 0);
}

static void tsmp_cut_or_unknown_is_nothing(void **state)
{
    (void)state;
    static const struct {
        char type;
        size_t least;
    } rows[] = {{'!', 7}, {'p', 9}, {'o', 9}, {'a', 33}, {'x', 1000}, {0, 1000}};
    uint8_t b[ROOM];
    struct packet p;
    struct tsmp t = {.type = 0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t n = 7; n < 48; n++) {
            size_t whole = v4(b, 0, 99, n);
            b[20] = (uint8_t)rows[i].type;
            memset(b + 21, 1, n - 1);
            assert_ok(parse(b, whole, &p));
            int e = gsi_tsmp_parse(b, &p, &t);
            if (n < rows[i].least)
                assert_code(e, GS_EINVALID);
            else
                assert_ok(e);
            if (rows[i].type == '!' && e == 0)
                assert_int_equal(t.maybe_broken, n > 7);
            if (rows[i].type == 'o' && e == 0)
                assert_int_equal(t.peerapi_port, n >= 11 ? 0x101 : 0);
        }
    assert_ok(parse(b, v4(b, 0, 47, 40), &p));
    assert_code(gsi_tsmp_parse(b, &p, &t), GS_EINVALID);
}

/* ---- the stamp ---- */

static void a_stamp_is_read_back_and_changes_nothing_else(void **state)
{
    (void)state;
    struct rng r = {test_seed()};
    uint8_t b[ROOM], before[ROOM];
    struct packet p;
    for (int i = 0; i < 20000; i++) {
        bool four = i % 2;
        size_t n = four ? v4(b, (unsigned)rng_below(&r, 11) * 4, 6, 40) : v6(b, 6, 40);
        uint32_t most = four ? PACKET_STAMP_MAX_V4 : PACKET_STAMP_MAX_V6, index = i < 4 ? (i < 2 ? 0 : most) : (uint32_t)rng_below(&r, most + 1), got = ~0U;
        tcp(b + n - 40, PACKET_SYN);
        b[1] |= (uint8_t)(rng_next(&r) & 0xfe); /* service, or class and label */
        put16(b + (four ? 4 : 2), (unsigned)rng_below(&r, 0x10000));
        if (four)
            put16(b + 6, 0x4000);
        assert_ok(parse(b, n, &p));
        gsi_packet_checksums_set(b, &p);
        memcpy(before, b, n);
        assert_ok(gsi_packet_stamp(b, &p, index));
        assert_true(gsi_packet_checksums_good(b, &p));
        assert_ok(gsi_packet_stamp_read(b, n, &got));
        assert_int_equal(got, index);
        size_t from = four ? 4 : 1, to = four ? 6 : 4;
        if (!four) {
            assert_int_equal(b[1] & 0xf0, before[1] & 0xf0);
        } else {
            memcpy(before + 10, b + 10, 2);
        }
        memcpy(before + from, b + from, to - from);
        assert_memory_equal(b, before, n);
        assert_code(gsi_packet_stamp(b, &p, most + 1), GS_EINVALID);
    }
}

static void only_a_whole_syn_takes_a_stamp(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    uint32_t index;
    size_t n = v4(b, 0, 6, 20);
    for (unsigned flags = 0; flags < 256; flags++) {
        tcp(b + 20, (uint8_t)flags);
        assert_ok(parse(b, n, &p));
        if ((flags & 0x12) == 2)
            assert_ok(gsi_packet_stamp(b, &p, 1));
        else
            assert_code(gsi_packet_stamp(b, &p, 1), GS_EINVALID);
    }
    tcp(b + 20, 2);
    put16(b + 6, 0x2000);
    assert_ok(parse(b, n, &p));
    assert_code(gsi_packet_stamp(b, &p, 1), GS_EINVALID);
    n = v4(b, 0, 17, 20);
    put16(b + 24, 20);
    assert_ok(parse(b, n, &p));
    assert_code(gsi_packet_stamp(b, &p, 1), GS_EINVALID);
    /* no SYN was saved, or no such header */
    assert_code(gsi_packet_stamp_read(b, 0, &index), GS_EINVALID);
    assert_code(gsi_packet_stamp_read(b, n, &index), GS_EINVALID); /* UDP */
    n = v4(b, 0, 6, 20);
    assert_code(gsi_packet_stamp_read(b, n - 1, &index), GS_EINVALID);
    assert_ok(gsi_packet_stamp_read(b, n, &index));
    n = v6(b, 6, 20);
    assert_code(gsi_packet_stamp_read(b, n - 1, &index), GS_EINVALID);
    assert_ok(gsi_packet_stamp_read(b, n, &index));
    b[0] = 0x50;
    assert_code(gsi_packet_stamp_read(b, n, &index), GS_EINVALID);
}

/* The kernel saves IP and TCP header, from the IP header's first byte on: where the stamp is looked for. */
static void the_kernel_saves_the_headers_of_a_syn(void **state)
{
    (void)state;
    enum { SAVE_SYN = 27, SAVED_SYN = 28 };
    int ran = 0;
    for (int four = 1; four >= 0; four--) {
        struct sockaddr_storage at = {0}, from;
        struct endpoint e = {.ip = four ? gsi_ip_of_v4((const uint8_t[]){127, 0, 0, 1}) : (struct ip){.b = {[15] = 1}}}, client;
        socklen_t len = gsi_endpoint_to_sockaddr(&e, &at), from_len = sizeof from;
        uint8_t saved[256];
        socklen_t n = sizeof saved;
        int l = socket(at.ss_family, SOCK_STREAM, 0), one = 1;
        assert_true(l >= 0);
        if (bind(l, (struct sockaddr *)&at, len) < 0) { /* a machine without ::1 */
            close(l);
            continue;
        }
        assert_int_equal(setsockopt(l, IPPROTO_TCP, SAVE_SYN, &one, sizeof one), 0);
        assert_int_equal(listen(l, 1), 0);
        assert_int_equal(getsockname(l, (struct sockaddr *)&at, &len), 0);
        int c = socket(at.ss_family, SOCK_STREAM, 0);
        assert_int_equal(connect(c, (struct sockaddr *)&at, len), 0);
        int a = accept(l, (struct sockaddr *)&from, &from_len);
        assert_true(a >= 0);
        assert_int_equal(getsockopt(a, IPPROTO_TCP, SAVED_SYN, saved, &n), 0);
        assert_ok(gsi_endpoint_of_sockaddr(&from, &client));
        print_message("# TCP_SAVED_SYN: %u bytes of IPv%u\n", (unsigned)n, saved[0] >> 4);
        struct packet p;
        uint32_t index;
        assert_ok(gsi_packet_parse(saved, n, &p));
        assert_true(gsi_packet_is_syn(&p));
        assert_int_equal(p.version, four ? 4 : 6);
        assert_int_equal(p.length, n);
        assert_int_equal(p.payload, n);
        assert_int_equal(p.src_port, client.port);
        assert_true(gsi_ip_equal(&p.src, &client.ip));
        assert_ok(gsi_packet_stamp(saved, &p, 4242));
        assert_ok(gsi_packet_stamp_read(saved, n, &index));
        assert_int_equal(index, 4242);
        /* once */
        n = sizeof saved;
        assert_int_equal(getsockopt(a, IPPROTO_TCP, SAVED_SYN, saved, &n), 0);
        assert_code(gsi_packet_stamp_read(saved, n, &index), GS_EINVALID);
        close(a);
        close(c);
        close(l);
        ran++;
    }
    assert_true(ran > 0);
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
        cmocka_unit_test(sums_are_those_of_a_naive_one),
        cmocka_unit_test(checksums_set_are_good_and_each_flipped_bit_is_seen),
        cmocka_unit_test(a_udp_checksum_of_zero_is_none_in_ipv4_alone),
        cmocka_unit_test(a_partial_checksum_becomes_the_whole_one),
        cmocka_unit_test(tsmp_is_built_as_its_vector_and_read_back),
        cmocka_unit_test(tsmp_cut_or_unknown_is_nothing),
        cmocka_unit_test(a_stamp_is_read_back_and_changes_nothing_else),
        cmocka_unit_test(only_a_whole_syn_takes_a_stamp),
        cmocka_unit_test(the_kernel_saves_the_headers_of_a_syn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
