/* node.c: a node of the map (tailcfg.Node) and what may change of a peer (tailcfg.PeerChange). */
#include <openssl/crypto.h>

#include "tailnet/netmap/parts.h"

static const struct endpoint *parse_endpoints(struct parse *p, uint32_t *n)
{
    char scratch[ENDPOINT_TEXT];
    *n = 0;
    if (!gsi_json_array(&p->j))
        return NULL;
    size_t room = gsi_parse_count(p);
    struct endpoint *list = gsi_parse_list(p, room < MAP_ENDPOINTS_MAX ? room : MAP_ENDPOINTS_MAX, sizeof *list);
    while (gsi_json_item(&p->j)) {
        if (!list || *n == MAP_ENDPOINTS_MAX)
            continue;
        struct json_text t = gsi_json_view(&p->j, scratch, sizeof scratch);
        if (t.n && gsi_endpoint_parse(t.p, t.n, &list[*n]) == 0 &&
            !gsi_ip_is_none(&list[*n].ip)) /* zones and the like mean nothing here */
            ++*n;
    }
    return list;
}

/* "127.3.3.40:7" is region 7, as older servers write it. */
static uint32_t parse_old_derp(struct parse *p)
{
    static const uint8_t magic[] = {127, 3, 3, 40};
    char scratch[ENDPOINT_TEXT];
    struct endpoint e;
    struct json_text t = gsi_json_view(&p->j, scratch, sizeof scratch);
    struct ip ip = gsi_ip_of_v4(magic);
    if (!t.n || gsi_endpoint_parse(t.p, t.n, &e) < 0)
        return 0;
    return gsi_ip_equal(&e.ip, &ip) ? e.port : 0;
}

static struct ip parse_ip(struct parse *p)
{
    char scratch[ENDPOINT_TEXT];
    struct ip ip = {{0}};
    struct json_text t = gsi_json_view(&p->j, scratch, sizeof scratch);
    if (t.n && gsi_ip_parse(t.p, t.n, &ip) < 0)
        gsi_json_fail(&p->j, "not an address");
    return ip;
}

static uint8_t parse_known(struct parse *p)
{
    if (gsi_json_null(&p->j))
        return MAP_UNKNOWN;
    return gsi_json_bool(&p->j) ? MAP_YES : MAP_NO;
}

static void parse_hostinfo(struct parse *p, struct map_node *out)
{
    enum { HOSTNAME, OS };
    static const char *const names[] = {[HOSTNAME] = "Hostname", [OS] = "OS", NULL};
    uint64_t seen = 0;
    if (!gsi_json_object(&p->j))
        return;
    for (int m; (m = gsi_json_member(&p->j, names, &seen)) >= 0;)
        *(m == HOSTNAME ? &out->hostname : &out->os) = gsi_parse_text(p);
}

enum member {
    ID, STABLE_ID, NAME, USER, SHARER, NODE_KEY, KEY_EXPIRY, KEY_SIGNATURE, MACHINE, DISCO_KEY, ADDRESSES, ALLOWED_IPS,
    ENDPOINTS, DERP, HOME_DERP,
    HOSTINFO, CAP, TAGS, PRIMARY_ROUTES, LAST_SEEN, ONLINE, MACHINE_AUTHORIZED, CAPABILITIES, CAP_MAP, UNSIGNED, EXPIRED,
    MASQ_V4, MASQ_V6,
    WIREGUARD_ONLY, JAILED, NODE_ID, DERP_REGION,
};

static const char *const node_members[] = {
    [ID] = "ID", [STABLE_ID] = "StableID", [NAME] = "Name", [USER] = "User", [SHARER] = "Sharer", [NODE_KEY] = "Key",
    [KEY_EXPIRY] = "KeyExpiry",
    [KEY_SIGNATURE] = "KeySignature", [MACHINE] = "Machine", [DISCO_KEY] = "DiscoKey", [ADDRESSES] = "Addresses",
    [ALLOWED_IPS] = "AllowedIPs",
    [ENDPOINTS] = "Endpoints", [DERP] = "DERP", [HOME_DERP] = "HomeDERP", [HOSTINFO] = "Hostinfo", [CAP] = "Cap", [TAGS] = "Tags",
    [PRIMARY_ROUTES] = "PrimaryRoutes", [LAST_SEEN] = "LastSeen", [ONLINE] = "Online", [MACHINE_AUTHORIZED] = "MachineAuthorized",
    [CAPABILITIES] = "Capabilities", [CAP_MAP] = "CapMap", [UNSIGNED] = "UnsignedPeerAPIOnly", [EXPIRED] = "Expired",
    [MASQ_V4] = "SelfNodeV4MasqAddrForThisPeer", [MASQ_V6] = "SelfNodeV6MasqAddrForThisPeer",
    [WIREGUARD_ONLY] = "IsWireGuardOnly",
    [JAILED] = "IsJailed", NULL,
};

