/* Connections of a private network that are ended from outside: one, those with an address, all. */
#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"
#include "tailnet/stack/abort.h"
#include "tailnet/stack/namespace.h"
#include "tailnet_nobody.h"

enum { MANY = 300 }; /* more than are ended at a time */

struct inside {
    struct namespace *ns;
    int diag, listener;
    struct sockaddr_storage at;
    socklen_t at_n;
};

static int begin(void **state)
{
    struct inside *in = calloc(1, sizeof *in);
    assert_ok(gsi_namespace_open(&in->ns, &(struct namespace_options){0}));
    in->diag = gsi_namespace_socket(in->ns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    assert_true(in->diag >= 0);
    *state = in;
    return 0;
}

static int end(void **state)
{
    struct inside *in = *state;
    close(in->listener);
    close(in->diag);
    gsi_namespace_close(in->ns);
    free(in);
    return 0;
}

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_ok(gsi_ip_parse(text, strlen(text), &ip));
    return ip;
}

static void begin_listening(struct inside *in, const char *address)
{
    struct endpoint any = {ip_of(address), 0};
    in->at_n = gsi_endpoint_to_sockaddr(&any, &in->at);
    in->listener = gsi_namespace_socket(in->ns, in->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(in->listener >= 0);
    assert_int_equal(bind(in->listener, (struct sockaddr *)&in->at, in->at_n), 0);
    assert_int_equal(listen(in->listener, MANY), 0);
    assert_int_equal(getsockname(in->listener, (struct sockaddr *)&in->at, &in->at_n), 0);
}

static void connect_pair(struct inside *in, int pair[2])
{
    pair[0] = gsi_namespace_socket(in->ns, in->at.ss_family, SOCK_STREAM, 0);
    assert_true(pair[0] >= 0);
    assert_int_equal(connect(pair[0], (struct sockaddr *)&in->at, in->at_n), 0);
    pair[1] = accept(in->listener, NULL, NULL);
    assert_true(pair[1] >= 0);
}

static void close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

static void assert_ends(int fd, int error)
{
    char c;
    assert_int_equal(recv(fd, &c, 1, 0), -1);
    assert_int_equal(errno, error);
}

static void one_ends_behind_what_had_come_and_its_peer_is_reset(void **state)
{
    static const char *const addresses[] = {"127.0.0.1", "::1"};
    struct inside *in = *state;
    for (size_t i = 0; i < 2; i++) {
        int pair[2], other[2];
        char got[8];
        begin_listening(in, addresses[i]);
        connect_pair(in, pair);
        connect_pair(in, other);
        assert_int_equal(send(pair[1], "text", 4, 0), 4);
        assert_ok(gsi_tcp_abort(in->diag, pair[0]));
        assert_int_equal(recv(pair[0], got, sizeof got, 0), 4);
        assert_ends(pair[0], ECONNABORTED);
        assert_ends(pair[1], ECONNRESET);
        assert_code(gsi_tcp_abort(in->diag, pair[0]), -ENOENT);
        assert_int_equal(send(other[1], "text", 4, 0), 4);
        assert_int_equal(recv(other[0], got, sizeof got, 0), 4);
        close_pair(pair);
        close_pair(other);
        if (i == 0)
            close(in->listener);
    }
}

static void those_with_an_address_end_and_no_others(void **state)
{
    static int many[MANY][2];
    struct inside *in = *state;
    const struct ip others[] = {ip_of("127.0.0.2"), ip_of("fd7a::1")}, both[] = {ip_of("fd7a::1"), ip_of("127.0.0.1")};
    begin_listening(in, "127.0.0.1");
    for (int i = 0; i < MANY; i++)
        connect_pair(in, many[i]);
    assert_int_equal(gsi_tcp_abort_with(in->diag, others, 2), 0);
    assert_int_equal(gsi_tcp_abort_with(in->diag, both, 0), 0);
    assert_in_range(gsi_tcp_abort_with(in->diag, both, 2), MANY, 2 * MANY); /* 127.0.0.1 is at both ends, one RST ends both */
    assert_int_equal(gsi_tcp_abort_with(in->diag, both, 2), 0);
    for (int i = 0; i < MANY; i++) {
        assert_int_not_equal(recv(many[i][0], &(char){0}, 1, MSG_DONTWAIT), 1);
        close_pair(many[i]);
    }
    int pair[2];
    connect_pair(in, pair); /* the listener is still there */
    close_pair(pair);
}

static void all_are_the_listeners_too(void **state)
{
    struct inside *in = *state;
    int pair[2];
    begin_listening(in, "127.0.0.1");
    connect_pair(in, pair);
    assert_in_range(gsi_tcp_abort_all(in->diag), 2, 3);
    assert_int_equal(accept(in->listener, NULL, NULL), -1);
    assert_int_equal(errno, EINVAL);
    close_pair(pair);
}

static void what_is_no_connection_and_no_such_socket_is_told(void **state)
{
    struct inside *in = *state;
    struct ip ip = ip_of("127.0.0.1");
    begin_listening(in, "127.0.0.1");
    assert_code(gsi_tcp_abort(in->diag, in->listener), -ENOENT);
    assert_code(gsi_tcp_abort(in->diag, -1), -EBADF);
    assert_code(gsi_tcp_abort_with(-1, &ip, 1), -EBADF);
    assert_code(gsi_tcp_abort_all(-1), -EBADF);
    int pair[2];
    connect_pair(in, pair);
    assert_code(gsi_tcp_abort(-1, pair[0]), -EBADF);
    close_pair(pair);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(one_ends_behind_what_had_come_and_its_peer_is_reset, begin, end),
    cmocka_unit_test_setup_teardown(those_with_an_address_end_and_no_others, begin, end),
    cmocka_unit_test_setup_teardown(all_are_the_listeners_too, begin, end),
    cmocka_unit_test_setup_teardown(what_is_no_connection_and_no_such_socket_is_told, begin, end),
    cmocka_unit_test(all_of_it_works_as_nobody),
};

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "nobody") == 0) {
        become_nobody(true);
        return cmocka_run_group_tests_name("as nobody", tests, NULL, NULL) ? 1 : 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
