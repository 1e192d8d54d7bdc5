/* pool.c: the pool of look-up threads (pool.h).
 *
 * One mutex guards everything and is a leaf: no job code, allocator of the user or look-up runs under it. While the queue is
 * not empty there is at least one thread, since a thread only leaves when it finds the queue empty.
 */
#include "net/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/seam.h"

enum { IDLE_MS = 10000 };

struct slot {
    enum { FREE, LIVE, ENDED } state; /* ENDED: to be joined */
    pthread_t thread;
    struct gsi_job *job;
    uint64_t serial; /* of job; 0 = none */
};

static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    pthread_cond_t work;  /* a job came, or stop */
    pthread_cond_t moved; /* a job or a thread has ended */
    struct gsi_job *head, *tail;
    unsigned queued, idle, live, stopping;
    uint64_t last_serial;
    struct slot slots[GSI_POOL_THREADS];
    _Atomic pid_t pid; /* the process that has the threads: a forked child has none */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

unsigned gsi_pool_idle_ms = IDLE_MS;

static void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

static void init(void)
{
    cond_init(&pool.work);
    cond_init(&pool.moved);
}

static void lock(void)
{
    pthread_once(&pool.once, init);
    pthread_mutex_lock(&pool.lock);
}

static void unlock(void) { pthread_mutex_unlock(&pool.lock); }

/* Locked. 0: woken, perhaps for nothing; ETIMEDOUT. The deadline is of gsi_now(), which a test may have replaced; the sleep
 * is in real time. */
static int wait_until(pthread_cond_t *c, uint64_t deadline_ns)
{
    if (deadline_ns == GSI_NEVER)
        return pthread_cond_wait(c, &pool.lock);
    uint64_t now = gsi_now();
    if (now >= deadline_ns)
        return ETIMEDOUT;
    uint64_t until = gsi_sys_default.now_ns() + (deadline_ns - now);
    struct timespec t = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};
    return pthread_cond_timedwait(c, &pool.lock, &t);
}

/* ---- the queue; all locked ---- */

static void queue_put(struct gsi_job *job)
{
    job->next = NULL;
    if (pool.head)
        pool.tail->next = job;
    else
        pool.head = job;
    pool.tail = job;
    pool.queued++;
}

/* Takes out the job behind `before` (NULL: the first). */
static struct gsi_job *queue_take(struct gsi_job *before)
{
    struct gsi_job **link = before ? &before->next : &pool.head, *job = *link;
    *link = job->next;
    if (pool.tail == job)
        pool.tail = before;
    pool.queued--;
    return job;
}

static struct gsi_job *queue_find(uint64_t serial)
{
    struct gsi_job *before = NULL, *job = pool.head;
    for (; job && job->serial != serial; job = job->next)
        before = job;
    return job ? queue_take(before) : NULL;
}

/* ---- the threads ---- */

/* Locked, on a pool thread. The next job, or NULL: this thread is to end. */
static struct gsi_job *next_job(void)
{
    uint64_t deadline_ns = gsi_now() + gsi_pool_idle_ms * GSI_MS;
    int e = 0;
    while (!pool.head && !pool.stopping && e == 0) {
        pool.idle++;
        e = wait_until(&pool.work, deadline_ns);
        pool.idle--;
    }
    return pool.head ? queue_take(NULL) : NULL;
}

/* Locked before and after; unlocked while the job's own functions run. */
static void serve(struct slot *slot, struct gsi_job *job)
{
    slot->job = job;
    slot->serial = job->serial;
    job->state = GSI_JOB_RUNNING;
    if (!job->aborted) {
        unlock();
        job->run(job);
        lock();
    }
    bool ours = true;
    if (!job->dropped && job->done) {
        job->state = GSI_JOB_CALLING;
        unlock();
        job->done(job);
        lock();
    } else if (!job->dropped) {
        job->state = GSI_JOB_ENDED;
        pthread_cond_signal(job->ended);
        ours = false;
    }
    slot->job = NULL;
    slot->serial = 0;
    pthread_cond_broadcast(&pool.moved);
    if (ours) {
        unlock();
        job->destroy(job);
        lock();
    }
}

static void *thread_main(void *arg)
{
    struct slot *slot = arg;
    pthread_setname_np(pthread_self(), "gs-resolver");
    lock();
    for (struct gsi_job *job; (job = next_job());)
        serve(slot, job);
    slot->state = ENDED;
    pool.live--;
    pthread_cond_broadcast(&pool.moved);
    unlock();
    return NULL;
}

/* Locked. The thread gave the lock back for the last time, so this waits for its last instructions only. */
static void join_ended(struct slot *slot)
{
    pthread_join(slot->thread, NULL);
    slot->state = FREE;
}

/* Locked. One more thread when the waiting jobs outnumber the idle threads. 0, or what thread_create says. */
static int spawn_if_short(void)
{
    if (pool.queued <= pool.idle || pool.live == GSI_POOL_THREADS)
        return 0;
    struct slot *slot = pool.slots;
    while (slot->state == LIVE)
        slot++;
    if (slot->state == ENDED)
        join_ended(slot);
    int e = gsi_sys.thread_create(&slot->thread, thread_main, slot);
    if (e != 0)
        return e;
    slot->state = LIVE;
    pool.live++;
    atomic_store_explicit(&pool.pid, getpid(), memory_order_relaxed);
    return 0;
}

