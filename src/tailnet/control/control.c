/* control.c: the bytes and the time of a control connection: upgrade, handshake, early payload, HTTP/2 in records. */
#include "tailnet/control/control.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/control/inside.h"

enum { REFUSAL_MAX = 64 * 1024 }; /* the body of an answer that is no upgrade */

static const char protocol[] = "tailscale-control-protocol";

int gsi_control_fail(struct control *c, int e)
{
    if (!c->error) {
        c->error = e;
        c->state = OVER;
    }
    return c->error;
}

/* ---- making one ---- */

static void write_hello(struct control *c, const uint8_t initiation[NOISE_INITIATION_LEN])
{
    char text[TEXT_BASE64_LEN(NOISE_INITIATION_LEN) + 1];
    gsi_text_base64(text, initiation, NOISE_INITIATION_LEN);
    int n = snprintf(c->hello, sizeof c->hello,
                     "POST /ts2021 HTTP/1.1\r\nHost: %s\r\nUpgrade: %s\r\nConnection: upgrade\r\n"
                     "X-Tailscale-Handshake: %s\r\nContent-Length: 0\r\n\r\n",
                     c->url.authority, protocol, text);
    c->hello_n = (size_t)n;
}

int gsi_control_new(struct control **out, const struct control_config *config, uint64_t now)
{
    uint8_t initiation[NOISE_INITIATION_LEN];
    struct control *c = OPENSSL_zalloc(sizeof *c);
    *out = NULL;
    if (!c)
        return -ENOMEM;
    c->url = *config->url;
    c->version = config->version ? config->version : CAPABILITY_VERSION;
    c->frame_max = config->map_frame_max ? config->map_frame_max : FRAME_MAX;
    c->decoded_max = config->map_decoded_max ? config->map_decoded_max : DECODED_MAX;
    c->now = now;
    c->opened_by = now + OPEN_S * CONTROL_SECOND;
    gsi_http_init(&c->http, REFUSAL_MAX);
    int e = gsi_noise_client(&c->noise, config->machine_private, config->server_key, c->version, initiation);
    if (e) {
        gsi_control_free(c);
        return e == GS_EINVALID ? gs_fail(e, "the control server's key is none") : e;
    }
    write_hello(c, initiation);
    *out = c;
    return 0;
}

void gsi_control_free(struct control *c)
{
    if (!c)
        return;
    gsi_http2_close(&c->http2);
    gsi_asks_free(c);
    gsi_http_fini(&c->http);
    OPENSSL_clear_free(c, sizeof *c);
}

/* ---- receiving ---- */

static int refused_upgrade(struct control *c)
{
    char words[WORDS_MAX + 1];
    gsi_text_words(words, sizeof words, c->http.body, c->http.body_n);
    return gs_fail(GS_ENOUPGRADE, "the control server answers the upgrade with status %d: \"%s\"%s", c->http.status, words,
                   c->http.status == 500 ? " (a proxy before it may drop the Upgrade header)" : "");
}

static int feed_http(struct control *c, const uint8_t *in, size_t n, size_t *taken)
{
    ssize_t k = gsi_http_feed(&c->http, in, n);
    if (k < 0)
        return (int)k;
    *taken = (size_t)k;
    if (!c->http.done)
        return 0;
    if (c->http.status != 101)
        return refused_upgrade(c);
    if (!gsi_http_header_is(&c->http, "upgrade", protocol))
        return gs_fail(GS_ENOUPGRADE, "the control server upgrades to another protocol than %s", protocol);
    c->state = EXPECT_HANDSHAKE;
    return 0;
}

/* What records held: the early payload, which is passed over, and HTTP/2. */
static int feed_plain(struct control *c, const uint8_t *p, size_t n)
{
    if (!c->early.decided) {
        ssize_t k = gsi_early_feed(&c->early, p, n);
        if (k < 0)
            return gs_fail(GS_EINVALID, "the control server's early payload is longer than %d bytes", EARLY_PAYLOAD_MAX);
        p += k;
        n -= (size_t)k;
        int e = c->early.decided && !c->early.present ? gsi_h2_feed(c, c->early.bytes, c->early.n) : 0;
        if (e)
            return e;
    }
    return n ? gsi_h2_feed(c, p, n) : 0;
}

static int feed_noise(struct control *c, const uint8_t *in, size_t n, size_t *taken)
{
    uint8_t plain[NOISE_PLAIN_MAX];
    ssize_t k = gsi_noise_feed(&c->noise, in, n);
    if (k == -EACCES)
        return gs_fail(-EACCES, "the control server's handshake does not open: its key is another now, or altered bytes");
    if (k < 0)
        return (int)k;
    *taken = (size_t)k;
    if (c->state == EXPECT_HANDSHAKE && c->noise.state == NOISE_OPEN) {
        int e = gsi_h2_start(c);
        if (e)
            return e;
    }
    size_t got = gsi_noise_take(&c->noise, plain, sizeof plain);
    return got ? feed_plain(c, plain, got) : 0;
}

