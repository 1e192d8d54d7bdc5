/* stun/netcheck.h: reports over a world of STUN servers with known latencies, and the choice of home case by case. */
#include <errno.h>

#include "support.h"
#include "tailnet/crypto/crypto.h"
#include "tailnet/stun/netcheck.h"

#define MSEC UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

enum { REGIONS = 4, WAITING = 256 };

/* Region r is number r + 1; its node k has the address 203.0.113.(r + 1):(3478 + k), and [2001:db8::(r + 1)]. */
static struct {
    struct netcheck *nc;
    uint64_t now, latency[REGIONS]; /* 0: does not answer */
    bool hard_nat, v6;
    struct {
        uint64_t at;
        size_t n;
        uint8_t bytes[STUN_RESPONSE_MAX];
    } waiting[WAITING];
    size_t n, sent, sent_to[REGIONS], reports, homes, https, fulls;
    uint64_t report_at, last_start;
    struct netcheck_report report;
} world;

static struct netcheck_region regions[REGIONS];

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint e;
    assert_ok(gsi_endpoint_parse(text, strlen(text), &e));
    return e;
}

static void set_up(size_t n, size_t nodes)
{
    gsi_netcheck_free(world.nc);
    memset(&world, 0, sizeof world);
    memset(regions, 0, sizeof regions);
    world.now = 100 * SEC;
    for (uint32_t r = 0; r < REGIONS; r++) {
        world.latency[r] = (r + 1) * 20 * MSEC;
        regions[r].id = r + 1;
        regions[r].n = nodes;
        for (size_t k = 0; k < nodes; k++) {
            regions[r].nodes[k] = (struct netcheck_node){endpoint_of("203.0.113.0:3478"), endpoint_of("[2001:db8::]:3478")};
            regions[r].nodes[k].v4.ip.b[IP_LEN - 1] = regions[r].nodes[k].v6.ip.b[IP_LEN - 1] = (uint8_t)(r + 1);
            regions[r].nodes[k].v4.port = regions[r].nodes[k].v6.port = (uint16_t)(3478 + k);
        }
    }
    world.nc = gsi_netcheck_new(true, true);
    assert_non_null(world.nc);
    gsi_netcheck_control(world.nc, true);
    assert_ok(gsi_netcheck_regions(world.nc, regions, n, world.now));
}

static void serve(const struct netcheck_packet *packet)
{
    uint8_t txid[STUN_TXID_LEN];
    bool v4 = gsi_ip_is_v4(&packet->to.ip);
    size_t r = packet->to.ip.b[IP_LEN - 1] - 1u;
    struct endpoint seen = endpoint_of(v4 ? "198.51.100.1:5000" : "[2001:db8:1::1]:6000");
    assert_true(r < REGIONS);
    assert_ok(gsi_stun_request_parse(packet->bytes, sizeof packet->bytes, txid));
    world.sent++;
    world.sent_to[r]++;
    if (world.hard_nat)
        seen.port = (uint16_t)(seen.port + 10 * r + packet->to.port);
    if (!world.latency[r] || (!v4 && !world.v6))
        return;
    assert_true(world.n < WAITING);
    world.waiting[world.n].at = world.now + world.latency[r];
    world.waiting[world.n].n = gsi_stun_response(world.waiting[world.n].bytes, txid, &seen);
    world.n++;
}

static void settle(void)
{
    struct netcheck_packet packet;
    struct netcheck_report report;
    enum netcheck_event event;
    gsi_netcheck_tick(world.nc, world.now);
    while (gsi_netcheck_output(world.nc, &packet))
        serve(&packet);
    while ((event = gsi_netcheck_next(world.nc, &report)) != NETCHECK_NOTHING) {
        world.homes += event == NETCHECK_HOME;
        world.https += event == NETCHECK_WANT_HTTPS;
        if (event != NETCHECK_REPORT)
            continue;
        world.reports++;
        world.fulls += report.full;
        world.report_at = world.now;
        world.report = report;
    }
}

static void run(uint64_t duration)
{
    uint64_t end = world.now + duration;
    settle();
    for (int steps = 0;; steps++) {
        size_t first = world.n;
        uint64_t next = gsi_netcheck_deadline(world.nc);
        for (size_t i = 0; i < world.n; i++)
            if (world.waiting[i].at <= next) {
                next = world.waiting[i].at;
                first = i;
            }
        assert_true(steps < 100000);
        if (next > end)
            break;
        world.now = next > world.now ? next : world.now;
        if (first < world.n) { /* late ones are refused, which is nothing */
            (void)!gsi_netcheck_feed(world.nc, world.waiting[first].bytes, world.waiting[first].n, world.now);
            world.waiting[first] = world.waiting[--world.n];
        }
        settle();
    }
    world.now = end;
}

