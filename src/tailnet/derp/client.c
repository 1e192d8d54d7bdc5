/* client.c: client.h.
 *
 *   EXPECT_ANSWER       GET /derp, Upgrade: DERP       -> 101
 *   EXPECT_SERVER_KEY   ServerKey                      -> ClientInfo, NotePreferred
 *   EXPECT_SERVER_INFO  ServerInfo                     -> packets both ways
 *   OPEN
 */
#include "tailnet/derp/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/json/json.h"

enum state { EXPECT_ANSWER, EXPECT_SERVER_KEY, EXPECT_SERVER_INFO, OPEN };

enum {
    REQUEST_MAX = 1024,
    SECOND = 1000000000,
    MS = 1000000,
};

struct derp_client {
    enum state state;
    int error;
    uint8_t node_private[KEY_LEN], node_public[KEY_LEN], server[KEY_LEN], shared[KEY_LEN];
    char host[DERP_HOST_MAX + 1];
    struct derp_frames frames;
    char *http; /* the answer's head, while it comes */
    size_t http_n;
    struct derp_outbox out;
    bool preferred, told_preferred;
    uint64_t heard_ns, began_ns;
    uint64_t ping_ns; /* 0: none waits */
    uint8_t ping[DERP_PING_LEN];
    uint64_t rate, burst, tokens, tokens_ns; /* bytes per second, 0: no limit; bytes */
    struct derp_stat stat;
};

/* ---- what waits to be sent ---- */

static void tell_preferred(struct derp_client *c)
{
    uint8_t *body = NULL;
    if (c->state >= EXPECT_SERVER_INFO && c->preferred != c->told_preferred)
        body = gsi_derp_outbox_frame(&c->out, DERP_NOTE_PREFERRED, 1, DERP_WHAT_OTHER);
    if (body)
        *body = c->told_preferred = c->preferred;
}

size_t gsi_derp_output(struct derp_client *c, const uint8_t **p) { return gsi_derp_outbox_output(&c->out, p); }

void gsi_derp_sent(struct derp_client *c, size_t n)
{
    gsi_derp_outbox_sent(&c->out, n, &c->stat.sent);
    tell_preferred(c); /* had there been no room before */
}

/* ---- a connection's begin ---- */

/* Nothing of it may end the header's line. */
static bool is_plain(const char *text, size_t most)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return n && n <= most;
}

static bool put_request(struct derp_client *c, const struct derp_options *o)
{
    char text[REQUEST_MAX];
    bool other = o->ideal_node && is_plain(o->ideal_node, DERP_HOST_MAX);
    int n = snprintf(text, sizeof text, "GET /derp HTTP/1.1\r\nHost: %s\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n%s%s%s\r\n",
                     c->host, other ? "Ideal-Node: " : "", other ? o->ideal_node : "", other ? "\r\n" : "");
    uint8_t *request = gsi_derp_outbox_put(&c->out, (size_t)n, DERP_WHAT_OTHER);
    if (request)
        memcpy(request, text, (size_t)n);
    return request != NULL;
}

struct derp_client *gsi_derp_client_new(const struct derp_options *o, uint64_t now)
{
    struct derp_client *c = is_plain(o->host, DERP_HOST_MAX) ? OPENSSL_zalloc(sizeof *c) : NULL;
    if (!c)
        return NULL;
    memcpy(c->node_private, o->node_private, KEY_LEN);
    gsi_x25519_public(c->node_public, c->node_private);
    memcpy(c->host, o->host, strlen(o->host));
    c->preferred = o->preferred;
    c->heard_ns = c->began_ns = now;
    c->http = OPENSSL_malloc(DERP_HTTP_MAX + 1);
    if (c->http && put_request(c, o))
        return c;
    gsi_derp_client_free(c);
    return NULL;
}

void gsi_derp_client_free(struct derp_client *c)
{
    if (!c)
        return;
    gsi_derp_outbox_fini(&c->out);
    gsi_derp_frames_fini(&c->frames);
    OPENSSL_free(c->http);
    OPENSSL_clear_free(c, sizeof *c);
}

/* ---- HTTP ---- */

