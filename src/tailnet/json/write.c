/* write.c: the bounded writer of json.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/json/parts.h"
#include "tailnet/json/time.h"

static void refuse(struct json_out *o)
{
    o->wrong |= o->w.ok; /* the first error counts */
    o->w.ok = false;
}

struct json_out gsi_json_out_of(void *out, size_t cap) { return (struct json_out){.w = writer_of(out, cap)}; }

static void put(struct json_out *o, const char *text) { write_bytes(&o->w, text, strlen(text)); }

/* How many bytes go as they are. */
static size_t plain_run(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *at = p;
    while (at < end && *at >= 0x20 && *at < 0x7f && *at != '"' && *at != '\\')
        at++;
    return (size_t)(at - p);
}

static void put_quoted(struct json_out *o, const char *text, size_t n)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const uint8_t *p = (const uint8_t *)text, *end = p + n;
    write_u8(&o->w, '"');
    for (size_t step; p < end; p += step) {
        if ((step = plain_run(p, end)) > 0) {
            write_bytes(&o->w, p, step);
            continue;
        }
        const char *letter = *p ? strchr(from, *p) : NULL;
        char escape[8];
        step = *p < 0x80 ? 1 : gsi_json_utf8(p, (size_t)(end - p));
        if (!step) {
            refuse(o);
            return;
        }
        if (letter) {
            write_u8(&o->w, '\\');
            write_u8(&o->w, (uint8_t)to[letter - from]);
        } else if (*p < 0x20 || *p == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", *p);
            put(o, escape);
        } else
            write_bytes(&o->w, p, step);
    }
    write_u8(&o->w, '"');
}

/* What stands in front of a value. */
static void begin(struct json_out *o, const char *key)
{
    bool object = o->depth && (o->objects >> (o->depth - 1) & 1);
    if (object != (key != NULL) || (!o->depth && o->w.n)) {
        refuse(o);
        return;
    }
    if (o->comma)
        write_u8(&o->w, ',');
    o->comma = true;
    if (key) {
        put_quoted(o, key, strlen(key));
        write_u8(&o->w, ':');
    }
}

static void open_container(struct json_out *o, const char *key, bool object)
{
    begin(o, key);
    if (o->depth == JSON_DEPTH) {
        refuse(o);
        return;
    }
    write_u8(&o->w, object ? '{' : '[');
    o->objects = (o->objects & ~((uint32_t)1 << o->depth)) | (uint32_t)object << o->depth;
    o->depth++;
    o->comma = false;
}

void gsi_json_put_object(struct json_out *o, const char *key) { open_container(o, key, true); }
void gsi_json_put_array(struct json_out *o, const char *key) { open_container(o, key, false); }

void gsi_json_put_close(struct json_out *o)
{
    if (!o->depth) {
        refuse(o);
        return;
    }
    o->depth--;
    write_u8(&o->w, o->objects >> o->depth & 1 ? '}' : ']');
    o->comma = true;
}

void gsi_json_put_text(struct json_out *o, const char *key, const char *text, size_t n)
{
    begin(o, key);
    put_quoted(o, text, n);
}

void gsi_json_put_string(struct json_out *o, const char *key, const char *text) { gsi_json_put_text(o, key, text, strlen(text)); }

static void put_plain(struct json_out *o, const char *key, const char *text)
{
    begin(o, key);
    put(o, text);
}

void gsi_json_put_int(struct json_out *o, const char *key, int64_t i)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)i);
    put_plain(o, key, text);
}

void gsi_json_put_bool(struct json_out *o, const char *key, bool b) { put_plain(o, key, b ? "true" : "false"); }
void gsi_json_put_null(struct json_out *o, const char *key) { put_plain(o, key, "null"); }

void gsi_json_put_raw(struct json_out *o, const char *key, const char *json, size_t n)
{
    begin(o, key);
    write_bytes(&o->w, json, n);
}

/* ".5" of 500000000 nanoseconds, "" of none. */
static const char *fraction(char out[12], uint32_t ns)
{
    int n = snprintf(out, 12, ".%09u", ns % 1000000000u);
    while (n && (out[n - 1] == '0' || out[n - 1] == '.'))
        out[--n] = 0;
    return out;
}

void gsi_json_put_seconds(struct json_out *o, const char *key, uint64_t ns)
{
    char text[40], rest[12];
    snprintf(text, sizeof text, "%llu%s", (unsigned long long)(ns / 1000000000u), fraction(rest, (uint32_t)(ns % 1000000000u)));
    put_plain(o, key, text);
}

void gsi_json_put_time(struct json_out *o, const char *key, struct json_time t)
{
    int64_t s = t.s || t.ns ? t.s : JSON_ZERO_TIME;
    if (s < JSON_ZERO_TIME || s > JSON_LAST_TIME || t.ns > 999999999) {
        refuse(o);
        return;
    }
    int64_t since = s - JSON_ZERO_TIME, of_day = since % 86400, today = gsi_json_days(1, 1, 1) + since / 86400;
    int64_t year = 1 + since / 31556952, month = 12;
    while (year > 1 && gsi_json_days(year, 1, 1) > today)
        year--;
    while (gsi_json_days(year + 1, 1, 1) <= today)
        year++;
    while (gsi_json_days(year, month, 1) > today)
        month--;
    char text[80], rest[12];
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", (int)year, (int)month, (int)(today - gsi_json_days(year,
                                                                                                                   month, 1)) + 1,
             (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60), fraction(rest, t.ns));
    gsi_json_put_string(o, key, text);
}

void gsi_json_put_base64(struct json_out *o, const char *key, const void *bytes, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = bytes;
    begin(o, key);
    write_u8(&o->w, '"');
    for (; n; p += n < 3 ? n : 3, n -= n < 3 ? n : 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
        char four[4] = {digit[v >> 18], digit[v >> 12 & 63], n > 1 ? digit[v >> 6 & 63] : '=', n > 2 ? digit[v & 63] : '='};
        write_bytes(&o->w, four, sizeof four);
    }
    write_u8(&o->w, '"');
}

ssize_t gsi_json_out_end(const struct json_out *o)
{
    if (!o->w.ok)
        return o->wrong ? GS_EINVALID : -ENOBUFS;
    return o->depth || !o->w.n ? GS_EINVALID : (ssize_t)o->w.n;
}
