/* What an engine does with datagrams that are forged, damaged, repeated, out of place, or too many. */
#include "wireguard_world.h"

static struct wg_packet packet;

static enum wg_result feed(struct node *n, const uint8_t *bytes, size_t len)
{
    uint8_t copy[DATAGRAM];
    struct wg_source from = source_of(other_of(n));
    memcpy(copy, bytes, len);
    return gsi_wireguard_feed(n->w, &from, copy, len, world.now, &packet);
}

/* The datagram that a node wants to send next. */
static size_t take(struct node *n, uint8_t out[DATAGRAM])
{
    struct wg_output o;
    if (world.now >= gsi_wireguard_deadline(n->w))
        gsi_wireguard_tick(n->w, world.now, WALL + world.now);
    assert_true(gsi_wireguard_output(n->w, &o));
    memcpy(out, o.p, o.n);
    return o.n;
}

static bool is_silent(struct node *n)
{
    struct wg_output o;
    return !gsi_wireguard_output(n->w, &o);
}

/* Alice's packet as a datagram, of what inner bytes ever, not fed yet. */
static size_t sealed(const void *inner, size_t n, uint8_t out[DATAGRAM])
{
    memcpy(out + WG_HEAD, inner, n);
    struct wg_slot s = {.p = out, .cap = DATAGRAM, .n = n};
    assert_int_equal(gsi_wireguard_seal(world.alice.w, world.alice.peer, &s, 1, world.now), 1);
    return s.n;
}

/* Each bit flipped, and each length cut or one byte more, is dropped without an answer. The message itself is good still. */
static void damage(struct node *n, const uint8_t *good, size_t len)
{
    uint8_t bad[DATAGRAM];
    for (size_t i = 0; i < 8 * len; i++) {
        memcpy(bad, good, len);
        bad[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(feed(n, bad, len), WG_DROPPED);
        assert_true(is_silent(n));
    }
    memcpy(bad, good, len);
    bad[len] = 0;
    for (size_t i = 0; i <= len + 1; i++)
        if (i != len)
            assert_int_equal(feed(n, bad, i), WG_DROPPED);
    assert_true(is_silent(n));
}

static void every_flipped_bit_of_every_message_is_dropped(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM], inner[100];
    node_say(&world.alice, 1);
    size_t n = take(&world.alice, m);
    assert_int_equal(n, INITIATION_LEN);
    /* mac2 means nothing but under load, and forged messages are none */
    for (size_t i = 0; i < 8 * (n - MAC_LEN); i++) {
        m[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(feed(&world.bob, m, n), WG_DROPPED);
        assert_true(is_silent(&world.bob));
        m[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(feed(&world.bob, m, n), WG_TAKEN);
    n = take(&world.bob, m);
    assert_int_equal(n, RESPONSE_LEN);
    for (size_t i = 0; i < 8 * (n - MAC_LEN); i++) {
        m[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(feed(&world.alice, m, n), WG_DROPPED);
        assert_true(is_silent(&world.alice));
        m[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(feed(&world.alice, m, n), WG_TAKEN);
    n = take(&world.alice, m);
    damage(&world.bob, m, n);
    assert_int_equal(feed(&world.bob, m, n), WG_PACKET);
    make_packet(inner, sizeof inner, world.alice.address, world.bob.address, 2);
    n = sealed(inner, sizeof inner, m);
    damage(&world.bob, m, n);
    assert_int_equal(feed(&world.bob, m, n), WG_PACKET);
}

/* With a mac1 that is right, so that the handshake itself must see it. */
static void a_damaged_handshake_with_a_good_mac1_is_dropped_too(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM], bad[DATAGRAM];
    struct cookie_jar to_bob, to_alice;
    assert_ok(gsi_cookie_jar(&to_bob, world.bob.public));
    assert_ok(gsi_cookie_jar(&to_alice, world.alice.public));
    node_say(&world.alice, 1);
    size_t n = take(&world.alice, m);
    for (size_t i = TYPE_LEN + INDEX_LEN; i < INITIATION_BODY; i++) {
        memcpy(bad, m, n);
        bad[i] ^= 1;
        assert_ok(gsi_cookie_stamp(&to_bob, bad, n, world.now));
        assert_int_equal(feed(&world.bob, bad, n), WG_DROPPED);
        assert_true(is_silent(&world.bob));
        world.now += 5 * MS; /* no load */
    }
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_LOAD), 0);
    assert_int_equal(world.bob.w->n, 0);
    assert_int_equal(feed(&world.bob, m, n), WG_TAKEN);
    n = take(&world.bob, m);
    for (size_t i = TYPE_LEN + INDEX_LEN; i < RESPONSE_BODY; i++) {
        memcpy(bad, m, n);
        bad[i] ^= 1;
        assert_ok(gsi_cookie_stamp(&to_alice, bad, n, world.now));
        assert_int_equal(feed(&world.alice, bad, n), WG_DROPPED);
        world.now += 5 * MS;
    }
    assert_int_equal(feed(&world.alice, m, n), WG_TAKEN);
}

static void unknown_peers_are_dropped_unanswered(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM];
    node_say(&world.alice, 1);
    size_t n = take(&world.alice, m);
    world.bob.knows = NULL;
    assert_int_equal(feed(&world.bob, m, n), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_UNKNOWN), 1);
    assert_true(is_silent(&world.bob));
    assert_int_equal(world.bob.w->n, 0);
    assert_int_equal(gsi_wireguard_deadline(world.bob.w), NEVER);
}

static void old_and_repeated_timestamps_are_dropped(void **state)
{
    (void)state;
    uint8_t first[DATAGRAM], second[DATAGRAM], response[DATAGRAM];
    node_say(&world.alice, 1);
    size_t n = take(&world.alice, first);
    assert_int_equal(feed(&world.bob, first, n), WG_TAKEN);
    take(&world.bob, response);
    world.now += 1 * SECOND;
    assert_int_equal(feed(&world.bob, first, n), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_REPLAYED), 1);
    world.now += 5 * SECOND;
    take(&world.alice, second);
    assert_int_equal(feed(&world.bob, second, n), WG_TAKEN);
    take(&world.bob, response);
    world.now += 1 * SECOND;
    assert_int_equal(feed(&world.bob, first, n), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_REPLAYED), 2);
    assert_true(is_silent(&world.bob));
    /* and a response to an initiation that was retried */
    assert_int_equal(feed(&world.alice, response, RESPONSE_LEN), WG_TAKEN);
    assert_int_equal(feed(&world.alice, response, RESPONSE_LEN), WG_DROPPED);
}

