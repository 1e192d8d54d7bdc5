/* sendfile.c: gs_socket_sendfile. */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/seam.h"
#include "socket/socket.h"

/* Bytes or -errno; *at moves on. */
static ssize_t send_file(int out, int in, off_t *at, size_t n)
{
    ssize_t r;
    do {
        r = gsi_sys.sendfile(out, in, at, n);
        if (r < 0)
            r = gsi_errno();
    } while (r == -EINTR);
    return r;
}

struct file_op {
    struct gsi_op op;
    int fd;
    off_t at;
    size_t n; /* 0: to the end */
};

enum { CHUNK = 1 << 20 }; /* of one call, so that the lock is not held for long */

static void count_file(struct gsi_counts *c, ssize_t r)
{
    c->tries++;
    if (r > 0)
        c->byte += (uint64_t)r;
    else if (r < 0 && r != -EAGAIN)
        c->fails++;
}

static ssize_t try_file(struct gsi_socket *s, struct gsi_op *op)
{
    struct file_op *f = (struct file_op *)op;
    for (;;) {
        size_t left = f->n ? f->n - op->done : CHUNK;
        if (!left)
            return (ssize_t)op->done;
        ssize_t r = send_file(s->fd, f->fd, &f->at, left < CHUNK ? left : CHUNK);
        count_file(&s->sendfile, gsi_count(&s->count[GSI_Q_WRITE], r));
        if (r < 0)
            return r;
        if (r == 0)
            return (ssize_t)op->done;
        op->done += (size_t)r;
    }
}

ssize_t gs_socket_sendfile(gs_socket s, int fd, off_t offset, size_t n, gs_wait *w)
{
    if (fd < 0 || offset < 0 || n > SSIZE_MAX)
        return GS_EBADARG;
    struct file_op f = {
        .op = {.name = "sendfile", .queue = GSI_Q_WRITE, .events = EPOLLOUT, .try = try_file}, .fd = fd, .at = offset, .n = n};
    return gsi_socket_run(s, &f.op, w);
}
