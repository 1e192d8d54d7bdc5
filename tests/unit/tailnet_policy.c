/* derp/policy.h: which relay connections are held, on a virtual clock. */
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "support.h"
#include "tailnet/crypto/crypto.h"
#include "tailnet/derp/policy.h"

#define MSEC UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

static struct derp_policy *p;
static uint64_t now;
static const struct policy_heard nothing;

static bool no_memory;
static void *maybe_malloc(size_t n, const char *file, int line) { (void)file, (void)line; return no_memory ? NULL : malloc(n); }
static void *maybe_realloc(void *old, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return no_memory ? NULL : realloc(old, n);
}
static void plain_free(void *old, const char *file, int line) { (void)file, (void)line; free(old); }

/* A pause is half its length and `chance` nanoseconds. */
static uint64_t chance;
static void chosen_random(void *out, size_t n)
{
    assert_int_equal(n, sizeof chance);
    memcpy(out, &chance, n);
}

/* Regions 1, 2 and 3 with 1, 2 and 3 nodes. */
static const struct policy_region three[] = {{1, 1}, {2, 2}, {3, 3}};

static int set_up(void **state)
{
    (void)state;
    chance = 0;
    now = 100 * SEC;
    p = gsi_derp_policy_new();
    assert_non_null(p);
    assert_ok(gsi_derp_policy_regions(p, three, 3, now));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gsi_derp_policy_free(p);
    return 0;
}

static void expect_none(void)
{
    struct policy_order o;
    if (gsi_derp_policy_next(p, &o))
        fail_msg("order %d for region %u", (int)o.what, o.region);
}

/* The only order there is. */
static struct policy_order expect(enum policy_what what, uint32_t region)
{
    struct policy_order o;
    assert_true(gsi_derp_policy_next(p, &o));
    assert_int_equal(o.what, what);
    assert_int_equal(o.region, region);
    assert_true(o.attempt);
    expect_none();
    return o;
}

static struct policy_order expect_node(uint32_t region, uint8_t node)
{
    struct policy_order o = expect(POLICY_CONNECT, region);
    assert_int_equal(o.node, node);
    return o;
}

static void at(uint64_t then)
{
    now = then;
    gsi_derp_policy_tick(p, now);
}

/* To the deadline, which is after this time from now; a nanosecond earlier nothing happens. */
static void pass(uint64_t ns)
{
    assert_int_equal(gsi_derp_policy_deadline(p) - now, ns);
    at(now + ns - 1);
    expect_none();
    at(now + 1);
}

static uint64_t open_home(uint32_t region)
{
    gsi_derp_policy_home(p, region, now);
    uint64_t attempt = expect(POLICY_CONNECT, region).attempt;
    gsi_derp_policy_dialed(p, attempt, now);
    gsi_derp_policy_connected(p, attempt, now);
    expect_none();
    return attempt;
}

static uint64_t open_route(uint32_t region)
{
    assert_int_equal(gsi_derp_policy_route(p, region, &nothing, now), region);
    uint64_t attempt = expect(POLICY_CONNECT, region).attempt;
    gsi_derp_policy_connected(p, attempt, now);
    return attempt;
}

static void without_home_nothing_is_held(void **state)
{
    (void)state;
    expect_none();
    assert_int_equal(gsi_derp_policy_deadline(p), UINT64_MAX);
}

static void the_home_is_held_without_traffic(void **state)
{
    (void)state;
    gsi_derp_policy_home(p, 1, now);
    struct policy_order o = expect_node(1, 0);
    assert_true(o.preferred);
    gsi_derp_policy_dialed(p, o.attempt, now);
    gsi_derp_policy_connected(p, o.attempt, now);
    assert_int_equal(gsi_derp_policy_deadline(p), UINT64_MAX);
    at(now + 1000000 * SEC);
    expect_none();
}

static void another_region_is_closed_60_s_after_the_last_packet(void **state)
{
    (void)state;
    open_home(1);
    assert_int_equal(gsi_derp_policy_route(p, 2, &nothing, now), 2);
    struct policy_order o = expect_node(2, 0);
    assert_false(o.preferred);
    gsi_derp_policy_dialed(p, o.attempt, now);
    gsi_derp_policy_connected(p, o.attempt, now);
    at(now + 59 * SEC);
    assert_int_equal(gsi_derp_policy_route(p, 2, &nothing, now), 2);
    pass(60 * SEC);
    assert_int_equal(expect(POLICY_CLOSE, 2).attempt, o.attempt);
    assert_int_equal(gsi_derp_policy_deadline(p), UINT64_MAX);
}

