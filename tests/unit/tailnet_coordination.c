/* lab/coordination.h: the lab's control server against our own client: joining, logins, keys, deltas, time, and garbage. */
#include "tailnet_coordination_world.h"

static int set_up(void **state)
{
    (void)state;
    struct coordination_config config = config_of();
    memset(control_key, 0x41, KEY_LEN);
    world_start(&config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_end();
    return 0;
}

/* The server anew, with another configuration. */
static void again(const struct coordination_config *config)
{
    world_end();
    world_start(config);
}

static struct end *const a = &ends[0], *const b = &ends[1], *const c = &ends[2];

/* What the server answers to bytes on a connection of its own: up to its end. */
static ssize_t raw(const char *bytes, size_t n, char *out, size_t cap, size_t *out_n)
{
    struct coordination_conn *conn = gsi_coordination_join(lab, NULL, now);
    ssize_t k;
    assert_non_null(conn);
    gsi_coordination_feed(conn, bytes, n, now);
    *out_n = 0;
    while ((k = gsi_coordination_output(conn, out + *out_n, cap - 1 - *out_n, now)) > 0)
        *out_n += (size_t)k;
    out[*out_n] = 0;
    gsi_coordination_leave(conn, now);
    return k;
}

/* ---- HTTP/1.1 ---- */

static void the_key_is_served(void **state)
{
    (void)state;
    char request[512], answer[2048];
    size_t n;
    struct server_key *k = gsi_server_key_new(&url, CAPABILITY_VERSION);
    assert_code(raw(request, gsi_server_key_output(k, request, sizeof request), answer, sizeof answer, &n), GS_ECLOSED);
    assert_int_equal(gsi_server_key_feed(k, answer, n), 1);
    assert_memory_equal(gsi_server_key_public(k), world_public(control_key), KEY_LEN);
    gsi_server_key_free(k);
}

static void other_requests_get_an_answer_and_the_end(void **state)
{
    (void)state;
    static const struct {
        const char *request, *status;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"POST /key?v=115 HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"GET /key HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"GET /register/0123456789012345678901234567890123456789 HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"\r\n\r\n", "HTTP/1.1 400 "},
        {"get /key?v=1 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"POST /ts2021 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"POST /ts2021 HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 400 "},
        {"POST /ts2021 HTTP/1.1\r\nUpgrade: tailscale-control-protocol\r\n\r\n", "HTTP/1.1 400 "},
        {"POST /ts2021 HTTP/1.1\r\nUpgrade: tailscale-control-protocol\r\nX-Tailscale-Handshake: AAAA\r\n\r\n", "HTTP/1.1 400 "},
    };
    char answer[2048], flood[10 * 1024];
    size_t n;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_code(raw(rows[i].request, strlen(rows[i].request), answer, sizeof answer, &n), GS_ECLOSED);
        assert_memory_equal(answer, rows[i].status, strlen(rows[i].status));
    }
    memset(flood, 'x', sizeof flood);
    assert_code(raw(flood, sizeof flood, answer, sizeof answer, &n), GS_ECLOSED);
    assert_memory_equal(answer, "HTTP/1.1 431 ", 13);
    assert_code(raw("GET /\0/ HTTP/1.1\r\n\r\n", 21, answer, sizeof answer, &n), GS_ECLOSED);
    assert_memory_equal(answer, "HTTP/1.1 400 ", 13);
}

static void a_client_of_another_key_or_too_old_is_turned_away(void **state)
{
    (void)state;
    struct register_request r = world_request(a, "key-1");
    uint8_t other[KEY_LEN];
    memset(other, 0x42, KEY_LEN);
    a->conn = gsi_coordination_join(lab, a, now);
    assert_ok(gsi_control_new(&a->c, &(struct control_config){.url = &url, .server_key = world_public(other), .machine_private = a->machine}, now));
    assert_ok(gsi_control_register(a->c, &r, now));
    world_pump();
    assert_code(a->server_over, -EACCES);
    world_leave(a);
    a->server_over = 0;
    a->conn = gsi_coordination_join(lab, a, now);
    assert_ok(gsi_control_new(&a->c,
                              &(struct control_config){.url = &url,
                                                       .server_key = gsi_coordination_public(lab),
                                                       .machine_private = a->machine,
                                                       .version = COORDINATION_VERSION_MIN - 1},
                              now));
    world_pump();
    assert_code(a->over, -ECONNREFUSED);
    assert_code(a->server_over, GS_ECLOSED);
    assert_int_equal(gsi_coordination_count(lab), 0);
}

