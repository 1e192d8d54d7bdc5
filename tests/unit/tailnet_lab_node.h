/* tailnet_lab_node.h: a lab, and nodes of it that are our own control client over streams, in real time. */
#ifndef TAILNET_LAB_NODE_H
#define TAILNET_LAB_NODE_H

#include <errno.h>

#include "census.h"
#include "gensock/lab.h"
#include "gensock/socket.h"
#include "gensock/stream.h"
#include "gensock/tls.h"
#include "support.h"
#include "tailnet/control/control.h"
#include "tailnet/control/server_key.h"
#include "tailnet/derp/client.h"
#include "tailnet/netmap/netmap.h"
#include "tailnet/stun/stun.h"

enum { WAIT_MS = 20000, STEP_MS = 5 };

static gs_lab lab;
static char control_url[128], ca_file[512];
static struct url url;
static uint8_t server_key[KEY_LEN];

/* ---- a node: the control client over a stream ---- */

struct node {
    gs_stream s;
    struct control *c;
    uint8_t machine[KEY_LEN], key[KEY_LEN], disco[KEY_LEN], public[KEY_LEN], disco_public[KEY_LEN];
    struct hostinfo host;
    struct net_info net;
    struct netmap *map;
    struct control_event event;
    char text[600];
    bool over;
};

static struct node a, b;

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void fetch_key(void)
{
    uint8_t buf[4096];
    gs_stream s;
    char at[64];
    snprintf(at, sizeof at, "tcp://127.0.0.1:%d", gs_lab_port(lab, GS_LAB_CONTROL));
    struct server_key *k = gsi_server_key_new(&url, CAPABILITY_VERSION);
    assert_ok(gs_stream_connect(&s, at, NULL, GS_NO_MAILBOX, WAIT_MS));
    assert_ok(gs_stream_send(s, buf, gsi_server_key_output(k, buf, sizeof buf)));
    int e = 0;
    while (e == 0)
        e = gsi_server_key_feed(k, buf, (size_t)assert_ok(gs_stream_recv(s, buf, sizeof buf, 0, WAIT_MS)));
    assert_int_equal(e, 1);
    memcpy(server_key, gsi_server_key_public(k), KEY_LEN);
    gsi_server_key_free(k);
    gs_stream_close(s);
}

static inline void node_open(struct node *n, const char *name)
{
    char at[64];
    if (!n->map) {
        gsi_x25519_private(n->machine);
        gsi_x25519_private(n->key);
        gsi_x25519_private(n->disco);
        gsi_x25519_public(n->public, n->key);
        gsi_x25519_public(n->disco_public, n->disco);
        n->host = (struct hostinfo){.hostname = name, .os = "linux"};
        n->map = gsi_netmap_new();
    }
    n->over = false;
    snprintf(at, sizeof at, "tcp://127.0.0.1:%d", gs_lab_port(lab, GS_LAB_CONTROL));
    assert_ok(gs_stream_connect(&n->s, at, NULL, GS_NO_MAILBOX, WAIT_MS));
    assert_ok(gsi_control_new(&n->c, &(struct control_config){.url = &url, .server_key = server_key, .machine_private = n->machine}, now_ns()));
}

static inline void node_close(struct node *n)
{
    gs_stream_close(n->s);
    gsi_control_free(n->c);
    n->c = NULL;
}

static inline void node_free(struct node *n)
{
    node_close(n);
    gsi_netmap_free(n->map);
    memset(n, 0, sizeof *n);
}

static inline void node_take(struct node *n)
{
    struct control_event event;
    struct map_update *u;
    struct map_error why;
    while (gsi_control_next(n->c, &event)) {
        if (event.type == CONTROL_MAP) {
            assert_ok(gsi_map_parse(event.message.p, event.message.n, &u, &why));
            assert_ok(gsi_netmap_apply(n->map, u, time(NULL), &why));
        } else if (event.type != CONTROL_OPEN) {
            n->event = event;
            snprintf(n->text, sizeof n->text, "%s", event.text);
        }
    }
}

/* Once out and in. */
static inline void node_step(struct node *n)
{
    static uint8_t buf[16 * 1024];
    ssize_t k;
    while (!n->over && (k = gsi_control_output(n->c, buf, sizeof buf)) != 0)
        n->over |= k < 0 || gs_stream_send(n->s, buf, (size_t)k) < 0;
    if (n->over)
        return;
    k = gs_stream_recv(n->s, buf, sizeof buf, 0, STEP_MS);
    if (k > 0 && gsi_control_feed(n->c, buf, (size_t)k, now_ns()) < 0)
        n->over = true;
    n->over |= k < 0 && k != GS_ETIMEOUT;
    node_take(n);
}

#define nodes_until(condition)                                                                                        \
    do {                                                                                                              \
        uint64_t end_ = real_ms() + WAIT_MS;                                                                          \
        while (!(condition)) {                                                                                        \
            if (real_ms() > end_)                                                                                     \
                fail_msg("never: %s", #condition);                                                                    \
            if (a.c)                                                                                                  \
                node_step(&a);                                                                                        \
            if (b.c)                                                                                                  \
                node_step(&b);                                                                                        \
        }                                                                                                             \
    } while (0)

static inline enum control_event_type node_register(struct node *n, const char *auth_key, const char *followup)
{
    struct register_request r = {.node_key = n->public, .auth_key = auth_key, .followup = followup, .host = &n->host};
    n->event.type = 0;
    assert_ok(gsi_control_register(n->c, &r, now_ns()));
    if (followup)
        return 0;
    nodes_until(n->event.type != 0);
    return n->event.type;
}

static inline struct map_request map_of(struct node *n)
{
    return (struct map_request){.node_key = n->public, .disco_key = n->disco_public, .host = &n->host, .compress = true};
}

static inline void node_map(struct node *n)
{
    struct map_request r = map_of(n);
    gsi_netmap_start(n->map);
    assert_ok(gsi_control_map(n->c, &r, now_ns()));
    nodes_until(gsi_netmap_self(n->map) != NULL);
}

static inline void node_join(struct node *n, const char *name)
{
    node_open(n, name);
    assert_int_equal(node_register(n, "key-1", NULL), CONTROL_LOGGED_IN);
    node_map(n);
}

static inline int64_t id_of(const char *name)
{
    gs_lab_node_info info;
    for (int i = 0; gs_lab_node(lab, i, &info) == 0; i++)
        if (strcmp(info.name, name) == 0)
            return info.id;
    return 0;
}

#endif
