/* peer.c: the peers that there is state for, by key; how they come and go; what the caller is told of them. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "tailnet/wireguard/mix.h"
#include "tailnet/wireguard/peer.h"

enum { FIRST = 16, PEERS_DEFAULT = 100000 };

/* ---- the table ---- */

static size_t home(const struct wireguard *w, const uint8_t key[KEY_LEN]) { return mix64(w->seed, key, KEY_LEN) & (w->cap - 1); }

/* Where it is, or the free slot where it would be. */
static size_t place(const struct wireguard *w, const uint8_t key[KEY_LEN])
{
    size_t i = home(w, key);
    while (w->peer[i] && memcmp(w->peer[i]->noise.public, key, KEY_LEN) != 0)
        i = (i + 1) & (w->cap - 1);
    return i;
}

struct wg_peer *gsi_peer_find(const struct wireguard *w, const uint8_t key[KEY_LEN])
{
    return w->cap ? w->peer[place(w, key)] : NULL;
}

static int grow(struct wireguard *w)
{
    struct wireguard bigger = {.cap = w->cap ? 2 * w->cap : FIRST, .seed = w->seed};
    bigger.peer = OPENSSL_zalloc(bigger.cap * sizeof *bigger.peer);
    bigger.heap = OPENSSL_zalloc(bigger.cap / 2 * sizeof *bigger.heap);
    if (!bigger.peer || !bigger.heap) {
        OPENSSL_free(bigger.peer);
        OPENSSL_free(bigger.heap);
        return -ENOMEM;
    }
    for (size_t i = 0; i < w->n; i++) {
        bigger.heap[i] = w->heap[i];
        bigger.peer[place(&bigger, w->heap[i]->noise.public)] = w->heap[i];
    }
    OPENSSL_free(w->peer);
    OPENSSL_free(w->heap);
    w->peer = bigger.peer;
    w->heap = bigger.heap;
    w->cap = bigger.cap;
    return 0;
}

/* Those behind the gap move up, unless that would bring them in front of their own place. */
static void take_out(struct wireguard *w, size_t gap)
{
    size_t mask = w->cap - 1;
    for (size_t i = (gap + 1) & mask; w->peer[i]; i = (i + 1) & mask) {
        if (((i - home(w, w->peer[i]->noise.public)) & mask) >= ((i - gap) & mask)) {
            w->peer[gap] = w->peer[i];
            gap = i;
        }
    }
    w->peer[gap] = NULL;
}

/* ---- making and removing ---- */

int gsi_peer_make(struct wireguard *w, const struct noise_peer *noise, void *who, struct wg_peer **peer)
{
    if (w->n >= w->peers_max)
        return -ENOBUFS;
    if (w->n >= w->cap / 2) {
        int e = grow(w);
        if (e)
            return e;
    }
    struct wg_peer *p = OPENSSL_zalloc(sizeof *p);
    if (!p)
        return -ENOMEM;
    int e = gsi_cookie_jar(&p->jar, noise->public);
    if (e) {
        OPENSSL_free(p);
        return e;
    }
    p->w = w;
    p->who = who;
    p->noise = *noise;
    gsi_queue_init(&p->staged);
    gsi_timers_init(p);
    w->peer[place(w, noise->public)] = p;
    w->n++;
    gsi_timers_heap_add(w, p);
    *peer = p;
    return 0;
}

int gsi_wireguard_peer(struct wireguard *w, const uint8_t key[KEY_LEN], struct wg_peer **peer)
{
    *peer = NULL;
    if (memcmp(key, w->self.public, KEY_LEN) == 0)
        return GS_EINVALID;
    void *who = w->find(w->arg, key);
    if (!who)
        return -ENOENT;
    struct wg_peer *p = gsi_peer_find(w, key);
    if (p) {
        p->who = who;
        *peer = p;
        return 0;
    }
    struct noise_peer noise;
    int e = gsi_noise_peer(&noise, &w->self, key);
    if (e == 0)
        e = gsi_peer_make(w, &noise, who, peer);
    gsi_wipe(&noise, sizeof noise);
    return e;
}

