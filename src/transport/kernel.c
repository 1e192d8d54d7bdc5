/* kernel.c: the slots and steps that every transport over kernel sockets has alike (kernel.h). */
#include "transport/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"

enum { BACKLOG = 5 /* gen_tcp's */, SENDFILE_MAX = 0x7ffff000 /* sendfile(2) */ };

/* ---- bytes ---- */

/* One buffer is the usual case, for which recv and send copy no header. They say that they do not wait: who shares the socket (by
 * dup, fork or import) may have made it a blocking one. */
enum { OUT = MSG_NOSIGNAL | MSG_DONTWAIT };

ssize_t gsi_kernel_readv(void *ctx, const struct iovec *iov, int n)
{
    int fd = gsi_kernel_fd(ctx);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)(n < IOV_MAX ? n : IOV_MAX)};
    ssize_t k;
    do {
        k = n == 1 ? gsi_sys.recv(fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT) : gsi_sys.recvmsg(fd, &m, MSG_DONTWAIT);
        if (k < 0)
            k = gsi_errno();
    } while (k == -EINTR);
    return k;
}

ssize_t gsi_kernel_writev(void *ctx, const struct iovec *iov, int n)
{
    int fd = gsi_kernel_fd(ctx);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)(n < IOV_MAX ? n : IOV_MAX)};
    ssize_t k;
    do {
        k = n == 1 ? gsi_sys.send(fd, iov->iov_base, iov->iov_len, OUT) : gsi_sys.sendmsg(fd, &m, OUT);
        if (k < 0)
            k = gsi_errno();
    } while (k == -EINTR);
    return k;
}

ssize_t gsi_kernel_sendfile(void *ctx, int in, off_t at, size_t n)
{
    ssize_t k;
    do {
        off_t from = at;
        k = gsi_sys.sendfile(gsi_kernel_fd(ctx), in, &from, n < SENDFILE_MAX ? n : SENDFILE_MAX);
        if (k < 0)
            k = gsi_errno();
    } while (k == -EINTR);
    return k;
}

int gsi_kernel_shutdown(void *ctx, gs_how how)
{
    static const int kernel_how[] = {[GS_SHUT_READ] = SHUT_RD, [GS_SHUT_WRITE] = SHUT_WR, [GS_SHUT_BOTH] = SHUT_RDWR};
    return gsi_sys.shutdown(gsi_kernel_fd(ctx), kernel_how[how]) < 0 ? gsi_errno() : 0;
}

void gsi_kernel_close(void *ctx, bool reset)
{
    struct linger none = {.l_onoff = 1};
    if (reset) /* fails for a socket that knows no reset: then it is a plain close */
        (void)gsi_sys.setsockopt(gsi_kernel_fd(ctx), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    (void)gsi_sys.close(gsi_kernel_fd(ctx)); /* the descriptor is gone whatever it answers, EINTR too */
}

int gsi_kernel_poll(void *ctx, size_t *buffered)
{
    *buffered = 0;
    return gsi_kernel_fd(ctx);
}

int gsi_kernel_set(void *ctx, const gs_opt *o) { return gsi_kernel_setopt(gsi_kernel_fd(ctx), o); }
int gsi_kernel_get(void *ctx, gs_opt *o) { return gsi_kernel_getopt(gsi_kernel_fd(ctx), o); }

int gsi_kernel_name(void *ctx, bool peer, gs_addr *out)
{
    gs_addr a = {.len = sizeof a.sa};
    struct sockaddr *sa = (struct sockaddr *)&a.sa;
    int fd = gsi_kernel_fd(ctx);
    int e = (peer ? gsi_sys.getpeername(fd, sa, &a.len) : gsi_sys.getsockname(fd, sa, &a.len)) < 0 ? gsi_errno() : 0;
    return e < 0 ? e : gs_addr_make(out, sa, a.len);
}

/* ---- opening ---- */

static int socket_int(int fd, int number, int *value)
{
    socklen_t n = sizeof *value;
    return gsi_sys.getsockopt(fd, SOL_SOCKET, number, value, &n) < 0 ? gsi_errno() : 0;
}

int gsi_kernel_adopt(int fd, int *domain)
{
    int type, family, flags;
    struct linger off = {0};
    int e = socket_int(fd, SO_TYPE, &type);
    if (e == 0)
        e = socket_int(fd, SO_DOMAIN, &family);
    if (e < 0)
        return gsi_fail(e, "descriptor %d is no socket: %s", fd, gs_error_text(e));
    if (type != SOCK_STREAM)
        return gsi_fail(-EINVAL, "descriptor %d is a socket of type %d, not a stream socket", fd, type);
    if ((flags = gsi_sys.fcntl(fd, F_GETFL, 0)) < 0 || gsi_sys.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        gsi_sys.fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || gsi_sys.setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off) < 0)
        return gsi_errno();
    if (domain)
        *domain = family;
    return 0;
}

static bool family_fits(int family, int domain)
{
    bool local = domain == AF_UNIX, ip = domain == AF_INET || domain == AF_INET6;
    return family == AF_UNIX ? local : family == AF_UNSPEC ? ip : domain == family;
}

