/* upgrade.c: layers over a connected stream: ThousandIsland.Transport's upgrade, handshake and what a handshake told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stream/stream.h"

/* The bytes that were received and not delivered belong to the layer: it reads them before the lower transport's. */
static void hand_over_input(struct stream *s, struct gs_io *io)
{
    io->early = s->rx;
    io->early_at = s->rx_at;
    io->early_n = s->rx_end;
    s->rx = NULL;
    s->rx_at = s->rx_end = s->rx_cap = 0;
}

static int check_upgradable(struct stream *s, uint64_t id)
{
    if (s->state != OPEN)
        return -ENOTCONN;
    if (s->tell_open) /* the message of its connect or handshake comes first */
        return -EALREADY;
    if (is_active(s))
        return gsi_fail(-EINVAL, "an active stream cannot be upgraded: make it passive first");
    if (s->reader || s->writer)
        return -EALREADY;
    if (s->more && s->more->layers == GSI_LAYERS_MAX)
        return GS_ENOUPGRADE;
    if (s->send_error)
        return stream_end_code(s, s->send_error);
    int e = input_unclaim(s, id);
    if (e == 0)
        e = input_stash(s);
    if (e == 0)
        output_uncork(s, id);
    if (e == 0 && has_output(s))
        e = output_flush(s, id);
    return e < 0 ? e : has_output(s) ? gsi_fail(-EBUSY, "output is still queued: flush first") : 0;
}

static int begin(struct stream *s, uint64_t id, const char *layer, bool server, const gs_opt *opts)
{
    const struct gs_transport *t = gs_transport_find(layer);
    if (!t)
        return gsi_fail(GS_ENOSCHEME, "no layer \"%.40s\" is registered", layer);
    if (!t->upgrade)
        return gsi_fail(GS_ENOUPGRADE, "%s is no layer", layer);
    struct more *more = stream_more(s);
    struct opening *o = more ? gsi_zalloc(sizeof *o) : NULL;
    if (!o || (!more->layer && !(more->layer = gsi_zalloc(GSI_LAYERS_MAX * sizeof *more->layer)))) {
        gsi_free(o);
        return -ENOMEM;
    }
    *o = (struct opening){.stream = id, .server = server, .fd_taken = true, .layers_left = 1};
    o->stack.layer[0] = t;
    o->stack.layers = 1;
    o->stack.rest = "";
    o->opts = gsi_opts_join(opts, NULL);
    if (!o->opts) {
        gsi_free(o);
        return -ENOMEM;
    }
    int e = opening_check(o);
    if (e < 0) {
        gsi_free(o->opts);
        gsi_free(o);
        return e;
    }
    more->opening = o;
    hand_over_input(s, &more->layer[more->layers].io);
    s->state = OPENING;
    return 0;
}

/* Locked; unlocks. The handshake to its end, or its message. A failed one closes the stream. */
static int drive(struct stream *s, uint64_t id, int timeout_ms)
{
    int e;
    if (timeout_ms == GS_NOWAIT) {
        s->more->opening->tell = GS_MSG_UPGRADE;
        opening_advance(s, id);
        stream_unlock(s);
        return GS_ESELECT;
    }
    e = opening_finish(s, id, gsi_deadline(timeout_ms));
    if (e < 0 && !gsi_dying(&s->source.object))
        stream_close_locked(s, id, e);
    else
        stream_unlock(s);
    return e;
}

int gs_stream_upgrade(gs_stream h, const char *layer, bool server, const gs_opt *opts, int timeout_ms)
{
    if (!layer || !gsi_timeout_ok(timeout_ms))
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    if (timeout_ms == GS_NOWAIT && !s->source.owner)
        e = gsi_fail(-EINVAL, "a nowait upgrade needs an owner to tell");
    if (e == 0)
        e = check_upgradable(s, h.id);
    if (e == 0)
        e = begin(s, h.id, layer, server, opts);
    if (e < 0) {
        stream_unlock(s);
        return e;
    }
    return drive(s, h.id, timeout_ms);
}

int gs_stream_handshake(gs_stream h, int timeout_ms)
{
    if (!gsi_timeout_ok(timeout_ms))
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    if (timeout_ms == GS_NOWAIT && !s->source.owner)
        e = gsi_fail(-EINVAL, "a nowait handshake needs an owner to tell");
    else if (s->state == LISTENING)
        e = -ENOTCONN;
    else if (s->state == OPENING && s->more->opening->tell)
        e = -EALREADY;
    if (e < 0 || s->state == OPEN) {
        stream_unlock(s);
        return e;
    }
    return drive(s, h.id, timeout_ms);
}

/* ---- what the handshake told ---- */

static int security(gs_stream h, struct stream **s, gs_security *out)
{
    *out = (gs_security){0};
    int e = stream_lock(h, s);
    if (e < 0)
        return e;
    e = (*s)->state == OPEN ? (*s)->t->security((*s)->ctx, out) : -ENOTCONN;
    if (e < 0)
        stream_unlock(*s);
    return e;
}

int gs_stream_negotiated_protocol(gs_stream h, char *buf, size_t cap)
{
    if (!buf && cap)
        return GS_EBADARG;
    struct stream *s;
    gs_security sec;
    int e = security(h, &s, &sec);
    if (e < 0)
        return e == GS_ENOTSECURE ? GS_ENOPROTO : e;
    e = sec.alpn.n ? snprintf(buf, cap, "%.*s", (int)sec.alpn.n, (const char *)sec.alpn.p) : GS_ENOPROTO;
    stream_unlock(s);
    return e;
}

ssize_t gs_stream_peercert(gs_stream h, void *der, size_t cap)
{
    if (!der && cap)
        return GS_EBADARG;
    struct stream *s;
    gs_security sec;
    int e = security(h, &s, &sec);
    if (e < 0)
        return e;
    ssize_t n = sec.cert_der.n ? (ssize_t)sec.cert_der.n : GS_ENOTSECURE;
    if (n > 0 && cap)
        memcpy(der, sec.cert_der.p, (size_t)n < cap ? (size_t)n : cap);
    stream_unlock(s);
    return n;
}

int gs_stream_connection_information(gs_stream h, gs_connection_information *out)
{
    if (!out)
        return GS_EBADARG;
    struct stream *s;
    gs_security sec;
    int e = security(h, &s, &sec);
    if (e < 0)
        return e;
    *out = (gs_connection_information){.resumed = sec.resumed};
    snprintf(out->version, sizeof out->version, "%s", sec.version ? sec.version : "");
    snprintf(out->cipher, sizeof out->cipher, "%s", sec.cipher ? sec.cipher : "");
    snprintf(out->server_name, sizeof out->server_name, "%s", sec.server_name ? sec.server_name : "");
    stream_unlock(s);
    return 0;
}

bool gs_stream_secure(gs_stream h)
{
    struct stream *s;
    if (stream_lock(h, &s) < 0)
        return false;
    bool secure = s->t && s->state == OPEN && s->t->flags & GS_T_SECURE;
    stream_unlock(s);
    return secure;
}
