/* lookup.h: one getaddrinfo(3) as a job of the pool: its copied question, its answer, and the cause when there is none. */
#ifndef GSI_LOOKUP_H
#define GSI_LOOKUP_H

#include <netdb.h>

#include "gensock/net.h"
#include "net/pool.h"
#include "net/resolve.h"

enum { GSI_DETAIL_MAX = 400 };

/* Whoever holds it may touch it: the maker, then the pool, then (after gsi_pool_call or in done) the maker again. */
struct gsi_lookup {
    struct gsi_job job;
    struct addrinfo hints;
    const char *host, *service, *netns; /* into text, or NULL */
    int result;                         /* how many in list, or a code */
    gs_addrinfo *list;                  /* the lookup's, unless taken (set to NULL) */
    char detail[GSI_DETAIL_MAX];        /* of a result < 0: the thread that looks up is not the one that asked */

    gsi_resolved_fn *done; /* of gsi_resolve_start, with the port for all answers */
    void *arg;
    uint16_t port;
    char text[];
};

/* NULL: no memory. To be given back with job.destroy. */
struct gsi_lookup *gsi_lookup_new(const char *host, const char *service, const struct addrinfo *hints, const char *netns);

/* job.run: fills in result, list and detail. */
void gsi_lookup_run(struct gsi_job *job);

/* Whether host is an address in digits, so that no look-up can block: dotted forms of inet_aton(3), inet6; with netns only
 * when its scope is no name, for interfaces are other ones there. */
bool gsi_host_is_numeric(const char *host, const char *netns);

/* The code for an EAI_* (and errno, for EAI_SYSTEM), with a detail about `what`, which is printable. */
int gsi_eai_fail(int eai, int system, const char *what);

/* GS_ETIMEOUT with a detail. */
int gsi_lookup_late(const char *what);

#endif