static void initiations_of_one_peer_are_20_ms_apart(void **state)
{
    (void)state;
    uint8_t m[3][DATAGRAM], r[DATAGRAM];
    struct wg_peer *p = peer_of(&world.alice);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(gsi_handshake_initiate(p, world.now), 0);
        take(&world.alice, m[i]);
    }
    assert_int_equal(feed(&world.bob, m[0], INITIATION_LEN), WG_TAKEN);
    take(&world.bob, r);
    world.now += 20 * MS - 1;
    assert_int_equal(feed(&world.bob, m[1], INITIATION_LEN), WG_DROPPED);
    world.now += 1;
    assert_int_equal(feed(&world.bob, m[2], INITIATION_LEN), WG_TAKEN);
}

static void a_response_to_a_forgotten_initiation_is_dropped(void **state)
{
    (void)state;
    uint8_t first[DATAGRAM], second[DATAGRAM], response[DATAGRAM];
    node_say(&world.alice, 1);
    take(&world.alice, first);
    assert_int_equal(feed(&world.bob, first, INITIATION_LEN), WG_TAKEN);
    take(&world.bob, response);
    world.now += 6 * SECOND;
    take(&world.alice, second);
    assert_int_equal(feed(&world.alice, response, RESPONSE_LEN), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(world.alice.w, WG_DROP_UNKNOWN), 1);
}

static void a_replayed_packet_is_dropped_and_renews_nothing(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM], inner[60];
    world_connect();
    make_packet(inner, sizeof inner, world.alice.address, world.bob.address, 2);
    size_t n = sealed(inner, sizeof inner, m);
    assert_int_equal(feed(&world.bob, m, n), WG_PACKET);
    world_run(30 * SECOND);
    uint64_t due = gsi_wireguard_deadline(world.bob.w);
    assert_int_equal(feed(&world.bob, m, n), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_REPLAYED), 1);
    assert_int_equal(gsi_wireguard_deadline(world.bob.w), due);
}