/* The members that a Node and a PeerChange have alike. */
static void parse_common(struct parse *p, int m, struct map_node *out)
{
    switch (m) {
    case NODE_KEY: gsi_parse_public(p, KEY_NODE, out->key); break;
    case DISCO_KEY: gsi_parse_public(p, KEY_DISCO, out->disco); break;
    case KEY_EXPIRY: out->key_expiry = gsi_json_time(&p->j); break;
    case LAST_SEEN: out->last_seen = gsi_json_time(&p->j); break;
    case KEY_SIGNATURE: out->has_signature = gsi_json_text(&p->j).n > 0; break;
    case ENDPOINTS: out->endpoints = parse_endpoints(p, &out->endpoints_n); break;
    case CAP: out->cap = (uint32_t)gsi_json_int(&p->j, 0, UINT32_MAX); break;
    case ONLINE: out->online = parse_known(p); break;
    case CAP_MAP: out->caps = gsi_parse_caps(p, &out->caps_n, false, out->caps); break;
    default: break;
    }
}

static void parse_member(struct parse *p, int m, struct map_node *out, uint32_t *old_derp, bool *allowed)
{
    struct json *j = &p->j;
    switch (m) {
    case ID: out->id = gsi_json_int(j, INT64_MIN, INT64_MAX); break;
    case STABLE_ID: out->stable_id = gsi_parse_text(p); break;
    case NAME: out->name = gsi_parse_text(p); break;
    case USER: out->user = gsi_json_int(j, INT64_MIN, INT64_MAX); break;
    case SHARER: out->sharer = gsi_json_int(j, INT64_MIN, INT64_MAX); break;
    case MACHINE: gsi_parse_public(p, KEY_MACHINE, out->machine); break;
    case ADDRESSES: out->addresses = gsi_parse_prefixes(p, &out->addresses_n); break;
    case ALLOWED_IPS:
        *allowed = gsi_json_kind(j) != JSON_NULL;
        out->allowed = gsi_parse_prefixes(p, &out->allowed_n);
        break;
    case DERP: *old_derp = parse_old_derp(p); break;
    case HOME_DERP: out->home_derp = (uint32_t)gsi_json_int(j, 0, INT32_MAX); break;
    case HOSTINFO: parse_hostinfo(p, out); break;
    case TAGS: out->tags = gsi_parse_texts(p, &out->tags_n); break;
    case PRIMARY_ROUTES: out->routes = gsi_parse_prefixes(p, &out->routes_n); break;
    case MACHINE_AUTHORIZED: out->machine_authorized = gsi_json_bool(j); break;
    case CAPABILITIES: out->caps = gsi_parse_caps(p, &out->caps_n, true, out->caps); break;
    case UNSIGNED: out->unsigned_peer_api_only = gsi_json_bool(j); break;
    case EXPIRED: out->expired = gsi_json_bool(j); break;
    case MASQ_V4: out->masquerade_v4 = parse_ip(p); break;
    case MASQ_V6: out->masquerade_v6 = parse_ip(p); break;
    case WIREGUARD_ONLY: out->wireguard_only = gsi_json_bool(j); break;
    case JAILED: out->jailed = gsi_json_bool(j); break;
    default: parse_common(p, m, out); break;
    }
}

bool gsi_node_parse(struct parse *p, struct map_node *out)
{
    uint32_t old_derp = 0;
    uint64_t seen = 0;
    bool allowed = false;
    *out = (struct map_node){.name = "", .stable_id = "", .hostname = "", .os = ""};
    if (!gsi_json_object(&p->j))
        return gsi_json_fail(&p->j, "null in place of a node");
    for (int m; (m = gsi_json_member(&p->j, node_members, &seen)) >= 0;)
        parse_member(p, m, out, &old_derp, &allowed);
    if (!out->home_derp)
        out->home_derp = old_derp;
    if (!allowed || out->unsigned_peer_api_only) {
        out->allowed = out->addresses;
        out->allowed_n = out->addresses_n;
    }
    if (!out->id)
        gsi_json_fail(&p->j, "a node without its ID");
    return !p->j.error;
}

