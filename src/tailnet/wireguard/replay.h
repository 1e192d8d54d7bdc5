/* replay.h: which counters of a key have been seen: up to REPLAY_WINDOW behind the highest, in whatever order (RFC 6479). */
#ifndef GSI_WIREGUARD_REPLAY_H
#define GSI_WIREGUARD_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

enum { REPLAY_BLOCKS = 128, REPLAY_BITS = 64, REPLAY_WINDOW = (REPLAY_BLOCKS - 1) * REPLAY_BITS };

struct replay {
    uint64_t highest; /* of those seen */
    uint64_t seen[REPLAY_BLOCKS];
};

/* Notes an authentic counter. False: it was there before, or is too old to tell, or is REJECT_AFTER_MESSAGES or more. */
bool gsi_replay_accept(struct replay *r, uint64_t counter);

#endif
