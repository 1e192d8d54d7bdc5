/* index.c: one open-addressed table for all ways to find a peer; an entry is a hash and the peer's number, and who asks
 * compares. */
#include <errno.h>
#include <openssl/crypto.h>

#include "tailnet/netmap/parts.h"

enum { TABLE_LEAST = 64, TABLE_MOST = 1 << 28 };

static void place(struct map_table *t, struct map_slot s)
{
    uint32_t i = s.hash & (t->cap - 1);
    while (t->slots[i].number)
        i = (i + 1) & (t->cap - 1);
    t->slots[i] = s;
}

int gsi_map_table_reserve(struct map_table *t, size_t n)
{
    uint32_t cap = t->cap ? t->cap : TABLE_LEAST;
    if (n > TABLE_MOST / 2)
        return -ENOMEM;
    while (cap / 3 * 2 < n) /* at most two thirds are full */
        cap *= 2;
    if (cap == t->cap)
        return 0;
    struct map_table grown = {.slots = OPENSSL_zalloc(cap * sizeof *grown.slots), .cap = cap, .n = t->n};
    if (!grown.slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->cap; i++)
        if (t->slots[i].number)
            place(&grown, t->slots[i]);
    OPENSSL_free(t->slots);
    *t = grown;
    return 0;
}

void gsi_map_table_add(struct map_table *t, uint32_t hash, uint32_t number)
{
    place(t, (struct map_slot){hash, number + 1});
    t->n++;
}

void gsi_map_table_remove(struct map_table *t, uint32_t hash, uint32_t number)
{
    uint32_t mask = t->cap - 1, hole = hash & mask;
    while (t->slots[hole].hash != hash || t->slots[hole].number != number + 1) {
        if (!t->slots[hole].number)
            return;
        hole = (hole + 1) & mask;
    }
    /* what was pushed over the hole moves back into it */
    for (uint32_t i = (hole + 1) & mask; t->slots[i].number; i = (i + 1) & mask) {
        uint32_t home = t->slots[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole] = (struct map_slot){0, 0};
    t->n--;
}

uint32_t gsi_map_table_next(const struct map_table *t, uint32_t hash, uint32_t *at)
{
    if (!t->cap)
        return UINT32_MAX;
    for (uint32_t i = *at & (t->cap - 1); t->slots[i].number; i = (i + 1) & (t->cap - 1))
        if (t->slots[i].hash == hash) {
            *at = i + 1;
            return t->slots[i].number - 1;
        }
    return UINT32_MAX;
}

/* Seeded, so that nobody outside chooses where names fall. */
static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static uint32_t finish(uint64_t h)
{
    h = mix(h, h >> 32);
    return (uint32_t)(h >> 32 ^ h);
}

uint32_t gsi_index_hash(uint64_t seed, enum index_kind kind, const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t h = mix(seed, (uint64_t)kind << 32 | n);
    for (; n >= 8; b += 8, n -= 8) {
        uint64_t v;
        memcpy(&v, b, 8);
        h = mix(h, v);
    }
    uint64_t rest = 0;
    memcpy(&rest, b, n);
    return finish(mix(h, rest));
}

size_t gsi_name_len(const char *name, size_t n) { return n && name[n - 1] == '.' ? n - 1 : n; }

uint32_t gsi_name_hash(uint64_t seed, const char *name, size_t n)
{
    uint64_t h = mix(seed, (uint64_t)BY_NAME << 32 | n);
    for (size_t i = 0; i < n; i++)
        h = mix(h, (uint8_t)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]));
    return finish(h);
}

/* ---- a node's entries ---- */

uint32_t gsi_netmap_entries(const struct map_node *n) { return 4 + n->addresses_n; }

static void each_entry(struct netmap *m, uint32_t at, void (*act)(struct map_table *, uint32_t, uint32_t))
{
    const struct map_node *n = m->nodes[at];
    size_t name_n = gsi_name_len(n->name, strlen(n->name));
    act(&m->index, gsi_index_hash(m->seed, BY_ID, &n->id, sizeof n->id), at);
    act(&m->index, gsi_index_hash(m->seed, BY_KEY, n->key, KEY_LEN), at);
    if (!gsi_is_zero(n->disco, KEY_LEN))
        act(&m->index, gsi_index_hash(m->seed, BY_DISCO, n->disco, KEY_LEN), at);
    if (name_n)
        act(&m->index, gsi_name_hash(m->seed, n->name, name_n), at);
    for (uint32_t i = 0; i < n->addresses_n; i++)
        if (n->addresses[i].bits == PREFIX_BITS)
            act(&m->index, gsi_index_hash(m->seed, BY_ADDRESS, n->addresses[i].ip.b, IP_LEN), at);
}

void gsi_netmap_index_add(struct netmap *m, uint32_t at) { each_entry(m, at, gsi_map_table_add); }
void gsi_netmap_index_remove(struct netmap *m, uint32_t at) { each_entry(m, at, gsi_map_table_remove); }

uint32_t gsi_netmap_find_id(const struct netmap *m, int64_t id)
{
    uint32_t hash = gsi_index_hash(m->seed, BY_ID, &id, sizeof id), at = hash;
    for (uint32_t i; (i = gsi_map_table_next(&m->index, hash, &at)) != UINT32_MAX;)
        if (m->nodes[i]->id == id)
            return i;
    return UINT32_MAX;
}
