/* send.c: the one send contract (design 4.7): queued with an owner, direct without. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "stream/stream.h"

enum {
    REF_MIN = 2048,       /* shorter payloads are cheaper to copy than to refer to */
    IOV_LIMIT = 1024,     /* UIO_MAXIOV */
    SMALL = 15,           /* pieces that need no memory for the list with the header */
    FILE_CHUNK = 64 * 1024,
};

static void count_sent(struct stream *s, size_t n)
{
    s->stat.send_oct += n;
    s->stat.send_cnt++;
    if (n > s->stat.send_max)
        s->stat.send_max = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* Locked. May this stream be sent to? A handshake that still runs is finished first. */
static int check_sendable(struct stream *s, uint64_t id)
{
    if (s->state == LISTENING)
        return -ENOTCONN;
    if (s->state == OPENING) {
        if (s->more->opening->tell)
            return s->more->opening->tell == GS_MSG_CONNECT ? -ENOTCONN : -EALREADY;
        int e = opening_finish(s, id, gsi_deadline(s->profile->send_timeout));
        if (e < 0)
            return e;
    }
    if (s->send_error)
        return stream_end_code(s, s->send_error);
    return s->shut_write || s->shut_pending ? GS_ECLOSED : 0;
}

/* ---- queued ---- */

/* Frames of the batch that is being delivered are still to come: the answer to the last one takes this along. */
static bool frames_to_come(const struct gsi_hot *hot) { return gsi_hot_has_claim(hot) || hot->more; }

static bool batch_goes_on(const struct stream *s, uint64_t id)
{
    return in_turn(s) && gsi_current(s->source.owner) == id && frames_to_come(&s->source.owner->hot);
}

/* In the owner's turn. A payload that stays where it is until the batch ends, and is long enough to be referred to. */
static bool is_long_echo(const struct stream *s, const struct iovec *v, int n, size_t body)
{
    uintptr_t at = (uintptr_t)v[n - 1].iov_base, hot = (uintptr_t)s->source.owner->hot.p;
    return n == 2 && body >= REF_MIN && at >= hot && at < hot + GSI_HOT;
}

/* Writes a message into the cork and publishes it; there is room. */
static inline void put_into_cork(struct gsi_cork *cork, const uint8_t *header, uint32_t header_n, const void *p, size_t n)
{
    uint32_t end = atomic_load_explicit(&cork->end, memory_order_relaxed);
    memcpy(cork->p + end, header, header_n);
    if (n)
        memcpy(cork->p + end + header_n, p, n);
    cork->count++;
    cork->bytes += (uint32_t)n;
    if (n > cork->longest)
        cork->longest = (uint32_t)n;
    atomic_store_explicit(&cork->end, end + header_n + (uint32_t)n, memory_order_release);
}

/* The batch's first short answer opens the cork; the next ones find it open (send_into_cork). */
static bool open_cork(struct stream *s, const struct iovec *v, int n, size_t body)
{
    struct gsi_cork *cork = &s->source.owner->hot.cork;
    uint32_t end = atomic_load_explicit(&cork->end, memory_order_relaxed);
    if (s->out || n != 2 || body >= REF_MIN || s->profile->debug || end + 4 + body > GSI_CORK ||
        (!cork->p && !(cork->p = gsi_alloc(GSI_CORK))))
        return false;
    cork->header = (uint32_t)v[0].iov_len;
    put_into_cork(cork, v[0].iov_base, cork->header, v[1].iov_base, body);
    atomic_store_explicit(&cork->open, 1, memory_order_relaxed);
    return true;
}

/* What is sent came in with the same header in front of it, so both are one piece of the read buffer. */
static bool comes_with_header(const struct stream *s, const struct iovec *v)
{
    const uint8_t *hot = s->source.owner->hot.p, *p = v[1].iov_base;
    return (size_t)(p - hot) >= v[0].iov_len && !memcmp(p - v[0].iov_len, v[0].iov_base, v[0].iov_len);
}

/* A long payload out of the read buffer is not copied. v[0] is the header. */
static int refer(struct stream *s, uint64_t id, const struct iovec *v, int n)
{
    if (s->out && s->out->refs == OUTPUT_REFS) {
        int e = output_write(s, id, NULL, 0);
        if (e < 0 || s->stuck)
            return e < 0 ? e : output_append(s, v, n);
    }
    if (comes_with_header(s, v))
        return output_add_ref(s, (const uint8_t *)v[1].iov_base - v[0].iov_len, v[0].iov_len + v[1].iov_len);
    int e = output_append(s, v, 1);
    return e < 0 ? e : output_add_ref(s, v[1].iov_base, v[1].iov_len);
}

static int cork(struct stream *s, uint64_t id, const struct iovec *v, int n, size_t body, bool *counted)
{
    struct gsi_mailbox *mb = s->source.owner;
    int e = 0;
    *counted = open_cork(s, v, n, body);
    if (!*counted) {
        if (atomic_load_explicit(&mb->hot.cork.end, memory_order_relaxed)) /* comes first */
            output_uncork(s, id);
        if (s->stuck || s->send_error)
            return output_write(s, id, v, n);
        e = is_long_echo(s, v, n, body) ? refer(s, id, v, n) : output_append(s, v, n);
    }
    if (e == 0 && !s->corked) {
        s->corked = true;
        atomic_store_explicit(&mb->corked, id, memory_order_relaxed);
        if (!atomic_load_explicit(&mb->watched, memory_order_relaxed))
            flusher_watch(mb);
    }
    return e;
}

/* delay_send: until the mailbox has nothing else to do. */
static int delay(struct stream *s, uint64_t id, const struct iovec *v, int n)
{
    int e = output_append(s, v, n);
    if (e < 0)
        return e;
    if (!s->delayed) {
        s->delayed = true;
        gsi_source_list(&s->source, id, GSI_OUTPUT);
        gsi_source_ready(&s->source, id);
        flusher_watch(s->source.owner);
    }
    return 0;
}

/* Above the high watermark: waits until below the low one. The bytes are queued whatever comes. */
static int wait_for_room(struct stream *s, uint64_t id)
{
    uint64_t deadline = gsi_deadline(s->profile->send_timeout);
    int e = 0;
    while (out_len(s) > s->profile->low) {
        e = stream_wait(s, s->writer ? 0 : POLLOUT, deadline);
        if (e == GS_ECLOSED)
            return e;
        if (!s->writer && s->stuck) {
            int written = output_flush(s, id);
            if (written < 0)
                return written;
        }
        if (e < 0)
            return out_len(s) > s->profile->low ? e : 0;
    }
    return s->send_error ? stream_end_code(s, s->send_error) : 0;
}

/* The answer to the last frame, or one too long to wait: what is corked goes out in front of it, in one write with it if it can. */
static int write_behind_cork(struct stream *s, uint64_t id, const struct iovec *v, int n, size_t body)
{
    struct gsi_mailbox *mb = s->source.owner;
    if (s->corked && !s->stuck && n == 2 && gsi_in_turn(mb) && gsi_current(mb) == id) {
        struct gsi_cork *cork = &mb->hot.cork;
        uint32_t end = atomic_load_explicit(&cork->end, memory_order_relaxed);
        if (end && body < REF_MIN && cork->header == v[0].iov_len && end + 4 + body <= GSI_CORK) {
            put_into_cork(cork, v[0].iov_base, cork->header, v[1].iov_base, body);
            cork->count--;
            cork->bytes -= (uint32_t)body;
            output_uncork(s, id);
            return s->send_error ? stream_end_code(s, s->send_error) : 0;
        }
        if (!end && is_long_echo(s, v, n, body)) {
            int e = refer(s, id, v, n);
            return e < 0 ? e : output_write_behind(s, id, NULL, 0);
        }
    }
    return output_write_behind(s, id, v, n);
}

static int send_queued(struct stream *s, uint64_t id, const struct iovec *v, int n, size_t body)
{
    const struct profile *p = s->profile;
    size_t queued = out_len(s);
    bool waits = s->stuck || s->writer; /* what is only corked leaves at once when it must: it fills no queue */
    if (p->send_timeout == GS_NOWAIT && waits && queued >= p->high && queued) {
        s->want_drained = true;
        return -EAGAIN;
    }
    int e;
    bool room = !waits && queued + body < GSI_CORK, counted = false;
    if (room && p->delay_send)
        e = delay(s, id, v, n);
    else if (room && batch_goes_on(s, id))
        e = cork(s, id, v, n, body, &counted);
    else
        e = write_behind_cork(s, id, v, n, body);
    if (e < 0)
        return e;
    if (!counted)
        count_sent(s, body);
    if (s->stuck && p->send_timeout != GS_NOWAIT && out_len(s) > p->high)
        return wait_for_room(s, id);
    return 0;
}

/* ---- direct ---- */

/* Locked. One at a time writes, and only when nothing is queued: what was cut in two must be whole first. */
static int take_writer(struct stream *s, uint64_t id, uint64_t deadline)
{
    while (has_output(s) || s->writer) {
        int e = s->writer ? 0 : output_flush(s, id);
        if (e == 0 && (has_output(s) || s->writer))
            e = stream_wait(s, s->writer ? 0 : POLLOUT, deadline);
        if (e < 0)
            return e;
    }
    s->writer = true;
    return 0;
}

/* cut: the stream was closed with a part of this gone: what is queued behind it must not follow. */
static void give_writer(struct stream *s, uint64_t id, bool cut)
{
    s->writer = false;
    s->cut |= cut && gsi_dying(&s->source.object);
    gsi_wake(&s->source.object);
    if (!s->cut && (has_output(s) || s->shut_pending) && !s->stuck)
        (void)output_flush(s, id);
}

/* Advances a list of pieces by k bytes. */
static void advance(struct iovec **v, int *n, size_t k)
{
    while (*n && k >= (*v)->iov_len) {
        k -= (*v)->iov_len;
        (*v)++;
        (*n)--;
    }
    if (*n) {
        (*v)->iov_base = (uint8_t *)(*v)->iov_base + k;
        (*v)->iov_len -= k;
    }
}

/* Locked, writer. The transport takes something of v: the bytes; or GS_ETIMEOUT, the end … */
static ssize_t write_some(struct stream *s, const struct iovec *v, int n, uint64_t deadline)
{
    for (;;) {
        if (descriptorless(s) && s->more && s->more->io)
            atomic_store(&stream_io(s->more->io)->writable, 0);
        ssize_t k = s->t->writev(s->ctx, v, n < IOV_LIMIT ? n : IOV_LIMIT);
        if (k >= 0)
            return k;
        if (k == -EINTR)
            continue;
        if (k != -EAGAIN && k != GS_EWANT_READ && k != GS_EWANT_WRITE) {
            s->send_error = (int16_t)k;
            return stream_end_code(s, (int)k);
        }
        int e = stream_wait(s, k == GS_EWANT_READ ? POLLIN : POLLOUT, deadline);
        if (e < 0)
            return e;
    }
}

/* The transport took all of it: has it left? What it still holds back at the deadline leaves by itself (stuck), and the next send
 * waits for it. */
static int wait_for_held(struct stream *s, uint64_t id, uint64_t deadline)
{
    int e = 0;
    output_see_held(s, id);
    while (e == 0 && s->stuck && !s->writer && (e = stream_wait(s, POLLOUT, deadline)) == 0)
        e = output_flush(s, id);
    return e == GS_ETIMEOUT ? 0 : e;
}

static void tell_rest(gs_rest *rest, const uint8_t *header, size_t header_n, size_t sent, size_t body)
{
    if (!rest)
        return;
    size_t from = sent < header_n ? sent : header_n;
    rest->header_n = header_n - from;
    memcpy(rest->header, header + from, rest->header_n);
    rest->body_at = sent - from;
    rest->body_left = body - rest->body_at;
}

static int send_direct(struct stream *s, uint64_t id, struct iovec *v, int n, size_t header_n, size_t body, gs_rest *rest)
{
    uint8_t header[4];
    memcpy(header, v[0].iov_base, header_n);
    bool nowait = s->profile->send_timeout == GS_NOWAIT;
    uint64_t deadline = nowait ? 0 : gsi_deadline(s->profile->send_timeout);
    size_t sent = 0, total = header_n + body;
    int e = take_writer(s, id, deadline);
    if (e == 0) {
        while (e == 0 && sent < total) {
            ssize_t k = write_some(s, v, n, deadline);
            if (k < 0)
                e = (int)k;
            else {
                sent += (size_t)k;
                advance(&v, &n, (size_t)k);
            }
        }
        give_writer(s, id, e < 0 && sent > 0);
    }
    if (e == 0 && !nowait)
        e = wait_for_held(s, id, deadline);
    else if (e == 0 || (e == GS_ETIMEOUT && sent > 0)) /* the rest may never be sent: what was taken leaves by itself */
        output_see_held(s, id);
    if (e == 0)
        count_sent(s, body);
    else
        tell_rest(rest, header, header_n, sent, body);
    return nowait && e == GS_ETIMEOUT && sent == 0 ? -EAGAIN : e;
}

/* ---- the calls ---- */

static bool careless(const struct iovec *iov, int n)
{
    if (n < 0 || n > IOV_LIMIT || (n && !iov))
        return true;
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        if ((!iov[i].iov_base && iov[i].iov_len) || iov[i].iov_len > (size_t)SSIZE_MAX - total)
            return true;
        total += iov[i].iov_len;
    }
    return false;
}

