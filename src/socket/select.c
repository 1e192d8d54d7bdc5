/* select.c: who waits for a socket, in which order, and how each of them learns that it is its turn.
 *
 * A direction's queue holds the calls that wait, in the order they came. Only the head may try. A blocking head polls
 * the descriptor; those behind it sleep on their own eventfd, which the head's leaving signals. A nowait head has its
 * mailbox watch the descriptor until it is ready, then gets its message and keeps the head until its caller comes back
 * (or cancels, or its mailbox ends), as in Erlang: so nobody overtakes. Its message is allocated when the wait starts:
 * telling cannot fail.
 * */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/seam.h"
#include "base/wait.h"
#include "socket/socket.h"

enum { BACKOFF_MS = 2 };

/* ---- the queue as a list ---- */

static void link_last(struct gsi_queue *q, struct gsi_caller *c)
{
    c->next = NULL;
    c->prev = q->tail;
    *(q->tail ? &q->tail->next : &q->head) = c;
    q->tail = c;
    q->n++;
}

static void unlink_caller(struct gsi_queue *q, struct gsi_caller *c)
{
    *(c->prev ? &c->prev->next : &q->head) = c->next;
    *(c->next ? &c->next->prev : &q->tail) = c->prev;
    q->n--;
}

static void replace(struct gsi_queue *q, struct gsi_caller *old, struct gsi_caller *fresh)
{
    fresh->prev = old->prev;
    fresh->next = old->next;
    *(old->prev ? &old->prev->next : &q->head) = fresh;
    *(old->next ? &old->next->prev : &q->tail) = fresh;
}

/* A nowait call, out of its queue; its message too if nobody has received it yet. */
static void free_caller(struct gsi_caller *c)
{
    if (!c->note)
        gsi_note_recall(c->mailbox, GS_MSG_SELECT, c->ref);
    gsi_note_free(c->note);
    gsi_free(c);
}

/* ---- what mailboxes watch ---- */

/* The heads of two queues may belong to one mailbox, whose set has the descriptor once. */
static uint32_t watched_by(const struct gsi_socket *s, uint64_t mailbox)
{
    uint32_t events = 0;
    for (int i = 0; i < GSI_QUEUES; i++)
        if (s->q[i].armed == mailbox)
            events |= s->q[i].armed_events;
    return events;
}

static void disarm(struct gsi_socket *s, struct gsi_queue *q)
{
    uint64_t mailbox = q->armed;
    if (!mailbox)
        return;
    uint32_t before = watched_by(s, mailbox);
    q->armed = 0;
    uint32_t after = watched_by(s, mailbox);
    /* A failure means that the mailbox ends, and its set with it. */
    if (after != before && gsi_mailbox_watch(mailbox, s->fd, s->id, after, true) < 0)
        return;
}

static int arm(struct gsi_socket *s, struct gsi_queue *q, uint64_t mailbox, uint32_t events)
{
    if (q->armed == mailbox && q->armed_events == events)
        return 0;
    disarm(s, q);
    uint32_t before = watched_by(s, mailbox);
    if ((before | events) != before) {
        int e = gsi_mailbox_watch(mailbox, s->fd, s->id, before | events, before != 0);
        if (e < 0)
            return e == GS_ECLOSED || e == GS_EBADARG ? gsi_fail(GS_EBADARG, "the mailbox of this nowait call is none") : e;
    }
    q->armed = mailbox;
    q->armed_events = events;
    return 0;
}

/* ---- telling ---- */

static void tell(struct gsi_socket *s, struct gsi_caller *c, gs_msg_kind kind, int error)
{
    struct gsi_note *n = c->note;
    c->note = NULL;
    n->kind = kind;
    n->error = error;
    n->socket = s->id;
    n->ref = c->ref;
    gsi_note_send(c->mailbox, n);
}

static void abort_caller(struct gsi_socket *s, struct gsi_queue *q, struct gsi_caller *c, int error)
{
    unlink_caller(q, c);
    if (c->note)
        tell(s, c, GS_MSG_ABORT, error);
    gsi_free(c);
}

/* The queue has a new head, or none. */
static void settle(struct gsi_socket *s, struct gsi_queue *q)
{
    for (struct gsi_caller *c; (c = q->head);) {
        if (!c->mailbox) {
            disarm(s, q);
            gsi_signal(c->event_fd);
            return;
        }
        int e = arm(s, q, c->mailbox, c->events);
        if (e == 0)
            return;
        abort_caller(s, q, c, e);
    }
    disarm(s, q);
}

static void leave(struct gsi_socket *s, struct gsi_queue *q, struct gsi_caller *c)
{
    bool first = q->head == c;
    unlink_caller(q, c);
    if (c->mailbox)
        free_caller(c);
    if (first && !gsi_dying(&s->source.object))
        settle(s, q);
}

/* ---- one call ---- */

static bool in_turn_of(uint64_t mailbox)
{
    struct gsi_mailbox *mb;
    if (gsi_mailbox_lock((gs_mailbox){mailbox}, &mb) < 0)
        return false;
    bool yes = gsi_in_turn(mb);
    gsi_unlock(&mb->object);
    return yes;
}

