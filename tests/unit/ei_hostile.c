/* A careless caller of each public call of ei.h gets an answer, never a crash (promise P7). */
#include <gensock/ei.h>

#include "hostile.h"

HOSTILE(gs_ei_next)
{
    (void)state;
    assert_ok(gs_ei_next(NULL));
    assert_code(gs_ei_next(""), GS_EFORMAT);
}

HOSTILE(gs_ei_error)
{
    (void)state;
    assert_ok(gs_ei_next(NULL));
    assert_int_equal(gs_ei_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {ROW(gs_ei_next), ROW(gs_ei_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
