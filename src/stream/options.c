/* options.c: setopts and getopts: the stream's own options here, the kernel's by the transport. */
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <string.h>

#include "stream/stream.h"

enum { COUNT_MAX = 32767 };

static enum gsi_opt_class class_of(int name)
{
    const struct gsi_opt_row *row = gsi_opt_row(name);
    return row ? row->class : GSI_KERNEL_OPT; /* a transport's own goes the way of the kernel's: to the transport */
}

/* ---- set ---- */

static void set_buffer(struct profile *p, int64_t bytes)
{
    bytes = bytes > 0 ? bytes : 1; /* inet_drv's INET_MIN_BUFFER; 0 would mean lines of any length */
    p->buffer = (uint32_t)bytes;
    p->decoder.line_length = (uint32_t)bytes;
}

static int void_index(int name) { return name - GS_OPT_DELIVER; }

static void apply_one(struct profile *p, const gs_opt *o)
{
    int64_t i = o->v.i;
    switch (o->name) {
    case GS_OPT_PACKET: p->decoder.type = (gs_packet_type)i; break;
    case GS_OPT_PACKET_SIZE: p->decoder.packet_size = (uint32_t)i; break;
    case GS_OPT_LINE_DELIMITER: p->decoder.line_delimiter = (uint8_t)i; break;
    case GS_OPT_HEADER: p->header = (uint32_t)i; break;
    case GS_OPT_BUFFER: set_buffer(p, i); break;
    case GS_OPT_RECBUF: /* inet:setopts/2: the user-level buffer is at least as large as the kernel's */
        if (i > p->buffer)
            set_buffer(p, i);
        break;
    case GS_OPT_DELAY_SEND: p->delay_send = i; break;
    case GS_OPT_SEND_MODE: p->direct = i == GS_SEND_DIRECT; break;
    case GS_OPT_SEND_TIMEOUT: p->send_timeout = (int)i; break;
    case GS_OPT_SEND_TIMEOUT_CLOSE: p->send_timeout_close = i; break;
    case GS_OPT_HANDSHAKE_TIMEOUT: p->handshake_timeout = i == GS_NOWAIT ? 0 : (int)i; break;
    case GS_OPT_HIGH_WATERMARK: p->high = (size_t)i; break;
    case GS_OPT_LOW_WATERMARK: p->low = (size_t)i; break;
    case GS_OPT_EXIT_ON_CLOSE: p->exit_on_close = i; break;
    case GS_OPT_SHOW_ECONNRESET: p->show_econnreset = i; break;
    case GS_OPT_LINGER: p->linger_seconds = o->v.linger.on ? o->v.linger.seconds : -1; break;
    case GS_OPT_DEBUG:
        p->debug = o->v.debug.fn;
        p->debug_arg = o->v.debug.arg;
        break;
    case GS_OPT_DELIVER:
    case GS_OPT_MODE:
    case GS_OPT_EXCLUSIVEADDRUSE:
    case GS_OPT_HIGH_MSGQ_WATERMARK:
    case GS_OPT_LOW_MSGQ_WATERMARK: p->unused[void_index(o->name)] = i; break;
    default: break;
    }
}

int profile_apply(struct profile *p, const gs_opt *opts)
{
    for (const gs_opt *o = opts; o && o->name; o++)
        apply_one(p, o);
    return p->low > p->high ? gsi_fail(-EINVAL, "low_watermark %zu is above high_watermark %zu", p->low, p->high) : 0;
}

/* {active, N} adds to the count; at 0 or below the stream turns passive and says so. */
static int check_active(const struct stream *s, int64_t value)
{
    if (value >= GS_ACTIVE_FALSE)
        return value == GS_ACTIVE_FALSE || s->source.owner || s->state == LISTENING
                   ? 0
                   : gsi_fail(-EINVAL, "option active: a stream without an owner is passive");
    int64_t sum = value + (is_count(s) ? s->active : 0);
    if (sum > COUNT_MAX || sum < -COUNT_MAX - 1)
        return gsi_fail(-EINVAL, "option active: the count would be %lld, outside -32768..32767", (long long)sum);
    return s->source.owner || s->state == LISTENING ? 0 : gsi_fail(-EINVAL, "option active: a stream without an owner is passive");
}

