/* seam.c: the kernel and malloc as they are (seam.h). */
#include "ei/seam.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int open_eventfd(unsigned count, int flags) { return eventfd(count, flags); }

static int change(int fd, int command, int value) { return fcntl(fd, command, value); }

static int create_thread(pthread_t *out, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(out, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

struct gsi_ei_sys gsi_ei_sys = {
    .malloc = malloc,
    .free = free,
    .epoll_create1 = epoll_create1,
    .epoll_ctl = epoll_ctl,
    .eventfd = open_eventfd,
    .dup3 = dup3,
    .close = close,
    .fcntl = change,
    .read = read,
    .write = write,
    .thread_create = create_thread,
    .recv = recv,
    .sendmsg = sendmsg,
};
