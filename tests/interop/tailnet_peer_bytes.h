/* Bytes that no compression shortens, and hashes of bytes: what tailnet_peer sends and checks. */
#ifndef GENSOCK_TESTS_TAILNET_PEER_BYTES_H
#define GENSOCK_TESTS_TAILNET_PEER_BYTES_H

#include <stddef.h>
#include <stdint.h>

enum { BLOCK = 256 << 10, FRAME_MAX = 1 << 20, SUM_TEXT = 65 };

typedef struct evp_md_ctx_st hash; /* SHA-256 */
hash *hash_new(void);
void hash_add(hash *h, const void *p, size_t n);
void hash_end(hash *h, char text[SUM_TEXT]); /* frees h */

uint64_t random_seed(void);
void random_fill(uint64_t *state, void *p, size_t n);
void reverse(uint8_t *p, size_t n);

#endif
