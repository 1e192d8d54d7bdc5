/* runner: tsan, timeout 240
 *
 * MagicDNS inside a namespace: datagrams, connections, and what libc's programs there see of it; nobody but who is inside
 * reaches it, and nothing of it goes to the host's resolver. */
#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "census.h"
#include "tailnet/bytes/bytes.h"
#include "tailnet/resolver/resolver.h"
#include "tailnet_nobody.h"

#define KEY(c) "nodekey:00000000000000000000000000000000000000000000000000000000000000" c

enum { WALL = 1795248930, MS = 20000, MANY = 40 };

/* A node's thread, for this. */
static struct world {
    struct namespace *ns;
    struct resolver *r;
    struct netmap *m;
    pthread_t thread;
    int stop;
} w;

static struct netmap *make_map(void)
{
    char json[8192];
    int n = snprintf(json, sizeof json,
                     "{\"Node\":{\"ID\":1,\"Name\":\"self.net.test.\",\"Key\":\"" KEY("01") "\",\"Addresses\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"]},"
                     "\"Peers\":[{\"ID\":2,\"Name\":\"alpha.net.test.\",\"Key\":\"" KEY("02") "\",\"HomeDERP\":1,"
                     "\"Addresses\":[\"100.64.0.2/32\",\"fd7a:115c:a1e0::2/128\"]},"
                     "{\"ID\":3,\"Name\":\"many.net.test.\",\"Key\":\"" KEY("03") "\",\"HomeDERP\":1,\"Addresses\":[");
    for (int i = 0; i < MANY; i++)
        n += snprintf(json + n, sizeof json - (size_t)n, "%s\"100.64.7.%d/32\"", i ? "," : "", i + 1);
    n += snprintf(json + n, sizeof json - (size_t)n, "]}]}");
    struct map_update *u;
    struct map_error why;
    struct netmap *m = gsi_netmap_new();
    assert_ok(gsi_map_parse(json, (size_t)n, &u, &why));
    assert_ok(gsi_netmap_apply(m, u, WALL, &why));
    return m;
}

static void *serve(void *unused)
{
    (void)unused;
    for (;;) {
        struct pollfd fds[] = {{gsi_resolver_fd(w.r), POLLIN, 0}, {w.stop, POLLIN, 0}};
        (void)poll(fds, 2, -1);
        if (fds[1].revents)
            return NULL;
        gsi_resolver_serve(w.r, w.m);
    }
}

static void start_serving(void)
{
    assert_int_equal(pthread_create(&w.thread, NULL, serve, NULL), 0);
}

static void stop_serving(void)
{
    uint64_t one = 1;
    assert_int_equal(write(w.stop, &one, sizeof one), sizeof one);
    pthread_join(w.thread, NULL);
    assert_int_equal(read(w.stop, &one, sizeof one), sizeof one);
}

static int begin(void **state)
{
    struct prefix own, net;
    (void)state;
    w.m = make_map();
    w.stop = eventfd(0, EFD_CLOEXEC);
    assert_ok(gsi_namespace_open(&w.ns, &(struct namespace_options){0}));
    assert_ok(gsi_prefix_parse("100.64.0.1", 10, &own));
    assert_ok(gsi_prefix_parse("100.64.0.0/10", 13, &net));
    assert_ok(gsi_namespace_address(w.ns, &own, true));
    assert_ok(gsi_namespace_route(w.ns, &net, true));
    assert_ok(gsi_prefix_parse("fd7a:115c:a1e0::1", 17, &own)); /* without one libc asks for no AAAA */
    assert_ok(gsi_namespace_address(w.ns, &own, true));
    assert_ok(gsi_resolver_open(&w.r, w.ns));
    start_serving();
    return 0;
}

static int end(void **state)
{
    (void)state;
    stop_serving();
    gsi_resolver_close(w.r);
    gsi_namespace_close(w.ns);
    gsi_netmap_free(w.m);
    close(w.stop);
    return 0;
}

/* ---- asking by hand ---- */

static struct sockaddr_in at(const char *text)
{
    struct endpoint e = {.port = DNS_PORT};
    struct sockaddr_storage s;
    struct sockaddr_in in;
    assert_ok(gsi_ip_parse(text, strlen(text), &e.ip));
    assert_int_equal(gsi_endpoint_to_sockaddr(&e, &s), sizeof in);
    memcpy(&in, &s, sizeof in);
    return in;
}

