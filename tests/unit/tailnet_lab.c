/* gensock/lab.h: a lab on loopback: our control client over streams, a relay over TLS, STUN; restarts, and careless callers. */
/* runner: tsan */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tailnet_lab_node.h"

/* ---- each test has a lab ---- */

static void lab_of(gs_lab_config config)
{
    if (!config.directory)
        config.directory = temp_path("lab");
    assert_ok(gs_lab_start(&lab, &config));
    int n = (int)assert_ok(gs_lab_control_url(lab, control_url, sizeof control_url));
    assert_ok(gs_lab_ca_file(lab, ca_file, sizeof ca_file));
    assert_ok(gsi_url_parse(control_url, (size_t)n, &url));
    fetch_key();
}

static int set_up(void **state)
{
    (void)state;
    lab_of((gs_lab_config){.auth_key = "key-1", .login = "me@lab.test"});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    node_free(&a);
    node_free(&b);
    gs_lab_stop(lab);
    return 0;
}

/* ---- control ---- */

static void two_nodes_join_and_see_each_other(void **state)
{
    (void)state;
    gs_lab_node_info info;
    assert_int_equal(gs_lab_nodes(lab), 0);
    node_open(&a, "alpha");
    assert_int_equal(node_register(&a, "key-2", NULL), CONTROL_REJECTED);
    assert_int_equal(node_register(&a, "key-1", NULL), CONTROL_LOGGED_IN);
    node_map(&a);
    node_join(&b, "beta");
    nodes_until(gsi_netmap_by_key(a.map, b.public) && gsi_netmap_by_key(b.map, a.public));
    struct map_request r = map_of(&b);
    b.net.preferred_derp = 900;
    b.host.net = &b.net;
    assert_ok(gsi_control_update(b.c, &r, now_ns()));
    nodes_until(gsi_netmap_by_key(a.map, b.public)->home_derp == 900);
    assert_memory_equal(gsi_netmap_by_key(a.map, b.public)->disco, b.disco_public, KEY_LEN);
    const struct map_derp_region *region = gsi_netmap_region(a.map, 900);
    assert_string_equal(region->nodes[0].host, "127.0.0.1");
    assert_int_equal(region->nodes[0].derp_port, gs_lab_port(lab, GS_LAB_RELAY));
    assert_int_equal(region->nodes[0].stun_port, gs_lab_port(lab, GS_LAB_STUN));
    assert_int_equal(gs_lab_nodes(lab), 2);
    assert_ok(gs_lab_node(lab, 1, &info));
    assert_string_equal(info.name, "beta");
    assert_string_equal(info.login, "me@lab.test");
    assert_string_equal(info.ipv4, "100.64.0.2");
    assert_string_equal(info.ipv6, "fd7a:115c:a1e0::2");
    assert_true(info.online && info.reachable && info.authorized && !info.expired && !info.ephemeral);
    assert_code(gs_lab_node(lab, 2, &info), -ENOENT);
}

static void a_login_is_approved_by_a_call(void **state)
{
    (void)state;
    char login[600];
    node_open(&a, "alpha");
    assert_int_equal(node_register(&a, NULL, NULL), CONTROL_NEEDS_LOGIN);
    memcpy(login, a.text, sizeof login);
    assert_memory_equal(login, control_url, strlen(control_url));
    node_register(&a, NULL, login);
    node_step(&a);
    assert_code(gs_lab_approve(lab, "http://127.0.0.1/register/x", NULL), GS_EINVALID);
    assert_ok(gs_lab_approve(lab, login, "bob@lab.test"));
    nodes_until(a.event.type != 0);
    assert_int_equal(a.event.type, CONTROL_LOGGED_IN);
    assert_string_equal(a.text, "bob@lab.test");
}

static void nodes_are_expired_and_removed_by_calls(void **state)
{
    (void)state;
    node_join(&a, "alpha");
    node_join(&b, "beta");
    nodes_until(gsi_netmap_by_key(a.map, b.public));
    assert_ok(gs_lab_expire(lab, id_of("beta")));
    nodes_until(gsi_netmap_by_key(a.map, b.public)->expired && gsi_netmap_self(b.map)->expired);
    assert_ok(gs_lab_remove(lab, id_of("beta")));
    nodes_until(!gsi_netmap_by_key(a.map, b.public) && b.event.type == CONTROL_MAP_ENDED);
    assert_code(gs_lab_remove(lab, 99), GS_EINVALID);
    assert_code(gs_lab_expire(lab, 99), GS_EINVALID);
    assert_code(gs_lab_authorize(lab, 99), GS_EINVALID);
}

