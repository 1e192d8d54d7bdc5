/* relays.c: the connections to relays that the policy wants, and what goes through them; latency by HTTPS where UDP is blocked */
#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tailnet/node/parts.h"

#define PROBE_WITHIN (2 * SECOND)
#define NOT_HERE SECOND /* between handshakes with a peer that its relay does not know */
#define CERT_PIN "sha256-raw:"
enum { RELAY_PORT = 443, CERT_MAX = 16 * 1024 };

static void take(struct node *n, struct channel *c, const gs_msg *m, uint64_t now);
static void take_probe(struct node *n, struct channel *c, const gs_msg *m, uint64_t now);

int gsi_relays_init(struct node *n)
{
    struct relays *r = &n->relays;
    r->policy = gsi_derp_policy_new();
    for (int i = 0; i < RELAYS_MAX; i++) {
        r->link[i].channel.take = take;
        r->probe[i].channel.take = take_probe;
    }
    return r->policy ? 0 : -ENOMEM;
}

/* ---- links ---- */

static void close_link(struct relay_link *l)
{
    gsi_channel_close(&l->channel);
    gsi_derp_client_free(l->client);
    for (int i = 0; i < l->waiting_n; i++)
        OPENSSL_free(l->waiting[i].bytes);
    *l = (struct relay_link){.channel.take = l->channel.take};
}

static void close_probe(struct probe *p)
{
    gsi_channel_close(&p->channel);
    *p = (struct probe){.channel.take = p->channel.take};
}

void gsi_relays_end(struct node *n)
{
    struct relays *r = &n->relays;
    if (!r->policy)
        return;
    for (int i = 0; i < RELAYS_MAX; i++) {
        close_link(&r->link[i]);
        close_probe(&r->probe[i]);
    }
    gsi_derp_policy_free(r->policy);
    r->policy = NULL;
}

int gsi_relays_renew(struct node *n, uint64_t now)
{
    struct derp_policy *policy = gsi_derp_policy_new();
    if (!policy)
        return -ENOMEM;
    gsi_relays_end(n);
    n->relays.policy = policy;
    gsi_relays_map(n, now);
    return 0;
}

static struct relay_link *link_of(struct relays *r, uint32_t region)
{
    for (int i = 0; i < RELAYS_MAX; i++)
        if (r->link[i].attempt && r->link[i].region == region)
            return &r->link[i];
    return NULL;
}

static void lost(struct node *n, struct relay_link *l, const char *why, uint64_t now)
{
    uint64_t attempt = l->attempt;
    bool home = l->preferred;
    char text[DETAIL_MAX];
    snprintf(text, sizeof text, "relay %u (%.200s): %.80s", l->region, l->host, why);
    if (strcmp(text, n->relays.told) != 0) /* once, not with each try */
        gsi_node_event(n, GS_TAILNET_HEALTH, "%s", text);
    memcpy(n->relays.told, text, sizeof text);
    if (home)
        snprintf(n->relays.trouble, sizeof n->relays.trouble, "the home relay, region %u (%.200s): %.80s", l->region, l->host,
                 why);
    close_link(l);
    gsi_derp_policy_failed(n->relays.policy, attempt, now);
    if (home)
        gsi_netcheck_start(n->outside.netcheck, true, now);
}

/* ---- the map ---- */

/* The how-manieth that may be connected to. */
static const struct map_derp_node *node_of(const struct map_derp_region *r, uint8_t which)
{
    for (uint32_t i = 0; i < r->nodes_n; i++)
        if (!r->nodes[i].stun_only && which-- == 0)
            return &r->nodes[i];
    return NULL;
}

void gsi_relays_map(struct node *n, uint64_t now)
{
    const struct map_derp *d = gsi_netmap_derp(n->map);
    struct policy_region regions[POLICY_REGIONS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < d->regions_n && count < POLICY_REGIONS_MAX; i++) {
        uint8_t nodes = 0;
        while (nodes < UINT8_MAX && node_of(&d->regions[i], nodes))
            nodes++;
        if (d->regions[i].id > 0)
            regions[count++] = (struct policy_region){(uint32_t)d->regions[i].id, nodes};
    }
    if (gsi_derp_policy_regions(n->relays.policy, regions, count, now) < 0)
        gsi_node_event(n, GS_TAILNET_HEALTH, "the map's relays are not to be understood: the old ones stay");
}

/* ---- dialling ---- */

