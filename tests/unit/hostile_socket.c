/* A careless caller of each public socket call gets an answer, never a crash (promise P7). */
#include <limits.h>

#include "hostile.h"
#include "socket_test.h"

/* No socket, one that was closed, a mailbox, numbers: what a call may be given instead of a socket. */
enum { BAD = 5 };
static gs_socket bad[BAD];
static int answer[BAD];
static gs_mailbox mailbox;

static int make_bad(void **state)
{
    (void)state;
    mailbox = new_mailbox();
    gs_socket s = open_socket(AF_INET, SOCK_STREAM);
    assert_ok(gs_socket_close(s));
    const gs_socket all[BAD] = {{0}, s, {mailbox.id}, {UINT64_MAX}, {s.id ^ UINT64_C(0x80000000)}};
    memcpy(bad, all, sizeof bad);
    for (int i = 0; i < BAD; i++)
        answer[i] = i == 1 ? GS_ECLOSED : GS_EBADARG;
    return 0;
}

static int drop_bad(void **state)
{
    (void)state;
    return gs_mailbox_free(mailbox);
}

#define EACH_BAD(call)                                                                                                \
    for (int i = 0; i < BAD; i++) {                                                                                   \
        gs_socket s = bad[i];                                                                                         \
        assert_code(call, answer[i]);                                                                                 \
    }

static char buf[16];

#define WITH_GOOD                                                                                                     \
    (void)state;                                                                                                      \
    gs_socket good, peer;                                                                                             \
    local_pair(SOCK_STREAM, &good, &peer)
#define DONE close_both(good, peer)

HOSTILE(gs_socket_cancel)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_cancel(s, &(gs_select){.socket = good}));
    assert_code(gs_socket_cancel(good, NULL), GS_EBADARG);
    for (int op = -3; op < 9; op++)
        assert_code(gs_socket_cancel(good, &(gs_select){.socket = good, .ref = 5, .op = op}), GS_EINVALID);
    DONE;
}

HOSTILE(gs_socket_open)
{
    (void)state;
    gs_socket s;
    assert_code(gs_socket_open(NULL, AF_INET, SOCK_STREAM, 0, NULL), GS_EBADARG);
    assert_true(gs_socket_open(&s, -1, -1, -1, NULL) < 0);
    assert_true(gs_socket_open(&s, INT32_MAX, 0, INT32_MIN, NULL) < 0);
    assert_true(gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, &(gs_socket_opts){.netns = ""}) < 0);
    assert_code(gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, &(gs_socket_opts){.owner.id = 77}), GS_EBADARG);
}

HOSTILE(gs_socket_open_fd)
{
    (void)state;
    gs_socket s;
    assert_code(gs_socket_open_fd(NULL, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_open_fd(&s, -1, NULL), GS_EBADARG);
    assert_code(gs_socket_open_fd(&s, 1 << 20, NULL), -EBADF);
    assert_code(gs_socket_open_fd(&s, 1 << 20, &(gs_socket_opts){.fd_use = GS_FD_TAKE}), -EBADF);
    assert_code(gs_socket_open_fd(&s, 0, &(gs_socket_opts){.fd_use = (gs_fd_use)-1}), GS_EBADARG);
}

HOSTILE(gs_socket_bind)
{
    WITH_GOOD;
    gs_addr a = {.len = sizeof(struct sockaddr_in), .sa.ss_family = AF_INET};
    EACH_BAD(gs_socket_bind(s, &a));
    assert_code(gs_socket_bind(good, NULL), GS_EBADARG);
    assert_code(gs_socket_bind(good, &(gs_addr){0}), GS_EBADARG);
    assert_code(gs_socket_bind(good, &(gs_addr){.len = 100000}), GS_EBADARG);
    DONE;
}

HOSTILE(gs_socket_listen)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_listen(s, 5));
    assert_true(gs_socket_listen(good, INT32_MIN) < 0);
    DONE;
}

