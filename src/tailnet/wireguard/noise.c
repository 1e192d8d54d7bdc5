/* noise.c: the handshake of WireGuard. tailnet-protocol.md 8.3; the tokens below stand in the pattern's order.
 *
 *     Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s:
 *       <- s
 *       ...
 *       -> e, es, s, ss, {timestamp}
 *       <- e, ee, se, psk, {}
 */
#include "tailnet/wireguard/noise.h"

#include <string.h>

#include "tailnet/bytes/bytes.h"

/* Each key seals once. */
static const uint8_t nonce_0[NONCE_LEN];

static void mix_hash(struct noise *s, const void *p, size_t n)
{
    if (s->error == 0)
        s->error = gsi_hash(s->hash, s->hash, HASH_LEN, p, n);
}

static void mix_ck(struct noise *s, const void *in, size_t n)
{
    if (s->error == 0)
        s->error = gsi_kdf(s->ck, NULL, NULL, s->ck, in, n);
}

static void mix_key(struct noise *s, const uint8_t in[KEY_LEN])
{
    if (s->error == 0)
        s->error = gsi_kdf(s->ck, s->key, NULL, s->ck, in, KEY_LEN);
}

static void mix_psk(struct noise *s, const uint8_t psk[KEY_LEN])
{
    uint8_t t[HASH_LEN];
    if (s->error == 0)
        s->error = gsi_kdf(s->ck, t, s->key, s->ck, psk, KEY_LEN);
    mix_hash(s, t, HASH_LEN);
    gsi_wipe(t, sizeof t);
}

static void dh(struct noise *s, uint8_t out[KEY_LEN], const uint8_t private[KEY_LEN], const uint8_t public[KEY_LEN])
{
    if (s->error == 0 && !gsi_x25519(out, private, public))
        s->error = GS_EINVALID;
}

/* es: with a key. ee, se: without. */
static void mix_dh(struct noise *s, bool key, const uint8_t private[KEY_LEN], const uint8_t public[KEY_LEN])
{
    uint8_t shared[KEY_LEN];
    dh(s, shared, private, public);
    if (key)
        mix_key(s, shared);
    else
        mix_ck(s, shared, KEY_LEN);
    gsi_wipe(shared, sizeof shared);
}

static void seal(struct noise *s, uint8_t *out, const void *in, size_t n)
{
    if (s->error)
        return;
    gsi_seal(out, s->key, nonce_0, s->hash, HASH_LEN, in, n);
    mix_hash(s, out, n + TAG_LEN);
}

static void open(struct noise *s, uint8_t *out, const uint8_t *in, size_t n)
{
    if (s->error == 0 && !gsi_open(out, s->key, nonce_0, s->hash, HASH_LEN, in, n + TAG_LEN))
        s->error = GS_EINVALID;
    mix_hash(s, in, n + TAG_LEN);
}

static void ephemeral(struct noise *s, uint8_t private[KEY_LEN], uint8_t public[KEY_LEN])
{
    gsi_x25519_private(private);
    gsi_x25519_public(public, private);
    mix_ck(s, public, KEY_LEN);
    mix_hash(s, public, KEY_LEN);
}

static int end(struct noise *s)
{
    int e = s->error;
    gsi_wipe(s, sizeof *s);
    return e;
}

int gsi_noise_self(struct noise_self *s, const uint8_t private[KEY_LEN])
{
    struct noise *start = &s->start;
    memset(s, 0, sizeof *s);
    memcpy(s->private, private, KEY_LEN);
    gsi_x25519_public(s->public, private);
    start->error = gsi_hash(start->ck, NOISE_CONSTRUCTION, strlen(NOISE_CONSTRUCTION), NULL, 0);
    memcpy(start->hash, start->ck, HASH_LEN);
    mix_hash(start, NOISE_IDENTIFIER, strlen(NOISE_IDENTIFIER));
    return start->error;
}

int gsi_noise_peer(struct noise_peer *p, const struct noise_self *s, const uint8_t public[KEY_LEN])
{
    memset(p, 0, sizeof *p);
    memcpy(p->public, public, KEY_LEN);
    return gsi_x25519(p->static_static, s->private, public) ? 0 : GS_EINVALID;
}

