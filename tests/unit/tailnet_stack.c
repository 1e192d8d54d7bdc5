/* runner: tsan, serial, timeout 240
 *
 * The kernel's TCP and UDP through two private namespaces, as root and as nobody, in each way that the build allows; and that
 * none of it goes by the host. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "census.h"
#include "tailnet_nobody.h"
#include "tailnet_stack.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { BULK = 50 * 1000 * 1000, CHUNK = 128 * 1024, WAIT_S = 60 };

static enum namespace_way ways[3];
static int n_ways;

static int inside(struct pair *p, int side, bool v6, int type)
{
    int fd = (int)assert_ok(gsi_namespace_socket(p->ns[side], v6 ? AF_INET6 : AF_INET, type, 0));
    struct timeval limit = {.tv_sec = WAIT_S};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    return fd;
}

static uint16_t bind_at(int fd, int side, bool v6)
{
    socklen_t n;
    struct sockaddr_storage at = side_at(side, v6, 0, &n);
    struct endpoint e;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    n = sizeof at;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    assert_ok(gsi_endpoint_of_sockaddr(&at, &e));
    return e.port;
}

static int connect_to(int fd, int side, bool v6, uint16_t port)
{
    socklen_t n;
    struct sockaddr_storage at = side_at(side, v6, port, &n);
    return connect(fd, (struct sockaddr *)&at, n) < 0 ? -errno : 0;
}

/* fd[0] on side 0 has connected to side 1's, whose end is fd[1]. */
static void connected(struct pair *p, bool v6, int fd[2])
{
    int listener = inside(p, 1, v6, SOCK_STREAM);
    uint16_t port = bind_at(listener, 1, v6);
    assert_int_equal(listen(listener, 1), 0);
    fd[0] = inside(p, 0, v6, SOCK_STREAM);
    assert_ok(connect_to(fd[0], 1, v6, port));
    fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd[1] >= 0);
    struct timeval limit = {.tv_sec = WAIT_S};
    assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    close(listener);
}

struct flow {
    int fd;
    uint64_t seed;
    size_t n, done, wrong;
    int end; /* what the last read answered */
};

static void *send_all(void *arg)
{
    struct flow *f = arg;
    static _Thread_local uint8_t bytes[CHUNK];
    while (f->done < f->n) {
        size_t n = f->n - f->done < CHUNK ? f->n - f->done : CHUNK;
        pattern_fill(bytes, n, f->seed, f->done);
        ssize_t r = send(f->fd, bytes, n, MSG_NOSIGNAL);
        if (r <= 0)
            break;
        f->done += (size_t)r;
    }
    shutdown(f->fd, SHUT_WR);
    return NULL;
}

static void *receive_all(void *arg)
{
    struct flow *f = arg;
    static _Thread_local uint8_t bytes[CHUNK];
    ssize_t r;
    while ((r = recv(f->fd, bytes, CHUNK, 0)) > 0) {
        f->wrong += pattern_check(bytes, (size_t)r, f->seed, f->done) != (size_t)r;
        f->done += (size_t)r;
    }
    f->end = r < 0 ? -errno : 0;
    return NULL;
}

static void move_both_ways(struct pair *p, bool v6, size_t n)
{
    int fd[2];
    pthread_t thread[4];
    connected(p, v6, fd);
    struct flow f[4] = {{.fd = fd[0], .seed = 1, .n = n}, {.fd = fd[1], .seed = 2, .n = n}, {.fd = fd[1], .seed = 1},
                        {.fd = fd[0], .seed = 2}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, i < 2 ? send_all : receive_all, &f[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(f[i].done, n);
        assert_int_equal(f[i].wrong, 0);
        assert_code(f[i].end, 0);
    }
    close(fd[0]);
    close(fd[1]);
}

static void bulk_arrives_whole_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        static struct pair p;
        pair_open(&p, ways[i]);
        for (int v6 = 0; v6 < 2; v6++) {
            long cut = atomic_load(&p.cut), joined = atomic_load(&p.joined);
            move_both_ways(&p, v6, i == 0 ? BULK : BULK / 10);
            assert_true(atomic_load(&p.cut) > cut); /* the offloads are on, both ways */
            assert_true(atomic_load(&p.joined) > joined);
        }
        pair_close(&p);
    }
}

