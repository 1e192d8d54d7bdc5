/* namespace.h: a private network namespace with a TUN device, in which the kernel's own TCP/IP works for the tailnet.
 *
 * Without root: nothing outside this process changes, nothing of it is visible to others, and when the process ends, however
 * it ends, all of it is gone. Several may stand side by side.
 *
 *     struct namespace *ns;
 *     if (gsi_namespace_open(&ns, &(struct namespace_options){0}) < 0)
 *         …                                                   // gs_error_detail: step, cause and cure
 *     gsi_namespace_address(ns, &own_address, true);          // 100.64.0.1/32
 *     gsi_namespace_route(ns, &tailnet, true);                // 100.64.0.0/10
 *     int fd = gsi_namespace_socket(ns, AF_INET, SOCK_STREAM, 0);
 *
 * The node moves packets: it reads gsi_namespace_tun (segment.h) and writes it (join.h). A socket from here never sends by the
 * host, and stays valid, though mute, after close: abort the sockets (linger 0) first, then close, since a socket that still
 * has something to send holds the kernel's part of the namespace for a while. Sockets may be made and programs started from any
 * thread, the rest is one thread's.
 */
#ifndef GSI_TAILNET_NAMESPACE_H
#define GSI_TAILNET_NAMESPACE_H

#include <sys/types.h>

#include "tailnet/endpoint/endpoint.h"

enum namespace_way {
    NAMESPACE_AUTO,
    NAMESPACE_THREAD, /* root: a thread leaves for the namespace */
    NAMESPACE_SHARED, /* everybody: a child that shares our memory and descriptors, in a user namespace */
    NAMESPACE_APART,  /* under sanitizers and valgrind: a child of its own, which hands descriptors over */
};

enum {
    NAMESPACE_MTU = 1280,  /* Tailscale's */
    NAMESPACE_QUEUE = 100, /* packets of up to 64 KiB that wait in the TUN; a TUN has no other brake */
};

struct namespace;

struct namespace_options {
    enum namespace_way way; /* 0: the best that may be */
    uint16_t mtu;           /* 0: NAMESPACE_MTU; at least 1280 for IPv6 */
};

/* Takes about a millisecond. Codes of the kernel's with a detail that begins with the step that failed and ends with a cure:
 * -EPERM, -ENOSPC (no namespace), -ENOENT, -EACCES, -EPERM (no /dev/net/tun), … ; GS_ESYSLIMIT, -ENOMEM. */
GS_MUST_USE int gsi_namespace_open(struct namespace **out, const struct namespace_options *options);
/* Takes it, NULL is nothing. The TUN goes and the helper ends; no process and no thread is left. In a child of fork it frees
 * memory and descriptors only: the namespace stays the parent's. */
void gsi_namespace_close(struct namespace *ns);

enum namespace_way gsi_namespace_way(const struct namespace *ns);
/* Borrowed; non-blocking, one packet with a virtio_net_hdr per read and write. */
int gsi_namespace_tun(const struct namespace *ns);
/* The namespace itself, borrowed: for setns, or as /proc/self/fd/N wherever a path of a namespace is wanted. */
int gsi_namespace_fd(const struct namespace *ns);
/* TUN_F_ bits that the kernel granted; 0: it segments by itself. */
unsigned gsi_namespace_offloads(const struct namespace *ns);

/* An own address or a route into the TUN appears or vanishes; twice is no error. An address of fewer than all bits brings its
 * route. -EOPNOTSUPP, -EACCES (IPv6 is off on this machine) and other codes of rtnetlink, with a detail. */
GS_MUST_USE int gsi_namespace_address(struct namespace *ns, const struct prefix *address, bool present);
GS_MUST_USE int gsi_namespace_route(struct namespace *ns, const struct prefix *to, bool present);

/* socket(2) inside, with SOCK_CLOEXEC; the caller's. type may hold SOCK_NONBLOCK. -errno with a detail; -EPIPE: the helper was
 * killed; -ECHILD: in a child of fork. */
GS_MUST_USE int gsi_namespace_socket(struct namespace *ns, int domain, int type, int protocol);
/* An address of lo, all of its bits: only from inside is there a way to it. */
GS_MUST_USE int gsi_namespace_local(struct namespace *ns, const struct ip *ip, bool present);
/* Writes a file below /proc/sys/net of the namespace: ("ipv4/tcp_rmem", "4096 131072 8388608"). -errno. */
GS_MUST_USE int gsi_namespace_sysctl(struct namespace *ns, const char *name, const char *value);

/* ---- programs ---- */

enum { NAMESPACE_VIEWS = 8, NAMESPACE_PROGRAMS = 32 /* at a time */ };

/* A path that the program sees otherwise. Where there is nothing at the path, it sees nothing. */
struct namespace_view {
    const char *path, *text; /* text NULL: an empty directory */
};

struct namespace_program {
    const char *const *argv; /* argv[0] is looked for in envp's PATH, unless there is a / in it */
    const char *const *envp; /* NULL: environ */
    const struct namespace_view *views;
    size_t views_n;
};

/* Runs a program inside: as this user, with this process's standard streams, directory, session and terminal; with no signal
 * blocked, SIGCHLD as by default, other ignored signals ignored. Its pids are a world of its own. What it leaves running ends
 * when it ends, all of it ends with gsi_namespace_close, or with this process, however that ends. Any thread; blocks until it
 * runs.
 *
 * *out is a child of this process for waitpid or a pidfd: it ends as the program ends, with its code or by its signal, stops
 * as it stops, and hands signals on to it; SIGKILL kills both. Also those that gsi_namespace_close ended are to be waited for.
 * It keeps a copy of this process's memory as it is now, shared until either writes.
 *
 * -ENOENT, -EACCES: no such program, not executable; -ENOSPC: too many namespaces; GS_ESYSLIMIT: NAMESPACE_PROGRAMS run;
 * -EINVAL; -ECHILD: after fork; other codes of the kernel; each with a detail. */
GS_MUST_USE int gsi_namespace_spawn(struct namespace *ns, const struct namespace_program *program, pid_t *out);

#endif
