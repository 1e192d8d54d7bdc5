/* packet_check.c: the invariants of packet_check.h. */
#include "packet_check.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "packet/packet.h"

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

enum { CONFIG = 6, PREFIXES_HEAD = 40, PREFIXES_TAIL = 12 };

struct answer {
    ssize_t used;
    size_t more;
};

static uint32_t limit(const uint8_t *p)
{
    switch (p[0]) {
    case 0xff:
        return UINT32_MAX - p[1];
    case 0xfe:
        return (uint32_t)INT32_MAX - 128 + p[1];
    default:
        return gsi_be16(p);
    }
}

bool fuzz_take_decoder(const gs_packet_type *types, size_t n, gs_bytes *input, gs_decoder *d)
{
    if (input->n < CONFIG)
        return false;
    const uint8_t *p = input->p;
    *d = (gs_decoder){.type = types[p[0] % n], .packet_size = limit(p + 1), .line_length = limit(p + 3),
                      .line_delimiter = p[5]};
    *input = (gs_bytes){p + CONFIG, input->n - CONFIG};
    return true;
}

static bool inside(gs_bytes view, gs_bytes whole)
{
    return view.p >= whole.p && view.n <= whole.n && (size_t)(view.p - whole.p) <= whole.n - view.n;
}

static bool is_http(gs_packet_type type) { return type >= GS_PACKET_HTTP && type <= GS_PACKET_HTTPH_BIN; }

static void check_request(const gs_packet *p, gs_bytes line)
{
    CHECK(inside(p->u.request.name, line) && p->u.request.name.n > 0);
    if (p->u.request.method) {
        const char *name = gs_http_method_name(p->u.request.method);
        CHECK(name && strlen(name) == p->u.request.name.n && !memcmp(name, p->u.request.name.p, strlen(name)));
    }
    switch (p->u.request.uri) {
    case GS_URI_STAR:
        break;
    case GS_URI_ABSOLUTE:
        CHECK(inside(p->u.request.host, line));
        CHECK(inside(p->u.request.path, line) || (p->u.request.path.n == 1 && p->u.request.path.p[0] == '/'));
        break;
    case GS_URI_SCHEME:
        CHECK(inside(p->u.request.host, line) && inside(p->u.request.path, line));
        break;
    case GS_URI_PATH:
    case GS_URI_STRING:
        CHECK(inside(p->u.request.path, line) && p->u.request.path.n > 0);
    }
}

static void check_header(const gs_packet *p, gs_bytes line)
{
    gs_bytes name = p->u.field.name, original = p->u.field.original;
    CHECK(inside(original, line) && inside(p->u.field.value, line));
    CHECK(name.n == original.n && (!name.n || !strncasecmp((const char *)name.p, (const char *)original.p, name.n)));
    if (p->u.field.index)
        CHECK((const char *)name.p == gs_http_header_name(p->u.field.index));
    else
        CHECK(name.n > GS_HTTP_NAME_MAX ? name.p == original.p : (const char *)name.p == p->name_buffer);
    if (name.n && name.n <= GS_HTTP_NAME_MAX)
        CHECK(name.p[0] < 'a' || name.p[0] > 'z');
}

/* The bytes of a packet that packet_size does not count; asn1's vary. */
static size_t header_length(gs_packet_type type)
{
    switch (type) {
    case GS_PACKET_1:
    case GS_PACKET_2:
    case GS_PACKET_4:
        return (size_t)type;
    case GS_PACKET_SUNRM:
    case GS_PACKET_TPKT:
        return 4;
    case GS_PACKET_SSL_TLS:
        return 5;
    case GS_PACKET_FCGI:
        return 8;
    case GS_PACKET_CDR:
        return 12;
    default:
        return 0;
    }
}

/* A lone empty line (two bytes at most) passes any limit of http. */
static void check_limits(const gs_decoder *d, size_t used)
{
    if (d->type == GS_PACKET_RAW || d->type == GS_PACKET_ASN1)
        return;
    if (d->packet_size)
        CHECK(used - header_length(d->type) <= d->packet_size || (is_http(d->type) && used <= 2));
    if (d->line_length && d->type == GS_PACKET_LINE)
        CHECK(used <= d->line_length);
}

