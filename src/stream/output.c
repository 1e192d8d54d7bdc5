/* output.c: what was sent and has not left: the queue of a stream with an owner.
 *
 * It holds corked replies while a batch runs, and what the transport did not take (then the stream is stuck: its descriptor is
 * watched for room, it is on its owner's output list, and the flusher looks after it while the owner is away).
 */
#include <errno.h>
#include <string.h>

#include "stream/stream.h"

enum { OUTPUT_MIN = 4096, OUTPUT_SPARE = OUTPUT_MIN, USER_PIECES = 16, FLAT_MAX = 2048, PIECES = 2 * OUTPUT_REFS + 1 + USER_PIECES };

/* Room for n more bytes behind the end. */
static int reserve(struct stream *s, size_t n)
{
    struct output *o = s->out;
    size_t end = o ? o->end : 0;
    if (o && o->cap - end >= n)
        return 0;
    if (n > SIZE_MAX / 4 || end > SIZE_MAX / 4)
        return -ENOMEM;
    if (!o && n <= OUTPUT_SPARE && in_turn(s) && s->source.owner->hot.output) {
        s->out = s->source.owner->hot.output;
        s->source.owner->hot.output = NULL;
        return 0;
    }
    size_t cap = 2 * (end + n) < OUTPUT_MIN ? OUTPUT_MIN : 2 * (end + n);
    struct output *fresh = gsi_realloc(o, sizeof *fresh + cap);
    if (!fresh)
        return -ENOMEM;
    if (!o)
        memset(fresh, 0, sizeof *fresh);
    fresh->cap = cap;
    s->out = fresh;
    return 0;
}

static void put(struct output *o, const void *p, size_t n)
{
    if (n)
        memcpy(o->d + o->end, p, n);
    o->end += n;
}

/* Appends iov without its first `skip` bytes. */
static int append_rest(struct stream *s, const struct iovec *iov, int n, size_t skip)
{
    int e = reserve(s, total_of(iov, n) - skip);
    if (e < 0)
        return e;
    for (int i = 0; i < n; i++) {
        size_t len = iov[i].iov_len, from = skip < len ? skip : len;
        skip -= from;
        put(s->out, (const uint8_t *)iov[i].iov_base + from, len - from);
    }
    return 0;
}

int output_append(struct stream *s, const struct iovec *iov, int n) { return append_rest(s, iov, n, 0); }

int output_add_ref(struct stream *s, const void *p, size_t n)
{
    if (s->out && s->out->refs == OUTPUT_REFS)
        return -ENOMEM;
    int e = reserve(s, 0);
    if (e == 0 && !s->out)
        e = reserve(s, OUTPUT_MIN / 2);
    if (e < 0)
        return e;
    struct output *o = s->out;
    o->ref_bytes += n;
    if (o->refs && o->ref[o->refs - 1].at == o->end && o->ref[o->refs - 1].p + o->ref[o->refs - 1].n == p) {
        o->ref[o->refs - 1].n += n; /* goes on where the last one ends */
        return 0;
    }
    o->ref[o->refs].at = o->end;
    o->ref[o->refs].p = p;
    o->ref[o->refs++].n = n;
    return 0;
}

/* One empty buffer stays with the turn: a batch of answers needs one, and so does the next. */
void output_free(struct stream *s)
{
    struct output *o = s->out;
    s->out = NULL;
    if (o && o->cap >= OUTPUT_SPARE && o->cap <= 4 * OUTPUT_SPARE && in_turn(s) && !s->source.owner->hot.output) {
        o->at = o->end = o->ref_bytes = 0;
        o->refs = 0;
        s->source.owner->hot.output = o;
    } else
        gsi_free(o);
}

/* The queue as pieces, in order. */
static int pieces_of(const struct output *o, struct iovec *v)
{
    int n = 0;
    size_t at = o->at;
    for (uint32_t i = 0; i < o->refs; i++) {
        if (o->ref[i].at > at)
            v[n++] = (struct iovec){(void *)(uintptr_t)(o->d + at), o->ref[i].at - at};
        at = o->ref[i].at;
        v[n++] = (struct iovec){(void *)(uintptr_t)o->ref[i].p, o->ref[i].n};
    }
    if (o->end > at)
        v[n++] = (struct iovec){(void *)(uintptr_t)(o->d + at), o->end - at};
    return n;
}

/* ---- states ---- */

static void no_longer_stuck(struct stream *s, uint64_t id)
{
    s->stuck = s->delayed = false;
    if (s->source.owner) {
        if (stream_arm(s, id, s->armed & EPOLLIN) < 0)
            s->armed = (uint8_t)(s->armed | EPOLLOUT); /* stays watched: the next event tries again */
        gsi_source_unlist(&s->source, id, GSI_OUTPUT);
    }
    flusher_forget(s, id);
}

void output_watch(struct stream *s, uint64_t id)
{
    if (!(s->armed & EPOLLOUT) && stream_arm(s, id, s->armed | EPOLLOUT) < 0)
        stream_look_again(s, id);
}

