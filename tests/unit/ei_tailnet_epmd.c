/* Two C nodes on two nodes of a tailnet find each other by the epmd of one of them, and by a fixed port, and talk; all of it in a
 * network namespace whose every packet is looked at: nothing of it goes by the host. The epmd is OTP's, in a namespace of its
 * own, where the node beside it reaches it; others reach it by a proxy on the tailnet. runner: tsan, timeout 120
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <gensock/ei.h>

#include "ei_tailnet_watch.h"
#include "tailnet_world.h"

#define ALIVE_A "alive-of-a"
#define ALIVE_B "alive-of-b"
#define MARKER "marker-of-the-messages"

enum { PAIRS = 16, MESSAGES = 200, LONG_MESSAGE = 1 << 20 };

static const char *why_not; /* this process has no namespaces of its own */

/* ---- OTP's epmd, in a namespace of its own ---- */

static pid_t epmd;
static char epmd_netns[64];

static bool epmd_start(void)
{
    int ready[2];
    char c;
    if (pipe(ready) < 0 || (epmd = fork()) < 0)
        return false;
    if (epmd == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) < 0 || !watch_lo_up() || write(ready[1], "", 1) != 1)
            _exit(1);
        close(ready[0]);
        close(ready[1]);
        execlp("epmd", "epmd", "-port", "4369", (char *)NULL);
        _exit(127);
    }
    close(ready[1]);
    bool is = read(ready[0], &c, 1) == 1;
    close(ready[0]);
    snprintf(epmd_netns, sizeof epmd_netns, "/proc/%d/ns/net", epmd);
    return is;
}

#define NEAR_EPMD "tcp://127.0.0.1:4369", GS_OPTS(GS_STR(NETNS, epmd_netns))

static bool epmd_answers(void) { return gs_epmd_names(NEAR_EPMD, NULL, 0, 1000) >= 0; }

/* ---- the proxy: streams in pairs, by one mailbox ---- */

struct proxy {
    gs_mailbox mb;
    gs_stream pair[PAIRS][2];
    pthread_t thread;
};

static void proxy_accept(struct proxy *p, gs_stream from)
{
    gs_stream to;
    int i = 0;
    while (i < PAIRS && p->pair[i][0].id)
        i++;
    if (i == PAIRS || gs_stream_connect(&to, NEAR_EPMD, p->mb, WAIT) < 0) {
        gs_stream_close(from);
        return;
    }
    p->pair[i][0] = from;
    p->pair[i][1] = to;
}

static void *proxy_run(void *arg)
{
    struct proxy *p = arg;
    gs_msg m;
    while (gs_receive(p->mb, &m, GS_INFINITY) == 0) {
        if (m.kind == GS_MSG_ACCEPT && m.error == 0)
            proxy_accept(p, m.fresh);
        for (int i = 0; i < PAIRS; i++)
            for (int side = 0; side < 2; side++) {
                if (m.stream.id != p->pair[i][side].id || !m.stream.id)
                    continue;
                gs_stream other = p->pair[i][!side];
                if (m.kind == GS_MSG_DATA && gs_stream_send(other, m.packet.data.p, m.packet.data.n) < 0)
                    gs_stream_close(other);
                if (m.kind == GS_MSG_CLOSED) {
                    gs_stream_close(other);
                    p->pair[i][0] = p->pair[i][1] = GS_NO_STREAM;
                }
            }
    }
    return NULL;
}

static void proxy_start(struct proxy *p, gs_tailnet on)
{
    gs_stream l;
    *p = (struct proxy){0};
    assert_ok(gs_mailbox_new(&p->mb));
    assert_ok(gs_stream_listen(&l, "tailnet://:4369", GS_OPTS(on_node(on), GS_INT(ACCEPT, GS_ACTIVE_TRUE)), p->mb));
    assert_int_equal(pthread_create(&p->thread, NULL, proxy_run, p), 0);
}

