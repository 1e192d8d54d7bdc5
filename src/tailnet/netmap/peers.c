/* peers.c: the deltas of one message to the peers (reference, 4.3): worked out beside the map first, then put in, which
 * cannot fail. */
#include <errno.h>
#include <openssl/crypto.h>

#include "tailnet/netmap/parts.h"

static uint32_t id_hash(const struct netmap *m, int64_t id) { return gsi_index_hash(m->seed, BY_ID, &id, sizeof id); }
static uint32_t key_hash(const struct netmap *m, const uint8_t *key) { return gsi_index_hash(m->seed, BY_KEY, key, KEY_LEN); }

static struct change *find_change(const struct netmap *m, const struct stage *s, int64_t id)
{
    uint32_t hash = id_hash(m, id), at = hash;
    for (uint32_t i; (i = gsi_map_table_next(&s->by_id, hash, &at)) != UINT32_MAX;)
        if (s->changes[i].id == id)
            return &s->changes[i];
    return NULL;
}

static struct map_node *map_has(const struct netmap *m, int64_t id)
{
    uint32_t at = gsi_netmap_find_id(m, id);
    return at == UINT32_MAX ? NULL : m->nodes[at];
}

/* The peer as this message has left it so far; NULL: there is none. */
static const struct map_node *current(const struct netmap *m, const struct stage *s, int64_t id)
{
    const struct change *c = find_change(m, s, id);
    return c ? c->after : s->from_empty ? NULL : map_has(m, id);
}

/* Takes after; NULL removes. */
static void set(struct netmap *m, struct stage *s, int64_t id, struct map_node *after)
{
    struct change *c = find_change(m, s, id);
    if (!c) {
        c = &s->changes[s->n++];
        *c = (struct change){.before = map_has(m, id), .id = id};
        gsi_map_table_add(&s->by_id, id_hash(m, id), (uint32_t)(s->n - 1));
    }
    OPENSSL_free(c->after);
    c->after = after;
    if (after)
        gsi_map_table_add(&s->by_key, key_hash(m, after->key), (uint32_t)(c - s->changes));
}

/* Whether a peer of another ID has this key, as this message has left them so far. */
static bool key_is_taken(const struct netmap *m, const struct stage *s, const struct map_node *n)
{
    uint32_t hash = key_hash(m, n->key), at = hash;
    for (uint32_t i; (i = gsi_map_table_next(&s->by_key, hash, &at)) != UINT32_MAX;) {
        const struct map_node *other = s->changes[i].after; /* entries of what was replaced stay: look */
        if (other && other->id != n->id && memcmp(other->key, n->key, KEY_LEN) == 0)
            return true;
    }
    const struct map_node *other = s->from_empty ? NULL : gsi_netmap_by_key(m, n->key);
    return other && other->id != n->id && !find_change(m, s, other->id);
}

/* Takes n: in it goes, or it is dropped, and its ID with it. */
static void put(struct netmap *m, struct stage *s, struct map_node *n)
{
    bool own = s->self && (n->id == s->self->id || memcmp(n->key, s->self->key, KEY_LEN) == 0);
    if (!own && !gsi_is_zero(n->key, KEY_LEN) && !key_is_taken(m, s, n)) {
        set(m, s, n->id, n);
        return;
    }
    s->dropped++;
    if (current(m, s, n->id))
        set(m, s, n->id, NULL);
    OPENSSL_free(n);
}

static int patch_peer(struct netmap *m, struct stage *s, int64_t id, const struct map_node *patch, unsigned fields,
                      int64_t wall_s)
{
    const struct map_node *have = current(m, s, id);
    if (!have)
        return 0; /* unknown: ignored */
    struct map_node n = *have;
    gsi_node_patch(&n, patch, fields, wall_s);
    struct map_node *packed = gsi_node_pack(&n);
    if (!packed)
        return -ENOMEM;
    put(m, s, packed);
    return 0;
}

/* In the order of the reference. */
static int stage_all(struct netmap *m, struct map_update *u, int64_t wall_s, struct stage *s)
{
    static const struct map_node none;
    int e = 0;
    if (!u->has_peers)
        for (size_t i = 0; i < u->removed_n; i++)
            if (current(m, s, u->removed[i]))
                set(m, s, u->removed[i], NULL);
    for (size_t i = 0; i < u->nodes_n; i++) {
        put(m, s, u->nodes[i]);
        u->nodes[i] = NULL;
    }
    for (size_t i = 0; i < u->seen_n && e == 0 && !u->has_peers; i++)
        e = patch_peer(m, s, u->seen[i].id, &none, u->seen[i].yes ? PATCH_SEEN_NOW : PATCH_LAST_SEEN, wall_s);
    for (size_t i = 0; i < u->online_n && e == 0 && !u->has_peers; i++) {
        struct map_node online = {.online = u->online[i].yes ? MAP_YES : MAP_NO};
        e = patch_peer(m, s, u->online[i].id, &online, PATCH_ONLINE, wall_s);
    }
    for (size_t i = 0; i < u->patches_n && e == 0 && !u->has_peers; i++)
        e = patch_peer(m, s, u->patches[i].node->id, u->patches[i].node, u->patches[i].fields, wall_s);
    return e;
}

