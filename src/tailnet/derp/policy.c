/* policy.c: each region has a state and the attempt that should be; orders are what differs from what the caller has. */
#include "tailnet/derp/policy.h"

#include <assert.h>

#include "tailnet/crypto/crypto.h"

/* SLOTS: the map's regions, and removed ones that the caller still has. No region is told to connect while one of these is
 * left, so there are never more of them than a map may have. */
enum { SLOTS = 2 * POLICY_REGIONS_MAX, TRIES_MAX = 1024 /* n² pauses are above the maximum long before */ };

enum state { IDLE, DIALING, UPGRADING, OPEN, WAITING };

struct region {
    uint32_t id;
    uint8_t nodes, node, first; /* first: where the next round begins */
    uint8_t tried;              /* of this round */
    bool removed;               /* the map has it no more: only its close is to be told */
    bool told;                  /* the caller's connection is as preferred as this */
    enum state state;
    uint64_t attempt, given;    /* that should be; that the caller has. 0: none */
    uint64_t idle_at;           /* 0: never written to */
    uint64_t step_at;           /* when DIALING, UPGRADING or WAITING ends */
    uint64_t round_at;          /* when all the round ends */
    uint64_t since;             /* OPEN */
    uint32_t tries;
};

struct derp_policy {
    struct region region[SLOTS];
    size_t n;
    uint32_t home;
    uint64_t attempts;
};

struct derp_policy *gsi_derp_policy_new(void)
{
    return OPENSSL_zalloc(sizeof(struct derp_policy));
}

void gsi_derp_policy_free(struct derp_policy *p)
{
    OPENSSL_free(p);
}

static struct region *find(struct derp_policy *p, uint32_t id)
{
    for (size_t i = 0; id && i < p->n; i++)
        if (p->region[i].id == id && !p->region[i].removed)
            return &p->region[i];
    return NULL;
}

static const struct region *find_attempt(const struct derp_policy *p, uint64_t attempt)
{
    for (size_t i = 0; attempt && i < p->n; i++)
        if (p->region[i].attempt == attempt && p->region[i].given == attempt)
            return &p->region[i];
    return NULL;
}

static struct region *attempted(struct derp_policy *p, uint64_t attempt)
{
    const struct region *r = find_attempt(p, attempt);
    return r ? &p->region[r - p->region] : NULL;
}

static bool wanted(const struct derp_policy *p, const struct region *r, uint64_t now)
{
    return !r->removed && (r->id == p->home || now < r->idle_at);
}

/* ---- a region's states ---- */

static void dial(struct derp_policy *p, struct region *r, uint8_t node, uint64_t now)
{
    r->state = DIALING;
    r->node = node;
    r->tried++;
    r->attempt = ++p->attempts;
    r->step_at = now + POLICY_NODE_NS < r->round_at ? now + POLICY_NODE_NS : r->round_at;
}

static void begin(struct derp_policy *p, struct region *r, uint64_t now)
{
    r->tried = 0;
    r->round_at = now + POLICY_ROUND_NS;
    dial(p, r, r->first % r->nodes, now);
}

static void rest(struct region *r, uint8_t first, uint64_t now)
{
    if (r->tries < TRIES_MAX)
        r->tries++;
    uint64_t pause = (uint64_t)r->tries * r->tries * POLICY_PAUSE_NS, random;
    if (pause > POLICY_PAUSE_MAX_NS)
        pause = POLICY_PAUSE_MAX_NS;
    gsi_random(&random, sizeof random);
    r->state = WAITING;
    r->attempt = 0;
    r->first = first;
    r->step_at = now + pause / 2 + random % pause;
}

/* A node that took all the round's time is not the first to be tried again. */
static void next_node(struct derp_policy *p, struct region *r, uint64_t now)
{
    uint8_t node = (uint8_t)((r->node + 1) % r->nodes);
    if (now >= r->round_at)
        rest(r, node, now);
    else if (r->tried >= r->nodes)
        rest(r, 0, now);
    else
        dial(p, r, node, now);
}

static void settle(struct derp_policy *p, struct region *r, uint64_t now)
{
    if (!wanted(p, r, now)) {
        r->state = IDLE;
        r->attempt = 0;
        r->tries = 0;
        r->first = 0;
        r->idle_at = 0;
        return;
    }
    switch (r->state) {
    case IDLE:
        begin(p, r, now);
        break;
    case DIALING:
    case UPGRADING:
        if (now >= r->step_at)
            next_node(p, r, now);
        break;
    case WAITING:
        if (now >= r->step_at)
            begin(p, r, now);
        break;
    case OPEN:
        break;
    }
}

void gsi_derp_policy_dialed(struct derp_policy *p, uint64_t attempt, uint64_t now_ns)
{
    struct region *r = attempted(p, attempt);
    if (!r || r->state != DIALING)
        return;
    r->state = UPGRADING;
    r->step_at = r->round_at;
    settle(p, r, now_ns);
}