static void stuck(struct stream *s, uint64_t id)
{
    if (s->stuck)
        return;
    s->stuck = true;
    if (!s->source.owner) {
        if (s->more && s->more->io)
            stream_io_owner(s, NULL);
        (void)flusher_help(id); /* else the next call on the stream does it */
        return;
    }
    output_watch(s, id);
    gsi_source_list(&s->source, id, GSI_OUTPUT);
    flusher_watch(s->source.owner);
}

/* Below the low watermark: who waits may go on. */
static void relieved(struct stream *s, uint64_t id)
{
    gsi_wake(&s->source.object);
    if (s->want_drained) {
        s->want_drained = false;
        s->tell_drained = true;
        if (s->source.owner)
            gsi_source_ready(&s->source, id);
    }
}

/* Writing is over for good. Reading is not: what the peer sent before comes first, then the kernel tells the end. */
static int output_failed(struct stream *s, uint64_t id, int error)
{
    bool peer_gone = error == -EPIPE || error == -ECONNRESET;
    s->send_error = (int16_t)error;
    output_free(s);
    if (s->stuck || s->delayed)
        no_longer_stuck(s, id);
    if (!peer_gone || s->shut_pending) {
        s->shut_pending = false;
        input_ended(s, error);
    }
    relieved(s, id);
    if (s->source.owner && s->eof == END_SEEN)
        gsi_source_ready(&s->source, id);
    return stream_end_code(s, error);
}

/* Everything was given to the transport; does it hold some of it back? 1, 0, or the error. */
int output_held(struct stream *s)
{
    const struct gs_transport *t = s->t;
    void *ctx = s->ctx;
    for (int i = s->more ? s->more->layers : 0; !t->flush && i-- > 0;) { /* a layer that holds back may lie below one that does not */
        t = s->more->layer[i].io.lower;
        ctx = s->more->layer[i].io.lower_ctx;
    }
    if (!t->flush)
        return 0;
    if (descriptorless(s) && s->more && s->more->io)
        atomic_store(&stream_io(s->more->io)->writable, 0);
    int e;
    do
        e = t->flush(ctx);
    while (e == -EINTR);
    return e == -EAGAIN || e == GS_EWANT_READ || e == GS_EWANT_WRITE ? 1 : e;
}

static int all_gone(struct stream *s, uint64_t id)
{
    output_free(s);
    if (s->stuck || s->delayed)
        no_longer_stuck(s, id);
    relieved(s, id);
    if (!s->shut_pending)
        return 0;
    s->shut_pending = false;
    int e = stream_shutdown_now(s, GS_SHUT_WRITE);
    if (e < 0 && e != -ENOTCONN)
        return output_failed(s, id, e);
    output_see_held(s, id);
    return 0;
}

/* ---- writing ---- */

static ssize_t write_once(struct stream *s, const struct iovec *v, int n)
{
    if (descriptorless(s) && s->more && s->more->io)
        atomic_store(&stream_io(s->more->io)->writable, 0);
    ssize_t k;
    do
        k = s->t->writev(s->ctx, v, n);
    while (k == -EINTR);
    return k == -EAGAIN || k == GS_EWANT_READ || k == GS_EWANT_WRITE ? 0 : k;
}

/* The queue is empty: it is over when the transport has nothing left either. */
static int finish(struct stream *s, uint64_t id)
{
    int held = output_held(s);
    if (held < 0)
        return output_failed(s, id, held);
    if (held) {
        output_free(s);
        relieved(s, id);
        stuck(s, id);
        return 0;
    }
    return s->out || s->stuck || s->delayed || s->shut_pending ? all_gone(s, id) : 0;
}

void output_see_held(struct stream *s, uint64_t id)
{
    if (s->t && !has_output(s) && !s->writer && !s->send_error && output_held(s) == 1)
        stuck(s, id);
}

/* k bytes of queue and iov have left; the rest becomes the queue. */
static int keep_rest(struct stream *s, const struct iovec *pieces, int n_pieces, const struct iovec *iov, int n, size_t k)
{
    size_t queued = out_len(s);
    struct output *o = s->out;
    if (o && o->refs) { /* the owner's memory is about to be read into: everything is copied out of it */
        s->out = NULL;
        int e = append_rest(s, pieces, n_pieces, k < queued ? k : queued);
        if (e == 0)
            e = append_rest(s, iov, n, k > queued ? k - queued : 0);
        gsi_free(o);
        return e;
    }
    if (o && k < queued) {
        o->at += k;
        if (o->at > o->cap / 2) { /* moving less than half: amortised */
            memmove(o->d, o->d + o->at, o->end - o->at);
            o->end -= o->at;
            o->at = 0;
        }
        return append_rest(s, iov, n, 0);
    }
    if (o)
        o->at = o->end = 0;
    return append_rest(s, iov, n, k - queued);
}

/* Short pieces are cheaper to copy than to list for the kernel: behind the queue, or into flat when there is none. *one is what
 * is left to write beside the queue. */
