/* compile.c: rules become sets by source, by own address and port, and by protocol (rules.h).
 *
 * read.c makes spans of them, each with the number of its rule. Then each list of spans is swept from its lowest key to its
 * highest: where a span begins its rule enters the set, where it ends the rule leaves. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/filter/draft.h"

enum { TABLE_FIRST = 64, PORT_WORK_MAX = 1 << 23 };

static const uint32_t OWN_MARK = UINT32_MAX; /* an event of an own span */

/* ---- sets ---- */

static uint64_t hash_of(const uint64_t *set, size_t words)
{
    uint64_t h = 0;
    for (size_t i = 0; i < words; i++) {
        h = (h ^ set[i]) * 0x9e3779b97f4a7c15;
        h ^= h >> 29;
    }
    return h;
}

static uint32_t *slot_of(const struct draft *d, const uint64_t *set)
{
    const uint64_t *sets = d->sets.p;
    uint32_t at = (uint32_t)hash_of(set, d->words) & (d->table_n - 1);
    while (d->table[at] && memcmp(sets + (d->table[at] - 1) * d->words, set, d->sets.item) != 0)
        at = (at + 1) & (d->table_n - 1);
    return &d->table[at];
}

static void table_grow(struct draft *d)
{
    uint32_t *table = OPENSSL_zalloc(d->table_n * 2 * sizeof *table);
    if (!table) {
        gsi_draft_fail(d, -ENOMEM);
        return;
    }
    OPENSSL_free(d->table);
    d->table = table;
    d->table_n *= 2;
    const uint64_t *sets = d->sets.p;
    for (uint32_t i = 0; i < d->sets.n; i++)
        *slot_of(d, sets + i * d->words) = i + 1;
}

/* The number of the set in d->bits. */
static uint32_t set_number(struct draft *d)
{
    if (d->error)
        return 0;
    uint32_t *slot = slot_of(d, d->bits);
    if (*slot)
        return *slot - 1;
    uint32_t n = d->sets.n;
    uint64_t *set = gsi_draft_add(d, &d->sets, 1);
    if (!set)
        return 0;
    memcpy(set, d->bits, d->sets.item);
    *slot = n + 1;
    if (d->sets.n * 2 > d->table_n)
        table_grow(d);
    return n;
}

static void set_clear(struct draft *d) { memset(d->bits, 0, d->sets.item); }
static uint64_t bit_of(uint32_t rule) { return (uint64_t)1 << rule % FILTER_WORD_BITS; }
static void set_add(struct draft *d, uint32_t rule) { d->bits[rule / FILTER_WORD_BITS] |= bit_of(rule); }
static void set_remove(struct draft *d, uint32_t rule) { d->bits[rule / FILTER_WORD_BITS] &= ~bit_of(rule); }

/* ---- sweeps ---- */

static int compare_events(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    return key_before(&x->at, &y->at) ? -1 : key_before(&y->at, &x->at);
}

/* Where the span begins and ends: 1 or 2 events, as the last key of all has none behind it. */
static uint32_t events_add(struct event *events, uint32_t n, const struct span *s, uint32_t what)
{
    struct key behind = {s->last.hi + (s->last.lo == UINT64_MAX), s->last.lo + 1};
    events[n++] = (struct event){s->first, what, false};
    if (behind.hi || behind.lo)
        events[n++] = (struct event){behind, what, true};
    return n;
}

/* Events by rule become places. */
static void sweep(struct draft *d, struct event *events, uint32_t n, struct list *out)
{
    struct place *place = gsi_draft_add(d, out, 1);
    if (place)
        *place = (struct place){{0, 0}, 0};
    if (n)
        qsort(events, n, sizeof *events, compare_events);
    set_clear(d);
    for (uint32_t i = 0, set = 0; i < n && !d->error;) {
        struct key at = events[i].at;
        for (; i < n && !key_before(&at, &events[i].at); i++) {
            uint32_t *count = &d->counts[events[i].what];
            *count = events[i].ends ? *count - 1 : *count + 1;
            if (*count)
                set_add(d, events[i].what);
            else
                set_remove(d, events[i].what);
        }
        uint32_t now = set_number(d);
        if (now == set)
            continue;
        set = now;
        place = at.hi || at.lo ? gsi_draft_add(d, out, 1) : (struct place *)out->p + out->n - 1;
        if (place)
            *place = (struct place){at, now};
    }
    for (uint32_t i = 0; i < n; i++)
        d->counts[events[i].what] = 0;
}

static void sweep_sources(struct draft *d)
{
    const struct source *s = d->sources.p;
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->sources.n; i++)
        n = events_add(d->events, n, &s[i].span, s[i].rule);
    sweep(d, d->events, n, &d->places);
}

