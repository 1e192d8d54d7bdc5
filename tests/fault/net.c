/* Every allocation and system call of the net layer fails in every place: an error, no leak, and the next run works. */
#include <errno.h>
#include <netdb.h>
#include <net/if.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/seam.h"
#include "gensock/net.h"
#include "net/netns.h"
#include "net/resolve.h"
#include "scenario.h"
#include "support.h"

static int first_error(int so_far, int e) { return so_far < 0 ? so_far : e < 0 ? e : 0; }

/* Without threads at its end, so that a census is steady. */
static int rest(int e)
{
    int left = gsi_resolver_stop(gsi_deadline(5000));
    return left != 0 ? GS_ETIMEOUT : e;
}

static int blocking_look_up(void *unused)
{
    (void)unused;
    gs_addr a[4];
    struct gsi_host h = {.name = "localhost", .port = 80};
    int e = gsi_resolve(&h, gsi_deadline(10000), a, 4);
    return rest(e < 0 ? e : 0);
}

static int public_look_up(void *unused)
{
    (void)unused;
    gs_addrinfo *list, *numeric;
    int e = gs_getaddrinfo("localhost", "80", NULL, 10000, &list);
    int f = gs_getaddrinfo("127.0.0.1", "80", NULL, 0, &numeric);
    if ((e < 0) != (list == NULL) || (f < 0) != (numeric == NULL))
        _exit(1);
    gs_addrinfo_free(list);
    gs_addrinfo_free(numeric);
    return rest(first_error(e, f));
}

static int name_of_address(void *unused)
{
    (void)unused;
    gs_addr a;
    gs_nameinfo info;
    int e = gs_addr_special(&a, AF_INET, GS_ADDR_LOOPBACK, 80);
    return rest(first_error(e, gs_getnameinfo(&a, 0, 10000, &info)));
}

struct background {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int calls, n;
};

static void on_done(void *arg, int n, const gs_addr *addrs)
{
    struct background *b = arg;
    (void)addrs;
    pthread_mutex_lock(&b->lock);
    b->calls++;
    b->n = n;
    pthread_cond_signal(&b->moved);
    pthread_mutex_unlock(&b->lock);
}

static int background_look_up(void *unused)
{
    (void)unused;
    struct background b = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    struct gsi_host h = {.name = "localhost", .port = 80};
    uint64_t request;
    int e = gsi_resolve_start(&h, on_done, &b, &request);
    pthread_mutex_lock(&b.lock);
    while (e == 0 && b.calls == 0)
        pthread_cond_wait(&b.moved, &b.lock);
    pthread_mutex_unlock(&b.lock);
    e = first_error(e, b.n);
    e = rest(e);
    if (b.calls > 1)
        _exit(1);
    return e;
}

static int interfaces(void *unused)
{
    (void)unused;
    gs_ifaddr *list;
    gs_if_name *names;
    char name[IF_NAMESIZE];
    int e = gs_getifaddrs(0, NULL, &list), f = gs_if_names(&names);
    if ((e < 0 && list) || (f < 0 && names))
        _exit(1);
    e = first_error(e, f);
    e = first_error(e, gs_if_name2index("lo"));
    e = first_error(e, gs_if_index2name(1, name, sizeof name));
    gs_ifaddrs_free(list);
    gs_if_names_free(names);
    return e;
}

/* The process's own namespace: entering it takes the same calls, and root. */
static int sockets_of_a_namespace(void *unused)
{
    (void)unused;
    gs_ifaddr *list;
    int fd = gsi_net_socket("/proc/self/ns/net", AF_INET, SOCK_STREAM, 0);
    if (fd >= 0)
        close(fd);
    int e = gs_getifaddrs(AF_INET, "/proc/self/ns/net", &list);
    gs_ifaddrs_free(list);
    return first_error(fd, e);
}

static int look_up_in_a_namespace(void *unused)
{
    (void)unused;
    gs_addr a[4];
    struct gsi_host h = {.name = "localhost", .port = 80, .netns = "/proc/self/ns/net"};
    int e = gsi_resolve(&h, gsi_deadline(10000), a, 4);
    return rest(e < 0 ? e : 0);
}

static const struct fault_options real_time = {.real_clock = true};

static void a_blocking_look_up_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("blocking look-up", blocking_look_up, NULL, &real_time);
}

static void a_public_look_up_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("public look-up", public_look_up, NULL, &real_time);
}

static void a_name_of_an_address_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("name of an address", name_of_address, NULL, &real_time);
}

static void a_background_look_up_survives_every_fault(void **state)
{
    (void)state;
    fault_run_with("background look-up", background_look_up, NULL, &real_time);
}

static void interfaces_survive_every_fault(void **state)
{
    (void)state;
    fault_run("interfaces", interfaces, NULL);
}

static void a_namespace_survives_every_fault(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip_because("entering a network namespace takes root");
    fault_run_with("socket in a namespace", sockets_of_a_namespace, NULL, &real_time);
    fault_run_with("look-up in a namespace", look_up_in_a_namespace, NULL, &real_time);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blocking_look_up_survives_every_fault),
        cmocka_unit_test(a_public_look_up_survives_every_fault),
        cmocka_unit_test(a_name_of_an_address_survives_every_fault),
        cmocka_unit_test(a_background_look_up_survives_every_fault),
        cmocka_unit_test(interfaces_survive_every_fault),
        cmocka_unit_test(a_namespace_survives_every_fault),
    };
    return cmocka_run_group_tests_name("fault_net", tests, NULL, NULL);
}
