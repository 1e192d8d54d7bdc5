/* coordination.h: a control server, sans-IO: the server side of tailnet-protocol.md 2 to 4 for any number of connections, over
 * byte streams that the caller accepts. Labs and tests use it.
 *
 *     int e = gsi_coordination_new(&server, &config);
 *     for each accepted stream: c = gsi_coordination_join(server, user, now);
 *     feed what comes; send all of gsi_coordination_output, negative: close it; at its end gsi_coordination_leave.
 *     while ((c = gsi_coordination_next_ready(server))) …others have something to send now…
 *     by gsi_coordination_deadline(server): gsi_coordination_tick(server, now)
 *
 * It serves GET /key, the ts2021 upgrade, and in the channel /machine/register and /machine/map. What a stream is to be told is
 * made when it can be sent, from what changed since: a node that does not read costs one message. One thread at a time; `now` is
 * the monotonic clock in nanoseconds.
 */
#ifndef GSI_TAILNET_LAB_COORDINATION_H
#define GSI_TAILNET_LAB_COORDINATION_H

#include "tailnet/crypto/crypto.h"
#include "tailnet/endpoint/endpoint.h"

enum {
    COORDINATION_NAME_MAX = 63,    /* of a machine; its bytes */
    COORDINATION_DOMAIN_MAX = 180,
    COORDINATION_LOGIN_MAX = 127,
    COORDINATION_TAGS_MAX = 16,
    COORDINATION_REGIONS_MAX = 16,
    COORDINATION_VERSION_MIN = 113, /* capability version: older clients are refused */
};

struct coordination;
struct coordination_conn;

struct coordination_config {
    const uint8_t *control_private; /* the server's Noise key */
    const char *url;                /* under which it is reached; login URLs begin with it */
    const char *domain;             /* of the names; NULL: lab.test */
    const char *login, *display;    /* whom auth keys stand for; NULL: user@ and the domain; the login */
    const char *auth_key;           /* NULL: any text is right */
    const char *filter;             /* a JSON array of tailcfg.FilterRule; NULL: everybody may everything */
    bool approval;                  /* a new machine sees nobody before gsi_coordination_authorize */
    uint64_t key_life_ns;           /* of node keys; 0: no end */
    uint64_t ephemeral_ns;          /* how long an ephemeral node may be without its map stream; 0: 60 s */
    uint64_t wall_ns;               /* added to `now` it is Unix time */
    int nodes_max, connections_max; /* 0: 10,000 and 4096 */
};

/* Copies what it needs. 0; GS_EINVALID with a detail (url, domain, login or filter); -ENOMEM. */
GS_MUST_USE int gsi_coordination_new(struct coordination **out, const struct coordination_config *config);
/* All connections have left. NULL is nothing. */
void gsi_coordination_free(struct coordination *s);
const uint8_t *gsi_coordination_public(const struct coordination *s);

/* ---- connections ---- */

/* NULL: as many as may be are here, or no memory: close the stream. */
struct coordination_conn *gsi_coordination_join(struct coordination *s, void *user, uint64_t now);
void *gsi_coordination_user(const struct coordination_conn *c);
void gsi_coordination_leave(struct coordination_conn *c, uint64_t now);
/* Takes all of it. What it came to is told by output. */
void gsi_coordination_feed(struct coordination_conn *c, const void *in, size_t n, uint64_t now);
/* Bytes to send: how many, 0 when there are none now. Negative, and all is sent: close it. GS_ECLOSED (its answer said so, or it
 * was idle), GS_ETIMEOUT (no channel within 10 s, or a request that is
 * not whole within 60), GS_EINVALID, -EACCES (the handshake does not open), -EMSGSIZE, -ENOMEM. */
GS_MUST_USE ssize_t gsi_coordination_output(struct coordination_conn *c, void *out, size_t cap, uint64_t now);
/* A connection that got something to send, or is to be closed, since it was told last; NULL. */
struct coordination_conn *gsi_coordination_next_ready(struct coordination *s);

/* When to tick at the latest; UINT64_MAX: no need. */
uint64_t gsi_coordination_deadline(const struct coordination *s);
void gsi_coordination_tick(struct coordination *s, uint64_t now);

/* ---- what the tailnet is: each is told to the nodes as a delta ---- */

struct coordination_region {
    int id;
    const char *code, *name, *host; /* host: what its certificate says, a name or an address */
    const char *ipv4, *ipv6;        /* "": resolve host; "none" */
    const char *cert_name;          /* "": host; or as in tailnet-protocol.md 5.1 */
    int derp_port, stun_port;       /* stun_port -1: none */
    bool insecure_for_tests;
};
/* All of them anew, one relay in each. 0; GS_EINVALID (too many, an id twice or not above 0, a text too long). */
GS_MUST_USE int gsi_coordination_set_regions(struct coordination *s, const struct coordination_region *regions, int n);
/* As in config; NULL: everybody may everything. GS_EINVALID with a detail: the old one stays. */
GS_MUST_USE int gsi_coordination_set_filter(struct coordination *s, const char *rules);
/* As in config, for logins that come. GS_EINVALID. */
GS_MUST_USE int gsi_coordination_set_url(struct coordination *s, const char *url);

/* The login at this URL is done, by this user (NULL: the config's). 0; GS_EINVALID (no such login waits,
 * or the name is too long), -ENOBUFS (too many users). */
GS_MUST_USE int gsi_coordination_approve(struct coordination *s, const char *url, const char *login, uint64_t now);

/* By id. GS_EINVALID: there is none. */
GS_MUST_USE int gsi_coordination_remove(struct coordination *s, int64_t id, uint64_t now);
/* Its key is expired from now on. An ephemeral node stays until it leaves. */
GS_MUST_USE int gsi_coordination_expire(struct coordination *s, int64_t id, uint64_t now);
GS_MUST_USE int gsi_coordination_authorize(struct coordination *s, int64_t id, uint64_t now);

struct coordination_node {
    int64_t id;
    char name[COORDINATION_NAME_MAX + 1]; /* without the domain */
    char login[COORDINATION_LOGIN_MAX + 1];
    uint8_t node_key[KEY_LEN], machine[KEY_LEN], disco[KEY_LEN]; /* disco zero: none told yet */
    struct ip v4, v6;
    int home_derp;                        /* 0: none told yet */
    int endpoints;                        /* how many it told */
    bool online, ephemeral, authorized, expired;
};
int gsi_coordination_count(const struct coordination *s);
/* The i-th in the order of ids; false behind the last. */
GS_MUST_USE bool gsi_coordination_node(const struct coordination *s, int i, struct coordination_node *out);

#endif
