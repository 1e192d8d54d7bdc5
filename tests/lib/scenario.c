/* scenario.c: the n-th-failure runner (scenario.h). The parent forks one child per fault; the child reports in a struct that
 * both share, so that a child that dies has still told its last step. A pipe tells the parent when the child is done. */
#include "scenario.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "census.h"
#include "cmocka_all.h"
#include "fault.h"
#include "gensock/error.h"
#include "support.h"
#include "vclock.h"

enum { DEFAULT_TIMEOUT_MS = 20000, DEFAULT_SETTLE_MS = 500, PRINT_MAX = 12 };

struct injection {
    long n; /* 0: none, a healthy child */
    bool from;
    int choice;
};

/* What a child found out. */
struct outcome {
    bool done; /* else it died on the way, in `step` */
    char step[24];
    int code; /* of the step's scenario */
    long calls_cold, calls_warm, fired_cold, fired_warm;
    enum fault_call hit;
    int choices; /* plausible errors of the call that was hit */
    struct census end; /* after the two healthy runs that follow the cold fault */
    char problem[500];
};

struct child_job {
    scenario_fn scenario;
    void *arg;
    const struct fault_options *options;
    struct injection fault;
    const struct census *reference; /* `end` of the healthy child; NULL in that child itself */
    long calls_warm;
};

static void settle(struct census *c, const struct census *expected, int ms)
{
    if (expected)
        census_equal(expected, ms, NULL, 0);
    census_take(c);
}

static int run_step(const struct child_job *job, struct outcome *o, const char *step)
{
    snprintf(o->step, sizeof o->step, "%s", step);
    o->code = job->scenario(job->arg);
    return o->code;
}

static bool healthy(const struct child_job *job, struct outcome *o, const char *step)
{
    int code = run_step(job, o, step);
    if (code >= 0)
        return true;
    snprintf(o->problem, sizeof o->problem, "%s: %s (%s)", step, gs_error_name(code), gs_error_detail(code));
    return false;
}

/* One run with the fault, in the given temperature. Answers how often it fired. */
static long harmed(const struct child_job *job, struct outcome *o, const char *step)
{
    fault_fail_nth(job->fault.n, job->fault.from, job->fault.choice);
    run_step(job, o, step);
    if (o->hit == FAULT_CALLS && (o->hit = fault_first()) < FAULT_CALLS) /* not yet told: the flusher is being hit this moment */
        fault_errors(o->hit, &o->choices);
    return fault_stop();
}

static long counted(const struct child_job *job, struct outcome *o, const char *step, bool *ok)
{
    fault_count();
    *ok = healthy(job, o, step);
    long n = fault_seen();
    fault_stop();
    return n;
}

static void check_census(const struct child_job *job, struct outcome *o, const struct census *before, const char *step)
{
    if (job->options->census_may_grow || o->problem[0])
        return;
    char why[400];
    struct census most = *before, now;
    census_take(&now);
    if (now.fds < most.fds) /* what is made at need (the flusher) was perhaps not needed: fewer is no leak */
        most.fds = now.fds;
    if (!census_equal(&most, job->options->settle_ms, why, sizeof why))
        snprintf(o->problem, sizeof o->problem, "%s: %s", step, why);
}

/* The healthy child: counts calls, and tells what a process holds that was never harmed. */
static void be_healthy(const struct child_job *job, struct outcome *o)
{
    bool ok;
    o->calls_cold = counted(job, o, "first run", &ok);
    if (!ok || !healthy(job, o, "second run"))
        return;
    if (!healthy(job, o, "third run"))
        return;
    settle(&o->end, NULL, 0);
    struct census now = o->end;
    o->calls_warm = counted(job, o, "fourth run", &ok);
    if (ok)
        check_census(job, o, &now, "healthy runs do not hold the same");
}

static void be_harmed(const struct child_job *job, struct outcome *o)
{
    o->fired_cold = harmed(job, o, "cold fault");
    if (!healthy(job, o, "first run after it") || !healthy(job, o, "second run after it"))
        return;
    check_census(job, o, job->reference, "held after a cold fault, against a process without");
    if (o->problem[0] || job->fault.n > job->calls_warm)
        return;
    struct census before;
    settle(&before, job->reference, 0);
    o->fired_warm = harmed(job, o, "warm fault");
    check_census(job, o, &before, "held after a warm fault, against before");
    if (!o->problem[0])
        healthy(job, o, "run after the warm fault");
}

static void child_main(const struct child_job *job, struct outcome *o, int done)
{
    if (job->options->prepare)
        job->options->prepare();
    if (!job->options->real_clock)
        vclock_start(VCLOCK_AUTO);
    if (job->fault.n)
        be_harmed(job, o);
    else
        be_healthy(job, o);
    o->done = true;
    fflush(NULL);
    (void)!write(done, "", 1);
    _exit(0);
}