static bool names(const struct gsi_socket *s, const struct gsi_op *op, const gs_wait *w, const struct gsi_caller *c)
{
    const gs_select *i = &w->info;
    return (i->ref == c->ref && i->socket.id == s->id && i->op == (int)op->queue) || w->ref == c->ref;
}

/* The pending nowait call that this call continues, or NULL. */
static struct gsi_caller *continued(const struct gsi_socket *s, const struct gsi_op *op, const gs_wait *w)
{
    struct gsi_caller *head = s->q[op->queue].head;
    if (!head)
        return NULL;
    if (w && (w->ref || w->info.ref))
        for (struct gsi_caller *c = head; c; c = c->next)
            if (c->mailbox && names(s, op, w, c))
                return c;
    if (!head->mailbox || op->resume)
        return head->mailbox ? head : NULL;
    if (head->note) /* not told yet */
        return NULL;
    bool same = w && w->timeout_ms == GS_NOWAIT && w->to.id == head->mailbox;
    return same || in_turn_of(head->mailbox) ? head : NULL;
}

/* A blocking call takes the place of the nowait call that it continues. */
static void take_place(struct gsi_socket *s, struct gsi_queue *q, struct gsi_caller *c, struct gsi_caller *mine)
{
    if (q->head == c)
        disarm(s, q);
    replace(q, c, mine);
    free_caller(c);
}

static ssize_t block(struct gsi_socket *s, struct gsi_op *op, struct gsi_caller *mine, bool *linked, int timeout_ms)
{
    struct gsi_queue *q = &s->q[op->queue];
    uint64_t deadline = gsi_deadline(timeout_ms);
    if (deadline == 0)
        return GS_ETIMEOUT;
    mine->event_fd = gsi_thread_eventfd();
    if (mine->event_fd < 0)
        return mine->event_fd;
    if (!*linked)
        link_last(q, mine);
    *linked = true;
    for (;;) {
        bool first = q->head == mine, lies = first && op->backoff;
        uint64_t step = lies ? gsi_deadline(BACKOFF_MS) : deadline;
        struct gsi_wait_for what = {.fd = first && !lies ? s->fd : -1, .events = (short)op->events};
        int e = gsi_wait(&s->source.object, &what, step < deadline ? step : deadline);
        if (e < 0 && !(e == GS_ETIMEOUT && step < deadline))
            return e;
        ssize_t r = q->head == mine ? op->try(s, op) : -EAGAIN;
        if (r != -EAGAIN)
            return r;
    }
}

static struct gsi_caller *new_caller(uint64_t ref)
{
    struct gsi_caller *c = gsi_zalloc(sizeof *c);
    if (c)
        c->ref = ref ? ref : gs_make_ref();
    return c;
}

static bool mailbox_lives(uint64_t mailbox)
{
    struct gsi_mailbox *mb;
    if (gsi_mailbox_lock((gs_mailbox){mailbox}, &mb) < 0)
        return false;
    gsi_unlock(&mb->object);
    return true;
}

/* Nowait: leaves a caller behind, *c, which may be one that waits already. */
static int select_later(struct gsi_socket *s, struct gsi_op *op, gs_wait *w, struct gsi_caller **c)
{
    struct gsi_queue *q = &s->q[op->queue];
    if (!mailbox_lives(w->to.id))
        return gsi_fail(GS_EBADARG, "the mailbox of this nowait call is none");
    struct gsi_note *note = *c && (*c)->note ? (*c)->note : gsi_note_new(GS_MSG_SELECT);
    if (!note)
        return -ENOMEM;
    if (!*c) {
        *c = new_caller(w->ref);
        if (!*c) {
            gsi_note_free(note);
            return -ENOMEM;
        }
        link_last(q, *c);
    } else if (!(*c)->note) { /* told already, and called back too early */
        gsi_note_recall((*c)->mailbox, GS_MSG_SELECT, (*c)->ref);
        (*c)->ref = w->ref ? w->ref : gs_make_ref();
    }
    (*c)->note = note;
    (*c)->mailbox = w->to.id;
    (*c)->events = op->events;
    if (q->head == *c) {
        int e = arm(s, q, w->to.id, op->events);
        if (e < 0)
            return e;
    }
    w->info = (gs_select){.socket.id = s->id, .ref = (*c)->ref, .op = (int)op->queue};
    return GS_ESELECT;
}

static void trace(const struct gsi_op *op, ssize_t result)
{
    if (result < 0)
        fprintf(stderr, "gensock: socket %016llx: %s: %s\n", (unsigned long long)op->id, op->name, gs_error_name((int)result));
    else
        fprintf(stderr, "gensock: socket %016llx: %s: %zd\n", (unsigned long long)op->id, op->name, result);
}

