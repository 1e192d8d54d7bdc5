/* handle.h: objects named by ids. An id is passed by value, checked by generation, and never becomes another object.
 *
 * id   = generation (high 32) | kind (4) | index (28)
 * word = generation (high 32) | state FREE, LIVE or DYING | lock 0 free, 1 held, 2 held and somebody sleeps
 *
 * One compare-and-swap of an object's word is the look-up, the liveness check and the lock at once. Objects live in pages
 * that never move and are never freed, so a stale id reads a word and nothing else. Holding the lock is the reference.
 * The life: gsi_object_new (locked) … gsi_kill (locked: the id is dead for everybody from here) … gsi_retire.
 *
 * Lock order: one stream or socket at a time -> a mailbox -> leaf mutexes. The only nest is a listener around an object
 * that nobody else knows yet.
 */
#ifndef GSI_HANDLE_H
#define GSI_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

enum gsi_kind { GSI_MAILBOX = 1, GSI_SOCKET, GSI_STREAM, GSI_KINDS };

struct gsi_waiter;

/* The head of every object. word and pins: any thread. The rest: under the word's lock. */
struct gsi_object {
    _Atomic uint64_t word;
    _Atomic uint32_t pins; /* threads that left the lock but still use the object; close waits for 0 */
    uint32_t index;
    struct gsi_waiter *waiters; /* blocked calls: wait.h */
};

enum { GSI_LOCK_MASK = 3, GSI_LIVE = 4, GSI_DYING = 8, GSI_KIND_SHIFT = 28 };
#define GSI_INDEX_MASK ((UINT32_C(1) << GSI_KIND_SHIFT) - 1)

/* Tells the size of a kind's objects, before the first one is made; calls after the first change nothing. */
void gsi_kind_init(enum gsi_kind kind, size_t size);

/* A new object, locked and LIVE; *id names it. Behind its head it is as its last user left it, zeroed at first. NULL: no
 * memory, or 2^28 of the kind. */
void *gsi_object_new(enum gsi_kind kind, uint64_t *id);

/* Locks the object that id names. 0 and *out; GS_ECLOSED: no longer current; GS_EBADARG: never issued, or another kind. */
GS_MUST_USE int gsi_lock(enum gsi_kind kind, uint64_t id, void *out);

/* gsi_lock for who knows the place already and whose id is of this kind and index: true when it holds the lock. One attempt. */
static inline bool gsi_try_lock_at(struct gsi_object *o, uint64_t id)
{
    uint64_t expect = (id & ~UINT64_C(0xffffffff)) | GSI_LIVE;
    return atomic_compare_exchange_strong_explicit(&o->word, &expect, expect | 1, memory_order_acquire, memory_order_relaxed);
}

/* Without the lock: whether id named a live object a moment ago. */
static inline bool gsi_lives_at(const struct gsi_object *o, uint64_t id)
{
    uint64_t word = atomic_load_explicit(&o->word, memory_order_relaxed);
    return (word & ~(uint64_t)GSI_LOCK_MASK) == ((id & ~UINT64_C(0xffffffff)) | GSI_LIVE);
}

/* The place that id names, unlocked and whatever lives there now. 0, or GS_EBADARG: never issued, or another kind. */
GS_MUST_USE int gsi_peek(enum gsi_kind kind, uint64_t id, void *out);

/* Locks by pointer, whatever the state; for whoever has a pin. */
void gsi_relock(struct gsi_object *o);

void gsi_unlock_slow(struct gsi_object *o);

static inline void gsi_unlock(struct gsi_object *o)
{
    uint64_t was = atomic_fetch_sub_explicit(&o->word, 1, memory_order_release);
    if ((was & GSI_LOCK_MASK) != 1)
        gsi_unlock_slow(o);
}

/* Locked. From here the id answers GS_ECLOSED; who holds a pin sees gsi_dying. */
void gsi_kill(struct gsi_object *o);

static inline bool gsi_dying(const struct gsi_object *o)
{
    return atomic_load_explicit(&o->word, memory_order_relaxed) & GSI_DYING;
}

/* Locked and killed, all pins gone: the generation ends, the slot is free for a new object. Unlocks. */
void gsi_retire(enum gsi_kind kind, struct gsi_object *o);

/* Locked. The id of a live or dying object. */
static inline uint64_t gsi_id(enum gsi_kind kind, const struct gsi_object *o)
{
    uint64_t generation = atomic_load_explicit(&o->word, memory_order_relaxed) & ~UINT64_C(0xffffffff);
    return generation | (uint64_t)kind << GSI_KIND_SHIFT | o->index;
}

/* The object at an index that was issued once; never freed. */
void *gsi_object_at(enum gsi_kind kind, uint32_t index);

/* The kernel's wait and wake on 32 bits; a wait may end for no reason, and does after timeout_ms (< 0: not by time). */
void gsi_futex_wait(void *at, uint32_t seen, int timeout_ms);
void gsi_futex_wake(void *at, int n);

/* A full barrier in every running thread of the process (membarrier(2)), for rare callers that wait for a flag which hot paths
 * set without one. */
void gsi_barrier_all(void);

/* How many objects of a kind are live; and the walk over them: the next live id at or behind *index, or 0. */
size_t gsi_live_count(enum gsi_kind kind);
uint64_t gsi_live_next(enum gsi_kind kind, uint32_t *index);

/* Locked, all three; gsi_drain waits unlocked until no pins are left. */
static inline void gsi_pin(struct gsi_object *o) { atomic_fetch_add_explicit(&o->pins, 1, memory_order_relaxed); }
void gsi_unpin(struct gsi_object *o);
void gsi_drain(struct gsi_object *o);

#endif
