/* WireGuard's sessions over hours of virtual time: renewal, expiry, retries, keepalives, on good and bad networks. */
#include "wireguard_world.h"

/* A packet of n each interval, and what is due. */
static void talk(bool alice, bool bob, uint64_t for_ns, uint64_t interval_ns)
{
    static uint32_t number;
    for (uint64_t end = world.now + for_ns; world.now < end;) {
        number++;
        if (alice)
            node_say(&world.alice, number);
        if (bob)
            node_say(&world.bob, number);
        world_run(interval_ns);
    }
}

static void a_first_packet_makes_the_session_and_goes_through(void **state)
{
    (void)state;
    world_connect();
    assert_int_equal(world.alice.out, 2); /* initiation, packet */
    assert_int_equal(world.bob.out, 1);
    assert_int_equal(world.alice.sessions, 1);
    assert_int_equal(world.bob.sessions, 1);
}

static void an_initiator_with_nothing_to_say_confirms_with_a_keepalive(void **state)
{
    (void)state;
    world.delay_ms = 10;
    node_say(&world.alice, 1);
    world_run(0);
    gsi_queue_clear(world.alice.w, &peer_of(&world.alice)->staged);
    world_run(1 * SECOND);
    assert_int_equal(world.alice.keepalives, 1);
    assert_int_equal(world.bob.packets, 0);
    assert_int_equal(world.bob.sessions, 1);
}

static void a_responder_sends_nothing_before_the_key_is_confirmed(void **state)
{
    (void)state;
    node_say(&world.alice, 1);
    node_flush(&world.alice);
    assert_int_equal(world.n, 1);
    assert_int_equal(node_feed(&world.bob, world.flying[0].bytes, world.flying[0].n), WG_TAKEN);
    struct wg_peer *p = peer_of(&world.bob);
    assert_true(p->next && !p->current);
    struct wg_slot slot = {.p = world.flying[1].bytes, .cap = 200, .n = 60};
    assert_int_equal(gsi_wireguard_seal(world.bob.w, p, &slot, 1, world.now), 0);
    node_say(&world.bob, 5);
    assert_int_equal(p->staged.n, 1);
}

static void data_never_stops_for_three_hours(bool alice, bool bob)
{
    world.delay_ms = 20;
    node_say(bob && !alice ? &world.bob : &world.alice, 100000);
    world_run(1 * SECOND);
    long a = world.alice.packets, b = world.bob.packets;
    talk(alice, bob, 3 * 3600 * SECOND, 1 * SECOND);
    world_run(1 * SECOND);
    assert_int_equal(world.alice.packets - a, bob ? 10800 : 0);
    assert_int_equal(world.bob.packets - b, alice ? 10800 : 0);
    assert_int_equal(world.alice.expired + world.bob.expired, 0);
    /* one handshake each 120 s, 121 when a packet must notice; both sides as initiator at worst */
    long initiations = world.alice.initiations + world.bob.initiations;
    assert_in_range(initiations, 10800 / 166, 2 * 10800 / 119);
}

static void alice_alone_sends_for_hours(void **state)
{
    (void)state;
    data_never_stops_for_three_hours(true, false);
    assert_int_equal(world.alice.initiations, world.alice.sessions);
    assert_in_range(world.alice.initiations, 88, 91);
}

static void bob_alone_sends_for_hours(void **state)
{
    (void)state;
    data_never_stops_for_three_hours(false, true);
}

static void both_send_for_hours(void **state)
{
    (void)state;
    data_never_stops_for_three_hours(true, true);
}

/* The responder alone has data: the initiator renews in the last minute, on receiving. */
static void an_initiator_that_only_receives_renews_by_its_keepalives(void **state)
{
    (void)state;
    world_connect();
    assert_int_equal(world.alice.initiations, 1);
    talk(false, true, 164 * SECOND, 1 * SECOND);
    long keepalives = world.alice.keepalives;
    assert_in_range(keepalives, 15, 17);
    assert_int_equal(world.alice.initiations + world.bob.initiations, 2); /* its keepalives are sends: at 120 s */
    assert_int_equal(world.bob.initiations, 0);
    talk(false, true, 3600 * SECOND, 1 * SECOND);
    world_run(1 * SECOND);
    assert_int_equal(world.alice.packets, 3600 + 164);
    assert_int_equal(world.bob.initiations, 0);
    assert_int_equal(world.alice.expired + world.bob.expired, 0);
}

