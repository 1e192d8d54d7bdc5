/* active.c: what the mailbox sees of a stream: serve, next, park, mute.
 *
 * A ready stream is read once into the mailbox's read buffer, and every frame in it is delivered before another stream has its
 * turn (a batch), up to a budget. The first frames behind the one delivered are claimed: decoded under the same lock and handed
 * out without touching the stream again. Whatever stays undecoded goes back to the stream when the batch ends.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "stream/stream.h"

enum { BUDGET = 64, SWAP_MIN = 4096 };

static void message(gs_msg *m, gs_msg_kind kind, const struct stream *s, uint64_t id, int error)
{
    m->kind = kind;
    m->error = error;
    m->stream.id = id;
    m->socket.id = 0;
    m->fresh.id = 0;
    m->ref = 0;
    m->user = s->user;
}

/* ---- where a batch's bytes are ---- */

static void set_spare(struct gsi_hot *hot, uint8_t *p)
{
    if (hot->spares < GSI_SPARES)
        hot->spare[hot->spares++] = p;
    else
        gsi_free(p);
}

/* The stream's own bytes into memory of the mailbox: what a message shows never belongs to the stream. */
static void bring_home(struct gsi_mailbox *mb, struct stream *s)
{
    struct gsi_hot *hot = &mb->hot;
    uint32_t n = rx_len(s);
    if (s->rx_cap == GSI_HOT) { /* a batch parked with its buffer */
        set_spare(hot, hot->p);
        hot->p = s->rx;
    } else if (n <= GSI_HOT) {
        memcpy(hot->p, s->rx + s->rx_at, n);
        gsi_free(s->rx);
        s->rx = hot->p;
        s->rx_at = 0;
        s->rx_end = n;
    } else {
        gsi_free(hot->message);
        hot->message = s->rx;
        hot->in_use = true;
    }
    s->rx_cap = 0;
    s->hot = true;
}

/* The batch is over or interrupted: the rest is the stream's again. Part of a frame is copied; frames that had to be parked
 * take the buffer along. */
static void send_home(struct gsi_mailbox *mb, struct stream *s)
{
    struct frame f;
    if (!s->hot)
        return;
    struct gsi_hot *hot = &mb->hot;
    if (hot->message && s->rx == hot->message) {
        hot->message = NULL;
        s->rx_cap = s->rx_end;
        s->hot = false;
        return;
    }
    if (rx_len(s) >= SWAP_MIN && next_frame(s, &f) == 1) {
        uint8_t *other = hot->spares ? hot->spare[--hot->spares] : gsi_alloc(GSI_HOT);
        if (other) {
            hot->p = other;
            s->rx_cap = GSI_HOT;
            s->hot = false;
            return;
        }
    }
    if (input_stash(s) < 0) { /* nowhere to keep it: the stream ends, and says why */
        input_drop(s);
        input_ended(s, -ENOMEM);
    }
}

/* ---- delivery ---- */

/* next_frame(s, f) == 1, for the commonest type without a call. */
static inline bool frame_here(const struct stream *s, struct frame *f)
{
    enum { HEAD = 4 };
    uint32_t n = rx_len(s), most = s->profile->decoder.packet_size;
    if (s->packet_now != GS_PACKET_4)
        return next_frame(s, f) == 1;
    if (n < HEAD)
        return false;
    f->start = s->rx + s->rx_at;
    f->body.p = f->start + HEAD;
    f->body.n = gsi_be32(f->start);
    f->used = HEAD + f->body.n;
    return f->used <= n && (!most || f->body.n <= most);
}

static uint32_t claim_any(struct gsi_hot *hot, struct stream *s, const uint8_t **at, const uint8_t *end, uint32_t limit)
{
    uint32_t n = 0;
    while (n < limit && *at < end) {
        gs_bytes body;
        size_t more;
        ssize_t used = gsi_frame(&s->profile->decoder, *at, (size_t)(end - *at), &body, &more);
        if (used <= 0)
            break;
        hot->claim[n].p = body.p;
        hot->claim[n].n = (uint32_t)body.n;
        hot->claim[n++].head = (uint32_t)(body.p - *at);
        *at += used;
        count_received(s, body.n);
    }
    return n;
}

