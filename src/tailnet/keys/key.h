/* key.h: the keys of a tailnet as text. All are 32 bytes of Curve25519; the prefix tells what for.
 *
 *     machine    the Noise key of this installation, forever
 *     node       WireGuard's; the identity of the node, until it expires
 *     disco      of path discovery, new at every start
 *     control    the server's Noise key; in text a machine key
 *
 * Private keys of machines and nodes look alike: the reader must know which one it expects.
 */
#ifndef GSI_TAILNET_KEY_H
#define GSI_TAILNET_KEY_H

#include "tailnet/crypto/crypto.h"

enum key_kind { KEY_PRIVATE /* machine or node */, KEY_MACHINE, KEY_NODE, KEY_DISCO, KEY_CHALLENGE, KEY_KINDS };

enum {
    KEY_TEXT_MAX = 9 + 2 * KEY_LEN + 1, /* "discokey:", hex, 0 */
    KEY_SHORT_MAX = 2 + 16 + 1,
};

/* n bytes of text: the kind's prefix and 64 hex digits of either case. 0; GS_EFORMAT, whose detail never shows the text: it may
 * be a private key. Zero keys are keys here: protocols write them for "none" (gsi_is_zero). */
GS_MUST_USE int gsi_key_parse(enum key_kind kind, const char *text, size_t n, uint8_t key[KEY_LEN]);
/* Lower case, 0 behind it. Returns out, which holds a secret if the key is one. */
char *gsi_key_text(enum key_kind kind, const uint8_t key[KEY_LEN], char out[KEY_TEXT_MAX]);
/* For people: "[AbC+/]", the first five base64 digits; of a disco key "d:" and 16 hex digits. A private key is "[private]".
 * Returns out. */
char *gsi_key_short(enum key_kind kind, const uint8_t key[KEY_LEN], char out[KEY_SHORT_MAX]);

#endif
