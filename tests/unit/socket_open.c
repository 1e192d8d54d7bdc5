/* Opening, existing descriptors, namespaces and devices, names, states, the registry, monitors, supports. */
#include <fcntl.h>
#include <sys/epoll.h>

#include "lib/fault.h"
#include "socket_test.h"

static void integer_domains_types_and_protocols_pass_through(void **state)
{
    (void)state;
    gs_socket s;
    assert_ok(gs_socket_open(&s, AF_NETLINK, SOCK_DGRAM, 0, NULL));
    assert_int_equal(info_of(s).domain, AF_NETLINK);
    assert_ok(gs_socket_close(s));
    assert_ok(gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, NULL));
    assert_int_equal(info_of(s).protocol, IPPROTO_TCP); /* which the default is */
    assert_ok(gs_socket_close(s));
    assert_code(gs_socket_open(&s, 9999, SOCK_STREAM, 0, NULL), -EAFNOSUPPORT);
    assert_code(gs_socket_open(&s, AF_INET, SOCK_STREAM, IPPROTO_UDP, NULL), -EPROTONOSUPPORT);
    assert_code(gs_socket_open(&s, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, NULL), -EINVAL);
    assert_true(strlen(gs_error_detail(-EINVAL)) > 0);
}

static void failing_calls_are_told_and_leak_nothing(void **state)
{
    (void)state;
    gs_socket s;
    int fd[2];
    fault_fail_call(FAULT_socket, 1, 1, EMFILE);
    assert_code(gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, NULL), -EMFILE);
    assert_int_equal(fault_stop(), 1);
    assert_true(strstr(gs_error_detail(-EMFILE), "ulimit"));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    fault_fail_call(FAULT_fcntl, 1, 1, EMFILE); /* the duplicate */
    assert_code(gs_socket_open_fd(&s, fd[0], NULL), -EMFILE);
    assert_int_equal(fault_stop(), 1);
    fault_fail_call(FAULT_fcntl, 3, 1, EPERM); /* making it non-blocking, after the flags were read */
    assert_code(gs_socket_open_fd(&s, fd[0], NULL), -EPERM);
    assert_int_equal(fault_stop(), 1);
    assert_true(fcntl(fd[0], F_GETFD) >= 0);
    const gs_socket_opts take = {.fd_use = GS_FD_TAKE}, nowhere = {.netns = "/nonexistent"};
    const gs_socket_opts no_device = {.bind_to_device = "no-such-if"};
    fault_fail_call(FAULT_getsockopt, 1, 1, ENOMEM);
    assert_code(gs_socket_open_fd(&s, fd[0], &take), -ENOMEM);
    assert_int_equal(fault_stop(), 1);
    assert_int_equal(fcntl(fd[0], F_GETFD), -1); /* taken on failure too */
    close(fd[1]);
    assert_code(gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, &nowhere), -ENOENT);
    int e = gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, &no_device);
    assert_true(e == -ENODEV || e == -EPERM);
    assert_true(strstr(gs_error_detail(e), "no-such-if"));
}

