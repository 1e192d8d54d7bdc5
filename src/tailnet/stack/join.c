/* join.c: join.h. The rules are those of the kernel's own GRO (tcp_gro_receive), less what never comes through a tunnel. */
#include "tailnet/stack/join.h"

#include <errno.h>

#include "tailnet/stack/inet.h"

enum { VNET_HEADER = sizeof(struct virtio_net_hdr), IPV4_MORE_OR_OFFSET = 0x3fff };

struct candidate {
    uint8_t *p;
    struct inet h;
    uint16_t tcp_headers; /* 0: no TCP */
    uint16_t payload;
};

void gsi_join_init(struct join *j) { memset(j, 0, sizeof *j); }

/* ---- groups ---- */

static const uint8_t *first_of(const struct join_group *g) { return g->iov[1].iov_base; }

/* Addresses and ports. */
static bool same_flow(const struct join_group *g, const struct candidate *c)
{
    const uint8_t *p = first_of(g);
    if (g->v6 != c->h.v6 || memcmp(p + g->transport, c->p + c->h.transport, 4) != 0)
        return false;
    if (g->v6)
        return memcmp(p + IPV6_ADDRESSES, c->p + IPV6_ADDRESSES, 32) == 0;
    return memcmp(p + IPV4_ADDRESSES, c->p + IPV4_ADDRESSES, 8) == 0;
}

static struct join_group *flow_of(struct join *j, const struct candidate *c)
{
    for (int i = 0; i < JOIN_GROUPS; i++)
        if (j->group[i].state == JOIN_OPEN && same_flow(&j->group[i], c))
            return &j->group[i];
    return NULL;
}

static struct join_group *oldest(struct join *j, int state)
{
    struct join_group *best = NULL;
    for (int i = 0; i < JOIN_GROUPS; i++) {
        struct join_group *g = &j->group[i];
        if ((int)g->state == state && (!best || g->since < best->since))
            best = g;
    }
    return best;
}

static int count(const struct join *j, int state)
{
    int n = 0;
    for (int i = 0; i < JOIN_GROUPS; i++)
        n += (int)j->group[i].state == state;
    return n;
}

/* The first packet's headers speak for all: its length, and a checksum of the pseudo header only, as a device would get it. */
static void seal(struct join_group *g)
{
    uint8_t *p = g->iov[1].iov_base, *tcp = p + g->transport;
    struct inet h = {.v6 = g->v6, .protocol = PROTOCOL_TCP, .transport = g->transport, .length = (uint16_t)g->total};
    inet_set_length(&h, p, g->total);
    put_sum(tcp + TCP_CHECKSUM, sum_fold(inet_pseudo(&h, p, g->total - g->transport)));
    g->vnet = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                      .gso_type = g->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
                                      .hdr_len = g->headers, .gso_size = g->payload, .csum_start = g->transport,
                                      .csum_offset = TCP_CHECKSUM};
}

static void make_ready(struct join *j, struct join_group *g)
{
    if (g->n > 3)
        seal(g);
    g->state = JOIN_READY;
    g->since = j->clock++;
}

/* A group of one packet: of one piece, or with its headers apart so that others can follow. */
static struct join_group *begin(struct join *j, const struct candidate *c, size_t headers, uint8_t flags)
{
    struct join_group *g = oldest(j, JOIN_FREE);
    g->state = JOIN_OPEN;
    g->since = j->clock++;
    g->vnet = (struct virtio_net_hdr){.flags = flags};
    g->iov[0] = (struct iovec){&g->vnet, VNET_HEADER};
    g->iov[1] = (struct iovec){c->p, headers};
    g->n = 2;
    return g;
}

static void add_alone(struct join *j, const struct candidate *c) { make_ready(j, begin(j, c, c->h.length, 0)); }

static void add_first(struct join *j, const struct candidate *c)
{
    const uint8_t *tcp = c->p + c->h.transport;
    size_t headers = (size_t)c->h.transport + c->tcp_headers;
    if (count(j, JOIN_OPEN) == JOIN_FLOWS)
        make_ready(j, oldest(j, JOIN_OPEN));
    struct join_group *g = begin(j, c, headers, VIRTIO_NET_HDR_F_DATA_VALID);
    g->v6 = c->h.v6;
    g->transport = (uint8_t)c->h.transport;
    g->headers = (uint8_t)headers;
    g->payload = c->payload;
    g->total = c->h.length;
    g->next = get32(tcp + TCP_SEQUENCE) + c->payload;
    g->iov[g->n++] = (struct iovec){c->p + headers, c->payload};
    if (tcp[TCP_FLAGS] & FLAG_PSH)
        make_ready(j, g);
}