/* The fields of a packet against the bytes it was made of. */
static void check_packet(const gs_decoder *d, const gs_packet *p, gs_bytes bytes)
{
    check_limits(d, bytes.n);
    CHECK(inside(p->data, bytes) && p->header.n == 0);
    CHECK(is_http(d->type) == (p->kind >= GS_PK_HTTP_REQUEST && p->kind <= GS_PK_HTTP_ERROR));
    if (is_http(d->type))
        CHECK(p->data.p == bytes.p && p->data.n == bytes.n);
    switch (p->kind) {
    case GS_PK_HTTP_REQUEST:
        check_request(p, bytes);
        break;
    case GS_PK_HTTP_RESPONSE:
        CHECK(inside(p->u.response.phrase, bytes));
        break;
    case GS_PK_HTTP_HEADER:
        check_header(p, bytes);
        break;
    case GS_PK_SSL_TLS:
        CHECK(p->u.record.prefix_len == 0 || p->u.record.prefix_len == sizeof p->u.record.prefix);
        CHECK(p->data.p + p->data.n == bytes.p + bytes.n);
        break;
    case GS_PK_BYTES:
        CHECK(d->type != GS_PACKET_SSL_TLS);
        break;
    case GS_PK_HTTP_EOH:
    case GS_PK_HTTP_ERROR:
        break;
    }
}

static struct answer decode(const gs_decoder *d, gs_bytes in, gs_packet *p)
{
    struct answer a, frame;
    gs_bytes body;
    a.used = gs_decode(d, in.p, in.n, p, &a.more);
    frame.used = gsi_frame(d, in.p, in.n, &body, &frame.more);
    CHECK(a.used == GS_EINVALID || (a.used >= 0 && (size_t)a.used <= in.n));
    CHECK(frame.used == a.used);
    if (a.used == 0)
        CHECK(a.more == frame.more && (a.more == 0 || (a.more > in.n && a.more <= INT_MAX)));
    if (a.used > 0) {
        check_packet(d, p, (gs_bytes){in.p, (size_t)a.used});
        CHECK(p->kind != GS_PK_BYTES || (p->data.p == body.p && p->data.n == body.n));
    }
    return a;
}

/* What a prefix of k bytes answered against what all n do. Two answers of Erlang's depend on what follows: a line that is
 * cut by line_length turns malformed when it also passes packet_size, and a lone empty line passes every limit. */
static void check_agreement(const gs_decoder *d, size_t k, struct answer part, size_t n, struct answer all)
{
    bool depends = d->type == GS_PACKET_RAW || (d->type == GS_PACKET_LINE && d->packet_size && d->line_length) ||
                   (is_http(d->type) && (k <= 2 || n <= 2) && (d->packet_size == 1 || d->line_length == 1));
    if (depends)
        return;
    if (part.used != 0)
        CHECK(all.used == part.used);
    else if (part.more)
        CHECK(part.more <= n ? all.used == (ssize_t)part.more : all.used == 0 && all.more == part.more);
}

void fuzz_check_stream(const gs_decoder *d, gs_bytes stream)
{
    gs_packet p;
    uint8_t *memory = malloc(stream.n ? stream.n : 1), *end = memory + stream.n;
    CHECK(memory);
    if (stream.n)
        memcpy(memory, stream.p, stream.n);
    struct answer all = decode(d, (gs_bytes){memory, stream.n}, &p);
    gs_decoder walk = *d;
    for (gs_bytes rest = {memory, stream.n}; rest.n;) {
        struct answer a = decode(&walk, rest, &p);
        if (a.used <= 0)
            break;
        walk.type = gsi_packet_next_type(d->type, walk.type, p.kind);
        rest = (gs_bytes){rest.p + a.used, rest.n - (size_t)a.used};
    }
    for (size_t k = 0; k < stream.n; k++) {
        if (k == PREFIXES_HEAD && stream.n > PREFIXES_HEAD + PREFIXES_TAIL)
            k = stream.n - PREFIXES_TAIL;
        if (k)
            memcpy(end - k, stream.p, k);
        check_agreement(d, k, decode(d, (gs_bytes){end - k, k}, &p), stream.n, all);
    }
    free(memory);
}
