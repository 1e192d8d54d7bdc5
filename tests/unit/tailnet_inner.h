/* tailnet_inner.h: inner packets for tests, built field by field from a description; the naive side of the data plane's
 * properties. Shares no code with src/tailnet/stack: its checksum adds 16 bits at a time, in network order. */
#ifndef TAILNET_INNER_H
#define TAILNET_INNER_H

#include <linux/virtio_net.h>
#include <string.h>

#include "support.h"

enum { INNER_MAX = 65535, INNER_PSEUDO = 1 /* checksum of the pseudo header only */ };

struct inner {
    bool v6;
    uint8_t source[16], target[16];
    uint8_t tos, ttl, ip_options; /* bytes of IPv4 options, or of one IPv6 destination header: multiples of 4, 8 */
    uint16_t id, fragment;
    uint32_t label;
    uint16_t from, to, window, urgent;
    uint32_t seq, ack;
    uint8_t flags, tcp_options;
    uint8_t option[40];
};

static inline uint16_t naive_sum(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++)
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static inline void be16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8 & 255);
    p[1] = (uint8_t)(v & 255);
}

static inline void be32(uint8_t *p, uint32_t v)
{
    be16(p, v >> 16);
    be16(p + 2, v & 65535);
}

static inline size_t inner_ip(const struct inner *s) { return (s->v6 ? 40u : 20u) + s->ip_options; }
static inline size_t inner_headers(const struct inner *s) { return inner_ip(s) + 20 + s->tcp_options; }

static inline uint16_t naive_pseudo(const struct inner *s, uint8_t protocol, size_t part)
{
    uint8_t p[40] = {0};
    size_t a = s->v6 ? 16 : 4;
    memcpy(p, s->source, a);
    memcpy(p + a, s->target, a);
    be16(p + 2 * a, (uint32_t)part);
    be16(p + 2 * a + 2, protocol);
    return naive_sum(p, 2 * a + 4, 0);
}

/* The IP headers for a transport part of n bytes; their length. */
static inline size_t naive_ip(const struct inner *s, uint8_t *out, uint8_t protocol, size_t n)
{
    size_t ip = inner_ip(s);
    memset(out, 0, ip);
    if (s->v6) {
        be32(out, 0x60000000u | (uint32_t)s->tos << 20 | (s->label & 0xfffff));
        be16(out + 4, (uint32_t)(n + s->ip_options));
        out[6] = s->ip_options ? 60 : protocol;
        out[7] = s->ttl;
        memcpy(out + 8, s->source, 16);
        memcpy(out + 24, s->target, 16);
        if (s->ip_options) {
            out[40] = protocol;
            out[41] = (uint8_t)(s->ip_options / 8 - 1);
            out[42] = 1; /* PadN */
            out[43] = (uint8_t)(s->ip_options - 4);
        }
        return ip;
    }
    out[0] = (uint8_t)(0x40 + ip / 4);
    out[1] = s->tos;
    be16(out + 2, (uint32_t)(ip + n));
    be16(out + 4, s->id);
    be16(out + 6, s->fragment);
    out[8] = s->ttl;
    out[9] = protocol;
    memcpy(out + 12, s->source, 4);
    memcpy(out + 16, s->target, 4);
    memset(out + 20, 1, s->ip_options);
    be16(out + 10, 65535u - naive_sum(out, ip, 0));
    return ip;
}

static inline size_t naive_tcp(const struct inner *s, uint8_t *out, const uint8_t *payload, size_t n, int pseudo)
{
    size_t part = 20u + s->tcp_options + n, ip = naive_ip(s, out, 6, part);
    uint8_t *t = out + ip;
    memset(t, 0, 20);
    be16(t, s->from);
    be16(t + 2, s->to);
    be32(t + 4, s->seq);
    be32(t + 8, s->ack);
    t[12] = (uint8_t)((20 + s->tcp_options) / 4 << 4);
    t[13] = s->flags;
    be16(t + 14, s->window);
    be16(t + 18, s->urgent);
    memcpy(t + 20, s->option, s->tcp_options);
    memcpy(t + 20 + s->tcp_options, payload, n);
    uint16_t head = naive_pseudo(s, 6, part);
    be16(t + 16, pseudo ? head : 65535u - naive_sum(t, part, head));
    return ip + part;
}

static inline size_t naive_udp(const struct inner *s, uint8_t *out, const uint8_t *payload, size_t n, int pseudo)
{
    size_t part = 8 + n, ip = naive_ip(s, out, 17, part);
    uint8_t *u = out + ip;
    be16(u, s->from);
    be16(u + 2, s->to);
    be16(u + 4, (uint32_t)part);
    be16(u + 6, 0);
    memcpy(u + 8, payload, n);
    uint16_t head = naive_pseudo(s, 17, part), sum = (uint16_t)(65535u - naive_sum(u, part, head));
    be16(u + 6, pseudo ? head : sum ? sum : 65535u);
    return ip + part;
}

/* Any flow, any fields that data may have. */
static inline void random_inner(struct inner *s, struct rng *r)
{
    memset(s, 0, sizeof *s);
    s->v6 = rng_below(r, 2);
    for (int i = 0; i < 16; i++) {
        s->source[i] = (uint8_t)rng_next(r);
        s->target[i] = (uint8_t)rng_next(r);
    }
    s->tos = (uint8_t)rng_next(r);
    s->ttl = (uint8_t)rng_next(r);
    s->id = (uint16_t)rng_next(r);
    s->fragment = rng_below(r, 2) ? 0x4000 : 0;
    s->label = (uint32_t)rng_next(r);
    s->from = (uint16_t)rng_next(r);
    s->to = (uint16_t)rng_next(r);
    s->window = (uint16_t)rng_next(r);
    s->seq = (uint32_t)rng_next(r);
    s->ack = (uint32_t)rng_next(r);
    s->flags = 16;
    s->tcp_options = (uint8_t)(4 * rng_below(r, 11));
    for (size_t i = 0; i < sizeof s->option; i++)
        s->option[i] = (uint8_t)rng_next(r);
}

static inline struct virtio_net_hdr tso_of(const struct inner *s, uint16_t size)
{
    return (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                   .gso_type = s->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
                                   .hdr_len = 12345, .gso_size = size, .csum_start = (uint16_t)inner_ip(s), .csum_offset = 16};
}

#endif
