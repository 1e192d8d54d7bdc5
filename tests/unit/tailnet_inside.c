/* runner: timeout 120, tsan
 *
 * What happens to a node with other control servers than the lab, and with a lack of memory in one place: what is left undone is
 * done later, what is over is undone, and what cannot be used is told. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "tailnet/node/parts.h"
#include "tailnet_world.h"

#define LONG_AGO (200 * SECOND)

static struct world world;

/* ---- OpenSSL's memory: the tailnet's own as well ---- */

static _Atomic(const char *) scarce; /* the file that gets none */
static atomic_int refused;

static bool is_scarce(const char *file)
{
    const char *which = atomic_load(&scarce);
    bool hit = which && file && strstr(file, which);
    if (hit)
        atomic_fetch_add(&refused, 1);
    return hit;
}

static void *lend(size_t n, const char *file, int line)
{
    (void)line;
    return is_scarce(file) ? NULL : malloc(n);
}

static void *lend_again(void *p, size_t n, const char *file, int line)
{
    (void)line;
    return is_scarce(file) ? NULL : realloc(p, n);
}

static void take_back(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

static void have_none_in(const char *file)
{
    atomic_store(&refused, 0);
    atomic_store(&scarce, file);
}

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

static void routes_come_back_with_memory(void **state)
{
    (void)state;
    gs_tailnet a, b;
    gs_tailnet_config alpha = world_config(&world, "alpha"), beta = world_config(&world, "beta");
    assert_ok(gs_tailnet_start(&a, &alpha));
    assert_ok(gs_tailnet_start(&b, &beta));
    have_none_in("wireguard/routes.c"); /* they do not know each other yet */
    assert_until(world_knows(a, "beta") && world_knows(b, "alpha") && atomic_load(&refused) >= 4, WAIT);
    gs_stream l = world_listen(b, "tailnet://:7"), pair[2];
    have_none_in(NULL);
    world_pair(a, "tailnet://beta:7", l, pair);
    world_says(pair[0], pair[1], "there");
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    gs_stream_close(l);
    gs_tailnet_stop(a, 1000);
    gs_tailnet_stop(b, 1000);
}

/* What the mailbox has to tell stays readable, and to ask for it fails: the node's thread rests in between. */
static void a_mailbox_without_memory_is_not_asked_all_the_time(void **state)
{
    (void)state;
    enum { TRIES = 300 };
    gs_tailnet a = world_join(&world, "alpha"), b;
    fault_fail_call(FAULT_epoll_wait, 1, 1000000, ENOMEM);
    assert_ok(gs_lab_set_filter(world.lab, NULL));
    for (int i = 0; i < TRIES; i++)
        pause_1ms();
    assert_in_range(fault_stop(), 2, 3 * TRIES); /* the lab rests, too */
    b = world_join(&world, "beta");
    assert_until(world_knows(a, "beta"), WAIT);
    gs_tailnet_stop(a, 1000);
    gs_tailnet_stop(b, 1000);
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

static void a_filter_without_memory_forbids_and_comes_with_memory(void **state)
{
    (void)state;
    gs_stream s, pair[2];
    gs_tailnet a = world_join(&world, "alpha"), b = world_join(&world, "beta");
    gs_stream l = world_listen(b, "tailnet://:7");
    world_pair(a, "tailnet://beta:7", l, pair);
    have_none_in("filter/");
    assert_ok(gs_lab_set_filter(world.lab, NULL));
    assert_until(is_ill(b, "filter"), WAIT);
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    assert_true(gs_stream_connect(&s, "tailnet://beta:7", GS_OPTS(on_node(a)), GS_NO_MAILBOX, 300) < 0);
    have_none_in(NULL);
    assert_until(!is_ill(b, "filter"), WAIT);
    world_pair(a, "tailnet://beta:7", l, pair);
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    gs_stream_close(l);
    gs_tailnet_stop(a, 1000);
    gs_tailnet_stop(b, 1000);
}

/* ---- addresses outside the tailnet's ranges ---- */

struct change {
    struct command command; /* first */
    const struct map_node *before, *after;
};

static void run_change(struct node *n, struct command *c, uint64_t now)
{
    const struct change *change = (struct change *)c;
    const struct map_event ev = {.kind = MAP_PEER, .changed = MAP_CHANGED_ADDRESSES | MAP_CHANGED_ALLOWED,
                                 .before = change->before, .after = change->after};
    gsi_peers_take(n, &ev, now);
}

static void change(struct node *n, const struct map_node *before, const struct map_node *after)
{
    struct change c = {.command = {.run = run_change}, .before = before, .after = after};
    assert_ok(gsi_node_call(n, &c.command, WAIT));
}

static bool has_route(struct node *n, const struct prefix *to)
{
    struct sockaddr_storage at;
    socklen_t len = gsi_endpoint_to_sockaddr(&(struct endpoint){to->ip, 9}, &at);
    int fd = gsi_node_socket(n, at.ss_family, SOCK_DGRAM, 0);
    assert_true(fd >= 0);
    int e = connect(fd, (struct sockaddr *)&at, len) < 0 ? errno : 0;
    close(fd);
    assert_true(e == 0 || e == ENETUNREACH);
    return e == 0;
}

static struct prefix prefix_of(const char *text)
{
    struct prefix p;
    assert_ok(gsi_prefix_parse(text, strlen(text), &p));
    return p;
}

static struct map_node node_with(uint8_t key, const struct prefix *address)
{
    return (struct map_node){.id = 1000 + key, .key = {key, 1}, .home_derp = 1, .addresses = address, .addresses_n = 1,
                             .allowed = address, .allowed_n = 1, .name = "made.", .stable_id = "", .hostname = "", .os = "",
                             .machine_authorized = true};
}

static void routes_go_with_who_has_them(void **state)
{
    (void)state;
    static const char *const addresses[] = {"10.9.8.7", "fd00:9::7"};
    gs_tailnet a = world_join(&world, "alpha");
    struct node *n;
    assert_ok(gsi_node_of(a, &n));
    for (size_t i = 0; i < 2; i++) {
        const struct prefix one = prefix_of(addresses[i]), inside = prefix_of(i ? "fd7a:115c:a1e0::77" : "100.64.0.77");
        const struct map_node first = node_with(1, &one), second = node_with(2, &one), moved = node_with(1, &inside);
        assert_false(has_route(n, &one));
        change(n, NULL, &first);
        assert_true(has_route(n, &one));
        change(n, NULL, &second); /* the address passes to another, and then is heard to leave its old owner */
        change(n, &first, &moved);
        assert_true(has_route(n, &one));
        change(n, &second, NULL);
        assert_false(has_route(n, &one));
        change(n, &moved, NULL);
        assert_true(has_route(n, &inside)); /* the ranges themselves stay */
    }
    gsi_node_release(n);
    gs_tailnet_stop(a, 1000);
}

/* ---- relays ---- */

struct message {
    struct command command; /* first */
    const char *json;
};

static void run_message(struct node *n, struct command *c, uint64_t now)
{
    const char *json = ((struct message *)c)->json;
    gsi_members_message(n, (gs_bytes){(const uint8_t *)json, strlen(json)}, now);
}

/* As if the control server had sent it. */
static void tell(gs_tailnet h, const char *json)
{
    struct message m = {.command = {.run = run_message}, .json = json};
    struct node *n;
    assert_ok(gsi_node_of(h, &n));
    assert_ok(gsi_node_call(n, &m.command, WAIT));
    gsi_node_release(n);
}

static void a_relay_whose_name_is_none_is_not_called(void **state)
{
    (void)state;
    static const struct {
        const char *host, *cert, *told;
    } rows[] = {
        {"a relay\\r\\nX: y", "", "relay whose host name is none"},
        {"relay:1/x", "", "relay whose host name is none"},
        {"relay.test", "relay/x", "host whose name is none"},
        {"127.0.0.1", "sha256-raw:", "not the one that the map names"}, /* a pin of no bytes fits no certificate */
    };
    char json[512];
    gs_tailnet a = world_join(&world, "alpha");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(json, sizeof json,
                 "{\"DERPMap\":{\"Regions\":{\"%zu\":{\"RegionID\":%zu,\"Nodes\":[{\"Name\":\"x\",\"RegionID\":%zu,"
                 "\"HostName\":\"%s\","
                 "\"CertName\":\"%s\",\"IPv4\":\"127.0.0.1\",\"STUNPort\":%ld,\"DERPPort\":%ld}]}}}}",
                 i + 20, i + 20, i + 20, rows[i].host, rows[i].cert, assert_ok(gs_lab_port(world.lab, GS_LAB_STUN)),
                 assert_ok(gs_lab_port(world.lab, GS_LAB_RELAY)));
        tell(a, json);
        assert_until(is_ill(a, rows[i].told), WAIT);
    }
    gs_tailnet_stop(a, 1000);
}

/* ---- Tailnet Lock ---- */

static void a_tailnet_that_is_locked_is_told_for_as_long_as_it_is(void **state)
{
    (void)state;
    const gs_tailnet_status_t *s;
    gs_stream stream;
    gs_tailnet a = world_join(&world, "alpha"), b = world_join(&world, "beta");
    assert_until(world_knows(a, "beta"), WAIT);
    tell(a, "{\"TKAInfo\":{\"Head\":\"x\"}}");
    assert_until(gs_tailnet_up(a, WAIT) == GS_ELOCKED, WAIT);
    assert_non_null(strstr(gs_error_detail(GS_ELOCKED), "Tailnet Lock"));
    assert_code(world_connect(a, "tailnet://beta:7", &stream), GS_ELOCKED);
    assert_ok(gs_tailnet_status(a, &s));
    assert_int_equal(s->error, GS_ELOCKED);
    gs_tailnet_status_free(s);
    tell(a, "{\"TKAInfo\":{\"Disabled\":true}}");
    assert_until(gs_tailnet_up(a, WAIT) == 0, WAIT);
    assert_until(world_connect(a, "tailnet://beta:7", &stream) == -ECONNREFUSED, WAIT);
    gs_tailnet_stop(a, 1000);
    gs_tailnet_stop(b, 1000);
}

/* ---- the private network goes ---- */

static void take_tun_away(gs_tailnet h)
{
    struct ifreq r = {.ifr_name = "tailnet0"};
    struct {
        struct nlmsghdr h;
        struct ifinfomsg i;
    } m = {.h = {.nlmsg_len = sizeof m, .nlmsg_type = RTM_DELLINK, .nlmsg_flags = NLM_F_REQUEST}};
    struct node *n;
    assert_ok(gsi_node_of(h, &n));
    int fd = gsi_node_socket(n, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, SIOCGIFINDEX, &r), 0);
    m.i.ifi_index = r.ifr_ifindex;
    assert_int_equal(send(fd, &m, sizeof m, 0), sizeof m);
    close(fd);
    gsi_node_release(n);
}

