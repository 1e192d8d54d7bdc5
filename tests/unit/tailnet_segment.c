/* Segmentation of what the TUN gives: each packet is byte for byte what a builder makes field by field; what no kernel makes
 * is refused. */
#include <errno.h>

#include "tailnet/stack/segment.h"
#include "tailnet_inner.h"

enum { MTU = 1280, GUARD = 64, SLOT = SEGMENT_FRONT + MTU + SEGMENT_BEHIND };

static uint8_t tun[SEGMENT_READ], payload[INNER_MAX], expected[INNER_MAX], slot[GUARD + SLOT + GUARD];

static size_t from_tun(const struct virtio_net_hdr *v, const struct inner *s, size_t n)
{
    memcpy(tun, v, sizeof *v);
    return SEGMENT_VNET + naive_tcp(s, tun + SEGMENT_VNET, payload, n, INNER_PSEUDO);
}

/* Writes the next packet between guards; nothing outside its slot's middle may change. */
static size_t next_guarded(struct segments *s)
{
    memset(slot, 0xa5, sizeof slot);
    size_t n = gsi_segments_next(s, slot + GUARD);
    size_t end = GUARD + gsi_segment_slot(n) - SEGMENT_BEHIND;
    if (n) {
        for (size_t i = 0; i < GUARD + SEGMENT_FRONT; i++)
            assert_int_equal(slot[i], 0xa5);
        for (size_t i = GUARD + SEGMENT_FRONT + n; i < end; i++)
            assert_int_equal(slot[i], 0);
    }
    for (size_t i = n ? end : 0; i < sizeof slot; i++)
        assert_int_equal(slot[i], 0xa5);
    return n;
}

static void assert_packet(size_t n, size_t expected_n)
{
    assert_int_equal(n, expected_n);
    assert_memory_equal(slot + GUARD + SEGMENT_FRONT, expected, n);
}

static void check_cut(struct inner s, size_t n, uint16_t size, size_t mtu)
{
    struct virtio_net_hdr v = tso_of(&s, size);
    if (s.flags & 128)
        v.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
    struct segments g;
    assert_ok(gsi_segments_init(&g, tun, from_tun(&v, &s, n), mtu));
    assert_int_equal(g.count, (n + size - 1) / size);
    uint8_t flags = s.flags;
    uint32_t seq = s.seq;
    unsigned count = 0;
    for (size_t at = 0; at < n; at += size, count++) {
        size_t bytes = n - at < size ? n - at : size;
        bool last = at + bytes == n;
        s.seq = seq + (uint32_t)at;
        s.flags = (uint8_t)(flags & (last ? 255 : 255 - 1 - 8) & (at ? 255 - 128 : 255));
        size_t e = naive_tcp(&s, expected, payload + at, bytes, 0);
        assert_true(last ? e <= g.size : e == g.size);
        assert_packet(next_guarded(&g), e);
        s.id++;
    }
    assert_int_equal(count, g.count);
    assert_int_equal(next_guarded(&g), 0);
    assert_int_equal(next_guarded(&g), 0);
}

static void every_segment_is_what_a_builder_makes(void **state)
{
    (void)state;
    struct rng r = {test_seed()};
    for (long k = 0; k < test_scale(3000, 30000); k++) {
        struct inner s;
        random_inner(&s, &r);
        if (rng_below(&r, 4) == 0)
            s.ip_options = (uint8_t)(s.v6 ? 8 * rng_below(&r, 5) : 4 * rng_below(&r, 11));
        static const uint8_t flags[] = {16, 24, 17, 25, 16 | 128, 24 | 128 | 64, 25 | 64};
        s.flags = flags[rng_below(&r, sizeof flags)];
        size_t headers = inner_headers(&s), most = INNER_MAX - headers;
        uint16_t size = (uint16_t)(1 + rng_below(&r, rng_below(&r, 8) ? MTU - headers : 40));
        size_t n = 1 + rng_below(&r, rng_below(&r, 4) ? 4000 : most), at = rng_below(&r, sizeof payload - n + 1);
        if (rng_below(&r, 16) == 0)
            n = most;
        if (size < 40 && n > 3000)
            n = 3000;
        pattern_fill(payload, n, (uint64_t)k, at);
        check_cut(s, n, size, MTU);
    }
}

static void sequence_numbers_and_ids_wrap(void **state)
{
    (void)state;
    struct rng r = {1};
    struct inner s;
    random_inner(&s, &r);
    s.v6 = false;
    s.seq = 0xfffffff0;
    s.id = 0xffff;
    check_cut(s, 5000, 1000, MTU);
}

static void one_segment_is_whole(void **state)
{
    (void)state;
    struct rng r = {2};
    for (int v6 = 0; v6 < 2; v6++) {
        struct inner s;
        random_inner(&s, &r);
        s.v6 = v6;
        s.flags = 16 | 8 | 1 | 128;
        check_cut(s, 1000, 1000, MTU);
        check_cut(s, 1, 1000, MTU);
        check_cut(s, 1001, 1000, MTU);
    }
}

