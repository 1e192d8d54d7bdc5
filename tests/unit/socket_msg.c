/* sendmsg, recvmsg and control messages: walking, typed values, passing descriptors. */
#include <fcntl.h>

#include "socket_test.h"

struct packet { /* room for one message */
    char bytes[64];
    struct iovec v;
    uint8_t control[512];
    gs_addr from;
    gs_msghdr m;
};

static gs_msghdr *room(struct packet *p)
{
    p->v = (struct iovec){.iov_base = p->bytes, .iov_len = sizeof p->bytes};
    p->m = (gs_msghdr){.addr = &p->from, .iov = &p->v, .iovcnt = 1, .control = p->control, .control_len = sizeof p->control};
    return &p->m;
}

/* The value of a message by its name; fails when there is none. */
static gs_value value_of(const gs_msghdr *m, const char *name)
{
    gs_cmsg c;
    gs_value v;
    for (size_t at = 0; gs_cmsg_next(m, &at, &c);) {
        const char *found = gs_cmsg_value(&c, &v);
        if (found && strcmp(found, name) == 0)
            return v;
    }
    fail_msg("no %s", name);
    return (gs_value){0};
}

static void send_with(gs_socket s, const gs_addr *to, const char *name, const gs_value *value)
{
    uint8_t control[128];
    struct iovec v = {.iov_base = (char[]){"m"}, .iov_len = 1};
    gs_addr copy = *to;
    gs_msghdr m = {.addr = &copy, .iov = &v, .iovcnt = 1, .control = control};
    if (name)
        assert_ok(gs_cmsg_add(&m, sizeof control, name, value));
    assert_int_equal(gs_socket_sendmsg(s, &m, 0, GS_MS(1000)), 1);
}

static void tos_ttl_and_pktinfo_come_typed(void **state)
{
    (void)state;
    gs_addr at, at_a;
    gs_socket b = bound(AF_INET, SOCK_DGRAM, &at), a = bound(AF_INET, SOCK_DGRAM, &at_a);
    struct packet p;
    assert_ok(gs_socket_setopt(b, "ip:recvtos", GS_VALUE_OF_INT(1)));
    assert_ok(gs_socket_setopt(b, "ip:recvttl", GS_VALUE_OF_INT(1)));
    assert_ok(gs_socket_setopt(b, "ip:pktinfo", GS_VALUE_OF_INT(1)));
    assert_ok(gs_socket_setopt(b, "socket:timestamp", GS_VALUE_OF_INT(1)));
    assert_ok(gs_socket_setopt(a, "ip:ttl", GS_VALUE_OF_INT(33)));
    send_with(a, &at, "ip:tos", GS_VALUE_OF_INT(0x10)); /* lowdelay */
    assert_int_equal(gs_socket_recvmsg(b, room(&p), 0, GS_MS(5000)), 1);
    assert_true(gs_addr_equal(&p.from, &at_a));
    assert_int_equal(p.m.flags, 0);
    assert_int_equal(value_of(&p.m, "ip:tos").v.i, 0x10);
    assert_int_equal(value_of(&p.m, "ip:ttl").v.i, 33);
    gs_value info = value_of(&p.m, "ip:pktinfo");
    gs_addr loopback;
    assert_ok(gs_addr_special(&loopback, AF_INET, GS_ADDR_LOOPBACK, 0));
    assert_true(gs_addr_equal(&info.v.pktinfo.addr, &loopback));
    assert_true(info.v.pktinfo.ifindex > 0);
    assert_true(value_of(&p.m, "socket:timestamp").v.us > INT64_C(1500000000000000));

    send_with(a, &at, "ip:ttl", GS_VALUE_OF_INT(44));
    assert_int_equal(gs_socket_recvmsg(b, room(&p), 0, GS_MS(5000)), 1);
    assert_int_equal(value_of(&p.m, "ip:ttl").v.i, 44);
    gs_value source = {.kind = GS_VALUE_PKTINFO, .v.pktinfo.local = loopback};
    send_with(a, &at, "ip:pktinfo", &source);
    assert_int_equal(gs_socket_recvmsg(b, room(&p), 0, GS_MS(5000)), 1);
    close_both(a, b);
}

