/* Posts: in order, bounded, and what is handed over is freed exactly once in every outcome. runner: tsan */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "census.h"
#include "fault.h"
#include "gensock/mailbox.h"
#include "support.h"

static gs_mailbox mb;

static int set_up(void **state)
{
    (void)state;
    return gs_mailbox_new(&mb);
}

static int tear_down(void **state)
{
    (void)state;
    fault_stop();
    gs_mailbox_free(mb);
    return 0;
}

static void posts_keep_their_order_and_bytes(void **state)
{
    (void)state;
    char bytes[300];
    gs_msg m;
    for (uint32_t i = 0; i < 300; i++) {
        memset(bytes, (int)i, i);
        assert_ok(gs_post(mb, i, i ? bytes : NULL, i));
    }
    memset(bytes, 0, sizeof bytes); /* it was copied */
    for (uint32_t i = 0; i < 300; i++) {
        assert_ok(gs_receive(mb, &m, 0));
        assert_int_equal(m.kind, GS_MSG_POST);
        assert_int_equal(m.post.tag, i);
        assert_int_equal(m.post.body.n, i);
        for (uint32_t k = 0; k < i; k++)
            assert_int_equal(m.post.body.p[k], (uint8_t)i);
    }
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
}

static void P13_a_mailbox_holds_so_many_posts_and_no_more(void **state)
{
    (void)state;
    gs_msg m;
    assert_ok(gs_mailbox_set_limit(mb, 3));
    for (uint32_t i = 0; i < 3; i++)
        assert_ok(gs_post(mb, i, NULL, 0));
    assert_code(gs_post(mb, 9, NULL, 0), -EAGAIN);
    assert_ok(gs_receive(mb, &m, 0));
    assert_int_equal(m.post.tag, 0);
    assert_ok(gs_post(mb, 3, NULL, 0));
    assert_code(gs_post(mb, 9, NULL, 0), -EAGAIN);
    assert_ok(gs_mailbox_set_limit(mb, 0)); /* none */
    for (uint32_t i = 4; i < 100; i++)
        assert_ok(gs_post(mb, i, NULL, 0));
    for (uint32_t i = 1; i < 100; i++) {
        assert_ok(gs_receive(mb, &m, 0));
        assert_int_equal(m.post.tag, i);
    }
}

static void P13_the_first_limit_is_65536(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++)
        assert_ok(gs_post(mb, i, NULL, 0));
    assert_code(gs_post(mb, 0, NULL, 0), -EAGAIN);
}

/* ---- handed over ---- */

static _Atomic int freed;
static void count_free(void *p)
{
    freed++;
    free(p);
}

static void *block(void)
{
    void *p = malloc(8);
    assert_non_null(p);
    freed = 0;
    return memcpy(p, "handed!", 8);
}

static void what_is_taken_is_freed_when_the_message_is_done(void **state)
{
    (void)state;
    gs_msg m;
    void *p = block();
    assert_ok(gs_post_take(mb, 5, p, 8, count_free));
    assert_int_equal(freed, 0);
    assert_ok(gs_receive(mb, &m, 0));
    assert_ptr_equal(m.post.body.p, p);
    assert_int_equal(freed, 0); /* it is looked at now */
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_int_equal(freed, 1);
}

static void what_is_taken_is_freed_with_the_mailbox(void **state)
{
    (void)state;
    gs_msg m;
    assert_ok(gs_post_take(mb, 5, block(), 8, count_free));
    assert_ok(gs_mailbox_free(mb));
    assert_int_equal(freed, 1);
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_post_take(mb, 5, block(), 8, count_free));
    assert_ok(gs_receive(mb, &m, 0));
    assert_ok(gs_mailbox_free(mb)); /* delivered, and the last */
    assert_int_equal(freed, 1);
}

static void what_is_taken_is_freed_on_every_failure(void **state)
{
    (void)state;
    assert_ok(gs_mailbox_set_limit(mb, 1));
    assert_ok(gs_post(mb, 1, NULL, 0));
    assert_code(gs_post_take(mb, 5, block(), 8, count_free), -EAGAIN);
    assert_int_equal(freed, 1);
    assert_code(gs_post_take(GS_NO_MAILBOX, 5, block(), 8, count_free), GS_EBADARG);
    assert_int_equal(freed, 1);
    void *p = block();
    fault_fail_call(FAULT_malloc, 1, 1, ENOMEM);
    int e = gs_post_take(mb, 5, p, 8, count_free);
    assert_int_equal(fault_stop(), 1);
    assert_code(e, -ENOMEM);
    assert_int_equal(freed, 1);
    assert_ok(gs_mailbox_free(mb));
    assert_code(gs_post_take(mb, 5, block(), 8, count_free), GS_ECLOSED);
    assert_int_equal(freed, 1);
}

static void without_a_free_function_nothing_is_freed(void **state)
{
    (void)state;
    static char text[] = "static";
    gs_msg m;
    assert_ok(gs_post_take(mb, 1, text, 6, NULL));
    assert_ok(gs_receive(mb, &m, 0));
    assert_ptr_equal(m.post.body.p, text);
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_string_equal(text, "static");
}

