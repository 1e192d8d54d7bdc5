/* timer.h: a mailbox's timers: a 4-ary heap of deadlines, and a table that finds a timer by its reference.
 *
 * A user timer carries its message as a note, made when the timer starts, so expiry cannot fail. A source's timer names the
 * source. Everything under the mailbox's lock; nothing here reads a clock.
 */
#ifndef GSI_TIMER_H
#define GSI_TIMER_H

#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

struct gsi_note;

struct gsi_timer {
    uint64_t at;           /* deadline_ns */
    uint64_t seq;          /* equal deadlines expire in the order they were started */
    uint64_t ref;          /* unique: a user timer's reference, or a source's id */
    struct gsi_note *note; /* NULL: the source `ref` is to be served */
    uint32_t heap_at;
};

struct gsi_timers {
    struct gsi_timer **heap;
    uint32_t n, cap;
    struct gsi_timer **table; /* open addressing by ref */
    uint32_t table_cap;
    uint64_t seq;
};

GS_MUST_USE int gsi_timers_add(struct gsi_timers *t, uint64_t at, uint64_t ref, struct gsi_note *note);
/* The timer of a reference taken out, or NULL; the caller frees it (and its note). */
struct gsi_timer *gsi_timers_take(struct gsi_timers *t, uint64_t ref);
/* The earliest deadline, or GSI_NEVER. */
uint64_t gsi_timers_next(const struct gsi_timers *t);
/* The earliest timer if its deadline is <= now, taken out; or NULL. */
struct gsi_timer *gsi_timers_expired(struct gsi_timers *t, uint64_t now);
void gsi_timers_fini(struct gsi_timers *t);

#endif
