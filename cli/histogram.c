/* histogram.c: buckets by the position of the highest bit, each cut into HISTOGRAM_SUB equal parts. */
#include "histogram.h"

enum { SUB_BITS = 6 };

static unsigned bucket(uint64_t v)
{
    if (v < HISTOGRAM_SUB)
        return (unsigned)v;
    unsigned high = 63 - (unsigned)__builtin_clzll(v), shift = high - SUB_BITS;
    return (shift + 1) * HISTOGRAM_SUB + (unsigned)(v >> shift & (HISTOGRAM_SUB - 1));
}

/* The largest value of a bucket. */
static uint64_t upper(unsigned b)
{
    if (b < HISTOGRAM_SUB)
        return b;
    unsigned shift = b / HISTOGRAM_SUB - 1;
    return ((uint64_t)(HISTOGRAM_SUB + b % HISTOGRAM_SUB + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t v)
{
    h->n++;
    h->count[bucket(v)]++;
    if (v > h->max)
        h->max = v;
}

uint64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t seen = 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        seen += h->count[b];
        if (h->count[b] && (double)seen >= share * (double)h->n)
            return upper(b) < h->max ? upper(b) : h->max;
    }
    return h->max;
}
