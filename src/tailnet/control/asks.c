/* asks.c: requests, from what the caller asks to the event that ends each. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#include "tailnet/control/inside.h"

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static void forget(struct ask *a)
{
    OPENSSL_clear_free(a->body, a->body_n); /* an auth key may be in it */
    OPENSSL_free(a->answer);
    OPENSSL_free(a->path);
    memset(a, 0, sizeof *a);
}

void gsi_asks_free(struct control *c)
{
    for (struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++)
        forget(a);
    gsi_map_stream_fini(&c->messages);
    OPENSSL_free(c->raw);
    c->raw = NULL;
    c->raw_n = c->raw_cap = 0;
}

bool gsi_asks_wait(const struct control *c)
{
    for (const struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++)
        if (a->state == ASK_SENT)
            return true;
    return false;
}

static struct ask *map_ask(struct control *c)
{
    for (struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++)
        if (a->state != ASK_FREE && a->request == CONTROL_MAP_STREAM)
            return a;
    return NULL;
}

/* ---- asking ---- */

static int begin(struct control *c, enum control_request request, uint64_t now, struct ask **out)
{
    *out = NULL;
    if (c->error)
        return c->error;
    if (request == CONTROL_MAP_STREAM && map_ask(c))
        return gs_fail(-EBUSY, "a map stream runs already: servers allow a node one");
    c->now = now;
    for (struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++)
        if (a->state == ASK_FREE) {
            a->request = request;
            a->deadline = now + ANSWER_S * CONTROL_SECOND;
            *out = a;
            return 0;
        }
    return gs_fail(-EBUSY, "%d requests run on this connection already", ASKS_MAX);
}

/* The body was written to a->body, n bytes or an error; then it goes out. */
static int go(struct control *c, struct ask *a, ssize_t n)
{
    if (n < 0) {
        a->body_n = a->body ? ASK_BODY_MAX : 0;
        forget(a);
        return (int)n;
    }
    a->body_n = (size_t)n;
    a->state = ASK_WAITS;
    if (a->request == CONTROL_MAP_STREAM)
        c->watchdog = c->now + WATCHDOG_S * CONTROL_SECOND;
    if (!gsi_asks_wait(c))
        c->quiet_by = c->now + QUIET_S * CONTROL_SECOND;
    int e = c->http2.session ? gsi_h2_submit(c, a) : 0;
    if (e)
        forget(a);
    return e;
}

static int with_body(struct ask *a)
{
    a->body = OPENSSL_malloc(ASK_BODY_MAX);
    return a->body ? 0 : -ENOMEM;
}

static int ask_register(struct control *c, const struct register_request *r, bool logout, uint64_t now)
{
    struct ask *a;
    int e = begin(c, logout ? CONTROL_LOGOUT : CONTROL_REGISTER, now, &a);
    if (e)
        return e;
    if (with_body(a) != 0)
        return go(c, a, -ENOMEM);
    ssize_t n = gsi_register_body(a->body, ASK_BODY_MAX, c->version, r, logout);
    if (n >= 0) {
        gsi_text_put_key(a->lb[0], "nodekey:", r->node_key);
        if (r->old_node_key)
            gsi_text_put_key(a->lb[1], "nodekey:", r->old_node_key);
    }
    if (r->followup && *r->followup)
        a->deadline = UINT64_MAX;
    return go(c, a, n);
}

int gsi_control_register(struct control *c, const struct register_request *r, uint64_t now)
{
    return ask_register(c, r, false, now);
}

int gsi_control_logout(struct control *c, const struct register_request *r, uint64_t now)
{
    return ask_register(c, r, true, now);
}

static int ask_map(struct control *c, const struct map_request *r, bool stream, uint64_t now)
{
    struct ask *a;
    int e = begin(c, stream ? CONTROL_MAP_STREAM : CONTROL_UPDATE, now, &a);
    if (e)
        return e;
    if (with_body(a) != 0)
        return go(c, a, -ENOMEM);
    ssize_t n = gsi_map_body(a->body, ASK_BODY_MAX, c->version, r, stream);
    if (n >= 0)
        gsi_text_put_key(a->lb[0], "nodekey:", r->node_key);
    if (n >= 0 && stream) {
        a->deadline = UINT64_MAX;
        gsi_map_stream_fini(&c->messages);
        gsi_map_stream_init(&c->messages, r->compress, c->frame_max, c->decoded_max);
    }
    return go(c, a, n);
}

