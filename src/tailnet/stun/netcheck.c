/* netcheck.c: netcheck.h: the schedule of probes, what the answers tell, and when a report is done.
 *
 * A probe is sent when its time has come and its answer would still tell something: the region's latency in its family, or, for
 * IPv4, what a second server sees. The STUN phase ends when nothing is left to learn, a little after the last region answered, or
 * after 3 s.
 */
#include "tailnet/stun/netcheck.h"

#include <errno.h>
#include <stdlib.h>

#include "tailnet/crypto/crypto.h"

/* tailnet-protocol.md 6, in milliseconds. */
enum {
    STUN_PHASE_MS = 3000,
    REPORT_MS = 5000,
    FULL_EACH_MS = 300000, /* and how long a latency counts */
    AGAIN_MIN_MS = 20000,
    AGAIN_MAX_MS = 26000,
    FIRST_SPACING_MS = 100,
    SPACING_MS = 200,
    FIRST_TRIES = 3,
    HOME_TRIES = 4,
    FAST_REGIONS = 3,
    GRACE_MS = 100,
    HEARD_MS = 8000,
    KEEP_MS = 120000,

    TRIES_MAX = HOME_TRIES,
    PROBES_MAX = NETCHECK_REGIONS_MAX * 2 * TRIES_MAX,
    HISTORY = 32,
    TXID_RANDOM = STUN_TXID_LEN - 2, /* the last two bytes are the probe's index */
};
#define MS(ms) ((uint64_t)(ms) * 1000000)

struct region {
    struct netcheck_region is;
    uint64_t now_ns, last_ns; /* latency in this report, and in the last in which it answered; 0: none */
    bool probed, answered[2]; /* in this report; IPv4, IPv6 */
    uint64_t heard_ns;
    struct {
        uint64_t at_ns, latency_ns;
    } history[HISTORY]; /* a ring */
    size_t n_history;
};

struct probe {
    struct region *region;
    bool v6, answered;
    uint64_t at_ns, sent_ns; /* sent_ns 0: not yet */
    struct endpoint to;
    uint8_t txid[STUN_TXID_LEN];
};

struct netcheck {
    bool families[2];
    struct region *regions;
    size_t n;
    uint32_t home;
    bool control, active, started, wants_full;

    enum { IDLE, STUN, HTTPS } phase;
    uint64_t now, start_ns, began_ns, full_ns, answer_ns, slowest_ns;
    struct probe *probes; /* PROBES_MAX */
    size_t n_probes, next_probe; /* those before next_probe are sent, or not wanted */
    struct endpoint first_server;
    bool tell_home, tell_https, tell_report;
    struct netcheck_report report;
};

struct netcheck *gsi_netcheck_new(bool v4, bool v6)
{
    struct netcheck *nc = OPENSSL_zalloc(sizeof *nc);
    if (!nc)
        return NULL;
    nc->probes = OPENSSL_zalloc(PROBES_MAX * sizeof *nc->probes);
    if (!nc->probes) {
        OPENSSL_free(nc);
        return NULL;
    }
    nc->families[0] = v4;
    nc->families[1] = v6;
    nc->start_ns = UINT64_MAX;
    nc->now = 1;
    return nc;
}

void gsi_netcheck_free(struct netcheck *nc)
{
    if (!nc)
        return;
    OPENSSL_free(nc->regions);
    OPENSSL_free(nc->probes);
    OPENSSL_free(nc);
}

static void set_now(struct netcheck *nc, uint64_t now_ns)
{
    if (now_ns > nc->now)
        nc->now = now_ns;
}

static struct region *find(const struct netcheck *nc, uint32_t id)
{
    for (size_t i = 0; i < nc->n; i++)
        if (nc->regions[i].is.id == id)
            return &nc->regions[i];
    return NULL;
}

static void set_home(struct netcheck *nc, uint32_t home)
{
    nc->tell_home |= home != nc->home;
    nc->home = home;
}

/* Any region that may be home, but not that; 0: none. */
static uint32_t any_region(const struct netcheck *nc, uint32_t but, size_t *count)
{
    uint32_t random, id = 0;
    *count = 0;
    for (size_t i = 0; i < nc->n; i++) {
        const struct netcheck_region *r = &nc->regions[i].is;
        if (r->no_home || r->avoid || r->id == but)
            continue;
        gsi_random(&random, sizeof random);
        if (random % ++*count == 0)
            id = r->id;
    }
    return id;
}

