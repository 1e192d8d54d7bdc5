/* coordination.c: a control server and its connections: their bytes (HTTP/1.1, the upgrade, HTTP/2 in records), their time. */
#include "tailnet/lab/coordination.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tailnet/keys/key.h"
#include "tailnet/lab/inside.h"

static const char protocol[] = "tailscale-control-protocol";

enum { INITIATION_TEXT_LEN = (NOISE_INITIATION_LEN + 2) / 3 * 4 };

/* ---- the server ---- */

static bool take_text(char *out, size_t max, const char *text)
{
    size_t n = strlen(text);
    if (n > max)
        return false;
    memcpy(out, text, n + 1);
    return true;
}

static bool is_domain(const char *text)
{
    size_t label = 0;
    for (; *text; text++)
        if (*text == '.') {
            if (!label)
                return false;
            label = 0;
        } else if ((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') || *text == '-') {
            if (++label > 63)
                return false;
        } else
            return false;
    return label > 0;
}

static int take_names(struct coordination *s, const struct coordination_config *config)
{
    char login[COORDINATION_DOMAIN_MAX + 8];
    if (!take_text(s->domain, COORDINATION_DOMAIN_MAX, config->domain ? config->domain : "lab.test") || !is_domain(s->domain))
        return gs_fail(GS_EINVALID, "a lab's domain is lower-case labels with dots between, up to %d bytes",
                       COORDINATION_DOMAIN_MAX);
    snprintf(login, sizeof login, "user@%.*s", COORDINATION_LOGIN_MAX - 5, s->domain);
    const char *owner = config->login ? config->login : login;
    if (gsi_lab_account(s, owner) != ACCOUNT_OWNER || gsi_lab_account(s, "tagged-devices") != ACCOUNT_TAGGED
        || !take_text(s->accounts[ACCOUNT_OWNER].display, COORDINATION_LOGIN_MAX, config->display ? config->display : owner))
        return gs_fail(GS_EINVALID, "a lab's login and display name are up to %d bytes of UTF-8, and not tagged-devices",
                       COORDINATION_LOGIN_MAX);
    return gsi_coordination_set_url(s, config->url);
}

int gsi_coordination_new(struct coordination **out, const struct coordination_config *config)
{
    *out = NULL;
    struct coordination *s = OPENSSL_zalloc(sizeof *s);
    if (!s)
        return -ENOMEM;
    memcpy(s->private, config->control_private, KEY_LEN);
    gsi_x25519_public(s->public, s->private);
    s->approval = config->approval;
    s->key_life_ns = config->key_life_ns;
    s->ephemeral_ns = config->ephemeral_ns ? config->ephemeral_ns : 60 * LAB_SECOND;
    s->wall_ns = config->wall_ns;
    s->nodes_max = config->nodes_max ? config->nodes_max : 10000;
    s->connections_max = config->connections_max ? config->connections_max : 4096;
    s->ready_end = &s->ready;
    s->wake = UINT64_MAX;
    int e = take_names(s, config);
    if (e == 0 && config->auth_key && !(s->auth_key = OPENSSL_strdup(config->auth_key)))
        e = -ENOMEM;
    if (e == 0)
        e = gsi_coordination_set_filter(s, config->filter);
    if (e == 0 && !(s->zstd = ZSTD_createCCtx()))
        e = -ENOMEM;
    if (e) {
        gsi_coordination_free(s);
        return e;
    }
    *out = s;
    return 0;
}

void gsi_coordination_free(struct coordination *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->members_n; i++)
        OPENSSL_free(s->members[i]);
    OPENSSL_free(s->members);
    if (s->auth_key)
        OPENSSL_clear_free(s->auth_key, strlen(s->auth_key));
    OPENSSL_free(s->filter);
    OPENSSL_free(s->json);
    ZSTD_freeCCtx(s->zstd);
    OPENSSL_clear_free(s, sizeof *s);
}

const uint8_t *gsi_coordination_public(const struct coordination *s) { return s->public; }

