/* members.c: what the map says becomes peers: routes, paths, WireGuard, identities; and our own addresses and filter. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tailnet/node/parts.h"

#define CHECK_EACH (30 * SECOND)
enum { BUCKETS_FIRST = 64, LISTS = 64, DAY_S = 24 * 60 * 60 };

/* ---- the table of peers, by key ---- */

static size_t bucket_of(const struct peers *p, const uint8_t key[KEY_LEN])
{
    uint64_t h;
    memcpy(&h, key, sizeof h); /* control checks keys: nobody chooses them freely */
    return (size_t)(h ^ h >> 29) & (p->buckets - 1);
}

struct peer *gsi_peers_find(const struct peers *p, const uint8_t key[KEY_LEN])
{
    struct peer *at = p->buckets ? p->bucket[bucket_of(p, key)] : NULL;
    while (at && memcmp(at->key, key, KEY_LEN) != 0)
        at = at->next;
    return at;
}

static bool grow(struct peers *p)
{
    struct peers wide = {.buckets = p->buckets ? 2 * p->buckets : BUCKETS_FIRST, .n = p->n};
    if (p->n < p->buckets)
        return true;
    if (!(wide.bucket = OPENSSL_zalloc(wide.buckets * sizeof(struct peer *))))
        return p->buckets; /* longer chains, then */
    for (size_t i = 0; i < p->buckets; i++)
        for (struct peer *at = p->bucket[i], *next; at; at = next) {
            struct peer **to = &wide.bucket[bucket_of(&wide, at->key)];
            next = at->next;
            at->next = *to;
            *to = at;
        }
    OPENSSL_free(p->bucket);
    *p = wide;
    return true;
}

/* ---- one peer ---- */

static const struct map_node *map_node_of(const struct node *n, const struct peer *p)
{
    return gsi_netmap_by_key(n->map, p->key);
}

const char *gsi_member_name(const struct node *n, const struct peer *p)
{
    const struct map_node *m = p ? map_node_of(n, p) : NULL;
    return m ? m->name : "?";
}

static bool is_inside_tailnet(const struct prefix *p)
{
    static const struct prefix tailnet[] = {{.ip = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 100, 64, 0, 0}}, .bits = 106},
                                            {.ip = {{0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0}}, .bits = 48}};
    for (size_t i = 0; i < sizeof tailnet / sizeof *tailnet; i++)
        if (p->bits >= tailnet[i].bits && gsi_prefix_has(&tailnet[i], &p->ip))
            return true;
    return false;
}

/* Only a peer's own addresses: gensock takes no subnet routes and no exit nodes. */
static bool is_address(const struct map_node *m, const struct prefix *p)
{
    for (uint32_t i = 0; i < m->addresses_n; i++)
        if (m->addresses[i].bits == p->bits && gsi_ip_equal(&m->addresses[i].ip, &p->ip))
            return true;
    return false;
}

static void set_routes(struct node *n, struct peer *p, const struct map_node *m)
{
    for (uint32_t i = 0; i < m->allowed_n; i++) {
        const struct prefix *to = &m->allowed[i];
        if (!is_address(m, to))
            continue;
        if (gsi_routes_add(n->routes, to, p) < 0)
            gsi_node_event(n, GS_TAILNET_HEALTH, "no memory for a route to %s", m->name);
        else if (!is_inside_tailnet(to))
            (void)!gsi_namespace_route(n->ns, to, true); /* a control server with addresses of its own choice */
    }
}

static void drop_routes(struct node *n, struct peer *p, const struct map_node *m)
{
    for (uint32_t i = 0; i < m->allowed_n; i++)
        gsi_routes_remove(n->routes, &m->allowed[i], p);
}

static int set_path(struct node *n, struct peer *p, const struct map_node *m, uint64_t now)
{
    struct path_peer to = {
        .home = m->home_derp, .endpoints = m->endpoints, .n = n->config.relay_only ? 0 : m->endpoints_n, .user = p};
    memcpy(to.node, m->key, KEY_LEN);
    if (!n->config.relay_only)
        memcpy(to.disco, m->disco, KEY_LEN);
    p->home = m->home_derp;
    n->stirred = true;
    return gsi_path_set(n->paths, &to, now, &p->plane.path);
}

static void remove_peer(struct node *n, struct peer *p, const struct map_node *m, uint64_t now)
{
    struct peers *t = &n->members.peers;
    struct peer **at = &t->bucket[bucket_of(t, p->key)];
    gsi_pings_end(n, p, GS_ENXDOMAIN);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    t->n--;
    if (m)
        drop_routes(n, p, m);
    else
        gsi_routes_remove_all(n->routes, p);
    gsi_wireguard_remove(n->wireguard, p->key);
    if (p->plane.path)
        gsi_path_remove(n->paths, p->plane.path);
    gsi_identity_end(n, p->plane.identity, now);
    OPENSSL_free(p);
}

/* Also who could not be told from others: its connections would not end with it. */
static bool is_jailed(const struct peer *p, const struct map_node *m)
{
    return m->jailed || m->unsigned_peer_api_only || !p->plane.identity;
}