int gsi_netcheck_regions(struct netcheck *nc, const struct netcheck_region *regions, size_t n, uint64_t now_ns)
{
    set_now(nc, now_ns);
    if (n > NETCHECK_REGIONS_MAX)
        return GS_EINVALID;
    for (size_t i = 0; i < n; i++) {
        if (!regions[i].id || regions[i].n > NETCHECK_NODES_MAX)
            return GS_EINVALID;
        for (size_t k = 0; k < i; k++)
            if (regions[k].id == regions[i].id)
                return GS_EINVALID;
    }
    struct region *all = OPENSSL_zalloc((n ? n : 1) * sizeof *all);
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct region *before = find(nc, regions[i].id);
        if (before)
            all[i] = *before;
        all[i].is = regions[i];
    }
    OPENSSL_free(nc->regions);
    nc->regions = all;
    nc->n = n;
    nc->phase = IDLE; /* its probes were the old regions' */
    nc->tell_https = false;
    nc->report.n = 0;
    nc->n_probes = nc->next_probe = 0;
    size_t count;
    uint32_t only = any_region(nc, 0, &count);
    if (count == 1)
        set_home(nc, only);
    else if (!find(nc, nc->home))
        set_home(nc, 0);
    gsi_netcheck_start(nc, true, nc->now);
    return 0;
}

void gsi_netcheck_start(struct netcheck *nc, bool full, uint64_t now_ns)
{
    set_now(nc, now_ns);
    nc->wants_full |= full;
    nc->start_ns = nc->now; /* or when the report that runs is done */
}

/* When the next one begins without being asked for. */
static uint64_t next_start(const struct netcheck *nc)
{
    uint64_t full_ns = nc->full_ns + MS(FULL_EACH_MS), random;
    if (!nc->active)
        return full_ns;
    gsi_random(&random, sizeof random);
    uint64_t soon_ns = nc->now + MS(AGAIN_MIN_MS) + random % (MS(AGAIN_MAX_MS) - MS(AGAIN_MIN_MS));
    return soon_ns < full_ns ? soon_ns : full_ns;
}

void gsi_netcheck_active(struct netcheck *nc, bool active, uint64_t now_ns)
{
    set_now(nc, now_ns);
    bool is_news = active != nc->active;
    nc->active = active;
    if (is_news && nc->started && nc->phase == IDLE && nc->start_ns > nc->now)
        nc->start_ns = next_start(nc);
}

void gsi_netcheck_control(struct netcheck *nc, bool connected) { nc->control = connected; }

void gsi_netcheck_heard(struct netcheck *nc, uint32_t region, uint64_t now_ns)
{
    struct region *r = find(nc, region);
    set_now(nc, now_ns);
    if (r)
        r->heard_ns = nc->now;
}

/* ---- the plan ---- */

static void plan_region(struct netcheck *nc, struct region *r, size_t tries, uint64_t spacing_ns)
{
    for (int v6 = 0; v6 < 2; v6++) {
        size_t n = 0;
        struct endpoint nodes[NETCHECK_NODES_MAX];
        for (size_t i = 0; i < r->is.n; i++) {
            const struct endpoint *e = v6 ? &r->is.nodes[i].v6 : &r->is.nodes[i].v4;
            if (nc->families[v6] && e->port && !gsi_ip_is_none(&e->ip))
                nodes[n++] = *e;
        }
        for (size_t k = 0; n && k < tries; k++)
            nc->probes[nc->n_probes++] =
                (struct probe){.region = r, .v6 = v6, .at_ns = nc->now + k * spacing_ns, .to = nodes[k % n]};
        r->probed |= n > 0;
    }
}

/* How many regions are faster; those that never answered are the slowest. */
static size_t rank(const struct netcheck *nc, const struct region *r)
{
    size_t faster = 0;
    for (size_t i = 0; i < nc->n; i++) {
        const struct region *o = &nc->regions[i];
        if (o->last_ns && o != r)
            faster += !r->last_ns || o->last_ns < r->last_ns || (o->last_ns == r->last_ns && o < r);
    }
    return faster;
}

static void plan(struct netcheck *nc)
{
    for (size_t i = 0; i < nc->n; i++) {
        struct region *r = &nc->regions[i];
        bool is_home = r->is.id == nc->home;
        size_t place = rank(nc, r);
        r->now_ns = 0;
        r->probed = r->answered[0] = r->answered[1] = false;
        if (nc->report.full && !r->is.no_home)
            plan_region(nc, r, FIRST_TRIES, MS(FIRST_SPACING_MS));
        else if (is_home || (place < FAST_REGIONS && r->last_ns))
            plan_region(nc, r, is_home ? HOME_TRIES : place < 2 ? 2 : 1, r->last_ns ? r->last_ns * 6 / 5 : MS(SPACING_MS));
    }
}

