/* mix.h: a fast hash with a secret seed, for tables whose keys others choose. No MAC: what it hides is a table's order. */
#ifndef GSI_WIREGUARD_MIX_H
#define GSI_WIREGUARD_MIX_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t mix64(uint64_t seed, const void *in, size_t n)
{
    const uint8_t *p = in;
    uint64_t h = seed ^ n * UINT64_C(0x9e3779b97f4a7c15);
    while (n) {
        uint64_t v = 0;
        size_t k = n < sizeof v ? n : sizeof v;
        memcpy(&v, p, k);
        h = (h ^ v) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
        h = (h + seed) * UINT64_C(0xc4ceb9fe1a85ec53);
        h ^= h >> 29;
        p += k;
        n -= k;
    }
    return h;
}

#endif