static void a_connection_that_says_nothing_ends(void **state)
{
    (void)state;
    a->conn = gsi_coordination_join(lab, a, now);
    world_wait(9 * S);
    assert_code(a->server_over, 0);
    world_wait(2 * S);
    assert_code(a->server_over, GS_ETIMEOUT);
    world_connect(b);
    world_pump();
    world_wait(299 * S);
    assert_code(b->server_over, 0);
    world_wait(2 * S);
    assert_code(b->server_over, GS_ECLOSED);
}

static void connections_have_a_maximum(void **state)
{
    (void)state;
    struct coordination_config config = config_of();
    config.connections_max = 2;
    again(&config);
    world_connect(a);
    world_connect(b);
    assert_null(gsi_coordination_join(lab, NULL, now));
    world_leave(a);
    world_connect(c);
}

/* ---- joining ---- */

static void the_right_auth_key_lets_in_and_a_wrong_one_does_not(void **state)
{
    (void)state;
    struct register_request wrong = world_request(a, "key-2"), right = world_request(a, "key-1");
    assert_int_equal(world_register(a, &wrong), CONTROL_REJECTED);
    assert_string_equal(a->text, "invalid auth key");
    assert_int_equal(gsi_coordination_count(lab), 0);
    assert_int_equal(world_register(a, &right), CONTROL_LOGGED_IN);
    assert_string_equal(a->text, "owner@lab.test");
    assert_int_equal(gsi_coordination_count(lab), 1);
    assert_int_equal(world_register(a, &wrong), CONTROL_REJECTED);
    right.auth_key = NULL; /* it is here already */
    assert_int_equal(world_register(a, &right), CONTROL_LOGGED_IN);
    assert_int_equal(gsi_coordination_count(lab), 1);
}

static void without_a_key_of_its_own_a_lab_takes_any(void **state)
{
    (void)state;
    struct coordination_config config = config_of();
    config.auth_key = NULL;
    again(&config);
    struct register_request r = world_request(a, "whatever");
    assert_int_equal(world_register(a, &r), CONTROL_LOGGED_IN);
    r = world_request(b, NULL);
    assert_int_equal(world_register(b, &r), CONTROL_NEEDS_LOGIN);
}

static void a_login_is_waited_for_and_approved(void **state)
{
    (void)state;
    char login[600], request[700], answer[2048];
    size_t n;
    struct register_request r = world_request(a, NULL);
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN);
    assert_memory_equal(a->text, "http://127.0.0.1:9/register/", 28);
    memcpy(login, a->text, sizeof login);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n\r\n", login + strlen("http://127.0.0.1:9"));
    assert_code(raw(request, strlen(request), answer, sizeof answer, &n), GS_ECLOSED);
    assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN); /* the same one */
    assert_string_equal(a->text, login);
    r.followup = login;
    assert_int_equal(world_register(a, &r), 0);
    world_wait(700 * S); /* longer than a URL lives that nobody waits for */
    world_connect(b);
    world_wait(400 * S); /* and others have their times */
    assert_code(b->server_over, GS_ETIMEOUT);
    assert_int_equal(gsi_coordination_count(lab), 0);
    assert_code(gsi_coordination_approve(lab, "http://127.0.0.1:9/register/0", NULL, now), GS_EINVALID);
    assert_code(gsi_coordination_approve(lab, NULL, NULL, now), GS_EINVALID);
    assert_code(gsi_coordination_approve(lab, login, "", now), GS_EINVALID);
    assert_code(gsi_coordination_approve(lab, login, "tagged-devices", now), GS_EINVALID);
    assert_ok(gsi_coordination_approve(lab, login, "bob@lab.test", now));
    world_pump();
    assert_int_equal(a->event.type, CONTROL_LOGGED_IN);
    assert_string_equal(a->text, "bob@lab.test");
    assert_code(gsi_coordination_approve(lab, login, NULL, now), GS_EINVALID); /* it is done */
    world_open_map(a);
    const struct map_node *self = gsi_netmap_self(a->map);
    assert_string_equal(gsi_netmap_user(a->map, self->user)->login, "bob@lab.test");
}

static void a_login_that_was_approved_before_is_found(void **state)
{
    (void)state;
    char login[600];
    struct register_request r = world_request(a, NULL);
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN);
    memcpy(login, a->text, sizeof login);
    assert_ok(gsi_coordination_approve(lab, login, NULL, now));
    r.followup = login;
    assert_int_equal(world_register(a, &r), CONTROL_LOGGED_IN);
    assert_string_equal(a->text, "owner@lab.test");
}

