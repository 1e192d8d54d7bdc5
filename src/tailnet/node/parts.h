/* parts.h: what the files of the node share. */
#ifndef GSI_TAILNET_NODE_PARTS_H
#define GSI_TAILNET_NODE_PARTS_H

#include <gensock/mailbox.h>
#include <gensock/stream.h>
#include <pthread.h>

#include "tailnet/control/backoff.h"
#include "tailnet/control/control.h"
#include "tailnet/control/server_key.h"
#include "tailnet/derp/client.h"
#include "tailnet/derp/policy.h"
#include "tailnet/disco/own.h"
#include "tailnet/keys/state.h"
#include "tailnet/link/watch.h"
#include "tailnet/netmap/netmap.h"
#include "tailnet/node/node.h"
#include "tailnet/plane/plane.h"
#include "tailnet/resolver/resolver.h"
#include "tailnet/stack/namespace.h"
#include "tailnet/store/store.h"
#include "tailnet/stun/netcheck.h"

#define SECOND UINT64_C(1000000000)

enum {
    NODES_MAX = 64,
    DETAIL_MAX = 320,
    LOGIN_URL_MAX = 1023,
    HOSTNAME_MAX = 63,
    TAGS_MAX = 64,
    IDENTITIES_MAX = PACKET_STAMP_MAX_V4 + 1,
    NODE_EVENTS = 256,         /* of the map that are worked on before packets have their turn */
    NODE_MESSAGES = 64,        /* of streams, likewise */
    NODE_INLINE = 32 * 1024,   /* bytes of a map message that are read at once; more are the worker's */
    READING_MAX = 128 << 20,   /* bytes of map messages that wait to be read and applied: two of the greatest */
    NODE_OUT = 16 * 1024,
    GONE_MAX = 64,
    RELAYS_MAX = 32,
    RELAY_WAITING = 16,        /* packets kept while a relay is being dialled */
};

/* ---- a stream to the outside, in the node's mailbox; it is the stream's GS_OPT_USER ---- */

struct channel {
    gs_stream stream;
    void (*take)(struct node *n, struct channel *c, const gs_msg *m, uint64_t now);
};

struct dial {
    const char *host; /* a name, or an address without brackets */
    uint16_t port;
    bool tls;
    const char *name; /* to be verified; NULL: host */
    bool unverified;  /* whoever it is */
};

/* A GS_MSG_CONNECT follows. 0 or why not. */
GS_MUST_USE int gsi_channel_dial(struct node *n, struct channel *c, const struct dial *to);
void gsi_channel_close(struct channel *c);
/* What a failed message or call of it was about, in one line. */
const char *gsi_channel_why(int error);

/* ---- peers ---- */

struct peer {
    struct plane_peer plane; /* first: routes and WireGuard answer it */
    uint8_t key[KEY_LEN];
    int64_t id;
    uint32_t home;
    bool routes_due;         /* there was no memory for all */
    struct policy_heard heard;
    struct path_info told;   /* of path events */
    struct peer *next;       /* of its bucket */
};

struct peers {
    struct peer **bucket;
    size_t buckets, n;
};

struct peer *gsi_peers_find(const struct peers *p, const uint8_t key[KEY_LEN]);

/* ---- identities: under the node's lock ---- */

struct identity {
    uint8_t key[KEY_LEN];
    uint32_t index, next; /* next: of its bucket */
    uint32_t later;       /* the one that died after it; 0: none */
    bool live;
    uint64_t dead_ns;
    struct who *who; /* made when it is asked for, forgotten when the map changes */
};

struct identities {
    struct identity **entry; /* by index; [0] is none */
    uint32_t *bucket;        /* by key, as many as room */
    uint32_t n, room;        /* used so far, 0 included */
    uint32_t dead, dead_last; /* in the order of their death; 0: none */
};

/* 0: the table is full, or no memory. */
uint32_t gsi_identity_new(struct node *n, const uint8_t key[KEY_LEN], uint64_t now);
/* Its peer has left, or lost an address: its connections are reset. */
void gsi_identity_end(struct node *n, uint32_t index, uint64_t now);
void gsi_identity_reset(struct node *n, uint32_t index);
/* What is told of it has changed. 0: of all. */
void gsi_identity_changed(struct node *n, uint32_t index);
/* Locked. gs_peer_free gives it back. 0; -ENOMEM. */
GS_MUST_USE int gsi_node_peer_of(const struct node *n, const struct map_node *m, const gs_peer **out);
void gsi_identities_free(struct node *n);
/* A TSMP reject came: the connection attempt that it names fails. */
void gsi_conn_rejected(struct node *n, const struct tsmp *t);
/* Stopping: all connections are reset. */
void gsi_conns_reset(struct node *n, int why);
/* How many there are; *held: of those, what is above them has more to send. Asked again and again, some milliseconds apart. */
size_t gsi_conns_look(struct node *n, size_t *held);
/* All listeners answer so from now on, also to who waits; there will be no others. Any thread. */
void gsi_listenings_shut(struct node *n, int why);

