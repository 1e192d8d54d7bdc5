/* lab/coordination.h: the map streams of the lab's control server, read by our own network map; and time. */
#include "tailnet_coordination_world.h"
#include "tailnet/lab/inside.h"

static struct end *const a = &ends[0], *const b = &ends[1], *const c = &ends[2];

static int set_up(void **state)
{
    (void)state;
    struct coordination_config config = config_of();
    world_start(&config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_end();
    return 0;
}

static const struct coordination_region region = {.id = 900, .code = "lab", .name = "Lab", .host = "127.0.0.1", .ipv4 = "127.0.0.1", .ipv6 = "none",
                                                  .derp_port = 4430, .stun_port = 3479};

/* ---- what is told ---- */

static void the_first_message_is_the_whole(void **state)
{
    (void)state;
    struct ip ip;
    assert_ok(gsi_coordination_set_regions(lab, &region, 1));
    world_join(a);
    assert_int_equal(a->maps, 1);
    const struct map_node *self = gsi_netmap_self(a->map);
    assert_string_equal(self->name, "nodea.lab.test.");
    assert_int_equal(self->addresses_n, 2);
    assert_true(world_has(self, "100.64.0.1/32") && world_has(self, "fd7a:115c:a1e0::1/128"));
    assert_int_equal(self->allowed_n, 2);
    assert_true(self->machine_authorized && !self->expired && self->online == MAP_YES);
    assert_memory_equal(self->machine, world_public(a->machine), KEY_LEN);
    assert_string_equal(self->os, "linux");
    assert_int_equal(self->cap, CAPABILITY_VERSION);
    assert_string_equal(gsi_netmap_domain(a->map), "lab.test");
    assert_true(gsi_netmap_dns(a->map)->proxied);
    assert_string_equal(gsi_netmap_user(a->map, self->user)->login, "owner@lab.test");
    assert_string_equal(gsi_netmap_user(a->map, self->user)->display, "The Owner");
    assert_true(gsi_netmap_has_filter(a->map));
    const struct map_derp_region *r = gsi_netmap_region(a->map, 900);
    assert_non_null(r);
    assert_string_equal(r->code, "lab");
    assert_string_equal(r->nodes[0].host, "127.0.0.1");
    assert_string_equal(r->nodes[0].ipv6, "none");
    assert_int_equal(r->nodes[0].derp_port, 4430);
    assert_int_equal(r->nodes[0].stun_port, 3479);
    assert_false(r->nodes[0].insecure_for_tests);
    assert_int_equal(gsi_netmap_resolve(a->map, "nodea", 5, &ip, 1), 2);
}

static void nodes_see_each_other_come_change_and_go(void **state)
{
    (void)state;
    world_join(a);
    world_join(b);
    const struct map_node *peer = world_peer(a, b);
    assert_non_null(peer);
    assert_true(world_has(peer, "100.64.0.2/32"));
    assert_string_equal(peer->name, "nodeb.lab.test.");
    assert_int_equal(peer->online, MAP_YES);
    assert_true(gsi_is_zero(peer->disco, KEY_LEN)); /* the stream's request tells nothing */
    assert_non_null(world_peer(b, a));
    assert_int_equal(world_update(b, "192.0.2.7:41641", 900), CONTROL_UPDATED);
    peer = world_peer(a, b);
    assert_memory_equal(peer->disco, world_public(b->disco), KEY_LEN);
    assert_int_equal(peer->home_derp, 900);
    assert_int_equal(peer->endpoints_n, 1);
    assert_int_equal(peer->endpoints[0].port, 41641);
    assert_non_null(strstr(a->message, "PeersChangedPatch"));
    assert_null(strstr(a->message, "\"Peers\""));
    assert_int_equal(gsi_netmap_self(b->map)->home_derp, 900);
    world_update(b, NULL, 900);
    assert_int_equal(world_peer(a, b)->endpoints_n, 0);
    world_update(b, NULL, 0);
    assert_int_equal(world_peer(a, b)->home_derp, 0);
    int maps = a->maps;
    world_update(b, NULL, 0); /* the same again */
    assert_int_equal(a->maps, maps);
    assert_ok(gsi_coordination_remove(lab, world_id(b), now));
    world_pump();
    assert_null(world_peer(a, b));
    assert_true(b->map_ended);
    assert_non_null(strstr(a->message, "PeersRemoved"));
    world_open_map(b);
    assert_int_equal(b->event.status, 404);
    assert_code(gsi_coordination_remove(lab, 2, now), GS_EINVALID);
}

static void names_are_made_fit_and_differ(void **state)
{
    (void)state;
    static const struct {
        const char *wish, *name;
    } rows[] = {{"Web.example.org", "web"}, {"WEB", "web-1"}, {"web", "web-2"}, {"-- _x y_", "x-y"}, {"!", "node"}, {"\xc3\xa9t\xc3\xa9", "t"},
                {"a23456789012345678901234567890123456789012345678901234567890123456789", "a23456789012345678901234567890123456789012345678901234567890123"},
                {"a23456789012345678901234567890123456789012345678901234567890123456789", "a23456789012345678901234567890123456789012345678901234567-1"}};
    struct coordination_node n;
    for (int i = 0; i < WORLD_NODES; i++) {
        ends[i].host.hostname = rows[i].wish;
        world_join(&ends[i]);
        assert_true(gsi_coordination_node(lab, i, &n));
        assert_string_equal(n.name, rows[i].name);
        assert_int_equal(n.id, world_id(&ends[i]));
    }
    assert_false(gsi_coordination_node(lab, WORLD_NODES, &n) || gsi_coordination_node(lab, -1, &n));
    ends[3].host.hostname = "web"; /* a new wish, a new name */
    world_update(&ends[3], NULL, 0);
    assert_string_equal(world_peer(a, &ends[3])->name, "web-3.lab.test.");
    int64_t first = world_id(a);
    assert_ok(gsi_coordination_remove(lab, first, now));
    world_register(a, &(struct register_request){.node_key = world_public(a->key), .auth_key = "key-1", .host = &a->host});
    assert_true(gsi_coordination_node(lab, WORLD_NODES - 1, &n));
    assert_string_equal(n.name, "web"); /* name and address are free again, the id is not */
    assert_true(n.id > first && n.v4.b[15] == 1);
}

static void a_node_that_lost_its_stream_is_offline_after_10_s(void **state)
{
    (void)state;
    world_join(a);
    world_join(b);
    world_leave(b);
    world_wait(9 * S);
    assert_int_equal(world_peer(a, b)->online, MAP_YES);
    world_wait(2 * S);
    assert_int_equal(world_peer(a, b)->online, MAP_NO);
    assert_true(world_peer(a, b)->last_seen.s >= WALL_S);
    world_join(c);
    assert_true(world_peer(c, b)->last_seen.s >= WALL_S);
    world_connect(b);
    world_open_map(b);
    assert_int_equal(world_peer(a, b)->online, MAP_YES);
    world_leave(b);
    world_wait(5 * S);
    world_connect(b);
    world_open_map(b);
    int maps = a->maps;
    world_wait(20 * S); /* in time: nobody has noticed */
    assert_int_equal(a->maps, maps);
}

static void an_ephemeral_node_leaves_when_its_stream_is_gone(void **state)
{
    (void)state;
    world_join(a);
    struct register_request r = world_request(b, "key-1");
    r.ephemeral = true;
    assert_int_equal(world_register(b, &r), CONTROL_LOGGED_IN);
    world_open_map(b);
    world_wait(300 * S);
    assert_non_null(world_peer(a, b));
    world_leave(b);
    world_wait(59 * S);
    assert_non_null(world_peer(a, b));
    world_wait(2 * S);
    assert_null(world_peer(a, b));
    assert_int_equal(gsi_coordination_count(lab), 1);
    r = world_request(c, "key-1"); /* one that never opens a stream */
    r.ephemeral = true;
    assert_int_equal(world_register(c, &r), CONTROL_LOGGED_IN);
    world_wait(61 * S);
    assert_int_equal(gsi_coordination_count(lab), 1);
}

static void a_quiet_stream_has_a_sign_of_life_each_50_s(void **state)
{
    (void)state;
    world_join(a);
    world_wait(49 * S);
    assert_int_equal(a->maps, 1);
    world_wait(2 * S);
    assert_int_equal(a->maps, 2);
    assert_string_equal(a->message, "{\"KeepAlive\":true}");
    world_wait(40 * S);
    assert_ok(gsi_coordination_set_filter(lab, "[]"));
    world_pump();
    assert_int_equal(a->maps, 3);
    world_wait(40 * S); /* it counts from the last message */
    assert_int_equal(a->maps, 3);
    world_wait(3600 * S);
    assert_int_equal(a->over, 0);
    assert_int_equal(a->maps, 3 + 72);
}

static void a_second_stream_ends_the_first(void **state)
{
    (void)state;
    world_join(a);
    struct control *first = a->c;
    struct coordination_conn *first_conn = a->conn;
    world_connect(a);
    world_open_map(a);
    ends[7].c = first; /* to be pumped */
    ends[7].conn = first_conn;
    ends[7].map = gsi_netmap_new();
    world_pump();
    assert_true(ends[7].map_ended);
    assert_code(ends[7].event.code, GS_ECLOSED);
    assert_false(a->map_ended);
    world_leave(&ends[7]);
    world_wait(30 * S);
    assert_true(gsi_netmap_self(a->map)->online == MAP_YES);
}

static void filter_and_relays_change_while_nodes_are_there(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{}", "[", "[1]", "[]]", "[]},\"Node\":{\"ID\":1", "[{\"SrcIPs\":5}]"};
    struct filter_list lists[4];
    world_join(a);
    assert_int_equal(gsi_netmap_filter(a->map, lists, 4), 1);
    assert_int_equal(lists[0].n, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_code(gsi_coordination_set_filter(lab, bad[i]), GS_EINVALID);
    world_pump();
    assert_int_equal(a->maps, 1);
    assert_ok(gsi_coordination_set_filter(lab, "[]"));
    world_pump();
    gsi_netmap_filter(a->map, lists, 4);
    assert_int_equal(lists[0].n, 0);
    assert_ok(gsi_coordination_set_filter(lab, NULL));
    struct coordination_region two[2] = {region, region};
    assert_code(gsi_coordination_set_regions(lab, two, 2), GS_EINVALID);
    two[1].id = 0;
    assert_code(gsi_coordination_set_regions(lab, two, 2), GS_EINVALID);
    two[1].id = 7;
    assert_code(gsi_coordination_set_regions(lab, two, -1), GS_EINVALID);
    assert_ok(gsi_coordination_set_regions(lab, two, 2));
    world_pump();
    gsi_netmap_filter(a->map, lists, 4);
    assert_int_equal(lists[0].n, 1);
    assert_int_equal(gsi_netmap_derp(a->map)->regions_n, 2);
    assert_int_equal(a->maps, 3); /* both in one */
}

