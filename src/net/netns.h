/* netns.h: doing something inside another network namespace (setns(2)) without moving the calling thread there.
 *
 * setns changes one thread. So it is done on a thread that exists for that request only ("gs-netns"): the caller's thread
 * cannot be left in the wrong network by any failure, and what the thread made (a socket) stays in the namespace it was made in.
 */
#ifndef GSI_NETNS_H
#define GSI_NETNS_H

#include "gensock/error.h"

/* Runs fn(arg) inside the namespace at path and waits for it. 0: fn ran; else it did not, with a detail: -ENOENT, -EACCES …
 * (path cannot be opened), -EINVAL (is no network namespace), -EPERM (may not enter), GS_ESYSLIMIT (no thread). */
GS_MUST_USE int gsi_netns_run(const char *path, void (*fn)(void *arg), void *arg);

/* socket(2), always SOCK_CLOEXEC | SOCK_NONBLOCK, in the namespace at path, or with NULL where the calling thread is. The
 * descriptor, or -errno with a detail; -EINVAL also when type holds flags. */
GS_MUST_USE int gsi_net_socket(const char *netns, int domain, int type, int protocol);

#endif
