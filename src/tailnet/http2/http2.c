/* http2.c: what client and server of a control connection share of HTTP/2: memory, errors, and the way into records. */
#include "tailnet/http2/http2.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

/* ---- memory ---- */

static void *noted(void *p, size_t n, bool *starved)
{
    *starved |= !p && n;
    return p;
}

static void *take(size_t n, void *starved) { return noted(OPENSSL_malloc(n), n, starved); }
static void give(void *p, void *starved) { (void)starved, OPENSSL_free(p); }
static void *change(void *p, size_t n, void *starved) { return noted(OPENSSL_realloc(p, n), n, starved); }

static void *take_zeroed(size_t n, size_t size, void *starved)
{
    return size && n > SIZE_MAX / size ? NULL : noted(OPENSSL_zalloc(n * size), n * size, starved);
}

/* ---- the session ---- */

int gsi_http2_open(struct http2 *h, enum http2_role role, const nghttp2_session_callbacks *callbacks,
                   const nghttp2_option *option, void *user)
{
    nghttp2_mem memory = {&h->starved, take, give, take_zeroed, change};
    return role == HTTP2_SERVER ? nghttp2_session_server_new3(&h->session, callbacks, user, option, &memory)
                                : nghttp2_session_client_new3(&h->session, callbacks, user, option, &memory);
}

void gsi_http2_close(struct http2 *h)
{
    nghttp2_session_del(h->session);
    h->session = NULL;
    h->frame = NULL;
    h->frame_n = 0;
}

int gsi_http2_code(const struct http2 *h, const char *doing, int e)
{
    if (h->starved || e == NGHTTP2_ERR_NOMEM || e == NGHTTP2_ERR_CALLBACK_FAILURE)
        return -ENOMEM;
    return gs_fail(GS_EINVALID, "HTTP/2 of the control connection, %s: %s", doing, nghttp2_strerror(e));
}

int gsi_http2_feed(struct http2 *h, const uint8_t *in, size_t n)
{
    ssize_t k = nghttp2_session_mem_recv(h->session, in, n);
    return k < 0 ? gsi_http2_code(h, "receiving", (int)k) : 0;
}

int gsi_http2_gather(struct http2 *h)
{
    while (h->plain_n < sizeof h->plain) {
        if (h->starved)
            return -ENOMEM;
        if (!h->frame_n) {
            ssize_t k = nghttp2_session_mem_send(h->session, &h->frame);
            if (k <= 0)
                return k < 0 ? gsi_http2_code(h, "sending", (int)k) : 0;
            h->frame_n = (size_t)k;
        }
        size_t n = sizeof h->plain - h->plain_n;
        n = n < h->frame_n ? n : h->frame_n;
        memcpy(h->plain + h->plain_n, h->frame, n);
        h->plain_n += n;
        h->frame += n;
        h->frame_n -= n;
    }
    return 0;
}

ssize_t gsi_http2_fill(struct http2 *h, struct noise *noise)
{
    if (h->plain_at == h->plain_n) {
        h->plain_at = h->plain_n = 0;
        int e = gsi_http2_gather(h);
        if (e)
            return e;
    }
    ssize_t k = gsi_noise_put(noise, h->plain + h->plain_at, h->plain_n - h->plain_at);
    if (k > 0)
        h->plain_at += (size_t)k;
    return k;
}

nghttp2_nv gsi_http2_field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}