static void set_active(struct stream *s, int64_t value)
{
    if (once_waits(s)) /* its message is told for sure; whatever mode follows is this one */
        atomic_store_explicit(&s->source.owner->hot.once, 0, memory_order_relaxed);
    if (s->state == LISTENING)
        s->active = (int32_t)value;
    else if (value >= GS_ACTIVE_FALSE)
        s->active = (int32_t)value;
    else {
        int64_t sum = value + (is_count(s) ? s->active : 0);
        s->active = sum > 0 ? (int32_t)sum : GS_ACTIVE_FALSE;
        s->tell_passive |= sum <= 0;
    }
    if (s->reader && is_active(s))
        gsi_wake(&s->source.object); /* its recv answers einval and hands the input over */
}

/* The owner, in the middle of this stream's batch, looks again by itself. */
static void look_again(struct stream *s, uint64_t id)
{
    if (!(in_turn(s) && gsi_current(s->source.owner) == id))
        active_changed(s, id);
}

static int check_all(const struct stream *s, const gs_opt *opts)
{
    for (const gs_opt *o = opts; o->name; o++) {
        int e = 0;
        if (o->name == GS_OPT_ACTIVE)
            e = check_active(s, o->v.i);
        else if (o->name == GS_OPT_ACCEPT && s->state != LISTENING)
            e = gsi_fail(-EINVAL, "option accept: not a listener");
        else if (o->name == GS_OPT_ACCEPT && !s->source.owner && o->v.i != GS_ACTIVE_FALSE)
            e = gsi_fail(-EINVAL, "option accept: a listener without an owner cannot deliver accept messages");
        if (e < 0)
            return e;
    }
    return 0;
}

/* A new profile when one of its options is in the list; NULL: unchanged. */
static int changed_profile(const struct stream *s, const gs_opt *opts, struct profile **out)
{
    bool changes = false;
    for (const gs_opt *o = opts; o->name; o++)
        changes |= (class_of(o->name) != GSI_KERNEL_OPT || o->name == GS_OPT_RECBUF) && o->name != GS_OPT_ACTIVE &&
                   o->name != GS_OPT_USER && o->name != GS_OPT_ACCEPT;
    *out = NULL;
    if (!changes)
        return 0;
    struct profile *p = gsi_alloc(sizeof *p);
    if (!p)
        return -ENOMEM;
    enum { BEHIND = offsetof(struct profile, decoder) }; /* refs is others' to change meanwhile */
    memcpy((char *)p + BEHIND, (const char *)s->profile + BEHIND, sizeof *p - BEHIND);
    atomic_init(&p->refs, 1);
    int e = profile_apply(p, opts);
    if (e < 0) {
        gsi_free(p);
        return e;
    }
    *out = p;
    return 0;
}

/* Whoever knows the option, from the top of the stack down: the kernel's are at its bottom. */
static int on_stack(struct stream *s, const gs_opt *set, gs_opt *get)
{
    if (!s->t)
        return -ENOTCONN;
    int e = set ? s->t->setopt(s->ctx, set) : s->t->getopt(s->ctx, get);
    for (int i = s->more ? s->more->layers : 0; e == -ENOTSUP && i-- > 0;) {
        const struct gs_io *io = &s->more->layer[i].io;
        e = set ? io->lower->setopt(io->lower_ctx, set) : io->lower->getopt(io->lower_ctx, get);
    }
    return e;
}

/* Where a transport's option stood before a setopts changed it. */
struct before {
    gs_opt opt; /* name GS_OPT_END: nothing can tell */
    char device[IFNAMSIZ];
};

/* An int of the table, or the interface. Raw bytes and a transport's own options do not tell how they are to be set back. */
static void read_back(struct stream *s, const gs_opt *o, struct before *b)
{
    const struct gsi_opt_row *row = gsi_opt_row(o->name);
    b->opt = (gs_opt){.name = o->name};
    if (o->name == GS_OPT_BIND_TO_DEVICE)
        b->opt = (gs_opt){.name = GS_OPT_RAW, .v.raw = {row->level, row->number, b->device, sizeof b->device}};
    if (!row || o->name == GS_OPT_RAW || on_stack(s, NULL, &b->opt) < 0)
        b->opt.name = GS_OPT_END;
    if (o->name == GS_OPT_RECBUF || o->name == GS_OPT_SNDBUF) /* the kernel tells twice what it was set to */
        b->opt.v.i /= 2;
}