int gsi_noise_initiate(struct noise_initiation *i, const struct noise_self *s, const struct noise_peer *p, uint32_t index,
                       const uint8_t stamp[STAMP_LEN], uint8_t out[INITIATION_BODY])
{
    struct noise *n = &i->state;
    struct writer w = writer_of(out, INITIATION_BODY);
    write_le32(&w, MESSAGE_INITIATION);
    write_le32(&w, index);
    *n = s->start;
    mix_hash(n, p->public, KEY_LEN);

    uint8_t *e = write_room(&w, KEY_LEN); /* e */
    ephemeral(n, i->ephemeral, e);
    mix_dh(n, true, i->ephemeral, p->public);                            /* es */
    seal(n, write_room(&w, KEY_LEN + TAG_LEN), s->public, KEY_LEN);      /* s */
    mix_key(n, p->static_static);                                        /* ss */
    seal(n, write_room(&w, STAMP_LEN + TAG_LEN), stamp, STAMP_LEN);      /* {timestamp} */

    gsi_wipe(n->key, KEY_LEN);
    return n->error;
}

int gsi_noise_claim(struct noise_claim *c, const struct noise_self *s, const uint8_t in[INITIATION_BODY])
{
    struct noise *n = &c->state;
    struct reader r = reader_of(in, INITIATION_BODY);
    read_bytes(&r, TYPE_LEN);
    c->index = read_le32(&r);
    *n = s->start;
    mix_hash(n, s->public, KEY_LEN);

    read_copy(&r, c->ephemeral, KEY_LEN); /* e */
    mix_ck(n, c->ephemeral, KEY_LEN);
    mix_hash(n, c->ephemeral, KEY_LEN);
    mix_dh(n, true, s->private, c->ephemeral);                        /* es */
    open(n, c->public, read_bytes(&r, KEY_LEN + TAG_LEN), KEY_LEN);   /* s */
    return n->error;
}

int gsi_noise_prove(struct noise_claim *c, const struct noise_peer *p, const uint8_t in[INITIATION_BODY],
                    uint8_t stamp[STAMP_LEN])
{
    struct noise *n = &c->state;
    mix_key(n, p->static_static);                                                       /* ss */
    open(n, stamp, in + INITIATION_BODY - (STAMP_LEN + TAG_LEN), STAMP_LEN);            /* {timestamp} */
    return n->error;
}

int gsi_noise_respond(struct noise_keys *k, struct noise_claim *c, const struct noise_peer *p, uint32_t index,
                      uint8_t out[RESPONSE_BODY])
{
    struct noise *n = &c->state;
    uint8_t private[KEY_LEN];
    struct writer w = writer_of(out, RESPONSE_BODY);
    write_le32(&w, MESSAGE_RESPONSE);
    write_le32(&w, index);
    write_le32(&w, c->index);

    uint8_t *e = write_room(&w, KEY_LEN); /* e */
    ephemeral(n, private, e);
    mix_dh(n, false, private, c->ephemeral);             /* ee */
    mix_dh(n, false, private, p->public);                /* se */
    mix_psk(n, p->psk);                                  /* psk */
    seal(n, write_room(&w, TAG_LEN), NULL, 0);           /* {} */

    gsi_wipe(private, sizeof private);
    if (n->error == 0)
        n->error = gsi_kdf(k->receive, k->send, NULL, n->ck, NULL, 0);
    k->index = c->index;
    return end(n);
}

int gsi_noise_finish(struct noise_keys *k, const struct noise_initiation *i, const struct noise_self *s,
                     const struct noise_peer *p, const uint8_t in[RESPONSE_BODY])
{
    struct noise n = i->state;
    uint8_t nothing[1];
    struct reader r = reader_of(in, RESPONSE_BODY);
    read_bytes(&r, TYPE_LEN);
    k->index = read_le32(&r);
    read_bytes(&r, INDEX_LEN);

    const uint8_t *e = read_bytes(&r, KEY_LEN); /* e */
    mix_ck(&n, e, KEY_LEN);
    mix_hash(&n, e, KEY_LEN);
    mix_dh(&n, false, i->ephemeral, e);                 /* ee */
    mix_dh(&n, false, s->private, e);                   /* se */
    mix_psk(&n, p->psk);                                /* psk */
    open(&n, nothing, read_bytes(&r, TAG_LEN), 0);      /* {} */

    if (n.error == 0)
        n.error = gsi_kdf(k->send, k->receive, NULL, n.ck, NULL, 0);
    return end(&n);
}
