/* decode.c: `gensock decode`: erlang:decode_packet/3 over stdin and stdout, to be compared with Erlang line by line.
 *
 * Request: ID TYPE PACKET_SIZE LINE_LENGTH LINE_DELIMITER BYTES. Answer: ID and `ok PACKET REST`, `more N`,
 * `more undefined`, `error invalid` or `badarg`. Fields are separated by one space, bytes are lower-case hex, none is `-`.
 * A line that is no request answers `badarg` with its first field (`-` when that is empty). Answers are in order and
 * leave at the latest when no input is waiting. Only public calls of the library are used.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "gensock/packet.h"

enum { BLOCK = 256 * 1024, LINE_MAX_BYTES = 512 * 1024 * 1024, FIELDS = 6 };

/* ---- output: a block, written when full and when the input pauses ---- */

static char out[BLOCK];
static size_t out_n;
static bool out_failed;

static void flush(void)
{
    for (size_t at = 0; at < out_n && !out_failed;) {
        ssize_t n = write(STDOUT_FILENO, out + at, out_n - at);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            out_failed = true;
    }
    out_n = 0;
}

static void put(const void *p, size_t n)
{
    for (const char *from = p; n > 0;) {
        if (out_n == sizeof out)
            flush();
        size_t k = n < sizeof out - out_n ? n : sizeof out - out_n;
        memcpy(out + out_n, from, k);
        out_n += k;
        from += k;
        n -= k;
    }
}

static void put_text(const char *text) { put(text, strlen(text)); }

/* Short text only: numbers and names. */
__attribute__((format(printf, 1, 2))) static void put_format(const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

static void put_digits(gs_bytes b)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < b.n; i++) {
        char pair[2] = {digit[b.p[i] >> 4], digit[b.p[i] & 15]};
        put(pair, 2);
    }
}

static void put_hex(gs_bytes b)
{
    if (b.n)
        put_digits(b);
    else
        put_text("-");
}

/* ---- packets ---- */

static void put_uri(const gs_packet *p)
{
    switch (p->u.request.uri) {
    case GS_URI_STAR:
        put_text("*");
        return;
    case GS_URI_PATH:
        put_text("abs/");
        break;
    case GS_URI_ABSOLUTE:
        put_text(p->u.request.https ? "uri/https/" : "uri/http/");
        put_hex(p->u.request.host);
        if (p->u.request.port)
            put_format("/%d/", p->u.request.port);
        else
            put_text("/undefined/");
        break;
    case GS_URI_SCHEME:
        put_text("scheme/");
        put_hex(p->u.request.host);
        put_text("/");
        break;
    case GS_URI_STRING:
        put_text("str/");
        break;
    }
    put_hex(p->u.request.path);
}

static void put_request(const gs_packet *p)
{
    put_text("req:");
    if (p->u.request.method) {
        put_format("a/%s:", gs_http_method_name(p->u.request.method));
    } else {
        put_text("s/");
        put_hex(p->u.request.name);
        put_text(":");
    }
    put_uri(p);
    put_format(":%d.%d", p->u.request.major, p->u.request.minor);
}

static void put_header(const gs_packet *p)
{
    if (p->u.field.index) {
        put_format("hdr:%d:a/%s:", p->u.field.index, gs_http_header_name(p->u.field.index));
    } else {
        put_text("hdr:0:s/");
        put_hex(p->u.field.name);
        put_text(":");
    }
    put_hex(p->u.field.original);
    put_text(":");
    put_hex(p->u.field.value);
}

static void put_record(const gs_packet *p)
{
    gs_bytes prefix = {p->u.record.prefix, p->u.record.prefix_len};
    put_format("ssl:%d:%d.%d:", p->u.record.content_type, p->u.record.major, p->u.record.minor);
    if (prefix.n) {
        put_digits(prefix);
        put_digits(p->data);
    } else {
        put_hex(p->data);
    }
}

static void put_packet(const gs_packet *p)
{
    switch (p->kind) {
    case GS_PK_BYTES:
        put_text("b:");
        put_hex(p->data);
        break;
    case GS_PK_HTTP_REQUEST:
        put_request(p);
        break;
    case GS_PK_HTTP_RESPONSE:
        put_format("rsp:%d.%d:%d:", p->u.response.major, p->u.response.minor, p->u.response.status);
        put_hex(p->u.response.phrase);
        break;
    case GS_PK_HTTP_HEADER:
        put_header(p);
        break;
    case GS_PK_HTTP_EOH:
        put_text("eoh");
        break;
    case GS_PK_HTTP_ERROR:
        put_text("err:");
        put_hex(p->data);
        break;
    case GS_PK_SSL_TLS:
        put_record(p);
        break;
    }
}

/* ---- requests ---- */

/* Cuts a line at its spaces; the number of fields, FIELDS + 1 when there are more. */
static size_t split(char *line, char *field[FIELDS])
{
    size_t n = 0;
    for (char *p = line; p; n++) {
        if (n == FIELDS)
            return FIELDS + 1;
        field[n] = p;
        p = strchr(p, ' ');
        if (p)
            *p++ = '\0';
    }
    return n;
}

static bool parse_number(const char *text, uint32_t max, uint32_t *value)
{
    uint64_t v = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9' && v <= max; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    *value = (uint32_t)v;
    return p > text && !*p && v <= max;
}

