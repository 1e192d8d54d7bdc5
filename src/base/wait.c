/* wait.c: blocking on an object (wait.h). */
#include "base/wait.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/seam.h"

/* Both are kept per thread; 0 means not made yet, so values are descriptor + 1. */
static _Thread_local int thread_event, thread_epoll;
static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void close_thread_fds(void *unused)
{
    (void)unused;
    if (thread_epoll)
        gsi_sys.close(thread_epoll - 1);
    if (thread_event)
        gsi_sys.close(thread_event - 1);
    thread_epoll = thread_event = 0;
}

static void make_key(void) { pthread_key_create(&thread_end, close_thread_fds); }

int gsi_thread_eventfd(void)
{
    if (!thread_event) {
        int fd = gsi_sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (fd < 0)
            return gsi_errno();
        pthread_once(&once, make_key);
        pthread_setspecific(thread_end, &thread_event);
        thread_event = fd + 1;
    }
    return thread_event - 1;
}

/* An epoll set of the thread with its eventfd inside: EPOLLEXCLUSIVE exists only there. */
static int thread_epollfd(int event_fd)
{
    if (!thread_epoll) {
        int fd = gsi_sys.epoll_create1(EPOLL_CLOEXEC);
        if (fd < 0)
            return gsi_errno();
        struct epoll_event e = {.events = EPOLLIN};
        if (gsi_sys.epoll_ctl(fd, EPOLL_CTL_ADD, event_fd, &e) < 0) {
            int error = gsi_errno();
            gsi_sys.close(fd);
            return error;
        }
        thread_epoll = fd + 1;
    }
    return thread_epoll - 1;
}

static int wait_exclusive(int fd, int event_fd, int timeout_ms)
{
    int ep = thread_epollfd(event_fd);
    if (ep < 0)
        return ep;
    struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    if (gsi_sys.epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
        return gsi_errno();
    int n = gsi_sys.epoll_wait(ep, &e, 1, timeout_ms);
    int error = n < 0 ? gsi_errno() : 0;
    gsi_sys.epoll_ctl(ep, EPOLL_CTL_DEL, fd, &e);
    return error == -EINTR ? 0 : error;
}

static int wait_poll(int fd, short events, int event_fd, int timeout_ms)
{
    struct pollfd p[2] = {{.fd = event_fd, .events = POLLIN}, {.fd = fd, .events = events}};
    if (gsi_sys.poll(p, fd < 0 ? 1 : 2, timeout_ms) >= 0)
        return 0;
    int error = gsi_errno();
    return error == -EINTR ? 0 : error;
}

/* The waiters of an object are linked under a leaf lock of their own, shared by many objects, so that a transport that holds
 * locks of its own may wake. */
enum { STRIPES = 16 };
static pthread_mutex_t stripes[STRIPES] = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
};

static pthread_mutex_t *stripe(const struct gsi_object *o) { return &stripes[o->index % STRIPES]; }

static void link_waiter(struct gsi_object *o, struct gsi_waiter *me)
{
    pthread_mutex_lock(stripe(o));
    struct gsi_waiter **end = &o->waiters;
    while (*end)
        end = &(*end)->next;
    *end = me;
    pthread_mutex_unlock(stripe(o));
}

/* Draining under the leaf lock: no wake for this thread can come later. */
static void unlink_waiter(struct gsi_object *o, struct gsi_waiter *me)
{
    uint64_t count;
    pthread_mutex_lock(stripe(o));
    struct gsi_waiter **at = &o->waiters;
    while (*at != me)
        at = &(*at)->next;
    *at = me->next;
    while (gsi_sys.read(me->event_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    pthread_mutex_unlock(stripe(o));
}

int gsi_wait(struct gsi_object *o, const struct gsi_wait_for *what, uint64_t deadline_ns)
{
    int timeout_ms = gsi_remaining_ms(deadline_ns);
    if (timeout_ms == 0)
        return GS_ETIMEOUT;
    int event_fd = gsi_thread_eventfd();
    if (event_fd < 0)
        return event_fd;

    struct gsi_waiter me = {.event_fd = event_fd};
    link_waiter(o, &me);
    int result = 0;
    if (!what->ready || !atomic_load(what->ready)) {
        gsi_pin(o);
        gsi_unlock(o);
        result = what->exclusive && what->fd >= 0 ? wait_exclusive(what->fd, event_fd, timeout_ms)
                                                  : wait_poll(what->fd, what->events, event_fd, timeout_ms);
        gsi_relock(o);
        gsi_unpin(o);
    }
    unlink_waiter(o, &me);
    return gsi_dying(o) ? GS_ECLOSED : result;
}

void gsi_wake(struct gsi_object *o)
{
    pthread_mutex_lock(stripe(o));
    for (struct gsi_waiter *w = o->waiters; w; w = w->next)
        gsi_signal(w->event_fd);
    pthread_mutex_unlock(stripe(o));
}

void gsi_signal(int event_fd)
{
    uint64_t one = 1;
    while (gsi_sys.write(event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}