static void the_last_minute_renews_once(void **state)
{
    (void)state;
    world_connect();
    world_run(166 * SECOND); /* silence: no keepalive, no renewal */
    assert_int_equal(world.alice.initiations, 1);
    node_say(&world.bob, 1);
    world_run(0);
    assert_int_equal(world.alice.initiations, 2);
    assert_int_equal(world.alice.packets, 1);
    node_say(&world.bob, 2);
    world_run(1 * SECOND);
    assert_int_equal(world.alice.initiations, 2);
}

static void keys_are_unusable_after_180_s_and_wiped(void **state)
{
    (void)state;
    world_connect();
    world.cut = true;
    node_say(&world.alice, 9);
    struct wg_output o;
    assert_true(gsi_wireguard_output(world.alice.w, &o));
    uint8_t late[DATAGRAM];
    memcpy(late, o.p, o.n);
    uint64_t born = world.bob.peer->current->born_ns;
    struct wg_slot slot = {.p = world.flying[0].bytes, .cap = 200, .n = 60};
    world.now = born + REJECT_AFTER_TIME - 1; /* ticks are late: ages are looked at all the same */
    assert_int_equal(gsi_wireguard_seal(world.bob.w, world.bob.peer, &slot, 1, world.now), 1);
    world.now++;
    slot.n = 60;
    assert_int_equal(gsi_wireguard_seal(world.bob.w, world.bob.peer, &slot, 1, world.now), 0);
    assert_int_equal(node_feed(&world.bob, late, o.n), WG_DROPPED);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_UNKNOWN), 1);
    world_run(0);
    assert_null(world.bob.peer->current);
    assert_int_equal(world.bob.expired, 1);
    assert_int_equal(world.bob.w->indexes.n, 1); /* of the initiation that seal asked for */
}

static void without_answer_it_tries_20_times_and_gives_up(void **state)
{
    (void)state;
    world.cut = true;
    uint64_t begin = world.now;
    node_say(&world.alice, 1);
    world_run(0);
    assert_int_equal(world.alice.initiations, 1);
    world_run(4999 * MS);
    assert_int_equal(world.alice.initiations, 1);
    world_run(335 * MS);
    assert_int_equal(world.alice.initiations, 2);
    world_run(90 * SECOND - (world.now - begin));
    assert_in_range(world.alice.initiations, 17, 18);
    assert_int_equal(world.alice.gave_up, 0);
    world_run(30 * SECOND);
    assert_int_equal(world.alice.initiations, 20);
    assert_int_equal(world.alice.gave_up, 1);
    assert_int_equal(world.alice.peer->staged.n, 0);
    assert_int_equal(world.alice.w->indexes.n, 0);
    assert_true(gsi_is_zero(&world.alice.peer->initiation, sizeof world.alice.peer->initiation));
    world_run(600 * SECOND);
    assert_int_equal(world.alice.initiations, 20);
    assert_int_equal(gsi_wireguard_deadline(world.alice.w), NEVER);
    world.cut = false;
    node_say(&world.alice, 2);
    world_run(0);
    assert_int_equal(world.bob.last_seen, 2);
}

static void never_two_initiations_within_5_s(void **state)
{
    (void)state;
    world.cut = true;
    for (int i = 0; i < 100; i++) {
        node_say(&world.alice, 1);
        long before = world.alice.initiations;
        uint64_t last = world.alice.peer->timers.initiated_ns;
        world_run(100 * MS);
        if (before && world.alice.initiations > before)
            assert_true(world.alice.peer->timers.initiated_ns >= last + REKEY_TIMEOUT);
    }
    assert_in_range(world.alice.initiations, 2, 3);
}

static void an_initiation_that_went_nowhere_is_followed_at_once(void **state)
{
    (void)state;
    world.cut = true;
    node_say(&world.alice, 1);
    world_run(10 * MS);
    world.cut = false;
    gsi_wireguard_hurry(world.alice.peer, 50 * MS, world.now);
    gsi_wireguard_hurry(world.alice.peer, 3000 * MS, world.now); /* the sooner one counts */
    world_run(39 * MS);
    assert_int_equal(world.alice.initiations, 1);
    world_run(1 * MS);
    assert_int_equal(world.alice.initiations, 2);
    assert_int_equal(world.bob.last_seen, 1);
    gsi_wireguard_hurry(world.alice.peer, 50 * MS, world.now); /* there is a session: nothing waits */
    world_run(100 * SECOND);
    assert_int_equal(world.alice.initiations, 2);
}

