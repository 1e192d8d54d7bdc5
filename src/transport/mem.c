/* mem.c: mem://name: connections inside this process, without descriptors: for tests of what stands above, and as the second
 * kind of implementation of the table, by which it is seen that nothing above needs a kernel socket.
 *
 * It behaves as the kernel's TCP does on loopback: a connection is established before it is accepted; a listener holds
 * backlog + 1 of them and further ones wait in connect; closing with bytes unread, or close(reset), resets; what had arrived
 * before a reset is read first, then -ECONNRESET once. A write to an end that is closed is -EPIPE at once, as of a unix
 * socket. Names are not addresses: the name slot is -ENOTSUP, and so are the kernel's options.
 *
 * "mem://name?seed=7" makes a ragged network that is the same each time: reads and writes of random short lengths, and
 * answers of -EAGAIN although there is something, each with its gs_transport_ready. A connection takes its own seed, else its
 * listener's.
 *
 * Locks: names (listeners and their queues) before a pair's mutex. gs_transport_ready is called under them: its hook takes no
 * lock of a stream, and an io is not called any more once close has taken it away under the same lock. A pair goes when both
 * ends are closed and no queue holds it.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/seam.h"
#include "net/addr.h"
#include "transport/registry.h"
#include "transport/ring.h"
#include "transport/transport.h"

enum {
    BACKLOG = 5, /* gen_tcp's */
    NAME_BYTES = 255,
    WRITABLE = GSI_RING_MAX / 4, /* a waiting writer is told when so much is free, not of each byte */
};

/* SplitMix64; off: a smooth network. */
struct seed {
    bool on;
    uint64_t state;
};

/* What ctx points to. */
struct head {
    bool listens;
};

struct end {
    struct head head;
    struct pair *pair;
    gs_io *io;          /* NULL: nobody to tell */
    struct gsi_ring in; /* on the way to this end */
    bool closed;
    bool ended; /* the other one sends no more */
    bool shut_read, shut_write;
    bool reset, reset_told;       /* by the other one */
    bool waits_read, waits_write; /* was answered -EAGAIN */
};

enum { CLIENT, SERVER };

struct pair {
    pthread_mutex_t mutex;
    struct end end[2];
    struct seed seed;
    bool connecting; /* the listener has no room yet */
    bool refused;    /* and will have none */
    /* Under names: */
    struct listener *queue; /* where it waits to be accepted */
    struct pair *next;
};

struct listener {
    struct head head;
    struct listener *next;
    gs_io *io;
    struct seed seed;
    uint32_t room; /* for established connections */
    uint32_t n;    /* queued, the connecting ones included */
    struct pair *first;
    char name[NAME_BYTES + 1];
};

static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;
static struct listener *listeners;

