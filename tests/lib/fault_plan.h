/* fault_plan.h: between the two halves of the injector: fault.c decides, fault_wrap.c carries out. */
#ifndef TEST_FAULT_PLAN_H
#define TEST_FAULT_PLAN_H

#include "fault.h"

/* Counts the call; the error that it must fail with, already counted as a hit, or 0. fd and flags of a call that moves bytes
 * or accepts tell whether it may answer EAGAIN; fd -1 for others. */
int fault_decide(enum fault_call call, int fd, int flags);

/* How many of n bytes the call may move: fewer under FAULT_SHORT. The caller reports the hit when it did move fewer. */
size_t fault_shorten(size_t n);
void fault_hit(enum fault_call call);
uint64_t fault_random(void);

#endif
