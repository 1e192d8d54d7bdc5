/* poller.c: the event queue on epoll. */
#include "mailbox/poller.h"

#include <errno.h>
#include <pthread.h>

#include "base/error.h"
#include "base/seam.h"

static bool forked;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void in_child(void) { forked = true; }
static void watch_fork(void) { pthread_atfork(NULL, NULL, in_child); }

int gsi_poller_open(struct gsi_poller *p)
{
    pthread_once(&once, watch_fork);
    p->fd = gsi_sys.epoll_create1(EPOLL_CLOEXEC);
    return p->fd < 0 ? gsi_errno() : 0;
}

void gsi_poller_close(struct gsi_poller *p)
{
    gsi_sys.close(p->fd);
    p->fd = -1;
}

int gsi_poller_set(struct gsi_poller *p, int fd, uint64_t id, uint32_t events, bool had)
{
    if (forked || (!had && !events))
        return 0;
    struct epoll_event e = {.events = events, .data.u64 = id};
    int op = !had ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
    return gsi_sys.epoll_ctl(p->fd, op, fd, &e) < 0 ? gsi_errno() : 0;
}

int gsi_poller_wait(struct gsi_poller *p, struct gsi_event *out, int timeout_ms)
{
    struct epoll_event e[GSI_EVENTS];
    int n = gsi_sys.epoll_wait(p->fd, e, GSI_EVENTS, timeout_ms);
    if (n < 0) {
        int error = gsi_errno();
        return error == -EINTR ? 0 : error;
    }
    for (int i = 0; i < n; i++)
        out[i] = (struct gsi_event){.events = e[i].events, .id = e[i].data.u64};
    return n;
}
