/* close.c: the end of a stream: close, shutdown, export.
 *
 * Close is final and never waits for the peer: the id is dead for everybody first, then blocked calls are woken by their own
 * eventfds (no shutdown(2): others may share the descriptor), then the descriptor leaves its owner's set, and only then is it
 * closed. A stream with output left lives on, dying, with the flusher.
 */
#include <errno.h>
#include <string.h>

#include "stream/stream.h"

static void tell_monitors(struct stream *s, uint64_t id, int reason)
{
    if (!s->more)
        return;
    for (struct monitor *m = s->more->monitors, *next; m; m = next) {
        next = m->next;
        m->note->stream = id;
        m->note->error = reason;
        (void)gsi_note_send(m->mailbox, m->note);
        gsi_free(m);
    }
    s->more->monitors = NULL;
}

/* Locked. The id dies, blocked calls leave, nobody watches or owns it any more. */
static void withdraw(struct stream *s, uint64_t id, int reason)
{
    gsi_kill(&s->source.object);
    gsi_wake(&s->source.object);
    gsi_drain(&s->source.object);
    if (s->state == LISTENING)
        accept_abort_all(s, id);
    opening_free(s);
    tell_monitors(s, id, reason);
    flusher_forget(s, id);
    if (s->more && s->more->io)
        stream_io_owner(s, NULL);
    if (s->source.owner) {
        (void)stream_arm(s, id, 0);
        gsi_source_release(&s->source, id);
    }
}

/* Locked. Before the id dies: what points into the owner's memory must leave it. */
static void settle(struct stream *s, uint64_t id)
{
    if (in_turn(s) && gsi_current(s->source.owner) == id)
        gsi_hot_unclaim(&s->source.owner->hot);
    output_uncork(s, id);
    if (has_output(s) && !s->writer && s->state == OPEN)
        (void)output_flush(s, id);
}

int stream_shutdown_now(struct stream *s, gs_how how)
{
    int e = s->t->shutdown(s->ctx, how);
    if (e == 0 && how != GS_SHUT_READ)
        s->shut_write = true;
    return e;
}

static int shutdown_write(struct stream *s, uint64_t id)
{
    if (s->shut_write || s->shut_pending)
        return 0;
    if (s->send_error)
        return stream_end_code(s, s->send_error);
    if (s->t->flags & GS_T_NO_HALF_CLOSE)
        return -ENOTSUP;
    output_uncork(s, id);
    if (has_output(s) || s->writer) {
        s->shut_pending = true;
        return s->out && !s->stuck && !s->writer ? output_flush(s, id) : 0;
    }
    int e = stream_shutdown_now(s, GS_SHUT_WRITE);
    if (e == 0)
        output_see_held(s, id);
    return e;
}

/* A transport that says goodbye (close_notify) does so behind what is queued. */
static void say_goodbye(struct stream *s, uint64_t id)
{
    if (s->more && s->more->layers && s->state == OPEN && !s->writer && !s->send_error)
        (void)shutdown_write(s, id);
}

static void free_more(struct more *more)
{
    if (!more)
        return;
    stream_io_free(more->io);
    for (int i = 0; more->layer && i < GSI_LAYERS_MAX; i++)
        gsi_free(more->layer[i].io.early);
    gsi_free(more->layer);
    if (more->listener) {
        gsi_free(more->listener->address);
        gsi_free(more->listener->opts);
        gsi_free(more->listener);
    }
    gsi_free(more);
}

/* Locked, withdrawn. Everything but the transport; unlocks. */
static void retire(struct stream *s)
{
    input_drop(s);
    output_free(s);
    free_more(s->more);
    profile_unref(s->profile);
    s->more = NULL;
    s->profile = NULL;
    s->t = NULL;
    gsi_retire(GSI_STREAM, &s->source.object);
}

void stream_close_transport(struct stream *s, bool reset)
{
    if (!s->t)
        return;
    for (int i = s->more ? s->more->layers : 0; i-- > 0;)
        s->more->layer[i].t->close(s->more->layer[i].ctx, reset);
    if (s->more && s->more->layers)
        s->more->base->close(s->more->base_ctx, reset);
    else
        s->t->close(s->ctx, reset);
    if (s->more)
        s->more->layers = 0;
    s->t = NULL;
    s->fd = -1;
}

void stream_destroy(struct stream *s, bool reset)
{
    stream_close_transport(s, reset);
    retire(s);
}

void stream_close_locked(struct stream *s, uint64_t id, int reason)
{
    bool reset = s->profile->linger_seconds == 0;
    settle(s, id);
    if (!reset)
        say_goodbye(s, id);
    withdraw(s, id, reason);
    reset |= s->cut;
    bool left = has_output(s) && s->state == OPEN && !s->send_error && !reset;
    if (left && flusher_take(s, id)) {
        stream_unlock(s);
        return;
    }
    stream_destroy(s, reset || left);
}

int gs_stream_close(gs_stream h)
{
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e == GS_ECLOSED ? 0 : e;
    struct trace t = stream_trace(s);
    stream_close_locked(s, h.id, GS_ECLOSED);
    if (t.fn)
        trace_line(t, h.id, "close");
    return 0;
}

int gs_stream_shutdown(gs_stream h, gs_how how)
{
    if (how != GS_SHUT_READ && how != GS_SHUT_WRITE && how != GS_SHUT_BOTH)
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    e = s->state == OPEN ? 0 : -ENOTCONN;
    if (e == 0 && how != GS_SHUT_READ)
        e = shutdown_write(s, h.id);
    if (e == 0 && how != GS_SHUT_WRITE) {
        e = stream_shutdown_now(s, GS_SHUT_READ);
        gsi_wake(&s->source.object);
    }
    struct trace t = stream_trace(s);
    stream_unlock(s);
    if (t.fn)
        trace_line(t, h.id, "shutdown %d -> %s", how, gs_error_name(e));
    return e;
}

static int check_exportable(const struct stream *s)
{
    if (s->state == OPENING)
        return -EBUSY;
    if (!(s->t->flags & GS_T_KERNEL) || (s->more && s->more->layers))
        return -ENOTSUP;
    if (has_output(s) || s->writer)
        return -EBUSY;
    return s->reader ? -EALREADY : 0;
}

int gs_stream_export(gs_stream h, uint8_t **rest, size_t *n)
{
    if (!rest || !n)
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    if (s->state != OPENING)
        output_uncork(s, h.id);
    e = check_exportable(s);
    if (e == 0)
        e = input_unclaim(s, h.id);
    uint8_t *copy = NULL;
    if (e == 0 && rx_len(s)) {
        copy = gsi_alloc(rx_len(s));
        if (copy)
            memcpy(copy, s->rx + s->rx_at, rx_len(s));
        else
            e = -ENOMEM;
    }
    if (e < 0) {
        stream_unlock(s);
        return e;
    }
    *rest = copy;
    *n = rx_len(s);
    withdraw(s, h.id, GS_ECLOSED);
    int fd = s->fd;
    retire(s);
    return fd;
}
