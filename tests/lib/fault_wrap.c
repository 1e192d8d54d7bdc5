/* fault_wrap.c: the wrappers of the fault injector: one for each line of GSI_SYSCALLS, generated; the calls that move bytes
 * or whose failure has a side effect have their own. Below them the virtual clock, below that the kernel. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "census.h"
#include "fault_plan.h"
#include "vclock.h"

#define below gsi_sys_default

/* Descriptors on which read and write cannot fail: eventfds and timerfds. */
enum { FDS_MAX = 1 << 16 };
static _Atomic unsigned char quiet[FDS_MAX];

static void set_quiet(int fd, bool on)
{
    if (fd >= 0 && fd < FDS_MAX)
        atomic_store_explicit(&quiet[fd], on, memory_order_relaxed);
}

static bool is_quiet(int fd)
{
    return fd >= 0 && fd < FDS_MAX && atomic_load_explicit(&quiet[fd], memory_order_relaxed);
}

/* A datagram is never cut short by the kernel; everything else that read and write take is a stream of bytes. */
static bool is_stream(int fd)
{
    int type = 0, saved = errno;
    socklen_t n = sizeof type;
    bool yes = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ? errno == ENOTSOCK : type == SOCK_STREAM;
    errno = saved;
    return yes;
}

static bool returns_its_code(enum fault_call call)
{
    return call == FAULT_thread_create || call == FAULT_getaddrinfo || call == FAULT_getnameinfo;
}

static int fail_with(enum fault_call call, int error)
{
    if (returns_its_code(call))
        return error;
    errno = error;
    return -1;
}

