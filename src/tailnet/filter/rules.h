/* rules.h: what compile.c makes and filter.c searches. Inside of this folder.
 *
 * A set is a bit per rule, in words; equal sets are one, known by its number; 0 is the empty one. A place is where a set begins
 * to hold, up to the next place; the first begins at 0. */
#ifndef GSI_TAILNET_FILTER_RULES_H
#define GSI_TAILNET_FILTER_RULES_H

#include "tailnet/filter/filter.h"

enum { FILTER_PROTOCOLS = 256, FILTER_WORD_BITS = 64 };

/* An address, or a port, as a number. */
struct key {
    uint64_t hi, lo;
};

static inline bool key_before(const struct key *a, const struct key *b) { return a->hi != b->hi ? a->hi < b->hi : a->lo < b->lo; }

struct span {
    struct key first, last; /* both included */
};

struct place {
    struct key from;
    uint32_t set;
};

/* Likewise for destinations. */
struct own_place {
    struct key from;
    bool own;
    uint32_t any;     /* the rules for any of its ports */
    uint32_t full;    /* the rules for all of its ports */
    uint32_t ports;   /* its places by port: from this one */
    uint32_t n_ports; /* so many */
};

struct source_capability {
    uint32_t name; /* offset of a text with a 0 */
    uint32_t set;  /* of the rules that have it as a source */
};

struct granted {
    struct span own;
    uint32_t rule;
    uint32_t name, name_len;
    uint32_t value, value_len;
    bool has_value;
};

struct rules {
    uint64_t *sets;
    size_t words; /* of one set */
    struct place *sources;
    struct own_place *owns;
    struct place *ports;
    struct source_capability *capabilities;
    struct granted *grants;
    char *text;
    uint32_t n_sets, n_sources, n_owns, n_ports, n_capabilities, n_grants, n_text;
    uint32_t protocols[FILTER_PROTOCOLS]; /* sets */
    uint32_t all;                         /* the set of all rules */
};

enum { SPANS_MAX = 2 };

/* text.c. The number of spans, 0 - SPANS_MAX: an IPv6 range that reaches around ::ffff:0:0/96 has two. GS_EFORMAT. */
GS_MUST_USE int gsi_filter_spans(const struct filter_text *text, struct span out[SPANS_MAX]);
GS_MUST_USE int gsi_filter_prefix_spans(const struct prefix *p, struct span out[SPANS_MAX]);
struct key gsi_filter_key(const struct ip *ip);

/* flows.c: the flows that we opened; the least recently used goes. */
struct flow {
    struct ip src, dst; /* of our packet */
    uint16_t src_port, dst_port;
    uint8_t protocol;
    uint16_t newer, older, next; /* indexes + 1; next of the same bucket */
};

enum { FLOW_BUCKETS = 1024 };

struct flows {
    struct flow flows[FILTER_FLOWS];
    uint16_t buckets[FLOW_BUCKETS]; /* index + 1 */
    uint16_t n, newest, oldest;     /* index + 1 */
    uint64_t seed;
};

void gsi_flows_add(struct flows *f, const struct packet *sent);
/* Whether it answers one; that is then the most recently used. */
GS_MUST_USE bool gsi_flows_answer(struct flows *f, const struct packet *came);

#endif
