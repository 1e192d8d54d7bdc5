/* Every allocation and system call of the socket layer fails in every place: an error, no leak, and the next run works. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/seam.h"
#include "gensock/mailbox.h"
#include "gensock/socket.h"
#include "scenario.h"
#include "support.h"

/* What a scenario holds; all of it is given back at its end, on every path. */
struct held {
    gs_socket s[4];
    gs_mailbox mb;
    gs_addr at;
};

static int done(struct held *h, long e)
{
    for (size_t i = 0; i < sizeof h->s / sizeof *h->s; i++)
        if (h->s[i].id)
            gs_socket_close(h->s[i]);
    if (h->mb.id)
        gs_mailbox_free(h->mb);
    return e < 0 ? (int)e : 0;
}

static int listening(struct held *h)
{
    int e = gs_addr_special(&h->at, AF_INET, GS_ADDR_LOOPBACK, 0);
    if (e == 0)
        e = gs_socket_open(&h->s[0], AF_INET, SOCK_STREAM, 0, NULL);
    if (e == 0)
        e = gs_socket_bind(h->s[0], &h->at);
    if (e >= 0)
        e = gs_socket_listen(h->s[0], 5);
    return e < 0 ? e : gs_socket_sockname(h->s[0], &h->at);
}

static int connected(struct held *h)
{
    int e = listening(h);
    if (e == 0)
        e = gs_socket_open(&h->s[1], AF_INET, SOCK_STREAM, 0, NULL);
    if (e == 0)
        e = gs_socket_connect(h->s[1], &h->at, GS_MS(2000));
    return e < 0 ? e : gs_socket_accept(h->s[0], &h->s[2], GS_MS(2000));
}

static int pair(struct held *h, int type)
{
    int fd[2];
    if (gsi_sys.socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fd) < 0)
        return -errno;
    const gs_socket_opts take = {.fd_use = GS_FD_TAKE};
    int e = gs_socket_open_fd(&h->s[1], fd[0], &take), f = gs_socket_open_fd(&h->s[2], fd[1], &take);
    if (e < 0 || f < 0)
        return e < 0 ? e : f;
    /* A wait gives the thread its eventfd, which it keeps: so every run has it, and not only those that an EAGAIN hit. */
    char c;
    ssize_t n = gs_socket_recv(h->s[1], &c, 1, 0, GS_MS(1));
    return n == GS_ETIMEOUT ? 0 : n >= 0 ? -EPROTO : (int)n;
}

static int open_and_close(void *unused)
{
    (void)unused;
    struct held h = {0};
    const gs_socket_opts lo = {.bind_to_device = "lo"};
    long e = gs_socket_open(&h.s[0], AF_INET, SOCK_DGRAM, 0, NULL);
    if (e == 0)
        e = gs_socket_open(&h.s[1], AF_UNIX, SOCK_SEQPACKET, 0, NULL);
    if (e == 0)
        e = gs_socket_open(&h.s[2], AF_INET, SOCK_STREAM, 0, &lo);
    return done(&h, e);
}

static int connect_and_echo(void *unused)
{
    (void)unused;
    struct held h = {0};
    char buf[8];
    long e = connected(&h);
    if (e == 0)
        e = gs_socket_send(h.s[1], "hello", 5, 0, GS_MS(2000));
    if (e >= 0)
        e = gs_socket_recv(h.s[2], buf, 5, MSG_WAITALL, GS_MS(2000));
    if (e >= 0 && e < 5)
        e = GS_ETIMEOUT;
    return done(&h, e);
}

static int wait_and_time_out(void *unused)
{
    (void)unused;
    struct held h = {0};
    char c;
    long e = pair(&h, SOCK_STREAM);
    if (e == 0)
        e = gs_socket_recv(h.s[1], &c, 1, 0, GS_MS(50));
    return done(&h, e == GS_ETIMEOUT ? 0 : e >= 0 ? -EPROTO : e);
}

static int nowait_select_cancel_abort(void *unused)
{
    (void)unused;
    struct held h = {0};
    char c;
    gs_msg m;
    long e = gs_mailbox_new(&h.mb);
    if (e == 0)
        e = pair(&h, SOCK_STREAM);
    gs_wait w = {.timeout_ms = GS_NOWAIT, .to = h.mb}, w2 = w;
    if (e == 0)
        e = gs_socket_recv(h.s[1], &c, 1, 0, &w);
    if (e == GS_ESELECT)
        e = gs_socket_recv(h.s[1], &c, 1, 0, &w2);
    if (e == GS_ESELECT)
        e = gs_socket_send(h.s[2], "xy", 2, 0, GS_MS(2000));
    if (e >= 0)
        e = gs_receive_ref(h.mb, w.info.ref, &m, 2000);
    if (e == 0)
        e = m.kind == GS_MSG_ABORT ? m.error : gs_socket_recv(h.s[1], &c, 1, 0, &w);
    if (e == 1) /* w2's turn; an abort when the mailbox cannot watch for it */
        e = gs_socket_cancel(h.s[1], &w2.info);
    if (e == GS_EINVALID && gs_receive_ref(h.mb, w2.info.ref, &m, 0) == 0)
        e = m.error;
    return done(&h, e);
}

