/* replay.c: the sliding window as a ring of blocks: moving on clears whole blocks and shifts nothing (RFC 6479). */
#include "tailnet/wireguard/replay.h"

#include "tailnet/wireguard/messages.h"

bool gsi_replay_accept(struct replay *r, uint64_t counter)
{
    if (counter >= REJECT_AFTER_MESSAGES)
        return false;
    uint64_t block = counter / REPLAY_BITS, top = r->highest / REPLAY_BITS;
    if (counter > r->highest) {
        uint64_t fresh = block - top < REPLAY_BLOCKS ? block - top : REPLAY_BLOCKS;
        for (uint64_t i = 1; i <= fresh; i++)
            r->seen[(top + i) % REPLAY_BLOCKS] = 0;
        r->highest = counter;
    } else if (r->highest - counter > REPLAY_WINDOW) {
        return false;
    }
    uint64_t *word = &r->seen[block % REPLAY_BLOCKS], bit = UINT64_C(1) << counter % REPLAY_BITS;
    bool is_new = !(*word & bit);
    *word |= bit;
    return is_new;
}
