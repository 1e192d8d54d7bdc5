/* seam.c: the default entries of the seams: libc, malloc, CLOCK_MONOTONIC. */
#include "base/seam.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#include "gensock/error.h"

static int sys_open(const char *path, int flags) { return open(path, flags); }
static int sys_fcntl(int fd, int cmd, int arg) { return fcntl(fd, cmd, arg); }
static int sys_ioctl(int fd, unsigned long request, void *arg) { return ioctl(fd, request, arg); }
static int sys_eventfd(unsigned value, int flags) { return eventfd(value, flags); }
static int sys_socketpair(int domain, int type, int protocol, int sv[2]) { return socketpair(domain, type, protocol, sv); }

/* The library's threads take no signals: they belong to the program. */
static int sys_thread_create(pthread_t *t, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(t, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

/* sendfile(2) has no MSG_NOSIGNAL. The signal goes to the writing thread: it is held back there and taken off again, unless
 * one was pending before, which is the program's own. It may come with a short count too: the file goes in several writes, and
 * the peer may have left before the second. */
static ssize_t sys_sendfile(int out, int in, off_t *at, size_t n)
{
    sigset_t pipe, pending, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    bool own = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    ssize_t k = sendfile(out, in, at, n);
    int error = errno;
    bool short_count = k >= 0 ? (size_t)k < n : error == EPIPE;
    if (short_count && !own)
        while (sigtimedwait(&pipe, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return k;
}

static uint64_t sys_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* libc's own declarations of these carry attributes or transparent unions that a plain function pointer does not match. */
static int sys_bind(int fd, const struct sockaddr *a, socklen_t n) { return bind(fd, a, n); }
static int sys_connect(int fd, const struct sockaddr *a, socklen_t n) { return connect(fd, a, n); }
static int sys_accept4(int fd, struct sockaddr *a, socklen_t *n, int flags) { return accept4(fd, a, n, flags); }
static int sys_getsockname(int fd, struct sockaddr *a, socklen_t *n) { return getsockname(fd, a, n); }
static int sys_getpeername(int fd, struct sockaddr *a, socklen_t *n) { return getpeername(fd, a, n); }

#define SYS_DEFAULTS                                                                                                  \
    {                                                                                                                 \
        .socket = socket, .socketpair = sys_socketpair, .bind = sys_bind, .listen = listen, .accept4 = sys_accept4,   \
        .connect = sys_connect, .getsockname = sys_getsockname, .getpeername = sys_getpeername,                       \
        .getsockopt = getsockopt, .setsockopt = setsockopt, .shutdown = shutdown, .close = close, .read = read,       \
        .write = write, .recv = recv, .send = send, .recvmsg = recvmsg, .sendmsg = sendmsg, .sendfile = sys_sendfile,     \
        .pread = pread, .poll = poll, .epoll_create1 = epoll_create1, .epoll_ctl = epoll_ctl,                         \
        .epoll_wait = epoll_wait, .eventfd = sys_eventfd, .timerfd_create = timerfd_create,                           \
        .timerfd_settime = timerfd_settime, .open = sys_open, .unlink = unlink, .fstat = fstat, .fcntl = sys_fcntl,   \
        .ioctl = sys_ioctl, .setns = setns, .gethostname = gethostname, .getifaddrs = getifaddrs,                     \
        .thread_create = sys_thread_create, .getaddrinfo = getaddrinfo, .getnameinfo = getnameinfo,                   \
        .now_ns = sys_now_ns,                                                                                         \
    }

const struct gsi_sys gsi_sys_default = SYS_DEFAULTS;
struct gsi_sys gsi_sys = SYS_DEFAULTS;
struct gsi_allocator gsi_allocator = {malloc, realloc, free};

static _Atomic bool allocated;

int gs_set_allocator(void *(*malloc_fn)(size_t), void *(*realloc_fn)(void *, size_t), void (*free_fn)(void *))
{
    if (!malloc_fn || !realloc_fn || !free_fn)
        return -EINVAL;
    if (allocated)
        return -EALREADY;
    gsi_allocator = (struct gsi_allocator){malloc_fn, realloc_fn, free_fn};
    return 0;
}

void *gsi_alloc(size_t n)
{
    allocated = true;
    return gsi_allocator.malloc(n);
}

void *gsi_zalloc(size_t n)
{
    void *p = gsi_alloc(n);
    return p ? memset(p, 0, n) : NULL;
}

void *gsi_realloc(void *p, size_t n)
{
    allocated = true;
    return gsi_allocator.realloc(p, n);
}

void gsi_free(void *p) { gsi_allocator.free(p); }

void gs_free(void *p) { gsi_free(p); }

char *gsi_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = gsi_alloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}
