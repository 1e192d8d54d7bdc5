/* box.c: the sockets of ei: contexts, who is inside, descriptors (bridge.h has the picture). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "ei/bridge.h"

/* A context: generation, then the descriptor. Boxes come in segments, made at first use. */
enum {
    FD_BITS = UINTPTR_MAX > UINT32_MAX ? 24 : 20,
    GENERATION_BITS = UINTPTR_MAX > UINT32_MAX ? 32 : 12,
    SEGMENT = 64,
    SEGMENTS = 1 << 14, /* a million descriptors */
};
#define GENERATION_MASK ((UINT64_C(1) << GENERATION_BITS) - 1)
#define FD_MASK ((UINT64_C(1) << FD_BITS) - 1)
#define OPEN (UINT64_C(1) << 31)
#define INSIDE (OPEN - 1)

static _Atomic(struct gsi_ei_box *) segments[SEGMENTS];

static uint64_t generation_of(uint64_t word) { return word >> 32; }

static struct gsi_ei_box *place_of(int fd)
{
    if (fd < 0 || fd / SEGMENT >= SEGMENTS)
        return NULL;
    struct gsi_ei_box *s = atomic_load(&segments[fd / SEGMENT]);
    return s ? &s[fd % SEGMENT] : NULL;
}

static void init_writing(struct gsi_ei_box *b)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&b->written, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&b->mutex, NULL);
}

/* Makes the segment; NULL: no memory. */
static struct gsi_ei_box *make_place(int fd)
{
    struct gsi_ei_box *fresh = gsi_ei_sys.malloc(SEGMENT * sizeof *fresh), *none = NULL;
    if (!fresh)
        return NULL;
    memset(fresh, 0, SEGMENT * sizeof *fresh);
    for (int i = 0; i < SEGMENT; i++)
        init_writing(&fresh[i]);
    if (!atomic_compare_exchange_strong(&segments[fd / SEGMENT], &none, fresh))
        gsi_ei_sys.free(fresh); /* another thread was first */
    return place_of(fd);
}

/* ---- who is inside ---- */

void *gsi_ei_box_ctx(const struct gsi_ei_box *b)
{
    uint64_t generation = generation_of(atomic_load(&b->word)) & GENERATION_MASK;
    return (void *)(uintptr_t)(generation << FD_BITS | (uint64_t)b->fd);
}

static bool enter(struct gsi_ei_box *b, bool any, uint64_t generation)
{
    uint64_t w = atomic_load_explicit(&b->word, memory_order_relaxed);
    do {
        if (!(w & OPEN) || (!any && (generation_of(w) & GENERATION_MASK) != generation))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->word, &w, w + 1, memory_order_acquire, memory_order_relaxed));
    return true;
}

struct gsi_ei_box *gsi_ei_box_enter(void *ctx)
{
    uint64_t c = (uintptr_t)ctx;
    struct gsi_ei_box *b = c >> FD_BITS <= GENERATION_MASK ? place_of((int)(c & FD_MASK)) : NULL;
    return b && enter(b, false, c >> FD_BITS) ? b : NULL;
}

struct gsi_ei_box *gsi_ei_box_enter_fd(int fd)
{
    struct gsi_ei_box *b = place_of(fd);
    return b && enter(b, true, 0) ? b : NULL;
}

bool gsi_ei_box_is_open(const struct gsi_ei_box *b) { return atomic_load(&b->word) & OPEN; }

/* Nobody is inside and nobody enters: everything goes, the descriptor last, for its number is the box's place. */
static void give_back(struct gsi_ei_box *b)
{
    int fd = b->fd;
    gs_stream s = gsi_ei_box_stream(b);
    if (s.id)
        (void)gs_stream_close(s);
    gsi_ei_input_free(b);
    gsi_ei_sys.free(b->address);
    b->address = NULL;
    atomic_store(&b->stream, 0);
    atomic_store(&b->word, atomic_load(&b->word) & ~INSIDE);
    (void)gsi_ei_sys.close(fd);
}

/* The last one out of a closed box stays counted until everything is given back: a number that is in use is not a free place. */
void gsi_ei_box_leave(struct gsi_ei_box *b)
{
    uint64_t w = atomic_load_explicit(&b->word, memory_order_relaxed);
    for (;;) {
        if (!(w & OPEN) && (w & INSIDE) == 1) {
            (void)atomic_load_explicit(&b->word, memory_order_acquire); /* what the others did comes before this */
            give_back(b);
            return;
        }
        if (atomic_compare_exchange_weak_explicit(&b->word, &w, w - 1, memory_order_acq_rel, memory_order_relaxed))
            return;
    }
}

struct gsi_ei_handshake {
    struct gsi_ei_handshake *next, **at;
    gs_stream s;
};

/* Who begins one puts it in the list and then looks whether the box is open; who closes does it the other way round. */
int gsi_ei_box_handshake(struct gsi_ei_box *listener, gs_stream s, int timeout_ms)
{
    struct gsi_ei_handshake h = {.at = &listener->handshakes, .s = s};
    pthread_mutex_lock(&listener->mutex);
    h.next = listener->handshakes;
    if (h.next)
        h.next->at = &h.next;
    listener->handshakes = &h;
    pthread_mutex_unlock(&listener->mutex);
    int e = gsi_ei_box_is_open(listener) ? gs_stream_handshake(s, timeout_ms) : GS_ECLOSED;
    pthread_mutex_lock(&listener->mutex);
    *h.at = h.next;
    if (h.next)
        h.next->at = h.at;
    pthread_mutex_unlock(&listener->mutex);
    return e;
}