/* An address that the map tells saves a look-up; "none" and the like switch a family off. */
static const char *host_of(const struct map_derp_node *d)
{
    struct ip ip;
    if (gsi_ip_parse(d->ipv4, strlen(d->ipv4), &ip) == 0)
        return d->ipv4;
    if (gsi_ip_parse(d->ipv6, strlen(d->ipv6), &ip) == 0 && *d->ipv4)
        return d->ipv6;
    return d->host;
}

static struct dial dial_of(const struct map_derp_node *d)
{
    bool pinned = strncmp(d->cert, CERT_PIN, strlen(CERT_PIN)) == 0;
    return (struct dial){.host = host_of(d),
                         .port = (uint16_t)(d->derp_port > 0 && d->derp_port <= UINT16_MAX ? d->derp_port : RELAY_PORT),
                         .tls = true,
                         .name = *d->cert && !pinned ? d->cert : d->host,
                         .unverified = pinned || d->insecure_for_tests};
}

static int begin_link(struct node *n, struct relay_link *l, const struct map_derp_region *region, const struct map_derp_node *d,
                      uint64_t now)
{
    struct dial to = dial_of(d);
    const struct map_derp_node *first = node_of(region, 0);
    bool v6 = strchr(d->host, ':');
    if (!gsi_is_host(d->host))
        return gs_fail(GS_EFORMAT, "the control server names a relay whose host name is none");
    if (strncmp(d->cert, CERT_PIN, strlen(CERT_PIN)) == 0)
        /* "" pins nothing: none fits. */
        snprintf(l->pin, sizeof l->pin, "%s", d->cert[strlen(CERT_PIN)] ? d->cert + strlen(CERT_PIN) : "?");
    int len = snprintf(l->host, sizeof l->host, "%s%.253s%s", v6 ? "[" : "", d->host, v6 ? "]" : "");
    if (to.port != RELAY_PORT)
        snprintf(l->host + len, sizeof l->host - (size_t)len, ":%u", to.port);
    if (first != d)
        snprintf(l->ideal, sizeof l->ideal, "%s", first->name);
    const struct derp_options options = {
        .node_private = n->keys.node, .host = l->host, .preferred = l->preferred, .ideal_node = *l->ideal ? l->ideal : NULL};
    l->client = gsi_derp_client_new(&options, now);
    return l->client ? gsi_channel_dial(n, &l->channel, &to) : -ENOMEM;
}

static void connect_link(struct node *n, const struct policy_order *o, uint64_t now)
{
    const struct map_derp_region *region = gsi_netmap_region(n->map, (int32_t)o->region);
    const struct map_derp_node *d = region ? node_of(region, o->node) : NULL;
    struct relay_link *l = link_of(&n->relays, o->region);
    if (l)
        close_link(l);
    for (int i = 0; !l && i < RELAYS_MAX; i++)
        if (!n->relays.link[i].attempt)
            l = &n->relays.link[i];
    if (!l || !d) {
        gsi_derp_policy_failed(n->relays.policy, o->attempt, now);
        return;
    }
    l->region = o->region;
    l->attempt = o->attempt;
    l->preferred = o->preferred;
    int e = begin_link(n, l, region, d, now);
    if (e < 0)
        lost(n, l, gsi_channel_why(e), now);
}

/* The home's connection stands: not before are peers told to send there, as a relay drops what is for nobody. */
static void use_home(struct node *n, const struct relay_link *l)
{
    if (!l->preferred || !l->connected || n->relays.home == l->region)
        return;
    n->relays.home = l->region;
    gsi_session_update(n);
}

static void obey(struct node *n, const struct policy_order *o, uint64_t now)
{
    struct relay_link *l = link_of(&n->relays, o->region);
    if (o->what == POLICY_CONNECT)
        connect_link(n, o, now);
    else if (o->what == POLICY_CLOSE && l)
        close_link(l);
    else if (o->what == POLICY_PREFER && l) {
        l->preferred = o->preferred;
        gsi_derp_prefer(l->client, o->preferred);
        use_home(n, l);
    }
}

static void obey_all(struct node *n, uint64_t now)
{
    struct policy_order o;
    while (gsi_derp_policy_next(n->relays.policy, &o))
        obey(n, &o, now);
}

/* ---- bytes ---- */

