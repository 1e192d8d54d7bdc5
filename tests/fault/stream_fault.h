/* stream_fault.h: what the fault scenarios of streams share. A scenario opens, acts, gives everything back, and answers 0 or the
 * first code; what is not a matter of codes (wrong bytes, a wrong message) ends the child by abort, which is a finding.
 */
#ifndef STREAM_FAULT_H
#define STREAM_FAULT_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/handle.h"
#include "base/seam.h"
#include "census.h"
#include "fault.h"
#include "gensock/stream.h"
#include "scenario.h"
#include "support.h"

enum { SOME = 3000, LOTS = 1 << 19, SMALL_BUFFER = 8192 };

/* How long a run waits for what a fault may have taken away; a healthy one may be slow. */
static inline int patience(void) { return fault_armed() ? 100 : 5000; }
#define WAIT_MS patience()

/* A finding that no code can tell. */
#define must(condition)                                                                                               \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "# line %d: not so: %s\n", __LINE__, #condition);                                         \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

/* Keeps the first code; each must be one that the headers know. */
static inline int first_code(int so_far, long e)
{
    must(e >= 0 || strcmp(gs_error_name((int)e), "unknown") != 0);
    return so_far < 0 ? so_far : e < 0 ? (int)e : 0;
}

/* With GS_FAULT_TRACE in the environment: where a run's first error came up. */
static inline int traced(int e, int line)
{
    if (e < 0 && getenv("GS_FAULT_TRACE"))
        fprintf(stderr, "# line %d: %s %s\n", line, gs_error_name(e), gs_error_detail(e));
    return e;
}

/* e stays 0 while every call works: does the next one only then. */
#define then(call)                                                                                                    \
    do {                                                                                                              \
        if (e == 0)                                                                                                   \
            e = traced(first_code(e, (long)(call)), __LINE__);                                                        \
    } while (0)

/* What comes with first use and stays: the thread's own descriptors, the flusher, table pages. So that a fault only decides
 * what its one run holds. */
static inline void prepare(void)
{
    static char much[1 << 18];
    gs_stream l, a, b;
    gs_mailbox mb;
    char at[40];
    must(gs_mailbox_new(&mb) == 0);
    must(gs_stream_listen(&l, "tcp://127.0.0.1:0", GS_OPTS(GS_INT(RECBUF, SMALL_BUFFER)), GS_NO_MAILBOX) == 0);
    must(gs_stream_accept(l, &b, GS_NO_MAILBOX, 1, NULL) == GS_ETIMEOUT);
    snprintf(at, sizeof at, "tcp://127.0.0.1:%d", gs_stream_port(l));
    must(gs_stream_connect(&a, at, GS_OPTS(GS_INT(SEND_TIMEOUT, GS_NOWAIT), GS_INT(SNDBUF, SMALL_BUFFER)), mb, 5000) == 0);
    must(gs_stream_accept(l, &b, GS_NO_MAILBOX, 5000, NULL) == 0);
    while (gs_stream_send(a, much, sizeof much) == 0)
        ;
    must(gs_stream_close(a) == 0 && gs_stream_close(b) == 0 && gs_stream_close(l) == 0 && gs_mailbox_free(mb) == 0);
    must(wait_until(gsi_live_count(GSI_STREAM) == 0, 5000));
}

struct ends {
    gs_stream l, a, b; /* a connected, b was accepted */
    gs_mailbox mb, other;
    char at[80];
};

static inline int ends_listen(struct ends *x, const char *scheme, const gs_opt *opts, gs_mailbox owner)
{
    const char *base = strchr(scheme, '+') ? strchr(scheme, '+') + 1 : scheme;
    if (!strcmp(base, "tcp"))
        snprintf(x->at, sizeof x->at, "%s://127.0.0.1:0", scheme);
    else if (!strcmp(base, "unix"))
        snprintf(x->at, sizeof x->at, "%s://@gensock-fault-%d", scheme, (int)getpid());
    else
        snprintf(x->at, sizeof x->at, "%s://fault", scheme);
    int e = first_code(0, gs_stream_listen(&x->l, x->at, opts, owner));
    if (e == 0 && !strcmp(base, "tcp")) {
        int port = gs_stream_port(x->l);
        e = first_code(0, port);
        if (e == 0)
            snprintf(x->at, sizeof x->at, "%s://127.0.0.1:%d", scheme, port);
    }
    return e;
}

