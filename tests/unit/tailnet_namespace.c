/* runner: tsan, timeout 240
 *
 * The private namespace as a resource: made in each way, gone without a trace however it ends, and refused with cause and
 * cure. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "census.h"
#include "tailnet/stack/helper.h"
#include "tailnet/stack/namespace.h"
#include "tailnet_nobody.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { MANY = 8, HELPERS = 64 };

static enum namespace_way ways[3];
static int n_ways;

static struct namespace *open_one(enum namespace_way way)
{
    struct namespace *ns;
    assert_ok(gsi_namespace_open(&ns, &(struct namespace_options){.way = way}));
    return ns;
}

static uint64_t cookie(int fd)
{
    uint64_t c = 0;
    socklen_t n = sizeof c;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &c, &n), 0);
    close(fd);
    return c;
}

static uint64_t cookie_of(struct namespace *ns)
{
    return cookie((int)assert_ok(gsi_namespace_socket(ns, AF_INET, SOCK_DGRAM, 0)));
}

struct task {
    int pid, parent;
    char name[64], state;
};

static bool task_read(const char *pid, struct task *t)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fscanf(f, "%d (%63[^)]) %c %d", &t->pid, t->name, &t->state, &t->parent) == 4;
    fclose(f);
    return ok;
}

/* The parent's helper processes; a thread of the parent is none. */
static int helpers_of(pid_t parent, pid_t out[HELPERS])
{
    DIR *proc = opendir("/proc");
    struct task t;
    int n = 0;
    assert_non_null(proc);
    for (struct dirent *e; (e = readdir(proc)) && n < HELPERS;)
        if (task_read(e->d_name, &t) && t.parent == parent && strcmp(t.name, "gs-tailnet-ns") == 0)
            out[n++] = t.pid;
    closedir(proc);
    return n;
}

/* What was killed and never reaped, as after an exec of its parent, holds nothing any more. */
static bool alive(pid_t pid)
{
    char text[16];
    struct task t;
    snprintf(text, sizeof text, "%d", (int)pid);
    return task_read(text, &t) && t.state != 'Z';
}

static void each_way_leaves_nothing_behind(void **state)
{
    (void)state;
    gsi_namespace_close(open_one(ways[0])); /* what libc and sanitizers keep is there now */
    for (int i = 0; i < n_ways; i++) {
        struct census before;
        pid_t pids[HELPERS];
        census_take(&before);
        struct namespace *ns = open_one(ways[i]);
        assert_int_equal(gsi_namespace_way(ns), ways[i]);
        assert_int_equal(helpers_of(getpid(), pids), ways[i] == NAMESPACE_THREAD ? 0 : 1);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* the host's own waits do not see it */
        assert_int_equal(errno, ECHILD);
        gsi_namespace_close(ns);
        assert_int_equal(helpers_of(getpid(), pids), 0);
        assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
        assert_int_equal(errno, ECHILD);
        census_assert(&before);
    }
}

static void the_best_way_is_taken_by_itself(void **state)
{
    (void)state;
    struct namespace *ns = open_one(NAMESPACE_AUTO);
#ifdef STACK_SANITIZED
    enum namespace_way second = NAMESPACE_APART;
#else
    enum namespace_way second = NAMESPACE_SHARED;
#endif
    assert_int_equal(gsi_namespace_way(ns), geteuid() == 0 ? NAMESPACE_THREAD : second);
    gsi_namespace_close(ns);
}

static void several_stand_side_by_side(void **state)
{
    (void)state;
    struct namespace *ns[MANY];
    uint64_t cookies[MANY + 1];
    cookies[MANY] = cookie(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (int i = 0; i < MANY; i++)
        cookies[i] = cookie_of(ns[i] = open_one(ways[i % n_ways]));
    for (int i = 0; i <= MANY; i++)
        for (int k = 0; k < i; k++)
            assert_true(cookies[i] != cookies[k]);
    for (int i = 0; i < MANY; i += 2)
        gsi_namespace_close(ns[i]);
    for (int i = 1; i < MANY; i += 2) {
        assert_true(cookie_of(ns[i]) == cookies[i]);
        gsi_namespace_close(ns[i]);
    }
}

/* Else a closed connection of the host's would stay open in the helper. */
static void the_helper_keeps_nothing_of_the_host_open(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        int end[2], high[2];
        char c;
        assert_int_equal(pipe2(end, O_CLOEXEC | O_NONBLOCK), 0);
        assert_int_equal(pipe2(high, O_CLOEXEC | O_NONBLOCK), 0);
        int far = fcntl(high[1], F_DUPFD_CLOEXEC, 300);
        assert_true(far >= 300);
        struct namespace *ns = open_one(ways[i]);
        close(end[1]);
        close(high[1]);
        close(far);
        assert_int_equal(read(end[0], &c, 1), 0); /* all writing ends are closed */
        assert_int_equal(read(high[0], &c, 1), 0);
        close(end[0]);
        close(high[0]);
        gsi_namespace_close(ns);
    }
}

