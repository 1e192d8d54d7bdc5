/* key.c: key.h. */
#include "tailnet/keys/key.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *prefix, *name;
} kinds[KEY_KINDS] = {
    [KEY_PRIVATE] = {"privkey:", "private key"},     [KEY_MACHINE] = {"mkey:", "machine key"},
    [KEY_NODE] = {"nodekey:", "node key"},           [KEY_DISCO] = {"discokey:", "disco key"},
    [KEY_CHALLENGE] = {"chalpub:", "challenge key"},
};

int gsi_key_parse(enum key_kind kind, const char *text, size_t n, uint8_t key[KEY_LEN])
{
    size_t prefix = strlen(kinds[kind].prefix), got;
    uint8_t bytes[KEY_LEN];
    const char *end;
    bool ok = n == prefix + 2 * KEY_LEN && memcmp(text, kinds[kind].prefix, prefix) == 0;
    ok = ok && sodium_hex2bin(bytes, sizeof bytes, text + prefix, n - prefix, NULL, &got, &end) == 0;
    ok = ok && got == sizeof bytes && end == text + n;
    if (ok)
        memcpy(key, bytes, sizeof bytes);
    gsi_wipe(bytes, sizeof bytes);
    return ok ? 0 : gs_fail(GS_EFORMAT, "no %s: wanted is %s and 64 hex digits", kinds[kind].name, kinds[kind].prefix);
}

char *gsi_key_text(enum key_kind kind, const uint8_t key[KEY_LEN], char out[KEY_TEXT_MAX])
{
    size_t prefix = strlen(kinds[kind].prefix);
    memcpy(out, kinds[kind].prefix, prefix);
    return sodium_bin2hex(out + prefix, KEY_TEXT_MAX - prefix, key, KEY_LEN) - prefix;
}

char *gsi_key_short(enum key_kind kind, const uint8_t key[KEY_LEN], char out[KEY_SHORT_MAX])
{
    enum { FIRST = 6, DIGITS = 8 + 1, DISCO = 8 }; /* 6 bytes are 8 digits, of which 5 are shown */
    char text[DIGITS];
    if (kind == KEY_PRIVATE)
        snprintf(out, KEY_SHORT_MAX, "[private]");
    else if (kind == KEY_DISCO) {
        memcpy(out, "d:", 2);
        sodium_bin2hex(out + 2, KEY_SHORT_MAX - 2, key, DISCO);
    } else
        snprintf(out, KEY_SHORT_MAX, "[%.5s]", sodium_bin2base64(text, sizeof text, key, FIRST, sodium_base64_VARIANT_ORIGINAL));
    return out;
}
