/* cookie.h: mac1, mac2 and cookie replies, and who may have a handshake while there are many (tailnet-protocol.md 8.5).
 *
 * device.c asks the gate before it does any Diffie-Hellman; each peer has a jar for what it told us while it was under load.
 */
#ifndef GSI_WIREGUARD_COOKIE_H
#define GSI_WIREGUARD_COOKIE_H

#include "tailnet/wireguard/messages.h"
#include "tailnet/wireguard/wireguard.h"

/* Of a receiver of handshake messages, from its public key. */
struct cookie_keys {
    uint8_t mac1[HASH_LEN], reply[HASH_LEN];
};

/* One peer's: what our handshake messages to it carry. */
struct cookie_jar {
    struct cookie_keys keys;
    uint8_t mac1[MAC_LEN], cookie[COOKIE_LEN];
    uint64_t cookie_ns;
    bool sent, has_cookie;
};

enum { GATE_SETS = 256, GATE_WAYS = 4 };

/* Ours: what handshake messages to us must carry. */
struct cookie_gate {
    struct cookie_keys keys;
    uint8_t secret[HASH_LEN];
    uint64_t secret_ns; /* 0: none yet */
    /* The queue of 8.5 as a leaking bucket, since this engine works each message off at once. */
    uint64_t level_ns, loaded_until_ns;
    /* Sources under load: when each is back at nothing used. The least used of a set gives way. */
    uint64_t seed;
    struct {
        uint64_t source, full_ns;
    } limit[GATE_SETS][GATE_WAYS];
};

enum gate_verdict { GATE_PASS, GATE_FORGED, GATE_WANTS_COOKIE, GATE_LIMITED, GATE_NO_MEMORY };

/* 0 or -ENOMEM, all of these. */
GS_MUST_USE int gsi_cookie_jar(struct cookie_jar *j, const uint8_t public[KEY_LEN]);
GS_MUST_USE int gsi_cookie_gate(struct cookie_gate *g, const uint8_t public[KEY_LEN]);
/* Fills the macs at the end of a handshake message of n bytes. */
GS_MUST_USE int gsi_cookie_stamp(struct cookie_jar *j, uint8_t *message, size_t n, uint64_t now_ns);
/* The answer to GATE_WANTS_COOKIE. */
GS_MUST_USE int gsi_cookie_reply(struct cookie_gate *g, const struct wg_source *from, const uint8_t *message, size_t n,
                                 uint64_t now_ns, uint8_t out[COOKIE_REPLY_LEN]);

/* A handshake message of n bytes, at least MACS_LEN. */
GS_MUST_USE enum gate_verdict gsi_cookie_check(struct cookie_gate *g, const struct wg_source *from, const uint8_t *message,
                                               size_t n, uint64_t now_ns);
/* False: not for the message that we last sent. */
GS_MUST_USE bool gsi_cookie_take(struct cookie_jar *j, const uint8_t in[COOKIE_REPLY_LEN], uint64_t now_ns);

#endif