static void an_existing_descriptor_is_duplicated_borrowed_or_taken(void **state)
{
    (void)state;
    int fd[2];
    gs_socket s;
    char c;
    for (gs_fd_use use = GS_FD_DUP; use <= GS_FD_TAKE; use++) {
        const gs_socket_opts o = {.fd_use = use};
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd), 0);
        assert_ok(gs_socket_open_fd(&s, fd[0], &o));
        gs_socket_info_t i = info_of(s);
        assert_true(i.domain == AF_UNIX && i.type == SOCK_SEQPACKET);
        assert_true(i.state & GS_SOCKET_CONNECTED);
        assert_int_equal(i.fd == fd[0], use != GS_FD_DUP);
        assert_code(gs_socket_recv(s, &c, 1, 0, GS_MS(0)), GS_ETIMEOUT); /* non-blocking */
        assert_int_equal(write(fd[1], "x", 1), 1);
        assert_int_equal(gs_socket_recv(s, &c, 1, 0, GS_MS(0)), 1);
        assert_ok(gs_socket_close(s));
        assert_int_equal(fcntl(fd[0], F_GETFD) >= 0, use != GS_FD_TAKE);
        if (use != GS_FD_TAKE)
            close(fd[0]);
        close(fd[1]);
    }
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_code(gs_socket_open_fd(&s, pipes[0], NULL), -ENOTSOCK);
    close(pipes[0]);
    close(pipes[1]);
    assert_code(gs_socket_open_fd(&s, 1 << 20, NULL), -EBADF);
    assert_code(gs_socket_open_fd(&s, -1, NULL), GS_EBADARG);
    assert_code(gs_socket_open_fd(&s, 0, &(gs_socket_opts){.fd_use = (gs_fd_use)7}), GS_EBADARG);
}

static void a_listening_descriptor_accepts(void **state)
{
    (void)state;
    gs_addr at;
    gs_socket l = listener(&at), again, a, b;
    assert_ok(gs_socket_open_fd(&again, info_of(l).fd, NULL));
    assert_true(info_of(again).state & GS_SOCKET_LISTENING);
    assert_ok(gs_socket_close(l));
    connect_pair(again, &at, &a, &b);
    close_both(a, b);
    assert_ok(gs_socket_close(again));
}

static void a_closed_duplicate_leaves_no_events_behind(void **state)
{
    (void)state;
    gs_socket a, b, dup;
    gs_mailbox mb = new_mailbox();
    char c;
    gs_msg m;
    local_pair(SOCK_STREAM, &a, &b);
    assert_ok(gs_socket_open_fd(&dup, info_of(b).fd, NULL));
    gs_wait w = nowait(mb);
    assert_code(gs_socket_recv(dup, &c, 1, 0, &w), GS_ESELECT);
    assert_ok(gs_socket_close(dup)); /* the description lives on in b: the set must not */
    expect_message(mb, GS_MSG_ABORT, w.info.ref);
    assert_int_equal(gs_socket_send(a, "x", 1, 0, NULL), 1);
    struct epoll_event e;
    int set = (int)assert_ok(gs_mailbox_fd(mb));
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_int_equal(epoll_wait(set, &e, 1, 0), 0);
    close_both(a, b);
    assert_ok(gs_mailbox_free(mb));
}

static void bind_answers_the_port_and_states_follow(void **state)
{
    (void)state;
    gs_addr a, at;
    gs_socket s = open_socket(AF_INET, SOCK_STREAM), t = open_socket(AF_INET, SOCK_STREAM);
    assert_int_equal(info_of(s).state, 0);
    assert_ok(gs_addr_special(&a, AF_INET, GS_ADDR_LOOPBACK, 0));
    int port = (int)assert_ok(gs_socket_bind(s, &a));
    assert_ok(gs_socket_sockname(s, &at));
    assert_int_equal(gs_addr_port(&at), port);
    assert_int_equal(info_of(s).state, GS_SOCKET_BOUND);
    assert_ok(gs_socket_listen(s, 1));
    assert_code(gs_socket_bind(t, &at), -EADDRINUSE);
    assert_code(gs_socket_peername(s, &a), -ENOTCONN);
    assert_code(gs_socket_shutdown(t, SHUT_RDWR), -ENOTCONN);
    assert_code(gs_socket_shutdown(t, 7), GS_EBADARG);
    close_both(s, t);
    gs_socket u = open_socket(AF_UNIX, SOCK_STREAM);
    assert_ok(gs_addr_local(&a, NULL, 0));
    assert_int_equal(gs_socket_bind(u, &a), 0); /* autobind: an abstract name of the kernel's choice */
    assert_ok(gs_socket_sockname(u, &at));
    assert_int_equal(gs_addr_path(&at).n, 6);
    assert_ok(gs_socket_close(u));
}

