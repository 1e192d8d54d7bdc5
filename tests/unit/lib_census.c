/* The census sees a leaked descriptor, thread and block, and no more than these. Runs alone: it counts descriptors.
 * runner: serial, tsan */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/seam.h"
#include "census.h"
#include "support.h"

static void nothing_changed_is_equal(void **state)
{
    (void)state;
    struct census before;
    census_take(&before);
    void *p = gsi_alloc(100);
    p = gsi_realloc(p, 5000);
    gsi_free(p);
    gsi_free(NULL);
    census_assert(&before);
}

static void a_leaked_block_is_caught(void **state)
{
    (void)state;
    char why[300];
    struct census before;
    census_take(&before);
    void *p = gsi_zalloc(100);
    assert_false(census_equal(&before, 0, why, sizeof why));
    assert_non_null(strstr(why, "blocks"));
    gsi_free(p);
    census_assert(&before);
}

static void realloc_moves_one_block(void **state)
{
    (void)state;
    struct census before, after;
    census_take(&before);
    void *p = gsi_realloc(NULL, 10);
    p = gsi_realloc(p, 100000);
    census_take(&after);
    assert_int_equal(after.blocks, before.blocks + 1);
    assert_true(after.bytes >= before.bytes + 100000);
    gsi_free(p);
    census_assert(&before);
}

static void a_leaked_descriptor_is_caught_and_named(void **state)
{
    (void)state;
    char why[2000];
    struct census before;
    census_take(&before);
    int fd = open("/dev/null", O_RDONLY);
    assert_false(census_equal(&before, 0, why, sizeof why));
    assert_non_null(strstr(why, "/dev/null"));
    close(fd);
    census_assert(&before);
}

static void *wait_for(void *flag)
{
    while (!atomic_load((_Atomic int *)flag))
        pause_1ms();
    return NULL;
}

static void a_leaked_thread_is_caught(void **state)
{
    (void)state;
    _Atomic int end = 0;
    pthread_t t;
    struct census before;
    census_take(&before);
    assert_int_equal(gsi_sys.thread_create(&t, wait_for, &end), 0);
    assert_false(census_equal(&before, 0, NULL, 0));
    atomic_store(&end, 1);
    pthread_join(t, NULL);
    census_assert(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed_is_equal),
        cmocka_unit_test(a_leaked_block_is_caught),
        cmocka_unit_test(realloc_moves_one_block),
        cmocka_unit_test(a_leaked_descriptor_is_caught_and_named),
        cmocka_unit_test(a_leaked_thread_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
