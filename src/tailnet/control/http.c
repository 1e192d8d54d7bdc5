/* http.c: reading an answer of HTTP/1.1 (RFC 9112). Lenient in nothing: the two servers that are spoken to are not. */
#include "tailnet/control/http.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#include "tailnet/bytes/bytes.h"

enum {
    INTERIM_MAX = 8,          /* 1xx answers ahead of the final one */
    CHUNK_LINE_MAX = 256,     /* size and extensions */
    TRAILERS_MAX = 4096,
    BODY_FIRST = 1024,
};

enum part { HEAD, BODY_COUNTED, BODY_TO_END, CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, TRAILER_START, TRAILER, DONE };

static int fail(struct http_answer *a, const char *what)
{
    return a->error = gs_fail(GS_EINVALID, "the server's HTTP is malformed: %s", what);
}

void gsi_http_init(struct http_answer *a, size_t body_max)
{
    memset(a, 0, offsetof(struct http_answer, head));
    a->body_max = body_max;
}

void gsi_http_fini(struct http_answer *a)
{
    OPENSSL_free(a->body);
    a->body = NULL;
    a->body_n = 0;
}

static void finish(struct http_answer *a)
{
    a->part = DONE;
    a->done = true;
}

/* ---- the head ---- */

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Each line's end, and whether it is what RFC 9112 5 allows: a token, a colon, visible characters. */
static bool check_fields(const char *p, const char *end)
{
    while (p < end) {
        const char *line_end = memchr(p, '\r', (size_t)(end - p)), *c = p;
        if (!line_end || line_end + 1 >= end || line_end[1] != '\n')
            return false;
        while (c < line_end && is_token(*c))
            c++;
        if (c == p || c == line_end || *c != ':')
            return false;
        for (; c < line_end; c++)
            if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
                return false;
        p = line_end + 2;
    }
    return true;
}

static const char *fields_of(const struct http_answer *a) { return (const char *)memchr(a->head, '\n', a->head_n) + 1; }

/* The next field of this name from p on. */
static const char *find(const struct http_answer *a, const char *p, const char *name, size_t *n)
{
    const char *end = a->head + a->head_n - 2;
    size_t name_n = strlen(name);
    while (p < end) {
        const char *line_end = memchr(p, '\r', (size_t)(end - p));
        if ((size_t)(line_end - p) > name_n && strncasecmp(p, name, name_n) == 0 && p[name_n] == ':') {
            p += name_n + 1;
            while (p < line_end && (*p == ' ' || *p == '\t'))
                p++;
            while (line_end > p && (line_end[-1] == ' ' || line_end[-1] == '\t'))
                line_end--;
            *n = (size_t)(line_end - p);
            return p;
        }
        p = line_end + 2;
    }
    *n = 0;
    return NULL;
}

const char *gsi_http_header(const struct http_answer *a, const char *name, size_t *n)
{
    *n = 0;
    return a->part == HEAD || !a->head_n ? NULL : find(a, fields_of(a), name, n);
}

bool gsi_http_header_is(const struct http_answer *a, const char *name, const char *token)
{
    size_t n;
    const char *value = gsi_http_header(a, name, &n);
    return value && n == strlen(token) && strncasecmp(value, token, n) == 0;
}

static bool read_number(const char *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9' || v > UINT64_MAX / 10 - 1)
            return false;
        v = v * 10 + (uint64_t)(p[i] - '0');
    }
    *out = v;
    return n > 0;
}

/* RFC 9112 6.3: how long the body is. */
static int choose_body(struct http_answer *a)
{
    size_t n, more_n;
    const char *length = find(a, fields_of(a), "content-length", &n);
    const char *coding = find(a, fields_of(a), "transfer-encoding", &more_n);
    if (length && coding)
        return fail(a, "a length and a transfer coding");
    if (coding && (more_n != 7 || strncasecmp(coding, "chunked", 7) != 0))
        return fail(a, "a transfer coding that is not chunked");
    if (length && (!read_number(length, n, &a->left) || find(a, length, "content-length", &more_n)))
        return fail(a, "its length");
    if (a->status == 204 || a->status == 304 || (length && a->left == 0)) {
        finish(a);
        return 0;
    }
    a->part = coding ? CHUNK_SIZE : length ? BODY_COUNTED : BODY_TO_END;
    if (length && a->left > a->body_max)
        return a->error = gs_fail(-EMSGSIZE, "the server's answer (status %d) is longer than %zu bytes", a->status, a->body_max);
    return 0;
}

