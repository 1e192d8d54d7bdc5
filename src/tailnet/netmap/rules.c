/* rules.c: filter rules as the filter wants them (tailcfg.FilterRule), and which sources they have. */
#include "tailnet/netmap/parts.h"

static struct filter_text parse_rule_text(struct parse *p)
{
    const char *text = gsi_parse_text(p);
    return (struct filter_text){text, strlen(text)};
}

static const struct filter_text *parse_rule_texts(struct parse *p, size_t *n)
{
    *n = 0;
    if (!gsi_json_array(&p->j))
        return NULL;
    struct filter_text *list = gsi_parse_list(p, gsi_parse_count(p), sizeof *list);
    while (gsi_json_item(&p->j)) {
        struct filter_text t = parse_rule_text(p);
        if (list)
            list[(*n)++] = t;
    }
    return list;
}

static void parse_ports(struct parse *p, struct filter_destination *d)
{
    static const char *const members[] = {"First", "Last", NULL};
    uint64_t seen = 0;
    if (!gsi_json_object(&p->j))
        return;
    for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
        *(m ? &d->last : &d->first) = (uint16_t)gsi_json_int(&p->j, 0, UINT16_MAX);
}


/* An old server's member: neither null nor an empty list. */
static bool is_told(struct parse *p)
{
    if (gsi_json_null(&p->j))
        return false;
    bool told = gsi_json_kind(&p->j) != JSON_ARRAY;
    if (!told && gsi_json_array(&p->j))
        while (gsi_json_item(&p->j))
            told = true;
    return told;
}

static void parse_destinations(struct parse *p, struct filter_rule *r)
{
    enum { IP, PORTS, BITS };
    static const char *const members[] = {[IP] = "IP", [PORTS] = "Ports", [BITS] = "Bits", NULL};
    if (!gsi_json_array(&p->j))
        return;
    struct filter_destination *list = gsi_parse_list(p, gsi_parse_count(p), sizeof *list);
    while (gsi_json_item(&p->j)) {
        struct filter_destination d = {.ip = {.p = ""}};
        uint64_t seen = 0;
        if (!gsi_json_object(&p->j))
            continue;
        for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
            if (m == IP)
                d.ip = parse_rule_text(p);
            else if (m == PORTS)
                parse_ports(p, &d);
            else
                r->has_bits |= is_told(p);
        if (list)
            list[r->n_destinations++] = d;
    }
    r->destinations = list;
}

static void parse_protocols(struct parse *p, struct filter_rule *r)
{
    if (!gsi_json_array(&p->j))
        return;
    int64_t *list = gsi_parse_list(p, gsi_parse_count(p), sizeof *list);
    while (gsi_json_item(&p->j)) {
        int64_t protocol = gsi_json_int(&p->j, INT64_MIN, INT64_MAX);
        if (list)
            list[r->n_protocols++] = protocol;
    }
    r->protocols = list;
}

/* [values], each as it stands in the message */
static void parse_values(struct parse *p, struct filter_capability *c)
{
    if (!gsi_json_array(&p->j))
        return;
    struct filter_text *list = gsi_parse_list(p, gsi_parse_count(p), sizeof *list);
    while (gsi_json_item(&p->j)) {
        const char *value = gsi_parse_raw(p);
        if (list)
            list[c->n_values++] = (struct filter_text){value ? value : "null", value ? strlen(value) : 4};
    }
    c->values = list;
}

/* Caps, a list of names, or CapMap, {name: [values]}: behind those that are there. */
static void parse_capabilities(struct parse *p, struct filter_grant *g, bool of_names)
{
    struct json_text key = {.p = ""};
    if (of_names ? !gsi_json_array(&p->j) : !gsi_json_object(&p->j))
        return;
    struct filter_capability *list = gsi_parse_list(p, gsi_parse_count(p) + g->n_capabilities, sizeof *list);
    if (list && g->n_capabilities)
        memcpy(list, g->capabilities, g->n_capabilities * sizeof *list);
    while (of_names ? gsi_json_item(&p->j) : gsi_json_key(&p->j, &key)) {
        const char *name = of_names ? gsi_parse_text(p) : gsi_parse_key_text(p, &key);
        struct filter_capability c = {.name = {name, strlen(name)}};
        if (!of_names)
            parse_values(p, &c);
        if (list && *name)
            list[g->n_capabilities++] = c;
    }
    g->capabilities = list;
}

static void parse_grants(struct parse *p, struct filter_rule *r)
{
    enum { DSTS, CAPS, CAP_MAP };
    static const char *const members[] = {[DSTS] = "Dsts", [CAPS] = "Caps", [CAP_MAP] = "CapMap", NULL};
    if (!gsi_json_array(&p->j))
        return;
    struct filter_grant *list = gsi_parse_list(p, gsi_parse_count(p), sizeof *list);
    while (gsi_json_item(&p->j)) {
        struct filter_grant g = {.n_destinations = 0};
        uint64_t seen = 0;
        if (!gsi_json_object(&p->j))
            continue;
        for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
            if (m == DSTS)
                g.destinations = parse_rule_texts(p, &g.n_destinations);
            else
                parse_capabilities(p, &g, m == CAPS);
        if (list)
            list[r->n_grants++] = g;
    }
    r->grants = list;
}

