/* The protocols together, as a node will hold them: three nodes with WireGuard, paths and a relay's client each, one relay, and a
 * network of virtual time between them. Packets go by the relay at once, directly as soon as may be, and by the relay again when
 * UDP is cut. */
#include <string.h>

#include "support.h"
#include "tailnet/derp/client.h"
#include "tailnet/derp/relay.h"
#include "tailnet/disco/paths.h"
#include "tailnet/wireguard/routes.h"
#include "tailnet/wireguard/wireguard.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)

enum { NODES = 3, REGION = 1, FLIGHTS = 256, PACKETS = 20000, INNER = 20 + 8, WIRE_MS = 2 /* good enough: nothing better is looked for */ };

struct node;

/* What a node knows of another. */
struct known {
    struct node *node;
    struct path *path;
    struct wg_peer *wg;
};

struct node {
    int number;
    uint8_t private[KEY_LEN], public[KEY_LEN], ip[4];
    struct endpoint at;
    struct wireguard *wg;
    struct routes *routes;
    struct paths *paths;
    struct known known[NODES];
    struct derp_client *derp;
    struct relay_conn *conn;
    uint32_t sent[NODES], came[NODES]; /* packets to and from each */
    uint8_t seen[NODES][PACKETS];
    bool out_of_order;
};

struct flight {
    uint64_t due; /* 0: free */
    struct node *to;
    struct endpoint from;
    size_t n;
    uint8_t bytes[2048];
};

static struct node nodes[NODES];
static struct relay *relay;
static struct flight flights[FLIGHTS];
static uint64_t now;
static bool cut; /* UDP reaches nobody */
static long direct_datagrams, relayed_packets;

/* ---- the network ---- */

static void fly(struct node *from, const struct endpoint *to, const uint8_t *bytes, size_t n)
{
    direct_datagrams++;
    for (int i = 0; i < NODES; i++)
        for (int k = 0; !cut && k < FLIGHTS && gsi_endpoint_equal(&nodes[i].at, to); k++)
            if (!flights[k].due) {
                flights[k] = (struct flight){.due = now + WIRE_MS * MS, .to = &nodes[i], .from = from->at, .n = n};
                memcpy(flights[k].bytes, bytes, n);
                return;
            }
}

static void by_relay(struct node *from, const uint8_t key[KEY_LEN], const uint8_t *bytes, size_t n)
{
    relayed_packets++;
    bool disco = gsi_datagram_kind(bytes, n) == DATAGRAM_DISCO;
    if (from->derp) /* else it is lost */
        assert_ok(gsi_derp_send(from->derp, key, bytes, n, disco, now));
}

/* ---- a node ---- */

static void *find(void *arg, const uint8_t key[KEY_LEN])
{
    struct node *me = arg;
    for (int i = 0; i < NODES; i++)
        if (me->known[i].node && memcmp(me->known[i].node->public, key, KEY_LEN) == 0)
            return &me->known[i];
    return NULL;
}

static void take_inner(struct node *me, const struct wg_packet *packet)
{
    const struct known *who = gsi_wireguard_who(packet->peer);
    uint32_t from, k;
    assert_int_equal(packet->n, INNER);
    memcpy(&from, packet->p + 20, 4);
    memcpy(&k, packet->p + 24, 4);
    assert_int_equal(from, who->node->number); /* whose session it is, he says he is */
    assert_true(k < PACKETS && !me->seen[from][k]);
    me->seen[from][k] = 1;
    me->out_of_order |= k < me->came[from];
    me->came[from]++;
}

static void take_wireguard(struct node *me, struct wg_source *source, uint8_t *bytes, size_t n)
{
    struct wg_packet packet;
    if (gsi_wireguard_feed(me->wg, source, bytes, n, now, &packet) == WG_PACKET)
        take_inner(me, &packet);
}

