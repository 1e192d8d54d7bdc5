/* lookup.c: one getaddrinfo(3) (lookup.h): the question copied, the C library asked, its list and its errors made ours. */
#include "net/lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "net/netns.h"

static void destroy(struct gsi_job *job)
{
    struct gsi_lookup *l = (struct gsi_lookup *)job;
    gsi_free(l->list);
    gsi_free(l);
}

/* Appends s with its NUL, answers where, or NULL for NULL. */
static const char *keep(char **at, const char *s)
{
    if (!s)
        return NULL;
    char *here = *at;
    size_t n = strlen(s) + 1;
    memcpy(here, s, n);
    *at += n;
    return here;
}

struct gsi_lookup *gsi_lookup_new(const char *host, const char *service, const struct addrinfo *hints, const char *netns)
{
    size_t n = (host ? strlen(host) + 1 : 0) + (service ? strlen(service) + 1 : 0) + (netns ? strlen(netns) + 1 : 0);
    struct gsi_lookup *l = gsi_zalloc(sizeof *l + n);
    if (!l)
        return NULL;
    char *at = l->text;
    l->job = (struct gsi_job){.run = gsi_lookup_run, .destroy = destroy};
    l->hints = *hints;
    l->host = keep(&at, host);
    l->service = keep(&at, service);
    l->netns = keep(&at, netns);
    return l;
}

int gsi_eai_fail(int eai, int system, const char *what)
{
    switch (eai) {
    case EAI_NONAME:
    case EAI_NODATA:
        return gsi_fail(GS_ENXDOMAIN, "%s: no such name on this network", what);
    case EAI_ADDRFAMILY:
        return gsi_fail(GS_ENXDOMAIN, "%s has no address of the family that was asked for", what);
    case EAI_AGAIN:
        return gsi_fail(-EAGAIN, "%s: the name server gave no answer for now; try again, or see /etc/resolv.conf", what);
    case EAI_FAIL:
        return gsi_fail(-EIO, "%s: the name server refused or failed", what);
    case EAI_SERVICE:
        return gsi_fail(GS_EFORMAT, "%s: no such service for this kind of socket (see /etc/services, or give a number)", what);
    case EAI_FAMILY:
        return gsi_fail(-EAFNOSUPPORT, "%s: this address family has no names", what);
    case EAI_SOCKTYPE:
        return gsi_fail(-ESOCKTNOSUPPORT, "%s: no such type and protocol together", what);
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return gsi_fail(system != 0 ? -system : -EIO, "%s: %s", what, gs_error_text(-system));
    case EAI_BADFLAGS:
        return gsi_fail(-EINVAL, "%s: the C library does not know these flags", what);
    case EAI_OVERFLOW:
        return gsi_fail(-EOVERFLOW, "%s: the name is too long", what);
    default:
        return gsi_fail(-EIO, "%s: %s", what, gai_strerror(eai));
    }
}

int gsi_lookup_late(const char *what)
{
    return gsi_fail(GS_ETIMEOUT, "%s: no answer within the time given; is the name server of /etc/resolv.conf reachable?", what);
}

/* The list as one array; unknown families and what is over the maximum are left out. */
static int convert(const struct addrinfo *from, gs_addrinfo **out)
{
    size_t n = 0, at = 0;
    for (const struct addrinfo *i = from; i; i = i->ai_next)
        n++;
    if (n > GS_ADDRINFO_MAX)
        n = GS_ADDRINFO_MAX;
    gs_addrinfo *list = gsi_alloc(n * sizeof *list);
    if (!list)
        return -ENOMEM;
    for (const struct addrinfo *i = from; i && at < n; i = i->ai_next) {
        gs_addrinfo *to = &list[at];
        *to = (gs_addrinfo){.family = i->ai_family, .type = i->ai_socktype, .protocol = i->ai_protocol};
        if (i->ai_addr && gs_addr_make(&to->addr, i->ai_addr, i->ai_addrlen) == 0)
            at++;
    }
    if (at == 0) {
        gsi_free(list);
        return gsi_eai_fail(EAI_NODATA, 0, "the name");
    }
    *out = list;
    return (int)at;
}

/* On whichever thread it is to run. */
static void ask(void *arg)
{
    struct gsi_lookup *l = arg;
    struct addrinfo *found = NULL;
    errno = 0;
    int eai = gsi_sys.getaddrinfo(l->host, l->service, &l->hints, &found);
    int system = errno;
    if (eai != 0) {
        l->result = gsi_eai_fail(eai, system, l->host ? l->host : l->service);
    } else {
        l->result = found ? convert(found, &l->list) : gsi_eai_fail(EAI_NODATA, 0, l->host ? l->host : l->service);
        if (found)
            freeaddrinfo(found);
    }
    if (l->result < 0)
        snprintf(l->detail, sizeof l->detail, "%s", gs_error_detail(l->result));
}

void gsi_lookup_run(struct gsi_job *job)
{
    struct gsi_lookup *l = (struct gsi_lookup *)job;
    int e = 0;
    if (l->netns)
        e = gsi_netns_run(l->netns, ask, l);
    else
        ask(l);
    if (e < 0) {
        l->result = e;
        snprintf(l->detail, sizeof l->detail, "%s", gs_error_detail(e));
    }
}

bool gsi_host_is_numeric(const char *host, const char *netns)
{
    struct in_addr unused4;
    struct in6_addr unused6;
    if (!strchr(host, ':'))
        return host[0] != '\0' && host[strspn(host, "0123456789abcdefABCDEFxX.")] == '\0' && inet_aton(host, &unused4);
    char digits[INET6_ADDRSTRLEN];
    size_t n = strcspn(host, "%");
    if (n >= sizeof digits)
        return false;
    memcpy(digits, host, n);
    digits[n] = '\0';
    const char *scope = host[n] == '%' ? host + n + 1 : NULL;
    if (scope && netns && scope[strspn(scope, "0123456789")] != '\0')
        return false;
    return inet_pton(AF_INET6, digits, &unused6) == 1;
}
