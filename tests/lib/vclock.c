/* vclock.c: the virtual clock (vclock.h). A virtual timerfd is an eventfd that the clock writes when the timer is due: both
 * are read as eight bytes that count expirations. */
#include "vclock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/seam.h"

enum { TIMERS_MAX = 256 };
static const uint64_t start_ns = UINT64_C(1000000000000), ms_ns = UINT64_C(1000000), never = UINT64_MAX;

struct timer {
    int fd; /* descriptor + 1; 0 = free */
    uint64_t due_ns, interval_ns;
};

static _Atomic int mode;
static _Atomic uint64_t now_ns;
static _Atomic int sleepers;
static struct timer timers[TIMERS_MAX]; /* under timer_lock */
static pthread_mutex_t timer_lock = PTHREAD_MUTEX_INITIALIZER;

static struct timer *find(int fd)
{
    for (int i = 0; i < TIMERS_MAX; i++) {
        if (timers[i].fd == fd + 1)
            return &timers[i];
    }
    return NULL;
}

static uint64_t next_due(void)
{
    uint64_t due = never;
    pthread_mutex_lock(&timer_lock);
    for (int i = 0; i < TIMERS_MAX; i++) {
        if (timers[i].fd && timers[i].due_ns < due)
            due = timers[i].due_ns;
    }
    pthread_mutex_unlock(&timer_lock);
    return due;
}

static void expire(struct timer *t, uint64_t now)
{
    uint64_t count = 0;
    while (t->due_ns <= now) {
        count++;
        t->due_ns = t->interval_ns ? t->due_ns + t->interval_ns : never;
    }
    if (count && write(t->fd - 1, &count, sizeof count) < 0)
        t->due_ns = never;
}

/* The clock never goes back: of two threads that move it, the later time stays. */
static void move_to(uint64_t ns)
{
    uint64_t was = atomic_load(&now_ns);
    while (was < ns && !atomic_compare_exchange_weak(&now_ns, &was, ns))
        ;
    pthread_mutex_lock(&timer_lock);
    for (int i = 0; i < TIMERS_MAX; i++) {
        if (timers[i].fd)
            expire(&timers[i], ns);
    }
    pthread_mutex_unlock(&timer_lock);
}

void vclock_start(enum vclock_mode m)
{
    atomic_store(&now_ns, start_ns);
    atomic_store(&mode, m);
}

void vclock_stop(void)
{
    atomic_store(&mode, VCLOCK_OFF);
    pthread_mutex_lock(&timer_lock);
    memset(timers, 0, sizeof timers);
    pthread_mutex_unlock(&timer_lock);
}

void vclock_advance(uint64_t ms) { move_to(atomic_load(&now_ns) + ms * ms_ns); }

uint64_t vclock_ms(void) { return (atomic_load(&now_ns) - start_ns) / ms_ns; }

int vclock_sleepers(void) { return atomic_load(&sleepers); }

uint64_t vclock_now_ns(void)
{
    return atomic_load_explicit(&mode, memory_order_relaxed) ? atomic_load(&now_ns) : gsi_sys_default.now_ns();
}

/* One of the two waiting calls, asked again with other timeouts. */
struct wait {
    struct pollfd *p;
    nfds_t n;
    int ep;
    struct epoll_event *e;
    int max;
};

static int ask(const struct wait *w, int timeout_ms)
{
    return w->p || !w->e ? gsi_sys_default.poll(w->p, w->n, timeout_ms)
                         : gsi_sys_default.epoll_wait(w->ep, w->e, w->max, timeout_ms);
}

static int wait_auto(const struct wait *w, uint64_t end)
{
    for (;;) {
        int r = ask(w, 0);
        uint64_t due = next_due(), to = due < end ? due : end;
        if (r != 0 || atomic_load(&now_ns) >= end)
            return r;
        if (to == never)
            return ask(w, -1);
        move_to(to);
    }
}

static int wait_manual(const struct wait *w, uint64_t end)
{
    int r;
    atomic_fetch_add(&sleepers, 1);
    while ((r = ask(w, 1)) == 0 && atomic_load(&now_ns) < end)
        ;
    atomic_fetch_sub(&sleepers, 1);
    return r;
}

static int wait_virtually(const struct wait *w, int timeout_ms)
{
    int m = atomic_load_explicit(&mode, memory_order_relaxed);
    if (m == VCLOCK_OFF || timeout_ms == 0)
        return ask(w, timeout_ms);
    uint64_t end = timeout_ms < 0 ? never : atomic_load(&now_ns) + (uint64_t)timeout_ms * ms_ns;
    return m == VCLOCK_AUTO ? wait_auto(w, end) : wait_manual(w, end);
}

int vclock_poll(struct pollfd *p, nfds_t n, int timeout_ms)
{
    return wait_virtually(&(struct wait){.p = p, .n = n}, timeout_ms);
}

int vclock_epoll_wait(int ep, struct epoll_event *e, int n, int timeout_ms)
{
    return wait_virtually(&(struct wait){.ep = ep, .e = e, .max = n}, timeout_ms);
}

int vclock_timerfd_create(int clock, int flags)
{
    if (atomic_load_explicit(&mode, memory_order_relaxed) == VCLOCK_OFF)
        return gsi_sys_default.timerfd_create(clock, flags);
    int event_flags = (flags & TFD_NONBLOCK ? EFD_NONBLOCK : 0) | (flags & TFD_CLOEXEC ? EFD_CLOEXEC : 0);
    int fd = eventfd(0, event_flags);
    if (fd < 0)
        return -1;
    pthread_mutex_lock(&timer_lock);
    struct timer *t = find(-1);
    if (t)
        *t = (struct timer){.fd = fd + 1, .due_ns = never};
    pthread_mutex_unlock(&timer_lock);
    if (t)
        return fd;
    close(fd);
    errno = EMFILE;
    return -1;
}

static uint64_t to_ns(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * UINT64_C(1000000000) + (uint64_t)t->tv_nsec;
}

int vclock_timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *was)
{
    pthread_mutex_lock(&timer_lock);
    struct timer *t = find(fd);
    if (t) {
        uint64_t ns = to_ns(&to->it_value), now = atomic_load(&now_ns), pending;
        /* As timerfd_settime(2): a new setting discards expirations that were not read. */
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 0) == 1 && read(fd, &pending, sizeof pending) < 0)
            errno = 0;
        t->due_ns = ns == 0 ? never : flags & TFD_TIMER_ABSTIME ? ns : now + ns;
        t->interval_ns = to_ns(&to->it_interval);
        expire(t, now);
    }
    pthread_mutex_unlock(&timer_lock);
    return t ? 0 : gsi_sys_default.timerfd_settime(fd, flags, to, was);
}

void vclock_closed(int fd)
{
    if (atomic_load_explicit(&mode, memory_order_relaxed) == VCLOCK_OFF)
        return;
    pthread_mutex_lock(&timer_lock);
    struct timer *t = find(fd);
    if (t)
        *t = (struct timer){0};
    pthread_mutex_unlock(&timer_lock);
}
