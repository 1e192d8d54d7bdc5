/* mailbox.h: the event engine as its sources see it.
 *
 * A source is a stream or a socket: something with a descriptor, or readiness of its own, that a mailbox owns or watches.
 * The mailbox knows it only by gsi_source_ops: serve it when it is ready, ask it for the next message of the batch it began,
 * close it when its owner ends. A source never holds decoded messages: what it has to tell, it tells when it is served.
 * Messages that are complete when they are made (posts, selects, aborts, downs) are notes, allocated beforehand by whoever
 * may have to send them.
 *
 * Locking: struct gsi_mailbox is an object (base/handle.h); its lock is taken after a source's, never before.
 */
#ifndef GSI_MAILBOX_H
#define GSI_MAILBOX_H

#include "base/handle.h"
#include "gensock/mailbox.h"
#include "mailbox/poller.h"
#include "mailbox/timer.h"

struct gsi_mailbox;

/* Events of serve: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP of the descriptor, none when the source stood on the ready list. */
enum { GSI_EV_TIMER = 1 << 20 }; /* the source's own timer (gsi_source_wake_at) */

struct gsi_source_ops {
    /* In the mailbox's turn, no lock held. Looks the id up itself. True: *m is one message. */
    bool (*serve)(struct gsi_mailbox *mb, uint64_t id, uint32_t events, gs_msg *m);
    /* The same, for the source that is mb->current (it set that itself): the next message of its batch, or false: the batch
     * is over and what referred to the mailbox's buffer is gone. */
    bool (*next)(struct gsi_mailbox *mb, uint64_t id, gs_msg *m);
    /* The batch of mb->current is interrupted: puts the rest away, on the ready list. */
    void (*park)(struct gsi_mailbox *mb, uint64_t id);
    /* Ready, but a selective receive wants others: silences the descriptor and goes on the ready list (events 0: it is there).
     * Completes nowait calls (they end in notes, which a selective receive can choose from). */
    void (*mute)(struct gsi_mailbox *mb, uint64_t id, uint32_t events);
    /* The owner ends. No lock held. The id may be stale or have another owner by now: check. */
    void (*orphan)(uint64_t id, struct gsi_mailbox *owner);
    /* A mailbox that this source may have pending nowait calls for ends. No lock held. May be NULL. */
    void (*forget)(uint64_t id, uint64_t mailbox);
};

/* Once per kind, before its first source. */
void gsi_source_register(enum gsi_kind kind, const struct gsi_source_ops *ops);

/* Names a source in another's list: the low word of its id; 0 is none. */
typedef uint32_t gsi_ref;

struct gsi_link {
    gsi_ref prev, next;
};

/* A mailbox's lists of sources. */
enum gsi_list { GSI_OWNED, GSI_READY, GSI_OUTPUT, GSI_LISTS };

/* The head of every source. object: see handle.h. owner: under the source's lock. link and in: under the owner's lock. */
struct gsi_source {
    struct gsi_object object;
    struct gsi_mailbox *owner;
    struct gsi_link link[GSI_LISTS];
    uint8_t in; /* bit per list */
};

/* A message that waits in a mailbox. */
struct gsi_note {
    struct gsi_note *next;
    gs_msg_kind kind;
    int error;
    uint64_t stream, socket, fresh, ref;
    void *user;
    uint32_t tag;
    const void *p;
    size_t n;
    void (*free_fn)(void *);
    void *owned; /* what free_fn gets */
};

enum { GSI_CORK = 64 * 1024 };

/* Short answers to the frames of a batch, for the source being delivered, headers included. The turn appends without any lock
 * and publishes by `end`; whoever holds the source's lock may send what is published. `open` is cleared under that lock when
 * an answer has to take the long way; then the turn asks again. */
struct gsi_cork {
    uint8_t *p; /* GSI_CORK bytes, or NULL before the first */
    _Atomic int open;
    _Atomic int busy; /* the turn is looking at `open`, or appending: gs_mailbox_free waits for it */
    _Atomic uint32_t end;
    uint32_t sent;                  /* under the source's lock */
    uint32_t header;                /* turn: bytes of length in front of each: 0, 1, 2 or 4 */
    uint32_t count, bytes, longest; /* turn: for the statistics */
};

enum { GSI_HOT = 128 * 1024, GSI_CLAIMS = 32, GSI_SPARES = 4 };

