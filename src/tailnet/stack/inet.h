/* inet.h: what the two directions of the data plane share: where the headers of an inner packet lie (RFC 791, 8200, 9293) and the
 * Internet checksum (RFC 1071). Not for other folders. */
#ifndef GSI_TAILNET_INET_H
#define GSI_TAILNET_INET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    IPV4_HEADER = 20, /* without options */
    IPV4_LENGTH = 2,  /* offsets of fields */
    IPV4_ID = 4,
    IPV4_FRAGMENT = 6,
    IPV4_PROTOCOL = 9,
    IPV4_CHECKSUM = 10,
    IPV4_ADDRESSES = 12,
    IPV6_HEADER = 40,
    IPV6_LENGTH = 4,
    IPV6_NEXT = 6,
    IPV6_ADDRESSES = 8,
    IPV6_HOP_BY_HOP = 0, /* RFC 8200 §4.1: the two extension headers that a sender of TCP may set */
    IPV6_DESTINATION = 60,
    TCP_HEADER = 20,
    TCP_SEQUENCE = 4,
    TCP_ACK_NUMBER = 8,
    TCP_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_WINDOW = 14,
    TCP_CHECKSUM = 16,
    TCP_URGENT = 18,
    FLAG_FIN = 1,
    FLAG_SYN = 2,
    FLAG_RST = 4,
    FLAG_PSH = 8,
    FLAG_ACK = 16,
    FLAG_URG = 32,
    FLAG_CWR = 128,
    PROTOCOL_TCP = 6,
    PACKET_MAX = 65535, /* of IPv4; IPv6 could be 40 longer, but no link here carries that */
};

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static inline void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

/* The checksum's sum is kept in the machine's byte order, since that commutes (RFC 1071 §2B), and in 64 bits with the carry
 * put back. */
static inline uint64_t sum_add(uint64_t sum, uint64_t v)
{
    sum += v;
    return sum + (sum < v);
}

static inline uint64_t sum_bytes(uint64_t sum, const uint8_t *p, size_t n)
{
    uint64_t v[4], tail = 0;
    for (; n >= sizeof v; p += sizeof v, n -= sizeof v) {
        memcpy(v, p, sizeof v);
        sum = sum_add(sum_add(sum_add(sum_add(sum, v[0]), v[1]), v[2]), v[3]);
    }
    for (; n >= sizeof *v; p += sizeof *v, n -= sizeof *v) {
        memcpy(v, p, sizeof *v);
        sum = sum_add(sum, v[0]);
    }
    memcpy(&tail, p, n);
    return sum_add(sum, tail);
}

/* As its two bytes lie in a packet: store with memcpy. */
static inline uint16_t sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static inline void put_sum(uint8_t *field, uint16_t folded) { memcpy(field, &folded, sizeof folded); }

struct inet {
    bool v6;
    uint8_t protocol;   /* behind the extension headers that were walked */
    uint16_t transport; /* offset: length of the IP headers */
    uint16_t length;    /* of the whole packet, as its header says: at most what was given */
};

/* False: no whole IP packet. The fields of IPv4 fragments are read like others; who joins looks at IPV4_FRAGMENT. */
static inline bool inet_read(struct inet *h, const uint8_t *p, size_t n)
{
    *h = (struct inet){0};
    if (n >= IPV4_HEADER && p[0] >> 4 == 4) {
        h->transport = (uint16_t)((p[0] & 15) * 4);
        h->length = get16(p + IPV4_LENGTH);
        h->protocol = p[IPV4_PROTOCOL];
        return h->transport >= IPV4_HEADER && h->length >= h->transport && h->length <= n;
    }
    if (n < IPV6_HEADER || p[0] >> 4 != 6)
        return false;
    size_t length = (size_t)IPV6_HEADER + get16(p + IPV6_LENGTH), at = IPV6_HEADER;
    if (length > n || length > PACKET_MAX)
        return false;
    uint8_t next = p[IPV6_NEXT];
    while (next == IPV6_HOP_BY_HOP || next == IPV6_DESTINATION) {
        if (length - at < 8 || length - at < ((size_t)p[at + 1] + 1) * 8)
            return false;
        next = p[at];
        at += ((size_t)p[at + 1] + 1) * 8;
    }
    *h = (struct inet){.v6 = true, .protocol = next, .transport = (uint16_t)at, .length = (uint16_t)length};
    return true;
}

/* The TCP header's length, options included; 0: this is no whole TCP header. */
static inline uint16_t inet_tcp(const struct inet *h, const uint8_t *p)
{
    if (h->protocol != PROTOCOL_TCP || h->length - h->transport < TCP_HEADER)
        return 0;
    uint16_t n = (uint16_t)((p[h->transport + TCP_OFFSET] >> 4) * 4);
    return n >= TCP_HEADER && n <= h->length - h->transport ? n : 0;
}

/* Of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) for a transport part of n bytes. */
static inline uint64_t inet_pseudo(const struct inet *h, const uint8_t *p, size_t n)
{
    uint8_t end[4] = {0, h->protocol, (uint8_t)(n >> 8), (uint8_t)n};
    uint64_t sum = h->v6 ? sum_bytes(0, p + IPV6_ADDRESSES, 32) : sum_bytes(0, p + IPV4_ADDRESSES, 8);
    return sum_bytes(sum, end, sizeof end);
}

static inline void inet_set_length(const struct inet *h, uint8_t *p, size_t n)
{
    if (h->v6) {
        put16(p + IPV6_LENGTH, (uint32_t)(n - IPV6_HEADER));
        return;
    }
    put16(p + IPV4_LENGTH, (uint32_t)n);
    put16(p + IPV4_CHECKSUM, 0);
    put_sum(p + IPV4_CHECKSUM, (uint16_t)~sum_fold(sum_bytes(0, p, h->transport)));
}

#endif
