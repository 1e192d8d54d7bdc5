/* io.c: readiness of base transports that have no kernel socket (mem, a user's own): they tell it by gs_transport_ready.
 *
 * The transport may call while it holds locks of its own, and while a stream's lock is held by a writer at the other end: so
 * this takes no stream's lock, only the io's mutex, which also keeps the owner from changing meanwhile.
 */
#include <pthread.h>

#include "stream/stream.h"

struct stream_io {
    struct gs_io io;
    pthread_mutex_t mutex;
    struct stream *s;
    uint64_t id;
    struct gsi_mailbox *owner; /* under mutex */
    bool withdrawn;
};

static void ready(struct gs_io *at, bool readable, bool writable)
{
    struct stream_io *io = (struct stream_io *)at;
    (void)readable;
    (void)writable;
    pthread_mutex_lock(&io->mutex);
    if (io->owner)
        gsi_mailbox_ready(io->owner, &io->s->source, io->id);
    bool withdrawn = io->withdrawn;
    if (io->s)
        gsi_wake(&io->s->source.object);
    pthread_mutex_unlock(&io->mutex);
    if (withdrawn)
        flusher_poke();
}

struct stream_io *stream_io_new(struct stream *s, uint64_t id, const struct gs_io *like)
{
    struct stream_io *io = gsi_zalloc(sizeof *io);
    if (!io)
        return NULL;
    pthread_mutex_init(&io->mutex, NULL);
    io->io.scheme = like->scheme;
    io->io.netns = like->netns;
    io->io.ready = ready;
    io->s = s;
    io->id = id;
    return io;
}

void stream_io_bind(struct stream_io *io, struct stream *s, uint64_t id)
{
    pthread_mutex_lock(&io->mutex);
    io->s = s;
    io->id = id;
    pthread_mutex_unlock(&io->mutex);
}

struct gs_io *stream_io(struct stream_io *io) { return &io->io; }

void stream_io_free(struct stream_io *io)
{
    if (!io)
        return;
    pthread_mutex_destroy(&io->mutex);
    gsi_free(io);
}

void stream_io_owner(struct stream *s, struct gsi_mailbox *owner)
{
    struct stream_io *io = s->more->io;
    pthread_mutex_lock(&io->mutex);
    io->owner = owner;
    io->withdrawn = gsi_dying(&s->source.object) || (s->stuck && !owner);
    pthread_mutex_unlock(&io->mutex);
}
