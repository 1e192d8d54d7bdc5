/* input.c: what was received and not delivered: bytes and an offset, never a queue of decoded packets. So a transfer, a mode
 * switch or a new packet type needs no conversion, and a partial frame is just bytes.
 *
 * The bytes are in one of two places: in memory of the owner's turn (hot: the mailbox's read buffer, while the stream is the
 * one being delivered), or in a buffer of the stream's own, which exists only while something is in it.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>

#include "stream/stream.h"

enum {
    INPUT_MIN = 4096,       /* the smallest buffer of a stream's own */
    INPUT_STEP = 64 * 1024, /* how far a long frame's buffer runs ahead of what has come, at first */
};

static bool is_http(gs_packet_type type) { return type >= GS_PACKET_HTTP && type <= GS_PACKET_HTTPH_BIN; }

int next_frame(const struct stream *s, struct frame *f)
{
    gs_decoder other;
    const gs_decoder *d = &s->profile->decoder;
    if (d->type != s->packet_now) { /* http between a first line and the headers' end */
        other = *d;
        other.type = (gs_packet_type)s->packet_now;
        d = &other;
    }
    f->more = 0;
    uint32_t n = rx_len(s);
    if (!n)
        return 0;
    f->start = s->rx + s->rx_at;
    ssize_t used = gsi_frame(d, f->start, n, &f->body, &f->more);
    if (used < 0)
        return -EMSGSIZE;
    f->used = (size_t)used;
    return used > 0;
}

void take_frame(struct stream *s, const struct frame *f, gs_packet *packet)
{
    gs_packet_type used = (gs_packet_type)s->packet_now;
    packet->header = (gs_bytes){0};
    if (is_http(used)) {
        gsi_http_parse(f->body, used == GS_PACKET_HTTPH || used == GS_PACKET_HTTPH_BIN, packet);
        s->packet_now = (uint8_t)gsi_packet_next_type(s->profile->decoder.type, used, packet->kind);
    } else {
        packet->kind = GS_PK_BYTES;
        packet->data = f->body;
        size_t header = s->profile->header;
        if (header) {
            header = header < f->body.n ? header : f->body.n;
            packet->header = (gs_bytes){f->body.p, header};
            packet->data = (gs_bytes){f->body.p + header, f->body.n - header};
        }
    }
    s->rx_at += (uint32_t)f->used;
    count_received(s, f->body.n);
}

int input_reserve(struct stream *s, size_t room)
{
    uint32_t have = rx_len(s);
    if (room > INT_MAX || have > INT_MAX - room)
        return -ENOMEM;
    if (!s->hot && s->rx_cap - s->rx_end >= room)
        return 0;
    if (!s->hot && s->rx_cap - have >= room) {
        memmove(s->rx, s->rx + s->rx_at, have);
        s->rx_at = 0;
        s->rx_end = have;
        return 0;
    }
    size_t cap = have + room;
    cap = cap < INPUT_MIN ? INPUT_MIN : cap;
    uint8_t *fresh = gsi_alloc(cap);
    if (!fresh)
        return -ENOMEM;
    if (have)
        memcpy(fresh, s->rx + s->rx_at, have);
    if (!s->hot)
        gsi_free(s->rx);
    s->hot = false;
    s->rx = fresh;
    s->rx_at = 0;
    s->rx_end = have;
    s->rx_cap = (uint32_t)cap;
    return 0;
}

void input_drop(struct stream *s)
{
    if (!s->hot)
        gsi_free(s->rx);
    s->hot = false;
    s->rx = NULL;
    s->rx_at = s->rx_end = s->rx_cap = 0;
}

int input_stash(struct stream *s)
{
    if (!s->hot)
        return 0;
    uint32_t n = rx_len(s);
    if (!n) {
        input_drop(s);
        return 0;
    }
    uint8_t *own = gsi_alloc(n);
    if (!own)
        return -ENOMEM;
    memcpy(own, s->rx + s->rx_at, n);
    s->hot = false;
    s->rx = own;
    s->rx_at = 0;
    s->rx_end = s->rx_cap = n;
    return 0;
}

/* The counts go back with the frames: they were taken when the frames were claimed. */
static void uncount(struct stream *s, const struct gsi_hot *hot)
{
    uint32_t at = gsi_hot_claim_at(hot), frames = gsi_hot_claims(hot) - at;
    for (uint32_t i = at; i < at + frames; i++)
        s->stat.recv_oct -= hot->claim[i].n;
    s->stat.recv_cnt -= frames;
    if (is_count(s))
        s->active += (int32_t)frames;
    else
        s->active = mode_of(s);
}

/* The kernel may be filling the input for a recv in another thread; that read does not block, so this is short. */
static int wait_for_reading(struct stream *s)
{
    while (s->reading) {
        gsi_pin(&s->source.object);
        stream_unlock(s);
        sched_yield();
        gsi_relock(&s->source.object);
        gsi_unpin(&s->source.object);
        if (gsi_dying(&s->source.object))
            return GS_ECLOSED;
    }
    return 0;
}

int input_unclaim(struct stream *s, uint64_t id)
{
    if (!in_turn(s) || gsi_current(s->source.owner) != id)
        return 0;
    struct gsi_hot *hot = &s->source.owner->hot;
    if (!gsi_hot_has_claim(hot))
        return 0;
    if (wait_for_reading(s) < 0)
        return GS_ECLOSED;
    uint32_t at = gsi_hot_claim_at(hot);
    const uint8_t *first = hot->claim[at].p - hot->claim[at].head;
    size_t n = (size_t)(hot->claim_bytes_end - first);
    if (s->hot) { /* another thread may have received what came behind them */
        s->rx_at -= (uint32_t)n;
        memmove(s->rx + s->rx_at, first, n);
    } else { /* another thread has moved the rest meanwhile: the claimed frames go in front of it */
        uint32_t rest = rx_len(s);
        uint8_t *both = gsi_alloc(n + rest);
        if (!both)
            return -ENOMEM;
        memcpy(both, first, n);
        if (rest)
            memcpy(both + n, s->rx + s->rx_at, rest);
        gsi_free(s->rx);
        s->rx = both;
        s->rx_at = 0;
        s->rx_end = s->rx_cap = (uint32_t)(n + rest);
    }
    uncount(s, hot);
    gsi_hot_unclaim(hot);
    if (s->reader)
        gsi_wake(&s->source.object); /* they are for who waits */
    return 0;
}

void input_ended(struct stream *s, int error)
{
    if (s->eof != NOT_ENDED)
        return;
    s->eof = END_SEEN;
    int code = stream_end_code(s, error);
    s->error = (int16_t)(code == GS_ECLOSED ? 0 : code);
}

size_t input_goal(const struct stream *s)
{
    struct frame f;
    uint32_t have = rx_len(s);
    if (!have || next_frame(s, &f) != 0 || f.more <= have)
        return 0;
    /* An announced length is only a claim of the peer's: memory grows with what really came. */
    size_t reach = have > INPUT_STEP ? (size_t)have * 2 : (size_t)have + INPUT_STEP;
    return f.more < reach ? f.more : reach;
}
