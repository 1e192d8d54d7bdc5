/* message.c: one message of the map stream (tailcfg.MapResponse) to an update. Nothing here looks at a map. */
#include <errno.h>
#include <openssl/crypto.h>

#include "tailnet/netmap/parts.h"

/* Room for one more behind n; the list doubles. NULL, and the list stays, without memory. */
static void *grown(struct parse *p, void *list, size_t n, size_t most, size_t size)
{
    if (n >= most) {
        gsi_json_fail(&p->j, "too many entries");
        return NULL;
    }
    if (n & (n - 1))
        return list;
    list = OPENSSL_realloc(list, (n ? 2 * n : 1) * size);
    if (!list) {
        p->code = -ENOMEM;
        gsi_json_fail(&p->j, "no memory");
    }
    return list;
}

/* Appends to u's list, or leaves it as it is. */
#define ROOM_FOR_ONE(list, n, most)                                                                                   \
    void *grown_ = grown(p, list, n, most, sizeof *(list));                                                           \
    if (!grown_)                                                                                                      \
        return;                                                                                                       \
    (list) = grown_

struct nodes {
    struct map_node **of;
    size_t n;
};

static void free_nodes(struct nodes *l)
{
    for (size_t i = 0; i < l->n; i++)
        OPENSSL_free(l->of[i]);
    OPENSSL_free(l->of);
    *l = (struct nodes){0};
}

static struct map_node *packed(struct parse *p, const struct map_node *from)
{
    struct map_node *n = gsi_node_pack(from);
    if (!n) {
        p->code = -ENOMEM;
        gsi_json_fail(&p->j, "no memory");
    }
    return n;
}

static void parse_nodes(struct parse *p, struct nodes *out)
{
    struct map_node n;
    if (!gsi_json_array(&p->j))
        return;
    while (gsi_json_item(&p->j)) {
        gsi_arena_reset(p->arena);
        ROOM_FOR_ONE(out->of, out->n, MAP_PEERS_MAX);
        if (!gsi_node_parse(p, &n) || !(out->of[out->n] = packed(p, &n)))
            return;
        out->n++;
    }
}

static void parse_self(struct parse *p, struct map_update *u)
{
    struct map_node n;
    if (!gsi_json_null(&p->j) && gsi_node_parse(p, &n))
        u->self = packed(p, &n);
}

static void parse_removed(struct parse *p, struct map_update *u)
{
    if (!gsi_json_array(&p->j))
        return;
    while (gsi_json_item(&p->j)) {
        ROOM_FOR_ONE(u->removed, u->removed_n, MAP_PEERS_MAX);
        u->removed[u->removed_n++] = gsi_json_int(&p->j, INT64_MIN, INT64_MAX);
    }
}

/* {"12": true} */
static void parse_known_changes(struct parse *p, struct known_change **of, size_t *n)
{
    struct json_text key;
    if (!gsi_json_object(&p->j))
        return;
    while (gsi_json_key(&p->j, &key)) {
        struct known_change c;
        ROOM_FOR_ONE(*of, *n, MAP_PEERS_MAX);
        if (!gsi_json_text_int(&key, &c.id)) {
            gsi_json_fail(&p->j, "a peer's name is not its number");
            return;
        }
        c.yes = gsi_json_bool(&p->j);
        (*of)[(*n)++] = c;
    }
}

static void parse_patches(struct parse *p, struct map_update *u)
{
    struct map_node n;
    struct patch patch;
    if (!gsi_json_array(&p->j))
        return;
    while (gsi_json_item(&p->j)) {
        gsi_arena_reset(p->arena);
        if (gsi_json_null(&p->j))
            continue;
        ROOM_FOR_ONE(u->patches, u->patches_n, MAP_PEERS_MAX);
        if (!gsi_patch_parse(p, &n, &patch.fields) || !(patch.node = packed(p, &n)))
            return;
        u->patches[u->patches_n++] = patch;
    }
}

static void parse_users(struct parse *p, struct map_update *u)
{
    if (!gsi_json_array(&p->j))
        return;
    while (gsi_json_item(&p->j)) {
        gsi_arena_reset(p->arena);
        ROOM_FOR_ONE(u->users, u->users_n, MAP_USERS_MAX);
        struct map_user *user = gsi_user_parse(p);
        if (user)
            u->users[u->users_n++] = user;
    }
}

