/* disco.h: the messages by which two nodes find a direct path (tailnet-protocol.md 7.1), and what kind of datagram came (8.8).
 *
 *     switch (gsi_datagram_kind(in, n)) {
 *     case DATAGRAM_DISCO:     gsi_paths_feed(paths, in, n, &from, now); break;      paths.h does the rest
 *     case DATAGRAM_WIREGUARD: …
 */
#ifndef GSI_TAILNET_DISCO_H
#define GSI_TAILNET_DISCO_H

#include "tailnet/crypto/crypto.h"
#include "tailnet/endpoint/endpoint.h"

enum {
    DISCO_MAGIC_LEN = 6,
    DISCO_TXID_LEN = 12,
    DISCO_ENDPOINT_LEN = IP_LEN + 2,
    DISCO_ENDPOINTS_MAX = 32, /* of a CallMeMaybe; more are ignored */
    DISCO_HEAD_LEN = DISCO_MAGIC_LEN + KEY_LEN + XNONCE_LEN,
    DISCO_OVERHEAD = DISCO_HEAD_LEN + BOX_OVERHEAD,
    DISCO_PLAIN_MAX = 2 + DISCO_ENDPOINTS_MAX * DISCO_ENDPOINT_LEN, /* that we write */
    DISCO_PACKET_MAX = DISCO_OVERHEAD + DISCO_PLAIN_MAX,
    DISCO_READ_MAX = 2048, /* plaintext that is read: pings are padded to probe the MTU; longer ones are refused */
};

enum datagram { DATAGRAM_STUN = 1, DATAGRAM_GENEVE, DATAGRAM_DISCO, DATAGRAM_WIREGUARD };

/* By its first bytes alone. DATAGRAM_GENEVE comes from peer relays, which a node below capability version 120 drops. */
enum datagram gsi_datagram_kind(const void *in, size_t n);

enum disco_type { DISCO_PING = 1, DISCO_PONG = 2, DISCO_CALL_ME_MAYBE = 3 };

struct disco_message {
    enum disco_type type;
    uint8_t txid[DISCO_TXID_LEN]; /* ping, pong */
    uint8_t node[KEY_LEN];        /* ping: the sender's node key; all zero: it did not tell */
    struct endpoint seen;         /* pong: where the ping came from; by relay: 127.3.3.40, port = region */
    size_t n;                     /* call me maybe */
    struct endpoint endpoints[DISCO_ENDPOINTS_MAX];
};

/* Plaintext. read: 0; GS_EINVALID: cut, or of no known type. write: the bytes written. */
GS_MUST_USE int gsi_disco_read(const void *in, size_t n, struct disco_message *m);
size_t gsi_disco_write(uint8_t out[DISCO_PLAIN_MAX], const struct disco_message *m);

/* The magic, and long enough. */
GS_MUST_USE bool gsi_disco_is(const void *in, size_t n);
/* The disco key of the sender, borrowed from the packet; gsi_disco_is was true. Look it up before anything is opened. */
const uint8_t *gsi_disco_sender(const void *in);
/* shared: gsi_box_key of the two disco keys. Answers the length of the packet. */
size_t gsi_disco_seal(uint8_t out[DISCO_PACKET_MAX], const uint8_t own_public[KEY_LEN], const uint8_t shared[KEY_LEN],
                      const struct disco_message *m);
/* 0; -EACCES: not authentic; GS_EINVALID: nothing that is known. */
GS_MUST_USE int gsi_disco_open(const void *in, size_t n, const uint8_t shared[KEY_LEN], struct disco_message *m);

#endif
