/* receive.c: gs_receive: the turn, the wait, and in which order sources and notes get their say.
 *
 * Order: the rest of the batch begun last time; the descriptors of the last wait; expired timers; ready sources and notes
 * alternately, at most PATIENCE of them before the poller is asked again; then a wait. So neither a busy poster nor a busy
 * stream keeps another from being served.
 *
 * A selective receive goes the same way, but takes only what matches: other notes stay in the inbox, other streams are muted
 * (silenced and put on the ready list) so that the wait does not spin on them.
 */
#include "mailbox/receive.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/seam.h"
#include "base/wait.h"

enum { PATIENCE = 64, LATE_ROUNDS = 16 };
enum { IDLE = 0, BUSY = 1, ENDED = 2 };

GSI_TLS struct gsi_mailbox *gsi_turn;

struct wanted {
    uint64_t stream, ref; /* both 0: everything */
};

static const struct gsi_source_ops *ops_of(uint64_t id) { return gsi_sources[(uint32_t)id >> GSI_KIND_SHIFT]; }
static bool is_socket(uint64_t id) { return (uint32_t)id >> GSI_KIND_SHIFT == GSI_SOCKET; }
static bool selective(const struct wanted *w) { return w->stream | w->ref; }

/* ---- the right to receive ---- */

static uint64_t generation(const struct gsi_mailbox *mb) { return mb->id & ~UINT64_C(0xffffffff); }

void gsi_receive_allow(struct gsi_mailbox *mb)
{
    atomic_store_explicit(&mb->receiving, generation(mb) | IDLE, memory_order_release);
}

void gsi_receive_end(struct gsi_mailbox *mb)
{
    for (;;) {
        uint64_t idle = generation(mb) | IDLE;
        if (atomic_compare_exchange_strong(&mb->receiving, &idle, generation(mb) | ENDED))
            return;
        gsi_futex_wait(&mb->receiving, BUSY, 1); /* the low half; leave() may miss that somebody waits, hence the limit */
    }
}

/* One compare-and-swap: look-up, liveness check and exclusion, as with a handle's word. */
static inline bool try_enter(struct gsi_mailbox *mb, gs_mailbox h)
{
    uint64_t expect = h.id & ~UINT64_C(0xffffffff);
    return atomic_compare_exchange_strong_explicit(&mb->receiving, &expect, expect | BUSY, memory_order_acquire, memory_order_relaxed);
}

/* The mailbox that this thread received from last, if that is where h was issued: most often it is. */
static inline struct gsi_mailbox *last_one(gs_mailbox h)
{
    struct gsi_mailbox *mb = gsi_turn;
    return mb && (uint32_t)h.id == ((uint32_t)GSI_MAILBOX << GSI_KIND_SHIFT | mb->object.index) ? mb : NULL;
}

static int enter(gs_mailbox h, struct gsi_mailbox **out)
{
    struct gsi_mailbox *mb = last_one(h);
    int e = mb ? 0 : gsi_peek(GSI_MAILBOX, h.id, &mb);
    if (e < 0)
        return e;
    *out = mb;
    if (try_enter(mb, h))
        return 0;
    e = gsi_mailbox_lock(h, &mb);
    if (e < 0)
        return e;
    gsi_unlock(&mb->object);
    return -EALREADY;
}

static void leave(struct gsi_mailbox *mb)
{
    atomic_store_explicit(&mb->receiving, generation(mb) | IDLE, memory_order_release);
    if (gsi_dying(&mb->object))
        gsi_futex_wake(&mb->receiving, 1);
}

void gsi_receive_fini(struct gsi_mailbox *mb)
{
    gsi_note_free(mb->delivered);
    gsi_free(mb->hot.message);
    gsi_free(mb->hot.p);
    gsi_free(mb->hot.output);
    gsi_free(mb->hot.cork.p);
    while (mb->hot.spares)
        gsi_free(mb->hot.spare[--mb->hot.spares]);
}

/* ---- waking ---- */

void gsi_mailbox_signal(struct gsi_mailbox *mb)
{
    atomic_store_explicit(&mb->posted, 1, memory_order_relaxed);
    mb->signals++;
    if (mb->signaled || !(mb->sleeping || mb->foreign))
        return;
    mb->signaled = true;
    gsi_signal(mb->event_fd);
}

