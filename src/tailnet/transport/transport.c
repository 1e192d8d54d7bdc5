/* transport.c: tailnet://: the kernel's TCP in a node's private network, and who is at the other end.
 *
 * The bytes are tcp's matter: its slots work on a descriptor that was made inside. What is added here is the choice of the node,
 * names, the stamp by which a listener knows its peers, and that a connection ends when its peer leaves the tailnet.
 */
#include <errno.h>
#include <fcntl.h>
#include <gensock/tailnet.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tailnet/node/node.h"
#include "tailnet/transport/transport.h"

enum { ADDRESSES = 16, REST_MAX = 512 };

static const struct gs_transport *tcp;

/* A connection or a listener. */
struct end {
    void *tcp; /* its ctx */
    bool listener;
    union {
        struct conn conn;
        struct listening listening;
    };
};

/* ---- options ---- */

static const gs_opt *find(const gs_opt *opts, int name)
{
    for (; opts && opts->name != GS_OPT_END; opts++)
        if (opts->name == name)
            return opts;
    return NULL;
}

static int check(bool server, const gs_target *at, const gs_opt *opts)
{
    (void)server, (void)at;
    if (find(opts, GS_OPT_FD))
        return gs_fail(-EINVAL, "option fd: sockets of a tailnet are made by its node");
    if (find(opts, GS_OPT_NETNS))
        return gs_fail(-EINVAL, "option netns: a tailnet's node has a network of its own");
    if (find(opts, GS_OPT_BIND_TO_DEVICE))
        return gs_fail(-EINVAL, "option bind_to_device: a tailnet has one device");
    return 0;
}

/* The list with our descriptor behind it, to be freed. */
static gs_opt *with_fd(const gs_opt *opts, int fd)
{
    size_t n = 0;
    while (opts && opts[n].name != GS_OPT_END)
        n++;
    gs_opt *all = OPENSSL_malloc((n + 2) * sizeof *all);
    if (!all)
        return NULL;
    if (n)
        memcpy(all, opts, n * sizeof *all);
    all[n] = (gs_opt){.name = GS_OPT_FD, .v.i = fd};
    all[n + 1] = (gs_opt){.name = GS_OPT_END};
    return all;
}

static int choose_node(const gs_opt *opts, struct node **out)
{
    const gs_opt *o = find(opts, GS_OPT_TAILNET_NODE);
    int e = o ? gsi_node_of((gs_tailnet){(uint64_t)o->v.i}, out) : gsi_node_default(out);
    if (o && e < 0)
        return gs_fail(e, "option tailnet_node: the node was stopped, or this is none");
    return e;
}

/* AF_UNSPEC: any. */
static int wanted_family(const gs_opt *opts)
{
    const gs_opt *o = find(opts, GS_OPT_FAMILY);
    if (o)
        return (int)o->v.i;
    for (o = opts; o && o->name != GS_OPT_END; o++)
        if ((o->name == GS_OPT_IP || o->name == GS_OPT_IFADDR) && o->v.addr)
            return gs_addr_family(o->v.addr);
    return AF_UNSPEC;
}

/* ---- addresses: host:port, [v6]:port, :port ---- */

static int split(const char *rest, const char **host, size_t *n, uint16_t *port)
{
    const char *colon = strrchr(rest, ':');
    unsigned value = 0;
    if (strlen(rest) > REST_MAX || !colon || !colon[1])
        return gs_fail(GS_EFORMAT, "tailnet: not an address of the form name:port");
    for (const char *p = colon + 1; *p; p++) {
        if (*p < '0' || *p > '9' || (value = value * 10 + (unsigned)(*p - '0')) > UINT16_MAX)
            return gs_fail(GS_EFORMAT, "tailnet: \"%.32s\" is no port", colon + 1);
    }
    *host = rest;
    *n = (size_t)(colon - rest);
    if (*n >= 2 && rest[0] == '[' && rest[*n - 1] == ']') {
        *host = rest + 1;
        *n -= 2;
    } else if (memchr(rest, ':', *n))
        return gs_fail(GS_EFORMAT, "tailnet: an IPv6 address stands in brackets: [fd7a::1]:80");
    *port = (uint16_t)value;
    return 0;
}

