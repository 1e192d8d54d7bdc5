/* members.c: what the map says is done: to peers (peers.c), our own addresses, the filter; and it is told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tailnet/node/parts.h"

#define CHECK_EACH (30 * SECOND)
#define NEWCOMER (10 * SECOND) /* so long peers may not have been told of our key */
enum { LISTS = 64, DAY_S = 24 * 60 * 60 };

/* What failed for lack of memory is tried once more. */
void gsi_members_look_again(struct node *n, uint64_t now)
{
    if (n->members.check_at > now + SECOND)
        n->members.check_at = now + SECOND;
}

/* ---- ourselves ---- */

static bool in_list(const struct prefix *list, uint32_t n, const struct prefix *p)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i].bits == p->bits && gsi_ip_equal(&list[i].ip, &p->ip))
            return true;
    return false;
}

/* False: some are missing. */
static bool set_addresses(struct node *n)
{
    struct members *m = &n->members;
    const struct map_node *self = gsi_netmap_self(n->map);
    struct prefix *list = self->addresses_n ? OPENSSL_malloc(self->addresses_n * sizeof *list) : NULL;
    uint32_t count = 0;
    bool all = true;
    if (self->addresses_n && !list)
        return false;
    for (uint32_t i = 0; i < m->addresses_n; i++)
        if (!in_list(self->addresses, self->addresses_n, &m->addresses[i]))
            (void)!gsi_namespace_address(n->ns, &m->addresses[i], false);
    for (uint32_t i = 0; i < self->addresses_n; i++) {
        const struct prefix *own = &self->addresses[i];
        int e = in_list(m->addresses, m->addresses_n, own) ? 0 : gsi_namespace_address(n->ns, own, true);
        if (e == 0)
            list[count++] = *own;
        else if (gsi_ip_is_v4(&own->ip)) { /* without IPv6 a node is one, too */
            gsi_node_hindered(n, e, gsi_channel_why(e));
            all = false;
        }
    }
    OPENSSL_free(m->addresses);
    m->addresses = list;
    m->addresses_n = count;
    return all;
}

/* What the map wants cannot be done: what is new stays outside, as the last rules may allow what is forbidden by now. */
static void deny_all(struct node *n, int error)
{
    const struct map_node *self = gsi_netmap_self(n->map);
    char *trouble = n->members.filter_trouble, why[DETAIL_MAX];
    struct rules *none = NULL;
    snprintf(why, sizeof why, "the packet filter of the control server cannot be used, so nothing new comes in: %.200s",
             gsi_channel_why(error));
    if (gsi_rules_compile(self->addresses, self->addresses_n, NULL, 0, &none, NULL) < 0)
        none = NULL; /* nothing at all passes then */
    gsi_filter_use(n->filter, none);
    if (strcmp(trouble, why) != 0)
        gsi_node_event(n, GS_TAILNET_HEALTH, "%s", why);
    memcpy(trouble, why, sizeof why);
}

/* False: no memory, to be tried again. */
static bool compile_filter(struct node *n)
{
    const struct map_node *self = gsi_netmap_self(n->map);
    struct filter_list lists[LISTS], *all = lists;
    size_t count = gsi_netmap_filter(n->map, lists, LISTS);
    struct rules *rules = NULL;
    if (count > LISTS) {
        if (!(all = OPENSSL_malloc(count * sizeof *all))) {
            deny_all(n, -ENOMEM);
            return false;
        }
        (void)gsi_netmap_filter(n->map, all, count);
    }
    int e = gsi_netmap_has_filter(n->map) ? gsi_rules_compile(self->addresses, self->addresses_n, all, count, &rules, NULL)
                                          : -ENODATA;
    if (e == 0) {
        gsi_filter_use(n->filter, rules);
        n->members.filter_trouble[0] = 0;
    } else if (e != -ENODATA)
        deny_all(n, e);
    if (all != lists)
        OPENSSL_free(all);
    gsi_identity_changed(n, 0);
    return e != -ENOMEM;
}

static void name_ourselves(struct node *n)
{
    const struct map_node *self = gsi_netmap_self(n->map);
    if (strcmp(n->keys.node_id, self->stable_id) != 0 && gsi_state_name(&n->keys, self->stable_id) == 0)
        (void)!gsi_node_write_keys(n); /* only a name: the keys are there */
}

