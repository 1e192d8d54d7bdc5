/* State files: what is read is written again as it was, byte for byte. */
#include <stdlib.h>
#include <string.h>

#include "tailnet/keys/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

/* The check at the end is made right, so that the lines in front of it are reached. */
static size_t seal(const uint8_t *in, size_t n, char out[2 * STATE_TEXT_MAX])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[HASH_LEN];
    if (n > STATE_TEXT_MAX || gsi_hash(hash, in, n, NULL, 0) < 0)
        return 0;
    memcpy(out, in, n);
    memcpy(out + n, "end ", 4);
    n += 4;
    for (int i = 0; i < HASH_LEN; i++) {
        out[n++] = digits[hash[i] >> 4];
        out[n++] = digits[hash[i] & 15];
    }
    out[n++] = '\n';
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    static char sealed[2 * STATE_TEXT_MAX], again[STATE_TEXT_MAX];
    struct state s;
    if (gsi_crypto_init() < 0)
        abort();
    if (gsi_state_read(&s, (const char *)in, n) == 0 && (gsi_state_write(&s, again) != (int)n || memcmp(again, in, n) != 0))
        abort();
    size_t k = seal(in, n, sealed);
    if (k && gsi_state_read(&s, sealed, k) == 0 && (gsi_state_write(&s, again) != (int)k || memcmp(again, sealed, k) != 0))
        abort();
    return 0;
}
