/* members.c: the nodes of a lab: their names, addresses and changes; its users, relays and filter. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/lab/inside.h"
#include "tailnet/netmap/netmap.h"

/* ---- finding ---- */

struct member *gsi_lab_by_key(const struct coordination *s, const uint8_t key[KEY_LEN])
{
    for (int i = 0; i < s->members_n; i++)
        if (memcmp(s->members[i]->key, key, KEY_LEN) == 0)
            return s->members[i];
    return NULL;
}

struct member *gsi_lab_by_machine(const struct coordination *s, const uint8_t machine[KEY_LEN])
{
    for (int i = 0; i < s->members_n; i++)
        if (memcmp(s->members[i]->machine, machine, KEY_LEN) == 0)
            return s->members[i];
    return NULL;
}

struct member *gsi_lab_by_id(const struct coordination *s, int64_t id)
{
    for (int i = 0; i < s->members_n; i++)
        if (s->members[i]->id == id)
            return s->members[i];
    return NULL;
}

/* ---- changes ---- */

uint64_t gsi_lab_tell_all(struct coordination *s)
{
    for (int i = 0; i < s->members_n; i++)
        if (s->members[i]->map)
            gsi_lab_resume(s->members[i]->map);
    return ++s->seq;
}

void gsi_lab_changed(struct coordination *s, struct member *m, enum change what) { m->changed[what] = gsi_lab_tell_all(s); }

void gsi_lab_member_expire(struct coordination *s, struct member *m)
{
    m->expired = true;
    m->expiry_s = gsi_lab_wall(s);
    gsi_lab_changed(s, m, CHANGED_WHOLE);
}

/* ---- coming and going ---- */

/* The lowest number that nobody has; 0: none. */
static uint16_t free_number(const struct coordination *s)
{
    for (unsigned n = 1; n < 65535; n++)
        if (!(s->numbers[n / 8] >> (n % 8) & 1))
            return (uint16_t)n;
    return 0;
}

struct member *gsi_lab_member_new(struct coordination *s)
{
    uint16_t number = s->members_n < s->nodes_max ? free_number(s) : 0;
    if (!number)
        return NULL;
    if (s->members_n == s->members_cap) {
        int cap = s->members_cap ? 2 * s->members_cap : 16;
        struct member **grown = OPENSSL_realloc(s->members, (size_t)cap * sizeof *grown);
        if (!grown)
            return NULL;
        s->members = grown;
        s->members_cap = cap;
    }
    struct member *m = OPENSSL_zalloc(sizeof *m);
    if (!m)
        return NULL;
    m->id = ++s->last_id;
    m->number = number;
    s->numbers[number / 8] |= (uint8_t)(1 << (number % 8));
    s->members[s->members_n++] = m;
    return m;
}

void gsi_lab_member_remove(struct coordination *s, struct member *m)
{
    int i = 0;
    while (s->members[i] != m)
        i++;
    for (struct coordination_conn *c = s->conns; c; c = c->next)
        for (struct exchange *x = c->exchanges; x; x = x->next)
            if (x->member == m) {
                gsi_lab_forget(x);
                gsi_lab_resume(x);
            }
    memmove(s->members + i, s->members + i + 1, (size_t)(s->members_n - i - 1) * sizeof *s->members);
    s->members_n--;
    s->numbers[m->number / 8] &= (uint8_t)~(1 << (m->number % 8));
    s->gone[s->gone_at] = (struct gone){m->id, gsi_lab_tell_all(s)};
    s->gone_at = (s->gone_at + 1) % GONE_MAX;
    s->gone_n += s->gone_n < GONE_MAX;
    OPENSSL_free(m);
}

/* ---- names and addresses ---- */

struct ip gsi_lab_v4(const struct member *m)
{
    uint8_t v4[4] = {100, 64, (uint8_t)(m->number >> 8), (uint8_t)m->number};
    return gsi_ip_of_v4(v4);
}

struct ip gsi_lab_v6(const struct member *m)
{
    uint8_t v6[IP_LEN] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, [14] = (uint8_t)(m->number >> 8), [15] = (uint8_t)m->number};
    return gsi_ip_of_v6(v6);
}