static void inner_packets_must_be_ip_of_the_length_they_say(void **state)
{
    (void)state;
    static const struct {
        uint8_t head[8];
        size_t n;
        size_t length; /* 0: dropped */
    } cases[] = {
        {{0x45, 0, 0, 24}, 24, 24},          {{0x45, 0, 0, 24}, 100, 24},       {{0x45, 0, 0, 20}, 20, 20},
        {{0x45, 0, 0, 19}, 64, 0},           {{0x45, 0, 0, 0}, 64, 0},          {{0x45, 0, 0, 1}, 64, 0},
        {{0x45, 0, 0, 65}, 64, 0},           {{0x45, 0, 0xff, 0xff}, 64, 0},    {{0x45, 0, 0x80, 1}, 64, 0},
        {{0x44, 0, 0, 40}, 64, 0},           {{0x40, 0, 0, 40}, 64, 0},         {{0x4f, 0, 0, 60}, 64, 60},
        {{0x4f, 0, 0, 59}, 64, 0},           {{0x45, 0, 0, 20}, 19, 20},        {{0x45, 0, 0, 20}, 1, 0},
        {{0x35, 0, 0, 40}, 64, 0},           {{0x00}, 64, 0},                   {{0x75, 0, 0, 40}, 64, 0},
        {{0x60, 0, 0, 0, 0, 0}, 40, 40},     {{0x60, 0, 0, 0, 0, 24}, 64, 64},  {{0x60, 0, 0, 0, 0, 25}, 64, 0},
        {{0x60, 0, 0, 0, 0xff, 0xff}, 64, 0}, {{0x60, 0, 0, 0, 0, 1}, 41, 41},  {{0x60}, 39, 40},
        {{0x60}, 32, 0},
    };
    struct prefix all6 = {{{0}}, 0};
    world_connect();
    assert_ok(gsi_routes_add(world.bob.routes, &all6, &world.alice));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t inner[128] = {0}, m[DATAGRAM];
        memcpy(inner, cases[i].head, 8);
        bool four = inner[0] >> 4 == 4;
        memcpy(inner + (four ? 12 : 8), four ? world.alice.address : (const uint8_t[]){0xfd, 0, 0, 1}, 4);
        size_t n = sealed(inner, cases[i].n, m);
        uint64_t before = gsi_wireguard_drops(world.bob.w, WG_DROP_INNER);
        assert_int_equal(feed(&world.bob, m, n), cases[i].length ? WG_PACKET : WG_DROPPED);
        if (cases[i].length)
            assert_int_equal(packet.n, cases[i].length);
        assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_INNER), before + !cases[i].length);
    }
}

static void an_inner_source_of_somebody_else_is_dropped(void **state)
{
    (void)state;
    uint8_t inner[60], m[DATAGRAM];
    char somebody;
    world_connect();
    make_packet(inner, sizeof inner, (uint8_t[]){100, 64, 0, 9}, world.bob.address, 2);
    size_t n = sealed(inner, sizeof inner, m);
    assert_int_equal(feed(&world.bob, m, n), WG_DROPPED);
    struct prefix p = {gsi_ip_of_v4((uint8_t[]){100, 64, 0, 9}), PREFIX_BITS};
    assert_ok(gsi_routes_add(world.bob.routes, &p, &somebody));
    n = sealed(inner, sizeof inner, m);
    assert_int_equal(feed(&world.bob, m, n), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_SOURCE), 2);
    assert_ok(gsi_routes_add(world.bob.routes, &p, &world.alice));
    n = sealed(inner, sizeof inner, m);
    assert_int_equal(feed(&world.bob, m, n), WG_PACKET);
    /* Alice's own IPv4 address, written as one of IPv6 */
    uint8_t six[48] = {0x60, 0, 0, 0, 0, 8};
    struct ip ip = gsi_ip_of_v4(world.alice.address);
    memcpy(six + 8, ip.b, IP_LEN);
    n = sealed(six, sizeof six, m);
    assert_int_equal(feed(&world.bob, m, n), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_INNER), 1);
}

