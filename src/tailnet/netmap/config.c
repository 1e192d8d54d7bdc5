/* config.c: the DERP map, the DNS configuration, users and messages for the user. */
#include <errno.h>
#include <openssl/crypto.h>

#include "tailnet/netmap/parts.h"

void gsi_config_free(struct config *c)
{
    if (!c)
        return;
    gsi_arena_free(&c->arena);
    OPENSSL_free(c);
}

/* From now on the parser keeps in it. */
static struct config *config_new(struct parse *p)
{
    struct config *c = OPENSSL_zalloc(sizeof *c);
    if (!c) {
        p->code = -ENOMEM;
        gsi_json_fail(&p->j, "no memory");
        return NULL;
    }
    c->arena.max = MAP_RULES_BYTES;
    p->arena = &c->arena;
    return c;
}

/* ---- relays ---- */

static void parse_derp_node(struct parse *p, struct map_derp_node *n)
{
    enum { NAME, REGION_ID, HOST_NAME, CERT_NAME, IPV4, IPV6, STUN_PORT, STUN_ONLY, DERP_PORT, INSECURE, STUN_TEST_IP,
           CAN_PORT_80 };
    static const char *const members[] = {[NAME] = "Name", [REGION_ID] = "RegionID", [HOST_NAME] = "HostName",
        [CERT_NAME] = "CertName",
        [IPV4] = "IPv4", [IPV6] = "IPv6", [STUN_PORT] = "STUNPort", [STUN_ONLY] = "STUNOnly", [DERP_PORT] = "DERPPort",
        [INSECURE] = "InsecureForTests", [STUN_TEST_IP] = "STUNTestIP", [CAN_PORT_80] = "CanPort80", NULL};
    struct json *j = &p->j;
    uint64_t seen = 0;
    for (int m; (m = gsi_json_member(j, members, &seen)) >= 0;)
        switch (m) {
        case NAME: n->name = gsi_parse_text(p); break;
        case REGION_ID: n->region = (int32_t)gsi_json_int(j, INT32_MIN, INT32_MAX); break;
        case HOST_NAME: n->host = gsi_parse_text(p); break;
        case CERT_NAME: n->cert = gsi_parse_text(p); break;
        case IPV4: n->ipv4 = gsi_parse_text(p); break;
        case IPV6: n->ipv6 = gsi_parse_text(p); break;
        case STUN_PORT: n->stun_port = (int32_t)gsi_json_int(j, -1, UINT16_MAX); break;
        case STUN_ONLY: n->stun_only = gsi_json_bool(j); break;
        case DERP_PORT: n->derp_port = (int32_t)gsi_json_int(j, 0, UINT16_MAX); break;
        case INSECURE: n->insecure_for_tests = gsi_json_bool(j); break;
        case STUN_TEST_IP: n->stun_test_ip = gsi_parse_text(p); break;
        case CAN_PORT_80: n->can_port_80 = gsi_json_bool(j); break;
        default: break;
        }
}

static void parse_derp_nodes(struct parse *p, struct map_derp_region *r)
{
    if (!gsi_json_array(&p->j))
        return;
    struct map_derp_node *nodes = gsi_parse_list(p, gsi_parse_count(p), sizeof *nodes);
    while (gsi_json_item(&p->j)) {
        struct map_derp_node n = {.name = "", .host = "", .cert = "", .ipv4 = "", .ipv6 = "", .stun_test_ip = ""};
        if (!gsi_json_object(&p->j))
            continue;
        parse_derp_node(p, &n);
        if (nodes)
            nodes[r->nodes_n++] = n;
    }
    r->nodes = nodes;
}