static void parse_rule(struct parse *p, struct filter_rule *r)
{
    enum { SRC_IPS, SRC_BITS, DST_PORTS, IP_PROTO, CAP_GRANT };
    static const char *const members[] = {[SRC_IPS] = "SrcIPs", [SRC_BITS] = "SrcBits", [DST_PORTS] = "DstPorts",
        [IP_PROTO] = "IPProto", [CAP_GRANT] = "CapGrant", NULL};
    uint64_t seen = 0;
    for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
        switch (m) {
        case SRC_IPS: r->sources = parse_rule_texts(p, &r->n_sources); break;
        case SRC_BITS: r->has_bits |= is_told(p); break;
        case DST_PORTS: parse_destinations(p, r); break;
        case IP_PROTO: parse_protocols(p, r); break;
        case CAP_GRANT: parse_grants(p, r); break;
        default: break;
        }
}

bool gsi_named_read_rules(struct parse *p, struct named *n)
{
    if (!gsi_json_array(&p->j))
        return !p->j.error;
    struct filter_rule *rules = gsi_parse_list(p, gsi_parse_count(p), sizeof *rules);
    while (gsi_json_item(&p->j)) {
        struct filter_rule r = {.n_sources = 0};
        if (!gsi_json_object(&p->j))
            continue;
        parse_rule(p, &r);
        if (rules)
            rules[n->list.n++] = r;
    }
    n->list.rules = rules;
    return !p->j.error;
}

/* ---- sources ---- */

enum family { BOTH, V4, V6 };

/* IPv6's ::/0 has our form of IPv4 addresses in it, but means IPv6. */
struct range {
    struct ip first, last;
    enum family family;
};

static struct range range_of(const struct prefix *p)
{
    struct range r = {p->ip, p->ip, gsi_prefix_is_v4(p) ? V4 : V6};
    for (unsigned i = p->bits; i < PREFIX_BITS; i++)
        r.last.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
    return r;
}

/* "*", an address, a prefix, or two addresses of one family with a - between. */
static bool range_parse(const struct filter_text *t, struct range *out)
{
    struct prefix p;
    const char *dash = t->n ? memchr(t->p, '-', t->n) : NULL;
    if (t->n == 1 && *t->p == '*') {
        memset(out->first.b, 0, IP_LEN);
        memset(out->last.b, 0xff, IP_LEN);
        out->family = BOTH;
        return true;
    }
    if (dash) {
        size_t front = (size_t)(dash - t->p);
        if (gsi_ip_parse(t->p, front, &out->first) < 0 || gsi_ip_parse(dash + 1, t->n - front - 1, &out->last) < 0)
            return false;
        out->family = gsi_ip_is_v4(&out->first) ? V4 : V6;
        return gsi_ip_is_v4(&out->first) == gsi_ip_is_v4(&out->last);
    }
    if (gsi_prefix_parse(t->p, t->n, &p) < 0)
        return false;
    *out = range_of(&p);
    return true;
}

static bool is_below(const struct ip *a, const struct ip *b) { return memcmp(a->b, b->b, IP_LEN) <= 0; }
static bool meets(const struct range *a, const struct range *b)
{
    return (!a->family || a->family == b->family) && is_below(&a->first, &b->last) && is_below(&b->first, &a->last);
}

bool gsi_map_node_has_cap(const struct map_node *n, const char *name, size_t name_n, const struct map_cap **out)
{
    for (uint32_t i = 0; i < n->caps_n; i++)
        if (strlen(n->caps[i].name) == name_n && memcmp(n->caps[i].name, name, name_n) == 0) {
            if (out)
                *out = &n->caps[i];
            return true;
        }
    return false;
}

/* Whether a source is in the range, or a capability of the node's. */
static bool has_source(const struct filter_rule *r, const struct range *of, const struct map_node *node)
{
    static const char cap[] = "cap:";
    enum { FRONT = sizeof cap - 1 };
    for (size_t i = 0; i < r->n_sources; i++) {
        const struct filter_text *t = &r->sources[i];
        struct range src;
        if (t->n > FRONT && memcmp(t->p, cap, FRONT) == 0) {
            if (node && gsi_map_node_has_cap(node, t->p + FRONT, t->n - FRONT, NULL))
                return true;
        } else if (range_parse(t, &src) && is_below(&src.first, &src.last) && meets(&src, of))
            return true;
    }
    return false;
}

bool gsi_map_rule_has_src(const struct filter_rule *r, const struct ip *src, const struct map_node *node)
{
    return has_source(r, &(struct range){*src, *src, gsi_ip_is_v4(src) ? V4 : V6}, node);
}

bool gsi_rule_overlaps(const struct filter_rule *r, const struct map_node *peer)
{
    for (uint32_t i = 0; i < peer->allowed_n; i++) {
        struct range allowed = range_of(&peer->allowed[i]);
        if (has_source(r, &allowed, peer))
            return true;
    }
    return false;
}
