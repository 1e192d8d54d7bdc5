/* disco/: messages against the reference's vectors and what is refused; what one peer can make us do. */
#include <errno.h>
#include <stdlib.h>

#include "hex.h"
#include "support.h"
#include "tailnet/disco/paths.h"
#include "tailnet/stun/stun.h"

#define SEC UINT64_C(1000000000)
#define PING_PLAIN "0100000102030405060708090a0b883186b800b41d5cf0429695da9b3cc4f328ebcd184a6e482fa578c103f06c77"
#define PONG_PLAIN "0200000102030405060708090a0b00000000000000000000ffffcb007105d431"
#define CALL_PLAIN "030000000000000000000000ffffcb007105d43120010db8000000000000000000000001a2a9"
#define PING_PACKET                                                                                                                      \
    "5453f09f92ac5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67bc71d02accaa7457d23872ef232c408efdbbceb6f5cb8c5e4f6eb32" \
    "0d5d1b08b7184e0c034c6022d06edc88ec2763cc319eec9937f7f8259ebbffa363646652966358cbbbc9039287a9e662d6ba371f0075673bdeb880"

enum { PING_LEN = 124, PONG_LEN = 110, REGION = 7 };

/* ---- allocation that fails on demand ---- */

static long allocations, fail_at;
static bool must_fail(void) { return ++allocations == fail_at; }
static void *some_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return must_fail() ? NULL : malloc(n);
}
static void *some_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return must_fail() ? NULL : realloc(p, n);
}
static void some_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

/* ---- keys ---- */

static uint8_t private_a[KEY_LEN], private_b[KEY_LEN], public_a[KEY_LEN], public_b[KEY_LEN], shared[KEY_LEN], node_a[KEY_LEN],
    node_b[KEY_LEN];

static int init(void **state)
{
    (void)state;
    if (CRYPTO_set_mem_functions(some_malloc, some_realloc, some_free) != 1 || gsi_crypto_init() < 0)
        return -1;
    for (uint8_t i = 0; i < KEY_LEN; i++) {
        private_a[i] = (uint8_t)(0x21 + i);
        private_b[i] = (uint8_t)(0x61 + i);
    }
    hex_bytes(node_a, "883186b800b41d5cf0429695da9b3cc4f328ebcd184a6e482fa578c103f06c77");
    hex_bytes(node_b, "ad438bfae31f6c093d61d4339255ea798092c9fadd07b97827f4b0ae9dee7c1c");
    gsi_x25519_public(public_a, private_a);
    gsi_x25519_public(public_b, private_b);
    return gsi_box_key(shared, private_b, public_a) ? 0 : -1;
}

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint e;
    assert_ok(gsi_endpoint_parse(text, strlen(text), &e));
    return e;
}

/* ---- messages ---- */

static int read_hex(const char *hex, struct disco_message *m)
{
    uint8_t in[DISCO_READ_MAX];
    hex_bytes(in, hex);
    return gsi_disco_read(in, strlen(hex) / 2, m);
}

static void assert_written(const struct disco_message *m, const char *hex)
{
    uint8_t out[DISCO_PLAIN_MAX];
    assert_hex(out, gsi_disco_write(out, m), hex);
}

static void messages_are_the_reference_s(void **state)
{
    (void)state;
    struct disco_message m;
    char text[ENDPOINT_TEXT];
    assert_ok(read_hex(PING_PLAIN, &m));
    assert_int_equal(m.type, DISCO_PING);
    assert_memory_equal(m.node, node_a, KEY_LEN);
    assert_written(&m, PING_PLAIN);
    assert_ok(read_hex(PONG_PLAIN, &m));
    assert_string_equal(gsi_endpoint_text(&m.seen, text), "203.0.113.5:54321");
    assert_written(&m, PONG_PLAIN);
    assert_ok(read_hex(CALL_PLAIN, &m));
    assert_int_equal(m.n, 2);
    assert_string_equal(gsi_endpoint_text(&m.endpoints[1], text), "[2001:db8::1]:41641");
    assert_written(&m, CALL_PLAIN);
}

static const char *fixed_nonce;
static void chosen_random(void *out, size_t n)
{
    assert_int_equal(n, XNONCE_LEN);
    hex_bytes(out, fixed_nonce);
}