int gsi_coordination_set_url(struct coordination *s, const char *url)
{
    size_t n = url ? strlen(url) : 0;
    if (!n || n > URL_MAX || url[n - 1] == '/' || strncmp(url, "http", 4) != 0)
        return gs_fail(GS_EINVALID, "a lab's URL begins with http, ends without / and has up to %d bytes", URL_MAX);
    memcpy(s->url, url, n + 1);
    return 0;
}

/* ---- connections ---- */

struct coordination_conn *gsi_coordination_join(struct coordination *s, void *user, uint64_t now)
{
    struct coordination_conn *c = s->connections_n < s->connections_max ? OPENSSL_zalloc(sizeof *c) : NULL;
    if (!c)
        return NULL;
    s->now = now;
    c->co = s;
    c->user = user;
    c->state = EXPECT_REQUEST;
    c->until = now + OPEN_S * LAB_SECOND;
    gsi_lab_wake(s, c->until);
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    s->connections_n++;
    return c;
}

void *gsi_coordination_user(const struct coordination_conn *c) { return c->user; }

static void not_ready(struct coordination_conn *c)
{
    struct coordination *s = c->co;
    for (struct coordination_conn **at = &s->ready; *at; at = &(*at)->next_ready)
        if (*at == c) {
            *at = c->next_ready;
            if (s->ready_end == &c->next_ready)
                s->ready_end = at;
            break;
        }
    c->is_ready = false;
}

void gsi_coordination_leave(struct coordination_conn *c, uint64_t now)
{
    struct coordination *s = c->co;
    s->now = now;
    gsi_http2_close(&c->http2);
    gsi_lab_exchanges_free(c);
    if (c->is_ready)
        not_ready(c);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->connections_n--;
    OPENSSL_clear_free(c, sizeof *c);
}

void gsi_lab_ready(struct coordination_conn *c)
{
    if (c->is_ready)
        return;
    c->is_ready = true;
    c->next_ready = NULL;
    *c->co->ready_end = c;
    c->co->ready_end = &c->next_ready;
}

struct coordination_conn *gsi_coordination_next_ready(struct coordination *s)
{
    struct coordination_conn *c = s->ready;
    if (c)
        not_ready(c);
    return c;
}

static void fail(struct coordination_conn *c, int e)
{
    if (c->error)
        return;
    c->error = e;
    c->state = OVER;
    gsi_lab_ready(c);
}

/* ---- HTTP/1.1: one request, then the answer and the end, or the channel ---- */

static void answer_text(struct coordination_conn *c, const char *status, const char *type, const char *body)
{
    int n = snprintf(c->text, sizeof c->text,
                     "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, type,
                     strlen(body), body);
    c->text_n = (size_t)n < sizeof c->text ? (size_t)n : sizeof c->text - 1;
    c->state = ANSWERED;
}

/* The value of a header in head, up to the end of its line, without blanks around; NULL: there is none. */
static const char *header(const char *head, const char *name, size_t *n)
{
    size_t name_n = strlen(name);
    for (const char *line = strchr(head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, name_n) != 0 || line[name_n] != ':')
            continue;
        const char *value = line + name_n + 1;
        value += strspn(value, " \t");
        *n = strcspn(value, "\r\n");
        while (*n && (value[*n - 1] == ' ' || value[*n - 1] == '\t'))
            --*n;
        return value;
    }
    return NULL;
}

