/* path.c: one peer's path: pings, what their answers mean, and where a packet goes now (tailnet-protocol.md 7.3).
 *
 * Timers: a Pong from the best address trusts it for 6.5 s (queue trusted). Sending begins heartbeats each 3 s (queue beating),
 * which end 45 s after the last packet. A ping is forgotten after 5 s (queue pings). Each queue is in order of time by itself.
 */
#include "tailnet/disco/path.h"

uint32_t gsi_path_region(const struct path *path) { return path->home ? path->home : path->heard_region; }

void gsi_path_info(const struct path *path, struct path_info *info)
{
    bool direct = path->has_best && queue_has(&path->trusted);
    *info = (struct path_info){.region = gsi_path_region(path), .candidates = path->n};
    info->kind = direct ? PATH_DIRECT : info->region ? PATH_RELAY : PATH_NONE;
    if (direct) {
        info->at = path->best.at;
        info->latency_ns = path->best.latency_ns;
    }
}

void gsi_path_tell(struct paths *p, struct path *path)
{
    if (!queue_has(&path->telling))
        queue_put(&p->telling, &path->telling);
}

static int points_of_place(const struct ip *ip)
{
    int points = gsi_ip_is_v4(ip) ? 0 : 10;
    if (gsi_ip_is_loopback(ip))
        return points + 50;
    if (gsi_ip_is_link_local(ip))
        return points + 30;
    return gsi_ip_is_private(ip) ? points + 20 : points;
}

/* Of a, for being faster than b: percent of b. */
static int points_of_time(uint64_t a, uint64_t b)
{
    return a < b ? (int)(100 - (double)a * 100 / (double)b) : 0;
}

bool gsi_path_is_better(const struct path_quality *a, const struct path_quality *b)
{
    if (gsi_endpoint_equal(&a->at, &b->at) || gsi_ip_is_none(&a->at.ip))
        return false;
    if (gsi_ip_is_none(&b->at.ip))
        return true;
    int of_a = points_of_time(a->latency_ns, b->latency_ns) + points_of_place(&a->at.ip);
    int of_b = points_of_time(b->latency_ns, a->latency_ns) + points_of_place(&b->at.ip);
    return of_a > of_b && (of_a > 1 || of_b > 0); /* one percent is noise */
}

/* ---- pings ---- */

bool gsi_path_start_ping(struct paths *p, struct path *path, const struct endpoint *to, uint32_t region)
{
    if (!gsi_paths_room(p)) {
        p->stats.full++;
        return false;
    }
    if (!gsi_path_shared(p, path) || path->n_pings >= PINGS_OF_A_PATH || p->txids.n >= PINGS_MAX)
        return false;
    struct ping *ping = OPENSSL_zalloc(sizeof *ping);
    if (!ping)
        return false;
    gsi_random(ping->txid, sizeof ping->txid);
    if (gsi_table_add(&p->txids, &ping->by_txid, ping->txid, sizeof ping->txid) < 0) {
        OPENSSL_free(ping);
        return false;
    }
    ping->path = path;
    ping->region = region;
    ping->sent_ns = p->now;
    struct order o = {.type = DISCO_PING, .path = path, .relay = region != 0, .region = region};
    if (!region)
        ping->to = o.to = *to;
    memcpy(o.txid, ping->txid, sizeof o.txid);
    queue_put(&p->pings, &ping->in_time);
    queue_put(&path->pings, &ping->of_path);
    path->n_pings++;
    gsi_paths_order(p, &o);
    return true;
}

void gsi_path_end_ping(struct paths *p, struct ping *ping)
{
    gsi_table_remove(&p->txids, &ping->by_txid);
    queue_take(&ping->in_time);
    queue_take(&ping->of_path);
    ping->path->n_pings--;
    OPENSSL_free(ping);
}

/* Our endpoints are known, and fresh. */
static bool may_call(const struct paths *p) { return p->own_ns && p->now - p->own_ns <= MS(FRESH_MS); }

/* The peer should ping us, by which its NAT opens; as soon as we know where we are. At most once in 5 s, but then whatever else
 * was pinged when: after a call of the peer's own, our pings are out but it may not know all our endpoints. */
static void call(struct paths *p, struct path *path)
{
    if (p->relay_only || !gsi_path_region(path) || !gsi_path_shared(p, path) || queue_has(&path->waiting))
        return;
    if (path->called_ns && p->now - path->called_ns < MS(CALL_INTERVAL_MS))
        return;
    queue_put(&p->waiting, &path->waiting);
    if (!may_call(p))
        p->wants_endpoints = true;
}

void gsi_path_ping_candidates(struct paths *p, struct path *path)
{
    gsi_candidate_drop_unused(p, path);
    path->full_ping_ns = p->now;
    path->next_ping_ns = p->now + MS(PING_INTERVAL_MS);
    for (size_t i = 0; i < path->n; i++) {
        struct candidate *c = path->candidates[i];
        uint64_t again = c->pinged_ns + MS(PING_INTERVAL_MS);
        if ((!c->pinged_ns || p->now >= again) && gsi_path_start_ping(p, path, &c->at, 0))
            c->pinged_ns = p->now;
        else if (again < path->next_ping_ns)
            path->next_ping_ns = again;
    }
}

static void ping_best(struct paths *p, struct path *path)
{
    struct candidate *c = gsi_candidate_find(path, &path->best.at);
    if (gsi_path_start_ping(p, path, &path->best.at, 0) && c)
        c->pinged_ns = p->now;
}