static void the_ping_packet_is_the_reference_s(void **state)
{
    (void)state;
    struct disco_message m;
    uint8_t out[DISCO_PACKET_MAX];
    void (*source)(void *, size_t) = gsi_random_source;
    assert_ok(read_hex(PING_PLAIN, &m));
    fixed_nonce = "c71d02accaa7457d23872ef232c408efdbbceb6f5cb8c5e4";
    gsi_random_source = chosen_random;
    size_t n = gsi_disco_seal(out, public_a, shared, &m);
    gsi_random_source = source;
    assert_hex(out, n, PING_PACKET);
    assert_memory_equal(gsi_disco_sender(out), public_a, KEY_LEN);
    assert_ok(gsi_disco_open(out, n, shared, &m));
    assert_memory_equal(m.node, node_a, KEY_LEN);
}

static void strange_messages_are_read_as_far_as_they_are_known(void **state)
{
    (void)state;
    struct disco_message m;
    assert_ok(read_hex("0100000102030405060708090a0b", &m)); /* no node key */
    assert_true(gsi_is_zero(m.node, KEY_LEN));
    assert_ok(read_hex("0100000102030405060708090a0bffff", &m)); /* a part of one */
    assert_true(gsi_is_zero(m.node, KEY_LEN));
    assert_ok(read_hex(PING_PLAIN "00000000", &m)); /* padding */
    assert_ok(read_hex(PONG_PLAIN "00", &m));
    assert_ok(read_hex("0300", &m));
    assert_int_equal(m.n, 0);
    assert_ok(read_hex(CALL_PLAIN "00", &m)); /* not a multiple */
    assert_int_equal(m.n, 0);
    assert_ok(read_hex("0301" "00000000000000000000ffffcb007105d431", &m)); /* another version */
    assert_int_equal(m.n, 0);
    uint8_t many[2 + 100 * DISCO_ENDPOINT_LEN] = {DISCO_CALL_ME_MAYBE};
    assert_ok(gsi_disco_read(many, sizeof many, &m));
    assert_int_equal(m.n, DISCO_ENDPOINTS_MAX);
    for (unsigned type = 0; type < 256; type++) {
        uint8_t in[200] = {(uint8_t)type};
        assert_int_equal(gsi_disco_read(in, sizeof in, &m) == 0, type >= 1 && type <= 3);
    }
    uint8_t in[64];
    hex_bytes(in, PING_PLAIN);
    for (size_t n = 0; n < 14; n++)
        assert_code(gsi_disco_read(in, n, &m), GS_EINVALID);
    hex_bytes(in, PONG_PLAIN);
    for (size_t n = 0; n < 32; n++)
        assert_code(gsi_disco_read(in, n, &m), GS_EINVALID);
}

static void each_changed_bit_and_each_cut_is_refused(void **state)
{
    (void)state;
    struct disco_message m;
    HEX(packet, PING_PACKET);
    for (size_t bit = 0; bit < sizeof packet * 8; bit++) {
        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool in_key = bit / 8 >= DISCO_MAGIC_LEN &&
                      bit / 8 < DISCO_MAGIC_LEN + KEY_LEN; /* chooses the secret, and is not authentic by itself */
        assert_int_equal(gsi_disco_open(packet, sizeof packet, shared, &m) == 0, in_key);
        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < sizeof packet; n++)
        assert_true(gsi_disco_open(packet, n, shared, &m) < 0);
    uint8_t *big = calloc(1, 65536);
    assert_non_null(big);
    memcpy(big, packet, sizeof packet);
    assert_code(gsi_disco_open(big, DISCO_OVERHEAD + DISCO_READ_MAX, shared, &m), -EACCES);
    assert_code(gsi_disco_open(big, DISCO_OVERHEAD + DISCO_READ_MAX + 1, shared, &m), GS_EINVALID);
    assert_code(gsi_disco_open(big, 65536, shared, &m), GS_EINVALID);
    free(big);
}