/* One that waits. */
static int connected(int type, const char *to)
{
    struct sockaddr_in a = at(to);
    struct timeval limit = {MS / 1000, 0};
    int fd = (int)assert_ok(gsi_namespace_socket(w.ns, AF_INET, type, 0));
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* A query with a length in front: from +2 on it is a datagram. */
static size_t make(uint8_t out[512], uint16_t id, const char *name, uint16_t type)
{
    struct writer q = writer_of(out, 512);
    const uint16_t header[] = {0, id, 1 << 8, 1, 0, 0, 0};
    for (size_t i = 0; i < 7; i++)
        write_u16(&q, header[i]);
    for (size_t len; *name; name += len + (name[len] == '.')) {
        len = strcspn(name, ".");
        write_u8(&q, (uint8_t)len);
        write_bytes(&q, name, len);
    }
    write_u8(&q, 0);
    write_u16(&q, type);
    write_u16(&q, ns_c_in);
    assert_true(q.ok);
    out[0] = (uint8_t)((q.n - 2) >> 8);
    out[1] = (uint8_t)(q.n - 2);
    return q.n;
}

static int rcode_of(const uint8_t *answer) { return answer[3] & 15; }
static int answers_of(const uint8_t *answer) { return answer[6] << 8 | answer[7]; }

static ssize_t receive_all(int fd, uint8_t *out, size_t n)
{
    size_t got = 0;
    while (got < n) {
        ssize_t k = recv(fd, out + got, n - got, 0);
        if (k <= 0)
            return k;
        got += (size_t)k;
    }
    return (ssize_t)n;
}

/* The next answer of a connection; its length. */
static size_t next_answer(int fd, uint8_t out[DNS_TCP_MAX])
{
    uint8_t head[2];
    assert_int_equal(receive_all(fd, head, 2), 2);
    size_t n = (size_t)head[0] << 8 | head[1];
    assert_in_range(n, DNS_HEADER, DNS_TCP_MAX);
    assert_int_equal(receive_all(fd, out, n), n);
    return n;
}

static const char *const servers[] = {RESOLVER_ADDRESS, "127.0.0.1"};

static void datagrams_are_answered(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        uint8_t q[512], a[2048];
        int fd = connected(SOCK_DGRAM, servers[i]);
        size_t n = make(q, 7, "alpha.net.test", ns_t_a);
        assert_int_equal(send(fd, q + 2, n - 2, 0), n - 2);
        ssize_t got = recv(fd, a, sizeof a, 0);
        assert_true(got > (ssize_t)n && a[1] == 7 && rcode_of(a) == ns_r_noerror && answers_of(a) == 1);
        assert_int_equal(memcmp(a + got - 4, "\x64\x40\x00\x02", 4), 0);
        assert_int_equal(send(fd, "x", 1, 0), 1); /* not answered, and the next one is */
        n = make(q, 8, "example.com", ns_t_a);
        assert_int_equal(send(fd, q + 2, n - 2, 0), n - 2);
        assert_true(recv(fd, a, sizeof a, 0) > 0 && a[1] == 8 && rcode_of(a) == ns_r_refused);
        close(fd);
    }
}

static void a_connection_takes_many_questions_at_once(void **state)
{
    enum { QUESTIONS = 200 };
    (void)state;
    for (int i = 0; i < 2; i++) {
        static uint8_t all[QUESTIONS * 64];
        uint8_t a[DNS_TCP_MAX];
        size_t n = 0;
        int fd = connected(SOCK_STREAM, servers[i]);
        for (int k = 0; k < QUESTIONS; k++) {
            uint8_t q[512];
            size_t len = make(q, (uint16_t)k, k % 2 ? "alpha" : "many.net.test", ns_t_a);
            memcpy(all + n, q, len);
            n += len;
        }
        assert_int_equal(send(fd, all, n, 0), n);
        for (int k = 0; k < QUESTIONS; k++) { /* in their order */
            next_answer(fd, a);
            assert_int_equal(a[0] << 8 | a[1], k);
            assert_int_equal(answers_of(a), k % 2 ? 1 : MANY);
        }
        for (size_t k = 0; k < 40; k++) /* byte by byte */
            assert_int_equal(send(fd, all + k, 1, 0), 1);
        next_answer(fd, a);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_int_equal(recv(fd, a, 1, 0), 0);
        close(fd);
    }
}