static void parse_base_filter(struct parse *p, struct map_update *u)
{
    static const struct json_text base = {.p = "base", .n = 4};
    if (gsi_json_null(&p->j))
        return;
    u->filter = gsi_named_new(p, &base);
    if (u->filter)
        (void)gsi_named_read_rules(p, u->filter);
}

static void parse_lock(struct parse *p, struct map_update *u)
{
    static const char *const members[] = {"Disabled", NULL};
    uint64_t seen = 0;
    if (!gsi_json_object(&p->j))
        return;
    u->has_lock = u->lock = true;
    while (gsi_json_member(&p->j, members, &seen) >= 0)
        u->lock = !gsi_json_bool(&p->j);
}

static void parse_ping(struct parse *p, struct map_update *u)
{
    enum { URL, IS_NOISE, TYPES };
    static const char *const members[] = {[URL] = "URL", [IS_NOISE] = "URLIsNoise", [TYPES] = "Types", NULL};
    uint64_t seen = 0;
    if (!gsi_json_object(&p->j))
        return;
    u->has_ping = true;
    for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
        if (m == IS_NOISE)
            u->ping_noise = gsi_json_bool(&p->j);
        else
            *(m == URL ? &u->ping_url : &u->ping_types) = gsi_text_parse(p);
}

static void parse_debug(struct parse *p, struct map_update *u)
{
    enum { SLEEP_MOST = 300 };
    static const char *const members[] = {"SleepSeconds", NULL};
    uint64_t seen = 0;
    if (!gsi_json_object(&p->j))
        return;
    while (gsi_json_member(&p->j, members, &seen) >= 0) {
        double s = gsi_json_number(&p->j);
        u->sleep_s = s < 0 ? 0 : s > SLEEP_MOST ? SLEEP_MOST : s;
    }
}

static void parse_text(struct parse *p, struct config **out)
{
    *out = gsi_text_parse(p);
    if (*out && !*(*out)->u.text) { /* "" is as good as absent */
        gsi_config_free(*out);
        *out = NULL;
    }
}

enum member {
    KEEP_ALIVE, PING_REQUEST, POP_BROWSER, NODE, DERP_MAP, PEERS, PEERS_CHANGED, PEERS_REMOVED, PEERS_PATCH, PEER_SEEN,
    ONLINE, DNS_CONFIG,
    DOMAIN, PACKET_FILTER, PACKET_FILTERS, USER_PROFILES, HEALTH, DISPLAY_MESSAGES, TKA_INFO, CONTROL_TIME, DEBUG,
    SESSION_HANDLE, SEQ,
};

static const char *const members[] = {
    [KEEP_ALIVE] = "KeepAlive", [PING_REQUEST] = "PingRequest", [POP_BROWSER] = "PopBrowserURL", [NODE] = "Node",
    [DERP_MAP] = "DERPMap",
    [PEERS] = "Peers", [PEERS_CHANGED] = "PeersChanged", [PEERS_REMOVED] = "PeersRemoved", [PEERS_PATCH] = "PeersChangedPatch",
    [PEER_SEEN] = "PeerSeenChange", [ONLINE] = "OnlineChange", [DNS_CONFIG] = "DNSConfig", [DOMAIN] = "Domain",
    [PACKET_FILTER] = "PacketFilter", [PACKET_FILTERS] = "PacketFilters", [USER_PROFILES] = "UserProfiles", [HEALTH] = "Health",
    [DISPLAY_MESSAGES] = "DisplayMessages", [TKA_INFO] = "TKAInfo", [CONTROL_TIME] = "ControlTime", [DEBUG] = "Debug",
    [SESSION_HANDLE] = "MapSessionHandle", [SEQ] = "Seq", NULL,
};

