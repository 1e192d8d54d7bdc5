/* WireGuard's replay window, routes and indexes, each against a naive oracle. */
#include "wireguard_world.h"

/* ---- replay ---- */

enum { COUNTERS = 60000 };

static bool naive_accept(bool *seen, uint64_t *highest, uint64_t counter)
{
    if (seen[counter] || (counter < *highest && *highest - counter > REPLAY_WINDOW))
        return false;
    seen[counter] = true;
    if (counter > *highest)
        *highest = counter;
    return true;
}

static void the_replay_window_is_that_of_a_naive_oracle(void **state)
{
    (void)state;
    struct rng rng = {test_seed()};
    long accepted = 0, refused = 0;
    for (int run = 0; run < 20; run++) {
        static bool seen[COUNTERS];
        memset(seen, 0, sizeof seen);
        struct replay r = {0};
        uint64_t highest = 0, at = 0;
        for (int i = 0; i < 20000; i++) {
            if (rng_below(&rng, 50) == 0)
                at += rng_below(&rng, rng_below(&rng, 4) ? 40 : 12000);
            uint64_t spread = rng_below(&rng, 3) ? 64 : REPLAY_WINDOW + 300;
            uint64_t counter = at + rng_below(&rng, spread);
            if (counter >= COUNTERS)
                break;
            bool want = naive_accept(seen, &highest, counter);
            assert_int_equal(gsi_replay_accept(&r, counter), want);
            accepted += want;
            refused += !want;
        }
    }
    assert_true(accepted > 10000 && refused > 10000);
}

static void the_replay_window_is_8128_and_ends_before_reject_after_messages(void **state)
{
    (void)state;
    assert_int_equal(REPLAY_WINDOW, 8128);
    struct replay r = {0};
    assert_true(gsi_replay_accept(&r, 0));
    assert_false(gsi_replay_accept(&r, 0));
    assert_true(gsi_replay_accept(&r, 20000));
    assert_true(gsi_replay_accept(&r, 20000 - 8128));
    assert_false(gsi_replay_accept(&r, 20000 - 8128));
    assert_false(gsi_replay_accept(&r, 20000 - 8129));
    assert_true(gsi_replay_accept(&r, (UINT64_C(1) << 31) + 1));
    assert_true(gsi_replay_accept(&r, UINT32_MAX));
    assert_true(gsi_replay_accept(&r, REJECT_AFTER_MESSAGES - 1));
    assert_false(gsi_replay_accept(&r, REJECT_AFTER_MESSAGES - 1));
    assert_false(gsi_replay_accept(&r, REJECT_AFTER_MESSAGES));
    assert_false(gsi_replay_accept(&r, UINT64_MAX));
    assert_int_equal(REJECT_AFTER_MESSAGES, UINT64_MAX - 8192); /* 2^64 - 2^13 - 1 */
}

/* ---- routes ---- */

enum { ROUTES = 400, OWNERS = 20 };
static struct prefix model[ROUTES];
static void *model_who[ROUTES];
static size_t model_n;

static void model_remove(size_t i)
{
    model[i] = model[--model_n];
    model_who[i] = model_who[model_n];
}

static void *model_find(const struct ip *ip)
{
    int best = -1;
    void *who = NULL;
    for (size_t i = 0; i < model_n; i++) {
        bool other_family = gsi_ip_is_v4(ip) && model[i].bits < 96;
        if (!other_family && gsi_prefix_has(&model[i], ip) && model[i].bits > best) {
            best = model[i].bits;
            who = model_who[i];
        }
    }
    return who;
}

static size_t model_place(const struct prefix *p)
{
    size_t i = 0;
    while (i < model_n && (model[i].bits != p->bits || !gsi_ip_equal(&model[i].ip, &p->ip)))
        i++;
    return i;
}

/* Few distinct bits, so that prefixes nest. */
static struct ip some_ip(struct rng *rng)
{
    struct ip ip = {{0}};
    if (rng_below(rng, 2)) {
        ip = gsi_ip_of_v4((uint8_t[]){100, 64, 0, 0});
        ip.b[14] = (uint8_t)rng_below(rng, 4);
        ip.b[15] = (uint8_t)rng_below(rng, 256);
    } else {
        ip.b[0] = 0xfd;
        ip.b[7] = (uint8_t)rng_below(rng, 4);
        ip.b[15] = (uint8_t)rng_below(rng, 256);
    }
    return ip;
}

