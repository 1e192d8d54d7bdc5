/* runner: timeout 300, tsan
 *
 * The life of a node: what it needs to begin, how it joins or is refused, what it tells, how it ends. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tailnet_nobody.h"
#include "tailnet_world.h"

static struct world world;

static int begin(void **state)
{
    (void)state;
    world_begin(&world, (gs_lab_config){.auth_key = "key"});
    return 0;
}

static int end(void **state)
{
    (void)state;
    gs_lab_stop(world.lab);
    return 0;
}

/* ---- start ---- */

static void assert_refused(gs_tailnet_config c, int code, const char *word)
{
    gs_tailnet n = GS_NO_TAILNET;
    assert_code(gs_tailnet_start(&n, &c), code);
    assert_non_null(strstr(gs_error_detail(code), word));
    assert_int_equal(n.id, 0);
}

static void a_wrong_configuration_is_told(void **state)
{
    (void)state;
    gs_tailnet_config c = world_config(&world, "alpha");
    gs_tailnet n;
    assert_code(gs_tailnet_start(NULL, &c), GS_EBADARG);
    assert_code(gs_tailnet_start(&n, NULL), GS_EBADARG);
    c.ephemeral = false;
    assert_refused(c, -EINVAL, "state_dir");
    c = world_config(&world, "not a name");
    assert_refused(c, -EINVAL, "hostname");
    c = world_config(&world, "");
    assert_refused(c, -EINVAL, "hostname");
    c = world_config(&world, "alpha");
    c.control_url = "ftp://x";
    assert_refused(c, -EINVAL, "control_url");
    c.control_url = "http://192.0.2.1";
    assert_refused(c, -EINVAL, "plain_control");
    c = world_config(&world, "alpha");
    c.auth_key = "two words";
    assert_refused(c, -EINVAL, "auth_key");
    c = world_config(&world, "alpha");
    c.ca_file = "/nowhere/ca.pem";
    assert_refused(c, -ENOENT, "/nowhere/ca.pem");
    c = world_config(&world, "alpha");
    c.tags = (const char *const[]){"server"};
    c.n_tags = 1;
    assert_refused(c, -EINVAL, "tag:");
}

static void handles_die_with_the_node(void **state)
{
    (void)state;
    gs_tailnet n = world_join(&world, "alpha");
    const gs_tailnet_status_t *s;
    gs_addr a;
    gs_stream stream;
    assert_int_equal(gs_tailnet_stop(n, 1000), 0);
    assert_code(gs_tailnet_stop(n, 1000), GS_ECLOSED);
    assert_code(gs_tailnet_up(n, 0), GS_ECLOSED);
    assert_code(gs_tailnet_status(n, &s), GS_ECLOSED);
    assert_code(gs_tailnet_resolve(n, "x", &a, 1), GS_ECLOSED);
    assert_code(gs_tailnet_up(GS_NO_TAILNET, 0), GS_EBADARG);
    assert_code(gs_tailnet_up((gs_tailnet){n.id + (1 << 8)}, 0), GS_EBADARG);
    assert_code(world_connect(n, "tailnet://alpha:1", &stream), GS_ECLOSED);
    assert_code(gs_stream_connect(&stream, "tailnet://alpha:1", NULL, GS_NO_MAILBOX, 100), -ENETDOWN);
}

/* ---- joining ---- */

static void a_wrong_key_is_told(void **state)
{
    (void)state;
    gs_tailnet n;
    gs_tailnet_config c = world_config(&world, "alpha");
    c.auth_key = "tskey-wrong";
    assert_ok(gs_tailnet_start(&n, &c));
    assert_code(gs_tailnet_up(n, WAIT), GS_EAUTHKEY);
    assert_non_null(strstr(gs_error_detail(GS_EAUTHKEY), "refuses the auth key"));
    assert_null(strstr(gs_error_detail(GS_EAUTHKEY), "tskey"));
    assert_int_equal(world_state(n), GS_TAILNET_FAILED);
    assert_code(gs_tailnet_up(n, WAIT), GS_EAUTHKEY);
    gs_tailnet_stop(n, 1000);
}

static void a_person_logs_in(void **state)
{
    (void)state;
    char url[256];
    gs_tailnet n;
    gs_tailnet_config c = world_config(&world, "person");
    c.auth_key = NULL;
    assert_ok(gs_tailnet_start(&n, &c));
    assert_code(gs_tailnet_up(n, WAIT), GS_ELOGIN);
    snprintf(url, sizeof url, "%s", gs_error_detail(GS_ELOGIN));
    assert_int_equal(strncmp(url, world.url, strlen(world.url)), 0);
    assert_code(gs_tailnet_up(n, 50), GS_ELOGIN);
    assert_string_equal(gs_error_detail(GS_ELOGIN), url);
    assert_ok(gs_lab_approve(world.lab, url, "ann@lab.test"));
    assert_ok(gs_tailnet_up(n, WAIT));
    gs_addr self;
    const gs_peer *who;
    assert_true(assert_ok(gs_tailnet_resolve(n, "person", &self, 1)) > 0);
    assert_ok(gs_tailnet_whois(n, &self, &who));
    assert_string_equal(who->user, "ann@lab.test");
    assert_int_equal(who->kind, GS_PEER_TAILNET);
    gs_peer_free(who);
    gs_tailnet_stop(n, 1000);
}

