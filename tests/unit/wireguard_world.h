/* wireguard_world.h: two WireGuard engines, Alice and Bob, a network between them that loses, doubles and reorders as it is told,
 * and a clock that is moved by hand. */
#ifndef TEST_WIREGUARD_WORLD_H
#define TEST_WIREGUARD_WORLD_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tailnet/wireguard/messages.h"
#include "tailnet/wireguard/peer.h"
#include "tailnet/wireguard/routes.h"
#include "tailnet/wireguard/wireguard.h"

#define WALL UINT64_C(1800000000000000000)
enum { FLYING = 4096, DATAGRAM = 2048 };

struct node {
    uint8_t private[KEY_LEN], public[KEY_LEN], address[4];
    struct wireguard *w;
    struct routes *routes;
    struct wg_peer *peer; /* the other one */
    struct node *knows;   /* whom find knows */
    long packets, sessions, expired, gave_up, handshakes, keepalives, initiations, out;
    uint32_t last_seen;     /* the number in the last packet */
    uint64_t last_ns;       /* when one came */
    uint8_t seen[1 << 17];  /* how often each number came */
};

struct flying {
    struct node *to;
    uint64_t at_ns;
    size_t n;
    uint8_t bytes[DATAGRAM];
};

static struct world {
    struct node alice, bob;
    uint64_t now, wall_skew;
    struct rng rng;
    unsigned loss, twice, delay_ms, jitter_ms; /* in 1000 */
    bool cut;
    struct flying *flying;
    size_t n;
} world;

/* An IPv4 packet of n bytes, at least 24, with a number in it. */
static inline void make_packet(uint8_t *p, size_t n, const uint8_t from[4], const uint8_t to[4], uint32_t number)
{
    memset(p, 0x5a, n);
    memset(p, 0, 20);
    p[0] = 0x45;
    p[2] = (uint8_t)(n >> 8);
    p[3] = (uint8_t)n;
    p[8] = 64;
    p[9] = 253;
    memcpy(p + 12, from, 4);
    memcpy(p + 16, to, 4);
    memcpy(p + 20, &number, 4);
}

static inline void *node_find(void *arg, const uint8_t key[KEY_LEN])
{
    struct node *n = arg;
    return n->knows && memcmp(n->knows->public, key, KEY_LEN) == 0 ? n->knows : NULL;
}

static inline void node_start(struct node *n)
{
    struct wg_config c = {.find = node_find, .arg = n, .routes = n->routes};
    memcpy(c.private_key, n->private, KEY_LEN);
    int e;
    n->w = gsi_wireguard_new(&c, &e);
    assert_int_equal(e, 0);
    assert_non_null(n->w);
    n->peer = NULL;
}

static inline void node_init(struct node *n, uint8_t first, uint8_t host, struct node *knows)
{
    memset(n, 0, sizeof *n);
    for (int i = 0; i < KEY_LEN; i++)
        n->private[i] = (uint8_t)(first + i);
    gsi_x25519_public(n->public, n->private);
    memcpy(n->address, (uint8_t[]){100, 64, 0, host}, 4);
    n->knows = knows;
    n->routes = gsi_routes_new(0);
    assert_non_null(n->routes);
}

static inline void node_knows_route(struct node *n, struct node *other)
{
    struct prefix p = {gsi_ip_of_v4(other->address), PREFIX_BITS};
    assert_ok(gsi_routes_add(n->routes, &p, other));
}

static inline void node_stop(struct node *n)
{
    gsi_wireguard_free(n->w);
    gsi_routes_free(n->routes);
    n->w = NULL;
}

/* Alice is node A of appendix A, Bob node B. */
static inline int world_begin(void **state)
{
    (void)state;
    assert_ok(gsi_crypto_init());
    struct flying *flying = world.flying ? world.flying : calloc(FLYING, sizeof *flying);
    memset(&world, 0, sizeof world);
    world.flying = flying;
    world.now = 1000 * SECOND;
    world.rng.s = test_seed();
    node_init(&world.alice, 0x81, 1, &world.bob);
    node_init(&world.bob, 0xa1, 2, &world.alice);
    node_knows_route(&world.alice, &world.bob);
    node_knows_route(&world.bob, &world.alice);
    node_start(&world.alice);
    node_start(&world.bob);
    return 0;
}

static inline int world_end(void **state)
{
    (void)state;
    node_stop(&world.alice);
    node_stop(&world.bob);
    free(world.flying);
    world.flying = NULL;
    return 0;
}