static void a_socket_is_made_in_another_namespace(void **state)
{
    (void)state;
    gs_socket s;
    const gs_socket_opts own = {.netns = "/proc/self/ns/net"}, none = {.netns = "/dev/null"};
    int e = gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, &own);
    if (e == -EPERM)
        skip_because("may not enter a network namespace");
    assert_ok(e);
    assert_ok(gs_socket_close(s));
    assert_code(gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, &none), -EINVAL);
    gs_addr at; /* an existing descriptor has its namespace already */
    s = listener(&at);
    assert_code(gs_socket_open_fd(&(gs_socket){0}, info_of(s).fd, &own), -EINVAL);
    assert_ok(gs_socket_close(s));
}

static void bind_to_device_holds(void **state)
{
    (void)state;
    gs_socket s;
    gs_value v;
    const gs_socket_opts lo = {.bind_to_device = "lo"};
    int e = gs_socket_open(&s, AF_INET, SOCK_DGRAM, 0, &lo);
    if (e == -EPERM)
        skip_because("may not bind to a device");
    assert_ok(e);
    assert_ok(gs_socket_getopt(s, "socket:bindtodevice", &v));
    assert_string_equal(v.v.text, "lo");
    assert_ok(gs_socket_close(s));
}

static void an_owner_given_at_open_closes_it(void **state)
{
    (void)state;
    gs_mailbox mb = new_mailbox();
    gs_socket s;
    const gs_socket_opts o = {.owner = mb}, gone = {.owner.id = mb.id + 1};
    assert_ok(gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, &o));
    assert_code(gs_socket_open(&(gs_socket){0}, AF_INET, SOCK_STREAM, 0, &gone), GS_EBADARG);
    assert_ok(gs_mailbox_free(mb));
    assert_code(gs_socket_close(s), GS_ECLOSED);
}

/* ---- handles ---- */

static void stale_and_foreign_handles_answer(void **state)
{
    (void)state;
    gs_socket s = open_socket(AF_INET, SOCK_STREAM), stale = s;
    gs_mailbox mb = new_mailbox();
    gs_addr a;
    assert_ok(gs_socket_close(s));
    for (int i = 0; i < 300; i++) { /* whoever gets the place, the old handle does not become it */
        s = open_socket(AF_INET, SOCK_STREAM);
        assert_code(gs_socket_sockname(stale, &a), GS_ECLOSED);
        assert_code(gs_socket_close(stale), GS_ECLOSED);
        assert_ok(gs_socket_close(s));
    }
    const gs_socket foreign[] = {{0}, {1}, {mb.id}, {stale.id + (UINT64_C(1) << 40)}, {UINT64_MAX}};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_code(gs_socket_sockname(foreign[i], &a), GS_EBADARG);
    assert_ok(gs_mailbox_free(mb));
}

/* ---- info, registry, monitor ---- */

static bool is_wanted(gs_socket s, const gs_socket_info_t *i, void *arg)
{
    (void)i;
    return s.id == *(uint64_t *)arg;
}