static uint64_t draw(struct seed *s)
{
    uint64_t z = s->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Ragged, and one of n times. */
static bool mishap(struct seed *s, unsigned n) { return s->on && draw(s) % n == 0; }

/* How many bytes may go: all, or of a ragged network 1 to 8 or any number. */
static size_t portion(struct seed *s)
{
    if (!s->on)
        return SIZE_MAX;
    return 1 + (size_t)(draw(s) % (mishap(s, 3) ? 8 : GSI_RING_MAX));
}

/* ---- "name?seed=7" ---- */

static int read_seed(const char *rest, const char *text, struct seed *seed)
{
    static const char key[] = "?seed=";
    uint64_t value = 0;
    size_t digits = 0;
    if (*text == '\0')
        return 0;
    if (strncmp(text, key, sizeof key - 1) != 0)
        return gsi_addr_bad(rest, "behind the name stands ?seed=NUMBER or nothing");
    for (text += sizeof key - 1; *text >= '0' && *text <= '9' && digits < 19; text++, digits++)
        value = value * 10 + (uint64_t)(*text - '0');
    if (!digits || *text)
        return gsi_addr_bad(rest, "a seed is a number of 1 to 19 digits");
    *seed = (struct seed){true, value};
    return 0;
}

static int read_target(const gs_target *at, char name[NAME_BYTES + 1], struct seed *seed)
{
    size_t n = strcspn(at->rest, "?");
    if (n == 0 || n > NAME_BYTES)
        return gsi_addr_bad(at->rest, "a mem name has 1 to 255 bytes: mem://name");
    memcpy(name, at->rest, n);
    name[n] = '\0';
    *seed = (struct seed){0};
    return read_seed(at->rest, at->rest + n, seed);
}

/* Options of an address or of a kernel's socket say something that this transport would not do. */
static int check_options(const gs_opt *opts)
{
    int e = 0;
    for (const gs_opt *o = opts; o && o->name != GS_OPT_END; o++) {
        const struct gsi_opt_row *row = gsi_opt_row(o->name);
        if (o->name == GS_OPT_FD && o->v.i >= 0)
            gsi_sys.close((int)o->v.i); /* taken, also on failure */
        if (row && (row->class == GSI_KERNEL_OPT || row->class == GSI_OPEN_OPT) && o->name != GS_OPT_BACKLOG)
            e = gsi_fail(-ENOTSUP, "option %s: mem connections do not have it", row->erlang);
    }
    return e;
}

/* ---- pairs (the mutex held, unless told otherwise) ---- */

static struct end *other(struct end *e) { return &e->pair->end[e == &e->pair->end[CLIENT] ? SERVER : CLIENT]; }

static bool readable(const struct end *e) { return e->in.n || e->ended || e->shut_read || e->reset; }

static bool writable(struct end *e)
{
    const struct end *o = other(e);
    uint32_t free_bytes = GSI_RING_MAX - o->in.n;
    return e->reset || e->shut_write || o->closed || free_bytes >= (e->pair->seed.on ? 1 : WRITABLE);
}

/* Keeps the promise that an answer of -EAGAIN made. */
static void tell(struct end *e)
{
    bool r = e->waits_read && readable(e), w = e->waits_write && !e->pair->connecting && writable(e);
    if (r)
        e->waits_read = false;
    if (w)
        e->waits_write = false;
    if (e->io && (r || w))
        gs_transport_ready(e->io, r, w);
}

static struct pair *pair_new(gs_io *io, const struct seed *seed)
{
    struct pair *p = gsi_zalloc(sizeof *p);
    if (!p)
        return NULL;
    pthread_mutex_init(&p->mutex, NULL);
    p->seed = *seed;
    p->end[CLIENT].pair = p->end[SERVER].pair = p;
    p->end[CLIENT].io = io;
    return p;
}

/* Without the mutex, which nobody else can want any more. */
static void pair_free(struct pair *p)
{
    gsi_ring_free(&p->end[CLIENT].in);
    gsi_ring_free(&p->end[SERVER].in);
    pthread_mutex_destroy(&p->mutex);
    gsi_free(p);
}

/* What closing one end does to the other. */
static void part(struct end *e, bool reset)
{
    struct end *o = other(e);
    reset |= e->in.n > 0;
    e->closed = true;
    e->io = NULL;
    gsi_ring_free(&e->in);
    o->ended = true;
    o->reset |= reset;
    tell(o);
}

/* ---- queues (names held) ---- */

static struct listener *listener_named(const char *name)
{
    for (struct listener *l = listeners; l; l = l->next)
        if (!strcmp(l->name, name))
            return l;
    return NULL;
}

static void enqueue(struct listener *l, struct pair *p)
{
    struct pair **at = &l->first;
    while (*at)
        at = &(*at)->next;
    *at = p;
    p->queue = l;
    p->connecting = l->n++ >= l->room;
    if (!p->connecting && l->io)
        gs_transport_ready(l->io, true, false);
}

/* The pair that came into the queue's room by another's leaving is established. */
static void promote(struct listener *l)
{
    struct pair *p = l->first;
    for (uint32_t i = 1; p && i < l->room; i++)
        p = p->next;
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    bool fresh = p->connecting;
    p->connecting = false;
    tell(&p->end[CLIENT]);
    pthread_mutex_unlock(&p->mutex);
    if (fresh && l->io)
        gs_transport_ready(l->io, true, false);
}

static void dequeue(struct pair *p)
{
    struct listener *l = p->queue;
    struct pair **at = &l->first;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->next = NULL;
    p->queue = NULL;
    l->n--;
    promote(l);
}

/* ---- slots: listen, accept, connect ---- */

static int mem_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    const gs_opt *backlog = gsi_opts_find(opts, GS_OPT_BACKLOG);
    struct listener *l = gsi_zalloc(sizeof *l);
    int e = check_options(opts);
    if (e == 0)
        e = l ? read_target(at, l->name, &l->seed) : -ENOMEM;
    if (e < 0) {
        gsi_free(l);
        return e;
    }
    l->head.listens = true;
    l->io = io;
    l->room = (uint32_t)(backlog ? backlog->v.i : BACKLOG) + 1;
    pthread_mutex_lock(&names);
    bool taken = listener_named(l->name);
    if (!taken) {
        l->next = listeners;
        listeners = l;
    }
    pthread_mutex_unlock(&names);
    if (taken) {
        gsi_free(l);
        return gsi_fail(-EADDRINUSE, "mem://%s: something listens there already", at->rest);
    }
    *ctx = &l->head;
    return 0;
}

