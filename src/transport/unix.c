/* unix.c: unix://path, unix://@abstract over the kernel's local sockets; unix:// (listen only) lets the kernel choose a name.
 *
 * In the text a backslash is written \\ and any byte may be \xHH, as gs_addr_text writes them. A socket's file stays after close,
 * as in gen_tcp: remove it before listening again. A listener whose backlog is full makes connect answer -EAGAIN, with nothing
 * left behind: the caller tries again after a while (the kernel tells nobody when there is room). With option fd, whose
 * descriptor is taken by one try, that is -EBUSY.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "transport/kernel.h"
#include "transport/registry.h"

enum { TEXT_MAX = 4 * sizeof(((struct sockaddr_un *)0)->sun_path) }; /* every byte written as \xHH */

static int read_name(const char *rest, gs_addr *out)
{
    char text[sizeof "local:" + TEXT_MAX];
    if (strlen(rest) > TEXT_MAX)
        return gsi_fail(-ENAMETOOLONG, "a local address of %zu characters: at most 108 bytes fit", strlen(rest));
    snprintf(text, sizeof text, "%s%s", *rest == '@' ? "" : "local:", rest);
    return gs_addr_parse(out, text);
}

static bool is_file(const gs_addr *a)
{
    gs_bytes path = gs_addr_path(a);
    return path.n > 0 && path.p[0] != 0;
}

/* A file that this call made goes with its failure, or the next try finds the address in use. */
static void remove_file(const gs_addr *a)
{
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    if (!is_file(a))
        return;
    gs_bytes bytes = gs_addr_path(a);
    memcpy(path, bytes.p, bytes.n);
    path[bytes.n] = '\0';
    (void)gsi_sys.unlink(path);
}

static int check_family(const gs_opt *opts)
{
    const gs_opt *o = gsi_opts_find(opts, GS_OPT_FAMILY);
    return o && o->v.i != AF_UNIX ? gsi_fail(-EINVAL, "option family: the scheme unix has local only") : 0;
}

/* ---- listen ---- */

/* What to listen at: the text, and over it what ip and ifaddr say (1 then, else 0). */
static int listen_name(const gs_target *at, const gs_opt *opts, gs_addr *local)
{
    int e = check_family(opts);
    if (e == 0)
        e = *at->rest ? read_name(at->rest, local) : gs_addr_local(local, NULL, 0);
    return e < 0 ? e : gsi_opts_local_over(opts, local);
}

static int unix_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    bool given;
    int domain;
    gs_addr local;
    int said = listen_name(at, opts, &local);
    if (said < 0)
        return gsi_kernel_refuse(opts, said);
    int fd = gsi_kernel_open(io, AF_UNIX, opts, &given, &domain);
    if (fd < 0)
        return fd;
    bool binds = said || !given || !gsi_kernel_is_bound(fd); /* else it is assumed to be bound appropriately */
    int e = binds ? gsi_kernel_bind(fd, &local) : 0;
    if (e == 0 && (e = gsi_kernel_listen(fd, opts)) < 0 && binds)
        remove_file(&local);
    if (e < 0)
        gsi_sys.close(fd);
    else
        *ctx = gsi_kernel_ctx(fd);
    return e;
}

/* Linux gives a connection none of its listener's options. */
static int unix_accept(void *listener, gs_io *io, void **ctx)
{
    static const int passed_on[] = {SO_SNDBUF, SO_RCVBUF, SO_PRIORITY, SO_KEEPALIVE};
    (void)io;
    int fd = gsi_kernel_accept(listener);
    if (fd < 0)
        return fd;
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
        gsi_kernel_inherit(gsi_kernel_fd(listener), fd, SOL_SOCKET, passed_on[i]);
    *ctx = gsi_kernel_ctx(fd);
    return 0;
}

/* ---- connect ---- */

static int target_name(const gs_target *to, const gs_opt *opts, gs_addr *name)
{
    int e = check_family(opts);
    if (e < 0)
        return e;
    return *to->rest ? read_name(to->rest, name) : gsi_fail(GS_EFORMAT, "unix:// without a path names nobody to connect to");
}

static int bind_and_connect(int fd, const gs_addr *to, const gs_opt *opts, bool given)
{
    gs_addr local;
    int said = gsi_opts_local(opts, AF_UNIX, &local);
    int e = said > 0 ? gsi_kernel_bind(fd, &local) : said;
    if (e < 0)
        return e;
    e = given && gsi_kernel_is_connected(fd) ? 0 : gsi_kernel_connect(fd, to);
    if (e < 0 && said > 0)
        remove_file(&local);
    if (e == -EAGAIN && given)
        return gsi_fail(-EBUSY, "the listener's backlog is full; option fd gives this call one try");
    return e == -EAGAIN ? gsi_fail(e, "the listener's backlog is full") : e;
}

static int unix_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    bool given;
    int domain;
    gs_addr name;
    int e = target_name(to, opts, &name);
    if (e < 0)
        return gsi_kernel_refuse(opts, e);
    int fd = gsi_kernel_open(io, AF_UNIX, opts, &given, &domain);
    if (fd < 0)
        return fd;
    e = bind_and_connect(fd, &name, opts, given);
    if (e < 0)
        gsi_sys.close(fd);
    else
        *ctx = gsi_kernel_ctx(fd);
    return e;
}

/* Who called connect, or for a connection that we opened who called listen (unix(7), SO_PEERCRED). */
static int unix_peer(void *ctx, gs_peer *out)
{
    struct ucred who;
    socklen_t n = sizeof who;
    if (gsi_sys.getsockopt(gsi_kernel_fd(ctx), SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
        return gsi_errno();
    if (who.uid == (uid_t)-1)
        return -ENOTCONN;
    *out = (gs_peer){.kind = GS_PEER_UNIX, .pid = who.pid, .uid = who.uid, .gid = who.gid};
    return 0;
}

const struct gs_transport gsi_unix = {
    .size = sizeof gsi_unix,
    .scheme = "unix",
    .flags = GS_T_KERNEL,
    .listen = unix_listen,
    .accept = unix_accept,
    .connect = unix_connect,
    .readv = gsi_kernel_readv,
    .writev = gsi_kernel_writev,
    .sendfile = gsi_kernel_sendfile,
    .shutdown = gsi_kernel_shutdown,
    .close = gsi_kernel_close,
    .poll = gsi_kernel_poll,
    .setopt = gsi_kernel_set,
    .getopt = gsi_kernel_get,
    .name = gsi_kernel_name,
    .peer = unix_peer,
};
