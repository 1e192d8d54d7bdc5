/* runner: tsan, timeout 240
 *
 * Programs inside a private namespace: they run as the same user, end as they end, take their signals, see what they are to
 * see, and nothing of them is left: not after their own end, not after the namespace's, not after the host's, however that
 * comes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "census.h"
#include "tailnet/stack/namespace.h"
#include "tailnet_nobody.h"

enum { TASKS = 256, FOUND = 32, HELD = 4, LONG_MS = 20000 };

static enum namespace_way ways[3];
static int n_ways;

static struct namespace *open_one(enum namespace_way way)
{
    struct namespace *ns;
    assert_ok(gsi_namespace_open(&ns, &(struct namespace_options){.way = way}));
    return ns;
}

/* ---- looking ---- */

struct task {
    int pid, parent;
    char state;
};

static size_t read_tasks(struct task *out, size_t cap)
{
    DIR *proc = opendir("/proc");
    size_t n = 0;
    assert_non_null(proc);
    for (struct dirent *e; (e = readdir(proc)) && n < cap;) {
        char path[300], text[512];
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "re") : NULL;
        if (!f)
            continue;
        const char *behind = fgets(text, sizeof text, f) ? strrchr(text, ')') : NULL;
        if (behind && sscanf(text, "%d", &out[n].pid) == 1 && sscanf(behind, ") %c %d", &out[n].state, &out[n].parent) == 2)
            n++;
        fclose(f);
    }
    closedir(proc);
    return n;
}

/* Children, and theirs. */
static size_t descendants(pid_t of, pid_t out[FOUND])
{
    static struct task t[4096];
    size_t n = read_tasks(t, sizeof t / sizeof t[0]), found = 0;
    for (size_t looked = 0, from = (size_t)of; looked <= found; from = (size_t)out[looked++])
        for (size_t i = 0; i < n && found < FOUND; i++)
            if (t[i].parent == (int)from && t[i].state != 'Z')
                out[found++] = t[i].pid;
    return found;
}

static bool alive(pid_t pid)
{
    static struct task t[4096];
    size_t n = read_tasks(t, sizeof t / sizeof t[0]);
    for (size_t i = 0; i < n; i++)
        if (t[i].pid == pid && t[i].state != 'Z')
            return true;
    return false;
}

static bool any_alive(const pid_t *pids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (alive(pids[i]))
            return true;
    return false;
}

/* Nobody's children are this process's (main): else the machine's first process reaps them when it likes. */
static bool any_left(const pid_t *pids, size_t n)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return any_alive(pids, n);
}

/* ---- running ---- */

static pid_t run(struct namespace *ns, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    pid_t pid = 0;
    assert_ok(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = argv}, &pid));
    assert_true(pid > 0);
    return pid;
}