/* Listens, connects, accepts; a is owned by x->mb when `owned`, b by nobody. */
static inline int ends_open(struct ends *x, const char *scheme, const gs_opt *opts, bool owned)
{
    *x = (struct ends){0};
    int e = owned ? first_code(0, gs_mailbox_new(&x->mb)) : 0;
    then(ends_listen(x, scheme, NULL, GS_NO_MAILBOX));
    then(gs_stream_connect(&x->a, x->at, opts, x->mb, WAIT_MS));
    then(gs_stream_accept(x->l, &x->b, GS_NO_MAILBOX, WAIT_MS, NULL));
    return e;
}

/* Closes what was opened; a close that answers anything but 0 is a finding. */
static inline int ends_close(struct ends *x, int e)
{
    gs_stream s[] = {x->a, x->b, x->l};
    gs_mailbox mb[] = {x->mb, x->other};
    for (int i = 0; i < 3; i++)
        must(!s[i].id || gs_stream_close(s[i]) == 0);
    for (int i = 0; i < 2; i++)
        must(!mb[i].id || gs_mailbox_free(mb[i]) == 0);
    (void)wait_until(gsi_live_count(GSI_STREAM) == 0, 2000); /* what was left to the flusher; the census tells if it stays */
    return e;
}

/* So that LOTS does not fit into the kernel's buffers. A small receive buffer would make TCP slow, not only full. */
static inline int make_narrow(const struct ends *x, const char *scheme)
{
    return strcmp(scheme, "mem") ? first_code(0, gs_stream_setopts(x->a, GS_OPTS(GS_INT(SNDBUF, SMALL_BUFFER)))) : 0;
}

/* Sends a pattern of n bytes and reads it at the other end. */
static inline int pass(gs_stream from, gs_stream to, size_t n, uint64_t seed)
{
    uint8_t out[SOME], in[SOME];
    must(n <= sizeof out);
    pattern_fill(out, n, seed, 0);
    int e = 0;
    then(gs_stream_send(from, out, n));
    then(gs_stream_recv(to, in, sizeof in, n, WAIT_MS));
    if (e == 0)
        must(pattern_check(in, n, seed, 0) == n);
    return e;
}

/* The next message of a kind. -ENOMEM says that nothing is lost: it is asked again. An end that comes instead is its code. */
static inline int await(gs_mailbox mb, gs_msg_kind kind, gs_msg *m)
{
    for (int tries = 0; tries < 4;) {
        int e = gs_receive(mb, m, WAIT_MS);
        if (e == -ENOMEM && ++tries < 4)
            continue;
        if (e < 0)
            return e;
        if (m->kind == kind)
            return m->error < 0 ? m->error : 0;
        if (m->error < 0 || m->kind == GS_MSG_CLOSED)
            return m->error < 0 ? m->error : GS_ECLOSED;
    }
    return -ENOMEM;
}

/* One test for each base transport. */
#define ON_EACH_TRANSPORT(name, text, scenario, options)                                                              \
    static void name##_survives_every_fault(void **state)                                                             \
    {                                                                                                                 \
        static const char *const schemes[] = {"tcp", "unix", "mem"};                                                  \
        (void)state;                                                                                                  \
        for (int i = 0; i < 3; i++) {                                                                                 \
            char label[80];                                                                                           \
            snprintf(label, sizeof label, "%s, %s", text, schemes[i]);                                                \
            fault_run_with(label, scenario, (void *)(uintptr_t)schemes[i], options);                                  \
        }                                                                                                             \
    }
#define ROW(name) cmocka_unit_test(name##_survives_every_fault)

static const struct fault_options virtual_time = {.prepare = prepare, .at_most = 20};
/* Scenarios that the flusher works for have two threads. */
static const struct fault_options real_time = {.prepare = prepare, .real_clock = true, .at_most = 20};

#endif
