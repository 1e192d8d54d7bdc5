/* stream.h: the stream as the files of this folder share it.
 *
 *   open.c     listen, connect, import: from an address to a stream      opening.c  the steps of a connect, accept, handshake, upgrade
 *   accept.c   accept, blocking, nowait and by messages                  input.c    received and undelivered bytes, frames
 *   active.c   what the mailbox sees: serve, next, park, mute            recv.c     recv, unrecv
 *   send.c     send, sendv, sendfile, flush                              output.c   the queue: cork, write, stuck
 *   flusher.c  the thread that finishes output whose owner is away       close.c    close, shutdown, export
 *   owner.c    controlling_process                                       options.c  setopts, getopts
 *   info.c     names, peer, statistics, monitors                         io.c       readiness of transports without descriptor
 *
 * Everything in struct stream is under its object's lock, but while `reader` is set the input (rx …) belongs to the thread
 * inside gs_stream_recv. Frames claimed by the owner's mailbox (gsi_hot) belong to the owner's turn.
 */
#ifndef GSI_STREAM_H
#define GSI_STREAM_H

#include "base/clock.h"
#include "base/error.h"
#include "base/handle.h"
#include "base/seam.h"
#include "base/wait.h"
#include "gensock/stream.h"
#include "mailbox/mailbox.h"
#include "packet/packet.h"
#include "transport/transport.h"

/* Options that a listener's connections share; replaced as a whole when one of them changes its own. */
struct profile {
    _Atomic uint32_t refs;
    gs_decoder decoder; /* packet, packet_size, buffer (line_length), line_delimiter */
    size_t high, low;
    uint32_t header, buffer;
    int send_timeout, handshake_timeout;
    int linger_seconds; /* -1: off */
    bool delay_send, direct, send_timeout_close, exit_on_close, show_econnreset;
    int64_t unused[5]; /* options without effect: deliver, mode, exclusiveaddruse, msgq watermarks */
    gs_debug_fn *debug;
    void *debug_arg;
};

/* Bytes to send. Data in d[at..end), with pieces of the owner's hot buffer in between (only while its batch runs). */
enum { OUTPUT_REFS = 16 };
struct output {
    size_t at, end, cap;
    size_t ref_bytes;
    uint32_t refs;
    struct {
        size_t at;
        const uint8_t *p;
        size_t n;
    } ref[OUTPUT_REFS];
    uint8_t d[];
};

/* inet:getstat: the mean is oct / cnt. */
struct stat_counters {
    uint64_t recv_oct, send_oct;
    uint32_t recv_cnt, send_cnt, recv_max, send_max;
    float recv_mean, recv_deviations;
};

enum state { OPENING, OPEN, LISTENING }; /* LISTENING: more->listener is there */
enum eof { NOT_ENDED, END_SEEN, END_TOLD };

struct opening;
struct stream_io;

/* A layer's lower part. */
struct layer {
    struct gs_io io;
    const struct gs_transport *t; /* of the layer itself */
    void *ctx;
};

struct monitor {
    struct monitor *next;
    uint64_t mailbox, ref;
    struct gsi_note *note;
};

/* A nowait accept that waits. */
struct pending_accept {
    struct pending_accept *next;
    uint64_t mailbox;
    struct gsi_note *note; /* carries ref */
};

struct listener {
    struct gsi_stack stack; /* rest points into address */
    char *address;
    gs_opt *opts;
    int accept_mode; /* GS_OPT_ACCEPT */
    bool resting;    /* an accept failed: no messages until its timer */
    struct pending_accept *accepts;
};

/* What few streams have. */
struct more {
    struct opening *opening;
    struct stream_io *io;      /* base transports without a kernel socket */
    const struct gs_transport *base;
    void *base_ctx;
    struct layer *layer; /* [0] is next to the base */
    int layers;
    struct monitor *monitors;
    struct listener *listener;
};

