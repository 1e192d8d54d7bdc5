/* inside.h: the state of a control server, shared by coordination.c (bytes and time), h2.c (HTTP/2), read.c (what requests say),
 * register.c (who may join), members.c (the nodes) and message.c (what a map stream is told). */
#ifndef GSI_TAILNET_LAB_INSIDE_H
#define GSI_TAILNET_LAB_INSIDE_H

#include <zstd.h>

#include "tailnet/http2/http2.h"
#include "tailnet/json/json.h"
#include "tailnet/lab/coordination.h"
#include "tailnet/noise/noise.h"

#define LAB_SECOND UINT64_C(1000000000)

enum {
    REQUEST_HEAD_MAX = 8 * 1024,       /* of HTTP/1.1 */
    EXCHANGES_MAX = 32,                /* requests at once on one connection */
    BODY_MAX = 256 * 1024,
    BODIES_MAX = 64 * 1024 * 1024,     /* of all connections together */
    REQUEST_S = 60,                    /* for a request to be whole */
    ANSWER_ROOM = 4096,                /* of register: all its texts are bounded */
    MESSAGE_MAX = 64 * 1024 * 1024,    /* of the map, as JSON */
    FILTER_MAX = 1024 * 1024,
    URL_MAX = 256,
    OPEN_S = 10,                       /* until the channel stands */
    IDLE_S = 300,                      /* without any request */
    KEEP_ALIVE_S = 50,
    OFFLINE_S = 10,                    /* a stream may be gone that long before others are told */
    LOGIN_S = 600,                     /* a login URL lives that long */
    LOGINS_MAX = 256,
    TOKEN_LEN = 40,
    USERS_MAX = 64,
    ENDPOINTS_MAX = 32,
    OS_MAX = 31,
    TAG_MAX = 63,
    GONE_MAX = 1024,                   /* removed nodes that a stream may not have been told of */
    TOLD_REGION_TEXT = 127,
};

/* ---- the tailnet ---- */

enum change { CHANGED_WHOLE, CHANGED_ENDPOINTS, CHANGED_DERP, CHANGED_DISCO, CHANGED_ONLINE, CHANGES };

struct exchange;

struct member {
    int64_t id;
    uint8_t machine[KEY_LEN], key[KEY_LEN], disco[KEY_LEN];
    char wish[COORDINATION_NAME_MAX + 1]; /* the hostname it asked for, made fit */
    char name[COORDINATION_NAME_MAX + 1];
    char os[OS_MAX + 1];
    char tags[COORDINATION_TAGS_MAX][TAG_MAX + 1];
    int tags_n;
    int user;              /* index */
    uint16_t number;       /* of its addresses, from 1 */
    uint16_t version;      /* capability version */
    int home_derp;
    struct endpoint endpoints[ENDPOINTS_MAX];
    int endpoints_n;
    bool ephemeral, authorized, online, expired;
    int64_t expiry_s;      /* Unix time; 0: never */
    int64_t created_s, last_seen_s;
    struct exchange *map;  /* its stream */
    uint64_t gone_at;      /* when the stream went, or it joined; while map is NULL */
    uint64_t changed[CHANGES]; /* by co->seq; WHOLE covers the others */
};

struct account {
    int64_t id;
    char login[COORDINATION_LOGIN_MAX + 1], display[COORDINATION_LOGIN_MAX + 1];
};
enum { ACCOUNT_OWNER, ACCOUNT_TAGGED, ACCOUNT_FIRST }; /* indexes */

struct login {
    char token[TOKEN_LEN + 1]; /* "": free */
    uint8_t machine[KEY_LEN], key[KEY_LEN];
    int user;                  /* index; -1: not approved */
    uint64_t until;
    struct exchange *waits;
};

struct gone {
    int64_t id;
    uint64_t seq;
};

struct told_region {
    struct coordination_region r; /* its texts point below */
    char text[6][TOLD_REGION_TEXT + 1];
};

/* What a register or map request says. */
struct asked {
    int64_t version;
    uint8_t key[KEY_LEN], old_key[KEY_LEN], disco[KEY_LEN];
    char auth_key[256], followup[URL_MAX + 64];
    struct json_time expiry;
    bool ephemeral, stream, omit_peers, keep_alive, compress;
    bool has_host, has_endpoints;
    char hostname[256], os[OS_MAX + 1];
    char tags[COORDINATION_TAGS_MAX][TAG_MAX + 1];
    int tags_n;
    int preferred_derp;
    struct endpoint endpoints[ENDPOINTS_MAX];
    int endpoints_n;
};

struct coordination {
    uint8_t private[KEY_LEN], public[KEY_LEN];
    char url[URL_MAX + 1], domain[COORDINATION_DOMAIN_MAX + 1];
    char *auth_key, *filter;
    bool approval;
    uint64_t key_life_ns, ephemeral_ns, wall_ns;
    int nodes_max, connections_max, connections_n;
    size_t bodies_n;               /* bytes held */

