/* parts.h: what the files of the map share: arenas, the parsed update, the index. */
#ifndef GSI_TAILNET_NETMAP_PARTS_H
#define GSI_TAILNET_NETMAP_PARTS_H

#include "tailnet/keys/key.h"
#include "tailnet/netmap/netmap.h"

/* ---- memory (arena.c): freed as a whole; every list is as long as it must be ---- */

struct arena {
    struct chunk *chunks; /* newest first */
    size_t bytes, max;    /* of all chunks */
};

/* Zeroed, aligned for anything. NULL: no memory, or over the maximum (then a->bytes says so). */
void *gsi_arena_take(struct arena *a, size_t n);
void gsi_arena_free(struct arena *a);
/* Empties it, and keeps its biggest chunk. */
void gsi_arena_reset(struct arena *a);

/* Parsing: where it reads, where it keeps, and what went wrong beside the JSON. */
struct parse {
    struct json j;
    struct arena *arena;
    int code; /* -ENOMEM */
};

/* n entries; NULL for 0 entries or an error. */
void *gsi_parse_list(struct parse *p, size_t n, size_t size);
/* How many entries the array or object has that was entered just now; nothing is read. */
size_t gsi_parse_count(const struct parse *p);
/* A text of at most MAP_TEXT_MAX bytes, "" for none. */
const char *gsi_parse_text(struct parse *p);
const char *gsi_parse_key_text(struct parse *p, const struct json_text *key);
/* The value that is due as it stands in the message; NULL for null. */
const char *gsi_parse_raw(struct parse *p);
/* An array of such; empty ones are left out. */
const char *const *gsi_parse_texts(struct parse *p, uint32_t *n);
/* {name: [values]} or, of_names, [name]; what is there is kept in front. */
const struct map_cap *gsi_parse_caps(struct parse *p, uint32_t *n, bool of_names, const struct map_cap *have);
/* A public key; null and "" are zero. */
void gsi_parse_public(struct parse *p, enum key_kind kind, uint8_t out[KEY_LEN]);
const struct prefix *gsi_parse_prefixes(struct parse *p, uint32_t *n);

/* ---- nodes (node.c) ---- */

enum map_patch { /* members that a PeerChange may have */
    PATCH_DERP = 1 << 0,
    PATCH_CAP = 1 << 1,
    PATCH_ENDPOINTS = 1 << 2,
    PATCH_KEY = 1 << 3,
    PATCH_DISCO = 1 << 4,
    PATCH_ONLINE = 1 << 5,
    PATCH_LAST_SEEN = 1 << 6,
    PATCH_KEY_EXPIRY = 1 << 7,
    PATCH_SIGNATURE = 1 << 8,
    PATCH_CAPS = 1 << 9,
    PATCH_SEEN_NOW = 1 << 10, /* PeerSeenChange true */
};

/* Lists point into p->arena. */
bool gsi_node_parse(struct parse *p, struct map_node *out);
bool gsi_patch_parse(struct parse *p, struct map_node *out, unsigned *fields);
/* A copy in one block; NULL: no memory. Freed by OPENSSL_free. */
struct map_node *gsi_node_pack(const struct map_node *from);
void gsi_node_patch(struct map_node *n, const struct map_node *patch, unsigned fields, int64_t wall_s);
unsigned gsi_node_diff(const struct map_node *a, const struct map_node *b);

/* ---- things with names that are set and deleted by name (named.c) ---- */

struct named {
    struct arena arena;
    const char *name;
    bool removed; /* in an update: delete this name */
    bool taken;   /* by the list that is being made */
    struct map_message message;
    struct filter_list list;
};

struct named *gsi_named_new(struct parse *p, const struct json_text *name);
void gsi_named_free(struct named *n);

struct named_list {
    struct named **of;
    size_t n;
};

struct named_ops {
    struct named_list set; /* in the order of the message */
    bool given, clear;     /* "*": null */
};

/* All of a JSON object of names; read reads a value, which is not null. */
bool gsi_named_parse(struct parse *p, struct named_ops *out, bool (*read)(struct parse *, struct named *));
bool gsi_named_read_rules(struct parse *p, struct named *n);
/* By how it was written. */
static inline bool gsi_prefix_is_v4(const struct prefix *p) { return p->bits >= 96 && gsi_ip_is_v4(&p->ip); }
/* Whether one of the rule's sources may be this peer. */
bool gsi_rule_overlaps(const struct filter_rule *r, const struct map_node *peer);
bool gsi_named_read_message(struct parse *p, struct named *n);
/* What the list is with first (or NULL) set, then ops done; entries that are in it are `taken`. from_empty: have counts as
 * empty. */
int gsi_named_merge(const struct named_list *have, bool from_empty, struct named *first, const struct named_ops *ops,
                    struct named_list *out);
