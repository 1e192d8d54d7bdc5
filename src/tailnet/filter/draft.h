/* draft.h: rules on their way to sets: read.c fills the lists of spans, compile.c sweeps them. Inside of this folder. */
#ifndef GSI_TAILNET_FILTER_DRAFT_H
#define GSI_TAILNET_FILTER_DRAFT_H

#include "tailnet/filter/rules.h"

/* An array that grows up to a maximum. */
struct list {
    void *p;
    uint32_t n, cap, max;
    size_t item;
};

struct source {
    struct span span;
    uint32_t rule;
};

struct destination {
    struct span span;
    uint32_t rule;
    uint16_t first, last;
};

/* Of a sweep: at this key something begins or ends. */
struct event {
    struct key at;
    uint32_t what; /* rule or destination */
    bool ends;
};

struct source_name {
    uint32_t rule, capability;
};

struct protocols {
    uint64_t bits[FILTER_PROTOCOLS / FILTER_WORD_BITS];
};

struct draft {
    int error; /* the first */
    size_t skipped;
    size_t words;
    struct list own;            /* struct span, apart from each other and in order */
    struct list sources;        /* struct source */
    struct list destinations;   /* struct destination */
    struct list source_names;   /* struct source_name */
    struct list protocols;      /* struct protocols, by rule */
    struct list sets;           /* words each */
    struct list places;         /* struct place, by source */
    struct list owns;           /* struct own_place */
    struct list ports;          /* struct place */
    struct list capabilities;   /* struct source_capability */
    struct list grants;         /* struct granted */
    struct list text;           /* char */
    struct event *events, *port_events;
    uint32_t *active, *active_at, *counts, *table;
    uint64_t *bits;
    uint32_t table_n; /* a power of two */
};

void gsi_draft_fail(struct draft *d, int error);
/* n new items; NULL behind an error. */
void *gsi_draft_add(struct draft *d, struct list *l, uint32_t n);
/* The rules that concern an own address, as spans; d->error. */
void gsi_draft_read(struct draft *d, const struct prefix *own, size_t n_own, const struct filter_list *lists, size_t n_lists);

#endif