static void parse_member(struct parse *p, int m, struct map_update *u, struct nodes *peers, struct nodes *changed)
{
    switch (m) {
    case KEEP_ALIVE: u->keep_alive = gsi_json_bool(&p->j); break;
    case PING_REQUEST: parse_ping(p, u); break;
    case POP_BROWSER: parse_text(p, &u->browse); break;
    case NODE: parse_self(p, u); break;
    case DERP_MAP: (void)gsi_derp_parse(p, &u->derp, &u->scores); break;
    case PEERS: parse_nodes(p, peers); break;
    case PEERS_CHANGED: parse_nodes(p, changed); break;
    case PEERS_REMOVED: parse_removed(p, u); break;
    case PEERS_PATCH: parse_patches(p, u); break;
    case PEER_SEEN: parse_known_changes(p, &u->seen, &u->seen_n); break;
    case ONLINE: parse_known_changes(p, &u->online, &u->online_n); break;
    case DNS_CONFIG: u->dns = gsi_dns_parse(p); break;
    case DOMAIN: parse_text(p, &u->domain); break;
    case PACKET_FILTER: parse_base_filter(p, u); break;
    case PACKET_FILTERS: (void)gsi_named_parse(p, &u->filters, gsi_named_read_rules); break;
    case USER_PROFILES: parse_users(p, u); break;
    case HEALTH: u->health = gsi_health_parse(p); break;
    case DISPLAY_MESSAGES: (void)gsi_named_parse(p, &u->messages, gsi_named_read_message); break;
    case TKA_INFO: parse_lock(p, u); break;
    case CONTROL_TIME: u->control_time = gsi_json_time(&p->j); break;
    case DEBUG: parse_debug(p, u); break;
    case SESSION_HANDLE: parse_text(p, &u->session); break;
    case SEQ: u->seq = gsi_json_int(&p->j, INT64_MIN, INT64_MAX); break;
    default: break;
    }
}

/* Of a complete list or of changes only. */
static void choose_nodes(struct map_update *u, struct nodes *peers, struct nodes *changed)
{
    u->has_peers = peers->n > 0;
    struct nodes *taken = u->has_peers ? peers : changed;
    u->nodes = taken->of;
    u->nodes_n = taken->n;
    *taken = (struct nodes){0};
    free_nodes(u->has_peers ? changed : peers);
}

int gsi_map_parse(const void *json, size_t n, struct map_update **out, struct map_error *why)
{
    struct arena scratch = {.max = MAP_NODE_BYTES};
    struct parse p = {.j = gsi_json_of(json, n), .arena = &scratch};
    struct nodes peers = {0}, changed = {0};
    uint64_t seen = 0;
    struct map_update *u = OPENSSL_zalloc(sizeof *u);
    *out = NULL;
    *why = (struct map_error){.why = "no memory"};
    if (!u)
        return -ENOMEM;
    if (gsi_json_object(&p.j))
        for (int m; (m = gsi_json_member(&p.j, members, &seen)) >= 0;) {
            gsi_arena_reset(&scratch);
            parse_member(&p, m, u, &peers, &changed);
            p.arena = &scratch;
        }
    else
        gsi_json_fail(&p.j, "null in place of a map");
    int e = gsi_json_end(&p.j);
    choose_nodes(u, &peers, &changed);
    gsi_arena_free(&scratch);
    if (e < 0) {
        e = p.code ? p.code : e;
        *why = (struct map_error){p.j.error, p.j.error_at};
        gsi_map_update_free(u);
        return e;
    }
    *why = (struct map_error){.why = ""};
    *out = u;
    return 0;
}

void gsi_map_update_free(struct map_update *u)
{
    if (!u)
        return;
    struct nodes nodes = {u->nodes, u->nodes_n};
    free_nodes(&nodes);
    for (size_t i = 0; i < u->patches_n; i++)
        OPENSSL_free(u->patches[i].node);
    for (size_t i = 0; i < u->users_n; i++)
        OPENSSL_free(u->users[i]);
    struct config *configs[] = {u->derp, u->scores, u->dns, u->health, u->domain, u->ping_url, u->ping_types, u->browse,
                                u->session};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        gsi_config_free(configs[i]);
    gsi_named_free(u->filter);
    gsi_named_list_free(&u->filters.set, true);
    gsi_named_list_free(&u->messages.set, true);
    OPENSSL_free(u->self);
    OPENSSL_free(u->removed);
    OPENSSL_free(u->seen);
    OPENSSL_free(u->online);
    OPENSSL_free(u->patches);
    OPENSSL_free(u->users);
    OPENSSL_free(u);
}
