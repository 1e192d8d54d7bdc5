/* For the programs about the packet filter: packets by description, rules by text, and a small world of both at random. */
#ifndef TEST_TAILNET_FILTER_TEST_H
#define TEST_TAILNET_FILTER_TEST_H

#include <arpa/inet.h>
#include <stdio.h>

#include "support.h"
#include "tailnet/filter/filter.h"

/* ---- packets ---- */

struct sent {
    int family; /* 4 or 6 */
    uint8_t src[16], dst[16];
    uint8_t protocol, flags, type, code;
    uint16_t src_port, dst_port;
    int fragment; /* 1: first of several, 2: later */
};

static inline void put16(uint8_t *p, unsigned v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }

static inline size_t make(const struct sent *s, uint8_t *out)
{
    size_t at = s->family == 4 ? 20 : 40, body = 24;
    uint8_t *h = out;
    memset(out, 0, 128);
    if (s->family == 4) {
        h[0] = 0x45;
        put16(h + 6, s->fragment == 1 ? 0x2000 : s->fragment == 2 ? 10 : 0);
        h[9] = s->protocol;
        memcpy(h + 12, s->src, 4);
        memcpy(h + 16, s->dst, 4);
    } else {
        h[0] = 0x60;
        h[6] = s->fragment ? 44 : s->protocol;
        memcpy(h + 8, s->src, 16);
        memcpy(h + 24, s->dst, 16);
        if (s->fragment) {
            h[40] = s->protocol;
            put16(h + 42, s->fragment == 1 ? 1 : 10 << 3);
            at = 48;
        }
    }
    uint8_t *t = out + at;
    if (s->protocol == 1 || s->protocol == 58) {
        t[0] = s->type;
        t[1] = s->code;
    } else if (s->protocol == 6 || s->protocol == 17 || s->protocol == 132) {
        put16(t, s->src_port);
        put16(t + 2, s->dst_port);
        if (s->protocol == 17)
            put16(t + 4, (unsigned)body);
        if (s->protocol == 6)
            t[12] = 0x50, t[13] = s->flags;
    }
    if (s->family == 4)
        put16(h + 2, (unsigned)(at + body));
    else
        put16(h + 4, (unsigned)(at + body - 40));
    return at + body;
}

static inline struct sent packet(const char *src, const char *dst, uint8_t protocol, unsigned dst_port)
{
    struct sent s = {.family = strchr(src, ':') ? 6 : 4, .protocol = protocol, .src_port = 1000, .dst_port = (uint16_t)dst_port,
        .flags = 2, .type = 8};
    if (s.family == 6)
        s.type = 128;
    assert_int_equal(inet_pton(s.family == 4 ? AF_INET : AF_INET6, src, s.src), 1);
    assert_int_equal(inet_pton(s.family == 4 ? AF_INET : AF_INET6, dst, s.dst), 1);
    return s;
}

static inline enum verdict judge(struct filter *f, const struct sent *s, unsigned flags)
{
    uint8_t bytes[128];
    struct packet p;
    return gsi_filter_in(f, bytes, make(s, bytes), flags, &p);
}

static inline void send_out(struct filter *f, const struct sent *s, enum verdict expected)
{
    uint8_t bytes[128];
    struct packet p;
    assert_ok(gsi_packet_parse(bytes, make(s, bytes), &p));
    assert_int_equal(gsi_filter_out(f, &p), expected);
}

/* ---- rules by text ---- */

enum { RULES = 256, ENTRIES = 4 };

struct line {
    char sources[ENTRIES][80], destinations[ENTRIES][80];
    int n_sources, n_destinations, n_protocols;
    uint16_t first[ENTRIES], last[ENTRIES];
    int64_t protocols[ENTRIES];
};

static inline int compile_lines(const struct line *lines, int n, const char *const *own, struct rules **out, size_t *skipped)
{
    static struct filter_text sources[RULES][ENTRIES];
    static struct filter_destination destinations[RULES][ENTRIES];
    static struct filter_rule rules[RULES];
    struct prefix owns[16];
    size_t n_own = 0;
    for (; own[n_own]; n_own++)
        assert_ok(gsi_prefix_parse(own[n_own], strlen(own[n_own]), &owns[n_own]));
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < ENTRIES; k++) {
            sources[i][k] = (struct filter_text){lines[i].sources[k], strlen(lines[i].sources[k])};
            destinations[i][k] = (struct filter_destination){{lines[i].destinations[k], strlen(lines[i].destinations[k])},
                lines[i].first[k], lines[i].last[k]};
        }
        rules[i] = (struct filter_rule){.sources = sources[i], .n_sources = (size_t)lines[i].n_sources,
            .destinations = destinations[i], .n_destinations = (size_t)lines[i].n_destinations,
            .protocols = lines[i].protocols, .n_protocols = (size_t)lines[i].n_protocols};
    }
    /* as two lists: the cut means nothing */
    struct filter_list lists[] = {{rules, (size_t)n / 2}, {rules + n / 2, (size_t)(n - n / 2)}};
    return gsi_rules_compile(owns, n_own, lists, 2, out, skipped);
}

