/* registry.c: schemes to transports: registration with its checks, look-up, the stack that an address names; and the calls
 * through which a transport reaches the network and the bytes below it (gensock/transport.h).
 *
 * The list only grows, at its head, so that a look-up takes no lock. What is kept is a copy whose empty slots are filled.
 */
#include "transport/registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/exit.h"
#include "base/seam.h"
#include "net/addr.h"
#include "net/netns.h"
#include "transport/transport.h"

struct entry {
    struct entry *next;
    struct gs_transport t;
    char scheme[GSI_SCHEME_MAX + 1];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of writers; a leaf */
static _Atomic(struct entry *) head;
static struct entry builtin[3];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- defaults ---- */

static int no_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)io, (void)at, (void)opts, (void)ctx;
    return gsi_fail(-ENOTSUP, "this transport cannot listen");
}

static int no_accept(void *listener, gs_io *io, void **ctx)
{
    (void)listener, (void)io, (void)ctx;
    return gsi_fail(-ENOTSUP, "this transport cannot listen");
}

static int no_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    (void)io, (void)to, (void)opts, (void)ctx;
    return gsi_fail(-ENOTSUP, "this transport cannot connect");
}

static int no_handshake(void *ctx)
{
    (void)ctx;
    return 0;
}

static int no_check(bool server, const gs_target *at, const gs_opt *opts)
{
    (void)server, (void)at, (void)opts;
    return 0;
}

static int no_shutdown(void *ctx, gs_how how)
{
    (void)ctx, (void)how;
    return -ENOTSUP;
}

static int no_descriptor(void *ctx, size_t *buffered)
{
    (void)ctx;
    *buffered = 0;
    return -1;
}

static int no_setopt(void *ctx, const gs_opt *o)
{
    (void)ctx, (void)o;
    return gsi_fail(-ENOTSUP, "this transport has no options of its own");
}

static int no_getopt(void *ctx, gs_opt *o)
{
    (void)ctx, (void)o;
    return gsi_fail(-ENOTSUP, "this transport has no options of its own");
}

static int no_name(void *ctx, bool peer, gs_addr *out)
{
    (void)ctx, (void)peer, (void)out;
    return -ENOTSUP;
}

static int unknown_peer(void *ctx, gs_peer *out)
{
    (void)ctx;
    *out = (gs_peer){.kind = GS_PEER_UNKNOWN};
    return 0;
}

static int not_secure(void *ctx, gs_security *out)
{
    (void)ctx, (void)out;
    return GS_ENOTSECURE;
}

static void fill(struct gs_transport *t)
{
#define DEFAULT(slot, function) t->slot = t->slot ? t->slot : (function)
    DEFAULT(listen, no_listen);
    DEFAULT(accept, no_accept);
    DEFAULT(connect, no_connect);
    DEFAULT(check, no_check);
    DEFAULT(handshake, no_handshake);
    DEFAULT(shutdown, no_shutdown);
    DEFAULT(poll, no_descriptor);
    DEFAULT(setopt, no_setopt);
    DEFAULT(getopt, no_getopt);
    DEFAULT(name, no_name);
    DEFAULT(peer, unknown_peer);
    DEFAULT(security, not_secure);
#undef DEFAULT
}

/* ---- checks ---- */

static int check_scheme(const char *scheme)
{
    char quoted[GSI_QUOTE_MAX];
    if (!scheme)
        return gsi_fail(-EINVAL, "the transport's scheme is NULL");
    size_t n = strnlen(scheme, GSI_SCHEME_MAX + 1);
    bool ok = n >= 1 && n <= GSI_SCHEME_MAX && scheme[0] >= 'a' && scheme[0] <= 'z';
    for (size_t i = 0; ok && i < n; i++)
        ok = (scheme[i] >= 'a' && scheme[i] <= 'z') || (scheme[i] >= '0' && scheme[i] <= '9') || scheme[i] == '.' || scheme[i] == '-';
    return ok ? 0
              : gsi_fail(-EINVAL, "scheme %s: wanted are a letter and up to 30 of a-z 0-9 . -", gsi_quote(quoted, sizeof quoted, scheme));
}

