/* http.c: {packet, http} and {packet, httph}: lines of HTTP/1 as terms (HttpPacket of erlang:decode_packet/3).
 *
 * What ERTS accepts is wider than RFC 9112: bare LF, tabs between words, any version number, a missing one, trailing text
 * after the version. A line that is none of its forms is a packet too, http_error, with the line as it came.
 */
#include <string.h>
#include <strings.h>

#include "packet/packet.h"

static bool is_space(uint8_t c) { return c == ' ' || c == '\t'; }
static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static bool is_upper(uint8_t c) { return c >= 'A' && c <= 'Z'; }
static bool is_lower(uint8_t c) { return c >= 'a' && c <= 'z'; }

/* RFC 1945 §2.2 */
static const bool tspecial[128] = {
    ['('] = true, [')'] = true, ['<'] = true, ['>'] = true, ['@'] = true,  [','] = true, [';'] = true, [':'] = true,
    ['\\'] = true, ['"'] = true, ['/'] = true, ['['] = true, [']'] = true, ['?'] = true, ['='] = true, ['{'] = true,
    ['}'] = true,
};

/* DEL belongs to a name, unlike in the RFC. */
static bool is_token(uint8_t c) { return c > ' ' && c < sizeof tspecial && !tspecial[c]; }

ssize_t gsi_http_length(const gs_decoder *d, const uint8_t *in, size_t n, bool headers)
{
    if ((n == 1 && in[0] == '\n') || (n == 2 && in[0] == '\r' && in[1] == '\n'))
        return (ssize_t)n;
    size_t limit = d->packet_size ? d->packet_size : d->line_length;
    size_t length = 0;
    do {
        const uint8_t *newline = memchr(in + length, '\n', n - length);
        if (!newline)
            return limit && n >= limit ? GS_EINVALID : 0;
        length = (size_t)(newline - in) + 1;
        /* A header goes on where the next line starts with a space; an empty or one-byte line never does. */
    } while (headers && length > 2 && length < n && is_space(in[length]));
    if (limit && length > limit)
        return GS_EINVALID;
    return headers && length == n ? 0 : (ssize_t)length;
}

/* What is left of a line. */
struct cursor {
    const uint8_t *p, *end;
};

static size_t left(const struct cursor *c) { return (size_t)(c->end - c->p); }

static size_t skip_spaces(struct cursor *c)
{
    const uint8_t *from = c->p;
    while (c->p < c->end && is_space(*c->p))
        c->p++;
    return (size_t)(c->p - from);
}

static bool take_text(struct cursor *c, const char *text)
{
    size_t n = strlen(text);
    if (left(c) < n || memcmp(c->p, text, n))
        return false;
    c->p += n;
    return true;
}

/* Digits, possibly none: how many there were. */
static size_t take_digits(struct cursor *c, int *value)
{
    const uint8_t *from = c->p;
    uint32_t v = 0;
    for (; c->p < c->end && is_digit(*c->p); c->p++)
        v = v * 10 + (uint32_t)(*c->p - '0');
    *value = (int)(int32_t)v;
    return (size_t)(c->p - from);
}

static bool take_version(struct cursor *c, int *major, int *minor)
{
    return take_digits(c, major) > 0 && take_text(c, ".") && take_digits(c, minor) > 0;
}

static gs_bytes take_token(struct cursor *c)
{
    const uint8_t *from = c->p;
    while (c->p < c->end && is_token(*c->p))
        c->p++;
    return (gs_bytes){from, (size_t)(c->p - from)};
}

static gs_bytes rest(const struct cursor *c) { return (gs_bytes){c->p, left(c)}; }

/* Status-Line = HTTP-Version SP Status-Code SP Reason-Phrase; the code and the phrase may be missing. */
static bool parse_response(struct cursor c, gs_packet *out)
{
    int major, minor, status;
    if (!take_version(&c, &major, &minor) || !skip_spaces(&c))
        return false;
    take_digits(&c, &status);
    if (!skip_spaces(&c) && left(&c))
        return false;
    out->kind = GS_PK_HTTP_RESPONSE;
    out->u.response.major = major;
    out->u.response.minor = minor;
    out->u.response.status = status;
    out->u.response.phrase = rest(&c);
    return true;
}

/* What follows "http://": host [":" port] [path]. The host ends at the first colon, an IPv6 address's own included; a port
 * that is not a number, or is 0 in 32 bits, is undefined. */
