/* relay.c: relay.h.
 *
 *   EXPECT_REQUEST      GET /derp, Upgrade: DERP   -> 101, ServerKey       (GET /derp/probe, /derp/latency-check: 200)
 *   EXPECT_CLIENT_INFO  ClientInfo                 -> ServerInfo
 *   OPEN                SendPacket, Ping, NotePreferred …
 */
#include "tailnet/derp/relay.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/json/json.h"

enum state { EXPECT_REQUEST, EXPECT_CLIENT_INFO, OPEN };

enum { BUCKETS_MIN = 64, SECOND = 1000000000, DISCO_MAGIC = 6 };

struct relay_conn {
    struct relay *relay;
    struct relay_conn *prev, *next;     /* of all */
    struct relay_conn *older, *chain;   /* of this key; of this bucket, the newest of each key */
    struct relay_conn *ready;           /* of those with something to send */
    void *user;
    enum state state;
    bool is_ready, preferred;
    int error;
    uint8_t key[KEY_LEN], shared[KEY_LEN];
    struct derp_frames frames;
    struct derp_outbox out;
    char *http; /* the request's head, while it comes */
    size_t http_n;
    uint64_t deadline_ns, not_here_ns;
    int not_here;
    uint8_t (*sent_to)[KEY_LEN]; /* a ring of the last RELAY_CONVERSED */
    int sent_to_n, sent_to_at;
};

struct relay {
    uint8_t private[KEY_LEN], public[KEY_LEN], salt[KEY_LEN];
    int most, named;
    struct relay_conn *all, *ready_first, *ready_last;
    struct relay_conn **bucket;
    size_t buckets; /* a power of 2 */
    struct relay_stat stat;
};

/* ---- who is here ---- */

