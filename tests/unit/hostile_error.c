/* A careless caller of each public call of error.h gets an answer, never a crash (promise P7). */
#include <errno.h>
#include <gensock/error.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "hostile.h"

static const int codes[] = {0, 1, INT_MAX, INT_MIN, -1, -4095, -999, -1000, GS_ECLOSED, -1999, -1101};
enum { CODES = sizeof codes / sizeof *codes };

HOSTILE(gs_error_name)
{
    (void)state;
    for (int i = 0; i < CODES; i++)
        assert_true(*gs_error_name(codes[i]));
    assert_string_equal(gs_error_name(INT_MIN), "unknown");
    assert_string_equal(gs_error_name(INT_MAX), "ok");
    assert_string_equal(gs_error_name(-ENOTSUP), "enotsup"); /* Erlang's; glibc calls it EOPNOTSUPP */
}

HOSTILE(gs_error_text)
{
    (void)state;
    for (int i = 0; i < CODES; i++)
        assert_true(*gs_error_text(codes[i]));
}

HOSTILE(gs_error_detail)
{
    (void)state;
    for (int i = 0; i < CODES; i++)
        assert_non_null(gs_error_detail(codes[i]));
}

HOSTILE(gs_error_code)
{
    (void)state;
    assert_int_equal(gs_error_code(NULL), 0);
    assert_int_equal(gs_error_code(""), 0);
    assert_int_equal(gs_error_code("no such atom, and a long one at that: no such atom, and a long one at that"), 0);
    assert_int_equal(gs_error_code(gs_error_name(GS_ECLOSED)), GS_ECLOSED);
    assert_int_equal(gs_error_code("enotsup"), -ENOTSUP);
    assert_int_equal(gs_error_code("eopnotsupp"), -EOPNOTSUPP);
    for (int e = 1; e < 200; e++)
        assert_true(!strcmp(gs_error_name(-e), "unknown") || gs_error_code(gs_error_name(-e)) == -e);
}

HOSTILE(gs_error_is_transient)
{
    (void)state;
    for (int i = 0; i < CODES; i++)
        assert_false(gs_error_is_transient(codes[i]) && codes[i] >= 0);
    assert_false(gs_error_is_transient(GS_ECLOSED));
}

HOSTILE(gs_fail)
{
    (void)state;
    char much[2000];
    memset(much, 'x', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    const char *none = NULL; /* GCC sees a literal */
    assert_int_equal(gs_fail(-EINVAL, none), -EINVAL);
    assert_int_equal(gs_fail(GS_EALERT, "%s", much), GS_EALERT);
    assert_true(strlen(gs_error_detail(GS_EALERT)) > 100 && strlen(gs_error_detail(GS_EALERT)) < sizeof much);
    assert_int_equal(gs_fail(0, "success has none"), 0);
}

HOSTILE(gs_free)
{
    (void)state;
    gs_free(NULL);
}

HOSTILE(gs_set_allocator)
{
    (void)state;
    assert_code(gs_set_allocator(NULL, realloc, free), -EINVAL);
    assert_code(gs_set_allocator(malloc, NULL, free), -EINVAL);
    assert_code(gs_set_allocator(malloc, realloc, NULL), -EINVAL);
}

HOSTILE(gs_version)
{
    (void)state;
    assert_true(strlen(gs_version()) >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {ROW(gs_error_name), ROW(gs_error_text),         ROW(gs_error_detail),
                                       ROW(gs_error_code), ROW(gs_error_is_transient), ROW(gs_fail),
                                       ROW(gs_free),       ROW(gs_set_allocator),      ROW(gs_version)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