/* The wait status, as waitpid gives it. */
static int status_of(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int code_of(struct namespace *ns, const char *script)
{
    int status = status_of(run(ns, script));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static char *script(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *script(const char *format, ...)
{
    static char text[4096];
    va_list args;
    va_start(args, format);
    assert_true(vsnprintf(text, sizeof text, format, args) < (int)sizeof text);
    va_end(args);
    return text;
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* ---- facts ---- */

static void a_program_ends_with_its_own_code_or_signal(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        assert_int_equal(code_of(ns, "exit 0"), 0);
        assert_int_equal(code_of(ns, "exit 42"), 42);
        assert_int_equal(code_of(ns, "exit 255"), 255);
        assert_int_equal(code_of(ns, "kill -TERM $$"), 1000 + SIGTERM);
        assert_int_equal(code_of(ns, "kill -INT $$"), 1000 + SIGINT);
        assert_int_equal(code_of(ns, "ulimit -c 0; kill -SEGV $$"), 1000 + SIGSEGV);
        assert_int_equal(code_of(ns, "kill -KILL $$"), 1000 + SIGKILL);
        gsi_namespace_close(ns);
    }
}

static void it_runs_inside_as_the_same_user(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        const char *made = temp_path("made");
        struct stat st;
        assert_int_equal(code_of(ns, "grep -q tailnet0: /proc/net/dev"), 0);
        assert_int_equal(code_of(ns, script("test $(id -u) = %u && test $(id -g) = %u", geteuid(), getegid())), 0);
        assert_int_equal(code_of(ns, script("echo x > %s", made)), 0);
        assert_int_equal(stat(made, &st), 0);
        assert_int_equal(st.st_uid, geteuid());
        assert_int_equal(unlink(made), 0);
        assert_int_equal(code_of(ns, script("test \"$PWD\" -ef /proc/self/cwd && test \"$(pwd -P)\" = '%s'", getcwd((char[4096]){0}, 4096))), 0);
        /* its pids are its own: the shell is not the first, and /proc agrees when there may be another */
        assert_int_equal(code_of(ns, "test $$ -gt 1 && test $$ -lt 100"), 0);
        /* no right in the namespace but root's own */
        if (geteuid() != 0)
            assert_int_equal(code_of(ns, "grep -q '^CapEff:.0000000000000000$' /proc/self/status"), 0);
        gsi_namespace_close(ns);
    }
}

static void signals_are_handed_on(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        const char *ready = temp_path("ready");
        pid_t pid = run(ns, script("trap 'exit 7' USR1; : > %s; while :; do sleep 0.01; done", ready));
        assert_until(exists(ready), LONG_MS);
        assert_int_equal(kill(pid, SIGUSR1), 0);
        int status = status_of(pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        assert_int_equal(unlink(ready), 0);

        static const int fatal[] = {SIGTERM, SIGHUP, SIGINT, SIGALRM};
        for (size_t k = 0; k < sizeof fatal / sizeof fatal[0]; k++) {
            pid = run(ns, "exec sleep 1000");
            assert_int_equal(kill(pid, fatal[k]), 0);
            status = status_of(pid);
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == fatal[k]);
        }
        gsi_namespace_close(ns);
    }
}

static void it_stops_and_goes_on_with_the_program(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        pid_t pid = run(ns, "kill -STOP $$; exit 9");
        int status;
        assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
        assert_true(WIFSTOPPED(status));
        assert_int_equal(kill(pid, SIGCONT), 0);
        status = status_of(pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 9);
        gsi_namespace_close(ns);
    }
}

/* The host's mask and handlers are not the program's. */
static void on_signal(int number) { (void)number; }
static void it_starts_with_no_signal_blocked(void **state)
{
    sigset_t set, before;
    struct sigaction own = {.sa_handler = on_signal}, old;
    (void)state;
    sigfillset(&set);
    assert_int_equal(sigaction(SIGUSR2, &own, &old), 0);
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        pthread_sigmask(SIG_BLOCK, &set, &before);
        pid_t pid = run(ns, "exec sleep 1000");
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        assert_int_equal(kill(pid, SIGUSR2), 0);
        int status = status_of(pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2);
        gsi_namespace_close(ns);
    }
    sigaction(SIGUSR2, &old, NULL);
}

/* ---- what it sees ---- */

static void a_view_is_the_programs_alone(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        const char *file = temp_path("file"), *link = temp_path("link"), *dir = temp_path("dir"), *none = temp_path("none");
        FILE *f = fopen(file, "we");
        assert_non_null(f);
        fputs("host\n", f);
        fclose(f);
        assert_int_equal(symlink(file, link), 0);
        assert_int_equal(mkdir(dir, 0755), 0);
        close(open(script("%s/hidden", dir), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
        const struct namespace_view views[] = {{link, "inside\n"}, {dir, NULL}, {none, "nothing\n"}, {none, NULL}};
        char text[1024];
        snprintf(text, sizeof text,
                 "test \"$(cat %s)\" = inside && test -z \"$(ls %s)\" && ! test -e %s && echo more >> %s && "
                 "test $(wc -l < %s) = 2 && test -w /tmp && test $(ls -d %s)",
                 link, dir, none, file, file, file);
        for (int round = 0; round < 2; round++) { /* each program has its own */
            pid_t pid;
            const char *const argv[] = {"sh", "-c", text, NULL};
            assert_ok(gsi_namespace_spawn(ns, &(struct namespace_program){argv, NULL, views, 4}, &pid));
            assert_int_equal(status_of(pid), 0);
        }
        char back[16] = "";
        f = fopen(file, "re");
        assert_non_null(fgets(back, sizeof back, f));
        fclose(f);
        assert_string_equal(back, "host\n");
        assert_true(exists(script("%s/hidden", dir)));
        assert_int_equal(unlink(script("%s/hidden", dir)) | rmdir(dir) | unlink(link) | unlink(file), 0);
        gsi_namespace_close(ns);
    }
}

static void the_environment_is_as_given(void **state)
{
    (void)state;
    struct namespace *ns = open_one(NAMESPACE_AUTO);
    pid_t pid;
    const char *const argv[] = {"sh", "-c", "test \"$GENSOCK_X\" = 5", NULL}, *const env[] = {"GENSOCK_X=5",
                                                                                              "PATH=/nowhere:/usr/bin:/bin",
                                                                                              NULL};
    assert_ok(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = argv, .envp = env}, &pid));
    assert_int_equal(status_of(pid), 0);
    assert_int_equal(setenv("GENSOCK_X", "6", 1), 0);
    assert_ok(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = argv}, &pid));
    assert_int_equal(WEXITSTATUS(status_of(pid)), 1);
    gsi_namespace_close(ns);
}