    uint64_t seq;                  /* of changes */
    uint64_t filter_seq, regions_seq;
    struct member **members;       /* by id */
    int members_n, members_cap;
    int64_t last_id;
    uint8_t numbers[65536 / 8];    /* taken */
    struct gone gone[GONE_MAX];    /* a ring */
    int gone_at, gone_n;
    struct account accounts[USERS_MAX];
    int accounts_n;
    struct login logins[LOGINS_MAX];
    struct told_region regions[COORDINATION_REGIONS_MAX];
    int regions_n;

    struct coordination_conn *conns, *ready, **ready_end;
    uint64_t wake, now;
    struct asked asked;            /* of the request at hand: with secrets */
    uint8_t *json;                 /* the message that is made */
    size_t json_cap;
    ZSTD_CCtx *zstd;
};

/* ---- a connection ---- */

enum conn_state { EXPECT_REQUEST, ANSWERED /* HTTP/1.1; to be closed */, CHANNEL, OVER };

/* A request within the channel. */
struct exchange {
    struct exchange *next;
    struct coordination_conn *conn;
    int32_t stream;
    char method[8], path[64];
    uint8_t *body;
    size_t body_n, body_cap;
    bool too_long, answered;
    uint64_t until;                /* for it to be whole */

    uint8_t *answer;               /* what is to be sent; of a map one message */
    size_t answer_n, answer_at;
    bool more;                     /* behind it comes more: a map stream, or a login that is waited for */

    struct member *member;         /* of a map stream; NULL: it is over */
    bool compress, once;
    uint64_t seq, peers_seq;       /* what it was told; 0: nothing */
    uint64_t keep_alive;           /* when to send one; UINT64_MAX: none are wished */
    bool keep_alive_due;
    struct login *login;
};

struct coordination_conn {
    struct coordination *co;
    struct coordination_conn *prev, *next, *next_ready;
    bool is_ready;
    void *user;
    enum conn_state state;
    int error;
    uint64_t until;                /* for the channel to stand; later: how long it may be idle */
    char head[REQUEST_HEAD_MAX + 1];
    size_t head_n;
    char text[1024];               /* HTTP/1.1's answer */
    size_t text_at, text_n;
    struct noise noise;
    struct http2 http2;
    struct exchange *exchanges;
    int exchanges_n;
};

/* coordination.c */
void gsi_lab_ready(struct coordination_conn *c);
void gsi_lab_wake(struct coordination *s, uint64_t at);
static inline int64_t gsi_lab_wall(const struct coordination *s) { return (int64_t)((s->now + s->wall_ns) / LAB_SECOND); }

/* h2.c: 0, or what the connection ends with. */
GS_MUST_USE int gsi_lab_h2_start(struct coordination_conn *c);
/* Puts what is to be sent into a record of the channel, which has none under way. */
GS_MUST_USE int gsi_lab_h2_fill(struct coordination_conn *c);
/* The status and, when there is a text, the body of an answer. 0; -ENOMEM. */
GS_MUST_USE int gsi_lab_answer(struct exchange *x, int status, const char *type, const void *body, size_t n);
/* Sends headers of an answer whose body is asked from message.c. */
GS_MUST_USE int gsi_lab_answer_stream(struct exchange *x);
/* More of its body is there, or it is over. */
void gsi_lab_resume(struct exchange *x);
void gsi_lab_exchanges_free(struct coordination_conn *c);

/* read.c: 0; GS_EINVALID with j's words in *why. */
GS_MUST_USE int gsi_lab_read(struct asked *a, const void *json, size_t n, const char **why);

/* register.c. 0; -ENOMEM. */
GS_MUST_USE int gsi_lab_register(struct exchange *x);
GS_MUST_USE int gsi_lab_map(struct exchange *x);
/* The exchange ends: nobody waits for this login, nobody reads this map. */
void gsi_lab_forget(struct exchange *x);
struct login *gsi_lab_login_of(struct coordination *s, const char *url);

/* members.c */
struct member *gsi_lab_by_key(const struct coordination *s, const uint8_t key[KEY_LEN]);
struct member *gsi_lab_by_machine(const struct coordination *s, const uint8_t machine[KEY_LEN]);
struct member *gsi_lab_by_id(const struct coordination *s, int64_t id);
/* A new one, with addresses and a name to be set; NULL: no memory, or as many as may be are here. */
struct member *gsi_lab_member_new(struct coordination *s);
void gsi_lab_member_remove(struct coordination *s, struct member *m);
void gsi_lab_member_rename(struct coordination *s, struct member *m, const char *hostname);
void gsi_lab_member_expire(struct coordination *s, struct member *m);
/* It changed: all streams have something to tell. */
void gsi_lab_changed(struct coordination *s, struct member *m, enum change what);
/* The next number of changes; all streams have something to tell. */
uint64_t gsi_lab_tell_all(struct coordination *s);
GS_MUST_USE int gsi_lab_account(struct coordination *s, const char *login);
/* Who may be told of m. */
static inline bool gsi_lab_is_visible(const struct member *m) { return m->authorized; }
struct ip gsi_lab_v4(const struct member *m);
struct ip gsi_lab_v6(const struct member *m);

/* message.c: the next message for a map stream into x->answer. 1: there is one; 0: nothing to tell; -ENOMEM; GS_ECLOSED: it
 * missed too much, end the stream. */
GS_MUST_USE int gsi_lab_message(struct exchange *x);

#endif
