/* timers.c: every timer of a peer, and the heap that knows whose is next. tailnet-protocol.md 8.6.
 *
 *   initiate       somebody wants a session: at once, but never two initiations within REKEY_TIMEOUT
 *   retransmit     REKEY_TIMEOUT and some jitter after an initiation without a response: another one; after RETRIES_MAX retries
 *                  the staged packets are dropped and it gives up until somebody sends again; sooner when the node knows that
 *                  it went nowhere (gsi_wireguard_hurry), or while we are new to the peers (gsi_wireguard_newcomer)
 *   new_handshake  KEEPALIVE_TIMEOUT + REKEY_TIMEOUT and some jitter after data was sent and nothing at all came back: a session
 *                  is wanted
 *   keepalive      KEEPALIVE_TIMEOUT after data came and nothing was sent: an empty packet; again when more data came meanwhile
 *   zero           ZERO_KEYS_AFTER after the last keys were derived: all that is left of handshakes is wiped
 *   expiry         REJECT_AFTER_TIME after a pair was derived: it is wiped (its deadline is computed from the pairs)
 *
 * What has no timer is looked at when a packet passes (transport.c): REKEY_AFTER_TIME and REKEY_AFTER_MESSAGES when one is
 * sent, the last minute when one is received.
 *
 * A peer's key in the heap may be earlier than its first timer: most events on the way of packets move timers later or stop them,
 * and cost nothing then; tick finds out.
 */
#include "tailnet/wireguard/peer.h"

/* ---- the heap ---- */

static void put(struct wireguard *w, struct wg_peer *p, size_t at)
{
    w->heap[at] = p;
    p->heap_at = at;
}

