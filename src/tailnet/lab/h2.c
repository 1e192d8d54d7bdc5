/* h2.c: the server of HTTP/2: requests come in whole, answers go out as text or as a stream of map messages. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/lab/inside.h"

/* ---- exchanges ---- */

static void forget(struct exchange *x)
{
    gsi_lab_forget(x);
    x->conn->co->bodies_n -= x->body_cap;
    if (x->body)
        OPENSSL_clear_free(x->body, x->body_cap);
    OPENSSL_free(x->answer);
    OPENSSL_free(x);
}

void gsi_lab_exchanges_free(struct coordination_conn *c)
{
    for (struct exchange *x = c->exchanges, *next; x; x = next) {
        next = x->next;
        forget(x);
    }
    c->exchanges = NULL;
}

static struct exchange *exchange_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct coordination_conn *c = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (c->exchanges_n == EXCHANGES_MAX) /* the client need not know the limit yet */
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM) == 0
                   ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    struct exchange *x = OPENSSL_zalloc(sizeof *x);
    if (!x)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    x->conn = c;
    x->stream = frame->hd.stream_id;
    x->keep_alive = UINT64_MAX;
    x->until = c->co->now + REQUEST_S * LAB_SECOND;
    gsi_lab_wake(c->co, x->until);
    x->next = c->exchanges;
    c->exchanges = x;
    c->exchanges_n++;
    return nghttp2_session_set_stream_user_data(session, x->stream, x) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void keep(char *out, size_t cap, const uint8_t *value, size_t n)
{
    n = n < cap ? n : 0; /* a longer one is none that is served */
    memcpy(out, value, n);
    out[n] = 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t n, uint8_t flags, void *user)
{
    (void)flags, (void)user;
    struct exchange *x = exchange_of(session, frame->hd.stream_id);
    if (x && name_n == 7 && memcmp(name, ":method", 7) == 0)
        keep(x->method, sizeof x->method, value, n);
    if (x && name_n == 5 && memcmp(name, ":path", 5) == 0)
        keep(x->path, sizeof x->path, value, n);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *p, size_t n, void *user)
{
    (void)flags, (void)user;
    struct exchange *x = exchange_of(session, stream);
    if (!x || x->too_long || !n)
        return 0;
    size_t cap = x->body_cap ? x->body_cap : 4096, *held = &x->conn->co->bodies_n;
    while (cap - x->body_n < n)
        cap *= 2;
    if (n > BODY_MAX - x->body_n || cap - x->body_cap > BODIES_MAX - *held) {
        x->too_long = true;
        return 0;
    }
    if (cap > x->body_cap) {
        uint8_t *grown = OPENSSL_clear_realloc(x->body, x->body_cap, cap);
        if (!grown)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        *held += cap - x->body_cap;
        x->body = grown;
        x->body_cap = cap;
    }
    memcpy(x->body + x->body_n, p, n);
    x->body_n += n;
    return 0;
}

static int serve(struct exchange *x)
{
    static const char none[] = "not served by this lab\n";
    bool post = strcmp(x->method, "POST") == 0;
    if (x->too_long)
        return gsi_lab_answer(x, 413, "text/plain", "too long\n", 9);
    if (post && strcmp(x->path, "/machine/register") == 0)
        return gsi_lab_register(x);
    if (post && strcmp(x->path, "/machine/map") == 0)
        return gsi_lab_map(x);
    if (post && strcmp(x->path, "/machine/update-health") == 0)
        return gsi_lab_answer(x, 204, NULL, NULL, 0);
    return gsi_lab_answer(x, 501, "text/plain", none, sizeof none - 1);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    struct exchange *x = exchange_of(session, frame->hd.stream_id);
    bool request = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!x || !request || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || x->answered)
        return 0;
    return serve(x) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    (void)code;
    struct coordination_conn *c = user;
    struct exchange *x = exchange_of(session, stream);
    for (struct exchange **at = &c->exchanges; x && *at; at = &(*at)->next)
        if (*at == x) {
            *at = x->next;
            c->exchanges_n--;
            forget(x);
            break;
        }
    c->until = c->co->now + IDLE_S * LAB_SECOND;
    gsi_lab_wake(c->co, c->until);
    return 0;
}

/* ---- answers ---- */

static ssize_t read_answer(nghttp2_session *session, int32_t stream, uint8_t *out, size_t cap, uint32_t *flags,
                           nghttp2_data_source *source, void *user)
{
    (void)source, (void)user;
    struct exchange *x = exchange_of(session, stream);
    if (!x)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (x->answer_at == x->answer_n && x->member) {
        int e = gsi_lab_message(x);
        if (e == GS_ECLOSED)
            gsi_lab_forget(x);
        else if (e < 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        else if (e == 1 && x->once)
            gsi_lab_forget(x);
    }
    size_t n = x->answer_n - x->answer_at;
    n = n < cap ? n : cap;
    if (n)
        memcpy(out, x->answer + x->answer_at, n);
    x->answer_at += n;
    if (x->answer_at < x->answer_n)
        return (ssize_t)n;
    OPENSSL_free(x->answer);
    x->answer = NULL;
    x->answer_at = x->answer_n = 0;
    if (!x->member)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (!n)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)n;
}

static int submit(struct exchange *x, int status, const char *type)
{
    char text[16];
    snprintf(text, sizeof text, "%d", status);
    nghttp2_nv fields[] = {gsi_http2_field(":status", text), gsi_http2_field("content-type", type ? type : "")};
    nghttp2_data_provider body = {{.ptr = NULL}, read_answer};
    x->answered = true;
    int e = nghttp2_submit_response(x->conn->http2.session, x->stream, fields, type ? 2 : 1,
                                    x->answer_n || x->member ? &body : NULL);
    gsi_lab_ready(x->conn);
    return e == NGHTTP2_ERR_NOMEM ? -ENOMEM : 0; /* others: the stream is no more */
}

int gsi_lab_answer(struct exchange *x, int status, const char *type, const void *body, size_t n)
{
    OPENSSL_free(x->answer);
    x->answer_at = x->answer_n = 0;
    x->answer = n ? OPENSSL_memdup(body, n) : NULL;
    if (n && !x->answer)
        return -ENOMEM;
    x->answer_n = n;
    return submit(x, status, type);
}

int gsi_lab_answer_stream(struct exchange *x) { return submit(x, 200, "application/octet-stream"); }

void gsi_lab_resume(struct exchange *x)
{
    if (x->conn->http2.session && x->answered) /* not deferred: it is asked anyway */
        (void)nghttp2_session_resume_data(x->conn->http2.session, x->stream);
    gsi_lab_ready(x->conn);
}

/* ---- the session ---- */

static int new_session(struct coordination_conn *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int e = nghttp2_session_callbacks_new(&callbacks);
    if (e == 0)
        e = nghttp2_option_new(&option);
    if (e == 0) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        nghttp2_option_set_no_closed_streams(option, 1);
        e = gsi_http2_open(&c->http2, HTTP2_SERVER, callbacks, option, c);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return e;
}

int gsi_lab_h2_start(struct coordination_conn *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, EXCHANGES_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16 * 1024},
    };
    int e = new_session(c);
    if (e == 0)
        e = nghttp2_submit_settings(c->http2.session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    return e ? gsi_http2_code(&c->http2, "beginning", e) : 0;
}

int gsi_lab_h2_fill(struct coordination_conn *c)
{
    ssize_t k = gsi_http2_fill(&c->http2, &c->noise);
    if (k != 0)
        return k < 0 ? (int)k : 0;
    return nghttp2_session_want_read(c->http2.session) ? 0 : GS_ECLOSED;
}
