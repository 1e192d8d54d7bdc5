/* seam.h: the three seams between the library and its world: clock, system calls, allocator.
 *
 * Everything the library asks of the kernel goes through gsi_sys, everything it allocates through gsi_alloc and friends.
 * Tests swap entries to inject faults, short transfers, a virtual clock or a slow resolver; nothing else writes them.
 * The list macro is the single source: tests generate their wrappers from it.
 */
#ifndef GSI_SEAM_H
#define GSI_SEAM_H

#include <ifaddrs.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

/* result, name, parameters, arguments, value on failure. All set errno, but thread_create and getaddrinfo, which return
 * their own codes; sendfile never raises SIGPIPE. */
#define GSI_SYSCALLS(X)                                                                                               \
    X(int, socket, (int domain, int type, int protocol), (domain, type, protocol))                                    \
    X(int, socketpair, (int domain, int type, int protocol, int sv[2]), (domain, type, protocol, sv))                 \
    X(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))                                         \
    X(int, listen, (int fd, int backlog), (fd, backlog))                                                              \
    X(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))                         \
    X(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))                                      \
    X(int, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))                                       \
    X(int, getpeername, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))                                       \
    X(int, getsockopt, (int fd, int level, int name, void *p, socklen_t *n), (fd, level, name, p, n))                 \
    X(int, setsockopt, (int fd, int level, int name, const void *p, socklen_t n), (fd, level, name, p, n))            \
    X(int, shutdown, (int fd, int how), (fd, how))                                                                    \
    X(int, close, (int fd), (fd))                                                                                     \
    X(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n))                                                         \
    X(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n))                                                  \
    X(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags))                                       \
    X(ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags))                                 \
    X(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))                                        \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))                                  \
    X(ssize_t, sendfile, (int out, int in, off_t *at, size_t n), (out, in, at, n))                                    \
    X(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))                                          \
    X(int, poll, (struct pollfd *p, nfds_t n, int timeout_ms), (p, n, timeout_ms))                                    \
    X(int, epoll_create1, (int flags), (flags))                                                                       \
    X(int, epoll_ctl, (int ep, int op, int fd, struct epoll_event *e), (ep, op, fd, e))                               \
    X(int, epoll_wait, (int ep, struct epoll_event *e, int n, int timeout_ms), (ep, e, n, timeout_ms))                \
    X(int, eventfd, (unsigned value, int flags), (value, flags))                                                      \
    X(int, timerfd_create, (int clock, int flags), (clock, flags))                                                    \
    X(int, timerfd_settime, (int fd, int flags, const struct itimerspec *to, struct itimerspec *was),                 \
      (fd, flags, to, was))                                                                                           \
    X(int, open, (const char *path, int flags), (path, flags))                                                        \
    X(int, unlink, (const char *path), (path))                                                                        \
    X(int, fstat, (int fd, struct stat *st), (fd, st))                                                                \
    X(int, fcntl, (int fd, int cmd, int arg), (fd, cmd, arg))                                                         \
    X(int, ioctl, (int fd, unsigned long request, void *arg), (fd, request, arg))                                     \
    X(int, setns, (int fd, int type), (fd, type))                                                                     \
    X(int, gethostname, (char *p, size_t n), (p, n))                                                                  \
    X(int, getifaddrs, (struct ifaddrs * *out), (out))                                                                \
    X(int, thread_create, (pthread_t * t, void *(*run)(void *), void *arg), (t, run, arg))                            \
    X(int, getaddrinfo, (const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out), \
      (host, service, hints, out))                                                                                    \
    X(int, getnameinfo,                                                                                               \
      (const struct sockaddr *a, socklen_t n, char *host, socklen_t host_cap, char *service, socklen_t service_cap,   \
       int flags),                                                                                                    \
      (a, n, host, host_cap, service, service_cap, flags))

struct gsi_sys {
#define GSI_SYS_MEMBER(result, name, params, args) result(*name) params;
    GSI_SYSCALLS(GSI_SYS_MEMBER)
#undef GSI_SYS_MEMBER
    uint64_t (*now_ns)(void); /* CLOCK_MONOTONIC; cannot fail */
};

struct gsi_allocator {
    void *(*malloc)(size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
};

extern struct gsi_sys gsi_sys;
extern const struct gsi_sys gsi_sys_default;
extern struct gsi_allocator gsi_allocator;

void *gsi_alloc(size_t n);            /* NULL when there is no memory */
void *gsi_zalloc(size_t n);           /* zeroed */
void *gsi_realloc(void *p, size_t n); /* p stays valid on NULL */
void gsi_free(void *p);
char *gsi_strdup(const char *s);

#endif
