/* A relay that says anything: the client neither crashes nor keeps more than its limits, and answers the same in one piece as
 * byte by byte. The first byte of the input chooses how far the login has come by itself. */
#include <stdlib.h>
#include <string.h>

#include "tailnet/derp/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

enum { EVENTS = 64 };

struct run {
    int end, events;
    struct derp_event event[EVENTS];
    uint64_t sum;
};

static const uint8_t node[KEY_LEN] = {1, 2, 3}, relay[KEY_LEN] = {4, 5, 6};

static void say(struct derp_client *c, const void *p, size_t n)
{
    struct derp_event e;
    if (gsi_derp_feed(c, p, n, 1, &e) != (ssize_t)n)
        abort();
}

static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n", info[] = "{\"version\":2}";
static uint8_t key[DERP_HEADER_LEN + DERP_MAGIC_LEN + KEY_LEN],
    box[DERP_HEADER_LEN + XNONCE_LEN + BOX_OVERHEAD + sizeof info - 1];

/* The relay's frames of a login, once: curves are slow. */
static void prepare(void)
{
    uint8_t shared[KEY_LEN], public[KEY_LEN];
    if (*key)
        return;
    if (gsi_crypto_init() < 0)
        abort();
    gsi_derp_head(key, DERP_SERVER_KEY, DERP_MAGIC_LEN + KEY_LEN);
    memcpy(key + DERP_HEADER_LEN, gsi_derp_magic, DERP_MAGIC_LEN);
    gsi_x25519_public(key + DERP_HEADER_LEN + DERP_MAGIC_LEN, relay);
    gsi_x25519_public(public, node);
    if (!gsi_box_key(shared, relay, public))
        abort();
    gsi_derp_head(box, DERP_SERVER_INFO, sizeof box - DERP_HEADER_LEN);
    gsi_box_seal(box + DERP_HEADER_LEN + XNONCE_LEN, shared, box + DERP_HEADER_LEN, info, sizeof info - 1);
}

static void log_in(struct derp_client *c, int steps)
{
    if (steps > 0)
        say(c, answer, sizeof answer - 1);
    if (steps > 1)
        say(c, key, sizeof key);
    if (steps > 2)
        say(c, box, sizeof box);
}

static void note(struct run *r, const struct derp_event *e)
{
    for (size_t i = 0; i < e->n; i++)
        r->sum = r->sum * 31 + e->packet[i];
    for (int i = 0; e->key && i < KEY_LEN; i++)
        r->sum = r->sum * 31 + e->key[i];
    if (e->kind != DERP_NOTHING && r->events < EVENTS) {
        r->event[r->events] = *e;
        r->event[r->events].key = r->event[r->events].packet = NULL;
        r->events++;
    }
}

static void run(struct run *r, const uint8_t *in, size_t n, int steps, size_t piece)
{
    struct derp_client *c = gsi_derp_client_new(&(struct derp_options){.node_private = node, .host = "h"}, 1);
    const uint8_t *p;
    size_t waits = 0;
    memset(r, 0, sizeof *r);
    if (!c)
        abort();
    log_in(c, steps);
    for (size_t at = 0; at < n && r->end == 0;) {
        struct derp_event e;
        ssize_t k = gsi_derp_feed(c, in + at, n - at < piece ? n - at : piece, 1, &e);
        note(r, &e);
        if (k < 0)
            r->end = (int)k;
        else
            at += (size_t)k;
    }
    (void)gsi_derp_send(c, relay, in, n < 100 ? n : 100, true, 2);
    for (size_t k; (k = gsi_derp_output(c, &p)) > 0; gsi_derp_sent(c, k))
        waits += k;
    if (waits > 100 * 1024)
        abort();
    gsi_derp_client_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    static struct run whole, bytes;
    prepare();
    if (!n)
        return 0;
    run(&whole, in + 1, n - 1, *in & 3, n);
    run(&bytes, in + 1, n - 1, *in & 3, 1 + *in / 64);
    if (whole.end != bytes.end || whole.sum != bytes.sum || whole.events != bytes.events ||
        memcmp(whole.event, bytes.event, sizeof whole.event) != 0)
        abort();
    return 0;
}