static void take_datagram(struct node *me, struct flight *f)
{
    struct wg_source source = {.from = f->from};
    switch (gsi_datagram_kind(f->bytes, f->n)) {
    case DATAGRAM_DISCO: gsi_paths_feed(me->paths, f->bytes, f->n, &f->from, now); break;
    case DATAGRAM_WIREGUARD: take_wireguard(me, &source, f->bytes, f->n); break;
    default: fail_msg("a datagram of kind %d", gsi_datagram_kind(f->bytes, f->n));
    }
}

static void take_relayed(struct node *me, const struct derp_event *e)
{
    static uint8_t copy[2048];
    struct wg_source source = {0};
    assert_true(e->n <= sizeof copy);
    memcpy(copy, e->packet, e->n);
    memcpy(source.key, e->key, KEY_LEN);
    if (gsi_datagram_kind(copy, e->n) == DATAGRAM_DISCO)
        gsi_paths_feed_relay(me->paths, copy, e->n, REGION, e->key, now);
    else
        take_wireguard(me, &source, copy, e->n);
}

static void pump_relay(struct node *me)
{
    const uint8_t *p;
    if (!me->derp)
        return;
    for (size_t k; (k = gsi_derp_output(me->derp, &p)) > 0; gsi_derp_sent(me->derp, k))
        assert_ok(gsi_relay_feed(me->conn, p, k, now));
    for (size_t k; (k = gsi_relay_output(me->conn, &p)) > 0; gsi_relay_sent(me->conn, k))
        for (size_t at = 0; at < k;) {
            struct derp_event e;
            at += (size_t)assert_ok(gsi_derp_feed(me->derp, p + at, k - at, now, &e));
            if (e.kind == DERP_RECEIVED)
                take_relayed(me, &e);
        }
    if (gsi_relay_deadline(me->conn) <= now)
        assert_ok(gsi_relay_tick(me->conn, now));
}

static void send_wireguard(struct node *me)
{
    struct wg_output out;
    if (gsi_wireguard_deadline(me->wg) <= now)
        gsi_wireguard_tick(me->wg, now, now);
    while (gsi_wireguard_output(me->wg, &out)) {
        const struct known *to = gsi_wireguard_who(out.peer);
        struct route r = gsi_path_send(me->paths, to->path, now);
        assert_true(r.udp || r.relay);
        if (r.udp)
            fly(me, &r.to, out.p, out.n);
        if (r.relay)
            by_relay(me, to->node->public, out.p, out.n);
    }
}

static void send_disco(struct node *me)
{
    struct disco_packet packet;
    struct paths_event event;
    do {
        gsi_paths_tick(me->paths, now);
        while (gsi_paths_output(me->paths, &packet))
            if (packet.relay)
                by_relay(me, packet.node, packet.bytes, packet.n);
            else
                fly(me, &packet.to, packet.bytes, packet.n);
        while (gsi_paths_next(me->paths, &event))
            if (event.type == PATHS_WANT_ENDPOINTS)
                gsi_paths_endpoints(me->paths, &me->at, 1, now);
    } while (gsi_paths_deadline(me->paths) <= now);
}

static void send_inner(struct node *me, int to)
{
    uint8_t inner[INNER] = {0x45, 0, 0, INNER, 0, 0, 0x40, 0, 64, 17};
    uint32_t number = (uint32_t)me->number;
    memcpy(inner + 12, me->ip, 4);
    memcpy(inner + 16, nodes[to].ip, 4);
    memcpy(inner + 20, &number, 4);
    memcpy(inner + 24, &me->sent[to], 4);
    me->sent[to]++;
    assert_ok(gsi_wireguard_send(me->wg, me->known[to].wg, inner, sizeof inner, now));
}