static void end_handshakes(struct gsi_ei_box *b)
{
    pthread_mutex_lock(&b->mutex);
    for (const struct gsi_ei_handshake *h = b->handshakes; h; h = h->next)
        (void)gs_stream_close(h->s);
    pthread_mutex_unlock(&b->mutex);
}

bool gsi_ei_box_close(struct gsi_ei_box *b)
{
    if (!(atomic_fetch_and(&b->word, ~OPEN) & OPEN))
        return false;
    gs_stream s = gsi_ei_box_stream(b);
    if (s.id && b->way == GSI_EI_PLAIN)
        gsi_ei_plain_wake(b);
    if (s.id)
        (void)gs_stream_close(s);
    end_handshakes(b);
    return true;
}

/* ---- opening ---- */

static int claim(struct gsi_ei_box *b, int fd)
{
    uint64_t w = atomic_load(&b->word);
    uint64_t next = (generation_of(w) + 1) & GENERATION_MASK;
    if (w & (OPEN | INSIDE) || !atomic_compare_exchange_strong(&b->word, &w, (next ? next : 1) << 32 | OPEN | 1))
        return gs_fail(-EBUSY, "descriptor %d was closed behind ei's back: ei_close_connection is what closes it", fd);
    return 0;
}

int gsi_ei_box_new(struct gsi_ei_box **out, const gs_ei_setup *setup)
{
    int fd = gsi_ei_sys.epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct gsi_ei_box *b = place_of(fd);
    int e = b || fd / SEGMENT < SEGMENTS ? 0 : gs_fail(GS_ESYSLIMIT, "descriptor %d is beyond %d", fd, SEGMENT * SEGMENTS);
    if (e == 0 && !b && !(b = make_place(fd)))
        e = -ENOMEM;
    if (e == 0)
        e = claim(b, fd);
    if (e < 0) {
        (void)gsi_ei_sys.close(fd);
        return e;
    }
    b->fd = fd;
    b->setup = setup;
    b->role = GSI_EI_FRESH;
    b->way = GSI_EI_PLAIN;
    b->send_timeout = GS_INFINITY;
    b->bell = -1;
    b->rings = b->armed = false;
    b->mailbox = b->waiting_mailbox = GS_NO_MAILBOX;
    b->waiting = GS_NO_STREAM;
    b->ahead = NULL;
    b->ahead_at = b->ahead_end = 0;
    b->ended = 0;
    b->address = NULL;
    atomic_store(&b->reading, false);
    *out = b;
    return 0;
}

/* All its bytes are the kernel's, and its descriptor, also in blocking mode, is the whole truth. GS_T_KERNEL does not say that
 * much: a transport of somebody's own may count or change what passes, and rely on the mode. */
static bool is_plain(const gs_stream_info_t *info)
{
    static const char *const own[] = {"tcp", "unix", "tailnet"};
    const struct gs_transport *t = gs_transport_find(info->transport); /* NULL for a stack of several */
    bool ours = false;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        ours |= strcmp(info->transport, own[i]) == 0;
    return ours && t && t->flags & GS_T_KERNEL && info->fd >= 0;
}

static int add(struct gsi_ei_box *b, int fd)
{
    struct epoll_event in = {.events = EPOLLIN};
    return gsi_ei_sys.epoll_ctl(b->fd, EPOLL_CTL_ADD, fd, &in) < 0 ? -errno : 0;
}

static int add_bell(struct gsi_ei_box *b)
{
    b->bell = gsi_ei_sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return b->bell < 0 ? -errno : add(b, b->bell);
}

static int add_mailbox(struct gsi_ei_box *b, gs_stream s)
{
    int e = 0;
    if (!b->mailbox.id && (e = gs_mailbox_new(&b->mailbox)) == 0)
        e = gs_stream_controlling_process(s, GS_NO_MAILBOX, b->mailbox);
    int fd = e < 0 ? e : gs_mailbox_fd(b->mailbox);
    return fd < 0 ? fd : add(b, fd);
}

/* The number becomes another descriptor of the socket; ei's sockets are blocking ones, and gensock does not mind. */
static int show_socket(struct gsi_ei_box *b, int fd)
{
    if (gsi_ei_sys.dup3(fd, b->fd, O_CLOEXEC) < 0)
        return -errno;
    int flags = gsi_ei_sys.fcntl(b->fd, F_GETFL, 0);
    return flags < 0 || gsi_ei_sys.fcntl(b->fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

int gsi_ei_box_settle(struct gsi_ei_box *b, gs_stream s, gs_mailbox mailbox, enum gsi_ei_role role)
{
    gs_stream_info_t info;
    int e = gs_stream_info(s, &info);
    b->mailbox = mailbox;
    bool plain = e < 0 || (is_plain(&info) && role == GSI_EI_CONNECTION); /* a blocking listener would make accept wait */
    b->way = plain ? GSI_EI_PLAIN : info.fd >= 0 ? GSI_EI_BESIDE : GSI_EI_MAIL;
    if (e == 0 && plain)
        e = show_socket(b, info.fd);
    if (e == 0 && !plain)
        e = add_bell(b);
    if (e == 0 && b->way == GSI_EI_BESIDE)
        e = add(b, info.fd);
    if (e == 0 && b->way == GSI_EI_MAIL)
        e = add_mailbox(b, s);
    if (e < 0) {
        (void)gs_stream_close(s);
        gsi_ei_input_free(b);
        return e;
    }
    b->role = (uint8_t)role;
    atomic_store(&b->stream, s.id);
    if (!gsi_ei_box_is_open(b)) /* closed while it was on its way */
        (void)gs_stream_close(s);
    gsi_ei_input_begin(b);
    return 0;
}
