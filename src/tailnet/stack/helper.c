/* helper.c: helper.h on Linux.
 *
 * SHARED is one clone(CLONE_VM | CLONE_FILES | CLONE_NEWUSER | CLONE_NEWNET): legal in a process of many threads, since the
 * task is a thread group of its own. It borrows the thread-local memory of its parent, so it may call nothing of libc: only
 * raw system calls, and no code that a sanitizer has added to. Its exit signal is 0: a waitpid(-1) of the host's does not see
 * it.
 */
#include "tailnet/stack/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tailnet/stack/bare.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

enum { STACK = 16384, END = 0, SOCKET, OPEN };

/* One of these is under way at a time. */
struct call {
    int32_t what, a, b, c; /* SOCKET: domain, type, protocol; OPEN: flags */
    char path[HELPER_PATH + 1];
};

static const uint32_t DEAD = UINT32_MAX; /* as reply */

struct helper {
    enum helper_way way; /* the thread's until started, then constant, as the next lines */
    pid_t host;
    pthread_t thread;
    int pidfd, control; /* APART: our end of the pair */
    int peer;           /* APART: the child's end, until it has its own copy */
    bool cloned;        /* the error is clone's */
    int error;

    pthread_mutex_t lock; /* over all of the following */
    struct call call;
    int result;
    _Atomic uint32_t request, reply; /* count calls; futexes */
    _Atomic uint32_t started;
};

/* ---- what runs inside ---- */

BARE static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    (void)raw(SYS_futex, (long)(uintptr_t)word, FUTEX_WAIT_PRIVATE, (long)seen, 0, 0);
}

BARE static void futex_wake(_Atomic uint32_t *word) { (void)raw(SYS_futex, (long)(uintptr_t)word, FUTEX_WAKE_PRIVATE, 1, 0, 0); }

BARE static int perform(const struct call *c)
{
    if (c->what == SOCKET)
        return (int)raw(SYS_socket, c->a, c->b | SOCK_CLOEXEC, c->c, 0, 0);
    return (int)raw(SYS_openat, AT_FDCWD, (long)(uintptr_t)c->path, c->a | O_CLOEXEC, 0, 0);
}

/* THREAD and SHARED: requests through memory. */
BARE static void serve(struct helper *h)
{
    for (uint32_t seen = 0, now;;) {
        while ((now = atomic_load_explicit(&h->request, memory_order_acquire)) == seen)
            futex_wait(&h->request, seen);
        seen = now;
        if (h->call.what == END)
            return;
        h->result = perform(&h->call);
        atomic_store_explicit(&h->reply, seen, memory_order_release);
        futex_wake(&h->reply);
    }
}

/* Dies with the thread that made it; when that is dead already, at once. */
BARE static void follow_parent(const struct helper *h)
{
    (void)raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (raw(SYS_getppid, 0, 0, 0, 0, 0) != h->host)
        (void)raw(SYS_exit_group, 1, 0, 0, 0, 0);
}

BARE static int shared_main(void *arg)
{
    follow_parent(arg);
    serve(arg);
    return 0;
}

