/* open.c: making sockets, naming them, and who owns them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "net/netns.h"
#include "socket/socket.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void first_use(void)
{
    gsi_kind_init(GSI_SOCKET, sizeof(struct gsi_socket));
    gsi_source_register(GSI_SOCKET, &gsi_socket_ops);
}

struct gsi_socket *gsi_socket_new(const struct gsi_socket_seed *seed)
{
    uint64_t id;
    struct gsi_socket *s = gsi_object_new(GSI_SOCKET, &id);
    if (!s)
        return NULL;
    char *rest = (char *)&s->source.owner; /* the object's head lives on */
    memset(rest, 0, sizeof *s - (size_t)(rest - (char *)s));
    s->id = id;
    s->fd = seed->fd;
    s->domain = seed->domain;
    s->type = seed->type;
    s->protocol = seed->protocol;
    s->state = seed->state;
    s->borrowed = seed->borrowed;
    s->registered = seed->registered;
    if (s->registered)
        gsi_registry_count(1);
    return s;
}

/* ---- the owner ---- */

static bool may_give(const struct gsi_mailbox *owner)
{
    return !owner || gsi_in_turn(owner) || atomic_load_explicit(&owner->turn, memory_order_relaxed) == 0;
}

int gsi_socket_give(struct gsi_socket *s, gs_mailbox to)
{
    struct gsi_mailbox *owner = s->source.owner, *mb;
    if (!may_give(owner))
        return gsi_fail(GS_ENOTOWNER, "the socket belongs to a mailbox, and this is not the thread whose turn it is there");
    if (to.id) { /* a look before anything changes */
        int e = gsi_mailbox_lock(to, &mb);
        if (e < 0)
            return gsi_fail(GS_EBADARG, "the new owner is no mailbox");
        gsi_unlock(&mb->object);
    }
    gs_mailbox from = {owner ? owner->id : 0};
    if (owner)
        gsi_source_release(&s->source, s->id);
    if (!to.id || gsi_source_adopt(&s->source, s->id, to) == 0)
        return 0;
    /* The new owner ended between the look and the adoption. */
    if (from.id && gsi_source_adopt(&s->source, s->id, from) < 0)
        return gsi_fail(GS_EBADARG, "both the old owner and the new one have ended: the socket has none");
    return gsi_fail(GS_EBADARG, "the new owner is no mailbox");
}

/* ---- open ---- */

static int ask(int fd, int number, int *out)
{
    socklen_t n = sizeof *out;
    return gsi_sys.getsockopt(fd, SOL_SOCKET, number, out, &n) < 0 ? gsi_errno() : 0;
}

static bool registers(const gs_socket_opts *o)
{
    return o->use_registry ? o->use_registry > 0 : gsi_registry_default();
}

/* Makes the handle for a descriptor that is ours to close unless `borrowed`. Takes it. */
static int finish(gs_socket *out, struct gsi_socket_seed *seed, const gs_socket_opts *o)
{
    int e = 0;
    if (o->bind_to_device) {
        socklen_t n = (socklen_t)strnlen(o->bind_to_device, 16);
        if (gsi_sys.setsockopt(seed->fd, SOL_SOCKET, SO_BINDTODEVICE, o->bind_to_device, n) < 0)
            e = gsi_errno();
        if (e < 0) {
            char name[GSI_QUOTE_MAX];
            gsi_quote(name, sizeof name, o->bind_to_device);
            gsi_fail(e, "cannot bind to the device %s: %s", name, gs_error_text(e));
        }
    }
    struct gsi_socket *s = NULL;
    if (e == 0) {
        seed->registered = registers(o);
        s = gsi_socket_new(seed);
        e = s ? 0 : -ENOMEM;
    }
    if (e == 0 && o->owner.id) {
        e = gsi_socket_give(s, o->owner);
        if (e < 0) {
            gsi_socket_end(s);
            return e;
        }
    }
    if (e < 0) {
        if (!seed->borrowed)
            gsi_sys.close(seed->fd);
        return e;
    }
    s->debug = o->debug;
    out->id = s->id;
    gsi_socket_unlock(s);
    return 0;
}

int gs_socket_open(gs_socket *out, int domain, int type, int protocol, const gs_socket_opts *opts)
{
    static const gs_socket_opts none;
    if (!out)
        return GS_EBADARG;
    pthread_once(&once, first_use);
    const gs_socket_opts *o = opts ? opts : &none;
    if (type & (SOCK_NONBLOCK | SOCK_CLOEXEC))
        return gsi_fail(-EINVAL, "a socket's type has no flags: it is non-blocking and close-on-exec anyway");
    int fd = gsi_net_socket(o->netns, domain, type, protocol);
    if (fd < 0)
        return fd;
    struct gsi_socket_seed seed = {.fd = fd, .domain = domain, .type = type, .protocol = protocol};
    if (!protocol)
        (void)ask(fd, SO_PROTOCOL, &seed.protocol); /* which the default is; 0 says that as well */
    return finish(out, &seed, o);
}

