/* STUN from the network: nothing is read beyond the packet, and what a server answers a client understands. */
#include <stdlib.h>

#include "tailnet/stun/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    uint8_t id[STUN_TXID_LEN], again[STUN_TXID_LEN], answer[STUN_RESPONSE_MAX];
    struct endpoint seen, told;
    bool is = gsi_stun_is(in, n);
    if (gsi_stun_request_parse(in, n, id) == 0 && !is)
        abort();
    if (gsi_stun_response_parse(in, n, id, &seen) < 0)
        return 0;
    size_t k = gsi_stun_response(answer, id, &seen);
    if (!is || gsi_stun_response_parse(answer, k, again, &told) < 0 || !gsi_endpoint_equal(&seen, &told) ||
        memcmp(id, again, sizeof id) != 0)
        abort();
    return 0;
}
