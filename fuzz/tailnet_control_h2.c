/* tailnet_control_h2.c: what a control server may send in its channel, as plaintext: HTTP/2 frames over register, map and update
 * requests that run. The first byte: compressed or not, and how events are taken. Each request ends once, and an error is final.
 * */
#include <assert.h>
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

static struct control *open_one(bool compress)
{
    static const uint8_t private[KEY_LEN] = {1}, node[KEY_LEN] = {2};
    static const struct hostinfo host = {.hostname = "h"};
    static struct url url;
    static uint8_t public[KEY_LEN];
    struct control *c;
    if (!url.port) {
        if (gsi_crypto_init() < 0 || gsi_url_parse("https://h", 9, &url) != 0)
            abort();
        gsi_x25519_public(public, private);
    }
    struct control_config config = {.url = &url, .server_key = public, .machine_private = private, .map_frame_max = 4096,
                                    .map_decoded_max = 16384};
    if (gsi_control_new(&c, &config, 1) != 0)
        return NULL;
    c->hello_at = c->hello_n;
    c->noise.state = NOISE_OPEN; /* as if the handshake had been */
    if (gsi_h2_start(c) != 0 || gsi_control_register(c, &(struct register_request){.node_key = node, .host = &host}, 1) != 0
        || gsi_control_map(c, &(struct map_request){.node_key = node, .disco_key = node, .host = &host, .compress = compress},
                           1) != 0
        || gsi_control_update(c, &(struct map_request){.node_key = node, .disco_key = node, .host = &host}, 1) != 0)
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
