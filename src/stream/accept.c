/* accept.c: connections from a listener: by a blocking accept, by a nowait accept that names a mailbox, or as messages. */
#include <errno.h>
#include <poll.h>

#include "stream/stream.h"

enum { BACK_OFF_MS = 100 }; /* after EMFILE and its kin, so that a full process does not spin */

static struct listener *listener_of(const struct stream *s) { return s->more->listener; }

/* ---- one connection ---- */

/* The layers that its listener has are still to come. */
static int accept_layers(struct stream *s, uint64_t id, const struct listener *l)
{
    if (!l->stack.layers)
        return 0;
    int e = opening_new(s, id, l->address, l->opts, false);
    if (e < 0)
        return e;
    struct opening *o = s->more->opening;
    o->server = true;
    if (s->source.owner) /* the mailbox does the handshake; without owner the first recv, send or handshake does */
        opening_advance(s, id);
    return 0;
}

/* Locked and fresh: gets transport, owner and mode; layers follow. */
static int settle_in(struct stream *s, uint64_t id, const struct stream *l, void *ctx, struct stream_io *io, gs_mailbox owner)
{
    size_t buffered;
    s->t = l->t;
    s->ctx = ctx;
    s->fd = l->t->poll(ctx, &buffered);
    s->user = l->user;
    s->state = OPEN;
    int e = 0;
    if (io) {
        if (!stream_more(s)) {
            stream_close_transport(s, true);
            stream_io_free(io);
            return -ENOMEM;
        }
        stream_io_bind(io, s, id);
        s->more->io = io;
    }
    if (owner.id && (e = gsi_source_adopt(&s->source, id, owner)) < 0)
        return GS_EBADARG;
    if (io)
        stream_io_owner(s, s->source.owner);
    if (owner.id && l->active > 0)
        s->active = l->active;
    else if (owner.id)
        s->tell_passive = true;
    e = accept_layers(s, id, listener_of(l));
    if (e < 0)
        return e;
    active_changed(s, id);
    bool unheard = is_active(s) && s->fd >= 0 && s->state == OPEN && s->eof == NOT_ENDED && !s->armed;
    return unheard ? -ENOMEM : 0; /* one that failed in its first handshake step says so to its owner */
}

/* Listener locked. A connection of the kernel's queue becomes a stream of `owner`; *fresh names it. -EAGAIN: none waits. */
static int accept_one(struct stream *l, gs_mailbox owner, uint64_t *fresh)
{
    struct gs_io brief = {.scheme = l->t->scheme}, *at = &brief;
    struct stream_io *io = NULL;
    if (!(l->t->flags & GS_T_KERNEL)) {
        io = stream_io_new(NULL, 0, &brief);
        if (!io)
            return -ENOMEM;
        at = stream_io(io);
    }
    void *ctx;
    int e;
    do
        e = l->t->accept(l->ctx, at, &ctx);
    while (e == -EINTR);
    if (e < 0) {
        stream_io_free(io);
        return e;
    }
    uint64_t id;
    struct stream *s = stream_new(&id, l->profile);
    if (!s) {
        l->t->close(ctx, true);
        stream_io_free(io);
        return GS_ESYSLIMIT;
    }
    e = settle_in(s, id, l, ctx, io, owner);
    if (e < 0) {
        stream_close_locked(s, id, e);
        return e;
    }
    *fresh = id;
    stream_unlock(s);
    return 0;
}

/* ---- watching ---- */

int accept_watch(struct stream *s, uint64_t id)
{
    const struct listener *l = listener_of(s);
    if (!s->source.owner)
        return 0;
    bool own = l->accept_mode != GS_ACTIVE_FALSE && !l->resting;
    for (const struct pending_accept *p = l->accepts; p; p = p->next)
        own |= p->mailbox == s->source.owner->id;
    if (own && descriptorless(s)) /* nothing will tell of those that wait already */
        gsi_source_ready(&s->source, id);
    return stream_arm(s, id, own ? EPOLLIN : 0);
}

void accept_keep_watching(struct stream *s, uint64_t id)
{
    if (accept_watch(s, id) < 0)
        stream_look_again(s, id);
}

static bool is_owner(const struct stream *s, uint64_t mailbox) { return s->source.owner && s->source.owner->id == mailbox; }

static bool has_pending(const struct stream *s, uint64_t mailbox)
{
    for (const struct pending_accept *p = listener_of(s)->accepts; p; p = p->next)
        if (p->mailbox == mailbox)
            return true;
    return false;
}