static void forget_events(struct wireguard *w, struct wg_peer *p)
{
    struct wg_peer *before = NULL;
    for (struct wg_peer *at = w->events_first; at; before = at, at = at->events_next) {
        if (at != p)
            continue;
        if (before)
            before->events_next = p->events_next;
        else
            w->events_first = p->events_next;
        if (w->events_last == p)
            w->events_last = before;
        return;
    }
}

static void peer_free(struct wireguard *w, struct wg_peer *p)
{
    gsi_session_wipe_all(p);
    gsi_queue_clear(w, &p->staged);
    OPENSSL_clear_free(p, sizeof *p);
}

void gsi_wireguard_remove(struct wireguard *w, const uint8_t key[KEY_LEN])
{
    struct wg_peer *p = gsi_peer_find(w, key);
    if (!p)
        return;
    take_out(w, place(w, key));
    gsi_timers_heap_remove(w, p);
    forget_events(w, p);
    gsi_output_forget(w, p);
    peer_free(w, p);
}

/* ---- events ---- */

/* What is no longer so is not told: a session makes the ends before it void, and the other way round. */
void gsi_peer_event(struct wg_peer *p, enum wg_event_type type)
{
    struct wireguard *w = p->w;
    bool listed = p->events;
    p->events = type == WG_SESSION ? WG_SESSION : (p->events & ~(unsigned)WG_SESSION) | type;
    if (listed)
        return;
    p->events_next = NULL;
    if (w->events_first)
        w->events_last->events_next = p;
    else
        w->events_first = p;
    w->events_last = p;
}

bool gsi_wireguard_next(struct wireguard *w, struct wg_event *event)
{
    struct wg_peer *p = w->events_first;
    if (!p)
        return false;
    unsigned type = p->events & -p->events;
    *event = (struct wg_event){(enum wg_event_type)type, p};
    p->events &= ~type;
    if (!p->events)
        w->events_first = p->events_next;
    return true;
}

/* ---- what is known of one ---- */

const uint8_t *gsi_wireguard_key(const struct wg_peer *p) { return p->noise.public; }
void *gsi_wireguard_who(const struct wg_peer *p) { return p->who; }

struct wg_status gsi_wireguard_status(const struct wg_peer *p)
{
    return (struct wg_status){
        .session_ns = p->current ? p->current->born_ns : 0,
        .sent = p->sent,
        .received = p->received,
        .staged = (uint32_t)p->staged.n,
        .initiating = p->timers.retransmit_ns != NEVER || p->timers.initiate_ns != NEVER,
    };
}

/* ---- the engine ---- */

struct wireguard *gsi_wireguard_new(const struct wg_config *config, int *error)
{
    int unused, *e = error ? error : &unused;
    *e = -EINVAL;
    if (!config->find || !config->routes || gsi_is_zero(config->private_key, KEY_LEN))
        return NULL;
    struct wireguard *w = OPENSSL_zalloc(sizeof *w);
    *e = -ENOMEM;
    if (!w)
        return NULL;
    w->find = config->find;
    w->arg = config->arg;
    w->routes = config->routes;
    w->mtu = config->mtu ? config->mtu : 1280;
    w->peers_max = config->peers_max ? config->peers_max : PEERS_DEFAULT;
    gsi_queue_init(&w->output);
    gsi_random(&w->seed, sizeof w->seed);
    *e = gsi_noise_self(&w->self, config->private_key);
    if (*e == 0)
        *e = gsi_cookie_gate(&w->gate, w->self.public);
    if (*e == 0)
        return w;
    gsi_wireguard_free(w);
    return NULL;
}

void gsi_wireguard_free(struct wireguard *w)
{
    if (!w)
        return;
    while (w->n)
        peer_free(w, w->heap[--w->n]);
    gsi_queue_clear(w, &w->output);
    gsi_datagram_free(w, w->lent);
    gsi_indexes_fini(&w->indexes);
    OPENSSL_free(w->peer);
    OPENSSL_free(w->heap);
    OPENSSL_clear_free(w, sizeof *w);
}

const uint8_t *gsi_wireguard_public(const struct wireguard *w) { return w->self.public; }
uint64_t gsi_wireguard_drops(const struct wireguard *w, enum wg_drop why) { return why < WG_DROPS ? w->drops[why] : 0; }