static int family_of(const struct ip *ip) { return gsi_ip_is_v4(ip) ? AF_INET : AF_INET6; }

static int resolve(struct node *n, const char *rest, int family, struct endpoint *out)
{
    struct ip list[ADDRESSES];
    const char *host;
    size_t len;
    int e = split(rest, &host, &len, &out->port);
    if (e == 0 && !len)
        e = gs_fail(GS_EFORMAT, "tailnet: no name before the port");
    int count = e == 0 ? gsi_node_resolve(n, host, len, list, ADDRESSES) : e;
    for (int i = 0; i < count && i < ADDRESSES; i++)
        if (family == AF_UNSPEC || family_of(&list[i]) == family) {
            out->ip = list[i];
            return 0;
        }
    return count < 0 ? count : gs_fail(GS_ENXDOMAIN, "\"%.*s\" has no address of this family", (int)len, host);
}

static gs_addr addr_of(const struct endpoint *e)
{
    gs_addr a = {0};
    a.len = gsi_endpoint_to_sockaddr(e, &a.sa);
    return a;
}

/* ---- ends ---- */

static struct end *end_new(struct node *n, bool listener)
{
    struct end *end = OPENSSL_zalloc(sizeof *end);
    if (!end)
        return NULL;
    end->listener = listener;
    gsi_node_hold(n);
    if (listener)
        end->listening.node = n;
    else
        end->conn.node = n;
    return end;
}

static struct node *node_of(const struct end *end) { return end->listener ? end->listening.node : end->conn.node; }

static void end_free(struct end *end)
{
    gsi_node_release(node_of(end));
    OPENSSL_free(end);
}

static int fd_of(const struct end *end)
{
    size_t buffered;
    return tcp->poll(end->tcp, &buffered);
}

/* ---- connect ---- */

/* The node must not reset a descriptor that tcp has closed already: it holds one of its own while tcp opens. */
static int open_tcp(struct end *end, gs_io *io, const struct endpoint *to, const gs_opt *opts, int fd)
{
    int theirs = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    gs_opt *all = theirs >= 0 ? with_fd(opts, theirs) : NULL;
    gs_addr addr = addr_of(to);
    if (!all) {
        int e = theirs < 0 ? -errno : -ENOMEM;
        if (theirs >= 0)
            close(theirs);
        return e;
    }
    int e = gsi_conn_begin(end->conn.node, &end->conn, fd, to);
    if (e < 0)
        close(theirs);
    else {
        e = tcp->connect(io, &(gs_target){.addr = &addr}, all, &end->tcp);
        if (e == 0 || e == -EINPROGRESS)
            gsi_conn_moved(&end->conn, fd_of(end));
        else
            gsi_conn_end(&end->conn);
    }
    OPENSSL_free(all);
    return e;
}

static void tailnet_close(void *ctx, bool reset)
{
    struct end *end = ctx;
    if (end->listener)
        gsi_listening_end(&end->listening);
    else
        gsi_conn_end(&end->conn);
    tcp->close(end->tcp, reset);
    end_free(end);
}