HOSTILE(gs_socket_accept)
{
    WITH_GOOD;
    gs_socket fresh;
    EACH_BAD(gs_socket_accept(s, &fresh, NULL));
    EACH_BAD(gs_socket_accept(s, &fresh, GS_MS(0)));
    assert_code(gs_socket_accept(good, NULL, NULL), GS_EBADARG);
    assert_true(gs_socket_accept(good, &fresh, NULL) < 0); /* no listener */
    assert_code(gs_socket_accept(good, &fresh, GS_MS(-3)), GS_EBADARG);
    DONE;
}

HOSTILE(gs_socket_connect)
{
    WITH_GOOD;
    gs_addr a = {.len = sizeof(struct sockaddr_in), .sa.ss_family = AF_INET};
    EACH_BAD(gs_socket_connect(s, &a, NULL));
    EACH_BAD(gs_socket_connect(s, NULL, GS_MS(0)));
    assert_code(gs_socket_connect(good, NULL, NULL), GS_EINVALID);
    assert_code(gs_socket_connect(good, &(gs_addr){.len = 1}, NULL), GS_EBADARG);
    assert_code(gs_socket_connect(good, &a, GS_MS(INT32_MIN)), GS_EBADARG);
    DONE;
}

HOSTILE(gs_socket_shutdown)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_shutdown(s, SHUT_WR));
    assert_code(gs_socket_shutdown(good, -1), GS_EBADARG);
    assert_code(gs_socket_shutdown(good, 3), GS_EBADARG);
    DONE;
}

HOSTILE(gs_socket_close)
{
    (void)state;
    EACH_BAD(gs_socket_close(s));
}

HOSTILE(gs_socket_sockname)
{
    WITH_GOOD;
    gs_addr a;
    EACH_BAD(gs_socket_sockname(s, &a));
    assert_code(gs_socket_sockname(good, NULL), GS_EBADARG);
    DONE;
}

HOSTILE(gs_socket_peername)
{
    WITH_GOOD;
    gs_addr a;
    EACH_BAD(gs_socket_peername(s, &a));
    assert_code(gs_socket_peername(good, NULL), GS_EBADARG);
    DONE;
}

HOSTILE(gs_socket_monitor)
{
    WITH_GOOD;
    uint64_t ref;
    EACH_BAD(gs_socket_monitor(s, mailbox, &ref));
    assert_code(gs_socket_monitor(good, mailbox, NULL), GS_EBADARG);
    assert_code(gs_socket_monitor(good, GS_NO_MAILBOX, &ref), GS_EBADARG);
    assert_code(gs_socket_monitor(good, (gs_mailbox){good.id}, &ref), GS_EBADARG);
    DONE;
}

HOSTILE(gs_socket_cancel_monitor)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_cancel_monitor(s, 1));
    assert_code(gs_socket_cancel_monitor(good, 0), GS_EINVALID);
    assert_code(gs_socket_cancel_monitor(good, UINT64_MAX), GS_EINVALID);
    DONE;
}

