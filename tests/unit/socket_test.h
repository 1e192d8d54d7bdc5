/* socket_test.h: what the tests of the socket layer share: connected pairs, threads that make one call, waiting for a
 * queue. */
#ifndef SOCKET_TEST_H
#define SOCKET_TEST_H

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gensock/mailbox.h"
#include "gensock/socket.h"
#include "lib/support.h"

static inline gs_socket open_socket(int domain, int type)
{
    gs_socket s;
    assert_ok(gs_socket_open(&s, domain, type, 0, NULL));
    return s;
}

/* Bound to loopback, at a port of the kernel's choice; *at is its address. */
static inline gs_socket bound(int domain, int type, gs_addr *at)
{
    gs_socket s = open_socket(domain, type);
    gs_addr a;
    assert_ok(gs_addr_special(&a, domain, GS_ADDR_LOOPBACK, 0));
    assert_true(assert_ok(gs_socket_bind(s, &a)) > 0);
    assert_ok(gs_socket_sockname(s, at));
    return s;
}

static inline gs_socket listener(gs_addr *at)
{
    gs_socket s = bound(AF_INET, SOCK_STREAM, at);
    assert_ok(gs_socket_listen(s, 16));
    return s;
}

static inline void connect_pair(gs_socket l, const gs_addr *at, gs_socket *a, gs_socket *b)
{
    *a = open_socket(AF_INET, SOCK_STREAM);
    assert_ok(gs_socket_connect(*a, at, GS_MS(5000)));
    assert_ok(gs_socket_accept(l, b, GS_MS(5000)));
}

static inline void tcp_pair(gs_socket *a, gs_socket *b)
{
    gs_addr at;
    gs_socket l = listener(&at);
    connect_pair(l, &at, a, b);
    assert_ok(gs_socket_close(l));
}

static inline void local_pair(int type, gs_socket *a, gs_socket *b)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, type, 0, fd), 0);
    const gs_socket_opts take = {.fd_use = GS_FD_TAKE};
    assert_ok(gs_socket_open_fd(a, fd[0], &take));
    assert_ok(gs_socket_open_fd(b, fd[1], &take));
}

static inline void close_both(gs_socket a, gs_socket b)
{
    assert_ok(gs_socket_close(a));
    assert_ok(gs_socket_close(b));
}

static inline gs_socket_info_t info_of(gs_socket s)
{
    gs_socket_info_t i;
    assert_ok(gs_socket_info(s, &i));
    return i;
}

static inline gs_mailbox new_mailbox(void)
{
    gs_mailbox mb;
    assert_ok(gs_mailbox_new(&mb));
    return mb;
}

/* Sends until the socket's buffer is full. */
static inline void fill(gs_socket s)
{
    static const char zeros[65536];
    while (gs_socket_send(s, zeros, sizeof zeros, 0, GS_MS(0)) > 0)
        ;
}

/* A thread that makes one call. ended is set last; order counts the calls of one test in the order they ended. */
struct call {
    gs_socket s, fresh;
    gs_addr to;
    gs_wait w;
    char byte;
    ssize_t result;
    _Atomic int ended;
    atomic_int *order;
    int place;
    uint64_t ended_ms;
    pthread_t thread;
    void (*run)(struct call *c);
};

static inline void run_recv(struct call *c) { c->result = gs_socket_recv(c->s, &c->byte, 1, 0, &c->w); }
static inline void run_accept(struct call *c) { c->result = gs_socket_accept(c->s, &c->fresh, &c->w); }
static inline void run_send(struct call *c)
{
    char block[4096];
    memset(block, c->byte, sizeof block);
    c->result = gs_socket_send(c->s, block, sizeof block, 0, &c->w);
}

static inline void *call_main(void *arg)
{
    struct call *c = arg;
    c->run(c);
    if (c->order)
        c->place = atomic_fetch_add(c->order, 1);
    c->ended_ms = real_ms();
    atomic_store(&c->ended, 1);
    return NULL;
}

static inline void start(struct call *c, void (*run)(struct call *c), gs_socket s, int timeout_ms)
{
    c->s = s;
    c->run = run;
    c->w.timeout_ms = timeout_ms;
    assert_int_equal(pthread_create(&c->thread, NULL, call_main, c), 0);
}

static inline void join(struct call *c) { assert_int_equal(pthread_join(c->thread, NULL), 0); }

static inline size_t waiting(gs_socket s)
{
    gs_socket_info_t i = info_of(s);
    return i.readers + i.writers + i.acceptors + i.connectors;
}

/* A call that must wait, and the reference of its message. */
static inline gs_wait nowait(gs_mailbox to) { return (gs_wait){.timeout_ms = GS_NOWAIT, .to = to}; }

static inline void expect_message(gs_mailbox mb, gs_msg_kind kind, uint64_t ref)
{
    gs_msg m;
    assert_ok(gs_receive(mb, &m, 5000));
    assert_int_equal(m.kind, kind);
    assert_true(m.ref == ref);
}

#endif
