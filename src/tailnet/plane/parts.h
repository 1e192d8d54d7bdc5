/* parts.h: what the files of the plane share. */
#ifndef GSI_TAILNET_PLANE_PARTS_H
#define GSI_TAILNET_PLANE_PARTS_H

#include "tailnet/plane/plane.h"
#include "tailnet/stack/join.h"
#include "tailnet/stack/segment.h"

enum {
    PLANE_ROUNDS = 16,                 /* reads of the TUN, or of the link, before others have their turn */
    PLANE_DATAGRAM = 2048,             /* of handshakes and disco; longer ones are no such */
    PLANE_ARENA = 1024 * 1024,         /* datagrams between sealing and the flush */
    PLANE_ANSWERS_PER_S = 50,          /* packets of our own making that a peer can provoke */
};

struct plane {
    struct plane_config c;
    struct plane_stat stat;
    struct join join;
    uint64_t answers_ns; /* of this second */
    int answers;
    size_t arena_n;
    uint8_t from_tun[SEGMENT_READ];
    uint8_t arena[PLANE_ARENA + SEGMENT_PAD]; /* a slot says that it has that much more than it uses */
};

/* out.c: room until the next flush, which it makes when it must. */
uint8_t *gsi_plane_room(struct plane *p, size_t n);
void gsi_plane_flush(struct plane *p);
/* Everything that WireGuard and the paths have to say. */
void gsi_plane_drain(struct plane *p, uint64_t now_ns);
/* One inner packet in answer to the peer's. */
void gsi_plane_answer(struct plane *p, struct plane_peer *to, const uint8_t *inner, size_t n, uint64_t now_ns);

#endif
