/* peers.c: each peer of the map that may be talked to: its routes, path and identity, and what ends with them. */
#include <string.h>

#include "tailnet/node/parts.h"
#include "tailnet/stack/abort.h"

enum { BUCKETS_FIRST = 64 };

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

static void set_routes(struct node *n, struct peer *p, const struct map_node *m, uint64_t now)
{
    p->routes_due = false;
    for (uint32_t i = 0; i < m->allowed_n; i++) {
        const struct prefix *to = &m->allowed[i];
        if (!is_address(m, to))
            continue;
        if (gsi_routes_add(n->routes, to, p) < 0) {
            gsi_node_event(n, GS_TAILNET_HEALTH, "no memory for a route to %s", m->name);
            p->routes_due = true;
            gsi_members_look_again(n, now);
        } else if (!is_inside_tailnet(to))
            (void)!gsi_namespace_route(n->ns, to, true); /* a control server with addresses of its own choice */
    }
}

static void drop_routes(struct node *n, struct peer *p, const struct map_node *m)
{
    for (uint32_t i = 0; i < m->allowed_n; i++) {
        const struct prefix *to = &m->allowed[i];
        gsi_routes_remove(n->routes, to, p);
        if (is_address(m, to) && !is_inside_tailnet(to) && !gsi_routes_find(n->routes, &to->ip)) /* it may be another's by now */
            (void)!gsi_namespace_route(n->ns, to, false);
    }
}

/* ---- sockets that are no streams ---- */

void gsi_peers_reset_gone(struct node *n)
{
    struct members *m = &n->members;
    if (m->gone_n && atomic_load(&n->bare))
        (void)!gsi_tcp_abort_with(n->diag, m->gone, m->gone_n);
    m->gone_n = 0;
}

/* The kernel is asked once for many. */
static void addresses_gone(struct node *n, const struct map_node *m)
{
    for (uint32_t i = 0; i < m->addresses_n; i++) {
        if (n->members.gone_n == GONE_MAX)
            gsi_peers_reset_gone(n);
        n->members.gone[n->members.gone_n++] = m->addresses[i].ip;
    }
}

/* ---- more of one peer ---- */

static int set_path(struct node *n, struct peer *p, const struct map_node *m, uint64_t now)
{
    struct path_peer to = {.home = m->home_derp, .endpoints = m->endpoints, .n = m->endpoints_n, .user = p};
    memcpy(to.node, m->key, KEY_LEN);
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
    if (m || (m = map_node_of(n, p))) {
        drop_routes(n, p, m);
        addresses_gone(n, m);
    } else
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
        set_routes(n, p, m, now);
}

static void change_peer(struct node *n, struct peer *p, const struct map_node *before, const struct map_node *m, unsigned changed,
                        uint64_t now)
{
    if (before && changed & (MAP_CHANGED_ALLOWED | MAP_CHANGED_ADDRESSES)) {
        drop_routes(n, p, before);
        set_routes(n, p, m, now);
    }
    if (changed & MAP_CHANGED_ADDRESSES) {
        gsi_identity_reset(n, p->plane.identity); /* its connections are of the old address */
        if (before)
            addresses_gone(n, before);
    }
    p->plane.jailed = is_jailed(p, m);
    gsi_identity_changed(n, p->plane.identity);
    if (set_path(n, p, m, now) < 0)
        gsi_node_event(n, GS_TAILNET_HEALTH, "no memory for the paths to %s", m->name);
}

static bool is_usable(const struct node *n, const struct map_node *m)
{
    return gsi_netmap_use(n->map, m, gsi_node_wall_s()) == MAP_USABLE;
}

void gsi_peers_take(struct node *n, const struct map_event *ev, uint64_t now)
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
void gsi_peers_check(struct node *n, uint64_t now)
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
        if (p && usable && p->routes_due)
            set_routes(n, p, m, now);
    }
}

void gsi_peers_clear(struct node *n, uint64_t now)
{
    struct peers *t = &n->members.peers;
    for (size_t i = 0; i < t->buckets; i++)
        while (t->bucket[i])
            remove_peer(n, t->bucket[i], NULL, now);
    gsi_peers_reset_gone(n);
}

void gsi_peers_free(struct peers *t)
{
    for (size_t i = 0; i < t->buckets; i++)
        for (struct peer *p = t->bucket[i], *next; p; p = next) {
            next = p->next;
            OPENSSL_free(p);
        }
    OPENSSL_free(t->bucket);
    *t = (struct peers){0};
}