/* The read buffer of a turn, lent to the source that is served, and the frames of it that were decoded ahead. Turn only. */
struct gsi_hot {
    uint8_t *p;          /* GSI_HOT bytes */
    uint8_t *message;    /* another buffer that the last message's views point into, or NULL: freed at the next receive */
    uint8_t *spare[GSI_SPARES];
    int spares;
    struct gsi_cork cork;
    void *output; /* an empty output buffer for the next stream that corks, or NULL: theirs, freed with the mailbox */
    struct {
        const uint8_t *p;
        uint32_t n;
        uint32_t head; /* bytes of framing before p */
    } claim[GSI_CLAIMS];
    _Atomic uint32_t claim_at, claims; /* the next one, how many; read as `current` is */
    const uint8_t *claim_bytes_end; /* behind the last claimed frame */
    void *claim_user;
    _Atomic uint64_t once; /* the source whose {active, once} ends with the claimed frame, until that is taken: then, or else, 0 */
    bool more;           /* a whole frame follows those claimed */
    bool in_use;         /* `message` holds input that the current source has not delivered yet */
    uint32_t served;     /* messages of the current batch */
};

struct gsi_mailbox {
    struct gsi_object object;
    _Atomic uint64_t receiving; /* generation (high 32) | IDLE, BUSY or ENDED: this and turn outlive the mailbox */
    _Atomic uintptr_t turn;     /* token of the thread whose turn it is; 0: nobody has received yet */
    /* The source whose batch is being delivered, or 0: the turn's own, but whoever had the turn last may look while the next one
     * begins: gsi_current. These outlive the mailbox as well. */
    _Atomic uint64_t current;
    _Atomic(struct gsi_source *) current_source;
    uint64_t id;
    struct gsi_poller poller;
    int event_fd; /* cross-thread wake */
    _Atomic int timer_fd; /* -1 until gs_mailbox_fd was asked for */

    /* The turn's own: only the receiving thread. */
    uint32_t event_at, events;
    struct gsi_event event[GSI_EVENTS];
    struct gsi_hot hot;
    struct gsi_note *delivered; /* whose bytes the last message shows */
    bool note_first;
    uint32_t signals_seen;      /* `signals` when a selective receive last completed the ready ones */
    uint32_t unpolled;          /* messages since the poller was last asked */

    /* Any thread. */
    _Atomic uint32_t epoch;     /* counts gs_receive calls; the flusher reads it */
    _Atomic int posted;         /* a hint: ready list or inbox is not empty */
    _Atomic uint32_t released;  /* counts sources that left; written under the lock */
    _Atomic uint64_t next_timer; /* deadline of the earliest; written under the lock */
    _Atomic int watched;        /* the flusher looks at it */
    _Atomic uint64_t corked;    /* stream corked within the running batch, or 0 */

    /* Under the object's lock. */
    bool sleeping, signaled, foreign, watches;
    uint32_t signals;               /* counts what was put in or became ready */
    uint64_t timer_armed; /* what timer_fd is set to */
    gsi_ref head[GSI_LISTS], tail[GSI_LISTS];
    struct gsi_note *inbox, **inbox_end;
    size_t posts, post_limit;
    struct gsi_timers timers;
    uint32_t flush_epoch;           /* flusher only */
};

/* The mailbox that the calling thread received from last (its turn may be over), and by its address the thread's token. */
#define GSI_TLS _Thread_local __attribute__((tls_model("initial-exec")))
extern GSI_TLS struct gsi_mailbox *gsi_turn;

/* mb alive (a source of it is locked, or the caller is in its turn). */
static inline bool gsi_in_turn(const struct gsi_mailbox *mb)
{
    return atomic_load_explicit(&mb->turn, memory_order_relaxed) == (uintptr_t)&gsi_turn;
}

/* Relaxed: who has the turn reads what it wrote; who had it before gets an id that is not its own stream's. */
static inline uint64_t gsi_current(const struct gsi_mailbox *mb) { return atomic_load_explicit(&mb->current, memory_order_relaxed); }
static inline struct gsi_source *gsi_current_source(const struct gsi_mailbox *mb)
{
    return atomic_load_explicit(&mb->current_source, memory_order_relaxed);
}
static inline void gsi_set_current(struct gsi_mailbox *mb, uint64_t id, struct gsi_source *s)
{
    atomic_store_explicit(&mb->current_source, s, memory_order_relaxed);
    atomic_store_explicit(&mb->current, id, memory_order_relaxed);
}
/* The source stays: who has just read the id looks at it, and finds that it is another's. */
static inline void gsi_clear_current(struct gsi_mailbox *mb) { atomic_store_explicit(&mb->current, 0, memory_order_relaxed); }

