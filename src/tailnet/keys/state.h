/* state.h: what a node keeps between its starts, and its text form.
 *
 *     gensock tailnet state 1
 *     machine privkey:…
 *     node privkey:…
 *     old-node privkey:…                        while the node key is being replaced
 *     node-id nABC123                           what control calls this node
 *     control mkey:… https://control.example    the server's key as first seen, one line for each server
 *     end 64 hex digits                         BLAKE2s of all lines above
 *
 * A file that is cut or changed anywhere is an error that says so, never a new identity. The text is secret.
 */
#ifndef GSI_TAILNET_STATE_H
#define GSI_TAILNET_STATE_H

#include "tailnet/keys/key.h"

enum {
    STATE_VERSION = 1,
    STATE_CONTROLS = 8,
    STATE_URL_MAX = 255,
    STATE_ID_MAX = 64,
    STATE_TEXT_MAX = 4096,
};

struct state_control {
    uint8_t key[KEY_LEN];
    char url[STATE_URL_MAX + 1];
};

struct state {
    uint8_t machine[KEY_LEN], node[KEY_LEN], old_node[KEY_LEN]; /* private; all zero: none */
    char node_id[STATE_ID_MAX + 1];                             /* "": not known yet */
    int controls;
    struct state_control control[STATE_CONTROLS];
};

/* A new machine with a new node key. */
void gsi_state_new(struct state *s);
/* A new node key; the one before becomes old_node, until gsi_state_rotated. Rotating again before that replaces only the new key,
 * which control never took: old_node stays the one that control knows. */
void gsi_state_rotate(struct state *s);
/* Control took the new key: forgets old_node. */
void gsi_state_rotated(struct state *s);
void gsi_state_wipe(struct state *s);

/* The key that this server had when it was first seen, or NULL. */
const uint8_t *gsi_state_control(const struct state *s, const char *url);
/* Remembers it in the place of the key that this URL had (ask gsi_state_control before); a server beyond the last place takes
 * that of the oldest. -EINVAL: no URL of printable ASCII of at most STATE_URL_MAX bytes, or the zero key. */
GS_MUST_USE int gsi_state_pin(struct state *s, const char *url, const uint8_t key[KEY_LEN]);
/* -EINVAL: not printable ASCII without blanks, or too long. */
GS_MUST_USE int gsi_state_name(struct state *s, const char *node_id);

/* The bytes written to out (no 0), which the caller wipes; -EINVAL: a machine or node key is missing; -ENOMEM. */
GS_MUST_USE int gsi_state_write(const struct state *s, char out[STATE_TEXT_MAX]);
/* 0; -EBADMSG: damaged; -ENOTSUP: of a newer version, or another program's; -ENOMEM. Each with a detail that names the cure and
 * shows nothing of the text. *s is unchanged then. */
GS_MUST_USE int gsi_state_read(struct state *s, const char *text, size_t n);

#endif
