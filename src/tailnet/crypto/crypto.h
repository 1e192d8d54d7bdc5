/* crypto.h: the primitives that the tailnet's protocols name, from OpenSSL and libsodium only.
 *
 * X25519, ChaCha20-Poly1305, XChaCha20-Poly1305 and the NaCl box of handshakes are libsodium's: they cannot fail for lack of
 * memory. BLAKE2s is OpenSSL's, and so is the AEAD of the data path, which is the faster one there. Buffers of output may be
 * those of input where it says "in place". Any thread; nothing is shared.
 */
#ifndef GSI_TAILNET_CRYPTO_H
#define GSI_TAILNET_CRYPTO_H

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

enum {
    KEY_LEN = 32,      /* of every key, public, private and shared */
    HASH_LEN = 32,     /* BLAKE2s-256 */
    MAC_LEN = 16,      /* keyed BLAKE2s-128 */
    TAG_LEN = 16,      /* Poly1305 */
    NONCE_LEN = 12,    /* ChaCha20-Poly1305 (RFC 8439) */
    XNONCE_LEN = 24,   /* XChaCha20-Poly1305, NaCl box */
    BOX_OVERHEAD = 16, /* the box's tag, in front of the ciphertext */
};

/* Must have answered 0 before anything else here is called; may be called again. -ENOMEM, -EIO (no randomness). */
GS_MUST_USE int gsi_crypto_init(void);

/* From the kernel's generator; ends the process when it has none, as a key of no randomness is worse. Tests replace the source */
void gsi_random(void *out, size_t n);
extern void (*gsi_random_source)(void *out, size_t n);
static inline void gsi_wipe(void *p, size_t n) { OPENSSL_cleanse(p, n); }
/* In constant time. */
GS_MUST_USE bool gsi_equal(const void *a, const void *b, size_t n);
GS_MUST_USE bool gsi_is_zero(const void *p, size_t n);

/* ---- X25519 (RFC 7748) ---- */

/* A private key, clamped. */
void gsi_x25519_private(uint8_t private[KEY_LEN]);
void gsi_x25519_public(uint8_t public[KEY_LEN], const uint8_t private[KEY_LEN]);
/* False when the result is all zero (a public key of small order): no handshake goes on with it. */
GS_MUST_USE bool gsi_x25519(uint8_t shared[KEY_LEN], const uint8_t private[KEY_LEN], const uint8_t public[KEY_LEN]);

/* ---- BLAKE2s (RFC 7693) and what Noise makes of it; all answer 0 or -ENOMEM ---- */

/* H(a || b); b may be NULL with 0 bytes. out may be a. */
GS_MUST_USE int gsi_hash(uint8_t out[HASH_LEN], const void *a, size_t a_n, const void *b, size_t b_n);
/* Keyed BLAKE2s with 16 bytes of output: WireGuard's mac1, mac2 and cookie. key_n: 1 to 32. */
GS_MUST_USE int gsi_mac(uint8_t out[MAC_LEN], const void *key, size_t key_n, const void *in, size_t n);
/* HMAC-BLAKE2s(key, a || b). */
GS_MUST_USE int gsi_hmac(uint8_t out[HASH_LEN], const void *key, size_t key_n, const void *a, size_t a_n, const void *b,
                         size_t b_n);
/* HKDF (RFC 5869) as Noise uses it: up to three outputs, NULL for those not wanted; out1 may be ck. -ENOMEM: all are as they
 * were. */
GS_MUST_USE int gsi_kdf(uint8_t *out1, uint8_t *out2, uint8_t *out3, const uint8_t ck[HASH_LEN], const void *in, size_t n);

/* ---- AEADs of handshakes: out holds n + TAG_LEN bytes ---- */

void gsi_seal(uint8_t *out, const uint8_t key[KEY_LEN], const uint8_t nonce[NONCE_LEN], const void *ad, size_t ad_n,
              const void *in, size_t n);
/* n counts the tag; out holds n - TAG_LEN bytes. False: not authentic, and out is wiped. */
GS_MUST_USE bool gsi_open(uint8_t *out, const uint8_t key[KEY_LEN], const uint8_t nonce[NONCE_LEN], const void *ad, size_t ad_n,
                          const void *in, size_t n);
void gsi_xseal(uint8_t *out, const uint8_t key[KEY_LEN], const uint8_t nonce[XNONCE_LEN], const void *ad, size_t ad_n,
               const void *in, size_t n);
GS_MUST_USE bool gsi_xopen(uint8_t *out, const uint8_t key[KEY_LEN], const uint8_t nonce[XNONCE_LEN], const void *ad, size_t ad_n,
                           const void *in, size_t n);

/* ---- NaCl box (crypto_box_curve25519xsalsa20poly1305): tag, then ciphertext ---- */

/* The shared key, to keep. False: the peer's key is of small order, and shared is wiped. */
GS_MUST_USE bool gsi_box_key(uint8_t shared[KEY_LEN], const uint8_t private[KEY_LEN], const uint8_t public[KEY_LEN]);
/* out holds BOX_OVERHEAD + n bytes. */
void gsi_box_seal(uint8_t *out, const uint8_t shared[KEY_LEN], const uint8_t nonce[XNONCE_LEN], const void *in, size_t n);
/* n counts BOX_OVERHEAD. */
GS_MUST_USE bool gsi_box_open(uint8_t *out, const uint8_t shared[KEY_LEN], const uint8_t nonce[XNONCE_LEN], const void *in,
                              size_t n);

/* ---- the AEAD of the data path: ChaCha20-Poly1305 without associated data, its key set up once ---- */

struct aead;
/* NULL: no memory. One thread at a time. */
struct aead *gsi_aead_new(const uint8_t key[KEY_LEN]);
/* Wipes the key. NULL is nothing. */
void gsi_aead_free(struct aead *a);
/* In place or not; out holds n + TAG_LEN bytes. False: OpenSSL has no memory, and out is not to be sent. */
GS_MUST_USE bool gsi_aead_seal(struct aead *a, uint8_t *out, const uint8_t nonce[NONCE_LEN], const void *in, size_t n);
/* In place or not; n counts the tag. False: not authentic (or no memory), and out is wiped, in place the ciphertext with it;
 * nothing is written when n is less than TAG_LEN. */
GS_MUST_USE bool gsi_aead_open(struct aead *a, uint8_t *out, const uint8_t nonce[NONCE_LEN], const void *in, size_t n);

#endif