struct handover {
    struct msghdr m;
    struct iovec result_at;
    int result;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

BARE static void hand_over(int control, struct handover *o, int result)
{
    o->result = result;
    o->result_at.iov_base = &o->result;
    o->result_at.iov_len = sizeof o->result;
    o->m.msg_name = NULL;
    o->m.msg_namelen = 0;
    o->m.msg_iov = &o->result_at;
    o->m.msg_iovlen = 1;
    o->m.msg_flags = 0;
    o->m.msg_control = result < 0 ? NULL : o->control;
    o->m.msg_controllen = result < 0 ? 0 : sizeof o->control;
    struct cmsghdr *c = (struct cmsghdr *)(void *)o->control;
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    *(int *)(void *)CMSG_DATA(c) = result;
    (void)raw(SYS_sendmsg, control, (long)(uintptr_t)&o->m, MSG_NOSIGNAL, 0, 0);
}

/* A copy of the process, as after fork: what it inherited must not stay open in it. */
BARE static void apart_main(struct helper *h)
{
    struct handover o;
    follow_parent(h);
    if (h->peer > 0 && raw(SYS_close_range, 0, h->peer - 1, 0, 0, 0) < 0)
        (void)raw(SYS_exit_group, 1, 0, 0, 0, 0);
    (void)raw(SYS_close_range, h->peer + 1, INT32_MAX, 0, 0, 0);
    for (;;) {
        long n = raw(SYS_read, h->peer, (long)(uintptr_t)&h->call, sizeof h->call, 0, 0);
        if (n == -EINTR)
            continue;
        if (n != (long)sizeof h->call)
            (void)raw(SYS_exit_group, 0, 0, 0, 0, 0);
        int fd = perform(&h->call);
        hand_over(h->peer, &o, fd);
        if (fd >= 0)
            (void)raw(SYS_close, fd, 0, 0, 0, 0);
    }
}

/* ---- the thread ---- */

static bool sanitized(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return SANITIZED || !SHARED_WORKS || (preload && strstr(preload, "vgpreload"));
}

static void tell_started(struct helper *h, int error)
{
    h->error = error;
    atomic_store_explicit(&h->started, 1, memory_order_release);
    futex_wake(&h->started);
}

/* Also when somebody's wait has taken the news away (ECHILD). */
static void reap(struct helper *h)
{
    siginfo_t info;
    while (waitid((idtype_t)P_PIDFD, (id_t)h->pidfd, &info, WEXITED | __WALL) < 0 && errno == EINTR)
        ;
    atomic_store_explicit(&h->reply, DEAD, memory_order_release);
    futex_wake(&h->reply);
}

static void run_shared(struct helper *h)
{
    _Alignas(16) char stack[STACK];
    int flags = CLONE_VM | CLONE_FILES | CLONE_NEWUSER | CLONE_NEWNET | CLONE_PIDFD;
    int pid = clone(shared_main, stack + STACK, flags, h, &h->pidfd);
    tell_started(h, pid < 0 ? -errno : 0);
    if (pid >= 0)
        reap(h);
}

static void run_apart(struct helper *h)
{
    int pair[2], pidfd = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        tell_started(h, -errno);
        return;
    }
    h->peer = pair[1];
    long pid = raw(SYS_clone, CLONE_NEWUSER | CLONE_NEWNET | CLONE_PIDFD, 0, (long)(uintptr_t)&pidfd, 0, 0);
    if (pid == 0)
        apart_main(h);
    close(pair[1]);
    if (pid < 0)
        close(pair[0]);
    else {
        h->control = pair[0];
        h->pidfd = pidfd;
    }
    tell_started(h, pid < 0 ? (int)pid : 0);
    if (pid >= 0)
        reap(h);
}

static void *helper_main(void *arg)
{
    struct helper *h = arg;
    pthread_setname_np(pthread_self(), "gs-tailnet-ns");
    if (h->way == HELPER_AUTO || h->way == HELPER_THREAD) {
        int e = unshare(CLONE_NEWNET) < 0 ? -errno : 0;
        if (e == 0 || e != -EPERM || h->way == HELPER_THREAD) {
            h->way = HELPER_THREAD;
            tell_started(h, e);
            if (e == 0)
                serve(h);
            return NULL;
        }
        h->way = sanitized() ? HELPER_APART : HELPER_SHARED;
    }
    h->cloned = true;
    if (h->way == HELPER_SHARED)
        run_shared(h);
    else
        run_apart(h);
    return NULL;
}

/* ---- start and stop ---- */

static int start_failed(const struct helper *h)
{
    int e = h->error;
    const char *step = h->cloned ? "clone(CLONE_NEWUSER | CLONE_NEWNET)" : "unshare(CLONE_NEWNET)";
    switch (e) {
    case -EPERM:
        if (!h->cloned)
            return gs_fail(e, "%s: making a network namespace as root takes CAP_SYS_ADMIN", step);
        return gs_fail(e, "%s: may not make a network namespace. A container's seccomp profile, a chroot or a sysctl "
                          "(kernel.unprivileged_userns_clone=0, kernel.apparmor_restrict_unprivileged_userns=1) forbids it: "
                          "allow user namespaces there, or add CAP_SYS_ADMIN", step);
    case -ENOSPC:
    case -EUSERS:
        return gs_fail(e, "%s: no more namespaces: raise sysctl user.max_net_namespaces and user.max_user_namespaces", step);
    case -EINVAL:
    case -ENOSYS:
        return gs_fail(e, "%s: this kernel was built without network or user namespaces, or is older than 5.4", step);
    default:
        return gs_fail(e, "%s: %s", step, gs_error_text(e));
    }
}

