/* recv.c: passive mode: recv of packets and of exact lengths, unrecv.
 *
 * The transport is read outside the stream's lock, so that a recv and a send in two threads do not hinder each other. While
 * the reader bit is set the input is this thread's. Bytes go into memory reserved before the read: a timeout or a lack of
 * memory loses nothing.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "stream/stream.h"

enum {
    READ_ROOM = 16 * 1024,
    KEEP_MAX = 1024 * 1024, /* memory of longer packets than these is not kept for the next one */
    KEEP_MS = 100,          /* nor any that nothing has come for so long */
};

struct request {
    uint8_t *buf;
    size_t cap, length;
    gs_packet *packet; /* recv_packet: decoded, views into buf */
};

/* The reader bit is gone: the owner may have skipped what it has to tell. */
static void reader_left(struct stream *s, uint64_t id)
{
    s->reader = false;
    active_changed(s, id);
}

/* An idle stream owns no buffer. That of a long packet stays for the next one while a recv is not known to wait in vain: to get
 * such memory from the kernel each time costs several times what copying the packet does. */
static void let_go(struct stream *s, bool idle)
{
    if (!rx_len(s) && (idle || s->rx_cap <= READ_ROOM || s->rx_cap > KEEP_MAX))
        input_drop(s);
}

/* Copies a whole packet and decodes it there. */
static ssize_t give_decoded(struct stream *s, const struct frame *f, const struct request *r)
{
    if (f->used > r->cap)
        return -EMSGSIZE;
    gs_packet view;
    memcpy(r->buf, f->start, f->used);
    take_frame(s, f, &view);
    gsi_packet_copy(r->packet, &view);
    gsi_packet_rebase(r->packet, (gs_bytes){f->start, f->used}, r->buf);
    return (ssize_t)f->used;
}

static ssize_t give_bytes(struct stream *s, struct frame *f, const struct request *r)
{
    if (s->packet_now == GS_PACKET_RAW) {
        size_t want = r->length ? r->length : r->cap;
        f->used = f->body.n = f->body.n < want ? f->body.n : want;
    }
    if (f->body.n > r->cap)
        return -EMSGSIZE;
    size_t n = f->body.n;
    if (n)
        memcpy(r->buf, f->body.p, n);
    s->rx_at += (uint32_t)f->used;
    count_received(s, n);
    return (ssize_t)n;
}

/* What is there already: 1 and *result, or 0. */
static int from_input(struct stream *s, const struct request *r, ssize_t *result)
{
    struct frame f;
    bool exact = s->packet_now == GS_PACKET_RAW && r->length;
    if (exact && rx_len(s) < r->length && (s->eof == NOT_ENDED || !rx_len(s)))
        return 0;
    int got = next_frame(s, &f);
    if (got < 0) { /* cannot be resynchronised: the stream ends */
        input_drop(s);
        s->eof = NOT_ENDED;
        input_ended(s, -EMSGSIZE);
        return 0;
    }
    if (!got)
        return 0;
    *result = r->packet && s->packet_now != GS_PACKET_RAW ? give_decoded(s, &f, r) : give_bytes(s, &f, r);
    if (r->packet && s->packet_now == GS_PACKET_RAW && *result >= 0) {
        r->packet->kind = GS_PK_BYTES;
        r->packet->data = (gs_bytes){r->buf, (size_t)*result};
        r->packet->header = (gs_bytes){0};
    }
    let_go(s, false);
    return 1;
}

/* How much there must be room for; never 0, for that would read as the end. */
static size_t room_for(const struct stream *s, const struct request *r)
{
    uint32_t have = rx_len(s);
    if (s->packet_now == GS_PACKET_RAW)
        return r->length ? r->length - have : r->cap && r->cap < READ_ROOM ? r->cap : READ_ROOM;
    size_t goal = input_goal(s);
    return goal > have ? goal - have : READ_ROOM;
}

/* Frames: what fits, for more may have come than the one that is wanted. Raw: what was asked for, and the rest stays the kernel's. */
static size_t room_to_read(const struct stream *s, const struct request *r)
{
    return s->packet_now == GS_PACKET_RAW ? room_for(s, r) : s->rx_cap - s->rx_end;
}

/* Locked -> reads unlocked -> locked. The bytes; 0: the end or nothing now (*nothing). -ENOMEM, GS_ECLOSED. */
static ssize_t read_some(struct stream *s, uint64_t id, uint8_t *to, size_t room, bool *nothing)
{
    if (descriptorless(s) && s->more && s->more->io)
        atomic_store(&stream_io(s->more->io)->readable, 0);
    struct iovec v = {to, room};
    s->reader = s->reading = true;
    gsi_pin(&s->source.object);
    stream_unlock(s);
    ssize_t k;
    do
        k = s->t->readv(s->ctx, &v, 1);
    while (k == -EINTR);
    gsi_relock(&s->source.object);
    gsi_unpin(&s->source.object);
    s->reading = false;
    *nothing = k == -EAGAIN || k == GS_EWANT_READ || k == GS_EWANT_WRITE;
    if (gsi_dying(&s->source.object)) {
        s->reader = false;
        return GS_ECLOSED;
    }
    if (k > 0 && s->rx && !s->hot && to == s->rx + s->rx_end)
        s->rx_end += (uint32_t)k;
    reader_left(s, id);
    output_see_held(s, id);
    if (*nothing)
        return 0;
    if (k <= 0)
        input_ended(s, (int)k);
    return k > 0 ? k : 0;
}

/* Locked. Waits for bytes with the reader bit set, so that the owner keeps away. *keep: until when an empty buffer is held on
 * to; 0 at first. */
