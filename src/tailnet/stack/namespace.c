/* namespace.c: namespace.h on Linux. The helper opens what must be opened inside; all else is done from here on what it
 * opened, since who made the user namespace has every right in it. */
#include "tailnet/stack/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "tailnet/stack/helper.h"
#include "tailnet/stack/netlink.h"
#include "tailnet/stack/program.h"

#define TUN_PATH "/dev/net/tun"
#define TUN_NAME "tailnet0"
#define CUBIC "cubic"

enum { LO_INDEX = 1 /* in every namespace */ };

struct namespace {
    struct helper *helper;
    int tun, netlink, fd;
    int index;
    unsigned offloads;
    struct programs *programs;
    pthread_mutex_t lock; /* of mapped */
    bool mapped;          /* the user namespace knows this user */
    bool cubic_by_socket; /* the host lets new namespaces have others only */
};

_Static_assert((int)NAMESPACE_APART == (int)HELPER_APART && (int)NAMESPACE_AUTO == (int)HELPER_AUTO, "one list of ways");

/* ---- settings ---- */

/* A new namespace takes most of its settings from the host. Best effort: without /proc the network works as well. */
static const struct {
    const char *name, *value;
} settings[] = {
    {"ipv4/tcp_syncookies", "0"},     /* a cookie keeps no SYN: the connection would have no identity */
    {"ipv4/tcp_orphan_retries", "1"}, /* what is left behind does not hold the namespace for minutes */
    {"ipv4/ip_unprivileged_port_start", "0"},
    {"ipv4/ip_forward", "0"},
    {"ipv4/conf/all/rp_filter", "0"}, /* the node checks sources by their key */
    {"ipv4/conf/default/rp_filter", "0"},
    {"ipv4/conf/all/accept_redirects", "0"},
    {"ipv4/conf/default/accept_redirects", "0"},
    {"ipv4/conf/all/accept_source_route", "0"},
    {"ipv6/conf/all/forwarding", "0"},
    {"ipv6/conf/default/addr_gen_mode", "1"}, /* no link-local address */
    {"ipv6/conf/default/router_solicitations", "0"},
    {"ipv6/conf/default/accept_ra", "0"},
    {"ipv6/conf/default/accept_redirects", "0"},
};

int gsi_namespace_sysctl(struct namespace *ns, const char *name, const char *value)
{
    char path[HELPER_PATH + 1];
    if ((size_t)snprintf(path, sizeof path, "/proc/sys/net/%s", name) >= sizeof path)
        return -ENAMETOOLONG;
    int fd = gsi_helper_open(ns->helper, path, O_WRONLY);
    if (fd < 0)
        return fd;
    ssize_t n = write(fd, value, strlen(value));
    int e = n < 0 ? -errno : 0;
    close(fd);
    return e;
}

static void apply_settings(struct namespace *ns)
{
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (gsi_namespace_sysctl(ns, settings[i].name, settings[i].value) < 0)
            continue;
    /* bbr, if the host has that, halves the rate. A congestion control outside tcp_allowed_congestion_control is set socket by
     * socket. */
    ns->cubic_by_socket = gsi_namespace_sysctl(ns, "ipv4/tcp_congestion_control", CUBIC) < 0;
}

/* ---- the TUN ---- */

static int tun_failed(int e)
{
    switch (e) {
    case -ENOENT:
    case -ENXIO:
    case -ENODEV:
        return gs_fail(e, "open " TUN_PATH ": this machine has no TUN device: `modprobe tun`, then `mkdir -p /dev/net; "
                          "mknod -m 0666 " TUN_PATH " c 10 200`; in a container `--device " TUN_PATH "`");
    case -EACCES:
        return gs_fail(e, "open " TUN_PATH ": this user may not: `chmod 0666 " TUN_PATH "` (it gives nobody a right in "
                          "the host's network), or run as root");
    case -EPERM:
        return gs_fail(e, "open " TUN_PATH ": a device cgroup forbids it: start the container with `--device " TUN_PATH "`");
    default:
        return gs_fail(e, "open " TUN_PATH ": %s", gs_error_text(e));
    }
}