static void add_peer(struct node *n, const struct map_node *m, uint64_t now)
{
    struct peers *t = &n->members.peers;
    struct peer *p = grow(t) ? OPENSSL_zalloc(sizeof *p) : NULL;
    if (!p) {
        gsi_node_event(n, GS_TAILNET_HEALTH, "no memory for peer %s", m->name);
        return;
    }
    memcpy(p->key, m->key, KEY_LEN);
    p->id = m->id;
    p->plane.key = p->key;
    p->plane.identity = gsi_identity_new(n, m->key, now);
    p->plane.jailed = is_jailed(p, m);
    struct peer **to = &t->bucket[bucket_of(t, p->key)];
    p->next = *to;
    *to = p;
    t->n++;
    if (set_path(n, p, m, now) < 0)
        remove_peer(n, p, m, now);
    else
        set_routes(n, p, m);
}

static void change_peer(struct node *n, struct peer *p, const struct map_node *before, const struct map_node *m, unsigned changed,
                        uint64_t now)
{
    if (before && changed & (MAP_CHANGED_ALLOWED | MAP_CHANGED_ADDRESSES)) {
        drop_routes(n, p, before);
        set_routes(n, p, m);
    }
    if (changed & MAP_CHANGED_ADDRESSES)
        gsi_identity_reset(n, p->plane.identity); /* its connections are of the old address */
    p->plane.jailed = is_jailed(p, m);
    gsi_identity_changed(n, p->plane.identity);
    if (set_path(n, p, m, now) < 0)
        gsi_node_event(n, GS_TAILNET_HEALTH, "no memory for the paths to %s", m->name);
}

static bool is_usable(const struct node *n, const struct map_node *m)
{
    return gsi_netmap_use(n->map, m, gsi_node_wall_s()) == MAP_USABLE;
}

static void take_peer(struct node *n, const struct map_event *ev, uint64_t now)
{
    const struct map_node *before = ev->before, *after = ev->after;
    struct peer *p = before ? gsi_peers_find(&n->members.peers, before->key) : NULL;
    bool usable = after && is_usable(n, after), other_key = before && after && memcmp(before->key, after->key, KEY_LEN) != 0;
    if (p && (!usable || other_key)) {
        remove_peer(n, p, before, now);
        p = NULL;
    }
    if (p)
        change_peer(n, p, before, after, ev->changed, now);
    else if (usable && !gsi_peers_find(&n->members.peers, after->key))
        add_peer(n, after, now);
    if (!before || !after || ev->changed & (MAP_CHANGED_ONLINE | MAP_CHANGED_NAME | MAP_CHANGED_KEY))
        gsi_node_event(n, GS_TAILNET_PEER, "%s%s", before ? after ? "=" : "-" : "+", after ? after->name : before->name);
}

/* Keys run out without a message; and each peer may have to be told anew. */
static void check_peers(struct node *n, uint64_t now)
{
    size_t at = 0;
    for (const struct map_node *m; (m = gsi_netmap_each(n->map, &at));) {
        struct peer *p = gsi_peers_find(&n->members.peers, m->key);
        bool usable = is_usable(n, m);
        if (p && !usable)
            remove_peer(n, p, m, now);
        else if (!p && usable)
            add_peer(n, m, now);
        else if (p && !p->plane.identity && (p->plane.identity = gsi_identity_new(n, m->key, now)))
            p->plane.jailed = is_jailed(p, m);
    }
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
    if ((m->self_due || m->filter_due) && m->check_at > now + SECOND) /* once more */
        m->check_at = now + SECOND;
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
    else if (m->addresses_n && n->state != GS_TAILNET_LOGIN)
        gsi_node_state(n, GS_TAILNET_RUNNING);
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
    case MAP_PEER: take_peer(n, ev, now); break;
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
        check_peers(n, now);
        if (m->self_due || m->filter_due)
            finish(n, now);
    }
}

uint64_t gsi_members_deadline(const struct node *n) { return n->members.draining || n->members.ready ? 0 : n->members.check_at; }

int gsi_members_new_key(struct node *n, uint64_t now)
{
    struct peers *t = &n->members.peers;
    for (size_t i = 0; i < t->buckets; i++)
        while (t->bucket[i])
            remove_peer(n, t->bucket[i], NULL, now);
    int e = gsi_node_make_plane(n);
    if (e == 0)
        e = gsi_relays_renew(n, now);
    if (e == 0)
        gsi_outside_tell(n, now);
    n->members.check_at = now;
    return e;
}

void gsi_members_end(struct node *n)
{
    struct peers *t = &n->members.peers;
    for (size_t i = 0; i < t->buckets; i++)
        for (struct peer *p = t->bucket[i], *next; p; p = next) {
            next = p->next;
            OPENSSL_free(p);
        }
    OPENSSL_free(t->bucket);
    OPENSSL_free(n->members.addresses);
    for (struct job *j = n->members.ready, *next; j; j = next) {
        next = j->next;
        j->drop(j);
    }
    *t = (struct peers){0};
}
