/* tailnet_world.h: a lab in this process, and nodes that join it. */
#ifndef TAILNET_WORLD_H
#define TAILNET_WORLD_H

#include <errno.h>
#include <gensock/lab.h>
#include <gensock/mailbox.h>
#include <gensock/stream.h>
#include <gensock/tailnet.h>
#include <stdio.h>
#include <string.h>

#include "support.h"

enum { WAIT = 20000 };

struct world {
    gs_lab lab;
    char url[128], ca[256];
};

/* The config's directory is made here. */
static inline void world_begin(struct world *w, gs_lab_config config)
{
    static int count;
    char name[32];
    snprintf(name, sizeof name, "lab%d", count++);
    config.directory = temp_path(name);
    assert_ok(gs_lab_start(&w->lab, &config));
    assert_ok(gs_lab_control_url(w->lab, w->url, sizeof w->url));
    assert_ok(gs_lab_ca_file(w->lab, w->ca, sizeof w->ca));
}

static inline gs_tailnet_config world_config(const struct world *w, const char *name)
{
    return (gs_tailnet_config){.hostname = name, .control_url = w->url, .ca_file = w->ca, .auth_key = "key", .ephemeral = true};
}

static inline gs_tailnet world_join_with(const gs_tailnet_config *config)
{
    gs_tailnet n;
    assert_ok(gs_tailnet_start(&n, config));
    assert_ok(gs_tailnet_up(n, WAIT));
    return n;
}

static inline gs_tailnet world_join(const struct world *w, const char *name)
{
    gs_tailnet_config c = world_config(w, name);
    return world_join_with(&c);
}

static inline gs_opt on_node(gs_tailnet n) { return (gs_opt){.name = GS_OPT_TAILNET_NODE, .v.i = (int64_t)n.id}; }

/* Whether this node's map has the name. */
static inline bool world_knows(gs_tailnet n, const char *name)
{
    gs_addr a;
    return gs_tailnet_resolve(n, name, &a, 1) > 0;
}

struct world_member {
    gs_path_kind path;
    uint64_t sent, received;
    char address[GS_ADDR_TEXT_MAX]; /* IPv4, with port 0 */
    bool found;
};

/* Of the peer whose name begins so. */
static inline struct world_member world_member(gs_tailnet n, const char *name)
{
    const gs_tailnet_status_t *s;
    struct world_member out = {0};
    assert_ok(gs_tailnet_status(n, &s));
    for (size_t i = 0; i < s->n_peers; i++)
        if (strncmp(s->peers[i].name, name, strlen(name)) == 0) {
            out = (struct world_member){.path = s->peers[i].path, .sent = s->peers[i].sent, .received = s->peers[i].received, .found = true};
            gs_addr_text(&s->peers[i].addresses[0], out.address, sizeof out.address);
        }
    gs_tailnet_status_free(s);
    return out;
}

static inline gs_tailnet_state world_state(gs_tailnet n)
{
    const gs_tailnet_status_t *s;
    assert_ok(gs_tailnet_status(n, &s));
    gs_tailnet_state state = s->state;
    gs_tailnet_status_free(s);
    return state;
}

/* The lab's number of a node. */
static inline int64_t world_id(const struct world *w, const char *name)
{
    gs_lab_node_info info;
    for (int i = 0; gs_lab_node(w->lab, i, &info) == 0; i++)
        if (strcmp(info.name, name) == 0)
            return info.id;
    fail_msg("the lab has no node %s", name);
    return 0;
}

static inline gs_stream world_listen(gs_tailnet n, const char *at)
{
    gs_stream l;
    assert_ok(gs_stream_listen(&l, at, GS_OPTS(on_node(n), GS_INT(NODELAY, true), GS_INT(REUSEADDR, true)), GS_NO_MAILBOX));
    return l;
}

static inline int world_connect(gs_tailnet n, const char *to, gs_stream *out)
{
    return gs_stream_connect(out, to, GS_OPTS(on_node(n), GS_INT(NODELAY, true)), GS_NO_MAILBOX, WAIT);
}

/* The connection whose other end this is: an attempt that was given up before may stand in front of it. */
static inline gs_stream world_accept(gs_stream listener, gs_stream caller)
{
    gs_stream s = GS_NO_STREAM;
    gs_addr its, callers;
    assert_ok(gs_stream_sockname(caller, &callers));
    do {
        gs_stream_close(s);
        assert_ok(gs_stream_accept(listener, &s, GS_NO_MAILBOX, WAIT, NULL));
    } while (gs_stream_peername(s, &its) < 0 || !gs_addr_equal(&its, &callers));
    return s;
}

/* A connection from one node to a listener of another: [0] the caller's end. The two may have to hear of each other first. */
static inline void world_pair(gs_tailnet from, const char *to, gs_stream listener, gs_stream pair[2])
{
    int e = -1;
    for (uint64_t by = real_ms() + WAIT; e < 0 && real_ms() < by; pause_1ms())
        e = gs_stream_connect(&pair[0], to, GS_OPTS(on_node(from), GS_INT(NODELAY, true)), GS_NO_MAILBOX, WAIT / 4);
    assert_ok(e);
    pair[1] = world_accept(listener, pair[0]);
}

static inline void world_says(gs_stream from, gs_stream to, const char *text)
{
    char got[64] = "";
    size_t n = strlen(text);
    assert_ok(gs_stream_send(from, text, n));
    assert_int_equal(assert_ok(gs_stream_recv(to, got, sizeof got, n, WAIT)), n);
    assert_string_equal(got, text);
}

#endif
