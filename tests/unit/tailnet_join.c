/* Joining of inner packets: what segmentation cut comes back whole; nothing is lost, changed or put out of order; nothing
 * unverified is marked as verified. */
#include <errno.h>

#include "tailnet/stack/join.h"
#include "tailnet/stack/segment.h"
#include "tailnet_inner.h"

enum { MTU = 1280, SLOT = 1408, FLOWS = 24 };

static uint8_t payload[INNER_MAX], whole[INNER_MAX], expected[INNER_MAX];
static struct join join;

/* Copies what would be written; the length behind the virtio header. */
static size_t gather(const struct joined *out, struct virtio_net_hdr *v)
{
    size_t n = 0;
    assert_true(out->n >= 2);
    assert_int_equal(out->iov[0].iov_len, sizeof *v);
    memcpy(v, out->iov[0].iov_base, sizeof *v);
    for (int i = 1; i < out->n; i++) {
        assert_true(out->iov[i].iov_len > 0 && n + out->iov[i].iov_len <= sizeof whole);
        memcpy(whole + n, out->iov[i].iov_base, out->iov[i].iov_len);
        n += out->iov[i].iov_len;
    }
    return n;
}

static bool take(struct virtio_net_hdr *v, size_t *n)
{
    struct joined out;
    if (!gsi_join_next(&join, &out))
        return false;
    *n = gather(&out, v);
    return true;
}

static void assert_nothing(void)
{
    struct joined out;
    assert_false(gsi_join_next(&join, &out));
}

static void assert_alone(const uint8_t *packet, size_t n, uint8_t flags)
{
    struct virtio_net_hdr v, bare = {.flags = flags};
    size_t got;
    assert_true(take(&v, &got));
    assert_memory_equal(&v, &bare, sizeof v);
    assert_int_equal(got, n);
    assert_memory_equal(whole, packet, n);
}

static struct inner some_flow(uint64_t seed, bool v6)
{
    struct rng r = {seed};
    struct inner s;
    random_inner(&s, &r);
    s.v6 = v6;
    s.tcp_options = 12;
    return s;
}

static void segment_then_join_gives_the_original(void **state)
{
    (void)state;
    static uint8_t tun[SEGMENT_READ], slots[JOIN_PACKETS][SLOT];
    struct rng r = {test_seed()};
    gsi_join_init(&join);
    for (long k = 0; k < test_scale(2000, 20000); k++) {
        struct inner s;
        random_inner(&s, &r);
        s.flags = rng_below(&r, 2) ? 24 : 16;
        size_t headers = inner_headers(&s);
        uint16_t size = (uint16_t)(1 + rng_below(&r, MTU - headers));
        size_t most = size * (size_t)JOIN_PACKETS < INNER_MAX - headers ? size * (size_t)JOIN_PACKETS : INNER_MAX - headers;
        size_t n = 1 + rng_below(&r, most), len, used = 0;
        pattern_fill(payload, n, (uint64_t)k, 0);
        struct virtio_net_hdr v = tso_of(&s, size), got;
        memcpy(tun, &v, sizeof v);
        size_t total = naive_tcp(&s, tun + SEGMENT_VNET, payload, n, INNER_PSEUDO);
        struct segments g;
        assert_ok(gsi_segments_init(&g, tun, SEGMENT_VNET + total, MTU));
        while ((len = gsi_segments_next(&g, slots[used])) > 0) {
            assert_nothing();
            assert_ok(gsi_join_feed(&join, slots[used++] + SEGMENT_FRONT, len + rng_below(&r, 16)));
        }
        gsi_join_flush(&join);
        if (used == 1) {
            assert_alone(expected, naive_tcp(&s, expected, payload, n, 0), VIRTIO_NET_HDR_F_DATA_VALID);
        } else {
            assert_true(take(&got, &len));
            assert_int_equal(len, total);
            assert_memory_equal(whole, tun + SEGMENT_VNET, total);
            v.hdr_len = (uint16_t)headers;
            assert_memory_equal(&got, &v, sizeof v);
        }
        assert_nothing();
    }
}

/* ---- many flows against an oracle ---- */

/* What a flow has sent, packet by packet, and how much of it has come out. */
struct log {
    struct inner s;
    size_t sent, out; /* of packets */
    struct { uint32_t seq; uint16_t n; uint8_t flags; uint16_t window; bool broken; } packet[400];
    uint32_t next;
};

