/* A careless caller of each public call of tls.h gets an answer, never a crash (promise P7). */
#include <gensock/tls.h>

#include "hostile.h"

HOSTILE(gs_tls_register)
{
    (void)state;
    assert_ok(gs_tls_register());
    assert_ok(gs_tls_register()); /* again is no error */
}

HOSTILE(gs_tls_reload)
{
    (void)state;
    assert_ok(gs_tls_reload()); /* nothing is in use */
}

int main(void)
{
    const struct CMUnitTest tests[] = {ROW(gs_tls_register), ROW(gs_tls_reload)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