/* The same for the commonest type, with one mean for all of them. What is malformed stays for next_frame to say so. */
static uint32_t claim_length4(struct gsi_hot *hot, struct stream *s, const uint8_t **at, const uint8_t *end, uint32_t limit)
{
    enum { HEAD = 4 };
    uint32_t size_max = s->profile->decoder.packet_size, n = 0, longest = s->stat.recv_max;
    if (!size_max || size_max > INT_MAX - HEAD)
        size_max = INT_MAX - HEAD;
    float mean = s->stat.recv_mean, deviations = 0;
    const uint8_t *p = *at;
    while (n < limit && end - p >= HEAD) {
        uint32_t size = gsi_be32(p);
        if (size > size_max || size > (size_t)(end - p - HEAD))
            break;
        p += HEAD;
        hot->claim[n].p = p;
        hot->claim[n].n = size;
        hot->claim[n++].head = HEAD;
        p += size;
        float deviation = (float)size - mean;
        deviations += deviation < 0 ? -deviation : deviation;
        longest = size > longest ? size : longest;
    }
    struct stat_counters *c = &s->stat;
    c->recv_oct += (uint64_t)(p - *at) - (uint64_t)n * HEAD;
    c->recv_cnt += n;
    c->recv_max = longest;
    c->recv_deviations += deviations;
    if (n)
        c->recv_mean = (float)c->recv_oct / (float)c->recv_cnt;
    *at = p;
    return n;
}

/* A claim shows plain bytes, and all that is left of them would be one raw packet. */
static bool claimable(const struct stream *s)
{
    return s->packet_now != GS_PACKET_RAW && s->packet_now < GS_PACKET_HTTP && !s->profile->header && !s->profile->debug;
}

/* Frames behind the one just taken, for the same lock. Never the last of {active, N}: the stream must not turn passive behind
 * frames that are still undelivered. */
static void claim(struct gsi_mailbox *mb, struct stream *s)
{
    struct gsi_hot *hot = &mb->hot;
    gsi_hot_unclaim(hot);
    if (!claimable(s) || s->active == GS_ACTIVE_ONCE || s->active == GS_ACTIVE_FALSE)
        return;
    uint32_t limit = GSI_CLAIMS;
    if (is_count(s) && (uint32_t)s->active - 1 < limit)
        limit = (uint32_t)s->active - 1;
    const uint8_t *at = s->rx + s->rx_at, *end = s->rx + s->rx_end;
    uint32_t n = s->packet_now == GS_PACKET_4 ? claim_length4(hot, s, &at, end, limit) : claim_any(hot, s, &at, end, limit);
    gsi_hot_claim(hot, n);
    s->rx_at = (uint32_t)(at - s->rx);
    if (is_count(s))
        s->active -= (int32_t)n;
    hot->claim_user = s->user;
    hot->claim_bytes_end = s->rx + s->rx_at;
}

/* A handler sets {active, once} for each message. As in Erlang, a frame that is here already becomes the next message at once:
 * one lock for both. Until it is received the stream still counts as {active, once}. */
bool active_once_more(struct gsi_mailbox *mb, struct stream *s, uint64_t id)
{
    struct gsi_hot *hot = &mb->hot;
    struct frame f;
    if (s->source.owner != mb || !hot->more || gsi_hot_has_claim(hot) || hot->served >= BUDGET || !s->hot || s->reader ||
        s->state != OPEN || s->tell_passive || s->tell_drained || !claimable(s) || !frame_here(s, &f))
        return false;
    s->rx_at += (uint32_t)f.used;
    count_received(s, f.body.n);
    s->active = GS_ACTIVE_FALSE;
    hot->claim[0].p = f.body.p;
    hot->claim[0].n = (uint32_t)f.body.n;
    hot->claim[0].head = (uint32_t)(f.body.p - f.start);
    gsi_hot_claim(hot, 1);
    hot->claim_user = s->user;
    hot->claim_bytes_end = s->rx + s->rx_at;
    hot->more = frame_here(s, &f);
    hot->served++;
    atomic_store_explicit(&hot->once, id, memory_order_relaxed);
    return true;
}