static void proxy_end(struct proxy *p)
{
    gs_mailbox_free(p->mb); /* and all that it owns */
    pthread_join(p->thread, NULL);
}

/* ---- C nodes ---- */

struct c_node {
    gs_opt opts[2];
    gs_ei_setup setup;
    ei_cnode ec;
    int lfd, port;
    pthread_t thread;
};

static void c_node_init(struct c_node *c, gs_tailnet on, const char *alive, uint32_t creation)
{
    char name[64];
    int size;
    *c = (struct c_node){.opts = {on_node(on), {.name = GS_OPT_END}}, .lfd = -1};
    c->setup = (gs_ei_setup){.transport = "tailnet", .connect_opts = c->opts, .listen_opts = c->opts};
    snprintf(name, sizeof name, "%s@tailnet", alive);
    ei_socket_callbacks *table = gs_ei_callbacks(&size);
    assert_int_equal(ei_connect_xinit_ussi(&c->ec, "tailnet", alive, name, NULL, "cookie", creation, table, size, &c->setup), 0);
}

static void c_node_listen(struct c_node *c, const char *at)
{
    gs_stream s;
    c->lfd = (int)assert_ok(gs_ei_listen(&c->ec, at, 5));
    assert_ok(gs_ei_stream(c->lfd, &s));
    c->port = (int)assert_ok(gs_stream_port(s));
}

/* Every message goes back to who sent it, until the connection ends. */
static void *c_node_echo(void *arg)
{
    struct c_node *c = arg;
    ErlConnect who;
    int fd = ei_accept_tmo(&c->ec, c->lfd, &who, WAIT);
    ei_x_buff x;
    erlang_msg m;
    ei_x_new(&x);
    for (int got; fd >= 0 && (got = ei_xreceive_msg_tmo(fd, &m, &x, WAIT)) != ERL_ERROR;)
        if (got == ERL_MSG && ei_send_tmo(fd, &m.from, x.buff, x.index, WAIT) < 0)
            break;
    ei_x_free(&x);
    if (fd >= 0)
        ei_close_connection(fd);
    return NULL;
}

static void message(ei_x_buff *x, long i, size_t n)
{
    static char bytes[LONG_MESSAGE];
    for (size_t at = 0; at < n; at += sizeof MARKER)
        memcpy(bytes + at, MARKER, n - at < sizeof MARKER ? n - at : sizeof MARKER);
    x->index = 0;
    assert_int_equal(ei_x_encode_version(x), 0);
    assert_int_equal(ei_x_encode_tuple_header(x, 2), 0);
    assert_int_equal(ei_x_encode_long(x, i), 0);
    assert_int_equal(ei_x_encode_binary(x, bytes, (int)n), 0);
}

static void talk(struct c_node *from, int fd)
{
    ei_x_buff out, in;
    erlang_msg m;
    ei_x_new(&out);
    ei_x_new(&in);
    for (long i = 0; i < MESSAGES; i++) {
        message(&out, i, i + 1 < MESSAGES ? (size_t)i * 7 : (size_t)LONG_MESSAGE);
        assert_int_equal(ei_reg_send_tmo(&from->ec, fd, (char[]){"echo"}, out.buff, out.index, WAIT), 0);
        int got;
        while ((got = ei_xreceive_msg_tmo(fd, &m, &in, WAIT)) == ERL_TICK)
            ;
        assert_int_equal(got, ERL_MSG);
        assert_int_equal(in.index, out.index);
        assert_memory_equal(in.buff, out.buff, (size_t)in.index);
    }
    ei_x_free(&out);
    ei_x_free(&in);
}