static void after_a_half_close_the_other_half_works(void **state)
{
    (void)state;
    static struct pair p;
    int fd[2];
    char text[8];
    pair_open(&p, NAMESPACE_AUTO);
    connected(&p, false, fd);
    assert_int_equal(send(fd[0], "last", 4, 0), 4);
    assert_int_equal(shutdown(fd[0], SHUT_WR), 0);
    assert_int_equal(recv(fd[1], text, 4, MSG_WAITALL), 4);
    assert_int_equal(recv(fd[1], text, sizeof text, 0), 0);
    assert_int_equal(send(fd[1], "answer", 6, 0), 6);
    assert_int_equal(recv(fd[0], text, 6, MSG_WAITALL), 6);
    assert_memory_equal(text, "answer", 6);
    close(fd[0]);
    close(fd[1]);
    pair_close(&p);
}

static void an_abort_is_a_reset_and_a_closed_port_refuses(void **state)
{
    (void)state;
    static struct pair p;
    pair_open(&p, NAMESPACE_AUTO);
    for (int v6 = 0; v6 < 2; v6++) {
        int fd[2];
        char c;
        struct linger abort = {.l_onoff = 1};
        connected(&p, v6, fd);
        assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_LINGER, &abort, sizeof abort), 0);
        close(fd[0]);
        assert_int_equal(recv(fd[1], &c, 1, 0), -1);
        assert_int_equal(errno, ECONNRESET);
        close(fd[1]);
        fd[0] = inside(&p, 0, v6, SOCK_STREAM);
        assert_code(connect_to(fd[0], 1, v6, 9), -ECONNREFUSED);
        close(fd[0]);
    }
    pair_close(&p);
}

static void datagrams_keep_their_borders(void **state)
{
    (void)state;
    static struct pair p;
    pair_open(&p, NAMESPACE_AUTO);
    for (int v6 = 0; v6 < 2; v6++) {
        int to = inside(&p, 1, v6, SOCK_DGRAM), from = inside(&p, 0, v6, SOCK_DGRAM);
        uint16_t port = bind_at(to, 1, v6);
        assert_ok(connect_to(from, 1, v6, port));
        static const size_t sizes[] = {0, 1, 1000, 1200, 1232, 4000 /* in fragments */};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            uint8_t out[4000], in[5000];
            pattern_fill(out, sizes[i], i, 0);
            assert_int_equal(send(from, out, sizes[i], 0), sizes[i]);
            assert_int_equal(recv(to, in, sizeof in, 0), sizes[i]);
            assert_memory_equal(in, out, sizes[i]);
        }
        close(to);
        close(from);
    }
    pair_close(&p);
}

static void the_mtu_and_the_settings_are_those_of_a_tailnet(void **state)
{
    (void)state;
    static struct pair p;
    int fd[2], mss;
    char name[16] = "";
    socklen_t n = sizeof mss;
    pair_open(&p, NAMESPACE_AUTO);
    assert_true(gsi_namespace_offloads(p.ns[0]) & TUN_F_TSO4);
    connected(&p, false, fd);
    assert_int_equal(getsockopt(fd[0], IPPROTO_TCP, TCP_MAXSEG, &mss, &n), 0);
    assert_in_range(mss, NAMESPACE_MTU - 20 - 60, NAMESPACE_MTU - 20 - 20);
    n = sizeof name;
    assert_int_equal(getsockopt(fd[0], IPPROTO_TCP, TCP_CONGESTION, name, &n), 0);
    assert_string_equal(name, "cubic");
    close(fd[0]);
    close(fd[1]);
    int low = inside(&p, 0, false, SOCK_STREAM);
    socklen_t len;
    struct sockaddr_storage at = side_at(0, false, 80, &len);
    assert_int_equal(bind(low, (struct sockaddr *)&at, len), 0); /* without root, too */
    close(low);
    pair_close(&p);
}

/* ---- the host's side ---- */

/* A tap on all of the host's packets that are of 100.64.77.0/24, of fd7a:115c::/32, or of 127.77.77.0/24, the control. */
static int tap_open(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x60, 5, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 12),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffffff00),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x64404d00, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x7f4d4d00, 3, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 8),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xfd7a115c, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 64),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&all, sizeof all), 0);
    return fd;
}