static void the_filter_changes_by_a_call(void **state)
{
    (void)state;
    struct filter_list list;
    node_join(&a, "alpha");
    assert_int_equal(gsi_netmap_filter(a.map, &list, 1), 1);
    assert_int_equal(list.n, 1);
    assert_code(gs_lab_set_filter(lab, "{}"), GS_EINVALID);
    assert_ok(gs_lab_set_filter(lab, "[]"));
    nodes_until(gsi_netmap_filter(a.map, &list, 1) == 1 && list.n == 0);
    assert_ok(gs_lab_set_filter(lab, NULL));
    nodes_until(gsi_netmap_filter(a.map, &list, 1) == 1 && list.n == 1);
}

static void a_lab_that_approves_nodes_hides_them_until_then(void **state)
{
    (void)state;
    assert_ok(gs_lab_stop(lab));
    lab_of((gs_lab_config){.approve_nodes = true, .domain = "other.test", .directory = temp_path("approve")});
    node_open(&a, "alpha");
    assert_int_equal(node_register(&a, "any", NULL), CONTROL_NEEDS_APPROVAL);
    node_map(&a);
    assert_string_equal(gsi_netmap_self(a.map)->name, "alpha.other.test.");
    assert_ok(gs_lab_authorize(lab, id_of("alpha")));
    nodes_until(gsi_netmap_self(a.map)->machine_authorized);
}

static void control_restarts_and_knows_its_nodes(void **state)
{
    (void)state;
    int port = gs_lab_port(lab, GS_LAB_CONTROL);
    node_join(&a, "alpha");
    assert_ok(gs_lab_restart(lab, GS_LAB_CONTROL));
    nodes_until(a.over);
    assert_int_equal(gs_lab_port(lab, GS_LAB_CONTROL), port);
    node_close(&a);
    node_open(&a, "alpha");
    node_map(&a);
    assert_int_equal(gs_lab_nodes(lab), 1);
    assert_code(gs_lab_restart(lab, GS_LAB_STUN), -EINVAL);
}

static void many_connections_come_and_go(void **state)
{
    (void)state;
    gs_stream s[64];
    char at[64];
    snprintf(at, sizeof at, "tcp://127.0.0.1:%d", gs_lab_port(lab, GS_LAB_CONTROL));
    node_join(&a, "alpha");
    for (int i = 0; i < 64; i++) {
        assert_ok(gs_stream_connect(&s[i], at, NULL, GS_NO_MAILBOX, WAIT_MS));
        assert_ok(gs_stream_send(s[i], i % 2 ? "garbage\r\n\r\n" : "POST /ts2021 HTTP/1.1\r\n", i % 2 ? 11 : 23));
    }
    for (int i = 0; i < 64; i++) {
        char buf[512];
        if (i % 2)
            assert_ok(gs_stream_recv(s[i], buf, sizeof buf, 0, WAIT_MS));
        gs_stream_close(s[i]);
    }
    node_join(&b, "beta");
    nodes_until(gsi_netmap_by_key(a.map, b.public));
}

/* ---- relay ---- */

struct relayed {
    gs_stream s;
    struct derp_client *c;
    uint8_t key[KEY_LEN], public[KEY_LEN];
    bool connected, over;
    int received;
    char packet[64];
    uint8_t from[KEY_LEN];
};

static int relay_open(struct relayed *r)
{
    char at[64];
    snprintf(at, sizeof at, "tls://127.0.0.1:%d", gs_lab_port(lab, GS_LAB_RELAY));
    memset(r, 0, sizeof *r);
    gsi_x25519_private(r->key);
    gsi_x25519_public(r->public, r->key);
    int e = gs_stream_connect(&r->s, at, GS_OPTS(GS_STR(TLS_CA_FILE, ca_file)), GS_NO_MAILBOX, WAIT_MS);
    if (e == 0)
        r->c = gsi_derp_client_new(&(struct derp_options){.node_private = r->key, .host = "127.0.0.1", .preferred = true}, now_ns());
    return e;
}

