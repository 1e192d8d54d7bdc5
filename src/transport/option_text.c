/* option_text.c: options from and to text (gs_opt_parse, gs_opt_text), for commands and configuration files. What one writes
 * the other reads.
 */
#include "transport/option_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "gensock/packet.h"
#include "net/addr.h"

/* Words that stand for numbers; a list ends with NULL. */
struct word {
    const char *text;
    int64_t value;
};
static const struct word bools[] = {{"false", 0}, {"true", 1}, {NULL, 0}};
static const struct word actives[] = {{"false", GS_ACTIVE_FALSE}, {"true", GS_ACTIVE_TRUE}, {"once", GS_ACTIVE_ONCE}, {NULL, 0}};
static const struct word timeouts[] = {{"infinity", GS_INFINITY}, {"nowait", GS_NOWAIT}, {NULL, 0}};
static const struct word send_modes[] = {{"queued", GS_SEND_QUEUED}, {"direct", GS_SEND_DIRECT}, {NULL, 0}};
static const struct word families[] = {{"inet", AF_INET}, {"inet6", AF_INET6}, {"local", AF_UNIX}, {NULL, 0}};
static const struct word modes[] = {{"list", 0}, {"binary", 1}, {NULL, 0}};
static const struct word delivers[] = {{"port", 0}, {"term", 1}, {NULL, 0}};

/* gen_tcp's options that are one atom. */
static const struct {
    const char *text;
    int name;
} atoms[] = {{"inet", GS_OPT_FAMILY}, {"inet6", GS_OPT_FAMILY}, {"local", GS_OPT_FAMILY}, {"list", GS_OPT_MODE}, {"binary", GS_OPT_MODE}};

static const struct word *words_of(enum gsi_opt_type type)
{
    switch (type) {
    case GSI_BOOL:
    case GSI_DEBUG:
        return bools;
    case GSI_ACTIVE:
        return actives;
    case GSI_TIMEOUT:
        return timeouts;
    case GSI_SEND_MODE:
        return send_modes;
    case GSI_FAMILY:
        return families;
    case GSI_MODE:
        return modes;
    case GSI_DELIVER:
        return delivers;
    default:
        return NULL;
    }
}

static bool takes_numbers(enum gsi_opt_type type) { return type == GSI_INT || type == GSI_ACTIVE || type == GSI_TIMEOUT; }

void gsi_debug_stderr(void *arg, gs_stream s, const char *line)
{
    (void)arg;
    fprintf(stderr, "gensock: stream %" PRIx64 ": %s\n", s.id, line);
}

/* ---- reading ---- */

static bool read_number(const char *text, size_t n, int64_t *out)
{
    char digits[24], *end;
    if (n == 0 || n >= sizeof digits || (text[0] != '-' && (text[0] < '0' || text[0] > '9')))
        return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    long long v = strtoll(digits, &end, 10);
    *out = v;
    return end != digits && *end == '\0'; /* 23 digits saturate, and saturated is out of every range */
}

