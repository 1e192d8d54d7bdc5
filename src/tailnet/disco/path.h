/* path.h: what the files of disco/ share: the structs behind paths.h. */
#ifndef GSI_TAILNET_DISCO_PATH_H
#define GSI_TAILNET_DISCO_PATH_H

#include "tailnet/disco/paths.h"
#include "tailnet/disco/table.h"

/* tailnet-protocol.md 7.3, in milliseconds; and our own limits (13, row 9). */
enum {
    TRUST_MS = 6500,
    HEARTBEAT_MS = 3000,
    SESSION_MS = 45000,
    UPGRADE_MS = 60000,
    GOOD_ENOUGH_MS = 5,
    PING_INTERVAL_MS = 5000,
    PING_TIMEOUT_MS = 5000,
    FRESH_MS = 27000, /* endpointsFreshEnough */
    CALL_INTERVAL_MS = 5000,

    PONG_EACH_MS = 50,
    PONG_BURST = 64,
    HEAR_CALL_EACH_MS = 5000,
    HEAR_CALL_BURST = 3,
    PEERS_MAX = 100000,
    ORDERS_MAX = 512, /* a power of two */
    ORDERS_OF_A_PATH = PATH_CANDIDATES_MAX + 2,
    PINGS_MAX = 65536,
    PINGS_OF_A_PATH = 4 * PATH_CANDIDATES_MAX,
};
#define MS(ms) ((uint64_t)(ms) * 1000000)

/* An address where the peer may be. Times are 0 for never. */
struct candidate {
    struct path *path;
    struct endpoint at;
    struct item by_address; /* while is_noted */
    bool is_noted;          /* of all candidates with this address, the one that disco came from last */
    bool fresh;             /* gsi_path_set is at it */
    bool in_netmap, called; /* who told it; else a ping that came from it */
    uint64_t heard_ns;      /* its last ping */
    uint8_t heard[DISCO_TXID_LEN];
    uint64_t pinged_ns, answered_ns; /* our last ping; the last of ours that answered one of its */
};

struct ping {
    struct item by_txid;
    struct link in_time, of_path;
    struct path *path;
    struct endpoint to;
    uint32_t region; /* not 0: went by the relay */
    uint64_t sent_ns;
    uint8_t txid[DISCO_TXID_LEN];
};

struct path {
    struct item by_node, by_disco;
    uint8_t node[KEY_LEN], disco[KEY_LEN], shared[KEY_LEN];
    bool has_disco, has_shared, is_listed; /* is_listed: by_disco is in the table */
    uint32_t home, heard_region;
    void *user;

    struct candidate **candidates;
    size_t n, cap;
    bool has_best;
    struct path_quality best;
    uint64_t trust_ns; /* until then */

    uint64_t sent_ns, full_ping_ns, next_ping_ns, called_ns, beat_ns;
    uint64_t pong_ns, hear_call_ns; /* of the limits */
    struct link beating, trusted, waiting, telling; /* heartbeats; trust that will lapse; for endpoints; to tell */
    struct link pings;
    size_t n_pings, n_orders;

    struct path_info told, answer;
    bool asked, answered;
};

/* A packet to be sealed when it is taken. */
struct order {
    enum disco_type type;
    struct path *path; /* NULL: dropped */
    bool relay;
    struct endpoint to; /* UDP */
    uint32_t region;
    uint8_t txid[DISCO_TXID_LEN];
    struct endpoint seen;
};

struct paths {
    uint8_t private[KEY_LEN], public[KEY_LEN], node[KEY_LEN];
    bool loopback, relay_only;
    uint32_t peers_max;
    uint64_t now; /* never goes back, never 0 */

    struct table nodes, discos, addresses, txids;
    struct link beating, trusted, waiting, telling; /* of paths */
    struct link pings;                              /* of all, oldest first */

    struct endpoint own[DISCO_ENDPOINTS_MAX];
    size_t n_own;
    uint64_t own_ns;
    bool wants_endpoints, told_wants;

    struct order orders[ORDERS_MAX];
    size_t first_order, n_orders;
    struct paths_stats stats;
};

static inline void gsi_paths_now(struct paths *p, uint64_t now_ns)
{
    if (now_ns > p->now)
        p->now = now_ns;
}
static inline size_t gsi_paths_room(const struct paths *p) { return ORDERS_MAX - p->n_orders; }

/* orders.c */
void gsi_paths_order(struct paths *p, const struct order *o);
void gsi_paths_forget_orders(struct paths *p, struct path *path);
/* NULL: the peer has no disco key, or one of small order. */
const uint8_t *gsi_path_shared(struct paths *p, struct path *path);

/* candidate.c */
bool gsi_candidate_is_usable(const struct paths *p, const struct endpoint *e, bool by_call);
struct candidate *gsi_candidate_find(const struct path *path, const struct endpoint *at);
/* Found or made; NULL: no memory, or 100 better ones. */
struct candidate *gsi_candidate_add(struct paths *p, struct path *path, const struct endpoint *at);
void gsi_candidate_drop_unused(struct paths *p, struct path *path);
void gsi_candidate_drop_all(struct paths *p, struct path *path);
void gsi_candidate_note(struct paths *p, struct candidate *c);

/* path.c */
uint32_t gsi_path_region(const struct path *path);
void gsi_path_tell(struct paths *p, struct path *path);
void gsi_path_ping_candidates(struct paths *p, struct path *path);
/* False: none is made. region not 0: by the relay. */
bool gsi_path_start_ping(struct paths *p, struct path *path, const struct endpoint *to, uint32_t region);
void gsi_path_end_ping(struct paths *p, struct ping *ping);
void gsi_path_pong(struct paths *p, struct path *path, const struct endpoint *at, uint64_t latency_ns);
void gsi_path_lapse(struct paths *p, struct path *path);

#endif
