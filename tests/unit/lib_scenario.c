/* The n-th-failure runner finds what it is for: a leak, a crash, a hang and lasting damage on an error path; and passes code
 * that is right. The scenarios are small programs with a planted fault each.
 * runner: serial */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/seam.h"
#include "scenario.h"
#include "support.h"

enum flaw { NONE, LEAK_BLOCK, LEAK_FD, CRASH, HANG, BREAK };

/* Opens a pair, allocates, moves a byte. The flaw strikes when the second allocation fails. */
static int act(void *arg)
{
    static bool broken;
    enum flaw flaw = *(const enum flaw *)arg;
    int sv[2], code = 0;
    char byte;
    if (broken)
        return gsi_fail(-EIO, "broken by an earlier failure");
    if (gsi_sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) < 0)
        return gsi_errno();
    char *first = gsi_alloc(10), *second = first ? gsi_alloc(20) : NULL;
    if (!second) {
        code = -ENOMEM;
        if (first && flaw == LEAK_BLOCK)
            first = NULL;
        if (first && flaw == LEAK_FD)
            sv[0] = -1;
        if (first && flaw == CRASH)
            abort();
        while (first && flaw == HANG)
            pause_1ms();
        broken = first && flaw == BREAK;
    } else if (gsi_sys.send(sv[0], "x", 1, MSG_NOSIGNAL) != 1 || gsi_sys.recv(sv[1], &byte, 1, 0) != 1) {
        code = gsi_errno();
    }
    gsi_free(second);
    gsi_free(first);
    if (sv[0] >= 0)
        gsi_sys.close(sv[0]);
    gsi_sys.close(sv[1]);
    return code;
}

static struct fault_report explore(enum flaw flaw)
{
    struct fault_options o = {.timeout_ms = 500, .settle_ms = 20};
    print_message("# the findings that follow are planted\n");
    return fault_explore("planted", act, &flaw, &o);
}

static void a_right_scenario_passes_with_every_fault_fired(void **state)
{
    (void)state;
    enum flaw flaw = NONE;
    struct fault_report r = fault_explore("right", act, &flaw, NULL);
    assert_int_equal(r.findings, 0);
    assert_int_equal(r.calls_cold, 7);
    assert_int_equal(r.calls_warm, 7);
    assert_true(r.runs >= 14);
    assert_int_equal(r.fired, r.runs);
}

static void finds(enum flaw flaw, const char *word)
{
    struct fault_report r = explore(flaw);
    assert_true(r.findings >= 1);
    if (!strstr(r.first, word))
        fail_msg("\"%s\" does not name \"%s\"", r.first, word);
}

static void a_leaked_block_is_found(void **state) { (void)state, finds(LEAK_BLOCK, "blocks"); }
static void a_leaked_descriptor_is_found(void **state) { (void)state, finds(LEAK_FD, "fds"); }
static void a_crash_is_found(void **state) { (void)state, finds(CRASH, "cold fault"); }
static void a_hang_is_found(void **state) { (void)state, finds(HANG, "hangs"); }
static void lasting_damage_is_found(void **state) { (void)state, finds(BREAK, "broken by an earlier failure"); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_scenario_passes_with_every_fault_fired),
        cmocka_unit_test(a_leaked_block_is_found),
        cmocka_unit_test(a_leaked_descriptor_is_found),
        cmocka_unit_test(a_crash_is_found),
        cmocka_unit_test(a_hang_is_found),
        cmocka_unit_test(lasting_damage_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