static int bad(const struct gs_transport *t, const char *cause) { return gsi_fail(-EINVAL, "transport %s: %s", t->scheme, cause); }

/* A table compiled against a later header may be longer, as long as it uses nothing that this library does not know. */
static int check_size(const struct gs_transport *t)
{
    const unsigned char *p = (const unsigned char *)t;
    if (t->size < sizeof *t)
        return gsi_fail(-EINVAL, "the transport's size is %zu, less than sizeof (struct gs_transport), %zu: set .size", t->size, sizeof *t);
    for (size_t i = sizeof *t; i < t->size; i++)
        if (p[i])
            return gsi_fail(-EINVAL, "the transport's table is of a later gensock, and uses slots that this one does not have");
    return 0;
}

static int check_slots(const struct gs_transport *t)
{
    bool base = t->listen || t->accept || t->connect;
    unsigned known = GS_T_SECURE | GS_T_HOST | GS_T_KERNEL | GS_T_NO_HALF_CLOSE;
    if (t->flags & ~known)
        return bad(t, "flags that are none");
    if (base && t->upgrade)
        return bad(t, "listen, accept and connect make a base, upgrade makes a layer: it cannot be both");
    if (!base && !t->upgrade)
        return bad(t, "neither connect nor listen (a base) nor upgrade (a layer)");
    if (!t->listen != !t->accept)
        return bad(t, "listen and accept go together");
    if (!t->readv || !t->writev)
        return bad(t, "readv or writev is missing");
    if (!t->close)
        return bad(t, "close is missing");
    if (t->upgrade && t->flags & (GS_T_HOST | GS_T_KERNEL))
        return bad(t, "GS_T_HOST and GS_T_KERNEL are of bases; a layer has those of what is below");
    if (t->flags & GS_T_KERNEL && !t->poll)
        return bad(t, "GS_T_KERNEL says that there is a descriptor, but poll is missing");
    if (t->flags & GS_T_KERNEL && (!t->setopt || !t->getopt))
        return bad(t, "GS_T_KERNEL says that the kernel's options apply, but setopt or getopt is missing");
    if (t->flags & GS_T_SECURE && !t->security)
        return bad(t, "GS_T_SECURE, but security is missing");
    if (!t->shutdown && !(t->flags & GS_T_NO_HALF_CLOSE))
        return bad(t, "shutdown is missing; say GS_T_NO_HALF_CLOSE if there is none");
    return 0;
}

/* ---- the list ---- */

static void keep(struct entry *e, const struct gs_transport *t)
{
    e->t = *t;
    strcpy(e->scheme, t->scheme); /* its length was checked */
    e->t.scheme = e->scheme;
    e->t.size = sizeof e->t;
    fill(&e->t);
    e->next = atomic_load_explicit(&head, memory_order_relaxed);
    atomic_store_explicit(&head, e, memory_order_release);
}

static void register_builtin(void)
{
    keep(&builtin[0], &gsi_mem);
    keep(&builtin[1], &gsi_unix);
    keep(&builtin[2], &gsi_tcp);
}

static const struct gs_transport *find(const char *scheme)
{
    for (struct entry *e = atomic_load_explicit(&head, memory_order_acquire); e; e = e->next)
        if (!strcmp(e->scheme, scheme))
            return &e->t;
    return NULL;
}

const struct gs_transport *gs_transport_find(const char *scheme)
{
    pthread_once(&once, register_builtin);
    return scheme ? find(scheme) : NULL;
}

int gs_transport_register(const struct gs_transport *t)
{
    if (!t)
        return GS_EBADARG;
    int e = check_size(t);
    if (e == 0)
        e = check_scheme(t->scheme);
    if (e == 0)
        e = check_slots(t);
    if (e < 0)
        return e;
    pthread_once(&once, register_builtin);
    struct entry *fresh = gsi_zalloc(sizeof *fresh);
    if (!fresh)
        return -ENOMEM;
    pthread_mutex_lock(&mutex);
    bool taken = find(t->scheme);
    if (!taken)
        keep(fresh, t);
    pthread_mutex_unlock(&mutex);
    if (!taken) {
        gsi_at_exit_first(); /* its connections may have output at the end of the process */
        return 0;
    }
    gsi_free(fresh);
    return gsi_fail(-EEXIST, "transport %s: the scheme is taken", t->scheme);
}