/* In order; when one fails those before it are set back, the last one first. */
static int set_transport_options(struct stream *s, const gs_opt *opts)
{
    size_t n = 0, done = 0;
    for (const gs_opt *o = opts; o->name; o++)
        n += class_of(o->name) == GSI_KERNEL_OPT;
    struct before *before = n > 1 ? gsi_alloc((n - 1) * sizeof *before) : NULL;
    if (n > 1 && !before)
        return -ENOMEM;
    int e = 0;
    for (const gs_opt *o = opts; o->name && e == 0; o++) {
        if (class_of(o->name) != GSI_KERNEL_OPT)
            continue;
        if (done + 1 < n)
            read_back(s, o, &before[done]);
        e = on_stack(s, o, NULL);
        done += e == 0;
    }
    for (size_t i = e < 0 ? done : 0; i-- > 0;)
        if (before[i].opt.name)
            (void)on_stack(s, &before[i].opt, NULL);
    gsi_free(before);
    return e;
}

static void commit(struct stream *s, const gs_opt *opts, struct profile *p)
{
    if (p) {
        profile_unref(s->profile);
        s->profile = p;
    }
    for (const gs_opt *o = opts; o->name; o++) {
        if (o->name == GS_OPT_ACTIVE)
            set_active(s, o->v.i);
        else if (o->name == GS_OPT_PACKET)
            s->packet_now = (uint8_t)o->v.i;
        else if (o->name == GS_OPT_USER)
            s->user = o->v.ptr;
        else if (o->name == GS_OPT_ACCEPT)
            s->more->listener->accept_mode = (int)o->v.i;
    }
}

static int set_locked(struct stream *s, uint64_t id, const gs_opt *opts)
{
    struct profile *p = NULL;
    int e = s->reader ? 0 : input_unclaim(s, id);
    if (e == 0)
        e = check_all(s, opts);
    if (e == 0)
        e = changed_profile(s, opts, &p);
    if (e < 0)
        return e;
    if (p)
        output_uncork(s, id); /* it may frame otherwise from here on */
    e = set_transport_options(s, opts);
    if (e < 0) {
        profile_unref(p);
        return e;
    }
    commit(s, opts, p);
    if (s->state != LISTENING)
        look_again(s, id);
    else if (s->source.owner)
        accept_keep_watching(s, id);
    return 0;
}

/* {active, once} again, as a handler does for each message: nothing but the mode. */
static int set_active_only(gs_stream h, int64_t value)
{
    struct stream *s;
    struct gsi_mailbox *mb = gsi_my_turn();
    bool here = mb && h.id && gsi_current(mb) == h.id && gsi_try_lock_at(&gsi_current_source(mb)->object, h.id);
    int e = here ? 0 : stream_lock(h, &s);
    if (e < 0)
        return e;
    if (here) {
        s = (struct stream *)gsi_current_source(mb);
        if (value == GS_ACTIVE_ONCE && active_once_more(mb, s, h.id)) {
            stream_unlock(s);
            return 0;
        }
    }
    e = s->reader ? 0 : input_unclaim(s, h.id);
    if (e == 0)
        e = check_active(s, value);
    if (e == 0) {
        set_active(s, value);
        if (s->state != LISTENING)
            look_again(s, h.id);
    }
    struct trace t = stream_trace(s);
    stream_unlock(s);
    if (t.fn)
        trace_line(t, h.id, "setopts active -> %s", gs_error_name(e));
    return e;
}

int gs_stream_setopts(gs_stream h, const gs_opt *opts)
{
    static const gs_opt none = {.name = GS_OPT_END};
    if (opts && opts->name == GS_OPT_ACTIVE && opts[1].name == GS_OPT_END && opts->v.i >= GS_ACTIVE_FALSE &&
        opts->v.i <= GS_ACTIVE_ONCE)
        return set_active_only(h, opts->v.i);
    int e = gsi_opts_check(opts, GSI_ON_SET);
    if (e < 0)
        return e;
    struct stream *s;
    e = stream_lock(h, &s);
    if (e < 0)
        return e;
    e = set_locked(s, h.id, opts ? opts : &none);
    struct trace t = stream_trace(s);
    stream_unlock(s);
    if (t.fn)
        trace_line(t, h.id, "setopts -> %s", gs_error_name(e));
    return e;
}

