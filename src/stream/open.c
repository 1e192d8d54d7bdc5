/* open.c: listen, connect, import: gen_tcp's ways to a stream. */
#include <errno.h>
#include <string.h>

#include "stream/stream.h"
#include "transport/kernel.h"

enum { MODE_DEFAULT = -(1 << 20) };

/* What a list of options says about the stream itself. */
struct own_options {
    struct profile *profile;
    int64_t active, accept;
    void *user;
};

/* active: false without owner, true with one, unless said; asking for more without an owner is einval. */
static int own_options(struct own_options *o, const gs_opt *opts, bool owned, bool listener)
{
    *o = (struct own_options){.active = MODE_DEFAULT, .accept = GS_ACTIVE_FALSE};
    for (const gs_opt *p = opts; p && p->name; p++) {
        if (p->name == GS_OPT_ACTIVE)
            o->active = p->v.i;
        else if (p->name == GS_OPT_ACCEPT)
            o->accept = p->v.i;
        else if (p->name == GS_OPT_USER)
            o->user = p->v.ptr;
    }
    if (o->active == MODE_DEFAULT)
        o->active = listener || owned ? GS_ACTIVE_TRUE : GS_ACTIVE_FALSE;
    if (!owned && !listener && o->active != GS_ACTIVE_FALSE)
        return gsi_fail(-EINVAL, "option active: a stream without an owner is passive");
    if (!owned && o->accept != GS_ACTIVE_FALSE)
        return gsi_fail(-EINVAL, "option accept: a listener without an owner cannot deliver accept messages");
    o->profile = profile_new();
    return o->profile ? profile_apply(o->profile, opts) : -ENOMEM;
}

/* A count of 0 or less is passive at once, and says so. */
static void set_first_active(struct stream *s, int64_t active)
{
    if (active > 0) {
        s->active = (int32_t)active;
        return;
    }
    s->active = GS_ACTIVE_FALSE;
    s->tell_passive = true;
}

/* The descriptor of an {fd, Fd} that nobody has taken yet. */
static void close_fd_option(const gs_opt *opts)
{
    const gs_opt *fd = gsi_opts_find(opts, GS_OPT_FD);
    if (fd && fd->v.i >= 0)
        gsi_sys.close((int)fd->v.i);
}

/* A locked stream, owned, with what the options say of it; or an error, and nothing is left. */
static int begin(struct stream **out, uint64_t *id, struct own_options *own, const gs_opt *opts, gs_mailbox owner, bool listener)
{
    int e = own_options(own, opts, owner.id, listener);
    struct stream *s = e == 0 ? stream_new(id, own->profile) : NULL;
    profile_unref(own->profile);
    if (e < 0)
        return e;
    if (!s)
        return GS_ESYSLIMIT;
    s->user = own->user;
    e = owner.id ? gsi_source_adopt(&s->source, *id, owner) : 0;
    if (e < 0) {
        stream_close_locked(s, *id, e);
        return e == GS_ECLOSED ? GS_EBADARG : e;
    }
    *out = s;
    return 0;
}

/* The options of a call, checked, behind the process-wide ones; a copy. On failure an {fd, Fd} among them is taken all the same. */
static int take_options(const gs_opt *opts, unsigned where, gs_defaults which, gs_opt **all)
{
    int e = gsi_opts_check(opts, where);
    *all = e == 0 ? gsi_opts_with_defaults(which, opts) : NULL;
    if (e == 0 && !*all)
        e = -ENOMEM;
    if (e < 0)
        close_fd_option(opts);
    return e;
}

/* ---- connect ---- */

static int connect_checked(gs_stream *out, const char *address, const gs_opt *opts, gs_mailbox owner, int timeout_ms)
{
    uint64_t id, deadline = gsi_deadline(timeout_ms);
    struct own_options own;
    struct stream *s;
    int e = begin(&s, &id, &own, opts, owner, false);
    if (e < 0) {
        close_fd_option(opts);
        return e;
    }
    e = opening_new(s, id, address, opts, true);
    struct opening *o = s->more ? s->more->opening : NULL;
    if (e == 0 && !o->stack.base->connect)
        e = gsi_fail(-ENOTSUP, "transport %s cannot connect", o->stack.base->scheme);
    if (e == 0)
        e = opening_check(o);
    if (e == 0)
        set_first_active(s, own.active);
    if (e == 0)
        e = opening_look_up(s);
    if (e == 0 && timeout_ms == GS_NOWAIT) {
        o->tell = GS_MSG_CONNECT;
        out->id = id;
        opening_advance(s, id);
        stream_unlock(s);
        return GS_ESELECT;
    }
    if (e == 0)
        e = opening_finish(s, id, deadline);
    if (e == GS_ECLOSED && gsi_dying(&s->source.object)) { /* the owner's end closed it */
        stream_unlock(s);
        return GS_ECLOSED;
    }
    if (e < 0) {
        stream_close_locked(s, id, e);
        return e;
    }
    out->id = id;
    active_changed(s, id);
    struct trace t = stream_trace(s);
    stream_unlock(s);
    if (t.fn)
        trace_line(t, id, "connect %s", address);
    return 0;
}

int gs_stream_connect(gs_stream *out, const char *address, const gs_opt *opts, gs_mailbox owner, int timeout_ms)
{
    if (!out || !address || !gsi_timeout_ok(timeout_ms) || (timeout_ms == GS_NOWAIT && !owner.id)) {
        close_fd_option(opts);
        return GS_EBADARG;
    }
    gs_opt *all;
    int e = take_options(opts, GSI_ON_CONNECT, GS_CONNECT_DEFAULTS, &all);
    if (e < 0)
        return e;
    e = connect_checked(out, address, all, owner, timeout_ms);
    gsi_free(all);
    return e;
}

