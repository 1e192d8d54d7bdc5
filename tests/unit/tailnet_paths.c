/* disco/: two nodes joined by a network of the test's own: virtual clock, loss, NATs, blocked UDP, a relay. */
#include "support.h"
#include "tailnet/disco/paths.h"

#define MSEC UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

enum { FLIGHTS = 4096, HOLES = 256, UDP_MS = 1, RELAY_MS = 2, REGION = 7 };

enum nat { NO_NAT, EASY_NAT /* one mapping for all; lets in whom we sent to, by address */, HARD_NAT /* a mapping for each, by port */ };

struct end {
    struct paths *paths;
    struct path *other;
    uint8_t disco[KEY_LEN], node[KEY_LEN];
    enum nat nat;
    struct endpoint inside, stun; /* its socket; what a STUN server saw */
    struct endpoint holes[HOLES]; /* whom it sent to; a hard NAT's port for him is 6000 + index */
    size_t n_holes;
    enum path_kind kind;
    struct endpoint at;
    size_t changes, sent, packets[3]; /* disco packets sent; data by way: nowhere, UDP, relay */
    uint64_t direct_since, relay_since, pong_latency;
    enum path_kind pong_kind;
};

struct flight {
    uint64_t at;
    int to; /* index of the end */
    bool relay;
    struct endpoint from;
    size_t n;
    uint8_t bytes[DISCO_PACKET_MAX];
};

static struct {
    struct end ends[2];
    struct flight flights[FLIGHTS];
    size_t n;
    uint64_t now;
    bool blocked;
    unsigned loss_percent;
    struct rng rng;
} net;

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint e;
    assert_ok(gsi_endpoint_parse(text, strlen(text), &e));
    return e;
}

static void new_paths(struct end *end)
{
    struct paths_config config = {.loopback = false};
    gsi_x25519_private(config.disco_private);
    memcpy(config.node_public, end->node, KEY_LEN);
    end->paths = gsi_paths_new(&config);
    assert_non_null(end->paths);
    memcpy(end->disco, gsi_paths_disco_public(end->paths), KEY_LEN);
}

static void introduce(struct end *end, const struct end *other, bool tell_address)
{
    struct path_peer peer = {.home = REGION, .endpoints = &other->stun, .n = tell_address, .user = end};
    memcpy(peer.node, other->node, KEY_LEN);
    memcpy(peer.disco, other->disco, KEY_LEN);
    assert_ok(gsi_path_set(end->paths, &peer, net.now, &end->other));
}

static void set_up(enum nat a, enum nat b)
{
    memset(&net, 0, sizeof net);
    net.now = 100 * SEC;
    net.rng.s = 1;
    static const char *const inside[] = {"192.168.1.2:41641", "192.168.2.2:41641"}, 
        *const outside[] = {"198.51.100.1:5000", "198.51.100.2:5000"};
    for (int i = 0; i < 2; i++) {
        struct end *end = &net.ends[i];
        gsi_random(end->node, KEY_LEN);
        end->nat = i ? b : a;
        end->stun = endpoint_of(outside[i]);
        end->inside = end->nat == NO_NAT ? end->stun : endpoint_of(inside[i]);
        new_paths(end);
        gsi_paths_endpoints(end->paths, &end->stun, 1, net.now);
    }
    introduce(&net.ends[0], &net.ends[1], true);
    introduce(&net.ends[1], &net.ends[0], true);
}

static void tear_down(void)
{
    for (int i = 0; i < 2; i++)
        gsi_paths_free(net.ends[i].paths);
}

/* ---- the network ---- */

static size_t hole(struct end *end, const struct endpoint *to)
{
    for (size_t i = 0; i < end->n_holes; i++)
        if (gsi_endpoint_equal(&end->holes[i], to))
            return i;
    assert_true(end->n_holes < HOLES);
    end->holes[end->n_holes] = *to;
    return end->n_holes++;
}

static bool lets_in(const struct end *end, const struct endpoint *to, const struct endpoint *from)
{
    if (end->nat == NO_NAT)
        return gsi_endpoint_equal(to, &end->inside);
    if (!gsi_ip_equal(&to->ip, &end->stun.ip))
        return false;
    for (size_t i = 0; i < end->n_holes; i++) {
        if (end->nat == EASY_NAT && to->port == end->stun.port && gsi_ip_equal(&end->holes[i].ip, &from->ip))
            return true;
        if (end->nat == HARD_NAT && to->port == 6000 + i && gsi_endpoint_equal(&end->holes[i], from))
            return true;
    }
    return false;
}

