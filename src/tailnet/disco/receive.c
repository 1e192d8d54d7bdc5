/* receive.c: disco packets that came (tailnet-protocol.md 7.2): who sent it is looked up before anything is opened. */
#include "tailnet/disco/path.h"

/* Where a packet came from. */
struct source {
    const struct endpoint *udp; /* or NULL */
    uint32_t region;
    const uint8_t *node; /* whom the relay names */
};

static struct path *next_of_key(struct item *item, const uint8_t disco[KEY_LEN])
{
    for (; item; item = gsi_table_next(item)) {
        struct path *path = CONTAINER(item, struct path, by_disco);
        if (memcmp(path->disco, disco, KEY_LEN) == 0)
            return path;
    }
    return NULL;
}

static struct path *first_of_key(const struct paths *p, const uint8_t disco[KEY_LEN])
{
    return next_of_key(gsi_table_first(&p->discos, gsi_table_hash(&p->discos, disco, KEY_LEN)), disco);
}

static struct path *with_keys(const struct paths *p, const uint8_t *node, const uint8_t disco[KEY_LEN])
{
    struct path *path = node ? gsi_path_find(p, node) : NULL;
    return path && path->has_disco && memcmp(path->disco, disco, KEY_LEN) == 0 ? path : NULL;
}

/* Several nodes may have one disco key: the relay's word, the sender's own, or there is but one. */
static struct path *who_pings(const struct paths *p, const struct disco_message *m, const uint8_t disco[KEY_LEN],
                              const struct source *from)
{
    struct path *path = with_keys(p, from->node, disco);
    if (!path)
        path = with_keys(p, m->node, disco);
    if (path)
        return path;
    path = first_of_key(p, disco);
    return path && next_of_key(gsi_table_next(&path->by_disco), disco) ? NULL : path;
}

/* At most burst at once and then one in each_ns; false: too many. */
static bool is_allowed(uint64_t *at, uint64_t now, uint64_t each_ns, uint64_t burst)
{
    uint64_t from = *at > now ? *at : now;
    if (from - now > each_ns * (burst - 1))
        return false;
    *at = from + each_ns;
    return true;
}

/* Its NAT is open now and so is ours: what we sent there before may have been lost. */
static void ping_back(struct paths *p, struct path *path, struct candidate *c)
{
    bool wanted = queue_has(&path->beating) && !queue_has(&path->trusted);
    if (!wanted || c->pinged_ns == p->now || (c->answered_ns && p->now - c->answered_ns < MS(PING_INTERVAL_MS)))
        return;
    if (gsi_path_start_ping(p, path, &c->at, 0))
        c->pinged_ns = c->answered_ns = p->now;
}

static void got_ping(struct paths *p, const struct disco_message *m, const uint8_t disco[KEY_LEN], const struct source *from)
{
    struct path *path = who_pings(p, m, disco, from);
    if (!path || (from->udp && p->relay_only)) {
        p->stats.stray++;
        return;
    }
    struct candidate *c = from->udp ? gsi_candidate_find(path, from->udp) : NULL;
    if (c && c->heard_ns && memcmp(c->heard, m->txid, sizeof m->txid) == 0) {
        p->stats.stray++;
        return; /* a copy */
    }
    if (!is_allowed(&path->pong_ns, p->now, MS(PONG_EACH_MS), PONG_BURST)) {
        p->stats.limited++;
        return;
    }
    struct order pong = {.type = DISCO_PONG, .path = path, .relay = !from->udp, .region = from->region};
    memcpy(pong.txid, m->txid, sizeof pong.txid);
    if (from->udp) {
        pong.to = pong.seen = *from->udp;
        if (!c && gsi_candidate_is_usable(p, from->udp, false))
            c = gsi_candidate_add(p, path, from->udp);
        if (c) {
            c->heard_ns = p->now;
            memcpy(c->heard, m->txid, sizeof c->heard);
            gsi_candidate_note(p, c);
        }
    } else {
        pong.seen = (struct endpoint){gsi_ip_of_v4((const uint8_t[]){127, 3, 3, 40}), (uint16_t)from->region};
        path->heard_region = from->region;
    }
    gsi_paths_order(p, &pong);
    if (c)
        ping_back(p, path, c);
}