static struct prefix some_prefix(struct rng *rng)
{
    struct prefix p = {some_ip(rng), 128};
    if (rng_below(rng, 3) == 0) {
        p.bits = (uint8_t)(rng_below(rng, 20) ? 90 + rng_below(rng, 39) : rng_below(rng, 129));
        for (unsigned i = p.bits; i < 128; i++)
            p.ip.b[i / 8] &= (uint8_t)~(0x80 >> i % 8);
    }
    return p;
}

static void routes_are_those_of_a_naive_oracle(void **state)
{
    (void)state;
    static char owner[OWNERS];
    struct rng rng = {test_seed()};
    long found = 0, none = 0;
    struct routes *r = gsi_routes_new(ROUTES);
    model_n = 0;
    for (int step = 0; step < 30000; step++) {
        struct prefix p = some_prefix(&rng);
        void *who = &owner[rng_below(&rng, OWNERS)];
        size_t at = model_place(&p);
        uint64_t act = rng_below(&rng, 1000);
        if (act < (step / 5000 % 2 ? 300 : 700)) {
            int e = gsi_routes_add(r, &p, who);
            assert_int_equal(e, at == model_n && model_n == ROUTES ? -ENOBUFS : 0);
            if (e == 0) {
                model[at] = p;
                model_who[at] = who;
                model_n += at == model_n;
            }
        } else if (act < 990) {
            if (rng_below(&rng, 2) && model_n) { /* one that is there */
                at = rng_below(&rng, model_n);
                p = model[at];
                who = model_who[at];
            }
            gsi_routes_remove(r, &p, who);
            if (at < model_n && model_who[at] == who)
                model_remove(at);
        } else {
            gsi_routes_remove_all(r, who);
            for (size_t i = 0; i < model_n;)
                model_who[i] == who ? model_remove(i) : (void)i++;
        }
        assert_int_equal(gsi_routes_count(r), model_n);
        for (int i = 0; i < 4; i++) {
            struct ip ip = some_ip(&rng);
            void *want = model_find(&ip);
            assert_ptr_equal(gsi_routes_find(r, &ip), want);
            want ? found++ : none++;
        }
    }
    gsi_routes_free(r);
    assert_true(found > 1000 && none > 1000);
}

static struct prefix prefix_of(const char *text)
{
    struct prefix p;
    assert_ok(gsi_prefix_parse(text, strlen(text), &p));
    return p;
}

static void no_ipv6_prefix_holds_an_ipv4_address(void **state)
{
    (void)state;
    char six, four;
    struct routes *r = gsi_routes_new(0);
    struct prefix all6 = prefix_of("::/0"), all4 = prefix_of("0.0.0.0/0");
    struct ip ip4 = gsi_ip_of_v4((uint8_t[]){8, 8, 8, 8}), ip6 = {{0x20, 1}};
    assert_ok(gsi_routes_add(r, &all6, &six));
    assert_null(gsi_routes_find(r, &ip4));
    assert_ptr_equal(gsi_routes_find(r, &ip6), &six);
    assert_ok(gsi_routes_add(r, &all4, &four));
    assert_ptr_equal(gsi_routes_find(r, &ip4), &four);
    gsi_routes_remove(r, &all6, &six);
    assert_null(gsi_routes_find(r, &ip6));
    gsi_routes_free(r);
}

static void routes_refuse_what_is_no_prefix_and_no_owner(void **state)
{
    (void)state;
    char who;
    struct routes *r = gsi_routes_new(1);
    struct prefix p = prefix_of("10.0.0.0/8");
    assert_code(gsi_routes_add(r, &p, NULL), -EINVAL);
    p.ip.b[15] = 1;
    assert_code(gsi_routes_add(r, &p, &who), GS_EINVALID);
    p.bits = 129;
    assert_code(gsi_routes_add(r, &p, &who), GS_EINVALID);
    gsi_routes_remove(r, &p, &who);
    p = prefix_of("10.0.0.1");
    assert_null(gsi_routes_find(r, &p.ip));
    assert_ok(gsi_routes_add(r, &p, &who));
    gsi_routes_remove(r, &p, &p);
    assert_int_equal(gsi_routes_count(r), 1);
    p = prefix_of("10.0.0.2");
    assert_code(gsi_routes_add(r, &p, &who), -ENOBUFS);
    gsi_routes_free(r);
    gsi_routes_free(NULL);
}