static void fly(int from, const struct disco_packet *packet)
{
    struct end *sender = &net.ends[from], *receiver = &net.ends[!from];
    struct flight f = {.to = !from, .relay = packet->relay, .n = packet->n, .from = sender->stun};
    sender->sent++;
    memcpy(f.bytes, packet->bytes, packet->n);
    if (packet->relay) {
        assert_int_equal(packet->region, REGION);
        assert_memory_equal(packet->node, receiver->node, KEY_LEN);
        f.at = net.now + RELAY_MS * MSEC;
    } else {
        f.at = net.now + UDP_MS * MSEC;
        size_t h = sender->nat == NO_NAT ? 0 : hole(sender, &packet->to);
        if (sender->nat == HARD_NAT)
            f.from.port = (uint16_t)(6000 + h);
        if (net.blocked || !lets_in(receiver, &packet->to, &f.from))
            return;
    }
    if (rng_below(&net.rng, 100) < net.loss_percent)
        return;
    assert_true(net.n < FLIGHTS);
    net.flights[net.n++] = f;
}

static void events(struct end *end)
{
    struct paths_event e;
    while (gsi_paths_next(end->paths, &e)) {
        if (e.type == PATHS_WANT_ENDPOINTS) {
            gsi_paths_endpoints(end->paths, &end->stun, 1, net.now);
            continue;
        }
        assert_ptr_equal(e.path, end->other);
        assert_ptr_equal(e.user, end);
        if (e.type == PATHS_PONG) {
            end->pong_latency = e.info.latency_ns;
            end->pong_kind = e.info.kind;
            continue;
        }
        assert_true(e.info.kind != end->kind || !gsi_endpoint_equal(&e.info.at, &end->at));
        if (e.info.kind == PATH_DIRECT && end->kind != PATH_DIRECT)
            end->direct_since = net.now;
        if (e.info.kind == PATH_RELAY)
            end->relay_since = net.now;
        end->kind = e.info.kind;
        end->at = e.info.at;
        end->changes++;
    }
}

static void settle(int i)
{
    struct disco_packet packet;
    struct end *end = &net.ends[i];
    int rounds = 0;
    do {
        gsi_paths_tick(end->paths, net.now);
        while (gsi_paths_output(end->paths, &packet))
            fly(i, &packet);
        events(end);
        assert_true(++rounds < 10);
    } while (gsi_paths_deadline(end->paths) <= net.now);
}

static void land(size_t k)
{
    struct flight f = net.flights[k];
    net.flights[k] = net.flights[--net.n];
    struct end *end = &net.ends[f.to];
    assert_int_equal(gsi_datagram_kind(f.bytes, f.n), DATAGRAM_DISCO);
    if (f.relay)
        gsi_paths_feed_relay(end->paths, f.bytes, f.n, REGION, net.ends[!f.to].node, net.now);
    else
        gsi_paths_feed(end->paths, f.bytes, f.n, &f.from, net.now);
    settle(f.to);
}

/* With data: the first end sends each 100 ms and the second, as WireGuard's handshake does, answers when that came by the
 * relay. */
static void run(uint64_t duration, bool data)
{
    uint64_t end = net.now + duration, next_data = net.now, answer = UINT64_MAX;
    for (;;) {
        size_t first = net.n;
        uint64_t next = end;
        for (size_t k = 0; k < net.n; k++)
            if (net.flights[k].at <= next) {
                next = net.flights[k].at;
                first = k;
            }
        for (int i = 0; i < 2; i++) {
            uint64_t t = gsi_paths_deadline(net.ends[i].paths);
            if (t < next) {
                next = t;
                first = net.n;
            }
        }
        uint64_t traffic = next_data < answer ? next_data : answer;
        if (data && traffic < next) {
            next = traffic;
            first = net.n;
        }
        if (next >= end && first == net.n)
            break;
        net.now = next;
        if (first < net.n) {
            land(first);
            continue;
        }
        if (data && net.now == next_data) {
            struct route r = gsi_path_send(net.ends[0].paths, net.ends[0].other, net.now);
            net.ends[0].packets[1] += r.udp;
            net.ends[0].packets[2] += r.relay;
            net.ends[0].packets[0] += !r.udp && !r.relay;
            answer = net.now + RELAY_MS * MSEC;
            next_data += 100 * MSEC;
        }
        if (data && net.now == answer) {
            (void)gsi_path_send(net.ends[1].paths, net.ends[1].other, net.now);
            answer = UINT64_MAX;
        }
        settle(0);
        settle(1);
    }
    net.now = end;
}

