/* runner: timeout 300, tsan
 *
 * Three nodes of one process in a lab: what streams and sockets over a tailnet do, who is at their other end, and what becomes of
 * them when relays, control or peers go. */
#include <errno.h>
#include <gensock/socket.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "tailnet_nobody.h"
#include "tailnet_world.h"

static const char nobody_may[] = "[]";
static const char allowed_80[] = "[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":80,\"Last\":80}}],"
                                 "\"CapGrant\":null},{\"SrcIPs\":[\"*\"],\"CapGrant\":[{\"Dsts\":[\"0.0.0.0/0\",\"::/0\"],"
                                 "\"CapMap\":{\"example.com/cap/look\":[{\"at\":\"everything\"}]}}]}]";

/* As no server of today sends it, and this node does not take it. */
static const char old_form[] = "[{\"SrcIPs\":[\"*\"],\"SrcBits\":[0],"
                               "\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,\"Last\":65535}}]}]";

static struct world world;
static gs_tailnet a, b, c;

static int begin(void **state)
{
    (void)state;
    world_begin(&world, (gs_lab_config){.auth_key = "key", .login = "ann@lab.test", .display = "Ann"});
    a = world_join(&world, "alpha");
    b = world_join(&world, "beta");
    c = world_join(&world, "gamma");
    assert_until(world_knows(a, "gamma") && world_knows(a, "beta") && world_knows(b, "gamma"), WAIT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    gs_tailnet_stop(a, 1000);
    gs_tailnet_stop(b, 1000);
    gs_tailnet_stop(c, 1000);
    gs_lab_stop(world.lab);
    return 0;
}

static void close_all(gs_stream l, gs_stream pair[2])
{
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    gs_stream_close(l);
}

/* ---- streams ---- */

static void a_name_in_every_form_reaches_its_node(void **state)
{
    (void)state;
    static const char *const forms[] = {"tailnet://beta:7", "tailnet://BETA:7", "tailnet://beta.lab.test:7",
                                        "tailnet://beta.lab.test.:7"};
    gs_stream l = world_listen(b, "tailnet://:7"), pair[2] = {0};
    gs_addr list[4];
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        world_pair(a, forms[i], l, pair);
        world_says(pair[0], pair[1], "by name");
        gs_stream_close(pair[0]);
        gs_stream_close(pair[1]);
    }
    int n = (int)assert_ok(gs_tailnet_resolve(a, "beta", list, 4));
    assert_int_equal(n, 2);
    assert_int_equal(gs_addr_family(&list[0]), AF_INET);
    assert_int_equal(gs_addr_family(&list[1]), AF_INET6);
    for (int i = 0; i < n; i++) {
        char to[GS_ADDR_TEXT_MAX + 16] = "tailnet://";
        gs_addr peer;
        assert_ok(gs_addr_set_port(&list[i], 7));
        gs_addr_text(&list[i], to + strlen(to), GS_ADDR_TEXT_MAX);
        world_pair(a, to, l, pair);
        world_says(pair[1], pair[0], "by address");
        assert_ok(gs_stream_peername(pair[0], &peer));
        assert_true(gs_addr_equal(&peer, &list[i]));
        assert_ok(gs_stream_peername(pair[1], &peer)); /* one listener for both families; an IPv4 address is told as one */
        assert_int_equal(gs_addr_family(&peer), gs_addr_family(&list[i]));
        gs_stream_close(pair[0]);
        gs_stream_close(pair[1]);
    }
    gs_stream_close(l);
}

static void what_is_no_address_is_told(void **state)
{
    (void)state;
    gs_stream s;
    assert_code(world_connect(a, "tailnet://nowhere:7", &s), GS_ENXDOMAIN);
    assert_code(world_connect(a, "tailnet://localhost:7", &s), GS_ENXDOMAIN); /* which the host's resolver knows */
    assert_code(world_connect(a, "tailnet://100.64.99.99:7", &s), -EHOSTUNREACH);
    assert_code(world_connect(a, "tailnet://127.0.0.1:7", &s), -EHOSTUNREACH);
    assert_code(world_connect(a, "tailnet://192.0.2.1:7", &s), -EHOSTUNREACH);
    assert_code(world_connect(a, "tailnet://beta", &s), GS_EFORMAT);
    assert_code(world_connect(a, "tailnet://beta:x", &s), GS_EFORMAT);
    assert_code(world_connect(a, "tailnet://beta:70000", &s), GS_EFORMAT);
    assert_code(world_connect(a, "tailnet://fd7a::1:7", &s), GS_EFORMAT);
    assert_code(gs_stream_connect(&s, "tailnet://beta:7", GS_OPTS(on_node(a), GS_STR(NETNS, "/proc/self/ns/net")), GS_NO_MAILBOX, 100), -EINVAL);
}