static void padding_is_zeros_to_16_but_not_beyond_the_mtu(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM];
    world_connect();
    for (size_t n = 1; n <= 1300; n++) {
        struct wg_slot s = {.p = m, .cap = WG_HEAD + n + WG_TAIL, .n = n};
        memset(m, 0xee, sizeof m);
        make_packet(m + WG_HEAD, n < 24 ? 24 : n, world.alice.address, world.bob.address, 1);
        m[WG_HEAD + 2] = (uint8_t)(n >> 8);
        m[WG_HEAD + 3] = (uint8_t)n;
        assert_int_equal(gsi_wireguard_seal(world.alice.w, world.alice.peer, &s, 1, world.now), 1);
        size_t inner = (n + 15) / 16 * 16;
        assert_int_equal(s.n, WG_HEAD + (n > 1280 ? n : inner) + TAG_LEN);
        struct wg_source from = source_of(&world.alice);
        assert_int_equal(gsi_wireguard_feed(world.bob.w, &from, m, s.n, world.now, &packet), n < 20 ? WG_DROPPED : WG_PACKET);
        for (size_t i = n; n > 24 && i < s.n - WG_HEAD - TAG_LEN; i++)
            assert_int_equal(m[WG_HEAD + i], 0);
    }
    uint8_t inner[60];
    world.alice.w->mtu = 59;
    make_packet(inner, 57, world.alice.address, world.bob.address, 1);
    assert_int_equal(sealed(inner, 57, m), WG_HEAD + 59 + TAG_LEN);
}

static void a_batch_is_sealed_in_place_or_refused_whole(void **state)
{
    (void)state;
    enum { SLOTS = 64 };
    static uint8_t m[SLOTS][DATAGRAM];
    struct wg_slot s[SLOTS];
    world_connect();
    for (int i = 0; i < SLOTS; i++) {
        make_packet(m[i] + WG_HEAD, 1280, world.alice.address, world.bob.address, (uint32_t)i);
        s[i] = (struct wg_slot){m[i], WG_HEAD + 1280 + TAG_LEN, 1280};
    }
    s[63].cap--;
    assert_int_equal(gsi_wireguard_seal(world.alice.w, world.alice.peer, s, SLOTS, world.now), -EINVAL);
    s[63].cap++;
    s[0].n = 0;
    assert_int_equal(gsi_wireguard_seal(world.alice.w, world.alice.peer, s, SLOTS, world.now), -EINVAL);
    s[0].n = WG_INNER_MAX + 1;
    assert_int_equal(gsi_wireguard_seal(world.alice.w, world.alice.peer, s, SLOTS, world.now), -EINVAL);
    s[0].n = SIZE_MAX;
    assert_int_equal(gsi_wireguard_seal(world.alice.w, world.alice.peer, s, SLOTS, world.now), -EINVAL);
    s[0].n = 1280;
    assert_int_equal(m[0][WG_HEAD], 0x45);
    world.alice.peer->current->counter = REJECT_AFTER_MESSAGES - 60; /* the key ends within the batch */
    assert_int_equal(gsi_wireguard_seal(world.alice.w, world.alice.peer, s, SLOTS, world.now), 60);
    assert_int_equal(m[60][WG_HEAD], 0x45);
    assert_int_equal(s[60].n, 1280);
    assert_true(gsi_wireguard_status(world.alice.peer).initiating);
    for (int i = 0; i < 60; i++)
        assert_int_equal(node_feed(&world.bob, m[i], s[i].n), WG_PACKET);
    assert_int_equal(gsi_wireguard_seal(world.alice.w, world.alice.peer, s + 60, 4, world.now), 0);
}

static void output_and_staged_packets_are_bounded(void **state)
{
    (void)state;
    static uint8_t big[WG_INNER_MAX + 1];
    struct wg_peer *p = peer_of(&world.alice);
    assert_code(gsi_wireguard_send(world.alice.w, p, big, 0, world.now), -EINVAL);
    assert_code(gsi_wireguard_send(world.alice.w, p, big, WG_INNER_MAX + 1, world.now), -EINVAL);
    for (int i = 0; i < 300; i++)
        assert_ok(gsi_wireguard_send(world.alice.w, p, big, WG_INNER_MAX, world.now));
    assert_int_equal(p->staged.n, STAGED_MAX);
    assert_true(world.alice.w->held_bytes <= HELD_BYTES_MAX);
    gsi_queue_clear(world.alice.w, &p->staged);
    world_connect();
    for (int i = 0; i < 3 * OUTPUT_MAX; i++)
        node_say(&world.alice, 1);
    assert_int_equal(world.alice.w->output.n, OUTPUT_MAX);
    int code = 0;
    for (int i = 0; i < OUTPUT_MAX && code == 0; i++)
        code = gsi_wireguard_send(world.alice.w, p, big, WG_INNER_MAX, world.now);
    assert_int_equal(code, -ENOBUFS);
    assert_true(world.alice.w->held_bytes <= HELD_BYTES_MAX);
}

