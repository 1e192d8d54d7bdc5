/* candidate.c: the addresses where a peer may be: from the netmap, from its CallMeMaybe, and those that its pings came from. */
#include "tailnet/disco/path.h"

bool gsi_candidate_is_usable(const struct paths *p, const struct endpoint *e, bool by_call)
{
    static const uint8_t any_v4[4], broadcast[4] = {255, 255, 255, 255};
    struct ip any = gsi_ip_of_v4(any_v4), all = gsi_ip_of_v4(broadcast);
    if (p->relay_only || !e->port || gsi_ip_is_none(&e->ip) || gsi_ip_equal(&e->ip, &any))
        return false;
    if (gsi_ip_equal(&e->ip, &all) || gsi_ip_is_multicast(&e->ip))
        return false;
    if (gsi_ip_is_loopback(&e->ip))
        return p->loopback;
    return !gsi_ip_is_link_local(&e->ip) || (!by_call && gsi_ip_is_v4(&e->ip));
}

struct candidate *gsi_candidate_find(const struct path *path, const struct endpoint *at)
{
    for (size_t i = 0; i < path->n; i++)
        if (gsi_endpoint_equal(&path->candidates[i]->at, at))
            return path->candidates[i];
    return NULL;
}

static void forget_note(struct paths *p, struct candidate *c)
{
    if (c->is_noted)
        gsi_table_remove(&p->addresses, &c->by_address);
    c->is_noted = false;
}

static void drop(struct paths *p, struct path *path, size_t i)
{
    struct candidate *c = path->candidates[i];
    forget_note(p, c);
    path->candidates[i] = path->candidates[--path->n];
    OPENSSL_free(c);
}

static bool is_best(const struct path *path, const struct candidate *c)
{
    return path->has_best && gsi_endpoint_equal(&path->best.at, &c->at);
}

static bool is_used(const struct paths *p, const struct candidate *c)
{
    return c->fresh || c->in_netmap || c->called || (is_best(c->path, c) && queue_has(&c->path->trusted)) ||
           (c->heard_ns && p->now - c->heard_ns <= MS(SESSION_MS));
}

void gsi_candidate_drop_unused(struct paths *p, struct path *path)
{
    for (size_t i = path->n; i-- > 0;) {
        struct candidate *c = path->candidates[i];
        if (is_used(p, c))
            continue;
        if (is_best(path, c)) {
            path->has_best = false;
            path->best = (struct path_quality){0};
            gsi_path_tell(p, path);
        }
        drop(p, path, i);
    }
}

void gsi_candidate_drop_all(struct paths *p, struct path *path)
{
    while (path->n)
        drop(p, path, path->n - 1);
    OPENSSL_free(path->candidates);
    path->candidates = NULL;
    path->cap = 0;
}

/* Full: the one that is known from a ping alone, and longest silent, goes; false: there is none. */
static bool make_room(struct paths *p, struct path *path)
{
    gsi_candidate_drop_unused(p, path);
    size_t oldest = path->n;
    for (size_t i = 0; path->n == PATH_CANDIDATES_MAX && i < path->n; i++) {
        const struct candidate *c = path->candidates[i];
        bool is_kept = c->fresh || c->in_netmap || c->called || is_best(path, c);
        if (!is_kept && (oldest == path->n || c->heard_ns < path->candidates[oldest]->heard_ns))
            oldest = i;
    }
    if (oldest < path->n)
        drop(p, path, oldest);
    return path->n < PATH_CANDIDATES_MAX;
}

static bool grow(struct path *path)
{
    size_t cap = path->cap ? path->cap * 2 : 4;
    if (path->n < path->cap)
        return true;
    struct candidate **bigger = OPENSSL_realloc(path->candidates, cap * sizeof(struct candidate *));
    if (!bigger)
        return false;
    path->candidates = bigger;
    path->cap = cap;
    return true;
}

struct candidate *gsi_candidate_add(struct paths *p, struct path *path, const struct endpoint *at)
{
    struct candidate *c = gsi_candidate_find(path, at);
    if (c)
        return c;
    if ((path->n == PATH_CANDIDATES_MAX && !make_room(p, path)) || !grow(path))
        return NULL;
    c = OPENSSL_zalloc(sizeof *c);
    if (!c)
        return NULL;
    c->path = path;
    c->at = *at;
    path->candidates[path->n++] = c;
    path->next_ping_ns = 0;
    return c;
}

static struct candidate *at_address(const struct paths *p, const struct endpoint *at)
{
    uint8_t key[DISCO_ENDPOINT_LEN];
    memcpy(key, at->ip.b, IP_LEN);
    memcpy(key + IP_LEN, &at->port, 2);
    struct item *item = gsi_table_first(&p->addresses, gsi_table_hash(&p->addresses, key, sizeof key));
    for (; item; item = gsi_table_next(item)) {
        struct candidate *c = CONTAINER(item, struct candidate, by_address);
        if (gsi_endpoint_equal(&c->at, at))
            return c;
    }
    return NULL;
}

void gsi_candidate_note(struct paths *p, struct candidate *c)
{
    uint8_t key[DISCO_ENDPOINT_LEN];
    struct candidate *before = at_address(p, &c->at);
    if (before == c)
        return;
    if (before)
        forget_note(p, before);
    memcpy(key, c->at.ip.b, IP_LEN);
    memcpy(key + IP_LEN, &c->at.port, 2);
    c->is_noted = gsi_table_add(&p->addresses, &c->by_address, key, sizeof key) == 0;
}

struct path *gsi_path_at(const struct paths *p, const struct endpoint *from)
{
    struct candidate *c = at_address(p, from);
    return c ? c->path : NULL;
}
