/* echo_epoll.c: the reference: {packet,4} echo and a counting sink, by hand on level-triggered epoll.
 *
 * One read buffer for all connections, one recv per event, one send for all whole packets of it. A connection has state only
 * while a cut packet or output that the socket would not take must be kept.
 */
#include "serve.h"

#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

enum { EVENTS = 256, ACCEPTS = 64 };

struct state {
    uint8_t *in; /* a cut packet whose header is known: in_n of in_cap bytes are there */
    size_t in_n, in_cap;
    uint8_t *out; /* what the socket would not take; nothing is read meanwhile */
    size_t out_n, out_at;
    uint8_t head[SERVE_HEADER]; /* a cut header */
    size_t head_n;
    uint64_t count; /* bytes that the sink took */
};

static struct state **table; /* by descriptor */
static size_t table_n;
static int set, listener;
static bool sink;
static uint8_t buffer[SERVE_BUFFER];

static void watch(int fd, int how, uint32_t events)
{
    struct epoll_event v = {.events = events, .data.fd = fd};
    if (epoll_ctl(set, how, fd, &v))
        serve_die("epoll_ctl");
}

static struct state *state_of(int fd)
{
    if (!table[fd] && !(table[fd] = calloc(1, sizeof *table[fd])))
        serve_die("memory");
    return table[fd];
}

static void drop_state(int fd)
{
    if (table[fd]) {
        free(table[fd]->in);
        free(table[fd]->out);
    }
    free(table[fd]);
    table[fd] = NULL;
}

static void end(int fd)
{
    drop_state(fd);
    close(fd);
}

static void accept_some(void)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
            return;
        if (fd < 0)
            serve_die("accept");
        if ((size_t)fd >= table_n) {
            size_t n = (size_t)fd * 2 + 64;
            table = realloc(table, n * sizeof *table);
            if (!table)
                serve_die("memory");
            memset(table + table_n, 0, (n - table_n) * sizeof *table);
            table_n = n;
        }
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void *copy(const void *p, size_t n, size_t room)
{
    void *c = malloc(room);
    if (!c)
        serve_die("memory");
    memcpy(c, p, n);
    return c;
}

/* Sends both pieces, or keeps what the socket does not take. */
static bool reply(int fd, struct iovec iov[2])
{
    struct msghdr m = {.msg_iov = iov[0].iov_len ? iov : iov + 1, .msg_iovlen = iov[0].iov_len && iov[1].iov_len ? 2 : 1};
    size_t all = iov[0].iov_len + iov[1].iov_len;
    if (!all)
        return true;
    ssize_t put = sendmsg(fd, &m, MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN)
        return false;
    size_t done = put < 0 ? 0 : (size_t)put;
    if (done == all)
        return true;
    struct state *s = state_of(fd);
    size_t first = done < iov[0].iov_len ? iov[0].iov_len - done : 0, skip = done + first - iov[0].iov_len;
    s->out_n = all - done;
    s->out_at = 0;
    s->out = copy((uint8_t *)iov[0].iov_base + iov[0].iov_len - first, first, s->out_n);
    memcpy(s->out + first, (uint8_t *)iov[1].iov_base + skip, s->out_n - first);
    watch(fd, EPOLL_CTL_MOD, EPOLLOUT);
    return true;
}

/* Keeps the n bytes of a cut packet. */
static void keep_cut(int fd, const uint8_t *p, size_t n, size_t missing)
{
    struct state *s = state_of(fd);
    if (n < SERVE_HEADER) {
        memcpy(s->head, p, n);
        s->head_n = n;
        return;
    }
    s->in = copy(p, n, n + missing);
    s->in_n = n;
    s->in_cap = n + missing;
}

/* One recv: the rest of a cut packet to its place, what follows into the buffer, and back what is whole. */
static bool echo(int fd)
{
    struct state *s = table[fd];
    struct iovec iov[2] = {{0}, {buffer, sizeof buffer}};
    size_t head = s ? s->head_n : 0, missing;
    if (s && s->in)
        iov[0] = (struct iovec){s->in + s->in_n, s->in_cap - s->in_n};
    else if (head)
        memcpy(buffer, s->head, head);
    iov[1].iov_base = buffer + head;
    iov[1].iov_len -= head;
    ssize_t got = iov[0].iov_len ? readv(fd, iov, 2) : recv(fd, iov[1].iov_base, iov[1].iov_len, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    if ((size_t)got < iov[0].iov_len) {
        s->in_n += (size_t)got;
        return true;
    }
    size_t n = head + (size_t)got - iov[0].iov_len, whole = serve_whole(buffer, n, &missing);
    if (whole == SIZE_MAX)
        return false;
    iov[0] = (struct iovec){s ? s->in : NULL, s && s->in ? s->in_cap : 0};
    iov[1] = (struct iovec){buffer, whole};
    if (!reply(fd, iov))
        return false;
    if ((s = table[fd])) {
        free(s->in);
        s->in = NULL;
        s->head_n = 0;
    }
    if (n > whole)
        keep_cut(fd, buffer + whole, n - whole, missing);
    else if (s && !s->out)
        drop_state(fd);
    return true;
}

static bool flush(int fd)
{
    struct state *s = table[fd];
    ssize_t put = send(fd, s->out + s->out_at, s->out_n - s->out_at, MSG_NOSIGNAL);
    if (put < 0)
        return errno == EAGAIN;
    s->out_at += (size_t)put;
    if (s->out_at < s->out_n)
        return true;
    free(s->out);
    s->out = NULL;
    watch(fd, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

/* At the end of the stream the client learns how much came. */
static bool take(int fd)
{
    struct state *s = state_of(fd);
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0)
        return errno == EAGAIN;
    s->count += (uint64_t)got;
    if (got > 0)
        return true;
    uint8_t answer[8];
    serve_count(answer, s->count);
    if (send(fd, answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
        serve_die("the answer");
    return false;
}

int main(int argc, char **argv)
{
    struct epoll_event v[EVENTS];
    sink = serve_is_sink(argc, argv);
    listener = serve_bound();
    if (listen(listener, SERVE_BACKLOG))
        serve_die("listen");
    set = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    serve_tell_port(serve_port(listener));
    for (;;) {
        int n = epoll_wait(set, v, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = v[i].data.fd;
            if (fd == listener)
                accept_some();
            else if (!(sink ? take(fd) : table[fd] && table[fd]->out ? flush(fd) : echo(fd)))
                end(fd);
        }
    }
}