static int read_head(struct http_answer *a)
{
    static const char line[] = "HTTP/1.1 200";
    const char *p = a->head, *eol = memchr(p, '\r', a->head_n);
    size_t n = sizeof line - 1;
    bool ok = (size_t)(eol - p) >= n && memcmp(p, line, 7) == 0 && (p[7] == '0' || p[7] == '1') && p[8] == ' ';
    for (size_t i = 9; ok && i < n; i++)
        ok = p[i] >= '0' && p[i] <= '9';
    if (!ok || (p[n] != ' ' && p + n != eol) || eol[1] != '\n' || p[9] == '0')
        return fail(a, "its status line");
    if (!check_fields(eol + 2, a->head + a->head_n - 2))
        return fail(a, "a header");
    a->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + p[11] - '0';
    if (a->status == 101) {
        finish(a);
        return 0;
    }
    if (a->status >= 200)
        return choose_body(a);
    a->head_n = 0;
    return ++a->interim > INTERIM_MAX ? fail(a, "answers of 1xx without end") : 0;
}

static int head_byte(struct http_answer *a, uint8_t c)
{
    if (a->head_n == HTTP_HEAD_MAX)
        return a->error = gs_fail(-EMSGSIZE, "the head of the server's answer is longer than %d bytes", HTTP_HEAD_MAX);
    a->head[a->head_n++] = (char)c;
    if (c == '\n' && a->head_n >= 4 && memcmp(a->head + a->head_n - 4, "\r\n\r\n", 4) == 0)
        return read_head(a);
    return 0;
}

/* ---- the body ---- */

static int keep(struct http_answer *a, const uint8_t *p, size_t n)
{
    if (n > a->body_max - a->body_n)
        return a->error = gs_fail(-EMSGSIZE, "the server's answer (status %d) is longer than %zu bytes", a->status, a->body_max);
    if (a->body_n + n + 1 > a->body_cap) {
        size_t cap = a->body_cap ? a->body_cap : BODY_FIRST;
        while (cap < a->body_n + n + 1)
            cap *= 2;
        uint8_t *body = OPENSSL_realloc(a->body, cap);
        if (!body)
            return a->error = -ENOMEM;
        a->body = body;
        a->body_cap = cap;
    }
    memcpy(a->body + a->body_n, p, n);
    a->body_n += n;
    a->body[a->body_n] = 0;
    return 0;
}

static int digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* RFC 9112 7.1, byte by byte but for the data: sizes, their extensions (ignored), line ends, trailers (ignored). */
static int chunk_byte(struct http_answer *a, uint8_t c)
{
    if (++a->line_n > (a->part >= TRAILER_START ? TRAILERS_MAX : CHUNK_LINE_MAX))
        return fail(a, "a chunk's line is too long");
    switch (a->part) {
    case CHUNK_SIZE:
        if (digit(c) >= 0) {
            if (a->left > UINT32_MAX)
                return fail(a, "a chunk's size");
            a->left = a->left << 4 | (uint64_t)digit(c);
            return 0;
        }
        if (a->line_n == 1 || (c != ';' && c != '\r' && c != ' ' && c != '\t'))
            return fail(a, "a chunk's size");
        a->part = CHUNK_EXTENSION;
        return 0;
    case CHUNK_EXTENSION:
        if (c != '\n')
            return 0;
        a->part = a->left ? CHUNK_DATA : TRAILER_START;
        a->line_n = 0;
        return 0;
    case CHUNK_END: /* line_n counts CR and LF */
        if (c != (a->line_n == 1 ? '\r' : '\n'))
            return fail(a, "a chunk's end");
        if (a->line_n == 2) {
            a->part = CHUNK_SIZE;
            a->line_n = 0;
        }
        return 0;
    case TRAILER_START: /* left: a CR was here */
        if (c == '\n' && a->left)
            finish(a);
        else
            a->part = c == '\r' && !a->left ? TRAILER_START : TRAILER;
        a->left = c == '\r';
        return 0;
    default:
        if (c == '\n') {
            a->part = TRAILER_START;
            a->left = 0;
        }
        return 0;
    }
}

/* As much of the body's data as is there. */
static int body_data(struct http_answer *a, struct reader *r)
{
    size_t n = a->part == BODY_TO_END || a->left > r->n ? r->n : (size_t)a->left;
    int e = keep(a, read_bytes(r, n), n);
    if (e || a->part == BODY_TO_END)
        return e;
    a->left -= n;
    if (!a->left && a->part == BODY_COUNTED)
        finish(a);
    else if (!a->left)
        a->part = CHUNK_END;
    return 0;
}

ssize_t gsi_http_feed(struct http_answer *a, const void *in, size_t n)
{
    struct reader r = reader_of(in, n);
    int e = a->error;
    while (!e && r.n && !a->done) {
        if (a->part == HEAD)
            e = head_byte(a, read_u8(&r));
        else if (a->part == BODY_COUNTED || a->part == BODY_TO_END || a->part == CHUNK_DATA)
            e = body_data(a, &r);
        else
            e = chunk_byte(a, read_u8(&r));
    }
    return e ? e : (ssize_t)(n - r.n);
}

int gsi_http_end(struct http_answer *a)
{
    if (a->part == BODY_TO_END && !a->error)
        finish(a);
    return a->done ? 0 : a->error ? a->error : GS_ECLOSED;
}
