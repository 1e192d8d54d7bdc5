/* reverse.h: ei's table as a transport, as its files share it.
 *
 *   transport.c  the slots of gensock/transport.h, registration        watch.c  when a connection may be tried again
 *   table.c      the calls of the table, one at a time                 work.c   threads for calls that may take their time
 *
 * Tables are of two kinds. One without FULL_IMPL is a descriptor: it is set non-blocking for good, and gensock itself
 * waits for it. One with FULL_IMPL waits by itself, so it is called with a zero timeout, which makes it a poll; but to
 * connect and to accept may be handshakes that a zero timeout would break off, so those run in threads. Its descriptor
 * is believed as long as it tells the truth.
 */
#ifndef GSI_EI_REVERSE_H
#define GSI_EI_REVERSE_H

#include <ei.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/uio.h>

#include "ei/seam.h"
#include "gensock/transport.h"

static inline void *gsi_ei_zalloc(size_t n)
{
    void *p = gsi_ei_sys.malloc(n);
    return p ? memset(p, 0, n) : NULL;
}

/* One registration; lives as long as the process. */
struct table {
    struct table *next;
    struct gs_transport transport;
    ei_socket_callbacks cbs; /* a smaller table's missing slots are NULL */
    void *setup;
    bool full;
    const char *scheme; /* the registry's: what gs_io_scheme answers */
};

enum direction { READING, WRITING, DIRECTIONS };
enum word { NO_WORD, BY_DESCRIPTOR, BY_TICK }; /* why a direction was told to be tried again */

struct watch;

/* One direction of a connection; under watch.c's mutex. */
struct waiting {
    struct waiting *next, **at; /* in the queue of its pause; at: NULL when it is in none */
    struct watch *of;
    uint64_t due;
    uint8_t pause, misses; /* ticks without success; words of the descriptor without success */
    uint8_t word;
    bool wants, trusted;
};

struct watch {
    struct waiting dir[DIRECTIONS];
    gs_io *io; /* NULL: nobody to tell */
    bool (*probe)(struct watch *w); /* in the watching thread: has reading something to tell of? */
    int fd;
    uint32_t place; /* in the list that events find it by */
    bool blind;     /* its descriptor cannot be waited for */
};

enum stage { CONNECTING, CONNECTED, LISTENING, FAILED };

/* What a slot's ctx is. `mutex` guards everything below it, and is held during the table's calls but for those of a thread. */
struct end {
    const struct table *table;
    void *ctx; /* the table's */
    int fd;    /* get_fd's; -1: it tells none */
    struct sockaddr_in local, peer; /* family 0: unknown */
    pthread_mutex_t mutex;
    enum stage stage;
    int answer;           /* why it FAILED; a listener's next accept answers, or a read that was `probed` */
    bool working, closed; /* a thread calls the table for it; the slot close was called */
    bool left;            /* and has left the rest to the thread */
    bool paused[DIRECTIONS]; /* -EAGAIN was answered */
    bool liar;               /* a listener's descriptor told what was not so, or did not tell what was */
    struct end *accepted;    /* a listener's: by its thread, or by a probe */
    bool probed;             /* a probe has met the end, or an error: `answer` */
    uint8_t *early;          /* a probe's bytes, early[early_at .. early_n); NULL: none */
    size_t early_at, early_n;
    gs_io *io;
    struct watch watch; /* of tables with FULL_IMPL */
};

/* ---- table.c: the end's mutex is the caller's business; codes are gensock's ---- */

/* An end with a socket of the table's. */
GS_MUST_USE int gsi_ei_table_socket(const struct table *t, struct end **out);
/* Closes the socket, if there is one, and frees the end. */
void gsi_ei_table_close(struct end *e);
GS_MUST_USE int gsi_ei_table_listen(struct end *e, const struct sockaddr_in *at, int backlog);
/* Into *out, an end of its own. -EAGAIN: nobody. */
GS_MUST_USE int gsi_ei_table_accept(struct end *listener, unsigned timeout_ms, struct end **out);
/* 0; -EINPROGRESS: writable says when it is over, then gsi_ei_table_connected; -EAGAIN: the peer has no room for it now. */
GS_MUST_USE int gsi_ei_table_connect(struct end *e, unsigned timeout_ms);
/* What became of it: 0, -EINPROGRESS, or the error. */
GS_MUST_USE int gsi_ei_table_connected(struct end *e);
/* The connection stands, and the table hears of it. */
GS_MUST_USE int gsi_ei_table_begin(struct end *e, bool accepted);
/* Bytes moved; read: 0 is the peer's end; -EAGAIN. */
ssize_t gsi_ei_table_readv(struct end *e, const struct iovec *iov, int n);
ssize_t gsi_ei_table_writev(struct end *e, const struct iovec *iov, int n);
/* A call in another thread may end early for it. */
void gsi_ei_table_nudge(struct end *e);
/* Does the descriptor say that there is something to read, or to accept? */
bool gsi_ei_table_readable(const struct end *e);

/* ---- watch.c ---- */

/* Begins to watch; nothing is wanted yet. writes: the descriptor tells of room. -ENOMEM and such: no descriptors, no thread. */
GS_MUST_USE int gsi_ei_watch_add(struct watch *w, int fd, bool writes, gs_io *io, bool (*probe)(struct watch *w));
/* Afterwards io is told no more, and no probe runs: waits for one, so whoever calls holds nothing that probes take. */
void gsi_ei_watch_remove(struct watch *w);
/* io is told, once, when the direction is worth another try. */
void gsi_ei_watch_want(struct watch *w, enum direction d);
/* The direction that was wanted has moved. */
void gsi_ei_watch_moved(struct watch *w, enum direction d);
/* Nothing will be told of by the descriptor. */
bool gsi_ei_watch_blind(struct watch *w);
/* The end of the process: joins the thread. May be called several times. */
void gsi_ei_watch_end(void);

/* ---- work.c ---- */

/* Runs in a thread of its own, all signals blocked. GS_ESYSLIMIT: too many run; -EAGAIN becomes GS_ESYSLIMIT as well. */
GS_MUST_USE int gsi_ei_work_start(const char *name, void (*run)(struct end *e), struct end *e);

#endif