static void ipv6_tclass_hoplimit_and_pktinfo_come_typed(void **state)
{
    (void)state;
    gs_addr at, any;
    gs_socket b = open_socket(AF_INET6, SOCK_DGRAM), a = open_socket(AF_INET6, SOCK_DGRAM);
    struct packet p;
    assert_ok(gs_addr_special(&any, AF_INET6, GS_ADDR_LOOPBACK, 0));
    if (gs_socket_bind(b, &any) == -EADDRNOTAVAIL) {
        close_both(a, b);
        skip_because("no ::1 here");
    }
    assert_ok(gs_socket_sockname(b, &at));
    assert_ok(gs_socket_setopt(b, "ipv6:recvtclass", GS_VALUE_OF_INT(1)));
    assert_ok(gs_socket_setopt(b, "ipv6:recvhoplimit", GS_VALUE_OF_INT(1)));
    assert_ok(gs_socket_setopt(b, "ipv6:recvpktinfo", GS_VALUE_OF_INT(1)));
    send_with(a, &at, "ipv6:tclass", GS_VALUE_OF_INT(0x20));
    assert_int_equal(gs_socket_recvmsg(b, room(&p), 0, GS_MS(5000)), 1);
    assert_int_equal(value_of(&p.m, "ipv6:tclass").v.i, 0x20);
    assert_true(value_of(&p.m, "ipv6:hoplimit").v.i > 0);
    gs_value info = value_of(&p.m, "ipv6:pktinfo");
    assert_true(gs_addr_equal(&info.v.pktinfo.addr, &any));
    send_with(a, &at, "ipv6:hoplimit", GS_VALUE_OF_INT(55));
    assert_int_equal(gs_socket_recvmsg(b, room(&p), 0, GS_MS(5000)), 1);
    assert_int_equal(value_of(&p.m, "ipv6:hoplimit").v.i, 55);
    close_both(a, b);
}

