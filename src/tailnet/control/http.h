/* http.h: one answer of HTTP/1.1, read from a byte stream (RFC 9110, RFC 9112): what GET /key and the upgrade are answered with.
 *
 * Bytes are fed until `done`; what is left over then is not HTTP's. The body is kept up to a limit.
 */
#ifndef GSI_TAILNET_CONTROL_HTTP_H
#define GSI_TAILNET_CONTROL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gensock/error.h"

enum { HTTP_HEAD_MAX = 16 * 1024 };

struct http_answer {
    /* To be read when done. */
    bool done;
    int status;
    uint8_t *body; /* ends with a NUL that body_n does not count; NULL when there is none */
    size_t body_n;

    /* http.c's. */
    int error, part, interim;
    size_t body_cap, body_max, line_n;
    uint64_t left;
    size_t head_n;
    char head[HTTP_HEAD_MAX + 1];
};

void gsi_http_init(struct http_answer *a, size_t body_max);
void gsi_http_fini(struct http_answer *a);
/* How many bytes were taken: all until the answer is done. GS_EINVALID (malformed; the detail says what), -EMSGSIZE (head or body
 * over its limit), -ENOMEM; the first error is final. */
GS_MUST_USE ssize_t gsi_http_feed(struct http_answer *a, const void *in, size_t n);
/* The connection ended. 0: that completes the answer; GS_ECLOSED: it does not. */
GS_MUST_USE int gsi_http_end(struct http_answer *a);
/* The value of a header, not NUL-terminated: its length in n; NULL when there is none. Several of one name: the first. */
const char *gsi_http_header(const struct http_answer *a, const char *name, size_t *n);
/* The value of a header is this token, in either case. */
GS_MUST_USE bool gsi_http_header_is(const struct http_answer *a, const char *name, const char *token);

#endif
