/* ring.h: a bounded byte queue that grows as it is filled and owns no memory while it is empty and idle. Used by mem.c; the
 * caller's lock protects it.
 */
#ifndef GSI_RING_H
#define GSI_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { GSI_RING_MAX = 65536 };

/* Zeroed: empty. */
struct gsi_ring {
    uint8_t *p;
    uint32_t cap, at, n; /* n bytes from at on, around the end */
};

/* Appends at most `limit` bytes of iov, as many as fit. -ENOMEM: none, and there is no room. */
ssize_t gsi_ring_write(struct gsi_ring *r, const struct iovec *iov, int n, size_t limit);
/* Takes at most `limit` bytes into iov. */
size_t gsi_ring_read(struct gsi_ring *r, const struct iovec *iov, int n, size_t limit);
/* Gives the memory back; whatever was in it is gone. */
void gsi_ring_free(struct gsi_ring *r);

#endif
