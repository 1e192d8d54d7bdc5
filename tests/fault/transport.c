/* Every allocation and system call of the transports fails in every place: an error, no leak, and the next run works. The slots
 * alone; tests/fault/stream.c drives them from above.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/seam.h"
#include "scenario.h"
#include "support.h"
#include "transport/kernel.h"

static int first_error(int so_far, ssize_t e) { return so_far < 0 ? so_far : e < 0 ? (int)e : 0; }

static ssize_t write_one(const struct gs_transport *t, void *ctx) { return t->writev(ctx, &(struct iovec){"x", 1}, 1); }

static ssize_t read_one(const struct gs_transport *t, void *ctx)
{
    char c;
    struct pollfd p = {.fd = gsi_kernel_fd(ctx), .events = POLLIN};
    if (t->flags & GS_T_KERNEL)
        poll(&p, 1, 1000);
    return t->readv(ctx, &(struct iovec){&c, 1}, 1);
}

/* Until the attempt ends; an answer that is repeated for ever is a failure too. */
static int finish(const struct gs_transport *t, void *ctx)
{
    int e = -EINPROGRESS;
    for (int i = 0; e == -EINPROGRESS && i < 100; i++) {
        struct pollfd p = {.fd = gsi_kernel_fd(ctx), .events = POLLOUT};
        poll(&p, 1, 100);
        e = t->handshake(ctx);
    }
    return e;
}

static int accept_some(const struct gs_transport *t, void *l, gs_io *io, void **ctx)
{
    int e = -EAGAIN;
    for (int i = 0; (e == -EAGAIN || gs_error_is_transient(e)) && i < 20; i++) {
        struct pollfd p = {.fd = gsi_kernel_fd(l), .events = POLLIN};
        if (t->flags & GS_T_KERNEL)
            poll(&p, 1, 10);
        e = t->accept(l, io, ctx);
    }
    return e;
}

static int use(const struct gs_transport *t, const gs_target *at, const gs_opt *opts)
{
    struct gs_io io[3] = {0};
    void *l, *a, *b;
    gs_addr to;
    gs_target target = *at;
    int e = t->listen(&io[0], at, opts, &l);
    if (e < 0)
        return e;
    if (t->flags & GS_T_HOST) {
        e = t->name(l, false, &to);
        target.addr = &to;
    }
    bool dialled = false, taken = false;
    if (e == 0) {
        e = t->connect(&io[1], &target, opts, &a);
        dialled = e == 0 || e == -EINPROGRESS;
    }
    if (e == -EINPROGRESS)
        e = finish(t, a);
    if (e == 0) {
        e = accept_some(t, l, &io[2], &b);
        taken = e == 0;
    }
    if (taken) {
        gs_opt priority = GS_INT(PRIORITY, 1);
        gs_peer peer;
        if (t->flags & GS_T_KERNEL)
            e = first_error(t->setopt(a, &priority), t->getopt(a, &priority));
        e = first_error(e, t->peer(b, &peer));
        e = first_error(e, write_one(t, a));
        e = first_error(e, e < 0 ? 0 : read_one(t, b));
        e = first_error(e, t->shutdown(a, GS_SHUT_WRITE));
    }
    if (taken)
        t->close(b, false);
    if (dialled)
        t->close(a, true);
    t->close(l, false);
    return e;
}

static int over_tcp(void *unused)
{
    (void)unused;
    gs_addr any, ip;
    int e = first_error(gs_addr_parse(&any, "127.0.0.1:0"), gs_addr_parse(&ip, "127.0.0.1:0"));
    const gs_opt opts[] = {GS_INT(NODELAY, 1), GS_INT(TOS, 16), {.name = GS_OPT_IP, .v.addr = &ip}, {.name = GS_OPT_END}};
    return first_error(e, use(gs_transport_find("tcp"), &(gs_target){.rest = "", .addr = &any}, opts));
}

static int over_unix(void *unused)
{
    (void)unused;
    char name[40];
    snprintf(name, sizeof name, "@fault-%d", (int)getpid());
    return use(gs_transport_find("unix"), &(gs_target){.rest = name}, GS_OPTS(GS_INT(KEEPALIVE, 1), GS_INT(SNDBUF, 9000)));
}

static int over_mem(void *unused)
{
    (void)unused;
    return use(gs_transport_find("mem"), &(gs_target){.rest = "fault"}, NULL);
}

static int with_a_descriptor(void *unused)
{
    (void)unused;
    gs_addr any;
    void *l;
    int e = gs_addr_parse(&any, "127.0.0.1:0"), fd = socket(AF_INET, SOCK_STREAM, 0); /* not ours: libc's */
    struct gs_io io = {0};
    e = first_error(e, gs_transport_find("tcp")->listen(&io, &(gs_target){.rest = "", .addr = &any},
                                                        GS_OPTS(GS_INT(FD, fd), GS_INT(PORT, 0)), &l));
    if (e == 0)
        gs_transport_find("tcp")->close(l, false);
    return e;
}

static int option_lists(void *unused)
{
    (void)unused;
    gs_opt ip = {0}, raw = {0};
    int e = first_error(gs_opt_parse("ip", "::1", &ip), gs_opt_parse("raw", "6,1,01000000", &raw));
    gs_opt list[] = {ip, raw, {.name = GS_OPT_END}};
    if (e == 0)
        e = gs_set_default_opts(GS_CONNECT_DEFAULTS, list);
    gs_opt *all = gsi_opts_with_defaults(GS_CONNECT_DEFAULTS, list);
    e = first_error(e, all ? 0 : -ENOMEM);
    gsi_free(all);
    gs_opt_clear(&ip);
    gs_opt_clear(&raw);
    return first_error(e, gs_set_default_opts(GS_CONNECT_DEFAULTS, NULL));
}

#define SURVIVES(scenario)                                                                                            \
    static void scenario##_survives_every_fault(void **state)                                                         \
    {                                                                                                                 \
        (void)state;                                                                                                  \
        const struct fault_options real = {.real_clock = true};                                                       \
        fault_run_with(#scenario, scenario, NULL, &real);                                                             \
    }
SURVIVES(over_tcp)
SURVIVES(over_unix)
SURVIVES(over_mem)
SURVIVES(with_a_descriptor)
SURVIVES(option_lists)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_tcp_survives_every_fault),          cmocka_unit_test(over_unix_survives_every_fault),
        cmocka_unit_test(over_mem_survives_every_fault),          cmocka_unit_test(with_a_descriptor_survives_every_fault),
        cmocka_unit_test(option_lists_survives_every_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
