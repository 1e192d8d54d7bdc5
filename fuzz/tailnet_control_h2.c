/* tailnet_control_h2.c: what a control server may send in its channel, as plaintext: HTTP/2 frames over register, map and update
 * requests that run. The first byte: compressed or not, and how events are taken. Each request ends once, and an error is final.
 * */
#include <assert.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tailnet/control/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int ends[6];

static void take_events(struct control *c)
{
    struct control_event e;
    while (gsi_control_next(c, &e)) {
        assert(e.text && e.request <= CONTROL_PING);
        if (e.type == CONTROL_MAP)
            assert(e.message.n && e.message.p[0] + e.message.p[e.message.n - 1] >= 0);
        else
            ends[e.request]++;
    }
}

static void take_output(struct control *c)
{
    static uint8_t buf[64 * 1024];
    while (gsi_control_output(c, buf, sizeof buf) > 0)
        ;
}

/* As if the handshake had been, whose X25519 would be most of the time: the channel's keys are zero. */
static struct control *open_one(bool compress)
{
    static const uint8_t node[KEY_LEN] = {2};
    static const struct hostinfo host = {.hostname = "h"};
    static const struct register_request registration = {.node_key = node, .host = &host};
    struct map_request map = {.node_key = node, .disco_key = node, .host = &host, .compress = compress};
    struct control *c = OPENSSL_zalloc(sizeof *c);
    if (!c)
        return NULL;
    if (gsi_url_parse("https://h", 9, &c->url) != 0)
        abort();
    c->version = CAPABILITY_VERSION;
    c->frame_max = 4096;
    c->decoded_max = 16384;
    c->opened_by = 100 * CONTROL_SECOND;
    c->noise.state = NOISE_OPEN;
    if (gsi_h2_start(c) != 0 || gsi_control_register(c, &registration, 1) != 0 || gsi_control_map(c, &map, 1) != 0
        || gsi_control_update(c, &map, 1) != 0)
        abort();
    take_output(c);
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct control *c = open_one(data[0] & 1);
    if (!c)
        return 0;
    size_t piece = 1u + (data[0] >> 1);
    memset(ends, 0, sizeof ends);
    for (size_t at = 1, k; at < size && !c->error; at += k) {
        k = piece < size - at ? piece : size - at;
        int e = gsi_h2_feed(c, data + at, k);
        if (e)
            assert(gsi_control_fail(c, e) == e && gsi_control_tick(c, 2) == e);
        take_events(c);
        take_output(c);
    }
    (void)gsi_control_tick(c, 70 * CONTROL_SECOND);
    take_events(c);
    (void)gsi_control_end(c);
    take_events(c);
    for (int i = 1; i < 6; i++)
        assert(ends[i] <= 1);
    gsi_control_free(c);
    return 0;
}