static void datagrams_are_told_apart(void **state)
{
    (void)state;
    uint8_t stun[STUN_REQUEST_LEN];
    gsi_stun_request(stun, (const uint8_t[STUN_TXID_LEN]){1});
    HEX(disco, PING_PACKET);
    assert_int_equal(gsi_datagram_kind(stun, sizeof stun), DATAGRAM_STUN);
    assert_int_equal(gsi_datagram_kind(disco, sizeof disco), DATAGRAM_DISCO);
    assert_int_equal(gsi_datagram_kind(disco, DISCO_OVERHEAD - 1), DATAGRAM_WIREGUARD);
    for (uint8_t type = 1; type <= 4; type++)
        assert_int_equal(gsi_datagram_kind((uint8_t[148]){type}, 148), DATAGRAM_WIREGUARD);
    assert_int_equal(gsi_datagram_kind("\0\0\x7a\x11\0\0\1\0", 8), DATAGRAM_GENEVE);
    assert_int_equal(gsi_datagram_kind("\0\0\x7a\x12\0\0\1\0....", 12), DATAGRAM_GENEVE);
    assert_int_equal(gsi_datagram_kind("\0\0\x7a\x13\0\0\1\0....", 12), DATAGRAM_WIREGUARD);
    assert_int_equal(gsi_datagram_kind("\0\0\x7a\x11\0\0\1", 7), DATAGRAM_WIREGUARD);
    assert_int_equal(gsi_datagram_kind(NULL, 0), DATAGRAM_WIREGUARD);
}

/* ---- one peer, A; we are B ---- */

struct us {
    struct paths *paths;
    struct path *a;
};

static struct us us_with(struct paths_config config)
{
    struct us u;
    memcpy(config.disco_private, private_b, KEY_LEN);
    memcpy(config.node_public, node_b, KEY_LEN);
    u.paths = gsi_paths_new(&config);
    assert_non_null(u.paths);
    struct path_peer peer = {.home = REGION};
    memcpy(peer.node, node_a, KEY_LEN);
    memcpy(peer.disco, public_a, KEY_LEN);
    assert_ok(gsi_path_set(u.paths, &peer, 1 * SEC, &u.a));
    return u;
}

static struct us us(void) { return us_with((struct paths_config){0}); }

static size_t from_a(uint8_t out[DISCO_PACKET_MAX], struct disco_message m)
{
    return gsi_disco_seal(out, public_a, shared, &m);
}

static size_t a_ping(uint8_t out[DISCO_PACKET_MAX])
{
    struct disco_message m = {.type = DISCO_PING};
    gsi_random(m.txid, sizeof m.txid);
    memcpy(m.node, node_a, KEY_LEN);
    return from_a(out, m);
}

/* All packets that wait: how many, and the last one. */
static size_t take(struct us *u, struct disco_packet *last)
{
    size_t n = 0;
    while (gsi_paths_output(u->paths, last))
        n++;
    return n;
}

static struct paths_stats stats(struct us *u)
{
    struct paths_stats s;
    gsi_paths_stats(u->paths, &s);
    return s;
}

static void a_ping_is_answered_with_where_it_came_from(void **state)
{
    (void)state;
    struct us u = us();
    uint8_t in[DISCO_PACKET_MAX];
    struct disco_packet out;
    struct disco_message m;
    struct endpoint from = endpoint_of("203.0.113.9:1000");
    char text[ENDPOINT_TEXT];
    size_t n = a_ping(in);
    assert_int_equal(n, PING_LEN);
    gsi_paths_feed(u.paths, in, n, &from, 2 * SEC);
    assert_int_equal(take(&u, &out), 1);
    assert_int_equal(out.n, PONG_LEN);
    assert_true(!out.relay && gsi_endpoint_equal(&out.to, &from));
    assert_ok(gsi_disco_open(out.bytes, out.n, shared, &m));
    assert_true(m.type == DISCO_PONG && gsi_endpoint_equal(&m.seen, &from));
    assert_ptr_equal(gsi_path_at(u.paths, &from), u.a);
    gsi_paths_feed(u.paths, in, n, &from, 2 * SEC); /* the same again */
    assert_int_equal(take(&u, &out), 0);
    gsi_paths_feed_relay(u.paths, in, n, 9, node_a, 2 * SEC);
    assert_int_equal(take(&u, &out), 1);
    assert_true(out.relay && out.region == 9);
    assert_memory_equal(out.node, node_a, KEY_LEN);
    assert_ok(gsi_disco_open(out.bytes, out.n, shared, &m));
    assert_string_equal(gsi_endpoint_text(&m.seen, text), "127.3.3.40:9");
    gsi_path_remove(u.paths, u.a);
    assert_null(gsi_path_at(u.paths, &from));
    gsi_paths_free(u.paths);
}

