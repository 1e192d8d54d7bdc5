/* value.c: the reader's values: booleans, numbers, texts, bytes (RFC 4648) and times (RFC 3339). */
#include <stdlib.h>
#include <string.h>

#include "tailnet/json/parts.h"
#include "tailnet/json/time.h"

bool gsi_json_bool(struct json *j)
{
    if (j->error || gsi_json_null(j) || !gsi_json_expect(j, JSON_BOOL, "neither true nor false"))
        return false;
    bool b = *j->at == 't';
    return gsi_json_literal(j, b ? "true" : "false") && b;
}

/* ---- numbers ---- */

/* Digits without sign to a magnitude of at most 2^63. */
static bool magnitude(const uint8_t *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t digit = (uint8_t)(p[i] - '0');
        if (v > ((UINT64_C(1) << 63) - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

static bool signed_of(bool negative, uint64_t v, int64_t *out)
{
    if (!negative && v > INT64_MAX)
        return false;
    *out = !negative ? (int64_t)v : v ? -(int64_t)(v - 1) - 1 : 0;
    return true;
}

int64_t gsi_json_int(struct json *j, int64_t least, int64_t most)
{
    struct json_number d;
    uint64_t v;
    int64_t i = 0;
    if (j->error)
        return least;
    if (!gsi_json_null(j)) {
        if (!gsi_json_expect(j, JSON_NUMBER, "not a number") || !gsi_json_scan_number(j, &d))
            return least;
        if (!d.plain || !magnitude(d.whole, d.whole_n, &v) || !signed_of(d.negative, v, &i)) {
            gsi_json_fail(j, d.plain ? "a number beyond 64 bits" : "not a whole number");
            return least;
        }
    }
    if (i >= least && i <= most)
        return i;
    gsi_json_fail(j, "a number outside its range");
    return least;
}

bool gsi_json_text_int(const struct json_text *t, int64_t *out)
{
    struct json j = gsi_json_of(t->p, t->n);
    *out = gsi_json_kind(&j) == JSON_NUMBER ? gsi_json_int(&j, INT64_MIN, INT64_MAX) : 0;
    /* the grammar of numbers, but no white space around */
    return t->n && (is_digit((uint8_t)*t->p) || *t->p == '-') && is_digit((uint8_t)t->p[t->n - 1]) && gsi_json_end(&j) == 0;
}

/* v times ten to the power of e. */
static double scale(double v, int e)
{
    for (; e >= 16; e -= 16)
        v *= 1e16;
    for (; e <= -16; e += 16)
        v /= 1e16;
    for (; e > 0; e--)
        v *= 10;
    for (; e < 0; e++)
        v /= 10;
    return v;
}

double gsi_json_number(struct json *j)
{
    enum { KEPT = 19, FAR = 100000 };
    struct json_number d;
    uint64_t v = 0;
    int e = 0, kept = 0;
    if (j->error || gsi_json_null(j) || !gsi_json_expect(j, JSON_NUMBER, "not a number") || !gsi_json_scan_number(j, &d))
        return 0;
    if (d.whole_n > FAR || d.fraction_n > FAR || d.exponent_n > FAR)
        return gsi_json_fail(j, "a number outside its range");
    for (size_t i = 0; i < d.whole_n + d.fraction_n; i++) {
        bool whole = i < d.whole_n;
        uint8_t digit = (uint8_t)((whole ? d.whole[i] : d.fraction[i - d.whole_n]) - '0');
        if (kept < KEPT && (v || digit)) {
            v = v * 10 + digit;
            kept++;
            e -= !whole;
        } else if (v)
            e += whole;
        else
            e -= !whole;
    }
    int power = 0;
    for (size_t i = 0; i < d.exponent_n; i++)
        power = power > 2 * FAR ? power : power * 10 + (d.exponent[i] - '0');
    e += d.exponent_negative ? -power : power;
    double out = v ? scale((double)v, e < -700 ? -700 : e > 700 ? 700 : e) : 0;
    if (out > 1.7976931348623157e308)
        return gsi_json_fail(j, "a number outside its range");
    return d.negative ? -out : out;
}

/* ---- texts ---- */

struct json_text gsi_json_text(struct json *j)
{
    struct json_text t = {.p = ""};
    if (j->error || gsi_json_null(j) || !gsi_json_expect(j, JSON_STRING, "not a string"))
        return t;
    if (!gsi_json_scan_string(j, &t))
        return (struct json_text){.p = ""};
    j->due = false;
    return t;
}

static size_t put_utf8(char *out, uint32_t c)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

size_t gsi_json_text_copy(const struct json_text *t, char *out)
{
    if (!t->escaped) {
        memcpy(out, t->p, t->n);
        return t->n;
    }
    const uint8_t *p = (const uint8_t *)t->p;
    size_t at = 0;
    for (size_t n = t->n, step; n; p += step, n -= step) {
        uint32_t code = 0;
        step = *p == '\\' ? gsi_json_escape(p, n, &code) : 0;
        if (step)
            at += put_utf8(out + at, code);
        else {
            out[at++] = (char)*p;
            step = 1;
        }
    }
    return at;
}

struct json_text gsi_json_view(struct json *j, char *scratch, size_t cap)
{
    struct json_text t = gsi_json_text(j);
    if (t.has_nul || (t.escaped && t.n > cap)) {
        gsi_json_fail(j, t.has_nul ? "a NUL in a string" : "a string that is too long");
        return (struct json_text){.p = ""};
    }
    if (!t.escaped)
        return t;
    return (struct json_text){.p = scratch, .n = gsi_json_text_copy(&t, scratch)};
}

size_t gsi_json_string(struct json *j, char *out, size_t cap)
{
    *out = 0;
    struct json_text t = gsi_json_text(j);
    if (t.has_nul)
        return gsi_json_fail(j, "a NUL in a string");
    if (t.n < cap) {
        size_t n = gsi_json_text_copy(&t, out);
        out[n] = 0;
        return n;
    }
    /* with escapes it may still fit: each is at most six bytes for one */
    char piece[4];
    size_t at = 0;
    const uint8_t *p = (const uint8_t *)t.p;
    for (size_t n = t.n, step; n; p += step, n -= step) {
        uint32_t code = 0;
        bool escape = *p == '\\';
        step = escape ? gsi_json_escape(p, n, &code) : 1;
        size_t size = escape ? put_utf8(piece, code) : 1;
        if (size >= cap - at) {
            *out = 0;
            return gsi_json_fail(j, "a string that is too long");
        }
        memcpy(out + at, escape ? (const void *)piece : (const void *)p, size);
        at += size;
    }
    out[at] = 0;
    return at;
}

/* ---- bytes ---- */

static int sextet(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    return is_digit(c) ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t gsi_json_base64(struct json *j, void *out, size_t cap)
{
    static const char wrong[] = "not base64";
    struct json_text t = gsi_json_text(j);
    const uint8_t *p = (const uint8_t *)t.p, *end = p + t.n;
    uint8_t *o = out;
    uint32_t bits = 0;
    size_t digits = 0, pads = 0, at = 0;
    for (size_t step; p < end; p += step) {
        uint32_t code = *p;
        step = *p == '\\' ? gsi_json_escape(p, (size_t)(end - p), &code) : 1; /* "\/" is what some writers make of a slash */
        int v = code < 0x80 ? sextet((uint8_t)code) : -1;
        if (code == '=' && digits % 4 >= 2 && pads < 2) {
            pads++;
            bits <<= 6;
            digits++;
        } else if (v < 0 || pads)
            return gsi_json_fail(j, wrong);
        else {
            bits = bits << 6 | (uint32_t)v;
            digits++;
        }
        if (digits % 4)
            continue;
        if (cap - at < 3 - pads)
            return gsi_json_fail(j, "more bytes than expected");
        if ((pads >= 1 && (bits & 0xff)) || (pads == 2 && (bits & 0xffff)))
            return gsi_json_fail(j, wrong);
        for (size_t i = 0; i < 3 - pads; i++)
            o[at++] = (uint8_t)(bits >> (16 - 8 * i));
        bits = 0;
    }
    return digits % 4 ? (size_t)gsi_json_fail(j, wrong) : at;
}

/* ---- times ---- */

int64_t gsi_json_days(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, year = y - era * 400, day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + year * 365 + year / 4 - year / 100 + day - 719468;
}

/* n digits at p, or -1. */
static int64_t number_of(const char *p, int n)
{
    int64_t v = 0;
    for (int i = 0; i < n; i++) {
        if (!is_digit((uint8_t)p[i]))
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

static bool offset_of(const char *p, size_t n, int64_t *out)
{
    if (n == 1 && *p == 'Z') {
        *out = 0;
        return true;
    }
    if (n != 6 || (*p != '+' && *p != '-') || p[3] != ':')
        return false;
    int64_t h = number_of(p + 1, 2), m = number_of(p + 4, 2);
    *out = (h * 3600 + m * 60) * (*p == '-' ? -1 : 1);
    return h >= 0 && h <= 23 && m >= 0 && m <= 59;
}

bool gsi_json_time_parse(const char *text, size_t n, struct json_time *out)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    enum { WHOLE = 19 };
    if (n <= WHOLE || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':')
        return false;
    int64_t year = number_of(text, 4), month = number_of(text + 5, 2), day = number_of(text + 8, 2);
    int64_t h = number_of(text + 11, 2), m = number_of(text + 14, 2), s = number_of(text + 17, 2), offset;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days[month - 1] + (month == 2 && leap))
        return false;
    if (h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 59)
        return false;
    size_t at = WHOLE;
    uint32_t ns = 0;
    if (text[at] == '.') {
        size_t from = ++at;
        for (; at < n && is_digit((uint8_t)text[at]) && at - from < 9; at++)
            ns = ns * 10 + (uint32_t)(text[at] - '0');
        if (at == from)
            return false;
        for (size_t i = at - from; i < 9; i++)
            ns *= 10;
    }
    if (!offset_of(text + at, n - at, &offset))
        return false;
    int64_t t = gsi_json_days(year, month, day) * 86400 + h * 3600 + m * 60 + s - offset;
    if (t == JSON_ZERO_TIME && !ns)
        *out = (struct json_time){0, 0};
    else
        *out = (struct json_time){t, t || ns ? ns : 1};
    return true;
}

struct json_time gsi_json_time(struct json *j)
{
    char scratch[64];
    struct json_time t = {0, 0};
    struct json_text text = gsi_json_view(j, scratch, sizeof scratch);
    if (text.n && !gsi_json_time_parse(text.p, text.n, &t))
        gsi_json_fail(j, "not a time of RFC 3339");
    return t;
}
