/* control.h: a node's connection to its control server, sans-IO: the ts2021 upgrade, Noise, HTTP/2, and in it register, map and
 * update requests (tailnet-protocol.md 2 to 4). The stream that carries it, TLS or plain, is the caller's, and connected.
 *
 *     struct control *c;
 *     int e = gsi_control_new(&c, &(struct control_config){.url = &url, .server_key = key, .machine_private = machine}, now);
 *     e = gsi_control_register(c, &request, now);                    // may be asked at once: it goes out as soon as it can
 *     for (;;) {
 *         send all of gsi_control_output(c, buf, sizeof buf);
 *         wait for bytes, or until gsi_control_deadline(c);
 *         e = got ? gsi_control_feed(c, buf, got, now) : over ? gsi_control_end(c) : gsi_control_tick(c, now);
 *         while (gsi_control_next(c, &event))
 *             switch (event.type) …
 *         if (e < 0) break;                                          // the connection is over; behind a back-off, a new one
 *     }
 *     gsi_control_free(c);
 *
 * Each request ends in exactly one event, unless the connection ends before: then it is void, and no event says so. One thread
 * at a time.
 */
#ifndef GSI_TAILNET_CONTROL_H
#define GSI_TAILNET_CONTROL_H

#include "tailnet/control/request.h"
#include "tailnet/control/url.h"

struct control;

struct control_config {
    const struct url *url;
    const uint8_t *server_key;      /* of GET /key (server_key.h), or pinned */
    const uint8_t *machine_private;
    uint16_t version;               /* 0: CAPABILITY_VERSION */
    size_t map_frame_max;           /* of a map message as it comes; 0: 16 MiB */
    size_t map_decoded_max;         /* 0: 64 MiB */
};

/* Copies what it needs. 0; GS_EINVALID (the server's key), -ENOMEM. */
GS_MUST_USE int gsi_control_new(struct control **out, const struct control_config *config, uint64_t now_ns);
void gsi_control_free(struct control *c);

/* ---- bytes and time ---- */

/* Takes all of it. 0, or the connection is over, finally:
 *   GS_ECLOSED       the server ended it
 *   GS_ETIMEOUT      no channel within 10 s, no map message for 120 s, or nothing at all for 120 s while a request waits
 *   GS_ENOUPGRADE    the answer to the upgrade is no ts2021; the detail has status and words
 *   -ECONNREFUSED, -EACCES  the handshake (noise.h): refused; or the server's key is another now
 *   GS_EINVALID      malformed HTTP, Noise or HTTP/2
 *   -EMSGSIZE, -ENOMEM */
GS_MUST_USE int gsi_control_feed(struct control *c, const void *in, size_t n, uint64_t now_ns);
/* The peer ended the stream: always negative. */
GS_MUST_USE int gsi_control_end(struct control *c);
GS_MUST_USE int gsi_control_tick(struct control *c, uint64_t now_ns);
/* When to tick at the latest. */
uint64_t gsi_control_deadline(const struct control *c);
/* Bytes to send: how many, 0 when there are none; negative as above. Ask after each feed, tick, request and next. */
GS_MUST_USE ssize_t gsi_control_output(struct control *c, void *out, size_t cap);

/* ---- requests: 0; GS_EINVALID (what the caller gave), -ENOBUFS (longer than 64 KiB), -EBUSY (too many at once, or a second map
 * stream), -ENOMEM, or the code of the connection's end. ---- */

GS_MUST_USE int gsi_control_register(struct control *c, const struct register_request *r, uint64_t now_ns);
GS_MUST_USE int gsi_control_logout(struct control *c, const struct register_request *r, uint64_t now_ns);
/* The map stream: one at a time. */
GS_MUST_USE int gsi_control_map(struct control *c, const struct map_request *r, uint64_t now_ns);
/* Tells what changed in us, beside the stream; also once when the stream begins. */
GS_MUST_USE int gsi_control_update(struct control *c, const struct map_request *r, uint64_t now_ns);
/* HEAD within the channel, for a PingRequest whose URLIsNoise: `url` is what gsi_url_ping made of it. */
GS_MUST_USE int gsi_control_ping(struct control *c, const struct url *url, uint64_t now_ns);

/* ---- events ---- */

enum control_request { CONTROL_REGISTER = 1, CONTROL_LOGOUT, CONTROL_MAP_STREAM, CONTROL_UPDATE, CONTROL_PING };

enum control_event_type {
    CONTROL_OPEN = 1,        /* HTTP/2 stands; told once */
    CONTROL_GOING_AWAY,      /* the server takes no more requests here: make another connection; told once */
    /* register: */
    CONTROL_LOGGED_IN,       /* keep the node key. text: the login name */
    CONTROL_NEEDS_APPROVAL,  /* logged in as well, but an admin must approve the machine; until then the map has no peers */
    CONTROL_NEEDS_LOGIN,     /* text: the URL to show. Register again, same keys, with it as followup */
    CONTROL_KEY_EXPIRED,     /* register again with a new node key and this as old_node_key; if it was new, give up */
    CONTROL_NEEDS_SIGNATURE, /* tailnet lock */
    CONTROL_REJECTED,        /* text: the server's words */
    /* logout: */
    CONTROL_LOGGED_OUT,
    /* map stream: */
    CONTROL_MAP,             /* message: JSON, borrowed until the next call of next, feed or free. The stream goes on */
    CONTROL_MAP_ENDED,       /* code: GS_ECLOSED ended by the server; else as for failed */
    /* update, ping: */
    CONTROL_UPDATED,
    CONTROL_PINGED,
    /* any: */
    CONTROL_RATE_LIMITED,    /* ask again in wait_ns */
    CONTROL_FAILED,          /* status and text (200 bytes; map, 400 or 404 "node not found": register again); or status 0 and
                                code: GS_EINVALID, -EMSGSIZE, GS_ETIMEOUT, GS_ECLOSED (reset or not taken), -ENOMEM */
};

struct control_event {
    enum control_event_type type;
    enum control_request request; /* 0 for OPEN and GOING_AWAY */
    int code, status;
    uint64_t wait_ns;
    gs_bytes message;
    const char *text;             /* never NULL; printable; as long as message */
};

/* True: there is one. Also when the connection is over: first what had come. */
GS_MUST_USE bool gsi_control_next(struct control *c, struct control_event *event);

#endif
