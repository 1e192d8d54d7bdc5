/* packet.h: the IP packets inside the tunnel: what one is, its checksums, the few that a node answers itself (TSMP), and the
 * stamp that tells a listener who sent a SYN. RFC 791, 8200, 9293, 768, 9260, 792, 4443, 1071, 1624. Nothing here copies or keeps
 * a packet.
 *
 *     struct packet p;
 *     if (gsi_packet_parse(in, n, &p) < 0)
 *         return;                              … drop and count
 *     write(tun, in, p.length);                … what lies behind p.length is padding
 *
 * An IPv6 packet from or to ::ffff:0:0/96 is malformed: struct ip writes IPv4 so, and it would pass for somebody else's.
 */
#ifndef GSI_TAILNET_PACKET_H
#define GSI_TAILNET_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"
#include "tailnet/endpoint/endpoint.h"

enum {
    PACKET_V4_HEADER = 20,
    PACKET_V6_HEADER = 40,
    PACKET_EXTENSIONS_MAX = 4,  /* IPv6 headers between the fixed one and the transport's; more are malformed */
    PACKET_FRAGMENT_UNIT = 8,   /* bytes that an offset of 1 means */
    PACKET_FRAGMENT_LEAST = 10, /* a later fragment begins behind every TCP header: (60 + 20) / 8, RFC 1858 */
    PACKET_TSMP_LEAST = 7,
    PACKET_STAMP_MAX_V4 = 0xffff,
    PACKET_STAMP_MAX_V6 = 0xfffff,
};

/* IANA protocol numbers. */
enum { PROTOCOL_ICMP = 1, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, PROTOCOL_ICMPV6 = 58, PROTOCOL_TSMP = 99, PROTOCOL_SCTP = 132 };

/* struct packet's tcp_flags, as TCP's header has them. */
enum { PACKET_FIN = 0x01, PACKET_SYN = 0x02, PACKET_RST = 0x04, PACKET_PSH = 0x08, PACKET_ACK = 0x10, PACKET_URG = 0x20 };

struct packet {
    struct ip src, dst;
    uint32_t length;             /* without padding */
    uint16_t header;             /* offset of the transport's header; of the data in a later fragment */
    uint16_t payload;            /* offset of what follows the transport's header; = header where the protocol is not known */
    uint16_t src_port, dst_port; /* of TCP, UDP and SCTP; else 0 */
    uint8_t version;             /* 4 or 6 */
    uint8_t protocol;            /* behind all extension headers */
    uint8_t tcp_flags;
    uint8_t icmp_type, icmp_code; /* of ICMP in IPv4 and ICMPv6 in IPv6 */
    bool first_fragment;          /* with more to come; ports and flags are known */
    bool later_fragment;          /* no transport header: ports, flags and types are 0 */
};

/* 0; GS_EINVALID: cut, a length that does not fit, a transport header that is not whole (also in a first fragment), a later
 * fragment that would overwrite one, TSMP in fragments, IPv6 source routing, more than PACKET_EXTENSIONS_MAX extension headers.
 * Checksums are not looked at. *out is all zero after an error. */
GS_MUST_USE int gsi_packet_parse(const uint8_t *in, size_t n, struct packet *out);

/* SYN without ACK: the packet that opens a connection. */
static inline bool gsi_packet_is_syn(const struct packet *p)
{
    return p->protocol == PROTOCOL_TCP && !p->later_fragment && (p->tcp_flags & (PACKET_SYN | PACKET_ACK)) == PACKET_SYN;
}
/* ICMP of the packet's own family. */
bool gsi_packet_is_icmp(const struct packet *p);
bool gsi_packet_is_icmp_error(const struct packet *p);
bool gsi_packet_is_echo_reply(const struct packet *p);
bool gsi_packet_is_echo_request(const struct packet *p);

/* ---- checksums: in and p of a gsi_packet_parse that answered 0 ---- */

/* The one's complement sum of n bytes, folded, not inverted; sum: of what goes before (an even number of bytes), or 0. */
uint16_t gsi_checksum_add(uint16_t sum, const void *p, size_t n);
/* A checksum after one 16-bit word of what it covers became another (RFC 1624, equation 3). Host order, all three. */
uint16_t gsi_checksum_update(uint16_t checksum, uint16_t before, uint16_t after);
/* The sum of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) for n bytes of transport. */
uint16_t gsi_checksum_pseudo(const struct packet *p, uint32_t n);