bool gsi_patch_parse(struct parse *p, struct map_node *out, unsigned *fields)
{
    static const char *const members[] = {"NodeID", "DERPRegion", "Cap", "Endpoints", "Key", "DiscoKey", "Online", "LastSeen",
        "KeyExpiry", "KeySignature", "CapMap", NULL};
    static const struct {
        enum member member;
        unsigned field;
    } rows[] = {
        {NODE_ID, 0}, {DERP_REGION, PATCH_DERP}, {CAP, PATCH_CAP}, {ENDPOINTS, PATCH_ENDPOINTS}, {NODE_KEY, PATCH_KEY},
        {DISCO_KEY, PATCH_DISCO}, {ONLINE, PATCH_ONLINE}, {LAST_SEEN, PATCH_LAST_SEEN}, {KEY_EXPIRY, PATCH_KEY_EXPIRY},
        {KEY_SIGNATURE, PATCH_SIGNATURE}, {CAP_MAP, PATCH_CAPS},
    };
    uint64_t seen = 0;
    *fields = 0;
    *out = (struct map_node){.name = "", .stable_id = "", .hostname = "", .os = ""};
    if (!gsi_json_object(&p->j))
        return gsi_json_fail(&p->j, "null in place of a peer's change");
    for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;) {
        if (gsi_json_null(&p->j))
            continue;
        *fields |= rows[m].field;
        if (rows[m].member == NODE_ID)
            out->id = gsi_json_int(&p->j, INT64_MIN, INT64_MAX);
        else if (rows[m].member == DERP_REGION)
            out->home_derp = (uint32_t)gsi_json_int(&p->j, 0, INT32_MAX);
        else
            parse_common(p, (int)rows[m].member, out);
    }
    *fields &= ~((out->home_derp ? 0u : PATCH_DERP) | (out->cap ? 0u : PATCH_CAP));
    if (!out->id)
        gsi_json_fail(&p->j, "a peer's change without its NodeID");
    return !p->j.error;
}

void gsi_node_patch(struct map_node *n, const struct map_node *patch, unsigned fields, int64_t wall_s)
{
    if (fields & PATCH_DERP)
        n->home_derp = patch->home_derp;
    if (fields & PATCH_CAP)
        n->cap = patch->cap;
    if (fields & PATCH_ENDPOINTS) {
        n->endpoints = patch->endpoints;
        n->endpoints_n = patch->endpoints_n;
    }
    if (fields & PATCH_KEY)
        memcpy(n->key, patch->key, KEY_LEN);
    if (fields & PATCH_DISCO)
        memcpy(n->disco, patch->disco, KEY_LEN);
    if (fields & PATCH_ONLINE)
        n->online = patch->online;
    if (fields & PATCH_LAST_SEEN)
        n->last_seen = patch->last_seen;
    if (fields & PATCH_SEEN_NOW)
        n->last_seen = (struct json_time){wall_s, 0};
    if (fields & PATCH_KEY_EXPIRY)
        n->key_expiry = patch->key_expiry;
    if (fields & PATCH_SIGNATURE)
        n->has_signature = patch->has_signature;
    if (fields & PATCH_CAPS) {
        n->caps = patch->caps;
        n->caps_n = patch->caps_n;
    }
}

/* ---- one block ---- */

/* Takes n bytes of the block, or only counts while there is none. */
static void *put(uint8_t *block, size_t *at, size_t align, const void *from, size_t n)
{
    *at = (*at + align - 1) / align * align;
    void *to = block ? block + *at : NULL;
    if (to && n)
        memcpy(to, from, n);
    *at += n;
    return to;
}

static const char *put_text(uint8_t *block, size_t *at, const char *text)
{
    if (!text || !*text)
        return text;
    return put(block, at, 1, text, strlen(text) + 1);
}

#define PUT(list, type) to->list = put(block, &at, _Alignof(type), from->list, from->list##_n * sizeof(type))

/* The size; what is behind to is written when block is there. */
static size_t pack(const struct map_node *from, struct map_node *to, uint8_t *block)
{
    size_t at = sizeof *from;
    const char **tags = put(block, &at, _Alignof(char *), from->tags, from->tags_n * sizeof *from->tags);
    struct map_cap *caps = put(block, &at, _Alignof(struct map_cap), from->caps, from->caps_n * sizeof *from->caps);
    PUT(endpoints, struct endpoint);
    PUT(addresses, struct prefix);
    if (from->allowed == from->addresses && from->allowed_n == from->addresses_n)
        to->allowed = to->addresses;
    else
        PUT(allowed, struct prefix);
    PUT(routes, struct prefix);
    for (uint32_t i = 0; i < from->tags_n; i++) {
        const char *text = put_text(block, &at, from->tags[i]);
        if (tags)
            tags[i] = text;
    }
    for (uint32_t i = 0; i < from->caps_n; i++) {
        struct map_cap cap = {put_text(block, &at, from->caps[i].name), put_text(block, &at, from->caps[i].values)};
        if (caps)
            caps[i] = cap;
    }
    to->tags = tags;
    to->caps = caps;
    to->name = put_text(block, &at, from->name);
    to->stable_id = put_text(block, &at, from->stable_id);
    to->hostname = put_text(block, &at, from->hostname);
    to->os = put_text(block, &at, from->os);
    return at;
}