/* v[0] is free for the header; locked. */
static int send_locked(struct stream *s, uint64_t id, struct iovec *v, int n, gs_rest *rest)
{
    uint8_t header[4];
    size_t body = total_of(v + 1, n - 1);
    int e = check_sendable(s, id);
    int header_n = gs_encode_header(s->profile->decoder.type, body, header);
    if (e < 0 || header_n < 0) {
        tell_rest(rest, header, header_n > 0 ? (size_t)header_n : 0, 0, body);
        return e < 0 ? e : header_n;
    }
    v[0] = (struct iovec){header, (size_t)header_n};
    if (s->source.owner && !s->profile->direct)
        return send_queued(s, id, v, n, body);
    return send_direct(s, id, v, n, (size_t)header_n, body, rest);
}

static int send_pieces(gs_stream h, struct iovec *v, int n, gs_rest *rest)
{
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    struct trace t = stream_trace(s);
    e = send_locked(s, h.id, v, n, rest);
    if (e == GS_ETIMEOUT && s->profile->send_timeout_close && !gsi_dying(&s->source.object))
        stream_close_locked(s, h.id, GS_ETIMEOUT);
    else
        stream_unlock(s);
    if (t.fn)
        trace_line(t, h.id, "send -> %s", gs_error_name(e));
    return e;
}

