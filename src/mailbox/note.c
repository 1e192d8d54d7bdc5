/* note.c: messages that are complete when they are made: posts, timers, and what sources send as notes. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/seam.h"
#include "mailbox/receive.h"
#include "packet/packet.h"

struct gsi_note *gsi_note_new(gs_msg_kind kind)
{
    struct gsi_note *n = gsi_zalloc(sizeof *n);
    if (n)
        n->kind = kind;
    return n;
}

void gsi_note_free(struct gsi_note *n)
{
    if (!n)
        return;
    if (n->free_fn)
        n->free_fn(n->owned);
    gsi_free(n);
}

/* Mailbox locked. */
static void append(struct gsi_mailbox *mb, struct gsi_note *n)
{
    n->next = NULL;
    *mb->inbox_end = n;
    mb->inbox_end = &n->next;
    gsi_mailbox_signal(mb);
}

int gsi_note_send(uint64_t mailbox, struct gsi_note *n)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock((gs_mailbox){mailbox}, &mb);
    if (e < 0) {
        gsi_note_free(n);
        return e;
    }
    append(mb, n);
    gsi_unlock(&mb->object);
    return 0;
}

int gsi_note_recall(uint64_t mailbox, gs_msg_kind kind, uint64_t ref)
{
    struct gsi_mailbox *mb;
    if (gsi_mailbox_lock((gs_mailbox){mailbox}, &mb) < 0)
        return 0;
    int found = 0;
    struct gsi_note *gone = NULL;
    for (struct gsi_note **at = &mb->inbox; *at;) {
        struct gsi_note *n = *at;
        if (n->kind != kind || n->ref != ref) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        n->next = gone;
        gone = n;
        found++;
    }
    mb->inbox_end = &mb->inbox;
    while (*mb->inbox_end)
        mb->inbox_end = &(*mb->inbox_end)->next;
    gsi_unlock(&mb->object);
    for (struct gsi_note *next; gone; gone = next) {
        next = gone->next;
        gsi_note_free(gone);
    }
    return found;
}

static int post(gs_mailbox h, struct gsi_note *n)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock(h, &mb);
    if (e == 0) {
        if (mb->post_limit && mb->posts >= mb->post_limit)
            e = -EAGAIN;
        else {
            mb->posts++;
            append(mb, n);
        }
        gsi_unlock(&mb->object);
    }
    if (e < 0)
        gsi_note_free(n);
    return e;
}

static int post_copy(gs_mailbox h, gs_msg_kind kind, uint32_t tag, uint64_t ref, const void *p, size_t n)
{
    if (!p && n)
        return GS_EBADARG;
    if (n > SIZE_MAX - sizeof(struct gsi_note))
        return -ENOMEM;
    struct gsi_note *note = gsi_alloc(sizeof *note + n);
    if (!note)
        return -ENOMEM;
    *note = (struct gsi_note){.kind = kind, .tag = tag, .ref = ref, .p = note + 1, .n = n};
    if (n)
        memcpy(note + 1, p, n);
    return post(h, note);
}

int gs_post(gs_mailbox h, uint32_t tag, const void *p, size_t n) { return post_copy(h, GS_MSG_POST, tag, 0, p, n); }

int gs_post_event(gs_mailbox h, uint32_t tag, uint64_t ref, const void *p, size_t n)
{
    return post_copy(h, GS_MSG_TAILNET, tag, ref, p, n);
}

int gs_post_take(gs_mailbox h, uint32_t tag, void *p, size_t n, void (*free_fn)(void *))
{
    struct gsi_note *note = gsi_note_new(GS_MSG_POST);
    if (!note) {
        if (free_fn)
            free_fn(p);
        return -ENOMEM;
    }
    note->tag = tag;
    note->p = note->owned = p;
    note->n = n;
    note->free_fn = free_fn;
    if (!p && n) {
        gsi_note_free(note);
        return GS_EBADARG;
    }
    return post(h, note);
}

int gs_timer_start(gs_mailbox h, int after_ms, void *user, uint64_t *ref)
{
    if (!ref || after_ms < 0)
        return GS_EBADARG;
    struct gsi_note *n = gsi_note_new(GS_MSG_TIMER);
    if (!n)
        return -ENOMEM;
    n->user = user;
    n->ref = gs_make_ref();
    uint64_t at = gsi_now() + (uint64_t)after_ms * GSI_MS;

    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock(h, &mb);
    if (e == 0) {
        e = gsi_mailbox_add_timer(mb, at, n->ref, n);
        if (e == 0) {
            *ref = n->ref;
            /* Only who waits for something later must look again. */
            if ((mb->sleeping || mb->foreign) && gsi_timers_next(&mb->timers) == at)
                gsi_mailbox_signal(mb);
        }
        gsi_unlock(&mb->object);
    }
    if (e < 0)
        gsi_note_free(n);
    return e;
}

int gs_timer_cancel(gs_mailbox h, uint64_t ref)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock(h, &mb);
    if (e < 0)
        return e;
    bool reference = (uint32_t)ref >> GSI_KIND_SHIFT == GSI_REF_KIND;
    struct gsi_timer *t = reference ? gsi_mailbox_take_timer(mb, ref) : NULL;
    gsi_unlock(&mb->object);
    if (!t)
        return GS_EINVALID;
    uint64_t now = gsi_now(), left = t->at > now ? (t->at - now) / GSI_MS : 0;
    gsi_note_free(t->note);
    gsi_free(t);
    return left > INT_MAX ? INT_MAX : (int)left;
}

/* ---- a message that outlives its views ---- */

int gs_msg_keep(const gs_msg *m, gs_msg *kept)
{
    if (!m || !kept)
        return GS_EBADARG;
    *kept = *m;
    kept->block = NULL;
    bool data = m->kind == GS_MSG_DATA;
    gs_bytes b = data ? m->packet.data : m->post.body;
    if (!data && m->kind != GS_MSG_POST && m->kind != GS_MSG_TAILNET)
        return 0;
    if (data && m->packet.header.n) /* {header, N}: the two are neighbours */
        b = (gs_bytes){m->packet.header.p, m->packet.header.n + m->packet.data.n};
    uint8_t *copy = gsi_alloc(b.n ? b.n : 1);
    if (!copy)
        return -ENOMEM;
    if (b.n)
        memcpy(copy, b.p, b.n);
    kept->block = copy;
    if (data) {
        gsi_packet_copy(&kept->packet, &m->packet);
        gsi_packet_rebase(&kept->packet, b, copy);
    } else
        kept->post.body.p = copy;
    return 0;
}

void gs_msg_drop(gs_msg *kept)
{
    if (!kept)
        return;
    gsi_free(kept->block);
    kept->block = NULL;
}
