/* options_kernel.c: the options that a kernel socket has (class KERNEL of option_table.h), and the local address that ip,
 * ifaddr and port say together. Called by the transports over kernel sockets and by imports of descriptors.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "transport/kernel.h"

/* Control messages of one packet: three small ones at most (IP_PKTINFO, IP_TTL, IP_TOS and their IPv6 kin). */
enum { PKTOPTIONS_MAX = 1024 };

#ifndef IPV6_2292PKTOPTIONS
#define IPV6_2292PKTOPTIONS 6 /* linux/in6.h */
#endif

static int set(int fd, int level, int number, const void *p, size_t n)
{
    return gsi_sys.setsockopt(fd, level, number, p, (socklen_t)n) < 0 ? gsi_errno() : 0;
}

static int get(int fd, int level, int number, void *p, size_t *n)
{
    socklen_t len = (socklen_t)*n;
    int e = gsi_sys.getsockopt(fd, level, number, p, &len) < 0 ? gsi_errno() : 0;
    *n = len;
    return e;
}

static int get_int(int fd, int level, int number, int *value)
{
    size_t n = sizeof *value;
    *value = 0;
    int e = get(fd, level, number, value, &n);
    return e;
}

/* Linux derives the priority from the type of service; here each option is what it was set to (as inet_drv has it). */
static int set_keeping_priority(int fd, const struct gsi_opt_row *row, int value)
{
    int before, after;
    int e = get_int(fd, SOL_SOCKET, SO_PRIORITY, &before);
    if (e == 0)
        e = set(fd, row->level, row->number, &value, sizeof value);
    if (e == 0)
        e = get_int(fd, SOL_SOCKET, SO_PRIORITY, &after);
    if (e == 0 && after != before)
        e = set(fd, SOL_SOCKET, SO_PRIORITY, &before, sizeof before);
    return e;
}

static int set_row(int fd, const struct gsi_opt_row *row, const gs_opt *o)
{
    int value = (int)o->v.i;
    switch (row->name) {
    case GS_OPT_RAW:
        return set(fd, o->v.raw.level, o->v.raw.number, o->v.raw.p, o->v.raw.n);
    case GS_OPT_BIND_TO_DEVICE:
        return set(fd, row->level, row->number, o->v.s, strlen(o->v.s));
    case GS_OPT_TOS:
    case GS_OPT_TCLASS:
        return set_keeping_priority(fd, row, value);
    case GS_OPT_PKTOPTIONS:
        return gsi_fail(-EINVAL, "option pktoptions can only be asked for");
    default:
        return set(fd, row->level, row->number, &value, sizeof value);
    }
}

/* The kernel's word for "not in this family" is one of three. */
static int told(int e, const struct gsi_opt_row *row, const char *what)
{
    if (e == -ENOPROTOOPT || e == -EOPNOTSUPP || e == -ENOTSUP)
        return gsi_fail(-ENOTSUP, "option %s: sockets of this family do not have it", row->erlang);
    if (e == -EPERM)
        return gsi_fail(e, "option %s: this value takes a privilege (CAP_NET_ADMIN or CAP_NET_RAW)", row->erlang);
    if (e == -ENODEV && row->name == GS_OPT_BIND_TO_DEVICE)
        return gsi_fail(e, "option %s: no such interface in this socket's network", row->erlang);
    return e < 0 ? gsi_fail(e, "option %s cannot be %s: %s", row->erlang, what, gs_error_text(e)) : 0;
}

static const struct gsi_opt_row *kernel_row(const gs_opt *o)
{
    const struct gsi_opt_row *row = gsi_opt_row(o->name);
    return row && row->class == GSI_KERNEL_OPT ? row : NULL;
}

int gsi_kernel_setopt(int fd, const gs_opt *o)
{
    const struct gsi_opt_row *row = kernel_row(o);
    if (!row)
        return gsi_fail(-ENOTSUP, "option %d is none of a kernel socket", o->name);
    int e = gsi_opt_check_value(row, o);
    return e < 0 ? e : told(set_row(fd, row, o), row, "set");
}

static int get_pktoptions(int fd, gs_opt *o)
{
    uint8_t control[PKTOPTIONS_MAX];
    size_t n = sizeof control;
    int domain;
    int e = get_int(fd, SOL_SOCKET, SO_DOMAIN, &domain);
    if (e < 0)
        return e;
    if (domain == AF_INET)
        e = get(fd, IPPROTO_IP, IP_PKTOPTIONS, control, &n);
    else
        e = domain == AF_INET6 ? get(fd, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, control, &n) : -ENOTSUP;
    if (e < 0)
        return e;
    if (n > o->v.bin.n)
        return gsi_fail(-EMSGSIZE, "option pktoptions: %zu bytes, room for %zu; %d are always enough", n, o->v.bin.n, PKTOPTIONS_MAX);
    if (n > 0)
        memcpy(o->v.bin.p, control, n);
    o->v.bin.n = n;
    return 0;
}

