/* indexes.h: from a receiver index of the wire to the session or pending initiation that it names: random 32-bit numbers,
 * unpredictable to others, found in O(1), free again as soon as what they name is gone. */
#ifndef GSI_WIREGUARD_INDEXES_H
#define GSI_WIREGUARD_INDEXES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

struct wg_peer;
struct keypair;

struct indexed {
    uint32_t index;
    struct wg_peer *peer; /* NULL: the slot is free */
    struct keypair *pair; /* NULL: the peer's pending initiation */
};

struct indexes {
    struct indexed *slot; /* linear probing, a power of two, at most half full */
    size_t cap, n;
};

/* A new index. -ENOMEM, -ENOBUFS. */
GS_MUST_USE int gsi_index_take(struct indexes *x, struct wg_peer *peer, struct keypair *pair, uint32_t *index);
/* NULL: nobody's. Until the next take or give. */
struct indexed *gsi_index_find(const struct indexes *x, uint32_t index);
/* One that nobody has is nothing. */
void gsi_index_give(struct indexes *x, uint32_t index);
void gsi_indexes_fini(struct indexes *x);

#endif
