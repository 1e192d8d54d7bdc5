/* decode.c: gs_decode, and the dispatch from a packet type to its family.
 *
 * The answers follow erlang:decode_packet/3 of ERTS 13 (OTP 25), to which tests/interop/decode_diff holds them.
 */
#include "packet/packet.h"

static ssize_t packet_length(const gs_decoder *d, const uint8_t *in, size_t n)
{
    switch (d->type) {
    case GS_PACKET_RAW:
        return (ssize_t)n;
    case GS_PACKET_1: /* gsi_frame does these three unless their header is incomplete */
    case GS_PACKET_2:
    case GS_PACKET_4:
        return 0;
    case GS_PACKET_ASN1:
        return gsi_asn1_length(d, in, n);
    case GS_PACKET_SUNRM:
        return gsi_sunrm_length(d, in, n);
    case GS_PACKET_CDR:
        return gsi_cdr_length(d, in, n);
    case GS_PACKET_FCGI:
        return gsi_fcgi_length(d, in, n);
    case GS_PACKET_TPKT:
        return gsi_tpkt_length(d, in, n);
    case GS_PACKET_LINE:
        return gsi_line_length(d, in, n);
    case GS_PACKET_HTTP:
    case GS_PACKET_HTTP_BIN:
        return gsi_http_length(d, in, n, false);
    case GS_PACKET_HTTPH:
    case GS_PACKET_HTTPH_BIN:
        return gsi_http_length(d, in, n, true);
    case GS_PACKET_SSL_TLS:
        return gsi_tls_length(d, in, n);
    default:
        return GS_EBADARG;
    }
}

ssize_t gsi_frame_slow(const gs_decoder *d, const uint8_t *in, size_t n, gs_bytes *body, size_t *more)
{
    *more = 0;
    if (n == 0)
        return gs_packet_type_name(d->type) ? 0 : GS_EBADARG;
    ssize_t total = packet_length(d, in, n);
    if (total <= 0)
        return total;
    if ((size_t)total > n) {
        *more = (size_t)total;
        return 0;
    }
    size_t padding = d->type == GS_PACKET_FCGI ? gsi_fcgi_padding(in) : 0;
    *body = (gs_bytes){in, (size_t)total - padding};
    return total;
}

ssize_t gs_decode(const gs_decoder *d, const void *in, size_t n, gs_packet *out, size_t *more)
{
    size_t missing = 0;
    if (!d || !out || (!in && n > 0) || n > SSIZE_MAX)
        return GS_EBADARG;
    gs_bytes body;
    ssize_t used = gsi_frame(d, in, n, &body, &missing);
    if (more)
        *more = missing;
    if (used <= 0)
        return used;
    out->header = (gs_bytes){NULL, 0};
    switch (d->type) {
    case GS_PACKET_HTTP:
    case GS_PACKET_HTTP_BIN:
        gsi_http_parse(body, false, out);
        break;
    case GS_PACKET_HTTPH:
    case GS_PACKET_HTTPH_BIN:
        gsi_http_parse(body, true, out);
        break;
    case GS_PACKET_SSL_TLS:
        gsi_tls_parse(body, out);
        break;
    default:
        out->kind = GS_PK_BYTES;
        out->data = body;
    }
    return used;
}