/* ---- relays ---- */

struct relay_packet {
    uint8_t key[KEY_LEN];
    bool disco;
    uint16_t n;
    uint8_t *bytes;
};

struct relay_link {
    struct channel channel; /* first */
    uint32_t region;
    uint64_t attempt;       /* 0: this place is free */
    struct derp_client *client;
    bool preferred, dialled, connected;
    char pin[2 * HASH_LEN + 1]; /* sha256-raw of its certificate, hex; "": none */
    char host[DERP_HOST_MAX + 1];
    char ideal[64];
    int waiting_n;
    struct relay_packet waiting[RELAY_WAITING];
};

struct probe { /* GET /derp/latency-check, where UDP is blocked */
    struct channel channel; /* first */
    uint32_t region;        /* 0: this place is free */
    uint64_t sent_ns, until_ns;
};

struct relays {
    struct derp_policy *policy;
    uint32_t home;            /* the region where peers are told to find us: the last one chosen whose connection stood; 0: none yet */
    char trouble[DETAIL_MAX]; /* with the home relay; "": none */
    char told[DETAIL_MAX];    /* by an event, why one was lost; "": one has come since */
    struct relay_link link[RELAYS_MAX];
    struct probe probe[RELAYS_MAX];
};

GS_MUST_USE int gsi_relays_init(struct node *n);
/* The node key is another: all connections begin anew. -ENOMEM: the old ones stay. */
GS_MUST_USE int gsi_relays_renew(struct node *n, uint64_t now);
void gsi_relays_end(struct node *n);
/* The map has other regions. */
void gsi_relays_map(struct node *n, uint64_t now);
void gsi_relays_send(struct node *n, uint32_t region, const uint8_t key[KEY_LEN], const uint8_t *bytes, size_t len, bool disco,
                     uint64_t now);
void gsi_relays_step(struct node *n, uint64_t now);
uint64_t gsi_relays_deadline(const struct node *n);
void gsi_relays_probe(struct node *n, uint64_t now);

/* ---- the control server ---- */

enum session_phase { SESSION_IDLE, SESSION_KEY, SESSION_CONTROL };

struct session {
    struct channel channel; /* first */
    enum session_phase phase;
    struct server_key *asking;
    struct control *control;
    uint64_t retry_at;
    struct backoff backoff;
    uint32_t serial;        /* of the map stream */
    bool registered, rotating, mapping, heard; /* heard: a map message of this stream */
    bool update_due, update_out;
    bool removed;           /* the server knew this node once and does no more */
    bool key_suspect;       /* the server did not take its pinned key for its own */
    bool logging_out;
    uint64_t ask_at;        /* register or map again, no update before; 0: not */
    uint64_t mapping_ns;    /* when the map stream was asked for */
    char followup[LOGIN_URL_MAX + 1];
    struct channel ping;    /* the control server wants to be asked for something outside of the channel */
    char ping_text[URL_PATH_MAX + URL_HOST_MAX + 64];
    size_t ping_n;
    size_t out_at, out_n;   /* of out: made, and not taken by the stream */
    uint8_t out[NODE_OUT];
};

void gsi_session_init(struct node *n);
void gsi_session_end(struct node *n);
void gsi_session_step(struct node *n, uint64_t now);
uint64_t gsi_session_deadline(const struct node *n);
/* Endpoints or the home have changed. */
void gsi_session_update(struct node *n);
void gsi_session_ping(struct node *n, const char *url, bool inside, uint64_t now);
/* The map says to be quiet for a while, or is not to be understood. */
void gsi_session_pause(struct node *n, uint64_t for_ns, uint64_t now);
void gsi_session_lost(struct node *n, int error, const char *why, uint64_t now);
/* The node key has run out. again: the control server says so to a key that was new. */
void gsi_session_rotate(struct node *n, bool again, uint64_t now);

/* ---- members ---- */