static void a_node_whose_network_is_gone_tells_everybody(void **state)
{
    (void)state;
    char got[4];
    gs_tailnet a = world_join(&world, "stranded"), b = world_join(&world, "beta");
    gs_stream l = world_listen(b, "tailnet://:7"), own = world_listen(a, "tailnet://:8"), pair[2], s;
    world_pair(a, "tailnet://beta:7", l, pair);
    take_tun_away(a);
    assert_code(gs_stream_recv(pair[0], got, sizeof got, 0, WAIT), GS_ECLOSED);
    assert_code(gs_stream_accept(own, &s, GS_NO_MAILBOX, WAIT, NULL), -ENETDOWN);
    assert_code(gs_tailnet_up(a, WAIT), -ENETDOWN);
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    gs_stream_close(own);
    gs_stream_close(l);
    gs_tailnet_stop(a, 0); /* it cannot log out, so the lab keeps its name */
    gs_tailnet_stop(b, 1000);
}

/* ---- more peers than there are identities ---- */

static void run_fill(struct node *n, struct command *c, uint64_t now)
{
    (void)c;
    uint8_t key[KEY_LEN] = {0xff};
    for (uint32_t i = 1; i; memcpy(key + 8, &i, sizeof i), i++)
        if (!gsi_identity_new(n, key, now))
            break;
}