static void *stop_soon(void *arg)
{
    gs_tailnet n = *(gs_tailnet *)arg;
    usleep(100000);
    gs_tailnet_stop(n, 0);
    return NULL;
}

static void stop_wakes_who_waits(void **state)
{
    (void)state;
    pthread_t t;
    gs_tailnet n;
    gs_tailnet_config c = world_config(&world, "alpha");
    c.control_url = "http://127.0.0.1:1"; /* nobody */
    assert_ok(gs_tailnet_start(&n, &c));
    assert_int_equal(pthread_create(&t, NULL, stop_soon, &n), 0);
    assert_code(gs_tailnet_up(n, GS_INFINITY), GS_EABORTED);
    pthread_join(t, NULL);
}

static void a_control_server_that_is_not_there_is_named(void **state)
{
    (void)state;
    gs_tailnet n;
    gs_tailnet_config c = world_config(&world, "alpha");
    const gs_tailnet_status_t *s;
    c.control_url = "http://127.0.0.1:1";
    assert_ok(gs_tailnet_start(&n, &c));
    assert_code(gs_tailnet_up(n, 300), GS_ETIMEOUT);
    assert_non_null(strstr(gs_error_detail(GS_ETIMEOUT), "http://127.0.0.1:1"));
    assert_ok(gs_tailnet_status(n, &s));
    assert_int_equal(s->error, GS_ECONTROL);
    assert_int_equal(s->state, GS_TAILNET_STARTING);
    gs_tailnet_status_free(s);
    gs_tailnet_stop(n, 0);
}

/* ---- what stays ---- */

