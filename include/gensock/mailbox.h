/* gensock/mailbox.h: what a process is in Erlang: the owner of streams, and the place where their messages go.
 *
 * A mailbox is also the event engine: gs_receive waits, reads, deframes and writes for the streams that it owns, in the
 * calling thread, and returns one message. There is no hidden thread behind it and no queue between it and the kernel.
 *
 *     gs_msg m;
 *     while (gs_receive(mb, &m, GS_INFINITY) == 0)
 *         if (m.kind == GS_MSG_DATA)
 *             gs_stream_send(m.stream, m.packet.data.p, m.packet.data.n);
 *
 * The views inside a message (packet bytes, posted bytes) live until the next gs_receive or gs_receive_from on the same
 * mailbox, also when its stream closes meanwhile, and end with the mailbox; gs_msg_keep makes one that lives longer.
 *
 * Threads: one thread receives at a time (a second gets -EALREADY); a mailbox may be received from by another thread later.
 * The time from one gs_receive to the next on that thread is the mailbox's turn. Every other call: any thread.
 */
#ifndef GENSOCK_MAILBOX_H
#define GENSOCK_MAILBOX_H

#include <gensock/error.h>
#include <gensock/packet.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    GS_MSG_DATA = 1, /* {tcp, S, Data}: stream, packet */
    GS_MSG_PASSIVE,  /* {tcp_passive, S}: {active, N} reached 0 */
    GS_MSG_CLOSED,   /* {tcp_closed, S} */
    GS_MSG_ERROR,    /* {tcp_error, S, Reason}: error; closed follows */
    GS_MSG_ACCEPT,   /* stream: the listener; fresh: the connection, owned by this mailbox; or error < 0 and no fresh */
    GS_MSG_CONNECT,  /* a nowait connect ended: error is 0, or the stream is closed */
    GS_MSG_UPGRADE,  /* a nowait upgrade or handshake ended: error is 0, or the stream is closed */
    GS_MSG_DRAINED,  /* the queue of a stream whose send answered -EAGAIN is below low_watermark */
    GS_MSG_SELECT,   /* {'$socket', S, select, Ref}: socket, ref: try the call again */
    GS_MSG_ABORT,    /* {'$socket', S, abort, {Ref, Reason}}: socket (or stream: the listener of a nowait accept), ref, error */
    GS_MSG_DOWN,     /* a monitored stream or socket closed: ref, error = why */
    GS_MSG_TIMER,    /* ref, user */
    GS_MSG_POST,     /* gs_post: post */
    GS_MSG_TAILNET,  /* an event of a tailnet node: post.tag, post.body its text */
} gs_msg_kind;

typedef struct {
    uint32_t tag;
    gs_bytes body;
} gs_posted;

typedef struct {
    gs_msg_kind kind;
    int error;
    gs_stream stream;
    gs_socket socket;
    gs_stream fresh;
    uint64_t ref;
    void *user; /* the stream's GS_OPT_USER; the timer's user */
    union {
        gs_packet packet;
        gs_posted post;
    };
    void *block; /* gs_msg_keep's */
} gs_msg;

/* A new mailbox. 0, -ENOMEM, -EMFILE, -ENFILE, GS_ESYSLIMIT. */
GS_API GS_MUST_USE int gs_mailbox_new(gs_mailbox *out);

/* Ends a mailbox and closes what it owns, as the death of an owner does. A thread inside gs_receive on it wakes with
 * GS_ECLOSED, and the call waits for it; in the mailbox's own turn it is allowed. 0; GS_ECLOSED, GS_EBADARG. */
GS_API int gs_mailbox_free(gs_mailbox mb);

/* A descriptor that is readable whenever gs_receive(mb, &m, 0) has something to do: buffered frames, timers and posts
 * included. For epoll, poll, libuv or GLib; the mailbox keeps it, never read or close it. One message a wake-up is enough.
 * Or GS_ECLOSED, GS_EBADARG, -EMFILE (the first call makes a timer descriptor). */
GS_API GS_MUST_USE int gs_mailbox_fd(gs_mailbox mb);

/* Waits for one message, doing the I/O of the owned streams meanwhile. 0: *m is filled. GS_ETIMEOUT. GS_ECLOSED: the mailbox
 * is freed. -EALREADY: another thread receives. GS_EBADARG. -ENOMEM: nothing is lost, call again. GS_NOWAIT counts as 0. */
GS_API GS_MUST_USE int gs_receive(gs_mailbox mb, gs_msg *m, int timeout_ms);

/* Erlang's selective receive: only messages about this stream, or (ref) with this reference: a select, abort, accept, down
 * or timer message. Everything else waits where it is; other streams' bytes stay in the kernel. Errors as gs_receive. */
GS_API GS_MUST_USE int gs_receive_from(gs_mailbox mb, gs_stream s, gs_msg *m, int timeout_ms);
GS_API GS_MUST_USE int gs_receive_ref(gs_mailbox mb, uint64_t ref, gs_msg *m, int timeout_ms);

/* A copy of a message that outlives the views: *kept is m with its bytes in one allocated block. 0, -ENOMEM, GS_EBADARG.
 * gs_msg_drop gives the block back. */
GS_API GS_MUST_USE int gs_msg_keep(const gs_msg *m, gs_msg *kept);
GS_API void gs_msg_drop(gs_msg *kept);

/* Puts a message of the caller's own into the mailbox; any thread. gs_post copies n bytes. gs_post_take hands p over:
 * free_fn(p), if not NULL, is called once when the message is done (at the next gs_receive, when the mailbox ends, and also
 * when the call fails). 0; GS_ECLOSED, GS_EBADARG; -ENOMEM; -EAGAIN: the mailbox holds `limit` posts already. */
GS_API GS_MUST_USE int gs_post(gs_mailbox mb, uint32_t tag, const void *p, size_t n);
GS_API GS_MUST_USE int gs_post_take(gs_mailbox mb, uint32_t tag, void *p, size_t n, void (*free_fn)(void *));
/* For who extends the library: a GS_MSG_TAILNET message, its `ref` and bytes copied. Codes as gs_post's. */
GS_API GS_MUST_USE int gs_post_event(gs_mailbox mb, uint32_t tag, uint64_t ref, const void *p, size_t n);
/* How many posts a mailbox holds at most; 65,536 at first; 0 = no limit. */
GS_API GS_MUST_USE int gs_mailbox_set_limit(gs_mailbox mb, size_t limit);

/* erlang:send_after/3: after after_ms (>= 0) a GS_MSG_TIMER with *ref and user. Never early. Any thread. 0, GS_ECLOSED,
 * GS_EBADARG, -ENOMEM. */
GS_API GS_MUST_USE int gs_timer_start(gs_mailbox mb, int after_ms, void *user, uint64_t *ref);
/* erlang:cancel_timer/1: the milliseconds that were left (>= 0): its message will not come. GS_EINVALID: no such timer, or
 * its message is already in the mailbox or delivered. */
GS_API int gs_timer_cancel(gs_mailbox mb, uint64_t ref);

/* erlang:make_ref/0: a number not used before in this process; never 0. */
GS_API uint64_t gs_make_ref(void);

#ifdef __cplusplus
}
#endif
#endif