static void a_refused_port_is_told_at_once(void **state)
{
    (void)state;
    gs_stream s;
    uint64_t began = real_ms();
    assert_code(world_connect(a, "tailnet://beta:9999", &s), -ECONNREFUSED);
    assert_true(real_ms() - began < WAIT / 2);
}

static void half_a_close_leaves_the_answer(void **state)
{
    (void)state;
    gs_stream l = world_listen(b, "tailnet://:7"), pair[2];
    char got[8];
    world_pair(a, "tailnet://beta:7", l, pair);
    assert_ok(gs_stream_setopts(pair[1], GS_OPTS(GS_INT(EXIT_ON_CLOSE, false))));
    assert_ok(gs_stream_send(pair[0], "ask", 3));
    assert_ok(gs_stream_shutdown(pair[0], GS_SHUT_WRITE));
    assert_int_equal(gs_stream_recv(pair[1], got, sizeof got, 0, WAIT), 3);
    assert_code(gs_stream_recv(pair[1], got, sizeof got, 0, WAIT), GS_ECLOSED);
    world_says(pair[1], pair[0], "answer");
    close_all(l, pair);
}

static void a_reset_is_a_reset(void **state)
{
    (void)state;
    gs_stream l = world_listen(b, "tailnet://:7"), pair[2];
    char got[8];
    world_pair(a, "tailnet://beta:7", l, pair);
    assert_ok(gs_stream_setopts(pair[1], GS_OPTS(GS_INT(SHOW_ECONNRESET, true))));
    assert_ok(gs_stream_setopts(pair[0], GS_OPTS({.name = GS_OPT_LINGER, .v.linger = {true, 0}})));
    gs_stream_close(pair[0]);
    assert_code(gs_stream_recv(pair[1], got, sizeof got, 0, WAIT), -ECONNRESET);
    close_all(l, pair);
}

static void datagrams_keep_their_borders(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 1252, 0, 4000, 40000};
    static uint8_t out[40000], in[65536];
    gs_socket from, to;
    gs_addr at, sender;
    const gs_peer *who;
    gs_wait wait = {.timeout_ms = WAIT};
    assert_ok(gs_tailnet_socket(a, AF_INET, SOCK_DGRAM, 0, &from));
    assert_ok(gs_tailnet_socket(b, AF_INET, SOCK_DGRAM, 0, &to));
    assert_ok(gs_tailnet_resolve(a, "beta", &at, 1));
    assert_ok(gs_socket_bind(to, &at));
    assert_ok(gs_socket_sockname(to, &at));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pattern_fill(out, sizes[i], i, 0);
        assert_int_equal(assert_ok(gs_socket_sendto(from, out, sizes[i], &at, 0, GS_MS(WAIT))), sizes[i]);
        assert_int_equal(assert_ok(gs_socket_recvfrom(to, in, sizeof in, &sender, 0, &wait)), sizes[i]);
        assert_int_equal(pattern_check(in, sizes[i], i, 0), sizes[i]);
    }
    assert_ok(gs_tailnet_whois(b, &sender, &who));
    assert_string_equal(who->node, "alpha.lab.test.");
    gs_peer_free(who);
    gs_socket_close(from);
    gs_socket_close(to);
}

/* ---- who ---- */

enum { CALLS = 60 };

struct caller {
    gs_tailnet node;
    char name[32];
    int failed;
};

