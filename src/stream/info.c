/* info.c: what a stream tells of itself: names, peer, statistics, state; and who wants to know when it closes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stream/stream.h"

static int name(gs_stream h, bool peer, gs_addr *out)
{
    if (!out)
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    const struct gs_transport *t = s->more && s->more->layers ? s->more->base : s->t;
    void *ctx = s->more && s->more->layers ? s->more->base_ctx : s->ctx;
    e = t && s->state != OPENING ? t->name(ctx, peer, out) : -ENOTCONN;
    stream_unlock(s);
    return e;
}

int gs_stream_sockname(gs_stream s, gs_addr *out) { return name(s, false, out); }
int gs_stream_peername(gs_stream s, gs_addr *out) { return name(s, true, out); }

int gs_stream_port(gs_stream s)
{
    gs_addr a;
    int e = name(s, false, &a);
    return e < 0 ? e : gs_addr_port(&a);
}

/* What the turn corks is its own until the batch ends: it alone may read the cork's counts. */
static const struct gsi_cork *cork_of(const struct stream *s, uint64_t id)
{
    return in_turn(s) && gsi_current(s->source.owner) == id ? &s->source.owner->hot.cork : NULL;
}

/* Everything sent that the transport has not taken yet. */
static size_t queued(const struct stream *s, uint64_t id)
{
    const struct gsi_cork *cork = s->corked && s->source.owner ? &s->source.owner->hot.cork : cork_of(s, id);
    size_t corked = cork ? atomic_load_explicit(&cork->end, memory_order_acquire) - cork->sent : 0;
    return out_len(s) + corked;
}

int gs_stream_getstat(gs_stream h, gs_stat *out)
{
    if (!out)
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    struct stat_counters c = s->stat;
    const struct gsi_cork *cork = cork_of(s, h.id);
    if (cork) {
        c.send_oct += cork->bytes;
        c.send_cnt += cork->count;
        c.send_max = cork->longest > c.send_max ? cork->longest : c.send_max;
    }
    *out = (gs_stat){
        .recv_oct = c.recv_oct,
        .recv_cnt = c.recv_cnt,
        .recv_max = c.recv_max,
        .recv_avg = c.recv_cnt ? c.recv_oct / c.recv_cnt : 0,
        .recv_dvi = c.recv_cnt ? (uint64_t)(c.recv_deviations / (float)c.recv_cnt) : 0,
        .send_oct = c.send_oct,
        .send_cnt = c.send_cnt,
        .send_max = c.send_max,
        .send_avg = c.send_cnt ? c.send_oct / c.send_cnt : 0,
        .send_pend = queued(s, h.id),
    };
    stream_unlock(s);
    return 0;
}

static void transport_name(const struct stream *s, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = '\0';
    const struct gs_transport *base = s->more && s->more->layers ? s->more->base : s->t;
    for (int i = s->more ? s->more->layers : 0; i-- > 0 && at < cap;)
        at += (size_t)snprintf(out + at, cap - at, "%s+", s->more->layer[i].t->scheme);
    if (base && at < cap)
        snprintf(out + at, cap - at, "%s", base->scheme);
}

int gs_stream_info(gs_stream h, gs_stream_info_t *out)
{
    if (!out)
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    *out = (gs_stream_info_t){
        .state = s->state == LISTENING ? GS_LISTENER
                 : s->state == OPENING ? GS_CONNECTING
                 : s->eof == END_TOLD  ? GS_ENDED
                                       : GS_CONNECTED,
        .owner = {s->source.owner ? s->source.owner->id : 0},
        .active = mode_of(s),
        .buffered = s->reader ? 0 : rx_len(s),
        .queued = queued(s, h.id),
        .fd = s->fd,
    };
    transport_name(s, out->transport, sizeof out->transport);
    stream_unlock(s);
    return 0;
}

/* ---- peer: one block with everything it points to ---- */

struct packed {
    char *at; /* NULL: measuring */
    size_t n;
};

static const char *pack_string(struct packed *p, const char *s)
{
    if (!s)
        return NULL;
    size_t n = strlen(s) + 1;
    char *copy = p->at ? memcpy(p->at + p->n, s, n) : NULL;
    p->n += n;
    return copy;
}

