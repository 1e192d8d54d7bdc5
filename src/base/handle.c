/* handle.c: the id tables and the word lock (handle.h). */
#include "base/handle.h"

#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/seam.h"

enum { PAGE0_SHIFT = 8, PAGES = GSI_KIND_SHIFT - PAGE0_SHIFT, SPINS = 64 };

/* Page k holds 256 << k objects, so an index finds its page by one bit scan and small programs stay small. */
struct table {
    char *_Atomic pages[PAGES];
    _Atomic uint32_t n; /* indexes ever issued */
    _Atomic size_t size;
    pthread_mutex_t mutex;   /* guards growth and the free list */
    uint32_t head, tail;     /* free slots, first in first out so that generations age evenly; index + 1, 0 none */
    _Atomic size_t live;
};

static struct table tables[GSI_KINDS] = {
    [GSI_MAILBOX] = {.mutex = PTHREAD_MUTEX_INITIALIZER},
    [GSI_SOCKET] = {.mutex = PTHREAD_MUTEX_INITIALIZER},
    [GSI_STREAM] = {.mutex = PTHREAD_MUTEX_INITIALIZER},
};

/* A free slot's next one (index + 1) is kept where a live object has its waiters: under the table's mutex. */
static uint32_t *free_link(struct gsi_object *o) { return (uint32_t *)(void *)&o->waiters; }

void gsi_futex_wait(void *at, uint32_t seen, int timeout_ms)
{
    struct timespec limit = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, seen, timeout_ms < 0 ? NULL : &limit, NULL, 0);
}
void gsi_futex_wake(void *at, int n)
{
    syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static void register_barrier(void) { syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0); }

void gsi_barrier_all(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_barrier);
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0 || syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
        return;
    uint32_t nobody = 0; /* forbidden here: every store has long left its processor after this */
    gsi_futex_wait(&nobody, 0, 10);
}

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline uint32_t page_of(uint32_t index) { return 31u - (uint32_t)__builtin_clz((index >> PAGE0_SHIFT) + 1); }

static inline struct gsi_object *slot(struct table *t, uint32_t index)
{
    uint32_t page = page_of(index);
    uint32_t first = ((UINT32_C(1) << page) - 1) << PAGE0_SHIFT;
    char *base = atomic_load_explicit(&t->pages[page], memory_order_acquire);
    return (struct gsi_object *)(void *)(base + (size_t)(index - first) * atomic_load_explicit(&t->size, memory_order_relaxed));
}

void *gsi_object_at(enum gsi_kind kind, uint32_t index) { return slot(&tables[kind], index); }

void gsi_kind_init(enum gsi_kind kind, size_t size)
{
    size_t unset = 0;
    atomic_compare_exchange_strong(&tables[kind].size, &unset, (size + 15) & ~(size_t)15);
}

/* Table mutex held. The index of a free slot, or UINT32_MAX. */
static uint32_t take_index(struct table *t)
{
    if (t->head && t->head != t->tail) { /* the last one stays, so that a slot rests before it comes back */
        uint32_t index = t->head - 1;
        t->head = *free_link(slot(t, index));
        return index;
    }
    uint32_t index = atomic_load_explicit(&t->n, memory_order_relaxed);
    if (index > GSI_INDEX_MASK - (UINT32_C(1) << PAGE0_SHIFT))
        return UINT32_MAX;
    uint32_t page = page_of(index);
    if (!atomic_load_explicit(&t->pages[page], memory_order_relaxed)) {
        char *fresh = gsi_alloc((atomic_load(&t->size) << PAGE0_SHIFT) << page);
        if (!fresh)
            return UINT32_MAX;
        atomic_store_explicit(&t->pages[page], fresh, memory_order_release);
    }
    struct gsi_object *o = slot(t, index); /* a page is only touched as far as it is used */
    memset(o, 0, atomic_load(&t->size));
    o->index = index;
    atomic_store_explicit(&t->n, index + 1, memory_order_release);
    return index;
}

void *gsi_object_new(enum gsi_kind kind, uint64_t *id)
{
    struct table *t = &tables[kind];
    pthread_mutex_lock(&t->mutex);
    uint32_t index = take_index(t);
    pthread_mutex_unlock(&t->mutex);
    if (index == UINT32_MAX)
        return NULL;
    struct gsi_object *o = slot(t, index);
    o->waiters = NULL;
    uint64_t word = atomic_load_explicit(&o->word, memory_order_relaxed);
    atomic_store_explicit(&o->word, word | GSI_LIVE | 1, memory_order_release);
    atomic_fetch_add_explicit(&t->live, 1, memory_order_relaxed);
    *id = gsi_id(kind, o);
    return o;
}

/* Why an id does not name a live object, from a look at its slot's word. */
static int refuse(uint64_t id, uint64_t word)
{
    int32_t age = (int32_t)((uint32_t)(word >> 32) - (uint32_t)(id >> 32));
    if (age > 0 || (age == 0 && (word & GSI_DYING)))
        return GS_ECLOSED;
    return GS_EBADARG;
}

/* How many threads sleep for a word of this stripe. A sleeper counts itself before the kernel compares the word, who changes
 * the word looks here afterwards: so a word without sleepers needs no system call to end. */
enum { STRIPES = 64 };
static _Atomic uint32_t sleepers[STRIPES];

static inline _Atomic uint32_t *sleepers_of(const struct gsi_object *o) { return &sleepers[o->index % STRIPES]; }