/* Keys are points of a curve: their bytes are as good as a hash, but chosen by the peers; the salt is ours. */
static size_t bucket_of(const struct relay *r, const uint8_t key[KEY_LEN])
{
    uint64_t h = 0;
    for (int i = 0; i < KEY_LEN; i++)
        h = (h ^ key[i] ^ r->salt[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h >> 32) & (r->buckets - 1);
}

static struct relay_conn **place_of(const struct relay *r, const uint8_t key[KEY_LEN])
{
    struct relay_conn **at = &r->bucket[bucket_of(r, key)];
    while (*at && memcmp((*at)->key, key, KEY_LEN) != 0)
        at = &(*at)->chain;
    return at;
}

/* More buckets when they get long; without memory for them they stay long. */
static void spread(struct relay *r)
{
    size_t before = r->buckets;
    struct relay_conn **was = r->bucket, **now = (size_t)r->named > before ? OPENSSL_zalloc(2 * before * sizeof *now) : NULL;
    if (!now)
        return;
    r->bucket = now;
    r->buckets = 2 * before;
    for (size_t i = 0; i < before; i++)
        for (struct relay_conn *c = was[i], *next; c; c = next) {
            struct relay_conn **at = &now[bucket_of(r, c->key)];
            next = c->chain;
            c->chain = *at;
            *at = c;
        }
    OPENSSL_free(was);
}

static void get_ready(struct relay_conn *c)
{
    struct relay *r = c->relay;
    if (c->is_ready)
        return;
    c->is_ready = true;
    c->ready = NULL;
    if (r->ready_last)
        r->ready_last->ready = c;
    else
        r->ready_first = c;
    r->ready_last = c;
}

struct relay_conn *gsi_relay_next_ready(struct relay *r)
{
    struct relay_conn *c = r->ready_first;
    if (!c)
        return NULL;
    r->ready_first = c->ready;
    if (!r->ready_first)
        r->ready_last = NULL;
    c->is_ready = false;
    return c;
}

/* Room in somebody's outbox: its oldest packets go. NULL: no memory. */
static uint8_t *put(struct relay_conn *c, enum derp_type type, size_t n, enum derp_what what)
{
    while (what != DERP_WHAT_OTHER && !gsi_derp_outbox_has_room(&c->out, what) && gsi_derp_outbox_drop(&c->out))
        c->relay->stat.dropped++;
    uint8_t *body = gsi_derp_outbox_frame(&c->out, type, n, what);
    if (body)
        get_ready(c);
    return body;
}

static void say_health(struct relay_conn *c, const char *text)
{
    size_t n = strlen(text);
    uint8_t *body = put(c, DERP_HEALTH, n, DERP_WHAT_OTHER);
    if (body && n)
        memcpy(body, text, n);
}

static void appear(struct relay_conn *c)
{
    static const char twice[] = "another connection has this node's key: two programs with one state";
    struct relay *r = c->relay;
    struct relay_conn **at = place_of(r, c->key);
    c->older = *at;
    c->chain = *at ? (*at)->chain : NULL;
    *at = c;
    if (c->older) {
        say_health(c, twice);
        say_health(c->older, twice);
    } else {
        r->named++;
        spread(r);
    }
}

static void disappear(struct relay_conn *c)
{
    struct relay *r = c->relay;
    struct relay_conn **at = place_of(r, c->key);
    if (*at == c) {
        *at = c->older ? c->older : c->chain;
        if (c->older)
            c->older->chain = c->chain;
    } else
        for (struct relay_conn *n = *at; n; n = n->older)
            if (n->older == c)
                n->older = c->older;
    struct relay_conn *left = *place_of(r, c->key);
    if (!left)
        r->named--;
    else if (!left->older)
        say_health(left, "");
}

/* ---- the relay ---- */

struct relay *gsi_relay_new(const uint8_t private[KEY_LEN], int connections_max)
{
    struct relay *r = OPENSSL_zalloc(sizeof *r);
    if (!r)
        return NULL;
    memcpy(r->private, private, KEY_LEN);
    gsi_x25519_public(r->public, private);
    gsi_random(r->salt, sizeof r->salt);
    r->most = connections_max;
    r->buckets = BUCKETS_MIN;
    r->bucket = OPENSSL_zalloc(BUCKETS_MIN * sizeof *r->bucket);
    if (r->bucket)
        return r;
    gsi_relay_free(r);
    return NULL;
}

void gsi_relay_free(struct relay *r)
{
    if (!r)
        return;
    while (r->all)
        gsi_relay_leave(r->all);
    OPENSSL_free(r->bucket);
    OPENSSL_clear_free(r, sizeof *r);
}

const uint8_t *gsi_relay_public(const struct relay *r) { return r->public; }
struct relay_stat gsi_relay_stat(const struct relay *r) { return r->stat; }
void *gsi_relay_user(const struct relay_conn *c) { return c->user; }
const uint8_t *gsi_relay_who(const struct relay_conn *c) { return c->state == OPEN ? c->key : NULL; }

struct relay_conn *gsi_relay_join(struct relay *r, void *user, uint64_t now)
{
    struct relay_conn *c = r->stat.connections < r->most ? OPENSSL_zalloc(sizeof *c) : NULL;
    if (!c)
        return NULL;
    *c = (struct relay_conn){.relay = r, .user = user, .next = r->all, .deadline_ns = now + RELAY_HANDSHAKE};
    if (r->all)
        r->all->prev = c;
    r->all = c;
    r->stat.connections++;
    return c;
}

static void tell_gone(struct relay_conn *to, const uint8_t key[KEY_LEN], uint8_t why)
{
    uint8_t *body = put(to, DERP_PEER_GONE, KEY_LEN + 1, DERP_WHAT_OTHER);
    if (!body)
        return;
    memcpy(body, key, KEY_LEN);
    body[KEY_LEN] = why;
}

static void unlist(struct relay_conn *c)
{
    struct relay *r = c->relay;
    if (c->prev)
        c->prev->next = c->next;
    else
        r->all = c->next;
    if (c->next)
        c->next->prev = c->prev;
    struct relay_conn *before = NULL;
    for (struct relay_conn *n = c->is_ready ? r->ready_first : NULL; n; before = n, n = n->ready)
        if (n == c) {
            if (before)
                before->ready = c->ready;
            else
                r->ready_first = c->ready;
            if (r->ready_last == c)
                r->ready_last = before;
            break;
        }
    r->stat.connections--;
}

void gsi_relay_leave(struct relay_conn *c)
{
    unlist(c);
    if (c->state == OPEN) {
        disappear(c);
        bool gone = !*place_of(c->relay, c->key);
        for (int i = 0; gone && i < c->sent_to_n; i++) {
            struct relay_conn *to = *place_of(c->relay, c->sent_to[i]);
            if (to)
                tell_gone(to, c->key, DERP_GONE_DISCONNECTED);
        }
    }
    gsi_derp_frames_fini(&c->frames);
    gsi_derp_outbox_fini(&c->out);
    OPENSSL_free(c->http);
    OPENSSL_free(c->sent_to);
    OPENSSL_clear_free(c, sizeof *c);
}

/* ---- HTTP ---- */

static int say_http(struct relay_conn *c, const char *text)
{
    size_t n = strlen(text);
    uint8_t *p = gsi_derp_outbox_put(&c->out, n, DERP_WHAT_OTHER);
    if (!p)
        return -ENOMEM;
    memcpy(p, text, n);
    get_ready(c);
    return 0;
}

static int say_other(struct relay_conn *c, const char *text)
{
    int e = say_http(c, text);
    return e < 0 ? e : GS_ECLOSED;
}

static int say_server_key(struct relay_conn *c)
{
    uint8_t *body = put(c, DERP_SERVER_KEY, DERP_MAGIC_LEN + KEY_LEN, DERP_WHAT_OTHER);
    if (!body)
        return -ENOMEM;
    memcpy(body, gsi_derp_magic, DERP_MAGIC_LEN);
    memcpy(body + DERP_MAGIC_LEN, c->relay->public, KEY_LEN);
    return 0;
}

static int on_request(struct relay_conn *c)
{
    static const char yes[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\nDerp-Version: 2\r\n\r\n";
    static const char empty[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\n\r\n";
    static const char no[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    static const char upgrade[] =
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: DERP\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (strncmp(c->http, "GET /derp/probe ", 16) == 0 || strncmp(c->http, "GET /derp/latency-check ", 24) == 0)
        return say_other(c, empty);
    if (strncmp(c->http, "GET /derp ", 10) != 0)
        return say_other(c, no);
    if (!strcasestr(c->http, "\r\nUpgrade: DERP\r\n"))
        return say_other(c, upgrade);
    int e = say_http(c, yes);
    if (e == 0)
        e = say_server_key(c);
    c->state = EXPECT_CLIENT_INFO;
    return e;
}

/* The bytes of the head that were taken, or why it ends here. */
static ssize_t feed_request(struct relay_conn *c, const char *in, size_t len)
{
    if (!c->http && !(c->http = OPENSSL_malloc(RELAY_HTTP_MAX + 1)))
        return -ENOMEM;
    for (size_t used = 0; used < len;) {
        if (c->http_n == RELAY_HTTP_MAX || !in[used])
            return GS_EINVALID;
        c->http[c->http_n++] = in[used++];
        c->http[c->http_n] = 0;
        if (c->http_n < 4 || memcmp(c->http + c->http_n - 4, "\r\n\r\n", 4) != 0)
            continue;
        int e = on_request(c);
        OPENSSL_free(c->http);
        c->http = NULL;
        return e < 0 ? e : (ssize_t)used;
    }
    return (ssize_t)len;
}

/* ---- frames ---- */

static int on_client_info(struct relay_conn *c, struct reader r, uint64_t now)
{
    static const char info[] = "{\"version\":2}";
    uint8_t text[DERP_INFO_MAX];
    const uint8_t *key = read_bytes(&r, KEY_LEN), *nonce = read_bytes(&r, XNONCE_LEN);
    if (!r.ok || r.n < BOX_OVERHEAD || r.n > sizeof text + BOX_OVERHEAD || !gsi_box_key(c->shared, c->relay->private, key))
        return GS_EINVALID;
    if (!gsi_box_open(text, c->shared, nonce, r.p, r.n))
        return -EACCES;
    struct json j = gsi_json_of(text, r.n - BOX_OVERHEAD);
    gsi_json_skip(&j);
    if (gsi_json_end(&j) < 0)
        return GS_EINVALID;
    uint8_t *body = put(c, DERP_SERVER_INFO, XNONCE_LEN + BOX_OVERHEAD + sizeof info - 1, DERP_WHAT_OTHER);
    if (!body)
        return -ENOMEM;
    gsi_random(body, XNONCE_LEN);
    gsi_box_seal(body + XNONCE_LEN, c->shared, body, info, sizeof info - 1);
    memcpy(c->key, key, KEY_LEN);
    c->state = OPEN;
    c->deadline_ns = now + RELAY_KEEP_ALIVE;
    appear(c);
    return 0;
}

/* Whose end somebody is to be told of. Without memory nobody is. */
static void remember(struct relay_conn *c, const uint8_t key[KEY_LEN])
{
    for (int i = 0; i < c->sent_to_n; i++)
        if (memcmp(c->sent_to[i], key, KEY_LEN) == 0)
            return;
    if (!c->sent_to && !(c->sent_to = OPENSSL_malloc(RELAY_CONVERSED * sizeof *c->sent_to)))
        return;
    memcpy(c->sent_to[c->sent_to_at], key, KEY_LEN);
    c->sent_to_at = (c->sent_to_at + 1) % RELAY_CONVERSED;
    c->sent_to_n += c->sent_to_n < RELAY_CONVERSED;
}

static void not_here(struct relay_conn *c, const uint8_t key[KEY_LEN], uint64_t now)
{
    if (now - c->not_here_ns >= SECOND) {
        c->not_here_ns = now;
        c->not_here = 0;
    }
    if (c->not_here++ < RELAY_NOT_HERE_PER_S)
        tell_gone(c, key, DERP_GONE_NOT_HERE);
}

static int on_packet(struct relay_conn *c, struct reader r, uint64_t now)
{
    static const uint8_t disco_magic[DISCO_MAGIC] = {0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac};
    const uint8_t *key = read_bytes(&r, KEY_LEN);
    if (!r.ok)
        return GS_EINVALID;
    bool disco = r.n >= DISCO_MAGIC && memcmp(r.p, disco_magic, DISCO_MAGIC) == 0;
    struct relay_conn *to = *place_of(c->relay, key);
    if (!to) {
        c->relay->stat.unknown++;
        if (disco)
            not_here(c, key, now);
        return 0;
    }
    uint8_t *body = put(to, DERP_RECV_PACKET, KEY_LEN + r.n, disco ? DERP_WHAT_DISCO : DERP_WHAT_PACKET);
    if (!body) {
        c->relay->stat.dropped++;
        return 0;
    }
    memcpy(body, c->key, KEY_LEN);
    if (r.n)
        memcpy(body + KEY_LEN, r.p, r.n);
    c->relay->stat.relayed++;
    remember(c, key);
    return 0;
}

static int on_frame(struct relay_conn *c, const struct derp_frame *f, uint64_t now)
{
    struct reader r = reader_of(f->body, f->n);
    uint8_t *pong;
    if (c->state == EXPECT_CLIENT_INFO)
        return f->type == DERP_CLIENT_INFO ? on_client_info(c, r, now) : GS_EINVALID;
    switch (f->type) {
    case DERP_SEND_PACKET: return on_packet(c, r, now);
    case DERP_PING:
        if (f->n < DERP_PING_LEN)
            return GS_EINVALID;
        if ((pong = put(c, DERP_PONG, DERP_PING_LEN, DERP_WHAT_OTHER)))
            memcpy(pong, f->body, DERP_PING_LEN);
        return 0;
    case DERP_NOTE_PREFERRED:
        if (f->n != 1)
            return GS_EINVALID;
        c->preferred = *f->body;
        return 0;
    case DERP_PONG: return 0;
    case DERP_CLIENT_INFO:
    case DERP_FORWARD_PACKET:
    case DERP_WATCH_CONNS:
    case DERP_CLOSE_PEER: return -EACCES; /* a mesh's, and we are none */
    default: return 0;
    }
}

int gsi_relay_feed(struct relay_conn *c, const void *in, size_t len, uint64_t now)
{
    const uint8_t *p = in, *end = p + len;
    while (!c->error && p < end) {
        struct derp_frame f = {0};
        ssize_t k = c->state == EXPECT_REQUEST ? feed_request(c, (const char *)p, (size_t)(end - p))
                                               : gsi_derp_frames_feed(&c->frames, p, (size_t)(end - p), &f);
        c->error = k < 0 ? (int)k : f.whole ? on_frame(c, &f, now) : 0;
        p += k < 0 ? 0 : k;
    }
    return c->error;
}

size_t gsi_relay_output(struct relay_conn *c, const uint8_t **p) { return gsi_derp_outbox_output(&c->out, p); }

void gsi_relay_sent(struct relay_conn *c, size_t n)
{
    uint64_t packets = 0;
    gsi_derp_outbox_sent(&c->out, n, &packets);
}

/* ---- time ---- */

uint64_t gsi_relay_deadline(const struct relay_conn *c) { return c->deadline_ns; }

int gsi_relay_tick(struct relay_conn *c, uint64_t now)
{
    if (now < c->deadline_ns)
        return 0;
    if (c->state != OPEN)
        return GS_ETIMEOUT;
    (void)put(c, DERP_KEEP_ALIVE, 0, DERP_WHAT_OTHER);
    c->deadline_ns = now + RELAY_KEEP_ALIVE;
    return 0;
}
