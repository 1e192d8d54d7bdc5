/* message.c: what a map stream is told (tailnet-protocol.md 4.2 and 4.3): first all, then what changed since it was told last.
 * Several changes make one message, as a stream is asked for the next one only when the last is sent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/keys/key.h"
#include "tailnet/lab/inside.h"

struct draft {
    struct json_out o;
    const struct coordination *s;
    bool any;
    bool users[USERS_MAX]; /* who must be told with it */
};

static bool changed_since(const struct member *m, uint64_t seq)
{
    for (int i = 0; i < CHANGES; i++)
        if (m->changed[i] > seq)
            return true;
    return false;
}

/* ---- nodes ---- */

static void put_key(struct json_out *o, const char *name, enum key_kind kind, const uint8_t key[KEY_LEN])
{
    char text[KEY_TEXT_MAX];
    if (!gsi_is_zero(key, KEY_LEN))
        gsi_json_put_string(o, name, gsi_key_text(kind, key, text));
}

static void put_prefixes(struct json_out *o, const char *name, const struct member *m)
{
    char ip[ENDPOINT_TEXT], text[ENDPOINT_TEXT + 8];
    struct ip v4 = gsi_lab_v4(m), v6 = gsi_lab_v6(m);
    gsi_json_put_array(o, name);
    snprintf(text, sizeof text, "%s/32", gsi_ip_text(&v4, ip));
    gsi_json_put_string(o, NULL, text);
    snprintf(text, sizeof text, "%s/128", gsi_ip_text(&v6, ip));
    gsi_json_put_string(o, NULL, text);
    gsi_json_put_close(o);
}

static void put_endpoints(struct json_out *o, const struct member *m)
{
    char text[ENDPOINT_TEXT];
    gsi_json_put_array(o, "Endpoints");
    for (int i = 0; i < m->endpoints_n; i++)
        gsi_json_put_string(o, NULL, gsi_endpoint_text(&m->endpoints[i], text));
    gsi_json_put_close(o);
}

static void put_hostinfo(struct json_out *o, const struct member *m)
{
    gsi_json_put_object(o, "Hostinfo");
    gsi_json_put_string(o, "Hostname", m->wish);
    if (*m->os)
        gsi_json_put_string(o, "OS", m->os);
    gsi_json_put_close(o);
}

static void put_tags(struct json_out *o, const struct member *m)
{
    if (!m->tags_n)
        return;
    gsi_json_put_array(o, "Tags");
    for (int i = 0; i < m->tags_n; i++)
        gsi_json_put_string(o, NULL, m->tags[i]);
    gsi_json_put_close(o);
}

static void put_node(struct draft *d, const char *name, const struct member *m)
{
    struct json_out *o = &d->o;
    char text[COORDINATION_NAME_MAX + COORDINATION_DOMAIN_MAX + 4];
    d->any = d->users[m->user] = true;
    gsi_json_put_object(o, name);
    gsi_json_put_int(o, "ID", m->id);
    snprintf(text, sizeof text, "n%lld", (long long)m->id);
    gsi_json_put_string(o, "StableID", text);
    snprintf(text, sizeof text, "%s.%s.", m->name, d->s->domain);
    gsi_json_put_string(o, "Name", text);
    gsi_json_put_int(o, "User", d->s->accounts[m->user].id);
    put_key(o, "Key", KEY_NODE, m->key);
    gsi_json_put_time(o, "KeyExpiry", (struct json_time){m->expiry_s, 0});
    put_key(o, "Machine", KEY_MACHINE, m->machine);
    put_key(o, "DiscoKey", KEY_DISCO, m->disco);
    put_prefixes(o, "Addresses", m);
    put_prefixes(o, "AllowedIPs", m);
    if (m->endpoints_n)
        put_endpoints(o, m);
    if (m->home_derp)
        gsi_json_put_int(o, "HomeDERP", m->home_derp);
    put_hostinfo(o, m);
    gsi_json_put_time(o, "Created", (struct json_time){m->created_s, 0});
    gsi_json_put_int(o, "Cap", m->version);
    put_tags(o, m);
    if (!m->online)
        gsi_json_put_time(o, "LastSeen", (struct json_time){m->last_seen_s, 0});
    gsi_json_put_bool(o, "Online", m->online);
    gsi_json_put_bool(o, "MachineAuthorized", m->authorized);
    if (m->expired)
        gsi_json_put_bool(o, "Expired", true);
    gsi_json_put_close(o);
}

