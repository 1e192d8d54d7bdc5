/* C nodes over IPv6 and unix that begin with ei_connect_xinit_ussi: nothing of them leaves by anything but their transport: no
 * resolver is asked, no epmd, nobody over IPv4. */
#include <errno.h>
#include <gensock/ei.h>
#include <pthread.h>
#include <stdlib.h>

#include "ei_tailnet_watch.h"

enum { WAIT = 5000, EPMD = 4369 };

static const char *why_not; /* this process has no namespace of its own */

static void needs_watch(void)
{
    if (why_not)
        skip_because("%s", why_not);
}

static void node_init(ei_cnode *ec, const char *alive, const char *host)
{
    char full[128];
    int size;
    ei_socket_callbacks *table = gs_ei_callbacks(&size);
    snprintf(full, sizeof full, "%s@%s", alive, host);
    assert_int_equal(ei_connect_xinit_ussi(ec, host, alive, full, NULL, "cookie", 0, table, size, NULL), 0);
}

struct server {
    ei_cnode ec;
    int listener, fd;
};

static void *serve(void *arg)
{
    struct server *s = arg;
    ErlConnect who;
    erlang_msg m;
    ei_x_buff x;
    if (ei_x_new(&x) < 0 || (s->fd = ei_accept_tmo(&s->ec, s->listener, &who, WAIT)) < 0)
        return NULL;
    if (ei_xreceive_msg_tmo(s->fd, &m, &x, WAIT) == ERL_MSG)
        (void)ei_reg_send_tmo(&s->ec, s->fd, "back", x.buff, x.index, WAIT);
    ei_x_free(&x);
    return NULL;
}

/* Two nodes meet at an address, and one's message comes back. host is a name that nobody knows. */
static void meet(struct watch *w, const char *at, const char *host)
{
    struct server s = {.fd = -1};
    ei_cnode client;
    pthread_t t;
    gs_stream l;
    erlang_msg m;
    ei_x_buff x;
    char address[128];
    node_init(&s.ec, "server", host);
    node_init(&client, "client", host);
    s.listener = gs_ei_listen(&s.ec, at, 5);
    assert_ok(s.listener);
    assert_ok(gs_ei_stream(s.listener, &l));
    int port = gs_stream_port(l);
    size_t n = strlen(at) - (port > 0); /* behind the colon a 0 */
    snprintf(address, sizeof address, "%.*s%.0d", (int)n, at, port > 0 ? port : 0);
    if (port > 0)
        watch_allow(w, port);
    assert_int_equal(pthread_create(&t, NULL, serve, &s), 0);
    int fd = gs_ei_connect(&client, address, WAIT);
    assert_ok(fd);
    assert_int_equal(ei_x_new_with_version(&x), 0);
    assert_int_equal(ei_x_encode_atom(&x, "hello"), 0);
    assert_int_equal(ei_reg_send_tmo(&client, fd, "any", x.buff, x.index, WAIT), 0);
    x.index = 0;
    assert_int_equal(ei_xreceive_msg_tmo(fd, &m, &x, WAIT), ERL_MSG);
    assert_string_equal(m.toname, "back");
    pthread_join(t, NULL);
    ei_x_free(&x);
    assert_int_equal(ei_close_connection(fd), 0);
    assert_int_equal(ei_close_connection(s.fd), 0);
    assert_int_equal(ei_close_connection(s.listener), 0);
}

static void assert_unseen(struct watch *w)
{
    if (watch_look(w) > 0)
        fail_msg("%ld findings, the first: %s", w->findings, w->first);
}

static void over_ipv6_nothing_is_seen_but_the_connection(void **state)
{
    (void)state;
    needs_watch();
    struct watch w;
    watch_open(&w);
    meet(&w, "tcp://[::1]:0", "elsewhere.example");
    assert_unseen(&w);
    assert_true(w.packets > 0);
    watch_close(&w);
}

static void over_unix_nothing_is_seen(void **state)
{
    (void)state;
    needs_watch();
    struct watch w;
    char address[128];
    watch_open(&w);
    snprintf(address, sizeof address, "unix://%s", temp_path("unseen"));
    meet(&w, address, "elsewhere.example");
    assert_unseen(&w);
    watch_close(&w);
}

/* Whatever its callbacks are: why such nodes take gs_epmd_register, and the address that they know. */
static void what_ei_asks_by_itself_goes_by_the_host_and_is_seen(void **state)
{
    (void)state;
    needs_watch();
    struct watch w;
    ei_cnode ec;
    char epmd[16];
    snprintf(epmd, sizeof epmd, "to %d", EPMD);
    watch_open(&w);
    node_init(&ec, "server", "elsewhere.example");
    assert_unseen(&w);
    assert_true(ei_publish_tmo(&ec, 4711, WAIT) < 0);
    assert_until(watch_look(&w) > 0, WAIT);
    assert_non_null(strstr(w.first, epmd));
    watch_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_ipv6_nothing_is_seen_but_the_connection),
        cmocka_unit_test(over_unix_nothing_is_seen),
        cmocka_unit_test(what_ei_asks_by_itself_goes_by_the_host_and_is_seen),
    };
    if (access("/dev/net/tun", F_OK) < 0)
        why_not = "no /dev/net/tun here";
    else if (!watch_enter())
        why_not = "a network namespace to watch takes root";
    if (unsetenv("ERL_EPMD_PORT") < 0 || ei_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
