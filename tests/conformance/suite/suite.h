/* suite.h: what the case files of the conformance suite share: the world of one case, and the few acts and expectations that
 * nearly all of them need.
 *
 * Every case gets a fresh world: two mailboxes, no stream. It opens what it wants; the world closes what is left, waits for
 * its threads, and takes a census. A case that failed in the middle leaves its world reachable, so that threads which still
 * use it do no harm.
 */
#ifndef TEST_SUITE_H
#define TEST_SUITE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "census.h"
#include "conformance/conformance.h"
#include "gensock/stream.h"

/* Where transports may differ, and in nothing else: one row per scheme, in facts.c. */
struct facts {
    const char *scheme;
    bool names;           /* sockname and peername are addresses */
    bool port;            /* … with a port */
    bool kernel;          /* a kernel socket at the bottom, with its options */
    bool tcp;             /* options of TCP */
    bool layered;         /* something above it: neither export nor import, and a connect that needs its accept */
    bool secure;          /* a certificate has been verified; a cut or reset is told as truncated */
    bool half_close;      /* shutdown(write) leaves reading open */
    bool resets;          /* linger 0 reaches the peer as a reset */
    bool send_sees_close; /* a send to a peer that closed fails at last */
    bool name_stays;      /* a name outlives its listener, as a file */
    bool foreign_accept;  /* a nowait accept may name another mailbox than the listener's owner */
    size_t holds;         /* more bytes than the two ends together ever buffer */
    int refused;          /* what connecting to nobody answers */
    gs_peer_kind peer;
};
const struct facts *facts_of(const char *address);

/* For what must come, ms. Under a fault profile that lets calls fail (GS_FAULT) it may well not come: then short. */
extern int wait_ms;
#define WAIT_MS wait_ms

enum {
    QUIET_MS = 30,   /* for what must not */
    WAKE_MS = 50,    /* the promise for a blocked call whose stream closes */
};

struct task;
struct world {
    struct world *next;
    const struct subject *on;
    const struct facts *facts;
    gs_mailbox ma, mb;
    gs_stream listener, a, b; /* a connects, b is accepted */
    char at[256];             /* the address that reaches `listener` */
    struct task *tasks;
    struct census before;
    uint64_t began;
    bool done;
};

struct suite_case {
    const char *name;
    void (*run)(struct world *w);
};
/* A file's cases: CASES(active) = {CASE(active_true_delivers_all), …, {0}}; main.c lists the groups. */
#define CASES(group) const struct suite_case group##_cases[]
extern CASES(open);
extern CASES(accept);
extern CASES(passive);
extern CASES(active);
extern CASES(send);
extern CASES(sendfile);
extern CASES(close);
extern CASES(reset);
extern CASES(owner);
extern CASES(packet);
extern CASES(option);
extern CASES(message);
extern CASES(upgrade);
extern CASES(transfer);
#define CASE(fn)                                                                                                      \
    {                                                                                                                 \
        #fn, fn                                                                                                       \
    }

/* ---- opening ---- */

/* A fresh address of the transport under test, in w->at. */
void new_address(struct world *w);
/* Listens at a fresh address; w->at then reaches it. */
void set_defaults(gs_defaults which, const gs_opt *opts);
void open_listener(struct world *w, const gs_opt *opts, gs_mailbox owner);
enum { NOBODY = 0, A_OWNED = 1, B_OWNED = 2, BOTH_OWNED = 3 };
/* Listens, and connects a (owned by ma) with b (owned by mb); handshakes are over. NULL: no options. */
void open_pair(struct world *w, unsigned owned, const gs_opt *client, const gs_opt *server);
/* One more connection to w->listener, whose accept the case makes itself. */
gs_stream open_client(struct world *w, const gs_opt *opts, gs_mailbox owner);
void close_all(struct world *w);

/* ---- tasks: calls that block, in threads of their own ---- */