static __attribute__((noinline)) int send_plainly(gs_stream h, const void *p, size_t n)
{
    struct iovec v[2] = {{0}, {(void *)(uintptr_t)p, n}};
    if (careless(v + 1, 1))
        return GS_EBADARG;
    return send_pieces(h, v, 2, NULL);
}

/* The common case of an answer within a batch: the cork is open and has room. No lock: the cork is the turn's. False where
 * anything else is the matter. */
static inline bool send_into_cork(gs_stream h, const void *p, size_t n)
{
    struct gsi_mailbox *mb = gsi_my_turn();
    if (!mb || gsi_current(mb) != h.id || n >= REF_MIN)
        return false;
    struct gsi_cork *cork = &mb->hot.cork;
    atomic_store_explicit(&cork->busy, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the processor's share of this order is gs_mailbox_free's: gsi_barrier_all */
    uint32_t end = atomic_load_explicit(&cork->end, memory_order_relaxed);
    bool room = gsi_current(mb) == h.id /* still: a mailbox that was freed before `busy` may be another's by now */ &&
                atomic_load_explicit(&cork->open, memory_order_relaxed) && frames_to_come(&mb->hot) && end + 4 + n <= GSI_CORK &&
                !(cork->header == 1 && n > UINT8_MAX) && gsi_lives_at(&gsi_current_source(mb)->object, h.id);
    if (room && cork->header == 4) { /* a store; of any length it is a call */
        uint32_t length = htonl((uint32_t)n);
        put_into_cork(cork, (const uint8_t *)&length, 4, p, n);
    } else if (room) {
        uint8_t header[4] = {0, 0, (uint8_t)(n >> 8), (uint8_t)n}; /* n < REF_MIN */
        put_into_cork(cork, header + 4 - cork->header, cork->header, p, n);
    }
    atomic_store_explicit(&cork->busy, 0, memory_order_release);
    return room;
}

int gs_stream_send(gs_stream h, const void *p, size_t n)
{
    return p && send_into_cork(h, p, n) ? 0 : send_plainly(h, p, n);
}

int gs_stream_sendv(gs_stream h, const struct iovec *iov, int iovcnt, gs_rest *rest)
{
    if (careless(iov, iovcnt))
        return GS_EBADARG;
    struct iovec small[SMALL + 1], *v = small;
    if (iovcnt > SMALL && !(v = gsi_alloc(((size_t)iovcnt + 1) * sizeof *v)))
        return -ENOMEM;
    if (rest)
        *rest = (gs_rest){0};
    for (int i = 0; i < iovcnt; i++)
        v[i + 1] = iov[i];
    int e = send_pieces(h, v, iovcnt + 1, rest);
    if (v != small)
        gsi_free(v);
    return e;
}

int gs_stream_flush(gs_stream h, int timeout_ms)
{
    if (!gsi_timeout_ok(timeout_ms))
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    output_uncork(s, h.id);
    uint64_t deadline = gsi_deadline(timeout_ms);
    if (s->send_error)
        e = stream_end_code(s, s->send_error);
    while (e == 0 && (has_output(s) || s->writer)) {
        e = s->writer ? 0 : output_flush(s, h.id);
        if (e == 0 && (has_output(s) || s->writer))
            e = stream_wait(s, s->writer ? 0 : POLLOUT, deadline);
    }
    stream_unlock(s);
    return e;
}

/* ---- files ---- */

static ssize_t copy_chunk(struct stream *s, int fd, off_t at, size_t n, uint8_t *chunk, uint64_t deadline, bool *begun)
{
    ssize_t got = gsi_sys.pread(fd, chunk, n < FILE_CHUNK ? n : FILE_CHUNK, at);
    if (got <= 0)
        return got < 0 ? gsi_errno() : 0;
    struct iovec one = {chunk, (size_t)got}, *v = &one;
    for (int left = 1; left;) {
        ssize_t k = write_some(s, v, 1, deadline);
        if (k < 0)
            return k;
        *begun |= k > 0;
        advance(&v, &left, (size_t)k);
    }
    return got;
}

/* By the transport's own way; -EAGAIN is waited for. */
static ssize_t send_chunk(struct stream *s, int fd, off_t at, size_t n, uint64_t deadline)
{
    for (;;) {
        ssize_t k = s->t->sendfile(s->ctx, fd, at, n);
        if (k >= 0)
            return k;
        if (k == -EINTR)
            continue;
        if (k == -EPIPE || k == -ECONNRESET) {
            s->send_error = (int16_t)k;
            return stream_end_code(s, (int)k);
        }
        if (k != -EAGAIN && k != GS_EWANT_WRITE)
            return k;
        int e = stream_wait(s, POLLOUT, deadline);
        if (e < 0)
            return e;
    }
}

/* Locked, writer. */
static int64_t send_file(struct stream *s, int fd, off_t offset, size_t n, uint64_t deadline, bool *begun)
{
    uint8_t *chunk = NULL;
    if (!s->t->sendfile && !(chunk = gsi_alloc(FILE_CHUNK)))
        return -ENOMEM;
    uint64_t sent = 0;
    int64_t result = 0;
    while (!n || sent < n) {
        size_t left = n ? n - (size_t)sent : SSIZE_MAX / 2;
        off_t at = offset + (off_t)sent;
        ssize_t k = chunk ? copy_chunk(s, fd, at, left, chunk, deadline, begun) : send_chunk(s, fd, at, left, deadline);
        if (k == -EINVAL && !chunk) { /* a descriptor that sendfile(2) does not take */
            chunk = gsi_alloc(FILE_CHUNK);
            if (chunk)
                continue;
            k = -ENOMEM;
        }
        if (k <= 0) {
            result = k < 0 ? k : n ? GS_EEOF : 0;
            break;
        }
        sent += (uint64_t)k;
        *begun = true;
    }
    gsi_free(chunk);
    s->stat.send_oct += sent;
    s->stat.send_cnt += sent > 0;
    return result < 0 ? result : (int64_t)sent;
}

int64_t gs_stream_sendfile(gs_stream h, int fd, off_t offset, size_t n)
{
    if (fd < 0 || offset < 0 || n > (size_t)INT64_MAX - (size_t)offset)
        return GS_EBADARG;
    struct stat st;
    if (gsi_sys.fstat(fd, &st) < 0)
        return gsi_errno();
    if (S_ISREG(st.st_mode) && n && (offset > st.st_size || n > (size_t)(st.st_size - offset)))
        return GS_EEOF; /* nothing is sent */
    struct stream *s;
    int64_t e = stream_lock(h, &s);
    if (e < 0)
        return e;
    uint64_t deadline = gsi_deadline(s->profile->send_timeout);
    e = check_sendable(s, h.id);
    if (e == 0)
        output_uncork(s, h.id);
    if (e == 0)
        e = take_writer(s, h.id, deadline);
    if (e == 0) {
        bool begun = false;
        e = send_file(s, fd, offset, n, deadline, &begun);
        give_writer(s, h.id, e < 0 && begun);
        int held = e > 0 ? wait_for_held(s, h.id, deadline) : 0;
        e = held < 0 ? held : e;
    }
    stream_unlock(s);
    return e;
}
