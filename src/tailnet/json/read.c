/* read.c: the pull reader's grammar (RFC 8259): tokens, containers, members. Values are read in value.c. */
#include <string.h>

#include "tailnet/json/parts.h"

struct json gsi_json_of(const void *text, size_t n)
{
    const uint8_t *p = text ? text : (const uint8_t *)"";
    return (struct json){.from = p, .at = p, .end = p + (text ? n : 0), .due = true};
}

bool gsi_json_fail(struct json *j, const char *why)
{
    if (!j->error) {
        j->error = why;
        j->error_at = (size_t)(j->at - j->from);
    }
    j->at = j->end;
    j->due = false;
    return false;
}

/* The next byte behind white space; 0 at the end (no token begins with it). */
static uint8_t peek(struct json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
        j->at++;
    return j->at < j->end ? *j->at : 0;
}

enum json_kind gsi_json_kind(struct json *j)
{
    if (j->error || !j->due)
        return JSON_NOTHING;
    uint8_t c = peek(j);
    switch (c) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't':
    case 'f': return JSON_BOOL;
    case 'n': return JSON_NULL;
    default: return c == '-' || is_digit(c) ? JSON_NUMBER : JSON_NOTHING;
    }
}

bool gsi_json_expect(struct json *j, enum json_kind kind, const char *why)
{
    return gsi_json_kind(j) == kind || gsi_json_fail(j, why);
}

bool gsi_json_literal(struct json *j, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n) != 0)
        return gsi_json_fail(j, "neither true, false nor null");
    j->at += n;
    j->due = false;
    return true;
}

bool gsi_json_null(struct json *j) { return gsi_json_kind(j) == JSON_NULL && gsi_json_literal(j, "null"); }

/* ---- strings ---- */

