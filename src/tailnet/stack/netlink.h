/* netlink.h: links, addresses and routes of the namespace that an rtnetlink socket belongs to (rtnetlink(7)). Not for other
 * folders. Each call is one request and its answer: 0 or -errno. fd: AF_NETLINK, NETLINK_ROUTE. */
#ifndef GSI_TAILNET_NETLINK_H
#define GSI_TAILNET_NETLINK_H

#include "tailnet/endpoint/endpoint.h"

/* Up; 0 for mtu or queue leaves it. */
GS_MUST_USE int gsi_netlink_up(int fd, int index, uint32_t mtu, uint32_t queue);
/* What is there already, or gone already, is no error. */
GS_MUST_USE int gsi_netlink_address(int fd, int index, const struct prefix *p, bool present);
GS_MUST_USE int gsi_netlink_route(int fd, int index, const struct prefix *p, bool present);

#endif