static void a_packet_that_needs_a_checksum_gets_it(void **state)
{
    (void)state;
    struct rng r = {test_seed()};
    for (int k = 0; k < 4000; k++) {
        struct inner s;
        random_inner(&s, &r);
        s.tcp_options = 0;
        s.flags = (uint8_t)rng_next(&r);
        size_t n = rng_below(&r, 1200);
        pattern_fill(payload, n, (uint64_t)k, 0);
        bool udp = rng_below(&r, 2);
        struct virtio_net_hdr v = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = (uint16_t)inner_ip(&s),
                                   .csum_offset = udp ? 6 : 16};
        memcpy(tun, &v, sizeof v);
        size_t size = (udp ? naive_udp : naive_tcp)(&s, tun + SEGMENT_VNET, payload, n, INNER_PSEUDO);
        struct segments g;
        assert_ok(gsi_segments_init(&g, tun, SEGMENT_VNET + size, MTU));
        assert_int_equal(g.count, 1);
        assert_int_equal(g.size, size);
        assert_packet(next_guarded(&g), (udp ? naive_udp : naive_tcp)(&s, expected, payload, n, 0));
        assert_int_equal(next_guarded(&g), 0);
    }
}

/* RFC 768: a sum that comes out as 0 is sent as 0xffff. */
static void a_checksum_of_zero_is_written_as_ones(void **state)
{
    (void)state;
    struct rng r = {3};
    struct inner s;
    random_inner(&s, &r);
    uint8_t two[2] = {0, 0};
    size_t n = naive_udp(&s, expected, two, 2, 0), at = inner_ip(&s);
    uint16_t sum = (uint16_t)(expected[at + 6] << 8 | expected[at + 7]);
    be16(two, sum);
    struct virtio_net_hdr v = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = (uint16_t)at, .csum_offset = 6};
    memcpy(tun, &v, sizeof v);
    assert_int_equal(naive_udp(&s, tun + SEGMENT_VNET, two, 2, INNER_PSEUDO), n);
    struct segments g;
    assert_ok(gsi_segments_init(&g, tun, SEGMENT_VNET + n, MTU));
    assert_int_equal(next_guarded(&g), n);
    assert_int_equal(slot[GUARD + SEGMENT_FRONT + at + 6], 0xff);
    assert_int_equal(slot[GUARD + SEGMENT_FRONT + at + 7], 0xff);
}

static void a_finished_packet_passes_unchanged(void **state)
{
    (void)state;
    struct rng r = {4};
    for (int k = 0; k < 200; k++) {
        struct inner s;
        random_inner(&s, &r);
        struct virtio_net_hdr v = {.flags = VIRTIO_NET_HDR_F_DATA_VALID};
        memcpy(tun, &v, sizeof v);
        size_t n = naive_ip(&s, tun + SEGMENT_VNET, 58, rng_below(&r, 100));
        memcpy(expected, tun + SEGMENT_VNET, n = s.v6 ? 40u + tun[SEGMENT_VNET + 5] : tun[SEGMENT_VNET + 3]);
        struct segments g;
        assert_ok(gsi_segments_init(&g, tun, SEGMENT_VNET + n, MTU));
        assert_packet(next_guarded(&g), n);
    }
}

static void longer_than_the_mtu_is_told(void **state)
{
    (void)state;
    struct rng r = {5};
    struct segments g;
    for (int v6 = 0; v6 < 2; v6++) {
        struct inner s;
        random_inner(&s, &r);
        s.v6 = v6;
        uint16_t size = (uint16_t)(MTU - inner_headers(&s));
        struct virtio_net_hdr v = tso_of(&s, size);
        assert_ok(gsi_segments_init(&g, tun, from_tun(&v, &s, 4000), MTU));
        v.gso_size++;
        assert_code(gsi_segments_init(&g, tun, from_tun(&v, &s, 4000), MTU), -EMSGSIZE);
        assert_int_equal(gsi_segments_next(&g, slot), 0);
        v = (struct virtio_net_hdr){0};
        assert_ok(gsi_segments_init(&g, tun, from_tun(&v, &s, size), MTU));
        assert_code(gsi_segments_init(&g, tun, from_tun(&v, &s, size + 1u), MTU), -EMSGSIZE);
    }
}

static void refused(const struct virtio_net_hdr *v, size_t n, const char *what)
{
    struct segments g;
    memcpy(tun, v, sizeof *v);
    int e = gsi_segments_init(&g, tun, n, MTU);
    if (e != GS_EINVALID)
        fail_msg("%s: %s", what, gs_error_name(e));
    assert_int_equal(gsi_segments_next(&g, slot), 0);
}