static void upgrade(struct coordination_conn *c)
{
    uint8_t initiation[INITIATION_TEXT_LEN / 4 * 3];
    size_t n = 0;
    const char *value = header(c->head, "Upgrade", &n);
    if (!value || n != sizeof protocol - 1 || strncasecmp(value, protocol, n) != 0) {
        answer_text(c, "400 Bad Request", "text/plain", "this needs Upgrade: tailscale-control-protocol\n");
        return;
    }
    value = header(c->head, "X-Tailscale-Handshake", &n);
    /* 101 bytes: the last of 136 digits fills up, and no other. */
    if (!value || n != INITIATION_TEXT_LEN || value[n - 1] != '=' || memchr(value, '=', n - 1)
        || EVP_DecodeBlock(initiation, (const unsigned char *)value, (int)n) != (int)sizeof initiation) {
        answer_text(c, "400 Bad Request", "text/plain", "missing Tailscale handshake header\n");
        return;
    }
    gsi_noise_server(&c->noise, c->co->private);
    c->text_n = (size_t)snprintf(c->text, sizeof c->text,
                                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: upgrade\r\n\r\n", protocol);
    if ((initiation[0] << 8 | initiation[1]) < COORDINATION_VERSION_MIN) {
        gsi_noise_refuse(&c->noise, "unsupported client version");
        c->state = ANSWERED;
        return;
    }
    ssize_t k = gsi_noise_feed(&c->noise, initiation, NOISE_INITIATION_LEN);
    if (k < 0 || c->noise.state != NOISE_OPEN) {
        c->text_n = 0;
        fail(c, k < 0 ? (int)k : GS_EINVALID);
        return;
    }
    c->state = CHANNEL;
    c->until = c->co->now + IDLE_S * LAB_SECOND;
    gsi_lab_wake(c->co, c->until);
    int e = gsi_lab_h2_start(c);
    if (e)
        fail(c, e);
}

static void serve_key(struct coordination_conn *c)
{
    char key[KEY_TEXT_MAX], body[2 * KEY_TEXT_MAX + 64], none[KEY_TEXT_MAX];
    static const uint8_t zero[KEY_LEN];
    snprintf(body, sizeof body, "{\"legacyPublicKey\":\"%s\",\"publicKey\":\"%s\"}",
             gsi_key_text(KEY_MACHINE, zero, none), gsi_key_text(KEY_MACHINE, c->co->public, key));
    answer_text(c, "200 OK", "application/json", body);
}

static void serve_request(struct coordination_conn *c)
{
    char method[8], path[URL_MAX + 64], url[2 * URL_MAX + 64];
    if (strlen(c->head) != c->head_n || sscanf(c->head, "%7[A-Z] %319[!-~] HTTP/1.", method, path) != 2) {
        answer_text(c, "400 Bad Request", "text/plain", "this is no request that a control server takes\n");
        return;
    }
    bool get = strcmp(method, "GET") == 0, post = strcmp(method, "POST") == 0;
    snprintf(url, sizeof url, "%s%s", c->co->url, path);
    if ((get || post) && strcmp(path, "/ts2021") == 0)
        upgrade(c);
    else if (get && strncmp(path, "/key?v=", 7) == 0)
        serve_key(c);
    else if (get && gsi_lab_login_of(c->co, url))
        answer_text(c, "200 OK", "text/plain", "This machine waits for the owner of the lab to approve its login.\n");
    else
        answer_text(c, "404 Not Found", "text/plain", "404 not found\n");
}

/* How many bytes were taken: all, or up to the end of the request. */
static size_t feed_request(struct coordination_conn *c, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c->head_n == REQUEST_HEAD_MAX) {
            answer_text(c, "431 Request Header Fields Too Large", "text/plain", "too long\n");
            return n;
        }
        c->head[c->head_n++] = (char)in[i];
        if (in[i] == '\n' && c->head_n >= 4 && memcmp(c->head + c->head_n - 4, "\r\n\r\n", 4) == 0) {
            c->head[c->head_n] = 0;
            serve_request(c);
            gsi_lab_ready(c);
            return i + 1;
        }
    }
    return n;
}

static size_t feed_channel(struct coordination_conn *c, const uint8_t *in, size_t n)
{
    uint8_t plain[NOISE_PLAIN_MAX];
    ssize_t k = gsi_noise_feed(&c->noise, in, n);
    if (k < 0) {
        fail(c, (int)k);
        return n;
    }
    size_t got = gsi_noise_take(&c->noise, plain, sizeof plain);
    int e = got ? gsi_http2_feed(&c->http2, plain, got) : 0;
    if (e)
        fail(c, e);
    return (size_t)k;
}

void gsi_coordination_feed(struct coordination_conn *c, const void *in, size_t n, uint64_t now)
{
    const uint8_t *p = in;
    c->co->now = now;
    for (size_t k; n && (c->state == EXPECT_REQUEST || c->state == CHANNEL); p += k, n -= k)
        k = c->state == EXPECT_REQUEST ? feed_request(c, p, n) : feed_channel(c, p, n);
    gsi_lab_ready(c);
}

/* ---- sending ---- */

