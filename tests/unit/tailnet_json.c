/* The pull reader takes what RFC 8259 allows and nothing else, tells where it stopped, and the writer's output is read back the
 * same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"
#include "tailnet/json/json.h"

static struct json of(const char *text) { return gsi_json_of(text, strlen(text)); }

static int skipped(const void *text, size_t n)
{
    /* from a block of just this size, so that the sanitizer sees each byte read behind it */
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, text, n);
    struct json j = gsi_json_of(copy, n);
    gsi_json_skip(&j);
    int e = gsi_json_end(&j);
    assert_true((e == 0) == (j.error == NULL));
    assert_true(j.error_at <= n);
    free(copy);
    return e;
}

static void what_the_rfc_allows_is_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0", "-0", "1", "-1", "10", "1.5", "-1.25e10", "1E+2", "1e-2", "0.0", "0e0", "123456789012345678901234567890", "true", "false",
        "null", "\"\"", "\"a\"", " \t\r\n1 \t\r\n", "[]", "[ ]", "{}", "{ }", "[1]", "[1,2]", "[[],[],{}]", "{\"a\":1}", "{\"\":0}",
        "{\"a\" : 1 , \"b\" : [ null ] }", "{\"a\":1,\"a\":2}", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0000\"", "\"\\u00e9\"",
        "\"\\uD834\\uDD1E\"", "\"\\udbff\\udfff\"", "\"\\ud7ff\\ue000\\uffff\"", "\"\xc3\xa9\"", "\"\xe2\x82\xac\"", "\"\xf0\x9d\x84\x9e\"",
        "\"\xf4\x8f\xbf\xbf\"", "\"\xef\xbb\xbf\"", "\"\x7f\"", "\"\xed\x9f\xbf\"", "\"\xc2\x80\"", "\"\xe0\xa0\x80\"", "\"\xf0\x90\x80\x80\"",
        "[\"a\",{\"b\":[{\"c\":{}}]}]", "1.0000000000000000000000000000000000001", "1e400",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (skipped(good[i], strlen(good[i])) != 0)
            fail_msg("refused: %s", good[i]);
}

static void what_the_rfc_forbids_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", " ", "\xef\xbb\xbf{}", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1 2]", "[1,,2]", "[1}", "{]", "{\"a\"", "{\"a\":",
        "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{1:2}", "{a:1}", "{'a':1}", "{\"a\" 1}", "{\"a\"::1}", "{\"a\":1 \"b\":2}", "{\"a\",1}",
        "{null:1}", "1 2", "[] []", "{} x", "[]]", "{}}", "tru", "True", "TRUE", "nul", "NaN", "Infinity", "-Infinity", "-", "+1", "01", "-01",
        "00", "1.", ".5", "-.5", "1.e1", "1e", "1e+", "1e-", "1ee1", "0x10", "1_000", "1,", "--1", "1.2.3", "0e", "2.e3", "\"", "\"a", "\"\\\"",
        "\"\\", "\"\\x\"", "\"\\u\"", "\"\\u12\"", "\"\\u123g\"", "\"\\U0041\"", "\"\\'\"", "\"\\0\"", "\"\\a\"", "\"a\nb\"", "\"a\tb\"",
        "\"\x01\"", "\"\x1f\"", "'a'", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"", "\"\\udfff\\ud800\"",
        "\"\\ud800\\udc\"", "\"\x80\"", "\"\xbf\"", "\"\xc0\x80\"", "\"\xc1\xbf\"", "\"\xc3\"", "\"\xc3(\"", "\"\xe0\x80\x80\"", "\"\xe0\x9f\xbf\"",
        "\"\xed\xa0\x80\"", "\"\xed\xbf\xbf\"", "\"\xe2\x82\"", "\"\xe2\x28\xa1\"", "\"\xf0\x80\x80\x80\"", "\"\xf0\x8f\xbf\xbf\"",
        "\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xf0\x9d\x84\"", "\"\xfe\"", "\"\xff\"", "/*x*/1", "1//x", "[1]/**/", "\f1", "\v1", "\xa0[]",
        "[1]\x01", "{\"a\":}", "[true false]", "[\"a\"\"b\"]", "{\"a\":1:2}", "truefalse", "nulll", "[\xe2\x80\xa8]", "*", "@", "\\u0031",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (skipped(bad[i], strlen(bad[i])) != GS_EINVALID)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(skipped("1\0", 2), GS_EINVALID);
    assert_int_equal(skipped("\"a\0b\"", 5), GS_EINVALID);
    assert_int_equal(skipped("[\0]", 3), GS_EINVALID);
    assert_int_equal(skipped(NULL, 0), GS_EINVALID);
}

