/* wait.h: calls that block on an object without holding its lock, and how they are woken without touching its descriptor.
 *
 * A waiter polls the descriptor and an eventfd of its own thread. Whoever changes what it waits for (close, a mode switch,
 * drained output, a transport without descriptor) calls gsi_wake under the object's lock; every wake may be spurious.
 */
#ifndef GSI_WAIT_H
#define GSI_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/handle.h"

struct gsi_waiter {
    struct gsi_waiter *next;
    int event_fd;
};

/* The calling thread's eventfd, made at first use and closed with the thread; or -errno. */
int gsi_thread_eventfd(void);

/* Object locked; unlocks, waits, locks again. fd -1: only gsi_wake ends the wait. events: POLLIN, POLLOUT. exclusive: of
 * several threads that wait so for the same descriptor the kernel wakes one. 0: look again; GS_ETIMEOUT: the deadline is
 * over (look once more all the same); GS_ECLOSED: the object died meanwhile; or -errno: no descriptor for the eventfd. */
GS_MUST_USE int gsi_wait(struct gsi_object *o, int fd, short events, uint64_t deadline_ns, bool exclusive);

/* Object locked. */
void gsi_wake(struct gsi_object *o);

/* Writes one to an eventfd (which never blocks: its counter is far from full). */
void gsi_signal(int event_fd);

#endif