static void flush(struct node *n, struct relay_link *l, uint64_t now)
{
    const uint8_t *p;
    size_t len;
    while (l->dialled && (len = gsi_derp_output(l->client, &p))) {
        int e = gs_stream_send(l->channel.stream, p, len);
        if (e == -EAGAIN)
            return;
        if (e < 0) {
            lost(n, l, gsi_channel_why(e), now);
            return;
        }
        gsi_derp_sent(l->client, len);
    }
}

static void keep_for_later(struct relay_link *l, const uint8_t key[KEY_LEN], const uint8_t *bytes, size_t len, bool disco)
{
    struct relay_packet *w = l->waiting_n < RELAY_WAITING && len <= UINT16_MAX ? &l->waiting[l->waiting_n] : NULL;
    if (!w || !(w->bytes = OPENSSL_malloc(len)))
        return; /* as networks do */
    memcpy(w->key, key, KEY_LEN);
    memcpy(w->bytes, bytes, len);
    w->n = (uint16_t)len;
    w->disco = disco;
    l->waiting_n++;
}

void gsi_relays_send(struct node *n, uint32_t region, const uint8_t key[KEY_LEN], const uint8_t *bytes, size_t len, bool disco,
                     uint64_t now)
{
    struct peer *p = gsi_peers_find(&n->members.peers, key);
    uint32_t by = gsi_derp_policy_route(n->relays.policy, region, p ? &p->heard : &(struct policy_heard){0}, now);
    obey_all(n, now);
    struct relay_link *l = by ? link_of(&n->relays, by) : NULL;
    if (l && !l->connected)
        keep_for_later(l, key, bytes, len, disco);
    else if (l && gsi_derp_send(l->client, key, bytes, len, disco, now) == 0)
        flush(n, l, now);
}

/* ---- what comes ---- */

static void connected(struct node *n, struct relay_link *l, uint64_t now)
{
    l->connected = true;
    n->relays.told[0] = 0;
    if (l->preferred)
        n->relays.trouble[0] = 0;
    gsi_derp_policy_connected(n->relays.policy, l->attempt, now);
    for (int i = 0; i < l->waiting_n; i++) {
        struct relay_packet *w = &l->waiting[i];
        (void)!gsi_derp_send(l->client, w->key, w->bytes, w->n, w->disco, now); /* lossy */
        OPENSSL_free(w->bytes);
    }
    l->waiting_n = 0;
    use_home(n, l);
}

static void received(struct node *n, struct relay_link *l, const struct derp_event *ev, uint64_t now)
{
    uint8_t packet[DERP_PACKET_MAX];
    struct peer *p = gsi_peers_find(&n->members.peers, ev->key);
    if (!p || ev->n > sizeof packet)
        return;
    gsi_derp_policy_heard(n->relays.policy, &p->heard, l->attempt);
    memcpy(packet, ev->packet, ev->n); /* it is opened in place */
    gsi_plane_from_relay(n->plane, l->region, ev->key, packet, ev->n, now);
}

static void take_event(struct node *n, struct relay_link *l, const struct derp_event *ev, uint64_t now)
{
    struct peer *p;
    gsi_netcheck_heard(n->outside.netcheck, l->region, now);
    switch (ev->kind) {
    case DERP_CONNECTED: connected(n, l, now); break;
    case DERP_RECEIVED: received(n, l, ev, now); break;
    case DERP_PEER_LEFT:
        if (!(p = gsi_peers_find(&n->members.peers, ev->key)))
            break;
        gsi_derp_policy_gone(&p->heard, l->attempt);
        if (ev->gone == DERP_GONE_NOT_HERE && p->plane.wg) /* it may be about to come: nodes tell their home before they are there */
            gsi_wireguard_hurry(p->plane.wg, NOT_HERE, now);
        break;
    case DERP_UNHEALTHY:
        gsi_node_event(n, GS_TAILNET_HEALTH, "relay %u: %.*s", l->region, (int)ev->n, (const char *)ev->packet);
        break;
    default: break;
    }
}

static void feed(struct node *n, struct relay_link *l, const uint8_t *p, size_t len, uint64_t now)
{
    uint64_t attempt = l->attempt;
    struct derp_event ev;
    ssize_t k;
    do {
        k = gsi_derp_feed(l->client, p, len, now, &ev);
        if (k < 0) {
            lost(n, l, gsi_channel_why((int)k), now);
            return;
        }
        p += k;
        len -= (size_t)k;
        if (ev.kind != DERP_NOTHING)
            take_event(n, l, &ev, now);
    } while (l->attempt == attempt && (len || ev.kind != DERP_NOTHING));
    if (l->attempt == attempt)
        flush(n, l, now);
}