static void unknown_senders_cost_no_crypto(void **state)
{
    (void)state;
    struct us u = us();
    HEX(packet, PING_PACKET);
    struct disco_packet out;
    struct endpoint from = endpoint_of("203.0.113.9:1000");
    for (int i = 0; i < 1000; i++) {
        gsi_random(packet + DISCO_MAGIC_LEN, KEY_LEN);
        gsi_paths_feed(u.paths, packet, sizeof packet, &from, 2 * SEC);
    }
    assert_int_equal(stats(&u).opens, 0);
    assert_int_equal(stats(&u).unknown, 1000);
    gsi_path_remove(u.paths, u.a); /* now A is unknown too */
    hex_bytes(packet, PING_PACKET);
    gsi_paths_feed(u.paths, packet, sizeof packet, &from, 2 * SEC);
    assert_int_equal(stats(&u).opens, 0);
    assert_int_equal(take(&u, &out), 0);
    gsi_paths_free(u.paths);
}

static void floods_cause_bounded_sends(void **state)
{
    (void)state;
    struct us u = us();
    struct disco_packet out;
    uint8_t in[DISCO_PACKET_MAX];
    struct paths_event e;
    size_t pongs = 0, others = 0, bytes_in = 0, bytes_out = 0;
    uint64_t now = 2 * SEC;
    for (int i = 0; i < 20000; i++, now += SEC / 1000) { /* 20 s of pings from ever new addresses */
        struct endpoint from = endpoint_of("203.0.113.9:1000");
        from.port = (uint16_t)(1 + i);
        size_t n = a_ping(in);
        bytes_in += n;
        gsi_paths_feed(u.paths, in, n, &from, now);
        gsi_paths_tick(u.paths, now);
        while (gsi_paths_output(u.paths, &out)) {
            pongs += out.n == PONG_LEN;
            others += out.n != PONG_LEN;
            bytes_out += out.n;
        }
        while (gsi_paths_next(u.paths, &e)) {
        }
    }
    assert_in_range(pongs, 64, 64 + 20 * 20 + 1);
    assert_int_equal(others, 0); /* nothing is to be sent to the peer, so nobody is pinged */
    assert_true(bytes_out < bytes_in);
    struct path_info info;
    gsi_path_info(u.a, &info);
    assert_in_range(info.candidates, 1, PATH_CANDIDATES_MAX);

    struct disco_message call = {.type = DISCO_CALL_ME_MAYBE, .n = DISCO_ENDPOINTS_MAX};
    size_t pings = 0;
    now += 100 * SEC;
    for (int i = 0; i < 20000; i++, now += SEC / 1000) { /* 20 s of calls, each with other victims */
        for (size_t k = 0; k < call.n; k++) {
            call.endpoints[k] = endpoint_of("203.0.113.9:1");
            call.endpoints[k].port = (uint16_t)(1 + (i * DISCO_ENDPOINTS_MAX + (int)k) % 65535);
        }
        gsi_paths_feed_relay(u.paths, in, from_a(in, call), REGION, node_a, now);
        gsi_paths_tick(u.paths, now);
        pings += take(&u, &out);
    }
    assert_in_range(pings, 6 * DISCO_ENDPOINTS_MAX, 7 * PATH_CANDIDATES_MAX); /* 3 calls, and one each 5 s */
    gsi_paths_free(u.paths);
}

