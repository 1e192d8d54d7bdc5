/* names.c: Erlang's net:gethostname/0, getaddrinfo/2 and getnameinfo/2 (gensock/net.h), on top of lookup.c and pool.c. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "net/lookup.h"
#include "net/pool.h"

enum { SERVICE_MAX = 63, HOSTNAME_ROOM = 256 };

int gs_gethostname(char *buf, size_t cap)
{
    if (!buf || cap == 0)
        return GS_EBADARG;
    char name[HOSTNAME_ROOM] = "";
    buf[0] = '\0';
    if (gsi_sys.gethostname(name, sizeof name - 1) < 0)
        return gsi_errno();
    size_t n = strlen(name);
    if (n >= cap)
        return gsi_fail(-ENAMETOOLONG, "this machine's name has %zu characters", n);
    memcpy(buf, name, n + 1);
    return (int)n;
}

static bool timeout_ok(int timeout_ms) { return timeout_ms >= 0 || timeout_ms == GS_INFINITY; }

/* Whether a service is a number, in *number; GS_EFORMAT: neither that nor a name. */
static int check_service(const char *service, bool *number)
{
    size_t n = strlen(service), digits = strspn(service, "0123456789");
    if (n == 0 || n > SERVICE_MAX)
        return gsi_fail(GS_EFORMAT, "a service is a port's number or a name of 1 to %d characters", SERVICE_MAX);
    for (size_t i = 0; i < n; i++)
        if (service[i] <= 0x20 || service[i] >= 0x7f)
            return gsi_addr_bad(service, "a service's name is printable ASCII without blanks");
    *number = digits == n;
    if (*number && gsi_port_parse(service, n) < 0)
        return gsi_addr_bad(service, "a port is a number from 0 to 65535");
    return 0;
}

int gs_getaddrinfo(const char *host, const char *service, const gs_hints *hints, int timeout_ms, gs_addrinfo **out)
{
    static const gs_hints anything;
    if (!out)
        return GS_EBADARG;
    *out = NULL;
    if ((!host && !service) || !timeout_ok(timeout_ms))
        return GS_EBADARG;
    if (!hints)
        hints = &anything;
    bool host_number = !host || gsi_host_is_numeric(host, hints->netns), service_number = true;
    int e = host ? gsi_host_check(host) : 0;
    if (e == 0 && service)
        e = check_service(service, &service_number);
    if (e < 0)
        return e;
    struct addrinfo wish = {.ai_family = hints->family, .ai_socktype = hints->type, .ai_protocol = hints->protocol,
                            .ai_flags = hints->passive ? AI_PASSIVE : 0};
    bool at_once = host_number && service_number;
    if (at_once)
        wish.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    struct gsi_lookup *l = gsi_lookup_new(host, service, &wish, at_once ? NULL : hints->netns);
    if (!l)
        return -ENOMEM;
    if (at_once)
        l->job.run(&l->job);
    else if ((e = gsi_pool_call(&l->job, gsi_deadline(timeout_ms))) < 0)
        return e == GS_ETIMEOUT ? gsi_lookup_late(host ? host : service) : e;
    int n = l->result;
    if (n < 0)
        gsi_fail(n, "%s", l->detail);
    *out = l->list;
    l->list = NULL;
    l->job.destroy(&l->job);
    return n;
}

void gs_addrinfo_free(gs_addrinfo *list) { gsi_free(list); }

/* One getnameinfo(3) as a job: who holds it may touch it, as in lookup.h. */
struct naming {
    struct gsi_job job;
    gs_addr addr;
    int flags;
    int result;
    char detail[GSI_DETAIL_MAX];
    gs_nameinfo info;
};

static void naming_run(struct gsi_job *job)
{
    struct naming *n = (struct naming *)job;
    errno = 0;
    int eai = gsi_sys.getnameinfo((const struct sockaddr *)&n->addr.sa, n->addr.len, n->info.host, sizeof n->info.host,
                                  n->info.service, sizeof n->info.service, n->flags);
    int system = errno;
    if (eai == 0)
        return;
    char what[GS_ADDR_TEXT_MAX];
    gs_addr_text(&n->addr, what, sizeof what);
    n->result = gsi_eai_fail(eai, system, what);
    snprintf(n->detail, sizeof n->detail, "%s", gs_error_detail(n->result));
}

static void naming_destroy(struct gsi_job *job) { gsi_free(job); }

int gs_getnameinfo(const gs_addr *a, int flags, int timeout_ms, gs_nameinfo *out)
{
    if (!out)
        return GS_EBADARG;
    *out = (gs_nameinfo){0};
    int family = gs_addr_family(a);
    if (family < 0 || !timeout_ok(timeout_ms))
        return GS_EBADARG;
    if (family != AF_INET && family != AF_INET6)
        return gsi_fail(-EAFNOSUPPORT, "only addresses of inet and inet6 have names");
    struct naming *n = gsi_zalloc(sizeof *n);
    if (!n)
        return -ENOMEM;
    n->job = (struct gsi_job){.run = naming_run, .destroy = naming_destroy};
    n->addr = *a;
    n->flags = flags;
    if ((flags & NI_NUMERICHOST) && (flags & NI_NUMERICSERV)) {
        naming_run(&n->job);
    } else {
        int e = gsi_pool_call(&n->job, gsi_deadline(timeout_ms));
        if (e < 0) {
            char what[GS_ADDR_TEXT_MAX];
            gs_addr_text(a, what, sizeof what);
            return e == GS_ETIMEOUT ? gsi_lookup_late(what) : e;
        }
    }
    int e = n->result;
    if (e < 0)
        gsi_fail(e, "%s", n->detail);
    else
        *out = n->info;
    n->job.destroy(&n->job);
    return e;
}