/* The last one died at the beginning of time. */
static void run_free_one(struct node *n, struct command *c, uint64_t now)
{
    (void)c;
    gsi_identity_end(n, IDENTITIES_MAX - 1, now > LONG_AGO ? now - LONG_AGO : 0);
    n->members.check_at = now;
}

static void run_in(gs_tailnet h, command_run *run)
{
    struct command c = {.run = run};
    struct node *n;
    assert_ok(gsi_node_of(h, &n));
    assert_ok(gsi_node_call(n, &c, WAIT));
    gsi_node_release(n);
}

static void who_gets_no_identity_calls_nobody_until_there_is_one(void **state)
{
    (void)state;
    gs_stream pair[2], s;
    gs_tailnet a = world_join(&world, "alpha");
    gs_stream l = world_listen(a, "tailnet://:7");
    run_in(a, run_fill);
    gs_tailnet b = world_join(&world, "beta");
    assert_until(world_knows(a, "beta") && world_knows(b, "alpha"), WAIT);
    assert_true(gs_stream_connect(&s, "tailnet://alpha:7", GS_OPTS(on_node(b)), GS_NO_MAILBOX, 1000) < 0);
    run_in(a, run_free_one);
    world_pair(b, "tailnet://alpha:7", l, pair);
    world_says(pair[0], pair[1], "now");
    gs_stream_close(pair[0]);
    gs_stream_close(pair[1]);
    gs_stream_close(l);
    gs_tailnet_stop(a, 1000);
    gs_tailnet_stop(b, 1000);
}

