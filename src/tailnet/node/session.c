/* session.c: the connection to the control server: its key, register, the map stream, updates, and again after each loss. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "tailnet/node/parts.h"

#define DIAL_WITHIN (15 * SECOND)
#define ANSWER_WITHIN (15 * SECOND)
#define STEADY (10 * SECOND) /* a map stream that lasted so long was no failure */

static void take(struct node *n, struct channel *c, const gs_msg *m, uint64_t now);
static void take_ping(struct node *n, struct channel *c, const gs_msg *m, uint64_t now);

void gsi_session_init(struct node *n)
{
    n->session.rotating = !gsi_is_zero(n->keys.old_node, KEY_LEN); /* the last process ended before the server took the new key */
    n->session.channel.take = take;
    n->session.ping.take = take_ping;
    n->session.backoff = (struct backoff){.max_ns = BACKOFF_CONTROL_NS};
}

static void close_session(struct session *s)
{
    gsi_channel_close(&s->channel);
    gsi_server_key_free(s->asking);
    gsi_control_free(s->control);
    s->asking = NULL;
    s->control = NULL;
    s->phase = SESSION_IDLE;
    s->out_at = s->out_n = 0;
    s->ask_at = 0; /* the next connection asks all that is to be asked */
    s->mapping = s->update_out = s->heard = false;
}

void gsi_session_end(struct node *n)
{
    close_session(&n->session);
    gsi_channel_close(&n->session.ping);
}

/* ---- what a node says of itself ---- */

struct about {
    struct utsname system;
    struct derp_latency latency[NETCHECK_REGIONS_MAX];
    struct net_info net;
    struct hostinfo host;
};

static enum known known_of(bool yes) { return yes ? KNOWN_YES : KNOWN_NO; }

static const struct hostinfo *describe(struct node *n, struct about *a)
{
    (void)uname(&a->system);
    const struct netcheck_report *r = &n->outside.report;
    for (size_t i = 0; i < r->n; i++)
        a->latency[i] = (struct derp_latency){.region = (int)r->latencies[i].region, .ns = r->latencies[i].ns};
    a->net = (struct net_info){.preferred_derp = (int)n->relays.home, .latencies = a->latency, .latencies_n = r->n};
    if (r->full) {
        a->net.working_udp = known_of(r->udp);
        a->net.working_ipv6 = known_of(r->v6.port != 0);
        a->net.mapping_varies_by_dest_ip = r->varies == VARIES_UNKNOWN ? NOT_KNOWN : known_of(r->varies == VARIES_YES);
    }
    a->host = (struct hostinfo){.hostname = n->config.hostname,
                                .os = "linux",
                                .os_version = a->system.release,
                                .app = "gensock",
                                .ipn_version = GENSOCK_VERSION "-gensock",
                                .request_tags = (const char *const *)n->config.tags,
                                .request_tags_n = n->config.n_tags,
                                .userspace = true,
                                .userspace_router = true,
                                .shields_up = n->config.shields_up,
                                .no_logs_no_support = true,
                                .net = &a->net};
    return &a->host;
}

static int ask_register(struct node *n, bool logout, uint64_t now)
{
    struct session *s = &n->session;
    struct about about = {0};
    uint8_t old[KEY_LEN];
    struct register_request r = {.node_key = n->node_public, .ephemeral = n->config.ephemeral, .host = describe(n, &about)};
    if (s->rotating) {
        gsi_x25519_public(old, n->keys.old_node);
        r.old_node_key = old;
    }
    if (logout)
        return gsi_control_logout(s->control, &r, now);
    if (*s->followup)
        r.followup = s->followup;
    else
        r.auth_key = s->removed ? NULL : n->config.auth_key; /* an admin who removes a node does not want it back */
    return gsi_control_register(s->control, &r, now);
}

static int ask_map(struct node *n, bool stream, uint64_t now)
{
    struct session *s = &n->session;
    struct about about = {0};
    struct map_request r = {.node_key = n->node_public,
                            .disco_key = gsi_paths_disco_public(n->paths),
                            .host = describe(n, &about),
                            .endpoints = n->outside.own,
                            .endpoints_n = n->config.relay_only ? 0 : n->outside.own_n,
                            .compress = stream};
    if (!stream)
        return gsi_control_update(s->control, &r, now);
    s->serial++;
    s->mapping_ns = now;
    s->heard = false;
    s->update_due = true;
    pthread_mutex_lock(&n->lock);
    gsi_netmap_start(n->map);
    pthread_mutex_unlock(&n->lock);
    return gsi_control_map(s->control, &r, now);
}

