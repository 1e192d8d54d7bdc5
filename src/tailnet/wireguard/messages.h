/* messages.h: WireGuard on the wire: the four messages, their lengths computed from parts, and every constant of the protocol.
 *
 * All integers are little endian; the type is a byte and three zeros. tailnet-protocol.md 8.1, 8.2, 8.5, 8.6.
 */
#ifndef GSI_WIREGUARD_MESSAGES_H
#define GSI_WIREGUARD_MESSAGES_H

#include "tailnet/crypto/crypto.h"

/* 8.1 */
#define NOISE_CONSTRUCTION "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
#define NOISE_IDENTIFIER "WireGuard v1 zx2c4 Jason@zx2c4.com"
#define LABEL_MAC1 "mac1----"
#define LABEL_COOKIE "cookie--"

enum message_type { MESSAGE_INITIATION = 1, MESSAGE_RESPONSE = 2, MESSAGE_COOKIE = 3, MESSAGE_TRANSPORT = 4 };

/* 8.2: lengths, and offsets named after what lies there */
enum {
    TYPE_LEN = 4,
    INDEX_LEN = 4,
    COUNTER_LEN = 8,
    STAMP_LEN = 12, /* TAI64N */
    LABEL_LEN = 8,
    MACS_LEN = 2 * MAC_LEN, /* mac1 mac2: the end of a handshake message */

    AT_INDEX = TYPE_LEN, /* the sender's of a handshake message, the receiver's of a cookie reply and of transport */

    /* type | sender | ephemeral | AEAD(static) | AEAD(timestamp) | macs */
    INITIATION_BODY = TYPE_LEN + INDEX_LEN + KEY_LEN + (KEY_LEN + TAG_LEN) + (STAMP_LEN + TAG_LEN),
    INITIATION_LEN = INITIATION_BODY + MACS_LEN,
    /* type | sender | receiver | ephemeral | AEAD() | macs */
    AT_RESPONSE_RECEIVER = TYPE_LEN + INDEX_LEN,
    RESPONSE_BODY = TYPE_LEN + INDEX_LEN + INDEX_LEN + KEY_LEN + TAG_LEN,
    RESPONSE_LEN = RESPONSE_BODY + MACS_LEN,
    /* type | receiver | nonce | AEAD(cookie) */
    COOKIE_LEN = MAC_LEN,
    COOKIE_REPLY_LEN = TYPE_LEN + INDEX_LEN + XNONCE_LEN + COOKIE_LEN + TAG_LEN,
    /* type | receiver | counter | AEAD(packet) */
    AT_COUNTER = TYPE_LEN + INDEX_LEN,
    TRANSPORT_HEAD = TYPE_LEN + INDEX_LEN + COUNTER_LEN,
    TRANSPORT_MIN = TRANSPORT_HEAD + TAG_LEN,
    PADDING_UNIT = 16,
};

_Static_assert(INITIATION_LEN == 148 && RESPONSE_LEN == 92 && COOKIE_REPLY_LEN == 64 && TRANSPORT_MIN == 32, "8.2");

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define NEVER UINT64_MAX

/* 8.6 */
#define REKEY_AFTER_MESSAGES (UINT64_C(1) << 60)
#define REJECT_AFTER_MESSAGES (UINT64_MAX - (UINT64_C(1) << 13))
#define REKEY_AFTER_TIME (120 * SECOND)
#define REJECT_AFTER_TIME (180 * SECOND)
#define REKEY_TIMEOUT (5 * SECOND)
#define REKEY_ATTEMPT_TIME (90 * SECOND)
#define KEEPALIVE_TIMEOUT (10 * SECOND)
#define JITTER_MAX (334 * MS)
#define LAST_MINUTE (REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT)
#define ZERO_KEYS_AFTER (3 * REJECT_AFTER_TIME)
#define RETRIES_MAX (REKEY_ATTEMPT_TIME / REKEY_TIMEOUT)
#define NEWCOMER_TIMEOUT (250 * MS) /* ours: while peers may not know us yet; doubled */

/* 8.4, 8.5 */
#define INITIATIONS_APART (20 * MS)
#define COOKIE_LIFE (120 * SECOND)
#define SECRET_LIFE (120 * SECOND)
#define LOAD_LASTS (1 * SECOND)
#define SOURCE_INTERVAL (SECOND / 20)
enum {
    HANDSHAKE_QUEUE = 1024,
    LOAD_LEVEL = HANDSHAKE_QUEUE / 8,
    SOURCE_BURST = 5,
};

/* What this engine holds at most: 8.6 for the packets without a key, ours for the rest. */
enum {
    STAGED_MAX = 128,           /* of a peer; the oldest is dropped */
    OUTPUT_MAX = 1024,          /* datagrams that the caller has not fetched; the oldest is dropped */
    HELD_BYTES_MAX = 16 << 20,  /* of both, all peers together */
};

#endif