/* b calls a at this address, and is known there by its node of the tailnet. */
static void meet(struct c_node *a, struct c_node *b, const char *at)
{
    gs_stream s;
    const gs_peer *peer;
    assert_int_equal(pthread_create(&a->thread, NULL, c_node_echo, a), 0);
    int fd = (int)assert_ok(gs_ei_connect(&b->ec, at, WAIT));
    assert_ok(gs_ei_stream(fd, &s));
    assert_ok(gs_stream_peer(s, &peer));
    assert_non_null(peer->node);
    assert_memory_equal(peer->node, "a.", 2);
    gs_peer_free(peer);
    talk(b, fd);
    assert_int_equal(ei_close_connection(fd), 0);
    pthread_join(a->thread, NULL);
}

/* ---- the world ---- */

static struct world w;
static struct watch watch;
static struct proxy proxy;
static gs_tailnet a, b;

static bool reachable(int i)
{
    gs_lab_node_info info;
    return gs_lab_node(w.lab, i, &info) == 0 && info.reachable;
}

static int world_up(void **state)
{
    (void)state;
    if (why_not)
        return 0;
    assert_until(epmd_answers(), WAIT);
    watch_open(&watch);
    world_begin(&w, (gs_lab_config){.auth_key = "key"});
    watch_allow(&watch, gs_lab_port(w.lab, GS_LAB_CONTROL));
    watch_allow(&watch, gs_lab_port(w.lab, GS_LAB_RELAY));
    watch_forbid(&watch, ALIVE_A);
    watch_forbid(&watch, ALIVE_B);
    watch_forbid(&watch, MARKER);
    a = world_join(&w, "a");
    b = world_join(&w, "b");
    assert_until(world_knows(a, "b") && world_knows(b, "a"), WAIT);
    assert_until(reachable(0) && reachable(1), WAIT);
    proxy_start(&proxy, a);
    return ei_init();
}

static int world_down(void **state)
{
    (void)state;
    if (why_not)
        return 0;
    proxy_end(&proxy);
    gs_tailnet_stop(a, 1000);
    gs_tailnet_stop(b, 1000);
    gs_lab_stop(w.lab);
    return kill(epmd, SIGKILL) == 0 && waitpid(epmd, NULL, 0) == epmd ? 0 : -1;
}

static void needs_world(void)
{
    if (why_not)
        skip_because("%s", why_not);
}

static void assert_unseen(void)
{
    if (watch_look(&watch) > 0)
        fail_msg("%ld findings, the first: %s", watch.findings, watch.first);
    assert_true(watch.packets > 0);
}

static void c_nodes_find_each_other_by_an_epmd_behind_a_proxy(void **state)
{
    (void)state;
    needs_world();
    struct c_node ca, cb;
    gs_epmd_node me = {.name = ALIVE_A}, found;
    gs_stream registration;
    uint32_t creation;
    char at[64];
    c_node_init(&ca, a, ALIVE_A, 1);
    c_node_listen(&ca, "tailnet://:0");
    me.port = (uint16_t)ca.port;
    assert_ok(gs_epmd_register(NEAR_EPMD, &me, &registration, &creation, WAIT));
    ca.ec.creation = creation;

    c_node_init(&cb, b, ALIVE_B, 1);
    assert_code(gs_epmd_lookup("tailnet://a:4369", cb.opts, "nobody", &found, WAIT), GS_ENXDOMAIN);
    assert_ok(gs_epmd_lookup("tailnet://a:4369", cb.opts, ALIVE_A, &found, WAIT));
    assert_int_equal(found.port, ca.port);
    snprintf(at, sizeof at, "tailnet://a:%d", found.port);
    meet(&ca, &cb, at);
    meet(&ca, &cb, at);

    gs_stream_close(registration);
    assert_until(gs_epmd_lookup("tailnet://a:4369", cb.opts, ALIVE_A, &found, WAIT) == GS_ENXDOMAIN, WAIT);
    assert_int_equal(ei_close_connection(ca.lfd), 0);
    assert_unseen();
}

