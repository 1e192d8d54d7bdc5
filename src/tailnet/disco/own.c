/* own.c: own.h. */
#include "tailnet/disco/own.h"

static const uint64_t keep_ns = 310 * UINT64_C(1000000000);

struct list {
    struct own_endpoint *e;
    size_t n;
};

static void add(struct list *l, const struct ip *ip, uint16_t port, enum own_type type)
{
    struct endpoint at = {*ip, port};
    if (!port || gsi_ip_is_none(ip) || l->n == OWN_MAX)
        return;
    for (size_t i = 0; i < l->n; i++)
        if (gsi_endpoint_equal(&l->e[i].at, &at))
            return;
    l->e[l->n++] = (struct own_endpoint){at, type};
}

/* 100.64.0.0/10 without 100.115.92.0/23, and fd7a:115c:a1e0::/48 (8.8). */
static bool is_of_a_tailnet(const struct ip *ip)
{
    static const uint8_t ula[] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0};
    const uint8_t *v4 = ip->b + 12;
    if (!gsi_ip_is_v4(ip))
        return memcmp(ip->b, ula, sizeof ula) == 0;
    bool other = v4[1] == 115 && (v4[2] & 0xfe) == 92;
    return v4[0] == 100 && (v4[1] & 0xc0) == 64 && !other;
}

/* Seen now: its time begins anew; the oldest goes when there are too many. */
static void remember(struct own_seen *own, const struct own_endpoint *e, uint64_t now_ns)
{
    size_t at = 0;
    while (at < own->n && !gsi_endpoint_equal(&own->seen[at].at, &e->at))
        at++;
    if (at == own->n && own->n < OWN_SEEN_MAX)
        own->n++;
    else if (at == own->n) {
        at = 0;
        for (size_t i = 1; i < own->n; i++)
            if (own->until_ns[i] < own->until_ns[at])
                at = i;
    }
    own->seen[at] = *e;
    own->until_ns[at] = now_ns + keep_ns;
}

static void add_seen(struct own_seen *own, struct list *l, const struct own_source *from, uint64_t now_ns)
{
    size_t first = l->n, kept = 0;
    add(l, &from->stun_v4.ip, from->stun_v4.port, OWN_STUN);
    add(l, &from->stun_v6.ip, from->stun_v6.port, OWN_STUN);
    if (from->hard_nat && from->fixed_port)
        add(l, &from->stun_v4.ip, from->port_v4, OWN_STUN_LOCAL_PORT);
    for (size_t i = first; i < l->n; i++)
        remember(own, &l->e[i], now_ns);
    for (size_t i = 0; i < own->n; i++) {
        if (own->until_ns[i] <= now_ns)
            continue;
        own->seen[kept] = own->seen[i];
        own->until_ns[kept++] = own->until_ns[i];
        add(l, &own->seen[kept - 1].at.ip, own->seen[kept - 1].at.port, own->seen[kept - 1].type);
    }
    own->n = kept;
}

enum place { EVERYWHERE, ON_THE_LINK, ON_THIS_HOST, NOWHERE };

static enum place place_of(const struct ip *ip)
{
    static const uint8_t any_v4[4];
    struct ip any = gsi_ip_of_v4(any_v4);
    if (gsi_ip_is_none(ip) || gsi_ip_equal(ip, &any) || gsi_ip_is_multicast(ip) || is_of_a_tailnet(ip))
        return NOWHERE;
    if (gsi_ip_is_loopback(ip))
        return ON_THIS_HOST;
    if (gsi_ip_is_link_local(ip))
        return gsi_ip_is_v4(ip) ? ON_THE_LINK : NOWHERE; /* IPv6 would need a zone */
    return EVERYWHERE;
}

size_t gsi_own_list(struct own_seen *own, const struct own_source *from, uint64_t now_ns, struct own_endpoint out[OWN_MAX])
{
    struct list l = {out, 0};
    add(&l, &from->port_mapped.ip, from->port_mapped.port, OWN_PORTMAPPED);
    add_seen(own, &l, from, now_ns);
    for (int place = EVERYWHERE; place < NOWHERE && (place == EVERYWHERE || l.n == 0); place++)
        for (size_t i = 0; i < from->n; i++)
            if ((int)place_of(&from->interfaces[i]) == place)
                add(&l, &from->interfaces[i], gsi_ip_is_v4(&from->interfaces[i]) ? from->port_v4 : from->port_v6, OWN_LOCAL);
    return l.n;
}