static bool deliver_data(struct gsi_mailbox *mb, struct stream *s, uint64_t id, gs_msg *m)
{
    struct frame f;
    int got = next_frame(s, &f);
    if (got == 1 && !s->hot) {
        output_uncork(s, id); /* its answers may point into the buffer that the bytes come to */
        bring_home(mb, s);
        got = next_frame(s, &f);
    }
    if (got < 0) {
        input_drop(s);
        s->eof = NOT_ENDED;
        input_ended(s, -EMSGSIZE);
    }
    if (got != 1)
        return false;
    message(m, GS_MSG_DATA, s, id, 0);
    take_frame(s, &f, &m->packet);
    if (s->active == GS_ACTIVE_ONCE)
        s->active = GS_ACTIVE_FALSE;
    else if (is_count(s) && --s->active == 0) {
        s->active = GS_ACTIVE_FALSE;
        s->tell_passive = true;
    }
    claim(mb, s);
    mb->hot.more = frame_here(s, &f);
    mb->hot.served += 1 + gsi_hot_claims(&mb->hot);
    return true;
}

/* Locked. The next thing to tell, or false. */
static bool deliver(struct gsi_mailbox *mb, struct stream *s, uint64_t id, gs_msg *m)
{
    if (s->tell_drained) {
        s->tell_drained = false;
        message(m, GS_MSG_DRAINED, s, id, 0);
        return true;
    }
    if (s->tell_passive) { /* before the data of a mode set since */
        s->tell_passive = false;
        message(m, GS_MSG_PASSIVE, s, id, 0);
        return true;
    }
    if (is_active(s) && deliver_data(mb, s, id, m))
        return true;
    if (s->eof != END_SEEN || !is_active(s))
        return false;
    if (s->error) {
        message(m, GS_MSG_ERROR, s, id, s->error);
        s->error = 0;
        return true;
    }
    s->eof = END_TOLD;
    s->active = GS_ACTIVE_FALSE;
    (void)stream_arm(s, id, s->armed & EPOLLOUT);
    message(m, GS_MSG_CLOSED, s, id, 0);
    return true;
}

/* One read. The bytes, 0 when there are none now or the end came. */
static ssize_t fill(struct gsi_mailbox *mb, struct stream *s)
{
    if (descriptorless(s) && s->more && s->more->io)
        atomic_store(&stream_io(s->more->io)->readable, 0);
    uint32_t have = rx_len(s);
    size_t goal = input_goal(s);
    bool own = goal > GSI_HOT / 2 || have > GSI_HOT / 2;
    if (own) {
        size_t room = goal > have ? goal - have : GSI_HOT;
        int e = input_reserve(s, room);
        if (e < 0) {
            input_ended(s, e);
            return 0;
        }
    } else if (have) /* stays in its own place until the read has succeeded */
        memcpy(mb->hot.p, s->rx + s->rx_at, have);
    struct iovec v = own ? (struct iovec){s->rx + s->rx_end, s->rx_cap - s->rx_end}
                         : (struct iovec){mb->hot.p + have, GSI_HOT - have};
    ssize_t k;
    do
        k = s->t->readv(s->ctx, &v, 1);
    while (k == -EINTR);
    if (k == -EAGAIN || k == GS_EWANT_READ || k == GS_EWANT_WRITE)
        return 0;
    if (k <= 0) {
        input_ended(s, (int)k);
        return 0;
    }
    if (own)
        s->rx_end += (uint32_t)k;
    else {
        gsi_free(s->rx);
        s->rx = mb->hot.p;
        s->rx_at = 0;
        s->rx_end = have + (uint32_t)k;
        s->rx_cap = 0;
        s->hot = true;
    }
    return k;
}