static void *call_often(void *arg)
{
    struct caller *me = arg;
    for (int i = 0; i < CALLS; i++) {
        gs_stream s;
        char got[40] = "";
        if (world_connect(me->node, "tailnet://beta:7", &s) < 0) {
            me->failed++;
            continue;
        }
        me->failed += gs_stream_recv(s, got, sizeof got - 1, strlen(me->name), WAIT) < 0 || strcmp(got, me->name) != 0;
        gs_stream_close(s);
    }
    return NULL;
}

/* Each caller is told who it is: a wrong name is a wrong identity. */
static void each_connection_knows_its_caller(void **state)
{
    (void)state;
    struct caller callers[] = {{.node = a, .name = "alpha.lab.test."}, {.node = c, .name = "gamma.lab.test."}};
    pthread_t t[2];
    gs_stream l, s;
    assert_ok(gs_stream_listen(&l, "tailnet://:7", GS_OPTS(on_node(b), GS_INT(BACKLOG, 64), GS_INT(REUSEADDR, true)), GS_NO_MAILBOX));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, call_often, &callers[i]), 0);
    for (int i = 0; i < 2 * CALLS; i++) {
        const gs_peer *who;
        assert_ok(gs_stream_accept(l, &s, GS_NO_MAILBOX, WAIT, NULL));
        assert_ok(gs_stream_peer(s, &who));
        assert_int_equal(who->kind, GS_PEER_TAILNET);
        assert_string_equal(who->user, "ann@lab.test");
        assert_string_equal(who->display_name, "Ann");
        assert_ok(gs_stream_send(s, who->node, strlen(who->node)));
        gs_peer_free(who);
        gs_stream_close(s);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(callers[0].failed, 0);
    assert_int_equal(callers[1].failed, 0);
    gs_stream_close(l);
}

static void rules_decide_and_say_so(void **state)
{
    (void)state;
    gs_stream l80 = world_listen(b, "tailnet://:80"), l81 = world_listen(b, "tailnet://:81"), pair[2], s;
    const gs_peer *who;
    int e = 0;
    assert_ok(gs_lab_set_filter(world.lab, allowed_80));
    for (int i = 0; i < 200 && e != GS_EFILTERED; i++) { /* until both have heard of it */
        e = world_connect(a, "tailnet://beta:81", &s);
        if (e == 0)
            gs_stream_close(s);
        pause_1ms();
    }
    assert_code(e, GS_EFILTERED);
    assert_non_null(strstr(gs_error_detail(GS_EFILTERED), "filter"));
    world_pair(a, "tailnet://beta:80", l80, pair);
    world_says(pair[0], pair[1], "allowed");
    assert_ok(gs_stream_peer(pair[1], &who));
    assert_int_equal(who->n_caps, 1);
    assert_string_equal(who->caps[0], "example.com/cap/look");
    assert_string_equal(who->cap_json[0], "[{\"at\":\"everything\"}]");
    gs_peer_free(who);
    assert_ok(gs_lab_set_filter(world.lab, nobody_may));
    usleep(200000);
    world_says(pair[1], pair[0], "what stands goes on");
    assert_ok(gs_lab_set_filter(world.lab, NULL));
    for (e = -1; e < 0;)
        if ((e = world_connect(a, "tailnet://beta:81", &s)) == 0)
            gs_stream_close(s);
    gs_stream_close(l81);
    close_all(l80, pair);
}

static bool is_ill(gs_tailnet n, const char *word)
{
    const gs_tailnet_status_t *s;
    bool found = false;
    assert_ok(gs_tailnet_status(n, &s));
    for (size_t i = 0; i < s->n_health; i++)
        found |= strstr(s->health[i], word) != NULL;
    gs_tailnet_status_free(s);
    return found;
}

static int connect_and_close(gs_tailnet n, const char *to)
{
    gs_stream s;
    int e = world_connect(n, to, &s);
    if (e == 0)
        gs_stream_close(s);
    return e;
}

