/* opening.c: the steps from an address to an open stream: look up, connect, the base's handshake, layer by layer. Blocking calls
 * and nowait calls take the same steps; the first wait between them, the second are advanced by the mailbox.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "net/addr.h"
#include "net/resolve.h"
#include "stream/stream.h"

enum { ADDRESSES_MAX = 16, RETRY_MS = 5 };

const char *netns_of(const gs_opt *opts)
{
    const gs_opt *o = gsi_opts_find(opts, GS_OPT_NETNS);
    return o ? o->v.s : NULL;
}

static void opening_destroy(struct opening *o)
{
    if (!o)
        return;
    (void)gsi_resolve_cancel(o->request);
    const gs_opt *fd = gsi_opts_find(o->opts, GS_OPT_FD);
    if (fd && !o->fd_taken) /* taken, also on failure */
        gsi_sys.close((int)fd->v.i);
    gsi_free(o->address);
    gsi_free(o->host);
    gsi_free(o->opts);
    gsi_free(o->addr);
    gsi_free(o);
}

/* The stream is dying, or its opening is over: then no look-up runs, whose end would wait for this lock. */
void opening_free(struct stream *s)
{
    if (!s->more || !s->more->opening)
        return;
    if (s->more->opening->timer_set && s->source.owner)
        gsi_source_wake_never(&s->source, s->more->opening->stream);
    opening_destroy(s->more->opening);
    s->more->opening = NULL;
}

static int split_host(struct opening *o)
{
    if (!(o->stack.base->flags & GS_T_HOST))
        return 0;
    o->host = gsi_alloc(GSI_HOST_MAX + 1);
    if (!o->host)
        return -ENOMEM;
    return gsi_hostport_split(o->stack.rest, o->host, GSI_HOST_MAX + 1, &o->port);
}

int opening_new(struct stream *s, uint64_t id, const char *address, const gs_opt *opts, bool takes_fd)
{
    struct more *more = stream_more(s);
    struct opening *o = more ? gsi_zalloc(sizeof *o) : NULL;
    gs_opt *copy = o ? gsi_opts_join(opts, NULL) : NULL;
    if (!copy) {
        const gs_opt *fd = takes_fd ? gsi_opts_find(opts, GS_OPT_FD) : NULL;
        if (fd) /* taken, also on failure */
            gsi_sys.close((int)fd->v.i);
        gsi_free(o);
        return -ENOMEM;
    }
    more->opening = o;
    s->state = OPENING;
    o->stream = id;
    o->opts = copy;
    o->fd_taken = !takes_fd;
    o->address = gsi_strdup(address);
    if (!o->address)
        return -ENOMEM;
    int e = gsi_stack_parse(o->address, &o->stack);
    if (e < 0)
        return e;
    o->layers_left = o->stack.layers;
    return split_host(o);
}

static struct gsi_host host_of(const struct opening *o, int family, const char *netns)
{
    return (struct gsi_host){.name = o->host, .port = o->port, .family = family, .netns = netns};
}

static int keep_addresses(struct opening *o, const gs_addr *a, int n)
{
    o->addr = gsi_alloc((size_t)n * sizeof *a);
    if (!o->addr)
        return -ENOMEM;
    memcpy(o->addr, a, (size_t)n * sizeof *a);
    o->n = n;
    return 0;
}

/* On a resolver thread. Cancelled before o goes. */
static void resolved(void *arg, int n, const gs_addr *a)
{
    struct opening *o = arg;
    struct stream *s;
    if (stream_lock((gs_stream){o->stream}, &s) < 0)
        return;
    o->looking_up = false;
    o->error = n < 0 ? n : keep_addresses(o, a, n);
    if (s->source.owner)
        gsi_source_ready(&s->source, o->stream);
    gsi_wake(&s->source.object);
    stream_unlock(s);
}

int opening_look_up(struct stream *s)
{
    struct opening *o = s->more->opening;
    if (!o->host)
        return 0;
    const gs_opt *family = gsi_opts_find(o->opts, GS_OPT_FAMILY);
    struct gsi_host h = host_of(o, family ? (int)family->v.i : 0, netns_of(o->opts));
    gs_addr one;
    int n = gsi_resolve_numeric(&h, &one);
    if (n != 0)
        return n < 0 ? n : keep_addresses(o, &one, 1);
    o->looking_up = true;
    return gsi_resolve_start(&h, resolved, o, &o->request);
}