void gsi_mailbox_arm_timer(struct gsi_mailbox *mb)
{
    uint64_t at = gsi_timers_next(&mb->timers);
    if (at == mb->timer_armed)
        return;
    mb->timer_armed = at;
    struct itimerspec spec = {0};
    if (at != GSI_NEVER) {
        spec.it_value.tv_sec = (time_t)(at / (1000 * GSI_MS));
        spec.it_value.tv_nsec = (long)(at % (1000 * GSI_MS));
        if (!at)
            spec.it_value.tv_nsec = 1; /* zero would disarm */
    }
    gsi_sys.timerfd_settime(mb->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void drain_eventfd(struct gsi_mailbox *mb)
{
    uint64_t count;
    while (gsi_sys.read(mb->event_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    gsi_relock(&mb->object);
    mb->signaled = false;
    gsi_unlock(&mb->object);
}

/* The timer descriptor went off: expire() runs, and the next arming ends the readiness. */
static void forget_alarm(struct gsi_mailbox *mb)
{
    gsi_relock(&mb->object);
    mb->timer_armed = 0;
    gsi_unlock(&mb->object);
}

/* For a foreign loop: the descriptor stays readable while anything is left to do. */
static void show_what_is_left(struct gsi_mailbox *mb)
{
    gsi_relock(&mb->object);
    if (gsi_current(mb) || mb->inbox || mb->head[GSI_READY])
        gsi_mailbox_signal(mb);
    gsi_mailbox_arm_timer(mb);
    gsi_unlock(&mb->object);
}

/* ---- notes and timers ---- */

static void show_note(struct gsi_mailbox *mb, struct gsi_note *n, gs_msg *m)
{
    m->kind = n->kind;
    m->error = n->error;
    m->stream.id = n->stream;
    m->socket.id = n->socket;
    m->fresh.id = n->fresh;
    m->ref = n->ref;
    m->user = n->user;
    m->post.tag = n->tag;
    m->post.body = (gs_bytes){n->p, n->n};
    mb->delivered = n;
}

static bool matches(const struct gsi_note *n, const struct wanted *w)
{
    return !selective(w) || (w->ref && n->ref == w->ref) || (w->stream && n->stream == w->stream);
}

/* Mailbox locked. */
static struct gsi_note *take_note(struct gsi_mailbox *mb, const struct wanted *w)
{
    for (struct gsi_note **at = &mb->inbox; *at; at = &(*at)->next) {
        struct gsi_note *n = *at;
        if (!matches(n, w))
            continue;
        *at = n->next;
        if (mb->inbox_end == &n->next)
            mb->inbox_end = at;
        if (n->kind == GS_MSG_POST)
            mb->posts--;
        return n;
    }
    return NULL;
}

static bool serve(struct gsi_mailbox *mb, uint64_t id, uint32_t events, const struct wanted *w, gs_msg *m)
{
    if (selective(w) && id != w->stream && !is_socket(id)) {
        ops_of(id)->mute(mb, id, events);
        return false;
    }
    return ops_of(id)->serve(mb, id, events, m);
}

/* Moves what has expired to where it is taken from: notes to the inbox, sources to a serve. */
static bool expire(struct gsi_mailbox *mb, const struct wanted *w, gs_msg *m)
{
    uint64_t at = atomic_load_explicit(&mb->next_timer, memory_order_relaxed);
    if (at == GSI_NEVER)
        return false;
    uint64_t now = gsi_now();
    while (at <= now) {
        gsi_relock(&mb->object);
        struct gsi_timer *t = gsi_timers_expired(&mb->timers, now);
        at = gsi_timers_next(&mb->timers);
        atomic_store_explicit(&mb->next_timer, at, memory_order_relaxed);
        if (t && t->note) {
            *mb->inbox_end = t->note;
            mb->inbox_end = &t->note->next;
            atomic_store_explicit(&mb->posted, 1, memory_order_relaxed);
        }
        gsi_unlock(&mb->object);
        if (!t)
            break;
        uint64_t source = t->note ? 0 : t->ref;
        gsi_free(t);
        if (source && serve(mb, source, GSI_EV_TIMER, w, m))
            return true;
    }
    return false;
}

/* ---- sources ---- */

static bool serve_events(struct gsi_mailbox *mb, const struct wanted *w, gs_msg *m)
{
    while (mb->event_at < mb->events) {
        struct gsi_event e = mb->event[mb->event_at++];
        if (e.id == 0)
            drain_eventfd(mb);
        else if (e.id == GSI_TIMER_FD_ID)
            forget_alarm(mb);
        else if (serve(mb, e.id, e.events, w, m))
            return true;
    }
    return false;
}

/* The ready ones that nobody asked for stay where they are, but what they end in notes may be wanted. */
static void complete_ready(struct gsi_mailbox *mb, const struct wanted *w)
{
    uint64_t ids[PATIENCE];
    gsi_relock(&mb->object);
    size_t n = gsi_list_ids(mb, GSI_READY, ids, PATIENCE);
    mb->signals_seen = mb->signals;
    gsi_unlock(&mb->object);
    for (size_t i = 0; i < n; i++)
        if (ids[i] != w->stream && !is_socket(ids[i]))
            ops_of(ids[i])->mute(mb, ids[i], 0);
}

/* Ready sources and notes take turns at being first. */
static bool serve_posted(struct gsi_mailbox *mb, const struct wanted *w, gs_msg *m)
{
    while (atomic_load_explicit(&mb->posted, memory_order_relaxed) && mb->unpolled < PATIENCE) {
        mb->unpolled++;
        mb->note_first = !mb->note_first;
        gsi_relock(&mb->object);
        struct gsi_note *n = mb->note_first ? take_note(mb, w) : NULL;
        uint64_t id = n || (selective(w) && !w->stream) ? 0 : gsi_mailbox_take_ready(mb, w->stream);
        if (!n && !id)
            n = take_note(mb, w);
        if (!mb->inbox && !mb->head[GSI_READY])
            atomic_store_explicit(&mb->posted, 0, memory_order_relaxed);
        gsi_unlock(&mb->object);
        if (n) {
            show_note(mb, n, m);
            return true;
        }
        if (!id)
            return false;
        if (ops_of(id)->serve(mb, id, 0, m))
            return true;
    }
    return false;
}

/* Mailbox locked. */
static bool pending(const struct gsi_mailbox *mb, const struct wanted *w)
{
    if (!selective(w))
        return mb->inbox || mb->head[GSI_READY];
    for (const struct gsi_note *n = mb->inbox; n; n = n->next)
        if (matches(n, w))
            return true;
    return w->stream && gsi_mailbox_is_ready(mb, w->stream);
}

/* Asks the poller, sleeping only when nothing is pending. 1: look again; 0: the time is over; < 0: an error. */
static int wait(struct gsi_mailbox *mb, const struct wanted *w, uint64_t deadline_ns, uint32_t rounds, uint32_t released)
{
    int timeout_ms = 0;
    gsi_relock(&mb->object);
    bool idle = !pending(mb, w), over = false;
    if (idle) {
        uint64_t timer = atomic_load_explicit(&mb->next_timer, memory_order_relaxed);
        bool again = selective(w) && mb->signals != mb->signals_seen; /* one that is muted became ready once more */
        again |= w->stream && atomic_load_explicit(&mb->released, memory_order_relaxed) != released; /* perhaps the wanted one */
        timeout_ms = again ? 0 : gsi_remaining_ms(timer < deadline_ns ? timer : deadline_ns);
        over = rounds && timeout_ms == 0 && gsi_remaining_ms(deadline_ns) == 0;
        mb->sleeping = timeout_ms != 0;
    } else if (rounds >= LATE_ROUNDS) /* what is ready has nothing to tell, and stays ready */
        over = gsi_remaining_ms(deadline_ns) == 0;
    gsi_unlock(&mb->object);
    if (over)
        return 0;

    mb->unpolled = 0;
    mb->event_at = 0;
    int n = gsi_poller_wait(&mb->poller, mb->event, timeout_ms);
    mb->events = n > 0 ? (uint32_t)n : 0;
    if (timeout_ms) {
        gsi_relock(&mb->object);
        mb->sleeping = false;
        gsi_unlock(&mb->object);
    }
    return n < 0 ? n : 1;
}

/* Whether a selective receive from a stream still makes sense. */
static int check_stream(struct gsi_mailbox *mb, const struct wanted *w)
{
    if (!w->stream)
        return 0;
    struct gsi_source *s;
    int e = gsi_lock(GSI_STREAM, w->stream, &s);
    if (e < 0)
        return e;
    e = s->owner == mb ? 0 : GS_ENOTOWNER;
    gsi_unlock(&s->object);
    return e;
}

/* What is left to say about a stream that is gone. */
static bool last_note(struct gsi_mailbox *mb, const struct wanted *w, gs_msg *m)
{
    gsi_relock(&mb->object);
    struct gsi_note *n = take_note(mb, w);
    gsi_unlock(&mb->object);
    if (n)
        show_note(mb, n, m);
    return n;
}

static int receive_slow(struct gsi_mailbox *mb, const struct wanted *w, gs_msg *m, int timeout_ms)
{
    uint64_t deadline_ns = 0;
    for (uint32_t rounds = 0;; rounds += rounds < LATE_ROUNDS) {
        uint32_t released = atomic_load_explicit(&mb->released, memory_order_relaxed);
        int e = check_stream(mb, w); /* what leaves from here on is counted */
        if (e < 0)
            return last_note(mb, w, m) ? 0 : e;
        if (serve_events(mb, w, m) || expire(mb, w, m))
            return 0;
        if (selective(w))
            complete_ready(mb, w);
        if (serve_posted(mb, w, m))
            return 0;
        if (gsi_dying(&mb->object))
            return GS_ECLOSED;
        if (!rounds)
            deadline_ns = gsi_deadline(timeout_ms == GS_NOWAIT ? 0 : timeout_ms);
        e = wait(mb, w, deadline_ns, rounds, released);
        if (e <= 0)
            return e ? e : GS_ETIMEOUT;
    }
}

/* The last message's views end here. */
static void drop_last(struct gsi_mailbox *mb)
{
    if (mb->delivered) {
        gsi_note_free(mb->delivered);
        mb->delivered = NULL;
    }
    if (mb->hot.message && !(gsi_current(mb) && mb->hot.in_use)) {
        gsi_free(mb->hot.message);
        mb->hot.message = NULL;
    }
}

/* A frame that was decoded ahead. */
static void show_claim(struct gsi_hot *hot, uint64_t id, gs_msg *m)
{
    uint32_t at = gsi_hot_claim_at(hot);
    m->kind = GS_MSG_DATA;
    m->error = 0;
    m->stream.id = id;
    m->socket.id = m->fresh.id = m->ref = 0;
    m->user = hot->claim_user;
    m->packet.kind = GS_PK_BYTES;
    m->packet.header = (gs_bytes){0};
    m->packet.data = (gs_bytes){hot->claim[at].p, hot->claim[at].n};
    atomic_store_explicit(&hot->claim_at, at + 1, memory_order_relaxed);
    atomic_store_explicit(&hot->once, 0, memory_order_relaxed);
}

/* The rest of the batch begun last time, if it is what is wanted. */
static bool go_on(struct gsi_mailbox *mb, const struct wanted *w, gs_msg *m)
{
    uint64_t id = gsi_current(mb);
    if (!selective(w) || id == w->stream) {
        if (gsi_hot_has_claim(&mb->hot)) {
            show_claim(&mb->hot, id, m);
            return true;
        }
        if (ops_of(id)->next(mb, id, m))
            return true;
    } else
        ops_of(id)->park(mb, id);
    gsi_clear_current(mb);
    gsi_hot_end_batch(&mb->hot);
    return false;
}

static inline void count_receive(struct gsi_mailbox *mb)
{
    uint32_t epoch = atomic_load_explicit(&mb->epoch, memory_order_relaxed);
    atomic_store_explicit(&mb->epoch, epoch + 1, memory_order_relaxed);
}

/* Entered: the turn begins. */
static __attribute__((noinline)) int receive_entered(struct gsi_mailbox *mb, const struct wanted *w, gs_msg *m, int timeout_ms)
{
    int e = GS_ECLOSED;
    gsi_turn = mb;
    if (!gsi_in_turn(mb))
        atomic_store_explicit(&mb->turn, (uintptr_t)&gsi_turn, memory_order_relaxed);
    if (!gsi_dying(&mb->object)) { /* else gs_mailbox_free waits for this very moment */
        count_receive(mb);
        drop_last(mb);
        e = gsi_current(mb) && go_on(mb, w, m) ? 0 : receive_slow(mb, w, m, timeout_ms);
        if (atomic_load_explicit(&mb->timer_fd, memory_order_relaxed) >= 0)
            show_what_is_left(mb);
    }
    leave(mb);
    return e;
}

static __attribute__((noinline)) int receive(gs_mailbox h, const struct wanted *w, gs_msg *m, int timeout_ms)
{
    struct gsi_mailbox *mb;
    if (!m || !gsi_timeout_ok(timeout_ms))
        return GS_EBADARG;
    int e = enter(h, &mb);
    return e < 0 ? e : receive_entered(mb, w, m, timeout_ms);
}

/* In the turn: a frame that was decoded ahead is the next message; its predecessor left nothing to drop. */
static inline bool is_claimed(const struct gsi_mailbox *mb)
{
    return gsi_hot_has_claim(&mb->hot) && gsi_in_turn(mb) && !gsi_dying(&mb->object) &&
           atomic_load_explicit(&mb->timer_fd, memory_order_relaxed) < 0;
}

int gs_receive(gs_mailbox h, gs_msg *m, int timeout_ms)
{
    static const struct wanted everything;
    struct gsi_mailbox *mb = last_one(h);
    if (!mb || !m || !gsi_timeout_ok(timeout_ms) || !try_enter(mb, h))
        return receive(h, &everything, m, timeout_ms);
    if (!is_claimed(mb))
        return receive_entered(mb, &everything, m, timeout_ms);
    count_receive(mb);
    show_claim(&mb->hot, gsi_current(mb), m);
    leave(mb);
    return 0;
}

int gs_receive_from(gs_mailbox h, gs_stream s, gs_msg *m, int timeout_ms)
{
    return s.id ? receive(h, &(struct wanted){.stream = s.id}, m, timeout_ms) : GS_EBADARG;
}

int gs_receive_ref(gs_mailbox h, uint64_t ref, gs_msg *m, int timeout_ms)
{
    return ref ? receive(h, &(struct wanted){.ref = ref}, m, timeout_ms) : GS_EBADARG;
}