/* A day ahead, once for each time. */
static void tell_expiry(struct node *n)
{
    const struct map_node *self = gsi_netmap_self(n->map);
    int64_t at = self ? self->key_expiry.s : 0;
    char text[32];
    struct tm tm;
    if (at <= 0 || at == n->members.expiry_told || at - gsi_node_wall_s() > DAY_S)
        return;
    n->members.expiry_told = at;
    if (gmtime_r(&(time_t){(time_t)at}, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        gsi_node_event(n, GS_TAILNET_KEY_EXPIRY, "%s", text);
}

/* Everything that the map's events asked for is done at once, behind the last of them. */
static void finish(struct node *n, uint64_t now)
{
    struct members *m = &n->members;
    if (!gsi_netmap_self(n->map))
        return;
    bool self_new = m->self_due;
    if (self_new) {
        name_ourselves(n);
        m->self_due = !set_addresses(n);
    }
    if (m->filter_due || self_new)
        m->filter_due = !compile_filter(n);
    if (m->self_due || m->filter_due)
        gsi_members_look_again(n, now);
    if (m->derp_due) {
        gsi_relays_map(n, now);
        gsi_outside_map(n, now);
    }
    m->derp_due = false;
    tell_expiry(n);
    pthread_mutex_lock(&n->lock);
    n->has_map = true;
    pthread_mutex_unlock(&n->lock);
    const struct map_node *self = gsi_netmap_self(n->map);
    bool locked = gsi_netmap_is_locked(n->map);
    if (locked)
        gsi_node_hindered(n, GS_ELOCKED, "this tailnet uses Tailnet Lock, which gensock cannot verify: no peer is trusted");
    if (memcmp(self->key, n->node_public, KEY_LEN) == 0 &&
        (self->expired || (self->key_expiry.s > 0 && self->key_expiry.s <= gsi_node_wall_s())))
        gsi_session_rotate(n, false, now);
    else if (!self->machine_authorized)
        gsi_node_state(n, GS_TAILNET_APPROVAL);
    else if (m->addresses_n && n->state != GS_TAILNET_LOGIN) {
        if (n->state != GS_TAILNET_RUNNING)
            gsi_wireguard_newcomer(n->wireguard, now + NEWCOMER);
        gsi_node_state(n, GS_TAILNET_RUNNING);
    }
    if (!locked && n->state == GS_TAILNET_RUNNING && !m->self_due) /* a map has come, all of it was done */
        gsi_node_hindered(n, 0, "");
}

/* ---- events ---- */

static void tell_health(struct node *n)
{
    struct map_message text;
    for (size_t i = 0; gsi_netmap_message(n->map, i, &text); i++)
        gsi_node_event(n, GS_TAILNET_HEALTH, "%s%s%s", text.title, *text.title && *text.text ? ": " : "", text.text);
}

static void take_map_event(struct node *n, const struct map_event *ev, uint64_t now)
{
    struct members *m = &n->members;
    switch (ev->kind) {
    case MAP_SELF: m->self_due = true; break;
    case MAP_FILTER: m->filter_due = true; break;
    case MAP_DERP: m->derp_due = true; break;
    case MAP_DNS: break; /* names are looked up in the map itself */
    case MAP_HEALTH: tell_health(n); break;
    case MAP_TAILNET_LOCK: m->check_at = now; break;
    case MAP_PEER: gsi_peers_take(n, ev, now); break;
    case MAP_PING:
        if (!*ev->types)
            gsi_session_ping(n, ev->text, ev->noise, now);
        break;
    case MAP_BROWSE: gsi_node_event(n, GS_TAILNET_LOGIN_URL, "%s", ev->text); break;
    case MAP_SLEEP: gsi_session_pause(n, (uint64_t)(ev->seconds * 1e9), now); break;
    case MAP_SESSION: break; /* streams begin whole */
    }
}

/* ---- messages ---- */

struct reading {
    struct job job; /* first */
    uint32_t serial;
    size_t len;
    int error;
    struct map_error why;
    struct map_update *update;
    char json[];
};

static void bad_map(struct node *n, int e, const struct map_error *why, uint64_t now)
{
    char text[DETAIL_MAX];
    snprintf(text, sizeof text, "a network map that is not to be understood: %s (at byte %zu)",
             e == GS_EINVALID ? why->why : gs_error_text(e), why->at);
    gsi_session_lost(n, e, text, now);
}

static void drain_map(struct node *n, int most, uint64_t now)
{
    struct map_event ev;
    for (int i = 0; n->members.draining && i < most; i++)
        if (gsi_netmap_next(n->map, &ev))
            take_map_event(n, &ev, now);
        else {
            n->members.draining = false;
            finish(n, now);
        }
}

static void apply(struct node *n, struct map_update *u, uint64_t now)
{
    struct map_error why;
    pthread_mutex_lock(&n->lock);
    int e = gsi_netmap_apply(n->map, u, gsi_node_wall_s(), &why);
    pthread_mutex_unlock(&n->lock);
    if (e < 0) {
        bad_map(n, e, &why, now);
        return;
    }
    n->members.draining = true;
}

static void read_there(struct job *j)
{
    struct reading *r = (struct reading *)j;
    r->error = gsi_map_parse(r->json, r->len, &r->update, &r->why);
}

static void drop_reading(struct job *j)
{
    struct reading *r = (struct reading *)j;
    gsi_map_update_free(r->update);
    OPENSSL_free(r);
}

/* A map is applied when the events of the one before have all been worked on: else they would be forgotten. */
static void have_read(struct node *n, struct job *j, uint64_t now)
{
    (void)now;
    j->next = NULL;
    *n->members.ready_last = j;
    n->members.ready_last = &j->next;
}

static void apply_next(struct node *n, uint64_t now)
{
    struct reading *r = (struct reading *)n->members.ready;
    struct map_update *u = r->update;
    if (!(n->members.ready = r->job.next))
        n->members.ready_last = &n->members.ready;
    n->members.reading--;
    n->members.reading_bytes -= r->len;
    r->update = NULL;
    if (r->serial != n->session.serial)
        gsi_map_update_free(u); /* of a stream that is over */
    else if (r->error < 0)
        bad_map(n, r->error, &r->why, now);
    else
        apply(n, u, now);
    drop_reading(&r->job);
}

void gsi_members_message(struct node *n, gs_bytes json, uint64_t now)
{
    struct map_error why = {0};
    struct map_update *u = NULL;
    if (json.n <= NODE_INLINE && !n->members.reading && !n->members.draining) {
        int e = gsi_map_parse(json.p, json.n, &u, &why);
        if (e < 0)
            bad_map(n, e, &why, now);
        else
            apply(n, u, now);
        return;
    }
    struct reading *r = OPENSSL_malloc(sizeof *r + json.n);
    if (!r) {
        bad_map(n, -ENOMEM, &why, now);
        return;
    }
    if ((n->members.reading_bytes += json.n) > READING_MAX) {
        n->members.reading_bytes -= json.n;
        OPENSSL_free(r);
        gsi_session_lost(n, -EMSGSIZE, "more network maps at a time than can be worked on", now);
        return;
    }
    *r = (struct reading){
        .job = {.run = read_there, .done = have_read, .drop = drop_reading}, .serial = n->session.serial, .len = json.n};
    memcpy(r->json, json.p, json.n);
    int e = gsi_worker_give(n, &n->reader, &r->job);
    n->members.reading += e == 0;
    if (e < 0) {
        n->members.reading_bytes -= json.n;
        drop_reading(&r->job);
        bad_map(n, e, &why, now);
    }
}

/* ---- time ---- */

void gsi_members_step(struct node *n, uint64_t now)
{
    struct members *m = &n->members;
    drain_map(n, NODE_EVENTS, now);
    if (!m->draining && m->ready)
        apply_next(n, now);
    else if (!m->draining && now >= m->check_at) {
        m->check_at = now + CHECK_EACH;
        tell_expiry(n);
        gsi_peers_check(n, now);
        if (m->self_due || m->filter_due)
            finish(n, now);
    }
    gsi_peers_reset_gone(n); /* before packets of whose the addresses are now */
}

uint64_t gsi_members_deadline(const struct node *n) { return n->members.draining || n->members.ready ? 0 : n->members.check_at; }

int gsi_members_new_key(struct node *n, uint64_t now)
{
    gsi_peers_clear(n, now);
    int e = gsi_node_make_plane(n);
    if (e == 0) {
        gsi_wireguard_newcomer(n->wireguard, now + NEWCOMER);
        e = gsi_relays_renew(n, now);
    }
    if (e == 0)
        gsi_outside_tell(n, now);
    n->members.check_at = now;
    return e;
}

void gsi_members_end(struct node *n)
{
    gsi_peers_free(&n->members.peers);
    OPENSSL_free(n->members.addresses);
    for (struct job *j = n->members.ready, *next; j; j = next) {
        next = j->next;
        j->drop(j);
    }
}