/* ---- bytes out ---- */

/* What the protocol makes goes to the stream; what that does not take waits in `out`. */
static void flush(struct node *n, uint64_t now)
{
    struct session *s = &n->session;
    for (;;) {
        if (s->out_at == s->out_n) {
            ssize_t made = s->phase == SESSION_KEY ? (ssize_t)gsi_server_key_output(s->asking, s->out, sizeof s->out)
                                                   : gsi_control_output(s->control, s->out, sizeof s->out);
            if (made < 0)
                gsi_session_lost(n, (int)made, gsi_channel_why((int)made), now);
            if (made <= 0)
                return;
            s->out_at = 0;
            s->out_n = (size_t)made;
        }
        int e = gs_stream_send(s->channel.stream, s->out + s->out_at, s->out_n - s->out_at);
        if (e == -EAGAIN) /* GS_MSG_DRAINED follows */
            return;
        if (e < 0) {
            gsi_session_lost(n, e, gsi_channel_why(e), now);
            return;
        }
        s->out_at = s->out_n;
    }
}

/* ---- begin and loss ---- */

/* A certificate that is not valid yet, or no more, is most often a wrong clock of ours. */
static int name_error(int error, const char *why)
{
    if (error == GS_EALERT && (strstr(why, "not yet valid") || strstr(why, "has expired")))
        return GS_ECLOCK;
    return error == -EACCES || error == -EPROTO || error == GS_EALERT ? error : GS_ECONTROL;
}

/* Whoever reads it sees which of the two is wrong. */
static void add_clock(char *text, size_t cap)
{
    time_t t = (time_t)gsi_node_wall_s();
    struct tm tm;
    char clock[64];
    if (gmtime_r(&t, &tm) && strftime(clock, sizeof clock, ". This machine's clock says %Y-%m-%d %H:%M UTC", &tm))
        snprintf(text + strlen(text), cap - strlen(text), "%s", clock);
}

void gsi_session_lost(struct node *n, int error, const char *why, uint64_t now)
{
    struct session *s = &n->session;
    char text[DETAIL_MAX];
    bool at_once = s->mapping && s->heard;
    if (s->phase == SESSION_CONTROL && error == -EACCES)
        at_once = s->key_suspect = true;
    int told = name_error(error, why);
    snprintf(text, sizeof text, "control server %s: %s", n->config.control_url, why);
    if (told == GS_ECLOCK)
        add_clock(text, sizeof text);
    close_session(s);
    gsi_netcheck_control(n->outside.netcheck, false);
    s->retry_at = now + gsi_backoff_next(&s->backoff);
    if (at_once && s->backoff.tries == 1) /* not all nodes in the same moment */
        s->retry_at = now + gsi_backoff_between(0, SECOND / 10);
    gsi_node_hindered(n, told, text);
    if (s->logging_out)
        gsi_commands_done(n, gsi_run_logout, GS_ECONTROL);
    s->logging_out = false;
}

static void dial(struct node *n, enum session_phase phase, uint64_t now)
{
    struct session *s = &n->session;
    const struct url *u = &n->config.url;
    close_session(s);
    int e = gsi_channel_dial(n, &s->channel, &(struct dial){.host = u->host, .port = u->port, .tls = u->tls});
    if (e < 0) {
        gsi_session_lost(n, e, gsi_channel_why(e), now);
        return;
    }
    s->phase = phase;
    s->retry_at = now + DIAL_WITHIN;
}

static void begin(struct node *n, uint64_t now)
{
    const uint8_t *pinned = gsi_state_control(&n->keys, n->config.control_url);
    dial(n, pinned && !n->session.key_suspect ? SESSION_CONTROL : SESSION_KEY, now);
}

void gsi_session_pause(struct node *n, uint64_t for_ns, uint64_t now)
{
    close_session(&n->session);
    n->session.retry_at = now + for_ns;
}

static int open_control(struct node *n, uint64_t now)
{
    struct session *s = &n->session;
    int e = gsi_control_new(&s->control, &(struct control_config){.url = &n->config.url, .machine_private = n->keys.machine,
                                .server_key = gsi_state_control(&n->keys, n->config.control_url)}, now);
    if (e == 0)
        e = s->logging_out ? ask_register(n, true, now) : s->registered ? 0 : ask_register(n, false, now);
    if (e == 0 && s->registered && !s->logging_out)
        e = ask_map(n, true, now);
    s->mapping = e == 0 && s->registered && !s->logging_out;
    return e;
}

/* ---- the server's key ---- */

