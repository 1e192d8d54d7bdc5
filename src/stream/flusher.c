/* flusher.c: the one thread that finishes output whose owner is away, or that has none, and what close leaves behind.
 *
 * It sleeps unless a mailbox has corked or stuck output, or a closed stream still has some. A mailbox is away when it was not
 * received from for a whole tick and does not sleep inside gs_receive either (then it would see the descriptor itself). The
 * thread is made with the first unsent byte and joined at the end of the process, which waits for what is left.
 */
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/exit.h"
#include "stream/stream.h"

enum {
    TICK_MS = 2,
    SWEEP_MS = 20,         /* how often closed streams are looked at for their deadlines */
    QUIET_TICKS = 25,      /* a mailbox without output is watched that long: it may cork again */
    PROGRESS_MS = 10000,   /* a closed stream may stand still that long */
    AWAY_MAX = 64,         /* streams of one mailbox looked at in one tick */
    LEFT_ID_FD = 0,
};

struct watch {
    uint64_t mailbox;
    uint32_t epoch, quiet;
};

/* A closed stream with output: resets at its deadline; without linger every progress moves that. Or a living one without owner
 * whose transport holds something back. */
struct left {
    uint64_t id, deadline;
    size_t queued;
    bool fixed, living;
};

static struct {
    pthread_mutex_t mutex; /* guards what follows; a leaf lock */
    bool running, stopping, signaled;
    pid_t pid;
    pthread_t thread;
    int event_fd;
    struct gsi_poller poller;
    uint64_t *fresh; /* mailboxes that came since the last tick */
    size_t fresh_n, fresh_cap;
    struct left *left;
    size_t left_n, left_cap;
    /* the thread's own */
    struct watch *watch;
    size_t watch_n, watch_cap;
} f = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Room for one more element. */
static bool grow(void *array, size_t *cap, size_t n, size_t size)
{
    void **at = array;
    if (n < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 16;
    void *p = gsi_realloc(*at, more * size);
    if (!p)
        return false;
    *at = p;
    *cap = more;
    return true;
}

/* ---- closed streams ---- */

/* The dying stream of an id, locked; or NULL: it is gone. */
static struct stream *lock_left(uint64_t id)
{
    struct stream *s;
    if (gsi_peek(GSI_STREAM, id, &s) < 0)
        return NULL;
    gsi_relock(&s->source.object);
    return s;
}

static uint64_t deadline_of(const struct stream *s, uint64_t now)
{
    int linger = s->profile->linger_seconds;
    return now + (linger > 0 ? (uint64_t)linger * 1000 : PROGRESS_MS) * GSI_MS;
}

/* Locked. The descriptor tells of room; if that fails, and without one, the tick looks again. */
static void watch_for_room(struct stream *s, uint64_t id)
{
    if (!s->in_flusher && !descriptorless(s))
        s->in_flusher = gsi_poller_set(&f.poller, s->fd, id, EPOLLOUT, false) == 0;
}

/* One try. True: nothing is left to do, or somebody else does it. */
static bool advance_living(uint64_t id)
{
    struct stream *s;
    if (stream_lock((gs_stream){id}, &s) < 0)
        return true;
    if (s->stuck && !s->source.owner)
        (void)output_flush(s, id);
    bool over = !s->stuck || s->source.owner;
    if (!over)
        watch_for_room(s, id);
    stream_unlock(s);
    return over;
}

/* One try. True: the stream is gone. */
static bool advance_left(struct left *l, uint64_t now)
{
    if (l->living)
        return advance_living(l->id);
    struct stream *s = lock_left(l->id);
    if (!s)
        return true;
    (void)output_flush(s, l->id);
    size_t queued = out_len(s);
    bool more = has_output(s) && !s->send_error;
    if (more && queued < l->queued && !l->fixed)
        l->deadline = deadline_of(s, now);
    l->queued = queued;
    if (more && now < l->deadline) {
        watch_for_room(s, l->id);
        stream_unlock(s);
        return false;
    }
    flusher_forget(s, l->id);
    stream_destroy(s, more || s->send_error);
    return true;
}

/* Looks at the i-th; only this thread takes out, others append. */
static bool advance_at(size_t i, uint64_t now)
{
    pthread_mutex_lock(&f.mutex);
    struct left l = f.left[i];
    pthread_mutex_unlock(&f.mutex);
    bool gone = advance_left(&l, now);
    pthread_mutex_lock(&f.mutex);
    gone |= l.living && f.stopping;
    f.left[i] = gone ? f.left[--f.left_n] : l;
    pthread_mutex_unlock(&f.mutex);
    return gone;
}

static size_t left_count(void)
{
    pthread_mutex_lock(&f.mutex);
    size_t n = f.left_n;
    pthread_mutex_unlock(&f.mutex);
    return n;
}

static void advance_all_left(void)
{
    uint64_t now = gsi_now();
    for (size_t i = 0; i < left_count();)
        i += !advance_at(i, now);
}

/* There is room for this one. */
static void advance_by_id(uint64_t id)
{
    size_t i = 0;
    pthread_mutex_lock(&f.mutex);
    while (i < f.left_n && f.left[i].id != id)
        i++;
    bool found = i < f.left_n;
    pthread_mutex_unlock(&f.mutex);
    if (found)
        (void)advance_at(i, gsi_now());
}

/* ---- mailboxes that are away ---- */

/* Another thread's turn may be putting one more answer into the cork just now: the next tick takes that. */
static void uncork_away(struct stream *s, uint64_t id)
{
    struct gsi_mailbox *mb = s->source.owner;
    bool was_open = atomic_load_explicit(&mb->hot.cork.open, memory_order_relaxed);
    output_uncork(s, id);
    if (was_open) {
        s->corked = true;
        atomic_store_explicit(&mb->corked, id, memory_order_relaxed);
    }
}

static void flush_for(uint64_t id)
{
    struct stream *s;
    if (stream_lock((gs_stream){id}, &s) < 0) {
        advance_by_id(id);
        return;
    }
    if (!s->source.owner) {
        stream_unlock(s);
        advance_by_id(id);
        return;
    }
    if (s->state == OPEN) {
        if (s->corked)
            uncork_away(s, id);
        else if (has_output(s))
            (void)output_flush(s, id);
        if (s->stuck)
            watch_for_room(s, id);
        if (s->stuck) { /* behind the others, so that each has its tick */
            gsi_source_unlist(&s->source, id, GSI_OUTPUT);
            gsi_source_list(&s->source, id, GSI_OUTPUT);
        }
    }
    stream_unlock(s);
}

/* True: watch it no longer. */
static bool look_at(struct watch *w)
{
    struct gsi_mailbox *mb;
    uint64_t ids[AWAY_MAX + 1];
    size_t n = 0;
    if (gsi_mailbox_lock((gs_mailbox){w->mailbox}, &mb) < 0)
        return true;
    uint32_t epoch = atomic_load_explicit(&mb->epoch, memory_order_relaxed);
    uint64_t corked = atomic_load_explicit(&mb->corked, memory_order_relaxed);
    bool away = epoch == w->epoch && !mb->sleeping;
    bool output = corked || mb->head[GSI_OUTPUT];
    if (away && output) {
        n = gsi_list_ids(mb, GSI_OUTPUT, ids, AWAY_MAX);
        if (corked)
            ids[n++] = corked;
    }
    w->quiet = output ? 0 : w->quiet + 1;
    w->epoch = epoch;
    bool drop = w->quiet > QUIET_TICKS;
    if (drop)
        atomic_store_explicit(&mb->watched, 0, memory_order_relaxed);
    gsi_unlock(&mb->object);
    for (size_t i = 0; i < n; i++)
        flush_for(ids[i]);
    return drop;
}

static void take_fresh(void)
{
    pthread_mutex_lock(&f.mutex);
    size_t taken = 0;
    while (taken < f.fresh_n && grow(&f.watch, &f.watch_cap, f.watch_n, sizeof *f.watch))
        f.watch[f.watch_n++] = (struct watch){.mailbox = f.fresh[taken++]};
    f.fresh_n -= taken; /* those that there is no memory for wait for the next tick */
    if (taken && f.fresh_n)
        memmove(f.fresh, f.fresh + taken, f.fresh_n * sizeof *f.fresh);
    pthread_mutex_unlock(&f.mutex);
}

/* ---- the thread ---- */

/* True: somebody poked. */
static bool serve_events(int timeout_ms)
{
    bool poked = false;
    struct gsi_event e[GSI_EVENTS];
    int n = gsi_poller_wait(&f.poller, e, timeout_ms);
    for (int i = 0; i < n; i++) {
        if (e[i].id != LEFT_ID_FD) {
            flush_for(e[i].id);
            continue;
        }
        uint64_t count;
        if (gsi_sys.read(f.event_fd, &count, sizeof count) < 0)
            count = 0;
        pthread_mutex_lock(&f.mutex);
        f.signaled = false;
        pthread_mutex_unlock(&f.mutex);
        poked = true;
    }
    return poked;
}

static int next_timeout(bool *end)
{
    pthread_mutex_lock(&f.mutex);
    bool left = f.left_n, fresh = f.fresh_n;
    *end = f.stopping && !left;
    pthread_mutex_unlock(&f.mutex);
    return *end ? 0 : f.watch_n || fresh ? TICK_MS : left ? SWEEP_MS : -1;
}

static void *run(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "gs-flusher");
    uint64_t ticked = 0, swept = 0;
    for (bool end = false; !end;) {
        int timeout_ms = next_timeout(&end);
        if (end)
            break;
        bool poked = serve_events(timeout_ms);
        take_fresh();
        uint64_t now = gsi_now();
        if (poked || now - swept >= SWEEP_MS * GSI_MS) {
            advance_all_left();
            swept = now;
        }
        if (now - ticked < TICK_MS * GSI_MS)
            continue;
        ticked = now;
        for (size_t i = 0; i < f.watch_n;)
            if (look_at(&f.watch[i]))
                f.watch[i] = f.watch[--f.watch_n];
            else
                i++;
    }
    return NULL;
}