/* After a change of the word by a sequentially consistent operation. */
static void wake_sleepers(struct gsi_object *o)
{
    if (atomic_load(sleepers_of(o)))
        gsi_futex_wake(&o->word, INT_MAX);
}

/* Takes the lock while the word is `expect` but for its lock bits; else answers false. */
static bool lock_slow(struct gsi_object *o, uint64_t expect, uint64_t *seen)
{
    for (int spins = 0;;) {
        /* Who learns of the end must see what its closer did: it was the last to hold the lock. */
        uint64_t word = atomic_load_explicit(&o->word, memory_order_acquire);
        if ((word & ~(uint64_t)GSI_LOCK_MASK) != expect) {
            *seen = word;
            return false;
        }
        if (!(word & GSI_LOCK_MASK)) {
            /* After a sleep others may sleep as well: keep the contended mark. */
            uint64_t held = expect | (spins < SPINS ? 1 : 2);
            if (atomic_compare_exchange_weak_explicit(&o->word, &word, held, memory_order_acquire, memory_order_relaxed))
                return true;
            continue;
        }
        if (spins < SPINS) {
            spins++;
            pause_cpu();
            continue;
        }
        if ((word & GSI_LOCK_MASK) == 1 &&
            !atomic_compare_exchange_weak_explicit(&o->word, &word, expect | 2, memory_order_relaxed, memory_order_relaxed))
            continue;
        atomic_fetch_add(sleepers_of(o), 1);
        gsi_futex_wait(&o->word, (uint32_t)(expect | 2), -1);
        atomic_fetch_sub(sleepers_of(o), 1);
    }
}

static inline struct gsi_object *place(enum gsi_kind kind, uint64_t id)
{
    struct table *t = &tables[kind];
    uint32_t low = (uint32_t)id, index = low & GSI_INDEX_MASK;
    if (low >> GSI_KIND_SHIFT != (uint32_t)kind || index >= atomic_load_explicit(&t->n, memory_order_acquire))
        return NULL;
    return slot(t, index);
}

int gsi_peek(enum gsi_kind kind, uint64_t id, void *out)
{
    struct gsi_object *o = place(kind, id);
    if (!o)
        return GS_EBADARG;
    *(void **)out = o;
    return 0;
}

int gsi_lock(enum gsi_kind kind, uint64_t id, void *out)
{
    struct gsi_object *o = place(kind, id);
    if (!o)
        return GS_EBADARG;
    uint64_t expect = (id & ~UINT64_C(0xffffffff)) | GSI_LIVE, word = expect;
    if (!atomic_compare_exchange_strong_explicit(&o->word, &word, expect | 1, memory_order_acquire, memory_order_relaxed) &&
        !lock_slow(o, expect, &word))
        return refuse(id, word);
    *(void **)out = o;
    return 0;
}

void gsi_relock(struct gsi_object *o)
{
    uint64_t word = atomic_load_explicit(&o->word, memory_order_relaxed);
    while (!lock_slow(o, word & ~(uint64_t)GSI_LOCK_MASK, &word))
        ;
}

void gsi_unlock_slow(struct gsi_object *o)
{
    atomic_fetch_and_explicit(&o->word, ~(uint64_t)GSI_LOCK_MASK, memory_order_release);
    gsi_futex_wake(&o->word, 1);
}

void gsi_kill(struct gsi_object *o)
{
    atomic_fetch_xor(&o->word, GSI_LIVE | GSI_DYING);
    wake_sleepers(o); /* who sleeps for the live word must look again */
}

void gsi_retire(enum gsi_kind kind, struct gsi_object *o)
{
    struct table *t = &tables[kind];
    uint64_t generation = (atomic_load_explicit(&o->word, memory_order_relaxed) >> 32) + 1;
    pthread_mutex_lock(&t->mutex);
    atomic_store(&o->word, (uint64_t)(uint32_t)generation << 32);
    *free_link(o) = 0;
    if (t->head)
        *free_link(slot(t, t->tail - 1)) = o->index + 1;
    else
        t->head = o->index + 1;
    t->tail = o->index + 1;
    pthread_mutex_unlock(&t->mutex);
    atomic_fetch_sub_explicit(&t->live, 1, memory_order_relaxed);
    wake_sleepers(o);
}

size_t gsi_live_count(enum gsi_kind kind) { return atomic_load_explicit(&tables[kind].live, memory_order_relaxed); }

uint64_t gsi_live_next(enum gsi_kind kind, uint32_t *index)
{
    struct table *t = &tables[kind];
    uint32_t n = atomic_load_explicit(&t->n, memory_order_acquire);
    while (*index < n) {
        uint32_t i = (*index)++;
        uint64_t word = atomic_load_explicit(&slot(t, i)->word, memory_order_relaxed);
        if (word & GSI_LIVE)
            return (word & ~UINT64_C(0xffffffff)) | (uint64_t)kind << GSI_KIND_SHIFT | i;
    }
    return 0;
}

void gsi_unpin(struct gsi_object *o)
{
    if (atomic_fetch_sub_explicit(&o->pins, 1, memory_order_acq_rel) == 1 && gsi_dying(o))
        gsi_futex_wake(&o->pins, INT_MAX);
}

void gsi_drain(struct gsi_object *o)
{
    uint32_t pins = atomic_load_explicit(&o->pins, memory_order_acquire);
    if (!pins)
        return;
    gsi_unlock(o);
    while ((pins = atomic_load_explicit(&o->pins, memory_order_acquire)))
        gsi_futex_wait(&o->pins, pins, -1);
    gsi_relock(o);
}
