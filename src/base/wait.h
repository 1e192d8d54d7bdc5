/* wait.h: calls that block on an object without holding its lock, and how they are woken without touching its descriptor.
 *
 * A waiter polls the descriptor and an eventfd of its own thread. Whoever changes what it waits for (close, a mode switch,
 * drained output, a transport without descriptor) calls gsi_wake; every wake may be spurious.
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

struct gsi_wait_for {
    int fd;          /* -1: only a wake ends the wait */
    short events;    /* POLLIN, POLLOUT */
    bool exclusive;  /* of several threads that wait so for the same descriptor the kernel wakes one */
    _Atomic int *ready; /* NULL, or: do not sleep when it is set (a wake that came before the wait began) */
};

/* Object locked; unlocks, waits, locks again. 0: look again; GS_ETIMEOUT: the deadline is over (nothing was waited for);
 * GS_ECLOSED: the object died meanwhile; or -errno: no descriptor for the eventfd. */
GS_MUST_USE int gsi_wait(struct gsi_object *o, const struct gsi_wait_for *what, uint64_t deadline_ns);

/* With the object's lock or without. */
void gsi_wake(struct gsi_object *o);

/* Writes one to an eventfd (which never blocks: its counter is far from full). */
void gsi_signal(int event_fd);

#endif
