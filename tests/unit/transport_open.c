/* tcp and unix by their slots: opening in all its forms: addresses, local addresses, option fd, paths. */
#include "kernel_ends.h"

/* ---- tcp: listen ---- */

static void listen_answers_at_what_address_options_say(void **state)
{
    (void)state;
    gs_addr two, six;
    void *l, *other;
    char text[100], port[20];
    assert_ok(gs_addr_parse(&two, "127.0.0.2:0"));
    assert_ok(gs_addr_parse(&six, "[::1]:0"));
    assert_ok(tcp_open(":0", NULL, &l));
    assert_non_null(strstr(name_of(tcp(), l, false), "0.0.0.0:"));
    assert_code(tcp()->name(l, true, &(gs_addr){0}), -ENOTCONN);
    assert_int_equal(option_of(l, SOL_SOCKET, SO_REUSEADDR), 0);
    snprintf(port, sizeof port, "%s", strrchr(name_of(tcp(), l, false), ':') + 1);
    tcp()->close(l, false);
    assert_ok(tcp_open(":0", GS_OPTS({.name = GS_OPT_IP, .v.addr = &two}), &l));
    assert_non_null(strstr(name_of(tcp(), l, false), "127.0.0.2:"));
    tcp()->close(l, false);
    /* {port, P} comes behind the port of the address, as gen_tcp puts it */
    snprintf(text, sizeof text, ":%s", port);
    assert_ok(tcp_open(text, GS_OPTS(GS_INT(PORT, 0)), &l));
    assert_string_not_equal(strrchr(name_of(tcp(), l, false), ':') + 1, port);
    tcp()->close(l, false);
    assert_ok(tcp_open(text, GS_OPTS({.name = GS_OPT_IP, .v.addr = &two}, GS_INT(REUSEADDR, 1)), &l));
    assert_string_equal(strrchr(name_of(tcp(), l, false), ':') + 1, port);
    assert_code(tcp_open(text, GS_OPTS({.name = GS_OPT_IP, .v.addr = &two}), &other), -EADDRINUSE);
    assert_non_null(strstr(gs_error_detail(-EADDRINUSE), "reuseaddr"));
    tcp()->close(l, false);
    if (tcp_open(":0", GS_OPTS({.name = GS_OPT_IP, .v.addr = &six}), &l) == 0) { /* any address takes ip's family */
        assert_non_null(strstr(name_of(tcp(), l, false), "[::1]:"));
        tcp()->close(l, false);
    }
    assert_code(tcp_open("127.0.0.1:0", GS_OPTS({.name = GS_OPT_IP, .v.addr = &six}), &l), -EINVAL);
    assert_code(tcp_open(":0", GS_OPTS(GS_INT(FAMILY, AF_INET6)), &l), -EINVAL); /* not what the resolver gave */
    assert_code(tcp_open(":0", GS_OPTS(GS_INT(FAMILY, AF_UNIX)), &l), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), "unix://"));
    assert_code(tcp_open("@x", NULL, &l), -EAFNOSUPPORT);
    assert_code(tcp_open("192.0.2.1:0", NULL, &l), -EADDRNOTAVAIL);
    assert_code(tcp_open(":0", GS_OPTS(GS_INT(TCLASS, 1)), &l), -ENOTSUP);
}

static void v6only_decides_whether_inet_gets_in(void **state)
{
    (void)state;
    for (int only = 0; only < 2; only++) {
        void *l, *ctx;
        gs_addr a;
        if (tcp_open("[::]:0", GS_OPTS(GS_INT(IPV6_V6ONLY, only)), &l) < 0)
            skip_because("no IPv6 here");
        assert_ok(tcp()->name(l, false, &a));
        assert_ok(gs_addr_ip(&a, "127.0.0.1", (uint16_t)gs_addr_port(&a)));
        int e = tcp_dial(&a, NULL, &ctx);
        assert_code(e, only ? -ECONNREFUSED : 0);
        if (e == 0)
            tcp()->close(ctx, false);
        tcp()->close(l, false);
    }
}

/* ---- tcp: connect ---- */