static void a_full_report_measures_each_region(void **state)
{
    (void)state;
    char text[ENDPOINT_TEXT];
    for (int v6 = 0; v6 < 2; v6++) {
        set_up(REGIONS, 1);
        world.v6 = v6;
        uint64_t began = world.now;
        run(2 * SEC);
        assert_int_equal(world.reports, 1);
        assert_true(world.report.full && world.report.udp);
        assert_true(world.report_at - began <= 80 * MSEC + 2 * 80 * MSEC);
        assert_int_equal(world.report.n, REGIONS);
        for (size_t i = 0; i < REGIONS; i++)
            assert_int_equal(world.report.latencies[i].ns, world.latency[i]);
        assert_string_equal(gsi_endpoint_text(&world.report.v4, text), "198.51.100.1:5000");
        assert_string_equal(gsi_endpoint_text(&world.report.v6, text), v6 ? "[2001:db8:1::1]:6000" : "");
        assert_int_equal(world.report.varies, VARIES_NO);
        assert_int_equal(world.report.home, 1);
        assert_in_range(world.sent, 2 * REGIONS, v6 ? 2 * REGIONS : 4 * REGIONS);
    }
}

static void a_hard_nat_is_seen_by_two_servers_of_one_region_or_two(void **state)
{
    (void)state;
    set_up(1, 2);
    world.hard_nat = world.v6 = true;
    run(2 * SEC);
    assert_int_equal(world.report.varies, VARIES_YES);
    set_up(2, 1);
    world.hard_nat = true;
    run(2 * SEC);
    assert_int_equal(world.report.varies, VARIES_YES);
    set_up(1, 1);
    world.hard_nat = world.v6 = true;
    run(2 * SEC);
    assert_int_equal(world.reports, 1);
    assert_int_equal(world.report.varies, VARIES_UNKNOWN); /* one server cannot tell */
}

static void a_region_that_is_silent_ends_the_phase_after_3_s(void **state)
{
    (void)state;
    set_up(REGIONS, 1);
    world.latency[3] = 0;
    uint64_t began = world.now;
    run(4 * SEC);
    assert_int_equal(world.report_at - began, 3 * SEC);
    assert_int_equal(world.report.n, REGIONS - 1);
    assert_int_equal(world.sent_to[3], 6); /* three tries in each family */
}

static void one_region_is_home_at_once(void **state)
{
    (void)state;
    struct netcheck_report report;
    set_up(1, 1);
    assert_int_equal(gsi_netcheck_next(world.nc, &report), NETCHECK_HOME);
    assert_int_equal(report.home, 1);
    assert_int_equal(gsi_netcheck_next(world.nc, &report), NETCHECK_NOTHING);
    world.latency[0] = 0;
    run(10 * SEC);
    assert_int_equal(world.report.home, 1);
}

static void without_udp_https_measures_or_any_region_is_home(void **state)
{
    (void)state;
    set_up(REGIONS, 1);
    memset(world.latency, 0, sizeof world.latency);
    run(3500 * MSEC);
    assert_int_equal(world.https, 1);
    assert_int_equal(world.reports, 0);
    for (uint32_t r = 0; r < REGIONS; r++)
        gsi_netcheck_latency(world.nc, r + 1, (r == 2 ? 10 : 50) * MSEC);
    settle();
    assert_int_equal(world.reports, 1);
    assert_false(world.report.udp);
    assert_int_equal(world.report.home, 3);

    set_up(REGIONS, 1);
    memset(world.latency, 0, sizeof world.latency);
    run(6 * SEC);
    assert_int_equal(world.reports, 1);
    uint32_t home = world.report.home;
    assert_in_range(home, 1, REGIONS);
    gsi_netcheck_start(world.nc, false, world.now);
    gsi_netcheck_heard(world.nc, home, world.now);
    run(6 * SEC);
    assert_int_equal(world.report.home, home); /* its relay speaks */
    world.now += 121 * SEC;
    gsi_netcheck_start(world.nc, false, world.now);
    run(6 * SEC);
    assert_int_not_equal(world.report.home, home); /* nothing for 120 s */
}

