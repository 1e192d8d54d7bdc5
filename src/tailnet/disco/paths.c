/* paths.c: the peers and what concerns all of them: the netmap, our own endpoints, events. */
#include "tailnet/disco/path.h"

#include <errno.h>

/* ---- the whole ---- */

struct paths *gsi_paths_new(const struct paths_config *c)
{
    struct paths *p = OPENSSL_zalloc(sizeof *p);
    if (!p)
        return NULL;
    memcpy(p->private, c->disco_private, KEY_LEN);
    memcpy(p->node, c->node_public, KEY_LEN);
    gsi_x25519_public(p->public, p->private);
    p->loopback = c->loopback;
    p->relay_only = c->relay_only;
    p->peers_max = c->peers_max ? c->peers_max : PEERS_MAX;
    p->now = 1;
    gsi_table_init(&p->nodes);
    gsi_table_init(&p->discos);
    gsi_table_init(&p->addresses);
    gsi_table_init(&p->txids);
    queue_init(&p->beating);
    queue_init(&p->trusted);
    queue_init(&p->waiting);
    queue_init(&p->telling);
    queue_init(&p->pings);
    return p;
}

void gsi_paths_free(struct paths *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->nodes.size; i++)
        while (p->nodes.buckets[i])
            gsi_path_remove(p, CONTAINER(p->nodes.buckets[i], struct path, by_node));
    gsi_table_free(&p->nodes);
    gsi_table_free(&p->discos);
    gsi_table_free(&p->addresses);
    gsi_table_free(&p->txids);
    gsi_wipe(p, sizeof *p);
    OPENSSL_free(p);
}

const uint8_t *gsi_paths_disco_public(const struct paths *p) { return p->public; }

void gsi_paths_stats(const struct paths *p, struct paths_stats *out) { *out = p->stats; }

/* ---- the netmap ---- */

struct path *gsi_path_find(const struct paths *p, const uint8_t node[KEY_LEN])
{
    struct item *item = gsi_table_first(&p->nodes, gsi_table_hash(&p->nodes, node, KEY_LEN));
    for (; item; item = gsi_table_next(item)) {
        struct path *path = CONTAINER(item, struct path, by_node);
        if (memcmp(path->node, node, KEY_LEN) == 0)
            return path;
    }
    return NULL;
}

/* Adds what is new in the netmap's list, then drops what is no more in it. -ENOMEM: nothing has changed. */
static int set_endpoints(struct paths *p, struct path *path, const struct path_peer *peer)
{
    bool ok = true;
    for (size_t i = 0; ok && i < peer->n; i++) {
        if (!gsi_candidate_is_usable(p, &peer->endpoints[i], false))
            continue;
        struct candidate *c = gsi_candidate_add(p, path, &peer->endpoints[i]);
        if (c)
            c->fresh = true;
        ok = c || path->n == PATH_CANDIDATES_MAX;
    }
    for (size_t i = 0; i < path->n; i++) {
        struct candidate *c = path->candidates[i];
        c->in_netmap = ok ? c->fresh : c->in_netmap;
        c->fresh = false;
    }
    gsi_candidate_drop_unused(p, path);
    return ok ? 0 : -ENOMEM;
}

static void unlist(struct paths *p, struct path *path)
{
    if (path->is_listed)
        gsi_table_remove(&p->discos, &path->by_disco);
    path->is_listed = path->has_disco = path->has_shared = false;
    gsi_wipe(path->shared, sizeof path->shared);
}

/* Another key is another process of the same peer: its addresses may still be right, but who answered there is gone. */
static int set_disco(struct paths *p, struct path *path, const uint8_t disco[KEY_LEN])
{
    if (memcmp(path->disco, disco, KEY_LEN) == 0)
        return 0;
    unlist(p, path);
    memcpy(path->disco, disco, KEY_LEN);
    path->called_ns = path->hear_call_ns = path->next_ping_ns = 0;
    for (size_t i = 0; i < path->n; i++)
        path->candidates[i]->pinged_ns = 0;
    if (queue_has(&path->trusted))
        gsi_path_lapse(p, path);
    if (gsi_is_zero(disco, KEY_LEN))
        return 0;
    if (gsi_table_add(&p->discos, &path->by_disco, disco, KEY_LEN) < 0) {
        memset(path->disco, 0, KEY_LEN); /* the table was empty, so there was no key before */
        return -ENOMEM;
    }
    path->is_listed = path->has_disco = true;
    return 0;
}