/* ---- packets ---- */

static bool sums_right(const struct candidate *c)
{
    size_t part = (size_t)(c->h.length - c->h.transport);
    if (!c->h.v6 && sum_fold(sum_bytes(0, c->p, c->h.transport)) != 0xffff)
        return false;
    return sum_fold(sum_bytes(inet_pseudo(&c->h, c->p, part), c->p + c->h.transport, part)) == 0xffff;
}

/* Data without anything special: no IP options, no fragment, ACK or PSH only. */
static bool plain_data(const struct candidate *c)
{
    const uint8_t *tcp = c->p + c->h.transport;
    if (!c->tcp_headers || !c->payload || c->h.transport != (c->h.v6 ? IPV6_HEADER : IPV4_HEADER))
        return false;
    if (!c->h.v6 && get16(c->p + IPV4_FRAGMENT) & IPV4_MORE_OR_OFFSET)
        return false;
    return (tcp[TCP_FLAGS] | FLAG_PSH) == (FLAG_ACK | FLAG_PSH) && !(tcp[TCP_OFFSET] & 15);
}

/* The packet continues the group: next sequence number, everything else in the headers alike. */
static bool continues(const struct join_group *g, const struct candidate *c)
{
    const uint8_t *a = first_of(g), *b = c->p, *at = a + g->transport, *bt = b + c->h.transport;
    size_t tcp_headers = (size_t)(g->headers - g->transport);
    if (get32(bt + TCP_SEQUENCE) != g->next || c->tcp_headers != tcp_headers || c->payload > g->payload)
        return false;
    if (g->n == JOIN_PACKETS + 2 || g->total + c->payload > PACKET_MAX)
        return false;
    /* IPv6: class and label, hop limit. IPv4: class; the fragment field and TTL. */
    if (g->v6 ? memcmp(a, b, 4) != 0 || a[7] != b[7] : a[1] != b[1] || memcmp(a + IPV4_FRAGMENT, b + IPV4_FRAGMENT, 3) != 0)
        return false;
    return memcmp(at + TCP_ACK_NUMBER, bt + TCP_ACK_NUMBER, 4) == 0 && memcmp(at + TCP_WINDOW, bt + TCP_WINDOW, 2) == 0 &&
           memcmp(at + TCP_URGENT, bt + TCP_URGENT, tcp_headers - TCP_URGENT) == 0;
}

static void append(struct join *j, struct join_group *g, const struct candidate *c)
{
    uint8_t push = c->p[c->h.transport + TCP_FLAGS] & FLAG_PSH;
    uint8_t *first = g->iov[1].iov_base;
    first[g->transport + TCP_FLAGS] |= push;
    g->iov[g->n++] = (struct iovec){c->p + g->headers, c->payload};
    g->total += c->payload;
    g->next += c->payload;
    if (push || c->payload < g->payload || g->n == JOIN_PACKETS + 2)
        make_ready(j, g);
}

int gsi_join_feed(struct join *j, uint8_t *packet, size_t n)
{
    struct candidate c = {.p = packet};
    if (count(j, JOIN_READY))
        return -ENOBUFS;
    if (!inet_read(&c.h, packet, n))
        return GS_EINVALID;
    c.tcp_headers = inet_tcp(&c.h, packet);
    if (!c.tcp_headers) {
        add_alone(j, &c);
        return 0;
    }
    c.payload = (uint16_t)(c.h.length - c.h.transport - c.tcp_headers);
    struct join_group *g = flow_of(j, &c);
    bool joinable = plain_data(&c) && sums_right(&c);
    if (g && joinable && continues(g, &c)) {
        append(j, g, &c);
        return 0;
    }
    if (g)
        make_ready(j, g);
    if (joinable)
        add_first(j, &c);
    else
        add_alone(j, &c);
    return 0;
}

bool gsi_join_next(struct join *j, struct joined *out)
{
    struct join_group *g = oldest(j, JOIN_READY);
    if (!g)
        return false;
    g->state = JOIN_FREE; /* its bytes stay until a feed takes the place */
    *out = (struct joined){g->iov, g->n};
    return true;
}

void gsi_join_flush(struct join *j)
{
    struct join_group *g;
    while ((g = oldest(j, JOIN_OPEN)))
        make_ready(j, g);
}
