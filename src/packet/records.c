/* records.c: protocols whose records carry their own length: ASN.1 BER, Sun RPC, GIOP, FastCGI, TPKT.
 *
 * Each function answers a record's total length as soon as its header is there (packet.h). What ERTS checks of a header is
 * checked here, and nothing more: an unknown FastCGI type or GIOP version is the user's to judge.
 */
#include <string.h>

#include "packet/packet.h"

/* X.690 §8.1.2-3: identifier and length octets. */
enum { ASN1_TAG_LONG = 0x1f, ASN1_MORE = 0x80, ASN1_LENGTH_LONG = 0x80, ASN1_LENGTH_OCTETS_MAX = 4 };

static uint32_t big_endian(const uint8_t *p, size_t n)
{
    uint32_t v = 0;
    while (n--)
        v = v << 8 | *p++;
    return v;
}

ssize_t gsi_asn1_length(const gs_decoder *d, const uint8_t *in, size_t n)
{
    if (n < 2)
        return 0;
    const uint8_t *p = in, *end = in + n;
    if ((*p++ & ASN1_TAG_LONG) == ASN1_TAG_LONG) {
        while (p < end && (*p & ASN1_MORE))
            p++;
        if (end - p < 2) /* the tag's last octet and the length's first */
            return 0;
        p++;
    }
    size_t size = *p++;
    if (size & ASN1_LENGTH_LONG) {
        size_t octets = size & ~(size_t)ASN1_LENGTH_LONG;
        if ((size_t)(end - p) < octets)
            return 0;
        if (octets > ASN1_LENGTH_OCTETS_MAX)
            return GS_EINVALID;
        size = big_endian(p, octets); /* the indefinite form (no octets) counts as empty: its end is not searched for */
        p += octets;
    }
    return gsi_packet_total(d, (size_t)(p - in), size);
}

/* RFC 5531 §11: the top bit marks the last fragment; it is not looked at. */
enum { SUNRM_HEADER = 4, SUNRM_SIZE = 0x7fffffff };

ssize_t gsi_sunrm_length(const gs_decoder *d, const uint8_t *in, size_t n)
{
    return n < SUNRM_HEADER ? 0 : gsi_packet_total(d, SUNRM_HEADER, gsi_be32(in) & SUNRM_SIZE);
}

/* CORBA 3.3 part 2 §9.4.1: magic, major, minor, flags, type, size in the order that the flags tell. */
enum { GIOP_HEADER = 12, GIOP_FLAGS_AT = 6, GIOP_LITTLE_ENDIAN = 1, GIOP_SIZE_AT = 8 };

ssize_t gsi_cdr_length(const gs_decoder *d, const uint8_t *in, size_t n)
{
    if (n < GIOP_HEADER)
        return 0;
    if (memcmp(in, "GIOP", 4))
        return GS_EINVALID;
    const uint8_t *at = in + GIOP_SIZE_AT;
    return gsi_packet_total(d, GIOP_HEADER, in[GIOP_FLAGS_AT] & GIOP_LITTLE_ENDIAN ? gsi_le32(at) : gsi_be32(at));
}

/* FastCGI 1.0 §3.3: version, type, request id, content length, padding length, reserved. */
enum { FCGI_HEADER = 8, FCGI_VERSION = 1, FCGI_CONTENT_AT = 4, FCGI_PADDING_LENGTH_AT = 6 };

ssize_t gsi_fcgi_length(const gs_decoder *d, const uint8_t *in, size_t n)
{
    if (n < FCGI_HEADER)
        return 0;
    if (in[0] != FCGI_VERSION)
        return GS_EINVALID;
    return gsi_packet_total(d, FCGI_HEADER, gsi_be16(in + FCGI_CONTENT_AT) + in[FCGI_PADDING_LENGTH_AT]);
}

size_t gsi_fcgi_padding(const uint8_t *in) { return in[FCGI_PADDING_LENGTH_AT]; }

/* RFC 1006 §6: version, reserved, length with this header. */
enum { TPKT_HEADER = 4, TPKT_VERSION = 3 };

ssize_t gsi_tpkt_length(const gs_decoder *d, const uint8_t *in, size_t n)
{
    if (n < TPKT_HEADER)
        return 0;
    uint32_t total = gsi_be16(in + 2);
    if (in[0] != TPKT_VERSION || total < TPKT_HEADER)
        return GS_EINVALID;
    return gsi_packet_total(d, TPKT_HEADER, total - TPKT_HEADER);
}
