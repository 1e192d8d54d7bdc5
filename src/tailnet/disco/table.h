/* table.h: hash tables whose items lie in the things they find, and queues whose links do. Of disco/ alone.
 *
 * Hashes are keyed with randomness: who chooses addresses and keys does not choose the bucket. Items of equal keys are allowed. A
 * queue is ordered by time as long as everything in it waits equally long, which needs no heap.
 */
#ifndef GSI_TAILNET_DISCO_TABLE_H
#define GSI_TAILNET_DISCO_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

#define CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

struct item {
    struct item *next;
    uint64_t hash;
};

struct table {
    struct item **buckets;
    size_t n, size; /* size: a power of two, or 0 */
    uint64_t seed;
};

void gsi_table_init(struct table *t);
void gsi_table_free(struct table *t); /* not the items */
uint64_t gsi_table_hash(const struct table *t, const void *key, size_t n);
/* 0; -ENOMEM, only when the table has no bucket yet. */
GS_MUST_USE int gsi_table_add(struct table *t, struct item *item, const void *key, size_t n);
void gsi_table_remove(struct table *t, struct item *item);
/* The first item with this hash, and the next one; the caller compares the keys. */
struct item *gsi_table_first(const struct table *t, uint64_t hash);
struct item *gsi_table_next(const struct item *item);

struct link {
    struct link *prev, *next; /* NULL: in no queue */
};

static inline void queue_init(struct link *head) { head->prev = head->next = head; }
static inline bool queue_has(const struct link *l) { return l->next != NULL; }
static inline struct link *queue_first(const struct link *head) { return head->next == head ? NULL : head->next; }
static inline void queue_put(struct link *head, struct link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
static inline void queue_take(struct link *l)
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

#endif