/* Has the head a line "name: value", both in any case? */
static bool has_header(const char *head, const char *name, const char *value)
{
    size_t name_n = strlen(name), value_n = strlen(value);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_n) != 0 || line[name_n] != ':')
            continue;
        const char *at = line + name_n + 1;
        at += strspn(at, " \t");
        if (strncasecmp(at, value, value_n) == 0 && at[value_n + strspn(at + value_n, " \t")] == '\r')
            return true;
    }
    return false;
}

static int judge_answer(const struct derp_client *c)
{
    int status = 0, digits = 0;
    const char *head = c->http;
    if (strlen(head) != c->http_n || sscanf(head, "HTTP/1.%*1[01] %n%3d", &digits, &status) != 1 || !digits)
        return gs_fail(GS_EINVALID, "the relay %s does not speak HTTP", c->host);
    if (status != 101) {
        int n = (int)strcspn(head + digits, "\r");
        for (int i = 0; i < n; i++)
            if (head[digits + i] < ' ' || head[digits + i] > '~')
                n = i;
        return gs_fail(-ECONNREFUSED, "the relay %s answered \"%.*s\" instead of 101: is it a DERP server?", c->host,
                       n < 80 ? n : 80, head + digits);
    }
    if (!has_header(head, "Upgrade", "DERP"))
        return gs_fail(-ECONNREFUSED, "the relay %s switched to something that is not DERP", c->host);
    return 0;
}

/* The head's bytes, and none behind it. */
static ssize_t feed_answer(struct derp_client *c, const char *in, size_t len)
{
    size_t used = 0;
    while (used < len) {
        if (c->http_n == DERP_HTTP_MAX)
            return gs_fail(GS_EINVALID, "the relay %s has no end of headers", c->host);
        c->http[c->http_n++] = in[used++];
        c->http[c->http_n] = 0;
        if (c->http_n < 4 || memcmp(c->http + c->http_n - 4, "\r\n\r\n", 4) != 0)
            continue;
        int e = judge_answer(c);
        if (e < 0)
            return e;
        OPENSSL_free(c->http);
        c->http = NULL;
        c->state = EXPECT_SERVER_KEY;
        break;
    }
    return (ssize_t)used;
}

/* ---- frames ---- */

static int malformed(const struct derp_client *c, const char *what)
{
    return gs_fail(GS_EINVALID, "the relay %s sent a wrong %s", c->host, what);
}

static int put_client_info(struct derp_client *c)
{
    uint8_t json[64];
    struct json_out o = gsi_json_out_of(json, sizeof json);
    gsi_json_put_object(&o, NULL);
    gsi_json_put_int(&o, "version", DERP_VERSION);
    gsi_json_put_bool(&o, "CanAckPings", true);
    gsi_json_put_close(&o);
    ssize_t n = gsi_json_out_end(&o);
    uint8_t *body = n < 0 ? NULL
                          : gsi_derp_outbox_frame(&c->out, DERP_CLIENT_INFO, KEY_LEN + XNONCE_LEN + BOX_OVERHEAD + (size_t)n,
                                                  DERP_WHAT_OTHER);
    if (!body)
        return -ENOMEM;
    memcpy(body, c->node_public, KEY_LEN);
    gsi_random(body + KEY_LEN, XNONCE_LEN);
    gsi_box_seal(body + KEY_LEN + XNONCE_LEN, c->shared, body + KEY_LEN, json, (size_t)n);
    return 0;
}

static int on_server_key(struct derp_client *c, struct reader r)
{
    const uint8_t *magic = read_bytes(&r, DERP_MAGIC_LEN), *key = read_bytes(&r, KEY_LEN);
    if (!r.ok || memcmp(magic, gsi_derp_magic, DERP_MAGIC_LEN) != 0 || !gsi_box_key(c->shared, c->node_private, key))
        return malformed(c, "ServerKey");
    memcpy(c->server, key, KEY_LEN);
    int e = put_client_info(c);
    c->state = EXPECT_SERVER_INFO;
    tell_preferred(c);
    return e;
}

