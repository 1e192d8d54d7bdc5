/* backoff.c: waiting longer each time, and not all nodes at once. */
#include "tailnet/control/backoff.h"

#include "tailnet/crypto/crypto.h"

/* The modulo's bias is below 2^-28 for spans of minutes. */
uint64_t gsi_backoff_between(uint64_t least, uint64_t most)
{
    uint64_t r;
    gsi_random(&r, sizeof r);
    return most > least ? least + r % (most - least) : least;
}

uint64_t gsi_backoff_next(struct backoff *b)
{
    if (b->tries < UINT16_MAX) /* n² stays far from overflow */
        b->tries++;
    uint64_t d = (uint64_t)b->tries * b->tries * BACKOFF_STEP_NS;
    if (d > b->max_ns)
        d = b->max_ns;
    return gsi_backoff_between(d / 2, d / 2 + d);
}
