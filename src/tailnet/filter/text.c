/* text.c: the forms in which a rule names addresses: "*", address, CIDR, range (filter.h). */
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/filter/rules.h"

/* ::ffff:0:0/96, where struct ip has IPv4. */
static const struct span v4 = {{0, 0xffff00000000}, {0, 0xffffffffffff}};

struct key gsi_filter_key(const struct ip *ip)
{
    struct reader r = reader_of(ip->b, IP_LEN);
    uint64_t hi = read_be(&r, 8);
    return (struct key){hi, read_be(&r, 8)};
}

/* IPv6 without what is IPv4. */
static int without_v4(struct span s, struct span out[SPANS_MAX])
{
    int n = 0;
    if (key_before(&s.first, &v4.first)) {
        out[n] = s;
        if (!key_before(&s.last, &v4.first))
            out[n].last = (struct key){0, v4.first.lo - 1};
        n++;
    }
    if (key_before(&v4.last, &s.last)) {
        out[n] = s;
        if (!key_before(&v4.last, &s.first))
            out[n].first = (struct key){0, v4.last.lo + 1};
        n++;
    }
    return n;
}

int gsi_filter_prefix_spans(const struct prefix *p, struct span out[SPANS_MAX])
{
    struct key first = gsi_filter_key(&p->ip);
    struct key last = first;
    if (p->bits > PREFIX_BITS)
        return GS_EFORMAT;
    last.hi |= p->bits < 64 ? UINT64_MAX >> p->bits : 0;
    last.lo |= p->bits <= 64 ? UINT64_MAX : p->bits < PREFIX_BITS ? UINT64_MAX >> (p->bits - 64) : 0;
    if (gsi_ip_is_v4(&p->ip) && p->bits >= 96) {
        out[0] = (struct span){first, last};
        return 1;
    }
    return without_v4((struct span){first, last}, out);
}

/* An address as it is meant: IPv4 in IPv6's form is nobody's address. */
static int address(const char *text, size_t n, struct ip *ip)
{
    int e = gsi_ip_parse(text, n, ip);
    return e < 0 ? e : gsi_ip_is_v4(ip) && memchr(text, ':', n) ? GS_EFORMAT : 0;
}

static int range(const struct filter_text *t, const char *dash, struct span out[SPANS_MAX])
{
    struct ip a, b;
    if (address(t->p, (size_t)(dash - t->p), &a) < 0 || address(dash + 1, t->n - (size_t)(dash - t->p) - 1, &b) < 0)
        return GS_EFORMAT;
    struct span s = {gsi_filter_key(&a), gsi_filter_key(&b)};
    if (gsi_ip_is_v4(&a) != gsi_ip_is_v4(&b) || key_before(&s.last, &s.first))
        return GS_EFORMAT;
    if (!gsi_ip_is_v4(&a))
        return without_v4(s, out);
    out[0] = s;
    return 1;
}

int gsi_filter_spans(const struct filter_text *t, struct span out[SPANS_MAX])
{
    struct prefix p;
    struct ip ip;
    if (!t->n)
        return GS_EFORMAT;
    if (t->n == 1 && *t->p == '*') {
        out[0] = (struct span){{0, 0}, {UINT64_MAX, UINT64_MAX}};
        return 1;
    }
    if (memchr(t->p, '/', t->n)) {
        if (gsi_prefix_parse(t->p, t->n, &p) < 0 || (gsi_ip_is_v4(&p.ip) && memchr(t->p, ':', t->n)))
            return GS_EFORMAT;
        return gsi_filter_prefix_spans(&p, out);
    }
    const char *dash = memchr(t->p, '-', t->n);
    if (dash)
        return range(t, dash, out);
    if (address(t->p, t->n, &ip) < 0)
        return GS_EFORMAT;
    out[0] = (struct span){gsi_filter_key(&ip), gsi_filter_key(&ip)};
    return 1;
}