static int on_server_info(struct derp_client *c, struct reader r, uint64_t now, struct derp_event *out)
{
    static const char *const names[] = {"version", "TokenBucketBytesPerSecond", "TokenBucketBytesBurst", NULL};
    uint8_t text[DERP_INFO_MAX];
    const uint8_t *nonce = read_bytes(&r, XNONCE_LEN);
    if (!r.ok || r.n < BOX_OVERHEAD || r.n > sizeof text + BOX_OVERHEAD || !gsi_box_open(text, c->shared, nonce, r.p, r.n))
        return malformed(c, "ServerInfo");
    struct json j = gsi_json_of(text, r.n - BOX_OVERHEAD);
    int64_t field[3] = {0};
    uint64_t seen = 0;
    if (gsi_json_object(&j))
        for (int m; (m = gsi_json_member(&j, names, &seen)) >= 0;)
            field[m] = gsi_json_int(&j, 0, INT64_MAX / SECOND);
    if (gsi_json_end(&j) < 0)
        return malformed(c, "ServerInfo");
    c->rate = (uint64_t)field[1];
    c->burst = c->tokens = (uint64_t)(field[2] > field[1] ? field[2] : field[1]);
    c->tokens_ns = now;
    c->state = OPEN;
    out->kind = DERP_CONNECTED;
    return 0;
}

static void on_ping(struct derp_client *c, const uint8_t *eight)
{
    uint8_t *body = gsi_derp_outbox_frame(&c->out, DERP_PONG, DERP_PING_LEN, DERP_WHAT_OTHER);
    if (body) /* else the relay asks again, and more than a few unanswered ones are its own fault */
        memcpy(body, eight, DERP_PING_LEN);
}

static int on_open(struct derp_client *c, const struct derp_frame *f, uint64_t now, struct derp_event *out)
{
    struct reader r = reader_of(f->body, f->n);
    const uint8_t *eight;
    switch (f->type) {
    case DERP_RECV_PACKET:
        out->key = read_bytes(&r, KEY_LEN);
        out->packet = r.p;
        out->n = r.n;
        out->kind = DERP_RECEIVED;
        c->stat.received++;
        return r.ok ? 0 : malformed(c, "RecvPacket");
    case DERP_PEER_GONE:
        out->key = read_bytes(&r, KEY_LEN);
        out->gone = r.n ? read_u8(&r) : DERP_GONE_DISCONNECTED;
        out->kind = DERP_PEER_LEFT;
        return r.ok ? 0 : malformed(c, "PeerGone");
    case DERP_PONG:
        eight = read_bytes(&r, DERP_PING_LEN);
        if (r.ok && c->ping_ns && gsi_equal(eight, c->ping, DERP_PING_LEN)) {
            out->kind = DERP_PONGED;
            out->rtt_ns = now - c->ping_ns;
            c->ping_ns = 0;
        }
        return 0;
    case DERP_HEALTH:
        out->kind = f->n ? DERP_UNHEALTHY : DERP_HEALTHY;
        out->packet = f->body;
        out->n = f->n;
        return 0;
    case DERP_RESTARTING:
        out->reconnect_in_ns = (uint64_t)read_u32(&r) * MS;
        out->try_for_ns = (uint64_t)read_u32(&r) * MS;
        out->kind = DERP_RESTARTS;
        return r.ok ? 0 : malformed(c, "Restarting");
    default: return 0; /* KeepAlive, and what is for others */
    }
}

static int on_frame(struct derp_client *c, const struct derp_frame *f, uint64_t now, struct derp_event *out)
{
    if (f->type == DERP_PING && c->state != EXPECT_SERVER_KEY) {
        if (f->n < DERP_PING_LEN)
            return malformed(c, "Ping");
        on_ping(c, f->body);
        return 0;
    }
    switch (c->state) {
    case EXPECT_SERVER_KEY:
        return f->type == DERP_SERVER_KEY ? on_server_key(c, reader_of(f->body, f->n)) : malformed(c, "first frame");
    case EXPECT_SERVER_INFO: return f->type == DERP_SERVER_INFO ? on_server_info(c, reader_of(f->body, f->n), now, out) : 0;
    default: return on_open(c, f, now, out);
    }
}

