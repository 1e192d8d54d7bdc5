/* sha256.h: SHA-256 (FIPS 180-4 §6.2), for the check of a file on both ends. */
#ifndef GENSOCK_CLI_SHA256_H
#define GENSOCK_CLI_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_LEN = 32, SHA256_BLOCK = 64 };

struct sha256 {
    uint32_t h[8];
    uint64_t n; /* bytes fed */
    uint8_t block[SHA256_BLOCK];
};

void sha256_init(struct sha256 *s);
void sha256_feed(struct sha256 *s, const void *p, size_t n);
/* Ends the message; s is not to be fed any more. */
void sha256_end(struct sha256 *s, uint8_t out[SHA256_LEN]);
/* 64 lower-case digits and a NUL. */
void sha256_text(const uint8_t digest[SHA256_LEN], char out[2 * SHA256_LEN + 1]);

#endif
