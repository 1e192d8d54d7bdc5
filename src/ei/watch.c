/* watch.c: when a connection of a FULL_IMPL table may be tried again. One thread, asleep unless something waits.
 *
 * Nothing says that the descriptor of such a table tells of readiness: ei only hands it to the application. So it is
 * listened to, and tried out:
 *
 *   - a wanted direction is told to be ready when the descriptor says so; after a pause in any case reading is tried
 *     from here, and writing told;
 *   - the pause is long where the descriptor was last seen to tell the truth (32 ms to 1 s), and short where success
 *     came without its word (1 to 32 ms); it doubles with each vain try;
 *   - a descriptor that says ready again and again, and nothing moves, is not listened to until something does: the pauses go on.
 *
 * So nothing hangs and nothing spins, whatever the descriptor does. Each pause has a queue, in which who came first is
 * due first. The mutex is held while an io is told, as gs_transport_ready allows; it is taken under an end's mutex.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "ei/reverse.h"

enum {
    PAUSES = 11,         /* 1 ms << 0 … 10 */
    SHORT_MAX = 5,       /* of a descriptor that is not trusted */
    LONG_MIN = 5,        /* of one that is */
    MISSES_MAX = 16,
    EVENTS = 64,
    WAKE = -1,           /* place of the eventfd */
};

static const uint32_t bit[DIRECTIONS] = {EPOLLIN | EPOLLRDHUP, EPOLLOUT};
static const uint64_t ms = 1000000;

static struct {
    pthread_mutex_t mutex;
    bool running, stopping, woken;
    pthread_t thread;
    int epoll_fd, event_fd;
    uint64_t sleeps_until; /* 0: awake */
    struct waiting *first[PAUSES], **last[PAUSES];
    struct watch **place; /* NULL: free */
    uint32_t *era;        /* of a place: tells a late event from one of its next user */
    uint32_t places, free_from; /* below which no place is free */
    struct watch *probing;      /* by the thread, which has left the mutex for it */
    pthread_cond_t probed;
} w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .probed = PTHREAD_COND_INITIALIZER};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- queues (mutex held, as everywhere below) ---- */

static void dequeue(struct waiting *x)
{
    if (!x->at)
        return;
    *x->at = x->next;
    if (x->next)
        x->next->at = x->at;
    else
        for (int i = 0; i < PAUSES; i++)
            if (w.last[i] == &x->next)
                w.last[i] = x->at;
    x->at = NULL;
    x->next = NULL;
}

static void enqueue(struct waiting *x, int pause, uint64_t now)
{
    dequeue(x);
    x->due = now + (ms << pause);
    x->at = w.last[pause];
    *x->at = x;
    w.last[pause] = &x->next;
}

static uint64_t next_due(void)
{
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < PAUSES; i++)
        if (w.first[i] && w.first[i]->due < due)
            due = w.first[i]->due;
    return due;
}

/* ---- telling ---- */

static void tell(struct waiting *x, enum word word)
{
    const struct watch *of = x->of;
    dequeue(x);
    x->wants = false;
    x->word = (uint8_t)word;
    if (of->io)
        gs_transport_ready(of->io, x == &of->dir[READING], x == &of->dir[WRITING]);
}

/* For one event of the directions that want and are listened to. */
static void listen_to(struct watch *x)
{
    if (!w.running)
        return;
    struct epoll_event e = {.events = EPOLLONESHOT, .data.u64 = (uint64_t)w.era[x->place] << 32 | x->place};
    bool any = false;
    for (int d = 0; d < DIRECTIONS; d++)
        if (x->dir[d].wants && x->dir[d].misses < MISSES_MAX) {
            e.events |= bit[d];
            any = true;
        }
    if (any && !x->blind && gsi_ei_sys.epoll_ctl(w.epoll_fd, EPOLL_CTL_MOD, x->fd, &e) < 0)
        x->blind = true; /* the pauses remain */
}

static void hear(const struct epoll_event *e)
{
    uint32_t place = (uint32_t)e->data.u64, era = (uint32_t)(e->data.u64 >> 32);
    if (place >= w.places || !w.place[place] || w.era[place] != era)
        return;
    struct watch *x = w.place[place];
    uint32_t over = e->events & (EPOLLERR | EPOLLHUP);
    bool left = false;
    for (int d = 0; d < DIRECTIONS; d++) {
        if (!x->dir[d].wants)
            continue;
        if (e->events & bit[d] || over)
            tell(&x->dir[d], BY_DESCRIPTOR);
        else
            left = true;
    }
    if (left)
        listen_to(x);
}