struct map_node *gsi_node_pack(const struct map_node *from)
{
    struct map_node counted = *from;
    size_t size = pack(from, &counted, NULL);
    uint8_t *block = size > UINT32_MAX ? NULL : OPENSSL_malloc(size);
    if (!block)
        return NULL;
    struct map_node *n = (struct map_node *)(void *)block;
    memcpy(n, from, sizeof *n);
    pack(from, n, block);
    n->size = (uint32_t)size;
    return n;
}

/* ---- differences ---- */

static bool same_bytes(const void *a, size_t a_n, const void *b, size_t b_n, size_t size)
{
    return a_n == b_n && (!a_n || memcmp(a, b, a_n * size) == 0);
}

static bool same_endpoints(const struct map_node *a, const struct map_node *b)
{
    if (a->endpoints_n != b->endpoints_n)
        return false;
    for (uint32_t i = 0; i < a->endpoints_n; i++)
        if (!gsi_endpoint_equal(&a->endpoints[i], &b->endpoints[i]))
            return false;
    return true;
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

static bool same_caps(const struct map_node *a, const struct map_node *b)
{
    bool same = a->caps_n == b->caps_n && a->tags_n == b->tags_n;
    for (uint32_t i = 0; same && i < a->caps_n; i++)
        same = same_text(a->caps[i].name, b->caps[i].name) && same_text(a->caps[i].values, b->caps[i].values);
    for (uint32_t i = 0; same && i < a->tags_n; i++)
        same = same_text(a->tags[i], b->tags[i]);
    return same;
}

static bool same_use(const struct map_node *a, const struct map_node *b)
{
    return a->expired == b->expired && a->jailed == b->jailed && a->wireguard_only == b->wireguard_only &&
           a->unsigned_peer_api_only == b->unsigned_peer_api_only && a->machine_authorized == b->machine_authorized &&
           a->key_expiry.s == b->key_expiry.s && a->key_expiry.ns == b->key_expiry.ns &&
           gsi_ip_equal(&a->masquerade_v4, &b->masquerade_v4) && gsi_ip_equal(&a->masquerade_v6, &b->masquerade_v6);
}

static bool same_rest(const struct map_node *a, const struct map_node *b)
{
    return a->id == b->id && a->user == b->user && a->sharer == b->sharer && a->cap == b->cap &&
           a->last_seen.s == b->last_seen.s && a->last_seen.ns == b->last_seen.ns && a->has_signature == b->has_signature &&
           memcmp(a->machine, b->machine, KEY_LEN) == 0 && same_text(a->stable_id, b->stable_id) && same_text(a->os, b->os) &&
           same_bytes(a->routes, a->routes_n, b->routes, b->routes_n, sizeof *a->routes);
}

unsigned gsi_node_diff(const struct map_node *a, const struct map_node *b)
{
    unsigned changed = 0;
    if (memcmp(a->key, b->key, KEY_LEN) != 0)
        changed |= MAP_CHANGED_KEY;
    if (memcmp(a->disco, b->disco, KEY_LEN) != 0)
        changed |= MAP_CHANGED_DISCO;
    if (!same_endpoints(a, b))
        changed |= MAP_CHANGED_ENDPOINTS;
    if (!same_bytes(a->allowed, a->allowed_n, b->allowed, b->allowed_n, sizeof *a->allowed))
        changed |= MAP_CHANGED_ALLOWED;
    if (!same_bytes(a->addresses, a->addresses_n, b->addresses, b->addresses_n, sizeof *a->addresses))
        changed |= MAP_CHANGED_ADDRESSES;
    if (a->home_derp != b->home_derp)
        changed |= MAP_CHANGED_DERP;
    if (a->online != b->online)
        changed |= MAP_CHANGED_ONLINE;
    if (!same_text(a->name, b->name) || !same_text(a->hostname, b->hostname))
        changed |= MAP_CHANGED_NAME;
    if (!same_caps(a, b))
        changed |= MAP_CHANGED_CAPS;
    if (!same_use(a, b))
        changed |= MAP_CHANGED_USE;
    if (!same_rest(a, b))
        changed |= MAP_CHANGED_OTHER;
    return changed;
}
