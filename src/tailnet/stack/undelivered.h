/* undelivered.h: what the kernel's TCP of a namespace still has to deliver (sock_diag(7)). */
#ifndef GSI_TAILNET_UNDELIVERED_H
#define GSI_TAILNET_UNDELIVERED_H

#include <gensock/error.h>

/* Whether a connection of the namespace has bytes, or its end, that the peer has not acknowledged; one that was closed counts
 * until then. fd: a socket of there, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, for this one call. 1, 0, -errno. Does not block. */
GS_MUST_USE int gsi_tcp_undelivered(int fd);

#endif