static void connect_tells_why_it_cannot(void **state)
{
    (void)state;
    gs_addr a, six;
    void *l, *ctx;
    assert_ok(tcp_open("127.0.0.1:0", NULL, &l));
    assert_ok(tcp()->name(l, false, &a));
    tcp()->close(l, false);
    assert_code(tcp_dial(&a, NULL, &ctx), -ECONNREFUSED);
    assert_non_null(strstr(gs_error_detail(-ECONNREFUSED), "nobody listens"));
    assert_ok(gs_addr_parse(&six, "[::1]:1"));
    assert_code(tcp_dial(&a, GS_OPTS({.name = GS_OPT_IP, .v.addr = &six}), &ctx), -EINVAL);
    assert_code(tcp_dial(&a, GS_OPTS(GS_INT(FAMILY, AF_INET6)), &ctx), -EINVAL);
    assert_code(tcp_dial(&a, GS_OPTS(GS_STR(BIND_TO_DEVICE, "no-such-if")), &ctx), -ENODEV);
}

/* The attempt goes on although the call was interrupted (connect(2)). */
static int interruptions;
static int interrupted_connect(int fd, const struct sockaddr *a, socklen_t n)
{
    int result = gsi_sys_default.connect(fd, a, n);
    if (interruptions++ > 0)
        return result;
    errno = EINTR;
    return -1;
}

static void an_interrupted_connect_is_neither_lost_nor_a_false_success(void **state)
{
    (void)state;
    gs_addr a;
    void *l, *ctx;
    assert_ok(tcp_open("127.0.0.1:0", NULL, &l));
    assert_ok(tcp()->name(l, false, &a));
    int (*was)(int, const struct sockaddr *, socklen_t) = gsi_sys.connect;
    gsi_sys.connect = interrupted_connect;
    interruptions = 0;
    int heard = tcp_dial(&a, NULL, &ctx), asked = interruptions;
    tcp()->close(l, false);
    interruptions = 0;
    void *nobody;
    int refused = tcp_dial(&a, NULL, &nobody);
    gsi_sys.connect = was;
    assert_ok(heard);
    assert_int_equal(asked, 2);
    tcp()->close(ctx, false);
    assert_code(refused, -ECONNREFUSED);
}

static void connect_binds_to_the_local_address_first(void **state)
{
    (void)state;
    gs_addr at, two;
    void *l, *ctx;
    assert_ok(tcp_open("127.0.0.1:0", NULL, &l));
    assert_ok(tcp()->name(l, false, &at));
    assert_ok(gs_addr_parse(&two, "127.0.0.2:0"));
    assert_ok(tcp_dial(&at, GS_OPTS({.name = GS_OPT_IP, .v.addr = &two}, GS_INT(NODELAY, 1)), &ctx));
    void *server = accepted(tcp(), l);
    assert_non_null(strstr(name_of(tcp(), server, true), "127.0.0.2:"));
    assert_int_equal(option_of(ctx, IPPROTO_TCP, TCP_NODELAY) != 0, 1);
    tcp()->close(ctx, false), tcp()->close(server, false), tcp()->close(l, false);
}

static void handshake_waits_until_the_attempt_ends(void **state)
{
    (void)state;
    gs_addr a;
    void *l, *ctx[3] = {0};
    struct gs_io io = {0};
    int pending = -1;
    /* the queue of a listener with backlog 0 holds one: a later attempt stays in the SYN queue */
    assert_ok(tcp_open("127.0.0.1:0", GS_OPTS(GS_INT(BACKLOG, 0)), &l));
    assert_ok(tcp()->name(l, false, &a));
    for (int i = 0; i < 3; i++) {
        int e = tcp()->connect(&io, &(gs_target){.rest = "", .addr = &a}, NULL, &ctx[i]);
        assert_true(e == 0 || e == -EINPROGRESS);
        struct pollfd p = {.fd = gsi_kernel_fd(ctx[i]), .events = POLLOUT};
        if (e == -EINPROGRESS && poll(&p, 1, 50) == 0)
            pending = i;
    }
    assert_true(pending > 0);
    assert_code(tcp()->handshake(ctx[pending]), -EINPROGRESS); /* SO_ERROR alone would say 0 */
    assert_ok(tcp()->handshake(ctx[0]));
    for (int i = 0; i < 3; i++)
        tcp()->close(ctx[i], false);
    tcp()->close(l, false);
}

/* ---- option fd ---- */

