/* segment.h: what the kernel gives through the TUN, cut into inner packets that a tunnel can carry.
 *
 * With TSO the kernel hands over one virtio_net_hdr and up to 64 KiB of TCP. Each packet is written where its datagram will
 * leave from: SEGMENT_FRONT bytes behind the start of a slot, zeros to the next multiple of SEGMENT_PAD behind it, room for
 * the tag.
 *
 *     struct segments s;
 *     if (gsi_segments_init(&s, tun, n, 1280) == 0)         // s.packet is the IP packet: route and filter by its header
 *         while ((len = gsi_segments_next(&s, slot)) > 0)
 *             slot += seal_in_place(slot, len);             // gsi_segment_slot(len) bytes
 *
 * All packets but the last are s.size long, so that their datagrams can leave as one UDP_SEGMENT message. UDP is never given
 * in one piece (TUN_F_USO is not asked for). Pure; one thread uses a struct segments.
 */
#ifndef GSI_TAILNET_SEGMENT_H
#define GSI_TAILNET_SEGMENT_H

#include <stdint.h>

#include "gensock/error.h"

enum {
    SEGMENT_VNET = 10,    /* bytes of a virtio_net_hdr on a TUN */
    SEGMENT_FRONT = 16,   /* WireGuard's data header */
    SEGMENT_PAD = 16,
    SEGMENT_BEHIND = 16,  /* the tag */
    SEGMENT_READ = SEGMENT_VNET + 65535, /* what one read of the TUN can bring */
};

/* The bytes of a datagram that carries an inner packet of n. */
static inline size_t gsi_segment_slot(size_t n)
{
    return SEGMENT_FRONT + (n + SEGMENT_PAD - 1) / SEGMENT_PAD * SEGMENT_PAD + SEGMENT_BEHIND;
}

struct segments {
    const uint8_t *packet; /* borrowed: the IP packet behind the virtio header */
    size_t n;
    unsigned count; /* packets it becomes */
    size_t size;    /* length of each but the last, which is not longer */
    /* the rest is segment.c's */
    size_t headers, payload, at;
    uint16_t transport, sum_start, sum_field;
    bool v6, done;
};

/* Reads what one read of the TUN gave: n bytes, the virtio header included, borrowed until the last next. mtu is that of the
 * inner network. GS_EINVALID: not what a kernel makes; -EMSGSIZE: its packets are longer than mtu, which was lowered
 * meanwhile. Both: drop. */
GS_MUST_USE int gsi_segments_init(struct segments *s, const uint8_t *from_tun, size_t n, size_t mtu);

/* Writes the next packet into slot (gsi_segment_slot(s->size) bytes; front and behind stay as they are). Its length; 0: no
 * more. */
size_t gsi_segments_next(struct segments *s, uint8_t *slot);

#endif
