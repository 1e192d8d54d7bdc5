/* tcp.c: tcp://host:port over the kernel's TCP, IPv4 and IPv6. The library resolves the host (GS_T_HOST) and calls connect for
 * each address in turn.
 *
 * Options lie between socket(2) and bind, listen or connect, in the order of the list. reuseaddr is not set by itself, as in
 * gen_tcp. A connection to an own ephemeral port that connects to itself is what the kernel says it is: connected.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "transport/kernel.h"
#include "transport/registry.h"

static bool is_any(const gs_addr *a)
{
    gs_addr any;
    int family = gs_addr_family(a);
    if (gs_addr_special(&any, family, GS_ADDR_ANY, (uint16_t)gs_addr_port(a)) < 0)
        return false;
    return gs_addr_equal(a, &any);
}

/* The family option, where it stands, is that of the address: the resolver saw to it. */
static int check_family(const gs_opt *opts, const gs_addr *a)
{
    const gs_opt *o = gsi_opts_find(opts, GS_OPT_FAMILY);
    int family = gs_addr_family(a);
    if (family != AF_INET && family != AF_INET6)
        return gsi_fail(-EAFNOSUPPORT, "tcp: an address of family %d; tcp has inet and inet6", family);
    if (o && o->v.i == AF_UNIX)
        return gsi_fail(-EINVAL, "option family: local, but the scheme tcp has inet and inet6; local is unix://path");
    return o && o->v.i != family ? gsi_fail(-EINVAL, "option family: not that of the address") : 0;
}

/* ---- listen ---- */

/* Of the address; "any" takes the family that ip or ifaddr name, as gen_tcp:listen does. */
static int listen_family(const gs_addr *at, const gs_opt *opts)
{
    int family = gs_addr_family(at);
    if (!is_any(at) || gsi_opts_find(opts, GS_OPT_FAMILY))
        return family;
    for (const gs_opt *o = opts; o && o->name != GS_OPT_END; o++)
        if ((o->name == GS_OPT_IP || o->name == GS_OPT_IFADDR) && o->v.addr)
            family = gs_addr_family(o->v.addr);
    return family == AF_INET || family == AF_INET6 ? family : gs_addr_family(at);
}

static int bind_listener(int fd, int domain, const gs_addr *at, const gs_opt *opts, bool given)
{
    gs_addr local = *at;
    bool asks = !is_any(at) || gs_addr_port(at);
    int e = is_any(at) ? gs_addr_special(&local, domain, GS_ADDR_ANY, (uint16_t)gs_addr_port(at)) : 0;
    if (e < 0)
        return e;
    int said = gsi_opts_local_over(opts, &local);
    if (said < 0)
        return said;
    if (given && !said && (!asks || gsi_kernel_is_bound(fd)))
        return 0; /* assumed to be bound appropriately */
    return gsi_kernel_bind(fd, &local);
}

static int tcp_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    bool given, decides = gsi_opts_find(opts, GS_OPT_FD) && is_any(at->addr);
    int domain, e = check_family(opts, at->addr);
    if (e < 0)
        return gsi_kernel_refuse(opts, e);
    int fd = gsi_kernel_open(io, decides ? AF_UNSPEC : listen_family(at->addr, opts), opts, &given, &domain);
    if (fd < 0)
        return fd;
    e = bind_listener(fd, domain, at->addr, opts, given);
    if (e == 0)
        e = gsi_kernel_listen(fd, opts);
    if (e < 0)
        gsi_sys.close(fd);
    else
        *ctx = gsi_kernel_ctx(fd);
    return e;
}

/* Linux gives a connection all options of its listener but this one. */
static int tcp_accept(void *listener, gs_io *io, void **ctx)
{
    (void)io;
    int fd = gsi_kernel_accept(listener);
    if (fd < 0)
        return fd;
    gsi_kernel_inherit(gsi_kernel_fd(listener), fd, SOL_SOCKET, SO_PRIORITY);
    *ctx = gsi_kernel_ctx(fd);
    return 0;
}

/* ---- connect ---- */

static int bind_and_connect(int fd, int domain, const gs_addr *to, const gs_opt *opts, bool given)
{
    gs_addr local;
    int e = gsi_opts_local(opts, domain, &local);
    if (e > 0)
        e = gsi_kernel_bind(fd, &local);
    if (e < 0)
        return e;
    return given && gsi_kernel_is_connected(fd) ? 0 : gsi_kernel_connect(fd, to);
}

static int tcp_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    bool given;
    int domain, e = check_family(opts, to->addr);
    if (e < 0)
        return gsi_kernel_refuse(opts, e);
    int fd = gsi_kernel_open(io, gs_addr_family(to->addr), opts, &given, &domain);
    if (fd < 0)
        return fd;
    e = bind_and_connect(fd, domain, to->addr, opts, given);
    if (e == 0 || e == -EINPROGRESS)
        *ctx = gsi_kernel_ctx(fd);
    else
        gsi_sys.close(fd);
    return e;
}

/* SO_ERROR is 0 also while the attempt still runs; writable says that it ended (connect(2), EINPROGRESS). */
static int tcp_handshake(void *ctx)
{
    struct pollfd p = {.fd = gsi_kernel_fd(ctx), .events = POLLOUT};
    int n;
    do {
        n = gsi_sys.poll(&p, 1, 0);
        if (n < 0)
            n = gsi_errno();
    } while (n == -EINTR);
    if (n <= 0)
        return n == 0 || n == -EAGAIN ? -EINPROGRESS : n;
    int error = 0;
    socklen_t len = sizeof error;
    if (gsi_sys.getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return gsi_errno();
    if (error == ECONNREFUSED)
        return gsi_fail(-ECONNREFUSED, "nobody listens there");
    return -error;
}

const struct gs_transport gsi_tcp = {
    .size = sizeof gsi_tcp,
    .scheme = "tcp",
    .flags = GS_T_HOST | GS_T_KERNEL,
    .listen = tcp_listen,
    .accept = tcp_accept,
    .connect = tcp_connect,
    .handshake = tcp_handshake,
    .readv = gsi_kernel_readv,
    .writev = gsi_kernel_writev,
    .sendfile = gsi_kernel_sendfile,
    .shutdown = gsi_kernel_shutdown,
    .close = gsi_kernel_close,
    .poll = gsi_kernel_poll,
    .setopt = gsi_kernel_set,
    .getopt = gsi_kernel_get,
    .name = gsi_kernel_name,
};
