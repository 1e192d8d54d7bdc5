/* read.c: rules as control sends them become spans of addresses, each with the number of its rule (filter.h, draft.h). */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/filter/draft.h"

enum { LIST_FIRST = 16 };

void gsi_draft_fail(struct draft *d, int error)
{
    if (!d->error)
        d->error = error;
}

void *gsi_draft_add(struct draft *d, struct list *l, uint32_t n)
{
    if (d->error)
        return NULL;
    if (n > l->max - l->n) {
        gsi_draft_fail(d, gs_fail(GS_ESYSLIMIT, "the packet filter is larger than this node takes"));
        return NULL;
    }
    if (n > l->cap - l->n) {
        uint32_t want = l->n + n, cap = l->cap ? l->cap : LIST_FIRST;
        while (cap < want)
            cap *= 2;
        cap = cap < l->max ? cap : l->max;
        void *p = OPENSSL_realloc(l->p, cap * l->item);
        if (!p) {
            gsi_draft_fail(d, -ENOMEM);
            return NULL;
        }
        l->p = p;
        l->cap = cap;
    }
    void *at = (char *)l->p + l->n * l->item;
    l->n += n;
    return at;
}

static uint32_t text_add(struct draft *d, const struct filter_text *t)
{
    uint32_t at = d->text.n;
    char *p = t->n <= FILTER_TEXT_MAX ? gsi_draft_add(d, &d->text, (uint32_t)t->n + 1) : gsi_draft_add(d, &d->text, UINT32_MAX);
    if (!p)
        return 0;
    if (t->n)
        memcpy(p, t->p, t->n);
    p[t->n] = 0;
    return at;
}

static struct key max_key(const struct key *a, const struct key *b) { return key_before(a, b) ? *b : *a; }
static struct key min_key(const struct key *a, const struct key *b) { return key_before(a, b) ? *a : *b; }

/* The part of a span that is in the i-th own one; false: none. */
static bool clip(const struct draft *d, uint32_t i, const struct span *s, struct span *out)
{
    const struct span *own = (const struct span *)d->own.p + i;
    *out = (struct span){max_key(&s->first, &own->first), min_key(&s->last, &own->last)};
    return !key_before(&out->last, &out->first);
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return key_before(&x->first, &y->first) ? -1 : key_before(&y->first, &x->first);
}

static void read_own(struct draft *d, const struct prefix *own, size_t n)
{
    struct span spans[SPANS_MAX];
    for (size_t i = 0; i < n && !d->error; i++) {
        int k = gsi_filter_prefix_spans(&own[i], spans);
        struct span *s = k > 0 ? gsi_draft_add(d, &d->own, (uint32_t)k) : NULL;
        if (s)
            memcpy(s, spans, (size_t)k * sizeof *s);
        if (k < 0)
            gsi_draft_fail(d, GS_EINVALID);
    }
    struct span *s = d->own.p;
    uint32_t kept = 0;
    if (d->error || !d->own.n)
        return;
    qsort(s, d->own.n, sizeof *s, compare_spans);
    for (uint32_t i = 1; i < d->own.n; i++)
        if (key_before(&s[kept].last, &s[i].first))
            s[++kept] = s[i];
        else
            s[kept].last = max_key(&s[kept].last, &s[i].last);
    d->own.n = kept + 1;
}

/* ---- a rule to spans ---- */

static void read_destination(struct draft *d, const struct filter_destination *in, uint32_t rule)
{
    struct span spans[SPANS_MAX];
    int n = gsi_filter_spans(&in->ip, spans);
    if (n < 0 || in->first > in->last) {
        d->skipped++;
        return;
    }
    for (int i = 0; i < n; i++)
        for (uint32_t k = 0; k < d->own.n; k++) {
            struct destination x = {.rule = rule, .first = in->first, .last = in->last};
            struct destination *out = clip(d, k, &spans[i], &x.span) ? gsi_draft_add(d, &d->destinations, 1) : NULL;
            if (out)
                *out = x;
        }
}

static void grant_add(struct draft *d, const struct filter_capability *c, const struct span *own, uint32_t rule)
{
    uint32_t name = text_add(d, &c->name);
    struct granted g = {.own = *own, .rule = rule, .name = name, .name_len = (uint32_t)c->name.n};
    size_t i = 0;
    do {
        if (c->n_values) {
            g.value = text_add(d, &c->values[i]);
            g.value_len = (uint32_t)c->values[i].n;
            g.has_value = true;
        }
        struct granted *out = gsi_draft_add(d, &d->grants, 1);
        if (out)
            *out = g;
    } while (++i < c->n_values && !d->error);
}

