/* home.c: the home region: the least latency of 5 min among those that answer now, and no change for little. */
#include "tailnet/stun/netcheck.h"

static const double much_ns = 10e6, much_share = 2.0 / 3; /* tailnet-protocol.md 6 */

static double scaled(const struct home_region *r, uint64_t ns) { return (double)ns * (r->score > 0 ? r->score : 1); }

uint32_t gsi_home_choose(const struct home_region *regions, size_t n, uint32_t old, bool heard)
{
    const struct home_region *best = NULL, *before = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct home_region *r = &regions[i];
        if (r->id == old && old)
            before = r;
        if (!r->now_ns || r->no_home || (r->avoid && r->id != old))
            continue;
        if (!best || scaled(r, r->best_ns) < scaled(best, best->best_ns))
            best = r;
    }
    if (!best || !before || best == before || before->no_home)
        return best ? best->id : 0;
    if (!before->now_ns)
        return heard ? old : best->id;
    double is = scaled(before, before->now_ns), could_be = scaled(best, best->best_ns);
    return is - could_be < much_ns || could_be > is * much_share ? old : best->id;
}