/* The destinations in d->active, by port. */
static struct own_place sweep_ports(struct draft *d, uint32_t n_active)
{
    struct own_place place = {.own = true, .ports = d->ports.n};
    const struct destination *all = d->destinations.p;
    uint32_t n = 0;
    set_clear(d);
    for (uint32_t i = 0; i < n_active; i++)
        if (all[d->active[i]].first == 0 && all[d->active[i]].last == FILTER_PORT_LAST)
            set_add(d, all[d->active[i]].rule);
    place.full = set_number(d);
    for (uint32_t i = 0; i < n_active; i++) {
        const struct destination *x = &all[d->active[i]];
        set_add(d, x->rule);
        n = events_add(d->port_events, n, &(struct span){{0, x->first}, {0, x->last}}, x->rule);
    }
    place.any = set_number(d);
    sweep(d, d->port_events, n, &d->ports);
    place.n_ports = d->ports.n - place.ports;
    return place;
}

/* A destination begins or ends: it enters d->active, or the last one there takes its place. */
static void note_active(struct draft *d, const struct event *e, uint32_t *n)
{
    if (!e->ends) {
        d->active_at[e->what] = *n;
        d->active[(*n)++] = e->what;
    } else {
        uint32_t moved = d->active[--*n];
        d->active[d->active_at[e->what]] = moved;
        d->active_at[moved] = d->active_at[e->what];
    }
}

static void sweep_destinations(struct draft *d)
{
    const struct destination *x = d->destinations.p;
    const struct span *own = d->own.p;
    uint32_t n = 0, n_active = 0, work = 0;
    bool inside = false;
    for (uint32_t i = 0; i < d->destinations.n; i++)
        n = events_add(d->events, n, &x[i].span, i);
    for (uint32_t i = 0; i < d->own.n; i++)
        n = events_add(d->events, n, &own[i], OWN_MARK);
    if (n)
        qsort(d->events, n, sizeof *d->events, compare_events);
    struct own_place *place = gsi_draft_add(d, &d->owns, 1);
    if (place)
        *place = (struct own_place){0};
    for (uint32_t i = 0; i < n && !d->error;) {
        struct key at = d->events[i].at;
        bool entered = false, left = false;
        for (; i < n && !key_before(&at, &d->events[i].at); i++)
            if (d->events[i].what != OWN_MARK)
                note_active(d, &d->events[i], &n_active);
            else if (d->events[i].ends)
                left = true;
            else
                entered = true;
        inside = entered || (inside && !left);
        work += n_active + 1;
        if (work > PORT_WORK_MAX)
            gsi_draft_fail(d, gs_fail(GS_ESYSLIMIT, "the packet filter names too many parts of our advertised routes"));
        struct own_place here = inside ? sweep_ports(d, n_active) : (struct own_place){0};
        here.from = at;
        place = at.hi || at.lo ? gsi_draft_add(d, &d->owns, 1) : d->owns.p;
        if (place)
            *place = here;
    }
}

/* ---- all of it ---- */

static void begin_sets(struct draft *d)
{
    uint32_t rules = d->protocols.n;
    uint32_t ours = d->destinations.n + d->own.n, spans = (d->sources.n > ours ? d->sources.n : ours) + 1;
    d->words = rules / FILTER_WORD_BITS + 1;
    d->sets = (struct list){.item = d->words * sizeof(uint64_t),
        .max = (uint32_t)(FILTER_SETS_MAX / (d->words * sizeof(uint64_t)))};
    d->table_n = TABLE_FIRST;
    d->table = OPENSSL_zalloc(d->table_n * sizeof *d->table);
    d->bits = OPENSSL_zalloc(d->sets.item);
    d->counts = OPENSSL_zalloc((rules + 1) * sizeof *d->counts);
    d->events = OPENSSL_zalloc(2 * spans * sizeof *d->events);
    d->port_events = OPENSSL_zalloc(2 * (d->destinations.n + 1) * sizeof *d->port_events);
    d->active = OPENSSL_zalloc((d->destinations.n + 1) * sizeof *d->active);
    d->active_at = OPENSSL_zalloc((d->destinations.n + 1) * sizeof *d->active_at);
    if (!d->table || !d->bits || !d->counts || !d->events || !d->port_events || !d->active || !d->active_at)
        gsi_draft_fail(d, -ENOMEM);
    (void)set_number(d); /* the empty one is 0 */
}

static bool has_protocol(const struct protocols *p, uint32_t number)
{
    return p->bits[number / FILTER_WORD_BITS] >> number % FILTER_WORD_BITS & 1;
}