/* After the pending accepts of a mailbox changed. */
static int watch_for(struct stream *s, uint64_t id, uint64_t mailbox, bool had)
{
    if (is_owner(s, mailbox))
        return accept_watch(s, id);
    bool wanted = has_pending(s, mailbox);
    if (wanted == had)
        return 0;
    return gsi_mailbox_watch(mailbox, s->fd, id, wanted ? EPOLLIN : 0, had);
}

/* ---- nowait ---- */

static void end_pending(struct stream *s, uint64_t id, struct pending_accept **at, gs_msg_kind kind, uint64_t fresh, int error)
{
    struct pending_accept *p = *at;
    *at = p->next;
    p->note->kind = kind;
    p->note->stream = id;
    p->note->fresh = fresh;
    p->note->error = error;
    p->note->user = s->user;
    (void)gsi_note_send(p->mailbox, p->note);
    gsi_free(p);
}

static void accept_notes(struct stream *s, uint64_t id, struct gsi_mailbox *mb)
{
    bool any = false;
    for (struct pending_accept **at = &listener_of(s)->accepts; *at;) {
        if ((*at)->mailbox != mb->id) {
            at = &(*at)->next;
            continue;
        }
        any = true;
        uint64_t fresh = 0;
        int e = accept_one(s, (gs_mailbox){mb->id}, &fresh);
        if (e == -EAGAIN)
            return;
        end_pending(s, id, at, GS_MSG_ACCEPT, fresh, e);
    }
    if (any)
        (void)watch_for(s, id, mb->id, true);
}

void accept_abort_all(struct stream *s, uint64_t id)
{
    struct listener *l = listener_of(s);
    if (!l)
        return;
    while (l->accepts) {
        uint64_t mailbox = l->accepts->mailbox;
        end_pending(s, id, &l->accepts, GS_MSG_ABORT, 0, GS_ECLOSED);
        if (!is_owner(s, mailbox) && !has_pending(s, mailbox))
            (void)gsi_mailbox_watch(mailbox, s->fd, id, 0, true);
    }
}

void accept_left(struct stream *s, uint64_t id, uint64_t mailbox)
{
    if (!has_pending(s, mailbox) || (!descriptorless(s) && gsi_mailbox_watch(mailbox, s->fd, id, EPOLLIN, false) == 0))
        return;
    for (struct pending_accept **at = &listener_of(s)->accepts; *at;)
        if ((*at)->mailbox == mailbox) /* nothing would tell it any more */
            end_pending(s, id, at, GS_MSG_ABORT, 0, GS_EABORTED);
        else
            at = &(*at)->next;
}

void accept_arrived(struct stream *s, uint64_t id)
{
    uint64_t owner = s->source.owner->id;
    listener_of(s)->resting = false; /* its timer stayed with the old owner */
    if (has_pending(s, owner) && !descriptorless(s))
        (void)gsi_mailbox_watch(owner, s->fd, id, 0, true);
    accept_keep_watching(s, id);
}

uint32_t accept_muted_events(const struct stream *s)
{
    return has_pending(s, s->source.owner->id) ? EPOLLIN : 0;
}

void accept_forget(struct stream *s, uint64_t id, uint64_t mailbox)
{
    (void)id;
    for (struct pending_accept **at = &listener_of(s)->accepts; *at;) {
        struct pending_accept *p = *at;
        if (p->mailbox != mailbox) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        gsi_note_free(p->note);
        gsi_free(p);
    }
}

static int accept_nowait(struct stream *s, uint64_t id, gs_mailbox owner, uint64_t *ref)
{
    if (descriptorless(s) && !is_owner(s, owner.id))
        return gsi_fail(-ENOTSUP, "a nowait accept on a %s listener must name the listener's own mailbox", s->t->scheme);
    struct pending_accept *p = gsi_zalloc(sizeof *p);
    struct gsi_note *note = gsi_note_new(GS_MSG_ACCEPT);
    if (!p || !note) {
        gsi_free(p);
        gsi_note_free(note);
        return -ENOMEM;
    }
    bool had = has_pending(s, owner.id);
    note->ref = gs_make_ref();
    p->mailbox = owner.id;
    p->note = note;
    struct pending_accept **end = &listener_of(s)->accepts;
    while (*end)
        end = &(*end)->next;
    *end = p;
    int e = watch_for(s, id, owner.id, had);
    if (e < 0) {
        *end = NULL;
        gsi_note_free(note);
        gsi_free(p);
        return e == GS_ECLOSED ? GS_EBADARG : e;
    }
    if (descriptorless(s))
        gsi_source_ready(&s->source, id);
    if (ref)
        *ref = note->ref;
    return GS_ESELECT;
}

/* ---- messages ---- */