static void calls_are_heard_from_the_relay_alone_and_for_fit_addresses(void **state)
{
    (void)state;
    static const char *const unfit[] = {"127.0.0.1:1", "[::1]:1", "169.254.1.1:1", "[fe80::1]:1", "224.0.0.1:1",
                                        "[ff02::1]:1", "0.0.0.0:1", "255.255.255.255:1", "203.0.113.1:0"};
    struct us u = us();
    struct disco_packet out;
    uint8_t in[DISCO_PACKET_MAX];
    struct disco_message call = {.type = DISCO_CALL_ME_MAYBE};
    for (size_t i = 0; i < sizeof unfit / sizeof unfit[0]; i++)
        call.endpoints[call.n++] = endpoint_of(unfit[i]);
    call.endpoints[call.n++] = endpoint_of("203.0.113.1:5");
    size_t n = from_a(in, call);
    gsi_paths_feed(u.paths, in, n, &call.endpoints[call.n - 1], 2 * SEC);
    gsi_paths_feed_relay(u.paths, in, n, REGION, node_b, 2 * SEC); /* not whose key it is */
    assert_int_equal(take(&u, &out), 0);
    assert_int_equal(stats(&u).stray, 2);
    gsi_paths_feed_relay(u.paths, in, n, REGION, node_a, 2 * SEC);
    assert_int_equal(take(&u, &out), 1);
    assert_true(gsi_endpoint_equal(&out.to, &call.endpoints[call.n - 1]));
    gsi_paths_free(u.paths);
}

static void only_pongs_to_our_pings_make_a_path(void **state)
{
    (void)state;
    struct us u = us();
    struct disco_packet out;
    uint8_t in[DISCO_PACKET_MAX];
    struct disco_message m = {.type = DISCO_PONG}, ping;
    struct endpoint at = endpoint_of("203.0.113.1:5");
    struct path_info info;
    struct path_peer peer = {.home = REGION, .endpoints = &at, .n = 1};
    memcpy(peer.node, node_a, KEY_LEN);
    memcpy(peer.disco, public_a, KEY_LEN);
    assert_ok(gsi_path_set(u.paths, &peer, 2 * SEC, &u.a));
    struct route r = gsi_path_send(u.paths, u.a, 2 * SEC);
    assert_true(!r.udp && r.relay && r.region == REGION);
    assert_int_equal(take(&u, &out), 1);
    assert_ok(gsi_disco_open(out.bytes, out.n, shared, &ping));

    gsi_random(m.txid, sizeof m.txid); /* of nobody's */
    gsi_paths_feed(u.paths, in, from_a(in, m), &at, 2 * SEC);
    memcpy(m.txid, ping.txid, sizeof m.txid);
    gsi_paths_feed_relay(u.paths, in, from_a(in, m), REGION, node_a, 2 * SEC); /* by the relay */
    gsi_path_info(u.a, &info);
    assert_int_equal(info.kind, PATH_RELAY);
    assert_int_equal(stats(&u).stray, 2);

    gsi_paths_feed(u.paths, in, from_a(in, m), &at, 2 * SEC + 7000);
    gsi_path_info(u.a, &info);
    assert_int_equal(info.kind, PATH_DIRECT);
    assert_int_equal(info.latency_ns, 7000);
    gsi_paths_feed(u.paths, in, from_a(in, m), &at, 2 * SEC); /* a second time */
    assert_int_equal(stats(&u).stray, 3);

    gsi_paths_tick(u.paths, 10 * SEC); /* trust lapsed; a ping is out again */
    assert_true(gsi_path_send(u.paths, u.a, 10 * SEC).relay);
    assert_true(take(&u, &out) >= 1);
    gsi_paths_tick(u.paths, 10 * SEC + 5 * SEC); /* and forgotten */
    assert_ok(gsi_disco_open(out.bytes, out.n, shared, &ping));
    memcpy(m.txid, ping.txid, sizeof m.txid);
    gsi_paths_feed(u.paths, in, from_a(in, m), &at, 15 * SEC);
    gsi_path_info(u.a, &info);
    assert_int_equal(info.kind, PATH_RELAY);
    gsi_paths_free(u.paths);
}

