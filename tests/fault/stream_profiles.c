/* A representative echo on each transport under each fault profile: what the kernel is allowed to do (short, interrupted, not
 * now) changes nothing; where something is missing or gone calls answer a code, and the next healthy echo works. */
#include "stream_fault.h"

/* Where all must work the machine may be slow; where much fails nothing is waited for long. */
static int patient_ms = 5000;
#undef WAIT_MS
#define WAIT_MS patient_ms

enum { ROUNDS = 60, OFTEN = 64, SELDOM = 6 }; /* of 256: what fails a call must not end each echo at its first */

static const char *const schemes[] = {"tcp", "unix", "mem"};

/* Passive one way, active and framed the other, with a frame above the read buffer's half and a cork in between. */
static int echo(const char *scheme)
{
    enum { BIG = 40000 };
    static uint8_t out[BIG], in[BIG];
    static const size_t sizes[] = {1, 700, BIG, 0, 3000};
    struct ends x;
    gs_msg m;
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, WAIT_MS)), true);
    then(gs_stream_setopts(x.b, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, WAIT_MS))));
    pattern_fill(out, sizeof out, 5, 0);
    for (int i = 0; i < 5; i++)
        then(gs_stream_send(x.b, out, sizes[i]));
    for (int i = 0; i < 5; i++) {
        then(await(x.mb, GS_MSG_DATA, &m));
        if (e == 0)
            must(m.packet.data.n == sizes[i] && pattern_check(m.packet.data.p, sizes[i], 5, 0) == sizes[i]);
        then(gs_stream_send(x.a, m.packet.data.p, m.packet.data.n));
    }
    int r = e == 0 ? gs_receive(x.mb, &m, 0) : 0; /* the batch ends, and what is corked leaves */
    if (e == 0 && r != GS_ETIMEOUT)
        e = r < 0 ? first_code(0, r) : m.error < 0 ? m.error : GS_ECLOSED;
    then(gs_stream_flush(x.a, WAIT_MS));
    for (int i = 0; i < 5; i++) {
        ssize_t n = e == 0 ? gs_stream_recv(x.b, in, sizeof in, 0, WAIT_MS) : 0;
        e = first_code(e, n);
        if (e == 0)
            must((size_t)n == sizes[i] && pattern_check(in, sizes[i], 5, 0) == sizes[i]);
    }
    return ends_close(&x, e);
}

/* Whether a profile concerns a transport at all: mem makes no system calls for its bytes. */
static bool concerns(enum fault_profile p, const char *scheme)
{
    return strcmp(scheme, "mem") || p == FAULT_NOFD || p == FAULT_NOMEM;
}

static void run_profile(enum fault_profile p)
{
    for (int i = 0; i < 3; i++) {
        long fired = 0, worked = 0;
        for (uint64_t k = 0; k < ROUNDS; k++) {
            patient_ms = p <= FAULT_EAGAIN ? 5000 : 100;
            fault_start_profile(p, test_seed() + k, p <= FAULT_EAGAIN ? OFTEN : SELDOM);
            int e = echo(schemes[i]);
            fired += fault_stop();
            patient_ms = 5000;
            worked += e == 0;
            if (p <= FAULT_EAGAIN && e < 0)
                fail_msg("%s over %s: %s %s", fault_profile_name(p), schemes[i], gs_error_name(e), gs_error_detail(e));
        }
        assert_code(echo(schemes[i]), 0);
        print_message("# %s, %s: %ld firings, %ld of %d echoes worked\n", fault_profile_name(p), schemes[i], fired, worked,
                      ROUNDS);
        if (concerns(p, schemes[i]))
            assert_true(fired > 0);
    }
}

#define PROFILE(name, profile)                                                                                        \
    static void name(void **state)                                                                                    \
    {                                                                                                                 \
        (void)state;                                                                                                  \
        struct census before;                                                                                         \
        census_take(&before);                                                                                         \
        run_profile(profile);                                                                                         \
        census_assert(&before);                                                                                       \
    }
PROFILE(short_reads_and_writes_change_nothing, FAULT_SHORT)
PROFILE(interruptions_change_nothing, FAULT_EINTR)
PROFILE(false_readiness_changes_nothing, FAULT_EAGAIN)
PROFILE(no_descriptors_is_an_error_and_no_more, FAULT_NOFD)
PROFILE(no_memory_is_an_error_and_no_more, FAULT_NOMEM)
PROFILE(a_vanished_peer_is_an_error_and_no_more, FAULT_GONE)

static int prepare_all(void **state)
{
    (void)state;
    prepare();
    for (int i = 0; i < 3; i++)
        must(echo(schemes[i]) == 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_reads_and_writes_change_nothing),  cmocka_unit_test(interruptions_change_nothing),
        cmocka_unit_test(false_readiness_changes_nothing),        cmocka_unit_test(no_descriptors_is_an_error_and_no_more),
        cmocka_unit_test(no_memory_is_an_error_and_no_more),      cmocka_unit_test(a_vanished_peer_is_an_error_and_no_more),
    };
    return cmocka_run_group_tests(tests, prepare_all, NULL);
}