static size_t make(struct log *l, struct rng *r, uint8_t *p)
{
    struct inner s = l->s;
    static const uint16_t sizes[] = {0, 1, 500, 500, 500, 500, 500, 500, 1000};
    size_t n = sizes[rng_below(r, sizeof sizes / sizeof sizes[0])];
    s.seq = l->next;
    if (rng_below(r, 16) == 0)
        s.seq += 7;
    s.flags = rng_below(r, 8) ? 16 : (uint8_t)rng_below(r, 256);
    if (rng_below(r, 16) == 0)
        l->s.window++;
    s.window = l->s.window;
    l->next = s.seq + (uint32_t)n;
    pattern_fill(payload, n, s.seq, 0);
    size_t total = naive_tcp(&s, p, payload, n, 0);
    bool broken = rng_below(r, 16) == 0;
    if (broken)
        p[s.v6 ? 40 + 17 : 20 + 17] ^= 1;
    l->packet[l->sent].seq = s.seq;
    l->packet[l->sent].n = (uint16_t)n;
    l->packet[l->sent].flags = s.flags;
    l->packet[l->sent].window = s.window;
    l->packet[l->sent++].broken = broken;
    return total;
}

static struct log *log_of(struct log *logs, const uint8_t *p)
{
    for (int i = 0; i < FLOWS; i++) {
        struct log *l = &logs[i];
        bool v6 = p[0] >> 4 == 6;
        size_t ip = v6 ? 40 : 20;
        uint8_t ports[4];
        be16(ports, l->s.from);
        be16(ports + 2, l->s.to);
        if (l->s.v6 == v6 && memcmp(p + ip, ports, 4) == 0)
            return l;
    }
    fail_msg("a packet of no flow came out");
    return NULL;
}

/* One write: the packets of its flow that come next, all of it. Returns how many packets it was. */
static size_t check_write(struct log *logs, const struct virtio_net_hdr *v, size_t n)
{
    struct log *l = log_of(logs, whole);
    size_t first = l->out, headers = inner_headers(&l->s), bytes = n - headers, at = 0;
    assert_true(first < l->sent);
    struct inner s = l->s;
    s.seq = l->packet[first].seq;
    s.window = l->packet[first].window;
    s.flags = l->packet[first].flags;
    do {
        assert_true(l->out < l->sent);
        bool broken = l->packet[l->out].broken, joined = v->gso_type != 0;
        assert_false(broken && (joined || v->flags));
        if (joined) {
            bool plain = (l->packet[l->out].flags & ~8) == 16 && l->packet[l->out].n > 0;
            bool last = at + l->packet[l->out].n == bytes;
            assert_true(plain && l->packet[l->out].seq == s.seq + (uint32_t)at && l->packet[l->out].window == s.window);
            if (last)
                assert_true(l->packet[l->out].n <= v->gso_size);
            else
                assert_true(l->packet[l->out].n == v->gso_size && !(l->packet[l->out].flags & 8));
        }
        s.flags |= l->packet[l->out].flags & 8;
        pattern_fill(payload + at, l->packet[l->out].n, l->packet[l->out].seq, 0);
        at += l->packet[l->out++].n;
    } while (at < bytes);
    assert_int_equal(at, bytes);
    size_t e = naive_tcp(&s, expected, payload, bytes, v->gso_type != 0);
    if (l->packet[first].broken)
        expected[inner_ip(&s) + 17] ^= 1;
    assert_int_equal(n, e);
    assert_memory_equal(whole, expected, e);
    return l->out - first;
}

static void many_flows_come_out_whole_and_in_order(void **state)
{
    (void)state;
    static struct log logs[FLOWS];
    static uint8_t packets[400][SLOT];
    struct rng r = {test_seed()};
    size_t most = 0;
    gsi_join_init(&join);
    for (long round = 0; round < test_scale(100, 2000); round++) {
        memset(logs, 0, sizeof logs);
        for (int i = 0; i < FLOWS; i++) {
            logs[i].s = some_flow((uint64_t)round * FLOWS + (uint64_t)i, i % 2);
            logs[i].s.from = (uint16_t)i;
            logs[i].next = logs[i].s.seq;
        }
        size_t flows = 1 + rng_below(&r, FLOWS), in = 0, out = 0, n;
        struct virtio_net_hdr v;
        struct log *l = logs;
        for (int k = 0; k < 400; k++) {
            if (rng_below(&r, 4) == 0)
                l = &logs[rng_below(&r, flows)];
            size_t len = make(l, &r, packets[k]);
            assert_ok(gsi_join_feed(&join, packets[k], len));
            in++;
            while (take(&v, &n)) {
                size_t got = check_write(logs, &v, n);
                most = got > most ? got : most;
                out += got;
            }
        }
        gsi_join_flush(&join);
        while (take(&v, &n))
            out += check_write(logs, &v, n);
        assert_int_equal(in, out);
    }
    assert_true(most > 4);
}

/* ---- single rules ---- */

struct pair {
    uint8_t a[SLOT], b[SLOT], a_before[SLOT], b_before[SLOT];
    size_t an, bn;
};

