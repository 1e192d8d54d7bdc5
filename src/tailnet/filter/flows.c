/* flows.c: the UDP and SCTP flows that we opened (rules.h): a table of a fixed size, in the order of use. Its buckets are chosen
 * with a secret, as whoever talks to us chooses ports. */
#include <string.h>

#include "tailnet/filter/rules.h"

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15;
    return h ^ h >> 32;
}

static uint16_t *bucket_of(struct flows *f, const struct flow *of)
{
    struct key src = gsi_filter_key(&of->src), dst = gsi_filter_key(&of->dst);
    uint64_t h = mix(f->seed, (uint64_t)of->protocol << 32 | (uint64_t)of->src_port << 16 | of->dst_port);
    h = mix(mix(mix(mix(h, src.hi), src.lo), dst.hi), dst.lo ^ f->seed);
    return &f->buckets[h % FLOW_BUCKETS];
}

static bool same(const struct flow *a, const struct flow *b)
{
    return a->src_port == b->src_port && a->dst_port == b->dst_port && a->protocol == b->protocol &&
           gsi_ip_equal(&a->src, &b->src) && gsi_ip_equal(&a->dst, &b->dst);
}

static uint16_t find(struct flows *f, const struct flow *of)
{
    uint16_t i = *bucket_of(f, of);
    while (i && !same(&f->flows[i - 1], of))
        i = f->flows[i - 1].next;
    return i;
}

static void unlink_use(struct flows *f, uint16_t i)
{
    struct flow *x = &f->flows[i - 1];
    *(x->newer ? &f->flows[x->newer - 1].older : &f->newest) = x->older;
    *(x->older ? &f->flows[x->older - 1].newer : &f->oldest) = x->newer;
}

static void link_newest(struct flows *f, uint16_t i)
{
    struct flow *x = &f->flows[i - 1];
    x->newer = 0;
    x->older = f->newest;
    *(f->newest ? &f->flows[f->newest - 1].newer : &f->oldest) = i;
    f->newest = i;
}

static void touch(struct flows *f, uint16_t i)
{
    if (f->newest == i)
        return;
    unlink_use(f, i);
    link_newest(f, i);
}

/* A free index, of the least recently used flow when there is none. */
static uint16_t room(struct flows *f)
{
    if (f->n < FILTER_FLOWS)
        return ++f->n;
    uint16_t i = f->oldest;
    unlink_use(f, i);
    uint16_t *at = bucket_of(f, &f->flows[i - 1]);
    while (*at != i)
        at = &f->flows[*at - 1].next;
    *at = f->flows[i - 1].next;
    return i;
}

void gsi_flows_add(struct flows *f, const struct packet *sent)
{
    struct flow x = {.src = sent->src, .dst = sent->dst, .src_port = sent->src_port, .dst_port = sent->dst_port,
        .protocol = sent->protocol};
    uint16_t i = find(f, &x);
    if (i) {
        touch(f, i);
        return;
    }
    i = room(f);
    uint16_t *bucket = bucket_of(f, &x);
    x.next = *bucket;
    f->flows[i - 1] = x;
    *bucket = i;
    link_newest(f, i);
}

bool gsi_flows_answer(struct flows *f, const struct packet *came)
{
    struct flow x = {.src = came->dst, .dst = came->src, .src_port = came->dst_port, .dst_port = came->src_port,
        .protocol = came->protocol};
    uint16_t i = find(f, &x);
    if (i)
        touch(f, i);
    return i > 0;
}
