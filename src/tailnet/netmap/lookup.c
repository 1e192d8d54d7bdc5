/* lookup.c: what is asked of a map: peers, relays, users, rules, names and identities. */
#include <openssl/crypto.h>

#include "tailnet/netmap/parts.h"

const struct map_node *gsi_netmap_self(const struct netmap *m) { return m->self; }
size_t gsi_netmap_peers_n(const struct netmap *m) { return m->nodes_n - m->holes_n; }
size_t gsi_netmap_dropped(const struct netmap *m) { return m->dropped; }
bool gsi_netmap_is_locked(const struct netmap *m) { return m->locked; }
bool gsi_netmap_has_filter(const struct netmap *m) { return m->has_filter; }
const char *gsi_netmap_domain(const struct netmap *m) { return m->domain ? m->domain->u.text : ""; }

const struct map_node *gsi_netmap_each(const struct netmap *m, size_t *at)
{
    while (*at < m->nodes_n) {
        const struct map_node *n = m->nodes[(*at)++];
        if (n)
            return n;
    }
    return NULL;
}

/* ---- peers ---- */

const struct map_node *gsi_netmap_by_id(const struct netmap *m, int64_t id)
{
    uint32_t at = gsi_netmap_find_id(m, id);
    return at == UINT32_MAX ? NULL : m->nodes[at];
}

const struct map_node *gsi_netmap_by_key(const struct netmap *m, const uint8_t key[KEY_LEN])
{
    uint32_t hash = gsi_index_hash(m->seed, BY_KEY, key, KEY_LEN), at = hash;
    for (uint32_t i; (i = gsi_map_table_next(&m->index, hash, &at)) != UINT32_MAX;)
        if (memcmp(m->nodes[i]->key, key, KEY_LEN) == 0)
            return m->nodes[i];
    return NULL;
}

const struct map_node *gsi_netmap_by_disco(const struct netmap *m, const uint8_t disco[KEY_LEN], const struct map_node *after)
{
    uint32_t hash = gsi_index_hash(m->seed, BY_DISCO, disco, KEY_LEN), at = hash;
    if (gsi_is_zero(disco, KEY_LEN))
        return NULL;
    for (uint32_t i; (i = gsi_map_table_next(&m->index, hash, &at)) != UINT32_MAX;) {
        const struct map_node *n = m->nodes[i];
        if (memcmp(n->disco, disco, KEY_LEN) != 0)
            continue;
        if (!after)
            return n;
        if (n == after)
            after = NULL;
    }
    return NULL;
}

static bool has_address(const struct map_node *n, const struct ip *ip)
{
    for (uint32_t i = 0; i < n->addresses_n; i++)
        if (n->addresses[i].bits == PREFIX_BITS && gsi_ip_equal(&n->addresses[i].ip, ip))
            return true;
    return false;
}

const struct map_node *gsi_netmap_by_address(const struct netmap *m, const struct ip *ip)
{
    uint32_t hash = gsi_index_hash(m->seed, BY_ADDRESS, ip->b, IP_LEN), at = hash;
    for (uint32_t i; (i = gsi_map_table_next(&m->index, hash, &at)) != UINT32_MAX;)
        if (has_address(m->nodes[i], ip))
            return m->nodes[i];
    return NULL;
}

const struct map_node *gsi_netmap_node_at(const struct netmap *m, const struct ip *ip)
{
    return m->self && has_address(m->self, ip) ? m->self : gsi_netmap_by_address(m, ip);
}

enum map_use gsi_netmap_use(const struct netmap *m, const struct map_node *peer, int64_t wall_s)
{
    int64_t expiry = peer->key_expiry.s;
    bool has_expiry = expiry || peer->key_expiry.ns;
    if (m->locked)
        return MAP_LOCKED;
    if (peer->expired || (has_expiry && expiry <= wall_s + m->clock_ahead_s))
        return MAP_EXPIRED;
    if (!gsi_ip_is_none(&peer->masquerade_v4) || !gsi_ip_is_none(&peer->masquerade_v6))
        return MAP_MASQUERADED;
    if (!peer->wireguard_only && !peer->home_derp && gsi_is_zero(peer->disco, KEY_LEN))
        return MAP_UNREACHABLE;
    return MAP_USABLE;
}

/* ---- configuration ---- */