/* ---- servers that are no good ---- */

static void run_16_s_later(struct node *n, struct command *c, uint64_t now)
{
    (void)c;
    gsi_session_step(n, now + 16 * SECOND);
}

static bool is_hindered_by(gs_tailnet n, const char *words)
{
    const gs_tailnet_status_t *s;
    assert_ok(gs_tailnet_status(n, &s));
    bool found = strstr(s->detail, words) != NULL;
    gs_tailnet_status_free(s);
    return found;
}

static void a_server_that_takes_the_connection_and_says_nothing_is_left(void **state)
{
    (void)state;
    char url[64];
    gs_stream l, s;
    gs_tailnet n;
    assert_ok(gs_stream_listen(&l, "tcp://127.0.0.1:0", NULL, GS_NO_MAILBOX));
    snprintf(url, sizeof url, "http://127.0.0.1:%d", gs_stream_port(l));
    gs_tailnet_config c = world_config(&world, "waits");
    c.control_url = url;
    assert_ok(gs_tailnet_start(&n, &c));
    assert_ok(gs_stream_accept(l, &s, GS_NO_MAILBOX, WAIT, NULL));
    assert_true(gs_stream_recv(s, url, sizeof url, 0, WAIT) > 0); /* what it asks */
    run_in(n, run_16_s_later);
    assert_true(is_hindered_by(n, "no answer within 15 s"));
    ssize_t e;
    while ((e = gs_stream_recv(s, url, sizeof url, 0, WAIT)) > 0)
        ;
    assert_code(e, GS_ECLOSED);
    gs_tailnet_stop(n, 0);
    gs_stream_close(s);
    gs_stream_close(l);
}

static uint64_t waits[20];