int gsi_control_map(struct control *c, const struct map_request *r, uint64_t now) { return ask_map(c, r, true, now); }
int gsi_control_update(struct control *c, const struct map_request *r, uint64_t now) { return ask_map(c, r, false, now); }

int gsi_control_ping(struct control *c, const struct url *url, uint64_t now)
{
    struct ask *a;
    int e = begin(c, CONTROL_PING, now, &a);
    if (e)
        return e;
    a->path = OPENSSL_strdup(url->path);
    return go(c, a, a->path ? 0 : -ENOMEM);
}

/* ---- being answered ---- */

/* Over, whatever the server still says. */
static void give_up(struct control *c, struct ask *a, int code)
{
    gsi_h2_reset(c, a);
    gsi_ask_end(c, a, code);
}

void gsi_ask_header(struct control *c, struct ask *a, const char *name, size_t name_n, const char *value, size_t n)
{
    enum { PER_FIELD = 32 };
    a->headers_n += name_n + n + PER_FIELD;
    if (a->headers_n > HEADERS_MAX) {
        give_up(c, a, -EMSGSIZE);
    } else if (name_n == 7 && memcmp(name, ":status", 7) == 0 && n == 3) {
        a->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + value[2] - '0';
    } else if (name_n == 11 && memcmp(name, "retry-after", 11) == 0 && n < sizeof a->retry_after) {
        memcpy(a->retry_after, value, n);
        a->retry_after[n] = 0;
    } else if (name_n == 4 && memcmp(name, "date", 4) == 0 && n < sizeof a->date) {
        memcpy(a->date, value, n);
        a->date[n] = 0;
    }
}

/* Behind p's bytes, up to max in all; more is left out. */
static int keep(uint8_t **p, size_t *have, size_t *cap, size_t max, const uint8_t *from, size_t n)
{
    n = smaller(n, max - *have);
    if (*have + n > *cap) {
        size_t to = *cap ? *cap : 1024;
        while (to < *have + n)
            to *= 2;
        uint8_t *fresh = OPENSSL_realloc(*p, to);
        if (!fresh)
            return -ENOMEM;
        *p = fresh;
        *cap = to;
    }
    if (n)
        memcpy(*p + *have, from, n);
    *have += n;
    return 0;
}

/* The window is opened again when the messages in it were taken. The server's own fault when more comes: nghttp2 counts. */
static int keep_raw(struct control *c, const uint8_t *p, size_t n)
{
    if (c->raw_at) {
        memmove(c->raw, c->raw + c->raw_at, c->raw_n - c->raw_at);
        c->raw_n -= c->raw_at;
        c->raw_at = 0;
    }
    return n > STREAM_WINDOW - c->raw_n ? GS_EINVALID : keep(&c->raw, &c->raw_n, &c->raw_cap, STREAM_WINDOW, p, n);
}

int gsi_ask_body(struct control *c, struct ask *a, const uint8_t *p, size_t n)
{
    int32_t stream = a->stream;
    int e = 0;
    bool good = a->status == 200, kept = good && (a->request == CONTROL_REGISTER || a->request == CONTROL_LOGOUT);
    if (good && a->request == CONTROL_MAP_STREAM) {
        e = keep_raw(c, p, n);
        if (e == 0)
            return 0;
    } else if (kept && n > ANSWER_MAX - a->answer_n) {
        e = -EMSGSIZE;
    } else if (kept || !good) {
        e = keep(&a->answer, &a->answer_n, &a->answer_cap, kept ? ANSWER_MAX : WORDS_MAX, p, n);
    }
    a->drained += n;
    if (a->drained > c->frame_max)
        e = -EMSGSIZE;
    gsi_h2_consumed(c, stream, n);
    if (e || (!good && a->answer_n == WORDS_MAX)) /* of a refusal nothing more is wanted */
        give_up(c, a, e);
    return e;
}

void gsi_ask_end(struct control *c, struct ask *a, int code)
{
    (void)c;
    a->state = ASK_DONE;
    a->stream = 0;
    a->code = code;
    a->deadline = UINT64_MAX;
}

/* ---- events ---- */