/* Behind the queue of a longer pause: nothing came. */
static void wait_on(struct waiting *x, uint64_t now)
{
    bool quick = !x->trusted || x->misses == MISSES_MAX;
    int pause = quick ? x->pause : x->pause + LONG_MIN, most = quick ? SHORT_MAX : PAUSES - 1;
    enqueue(x, pause < most ? pause : most, now);
}

/* Its watch stays while it is probed. */
static void probe(struct waiting *x, uint64_t now)
{
    struct watch *of = x->of;
    dequeue(x);
    w.probing = of;
    pthread_mutex_unlock(&w.mutex);
    bool found = of->probe(of);
    pthread_mutex_lock(&w.mutex);
    w.probing = NULL;
    pthread_cond_broadcast(&w.probed);
    if (found)
        tell(x, BY_TICK);
    else if (x->wants && !x->at) {
        if (x->pause < PAUSES)
            x->pause++;
        wait_on(x, now);
    }
}

static void tick(uint64_t now)
{
    for (int i = 0; i < PAUSES; i++)
        while (w.first[i] && w.first[i]->due <= now) {
            struct waiting *x = w.first[i];
            if (x == &x->of->dir[READING])
                probe(x, now);
            else
                tell(x, BY_TICK);
        }
}

/* ---- the thread ---- */

static int sleep_ms(uint64_t until, uint64_t now)
{
    if (until == UINT64_MAX)
        return -1;
    return until <= now ? 0 : (int)((until - now + ms - 1) / ms); /* pauses are short */
}

static void *run(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "gs-ei-watch");
    struct epoll_event e[EVENTS];
    pthread_mutex_lock(&w.mutex);
    while (!w.stopping) {
        w.sleeps_until = next_due();
        int timeout_ms = sleep_ms(w.sleeps_until, now_ns());
        pthread_mutex_unlock(&w.mutex);
        int n = epoll_wait(w.epoll_fd, e, EVENTS, timeout_ms);
        pthread_mutex_lock(&w.mutex);
        w.sleeps_until = 0;
        for (int i = 0; i < n; i++) {
            uint64_t count;
            if (e[i].data.u64 != (uint64_t)WAKE)
                hear(&e[i]);
            else if (gsi_ei_sys.read(w.event_fd, &count, sizeof count) > 0)
                w.woken = false;
        }
        tick(now_ns());
    }
    pthread_mutex_unlock(&w.mutex);
    return NULL;
}

static void wake(void)
{
    uint64_t one = 1;
    if (w.running && !w.woken)
        w.woken = gsi_ei_sys.write(w.event_fd, &one, sizeof one) > 0;
}

static int start_thread(void)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)WAKE};
    if (gsi_ei_sys.epoll_ctl(w.epoll_fd, EPOLL_CTL_ADD, w.event_fd, &e) < 0)
        return -errno;
    return gsi_ei_sys.thread_create(&w.thread, run, NULL) ? gs_fail(GS_ESYSLIMIT, "no thread to wait for ei tables in") : 0;
}

