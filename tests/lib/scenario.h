/* scenario.h: the n-th-failure runner: every system call and allocation that a scenario reaches fails once, in every place.
 *
 *     static int connect_and_echo(void *unused) { … return 0 or the code of the first call that failed; }
 *     static void connect_survives_every_fault(void **state) { (void)state; fault_run("connect", connect_and_echo, NULL); }
 *
 * A scenario opens, acts, and gives everything back on every path. fault_run runs it in child processes, so that a crash or
 * a hang is one finding and not the end. One healthy child counts the calls: N in a fresh process, M once warm. Then for
 * each n, failing once and failing from then on:
 *   cold: call n fails in a fresh process; then two healthy runs succeed, and hold exactly what a never harmed process holds;
 *   warm: call n fails in the same process once more (n <= M); the census is that of before; a healthy run succeeds.
 * Each n takes another plausible error of its call; with GS_TEST_LONG=1 each n is run with every one. Runs where the fault
 * did not fire are counted, and more than a tenth of them fail the test.
 *
 * The parent must not have used the library before (its children inherit what it made), so fault programs hold scenarios
 * only. GS_FAULT_ONLY=n[:once|from[:choice]] repeats one case under a debugger.
 */
#ifndef TEST_SCENARIO_H
#define TEST_SCENARIO_H

#include <stdbool.h>

typedef int (*scenario_fn)(void *arg);

struct fault_options {
    int timeout_ms;       /* of one child; 0 = 20 s */
    void (*prepare)(void); /* runs first in each child, without faults: makes what comes with first use and stays */
    bool real_clock;      /* else the virtual clock (AUTO): timeouts cost no time, single-threaded scenarios only */
    int settle_ms;        /* how long threads and descriptors may take to go away; 0 = 500 */
    long at_most;         /* so many n at most, spread evenly (ten times as many with GS_TEST_LONG=1); 0 = every one */
    bool census_may_grow; /* not even a healthy process is steady (say why at the call): checks crash and hang only */
};

void fault_run(const char *name, scenario_fn scenario, void *arg);
void fault_run_with(const char *name, scenario_fn scenario, void *arg, const struct fault_options *options);

/* What the last fault_run did, for tests of the runner itself. */
struct fault_report {
    long calls_cold, calls_warm, runs, fired, findings;
    char first[600]; /* the first finding */
};
/* As fault_run_with, but answers instead of failing the test. */
struct fault_report fault_explore(const char *name, scenario_fn scenario, void *arg, const struct fault_options *options);

#endif
