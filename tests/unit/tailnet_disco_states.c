/* disco/ and netcheck: each message by each way in each state of a path; each allocation of netcheck failing. */
#include <errno.h>
#include <stdlib.h>

#include "support.h"
#include "tailnet/disco/paths.h"
#include "tailnet/stun/netcheck.h"

#define MSEC UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

enum { REGION = 7 };

static long allocations, fail_at;
static bool must_fail(void) { return ++allocations == fail_at; }
static void *some_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return must_fail() ? NULL : malloc(n);
}
static void *some_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return must_fail() ? NULL : realloc(p, n);
}
static void some_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

static struct paths *paths;
static struct path *path;
static uint64_t now;
static uint8_t disco[KEY_LEN], shared[KEY_LEN], txid[DISCO_TXID_LEN];
static const uint8_t node[KEY_LEN] = {1}, other[KEY_LEN] = {2}, unknown[KEY_LEN] = {3};
static struct endpoint at;

/* What is sent: O for a Pong, P a Ping, C a CallMeMaybe. */
static void sent(char out[64])
{
    struct disco_packet packet;
    struct disco_message m;
    size_t n = 0;
    gsi_paths_tick(paths, now);
    while (gsi_paths_output(paths, &packet)) {
        assert_true(n < 63);
        assert_ok(gsi_disco_open(packet.bytes, packet.n, shared, &m));
        out[n++] = "?POC"[m.type];
        if (m.type == DISCO_PING)
            memcpy(txid, m.txid, sizeof txid);
    }
    out[n] = 0;
}

enum way { BY_UDP, BY_RELAY, BY_RELAY_OF_ANOTHER, BY_RELAY_OF_NOBODY };

static void receive(enum disco_type type, enum way way)
{
    uint8_t in[DISCO_PACKET_MAX];
    struct disco_message m = {.type = type, .seen = at, .n = 1, .endpoints = {at}};
    memcpy(m.node, node, KEY_LEN);
    memcpy(m.txid, txid, sizeof m.txid);
    if (type == DISCO_PING)
        gsi_random(m.txid, sizeof m.txid);
    size_t n = gsi_disco_seal(in, disco, shared, &m);
    if (way == BY_UDP)
        gsi_paths_feed(paths, in, n, &at, now);
    else
        gsi_paths_feed_relay(paths, in, n, REGION, way == BY_RELAY ? node : way == BY_RELAY_OF_ANOTHER ? other : unknown, now);
}

enum state { IDLE, SEARCHING, DIRECT, LAPSED };

static void set_up(enum state state)
{
    static const uint8_t v4[4] = {203, 0, 113, 1};
    uint8_t private[KEY_LEN];
    struct paths_config config = {.node_public = {9}};
    char ignored[64];
    now = 100 * SEC;
    at = (struct endpoint){gsi_ip_of_v4(v4), 5};
    gsi_x25519_private(config.disco_private);
    gsi_x25519_private(private);
    gsi_x25519_public(disco, private);
    paths = gsi_paths_new(&config);
    assert_non_null(paths);
    assert_true(gsi_box_key(shared, private, gsi_paths_disco_public(paths)));
    struct path_peer peer = {.home = REGION, .endpoints = &at, .n = 1};
    memcpy(peer.node, other, KEY_LEN);
    assert_ok(gsi_path_set(paths, &peer, now, &path));
    memcpy(peer.node, node, KEY_LEN);
    memcpy(peer.disco, disco, KEY_LEN);
    assert_ok(gsi_path_set(paths, &peer, now, &path));
    gsi_paths_endpoints(paths, &at, 1, now);
    gsi_random(txid, sizeof txid);
    if (state >= SEARCHING) {
        (void)gsi_path_send(paths, path, now);
        sent(ignored);
        assert_string_equal(ignored, "PC");
        now += MSEC;
    }
    if (state >= DIRECT) {
        receive(DISCO_PONG, BY_UDP);
        gsi_random(txid, sizeof txid);
    }
    if (state == LAPSED)
        for (int i = 0; i < 7; i++) { /* heartbeats go unanswered */
            now += SEC;
            sent(ignored);
        }
}