/* With all signals blocked from its first instruction: the host's handlers never run in it, nor in a child of it. */
static int start_thread(struct helper *h)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&h->thread, NULL, helper_main, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

static void free_helper(struct helper *h)
{
    if (h->pidfd >= 0)
        close(h->pidfd);
    if (h->control >= 0)
        close(h->control);
    OPENSSL_free(h);
}

int gsi_helper_start(struct helper **out, enum helper_way way)
{
    if (way == HELPER_SHARED && !SHARED_WORKS)
        return gs_fail(-ENOTSUP, "a helper that shares memory is written for x86-64 and arm64 only");
    struct helper *h = OPENSSL_zalloc(sizeof *h);
    if (!h)
        return gs_fail(-ENOMEM, "no memory for a network namespace");
    h->way = way;
    h->host = getpid();
    h->pidfd = h->control = h->peer = -1;
    pthread_mutex_init(&h->lock, NULL);
    int e = start_thread(h);
    if (e != 0) {
        free_helper(h);
        return gs_fail(GS_ESYSLIMIT, "no thread to make a network namespace with (%s)", gs_error_text(-e));
    }
    while (!atomic_load_explicit(&h->started, memory_order_acquire))
        futex_wait(&h->started, 0);
    e = h->error;
    if (e == 0) {
        *out = h;
        return 0;
    }
    pthread_join(h->thread, NULL);
    start_failed(h);
    free_helper(h);
    return e;
}

enum helper_way gsi_helper_way(const struct helper *h) { return h->way; }

static int call_shared(struct helper *h, const struct call *c)
{
    uint32_t n = (atomic_load_explicit(&h->request, memory_order_relaxed) + 1) % DEAD, seen;
    h->call = *c;
    atomic_store_explicit(&h->request, n, memory_order_release);
    futex_wake(&h->request);
    if (c->what == END)
        return 0;
    while ((seen = atomic_load_explicit(&h->reply, memory_order_acquire)) != n && seen != DEAD)
        futex_wait(&h->reply, seen);
    return seen == DEAD ? -EPIPE : h->result;
}

static int receive(int control)
{
    struct handover o = {0};
    ssize_t n;
    o.result_at = (struct iovec){&o.result, sizeof o.result};
    o.m = (struct msghdr){.msg_iov = &o.result_at, .msg_iovlen = 1, .msg_control = o.control, .msg_controllen = sizeof o.control};
    do
        n = recvmsg(control, &o.m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof o.result)
        return -EPIPE;
    struct cmsghdr *c = CMSG_FIRSTHDR(&o.m);
    if (o.result >= 0 && (!c || c->cmsg_type != SCM_RIGHTS))
        return -EMFILE; /* the kernel had no place for it here */
    if (o.result >= 0)
        memcpy(&o.result, CMSG_DATA(c), sizeof o.result);
    return o.result;
}

static int call_apart(struct helper *h, const struct call *c)
{
    ssize_t n;
    do
        n = send(h->control, c, sizeof *c, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *c ? receive(h->control) : -EPIPE;
}

static int call(struct helper *h, const struct call *c)
{
    if (getpid() != h->host)
        return -ECHILD;
    pthread_mutex_lock(&h->lock);
    int r = h->way == HELPER_APART ? call_apart(h, c) : call_shared(h, c);
    pthread_mutex_unlock(&h->lock);
    return r;
}

int gsi_helper_socket(struct helper *h, int domain, int type, int protocol)
{
    return call(h, &(struct call){.what = SOCKET, .a = domain, .b = type, .c = protocol});
}

int gsi_helper_open(struct helper *h, const char *path, int flags)
{
    struct call c = {.what = OPEN, .a = flags};
    size_t n = strlen(path);
    if (n > HELPER_PATH)
        return -ENAMETOOLONG;
    memcpy(c.path, path, n);
    return call(h, &c);
}

void gsi_helper_stop(struct helper *h)
{
    if (!h)
        return;
    if (getpid() == h->host) {
        if (h->way == HELPER_THREAD)
            (void)call(h, &(struct call){.what = END});
        else
            (void)syscall(SYS_pidfd_send_signal, h->pidfd, SIGKILL, NULL, 0);
        pthread_join(h->thread, NULL);
        pthread_mutex_destroy(&h->lock);
    }
    free_helper(h);
}