/* Each message in each state of a session. */
static void no_message_in_a_wrong_state_does_anything(void **state)
{
    (void)state;
    enum { INITIATION, RESPONSE, COOKIE, DATA, MESSAGES };
    enum { FRESH, INITIATING, RESPONDED, RUNNING, STATES };
    for (int at = 0; at < STATES; at++) {
        for (int message = 0; message < MESSAGES; message++) {
            if (at || message)
                world_end(NULL), world_begin(NULL);
            uint8_t m[DATAGRAM] = {0}, mine[DATAGRAM];
            static const size_t length[] = {INITIATION_LEN, RESPONSE_LEN, COOKIE_REPLY_LEN, 96};
            size_t n = length[message];
            struct cookie_jar to_alice;
            assert_ok(gsi_cookie_jar(&to_alice, world.alice.public));
            if (at == INITIATING) {
                node_say(&world.alice, 1);
                take(&world.alice, mine);
            } else if (at == RESPONDED) {
                node_say(&world.bob, 1);
                take(&world.bob, mine);
                assert_int_equal(feed(&world.alice, mine, INITIATION_LEN), WG_TAKEN);
                take(&world.alice, mine);
            } else if (at == RUNNING) {
                world_connect();
            }
            size_t indexes = world.alice.w->indexes.n;
            m[0] = (uint8_t)(message + 1);
            /* aimed at an index that is there */
            for (size_t i = 0; i < world.alice.w->indexes.cap; i++)
                if (world.alice.w->indexes.slot[i].peer)
                    memcpy(m + (message == RESPONSE ? 8 : 4), &world.alice.w->indexes.slot[i].index, 4);
            if (message <= RESPONSE)
                assert_ok(gsi_cookie_stamp(&to_alice, m, n, world.now));
            uint64_t due = gsi_wireguard_deadline(world.alice.w);
            assert_int_equal(feed(&world.alice, m, n), WG_DROPPED);
            assert_true(is_silent(&world.alice));
            assert_int_equal(world.alice.w->indexes.n, indexes);
            assert_int_equal(gsi_wireguard_deadline(world.alice.w), due);
            world_run(20 * SECOND);
            node_say(&world.alice, 77);
            world_run(20 * SECOND);
            assert_int_equal(world.bob.seen[77], 1);
        }
    }
}

static void what_is_no_message_is_dropped(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM];
    static const size_t lengths[] = {0, 1, 3, 4, 15, 16, 31, 32, 63, 64, 65, 91, 92, 93, 147, 148, 149, 2000};
    world_connect();
    for (unsigned type = 0; type < 256; type++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            memset(m, 0, sizeof m);
            m[0] = (uint8_t)type;
            assert_int_equal(feed(&world.bob, m, lengths[i]), WG_DROPPED);
            m[1 + type % 3] = 1; /* reserved */
            assert_int_equal(feed(&world.bob, m, lengths[i]), WG_DROPPED);
        }
    }
    assert_true(is_silent(&world.bob));
}

/* ---- cookies ---- */

/* Messages with a good mac1 and nothing else right, as from anybody who knows Bob's key. */
static void load(struct node *n, int count)
{
    uint8_t m[DATAGRAM] = {MESSAGE_INITIATION};
    struct cookie_jar jar;
    struct wg_source from = {.from = {gsi_ip_of_v4((uint8_t[]){192, 0, 2, 1}), 1}};
    struct wg_output o;
    assert_ok(gsi_cookie_jar(&jar, n->public));
    assert_ok(gsi_cookie_stamp(&jar, m, INITIATION_LEN, world.now));
    for (int i = 0; i < count; i++) {
        assert_int_equal(gsi_wireguard_feed(n->w, &from, m, INITIATION_LEN, world.now, &packet), WG_DROPPED);
        while (gsi_wireguard_output(n->w, &o))
            assert_true(!o.peer && o.n <= INITIATION_LEN && o.n == COOKIE_REPLY_LEN);
    }
}