static void parse_authority(gs_bytes text, gs_packet *out)
{
    const uint8_t *end = text.p + text.n;
    const uint8_t *slash = memchr(text.p, '/', text.n);
    const uint8_t *stop = slash ? slash : end;
    const uint8_t *colon = memchr(text.p, ':', (size_t)(stop - text.p));
    out->u.request.path = slash ? (gs_bytes){slash, (size_t)(end - slash)} : (gs_bytes){(const uint8_t *)"/", 1};
    out->u.request.host = (gs_bytes){text.p, (size_t)((colon ? colon : stop) - text.p)};
    out->u.request.port = 0;
    if (!colon)
        return;
    struct cursor c = {colon + 1, stop};
    int port;
    take_digits(&c, &port);
    if (!left(&c))
        out->u.request.port = port;
}

/* Schemes are compared without regard to case. */
static bool has_scheme(gs_bytes uri, const char *scheme)
{
    size_t n = strlen(scheme);
    return uri.n >= n && !strncasecmp((const char *)uri.p, scheme, n);
}

static void parse_absolute(gs_bytes uri, size_t scheme, bool https, gs_packet *out)
{
    out->u.request.uri = GS_URI_ABSOLUTE;
    out->u.request.https = https;
    parse_authority((gs_bytes){uri.p + scheme, uri.n - scheme}, out);
}

static void parse_uri(gs_bytes uri, gs_packet *out)
{
    const uint8_t *colon;
    if (uri.n == 1 && uri.p[0] == '*') {
        out->u.request.uri = GS_URI_STAR;
    } else if (uri.n == 1 || uri.p[0] == '/') { /* a single letter counts as a path */
        out->u.request.uri = GS_URI_PATH;
        out->u.request.path = uri;
    } else if (has_scheme(uri, "http://")) {
        parse_absolute(uri, 7, false, out);
    } else if (has_scheme(uri, "https://")) {
        parse_absolute(uri, 8, true, out);
    } else if ((colon = memchr(uri.p, ':', uri.n))) {
        out->u.request.uri = GS_URI_SCHEME;
        out->u.request.host = (gs_bytes){uri.p, (size_t)(colon - uri.p)};
        out->u.request.path = (gs_bytes){colon + 1, (size_t)(uri.p + uri.n - colon - 1)};
    } else {
        out->u.request.uri = GS_URI_STRING;
        out->u.request.path = uri;
    }
}

/* Request-Line = Method SP Request-URI [SP HTTP-Version]; without a version it is HTTP/0.9. */
static bool parse_request(struct cursor c, gs_packet *out)
{
    int major = 0, minor = 9;
    gs_bytes method = take_token(&c);
    if (!method.n || !skip_spaces(&c))
        return false;
    gs_bytes uri = rest(&c);
    while (c.p < c.end && !is_space(*c.p))
        c.p++;
    uri.n = (size_t)(c.p - uri.p);
    skip_spaces(&c);
    if (!uri.n)
        return false;
    if (left(&c) && (!take_text(&c, "HTTP/") || !take_version(&c, &major, &minor)))
        return false;
    out->kind = GS_PK_HTTP_REQUEST;
    out->u.request.method = gsi_http_method_index(method);
    out->u.request.name = method;
    out->u.request.major = major;
    out->u.request.minor = minor;
    parse_uri(uri, out);
    return true;
}

/* "cONTENT-length" -> "Content-Length": a capital at the start and after each '-', small letters elsewhere. */
static void normalise(gs_bytes name, char *to)
{
    bool start = true;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (start ? is_lower(c) : is_upper(c))
            c ^= 'a' ^ 'A';
        start = !start && c == '-';
        to[i] = (char)c;
    }
}

static bool parse_header(struct cursor c, gs_packet *out)
{
    gs_bytes original = take_token(&c), name = original;
    int index = 0;
    if (!take_text(&c, ":"))
        return false;
    skip_spaces(&c);
    if (original.n <= GS_HTTP_NAME_MAX) {
        normalise(original, out->name_buffer);
        name.p = (const uint8_t *)out->name_buffer;
        index = gsi_http_header_index(name);
        if (index)
            name.p = (const uint8_t *)gs_http_header_name(index);
    }
    out->kind = GS_PK_HTTP_HEADER;
    out->u.field.index = index;
    out->u.field.name = name;
    out->u.field.original = original;
    out->u.field.value = rest(&c);
    return true;
}

/* Without the line ending: CR and LF, or the LF alone. */
static struct cursor content(gs_bytes line)
{
    size_t ending = line.n >= 2 && line.p[line.n - 2] == '\r' ? 2 : 1;
    return (struct cursor){line.p, line.p + line.n - ending};
}

void gsi_http_parse(gs_bytes line, bool headers, gs_packet *out)
{
    struct cursor c = content(line);
    bool ok = true;
    out->data = line;
    if (headers && !left(&c))
        out->kind = GS_PK_HTTP_EOH;
    else if (headers)
        ok = parse_header(c, out);
    else if (take_text(&c, "HTTP/"))
        ok = parse_response(c, out);
    else
        ok = parse_request(c, out);
    if (!ok)
        out->kind = GS_PK_HTTP_ERROR;
}