/* ---- the facts ---- */

static void direct_is_found_within_10_ms(void **state)
{
    (void)state;
    static const enum nat nats[][2] = {{NO_NAT, NO_NAT}, {NO_NAT, EASY_NAT}, {EASY_NAT, NO_NAT}, {EASY_NAT, EASY_NAT},
                                       {NO_NAT, HARD_NAT}, {HARD_NAT, NO_NAT}, {EASY_NAT, HARD_NAT}, {HARD_NAT, EASY_NAT}};
    for (size_t i = 0; i < sizeof nats / sizeof nats[0]; i++) {
        set_up(nats[i][0], nats[i][1]);
        run(10 * MSEC, true);
        if (net.ends[0].kind != PATH_DIRECT)
            fail_msg("NATs %d and %d", nats[i][0], nats[i][1]);
        assert_int_equal(net.ends[0].packets[2], 1); /* the first went by the relay */
        run(1 * SEC, true);
        assert_int_equal(net.ends[0].packets[2], 1);
        assert_int_equal(net.ends[0].changes, 1);
        tear_down();
    }
}

static void addresses_that_only_call_me_maybe_tells_are_found(void **state)
{
    (void)state;
    set_up(EASY_NAT, NO_NAT);
    introduce(&net.ends[0], &net.ends[1], false); /* the netmap knows no address of either */
    introduce(&net.ends[1], &net.ends[0], false);
    run(10 * MSEC, true);
    assert_int_equal(net.ends[0].kind, PATH_DIRECT);
    assert_true(gsi_endpoint_equal(&net.ends[0].at, &net.ends[1].stun));
    tear_down();
}

static void two_hard_nats_stay_on_the_relay_with_few_packets(void **state)
{
    (void)state;
    set_up(HARD_NAT, HARD_NAT);
    run(60 * SEC, true);
    assert_int_equal(net.ends[0].kind, PATH_NONE); /* nothing else was ever told */
    assert_int_equal(net.ends[0].packets[1] + net.ends[0].packets[0], 0);
    assert_int_equal(net.ends[0].packets[2], 600);
    assert_in_range(net.ends[0].sent, 10, 40); /* a ping and a CallMeMaybe each 5 s */
    assert_in_range(net.ends[1].sent, 1, 40);
    tear_down();
}

static void blocked_udp_falls_back_to_the_relay_and_comes_back(void **state)
{
    (void)state;
    set_up(EASY_NAT, EASY_NAT);
    run(20 * SEC, true);
    assert_int_equal(net.ends[0].kind, PATH_DIRECT);
    net.blocked = true;
    uint64_t began = net.now;
    size_t relayed = net.ends[0].packets[2];
    run(10 * SEC, true);
    assert_int_equal(net.ends[0].kind, PATH_RELAY);
    assert_true(net.ends[0].relay_since - began <= 6500 * MSEC + 3 * SEC);
    assert_true(net.ends[0].packets[2] > relayed);
    run(5 * 60 * SEC, true);
    assert_int_equal(net.ends[0].packets[0], 0);
    net.blocked = false;
    began = net.now;
    run(60 * SEC, true);
    assert_int_equal(net.ends[0].kind, PATH_DIRECT);
    assert_true(net.ends[0].direct_since - began < 60 * SEC);
    tear_down();
}

static void lossy_networks_find_it_too(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        set_up(EASY_NAT, EASY_NAT);
        net.rng.s = seed;
        net.loss_percent = 30;
        run(60 * SEC, true);
        assert_int_not_equal(net.ends[0].direct_since, 0);
        assert_int_equal(net.ends[0].packets[0], 0);
        tear_down();
    }
}

static void an_idle_path_goes_silent(void **state)
{
    (void)state;
    set_up(NO_NAT, NO_NAT);
    run(1 * SEC, true);
    run(60 * SEC, false);
    size_t sent = net.ends[0].sent + net.ends[1].sent;
    run(600 * SEC, false);
    assert_int_equal(net.ends[0].sent + net.ends[1].sent, sent);
    for (int i = 0; i < 2; i++)
        assert_true(gsi_paths_deadline(net.ends[i].paths) == UINT64_MAX);
    run(1 * SEC, true); /* and wakes up */
    assert_int_equal(net.ends[0].kind, PATH_DIRECT);
    tear_down();
}