static void a_login_ends_with_its_time_and_is_no_other_machines(void **state)
{
    (void)state;
    char login[600];
    struct register_request r = world_request(a, NULL), theft = world_request(b, NULL);
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN);
    memcpy(login, a->text, sizeof login);
    theft.followup = login;
    assert_int_equal(world_register(b, &theft), CONTROL_NEEDS_LOGIN);
    assert_string_not_equal(b->text, login);
    assert_ok(gsi_coordination_approve(lab, login, NULL, now));
    assert_int_equal(world_register(b, &theft), CONTROL_NEEDS_LOGIN);
    memcpy(c->key, a->key, KEY_LEN); /* nor with the same node key */
    theft = world_request(c, NULL);
    theft.followup = login;
    assert_int_equal(world_register(c, &theft), CONTROL_NEEDS_LOGIN);
    assert_string_not_equal(c->text, login);
    world_wait(601 * S);
    assert_code(gsi_coordination_approve(lab, login, NULL, now), GS_EINVALID);
    r.followup = login;
    world_leave(a);
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN);
    assert_string_not_equal(a->text, login);
}

static void waiting_logins_have_a_maximum(void **state)
{
    (void)state;
    struct register_request r = world_request(a, NULL);
    for (int i = 0; i < 256; i++) {
        a->key[2] = (uint8_t)i;
        r.node_key = world_public(a->key);
        assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN);
    }
    a->key[3] = 1;
    r.node_key = world_public(a->key);
    assert_int_equal(world_register(a, &r), CONTROL_REJECTED);
    assert_string_equal(a->text, "too many logins wait");
    world_wait(601 * S);
    world_leave(a);
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN);
}

static void a_node_key_belongs_to_one_machine(void **state)
{
    (void)state;
    world_join(a);
    memcpy(b->key, a->key, KEY_LEN);
    struct register_request r = world_request(b, "key-1");
    assert_int_equal(world_register(b, &r), CONTROL_REJECTED);
    struct map_request m = world_map_request(b);
    assert_ok(gsi_control_map(b->c, &m, now));
    world_pump();
    assert_int_equal(b->event.type, CONTROL_FAILED);
    assert_int_equal(b->event.status, 404);
    assert_int_equal(a->maps, 1); /* nothing came of it */
}

static void nodes_have_a_maximum(void **state)
{
    (void)state;
    struct coordination_config config = config_of();
    config.nodes_max = 1;
    again(&config);
    world_join(a);
    struct register_request r = world_request(b, "key-1");
    assert_int_equal(world_register(b, &r), CONTROL_REJECTED);
    assert_ok(gsi_coordination_remove(lab, world_id(a), now));
    assert_int_equal(world_register(b, &r), CONTROL_LOGGED_IN);
}

static void a_new_machine_may_have_to_be_approved(void **state)
{
    (void)state;
    struct coordination_config config = config_of();
    config.approval = true;
    again(&config);
    struct register_request r = world_request(a, "key-1");
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_APPROVAL);
    world_open_map(a);
    r = world_request(b, "key-1");
    assert_int_equal(world_register(b, &r), CONTROL_NEEDS_APPROVAL);
    world_open_map(b);
    assert_int_equal(gsi_netmap_peers_n(a->map) + gsi_netmap_peers_n(b->map), 0);
    assert_ok(gsi_coordination_authorize(lab, world_id(a), now));
    world_pump();
    assert_true(gsi_netmap_self(a->map)->machine_authorized);
    assert_int_equal(gsi_netmap_peers_n(a->map) + gsi_netmap_peers_n(b->map), 0);
    assert_ok(gsi_coordination_authorize(lab, world_id(b), now));
    world_pump();
    assert_non_null(world_peer(a, b));
    assert_non_null(world_peer(b, a));
    assert_code(gsi_coordination_authorize(lab, 77, now), GS_EINVALID);
}

static void tags_make_a_node_nobodys(void **state)
{
    (void)state;
    static const char *const good[] = {"tag:web", "tag:db-1"}, *const bad[] = {"web"};
    a->host.request_tags = bad;
    a->host.request_tags_n = 1;
    struct register_request r = world_request(a, "key-1");
    assert_int_equal(world_register(a, &r), CONTROL_REJECTED);
    a->host.request_tags = good;
    a->host.request_tags_n = 2;
    world_join(a);
    world_join(b);
    const struct map_node *peer = world_peer(b, a);
    assert_int_equal(peer->tags_n, 2);
    assert_string_equal(peer->tags[1], "tag:db-1");
    assert_string_equal(gsi_netmap_user(b->map, peer->user)->login, "tagged-devices");
}