static void thirty_two_levels_are_read_and_one_more_is_not(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH + 4];
    for (int depth = JSON_DEPTH; depth <= JSON_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(skipped(text, 2 * (size_t)depth), depth > JSON_DEPTH ? GS_EINVALID : 0);
    }
    char *deep = malloc(1 << 20);
    memset(deep, '[', 1 << 20);
    assert_int_equal(skipped(deep, 1 << 20), GS_EINVALID);
    for (int i = 0; i < 1 << 20; i += 5)
        memcpy(deep + i, "{\"a\":", i + 5 <= 1 << 20 ? 5 : 1);
    assert_int_equal(skipped(deep, 1 << 20), GS_EINVALID);
    free(deep);
}

static void a_message_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,-2.5e+3,true,false,null,\"x\\u00e9\\ud834\\udd1e\\n\xe2\x82\xac\"],\"b\":{\"c\":{}},\"d\":\"\"}";
    assert_int_equal(skipped(text, sizeof text - 1), 0);
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(skipped(text, n), GS_EINVALID);
}

static void whole_numbers_are_exact_up_to_64_bits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t least, most, want;
        bool good;
    } rows[] = {
        {"0", INT64_MIN, INT64_MAX, 0, true},
        {"-0", 0, 0, 0, true},
        {"9007199254740993", 0, INT64_MAX, INT64_C(9007199254740993), true},
        {"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX, true},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN, true},
        {"9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN, false},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, INT64_MIN, false},
        {"18446744073709551616", INT64_MIN, INT64_MAX, INT64_MIN, false},
        {"184467440737095516160", INT64_MIN, INT64_MAX, INT64_MIN, false},
        {"99999999999999999999999999", INT64_MIN, INT64_MAX, INT64_MIN, false},
        {"65535", 0, 65535, 65535, true},
        {"65536", 0, 65535, 0, false},
        {"-1", 0, 65535, 0, false},
        {"null", 0, 5, 0, true},
        {"null", 1, 5, 1, false}, /* null is 0, which the range excludes */
        {"1.0", 0, 5, 0, false},
        {"1e0", 0, 5, 0, false},
        {"\"1\"", 0, 5, 0, false},
        {"true", 0, 5, 0, false},
        {"01", 0, 5, 0, false},
        {"[1]", 0, 5, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json j = of(rows[i].text);
        int64_t v = gsi_json_int(&j, rows[i].least, rows[i].most);
        if (v != rows[i].want || (gsi_json_end(&j) == 0) != rows[i].good)
            fail_msg("%s: %lld, %s", rows[i].text, (long long)v, j.error ? j.error : "fine");
    }
}

static void numbers_keep_fifteen_digits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double want;
    } rows[] = {{"0", 0}, {"-0.0", 0}, {"1", 1}, {"1.5", 1.5}, {"-2.25e2", -225}, {"0.001234", 0.001234}, {"1e-3", 1e-3}, {"1e22", 1e22},
                {"123456789012345678901234567890", 1.2345678901234568e29}, {"0.000000000000000000000000012345", 1.2345e-26}, {"1E308", 1e308},
                {"0.00000000000000000000000000000000000000000000000000", 0}, {"1e-400", 0}, {"0e99999", 0}, {"null", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json j = of(rows[i].text);
        double v = gsi_json_number(&j), slack = 1e-14 * (rows[i].want < 0 ? -rows[i].want : rows[i].want);
        assert_int_equal(gsi_json_end(&j), 0);
        if (v < rows[i].want - slack || v > rows[i].want + slack)
            fail_msg("%s: %g", rows[i].text, v);
    }
    static const char *const bad[] = {"1e309", "-1e400", "1e99999999999999999999", "\"1\"", "1."};
    for (size_t i = 0; i < 5; i++) {
        struct json j = of(bad[i]);
        (void)gsi_json_number(&j);
        assert_int_equal(gsi_json_end(&j), GS_EINVALID);
    }
}

static void strings_are_unescaped_and_bounded(void **state)
{
    (void)state;
    char out[8];
    struct json j = of("[\"abc\",\"\\u00e9\\ud834\\udd1e\",\"1234567\",\"\\u0061\\u0062\\u0063\\u0064\\u0065\\u0066\\u0067\",null,\"\"]");
    static const char *const want[] = {"abc", "\xc3\xa9\xf0\x9d\x84\x9e", "1234567", "abcdefg", "", ""};
    assert_true(gsi_json_array(&j));
    for (size_t i = 0; i < 6; i++) {
        assert_true(gsi_json_item(&j));
        assert_int_equal(gsi_json_string(&j, out, sizeof out), strlen(want[i]));
        assert_string_equal(out, want[i]);
    }
    assert_false(gsi_json_item(&j));
    assert_int_equal(gsi_json_end(&j), 0);
    static const char *const bad[] = {"\"12345678\"", "\"\\u0061bcdefgh\"", "\"a\\u0000b\"",     "\"\\u0000\"",           "5",
                                      "[]",           "\"1234567\\u00e9\"", "\"123456\\u00e9\"", "\"1234\\ud834\\udd1e\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        j = of(bad[i]);
        memset(out, 'x', sizeof out);
        assert_int_equal(gsi_json_string(&j, out, sizeof out), 0);
        assert_string_equal(out, "");
        assert_int_equal(gsi_json_end(&j), GS_EINVALID);
    }
}

static void a_view_borrows_where_it_can(void **state)
{
    (void)state;
    char scratch[4];
    const char *text = "\"plain text\"";
    struct json j = of(text);
    struct json_text t = gsi_json_view(&j, scratch, sizeof scratch);
    assert_ptr_equal(t.p, text + 1);
    assert_int_equal(t.n, 10);
    j = of("\"a\\n\"");
    t = gsi_json_view(&j, scratch, sizeof scratch);
    assert_ptr_equal(t.p, scratch);
    assert_memory_equal(t.p, "a\n", 2);
    j = of("\"abc\\n\"");
    t = gsi_json_view(&j, scratch, sizeof scratch);
    assert_int_equal(t.n, 0);
    assert_int_equal(gsi_json_end(&j), GS_EINVALID);
}

enum { A, B, C };
static const char *const members[] = {[A] = "A", [B] = "Bb", [C] = "C", NULL};

static void members_come_in_any_order_and_others_are_skipped(void **state)
{
    (void)state;
    struct json j = of("{\"x\":{\"A\":[1,{}]},\"C\":3,\"\\u0042b\":[1,[2]],\"b\":1,\"a\":9,\"AA\":1,\"\":0,\"A\":null}");
    uint64_t seen = 0;
    assert_true(gsi_json_object(&j));
    assert_int_equal(gsi_json_member(&j, members, &seen), C);
    assert_int_equal(gsi_json_int(&j, 0, 9), 3);
    assert_int_equal(gsi_json_member(&j, members, &seen), B); /* its value is not read: skipped */
    assert_int_equal(gsi_json_member(&j, members, &seen), A);
    assert_true(gsi_json_null(&j));
    assert_false(gsi_json_null(&j));
    assert_int_equal(gsi_json_member(&j, members, &seen), -1);
    assert_int_equal(seen, 7);
    assert_int_equal(gsi_json_end(&j), 0);
}

static void a_known_member_that_comes_twice_is_an_error(void **state)
{
    (void)state;
    struct json j = of("{\"A\":1,\"x\":2,\"x\":3,\"A\":1}");
    uint64_t seen = 0;
    assert_true(gsi_json_object(&j));
    assert_int_equal(gsi_json_member(&j, members, &seen), A);
    assert_int_equal(gsi_json_member(&j, members, &seen), -1);
    assert_int_equal(gsi_json_end(&j), GS_EINVALID);
    assert_string_equal(j.error, "a member comes twice");
}

static void null_is_nothing_and_can_be_told_from_absent(void **state)
{
    (void)state;
    struct json j = of("[null,null,null,null,null,null,[]]");
    uint8_t bytes[1];
    assert_true(gsi_json_array(&j));
    assert_true(gsi_json_item(&j));
    assert_false(gsi_json_object(&j));
    assert_true(gsi_json_item(&j));
    assert_false(gsi_json_array(&j));
    assert_true(gsi_json_item(&j));
    assert_false(gsi_json_bool(&j));
    assert_true(gsi_json_item(&j));
    assert_int_equal(gsi_json_base64(&j, bytes, 1), 0);
    assert_true(gsi_json_item(&j));
    assert_int_equal(gsi_json_time(&j).ns, 0);
    assert_true(gsi_json_item(&j));
    assert_true(gsi_json_null(&j));
    assert_true(gsi_json_item(&j));
    assert_false(gsi_json_null(&j));
    assert_int_equal(gsi_json_kind(&j), JSON_ARRAY);
    assert_false(gsi_json_item(&j));
    assert_int_equal(gsi_json_end(&j), 0);
}

static void wrong_kinds_and_wrong_order_are_errors_that_stay(void **state)
{
    (void)state;
    struct json j = of("{\"A\":1}");
    assert_false(gsi_json_array(&j));
    const char *first = j.error;
    assert_non_null(first);
    assert_false(gsi_json_object(&j));
    assert_int_equal(gsi_json_int(&j, 3, 9), 3);
    assert_false(gsi_json_fail(&j, "later"));
    assert_ptr_equal(j.error, first);
    j = of("1");
    assert_false(gsi_json_item(&j));
    assert_int_equal(gsi_json_end(&j), GS_EINVALID);
    j = of("[1]");
    struct json_text key;
    assert_true(gsi_json_array(&j));
    assert_false(gsi_json_key(&j, &key));
    assert_int_equal(gsi_json_end(&j), GS_EINVALID);
    j = of("[1]");
    assert_true(gsi_json_array(&j));
    assert_int_equal(gsi_json_end(&j), GS_EINVALID); /* left unread */
    j = of("[1,2]");
    assert_true(gsi_json_array(&j));
    assert_true(gsi_json_item(&j));
    assert_int_equal(gsi_json_int(&j, 0, 9), 1);
    assert_int_equal(gsi_json_int(&j, 0, 9), 0); /* read twice */
    assert_int_equal(gsi_json_end(&j), GS_EINVALID);
}

static void base64_is_strict_and_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {{"\"\"", ""},        {"\"Zg==\"", "f"},        {"\"Zm8=\"", "fo"},
                {"\"Zm9v\"", "foo"}, {"\"Zm9vYg==\"", "foob"}, {"\"+\\/+\\/\"", "\xfb\xff\xbf"}};
    uint8_t out[4];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json j = of(rows[i].text);
        assert_int_equal(gsi_json_base64(&j, out, sizeof out), strlen(rows[i].want));
        assert_memory_equal(out, rows[i].want, strlen(rows[i].want));
        assert_int_equal(gsi_json_end(&j), 0);
    }
    static const char *const bad[] = {"\"Z\"",    "\"Zg\"",   "\"Zg=\"",     "\"Zg===\"",      "\"Zh==\"",     "\"Zm9=\"",
                                      "\"Z===\"", "\"=\"",    "\"====\"",    "\"Zg==Zg==\"",   "\"Zm9vYmE=\"", "\"Zm 9\"",
                                      "\"Zm-_\"", "\"Zg=a\"", "\"Zm9v\\n\"", "\"\xc3\xa9==\"", "\"\\u005\"",   "7"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct json j = of(bad[i]);
        (void)gsi_json_base64(&j, out, sizeof out);
        if (gsi_json_end(&j) != GS_EINVALID)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void times_are_those_of_rfc_3339(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s;
        uint32_t ns;
    } rows[] = {
        {"2020-08-03T00:00:00Z", 1596412800, 0},
        {"2026-11-21T08:15:30.123456789Z", 1795248930, 123456789},
        {"2026-11-21T08:15:30.5+02:30", 1795239930, 500000000},
        {"2026-11-21T08:15:30-00:30", 1795250730, 0},
        {"2000-02-29T23:59:59Z", 951868799, 0},
        {"1969-12-31T23:59:59Z", -1, 0},
        {"1970-01-01T00:00:00Z", 0, 1},
        {"0001-01-01T00:00:00Z", 0, 0},
        {"9999-12-31T23:59:59.999999999Z", INT64_C(253402300799), 999999999},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_time t;
        assert_true(gsi_json_time_parse(rows[i].text, strlen(rows[i].text), &t));
        assert_int_equal(t.s, rows[i].s);
        assert_int_equal(t.ns, rows[i].ns);
        for (size_t n = 0; n < strlen(rows[i].text); n++)
            assert_false(gsi_json_time_parse(rows[i].text, n, &t));
    }
    static const char *const bad[] = {"2026-11-21 08:15:30Z",      "2026-11-21t08:15:30Z",      "2026-11-21T08:15:30z",
                                      "2026-13-01T00:00:00Z",      "2026-00-01T00:00:00Z",      "2026-02-29T00:00:00Z",
                                      "1900-02-29T00:00:00Z",      "2026-04-31T00:00:00Z",      "2026-01-00T00:00:00Z",
                                      "2026-01-01T24:00:00Z",      "2026-01-01T00:60:00Z",      "2026-01-01T00:00:60Z",
                                      "0000-01-01T00:00:00Z",      "2026-01-01T00:00:00.Z",     "2026-01-01T00:00:00.1234567890Z",
                                      "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60", "2026-01-01T00:00:00+0000",
                                      "2026-01-01T00:00:00",       "2026-1-01T00:00:00Z",       "+026-01-01T00:00:00Z",
                                      "2026-01-01T00:00:00ZZ",     "2026-01-01T-1:00:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct json_time t;
        if (gsi_json_time_parse(bad[i], strlen(bad[i]), &t))
            fail_msg("accepted: %s", bad[i]);
    }
}