/* ---- the mailbox's calls ---- */

/* Locked; unlocks. After a told end, exit_on_close closes for good. */
static void finish(struct stream *s, uint64_t id, bool told, const gs_msg *m)
{
    struct trace t = stream_trace(s);
    gs_msg_kind kind = told ? m->kind : 0;
    int error = told ? m->error : 0;
    bool close = (kind == GS_MSG_CLOSED && s->profile->exit_on_close) ||
                 ((kind == GS_MSG_CONNECT || kind == GS_MSG_UPGRADE) && error < 0);
    if (close)
        stream_close_locked(s, id, error ? error : GS_ECLOSED);
    else
        stream_unlock(s);
    if (told && t.fn)
        trace_line(t, id, "message %d -> owner", kind);
}

/* Locked, OPEN, nothing told yet. */
static bool read_and_deliver(struct gsi_mailbox *mb, struct stream *s, uint64_t id, gs_msg *m)
{
    bool more_above = descriptorless(s);
    ssize_t k = fill(mb, s);
    output_see_held(s, id);
    if (k > 0 && (more_above || stream_buffered_above(s)))
        gsi_source_ready(&s->source, id); /* no descriptor will tell */
    mb->hot.served = 0;
    bool told = (k > 0 || s->eof == END_SEEN) && deliver(mb, s, id, m);
    if (!told)
        send_home(mb, s);
    return told;
}

static bool serve_stream(struct gsi_mailbox *mb, struct stream *s, uint64_t id, uint32_t events, gs_msg *m)
{
    if (s->state == OPENING)
        opening_advance(s, id);
    if (s->tell_open)
        return opening_said(s, id, m);
    if (s->state == OPENING)
        return false;
    bool silent = descriptorless(s);
    if (has_output(s) && (silent || events & (EPOLLOUT | EPOLLERR | EPOLLHUP) || s->delayed || output_unwatched(s)))
        (void)output_flush(s, id);
    if (output_unwatched(s))
        output_watch(s, id);
    if (!s->stuck && s->armed & EPOLLOUT) /* left over from an arming that failed: it would be told for ever */
        (void)stream_arm(s, id, s->armed & EPOLLIN);
    if (s->reader) { /* a recv in another thread has the input; it comes back to what is to tell */
        (void)stream_arm(s, id, s->armed & EPOLLOUT);
        return false;
    }
    mb->hot.served = 0;
    if (deliver(mb, s, id, m))
        return true;
    send_home(mb, s);
    if (!is_active(s) || s->eof != NOT_ENDED) {
        (void)stream_arm(s, id, s->armed & EPOLLOUT);
        return false;
    }
    bool readable = silent || events & (EPOLLIN | EPOLLHUP | EPOLLERR) || stream_buffered_above(s);
    if (readable && read_and_deliver(mb, s, id, m))
        return true;
    if (s->eof == NOT_ENDED && stream_arm(s, id, s->armed | EPOLLIN) < 0) /* muted, it came back without its watch */
        stream_look_again(s, id);
    return false;
}

static bool serve(struct gsi_mailbox *mb, uint64_t id, uint32_t events, gs_msg *m)
{
    struct stream *s;
    if (stream_lock((gs_stream){id}, &s) < 0)
        return false;
    bool told = false;
    if (s->state == LISTENING)
        told = accept_serve(s, id, mb, events, m);
    else if (s->source.owner == mb)
        told = serve_stream(mb, s, id, events, m);
    if (told) {
        gsi_set_current(mb, id, &s->source);
    }
    finish(s, id, told, m);
    return told;
}

