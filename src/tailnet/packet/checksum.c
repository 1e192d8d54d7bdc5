/* checksum.c: the Internet checksum (RFC 1071, RFC 1624) of the packets of packet.h. */
#include <arpa/inet.h>
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/packet/packet.h"

/* Offsets in headers. */
enum { V4_CHECKSUM_AT = 10, TCP_CHECKSUM_AT = 16, UDP_CHECKSUM_AT = 6, UDP_LENGTH_AT = 4, ICMP_CHECKSUM_AT = 2 };
enum { ALL_ONES = 0xffff };

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & ALL_ONES) + (sum >> 16);
    return (uint16_t)sum;
}

/* The sum is the same in either byte order, but for its own bytes (RFC 1071 §2 (B)): words are taken as they lie. */
uint16_t gsi_checksum_add(uint16_t sum, const void *p, size_t n)
{
    const uint8_t *at = p;
    uint64_t total = 0;
    uint32_t word;
    uint16_t half;
    for (; n >= sizeof word; at += sizeof word, n -= sizeof word) {
        memcpy(&word, at, sizeof word);
        total += word;
    }
    if (n >= sizeof half) {
        memcpy(&half, at, sizeof half);
        total += half;
        at += sizeof half;
        n -= sizeof half;
    }
    if (n) {
        half = 0;
        memcpy(&half, at, 1);
        total += half;
    }
    return fold((uint64_t)sum + ntohs(fold(total)));
}

uint16_t gsi_checksum_update(uint16_t checksum, uint16_t before, uint16_t after)
{
    return (uint16_t)~fold((uint64_t)(uint16_t)~checksum + (uint16_t)~before + after);
}

uint16_t gsi_checksum_pseudo(const struct packet *p, uint32_t n)
{
    size_t skip = p->version == 4 ? IP_LEN - 4 : 0;
    uint16_t sum = gsi_checksum_add(0, p->src.b + skip, IP_LEN - skip);
    sum = gsi_checksum_add(sum, p->dst.b + skip, IP_LEN - skip);
    return fold((uint64_t)sum + n + p->protocol);
}

static uint16_t word_at(const uint8_t *p)
{
    struct reader r = reader_of(p, 2);
    return read_u16(&r);
}

static void put_word(uint8_t *p, uint16_t v)
{
    struct writer w = writer_of(p, 2);
    write_u16(&w, v);
}

/* What the transport's checksum covers. */
struct cover {
    uint32_t n;  /* bytes from p->header on */
    uint16_t at; /* of the checksum in them; 0: there is none */
    bool pseudo;
};

static struct cover cover_of(const uint8_t *in, const struct packet *p)
{
    struct cover c = {.n = p->length - p->header, .pseudo = true};
    if (p->first_fragment || p->later_fragment)
        return c;
    if (p->protocol == PROTOCOL_TCP)
        c.at = TCP_CHECKSUM_AT;
    if (p->protocol == PROTOCOL_UDP) {
        c.at = UDP_CHECKSUM_AT;
        c.n = word_at(in + p->header + UDP_LENGTH_AT);
    }
    if (gsi_packet_is_icmp(p)) {
        c.at = ICMP_CHECKSUM_AT;
        c.pseudo = p->version == 6;
    }
    return c;
}

static uint16_t sum_of(const uint8_t *in, const struct packet *p, const struct cover *c)
{
    return gsi_checksum_add(c->pseudo ? gsi_checksum_pseudo(p, c->n) : 0, in + p->header, c->n);
}

static size_t v4_header(const uint8_t *in) { return (in[0] & 15U) * 4; }

bool gsi_packet_checksums_good(const uint8_t *in, const struct packet *p)
{
    if (p->version == 4 && gsi_checksum_add(0, in, v4_header(in)) != ALL_ONES)
        return false;
    struct cover c = cover_of(in, p);
    if (!c.at)
        return true;
    /* RFC 768: zero is none; RFC 8200 §8.1: not in IPv6 */
    if (p->protocol == PROTOCOL_UDP && word_at(in + p->header + c.at) == 0)
        return p->version == 4;
    return sum_of(in, p, &c) == ALL_ONES;
}

void gsi_packet_checksums_set(uint8_t *in, const struct packet *p)
{
    if (p->version == 4) {
        put_word(in + V4_CHECKSUM_AT, 0);
        put_word(in + V4_CHECKSUM_AT, (uint16_t)~gsi_checksum_add(0, in, v4_header(in)));
    }
    struct cover c = cover_of(in, p);
    if (!c.at)
        return;
    put_word(in + p->header + c.at, 0);
    uint16_t checksum = (uint16_t)~sum_of(in, p, &c);
    put_word(in + p->header + c.at, checksum || p->protocol != PROTOCOL_UDP ? checksum : ALL_ONES);
}

bool gsi_packet_checksum_partial(uint8_t *in, const struct packet *p, uint16_t *start, uint16_t *offset)
{
    struct cover c = cover_of(in, p);
    if (!c.at || gsi_packet_is_icmp(p))
        return false;
    put_word(in + p->header + c.at, gsi_checksum_pseudo(p, c.n));
    *start = p->header;
    *offset = c.at;
    return true;
}