void gsi_path_pong(struct paths *p, struct path *path, const struct endpoint *at, uint64_t latency_ns)
{
    struct path_quality this = {*at, latency_ns};
    bool same = path->has_best && gsi_endpoint_equal(&path->best.at, at);
    if (!same && queue_has(&path->trusted) && !gsi_path_is_better(&this, &path->best))
        return;
    path->has_best = true;
    path->best = this;
    path->trust_ns = p->now + MS(TRUST_MS);
    bool is_news = !same || !queue_has(&path->trusted);
    queue_take(&path->trusted);
    queue_put(&p->trusted, &path->trusted);
    if (is_news)
        gsi_path_tell(p, path);
}

/* ---- data ---- */

struct route gsi_path_send(struct paths *p, struct path *path, uint64_t now_ns)
{
    gsi_paths_now(p, now_ns);
    path->sent_ns = p->now;
    bool looks = path->has_disco && !p->relay_only;
    if (!queue_has(&path->beating) && looks) {
        path->beat_ns = p->now + MS(HEARTBEAT_MS);
        queue_put(&p->beating, &path->beating);
    }
    bool trusted = path->has_best && queue_has(&path->trusted) && p->now < path->trust_ns;
    if (!trusted && looks) {
        if (p->now >= path->next_ping_ns)
            gsi_path_ping_candidates(p, path);
        call(p, path);
    }
    uint32_t region = gsi_path_region(path);
    return (struct route){.udp = path->has_best, .to = path->best.at, .relay = !trusted && region, .region = region};
}

void gsi_path_unreachable(struct paths *p, struct path *path, const struct endpoint *to)
{
    if (!path->has_best || !gsi_endpoint_equal(&path->best.at, to))
        return;
    path->has_best = false;
    path->best = (struct path_quality){0};
    gsi_path_lapse(p, path);
}

bool gsi_path_ping(struct paths *p, struct path *path, uint64_t now_ns)
{
    gsi_paths_now(p, now_ns);
    uint32_t region = gsi_path_region(path);
    bool any = region && gsi_path_start_ping(p, path, NULL, region);
    for (size_t i = 0; i < path->n; i++)
        any |= gsi_path_start_ping(p, path, &path->candidates[i]->at, 0);
    path->asked |= any;
    if (any)
        call(p, path);
    return any;
}

/* ---- time ---- */

void gsi_path_lapse(struct paths *p, struct path *path)
{
    queue_take(&path->trusted);
    path->next_ping_ns = 0;
    gsi_path_tell(p, path);
}

static bool wants_full_ping(const struct paths *p, const struct path *path)
{
    if (!path->has_best || !path->full_ping_ns || !queue_has(&path->trusted))
        return true;
    return path->best.latency_ns > MS(GOOD_ENOUGH_MS) && p->now - path->full_ping_ns >= MS(UPGRADE_MS);
}

static void beat(struct paths *p, struct path *path)
{
    queue_take(&path->beating);
    if (p->now - path->sent_ns > MS(SESSION_MS) || !path->has_disco)
        return;
    if (path->has_best)
        ping_best(p, path);
    if (wants_full_ping(p, path)) {
        gsi_path_ping_candidates(p, path);
        call(p, path);
    }
    path->beat_ns = p->now + MS(HEARTBEAT_MS);
    queue_put(&p->beating, &path->beating);
}

static void call_those_who_wait(struct paths *p)
{
    struct link *l;
    if (!may_call(p) && queue_first(&p->waiting))
        p->wants_endpoints = true;
    while (may_call(p) && gsi_paths_room(p) && (l = queue_first(&p->waiting)) != NULL) {
        struct path *path = CONTAINER(l, struct path, waiting);
        struct order o = {.type = DISCO_CALL_ME_MAYBE, .path = path, .relay = true, .region = gsi_path_region(path)};
        queue_take(l);
        if (!p->n_own)
            continue; /* nowhere to call us */
        path->called_ns = p->now;
        gsi_paths_order(p, &o);
    }
}

void gsi_paths_tick(struct paths *p, uint64_t now_ns)
{
    struct link *l;
    gsi_paths_now(p, now_ns);
    while ((l = queue_first(&p->pings)) && CONTAINER(l, struct ping, in_time)->sent_ns + MS(PING_TIMEOUT_MS) <= p->now)
        gsi_path_end_ping(p, CONTAINER(l, struct ping, in_time));
    while ((l = queue_first(&p->trusted)) && CONTAINER(l, struct path, trusted)->trust_ns <= p->now)
        gsi_path_lapse(p, CONTAINER(l, struct path, trusted));
    while (gsi_paths_room(p) >= ORDERS_OF_A_PATH && (l = queue_first(&p->beating)) != NULL) {
        struct path *path = CONTAINER(l, struct path, beating);
        if (path->beat_ns > p->now)
            break;
        beat(p, path);
    }
    call_those_who_wait(p);
}

uint64_t gsi_paths_deadline(const struct paths *p)
{
    uint64_t at = UINT64_MAX, t;
    struct link *l;
    if ((l = queue_first(&p->pings)) && (t = CONTAINER(l, struct ping, in_time)->sent_ns + MS(PING_TIMEOUT_MS)) < at)
        at = t;
    if ((l = queue_first(&p->trusted)) && (t = CONTAINER(l, struct path, trusted)->trust_ns) < at)
        at = t;
    if ((l = queue_first(&p->beating)) && (t = CONTAINER(l, struct path, beating)->beat_ns) < at)
        at = t;
    if (queue_first(&p->waiting) && may_call(p) && p->now < at)
        at = p->now;
    return at;
}