static struct ping *find_ping(const struct paths *p, const uint8_t txid[DISCO_TXID_LEN])
{
    struct item *item = gsi_table_first(&p->txids, gsi_table_hash(&p->txids, txid, DISCO_TXID_LEN));
    for (; item; item = gsi_table_next(item)) {
        struct ping *ping = CONTAINER(item, struct ping, by_txid);
        if (gsi_equal(ping->txid, txid, DISCO_TXID_LEN))
            return ping;
    }
    return NULL;
}

static void answer(struct paths *p, struct path *path, const struct ping *ping, uint64_t latency_ns)
{
    if (!path->asked)
        return;
    path->asked = false;
    path->answered = true;
    gsi_path_info(path, &path->answer);
    path->answer.kind = ping->region ? PATH_RELAY : PATH_DIRECT;
    path->answer.at = ping->to;
    path->answer.latency_ns = latency_ns;
    gsi_path_tell(p, path);
}

static void got_pong(struct paths *p, const struct disco_message *m, const uint8_t disco[KEY_LEN], const struct source *from)
{
    struct ping *ping = find_ping(p, m->txid);
    if (!ping || memcmp(ping->path->disco, disco, KEY_LEN) != 0 || !from->udp != (ping->region != 0)) {
        p->stats.stray++;
        return;
    }
    struct path *path = ping->path;
    uint64_t latency_ns = p->now - ping->sent_ns;
    struct candidate *c = ping->region ? NULL : gsi_candidate_find(path, &ping->to);
    answer(p, path, ping, latency_ns);
    gsi_path_end_ping(p, ping);
    if (!c)
        return; /* by the relay, which makes no path; or given up meanwhile */
    if (gsi_endpoint_equal(&c->at, from->udp))
        gsi_candidate_note(p, c);
    gsi_path_pong(p, path, &c->at, latency_ns);
}

static void got_call(struct paths *p, const struct disco_message *m, const uint8_t disco[KEY_LEN], const struct source *from)
{
    struct path *path = with_keys(p, from->node, disco);
    if (!path) {
        p->stats.stray++;
        return;
    }
    if (!is_allowed(&path->hear_call_ns, p->now, MS(HEAR_CALL_EACH_MS), HEAR_CALL_BURST)) {
        p->stats.limited++;
        return;
    }
    path->heard_region = from->region;
    for (size_t i = 0; i < path->n; i++) {
        path->candidates[i]->called = false;
        path->candidates[i]->pinged_ns = 0;
    }
    for (size_t i = 0; i < m->n; i++) {
        bool usable = gsi_candidate_is_usable(p, &m->endpoints[i], true);
        struct candidate *c = usable ? gsi_candidate_add(p, path, &m->endpoints[i]) : NULL;
        if (c)
            c->called = true;
    }
    gsi_path_ping_candidates(p, path);
}

static void feed(struct paths *p, const void *in, size_t n, const struct source *from, uint64_t now_ns)
{
    gsi_paths_now(p, now_ns);
    if (!gsi_disco_is(in, n)) {
        p->stats.malformed++;
        return;
    }
    uint8_t disco[KEY_LEN];
    memcpy(disco, gsi_disco_sender(in), sizeof disco);
    struct path *sender = first_of_key(p, disco);
    const uint8_t *shared = sender ? gsi_path_shared(p, sender) : NULL;
    if (!shared) {
        p->stats.unknown++;
        return;
    }
    struct disco_message m;
    p->stats.opens++;
    if (gsi_disco_open(in, n, shared, &m) < 0) {
        p->stats.malformed++;
        return;
    }
    if (m.type == DISCO_PING)
        got_ping(p, &m, disco, from);
    else if (m.type == DISCO_PONG)
        got_pong(p, &m, disco, from);
    else if (from->udp)
        p->stats.stray++; /* a CallMeMaybe counts from the relay only */
    else
        got_call(p, &m, disco, from);
}

void gsi_paths_feed(struct paths *p, const void *in, size_t n, const struct endpoint *from, uint64_t now_ns)
{
    feed(p, in, n, &(struct source){.udp = from}, now_ns);
}

void gsi_paths_feed_relay(struct paths *p, const void *in, size_t n, uint32_t region, const uint8_t node[KEY_LEN],
                          uint64_t now_ns)
{
    feed(p, in, n, &(struct source){.region = region, .node = node}, now_ns);
}