static void *ask(void *arg)
{
    struct namespace *ns = arg;
    uint64_t own = cookie_of(ns);
    for (int i = 0; i < 300; i++)
        assert_true(cookie_of(ns) == own);
    return NULL;
}

static void threads_make_sockets_at_the_same_time(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        pthread_t t[4];
        for (int k = 0; k < 4; k++)
            assert_int_equal(pthread_create(&t[k], NULL, ask, ns), 0);
        for (int k = 0; k < 4; k++)
            pthread_join(t[k], NULL);
        gsi_namespace_close(ns);
    }
}

static void a_socket_that_cannot_be_says_so(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        assert_code(gsi_namespace_socket(ns, 9999, SOCK_STREAM, 0), -EAFNOSUPPORT);
        assert_non_null(strstr(gs_error_detail(-EAFNOSUPPORT), "socket(9999, "));
        int fd = (int)assert_ok(gsi_namespace_socket(ns, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        close(fd);
        gsi_namespace_close(ns);
    }
}

static void addresses_and_routes_come_and_go(void **state)
{
    (void)state;
    static const struct { const char *own, *route; struct sockaddr_in6 six; struct sockaddr_in four; } row[] = {
        {"100.64.0.7", "100.64.0.0/10", {0}, {.sin_family = AF_INET}},
        {"fd7a:115c:a1e0::7", "fd7a:115c:a1e0::/48", {.sin6_family = AF_INET6}, {0}},
    };
    struct namespace *ns = open_one(NAMESPACE_AUTO);
    for (int v6 = 0; v6 < 2; v6++) {
        struct prefix own, route;
        struct sockaddr_storage at;
        assert_ok(gsi_prefix_parse(row[v6].own, strlen(row[v6].own), &own));
        assert_ok(gsi_prefix_parse(row[v6].route, strlen(row[v6].route), &route));
        socklen_t n = gsi_endpoint_to_sockaddr(&(struct endpoint){own.ip, 9}, &at);
        int domain = v6 ? AF_INET6 : AF_INET;
        for (int round = 0; round < 2; round++) {
            int fd = (int)assert_ok(gsi_namespace_socket(ns, domain, SOCK_DGRAM, 0));
            assert_int_equal(bind(fd, (struct sockaddr *)&at, n), -1);
            assert_int_equal(errno, EADDRNOTAVAIL);
            assert_ok(gsi_namespace_address(ns, &own, true));
            assert_ok(gsi_namespace_address(ns, &own, true));
            assert_ok(gsi_namespace_route(ns, &route, true));
            assert_ok(gsi_namespace_route(ns, &route, true));
            assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
            struct sockaddr_storage to = at;
            ((uint8_t *)&to)[v6 ? 23 : 7] ^= 1; /* a neighbour */
            assert_int_equal(connect(fd, (struct sockaddr *)&to, n), 0);
            close(fd);
            assert_ok(gsi_namespace_route(ns, &route, false));
            assert_ok(gsi_namespace_route(ns, &route, false));
            fd = (int)assert_ok(gsi_namespace_socket(ns, domain, SOCK_DGRAM, 0));
            assert_int_equal(connect(fd, (struct sockaddr *)&to, n), -1);
            assert_int_equal(errno, ENETUNREACH);
            close(fd);
            assert_ok(gsi_namespace_address(ns, &own, false));
            assert_ok(gsi_namespace_address(ns, &own, false));
        }
    }
    gsi_namespace_close(ns);
}

static void a_setting_reaches_this_namespace_only(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        int value = 0;
        socklen_t n = sizeof value;
        assert_ok(gsi_namespace_sysctl(ns, "ipv4/ip_default_ttl", "77"));
        int fd = (int)assert_ok(gsi_namespace_socket(ns, AF_INET, SOCK_DGRAM, 0));
        assert_int_equal(getsockopt(fd, IPPROTO_IP, IP_TTL, &value, &n), 0);
        assert_int_equal(value, 77);
        close(fd);
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(getsockopt(fd, IPPROTO_IP, IP_TTL, &value, &n), 0);
        assert_int_not_equal(value, 77);
        close(fd);
        assert_code(gsi_namespace_sysctl(ns, "ipv4/no_such_setting", "1"), -ENOENT);
        assert_code(gsi_namespace_sysctl(ns, "ipv4/ip_default_ttl", "x"), -EINVAL);
        char name[200];
        memset(name, 'x', sizeof name);
        name[sizeof name - 1] = 0;
        assert_code(gsi_namespace_sysctl(ns, name, "1"), -ENAMETOOLONG);
        gsi_namespace_close(ns);
    }
}