struct task {
    struct task *next;
    struct world *w;
    void (*run)(struct task *t); /* no assertions inside */
    pthread_t thread;
    _Atomic int tid, ended, joined;
    uint64_t ended_ms;
    long result;
    gs_stream stream, fresh;
    gs_mailbox mailbox;
    int timeout_ms;
    gs_opt opts[8]; /* a copy: a test that fails under a fault leaves its frame before its threads end */
    uint64_t ref, seed, total; /* for the case's use */
    struct stream_hash hash;
    uint8_t *buf;
    size_t n;
    gs_msg msg;
};
struct task *task_new(struct world *w, void (*run)(struct task *));
void task_go(struct task *t);
/* new and go with a stream. */
struct task *task_start(struct world *w, void (*run)(struct task *), gs_stream s);
/* The task sleeps in the kernel: its call blocks. */
bool task_blocks(struct task *t);
#define assert_blocks(t) assert_until(task_blocks(t), WAIT_MS)
/* Waits for the end; its result. */
long task_result(struct task *t);
/* Frequent ones: result = the call's answer. */
void run_accept(struct task *t);  /* stream, mailbox, timeout_ms -> fresh */
void run_recv(struct task *t);    /* one raw recv of up to n (0: 64) bytes with length n -> buf */
void run_receive(struct task *t); /* one gs_receive on mailbox -> msg */
/* Reads raw bytes of `stream` until its end or `total` (0: no limit) bytes, and checks them against the pattern of `seed` from
 * `ref` on; result: the code that ended it (0 for total); n: bytes; -EBADMSG: a wrong byte. */
void run_drain(struct task *t);
/* The time from now to the end of a task after `act`: the promise of WAKE_MS holds in one of several tries, as machines are
 * busy. */
#define assert_wakes_in_time(tries_left, took) ((took) <= WAKE_MS || (tries_left) > 0)

/* ---- acts ---- */

void send_text(gs_stream s, const char *text);
void send_pattern(gs_stream s, uint64_t seed, uint64_t at, size_t n);
/* Exactly these bytes come next, whatever pieces they come in; passive and raw. */
void recv_text(gs_stream s, const char *text);
/* One packet with this body, passive. */
void recv_one(gs_stream s, const char *text);
/* The peer's end is next. */
void recv_end(gs_stream s);
/* Sends (send_timeout GS_NOWAIT, owned) pattern bytes until EAGAIN, which stays until somebody reads; how many. */
size_t fill_until_eagain(const struct world *w, gs_stream s, uint64_t seed, uint64_t at);

/* ---- messages ---- */

#define expect(mb, kind, s, m) expect_at(mb, kind, s, m, __FILE__, __LINE__)
void expect_at(gs_mailbox mb, gs_msg_kind kind, gs_stream s, gs_msg *m, const char *file, int line);
#define expect_packet(mb, s, text) expect_packet_at(mb, s, text, strlen(text), __FILE__, __LINE__)
#define expect_packet_of(mb, s, p, n) expect_packet_at(mb, s, p, n, __FILE__, __LINE__)
void expect_packet_at(gs_mailbox mb, gs_stream s, const void *p, size_t n, const char *file, int line);
/* Raw bytes in whatever messages. */
#define expect_bytes(mb, s, text) expect_bytes_at(mb, s, text, __FILE__, __LINE__)
void expect_bytes_at(gs_mailbox mb, gs_stream s, const char *text, const char *file, int line);
#define expect_nothing(mb) expect_nothing_at(mb, __FILE__, __LINE__)
void expect_nothing_at(gs_mailbox mb, const char *file, int line);
const char *msg_kind_name(gs_msg_kind kind);

/* ---- options ---- */

void set_int(gs_stream s, int name, int64_t value);
int64_t get_int(gs_stream s, int name);
#define SET(s, NAME, value) set_int(s, GS_OPT_##NAME, value)
#define GET(s, NAME) get_int(s, GS_OPT_##NAME)

/* The layer "xor", with a handshake of one byte each way (xor_layer.c). Registers it once. */
void xor_register(void);
enum { XOR_KEY = 0x5a, XOR_HELLO = 0xa5 };

#endif