static void names_that_are_numbers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
        bool good;
    } rows[] = {{"1", 1, true}, {"-5", -5, true}, {"9223372036854775807", INT64_MAX, true}, {"9223372036854775808", 0, false}, {"", 0, false},
                {" 1", 0, false}, {"1 ", 0, false}, {"01", 0, false}, {"1.0", 0, false}, {"1e1", 0, false}, {"null", 0, false}, {"+1", 0, false}, {"-", 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_text t = {.p = rows[i].text, .n = strlen(rows[i].text)};
        int64_t v;
        if (gsi_json_text_int(&t, &v) != rows[i].good || (rows[i].good && v != rows[i].want))
            fail_msg("%s", rows[i].text);
    }
}

/* ---- writer ---- */

static void the_writer_writes_what_the_protocol_wants(void **state)
{
    (void)state;
    char out[512];
    struct json_out o = gsi_json_out_of(out, sizeof out);
    gsi_json_put_object(&o, NULL);
    gsi_json_put_int(&o, "Version", INT64_MIN);
    gsi_json_put_string(&o, "s", "q\"b\\n\n\x01\x7f\xc3\xa9/");
    gsi_json_put_array(&o, "a");
    gsi_json_put_bool(&o, NULL, true);
    gsi_json_put_null(&o, NULL);
    gsi_json_put_object(&o, NULL);
    gsi_json_put_close(&o);
    gsi_json_put_close(&o);
    gsi_json_put_seconds(&o, "l", 1234000);
    gsi_json_put_seconds(&o, "m", UINT64_C(7000000000));
    gsi_json_put_time(&o, "z", (struct json_time){0, 0});
    gsi_json_put_time(&o, "t", (struct json_time){1795248930, 120000000});
    gsi_json_put_base64(&o, "b", "foob", 4);
    gsi_json_put_raw(&o, "r", "[1]", 3);
    gsi_json_put_close(&o);
    static const char want[] = "{\"Version\":-9223372036854775808,\"s\":\"q\\\"b\\\\n\\n\\u0001\\u007f\xc3\xa9/\",\"a\":[true,null,{}],\"l\":0.001234,\"m\":7,"
                               "\"z\":\"0001-01-01T00:00:00Z\",\"t\":\"2026-11-21T08:15:30.12Z\",\"b\":\"Zm9vYg==\",\"r\":[1]}";
    assert_int_equal(gsi_json_out_end(&o), sizeof want - 1);
    assert_memory_equal(out, want, sizeof want - 1);
}

