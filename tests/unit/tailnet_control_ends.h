/* tailnet_control_ends.h: a control connection and its scripted server, for the tests of both. */
#ifndef TAILNET_CONTROL_ENDS_H
#define TAILNET_CONTROL_ENDS_H

#include <errno.h>

#include "support.h"
#include "tailnet_control_server.h"

#define S UINT64_C(1000000000)

static struct server s;
static struct control *c;
static struct url url;
static uint8_t machine[KEY_LEN], server_public[KEY_LEN], node_key[KEY_LEN], old_key[KEY_LEN], disco_key[KEY_LEN];
static const struct hostinfo host = {.hostname = "c-node"};
static struct register_request registration = {.node_key = node_key, .auth_key = "tskey-1", .host = &host};
static struct map_request map = {.node_key = node_key, .disco_key = disco_key, .host = &host};
static struct control_event event;
static uint64_t now;

/* ---- both ends ---- */

static inline int start(const struct url *u)
{
    return gsi_control_new(&c, &(struct control_config){.url = u, .server_key = server_public, .machine_private = machine,
                                                        .map_frame_max = 1024 * 1024, .map_decoded_max = 2 * 1024 * 1024}, now);
}

static inline int set_up(void **state)
{
    (void)state;
    static bool once;
    if (!once) {
        assert_ok(gsi_crypto_init());
        memset(machine, 1, KEY_LEN);
        memset(s.key, 2, KEY_LEN);
        memset(node_key, 3, KEY_LEN);
        memset(old_key, 4, KEY_LEN);
        memset(disco_key, 5, KEY_LEN);
        gsi_x25519_public(server_public, s.key);
        assert_ok(gsi_url_parse("https://control.test/", 21, &url));
        once = true;
    }
    now = 1000 * S;
    server_reset(&s);
    assert_ok(start(&url));
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    gsi_control_free(c);
    c = NULL;
    return 0;
}

static inline void reply(int status, const char *text)
{
    s.replies[s.replies_n++] = (struct reply){.status = status, .body = text, .n = strlen(text)};
}

/* Bytes go to and fro until none are left; pieces are their largest size (0: as they come). What the client's feed answers. */
static inline int pump_in(size_t piece)
{
    static uint8_t buf[64 * 1024];
    for (;;) {
        ssize_t n = gsi_control_output(c, buf, sizeof buf);
        if (n < 0)
            return (int)n;
        server_feed(&s, buf, (size_t)n);
        if (!n && !s.out_n)
            return 0;
        size_t out_n = s.out_n;
        s.out_n = 0;
        for (size_t at = 0, k; at < out_n; at += k) {
            k = piece && piece < out_n - at ? piece : out_n - at;
            int e = gsi_control_feed(c, s.out + at, k, now);
            if (e)
                return e;
        }
    }
}

static inline int pump(void) { return pump_in(0); }

#define expect(what)                                                                                                  \
    do {                                                                                                              \
        assert_true(gsi_control_next(c, &event));                                                                     \
        assert_int_equal(event.type, what);                                                                           \
    } while (0)
#define expect_none() assert_false(gsi_control_next(c, &event))

static inline void expect_message(const char *text)
{
    expect(CONTROL_MAP);
    assert_int_equal(event.message.n, strlen(text));
    assert_memory_equal(event.message.p, text, strlen(text));
    assert_int_equal(event.request, CONTROL_MAP_STREAM);
}

static const char authorized[] = "{\"User\":{\"ID\":1},\"Login\":{\"ID\":1,\"LoginName\":\"me@test\"},\"NodeKe"
"yExpired\":false,\"MachineAuthorized\":true,"
                                 "\"AuthURL\":\"\",\"Error\":\"\"}\n";

/* The map stream runs, and says nothing yet. */
static inline void open_map(void)
{
    s.replies[s.replies_n++] = (struct reply){.status = 200, .stays = true};
    assert_ok(gsi_control_map(c, &map, now));
    assert_ok(pump());
    expect(CONTROL_OPEN);
    expect_none();
}

#endif