static bool read_word(const struct word *w, const char *text, size_t n, int64_t *out)
{
    for (; w && w->text; w++)
        if (strlen(w->text) == n && !memcmp(w->text, text, n)) {
            *out = w->value;
            return true;
        }
    return false;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Pairs of digits up to the end. 1; 0: they are none; -ENOMEM. *p is NULL for no bytes. */
static int read_bytes(const char *text, void **p, size_t *n)
{
    size_t digits = strlen(text);
    for (size_t i = 0; i < digits; i++)
        if (hex(text[i]) < 0)
            return 0;
    *p = NULL;
    *n = digits / 2;
    if (digits % 2)
        return 0;
    if (!digits)
        return 1;
    uint8_t *bytes = gsi_alloc(*n);
    if (!bytes)
        return -ENOMEM;
    for (size_t i = 0; i < *n; i++)
        bytes[i] = (uint8_t)(hex(text[2 * i]) << 4 | hex(text[2 * i + 1]));
    *p = bytes;
    return 1;
}

static int read_linger(const char *text, gs_opt *o)
{
    int64_t on, seconds = 0;
    size_t n = strcspn(text, ",");
    if (!read_word(bools, text, n, &on) || (text[n] && !read_number(text + n + 1, strlen(text + n + 1), &seconds)) ||
        (on && !text[n]) || seconds < 0 || seconds > INT32_MAX)
        return 0;
    o->v.linger.on = on;
    o->v.linger.seconds = (int)seconds;
    return 1;
}

static int read_raw(const char *text, gs_opt *o)
{
    int64_t level, number;
    size_t n = strcspn(text, ",");
    if (!text[n] || !read_number(text, n, &level))
        return 0;
    text += n + 1;
    n = strcspn(text, ",");
    if (!text[n] || !read_number(text, n, &number) || level < 0 || number < 0 || level > INT32_MAX || number > INT32_MAX)
        return 0;
    o->v.raw.level = (int)level;
    o->v.raw.number = (int)number;
    return read_bytes(text + n + 1, &o->v.raw.p, &o->v.raw.n);
}

static int read_addr(const char *text, gs_opt *o)
{
    gs_addr a;
    int e = gs_addr_ip(&a, text, 0);
    if (e == GS_EFORMAT)
        e = gs_addr_parse(&a, text);
    if (e < 0)
        return 0;
    gs_addr *copy = gsi_alloc(sizeof *copy);
    if (!copy)
        return -ENOMEM;
    *copy = a;
    o->v.addr = copy;
    return 1;
}

static int read_pointer(const char *text, gs_opt *o)
{
    char *end;
    if (text[0] != '0' || text[1] != 'x' || hex(text[2]) < 0 || strlen(text) > 2 + 2 * sizeof(uintptr_t))
        return 0;
    o->v.ptr = (void *)(uintptr_t)strtoull(text, &end, 16);
    return *end == '\0';
}

static int read_string(const char *text, gs_opt *o)
{
    o->v.s = gsi_strdup(text);
    return o->v.s ? 1 : -ENOMEM;
}

/* 1; 0: text is no such value; -ENOMEM. */
static int read_value(const struct gsi_opt_row *row, const char *text, gs_opt *o)
{
    switch (row->type) {
    case GSI_PACKET:
        o->v.i = gs_packet_type_parse(text);
        return o->v.i >= 0;
    case GSI_LINGER:
        return read_linger(text, o);
    case GSI_RAW:
        return read_raw(text, o);
    case GSI_BIN:
        return read_bytes(text, &o->v.bin.p, &o->v.bin.n);
    case GSI_ADDR:
        return read_addr(text, o);
    case GSI_PTR:
        return read_pointer(text, o);
    case GSI_STRING:
        return read_string(text, o);
    default: {
        int64_t i;
        bool is_word = read_word(words_of(row->type), text, strlen(text), &i);
        /* -1 and -2 are infinity's and nowait's numbers in C, not in text */
        if (!is_word && !(takes_numbers(row->type) && read_number(text, strlen(text), &i) && i <= row->max && i >= row->min))
            return 0;
        o->v.i = i;
        if (row->type == GSI_DEBUG) {
            o->v.debug.fn = i ? gsi_debug_stderr : NULL;
            o->v.debug.arg = NULL;
        }
        return 1;
    }
    }
}

static int no_such_option(const char *name)
{
    const char *instead = gsi_opt_instead(name);
    char quoted[GSI_QUOTE_MAX];
    if (instead)
        return gsi_fail(GS_EBADARG, "option %s is not one of streams: %s", name, instead);
    return gsi_fail(GS_EBADARG, "no option %s", gsi_quote(quoted, sizeof quoted, name));
}

int gs_opt_parse(const char *name, const char *value, gs_opt *out)
{
    if (!name || !out)
        return GS_EBADARG;
    gs_opt o = {0};
    const struct gsi_opt_row *row = gsi_opt_row_named(name);
    for (size_t i = 0; i < sizeof atoms / sizeof atoms[0]; i++)
        if (!strcmp(name, atoms[i].text) && (!value || !*value || !strcmp(value, "true"))) {
            row = gsi_opt_row(atoms[i].name);
            value = name;
        }
    if (!row)
        return no_such_option(name);
    if (!value)
        return GS_EBADARG;
    o.name = row->name;
    int got = read_value(row, value, &o);
    if (got < 0)
        return got;
    char quoted[GSI_QUOTE_MAX], wanted[96];
    if (!got)
        return gsi_fail(-EINVAL, "option %s: %s is not %s", name, gsi_quote(quoted, sizeof quoted, value),
                        gsi_opt_wanted(row, wanted, sizeof wanted));
    int e = gsi_opt_check_value(row, &o);
    if (e < 0) {
        gs_opt_clear(&o);
        return e;
    }
    *out = o;
    return 0;
}

void gs_opt_clear(gs_opt *o)
{
    const struct gsi_opt_row *row = o ? gsi_opt_row(o->name) : NULL;
    if (!o)
        return;
    switch (row ? row->type : GSI_INT) {
    case GSI_STRING:
        gsi_free((char *)(uintptr_t)o->v.s);
        break;
    case GSI_ADDR:
        gsi_free((gs_addr *)(uintptr_t)o->v.addr);
        break;
    case GSI_RAW:
        gsi_free(o->v.raw.p);
        break;
    case GSI_BIN:
        gsi_free(o->v.bin.p);
        break;
    default:
        break;
    }
    *o = (gs_opt){.name = GS_OPT_END};
}

/* ---- writing ---- */

struct writer {
    char *buf;
    size_t cap, at; /* at counts on past cap */
};

static void put(struct writer *w, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++, w->at++)
        if (w->at + 1 < w->cap)
            w->buf[w->at] = text[i];
}