static void a_buffer_that_is_too_small_is_told_at_every_size(void **state)
{
    (void)state;
    for (size_t cap = 0; cap <= 20; cap++) {
        char *out = malloc(cap + 1);
        struct json_out o = gsi_json_out_of(out, cap);
        gsi_json_put_object(&o, NULL);
        gsi_json_put_string(&o, "a", "b\n");
        gsi_json_put_int(&o, "c", 12);
        gsi_json_put_close(&o);
        assert_int_equal(gsi_json_out_end(&o), cap < 18 ? -ENOBUFS : 18);
        free(out);
    }
}

static void wrong_texts_and_wrong_nesting_are_refused(void **state)
{
    (void)state;
    char out[256];
    for (int i = 0; i < 8; i++) {
        struct json_out o = gsi_json_out_of(out, sizeof out);
        switch (i) {
        case 0: gsi_json_put_string(&o, NULL, "\xff"); break;
        case 1: gsi_json_put_object(&o, NULL); break;
        case 2: gsi_json_put_close(&o); break;
        case 3: gsi_json_put_int(&o, "key", 1); break;
        case 4:
            gsi_json_put_object(&o, NULL);
            gsi_json_put_int(&o, NULL, 1);
            gsi_json_put_close(&o);
            break;
        case 5:
            gsi_json_put_int(&o, NULL, 1);
            gsi_json_put_int(&o, NULL, 1);
            break;
        case 6: break;
        case 7:
            for (int d = 0; d <= JSON_DEPTH; d++)
                gsi_json_put_array(&o, NULL);
            for (int d = 0; d <= JSON_DEPTH; d++)
                gsi_json_put_close(&o);
            break;
        }
        assert_int_equal(gsi_json_out_end(&o), GS_EINVALID);
    }
}

