/* supports.c: what this system has: families, message flags, protocols, options, control messages. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

#include "base/seam.h"
#include "net/netns.h"
#include "socket/socket.h"

/* One that the kernel is asked for: a socket of this kind can be made. seen: 0 not asked, 1 no, 2 yes. */
struct probe {
    const char *name;
    int domain, type, protocol;
    _Atomic int seen;
};

static struct probe features[] = {
    {.name = "ipv6", .domain = AF_INET6, .type = SOCK_DGRAM},
    {.name = "local", .domain = AF_UNIX, .type = SOCK_STREAM},
    {.name = "sctp", .domain = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_SCTP},
    {.name = "netns"},
    {.name = "sendfile", .seen = 2},
};

static struct probe protocols[] = {
    {.name = "ip", .seen = 2}, {.name = "ipv6", .domain = AF_INET6, .type = SOCK_DGRAM},
    {.name = "icmp", .seen = 2}, {.name = "igmp", .seen = 2}, {.name = "raw", .seen = 2},
    {.name = "ipv6-icmp", .domain = AF_INET6, .type = SOCK_DGRAM},
    {.name = "tcp", .domain = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_TCP},
    {.name = "udp", .domain = AF_INET, .type = SOCK_DGRAM, .protocol = IPPROTO_UDP},
    {.name = "udplite", .domain = AF_INET, .type = SOCK_DGRAM, .protocol = IPPROTO_UDPLITE},
    {.name = "dccp", .domain = AF_INET, .type = SOCK_DCCP, .protocol = IPPROTO_DCCP},
    {.name = "sctp", .domain = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_SCTP},
    {.name = "mptcp", .domain = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_MPTCP},
};

/* Erlang's words; 0: not of Linux. */
static const struct {
    const char *name;
    int flag;
} flags[] = {
    {"cmsg_cloexec", MSG_CMSG_CLOEXEC}, {"confirm", MSG_CONFIRM}, {"ctrunc", MSG_CTRUNC}, {"dontroute", MSG_DONTROUTE},
    {"eof", 0}, {"eor", MSG_EOR}, {"errqueue", MSG_ERRQUEUE}, {"more", MSG_MORE}, {"nosignal", MSG_NOSIGNAL},
    {"oob", MSG_OOB}, {"peek", MSG_PEEK}, {"trunc", MSG_TRUNC}, {"waitall", MSG_WAITALL},
};

static bool ask(struct probe *p)
{
    int seen = atomic_load_explicit(&p->seen, memory_order_relaxed);
    if (seen)
        return seen == 2;
    bool yes;
    if (!p->domain) { /* network namespaces: where the process's own is named */
        int fd = gsi_sys.open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        yes = fd >= 0;
        if (yes)
            gsi_sys.close(fd);
    } else {
        int fd = gsi_net_socket(NULL, p->domain, p->type, p->protocol);
        yes = fd >= 0;
        if (yes)
            gsi_sys.close(fd);
        else if (fd != -EPROTONOSUPPORT && fd != -EAFNOSUPPORT && fd != -ESOCKTNOSUPPORT)
            return false; /* no descriptor just now: no answer to remember */
    }
    atomic_store_explicit(&p->seen, yes ? 2 : 1, memory_order_relaxed);
    return yes;
}

static size_t give(gs_support *out, size_t cap, size_t at, const char *name, bool supported)
{
    if (out && at < cap)
        out[at] = (gs_support){name, supported};
    return at + 1;
}

static bool has_option(const struct gsi_sockopt *o) { return o->number >= 0; }

size_t gs_supports(const char *what, gs_support *out, size_t cap)
{
    size_t n = 0;
    if (!what || !strcmp(what, "protocols")) {
        struct probe *p = what ? protocols : features;
        size_t count = what ? sizeof protocols / sizeof *p : sizeof features / sizeof *p;
        while (n < count)
            n = give(out, cap, n, p[n].name, n < cap && ask(&p[n]));
    } else if (!strcmp(what, "msg_flags")) {
        while (n < sizeof flags / sizeof *flags)
            n = give(out, cap, n, flags[n].name, flags[n].flag != 0);
    } else if (!strcmp(what, "options")) {
        while (n < gsi_sockopts_n)
            n = give(out, cap, n, gsi_sockopts[n].name, has_option(&gsi_sockopts[n]));
    } else if (!strcmp(what, "cmsgs")) {
        while (n < gsi_cmsg_types_n)
            n = give(out, cap, n, gsi_cmsg_types[n].name, true);
    }
    return n;
}

bool gs_is_supported(const char *what, const char *name)
{
    enum { MOST = 256 };
    gs_support all[MOST];
    if (!what)
        return false;
    if (name && !strcmp(what, "options")) {
        const struct gsi_sockopt *o = gsi_sockopt_find(name);
        return o && has_option(o);
    }
    struct probe *p = name ? protocols : features;
    if (!name || !strcmp(what, "protocols")) {
        size_t count = name ? sizeof protocols / sizeof *p : sizeof features / sizeof *p;
        for (size_t i = 0; i < count; i++)
            if (!strcmp(p[i].name, name ? name : what))
                return ask(&p[i]);
        return false;
    }
    size_t n = gs_supports(what, all, MOST);
    for (size_t i = 0; i < n && i < MOST; i++)
        if (!strcmp(all[i].name, name))
            return all[i].supported;
    return false;
}