static const char *const own_few[] = {"100.64.0.1/32", "fd7a:115c:a1e0::1/128", NULL};

static inline struct line line(const char *source, const char *destination, unsigned first, unsigned last)
{
    struct line l = {.n_sources = 1, .n_destinations = 1, .first = {(uint16_t)first}, .last = {(uint16_t)last}};
    snprintf(l.sources[0], sizeof l.sources[0], "%s", source);
    snprintf(l.destinations[0], sizeof l.destinations[0], "%s", destination);
    return l;
}

static inline bool has_capability(void *arg, const struct ip *src, const char *capability)
{
    (void)arg;
    return src->b[15] & (strcmp(capability, "x") == 0 ? 1 : strcmp(capability, "y") == 0 ? 2 : 0);
}

static inline struct filter *filter_of(const struct line *lines, int n)
{
    struct filter *f;
    struct rules *r;
    assert_ok(gsi_filter_new(&f, has_capability, NULL));
    assert_ok(compile_lines(lines, n, own_few, &r, NULL));
    gsi_filter_use(f, r);
    return f;
}

/* ---- a small world at random ---- */

static const char *const own_world[] = {"100.64.0.1/32", "100.64.0.2", "10.1.0.0/29", "10.1.0.4/30", "fd7a:115c:a1e0::1/128",
    "fd00:1::/125", "169.254.169.254/32", NULL};

static inline const char *random_address(struct rng *r, int family)
{
    static char text[2][80];
    static int turn;
    char *out = text[turn ^= 1];
    unsigned low = (unsigned)rng_below(r, 16);
    bool second = rng_below(r, 4) == 0;
    if (family == 4)
        snprintf(out, 80, "%s.%u", second ? "10.1.0" : "100.64.0", low);
    else
        snprintf(out, 80, "%s::%x", second ? "fd00:1" : "fd7a:115c:a1e0", low);
    return out;
}

static inline void random_entry(struct rng *r, char *out, bool source)
{
    static const char *const prefixes[] = {"0.0.0.0/0", "::/0", "100.64.0.0/10", "100.64.0.0/28", "100.64.0.8/29",
        "100.64.0.4/30", "100.64.0.2/31", "10.1.0.0/24",
        "10.1.0.4/31", "fd7a:115c:a1e0::/48", "fd7a:115c:a1e0::8/125", "fd7a:115c:a1e0::/127", "fd00:1::/64", "fd00:1::6/127",
            "::/1", "8000::/1", "::fffe:0:0/95"};
    static const char *const wrong[] = {"", "100.64.0.1/28", "100.64.0.1/33", "100.64.0.9-100.64.0.3", "100.64.0.1-fd00::1",
        "host", "1.2.3", "fd00:1::1/64", "-", "/", "100.64.0.1 ",
        "100.64.0.1-", "::g", "fe80::1%eth0", "**", "cap", "100.64.0.1-100.64.0.2-100.64.0.3"};
    int family = rng_below(r, 3) ? 4 : 6;
    const char *a = random_address(r, family);
    switch (rng_below(r, source ? 10 : 7)) {
    case 0:
        strcpy(out, "*");
        break;
    case 1:
        strcpy(out, wrong[rng_below(r, sizeof wrong / sizeof *wrong)]);
        break;
    case 2:
        snprintf(out, 80, "%s-%s", a, random_address(r, family));
        break;
    case 3:
    case 4:
        strcpy(out, prefixes[rng_below(r, sizeof prefixes / sizeof *prefixes)]);
        break;
    case 9:
        strcpy(out, rng_below(r, 2) ? "cap:x" : rng_below(r, 2) ? "cap:y" : "cap:z");
        break;
    default:
        strcpy(out, a);
    }
}

static inline struct line random_line(struct rng *r)
{
    static const int64_t protocols[] = {6, 17, 1, 58, 132, 47, 99, -1, 256, 70000, 0, 255};
    struct line l = {.n_sources = (int)rng_below(r, ENTRIES + 1), .n_destinations = (int)rng_below(r, ENTRIES + 1)};
    l.n_protocols = rng_below(r, 2) ? 0 : (int)rng_below(r, ENTRIES + 1);
    for (int i = 0; i < ENTRIES; i++) {
        random_entry(r, l.sources[i], true);
        random_entry(r, l.destinations[i], false);
        l.protocols[i] = protocols[rng_below(r, sizeof protocols / sizeof *protocols)];
        l.first[i] = rng_below(r, 3) ? (uint16_t)rng_below(r, 8) : 0;
        l.last[i] = rng_below(r, 3) ? (uint16_t)(l.first[i] + rng_below(r, 3)) : 65535;
        if (rng_below(r, 32) == 0)
            l.last[i] = 0;
    }
    return l;
}

#endif
