/* aead.c: the data path's ChaCha20-Poly1305 (RFC 8439), on OpenSSL: one context per direction, the key set up once. */
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

#include "tailnet/crypto/crypto.h"

struct aead {
    EVP_CIPHER_CTX *seal, *open;
};

static EVP_CIPHER_CTX *keyed(const uint8_t key[KEY_LEN], int encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx && EVP_CipherInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, NULL, encrypt) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

struct aead *gsi_aead_new(const uint8_t key[KEY_LEN])
{
    struct aead *a = OPENSSL_zalloc(sizeof *a);
    if (!a)
        return NULL;
    a->seal = keyed(key, 1);
    a->open = keyed(key, 0);
    if (a->seal && a->open)
        return a;
    gsi_aead_free(a);
    return NULL;
}

void gsi_aead_free(struct aead *a)
{
    if (!a)
        return;
    EVP_CIPHER_CTX_free(a->seal); /* wipes the key schedule */
    EVP_CIPHER_CTX_free(a->open);
    OPENSSL_free(a);
}

bool gsi_aead_seal(struct aead *a, uint8_t *out, const uint8_t nonce[NONCE_LEN], const void *in, size_t n)
{
    int k, rest;
    return n <= INT_MAX - TAG_LEN && EVP_EncryptInit_ex(a->seal, NULL, NULL, NULL, nonce) == 1 &&
           (!n || EVP_EncryptUpdate(a->seal, out, &k, in, (int)n) == 1) && EVP_EncryptFinal_ex(a->seal, out + n, &rest) == 1 &&
           EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + n) == 1;
}

bool gsi_aead_open(struct aead *a, uint8_t *out, const uint8_t nonce[NONCE_LEN], const void *in, size_t n)
{
    if (n < TAG_LEN || n > INT_MAX)
        return false;
    n -= TAG_LEN;
    uint8_t tag[TAG_LEN];
    memcpy(tag, (const uint8_t *)in + n, TAG_LEN);
    int k, rest;
    bool ok = EVP_DecryptInit_ex(a->open, NULL, NULL, NULL, nonce) == 1 &&
              EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1 &&
              (!n || EVP_DecryptUpdate(a->open, out, &k, in, (int)n) == 1) && EVP_DecryptFinal_ex(a->open, out + n, &rest) == 1;
    if (!ok)
        gsi_wipe(out, n);
    return ok;
}