static void feed_pair(struct pair *p, const struct inner *s, const struct inner *t, size_t bytes)
{
    pattern_fill(payload, sizeof payload, 1, 0);
    p->an = naive_tcp(s, p->a, payload, 100, 0);
    p->bn = naive_tcp(t, p->b, payload + 100, bytes, 0);
    memcpy(p->a_before, p->a, sizeof p->a);
    memcpy(p->b_before, p->b, sizeof p->b);
}

static void assert_not_joined(struct inner s, struct inner t, size_t bytes, bool verified)
{
    struct pair p;
    feed_pair(&p, &s, &t, bytes);
    gsi_join_init(&join);
    assert_ok(gsi_join_feed(&join, p.a, p.an));
    assert_nothing();
    assert_ok(gsi_join_feed(&join, p.b, p.bn));
    gsi_join_flush(&join);
    assert_alone(p.a_before, p.an, VIRTIO_NET_HDR_F_DATA_VALID);
    assert_alone(p.b_before, p.bn, verified ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
    assert_nothing();
}

static void assert_joined(struct inner s, struct inner t, size_t bytes)
{
    struct pair p;
    struct virtio_net_hdr v;
    size_t n;
    feed_pair(&p, &s, &t, bytes);
    gsi_join_init(&join);
    assert_ok(gsi_join_feed(&join, p.a, p.an));
    assert_ok(gsi_join_feed(&join, p.b, p.bn));
    gsi_join_flush(&join);
    assert_true(take(&v, &n));
    assert_int_equal(n, p.an + bytes);
    assert_nothing();
}

static void any_field_that_differs_ends_the_join(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct inner s = some_flow(11, v6), t = s, u;
        t.seq += 100;
        assert_joined(s, t, 100);
        assert_joined(s, t, 1);
        assert_not_joined(s, t, 101, true);
#define DIFFERS(change, verified) (u = t, u.change, assert_not_joined(s, u, 100, verified))
        DIFFERS(seq++, true);
        DIFFERS(seq--, true);
        DIFFERS(seq += 0x80000000u, true);
        DIFFERS(ack++, true);
        DIFFERS(window ^= 0x8000, true);
        DIFFERS(window ^= 1, true);
        DIFFERS(urgent = 1, true);
        DIFFERS(tos ^= 1, true);
        DIFFERS(tos ^= 0x80, true);
        DIFFERS(ttl ^= 1, true);
        DIFFERS(option[0] ^= 1, true);
        DIFFERS(option[11] ^= 1, true);
        DIFFERS(tcp_options = 16, true);
        DIFFERS(tcp_options = 0, true);
        DIFFERS(from ^= 1, true);
        DIFFERS(to ^= 1, true);
        DIFFERS(source[0] ^= 1, true);
        DIFFERS(source[v6 ? 15 : 3] ^= 1, true);
        DIFFERS(target[0] ^= 1, true);
        DIFFERS(target[v6 ? 15 : 3] ^= 1, true);
        DIFFERS(ip_options = 8, false);
        for (int flags = 0; flags < 256; flags++)
            if ((flags | 8) != 24)
                DIFFERS(flags = (uint8_t)flags, false);
        if (v6) {
            DIFFERS(label ^= 1, true);
            DIFFERS(label ^= 0x80000, true);
        } else {
            DIFFERS(fragment ^= 0x4000, true);
            DIFFERS(fragment = 0x2000, false);
            DIFFERS(fragment = 1, false);
            u = t;
            u.id += 77; /* is of no meaning without fragments */
            assert_joined(s, u, 100);
        }
#undef DIFFERS
    }
}

static void one_wrong_bit_is_never_vouched_for(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct inner s = some_flow(12, v6), t = s;
        t.seq += 100;
        struct pair p;
        feed_pair(&p, &s, &t, 100);
        for (size_t bit = 0; bit < p.bn * 8; bit++) {
            struct joined out;
            feed_pair(&p, &s, &t, 100);
            p.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
            gsi_join_init(&join);
            assert_ok(gsi_join_feed(&join, p.a, p.an));
            int e = gsi_join_feed(&join, p.b, p.bn);
            gsi_join_flush(&join);
            assert_true(e == 0 || e == GS_EINVALID);
            int writes = 0;
            while (gsi_join_next(&join, &out)) {
                struct virtio_net_hdr v;
                memcpy(&v, out.iov[0].iov_base, sizeof v);
                assert_int_equal(v.gso_type, 0);
                /* IPv6 has no checksum of its own for class, label and hop limit; there the packet is good, and of its own. */
                bool unchecked = v6 && (bit < 32 || bit / 8 == 7);
                assert_int_equal(v.flags, out.iov[1].iov_base == p.a || unchecked ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
                writes++;
            }
            assert_int_equal(writes, e == 0 ? 2 : 1);
        }
    }
}