/* ---- steps ---- */

static void set_transport(struct stream *s, const struct gs_transport *t, void *ctx)
{
    size_t buffered;
    s->t = t;
    s->ctx = ctx;
    if (!s->more || !s->more->layers)
        s->fd = t->poll(ctx, &buffered);
}

static int connect_next(struct stream *s, uint64_t id, struct opening *o)
{
    const struct gs_transport *base = o->stack.base;
    struct gs_io brief = {.scheme = base->scheme, .netns = netns_of(o->opts)}, *io = &brief;
    if (!(base->flags & GS_T_KERNEL)) {
        if (!s->more->io && !(s->more->io = stream_io_new(s, id, &brief)))
            return -ENOMEM;
        stream_io_owner(s, s->source.owner);
        io = stream_io(s->more->io);
    }
    gs_target to = {.rest = o->stack.rest, .addr = o->host ? &o->addr[o->at] : NULL};
    void *ctx = NULL;
    o->fd_taken = true;
    int e = base->connect(io, &to, o->opts, &ctx);
    if (e == 0 || e == -EINPROGRESS)
        set_transport(s, base, ctx);
    o->handshaking = e == -EINPROGRESS;
    return e == -EINPROGRESS ? 0 : e;
}

static int push_layer(struct stream *s, struct opening *o)
{
    struct more *m = s->more;
    if (!m->layer && !(m->layer = gsi_zalloc(GSI_LAYERS_MAX * sizeof *m->layer)))
        return -ENOMEM;
    if (m->layers == GSI_LAYERS_MAX)
        return GS_ENOUPGRADE;
    if (!o->handshake_by) {
        int ms = s->profile->handshake_timeout;
        o->handshake_by = ms ? gsi_deadline(ms) : 1;
    }
    struct layer *l = &m->layer[m->layers];
    l->io.lower = s->t;
    l->io.lower_ctx = s->ctx;
    l->t = o->stack.layer[--o->layers_left];
    l->io.scheme = l->t->scheme;
    gs_target at = {.rest = o->stack.rest};
    int e = l->t->upgrade(&l->io, o->server, &at, o->opts, &l->ctx);
    if (e < 0)
        return e;
    if (!m->layers) {
        m->base = s->t;
        m->base_ctx = s->ctx;
    }
    m->layers++;
    set_transport(s, l->t, l->ctx);
    o->handshaking = true;
    return 0;
}

/* Before anything is opened: are the options right for each layer? */
int opening_check(const struct opening *o)
{
    gs_target at = {.rest = o->stack.rest};
    int e = 0;
    for (int i = 0; e == 0 && i < o->stack.layers; i++)
        e = o->stack.layer[i]->check(o->server, &at, o->opts);
    return e;
}

/* A peer that takes too long, whoever is waiting for it. */
static bool overdue(const struct stream *s)
{
    const struct opening *o = s->more->opening;
    return s->more->layers && o->handshaking && o->handshake_by != GSI_NEVER && gsi_now() >= o->handshake_by;
}

static bool wants(int e) { return e == GS_EWANT_READ || e == GS_EWANT_WRITE || e == -EINPROGRESS || e == -EAGAIN; }

int opening_step(struct stream *s, uint64_t id)
{
    struct opening *o = s->more->opening;
    if (o->looking_up)
        return GS_ESELECT;
    if (o->error)
        return o->error;
    for (;;) {
        int e = 0;
        if (!s->t)
            e = connect_next(s, id, o);
        if (e == 0 && o->handshaking) {
            if (s->more->io)
                atomic_store(&stream_io(s->more->io)->readable, 0), atomic_store(&stream_io(s->more->io)->writable, 0);
            e = s->t->handshake(s->ctx);
            if (wants(e) && overdue(s))
                return gsi_fail(GS_ETIMEOUT, "the handshake took longer than handshake_timeout, %d ms", s->profile->handshake_timeout);
            if (e == GS_EWANT_READ && output_held(s) == 1) /* what the peer is to answer comes first */
                return GS_EWANT_WRITE;
            if (wants(e))
                return e == -EINPROGRESS ? GS_EWANT_WRITE : e == -EAGAIN ? GS_EWANT_READ : e;
        }
        if (e == -EAGAIN) /* a full backlog of a unix listener: nothing tells when there is room */
            return -EAGAIN;
        bool last = o->at + 1 >= o->n || gsi_opts_find(o->opts, GS_OPT_FD); /* whose descriptor went with the first try */
        if (e < 0 && !s->more->layers && !last) {
            (void)stream_arm(s, id, 0);
            stream_close_transport(s, false);
            o->at++;
            continue;
        }
        if (e < 0)
            return e;
        o->handshaking = false;
        if (!o->layers_left) {
            s->state = OPEN;
            (void)stream_arm(s, id, 0); /* what the last step waited for: room to write would be told for ever */
            output_see_held(s, id);
            return 0;
        }
        if ((e = push_layer(s, o)) < 0)
            return e;
    }
}

