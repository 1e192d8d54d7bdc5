/* ei's table while every call and allocation beneath it fails once, its own calls included: a code or the bytes, nothing
 * left, and it works the next time.
 */
#include <errno.h>
#include <fcntl.h>
#include <gensock/ei.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/seam.h"
#include "ei/seam.h"
#include "scenario.h"
#include "support.h"

enum { WAIT = 2000 };

static ei_socket_callbacks *table(void) { return gs_ei_callbacks(NULL); }

/* ---- the library's own calls go where faults are made ---- */

static void *faulty_malloc(size_t n) { return gsi_allocator.malloc(n); }
static void faulty_free(void *p) { gsi_allocator.free(p); }
static int faulty_epoll_create1(int flags) { return gsi_sys.epoll_create1(flags); }
static int faulty_epoll_ctl(int ep, int op, int fd, struct epoll_event *e) { return gsi_sys.epoll_ctl(ep, op, fd, e); }
static int faulty_eventfd(unsigned count, int flags) { return gsi_sys.eventfd(count, flags); }
static int faulty_close(int fd) { return gsi_sys.close(fd); }
static int faulty_fcntl(int fd, int command, int value) { return gsi_sys.fcntl(fd, command, value); }
static ssize_t faulty_read(int fd, void *p, size_t n) { return gsi_sys.read(fd, p, n); }
static ssize_t faulty_write(int fd, const void *p, size_t n) { return gsi_sys.write(fd, p, n); }
static ssize_t faulty_recv(int fd, void *p, size_t n, int flags) { return gsi_sys.recv(fd, p, n, flags); }
static ssize_t faulty_sendmsg(int fd, const struct msghdr *m, int flags) { return gsi_sys.sendmsg(fd, m, flags); }

/* The core knows no dup3: an fcntl that fails stands for one. */
static int faulty_dup3(int from, int to, int flags) { return gsi_sys.fcntl(from, F_GETFL, 0) < 0 ? -1 : dup3(from, to, flags); }

/* tcp as a transport of a user's would be: with a descriptor, and no kernel socket as far as gensock is told. */
static struct gs_transport beside;

static void prepare(void)
{
    gs_stream l, none;
    gsi_ei_sys = (struct gsi_ei_sys){
        .malloc = faulty_malloc,
        .free = faulty_free,
        .epoll_create1 = faulty_epoll_create1,
        .epoll_ctl = faulty_epoll_ctl,
        .eventfd = faulty_eventfd,
        .dup3 = faulty_dup3,
        .close = faulty_close,
        .fcntl = faulty_fcntl,
        .read = faulty_read,
        .write = faulty_write,
        .thread_create = gsi_ei_sys.thread_create,
        .recv = faulty_recv,
        .sendmsg = faulty_sendmsg,
    };
    beside = *gs_transport_find("tcp");
    beside.scheme = "beside";
    beside.flags &= ~(unsigned)GS_T_KERNEL;
    assert_ok(gs_transport_register(&beside));
    /* What a thread's first wait makes stays. */
    assert_ok(gs_stream_listen(&l, "tcp://127.0.0.1:0", NULL, GS_NO_MAILBOX));
    assert_code(gs_stream_accept(l, &none, GS_NO_MAILBOX, 1, NULL), GS_ETIMEOUT);
    gs_stream_close(l);
}

/* ---- the scenario ---- */

struct ends {
    void *l, *c, *s;
};

static int answer(int e) { return e == 0 ? 0 : gs_ei_error() < 0 ? gs_ei_error() : -e; }

static int open_ends(struct ends *x, const char *scheme)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int len = sizeof in, fd, e;
    char address[64];
    gs_stream l;
    bool named = strcmp(scheme, "mem") == 0;
    snprintf(address, sizeof address, named ? "%s://fault" : "%s://127.0.0.1:0", scheme);
    if ((e = gs_ei_next(address)) < 0)
        return e;
    if ((e = table()->socket(&x->l, NULL)) || (e = table()->listen(x->l, &in, &len, 5)) || (e = table()->get_fd(x->l, &fd)))
        return answer(e);
    if ((e = gs_ei_stream(fd, &l)) < 0)
        return e;
    if (!named) {
        int port = gs_stream_port(l);
        if (port < 0)
            return port;
        snprintf(address, sizeof address, "%s://127.0.0.1:%d", scheme, port);
    }
    if ((e = gs_ei_next(address)) < 0)
        return e;
    if ((e = table()->socket(&x->c, NULL)) || (e = table()->connect(x->c, &in, sizeof in, WAIT)))
        return answer(e);
    void *ctx = x->l;
    if ((e = table()->accept(&ctx, &in, &len, WAIT)))
        return answer(e);
    x->s = ctx;
    return 0;
}

static int pass_on(void *from, void *to, const char *text, size_t n)
{
    char got[64];
    size_t at = 0;
    int e;
    for (ssize_t len; at < n; at += (size_t)len) {
        len = (ssize_t)(n - at);
        if ((e = table()->write(from, text + at, &len, n % 2 ? WAIT : EI_SCLBK_INF_TMO)))
            return answer(e);
    }
    for (at = 0; at < n;) {
        ssize_t len = at ? (ssize_t)(n - at) : 2;
        int fd;
        struct pollfd p = {.events = POLLIN};
        if ((e = table()->get_fd(to, &fd)))
            return answer(e);
        p.fd = fd;
        if (poll(&p, 1, WAIT) != 1) /* bytes never hide, whatever failed before */
            return -EPROTO;
        if ((e = table()->read(to, got + at, &len, n % 2 ? WAIT : EI_SCLBK_INF_TMO)))
            return answer(e);
        if (!len)
            return -EPIPE;
        at += (size_t)len;
    }
    return memcmp(got, text, n) ? -EPROTO : 0;
}

static int echo(void *scheme)
{
    struct ends x = {0};
    int e = open_ends(&x, scheme);
    if (e == 0)
        e = pass_on(x.c, x.s, "to the server", 13);
    if (e == 0)
        e = pass_on(x.s, x.c, "and back", 8);
    if (e == 0)
        e = answer(table()->connect_handshake_complete(x.c));
    void *all[] = {x.c, x.s, x.l};
    for (int i = 0; i < 3; i++)
        if (all[i])
            (void)table()->close(all[i]);
    int taken_back = gs_ei_next(NULL);
    return e < 0 ? e : taken_back;
}

static const struct fault_options options = {.prepare = prepare, .real_clock = true};

static void a_kernel_socket_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("ei over tcp", echo, (void *)(uintptr_t)"tcp", &options);
}

static void a_descriptor_beside_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("ei beside a descriptor", echo, (void *)(uintptr_t)"beside", &options);
}

static void a_mailbox_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("ei over mem", echo, (void *)(uintptr_t)"mem", &options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_socket_survives_every_fault),
        cmocka_unit_test(a_descriptor_beside_survives_every_fault),
        cmocka_unit_test(a_mailbox_survives_every_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