/* Who does not read is not written to without end, and holds nobody up. */
static void one_that_does_not_read_holds_nobody_up(void **state)
{
    enum { COPIES = 1000, TURNS = 100000 };
    static uint8_t many[COPIES * 64];
    uint8_t q[512], a[DNS_TCP_MAX];
    size_t n = make(q, 1, "many.net.test", ns_t_a), all = COPIES * n, sent = 0;
    int fd = connected(SOCK_STREAM, RESOLVER_ADDRESS), other = connected(SOCK_STREAM, RESOLVER_ADDRESS);
    (void)state;
    for (size_t i = 0; i < COPIES; i++)
        memcpy(many + i * n, q, n);
    stop_serving();
    struct pollfd work = {.fd = gsi_resolver_fd(w.r), .events = POLLIN};
    ssize_t went = 1;
    for (int turns = 0; went > 0; turns++) { /* until nothing goes any more, and the resolver has nothing to do */
        went = send(fd, many + sent % all, all - sent % all, MSG_DONTWAIT);
        sent += went > 0 ? (size_t)went : 0;
        if (poll(&work, 1, 0) == 1) {
            gsi_resolver_serve(w.r, w.m);
            went = 1;
        }
        assert_true(turns < TURNS);
    }
    start_serving();
    assert_int_equal(send(other, q, n, 0), n);
    next_answer(other, a);
    for (size_t whole = sent / n; whole; whole--)
        next_answer(fd, a);
    close(fd);
    close(other);
}

static void a_message_that_is_too_long_ends_its_connection(void **state)
{
    uint8_t a[16];
    int fd = connected(SOCK_STREAM, RESOLVER_ADDRESS);
    (void)state;
    assert_int_equal(send(fd, "\xff\xff", 2, 0), 2);
    assert_true(recv(fd, a, sizeof a, 0) <= 0);
    close(fd);
}

static void the_longest_idle_connection_makes_room(void **state)
{
    uint8_t q[512], a[DNS_TCP_MAX];
    size_t n = make(q, 1, "alpha", ns_t_a);
    int fd[RESOLVER_CONNECTIONS + 1];
    (void)state;
    for (int i = 0; i <= RESOLVER_CONNECTIONS; i++) {
        fd[i] = connected(SOCK_STREAM, RESOLVER_ADDRESS);
        assert_int_equal(send(fd[i], q, n, 0), n);
        next_answer(fd[i], a);
    }
    assert_true(recv(fd[0], a, 1, 0) <= 0);
    for (int i = 1; i <= RESOLVER_CONNECTIONS; i++) {
        assert_int_equal(send(fd[i], q, n, 0), n);
        next_answer(fd[i], a);
        close(fd[i]);
    }
    close(fd[0]);
}

/* A packet for its address that comes in from the tailnet. */
static void nobody_outside_reaches_it(void **state)
{
    static const uint8_t syn[] = {
        0,    0, 0, 0, 0, 0, 0, 0, 0, 0,                                         /* virtio_net_hdr */
        0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0, 100, 64, 0, 2, 100, 100, 100, 100, /* IPv4, UDP */
        0x80, 1, 0, 53, 0, 8, 0, 0,
    };
    uint8_t packet[sizeof syn], answer[2048];
    struct pollfd tun = {.fd = gsi_namespace_tun(w.ns), .events = POLLIN};
    uint32_t sum = 0;
    (void)state;
    while (read(tun.fd, answer, sizeof answer) > 0)
        ;
    memcpy(packet, syn, sizeof syn);
    for (size_t i = 10; i < 30; i += 2)
        sum += (uint32_t)packet[i] << 8 | packet[i + 1];
    sum = ~(sum + (sum >> 16)) & 0xffff;
    packet[20] = (uint8_t)(sum >> 8);
    packet[21] = (uint8_t)sum;
    assert_int_equal(write(tun.fd, packet, sizeof packet), sizeof packet);
    assert_int_equal(poll(&tun, 1, MS), 1); /* the kernel's own word: nobody is there */
    assert_true(read(tun.fd, answer, sizeof answer) > 10 + 20 + 8);
    assert_int_equal(answer[10 + 9], 1); /* ICMP */
    assert_int_equal(answer[10 + 20], 3);
    assert_int_equal(answer[10 + 21], 3); /* port unreachable */
}

static void port_53_in_use_is_told(void **state)
{
    struct resolver *second;
    (void)state;
    assert_code(gsi_resolver_open(&second, w.ns), -EADDRINUSE);
    assert_non_null(strstr(gs_error_detail(-EADDRINUSE), RESOLVER_ADDRESS));
}

