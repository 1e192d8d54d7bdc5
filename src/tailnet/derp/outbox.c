/* outbox.c: outbox.h. */
#include "tailnet/derp/outbox.h"

static struct derp_place *at(struct derp_outbox *o, int i) { return &o->place[(o->first + i) % DERP_PLACES]; }

uint8_t *gsi_derp_outbox_put(struct derp_outbox *o, size_t n, enum derp_what what)
{
    if (o->places == DERP_PLACES)
        return NULL;
    uint8_t *bytes = OPENSSL_malloc(n);
    if (!bytes)
        return NULL;
    *at(o, o->places++) = (struct derp_place){bytes, n, what};
    o->packets += what != DERP_WHAT_OTHER;
    return bytes;
}

uint8_t *gsi_derp_outbox_frame(struct derp_outbox *o, enum derp_type type, size_t n, enum derp_what what)
{
    uint8_t *frame = gsi_derp_outbox_put(o, DERP_HEADER_LEN + n, what);
    if (!frame)
        return NULL;
    gsi_derp_head(frame, type, n);
    return frame + DERP_HEADER_LEN;
}

bool gsi_derp_outbox_has_room(const struct derp_outbox *o, enum derp_what what)
{
    return o->places < DERP_PLACES && o->packets < DERP_QUEUE + (what == DERP_WHAT_DISCO ? DERP_QUEUE_DISCO : 0);
}

static void take_out(struct derp_outbox *o, int i)
{
    o->packets -= at(o, i)->what != DERP_WHAT_OTHER;
    OPENSSL_free(at(o, i)->bytes);
    for (; i > 0; i--)
        *at(o, i) = *at(o, i - 1);
    o->first = (o->first + 1) % DERP_PLACES;
    o->places--;
}

bool gsi_derp_outbox_drop(struct derp_outbox *o)
{
    for (enum derp_what what = DERP_WHAT_PACKET; what <= DERP_WHAT_DISCO; what++)
        for (int i = o->sent ? 1 : 0; i < o->places; i++)
            if (at(o, i)->what == what) {
                take_out(o, i);
                return true;
            }
    return false;
}

size_t gsi_derp_outbox_output(struct derp_outbox *o, const uint8_t **p)
{
    if (!o->places)
        return 0;
    *p = at(o, 0)->bytes + o->sent;
    return at(o, 0)->n - o->sent;
}

void gsi_derp_outbox_sent(struct derp_outbox *o, size_t n, uint64_t *packets)
{
    o->sent += n;
    while (o->places && o->sent >= at(o, 0)->n) {
        o->sent -= at(o, 0)->n;
        *packets += at(o, 0)->what != DERP_WHAT_OTHER;
        take_out(o, 0);
    }
}

void gsi_derp_outbox_fini(struct derp_outbox *o)
{
    while (o->places)
        take_out(o, 0);
    o->sent = 0;
}