/* sha256-raw: the one certificate that is meant, whoever signed it. */
static bool is_pinned(struct relay_link *l)
{
    uint8_t der[CERT_MAX], digest[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    if (!*l->pin)
        return true;
    ssize_t len = gs_stream_peercert(l->channel.stream, der, sizeof der);
    if (len <= 0 || (size_t)len > sizeof der)
        return false;
    SHA256(der, (size_t)len, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return strcasecmp(hex, l->pin) == 0;
}

static void take(struct node *n, struct channel *c, const gs_msg *m, uint64_t now)
{
    struct relay_link *l = (struct relay_link *)c;
    switch (m->kind) {
    case GS_MSG_CONNECT:
        if (m->error < 0) {
            c->stream = GS_NO_STREAM;
            lost(n, l, gsi_channel_why(m->error), now);
        } else if (!is_pinned(l))
            lost(n, l, "its certificate is not the one that the map names", now);
        else {
            l->dialled = true;
            gsi_derp_policy_dialed(n->relays.policy, l->attempt, now);
            flush(n, l, now);
        }
        break;
    case GS_MSG_DATA: feed(n, l, m->packet.data.p, m->packet.data.n, now); break;
    case GS_MSG_DRAINED: flush(n, l, now); break;
    case GS_MSG_ERROR: lost(n, l, gsi_channel_why(m->error), now); break;
    case GS_MSG_CLOSED: lost(n, l, "it ended the connection", now); break;
    default: break;
    }
}

/* ---- latency by HTTPS ---- */

static void take_probe(struct node *n, struct channel *c, const gs_msg *m, uint64_t now)
{
    struct probe *p = (struct probe *)c;
    static const char ask[] = "GET /derp/latency-check HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";
    switch (m->kind) {
    case GS_MSG_CONNECT:
        if (m->error < 0)
            c->stream = GS_NO_STREAM;
        p->sent_ns = now;
        if (m->error < 0 || gs_stream_send(c->stream, ask, sizeof ask - 1) < 0)
            close_probe(p);
        break;
    case GS_MSG_DATA:
        gsi_netcheck_latency(n->outside.netcheck, p->region, now - p->sent_ns);
        close_probe(p);
        break;
    default: close_probe(p);
    }
}

void gsi_relays_probe(struct node *n, uint64_t now)
{
    const struct map_derp *d = gsi_netmap_derp(n->map);
    for (uint32_t i = 0; i < d->regions_n && i < RELAYS_MAX; i++) {
        struct probe *p = &n->relays.probe[i];
        const struct map_derp_node *first = node_of(&d->regions[i], 0);
        close_probe(p);
        if (!first || d->regions[i].id <= 0)
            continue;
        struct dial to = dial_of(first);
        p->region = (uint32_t)d->regions[i].id;
        p->until_ns = now + PROBE_WITHIN;
        if (gsi_channel_dial(n, &p->channel, &to) < 0)
            close_probe(p);
    }
}

/* ---- time ---- */

void gsi_relays_step(struct node *n, uint64_t now)
{
    struct relays *r = &n->relays;
    if (now >= gsi_derp_policy_deadline(r->policy))
        gsi_derp_policy_tick(r->policy, now);
    for (int i = 0; i < RELAYS_MAX; i++) {
        struct relay_link *l = &r->link[i];
        if (l->attempt && l->dialled && now >= gsi_derp_deadline(l->client)) {
            int e = gsi_derp_tick(l->client, now);
            if (e < 0)
                lost(n, l, "it is silent", now);
            else
                flush(n, l, now);
        }
        if (r->probe[i].region && now >= r->probe[i].until_ns)
            close_probe(&r->probe[i]);
    }
    obey_all(n, now);
}

uint64_t gsi_relays_deadline(const struct node *n)
{
    const struct relays *r = &n->relays;
    uint64_t at = gsi_derp_policy_deadline(r->policy);
    for (int i = 0; i < RELAYS_MAX; i++) {
        const struct relay_link *l = &r->link[i];
        if (l->attempt && l->dialled && gsi_derp_deadline(l->client) < at)
            at = gsi_derp_deadline(l->client);
        if (r->probe[i].region && r->probe[i].until_ns < at)
            at = r->probe[i].until_ns;
    }
    return at;
}