static const char *words(struct control *c, const void *p, size_t n)
{
    gsi_text_words(c->text, WORDS_MAX + 1, p, n);
    return c->text;
}

/* tailnet-protocol.md 3: the order of decisions is Go's. */
static void judge_register(struct control *c, struct ask *a, struct control_event *e)
{
    struct register_answer r;
    int code = gsi_register_answer_read(a->answer, a->answer_n, &r);
    const char *text = "";
    if (code) {
        e->type = CONTROL_FAILED;
        e->status = 0;
        e->code = code;
    } else if (*r.error) {
        e->type = CONTROL_REJECTED;
        text = r.error;
    } else if (a->request == CONTROL_LOGOUT) {
        e->type = CONTROL_LOGGED_OUT;
    } else if (r.wants_signature) {
        e->type = CONTROL_NEEDS_SIGNATURE;
    } else if (r.node_key_expired) {
        e->type = CONTROL_KEY_EXPIRED;
    } else if (*r.auth_url) {
        e->type = CONTROL_NEEDS_LOGIN;
        text = r.auth_url;
    } else {
        e->type = r.machine_authorized ? CONTROL_LOGGED_IN : CONTROL_NEEDS_APPROVAL;
        text = r.login_name;
    }
    memcpy(c->text, text, strlen(text) + 1);
    e->text = c->text;
}

static void judge(struct control *c, struct ask *a, struct control_event *e)
{
    e->request = a->request;
    e->status = a->status;
    e->code = a->code;
    bool ended = a->request == CONTROL_MAP_STREAM && a->status == 200;
    if (ended) {
        e->type = CONTROL_MAP_ENDED;
        e->code = a->code ? a->code : GS_ECLOSED;
    } else if (a->code || !a->status) {
        e->type = CONTROL_FAILED;
        e->status = 0;
        e->code = a->code ? a->code : GS_ECLOSED;
    } else if (a->status == 429 || a->status == 503) {
        e->type = CONTROL_RATE_LIMITED;
        e->wait_ns = gsi_retry_after_ns(a->retry_after, strlen(a->retry_after), a->date, strlen(a->date));
    } else if (a->request == CONTROL_PING) {
        e->type = CONTROL_PINGED;
    } else if (a->status != 200) {
        e->type = CONTROL_FAILED;
        e->text = words(c, a->answer, a->answer_n);
    } else if (a->request == CONTROL_UPDATE) {
        e->type = CONTROL_UPDATED;
    } else {
        judge_register(c, a, e);
    }
}

/* The next message of what has come; true: there is one. A malformed one ends the request. */
static bool next_message(struct control *c, struct ask *a, struct control_event *e)
{
    while (c->raw_at < c->raw_n) {
        ssize_t k = gsi_map_stream_feed(&c->messages, c->raw + c->raw_at, c->raw_n - c->raw_at, &e->message);
        size_t used = k < 0 ? c->raw_n - c->raw_at : (size_t)k;
        gsi_h2_consumed(c, a->stream, used);
        c->raw_at += used;
        if (k < 0)
            give_up(c, a, (int)k);
        else if (e->message.p) {
            c->watchdog = c->now + WATCHDOG_S * CONTROL_SECOND;
            e->type = CONTROL_MAP;
            e->request = CONTROL_MAP_STREAM;
            e->status = a->status;
            return true;
        }
    }
    c->raw_at = c->raw_n = 0;
    if (a->state == ASK_DONE && !a->code && a->status == 200)
        a->code = gsi_map_stream_end(&c->messages) == 0 ? 0 : GS_ECLOSED;
    return false;
}

static bool once(bool is, bool *told)
{
    bool now = is && !*told;
    *told |= now;
    return now;
}

bool gsi_control_next(struct control *c, struct control_event *e)
{
    *e = (struct control_event){.text = ""};
    if (once(c->state == OPEN, &c->told_open)) {
        e->type = CONTROL_OPEN;
        return true;
    }
    for (struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++) {
        if (a->request == CONTROL_MAP_STREAM && (a->state == ASK_SENT || a->state == ASK_DONE) && next_message(c, a, e))
            return true;
        if (a->state == ASK_DONE) {
            judge(c, a, e);
            forget(a);
            return true;
        }
    }
    if (once(c->going_away, &c->told_going_away)) {
        e->type = CONTROL_GOING_AWAY;
        return true;
    }
    return false;
}