static void read_grant(struct draft *d, const struct filter_grant *in, uint32_t rule)
{
    struct span spans[SPANS_MAX], own;
    for (size_t t = 0; t < in->n_destinations && !d->error; t++) {
        int n = gsi_filter_spans(&in->destinations[t], spans);
        if (n < 0)
            d->skipped++;
        for (int i = 0; i < n; i++)
            for (uint32_t k = 0; k < d->own.n; k++)
                for (size_t c = 0; clip(d, k, &spans[i], &own) && c < in->n_capabilities; c++)
                    grant_add(d, &in->capabilities[c], &own, rule);
    }
}

static void read_source_name(struct draft *d, const struct filter_text *name, uint32_t rule)
{
    struct source_capability *c = d->capabilities.p;
    uint32_t i = 0;
    for (; i < d->capabilities.n; i++) {
        const char *known = (const char *)d->text.p + c[i].name;
        if (strlen(known) == name->n && memcmp(known, name->p, name->n) == 0)
            break;
    }
    if (i == d->capabilities.n) {
        struct source_capability new = {.name = text_add(d, name)};
        c = gsi_draft_add(d, &d->capabilities, 1);
        if (c)
            *c = new;
    }
    struct source_name *out = gsi_draft_add(d, &d->source_names, 1);
    if (out)
        *out = (struct source_name){rule, i};
}

static void read_source(struct draft *d, const struct filter_text *in, uint32_t rule)
{
    static const char prefix[] = "cap:";
    size_t skip = sizeof prefix - 1;
    struct span spans[SPANS_MAX];
    if (in->n > skip && memcmp(in->p, prefix, skip) == 0 && !memchr(in->p, 0, in->n)) {
        read_source_name(d, &(struct filter_text){in->p + skip, in->n - skip}, rule);
        return;
    }
    int n = gsi_filter_spans(in, spans);
    if (n < 0)
        d->skipped++;
    for (int i = 0; i < n; i++) {
        struct source *out = gsi_draft_add(d, &d->sources, 1);
        if (out)
            *out = (struct source){spans[i], rule};
    }
}

static struct protocols read_protocols(const struct filter_rule *in)
{
    static const int64_t usual[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP, PROTOCOL_ICMPV6};
    const int64_t *list = in->n_protocols ? in->protocols : usual;
    size_t n = in->n_protocols ? in->n_protocols : sizeof usual / sizeof *usual;
    struct protocols p = {{0}};
    for (size_t i = 0; i < n; i++)
        if (list[i] >= 0 && list[i] < FILTER_PROTOCOLS)
            p.bits[list[i] / FILTER_WORD_BITS] |= (uint64_t)1 << list[i] % FILTER_WORD_BITS;
    return p;
}

static void read_rule(struct draft *d, const struct filter_rule *in)
{
    uint32_t rule = d->protocols.n, destinations = d->destinations.n, grants = d->grants.n;
    if (in->has_bits) {
        gsi_draft_fail(d, gs_fail(GS_EINVALID, "the packet filter has SrcBits or Bits, which is too old"));
        return;
    }
    for (size_t i = 0; i < in->n_destinations && !d->error; i++)
        read_destination(d, &in->destinations[i], rule);
    for (size_t i = 0; i < in->n_grants && !d->error; i++)
        read_grant(d, &in->grants[i], rule);
    if (d->destinations.n == destinations && d->grants.n == grants)
        return;
    struct protocols *protocols = gsi_draft_add(d, &d->protocols, 1);
    if (protocols)
        *protocols = read_protocols(in);
    for (size_t i = 0; i < in->n_sources && !d->error; i++)
        read_source(d, &in->sources[i], rule);
}

void gsi_draft_read(struct draft *d, const struct prefix *own, size_t n_own, const struct filter_list *lists, size_t n_lists)
{
    read_own(d, own, n_own);
    for (size_t l = 0; l < n_lists; l++)
        for (size_t i = 0; i < lists[l].n && !d->error; i++)
            read_rule(d, &lists[l].rules[i]);
}
