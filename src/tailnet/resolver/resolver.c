/* resolver.c: resolver.h. UDP, and TCP with pipelining (RFC 7766): a connection is read only while its answers are taken. */
#include "tailnet/resolver/resolver.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tailnet/bytes/bytes.h"

enum {
    SERVERS = 4, /* UDP and TCP of two addresses */
    FIRST_CONNECTION = SERVERS,
    EVENTS = 16,
    DATAGRAMS = 32, /* of one socket at a time */
    FRAME = 2,      /* the length in front of a message */
    BACKLOG = 16,
};

/* libc asks 127.0.0.1 where there is no resolv.conf to put another in the place of. */
static const char *const addresses[SERVERS / 2] = {RESOLVER_ADDRESS, "127.0.0.1"};

struct connection {
    int fd;
    uint64_t used; /* the resolver's count of turns */
    size_t in_n, out_at, out_n;
    uint8_t in[FRAME + DNS_QUERY_MAX], out[FRAME + DNS_TCP_MAX];
};

struct resolver {
    int epoll, server[SERVERS]; /* even: UDP, odd: TCP */
    uint64_t turns;
    struct connection *connection[RESOLVER_CONNECTIONS]; /* NULL: free */
};

/* ---- UDP ---- */

static void serve_datagrams(int fd, const struct netmap *m)
{
    uint8_t query[DNS_QUERY_MAX + 1], answer[DNS_TCP_MAX];
    for (int i = 0; i < DATAGRAMS; i++) {
        struct sockaddr_storage from;
        socklen_t from_n = sizeof from;
        ssize_t n = recvfrom(fd, query, sizeof query, MSG_DONTWAIT, (struct sockaddr *)&from, &from_n);
        if (n < 0)
            return;
        size_t len = gsi_dns_answer(m, query, (size_t)n, DNS_BY_UDP, answer);
        if (len)
            (void)sendto(fd, answer, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&from, from_n);
    }
}

/* ---- TCP ---- */

/* at_once: what was not delivered is lost, and nothing of it stays in the namespace. */
static void end_connection(struct resolver *r, size_t i, bool at_once)
{
    struct linger none = {.l_onoff = 1};
    if (at_once)
        (void)setsockopt(r->connection[i]->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(r->connection[i]->fd);
    OPENSSL_free(r->connection[i]);
    r->connection[i] = NULL;
}

static size_t find_place(struct resolver *r)
{
    size_t oldest = 0;
    for (size_t i = 0; i < RESOLVER_CONNECTIONS; i++) {
        if (!r->connection[i])
            return i;
        if (r->connection[i]->used < r->connection[oldest]->used)
            oldest = i;
    }
    end_connection(r, oldest, true);
    return oldest;
}

static int watch(const struct resolver *r, int operation, int fd, uint32_t events, size_t at)
{
    struct epoll_event e = {.events = events, .data.u64 = at};
    return epoll_ctl(r->epoll, operation, fd, &e) < 0 ? -errno : 0;
}

static void accept_connection(struct resolver *r, int server)
{
    int fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *c = fd < 0 ? NULL : OPENSSL_zalloc(sizeof *c);
    if (!c) {
        if (fd >= 0)
            close(fd);
        return;
    }
    size_t i = find_place(r);
    c->fd = fd;
    c->used = r->turns;
    r->connection[i] = c;
    if (watch(r, EPOLL_CTL_ADD, fd, EPOLLIN, FIRST_CONNECTION + i) < 0)
        end_connection(r, i, true);
}

/* False: it is broken. */
static bool write_out(struct connection *c)
{
    while (c->out_at < c->out_n) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_n = 0;
    return true;
}

/* The next whole message of what has come. False: there can be none. */
static bool answer_next(struct connection *c, const struct netmap *m, bool *found)
{
    struct reader r = reader_of(c->in, c->in_n);
    size_t n = read_u16(&r);
    *found = false;
    if (!r.ok)
        return true;
    if (n > DNS_QUERY_MAX)
        return false;
    const uint8_t *query = read_bytes(&r, n);
    if (!r.ok)
        return true;
    *found = true;
    struct writer w = writer_of(c->out, FRAME);
    size_t len = gsi_dns_answer(m, query, n, DNS_BY_TCP, c->out + FRAME);
    write_u16(&w, (uint16_t)len);
    c->out_n = len ? FRAME + len : 0;
    memmove(c->in, r.p, r.n);
    c->in_n = r.n;
    return true;
}

/* False: it is over. One read a turn, so that nobody is served alone. */
static bool serve_connection(struct connection *c, const struct netmap *m, uint32_t events)
{
    bool found = true;
    if (!write_out(c))
        return false;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && c->in_n < sizeof c->in) {
        ssize_t n = recv(c->fd, c->in + c->in_n, sizeof c->in - c->in_n, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        c->in_n += n > 0 ? (size_t)n : 0;
    }
    while (found && !c->out_n)
        if (!answer_next(c, m, &found) || !write_out(c))
            return false;
    return true;
}

/* ---- all ---- */

void gsi_resolver_serve(struct resolver *r, const struct netmap *m)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(r->epoll, events, EVENTS, 0);
    r->turns++;
    for (int k = 0; k < n; k++) {
        size_t at = (size_t)events[k].data.u64, i = at - FIRST_CONNECTION;
        if (at < SERVERS && at % 2)
            accept_connection(r, r->server[at]);
        else if (at < SERVERS)
            serve_datagrams(r->server[at], m);
        else if (r->connection[i]) { /* one that was accepted in this very turn may have taken the place: it only looks */
            struct connection *c = r->connection[i];
            c->used = r->turns;
            bool lives = serve_connection(c, m, events[k].events);
            if (!lives || watch(r, EPOLL_CTL_MOD, c->fd, c->out_n ? EPOLLOUT : EPOLLIN, at) < 0)
                end_connection(r, i, false);
        }
    }
}