static void parse_region(struct parse *p, struct map_derp_region *r)
{
    enum { REGION_ID, CODE, NAME, AVOID, NO_MEASURE, NODES };
    static const char *const members[] = {[REGION_ID] = "RegionID", [CODE] = "RegionCode", [NAME] = "RegionName",
        [AVOID] = "Avoid",
                                          [NO_MEASURE] = "NoMeasureNoHome", [NODES] = "Nodes", NULL};
    uint64_t seen = 0;
    for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
        switch (m) {
        case CODE: r->code = gsi_parse_text(p); break;
        case NAME: r->name = gsi_parse_text(p); break;
        case AVOID: r->avoid = gsi_json_bool(&p->j); break;
        case NO_MEASURE: r->no_measure_no_home = gsi_json_bool(&p->j); break;
        case NODES: parse_derp_nodes(p, r); break;
        default: break; /* RegionID: the name of the member is it */
        }
}

static bool parse_id(struct parse *p, const struct json_text *key, int32_t *out)
{
    int64_t id;
    if (!gsi_json_text_int(key, &id) || id < 1 || id > INT32_MAX)
        return gsi_json_fail(&p->j, "a region's name is not its number");
    *out = (int32_t)id;
    return true;
}

static void parse_regions(struct parse *p, struct map_derp *d)
{
    struct json_text key;
    if (!gsi_json_object(&p->j))
        return;
    size_t room = gsi_parse_count(p);
    if (room > MAP_REGIONS_MAX)
        gsi_json_fail(&p->j, "too many regions");
    struct map_derp_region *regions = gsi_parse_list(p, room, sizeof *regions);
    while (gsi_json_key(&p->j, &key)) {
        struct map_derp_region r = {.code = "", .name = ""};
        if (!parse_id(p, &key, &r.id) || !gsi_json_object(&p->j))
            continue; /* null: headscale was seen to send such */
        parse_region(p, &r);
        if (!regions)
            continue;
        uint32_t at = d->regions_n++;
        for (; at && regions[at - 1].id > r.id; at--)
            regions[at] = regions[at - 1];
        if (at && regions[at - 1].id == r.id)
            gsi_json_fail(&p->j, "a region comes twice");
        regions[at] = r;
    }
    d->regions = regions;
}

static void parse_scores(struct parse *p, struct config *c)
{
    static const char *const members[] = {"RegionScore", NULL};
    uint64_t seen = 0;
    struct json_text key;
    if (!gsi_json_object(&p->j))
        return;
    while (gsi_json_member(&p->j, members, &seen) >= 0) {
        if (!gsi_json_object(&p->j))
            continue;
        struct map_score *scores = gsi_parse_list(p, gsi_parse_count(p), sizeof *scores);
        while (gsi_json_key(&p->j, &key)) {
            struct map_score s = {.region = 0};
            if (parse_id(p, &key, &s.region))
                s.score = gsi_json_number(&p->j);
            if (scores)
                scores[c->u.scores.n++] = s;
        }
        c->u.scores.of = scores;
    }
}

bool gsi_derp_parse(struct parse *p, struct config **regions, struct config **scores)
{
    enum { HOME_PARAMS, REGIONS };
    static const char *const members[] = {[HOME_PARAMS] = "HomeParams", [REGIONS] = "Regions", NULL};
    uint64_t seen = 0;
    if (!gsi_json_object(&p->j))
        return !p->j.error;
    for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;) {
        struct config **c = m == REGIONS ? regions : scores;
        if (gsi_json_null(&p->j) || !(*c = config_new(p)))
            continue;
        if (m == REGIONS)
            parse_regions(p, &(*c)->u.derp);
        else
            parse_scores(p, *c);
    }
    return !p->j.error;
}

/* ---- names ---- */

static void parse_records(struct parse *p, struct map_dns *d)
{
    enum { NAME, TYPE, VALUE };
    static const char *const members[] = {[NAME] = "Name", [TYPE] = "Type", [VALUE] = "Value", NULL};
    if (!gsi_json_array(&p->j))
        return;
    struct map_record *records = gsi_parse_list(p, gsi_parse_count(p), sizeof *records);
    while (gsi_json_item(&p->j)) {
        const char *name = "", *type = "", *value = "";
        struct map_record r;
        uint64_t seen = 0;
        if (!gsi_json_object(&p->j))
            continue;
        for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
            *(m == NAME ? &name : m == TYPE ? &type : &value) = gsi_parse_text(p);
        bool any = !*type, four = strcmp(type, "A") == 0, six = strcmp(type, "AAAA") == 0;
        if (!records || !*name || !(any || four || six) || gsi_ip_parse(value, strlen(value), &r.ip) < 0)
            continue;
        r.name = name;
        if (any || four == gsi_ip_is_v4(&r.ip))
            records[d->records_n++] = r;
    }
    d->records = records;
}

