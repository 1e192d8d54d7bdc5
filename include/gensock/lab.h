/* gensock/lab.h: a private tailnet on this machine, its server side: control, a relay and STUN; library gensock-tailnet.
 *
 *     gs_lab lab;
 *     char url[64];
 *     if (gs_lab_start(&lab, &(gs_lab_config){.directory = "/tmp/lab", .auth_key = "secret"}) == 0 &&
 *         gs_lab_control_url(lab, url, sizeof url) > 0)
 *         …nodes join with this control URL, the auth key, and /tmp/lab/ca.pem as their CA file…
 *     gs_lab_stop(lab);
 *
 * Enough for any number of nodes, of this library or Tailscale's, to meet: a control server (http://, as on loopback a node takes
 * it), a DERP relay over TLS, whose certificate a CA of the lab's own signs, and a STUN responder. It is for tests and for trying
 * things out: what it knows of nodes is gone when it stops, but for its own keys: they have to join again.
 *
 * A lab has one thread, "gs-lab". In the directory: ca.pem, relay.pem and relay.key, which a later start at the same
 * address uses again; and state, which holds the keys of control and relay for the next start, and is locked while the lab runs.
 *
 * Threads: every call, any thread. Each may answer GS_ECLOSED (the lab is stopped) and GS_EBADARG (not a lab, or a NULL).
 */
#ifndef GENSOCK_LAB_H
#define GENSOCK_LAB_H

#include <gensock/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct { uint64_t id; } gs_lab;
#define GS_NO_LAB ((gs_lab){0})

/* Zeros are defaults; everything is copied. */
typedef struct {
    const char *directory;     /* needed; made 0700 when it is missing, its parent is there */
    const char *address;       /* an IP address of this machine to listen on; NULL: 127.0.0.1 */
    uint16_t control_port, relay_port, stun_port; /* 0: any that is free */
    const char *auth_key;      /* that lets nodes in; NULL: any does. A node without one is told a URL, for gs_lab_approve */
    const char *domain;        /* of the nodes' names; NULL: lab.test */
    const char *login;         /* the user for whom the auth key stands; NULL: user@ and the domain */
    const char *display;       /* the user's name; NULL: the login */
    const char *filter;        /* who may reach whom: a JSON array of tailcfg.FilterRule; NULL: everybody everybody */
    bool approve_nodes;        /* a new node sees nobody before gs_lab_authorize */
    int key_life_s;            /* after which a node's key expires; 0: never */
    int ephemeral_s;           /* how long an ephemeral node may be away; 0: 60 */
    int nodes_max;             /* 0: 10,000 */
} gs_lab_config;

/* All of it listens when this answers. 0 and *out; with a detail: GS_EINVALID (a text, address or filter of the config),
 * -EADDRINUSE and what else the kernel answers, -EBUSY (another lab has the directory), -EPERM (others may read its state),
 * GS_EFORMAT (a damaged state file), -ENOMEM, GS_ESYSLIMIT. Blocks on the disk. */
GS_API GS_MUST_USE int gs_lab_start(gs_lab *out, const gs_lab_config *config);
/* Ends it and all of its connections, and waits until its thread is gone. 0; GS_ECLOSED: it was stopped already. */
GS_API int gs_lab_stop(gs_lab lab);

/* "http://127.0.0.1:40123", for nodes. The path of ca.pem. The length, copied like snprintf. */
GS_API GS_MUST_USE int gs_lab_control_url(gs_lab lab, char *buf, size_t cap);
GS_API GS_MUST_USE int gs_lab_ca_file(gs_lab lab, char *buf, size_t cap);
typedef enum { GS_LAB_CONTROL = 1, GS_LAB_RELAY, GS_LAB_STUN } gs_lab_part;
/* The port of a part; -EINVAL: no part. */
GS_API GS_MUST_USE int gs_lab_port(gs_lab lab, gs_lab_part part);

/* How many nodes there are, online or not. */
GS_API GS_MUST_USE int gs_lab_nodes(gs_lab lab);
typedef struct {
    int64_t id;
    char name[64];           /* without the domain */
    char login[128];
    char ipv4[16], ipv6[46];
    bool online;             /* its map stream stands, or did 10 s ago */
    bool reachable;          /* it told its relay: peers can send to it */
    bool ephemeral, authorized, expired;
} gs_lab_node_info;
/* The i-th node, from 0, in the order of joining. 0; -ENOENT: there are no more. */
GS_API GS_MUST_USE int gs_lab_node(gs_lab lab, int i, gs_lab_node_info *out);

/* The person at this login URL is who login says (NULL: the config's user). 0; GS_EINVALID with a detail: no login
 * waits there; -ENOBUFS: too many users. */
GS_API GS_MUST_USE int gs_lab_approve(gs_lab lab, const char *url, const char *login);
/* Lets a node in that waits for approval; takes one out; ends a node's key. 0; GS_EINVALID: there is none of this id. */
GS_API GS_MUST_USE int gs_lab_authorize(gs_lab lab, int64_t id);
GS_API GS_MUST_USE int gs_lab_remove(gs_lab lab, int64_t id);
GS_API GS_MUST_USE int gs_lab_expire(gs_lab lab, int64_t id);
/* As in the config, told to all nodes. GS_EINVALID: the old filter stays. */
GS_API GS_MUST_USE int gs_lab_set_filter(gs_lab lab, const char *filter);
/* Control or the relay breaks all of its connections and listens again on its port. 0; -EINVAL: another part; what listening
 * answers: then the part is gone. */
GS_API GS_MUST_USE int gs_lab_restart(gs_lab lab, gs_lab_part part);

#ifdef __cplusplus
}
#endif
#endif
