/* crypto.c: libsodium's half of crypto.h, which keeps no state and cannot fail for lack of memory. */
#include "tailnet/crypto/crypto.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "tailnet/crypto/blake2s.h"

static void from_kernel(void *out, size_t n) { randombytes_buf(out, n); }
void (*gsi_random_source)(void *out, size_t n) = from_kernel;

int gsi_crypto_init(void)
{
    if (sodium_init() < 0)
        return gs_fail(-EIO, "the kernel gives no random numbers");
    return gsi_blake2s_init();
}

void gsi_random(void *out, size_t n) { gsi_random_source(out, n); }

bool gsi_equal(const void *a, const void *b, size_t n) { return sodium_memcmp(a, b, n) == 0; }

bool gsi_is_zero(const void *p, size_t n) { return sodium_is_zero(p, n); }

void gsi_x25519_private(uint8_t private[KEY_LEN])
{
    gsi_random(private, KEY_LEN);
    private[0] &= 248;
    private[31] = (uint8_t)((private[31] & 127) | 64);
}

void gsi_x25519_public(uint8_t public[KEY_LEN], const uint8_t private[KEY_LEN])
{
    crypto_scalarmult_curve25519_base(public, private);
}

bool gsi_x25519(uint8_t shared[KEY_LEN], const uint8_t private[KEY_LEN], const uint8_t public[KEY_LEN])
{
    if (crypto_scalarmult_curve25519(shared, private, public) == 0 && !gsi_is_zero(shared, KEY_LEN))
        return true;
    gsi_wipe(shared, KEY_LEN);
    return false;
}

void gsi_seal(uint8_t *out, const uint8_t key[KEY_LEN], const uint8_t nonce[NONCE_LEN], const void *ad, size_t ad_n,
              const void *in, size_t n)
{
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, n, ad, ad_n, NULL, nonce, key);
}

/* libsodium leaves what it opened in vain to the caller. */
static bool opened(int r, uint8_t *out, size_t n)
{
    if (r != 0 && n > TAG_LEN)
        gsi_wipe(out, n - TAG_LEN);
    return r == 0;
}

bool gsi_open(uint8_t *out, const uint8_t key[KEY_LEN], const uint8_t nonce[NONCE_LEN], const void *ad, size_t ad_n,
              const void *in, size_t n)
{
    return n >= TAG_LEN &&
           opened(crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, n, ad, ad_n, nonce, key), out, n);
}

void gsi_xseal(uint8_t *out, const uint8_t key[KEY_LEN], const uint8_t nonce[XNONCE_LEN], const void *ad, size_t ad_n,
               const void *in, size_t n)
{
    crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in, n, ad, ad_n, NULL, nonce, key);
}

bool gsi_xopen(uint8_t *out, const uint8_t key[KEY_LEN], const uint8_t nonce[XNONCE_LEN], const void *ad, size_t ad_n,
               const void *in, size_t n)
{
    return n >= TAG_LEN &&
           opened(crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in, n, ad, ad_n, nonce, key), out, n);
}

bool gsi_box_key(uint8_t shared[KEY_LEN], const uint8_t private[KEY_LEN], const uint8_t public[KEY_LEN])
{
    if (crypto_box_beforenm(shared, public, private) == 0)
        return true;
    gsi_wipe(shared, KEY_LEN);
    return false;
}

void gsi_box_seal(uint8_t *out, const uint8_t shared[KEY_LEN], const uint8_t nonce[XNONCE_LEN], const void *in, size_t n)
{
    if (crypto_box_easy_afternm(out, in, n, nonce, shared) != 0)
        memset(out, 0, BOX_OVERHEAD + n); /* more than libsodium's limit: no plaintext leaves */
}

bool gsi_box_open(uint8_t *out, const uint8_t shared[KEY_LEN], const uint8_t nonce[XNONCE_LEN], const void *in, size_t n)
{
    return n >= BOX_OVERHEAD && opened(crypto_box_open_easy_afternm(out, in, n, nonce, shared), out, n);
}
