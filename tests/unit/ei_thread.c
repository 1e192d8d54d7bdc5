/* What a thread tells and is told beside ei's own calls. */
#include <gensock/ei.h>
#include <pthread.h>
#include <string.h>

#include "ei/bridge.h"
#include "support.h"

static void the_next_address_is_taken_once(void **state)
{
    (void)state;
    char got[GS_EI_ADDRESS_MAX];
    assert_ok(gs_ei_next("tls://a:1"));
    gsi_ei_take_next(got);
    assert_string_equal(got, "tls://a:1");
    gsi_ei_take_next(got);
    assert_string_equal(got, "");
}

static void the_next_address_can_be_taken_back(void **state)
{
    (void)state;
    char got[GS_EI_ADDRESS_MAX];
    assert_ok(gs_ei_next("tls://a:1"));
    assert_ok(gs_ei_next(NULL));
    gsi_ei_take_next(got);
    assert_string_equal(got, "");
}

static void the_longest_address_fits_and_a_longer_one_changes_nothing(void **state)
{
    (void)state;
    char longest[GS_EI_ADDRESS_MAX + 1], got[GS_EI_ADDRESS_MAX];
    memset(longest, 'x', sizeof longest);
    longest[GS_EI_ADDRESS_MAX] = '\0';
    assert_ok(gs_ei_next("unix:///s"));
    assert_code(gs_ei_next(longest), GS_EFORMAT);
    assert_code(gs_ei_next(""), GS_EFORMAT);
    gsi_ei_take_next(got);
    assert_string_equal(got, "unix:///s");
    longest[GS_EI_ADDRESS_MAX - 1] = '\0';
    assert_ok(gs_ei_next(longest));
    gsi_ei_take_next(got);
    assert_string_equal(got, longest);
}

static void *other_thread(void *arg)
{
    gsi_ei_take_next(arg);
    (void)gsi_ei_failed(-EPERM);
    return NULL;
}

static void threads_have_nothing_to_do_with_each_other(void **state)
{
    (void)state;
    char theirs[GS_EI_ADDRESS_MAX] = "?", ours[GS_EI_ADDRESS_MAX];
    pthread_t t;
    assert_ok(gs_ei_next("unix:///s"));
    assert_int_equal(gsi_ei_failed(GS_ECLOSED), ECONNRESET);
    assert_int_equal(pthread_create(&t, NULL, other_thread, theirs), 0);
    pthread_join(t, NULL);
    assert_string_equal(theirs, "");
    gsi_ei_take_next(ours);
    assert_string_equal(ours, "unix:///s");
    assert_int_equal(gs_ei_error(), GS_ECLOSED);
}

static void every_code_has_an_errno_and_is_kept(void **state)
{
    (void)state;
    static const int codes[] = {
#define CODE(code, value, atom, text) GS_##code,
        GS_ERRORS(CODE)
#undef CODE
        -EPIPE, -ENOMEM, -ECONNREFUSED, -ETIMEDOUT};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        int e = gsi_ei_failed(codes[i]);
        assert_in_range(e, 1, 4095);
        assert_int_equal(gs_ei_error(), codes[i]);
    }
    assert_int_equal(gsi_ei_failed(GS_ETIMEOUT), ETIMEDOUT);
    assert_int_equal(gsi_ei_failed(-EPIPE), EPIPE);
    assert_ok(gs_ei_next(NULL));
    assert_int_equal(gs_ei_error(), -EPIPE);
    assert_ok(gs_ei_next("mem://x"));
    assert_int_equal(gs_ei_error(), 0);
    assert_ok(gs_ei_next(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_address_is_taken_once),
        cmocka_unit_test(the_next_address_can_be_taken_back),
        cmocka_unit_test(the_longest_address_fits_and_a_longer_one_changes_nothing),
        cmocka_unit_test(threads_have_nothing_to_do_with_each_other),
        cmocka_unit_test(every_code_has_an_errno_and_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
