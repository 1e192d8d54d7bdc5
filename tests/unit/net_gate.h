/* net_gate.h: a name server that answers when the test lets it, for the tests of the resolver: getaddrinfo and getnameinfo
 * enter a gate, and leave when it is opened. Each test starts without threads, with the gate closed, and ends as it started.
 */
#ifndef TEST_NET_GATE_H
#define TEST_NET_GATE_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/seam.h"
#include "census.h"
#include "net/pool.h"
#include "net/resolve.h"
#include "support.h"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int inside, entered;
    bool open;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

/* "a<N>" has the address 192.0.2.N; "nx" does not exist; anything else has two addresses. */
static int answer(const char *host, const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo numeric = *hints, *second;
    numeric.ai_flags |= AI_NUMERICHOST;
    char ip[32] = "192.0.2.1";
    if (host && !strcmp(host, "nx"))
        return EAI_NONAME;
    if (host && host[0] == 'a')
        snprintf(ip, sizeof ip, "192.0.2.%d", atoi(host + 1));
    int e = gsi_sys_default.getaddrinfo(ip, NULL, &numeric, out);
    if (e == 0 && host && host[0] == 't') {
        e = gsi_sys_default.getaddrinfo("192.0.2.2", NULL, &numeric, &second);
        (*out)->ai_next = second;
    }
    return e;
}

static void pass_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.inside++;
    gate.entered++;
    pthread_cond_broadcast(&gate.moved);
    while (!gate.open)
        pthread_cond_wait(&gate.moved, &gate.lock);
    gate.inside--;
    pthread_cond_broadcast(&gate.moved);
    pthread_mutex_unlock(&gate.lock);
}

static int slow_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)service;
    pass_gate();
    return answer(host, hints, out);
}

static int slow_getnameinfo(const struct sockaddr *a, socklen_t n, char *host, socklen_t host_cap, char *service,
                            socklen_t service_cap, int flags)
{
    if (!(flags & NI_NUMERICHOST))
        pass_gate();
    return gsi_sys_default.getnameinfo(a, n, host, host_cap, service, service_cap, NI_NUMERICHOST | NI_NUMERICSERV);
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = open;
    pthread_cond_broadcast(&gate.moved);
    pthread_mutex_unlock(&gate.lock);
}

static int gate_value(const int *value)
{
    pthread_mutex_lock(&gate.lock);
    int n = *value;
    pthread_mutex_unlock(&gate.lock);
    return n;
}

static struct census before;

static int setup(void **state)
{
    (void)state;
    gate.open = false;
    gate.inside = gate.entered = 0;
    gsi_sys.getaddrinfo = slow_getaddrinfo;
    gsi_sys.getnameinfo = slow_getnameinfo;
    gsi_pool_idle_ms = 10000;
    census_take(&before);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gate_set(true);
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    assert_int_equal(gsi_resolver_threads(), 0);
    census_assert(&before);
    return 0;
}

static struct gsi_host host_named(const char *name) { return (struct gsi_host){.name = name, .port = 80, .family = AF_INET}; }

/* Where the answers of background look-ups arrive. */
struct result {
    pthread_mutex_t lock;
    int calls, n;
    gs_addr first;
    uint64_t *request, seen; /* what *request was when done ran */
};

static void on_result(void *arg, int n, const gs_addr *addrs)
{
    struct result *r = arg;
    pthread_mutex_lock(&r->lock);
    r->calls++;
    r->n = n;
    r->seen = r->request ? *r->request : 0;
    if (n > 0)
        r->first = addrs[0];
    else if (n != -EDEADLK)
        assert_true(gs_error_detail(n)[0] != '\0');
    pthread_mutex_unlock(&r->lock);
}

static int calls_of(struct result *r)
{
    pthread_mutex_lock(&r->lock);
    int n = r->calls;
    pthread_mutex_unlock(&r->lock);
    return n;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