struct members {
    struct peers peers;
    bool draining;         /* the map has events left */
    bool filter_due, derp_due, self_due, up_due;
    char filter_trouble[DETAIL_MAX]; /* why nothing new may come in; "": nothing hinders */
    uint32_t addresses_n;  /* given to the namespace */
    struct prefix *addresses;
    uint64_t check_at;     /* who may be talked to may change with time */
    int64_t expiry_told;   /* of our key: the time of which an event told */
    struct ip gone[GONE_MAX]; /* addresses that peers had in this step: connections that are no streams' are still to be reset */
    size_t gone_n;
    size_t reading_bytes;  /* of */
    int reading;           /* messages with the worker, and */
    struct job *ready, **ready_last; /* those that come back from it */
};

void gsi_members_message(struct node *n, gs_bytes json, uint64_t now);
void gsi_members_step(struct node *n, uint64_t now);
uint64_t gsi_members_deadline(const struct node *n);
void gsi_members_end(struct node *n);
/* Our node key is another: WireGuard, paths and relays begin anew with all peers. */
GS_MUST_USE int gsi_members_new_key(struct node *n, uint64_t now);
void gsi_members_look_again(struct node *n, uint64_t now);

void gsi_peers_take(struct node *n, const struct map_event *ev, uint64_t now);
/* Who may be talked to changes with time; and what there was no memory for is done. */
void gsi_peers_check(struct node *n, uint64_t now);
void gsi_peers_clear(struct node *n, uint64_t now);
/* Behind changes, and before packets of whose the addresses are then. */
void gsi_peers_reset_gone(struct node *n);
void gsi_peers_free(struct peers *t);
const char *gsi_member_name(const struct node *n, const struct peer *p);

/* ---- outside ---- */

enum { INTERFACES_MAX = 64 };

struct outside {
    struct netcheck *netcheck;
    struct netcheck_report report; /* the last one */
    struct own_seen seen;
    struct own_endpoint own[OWN_MAX];
    size_t own_n;
    struct ip interfaces[INTERFACES_MAX];
    size_t interfaces_n;
    int watch;           /* tells of changes; -1: nothing does */
    struct changes changes;
    uint64_t look_at;    /* for changed interfaces */
    uint64_t resolve_at; /* the STUN servers' names again; 0: there are none */
    uint64_t active_ns;  /* the last packet of the tailnet */
    uint64_t packets;    /* until then */
    bool resolving, resolve_again;
};

GS_MUST_USE int gsi_outside_init(struct node *n);
void gsi_outside_end(struct node *n);
void gsi_outside_map(struct node *n, uint64_t now);
/* Paths and relays were made anew: they hear what is known of us. */
void gsi_outside_tell(struct node *n, uint64_t now);
void gsi_outside_stun(struct node *n, const uint8_t *bytes, size_t len, uint64_t now);
void gsi_outside_step(struct node *n, uint64_t now);
uint64_t gsi_outside_deadline(const struct node *n);
void gsi_outside_want(struct node *n, uint64_t now);
/* The watch is readable. */
void gsi_outside_watch(struct node *n, uint64_t now);

/* ---- workers: jobs in order, then the thread ends ---- */

struct job {
    struct job *next;
    void (*run)(struct job *j);                                  /* there */
    void (*done)(struct node *n, struct job *j, uint64_t now);   /* in the node's thread; frees it */
    void (*drop)(struct job *j);                                 /* instead of done, when the node ends */
};

struct worker {
    struct node *node;
    pthread_t thread;
    bool running, joinable, stop, left; /* left: it ends by itself, and holds the node until then */
    struct job *first, **last;
    struct job *finished, **finished_last;
};

void gsi_worker_init(struct node *n, struct worker *w);
GS_MUST_USE int gsi_worker_give(struct node *n, struct worker *w, struct job *j);
/* What is done. */
void gsi_worker_take(struct node *n, struct worker *w, uint64_t now);
/* For a job that takes its time. */
bool gsi_worker_is_stopping(struct worker *w);
void gsi_worker_end(struct node *n, struct worker *w);
/* Likewise, for jobs that may not be waited for: the one that runs goes on alone, and is dropped when it is done. */
void gsi_worker_leave(struct node *n, struct worker *w);

struct command;
/* ---- commands: what other threads ask of the node's ---- */

typedef void command_run(struct node *n, struct command *c, uint64_t now);

struct command {
    struct command *next;
    command_run *run;
    bool kept;            /* it is not over when run is: gsi_commands_done */
    bool running, done;   /* under lock */
    int result;
};

/* Runs it in the node's thread and waits. c->result; GS_ETIMEOUT; GS_EABORTED: the node stops; GS_ECLOSED. */
GS_MUST_USE int gsi_node_call(struct node *n, struct command *c, int timeout_ms);
/* All kept ones of this kind that wait. */
void gsi_commands_done(struct node *n, command_run *run, int result);
/* Locked: this one, which is in n->waiting. */
void gsi_command_done(struct node *n, struct command *c, int result);

