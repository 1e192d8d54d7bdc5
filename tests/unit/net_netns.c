/* Sockets, look-ups and interfaces of another network namespace, while the calling thread stays where it is.
 * The whole test process moves to a namespace of its own first, and leaves another one behind, "blue", open as a descriptor:
 * with root at once, else inside a user namespace. runner: serial
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/seam.h"
#include "census.h"
#include "fault.h"
#include "gensock/net.h"
#include "net/netns.h"
#include "net/resolve.h"
#include "support.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static char blue[64]; /* path of the other namespace; "" when this machine does not let us make one */
static const char *forbidden = "";
static ino_t blue_inode;
static struct census before;

/* The inode names a namespace. */
static ino_t inode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

static ino_t here(void) { return inode_of("/proc/thread-self/ns/net"); }

/* The cookie of the namespace that a socket was made in (Linux 5.14). */
static uint64_t cookie(int fd)
{
    uint64_t c = 0;
    socklen_t n = sizeof c;
    return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &c, &n) == 0 ? c : 0;
}

static int make_namespaces(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        forbidden = strerror(errno);
        return 0;
    }
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || unshare(CLONE_NEWNET) != 0) {
        forbidden = strerror(errno);
        return 0;
    }
    snprintf(blue, sizeof blue, "/proc/self/fd/%d", fd);
    blue_inode = inode_of(blue);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    census_take(&before);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    census_assert(&before);
    return 0;
}

static void need_namespaces(void)
{
    if (!blue[0])
        skip_because("no network namespace can be made here: %s", forbidden);
}

static void a_socket_is_made_there_and_the_thread_stays_here(void **state)
{
    (void)state;
    need_namespaces();
    ino_t home = here();
    assert_true(home != blue_inode && home != 0);
    int there = (int)assert_ok(gsi_net_socket(blue, AF_INET, SOCK_STREAM, 0));
    int local = (int)assert_ok(gsi_net_socket(NULL, AF_INET, SOCK_STREAM, 0));
    assert_int_equal(here(), home);
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(i ? local : there, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(i ? local : there, F_GETFD) & FD_CLOEXEC);
    }
    if (cookie(local) != 0)
        assert_true(cookie(there) != cookie(local));
    /* Abstract names belong to a namespace: the same one is free in both. */
    int other = (int)assert_ok(gsi_net_socket(blue, AF_UNIX, SOCK_STREAM, 0));
    int mine = (int)assert_ok(gsi_net_socket(NULL, AF_UNIX, SOCK_STREAM, 0));
    gs_addr a;
    assert_ok(gs_addr_parse(&a, "@gensock-netns"));
    assert_int_equal(bind(other, (const struct sockaddr *)&a.sa, a.len), 0);
    assert_int_equal(bind(mine, (const struct sockaddr *)&a.sa, a.len), 0);
    close(there);
    close(local);
    close(other);
    close(mine);
}

static void a_path_that_is_none_names_cause_and_cure(void **state)
{
    (void)state;
    assert_code(gsi_net_socket("/run/netns/gs-nosuch", AF_INET, SOCK_STREAM, 0), -ENOENT);
    assert_non_null(strstr(gs_error_detail(-ENOENT), "gs-nosuch"));
    assert_non_null(strstr(gs_error_detail(-ENOENT), "ip netns add"));
    assert_code(gsi_net_socket("/dev/null", AF_INET, SOCK_STREAM, 0), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), "not a network namespace"));
    assert_code(gsi_net_socket("", AF_INET, SOCK_STREAM, 0), -ENOENT);
    assert_int_equal(mkfifo(temp_path("fifo"), 0600), 0);
    assert_code(gsi_net_socket(temp_path("fifo"), AF_INET, SOCK_STREAM, 0), -EINVAL); /* and does not wait for a writer */
}

static void every_failing_step_is_told(void **state)
{
    (void)state;
    const char *self = "/proc/self/ns/net";
    fault_fail_call(FAULT_setns, 1, 1, EPERM);
    assert_code(gsi_net_socket(self, AF_INET, SOCK_STREAM, 0), -EPERM);
    assert_int_equal(fault_stop(), 1);
    assert_non_null(strstr(gs_error_detail(-EPERM), "CAP_SYS_ADMIN"));
    fault_fail_call(FAULT_open, 1, 1, EACCES);
    assert_code(gsi_net_socket(self, AF_INET, SOCK_STREAM, 0), -EACCES);
    assert_int_equal(fault_stop(), 1);
    fault_fail_call(FAULT_thread_create, 1, 1, EAGAIN);
    assert_code(gsi_net_socket(self, AF_INET, SOCK_STREAM, 0), GS_ESYSLIMIT);
    assert_int_equal(fault_stop(), 1);
    fault_fail_call(FAULT_socket, 1, 1, EMFILE);
    assert_code(gsi_net_socket(NULL, AF_INET, SOCK_STREAM, 0), -EMFILE);
    assert_int_equal(fault_stop(), 1);
    assert_non_null(strstr(gs_error_detail(-EMFILE), "ulimit -n"));
    assert_code(gsi_net_socket(NULL, 12345, SOCK_STREAM, 0), -EAFNOSUPPORT);
    assert_code(gsi_net_socket(NULL, AF_INET, SOCK_STREAM, 250), -EPROTONOSUPPORT);
    fault_fail_call(FAULT_open, 1, 1, EINTR); /* tried again */
    int fd = gsi_net_socket(self, AF_INET, SOCK_STREAM, 0);
    assert_int_equal(fault_stop(), 1);
    if (fd >= 0)
        close(fd);
    else
        assert_code(fd, -EPERM); /* without the right to enter even our own */
}