static bool flatten(struct stream *s, const struct iovec *iov, int n, uint8_t *flat, struct iovec *one)
{
    size_t total = total_of(iov, n);
    if (total > FLAT_MAX || (s->out && s->out->refs))
        return false;
    *one = (struct iovec){0};
    if (s->out)
        return append_rest(s, iov, n, 0) == 0;
    *one = (struct iovec){flat, total};
    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len)
            memcpy(flat, iov[i].iov_base, iov[i].iov_len);
        flat += iov[i].iov_len;
    }
    return true;
}

/* *partly: the transport took something and not all. */
static int write_step(struct stream *s, uint64_t id, const struct iovec *iov, int n, bool *partly)
{
    if (s->send_error)
        return stream_end_code(s, s->send_error);
    if (n && (s->stuck || s->writer)) /* its turn comes */
        return output_append(s, iov, n);
    if (s->writer)
        return 0;
    struct iovec v[PIECES], one;
    uint8_t flat[FLAT_MAX];
    if (n > 1 && flatten(s, iov, n, flat, &one)) {
        iov = &one;
        n = one.iov_len > 0;
    }
    int n_pieces = s->out ? pieces_of(s->out, v) : 0;
    if (n > USER_PIECES && n_pieces) {
        int e = output_write(s, id, NULL, 0);
        return e < 0 ? e : write_step(s, id, iov, n, partly);
    }
    size_t queued = out_len(s), total = queued + total_of(iov, n);
    if (!total)
        return finish(s, id);

    ssize_t k;
    if (n > USER_PIECES)
        k = write_once(s, iov, n);
    else {
        for (int i = 0; i < n; i++)
            v[n_pieces + i] = iov[i];
        k = write_once(s, v, n_pieces + n);
    }
    if (k < 0)
        return output_failed(s, id, (int)k);
    if ((size_t)k == total)
        return finish(s, id);
    int e = keep_rest(s, v, n_pieces, iov, n, (size_t)k);
    if (e < 0) /* a packet is cut in two and cannot be kept: the stream ends, unless nothing of it has left */
        return k == 0 && !queued ? e : output_failed(s, id, e);
    *partly = k > 0;
    stuck(s, id);
    if (out_len(s) <= s->profile->low)
        relieved(s, id);
    return 0;
}

/* A transport without descriptor tells of room only after it answered -EAGAIN, so it is asked until it does. */
int output_write(struct stream *s, uint64_t id, const struct iovec *iov, int n)
{
    bool partly = false;
    int e = write_step(s, id, iov, n, &partly);
    while (e == 0 && partly && has_output(s) && descriptorless(s)) {
        partly = false;
        e = write_step(s, id, NULL, 0, &partly);
    }
    return e;
}

/* What the turn has corked and published, to be written behind the queue. */
static struct iovec take_cork(struct stream *s)
{
    struct gsi_cork *cork = &s->source.owner->hot.cork;
    uint32_t end = atomic_load_explicit(&cork->end, memory_order_acquire), from = cork->sent;
    cork->sent = end;
    return (struct iovec){cork->p + from, end - from};
}

/* The turn's: counts what was corked, and starts anew. */
static void settle_cork(struct stream *s)
{
    struct gsi_cork *cork = &s->source.owner->hot.cork;
    s->stat.send_oct += cork->bytes;
    s->stat.send_cnt += cork->count;
    if (cork->longest > s->stat.send_max)
        s->stat.send_max = cork->longest;
    cork->sent = cork->count = cork->bytes = cork->longest = 0;
    atomic_store_explicit(&cork->end, 0, memory_order_relaxed);
}

void output_uncork(struct stream *s, uint64_t id)
{
    struct gsi_mailbox *mb = s->source.owner;
    bool mine = mb && gsi_in_turn(mb) && gsi_current(mb) == id;
    /* Another thread may have closed the cork just when the turn published once more: then only the turn knows. */
    if (!s->corked && !(mine && atomic_load_explicit(&mb->hot.cork.end, memory_order_relaxed)))
        return;
    s->corked = false;
    if (!mb)
        return;
    atomic_store_explicit(&mb->corked, 0, memory_order_relaxed);
    atomic_store_explicit(&mb->hot.cork.open, 0, memory_order_relaxed);
    struct iovec v = take_cork(s);
    if ((v.iov_len || s->out) && output_write(s, id, &v, v.iov_len > 0) == -ENOMEM && !s->send_error)
        (void)output_failed(s, id, -ENOMEM); /* these bytes were accepted: they cannot be refused any more */
    if (mine)
        settle_cork(s);
}

int output_write_behind(struct stream *s, uint64_t id, const struct iovec *iov, int n)
{
    struct gsi_mailbox *mb = s->source.owner;
    bool only_pieces = s->corked && mb && !atomic_load_explicit(&mb->hot.cork.end, memory_order_relaxed);
    if (only_pieces) { /* they are in the queue: one write for all */
        s->corked = false;
        atomic_store_explicit(&mb->corked, 0, memory_order_relaxed);
    } else
        output_uncork(s, id);
    return output_write(s, id, iov, n);
}