static int stream_socket(int domain) { return socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0); }

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static void fd_is_bound_when_ip_or_port_say_so(void **state)
{
    (void)state;
    gs_addr two, at;
    void *l, *ctx;
    assert_ok(gs_addr_parse(&two, "127.0.0.2:0"));
    int fd = stream_socket(AF_INET);
    assert_ok(tcp_open(":0", GS_OPTS(GS_INT(FD, fd), {.name = GS_OPT_IP, .v.addr = &two}), &l));
    assert_int_equal(gsi_kernel_fd(l), fd);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_non_null(strstr(name_of(tcp(), l, false), "127.0.0.2:"));
    assert_ok(tcp()->name(l, false, &at));
    int out = stream_socket(AF_INET);
    assert_ok(tcp_dial(&at, GS_OPTS(GS_INT(FD, out), {.name = GS_OPT_IFADDR, .v.addr = &two}), &ctx));
    assert_int_equal(gsi_kernel_fd(ctx), out);
    assert_non_null(strstr(name_of(tcp(), ctx, false), "127.0.0.2:"));
    tcp()->close(ctx, false), tcp()->close(l, false);
}

static void fd_without_them_stays_where_it_is_bound(void **state)
{
    (void)state;
    gs_addr at, elsewhere;
    void *l, *ctx;
    int fd = stream_socket(AF_INET);
    assert_ok(gs_addr_parse(&at, "127.0.0.3:0"));
    assert_ok(gsi_kernel_bind(fd, &at));
    assert_ok(tcp_open(":0", GS_OPTS(GS_INT(FD, fd)), &l));
    assert_non_null(strstr(name_of(tcp(), l, false), "127.0.0.3:"));
    assert_ok(tcp()->name(l, false, &at));
    /* connected somehow: the address is not asked again */
    int out = stream_socket(AF_INET);
    assert_int_equal(connect(out, (const struct sockaddr *)&at.sa, at.len), 0);
    assert_ok(gs_addr_parse(&elsewhere, "127.0.0.9:9"));
    assert_ok(tcp_dial(&elsewhere, GS_OPTS(GS_INT(FD, out)), &ctx));
    assert_non_null(strstr(name_of(tcp(), ctx, true), "127.0.0.3:"));
    tcp()->close(ctx, false), tcp()->close(l, false);
    fd = stream_socket(AF_INET); /* unbound: what the address says holds */
    assert_ok(tcp_open("127.0.0.4:0", GS_OPTS(GS_INT(FD, fd)), &l));
    assert_non_null(strstr(name_of(tcp(), l, false), "127.0.0.4:"));
    tcp()->close(l, false);
}

static void fd_of_any_family_listens_at_any_address(void **state)
{
    (void)state;
    void *l;
    int fd = stream_socket(AF_INET6);
    if (fd < 0)
        skip_because("no IPv6 here");
    assert_ok(tcp_open(":0", GS_OPTS(GS_INT(FD, fd), GS_INT(PORT, 0)), &l));
    assert_non_null(strstr(name_of(tcp(), l, false), "[::]:"));
    tcp()->close(l, false);
}

static void fd_is_taken_though_the_call_fails(void **state)
{
    (void)state;
    gs_addr at, six;
    void *ctx;
    assert_ok(gs_addr_parse(&at, "127.0.0.1:1"));
    assert_ok(gs_addr_parse(&six, "[::1]:1"));
    int dgram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), event = gsi_sys.eventfd(0, 0), inet = stream_socket(AF_INET);
    assert_code(tcp_dial(&at, GS_OPTS(GS_INT(FD, dgram)), &ctx), -EINVAL);
    assert_false(is_open(dgram));
    assert_code(tcp_dial(&at, GS_OPTS(GS_INT(FD, event)), &ctx), -ENOTSOCK);
    assert_false(is_open(event));
    assert_code(tcp_dial(&six, GS_OPTS(GS_INT(FD, inet)), &ctx), -EINVAL);
    assert_false(is_open(inet));
    inet = stream_socket(AF_INET);
    assert_code(tcp_dial(&at, GS_OPTS(GS_INT(FD, inet), GS_INT(TCLASS, 1)), &ctx), -ENOTSUP);
    assert_false(is_open(inet));
    inet = stream_socket(AF_INET);
    assert_code(tcp_dial(&at, GS_OPTS(GS_INT(FD, inet), GS_INT(FAMILY, AF_UNIX)), &ctx), -EINVAL);
    assert_false(is_open(inet));
    inet = stream_socket(AF_INET);
    assert_code(tcp_open("127.0.0.1:0", GS_OPTS(GS_INT(FD, inet), GS_INT(FAMILY, AF_INET6)), &ctx), -EINVAL);
    assert_false(is_open(inet));
    inet = stream_socket(AF_INET);
    assert_code(local_open(own_name("@fd"), GS_OPTS(GS_INT(FD, inet)), &ctx), -EINVAL);
    assert_false(is_open(inet));
    int un = stream_socket(AF_UNIX);
    assert_code(local_dial("", GS_OPTS(GS_INT(FD, un)), &ctx), GS_EFORMAT);
    assert_false(is_open(un));
    un = stream_socket(AF_UNIX);
    assert_code(tcp_dial(&at, GS_OPTS(GS_INT(FD, un)), &ctx), -EINVAL);
    assert_false(is_open(un));
    assert_code(tcp_dial(&at, GS_OPTS(GS_INT(FD, 1000000)), &ctx), -EBADF);
    assert_code(tcp_dial(&at, GS_OPTS(GS_INT(FD, -1)), &ctx), -EINVAL);
}