static void it_leaves_nothing_behind(void **state)
{
    struct census before;
    (void)state;
    stop_serving();
    int fd = connected(SOCK_STREAM, RESOLVER_ADDRESS);
    gsi_resolver_serve(w.r, w.m);
    gsi_resolver_close(w.r);
    close(fd);
    census_take(&before);
    for (int i = 0; i < 3; i++) { /* with a connection each time: it may come again at once */
        assert_ok(gsi_resolver_open(&w.r, w.ns));
        fd = connected(SOCK_STREAM, RESOLVER_ADDRESS);
        gsi_resolver_serve(w.r, w.m);
        gsi_resolver_close(w.r);
        close(fd);
    }
    census_assert(&before);
    assert_ok(gsi_resolver_open(&w.r, w.ns));
    start_serving();
}

/* ---- programs ---- */

/* What it writes, for its exit code. */
static int run(const char *const argv[], char out[4096])
{
    struct resolver_views views;
    int pipes[2], keep = dup(1), status;
    pid_t pid;
    gsi_resolver_views(w.m, &views);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    fflush(stdout);
    assert_int_equal(dup2(pipes[1], 1), 1);
    int e = gsi_namespace_spawn(w.ns, &(struct namespace_program){argv, NULL, views.view, views.n}, &pid);
    assert_int_equal(dup2(keep, 1), 1);
    close(keep);
    close(pipes[1]);
    assert_ok(e);
    size_t n = 0;
    for (ssize_t k; (k = read(pipes[0], out + n, 4095 - n)) > 0;)
        n += (size_t)k;
    out[n] = 0;
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int look_up(const char *database, const char *name, char out[4096])
{
    return run((const char *const[]){"getent", database, name, NULL}, out);
}

static void programs_find_the_names_of_the_tailnet(void **state)
{
    char out[4096];
    (void)state;
    assert_int_equal(look_up("ahostsv4", "alpha", out), 0);
    assert_non_null(strstr(out, "100.64.0.2 "));
    assert_non_null(strstr(out, "alpha.net.test")); /* by the search list: the whole name */
    assert_int_equal(look_up("ahostsv6", "ALPHA.net.test", out), 0);
    assert_non_null(strstr(out, "fd7a:115c:a1e0::2 "));
    assert_int_equal(look_up("hosts", "100.64.0.2", out), 0);
    assert_non_null(strstr(out, "alpha.net.test"));
    assert_int_equal(look_up("ahostsv4", "many", out), 0); /* too many for a datagram: by TCP */
    for (int i = 0; i < MANY; i++) {
        char one[32];
        snprintf(one, sizeof one, "100.64.7.%d ", i + 1);
        assert_non_null(strstr(out, one));
    }
    assert_int_equal(look_up("ahostsv4", "localhost", out), 0);
    assert_non_null(strstr(out, "127.0.0.1 "));
}

static void programs_find_no_other_names(void **state)
{
    char out[4096];
    (void)state;
    assert_int_equal(look_up("ahosts", "nobody", out), 2);
    assert_int_equal(look_up("ahosts", "nobody.net.test", out), 2);
    assert_int_equal(look_up("ahosts", "example.com", out), 2);
    assert_string_equal(out, "");
}

static void the_machines_own_files_stay(void **state)
{
    char out[4096];
    const char *const see[] = {"sh", "-c",
                               "cat /etc/resolv.conf /etc/nsswitch.conf; ls -A /run/nscd /var/run/nscd 2>/dev/null; true", NULL};
    (void)state;
    FILE *f = fopen("/etc/resolv.conf", "re");
    char line[512];
    assert_int_equal(run(see, out), 0);
    assert_non_null(strstr(out, "nameserver " RESOLVER_ADDRESS "\nsearch net.test\n"));
    assert_non_null(strstr(out, "hosts: files dns\n"));
    assert_null(strstr(out, "socket"));
    while (f && fgets(line, sizeof line, f))
        assert_null(strstr(line, RESOLVER_ADDRESS));
    if (f)
        fclose(f);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "nobody") == 0)
        become_nobody(true);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_are_answered),
        cmocka_unit_test(a_connection_takes_many_questions_at_once),
        cmocka_unit_test(one_that_does_not_read_holds_nobody_up),
        cmocka_unit_test(a_message_that_is_too_long_ends_its_connection),
        cmocka_unit_test(the_longest_idle_connection_makes_room),
        cmocka_unit_test(nobody_outside_reaches_it),
        cmocka_unit_test(port_53_in_use_is_told),
        cmocka_unit_test(it_leaves_nothing_behind),
        cmocka_unit_test(programs_find_the_names_of_the_tailnet),
        cmocka_unit_test(programs_find_no_other_names),
        cmocka_unit_test(the_machines_own_files_stay),
        cmocka_unit_test(all_of_it_works_as_nobody),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