/* So long, each pair exchanging a packet in each `every_ms`; 0: none. */
static void run(uint64_t ms, unsigned every_ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        now += MS;
        for (int k = 0; k < FLIGHTS; k++)
            if (flights[k].due && flights[k].due <= now) {
                flights[k].due = 0;
                take_datagram(flights[k].to, &flights[k]);
            }
        for (int a = 0; a < NODES; a++) {
            for (int b = 0; every_ms && i % every_ms == 0 && b < NODES; b++)
                if (a != b)
                    send_inner(&nodes[a], b);
            send_wireguard(&nodes[a]);
            send_disco(&nodes[a]);
            pump_relay(&nodes[a]);
        }
    }
}

static void join_relay(struct node *me)
{
    me->derp = gsi_derp_client_new(&(struct derp_options){.node_private = me->private, .host = "lab", .preferred = true}, now);
    me->conn = gsi_relay_join(relay, me, now);
    assert_true(me->derp && me->conn);
}

static void leave_relay(struct node *me)
{
    gsi_derp_client_free(me->derp);
    gsi_relay_leave(me->conn);
    me->derp = NULL;
    me->conn = NULL;
}

static void make_relay(void)
{
    uint8_t key[KEY_LEN];
    gsi_x25519_private(key);
    relay = gsi_relay_new(key, 10);
    assert_non_null(relay);
    for (int i = 0; i < NODES; i++)
        join_relay(&nodes[i]);
}

static void make_node(int i)
{
    struct node *me = &nodes[i];
    struct paths_config paths = {0};
    struct wg_config wg = {.find = find, .arg = me};
    int e;
    *me = (struct node){.number = i, .ip = {100, 64, 0, (uint8_t)(1 + i)}};
    me->at = (struct endpoint){gsi_ip_of_v4((const uint8_t[]){192, 0, 2, (uint8_t)(1 + i)}), 41641};
    gsi_x25519_private(me->private);
    gsi_x25519_public(me->public, me->private);
    gsi_x25519_private(paths.disco_private);
    memcpy(paths.node_public, me->public, KEY_LEN);
    memcpy(wg.private_key, me->private, KEY_LEN);
    wg.routes = me->routes = gsi_routes_new(0);
    me->paths = gsi_paths_new(&paths);
    me->wg = gsi_wireguard_new(&wg, &e);
    assert_true(me->routes && me->paths && me->wg);
    gsi_paths_endpoints(me->paths, &me->at, 1, now);
}

/* What a network map would say; of endpoints nothing, so that only a call tells them. */
static void introduce(struct node *me, int i)
{
    struct known *k = &me->known[i];
    struct path_peer peer = {.home = REGION, .user = k};
    k->node = &nodes[i];
    memcpy(peer.node, nodes[i].public, KEY_LEN);
    memcpy(peer.disco, gsi_paths_disco_public(nodes[i].paths), KEY_LEN);
    assert_ok(gsi_path_set(me->paths, &peer, now, &k->path));
    assert_ok(gsi_routes_add(me->routes, &(struct prefix){gsi_ip_of_v4(nodes[i].ip), PREFIX_BITS}, k));
    assert_ok(gsi_wireguard_peer(me->wg, nodes[i].public, &k->wg));
}

static int begin(void **state)
{
    (void)state;
    now = 1000 * S;
    cut = false;
    direct_datagrams = relayed_packets = 0;
    memset(flights, 0, sizeof flights);
    for (int i = 0; i < NODES; i++)
        make_node(i);
    for (int a = 0; a < NODES; a++)
        for (int b = 0; b < NODES; b++)
            if (a != b)
                introduce(&nodes[a], b);
    make_relay();
    run(100, 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++) {
        leave_relay(&nodes[i]);
        gsi_wireguard_free(nodes[i].wg);
        gsi_paths_free(nodes[i].paths);
        gsi_routes_free(nodes[i].routes);
    }
    gsi_relay_free(relay);
    return 0;
}

static int ways(enum path_kind kind)
{
    int n = 0;
    for (int a = 0; a < NODES; a++)
        for (int b = 0; b < NODES; b++) {
            struct path_info info;
            if (a == b)
                continue;
            gsi_path_info(nodes[a].known[b].path, &info);
            n += info.kind == kind;
        }
    return n;
}