/* Locked. On failure the job is in no queue. */
static int submit(struct gsi_job *job)
{
    if (pool.stopping)
        return gsi_fail(GS_EABORTED, "the resolver is being stopped");
    if (pool.queued == GSI_POOL_QUEUE)
        return gsi_fail(GS_ESYSLIMIT, "%d look-ups wait for an answer already; is the name server reachable?", GSI_POOL_QUEUE);
    job->serial = ++pool.last_serial;
    job->state = GSI_JOB_QUEUED;
    queue_put(job);
    int e = spawn_if_short();
    if (e != 0 && pool.live == 0) {
        struct gsi_job *mine = queue_find(job->serial);
        assert(mine == job && !pool.head);
        (void)mine;
        return gsi_fail(GS_ESYSLIMIT, "no thread to look names up with: %s (ulimit -u, or the cgroup's pids.max)",
                        gs_error_text(-e));
    }
    pthread_cond_signal(&pool.work);
    return 0;
}

/* ---- what callers do ---- */

int gsi_pool_call(struct gsi_job *job, uint64_t deadline_ns)
{
    if (deadline_ns == 0) {
        job->destroy(job);
        return GS_ETIMEOUT;
    }
    pthread_cond_t ended;
    cond_init(&ended);
    job->ended = &ended;
    job->done = NULL;
    lock();
    int e = submit(job), over = 0;
    bool ours = e < 0;
    while (e == 0 && over == 0 && job->state != GSI_JOB_ENDED)
        over = wait_until(&ended, deadline_ns);
    if (e == 0 && job->state == GSI_JOB_ENDED) {
        ours = job->aborted;
        e = job->aborted ? GS_EABORTED : 0;
    } else if (e == 0) {
        ours = job->state == GSI_JOB_QUEUED && queue_find(job->serial);
        job->dropped = true;
        e = GS_ETIMEOUT;
    }
    unlock();
    pthread_cond_destroy(&ended);
    if (ours)
        job->destroy(job);
    return e;
}

int gsi_pool_start(struct gsi_job *job, uint64_t *serial)
{
    assert(job->done);
    job->ended = NULL;
    lock();
    int e = submit(job);
    if (e == 0)
        *serial = job->serial;
    unlock();
    if (e < 0)
        job->destroy(job);
    return e;
}

/* Locked. */
static struct slot *slot_of(uint64_t serial)
{
    for (struct slot *s = pool.slots; s < pool.slots + GSI_POOL_THREADS; s++)
        if (s->state == LIVE && s->serial == serial)
            return s;
    return NULL;
}

bool gsi_pool_cancel(uint64_t serial)
{
    if (serial == 0)
        return false;
    lock();
    struct gsi_job *job = queue_find(serial);
    struct slot *slot = job ? NULL : slot_of(serial);
    bool never_called = job != NULL;
    if (slot && slot->job->state == GSI_JOB_RUNNING) {
        slot->job->dropped = true;
        never_called = true;
    } else if (slot && !pthread_equal(slot->thread, pthread_self())) {
        while (slot->serial == serial)
            wait_until(&pool.moved, GSI_NEVER);
    }
    unlock();
    if (job)
        job->destroy(job);
    return never_called;
}

/* Locked. Callers that wait are told here; a started job's done needs a pool thread to run on. */
static void abort_queue(void)
{
    struct gsi_job *before = NULL, *job = pool.head;
    while (job) {
        struct gsi_job *next = job->next;
        job->aborted = true;
        if (job->ended) {
            queue_take(before);
            job->state = GSI_JOB_ENDED;
            pthread_cond_signal(job->ended);
        } else {
            before = job;
        }
        job = next;
    }
}

/* Locked. A thread without a job ends at once when it is told to. */
static bool any_at_rest(void)
{
    for (const struct slot *s = pool.slots; s < pool.slots + GSI_POOL_THREADS; s++)
        if (s->state == LIVE && !s->job)
            return true;
    return false;
}

int gsi_pool_stop(uint64_t deadline_ns)
{
    lock();
    for (const struct slot *s = pool.slots; s < pool.slots + GSI_POOL_THREADS; s++) {
        if (s->state == LIVE && pthread_equal(s->thread, pthread_self())) {
            unlock();
            return -EDEADLK;
        }
    }
    pool.stopping++;
    abort_queue();
    pthread_cond_broadcast(&pool.work);
    for (int e = 0; pool.live > 0 && e == 0;)
        e = wait_until(&pool.moved, any_at_rest() ? GSI_NEVER : deadline_ns);
    for (struct slot *s = pool.slots; s < pool.slots + GSI_POOL_THREADS; s++)
        if (s->state == ENDED)
            join_ended(s);
    pool.stopping--;
    int left = (int)pool.live;
    unlock();
    return left;
}

unsigned gsi_pool_threads(void)
{
    lock();
    unsigned n = pool.live;
    unlock();
    return n;
}

/* The end of the process: threads at rest are joined, a stuck one is left to it. In a forked child there is none to join. */
__attribute__((destructor)) static void process_end(void)
{
    if (atomic_load_explicit(&pool.pid, memory_order_relaxed) == getpid())
        (void)gsi_pool_stop(0);
}