/* Who stays only because nobody spoke of him. */
static void remove_the_rest(struct netmap *m, struct stage *s)
{
    for (uint32_t i = 0; i < m->nodes_n; i++) {
        const struct map_node *n = m->nodes[i];
        bool own = n && s->self && (n->id == s->self->id || memcmp(n->key, s->self->key, KEY_LEN) == 0);
        if (n && (s->from_empty || own) && !find_change(m, s, n->id))
            set(m, s, n->id, NULL);
    }
}

/* Room for all that is to come, so that the commit cannot fail. */
static int reserve(struct netmap *m, const struct stage *s, const char **why)
{
    size_t entries = m->index.n, adds = 0, peers = gsi_netmap_peers_n(m);
    for (size_t i = 0; i < s->n; i++) {
        entries += s->changes[i].after ? gsi_netmap_entries(s->changes[i].after) : 0;
        adds += s->changes[i].after && !s->changes[i].before;
        peers += (s->changes[i].after != NULL) - (size_t)(s->changes[i].before != NULL);
    }
    if (peers > MAP_PEERS_MAX) {
        *why = "too many peers";
        return GS_EINVALID;
    }
    size_t want = m->nodes_n + adds, cap = m->nodes_cap ? m->nodes_cap : 16;
    while (cap < want)
        cap += cap / 2;
    if (cap > m->nodes_cap) {
        struct map_node **nodes = OPENSSL_realloc(m->nodes, cap * sizeof(struct map_node *));
        if (!nodes)
            return -ENOMEM;
        m->nodes = nodes;
        uint32_t *holes = OPENSSL_realloc(m->holes, cap * sizeof *holes);
        if (!holes)
            return -ENOMEM;
        m->holes = holes;
        m->nodes_cap = (uint32_t)cap;
    }
    return gsi_map_table_reserve(&m->index, entries);
}

int gsi_stage_peers(struct netmap *m, struct map_update *u, int64_t wall_s, struct stage *s, const char **why)
{
    bool self_changed = s->self && (!m->self || memcmp(m->self->key, s->self->key, KEY_LEN) != 0 || m->self->id != s->self->id);
    size_t most = u->nodes_n + u->removed_n + u->seen_n + u->online_n + u->patches_n;
    if (s->from_empty || self_changed)
        most += gsi_netmap_peers_n(m);
    if (!most)
        return 0;
    s->changes = OPENSSL_zalloc(most * sizeof *s->changes);
    if (!s->changes || gsi_map_table_reserve(&s->by_id, most) < 0 || gsi_map_table_reserve(&s->by_key, most) < 0)
        return -ENOMEM;
    if (self_changed && !s->from_empty)
        remove_the_rest(m, s); /* who has this node's key: first, so that a delta may bring the ID again */
    int e = stage_all(m, u, wall_s, s);
    if (e < 0)
        return e;
    if (s->from_empty)
        remove_the_rest(m, s);
    return reserve(m, s, why);
}

void gsi_stage_free(struct stage *s)
{
    for (size_t i = 0; i < s->n; i++)
        OPENSSL_free(s->changes[i].after);
    OPENSSL_free(s->changes);
    OPENSSL_free(s->by_id.slots);
    OPENSSL_free(s->by_key.slots);
    *s = (struct stage){0};
}

static void count(struct netmap *m, const struct map_node *before, const struct map_node *after)
{
    m->node_bytes += (after ? after->size : 0) - (size_t)(before ? before->size : 0);
    m->unsigned_n += (after && after->unsigned_peer_api_only) - (size_t)(before && before->unsigned_peer_api_only);
}

void gsi_stage_commit(struct netmap *m, struct stage *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct change c = s->changes[i];
        c.changed = c.before && c.after ? gsi_node_diff(c.before, c.after) : c.before || c.after ? MAP_CHANGED_ALL : 0;
        if (!c.changed) {
            OPENSSL_free(c.after);
            continue;
        }
        uint32_t at = c.before ? gsi_netmap_find_id(m, c.id) : m->holes_n ? m->holes[--m->holes_n] : m->nodes_n++;
        if (c.before)
            gsi_netmap_index_remove(m, at);
        m->nodes[at] = c.after;
        if (c.after)
            gsi_netmap_index_add(m, at);
        else
            m->holes[m->holes_n++] = at;
        count(m, c.before, c.after);
        s->changes[kept++] = c;
    }
    m->changes = s->changes;
    m->changes_n = kept;
    m->change_at = 0;
    m->dropped += s->dropped;
    s->changes = NULL;
    s->n = 0;
    gsi_stage_free(s);
}
