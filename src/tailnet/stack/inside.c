/* inside.c: program.h's child, from the clone to the exec, and what stays behind it: the front and init.
 *
 * It may call nothing of libc (bare.h). All strings and lengths are made beforehand. */
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tailnet/stack/bare.h"
#include "tailnet/stack/program.h"

enum { SET = 8 /* bytes of the kernel's sigset_t */, FILE_MODE = 0644, DIR_MODE = 0755 };

BARE static long at(const void *p) { return (long)(uintptr_t)p; }

BARE static void leave(int code)
{
    for (;;)
        (void)raw(SYS_exit_group, code, 0, 0, 0, 0);
}

BARE static void fail(const struct plan *p, int step, int view, long error)
{
    struct failure f;
    f.step = step;
    f.view = view;
    f.error = (int32_t)error;
    (void)raw(SYS_write, p->report, at(&f), sizeof f, 0, 0);
    leave(127);
}

/* ---- the place ---- */

BARE static void enter(const struct plan *p)
{
    long e;
    if (p->user >= 0 && (e = raw(SYS_setns, p->user, CLONE_NEWUSER, 0, 0, 0)) < 0)
        fail(p, STEP_USER, 0, e);
    if ((e = raw(SYS_setns, p->net, CLONE_NEWNET, 0, 0, 0)) < 0)
        fail(p, STEP_NET, 0, e);
    /* After setns, which forgets it. The host's memory is nobody's to look into by way of this copy. */
    (void)raw(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (raw(SYS_getppid, 0, 0, 0, 0, 0) != p->host)
        leave(127);
    if ((e = raw(SYS_unshare, CLONE_NEWNS | CLONE_NEWPID, 0, 0, 0, 0)) < 0)
        fail(p, STEP_NAMESPACES, 0, e);
    if ((e = raw(SYS_mount, at("none"), at("/"), 0, MS_REC | MS_SLAVE, 0)) < 0)
        fail(p, STEP_MOUNTS, 0, e);
}

/* The current directory is the scratch; makes what is to be seen there. */
BARE static long make_view(const struct view *v)
{
    if (!v->text)
        return raw(SYS_mkdirat, AT_FDCWD, at(v->name), DIR_MODE, 0, 0);
    long fd = raw(SYS_openat, AT_FDCWD, at(v->name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE, 0);
    if (fd < 0)
        return fd;
    long n = raw(SYS_write, fd, at(v->text), (long)v->text_n, 0, 0);
    (void)raw(SYS_fchmod, fd, FILE_MODE, 0, 0, 0); /* umask */
    (void)raw(SYS_close, fd, 0, 0, 0, 0);
    return n < 0 ? n : n < (long)v->text_n ? -ENOSPC : 0;
}

/* The mounts of all views, attached to nothing. By way of a file system in memory that is seen nowhere else, and goes with the
 * last of them; it must not stand where a view's path leads through. */
BARE static void make_all(const struct plan *p, int mounts[NAMESPACE_VIEWS])
{
    static const char places[][8] = {"/tmp", "/run", "/mnt", "/var"};
    const char *scratch = 0;
    long e = -ENOENT, back = raw(SYS_openat, AT_FDCWD, at("."), O_PATH | O_CLOEXEC, 0, 0);
    for (unsigned i = 0; i < sizeof places / sizeof places[0] && e < 0; i++) {
        scratch = places[i];
        e = raw(SYS_mount, at("tmpfs"), at(scratch), at("tmpfs"), MS_NOSUID | MS_NODEV | MS_NOEXEC, at("mode=0755,size=1m"));
    }
    if (e >= 0)
        e = back < 0 ? back : raw(SYS_chdir, at(scratch), 0, 0, 0, 0);
    if (e < 0)
        fail(p, STEP_SCRATCH, 0, e);
    for (size_t i = 0; i < p->views_n; i++) {
        e = make_view(&p->views[i]);
        if (e >= 0)
            e = raw(SYS_open_tree, AT_FDCWD, at(p->views[i].name), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, 0, 0);
        if (e < 0)
            fail(p, STEP_VIEW, (int)i, e);
        mounts[i] = (int)e;
    }
    (void)raw(SYS_fchdir, back, 0, 0, 0, 0);
    (void)raw(SYS_close, back, 0, 0, 0, 0);
    if ((e = raw(SYS_umount2, at(scratch), MNT_DETACH, 0, 0, 0)) < 0)
        fail(p, STEP_SCRATCH, 0, e);
}

BARE static void show_all(const struct plan *p)
{
    int mounts[NAMESPACE_VIEWS];
    make_all(p, mounts);
    for (size_t i = 0; i < p->views_n; i++) {
        long e = raw(SYS_move_mount, mounts[i], at(""), AT_FDCWD, at(p->views[i].path),
                     MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS);
        if (e < 0 && e != -ENOENT && e != -ENOTDIR)
            fail(p, STEP_VIEW, (int)i, e);
        (void)raw(SYS_close, mounts[i], 0, 0, 0, 0);
    }
}

/* ---- init ---- */

/* Reaps what is nobody's any more. Its end is theirs. */
BARE static void init_main(int ready)
{
    uint64_t children = UINT64_C(1) << (SIGCHLD - 1);
    char c = 0;
    (void)raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    /* Where /proc is covered in parts the kernel refuses another; then the program sees the host's. */
    (void)raw(SYS_mount, at("proc"), at("/proc"), at("proc"), MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
    if (raw(SYS_close_range, 0, ready - 1, 0, 0, 0) < 0)
        leave(1);
    (void)raw(SYS_close_range, ready + 1, INT32_MAX, 0, 0, 0);
    if (raw(SYS_write, ready, at(&c), 1, 0, 0) != 1) /* the front died before the prctl */
        leave(1);
    (void)raw(SYS_close, ready, 0, 0, 0, 0);
    for (;;) {
        (void)raw(SYS_rt_sigtimedwait, at(&children), 0, 0, SET, 0);
        while (raw(SYS_wait4, -1, 0, WNOHANG | __WALL, 0, 0) > 0)
            ;
    }
}

BARE static long start_init(const struct plan *p)
{
    int ready[2];
    char c;
    long n, e = raw(SYS_pipe2, at(ready), O_CLOEXEC, 0, 0, 0);
    if (e < 0)
        fail(p, STEP_INIT, 0, e);
    long pid = raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        init_main(ready[1]);
    (void)raw(SYS_close, ready[1], 0, 0, 0, 0);
    if (pid < 0)
        fail(p, STEP_INIT, 0, pid);
    while ((n = raw(SYS_read, ready[0], at(&c), 1, 0, 0)) == -EINTR)
        ;
    (void)raw(SYS_close, ready[0], 0, 0, 0, 0);
    if (n != 1)
        fail(p, STEP_INIT, 0, n < 0 ? n : -EPIPE);
    return pid;
}

/* ---- the program ---- */

BARE static void program_main(const struct plan *p)
{
    uint64_t none = 0;
    (void)raw(SYS_rt_sigprocmask, SIG_SETMASK, at(&none), 0, SET, 0);
    fail(p, STEP_EXEC, 0, raw(SYS_execve, at(p->path), at(p->argv), at(p->envp), 0, 0));
}

/* ---- the front ---- */

BARE static void to_default(int signal)
{
    uint64_t action[4]; /* struct sigaction of the kernel: handler, flags, restorer, mask */
    action[0] = action[1] = action[2] = action[3] = 0;
    (void)raw(SYS_rt_sigaction, signal, at(action), 0, SET, 0);
}

/* Everybody inside is dead, then this process ends as the program did. */
BARE static void finish(long init, int status)
{
    int signal = status & 0x7f;
    long e;
    (void)raw(SYS_kill, init, SIGKILL, 0, 0, 0);
    do
        e = raw(SYS_wait4, -1, 0, __WALL, 0, 0);
    while (e >= 0 || e == -EINTR);
    if (signal) {
        uint64_t others = ~(UINT64_C(1) << (signal - 1));
        to_default(signal);
        (void)raw(SYS_kill, raw(SYS_getpid, 0, 0, 0, 0, 0), signal, 0, 0, 0);
        (void)raw(SYS_rt_sigprocmask, SIG_SETMASK, at(&others), 0, SET, 0);
    }
    leave(signal ? 128 + signal : status >> 8 & 0xff);
}

BARE static void look_after(long init, long program)
{
    int status = 0;
    for (long pid; (pid = raw(SYS_wait4, -1, at(&status), WNOHANG | WUNTRACED, 0, 0)) > 0;) {
        if (pid != program)
            continue;
        if ((status & 0xff) != 0x7f)
            finish(init, status);
        (void)raw(SYS_kill, raw(SYS_getpid, 0, 0, 0, 0, 0), SIGSTOP, 0, 0, 0);
    }
}

/* What the terminal sends goes to the program too, being of its group; what processes send is for the program. */
BARE static void front_main(long init, long program)
{
    uint64_t all = ~UINT64_C(0);
    siginfo_t info;
    for (;;) {
        long signal = raw(SYS_rt_sigtimedwait, at(&all), at(&info), 0, SET, 0);
        if (signal == SIGCHLD)
            look_after(init, program);
        else if (signal == SIGTERM && info.si_code == SI_QUEUE && info.si_value.sival_int == END_WORD)
            finish(init, SIGKILL);
        else if (signal > 0 && info.si_code <= 0)
            (void)raw(SYS_kill, program, signal, 0, 0, 0);
    }
}

BARE void gsi_plan_run(const struct plan *p)
{
    enter(p);
    if (p->views_n)
        show_all(p);
    to_default(SIGCHLD); /* ignored, there would be no status */
    long init = start_init(p);
    long program = raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (program == 0)
        program_main(p);
    if (program < 0)
        fail(p, STEP_FORK, 0, program);
    (void)raw(SYS_close_range, 0, INT32_MAX, 0, 0, 0);
    front_main(init, program);
}