static void sift_up(struct wireguard *w, struct wg_peer *p)
{
    size_t at = p->heap_at;
    while (at && w->heap[(at - 1) / 2]->due_ns > p->due_ns) {
        put(w, w->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    put(w, p, at);
}

static void sift_down(struct wireguard *w, struct wg_peer *p)
{
    size_t at = p->heap_at;
    for (size_t child; (child = 2 * at + 1) < w->n; at = child) {
        if (child + 1 < w->n && w->heap[child + 1]->due_ns < w->heap[child]->due_ns)
            child++;
        if (w->heap[child]->due_ns >= p->due_ns)
            break;
        put(w, w->heap[child], at);
    }
    put(w, p, at);
}

void gsi_timers_heap_add(struct wireguard *w, struct wg_peer *p)
{
    put(w, p, w->n - 1);
    sift_up(w, p);
}

void gsi_timers_heap_remove(struct wireguard *w, struct wg_peer *p)
{
    struct wg_peer *last = w->heap[--w->n];
    if (last == p)
        return;
    put(w, last, p->heap_at);
    sift_up(w, last);
    sift_down(w, last);
}

static void due(struct wg_peer *p, uint64_t at_ns)
{
    if (at_ns >= p->due_ns)
        return;
    p->due_ns = at_ns;
    sift_up(p->w, p);
}

static void set(struct wg_peer *p, uint64_t *timer, uint64_t at_ns)
{
    *timer = at_ns;
    due(p, at_ns);
}

static uint64_t jitter(void)
{
    uint32_t r;
    gsi_random(&r, sizeof r);
    return r % JITTER_MAX;
}

/* ---- what happened ---- */

void gsi_timers_init(struct wg_peer *p)
{
    p->timers = (struct timers){
        .initiate_ns = NEVER, .retransmit_ns = NEVER, .new_handshake_ns = NEVER, .keepalive_ns = NEVER, .zero_ns = NEVER};
    p->due_ns = NEVER;
}

void gsi_timers_want_session(struct wg_peer *p, uint64_t now_ns)
{
    struct timers *t = &p->timers;
    t->retries = 0;
    if (t->retransmit_ns != NEVER || t->initiate_ns != NEVER)
        return; /* one is under way */
    uint64_t earliest = t->initiated_ns ? t->initiated_ns + REKEY_TIMEOUT : 0;
    set(p, &t->initiate_ns, earliest > now_ns ? earliest : now_ns);
}

void gsi_wireguard_newcomer(struct wireguard *w, uint64_t until_ns) { w->newcomer_until_ns = until_ns; }

/* How long a response is waited for; retries are at most RETRIES_MAX + 1. */
static uint64_t patience(const struct wg_peer *p, uint64_t now_ns)
{
    uint64_t soon = NEWCOMER_TIMEOUT << p->timers.retries;
    return now_ns < p->w->newcomer_until_ns && soon < REKEY_TIMEOUT ? soon : REKEY_TIMEOUT + jitter();
}

void gsi_timers_initiation_sent(struct wg_peer *p, uint64_t now_ns)
{
    p->timers.initiate_ns = NEVER;
    p->timers.initiated_ns = now_ns ? now_ns : 1;
    set(p, &p->timers.retransmit_ns, now_ns + patience(p, now_ns));
    gsi_timers_authentic_sent(p);
}

void gsi_wireguard_hurry(struct wg_peer *p, uint64_t after_ns, uint64_t now_ns)
{
    struct timers *t = &p->timers;
    uint64_t at = t->initiated_ns + after_ns > now_ns ? t->initiated_ns + after_ns : now_ns;
    if (t->retransmit_ns != NEVER && at < t->retransmit_ns)
        set(p, &t->retransmit_ns, at);
}

void gsi_timers_handshake_done(struct wg_peer *p)
{
    p->timers.initiate_ns = NEVER;
    p->timers.retransmit_ns = NEVER;
    p->timers.retries = 0;
}

void gsi_timers_session_derived(struct wg_peer *p, uint64_t now_ns)
{
    set(p, &p->timers.zero_ns, now_ns + ZERO_KEYS_AFTER);
    due(p, now_ns + REJECT_AFTER_TIME);
}

void gsi_timers_data_sent(struct wg_peer *p, uint64_t now_ns)
{
    if (p->timers.new_handshake_ns == NEVER)
        set(p, &p->timers.new_handshake_ns, now_ns + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter());
}

void gsi_timers_data_received(struct wg_peer *p, uint64_t now_ns)
{
    if (p->timers.keepalive_ns == NEVER)
        set(p, &p->timers.keepalive_ns, now_ns + KEEPALIVE_TIMEOUT);
    else
        p->timers.another_keepalive = true;
}

void gsi_timers_authentic_sent(struct wg_peer *p) { p->timers.keepalive_ns = NEVER; }

void gsi_timers_authentic_received(struct wg_peer *p) { p->timers.new_handshake_ns = NEVER; }

/* ---- what is due ---- */

static void give_up(struct wg_peer *p, uint64_t now_ns)
{
    gsi_session_forget(p);
    gsi_queue_clear(p->w, &p->staged);
    p->timers.keepalive_ns = NEVER;
    if (p->timers.zero_ns == NEVER)
        p->timers.zero_ns = now_ns + ZERO_KEYS_AFTER;
    gsi_peer_event(p, WG_GAVE_UP);
}

static bool fires(uint64_t *timer, uint64_t now_ns)
{
    if (*timer > now_ns)
        return false;
    *timer = NEVER;
    return true;
}

static void initiate(struct wg_peer *p, uint64_t now_ns)
{
    (void)gsi_handshake_initiate(p, now_ns); /* without memory it is a lost packet: the timer runs all the same */
    gsi_timers_initiation_sent(p, now_ns);
}

static void keepalive(struct wg_peer *p, uint64_t now_ns)
{
    bool another = p->timers.another_keepalive;
    p->timers.another_keepalive = false;
    gsi_transport_flush(p, true, now_ns);
    if (another && gsi_session_alive(p->current, now_ns))
        p->timers.keepalive_ns = now_ns + KEEPALIVE_TIMEOUT;
}

static uint64_t expire(struct wg_peer *p, uint64_t now_ns)
{
    bool had = p->current;
    uint64_t soonest = gsi_session_expire(p, now_ns);
    if (had && !p->current)
        gsi_peer_event(p, WG_EXPIRED);
    return soonest;
}

static uint64_t first_of(const struct timers *t, uint64_t soonest)
{
    const uint64_t all[] = {t->initiate_ns, t->retransmit_ns, t->new_handshake_ns, t->keepalive_ns, t->zero_ns};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] < soonest)
            soonest = all[i];
    return soonest;
}

static void run(struct wg_peer *p, uint64_t now_ns)
{
    struct timers *t = &p->timers;
    uint64_t expiry = expire(p, now_ns);
    if (fires(&t->retransmit_ns, now_ns)) {
        if (++t->retries > RETRIES_MAX + 1)
            give_up(p, now_ns);
        else
            initiate(p, now_ns);
    }
    if (fires(&t->new_handshake_ns, now_ns))
        gsi_timers_want_session(p, now_ns);
    if (fires(&t->initiate_ns, now_ns))
        initiate(p, now_ns);
    if (fires(&t->keepalive_ns, now_ns))
        keepalive(p, now_ns);
    if (fires(&t->zero_ns, now_ns)) {
        gsi_session_wipe_all(p);
        gsi_wipe(p->jar.cookie, sizeof p->jar.cookie);
        p->jar.has_cookie = false;
        expiry = NEVER;
    }
    p->due_ns = first_of(t, expiry);
    sift_up(p->w, p);
    sift_down(p->w, p);
}

uint64_t gsi_wireguard_deadline(const struct wireguard *w) { return w->n ? w->heap[0]->due_ns : NEVER; }

void gsi_wireguard_tick(struct wireguard *w, uint64_t now_ns, uint64_t wall_ns)
{
    if (wall_ns > w->wall_ns)
        w->wall_ns = wall_ns;
    while (w->n && w->heap[0]->due_ns <= now_ns)
        run(w->heap[0], now_ns);
}