/* IPv4's header and the transport's are right. True for what has none, or whose whole is not here: fragments, other protocols. */
GS_MUST_USE bool gsi_packet_checksums_good(const uint8_t *in, const struct packet *p);
/* Writes them: IPv4's header, TCP, UDP, ICMP. Of fragments the header's alone. */
void gsi_packet_checksums_set(uint8_t *in, const struct packet *p);
/* What virtio calls partial (VIRTIO_NET_HDR_F_NEEDS_CSUM): writes the pseudo header's sum where the checksum of TCP or UDP
 * stands. False: the packet has no such checksum. The fields are virtio's csum_start and csum_offset. */
GS_MUST_USE bool gsi_packet_checksum_partial(uint8_t *in, const struct packet *p, uint16_t *start, uint16_t *offset);

/* ---- who opened this connection: the stamp on a SYN ---- */

/* Writes index into the identification field (IPv4, with the header's checksum mended) or the flow label (IPv6) of an inbound SYN
 * that passed the filter. GS_EINVALID: not a SYN, in fragments, or an index beyond PACKET_STAMP_MAX_V4 / _V6. **Then drop the
 * packet**: it carries what its sender chose. */
GS_MUST_USE int gsi_packet_stamp(uint8_t *in, const struct packet *p, uint32_t index);
/* The index from what getsockopt(TCP_SAVED_SYN) answers: the IP and the TCP header. GS_EINVALID when it is no such thing. */
GS_MUST_USE int gsi_packet_stamp_read(const uint8_t *saved, size_t n, uint32_t *index);

/* ---- TSMP: IP protocol 99 between nodes (tailnet-protocol.md 8.9) ---- */

enum tsmp_type { TSMP_REJECT = '!', TSMP_PING = 'p', TSMP_PONG = 'o', TSMP_ADVERT = 'a' };
enum tsmp_reason {
    TSMP_ACL = 'A',
    TSMP_SHIELDS_UP = 'S',
    TSMP_NO_FORWARDING = 'F',
    TSMP_HOST_FIREWALL = 'W',
    TSMP_TRANSIT_IP = 'T',
};
enum { TSMP_PING_LEN = 8, TSMP_KEY_LEN = 32, TSMP_PACKET_MAX = PACKET_V6_HEADER + 1 + TSMP_KEY_LEN };

struct tsmp {
    enum tsmp_type type;
    /* TSMP_REJECT: of a flow that we opened, as in our SYN: from own to peer. */
    uint8_t protocol;
    uint8_t reason; /* enum tsmp_reason, or one that we do not know */
    struct endpoint own, peer;
    bool maybe_broken; /* a hint only: the flow may yet work */
    /* TSMP_PING, TSMP_PONG */
    uint8_t data[TSMP_PING_LEN];
    uint16_t peerapi_port; /* TSMP_PONG: 0 for none */
    /* TSMP_ADVERT: the disco key of p->src */
    uint8_t key[TSMP_KEY_LEN];
};

/* GS_EINVALID: not TSMP, cut, or of a type that we do not know; to be ignored. */
GS_MUST_USE int gsi_tsmp_parse(const uint8_t *in, const struct packet *p, struct tsmp *out);

/* Whole packets with good checksums, in out; their length. Addresses of one family; 0 when they are not. */
size_t gsi_tsmp_reject(uint8_t out[TSMP_PACKET_MAX], const struct packet *refused, enum tsmp_reason reason);
size_t gsi_tsmp_ping(uint8_t out[TSMP_PACKET_MAX], const struct ip *src, const struct ip *dst, const uint8_t data[TSMP_PING_LEN]);
size_t gsi_tsmp_pong(uint8_t out[TSMP_PACKET_MAX], const struct packet *ping, const uint8_t data[TSMP_PING_LEN],
                     uint16_t peerapi_port);
size_t gsi_tsmp_advert(uint8_t out[TSMP_PACKET_MAX], const struct ip *src, const struct ip *dst, const uint8_t key[TSMP_KEY_LEN]);

#endif