/* TLS has vouched for it when the URL is https. A plain server that has another key than last time may be somebody else. */
static int pin_key(struct node *n, const uint8_t *key)
{
    const uint8_t *before = gsi_state_control(&n->keys, n->config.control_url);
    bool same = before && gsi_equal(before, key, KEY_LEN);
    if (before && !same && !n->config.url.tls)
        return gs_fail(
            -EACCES,
            "it has another key than when it was first seen. If it was set up anew, remove its line from the state file");
    int e = same ? 0 : gsi_state_pin(&n->keys, n->config.control_url, key);
    return e == 0 && !same ? gsi_node_write_keys(n) : e;
}

static void take_key(struct node *n, const uint8_t *p, size_t len, bool end, uint64_t now)
{
    struct session *s = &n->session;
    int e = end ? gsi_server_key_end(s->asking) : gsi_server_key_feed(s->asking, p, len);
    if (e == 1) {
        bool suspect = s->key_suspect;
        s->key_suspect = false;
        e = pin_key(n, gsi_server_key_public(s->asking));
        if (e == 0)
            dial(n, SESSION_CONTROL, now);
        else if (suspect && e == -EACCES)
            gsi_node_fail(n, e, gs_error_detail(e));
    }
    if (e < 0)
        gsi_session_lost(n, e, gsi_channel_why(e), now);
}

/* ---- events ---- */

static void registered(struct node *n, bool approved, uint64_t now)
{
    struct session *s = &n->session;
    s->registered = true;
    s->removed = false;
    s->followup[0] = 0;
    if (s->rotating) {
        gsi_state_rotated(&n->keys);
        s->rotating = gsi_node_write_keys(n) < 0;
    }
    if (!approved || n->state != GS_TAILNET_RUNNING) /* the map says when it runs */
        gsi_node_state(n, approved ? GS_TAILNET_STARTING : GS_TAILNET_APPROVAL);
    int e = ask_map(n, true, now);
    s->mapping = e == 0;
    if (e < 0)
        gsi_session_lost(n, e, gsi_channel_why(e), now);
}

/* The node key has run out: a new one, signed for by a new login. */
void gsi_session_rotate(struct node *n, bool again, uint64_t now)
{
    struct session *s = &n->session;
    if (s->rotating && !again)
        return;
    if (s->rotating) {
        gsi_node_fail(n, GS_EKEYEXPIRED, "the control server says that a new key has expired: is this machine's clock right?");
        return;
    }
    gsi_node_event(n, GS_TAILNET_KEY_EXPIRY, "expired");
    gsi_state_rotate(&n->keys);
    int e = gsi_node_write_keys(n);
    if (e == 0)
        e = gsi_members_new_key(n, now);
    if (e < 0) {
        gsi_node_fail(n, e, gsi_channel_why(e));
        return;
    }
    s->rotating = true;
    s->registered = false;
    s->update_due = false;
    s->ask_at = now;
}

static void rejected(struct node *n, const char *words)
{
    char text[DETAIL_MAX];
    bool key = n->config.auth_key, old = strstr(words, "expired");
    snprintf(text, sizeof text, "the control server refuses %s: %s. %s", key ? "the auth key" : "this node", words,
             !key ? "Ask the tailnet's admin" : "Make a new key in the admin console");
    gsi_node_fail(n, old ? GS_EKEYEXPIRED : key ? GS_EAUTHKEY : -EACCES, text);
    gsi_commands_done(n, gsi_run_logout, GS_ECONTROL);
}

static void failed(struct node *n, const struct control_event *ev, uint64_t now)
{
    struct session *s = &n->session;
    char text[DETAIL_MAX];
    if (ev->request == CONTROL_UPDATE) {
        s->update_out = false;
        s->update_due = true;
        s->ask_at = now + gsi_backoff_next(&s->backoff);
        return;
    }
    if (ev->request == CONTROL_PING)
        return;
    if (ev->request == CONTROL_MAP_STREAM) {
        s->mapping = false;
        if (ev->status == 400 || ev->status == 404) { /* the server has forgotten this node */
            s->registered = false;
            s->removed = true;
            gsi_node_state(n, GS_TAILNET_STARTING);
        }
    }
    if (ev->request == CONTROL_LOGOUT) {
        s->logging_out = false;
        gsi_commands_done(n, gsi_run_logout, GS_ECONTROL);
    }
    snprintf(text, sizeof text, "control server %s: %s%.*s%s", n->config.control_url, ev->status ? "answer " : "",
             ev->status ? 3 : 0,
             (char[]){(char)('0' + ev->status / 100 % 10), (char)('0' + ev->status / 10 % 10), (char)('0' + ev->status % 10), 0},
             ev->status ? "" : gs_error_text(ev->code));
    if (*ev->text)
        snprintf(text + strlen(text), sizeof text - strlen(text), ": %s", ev->text);
    if (!(ev->request == CONTROL_REGISTER && *s->followup)) /* a wait for a login ends now and then */
        gsi_node_hindered(n, GS_ECONTROL, text);
    s->ask_at = now + gsi_backoff_next(&s->backoff);
}