static void put_text(struct writer *w, const char *text) { put(w, text, strlen(text)); }

static void put_number(struct writer *w, int64_t i)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, i);
    put_text(w, digits);
}

static void put_bytes(struct writer *w, const void *p, size_t n)
{
    static const char digit[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; b && i < n; i++)
        put(w, (char[]){digit[b[i] >> 4], digit[b[i] & 15]}, 2);
}

/* An ip without its port, which is not used. */
static int put_addr(struct writer *w, const gs_opt *o)
{
    char text[GS_ADDR_TEXT_MAX];
    gs_addr a = {0};
    if (o->v.addr)
        a = *o->v.addr;
    int family = gs_addr_family(&a);
    bool ip = o->name == GS_OPT_IP && (family == AF_INET || family == AF_INET6);
    if (ip && gs_addr_set_port(&a, 0) < 0)
        return GS_EBADARG;
    int n = gs_addr_text(&a, text, sizeof text);
    if (n < 0)
        return n;
    if (ip && family == AF_INET)
        put(w, text, strcspn(text, ":"));
    else if (ip && text[0] == '[' && !strchr(text, '?'))
        put(w, text + 1, strcspn(text, "]") - 1);
    else
        put_text(w, text);
    return 0;
}

static int put_word_or_number(struct writer *w, enum gsi_opt_type type, int64_t i)
{
    for (const struct word *word = words_of(type); word && word->text; word++)
        if (word->value == i) {
            put_text(w, word->text);
            return 0;
        }
    if (!takes_numbers(type))
        return GS_EBADARG;
    put_number(w, i);
    return 0;
}

static int put_value(struct writer *w, const struct gsi_opt_row *row, const gs_opt *o)
{
    char pointer[2 + 2 * sizeof(uintptr_t) + 1];
    const char *name;
    switch (row->type) {
    case GSI_PACKET:
        name = gs_packet_type_name((gs_packet_type)o->v.i);
        if (!name)
            return GS_EBADARG;
        put_text(w, name);
        return 0;
    case GSI_LINGER:
        put_text(w, o->v.linger.on ? "true," : "false,");
        put_number(w, o->v.linger.seconds);
        return 0;
    case GSI_RAW:
        put_number(w, o->v.raw.level);
        put_text(w, ",");
        put_number(w, o->v.raw.number);
        put_text(w, ",");
        put_bytes(w, o->v.raw.p, o->v.raw.n);
        return 0;
    case GSI_BIN:
        put_bytes(w, o->v.bin.p, o->v.bin.n);
        return 0;
    case GSI_ADDR:
        return put_addr(w, o);
    case GSI_STRING:
        put_text(w, o->v.s ? o->v.s : "");
        return 0;
    case GSI_PTR:
        snprintf(pointer, sizeof pointer, "0x%" PRIxPTR, (uintptr_t)o->v.ptr);
        put_text(w, pointer);
        return 0;
    case GSI_DEBUG:
        put_text(w, o->v.debug.fn ? "true" : "false");
        return 0;
    default:
        return put_word_or_number(w, row->type, o->v.i);
    }
}

int gs_opt_text(const gs_opt *o, char *buf, size_t cap)
{
    const struct gsi_opt_row *row = o ? gsi_opt_row(o->name) : NULL;
    if (cap > 0 && buf)
        buf[0] = '\0';
    if (!row || (!buf && cap > 0))
        return GS_EBADARG;
    struct writer w = {buf, cap, 0};
    int e = put_value(&w, row, o);
    if (e < 0)
        return e;
    if (cap > 0)
        buf[w.at < cap ? w.at : cap - 1] = '\0';
    return w.at <= INT32_MAX ? (int)w.at : GS_EBADARG;
}