int gsi_control_feed(struct control *c, const void *in, size_t n, uint64_t now)
{
    const uint8_t *p = in;
    if (!c->error && n) {
        c->now = now;
        c->quiet_by = now + QUIET_S * CONTROL_SECOND;
        c->pinged = false;
    }
    while (n && !c->error) {
        size_t k = 0;
        int e = c->state == EXPECT_UPGRADE ? feed_http(c, p, n, &k) : feed_noise(c, p, n, &k);
        if (e)
            (void)gsi_control_fail(c, e);
        p += k;
        n -= k;
    }
    return c->error;
}

int gsi_control_end(struct control *c)
{
    if (c->error)
        return c->error;
    if (c->state == EXPECT_UPGRADE && (gsi_http_end(&c->http) == 0 || c->http.status))
        return gsi_control_fail(c, refused_upgrade(c));
    if (c->state == EXPECT_HANDSHAKE || c->state == EXPECT_SETTINGS)
        return gsi_control_fail(c, gs_fail(GS_ECLOSED,
                                           "the control server ended the connection in the handshake: "
                                           "it may not serve capability version %u",
                                           c->version));
    return gsi_control_fail(c, gs_fail(GS_ECLOSED, "the control server ended the connection"));
}

/* ---- sending ---- */

static size_t take_hello(struct control *c, uint8_t *out, size_t cap)
{
    size_t n = c->hello_n - c->hello_at;
    n = n < cap ? n : cap;
    if (n)
        memcpy(out, c->hello + c->hello_at, n);
    c->hello_at += n;
    return n;
}

ssize_t gsi_control_output(struct control *c, void *out, size_t cap)
{
    uint8_t *p = out;
    size_t got = 0;
    while (!c->error && got < cap) {
        size_t n = take_hello(c, p + got, cap - got);
        if (!n)
            n = gsi_noise_output(&c->noise, p + got, cap - got);
        got += n;
        if (n)
            continue;
        int e = c->http2.session ? gsi_h2_fill(c) : 0;
        if (e)
            (void)gsi_control_fail(c, e);
        n = c->error ? 0 : gsi_noise_output(&c->noise, p + got, cap - got);
        if (!n)
            break;
        got += n;
    }
    return got || !c->error ? (ssize_t)got : c->error;
}

/* ---- time ---- */

static bool has_map(const struct control *c)
{
    for (const struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++)
        if (a->request == CONTROL_MAP_STREAM && a->state == ASK_SENT)
            return true;
    return false;
}

uint64_t gsi_control_deadline(const struct control *c)
{
    uint64_t at = UINT64_MAX;
    if (c->state == OVER)
        return at;
    if (c->state != OPEN)
        at = c->opened_by;
    if (has_map(c) && c->watchdog < at)
        at = c->watchdog;
    if (gsi_asks_wait(c) && c->quiet_by < at)
        at = c->quiet_by;
    for (const struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++)
        if ((a->state == ASK_WAITS || a->state == ASK_SENT) && a->deadline < at)
            at = a->deadline;
    return at;
}

int gsi_control_tick(struct control *c, uint64_t now)
{
    if (c->error)
        return c->error;
    c->now = now;
    if (c->state != OPEN && now >= c->opened_by)
        return gsi_control_fail(c, gs_fail(GS_ETIMEOUT, "the control server did not open the channel within %d s", OPEN_S));
    if (has_map(c) && now >= c->watchdog)
        return gsi_control_fail(c, gs_fail(GS_ETIMEOUT, "no map message from the control server for %d s", WATCHDOG_S));
    for (struct ask *a = c->asks; a < c->asks + ASKS_MAX; a++)
        if ((a->state == ASK_WAITS || a->state == ASK_SENT) && now >= a->deadline) {
            gsi_h2_reset(c, a);
            gsi_ask_end(c, a, GS_ETIMEOUT);
        }
    if (gsi_asks_wait(c) && now >= c->quiet_by) {
        if (c->pinged)
            return gsi_control_fail(c, gs_fail(GS_ETIMEOUT, "nothing from the control server for %d s", 2 * QUIET_S));
        c->pinged = true;
        c->quiet_by = now + QUIET_S * CONTROL_SECOND;
        int e = gsi_h2_ping(c);
        if (e)
            return gsi_control_fail(c, e);
    }
    return c->error;
}