static void take_event(struct node *n, const struct control_event *ev, uint64_t now)
{
    struct session *s = &n->session;
    switch (ev->type) {
    case CONTROL_OPEN: gsi_netcheck_control(n->outside.netcheck, true); break;
    case CONTROL_GOING_AWAY: s->retry_at = now; break;
    case CONTROL_LOGGED_IN: registered(n, true, now); break;
    case CONTROL_NEEDS_APPROVAL: registered(n, false, now); break;
    case CONTROL_NEEDS_LOGIN:
        /* Servers hold the answer back until somebody logs in: most do. */
        s->ask_at = now + (*s->followup ? gsi_backoff_next(&s->backoff) : 0);
        snprintf(s->followup, sizeof s->followup, "%s", ev->text);
        gsi_node_login(n, ev->text);
        break;
    case CONTROL_KEY_EXPIRED: gsi_session_rotate(n, true, now); break;
    case CONTROL_NEEDS_SIGNATURE:
        gsi_node_fail(n, GS_ELOCKED,
                      "this tailnet uses Tailnet Lock and wants this node's key signed, which gensock cannot verify");
        break;
    case CONTROL_REJECTED: rejected(n, ev->text); break;
    case CONTROL_LOGGED_OUT:
        s->registered = s->logging_out = false;
        gsi_node_fail(n, GS_ELOGIN, "logged out");
        gsi_commands_done(n, gsi_run_logout, 0);
        break;
    case CONTROL_MAP:
        if (now - s->mapping_ns >= STEADY)
            s->backoff.tries = 0;
        s->heard = true;
        gsi_members_message(n, ev->message, now);
        break;
    case CONTROL_MAP_ENDED:
        s->mapping = false;
        s->ask_at = now + gsi_backoff_next(&s->backoff);
        break;
    case CONTROL_UPDATED: s->update_out = false; break;
    case CONTROL_PINGED: break;
    case CONTROL_RATE_LIMITED:
        s->update_out &= ev->request != CONTROL_UPDATE;
        s->update_due |= ev->request == CONTROL_UPDATE;
        s->mapping &= ev->request != CONTROL_MAP_STREAM;
        s->ask_at = now + ev->wait_ns;
        break;
    case CONTROL_FAILED: failed(n, ev, now); break;
    }
}

/* All events and all output; the connection may be gone afterwards. */
static void settle(struct node *n, int error, uint64_t now)
{
    struct session *s = &n->session;
    struct control_event ev;
    struct control *c = s->control;
    char why[DETAIL_MAX];
    snprintf(why, sizeof why, "%s", error < 0 ? gsi_channel_why(error) : "");
    while (s->control == c && gsi_control_next(c, &ev))
        take_event(n, &ev, now);
    if (s->control != c)
        return;
    if (error < 0)
        gsi_session_lost(n, error, why, now);
    else
        flush(n, now);
}

static void take(struct node *n, struct channel *c, const gs_msg *m, uint64_t now)
{
    struct session *s = &n->session;
    (void)c;
    switch (m->kind) {
    case GS_MSG_CONNECT:
        if (m->error < 0) {
            s->channel.stream = GS_NO_STREAM;
            gsi_session_lost(n, m->error, gsi_channel_why(m->error), now);
            return;
        }
        s->retry_at = s->phase == SESSION_KEY ? now + ANSWER_WITHIN : UINT64_MAX; /* control has times of its own */
        if (s->phase == SESSION_KEY && !(s->asking = gsi_server_key_new(&n->config.url, CAPABILITY_VERSION)))
            gsi_session_lost(n, -ENOMEM, gs_error_text(-ENOMEM), now);
        else if (s->phase == SESSION_KEY)
            flush(n, now);
        else {
            int e = open_control(n, now);
            if (e < 0)
                gsi_session_lost(n, e, gsi_channel_why(e), now);
            else
                flush(n, now);
        }
        break;
    case GS_MSG_DATA:
        if (s->phase == SESSION_KEY)
            take_key(n, m->packet.data.p, m->packet.data.n, false, now);
        else
            settle(n, gsi_control_feed(s->control, m->packet.data.p, m->packet.data.n, now), now);
        break;
    case GS_MSG_DRAINED: flush(n, now); break;
    case GS_MSG_ERROR: gsi_session_lost(n, m->error, gsi_channel_why(m->error), now); break;
    case GS_MSG_CLOSED:
        if (s->phase == SESSION_KEY)
            take_key(n, NULL, 0, true, now);
        else if (s->control)
            settle(n, gsi_control_end(s->control), now);
        break;
    default: break;
    }
}