static void put_patch(struct draft *d, const struct member *m, uint64_t since)
{
    struct json_out *o = &d->o;
    d->any = true;
    gsi_json_put_object(o, NULL);
    gsi_json_put_int(o, "NodeID", m->id);
    if (m->changed[CHANGED_DERP] > since)
        gsi_json_put_int(o, "DERPRegion", m->home_derp);
    if (m->changed[CHANGED_ENDPOINTS] > since)
        put_endpoints(o, m);
    if (m->changed[CHANGED_DISCO] > since)
        put_key(o, "DiscoKey", KEY_DISCO, m->disco);
    if (m->changed[CHANGED_ONLINE] > since) {
        gsi_json_put_bool(o, "Online", m->online);
        if (!m->online)
            gsi_json_put_time(o, "LastSeen", (struct json_time){m->last_seen_s, 0});
    }
    gsi_json_put_close(o);
}

/* ---- peers ---- */

enum part { WHOLE, PATCH };

static bool wants(const struct member *m, uint64_t since, enum part part)
{
    bool whole = m->changed[CHANGED_WHOLE] > since;
    return part == WHOLE ? whole : !whole && changed_since(m, since);
}

static void put_peers(struct draft *d, const char *name, const struct member *self, uint64_t since, enum part part)
{
    bool begun = false;
    for (int i = 0; i < d->s->members_n; i++) {
        const struct member *m = d->s->members[i];
        if (m == self || !gsi_lab_is_visible(m) || !wants(m, since, part))
            continue;
        if (!begun)
            gsi_json_put_array(&d->o, name);
        begun = true;
        if (part == WHOLE)
            put_node(d, NULL, m);
        else
            put_patch(d, m, since);
    }
    if (begun)
        gsi_json_put_close(&d->o);
}

static void put_removed(struct draft *d, uint64_t since)
{
    const struct coordination *s = d->s;
    bool begun = false;
    for (int i = 0; i < s->gone_n; i++) {
        if (s->gone[i].seq <= since)
            continue;
        if (!begun)
            gsi_json_put_array(&d->o, "PeersRemoved");
        begun = d->any = true;
        gsi_json_put_int(&d->o, NULL, s->gone[i].id);
    }
    if (begun)
        gsi_json_put_close(&d->o);
}

/* ---- the rest ---- */

static void put_region(struct json_out *o, const struct told_region *t)
{
    char text[24];
    snprintf(text, sizeof text, "%d", t->r.id);
    gsi_json_put_object(o, text);
    gsi_json_put_int(o, "RegionID", t->r.id);
    gsi_json_put_string(o, "RegionCode", t->text[0]);
    gsi_json_put_string(o, "RegionName", t->text[1]);
    gsi_json_put_array(o, "Nodes");
    gsi_json_put_object(o, NULL);
    snprintf(text, sizeof text, "%da", t->r.id);
    gsi_json_put_string(o, "Name", text);
    gsi_json_put_int(o, "RegionID", t->r.id);
    gsi_json_put_string(o, "HostName", t->text[2]);
    if (*t->text[3])
        gsi_json_put_string(o, "IPv4", t->text[3]);
    if (*t->text[4])
        gsi_json_put_string(o, "IPv6", t->text[4]);
    if (*t->text[5])
        gsi_json_put_string(o, "CertName", t->text[5]);
    gsi_json_put_int(o, "DERPPort", t->r.derp_port);
    gsi_json_put_int(o, "STUNPort", t->r.stun_port);
    if (t->r.insecure_for_tests)
        gsi_json_put_bool(o, "InsecureForTests", true);
    gsi_json_put_close(o);
    gsi_json_put_close(o);
    gsi_json_put_close(o);
}

static void put_derp_map(struct draft *d)
{
    d->any = true;
    gsi_json_put_object(&d->o, "DERPMap");
    gsi_json_put_object(&d->o, "Regions");
    for (int i = 0; i < d->s->regions_n; i++)
        put_region(&d->o, &d->s->regions[i]);
    gsi_json_put_close(&d->o);
    gsi_json_put_close(&d->o);
}

static void put_filter(struct draft *d)
{
    d->any = true;
    gsi_json_put_object(&d->o, "PacketFilters");
    gsi_json_put_raw(&d->o, "base", d->s->filter, strlen(d->s->filter));
    gsi_json_put_close(&d->o);
}

static void put_names(struct draft *d)
{
    d->any = true;
    gsi_json_put_object(&d->o, "DNSConfig");
    gsi_json_put_bool(&d->o, "Proxied", true);
    gsi_json_put_array(&d->o, "Domains");
    gsi_json_put_string(&d->o, NULL, d->s->domain);
    gsi_json_put_close(&d->o);
    gsi_json_put_close(&d->o);
    gsi_json_put_string(&d->o, "Domain", d->s->domain);
}