struct config *gsi_dns_parse(struct parse *p)
{
    enum { PROXIED, DOMAINS, EXTRA_RECORDS };
    static const char *const members[] = {[PROXIED] = "Proxied", [DOMAINS] = "Domains", [EXTRA_RECORDS] = "ExtraRecords", NULL};
    uint64_t seen = 0;
    struct config *c;
    if (!gsi_json_object(&p->j) || !(c = config_new(p)))
        return NULL;
    for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
        switch (m) {
        case PROXIED: c->u.dns.proxied = gsi_json_bool(&p->j); break;
        case DOMAINS: c->u.dns.domains = gsi_parse_texts(p, &c->u.dns.domains_n); break;
        case EXTRA_RECORDS: parse_records(p, &c->u.dns); break;
        default: break;
        }
    return c;
}

/* ---- users, texts ---- */

struct map_user *gsi_user_parse(struct parse *p)
{
    enum { ID, LOGIN_NAME, DISPLAY_NAME, PROFILE_PIC_URL };
    static const char *const members[] = {[ID] = "ID", [LOGIN_NAME] = "LoginName", [DISPLAY_NAME] = "DisplayName",
        [PROFILE_PIC_URL] = "ProfilePicURL", NULL};
    struct map_user u = {.login = "", .display = "", .picture = ""};
    uint64_t seen = 0;
    if (!gsi_json_object(&p->j))
        return NULL;
    for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
        if (m == ID)
            u.id = gsi_json_int(&p->j, INT64_MIN, INT64_MAX);
        else
            *(m == LOGIN_NAME ? &u.login : m == DISPLAY_NAME ? &u.display : &u.picture) = gsi_parse_text(p);
    if (p->j.error)
        return NULL;
    size_t login = strlen(u.login) + 1, display = strlen(u.display) + 1, picture = strlen(u.picture) + 1;
    struct map_user *out = OPENSSL_malloc(sizeof *out + login + display + picture);
    if (!out) {
        p->code = -ENOMEM;
        gsi_json_fail(&p->j, "no memory");
        return NULL;
    }
    char *text = (char *)(out + 1);
    *out = (struct map_user){u.id, text, text + login, text + login + display};
    memcpy(text, u.login, login);
    memcpy(text + login, u.display, display);
    memcpy(text + login + display, u.picture, picture);
    return out;
}

struct config *gsi_health_parse(struct parse *p)
{
    struct config *c;
    if (gsi_json_null(&p->j) || !(c = config_new(p)))
        return NULL;
    c->u.health.of = gsi_parse_texts(p, &c->u.health.n);
    return c;
}

struct config *gsi_text_parse(struct parse *p)
{
    struct config *c = config_new(p);
    if (c)
        c->u.text = gsi_parse_text(p);
    return c;
}

bool gsi_named_read_message(struct parse *p, struct named *n)
{
    enum { TITLE, TEXT, SEVERITY };
    static const char *const members[] = {[TITLE] = "Title", [TEXT] = "Text", [SEVERITY] = "Severity", NULL};
    uint64_t seen = 0;
    n->message = (struct map_message){n->name, "", "", ""};
    if (gsi_json_object(&p->j))
        for (int m; (m = gsi_json_member(&p->j, members, &seen)) >= 0;)
            *(m == TITLE ? &n->message.title : m == TEXT ? &n->message.text : &n->message.severity) = gsi_parse_text(p);
    return !p->j.error;
}
