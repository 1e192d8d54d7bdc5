/* pool.h: a bounded pool of threads for calls of the C library that may block for as long as they like: look-ups.
 *
 * At most GSI_POOL_THREADS threads ("gs-resolver"), made when a job finds none idle, gone after idle seconds, joined by
 * whoever makes the next one, by gsi_pool_stop, or at the end of the process. At most GSI_POOL_QUEUE jobs wait. A job that
 * nobody wants any more leaves the queue at once; one that is running cannot be stopped, so it is dropped: it ends where it
 * is and is destroyed then. At the end of the process such a thread is left behind, for an exit must not wait for a name server.
 */
#ifndef GSI_POOL_H
#define GSI_POOL_H

#include <pthread.h>

#include "gensock/error.h"

enum { GSI_POOL_THREADS = 4, GSI_POOL_QUEUE = 256 };

/* Embedded in what a job needs. The first group is set by its maker; the second is the pool's, under its lock. */
struct gsi_job {
    void (*run)(struct gsi_job *job);     /* on a pool thread, no lock held; may block */
    void (*done)(struct gsi_job *job);    /* gsi_pool_start: after run, on the same thread, no lock held */
    void (*destroy)(struct gsi_job *job); /* the last thing; any thread, no lock held */
    bool aborted;                         /* done may read it: the pool was stopped before run */

    struct gsi_job *next;
    uint64_t serial;
    pthread_cond_t *ended; /* of the caller that waits */
    enum { GSI_JOB_QUEUED, GSI_JOB_RUNNING, GSI_JOB_CALLING, GSI_JOB_ENDED } state;
    bool dropped;
};

/* Runs job and waits. 0: it has run, and is the caller's again (who destroys it). Else the job is no longer the caller's:
 * GS_ETIMEOUT: the deadline is over (0: nothing was tried); GS_ESYSLIMIT with a detail: the queue is full, or there is no
 * thread; GS_EABORTED: the pool is being stopped. */
GS_MUST_USE int gsi_pool_call(struct gsi_job *job, uint64_t deadline_ns);

/* Takes job, also on failure. *serial names it, and is set before done can run. 0; GS_ESYSLIMIT or GS_EABORTED, as above. */
GS_MUST_USE int gsi_pool_start(struct gsi_job *job, uint64_t *serial);

/* After it, done will not be called and is not running, unless this is the thread that runs it. True: done was never called.
 * An old serial is allowed. The caller holds no lock that done takes. */
bool gsi_pool_cancel(uint64_t serial);

/* Aborts what waits and joins every thread that ends before the deadline; the pool serves on afterwards. Answers how many
 * threads are left (each inside a job); -EDEADLK on a pool thread. */
int gsi_pool_stop(uint64_t deadline_ns);

/* How many threads there are now. */
unsigned gsi_pool_threads(void);

/* How long a thread stays without work. Tests shorten it while there are no threads. */
extern unsigned gsi_pool_idle_ms;

#endif
