/* types.c: the packet types' Erlang names, and the length header that sending one adds. */
#include <errno.h>
#include <string.h>

#include "packet/packet.h"

static const struct {
    const char *name;
    gs_packet_type type;
} types[] = {
    {"raw", GS_PACKET_RAW},           {"0", GS_PACKET_RAW},
    {"1", GS_PACKET_1},               {"2", GS_PACKET_2},
    {"4", GS_PACKET_4},               {"asn1", GS_PACKET_ASN1},
    {"sunrm", GS_PACKET_SUNRM},       {"cdr", GS_PACKET_CDR},
    {"fcgi", GS_PACKET_FCGI},         {"tpkt", GS_PACKET_TPKT},
    {"line", GS_PACKET_LINE},         {"http", GS_PACKET_HTTP},
    {"httph", GS_PACKET_HTTPH},       {"http_bin", GS_PACKET_HTTP_BIN},
    {"httph_bin", GS_PACKET_HTTPH_BIN}, {"ssl_tls", GS_PACKET_SSL_TLS},
};
enum { TYPES = sizeof types / sizeof types[0] };

int gs_packet_type_parse(const char *name)
{
    if (!name)
        return GS_EBADARG;
    for (size_t i = 0; i < TYPES; i++)
        if (!strcmp(name, types[i].name))
            return (int)types[i].type;
    return GS_EBADARG;
}

const char *gs_packet_type_name(gs_packet_type type)
{
    for (size_t i = 0; i < TYPES; i++)
        if (type == types[i].type)
            return types[i].name;
    return NULL;
}

static int put_length(uint8_t *out, int bytes, size_t body)
{
    if ((uint64_t)body >> (8 * bytes))
        return -EMSGSIZE;
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(body >> (8 * (bytes - 1 - i)));
    return bytes;
}

int gs_encode_header(gs_packet_type type, size_t body, uint8_t out[4])
{
    if (!out)
        return GS_EBADARG;
    switch (type) {
    case GS_PACKET_1:
    case GS_PACKET_2:
    case GS_PACKET_4:
        return put_length(out, (int)type, body);
    default:
        return gs_packet_type_name(type) ? 0 : GS_EBADARG;
    }
}