static int tailnet_connect(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    struct node *n;
    struct endpoint to;
    int e = check(false, at, opts);
    if (e == 0)
        e = choose_node(opts, &n);
    if (e < 0)
        return e;
    struct end *end = NULL;
    int fd = -1;
    e = resolve(n, at->rest, wanted_family(opts), &to);
    if (e == 0)
        e = fd = gsi_node_socket(n, family_of(&to.ip), SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (e >= 0)
        e = (end = end_new(n, false)) ? open_tcp(end, io, &to, opts, fd) : -ENOMEM;
    if (fd >= 0)
        close(fd);
    gsi_node_release(n);
    if (e == 0 && (e = gsi_conn_established(&end->conn)) < 0) {
        tailnet_close(end, true);
        return e;
    }
    if (e == 0 || e == -EINPROGRESS)
        *ctx = end;
    else if (end)
        end_free(end);
    return e;
}

static int tailnet_handshake(void *ctx)
{
    struct end *end = ctx;
    int e = tcp->handshake(end->tcp);
    if (e == -EINPROGRESS)
        return e;
    int why = gsi_conn_established(&end->conn);
    return why < 0 ? why : e;
}

/* ---- listen, accept ---- */

/* One socket serves both families, where the machine has them. */
static int listening_socket(struct node *n, const struct endpoint *at, bool any, int family)
{
    int domain = any ? family == AF_UNSPEC ? AF_INET6 : family : family_of(&at->ip), yes = 1, no = 0;
    int fd = gsi_node_socket(n, domain, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd == -EAFNOSUPPORT && any && family == AF_UNSPEC)
        fd = gsi_node_socket(n, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    else if (fd >= 0 && any && family == AF_UNSPEC)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_SAVE_SYN, &yes, sizeof yes) < 0) {
        int e = gs_fail(-errno, "this kernel keeps no SYN (TCP_SAVE_SYN): connections would have no identity");
        close(fd);
        return e;
    }
    return fd;
}

static int listen_tcp(struct end *end, gs_io *io, const struct endpoint *at, bool any, const gs_opt *opts, int fd)
{
    int domain;
    socklen_t len = sizeof domain;
    gs_addr addr = addr_of(at);
    gs_opt *all = with_fd(opts, fd);
    if (!all || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0) {
        int e = all ? -errno : -ENOMEM;
        close(fd);
        OPENSSL_free(all);
        return e;
    }
    if (any)
        (void)!gs_addr_special(&addr, domain, GS_ADDR_ANY, at->port); /* cannot fail: the family is one of two */
    int e = tcp->listen(io, &(gs_target){.addr = &addr}, all, &end->tcp);
    OPENSSL_free(all);
    return e;
}

static int tailnet_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    struct node *n;
    struct endpoint local = {0};
    const char *host;
    size_t len;
    int e = check(true, at, opts);
    if (e == 0)
        e = split(at->rest, &host, &len, &local.port);
    if (e == 0)
        e = choose_node(opts, &n);
    if (e < 0)
        return e;
    int family = wanted_family(opts), fd = -1;
    if (len)
        e = resolve(n, at->rest, family, &local);
    if (e == 0)
        e = fd = listening_socket(n, &local, !len, family);
    struct end *end = e >= 0 ? end_new(n, true) : NULL;
    if (e >= 0)
        e = end ? listen_tcp(end, io, &local, !len, opts, fd) : -ENOMEM;
    if (!end && fd >= 0)
        close(fd);
    gsi_node_release(n);
    if (e == 0 && (e = gsi_listening_begin(n, &end->listening, fd_of(end))) < 0)
        tcp->close(end->tcp, true);
    if (e == 0)
        *ctx = end;
    else if (end)
        end_free(end);
    return e;
}

/* Those of peers that have left the tailnet since are passed over. */
static int accept_next(struct end *l, gs_io *io, struct end *end)
{
    for (;;) {
        int e = tcp->accept(l->tcp, io, &end->tcp);
        if (e < 0)
            return gsi_listening_error(&l->listening, e);
        if (gsi_conn_accepted(end->conn.node, &end->conn, fd_of(end)) == 0)
            return 0;
        tcp->close(end->tcp, true);
    }
}

static int tailnet_accept(void *listener, gs_io *io, void **ctx)
{
    struct end *l = listener, *end = end_new(l->listening.node, false);
    if (!end)
        return -ENOMEM;
    gsi_accept_begin(l->listening.node);
    int e = accept_next(l, io, end);
    gsi_accept_end(l->listening.node);
    if (e == 0)
        *ctx = end;
    else
        end_free(end);
    return e;
}

