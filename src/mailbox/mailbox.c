/* mailbox.c: a mailbox's life, its lists of sources, and who owns what. */
#include "mailbox/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/seam.h"
#include "base/wait.h"
#include "mailbox/receive.h"

enum { POST_LIMIT = 65536 };

const struct gsi_source_ops *gsi_sources[GSI_KINDS];

void gsi_source_register(enum gsi_kind kind, const struct gsi_source_ops *ops) { gsi_sources[kind] = ops; }

/* ---- life ---- */

static void init(struct gsi_mailbox *mb, uint64_t id)
{
    char *rest = (char *)&mb->id; /* object, receiving, turn and current outlive a mailbox: stale ids read them */
    memset(rest, 0, sizeof *mb - (size_t)(rest - (char *)mb));
    mb->id = id;
    gsi_clear_current(mb);
    atomic_store_explicit(&mb->turn, 0, memory_order_relaxed);
    mb->timer_fd = mb->event_fd = mb->poller.fd = -1;
    mb->inbox_end = &mb->inbox;
    mb->post_limit = POST_LIMIT;
    atomic_init(&mb->next_timer, GSI_NEVER);
}

static int open_fds(struct gsi_mailbox *mb)
{
    int e = gsi_poller_open(&mb->poller);
    if (e < 0)
        return e;
    mb->event_fd = gsi_sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mb->event_fd < 0)
        return gsi_errno();
    return gsi_poller_set(&mb->poller, mb->event_fd, 0, EPOLLIN, false);
}

static void fini(struct gsi_mailbox *mb)
{
    if (mb->event_fd >= 0)
        gsi_sys.close(mb->event_fd);
    if (mb->timer_fd >= 0)
        gsi_sys.close(mb->timer_fd);
    if (mb->poller.fd >= 0)
        gsi_poller_close(&mb->poller);
    gsi_receive_fini(mb);
    gsi_timers_fini(&mb->timers);
    for (struct gsi_note *n = mb->inbox, *next; n; n = next) {
        next = n->next;
        gsi_note_free(n);
    }
}

int gs_mailbox_new(gs_mailbox *out)
{
    if (!out)
        return GS_EBADARG;
    gsi_kind_init(GSI_MAILBOX, sizeof(struct gsi_mailbox));
    uint64_t id;
    struct gsi_mailbox *mb = gsi_object_new(GSI_MAILBOX, &id);
    if (!mb)
        return -ENOMEM;
    init(mb, id);
    mb->hot.p = gsi_alloc(GSI_HOT);
    int e = mb->hot.p ? open_fds(mb) : -ENOMEM;
    if (e < 0) {
        gsi_kill(&mb->object);
        fini(mb);
        gsi_retire(GSI_MAILBOX, &mb->object);
        return e;
    }
    gsi_receive_allow(mb);
    gsi_unlock(&mb->object);
    out->id = id;
    return 0;
}

/* Every source that may have a nowait call which names this mailbox forgets it. */
static void forget_everywhere(uint64_t id)
{
    for (int kind = GSI_SOCKET; kind < GSI_KINDS; kind++) {
        if (!gsi_sources[kind] || !gsi_sources[kind]->forget)
            continue;
        uint32_t at = 0;
        for (uint64_t source; (source = gsi_live_next((enum gsi_kind)kind, &at));)
            gsi_sources[kind]->forget(source, id);
    }
}

/* A source may be on its way to another owner, or being closed by another thread: then the list changes by itself. */
static void orphan_all(struct gsi_mailbox *mb)
{
    for (;;) {
        uint64_t id;
        gsi_relock(&mb->object);
        size_t n = gsi_list_ids(mb, GSI_OWNED, &id, 1);
        gsi_unlock(&mb->object);
        if (!n)
            return;
        gsi_sources[(uint32_t)id >> GSI_KIND_SHIFT]->orphan(id, mb);
        sched_yield();
    }
}

/* The thread whose turn it is may be answering right now, in memory that is about to go. */
static void await_cork(struct gsi_mailbox *mb)
{
    struct gsi_cork *cork = &mb->hot.cork;
    if (gsi_in_turn(mb) || !atomic_load_explicit(&mb->turn, memory_order_relaxed))
        return;
    atomic_store_explicit(&cork->open, 0, memory_order_relaxed);
    gsi_barrier_all();
    while (atomic_load_explicit(&cork->busy, memory_order_acquire))
        sched_yield();
}