int gsi_resolver_fd(const struct resolver *r) { return r->epoll; }

static int open_server(struct resolver *r, struct namespace *ns, size_t i)
{
    static const char device[] = "lo";
    const char *text = addresses[i / 2];
    bool tcp = i % 2;
    struct endpoint e = {.port = DNS_PORT};
    struct sockaddr_storage at;
    int fd = gsi_namespace_socket(ns, AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0), code;
    if (fd < 0)
        return fd;
    r->server[i] = fd;
    if ((code = gsi_ip_parse(text, strlen(text), &e.ip)) < 0)
        return code;
    socklen_t n = gsi_endpoint_to_sockaddr(&e, &at);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){tcp}, sizeof(int)); /* TIME_WAIT; not two UDP servers */
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, sizeof device) < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 ||
        (tcp && listen(fd, BACKLOG) < 0)) {
        code = -errno;
        return gs_fail(code, "%s:%d inside the tailnet's network, for its names: %s", text, DNS_PORT, gs_error_text(code));
    }
    return watch(r, EPOLL_CTL_ADD, fd, EPOLLIN, i);
}

int gsi_resolver_open(struct resolver **out, struct namespace *ns)
{
    struct ip own;
    struct resolver *r = OPENSSL_zalloc(sizeof *r);
    if (!r)
        return gs_fail(-ENOMEM, "no memory for a resolver");
    for (size_t i = 0; i < SERVERS; i++)
        r->server[i] = -1;
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    int e = r->epoll < 0 ? -errno : 0;
    if (e < 0)
        (void)gs_fail(e, "epoll: %s", gs_error_text(e));
    if (e == 0)
        e = gsi_ip_parse(RESOLVER_ADDRESS, sizeof RESOLVER_ADDRESS - 1, &own);
    if (e == 0)
        e = gsi_namespace_local(ns, &own, true);
    for (size_t i = 0; i < SERVERS && e == 0; i++)
        e = open_server(r, ns, i);
    if (e == 0)
        *out = r;
    else
        gsi_resolver_close(r);
    return e;
}

void gsi_resolver_close(struct resolver *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < RESOLVER_CONNECTIONS; i++)
        if (r->connection[i])
            end_connection(r, i, true);
    for (size_t i = 0; i < SERVERS; i++)
        if (r->server[i] >= 0)
            close(r->server[i]);
    if (r->epoll >= 0)
        close(r->epoll);
    OPENSSL_free(r);
}