static int wait_for_input(struct stream *s, uint64_t id, uint64_t deadline, uint64_t *keep)
{
    bool kept = s->rx && !rx_len(s);
    if (kept && !*keep)
        *keep = gsi_deadline(KEEP_MS);
    uint64_t until = kept && *keep < deadline ? *keep : deadline;
    s->reader = true;
    int e = stream_wait(s, POLLIN, until);
    if (gsi_dying(&s->source.object)) {
        s->reader = false;
        return GS_ECLOSED;
    }
    if (e == GS_ETIMEOUT) {
        let_go(s, true);
        e = until < deadline ? 0 : e;
    }
    reader_left(s, id);
    return e;
}

/* The end was reached and everything before it delivered. */
static int tell_end(struct stream *s)
{
    if (s->error) {
        int e = s->error;
        s->error = 0;
        return e;
    }
    s->eof = END_TOLD;
    return GS_ECLOSED;
}

static int check_receivable(struct stream *s, uint64_t id, uint64_t deadline)
{
    if (s->state == LISTENING)
        return -ENOTCONN;
    if (s->reader)
        return -EALREADY;
    if (s->state == OPENING) {
        if (s->more->opening->tell)
            return s->more->opening->tell == GS_MSG_CONNECT ? -ENOTCONN : -EALREADY;
        int e = opening_finish(s, id, deadline);
        if (e < 0)
            return e;
    }
    return is_active(s) ? -EINVAL : input_unclaim(s, id);
}

static ssize_t recv_locked(struct stream *s, uint64_t id, const struct request *r, int timeout_ms)
{
    bool nothing = false;
    uint64_t deadline = 0, keep = 0;
    int e = check_receivable(s, id, 0);
    if (e == GS_ETIMEOUT) /* a handshake that takes its time */
        e = check_receivable(s, id, deadline = gsi_deadline(timeout_ms));
    if (e < 0)
        return e;
    if (s->packet_now == GS_PACKET_RAW && r->length > r->cap)
        return GS_EBADARG;
    for (;;) {
        ssize_t result = 0;
        if (from_input(s, r, &result))
            return result;
        if (is_active(s))
            return -EINVAL;
        if (s->eof != NOT_ENDED)
            return s->eof == END_TOLD ? GS_ECLOSED : tell_end(s);
        if (nothing) {
            if (!deadline && !(deadline = gsi_deadline(timeout_ms))) {
                let_go(s, true);
                return GS_ETIMEOUT;
            }
            output_uncork(s, id); /* the peer may wait for what is corked */
            e = wait_for_input(s, id, deadline, &keep);
            if (e < 0)
                return e;
            nothing = false;
            continue;
        }
        /* Raw with nothing left over: straight into the caller's buffer. */
        bool straight = s->packet_now == GS_PACKET_RAW && !r->length && !rx_len(s) && r->cap;
        if (!straight && (e = input_reserve(s, room_for(s, r))) < 0)
            return e;
        ssize_t k = straight ? read_some(s, id, r->buf, r->cap, &nothing)
                             : read_some(s, id, s->rx + s->rx_end, room_to_read(s, r), &nothing);
        if (k < 0)
            return k;
        if (straight && k > 0) {
            count_received(s, (size_t)k);
            if (r->packet) {
                *r->packet = (gs_packet){.kind = GS_PK_BYTES, .data = {r->buf, (size_t)k}};
            }
            return k;
        }
        let_go(s, false);
    }
}

static ssize_t receive(gs_stream h, const struct request *r, int timeout_ms)
{
    if ((!r->buf && r->cap) || !gsi_timeout_ok(timeout_ms))
        return GS_EBADARG;
    struct stream *s;
    ssize_t e = stream_lock(h, &s);
    if (e < 0)
        return e;
    struct trace t = stream_trace(s);
    e = recv_locked(s, h.id, r, timeout_ms);
    if (s->eof == END_TOLD && s->profile->exit_on_close && !gsi_dying(&s->source.object) && s->state == OPEN)
        stream_close_locked(s, h.id, GS_ECLOSED);
    else
        stream_unlock(s);
    if (t.fn)
        trace_line(t, h.id, "recv -> %zd (%s)", e, e < 0 ? gs_error_name((int)e) : "ok");
    return e;
}

ssize_t gs_stream_recv(gs_stream h, void *buf, size_t cap, size_t length, int timeout_ms)
{
    return receive(h, &(struct request){.buf = buf, .cap = cap, .length = length}, timeout_ms);
}

ssize_t gs_stream_recv_packet(gs_stream h, void *buf, size_t cap, gs_packet *out, int timeout_ms)
{
    if (!out)
        return GS_EBADARG;
    return receive(h, &(struct request){.buf = buf, .cap = cap, .packet = out}, timeout_ms);
}

ssize_t gs_stream_pending(gs_stream h)
{
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    struct frame f;
    ssize_t n = s->reader ? -EALREADY : s->state == OPEN && next_frame(s, &f) == 1 ? (ssize_t)f.used : 0;
    stream_unlock(s);
    return n;
}

int gs_stream_unrecv(gs_stream h, const void *p, size_t n)
{
    if (!p && n)
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    e = s->state != OPEN ? -ENOTCONN : s->reader ? -EALREADY : input_unclaim(s, h.id);
    uint32_t have = e == 0 ? rx_len(s) : 0;
    if (e == 0)
        e = input_reserve(s, n);
    if (e == 0 && n) {
        memmove(s->rx + s->rx_at + n, s->rx + s->rx_at, have);
        memcpy(s->rx + s->rx_at, p, n);
        s->rx_end += (uint32_t)n;
        active_changed(s, h.id);
    }
    stream_unlock(s);
    return e;
}
