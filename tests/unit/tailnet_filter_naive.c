/* The packet filter gives the verdicts of a naive one that was written from the protocol's text: linear and bit by bit. */
#include <stdlib.h>

#include "tailnet_filter_test.h"

/* ---- the naive one ---- */

struct entry { /* of one text */
    int kind;  /* 0 nothing, '*', '/', '-', 'c' */
    int family, bits;
    uint8_t a[16], b[16];
    char name[80];
};

struct naive_rule {
    struct entry sources[ENTRIES], destinations[ENTRIES];
    const struct line *line;
};

struct naive {
    bool any, shields;
    struct naive_rule rules[RULES];
    int n;
    struct entry own[16];
    int n_own;
    struct sent flows[512]; /* the newest first */
    int n_flows;
};

static int naive_address(const char *text, uint8_t *out)
{
    memset(out, 0, 16);
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    return inet_pton(AF_INET6, text, out) == 1 ? 6 : 0;
}

static struct entry naive_entry(const char *text)
{
    struct entry e = {0};
    char copy[80], *cut;
    snprintf(copy, sizeof copy, "%s", text);
    if (strcmp(text, "*") == 0)
        e.kind = '*';
    else if (strncmp(text, "cap:", 4) == 0) {
        e.kind = 'c';
        snprintf(e.name, sizeof e.name, "%.70s", text + 4);
    } else if ((cut = strpbrk(copy, "/-")) != NULL) {
        int kind = *cut;
        *cut = 0;
        e.family = naive_address(copy, e.a);
        if (kind == '-' && e.family && naive_address(cut + 1, e.b) == e.family && memcmp(e.a, e.b, 16) <= 0)
            e.kind = '-';
        e.bits = atoi(cut + 1);
        if (kind == '/' && e.family && e.bits <= (e.family == 4 ? 32 : 128)) {
            e.kind = '/';
            for (int i = e.bits; i < 128; i++)
                if (e.a[i / 8] >> (7 - i % 8) & 1)
                    e.kind = 0;
        }
    } else if ((e.family = naive_address(text, e.a)) != 0) {
        e.kind = '/';
        e.bits = e.family == 4 ? 32 : 128;
    }
    return e;
}

static bool naive_in(const struct entry *e, int family, const uint8_t *address, bool source)
{
    if (e->kind == '*')
        return true;
    if (e->kind == 'c')
        return source && (address[family == 4 ? 3 : 15] & (strcmp(e->name, "x") == 0 ? 1 :
            strcmp(e->name, "y") == 0 ? 2 : 0)) != 0;
    if (e->family != family || !e->kind)
        return false;
    if (e->kind == '-')
        return memcmp(e->a, address, 16) <= 0 && memcmp(address, e->b, 16) <= 0;
    for (int i = 0; i < e->bits; i++)
        if ((e->a[i / 8] ^ address[i / 8]) >> (7 - i % 8) & 1)
            return false;
    return true;
}

static bool naive_protocol(const struct line *l, int protocol)
{
    if (!l->n_protocols)
        return protocol == 6 || protocol == 17 || protocol == 1 || protocol == 58;
    for (int i = 0; i < l->n_protocols; i++)
        if (l->protocols[i] == protocol)
            return true;
    return false;
}

/* ports: 'm'atch, 'i'gnored with the protocol, 'a'll must be allowed */
static bool naive_match(const struct naive *w, const struct sent *s, int ports)
{
    for (int i = 0; i < w->n; i++) {
        const struct naive_rule *r = &w->rules[i];
        const struct line *l = r->line;
        bool src = false, dst = false;
        for (int k = 0; k < l->n_sources; k++)
            src = src || naive_in(&r->sources[k], s->family, s->src, true);
        for (int k = 0; k < l->n_destinations; k++)
            dst = dst || (naive_in(&r->destinations[k], s->family, s->dst, false) &&
                          (ports == 'i'   ? l->first[k] <= l->last[k]
                           : ports == 'a' ? l->first[k] == 0 && l->last[k] == 65535
                                          : l->first[k] <= s->dst_port && s->dst_port <= l->last[k]));
        if (src && dst && (ports == 'i' || naive_protocol(l, s->protocol)))
            return true;
    }
    return false;
}