static void a_filter_that_cannot_be_used_lets_nobody_in(void **state)
{
    (void)state;
    gs_stream l = world_listen(b, "tailnet://:81"), l80 = world_listen(a, "tailnet://:80"), pair[2], out[2];
    world_pair(a, "tailnet://beta:81", l, pair);
    assert_false(is_ill(b, "filter"));
    assert_ok(gs_lab_set_filter(world.lab, old_form));
    assert_until(is_ill(a, "filter") && is_ill(b, "nothing new comes in"), WAIT);
    assert_code(connect_and_close(a, "tailnet://beta:81"), GS_EFILTERED);
    world_says(pair[1], pair[0], "what stands goes on");
    assert_ok(gs_lab_set_filter(world.lab, NULL));
    assert_until(!is_ill(a, "filter") && !is_ill(b, "filter"), WAIT);
    world_pair(b, "tailnet://alpha:80", l80, out);
    close_all(l80, out);
    close_all(l, pair);
}

/* ---- ways ---- */

static void a_path_becomes_direct_and_ping_tells_it(void **state)
{
    (void)state;
    gs_tailnet_pong pong;
    gs_stream l = world_listen(b, "tailnet://:7"), pair[2];
    world_pair(a, "tailnet://beta:7", l, pair);
    for (int i = 0; i < 200 && world_member(a, "beta").path != GS_PATH_DIRECT; i++) {
        world_says(pair[0], pair[1], "some traffic");
        usleep(20000);
    }
    assert_int_equal(world_member(a, "beta").path, GS_PATH_DIRECT);
    assert_ok(gs_tailnet_ping(a, "beta", WAIT, &pong));
    assert_true(pong.rtt_ns > 0);
    assert_true(pong.path == GS_PATH_DIRECT || pong.path == GS_PATH_RELAY);
    assert_code(gs_tailnet_ping(a, "nowhere", WAIT, &pong), GS_ENXDOMAIN);
    assert_code(gs_tailnet_ping(a, "alpha", WAIT, &pong), -EHOSTUNREACH);
    assert_string_equal(gs_error_detail(-EHOSTUNREACH), "alpha is this node itself");
    close_all(l, pair);
}

static void by_the_relay_alone_all_works_too(void **state)
{
    (void)state;
    gs_tailnet_config config = world_config(&world, "relayed");
    config.relay_only = true;
    gs_tailnet r = world_join_with(&config);
    static uint8_t bytes[300000], got[300000];
    gs_stream l = world_listen(r, "tailnet://:7"), pair[2];
    assert_until(world_knows(a, "relayed"), WAIT);
    world_pair(a, "tailnet://relayed:7", l, pair);
    pattern_fill(bytes, sizeof bytes, 5, 0);
    assert_ok(gs_stream_setopts(pair[0], GS_OPTS(GS_INT(SEND_TIMEOUT, WAIT))));
    size_t at = 0;
    for (size_t sent = 0; at < sizeof bytes;) {
        if (sent < sizeof bytes && sent - at < 60000) {
            assert_ok(gs_stream_send(pair[0], bytes + sent, 30000));
            sent += 30000;
        }
        at += (size_t)assert_ok(gs_stream_recv(pair[1], got + at, sizeof got - at, 0, WAIT));
    }
    assert_memory_equal(bytes, got, sizeof bytes);
    assert_int_equal(world_member(a, "relayed").path, GS_PATH_RELAY);
    gs_tailnet_pong pong;
    assert_ok(gs_tailnet_ping(r, "alpha", WAIT, &pong));
    assert_int_equal(pong.path, GS_PATH_RELAY);
    assert_string_equal(pong.relay, "lab");
    assert_ok(gs_tailnet_ping(a, "relayed", WAIT, &pong));
    assert_int_equal(pong.path, GS_PATH_RELAY);
    assert_ok(gs_lab_restart(world.lab, GS_LAB_RELAY));
    world_says(pair[0], pair[1], "over the new relay");
    close_all(l, pair);
    gs_tailnet_stop(r, 1000);
}

static void control_may_go_and_come(void **state)
{
    (void)state;
    gs_stream l = world_listen(b, "tailnet://:7"), pair[2];
    world_pair(a, "tailnet://beta:7", l, pair);
    assert_ok(gs_lab_restart(world.lab, GS_LAB_CONTROL));
    world_says(pair[0], pair[1], "meanwhile");
    gs_tailnet late = world_join(&world, "late"); /* who joins now is heard of: the map streams stand again */
    assert_until(world_knows(a, "late"), WAIT);
    gs_tailnet_stop(late, 1000);
    world_says(pair[1], pair[0], "and after");
    close_all(l, pair);
}