static void interfaces_there_are_their_own(void **state)
{
    (void)state;
    need_namespaces();
    /* The links of a fresh namespace are down; the one here is put up, and the two views differ. */
    struct ifreq r = {.ifr_name = "lo"};
    int fd = (int)assert_ok(gsi_net_socket(NULL, AF_INET, SOCK_DGRAM, 0));
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    assert_int_equal(gsi_sys.ioctl(fd, 0x8914 /* SIOCSIFFLAGS */, &r), 0);
    close(fd);
    for (int there = 0; there < 2; there++) {
        gs_ifaddr *list;
        int n = (int)assert_ok(gs_getifaddrs(AF_PACKET, there ? blue : NULL, &list)), found = 0;
        for (int i = 0; i < n; i++)
            if (!strcmp(list[i].name, "lo")) {
                assert_int_equal(!!(list[i].flags & IFF_UP), !there);
                found++;
            }
        assert_int_equal(found, 1);
        gs_ifaddrs_free(list);
    }
    gs_ifaddr *list;
    assert_code(gs_getifaddrs(0, "/run/netns/gs-nosuch", &list), -ENOENT);
    assert_null(list);
}

static _Atomic ino_t asked_in;

static int where_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    asked_in = here();
    (void)host;
    return gsi_sys_default.getaddrinfo("192.0.2.7", service, hints, out);
}

static _Atomic int done_result;

static void on_done(void *arg, int n, const gs_addr *addrs)
{
    (void)arg;
    (void)addrs;
    assert_true(here() != blue_inode); /* the pool's thread stayed at home */
    done_result = n;
}

static void names_are_asked_there(void **state)
{
    (void)state;
    need_namespaces();
    int (*was)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = gsi_sys.getaddrinfo;
    gsi_sys.getaddrinfo = where_getaddrinfo;
    gs_addr a;
    struct gsi_host h = {.name = "name", .port = 5, .netns = blue};
    assert_int_equal(gsi_resolve(&h, gsi_deadline(10000), &a, 1), 1);
    assert_true(asked_in == blue_inode);
    h.netns = NULL;
    assert_int_equal(gsi_resolve(&h, gsi_deadline(10000), &a, 1), 1);
    assert_true(asked_in == here());
    gs_addrinfo *list;
    assert_ok(gs_getaddrinfo("name", NULL, &(gs_hints){.netns = blue, .type = SOCK_STREAM}, 10000, &list));
    gs_addrinfo_free(list);
    assert_true(asked_in == blue_inode);
    uint64_t request;
    h.netns = blue;
    assert_ok(gsi_resolve_start(&h, on_done, NULL, &request));
    assert_until(done_result != 0, 5000);
    assert_int_equal(done_result, 1);
    h.netns = "/run/netns/gs-nosuch";
    assert_code(gsi_resolve(&h, gsi_deadline(10000), &a, 1), -ENOENT);
    assert_non_null(strstr(gs_error_detail(-ENOENT), "gs-nosuch"));
    assert_code(gs_getaddrinfo("name", NULL, &(gs_hints){.netns = "/dev/null"}, 10000, &list), -EINVAL);
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    gsi_sys.getaddrinfo = was;
}

static void a_scope_name_is_looked_up_there(void **state)
{
    (void)state;
    need_namespaces();
    gs_addr a;
    struct gsi_host h = {.name = "fe80::1%lo", .port = 5, .netns = blue};
    assert_int_equal(gsi_resolve_numeric(&h, &a), 0);
    assert_int_equal(gsi_resolve(&h, gsi_deadline(10000), &a, 1), 1);
    assert_int_equal(gs_addr_port(&a), 5);
    h.name = "fe80::1%gs-nosuch";
    assert_code(gsi_resolve(&h, gsi_deadline(10000), &a, 1), GS_ENXDOMAIN);
    h.name = "fe80::1%7";
    assert_int_equal(gsi_resolve_numeric(&h, &a), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_socket_is_made_there_and_the_thread_stays_here),
        TEST(a_path_that_is_none_names_cause_and_cure),
        TEST(every_failing_step_is_told),
        TEST(interfaces_there_are_their_own),
        TEST(names_are_asked_there),
        TEST(a_scope_name_is_looked_up_there),
    };
    return cmocka_run_group_tests_name("net_netns", tests, make_namespaces, NULL);
}
