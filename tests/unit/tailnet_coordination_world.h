/* tailnet_coordination_world.h: a lab's control server and nodes that are our own control client and network map, in one
 * process. */
#ifndef TAILNET_COORDINATION_WORLD_H
#define TAILNET_COORDINATION_WORLD_H

#include <errno.h>
#include <string.h>

#include "support.h"
#include "tailnet/control/control.h"
#include "tailnet/control/server_key.h"
#include "tailnet/lab/coordination.h"
#include "tailnet/netmap/netmap.h"

#define S UINT64_C(1000000000)
enum { WORLD_NODES = 8, WALL_S = 1800000000 };

struct end {
    struct control *c;
    struct coordination_conn *conn;
    uint8_t machine[KEY_LEN], key[KEY_LEN], disco[KEY_LEN];
    struct hostinfo host;
    struct net_info net;
    struct netmap *map;
    struct control_event event; /* the last but maps */
    char text[600];             /* of event */
    int events, maps;           /* how many */
    char message[64 * 1024];    /* the last map message */
    bool map_ended, deaf;       /* deaf: it reads nothing */
    int over;                   /* the client's end; what the server said */
    ssize_t server_over;
};

static struct coordination *lab;
static struct end ends[WORLD_NODES];
static uint64_t now;
static uint8_t control_key[KEY_LEN];
static struct url url;

static inline struct coordination_config config_of(void)
{
    return (struct coordination_config){.control_private = control_key, .url = "http://127.0.0.1:9", .domain = "lab.test",
                                        .login = "owner@lab.test", .display = "The Owner", .auth_key = "key-1",
                                        .wall_ns = (WALL_S - 1000) * S};
}

static inline void world_start(const struct coordination_config *config)
{
    assert_ok(gsi_crypto_init());
    memset(control_key, 0x41, KEY_LEN);
    now = 1000 * S;
    memset(ends, 0, sizeof ends);
    assert_ok(gsi_coordination_new(&lab, config));
    assert_ok(gsi_url_parse("http://127.0.0.1:9", 18, &url));
    for (int i = 0; i < WORLD_NODES; i++) {
        static char names[WORLD_NODES][16];
        snprintf(names[i], sizeof names[i], "node%c", 'a' + i);
        memset(ends[i].machine, 1 + i, KEY_LEN);
        memset(ends[i].key, 0x20 + i, KEY_LEN);
        memset(ends[i].disco, 0x60 + i, KEY_LEN);
        ends[i].host = (struct hostinfo){.hostname = names[i], .os = "linux"};
    }
}

static inline void world_leave(struct end *e)
{
    gsi_control_free(e->c);
    e->c = NULL;
    if (e->conn)
        gsi_coordination_leave(e->conn, now);
    e->conn = NULL;
}

static inline void world_end(void)
{
    for (int i = 0; i < WORLD_NODES; i++) {
        world_leave(&ends[i]);
        gsi_netmap_free(ends[i].map);
    }
    gsi_coordination_free(lab);
    lab = NULL;
}

static inline void world_connect(struct end *e)
{
    e->over = 0;
    e->server_over = 0;
    e->conn = gsi_coordination_join(lab, e, now);
    assert_non_null(e->conn);
    assert_ok(gsi_control_new(&e->c, &(struct control_config){.url = &url, .server_key = gsi_coordination_public(lab),
                                                              .machine_private = e->machine}, now));
}

static inline void world_take(struct end *e)
{
    struct control_event event;
    while (gsi_control_next(e->c, &event)) {
        if (event.type == CONTROL_OPEN)
            continue;
        if (event.type != CONTROL_MAP) {
            e->event = event;
            snprintf(e->text, sizeof e->text, "%s", event.text);
            e->events++;
            e->map_ended |= event.type == CONTROL_MAP_ENDED;
            continue;
        }
        struct map_update *u;
        struct map_error why = {"", 0};
        e->maps++;
        assert_true(event.message.n < sizeof e->message);
        memcpy(e->message, event.message.p, event.message.n);
        e->message[event.message.n] = 0;
        if (gsi_map_parse(event.message.p, event.message.n, &u, &why) != 0
            || gsi_netmap_apply(e->map, u, (int64_t)(now / S) - 1000 + WALL_S, &why) != 0)
            fail_msg("%s in %s", why.why, e->message);
    }
}

