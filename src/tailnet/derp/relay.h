/* relay.h: a relay: the server side of DERP for any number of connections, over byte streams that the caller accepts. Labs and
 * tests use it.
 *
 *     relay = gsi_relay_new(private, connections_max);
 *     for each accepted stream: c = gsi_relay_join(relay, user, now);
 *     feed what comes; send what gsi_relay_output shows; at its end gsi_relay_leave.
 *     while ((c = gsi_relay_next_ready(relay))) …others have something to send now…
 *
 * It routes by key and reads no packet but its first bytes. A relay owes nobody a packet: a connection that does not read loses
 * its oldest ones. Of two connections with one key the newer gets the packets; both are told. One thread at a time; times as in
 * client.h.
 */
#ifndef GSI_TAILNET_RELAY_H
#define GSI_TAILNET_RELAY_H

#include "tailnet/derp/outbox.h"

#define RELAY_HANDSHAKE (UINT64_C(10) * 1000000000)
#define RELAY_KEEP_ALIVE (UINT64_C(60) * 1000000000)

enum {
    RELAY_CONVERSED = 256 /* peers of whose going a connection is told */,
    RELAY_HTTP_MAX = 8 * 1024,
    RELAY_NOT_HERE_PER_S = 5
};

struct relay;
struct relay_conn;

/* NULL: no memory. */
struct relay *gsi_relay_new(const uint8_t private[KEY_LEN], int connections_max);
/* All connections have left. NULL is nothing. */
void gsi_relay_free(struct relay *r);
const uint8_t *gsi_relay_public(const struct relay *r);

/* NULL: as many as may be are here, or no memory: close the stream. */
struct relay_conn *gsi_relay_join(struct relay *r, void *user, uint64_t now);
void *gsi_relay_user(const struct relay_conn *c);
/* Who it is, once it has said so; NULL. */
const uint8_t *gsi_relay_who(const struct relay_conn *c);
/* Tells those that it talked with. */
void gsi_relay_leave(struct relay_conn *c);

/* 0, and all is taken; or the connection is to be closed when its output is sent: GS_ECLOSED (it asked for something else than
 * DERP, and has its answer), GS_EINVALID, -EACCES (a box that does not open), -ENOMEM. */
GS_MUST_USE int gsi_relay_feed(struct relay_conn *c, const void *in, size_t len, uint64_t now);
size_t gsi_relay_output(struct relay_conn *c, const uint8_t **p);
void gsi_relay_sent(struct relay_conn *c, size_t n);
/* A connection that got something to send since it was told last; NULL. */
struct relay_conn *gsi_relay_next_ready(struct relay *r);

/* When this connection is next to be ticked. */
uint64_t gsi_relay_deadline(const struct relay_conn *c);
/* 0; GS_ETIMEOUT: it never logged in: close. */
GS_MUST_USE int gsi_relay_tick(struct relay_conn *c, uint64_t now);

struct relay_stat {
    uint64_t relayed, dropped, unknown; /* packets: delivered to a queue, lost there, for nobody */
    int connections;
};
struct relay_stat gsi_relay_stat(const struct relay *r);

#endif
