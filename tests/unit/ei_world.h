/* ei_world.h: a listener and a connection of ei's table, by contexts, over a transport that a row names. */
#ifndef TEST_EI_WORLD_H
#define TEST_EI_WORLD_H

#include <arpa/inet.h>
#include <errno.h>
#include <gensock/ei.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#include "census.h"
#include "ei/seam.h"
#include "support.h"

enum { LONG_WAIT = 5000 };

struct row {
    const char *name;
    const char *listen;  /* an address; "%p" stands for this process's temporary folder */
    const char *connect; /* the same; "%d" stands for the port */
    const gs_opt *listen_opts, *connect_opts;
    bool plain;          /* the descriptor is the socket */
    int header;          /* of ei's handshake */
    bool tells_ip;       /* accept writes 127.0.0.1 */
};
static inline ei_socket_callbacks *table(void) { return gs_ei_callbacks(NULL); }

/* ---- a world: a listener and a connection of two contexts ---- */

struct world {
    const struct row *row;
    gs_ei_setup setup;
    char connect[GS_EI_ADDRESS_MAX];
    void *listener, *client, *server;
    struct sockaddr_in bound, from;
};

static inline void expand(const char *from, char *out, int port)
{
    const char *p = strstr(from, "%p"), *d = strstr(from, "%d");
    if (p)
        snprintf(out, GS_EI_ADDRESS_MAX, "%.*s%s%s", (int)(p - from), from, temp_dir(), p + 2);
    else if (d)
        snprintf(out, GS_EI_ADDRESS_MAX, "%.*s%d%s", (int)(d - from), from, port, d + 2);
    else
        snprintf(out, GS_EI_ADDRESS_MAX, "%s", from);
}

static inline int fd_of(void *ctx)
{
    int fd = -1;
    assert_int_equal(table()->get_fd(ctx, &fd), 0);
    return fd;
}

static inline gs_stream stream_of(void *ctx)
{
    gs_stream s;
    assert_ok(gs_ei_stream(fd_of(ctx), &s));
    return s;
}

/* A unix socket's file stays, and an abstract name or one of mem is free again. */
static inline void remove_file(const char *address)
{
    const char *path = strstr(address, "unix:///");
    if (path)
        unlink(path + strlen("unix://"));
}

static inline void world_listen(struct world *w, const struct row *row)
{
    char address[GS_EI_ADDRESS_MAX];
    int len = sizeof w->bound;
    *w = (struct world){.row = row, .setup = {.listen_opts = row->listen_opts, .connect_opts = row->connect_opts}};
    print_message("# %s\n", row->name);
    expand(row->listen, address, 0);
    remove_file(address);
    assert_ok(gs_ei_next(address));
    assert_int_equal(table()->socket(&w->listener, &w->setup), 0);
    int e = table()->listen(w->listener, &w->bound, &len, 5);
    if (e)
        fail_msg("listen on %s: %d, %s, %s", address, e, gs_error_name(gs_ei_error()), gs_error_detail(gs_ei_error()));
    assert_int_equal(len, sizeof w->bound);
    int port = gs_stream_port(stream_of(w->listener));
    expand(row->connect, w->connect, port > 0 ? port : 0);
}

struct dialing {
    struct world *w;
    int e, code;
    char detail[200];
};

static inline void *dial(void *arg)
{
    struct dialing *d = arg;
    struct sockaddr_in unused = {.sin_family = AF_INET};
    assert_ok(gs_ei_next(d->w->connect));
    d->e = table()->socket(&d->w->client, &d->w->setup);
    int before = fd_of(d->w->client);
    if (d->e == 0)
        d->e = table()->connect(d->w->client, &unused, sizeof unused, LONG_WAIT);
    d->code = d->e ? gs_ei_error() : 0;
    snprintf(d->detail, sizeof d->detail, "%s", gs_error_detail(d->code));
    assert_int_equal(fd_of(d->w->client), before);
    return NULL;
}

static inline void world_open(struct world *w, const struct row *row)
{
    world_listen(w, row);
    struct dialing d = {.w = w};
    pthread_t t;
    int len = sizeof w->from;
    memset(&w->from, 0x5a, sizeof w->from);
    assert_int_equal(pthread_create(&t, NULL, dial, &d), 0);
    w->server = w->listener;
    int e = table()->accept(&w->server, &w->from, &len, LONG_WAIT);
    pthread_join(t, NULL);
    if (d.e)
        fail_msg("connect to %s: %d, %s, %s", w->connect, d.e, gs_error_name(d.code), d.detail);
    if (e)
        fail_msg("accept: %d, %s, %s", e, gs_error_name(gs_ei_error()), gs_error_detail(gs_ei_error()));
    assert_int_equal(len, sizeof w->from);
    assert_ptr_not_equal(w->server, w->listener);
}

static inline void world_close(struct world *w)
{
    void **all[] = {&w->client, &w->server, &w->listener};
    for (size_t i = 0; i < 3; i++)
        if (*all[i])
            assert_int_equal(table()->close(*all[i]), 0);
}

static inline bool readable(void *ctx, int ms)
{
    struct pollfd p = {.fd = fd_of(ctx), .events = POLLIN};
    return poll(&p, 1, ms) == 1 && p.revents & (POLLIN | POLLHUP);
}

static inline void write_all(void *ctx, const void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t len = (ssize_t)(n - at);
        assert_int_equal(table()->write(ctx, (const char *)p + at, &len, LONG_WAIT), 0);
        assert_true(len > 0);
        at += (size_t)len;
    }
}

static inline void read_all(void *ctx, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t len = (ssize_t)(n - at);
        assert_int_equal(table()->read(ctx, (char *)p + at, &len, LONG_WAIT), 0);
        assert_true(len > 0);
        at += (size_t)len;
    }
}

#endif
