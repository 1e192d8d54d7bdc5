/* packet.h: the decoder for the layers above: where a packet ends, without looking into it.
 *
 * gs_decode = gsi_frame (the packet's extent and body) + the parser of its kind (http.c, tls.c). A stream asks gsi_frame
 * for the packets that are just bytes, so that {packet, 1|2|4} costs a load, a compare and two stores, inlined.
 * The rules are those of ERTS: a packet's length is a signed 32-bit number there, so longer than 2^31-1 bytes with its
 * header is malformed even without packet_size.
 */
#ifndef GSI_PACKET_H
#define GSI_PACKET_H

#include <limits.h>

#include "gensock/packet.h"

static inline uint32_t gsi_be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static inline uint32_t gsi_be24(const uint8_t *p) { return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]; }
static inline uint32_t gsi_be32(const uint8_t *p) { return (uint32_t)p[0] << 24 | gsi_be24(p + 1); }
static inline uint32_t gsi_le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* A header of `head` bytes that announces `size` more: the packet's total length, or GS_EINVALID. */
static inline ssize_t gsi_packet_total(const gs_decoder *d, size_t head, uint64_t size)
{
    if (size > INT_MAX - head || (d->packet_size && size > d->packet_size))
        return GS_EINVALID;
    return (ssize_t)(head + size);
}

/* One per family: the total length of the packet at in[0..n), n > 0: > 0 with its header (may exceed n), 0 not known yet,
 * GS_EINVALID malformed. */
ssize_t gsi_asn1_length(const gs_decoder *d, const uint8_t *in, size_t n);
ssize_t gsi_sunrm_length(const gs_decoder *d, const uint8_t *in, size_t n);
ssize_t gsi_cdr_length(const gs_decoder *d, const uint8_t *in, size_t n);
ssize_t gsi_fcgi_length(const gs_decoder *d, const uint8_t *in, size_t n);
size_t gsi_fcgi_padding(const uint8_t *in); /* of a whole record: the bytes at its end that are not its body */
ssize_t gsi_tpkt_length(const gs_decoder *d, const uint8_t *in, size_t n);
ssize_t gsi_line_length(const gs_decoder *d, const uint8_t *in, size_t n);
ssize_t gsi_http_length(const gs_decoder *d, const uint8_t *in, size_t n, bool headers);
ssize_t gsi_tls_length(const gs_decoder *d, const uint8_t *in, size_t n);

/* A whole packet (its extent found by gsi_frame) into *out: the kind and that kind's fields, nothing else. */
void gsi_http_parse(gs_bytes line, bool headers, gs_packet *out);
void gsi_tls_parse(gs_bytes record, gs_packet *out);

/* The index of a normalised header name, 1..52, or 0; of a method, 1..7, or 0. */
int gsi_http_header_index(gs_bytes name);
int gsi_http_method_index(gs_bytes name);

/* gsi_frame for the types that are not inlined. */
ssize_t gsi_frame_slow(const gs_decoder *d, const uint8_t *in, size_t n, gs_bytes *body, size_t *more);

/* Takes one packet off in[0..n) and answers as gs_decode does, but with the body only: for every type whose packets are
 * bytes the body that gs_decode gives; for http* the line(s), for ssl_tls the record with its header, to be parsed.
 * d, body and more must not be NULL; `in` may be when n is 0. *more is set when the answer is 0, *body when it is > 0. */
static inline ssize_t gsi_frame(const gs_decoder *d, const uint8_t *in, size_t n, gs_bytes *body, size_t *more)
{
    size_t head, size;
    if (d->type == GS_PACKET_4 && n >= 4)
        head = 4, size = gsi_be32(in);
    else if (d->type == GS_PACKET_2 && n >= 2)
        head = 2, size = gsi_be16(in);
    else if (d->type == GS_PACKET_1 && n >= 1)
        head = 1, size = in[0];
    else
        return gsi_frame_slow(d, in, n, body, more);
    ssize_t total = gsi_packet_total(d, head, size);
    if (total > 0 && (size_t)total > n) {
        *more = (size_t)total;
        return 0;
    }
    *body = (gs_bytes){in + head, size};
    return total;
}

/* Copies a packet. The normalised name of an unknown header lives inside the packet, so a plain copy would keep pointing
 * into the original. */
static inline void gsi_packet_copy(gs_packet *to, const gs_packet *from)
{
    *to = *from;
    if (from->kind == GS_PK_HTTP_HEADER && from->u.field.name.p == (const uint8_t *)from->name_buffer)
        to->u.field.name.p = (const uint8_t *)to->name_buffer;
}

/* The views of p that lie in `from` lie in the same bytes at `to` afterwards. */
void gsi_packet_rebase(gs_packet *p, gs_bytes from, uint8_t *to);

/* {packet, http} on a stream: headers follow a request or status line, and the next line follows their end. The type to
 * decode the next packet with, from the stream's option, the type just used and the kind it gave; an option other than
 * http and http_bin never changes. */
static inline gs_packet_type gsi_packet_next_type(gs_packet_type option, gs_packet_type used, gs_packet_kind kind)
{
    switch (kind) {
    case GS_PK_HTTP_REQUEST:
    case GS_PK_HTTP_RESPONSE:
        return option == GS_PACKET_HTTP ? GS_PACKET_HTTPH : option == GS_PACKET_HTTP_BIN ? GS_PACKET_HTTPH_BIN : option;
    case GS_PK_HTTP_EOH:
        return option;
    default:
        return used;
    }
}

#endif