/* Socket locked. */
static ssize_t perform(struct gsi_socket *s, struct gsi_op *op, gs_wait *w, int timeout_ms)
{
    struct gsi_queue *q = &s->q[op->queue];
    struct gsi_caller local = {0}, *c = continued(s, op, w);
    bool nowait = timeout_ms == GS_NOWAIT, linked = c;
    if (!c && op->alone && q->head)
        return -EALREADY;
    op->continues = c;
    if (w)
        w->info = (gs_select){0};
    if (c && !nowait) {
        take_place(s, q, c, &local);
        c = &local;
    }
    ssize_t r = !q->head || q->head == c ? op->try(s, op) : -EAGAIN;
    if (r != -EAGAIN || (nowait && op->backoff)) {
        /* done, or nothing that could tell when to try again */
    } else if (nowait) {
        r = select_later(s, op, w, &c);
        linked = c && r != GS_ESELECT;
    } else {
        c = &local;
        r = block(s, op, c, &linked, timeout_ms);
    }
    if (linked)
        leave(s, q, c);
    return r;
}

ssize_t gsi_socket_run(gs_socket h, struct gsi_op *op, gs_wait *w)
{
    int timeout_ms = w ? w->timeout_ms : GS_INFINITY;
    if (w)
        w->done = 0;
    if (timeout_ms < GS_NOWAIT || (timeout_ms == GS_NOWAIT && !w->to.id))
        return GS_EBADARG;
    struct gsi_socket *s;
    int e = gsi_socket_lock(h, &s);
    if (e < 0) {
        if (w)
            w->info = (gs_select){0};
        return e;
    }
    op->id = h.id;
    ssize_t r = perform(s, op, w, timeout_ms);
    if (r < 0 && op->done && !gsi_dying(&s->source.object))
        r = (ssize_t)op->done;
    bool debug = s->debug;
    gsi_socket_unlock(s);
    if (w)
        w->done = op->done;
    if (debug)
        trace(op, r);
    return r;
}

int gs_socket_cancel(gs_socket h, const gs_select *info)
{
    if (!info)
        return GS_EBADARG;
    struct gsi_socket *s;
    int e = gsi_socket_lock(h, &s);
    if (e < 0)
        return e;
    e = GS_EINVALID;
    if (info->socket.id == h.id && info->op >= 0 && info->op < GSI_QUEUES) {
        struct gsi_queue *q = &s->q[info->op];
        for (struct gsi_caller *c = q->head; c; c = c->next) {
            if (!c->mailbox || c->ref != info->ref)
                continue;
            leave(s, q, c);
            e = 0;
            break;
        }
    }
    gsi_socket_unlock(s);
    return e;
}

/* ---- the mailbox's side ---- */

static void became_ready(struct gsi_mailbox *mb, uint64_t id, uint32_t events)
{
    struct gsi_socket *s;
    if (gsi_lock(GSI_SOCKET, id, &s) < 0)
        return;
    for (int i = 0; i < GSI_QUEUES; i++) {
        struct gsi_queue *q = &s->q[i];
        if (q->armed != mb->id || !(events & (q->armed_events | EPOLLERR | EPOLLHUP)))
            continue;
        disarm(s, q);
        tell(s, q->head, GS_MSG_SELECT, 0);
    }
    gsi_socket_unlock(s);
}

static bool serve(struct gsi_mailbox *mb, uint64_t id, uint32_t events, gs_msg *m)
{
    (void)m;
    became_ready(mb, id, events); /* ends in notes, which the mailbox looks at next */
    return false;
}

static bool next_message(struct gsi_mailbox *mb, uint64_t id, gs_msg *m)
{
    (void)mb, (void)id, (void)m;
    return false;
}

static void park(struct gsi_mailbox *mb, uint64_t id) { (void)mb, (void)id; }

static void orphan(uint64_t id, struct gsi_mailbox *owner)
{
    struct gsi_socket *s;
    if (gsi_lock(GSI_SOCKET, id, &s) < 0)
        return;
    if (s->source.owner == owner)
        gsi_socket_end(s);
    else
        gsi_socket_unlock(s);
}

static void forget(uint64_t id, uint64_t mailbox)
{
    struct gsi_socket *s;
    if (gsi_lock(GSI_SOCKET, id, &s) < 0)
        return;
    for (int i = 0; i < GSI_QUEUES; i++) {
        struct gsi_queue *q = &s->q[i];
        bool was_first = false;
        if (q->armed == mailbox)
            q->armed = 0; /* the set ends with the mailbox */
        for (struct gsi_caller *c = q->head, *after; c; c = after) {
            after = c->next;
            if (c->mailbox != mailbox)
                continue;
            was_first |= q->head == c;
            unlink_caller(q, c);
            free_caller(c);
        }
        if (was_first)
            settle(s, q);
    }
    gsi_monitors_forget(s, mailbox);
    gsi_socket_unlock(s);
}

const struct gsi_source_ops gsi_socket_ops = {
    .serve = serve, .next = next_message, .park = park, .mute = became_ready, .orphan = orphan, .forget = forget,
};

void gsi_socket_abort_all(struct gsi_socket *s)
{
    for (int i = 0; i < GSI_QUEUES; i++) {
        struct gsi_queue *q = &s->q[i];
        disarm(s, q);
        for (struct gsi_caller *c = q->head, *after; c; c = after) {
            after = c->next;
            if (c->mailbox) /* a blocking one leaves by itself */
                abort_caller(s, q, c, GS_ECLOSED);
        }
    }
}