/* xorshift: the same values in every run */
static uint64_t roll(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void every_time_and_every_number_is_read_back(void **state)
{
    (void)state;
    uint64_t s = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        char out[256];
        struct json_time t = {(int64_t)(roll(&s) % 315537897599u) - 62135596799, (uint32_t)(roll(&s) % 1000000000u)};
        int64_t number = (int64_t)(roll(&s) >> (roll(&s) % 64)) * (i % 2 ? 1 : -1);
        uint8_t bytes[8], back[8];
        size_t n = roll(&s) % 9;
        for (size_t k = 0; k < 8; k++)
            bytes[k] = (uint8_t)roll(&s);
        struct json_out o = gsi_json_out_of(out, sizeof out);
        gsi_json_put_array(&o, NULL);
        gsi_json_put_time(&o, NULL, t);
        gsi_json_put_int(&o, NULL, number);
        gsi_json_put_base64(&o, NULL, bytes, n);
        gsi_json_put_close(&o);
        ssize_t size = gsi_json_out_end(&o);
        assert_true(size > 0);
        struct json j = gsi_json_of(out, (size_t)size);
        assert_true(gsi_json_array(&j) && gsi_json_item(&j));
        struct json_time r = gsi_json_time(&j);
        assert_int_equal(r.s, t.s);
        assert_int_equal(r.ns, t.ns);
        assert_true(gsi_json_item(&j));
        assert_int_equal(gsi_json_int(&j, INT64_MIN, INT64_MAX), number);
        assert_true(gsi_json_item(&j));
        assert_int_equal(gsi_json_base64(&j, back, sizeof back), n);
        assert_memory_equal(back, bytes, n);
        assert_false(gsi_json_item(&j));
        assert_int_equal(gsi_json_end(&j), 0);
    }
}

