/* Key texts: the first byte chooses the kind, the rest is text. A naive reader decides the same, and what is read is written
 * again. */
#include <stdlib.h>
#include <string.h>

#include "tailnet/keys/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool naive(enum key_kind kind, const char *text, size_t n, uint8_t key[KEY_LEN])
{
    static const char *const prefixes[KEY_KINDS] = {"privkey:", "mkey:", "nodekey:", "discokey:", "chalpub:"};
    const char *p = prefixes[kind];
    for (; *p; p++, text++, n--)
        if (!n || *text != *p)
            return false;
    for (int i = 0; i < 2 * KEY_LEN; i++, text++, n--) {
        if (!n || digit(*text) < 0)
            return false;
        key[i / 2] = (uint8_t)(i % 2 ? key[i / 2] << 4 | digit(*text) : digit(*text));
    }
    return n == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    uint8_t key[KEY_LEN], other[KEY_LEN], before[KEY_LEN];
    char text[KEY_TEXT_MAX], brief[KEY_SHORT_MAX];
    if (gsi_crypto_init() < 0)
        abort();
    if (!n)
        return 0;
    enum key_kind kind = (enum key_kind)(in[0] % KEY_KINDS);
    memset(key, 0x5a, sizeof key);
    memcpy(before, key, sizeof key);
    bool ok = gsi_key_parse(kind, (const char *)in + 1, n - 1, key) == 0;
    if (ok != naive(kind, (const char *)in + 1, n - 1, other) || memcmp(key, ok ? other : before, sizeof key) != 0)
        abort();
    if (ok &&
        (gsi_key_parse(kind, text, strlen(gsi_key_text(kind, key, text)), other) < 0 || memcmp(key, other, sizeof key) != 0))
        abort();
    if (ok && strlen(gsi_key_short(kind, key, brief)) >= KEY_SHORT_MAX)
        abort();
    return 0;
}