/* One round between a client and the server; true: something moved. */
static inline bool world_move(struct end *e)
{
    static uint8_t buf[16 * 1024];
    bool moved = false;
    if (!e->conn)
        return false;
    ssize_t n = e->c && !e->over ? gsi_control_output(e->c, buf, sizeof buf) : 0;
    if (n > 0) {
        gsi_coordination_feed(e->conn, buf, (size_t)n, now);
        moved = true;
    }
    if (e->deaf || e->server_over)
        return moved;
    n = gsi_coordination_output(e->conn, buf, sizeof buf, now);
    if (n < 0)
        e->server_over = n;
    if (n > 0 && e->c) {
        e->over = gsi_control_feed(e->c, buf, (size_t)n, now);
        world_take(e);
        moved = true;
    }
    return moved;
}

static inline void world_pump(void)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < WORLD_NODES; i++)
            moved |= world_move(&ends[i]);
    }
}

/* Virtual time goes on, with a tick at each deadline on the way. */
static inline void world_wait(uint64_t ns)
{
    for (uint64_t until = now + ns; now < until;) {
        uint64_t at = gsi_coordination_deadline(lab);
        now = at <= now ? now + 1 : at < until ? at : until;
        gsi_coordination_tick(lab, now);
        world_pump();
        for (int i = 0; i < WORLD_NODES; i++)
            if (ends[i].c && !ends[i].over && gsi_control_deadline(ends[i].c) <= now)
                ends[i].over = gsi_control_tick(ends[i].c, now);
    }
}

static inline const uint8_t *world_public(const uint8_t private[KEY_LEN])
{
    static uint8_t public[4][KEY_LEN];
    static int at;
    at = (at + 1) % 4;
    gsi_x25519_public(public[at], private);
    return public[at];
}

static inline struct register_request world_request(struct end *e, const char *auth_key)
{
    return (struct register_request){.node_key = world_public(e->key), .auth_key = auth_key, .host = &e->host};
}

/* What the server answers. */
static inline enum control_event_type world_register(struct end *e, const struct register_request *r)
{
    int events = e->events;
    if (!e->c)
        world_connect(e);
    assert_ok(gsi_control_register(e->c, r, now));
    world_pump();
    return e->events > events ? e->event.type : 0;
}

static inline struct map_request world_map_request(struct end *e)
{
    return (struct map_request){.node_key = world_public(e->key), .disco_key = world_public(e->disco), .host = &e->host, .compress = true};
}

static inline void world_open_map(struct end *e)
{
    struct map_request r = world_map_request(e);
    if (!e->map)
        e->map = gsi_netmap_new();
    assert_non_null(e->map);
    gsi_netmap_start(e->map);
    e->map_ended = false;
    assert_ok(gsi_control_map(e->c, &r, now));
    world_pump();
}

static inline enum control_event_type world_update(struct end *e, const char *endpoint, int home)
{
    struct own_endpoint own = {.type = OWN_LOCAL};
    struct map_request r = world_map_request(e);
    if (endpoint) {
        assert_ok(gsi_endpoint_parse(endpoint, strlen(endpoint), &own.at));
        r.endpoints = &own;
        r.endpoints_n = 1;
    }
    e->net.preferred_derp = home;
    e->host.net = home ? &e->net : NULL;
    assert_ok(gsi_control_update(e->c, &r, now));
    world_pump();
    return e->event.type;
}

/* Registered by the key, with its map stream open. */
static inline void world_join(struct end *e)
{
    struct register_request r = world_request(e, "key-1");
    assert_int_equal(world_register(e, &r), CONTROL_LOGGED_IN);
    world_open_map(e);
}

static inline const struct map_node *world_peer(struct end *e, const struct end *peer)
{
    return gsi_netmap_by_key(e->map, world_public(peer->key));
}

static inline int64_t world_id(const struct end *e)
{
    struct coordination_node n;
    for (int i = 0; gsi_coordination_node(lab, i, &n); i++)
        if (memcmp(n.node_key, world_public(e->key), KEY_LEN) == 0)
            return n.id;
    return 0;
}

static inline bool world_has(const struct map_node *n, const char *prefix)
{
    struct prefix p;
    assert_ok(gsi_prefix_parse(prefix, strlen(prefix), &p));
    for (uint32_t i = 0; i < n->addresses_n; i++)
        if (n->addresses[i].bits == p.bits && gsi_ip_equal(&n->addresses[i].ip, &p.ip))
            return true;
    return false;
}

#endif