static inline struct node *other_of(const struct node *n) { return n == &world.alice ? &world.bob : &world.alice; }
static inline struct wg_source source_of(const struct node *n)
{
    return (struct wg_source){.id = 7, .from = {gsi_ip_of_v4(n->address), 41641}};
}

static inline struct wg_peer *peer_of(struct node *n)
{
    if (!n->peer)
        assert_ok(gsi_wireguard_peer(n->w, other_of(n)->public, &n->peer));
    return n->peer;
}

static inline bool chance(unsigned in_1000) { return rng_below(&world.rng, 1000) < in_1000; }

static inline void fly(struct node *to, const uint8_t *p, size_t n)
{
    assert_true(world.n < FLYING && n <= DATAGRAM);
    struct flying *f = &world.flying[world.n++];
    f->to = to;
    f->at_ns = world.now + (world.delay_ms + (world.jitter_ms ? rng_below(&world.rng, world.jitter_ms) : 0)) * MS;
    f->n = n;
    memcpy(f->bytes, p, n);
}

/* What a node wants to send goes into the network. */
static inline void node_flush(struct node *n)
{
    struct wg_output o;
    struct wg_event e;
    if (world.now >= gsi_wireguard_deadline(n->w))
        gsi_wireguard_tick(n->w, world.now, WALL + world.now + world.wall_skew);
    assert_true(gsi_wireguard_deadline(n->w) > world.now);
    while (gsi_wireguard_output(n->w, &o)) {
        n->out++;
        n->initiations += o.p[0] == MESSAGE_INITIATION;
        n->handshakes += o.p[0] == MESSAGE_INITIATION || o.p[0] == MESSAGE_RESPONSE;
        n->keepalives += o.p[0] == MESSAGE_TRANSPORT && o.n == TRANSPORT_MIN;
        if (world.cut || chance(world.loss))
            continue;
        fly(other_of(n), o.p, o.n);
        if (chance(world.twice))
            fly(other_of(n), o.p, o.n);
    }
    while (gsi_wireguard_next(n->w, &e)) {
        n->sessions += e.type == WG_SESSION;
        n->expired += e.type == WG_EXPIRED;
        n->gave_up += e.type == WG_GAVE_UP;
    }
}

static inline enum wg_result node_feed(struct node *n, uint8_t *bytes, size_t len)
{
    struct wg_packet packet;
    struct wg_source from = source_of(other_of(n));
    enum wg_result r = gsi_wireguard_feed(n->w, &from, bytes, len, world.now, &packet);
    if (r == WG_PACKET) {
        assert_true(packet.n >= 24);
        assert_memory_equal(packet.p + 12, other_of(n)->address, 4);
        memcpy(&n->last_seen, packet.p + 20, 4);
        n->last_ns = world.now;
        n->packets++;
        if (n->last_seen < sizeof n->seen)
            n->seen[n->last_seen]++;
    }
    return r;
}

/* All that is due now, until nothing is. */
static inline void world_settle(void)
{
    for (bool moved = true; moved;) {
        moved = false;
        node_flush(&world.alice);
        node_flush(&world.bob);
        for (size_t i = 0; i < world.n;) {
            if (world.flying[i].at_ns > world.now) {
                i++;
                continue;
            }
            struct flying f = world.flying[i];
            world.flying[i] = world.flying[--world.n];
            (void)node_feed(f.to, f.bytes, f.n);
            moved = true;
        }
    }
}

static inline uint64_t world_deadline(void)
{
    uint64_t a = gsi_wireguard_deadline(world.alice.w), b = gsi_wireguard_deadline(world.bob.w), first = a < b ? a : b;
    for (size_t i = 0; i < world.n; i++)
        if (world.flying[i].at_ns < first)
            first = world.flying[i].at_ns;
    return first;
}

static inline void world_run(uint64_t ns)
{
    uint64_t end = world.now + ns;
    world_settle();
    for (uint64_t next; (next = world_deadline()) <= end;) {
        world.now = next > world.now ? next : world.now;
        world_settle();
    }
    world.now = end;
    world_settle();
}

static inline void node_say(struct node *n, uint32_t number)
{
    uint8_t p[64];
    make_packet(p, sizeof p, n->address, other_of(n)->address, number);
    assert_ok(gsi_wireguard_send(n->w, peer_of(n), p, sizeof p, world.now));
}

/* A session, Alice its initiator, confirmed. */
static inline void world_connect(void)
{
    node_say(&world.alice, 0);
    world_run(0);
    assert_int_equal(world.bob.packets, 1);
    (void)peer_of(&world.bob);
    assert_true(world.alice.peer->current && world.bob.peer->current);
}

#endif
