/* What only TCP has: addresses and ports of both ends, kernel options and how they are inherited, descriptors given. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "stream_pair.h"

static struct tcp_pair p;

static int set_up(void **state)
{
    (void)state;
    p = (struct tcp_pair){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tcp_pair_close(&p);
    return 0;
}

static int64_t get(gs_stream s, int name)
{
    gs_opt o[] = {{.name = name}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_getopts(s, o));
    return o[0].v.i;
}

static void exchange(void)
{
    char got[4];
    assert_ok(gs_stream_send(p.a, "x", 1));
    assert_code(gs_stream_recv(p.b, got, sizeof got, 0, PAIR_WAIT_MS), 1);
}

static gs_addr address(const char *text)
{
    gs_addr a;
    assert_ok(gs_addr_parse(&a, text));
    return a;
}

static void accepted_connections_inherit_kernel_options(void **state)
{
    (void)state;
    tcp_pair_open(&p, NULL,
                  GS_OPTS(GS_INT(NODELAY, 1), GS_INT(KEEPALIVE, 1), GS_INT(PRIORITY, 3), GS_INT(TOS, 0x10),
                          {.name = GS_OPT_LINGER, .v.linger = {.on = true, .seconds = 7}}),
                  false);
    assert_int_equal(get(p.b, GS_OPT_NODELAY), 1);
    assert_int_equal(get(p.b, GS_OPT_KEEPALIVE), 1);
    assert_int_equal(get(p.b, GS_OPT_PRIORITY), 3);
    assert_int_equal(get(p.b, GS_OPT_TOS), 0x10);
    gs_opt o[] = {{.name = GS_OPT_LINGER}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_getopts(p.b, o));
    assert_true(o[0].v.linger.on);
    assert_int_equal(o[0].v.linger.seconds, 7);
    assert_int_equal(get(p.a, GS_OPT_NODELAY), 0);
}

static void connect_binds_to_ip_and_port(void **state)
{
    (void)state;
    gs_addr from = address("127.0.0.5:0"), own;
    assert_ok(gs_mailbox_new(&p.mb));
    tcp_listen(&p, NULL, GS_NO_MAILBOX);
    assert_ok(gs_stream_connect(&p.a, p.at, (const gs_opt[]){{.name = GS_OPT_IP, .v.addr = &from}, {.name = GS_OPT_END}},
                                GS_NO_MAILBOX, PAIR_WAIT_MS));
    assert_ok(gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
    char text[GS_ADDR_TEXT_MAX];
    assert_ok(gs_stream_peername(p.b, &own));
    assert_ok(gs_addr_text(&own, text, sizeof text));
    assert_memory_equal(text, "127.0.0.5:", 10);
    exchange();
    int port = gs_addr_port(&own); /* that one is taken: the next connect to the same listener from it fails */
    gs_stream other;
    assert_code(gs_stream_connect(&other, p.at, (const gs_opt[]){{.name = GS_OPT_IP, .v.addr = &from}, GS_INT(PORT, port), {.name = GS_OPT_END}},
                                  GS_NO_MAILBOX, PAIR_WAIT_MS),
                -EADDRINUSE);
}

static void listen_binds_to_ifaddr(void **state)
{
    (void)state;
    gs_addr at = address("127.0.0.9:0"), own;
    char text[GS_ADDR_TEXT_MAX];
    assert_ok(gs_mailbox_new(&p.mb));
    assert_ok(gs_stream_listen(&p.listener, "tcp://:0",
                               (const gs_opt[]){{.name = GS_OPT_IFADDR, .v.addr = &at}, {.name = GS_OPT_END}}, GS_NO_MAILBOX));
    assert_ok(gs_stream_sockname(p.listener, &own));
    assert_ok(gs_addr_text(&own, text, sizeof text));
    assert_memory_equal(text, "127.0.0.9:", 10);
}

