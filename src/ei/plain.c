/* plain.c: bytes of a kernel socket without a timeout: they wait in the kernel, as ei's own sockets do, in one system call
 * instead of the stream's several. Whoever closes shuts the socket down if somebody waits there: only then, for a process
 * that was forked may go on with a connection that this one closes.
 */
#include <errno.h>
#include <sys/socket.h>

#include "ei/bridge.h"

/* Who goes in says so and then looks whether the box is open; who closes does it the other way round. */
static bool go_in(struct gsi_ei_box *b)
{
    atomic_fetch_add(&b->in_kernel, 1);
    return gsi_ei_box_is_open(b);
}

/* A socket that the program has made non-blocking answers EAGAIN: then the stream waits. */
ssize_t gsi_ei_plain_read(struct gsi_ei_box *b, void *p, size_t n)
{
    ssize_t k = GS_EBADARG;
    while (go_in(b) && (k = gsi_ei_sys.recv(b->fd, p, n, 0)) < 0 && (k = -errno) == -EINTR)
        atomic_fetch_sub(&b->in_kernel, 1);
    atomic_fetch_sub(&b->in_kernel, 1);
    return k > 0 || gsi_ei_box_is_open(b) ? k : GS_EBADARG;
}

ssize_t gsi_ei_plain_write(struct gsi_ei_box *b, const struct iovec *iov, int n)
{
    ssize_t k = GS_EBADARG;
    const struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
    while (go_in(b) && (k = gsi_ei_sys.sendmsg(b->fd, &m, MSG_NOSIGNAL)) < 0 && (k = -errno) == -EINTR)
        atomic_fetch_sub(&b->in_kernel, 1);
    atomic_fetch_sub(&b->in_kernel, 1);
    return k > 0 || gsi_ei_box_is_open(b) ? k : GS_EBADARG;
}

void gsi_ei_plain_wake(struct gsi_ei_box *b)
{
    if (atomic_load(&b->in_kernel))
        (void)shutdown(b->fd, SHUT_RDWR);
}