static int by_time(const void *a, const void *b)
{
    const struct probe *x = a, *y = b;
    return (x->at_ns > y->at_ns) - (x->at_ns < y->at_ns);
}

static void begin(struct netcheck *nc)
{
    bool due = !nc->started || nc->now - nc->full_ns >= MS(FULL_EACH_MS) || !nc->report.udp;
    nc->report = (struct netcheck_report){.full = nc->wants_full || due};
    nc->began_ns = nc->now;
    nc->start_ns = UINT64_MAX;
    nc->started = true;
    nc->wants_full = false;
    nc->phase = STUN;
    nc->answer_ns = nc->slowest_ns = 0;
    nc->n_probes = nc->next_probe = 0;
    nc->first_server = (struct endpoint){0};
    if (nc->report.full)
        nc->full_ns = nc->now;
    plan(nc);
    qsort(nc->probes, nc->n_probes, sizeof *nc->probes, by_time);
    for (size_t i = 0; i < nc->n_probes; i++) {
        gsi_random(nc->probes[i].txid, TXID_RANDOM);
        nc->probes[i].txid[TXID_RANDOM] = (uint8_t)(i >> 8);
        nc->probes[i].txid[TXID_RANDOM + 1] = (uint8_t)i;
    }
}

/* Its answer would tell something. */
static bool helps(const struct netcheck *nc, const struct probe *p)
{
    if (p->answered)
        return false;
    if (!p->region->answered[p->v6])
        return true;
    return !p->v6 && nc->report.varies == VARIES_UNKNOWN && !gsi_endpoint_equal(&p->to, &nc->first_server);
}

bool gsi_netcheck_output(struct netcheck *nc, struct netcheck_packet *out)
{
    while (nc->phase == STUN && nc->next_probe < nc->n_probes && nc->probes[nc->next_probe].at_ns <= nc->now) {
        struct probe *p = &nc->probes[nc->next_probe++];
        if (!helps(nc, p))
            continue;
        p->sent_ns = nc->now;
        out->to = p->to;
        gsi_stun_request(out->bytes, p->txid);
        return true;
    }
    return false;
}

/* ---- answers ---- */

static void measured(struct netcheck *nc, struct region *r, uint64_t latency_ns)
{
    if (!latency_ns)
        latency_ns = 1;
    if (!r->now_ns || latency_ns < r->now_ns)
        r->now_ns = latency_ns;
    if (r->now_ns > nc->slowest_ns)
        nc->slowest_ns = r->now_ns;
    nc->answer_ns = nc->now;
}

int gsi_netcheck_feed(struct netcheck *nc, const void *in, size_t n, uint64_t now_ns)
{
    uint8_t txid[STUN_TXID_LEN];
    struct endpoint seen;
    set_now(nc, now_ns);
    if (gsi_stun_response_parse(in, n, txid, &seen) < 0)
        return GS_EINVALID;
    size_t i = (size_t)txid[TXID_RANDOM] << 8 | txid[TXID_RANDOM + 1];
    struct probe *p = i < nc->n_probes ? &nc->probes[i] : NULL;
    if (nc->phase != STUN || !p || !p->sent_ns || p->answered || !gsi_equal(p->txid, txid, sizeof txid))
        return GS_EINVALID;
    p->answered = p->region->answered[p->v6] = nc->report.udp = true;
    measured(nc, p->region, nc->now - p->sent_ns);
    if (p->v6) {
        if (!nc->report.v6.port)
            nc->report.v6 = seen;
    } else if (!nc->report.v4.port) {
        nc->report.v4 = seen;
        nc->first_server = p->to;
    } else if (!gsi_endpoint_equal(&p->to, &nc->first_server) && nc->report.varies != VARIES_YES)
        nc->report.varies = gsi_endpoint_equal(&seen, &nc->report.v4) ? VARIES_NO : VARIES_YES;
    return 0;
}

void gsi_netcheck_latency(struct netcheck *nc, uint32_t region, uint64_t latency_ns)
{
    struct region *r = find(nc, region);
    if (r && nc->phase == HTTPS)
        measured(nc, r, latency_ns);
}

/* ---- the end of a report ---- */

static uint64_t best_of_history(const struct netcheck *nc, const struct region *r)
{
    uint64_t best = 0;
    for (size_t i = 0; i < r->n_history && i < HISTORY; i++)
        if (nc->now - r->history[i].at_ns <= MS(FULL_EACH_MS) && (!best || r->history[i].latency_ns < best))
            best = r->history[i].latency_ns;
    return best;
}

