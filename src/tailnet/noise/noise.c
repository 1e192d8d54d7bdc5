/* noise.c: the handshake of ts2021 (tailnet-protocol.md 2.3).
 *
 *     IK:
 *       <- s
 *       ...
 *       -> e, es, s, ss
 *       <- e, ee, se
 */
#include "tailnet/noise/noise.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/noise/wire.h"

static const char construction[] = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
static const uint8_t zero_nonce[NONCE_LEN];

enum { SEALED_KEY_LEN = KEY_LEN + TAG_LEN };

int gsi_noise_fail(struct noise *n, int e)
{
    gsi_wipe(n->own, sizeof n->own);
    gsi_wipe(n->ephemeral, sizeof n->ephemeral);
    gsi_wipe(n->ck, sizeof n->ck);
    gsi_wipe(n->send_key, sizeof n->send_key);
    gsi_wipe(n->receive_key, sizeof n->receive_key);
    n->state = NOISE_FAILED;
    n->in_n = 0;
    return n->error = e;
}

void gsi_noise_wipe(struct noise *n) { gsi_wipe(n, sizeof *n); }

/* ---- the tokens ---- */

static int mix_hash(struct noise *n, const void *p, size_t len) { return gsi_hash(n->hash, n->hash, HASH_LEN, p, len); }

/* ck and, when a cipher key is wanted, k, from the shared secret of two keys. */
static int mix_dh(struct noise *n, uint8_t *k, const uint8_t private[KEY_LEN], const uint8_t public[KEY_LEN])
{
    uint8_t shared[KEY_LEN];
    if (!gsi_x25519(shared, private, public))
        return GS_EINVALID;
    int e = gsi_kdf(n->ck, k, NULL, n->ck, shared, sizeof shared);
    gsi_wipe(shared, sizeof shared);
    return e;
}

/* out: len + TAG_LEN bytes. Each key seals once. */
static int seal_and_hash(struct noise *n, uint8_t *out, const uint8_t k[KEY_LEN], const void *in, size_t len)
{
    gsi_seal(out, k, zero_nonce, n->hash, HASH_LEN, in, len);
    return mix_hash(n, out, len + TAG_LEN);
}

static int open_and_hash(struct noise *n, uint8_t *out, const uint8_t k[KEY_LEN], const uint8_t *in, size_t len)
{
    if (!gsi_open(out, k, zero_nonce, n->hash, HASH_LEN, in, len))
        return -EACCES;
    return mix_hash(n, in, len);
}

/* h = ck = H(construction); h = H(h || prologue); h = H(h || the server's static key) */
static int begin(struct noise *n, const uint8_t control_public[KEY_LEN])
{
    char prologue[48];
    int len = snprintf(prologue, sizeof prologue, "Tailscale Control Protocol v%u", n->version);
    int e = gsi_hash(n->hash, construction, sizeof construction - 1, NULL, 0);
    memcpy(n->ck, n->hash, HASH_LEN);
    if (e == 0)
        e = mix_hash(n, prologue, (size_t)len);
    if (e == 0)
        e = mix_hash(n, control_public, KEY_LEN);
    return e;
}

static int split(struct noise *n, uint8_t *client_to_server, uint8_t *server_to_client)
{
    int e = gsi_kdf(client_to_server, server_to_client, NULL, n->ck, NULL, 0);
    if (e)
        return e;
    gsi_wipe(n->own, sizeof n->own);
    gsi_wipe(n->ephemeral, sizeof n->ephemeral);
    gsi_wipe(n->ck, sizeof n->ck);
    n->state = NOISE_OPEN;
    return 0;
}

/* ---- the client ---- */

static int write_initiation(struct noise *n, uint8_t initiation[NOISE_INITIATION_LEN])
{
    struct writer w = writer_of(initiation, NOISE_INITIATION_LEN);
    write_u16(&w, n->version);
    write_u8(&w, INITIATION);
    write_u16(&w, NOISE_INITIATION_LEN - 2 - NOISE_HEADER_LEN);
    uint8_t *e_public = write_room(&w, KEY_LEN), *s = write_room(&w, SEALED_KEY_LEN), *tag = write_room(&w, TAG_LEN);
    if (!w.ok)
        return GS_EINVALID;
    uint8_t k[KEY_LEN];
    /* e */
    gsi_x25519_private(n->ephemeral);
    gsi_x25519_public(e_public, n->ephemeral);
    int e = mix_hash(n, e_public, KEY_LEN);
    /* es */
    if (e == 0)
        e = mix_dh(n, k, n->ephemeral, n->peer);
    /* s */
    if (e == 0)
        e = seal_and_hash(n, s, k, n->own_public, KEY_LEN);
    /* ss */
    if (e == 0)
        e = mix_dh(n, k, n->own, n->peer);
    /* the empty payload */
    if (e == 0)
        e = seal_and_hash(n, tag, k, NULL, 0);
    gsi_wipe(k, sizeof k);
    return e;
}