/* A DNS label of what a machine calls itself: up to the first dot, letters small, others hyphens, none at its ends. */
static void make_label(char out[COORDINATION_NAME_MAX + 1], const char *wish)
{
    size_t n = 0;
    for (; *wish && *wish != '.' && n < COORDINATION_NAME_MAX; wish++) {
        char c = *wish >= 'A' && *wish <= 'Z' ? (char)(*wish + 32) : *wish;
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (plain)
            out[n++] = c;
        else if (n && out[n - 1] != '-')
            out[n++] = '-';
    }
    while (n && out[n - 1] == '-')
        n--;
    out[n] = 0;
    if (!n)
        memcpy(out, "node", 5);
}

static bool is_taken(const struct coordination *s, const struct member *but, const char *name)
{
    for (int i = 0; i < s->members_n; i++)
        if (s->members[i] != but && strcmp(s->members[i]->name, name) == 0)
            return true;
    return false;
}

void gsi_lab_member_rename(struct coordination *s, struct member *m, const char *hostname)
{
    char wish[COORDINATION_NAME_MAX + 1], name[COORDINATION_NAME_MAX + 16];
    make_label(wish, hostname);
    if (*m->name && strcmp(m->wish, wish) == 0)
        return;
    memcpy(m->wish, wish, sizeof m->wish);
    memcpy(name, wish, sizeof wish);
    for (int i = 1; is_taken(s, m, name); i++)
        snprintf(name, sizeof name, "%.*s-%d", COORDINATION_NAME_MAX - 6, wish, i);
    memcpy(m->name, name, sizeof m->name);
    gsi_lab_changed(s, m, CHANGED_WHOLE);
}

/* ---- users, relays, filter ---- */

int gsi_lab_account(struct coordination *s, const char *login)
{
    size_t n = strlen(login);
    char quoted[6 * COORDINATION_LOGIN_MAX + 2];
    struct json_out o = gsi_json_out_of(quoted, sizeof quoted);
    if (!n || n > COORDINATION_LOGIN_MAX)
        return GS_EINVALID;
    gsi_json_put_string(&o, NULL, login);
    if (gsi_json_out_end(&o) < 0)
        return GS_EINVALID;
    for (int i = 0; i < s->accounts_n; i++)
        if (strcmp(s->accounts[i].login, login) == 0)
            return i;
    if (s->accounts_n == USERS_MAX)
        return -ENOBUFS;
    struct account *u = &s->accounts[s->accounts_n];
    u->id = s->accounts_n + 1;
    memcpy(u->login, login, n + 1);
    memcpy(u->display, login, n + 1);
    return s->accounts_n++;
}

static bool take_region(struct told_region *out, const struct coordination_region *r)
{
    const char *texts[6] = {r->code, r->name, r->host, r->ipv4, r->ipv6, r->cert_name};
    out->r = *r;
    for (int i = 0; i < 6; i++) {
        size_t n = texts[i] ? strlen(texts[i]) : 0;
        if (n > TOLD_REGION_TEXT)
            return false;
        if (n)
            memcpy(out->text[i], texts[i], n);
        out->text[i][n] = 0;
    }
    return r->id > 0 && *out->text[2];
}

int gsi_coordination_set_regions(struct coordination *s, const struct coordination_region *regions, int n)
{
    struct told_region taken[COORDINATION_REGIONS_MAX];
    if (n < 0 || n > COORDINATION_REGIONS_MAX)
        return gs_fail(GS_EINVALID, "a lab has up to %d relays", COORDINATION_REGIONS_MAX);
    memset(taken, 0, sizeof taken);
    for (int i = 0; i < n; i++) {
        bool twice = false;
        for (int k = 0; k < i; k++)
            twice |= regions[k].id == regions[i].id;
        if (twice || !take_region(&taken[i], &regions[i]))
            return gs_fail(GS_EINVALID, "a relay needs a number above 0 of its own and a host, in texts of up to %d bytes",
                           TOLD_REGION_TEXT);
    }
    memcpy(s->regions, taken, sizeof taken);
    s->regions_n = n;
    s->regions_seq = gsi_lab_tell_all(s);
    return 0;
}

