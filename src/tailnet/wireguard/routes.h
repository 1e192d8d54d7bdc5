/* routes.h: cryptokey routing: whose an inner address is, for outgoing packets by destination, for incoming ones by source.
 *
 *     struct routes *r = gsi_routes_new(0);
 *     gsi_routes_add(r, &prefix, who);      (gsi_prefix_parse("100.64.0.7", …, &prefix))
 *     who = gsi_routes_find(r, &ip);        (ip = gsi_ip_of_v4(packet + 16))
 *
 * One table by hash of (address, length): an exact address is one look-up, a prefix one more for each length in use,
 * the longest first. No prefix of IPv6 holds an IPv4 address, not ::/0 either. `who` is the caller's, as wg_config's find answers
 * it. One thread at a time. tailnet-protocol.md 8.8.
 */
#ifndef GSI_WIREGUARD_ROUTES_H
#define GSI_WIREGUARD_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"
#include "tailnet/endpoint/endpoint.h"

struct routes;

/* max: routes at most; 0: 1,000,000. NULL: no memory. */
struct routes *gsi_routes_new(size_t max);
void gsi_routes_free(struct routes *r);
/* One owner per prefix: the last one added has it. GS_EINVALID: more than 128 bits, or some set behind the prefix; -EINVAL: who
 * is NULL; -ENOBUFS: max; -ENOMEM. */
GS_MUST_USE int gsi_routes_add(struct routes *r, const struct prefix *p, void *who);
/* Unless it has become somebody else's. */
void gsi_routes_remove(struct routes *r, const struct prefix *p, const void *who);
/* All of one owner. O(the table). */
void gsi_routes_remove_all(struct routes *r, const void *who);
/* The owner of the longest prefix that holds the address; NULL: nobody. */
void *gsi_routes_find(const struct routes *r, const struct ip *ip);
size_t gsi_routes_count(const struct routes *r);

#endif