static bool heard_within(const struct netcheck *nc, const struct region *r, uint64_t ns)
{
    return r && r->heard_ns && nc->now - r->heard_ns <= ns;
}

static void choose_home(struct netcheck *nc)
{
    struct home_region list[NETCHECK_REGIONS_MAX];
    const struct region *old = find(nc, nc->home);
    size_t count;
    for (size_t i = 0; i < nc->n; i++) {
        const struct region *r = &nc->regions[i];
        list[i] = (struct home_region){r->is.id, r->is.avoid, r->is.no_home, r->is.score, r->now_ns, best_of_history(nc, r)};
    }
    uint32_t home = gsi_home_choose(list, nc->n, nc->home, heard_within(nc, old, MS(HEARD_MS)));
    if (!home && !heard_within(nc, old, MS(KEEP_MS)))
        home = any_region(nc, nc->home, &count);
    if (home && (nc->control || !old))
        set_home(nc, home);
}

static void finish(struct netcheck *nc)
{
    for (size_t i = 0; i < nc->n; i++) {
        struct region *r = &nc->regions[i];
        if (!r->now_ns)
            continue;
        size_t at = r->n_history++ % HISTORY;
        r->history[at].at_ns = nc->now;
        r->history[at].latency_ns = r->last_ns = r->now_ns;
        nc->report.latencies[nc->report.n++] = (struct netcheck_latency){r->is.id, r->now_ns};
    }
    choose_home(nc);
    nc->phase = IDLE;
    nc->tell_report = true;
    if (nc->start_ns == UINT64_MAX)
        nc->start_ns = next_start(nc);
}

/* When the STUN phase ends if nothing more comes; nc->now when nothing is left to learn. */
static uint64_t stun_end(const struct netcheck *nc)
{
    uint64_t end = nc->began_ns + MS(STUN_PHASE_MS), grace = 2 * nc->slowest_ns;
    bool all = true, pending = false;
    for (size_t i = 0; i < nc->n_probes; i++) {
        pending |= helps(nc, &nc->probes[i]);
        all &= nc->probes[i].region->now_ns != 0;
    }
    if (!pending)
        return nc->now;
    if (grace < MS(GRACE_MS))
        grace = MS(GRACE_MS);
    return all && nc->answer_ns + grace < end ? nc->answer_ns + grace : end;
}

static bool all_measured(const struct netcheck *nc)
{
    for (size_t i = 0; i < nc->n; i++)
        if (!nc->regions[i].now_ns && !nc->regions[i].is.no_home)
            return false;
    return true;
}

void gsi_netcheck_tick(struct netcheck *nc, uint64_t now_ns)
{
    set_now(nc, now_ns);
    if (nc->phase == IDLE && nc->start_ns <= nc->now && nc->n)
        begin(nc);
    if (nc->phase == STUN && stun_end(nc) <= nc->now) {
        if (nc->report.udp) {
            finish(nc);
        } else {
            nc->phase = HTTPS;
            nc->tell_https = true;
        }
    }
    if (nc->phase == HTTPS && (all_measured(nc) || nc->began_ns + MS(REPORT_MS) <= nc->now))
        finish(nc);
}

uint64_t gsi_netcheck_deadline(const struct netcheck *nc)
{
    if (nc->phase == HTTPS)
        return all_measured(nc) ? nc->now : nc->began_ns + MS(REPORT_MS);
    if (nc->phase == IDLE)
        return nc->n ? nc->start_ns : UINT64_MAX;
    uint64_t end = stun_end(nc);
    for (size_t i = nc->next_probe; i < nc->n_probes; i++)
        if (helps(nc, &nc->probes[i]))
            return nc->probes[i].at_ns < end ? nc->probes[i].at_ns : end;
    return end;
}

enum netcheck_event gsi_netcheck_next(struct netcheck *nc, struct netcheck_report *report)
{
    enum netcheck_event event = NETCHECK_NOTHING;
    bool *told[] = {
        [NETCHECK_HOME] = &nc->tell_home, [NETCHECK_WANT_HTTPS] = &nc->tell_https, [NETCHECK_REPORT] = &nc->tell_report};
    for (int i = NETCHECK_HOME; event == NETCHECK_NOTHING && i <= NETCHECK_REPORT; i++)
        if (*told[i]) {
            *told[i] = false;
            event = (enum netcheck_event)i;
        }
    *report = nc->report;
    report->home = nc->home;
    return event;
}