/* ---- indexes ---- */

static void indexes_are_found_until_they_are_given_back(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static struct wg_peer peer[MANY];
    uint32_t index[MANY];
    struct indexes x = {0};
    struct rng rng = {test_seed()};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++)
            assert_ok(gsi_index_take(&x, &peer[i], NULL, &index[i]));
        size_t left = MANY;
        for (size_t i = 0; i < MANY; i++) {
            assert_ptr_equal(gsi_index_find(&x, index[i])->peer, &peer[i]);
            if (rng_below(&rng, 2))
                continue;
            gsi_index_give(&x, index[i]);
            assert_null(gsi_index_find(&x, index[i]));
            gsi_index_give(&x, index[i]); /* nobody's: nothing */
            index[i] = 0;
            left--;
        }
        assert_int_equal(x.n, left);
        for (size_t i = 0; i < MANY; i++) {
            if (!index[i])
                continue;
            assert_ptr_equal(gsi_index_find(&x, index[i])->peer, &peer[i]);
            gsi_index_give(&x, index[i]);
        }
        assert_int_equal(x.n, 0);
    }
    gsi_indexes_fini(&x);
    assert_null(gsi_index_find(&x, 1));
}

/* ---- peers ---- */

static void *anybody(void *arg, const uint8_t key[KEY_LEN])
{
    (void)key;
    return arg;
}

static void thousands_of_peers_come_and_go(void **state)
{
    (void)state;
    enum { MANY = 1500 };
    static uint8_t key[MANY][KEY_LEN];
    static struct wg_peer *peer[MANY];
    struct routes *routes = gsi_routes_new(0);
    struct wg_config c = {.find = anybody, .arg = &c, .routes = routes, .peers_max = MANY, .private_key = {1}};
    struct wireguard *w = gsi_wireguard_new(&c, NULL);
    struct rng rng = {test_seed()};
    struct wg_peer *more;
    for (size_t i = 0; i < MANY; i++) {
        uint8_t private[KEY_LEN];
        for (size_t k = 0; k < KEY_LEN; k++)
            private[k] = (uint8_t)rng_next(&rng);
        gsi_x25519_public(key[i], private);
        assert_ok(gsi_wireguard_peer(w, key[i], &peer[i]));
        assert_ok(gsi_wireguard_send(w, peer[i], "x", 1, rng_below(&rng, 1000000)));
    }
    assert_code(gsi_wireguard_peer(w, world.bob.public, &more), -ENOBUFS);
    assert_null(more);
    for (size_t i = 0; i < MANY; i += 2)
        gsi_wireguard_remove(w, key[i]);
    for (size_t i = 1; i < w->n; i++)
        assert_true(w->heap[(i - 1) / 2]->due_ns <= w->heap[i]->due_ns && w->heap[i]->heap_at == i);
    for (size_t i = 1; i < MANY; i += 2) {
        assert_ok(gsi_wireguard_peer(w, key[i], &more));
        assert_ptr_equal(more, peer[i]);
    }
    /* the heap gives every one in its turn */
    long initiations = 0;
    uint64_t last = 0, due;
    struct wg_output o;
    while ((due = gsi_wireguard_deadline(w)) < 1000000) {
        assert_true(due >= last);
        last = due;
        gsi_wireguard_tick(w, due, WALL);
        while (gsi_wireguard_output(w, &o))
            initiations++;
    }
    assert_int_equal(initiations, MANY / 2);
    assert_int_equal(w->indexes.n, MANY / 2);
    gsi_wireguard_free(w);
    gsi_routes_free(routes);
}

