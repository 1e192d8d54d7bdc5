/* stream.c: a stream's birth, its options' profile, waiting and watching. */
#include "stream/stream.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* inet_drv's: INET_HIGH_WATERMARK, INET_LOW_WATERMARK, the user-level buffer of inet:setopts/2 */
enum { HIGH_WATERMARK = 8192, LOW_WATERMARK = 4096, BUFFER = 1460, HANDSHAKE_MS = 10000 };

enum { RETRY_MS = 5 };

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
    gsi_kind_init(GSI_STREAM, sizeof(struct stream));
    gsi_source_register(GSI_STREAM, &gsi_stream_ops);
}

void stream_init_once(void) { pthread_once(&once, init); }

struct stream *stream_new(uint64_t *id, struct profile *profile)
{
    stream_init_once();
    struct stream *s = gsi_object_new(GSI_STREAM, id);
    if (!s)
        return NULL;
    char *rest = (char *)(&s->source.object + 1);
    memset(rest, 0, sizeof *s - (size_t)(rest - (char *)s));
    s->profile = profile_ref(profile);
    s->packet_now = (uint8_t)profile->decoder.type;
    s->fd = -1;
    s->active = GS_ACTIVE_FALSE;
    return s;
}

struct more *stream_more(struct stream *s)
{
    if (!s->more)
        s->more = gsi_zalloc(sizeof *s->more);
    return s->more;
}

void stream_trim(struct stream *s)
{
    const struct more *m = s->more;
    if (!m || m->opening || m->io || m->layers || m->monitors || m->listener)
        return;
    gsi_free(s->more->layer);
    gsi_free(s->more);
    s->more = NULL;
}

struct profile *profile_new(void)
{
    struct profile *p = gsi_alloc(sizeof *p);
    if (p)
        *p = (struct profile){
            .refs = 1,
            .decoder = {.type = GS_PACKET_RAW, .line_length = BUFFER, .line_delimiter = '\n'},
            .high = HIGH_WATERMARK,
            .low = LOW_WATERMARK,
            .buffer = BUFFER,
            .send_timeout = GS_INFINITY,
            .handshake_timeout = HANDSHAKE_MS,
            .linger_seconds = -1,
            .exit_on_close = true,
            .unused = {1, 0, 0, HIGH_WATERMARK, LOW_WATERMARK}, /* deliver term, mode list; msgq's are inet_drv's, and as large */
        };
    return p;
}

struct profile *profile_ref(struct profile *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void profile_unref(struct profile *p)
{
    if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        gsi_free(p);
}

int stream_arm(struct stream *s, uint64_t id, uint32_t events)
{
    if (events == s->armed || !s->source.owner || descriptorless(s))
        return 0;
    int e = gsi_poller_set(&s->source.owner->poller, s->fd, id, events, s->armed);
    if (e == 0)
        s->armed = (uint8_t)events;
    return e;
}

void stream_look_again(struct stream *s, uint64_t id)
{
    if (gsi_source_wake_at(&s->source, id, gsi_deadline(RETRY_MS)) < 0)
        gsi_source_ready(&s->source, id); /* no memory for a timer either */
}

int stream_wait(struct stream *s, short events, uint64_t deadline_ns)
{
    struct gsi_wait_for what = {.fd = events ? s->fd : -1, .events = events, .exclusive = s->state == LISTENING};
    if (events && descriptorless(s) && s->more && s->more->io) {
        struct gs_io *io = stream_io(s->more->io);
        what.ready = events == POLLOUT ? &io->writable : &io->readable;
    }
    return gsi_wait(&s->source.object, &what, deadline_ns);
}

size_t stream_buffered_above(struct stream *s)
{
    size_t buffered = 0;
    if (s->state != OPEN || s->t->flags & GS_T_KERNEL) /* the top is the descriptor */
        return 0;
    s->t->poll(s->ctx, &buffered);
    for (int i = 0; s->more && i < s->more->layers; i++) { /* and what an upgrade handed over, which no descriptor tells of either */
        const struct gs_io *io = &s->more->layer[i].io;
        buffered += io->early_n - io->early_at;
    }
    return buffered;
}

int stream_end_code(const struct stream *s, int error)
{
    bool reset = error == -ECONNRESET || error == -EPIPE;
    if (error == 0 || (reset && !s->profile->show_econnreset))
        return GS_ECLOSED;
    return reset ? -ECONNRESET : error;
}

void trace_line(struct trace t, uint64_t id, const char *format, ...)
{
    if (!t.fn)
        return;
    char line[200];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    t.fn(t.arg, (gs_stream){id}, line);
}
