/* abort.h: ends TCP connections of a namespace from outside (sock_diag(7), SOCK_DESTROY; Linux with CONFIG_INET_DIAG_DESTROY).
 *
 * The peer gets a RST, and whoever uses the socket -ECONNABORTED: behind what had come by then and was not read yet, which
 * connect(2) to no address would throw away.
 *
 * fd: a socket of the namespace, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, for one call at a time. Nothing blocks.
 */
#ifndef GSI_TAILNET_ABORT_H
#define GSI_TAILNET_ABORT_H

#include <stddef.h>

#include "tailnet/endpoint/endpoint.h"

/* The connection of this descriptor. 0; -ENOENT: it is none; -EOPNOTSUPP: the kernel cannot; other codes. */
GS_MUST_USE int gsi_tcp_abort(int fd, int socket);
/* All connections with these addresses, whoever has them: how many. Codes as above. */
GS_MUST_USE int gsi_tcp_abort_with(int fd, const struct ip *remote, size_t n);
/* All connections and listeners: how many. */
GS_MUST_USE int gsi_tcp_abort_all(int fd);

#endif