/* The batch of the current stream ends here: nothing refers to the mailbox's buffer any more. */
static void end_batch(struct gsi_mailbox *mb, struct stream *s, uint64_t id)
{
    output_uncork(s, id);
    if (input_unclaim(s, id) < 0) {
        s->active = mode_of(s);
        gsi_hot_unclaim(&mb->hot);
        input_drop(s);
        input_ended(s, -ENOMEM);
    }
    send_home(mb, s);
    active_changed(s, id);
}

static bool next(struct gsi_mailbox *mb, uint64_t id, gs_msg *m)
{
    struct stream *s = (struct stream *)gsi_current_source(mb);
    if (!gsi_try_lock_at(&s->source.object, id) && stream_lock((gs_stream){id}, &s) < 0)
        return false;
    bool told = false;
    if (s->state == LISTENING)
        told = accept_serve(s, id, mb, 0, m);
    else if (s->source.owner == mb) {
        if (!s->reader && s->state == OPEN && mb->hot.served < BUDGET)
            told = deliver(mb, s, id, m);
        if (!told)
            end_batch(mb, s, id);
    }
    finish(s, id, told, m);
    return told;
}

static void park(struct gsi_mailbox *mb, uint64_t id)
{
    struct stream *s;
    if (stream_lock((gs_stream){id}, &s) == 0) {
        if (s->state != LISTENING && s->source.owner == mb)
            end_batch(mb, s, id);
        stream_unlock(s);
    }
    gsi_hot_unclaim(&mb->hot);
}

static void mute(struct gsi_mailbox *mb, uint64_t id, uint32_t events)
{
    struct stream *s;
    if (stream_lock((gs_stream){id}, &s) < 0)
        return;
    if (s->state == LISTENING)
        accept_muted(s, id, mb, events);
    else if (s->source.owner == mb) {
        if (s->state == OPENING)
            opening_advance(s, id);
        else if (has_output(s) && (events & EPOLLOUT || s->delayed || descriptorless(s) || output_unwatched(s)))
            (void)output_flush(s, id);
        if (output_unwatched(s) && !(events & (EPOLLHUP | EPOLLERR)))
            output_watch(s, id);
    }
    if (s->source.owner == mb && (s->state != OPENING || s->tell_open)) {
        (void)stream_arm(s, id, s->state == LISTENING ? accept_muted_events(s)
                                : events & (EPOLLHUP | EPOLLERR) ? 0 : s->armed & EPOLLOUT);
        if (events)
            gsi_source_ready(&s->source, id);
    }
    stream_unlock(s);
}

/* Locked. The mode, the owner or the input changed: watches, and has the owner look, when there is something to tell. */
void active_changed(struct stream *s, uint64_t id)
{
    if (!s->source.owner || s->reader || s->state != OPEN)
        return;
    if (is_active(s) && s->rx && !s->hot && !rx_len(s))
        input_drop(s); /* what recv kept for a long packet */
    struct frame f;
    bool data = is_active(s) && (next_frame(s, &f) != 0 || s->eof == END_SEEN);
    bool silent = is_active(s) && (descriptorless(s) || stream_buffered_above(s));
    if (is_active(s) && s->eof == NOT_ENDED && stream_arm(s, id, s->armed | EPOLLIN) < 0)
        silent = true;
    if (data || silent || s->tell_passive || s->tell_drained)
        gsi_source_ready(&s->source, id);
}

static void orphan(uint64_t id, struct gsi_mailbox *owner)
{
    struct stream *s;
    if (stream_lock((gs_stream){id}, &s) < 0)
        return;
    if (s->source.owner == owner)
        stream_close_locked(s, id, GS_ECLOSED);
    else
        stream_unlock(s);
}

static void forget(uint64_t id, uint64_t mailbox)
{
    struct stream *s;
    if (stream_lock((gs_stream){id}, &s) < 0)
        return;
    if (s->state == LISTENING)
        accept_forget(s, id, mailbox);
    stream_unlock(s);
}

const struct gsi_source_ops gsi_stream_ops = {
    .serve = serve,
    .next = next,
    .park = park,
    .mute = mute,
    .orphan = orphan,
    .forget = forget,
};
