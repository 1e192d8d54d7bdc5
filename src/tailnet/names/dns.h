/* dns.h: MagicDNS: answers to DNS queries about the network map (RFC 1035, 2308, 3596, 6891, 7766, 8482, 9619).
 *
 * It knows the tailnet and nothing else. Names: A, AAAA and ANY of what gsi_netmap_resolve knows, PTR of the nodes' addresses,
 * localhost (RFC 6761). A known name without the wished type is an answer without records; what is missing below the tailnet's
 * own domain, in its address ranges, or is a single label, does not exist (NXDOMAIN); of all else, REFUSED: neither is anybody
 * else asked, nor is a public name said not to exist. Negative answers have no SOA, so that nobody keeps them (RFC 2308,
 * section 5): a peer that joins is found at once.
 *
 * A message without a map is answered by SERVFAIL. What is not answered at all: what is shorter than a header, and answers.
 * An error is never longer than its query; an answer by UDP is at most DNS_UDP_MAX bytes, or 512 for who did not say more
 * (EDNS), else the asker is told to come by TCP.
 */
#ifndef GSI_TAILNET_DNS_H
#define GSI_TAILNET_DNS_H

#include "tailnet/netmap/netmap.h"

enum {
    DNS_PORT = 53,
    DNS_HEADER = 12,
    DNS_UDP = 512,
    DNS_UDP_MAX = 1232,  /* never fragmented: IPv6's least MTU, less headers */
    DNS_TCP_MAX = 4096,  /* an answer by TCP has as many addresses as fit */
    DNS_QUERY_MAX = 4096, /* longer ones are FORMERR */
    DNS_TTL_S = 5,       /* the map may change any time */
};

enum dns_way { DNS_BY_UDP, DNS_BY_TCP };

/* The answer's length in out, of DNS_TCP_MAX bytes; 0: there is none. By TCP both are without the length in front. m: NULL, or
 * a map without self, as long as there is none. */
size_t gsi_dns_answer(const struct netmap *m, const void *query, size_t n, enum dns_way way, uint8_t out[DNS_TCP_MAX]);

/* ---- files.c: what makes a program of libc ask here and nowhere else ---- */

enum { DNS_FILE_MAX = 8192 };

/* /etc/resolv.conf: one server, and the tailnet's domain to search. A domain that is not made of letters, digits, - and _ is
 * left out. Ends with a 0. m: as above. */
void gsi_dns_resolv_conf(const struct netmap *m, const char *server, char out[DNS_FILE_MAX]);
/* /etc/nsswitch.conf of n bytes, with `files dns` for hosts: modules that ask by other ways (resolve, mdns) would ask the
 * host's. False: too long, or has a 0 within. */
GS_MUST_USE bool gsi_dns_nsswitch(const char *text, size_t n, char out[DNS_FILE_MAX]);

#endif
