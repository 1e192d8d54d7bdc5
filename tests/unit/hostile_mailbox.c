/* A careless caller of each public mailbox call gets an answer, never a crash (promise P7). */
#include <errno.h>
#include <gensock/stream.h>
#include <limits.h>
#include <string.h>

#include "hostile.h"

/* No mailbox, one that was freed, a stream, numbers. */
enum { BAD = 6 };
static gs_mailbox good, bad[BAD];
static gs_stream listener;
static int answer[BAD];

static int make_bad(void **state)
{
    (void)state;
    gs_mailbox gone;
    assert_ok(gs_mailbox_new(&good));
    assert_ok(gs_mailbox_new(&gone));
    assert_ok(gs_mailbox_free(gone));
    assert_ok(gs_stream_listen(&listener, "mem://hostile", NULL, GS_NO_MAILBOX));
    const gs_mailbox all[BAD] = {{0}, gone, {listener.id}, {UINT64_MAX}, {good.id + 1}, {good.id + (UINT64_C(5) << 32)}};
    memcpy(bad, all, sizeof bad);
    for (int i = 0; i < BAD; i++)
        answer[i] = i == 1 ? GS_ECLOSED : GS_EBADARG;
    return 0;
}

static int drop_bad(void **state)
{
    (void)state;
    assert_ok(gs_stream_close(listener));
    return gs_mailbox_free(good);
}

/* A slot that was issued once answers closed, one that never was badarg: both are right for a made-up number. */
#define EACH_BAD(call)                                                                                                \
    for (int i = 0; i < BAD; i++) {                                                                                   \
        gs_mailbox mb = bad[i];                                                                                       \
        int e = (call);                                                                                               \
        assert_true(i < 4 ? e == answer[i] : e == GS_EBADARG || e == GS_ECLOSED);                                     \
    }

HOSTILE(gs_mailbox_new)
{
    (void)state;
    assert_code(gs_mailbox_new(NULL), GS_EBADARG);
}

HOSTILE(gs_mailbox_free)
{
    (void)state;
    EACH_BAD(gs_mailbox_free(mb));
}

HOSTILE(gs_mailbox_fd)
{
    (void)state;
    EACH_BAD(gs_mailbox_fd(mb));
}

HOSTILE(gs_mailbox_set_limit)
{
    (void)state;
    EACH_BAD(gs_mailbox_set_limit(mb, 1));
    assert_ok(gs_mailbox_set_limit(good, SIZE_MAX));
    assert_ok(gs_mailbox_set_limit(good, 0));
}

HOSTILE(gs_receive)
{
    (void)state;
    gs_msg m;
    EACH_BAD(gs_receive(mb, &m, 0));
    assert_code(gs_receive(good, NULL, 0), GS_EBADARG);
    assert_code(gs_receive(good, &m, -3), GS_EBADARG);
    assert_code(gs_receive(good, &m, INT_MIN), GS_EBADARG);
    assert_code(gs_receive(good, &m, GS_NOWAIT), GS_ETIMEOUT);
}

HOSTILE(gs_receive_from)
{
    (void)state;
    gs_msg m;
    EACH_BAD(gs_receive_from(mb, listener, &m, 0));
    assert_code(gs_receive_from(good, listener, &m, 0), GS_ENOTOWNER);
    assert_code(gs_receive_from(good, GS_NO_STREAM, &m, 0), GS_EBADARG);
    assert_code(gs_receive_from(good, (gs_stream){good.id}, &m, 0), GS_EBADARG);
    assert_code(gs_receive_from(good, (gs_stream){UINT64_MAX}, &m, 0), GS_EBADARG);
    assert_code(gs_receive_from(good, listener, NULL, 0), GS_EBADARG);
}

HOSTILE(gs_receive_ref)
{
    (void)state;
    gs_msg m;
    EACH_BAD(gs_receive_ref(mb, 1, &m, 0));
    assert_code(gs_receive_ref(good, 0, &m, 0), GS_EBADARG);
    assert_code(gs_receive_ref(good, UINT64_MAX, &m, 0), GS_ETIMEOUT);
    assert_code(gs_receive_ref(good, 1, NULL, 0), GS_EBADARG);
}