#define GENERATED(result, name, params, args)                                                                         \
    static result generated_##name params                                                                             \
    {                                                                                                                 \
        int error = fault_decide(FAULT_##name, -1, 0);                                                                \
        return error ? fail_with(FAULT_##name, error) : below.name args;                                              \
    }
GSI_SYSCALLS(GENERATED)
#undef GENERATED

static int own_close(int fd)
{
    int error = fault_decide(FAULT_close, -1, 0);
    set_quiet(fd, false);
    vclock_closed(fd);
    int r = below.close(fd);
    return error ? fail_with(FAULT_close, error) : r;
}

static int own_eventfd(unsigned value, int flags)
{
    int fd = generated_eventfd(value, flags);
    set_quiet(fd, true);
    return fd;
}

static int own_timerfd_create(int clock, int flags)
{
    int error = fault_decide(FAULT_timerfd_create, -1, 0);
    int fd = error ? fail_with(FAULT_timerfd_create, error) : vclock_timerfd_create(clock, flags);
    set_quiet(fd, true);
    return fd;
}

static int own_timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *was)
{
    int error = fault_decide(FAULT_timerfd_settime, -1, 0);
    return error ? fail_with(FAULT_timerfd_settime, error) : vclock_timerfd_settime(fd, flags, to, was);
}

static int own_poll(struct pollfd *p, nfds_t n, int timeout_ms)
{
    int error = fault_decide(FAULT_poll, -1, 0);
    return error ? fail_with(FAULT_poll, error) : vclock_poll(p, n, timeout_ms);
}

static int own_epoll_wait(int ep, struct epoll_event *e, int n, int timeout_ms)
{
    int error = fault_decide(FAULT_epoll_wait, -1, 0);
    return error ? fail_with(FAULT_epoll_wait, error) : vclock_epoll_wait(ep, e, n, timeout_ms);
}

static int own_epoll_ctl(int ep, int op, int fd, struct epoll_event *e)
{
    return op == EPOLL_CTL_DEL ? below.epoll_ctl(ep, op, fd, e) : generated_epoll_ctl(ep, op, fd, e);
}

static int own_accept4(int fd, struct sockaddr *a, socklen_t *n, int flags)
{
    int error = fault_decide(FAULT_accept4, fd, 0);
    if (error == ECONNABORTED) {
        int taken = below.accept4(fd, a, n, flags);
        if (taken < 0)
            return taken;
        below.close(taken);
    }
    return error ? fail_with(FAULT_accept4, error) : below.accept4(fd, a, n, flags);
}

static size_t shortened(enum fault_call call, int fd, size_t n)
{
    size_t m = fault_shorten(n);
    if (m == n || !is_stream(fd))
        return n;
    fault_hit(call);
    return m;
}

#define MOVES_BYTES(name, params, flags, ...)                                                                         \
    static ssize_t own_##name params                                                                                  \
    {                                                                                                                 \
        if (is_quiet(fd))                                                                                             \
            return below.name(__VA_ARGS__);                                                                           \
        int error = fault_decide(FAULT_##name, fd, flags);                                            \
        n = shortened(FAULT_##name, fd, n);                                                                           \
        return error ? fail_with(FAULT_##name, error) : below.name(__VA_ARGS__);                                      \
    }
MOVES_BYTES(read, (int fd, void *p, size_t n), 0, fd, p, n)
MOVES_BYTES(write, (int fd, const void *p, size_t n), 0, fd, p, n)
MOVES_BYTES(recv, (int fd, void *p, size_t n, int flags), flags, fd, p, n, flags)
MOVES_BYTES(send, (int fd, const void *p, size_t n, int flags), flags, fd, p, n, flags)
MOVES_BYTES(pread, (int fd, void *p, size_t n, off_t at), 0, fd, p, n, at)
MOVES_BYTES(sendfile, (int fd, int in, off_t *at, size_t n), 0, fd, in, at, n)
#undef MOVES_BYTES

/* The same vector, cut behind n bytes. */
enum { IOV_CUT = 64 };
static struct msghdr cut(const struct msghdr *m, size_t n, struct iovec iov[IOV_CUT])
{
    struct msghdr c = *m;
    c.msg_iov = iov;
    c.msg_iovlen = 0;
    for (size_t i = 0; n > 0 && i < m->msg_iovlen && i < IOV_CUT; i++) {
        iov[i] = m->msg_iov[i];
        if (iov[i].iov_len > n)
            iov[i].iov_len = n;
        n -= iov[i].iov_len;
        c.msg_iovlen++;
    }
    return c;
}

static size_t total(const struct msghdr *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->msg_iovlen; i++)
        n += m->msg_iov[i].iov_len;
    return n;
}

static ssize_t own_sendmsg(int fd, const struct msghdr *m, int flags)
{
    int error = fault_decide(FAULT_sendmsg, fd, flags);
    if (error)
        return fail_with(FAULT_sendmsg, error);
    struct iovec iov[IOV_CUT];
    size_t all = total(m), n = shortened(FAULT_sendmsg, fd, all);
    if (n == all)
        return below.sendmsg(fd, m, flags);
    struct msghdr c = cut(m, n, iov);
    return below.sendmsg(fd, &c, flags);
}

static ssize_t own_recvmsg(int fd, struct msghdr *m, int flags)
{
    int error = fault_decide(FAULT_recvmsg, fd, flags);
    if (error)
        return fail_with(FAULT_recvmsg, error);
    struct iovec iov[IOV_CUT];
    size_t all = total(m), n = shortened(FAULT_recvmsg, fd, all);
    if (n == all)
        return below.recvmsg(fd, m, flags);
    struct msghdr c = cut(m, n, iov);
    ssize_t r = below.recvmsg(fd, &c, flags);
    m->msg_flags = c.msg_flags;
    m->msg_namelen = c.msg_namelen;
    m->msg_controllen = c.msg_controllen;
    return r;
}

static void *own_malloc(size_t n)
{
    if (fault_decide(FAULT_malloc, -1, 0)) {
        errno = ENOMEM;
        return NULL;
    }
    return census_malloc(n);
}

static void *own_realloc(void *p, size_t n)
{
    if (n && fault_decide(FAULT_realloc, -1, 0)) {
        errno = ENOMEM;
        return NULL;
    }
    return census_realloc(p, n);
}

__attribute__((constructor(200))) static void install(void)
{
#define PUT(result, name, params, args) gsi_sys.name = generated_##name;
    GSI_SYSCALLS(PUT)
#undef PUT
#define PUT_OWN(name) gsi_sys.name = own_##name
    PUT_OWN(close), PUT_OWN(eventfd), PUT_OWN(timerfd_create), PUT_OWN(timerfd_settime), PUT_OWN(poll);
    PUT_OWN(epoll_wait), PUT_OWN(epoll_ctl), PUT_OWN(accept4), PUT_OWN(read), PUT_OWN(write), PUT_OWN(recv);
    PUT_OWN(send), PUT_OWN(pread), PUT_OWN(sendfile), PUT_OWN(sendmsg), PUT_OWN(recvmsg);
#undef PUT_OWN
    gsi_sys.now_ns = vclock_now_ns;
    gsi_allocator = (struct gsi_allocator){own_malloc, own_realloc, census_free};
}
