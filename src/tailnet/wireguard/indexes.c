/* indexes.c: open addressing; the index is its own hash, as it is random and ours. */
#include "tailnet/wireguard/indexes.h"

#include <errno.h>
#include <openssl/crypto.h>

#include "tailnet/crypto/crypto.h"

enum { FIRST = 16, MOST = 1 << 22 };

/* Where it is, or the free slot where it would be. */
static size_t place(const struct indexes *x, uint32_t index)
{
    size_t i = index & (x->cap - 1);
    while (x->slot[i].peer && x->slot[i].index != index)
        i = (i + 1) & (x->cap - 1);
    return i;
}

struct indexed *gsi_index_find(const struct indexes *x, uint32_t index)
{
    if (!x->cap)
        return NULL;
    struct indexed *found = &x->slot[place(x, index)];
    return found->peer ? found : NULL;
}

static int grow(struct indexes *x)
{
    struct indexes bigger = {.cap = x->cap ? 2 * x->cap : FIRST, .n = x->n};
    if (bigger.cap > MOST)
        return -ENOBUFS;
    bigger.slot = OPENSSL_zalloc(bigger.cap * sizeof *bigger.slot);
    if (!bigger.slot)
        return -ENOMEM;
    for (size_t i = 0; i < x->cap; i++)
        if (x->slot[i].peer)
            bigger.slot[place(&bigger, x->slot[i].index)] = x->slot[i];
    OPENSSL_free(x->slot);
    *x = bigger;
    return 0;
}

int gsi_index_take(struct indexes *x, struct wg_peer *peer, struct keypair *pair, uint32_t *index)
{
    if (x->n >= x->cap / 2) {
        int e = grow(x);
        if (e)
            return e;
    }
    uint32_t number;
    do
        gsi_random(&number, sizeof number);
    while (gsi_index_find(x, number));
    x->slot[place(x, number)] = (struct indexed){number, peer, pair};
    x->n++;
    *index = number;
    return 0;
}

/* Those behind the gap move up, unless that would bring them in front of their own place. */
void gsi_index_give(struct indexes *x, uint32_t index)
{
    struct indexed *found = gsi_index_find(x, index);
    if (!found)
        return;
    size_t mask = x->cap - 1, gap = (size_t)(found - x->slot);
    for (size_t i = (gap + 1) & mask; x->slot[i].peer; i = (i + 1) & mask) {
        size_t home = x->slot[i].index & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            x->slot[gap] = x->slot[i];
            gap = i;
        }
    }
    x->slot[gap] = (struct indexed){0};
    x->n--;
}

void gsi_indexes_fini(struct indexes *x)
{
    OPENSSL_free(x->slot);
    *x = (struct indexes){0};
}
