/* timer.c: the 4-ary heap and the table of references (timer.h). */
#include "mailbox/timer.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/seam.h"
#include "mailbox/mailbox.h"

enum { ARITY = 4, FIRST_CAP = 16 };

static bool before(const struct gsi_timer *a, const struct gsi_timer *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void place(struct gsi_timers *t, uint32_t at, struct gsi_timer *timer)
{
    t->heap[at] = timer;
    timer->heap_at = at;
}

static void sift_up(struct gsi_timers *t, uint32_t at, struct gsi_timer *timer)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / ARITY;
        if (!before(timer, t->heap[parent]))
            break;
        place(t, at, t->heap[parent]);
        at = parent;
    }
    place(t, at, timer);
}

static void sift_down(struct gsi_timers *t, uint32_t at, struct gsi_timer *timer)
{
    for (;;) {
        uint32_t first = at * ARITY + 1, least = UINT32_MAX;
        for (uint32_t c = first; c < first + ARITY && c < t->n; c++)
            if (least == UINT32_MAX || before(t->heap[c], t->heap[least]))
                least = c;
        if (least == UINT32_MAX || !before(t->heap[least], timer))
            break;
        place(t, at, t->heap[least]);
        at = least;
    }
    place(t, at, timer);
}

static void heap_remove(struct gsi_timers *t, struct gsi_timer *timer)
{
    uint32_t at = timer->heap_at;
    struct gsi_timer *last = t->heap[--t->n];
    if (last == timer)
        return;
    if (at > 0 && before(last, t->heap[(at - 1) / ARITY]))
        sift_up(t, at, last);
    else
        sift_down(t, at, last);
}

/* References are sequence numbers and ids: a multiplication spreads both. */
static uint32_t home(const struct gsi_timers *t, uint64_t ref)
{
    return (uint32_t)((ref * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (t->table_cap - 1);
}

static void table_put(struct gsi_timers *t, struct gsi_timer *timer)
{
    uint32_t i = home(t, timer->ref);
    while (t->table[i])
        i = (i + 1) & (t->table_cap - 1);
    t->table[i] = timer;
}

static uint32_t table_find(const struct gsi_timers *t, uint64_t ref)
{
    if (!t->table_cap)
        return UINT32_MAX;
    for (uint32_t i = home(t, ref); t->table[i]; i = (i + 1) & (t->table_cap - 1))
        if (t->table[i]->ref == ref)
            return i;
    return UINT32_MAX;
}

/* Closes the gap so that every probe sequence stays unbroken. */
static void table_remove(struct gsi_timers *t, uint32_t hole)
{
    uint32_t mask = t->table_cap - 1;
    for (uint32_t i = (hole + 1) & mask; t->table[i]; i = (i + 1) & mask) {
        uint32_t want = home(t, t->table[i]->ref);
        if (((i - want) & mask) >= ((i - hole) & mask)) {
            t->table[hole] = t->table[i];
            hole = i;
        }
    }
    t->table[hole] = NULL;
}

/* Room for one more: the table stays at most half full. */
static int grow(struct gsi_timers *t)
{
    if (t->n < t->cap)
        return 0;
    uint32_t cap = t->cap ? t->cap * 2 : FIRST_CAP;
    struct gsi_timer **heap = gsi_realloc(t->heap, cap * sizeof *heap);
    if (!heap)
        return -ENOMEM;
    t->heap = heap;
    struct gsi_timer **table = gsi_zalloc(2 * cap * sizeof *table);
    if (!table)
        return -ENOMEM;
    gsi_free(t->table);
    t->table = table;
    t->table_cap = 2 * cap;
    t->cap = cap;
    for (uint32_t i = 0; i < t->n; i++)
        table_put(t, t->heap[i]);
    return 0;
}

int gsi_timers_add(struct gsi_timers *t, uint64_t at, uint64_t ref, struct gsi_note *note)
{
    int e = grow(t);
    if (e < 0)
        return e;
    struct gsi_timer *timer = gsi_alloc(sizeof *timer);
    if (!timer)
        return -ENOMEM;
    *timer = (struct gsi_timer){.at = at, .seq = t->seq++, .ref = ref, .note = note};
    table_put(t, timer);
    sift_up(t, t->n++, timer);
    return 0;
}

static struct gsi_timer *take_at(struct gsi_timers *t, uint32_t table_at)
{
    struct gsi_timer *timer = t->table[table_at];
    table_remove(t, table_at);
    heap_remove(t, timer);
    return timer;
}

struct gsi_timer *gsi_timers_take(struct gsi_timers *t, uint64_t ref)
{
    uint32_t at = table_find(t, ref);
    return at == UINT32_MAX ? NULL : take_at(t, at);
}

uint64_t gsi_timers_next(const struct gsi_timers *t) { return t->n ? t->heap[0]->at : GSI_NEVER; }

struct gsi_timer *gsi_timers_expired(struct gsi_timers *t, uint64_t now)
{
    if (!t->n || t->heap[0]->at > now)
        return NULL;
    return take_at(t, table_find(t, t->heap[0]->ref));
}

void gsi_timers_fini(struct gsi_timers *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        gsi_note_free(t->heap[i]->note);
        gsi_free(t->heap[i]);
    }
    gsi_free(t->heap);
    gsi_free(t->table);
    memset(t, 0, sizeof *t);
}