static int mem_accept(void *listener, gs_io *io, void **ctx)
{
    struct listener *l = listener;
    pthread_mutex_lock(&names);
    struct pair *p = l->first;
    if (!p || mishap(&l->seed, 3)) {
        if (p && l->io)
            gs_transport_ready(l->io, true, false);
        pthread_mutex_unlock(&names);
        return -EAGAIN;
    }
    pthread_mutex_lock(&p->mutex);
    p->end[SERVER].io = io;
    pthread_mutex_unlock(&p->mutex);
    dequeue(p);
    pthread_mutex_unlock(&names);
    *ctx = &p->end[SERVER].head;
    return 0;
}

static int mem_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    char name[NAME_BYTES + 1];
    struct seed seed;
    int e = check_options(opts);
    if (e == 0)
        e = read_target(to, name, &seed);
    if (e < 0)
        return e;
    struct pair *p = pair_new(io, &seed);
    if (!p)
        return -ENOMEM;
    pthread_mutex_lock(&names);
    struct listener *l = listener_named(name);
    if (!l) {
        pthread_mutex_unlock(&names);
        pair_free(p);
        return gsi_fail(-ECONNREFUSED, "mem://%s: nobody listens there", name);
    }
    if (!seed.on && l->seed.on)
        p->seed = (struct seed){true, draw(&l->seed)};
    bool late = mishap(&p->seed, 2);
    enqueue(l, p);
    pthread_mutex_lock(&p->mutex);
    bool waits = late || p->connecting;
    p->end[CLIENT].waits_write = waits;
    tell(&p->end[CLIENT]);
    pthread_mutex_unlock(&p->mutex);
    pthread_mutex_unlock(&names);
    *ctx = &p->end[CLIENT].head;
    return waits ? -EINPROGRESS : 0;
}

static int mem_handshake(void *ctx)
{
    struct end *e = ctx;
    struct pair *p = e->pair;
    pthread_mutex_lock(&p->mutex);
    int answer = 0;
    if (p->refused)
        answer = -ECONNREFUSED;
    else if (p->connecting || mishap(&p->seed, 3)) {
        answer = -EINPROGRESS;
        e->waits_write = true;
        tell(e);
    }
    pthread_mutex_unlock(&p->mutex);
    return answer == -ECONNREFUSED ? gsi_fail(answer, "the listener closed") : answer;
}

/* ---- slots: bytes ---- */

/* -EAGAIN, with a promise; of a mishap it is kept at once. */
static ssize_t try_later(struct end *e, bool reading)
{
    if (reading)
        e->waits_read = true;
    else
        e->waits_write = true;
    tell(e);
    return -EAGAIN;
}

/* What is told instead of bytes, or 1. */
static ssize_t broken(struct end *e)
{
    if (e->pair->connecting || e->pair->refused)
        return -ENOTCONN;
    if (!e->reset || e->reset_told)
        return 1;
    e->reset_told = true;
    return -ECONNRESET;
}

static size_t length_of(const struct iovec *iov, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    return total;
}

static ssize_t read_locked(struct end *e, const struct iovec *iov, int n)
{
    struct pair *p = e->pair;
    if (e->in.n == 0) {
        ssize_t why = broken(e);
        if (why != 1 || e->ended || e->shut_read)
            return why == 1 ? 0 : why;
        gsi_ring_free(&e->in);
        return try_later(e, true);
    }
    if (mishap(&p->seed, 4))
        return try_later(e, true);
    ssize_t got = (ssize_t)gsi_ring_read(&e->in, iov, n, portion(&p->seed));
    tell(other(e));
    return got;
}

