/* owner.c: controlling_process: a stream and its undelivered input change their owner under one lock. */
#include "stream/stream.h"

/* Whether the caller may give the stream away for `from`. */
static int check_owner(const struct stream *s, gs_mailbox from)
{
    const struct gsi_mailbox *owner = s->source.owner;
    if (!owner)
        return from.id ? GS_ENOTOWNER : 0;
    if (owner->id != from.id)
        return GS_ENOTOWNER;
    bool turn_exists = atomic_load_explicit(&owner->turn, memory_order_relaxed);
    return turn_exists && !gsi_in_turn(owner) ? GS_ENOTOWNER : 0;
}

/* Locked. Everything that refers to the old owner leaves it. */
static int leave(struct stream *s, uint64_t id)
{
    output_uncork(s, id);
    int e = input_unclaim(s, id);
    if (e == 0)
        e = input_stash(s);
    if (e < 0)
        return e;
    if (s->delayed)
        (void)output_flush(s, id);
    (void)stream_arm(s, id, 0);
    if (s->more && s->more->io)
        stream_io_owner(s, NULL);
    uint64_t owner = s->source.owner->id;
    gsi_source_release(&s->source, id);
    if (s->state == LISTENING)
        accept_left(s, id, owner);
    return 0;
}

/* Locked, under the new owner. Watched, and on its lists, as it was under the old one; what cannot be watched now will be. */
static void arrive(struct stream *s, uint64_t id, uint32_t armed)
{
    if (s->more && s->more->io) { /* what it told the old owner may not have been looked at */
        stream_io_owner(s, s->source.owner);
        gsi_source_ready(&s->source, id);
    }
    if (s->stuck) {
        gsi_source_list(&s->source, id, GSI_OUTPUT);
        flusher_watch(s->source.owner);
    }
    if (s->state == LISTENING) {
        accept_arrived(s, id);
        return;
    }
    if (s->state == OPEN) /* what left or got stuck on the way is not in `armed` */
        armed = (armed & EPOLLIN) | (s->stuck ? EPOLLOUT : 0);
    if (stream_arm(s, id, armed) < 0)
        stream_look_again(s, id); /* for room as well */
    active_changed(s, id);
    if (s->state == OPENING && s->more->opening)
        s->more->opening->timer_set = false; /* it stayed with the old owner */
    if (s->tell_open || (s->state == OPENING && s->more->opening))
        gsi_source_ready(&s->source, id);
}

static int give(struct stream *s, uint64_t id, gs_mailbox to)
{
    uint32_t armed = s->armed;
    struct gsi_mailbox *old = s->source.owner;
    gs_mailbox back = {old ? old->id : 0};
    int e = old ? leave(s, id) : 0;
    if (e < 0)
        return e;
    e = gsi_source_adopt(&s->source, id, to);
    if (e < 0) { /* `to` died meanwhile; the old owner stands, for this is its turn */
        if (back.id && gsi_source_adopt(&s->source, id, back) == 0)
            arrive(s, id, armed);
        return GS_EBADARG;
    }
    arrive(s, id, armed);
    return 0;
}

int gs_stream_controlling_process(gs_stream h, gs_mailbox from, gs_mailbox to)
{
    struct gsi_mailbox *target;
    if (gsi_mailbox_lock(to, &target) < 0)
        return GS_EBADARG;
    gsi_unlock(&target->object);
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    e = check_owner(s, from);
    if (e == 0 && from.id != to.id)
        e = give(s, h.id, to);
    struct trace t = stream_trace(s);
    stream_unlock(s);
    if (t.fn)
        trace_line(t, h.id, "controlling_process -> %s", gs_error_name(e));
    return e;
}