static int nibble(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* Decodes in place: two digits become the byte where they, or earlier ones, were. */
static bool parse_hex(char *text, gs_bytes *bytes)
{
    uint8_t *to = (uint8_t *)text;
    size_t n = 0;
    for (const char *p = strcmp(text, "-") ? text : ""; *p; p += 2) {
        int high = nibble(p[0]), low = high < 0 ? -1 : nibble(p[1]);
        if (low < 0)
            return false;
        to[n++] = (uint8_t)(high << 4 | low);
    }
    *bytes = (gs_bytes){to, n};
    return *text || n; /* the empty field is not "-" */
}

static void answer(char *const field[FIELDS])
{
    gs_decoder d = {0};
    uint32_t delimiter;
    gs_bytes in;
    gs_packet p;
    size_t more;
    int type = gs_packet_type_parse(field[1]);
    if (type < 0 || !parse_number(field[2], UINT32_MAX, &d.packet_size) ||
        !parse_number(field[3], UINT32_MAX, &d.line_length) || !parse_number(field[4], UINT8_MAX, &delimiter) ||
        !parse_hex(field[5], &in)) {
        put_text("badarg\n");
        return;
    }
    d.type = (gs_packet_type)type;
    d.line_delimiter = (uint8_t)delimiter;
    ssize_t used = gs_decode(&d, in.p, in.n, &p, &more);
    if (used > 0) {
        put_text("ok ");
        put_packet(&p);
        put_text(" ");
        put_hex((gs_bytes){in.p + used, in.n - (size_t)used});
        put_text("\n");
    } else if (used == 0 && more) {
        put_format("more %zu\n", more);
    } else {
        put_text(used == 0 ? "more undefined\n" : used == GS_EINVALID ? "error invalid\n" : "badarg\n");
    }
}

/* One line without its newline, with a NUL behind it. */
static void request(char *line, size_t n)
{
    char *field[FIELDS];
    size_t fields = memchr(line, '\0', n) ? 0 : split(line, field);
    size_t id = strcspn(line, " ");
    put(id ? line : "-", id ? id : 1);
    put_text(" ");
    if (fields == FIELDS && id)
        answer(field);
    else
        put_text("badarg\n");
}

/* ---- input: blocks, a line staying in the buffer until it is whole ---- */

struct input {
    char *p;
    size_t cap, n, seen; /* bytes held; of these, without a newline */
    bool skip;           /* the rest of a line that was too long */
};

/* Answers the whole lines and keeps the beginning of the next. */
static void take_lines(struct input *in)
{
    char *line = in->p, *end = in->p + in->n, *from = in->p + in->seen, *newline;
    while ((newline = memchr(from, '\n', (size_t)(end - from)))) {
        *newline = '\0';
        if (!in->skip)
            request(line, (size_t)(newline - line));
        in->skip = false;
        line = from = newline + 1;
    }
    in->n = in->seen = (size_t)(end - line);
    memmove(in->p, line, in->n);
}

/* Makes room for a byte more and a NUL. A line that reaches the maximum is answered at once and its rest dropped. */
static bool make_room(struct input *in)
{
    if (in->skip || in->cap >= LINE_MAX_BYTES) {
        if (!in->skip && in->n + 1 >= in->cap) {
            in->p[in->n] = '\0';
            size_t id = strcspn(in->p, " ");
            put(id ? in->p : "-", id ? id : 1);
            put_text(" badarg\n");
            in->skip = true;
        }
        if (in->skip)
            in->n = in->seen = 0;
        return true;
    }
    if (in->n + 1 < in->cap)
        return true;
    size_t cap = in->cap ? in->cap * 2 : BLOCK;
    char *p = realloc(in->p, cap);
    if (!p)
        return false;
    in->p = p;
    in->cap = cap;
    return true;
}

static bool input_waits(void)
{
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

static int serve(struct input *in)
{
    while (!out_failed) {
        if (!make_room(in)) {
            fprintf(stderr, "gensock decode: no memory for a line of %zu bytes\n", in->n);
            return 1;
        }
        if (out_n && !input_waits())
            flush();
        ssize_t n = read(STDIN_FILENO, in->p + in->n, in->cap - in->n - 1);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            fprintf(stderr, "gensock decode: cannot read stdin: %s\n", strerror(errno));
            return 1;
        }
        in->n += (size_t)n;
        take_lines(in);
    }
    if (in->n && !in->skip) {
        in->p[in->n] = '\0';
        request(in->p, in->n);
    }
    flush();
    if (out_failed)
        fprintf(stderr, "gensock decode: cannot write stdout\n");
    return out_failed ? 1 : 0;
}

int cli_decode(int argc, char **argv)
{
    if (argc > 1) {
        bool help = !strcmp(argv[1], "--help");
        fprintf(help ? stdout : stderr,
                "usage: gensock decode < requests > answers\n"
                "Answers each line `ID TYPE PACKET_SIZE LINE_LENGTH LINE_DELIMITER BYTES` as erlang:decode_packet/3 does.\n");
        return help ? 0 : 2;
    }
    struct input in = {0};
    int status = serve(&in);
    free(in.p);
    return status;
}
