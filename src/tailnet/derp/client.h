/* client.h: one connection to a relay, over a byte stream that the caller has opened (TLS over TCP).
 *
 *     struct derp_client *c = gsi_derp_client_new(&(struct derp_options){.node_private = key, .host = "derp1.example"}, now);
 *     send what gsi_derp_output shows, tell gsi_derp_sent how much of it went;
 *     feed what comes, act on each event; at gsi_derp_deadline call gsi_derp_tick.
 *
 * A relay loses packets, so this does too: what has no room is dropped and counted. The first error is final: close, and connect
 * again. Times are nanoseconds of one monotonic clock. One thread at a time.
 */
#ifndef GSI_TAILNET_DERP_CLIENT_H
#define GSI_TAILNET_DERP_CLIENT_H

#include "tailnet/derp/outbox.h"

#define DERP_READ_TIMEOUT (UINT64_C(120) * 1000000000) /* the relay says something each minute */
#define DERP_PING_TIMEOUT (UINT64_C(5) * 1000000000)
#define DERP_CONNECT_TIMEOUT (UINT64_C(10) * 1000000000) /* from the request to ServerInfo */
#define DERP_NEVER UINT64_MAX

enum {
    DERP_HTTP_MAX = 16 * 1024,
    DERP_HOST_MAX = 261,     /* name, colon, port */
};

struct derp_options {
    const uint8_t *node_private;
    const char *host;       /* for the request: "name" or "name:port" */
    const char *ideal_node; /* the name of the region's first node, where this is another; else NULL */
    bool preferred;         /* this relay is our home */
};

enum derp_event_kind {
    DERP_NOTHING,
    DERP_CONNECTED,   /* the relay knows us */
    DERP_RECEIVED,    /* from: key; packet */
    DERP_PEER_LEFT,   /* from: key; gone: DERP_GONE_… */
    DERP_PONGED,      /* rtt_ns */
    DERP_UNHEALTHY,   /* text: what the relay says is wrong */
    DERP_HEALTHY,
    DERP_RESTARTS,    /* reconnect_in_ns, try_for_ns */
};

struct derp_event {
    enum derp_event_kind kind;
    const uint8_t *key;    /* borrowed, as packet and text are, until the next feed */
    const uint8_t *packet;
    size_t n;              /* of packet or text */
    uint8_t gone;
    uint64_t rtt_ns, reconnect_in_ns, try_for_ns;
};

struct derp_stat {
    uint64_t sent, received, dropped; /* packets */
};

struct derp_client;
/* NULL: no memory, or a host that is no host. */
struct derp_client *gsi_derp_client_new(const struct derp_options *o, uint64_t now);
void gsi_derp_client_free(struct derp_client *c);

/* The bytes taken, up to the first event. Final errors, with a detail:
 *   GS_EINVALID     the stream is no DERP, or a box that does not open
 *   -ECONNREFUSED   the relay's answer to the request is not 101
 *   -ENOMEM */
GS_MUST_USE ssize_t gsi_derp_feed(struct derp_client *c, const void *in, size_t len, uint64_t now, struct derp_event *out);
/* What is to be sent next: how many bytes, at *p until the next call; 0: nothing. */
size_t gsi_derp_output(struct derp_client *c, const uint8_t **p);
/* So many of them have gone. */
void gsi_derp_sent(struct derp_client *c, size_t n);

/* A packet for the node of this key. 0; -ENOTCONN: not before DERP_CONNECTED; -EMSGSIZE; -EAGAIN: dropped (the queue is full, or
 * the relay's rate limit is reached). `disco`: it may use the places that are kept for path discovery. */
GS_MUST_USE int gsi_derp_send(struct derp_client *c, const uint8_t key[KEY_LEN], const void *packet, size_t n, bool disco,
                              uint64_t now);
void gsi_derp_prefer(struct derp_client *c, bool preferred);
/* Asks whether the relay still answers: DERP_PONGED, or the connection times out. */
void gsi_derp_ping(struct derp_client *c, uint64_t now);

/* The relay's public key, once it has said it; NULL. */
const uint8_t *gsi_derp_server_key(const struct derp_client *c);
struct derp_stat gsi_derp_stat(const struct derp_client *c);
uint64_t gsi_derp_deadline(const struct derp_client *c);
/* 0; GS_ETIMEOUT: the relay is silent: close. */
GS_MUST_USE int gsi_derp_tick(struct derp_client *c, uint64_t now);

#endif
