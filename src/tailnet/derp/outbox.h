/* outbox.h: frames that wait to be sent on one connection of DERP, either side's. */
#ifndef GSI_TAILNET_DERP_OUTBOX_H
#define GSI_TAILNET_DERP_OUTBOX_H

#include "tailnet/derp/frames.h"

enum {
    DERP_QUEUE = 32,      /* packets that wait to be sent */
    DERP_QUEUE_DISCO = 8, /* and so many more of path discovery, which may bring the peers off the relay */
    DERP_PLACES = DERP_QUEUE + DERP_QUEUE_DISCO + 8, /* and some for frames that are no packets */
};

enum derp_what { DERP_WHAT_OTHER, DERP_WHAT_PACKET, DERP_WHAT_DISCO };

struct derp_place {
    uint8_t *bytes; /* OPENSSL_malloc */
    size_t n;
    enum derp_what what;
};

struct derp_outbox {
    struct derp_place place[DERP_PLACES]; /* a ring */
    int first, places, packets;
    size_t sent; /* of the first place */
};

/* Room for n bytes that are no frame; NULL: no place, or no memory. */
uint8_t *gsi_derp_outbox_put(struct derp_outbox *o, size_t n, enum derp_what what);
/* Room for a frame's body of n bytes, its head written; NULL. */
uint8_t *gsi_derp_outbox_frame(struct derp_outbox *o, enum derp_type type, size_t n, enum derp_what what);
/* May another packet wait? */
bool gsi_derp_outbox_has_room(const struct derp_outbox *o, enum derp_what what);
/* Forgets the oldest packet that is not half sent, one of no path discovery if there is one. False: there is none. */
bool gsi_derp_outbox_drop(struct derp_outbox *o);
/* What is next to be sent: how many bytes, at *p until the next call; 0: nothing. */
size_t gsi_derp_outbox_output(struct derp_outbox *o, const uint8_t **p);
/* So many of them have gone; the packets among them are counted. */
void gsi_derp_outbox_sent(struct derp_outbox *o, size_t n, uint64_t *packets);
void gsi_derp_outbox_fini(struct derp_outbox *o);

#endif