static void under_load_a_cookie_is_wanted_and_consumed(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM], reply[DATAGRAM];
    load(&world.bob, LOAD_LEVEL + 10);
    node_say(&world.alice, 1);
    size_t n = take(&world.alice, m);
    assert_int_equal(feed(&world.bob, m, n), WG_DROPPED);
    assert_true(gsi_wireguard_drops(world.bob.w, WG_DROP_LOAD) > 0);
    struct wg_output o;
    assert_true(gsi_wireguard_output(world.bob.w, &o));
    assert_null(o.peer);
    assert_int_equal(o.source, 7);
    assert_int_equal(o.n, COOKIE_REPLY_LEN);
    memcpy(reply, o.p, o.n);
    for (size_t i = 0; i < 8 * o.n; i++) {
        reply[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(feed(&world.alice, reply, COOKIE_REPLY_LEN), WG_DROPPED);
        reply[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(feed(&world.alice, reply, COOKIE_REPLY_LEN), WG_TAKEN);
    assert_int_equal(feed(&world.alice, reply, COOKIE_REPLY_LEN), WG_DROPPED); /* once */
    assert_true(is_silent(&world.alice));                                      /* it is used at the next retry */
    world.now += 6 * SECOND;
    load(&world.bob, LOAD_LEVEL + 10);
    n = take(&world.alice, m);
    assert_false(gsi_is_zero(m + n - MAC_LEN, MAC_LEN));
    /* from another address the cookie is worth nothing */
    struct wg_source elsewhere = {.id = 9, .from = {gsi_ip_of_v4((uint8_t[]){192, 0, 2, 9}), 41641}};
    assert_int_equal(gsi_wireguard_feed(world.bob.w, &elsewhere, m, n, world.now, &packet), WG_DROPPED);
    take(&world.bob, reply);
    assert_int_equal(reply[0], MESSAGE_COOKIE);
    assert_int_equal(feed(&world.bob, m, n), WG_TAKEN);
    assert_int_equal(take(&world.bob, reply), RESPONSE_LEN);
    assert_int_equal(feed(&world.alice, reply, RESPONSE_LEN), WG_TAKEN);
    /* 120 s later it is forgotten */
    world.now += 121 * SECOND;
    gsi_wireguard_tick(world.alice.w, world.now, WALL + world.now);
    while (!is_silent(&world.alice))
        ;
    assert_int_equal(gsi_handshake_initiate(world.alice.peer, world.now), 0);
    n = take(&world.alice, m);
    assert_true(gsi_is_zero(m + n - MAC_LEN, MAC_LEN));
}

static void load_passes_after_a_second(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM], r[DATAGRAM];
    load(&world.bob, LOAD_LEVEL - 1);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_LOAD), 0);
    load(&world.bob, 1);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_LOAD), 1);
    node_say(&world.alice, 1);
    size_t n = take(&world.alice, m);
    world.now += 1 * SECOND - 1;
    assert_int_equal(feed(&world.bob, m, n), WG_DROPPED);
    take(&world.bob, r);
    world.now += 1;
    assert_int_equal(feed(&world.bob, m, n), WG_TAKEN);
}

static void forged_macs_are_no_load(void **state)
{
    (void)state;
    uint8_t m[DATAGRAM] = {MESSAGE_INITIATION};
    for (int i = 0; i < 5000; i++)
        assert_int_equal(feed(&world.bob, m, INITIATION_LEN), WG_DROPPED);
    world_connect();
}

static enum gate_verdict ask(struct cookie_gate *g, struct cookie_jar *j, const struct wg_source *from)
{
    uint8_t m[INITIATION_LEN] = {1}, reply[COOKIE_REPLY_LEN];
    assert_ok(gsi_cookie_stamp(j, m, sizeof m, world.now));
    enum gate_verdict v = gsi_cookie_check(g, from, m, sizeof m, world.now);
    if (v != GATE_WANTS_COOKIE)
        return v;
    assert_ok(gsi_cookie_reply(g, from, m, sizeof m, world.now, reply));
    assert_true(gsi_cookie_take(j, reply, world.now));
    assert_ok(gsi_cookie_stamp(j, m, sizeof m, world.now));
    return gsi_cookie_check(g, from, m, sizeof m, world.now);
}

