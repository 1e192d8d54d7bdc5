/* tailnet_control_server.h: a scripted control server in memory: /ts2021, the Noise responder, an HTTP/2 server by nghttp2. */
#ifndef TAILNET_CONTROL_SERVER_H
#define TAILNET_CONTROL_SERVER_H

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/control/control.h"
#include "tailnet/noise/noise.h"

enum { SERVER_REPLIES = 32, SERVER_BODY = 2 * 1024 * 1024, SERVER_OUT = 4 * 1024 * 1024 };

struct reply {
    int status;
    const void *body;
    size_t n;
    bool stays; /* the answer goes on: server_send */
    const char *retry_after, *date;
};

struct server {
    uint8_t key[KEY_LEN];
    bool early, upgraded;
    const char *instead; /* of a 101 */
    char hello[4096];
    size_t hello_n;
    struct noise noise;
    nghttp2_session *h2;
    struct reply replies[SERVER_REPLIES];
    int replies_n, asked;
    char path[SERVER_REPLIES][64], request[SERVER_REPLIES][8192], lb[SERVER_REPLIES][80];
    size_t request_n[SERVER_REPLIES];
    int32_t streams[SERVER_REPLIES], live; /* the stream that stays */
    int pings;
    const uint8_t *body;
    size_t at[SERVER_REPLIES];
    uint8_t live_body[SERVER_BODY];
    size_t live_n, live_at;
    bool live_over;
    size_t out_n;
    uint8_t out[SERVER_OUT];
};

static inline void server_die(const char *what)
{
    fprintf(stderr, "scripted server: %s\n", what);
    abort();
}

static inline int server_index(const struct server *s, int32_t stream)
{
    for (int i = 0; i < s->asked; i++)
        if (s->streams[i] == stream)
            return i;
    return -1;
}

static inline ssize_t server_read(nghttp2_session *h2, int32_t stream, uint8_t *out, size_t cap, uint32_t *flags,
                                  nghttp2_data_source *source, void *user)
{
    (void)h2, (void)source;
    struct server *s = user;
    int i = server_index(s, stream);
    const struct reply *r = &s->replies[i];
    if (s->at[i] < r->n) {
        size_t n = r->n - s->at[i] < cap ? r->n - s->at[i] : cap;
        memcpy(out, (const uint8_t *)r->body + s->at[i], n);
        s->at[i] += n;
        if (s->at[i] == r->n && !r->stays)
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
    }
    if (!r->stays) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return 0;
    }
    size_t n = s->live_n - s->live_at < cap ? s->live_n - s->live_at : cap;
    memcpy(out, s->live_body + s->live_at, n);
    s->live_at += n;
    if (!n && s->live_over)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return n || s->live_over ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

static inline nghttp2_nv server_field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0};
}

static inline int server_on_frame(nghttp2_session *h2, const nghttp2_frame *f, void *user)
{
    struct server *s = user;
    if (f->hd.type == NGHTTP2_PING && !(f->hd.flags & NGHTTP2_FLAG_ACK))
        s->pings++;
    int i = server_index(s, f->hd.stream_id);
    if (i < 0 || !(f->hd.flags & NGHTTP2_FLAG_END_STREAM) || (f->hd.type != NGHTTP2_DATA && f->hd.type != NGHTTP2_HEADERS))
        return 0;
    if (i >= s->replies_n)
        return 0; /* no reply in the script: it hangs */
    const struct reply *r = &s->replies[i];
    char status[16];
    snprintf(status, sizeof status, "%d", r->status);
    nghttp2_nv fields[3] = {server_field(":status", status)};
    size_t n = 1;
    if (r->retry_after)
        fields[n++] = server_field("retry-after", r->retry_after);
    if (r->date)
        fields[n++] = server_field("date", r->date);
    if (r->stays)
        s->live = f->hd.stream_id;
    nghttp2_data_provider body = {{.ptr = NULL}, server_read};
    if (nghttp2_submit_response(h2, f->hd.stream_id, fields, n, &body) != 0)
        server_die("submit");
    return 0;
}

static inline int server_on_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name, size_t name_n,
                                   const uint8_t *value, size_t n,
                                   uint8_t flags, void *user)
{
    (void)h2, (void)flags;
    struct server *s = user;
    int i = server_index(s, f->hd.stream_id);
    if (i < 0) {
        i = s->asked++;
        s->streams[i] = f->hd.stream_id;
    }
    if (name_n == 5 && memcmp(name, ":path", 5) == 0)
        snprintf(s->path[i], sizeof s->path[i], "%.*s", (int)n, value);
    if (name_n == 5 && memcmp(name, "ts-lb", 5) == 0)
        snprintf(s->lb[i], sizeof s->lb[i], "%.*s", (int)n, value);
    return 0;
}

static inline int server_on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *p, size_t n, void *user)
{
    (void)h2, (void)flags;
    struct server *s = user;
    int i = server_index(s, stream);
    if (i < 0 || s->request_n[i] + n >= sizeof s->request[i])
        server_die("a request too long");
    memcpy(s->request[i] + s->request_n[i], p, n);
    s->request_n[i] += n;
    return 0;
}