static void relay_close(struct relayed *r)
{
    gsi_derp_client_free(r->c);
    gs_stream_close(r->s);
}

static void relay_step(struct relayed *r)
{
    uint8_t buf[16 * 1024];
    const uint8_t *p;
    struct derp_event event;
    for (size_t n; (n = gsi_derp_output(r->c, &p)) > 0; gsi_derp_sent(r->c, n))
        if (gs_stream_send(r->s, p, n) < 0) {
            r->over = true;
            return;
        }
    ssize_t n = gs_stream_recv(r->s, buf, sizeof buf, 0, STEP_MS);
    r->over |= n < 0 && n != GS_ETIMEOUT;
    for (ssize_t at = 0, k; at < n; at += k) {
        k = assert_ok(gsi_derp_feed(r->c, buf + at, (size_t)(n - at), now_ns(), &event));
        r->connected |= event.kind == DERP_CONNECTED;
        if (event.kind == DERP_RECEIVED) {
            r->received++;
            memcpy(r->from, event.key, KEY_LEN);
            memcpy(r->packet, event.packet, event.n < sizeof r->packet ? event.n : sizeof r->packet);
        }
    }
}

#define relayed_until(x, y, condition)                                                                                \
    do {                                                                                                              \
        uint64_t end_ = real_ms() + WAIT_MS;                                                                          \
        while (!(condition)) {                                                                                        \
            if (real_ms() > end_)                                                                                     \
                fail_msg("never: %s", #condition);                                                                    \
            relay_step(x);                                                                                            \
            relay_step(y);                                                                                            \
        }                                                                                                             \
    } while (0)

static void two_meet_through_the_relay_and_again_when_it_restarted(void **state)
{
    (void)state;
    struct relayed x, y;
    for (int round = 0; round < 2; round++) {
        assert_ok(relay_open(&x));
        assert_ok(relay_open(&y));
        relayed_until(&x, &y, x.connected && y.connected);
        assert_ok(gsi_derp_send(x.c, y.public, "over the relay", 15, false, now_ns()));
        relayed_until(&x, &y, y.received == 1);
        assert_string_equal(y.packet, "over the relay");
        assert_memory_equal(y.from, x.public, KEY_LEN);
        if (round == 0) {
            assert_ok(gs_lab_restart(lab, GS_LAB_RELAY));
            relayed_until(&x, &y, x.over && y.over);
        }
        relay_close(&x);
        relay_close(&y);
    }
}

static void who_does_not_know_the_ca_does_not_trust_the_relay(void **state)
{
    (void)state;
    gs_stream s;
    char at[64];
    snprintf(at, sizeof at, "tls://127.0.0.1:%d", gs_lab_port(lab, GS_LAB_RELAY));
    assert_code(gs_stream_connect(&s, at, NULL, GS_NO_MAILBOX, WAIT_MS), GS_EALERT);
}

/* ---- STUN ---- */

static void stun_answers_what_is_a_request(void **state)
{
    (void)state;
    gs_socket s;
    gs_addr at, own;
    uint8_t request[STUN_REQUEST_LEN], txid[STUN_TXID_LEN] = {7}, got[STUN_TXID_LEN], in[128];
    struct endpoint seen, want;
    assert_ok(gs_addr_ip(&at, "127.0.0.1", 0));
    assert_ok(gs_socket_open(&s, AF_INET, SOCK_DGRAM, 0, NULL));
    assert_ok(gs_socket_bind(s, &at));
    assert_ok(gs_socket_sockname(s, &own));
    assert_ok(gsi_endpoint_of_sockaddr(&own.sa, &want));
    assert_ok(gs_addr_ip(&at, "127.0.0.1", (uint16_t)gs_lab_port(lab, GS_LAB_STUN)));
    gsi_stun_request(request, txid);
    request[39] ^= 1; /* no right fingerprint, no answer: the first that comes is that to the second */
    assert_ok(gs_socket_sendto(s, request, sizeof request, &at, 0, GS_MS(WAIT_MS)));
    txid[0] = 8;
    gsi_stun_request(request, txid);
    for (int i = 0; i < 3; i++) {
        assert_ok(gs_socket_sendto(s, request, sizeof request, &at, 0, GS_MS(WAIT_MS)));
        size_t n = (size_t)assert_ok(gs_socket_recvfrom(s, in, sizeof in, NULL, 0, GS_MS(WAIT_MS)));
        assert_ok(gsi_stun_response_parse(in, n, got, &seen));
        assert_memory_equal(got, txid, STUN_TXID_LEN);
        assert_true(gsi_endpoint_equal(&seen, &want));
    }
    gs_socket_close(s);
}

/* ---- starting, stopping, asking wrongly ---- */

static void the_keys_stay_from_start_to_start(void **state)
{
    (void)state;
    uint8_t before[KEY_LEN];
    struct stat st;
    memcpy(before, server_key, KEY_LEN);
    assert_ok(stat(temp_path("lab/state/state"), &st));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_ok(stat(temp_path("lab/relay.key"), &st));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_ok(gs_lab_stop(lab));
    lab_of((gs_lab_config){.auth_key = "key-1"});
    assert_memory_equal(server_key, before, KEY_LEN);
    assert_ok(gs_lab_stop(lab));
    int fd = open(temp_path("lab/state/state"), O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "{\"control\":\"privkey:00\"}", 24), 24);
    close(fd);
    assert_code(gs_lab_start(&lab, &(gs_lab_config){.directory = temp_path("lab")}), GS_EFORMAT);
    assert_null(strstr(gs_error_detail(GS_EFORMAT), "privkey"));
    assert_ok(unlink(temp_path("lab/state/state")));
    lab_of((gs_lab_config){.auth_key = "key-1"});
    assert_memory_not_equal(server_key, before, KEY_LEN);
}