/* The handshake's own deadline ends no wait of the caller's: the next step tells it. */
static int wait_for_peer(struct stream *s, short events, uint64_t deadline_ns)
{
    uint64_t by = s->more->layers ? s->more->opening->handshake_by : 0;
    bool sooner = by && by != GSI_NEVER && deadline_ns && by < deadline_ns;
    int e = stream_wait(s, events, sooner ? by : deadline_ns);
    return sooner && e == GS_ETIMEOUT ? 0 : e;
}

int opening_finish(struct stream *s, uint64_t id, uint64_t deadline_ns)
{
    for (;;) {
        int e = opening_step(s, id);
        if (e == 0) {
            opening_free(s);
            stream_trim(s);
            active_changed(s, id);
            gsi_wake(&s->source.object); /* others may wait for the same end */
            return 0;
        }
        if (e == GS_EWANT_READ || e == GS_EWANT_WRITE)
            e = wait_for_peer(s, e == GS_EWANT_READ ? POLLIN : POLLOUT, deadline_ns);
        else if (e == GS_ESELECT)
            e = stream_wait(s, 0, deadline_ns);
        else if (e == -EAGAIN) {
            uint64_t retry = gsi_deadline(RETRY_MS);
            bool last = deadline_ns && deadline_ns <= retry;
            e = stream_wait(s, 0, !deadline_ns ? 0 : last ? deadline_ns : retry);
            if (e == GS_ETIMEOUT && deadline_ns && !last)
                e = 0;
        }
        if (s->state == OPEN && !gsi_dying(&s->source.object)) /* somebody else took the last step */
            return s->send_error ? stream_end_code(s, s->send_error) : 0;
        if (e < 0)
            return e;
    }
}

/* A nowait call's end, or the end of an accepted connection's handshake. */
static void conclude(struct stream *s, uint64_t id, int error)
{
    struct opening *o = s->more->opening;
    if (o->tell) {
        o->error = error;
        s->tell_open = true;
        (void)stream_arm(s, id, 0);
        gsi_source_ready(&s->source, id);
        return;
    }
    s->state = OPEN;
    opening_free(s);
    stream_trim(s);
    if (error < 0) {
        s->send_error = (int16_t)error;
        input_ended(s, error);
    }
    active_changed(s, id);
    gsi_wake(&s->source.object);
}

/* Once for an opening: the mailbox's timer has it look again. */
static int mind_deadline(struct stream *s, uint64_t id)
{
    struct opening *o = s->more->opening;
    if (o->timer_set || !o->handshake_by || o->handshake_by == GSI_NEVER || !s->source.owner)
        return 0;
    int e = gsi_source_wake_at(&s->source, id, o->handshake_by);
    o->timer_set = e == 0;
    return e;
}

void opening_advance(struct stream *s, uint64_t id)
{
    if (s->tell_open)
        return;
    int e = opening_step(s, id);
    if (e == GS_ESELECT)
        return;
    if (e == GS_EWANT_READ || e == GS_EWANT_WRITE) {
        e = stream_arm(s, id, e == GS_EWANT_READ ? EPOLLIN : EPOLLOUT);
        if (e == 0)
            e = mind_deadline(s, id);
        if (e < 0)
            conclude(s, id, e);
    } else if (e == -EAGAIN) {
        e = gsi_source_wake_at(&s->source, id, gsi_deadline(RETRY_MS));
        if (e < 0)
            conclude(s, id, e);
    } else
        conclude(s, id, e);
}

bool opening_said(struct stream *s, uint64_t id, gs_msg *m)
{
    struct opening *o = s->more->opening;
    *m = (gs_msg){.kind = o->tell, .error = o->error, .stream = {id}, .user = s->user};
    s->tell_open = false;
    opening_free(s);
    stream_trim(s);
    if (m->error == 0)
        active_changed(s, id);
    return true;
}
