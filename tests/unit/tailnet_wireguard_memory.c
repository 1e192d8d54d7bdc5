/* Every allocation of a WireGuard engine fails once: what was asked for is refused, or a packet is lost; the next try is good. */
#include <openssl/crypto.h>

#include "wireguard_world.h"

static long made, fails_at, fired, live;

static void *hooked_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    if (++made == fails_at) {
        fired++;
        return NULL;
    }
    live++;
    return malloc(n);
}

static void *hooked_realloc(void *p, size_t n, const char *file, int line)
{
    if (!p)
        return hooked_malloc(n, file, line);
    if (++made == fails_at) {
        fired++;
        return NULL;
    }
    return realloc(p, n);
}

/* What holds keys is zero when it is given back: looked at in the moment of the free. */
static const uint8_t *watched[8];
static size_t watched_n[8];
static int watching, found_wiped;

static void look(const uint8_t *p)
{
    for (int i = 0; i < watching; i++) {
        if (p != watched[i])
            continue;
        bool zero = true;
        for (size_t k = 0; k < watched_n[i]; k++)
            zero = zero && !watched[i][k];
        found_wiped += zero;
    }
}

static void hooked_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    live -= p != NULL;
    look(p);
    free(p);
}

static void arm(long n)
{
    made = 0;
    fails_at = n;
}

static int start(void **state)
{
    (void)state;
    return CRYPTO_set_mem_functions(hooked_malloc, hooked_realloc, hooked_free) == 1 ? gsi_crypto_init() : -1;
}

/* A packet each way; whether each came within its second. */
static bool life(void)
{
    uint8_t p[64];
    struct wg_peer *a, *b;
    bool asked = gsi_wireguard_peer(world.alice.w, world.bob.public, &a) == 0;
    make_packet(p, sizeof p, world.alice.address, world.bob.address, 1);
    asked = asked && gsi_wireguard_send(world.alice.w, a, p, sizeof p, world.now) == 0;
    world_run(1 * SECOND);
    bool came = world.bob.packets == 1;
    asked = asked && gsi_wireguard_peer(world.bob.w, world.alice.public, &b) == 0;
    make_packet(p, sizeof p, world.bob.address, world.alice.address, 2);
    asked = asked && gsi_wireguard_send(world.bob.w, b, p, sizeof p, world.now) == 0;
    world_run(1 * SECOND);
    return asked && came && world.alice.packets == 1;
}

static void a_session_survives_the_failure_of_each_allocation(void **state)
{
    (void)state;
    long lost = 0, n = 1;
    for (bool hit = true; hit; n++) {
        world_begin(NULL);
        fired = 0;
        arm(n);
        bool whole = life();
        hit = fired;
        arm(0);
        lost += !whole;
        assert_true(whole || hit);
        /* afterwards all is as ever: at the latest after the retries */
        world.alice.peer = world.bob.peer = NULL;
        node_say(&world.alice, 10);
        world_run(20 * SECOND);
        node_say(&world.bob, 11);
        world_run(20 * SECOND);
        assert_int_equal(world.bob.seen[10], 1);
        assert_int_equal(world.alice.seen[11], 1);
        world_run(600 * SECOND);
        struct wg_output o;
        assert_false(gsi_wireguard_output(world.alice.w, &o));
        assert_int_equal(world.alice.w->held_bytes, 0);
        assert_int_equal(world.alice.w->indexes.n + world.bob.w->indexes.n, 0);
        world_end(NULL);
    }
    print_message("# %ld allocations, %ld of which cost a packet or its second\n", n, lost);
    assert_true(n > 100 && lost > 100);
}

static void making_an_engine_and_routes_fails_cleanly(void **state)
{
    (void)state;
    world_begin(NULL);
    long failed = 0;
    long before = live;
    for (long n = 1;; n++) {
        struct wg_config c = {.find = node_find, .arg = &world.alice, .routes = world.alice.routes, .private_key = {1}};
        int e;
        fired = 0;
        arm(n);
        struct wireguard *w = gsi_wireguard_new(&c, &e);
        struct routes *r = gsi_routes_new(0);
        struct prefix p = {gsi_ip_of_v4((uint8_t[]){1, 2, 3, 4}), PREFIX_BITS};
        int added = r ? gsi_routes_add(r, &p, r) : -ENOMEM;
        arm(0);
        assert_int_equal(e, w ? 0 : -ENOMEM);
        assert_true((w && added == 0) != (fired > 0));
        assert_true(added == 0 || added == -ENOMEM);
        gsi_wireguard_free(w);
        gsi_routes_free(r);
        assert_int_equal(live, before);
        failed += fired;
        if (!fired)
            break;
    }
    assert_true(failed > 5);
    world_end(NULL);
}

static void engines_peers_and_sessions_are_zero_when_freed(void **state)
{
    (void)state;
    world_begin(NULL);
    world_connect();
    node_say(&world.alice, 5);
    struct wg_output o;
    assert_true(gsi_wireguard_output(world.alice.w, &o));
    watching = 0;
    found_wiped = 0;
    const struct {
        const void *p;
        size_t n;
    } all[] = {{world.alice.w, sizeof *world.alice.w},
               {world.alice.peer, sizeof *world.alice.peer},
               {world.alice.peer->current, sizeof *world.alice.peer->current},
               {world.alice.w->lent, sizeof(struct datagram) + world.alice.w->lent->cap}};
    for (size_t i = 0; i < 4; i++) {
        watched[i] = all[i].p;
        watched_n[i] = all[i].n;
    }
    watching = 4;
    gsi_wireguard_free(world.alice.w);
    assert_int_equal(found_wiped, 4);
    watching = 0;
    node_start(&world.alice);
    world_end(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_survives_the_failure_of_each_allocation),
        cmocka_unit_test(making_an_engine_and_routes_fails_cleanly),
        cmocka_unit_test(engines_peers_and_sessions_are_zero_when_freed),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
