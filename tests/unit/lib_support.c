/* The small helpers: patterns, hashes, temporary folders, children, deadline waits. */
#include <string.h>
#include <sys/stat.h>

#include "support.h"

static void a_pattern_is_the_same_however_it_is_cut(void **state)
{
    (void)state;
    uint8_t whole[300], parts[300];
    pattern_fill(whole, 300, 5, 1000);
    pattern_fill(parts, 7, 5, 1000);
    pattern_fill(parts + 7, 293, 5, 1007);
    assert_memory_equal(whole, parts, 300);
    parts[100] ^= 1;
    assert_int_equal(pattern_check(parts, 300, 5, 1000), 100);
    assert_int_equal(pattern_check(whole, 300, 6, 1000) < 300, 1);
}

static void a_hash_sees_cuts_not_but_order(void **state)
{
    (void)state;
    struct stream_hash a = {0}, b = {0}, c = {0};
    hash_feed(&a, "abcdef", 6);
    hash_feed(&b, "abc", 3);
    hash_feed(&b, "def", 3);
    hash_feed(&c, "abcdfe", 6);
    assert_true(hash_equal(&a, &b));
    assert_false(hash_equal(&a, &c));
}

static void a_wait_ends_when_it_holds_or_is_over(void **state)
{
    (void)state;
    int n = 0;
    assert_true(wait_until(++n == 3, 5000));
    uint64_t began = real_ms();
    assert_false(wait_until(false, 10));
    assert_true(real_ms() - began >= 10);
}

static void a_temporary_folder_is_private(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat(temp_dir(), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_true(strlen(temp_path("a-socket")) < 108);
}

static void a_child_tells_its_output_and_code(void **state)
{
    (void)state;
    char out[200];
    const char *const argv[] = {"sh", "-c", "echo one; echo two; exit 3", NULL};
    struct child c = child_start(argv);
    assert_true(child_expect(&c, "one", 5000, out, sizeof out));
    assert_true(child_expect(&c, NULL, 5000, out, sizeof out));
    assert_string_equal(out, "two\n");
    assert_int_equal(child_wait(&c, 5000), 3);
}

static void a_child_that_stays_is_stopped(void **state)
{
    (void)state;
    char out[50];
    const char *const argv[] = {"sleep", "1000", NULL};
    struct child c = child_start(argv);
    assert_int_equal(child_wait(&c, 5), -1);
    assert_false(child_expect(&c, "never", 5, out, sizeof out));
    child_stop(&c);
    assert_int_equal(c.pid, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_is_the_same_however_it_is_cut),
        cmocka_unit_test(a_hash_sees_cuts_not_but_order),
        cmocka_unit_test(a_wait_ends_when_it_holds_or_is_over),
        cmocka_unit_test(a_temporary_folder_is_private),
        cmocka_unit_test(a_child_tells_its_output_and_code),
        cmocka_unit_test(a_child_that_stays_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
