/* program.c: program.h, the host's part. */
#include "tailnet/stack/program.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tailnet/stack/bare.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

extern char **environ;

enum { PATH_BYTES = 4096, END_MS = 5000 };

struct programs {
    pid_t host;
    pthread_mutex_t turn; /* one is started at a time; over these four: */
    pthread_t thread;     /* the fronts' parent; there from the first program on */
    bool running;
    int fronts[NAMESPACE_PROGRAMS]; /* pidfds; also of those that have ended, until the place is wanted */
    size_t n;
    pthread_mutex_t lock; /* between who has the turn and the thread; over these: */
    pthread_cond_t changed;
    bool stop;
    const struct plan *plan; /* to be started */
    long pid;                /* of it, or -errno; 0: not yet */
    int pidfd;
};

/* ---- the thread ---- */

static void *run_main(void *arg)
{
    struct programs *p = arg;
    pthread_setname_np(pthread_self(), "gs-tailnet-run");
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        if (p->plan) {
            int pidfd = -1;
            long pid = raw(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, (long)(uintptr_t)&pidfd, 0, 0);
            if (pid == 0)
                gsi_plan_run(p->plan);
            p->plan = NULL;
            p->pidfd = pidfd;
            p->pid = pid;
            pthread_cond_broadcast(&p->changed);
        }
        pthread_cond_wait(&p->changed, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* With all signals blocked, and so its children: the host's handlers never run there. */
static int ensure_thread(struct programs *p)
{
    sigset_t all, before;
    if (p->running)
        return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&p->thread, NULL, run_main, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    p->running = e == 0;
    return e == 0 ? 0 : gs_fail(GS_ESYSLIMIT, "no thread to start a program with (%s)", gs_error_text(-e));
}

/* ---- what is to be run ---- */

static const char *path_of(const char *const *envp)
{
    for (; *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

/* 0; -ENOENT: not to be found; -EACCES: not for this user, or no program. */
static int executable(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -ENOENT;
    return S_ISREG(st.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 ? 0 : -EACCES;
}

/* As execvp looks for it. */
static int find_program(const char *name, const char *const *envp, char out[PATH_BYTES])
{
    int found = -ENOENT;
    if (strchr(name, '/')) {
        if ((size_t)snprintf(out, PATH_BYTES, "%s", name) >= PATH_BYTES)
            return gs_fail(-ENAMETOOLONG, "the program's path is longer than %d bytes", PATH_BYTES - 1);
        found = executable(out);
        return found == 0 ? 0
                          : gs_fail(found, "%s: %s", name,
                                    found == -EACCES ? "not a program that this user may run"
                                                     : "no such file, or none that this user may see");
    }
    for (const char *dir = path_of(envp), *end; *name; dir = end + 1) {
        end = dir + strcspn(dir, ":");
        size_t n = (size_t)(end - dir);
        int e = (size_t)snprintf(out, PATH_BYTES, "%.*s%s%s", (int)n, dir, n ? "/" : "./", name) < PATH_BYTES ? executable(out)
                                                                                                              : -ENOENT;
        if (e == 0)
            return 0;
        found = e == -EACCES ? e : found;
        if (!*end)
            break;
    }
    return gs_fail(found, "no program %s in PATH%s", name, found == -EACCES ? " that this user may run" : "");
}

static int make_plan(struct plan *plan, char path[PATH_BYTES], const struct namespace_program *program)
{
    const char *const *envp = program->envp ? program->envp : (const char *const *)environ;
    if (!program->argv || !program->argv[0] || program->views_n > NAMESPACE_VIEWS)
        return gs_fail(-EINVAL, "a program needs a name, and sees at most %d paths otherwise", NAMESPACE_VIEWS);
    int e = find_program(program->argv[0], envp, path);
    if (e < 0)
        return e;
    plan->path = path;
    memcpy(&plan->argv, &program->argv, sizeof plan->argv); /* execve's types; it changes nothing */
    memcpy(&plan->envp, &envp, sizeof plan->envp);
    plan->views_n = program->views_n;
    for (size_t i = 0; i < program->views_n; i++) {
        const struct namespace_view *v = &program->views[i];
        plan->views[i] = (struct view){v->path, v->text, v->text ? strlen(v->text) : 0, {(char)('0' + i), 0, 0, 0}};
    }
    return 0;
}

/* ---- starting ---- */

static int start_failed(const struct plan *p, const struct failure *f)
{
    int e = f->error;
    const char *why = gs_error_text(e);
    switch (f->step) {
    case STEP_USER:
    case STEP_NET:
        return gs_fail(e, "setns into the tailnet's %s namespace: %s", f->step == STEP_USER ? "user" : "network", why);
    case STEP_NAMESPACES:
        if (e == -ENOSPC)
            return gs_fail(e, "unshare(CLONE_NEWNS | CLONE_NEWPID): no more namespaces: raise sysctl user.max_mnt_namespaces "
                              "and user.max_pid_namespaces");
        return gs_fail(e, "unshare(CLONE_NEWNS | CLONE_NEWPID): %s", why);
    case STEP_MOUNTS:
        return gs_fail(e, "mount / as the program's own: %s", why);
    case STEP_SCRATCH:
        return gs_fail(e, "mount a tmpfs for the program's files: %s", why);
    case STEP_VIEW:
        return gs_fail(e, "mount over %s for the program: %s", p->views[f->view].path, why);
    case STEP_EXEC:
        return gs_fail(e, "%s: cannot be executed: %s", p->path, why);
    default:
        return gs_fail(e, "fork inside the tailnet's network: %s", why);
    }
}

/* Nothing comes from one that runs. */
static bool has_failed(int report, struct failure *f)
{
    ssize_t n;
    do
        n = read(report, f, sizeof *f);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *f;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* A place for one more; those that have ended give theirs. */
static bool has_place(struct programs *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct pollfd ended = {.fd = p->fronts[i], .events = POLLIN};
        if (poll(&ended, 1, 0) > 0)
            close(p->fronts[i]);
        else
            p->fronts[kept++] = p->fronts[i];
    }
    p->n = kept;
    return p->n < NAMESPACE_PROGRAMS;
}

static long ask_thread(struct programs *p, const struct plan *plan, int *pidfd)
{
    pthread_mutex_lock(&p->lock);
    p->pid = 0;
    p->plan = plan;
    pthread_cond_broadcast(&p->changed);
    while (!p->pid)
        pthread_cond_wait(&p->changed, &p->lock);
    long pid = p->pid;
    *pidfd = p->pidfd;
    pthread_mutex_unlock(&p->lock);
    return pid;
}

static int start(struct programs *p, struct plan *plan, int report[2], pid_t *out)
{
    struct failure f;
    int e = has_place(p) ? ensure_thread(p) : gs_fail(GS_ESYSLIMIT, "%d programs run inside already", NAMESPACE_PROGRAMS);
    if (e < 0)
        return e;
    int pidfd;
    long pid = ask_thread(p, plan, &pidfd);
    if (pid < 0)
        return gs_fail((int)pid, "fork: %s", gs_error_text((int)pid));
    close(report[1]);
    report[1] = -1;
    if (has_failed(report[0], &f)) {
        reap((pid_t)pid);
        close(pidfd);
        return start_failed(plan, &f);
    }
    p->fronts[p->n++] = pidfd;
    *out = (pid_t)pid;
    return 0;
}

int gsi_programs_spawn(struct programs *p, int user, int net, const struct namespace_program *program, pid_t *out)
{
    char path[PATH_BYTES];
    int report[2];
    struct plan plan = {.host = p->host, .user = user, .net = net};
    if (getpid() != p->host)
        return gs_fail(-ECHILD, "this process was forked from the one that has the tailnet's network: after fork only exec is "
                                "possible");
    int e = make_plan(&plan, path, program);
    if (e < 0)
        return e;
    if (pipe2(report, O_CLOEXEC) < 0) {
        e = -errno;
        return gs_fail(e, "pipe: %s", gs_error_text(e));
    }
    plan.report = report[1];
    pthread_mutex_lock(&p->turn);
    e = start(p, &plan, report, out);
    pthread_mutex_unlock(&p->turn);
    close(report[0]);
    if (report[1] >= 0)
        close(report[1]);
    return e;
}

/* ---- new and free ---- */

struct programs *gsi_programs_new(void)
{
    struct programs *p = OPENSSL_zalloc(sizeof *p);
    if (!p)
        return NULL;
    p->host = getpid();
    pthread_mutex_init(&p->turn, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    return p;
}

/* Also one that is stopped. */
static void tell_end(int front)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = SIGTERM;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = END_WORD;
    (void)syscall(SYS_pidfd_send_signal, front, SIGTERM, &info, 0);
    (void)syscall(SYS_pidfd_send_signal, front, SIGCONT, NULL, 0);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void await_end(int front, int64_t until_ms)
{
    for (int64_t left; (left = until_ms - now_ms()) > 0;) {
        struct pollfd ended = {.fd = front, .events = POLLIN};
        if (poll(&ended, 1, (int)left) > 0)
            return;
    }
}

void gsi_programs_free(struct programs *p)
{
    if (!p)
        return;
    if (getpid() == p->host && p->running) {
        for (size_t i = 0; i < p->n; i++)
            tell_end(p->fronts[i]);
        int64_t until_ms = now_ms() + END_MS;
        for (size_t i = 0; i < p->n; i++)
            await_end(p->fronts[i], until_ms);
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL); /* kills who has not listened */
    }
    for (size_t i = 0; i < p->n; i++)
        close(p->fronts[i]);
    if (getpid() == p->host) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->lock);
        pthread_mutex_destroy(&p->turn);
    }
    OPENSSL_free(p);
}