static struct path *add(struct paths *p, const struct path_peer *peer)
{
    struct path *path = OPENSSL_zalloc(sizeof *path);
    if (!path)
        return NULL;
    if (gsi_table_add(&p->nodes, &path->by_node, peer->node, KEY_LEN) < 0) {
        OPENSSL_free(path);
        return NULL;
    }
    memcpy(path->node, peer->node, KEY_LEN);
    queue_init(&path->pings);
    return path;
}

int gsi_path_set(struct paths *p, const struct path_peer *peer, uint64_t now_ns, struct path **out)
{
    struct path *path = gsi_path_find(p, peer->node);
    bool is_new = !path;
    gsi_paths_now(p, now_ns);
    if (memcmp(peer->node, p->node, KEY_LEN) == 0)
        return GS_EINVALID;
    if (is_new && p->nodes.n >= p->peers_max)
        return -ENOSPC;
    if (is_new && !(path = add(p, peer)))
        return -ENOMEM;
    int e = set_endpoints(p, path, peer);
    if (e == 0)
        e = set_disco(p, path, peer->disco);
    if (e < 0) {
        if (is_new)
            gsi_path_remove(p, path);
        return e;
    }
    path->user = peer->user;
    path->home = peer->home;
    if (is_new)
        gsi_path_info(path, &path->told);
    else
        gsi_path_tell(p, path);
    *out = path;
    return 0;
}

void gsi_path_remove(struct paths *p, struct path *path)
{
    struct link *l;
    while ((l = queue_first(&path->pings)))
        gsi_path_end_ping(p, CONTAINER(l, struct ping, of_path));
    gsi_paths_forget_orders(p, path);
    path->has_best = false;
    gsi_candidate_drop_all(p, path);
    queue_take(&path->beating);
    queue_take(&path->trusted);
    queue_take(&path->waiting);
    queue_take(&path->telling);
    unlist(p, path);
    gsi_table_remove(&p->nodes, &path->by_node);
    gsi_wipe(path, sizeof *path);
    OPENSSL_free(path);
}

void gsi_path_heard_relay(struct path *path, uint32_t region) { path->heard_region = region; }

/* ---- this node ---- */

void gsi_paths_endpoints(struct paths *p, const struct endpoint *own, size_t n, uint64_t now_ns)
{
    gsi_paths_now(p, now_ns);
    p->n_own = n < DISCO_ENDPOINTS_MAX ? n : DISCO_ENDPOINTS_MAX;
    if (p->n_own)
        memcpy(p->own, own, p->n_own * sizeof *own);
    p->own_ns = p->now;
    p->wants_endpoints = p->told_wants = false;
}

void gsi_paths_link_changed(struct paths *p, uint64_t now_ns)
{
    gsi_paths_now(p, now_ns);
    p->own_ns = 0;
    for (size_t i = 0; i < p->nodes.size; i++)
        for (struct item *item = p->nodes.buckets[i]; item; item = item->next) {
            struct path *path = CONTAINER(item, struct path, by_node);
            for (size_t k = 0; k < path->n; k++)
                path->candidates[k]->pinged_ns = 0;
            path->called_ns = 0;
            gsi_path_lapse(p, path);
        }
}

/* ---- events ---- */

static bool is_news(const struct path_info *a, const struct path_info *b)
{
    return a->kind != b->kind || (a->kind == PATH_DIRECT && !gsi_endpoint_equal(&a->at, &b->at));
}

bool gsi_paths_next(struct paths *p, struct paths_event *event)
{
    struct link *l;
    if (p->wants_endpoints && !p->told_wants) {
        p->told_wants = true;
        *event = (struct paths_event){.type = PATHS_WANT_ENDPOINTS};
        return true;
    }
    while ((l = queue_first(&p->telling))) {
        struct path *path = CONTAINER(l, struct path, telling);
        *event = (struct paths_event){.path = path, .user = path->user, .info = path->answer};
        if (path->answered) {
            path->answered = false;
            event->type = PATHS_PONG;
            return true;
        }
        queue_take(l);
        gsi_path_info(path, &event->info);
        event->type = PATHS_CHANGED;
        if (!is_news(&event->info, &path->told))
            continue;
        path->told = event->info;
        return true;
    }
    return false;
}
