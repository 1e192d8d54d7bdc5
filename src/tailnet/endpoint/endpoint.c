/* endpoint.c: text and kernel forms of endpoint.h, and which networks an address belongs to. */
#include "tailnet/endpoint/endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>

bool gsi_prefix_has(const struct prefix *p, const struct ip *ip)
{
    size_t whole = p->bits / 8;
    uint8_t rest = p->bits % 8;
    if (memcmp(p->ip.b, ip->b, whole) != 0)
        return false;
    return !rest || (p->ip.b[whole] ^ ip->b[whole]) >> (8 - rest) == 0;
}

static bool in_v4(const struct ip *a, uint8_t first, uint8_t second, int bits)
{
    return gsi_ip_is_v4(a) &&
           gsi_prefix_has(&(struct prefix){gsi_ip_of_v4((const uint8_t[]){first, second, 0, 0}), (uint8_t)(96 + bits)}, a);
}

bool gsi_ip_is_loopback(const struct ip *a)
{
    static const struct ip one = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    return in_v4(a, 127, 0, 8) || gsi_ip_equal(a, &one);
}

bool gsi_ip_is_link_local(const struct ip *a) { return in_v4(a, 169, 254, 16) || (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80); }

bool gsi_ip_is_multicast(const struct ip *a) { return in_v4(a, 224, 0, 4) || a->b[0] == 0xff; }

bool gsi_ip_is_private(const struct ip *a)
{
    return in_v4(a, 10, 0, 8) || in_v4(a, 172, 16, 12) || in_v4(a, 192, 168, 16) || (a->b[0] & 0xfe) == 0xfc;
}

int gsi_ip_parse(const char *text, size_t n, struct ip *out)
{
    char z[ENDPOINT_TEXT];
    uint8_t v4[4], v6[IP_LEN];
    if (n >= sizeof z || memchr(text, 0, n))
        return GS_EFORMAT;
    memcpy(z, text, n);
    z[n] = 0;
    if (inet_pton(AF_INET, z, v4) == 1)
        *out = gsi_ip_of_v4(v4);
    else if (inet_pton(AF_INET6, z, v6) == 1)
        *out = gsi_ip_of_v6(v6);
    else
        return GS_EFORMAT;
    return 0;
}

/* Decimal without sign, blank or leading zero, up to `most`. */
static int number_parse(const char *text, size_t n, unsigned most, unsigned *out)
{
    unsigned v = 0;
    if (!n || n > 5 || (n > 1 && *text == '0'))
        return GS_EFORMAT;
    for (; n--; text++) {
        if (*text < '0' || *text > '9')
            return GS_EFORMAT;
        v = v * 10 + (unsigned)(*text - '0');
    }
    *out = v;
    return v <= most ? 0 : GS_EFORMAT;
}

int gsi_endpoint_parse(const char *text, size_t n, struct endpoint *out)
{
    struct endpoint e;
    unsigned port;
    bool bracketed = n && *text == '[';
    const char *colon = n ? memrchr(text, ':', n) : NULL;
    if (!colon)
        return GS_EFORMAT;
    size_t host = (size_t)(colon - text);
    if (bracketed && (host < 2 || text[host - 1] != ']'))
        return GS_EFORMAT;
    if (gsi_ip_parse(text + bracketed, host - 2 * bracketed, &e.ip) < 0 ||
        number_parse(colon + 1, n - host - 1, UINT16_MAX, &port) < 0)
        return GS_EFORMAT;
    if (bracketed != (memchr(text, ':', host) != NULL)) /* IPv6 stands in brackets, IPv4 does not */
        return GS_EFORMAT;
    e.port = (uint16_t)port;
    *out = e;
    return 0;
}

int gsi_prefix_parse(const char *text, size_t n, struct prefix *out)
{
    const char *slash = n ? memchr(text, '/', n) : NULL;
    size_t host = slash ? (size_t)(slash - text) : n;
    struct prefix p = {.bits = PREFIX_BITS};
    if (gsi_ip_parse(text, host, &p.ip) < 0)
        return GS_EFORMAT;
    if (slash) {
        bool v4 = !memchr(text, ':', host);
        unsigned bits;
        if (number_parse(slash + 1, n - host - 1, v4 ? 32 : PREFIX_BITS, &bits) < 0)
            return GS_EFORMAT;
        p.bits = (uint8_t)(bits + (v4 ? 96 : 0));
    }
    for (unsigned i = p.bits; i < PREFIX_BITS; i++)
        if (p.ip.b[i / 8] & 0x80 >> i % 8)
            return GS_EFORMAT;
    *out = p;
    return 0;
}

const char *gsi_ip_text(const struct ip *ip, char out[ENDPOINT_TEXT])
{
    *out = 0;
    if (gsi_ip_is_none(ip))
        return out;
    bool v4 = gsi_ip_is_v4(ip);
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip->b + 12 : ip->b, out, ENDPOINT_TEXT);
    return out;
}

const char *gsi_endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT])
{
    char ip[ENDPOINT_TEXT];
    *out = 0;
    if (*gsi_ip_text(&e->ip, ip))
        snprintf(out, ENDPOINT_TEXT, gsi_ip_is_v4(&e->ip) ? "%.46s:%u" : "[%.46s]:%u", ip, e->port);
    return out;
}

socklen_t gsi_endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (gsi_ip_is_none(&e->ip))
        return 0;
    if (gsi_ip_is_v4(&e->ip)) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(e->port)};
        memcpy(&in.sin_addr, e->ip.b + 12, 4);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};
    memcpy(&in.sin6_addr, e->ip.b, IP_LEN);
    memcpy(out, &in, sizeof in);
    return sizeof in;
}

int gsi_endpoint_of_sockaddr(const struct sockaddr_storage *from, struct endpoint *out)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    switch (from->ss_family) {
    case AF_INET:
        memcpy(&v4, from, sizeof v4);
        *out = (struct endpoint){gsi_ip_of_v4((const uint8_t *)&v4.sin_addr), ntohs(v4.sin_port)};
        return 0;
    case AF_INET6:
        memcpy(&v6, from, sizeof v6);
        *out = (struct endpoint){gsi_ip_of_v6((const uint8_t *)&v6.sin6_addr), ntohs(v6.sin6_port)};
        return 0;
    default: return GS_EFORMAT;
    }
}