static void make_protocol_sets(struct draft *d, struct rules *out)
{
    const struct protocols *protocols = d->protocols.p;
    struct protocols used = {{0}};
    for (uint32_t i = 0; i < d->protocols.n; i++)
        for (size_t k = 0; k < sizeof used.bits / sizeof *used.bits; k++)
            used.bits[k] |= protocols[i].bits[k];
    for (uint32_t p = 0; p < FILTER_PROTOCOLS && !d->error; p++) {
        if (!has_protocol(&used, p))
            continue; /* the empty set */
        set_clear(d);
        for (uint32_t i = 0; i < d->protocols.n; i++)
            if (has_protocol(&protocols[i], p))
                set_add(d, i);
        out->protocols[p] = set_number(d);
    }
    if (d->error)
        return;
    set_clear(d);
    for (uint32_t i = 0; i < d->protocols.n; i++)
        set_add(d, i);
    out->all = set_number(d);
}

static void make_capability_sets(struct draft *d)
{
    const struct source_name *names = d->source_names.p;
    struct source_capability *c = d->capabilities.p;
    for (uint32_t i = 0; i < d->capabilities.n && !d->error; i++) {
        set_clear(d);
        for (uint32_t k = 0; k < d->source_names.n; k++)
            if (names[k].capability == i)
                set_add(d, names[k].rule);
        c[i].set = set_number(d);
    }
}

/* The array without the room behind it, now the caller's. */
static void *give(struct list *l, uint32_t *n)
{
    void *p = l->n ? OPENSSL_realloc(l->p, l->n * l->item) : NULL;
    p = p ? p : l->p;
    *n = l->n;
    l->p = NULL;
    return p;
}

static void drop(struct draft *d)
{
    struct list *lists[] = {&d->own,  &d->sources, &d->destinations, &d->source_names, &d->protocols, &d->sets,
                            &d->places, &d->owns,    &d->ports,        &d->capabilities, &d->grants,    &d->text};
    void *rest[] = {d->events, d->port_events, d->active, d->active_at, d->counts, d->table, d->bits};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        OPENSSL_free(lists[i]->p);
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        OPENSSL_free(rest[i]);
}

int gsi_rules_compile(const struct prefix *own, size_t n_own, const struct filter_list *lists, size_t n_lists, struct rules **out,
                      size_t *skipped)
{
    struct draft d = {
        .own = {.item = sizeof(struct span), .max = FILTER_OWN_MAX},
        .sources = {.item = sizeof(struct source), .max = FILTER_SOURCES_MAX},
        .destinations = {.item = sizeof(struct destination), .max = FILTER_DESTINATIONS_MAX},
        .source_names = {.item = sizeof(struct source_name), .max = FILTER_SOURCES_MAX},
        .protocols = {.item = sizeof(struct protocols), .max = FILTER_RULES_MAX},
        .places = {.item = sizeof(struct place), .max = 2 * FILTER_SOURCES_MAX + 1},
        .owns = {.item = sizeof(struct own_place), .max = 2 * (FILTER_DESTINATIONS_MAX + FILTER_OWN_MAX) + 1},
        .ports = {.item = sizeof(struct place), .max = 4 * FILTER_DESTINATIONS_MAX},
        .capabilities = {.item = sizeof(struct source_capability), .max = FILTER_SOURCE_CAPABILITIES_MAX},
        .grants = {.item = sizeof(struct granted), .max = FILTER_GRANTS_MAX},
        .text = {.item = 1, .max = FILTER_TEXT_MAX},
    };
    struct rules *r = OPENSSL_zalloc(sizeof *r);
    if (!r)
        return -ENOMEM;
    gsi_draft_read(&d, own, n_own, lists, n_lists);
    if (!d.error)
        begin_sets(&d);
    if (!d.error) {
        sweep_sources(&d);
        sweep_destinations(&d);
        make_protocol_sets(&d, r);
        make_capability_sets(&d);
    }
    if (skipped)
        *skipped = d.skipped;
    if (!d.error) {
        r->words = d.words;
        r->sets = give(&d.sets, &r->n_sets);
        r->sources = give(&d.places, &r->n_sources);
        r->owns = give(&d.owns, &r->n_owns);
        r->ports = give(&d.ports, &r->n_ports);
        r->capabilities = give(&d.capabilities, &r->n_capabilities);
        r->grants = give(&d.grants, &r->n_grants);
        r->text = give(&d.text, &r->n_text);
        *out = r;
    } else {
        OPENSSL_free(r);
    }
    drop(&d);
    return d.error;
}

void gsi_rules_free(struct rules *r)
{
    if (!r)
        return;
    OPENSSL_free(r->sets);
    OPENSSL_free(r->sources);
    OPENSSL_free(r->owns);
    OPENSSL_free(r->ports);
    OPENSSL_free(r->capabilities);
    OPENSSL_free(r->grants);
    OPENSSL_free(r->text);
    OPENSSL_free(r);
}

size_t gsi_rules_size(const struct rules *r)
{
    return sizeof *r + r->n_sets * r->words * sizeof *r->sets + r->n_sources * sizeof *r->sources + r->n_owns * sizeof *r->owns +
           r->n_ports * sizeof *r->ports + r->n_capabilities * sizeof *r->capabilities +
           r->n_grants * sizeof *r->grants + r->n_text;
}
