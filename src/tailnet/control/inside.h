/* inside.h: a control connection's state, shared by control.c (bytes and time), h2.c (HTTP/2) and asks.c (requests and their
 * events). */
#ifndef GSI_TAILNET_CONTROL_INSIDE_H
#define GSI_TAILNET_CONTROL_INSIDE_H

#include "tailnet/control/answer.h"
#include "tailnet/control/control.h"
#include "tailnet/control/http.h"
#include "tailnet/control/map_stream.h"
#include "tailnet/control/text.h"
#include "tailnet/http2/http2.h"
#include "tailnet/noise/noise.h"

#define CONTROL_SECOND UINT64_C(1000000000)

enum {
    ASKS_MAX = 8,                    /* requests at once */
    ASK_BODY_MAX = 64 * 1024,
    ANSWER_MAX = 1024 * 1024,        /* of register */
    HEADERS_MAX = 16 * 1024,         /* of an answer, names and values and 32 each (RFC 9113 6.5.2) */
    STREAM_WINDOW = 256 * 1024,      /* what of a map body may wait here */
    CONNECTION_WINDOW = 1024 * 1024,
    FRAME_MAX = 16 * 1024 * 1024,
    DECODED_MAX = 64 * 1024 * 1024,
    OPEN_S = 10,
    ANSWER_S = 60,                   /* but for the map stream, and for a register that waits for a login */
    QUIET_S = 60,                    /* nothing arrives while a request waits: HTTP/2 ping; and once more: over */
    WATCHDOG_S = 120,                /* between map messages */
};

enum state { EXPECT_UPGRADE, EXPECT_HANDSHAKE, EXPECT_SETTINGS, OPEN, OVER };

enum ask_state { ASK_FREE, ASK_WAITS /* for HTTP/2 */, ASK_SENT, ASK_DONE /* its event is to be told */ };

struct ask {
    enum ask_state state;
    enum control_request request;
    int32_t stream;
    uint64_t deadline;               /* UINT64_MAX: none */
    char *path;                      /* of a ping */
    char lb[2][TEXT_KEY_MAX];        /* Ts-Lb */
    uint8_t *body;
    size_t body_n, body_at;

    int status, code;
    size_t headers_n, drained;
    char retry_after[64], date[40];
    uint8_t *answer;
    size_t answer_n, answer_cap;
};

struct control {
    enum state state;
    int error;
    struct url url;
    uint16_t version;
    uint64_t now;                    /* of the last call that told the time */
    uint64_t opened_by;              /* when HTTP/2 must stand */
    uint64_t quiet_by;               /* when something must have come while a request waits */
    bool told_open, going_away, told_going_away, pinged;

    size_t hello_at, hello_n;        /* the upgrade request */
    char hello[URL_HOST_MAX + 512];
    struct http_answer http;
    struct noise noise;
    struct early early;

    struct http2 http2;

    struct ask asks[ASKS_MAX];
    struct map_stream messages;
    uint64_t watchdog;               /* while a map request runs */
    size_t frame_max, decoded_max;
    uint8_t *raw;                    /* of the map's body, not cut yet; at most STREAM_WINDOW */
    size_t raw_at, raw_n, raw_cap;
    char text[LOGIN_URL_MAX];        /* of the event that was told last */
};

/* control.c: the first is kept; answers it. */
int gsi_control_fail(struct control *c, int e);

/* h2.c. 0, or what the connection ends with. */
GS_MUST_USE int gsi_h2_start(struct control *c);
GS_MUST_USE int gsi_h2_feed(struct control *c, const uint8_t *in, size_t n);
/* Puts what is to be sent into a record of the channel, which has none under way. */
GS_MUST_USE int gsi_h2_fill(struct control *c);
GS_MUST_USE int gsi_h2_submit(struct control *c, struct ask *a);
GS_MUST_USE int gsi_h2_ping(struct control *c);
void gsi_h2_reset(struct control *c, struct ask *a);
void gsi_h2_consumed(struct control *c, int32_t stream, size_t n);

/* asks.c. */
/* It ends: with the status and what was answered (code 0), or with a code. */
void gsi_ask_end(struct control *c, struct ask *a, int code);
GS_MUST_USE int gsi_ask_body(struct control *c, struct ask *a, const uint8_t *p, size_t n);
void gsi_ask_header(struct control *c, struct ask *a, const char *name, size_t name_n, const char *value, size_t n);
void gsi_asks_free(struct control *c);
/* One is sent and not answered. */
GS_MUST_USE bool gsi_asks_wait(const struct control *c);

#endif
