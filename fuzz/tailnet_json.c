/* tailnet_json.c: any bytes are read, generically; what is accepted is written again, and reads as the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/json/json.h"

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

enum { ROOM = 1 << 16 };
static char text[ROOM], name[ROOM], when[64];

/* The value that is due; containers are entered. Numbers with a fraction are written as 0. True: entered. */
static bool copy_value(struct json *j, struct json_out *o, const char *key)
{
    struct json saved = *j;
    uint8_t bytes[64];
    (void)gsi_json_base64(&saved, bytes, sizeof bytes);
    saved = *j;
    (void)gsi_json_number(&saved);
    saved = *j;
    switch (gsi_json_kind(j)) {
    case JSON_OBJECT: gsi_json_put_object(o, key); return gsi_json_object(j);
    case JSON_ARRAY: gsi_json_put_array(o, key); return gsi_json_array(j);
    case JSON_STRING: {
        struct json_text t = gsi_json_text(j);
        struct json_time time;
        if (gsi_json_time_parse(t.p, t.n, &time)) {
            struct json_out again = gsi_json_out_of(when, sizeof when);
            if (time.s >= INT64_C(-62135596800) && time.s <= INT64_C(253402300799)) {
                gsi_json_put_time(&again, NULL, time);
                CHECK(gsi_json_out_end(&again) > 0);
            }
        }
        if (t.n < ROOM)
            gsi_json_put_text(o, key, text, gsi_json_text_copy(&t, text));
        break;
    }
    case JSON_NUMBER:
        (void)gsi_json_int(&saved, INT64_MIN, INT64_MAX);
        if (saved.error) {
            gsi_json_skip(j);
            gsi_json_put_int(o, key, 0);
        } else
            gsi_json_put_int(o, key, gsi_json_int(j, INT64_MIN, INT64_MAX));
        break;
    case JSON_BOOL: gsi_json_put_bool(o, key, gsi_json_bool(j)); break;
    case JSON_NULL:
        if (gsi_json_null(j))
            gsi_json_put_null(o, key);
        break;
    default: gsi_json_skip(j); break;
    }
    return false;
}

/* Copies a message; the length, or what was wrong with it. A name with a NUL ends there. */
static ssize_t copy(const void *in, size_t n, void *out, size_t cap, const char **error)
{
    struct json j = gsi_json_of(in, n);
    struct json_out o = gsi_json_out_of(out, cap);
    uint32_t objects = 0;
    int depth = 0;
    bool entered = gsi_json_kind(&j) == JSON_OBJECT;
    objects |= entered;
    depth += copy_value(&j, &o, NULL);
    while (depth && !j.error) {
        struct json_text key = {.p = "", .n = 0};
        bool object = objects >> (depth - 1) & 1;
        if (object ? !gsi_json_key(&j, &key) : !gsi_json_item(&j)) {
            depth--;
            gsi_json_put_close(&o);
            continue;
        }
        CHECK(key.n < ROOM);
        name[gsi_json_text_copy(&key, name)] = 0;
        entered = gsi_json_kind(&j) == JSON_OBJECT;
        if (copy_value(&j, &o, object ? name : NULL)) {
            objects = (objects & ~(UINT32_C(1) << depth)) | (uint32_t)entered << depth;
            depth++;
        }
        CHECK(depth <= JSON_DEPTH);
    }
    *error = gsi_json_end(&j) < 0 ? j.error : NULL;
    return gsi_json_out_end(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char once[8 * ROOM], twice[8 * ROOM];
    const char *error;
    if (size >= ROOM)
        return 0;
    struct json j = gsi_json_of(data, size);
    gsi_json_skip(&j);
    int skipped = gsi_json_end(&j);
    CHECK(j.error_at <= size);
    ssize_t n = copy(data, size, once, sizeof once, &error);
    CHECK((skipped == 0) == (error == NULL));
    if (error)
        return 0;
    CHECK(n > 0);
    ssize_t m = copy(once, (size_t)n, twice, sizeof twice, &error);
    CHECK(!error && m == n && memcmp(once, twice, (size_t)n) == 0);
    return 0;
}