static void an_active_node_asks_the_fastest_each_20_to_26_s(void **state)
{
    (void)state;
    set_up(REGIONS, 1);
    world.v6 = true;
    gsi_netcheck_active(world.nc, true, world.now);
    run(2 * SEC);
    memset(world.sent_to, 0, sizeof world.sent_to);
    run(270 * SEC);
    assert_in_range(world.reports, 1 + 270 / 27, 1 + 270 / 20);
    assert_int_equal(world.fulls, 1);
    assert_int_equal(world.sent_to[3], 0); /* the slowest of four */
    assert_true(world.sent_to[0] >= 2 * (world.reports - 1));
    run(40 * SEC);
    assert_int_equal(world.fulls, 2); /* each 5 min */
    gsi_netcheck_active(world.nc, false, world.now);
    run(30 * SEC);
    size_t reports = world.reports;
    run(900 * SEC);
    assert_int_equal(world.reports - reports, 3);
    assert_int_equal(world.fulls, 5);
}

static void a_home_changes_only_while_control_hears_of_it(void **state)
{
    (void)state;
    set_up(REGIONS, 1);
    run(2 * SEC);
    world.latency[0] = 500 * MSEC;
    gsi_netcheck_control(world.nc, false);
    world.now += 301 * SEC; /* the history is old */
    run(5 * SEC);
    assert_int_equal(world.report.home, 1);
    gsi_netcheck_control(world.nc, true);
    gsi_netcheck_start(world.nc, true, world.now);
    run(5 * SEC);
    assert_int_equal(world.report.home, 2);
    gsi_netcheck_control(world.nc, false);
    regions[1].id = 77; /* the home is gone from the map: one is needed */
    assert_ok(gsi_netcheck_regions(world.nc, regions, REGIONS, world.now));
    run(5 * SEC);
    assert_int_not_equal(world.report.home, 2);
    assert_int_not_equal(world.report.home, 0);
}

static void answers_that_nobody_asked_for_are_refused(void **state)
{
    (void)state;
    uint8_t response[STUN_RESPONSE_MAX], txid[STUN_TXID_LEN] = {0};
    struct netcheck_packet packet;
    struct endpoint wrong = endpoint_of("203.0.113.66:66");
    set_up(1, 1);
    size_t n = gsi_stun_response(response, txid, &wrong);
    assert_code(gsi_netcheck_feed(world.nc, response, n, world.now), GS_EINVALID); /* before anything */
    gsi_netcheck_tick(world.nc, world.now);
    assert_true(gsi_netcheck_output(world.nc, &packet));
    for (unsigned i = 0; i < 2048; i++) { /* each index, wrong random bytes */
        txid[10] = (uint8_t)(i >> 8), txid[11] = (uint8_t)i;
        n = gsi_stun_response(response, txid, &wrong);
        assert_code(gsi_netcheck_feed(world.nc, response, n, world.now), GS_EINVALID);
    }
    assert_ok(gsi_stun_request_parse(packet.bytes, sizeof packet.bytes, txid));
    n = gsi_stun_response(response, txid, &wrong);
    for (size_t cut = 0; cut < n; cut++)
        assert_code(gsi_netcheck_feed(world.nc, response, cut, world.now), GS_EINVALID);
    assert_ok(gsi_netcheck_feed(world.nc, response, n, world.now));
    assert_code(gsi_netcheck_feed(world.nc, response, n, world.now), GS_EINVALID); /* twice */
}

static void wrong_maps_are_refused(void **state)
{
    (void)state;
    static struct netcheck_region many[NETCHECK_REGIONS_MAX + 1];
    set_up(2, 1);
    for (uint32_t i = 0; i <= NETCHECK_REGIONS_MAX; i++)
        many[i].id = i + 1;
    assert_code(gsi_netcheck_regions(world.nc, many, NETCHECK_REGIONS_MAX + 1, world.now), GS_EINVALID);
    assert_ok(gsi_netcheck_regions(world.nc, many, NETCHECK_REGIONS_MAX, world.now));
    many[1].id = 1;
    assert_code(gsi_netcheck_regions(world.nc, many, 2, world.now), GS_EINVALID);
    many[1].id = 0;
    assert_code(gsi_netcheck_regions(world.nc, many, 2, world.now), GS_EINVALID);
    many[1] = (struct netcheck_region){.id = 2, .n = NETCHECK_NODES_MAX + 1};
    assert_code(gsi_netcheck_regions(world.nc, many, 2, world.now), GS_EINVALID);
    assert_ok(gsi_netcheck_regions(world.nc, NULL, 0, world.now));
    assert_true(gsi_netcheck_deadline(world.nc) == UINT64_MAX);
    gsi_netcheck_free(world.nc);
    world.nc = NULL;
}