static int hex4(const uint8_t *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int c = p[i] | 0x20, digit = is_digit(p[i]) ? p[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

size_t gsi_json_escape(const uint8_t *p, size_t n, uint32_t *code)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (n < 2)
        return 0;
    if (p[1] != 'u') {
        const char *at = p[1] ? strchr(letters, p[1]) : NULL;
        *code = at ? (uint32_t)meant[at - letters] : 0;
        return at ? 2 : 0;
    }
    int high = n < 6 ? -1 : hex4(p + 2);
    if (high < 0)
        return 0;
    *code = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return 6;
    int low = high > 0xdbff || n < 12 || p[6] != '\\' || p[7] != 'u' ? -1 : hex4(p + 8);
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *code = 0x10000 + (((uint32_t)high & 0x3ff) << 10 | ((uint32_t)low & 0x3ff));
    return 12;
}

/* RFC 3629 §4: neither overlong, nor a surrogate, nor above U+10FFFF. */
size_t gsi_json_utf8(const uint8_t *p, size_t n)
{
    uint8_t c = p[0];
    size_t len = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (!len || n < len)
        return 0;
    uint8_t least = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, most = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < least || p[1] > most)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* j->at stands on the quote. */
bool gsi_json_scan_string(struct json *j, struct json_text *out)
{
    const uint8_t *p = j->at + 1, *from = p;
    *out = (struct json_text){.p = (const char *)p};
    while (p < j->end && *p != '"') {
        size_t left = (size_t)(j->end - p), n = 1;
        if (*p == '\\') {
            uint32_t code = 1;
            n = gsi_json_escape(p, left, &code);
            out->escaped = true;
            out->has_nul |= !code;
        } else if (*p >= 0x80)
            n = gsi_json_utf8(p, left);
        else if (*p < 0x20)
            n = 0;
        if (!n) {
            j->at = p;
            return gsi_json_fail(j, *p == '\\' ? "a wrong escape" : *p < 0x20 ? "a control character in a string" : "not UTF-8");
        }
        p += n;
    }
    if (p == j->end) {
        j->at = p;
        return gsi_json_fail(j, "a string without its end");
    }
    out->n = (size_t)(p - from);
    j->at = p + 1;
    return true;
}

bool gsi_json_text_is(const struct json_text *t, const char *name)
{
    if (!t->escaped)
        return strncmp(name, t->p, t->n) == 0 && !name[t->n];
    const uint8_t *p = (const uint8_t *)t->p;
    for (size_t n = t->n, step; n; p += step, n -= step, name++) { /* names are ASCII */
        uint32_t code = *p;
        step = *p == '\\' ? gsi_json_escape(p, n, &code) : 1;
        if (!step || !code || code != (uint8_t)*name)
            return false;
    }
    return !*name;
}

/* ---- numbers ---- */

static const uint8_t *digits(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

bool gsi_json_scan_number(struct json *j, struct json_number *out)
{
    const uint8_t *p = j->at, *end = j->end;
    *out = (struct json_number){.negative = *p == '-'};
    p += out->negative;
    out->whole = p;
    p = digits(p, end);
    out->whole_n = (size_t)(p - out->whole);
    bool good = out->whole_n && (out->whole_n == 1 || *out->whole != '0');
    out->fraction = p;
    if (good && p < end && *p == '.') {
        out->fraction = ++p;
        p = digits(p, end);
        out->fraction_n = (size_t)(p - out->fraction);
        good = out->fraction_n;
        out->plain = false;
    }
    if (good && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        out->exponent_negative = p < end && *p == '-';
        p += p < end && (*p == '-' || *p == '+');
        out->exponent = p;
        p = digits(p, end);
        out->exponent_n = (size_t)(p - out->exponent);
        good = out->exponent_n;
    }
    out->plain = !out->fraction_n && !out->exponent_n;
    j->at = p;
    j->due = false;
    return good || gsi_json_fail(j, "not a number");
}

/* ---- containers ---- */

static bool in_object(const struct json *j) { return j->objects >> (j->depth - 1) & 1; }

static bool enter(struct json *j, bool object)
{
    if (j->depth == JSON_DEPTH)
        return gsi_json_fail(j, "nested too deeply");
    j->at++;
    j->objects = (j->objects & ~((uint32_t)1 << j->depth)) | (uint32_t)object << j->depth;
    j->depth++;
    j->fresh = true;
    j->due = false;
    return true;
}

static bool leave(struct json *j)
{
    j->at++;
    j->depth--;
    j->fresh = false;
    return false;
}

/* Behind what was read of the innermost container: true when there is more of it. */
static bool more(struct json *j, bool object)
{
    if (j->error)
        return false;
    if (j->due || !j->depth || in_object(j) != object)
        return gsi_json_fail(j, "read out of order");
    uint8_t c = peek(j);
    if (c == (object ? '}' : ']'))
        return leave(j);
    if (!j->fresh) {
        if (c != ',')
            return gsi_json_fail(j, object ? "neither , nor }" : "neither , nor ]");
        j->at++;
        (void)peek(j);
    }
    j->fresh = false;
    return true;
}

static bool next_item(struct json *j)
{
    if (!more(j, false))
        return false;
    j->due = true;
    return gsi_json_kind(j) != JSON_NOTHING || gsi_json_fail(j, "not a value");
}

static bool next_key(struct json *j, struct json_text *key)
{
    if (!more(j, true))
        return false;
    if (j->at == j->end || *j->at != '"')
        return gsi_json_fail(j, "not a member's name");
    if (!gsi_json_scan_string(j, key))
        return false;
    if (peek(j) != ':')
        return gsi_json_fail(j, "no : behind a member's name");
    j->at++;
    j->due = true;
    return gsi_json_kind(j) != JSON_NOTHING || gsi_json_fail(j, "not a value");
}

static void skip_one(struct json *j)
{
    struct json_text text;
    struct json_number number;
    switch (gsi_json_kind(j)) {
    case JSON_OBJECT: enter(j, true); break;
    case JSON_ARRAY: enter(j, false); break;
    case JSON_STRING:
        gsi_json_scan_string(j, &text);
        j->due = false;
        break;
    case JSON_NUMBER: gsi_json_scan_number(j, &number); break;
    case JSON_BOOL: gsi_json_literal(j, *j->at == 't' ? "true" : "false"); break;
    case JSON_NULL: gsi_json_literal(j, "null"); break;
    default: gsi_json_fail(j, "not a value"); break;
    }
}

void gsi_json_skip(struct json *j)
{
    struct json_text key;
    uint8_t depth = j->depth;
    if (j->error)
        return;
    skip_one(j);
    while (!j->error && j->depth > depth)
        if (in_object(j) ? next_key(j, &key) : next_item(j))
            skip_one(j);
}

static bool open_container(struct json *j, enum json_kind kind, const char *why)
{
    if (j->error || gsi_json_null(j) || !gsi_json_expect(j, kind, why))
        return false;
    return enter(j, kind == JSON_OBJECT);
}

bool gsi_json_object(struct json *j) { return open_container(j, JSON_OBJECT, "not an object"); }
bool gsi_json_array(struct json *j) { return open_container(j, JSON_ARRAY, "not an array"); }

static void skip_unread(struct json *j)
{
    if (j->due)
        gsi_json_skip(j);
}

bool gsi_json_item(struct json *j)
{
    skip_unread(j);
    return next_item(j);
}

bool gsi_json_key(struct json *j, struct json_text *key)
{
    *key = (struct json_text){.p = ""};
    skip_unread(j);
    return next_key(j, key);
}

/* Servers write members in the order of their structs, so the one behind the last found is tried first. */
static int find(const char *const *names, int from, const struct json_text *key)
{
    int i = from;
    for (; names[i]; i++)
        if (gsi_json_text_is(key, names[i]))
            return i;
    for (i = 0; i < from; i++)
        if (gsi_json_text_is(key, names[i]))
            return i;
    return -1;
}

static int behind_last(uint64_t seen, const char *const *names)
{
    int i = seen ? 64 - __builtin_clzll(seen) : 0;
    return i && (i >= JSON_MEMBERS || !names[i]) ? 0 : i;
}

int gsi_json_member(struct json *j, const char *const *names, uint64_t *seen)
{
    struct json_text key;
    while (gsi_json_key(j, &key)) {
        int i = find(names, behind_last(*seen, names), &key);
        if (i < 0)
            continue;
        if (*seen >> i & 1) {
            gsi_json_fail(j, "a member comes twice");
            break;
        }
        *seen |= (uint64_t)1 << i;
        return i;
    }
    return -1;
}

int gsi_json_end(struct json *j)
{
    if (!j->error && (j->due || j->depth))
        gsi_json_fail(j, "the message was not read to its end");
    if (!j->error && (peek(j), j->at != j->end))
        gsi_json_fail(j, "something stands behind the message");
    return j->error ? GS_EINVALID : 0;
}