static void a_host_name_is_tried_address_by_address(void **state)
{
    (void)state;
    char at[64];
    assert_ok(gs_mailbox_new(&p.mb));
    tcp_listen(&p, NULL, GS_NO_MAILBOX);
    snprintf(at, sizeof at, "tcp://localhost:%ld", assert_ok(gs_stream_port(p.listener))); /* nobody listens at ::1 */
    assert_ok(gs_stream_connect(&p.a, at, NULL, GS_NO_MAILBOX, PAIR_WAIT_MS));
    assert_ok(gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
    exchange();
    gs_stream_close(p.a);
    gs_stream_close(p.b);
    gs_msg m;
    assert_code(gs_stream_connect(&p.a, at, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), p.mb, GS_NOWAIT), GS_ESELECT);
    assert_ok(gs_receive(p.mb, &m, PAIR_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_CONNECT);
    assert_code(m.error, 0);
    assert_ok(gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
    exchange();
}

static void an_unknown_host_is_nxdomain(void **state)
{
    (void)state;
    gs_stream s;
    int e = gs_stream_connect(&s, "tcp://no-such-host.invalid:80", NULL, GS_NO_MAILBOX, PAIR_WAIT_MS);
    assert_true(e < 0);
    assert_true(e == GS_ENXDOMAIN || e == GS_ETIMEOUT || e == -EAGAIN); /* without a name server: not at once */
}

static void raw_options_reach_the_kernel(void **state)
{
    (void)state;
    int on = 1, got = 0;
    tcp_pair_open(&p, NULL, NULL, false);
    gs_opt set[] = {{.name = GS_OPT_RAW, .v.raw = {IPPROTO_TCP, TCP_NODELAY, &on, sizeof on}}, {.name = GS_OPT_END}};
    gs_opt ask[] = {{.name = GS_OPT_RAW, .v.raw = {IPPROTO_TCP, TCP_NODELAY, &got, sizeof got}}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_setopts(p.a, set));
    assert_ok(gs_stream_getopts(p.a, ask));
    assert_int_equal(got, 1);
    assert_int_equal(ask[0].v.raw.n, sizeof got);
    assert_int_equal(get(p.a, GS_OPT_NODELAY), 1);
}

static void setopts_that_the_kernel_refuses_sets_the_interface_back(void **state)
{
    (void)state;
    char name[IFNAMSIZ] = "?";
    tcp_pair_open(&p, NULL, NULL, false);
    fault_fail_call(FAULT_setsockopt, 3, 1, ENOBUFS);
    int e = gs_stream_setopts(p.a, GS_OPTS(GS_INT(TTL, 9), GS_STR(BIND_TO_DEVICE, "lo"), GS_INT(KEEPALIVE, 1)));
    assert_int_equal(fault_stop(), 1);
    assert_code(e, -ENOBUFS);
    gs_opt ask[] = {{.name = GS_OPT_RAW, .v.raw = {SOL_SOCKET, SO_BINDTODEVICE, name, sizeof name}}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_getopts(p.a, ask));
    assert_int_equal(ask[0].v.raw.n, 0); /* bound to none */
    assert_int_equal(get(p.a, GS_OPT_TTL), 64);
    exchange();
}

static void setopts_without_memory_changes_nothing(void **state)
{
    (void)state;
    tcp_pair_open(&p, NULL, NULL, false);
    fault_fail_call(FAULT_malloc, 1, 1, ENOMEM);
    int e = gs_stream_setopts(p.a, GS_OPTS(GS_INT(KEEPALIVE, 1), GS_INT(NODELAY, 1)));
    assert_int_equal(fault_stop(), 1);
    assert_code(e, -ENOMEM);
    assert_int_equal(get(p.a, GS_OPT_KEEPALIVE), 0);
    assert_int_equal(get(p.a, GS_OPT_NODELAY), 0);
}

static void recbuf_raises_the_user_level_buffer(void **state)
{
    (void)state;
    tcp_pair_open(&p, NULL, NULL, false);
    int64_t before = get(p.a, GS_OPT_BUFFER);
    assert_ok(gs_stream_setopts(p.a, GS_OPTS(GS_INT(RECBUF, 20000))));
    assert_true(before < 20000 && get(p.a, GS_OPT_BUFFER) >= 20000);
}

/* ---- descriptors ---- */

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static void connect_takes_the_descriptor_given(void **state)
{
    (void)state;
    assert_ok(gs_mailbox_new(&p.mb));
    tcp_listen(&p, NULL, GS_NO_MAILBOX);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_ok(gs_stream_connect(&p.a, p.at, GS_OPTS(GS_INT(FD, fd)), GS_NO_MAILBOX, PAIR_WAIT_MS));
    gs_stream_info_t info;
    assert_ok(gs_stream_info(p.a, &info));
    assert_int_equal(info.fd, fd);
    assert_ok(gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
    exchange();
    assert_ok(gs_stream_close(p.a));
    assert_false(is_open(fd));
}

static void a_descriptor_given_is_taken_also_on_failure(void **state)
{
    (void)state;
    gs_stream s;
    static const char *const bad[] = {"nonsense", "tcp://127.0.0.1:notaport", "nosuch://x", "tcp://127.0.0.1:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        int e = gs_stream_connect(&s, bad[i], GS_OPTS(GS_INT(FD, fd)), GS_NO_MAILBOX, PAIR_WAIT_MS);
        assert_true(e < 0);
        assert_false(is_open(fd));
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_code(gs_stream_connect(&s, "tcp://127.0.0.1:1", GS_OPTS(GS_INT(FD, fd), GS_INT(PACKET, 77)), GS_NO_MAILBOX, 0),
                -EINVAL);
    assert_false(is_open(fd));
}

static void import_refuses_what_is_no_stream_and_closes_it(void **state)
{
    (void)state;
    gs_stream s;
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), lonely = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ends[2];
    assert_code(gs_stream_import(&s, udp, NULL, GS_NO_MAILBOX), -EINVAL);
    assert_false(is_open(udp));
    assert_code(gs_stream_import(&s, lonely, NULL, GS_NO_MAILBOX), -ENOTCONN);
    assert_false(is_open(lonely));
    assert_int_equal(pipe(ends), 0);
    assert_true(gs_stream_import(&s, ends[0], NULL, GS_NO_MAILBOX) < 0);
    assert_false(is_open(ends[0]));
    close(ends[1]);
    assert_code(gs_stream_import(&s, -1, NULL, GS_NO_MAILBOX), GS_EBADARG);
}

static void import_of_a_socketpair_is_a_stream(void **state)
{
    (void)state;
    int ends[2];
    assert_ok(gs_mailbox_new(&p.mb));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_ok(gs_stream_import(&p.a, ends[0], NULL, GS_NO_MAILBOX));
    assert_ok(gs_stream_import(&p.b, ends[1], NULL, GS_NO_MAILBOX));
    exchange();
}

/* Blocked calls are woken without shutdown(2): whoever shares the descriptor goes on using the connection. */
static void P11_close_does_not_end_the_connection_of_a_sharer(void **state)
{
    (void)state;
    gs_stream_info_t info;
    char got[4];
    tcp_pair_open(&p, NULL, NULL, false);
    assert_ok(gs_stream_info(p.a, &info));
    int shared = dup(info.fd);
    assert_true(shared >= 0);
    assert_ok(gs_stream_close(p.a));
    assert_int_equal(write(shared, "y", 1), 1);
    assert_code(gs_stream_recv(p.b, got, sizeof got, 0, PAIR_WAIT_MS), 1);
    close(shared);
    assert_code(gs_stream_recv(p.b, got, sizeof got, 0, PAIR_WAIT_MS), GS_ECLOSED);
}

/* O_NONBLOCK is the socket's, not the descriptor's: whoever has a copy can take it away. */
static void P3_timeouts_hold_though_a_sharer_makes_the_socket_blocking(void **state)
{
    (void)state;
    static const char filler[64 * 1024];
    gs_stream_info_t info;
    char got[4];
    int sent;
    tcp_pair_open(&p, GS_OPTS(GS_INT(SEND_MODE, GS_SEND_DIRECT), GS_INT(SEND_TIMEOUT, 20), GS_INT(SNDBUF, 8192)),
                  GS_OPTS(GS_INT(RECBUF, 8192)), false);
    assert_ok(gs_stream_info(p.a, &info));
    int shared = dup(info.fd);
    assert_true(shared >= 0);
    assert_true(fcntl(shared, F_SETFL, fcntl(shared, F_GETFL) & ~O_NONBLOCK) == 0);
    close(shared);
    assert_code(gs_stream_recv(p.a, got, sizeof got, 0, 20), GS_ETIMEOUT);
    for (int i = 0; (sent = gs_stream_send(p.a, filler, sizeof filler)) == 0; i++)
        assert_true(i < 1000);
    assert_code(sent, GS_ETIMEOUT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(accepted_connections_inherit_kernel_options),
        TEST(connect_binds_to_ip_and_port),
        TEST(listen_binds_to_ifaddr),
        TEST(a_host_name_is_tried_address_by_address),
        TEST(an_unknown_host_is_nxdomain),
        TEST(raw_options_reach_the_kernel),
        TEST(setopts_that_the_kernel_refuses_sets_the_interface_back),
        TEST(setopts_without_memory_changes_nothing),
        TEST(recbuf_raises_the_user_level_buffer),
        TEST(connect_takes_the_descriptor_given),
        TEST(a_descriptor_given_is_taken_also_on_failure),
        TEST(import_refuses_what_is_no_stream_and_closes_it),
        TEST(import_of_a_socketpair_is_a_stream),
        TEST(P11_close_does_not_end_the_connection_of_a_sharer),
        TEST(P3_timeouts_hold_though_a_sharer_makes_the_socket_blocking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