static void a_node_registers_itself_across_the_tailnet(void **state)
{
    (void)state;
    needs_world();
    const gs_opt opts[] = {on_node(b), {.name = GS_OPT_END}};
    gs_epmd_node me = {.name = ALIVE_B, .port = 4712}, all[4] = {0};
    gs_stream registration, again;
    uint32_t creation;
    assert_ok(gs_epmd_register("tailnet://a:4369", opts, &me, &registration, &creation, WAIT));
    assert_code(gs_epmd_register("tailnet://a:4369", opts, &me, &again, &creation, WAIT), -EEXIST);
    assert_int_equal(assert_ok(gs_epmd_names("tailnet://a:4369", opts, all, 4, WAIT)), 1);
    assert_string_equal(all[0].name, ALIVE_B);
    assert_int_equal(all[0].port, 4712);
    gs_stream_close(registration);
    assert_until(gs_epmd_names("tailnet://a:4369", opts, all, 4, WAIT) == 0, WAIT);
    assert_unseen();
}

static void c_nodes_with_a_fixed_port_need_no_epmd(void **state)
{
    (void)state;
    needs_world();
    struct c_node ca, cb;
    gs_addr own[8];
    int n = (int)assert_ok(gs_tailnet_resolve(b, "a", own, 8));
    assert_int_equal(n, 2); /* IPv4 and IPv6 */
    c_node_init(&ca, a, ALIVE_A, 1);
    c_node_init(&cb, b, ALIVE_B, 1);
    c_node_listen(&ca, "tailnet://:4711");
    assert_int_equal(ca.port, 4711);
    meet(&ca, &cb, "tailnet://a:4711");
    for (int i = 0; i < n; i++) {
        char at[GS_ADDR_TEXT_MAX + 16], text[GS_ADDR_TEXT_MAX];
        gs_addr_text(&own[i], text, sizeof text);
        char *port = strrchr(text, ':');
        snprintf(at, sizeof at, "tailnet://%.*s:4711", (int)(port - text), text);
        meet(&ca, &cb, at);
    }
    assert_int_equal(ei_close_connection(ca.lfd), 0);
    assert_code(gs_ei_connect(&cb.ec, "tailnet://a:4711", WAIT), -ECONNREFUSED);
    assert_unseen();
}

static void names_that_the_tailnet_does_not_know_are_asked_of_nobody(void **state)
{
    (void)state;
    needs_world();
    struct c_node cb;
    gs_epmd_node found;
    c_node_init(&cb, b, ALIVE_B, 1);
    assert_code(gs_epmd_lookup("tailnet://elsewhere.example:4369", cb.opts, ALIVE_A, &found, WAIT), GS_ENXDOMAIN);
    assert_code(gs_epmd_names("tailnet://localhost:4369", cb.opts, NULL, 0, WAIT), GS_ENXDOMAIN);
    assert_code(gs_ei_connect(&cb.ec, "tailnet://elsewhere.example:4711", WAIT), GS_ENXDOMAIN);
    assert_unseen();
}

static void the_watch_sees_what_would_leave_by_the_host(void **state)
{
    (void)state;
    needs_world();
    assert_unseen();
    watch_prove(&watch);
    watch_close(&watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c_nodes_find_each_other_by_an_epmd_behind_a_proxy),
        cmocka_unit_test(a_node_registers_itself_across_the_tailnet),
        cmocka_unit_test(c_nodes_with_a_fixed_port_need_no_epmd),
        cmocka_unit_test(names_that_the_tailnet_does_not_know_are_asked_of_nobody),
        cmocka_unit_test(the_watch_sees_what_would_leave_by_the_host), /* the last: it makes findings */
    };
    if (access("/dev/net/tun", F_OK) < 0)
        why_not = "no /dev/net/tun here, so no tailnet node can run";
    else if (!watch_enter())
        why_not = "a network namespace to watch takes root";
    else if (access("/usr/bin/epmd", X_OK) < 0 || !epmd_start())
        why_not = "no epmd here (Debian: erlang-base)";
    return cmocka_run_group_tests(tests, world_up, world_down);
}