static void a_push_ends_and_is_kept(void **state)
{
    (void)state;
    struct inner s = some_flow(13, false), t = s;
    struct pair p;
    struct virtio_net_hdr v;
    size_t n;
    t.seq += 100;
    t.flags |= 8;
    feed_pair(&p, &s, &t, 100);
    gsi_join_init(&join);
    assert_ok(gsi_join_feed(&join, p.a, p.an));
    assert_nothing();
    assert_ok(gsi_join_feed(&join, p.b, p.bn));
    assert_true(take(&v, &n));
    assert_int_equal(whole[20 + 13], 24);
    assert_ok(gsi_join_feed(&join, p.b, p.bn));
    assert_alone(p.b_before, p.bn, VIRTIO_NET_HDR_F_DATA_VALID);
    assert_nothing();
}

static void what_is_not_tcp_goes_alone_at_once(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct inner s = some_flow(14, v6);
        uint8_t p[SLOT], before[SLOT];
        size_t n = naive_udp(&s, p, payload, 300, 0);
        memcpy(before, p, n);
        gsi_join_init(&join);
        assert_ok(gsi_join_feed(&join, p, n + 12));
        assert_alone(before, n, 0);
        n = naive_ip(&s, p, 1, 0);
        memcpy(before, p, n);
        assert_ok(gsi_join_feed(&join, p, n));
        assert_alone(before, n, 0);
        assert_nothing();
    }
}

static void no_ip_packet_is_dropped(void **state)
{
    (void)state;
    gsi_join_init(&join);
    for (int v6 = 0; v6 < 2; v6++) {
        struct inner s = some_flow(15, v6);
        uint8_t p[SLOT];
        size_t n = naive_tcp(&s, p, payload, 100, 0);
        for (size_t cut = 0; cut < n; cut++)
            assert_code(gsi_join_feed(&join, p, cut), GS_EINVALID);
        for (int version = 0; version < 16; version++)
            if (version != 4 && version != 6) {
                p[0] = (uint8_t)(version << 4 | 5);
                assert_code(gsi_join_feed(&join, p, n), GS_EINVALID);
            }
    }
    gsi_join_flush(&join);
    assert_nothing();
}

static void the_table_is_bounded_and_the_oldest_goes_first(void **state)
{
    (void)state;
    static uint8_t p[JOIN_FLOWS + 1][SLOT];
    gsi_join_init(&join);
    struct inner s = some_flow(16, true);
    struct virtio_net_hdr v;
    size_t n;
    for (int i = 0; i <= JOIN_FLOWS; i++) {
        assert_nothing();
        s.from = (uint16_t)i;
        assert_ok(gsi_join_feed(&join, p[i], naive_tcp(&s, p[i], payload, 10, 0)));
    }
    uint8_t more[SLOT];
    size_t len = naive_tcp(&s, more, payload, 10, 0);
    assert_code(gsi_join_feed(&join, more, len), -ENOBUFS);
    assert_true(take(&v, &n));
    assert_int_equal(whole[41], 0);
    assert_nothing();
    gsi_join_flush(&join);
    for (int i = 1; i <= JOIN_FLOWS; i++) {
        assert_true(take(&v, &n));
        assert_int_equal(whole[41], i);
    }
    assert_nothing();
}

static void a_joined_packet_stays_below_64_kib(void **state)
{
    (void)state;
    static uint8_t p[80][SLOT];
    for (int v6 = 0; v6 < 2; v6++) {
        struct inner s = some_flow(17, v6);
        struct virtio_net_hdr v;
        size_t n, bytes = MTU - inner_headers(&s), out = 0;
        gsi_join_init(&join);
        for (int i = 0; i < 80; i++, s.seq += (uint32_t)bytes) {
            assert_ok(gsi_join_feed(&join, p[i], naive_tcp(&s, p[i], payload, bytes, 0)));
            while (take(&v, &n)) {
                assert_true(n > 64000 && n <= 65535);
                out += n - inner_headers(&s);
            }
        }
        gsi_join_flush(&join);
        while (take(&v, &n))
            out += n - inner_headers(&s);
        assert_int_equal(out, 80 * bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segment_then_join_gives_the_original),
        cmocka_unit_test(many_flows_come_out_whole_and_in_order),
        cmocka_unit_test(any_field_that_differs_ends_the_join),
        cmocka_unit_test(one_wrong_bit_is_never_vouched_for),
        cmocka_unit_test(a_push_ends_and_is_kept),
        cmocka_unit_test(what_is_not_tcp_goes_alone_at_once),
        cmocka_unit_test(no_ip_packet_is_dropped),
        cmocka_unit_test(the_table_is_bounded_and_the_oldest_goes_first),
        cmocka_unit_test(a_joined_packet_stays_below_64_kib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