static void every_character_is_read_back(void **state)
{
    (void)state;
    for (uint32_t c = 1; c < 0x110000; c += c < 0x3000 || (c > 0xd000 && c < 0x10100) ? 1 : 61) {
        if (c >= 0xd800 && c < 0xe000)
            continue;
        char text[32], plain[8], out[32], back[8];
        int n = c < 0x10000 ? snprintf(text, sizeof text, "\"\\u%04x\"", c)
                            : snprintf(text, sizeof text, "\"\\u%04X\\u%04x\"", 0xd7c0 + (c >> 10), 0xdc00 | (c & 0x3ff));
        struct json j = gsi_json_of(text, (size_t)n);
        size_t len = gsi_json_string(&j, plain, sizeof plain);
        assert_true(len > 0);
        struct json_out o = gsi_json_out_of(out, sizeof out);
        gsi_json_put_text(&o, NULL, plain, len);
        ssize_t size = gsi_json_out_end(&o);
        assert_true(size > 0);
        j = gsi_json_of(out, (size_t)size);
        assert_int_equal(gsi_json_string(&j, back, sizeof back), len);
        assert_int_equal(gsi_json_end(&j), 0);
        assert_memory_equal(plain, back, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_rfc_allows_is_accepted),
        cmocka_unit_test(what_the_rfc_forbids_is_refused),
        cmocka_unit_test(thirty_two_levels_are_read_and_one_more_is_not),
        cmocka_unit_test(a_message_cut_at_any_byte_is_refused),
        cmocka_unit_test(whole_numbers_are_exact_up_to_64_bits),
        cmocka_unit_test(numbers_keep_fifteen_digits),
        cmocka_unit_test(strings_are_unescaped_and_bounded),
        cmocka_unit_test(a_view_borrows_where_it_can),
        cmocka_unit_test(members_come_in_any_order_and_others_are_skipped),
        cmocka_unit_test(a_known_member_that_comes_twice_is_an_error),
        cmocka_unit_test(null_is_nothing_and_can_be_told_from_absent),
        cmocka_unit_test(wrong_kinds_and_wrong_order_are_errors_that_stay),
        cmocka_unit_test(base64_is_strict_and_bounded),
        cmocka_unit_test(times_are_those_of_rfc_3339),
        cmocka_unit_test(names_that_are_numbers_are_read),
        cmocka_unit_test(the_writer_writes_what_the_protocol_wants),
        cmocka_unit_test(a_buffer_that_is_too_small_is_told_at_every_size),
        cmocka_unit_test(wrong_texts_and_wrong_nesting_are_refused),
        cmocka_unit_test(every_time_and_every_number_is_read_back),
        cmocka_unit_test(every_character_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