static void a_new_home_is_told_to_both_and_the_old_one_stays_60_s(void **state)
{
    (void)state;
    uint64_t one = open_home(1), two = open_route(2);
    gsi_derp_policy_home(p, 2, now += SEC);
    struct policy_order o[2];
    assert_true(gsi_derp_policy_next(p, &o[0]) && gsi_derp_policy_next(p, &o[1]));
    expect_none();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(o[i].what, POLICY_PREFER);
        assert_int_equal(o[i].region, i + 1);
        assert_int_equal(o[i].preferred, i == 1);
    }
    assert_int_equal(o[0].attempt, one);
    assert_int_equal(o[1].attempt, two);
    pass(60 * SEC);
    assert_int_equal(expect(POLICY_CLOSE, 1).attempt, one);
}

static void a_home_changed_while_it_connects_is_told_when_it_has(void **state)
{
    (void)state;
    assert_int_equal(gsi_derp_policy_route(p, 2, &nothing, now), 2);
    struct policy_order o = expect_node(2, 0);
    assert_false(o.preferred);
    gsi_derp_policy_home(p, 2, now);
    expect_none();
    gsi_derp_policy_connected(p, o.attempt, now);
    assert_true(expect(POLICY_PREFER, 2).preferred);
}

static void nodes_are_tried_in_order_with_1500_ms_each_then_comes_a_pause(void **state)
{
    (void)state;
    gsi_derp_policy_home(p, 3, now);
    expect_node(3, 0);
    pass(1500 * MSEC);
    expect_node(3, 1);
    pass(1500 * MSEC);
    struct policy_order o = expect_node(3, 2);
    pass(1500 * MSEC);
    assert_int_equal(expect(POLICY_CLOSE, 3).attempt, o.attempt);
    pass(5 * MSEC);
    expect_node(3, 0);
}

static void a_node_that_refuses_gives_way_to_the_next_at_once(void **state)
{
    (void)state;
    gsi_derp_policy_home(p, 3, now);
    for (uint8_t node = 0; node < 3; node++)
        gsi_derp_policy_failed(p, expect_node(3, node).attempt, now);
    expect_none(); /* the caller has closed it */
    pass(5 * MSEC);
    expect_node(3, 0);
}

static void a_relay_that_hangs_has_10_s_and_is_not_the_first_again(void **state)
{
    (void)state;
    gsi_derp_policy_home(p, 3, now);
    struct policy_order o = expect_node(3, 0);
    gsi_derp_policy_dialed(p, o.attempt, now);
    pass(10 * SEC);
    expect(POLICY_CLOSE, 3);
    pass(5 * MSEC);
    expect_node(3, 1);
}

static void the_round_has_10_s_whatever_its_nodes_do(void **state)
{
    (void)state;
    gsi_derp_policy_home(p, 3, now);
    expect_node(3, 0);
    pass(1500 * MSEC);
    struct policy_order o = expect_node(3, 1);
    gsi_derp_policy_dialed(p, o.attempt, now);
    pass(8500 * MSEC);
    expect(POLICY_CLOSE, 3);
    pass(5 * MSEC);
    expect_node(3, 2);
}

static void pauses_grow_by_the_square_to_5_s(void **state)
{
    (void)state;
    gsi_derp_policy_home(p, 1, now);
    for (uint64_t n = 1; n <= 40; n++) {
        uint64_t whole = n * n * 10 * MSEC < 5 * SEC ? n * n * 10 * MSEC : 5 * SEC;
        chance = n & 1 ? whole - 1 : 0;
        gsi_derp_policy_failed(p, expect_node(1, 0).attempt, now);
        pass(whole / 2 + chance);
    }
}

static void a_connection_that_held_10_s_was_no_failure(void **state)
{
    (void)state;
    uint64_t attempt = open_home(1);
    gsi_derp_policy_failed(p, attempt, now);
    pass(5 * MSEC);
    attempt = expect_node(1, 0).attempt;
    gsi_derp_policy_connected(p, attempt, now);
    now += 10 * SEC - 1;
    gsi_derp_policy_failed(p, attempt, now);
    pass(20 * MSEC);
    attempt = expect_node(1, 0).attempt;
    gsi_derp_policy_connected(p, attempt, now);
    now += 10 * SEC;
    gsi_derp_policy_failed(p, attempt, now);
    pass(5 * MSEC);
    expect_node(1, 0);
}

static void what_nobody_writes_to_is_not_tried_again(void **state)
{
    (void)state;
    assert_int_equal(gsi_derp_policy_route(p, 1, &nothing, now), 1);
    gsi_derp_policy_failed(p, expect_node(1, 0).attempt, now);
    at(now + 60 * SEC);
    expect_none();
    assert_int_equal(gsi_derp_policy_deadline(p), UINT64_MAX);
    assert_int_equal(gsi_derp_policy_route(p, 1, &nothing, now), 1);
    expect_node(1, 0);
}