void gsi_derp_policy_connected(struct derp_policy *p, uint64_t attempt, uint64_t now_ns)
{
    struct region *r = attempted(p, attempt);
    if (!r || (r->state != DIALING && r->state != UPGRADING))
        return;
    r->state = OPEN;
    r->since = now_ns;
    settle(p, r, now_ns);
}

void gsi_derp_policy_failed(struct derp_policy *p, uint64_t attempt, uint64_t now_ns)
{
    struct region *r = attempted(p, attempt);
    if (!r)
        return;
    r->given = 0;
    if (r->state == OPEN) {
        if (now_ns >= r->since + POLICY_STEADY_NS)
            r->tries = 0;
        rest(r, 0, now_ns);
    } else {
        next_node(p, r, now_ns);
    }
    settle(p, r, now_ns);
}

/* ---- what the node wants ---- */

static const struct policy_region *listed(const struct policy_region *regions, size_t n, uint32_t id)
{
    for (size_t i = 0; i < n; i++)
        if (regions[i].id == id)
            return &regions[i];
    return NULL;
}

static bool stays(const struct policy_region *regions, size_t n, uint32_t id)
{
    const struct policy_region *l = listed(regions, n, id);
    return l && l->nodes;
}

int gsi_derp_policy_regions(struct derp_policy *p, const struct policy_region *regions, size_t n, uint64_t now_ns)
{
    if (n > POLICY_REGIONS_MAX)
        return GS_EINVALID;
    for (size_t i = 0; i < n; i++)
        if (!regions[i].id || listed(regions, i, regions[i].id))
            return GS_EINVALID;
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct region r = p->region[i];
        r.removed = !stays(regions, n, r.id);
        if (!r.removed || r.given)
            p->region[kept++] = r;
    }
    p->n = kept;
    for (size_t i = 0; i < n; i++) {
        if (!regions[i].nodes)
            continue;
        struct region *r = find(p, regions[i].id);
        if (!r) {
            assert(p->n < SLOTS);
            r = &p->region[p->n++];
            *r = (struct region){.id = regions[i].id};
        }
        r->nodes = regions[i].nodes;
    }
    gsi_derp_policy_tick(p, now_ns);
    return 0;
}

static void wrote(struct region *r, uint64_t now)
{
    r->idle_at = now + POLICY_IDLE_NS;
}

void gsi_derp_policy_home(struct derp_policy *p, uint32_t region, uint64_t now_ns)
{
    if (p->home == region)
        return;
    struct region *old = find(p, p->home), *new = find(p, region);
    p->home = region;
    if (old) {
        wrote(old, now_ns);
        settle(p, old, now_ns);
    }
    if (new)
        settle(p, new, now_ns);
}

uint32_t gsi_derp_policy_route(struct derp_policy *p, uint32_t home, const struct policy_heard *heard, uint64_t now_ns)
{
    struct region *r = find(p, home), *last = find(p, heard->region);
    bool open = r && r->state == OPEN;
    if (!r || (!open && last && last->state == OPEN && last->attempt == heard->attempt))
        r = last;
    if (!r)
        return 0;
    wrote(r, now_ns);
    settle(p, r, now_ns);
    return r->id;
}

void gsi_derp_policy_heard(const struct derp_policy *p, struct policy_heard *heard, uint64_t attempt)
{
    const struct region *r = find_attempt(p, attempt);
    if (r && r->state == OPEN)
        *heard = (struct policy_heard){r->id, attempt};
}

void gsi_derp_policy_gone(struct policy_heard *heard, uint64_t attempt)
{
    if (heard->attempt == attempt)
        heard->attempt = 0;
}

/* ---- orders and time ---- */

static bool order_of(const struct derp_policy *p, struct region *r, struct policy_order *out)
{
    bool preferred = r->id == p->home && !r->removed;
    *out = (struct policy_order){.region = r->id, .node = r->node, .preferred = preferred, .attempt = r->attempt};
    if (r->attempt != r->given) {
        out->what = r->attempt ? POLICY_CONNECT : POLICY_CLOSE;
        if (!r->attempt)
            out->attempt = r->given;
        r->given = r->attempt;
        r->told = preferred;
        return true;
    }
    out->what = POLICY_PREFER;
    if (r->state != OPEN || r->told == preferred)
        return false;
    r->told = preferred;
    return true;
}

bool gsi_derp_policy_next(struct derp_policy *p, struct policy_order *out)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->region[i].removed && order_of(p, &p->region[i], out)) {
            p->region[i] = p->region[--p->n];
            return true;
        }
    for (size_t i = 0; i < p->n; i++)
        if (order_of(p, &p->region[i], out))
            return true;
    return false;
}

uint64_t gsi_derp_policy_deadline(const struct derp_policy *p)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < p->n; i++) {
        const struct region *r = &p->region[i];
        if (r->state == IDLE)
            continue;
        if (r->state != OPEN && r->step_at < least)
            least = r->step_at;
        if (r->id != p->home && r->idle_at < least)
            least = r->idle_at;
    }
    return least;
}

void gsi_derp_policy_tick(struct derp_policy *p, uint64_t now_ns)
{
    for (size_t i = 0; i < p->n; i++)
        settle(p, &p->region[i], now_ns);
}
