/* helper.h: the task that lives inside a private network namespace and does there the two things that only a task inside can
 * do: socket(2), and opening a file (/dev/net/tun, a sysctl). Not for other folders; namespace.h is.
 *
 * A task is moved into a namespace, a process is not: so the helper is a thread, or a child that shares what it makes with
 * this process. In every way one thread of the library, "gs-tailnet-ns", lives as long as the helper: it is the helper, or its
 * parent, whose end (exit, exec or SIGKILL of the process included) is the helper's end.
 */
#ifndef GSI_TAILNET_HELPER_H
#define GSI_TAILNET_HELPER_H

#include "gensock/error.h"

enum helper_way {
    HELPER_AUTO,   /* THREAD; where that may not be, SHARED, or under sanitizers and valgrind APART */
    HELPER_THREAD, /* the thread itself leaves by unshare: takes CAP_SYS_ADMIN */
    HELPER_SHARED, /* a child with our memory and descriptors, in a user namespace of its own: takes no rights */
    HELPER_APART,  /* a child of its own that hands descriptors over: the slowest, with nothing unusual in it */
};

struct helper;

/* 0; -EPERM, -ENOSPC, … of unshare or clone, GS_ESYSLIMIT (no thread), -ENOMEM, -ENOTSUP (SHARED on another machine than
 * x86-64 and arm64): all with a detail. */
GS_MUST_USE int gsi_helper_start(struct helper **out, enum helper_way way);
enum helper_way gsi_helper_way(const struct helper *h);

/* What the helper answered: a descriptor, or -errno; -EPIPE: it is dead; -ECHILD: this process is a fork of the one that made
 * it. Any thread. What is made stays inside the namespace, and valid after the helper's end. */
GS_MUST_USE int gsi_helper_socket(struct helper *h, int domain, int type, int protocol);
/* path: at most HELPER_PATH bytes. */
GS_MUST_USE int gsi_helper_open(struct helper *h, const char *path, int flags);
enum { HELPER_PATH = 96 };

/* Ends and reaps it. In a forked child only this process's part of it is freed. */
void gsi_helper_stop(struct helper *h);

#endif
