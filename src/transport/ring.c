/* ring.c: the bounded byte queue of ring.h. */
#include "transport/ring.h"

#include <errno.h>
#include <string.h>

#include "base/seam.h"

enum { RING_MIN = 1024 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Bytes out of the ring without taking them. */
static void copy_out(const struct gsi_ring *r, uint8_t *to, size_t n)
{
    size_t first = least(n, r->cap - r->at);
    memcpy(to, r->p + r->at, first);
    memcpy(to + first, r->p, n - first);
}

/* Room for n bytes in all, if there is memory. */
static void grow(struct gsi_ring *r, size_t n)
{
    uint32_t cap = RING_MIN;
    while (cap < n)
        cap *= 2;
    if (cap <= r->cap)
        return;
    uint8_t *p = gsi_alloc(cap);
    if (!p)
        return;
    if (r->n)
        copy_out(r, p, r->n);
    gsi_free(r->p);
    r->p = p;
    r->cap = cap;
    r->at = 0;
}

ssize_t gsi_ring_write(struct gsi_ring *r, const struct iovec *iov, int n, size_t limit)
{
    size_t total = 0;
    for (int i = 0; i < n && total < limit; i++)
        total += least(iov[i].iov_len, limit - total);
    total = least(total, GSI_RING_MAX - r->n);
    if (!total)
        return 0;
    grow(r, r->n + total);
    total = least(total, r->cap - r->n);
    if (!total)
        return -ENOMEM;
    size_t left = total;
    for (int i = 0; left; i++) {
        size_t k = least(iov[i].iov_len, left);
        if (!k)
            continue;
        size_t end = (r->at + r->n) % r->cap, first = least(k, r->cap - end);
        memcpy(r->p + end, iov[i].iov_base, first);
        memcpy(r->p, (const uint8_t *)iov[i].iov_base + first, k - first);
        r->n += (uint32_t)k;
        left -= k;
    }
    return (ssize_t)total;
}

size_t gsi_ring_read(struct gsi_ring *r, const struct iovec *iov, int n, size_t limit)
{
    size_t taken = 0;
    for (int i = 0; i < n && r->n && taken < limit; i++) {
        size_t k = least(least(iov[i].iov_len, r->n), limit - taken);
        if (!k)
            continue;
        copy_out(r, iov[i].iov_base, k);
        r->at = (uint32_t)((r->at + k) % r->cap);
        r->n -= (uint32_t)k;
        taken += k;
    }
    return taken;
}

void gsi_ring_free(struct gsi_ring *r)
{
    gsi_free(r->p);
    *r = (struct gsi_ring){0};
}
