/* json.h: JSON (RFC 8259) as the control protocol speaks it: a pull reader over one whole message, and a bounded writer.
 *
 * The reader allocates nothing, does not recurse and is strict: what it passes over is checked as well. Its first error
 * stays, with its place; from then on every call answers nothing, so a parser asks once, at the end.
 *
 * As for Go's decoder, which the servers are written against, null is the same as nothing: 0, false, "", an empty array or
 * object. Where null and absent differ, ask gsi_json_null() first. Names are compared exactly; a known member that comes
 * twice is an error, members that are unknown, and values that the caller does not read, are skipped.
 *
 *     enum { ID, ROUTES };
 *     static const char *const members[] = {"ID", "Routes", NULL};
 *     struct json j = gsi_json_of(text, n);
 *     uint64_t seen = 0;
 *     if (gsi_json_object(&j))
 *         for (int m; (m = gsi_json_member(&j, members, &seen)) >= 0;)
 *             if (m == ID)
 *                 id = gsi_json_int(&j, 1, INT64_MAX);
 *             else if (m == ROUTES && gsi_json_array(&j))
 *                 while (gsi_json_item(&j))
 *                     gsi_json_string(&j, route, sizeof route);
 *     if (gsi_json_end(&j) < 0)
 *         … j.error, j.error_at
 *
 * A container that was entered must be read to its end: until gsi_json_member, gsi_json_key or gsi_json_item says so.
 */
#ifndef GSI_TAILNET_JSON_H
#define GSI_TAILNET_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gensock/error.h"
#include "tailnet/bytes/bytes.h"

enum { JSON_DEPTH = 32, JSON_MEMBERS = 64 /* names of a table, at most */ };

/* ---- reader ---- */

struct json {
    const uint8_t *from, *at, *end;
    const char *error; /* static text, or what gsi_json_fail got; NULL: none yet */
    size_t error_at;   /* offset in the message */
    uint32_t objects;  /* bit d: level d is an object */
    uint8_t depth;
    bool due;   /* a value stands next and was not read yet */
    bool fresh; /* nothing of the innermost container was read yet */
};

/* A string as it stands in the message, without its quotes: checked, perhaps with escapes, borrowed from the message. */
struct json_text {
    const char *p;
    size_t n;
    bool escaped;
    bool has_nul; /* \u0000 is in it */
};

/* Unix time. All zero: none, which is also how Go's zero time (0001-01-01T00:00:00Z) reads; the epoch itself reads as one
 * nanosecond later. */
struct json_time {
    int64_t s;
    uint32_t ns;
};

enum json_kind { JSON_NOTHING, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json gsi_json_of(const void *text, size_t n);

/* What the next value is by its first byte; JSON_NOTHING when none is due, or behind an error. Reads nothing. */
enum json_kind gsi_json_kind(struct json *j);
/* Reads a null, if it is one. */
GS_MUST_USE bool gsi_json_null(struct json *j);

/* Enters it. False: it was null (which is read), or an error; then ask for no member. */
GS_MUST_USE bool gsi_json_object(struct json *j);
GS_MUST_USE bool gsi_json_array(struct json *j);
/* True: another value is due. False: the array is left, or an error. */
GS_MUST_USE bool gsi_json_item(struct json *j);
/* Likewise for an object with names that are data; duplicates are the caller's. */
GS_MUST_USE bool gsi_json_key(struct json *j, struct json_text *key);
/* The index of the next known member, whose value is due; < 0: the object is left, or an error. names ends with NULL; *seen
 * is 0 at first and then tells which came, bit by index. */
GS_MUST_USE int gsi_json_member(struct json *j, const char *const *names, uint64_t *seen);

bool gsi_json_bool(struct json *j);
/* Exact, and without fraction or exponent. Outside of the range is an error, and answers `least`. */
int64_t gsi_json_int(struct json *j, int64_t least, int64_t most);
/* Any number, to 15 digits; one beyond double's range is an error. */
double gsi_json_number(struct json *j);
struct json_text gsi_json_text(struct json *j);
/* Unescaped, with a 0 behind; the length. Longer than cap - 1, or a NUL inside, is an error, and out is "". */
size_t gsi_json_string(struct json *j, char *out, size_t cap);
/* Unescaped, borrowed from the message where there are no escapes, else in scratch. n > 0 only without an error; no NUL
 * inside. */
struct json_text gsi_json_view(struct json *j, char *scratch, size_t cap);
/* RFC 4648 §4 with its padding. The number of bytes; more than cap is an error. */
size_t gsi_json_base64(struct json *j, void *out, size_t cap);
/* RFC 3339 with up to 9 digits of fraction; "" and null are none. */
struct json_time gsi_json_time(struct json *j);
void gsi_json_skip(struct json *j);

/* The caller's own objection to what was read; the first error stays. why is a static text. Answers false, to be returned. */
bool gsi_json_fail(struct json *j, const char *why);
/* The message is over: 0; GS_EINVALID with j->error and j->error_at. */
GS_MUST_USE int gsi_json_end(struct json *j);

/* Unescapes to out, which has room for t->n bytes; the length. No 0 is put behind. */
size_t gsi_json_text_copy(const struct json_text *t, char *out);
GS_MUST_USE bool gsi_json_text_is(const struct json_text *t, const char *name);
/* A decimal number as the name of a member (of maps by ID): false when it is none. */
GS_MUST_USE bool gsi_json_text_int(const struct json_text *t, int64_t *out);
/* "2026-11-21T08:15:30.123456789Z" */
GS_MUST_USE bool gsi_json_time_parse(const char *text, size_t n, struct json_time *out);

/* ---- writer: overruns, texts that are not UTF-8 and wrong nesting are remembered, and told by gsi_json_out_end ---- */

struct json_out {
    struct writer w;
    uint32_t objects;
    uint8_t depth;
    bool comma;
    bool wrong;
};

/*     struct json_out o = gsi_json_out_of(buffer, sizeof buffer);
 *     gsi_json_put_object(&o, NULL);
 *     gsi_json_put_int(&o, "Version", 115);
 *     gsi_json_put_close(&o);
 *     ssize_t n = gsi_json_out_end(&o);
 */
struct json_out gsi_json_out_of(void *out, size_t cap);

/* key: the member's name; NULL in an array and for the outermost value. */
void gsi_json_put_object(struct json_out *o, const char *key);
void gsi_json_put_array(struct json_out *o, const char *key);
void gsi_json_put_close(struct json_out *o); /* the innermost object or array */
void gsi_json_put_string(struct json_out *o, const char *key, const char *text);
void gsi_json_put_text(struct json_out *o, const char *key, const char *text, size_t n);
void gsi_json_put_int(struct json_out *o, const char *key, int64_t i);
void gsi_json_put_bool(struct json_out *o, const char *key, bool b);
void gsi_json_put_null(struct json_out *o, const char *key);
/* A value that is JSON already, by the caller's word. */
void gsi_json_put_raw(struct json_out *o, const char *key, const char *json, size_t n);
/* Nanoseconds as seconds: 0.001234 */
void gsi_json_put_seconds(struct json_out *o, const char *key, uint64_t ns);
/* None is Go's zero time. Of the years 0001 to 9999. */
void gsi_json_put_time(struct json_out *o, const char *key, struct json_time t);
void gsi_json_put_base64(struct json_out *o, const char *key, const void *bytes, size_t n);
/* The length; -ENOBUFS: the buffer is too small; GS_EINVALID: a text that is not UTF-8, or a container left open. */
GS_MUST_USE ssize_t gsi_json_out_end(const struct json_out *o);

#endif
