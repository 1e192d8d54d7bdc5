/* work.c: threads for the calls of a table that may take their time: to connect, and to accept with a handshake in it.
 * Each ends with its call. One whose stream has been closed meanwhile cleans up by itself, so nobody waits for it; the
 * end of the process does not either, since nothing can break off a call of somebody's code.
 */
#include <errno.h>
#include <stdatomic.h>

#include "ei/reverse.h"

enum { THREADS_MAX = 256 };

struct job {
    void (*run)(struct end *e);
    struct end *end;
    const char *name;
};

static _Atomic int running;

static void *work(void *arg)
{
    struct job job = *(struct job *)arg;
    gsi_ei_sys.free(arg);
    pthread_setname_np(pthread_self(), job.name);
    job.run(job.end);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static int start(struct job *job)
{
    pthread_t thread;
    int e = gsi_ei_sys.thread_create(&thread, work, job);
    if (e == 0)
        pthread_detach(thread);
    return e;
}

int gsi_ei_work_start(const char *name, void (*run)(struct end *e), struct end *e)
{
    struct job *job = gsi_ei_sys.malloc(sizeof *job);
    if (!job)
        return -ENOMEM;
    *job = (struct job){.run = run, .end = e, .name = name};
    int others = atomic_fetch_add(&running, 1);
    if (others < THREADS_MAX && start(job) == 0)
        return 0;
    atomic_fetch_sub(&running, 1);
    gsi_ei_sys.free(job);
    return others < THREADS_MAX ? gs_fail(GS_ESYSLIMIT, "no thread to call the ei table in")
                                : gs_fail(GS_ESYSLIMIT, "%d calls of ei tables run already", THREADS_MAX);
}