static ssize_t write_locked(struct end *e, const struct iovec *iov, int n)
{
    struct pair *p = e->pair;
    struct end *o = other(e);
    ssize_t why = broken(e);
    if (why != 1)
        return why;
    if (e->shut_write || o->closed || e->reset)
        return -EPIPE;
    if (o->in.n == GSI_RING_MAX || mishap(&p->seed, 4))
        return length_of(iov, n) ? try_later(e, false) : 0;
    ssize_t put = gsi_ring_write(&o->in, iov, n, portion(&p->seed));
    tell(o);
    return put;
}

static ssize_t mem_readv(void *ctx, const struct iovec *iov, int n)
{
    struct end *e = ctx;
    pthread_mutex_lock(&e->pair->mutex);
    ssize_t k = read_locked(e, iov, n);
    pthread_mutex_unlock(&e->pair->mutex);
    return k;
}

static ssize_t mem_writev(void *ctx, const struct iovec *iov, int n)
{
    struct end *e = ctx;
    pthread_mutex_lock(&e->pair->mutex);
    ssize_t k = write_locked(e, iov, n);
    pthread_mutex_unlock(&e->pair->mutex);
    return k;
}

static int mem_poll(void *ctx, size_t *buffered)
{
    struct head *h = ctx;
    struct end *e = ctx;
    *buffered = 0;
    if (h->listens)
        return -1;
    pthread_mutex_lock(&e->pair->mutex);
    *buffered = e->in.n;
    pthread_mutex_unlock(&e->pair->mutex);
    return -1;
}

/* ---- slots: the end ---- */

static int mem_shutdown(void *ctx, gs_how how)
{
    struct head *h = ctx;
    struct end *e = ctx;
    if (h->listens)
        return -ENOTCONN;
    struct pair *p = e->pair;
    pthread_mutex_lock(&p->mutex);
    int answer = p->connecting || p->refused || e->reset ? -ENOTCONN : 0;
    if (answer == 0 && how != GS_SHUT_WRITE) {
        e->shut_read = true;
        tell(e);
    }
    if (answer == 0 && how != GS_SHUT_READ) {
        e->shut_write = true;
        other(e)->ended = true;
        tell(e);
        tell(other(e));
    }
    pthread_mutex_unlock(&p->mutex);
    return answer;
}

/* Nobody will accept it any more. Names held; the pair's last reference may be gone with it. */
static void turn_away(struct pair *p)
{
    pthread_mutex_lock(&p->mutex);
    p->queue = NULL;
    p->next = NULL;
    p->refused = p->connecting;
    p->connecting = false;
    part(&p->end[SERVER], true);
    bool last = p->end[CLIENT].closed;
    pthread_mutex_unlock(&p->mutex);
    if (last)
        pair_free(p);
}

static void close_listener(struct listener *l)
{
    pthread_mutex_lock(&names);
    struct listener **at = &listeners;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    while (l->first) {
        struct pair *p = l->first;
        l->first = p->next;
        turn_away(p);
    }
    pthread_mutex_unlock(&names);
    gsi_free(l);
}

/* An attempt that the listener has not taken up leaves its queue; an established connection stays to be accepted. */
static void leave_queue(struct end *e)
{
    struct pair *p = e->pair;
    pthread_mutex_lock(&names);
    pthread_mutex_lock(&p->mutex);
    bool attempt = p->queue && p->connecting;
    if (attempt)
        p->end[SERVER].closed = true;
    pthread_mutex_unlock(&p->mutex);
    if (attempt)
        dequeue(p);
    pthread_mutex_unlock(&names);
}

static void mem_close(void *ctx, bool reset)
{
    struct head *h = ctx;
    struct end *e = ctx;
    if (h->listens) {
        close_listener(ctx);
        return;
    }
    struct pair *p = e->pair;
    if (e == &p->end[CLIENT])
        leave_queue(e);
    pthread_mutex_lock(&p->mutex);
    part(e, reset);
    bool last = other(e)->closed;
    pthread_mutex_unlock(&p->mutex);
    if (last)
        pair_free(p);
}

const struct gs_transport gsi_mem = {
    .size = sizeof gsi_mem,
    .scheme = "mem",
    .listen = mem_listen,
    .accept = mem_accept,
    .connect = mem_connect,
    .handshake = mem_handshake,
    .readv = mem_readv,
    .writev = mem_writev,
    .shutdown = mem_shutdown,
    .close = mem_close,
    .poll = mem_poll,
};