static void a_restarted_peer_is_found_again_with_its_new_key(void **state)
{
    (void)state;
    set_up(EASY_NAT, EASY_NAT);
    run(5 * SEC, true);
    gsi_paths_free(net.ends[1].paths);
    net.n = 0;
    net.ends[1].kind = PATH_NONE;
    new_paths(&net.ends[1]);
    gsi_paths_endpoints(net.ends[1].paths, &net.ends[1].stun, 1, net.now);
    introduce(&net.ends[1], &net.ends[0], true);
    run(20 * SEC, true); /* control has not told yet: pings are of no known key, Pongs do not come */
    assert_int_equal(net.ends[0].kind, PATH_RELAY);
    introduce(&net.ends[0], &net.ends[1], true);
    struct path_info info;
    gsi_path_info(net.ends[0].other, &info);
    assert_true(info.candidates >= 1);
    run(1 * SEC, true);
    assert_int_equal(net.ends[0].kind, PATH_DIRECT);
    tear_down();
}

static void a_changed_link_and_an_unreachable_address_lose_trust_at_once(void **state)
{
    (void)state;
    set_up(NO_NAT, NO_NAT);
    run(1 * SEC, true);
    struct end *a = &net.ends[0];
    gsi_paths_link_changed(a->paths, net.now);
    struct route r = gsi_path_send(a->paths, a->other, net.now);
    assert_true(r.udp && r.relay);
    settle(0);
    assert_int_equal(a->kind, PATH_RELAY);
    run(10 * MSEC, false);
    assert_int_equal(a->kind, PATH_DIRECT);
    gsi_path_unreachable(a->paths, a->other, &a->stun); /* not the best */
    r = gsi_path_send(a->paths, a->other, net.now);
    assert_true(r.udp && !r.relay);
    gsi_path_unreachable(a->paths, a->other, &a->at);
    r = gsi_path_send(a->paths, a->other, net.now);
    assert_true(!r.udp && r.relay);
    tear_down();
}

static void a_users_ping_tells_the_way_of_its_pong(void **state)
{
    (void)state;
    set_up(NO_NAT, NO_NAT);
    assert_true(gsi_path_ping(net.ends[0].paths, net.ends[0].other, net.now));
    settle(0);
    run(20 * MSEC, false);
    assert_int_equal(net.ends[0].pong_kind, PATH_DIRECT);
    assert_int_equal(net.ends[0].pong_latency, 2 * UDP_MS * MSEC);
    net.blocked = true;
    assert_true(gsi_path_ping(net.ends[0].paths, net.ends[0].other, net.now));
    settle(0);
    run(20 * MSEC, false);
    assert_int_equal(net.ends[0].pong_kind, PATH_RELAY);
    assert_int_equal(net.ends[0].pong_latency, 2 * RELAY_MS * MSEC);
    tear_down();
}

static void stale_endpoints_are_asked_for_before_a_call(void **state)
{
    (void)state;
    set_up(HARD_NAT, HARD_NAT);
    struct paths *p = net.ends[0].paths;
    struct paths_event e;
    struct disco_packet packet;
    net.now += 28 * SEC;
    gsi_path_send(p, net.ends[0].other, net.now);
    gsi_paths_tick(p, net.now);
    while (gsi_paths_output(p, &packet))
        assert_false(packet.relay);
    assert_true(gsi_paths_next(p, &e));
    assert_int_equal(e.type, PATHS_WANT_ENDPOINTS);
    assert_false(gsi_paths_next(p, &e)); /* once */
    gsi_paths_endpoints(p, &net.ends[0].stun, 1, net.now);
    assert_true(gsi_paths_deadline(p) <= net.now);
    gsi_paths_tick(p, net.now);
    assert_true(gsi_paths_output(p, &packet));
    assert_true(packet.relay);
    assert_int_equal(packet.n, 98);
    assert_false(gsi_paths_output(p, &packet));
    net.now += 6 * SEC;
    gsi_path_send(p, net.ends[0].other, net.now); /* a call is due, and then they are no more what they were */
    gsi_paths_link_changed(p, net.now);
    gsi_paths_tick(p, net.now);
    while (gsi_paths_output(p, &packet))
        assert_false(packet.relay);
    assert_true(gsi_paths_next(p, &e));
    assert_int_equal(e.type, PATHS_WANT_ENDPOINTS);
    tear_down();
}