static void which_sockets_filters(void **state)
{
    (void)state;
    size_t before = gs_number_of_sockets();
    gs_mailbox mb = new_mailbox();
    const gs_socket_opts owned = {.owner = mb}, hidden = {.use_registry = -1};
    gs_socket tcp, udp, local, secret, found[8];
    assert_ok(gs_socket_open(&tcp, AF_INET, SOCK_STREAM, 0, NULL));
    assert_ok(gs_socket_open(&udp, AF_INET6, SOCK_DGRAM, 0, &owned));
    assert_ok(gs_socket_open(&local, AF_UNIX, SOCK_SEQPACKET, 0, NULL));
    assert_ok(gs_socket_open(&secret, AF_UNIX, SOCK_STREAM, 0, &hidden));
    assert_int_equal(gs_number_of_sockets(), before + 3);
    assert_int_equal(gs_which_sockets(NULL, NULL, 0), before + 3);
    assert_int_equal(gs_which_sockets(&(gs_socket_filter){.protocol = IPPROTO_TCP, .domain = AF_INET}, found, 8), 1);
    assert_true(found[0].id == tcp.id);
    assert_int_equal(gs_which_sockets(&(gs_socket_filter){.owner = mb}, found, 8), 1);
    assert_true(found[0].id == udp.id);
    assert_int_equal(gs_which_sockets(&(gs_socket_filter){.domain = AF_UNIX}, found, 8), 1);
    assert_true(found[0].id == local.id);
    assert_int_equal(gs_which_sockets(&(gs_socket_filter){.keep = is_wanted, .arg = &udp.id}, found, 8), 1);
    assert_int_equal(gs_which_sockets(&(gs_socket_filter){.type = SOCK_RAW}, found, 8), 0);
    found[0].id = 77;
    assert_int_equal(gs_which_sockets(NULL, found, 0), before + 3); /* counts what has no room */
    assert_true(found[0].id == 77);
    gs_info_t all;
    assert_ok(gs_info(&all));
    assert_true(all.use_registry && all.num_sockets == before + 4 && all.num_local == 2 && all.num_tcp == 1 && all.num_udp == 1);
    assert_true(gs_use_registry(false));
    gs_socket late = open_socket(AF_INET, SOCK_STREAM);
    assert_int_equal(gs_number_of_sockets(), before + 3);
    assert_false(gs_use_registry(true));
    close_both(tcp, local);
    close_both(secret, late);
    assert_ok(gs_mailbox_free(mb));
    assert_int_equal(gs_number_of_sockets(), before);
}

static void counters_count(void **state)
{
    (void)state;
    gs_socket a, b;
    char buf[10];
    local_pair(SOCK_DGRAM, &a, &b);
    assert_int_equal(gs_socket_send(a, "abcde", 5, 0, NULL), 5);
    assert_int_equal(gs_socket_send(a, "abc", 3, 0, NULL), 3);
    assert_int_equal(gs_socket_recv(b, buf, 10, 0, NULL), 5);
    assert_int_equal(gs_socket_recv(b, buf, 10, 0, NULL), 3);
    assert_code(gs_socket_recv(b, buf, 10, 0, GS_MS(0)), GS_ETIMEOUT);
    gs_socket_info_t i = info_of(a), k = info_of(b);
    assert_true(i.write_byte == 8 && i.write_pkg == 2 && i.write_pkg_max == 5 && i.write_tries == 2 && !i.write_fails);
    assert_true(k.read_byte == 8 && k.read_pkg == 2 && k.read_pkg_max == 5 && k.read_tries == 3 && k.read_waits == 1);
    assert_ok(gs_socket_close(b));
    assert_code(gs_socket_send(a, "x", 1, 0, GS_MS(0)), -ECONNREFUSED);
    assert_int_equal(info_of(a).write_fails, 1);
    assert_ok(gs_socket_close(a));
}

static void a_monitor_goes_off_once_unless_cancelled(void **state)
{
    (void)state;
    gs_socket s = open_socket(AF_INET, SOCK_STREAM);
    gs_mailbox mb = new_mailbox(), dead = new_mailbox();
    uint64_t first, second, third;
    gs_msg m;
    assert_ok(gs_socket_monitor(s, mb, &first));
    assert_ok(gs_socket_monitor(s, mb, &second));
    assert_ok(gs_socket_monitor(s, dead, &third));
    assert_ok(gs_socket_cancel_monitor(s, first));
    assert_code(gs_socket_cancel_monitor(s, first), GS_EINVALID);
    assert_ok(gs_mailbox_free(dead));
    assert_ok(gs_socket_close(s));
    assert_ok(gs_receive(mb, &m, 1000));
    assert_true(m.kind == GS_MSG_DOWN && m.ref == second && m.socket.id == s.id && m.error == GS_ECLOSED);
    assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT);
    assert_code(gs_socket_monitor(s, mb, &first), GS_ECLOSED);
    assert_code(gs_socket_cancel_monitor(s, second), GS_ECLOSED);
    assert_ok(gs_mailbox_free(mb));
    s = open_socket(AF_INET, SOCK_STREAM);
    assert_code(gs_socket_monitor(s, mb, &first), GS_EBADARG);
    assert_ok(gs_socket_close(s));
}