static size_t take_text_out(struct coordination_conn *c, uint8_t *out, size_t cap)
{
    size_t n = c->text_n - c->text_at;
    n = n < cap ? n : cap;
    if (n)
        memcpy(out, c->text + c->text_at, n);
    c->text_at += n;
    return n;
}

ssize_t gsi_coordination_output(struct coordination_conn *c, void *out, size_t cap, uint64_t now)
{
    uint8_t *p = out;
    size_t got = 0;
    c->co->now = now;
    while (got < cap) {
        size_t n = take_text_out(c, p + got, cap - got);
        if (!n && c->noise.state)
            n = gsi_noise_output(&c->noise, p + got, cap - got);
        got += n;
        if (n)
            continue;
        if (c->state == ANSWERED)
            fail(c, GS_ECLOSED);
        int e = c->state == CHANNEL ? gsi_lab_h2_fill(c) : 0;
        if (e)
            fail(c, e);
        n = c->noise.state ? gsi_noise_output(&c->noise, p + got, cap - got) : 0;
        if (!n)
            break;
        got += n;
    }
    return got || !c->error ? (ssize_t)got : c->error;
}

/* ---- time ---- */

void gsi_lab_wake(struct coordination *s, uint64_t at)
{
    if (at < s->wake)
        s->wake = at;
}

uint64_t gsi_coordination_deadline(const struct coordination *s) { return s->wake; }

static void tick_conn(struct coordination_conn *c, uint64_t now)
{
    struct coordination *s = c->co;
    if (c->state == OVER)
        return;
    for (struct exchange *x = c->exchanges; x; x = x->next) {
        if (!x->answered && !x->login) {
            if (now >= x->until) {
                fail(c, gs_fail(GS_ETIMEOUT, "a request was not whole within %d s", REQUEST_S));
                return;
            }
            gsi_lab_wake(s, x->until);
        }
        if (!x->member)
            continue;
        if (now >= x->keep_alive) {
            x->keep_alive_due = true;
            x->keep_alive = now + KEEP_ALIVE_S * LAB_SECOND;
            gsi_lab_resume(x);
        }
        gsi_lab_wake(s, x->keep_alive);
    }
    if (c->exchanges)
        return;
    if (now >= c->until)
        fail(c, c->http2.session ? GS_ECLOSED : gs_fail(GS_ETIMEOUT, "no channel within %d s", OPEN_S));
    else
        gsi_lab_wake(s, c->until);
}

/* True: it is removed. */
static bool tick_member(struct coordination *s, struct member *m, uint64_t now)
{
    if (!m->expired && m->expiry_s && gsi_lab_wall(s) >= m->expiry_s)
        gsi_lab_member_expire(s, m);
    else if (!m->expired && m->expiry_s)
        gsi_lab_wake(s, now + (uint64_t)(m->expiry_s - gsi_lab_wall(s)) * LAB_SECOND);
    if (m->map)
        return false;
    uint64_t offline = m->gone_at + OFFLINE_S * LAB_SECOND, over = m->gone_at + s->ephemeral_ns;
    if (m->ephemeral && now >= over) {
        gsi_lab_member_remove(s, m);
        return true;
    }
    if (m->online && now >= offline) {
        m->online = false;
        m->last_seen_s = gsi_lab_wall(s);
        gsi_lab_changed(s, m, CHANGED_ONLINE);
    }
    if (m->online)
        gsi_lab_wake(s, offline);
    if (m->ephemeral)
        gsi_lab_wake(s, over);
    return false;
}

void gsi_coordination_tick(struct coordination *s, uint64_t now)
{
    s->now = now;
    if (now < s->wake)
        return;
    s->wake = UINT64_MAX;
    for (int i = 0; i < s->members_n;)
        if (!tick_member(s, s->members[i], now))
            i++;
    for (struct login *l = s->logins; l < s->logins + LOGINS_MAX; l++)
        if (*l->token && now >= l->until && !l->waits)
            gsi_wipe(l, sizeof *l);
        else if (*l->token && !l->waits)
            gsi_lab_wake(s, l->until);
    for (struct coordination_conn *c = s->conns; c; c = c->next)
        tick_conn(c, now);
}