/* What the kernel knows of a descriptor. */
static int detect(int fd, struct gsi_socket_seed *seed)
{
    int e = ask(fd, SO_DOMAIN, &seed->domain), listening = 0;
    if (e == 0)
        e = ask(fd, SO_TYPE, &seed->type);
    if (e == 0)
        e = ask(fd, SO_PROTOCOL, &seed->protocol);
    if (e < 0)
        return e;
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    if (ask(fd, SO_ACCEPTCONN, &listening) == 0 && listening)
        seed->state |= GS_SOCKET_BOUND | GS_SOCKET_LISTENING;
    else if (gsi_sys.getpeername(fd, (struct sockaddr *)&sa, &n) == 0)
        seed->state |= GS_SOCKET_BOUND | GS_SOCKET_CONNECTED;
    return 0;
}

static int make_nonblocking(int fd)
{
    int flags = gsi_sys.fcntl(fd, F_GETFL, 0);
    if (flags < 0)
        return gsi_errno();
    return !(flags & O_NONBLOCK) && gsi_sys.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? gsi_errno() : 0;
}

int gs_socket_open_fd(gs_socket *out, int fd, const gs_socket_opts *opts)
{
    static const gs_socket_opts none;
    const gs_socket_opts *o = opts ? opts : &none;
    if (!out || fd < 0 || (int)o->fd_use < GS_FD_DUP || o->fd_use > GS_FD_TAKE)
        return GS_EBADARG;
    pthread_once(&once, first_use);
    struct gsi_socket_seed seed = {.fd = fd, .borrowed = o->fd_use == GS_FD_BORROW};
    int e = o->netns ? gsi_fail(-EINVAL, "an existing descriptor is in its network namespace already") : detect(fd, &seed);
    if (e == 0 && o->fd_use == GS_FD_DUP) {
        seed.fd = gsi_sys.fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (seed.fd < 0)
            return gsi_errno();
    }
    if (e == 0) {
        e = make_nonblocking(seed.fd);
        if (e == 0)
            return finish(out, &seed, o);
    }
    if (e != -EBADF && (o->fd_use == GS_FD_TAKE || seed.fd != fd))
        gsi_sys.close(seed.fd);
    return e;
}

/* ---- names ---- */

static int sock_name(gs_socket h, gs_addr *out, int (*name)(int fd, struct sockaddr *a, socklen_t *n))
{
    struct gsi_socket *s;
    if (!out)
        return GS_EBADARG;
    int e = gsi_socket_lock(h, &s);
    if (e < 0)
        return e;
    gs_addr a = {.len = sizeof a.sa};
    if (name(s->fd, (struct sockaddr *)&a.sa, &a.len) < 0)
        e = gsi_errno();
    gsi_socket_unlock(s);
    if (e == 0)
        *out = a;
    return e;
}

int gs_socket_sockname(gs_socket s, gs_addr *out) { return sock_name(s, out, gsi_sys.getsockname); }
int gs_socket_peername(gs_socket s, gs_addr *out) { return sock_name(s, out, gsi_sys.getpeername); }

int gs_socket_bind(gs_socket h, const gs_addr *a)
{
    struct gsi_socket *s;
    if (!gsi_addr_ok(a))
        return GS_EBADARG;
    int e = gsi_socket_lock(h, &s);
    if (e < 0)
        return e;
    if (gsi_sys.bind(s->fd, (const struct sockaddr *)&a->sa, a->len) < 0)
        e = gsi_errno();
    else
        s->state |= GS_SOCKET_BOUND;
    gsi_socket_unlock(s);
    if (e < 0)
        return e;
    gs_addr bound;
    int port = gs_addr_port(a);
    if (port != 0 || (gs_addr_family(a) != AF_INET && gs_addr_family(a) != AF_INET6))
        return port < 0 ? 0 : port;
    e = gs_socket_sockname(h, &bound);
    return e < 0 ? e : gs_addr_port(&bound);
}

int gs_socket_listen(gs_socket h, int backlog)
{
    struct gsi_socket *s;
    int e = gsi_socket_lock(h, &s);
    if (e < 0)
        return e;
    if (gsi_sys.listen(s->fd, backlog) < 0)
        e = gsi_errno();
    else
        s->state |= GS_SOCKET_BOUND | GS_SOCKET_LISTENING;
    gsi_socket_unlock(s);
    return e;
}

int gs_socket_shutdown(gs_socket h, int how)
{
    struct gsi_socket *s;
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return GS_EBADARG;
    int e = gsi_socket_lock(h, &s);
    if (e < 0)
        return e;
    if (gsi_sys.shutdown(s->fd, how) < 0)
        e = gsi_errno();
    gsi_socket_unlock(s);
    return e;
}
