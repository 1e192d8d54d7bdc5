/* own.h: the endpoints at which this node may be reached, for control and CallMeMaybe (tailnet-protocol.md 6, end).
 *
 *     struct own_source source = {.stun_v4 = report.global_v4, .port_v4 = port, .interfaces = addresses, .n = n_addresses};
 *     n = gsi_own_list(&seen, &source, now, list);             after each netcheck and change of interfaces
 */
#ifndef GSI_TAILNET_OWN_H
#define GSI_TAILNET_OWN_H

#include "tailnet/endpoint/endpoint.h"

enum { OWN_MAX = 32, OWN_SEEN_MAX = 8 };

/* The numbers of MapRequest.EndpointTypes. */
enum own_type { OWN_LOCAL = 1, OWN_STUN = 2, OWN_PORTMAPPED = 3, OWN_STUN_LOCAL_PORT = 4, OWN_EXPLICIT = 5 };

struct own_endpoint {
    struct endpoint at;
    enum own_type type;
};

/* What STUN servers saw lately. All zero to begin with. */
struct own_seen {
    struct own_endpoint seen[OWN_SEEN_MAX];
    uint64_t until_ns[OWN_SEEN_MAX];
    size_t n;
};

struct own_source {
    struct endpoint port_mapped;     /* all zero: none */
    struct endpoint stun_v4, stun_v6; /* of the last netcheck; all zero: none */
    bool hard_nat, fixed_port;       /* both: somebody may have forwarded the port, so stun_v4's IP with port_v4 is tried */
    uint16_t port_v4, port_v6;       /* of our sockets; 0: none */
    const struct ip *interfaces;     /* their addresses, all of them: what is not fit is left out */
    size_t n;
};

/* Best first, none twice: port-mapped, STUN (for 5 min 10 s after it was seen last), local. Loopback and link-local only when
 * there is nothing else; addresses of a tailnet never. The number of them. */
size_t gsi_own_list(struct own_seen *own, const struct own_source *from, uint64_t now_ns, struct own_endpoint out[OWN_MAX]);

#endif