HOSTILE(gs_socket_send)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_send(s, "x", 1, 0, NULL));
    assert_code(gs_socket_send(good, NULL, 1, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_send(good, "x", SIZE_MAX, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_send(good, "x", 1, 0, GS_MS(GS_NOWAIT)), GS_EBADARG);
    assert_int_equal(gs_socket_send(good, NULL, 0, 0, NULL), 0);
    assert_true(gs_socket_send(good, "x", 1, INT32_MIN, GS_MS(0)) <= 1); /* any flags */
    DONE;
}

HOSTILE(gs_socket_sendto)
{
    WITH_GOOD;
    gs_addr a = {.len = sizeof(struct sockaddr_in), .sa.ss_family = AF_INET};
    EACH_BAD(gs_socket_sendto(s, "x", 1, &a, 0, NULL));
    assert_code(gs_socket_sendto(good, "x", 1, NULL, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendto(good, NULL, 1, &a, 0, NULL), GS_EBADARG);
    assert_true(gs_socket_sendto(good, "x", 1, &a, 0, NULL) < 0);
    DONE;
}

HOSTILE(gs_socket_sendmsg)
{
    WITH_GOOD;
    struct iovec v = {NULL, 5}, huge[2] = {{buf, SSIZE_MAX}, {buf, SSIZE_MAX}};
    gs_msghdr empty = {0};
    EACH_BAD(gs_socket_sendmsg(s, &empty, 0, NULL));
    assert_code(gs_socket_sendmsg(good, NULL, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendmsg(good, &(gs_msghdr){.iovcnt = 1}, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendmsg(good, &(gs_msghdr){.iov = &v, .iovcnt = -1}, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendmsg(good, &(gs_msghdr){.iov = &v, .iovcnt = 1}, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendmsg(good, &(gs_msghdr){.iov = huge, .iovcnt = 2}, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendmsg(good, &(gs_msghdr){.iov = &v, .iovcnt = 5000}, 0, NULL), -EINVAL);
    assert_code(gs_socket_sendmsg(good, &(gs_msghdr){.control_len = 5}, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_sendmsg(good, &(gs_msghdr){.addr = &(gs_addr){0}}, 0, NULL), GS_EBADARG);
    assert_int_equal(gs_socket_sendmsg(good, &empty, 0, NULL), 0);
    DONE;
}

HOSTILE(gs_socket_sendfile)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_sendfile(s, 0, 0, 1, NULL));
    assert_code(gs_socket_sendfile(good, -1, 0, 1, NULL), GS_EBADARG);
    assert_code(gs_socket_sendfile(good, 0, -1, 1, NULL), GS_EBADARG);
    assert_code(gs_socket_sendfile(good, 0, 0, SIZE_MAX, NULL), GS_EBADARG);
    assert_code(gs_socket_sendfile(good, 1 << 20, 0, 1, NULL), -EBADF);
    DONE;
}

HOSTILE(gs_socket_recv)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_recv(s, buf, 1, 0, NULL));
    assert_code(gs_socket_recv(good, NULL, 1, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_recv(good, buf, SIZE_MAX, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_recv(good, buf, 1, 0, GS_MS(-77)), GS_EBADARG);
    assert_true(gs_socket_recv(good, buf, 1, INT32_MAX & ~MSG_WAITALL, GS_MS(0)) <= 1);
    assert_true(gs_socket_recv(good, NULL, 0, 0, GS_MS(0)) <= 0);
    DONE;
}

HOSTILE(gs_socket_recvfrom)
{
    WITH_GOOD;
    gs_addr a;
    EACH_BAD(gs_socket_recvfrom(s, buf, 1, &a, 0, NULL));
    assert_code(gs_socket_recvfrom(good, NULL, 1, &a, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_recvfrom(good, buf, 1, NULL, 0, GS_MS(0)), GS_ETIMEOUT);
    DONE;
}

HOSTILE(gs_socket_recvmsg)
{
    WITH_GOOD;
    struct iovec v = {NULL, 5};
    gs_msghdr empty = {0};
    EACH_BAD(gs_socket_recvmsg(s, &empty, 0, NULL));
    assert_code(gs_socket_recvmsg(good, NULL, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_recvmsg(good, &(gs_msghdr){.iovcnt = 1}, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_recvmsg(good, &(gs_msghdr){.iov = &v, .iovcnt = -1}, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_recvmsg(good, &(gs_msghdr){.iov = &v, .iovcnt = 1}, 0, NULL), GS_EBADARG);
    assert_code(gs_socket_recvmsg(good, &(gs_msghdr){.iov = &v, .iovcnt = 5000}, 0, NULL), -EINVAL);
    assert_code(gs_socket_recvmsg(good, &(gs_msghdr){.control_len = 5}, 0, NULL), GS_EBADARG);
    DONE;
}

HOSTILE(gs_socket_setopt)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_setopt(s, "socket:keepalive", GS_VALUE_OF_INT(1)));
    assert_code(gs_socket_setopt(good, NULL, GS_VALUE_OF_INT(1)), GS_EBADARG);
    assert_code(gs_socket_setopt(good, "socket:keepalive", NULL), GS_EBADARG);
    assert_code(gs_socket_setopt(good, "socket:keepalive", &(gs_value){.kind = (gs_value_kind)99}), -EINVAL);
    assert_code(gs_socket_setopt(good, "tcp:md5sig", &(gs_value){.kind = GS_VALUE_BYTES, .v.bytes = {NULL, 5}}), -EINVAL);
    assert_code(gs_socket_setopt(good, "tcp:md5sig", &(gs_value){.kind = GS_VALUE_BYTES, .v.bytes = {buf, SIZE_MAX}}), -EINVAL);
    DONE;
}

HOSTILE(gs_socket_getopt)
{
    WITH_GOOD;
    gs_value v = {.kind = GS_VALUE_BYTES, .v.bytes = {NULL, 5}};
    EACH_BAD(gs_socket_getopt(s, "socket:keepalive", &v));
    assert_code(gs_socket_getopt(good, NULL, &v), GS_EBADARG);
    assert_code(gs_socket_getopt(good, "socket:keepalive", NULL), GS_EBADARG);
    v = (gs_value){.kind = GS_VALUE_BYTES, .v.bytes = {NULL, 5}};
    assert_code(gs_socket_getopt(good, "tcp:info", &v), -EINVAL);
    DONE;
}

HOSTILE(gs_socket_setopt_native)
{
    WITH_GOOD;
    EACH_BAD(gs_socket_setopt_native(s, SOL_SOCKET, SO_KEEPALIVE, buf, 4));
    assert_code(gs_socket_setopt_native(good, SOL_SOCKET, SO_KEEPALIVE, NULL, 4), GS_EBADARG);
    assert_true(gs_socket_setopt_native(good, -1, -1, buf, 4) < 0);
    DONE;
}

HOSTILE(gs_socket_getopt_native)
{
    WITH_GOOD;
    socklen_t n = 4;
    EACH_BAD(gs_socket_getopt_native(s, SOL_SOCKET, SO_KEEPALIVE, buf, &n));
    assert_code(gs_socket_getopt_native(good, SOL_SOCKET, SO_KEEPALIVE, buf, NULL), GS_EBADARG);
    assert_code(gs_socket_getopt_native(good, SOL_SOCKET, SO_KEEPALIVE, NULL, &n), GS_EBADARG);
    DONE;
}

HOSTILE(gs_cmsg_next)
{
    (void)state;
    gs_msghdr m = {.control_len = 100};
    gs_cmsg c;
    size_t at = SIZE_MAX;
    assert_false(gs_cmsg_next(NULL, &at, &c) || gs_cmsg_next(&m, NULL, &c) || gs_cmsg_next(&m, &at, NULL));
    assert_false(gs_cmsg_next(&m, &at, &c));
    m.control = buf;
    m.control_len = sizeof buf;
    assert_false(gs_cmsg_next(&m, &at, &c));
}

HOSTILE(gs_cmsg_put)
{
    (void)state;
    gs_msghdr m = {.control = buf};
    assert_code(gs_cmsg_put(NULL, 1, 1, 1, "x", 1), GS_EBADARG);
    assert_code(gs_cmsg_put(&(gs_msghdr){0}, 100, 1, 1, "x", 1), GS_EBADARG);
    assert_code(gs_cmsg_put(&m, sizeof buf, 1, 1, NULL, 1), GS_EBADARG);
    assert_code(gs_cmsg_put(&m, sizeof buf, 1, 1, "x", SIZE_MAX), -EMSGSIZE);
    assert_code(gs_cmsg_put(&m, 0, 1, 1, "x", 1), -EMSGSIZE);
}

HOSTILE(gs_cmsg_add)
{
    (void)state;
    gs_msghdr m = {.control = buf};
    assert_code(gs_cmsg_add(NULL, 1, "ip:tos", GS_VALUE_OF_INT(1)), GS_EBADARG);
    assert_code(gs_cmsg_add(&m, 1, NULL, GS_VALUE_OF_INT(1)), GS_EBADARG);
    assert_code(gs_cmsg_add(&m, 1, "ip:tos", NULL), GS_EBADARG);
    assert_code(gs_cmsg_add(&m, 1, "ip:tos", GS_VALUE_OF_INT(1)), -EMSGSIZE);
    assert_code(gs_cmsg_add(&m, 1, "", GS_VALUE_OF_INT(1)), GS_EINVALID);
}

HOSTILE(gs_cmsg_value)
{
    (void)state;
    gs_value v;
    assert_null(gs_cmsg_value(NULL, &v));
    assert_null(gs_cmsg_value(&(gs_cmsg){0}, NULL));
    assert_null(gs_cmsg_value(&(gs_cmsg){.level = IPPROTO_IP, .type = IP_TTL}, &v));
    assert_null(gs_cmsg_value(&(gs_cmsg){.level = IPPROTO_IP, .type = IP_TTL, .data = {NULL, 4}}, &v));
}

HOSTILE(gs_cmsg_fds)
{
    (void)state;
    int fd;
    assert_code(gs_cmsg_fds(NULL, &fd, 1), GS_EBADARG);
    assert_code(gs_cmsg_fds(&(gs_cmsg){0}, NULL, 1), GS_EBADARG);
    assert_code(gs_cmsg_fds(&(gs_cmsg){0}, &fd, 1), GS_EINVALID);
    assert_code(gs_cmsg_fds(&(gs_cmsg){.level = SOL_SOCKET, .type = SCM_RIGHTS, .data = {NULL, 4}}, &fd, 1), GS_EINVALID);
}

HOSTILE(gs_socket_info)
{
    WITH_GOOD;
    gs_socket_info_t i_of;
    EACH_BAD(gs_socket_info(s, &i_of));
    assert_code(gs_socket_info(good, NULL), GS_EBADARG);
    DONE;
}

HOSTILE(gs_info)
{
    (void)state;
    assert_code(gs_info(NULL), GS_EBADARG);
}

HOSTILE(gs_which_sockets)
{
    (void)state;
    assert_int_equal(gs_which_sockets(NULL, NULL, SIZE_MAX), gs_number_of_sockets());
    assert_int_equal(gs_which_sockets(&(gs_socket_filter){.owner.id = UINT64_MAX}, NULL, 0), 0);
}

HOSTILE(gs_number_of_sockets)
{
    WITH_GOOD;
    assert_int_equal(gs_number_of_sockets(), 2);
    DONE;
    assert_int_equal(gs_number_of_sockets(), 0);
}

HOSTILE(gs_use_registry)
{
    (void)state;
    bool was = gs_use_registry(false);
    assert_false(gs_use_registry(was));
}

HOSTILE(gs_is_supported)
{
    (void)state;
    assert_false(gs_is_supported(NULL, NULL) || gs_is_supported(NULL, "x") || gs_is_supported("", NULL) ||
                 gs_is_supported("options", ""));
}

HOSTILE(gs_supports)
{
    (void)state;
    assert_int_equal(gs_supports("", NULL, SIZE_MAX), 0);
    assert_true(gs_supports(NULL, NULL, SIZE_MAX) > 0);
    assert_true(gs_supports("options", NULL, SIZE_MAX) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_socket_cancel), ROW(gs_socket_open), ROW(gs_socket_open_fd), ROW(gs_socket_bind), ROW(gs_socket_listen),
        ROW(gs_socket_accept), ROW(gs_socket_connect), ROW(gs_socket_shutdown), ROW(gs_socket_close), ROW(gs_socket_sockname),
        ROW(gs_socket_peername), ROW(gs_socket_monitor), ROW(gs_socket_cancel_monitor), ROW(gs_socket_send),
        ROW(gs_socket_sendto), ROW(gs_socket_sendmsg), ROW(gs_socket_sendfile), ROW(gs_socket_recv), ROW(gs_socket_recvfrom),
        ROW(gs_socket_recvmsg), ROW(gs_socket_setopt), ROW(gs_socket_getopt), ROW(gs_socket_setopt_native),
        ROW(gs_socket_getopt_native), ROW(gs_cmsg_next), ROW(gs_cmsg_put), ROW(gs_cmsg_add), ROW(gs_cmsg_value),
        ROW(gs_cmsg_fds), ROW(gs_socket_info), ROW(gs_info), ROW(gs_which_sockets), ROW(gs_number_of_sockets),
        ROW(gs_use_registry), ROW(gs_is_supported), ROW(gs_supports),
    };
    return cmocka_run_group_tests(tests, make_bad, drop_bad);
}