/* Its handle; the handle is its first holder. GS_ESYSLIMIT. */
GS_MUST_USE int gsi_node_publish(struct node *n);
/* Stops all that run: at exit, before what they stand on ends. A child of fork has none. */
void gsi_nodes_end(void);
/* Once: true; the caller then has the handle's hold. */
bool gsi_node_withdraw(struct node *n);

/* ---- the node ---- */

struct node_config {
    char hostname[HOSTNAME_MAX + 1];
    struct url url;
    char *control_url, *auth_key, *ca_file; /* NULL: none */
    char **tags;
    size_t n_tags;
    bool ephemeral, shields_up, relay_only;
    uint16_t port;
    gs_mailbox events;
};

struct node {
    uint64_t id; /* of the handle */
    int holders; /* under the handles' lock */
    pid_t pid;
    struct node_config config;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under lock: */
    gs_tailnet_state state;
    int error;
    char detail[DETAIL_MAX];
    char login_url[LOGIN_URL_MAX + 1];
    bool login_told, stopping, has_map;
    struct netmap *map;            /* changed by the node's thread, under the lock; read there without */
    struct identities identities;
    struct conn *conns;
    struct listening *listening;
    atomic_int accepting;          /* threads between accept(2) and gsi_conn_accepted */
    int deaf;                      /* a code: there are no listeners any more */
    struct command *commands, **commands_last;
    struct command *waiting;       /* run, and kept */
    struct worker reader, finder; /* of big maps; of hosts' addresses */

    pthread_mutex_t inside;        /* the namespace is not closed while it is held */
    struct namespace *ns;
    atomic_bool bare;              /* inside are sockets that are no streams: of gs_tailnet_socket, of programs */

    int wake;                      /* an eventfd: needs no memory */

    /* The thread's. */
    pthread_t thread;
    int diag;        /* for abort.h; -1: this kernel has none */
    gs_mailbox mailbox;
    struct store *store;
    struct state keys;
    uint8_t node_public[KEY_LEN], disco_private[KEY_LEN];
    bool tun_gone;
    bool stirred;    /* paths or WireGuard may have something to send */
    struct link *link;
    struct wireguard *wireguard;
    struct routes *routes;
    struct paths *paths;
    struct filter *filter;
    struct plane *plane;
    struct resolver *resolver;     /* NULL: no program has run yet */
    struct session session;
    struct members members;
    struct relays relays;
    struct outside outside;
    uint64_t messages_at; /* none are taken before: there was no memory for them; 0: nothing hinders */
    uint64_t packet_ns; /* when one came last, from either side */
    int followers;      /* that came soon after another, lately */
};

/* The node's thread looks again for what is there; any thread. */
void gsi_node_wake(struct node *n);
uint64_t gsi_node_now(void);
int64_t gsi_node_wall_s(void);
uint64_t gsi_node_wall_ns(void);

/* Parts that depend on the node key: WireGuard, paths, plane, in the place of those that are there and have no peers; -ENOMEM:
 * those stay. */
GS_MUST_USE int gsi_node_make_plane(struct node *n);
/* The keys as they are now go to disk. */
GS_MUST_USE int gsi_node_write_keys(struct node *n);
void *gsi_node_loop(void *node);
/* Stopped: the port and the state directory are free for the next one, though streams may hold the node. */
void gsi_node_let_go(struct node *n);
void gsi_node_free(struct node *n);
/* Ends pings that wait for this peer: it leaves. */
void gsi_pings_end(struct node *n, const struct peer *p, int why);
void gsi_pings_pong(struct node *n, const struct paths_event *e);
/* "nyc"; "" when the map has no such region, or no code for it. Valid until the map changes. */
const char *gsi_node_region_code(const struct node *n, uint32_t region);
extern command_run gsi_run_logout;

/* Told to status and to who waits in up. */
void gsi_node_state(struct node *n, gs_tailnet_state state);
void gsi_node_fail(struct node *n, int error, const char *detail);
/* error 0: nothing hinders it any more. */
void gsi_node_hindered(struct node *n, int error, const char *detail);
void gsi_node_login(struct node *n, const char *url);
void gsi_node_event(struct node *n, gs_tailnet_event tag, const char *format, ...) __attribute__((format(printf, 3, 4)));
gs_addr gsi_node_addr(const struct endpoint *e);

#endif