static int start(void)
{
    if (w.running)
        return 0;
    if (w.stopping)
        return GS_ECLOSED;
    for (int i = 0; i < PAUSES; i++)
        w.last[i] = &w.first[i];
    int e = (w.epoll_fd = gsi_ei_sys.epoll_create1(EPOLL_CLOEXEC)) < 0 ? -errno : 0;
    if (e < 0)
        return e;
    e = (w.event_fd = gsi_ei_sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ? -errno : start_thread();
    if (e == 0)
        w.running = true;
    else {
        if (w.event_fd >= 0)
            gsi_ei_sys.close(w.event_fd);
        gsi_ei_sys.close(w.epoll_fd);
    }
    return e;
}

void gsi_ei_watch_end(void)
{
    pthread_mutex_lock(&w.mutex);
    bool join = w.running;
    w.stopping = true;
    if (join)
        wake();
    pthread_mutex_unlock(&w.mutex);
    if (!join)
        return;
    pthread_join(w.thread, NULL);
    pthread_mutex_lock(&w.mutex);
    w.running = false;
    gsi_ei_sys.close(w.epoll_fd);
    gsi_ei_sys.close(w.event_fd);
    gsi_ei_sys.free(w.place);
    gsi_ei_sys.free(w.era);
    w.place = NULL;
    w.era = NULL;
    w.places = w.free_from = 0;
    pthread_mutex_unlock(&w.mutex);
}

__attribute__((destructor)) static void end_at_last(void) { gsi_ei_watch_end(); }

/* ---- what the slots call ---- */

static int grow(void)
{
    uint32_t more = w.places ? 2 * w.places : 16;
    struct watch **place = gsi_ei_zalloc(more * sizeof(struct watch *));
    uint32_t *era = place ? gsi_ei_zalloc(more * sizeof *era) : NULL;
    if (!era) {
        gsi_ei_sys.free(place);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < w.places; i++) {
        place[i] = w.place[i];
        era[i] = w.era[i];
    }
    gsi_ei_sys.free(w.place);
    gsi_ei_sys.free(w.era);
    w.place = place;
    w.era = era;
    w.places = more;
    return 0;
}

static int take_place(struct watch *x)
{
    uint32_t i = w.free_from;
    while (i < w.places && w.place[i])
        i++;
    int e = i == w.places ? grow() : 0;
    if (e < 0)
        return e;
    w.place[i] = x;
    w.era[i]++;
    w.free_from = i + 1;
    x->place = i;
    return 0;
}

int gsi_ei_watch_add(struct watch *x, int fd, bool writes, gs_io *io, bool (*probe_reading)(struct watch *w))
{
    pthread_mutex_lock(&w.mutex);
    int e = start();
    if (e == 0)
        e = take_place(x);
    if (e == 0) {
        struct epoll_event none = {.events = EPOLLONESHOT};
        x->io = io;
        x->probe = probe_reading;
        x->fd = fd;
        /* Refused: a file, or a number that another one tells as well. */
        x->blind = fd < 0 || gsi_ei_sys.epoll_ctl(w.epoll_fd, EPOLL_CTL_ADD, fd, &none) < 0;
        for (int d = 0; d < DIRECTIONS; d++)
            x->dir[d] = (struct waiting){.of = x, .trusted = !x->blind && (d == READING || writes)};
    }
    pthread_mutex_unlock(&w.mutex);
    return e;
}

void gsi_ei_watch_remove(struct watch *x)
{
    pthread_mutex_lock(&w.mutex);
    while (w.probing == x)
        pthread_cond_wait(&w.probed, &w.mutex);
    if (w.places) {
        for (int d = 0; d < DIRECTIONS; d++)
            dequeue(&x->dir[d]);
        if (!x->blind)
            (void)gsi_ei_sys.epoll_ctl(w.epoll_fd, EPOLL_CTL_DEL, x->fd, NULL);
        w.place[x->place] = NULL;
        if (x->place < w.free_from)
            w.free_from = x->place;
    }
    pthread_mutex_unlock(&w.mutex);
}

/* Vain tries make the pause longer, and words that were not true the descriptor less believed. */
void gsi_ei_watch_want(struct watch *x, enum direction d)
{
    struct waiting *a = &x->dir[d];
    pthread_mutex_lock(&w.mutex);
    if (a->word == BY_DESCRIPTOR && a->misses < MISSES_MAX)
        a->misses++;
    if (a->word == BY_TICK && a->pause < PAUSES)
        a->pause++;
    a->word = NO_WORD;
    a->wants = true;
    wait_on(a, now_ns());
    listen_to(x);
    if (a->due < w.sleeps_until)
        wake();
    pthread_mutex_unlock(&w.mutex);
}

void gsi_ei_watch_moved(struct watch *x, enum direction d)
{
    struct waiting *a = &x->dir[d];
    pthread_mutex_lock(&w.mutex);
    if (a->word != NO_WORD)
        a->trusted = !x->blind && a->word == BY_DESCRIPTOR;
    a->word = NO_WORD;
    a->wants = false;
    a->pause = a->misses = 0;
    dequeue(a);
    pthread_mutex_unlock(&w.mutex);
}

bool gsi_ei_watch_blind(struct watch *x)
{
    pthread_mutex_lock(&w.mutex);
    bool blind = x->blind;
    pthread_mutex_unlock(&w.mutex);
    return blind;
}