static void a_newcomer_is_patient_only_later(void **state)
{
    (void)state;
    static const uint64_t after_ms[] = {0, 250, 750, 1750, 3750, 7750}; /* the last: twice as long again, within REKEY_TIMEOUT */
    uint64_t begin = world.now;
    world.cut = true;
    gsi_wireguard_newcomer(world.alice.w, begin + 10 * SECOND);
    node_say(&world.alice, 1);
    for (size_t i = 0; i < sizeof after_ms / sizeof *after_ms; i++) {
        world_run(begin + after_ms[i] * MS - world.now);
        assert_int_equal(world.alice.initiations, i + 1);
    }
    world_run(4999 * MS);
    assert_int_equal(world.alice.initiations, 6);
    world_run(1 * SECOND);
    assert_int_equal(world.alice.initiations, 7);
    world.cut = false;
    world_run(6 * SECOND);
    assert_int_equal(world.bob.last_seen, 1);
}

static void a_key_with_2_60_messages_renews_but_5_s_after_the_last_initiation(void **state)
{
    (void)state;
    world_connect();
    world.alice.peer->current->counter = REKEY_AFTER_MESSAGES;
    node_say(&world.alice, 1);
    world_run(5 * SECOND - 1);
    assert_int_equal(world.alice.initiations, 1);
    world_run(1);
    assert_int_equal(world.alice.initiations, 2);
    assert_int_equal(world.alice.sessions, 2);
}

static void only_an_initiator_renews_by_time(void **state)
{
    (void)state;
    world_connect();
    world_run(166 * SECOND);
    world.alice.peer->current->initiator = false; /* so that it is Bob who might, on receiving */
    node_say(&world.alice, 1);
    world_run(0);
    assert_int_equal(world.bob.last_seen, 1);
    node_say(&world.bob, 1);
    world_run(0);
    assert_int_equal(world.alice.initiations, 1);
    assert_int_equal(world.bob.initiations, 0);
}

static void timestamps_increase_when_the_clock_stands(void **state)
{
    (void)state;
    struct wg_peer *p = peer_of(&world.alice);
    uint8_t before[STAMP_LEN] = {0};
    p->w->wall_ns = WALL + 980 * MS;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(gsi_handshake_initiate(p, world.now), 0);
        const uint8_t *s = p->stamp_sent;
        uint32_t ns = (uint32_t)s[8] << 24 | (uint32_t)s[9] << 16 | (uint32_t)s[10] << 8 | s[11];
        assert_true(memcmp(s, before, STAMP_LEN) > 0);
        assert_true(ns < SECOND && ns % (1 << 24) == 0);
        memcpy(before, s, STAMP_LEN);
    }
    assert_int_equal(before[7], (UINT64_C(0x400000000000000a) + WALL / SECOND + 4) & 255); /* 60 in a second */
}

static void more_data_means_another_keepalive(void **state)
{
    (void)state;
    world_connect();
    world_run(5 * SECOND);
    node_say(&world.alice, 1);
    world_run(5 * SECOND);
    assert_int_equal(world.bob.keepalives, 1);
    world_run(10 * SECOND);
    assert_int_equal(world.bob.keepalives, 2);
    world_run(60 * SECOND);
    assert_int_equal(world.bob.keepalives, 2);
}

static void received_data_is_answered_by_a_keepalive_after_10_s(void **state)
{
    (void)state;
    world_connect();
    world_run(9999 * MS);
    assert_int_equal(world.bob.keepalives, 0);
    world_run(1 * MS);
    assert_int_equal(world.bob.keepalives, 1);
    assert_int_equal(world.alice.keepalives, 0); /* keepalives are not answered */
    world_run(100 * SECOND);
    assert_int_equal(world.bob.keepalives, 1);
    assert_int_equal(world.alice.keepalives, 0);
}

static void data_without_any_answer_makes_a_new_handshake_after_15_s(void **state)
{
    (void)state;
    world_connect();
    world_run(20 * SECOND);
    assert_int_equal(world.alice.initiations, 1);
    world.cut = true;
    node_say(&world.alice, 1);
    world_run(14999 * MS);
    assert_int_equal(world.alice.initiations, 1);
    world_run(335 * MS);
    assert_int_equal(world.alice.initiations, 2);
}

