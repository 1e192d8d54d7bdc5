/* A receive from one stream ends when another thread closes the stream, in whatever moment that comes.
 * runner: tsan */
#include <gensock/stream.h>
#include <pthread.h>
#include <stdatomic.h>

#include "support.h"

static gs_mailbox mb;
static _Atomic uint64_t wanted; /* the stream of this round */
static _Atomic int answer;      /* 1: none yet */
static _Atomic bool stop;

static void *receive_all(void *unused)
{
    (void)unused;
    for (uint64_t last = 0; !atomic_load(&stop);) {
        gs_stream s = {atomic_load(&wanted)};
        gs_msg m;
        if (s.id == last)
            continue;
        last = s.id;
        atomic_store(&answer, gs_receive_from(mb, s, &m, GS_INFINITY));
    }
    return NULL;
}

static void a_close_in_any_moment_ends_the_receive(void **state)
{
    (void)state;
    pthread_t t;
    struct rng r = {test_seed()};
    assert_ok(gs_mailbox_new(&mb));
    assert_int_equal(pthread_create(&t, NULL, receive_all, NULL), 0);
    for (long i = 0; i < test_scale(4000, 40000); i++) {
        gs_stream s;
        assert_ok(gs_stream_listen(&s, "mem://closes", NULL, mb));
        atomic_store(&answer, 1);
        atomic_store(&wanted, s.id);
        for (volatile uint64_t spin = rng_below(&r, 3000); spin; spin--)
            ;
        assert_ok(gs_stream_close(s));
        if (!wait_until(atomic_load(&answer) != 1, 5000))
            fail_msg("round %ld: it waits for a stream that is closed", i);
        assert_int_equal(atomic_load(&answer), GS_ECLOSED);
    }
    atomic_store(&stop, true);
    pthread_join(t, NULL);
    assert_ok(gs_mailbox_free(mb));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_close_in_any_moment_ends_the_receive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
