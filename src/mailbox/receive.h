/* receive.h: what the files of this folder share; nobody else includes it. */
#ifndef GSI_RECEIVE_H
#define GSI_RECEIVE_H

#include "mailbox/mailbox.h"

/* Poller ids that are no source's: the eventfd is 0. */
#define GSI_TIMER_FD_ID UINT64_C(1)

/* In the low word of a reference, where an id has its kind: so a caller's reference never names a source's own timer. */
enum { GSI_REF_KIND = 15 };

extern const struct gsi_source_ops *gsi_sources[GSI_KINDS];

/* Mailbox locked: something was put in. Wakes the receiver if it sleeps, a foreign loop in any case. */
void gsi_mailbox_signal(struct gsi_mailbox *mb);

/* Mailbox locked, foreign: sets the timer descriptor to the next deadline. */
void gsi_mailbox_arm_timer(struct gsi_mailbox *mb);

/* Mailbox locked. Takes the first ready source off the list, or (only) that one if it is on it; its id or 0. */
uint64_t gsi_mailbox_take_ready(struct gsi_mailbox *mb, uint64_t only);
bool gsi_mailbox_is_ready(const struct gsi_mailbox *mb, uint64_t id);

/* Mailbox locked. The timers, with next_timer kept true. */
GS_MUST_USE int gsi_mailbox_add_timer(struct gsi_mailbox *mb, uint64_t at, uint64_t ref, struct gsi_note *n);
struct gsi_timer *gsi_mailbox_take_timer(struct gsi_mailbox *mb, uint64_t ref);

/* A new mailbox may be received from; an ending one may not any more (waits until the receiver has left); the turn's own
 * memory goes. */
void gsi_receive_allow(struct gsi_mailbox *mb);
void gsi_receive_end(struct gsi_mailbox *mb);
void gsi_receive_fini(struct gsi_mailbox *mb);

#endif