static bool naive_same_flow(const struct sent *out, const struct sent *in)
{
    return out->protocol == in->protocol && out->family == in->family && out->src_port == in->dst_port &&
        out->dst_port == in->src_port &&
           memcmp(out->src, in->dst, 16) == 0 && memcmp(out->dst, in->src, 16) == 0;
}

static bool naive_flow(struct naive *w, const struct sent *in, bool add)
{
    struct sent out = *in;
    memcpy(out.src, in->dst, 16);
    memcpy(out.dst, in->src, 16);
    out.src_port = in->dst_port;
    out.dst_port = in->src_port;
    for (int i = 0; i < w->n_flows; i++)
        if (naive_same_flow(&w->flows[i], in)) {
            memmove(w->flows + 1, w->flows, (size_t)i * sizeof *w->flows);
            w->flows[0] = out;
            return true;
        }
    if (!add)
        return false;
    w->n_flows += w->n_flows < 512;
    memmove(w->flows + 1, w->flows, (size_t)(w->n_flows - 1) * sizeof *w->flows);
    w->flows[0] = out;
    return false;
}

static enum verdict naive_verdict(struct naive *w, const struct sent *s, bool jailed)
{
    bool own = false, v4 = s->family == 4;
    if (!w->any)
        return DROP_NO_RULES;
    if (v4 ? s->dst[0] >= 224 && s->dst[0] < 240 : s->dst[0] == 255)
        return DROP_MULTICAST;
    if (v4 ? s->dst[0] == 169 && s->dst[1] == 254 && !(s->dst[2] == 169 && s->dst[3] == 254)
           : s->dst[0] == 0xfe && s->dst[1] >> 6 == 2)
        return DROP_LINK_LOCAL;
    for (int i = 0; i < w->n_own; i++)
        own = own || naive_in(&w->own[i], s->family, s->dst, false);
    if (!own)
        return DROP_NOT_OURS;
    if (s->fragment == 2)
        return PASS_FRAGMENT;
    enum verdict none = jailed ? DROP_JAILED : w->shields ? DROP_SHIELDS_UP : DROP_NO_RULE;
    bool nothing = none != DROP_NO_RULE;
    if (s->protocol == (v4 ? 1 : 58)) {
        bool error = v4 ? s->type == 3 || s->type == 11 || s->type == 12 : s->type >= 1 && s->type <= 4;
        if (error || (s->type == (v4 ? 0 : 129) && s->code == 0))
            return PASS_ICMP_REPLY;
        return !nothing && naive_match(w, s, 'i') ? PASS_RULE : none;
    }
    switch (s->protocol) {
    case 6:
        if ((s->flags & 0x12) != 0x02)
            return PASS_TCP;
        return !nothing && naive_match(w, s, 'm') ? PASS_RULE : none;
    case 17:
    case 132:
        if (naive_flow(w, s, false))
            return PASS_REPLY;
        return !nothing && naive_match(w, s, 'm') ? PASS_RULE : none;
    case 99:
        return PASS_TSMP;
    default:
        return !nothing && naive_match(w, s, 'a') ? PASS_RULE : none;
    }
}

