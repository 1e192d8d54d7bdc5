/* Options that show only on a stream's way through the network: what pktoptions tells of received packets, interfaces, network
 * namespaces. The process moves to a namespace of its own and leaves another one behind, "blue", open as a descriptor: with root
 * at once, else inside a user namespace. runner: serial */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "stream_pair.h"

enum { TOS = 0x10, TTL = 33, TCLASS = 0x20 };

static struct tcp_pair p;
static char blue[64]; /* path of the other namespace; "" when this machine does not let us make one */
static const char *forbidden = "";

static bool loopback_up(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    close(fd);
    return up;
}

static int make_namespaces(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        forbidden = strerror(errno);
        return 0;
    }
    bool up = loopback_up();
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (!up || fd < 0 || unshare(CLONE_NEWNET) != 0 || !loopback_up()) {
        forbidden = strerror(errno);
        return 0;
    }
    snprintf(blue, sizeof blue, "/proc/self/fd/%d", fd);
    return 0;
}

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

static void exchange(void)
{
    char got[4];
    assert_ok(gs_stream_send(p.a, "x", 1));
    assert_code(gs_stream_recv(p.b, got, sizeof got, 0, PAIR_WAIT_MS), 1);
}

/* The value of a control message in b's pktoptions, or -1. */
static int told(int level, int type)
{
    _Alignas(struct cmsghdr) char room[1024];
    gs_opt o[] = {{.name = GS_OPT_PKTOPTIONS, .v.bin = {room, sizeof room}}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_getopts(p.b, o));
    struct msghdr m = {.msg_control = room, .msg_controllen = o[0].v.bin.n};
    int value = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == level && c->cmsg_type == type)
            memcpy(&value, CMSG_DATA(c), sizeof value);
    return value;
}

static void pktoptions_tells_what_recvtos_and_recvttl_ask_for(void **state)
{
    (void)state;
    tcp_pair_open(&p, GS_OPTS(GS_INT(TOS, TOS), GS_INT(TTL, TTL)), NULL, false);
    exchange();
    assert_int_equal(told(IPPROTO_IP, IP_TOS), -1); /* nobody asked */
    assert_int_equal(told(IPPROTO_IP, IP_TTL), -1);
    assert_ok(gs_stream_setopts(p.b, GS_OPTS(GS_INT(RECVTOS, 1))));
    assert_int_equal(told(IPPROTO_IP, IP_TOS), TOS);
    assert_int_equal(told(IPPROTO_IP, IP_TTL), -1);
    assert_ok(gs_stream_setopts(p.b, GS_OPTS(GS_INT(RECVTOS, 0), GS_INT(RECVTTL, 1))));
    assert_int_equal(told(IPPROTO_IP, IP_TOS), -1);
    assert_int_equal(told(IPPROTO_IP, IP_TTL), TTL);
}

static void pktoptions_tells_what_recvtclass_asks_for(void **state)
{
    (void)state;
    assert_ok(gs_mailbox_new(&p.mb));
    if (gs_stream_listen(&p.listener, "tcp://[::1]:0", NULL, GS_NO_MAILBOX) < 0)
        skip_because("no IPv6 here");
    snprintf(p.at, sizeof p.at, "tcp://[::1]:%ld", assert_ok(gs_stream_port(p.listener)));
    assert_ok(gs_stream_connect(&p.a, p.at, GS_OPTS(GS_INT(TCLASS, TCLASS)), GS_NO_MAILBOX, PAIR_WAIT_MS));
    assert_ok(gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
    exchange();
    assert_int_equal(told(IPPROTO_IPV6, IPV6_TCLASS), -1);
    assert_ok(gs_stream_setopts(p.b, GS_OPTS(GS_INT(RECVTCLASS, 1))));
    assert_int_equal(told(IPPROTO_IPV6, IPV6_TCLASS), TCLASS);
}

static void expect_device(gs_stream s, const char *device)
{
    char name[IFNAMSIZ] = "";
    gs_opt o[] = {{.name = GS_OPT_RAW, .v.raw = {SOL_SOCKET, SO_BINDTODEVICE, name, sizeof name}}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_getopts(s, o));
    assert_string_equal(name, device);
}

static void bind_to_device_holds_on_both_ends(void **state)
{
    (void)state;
    tcp_pair_open(&p, GS_OPTS(GS_STR(BIND_TO_DEVICE, "lo")), GS_OPTS(GS_STR(BIND_TO_DEVICE, "lo")), false);
    expect_device(p.a, "lo");
    expect_device(p.listener, "lo");
    expect_device(p.b, "lo");
    exchange();
    gs_stream s;
    assert_code(gs_stream_connect(&s, p.at, GS_OPTS(GS_STR(BIND_TO_DEVICE, "no-such-if")), GS_NO_MAILBOX, PAIR_WAIT_MS), -ENODEV);
    assert_non_null(strstr(gs_error_detail(-ENODEV), "bind_to_device"));
}

static void a_name_belongs_to_its_network_namespace(void **state)
{
    (void)state;
    if (!blue[0])
        skip_because("no network namespace can be made here: %s", forbidden);
    assert_ok(gs_mailbox_new(&p.mb));
    static const char *const at[] = {"tcp://127.0.0.1:0", "unix://@gensock-stream-netns"};
    for (int i = 0; i < 2; i++) {
        gs_stream s;
        assert_ok(gs_stream_listen(&p.listener, at[i], GS_OPTS(GS_STR(NETNS, blue)), GS_NO_MAILBOX));
        if (i == 0)
            snprintf(p.at, sizeof p.at, "tcp://127.0.0.1:%ld", assert_ok(gs_stream_port(p.listener)));
        else
            strcpy(p.at, at[i]);
        assert_code(gs_stream_connect(&s, p.at, NULL, GS_NO_MAILBOX, PAIR_WAIT_MS), -ECONNREFUSED);
        assert_ok(gs_stream_connect(&p.a, p.at, GS_OPTS(GS_STR(NETNS, blue)), GS_NO_MAILBOX, PAIR_WAIT_MS));
        assert_ok(gs_stream_accept(p.listener, &p.b, GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
        exchange();
        gs_stream_close(p.a);
        gs_stream_close(p.b);
        gs_stream_close(p.listener);
    }
}

static void a_netns_that_is_none_is_told(void **state)
{
    (void)state;
    gs_stream s;
    assert_code(gs_stream_listen(&s, "tcp://127.0.0.1:0", GS_OPTS(GS_STR(NETNS, "/no/such/netns")), GS_NO_MAILBOX), -ENOENT);
    assert_non_null(strstr(gs_error_detail(-ENOENT), "/no/such/netns"));
    assert_code(gs_stream_connect(&s, "tcp://127.0.0.1:9", GS_OPTS(GS_STR(NETNS, "/dev/null")), GS_NO_MAILBOX, PAIR_WAIT_MS),
                -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pktoptions_tells_what_recvtos_and_recvttl_ask_for),
        TEST(pktoptions_tells_what_recvtclass_asks_for),
        TEST(bind_to_device_holds_on_both_ends),
        TEST(a_name_belongs_to_its_network_namespace),
        TEST(a_netns_that_is_none_is_told),
    };
    return cmocka_run_group_tests(tests, make_namespaces, NULL);
}