/* Into records, as many as there are. */
static inline void server_flush(struct server *s)
{
    const uint8_t *p;
    ssize_t n;
    while (s->h2 && (n = nghttp2_session_mem_send(s->h2, &p)) > 0)
        for (ssize_t k; n; p += k, n -= k) {
            k = gsi_noise_put(&s->noise, p, (size_t)n);
            if (k <= 0)
                server_die("put");
            s->out_n += gsi_noise_output(&s->noise, s->out + s->out_n, sizeof s->out - s->out_n);
        }
}

static inline void server_plain(struct server *s, const void *p, size_t n)
{
    if (gsi_noise_put(&s->noise, p, n) != (ssize_t)n)
        server_die("plain");
    s->out_n += gsi_noise_output(&s->noise, s->out + s->out_n, sizeof s->out - s->out_n);
}

static inline void server_start_h2(struct server *s)
{
    static const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 250},
                                                      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1048576}};
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        server_die("callbacks");
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, server_on_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, server_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, server_on_data);
    if (nghttp2_session_server_new(&s->h2, callbacks, s) != 0 || nghttp2_submit_settings(s->h2, 0, settings, 2) != 0)
        server_die("session");
    nghttp2_session_callbacks_del(callbacks);
}

static inline uint8_t server_sextet(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(digits, c) : NULL;
    if (!p && c != '=')
        server_die("base64");
    return p ? (uint8_t)(p - digits) : 0;
}

static inline void server_hello(struct server *s)
{
    static const char ok[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\n"
                             "Connection: upgrade\r\n\r\n";
    char *at = strstr(s->hello, "X-Tailscale-Handshake: ");
    uint8_t initiation[NOISE_INITIATION_LEN + 3];
    if (!at || memcmp(s->hello, "POST /ts2021 HTTP/1.1\r\n", 23) != 0
        || !strstr(s->hello, "\r\nUpgrade: tailscale-control-protocol\r\n"))
        server_die("no upgrade request");
    if (s->instead) {
        s->out_n = (size_t)snprintf((char *)s->out, sizeof s->out, "%s", s->instead);
        s->upgraded = true;
        return;
    }
    at += strlen("X-Tailscale-Handshake: ");
    for (size_t i = 0; i < NOISE_INITIATION_LEN; i += 3, at += 4) {
        uint32_t v = 0;
        for (int k = 0; k < 4; k++)
            v = v << 6 | server_sextet(at[k]);
        initiation[i] = (uint8_t)(v >> 16);
        initiation[i + 1] = (uint8_t)(v >> 8);
        initiation[i + 2] = (uint8_t)v;
    }
    gsi_noise_server(&s->noise, s->key);
    s->upgraded = true;
    memcpy(s->out, ok, sizeof ok - 1);
    s->out_n = sizeof ok - 1;
    if (gsi_noise_feed(&s->noise, initiation, NOISE_INITIATION_LEN) != NOISE_INITIATION_LEN)
        return; /* another key */
    s->out_n += gsi_noise_output(&s->noise, s->out + s->out_n, sizeof s->out - s->out_n);
    if (s->early)
        server_plain(s, "\xff\xff\xffTS\0\0\0\x10{\"challenge\":\"\"}", 25);
    server_start_h2(s);
    server_flush(s);
}

static inline void server_feed(struct server *s, const uint8_t *in, size_t n)
{
    uint8_t plain[NOISE_PLAIN_MAX];
    for (; n && !s->upgraded; in++, n--) {
        s->hello[s->hello_n++] = (char)*in;
        if (s->hello_n >= 4 && memcmp(s->hello + s->hello_n - 4, "\r\n\r\n", 4) == 0)
            server_hello(s);
    }
    while (n && s->h2) {
        ssize_t k = gsi_noise_feed(&s->noise, in, n);
        if (k < 0)
            server_die("a record");
        in += k;
        n -= (size_t)k;
        size_t got = gsi_noise_take(&s->noise, plain, sizeof plain);
        if (nghttp2_session_mem_recv(s->h2, plain, got) != (ssize_t)got)
            server_die("HTTP/2");
    }
    server_flush(s);
}

/* More of the answer that stays. */
static inline void server_send(struct server *s, const void *p, size_t n)
{
    if (s->live_n + n > sizeof s->live_body)
        server_die("too much to send");
    memcpy(s->live_body + s->live_n, p, n);
    s->live_n += n;
    nghttp2_session_resume_data(s->h2, s->live);
    server_flush(s);
}

static inline void server_message(struct server *s, const void *p, size_t n)
{
    uint8_t head[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
    server_send(s, head, 4);
    server_send(s, p, n);
}

static inline void server_reset(struct server *s)
{
    nghttp2_session_del(s->h2);
    uint8_t key[KEY_LEN];
    memcpy(key, s->key, KEY_LEN);
    memset(s, 0, sizeof *s);
    memcpy(s->key, key, KEY_LEN);
}

#endif