static int monitor_and_own(void *unused)
{
    (void)unused;
    struct held h = {0};
    uint64_t ref;
    gs_msg m;
    long e = gs_mailbox_new(&h.mb);
    const gs_socket_opts owned = {.owner = h.mb};
    if (e == 0)
        e = gs_socket_open(&h.s[0], AF_INET, SOCK_STREAM, 0, &owned);
    if (e == 0)
        e = gs_socket_monitor(h.s[0], h.mb, &ref);
    if (e == 0) {
        (void)gs_socket_close(h.s[0]); /* closed in any case: the monitor must go off */
        e = gs_receive_ref(h.mb, ref, &m, 1000);
    }
    return done(&h, e);
}

static int duplicate_and_options(void *unused)
{
    (void)unused;
    struct held h = {0};
    gs_value v = {.kind = GS_VALUE_LINGER, .v.linger = {.on = true, .seconds = 0}};
    gs_value fd;
    long e = gs_socket_open(&h.s[0], AF_INET, SOCK_STREAM, 0, NULL);
    if (e == 0)
        e = gs_socket_getopt(h.s[0], "otp:fd", &fd);
    if (e == 0)
        e = gs_socket_open_fd(&h.s[1], (int)fd.v.i, NULL);
    if (e == 0)
        e = gs_socket_setopt(h.s[1], "socket:linger", &v);
    if (e == 0)
        e = gs_socket_getopt(h.s[0], "socket:linger", &v);
    return done(&h, e);
}

static int pass_a_descriptor(void *unused)
{
    (void)unused;
    struct held h = {0};
    uint8_t control[64], got[64];
    struct iovec v = {.iov_base = (char[]){"f"}, .iov_len = 1}, in = {.iov_base = (char[]){"f"}, .iov_len = 1};
    gs_msghdr m = {.iov = &v, .iovcnt = 1, .control = control};
    gs_msghdr r = {.iov = &in, .iovcnt = 1, .control = got, .control_len = sizeof got};
    gs_cmsg c;
    int fd = STDERR_FILENO;
    size_t at = 0;
    gs_value rights = {.kind = GS_VALUE_FDS, .v.fds = {&fd, 1}};
    long e = pair(&h, SOCK_DGRAM);
    if (e == 0)
        e = gs_cmsg_add(&m, sizeof control, "socket:rights", &rights);
    if (e == 0)
        e = gs_socket_sendmsg(h.s[1], &m, 0, GS_MS(1000));
    if (e >= 0)
        e = gs_socket_recvmsg(h.s[2], &r, 0, GS_MS(1000));
    if (e >= 0 && gs_cmsg_next(&r, &at, &c) && gs_cmsg_fds(&c, &fd, 1) == 1)
        close(fd);
    return done(&h, e);
}

static int send_a_file(void *unused)
{
    (void)unused;
    struct held h = {0};
    char buf[64];
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    long e = pair(&h, SOCK_STREAM);
    if (e == 0)
        e = gs_socket_sendfile(h.s[1], fd, 0, 64, GS_MS(1000));
    if (e >= 0)
        e = gs_socket_recv(h.s[2], buf, 64, MSG_WAITALL, GS_MS(100));
    close(fd);
    return done(&h, e);
}

#define SCENARIO(name)                                                                                                \
    static void name##_survives_every_fault(void **state)                                                             \
    {                                                                                                                 \
        (void)state;                                                                                                  \
        fault_run(#name, name, NULL);                                                                                 \
    }
SCENARIO(open_and_close)
SCENARIO(connect_and_echo)
SCENARIO(wait_and_time_out)
SCENARIO(nowait_select_cancel_abort)
SCENARIO(monitor_and_own)
SCENARIO(duplicate_and_options)
SCENARIO(pass_a_descriptor)
SCENARIO(send_a_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_and_close_survives_every_fault),
        cmocka_unit_test(connect_and_echo_survives_every_fault),
        cmocka_unit_test(wait_and_time_out_survives_every_fault),
        cmocka_unit_test(nowait_select_cancel_abort_survives_every_fault),
        cmocka_unit_test(monitor_and_own_survives_every_fault),
        cmocka_unit_test(duplicate_and_options_survives_every_fault),
        cmocka_unit_test(pass_a_descriptor_survives_every_fault),
        cmocka_unit_test(send_a_file_survives_every_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