static int get_row(int fd, const struct gsi_opt_row *row, gs_opt *o)
{
    int value;
    switch (row->name) {
    case GS_OPT_RAW:
        return get(fd, o->v.raw.level, o->v.raw.number, o->v.raw.p, &o->v.raw.n);
    case GS_OPT_PKTOPTIONS:
        return get_pktoptions(fd, o);
    case GS_OPT_BIND_TO_DEVICE:
        return gsi_fail(-EINVAL, "option bind_to_device cannot be asked for; raw with level 1, number 25 can");
    default:
        break;
    }
    int e = get_int(fd, row->level, row->number, &value);
    if (e == 0)
        o->v.i = row->type == GSI_BOOL ? value != 0 : value;
    return e;
}

int gsi_kernel_getopt(int fd, gs_opt *o)
{
    const struct gsi_opt_row *row = kernel_row(o);
    if (!row)
        return gsi_fail(-ENOTSUP, "option %d is none of a kernel socket", o->name);
    if (row->type == GSI_RAW || row->type == GSI_BIN) { /* here the value is the caller's room */
        int e = gsi_opt_check_value(row, o);
        if (e < 0)
            return e;
    }
    int e = get_row(fd, row, o);
    return e == -EMSGSIZE || e == -EINVAL ? e : told(e, row, "asked for");
}

int gsi_kernel_apply(int fd, const gs_opt *opts)
{
    int e = 0;
    for (const gs_opt *o = opts; o && o->name != GS_OPT_END && e == 0; o++)
        if (kernel_row(o))
            e = gsi_kernel_setopt(fd, o);
    return e;
}

/* ---- ip, ifaddr, port ---- */

static const char *family_name(int family)
{
    return family == AF_INET ? "inet" : family == AF_INET6 ? "inet6" : family == AF_UNIX ? "local" : "another";
}

/* ip replaces the address alone: the port stays, and of inet6 the flow, and the scope when ip has none. */
static void merge_ip(gs_addr *local, const gs_addr *ip)
{
    int port = gs_addr_port(local);
    gs_addr merged = *ip;
    if (ip->sa.ss_family == AF_INET6) {
        struct sockaddr_in6 from, to;
        memcpy(&from, &local->sa, sizeof from);
        memcpy(&to, &merged.sa, sizeof to);
        to.sin6_flowinfo = from.sin6_flowinfo;
        if (!to.sin6_scope_id)
            to.sin6_scope_id = from.sin6_scope_id;
        memcpy(&merged.sa, &to, sizeof to);
    }
    if (ip->sa.ss_family != AF_UNIX)
        (void)gs_addr_set_port(&merged, (uint16_t)port);
    *local = merged;
}

int gsi_opts_local_over(const gs_opt *opts, gs_addr *local)
{
    int family = local->sa.ss_family, said = 0;
    gs_addr a = *local;
    for (const gs_opt *o = opts; o && o->name != GS_OPT_END; o++) {
        if (o->name != GS_OPT_IP && o->name != GS_OPT_IFADDR && o->name != GS_OPT_PORT)
            continue;
        const struct gsi_opt_row *row = gsi_opt_row(o->name);
        int e = gsi_opt_check_value(row, o);
        if (e < 0)
            return e;
        if (o->name == GS_OPT_PORT) {
            if (family == AF_UNIX && o->v.i)
                return gsi_fail(-EINVAL, "option port: %d, but local addresses have no port: 0", (int)o->v.i);
            if (family != AF_UNIX)
                (void)gs_addr_set_port(&a, (uint16_t)o->v.i);
            said |= family != AF_UNIX;
            continue;
        }
        if (o->v.addr->sa.ss_family != family)
            return gsi_fail(-EINVAL, "option %s: its family is %s, but the socket's is %s", row->erlang,
                            family_name(o->v.addr->sa.ss_family), family_name(family));
        if (o->name == GS_OPT_IP)
            merge_ip(&a, o->v.addr);
        else
            a = *o->v.addr;
        said = 1;
    }
    *local = a;
    return said;
}

int gsi_opts_local(const gs_opt *opts, int family, gs_addr *out)
{
    gs_addr a = {0};
    int e = family == AF_UNIX ? gs_addr_local(&a, NULL, 0) : gs_addr_special(&a, family, GS_ADDR_ANY, 0);
    if (e < 0)
        return gsi_fail(-EINVAL, "family %d has no local address to choose", family);
    e = gsi_opts_local_over(opts, &a);
    if (e > 0)
        *out = a;
    return e;
}