static int attach_failed(int e)
{
    if (e == -EPERM)
        return gs_fail(e, "ioctl TUNSETIFF: may not make a TUN device inside the namespace: a security module (AppArmor: "
                          "kernel.apparmor_restrict_unprivileged_userns=1) takes the rights away; give the program a profile "
                          "with `userns,`");
    return gs_fail(e, "ioctl TUNSETIFF: no TUN device inside the namespace: %s", gs_error_text(e));
}

/* The most that the kernel grants. */
static void ask_offloads(struct namespace *ns)
{
    static const unsigned tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    const unsigned wishes[] = {tso | TUN_F_TSO_ECN, tso, TUN_F_CSUM};
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++)
        if (ioctl(ns->tun, TUNSETOFFLOAD, (unsigned long)wishes[i]) == 0) {
            ns->offloads = wishes[i];
            return;
        }
}

static int open_tun(struct namespace *ns)
{
    struct ifreq r = {.ifr_name = TUN_NAME, .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    ns->tun = gsi_helper_open(ns->helper, TUN_PATH, O_RDWR | O_NONBLOCK);
    if (ns->tun < 0)
        return tun_failed(ns->tun);
    if (ioctl(ns->tun, TUNSETIFF, &r) < 0)
        return attach_failed(-errno);
    ask_offloads(ns);
    return 0;
}

/* ---- links ---- */

static int open_links(struct namespace *ns, uint32_t mtu)
{
    struct ifreq r = {.ifr_name = TUN_NAME};
    ns->netlink = gsi_helper_socket(ns->helper, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (ns->netlink < 0)
        return gs_fail(ns->netlink, "rtnetlink socket inside the namespace: %s", gs_error_text(ns->netlink));
    ns->fd = ioctl(ns->netlink, SIOCGSKNS);
    if (ns->fd < 0) {
        int e = -errno;
        return gs_fail(e, "ioctl SIOCGSKNS, the namespace's descriptor: %s", gs_error_text(e));
    }
    if (ioctl(ns->netlink, SIOCGIFINDEX, &r) < 0) {
        int e = -errno;
        return gs_fail(e, "ioctl SIOCGIFINDEX of " TUN_NAME ": %s", gs_error_text(e));
    }
    ns->index = r.ifr_ifindex;
    int e = gsi_netlink_up(ns->netlink, LO_INDEX, 0, 0);
    if (e < 0)
        return gs_fail(e, "lo up inside the namespace: %s", gs_error_text(e));
    e = gsi_netlink_up(ns->netlink, ns->index, mtu, NAMESPACE_QUEUE);
    return e < 0 ? gs_fail(e, TUN_NAME " up with an MTU of %u: %s", (unsigned)mtu, gs_error_text(e)) : 0;
}

static int changed(int e, const char *what, const struct prefix *p, bool present)
{
    char text[ENDPOINT_TEXT];
    if (e == 0)
        return 0;
    const char *hint = gsi_ip_is_v4(&p->ip) ? "" : "; IPv6 may be off on this machine (kernel parameter ipv6.disable)";
    return gs_fail(e, "%s %s cannot be %s in the namespace: %s%s", what, gsi_ip_text(&p->ip, text), present ? "set" : "removed",
                   gs_error_text(e), hint);
}

int gsi_namespace_address(struct namespace *ns, const struct prefix *address, bool present)
{
    return changed(gsi_netlink_address(ns->netlink, ns->index, address, present), "address", address, present);
}

int gsi_namespace_route(struct namespace *ns, const struct prefix *to, bool present)
{
    return changed(gsi_netlink_route(ns->netlink, ns->index, to, present), "route to", to, present);
}

int gsi_namespace_local(struct namespace *ns, const struct ip *ip, bool present)
{
    struct prefix p = {*ip, PREFIX_BITS};
    return changed(gsi_netlink_address(ns->netlink, LO_INDEX, &p, present), "address", &p, present);
}

/* ---- open, close, sockets ---- */

int gsi_namespace_open(struct namespace **out, const struct namespace_options *o)
{
    struct namespace *ns = OPENSSL_zalloc(sizeof *ns);
    if (!ns)
        return gs_fail(-ENOMEM, "no memory for a network namespace");
    ns->tun = ns->netlink = ns->fd = -1;
    pthread_mutex_init(&ns->lock, NULL);
    ns->programs = gsi_programs_new();
    int e = !ns->programs ? gs_fail(-ENOMEM, "no memory for a network namespace") : 0;
    if (e == 0)
        e = gsi_helper_start(&ns->helper, (enum helper_way)o->way);
    if (e == 0) {
        apply_settings(ns);
        e = open_tun(ns);
    }
    if (e == 0)
        e = open_links(ns, o->mtu ? o->mtu : NAMESPACE_MTU);
    if (e == 0)
        *out = ns;
    else
        gsi_namespace_close(ns);
    return e;
}

static void close_if(int fd)
{
    if (fd >= 0)
        close(fd);
}

void gsi_namespace_close(struct namespace *ns)
{
    if (!ns)
        return;
    gsi_programs_free(ns->programs);
    close_if(ns->tun);
    close_if(ns->netlink);
    close_if(ns->fd);
    gsi_helper_stop(ns->helper);
    pthread_mutex_destroy(&ns->lock);
    OPENSSL_free(ns);
}

enum namespace_way gsi_namespace_way(const struct namespace *ns) { return (enum namespace_way)gsi_helper_way(ns->helper); }
int gsi_namespace_tun(const struct namespace *ns) { return ns->tun; }
int gsi_namespace_fd(const struct namespace *ns) { return ns->fd; }
unsigned gsi_namespace_offloads(const struct namespace *ns) { return ns->offloads; }

static bool is_tcp(int domain, int type, int protocol)
{
    bool stream = (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP);
    return stream && (domain == AF_INET || domain == AF_INET6);
}

int gsi_namespace_socket(struct namespace *ns, int domain, int type, int protocol)
{
    int fd = gsi_helper_socket(ns->helper, domain, type, protocol);
    if (fd >= 0) {
        if (ns->cubic_by_socket && is_tcp(domain, type, protocol))
            (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, CUBIC, sizeof CUBIC - 1);
        return fd;
    }
    if (fd == -EPIPE)
        return gs_fail(fd, "the helper inside the tailnet's network was killed: stop the node and start it again");
    if (fd == -ECHILD)
        return gs_fail(fd, "this process was forked from the one that has the tailnet's network: after fork only exec is "
                           "possible");
    return gs_fail(fd, "socket(%d, %d, %d) inside the tailnet's network: %s", domain, type, protocol, gs_error_text(fd));
}

/* ---- programs ---- */

static int write_inside(struct namespace *ns, const char *path, const char *text)
{
    int fd = gsi_helper_open(ns->helper, path, O_WRONLY);
    if (fd < 0)
        return fd;
    int e = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return e;
}

/* Who has not its own user among those of the user namespace can own no file there, nor make one. */
static int map_user(struct namespace *ns)
{
    char user[40], group[40];
    snprintf(user, sizeof user, "%u %u 1\n", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(group, sizeof group, "%u %u 1\n", (unsigned)getegid(), (unsigned)getegid());
    int e = write_inside(ns, "/proc/thread-self/uid_map", user);
    if (e == 0)
        e = write_inside(ns, "/proc/thread-self/setgroups", "deny"); /* without which the kernel takes no groups */
    if (e == 0)
        e = write_inside(ns, "/proc/thread-self/gid_map", group);
    if (e == -EACCES)
        return gs_fail(e, "/proc/thread-self/uid_map: this process changed its user since its exec and is not dumpable: "
                          "prctl(PR_SET_DUMPABLE, 1) before the node starts, or run the program as that user from the start");
    return e == 0 ? 0 : gs_fail(e, "the user cannot be mapped into the tailnet's user namespace: %s", gs_error_text(e));
}

int gsi_namespace_spawn(struct namespace *ns, const struct namespace_program *program, pid_t *out)
{
    int user = -1, e = 0;
    if (gsi_namespace_way(ns) != NAMESPACE_THREAD) {
        pthread_mutex_lock(&ns->lock);
        if (!ns->mapped)
            e = map_user(ns);
        ns->mapped = e == 0;
        pthread_mutex_unlock(&ns->lock);
        if (e < 0)
            return e;
        user = ioctl(ns->fd, NS_GET_USERNS);
        if (user < 0) {
            e = -errno;
            return gs_fail(e, "ioctl NS_GET_USERNS: %s", gs_error_text(e));
        }
    }
    e = gsi_programs_spawn(ns->programs, user, ns->fd, program, out);
    close_if(user);
    return e;
}