static struct sent random_packet(struct rng *r, bool out)
{
    static const uint8_t protocols[] = {6, 6, 6, 17, 17, 17, 132, 1, 58, 99, 47, 255, 2};
    static const char *const odd[] = {"224.0.0.1", "169.254.1.1", "169.254.169.254", "255.255.255.255", "ff02::1", "fe80::1",
        "febf::1", "fec0::1", "::", "::1", "0.0.0.0"};
    int family = rng_below(r, 3) ? 4 : 6;
    const char *src = random_address(r, family), *dst = random_address(r, family);
    if (rng_below(r, 2))
        dst = family == 4 ? "100.64.0.1" : "fd7a:115c:a1e0::1";
    if (rng_below(r, 32) == 0)
        dst = odd[rng_below(r, sizeof odd / sizeof *odd)];
    if (out)
        src = strchr(dst, ':') ? "fd7a:115c:a1e0::1" : "100.64.0.1";
    else if (!strchr(dst, ':') != (family == 4))
        src = strchr(dst, ':') ? "fd7a:115c:a1e0::3" : "100.64.0.3";
    struct sent s = packet(src, dst, protocols[rng_below(r, sizeof protocols)], 0);
    s.src_port = (uint16_t)rng_below(r, 16);
    s.dst_port = (uint16_t)rng_below(r, 10);
    s.flags = (uint8_t)(rng_below(r, 4) ? 2 : rng_next(r));
    s.type = (uint8_t)(rng_below(r, 4) ? rng_below(r, 16) : 126 + rng_below(r, 6));
    s.code = rng_below(r, 4) == 0;
    s.fragment = s.protocol == 99 || rng_below(r, 16) ? 0 : (int)rng_below(r, 3);
    return s;
}

static void decisions_equal_those_of_a_naive_filter(void **state)
{
    (void)state;
    static struct naive w;
    static struct line lines[RULES];
    struct rng r = {test_seed()};
    struct filter *f;
    long seen[VERDICTS] = {0}, todo = test_scale(300000, 10000000);
    assert_ok(gsi_filter_new(&f, has_capability, NULL));
    for (int i = 0; own_world[i]; i++)
        w.own[w.n_own++] = naive_entry(own_world[i]);
    for (long done = 0; done < todo; done++) {
        if (done % 2000 == 1000) {
            struct rules *rules;
            w.n = (int)(rng_below(&r, 8) ? rng_below(&r, 9) : rng_below(&r, RULES));
            for (int i = 0; i < w.n; i++) {
                lines[i] = random_line(&r);
                w.rules[i].line = &lines[i];
                for (int k = 0; k < ENTRIES; k++) {
                    w.rules[i].sources[k] = naive_entry(lines[i].sources[k]);
                    w.rules[i].destinations[k] = naive_entry(lines[i].destinations[k]);
                }
            }
            assert_ok(compile_lines(lines, w.n, own_world, &rules, NULL));
            gsi_filter_use(f, rules);
            w.any = true;
            w.shields = rng_below(&r, 16) == 0;
            gsi_filter_set_shields_up(f, w.shields);
        }
        bool jailed = rng_below(&r, 16) == 0;
        struct sent s = random_packet(&r, rng_below(&r, 4) == 0);
        if (rng_below(&r, 4) == 0) {
            uint8_t bytes[128];
            struct packet p;
            assert_ok(gsi_packet_parse(bytes, make(&s, bytes), &p));
            enum verdict v = gsi_filter_out(f, &p);
            seen[v]++;
            if (v == PASS_OUT && s.fragment != 2 && (s.protocol == 17 || s.protocol == 132)) {
                struct sent back = s;
                memcpy(back.src, s.dst, 16);
                memcpy(back.dst, s.src, 16);
                back.src_port = s.dst_port;
                back.dst_port = s.src_port;
                naive_flow(&w, &back, true);
            }
            continue;
        }
        enum verdict expected = naive_verdict(&w, &s, jailed), v = judge(f, &s, jailed ? FILTER_JAILED : 0);
        if (v != expected)
            fail_msg("decision %ld: %s, not %s", done, gsi_verdict_text(v), gsi_verdict_text(expected));
        seen[v]++;
    }
    /* each outcome was there, else the equality says little */
    for (int v = 0; v < VERDICTS; v++)
        if (v != PASS_KEEPALIVE && v != DROP_MALFORMED)
            assert_true(seen[v] > todo / 20000);
    assert_int_equal(w.n_flows, 512);
    gsi_filter_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decisions_equal_those_of_a_naive_filter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
