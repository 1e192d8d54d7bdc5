/* socket.h: what the files of this folder share; nobody else includes it.
 *
 * A socket is a source (mailbox/mailbox.h): everything of it is under its object's lock. System calls on its descriptor never
 * block and are made with the lock held, so the descriptor cannot be closed or reused under them; calls that must wait leave
 * the lock by gsi_wait. close.c ends a socket, select.c has the queues.
 */
#ifndef GSI_SOCKET_H
#define GSI_SOCKET_H

#include "base/handle.h"
#include "gensock/socket.h"
#include "mailbox/mailbox.h"

/* The directions that callers queue for. */
enum gsi_queue_name { GSI_Q_READ, GSI_Q_WRITE, GSI_Q_ACCEPT, GSI_Q_CONNECT, GSI_QUEUES };

/* A call that waits. A blocking one is on its caller's stack, a nowait one allocated and the queue's. */
struct gsi_caller {
    struct gsi_caller *prev, *next;
    int event_fd;          /* blocking: what wakes it */
    uint32_t events;       /* EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLERR: what it waits for */
    uint64_t mailbox, ref; /* nowait; mailbox 0: blocking */
    struct gsi_note *note; /* nowait: its message; NULL: sent */
};

struct gsi_queue {
    struct gsi_caller *head, *tail;
    size_t n;
    uint64_t armed;        /* the mailbox that watches the descriptor for the head, 0: none */
    uint32_t armed_events;
};

struct gsi_monitor {
    struct gsi_monitor *next;
    uint64_t mailbox, ref;
    struct gsi_note *note;
};

struct gsi_counts {
    uint64_t byte, pkg, pkg_max, tries, waits, fails;
};

/* All of it: under the object's lock. */
struct gsi_socket {
    struct gsi_source source;
    uint64_t id;
    int fd;
    int domain, type, protocol;
    unsigned state; /* GS_SOCKET_ bits */
    bool borrowed, registered, debug, iow;
    bool failed_connect; /* told by SO_ERROR: the kernel's next connect(2) is lost on telling it again */
    struct gsi_queue q[GSI_QUEUES];
    struct gsi_monitor *monitors;
    struct gsi_counts count[GSI_QUEUES], sendfile;
    void *meta;
    unsigned rcvbuf_count;
    size_t rcvbuf, rcvctrlbuf, sndctrlbuf; /* 0: no limit */
};

static inline int gsi_socket_lock(gs_socket h, struct gsi_socket **out)
{
    return gsi_lock(GSI_SOCKET, h.id, out);
}
static inline void gsi_socket_unlock(struct gsi_socket *s) { gsi_unlock(&s->source.object); }

/* ---- select.c: one call from its attempt to its end ---- */

struct gsi_op {
    const char *name; /* for the trace */
    enum gsi_queue_name queue;
    uint32_t events;
    /* One attempt, socket locked. -EAGAIN: wait and try again; else the result. Bytes moved so far are in `done`. Never
     * -EINTR. */
    ssize_t (*try)(struct gsi_socket *s, struct gsi_op *op);
    size_t done;
    bool continues; /* this wait has tried before: set by run for nowait calls, by connect */
    bool resume; /* connect(NULL): continues whatever nowait call is at the head */
    bool alone;  /* connect: does not queue: -EALREADY */
    bool backoff; /* set by try: readiness would lie, look again by time; nowait: -EAGAIN is the answer */
    uint64_t id; /* the socket's; for the trace */
};

/* Looks the socket up, queues, tries, waits. op->try's result, or op->done when it is not 0 and the time is over, a select is
 * pending, or an error came; GS_ETIMEOUT, GS_ESELECT, GS_ECLOSED … */
GS_MUST_USE ssize_t gsi_socket_run(gs_socket h, struct gsi_op *op, gs_wait *w);

extern const struct gsi_source_ops gsi_socket_ops;

/* Socket locked and killed: every nowait call gets its abort, every monitor its message, no mailbox watches any more. */
void gsi_socket_abort_all(struct gsi_socket *s);

/* ---- close.c ---- */

/* Socket locked: ends it whole and unlocks. 0 or the kernel's complaint. */
int gsi_socket_end(struct gsi_socket *s);
/* The mailbox is gone: its monitors go too. Socket locked. */
void gsi_monitors_forget(struct gsi_socket *s, uint64_t mailbox);

/* ---- open.c ---- */

struct gsi_socket_seed {
    int fd, domain, type, protocol;
    unsigned state;
    bool borrowed, registered;
};
/* A new socket around fd, locked, without owner. NULL: no memory (fd stays the caller's). */
struct gsi_socket *gsi_socket_new(const struct gsi_socket_seed *seed);
/* Socket locked. otp:controlling_process. */
GS_MUST_USE int gsi_socket_give(struct gsi_socket *s, gs_mailbox to);

/* ---- registry.c ---- */

void gsi_registry_count(int change);
bool gsi_registry_default(void);

/* ---- recv.c, send.c ---- */

/* Adds one attempt's result to the counts; answers it. -EAGAIN counts as a wait. */
ssize_t gsi_count(struct gsi_counts *c, ssize_t result);

/* ---- options.c ---- */

enum gsi_value_form {
    GSI_FORM_NONE, GSI_FORM_INT, GSI_FORM_BOOL, GSI_FORM_LINGER, GSI_FORM_TIMEVAL, GSI_FORM_TEXT, GSI_FORM_IN_ADDR,
    GSI_FORM_MREQ, GSI_FORM_MREQ_SOURCE, GSI_FORM_MREQ6, GSI_FORM_BYTES, GSI_FORM_CRED,
    GSI_FORM_PKTINFO, GSI_FORM_PKTINFO6, GSI_FORM_SOCKADDR, GSI_FORM_ERROR, GSI_FORM_FDS
};
enum { GSI_CAN_GET = 1, GSI_CAN_SET = 2, GSI_CAN_BOTH = 3 };

struct gsi_sockopt {
    const char *name; /* "ip:tos" */
    enum gsi_value_form form;
    int can;
    int level, number; /* number -1: not on this system, or of the otp level */
};
extern const struct gsi_sockopt gsi_sockopts[];
extern const size_t gsi_sockopts_n;
const struct gsi_sockopt *gsi_sockopt_find(const char *name);
/* Socket locked. */
GS_MUST_USE int gsi_otp_set(struct gsi_socket *s, const char *name, const gs_value *v);
GS_MUST_USE int gsi_otp_get(const struct gsi_socket *s, const char *name, gs_value *v);

/* ---- value.c: typed values as the kernel's bytes ---- */

enum { GSI_VALUE_MAX = 1100 }; /* the longest: 253 descriptors, an extended error */

/* The kind that a form takes. */
gs_value_kind gsi_value_kind(enum gsi_value_form form);
/* Answers the length in p (GSI_VALUE_MAX bytes, or the caller's own by *from); -EINVAL; GS_EINVALID: another kind. */
GS_MUST_USE int gsi_value_encode(enum gsi_value_form form, const gs_value *v, void *p);
/* 0; -EINVAL: n is not the form's length. */
GS_MUST_USE int gsi_value_decode(enum gsi_value_form form, const void *p, size_t n, gs_value *v);

/* ---- msg.c ---- */

struct gsi_cmsg_type {
    const char *name;
    enum gsi_value_form form;
    int level, type;      /* of a received one */
    int send;             /* the type to send it as, -1: receive only */
};
extern const struct gsi_cmsg_type gsi_cmsg_types[];
extern const size_t gsi_cmsg_types_n;

#endif
