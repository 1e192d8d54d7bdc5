/* netns.c: network namespaces, and the one place where the library makes sockets of a network (netns.h). */
#include "net/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"

/* The caller owns it and waits; the thread fills in the last two. */
struct visit {
    const char *path;
    void (*fn)(void *arg);
    void *arg;
    enum { OPENING, ENTERING, DONE } step;
    int error;
};

static void *visit_main(void *arg)
{
    struct visit *v = arg;
    pthread_setname_np(pthread_self(), "gs-netns");
    /* O_NONBLOCK: should the path be a FIFO, opening it would wait for a writer. */
    int fd;
    do {
        fd = gsi_sys.open(v->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        v->error = fd < 0 ? gsi_errno() : 0;
    } while (v->error == -EINTR);
    if (fd < 0)
        return NULL;
    v->step = ENTERING;
    int e = gsi_sys.setns(fd, CLONE_NEWNET);
    if (e < 0)
        v->error = gsi_errno();
    gsi_sys.close(fd);
    if (e == 0) {
        v->step = DONE;
        v->fn(v->arg);
    }
    return NULL;
}

/* The detail belongs to the thread that asked. */
static int visit_failed(const struct visit *v)
{
    char path[GSI_QUOTE_MAX];
    gsi_quote(path, sizeof path, v->path);
    int e = v->error;
    if (v->step == OPENING && e == -ENOENT)
        return gsi_fail(e, "no network namespace at %s: `ip netns add NAME` makes one at /run/netns/NAME, and that of a "
                           "process is /proc/PID/ns/net", path);
    if (v->step == OPENING)
        return gsi_fail(e, "the network namespace %s cannot be opened: %s", path, gs_error_text(e));
    if (e == -EPERM)
        return gsi_fail(e, "may not enter the network namespace %s: that takes CAP_SYS_ADMIN here and in the user namespace "
                           "that owns it (run as root, or `setcap cap_sys_admin+ep` the program)", path);
    if (e == -EINVAL)
        return gsi_fail(e, "%s is not a network namespace; one looks like /run/netns/NAME or /proc/PID/ns/net", path);
    return gsi_fail(e, "the network namespace %s cannot be entered: %s", path, gs_error_text(e));
}

int gsi_netns_run(const char *path, void (*fn)(void *arg), void *arg)
{
    struct visit v = {.path = path, .fn = fn, .arg = arg};
    pthread_t thread;
    int e = gsi_sys.thread_create(&thread, visit_main, &v);
    if (e != 0)
        return gsi_fail(GS_ESYSLIMIT, "no thread to enter the network namespace with (%s)", gs_error_text(-e));
    pthread_join(thread, NULL);
    return v.step == DONE ? 0 : visit_failed(&v);
}

struct request {
    int domain, type, protocol;
    int result;
};

static void make_socket(void *arg)
{
    struct request *r = arg;
    int fd = gsi_sys.socket(r->domain, r->type | SOCK_CLOEXEC | SOCK_NONBLOCK, r->protocol);
    r->result = fd < 0 ? gsi_errno() : fd;
}

static int socket_failed(int e, const struct request *r)
{
    switch (e) {
    case -EMFILE:
        return gsi_fail(e, "this process has no descriptor left for a socket: raise `ulimit -n`, or close some");
    case -ENFILE:
        return gsi_fail(e, "this machine has no file left for a socket: raise sysctl fs.file-max");
    case -EAFNOSUPPORT:
        return gsi_fail(e, "this kernel has no address family %d", r->domain);
    case -EPROTONOSUPPORT:
    case -ESOCKTNOSUPPORT:
        return gsi_fail(e, "address family %d has no sockets of type %d with protocol %d", r->domain, r->type, r->protocol);
    case -EPERM:
    case -EACCES:
        return gsi_fail(e, "may not make a socket of type %d in family %d (raw and packet sockets take CAP_NET_RAW)",
                        r->type, r->domain);
    default:
        return gsi_fail(e, "socket(%d, %d, %d): %s", r->domain, r->type, r->protocol, gs_error_text(e));
    }
}

int gsi_net_socket(const char *netns, int domain, int type, int protocol)
{
    struct request r = {.domain = domain, .type = type, .protocol = protocol};
    if (netns) {
        int e = gsi_netns_run(netns, make_socket, &r);
        if (e < 0)
            return e;
    } else {
        make_socket(&r);
    }
    return r.result < 0 ? socket_failed(r.result, &r) : r.result;
}
