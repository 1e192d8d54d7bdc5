/* resolve.c: a host and a port to addresses (resolve.h), on top of lookup.c and pool.c. */
#include "net/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "net/lookup.h"
#include "net/pool.h"

int gsi_resolve_numeric(const struct gsi_host *h, gs_addr *out)
{
    if (h->name[0] == '\0')
        return gs_addr_special(out, h->family == AF_INET6 ? AF_INET6 : AF_INET, GS_ADDR_ANY, h->port) < 0 ? GS_EBADARG : 1;
    if (!gsi_host_is_numeric(h->name, h->netns))
        return 0;
    bool inet6 = strchr(h->name, ':');
    if (h->family != 0 && h->family != (inet6 ? AF_INET6 : AF_INET))
        return gsi_fail(GS_ENXDOMAIN, "%s is not an address of the family that was asked for (%s)", h->name,
                        h->family == AF_INET ? "inet" : "inet6");
    if (inet6) {
        int e = gs_addr_ip(out, h->name, h->port);
        return e < 0 ? e : 1;
    }
    /* inet_aton's forms, "127.1", as inet:getaddr/2 takes them */
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(h->port)};
    if (!inet_aton(h->name, &in.sin_addr))
        return 0;
    int e = gs_addr_make(out, (const struct sockaddr *)&in, sizeof in);
    return e < 0 ? e : 1;
}

/* *out: the look-up of this host, or a code. */
static int lookup_of(const struct gsi_host *h, struct gsi_lookup **out)
{
    if (h->family != 0 && h->family != AF_INET && h->family != AF_INET6)
        return gsi_fail(-EAFNOSUPPORT, "names have addresses of inet and inet6, not of family %d", h->family);
    bool any = h->name[0] == '\0';
    int e = any ? 0 : gsi_host_check(h->name);
    if (e < 0)
        return e;
    struct addrinfo hints = {.ai_family = h->family, .ai_socktype = SOCK_STREAM, .ai_flags = any ? AI_PASSIVE : 0};
    if (any && h->family == 0)
        hints.ai_family = AF_INET;
    *out = gsi_lookup_new(any ? NULL : h->name, any ? "0" : NULL, &hints, h->netns);
    return *out ? 0 : -ENOMEM;
}

int gsi_resolve(const struct gsi_host *h, uint64_t deadline_ns, gs_addr *out, size_t cap)
{
    if (cap == 0)
        return GS_EBADARG;
    struct gsi_lookup *l = NULL;
    int e = gsi_resolve_numeric(h, out);
    if (e == 0)
        e = lookup_of(h, &l);
    else
        return e;
    if (e < 0)
        return e;
    e = gsi_pool_call(&l->job, deadline_ns);
    if (e < 0)
        return e == GS_ETIMEOUT ? gsi_lookup_late(h->name) : e;
    int n = l->result;
    if (n < 0)
        gsi_fail(n, "%s", l->detail);
    else if ((size_t)n > cap)
        n = (int)cap;
    for (int i = 0; i < n; i++) {
        out[i] = l->list[i].addr;
        gs_addr_set_port(&out[i], h->port);
    }
    l->job.destroy(&l->job);
    return n;
}

/* A numeric address is answered here too, so that a caller has one path. */
static void run_started(struct gsi_job *job)
{
    struct gsi_lookup *l = (struct gsi_lookup *)job;
    gsi_lookup_run(job);
    for (int i = 0; i < l->result; i++)
        gs_addr_set_port(&l->list[i].addr, l->port);
}

static void call_done(struct gsi_job *job)
{
    struct gsi_lookup *l = (struct gsi_lookup *)job;
    gs_addr addrs[GS_ADDRINFO_MAX];
    if (job->aborted)
        l->result = gsi_fail(GS_EABORTED, "the resolver is being stopped");
    else if (l->result < 0)
        gsi_fail(l->result, "%s", l->detail);
    for (int i = 0; i < l->result; i++)
        addrs[i] = l->list[i].addr;
    l->done(l->arg, l->result, l->result > 0 ? addrs : NULL);
}

int gsi_resolve_start(const struct gsi_host *h, gsi_resolved_fn *done, void *arg, uint64_t *request)
{
    struct gsi_lookup *l = NULL;
    int e = lookup_of(h, &l);
    if (e < 0)
        return e;
    l->job.run = run_started;
    l->job.done = call_done;
    l->done = done;
    l->arg = arg;
    l->port = h->port;
    return gsi_pool_start(&l->job, request);
}

bool gsi_resolve_cancel(uint64_t request) { return gsi_pool_cancel(request); }

int gsi_resolver_stop(uint64_t deadline_ns) { return gsi_pool_stop(deadline_ns); }

unsigned gsi_resolver_threads(void) { return gsi_pool_threads(); }
