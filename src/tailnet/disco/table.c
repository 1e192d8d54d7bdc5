/* table.c: table.h. */
#include "tailnet/disco/table.h"

#include <errno.h>
#include <string.h>

#include "tailnet/crypto/crypto.h"

enum { FIRST_SIZE = 16 };

void gsi_table_init(struct table *t)
{
    *t = (struct table){0};
    gsi_random(&t->seed, sizeof t->seed);
}

void gsi_table_free(struct table *t)
{
    OPENSSL_free(t->buckets);
    t->buckets = NULL;
    t->n = t->size = 0;
}

uint64_t gsi_table_hash(const struct table *t, const void *key, size_t n)
{
    const uint8_t *p = key;
    uint64_t h = t->seed, word;
    for (; n; n -= n < sizeof word ? n : sizeof word, p += sizeof word) {
        word = 0;
        memcpy(&word, p, n < sizeof word ? n : sizeof word);
        h = (h ^ word) * 0x9e3779b97f4a7c15; /* 2^64 / golden ratio */
        h ^= h >> 29;
    }
    return h * 0xbf58476d1ce4e5b9 ^ h >> 32;
}

static void put(struct table *t, struct item *item)
{
    struct item **bucket = &t->buckets[item->hash & (t->size - 1)];
    item->next = *bucket;
    *bucket = item;
}

/* Without memory the table stays as it is, and gets slower. */
static void grow(struct table *t)
{
    size_t size = t->size ? t->size * 2 : FIRST_SIZE;
    struct table old = *t;
    struct item **buckets = OPENSSL_zalloc(size * sizeof(struct item *));
    if (!buckets)
        return;
    t->buckets = buckets;
    t->size = size;
    for (size_t i = 0; i < old.size; i++)
        for (struct item *item = old.buckets[i], *next; item; item = next) {
            next = item->next;
            put(t, item);
        }
    OPENSSL_free(old.buckets);
}

int gsi_table_add(struct table *t, struct item *item, const void *key, size_t n)
{
    if (t->n >= t->size)
        grow(t);
    if (!t->size)
        return -ENOMEM;
    item->hash = gsi_table_hash(t, key, n);
    put(t, item);
    t->n++;
    return 0;
}

void gsi_table_remove(struct table *t, struct item *item)
{
    struct item **at = &t->buckets[item->hash & (t->size - 1)];
    while (*at != item)
        at = &(*at)->next;
    *at = item->next;
    item->next = NULL;
    t->n--;
}

static struct item *same(struct item *item, uint64_t hash)
{
    while (item && item->hash != hash)
        item = item->next;
    return item;
}

struct item *gsi_table_first(const struct table *t, uint64_t hash)
{
    return t->size ? same(t->buckets[hash & (t->size - 1)], hash) : NULL;
}

struct item *gsi_table_next(const struct item *item) { return same(item->next, item->hash); }
