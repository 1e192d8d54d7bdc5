/* stun.h: the binding request and response of STUN (RFC 8489) as tailnets use them: what address does the world see for this
 * socket?
 *
 * A node sends requests and reads responses; a lab's server does the reverse. Servers of tailnets answer only requests that carry
 * SOFTWARE "tailnode" and, as the last attribute, a right FINGERPRINT, so that they are no reflectors for others.
 *
 *     gsi_stun_request(packet, txid);              send packet, 40 bytes
 *     if (gsi_stun_is(in, n) && gsi_stun_response_parse(in, n, txid, &seen) == 0) …is txid one of ours?
 */
#ifndef GSI_TAILNET_STUN_H
#define GSI_TAILNET_STUN_H

#include "tailnet/endpoint/endpoint.h"

enum {
    STUN_TXID_LEN = 12,
    STUN_HEADER_LEN = 20,
    STUN_REQUEST_LEN = 40,
    STUN_RESPONSE_MAX = 44, /* with an IPv6 address */
};

/* txid: unpredictable, since who guesses it can tell us a wrong address. */
void gsi_stun_request(uint8_t out[STUN_REQUEST_LEN], const uint8_t txid[STUN_TXID_LEN]);
/* Tells STUN from what else comes to the socket; not whether it is well-formed. */
GS_MUST_USE bool gsi_stun_is(const void *in, size_t n);
/* A success response: XOR-MAPPED-ADDRESS (also its old number), else MAPPED-ADDRESS. 0; GS_EINVALID: none, and nothing is
 * written. */
GS_MUST_USE int gsi_stun_response_parse(const void *in, size_t n, uint8_t txid[STUN_TXID_LEN], struct endpoint *seen);

/* The server's side. 0; GS_EINVALID: not to be answered. */
GS_MUST_USE int gsi_stun_request_parse(const void *in, size_t n, uint8_t txid[STUN_TXID_LEN]);
/* The bytes written. */
size_t gsi_stun_response(uint8_t out[STUN_RESPONSE_MAX], const uint8_t txid[STUN_TXID_LEN], const struct endpoint *seen);

#endif
