/* noise.h: ts2021, the encrypted channel to a control server (Noise_IK_25519_ChaChaPoly_BLAKE2s), both roles.
 *
 * Ciphertext goes in by feed and plaintext comes out by take; plaintext goes in by put and ciphertext comes out by output. Both
 * sides are byte streams: records begin and end where they like. Memory is the struct alone. Randomness is gsi_random's.
 *
 *     uint8_t initiation[NOISE_INITIATION_LEN];
 *     int e = gsi_noise_client(&n, machine_private, control_public, version, initiation);   // goes into the HTTP request
 *     for (; len; in += k, len -= (size_t)k) {                                              // what came behind the answer
 *         if ((k = gsi_noise_feed(&n, in, len)) < 0)
 *             return (int)k;
 *         while ((got = gsi_noise_take(&n, plain, sizeof plain)) > 0)
 *             use(plain, got);
 *     }
 *
 * The first error is final: it is answered by every later feed and put. One thread at a time.
 */
#ifndef GSI_TAILNET_NOISE_H
#define GSI_TAILNET_NOISE_H

#include "tailnet/crypto/crypto.h"

/* tailnet-protocol.md 2.3 and 2.4. */
enum {
    NOISE_HEADER_LEN = 3, /* type u8, length u16 BE */
    NOISE_INITIATION_LEN = 2 + NOISE_HEADER_LEN + KEY_LEN + (KEY_LEN + TAG_LEN) + TAG_LEN, /* the version comes first */
    NOISE_RESPONSE_LEN = NOISE_HEADER_LEN + KEY_LEN + TAG_LEN,
    NOISE_RECORD_MAX = 4096, /* with its header */
    NOISE_PLAIN_MAX = NOISE_RECORD_MAX - NOISE_HEADER_LEN - TAG_LEN,
};

enum noise_state {
    NOISE_EXPECT_INITIATION = 1, /* server */
    NOISE_EXPECT_RESPONSE,       /* client */
    NOISE_OPEN,                  /* records both ways */
    NOISE_FAILED,
};

struct noise {
    /* To be read. */
    enum noise_state state;
    uint16_t version;           /* the client's capability version */
    uint8_t peer[KEY_LEN];      /* the other's static key; the server knows it when state is NOISE_OPEN */
    uint8_t hash[HASH_LEN];     /* when NOISE_OPEN: of the handshake, the same at both ends */

    /* noise.c's and records.c's. */
    int error;
    uint8_t own[KEY_LEN], own_public[KEY_LEN], ephemeral[KEY_LEN], ck[HASH_LEN];
    uint8_t send_key[KEY_LEN], receive_key[KEY_LEN];
    uint64_t sent, received;    /* records; the next nonces */
    size_t in_n, plain_at, plain_end;
    size_t out_at, out_n;
    uint8_t in[NOISE_RECORD_MAX], out[NOISE_RECORD_MAX];
};

/* A client. The initiation is to be sent as it is. 0; GS_EINVALID (the server's key is of small order); -ENOMEM. */
GS_MUST_USE int gsi_noise_client(struct noise *n, const uint8_t machine_private[KEY_LEN], const uint8_t control_public[KEY_LEN],
                                 uint16_t version, uint8_t initiation[NOISE_INITIATION_LEN]);
/* A server: the initiation is fed, the response comes by output. Any version is taken: look at n->version. */
void gsi_noise_server(struct noise *n, const uint8_t control_private[KEY_LEN]);
/* A server's refusal instead of a response: up to 200 bytes of text; the connection is over when it is sent. */
void gsi_noise_refuse(struct noise *n, const char *text);
/* Forgets everything, keys first. */
void gsi_noise_wipe(struct noise *n);

/* How many bytes were taken: all, or less as soon as there is plaintext to take (then none until it is taken). Negative:
 *   GS_EINVALID      malformed, or a record that is not authentic
 *   -EACCES          the handshake does not open: other keys than these, or altered bytes
 *   -ECONNREFUSED    the server refused the handshake; the detail has its (unauthenticated) words
 *   -ENOMEM */
GS_MUST_USE ssize_t gsi_noise_feed(struct noise *n, const void *in, size_t len);
/* Plaintext that was received: how many bytes, 0 when there are none. */
size_t gsi_noise_take(struct noise *n, void *out, size_t cap);

/* How many bytes were taken into a record: 0 while output is to be taken, while the handshake runs and when len is 0.
 * Negative: the channel has failed, or its nonces are used up (-EMSGSIZE). */
GS_MUST_USE ssize_t gsi_noise_put(struct noise *n, const void *in, size_t len);
/* Bytes to send: how many, 0 when there are none. */
size_t gsi_noise_output(struct noise *n, void *out, size_t cap);

/* ---- the early payload: what a server may send ahead of HTTP/2 (tailnet-protocol.md 2.5) ---- */

enum { EARLY_HEAD_LEN = 9, EARLY_PAYLOAD_MAX = 4096 };

/* All zero to begin with. */
struct early {
    bool decided;              /* feed has taken what is its */
    bool present;              /* decided: bytes[EARLY_HEAD_LEN …] is the payload, n - EARLY_HEAD_LEN bytes of JSON;
                                  else: bytes[0 … n) is HTTP/2's and goes there first */
    size_t n, want;
    uint8_t bytes[EARLY_HEAD_LEN + EARLY_PAYLOAD_MAX];
};

/* The first plaintext from the server. How many bytes were taken: 0 when decided; GS_EINVALID (the payload is too long). */
GS_MUST_USE ssize_t gsi_early_feed(struct early *e, const void *in, size_t len);

#endif