/* ---- better ---- */

static struct path_quality some_quality(struct rng *rng)
{
    static const char *const places[] = {"127.0.0.1:1", "[::1]:1", "169.254.1.1:1", "[fe80::1]:1", "10.1.1.1:1",
                                         "[fd00::1]:1", "203.0.113.1:1", "203.0.113.2:1", "[2001:db8::1]:1"};
    struct path_quality q = {.at = endpoint_of(places[rng_below(rng, sizeof places / sizeof places[0])])};
    if (rng_below(rng, 5))
        q.latency_ns = rng_below(rng, 200 * MSEC);
    if (rng_below(rng, 20) == 0)
        q.at = (struct endpoint){0};
    return q;
}

static void better_is_antisymmetric(void **state)
{
    (void)state;
    struct rng rng = {test_seed()};
    size_t decided = 0;
    for (int i = 0; i < 100000; i++) {
        struct path_quality a = some_quality(&rng), b = some_quality(&rng);
        bool ab = gsi_path_is_better(&a, &b), ba = gsi_path_is_better(&b, &a);
        assert_false(ab && ba);
        assert_false(gsi_path_is_better(&a, &a));
        decided += ab || ba;
    }
    assert_true(decided > 50000);
}

static void better_counts_the_points_of_the_reference(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        uint64_t a_us;
        const char *b;
        uint64_t b_us;
        bool better;
    } cases[] = {
        {"203.0.113.1:1", 100000, "203.0.113.2:1", 100000, false},  /* the same */
        {"203.0.113.1:1", 99000, "203.0.113.2:1", 100000, false},   /* 1 % is noise */
        {"203.0.113.1:1", 98000, "203.0.113.2:1", 100000, true},    /* 2 % */
        {"203.0.113.1:1", 100000, "203.0.113.2:1", 50000, false},
        {"[2001:db8::1]:1", 100000, "203.0.113.2:1", 100000, true}, /* IPv6: 10 */
        {"[2001:db8::1]:1", 100000, "203.0.113.2:1", 91000, true},
        {"[2001:db8::1]:1", 100000, "203.0.113.2:1", 89000, false},
        {"10.0.0.1:1", 100000, "203.0.113.2:1", 81000, true},       /* private: 20 */
        {"10.0.0.1:1", 100000, "203.0.113.2:1", 79000, false},
        {"[fd00::1]:1", 100000, "203.0.113.2:1", 71000, true},      /* both: 30 */
        {"169.254.0.1:1", 100000, "203.0.113.2:1", 71000, true},    /* link-local: 30 */
        {"127.0.0.1:1", 100000, "203.0.113.2:1", 51000, true},      /* loopback: 50 */
        {"127.0.0.1:1", 100000, "203.0.113.2:1", 49000, false},
        {"203.0.113.1:1", 1000, "203.0.113.1:1", 100000, false},    /* one address is never better than itself */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct path_quality a = {endpoint_of(cases[i].a), cases[i].a_us * 1000},
                            b = {endpoint_of(cases[i].b), cases[i].b_us * 1000};
        if (gsi_path_is_better(&a, &b) != cases[i].better)
            fail_msg("case %zu", i);
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
        cmocka_unit_test(direct_is_found_within_10_ms),
        cmocka_unit_test(addresses_that_only_call_me_maybe_tells_are_found),
        cmocka_unit_test(two_hard_nats_stay_on_the_relay_with_few_packets),
        cmocka_unit_test(blocked_udp_falls_back_to_the_relay_and_comes_back),
        cmocka_unit_test(lossy_networks_find_it_too),
        cmocka_unit_test(an_idle_path_goes_silent),
        cmocka_unit_test(a_restarted_peer_is_found_again_with_its_new_key),
        cmocka_unit_test(a_changed_link_and_an_unreachable_address_lose_trust_at_once),
        cmocka_unit_test(a_users_ping_tells_the_way_of_its_pong),
        cmocka_unit_test(stale_endpoints_are_asked_for_before_a_call),
        cmocka_unit_test(better_is_antisymmetric),
        cmocka_unit_test(better_counts_the_points_of_the_reference),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