static int tap_count(int fd)
{
    char packet[64];
    int n = 0;
    while (recv(fd, packet, sizeof packet, 0) >= 0)
        n++;
    return n;
}

static void nothing_goes_by_the_host(void **state)
{
    (void)state;
    static struct pair p;
    if (geteuid() != 0)
        skip_because("watching the host's packets takes root");
    int tap = tap_open();
    for (int i = 0; i < n_ways; i++) {
        pair_open(&p, ways[i]);
        move_both_ways(&p, false, 100000);
        move_both_ways(&p, true, 100000);
        int nobody = inside(&p, 0, false, SOCK_DGRAM); /* into the tailnet, and anywhere else */
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x64404d63)};
        long stray = atomic_load(&p.stray);
        assert_int_equal(sendto(nobody, "x", 1, 0, (struct sockaddr *)&at, sizeof at), 1);
        assert_until(atomic_load(&p.stray) > stray, 10000);
        at.sin_addr.s_addr = htonl(0xc6336401); /* 198.51.100.1, of documentation */
        assert_int_equal(sendto(nobody, "x", 1, 0, (struct sockaddr *)&at, sizeof at), -1);
        assert_int_equal(errno, ENETUNREACH);
        close(nobody);
        pair_close(&p);
    }
    assert_int_equal(tap_count(tap), 0);

    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x7f4d4d01)};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = at.sin_addr};
    assert_int_equal(bind(control, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(sendto(control, "x", 1, 0, (struct sockaddr *)&at, sizeof at), 1);
    int seen = 0;
    assert_until((seen += tap_count(tap)) > 0, 5000);
    close(control);
    close(tap);
}

static uint64_t cookie(int fd)
{
    uint64_t c = 0;
    socklen_t n = sizeof c;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &c, &n), 0);
    return c;
}

static void every_socket_is_inside_its_own_namespace(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        static struct pair p;
        pair_open(&p, ways[i]);
        int host = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        uint64_t side[2];
        for (int k = 0; k < SIDES; k++) {
            static const struct { int domain, type, protocol; } kinds[] = {
                {AF_INET, SOCK_STREAM, 0}, {AF_INET6, SOCK_STREAM, 0}, {AF_INET, SOCK_DGRAM, 0},
                {AF_INET6, SOCK_DGRAM, 0}, {AF_UNIX, SOCK_STREAM, 0}, {AF_INET, SOCK_RAW, IPPROTO_UDP}};
            int first = inside(&p, k, false, SOCK_STREAM);
            side[k] = cookie(first);
            close(first);
            for (size_t s = 0; s < sizeof kinds / sizeof kinds[0]; s++) {
                int fd = (int)assert_ok(gsi_namespace_socket(p.ns[k], kinds[s].domain, kinds[s].type, kinds[s].protocol));
                assert_true(cookie(fd) == side[k]);
                close(fd);
            }
        }
        assert_true(side[0] != side[1] && side[0] != cookie(host) && side[1] != cookie(host));
        close(host);
        pair_close(&p);
    }
}

int main(int argc, char **argv)
{
    bool root = geteuid() == 0;
    if (argc > 1 && strcmp(argv[1], "nobody") == 0)
        become_nobody(true), root = false;
    if (root)
        ways[n_ways++] = NAMESPACE_THREAD;
#ifndef STACK_TSAN
    ways[n_ways++] = NAMESPACE_SHARED;
#endif
    ways[n_ways++] = NAMESPACE_APART;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulk_arrives_whole_both_ways),
        cmocka_unit_test(after_a_half_close_the_other_half_works),
        cmocka_unit_test(an_abort_is_a_reset_and_a_closed_port_refuses),
        cmocka_unit_test(datagrams_keep_their_borders),
        cmocka_unit_test(the_mtu_and_the_settings_are_those_of_a_tailnet),
        cmocka_unit_test(nothing_goes_by_the_host),
        cmocka_unit_test(every_socket_is_inside_its_own_namespace),
        cmocka_unit_test(all_of_it_works_as_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