static void a_descriptor_loses_its_linger(void **state)
{
    (void)state;
    int fd = stream_socket(AF_INET), domain = 0;
    struct linger l = {1, 100};
    socklen_t n = sizeof l;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, n), 0);
    assert_ok(gsi_kernel_adopt(fd, &domain)); /* or close(2) would block */
    assert_int_equal(domain, AF_INET);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &n), 0);
    assert_int_equal(l.l_onoff, 0);
    close(fd);
}

/* ---- unix ---- */

static void unix_names_are_paths_or_abstract_or_the_kernels(void **state)
{
    (void)state;
    void *l, *ctx;
    const char *path = temp_path("s");
    struct stat st;
    assert_ok(local_open(path, NULL, &l));
    assert_string_equal(name_of(local(), l, false), path);
    assert_ok(local_dial(path, NULL, &ctx));
    assert_string_equal(name_of(local(), ctx, true), path);
    local()->close(ctx, false), local()->close(l, false);
    assert_int_equal(stat(path, &st), 0); /* the file stays, as in gen_tcp */
    assert_code(local_dial(path, NULL, &ctx), -ECONNREFUSED);
    assert_code(local_open(path, NULL, &l), -EADDRINUSE);
    assert_non_null(strstr(gs_error_detail(-EADDRINUSE), "removed"));
    assert_int_equal(unlink(path), 0);
    assert_code(local_dial(path, NULL, &ctx), -ENOENT);

    const char *name = own_name("@abstract\\x00\\xff");
    assert_ok(local_open(name, NULL, &l));
    assert_string_equal(name_of(local(), l, false), name);
    assert_ok(local_dial(name, NULL, &ctx));
    local()->close(ctx, false), local()->close(l, false);
    assert_code(local_dial(name, NULL, &ctx), -ECONNREFUSED);

    assert_ok(local_open("", NULL, &l));
    char chosen[GS_ADDR_TEXT_MAX];
    snprintf(chosen, sizeof chosen, "%s", name_of(local(), l, false));
    assert_int_equal(chosen[0], '@');
    assert_ok(local_dial(chosen, NULL, &ctx));
    local()->close(ctx, false), local()->close(l, false);
    assert_code(local_dial("", NULL, &ctx), GS_EFORMAT);
}

static void unix_paths_end_at_108_bytes(void **state)
{
    (void)state;
    void *l, *ctx;
    char path[600], *end = path + snprintf(path, sizeof path, "%s/", temp_dir());
    for (int n = 107; n <= 108; n++) {
        memset(end, 'p', sizeof path - (size_t)(end - path));
        path[n] = '\0';
        assert_ok(local_open(path, NULL, &l));
        assert_string_equal(name_of(local(), l, false), path);
        assert_ok(local_dial(path, NULL, &ctx));
        local()->close(ctx, false), local()->close(l, false);
    }
    memset(end, 'p', sizeof path - (size_t)(end - path));
    path[109] = '\0';
    assert_code(local_open(path, NULL, &l), -ENAMETOOLONG);
    memset(end, 'p', 20);
    path[109] = 'p';
    path[sizeof path - 1] = '\0';
    assert_code(local_open(path, NULL, &l), -ENAMETOOLONG);
    assert_code(local_dial(path, NULL, &l), -ENAMETOOLONG);
    assert_code(local_open("@bad\\escape", NULL, &l), GS_EFORMAT);
    assert_code(local_open("/nul\\x00", NULL, &l), GS_EFORMAT);
}