static void a_kept_post_outlives_the_receive(void **state)
{
    (void)state;
    gs_msg m, kept;
    assert_ok(gs_post(mb, 1, "keep me", 7));
    assert_ok(gs_post(mb, 2, "another", 7));
    assert_ok(gs_receive(mb, &m, 0));
    assert_ok(gs_msg_keep(&m, &kept));
    assert_ok(gs_receive(mb, &m, 0));
    assert_int_equal(kept.post.tag, 1);
    assert_memory_equal(kept.post.body.p, "keep me", 7);
    gs_msg_drop(&kept);
    gs_msg_drop(&kept); /* twice does no harm */
    assert_code(gs_msg_keep(NULL, &kept), GS_EBADARG);
    fault_fail_call(FAULT_malloc, 1, 1, ENOMEM);
    int e = gs_msg_keep(&m, &kept);
    assert_int_equal(fault_stop(), 1);
    assert_code(e, -ENOMEM);
}

static void a_failed_post_leaves_the_mailbox_as_it_was(void **state)
{
    (void)state;
    gs_msg m;
    fault_fail_call(FAULT_malloc, 1, 1, ENOMEM);
    int e = gs_post(mb, 1, "x", 1);
    assert_int_equal(fault_stop(), 1);
    assert_code(e, -ENOMEM);
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_code(gs_post(mb, 1, NULL, 5), GS_EBADARG);
}

/* ---- threads ---- */

enum { POSTERS = 4, EACH = 2000 };

static void *post_many(void *arg)
{
    uint32_t who = (uint32_t)(uintptr_t)arg;
    for (uint32_t i = 0; i < EACH; i++) {
        int e = gs_post(mb, who << 16 | i, &i, sizeof i);
        if (e < 0)
            return (void *)(intptr_t)e;
    }
    return NULL;
}

static void posts_of_many_threads_all_arrive_each_in_order(void **state)
{
    (void)state;
    pthread_t t[POSTERS];
    uint32_t next[POSTERS] = {0};
    for (uintptr_t i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, post_many, (void *)i), 0);
    int wrong = 0, e = 0;
    for (int i = 0; i < POSTERS * EACH && e == 0; i++) {
        gs_msg m;
        e = gs_receive(mb, &m, 10000);
        if (e < 0)
            break;
        uint32_t who = m.post.tag >> 16, n;
        memcpy(&n, m.post.body.p, sizeof n);
        wrong += who >= POSTERS || n != next[who]++ || n != (m.post.tag & 0xffff);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(t[i], NULL);
    assert_ok(e);
    assert_int_equal(wrong, 0);
}

static void *free_later(void *arg)
{
    (void)arg;
    pause_1ms();
    return (void *)(intptr_t)gs_mailbox_free(mb);
}

static void P11_posting_to_a_mailbox_that_ends_is_closed(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        pthread_t t;
        void *answer;
        assert_int_equal(pthread_create(&t, NULL, free_later, NULL), 0);
        int e;
        do
            e = gs_post(mb, 1, "x", 1);
        while (e == 0 || e == -EAGAIN);
        pthread_join(t, &answer);
        assert_code(e, GS_ECLOSED);
        assert_int_equal((intptr_t)answer, 0);
        assert_ok(gs_mailbox_new(&mb));
    }
}

static void a_mailbox_may_end_in_its_own_turn(void **state)
{
    (void)state;
    gs_msg m;
    struct census before;
    assert_ok(gs_mailbox_free(mb));
    census_take(&before);
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_post(mb, 1, "x", 1));
    assert_ok(gs_post(mb, 2, "y", 1));
    assert_ok(gs_receive(mb, &m, 0));
    assert_ok(gs_mailbox_free(mb));
    assert_code(gs_receive(mb, &m, 0), GS_ECLOSED);
    assert_code(gs_mailbox_fd(mb), GS_ECLOSED);
    assert_code(gs_mailbox_set_limit(mb, 1), GS_ECLOSED);
    census_assert(&before);
}

static void references_are_never_used_twice(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t ref = gs_make_ref();
        assert_true(ref != 0 && ref != last);
        last = ref;
    }
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void asking_for_the_descriptor_again_makes_nothing_to_do(void **state)
{
    (void)state;
    gs_msg m;
    assert_ok(gs_post(mb, 1, "x", 1));
    int fd = (int)assert_ok(gs_mailbox_fd(mb));
    assert_true(readable(fd)); /* what was there before */
    assert_ok(gs_receive(mb, &m, 0));
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_false(readable(fd));
    assert_int_equal(assert_ok(gs_mailbox_fd(mb)), fd);
    assert_false(readable(fd));
    assert_ok(gs_post(mb, 2, "y", 1));
    assert_true(readable(fd));
    assert_ok(gs_receive(mb, &m, 0));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(posts_keep_their_order_and_bytes),
        TEST(P13_a_mailbox_holds_so_many_posts_and_no_more),
        TEST(P13_the_first_limit_is_65536),
        TEST(what_is_taken_is_freed_when_the_message_is_done),
        TEST(what_is_taken_is_freed_with_the_mailbox),
        TEST(what_is_taken_is_freed_on_every_failure),
        TEST(without_a_free_function_nothing_is_freed),
        TEST(a_kept_post_outlives_the_receive),
        TEST(a_failed_post_leaves_the_mailbox_as_it_was),
        TEST(posts_of_many_threads_all_arrive_each_in_order),
        TEST(P11_posting_to_a_mailbox_that_ends_is_closed),
        TEST(a_mailbox_may_end_in_its_own_turn),
        TEST(references_are_never_used_twice),
        TEST(asking_for_the_descriptor_again_makes_nothing_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
