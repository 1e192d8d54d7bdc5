/* blake2s.c: BLAKE2s as hash, as MAC, in HMAC and in HKDF, on OpenSSL, which may run out of memory at each step. */
#include "tailnet/crypto/blake2s.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "tailnet/crypto/crypto.h"

enum { BLOCK = 64 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static EVP_MD *blake2s;
static EVP_MAC *blake2s_mac;

int gsi_blake2s_init(void)
{
    pthread_mutex_lock(&mutex);
    if (!blake2s)
        blake2s = EVP_MD_fetch(NULL, "BLAKE2s-256", NULL);
    if (!blake2s_mac)
        blake2s_mac = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
    bool ok = blake2s && blake2s_mac;
    pthread_mutex_unlock(&mutex);
    return ok ? 0 : gs_fail(-ENOMEM, "OpenSSL gives no BLAKE2s");
}

struct piece {
    const void *p;
    size_t n;
};

static int hash(uint8_t out[HASH_LEN], const struct piece *pieces, int count)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, blake2s, NULL) == 1;
    for (int i = 0; ok && i < count; i++)
        ok = !pieces[i].n || EVP_DigestUpdate(ctx, pieces[i].p, pieces[i].n) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : -ENOMEM;
}

int gsi_hash(uint8_t out[HASH_LEN], const void *a, size_t a_n, const void *b, size_t b_n)
{
    return hash(out, (const struct piece[]){{a, a_n}, {b, b_n}}, 2);
}

int gsi_mac(uint8_t out[MAC_LEN], const void *key, size_t key_n, const void *in, size_t n)
{
    size_t size = MAC_LEN, done = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(blake2s_mac);
    bool ok = ctx && EVP_MAC_init(ctx, key, key_n, params) == 1 && EVP_MAC_update(ctx, in, n) == 1 &&
              EVP_MAC_final(ctx, out, &done, MAC_LEN) == 1;
    EVP_MAC_CTX_free(ctx);
    return ok && done == MAC_LEN ? 0 : -ENOMEM;
}

/* RFC 2104. */
int gsi_hmac(uint8_t out[HASH_LEN], const void *key, size_t key_n, const void *a, size_t a_n, const void *b, size_t b_n)
{
    uint8_t inner[BLOCK] = {0}, outer[BLOCK], digest[HASH_LEN];
    int e = 0;
    if (key_n > BLOCK)
        e = gsi_hash(inner, key, key_n, NULL, 0);
    else if (key_n)
        memcpy(inner, key, key_n);
    for (int i = 0; i < BLOCK; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    if (e == 0)
        e = hash(digest, (const struct piece[]){{inner, BLOCK}, {a, a_n}, {b, b_n}}, 3);
    if (e == 0)
        e = gsi_hash(out, outer, BLOCK, digest, HASH_LEN);
    gsi_wipe(inner, sizeof inner);
    gsi_wipe(outer, sizeof outer);
    gsi_wipe(digest, sizeof digest);
    return e;
}

int gsi_kdf(uint8_t *out1, uint8_t *out2, uint8_t *out3, const uint8_t ck[HASH_LEN], const void *in, size_t n)
{
    uint8_t *const out[] = {out1, out2, out3};
    uint8_t secret[HASH_LEN], t[3][HASH_LEN];
    int last = out3 ? 3 : out2 ? 2 : 1;
    int e = gsi_hmac(secret, ck, HASH_LEN, in, n, NULL, 0);
    for (uint8_t i = 1; e == 0 && i <= last; i++)
        e = gsi_hmac(t[i - 1], secret, HASH_LEN, i > 1 ? t[i - 2] : NULL, i > 1 ? HASH_LEN : 0, &i, 1);
    for (int i = 0; e == 0 && i < last; i++)
        if (out[i])
            memcpy(out[i], t[i], HASH_LEN);
    gsi_wipe(secret, sizeof secret);
    gsi_wipe(t, sizeof t);
    return e;
}
