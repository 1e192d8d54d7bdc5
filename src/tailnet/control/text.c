/* text.c: keys as text, and what a server says, made fit to be shown. */
#include "tailnet/control/text.h"

#include <string.h>

void gsi_text_put_key(char out[TEXT_KEY_MAX], const char *prefix, const uint8_t key[KEY_LEN])
{
    static const char digits[] = "0123456789abcdef";
    size_t n = strlen(prefix);
    memcpy(out, prefix, n);
    for (size_t i = 0; i < KEY_LEN; i++) {
        out[n++] = digits[key[i] >> 4];
        out[n++] = digits[key[i] & 15];
    }
    out[n] = 0;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

bool gsi_text_get_key(uint8_t key[KEY_LEN], const char *prefix, const char *text)
{
    size_t n = strlen(prefix);
    if (strncmp(text, prefix, n) != 0 || strlen(text + n) != (size_t)2 * KEY_LEN)
        return false;
    for (size_t i = 0; i < KEY_LEN; i++) {
        int high = digit(text[n + 2 * i]), low = digit(text[n + 2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        key[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void gsi_text_words(char *out, size_t cap, const void *text, size_t n)
{
    const unsigned char *from = text;
    while (n && (from[n - 1] == '\n' || from[n - 1] == '\r' || from[n - 1] == ' '))
        n--;
    size_t len = n < cap - 1 ? n : cap - 1;
    for (size_t i = 0; i < len; i++)
        out[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '.';
    out[len] = 0;
}

void gsi_text_base64(char *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)(i + 1 < n ? p[i + 1] : 0) << 8 | (i + 2 < n ? p[i + 2] : 0);
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *out++ = i + 2 < n ? digits[v & 63] : '=';
    }
    *out = 0;
}