static void descriptors_of_the_host_stay_out(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        int own[2], given[2];
        char c;
        struct namespace *ns = open_one(ways[i]);
        assert_int_equal(pipe2(own, O_CLOEXEC), 0);
        assert_int_equal(pipe(given), 0); /* this one the program takes along, and only it */
        pid_t pid = run(ns, script("echo x > /proc/self/fd/%d; exec sleep 1000", given[1]));
        close(own[1]);
        assert_int_equal(read(own[0], &c, 1), 0);
        close(given[1]);
        assert_int_equal(read(given[0], &c, 1), 1);
        assert_int_equal(kill(pid, SIGKILL), 0);
        (void)status_of(pid);
        assert_int_equal(read(given[0], &c, 1), 1); /* the line's end */
        assert_int_equal(read(given[0], &c, 1), 0);
        close(own[0]);
        close(given[0]);
        gsi_namespace_close(ns);
    }
}

/* ---- nothing is left ---- */

#define FAMILY "setsid sleep 1000 & (trap '' TERM HUP INT; sleep 1000) & "

static void what_a_program_leaves_running_ends_with_it(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        const char *ready = temp_path("ready"), *go = temp_path("go");
        pid_t found[FOUND];
        pid_t pid = run(ns, script(FAMILY ": > %s; while ! test -e %s; do sleep 0.01; done; exit 3", ready, go));
        assert_until(exists(ready), LONG_MS);
        size_t n = descendants(pid, found);
        assert_true(n >= 4);
        close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
        int status = status_of(pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
        assert_false(any_alive(found, n)); /* before it ends, not some time after */
        assert_int_equal(unlink(ready) | unlink(go), 0);
        gsi_namespace_close(ns);
    }
}

static void close_ends_all_programs(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        pid_t found[FOUND], pid[HELD];
        size_t n = 0;
        for (int k = 0; k < HELD; k++) {
            pid[k] = run(ns, k == 1 ? "kill -STOP $$" : FAMILY "trap '' TERM; while :; do sleep 1; done");
            if (k == 1)
                assert_int_equal(waitpid(pid[1], NULL, WUNTRACED), pid[1]);
        }
        for (int k = 0; k < HELD; k++)
            n += descendants(pid[k], found + n);
        gsi_namespace_close(ns);
        assert_false(any_alive(found, n));
        for (int k = 0; k < HELD; k++) {
            int status = status_of(pid[k]);
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        }
    }
}

static void killing_it_kills_all_of_it(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        pid_t found[FOUND], pid = run(ns, FAMILY "exec sleep 1000");
        size_t n = 0;
        assert_until((n = descendants(pid, found)) >= 4, LONG_MS);
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status = status_of(pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_until(!any_left(found, n), LONG_MS);
        gsi_namespace_close(ns);
    }
}

