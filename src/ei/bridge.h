/* bridge.h: what the files of this folder share.
 *
 *   callbacks.c  ei's table, and gs_ei_stream                     box.c      sockets of ei: contexts, life, descriptors
 *   options.c    the options of the streams that the table opens  input.c    bytes and connections that wait above a descriptor
 *   address.c    what gensock address an address of ei's is       thread.c   a thread's next address and last error
 *   plain.c      kernel sockets without a timeout
 *   seam.c       the kernel and malloc                            epmd.c     questions to epmd; epmd_wire.c: how they are written
 *
 * They stand on gensock's public headers and on ei.h alone. The other way, from a table to a transport, is reverse.h.
 */
#ifndef GSI_EI_BRIDGE_H
#define GSI_EI_BRIDGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "ei/seam.h"
#include "gensock/ei.h"

/* ---- address.c ---- */
/* Into out, GS_EI_ADDRESS_MAX bytes. setup may be NULL. 0, or an error with its detail. */
GS_MUST_USE int gsi_ei_address(const gs_ei_setup *setup, const struct sockaddr_in *in, bool listens, char *out);

/* ---- thread.c ---- */
/* Takes the address that gs_ei_next gave, "" where there is none. out: GS_EI_ADDRESS_MAX bytes. */
void gsi_ei_take_next(char *out);
/* Keeps a failing callback's code for gs_ei_error, and answers what ei understands of it: a positive errno. */
int gsi_ei_failed(int code);
/* 0; there is no failure to tell of any more. */
int gsi_ei_succeeded(void);

/* ---- options.c ---- */
/* The bridge's own options with the setup's behind them, in memory of gsi_ei_sys. backlog < 0: to connect. *out; -EINVAL: the
 * setup has one that is the bridge's own; -ENOMEM. */
GS_MUST_USE int gsi_ei_options(const gs_ei_setup *setup, const char *address, int backlog, gs_opt **out);
/* What ei sets on its own sockets once two nodes know each other, unless the setup says otherwise. */
GS_MUST_USE int gsi_ei_options_after_handshake(gs_stream s, const gs_opt *of_setup);

/* ---- box.c ---- */
/* A socket of ei. ei knows it by a context, which is no pointer but descriptor and generation: a context that is closed, or never
 * was one, is told apart at once. Boxes lie in memory that is never given back, at the place of their descriptor.
 *
 * The descriptor exists from the socket callback on and keeps its number. What shows there:
 *   PLAIN   a connection that is a kernel socket and nothing else: another descriptor of it, in blocking mode as ei has them
 *   BESIDE  an epoll set with the stream's own descriptor in it and the bell, an eventfd that rings while something waits above
 *   MAIL    the stream has no descriptor: an epoll set with the descriptor of a mailbox that owns it, and the bell
 *
 * Threads: one reads, several may write, any may close. `word` counts who is inside; the last one out gives everything back. */
enum gsi_ei_role { GSI_EI_FRESH, GSI_EI_CONNECTION, GSI_EI_LISTENER };
enum gsi_ei_way { GSI_EI_PLAIN, GSI_EI_BESIDE, GSI_EI_MAIL };

struct gsi_ei_box {
    _Atomic uint64_t word;    /* generation (high 32), open, how many are inside */
    _Atomic uint64_t stream;  /* its id; 0: FRESH */
    _Atomic int in_kernel;    /* plain.c: who waits there */
    _Atomic bool reading;     /* somebody reads or accepts: the fields of input.c are theirs */
    uint8_t role, way;        /* set before anybody but the opener knows the descriptor */
    int fd;
    const gs_ei_setup *setup;
    char *address;            /* gs_ei_next's, or NULL */

    _Atomic bool writing;
    _Atomic int writers;      /* that wait for it to end */
    pthread_mutex_t mutex;
    pthread_cond_t written;   /* on the monotonic clock */
    int send_timeout;         /* what the stream's option is set to: who is writing knows */
    struct gsi_ei_handshake *handshakes; /* of a listener, under mutex: accepted, and not through them yet */

    /* input.c; BESIDE and MAIL */
    int bell;                 /* -1: none */
    bool rings, armed;
    gs_mailbox mailbox;       /* MAIL */
    uint8_t *ahead;           /* read and not asked for yet: ahead[ahead_at..ahead_end) */
    size_t ahead_at, ahead_end;
    int ended;                /* why nothing comes any more; 0: something may */
    gs_stream waiting;        /* a connection that a MAIL listener has accepted, with its mailbox */
    gs_mailbox waiting_mailbox;
};

/* A FRESH box, open, and the caller inside. 0, -ENOMEM, -EMFILE …, GS_ESYSLIMIT. */
GS_MUST_USE int gsi_ei_box_new(struct gsi_ei_box **out, const gs_ei_setup *setup);
void *gsi_ei_box_ctx(const struct gsi_ei_box *b);
/* Enters by context, or by descriptor; NULL: not ours, or closed. */
struct gsi_ei_box *gsi_ei_box_enter(void *ctx);
struct gsi_ei_box *gsi_ei_box_enter_fd(int fd);
bool gsi_ei_box_is_open(const struct gsi_ei_box *b);
void gsi_ei_box_leave(struct gsi_ei_box *b);
/* Inside, FRESH. Gives the box its stream, which it takes, also on failure; mailbox: of a stream that is owned already. */
GS_MUST_USE int gsi_ei_box_settle(struct gsi_ei_box *b, gs_stream s, gs_mailbox mailbox, enum gsi_ei_role role);
/* Inside a listener: gs_stream_handshake of what it has accepted, which its close ends too. */
GS_MUST_USE int gsi_ei_box_handshake(struct gsi_ei_box *listener, gs_stream s, int timeout_ms);
/* Inside. Ends it: whoever waits inside wakes. False: somebody else did. */
bool gsi_ei_box_close(struct gsi_ei_box *b);
static inline gs_stream gsi_ei_box_stream(struct gsi_ei_box *b) { return (gs_stream){atomic_load(&b->stream)}; }

/* ---- plain.c; inside, PLAIN ---- */
/* The bytes, at least one; read: 0: the peer's end. -EAGAIN: the stream can do it. */
GS_MUST_USE ssize_t gsi_ei_plain_read(struct gsi_ei_box *b, void *p, size_t n);
GS_MUST_USE ssize_t gsi_ei_plain_write(struct gsi_ei_box *b, const struct iovec *iov, int n);
/* The box is closed: who waits in the kernel comes out. */
void gsi_ei_plain_wake(struct gsi_ei_box *b);

/* ---- input.c; inside, and `reading` is the caller's ---- */
/* The bytes copied, as soon as there are any; 0: the peer's end. GS_ETIMEOUT, or why not. */
GS_MUST_USE ssize_t gsi_ei_input_read(struct gsi_ei_box *b, void *p, size_t n, int timeout_ms);
/* A connection, and the mailbox that owns it or none. */
GS_MUST_USE int gsi_ei_input_accept(struct gsi_ei_box *b, gs_stream *out, gs_mailbox *mailbox, int timeout_ms);
/* Nobody is inside any more. */
void gsi_ei_input_free(struct gsi_ei_box *b);
/* The bell says what there is, for a box that has just got its stream. */
void gsi_ei_input_begin(struct gsi_ei_box *b);

#endif
