/* parse.c: what an inner packet is (packet.h): RFC 791, RFC 8200 with its extension headers, and the first bytes of the
 * transports. */
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/packet/packet.h"

enum {
    /* RFC 791 §3.1 */
    V4_MORE_FRAGMENTS = 0x2000,
    V4_OFFSET_MASK = 0x1fff,
    /* RFC 8200 §4 */
    V6_HOP_BY_HOP = 0,
    V6_ROUTING = 43,
    V6_FRAGMENT = 44,
    V6_DESTINATION_OPTIONS = 60,
    V6_EXTENSION_UNIT = 8,
    V6_MORE_FRAGMENTS = 1,
    /* transports: shortest headers */
    TCP_LEAST = 20,
    UDP_LEAST = 8,
    SCTP_LEAST = 12,
    ICMP_LEAST = 8,
    DATAGRAM_MAX = 65535, /* of what the fragments make together */
    /* RFC 792, RFC 4443 */
    V4_ECHO_REPLY = 0,
    V4_UNREACHABLE = 3,
    V4_ECHO_REQUEST = 8,
    V4_TIME_EXCEEDED = 11,
    V4_PARAMETER_PROBLEM = 12,
    V6_UNREACHABLE = 1,
    V6_PARAMETER_PROBLEM = 4, /* 2: too big, 3: time exceeded */
    V6_ECHO_REQUEST = 128,
    V6_ECHO_REPLY = 129,
};

/* The offset of a fragment in units of 8 bytes, and whether more come. */
static bool note_fragment(struct packet *p, unsigned offset, bool more)
{
    p->first_fragment = !offset && more;
    p->later_fragment = offset > 0;
    return !offset || (offset >= PACKET_FRAGMENT_LEAST && offset * PACKET_FRAGMENT_UNIT + p->length - p->header <= DATAGRAM_MAX);
}

static bool parse_v4(struct reader *r, size_t n, struct packet *p)
{
    unsigned header = (read_u8(r) & 15U) * 4;
    (void)read_u8(r); /* service */
    p->length = read_u16(r);
    (void)read_u16(r); /* identification */
    unsigned fragment = read_u16(r);
    (void)read_u8(r); /* time to live */
    p->protocol = read_u8(r);
    (void)read_u16(r); /* checksum */
    const uint8_t *src = read_bytes(r, 4), *dst = read_bytes(r, 4);
    if (!r->ok || header < PACKET_V4_HEADER || p->length < header || p->length > n)
        return false;
    p->src = gsi_ip_of_v4(src);
    p->dst = gsi_ip_of_v4(dst);
    p->header = (uint16_t)header;
    return note_fragment(p, fragment & V4_OFFSET_MASK, fragment & V4_MORE_FRAGMENTS);
}

/* The header that lies at p->header: p->protocol and p->header go on to the next one. */
static bool pass_extension(const uint8_t *in, struct packet *p)
{
    struct reader r = reader_of(in + p->header, p->length - p->header);
    uint8_t type = p->protocol, next = read_u8(&r);
    size_t length = (read_u8(&r) + 1U) * V6_EXTENSION_UNIT;
    if (type == V6_FRAGMENT) {
        unsigned offset = read_u16(&r);
        if (!read_bytes(&r, 4)) /* identification */
            return false;
        p->header += V6_EXTENSION_UNIT;
        p->protocol = next;
        return note_fragment(p, offset >> 3, offset & V6_MORE_FRAGMENTS);
    }
    (void)read_u8(&r); /* routing type */
    uint8_t segments_left = read_u8(&r);
    if (!r.ok || length > (size_t)(p->length - p->header) || (type == V6_ROUTING && segments_left))
        return false;
    p->header = (uint16_t)(p->header + length);
    p->protocol = next;
    return true;
}

static bool is_extension(uint8_t protocol)
{
    return protocol == V6_HOP_BY_HOP || protocol == V6_ROUTING || protocol == V6_FRAGMENT || protocol == V6_DESTINATION_OPTIONS;
}

