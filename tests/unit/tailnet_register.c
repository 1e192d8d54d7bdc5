/* The scheme tailnet is registered by whatever start comes first, and found by every later one. */
#include "support.h"
#include "tailnet/transport/transport.h"

static void every_start_finds_the_scheme_registered(void **state)
{
    (void)state;
    assert_ok(gsi_tailnet_register());
    const struct gs_transport *first = gs_transport_find("tailnet");
    assert_non_null(first);
    assert_ok(gsi_tailnet_register());
    assert_ptr_equal(gs_transport_find("tailnet"), first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_start_finds_the_scheme_registered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