/* With each node that is told; they are few, and a node merges them. */
static void put_users(struct draft *d)
{
    bool begun = false;
    for (int i = 0; i < d->s->accounts_n; i++) {
        const struct account *u = &d->s->accounts[i];
        if (!d->users[i])
            continue;
        if (!begun)
            gsi_json_put_array(&d->o, "UserProfiles");
        begun = true;
        gsi_json_put_object(&d->o, NULL);
        gsi_json_put_int(&d->o, "ID", u->id);
        gsi_json_put_string(&d->o, "LoginName", u->login);
        gsi_json_put_string(&d->o, "DisplayName", u->display);
        gsi_json_put_close(&d->o);
    }
    if (begun)
        gsi_json_put_close(&d->o);
}

static void put_all(struct draft *d, const struct exchange *x)
{
    const struct coordination *s = d->s;
    const struct member *self = x->member;
    bool first = x->seq == 0;
    gsi_json_put_object(&d->o, NULL);
    if (first || changed_since(self, x->seq))
        put_node(d, "Node", self);
    if (first || s->regions_seq > x->seq)
        put_derp_map(d);
    if (first)
        put_names(d);
    if (first || s->filter_seq > x->seq)
        put_filter(d);
    if (self->authorized && x->peers_seq == 0)
        put_peers(d, "Peers", self, 0, WHOLE);
    else if (self->authorized) {
        put_removed(d, x->peers_seq);
        put_peers(d, "PeersChanged", self, x->peers_seq, WHOLE);
        put_peers(d, "PeersChangedPatch", self, x->peers_seq, PATCH);
    }
    put_users(d);
    if (d->any)
        gsi_json_put_time(&d->o, "ControlTime", (struct json_time){gsi_lab_wall(s), 0});
    else if (x->keep_alive_due)
        gsi_json_put_bool(&d->o, "KeepAlive", true);
    gsi_json_put_close(&d->o);
}

enum { NODE_GUESS = 768 }; /* bytes that a node takes, about */

/* The length in s->json. */
static ssize_t write_json(struct coordination *s, const struct exchange *x, bool *any)
{
    size_t cap = s->json_cap ? s->json_cap : 16 * 1024, all = x->peers_seq ? 0 : (size_t)s->members_n * NODE_GUESS;
    while (cap < all && cap < MESSAGE_MAX)
        cap *= 2;
    for (; cap <= MESSAGE_MAX; cap *= 2) {
        if (cap > s->json_cap) {
            OPENSSL_free(s->json);
            s->json_cap = 0;
            if (!(s->json = OPENSSL_malloc(cap)))
                return -ENOMEM;
            s->json_cap = cap;
        }
        struct draft d = {.o = gsi_json_out_of(s->json, s->json_cap), .s = s};
        put_all(&d, x);
        ssize_t n = gsi_json_out_end(&d.o);
        *any = d.any;
        if (n != -ENOBUFS)
            return n;
    }
    return -ENOBUFS;
}

static int frame(struct coordination *s, struct exchange *x, size_t n)
{
    size_t room = x->compress ? ZSTD_compressBound(n) : n, k = n;
    uint8_t *answer = OPENSSL_malloc(4 + room);
    if (!answer)
        return -ENOMEM;
    if (x->compress)
        k = ZSTD_compressCCtx(s->zstd, answer + 4, room, s->json, n, 1);
    else
        memcpy(answer + 4, s->json, n);
    if (x->compress && ZSTD_isError(k)) {
        OPENSSL_free(answer);
        return -ENOMEM; /* nothing else is left to go wrong */
    }
    for (int i = 0; i < 4; i++)
        answer[i] = (uint8_t)(k >> (8 * i));
    OPENSSL_free(x->answer);
    x->answer = answer;
    x->answer_n = 4 + k;
    x->answer_at = 0;
    return 1;
}

/* The ring has forgotten nodes that this stream knows. */
static bool missed(const struct coordination *s, const struct exchange *x)
{
    return x->peers_seq && s->gone_n == GONE_MAX && s->gone[s->gone_at].seq > x->peers_seq;
}

int gsi_lab_message(struct exchange *x)
{
    struct coordination *s = x->conn->co;
    bool any = false;
    if (x->seq == s->seq && !x->keep_alive_due)
        return 0;
    if (missed(s, x))
        return GS_ECLOSED;
    ssize_t n = write_json(s, x, &any);
    if (n < 0)
        return n == -ENOMEM ? -ENOMEM : GS_ECLOSED;
    x->seq = s->seq;
    if (x->member->authorized)
        x->peers_seq = s->seq;
    if (!any && !x->keep_alive_due)
        return 0;
    x->keep_alive_due = false;
    if (x->keep_alive != UINT64_MAX)
        x->keep_alive = s->now + KEEP_ALIVE_S * LAB_SECOND;
    return frame(s, x, (size_t)n);
}