static inline uint32_t gsi_hot_claim_at(const struct gsi_hot *hot)
{
    return atomic_load_explicit(&hot->claim_at, memory_order_relaxed);
}
static inline uint32_t gsi_hot_claims(const struct gsi_hot *hot)
{
    return atomic_load_explicit(&hot->claims, memory_order_relaxed);
}
static inline bool gsi_hot_has_claim(const struct gsi_hot *hot) { return gsi_hot_claim_at(hot) < gsi_hot_claims(hot); }
static inline void gsi_hot_claim(struct gsi_hot *hot, uint32_t n)
{
    atomic_store_explicit(&hot->claim_at, 0, memory_order_relaxed);
    atomic_store_explicit(&hot->claims, n, memory_order_relaxed);
}

/* Turn: what was claimed is the source's again, or lost with it. */
static inline void gsi_hot_unclaim(struct gsi_hot *hot)
{
    gsi_hot_claim(hot, 0);
    atomic_store_explicit(&hot->once, 0, memory_order_relaxed);
}

/* Turn: the batch is over; what was corked has been taken, or its source is gone. */
static inline void gsi_hot_end_batch(struct gsi_hot *hot)
{
    hot->in_use = hot->more = false;
    if (atomic_load_explicit(&hot->cork.end, memory_order_relaxed)) {
        atomic_store_explicit(&hot->cork.open, 0, memory_order_relaxed);
        atomic_store_explicit(&hot->cork.end, 0, memory_order_relaxed);
        hot->cork.sent = hot->cork.count = hot->cork.bytes = hot->cork.longest = 0;
    }
}

/* The mailbox whose turn the calling thread has, or NULL. */
static inline struct gsi_mailbox *gsi_my_turn(void)
{
    struct gsi_mailbox *mb = gsi_turn;
    return mb && gsi_in_turn(mb) ? mb : NULL;
}

/* Locks a live mailbox by its handle. */
static inline int gsi_mailbox_lock(gs_mailbox mb, struct gsi_mailbox **out)
{
    return gsi_lock(GSI_MAILBOX, mb.id, out);
}

/* Source locked, without owner. Puts it under `to`. 0, or what looking `to` up answered. */
GS_MUST_USE int gsi_source_adopt(struct gsi_source *s, uint64_t id, gs_mailbox to);
/* Source locked. Takes it off its owner and all of that one's lists. */
void gsi_source_release(struct gsi_source *s, uint64_t id);

/* Source locked, with an owner. Puts the source at the end of a list, or takes it off; either may be repeated. READY makes
 * the owner serve it and wakes the owner if it sleeps. */
void gsi_source_list(struct gsi_source *s, uint64_t id, enum gsi_list list);
void gsi_source_unlist(struct gsi_source *s, uint64_t id, enum gsi_list list);
static inline void gsi_source_ready(struct gsi_source *s, uint64_t id) { gsi_source_list(s, id, GSI_READY); }

/* The same as gsi_source_ready for who cannot lock the source, but keeps its owner from changing. */
void gsi_mailbox_ready(struct gsi_mailbox *owner, struct gsi_source *s, uint64_t id);

/* Mailbox locked. Up to `cap` ids of a list, from its front. */
size_t gsi_list_ids(struct gsi_mailbox *mb, enum gsi_list list, uint64_t *out, size_t cap);

/* Source locked, with an owner: serve(…, GSI_EV_TIMER, …) at deadline_ns, instead of what was asked before. -ENOMEM. */
GS_MUST_USE int gsi_source_wake_at(struct gsi_source *s, uint64_t id, uint64_t deadline_ns);
void gsi_source_wake_never(struct gsi_source *s, uint64_t id);

/* A note of a kind, zeroed but for that; NULL: no memory. */
struct gsi_note *gsi_note_new(gs_msg_kind kind);
void gsi_note_free(struct gsi_note *n);
/* Appends a note to a mailbox; takes it, also when the mailbox is gone. Any lock but a mailbox's may be held. 0, GS_ECLOSED,
 * GS_EBADARG. */
int gsi_note_send(uint64_t mailbox, struct gsi_note *n);
/* Takes undelivered notes of this kind with this reference out of a mailbox again; how many there were. */
int gsi_note_recall(uint64_t mailbox, gs_msg_kind kind, uint64_t ref);

/* Watches fd for a source that this mailbox need not own (nowait calls that name a mailbox): events 0 removes it, `had` is
 * whether it is in the set. Source locked. 0; GS_ECLOSED, GS_EBADARG: no such mailbox; -ENOMEM, -ENOSPC. */
int gsi_mailbox_watch(uint64_t mailbox, int fd, uint64_t source, uint32_t events, bool had);

#endif
