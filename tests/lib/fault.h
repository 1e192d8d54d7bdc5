/* fault.h: makes system calls and allocations of the library fail, or behave as badly as the kernel is allowed to.
 *
 *     fault_fail_call(FAULT_accept4, 1, 3, EMFILE);      // its first three calls
 *     … act …
 *     assert_int_equal(fault_stop(), 3);                 // a fault that never fired proves nothing
 *
 * The wrappers are generated from GSI_SYSCALLS of base/seam.h and stand in gsi_sys and gsi_allocator from before main on, so
 * arming one writes no function pointer while threads run. One plan is armed at a time, for all threads of the process.
 * Calls that cannot fail are left alone and not counted: epoll_ctl(DEL), and read and write on eventfds and timerfds.
 * A failing close still closes, an accept4 that fails with ECONNABORTED takes the connection off the queue, as in Linux.
 */
#ifndef TEST_FAULT_H
#define TEST_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/seam.h"

enum fault_call {
    FAULT_malloc,
    FAULT_realloc,
#define FAULT_ENUM(result, name, params, args) FAULT_##name,
    GSI_SYSCALLS(FAULT_ENUM)
#undef FAULT_ENUM
    FAULT_CALLS
};

enum fault_profile {
    FAULT_SHORT,  /* reads and writes of stream sockets and files move fewer bytes */
    FAULT_EINTR,  /* calls that a signal may interrupt are interrupted */
    FAULT_EAGAIN, /* non-blocking calls answer EAGAIN although something is ready */
    FAULT_NOFD,   /* no descriptors: EMFILE */
    FAULT_NOMEM,  /* no memory: NULL, ENOMEM, ENOBUFS */
    FAULT_GONE,   /* the peer vanished: ECONNRESET, EPIPE, ECONNREFUSED */
    FAULT_PROFILES
};

/* Counts calls and fails none. */
void fault_count(void);

/* The n-th call (from 1) of any kind fails, and with `from_then_on` every later one. The error is the one of number
 * `choice`, modulo their count, from the call's row of plausible errors. An error that passes by itself (EINTR, EAGAIN) hits
 * every second call of a kind only: a kernel that repeats it for ever does not exist. */
void fault_fail_nth(long n, bool from_then_on, int choice);

/* Calls first .. first + count - 1 of one kind fail with `error` (an errno; an EAI_ code for the name look-ups). */
void fault_fail_call(enum fault_call call, long first, long count, int error);

/* Until fault_stop a call that the profile concerns is hit in `rate` of 256 cases, chosen by the seed; EINTR and EAGAIN at
 * most three times in a row per thread. */
void fault_start_profile(enum fault_profile profile, uint64_t seed, int rate);
/* The profile that GS_FAULT names, which runs from before main: once more, after a fault_stop. False: it names none. */
bool fault_start_asked(void);

/* Ends every plan. Answers how many calls it hit. */
long fault_stop(void);

long fault_fired(void);
bool fault_armed(void); /* a plan that makes calls fail is on */
long fault_fired_on(enum fault_call call);
long fault_seen(void); /* calls counted since the plan began */
long fault_seen_on(enum fault_call call);

const char *fault_call_name(enum fault_call call);
const char *fault_profile_name(enum fault_profile profile);
/* The plausible errors of a call; *n says how many. */
const int *fault_errors(enum fault_call call, int *n);
/* The call that the first hit of this plan was made on; FAULT_CALLS when there was none. */
enum fault_call fault_first(void);

#endif
