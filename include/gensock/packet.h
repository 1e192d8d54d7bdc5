/* gensock/packet.h: framing: erlang:decode_packet/3 as an object without sockets, and the headers that sending adds.
 *
 * The answers are Erlang's, byte for byte (erlang:decode_packet/3 in ERTS, and the `packet` option of inet:setopts/2).
 *
 *     gs_decoder d = {.type = GS_PACKET_4, .packet_size = 1 << 20};
 *     gs_packet p;
 *     ssize_t used = gs_decode(&d, in, n, &p, NULL);
 *     if (used > 0)
 *         handle(p.data.p, p.data.n);   // views into `in`
 *
 * Nothing here allocates, blocks or keeps state; every function may be called from any thread.
 */
#ifndef GENSOCK_PACKET_H
#define GENSOCK_PACKET_H

#include <gensock/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* {packet, Type}. 0 is raw. ssl_tls is decode_packet's only: a stream answers -EINVAL for it. */
typedef enum {
    GS_PACKET_RAW = 0,
    GS_PACKET_1 = 1,
    GS_PACKET_2 = 2,
    GS_PACKET_4 = 4,
    GS_PACKET_ASN1 = 5,     /* ASN.1 BER: the whole TLV is the packet */
    GS_PACKET_SUNRM = 6,    /* Sun RPC record marking (RFC 5531 §11) */
    GS_PACKET_CDR = 7,      /* CORBA GIOP 1.1 */
    GS_PACKET_FCGI = 8,     /* FastCGI record */
    GS_PACKET_TPKT = 9,     /* RFC 1006 §6 */
    GS_PACKET_LINE = 10,    /* up to and with the delimiter */
    GS_PACKET_HTTP = 11,    /* request or status line, then headers */
    GS_PACKET_HTTPH = 12,   /* headers only */
    GS_PACKET_HTTP_BIN = 13,
    GS_PACKET_HTTPH_BIN = 14,
    GS_PACKET_SSL_TLS = 15, /* one TLS record (or an SSLv2 client hello) */
} gs_packet_type;

typedef enum {
    GS_PK_BYTES,
    GS_PK_HTTP_REQUEST,
    GS_PK_HTTP_RESPONSE,
    GS_PK_HTTP_HEADER,
    GS_PK_HTTP_EOH,
    GS_PK_HTTP_ERROR,
    GS_PK_SSL_TLS,
} gs_packet_kind;

#define GS_HTTP_NAME_MAX 50

/* "*", {abs_path, P}, {absoluteURI, http|https, Host, Port, Path}, {scheme, S, Rest}, and any other text. */
typedef enum { GS_URI_STAR, GS_URI_PATH, GS_URI_ABSOLUTE, GS_URI_SCHEME, GS_URI_STRING } gs_uri_kind;

/* One packet; only the fields of its kind are set. Every gs_bytes points into the decoder's input (for a stream: into the
 * message, see mailbox.h), except: a known header's name and the path "/" of an absolute URI that has none are static, and
 * an unknown header's name lies in the packet's own name_buffer (a plain copy of the struct keeps pointing into the first).
 * The integers of http are 32 bits and wrap, as Erlang's do. */
typedef struct {
    gs_packet_kind kind;
    gs_bytes data;   /* BYTES, SSL_TLS: the body; HTTP_ERROR: the bad line as it came; else the whole line */
    gs_bytes header; /* streams with {header, N}: the first N bytes of the body; else empty. data then holds the rest */
    union {
        struct {
            int method;       /* 1..7 as in gs_http_method_name, 0 = another, see name */
            gs_bytes name;    /* as it came */
            gs_uri_kind uri;
            bool https;       /* ABSOLUTE */
            gs_bytes host;    /* ABSOLUTE: host; SCHEME: the scheme */
            int port;         /* ABSOLUTE: 0 = undefined */
            gs_bytes path;    /* PATH, ABSOLUTE: path; SCHEME: the rest; STRING: the text */
            int major, minor; /* {0,9} when the line has no version */
        } request;
        struct {
            int major, minor, status;
            gs_bytes phrase;
        } response;
        struct {
            int index;         /* 1..52 as in gs_http_header_name, 0 = another */
            gs_bytes name;     /* "Content-Length": normalised up to 50 bytes, longer ones as they came */
            gs_bytes original; /* as it came */
            gs_bytes value;
        } field;
        struct {
            int content_type, major, minor;
            uint8_t prefix[4]; /* Erlang's answer to an SSLv2 client hello starts with these bytes, before data … */
            size_t prefix_len; /* … 4 then, else 0 */
        } record;
    } u;
    char name_buffer[GS_HTTP_NAME_MAX]; /* where a normalised unknown header name is built */
} gs_packet;

/* What to decode. packet_size: a longer packet is malformed, 0 = no limit. line_length: a longer line comes in pieces (line)
 * or is malformed (http), 0 = no limit. line_delimiter: only with LINE. */
typedef struct {
    gs_packet_type type;
    uint32_t packet_size;
    uint32_t line_length;
    uint8_t line_delimiter; /* 10 where Erlang's default is wanted: GS_DECODER(type) sets it */
} gs_decoder;
#define GS_DECODER(t) ((gs_decoder){.type = (t), .line_delimiter = '\n'})

/* Takes one packet off the front of in[0..n). > 0: the bytes used, *out set (views into in). 0: more is needed; *more, when
 * more is not NULL, is the packet's total length with its header, or 0 when that is not known yet. GS_EINVALID: malformed,
 * longer than the limits, or longer than 2^31-1 with its header. GS_EBADARG: no such type, d or out is NULL, or `in` is
 * NULL with n > 0. `in` is only read, and only within n. The answer depends on nothing else, and once there is one, more input
 * behind does not change it: a caller may cut its input anywhere and ask again with more. Erlang's exceptions: RAW is what is
 * there. LINE with a line_length up to packet_size: of a line longer than packet_size, pieces as long as no more than
 * packet_size bytes of it are there, malformed when more are. The http types with a limit (packet_size, or line_length where
 * that is 0) of 1: an empty line "\r\n" is a packet when it is all there is, else malformed. HTTPH needs to see one byte after
 * a header line, for it may continue on the next. */
GS_API GS_MUST_USE ssize_t gs_decode(const gs_decoder *d, const void *in, size_t n, gs_packet *out, size_t *more);

/* Writes the header that sending a body of `body` bytes puts in front of it: 1, 2 or 4 bytes, big endian, for the types of
 * those names; the other types' headers are the sender's own, so 0. Answers the header's length. -EMSGSIZE: the body does
 * not fit the type's length field. GS_EBADARG: no such type, or out is NULL. */
GS_API GS_MUST_USE int gs_encode_header(gs_packet_type type, size_t body, uint8_t out[4]);

/* The type of an Erlang name ("raw", "0", "1", "2", "4", "asn1", … "httph_bin", "ssl_tls"): a gs_packet_type, or GS_EBADARG. */
GS_API GS_MUST_USE int gs_packet_type_parse(const char *name);
/* The Erlang name of a type, or NULL. */
GS_API const char *gs_packet_type_name(gs_packet_type type);
/* 1 "OPTIONS" … 7 "TRACE"; NULL outside. */
GS_API const char *gs_http_method_name(int method);
/* 1 "Cache-Control" … 52 "Proxy-Connection"; NULL outside. */
GS_API const char *gs_http_header_name(int index);

#ifdef __cplusplus
}
#endif
#endif
