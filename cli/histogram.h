/* histogram.h: how often which duration came, in buckets at most 1/64 of their value wide. */
#ifndef GENSOCK_CLI_HISTOGRAM_H
#define GENSOCK_CLI_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB = 64, HISTOGRAM_BUCKETS = 64 * HISTOGRAM_SUB };

struct histogram {
    uint64_t n, max;
    uint64_t count[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t v);
/* The value that `share` (0..1) of all are at most; 0 when there are none. */
uint64_t histogram_at(const struct histogram *h, double share);

#endif