/* Each map stream brings something and breaks. */
static void run_lose_many(struct node *n, struct command *c, uint64_t now)
{
    (void)c;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        n->session.mapping = n->session.heard = true;
        gsi_session_lost(n, -ECONNRESET, "broken", now);
        waits[i] = n->session.retry_at - now;
    }
}

static void streams_that_break_again_and_again_are_asked_for_less_and_less(void **state)
{
    (void)state;
    gs_tailnet n = world_join(&world, "alpha");
    run_in(n, run_lose_many);
    assert_true(waits[0] < SECOND / 5); /* once is nothing */
    size_t last = sizeof waits / sizeof *waits - 1;
    assert_true(waits[last] >= (last + 1) * (last + 1) * BACKOFF_STEP_NS / 2);
    assert_true(waits[last] > 8 * waits[1] / 3);
    gs_tailnet_stop(n, 0);
}

/* ---- look-ups ---- */

/* A name server that answers when it may, which is after the stop. */
struct slow {
    struct job job; /* first */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool asked, stopped, dropped, late;
};

static void run_slowly(struct job *j)
{
    struct slow *s = (struct slow *)j;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT / 1000;
    pthread_mutex_lock(&s->lock);
    s->asked = true;
    pthread_cond_broadcast(&s->moved);
    while (!s->stopped && !s->late)
        s->late = pthread_cond_timedwait(&s->moved, &s->lock, &until) == ETIMEDOUT;
    pthread_mutex_unlock(&s->lock);
}

static void done_in_time(struct node *n, struct job *j, uint64_t now)
{
    (void)n, (void)now;
    ((struct slow *)j)->late = true; /* nobody is there any more to take it */
}

static void drop_slow(struct job *j)
{
    struct slow *s = (struct slow *)j;
    pthread_mutex_lock(&s->lock);
    s->dropped = true;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
}

static struct slow slow = {.job = {.run = run_slowly, .done = done_in_time, .drop = drop_slow},
                           .lock = PTHREAD_MUTEX_INITIALIZER,
                           .moved = PTHREAD_COND_INITIALIZER};

static void run_ask(struct node *n, struct command *c, uint64_t now)
{
    (void)now;
    c->result = gsi_worker_give(n, &n->finder, &slow.job);
}

static void a_stop_waits_for_no_name_server(void **state)
{
    (void)state;
    gs_tailnet a = world_join(&world, "alpha");
    run_in(a, run_ask);
    pthread_mutex_lock(&slow.lock);
    while (!slow.asked)
        pthread_cond_wait(&slow.moved, &slow.lock);
    pthread_mutex_unlock(&slow.lock);
    gs_tailnet_stop(a, 0);
    pthread_mutex_lock(&slow.lock);
    slow.stopped = true;
    pthread_cond_broadcast(&slow.moved);
    while (!slow.dropped)
        pthread_cond_wait(&slow.moved, &slow.lock);
    bool late = slow.late;
    pthread_mutex_unlock(&slow.lock);
    assert_false(late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_come_back_with_memory),
        cmocka_unit_test(a_mailbox_without_memory_is_not_asked_all_the_time),
        cmocka_unit_test(a_filter_without_memory_forbids_and_comes_with_memory),
        cmocka_unit_test(routes_go_with_who_has_them),
        cmocka_unit_test(a_relay_whose_name_is_none_is_not_called),
        cmocka_unit_test(a_tailnet_that_is_locked_is_told_for_as_long_as_it_is),
        cmocka_unit_test(a_node_whose_network_is_gone_tells_everybody),
        cmocka_unit_test(who_gets_no_identity_calls_nobody_until_there_is_one),
        cmocka_unit_test(a_server_that_takes_the_connection_and_says_nothing_is_left),
        cmocka_unit_test(streams_that_break_again_and_again_are_asked_for_less_and_less),
        cmocka_unit_test(a_stop_waits_for_no_name_server),
    };
    if (CRYPTO_set_mem_functions(lend, lend_again, take_back) != 1)
        abort();
    return cmocka_run_group_tests(tests, begin, end);
}