const struct map_derp *gsi_netmap_derp(const struct netmap *m)
{
    static const struct map_derp none;
    return m->derp ? &m->derp->u.derp : &none;
}

const struct map_derp_region *gsi_netmap_region(const struct netmap *m, int32_t id)
{
    const struct map_derp *d = gsi_netmap_derp(m);
    for (uint32_t i = 0; i < d->regions_n; i++)
        if (d->regions[i].id == id)
            return &d->regions[i];
    return NULL;
}

double gsi_netmap_score(const struct netmap *m, int32_t region)
{
    for (uint32_t i = 0; m->scores && i < m->scores->u.scores.n; i++)
        if (m->scores->u.scores.of[i].region == region && m->scores->u.scores.of[i].score > 0)
            return m->scores->u.scores.of[i].score;
    return 1;
}

const struct map_dns *gsi_netmap_dns(const struct netmap *m)
{
    static const struct map_dns none;
    return m->dns ? &m->dns->u.dns : &none;
}

const struct map_user *gsi_netmap_user(const struct netmap *m, int64_t id)
{
    size_t low = 0, high = m->users_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->users[middle]->id == id)
            return m->users[middle];
        if (m->users[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool gsi_netmap_message(const struct netmap *m, size_t i, struct map_message *out)
{
    uint32_t health = m->health ? m->health->u.health.n : 0;
    if (i < health) {
        *out = (struct map_message){"", "", m->health->u.health.of[i], ""};
        return true;
    }
    if (i - health >= m->messages.n)
        return false;
    *out = m->messages.of[i - health]->message;
    return true;
}

size_t gsi_netmap_filter(const struct netmap *m, struct filter_list *out, size_t cap)
{
    size_t n = m->filter_discarded ? 0 : m->filters.n;
    for (size_t i = 0; i < n && i < cap; i++)
        out[i] = m->filters.of[i]->list;
    return n;
}

static size_t config_bytes(const struct config *c) { return c ? sizeof *c + c->arena.bytes : 0; }

static size_t named_bytes(const struct named_list *l)
{
    size_t n = l->n * sizeof *l->of;
    for (size_t i = 0; i < l->n; i++)
        n += sizeof *l->of[i] + l->of[i]->arena.bytes;
    return n;
}

size_t gsi_netmap_bytes(const struct netmap *m)
{
    size_t n = sizeof *m + m->node_bytes + m->index.cap * sizeof *m->index.slots + m->nodes_cap * (sizeof *m->nodes +
                                                                                                   sizeof *m->holes);
    n += (m->self ? m->self->size : 0) + config_bytes(m->derp) + config_bytes(m->scores) + config_bytes(m->dns) +
        config_bytes(m->health);
    n += config_bytes(m->domain) + config_bytes(m->browsed) + named_bytes(&m->filters) + named_bytes(&m->messages);
    for (size_t i = 0; i < m->users_n; i++) {
        const struct map_user *u = m->users[i];
        n += sizeof u + sizeof *u + strlen(u->login) + strlen(u->display) + strlen(u->picture) + 3;
    }
    return n;
}

/* ---- names ---- */

enum { NAME_MAX_BYTES = 253, NAME_ROOM = 2 * MAP_TEXT_MAX + 2 };

static bool same_name(const char *a, size_t a_n, const char *b)
{
    if (a_n != gsi_name_len(b, strlen(b)))
        return false;
    for (size_t i = 0; i < a_n; i++) {
        char x = a[i], y = b[i];
        x = x >= 'A' && x <= 'Z' ? (char)(x | 0x20) : x;
        y = y >= 'A' && y <= 'Z' ? (char)(y | 0x20) : y;
        if (x != y)
            return false;
    }
    return true;
}

static const struct map_node *find_name(const struct netmap *m, const char *name, size_t n)
{
    uint32_t hash = gsi_name_hash(m->seed, name, n), at = hash;
    if (m->self && same_name(name, n, m->self->name))
        return m->self;
    for (uint32_t i; (i = gsi_map_table_next(&m->index, hash, &at)) != UINT32_MAX;)
        if (same_name(name, n, m->nodes[i]->name))
            return m->nodes[i];
    return NULL;
}

/* name + "." + suffix in out; 0 when there is no suffix. */
static size_t join(char *out, const char *name, size_t n, const char *suffix)
{
    size_t suffix_n = gsi_name_len(suffix, strlen(suffix));
    if (!suffix_n || n + 1 + suffix_n > NAME_ROOM)
        return 0;
    memcpy(out, name, n);
    out[n] = '.';
    memcpy(out + n + 1, suffix, suffix_n);
    return n + 1 + suffix_n;
}

static int addresses_of(const struct map_node *node, struct ip *out, size_t cap)
{
    size_t found = 0;
    for (uint32_t i = 0; i < node->addresses_n; i++)
        if (node->addresses[i].bits == PREFIX_BITS) {
            if (found < cap)
                out[found] = node->addresses[i].ip;
            found++;
        }
    return found ? (int)found : GS_ENXDOMAIN;
}

static int records_of(const struct netmap *m, const char *name, size_t n, struct ip *out, size_t cap)
{
    const struct map_dns *d = gsi_netmap_dns(m);
    size_t found = 0;
    for (uint32_t i = 0; i < d->records_n; i++)
        if (same_name(name, n, d->records[i].name)) {
            if (found < cap)
                out[found] = d->records[i].ip;
            found++;
        }
    return found ? (int)found : GS_ENXDOMAIN;
}

int gsi_netmap_resolve(const struct netmap *m, const char *name, size_t n, struct ip *out, size_t cap)
{
    char joined[NAME_ROOM];
    n = gsi_name_len(name, n);
    if (!n || n > NAME_MAX_BYTES)
        return GS_ENXDOMAIN;
    const struct map_node *node = find_name(m, name, n);
    const char *dot = m->self ? strchr(m->self->name, '.') : NULL;
    if (!node && dot && !memchr(name, '.', n)) {
        size_t joined_n = join(joined, name, n, dot + 1);
        node = joined_n ? find_name(m, joined, joined_n) : NULL;
    }
    if (node)
        return addresses_of(node, out, cap);
    int found = records_of(m, name, n, out, cap);
    const struct map_dns *d = gsi_netmap_dns(m);
    for (uint32_t i = 0; i < d->domains_n && found < 0; i++) {
        size_t joined_n = join(joined, name, n, d->domains[i]);
        node = joined_n ? find_name(m, joined, joined_n) : NULL;
        found = node ? addresses_of(node, out, cap) : joined_n ? records_of(m, joined, joined_n, out, cap) : found;
    }
    return found;
}

/* ---- identity ---- */

bool gsi_netmap_whois(const struct netmap *m, const struct ip *ip, struct map_who *out)
{
    *out = (struct map_who){.node = gsi_netmap_node_at(m, ip), .ip = *ip};
    if (out->node)
        out->user = gsi_netmap_user(m, out->node->user);
    return out->user != NULL;
}

/* Whether the grant is for this node, by the address of the asker's family. */
static bool is_for_self(const struct netmap *m, const struct filter_grant *g, const struct ip *asker)
{
    struct prefix dst;
    for (uint32_t i = 0; m->self && i < m->self->addresses_n; i++) {
        const struct prefix *own = &m->self->addresses[i];
        if (own->bits != PREFIX_BITS || gsi_ip_is_v4(&own->ip) != gsi_ip_is_v4(asker))
            continue;
        for (size_t k = 0; k < g->n_destinations; k++)
            if (gsi_prefix_parse(g->destinations[k].p, g->destinations[k].n, &dst) == 0 &&
                gsi_prefix_is_v4(&dst) == gsi_ip_is_v4(&own->ip) &&
                gsi_prefix_has(&dst, &own->ip))
                return true;
    }
    return false;
}

bool gsi_netmap_who_cap(const struct netmap *m, struct map_who *who, struct filter_capability *out)
{
    for (; !m->filter_discarded && who->part < m->filters.n; who->part++, who->rule = 0) {
        const struct filter_list *list = &m->filters.of[who->part]->list;
        for (; who->rule < list->n; who->rule++, who->grant = who->cap = 0) {
            const struct filter_rule *r = &list->rules[who->rule];
            if (!r->n_grants || !gsi_map_rule_has_src(r, &who->ip, who->node))
                continue;
            for (; who->grant < r->n_grants; who->grant++, who->cap = 0) {
                const struct filter_grant *g = &r->grants[who->grant];
                if (who->cap < g->n_capabilities && (who->cap || is_for_self(m, g, &who->ip))) {
                    *out = g->capabilities[who->cap++];
                    return true;
                }
            }
        }
    }
    return false;
}
