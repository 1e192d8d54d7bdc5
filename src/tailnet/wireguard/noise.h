/* noise.h: the handshake of WireGuard, Noise IKpsk2, without state machine: four steps, each on one message's body.
 *
 * device.c and timers.c call them. All answer 0, GS_EINVALID (not authentic, or a key of small order) or -ENOMEM.
 */
#ifndef GSI_WIREGUARD_NOISE_H
#define GSI_WIREGUARD_NOISE_H

#include "tailnet/wireguard/messages.h"

/* The running state: chaining key, hash, key; the first error sticks. */
struct noise {
    uint8_t ck[HASH_LEN], hash[HASH_LEN], key[KEY_LEN];
    int error;
};

struct noise_self {
    uint8_t private[KEY_LEN], public[KEY_LEN];
    struct noise start; /* H(construction), H(that || identifier) */
};

struct noise_peer {
    uint8_t public[KEY_LEN], psk[KEY_LEN];
    uint8_t static_static[KEY_LEN]; /* DH(S_self, S_peer) */
};

/* An initiation that waits for its response. */
struct noise_initiation {
    struct noise state;
    uint8_t ephemeral[KEY_LEN]; /* private */
};

/* An initiation that came: whose it claims to be. */
struct noise_claim {
    struct noise state;
    uint8_t ephemeral[KEY_LEN]; /* the initiator's, public */
    uint8_t public[KEY_LEN];    /* the initiator's static, not yet authentic */
    uint32_t index;             /* the initiator's */
};

struct noise_keys {
    uint8_t send[KEY_LEN], receive[KEY_LEN];
    uint32_t index; /* the other side's */
};

GS_MUST_USE int gsi_noise_self(struct noise_self *s, const uint8_t private[KEY_LEN]);
GS_MUST_USE int gsi_noise_peer(struct noise_peer *p, const struct noise_self *s, const uint8_t public[KEY_LEN]);

GS_MUST_USE int gsi_noise_initiate(struct noise_initiation *i, const struct noise_self *s, const struct noise_peer *p,
                                   uint32_t index, const uint8_t stamp[STAMP_LEN], uint8_t out[INITIATION_BODY]);
/* The first half, which tells whose the initiation claims to be, and the second, which proves it and gives the timestamp. */
GS_MUST_USE int gsi_noise_claim(struct noise_claim *c, const struct noise_self *s, const uint8_t in[INITIATION_BODY]);
GS_MUST_USE int gsi_noise_prove(struct noise_claim *c, const struct noise_peer *p, const uint8_t in[INITIATION_BODY],
                                uint8_t stamp[STAMP_LEN]);
GS_MUST_USE int gsi_noise_respond(struct noise_keys *k, struct noise_claim *c, const struct noise_peer *p, uint32_t index,
                                  uint8_t out[RESPONSE_BODY]);
/* Leaves the initiation as it was: a forged response does not end it. */
GS_MUST_USE int gsi_noise_finish(struct noise_keys *k, const struct noise_initiation *i, const struct noise_self *s,
                                 const struct noise_peer *p, const uint8_t in[RESPONSE_BODY]);

#endif
