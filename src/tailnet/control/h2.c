/* h2.c: the client of HTTP/2: what it may take, requests, and whose an answer is. */
#include <errno.h>
#include <string.h>

#include "tailnet/control/inside.h"

/* ---- what nghttp2 tells ---- */

static struct ask *ask_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)flags;
    struct ask *a = ask_of(session, frame->hd.stream_id);
    if (a)
        gsi_ask_header(user, a, (const char *)name, name_n, (const char *)value, value_n);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *p, size_t n, void *user)
{
    (void)flags;
    struct control *c = user;
    struct ask *a = ask_of(session, stream);
    if (!a) {
        gsi_h2_consumed(c, stream, n);
        return 0;
    }
    return gsi_ask_body(c, a, p, n) == -ENOMEM ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct control *c = user;
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK) && c->state == EXPECT_SETTINGS)
        c->state = OPEN;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        c->going_away = true;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    struct ask *a = ask_of(session, stream);
    if (a)
        gsi_ask_end(user, a, code == NGHTTP2_NO_ERROR ? 0 : GS_ECLOSED);
    return 0;
}

/* A request that the server takes no more: it said goodbye before. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
    (void)session, (void)code;
    struct control *c = user;
    for (struct ask *a = c->asks; frame->hd.type == NGHTTP2_HEADERS && a < c->asks + ASKS_MAX; a++)
        if (a->state == ASK_SENT && a->stream == frame->hd.stream_id)
            gsi_ask_end(c, a, GS_ECLOSED);
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t cap, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)source, (void)user;
    struct ask *a = ask_of(session, stream);
    if (!a)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = a->body_n - a->body_at;
    n = n < cap ? n : cap;
    if (n)
        memcpy(out, a->body + a->body_at, n);
    a->body_at += n;
    if (a->body_at == a->body_n)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* ---- the session ---- */

static int new_session(struct control *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int e = nghttp2_session_callbacks_new(&callbacks);
    if (e == 0)
        e = nghttp2_option_new(&option);
    if (e == 0) {
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
        nghttp2_option_set_no_auto_window_update(option, 1); /* a window opens again when the map's messages were taken */
        nghttp2_option_set_no_closed_streams(option, 1);
        e = gsi_http2_open(&c->http2, HTTP2_CLIENT, callbacks, option, c);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return e;
}

int gsi_h2_start(struct control *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_MAX},
    };
    int e = new_session(c);
    if (e == 0)
        e = nghttp2_submit_settings(c->http2.session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    if (e == 0)
        e = nghttp2_session_set_local_window_size(c->http2.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    if (e)
        return gsi_http2_code(&c->http2, "beginning", e);
    c->state = EXPECT_SETTINGS;
    for (struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++)
        if (a->state == ASK_WAITS && (e = gsi_h2_submit(c, a)) != 0)
            return e;
    return 0;
}

/* nghttp2 reads on until it has sent its GOAWAY, which says what was wrong. */
static int end_of(struct control *c)
{
    if (nghttp2_session_want_read(c->http2.session))
        return 0;
    if (c->http2.starved)
        return -ENOMEM;
    return c->going_away ? gs_fail(GS_ECLOSED, "the control server says goodbye")
                         : gs_fail(GS_EINVALID, "the control server breaks the rules of HTTP/2");
}

int gsi_h2_feed(struct control *c, const uint8_t *in, size_t n)
{
    int e = gsi_http2_feed(&c->http2, in, n);
    return e ? e : end_of(c);
}

int gsi_h2_fill(struct control *c)
{
    ssize_t k = gsi_http2_fill(&c->http2, &c->noise);
    return k < 0 ? (int)k : k == 0 ? end_of(c) : 0;
}

int gsi_h2_submit(struct control *c, struct ask *a)
{
    static const char *const paths[] = {[CONTROL_REGISTER] = "/machine/register", [CONTROL_LOGOUT] = "/machine/register",
                                        [CONTROL_MAP_STREAM] = "/machine/map", [CONTROL_UPDATE] = "/machine/map"};
    bool head = a->request == CONTROL_PING;
    nghttp2_nv fields[] = {gsi_http2_field(":method", head ? "HEAD" : "POST"), gsi_http2_field(":scheme", "https"),
                           gsi_http2_field(":authority", c->url.authority),
                           gsi_http2_field(":path", head ? a->path : paths[a->request]),
                           gsi_http2_field("ts-lb", a->lb[0]), gsi_http2_field("ts-lb", a->lb[1])};
    size_t n = 4 + (size_t)(*a->lb[0] != 0) + (size_t)(*a->lb[1] != 0);
    nghttp2_data_provider body = {{.ptr = NULL}, read_body};
    int32_t stream = nghttp2_submit_request(c->http2.session, NULL, fields, n, head ? NULL : &body, a);
    if (stream == NGHTTP2_ERR_NOMEM)
        return -ENOMEM;
    a->stream = stream;
    a->state = ASK_SENT;
    if (stream < 0)
        gsi_ask_end(c, a, GS_ECLOSED);
    return 0;
}

int gsi_h2_ping(struct control *c)
{
    int e = nghttp2_submit_ping(c->http2.session, NGHTTP2_FLAG_NONE, NULL);
    return e ? gsi_http2_code(&c->http2, "asking for a sign", e) : 0;
}

/* The ask is over for us; nothing of the stream reaches it any more. */
void gsi_h2_reset(struct control *c, struct ask *a)
{
    if (!c->http2.session || a->stream <= 0)
        return;
    if (nghttp2_session_set_stream_user_data(c->http2.session, a->stream, NULL) == 0
        && nghttp2_submit_rst_stream(c->http2.session, NGHTTP2_FLAG_NONE, a->stream, NGHTTP2_CANCEL) != 0)
        (void)gsi_control_fail(c, -ENOMEM);
    a->stream = 0;
}

void gsi_h2_consumed(struct control *c, int32_t stream, size_t n)
{
    nghttp2_session *session = c->http2.session;
    if (!session || !n)
        return;
    int e = stream > 0 ? nghttp2_session_consume(session, stream, n) : nghttp2_session_consume_connection(session, n);
    if (e)
        (void)gsi_control_fail(c, -ENOMEM);
}