static void connections_of_who_is_removed_are_reset(void **state)
{
    (void)state;
    char got[8];
    gs_tailnet gone = world_join(&world, "gone");
    gs_stream l = world_listen(b, "tailnet://:7"), pair[2], waits, s;
    assert_until(world_knows(gone, "beta"), WAIT);
    world_pair(gone, "tailnet://beta:7", l, pair);
    world_says(pair[0], pair[1], "here");
    assert_ok(gs_stream_setopts(pair[1], GS_OPTS(GS_INT(SHOW_ECONNRESET, true))));
    assert_ok(world_connect(gone, "tailnet://beta:7", &waits)); /* nobody accepts it */
    assert_ok(gs_lab_remove(world.lab, world_id(&world, "gone")));
    assert_code(gs_stream_recv(pair[1], got, sizeof got, 0, WAIT), -ECONNRESET);
    assert_code(gs_stream_accept(l, &s, GS_NO_MAILBOX, 300, NULL), GS_ETIMEOUT); /* no connection of somebody who has left */
    gs_stream_close(waits);
    close_all(l, pair);
    gs_tailnet_stop(gone, 0);
}

/* It was acknowledged, so its sender may be gone. */
static void what_had_come_from_who_leaves_is_still_read(void **state)
{
    (void)state;
    char got[8];
    gs_tailnet brief = world_join(&world, "brief");
    gs_stream l = world_listen(b, "tailnet://:7"), pair[2], closed[2];
    assert_until(world_knows(brief, "beta"), WAIT);
    world_pair(brief, "tailnet://beta:7", l, pair);
    world_pair(brief, "tailnet://beta:7", l, closed);
    assert_ok(gs_stream_send(pair[0], "left", 4));
    assert_ok(gs_stream_send(closed[0], "ended", 5));
    gs_stream_close(closed[0]);
    gs_tailnet_stop(brief, WAIT);
    assert_until(!world_knows(b, "brief"), WAIT);
    assert_ok(gs_stream_setopts(pair[1], GS_OPTS(GS_INT(SHOW_ECONNRESET, true))));
    assert_int_equal(assert_ok(gs_stream_recv(pair[1], got, sizeof got, 0, WAIT)), 4);
    assert_code(gs_stream_recv(pair[1], got, sizeof got, 0, WAIT), -ECONNRESET);
    assert_int_equal(assert_ok(gs_stream_recv(closed[1], got, sizeof got, 0, WAIT)), 5);
    assert_code(gs_stream_recv(closed[1], got, sizeof got, 0, WAIT), GS_ECLOSED);
    gs_stream_close(closed[1]);
    close_all(l, pair);
}

/* ---- sockets that are no streams ---- */

struct sockets {
    gs_socket listener, to, from;
};

/* A connection of sockets from one node to another. */
static void pair_sockets(gs_tailnet from, gs_tailnet to, const char *name, struct sockets *out)
{
    gs_addr at;
    assert_true(gs_tailnet_resolve(to, name, &at, 1) > 0);
    assert_ok(gs_tailnet_socket(to, AF_INET, SOCK_STREAM, 0, &out->listener));
    assert_ok(gs_tailnet_socket(from, AF_INET, SOCK_STREAM, 0, &out->from));
    assert_ok(gs_socket_bind(out->listener, &at));
    assert_ok(gs_socket_listen(out->listener, 5));
    assert_ok(gs_socket_sockname(out->listener, &at));
    assert_ok(gs_socket_connect(out->from, &at, GS_MS(WAIT)));
    assert_ok(gs_socket_accept(out->listener, &out->to, GS_MS(WAIT)));
}

static void close_sockets(const struct sockets *s)
{
    gs_socket_close(s->from);
    gs_socket_close(s->to);
    gs_socket_close(s->listener);
}