/* A host with a namespace of this way, and a program inside; at a signal it becomes another program. */
static int hold(enum namespace_way way)
{
    static const char *const argv[] = {"sh", "-c", FAMILY "echo holding; exec sleep 1000", NULL};
    struct namespace *ns;
    sigset_t set;
    pid_t pid;
    int got;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    needs(gsi_namespace_open(&ns, &(struct namespace_options){.way = way}), "gsi_namespace_open");
    needs(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = argv}, &pid), "gsi_namespace_spawn");
    sigwait(&set, &got);
    execl("/bin/sleep", "sleep", "100", (char *)NULL);
    return SETUP_FAILED;
}

static void nothing_survives_the_host(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++)
        for (int exec = false; exec <= true; exec++) {
            char way[8], out[1024];
            pid_t found[FOUND];
            size_t n = 0;
            snprintf(way, sizeof way, "%d", (int)ways[i]);
            struct child c = start_self("hold", way);
            if (!child_expect(&c, "holding", 30000, out, sizeof out))
                fail_msg("no program inside: %s", out);
            assert_until((n = descendants(c.pid, found)) >= 5, LONG_MS);
            assert_int_equal(kill(c.pid, exec ? SIGUSR1 : SIGKILL), 0);
            if (!exec)
                assert_int_equal(child_wait(&c, LONG_MS), 128 + SIGKILL);
            assert_until(!any_left(found, n), LONG_MS);
            assert_true(alive(c.pid) == exec);
            child_stop(&c);
        }
}

static void all_is_given_back(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct census before;
        struct namespace *ns = open_one(ways[i]);
        int fd = open(temp_path("odd"), O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
        assert_int_equal(write(fd, "\1\2\3\n", 4), 4);
        close(fd);
        assert_int_equal(code_of(ns, ":"), 0);
        gsi_namespace_close(ns);
        census_take(&before);
        ns = open_one(ways[i]);
        for (int k = 0; k < 5; k++) {
            const char *const odd[] = {temp_path("odd"), NULL};
            pid_t none;
            assert_int_equal(code_of(ns, ":"), 0);
            assert_code(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = odd}, &none), -ENOEXEC);
        }
        pid_t pid = run(ns, "exec sleep 1000");
        gsi_namespace_close(ns);
        (void)status_of(pid);
        census_assert(&before);
    }
}

static void there_is_a_most(void **state)
{
    (void)state;
    struct namespace *ns = open_one(NAMESPACE_AUTO);
    static const char *const argv[] = {"sleep", "1000", NULL};
    const struct namespace_program sleeper = {.argv = argv};
    pid_t pid[NAMESPACE_PROGRAMS], more;
    for (int i = 0; i < NAMESPACE_PROGRAMS; i++)
        assert_ok(gsi_namespace_spawn(ns, &sleeper, &pid[i]));
    assert_code(gsi_namespace_spawn(ns, &sleeper, &more), GS_ESYSLIMIT);
    assert_int_equal(kill(pid[3], SIGTERM), 0);
    (void)status_of(pid[3]);
    assert_ok(gsi_namespace_spawn(ns, &sleeper, &pid[3]));
    gsi_namespace_close(ns);
    for (int i = 0; i < NAMESPACE_PROGRAMS; i++)
        assert_int_equal(WTERMSIG(status_of(pid[i])), SIGKILL);
}

static void *run_some(void *arg)
{
    static const char *const argv[] = {"true", NULL};
    for (int i = 0; i < 3; i++) {
        pid_t pid;
        assert_ok(gsi_namespace_spawn(arg, &(struct namespace_program){.argv = argv}, &pid));
        assert_int_equal(status_of(pid), 0);
    }
    return NULL;
}

static void threads_start_programs_at_the_same_time(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        pthread_t t[4];
        for (int k = 0; k < 4; k++)
            assert_int_equal(pthread_create(&t[k], NULL, run_some, ns), 0);
        for (int k = 0; k < 4; k++)
            pthread_join(t[k], NULL);
        gsi_namespace_close(ns);
    }
}

/* ---- refusals ---- */