/* ---- the stack of an address ---- */

static int no_scheme(const char *scheme)
{
    return gsi_fail(GS_ENOSCHEME, "no transport %s is registered%s", scheme,
                    !strcmp(scheme, "tls")       ? ": gs_tls_register of the library gensock-tls makes it one"
                    : !strcmp(scheme, "tailnet") ? ": a node must run (gs_tailnet_start of the library gensock-tailnet)"
                                                 : "; tcp, unix and mem always are");
}

/* scheme is cut into words at its '+'. */
static int push_words(const char *address, char *scheme, struct gsi_stack *s)
{
    char *next;
    for (char *word = scheme; word; word = next) {
        next = strchr(word, '+');
        if (next)
            *next++ = '\0';
        if (!*word)
            return gsi_addr_bad(address, "an empty scheme beside a '+'");
        const struct gs_transport *t = gs_transport_find(word);
        if (!t)
            return no_scheme(word);
        if (s->base)
            return gsi_addr_bad(address, "one base, and it stands last: layer+layer+base://");
        if (!t->upgrade)
            s->base = t;
        else if (s->layers == GSI_LAYERS_MAX)
            return gsi_addr_bad(address, "more than 4 layers");
        else
            s->layer[s->layers++] = t;
    }
    return 0;
}

int gsi_stack_parse(const char *address, struct gsi_stack *out)
{
    char scheme[GSI_SCHEME_MAX + 1];
    struct gsi_stack s = {0};
    int e = gsi_scheme_split(address, scheme, sizeof scheme, &s.rest);
    if (e == 0)
        e = push_words(address, scheme, &s);
    if (e < 0)
        return e;
    if (!s.base)
        s.base = gs_transport_find("tcp");
    *out = s;
    return 0;
}

/* ---- what a transport calls ---- */

void gs_transport_ready(gs_io *io, bool readable, bool writable)
{
    if (!io)
        return;
    if (readable)
        atomic_store(&io->readable, 1);
    if (writable)
        atomic_store(&io->writable, 1);
    if (io->ready)
        io->ready(io, readable, writable);
}

const char *gs_io_scheme(const gs_io *io) { return io ? io->scheme : NULL; }

int gs_io_socket(gs_io *io, int domain, int type, int protocol)
{
    return io ? gsi_net_socket(io->netns, domain, type, protocol) : GS_EBADARG;
}

static ssize_t take_early(gs_io *io, const struct iovec *iov, int n)
{
    size_t taken = 0;
    for (int i = 0; i < n && io->early_at < io->early_n; i++) {
        size_t left = io->early_n - io->early_at, k = iov[i].iov_len < left ? iov[i].iov_len : left;
        if (k)
            memcpy(iov[i].iov_base, io->early + io->early_at, k);
        io->early_at += k;
        taken += k;
    }
    if (io->early_at == io->early_n) {
        gsi_free(io->early);
        io->early = NULL;
        io->early_at = io->early_n = 0;
    }
    return (ssize_t)taken;
}

ssize_t gs_io_readv(gs_io *lower, const struct iovec *iov, int n)
{
    if (!lower || !lower->lower || n < 0 || (!iov && n))
        return GS_EBADARG;
    if (lower->early && lower->early_at < lower->early_n)
        return take_early(lower, iov, n);
    return lower->lower->readv(lower->lower_ctx, iov, n);
}

ssize_t gs_io_writev(gs_io *lower, const struct iovec *iov, int n)
{
    if (!lower || !lower->lower || n < 0 || (!iov && n))
        return GS_EBADARG;
    return lower->lower->writev(lower->lower_ctx, iov, n);
}

int gs_io_shutdown(gs_io *lower, gs_how how)
{
    if (!lower || !lower->lower || (how != GS_SHUT_READ && how != GS_SHUT_WRITE && how != GS_SHUT_BOTH))
        return GS_EBADARG;
    return lower->lower->shutdown(lower->lower_ctx, how);
}

int gs_io_flush(gs_io *lower)
{
    if (!lower || !lower->lower)
        return GS_EBADARG;
    return lower->lower->flush ? lower->lower->flush(lower->lower_ctx) : 0;
}