static void what_no_kernel_makes_is_refused(void **state)
{
    (void)state;
    struct rng r = {6};
    for (int v6 = 0; v6 < 2; v6++) {
        struct inner s;
        random_inner(&s, &r);
        s.v6 = v6;
        struct virtio_net_hdr good = tso_of(&s, 1000), v = good;
        size_t n = from_tun(&v, &s, 3000);
        uint8_t *ip = tun + SEGMENT_VNET, *tcp = ip + inner_ip(&s), kept;
        struct segments g;
        assert_ok(gsi_segments_init(&g, tun, n, MTU));
        for (size_t cut = 0; cut < n; cut++)
            refused(&good, cut, "cut");
#define HEADER(change) (v = good, v.change, refused(&v, n, #change))
        HEADER(gso_size = 0);
        HEADER(gso_type = v6 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6);
        HEADER(gso_type = VIRTIO_NET_HDR_GSO_UDP);
        HEADER(gso_type = 5);
        HEADER(gso_type = VIRTIO_NET_HDR_GSO_ECN);
        HEADER(gso_type = 0x7f);
        HEADER(flags = 0);
        HEADER(csum_start = 0);
        HEADER(csum_start = 0xffff);
        HEADER(csum_start--);
        HEADER(csum_start++);
        HEADER(csum_offset = 0);
        HEADER(csum_offset = 15);
        HEADER(csum_offset = 0xffff);
#undef HEADER
#define BYTE(at, value) (kept = (at), (at) = (uint8_t)(value), refused(&good, n, #at " = " #value), (at) = kept)
        for (int version = 0; version < 16; version++)
            if (version != (v6 ? 6 : 4))
                BYTE(ip[0], version << 4 | (ip[0] & 15));
        BYTE(ip[v6 ? 6 : 9], 17);
        BYTE(ip[v6 ? 5 : 3], kept + 1);
        BYTE(ip[v6 ? 5 : 3], kept - 1);
        BYTE(ip[v6 ? 4 : 2], 255);
        BYTE(ip[v6 ? 4 : 2], 0);
        for (int words = 0; words < 5; words++)
            BYTE(tcp[12], words << 4);
        BYTE(tcp[13], 2);
        BYTE(tcp[13], 16 + 4);
        BYTE(tcp[13], 16 + 32);
        if (!v6) {
            for (int words = 0; words < 5; words++)
                BYTE(ip[0], 0x40 + words);
            BYTE(ip[6], 0x20);
            BYTE(ip[7], 1);
        }
#undef BYTE
        s.flags = 16;
        size_t bare = from_tun(&good, &s, 0);
        refused(&good, bare, "no payload");
        tcp[12] = 15 << 4;
        if (s.tcp_options < 40)
            refused(&good, bare, "a TCP header beyond the end");
    }
}

static void a_checksum_outside_the_packet_is_refused(void **state)
{
    (void)state;
    struct rng r = {7};
    struct inner s;
    random_inner(&s, &r);
    s.v6 = false;
    struct virtio_net_hdr v = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 6};
    memcpy(tun, &v, sizeof v);
    size_t n = SEGMENT_VNET + naive_udp(&s, tun + SEGMENT_VNET, payload, 10, INNER_PSEUDO);
    struct segments g;
    assert_ok(gsi_segments_init(&g, tun, n, MTU));
    static const struct { uint16_t start, offset; } bad[] = {
        {0, 6}, {19, 6}, {20, 17}, {20, 18}, {20, 0xffff}, {20, 0xfffe},
        {37, 0}, {38, 0}, {39, 0}, {0xffff, 0xffff}, {0xffff, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        v.csum_start = bad[i].start;
        v.csum_offset = bad[i].offset;
        refused(&v, n, "checksum outside");
    }
    v.csum_start = 36;
    v.csum_offset = 0;
    memcpy(tun, &v, sizeof v);
    assert_ok(gsi_segments_init(&g, tun, n, MTU));
}

static void extension_headers_are_walked_within_the_packet(void **state)
{
    (void)state;
    struct rng r = {8};
    struct inner s;
    random_inner(&s, &r);
    s.v6 = true;
    s.ip_options = 16;
    check_cut(s, 3000, 1000, MTU);
    struct virtio_net_hdr v = tso_of(&s, 1000);
    size_t n = from_tun(&v, &s, 3000);
    uint8_t *ip = tun + SEGMENT_VNET;
    ip[41] = 255; /* ends inside the payload, where no TCP header is */
    refused(&v, n, "length");
    ip[41] = 1;
    ip[40] = 60; /* another one, its length from the ports */
    refused(&v, n, "chain");
    ip[40] = 43;
    refused(&v, n, "routing header");
    ip[40] = 44;
    refused(&v, n, "fragment header");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_segment_is_what_a_builder_makes),
        cmocka_unit_test(sequence_numbers_and_ids_wrap),
        cmocka_unit_test(one_segment_is_whole),
        cmocka_unit_test(a_packet_that_needs_a_checksum_gets_it),
        cmocka_unit_test(a_checksum_of_zero_is_written_as_ones),
        cmocka_unit_test(a_finished_packet_passes_unchanged),
        cmocka_unit_test(longer_than_the_mtu_is_told),
        cmocka_unit_test(what_no_kernel_makes_is_refused),
        cmocka_unit_test(a_checksum_outside_the_packet_is_refused),
        cmocka_unit_test(extension_headers_are_walked_within_the_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
