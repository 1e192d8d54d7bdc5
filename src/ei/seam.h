/* seam.h: what this library asks of the kernel and of malloc by itself; all bytes go through gensock. Tests put failing ones
 * in. */
#ifndef GSI_EI_SEAM_H
#define GSI_EI_SEAM_H

#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

struct gsi_ei_sys {
    void *(*malloc)(size_t n);
    void (*free)(void *p);
    int (*epoll_create1)(int flags);
    int (*epoll_ctl)(int epoll_fd, int op, int fd, struct epoll_event *e);
    int (*eventfd)(unsigned count, int flags);
    int (*dup3)(int from, int to, int flags);
    int (*close)(int fd);
    int (*fcntl)(int fd, int command, int value);
    ssize_t (*read)(int fd, void *p, size_t n);
    ssize_t (*write)(int fd, const void *p, size_t n);
    int (*thread_create)(pthread_t *out, void *(*run)(void *), void *arg); /* all signals blocked; 0 or an errno */
    ssize_t (*recv)(int fd, void *p, size_t n, int flags);
    ssize_t (*sendmsg)(int fd, const struct msghdr *m, int flags);
};
extern struct gsi_ei_sys gsi_ei_sys;

#endif
