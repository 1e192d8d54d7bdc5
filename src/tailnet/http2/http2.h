/* http2.h: HTTP/2 in the channel to a control server, by nghttp2, both roles: a session whose frames leave in records.
 *
 *     int e = gsi_http2_open(&h, HTTP2_CLIENT, callbacks, option, user);  // then nghttp2_submit_… on h.session
 *     e = gsi_http2_feed(&h, plain, n);                                   // what the channel opened
 *     ssize_t k = gsi_http2_fill(&h, &noise);                             // then gsi_noise_output
 *
 * One owner at a time. Its memory is OpenSSL's allocator's. Source: RFC 9113; nghttp2.
 */
#ifndef GSI_TAILNET_HTTP2_H
#define GSI_TAILNET_HTTP2_H

#include <nghttp2/nghttp2.h>

#include "tailnet/noise/noise.h"

struct http2 {
    nghttp2_session *session;        /* NULL: none yet, or no more */
    bool starved;                    /* it lacked memory once, which nghttp2 takes for the peer's fault in places */
    const uint8_t *frame;            /* nghttp2's, until its next mem_send */
    size_t frame_n;
    size_t plain_at, plain_n;        /* gathered for a record */
    uint8_t plain[NOISE_PLAIN_MAX];
};

enum http2_role { HTTP2_CLIENT, HTTP2_SERVER };

/* h is zeroed, and must not move until it is closed. 0, or nghttp2's code; option may be NULL. */
GS_MUST_USE int gsi_http2_open(struct http2 *h, enum http2_role role, const nghttp2_session_callbacks *callbacks,
                               const nghttp2_option *option, void *user);
void gsi_http2_close(struct http2 *h);

/* nghttp2's code e as ours: -ENOMEM, or GS_EINVALID with what was being done in its detail. */
GS_MUST_USE int gsi_http2_code(const struct http2 *h, const char *doing, int e);

/* 0, -ENOMEM (also of the callbacks), GS_EINVALID. */
GS_MUST_USE int gsi_http2_feed(struct http2 *h, const uint8_t *in, size_t n);

/* Appends what nghttp2 has to send to plain, as far as there is room. As feed. */
GS_MUST_USE int gsi_http2_gather(struct http2 *h);
/* Puts what nghttp2 has to send into one record of the channel, which has none under way. The bytes put (0: nothing to send), or
 * as feed. */
GS_MUST_USE ssize_t gsi_http2_fill(struct http2 *h, struct noise *noise);

nghttp2_nv gsi_http2_field(const char *name, const char *value);

#endif