static void a_node_is_the_same_after_a_restart(void **state)
{
    (void)state;
    const char *directory = temp_path("same");
    struct stat st;
    gs_addr first, second;
    gs_tailnet_config c = world_config(&world, "same");
    c.ephemeral = false;
    c.state_dir = directory;
    gs_tailnet n = world_join_with(&c), other;
    assert_ok(gs_tailnet_resolve(n, "same", &first, 1));
    assert_code(gs_tailnet_start(&other, &c), -EBUSY);
    gs_tailnet_stop(n, 0);
    assert_int_equal(stat(directory, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    c.auth_key = NULL; /* it is known by its key */
    n = world_join_with(&c);
    assert_ok(gs_tailnet_resolve(n, "same", &second, 1));
    assert_true(gs_addr_equal(&first, &second));
    gs_tailnet_stop(n, 0);
    char path[300];
    snprintf(path, sizeof path, "%s/state", directory);
    assert_int_equal(truncate(path, 100), 0);
    assert_refused(c, -EBADMSG, "damaged");
}

static void what_is_not_closed_yet_is_in_no_next_nodes_way(void **state)
{
    (void)state;
    gs_tailnet_config c = world_config(&world, "again");
    c.ephemeral = false;
    c.state_dir = temp_path("again");
    c.port = 40000 + (uint16_t)(getpid() % 20000);
    gs_tailnet n;
    while (gs_tailnet_start(&n, &c) == -EADDRINUSE)
        c.port++;
    assert_ok(gs_tailnet_up(n, WAIT));
    gs_stream held = world_listen(n, "tailnet://:7");
    gs_tailnet_stop(n, 0);
    n = world_join_with(&c);
    gs_tailnet_stop(n, 0);
    gs_stream_close(held);
}

static bool has_another_key(gs_tailnet asked, const gs_addr *at, const uint8_t key[32])
{
    const gs_peer *who;
    if (gs_tailnet_whois(asked, at, &who) < 0)
        return false;
    bool other = memcmp(who->node_key, key, 32) != 0;
    gs_peer_free(who);
    return other;
}

static void expire_and_come_back(bool relay_only)
{
    gs_addr first, second;
    const gs_peer *before;
    gs_tailnet_config ca = world_config(&world, "rota"), cb = world_config(&world, "watch");
    ca.relay_only = cb.relay_only = relay_only;
    gs_tailnet a = world_join_with(&ca), b = world_join_with(&cb);
    assert_ok(gs_tailnet_resolve(a, "rota", &first, 1));
    assert_until(world_knows(b, "rota"), WAIT);
    gs_stream l = world_listen(a, "tailnet://:7"), pair[2];
    world_pair(b, "tailnet://rota:7", l, pair);
    world_says(pair[0], pair[1], "before");
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    assert_ok(gs_tailnet_whois(b, &first, &before));
    assert_ok(gs_lab_expire(world.lab, world_id(&world, "rota")));
    assert_until(has_another_key(b, &first, before->node_key), WAIT);
    gs_peer_free(before);
    world_pair(b, "tailnet://rota:7", l, pair); /* the same node */
    world_says(pair[0], pair[1], "after");
    assert_ok(gs_tailnet_resolve(a, "rota", &second, 1));
    assert_true(gs_addr_equal(&first, &second));
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    gs_stream_close(l);
    gs_tailnet_stop(a, 1000);
    gs_tailnet_stop(b, 1000);
}

static void a_key_that_expires_is_replaced(void **state)
{
    (void)state;
    expire_and_come_back(false);
}

static void a_node_with_a_new_key_is_at_its_relay_again(void **state)
{
    (void)state;
    expire_and_come_back(true);
}

static void an_ephemeral_node_says_good_bye(void **state)
{
    (void)state;
    gs_tailnet a = world_join(&world, "brief"), b = world_join(&world, "stays");
    assert_until(world_knows(b, "brief"), WAIT);
    gs_tailnet_stop(a, 5000);
    assert_until(!world_knows(b, "brief"), 5000);
    gs_tailnet_stop(b, 1000);
}

static void logging_out_is_for_good(void **state)
{
    (void)state;
    gs_tailnet n = world_join(&world, "leaver");
    assert_ok(gs_tailnet_logout(n, WAIT));
    assert_code(gs_tailnet_up(n, 0), GS_ELOGIN);
    assert_int_equal(world_state(n), GS_TAILNET_FAILED);
    gs_tailnet_stop(n, 0);
}

/* ---- events ---- */

static bool event_comes(gs_mailbox mb, gs_tailnet n, gs_tailnet_event tag, const char *text)
{
    gs_msg m;
    while (gs_receive(mb, &m, WAIT) == 0)
        if (m.kind == GS_MSG_TAILNET && m.post.tag == (uint32_t)tag && m.ref == n.id && m.post.body.n >= strlen(text) &&
            memcmp(m.post.body.p, text, strlen(text)) == 0)
            return true;
    return false;
}

static void events_tell_what_happens(void **state)
{
    (void)state;
    gs_mailbox mb;
    assert_ok(gs_mailbox_new(&mb));
    gs_tailnet_config c = world_config(&world, "told");
    c.events = mb;
    gs_tailnet n = world_join_with(&c);
    assert_true(event_comes(mb, n, GS_TAILNET_STATE, "running"));
    gs_tailnet other = world_join(&world, "other");
    assert_true(event_comes(mb, n, GS_TAILNET_PEER, "+other"));
    gs_stream l = world_listen(n, "tailnet://:9"), pair[2];
    assert_until(world_knows(other, "told"), WAIT);
    world_pair(other, "tailnet://told:9", l, pair);
    assert_true(event_comes(mb, n, GS_TAILNET_PATH, "other"));
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    gs_stream_close(l);
    gs_tailnet_stop(other, 1000);
    assert_true(event_comes(mb, n, GS_TAILNET_PEER, "-other"));
    gs_tailnet_stop(n, 1000);
    gs_mailbox_free(mb);
}

static void the_end_of_a_key_is_told_a_day_ahead(void **state)
{
    (void)state;
    struct world brief;
    gs_mailbox mb;
    world_begin(&brief, (gs_lab_config){.key_life_s = 3600});
    assert_ok(gs_mailbox_new(&mb));
    gs_tailnet_config c = world_config(&brief, "aging");
    c.events = mb;
    gs_tailnet n = world_join_with(&c);
    assert_true(event_comes(mb, n, GS_TAILNET_KEY_EXPIRY, "20"));
    gs_tailnet_stop(n, 1000);
    gs_mailbox_free(mb);
    gs_lab_stop(brief.lab);
}

static void who_was_removed_does_not_come_back_by_its_key(void **state)
{
    (void)state;
    gs_tailnet n = world_join(&world, "removed");
    assert_ok(gs_lab_remove(world.lab, world_id(&world, "removed")));
    assert_until(world_state(n) == GS_TAILNET_LOGIN, WAIT);
    assert_code(gs_tailnet_up(n, WAIT), GS_ELOGIN);
    assert_ok(gs_lab_approve(world.lab, gs_error_detail(GS_ELOGIN), NULL));
    assert_ok(gs_tailnet_up(n, WAIT));
    gs_tailnet_stop(n, 1000);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_wrong_configuration_is_told),
    cmocka_unit_test(handles_die_with_the_node),
    cmocka_unit_test(a_wrong_key_is_told),
    cmocka_unit_test(a_person_logs_in),
    cmocka_unit_test(stop_wakes_who_waits),
    cmocka_unit_test(a_control_server_that_is_not_there_is_named),
    cmocka_unit_test(a_node_is_the_same_after_a_restart),
    cmocka_unit_test(what_is_not_closed_yet_is_in_no_next_nodes_way),
    cmocka_unit_test(a_key_that_expires_is_replaced),
    cmocka_unit_test(a_node_with_a_new_key_is_at_its_relay_again),
    cmocka_unit_test(an_ephemeral_node_says_good_bye),
    cmocka_unit_test(logging_out_is_for_good),
    cmocka_unit_test(events_tell_what_happens),
    cmocka_unit_test(who_was_removed_does_not_come_back_by_its_key),
    cmocka_unit_test(the_end_of_a_key_is_told_a_day_ahead),
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