static void sockets_hear_when_their_peer_leaves_and_others_go_on(void **state)
{
    (void)state;
    struct sockets leaves, stays;
    char got[8];
    gs_tailnet gone = world_join(&world, "gone");
    assert_until(world_knows(gone, "beta") && world_knows(b, "gone"), WAIT);
    pair_sockets(gone, b, "beta", &leaves);
    pair_sockets(a, b, "beta", &stays);
    assert_int_equal(gs_socket_send(leaves.from, "left", 4, 0, GS_MS(WAIT)), 4);
    assert_ok(gs_lab_remove(world.lab, world_id(&world, "gone")));
    assert_until(!world_knows(b, "gone"), WAIT);
    int e;
    for (e = 0; e >= 0;)
        e = (int)gs_socket_recv(leaves.to, got, sizeof got, 0, GS_MS(WAIT));
    assert_code(e, -ECONNABORTED);
    assert_int_equal(gs_socket_send(stays.from, "here", 4, 0, GS_MS(WAIT)), 4);
    assert_int_equal(gs_socket_recv(stays.to, got, sizeof got, 0, GS_MS(WAIT)), 4);
    close_sockets(&leaves);
    close_sockets(&stays);
    gs_tailnet_stop(gone, 0);
}

static void sockets_hear_when_their_node_stops(void **state)
{
    (void)state;
    struct sockets s;
    gs_socket next;
    char got[8];
    gs_tailnet brief = world_join(&world, "brief");
    assert_until(world_knows(brief, "beta") && world_knows(b, "brief"), WAIT);
    pair_sockets(b, brief, "brief", &s);
    gs_tailnet_stop(brief, 1000);
    assert_code((int)gs_socket_recv(s.to, got, sizeof got, 0, GS_MS(WAIT)), -ECONNABORTED);
    assert_code(gs_socket_accept(s.listener, &next, GS_MS(WAIT)), -EINVAL);
    assert_true(gs_socket_recv(s.from, got, sizeof got, 0, GS_MS(WAIT)) <= 0); /* the reset went out before */
    close_sockets(&s);
}

static void streams_hear_when_their_node_stops(void **state)
{
    (void)state;
    char got[8];
    gs_tailnet brief = world_join(&world, "brief");
    gs_stream l = world_listen(brief, "tailnet://:7"), pair[2], s;
    assert_until(world_knows(a, "brief"), WAIT);
    world_pair(a, "tailnet://brief:7", l, pair);
    gs_tailnet_stop(brief, 1000);
    assert_code(gs_stream_recv(pair[1], got, sizeof got, 0, WAIT), GS_ECLOSED);
    assert_code(gs_stream_recv(pair[0], got, sizeof got, 0, WAIT), GS_ECLOSED); /* the reset went out before */
    assert_code(gs_stream_accept(l, &s, GS_NO_MAILBOX, WAIT, NULL), GS_ECLOSED);
    close_all(l, pair);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_name_in_every_form_reaches_its_node),
    cmocka_unit_test(what_is_no_address_is_told),
    cmocka_unit_test(a_refused_port_is_told_at_once),
    cmocka_unit_test(half_a_close_leaves_the_answer),
    cmocka_unit_test(a_reset_is_a_reset),
    cmocka_unit_test(datagrams_keep_their_borders),
    cmocka_unit_test(each_connection_knows_its_caller),
    cmocka_unit_test(rules_decide_and_say_so),
    cmocka_unit_test(a_filter_that_cannot_be_used_lets_nobody_in),
    cmocka_unit_test(a_path_becomes_direct_and_ping_tells_it),
    cmocka_unit_test(by_the_relay_alone_all_works_too),
    cmocka_unit_test(control_may_go_and_come),
    cmocka_unit_test(connections_of_who_is_removed_are_reset),
    cmocka_unit_test(what_had_come_from_who_leaves_is_still_read),
    cmocka_unit_test(sockets_hear_when_their_peer_leaves_and_others_go_on),
    cmocka_unit_test(sockets_hear_when_their_node_stops),
    cmocka_unit_test(streams_hear_when_their_node_stops),
    cmocka_unit_test(all_of_it_works_as_nobody),
};

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "nobody") == 0) {
        become_nobody(true);
        return cmocka_run_group_tests_name("as nobody", tests, begin, end) ? 1 : 0;
    }
    return cmocka_run_group_tests(tests, begin, end);
}
