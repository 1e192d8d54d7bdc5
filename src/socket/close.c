/* close.c: the end of a socket, and who is told. */
#include <errno.h>

#include "base/error.h"
#include "base/seam.h"
#include "base/wait.h"
#include "socket/socket.h"

/* ---- monitors; socket locked ---- */

static void free_monitor(struct gsi_monitor *m)
{
    gsi_note_free(m->note);
    gsi_free(m);
}

static void tell_monitors(struct gsi_socket *s)
{
    for (struct gsi_monitor *m = s->monitors, *next; m; m = next) {
        next = m->next;
        m->note->socket = s->id;
        m->note->ref = m->ref;
        m->note->error = GS_ECLOSED;
        gsi_note_send(m->mailbox, m->note);
        gsi_free(m);
    }
    s->monitors = NULL;
}

void gsi_monitors_forget(struct gsi_socket *s, uint64_t mailbox)
{
    for (struct gsi_monitor **at = &s->monitors; *at;) {
        struct gsi_monitor *m = *at;
        if (m->mailbox != mailbox) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        free_monitor(m);
    }
}

static int new_monitor(gs_mailbox to, struct gsi_monitor **out)
{
    struct gsi_mailbox *mb;
    int e = gsi_mailbox_lock(to, &mb);
    if (e < 0)
        return gsi_fail(GS_EBADARG, "the monitor's mailbox is none");
    gsi_unlock(&mb->object);
    struct gsi_monitor *m = gsi_zalloc(sizeof *m);
    struct gsi_note *n = gsi_note_new(GS_MSG_DOWN);
    if (!m || !n) {
        gsi_note_free(n);
        gsi_free(m);
        return -ENOMEM;
    }
    *m = (struct gsi_monitor){.mailbox = to.id, .ref = gs_make_ref(), .note = n};
    *out = m;
    return 0;
}

int gs_socket_monitor(gs_socket h, gs_mailbox to, uint64_t *ref)
{
    struct gsi_socket *s;
    struct gsi_monitor *m = NULL;
    if (!ref)
        return GS_EBADARG;
    int e = new_monitor(to, &m);
    if (e < 0)
        return e;
    e = gsi_socket_lock(h, &s);
    if (e < 0) {
        free_monitor(m);
        return e;
    }
    *ref = m->ref;
    m->next = s->monitors;
    s->monitors = m;
    gsi_socket_unlock(s);
    return 0;
}

int gs_socket_cancel_monitor(gs_socket h, uint64_t ref)
{
    struct gsi_socket *s;
    int e = gsi_socket_lock(h, &s);
    if (e < 0)
        return e;
    e = GS_EINVALID;
    for (struct gsi_monitor **at = &s->monitors; *at; at = &(*at)->next) {
        struct gsi_monitor *m = *at;
        if (m->ref != ref)
            continue;
        *at = m->next;
        free_monitor(m);
        e = 0;
        break;
    }
    gsi_socket_unlock(s);
    return e;
}

/* ---- the end ---- */

/* From gsi_kill on the handle answers GS_ECLOSED. Everybody who waits is woken, by an eventfd or a message and never
 * by shutdown(2), which others that share the descriptor would feel; then the last of them leaves, and only then the
 * descriptor goes: out of every mailbox's set first, where a duplicate of it would else stay for ever. */
int gsi_socket_end(struct gsi_socket *s)
{
    gsi_kill(&s->source.object);
    gsi_socket_abort_all(s);
    gsi_wake(&s->source.object);
    if (s->source.owner)
        gsi_source_release(&s->source, s->id);
    gsi_drain(&s->source.object);
    tell_monitors(s);
    int fd = s->fd;
    bool borrowed = s->borrowed;
    if (s->registered)
        gsi_registry_count(-1);
    gsi_retire(GSI_SOCKET, &s->source.object);
    if (borrowed)
        return 0;
    /* Linux has closed it whatever it answers; EINTR: a signal ended the wait for linger. */
    int e = gsi_sys.close(fd) < 0 ? gsi_errno() : 0;
    return e == -EINTR ? 0 : e;
}

int gs_socket_close(gs_socket h)
{
    struct gsi_socket *s;
    int e = gsi_socket_lock(h, &s);
    return e < 0 ? e : gsi_socket_end(s);
}