int gs_mailbox_free(gs_mailbox h)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock(h, &mb);
    if (e < 0)
        return e;
    gsi_kill(&mb->object);
    gsi_signal(mb->event_fd);
    gsi_unlock(&mb->object);
    gsi_receive_end(mb);
    orphan_all(mb);
    if (mb->watches)
        forget_everywhere(mb->id);
    await_cork(mb);
    gsi_relock(&mb->object);
    if (gsi_in_turn(mb)) /* this thread looks here no more: it is soon another's */
        atomic_store_explicit(&mb->turn, 0, memory_order_relaxed);
    fini(mb);
    gsi_retire(GSI_MAILBOX, &mb->object);
    return 0;
}

int gs_mailbox_fd(gs_mailbox h)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock(h, &mb);
    if (e < 0)
        return e;
    if (mb->timer_fd < 0) {
        int fd = gsi_sys.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        e = fd < 0 ? gsi_errno() : gsi_poller_set(&mb->poller, fd, GSI_TIMER_FD_ID, EPOLLIN, false);
        if (e < 0 && fd >= 0)
            gsi_sys.close(fd);
        if (e == 0)
            mb->timer_fd = fd;
    }
    if (e == 0) {
        bool first = !mb->foreign;
        mb->foreign = true;
        gsi_mailbox_arm_timer(mb);
        if (first) /* what waits already must show; a loop that asks again each time is not woken by asking */
            gsi_mailbox_signal(mb);
        e = mb->poller.fd;
    }
    gsi_unlock(&mb->object);
    return e;
}

int gs_mailbox_set_limit(gs_mailbox h, size_t limit)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock(h, &mb);
    if (e < 0)
        return e;
    mb->post_limit = limit;
    gsi_unlock(&mb->object);
    return 0;
}

uint64_t gs_make_ref(void)
{
    static _Atomic uint64_t last;
    uint64_t n = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    return n >> GSI_KIND_SHIFT << 32 | (uint64_t)GSI_REF_KIND << GSI_KIND_SHIFT | (n & GSI_INDEX_MASK);
}

/* ---- timers and lists; mailbox locked ---- */

static void note_next_timer(struct gsi_mailbox *mb)
{
    atomic_store_explicit(&mb->next_timer, gsi_timers_next(&mb->timers), memory_order_relaxed);
}

int gsi_mailbox_add_timer(struct gsi_mailbox *mb, uint64_t at, uint64_t ref, struct gsi_note *n)
{
    int e = gsi_timers_add(&mb->timers, at, ref, n);
    note_next_timer(mb);
    return e;
}

struct gsi_timer *gsi_mailbox_take_timer(struct gsi_mailbox *mb, uint64_t ref)
{
    struct gsi_timer *t = gsi_timers_take(&mb->timers, ref);
    note_next_timer(mb);
    return t;
}

static gsi_ref ref_of(uint64_t id) { return (gsi_ref)id; }

static struct gsi_source *source_at(gsi_ref ref)
{
    return gsi_object_at((enum gsi_kind)(ref >> GSI_KIND_SHIFT), ref & GSI_INDEX_MASK);
}

static void append(struct gsi_mailbox *mb, struct gsi_source *s, gsi_ref ref, enum gsi_list list)
{
    if (s->in & 1 << list)
        return;
    s->in = (uint8_t)(s->in | 1 << list);
    s->link[list] = (struct gsi_link){.prev = mb->tail[list]};
    if (mb->tail[list])
        source_at(mb->tail[list])->link[list].next = ref;
    else
        mb->head[list] = ref;
    mb->tail[list] = ref;
}

static void take_off(struct gsi_mailbox *mb, struct gsi_source *s, enum gsi_list list)
{
    if (!(s->in & 1 << list))
        return;
    s->in = (uint8_t)(s->in & ~(1 << list));
    struct gsi_link l = s->link[list];
    if (l.prev)
        source_at(l.prev)->link[list].next = l.next;
    else
        mb->head[list] = l.next;
    if (l.next)
        source_at(l.next)->link[list].prev = l.prev;
    else
        mb->tail[list] = l.prev;
}

/* A listed source cannot be retired before it is taken off, so the word's generation is its id's. */
static uint64_t id_of(gsi_ref ref) { return gsi_id((enum gsi_kind)(ref >> GSI_KIND_SHIFT), &source_at(ref)->object); }