static void refused(struct namespace *ns, const char *name, int code, const char *says)
{
    const char *const argv[] = {name, NULL};
    pid_t pid;
    assert_code(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = argv}, &pid), code);
    if (!strstr(gs_error_detail(code), says))
        fail_msg("%s: %s", name, gs_error_detail(code));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void what_cannot_run_is_told(void **state)
{
    (void)state;
    (void)any_left(NULL, 0); /* of tests before */
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        const char *text = temp_path("text"), *odd = temp_path("odd");
        pid_t pid;
        close(open(text, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
        int fd = open(odd, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
        assert_int_equal(write(fd, "\1\2\3\n", 4), 4);
        close(fd);
        refused(ns, "no-such-program-of-gensock", -ENOENT, "in PATH");
        refused(ns, "", -ENOENT, "no program");
        refused(ns, "/no/such/program", -ENOENT, "no such file");
        refused(ns, text, -EACCES, "may run");
        refused(ns, "/tmp/", -EACCES, "may run");
        refused(ns, odd, -ENOEXEC, "cannot be executed");
        const char *const nothing[] = {NULL};
        assert_code(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = nothing}, &pid), -EINVAL);
        assert_code(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = NULL}, &pid), -EINVAL);
        const char *const good[] = {"true", NULL};
        assert_code(gsi_namespace_spawn(ns, &(struct namespace_program){.argv = good, .views_n = NAMESPACE_VIEWS + 1}, &pid),
                    -EINVAL);
        assert_int_equal(unlink(text) | unlink(odd), 0);
        gsi_namespace_close(ns);
    }
}

static void a_forked_child_starts_nothing(void **state)
{
    (void)state;
    struct namespace *ns = open_one(NAMESPACE_AUTO);
    pid_t running = run(ns, "exec sleep 1000"), pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const char *const argv[] = {"true", NULL};
        pid_t more;
        int e = gsi_namespace_spawn(ns, &(struct namespace_program){.argv = argv}, &more);
        gsi_namespace_close(ns);
        _exit(e == -ECHILD ? 42 : 43);
    }
    assert_int_equal(WEXITSTATUS(status_of(pid)), 42);
    assert_true(alive(running)); /* the child's close is not the parent's */
    gsi_namespace_close(ns);
    assert_int_equal(WTERMSIG(status_of(running)), SIGKILL);
}

static void a_process_that_changed_its_user_is_told(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip_because("root needs no user namespace");
    struct namespace *ns = open_one(ways[0]);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 0), 0);
    if (ways[0] == NAMESPACE_SHARED) /* the other helper has a copy of what it was */
        refused(ns, "true", -EACCES, "PR_SET_DUMPABLE");
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
    assert_int_equal(code_of(ns, ":"), 0);
    gsi_namespace_close(ns);
}

int main(int argc, char **argv)
{
    const char *role = argc > 1 ? argv[1] : "";
    if (strcmp(role, "hold") == 0)
        return hold((enum namespace_way)atoi(argv[2]));
    if (strcmp(role, "nobody") == 0)
        become_nobody(true);
    needs(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    if (geteuid() == 0)
        ways[n_ways++] = NAMESPACE_THREAD;
#ifndef STACK_TSAN
    ways[n_ways++] = NAMESPACE_SHARED;
#endif
    ways[n_ways++] = NAMESPACE_APART;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_ends_with_its_own_code_or_signal),
        cmocka_unit_test(it_runs_inside_as_the_same_user),
        cmocka_unit_test(signals_are_handed_on),
        cmocka_unit_test(it_stops_and_goes_on_with_the_program),
        cmocka_unit_test(it_starts_with_no_signal_blocked),
        cmocka_unit_test(a_view_is_the_programs_alone),
        cmocka_unit_test(the_environment_is_as_given),
        cmocka_unit_test(descriptors_of_the_host_stay_out),
        cmocka_unit_test(what_a_program_leaves_running_ends_with_it),
        cmocka_unit_test(close_ends_all_programs),
        cmocka_unit_test(killing_it_kills_all_of_it),
        cmocka_unit_test(nothing_survives_the_host),
        cmocka_unit_test(all_is_given_back),
        cmocka_unit_test(there_is_a_most),
        cmocka_unit_test(threads_start_programs_at_the_same_time),
        cmocka_unit_test(what_cannot_run_is_told),
        cmocka_unit_test(a_forked_child_starts_nothing),
        cmocka_unit_test(a_process_that_changed_its_user_is_told),
        cmocka_unit_test(all_of_it_works_as_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
