/* node.h: a node of a tailnet: one thread that wires the protocols together, and what other threads may ask of it.
 *
 *     session   the connection to the control server: key, login, map stream, updates
 *     members   what the map says becomes peers: routes, paths, WireGuard, filter, own addresses
 *     relays    the connections to DERP servers
 *     outside   how the world sees us: STUN, interfaces, endpoints, the home region
 *     identity  who a stamped SYN came from, and which connections are whose
 *     loop      the thread: packets, streams, commands, time
 *     worker    a second thread, there while something slow is to be read
 *
 * A node is counted: its handle, its connections and its listeners hold it. Everything not under `lock` is its thread's own. */
#ifndef GSI_TAILNET_NODE_H
#define GSI_TAILNET_NODE_H

#include <gensock/tailnet.h>
#include <stdatomic.h>

#include "tailnet/endpoint/endpoint.h"

struct node;
struct who;

/* gs_tailnet_start, once cryptography and transports are there. */
GS_MUST_USE int gsi_node_start(gs_tailnet *out, const gs_tailnet_config *config);

/* ---- handles ---- */

/* The node of a handle, held; GS_ECLOSED, GS_EBADARG. */
GS_MUST_USE int gsi_node_of(gs_tailnet handle, struct node **out);
/* The one that serves who names none. -ENETDOWN: there is none. */
GS_MUST_USE int gsi_node_default(struct node **out);
void gsi_node_hold(struct node *n);
void gsi_node_release(struct node *n);

/* ---- from any thread ---- */

/* socket(2) inside. GS_ECLOSED: stopped. */
GS_MUST_USE int gsi_node_socket(struct node *n, int domain, int type, int protocol);
/* The addresses of a name or address text of n bytes, IPv4 first: how many, of which out gets cap. GS_ENXDOMAIN, -EAGAIN, each
 * with detail. */
GS_MUST_USE int gsi_node_resolve(struct node *n, const char *name, size_t len, struct ip *out, size_t cap);

/* ---- connections ---- */

/* One stream's, embedded in what the transport keeps; zero at first. */
struct conn {
    struct node *node;
    struct who *who;      /* NULL: not known */
    int fd;
    uint32_t identity;    /* 0: unknown */
    bool connecting;
    struct endpoint to;   /* connecting */
    int refused;          /* a code: it was reset for this reason */
    atomic_bool held;     /* the kernel did not take all at the last try: above there is more to send. By who sends */
    unsigned idle;        /* looks at which it was held though the kernel would take more */
    struct conn *next, **at;
};

struct listening {
    struct node *node;
    int fd;
    int over;             /* a code: nobody will come any more */
    struct listening *next, **at;
};

/* Before connect(2) to this address: remembers whose it is. 0; -EHOSTUNREACH: no peer has it; GS_EKEYEXPIRED, …, with detail. */
GS_MUST_USE int gsi_conn_begin(struct node *n, struct conn *c, int fd, const struct endpoint *to);
/* Its descriptor is another one of the same socket from now on. */
void gsi_conn_moved(struct conn *c, int fd);
/* connect(2) is done: is it still theirs? 0, or why not. */
GS_MUST_USE int gsi_conn_established(struct conn *c);
/* Around accept(2) and gsi_conn_accepted: no index is used again meanwhile, as its connection may be in nobody's sight. */
void gsi_accept_begin(struct node *n);
void gsi_accept_end(struct node *n);
/* An accepted descriptor: reads its stamp. 0; GS_ECLOSED: whose it was has left: reset it. */
GS_MUST_USE int gsi_conn_accepted(struct node *n, struct conn *c, int fd);
/* Before the descriptor is closed. */
void gsi_conn_end(struct conn *c);
/* Lives as long as the connection; NULL: unknown. */
const gs_peer *gsi_conn_peer(const struct conn *c);

/* GS_ECLOSED: the node ends. */
GS_MUST_USE int gsi_listening_begin(struct node *n, struct listening *l, int fd);
/* What accept(2) answered, or why nobody comes any more. */
int gsi_listening_error(struct listening *l, int error);
void gsi_listening_end(struct listening *l);

#endif