HOSTILE(gs_msg_keep)
{
    (void)state;
    gs_msg m = {.kind = GS_MSG_POST}, kept;
    assert_code(gs_msg_keep(NULL, &kept), GS_EBADARG);
    assert_code(gs_msg_keep(&m, NULL), GS_EBADARG);
    assert_ok(gs_msg_keep(&m, &kept)); /* empty */
    gs_msg_drop(&kept);
}

HOSTILE(gs_msg_drop)
{
    (void)state;
    gs_msg none = {0};
    gs_msg_drop(NULL);
    gs_msg_drop(&none);
    gs_msg_drop(&none);
}

HOSTILE(gs_post)
{
    (void)state;
    gs_msg m;
    EACH_BAD(gs_post(mb, 1, "x", 1));
    assert_code(gs_post(good, 1, NULL, 1), GS_EBADARG);
    assert_code(gs_post(good, 1, "x", SIZE_MAX), -ENOMEM);
    assert_ok(gs_post(good, 1, NULL, 0));
    assert_ok(gs_receive(good, &m, 1000));
    assert_int_equal(m.post.body.n, 0);
}

HOSTILE(gs_post_event)
{
    (void)state;
    gs_msg m;
    EACH_BAD(gs_post_event(mb, 1, 2, "x", 1));
    assert_code(gs_post_event(good, 1, 2, NULL, 1), GS_EBADARG);
    assert_code(gs_post_event(good, 1, 2, "x", SIZE_MAX), -ENOMEM);
    assert_ok(gs_post_event(good, 1, 2, "x", 1));
    assert_ok(gs_receive(good, &m, 1000));
    assert_int_equal(m.kind, GS_MSG_TAILNET);
    assert_int_equal(m.post.tag, 1);
    assert_int_equal(m.ref, 2);
    assert_int_equal(m.post.body.p[0], 'x');
}

static int freed;
static void count_free(void *p)
{
    (void)p;
    freed++;
}

HOSTILE(gs_post_take)
{
    (void)state;
    char byte;
    freed = 0;
    EACH_BAD(gs_post_take(mb, 1, &byte, 1, count_free));
    assert_int_equal(freed, BAD);
    assert_code(gs_post_take(good, 1, NULL, 1, count_free), GS_EBADARG);
    assert_int_equal(freed, BAD + 1);
    EACH_BAD(gs_post_take(mb, 1, &byte, 1, NULL));
}

HOSTILE(gs_timer_start)
{
    (void)state;
    uint64_t ref;
    EACH_BAD(gs_timer_start(mb, 1, NULL, &ref));
    assert_code(gs_timer_start(good, 1, NULL, NULL), GS_EBADARG);
    assert_code(gs_timer_start(good, -1, NULL, &ref), GS_EBADARG);
    assert_ok(gs_timer_start(good, INT_MAX, NULL, &ref));
    assert_true(gs_timer_cancel(good, ref) > 0);
}

HOSTILE(gs_timer_cancel)
{
    (void)state;
    EACH_BAD(gs_timer_cancel(mb, 1));
    assert_code(gs_timer_cancel(good, 0), GS_EINVALID);
    assert_code(gs_timer_cancel(good, UINT64_MAX), GS_EINVALID);
    assert_code(gs_timer_cancel(good, good.id), GS_EINVALID);
}

HOSTILE(gs_make_ref)
{
    (void)state;
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t ref = gs_make_ref();
        assert_true(ref && ref != last && ref != good.id);
        last = ref;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_mailbox_new), ROW(gs_mailbox_free), ROW(gs_mailbox_fd),   ROW(gs_mailbox_set_limit), ROW(gs_receive),
        ROW(gs_receive_from), ROW(gs_receive_ref), ROW(gs_msg_keep),     ROW(gs_msg_drop),          ROW(gs_post),
        ROW(gs_post_take),   ROW(gs_post_event),   ROW(gs_timer_start),  ROW(gs_timer_cancel), ROW(gs_make_ref)};
    return cmocka_run_group_tests(tests, make_bad, drop_bad);
}