static void two_nodes_of_one_disco_key_are_told_apart(void **state)
{
    (void)state;
    struct us u = us();
    struct path *c;
    struct path_peer peer = {.node = {0xcc}};
    memcpy(peer.disco, public_a, KEY_LEN);
    assert_ok(gsi_path_set(u.paths, &peer, 2 * SEC, &c));
    struct endpoint from = endpoint_of("203.0.113.9:1000");
    struct disco_message m = {.type = DISCO_PING};
    struct disco_packet out;
    uint8_t in[DISCO_PACKET_MAX];
    gsi_paths_feed(u.paths, in, from_a(in, m), &from, 2 * SEC); /* no node key: nobody knows */
    assert_int_equal(take(&u, &out), 0);
    memcpy(m.node, peer.node, KEY_LEN);
    gsi_paths_feed(u.paths, in, from_a(in, m), &from, 2 * SEC);
    assert_ptr_equal(gsi_path_at(u.paths, &from), c);
    m.node[0] ^= 1; /* no peer */
    m.txid[0] ^= 1;
    gsi_paths_feed(u.paths, in, from_a(in, m), &from, 2 * SEC);
    assert_int_equal(take(&u, &out), 1);
    gsi_path_remove(u.paths, c);
    gsi_paths_feed(u.paths, in, from_a(in, m), &from, 2 * SEC); /* there is but one now */
    assert_ptr_equal(gsi_path_at(u.paths, &from), u.a);
    gsi_paths_free(u.paths);
}

static void wrong_peers_are_refused_and_removal_forgets_all(void **state)
{
    (void)state;
    struct us u = us();
    struct path *out_path;
    struct endpoint at = endpoint_of("203.0.113.1:5");
    struct path_peer self = {0}, small = {.node = {1}, .disco = {1}, .home = REGION, .endpoints = &at, .n = 1};
    struct disco_packet out;
    memcpy(self.node, node_b, KEY_LEN);
    assert_code(gsi_path_set(u.paths, &self, 2 * SEC, &out_path), GS_EINVALID);
    assert_ok(gsi_path_set(u.paths, &small, 2 * SEC, &out_path)); /* a disco key of small order: no disco with it */
    assert_true(gsi_path_send(u.paths, out_path, 2 * SEC).relay);
    assert_false(gsi_path_ping(u.paths, out_path, 2 * SEC));
    assert_int_equal(take(&u, &out), 0);
    small.node[0] = 2;
    memcpy(small.disco, public_a, KEY_LEN);
    assert_ok(gsi_path_set(u.paths, &small, 2 * SEC, &out_path));
    assert_true(gsi_path_ping(u.paths, out_path, 2 * SEC));
    gsi_path_remove(u.paths, out_path); /* with pings out and packets waiting */
    assert_int_equal(take(&u, &out), 0);
    assert_null(gsi_path_find(u.paths, small.node));
    gsi_paths_free(u.paths);
}

static void a_thousand_peers_are_each_found(void **state)
{
    (void)state;
    struct us u = us();
    struct path *paths[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        struct path_peer peer = {.node = {1, (uint8_t)i, (uint8_t)(i >> 8)}, .disco = {9, (uint8_t)i, (uint8_t)(i >> 8)}};
        assert_ok(gsi_path_set(u.paths, &peer, 2 * SEC, &paths[i]));
    }
    for (uint32_t i = 0; i < 1000; i++) {
        uint8_t node[KEY_LEN] = {1, (uint8_t)i, (uint8_t)(i >> 8)};
        assert_ptr_equal(gsi_path_find(u.paths, node), paths[i]);
        if (i % 2)
            gsi_path_remove(u.paths, paths[i]);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        uint8_t node[KEY_LEN] = {1, (uint8_t)i, (uint8_t)(i >> 8)};
        assert_ptr_equal(gsi_path_find(u.paths, node), i % 2 ? NULL : paths[i]);
    }
    gsi_paths_free(u.paths);
}