int gsi_noise_client(struct noise *n, const uint8_t machine_private[KEY_LEN], const uint8_t control_public[KEY_LEN],
                     uint16_t version, uint8_t initiation[NOISE_INITIATION_LEN])
{
    memset(n, 0, sizeof *n);
    n->state = NOISE_EXPECT_RESPONSE;
    n->version = version;
    memcpy(n->peer, control_public, KEY_LEN);
    memcpy(n->own, machine_private, KEY_LEN);
    gsi_x25519_public(n->own_public, n->own);
    int e = begin(n, n->peer);
    if (e == 0)
        e = write_initiation(n, initiation);
    if (e == 0)
        return 0;
    memset(initiation, 0, NOISE_INITIATION_LEN);
    return gsi_noise_fail(n, e);
}

int gsi_noise_read_response(struct noise *n, const uint8_t *body)
{
    struct reader r = reader_of(body, NOISE_RESPONSE_LEN - NOISE_HEADER_LEN);
    const uint8_t *e_public = read_bytes(&r, KEY_LEN), *tag = read_bytes(&r, TAG_LEN);
    uint8_t k[KEY_LEN], nothing[1];
    /* e */
    int e = mix_hash(n, e_public, KEY_LEN);
    /* ee */
    if (e == 0)
        e = mix_dh(n, NULL, n->ephemeral, e_public);
    /* se */
    if (e == 0)
        e = mix_dh(n, k, n->own, e_public);
    /* the empty payload */
    if (e == 0)
        e = open_and_hash(n, nothing, k, tag, TAG_LEN);
    if (e == 0)
        e = split(n, n->send_key, n->receive_key);
    gsi_wipe(k, sizeof k);
    return e;
}

/* ---- the server ---- */

void gsi_noise_server(struct noise *n, const uint8_t control_private[KEY_LEN])
{
    memset(n, 0, sizeof *n);
    n->state = NOISE_EXPECT_INITIATION;
    memcpy(n->own, control_private, KEY_LEN);
    gsi_x25519_public(n->own_public, n->own);
}

static int write_response(struct noise *n, const uint8_t *client_e)
{
    struct writer w = writer_of(n->out, sizeof n->out);
    write_u8(&w, RESPONSE);
    write_u16(&w, NOISE_RESPONSE_LEN - NOISE_HEADER_LEN);
    uint8_t *e_public = write_room(&w, KEY_LEN), *tag = write_room(&w, TAG_LEN);
    if (!w.ok)
        return GS_EINVALID;
    uint8_t k[KEY_LEN];
    /* e */
    gsi_x25519_private(n->ephemeral);
    gsi_x25519_public(e_public, n->ephemeral);
    int e = mix_hash(n, e_public, KEY_LEN);
    /* ee */
    if (e == 0)
        e = mix_dh(n, NULL, n->ephemeral, client_e);
    /* se */
    if (e == 0)
        e = mix_dh(n, k, n->ephemeral, n->peer);
    /* the empty payload */
    if (e == 0)
        e = seal_and_hash(n, tag, k, NULL, 0);
    if (e == 0)
        e = split(n, n->receive_key, n->send_key);
    gsi_wipe(k, sizeof k);
    n->out_n = e == 0 ? w.n : 0;
    return e;
}

int gsi_noise_read_initiation(struct noise *n, const uint8_t *body)
{
    struct reader r = reader_of(body, NOISE_INITIATION_LEN - 2 - NOISE_HEADER_LEN);
    const uint8_t *e_public = read_bytes(&r, KEY_LEN), *s = read_bytes(&r, SEALED_KEY_LEN), *tag = read_bytes(&r, TAG_LEN);
    uint8_t k[KEY_LEN], nothing[1];
    int e = begin(n, n->own_public);
    /* e */
    if (e == 0)
        e = mix_hash(n, e_public, KEY_LEN);
    /* es */
    if (e == 0)
        e = mix_dh(n, k, n->own, e_public);
    /* s */
    if (e == 0)
        e = open_and_hash(n, n->peer, k, s, SEALED_KEY_LEN);
    /* ss */
    if (e == 0)
        e = mix_dh(n, k, n->own, n->peer);
    /* the empty payload */
    if (e == 0)
        e = open_and_hash(n, nothing, k, tag, TAG_LEN);
    gsi_wipe(k, sizeof k);
    return e == 0 ? write_response(n, e_public) : e;
}