static void all_keys_are_zero_after_540_s(void **state)
{
    (void)state;
    world_connect();
    node_say(&world.alice, 1); /* a pending initiation is wiped too */
    world_run(1 * SECOND);
    world.alice.peer->jar.has_cookie = true;
    memset(world.alice.peer->jar.cookie, 1, COOKIE_LEN);
    world_run(539 * SECOND);
    for (struct node *n = &world.alice;; n = &world.bob) {
        assert_true(!n->peer->next && !n->peer->current && !n->peer->previous);
        assert_true(gsi_is_zero(&n->peer->initiation, sizeof n->peer->initiation));
        assert_int_equal(n->w->indexes.n, 0);
        assert_int_equal(n->expired, 1);
        assert_int_equal(gsi_wireguard_deadline(n->w), NEVER);
        if (n == &world.bob)
            break;
    }
    assert_false(world.alice.peer->jar.has_cookie);
    assert_true(gsi_is_zero(world.alice.peer->jar.cookie, COOKIE_LEN));
}

static void simultaneous_initiations_both_come_to_an_end_at_once(void **state)
{
    (void)state;
    world.delay_ms = 50;
    node_say(&world.alice, 1);
    node_say(&world.bob, 2);
    world_run(200 * MS); /* long before a retry */
    assert_int_equal(world.alice.initiations, 1);
    assert_int_equal(world.bob.initiations, 1);
    assert_int_equal(world.bob.last_seen, 1);
    assert_int_equal(world.alice.last_seen, 2);
    /* each stays with the younger, its own, and reads the other */
    assert_true(world.alice.peer->current->initiator && world.bob.peer->current->initiator);
    assert_true(world.alice.peer->previous && world.bob.peer->previous);
    talk(true, true, 600 * SECOND, 1 * SECOND);
    world_run(1 * SECOND);
    assert_int_equal(world.alice.packets, 601);
    assert_int_equal(world.bob.packets, 601);
}

static void a_restarted_peer_is_found_again(void **state)
{
    (void)state;
    world_connect();
    gsi_wireguard_free(world.bob.w);
    node_start(&world.bob);
    talk(true, false, 30 * SECOND, 1 * SECOND);
    assert_true(world.bob.last_ns > world.now - 2 * SECOND);
}

static void a_cut_of_any_length_heals_within_6_s(void **state)
{
    (void)state;
    static const uint64_t cuts[] = {3, 14, 16, 119, 121, 179, 181, 300, 539, 541, 2000};
    world.delay_ms = 30;
    node_say(&world.alice, 0);
    world_run(1 * SECOND);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        world.cut = true;
        talk(i % 2 == 0, i % 3 == 0 || i % 2, cuts[i] * SECOND, 1 * SECOND);
        world.cut = false;
        talk(true, true, 6 * SECOND, 1 * SECOND);
        world_run(100 * MS);
        assert_true(world.alice.last_ns > world.now - 2 * SECOND);
        assert_true(world.bob.last_ns > world.now - 2 * SECOND);
        talk(true, true, (1 + rng_below(&world.rng, 200)) * SECOND, 1 * SECOND);
    }
    assert_int_equal(world.alice.w->held_bytes + world.bob.w->held_bytes, 0);
}

/* Who a peer is may change under it: a new row of the network map. */
static void a_peer_is_told_by_who_find_names(void **state)
{
    (void)state;
    world_connect();
    struct wg_status s = gsi_wireguard_status(world.alice.peer);
    assert_int_equal(s.session_ns, world.now);
    assert_true(s.sent == 96 && s.received == 0 && s.staged == 0 && !s.initiating);
    assert_int_equal(gsi_wireguard_status(world.bob.peer).received, 96);
    assert_ptr_equal(gsi_wireguard_who(world.alice.peer), &world.bob);
    assert_memory_equal(gsi_wireguard_key(world.alice.peer), world.bob.public, KEY_LEN);
    assert_memory_equal(gsi_wireguard_public(world.alice.w), world.alice.public, KEY_LEN);
    struct node row = world.bob;
    struct wg_peer *again;
    world.alice.knows = &row;
    assert_ok(gsi_wireguard_peer(world.alice.w, world.bob.public, &again));
    assert_ptr_equal(again, world.alice.peer);
    assert_ptr_equal(gsi_wireguard_who(again), &row);
    /* its routes are the old row's still: nothing passes for it */
    node_say(&world.bob, 3);
    world_run(0);
    assert_int_equal(world.alice.packets, 0);
    assert_int_equal(gsi_wireguard_drops(world.alice.w, WG_DROP_SOURCE), 1);
    node_knows_route(&world.alice, &row);
    node_say(&world.bob, 4);
    world_run(0);
    assert_int_equal(world.alice.packets, 1);
}

static void a_wall_clock_that_goes_back_does_no_harm(void **state)
{
    (void)state;
    world_connect();
    world.wall_skew = (uint64_t)-(int64_t)(3600 * SECOND);
    talk(true, false, 600 * SECOND, 1 * SECOND);
    world_run(1 * SECOND);
    assert_int_equal(world.bob.packets, 601);
    assert_int_equal(gsi_wireguard_drops(world.bob.w, WG_DROP_REPLAYED), 0);
}

