/* server_key.h: GET /key, the only step whose trust rests on TLS (tailnet-protocol.md 2.1): pin what it answers.
 *
 *     struct server_key *k = gsi_server_key_new(&url, CAPABILITY_VERSION);
 *     … send gsi_server_key_output; for what arrives: e = gsi_server_key_feed(k, in, n); at the end: e = gsi_server_key_end(k);
 *     if (e == 1) memcpy(key, gsi_server_key_public(k), KEY_LEN);
 *
 * The connection carries this request only.
 */
#ifndef GSI_TAILNET_CONTROL_SERVER_KEY_H
#define GSI_TAILNET_CONTROL_SERVER_KEY_H

#include "tailnet/control/url.h"
#include "tailnet/crypto/crypto.h"

struct server_key;

/* NULL: no memory. */
struct server_key *gsi_server_key_new(const struct url *control, uint16_t version);
void gsi_server_key_free(struct server_key *k);
/* The request: how many bytes, 0 when all was taken. */
size_t gsi_server_key_output(struct server_key *k, void *out, size_t cap);
/* 1: the key is there; 0: more is needed. Negative, with a detail:
 *   GS_EINVALID      no answer of a control server, or one without a key
 *   -EPROTO          another status than 200; the detail has the server's words
 *   -EMSGSIZE        longer than 64 KiB
 *   -ENOMEM
 *   GS_ECLOSED       (end) the connection ended too early */
GS_MUST_USE int gsi_server_key_feed(struct server_key *k, const void *in, size_t n);
GS_MUST_USE int gsi_server_key_end(struct server_key *k);
/* Once it is there; NULL before. */
const uint8_t *gsi_server_key_public(const struct server_key *k);

#endif