/* Frees those of the list that are not taken, and the list itself. */
void gsi_named_list_free(struct named_list *l, bool also_taken);

/* ---- relays, names, users (config.c): each a block with its arena ---- */

struct config {
    struct arena arena;
    union {
        struct map_derp derp;
        struct map_dns dns;
        struct {
            uint32_t n;
            const struct map_score *of;
        } scores;
        struct {
            uint32_t n;
            const char *const *of;
        } health;
        const char *text;
    } u;
};

void gsi_config_free(struct config *c);
/* DERPMap: either may stay NULL. */
bool gsi_derp_parse(struct parse *p, struct config **regions, struct config **scores);
struct config *gsi_dns_parse(struct parse *p);
struct config *gsi_health_parse(struct parse *p);
struct config *gsi_text_parse(struct parse *p);
struct map_user *gsi_user_parse(struct parse *p);

/* ---- an update (message.c) ---- */

struct known_change {
    int64_t id;
    bool yes;
};

struct patch {
    struct map_node *node;
    unsigned fields;
};

struct map_update {
    bool keep_alive, has_peers;
    struct map_node *self;
    struct map_node **nodes; /* Peers, or PeersChanged; NULL where apply took one */
    size_t nodes_n, removed_n, seen_n, online_n, patches_n, users_n;
    int64_t *removed;
    struct known_change *seen, *online;
    struct patch *patches;
    struct map_user **users;
    struct config *derp, *scores, *dns, *health, *domain;
    struct named *filter; /* PacketFilter */
    struct named_ops filters, messages;
    bool has_lock, lock, has_ping, ping_noise;
    struct json_time control_time;
    struct config *ping_url, *ping_types, *browse, *session;
    int64_t seq;
    double sleep_s;
};

/* ---- the index (index.c): hash to number, several numbers may have one hash ---- */

struct map_slot {
    uint32_t hash, number; /* number + 1; 0: free */
};

struct map_table {
    struct map_slot *slots;
    uint32_t cap, n; /* cap: a power of two, or 0 */
};

/* Room for n in all. */
GS_MUST_USE int gsi_map_table_reserve(struct map_table *t, size_t n);
void gsi_map_table_add(struct map_table *t, uint32_t hash, uint32_t number);
void gsi_map_table_remove(struct map_table *t, uint32_t hash, uint32_t number);
/* The next number with this hash: *at is the hash at first. UINT32_MAX: none. */
uint32_t gsi_map_table_next(const struct map_table *t, uint32_t hash, uint32_t *at);

enum index_kind { BY_ID = 1, BY_KEY, BY_DISCO, BY_ADDRESS, BY_NAME };

uint32_t gsi_index_hash(uint64_t seed, enum index_kind kind, const void *p, size_t n);
uint32_t gsi_name_hash(uint64_t seed, const char *name, size_t n);
/* A name without the dot at its end. */
size_t gsi_name_len(const char *name, size_t n);

struct change {
    struct map_node *before, *after; /* before is the map's, after the change's until commit */
    int64_t id;
    unsigned changed;
};

struct netmap {
    uint64_t seed;
    bool fresh; /* the next message is a whole snapshot */
    bool has_filter, filter_discarded, locked, has_browsed;
    struct map_node *self;
    struct map_node **nodes; /* with holes */
    uint32_t *holes;
    uint32_t nodes_n, nodes_cap, holes_n; /* nodes_n: used, holes included */
    struct map_table index;
    struct map_user **users; /* by id */
    size_t users_n, dropped, unsigned_n, node_bytes;
    struct config *derp, *scores, *dns, *health, *domain, *browsed;
    struct named_list filters, messages;
    int64_t clock_ahead_s; /* the server's clock before ours */

    /* what changed */
    struct map_node *self_before;
    struct change *changes;
    size_t changes_n, change_at;
    unsigned pending; /* bit: enum map_event_kind */
    struct map_update *last; /* texts of events */
};

/* ---- peers (peers.c): staged, then put in, which cannot fail ---- */

struct stage {
    struct change *changes;
    size_t n, dropped;
    struct map_table by_id, by_key; /* of changes */
    bool from_empty;
    const struct map_node *self;
};

GS_MUST_USE int gsi_stage_peers(struct netmap *m, struct map_update *u, int64_t wall_s, struct stage *s, const char **why);
void gsi_stage_free(struct stage *s);
void gsi_stage_commit(struct netmap *m, struct stage *s);

uint32_t gsi_netmap_entries(const struct map_node *n);
void gsi_netmap_index_add(struct netmap *m, uint32_t at);
void gsi_netmap_index_remove(struct netmap *m, uint32_t at);
uint32_t gsi_netmap_find_id(const struct netmap *m, int64_t id);

#endif