static void the_staged_queue_keeps_the_newest_128(void **state)
{
    (void)state;
    world.delay_ms = 10;
    for (uint32_t i = 1; i <= 200; i++)
        node_say(&world.alice, i);
    assert_int_equal(gsi_wireguard_status(world.alice.peer).staged, 128);
    world_run(1 * SECOND);
    assert_int_equal(world.bob.packets, 128);
    assert_int_equal(world.bob.seen[72], 0);
    assert_int_equal(world.bob.seen[73], 1);
    assert_int_equal(world.bob.seen[200], 1);
    assert_int_equal(world.alice.w->held_bytes, 0);
}

/* Twenty runs over networks that lose up to a third, double and reorder: whatever comes, comes once; a packet a second never
 * pauses for longer than a handshake's retries can explain. */
static void bad_networks_lose_packets_but_no_session(void **state)
{
    (void)state;
    long runs = test_scale(6, 40), got = 0;
    for (long run = 0; run < runs; run++) {
        if (run)
            world_end(NULL), world_begin(NULL);
        world.rng.s += (uint64_t)run * 977;
        world.loss = (unsigned)rng_below(&world.rng, 330);
        world.twice = (unsigned)rng_below(&world.rng, 500);
        world.delay_ms = (unsigned)rng_below(&world.rng, 100);
        world.jitter_ms = 1 + (unsigned)rng_below(&world.rng, 3000);
        uint64_t end = world.now + 2 * 3600 * SECOND, quiet = 0;
        for (uint32_t number = 1; world.now < end; number++) {
            node_say(&world.alice, number);
            node_say(&world.bob, number);
            world_run(1 * SECOND);
            uint64_t last = world.bob.last_ns < world.alice.last_ns ? world.bob.last_ns : world.alice.last_ns;
            if (last && world.now - last > quiet)
                quiet = world.now - last;
        }
        assert_true(quiet < 60 * SECOND);
        for (size_t i = 0; i < sizeof world.bob.seen; i++)
            assert_true(world.bob.seen[i] <= 1 && world.alice.seen[i] <= 1);
        assert_true(world.bob.packets > 7200 / 2 && world.alice.packets > 7200 / 2);
        got += world.bob.packets + world.alice.packets;
        assert_true(world.alice.w->indexes.n <= 4 && world.bob.w->indexes.n <= 4);
    }
    assert_true(got > 0);
}

int main(void)
{
#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_first_packet_makes_the_session_and_goes_through),
        IN_WORLD(an_initiator_with_nothing_to_say_confirms_with_a_keepalive),
        IN_WORLD(a_responder_sends_nothing_before_the_key_is_confirmed),
        IN_WORLD(alice_alone_sends_for_hours),
        IN_WORLD(bob_alone_sends_for_hours),
        IN_WORLD(both_send_for_hours),
        IN_WORLD(an_initiator_that_only_receives_renews_by_its_keepalives),
        IN_WORLD(the_last_minute_renews_once),
        IN_WORLD(keys_are_unusable_after_180_s_and_wiped),
        IN_WORLD(without_answer_it_tries_20_times_and_gives_up),
        IN_WORLD(never_two_initiations_within_5_s),
        IN_WORLD(an_initiation_that_went_nowhere_is_followed_at_once),
        IN_WORLD(a_newcomer_is_patient_only_later),
        IN_WORLD(a_key_with_2_60_messages_renews_but_5_s_after_the_last_initiation),
        IN_WORLD(only_an_initiator_renews_by_time),
        IN_WORLD(timestamps_increase_when_the_clock_stands),
        IN_WORLD(more_data_means_another_keepalive),
        IN_WORLD(received_data_is_answered_by_a_keepalive_after_10_s),
        IN_WORLD(data_without_any_answer_makes_a_new_handshake_after_15_s),
        IN_WORLD(all_keys_are_zero_after_540_s),
        IN_WORLD(simultaneous_initiations_both_come_to_an_end_at_once),
        IN_WORLD(a_restarted_peer_is_found_again),
        IN_WORLD(a_cut_of_any_length_heals_within_6_s),
        IN_WORLD(a_peer_is_told_by_who_find_names),
        IN_WORLD(a_wall_clock_that_goes_back_does_no_harm),
        IN_WORLD(the_staged_queue_keeps_the_newest_128),
        IN_WORLD(bad_networks_lose_packets_but_no_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