static void a_source_has_a_burst_of_5_then_20_a_second(void **state)
{
    (void)state;
    struct cookie_gate *g = calloc(1, sizeof *g);
    struct wg_source v4[2] = {{.from = {gsi_ip_of_v4((uint8_t[]){192, 0, 2, 1}), 1}},
                              {.from = {gsi_ip_of_v4((uint8_t[]){192, 0, 2, 2}), 1}}};
    struct wg_source v6[3] = {
        {.from = {{{0x20, 1}}, 1}}, {.from = {{{0x20, 1, [15] = 1}}, 1}}, {.from = {{{0x20, 1, [7] = 1}}, 1}}};
    struct wg_source relay[2] = {{.key = {1}}, {.key = {2}}};
    struct {
        struct wg_source *from;
        bool passes;
    } rows[] = {{&v4[0], false}, {&v4[1], true}, {&v6[0], true}, {&v6[1], false}, {&v6[2], true},
                {&relay[0], true}, {&relay[1], true}};
    struct cookie_jar j;
    assert_ok(gsi_cookie_gate(g, world.bob.public));
    g->loaded_until_ns = NEVER;
    assert_ok(gsi_cookie_jar(&j, world.bob.public));
    for (int i = 0; i < 5; i++)
        assert_int_equal(ask(g, &j, &v4[0]), GATE_PASS);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(gsi_cookie_jar(&j, world.bob.public));
        for (int k = 0; k < 5; k++)
            assert_int_equal(ask(g, &j, rows[i].from), rows[i].passes ? GATE_PASS : GATE_LIMITED);
        assert_int_equal(ask(g, &j, rows[i].from), GATE_LIMITED);
    }
    assert_ok(gsi_cookie_jar(&j, world.bob.public));
    long passed = 0;
    for (int ms = 0; ms < 1000; ms++) {
        world.now += MS;
        passed += ask(g, &j, &v4[0]) == GATE_PASS;
    }
    assert_in_range(passed, 20, 21);
    free(g);
}

static void the_cookie_secret_changes_after_120_s(void **state)
{
    (void)state;
    struct cookie_gate *g = calloc(1, sizeof *g);
    struct cookie_jar j;
    struct wg_source from = source_of(&world.alice);
    uint8_t m[INITIATION_LEN] = {1};
    assert_ok(gsi_cookie_gate(g, world.bob.public));
    g->loaded_until_ns = NEVER;
    assert_ok(gsi_cookie_jar(&j, world.bob.public));
    assert_int_equal(ask(g, &j, &from), GATE_PASS);
    world.now += 119 * SECOND;
    assert_ok(gsi_cookie_stamp(&j, m, sizeof m, world.now));
    assert_int_equal(gsi_cookie_check(g, &from, m, sizeof m, world.now), GATE_PASS);
    world.now += 1 * SECOND;
    assert_int_equal(gsi_cookie_check(g, &from, m, sizeof m, world.now), GATE_WANTS_COOKIE);
    free(g);
}

int main(void)
{
#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
    const struct CMUnitTest tests[] = {
        IN_WORLD(every_flipped_bit_of_every_message_is_dropped),
        IN_WORLD(a_damaged_handshake_with_a_good_mac1_is_dropped_too),
        IN_WORLD(unknown_peers_are_dropped_unanswered),
        IN_WORLD(old_and_repeated_timestamps_are_dropped),
        IN_WORLD(initiations_of_one_peer_are_20_ms_apart),
        IN_WORLD(a_response_to_a_forgotten_initiation_is_dropped),
        IN_WORLD(a_replayed_packet_is_dropped_and_renews_nothing),
        IN_WORLD(inner_packets_must_be_ip_of_the_length_they_say),
        IN_WORLD(an_inner_source_of_somebody_else_is_dropped),
        IN_WORLD(padding_is_zeros_to_16_but_not_beyond_the_mtu),
        IN_WORLD(a_batch_is_sealed_in_place_or_refused_whole),
        IN_WORLD(output_and_staged_packets_are_bounded),
        IN_WORLD(no_message_in_a_wrong_state_does_anything),
        IN_WORLD(what_is_no_message_is_dropped),
        IN_WORLD(under_load_a_cookie_is_wanted_and_consumed),
        IN_WORLD(load_passes_after_a_second),
        IN_WORLD(forged_macs_are_no_load),
        IN_WORLD(a_source_has_a_burst_of_5_then_20_a_second),
        IN_WORLD(the_cookie_secret_changes_after_120_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