static void without_direct_paths_only_the_relay_is_pinged_and_answered(void **state)
{
    (void)state;
    struct us u = us_with((struct paths_config){.relay_only = true});
    struct endpoint at = endpoint_of("203.0.113.9:1000");
    struct path_peer peer = {.home = REGION, .endpoints = &at, .n = 1};
    struct disco_packet out;
    uint8_t in[DISCO_PACKET_MAX];
    memcpy(peer.node, node_a, KEY_LEN);
    memcpy(peer.disco, public_a, KEY_LEN);
    assert_ok(gsi_path_set(u.paths, &peer, 1 * SEC, &u.a));
    gsi_paths_endpoints(u.paths, &at, 1, 1 * SEC);
    for (uint64_t s = 2; s < 60; s++) {
        struct route r = gsi_path_send(u.paths, u.a, s * SEC);
        assert_true(r.relay && !r.udp);
        gsi_paths_tick(u.paths, s * SEC);
        assert_int_equal(take(&u, &out), 0);
    }
    gsi_paths_feed(u.paths, in, a_ping(in), &at, 60 * SEC);
    gsi_paths_feed_relay(u.paths, in, from_a(in, (struct disco_message){.type = DISCO_CALL_ME_MAYBE, .n = 1, .endpoints = {at}}),
                         REGION, node_a, 60 * SEC);
    gsi_paths_tick(u.paths, 60 * SEC);
    assert_int_equal(take(&u, &out), 0);
    gsi_paths_feed_relay(u.paths, in, a_ping(in), REGION, node_a, 61 * SEC);
    assert_int_equal(take(&u, &out), 1);
    assert_true(out.relay && out.region == REGION);
    assert_true(gsi_path_ping(u.paths, u.a, 62 * SEC));
    assert_int_equal(take(&u, &out), 1);
    assert_true(out.relay && out.region == REGION);
    gsi_paths_free(u.paths);
}

/* A whole little life; answers what gsi_path_set did, or -ENOMEM when there was nothing at all. */
static int life(void)
{
    struct paths_config config = {0};
    memcpy(config.disco_private, private_b, KEY_LEN);
    struct paths *p = gsi_paths_new(&config);
    if (!p)
        return -ENOMEM;
    struct endpoint at[5];
    for (uint16_t i = 0; i < 5; i++) {
        at[i] = endpoint_of("203.0.113.1:5");
        at[i].port = (uint16_t)(5 + i);
    }
    struct path_peer peer = {.home = REGION, .endpoints = at, .n = 5};
    memcpy(peer.node, node_a, KEY_LEN);
    memcpy(peer.disco, public_a, KEY_LEN);
    struct path *path;
    int e = gsi_path_set(p, &peer, 2 * SEC, &path);
    if (e < 0)
        assert_null(gsi_path_find(p, node_a));
    if (e == 0) {
        struct disco_packet out;
        uint8_t in[DISCO_PACKET_MAX];
        struct endpoint from = endpoint_of("203.0.113.9:1000");
        assert_true(gsi_path_send(p, path, 2 * SEC).relay);
        gsi_paths_feed(p, in, a_ping(in), &from, 2 * SEC);
        bool any = false;
        while (gsi_paths_output(p, &out))
            any = true;
        assert_true(any);
        peer.n = 1;
        peer.disco[0] ^= 1;
        assert_ok(gsi_path_set(p, &peer, 3 * SEC, &path));
    }
    gsi_paths_free(p);
    return e;
}

static void each_failing_allocation_is_survived(void **state)
{
    (void)state;
    allocations = fail_at = 0;
    assert_ok(life());
    long all = allocations, told = 0;
    assert_true(all > 10);
    for (fail_at = 1; fail_at <= all; fail_at++) {
        allocations = 0;
        int e = life();
        assert_true(e == 0 || e == -ENOMEM);
        told += e < 0;
    }
    assert_in_range(told, 8, all);
    fail_at = 0;
    assert_ok(life());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_the_reference_s),
        cmocka_unit_test(the_ping_packet_is_the_reference_s),
        cmocka_unit_test(strange_messages_are_read_as_far_as_they_are_known),
        cmocka_unit_test(each_changed_bit_and_each_cut_is_refused),
        cmocka_unit_test(datagrams_are_told_apart),
        cmocka_unit_test(a_ping_is_answered_with_where_it_came_from),
        cmocka_unit_test(unknown_senders_cost_no_crypto),
        cmocka_unit_test(floods_cause_bounded_sends),
        cmocka_unit_test(calls_are_heard_from_the_relay_alone_and_for_fit_addresses),
        cmocka_unit_test(only_pongs_to_our_pings_make_a_path),
        cmocka_unit_test(two_nodes_of_one_disco_key_are_told_apart),
        cmocka_unit_test(wrong_peers_are_refused_and_removal_forgets_all),
        cmocka_unit_test(a_thousand_peers_are_each_found),
        cmocka_unit_test(without_direct_paths_only_the_relay_is_pinged_and_answered),
        cmocka_unit_test(each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