static void describe_end(struct outcome *o, pid_t pid, bool timed_out)
{
    int status = 0;
    char step[sizeof o->step];
    memcpy(step, o->step, sizeof step);
    if (timed_out)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (timed_out)
        snprintf(o->problem, sizeof o->problem, "hangs in the %s", step);
    else if (WIFSIGNALED(status))
        snprintf(o->problem, sizeof o->problem, "dies of signal %d (%s) in the %s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), step);
    else if (!o->done || WEXITSTATUS(status))
        snprintf(o->problem, sizeof o->problem, "exits with %d in the %s", WEXITSTATUS(status), step);
}

static struct outcome run_child(const struct child_job *job)
{
    int p[2];
    struct outcome *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || pipe(p) < 0)
        fail_msg("mmap or pipe: %s", strerror(errno));
    shared->hit = FAULT_CALLS;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail_msg("fork: %s", strerror(errno));
    if (pid == 0) {
        close(p[0]);
        child_main(job, shared, p[1]);
    }
    close(p[1]);
    struct pollfd ready = {.fd = p[0], .events = POLLIN};
    int r = poll(&ready, 1, job->options->timeout_ms);
    describe_end(shared, pid, r == 0);
    close(p[0]);
    struct outcome o = *shared;
    munmap(shared, sizeof *shared);
    return o;
}

static void note(struct fault_report *r, const char *name, const struct injection *f, const struct outcome *o)
{
    char text[600];
    int count = 0;
    const int *errors = o->hit < FAULT_CALLS && o->choices ? fault_errors(o->hit, &count) : NULL;
    if (f->n)
        snprintf(text, sizeof text, "%s, GS_FAULT_ONLY=%ld:%s:%d (%s%s%s): %s", name, f->n, f->from ? "from" : "once",
                 f->choice, o->done ? fault_call_name(o->hit) : "?", errors ? " " : "",
                 errors ? gs_error_name(-abs(errors[f->choice % count])) : "", o->problem);
    else
        snprintf(text, sizeof text, "%s, healthy: %s", name, o->problem);
    if (r->findings++ == 0)
        memcpy(r->first, text, sizeof text);
    if (r->findings <= PRINT_MAX)
        print_error("# %s\n", text);
}

/* Runs one case and answers how many errors the call that it hit can give. */
static int try_one(struct fault_report *r, const char *name, struct child_job *job, struct injection f)
{
    job->fault = f;
    struct outcome o = run_child(job);
    r->runs++;
    r->fired += o.fired_cold > 0 || !o.done;
    if (o.problem[0])
        note(r, name, &f, &o);
    return o.done ? o.choices : 1;
}

static void explore_call(struct fault_report *r, const char *name, struct child_job *job, long n, bool from)
{
    int choices = try_one(r, name, job, (struct injection){.n = n, .from = from, .choice = test_long() ? 0 : (int)n});
    for (int c = 1; test_long() && c < choices; c++)
        try_one(r, name, job, (struct injection){.n = n, .from = from, .choice = c});
}

static bool explore_only(struct fault_report *r, const char *name, struct child_job *job)
{
    const char *only = getenv("GS_FAULT_ONLY");
    char mode[8] = "once";
    struct injection f = {0};
    if (!only)
        return false;
    int fields = sscanf(only, "%ld:%7[a-z]:%d", &f.n, mode, &f.choice);
    f.from = !strcmp(mode, "from");
    if (fields < 3)
        f.choice = (int)f.n;
    try_one(r, name, job, f);
    return true;
}

struct fault_report fault_explore(const char *name, scenario_fn scenario, void *arg, const struct fault_options *options)
{
    struct fault_options opt = options ? *options : (struct fault_options){0};
    opt.timeout_ms = opt.timeout_ms ? opt.timeout_ms : DEFAULT_TIMEOUT_MS;
    opt.settle_ms = opt.settle_ms ? opt.settle_ms : DEFAULT_SETTLE_MS;
    struct fault_report r = {0};
    struct child_job job = {.scenario = scenario, .arg = arg, .options = &opt};
    struct outcome well = run_child(&job);
    if (well.problem[0]) {
        note(&r, name, &job.fault, &well);
        return r;
    }
    r.calls_cold = well.calls_cold;
    r.calls_warm = job.calls_warm = well.calls_warm;
    job.reference = &well.end;
    if (explore_only(&r, name, &job))
        return r;
    long at_most = test_long() ? opt.at_most * 10 : opt.at_most;
    double step = at_most && at_most < r.calls_cold ? (double)r.calls_cold / (double)at_most : 1;
    for (double at = 1; at < (double)r.calls_cold + 1; at += step) {
        long n = (long)at;
        explore_call(&r, name, &job, n, false);
        explore_call(&r, name, &job, n, true);
    }
    return r;
}

void fault_run_with(const char *name, scenario_fn scenario, void *arg, const struct fault_options *options)
{
    struct fault_report r = fault_explore(name, scenario, arg, options);
    print_message("# %s: %ld calls cold, %ld warm; %ld runs with a fault, %ld fired, %ld findings\n", name, r.calls_cold,
                  r.calls_warm, r.runs, r.fired, r.findings);
    if (r.findings)
        fail_msg("%ld findings, the first: %s", r.findings, r.first);
    if (r.calls_cold == 0)
        fail_msg("%s reaches no system call and no allocation", name);
    if (!getenv("GS_FAULT_ONLY") && r.fired * 10 < r.runs * 9)
        fail_msg("%s: only %ld of %ld faults fired: the scenario does not repeat itself", name, r.fired, r.runs);
}

void fault_run(const char *name, scenario_fn scenario, void *arg) { fault_run_with(name, scenario, arg, NULL); }