/* ---- bytes and the rest ---- */

/* A connection that the node has reset tells so once, by the code of what did it; when a send was told, the kernel tells a
 * receive that there is no connection. */
static ssize_t end_of(ssize_t e) { return e == -ENOTCONN || e == -ECONNABORTED ? -ECONNRESET : e; }

static ssize_t tailnet_readv(void *ctx, const struct iovec *iov, int n)
{
    return end_of(tcp->readv(((struct end *)ctx)->tcp, iov, n));
}

/* A stop of the node waits for what the kernel has not taken. */
static ssize_t tailnet_writev(void *ctx, const struct iovec *iov, int n)
{
    struct end *end = ctx;
    size_t all = 0;
    for (int i = 0; i < n; i++)
        all += iov[i].iov_len;
    ssize_t sent = tcp->writev(end->tcp, iov, n);
    atomic_store(&end->conn.held, sent >= 0 ? (size_t)sent < all : sent == -EAGAIN);
    return sent == -ECONNABORTED ? -ECONNRESET : sent;
}

static ssize_t tailnet_sendfile(void *ctx, int fd, off_t at, size_t n)
{
    ssize_t sent = tcp->sendfile(((struct end *)ctx)->tcp, fd, at, n);
    return sent == -ECONNABORTED ? -ECONNRESET : sent;
}

static int tailnet_shutdown(void *ctx, gs_how how) { return tcp->shutdown(((struct end *)ctx)->tcp, how); }
static int tailnet_poll(void *ctx, size_t *buffered) { return tcp->poll(((struct end *)ctx)->tcp, buffered); }
static int tailnet_getopt(void *ctx, gs_opt *o) { return tcp->getopt(((struct end *)ctx)->tcp, o); }

static int tailnet_setopt(void *ctx, const gs_opt *o)
{
    if (o->name == GS_OPT_TAILNET_NODE)
        return -ENOTSUP;
    return tcp->setopt(((struct end *)ctx)->tcp, o);
}

/* An IPv4 address is one, also on a socket of both families. */
static int tailnet_name(void *ctx, bool peer, gs_addr *out)
{
    struct endpoint e;
    int r = tcp->name(((struct end *)ctx)->tcp, peer, out);
    if (r == 0 && gs_addr_family(out) == AF_INET6 && gsi_endpoint_of_sockaddr(&out->sa, &e) == 0 && gsi_ip_is_v4(&e.ip))
        *out = addr_of(&e);
    return r;
}

static int tailnet_peer(void *ctx, gs_peer *out)
{
    const struct end *end = ctx;
    const gs_peer *who = end->listener ? NULL : gsi_conn_peer(&end->conn);
    if (who)
        *out = *who;
    else
        out->kind = GS_PEER_UNKNOWN;
    return 0;
}

static const struct gs_transport tailnet = {
    .size = sizeof tailnet,
    .scheme = "tailnet",
    .flags = GS_T_KERNEL,
    .listen = tailnet_listen,
    .accept = tailnet_accept,
    .connect = tailnet_connect,
    .handshake = tailnet_handshake,
    .readv = tailnet_readv,
    .writev = tailnet_writev,
    .sendfile = tailnet_sendfile,
    .shutdown = tailnet_shutdown,
    .close = tailnet_close,
    .poll = tailnet_poll,
    .setopt = tailnet_setopt,
    .getopt = tailnet_getopt,
    .name = tailnet_name,
    .peer = tailnet_peer,
};

/* The registry keeps a copy of the table. */
static bool is_registered(void)
{
    const struct gs_transport *t = gs_transport_find("tailnet");
    return t && t->listen == tailnet_listen;
}

static void find_tcp(void) { tcp = gs_transport_find("tcp"); }

int gsi_tailnet_register(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* other threads' streams read it while a node starts */
    pthread_once(&once, find_tcp);
    if (is_registered())
        return 0;
    int e = gs_transport_register(&tailnet);
    return e == -EEXIST && is_registered() ? 0 : e;
}