enum { WAYS = NODES * (NODES - 1) };

/* Packets that did not come, of all pairs. */
static long lost(void)
{
    long n = 0;
    for (int a = 0; a < NODES; a++)
        for (int b = 0; b < NODES; b++)
            n += (long)nodes[a].sent[b] - (long)nodes[b].came[a];
    return n;
}

/* ---- facts ---- */

static void packets_go_by_the_relay_and_then_directly_and_none_is_lost(void **state)
{
    (void)state;
    assert_int_equal(ways(PATH_DIRECT), 0);
    run(10, 5); /* the first ones cannot know a way */
    assert_true(relayed_packets > 0);
    run(2000, 5);
    assert_int_equal(ways(PATH_DIRECT), WAYS);
    long relayed = relayed_packets, direct = direct_datagrams;
    run(1000, 5);
    assert_int_equal(relayed_packets, relayed); /* nothing but directly now */
    assert_true(direct_datagrams > direct + WAYS * 150);
    run(50, 0);
    assert_int_equal(lost(), 0);
    for (int i = 0; i < NODES; i++)
        assert_true(nodes[i].came[(i + 1) % NODES] > 500);
}

static void a_cut_of_udp_heals_by_the_relay_and_its_end_by_udp(void **state)
{
    (void)state;
    run(3000, 50);
    assert_int_equal(ways(PATH_DIRECT), WAYS);
    assert_int_equal(lost(), 0);
    cut = true;
    run(10000, 50);
    assert_int_equal(ways(PATH_RELAY), WAYS);
    long once = lost();
    assert_true(once > 0 && once <= WAYS * (7000 / 50)); /* what went into the cut while the path was trusted */
    run(10000, 50);
    assert_int_equal(lost(), once);
    cut = false;
    run(61000, 50);
    assert_int_equal(ways(PATH_DIRECT), WAYS);
    long relayed = relayed_packets;
    run(1000, 50);
    assert_int_equal(relayed_packets, relayed);
    assert_int_equal(lost(), once);
}

static void direct_paths_outlive_the_relay_and_new_keys(void **state)
{
    (void)state;
    run(3000, 20);
    assert_int_equal(ways(PATH_DIRECT), WAYS);
    for (int i = 0; i < NODES; i++)
        leave_relay(&nodes[i]);
    run(130000, 100); /* a rekey too */
    assert_int_equal(ways(PATH_DIRECT), WAYS);
    run(50, 0);
    assert_int_equal(lost(), 0);
    gsi_relay_free(relay);
    make_relay(); /* another one, with another key */
    run(1000, 20);
    cut = true;
    run(10000, 20);
    long once = lost();
    run(5000, 20);
    assert_int_equal(lost(), once);
    assert_int_equal(ways(PATH_RELAY), WAYS);
}

static void nothing_is_said_without_traffic(void **state)
{
    (void)state;
    run(1000, 20);
    run(60000, 0);
    long direct = direct_datagrams, relayed = relayed_packets;
    run(60000, 0);
    assert_int_equal(direct_datagrams, direct);
    assert_int_equal(relayed_packets, relayed);
    run(1000, 20); /* and it goes on where it stopped */
    run(50, 0);
    assert_int_equal(lost(), 0);
}

static int init(void **state)
{
    (void)state;
    return gsi_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packets_go_by_the_relay_and_then_directly_and_none_is_lost, begin, end),
        cmocka_unit_test_setup_teardown(a_cut_of_udp_heals_by_the_relay_and_its_end_by_udp, begin, end),
        cmocka_unit_test_setup_teardown(direct_paths_outlive_the_relay_and_new_keys, begin, end),
        cmocka_unit_test_setup_teardown(nothing_is_said_without_traffic, begin, end),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
