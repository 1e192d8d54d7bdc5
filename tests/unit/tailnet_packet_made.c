/* What a node makes or mends itself: checksums against a naive sum, and TSMP by its vector. */
#include "hex.h"
#include "tailnet_packet_test.h"

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
        uint16_t checksum = (uint16_t)~naive_sum(b, 40, 0), old = (uint16_t)(b[6] << 8 | b[7]),
                 new = (uint16_t)rng_below(&r, 0x10000);
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
                if (covered) {
                    bool plain = protocols[i] == 1;
                    unsigned addresses = family == 4 ? naive_sum(b + 12, 8, 0) : naive_sum(b + 8, 32, 0);
                    assert_int_equal(naive_sum(b + header, body, plain ? 0 : addresses + protocols[i] + body), 0xffff);
                }
                for (size_t bit = 0; bit < n * 8; bit++) {
                    size_t at = bit / 8;
                    struct packet q;
                    b[at] ^= (uint8_t)(1 << bit % 8);
                    bool seen = at >= header ? covered : family == 4 || at >= 8;
                    /* what is still such a packet */
                    if (seen && covered && parse(b, n, &q) == 0 && q.length == n && q.header == header &&
                        q.protocol == p.protocol && !q.first_fragment)
                        assert_false(gsi_packet_checksums_good(b, &q));
                    b[at] ^= (uint8_t)(1 << bit % 8);
                }
            }
}

static void a_packet_of_others_has_a_good_checksum(void **state)
{
    (void)state;
    struct packet p;
    /* tailnet-protocol.md A.6. The echo in A.5 has none: wireguard-go made it for a test of its own */
    HEX(advert, "45000035000000004063b1e36440000164400002615869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b");
    assert_ok(parse(advert, sizeof advert, &p));
    assert_true(gsi_packet_checksums_good(advert, &p));
    advert[11] ^= 1;
    assert_false(gsi_packet_checksums_good(advert, &p));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_a_naive_one),
        cmocka_unit_test(checksums_set_are_good_and_each_flipped_bit_is_seen),
        cmocka_unit_test(a_packet_of_others_has_a_good_checksum),
        cmocka_unit_test(a_udp_checksum_of_zero_is_none_in_ipv4_alone),
        cmocka_unit_test(a_partial_checksum_becomes_the_whole_one),
        cmocka_unit_test(tsmp_is_built_as_its_vector_and_read_back),
        cmocka_unit_test(tsmp_cut_or_unknown_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