static void poke_locked(void)
{
    if (!f.running || f.signaled)
        return;
    f.signaled = true;
    gsi_signal(f.event_fd);
}

/* The end of the process waits for what close left behind, as long as that makes progress. */
static void stop(void)
{
    pthread_mutex_lock(&f.mutex);
    bool join = f.running && f.pid == getpid();
    f.stopping = true;
    if (join) {
        f.signaled = false;
        poke_locked();
    }
    pthread_mutex_unlock(&f.mutex);
    if (!join)
        return;
    pthread_join(f.thread, NULL);
    pthread_mutex_lock(&f.mutex); /* other threads may use streams to the very end */
    f.running = false;
    gsi_sys.close(f.event_fd);
    gsi_poller_close(&f.poller);
    gsi_free(f.fresh);
    gsi_free(f.left);
    gsi_free(f.watch);
    f.fresh = NULL;
    f.left = NULL;
    f.watch = NULL;
    f.fresh_n = f.fresh_cap = f.left_n = f.left_cap = f.watch_n = f.watch_cap = 0;
    pthread_mutex_unlock(&f.mutex);
}

__attribute__((destructor)) static void stop_at_last(void) { stop(); }

/* Mutex held. */
static bool start(void)
{
    if (f.running || f.stopping)
        return f.running && !f.stopping;
    if (gsi_poller_open(&f.poller) < 0)
        return false;
    f.event_fd = gsi_sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (f.event_fd >= 0) {
        f.pid = getpid();
        f.running = gsi_poller_set(&f.poller, f.event_fd, LEFT_ID_FD, EPOLLIN, false) == 0 &&
                    gsi_sys.thread_create(&f.thread, run, NULL) == 0;
        if (!f.running)
            gsi_sys.close(f.event_fd);
    }
    if (!f.running)
        gsi_poller_close(&f.poller);
    else
        gsi_at_exit(stop);
    return f.running;
}