static void a_directory_and_a_port_are_one_labs(void **state)
{
    (void)state;
    gs_lab other;
    assert_code(gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("lab")}), -EBUSY);
    assert_code(gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("second"),
                                                      .control_port = (uint16_t)gs_lab_port(lab, GS_LAB_CONTROL)}),
                -EADDRINUSE);
    assert_ok(gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("second")}));
    assert_true(other.id != lab.id);
    assert_ok(gs_lab_stop(other));
    assert_code(gs_lab_stop(other), GS_ECLOSED);
    assert_int_equal(gs_lab_nodes(lab), 0);
}

static void wrong_configurations_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const gs_lab_config rows[] = {
        {.directory = NULL}, {.directory = ""}, {.directory = "/tmp/x", .address = "localhost"}, {.directory = "/tmp/x", .address = "0.0.0.0"},
        {.directory = "/tmp/x", .address = "::"}, {.directory = "/tmp/x", .key_life_s = -1}, {.directory = "/tmp/x", .ephemeral_s = -1},
        {.directory = "/tmp/x", .nodes_max = -1},
    };
    gs_lab other;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_code(gs_lab_start(&other, &rows[i]), GS_EINVALID);
        assert_true(*gs_error_detail(GS_EINVALID));
    }
    assert_code(gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("w"), .domain = "Not.A.Domain"}), GS_EINVALID);
    assert_code(gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("w"), .login = ""}), GS_EINVALID);
    assert_code(gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("w"), .filter = "{}"}), GS_EINVALID);
    assert_code(gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("w/x/y")}), -ENOENT);
    assert_code(gs_lab_start(NULL, &rows[0]), GS_EBADARG);
    assert_code(gs_lab_start(&other, NULL), GS_EBADARG);
}