static void a_full_backlog_of_unix_is_eagain_and_leaves_nothing(void **state)
{
    (void)state;
    const char *name = temp_path("full"), *mine = temp_path("mine");
    void *l, *first, *second, *ctx = NULL;
    gs_addr here;
    struct stat st;
    assert_ok(local_open(name, GS_OPTS(GS_INT(BACKLOG, 0)), &l));
    assert_ok(local_dial(name, NULL, &first));
    assert_ok(gs_addr_local(&here, mine, strlen(mine)));
    assert_code(local_dial(name, GS_OPTS({.name = GS_OPT_IFADDR, .v.addr = &here}), &ctx), -EAGAIN);
    assert_true(stat(mine, &st) < 0); /* else a second try would find it in use */
    int fd = stream_socket(AF_UNIX);
    assert_code(local_dial(name, GS_OPTS(GS_INT(FD, fd)), &ctx), -EBUSY);
    assert_false(is_open(fd));
    assert_null(ctx);
    local()->close(accepted(local(), l), false);
    assert_ok(local_dial(name, GS_OPTS({.name = GS_OPT_IFADDR, .v.addr = &here}), &second));
    void *server = accepted(local(), l);
    assert_string_equal(name_of(local(), server, true), mine);
    local()->close(server, false), local()->close(first, false), local()->close(second, false), local()->close(l, false);
}

static void unix_refuses_what_it_does_not_have(void **state)
{
    (void)state;
    void *ctx;
    gs_addr ip;
    struct stat st;
    assert_ok(gs_addr_ip(&ip, "127.0.0.1", 0));
    const char *path = temp_path("refuses");
    assert_code(local_open(path, GS_OPTS(GS_INT(NODELAY, 1)), &ctx), -ENOTSUP);
    assert_code(local_dial(path, GS_OPTS(GS_INT(NODELAY, 0)), &ctx), -ENOTSUP);
    assert_code(local_open(path, GS_OPTS(GS_INT(FAMILY, AF_INET)), &ctx), -EINVAL);
    assert_code(local_open(path, GS_OPTS(GS_INT(PORT, 1)), &ctx), -EINVAL);
    assert_code(local_open(path, GS_OPTS({.name = GS_OPT_IP, .v.addr = &ip}), &ctx), -EINVAL);
    assert_true(stat(path, &st) < 0);
    fault_fail_call(FAULT_listen, 1, 1, ENOBUFS);
    int e = local_open(path, NULL, &ctx);
    assert_int_equal(fault_stop(), 1);
    assert_code(e, -ENOBUFS);
    assert_true(stat(path, &st) < 0); /* made by the call that failed */
    assert_ok(local_open(path, GS_OPTS(GS_INT(FAMILY, AF_UNIX), GS_INT(PORT, 0), GS_INT(PACKET, 4)), &ctx));
    local()->close(ctx, false);
}

static void unix_listens_where_ifaddr_says(void **state)
{
    (void)state;
    void *l;
    gs_addr a;
    const char *name = own_name("@ifaddr");
    assert_ok(gs_addr_parse(&a, name));
    assert_ok(local_open("", GS_OPTS({.name = GS_OPT_IFADDR, .v.addr = &a}), &l));
    assert_string_equal(name_of(local(), l, false), name);
    local()->close(l, false);
    int fd = stream_socket(AF_UNIX);
    assert_ok(gsi_kernel_bind(fd, &a));
    assert_ok(local_open("", GS_OPTS(GS_INT(FD, fd)), &l)); /* bound already */
    assert_string_equal(name_of(local(), l, false), name);
    local()->close(l, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(listen_answers_at_what_address_options_say),
        T(v6only_decides_whether_inet_gets_in),
        T(connect_tells_why_it_cannot),
        T(an_interrupted_connect_is_neither_lost_nor_a_false_success),
        T(connect_binds_to_the_local_address_first),
        T(handshake_waits_until_the_attempt_ends),
        T(fd_is_bound_when_ip_or_port_say_so),
        T(fd_without_them_stays_where_it_is_bound),
        T(fd_of_any_family_listens_at_any_address),
        T(fd_is_taken_though_the_call_fails),
        T(a_descriptor_loses_its_linger),
        T(unix_names_are_paths_or_abstract_or_the_kernels),
        T(unix_paths_end_at_108_bytes),
        T(a_full_backlog_of_unix_is_eagain_and_leaves_nothing),
        T(unix_refuses_what_it_does_not_have),
        T(unix_listens_where_ifaddr_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
