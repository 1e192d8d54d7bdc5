/* storm.h: what the storms share: where to listen on each transport, threads, findings that any thread may make, the wait
 * until another thread really blocks inside the library, and how long a storm runs.
 *
 *     GS_STORM_SECONDS=S, GS_STORM_TRANSFERS=N   instead of the program's own numbers
 */
#ifndef STORM_H
#define STORM_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/handle.h"
#include "census.h"
#include "gensock/stream.h"
#include "support.h"

enum { STALL_MS = 2000 };

/* ---- findings ---- */

static _Atomic long wrongs;

/* Tells the first few things that are wrong; the test asserts in the end that there was none. */
__attribute__((format(printf, 1, 2))) static inline void wrong(const char *format, ...)
{
    if (atomic_fetch_add(&wrongs, 1) >= 12)
        return;
    char line[400];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "# wrong: %s\n", line);
}

/* A call may answer only these; anything else is a finding. Yields the answer. */
#define only_answers(answer, ...) only_answers_at((long)(answer), #answer, __LINE__, (const long[]){__VA_ARGS__, 1})
static inline int only_answers_at(long e, const char *call, int line, const long *allowed)
{
    for (; e < 0 && *allowed != 1; allowed++)
        if (e == *allowed)
            return (int)e;
    if (e >= 0)
        return (int)e;
    wrong("line %d: %s answers %ld (%s) %s", line, call, e, gs_error_name((int)e), gs_error_detail((int)e));
    return (int)e;
}

/* ---- threads ---- */

static inline pthread_t go(void *(*run)(void *), void *arg)
{
    pthread_t t;
    int e = pthread_create(&t, NULL, run, arg);
    if (e)
        fail_msg("pthread_create: %s", strerror(e));
    return t;
}

static inline void join(pthread_t t) { pthread_join(t, NULL); }

static inline void nap_us(unsigned us) { nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL); }

/* ---- transports ---- */

/* A listener of a scheme on a place of its own; *at becomes the address to connect to. A code as gs_stream_listen. */
struct place {
    char at[120];
};

static inline int listen_at(const char *scheme, const gs_opt *opts, gs_mailbox owner, gs_stream *out, struct place *to)
{
    static _Atomic int count;
    char name[32];
    snprintf(name, sizeof name, "storm%d-%d", (int)getpid(), atomic_fetch_add(&count, 1));
    const char *base = strchr(scheme, '+') ? strchr(scheme, '+') + 1 : scheme; /* "tls+unix" */
    if (!strcmp(base, "tcp")) {
        snprintf(to->at, sizeof to->at, "%s://127.0.0.1:0", scheme);
        int e = gs_stream_listen(out, to->at, opts, owner);
        if (e == 0 && (e = gs_stream_port(*out)) > 0)
            snprintf(to->at, sizeof to->at, "%s://127.0.0.1:%d", scheme, e);
        return e < 0 ? e : 0;
    }
    if (!strcmp(base, "unix"))
        snprintf(to->at, sizeof to->at, "%s://%s", scheme, temp_path(name));
    else
        snprintf(to->at, sizeof to->at, "%s://%s", scheme, name);
    return gs_stream_listen(out, to->at, opts, owner);
}

/* ---- who blocks ---- */

/* True once a thread waits inside a call on this stream (or, kind GSI_MAILBOX, was let in): it has left the lock with a pin. */
static inline bool has_waiter(uint64_t id)
{
    struct gsi_object *o;
    return gsi_peek((enum gsi_kind)((uint32_t)id >> GSI_KIND_SHIFT), id, &o) == 0 && atomic_load(&o->pins) > 0;
}

static inline int waiters(uint64_t id)
{
    struct gsi_object *o;
    return gsi_peek((enum gsi_kind)((uint32_t)id >> GSI_KIND_SHIFT), id, &o) == 0 ? (int)atomic_load(&o->pins) : 0;
}

/* ---- how long ---- */

static inline long from_environment(const char *name, long otherwise)
{
    const char *e = getenv(name);
    return e ? atol(e) : otherwise;
}

#endif