ssize_t gsi_derp_feed(struct derp_client *c, const void *in, size_t len, uint64_t now, struct derp_event *out)
{
    const uint8_t *p = in, *end = p + len;
    *out = (struct derp_event){0};
    if (len)
        c->heard_ns = now;
    while (!c->error && p < end && out->kind == DERP_NOTHING) {
        struct derp_frame f = {0};
        ssize_t k = c->state == EXPECT_ANSWER ? feed_answer(c, (const char *)p, (size_t)(end - p))
                                              : gsi_derp_frames_feed(&c->frames, p, (size_t)(end - p), &f);
        if (k == GS_EINVALID && c->state != EXPECT_ANSWER)
            k = malformed(c, "frame: it is too long");
        int e = k < 0 ? (int)k : f.whole ? on_frame(c, &f, now, out) : 0;
        if (e < 0) {
            *out = (struct derp_event){0};
            c->error = e;
        } else
            p += k;
    }
    return c->error ? c->error : p - (const uint8_t *)in;
}

/* ---- packets ---- */

/* As the relay's own bucket, whose overflow would be dropped there. */
static bool spend(struct derp_client *c, size_t n, uint64_t now)
{
    if (!c->rate)
        return true;
    uint64_t passed = now - c->tokens_ns;
    if (passed >= SECOND * (c->burst / c->rate + 1)) {
        c->tokens = c->burst;
        c->tokens_ns = now;
    } else {
        uint64_t earned = (uint64_t)((double)passed * (double)c->rate / SECOND);
        if (earned) {
            c->tokens = c->tokens + earned < c->burst ? c->tokens + earned : c->burst;
            c->tokens_ns = now;
        }
    }
    if (c->tokens < n)
        return false;
    c->tokens -= n;
    return true;
}

int gsi_derp_send(struct derp_client *c, const uint8_t key[KEY_LEN], const void *packet, size_t n, bool disco, uint64_t now)
{
    if (c->error || c->state != OPEN)
        return -ENOTCONN;
    if (n > DERP_PACKET_MAX)
        return -EMSGSIZE;
    enum derp_what what = disco ? DERP_WHAT_DISCO : DERP_WHAT_PACKET;
    bool room = gsi_derp_outbox_has_room(&c->out, what) && spend(c, KEY_LEN + n, now);
    uint8_t *body = room ? gsi_derp_outbox_frame(&c->out, DERP_SEND_PACKET, KEY_LEN + n, what) : NULL;
    if (!body) {
        c->stat.dropped++;
        return -EAGAIN;
    }
    memcpy(body, key, KEY_LEN);
    if (n)
        memcpy(body + KEY_LEN, packet, n);
    return 0;
}

void gsi_derp_prefer(struct derp_client *c, bool preferred)
{
    c->preferred = preferred;
    tell_preferred(c);
}

void gsi_derp_ping(struct derp_client *c, uint64_t now)
{
    bool may = c->state == OPEN && !c->ping_ns;
    uint8_t *body = may ? gsi_derp_outbox_frame(&c->out, DERP_PING, DERP_PING_LEN, DERP_WHAT_OTHER) : NULL;
    if (!body)
        return;
    gsi_random(c->ping, DERP_PING_LEN);
    memcpy(body, c->ping, DERP_PING_LEN);
    c->ping_ns = now ? now : 1;
}

/* ---- what it tells ---- */

const uint8_t *gsi_derp_server_key(const struct derp_client *c) { return c->state > EXPECT_SERVER_KEY ? c->server : NULL; }
struct derp_stat gsi_derp_stat(const struct derp_client *c) { return c->stat; }

uint64_t gsi_derp_deadline(const struct derp_client *c)
{
    uint64_t at = c->state == OPEN ? c->heard_ns + DERP_READ_TIMEOUT : c->began_ns + DERP_CONNECT_TIMEOUT;
    if (c->ping_ns && c->ping_ns + DERP_PING_TIMEOUT < at)
        at = c->ping_ns + DERP_PING_TIMEOUT;
    return c->error ? DERP_NEVER : at;
}

int gsi_derp_tick(struct derp_client *c, uint64_t now)
{
    if (c->error || now < gsi_derp_deadline(c))
        return c->error;
    return c->error = gs_fail(
               GS_ETIMEOUT, c->state == OPEN ? "the relay %s is silent" : "the relay %s does not finish its handshake", c->host);
}