struct stream {
    struct gsi_source source;
    const struct gs_transport *t; /* the top of the stack */
    void *ctx;
    struct profile *profile;
    struct more *more; /* NULL: a plain connection */
    void *user;
    struct output *out;
    uint8_t *rx; /* undelivered input rx[rx_at..rx_end): in memory of the owner's turn (hot) or the stream's own */
    uint32_t rx_at, rx_end, rx_cap;
    int fd;
    int32_t active; /* GS_ACTIVE_FALSE, _TRUE, _ONCE, or how many messages are left; told by mode_of */
    int16_t error;  /* why it ended: told before closed */
    int16_t send_error;
    struct stat_counters stat;
    uint8_t armed; /* EPOLLIN, EPOLLOUT in the owner's set; 0: not in it */
    uint8_t state, eof, packet_now;
    bool hot : 1, reader : 1, reading : 1, writer : 1, stuck : 1, in_flusher : 1, tell_passive : 1, tell_drained : 1, want_drained : 1,
        tell_open : 1, shut_pending : 1, shut_write : 1, corked : 1, delayed : 1, cut : 1;
};

extern const struct gsi_source_ops gsi_stream_ops;

/* The last frame of {active, once} is claimed and the owner has not received it. */
static inline bool once_waits(const struct stream *s)
{
    const struct gsi_mailbox *mb = s->source.owner;
    return mb && atomic_load_explicit(&mb->hot.once, memory_order_relaxed) == gsi_id(GSI_STREAM, &s->source.object);
}
static inline int32_t mode_of(const struct stream *s)
{
    return s->active == GS_ACTIVE_FALSE && once_waits(s) ? GS_ACTIVE_ONCE : s->active;
}
static inline bool is_active(const struct stream *s) { return mode_of(s) != GS_ACTIVE_FALSE; }
static inline bool is_count(const struct stream *s) { return s->active < GS_ACTIVE_FALSE; }
static inline uint32_t rx_len(const struct stream *s) { return s->rx_end - s->rx_at; }
/* Something is queued, or the transport holds back what it took. */
static inline bool has_output(const struct stream *s) { return s->out || s->stuck; }
static inline size_t out_len(const struct stream *s) { return s->out ? s->out->end - s->out->at + s->out->ref_bytes : 0; }

_Static_assert(sizeof(struct stream) <= 192, "an idle connection is this and nothing else");

static inline size_t total_of(const struct iovec *iov, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    return total;
}

/* The owner's turn is the caller's. */
static inline bool in_turn(const struct stream *s) { return s->source.owner && gsi_in_turn(s->source.owner); }

static inline int stream_lock(gs_stream h, struct stream **out) { return gsi_lock(GSI_STREAM, h.id, out); }
static inline void stream_unlock(struct stream *s) { gsi_unlock(&s->source.object); }

