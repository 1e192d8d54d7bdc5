/* tls.c: {packet, ssl_tls}: one TLS record, or the client hello of SSL 2 that old clients open with. */
#include "packet/packet.h"

/* RFC 8446 §5.1: content type, version, length. SSL 2: <<1:1, Length:15, 1:8, Version:16>>, the length counting from the
 * message type on. */
enum {
    TLS_HEADER = 5,
    TLS_LENGTH_AT = 3,
    TLS_HANDSHAKE = 22,
    SSL2_FLAG = 0x80,
    SSL2_LENGTH = 0x7fff,
    SSL2_CLIENT_HELLO = 1,
    SSL2_HEADER = 3,
    SSL2_IN_FIRST_FIVE = TLS_HEADER - 2 /* of what the length counts, the bytes that lie in the five inspected */
};

static bool is_ssl2_hello(const uint8_t *in) { return (in[0] & SSL2_FLAG) && in[2] == SSL2_CLIENT_HELLO; }

ssize_t gsi_tls_length(const gs_decoder *d, const uint8_t *in, size_t n)
{
    if (n < TLS_HEADER)
        return 0;
    if (!is_ssl2_hello(in))
        return gsi_packet_total(d, TLS_HEADER, gsi_be16(in + TLS_LENGTH_AT));
    uint32_t size = gsi_be16(in) & SSL2_LENGTH;
    return size < SSL2_IN_FIRST_FIVE ? GS_EINVALID : gsi_packet_total(d, TLS_HEADER, size - SSL2_IN_FIRST_FIVE);
}

void gsi_tls_parse(gs_bytes record, gs_packet *out)
{
    const uint8_t *in = record.p;
    out->kind = GS_PK_SSL_TLS;
    if (!is_ssl2_hello(in)) {
        out->data = (gs_bytes){in + TLS_HEADER, record.n - TLS_HEADER};
        out->u.record.content_type = in[0];
        out->u.record.major = in[1];
        out->u.record.minor = in[2];
        out->u.record.prefix_len = 0;
        return;
    }
    /* ERTS shows it as a handshake message of today: the type, and the length in 24 bits. */
    size_t body = record.n - SSL2_HEADER;
    out->data = (gs_bytes){in + SSL2_HEADER, body};
    out->u.record.content_type = TLS_HANDSHAKE;
    out->u.record.major = in[3];
    out->u.record.minor = in[4];
    out->u.record.prefix[0] = SSL2_CLIENT_HELLO;
    out->u.record.prefix[1] = 0;
    out->u.record.prefix[2] = (uint8_t)(body >> 8);
    out->u.record.prefix[3] = (uint8_t)body;
    out->u.record.prefix_len = 4;
}
