/* endpoint.h: addresses as the tailnet's protocols write them: 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), and a port.
 *
 * IPv4 inside IPv6 is the wire form of disco and the compact form of tables, so there is one comparison and one hash for both.
 *
 *     struct endpoint e;
 *     if (gsi_endpoint_parse("203.0.113.5:54321", &e) < 0) …
 */
#ifndef GSI_TAILNET_ENDPOINT_H
#define GSI_TAILNET_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "gensock/error.h"

enum { IP_LEN = 16, ENDPOINT_TEXT = 64 /* "[v6]:65535" and its 0, with room */, PREFIX_BITS = 128 };

struct ip {
    uint8_t b[IP_LEN]; /* all zero: none */
};

struct endpoint {
    struct ip ip;
    uint16_t port; /* host order */
};

/* bits counts from the first of the 128: an IPv4 /10 is 106. */
struct prefix {
    struct ip ip; /* bits behind the prefix are zero */
    uint8_t bits;
};

static inline struct ip gsi_ip_of_v4(const uint8_t v4[4])
{
    return (struct ip){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]}};
}
static inline struct ip gsi_ip_of_v6(const uint8_t v6[IP_LEN])
{
    struct ip ip;
    memcpy(ip.b, v6, IP_LEN);
    return ip;
}
static inline bool gsi_ip_equal(const struct ip *a, const struct ip *b) { return memcmp(a->b, b->b, IP_LEN) == 0; }
static inline bool gsi_ip_is_none(const struct ip *a)
{
    static const uint8_t none[IP_LEN];
    return memcmp(a->b, none, IP_LEN) == 0;
}
static inline bool gsi_ip_is_v4(const struct ip *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(a->b, mapped, sizeof mapped) == 0;
}
static inline bool gsi_endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && gsi_ip_equal(&a->ip, &b->ip);
}
bool gsi_ip_is_loopback(const struct ip *a);   /* 127.0.0.0/8, ::1 */
bool gsi_ip_is_link_local(const struct ip *a); /* 169.254.0.0/16, fe80::/10 */
bool gsi_ip_is_multicast(const struct ip *a);  /* 224.0.0.0/4, ff00::/8 */
bool gsi_ip_is_private(const struct ip *a);    /* RFC 1918, RFC 4193 */
bool gsi_prefix_has(const struct prefix *p, const struct ip *ip);

/* Text of n bytes, no 0 needed. IPv6 with a zone ("fe80::1%eth0") is refused: a zone means nothing to a peer. 0; GS_EFORMAT. */
GS_MUST_USE int gsi_ip_parse(const char *text, size_t n, struct ip *out);
/* "1.2.3.4:5", "[::1]:5". */
GS_MUST_USE int gsi_endpoint_parse(const char *text, size_t n, struct endpoint *out);
/* "10.0.0.0/8", "fd7a::/48", or an address alone: all of its bits. Bits set behind the prefix are an error. */
GS_MUST_USE int gsi_prefix_parse(const char *text, size_t n, struct prefix *out);
/* "1.2.3.4:5", "[::1]:5", "" for none. Returns out. */
const char *gsi_endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT]);
const char *gsi_ip_text(const struct ip *ip, char out[ENDPOINT_TEXT]);

/* The kernel's form and back: IPv4 as AF_INET. The length; 0 for none. */
socklen_t gsi_endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
GS_MUST_USE int gsi_endpoint_of_sockaddr(const struct sockaddr_storage *from, struct endpoint *out);

#endif