static void a_peer_is_reached_by_its_home_or_where_it_was_heard(void **state)
{
    (void)state;
    struct policy_heard heard = nothing;
    uint64_t two = open_route(2);
    gsi_derp_policy_heard(p, &heard, two);
    assert_int_equal(gsi_derp_policy_route(p, 3, &heard, now), 2); /* 3 is not open */
    expect_none();
    uint64_t three_ = open_route(3);
    assert_int_equal(gsi_derp_policy_route(p, 3, &heard, now), 3);
    gsi_derp_policy_gone(&heard, three_); /* it went from another relay than where it was heard */
    gsi_derp_policy_failed(p, three_, now);
    assert_int_equal(gsi_derp_policy_route(p, 3, &heard, now), 2);
    gsi_derp_policy_gone(&heard, two);
    assert_int_equal(gsi_derp_policy_route(p, 3, &heard, now), 3);
    assert_int_equal(gsi_derp_policy_route(p, 0, &heard, now), 2); /* no home: where it was last */
    assert_int_equal(gsi_derp_policy_route(p, 77, &heard, now), 2); /* nor one that the map has */
    assert_int_equal(gsi_derp_policy_route(p, 0, &nothing, now), 0);
    assert_int_equal(gsi_derp_policy_route(p, 77, &nothing, now), 0);
}

static void what_was_heard_does_not_outlive_the_connection(void **state)
{
    (void)state;
    struct policy_heard heard = nothing;
    uint64_t old = open_route(2);
    gsi_derp_policy_heard(p, &heard, old);
    gsi_derp_policy_failed(p, old, now);
    pass(5 * MSEC);
    gsi_derp_policy_connected(p, expect_node(2, 0).attempt, now);
    assert_int_equal(gsi_derp_policy_route(p, 3, &heard, now), 3);
    struct policy_heard late = nothing;
    gsi_derp_policy_heard(p, &late, old);
    assert_int_equal(late.region, 0);
}

/* Each report in each state: a connection's past does not touch its present. */
static void reports_of_an_attempt_that_is_no_more_do_nothing(void **state)
{
    (void)state;
    gsi_derp_policy_home(p, 3, now);
    uint64_t old = expect_node(3, 0).attempt;
    pass(1500 * MSEC);
    for (int told = 0; told < 2; told++) { /* the next attempt's order is not taken; is */
        uint64_t next = told ? expect_node(3, 1).attempt : old + 1, deadline = gsi_derp_policy_deadline(p);
        gsi_derp_policy_dialed(p, old, now);
        gsi_derp_policy_connected(p, old, now);
        gsi_derp_policy_failed(p, old, now);
        gsi_derp_policy_failed(p, 0, now);
        if (!told)
            gsi_derp_policy_connected(p, next, now); /* which nobody was told to make */
        assert_int_equal(gsi_derp_policy_deadline(p), deadline);
        if (told) {
            gsi_derp_policy_dialed(p, next, now);
            assert_int_not_equal(gsi_derp_policy_deadline(p), deadline);
            gsi_derp_policy_connected(p, next, now);
            gsi_derp_policy_connected(p, next, now);
            gsi_derp_policy_dialed(p, next, now); /* too late: it stays open */
            assert_int_equal(gsi_derp_policy_deadline(p), UINT64_MAX);
        }
    }
}

static void a_map_keeps_what_stays_and_closes_what_goes(void **state)
{
    (void)state;
    open_home(1);
    uint64_t two = open_route(2);
    assert_ok(gsi_derp_policy_regions(p, (struct policy_region[]){{9, 1}, {1, 4}, {3, 0}}, 3, now));
    assert_int_equal(expect(POLICY_CLOSE, 2).attempt, two);
    assert_int_equal(gsi_derp_policy_route(p, 2, &nothing, now), 0);
    assert_int_equal(gsi_derp_policy_route(p, 3, &nothing, now), 0); /* of no node that may be connected to */
    assert_int_equal(gsi_derp_policy_route(p, 9, &nothing, now), 9);
    expect_node(9, 0);
    assert_ok(gsi_derp_policy_regions(p, NULL, 0, now)); /* the home too */
    struct policy_order o;
    assert_true(gsi_derp_policy_next(p, &o) && o.what == POLICY_CLOSE);
    assert_true(gsi_derp_policy_next(p, &o) && o.what == POLICY_CLOSE);
    expect_none();
    assert_int_equal(gsi_derp_policy_deadline(p), UINT64_MAX);
    assert_ok(gsi_derp_policy_regions(p, three, 3, now));
    expect_node(1, 0); /* which is still wanted */
}

static void a_region_that_goes_and_comes_before_its_close_is_told_is_connected_anew(void **state)
{
    (void)state;
    uint64_t old = open_home(1);
    assert_ok(gsi_derp_policy_regions(p, NULL, 0, now));
    assert_ok(gsi_derp_policy_regions(p, three, 3, now));
    assert_true(expect_node(1, 0).attempt > old);
}

