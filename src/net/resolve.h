/* resolve.h: from a host and a port to addresses, for the layers that connect. Called by the tcp transports; gensock/net.h has
 * the public calls and says why look-ups go to the C library on a pool of threads (pool.h).
 *
 *     gs_addr a[8];
 *     int n = gsi_resolve(&(struct gsi_host){.name = "localhost", .port = 80}, deadline_ns, a, 8);
 *
 * In another network namespace the look-up runs inside it, so that its name server is asked from there. /etc/resolv.conf and
 * /etc/hosts are those of this process all the same, and daemons that nsswitch.conf may name (nscd, systemd-resolved) answer
 * from the network they run in.
 */
#ifndef GSI_RESOLVE_H
#define GSI_RESOLVE_H

#include "gensock/net.h"

/* What to look up. The strings are copied by calls that need them longer. */
struct gsi_host {
    const char *name;  /* a name or a numeric address without brackets; "" is the any address of the family (inet for 0) */
    uint16_t port;     /* of every answer */
    int family;        /* AF_INET, AF_INET6, 0: both */
    const char *netns; /* path, or NULL */
};

/* 1 and *out when name is a numeric address (or ""): nothing has to be looked up. 0: it has to. GS_ENXDOMAIN with a detail:
 * numeric, of another family; -ENODEV: numeric, with a scope that is no interface here. */
GS_MUST_USE int gsi_resolve_numeric(const struct gsi_host *h, gs_addr *out);

/* How many of at most cap addresses it wrote (>= 1), in the order to try them; blocks until the deadline at most. The codes,
 * with a detail, of gs_getaddrinfo, and GS_EABORTED. Numeric addresses need no thread, and no time. */
GS_MUST_USE int gsi_resolve(const struct gsi_host *h, uint64_t deadline_ns, gs_addr *out, size_t cap);

/* n as gsi_resolve answers; addrs live during the call. A failure's detail is the thread's when it is called. */
typedef void gsi_resolved_fn(void *arg, int n, const gs_addr *addrs);

/* Looks up in the background: done is called exactly once, on a resolver thread, with no lock held, unless cancelled; it may
 * start a request, and may run before this call returns (*request is set by then). It must not block for long: of these
 * threads there are four. A numeric address goes the same way; ask gsi_resolve_numeric first. Not 0 (codes as above): done
 * will not be called. */
GS_MUST_USE int gsi_resolve_start(const struct gsi_host *h, gsi_resolved_fn *done, void *arg, uint64_t *request);

/* When it returns, done will not be called and is not running (except when called by done itself). True: done was never
 * called. Any request that ever was is allowed, 0 too. The caller holds no lock that done takes. Does not wait for a look-up. */
bool gsi_resolve_cancel(uint64_t request);

/* For the end of a program and for tests: see gsi_pool_stop. */
int gsi_resolver_stop(uint64_t deadline_ns);
unsigned gsi_resolver_threads(void);

#endif