static const char *const *pack_list(struct packed *p, const char *const *list, size_t n)
{
    if (!n)
        return NULL;
    p->n = (p->n + sizeof(char *) - 1) / sizeof(char *) * sizeof(char *);
    const char **copy = p->at ? (const char **)(void *)(p->at + p->n) : NULL;
    p->n += n * sizeof(char *);
    for (size_t i = 0; i < n; i++) {
        const char *s = pack_string(p, list[i]);
        if (copy)
            copy[i] = s;
    }
    return copy;
}

static void pack(struct packed *p, const gs_peer *from, gs_peer *to)
{
    gs_peer view = *from;
    view.tags = pack_list(p, from->tags, from->n_tags);
    view.caps = pack_list(p, from->caps, from->n_caps);
    view.cap_json = pack_list(p, from->cap_json, from->cap_json ? from->n_caps : 0);
    view.subject = pack_string(p, from->subject);
    view.node = pack_string(p, from->node);
    view.user = pack_string(p, from->user);
    view.display_name = pack_string(p, from->display_name);
    view.stable_id = pack_string(p, from->stable_id);
    if (to)
        *to = view;
}

static int snapshot(const gs_peer *from, const gs_peer **out)
{
    struct packed size = {0};
    pack(&size, from, NULL);
    gs_peer *copy = gsi_zalloc(sizeof *copy + size.n);
    if (!copy)
        return -ENOMEM;
    struct packed into = {.at = (char *)(copy + 1)};
    pack(&into, from, copy);
    *out = copy;
    return 0;
}

int gs_stream_peer(gs_stream h, const gs_peer **out)
{
    if (!out)
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    gs_peer peer = {.kind = GS_PEER_UNKNOWN};
    if (s->state != OPEN || !s->t)
        e = -ENOTCONN;
    else {
        e = s->t->peer(s->ctx, &peer);
        /* A layer that knows nobody leaves the question to what is below. */
        for (int i = s->more ? s->more->layers : 0; e == 0 && peer.kind == GS_PEER_UNKNOWN && i-- > 0;) {
            const struct gs_io *io = &s->more->layer[i].io;
            e = io->lower->peer(io->lower_ctx, &peer);
        }
    }
    if (e == 0)
        e = snapshot(&peer, out);
    stream_unlock(s);
    return e;
}

int gs_peer_copy(const gs_peer *p, const gs_peer **out) { return p && out ? snapshot(p, out) : GS_EBADARG; }

void gs_peer_free(const gs_peer *p) { gsi_free((void *)(uintptr_t)p); }

/* ---- monitors ---- */

int gs_stream_monitor(gs_stream h, gs_mailbox to, uint64_t *ref)
{
    if (!ref)
        return GS_EBADARG;
    struct gsi_mailbox *mb;
    if (gsi_mailbox_lock(to, &mb) < 0)
        return GS_EBADARG;
    gsi_unlock(&mb->object);
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    struct more *more = stream_more(s);
    struct monitor *m = gsi_zalloc(sizeof *m);
    struct gsi_note *note = gsi_note_new(GS_MSG_DOWN);
    if (more && m && note) {
        *ref = note->ref = gs_make_ref();
        *m = (struct monitor){.next = more->monitors, .mailbox = to.id, .ref = note->ref, .note = note};
        more->monitors = m;
    } else {
        gsi_free(m);
        gsi_note_free(note);
        e = -ENOMEM;
    }
    stream_unlock(s);
    return e;
}

int gs_stream_cancel_monitor(gs_stream h, uint64_t ref)
{
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e == GS_ECLOSED ? GS_EINVALID : e;
    e = GS_EINVALID;
    for (struct monitor **at = s->more ? &s->more->monitors : NULL; at && *at; at = &(*at)->next) {
        struct monitor *m = *at;
        if (m->ref != ref)
            continue;
        *at = m->next;
        gsi_note_free(m->note);
        gsi_free(m);
        e = 0;
        break;
    }
    stream_unlock(s);
    return e;
}
