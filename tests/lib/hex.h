/* hex.h: bytes of known-answer vectors as the documents write them.
 *
 *     HEX(key, "000102");          uint8_t key[3]
 *     assert_hex(out, n, "0a0b");  out is these bytes
 */
#ifndef TEST_HEX_H
#define TEST_HEX_H

#include <stdint.h>
#include <string.h>

#include "cmocka_all.h"

static inline uint8_t hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
    if (!at)
        fail_msg("'%c' is no hex digit", c);
    return (uint8_t)(at - digits);
}

static inline void hex_bytes(uint8_t *out, const char *hex)
{
    for (; *hex; hex += 2)
        *out++ = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
}

#define HEX(name, text)                                                                                               \
    uint8_t name[(sizeof(text) - 1) / 2];                                                                             \
    hex_bytes(name, text)

static inline void assert_hex_at(const void *got, size_t n, const char *hex, const char *file, int line)
{
    static const char digits[] = "0123456789abcdef";
    char text[8192];
    if (n * 2 >= sizeof text)
        fail_msg("%s:%d: too long for assert_hex", file, line);
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[((const uint8_t *)got)[i] >> 4];
        text[2 * i + 1] = digits[((const uint8_t *)got)[i] & 15];
    }
    text[2 * n] = 0;
    if (strcmp(text, hex) != 0)
        fail_msg("%s:%d: %s instead of %s", file, line, text, hex);
}
#define assert_hex(got, n, hex) assert_hex_at(got, n, hex, __FILE__, __LINE__)

#endif
