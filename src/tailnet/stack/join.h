/* join.h: inner packets that came through a tunnel, joined for the TUN: consecutive segments of a TCP flow become one write.
 *
 * The kernel trusts a packet that says NEEDS_CSUM, so a packet is joined only after its own checksum was verified; one that is
 * wrong goes alone and unmarked, and the kernel drops and counts it. Payloads are not copied: what is joined is an iovec into
 * the packets.
 *
 *     for (each packet that the filter let through) {
 *         (void)gsi_join_feed(join, packet, n);
 *         while (gsi_join_next(join, &out))
 *             writev(tun, out.iov, out.n);
 *     }
 *     gsi_join_flush(join);                          // before the packets' memory is used again
 *     while (gsi_join_next(join, &out)) …
 *
 * Packets of one flow leave in the order in which they came; flows among each other may not. One thread uses a join.
 */
#ifndef GSI_TAILNET_JOIN_H
#define GSI_TAILNET_JOIN_H

#include <linux/virtio_net.h>
#include <sys/uio.h>

#include "gensock/error.h"

enum {
    JOIN_FLOWS = 16,             /* joined at the same time; one more ends that which was begun first */
    JOIN_PACKETS = 64,           /* in one write */
    JOIN_GROUPS = JOIN_FLOWS + 2 /* a feed ends at most one flow and adds at most one packet of its own */
};

struct join_group {
    enum { JOIN_FREE, JOIN_OPEN, JOIN_READY } state;
    bool v6;
    uint8_t transport, headers; /* offsets of the TCP header and of the payload */
    uint16_t payload;           /* of each packet but the last */
    uint32_t total, next;       /* bytes of the joined packet; the sequence number that follows */
    uint64_t since;             /* order of begin, then of end */
    int n;                      /* of iov: the virtio header, the first packet's headers and payload, further payloads */
    struct virtio_net_hdr vnet;
    struct iovec iov[JOIN_PACKETS + 2];
};

/* About 20 KiB; zeros are a join that is empty. */
struct join {
    uint64_t clock;
    struct join_group group[JOIN_GROUPS];
};

void gsi_join_init(struct join *j);

/* Takes a packet of n bytes, padding behind it allowed (its header says how long it is). It is borrowed, and its headers may
 * be changed, until gsi_join_next has answered false after a flush. 0; GS_EINVALID: no IP packet, dropped; -ENOBUFS: next was
 * not called until it answered false, and nothing was taken. */
GS_MUST_USE int gsi_join_feed(struct join *j, uint8_t *packet, size_t n);

struct joined {
    const struct iovec *iov; /* one write to the TUN; valid until the next call on this join */
    int n;
};

/* What is ready, in the order in which it became so. */
bool gsi_join_next(struct join *j, struct joined *out);

/* Nothing more comes for now: everything becomes ready. */
void gsi_join_flush(struct join *j);

#endif