static void an_engine_needs_a_key_routes_and_find(void **state)
{
    (void)state;
    int e;
    struct wg_config good = {.find = anybody, .routes = world.alice.routes, .private_key = {1}}, c;
    c = good, c.find = NULL;
    assert_null(gsi_wireguard_new(&c, &e));
    assert_int_equal(e, -EINVAL);
    c = good, c.routes = NULL;
    assert_null(gsi_wireguard_new(&c, &e));
    assert_int_equal(e, -EINVAL);
    c = good, c.private_key[0] = 0;
    assert_null(gsi_wireguard_new(&c, NULL));
    gsi_wireguard_free(NULL);
}

static void peers_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct wg_peer *p;
    uint8_t zero[KEY_LEN] = {0}, stranger[KEY_LEN] = {9};
    assert_code(gsi_wireguard_peer(world.alice.w, world.alice.public, &p), GS_EINVALID);
    assert_code(gsi_wireguard_peer(world.alice.w, stranger, &p), -ENOENT);
    struct wg_config c = {.find = anybody, .arg = &c, .routes = world.alice.routes, .private_key = {1}};
    struct wireguard *w = gsi_wireguard_new(&c, NULL);
    assert_code(gsi_wireguard_peer(w, zero, &p), GS_EINVALID);
    assert_null(p);
    /* somebody who has our own key, or sends our own message back */
    struct noise_self self;
    struct noise_peer own;
    struct noise_initiation i;
    struct cookie_jar jar;
    struct wg_source from = source_of(&world.bob);
    struct wg_packet packet;
    uint8_t m[INITIATION_LEN];
    assert_ok(gsi_noise_self(&self, c.private_key));
    assert_ok(gsi_noise_peer(&own, &self, self.public));
    assert_ok(gsi_noise_initiate(&i, &self, &own, 1, (const uint8_t[STAMP_LEN]){1}, m));
    assert_ok(gsi_cookie_jar(&jar, self.public));
    assert_ok(gsi_cookie_stamp(&jar, m, sizeof m, world.now));
    assert_int_equal(gsi_wireguard_feed(w, &from, m, sizeof m, world.now, &packet), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(w, WG_DROP_UNKNOWN), 1);
    assert_int_equal(w->n, 0);
    gsi_wireguard_free(w);
}

static void a_removed_peer_leaves_nothing_behind(void **state)
{
    (void)state;
    node_say(&world.alice, 1);
    node_flush(&world.alice);
    assert_int_equal(node_feed(&world.bob, world.flying[0].bytes, world.flying[0].n), WG_TAKEN);
    world.n = 0;
    struct wg_output o;
    assert_true(world.bob.w->output.n == 1 && world.bob.w->indexes.n == 1);
    gsi_wireguard_remove(world.bob.w, world.alice.public);
    assert_false(gsi_wireguard_output(world.bob.w, &o));
    assert_int_equal(world.bob.w->indexes.n, 0);
    assert_int_equal(world.bob.w->held_bytes, 0);
    assert_int_equal(gsi_wireguard_deadline(world.bob.w), NEVER);
    gsi_wireguard_remove(world.bob.w, world.alice.public);
    world.now += 6 * SECOND;
    world_run(0);
    assert_int_equal(world.bob.packets, 1);
    (void)peer_of(&world.bob);
    struct wg_event e;
    gsi_peer_event(world.bob.peer, WG_GAVE_UP);
    gsi_wireguard_remove(world.bob.w, world.alice.public);
    assert_false(gsi_wireguard_next(world.bob.w, &e));
    world.bob.peer = NULL;
}

int main(void)
{
#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
    const struct CMUnitTest tests[] = {
        IN_WORLD(the_replay_window_is_that_of_a_naive_oracle),
        IN_WORLD(the_replay_window_is_8128_and_ends_before_reject_after_messages),
        IN_WORLD(routes_are_those_of_a_naive_oracle),
        IN_WORLD(no_ipv6_prefix_holds_an_ipv4_address),
        IN_WORLD(routes_refuse_what_is_no_prefix_and_no_owner),
        IN_WORLD(indexes_are_found_until_they_are_given_back),
        IN_WORLD(thousands_of_peers_come_and_go),
        IN_WORLD(an_engine_needs_a_key_routes_and_find),
        IN_WORLD(peers_that_cannot_be_are_refused),
        IN_WORLD(a_removed_peer_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
