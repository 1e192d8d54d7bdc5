/* kernel_ends.h: listeners and connections of tcp and unix, driven by their slots. */
#ifndef TEST_KERNEL_ENDS_H
#define TEST_KERNEL_ENDS_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "census.h"
#include "fault.h"
#include "support.h"
#include "transport/kernel.h"

static struct census before;

static inline int setup(void **state)
{
    (void)state;
    (void)gs_transport_find("tcp");
    census_take(&before);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    fault_stop();
    census_assert(&before);
    return 0;
}

static inline const struct gs_transport *tcp(void) { return gs_transport_find("tcp"); }
static inline const struct gs_transport *local(void) { return gs_transport_find("unix"); }

/* rest of unix://; with '@' a name of this process. */
static inline const char *own_name(const char *name)
{
    static char text[2][100];
    static int i;
    i = !i;
    snprintf(text[i], sizeof text[i], "%s-%d", name, (int)getpid());
    return text[i];
}

static inline int tcp_open(const char *address, const gs_opt *opts, void **ctx)
{
    gs_addr a;
    struct gs_io io = {0};
    assert_ok(gs_addr_parse(&a, address));
    return tcp()->listen(&io, &(gs_target){.rest = address, .addr = &a}, opts, ctx);
}

static inline int tcp_dial(const gs_addr *to, const gs_opt *opts, void **ctx)
{
    struct gs_io io = {0};
    int e = tcp()->connect(&io, &(gs_target){.rest = "", .addr = to}, opts, ctx);
    if (e != -EINPROGRESS)
        return e;
    for (uint64_t end = real_ms() + 5000; (e = tcp()->handshake(*ctx)) == -EINPROGRESS && real_ms() < end;) {
        struct pollfd p = {.fd = gsi_kernel_fd(*ctx), .events = POLLOUT};
        poll(&p, 1, 1000);
    }
    if (e < 0)
        tcp()->close(*ctx, false);
    return e;
}

static inline int local_open(const char *rest, const gs_opt *opts, void **ctx)
{
    struct gs_io io = {0};
    return local()->listen(&io, &(gs_target){.rest = rest}, opts, ctx);
}

static inline int local_dial(const char *rest, const gs_opt *opts, void **ctx)
{
    struct gs_io io = {0};
    return local()->connect(&io, &(gs_target){.rest = rest}, opts, ctx);
}

static inline void *accepted(const struct gs_transport *t, void *l)
{
    void *ctx = NULL;
    int e = -EAGAIN;
    assert_until((e = t->accept(l, NULL, &ctx)) != -EAGAIN, 5000);
    assert_ok(e);
    return ctx;
}

/* A connected pair; fds in a and b. */
struct two {
    const struct gs_transport *t;
    void *a, *b;
};

static inline struct two tcp_pair(const gs_opt *opts)
{
    struct two two = {.t = tcp()};
    void *l;
    gs_addr a;
    assert_ok(tcp_open("127.0.0.1:0", opts, &l));
    assert_ok(tcp()->name(l, false, &a));
    assert_ok(tcp_dial(&a, NULL, &two.a));
    two.b = accepted(tcp(), l);
    tcp()->close(l, false);
    return two;
}

static inline struct two local_pair(const gs_opt *opts)
{
    struct two two = {.t = local()};
    void *l;
    const char *name = own_name("@pair");
    assert_ok(local_open(name, opts, &l));
    assert_ok(local_dial(name, NULL, &two.a));
    two.b = accepted(local(), l);
    local()->close(l, false);
    return two;
}

static inline void pair_close(struct two *two)
{
    if (two->a)
        two->t->close(two->a, false);
    if (two->b)
        two->t->close(two->b, false);
}

static inline ssize_t put(struct two *two, void *ctx, const char *text)
{
    return two->t->writev(ctx, &(struct iovec){(void *)(uintptr_t)text, strlen(text)}, 1);
}

static inline ssize_t get(struct two *two, void *ctx, char *buf, size_t cap)
{
    struct pollfd p = {.fd = gsi_kernel_fd(ctx), .events = POLLIN};
    poll(&p, 1, 5000);
    return two->t->readv(ctx, &(struct iovec){buf, cap}, 1);
}

static inline int option_of(const void *ctx, int level, int number)
{
    int value = -1;
    socklen_t n = sizeof value;
    assert_int_equal(getsockopt(gsi_kernel_fd(ctx), level, number, &value, &n), 0);
    return value;
}

static inline const char *name_of(const struct gs_transport *t, void *ctx, bool peer)
{
    static char text[GS_ADDR_TEXT_MAX];
    gs_addr a;
    assert_ok(t->name(ctx, peer, &a));
    assert_true(gs_addr_text(&a, text, sizeof text) >= 0);
    return text;
}

#endif