/* By the reader of nodes: what it refuses, no node would take. */
static int check_filter(const char *rules)
{
    static const char head[] = "{\"PacketFilters\":{\"base\":", tail[] = "}}";
    size_t n = strlen(rules);
    struct json alone = gsi_json_of(rules, n);
    gsi_json_skip(&alone);
    if (n > FILTER_MAX || rules[strspn(rules, " \t\r\n")] != '[' || gsi_json_end(&alone) != 0)
        return gs_fail(GS_EINVALID, "a filter is a JSON array of rules, up to %d bytes", FILTER_MAX);
    char *text = OPENSSL_malloc(sizeof head + n + sizeof tail);
    struct map_update *u = NULL;
    struct map_error why;
    if (!text)
        return -ENOMEM;
    memcpy(text, head, sizeof head - 1);
    memcpy(text + sizeof head - 1, rules, n);
    memcpy(text + sizeof head - 1 + n, tail, sizeof tail);
    int e = gsi_map_parse(text, sizeof head - 1 + n + sizeof tail - 1, &u, &why);
    if (e == GS_EINVALID)
        (void)gs_fail(e, "the filter's rules at byte %zu: %s", why.at > sizeof head ? why.at - sizeof head + 1 : 0, why.why);
    gsi_map_update_free(u);
    OPENSSL_free(text);
    return e;
}

int gsi_coordination_set_filter(struct coordination *s, const char *rules)
{
    static const char all[] = "[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,\"Last\":65535}}]}]";
    rules = rules ? rules : all;
    int e = check_filter(rules);
    char *copy = e ? NULL : OPENSSL_strdup(rules);
    if (!copy)
        return e ? e : -ENOMEM;
    OPENSSL_free(s->filter);
    s->filter = copy;
    s->filter_seq = gsi_lab_tell_all(s);
    return 0;
}

/* ---- what the owner does and sees ---- */

static int no_node(int64_t id) { return gs_fail(GS_EINVALID, "this lab has no node %lld", (long long)id); }

int gsi_coordination_remove(struct coordination *s, int64_t id, uint64_t now)
{
    struct member *m = gsi_lab_by_id(s, id);
    s->now = now;
    if (!m)
        return no_node(id);
    gsi_lab_member_remove(s, m);
    return 0;
}

int gsi_coordination_expire(struct coordination *s, int64_t id, uint64_t now)
{
    struct member *m = gsi_lab_by_id(s, id);
    s->now = now;
    if (!m)
        return no_node(id);
    if (!m->expired)
        gsi_lab_member_expire(s, m);
    return 0;
}

int gsi_coordination_authorize(struct coordination *s, int64_t id, uint64_t now)
{
    struct member *m = gsi_lab_by_id(s, id);
    s->now = now;
    if (!m)
        return no_node(id);
    if (!m->authorized) {
        m->authorized = true;
        gsi_lab_changed(s, m, CHANGED_WHOLE);
    }
    return 0;
}

int gsi_coordination_count(const struct coordination *s) { return s->members_n; }

bool gsi_coordination_node(const struct coordination *s, int i, struct coordination_node *out)
{
    if (i < 0 || i >= s->members_n)
        return false;
    const struct member *m = s->members[i];
    *out = (struct coordination_node){.id = m->id, .v4 = gsi_lab_v4(m), .v6 = gsi_lab_v6(m), .home_derp = m->home_derp,
                                      .endpoints = m->endpoints_n, .online = m->online, .ephemeral = m->ephemeral,
                                      .authorized = m->authorized, .expired = m->expired};
    memcpy(out->name, m->name, sizeof out->name);
    memcpy(out->login, s->accounts[m->user].login, sizeof out->login);
    memcpy(out->node_key, m->key, KEY_LEN);
    memcpy(out->machine, m->machine, KEY_LEN);
    memcpy(out->disco, m->disco, KEY_LEN);
    return true;
}
