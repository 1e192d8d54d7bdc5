/* queue.c: packets that wait, for a key or for the caller to fetch them: bounded in number and bytes, the oldest goes first. */
#include <errno.h>
#include <openssl/crypto.h>

#include "tailnet/wireguard/peer.h"

struct datagram *gsi_datagram_new(struct wireguard *w, struct wg_peer *p, size_t n, int *error)
{
    size_t size = sizeof(struct datagram) + n;
    *error = -ENOBUFS;
    if (size > HELD_BYTES_MAX - w->held_bytes)
        return NULL;
    *error = -ENOMEM;
    struct datagram *d = OPENSSL_malloc(size);
    if (!d)
        return NULL;
    *d = (struct datagram){.peer = p, .cap = n};
    w->held_bytes += size;
    *error = 0;
    return d;
}

/* It may hold plaintext. */
void gsi_datagram_free(struct wireguard *w, struct datagram *d)
{
    if (!d)
        return;
    w->held_bytes -= sizeof *d + d->cap;
    OPENSSL_clear_free(d, sizeof *d + d->cap);
}

void gsi_queue_init(struct queue *q) { *q = (struct queue){.last = &q->first}; }

void gsi_queue_put(struct queue *q, struct datagram *d)
{
    d->next = NULL;
    *q->last = d;
    q->last = &d->next;
    q->n++;
}

struct datagram *gsi_queue_take(struct queue *q)
{
    struct datagram *d = q->first;
    if (!d)
        return NULL;
    q->first = d->next;
    if (!q->first)
        q->last = &q->first;
    q->n--;
    return d;
}

void gsi_queue_clear(struct wireguard *w, struct queue *q)
{
    for (struct datagram *d; (d = gsi_queue_take(q));)
        gsi_datagram_free(w, d);
}

void gsi_output_put(struct wireguard *w, struct datagram *d)
{
    if (w->output.n >= OUTPUT_MAX)
        gsi_datagram_free(w, gsi_queue_take(&w->output));
    gsi_queue_put(&w->output, d);
}

void gsi_output_forget(struct wireguard *w, const struct wg_peer *p)
{
    struct queue all = w->output;
    if (!all.n)
        return;
    gsi_queue_init(&w->output);
    for (struct datagram *d = all.first, *next; d; d = next) {
        next = d->next;
        if (d->peer == p)
            gsi_datagram_free(w, d);
        else
            gsi_queue_put(&w->output, d);
    }
}

bool gsi_wireguard_output(struct wireguard *w, struct wg_output *out)
{
    gsi_datagram_free(w, w->lent);
    struct datagram *d = w->lent = gsi_queue_take(&w->output);
    if (d)
        *out = (struct wg_output){d->peer, d->source, d->bytes, d->n};
    return d;
}