/* ---- listen ---- */

/* Locked. From the prepared opening to a listener. */
static int listen_now(struct stream *s, uint64_t id)
{
    struct opening *o = s->more->opening;
    const struct gs_transport *base = o->stack.base;
    if (!base->listen || !base->accept)
        return gsi_fail(-ENOTSUP, "transport %s cannot listen", base->scheme);
    struct gs_io brief = {.scheme = base->scheme, .netns = netns_of(o->opts)}, *io = &brief;
    if (!(base->flags & GS_T_KERNEL)) {
        if (!(s->more->io = stream_io_new(s, id, &brief)))
            return -ENOMEM;
        stream_io_owner(s, s->source.owner);
        io = stream_io(s->more->io);
    }
    struct listener *l = gsi_zalloc(sizeof *l);
    if (!l)
        return -ENOMEM;
    s->more->listener = l;
    l->accept_mode = GS_ACTIVE_FALSE;
    gs_target at = {.rest = o->stack.rest, .addr = o->host ? o->addr : NULL};
    o->fd_taken = true;
    int e = base->listen(io, &at, o->opts, &s->ctx);
    if (e < 0)
        return e;
    size_t buffered;
    s->t = base;
    s->fd = base->poll(s->ctx, &buffered);
    l->stack = o->stack;
    l->address = o->address;
    l->opts = o->opts;
    o->address = NULL;
    o->opts = NULL;
    opening_free(s);
    return 0;
}

static int listen_checked(gs_stream *out, const char *address, const gs_opt *opts, gs_mailbox owner)
{
    uint64_t id;
    struct own_options own;
    struct stream *s;
    int e = begin(&s, &id, &own, opts, owner, true);
    if (e < 0) {
        close_fd_option(opts);
        return e;
    }
    e = opening_new(s, id, address, opts, true);
    if (e == 0) {
        s->more->opening->server = true;
        e = opening_check(s->more->opening);
    }
    if (e == 0)
        e = opening_look_up(s);
    while (e == 0 && s->more->opening->looking_up)
        e = stream_wait(s, 0, GSI_NEVER);
    if (e == GS_ECLOSED) { /* the owner's end closed it */
        stream_unlock(s);
        return e;
    }
    if (e == 0)
        e = s->more->opening->error;
    if (e == 0)
        e = listen_now(s, id);
    s->active = (int32_t)own.active;
    if (e == 0) {
        s->state = LISTENING;
        s->more->listener->accept_mode = (int)own.accept;
        e = accept_watch(s, id);
    }
    if (e < 0) {
        stream_close_locked(s, id, e);
        return e;
    }
    out->id = id;
    stream_unlock(s);
    return 0;
}

int gs_stream_listen(gs_stream *out, const char *address, const gs_opt *opts, gs_mailbox owner)
{
    if (!out || !address) {
        close_fd_option(opts);
        return GS_EBADARG;
    }
    gs_opt *all;
    int e = take_options(opts, GSI_ON_LISTEN, GS_LISTEN_DEFAULTS, &all);
    if (e < 0)
        return e;
    e = listen_checked(out, address, all, owner);
    gsi_free(all);
    return e;
}

/* ---- import ---- */

/* A descriptor that somebody else opened: a stream socket, listening or connected. */
struct imported {
    int fd;
    const struct gs_transport *t;
    bool listening;
};

/* From now on the descriptor works the library's way. */
static int identify(struct imported *d)
{
    int domain, accepting;
    socklen_t n = sizeof accepting;
    int e = gsi_kernel_adopt(d->fd, &domain);
    if (e < 0)
        return e;
    if (gsi_sys.getsockopt(d->fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &n) < 0)
        return gsi_errno();
    d->t = gs_transport_find(domain == AF_UNIX ? "unix" : "tcp");
    d->listening = accepting;
    struct sockaddr_storage peer;
    n = sizeof peer;
    if (!accepting && gsi_sys.getpeername(d->fd, (struct sockaddr *)&peer, &n) < 0)
        return gsi_errno();
    return 0;
}

/* Locked. */
static int import_now(struct stream *s, uint64_t id, const struct imported *d, const gs_opt *opts, const struct own_options *own)
{
    int e = gsi_kernel_apply(d->fd, opts);
    if (e < 0)
        return e;
    if (d->listening) {
        if (!stream_more(s) || !(s->more->listener = gsi_zalloc(sizeof *s->more->listener)))
            return -ENOMEM;
        s->more->listener->stack.base = d->t;
        s->more->listener->accept_mode = (int)own->accept;
        s->active = (int32_t)own->active;
    }
    s->t = d->t;
    s->ctx = gsi_kernel_ctx(d->fd);
    s->fd = d->fd;
    s->state = d->listening ? LISTENING : OPEN;
    if (d->listening)
        return accept_watch(s, id);
    set_first_active(s, own->active);
    active_changed(s, id);
    return 0;
}

int gs_stream_import(gs_stream *out, int fd, const gs_opt *opts, gs_mailbox owner)
{
    uint64_t id;
    struct own_options own;
    struct stream *s = NULL;
    struct imported d = {.fd = fd};
    int e = !out || fd < 0 ? GS_EBADARG : gsi_opts_check(opts, GSI_ON_SET);
    if (e == 0)
        e = identify(&d);
    if (e == 0)
        e = begin(&s, &id, &own, opts, owner, d.listening);
    if (e < 0) {
        if (fd >= 0)
            gsi_sys.close(fd);
        return e;
    }
    e = import_now(s, id, &d, opts, &own);
    if (e < 0) {
        if (!s->t)
            gsi_sys.close(fd);
        stream_close_locked(s, id, e);
        return e;
    }
    out->id = id;
    stream_unlock(s);
    return 0;
}