size_t gsi_list_ids(struct gsi_mailbox *mb, enum gsi_list list, uint64_t *out, size_t cap)
{
    size_t n = 0;
    for (gsi_ref r = mb->head[list]; r && n < cap; r = source_at(r)->link[list].next)
        out[n++] = id_of(r);
    return n;
}

/* A stale id has another generation than its place. */
bool gsi_mailbox_is_ready(const struct gsi_mailbox *mb, uint64_t id)
{
    const struct gsi_source *s = source_at(ref_of(id));
    return mb->head[GSI_READY] && (s->in & 1 << GSI_READY) && id_of(ref_of(id)) == id;
}

uint64_t gsi_mailbox_take_ready(struct gsi_mailbox *mb, uint64_t only)
{
    if (only ? !gsi_mailbox_is_ready(mb, only) : !mb->head[GSI_READY])
        return 0;
    uint64_t id = only ? only : id_of(mb->head[GSI_READY]);
    take_off(mb, source_at(ref_of(id)), GSI_READY);
    return id;
}

/* ---- sources; source locked ---- */

int gsi_source_adopt(struct gsi_source *s, uint64_t id, gs_mailbox to)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock(to, &mb);
    if (e < 0)
        return e;
    s->owner = mb;
    append(mb, s, ref_of(id), GSI_OWNED);
    gsi_unlock(&mb->object);
    return 0;
}

void gsi_source_release(struct gsi_source *s, uint64_t id)
{
    struct gsi_mailbox *mb = s->owner;
    gsi_relock(&mb->object);
    for (int list = 0; list < GSI_LISTS; list++)
        take_off(mb, s, (enum gsi_list)list);
    struct gsi_timer *timer = gsi_mailbox_take_timer(mb, id);
    atomic_fetch_add_explicit(&mb->released, 1, memory_order_relaxed); /* it may be about to wait for this very source */
    if (mb->sleeping)
        gsi_mailbox_signal(mb); /* or wait for it already */
    gsi_unlock(&mb->object);
    gsi_free(timer);
    s->owner = NULL;
}

void gsi_source_list(struct gsi_source *s, uint64_t id, enum gsi_list list)
{
    struct gsi_mailbox *mb = s->owner;
    gsi_relock(&mb->object);
    append(mb, s, ref_of(id), list);
    if (list == GSI_READY)
        gsi_mailbox_signal(mb);
    gsi_unlock(&mb->object);
}

void gsi_mailbox_ready(struct gsi_mailbox *owner, struct gsi_source *s, uint64_t id)
{
    gsi_relock(&owner->object);
    append(owner, s, ref_of(id), GSI_READY);
    gsi_mailbox_signal(owner);
    gsi_unlock(&owner->object);
}

void gsi_source_unlist(struct gsi_source *s, uint64_t id, enum gsi_list list)
{
    (void)id;
    struct gsi_mailbox *mb = s->owner;
    gsi_relock(&mb->object);
    take_off(mb, s, list);
    gsi_unlock(&mb->object);
}

int gsi_source_wake_at(struct gsi_source *s, uint64_t id, uint64_t deadline_ns)
{
    struct gsi_mailbox *mb = s->owner;
    gsi_relock(&mb->object);
    struct gsi_timer *old = gsi_mailbox_take_timer(mb, id);
    int e = gsi_mailbox_add_timer(mb, deadline_ns, id, NULL);
    if (mb->sleeping || mb->foreign)
        gsi_mailbox_signal(mb);
    gsi_unlock(&mb->object);
    gsi_free(old);
    return e;
}

void gsi_source_wake_never(struct gsi_source *s, uint64_t id)
{
    struct gsi_mailbox *mb = s->owner;
    gsi_relock(&mb->object);
    struct gsi_timer *old = gsi_mailbox_take_timer(mb, id);
    gsi_unlock(&mb->object);
    gsi_free(old);
}

int gsi_mailbox_watch(uint64_t mailbox, int fd, uint64_t source, uint32_t events, bool had)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock((gs_mailbox){mailbox}, &mb);
    if (e < 0)
        return e;
    mb->watches = true;
    e = gsi_poller_set(&mb->poller, fd, source, events, had);
    gsi_unlock(&mb->object);
    return e;
}