static void careless_callers_get_a_code(void **state)
{
    (void)state;
    gs_lab closed, handles[4] = {GS_NO_LAB, {UINT64_MAX}, {lab.id + 256}};
    gs_lab_node_info info;
    char buf[64];
    assert_ok(gs_lab_start(&closed, &(gs_lab_config){.directory = temp_path("closed")}));
    assert_ok(gs_lab_stop(closed));
    handles[3] = closed;
    for (int i = 0; i < 4; i++) {
        int want = i == 3 ? GS_ECLOSED : GS_EBADARG;
        gs_lab h = handles[i];
        assert_code(gs_lab_stop(h), want);
        assert_code(gs_lab_control_url(h, buf, sizeof buf), want);
        assert_code(gs_lab_ca_file(h, buf, sizeof buf), want);
        assert_code(gs_lab_port(h, GS_LAB_RELAY), want);
        assert_code(gs_lab_nodes(h), want);
        assert_code(gs_lab_node(h, 0, &info), want);
        assert_code(gs_lab_approve(h, "x", NULL), want);
        assert_code(gs_lab_authorize(h, 1), want);
        assert_code(gs_lab_remove(h, 1), want);
        assert_code(gs_lab_expire(h, 1), want);
        assert_code(gs_lab_set_filter(h, NULL), want);
        assert_code(gs_lab_restart(h, GS_LAB_RELAY), want);
    }
    assert_code(gs_lab_control_url(lab, NULL, 4), GS_EBADARG);
    assert_int_equal(gs_lab_control_url(lab, NULL, 0), strlen(control_url));
    assert_int_equal(gs_lab_control_url(lab, buf, 5), strlen(control_url));
    assert_string_equal(buf, "http");
    assert_code(gs_lab_ca_file(lab, NULL, 4), GS_EBADARG);
    assert_code(gs_lab_node(lab, 0, NULL), GS_EBADARG);
    assert_code(gs_lab_node(lab, -1, &info), -ENOENT);
    assert_code(gs_lab_approve(lab, NULL, NULL), GS_EBADARG);
    assert_code(gs_lab_port(lab, 0), -EINVAL);
}

static void *ask_until_it_is_closed(void *arg)
{
    gs_lab_node_info info;
    gs_lab h = *(gs_lab *)arg;
    for (;;) {
        int e = gs_lab_nodes(h), f = gs_lab_node(h, 0, &info), g = gs_lab_set_filter(h, "[]");
        if (e == GS_ECLOSED && gs_lab_nodes(h) == GS_ECLOSED)
            return (void *)(intptr_t)(f == GS_ECLOSED && g == GS_ECLOSED);
    }
}

static void a_lab_stops_under_its_callers_and_leaves_nothing(void **state)
{
    (void)state;
    struct census before;
    gs_lab other;
    pthread_t threads[3];
    void *fine;
    for (int i = 0; i < 6; i++) {
        if (i == 1)
            census_take(&before);
        assert_ok(gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("again")}));
        for (int k = 0; k < 3; k++)
            assert_int_equal(pthread_create(&threads[k], NULL, ask_until_it_is_closed, &other), 0);
        pause_1ms();
        assert_ok(gs_lab_stop(other));
        for (int k = 0; k < 3; k++) {
            pthread_join(threads[k], &fine);
            assert_non_null(fine);
        }
    }
    census_assert(&before);
}

static void a_lab_may_listen_on_ipv6(void **state)
{
    (void)state;
    gs_lab other;
    char text[128];
    struct url u;
    int e = gs_lab_start(&other, &(gs_lab_config){.directory = temp_path("six"), .address = "::1"});
    if (e == -EADDRNOTAVAIL || e == -EAFNOSUPPORT)
        skip_because("no IPv6 loopback here");
    assert_ok(e);
    int n = (int)assert_ok(gs_lab_control_url(other, text, sizeof text));
    assert_ok(gsi_url_parse(text, (size_t)n, &u));
    assert_string_equal(u.host, "::1");
    assert_int_equal(u.port, gs_lab_port(other, GS_LAB_CONTROL));
    assert_ok(gs_lab_stop(other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_nodes_join_and_see_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_login_is_approved_by_a_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nodes_are_expired_and_removed_by_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_filter_changes_by_a_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lab_that_approves_nodes_hides_them_until_then, set_up, tear_down),
        cmocka_unit_test_setup_teardown(control_restarts_and_knows_its_nodes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_connections_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_meet_through_the_relay_and_again_when_it_restarted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_know_the_ca_does_not_trust_the_relay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stun_answers_what_is_a_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_keys_stay_from_start_to_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_directory_and_a_port_are_one_labs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_configurations_are_refused_with_a_reason, set_up, tear_down),
        cmocka_unit_test_setup_teardown(careless_callers_get_a_code, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lab_stops_under_its_callers_and_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lab_may_listen_on_ipv6, set_up, tear_down),
    };
    if (gsi_crypto_init() != 0 || gs_tls_register() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