/* ---- time ---- */

static void ask_again(struct node *n, uint64_t now)
{
    struct session *s = &n->session;
    s->ask_at = 0;
    int e = 0;
    if (!s->registered)
        e = ask_register(n, false, now);
    else if (!s->mapping) {
        e = ask_map(n, true, now);
        s->mapping = e == 0;
    }
    if (e < 0)
        gsi_session_lost(n, e, gsi_channel_why(e), now);
    else
        flush(n, now);
}

void gsi_session_step(struct node *n, uint64_t now)
{
    struct session *s = &n->session;
    bool over = n->state == GS_TAILNET_FAILED && !s->logging_out;
    if (over) { /* of this thread's own doing */
        if (s->phase != SESSION_IDLE)
            close_session(s);
        return;
    }
    if (now >= s->retry_at) {
        if (s->phase == SESSION_IDLE)
            begin(n, now);
        else if (s->control)
            gsi_session_pause(n, gsi_backoff_next(&s->backoff), now); /* going away */
        else
            gsi_session_lost(n, GS_ETIMEOUT, s->asking ? "no answer within 15 s" : "no connection within 15 s", now);
    }
    if (!s->control)
        return;
    if (now >= gsi_control_deadline(s->control)) {
        settle(n, gsi_control_tick(s->control, now), now);
        if (!s->control)
            return;
    }
    if (s->ask_at && now >= s->ask_at)
        ask_again(n, now);
    /* Not before it may be asked again. */
    if (s->control && s->heard && s->mapping && s->update_due && !s->update_out && !s->ask_at) {
        int e = ask_map(n, false, now);
        s->update_due = e < 0;
        s->update_out = e == 0;
        if (e == 0)
            flush(n, now);
    }
}

uint64_t gsi_session_deadline(const struct node *n)
{
    const struct session *s = &n->session;
    uint64_t at = s->retry_at;
    if (n->state == GS_TAILNET_FAILED && !s->logging_out)
        return UINT64_MAX;
    if (s->control && gsi_control_deadline(s->control) < at)
        at = gsi_control_deadline(s->control);
    return s->control && s->ask_at && s->ask_at < at ? s->ask_at : at;
}

void gsi_session_update(struct node *n) { n->session.update_due = true; }

static void take_ping(struct node *n, struct channel *c, const gs_msg *m, uint64_t now)
{
    const struct session *s = &n->session;
    (void)now;
    if (m->kind == GS_MSG_CONNECT && m->error == 0 && gs_stream_send(c->stream, s->ping_text, s->ping_n) == 0)
        return;
    gsi_channel_close(c); /* whatever the answer is, it is one */
}

void gsi_session_ping(struct node *n, const char *text, bool inside, uint64_t now)
{
    struct session *s = &n->session;
    struct url url;
    if (gsi_url_ping(&n->config.url, text, strlen(text), &url) < 0)
        return; /* elsewhere: nobody is asked for the control server's sake */
    if (inside) {
        if (s->control && gsi_control_ping(s->control, &url, now) == 0)
            flush(n, now);
        return;
    }
    gsi_channel_close(&s->ping);
    s->ping_n = gsi_url_head_request(&url, s->ping_text, sizeof s->ping_text);
    if (s->ping_n && gsi_channel_dial(n, &s->ping, &(struct dial){.host = url.host, .port = url.port, .tls = url.tls}) < 0)
        gsi_channel_close(&s->ping);
}

void gsi_run_logout(struct node *n, struct command *c, uint64_t now)
{
    struct session *s = &n->session;
    (void)c;
    if (!s->registered) {
        gsi_commands_done(n, gsi_run_logout, -ENOTCONN);
        return;
    }
    s->logging_out = true;
    if (!s->control) { /* the next connection asks */
        if (s->phase == SESSION_IDLE)
            s->retry_at = now;
        return;
    }
    int e = ask_register(n, true, now);
    if (e < 0)
        gsi_session_lost(n, e, gsi_channel_why(e), now);
    else
        flush(n, now);
}