/* ---- get ---- */

static int get_own(const struct stream *s, gs_opt *o)
{
    const struct profile *p = s->profile;
    switch (o->name) {
    case GS_OPT_ACTIVE: o->v.i = mode_of(s); return 0;
    case GS_OPT_ACCEPT: o->v.i = s->state == LISTENING ? s->more->listener->accept_mode : GS_ACTIVE_FALSE; return 0;
    case GS_OPT_PACKET: o->v.i = p->decoder.type; return 0;
    case GS_OPT_PACKET_SIZE: o->v.i = p->decoder.packet_size; return 0;
    case GS_OPT_LINE_DELIMITER: o->v.i = p->decoder.line_delimiter; return 0;
    case GS_OPT_HEADER: o->v.i = p->header; return 0;
    case GS_OPT_BUFFER: o->v.i = p->buffer; return 0;
    case GS_OPT_DELAY_SEND: o->v.i = p->delay_send; return 0;
    case GS_OPT_SEND_MODE: o->v.i = p->direct || !s->source.owner ? GS_SEND_DIRECT : GS_SEND_QUEUED; return 0;
    case GS_OPT_SEND_TIMEOUT: o->v.i = p->send_timeout; return 0;
    case GS_OPT_SEND_TIMEOUT_CLOSE: o->v.i = p->send_timeout_close; return 0;
    case GS_OPT_HANDSHAKE_TIMEOUT: o->v.i = p->handshake_timeout; return 0;
    case GS_OPT_HIGH_WATERMARK: o->v.i = (int64_t)p->high; return 0;
    case GS_OPT_LOW_WATERMARK: o->v.i = (int64_t)p->low; return 0;
    case GS_OPT_EXIT_ON_CLOSE: o->v.i = p->exit_on_close; return 0;
    case GS_OPT_SHOW_ECONNRESET: o->v.i = p->show_econnreset; return 0;
    case GS_OPT_LINGER:
        o->v.linger.on = p->linger_seconds >= 0;
        o->v.linger.seconds = p->linger_seconds >= 0 ? p->linger_seconds : 0;
        return 0;
    case GS_OPT_DEBUG:
        o->v.debug.fn = p->debug;
        o->v.debug.arg = p->debug_arg;
        return 0;
    case GS_OPT_USER: o->v.ptr = s->user; return 0;
    default: return -EINVAL;
    }
}

static int get_open(const struct stream *s, gs_opt *o)
{
    gs_addr a;
    if (o->name == GS_OPT_FD) {
        o->v.i = s->fd;
        return 0;
    }
    if (o->name != GS_OPT_FAMILY || !s->t)
        return -ENOTSUP;
    bool layered = s->more && s->more->layers;
    int e = layered ? s->more->base->name(s->more->base_ctx, false, &a) : s->t->name(s->ctx, false, &a);
    if (e == 0)
        o->v.i = gs_addr_family(&a);
    return e;
}

static int get_one(struct stream *s, gs_opt *o)
{
    const struct gsi_opt_row *row = gsi_opt_row(o->name);
    if (row && !(row->where & GSI_ON_GET))
        return gsi_fail(-EINVAL, "option %s cannot be asked for", row->erlang);
    if (!row && o->name < GS_OPT_TRANSPORT)
        return gsi_fail(-EINVAL, "no option %d", o->name);
    switch (class_of(o->name)) {
    case GSI_STREAM_OPT: return get_own(s, o);
    case GSI_OPEN_OPT: return get_open(s, o);
    case GSI_VOID_OPT: o->v.i = s->profile->unused[void_index(o->name)]; return 0;
    default: return on_stack(s, NULL, o);
    }
}

int gs_stream_getopts(gs_stream h, gs_opt *opts)
{
    if (!opts)
        return GS_EBADARG;
    struct stream *s;
    int e = stream_lock(h, &s);
    if (e < 0)
        return e;
    for (gs_opt *o = opts; o->name && e == 0; o++)
        e = get_one(s, o);
    stream_unlock(s);
    return e;
}