static void a_home_that_the_map_has_later_is_connected_then(void **state)
{
    (void)state;
    gsi_derp_policy_home(p, 9, now);
    expect_none();
    assert_ok(gsi_derp_policy_regions(p, &(struct policy_region){9, 1}, 1, now));
    assert_true(expect_node(9, 0).preferred);
}

static void wrong_maps_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static struct policy_region many[POLICY_REGIONS_MAX + 1];
    for (uint32_t i = 0; i <= POLICY_REGIONS_MAX; i++)
        many[i] = (struct policy_region){i + 1, 255};
    assert_code(gsi_derp_policy_regions(p, many, POLICY_REGIONS_MAX + 1, now), GS_EINVALID);
    assert_code(gsi_derp_policy_regions(p, (struct policy_region[]){{4, 1}, {4, 1}}, 2, now), GS_EINVALID);
    assert_code(gsi_derp_policy_regions(p, (struct policy_region[]){{0, 1}}, 1, now), GS_EINVALID);
    assert_int_equal(gsi_derp_policy_route(p, 4, &nothing, now), 0);
    assert_int_equal(gsi_derp_policy_route(p, 3, &nothing, now), 3);
    assert_ok(gsi_derp_policy_regions(p, many, POLICY_REGIONS_MAX, now));
}

/* Map after map, all of it written to, and the caller takes only some of the orders: it gets a close for each that it has. */
static void a_caller_that_lags_behind_many_maps_has_at_most_one_map_open(void **state)
{
    (void)state;
    struct policy_region some[POLICY_REGIONS_MAX];
    struct policy_order o;
    for (int takes = 1; takes <= 2 * POLICY_REGIONS_MAX; takes += 15) {
        int held = 0;
        for (uint32_t map = 0; map < 20; map++) {
            for (uint32_t i = 0; i < POLICY_REGIONS_MAX; i++)
                some[i] = (struct policy_region){1000 * (map + 1) + i, 1};
            assert_ok(gsi_derp_policy_regions(p, some, POLICY_REGIONS_MAX, now));
            for (uint32_t i = 0; i < POLICY_REGIONS_MAX; i++)
                assert_int_equal(gsi_derp_policy_route(p, some[i].id, &nothing, now), some[i].id);
            for (int i = 0; i < takes && gsi_derp_policy_next(p, &o); i++) {
                held += o.what == POLICY_CONNECT ? 1 : -1;
                assert_in_range(held, 0, POLICY_REGIONS_MAX);
            }
        }
        assert_ok(gsi_derp_policy_regions(p, NULL, 0, now));
        for (; gsi_derp_policy_next(p, &o); held--)
            assert_int_equal(o.what, POLICY_CLOSE);
        assert_int_equal(held, 0);
    }
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    no_memory = true;
    struct derp_policy *none = gsi_derp_policy_new();
    no_memory = false;
    assert_null(none);
    gsi_derp_policy_free(NULL);
}

static int init(void **state)
{
    (void)state;
    gsi_random_source = chosen_random;
    return gsi_crypto_init();
}

int main(void)
{
    if (!CRYPTO_set_mem_functions(maybe_malloc, maybe_realloc, plain_free))
        return 1;
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(without_home_nothing_is_held),
        T(the_home_is_held_without_traffic),
        T(another_region_is_closed_60_s_after_the_last_packet),
        T(a_new_home_is_told_to_both_and_the_old_one_stays_60_s),
        T(a_home_changed_while_it_connects_is_told_when_it_has),
        T(nodes_are_tried_in_order_with_1500_ms_each_then_comes_a_pause),
        T(a_node_that_refuses_gives_way_to_the_next_at_once),
        T(a_relay_that_hangs_has_10_s_and_is_not_the_first_again),
        T(the_round_has_10_s_whatever_its_nodes_do),
        T(pauses_grow_by_the_square_to_5_s),
        T(a_connection_that_held_10_s_was_no_failure),
        T(what_nobody_writes_to_is_not_tried_again),
        T(a_peer_is_reached_by_its_home_or_where_it_was_heard),
        T(what_was_heard_does_not_outlive_the_connection),
        T(reports_of_an_attempt_that_is_no_more_do_nothing),
        T(a_map_keeps_what_stays_and_closes_what_goes),
        T(a_region_that_goes_and_comes_before_its_close_is_told_is_connected_anew),
        T(a_home_that_the_map_has_later_is_connected_then),
        T(wrong_maps_are_refused_and_change_nothing),
        T(a_caller_that_lags_behind_many_maps_has_at_most_one_map_open),
        T(without_memory_there_is_none),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
