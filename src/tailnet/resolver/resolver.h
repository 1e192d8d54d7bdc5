/* resolver.h: MagicDNS inside a private namespace: a DNS server for the programs there, on RESOLVER_ADDRESS, and what makes
 * them ask it.
 *
 * One descriptor tells when there is something to do; serve then does a bounded part of it and never blocks. Only from inside
 * is there a way to it: its sockets are bound to lo.
 *
 *     struct resolver *r;
 *     if (gsi_resolver_open(&r, ns) < 0) …
 *     poll(gsi_resolver_fd(r)), then gsi_resolver_serve(r, map);
 *
 *     struct resolver_views views;
 *     gsi_resolver_views(map, &views);
 *     gsi_namespace_spawn(ns, &(struct namespace_program){.argv = argv, .views = views.view, .views_n = views.n}, &pid);
 *
 * One thread at a time. It takes port 53 of RESOLVER_ADDRESS and 127.0.0.1, so a program inside cannot have 0.0.0.0:53.
 */
#ifndef GSI_TAILNET_RESOLVER_H
#define GSI_TAILNET_RESOLVER_H

#include "tailnet/names/dns.h"
#include "tailnet/stack/namespace.h"

#define RESOLVER_ADDRESS "100.100.100.100"

enum { RESOLVER_CONNECTIONS = 16 /* another one takes the place of the longest idle */ };

struct resolver;

/* 0; codes of the kernel's with a detail; -EADDRINUSE: something inside has port 53; -ENOMEM. ns outlives it. */
GS_MUST_USE int gsi_resolver_open(struct resolver **out, struct namespace *ns);
/* NULL is nothing. */
void gsi_resolver_close(struct resolver *r);
/* Borrowed; readable when there is something to do. */
int gsi_resolver_fd(const struct resolver *r);
/* m: NULL, as long as there is none. */
void gsi_resolver_serve(struct resolver *r, const struct netmap *m);

/* ---- views.c ---- */

/* What a program is to see instead of this machine's own: resolv.conf, nsswitch.conf, and no cache of names (nscd). */
struct resolver_views {
    struct namespace_view view[4];
    size_t n;
    char resolv_conf[DNS_FILE_MAX], nsswitch[DNS_FILE_MAX];
};
/* Reads /etc/nsswitch.conf. A pointer into itself: not to be copied. */
void gsi_resolver_views(const struct netmap *m, struct resolver_views *out);

#endif