/* stream.c */
void stream_init_once(void);
/* A locked stream without transport; NULL: no memory. Takes a reference of profile. */
struct stream *stream_new(uint64_t *id, struct profile *profile);
struct more *stream_more(struct stream *s); /* makes it; NULL: no memory */
void stream_trim(struct stream *s);         /* gives it back when nothing is in it */
struct profile *profile_new(void);
struct profile *profile_ref(struct profile *p);
void profile_unref(struct profile *p);
/* Locked. Watches for events (EPOLLIN, EPOLLOUT) in the owner's set; 0 takes it out. */
int stream_arm(struct stream *s, uint64_t id, uint32_t events);
/* Locked, owned. The kernel had no memory for a watch, and nobody can be told: the owner serves the stream again soon. */
void stream_look_again(struct stream *s, uint64_t id);
/* Locked. Waits (wait.h) for the descriptor or, without one, for the transport's word; events 0: for a wake only. */
int stream_wait(struct stream *s, short events, uint64_t deadline_ns);
/* Bytes readable above the descriptor. */
size_t stream_buffered_above(struct stream *s);
static inline bool descriptorless(const struct stream *s) { return s->fd < 0; }
/* Why a call on a stream that ended answers: closed, or econnreset where it shall show. */
int stream_end_code(const struct stream *s, int error);
/* The trace, with no lock held: pass on what was read under the lock. */
struct trace {
    gs_debug_fn *fn;
    void *arg;
};
static inline struct trace stream_trace(const struct stream *s)
{
    return (struct trace){s->profile->debug, s->profile->debug_arg};
}
void trace_line(struct trace t, uint64_t id, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* input.c */
struct frame {
    const uint8_t *start;
    gs_bytes body;
    size_t used;
    size_t more; /* next_frame answered 0: the total wanted, 0 unknown */
};
/* 1: a frame; 0: more is needed; -EMSGSIZE: malformed or too long. Does not consume. */
int next_frame(const struct stream *s, struct frame *f);
/* Consumes a frame: what follows it, statistics, the http mode. Fills in packet (views into the frame). */
void take_frame(struct stream *s, const struct frame *f, gs_packet *packet);
/* The mean that deviations are taken from is renewed now and then: a division for each packet would be felt. */
static inline void count_received(struct stream *s, size_t n)
{
    struct stat_counters *c = &s->stat;
    c->recv_oct += n;
    if (n > c->recv_max)
        c->recv_max = (uint32_t)n;
    if ((c->recv_cnt++ & 31) == 0)
        c->recv_mean = (float)c->recv_oct / (float)c->recv_cnt;
    float deviation = (float)n - c->recv_mean;
    c->recv_deviations += deviation < 0 ? -deviation : deviation;
}
/* Room for `room` more bytes in memory of the stream's own. -ENOMEM: nothing changed. */
int input_reserve(struct stream *s, size_t room);
/* Out of the owner's hot memory into the stream's own. -ENOMEM: nothing changed. */
int input_stash(struct stream *s);
void input_drop(struct stream *s);
/* Gives claimed, undelivered frames back to the input; in the owner's turn, else nothing. -ENOMEM: nothing changed. GS_ECLOSED:
 * the stream died while a recv elsewhere was let finish its read. */
int input_unclaim(struct stream *s, uint64_t id);
/* Notes an end or an error of reading: 0 = the peer's end, or a code. */
void input_ended(struct stream *s, int error);
/* How many bytes the next read should aim at in all: for a long frame its size, grown with what has come. */
size_t input_goal(const struct stream *s);

/* output.c */
/* Locked. Appends; -ENOMEM: nothing taken. */
int output_append(struct stream *s, const struct iovec *iov, int n);
int output_add_ref(struct stream *s, const void *p, size_t n);
/* Locked. Writes queue and then iov. Whatever cannot go is queued (and the stream then is stuck). 0, or the stream's end. */
int output_write(struct stream *s, uint64_t id, const struct iovec *iov, int n);
/* Locked. Writes the queue. */
static inline int output_flush(struct stream *s, uint64_t id) { return output_write(s, id, NULL, 0); }
/* Locked. Does the transport hold back some of what it took? 1, 0, or why it will never go. */
int output_held(struct stream *s);
/* Locked. A read or a shutdown may leave something to write (a TLS key update, a goodbye): sees that it goes. */
void output_see_held(struct stream *s, uint64_t id);
/* Stuck, and its owner is not told of room: the kernel had no memory for the watch. */
static inline bool output_unwatched(const struct stream *s) { return s->stuck && !(s->armed & EPOLLOUT) && !descriptorless(s); }
/* Locked, owned, stuck. Watches for room; while that fails the owner looks again. */
void output_watch(struct stream *s, uint64_t id);
/* Locked. Ends the cork of the running batch: everything that points into the owner's memory leaves or is copied. */
void output_uncork(struct stream *s, uint64_t id);
/* Locked. The same, with iov behind it; as output_write. */
int output_write_behind(struct stream *s, uint64_t id, const struct iovec *iov, int n);
void output_free(struct stream *s);

/* flusher.c */
void flusher_watch(struct gsi_mailbox *mb);
/* Locked. Takes a killed stream that still has output; false: it cannot. */
bool flusher_take(struct stream *s, uint64_t id);
/* Locked. Finishes what the transport of a living stream without owner holds back; false: it cannot. */
bool flusher_help(uint64_t id);
void flusher_forget(struct stream *s, uint64_t id); /* locked: out of its set */
void flusher_poke(void);

/* close.c */
/* Locked, live. Ends the stream for everybody; unlocks. reason: what monitors are told. */
void stream_close_locked(struct stream *s, uint64_t id, int reason);
/* Locked, killed, no pins, nothing to send: the transport closes, the place is free; unlocks. */
void stream_destroy(struct stream *s, bool reset);
/* Closes all layers and the base, top first; the stream then has no transport. */
void stream_close_transport(struct stream *s, bool reset);
int stream_shutdown_now(struct stream *s, gs_how how);

/* opening.c */
/* What the end of it is told as: a CONNECT or UPGRADE message, or nothing (a blocking call, an accepted connection). */
struct opening {
    gs_msg_kind tell;
    bool server, handshaking, looking_up, fd_taken, timer_set;
    struct gsi_stack stack; /* rest points into address */
    char *address, *host;   /* host: with GS_T_HOST */
    uint16_t port;
    gs_opt *opts;
    gs_addr *addr; /* to be tried in turn */
    int n, at;
    int layers_left; /* of stack, outermost last */
    int error;
    uint64_t handshake_by; /* when the layers' handshakes must be over; 0: none has begun */
    uint64_t stream, request;
};
/* Locked. Prepares OPENING by an address (copied) and options (copied). takes_fd: it owns the descriptor that they
 * name, also on failure; else that is a listener's. */
GS_MUST_USE int opening_new(struct stream *s, uint64_t id, const char *address, const gs_opt *opts, bool takes_fd);
int opening_check(const struct opening *o);
/* Locked. Finds the addresses of the host, in the background if it takes time (looking_up; a wake and a serve tell the end). */
GS_MUST_USE int opening_look_up(struct stream *s);
/* The network namespace that a list of options names, or NULL. */
const char *netns_of(const gs_opt *opts);
/* Locked, OPENING. One step: 0 done (state is OPEN), GS_EWANT_READ, GS_EWANT_WRITE, GS_ESELECT (a look-up runs), or the error. */
int opening_step(struct stream *s, uint64_t id);
/* Locked. Steps until the end or the deadline, waiting. */
int opening_finish(struct stream *s, uint64_t id, uint64_t deadline_ns);
/* Locked, in the owner's set or ready list. One step for a nowait call. */
void opening_advance(struct stream *s, uint64_t id);
void opening_free(struct stream *s);
bool opening_said(struct stream *s, uint64_t id, gs_msg *m);

/* accept.c */
/* Locked listener, something may wait. True: *m is an accept message. */
bool accept_serve(struct stream *s, uint64_t id, struct gsi_mailbox *mb, uint32_t events, gs_msg *m);
/* Only the nowait accepts of this mailbox; they end in notes. */
void accept_muted(struct stream *s, uint64_t id, struct gsi_mailbox *mb, uint32_t events);
void accept_abort_all(struct stream *s, uint64_t id);
void accept_forget(struct stream *s, uint64_t id, uint64_t mailbox);
int accept_watch(struct stream *s, uint64_t id);
/* The same where nobody is left to tell of an error to. */
void accept_keep_watching(struct stream *s, uint64_t id);
/* The nowait accepts of the mailbox that owned the listener are watched for as anybody's, and of the one that does as its own. */
void accept_left(struct stream *s, uint64_t id, uint64_t mailbox);
void accept_arrived(struct stream *s, uint64_t id);
/* Muted, in its owner's set: what to watch for. */
uint32_t accept_muted_events(const struct stream *s);

/* active.c */
void active_changed(struct stream *s, uint64_t id);
/* Locked, the current stream of mb, whose turn is the caller's. {active, once} is set, and its message is there: claimed. False:
 * nothing was done. */
bool active_once_more(struct gsi_mailbox *mb, struct stream *s, uint64_t id);

/* options.c */
/* Applies the stream's own options of a list to a profile and a stream under construction. */
int profile_apply(struct profile *p, const gs_opt *opts);

/* io.c */
/* Scheme and network as those of `like`. */
struct stream_io *stream_io_new(struct stream *s, uint64_t id, const struct gs_io *like);
struct gs_io *stream_io(struct stream_io *io);
/* Accept makes it before there is a stream. */
void stream_io_bind(struct stream_io *io, struct stream *s, uint64_t id);
void stream_io_free(struct stream_io *io);
void stream_io_owner(struct stream *s, struct gsi_mailbox *owner);

#endif