void flusher_poke(void)
{
    pthread_mutex_lock(&f.mutex);
    poke_locked();
    pthread_mutex_unlock(&f.mutex);
}

void flusher_watch(struct gsi_mailbox *mb)
{
    if (atomic_exchange_explicit(&mb->watched, 1, memory_order_relaxed))
        return;
    pthread_mutex_lock(&f.mutex);
    bool taken = start() && grow(&f.fresh, &f.fresh_cap, f.fresh_n, sizeof *f.fresh);
    if (taken) {
        f.fresh[f.fresh_n++] = mb->id;
        poke_locked();
    }
    pthread_mutex_unlock(&f.mutex);
    if (!taken) /* the owner flushes by itself; the next send tries to start it again */
        atomic_store_explicit(&mb->watched, 0, memory_order_relaxed);
}

static bool take(struct left l)
{
    pthread_mutex_lock(&f.mutex);
    bool taken = !f.stopping && start() && grow(&f.left, &f.left_cap, f.left_n, sizeof *f.left);
    if (taken) {
        f.left[f.left_n++] = l;
        poke_locked();
    }
    pthread_mutex_unlock(&f.mutex);
    return taken;
}

bool flusher_take(struct stream *s, uint64_t id)
{
    return take((struct left){.id = id,
                              .deadline = deadline_of(s, gsi_now()),
                              .queued = out_len(s),
                              .fixed = s->profile->linger_seconds > 0});
}

bool flusher_help(uint64_t id) { return take((struct left){.id = id, .living = true}); }

void flusher_forget(struct stream *s, uint64_t id)
{
    if (!s->in_flusher)
        return;
    (void)gsi_poller_set(&f.poller, s->fd, id, 0, true);
    s->in_flusher = false;
}