/* ---- ends ---- */

static void a_killed_helper_is_an_error_and_no_hang(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        pid_t pids[HELPERS];
        if (ways[i] == NAMESPACE_THREAD)
            continue;
        struct namespace *ns = open_one(ways[i]);
        assert_int_equal(helpers_of(getpid(), pids), 1);
        assert_int_equal(kill(pids[0], SIGKILL), 0);
        assert_until(helpers_of(getpid(), pids) == 0, 10000);
        assert_code(gsi_namespace_socket(ns, AF_INET, SOCK_STREAM, 0), -EPIPE);
        assert_code(gsi_namespace_socket(ns, AF_INET, SOCK_STREAM, 0), -EPIPE);
        gsi_namespace_close(ns);
    }
}

static void a_forked_child_leaves_the_parents_namespace_alone(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        struct namespace *ns = open_one(ways[i]);
        uint64_t own = cookie_of(ns);
        int status;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            int e = gsi_namespace_socket(ns, AF_INET, SOCK_STREAM, 0);
            gsi_namespace_close(ns);
            _exit(e == -ECHILD ? 42 : 43);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
        assert_true(cookie_of(ns) == own);
        gsi_namespace_close(ns);
    }
}

/* The program as a host that holds a namespace of way `text`, and its helpers. */
static struct child start_holder(const char *role, enum namespace_way way, pid_t pids[HELPERS], int *n)
{
    char text[8], out[1024];
    snprintf(text, sizeof text, "%d", (int)way);
    struct child c = start_self(role, text);
    if (!child_expect(&c, "holding", 30000, out, sizeof out))
        fail_msg("no namespace in a child: %s", out);
    *n = helpers_of(c.pid, pids);
    return c;
}

static void a_killed_host_leaves_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        pid_t pids[HELPERS];
        int n;
        struct child c = start_holder("hold", ways[i], pids, &n);
        assert_int_equal(n, ways[i] == NAMESPACE_THREAD ? 0 : 1);
        assert_int_equal(kill(c.pid, SIGKILL), 0);
        assert_int_equal(child_wait(&c, 10000), 128 + SIGKILL);
        for (int k = 0; k < n; k++)
            assert_until(!alive(pids[k]), 10000);
        child_stop(&c);
    }
}

static void an_exec_of_the_host_ends_the_helper(void **state)
{
    (void)state;
    for (int i = 0; i < n_ways; i++) {
        pid_t pids[HELPERS];
        int n;
        struct child c = start_holder("exec", ways[i], pids, &n); /* becomes `sleep` at a signal */
        assert_int_equal(n, ways[i] == NAMESPACE_THREAD ? 0 : 1);
        assert_int_equal(kill(c.pid, SIGUSR1), 0);
        for (int k = 0; k < n; k++)
            assert_until(!alive(pids[k]), 10000);
        assert_true(alive(c.pid));
        child_stop(&c);
    }
}

static int hold(enum namespace_way way, bool exec)
{
    struct namespace *ns;
    sigset_t set;
    int got;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    needs(gsi_namespace_open(&ns, &(struct namespace_options){.way = way}), gs_error_detail(-EPERM));
    printf("holding\n");
    fflush(stdout);
    sigwait(&set, &got);
    if (exec)
        execl("/bin/sleep", "sleep", "100", (char *)NULL);
    return SETUP_FAILED;
}

/* ---- refusals ---- */

static void refused(const char *role, const char *code, const char *step, const char *cure)
{
    char out[4096];
    if (geteuid() != 0)
        skip_because("to take things away takes root");
    struct child c = start_self(role, NULL);
    (void)child_expect(&c, NULL, 60000, out, sizeof out);
    int exit_code = child_wait(&c, 10000);
    child_stop(&c);
    if (exit_code != 0 || !strstr(out, code) || !strstr(out, step) || !strstr(out, cure))
        fail_msg("%s: exit code %d, wanted %s, %s, %s:\n%s", role, exit_code, code, step, cure, out);
}

