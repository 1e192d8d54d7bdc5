/* clock.h: absolute deadlines in nanoseconds of the monotonic clock; timeouts in milliseconds exist only at the API. */
#ifndef GSI_CLOCK_H
#define GSI_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/seam.h"

#define GSI_NEVER UINT64_MAX
#define GSI_MS UINT64_C(1000000)

static inline uint64_t gsi_now(void) { return gsi_sys.now_ns(); }

/* GS_INFINITY, GS_NOWAIT or milliseconds. */
static inline bool gsi_timeout_ok(int timeout_ms) { return timeout_ms >= -2; }

/* The deadline of a timeout that starts now: GS_INFINITY never, 0 and GS_NOWAIT the past (try once, read no clock). */
static inline uint64_t gsi_deadline(int timeout_ms)
{
    return timeout_ms == -1 ? GSI_NEVER : timeout_ms <= 0 ? 0 : gsi_now() + (uint64_t)timeout_ms * GSI_MS;
}

/* What is left, for poll and epoll_wait: rounded up so that a wait never ends early; -1 never, 0 over. */
int gsi_remaining_ms(uint64_t deadline_ns);

#endif
