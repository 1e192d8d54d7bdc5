/* clock.c: deadlines to the milliseconds that poll takes. */
#include "base/clock.h"

#include <limits.h>

int gsi_remaining_ms(uint64_t deadline_ns)
{
    if (deadline_ns == GSI_NEVER)
        return -1;
    if (deadline_ns == 0)
        return 0;
    uint64_t now = gsi_now();
    if (now >= deadline_ns)
        return 0;
    uint64_t ms = (deadline_ns - now + GSI_MS - 1) / GSI_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}