/* ---- supports ---- */

static void supports_lists_and_is_supported_agree(void **state)
{
    (void)state;
    static const char *const lists[] = {"msg_flags", "protocols", "options", "cmsgs"};
    gs_support all[256];
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        size_t n = gs_supports(lists[k], all, 256);
        assert_in_range(n, 5, 256);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(gs_is_supported(lists[k], all[i].name), all[i].supported);
        all[0].name = "untouched";
        assert_int_equal(gs_supports(lists[k], all, 0), n);
        assert_string_equal(all[0].name, "untouched");
    }
    size_t n = gs_supports(NULL, all, 256);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(gs_is_supported(all[i].name, NULL), all[i].supported);
    assert_true(gs_is_supported("local", NULL) && gs_is_supported("netns", NULL) && gs_is_supported("sendfile", NULL));
    assert_true(gs_is_supported("msg_flags", "eor") && !gs_is_supported("msg_flags", "eof"));
    assert_true(gs_is_supported("protocols", "tcp") && gs_is_supported("options", "socket:bindtodevice"));
    assert_false(gs_is_supported("options", "ip:sendsrcaddr"));
    assert_false(gs_is_supported("nothing", NULL) || gs_is_supported("nothing", "x") || gs_is_supported("msg_flags", "x"));
    assert_int_equal(gs_supports("nothing", all, 256), 0);
    int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
    assert_int_equal(gs_is_supported("sctp", NULL), fd >= 0);
    if (fd >= 0)
        close(fd);
}

static void the_trace_does_not_disturb(void **state)
{
    (void)state;
    gs_socket a, b;
    char c;
    local_pair(SOCK_STREAM, &a, &b);
    int keep = dup(2), quiet = open("/dev/null", O_WRONLY);
    assert_ok(gs_socket_setopt(a, "otp:debug", GS_VALUE_OF_INT(1)));
    dup2(quiet, 2);
    ssize_t n = gs_socket_send(a, "x", 1, 0, NULL), e = gs_socket_recv(a, &c, 1, 0, GS_MS(0));
    dup2(keep, 2);
    close(keep);
    close(quiet);
    assert_int_equal(n, 1);
    assert_code(e, GS_ETIMEOUT);
    close_both(a, b);
}


int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_sockets_filters),
        cmocka_unit_test(integer_domains_types_and_protocols_pass_through),
        cmocka_unit_test(failing_calls_are_told_and_leak_nothing),
        cmocka_unit_test(an_existing_descriptor_is_duplicated_borrowed_or_taken),
        cmocka_unit_test(a_listening_descriptor_accepts),
        cmocka_unit_test(a_closed_duplicate_leaves_no_events_behind),
        cmocka_unit_test(bind_answers_the_port_and_states_follow),
        cmocka_unit_test(a_socket_is_made_in_another_namespace),
        cmocka_unit_test(bind_to_device_holds),
        cmocka_unit_test(an_owner_given_at_open_closes_it),
        cmocka_unit_test(stale_and_foreign_handles_answer),
        cmocka_unit_test(counters_count),
        cmocka_unit_test(a_monitor_goes_off_once_unless_cancelled),
        cmocka_unit_test(supports_lists_and_is_supported_agree),
        cmocka_unit_test(the_trace_does_not_disturb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