static bool accept_message(struct stream *s, uint64_t id, struct gsi_mailbox *mb, gs_msg *m)
{
    struct listener *l = listener_of(s);
    uint64_t fresh = 0;
    int e = accept_one(s, (gs_mailbox){mb->id}, &fresh);
    if (e == -EAGAIN)
        return false;
    *m = (gs_msg){.kind = GS_MSG_ACCEPT, .error = e, .stream = {id}, .fresh = {fresh}, .user = s->user};
    if (e == GS_ECLOSED) { /* nobody will come any more: told once */
        l->accept_mode = GS_ACTIVE_FALSE;
        (void)accept_watch(s, id);
        return true;
    }
    if (e < 0) {
        l->resting = gsi_source_wake_at(&s->source, id, gsi_deadline(BACK_OFF_MS)) == 0; /* else without a pause */
        (void)accept_watch(s, id);
        return true;
    }
    if (l->accept_mode == GS_ACTIVE_ONCE || (l->accept_mode < GS_ACTIVE_FALSE && --l->accept_mode <= 0)) {
        l->accept_mode = GS_ACTIVE_FALSE;
        (void)accept_watch(s, id);
    }
    return true;
}

void accept_muted(struct stream *s, uint64_t id, struct gsi_mailbox *mb, uint32_t events)
{
    if (s->more->io)
        atomic_store(&stream_io(s->more->io)->readable, 0);
    accept_notes(s, id, mb);
    if (s->source.owner == mb && events & GSI_EV_TIMER)
        listener_of(s)->resting = false;
}

bool accept_serve(struct stream *s, uint64_t id, struct gsi_mailbox *mb, uint32_t events, gs_msg *m)
{
    accept_muted(s, id, mb, events);
    if (s->source.owner != mb)
        return false;
    const struct listener *l = listener_of(s);
    if (l->accept_mode != GS_ACTIVE_FALSE && !l->resting && accept_message(s, id, mb, m))
        return true;
    if (!descriptorless(s))
        accept_keep_watching(s, id); /* a selective receive or a rest may have silenced it */
    return false;
}

/* ---- the calls ---- */

static int accept_blocking(struct stream *s, gs_mailbox owner, int timeout_ms, uint64_t *fresh)
{
    uint64_t deadline = 0;
    for (bool first = true;; first = false) {
        if (s->more->io)
            atomic_store(&stream_io(s->more->io)->readable, 0);
        int e = accept_one(s, owner, fresh);
        if (e != -EAGAIN)
            return e;
        if (first)
            deadline = gsi_deadline(timeout_ms);
        e = stream_wait(s, POLLIN, deadline);
        if (e == GS_ETIMEOUT && deadline) { /* an exclusive wake may have been ours: once more */
            e = accept_one(s, owner, fresh);
            return e == -EAGAIN ? GS_ETIMEOUT : e;
        }
        if (e < 0)
            return e;
    }
}

int gs_stream_accept(gs_stream listener, gs_stream *out, gs_mailbox owner, int timeout_ms, uint64_t *ref)
{
    if (!out || !gsi_timeout_ok(timeout_ms) || (timeout_ms == GS_NOWAIT && !owner.id))
        return GS_EBADARG;
    struct gsi_mailbox *mb;
    if (owner.id) { /* refused before a connection is taken out of the queue for it */
        if (gsi_mailbox_lock(owner, &mb) < 0)
            return GS_EBADARG;
        gsi_unlock(&mb->object);
    }
    struct stream *s;
    int e = stream_lock(listener, &s);
    if (e < 0)
        return e;
    if (s->state != LISTENING)
        e = -EINVAL;
    else if (listener_of(s)->accept_mode != GS_ACTIVE_FALSE)
        e = gsi_fail(-EINVAL, "the listener delivers accept messages itself");
    else if (timeout_ms == GS_NOWAIT)
        e = accept_nowait(s, listener.id, owner, ref);
    else
        e = accept_blocking(s, owner, timeout_ms, &out->id);
    stream_unlock(s);
    return e;
}

int gs_stream_cancel(gs_stream listener, uint64_t ref)
{
    struct stream *s;
    int e = stream_lock(listener, &s);
    if (e < 0)
        return e;
    e = GS_EINVALID;
    for (struct pending_accept **at = s->state == LISTENING ? &listener_of(s)->accepts : NULL; at && *at; at = &(*at)->next) {
        struct pending_accept *p = *at;
        if (p->note->ref != ref)
            continue;
        uint64_t mailbox = p->mailbox;
        *at = p->next;
        gsi_note_free(p->note);
        gsi_free(p);
        (void)watch_for(s, listener.id, mailbox, true);
        e = 0;
        break;
    }
    stream_unlock(s);
    return e;
}