static void descriptors_are_passed(void **state)
{
    (void)state;
    gs_socket a, b, passed;
    int fd[3], got[3];
    local_pair(SOCK_STREAM, &a, &b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    fd[2] = open("/dev/null", O_RDWR);
    uint8_t control[128];
    struct iovec v = {.iov_base = (char[]){"f"}, .iov_len = 1};
    gs_msghdr m = {.iov = &v, .iovcnt = 1, .control = control};
    gs_value rights = {.kind = GS_VALUE_FDS, .v.fds = {fd, 3}};
    assert_ok(gs_cmsg_add(&m, sizeof control, "socket:rights", &rights));
    assert_int_equal(gs_socket_sendmsg(a, &m, 0, NULL), 1);

    struct packet p;
    gs_cmsg c;
    size_t at = 0;
    assert_int_equal(gs_socket_recvmsg(b, room(&p), 0, GS_MS(1000)), 1);
    assert_int_equal(value_of(&p.m, "socket:rights").v.fds.n, 3);
    assert_true(gs_cmsg_next(&p.m, &at, &c));
    assert_code(gs_cmsg_fds(&c, got, 2), GS_EINVALID);
    assert_int_equal(gs_cmsg_fds(&c, got, 3), 3);
    assert_false(gs_cmsg_next(&p.m, &at, &c));
    for (int i = 0; i < 3; i++)
        assert_true(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
    const gs_socket_opts take = {.fd_use = GS_FD_TAKE};
    assert_ok(gs_socket_open_fd(&passed, got[0], &take)); /* the passed end still works */
    assert_int_equal(gs_socket_send(passed, "x", 1, 0, NULL), 1);
    char byte;
    assert_int_equal(read(fd[1], &byte, 1), 1);
    assert_ok(gs_socket_close(passed));
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    close(got[1]);
    close(got[2]);
    close_both(a, b);
}

static void credentials_come_typed(void **state)
{
    (void)state;
    gs_socket a, b;
    struct packet p;
    local_pair(SOCK_DGRAM, &a, &b);
    assert_ok(gs_socket_setopt(b, "socket:passcred", GS_VALUE_OF_INT(1)));
    assert_int_equal(gs_socket_send(a, "c", 1, 0, NULL), 1);
    assert_int_equal(gs_socket_recvmsg(b, room(&p), 0, GS_MS(1000)), 1);
    gs_value v = value_of(&p.m, "socket:credentials");
    assert_int_equal(v.v.cred.pid, getpid());
    assert_int_equal(v.v.cred.uid, getuid());
    close_both(a, b);
}

static void the_error_queue_tells_who_refused(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket dead = bound(AF_INET, SOCK_DGRAM, &at), a = open_socket(AF_INET, SOCK_DGRAM);
    struct packet p;
    assert_ok(gs_socket_close(dead));
    assert_ok(gs_socket_setopt(a, "ip:recverr", GS_VALUE_OF_INT(1)));
    assert_ok(gs_socket_connect(a, &at, NULL));
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    assert_int_equal(gs_socket_recvmsg(a, room(&p), MSG_ERRQUEUE, GS_MS(5000)), 1);
    assert_true(p.m.flags & MSG_ERRQUEUE);
    gs_value v = value_of(&p.m, "ip:recverr");
    assert_code(v.v.error.error, -ECONNREFUSED);
    assert_int_equal(gs_addr_family(&v.v.error.offender), AF_INET);
    assert_code(gs_socket_recvmsg(a, room(&p), MSG_ERRQUEUE, GS_MS(10)), GS_ETIMEOUT);
    assert_ok(gs_socket_close(a));
}

static void a_short_buffer_is_told_by_flags(void **state)
{
    (void)state;
    gs_socket a, b;
    struct packet p;
    local_pair(SOCK_SEQPACKET, &a, &b);
    assert_int_equal(gs_socket_send(a, "abcdef", 6, MSG_EOR, NULL), 6);
    room(&p)->iov->iov_len = 2;
    assert_int_equal(gs_socket_recvmsg(b, &p.m, 0, GS_MS(1000)), 2);
    assert_true(p.m.flags & MSG_TRUNC);
    assert_ok(gs_socket_setopt(b, "socket:passcred", GS_VALUE_OF_INT(1)));
    assert_ok(gs_socket_setopt(b, "otp:rcvctrlbuf", GS_VALUE_OF_INT(8)));
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    assert_int_equal(gs_socket_recvmsg(b, room(&p), 0, GS_MS(1000)), 1);
    assert_true(p.m.flags & MSG_CTRUNC);
    close_both(a, b);
}

static void vectors_are_scattered_and_gathered(void **state)
{
    (void)state;
    gs_socket a, b;
    char x[3], y[5];
    local_pair(SOCK_SEQPACKET, &a, &b);
    struct iovec out[3] = {{(char[]){"ab"}, 2}, {NULL, 0}, {(char[]){"cdefg"}, 5}}, in[2] = {{x, 3}, {y, 5}};
    assert_int_equal(gs_socket_sendmsg(a, &(gs_msghdr){.iov = out, .iovcnt = 3}, 0, NULL), 7);
    gs_msghdr m = {.iov = in, .iovcnt = 2};
    assert_int_equal(gs_socket_recvmsg(b, &m, 0, GS_MS(1000)), 7);
    assert_memory_equal(x, "abc", 3);
    assert_memory_equal(y, "defg", 4);
    assert_ok(gs_socket_close(a));
    m = (gs_msghdr){.iov = in, .iovcnt = 2};
    assert_int_equal(gs_socket_recvmsg(b, &m, 0, GS_MS(1000)), 0); /* seqpacket: the end looks like an empty packet */
    assert_ok(gs_socket_close(b));
}

static void send_limits_of_the_otp_level_hold(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket b = bound(AF_INET, SOCK_DGRAM, &at);
    uint8_t control[128];
    struct iovec v = {.iov_base = (char[]){"m"}, .iov_len = 1};
    gs_msghdr m = {.addr = &at, .iov = &v, .iovcnt = 1, .control = control};
    assert_ok(gs_cmsg_add(&m, sizeof control, "ip:tos", GS_VALUE_OF_INT(8)));
    assert_ok(gs_socket_setopt(b, "otp:sndctrlbuf", GS_VALUE_OF_INT(4)));
    assert_code(gs_socket_sendmsg(b, &m, 0, NULL), -EINVAL);
    assert_ok(gs_socket_setopt(b, "otp:sndctrlbuf", GS_VALUE_OF_INT(0)));
    assert_int_equal(gs_socket_sendmsg(b, &m, 0, NULL), 1);
    assert_ok(gs_socket_close(b));
}

/* ---- without a socket ---- */

static void appended_messages_are_walked_at_any_alignment(void **state)
{
    (void)state;
    uint8_t buffer[257];
    for (size_t shift = 0; shift < 8; shift++) {
        gs_msghdr m = {.control = buffer + shift};
        size_t cap = 200, at = 0;
        gs_cmsg c;
        assert_ok(gs_cmsg_put(&m, cap, 1, 2, "abc", 3));
        assert_ok(gs_cmsg_put(&m, cap, 3, 4, NULL, 0));
        assert_ok(gs_cmsg_put(&m, cap, 5, 6, "0123456789", 10));
        assert_true(gs_cmsg_next(&m, &at, &c) && c.level == 1 && c.type == 2 && c.data.n == 3);
        assert_memory_equal(c.data.p, "abc", 3);
        assert_true(gs_cmsg_next(&m, &at, &c) && c.level == 3 && c.data.n == 0);
        assert_true(gs_cmsg_next(&m, &at, &c) && c.type == 6 && c.data.n == 10);
        assert_false(gs_cmsg_next(&m, &at, &c));
    }
}

static void no_room_is_emsgsize_and_changes_nothing(void **state)
{
    (void)state;
    uint8_t buffer[64] = {0};
    gs_msghdr m = {.control = buffer};
    assert_code(gs_cmsg_put(&m, sizeof buffer, 1, 1, buffer, 60), -EMSGSIZE);
    assert_code(gs_cmsg_put(&m, sizeof buffer, 1, 1, buffer, SIZE_MAX), -EMSGSIZE);
    assert_int_equal(m.control_len, 0);
    assert_ok(gs_cmsg_put(&m, sizeof buffer, 1, 1, "x", 1));
    assert_ok(gs_cmsg_put(&m, sizeof buffer, 1, 1, "x", 1));
    assert_code(gs_cmsg_put(&m, sizeof buffer, 1, 1, "x", 1), -EMSGSIZE);
    assert_code(gs_cmsg_put(&m, 3, 1, 1, "x", 1), GS_EBADARG);
}

/* Every length that a header may claim, in every size of buffer: the walk ends, and stays inside. */
static void malformed_messages_end_the_walk(void **state)
{
    (void)state;
    enum { MOST = 48 };
    static const size_t lengths[] = {0, 1, 15, 16, 17, 24, 31, 32, 47, 48, 49, 1 << 20, SIZE_MAX - 8, SIZE_MAX - 1, SIZE_MAX};
    for (size_t n = 0; n <= MOST; n++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            uint8_t *exact = test_malloc(n + 1); /* a guard behind it */
            memset(exact, 0, n);
            if (n >= sizeof(size_t))
                memcpy(exact, &lengths[i], sizeof(size_t));
            gs_msghdr m = {.control = exact, .control_len = n};
            gs_cmsg c;
            gs_value v;
            int steps = 0;
            for (size_t at = 0; gs_cmsg_next(&m, &at, &c); steps++) {
                assert_true(c.data.p >= exact && c.data.p + c.data.n <= exact + n);
                (void)gs_cmsg_value(&c, &v);
            }
            assert_true(steps <= 3);
            test_free(exact);
        }
}

static void short_values_have_no_name(void **state)
{
    (void)state;
    gs_value v;
    static const struct {
        int level, type;
        size_t least;
    } rows[] = {{IPPROTO_IP, IP_TTL, 4}, {IPPROTO_IP, IP_PKTINFO, 12}, {IPPROTO_IPV6, IPV6_PKTINFO, 20},
                {SOL_SOCKET, SCM_TIMESTAMP, 16}, {SOL_SOCKET, SCM_CREDENTIALS, 12}, {IPPROTO_IP, IP_RECVERR, 16}};
    uint8_t bytes[64] = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t n = 0; n <= sizeof bytes; n++) {
            gs_cmsg c = {.level = rows[i].level, .type = rows[i].type, .data = {bytes, n}};
            bool one_byte = rows[i].type == IP_TTL && rows[i].level == IPPROTO_IP && n == 1;
            assert_int_equal(gs_cmsg_value(&c, &v) != NULL, n >= rows[i].least || one_byte);
        }
    assert_null(gs_cmsg_value(&(gs_cmsg){.level = 77, .type = 88}, &v));
}

static void names_and_kinds_are_checked(void **state)
{
    (void)state;
    uint8_t buffer[64];
    gs_msghdr m = {.control = buffer};
    gs_value text = {.kind = GS_VALUE_TEXT};
    assert_code(gs_cmsg_add(&m, sizeof buffer, "ip:nothing", GS_VALUE_OF_INT(1)), GS_EINVALID);
    assert_code(gs_cmsg_add(&m, sizeof buffer, "ip:tos", &text), GS_EINVALID);
    assert_code(gs_cmsg_add(&m, sizeof buffer, "socket:timestamp", GS_VALUE_OF_INT(1)), GS_EINVALID);
    gs_value fds = {.kind = GS_VALUE_FDS};
    assert_code(gs_cmsg_add(&m, sizeof buffer, "socket:rights", &fds), -EINVAL);
    fds.v.fds.fd = &(int){0};
    fds.v.fds.n = 254;
    assert_code(gs_cmsg_add(&m, sizeof buffer, "socket:rights", &fds), -EINVAL);
    assert_int_equal(m.control_len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tos_ttl_and_pktinfo_come_typed),
        cmocka_unit_test(ipv6_tclass_hoplimit_and_pktinfo_come_typed),
        cmocka_unit_test(descriptors_are_passed),
        cmocka_unit_test(credentials_come_typed),
        cmocka_unit_test(the_error_queue_tells_who_refused),
        cmocka_unit_test(a_short_buffer_is_told_by_flags),
        cmocka_unit_test(vectors_are_scattered_and_gathered),
        cmocka_unit_test(send_limits_of_the_otp_level_hold),
        cmocka_unit_test(appended_messages_are_walked_at_any_alignment),
        cmocka_unit_test(no_room_is_emsgsize_and_changes_nothing),
        cmocka_unit_test(malformed_messages_end_the_walk),
        cmocka_unit_test(short_values_have_no_name),
        cmocka_unit_test(names_and_kinds_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