static void each_message_by_each_way_in_each_state(void **unused)
{
    (void)unused;
    static const enum path_kind kinds[] = {PATH_RELAY, PATH_RELAY, PATH_DIRECT, PATH_RELAY};
    static const struct {
        enum disco_type type;
        enum way way;
        const char *sent[4];  /* by state */
        bool makes_direct[4];
    } rows[] = {
        {DISCO_PING, BY_UDP, {"O", "OP", "O", "OP"}, {0}}, /* while a path is searched the ping goes back */
        {DISCO_PING, BY_RELAY, {"O", "O", "O", "O"}, {0}},
        {DISCO_PING, BY_RELAY_OF_ANOTHER, {"O", "O", "O", "O"}, {0}}, /* the ping tells its node itself */
        {DISCO_PING, BY_RELAY_OF_NOBODY, {"O", "O", "O", "O"}, {0}},
        {DISCO_PONG, BY_UDP, {"", "", "", ""}, {false, true, false, true}},
        {DISCO_PONG, BY_RELAY, {"", "", "", ""}, {0}},
        {DISCO_PONG, BY_RELAY_OF_ANOTHER, {"", "", "", ""}, {0}},
        {DISCO_PONG, BY_RELAY_OF_NOBODY, {"", "", "", ""}, {0}},
        {DISCO_CALL_ME_MAYBE, BY_UDP, {"", "", "", ""}, {0}},
        {DISCO_CALL_ME_MAYBE, BY_RELAY, {"P", "P", "P", "P"}, {0}},
        {DISCO_CALL_ME_MAYBE, BY_RELAY_OF_ANOTHER, {"", "", "", ""}, {0}},
        {DISCO_CALL_ME_MAYBE, BY_RELAY_OF_NOBODY, {"", "", "", ""}, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int state = IDLE; state <= LAPSED; state++) {
            char out[64];
            struct path_info info;
            set_up((enum state)state);
            receive(rows[i].type, rows[i].way);
            sent(out);
            gsi_path_info(path, &info);
            enum path_kind kind = rows[i].makes_direct[state] ? PATH_DIRECT : kinds[state];
            if (strcmp(out, rows[i].sent[state]) != 0 || info.kind != kind)
                fail_msg("type %d by way %d in state %d: sent '%s', kind %d", rows[i].type, rows[i].way, state, out, info.kind);
            gsi_paths_free(paths);
        }
}

static int check(void)
{
    struct netcheck_region regions[2] = {{.id = 1, .n = 1, .nodes = {{.v4 = at}}}, {.id = 2, .n = 1, .nodes = {{.v4 = at}}}};
    struct netcheck *nc = gsi_netcheck_new(true, false);
    if (!nc)
        return -ENOMEM;
    int e = gsi_netcheck_regions(nc, regions, 1, now);
    if (e == 0) {
        struct netcheck_report report;
        struct netcheck_packet packet;
        e = gsi_netcheck_regions(nc, regions, 2, now);
        assert_int_equal(gsi_netcheck_next(nc, &report), NETCHECK_HOME);
        assert_int_equal(report.home, 1); /* stays when the second map is not taken, and when it is */
        gsi_netcheck_tick(nc, now);
        assert_true(gsi_netcheck_output(nc, &packet));
    }
    gsi_netcheck_free(nc);
    return e;
}

static void each_failing_allocation_of_netcheck_is_told(void **unused)
{
    (void)unused;
    fail_at = allocations = 0;
    assert_ok(check());
    long all = allocations;
    assert_int_equal(all, 4);
    for (fail_at = 1; fail_at <= all; fail_at++) {
        allocations = 0;
        assert_int_equal(check(), -ENOMEM);
    }
    fail_at = 0;
}

static int init(void **unused)
{
    (void)unused;
    return CRYPTO_set_mem_functions(some_malloc, some_realloc, some_free) == 1 ? gsi_crypto_init() : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_by_each_way_in_each_state),
        cmocka_unit_test(each_failing_allocation_of_netcheck_is_told),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
