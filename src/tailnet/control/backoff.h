/* backoff.h: how long to wait before the n-th try: n²·10 ms up to a maximum, times a random 0.5 to 1.5 (4.2).
 *
 *     struct backoff b = {.max_ns = BACKOFF_CONTROL_NS};
 *     retry_at = now + gsi_backoff_next(&b);      // it failed
 *     b.tries = 0;                                // it worked
 */
#ifndef GSI_TAILNET_CONTROL_BACKOFF_H
#define GSI_TAILNET_CONTROL_BACKOFF_H

#include <stdint.h>

#define BACKOFF_STEP_NS UINT64_C(10000000)
#define BACKOFF_CONTROL_NS UINT64_C(30000000000)
#define BACKOFF_DERP_NS UINT64_C(5000000000)

struct backoff {
    uint32_t tries;
    uint64_t max_ns;
};

uint64_t gsi_backoff_next(struct backoff *b);
/* Uniform in [least, most). */
uint64_t gsi_backoff_between(uint64_t least, uint64_t most);

#endif