static void without_compression_it_is_the_same(void **state)
{
    (void)state;
    world_join(b);
    struct register_request r = world_request(a, "key-1");
    world_register(a, &r);
    struct map_request m = world_map_request(a);
    m.compress = false;
    a->map = gsi_netmap_new();
    assert_ok(gsi_control_map(a->c, &m, now));
    world_pump();
    assert_int_equal(a->maps, 1);
    assert_non_null(world_peer(a, b));
}

static void who_does_not_read_is_told_all_at_once_later(void **state)
{
    (void)state;
    world_join(a);
    world_join(b);
    int maps = a->maps;
    a->deaf = true;
    for (int i = 0; i < 1000; i++) {
        char text[64];
        snprintf(text, sizeof text, "192.0.2.1:%d", 1000 + i);
        world_update(b, text, 900);
    }
    for (int i = 2; i < WORLD_NODES; i++)
        world_join(&ends[i]);
    a->deaf = false;
    world_pump();
    assert_in_range(a->maps, maps + 1, maps + 3);
    assert_int_equal(gsi_netmap_peers_n(a->map), WORLD_NODES - 1);
    assert_int_equal(world_peer(a, b)->endpoints[0].port, 1999);
}

static void who_missed_too_many_goings_begins_anew(void **state)
{
    (void)state;
    world_join(a);
    a->deaf = true;
    for (int i = 0; i < 4097; i++) {
        struct member *m = gsi_lab_member_new(lab);
        assert_non_null(m);
        m->authorized = true;
        gsi_lab_member_rename(lab, m, "passing");
        gsi_lab_member_remove(lab, m);
    }
    a->deaf = false;
    world_pump();
    assert_true(a->map_ended);
    world_open_map(a);
    assert_false(a->map_ended);
    world_join(c);
    assert_non_null(world_peer(a, c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_message_is_the_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nodes_see_each_other_come_change_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_made_fit_and_differ, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_lost_its_stream_is_offline_after_10_s, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_ephemeral_node_leaves_when_its_stream_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_quiet_stream_has_a_sign_of_life_each_50_s, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_stream_ends_the_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(filter_and_relays_change_while_nodes_are_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_compression_it_is_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_read_is_told_all_at_once_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_missed_too_many_goings_begins_anew, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