/* ---- keys ---- */

static void a_key_is_changed_for_a_new_one_and_the_node_stays(void **state)
{
    (void)state;
    world_join(a);
    world_join(b);
    int64_t id = world_id(a);
    uint8_t old[KEY_LEN];
    memcpy(old, world_public(a->key), KEY_LEN);
    memset(a->key, 0x90, KEY_LEN);
    struct register_request r = world_request(a, NULL);
    r.old_node_key = old;
    assert_int_equal(world_register(a, &r), CONTROL_LOGGED_IN);
    assert_int_equal(world_id(a), id);
    assert_int_equal(gsi_coordination_count(lab), 2);
    assert_null(gsi_netmap_by_key(b->map, old));
    assert_int_equal(world_peer(b, a)->id, id);
    memset(a->key, 0x91, KEY_LEN); /* without the old one nothing tells that it is the same */
    r = world_request(a, NULL);
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN);
}

static void an_expired_key_must_be_changed_and_somebody_must_stand_for_it(void **state)
{
    (void)state;
    world_join(a);
    world_join(b);
    int64_t id = world_id(a);
    assert_ok(gsi_coordination_expire(lab, id, now));
    assert_code(gsi_coordination_expire(lab, 99, now), GS_EINVALID);
    world_pump();
    assert_true(gsi_netmap_self(a->map)->expired);
    assert_true(world_peer(b, a)->expired);
    struct register_request r = world_request(a, "key-1");
    assert_int_equal(world_register(a, &r), CONTROL_KEY_EXPIRED);
    uint8_t old[KEY_LEN];
    memcpy(old, r.node_key, KEY_LEN);
    memset(a->key, 0x92, KEY_LEN);
    r = world_request(a, NULL);
    r.old_node_key = old;
    assert_int_equal(world_register(a, &r), CONTROL_NEEDS_LOGIN);
    r.auth_key = "key-1";
    assert_int_equal(world_register(a, &r), CONTROL_LOGGED_IN);
    assert_int_equal(world_id(a), id);
    assert_false(world_peer(b, a)->expired);
}

static void keys_expire_with_their_time(void **state)
{
    (void)state;
    struct coordination_config config = config_of();
    config.key_life_ns = 3600 * S;
    again(&config);
    world_join(a);
    world_join(b);
    assert_int_equal(gsi_netmap_self(a->map)->key_expiry.s, WALL_S + 3600);
    world_wait(3590 * S);
    assert_false(world_peer(b, a)->expired);
    world_wait(11 * S);
    assert_true(world_peer(b, a)->expired);
}

static void a_logout_expires_the_key_and_removes_an_ephemeral_node(void **state)
{
    (void)state;
    world_join(a);
    world_join(b);
    struct register_request r = world_request(c, "key-1"), out = world_request(a, NULL);
    r.ephemeral = true;
    assert_int_equal(world_register(c, &r), CONTROL_LOGGED_IN);
    world_open_map(c);
    assert_ok(gsi_control_logout(a->c, &out, now));
    world_pump();
    assert_int_equal(a->event.type, CONTROL_LOGGED_OUT);
    assert_true(gsi_netmap_self(a->map)->expired);
    assert_true(world_peer(b, a)->expired);
    assert_non_null(world_peer(b, c));
    out = world_request(c, NULL);
    assert_ok(gsi_control_logout(c->c, &out, now));
    world_pump();
    assert_true(c->map_ended);
    assert_null(world_peer(b, c));
    assert_int_equal(gsi_coordination_count(lab), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_key_is_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_requests_get_an_answer_and_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_of_another_key_or_too_old_is_turned_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_that_says_nothing_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_have_a_maximum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_right_auth_key_lets_in_and_a_wrong_one_does_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_key_of_its_own_a_lab_takes_any, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_login_is_waited_for_and_approved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_login_that_was_approved_before_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_login_ends_with_its_time_and_is_no_other_machines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waiting_logins_have_a_maximum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_node_key_belongs_to_one_machine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nodes_have_a_maximum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_machine_may_have_to_be_approved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tags_make_a_node_nobodys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_is_changed_for_a_new_one_and_the_node_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_expired_key_must_be_changed_and_somebody_must_stand_for_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_expire_with_their_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_logout_expires_the_key_and_removes_an_ephemeral_node, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
