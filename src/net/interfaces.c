/* interfaces.c: the interfaces of this machine (net:getifaddrs/2, if_names/0, if_name2index/1, if_index2name/1).
 *
 * getifaddrs(3) gives a linked list of the C library's; the caller gets one array of ours. Names and indexes are asked for
 * by ioctl (netdevice(7)), so that every request is visible at the seam.
 */
#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "net/netns.h"

static_assert(sizeof(((gs_ifaddr *)0)->name) == IF_NAMESIZE, "the kernel's names have this size");

/* One ioctl on a socket made for it. 0 or -errno, without a detail. */
static int ask(unsigned long what, struct ifreq *r)
{
    int fd = gsi_sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        /* a kernel without inet still has this one */
        fd = gsi_sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return gsi_errno();
    }
    int e = gsi_sys.ioctl(fd, what, r);
    if (e < 0)
        e = gsi_errno();
    gsi_sys.close(fd);
    return e < 0 ? e : 0;
}

int gsi_if_name(unsigned index, char *name)
{
    struct ifreq r = {.ifr_ifindex = (int)index};
    int e = ask(SIOCGIFNAME, &r);
    if (e == 0) {
        memcpy(name, r.ifr_name, IF_NAMESIZE - 1);
        name[IF_NAMESIZE - 1] = '\0';
    }
    return e == -ENODEV ? -ENXIO : e; /* if_indextoname(3) */
}

static int index_of(const char *name)
{
    struct ifreq r = {0};
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof r.ifr_name)
        return -ENODEV;
    memcpy(r.ifr_name, name, n + 1);
    int e = ask(SIOCGIFINDEX, &r);
    return e < 0 ? e : r.ifr_ifindex;
}

int gs_if_name2index(const char *name)
{
    if (!name)
        return GS_EBADARG;
    int e = index_of(name);
    char quoted[GSI_QUOTE_MAX];
    if (e < 0)
        return gsi_fail(e, "interface %s: %s", gsi_quote(quoted, sizeof quoted, name), gs_error_text(e));
    return e;
}

int gs_if_index2name(unsigned index, char *buf, size_t cap)
{
    if (!buf || cap == 0)
        return GS_EBADARG;
    char name[IF_NAMESIZE];
    buf[0] = '\0';
    int e = gsi_if_name(index, name);
    if (e < 0)
        return gsi_fail(e, "interface %u: %s", index, gs_error_text(e));
    size_t n = strlen(name);
    if (n >= cap)
        return gsi_fail(-ENAMETOOLONG, "the interface's name has %zu characters", n);
    memcpy(buf, name, n + 1);
    return (int)n;
}

/* What getifaddrs is asked and answers; inside a namespace its thread fills in the last two. */
struct query {
    struct ifaddrs *list;
    int error;
};

static void query_run(void *arg)
{
    struct query *q = arg;
    q->error = gsi_sys.getifaddrs(&q->list) < 0 ? gsi_errno() : 0;
}

static bool wanted(const struct ifaddrs *i, int family)
{
    return family == 0 || (i->ifa_addr && i->ifa_addr->sa_family == family);
}

static socklen_t length_of(const struct sockaddr *sa)
{
    switch (sa->sa_family) {
    case AF_INET:
        return sizeof(struct sockaddr_in);
    case AF_INET6:
        return sizeof(struct sockaddr_in6);
    case AF_PACKET:
        return sizeof(struct sockaddr_ll);
    default:
        return 0;
    }
}

static void copy_addr(gs_addr *out, const struct sockaddr *sa)
{
    if (!sa)
        return;
    out->len = length_of(sa);
    memcpy(&out->sa, sa, out->len);
}

static void copy_entry(gs_ifaddr *out, const struct ifaddrs *i)
{
    *out = (gs_ifaddr){.flags = i->ifa_flags};
    strncpy(out->name, i->ifa_name, sizeof out->name - 1);
    copy_addr(&out->addr, i->ifa_addr);
    copy_addr(&out->netmask, i->ifa_netmask);
    if (i->ifa_flags & IFF_BROADCAST)
        copy_addr(&out->broadaddr, i->ifa_broadaddr);
    else if (i->ifa_flags & IFF_POINTOPOINT)
        copy_addr(&out->dstaddr, i->ifa_dstaddr);
}

static int query_failed(int e) { return gsi_fail(e, "the kernel does not list its interfaces: %s", gs_error_text(e)); }

int gs_getifaddrs(int family, const char *netns, gs_ifaddr **out)
{
    if (!out)
        return GS_EBADARG;
    *out = NULL;
    struct query q = {0};
    if (netns) {
        int e = gsi_netns_run(netns, query_run, &q);
        if (e < 0)
            return e;
    } else {
        query_run(&q);
    }
    if (q.error < 0)
        return query_failed(q.error);
    size_t n = 0;
    for (const struct ifaddrs *i = q.list; i; i = i->ifa_next)
        n += wanted(i, family);
    gs_ifaddr *list = n > 0 ? gsi_alloc(n * sizeof *list) : NULL;
    size_t at = 0;
    for (const struct ifaddrs *i = q.list; list && i; i = i->ifa_next)
        if (wanted(i, family))
            copy_entry(&list[at++], i);
    if (q.list)
        freeifaddrs(q.list);
    if (n > 0 && !list)
        return -ENOMEM;
    *out = list;
    return (int)n;
}

void gs_ifaddrs_free(gs_ifaddr *list) { gsi_free(list); }

/* Every interface has one entry of its link: of AF_PACKET, or without address where the link has none (a TUN). */
static unsigned link_index(const struct ifaddrs *i)
{
    struct sockaddr_ll ll;
    if (!i->ifa_addr) {
        int index = index_of(i->ifa_name);
        return index < 0 ? 0 : (unsigned)index; /* it may have gone meanwhile */
    }
    if (i->ifa_addr->sa_family != AF_PACKET)
        return 0;
    memcpy(&ll, i->ifa_addr, sizeof ll);
    return (unsigned)ll.sll_ifindex;
}

static int by_index(const void *a, const void *b)
{
    const gs_if_name *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Fills list, sorted by index, and answers how many; a link that is told twice counts once. */
static size_t collect_links(const struct ifaddrs *from, gs_if_name *list)
{
    size_t n = 0, unique = 0;
    for (const struct ifaddrs *i = from; i; i = i->ifa_next) {
        list[n].index = link_index(i);
        if (list[n].index > 0)
            strncpy(list[n++].name, i->ifa_name, sizeof list->name - 1);
    }
    qsort(list, n, sizeof *list, by_index);
    for (size_t i = 0; i < n; i++)
        if (unique == 0 || list[unique - 1].index != list[i].index)
            list[unique++] = list[i];
    return unique;
}

int gs_if_names(gs_if_name **out)
{
    if (!out)
        return GS_EBADARG;
    *out = NULL;
    struct query q = {0};
    query_run(&q);
    if (q.error < 0)
        return query_failed(q.error);
    size_t n = 0;
    for (const struct ifaddrs *i = q.list; i; i = i->ifa_next)
        n++;
    gs_if_name *list = gsi_zalloc((n + 1) * sizeof *list);
    n = list ? collect_links(q.list, list) : 0;
    if (q.list)
        freeifaddrs(q.list);
    if (!list)
        return -ENOMEM;
    if (n == 0)
        gsi_free(list);
    else
        *out = list;
    return (int)n;
}

void gs_if_names_free(gs_if_name *list) { gsi_free(list); }