static void the_home_is_chosen_as_the_reference_says(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct home_region r[3];
        uint32_t old;
        bool heard;
        uint32_t home;
    } cases[] = {
        {"the fastest", {{.id = 1, .now_ns = 30 * MSEC, .best_ns = 30 * MSEC}, {.id = 2, .now_ns = 20 * MSEC, .best_ns = 20 * MSEC}}, 0, false, 2},
        {"by the best of 5 min", {{.id = 1, .now_ns = 90 * MSEC, .best_ns = 10 * MSEC}, {.id = 2, .now_ns = 20 * MSEC, .best_ns = 20 * MSEC}}, 0, false, 1},
        {"that answers now", {{.id = 1, .best_ns = 10 * MSEC}, {.id = 2, .now_ns = 20 * MSEC, .best_ns = 20 * MSEC}}, 0, false, 2},
        {"not for 9 ms", {{.id = 1, .now_ns = 10 * MSEC, .best_ns = 10 * MSEC}, {.id = 2, .now_ns = 1 * MSEC, .best_ns = 1 * MSEC}}, 1, false, 1},
        {"for 11 ms", {{.id = 1, .now_ns = 12 * MSEC, .best_ns = 12 * MSEC}, {.id = 2, .now_ns = 1 * MSEC, .best_ns = 1 * MSEC}}, 1, false, 2},
        {"not for a quarter", {{.id = 1, .now_ns = 100 * MSEC, .best_ns = 100 * MSEC}, {.id = 2, .now_ns = 75 * MSEC, .best_ns = 75 * MSEC}}, 1, false, 1},
        {"for two fifths", {{.id = 1, .now_ns = 100 * MSEC, .best_ns = 100 * MSEC}, {.id = 2, .now_ns = 60 * MSEC, .best_ns = 60 * MSEC}}, 1, false, 2},
        {"the old one is silent", {{.id = 1, .best_ns = 100 * MSEC}, {.id = 2, .now_ns = 90 * MSEC, .best_ns = 90 * MSEC}}, 1, false, 2},
        {"but its relay is not", {{.id = 1, .best_ns = 100 * MSEC}, {.id = 2, .now_ns = 90 * MSEC, .best_ns = 90 * MSEC}}, 1, true, 1},
        {"avoid", {{.id = 1, .avoid = true, .now_ns = 1 * MSEC, .best_ns = 1 * MSEC}, {.id = 2, .now_ns = 90 * MSEC, .best_ns = 90 * MSEC}}, 2, false, 2},
        {"avoid, but home", {{.id = 1, .avoid = true, .now_ns = 1 * MSEC, .best_ns = 1 * MSEC}, {.id = 2, .now_ns = 90 * MSEC, .best_ns = 90 * MSEC}}, 1, false, 1},
        {"no home", {{.id = 1, .no_home = true, .now_ns = 1 * MSEC, .best_ns = 1 * MSEC}, {.id = 2, .now_ns = 90 * MSEC, .best_ns = 90 * MSEC}}, 1, true, 2},
        {"score", {{.id = 1, .score = 3, .now_ns = 20 * MSEC, .best_ns = 20 * MSEC}, {.id = 2, .score = 0.5, .now_ns = 90 * MSEC, .best_ns = 90 * MSEC}}, 0, false, 2},
        {"an old one that is gone", {{.id = 1, .now_ns = 20 * MSEC, .best_ns = 20 * MSEC}}, 9, true, 1},
        {"nobody answers", {{.id = 1, .best_ns = 20 * MSEC}}, 1, true, 0},
        {"nobody may", {{.id = 1, .no_home = true, .now_ns = 1, .best_ns = 1}}, 0, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = 0;
        while (n < 3 && cases[i].r[n].id)
            n++;
        uint32_t home = gsi_home_choose(cases[i].r, n, cases[i].old, cases[i].heard);
        if (home != cases[i].home)
            fail_msg("%s: %u", cases[i].what, home);
    }
}

static int init(void **state)
{
    (void)state;
    return gsi_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_report_measures_each_region),
        cmocka_unit_test(a_hard_nat_is_seen_by_two_servers_of_one_region_or_two),
        cmocka_unit_test(a_region_that_is_silent_ends_the_phase_after_3_s),
        cmocka_unit_test(one_region_is_home_at_once),
        cmocka_unit_test(without_udp_https_measures_or_any_region_is_home),
        cmocka_unit_test(an_active_node_asks_the_fastest_each_20_to_26_s),
        cmocka_unit_test(a_home_changes_only_while_control_hears_of_it),
        cmocka_unit_test(answers_that_nobody_asked_for_are_refused),
        cmocka_unit_test(wrong_maps_are_refused),
        cmocka_unit_test(the_home_is_chosen_as_the_reference_says),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
