/* exec.c: `gensock exec`: a program inside the tailnet, in the place of this process: its exit code or signal is ours, its
 * signals come by us, it stops and goes on with us. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "node.h"

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 /* as env(1) and sh(1) */, STOP_MS = 10 };

/* Signals wait for a thread from before the node's threads are there; until there is a program they end us. */
static struct {
    sigset_t set;
    pthread_mutex_t lock;
    pid_t program; /* 0: not yet; -1: not any more */
    bool dying;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *hand_on(void *unused)
{
    (void)unused;
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(&watch.set, &info);
        if (number < 0)
            continue;
        pthread_mutex_lock(&watch.lock);
        bool dying = watch.program == 0 && number != SIGCONT && number != SIGWINCH;
        watch.dying |= dying;
        /* What the terminal sends it sends to the program too. */
        if (watch.program > 0 && (number == SIGCONT || info.si_code <= 0))
            (void)kill(watch.program, number);
        pthread_mutex_unlock(&watch.lock);
        if (dying) {
            pthread_sigmask(SIG_UNBLOCK, &watch.set, NULL);
            cli_die_of(number);
        }
    }
    return NULL;
}

/* 0 or -errno. */
static int watch_signals(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};
    pthread_t thread;
    sigemptyset(&watch.set);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction now;
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(&watch.set, numbers[i]);
    }
    pthread_sigmask(SIG_BLOCK, &watch.set, NULL);
    int e = pthread_create(&thread, NULL, hand_on, NULL);
    if (e == 0)
        pthread_detach(thread);
    return -e;
}

/* With the lock, unless a signal is about to end the process: then nobody else may. */
static void lock_or_stand_aside(void)
{
    pthread_mutex_lock(&watch.lock);
    while (watch.dying) {
        pthread_mutex_unlock(&watch.lock);
        (void)poll(NULL, 0, -1);
        pthread_mutex_lock(&watch.lock);
    }
}

/* A stop is ours too, unless it was one of the whole job's, which is over when this runs. */
static void stop_with(pid_t pid)
{
    siginfo_t info = {0};
    (void)poll(NULL, 0, STOP_MS);
    if (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG) == 0 && info.si_code == CLD_STOPPED)
        (void)raise(SIGSTOP);
}

/* Its wait status. */
static int wait_for(pid_t pid)
{
    siginfo_t info;
    int status = 0;
    for (;;) {
        int r = waitid(P_PID, (id_t)pid, &info, WEXITED | WSTOPPED | WNOWAIT);
        if (r == 0 && info.si_code == CLD_STOPPED)
            stop_with(pid);
        else if (r == 0 || errno != EINTR)
            break;
    }
    pthread_mutex_lock(&watch.lock); /* the pid may be another's after this */
    watch.program = -1;
    (void)waitpid(pid, &status, 0);
    pthread_mutex_unlock(&watch.lock);
    return status;
}

/* 0, or the exit code. */
static int start(const struct cli_args *a, char *const *argv, pid_t *pid)
{
    const char *const *program;
    memcpy(&program, &argv, sizeof program);
    lock_or_stand_aside();
    int e = gs_tailnet_spawn(cli_node(), program, NULL, pid);
    watch.program = e == 0 ? *pid : 0;
    pthread_mutex_unlock(&watch.lock);
    if (e == 0)
        return CLI_OK;
    int code = cli_fail(a, argv[0], e);
    return e == -ENOENT ? NOT_FOUND : e == -EACCES || e == -ENOEXEC ? NOT_EXECUTABLE : code;
}

static int run(struct cli_args *a, char *const *argv)
{
    pid_t pid;
    cli_signals_leave_alone();
    int e = watch_signals();
    int code = e < 0 ? cli_fail(a, "starting", e) : cli_join_alone(a, GS_NO_MAILBOX);
    if (code == CLI_OK)
        code = start(a, argv, &pid);
    if (code != CLI_OK) {
        lock_or_stand_aside();
        watch.program = -1;
        pthread_mutex_unlock(&watch.lock);
        cli_tailnet_leave();
        return code;
    }
    int status = wait_for(pid);
    cli_tailnet_leave();
    if (WIFSIGNALED(status)) {
        struct rlimit none = {0, 0}; /* the program's core is not ours */
        (void)setrlimit(RLIMIT_CORE, &none);
        pthread_sigmask(SIG_UNBLOCK, &watch.set, NULL);
        cli_die_of(WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}

static const char usage[] =
    "[--timeout MS] [--NODE-OPTION …] -- PROGRAM [ARGUMENT …]\n"
    "Runs a program inside a tailnet: as the same user, with the tailnet as its only network, MagicDNS names resolving. Ends as\n"
    "the program ends, with its exit code or by its signal, and hands signals on to it; what it leaves running ends with it.\n"
    "126: PROGRAM cannot be executed, 127: there is none; else as of other commands when it does not come to run.\n"
    "  --timeout MS   ends with exit code 4 when the tailnet is not joined after MS\n"
    "`gensock help tailnet` lists the options of the node.\n"
    "for example: gensock exec --hostname laptop --state ~/.laptop -- curl http://alpha:8000/\n";

int cli_exec(int argc, char **argv)
{
    struct cli_args a = {.command = "exec", .usage = usage};
    int own = 1;
    while (own < argc && strcmp(argv[own], "--") != 0)
        own++;
    int code = cli_parse(&a, own, argv, NULL);
    if (code < 0)
        code = own + 1 < argc ? run(&a, argv + own + 1)
                              : cli_say(&a, CLI_USAGE, "-- and a program are wanted; `gensock help exec` shows how");
    return cli_args_fini(&a, code);
}