static bool parse_v6(struct reader *r, const uint8_t *in, size_t n, struct packet *p)
{
    (void)read_u32(r); /* version, class, flow label */
    p->length = PACKET_V6_HEADER + (uint32_t)read_u16(r);
    p->protocol = read_u8(r);
    (void)read_u8(r); /* hop limit */
    const uint8_t *src = read_bytes(r, IP_LEN), *dst = read_bytes(r, IP_LEN);
    if (!r->ok || p->length > n)
        return false;
    p->src = gsi_ip_of_v6(src);
    p->dst = gsi_ip_of_v6(dst);
    if (gsi_ip_is_v4(&p->src) || gsi_ip_is_v4(&p->dst))
        return false;
    p->header = PACKET_V6_HEADER;
    for (int passed = 0; is_extension(p->protocol); passed++) {
        bool last = p->protocol == V6_FRAGMENT;
        if (passed == PACKET_EXTENSIONS_MAX || (p->protocol == V6_HOP_BY_HOP && passed) || !pass_extension(in, p))
            return false;
        /* Behind a fragment's header stands the transport's, or an overlap could move it. */
        if (last)
            return p->later_fragment || !is_extension(p->protocol);
    }
    return true;
}

static bool parse_ports(struct reader *r, struct packet *p)
{
    p->src_port = read_u16(r);
    p->dst_port = read_u16(r);
    return r->ok;
}

static bool parse_tcp(struct reader *r, size_t n, struct packet *p)
{
    if (n < TCP_LEAST || !parse_ports(r, p))
        return false;
    (void)read_u32(r); /* sequence */
    (void)read_u32(r); /* acknowledgment */
    size_t header = (size_t)(read_u8(r) >> 4) * 4;
    p->tcp_flags = read_u8(r);
    p->payload = (uint16_t)(p->header + header);
    return header >= TCP_LEAST && header <= n;
}

static bool parse_udp(struct reader *r, size_t n, struct packet *p)
{
    if (n < UDP_LEAST || !parse_ports(r, p))
        return false;
    size_t length = read_u16(r);
    p->payload = (uint16_t)(p->header + UDP_LEAST);
    return length >= UDP_LEAST && (length <= n || p->first_fragment);
}

static bool parse_transport(const uint8_t *in, struct packet *p)
{
    size_t n = p->length - p->header;
    struct reader r = reader_of(in + p->header, n);
    p->payload = p->header;
    if (p->protocol == PROTOCOL_TSMP)
        return n >= PACKET_TSMP_LEAST && !p->first_fragment && !p->later_fragment;
    if (p->later_fragment)
        return true;
    if (p->protocol == PROTOCOL_TCP)
        return parse_tcp(&r, n, p);
    if (p->protocol == PROTOCOL_UDP)
        return parse_udp(&r, n, p);
    if (p->protocol == PROTOCOL_SCTP) {
        p->payload = (uint16_t)(p->header + SCTP_LEAST);
        return n >= SCTP_LEAST && parse_ports(&r, p);
    }
    if (gsi_packet_is_icmp(p)) {
        p->icmp_type = read_u8(&r);
        p->icmp_code = read_u8(&r);
        p->payload = (uint16_t)(p->header + ICMP_LEAST);
        return n >= ICMP_LEAST;
    }
    return true;
}

int gsi_packet_parse(const uint8_t *in, size_t n, struct packet *out)
{
    struct packet p = {0};
    struct reader r = reader_of(in, n);
    p.version = n ? in[0] >> 4 : 0;
    bool good = (p.version == 4 && parse_v4(&r, n, &p)) || (p.version == 6 && parse_v6(&r, in, n, &p));
    if (good && parse_transport(in, &p)) {
        *out = p;
        return 0;
    }
    memset(out, 0, sizeof *out);
    return GS_EINVALID;
}

bool gsi_packet_is_icmp(const struct packet *p)
{
    return !p->later_fragment && p->protocol == (p->version == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
}

bool gsi_packet_is_icmp_error(const struct packet *p)
{
    uint8_t t = p->icmp_type;
    if (!gsi_packet_is_icmp(p))
        return false;
    if (p->version == 4)
        return t == V4_UNREACHABLE || t == V4_TIME_EXCEEDED || t == V4_PARAMETER_PROBLEM;
    return t >= V6_UNREACHABLE && t <= V6_PARAMETER_PROBLEM;
}

static bool is_echo(const struct packet *p, uint8_t v4, uint8_t v6)
{
    return gsi_packet_is_icmp(p) && p->icmp_type == (p->version == 4 ? v4 : v6) && p->icmp_code == 0;
}

bool gsi_packet_is_echo_reply(const struct packet *p) { return is_echo(p, V4_ECHO_REPLY, V6_ECHO_REPLY); }
bool gsi_packet_is_echo_request(const struct packet *p) { return is_echo(p, V4_ECHO_REQUEST, V6_ECHO_REQUEST); }
