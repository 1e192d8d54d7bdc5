/* mem_ends.h: two connected ends of mem://, driven by their slots, each with an ear that hears gs_transport_ready. */
#ifndef TEST_MEM_ENDS_H
#define TEST_MEM_ENDS_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "fault.h"
#include "support.h"
#include "transport/transport.h"

/* io first: the hook gets it. */
struct ear {
    struct gs_io io;
    _Atomic int readable, writable; /* how often it was told */
    bool blocked_in, blocked_out;   /* the test's: -EAGAIN was answered */
};

static inline void hear(struct gs_io *io, bool readable, bool writable)
{
    struct ear *e = (struct ear *)io;
    e->readable += readable;
    e->writable += writable;
}

#define EAR {.io = {.ready = hear}}

static inline const struct gs_transport *mem(void) { return gs_transport_find("mem"); }

static inline int mem_open(const char *name, struct ear *ear, const gs_opt *opts, void **ctx)
{
    return mem()->listen(&ear->io, &(gs_target){.rest = name}, opts, ctx);
}

static inline int mem_dial(const char *name, struct ear *ear, const gs_opt *opts, void **ctx)
{
    return mem()->connect(&ear->io, &(gs_target){.rest = name}, opts, ctx);
}

static inline ssize_t mem_read(void *ctx, void *p, size_t n) { return mem()->readv(ctx, &(struct iovec){p, n}, 1); }

static inline ssize_t mem_write(void *ctx, const void *p, size_t n)
{
    return mem()->writev(ctx, &(struct iovec){(void *)(uintptr_t)p, n}, 1);
}

struct ends {
    struct ear at_listener, at_a, at_b;
    void *a, *b; /* who connected, who accepted */
};

/* Under a seed the steps may answer -EAGAIN and -EINPROGRESS; each comes with its ready. */
static inline void ends_open(struct ends *e, const char *name)
{
    void *l;
    int dialled, accepted;
    *e = (struct ends){EAR, EAR, EAR, NULL, NULL};
    assert_ok(mem_open(name, &e->at_listener, NULL, &l));
    char plain[64];
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(name, "?"), name);
    for (dialled = mem_dial(plain, &e->at_a, NULL, &e->a); dialled == -EINPROGRESS; dialled = mem()->handshake(e->a))
        assert_true(atomic_exchange(&e->at_a.io.writable, 0));
    assert_ok(dialled);
    while ((accepted = mem()->accept(l, &e->at_b.io, &e->b)) == -EAGAIN)
        assert_true(atomic_exchange(&e->at_listener.io.readable, 0));
    assert_ok(accepted);
    mem()->close(l, false);
    atomic_store(&e->at_a.io.writable, 0);
    e->at_a.writable = 0;
}

static inline void ends_close(struct ends *e)
{
    if (e->a)
        mem()->close(e->a, false);
    if (e->b)
        mem()->close(e->b, false);
}

#endif