static int take(int fd, int family, int *domain)
{
    int e = gsi_kernel_adopt(fd, domain);
    if (e == 0 && !family_fits(family, *domain))
        e = gsi_fail(-EINVAL, "option fd: descriptor %d is of family %d, which does not fit the address", fd, *domain);
    return e;
}

int gsi_kernel_open(gs_io *io, int family, const gs_opt *opts, bool *given, int *domain)
{
    const gs_opt *o = gsi_opts_find(opts, GS_OPT_FD);
    *given = o;
    *domain = family;
    int fd = o ? (int)o->v.i : gs_io_socket(io, family, SOCK_STREAM, 0);
    if (fd < 0)
        return o ? gsi_fail(-EINVAL, "option fd: %d is no descriptor", fd) : fd;
    int e = o ? take(fd, family, domain) : 0;
    if (e == 0)
        e = gsi_kernel_apply(fd, opts);
    if (e == 0)
        return fd;
    gsi_sys.close(fd);
    return e;
}

int gsi_kernel_refuse(const gs_opt *opts, int error)
{
    const gs_opt *o = gsi_opts_find(opts, GS_OPT_FD);
    if (o && o->v.i >= 0)
        gsi_sys.close((int)o->v.i);
    return error;
}

static bool has_name(int fd, bool peer)
{
    gs_addr a;
    if (gsi_kernel_name(gsi_kernel_ctx(fd), peer, &a) < 0)
        return false;
    return peer || (a.sa.ss_family == AF_UNIX ? gs_addr_path(&a).n > 0 : gs_addr_port(&a) > 0);
}

bool gsi_kernel_is_bound(int fd) { return has_name(fd, false); }
bool gsi_kernel_is_connected(int fd) { return has_name(fd, true); }

/* "address: why, and what helps" as the detail of a failed bind or connect. */
static int failed(int e, const gs_addr *a, bool binding)
{
    char text[GS_ADDR_TEXT_MAX] = "";
    (void)gs_addr_text(a, text, sizeof text);
    bool local = a->sa.ss_family == AF_UNIX;
    if (binding && e == -EADDRINUSE && local)
        return gsi_fail(e, "%s: something listens there, or did: a socket's file stays until it is removed", text);
    if (binding && e == -EADDRINUSE)
        return gsi_fail(e, "%s: the port is in use, or was a moment ago (then option reuseaddr helps)", text);
    if (binding && e == -EACCES && !local)
        return gsi_fail(e, "%s: ports below 1024 take CAP_NET_BIND_SERVICE", text);
    if (binding && e == -EADDRNOTAVAIL)
        return gsi_fail(e, "%s: no interface has this address", text);
    if (e == -ECONNREFUSED)
        return gsi_fail(e, "%s: nobody listens there", text);
    return gsi_fail(e, "%s: %s", text, gs_error_text(e));
}

int gsi_kernel_bind(int fd, const gs_addr *local)
{
    int e = gsi_sys.bind(fd, (const struct sockaddr *)&local->sa, local->len) < 0 ? gsi_errno() : 0;
    return e < 0 ? failed(e, local, true) : 0;
}

int gsi_kernel_listen(int fd, const gs_opt *opts)
{
    const gs_opt *o = gsi_opts_find(opts, GS_OPT_BACKLOG);
    return gsi_sys.listen(fd, o ? (int)o->v.i : BACKLOG) < 0 ? gsi_errno() : 0;
}

/* An interrupted connect goes on (connect(2)); asking again tells whether it ran at all. */
int gsi_kernel_connect(int fd, const gs_addr *to)
{
    bool again = false;
    for (;;) {
        int e = gsi_sys.connect(fd, (const struct sockaddr *)&to->sa, to->len) < 0 ? gsi_errno() : 0;
        if (again && (e == -EISCONN || e == -EALREADY))
            return e == -EISCONN ? 0 : -EINPROGRESS;
        if (e != -EINTR)
            return e == 0 || e == -EINPROGRESS ? e : failed(e, to, false);
        again = true;
    }
}

/* ---- accepting ---- */

int gsi_kernel_accept(void *listener)
{
    int fd;
    do {
        fd = gsi_sys.accept4(gsi_kernel_fd(listener), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            fd = gsi_errno();
    } while (fd == -EINTR);
    return fd;
}

/* What cannot be passed on is no reason to lose the connection. */
void gsi_kernel_inherit(int listener, int fd, int level, int number)
{
    int theirs, ours;
    socklen_t n = sizeof theirs, m = sizeof ours;
    bool starts_at_0 = level == SOL_SOCKET && number == SO_PRIORITY; /* sk_clone_lock: on each accepted socket */
    if (gsi_sys.getsockopt(listener, level, number, &theirs, &n) < 0 || (starts_at_0 && theirs == 0))
        return;
    if (gsi_sys.getsockopt(fd, level, number, &ours, &m) < 0 || theirs == ours)
        return;
    bool doubled = level == SOL_SOCKET && (number == SO_RCVBUF || number == SO_SNDBUF); /* socket(7) */
    int value = doubled ? theirs / 2 : theirs;
    (void)gsi_sys.setsockopt(fd, level, number, &value, sizeof value);
}