static void a_machine_without_a_tun_is_told(void **state)
{
    (void)state;
    refused("no-tun", "enoent", "open /dev/net/tun", "modprobe tun");
}

static void a_closed_tun_is_told(void **state)
{
    (void)state;
    refused("closed-tun", "eacces", "open /dev/net/tun", "chmod 0666");
}

static void forbidden_namespaces_are_told(void **state)
{
    (void)state;
    refused("chroot", "eperm", "clone(CLONE_NEWUSER", "seccomp");
}

static void an_exhausted_limit_is_told(void **state)
{
    (void)state;
#ifdef STACK_TSAN
    skip_because("a process of several threads, as this build's is, cannot enter a user namespace");
#endif
    refused("limit", "enospc", "unshare(CLONE_NEWNET)", "user.max_net_namespaces");
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    needs(fd, path);
    needs((int)write(fd, text, strlen(text)), path);
    close(fd);
}

static int refusal(const char *role)
{
    struct namespace *ns;
    if (strcmp(role, "no-tun") == 0) {
        own_dev_net(false);
    } else if (strcmp(role, "closed-tun") == 0) {
        own_dev_net(true);
        needs(chmod("/dev/net/tun", 0600), "chmod");
        drop_rights();
    } else if (strcmp(role, "chroot") == 0) {
        needs(chroot("/var"), "chroot");
        drop_rights();
    } else {
        needs(unshare(CLONE_NEWUSER), "unshare(CLONE_NEWUSER)");
        write_file("/proc/self/uid_map", "0 0 1");
        write_file("/proc/sys/user/max_net_namespaces", "0");
    }
    int e = gsi_namespace_open(&ns, &(struct namespace_options){0});
    printf("%s: %s\n", gs_error_name(e), gs_error_detail(e));
    fflush(stdout);
    _exit(e < 0 ? 0 : 1);
}

/* ---- memory ---- */

static _Atomic long allocations, fail_at;

static void *counted_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return ++allocations == fail_at ? NULL : malloc(n);
}

static void *counted_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return ++allocations == fail_at ? NULL : realloc(p, n);
}

static void counted_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static void no_memory_is_an_error_without_a_trace(void **state)
{
    (void)state;
    struct census before;
    struct namespace *ns;
    census_take(&before);
    allocations = 0;
    gsi_namespace_close(open_one(ways[0]));
    long n = allocations;
    assert_in_range(n, 1, 10);
    for (long k = 1; k <= n; k++) {
        allocations = 0;
        fail_at = k;
        int e = gsi_namespace_open(&ns, &(struct namespace_options){.way = ways[0]});
        fail_at = 0;
        assert_code(e, -ENOMEM);
    }
    census_assert(&before);
}

int main(int argc, char **argv)
{
    const char *role = argc > 1 ? argv[1] : "";
    if (strcmp(role, "hold") == 0 || strcmp(role, "exec") == 0)
        return hold((enum namespace_way)atoi(argv[2]), role[0] == 'e');
    if (strcmp(role, "nobody") == 0)
        become_nobody(true);
    else if (role[0])
        return refusal(role);
    if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
        return SETUP_FAILED;
    if (geteuid() == 0)
        ways[n_ways++] = NAMESPACE_THREAD;
#ifndef STACK_TSAN
    ways[n_ways++] = NAMESPACE_SHARED;
#endif
    ways[n_ways++] = NAMESPACE_APART;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_leaves_nothing_behind),
        cmocka_unit_test(the_best_way_is_taken_by_itself),
        cmocka_unit_test(several_stand_side_by_side),
        cmocka_unit_test(the_helper_keeps_nothing_of_the_host_open),
        cmocka_unit_test(threads_make_sockets_at_the_same_time),
        cmocka_unit_test(a_socket_that_cannot_be_says_so),
        cmocka_unit_test(addresses_and_routes_come_and_go),
        cmocka_unit_test(a_setting_reaches_this_namespace_only),
        cmocka_unit_test(a_killed_helper_is_an_error_and_no_hang),
        cmocka_unit_test(a_forked_child_leaves_the_parents_namespace_alone),
        cmocka_unit_test(a_killed_host_leaves_nothing),
        cmocka_unit_test(an_exec_of_the_host_ends_the_helper),
        cmocka_unit_test(a_machine_without_a_tun_is_told),
        cmocka_unit_test(a_closed_tun_is_told),
        cmocka_unit_test(forbidden_namespaces_are_told),
        cmocka_unit_test(an_exhausted_limit_is_told),
        cmocka_unit_test(no_memory_is_an_error_without_a_trace),
        cmocka_unit_test(all_of_it_works_as_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
