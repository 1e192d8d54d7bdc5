/* A relay's client: the reference's frames, a login cut and split anywhere, what a relay may say when, and what it may not;
 * queues and clocks with limits. */
#include <errno.h>
#include <stdio.h>

#include "hex.h"
#include "support.h"
#include "tailnet/derp/client.h"

#define S UINT64_C(1000000000)
#define T0 (1000 * S)

static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: DERP\r\nDerp-Version: 2\r\n\r\n";
static uint8_t node[KEY_LEN], relay[KEY_LEN], relay_public[KEY_LEN];

static void from(uint8_t *out, size_t n, unsigned first)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(first + i);
}

/* ---- the relay's side, scripted ---- */

struct script {
    uint8_t p[300000];
    size_t n;
};

static void say(struct script *s, const void *p, size_t n)
{
    memcpy(s->p + s->n, p, n);
    s->n += n;
}

static void say_frame(struct script *s, unsigned type, const void *body, size_t n)
{
    uint8_t head[DERP_HEADER_LEN];
    gsi_derp_head(head, (enum derp_type)type, n);
    say(s, head, sizeof head);
    say(s, body, n);
}

static void say_server_key(struct script *s)
{
    uint8_t body[DERP_MAGIC_LEN + KEY_LEN];
    memcpy(body, gsi_derp_magic, DERP_MAGIC_LEN);
    memcpy(body + DERP_MAGIC_LEN, relay_public, KEY_LEN);
    say_frame(s, DERP_SERVER_KEY, body, sizeof body);
}

static void say_server_info(struct script *s, const char *json)
{
    uint8_t body[XNONCE_LEN + BOX_OVERHEAD + 200], shared[KEY_LEN], node_public[KEY_LEN];
    gsi_x25519_public(node_public, node);
    assert_true(gsi_box_key(shared, relay, node_public));
    from(body, XNONCE_LEN, 7);
    gsi_box_seal(body + XNONCE_LEN, shared, body, json, strlen(json));
    say_frame(s, DERP_SERVER_INFO, body, XNONCE_LEN + BOX_OVERHEAD + strlen(json));
}

static struct derp_client *new_client(bool preferred)
{
    struct derp_client *c = gsi_derp_client_new(&(struct derp_options){.node_private = node, .host = "derp.example:8443", .preferred = preferred}, T0);
    assert_non_null(c);
    return c;
}

/* Everything of the script in pieces; the events come in a row. */
static int play(struct derp_client *c, const struct script *s, size_t piece, struct derp_event *events, int most)
{
    int n = 0;
    for (size_t at = 0; at < s->n;) {
        struct derp_event e;
        size_t len = s->n - at < piece ? s->n - at : piece;
        ssize_t k = gsi_derp_feed(c, s->p + at, len, T0, &e);
        if (k < 0)
            return (int)k;
        assert_true((size_t)k <= len && (k || e.kind));
        at += (size_t)k;
        if (e.kind != DERP_NOTHING && n < most)
            events[n++] = e;
    }
    return n;
}

static size_t drain(struct derp_client *c, uint8_t *out, size_t cap)
{
    const uint8_t *p;
    size_t n = 0, k;
    while ((k = gsi_derp_output(c, &p)) > 0) {
        k = k > 3 ? k - k / 2 : k; /* in pieces */
        assert_true(n + k <= cap);
        memcpy(out + n, p, k);
        n += k;
        gsi_derp_sent(c, k);
    }
    return n;
}

static struct derp_client *connected_with(const char *info)
{
    static struct script s;
    static uint8_t out[4096];
    struct derp_event e[4];
    struct derp_client *c = new_client(false);
    s.n = 0;
    say(&s, answer, sizeof answer - 1);
    say_server_key(&s);
    say_server_info(&s, info);
    assert_int_equal(play(c, &s, s.n, e, 4), 1);
    assert_int_equal(e[0].kind, DERP_CONNECTED);
    drain(c, out, sizeof out);
    return c;
}
static struct derp_client *connected(void) { return connected_with("{\"version\":2}"); }

/* ---- vectors ---- */

static size_t random_at;
static void vector_nonce(void *out, size_t n)
{
    HEX(nonce, "26be4e6f4f9acd3bd83a82fb4e8d1def4e77a47c9ad8eb2f");
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = nonce[random_at++ % sizeof nonce];
}

static void frames_are_the_reference_s(void **state)
{
    (void)state;
    static struct script s;
    uint8_t out[4096], to[KEY_LEN];
    struct derp_event e[4];
    void (*source)(void *, size_t) = gsi_random_source;
    HEX(server_key, "010000002844455250f09f94913a553d74792d727efa9b9a4cde3da1ad93f1a2d0c09cb639b1a3c0fda14cbe24");
    struct derp_client *c = new_client(true);
    static const char request[] = "GET /derp HTTP/1.1\r\nHost: derp.example:8443\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n";
    assert_int_equal(drain(c, out, sizeof out), sizeof request - 1);
    assert_memory_equal(out, request, sizeof request - 1);
    s.n = 0;
    say(&s, answer, sizeof answer - 1);
    say(&s, server_key, sizeof server_key);
    gsi_random_source = vector_nonce;
    random_at = 0;
    assert_null(gsi_derp_server_key(c));
    assert_int_equal(play(c, &s, s.n, e, 4), 0);
    gsi_random_source = source;
    assert_memory_equal(gsi_derp_server_key(c), relay_public, KEY_LEN);
    assert_hex(out, drain(c, out, sizeof out),
               "0200000068883186b800b41d5cf0429695da9b3cc4f328ebcd184a6e482fa578c103f06c7726be4e6f4f9acd3bd83a82fb4e8d1def4e77a47c9ad8eb2fa979864a8b3f8ef1ebf654ab"
               "160439e960837f885ee123a1c9c23c9eca499895a95a7bfeb28517247ae645fc0a3d34cf" "070000000101");
    s.n = 0;
    say_server_info(&s, "{\"version\":2}");
    say_frame(&s, DERP_PING, "\1\2\3\4\5\6\7\10", 8);
    assert_int_equal(play(c, &s, s.n, e, 4), 1);
    HEX(node_b, "ad438bfae31f6c093d61d4339255ea798092c9fadd07b97827f4b0ae9dee7c1c");
    memcpy(to, node_b, KEY_LEN);
    assert_ok(gsi_derp_send(c, to, "hello", 5, false, T0));
    assert_hex(out, drain(c, out, sizeof out),
               "13000000080102030405060708"
               "0400000025ad438bfae31f6c093d61d4339255ea798092c9fadd07b97827f4b0ae9dee7c1c68656c6c6f");
    assert_int_equal(gsi_derp_stat(c).sent, 1);
    gsi_derp_prefer(c, true);
    assert_int_equal(drain(c, out, sizeof out), 0);
    gsi_derp_prefer(c, false);
    assert_hex(out, drain(c, out, sizeof out), "070000000100");
    gsi_derp_client_free(c);
    gsi_derp_client_free(NULL);
}

/* ---- a life, split and cut anywhere ---- */

static void say_life(struct script *s)
{
    uint8_t body[KEY_LEN + 2000];
    s->n = 0;
    say(s, answer, sizeof answer - 1);
    say_server_key(s);
    say_frame(s, DERP_KEEP_ALIVE, "", 0);
    say_server_info(s, "{\"version\":2,\"More\":[1,{}]}");
    from(body, KEY_LEN, 0x30);
    pattern_fill(body + KEY_LEN, 2000, 4, 0);
    say_frame(s, DERP_RECV_PACKET, body, KEY_LEN + 2000);
    say_frame(s, 0x77, body, 1500); /* of a future version */
    say_frame(s, DERP_RECV_PACKET, body, KEY_LEN);
    body[KEY_LEN] = DERP_GONE_NOT_HERE;
    say_frame(s, DERP_PEER_GONE, body, KEY_LEN + 1);
    say_frame(s, DERP_PEER_GONE, body, KEY_LEN);
    say_frame(s, DERP_PEER_PRESENT, body, KEY_LEN + 19);
    say_frame(s, DERP_HEALTH, "twice", 5);
    say_frame(s, DERP_HEALTH, "", 0);
    say_frame(s, DERP_RESTARTING, "\0\0\7\320\0\0\47\20", 8); /* 2000, 10000 */
}

static void assert_life(struct derp_client *c, const struct script *s, size_t piece)
{
    struct derp_event e[16];
    static const enum derp_event_kind wanted[] = {DERP_CONNECTED, DERP_RECEIVED,  DERP_RECEIVED, DERP_PEER_LEFT,
                                                  DERP_PEER_LEFT, DERP_UNHEALTHY, DERP_HEALTHY,  DERP_RESTARTS};
    int n = play(c, s, piece, e, 16);
    assert_int_equal(n, sizeof wanted / sizeof *wanted);
    for (int i = 0; i < n; i++)
        assert_int_equal(e[i].kind, wanted[i]);
    assert_int_equal(e[1].n, 2000);
    assert_int_equal(e[2].n, 0);
    assert_int_equal(e[3].gone, DERP_GONE_NOT_HERE);
    assert_int_equal(e[4].gone, DERP_GONE_DISCONNECTED);
    assert_int_equal(e[5].n, 5);
    assert_true(e[7].reconnect_in_ns == 2 * S && e[7].try_for_ns == 10 * S);
}

static void a_life_is_the_same_in_any_pieces(void **state)
{
    (void)state;
    static struct script s;
    say_life(&s);
    for (size_t piece = 1; piece <= s.n; piece += piece < 200 ? 1 : 371) {
        struct derp_client *c = new_client(false);
        assert_life(c, &s, piece);
        assert_int_equal(gsi_derp_stat(c).received, 2);
        gsi_derp_client_free(c);
    }
}

static void a_packet_s_bytes_are_the_peer_s(void **state)
{
    (void)state;
    static struct script s;
    static uint8_t body[KEY_LEN + DERP_PACKET_MAX];
    struct derp_event e;
    from(body, KEY_LEN, 0x30);
    pattern_fill(body + KEY_LEN, DERP_PACKET_MAX, 4, 0);
    s.n = 0;
    say_frame(&s, DERP_RECV_PACKET, body, sizeof body);
    for (size_t piece = 1000; piece <= s.n; piece = piece < 60000 ? piece * 3 : piece + s.n) {
        struct derp_client *c = connected();
        size_t at = 0;
        do {
            size_t len = s.n - at < piece ? s.n - at : piece;
            at += (size_t)assert_ok(gsi_derp_feed(c, s.p + at, len, T0, &e));
        } while (e.kind == DERP_NOTHING);
        assert_int_equal(at, s.n);
        assert_int_equal(e.n, DERP_PACKET_MAX);
        assert_memory_equal(e.key, body, KEY_LEN);
        assert_int_equal(pattern_check(e.packet, e.n, 4, 0), e.n);
        gsi_derp_client_free(c);
    }
}

/* ---- what a relay may not say ---- */

static void expect_end(struct derp_client *c, const struct script *s, int code, const char *says)
{
    struct derp_event e[4];
    assert_code(play(c, s, 1000, e, 4), code);
    assert_non_null(strstr(gs_error_detail(code), says));
    assert_code(gsi_derp_feed(c, "x", 1, T0, e), code); /* for good */
    assert_code(gsi_derp_send(c, node, "x", 1, false, T0), -ENOTCONN);
    assert_true(gsi_derp_deadline(c) == DERP_NEVER);
    gsi_derp_client_free(c);
}

static void expect_answer_refused(const char *text, int code, const char *says)
{
    static struct script s;
    s.n = 0;
    say(&s, text, strlen(text));
    expect_end(new_client(false), &s, code, says);
}

static void answers_that_are_no_relay_s_are_refused(void **state)
{
    (void)state;
    expect_answer_refused("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!", -ECONNREFUSED, "\"404 Not Found\"");
    expect_answer_refused("HTTP/1.1 503 \1\2\r\n\r\n", -ECONNREFUSED, "\"503 \"");
    expect_answer_refused("HTTP/1.0 200 OK\r\n\r\n", -ECONNREFUSED, "200");
    expect_answer_refused("HTTP/1.1 101 Switching\r\n\r\n", -ECONNREFUSED, "not DERP");
    expect_answer_refused("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", -ECONNREFUSED, "not DERP");
    expect_answer_refused("HTTP/1.1 101 Switching\r\nUpgrade: DERPY\r\n\r\n", -ECONNREFUSED, "not DERP");
    expect_answer_refused("SSH-2.0-OpenSSH_9.2\r\n\r\n", GS_EINVALID, "HTTP");
    expect_answer_refused("HTTP/1.1 abc\r\n\r\n", GS_EINVALID, "HTTP");
    static char much[DERP_HTTP_MAX + 200];
    memset(much, 'a', sizeof much - 1);
    memcpy(much, "HTTP/1.1 101 ", 13);
    expect_answer_refused(much, GS_EINVALID, "no end of headers");
    static struct script s;
    s.n = 0;
    say(&s, "HTTP/1.1 101 a\0b\r\nUpgrade: DERP\r\n\r\n", 36);
    expect_end(new_client(false), &s, GS_EINVALID, "HTTP");
    assert_null(gsi_derp_client_new(&(struct derp_options){.node_private = node, .host = "a\r\nEvil: b"}, T0));
    assert_null(gsi_derp_client_new(&(struct derp_options){.node_private = node, .host = ""}, T0));
}

static void names_of_headers_are_read_in_any_case(void **state)
{
    (void)state;
    static struct script s;
    struct derp_event e[2];
    static const char text[] = "HTTP/1.1 101 Go\r\nX: y\r\nUPGRADE:\t derp \r\n\r\n";
    struct derp_client *c = new_client(false);
    s.n = 0;
    say(&s, text, sizeof text - 1);
    say_server_key(&s);
    say_server_info(&s, "{}");
    assert_int_equal(play(c, &s, s.n, e, 2), 1);
    gsi_derp_client_free(c);
}

static void a_login_with_any_changed_bit_fails(void **state)
{
    (void)state;
    static struct script s;
    struct derp_event e[2];
    s.n = 0;
    say_server_key(&s);
    say_server_info(&s, "{\"version\":2}");
    for (size_t bit = 0; bit < s.n * 8; bit++) {
        struct derp_client *c = new_client(false);
        assert_int_equal(gsi_derp_feed(c, answer, sizeof answer - 1, T0, e), sizeof answer - 1);
        s.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int n = play(c, &s, s.n, e, 2);
        s.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool ignored_bit = bit == (DERP_HEADER_LEN + DERP_MAGIC_LEN + KEY_LEN) * 8 - 1; /* X25519's, of the relay's key */
        assert_true(n == GS_EINVALID || n == 0 || (n == 1 && ignored_bit));
        assert_true(n != 1 || e[0].kind == DERP_CONNECTED);
        gsi_derp_client_free(c);
    }
}

static void frames_out_of_place_or_shape_are_refused(void **state)
{
    (void)state;
    static struct script s;
    static const uint8_t zeros[64];
    static const struct {
        unsigned type;
        size_t n;
    } wrong[] = {{DERP_RECV_PACKET, KEY_LEN - 1}, {DERP_PEER_GONE, KEY_LEN - 1}, {DERP_PING, 7}, {DERP_RESTARTING, 7}};
    for (unsigned type = 0; type < 256; type++) { /* first */
        if (type == DERP_SERVER_KEY || (type > DERP_FORWARD_PACKET && type < DERP_WATCH_CONNS) || type > DERP_RESTARTING ||
            type == 0)
            continue;
        s.n = 0;
        say(&s, answer, sizeof answer - 1);
        say_frame(&s, type, zeros, 40);
        expect_end(new_client(false), &s, GS_EINVALID, "first frame");
    }
    s.n = 0;
    say(&s, answer, sizeof answer - 1);
    say_frame(&s, DERP_SERVER_KEY, zeros, DERP_MAGIC_LEN + KEY_LEN);
    expect_end(new_client(false), &s, GS_EINVALID, "ServerKey");
    s.n = 0;
    say(&s, answer, sizeof answer - 1);
    say_server_key(&s);
    say_server_info(&s, "{\"version\":");
    expect_end(new_client(false), &s, GS_EINVALID, "ServerInfo");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        s.n = 0;
        say_frame(&s, wrong[i].type, zeros, wrong[i].n);
        expect_end(connected(), &s, GS_EINVALID, "wrong");
    }
}

static void an_announced_length_is_checked_before_anything_is_kept(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {UINT32_MAX, UINT32_MAX - 1, 1u << 31, (1u << 31) - 1, (1u << 31) + 1, DERP_FRAME_MAX + 1, KEY_LEN + DERP_PACKET_MAX + 1};
    for (unsigned type = 0; type < 256; type++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            struct derp_frames f = {0};
            struct derp_frame frame;
            uint8_t head[DERP_HEADER_LEN];
            gsi_derp_head(head, (enum derp_type)type, lengths[i]);
            ssize_t k = gsi_derp_frames_feed(&f, head, sizeof head, &frame);
            bool unknown = type == 0 || (type > DERP_FORWARD_PACKET && type < DERP_WATCH_CONNS) || type > DERP_RESTARTING;
            bool allowed = (unknown && lengths[i] <= DERP_FRAME_MAX) ||
                           (type == DERP_FORWARD_PACKET && lengths[i] <= 2 * KEY_LEN + DERP_PACKET_MAX);
            assert_int_equal(k, allowed ? DERP_HEADER_LEN : GS_EINVALID);
            assert_true(!frame.whole && f.cap == 0);
            gsi_derp_frames_fini(&f);
        }
}

/* ---- limits ---- */

static void a_full_queue_drops_and_keeps_places_for_disco(void **state)
{
    (void)state;
    static uint8_t out[4096], packet[DERP_PACKET_MAX + 1];
    struct derp_client *c = connected();
    assert_code(gsi_derp_send(c, node, packet, sizeof packet, false, T0), -EMSGSIZE);
    for (int i = 0; i < DERP_QUEUE; i++)
        assert_ok(gsi_derp_send(c, node, "packet", 6, false, T0));
    assert_code(gsi_derp_send(c, node, "packet", 6, false, T0), -EAGAIN);
    for (int i = 0; i < DERP_QUEUE_DISCO; i++)
        assert_ok(gsi_derp_send(c, node, "disco", 5, true, T0));
    assert_code(gsi_derp_send(c, node, "disco", 5, true, T0), -EAGAIN);
    static struct script s;
    struct derp_event e[2];
    s.n = 0;
    for (int i = 0; i < 1000; i++)
        say_frame(&s, DERP_PING, "12345678", 8); /* a flood costs a few places */
    assert_int_equal(play(c, &s, s.n, e, 2), 0);
    gsi_derp_prefer(c, true); /* waits for a place, and is not forgotten */
    size_t n = drain(c, out, sizeof out);
    assert_int_equal(n, DERP_QUEUE * (DERP_HEADER_LEN + KEY_LEN + 6) + DERP_QUEUE_DISCO * (DERP_HEADER_LEN + KEY_LEN + 5) +
                            8 * (DERP_HEADER_LEN + 8) + DERP_HEADER_LEN + 1);
    assert_int_equal(out[n - 6], DERP_NOTE_PREFERRED);
    struct derp_stat stat = gsi_derp_stat(c);
    assert_true(stat.sent == DERP_QUEUE + DERP_QUEUE_DISCO && stat.dropped == 2);
    assert_ok(gsi_derp_send(c, node, "packet", 6, false, T0));
    gsi_derp_client_free(c);
}

static void the_relay_s_rate_is_kept(void **state)
{
    (void)state;
    static uint8_t out[8192], packet[1000 - KEY_LEN];
    struct derp_client *c = connected_with("{\"version\":2,\"TokenBucketBytesPerSecond\":1000,\"TokenBucketBytesBurst\":3000}");
    uint64_t now = T0;
    for (int i = 0; i < 3; i++)
        assert_ok(gsi_derp_send(c, node, packet, sizeof packet, false, now));
    assert_code(gsi_derp_send(c, node, packet, sizeof packet, true, now), -EAGAIN);
    drain(c, out, sizeof out);
    int sent = 0;
    for (int ms = 0; ms < 10000; ms++, now += S / 1000)
        if (gsi_derp_send(c, node, packet, sizeof packet, false, now) == 0) {
            sent++;
            drain(c, out, sizeof out);
        }
    assert_in_range(sent, 9, 10);
    now += 3600 * S; /* no more than the burst is saved */
    for (int i = 0; i < 3; i++)
        assert_ok(gsi_derp_send(c, node, packet, sizeof packet, false, now));
    assert_code(gsi_derp_send(c, node, packet, sizeof packet, false, now), -EAGAIN);
    gsi_derp_client_free(c);
}

static void silence_ends_the_connection(void **state)
{
    (void)state;
    struct derp_event e;
    struct derp_client *c = new_client(false);
    assert_true(gsi_derp_deadline(c) == T0 + DERP_CONNECT_TIMEOUT);
    assert_ok(gsi_derp_tick(c, T0 + DERP_CONNECT_TIMEOUT - 1));
    assert_code(gsi_derp_tick(c, T0 + DERP_CONNECT_TIMEOUT), GS_ETIMEOUT);
    assert_code(gsi_derp_feed(c, "H", 1, T0, &e), GS_ETIMEOUT);
    gsi_derp_client_free(c);
    c = connected();
    assert_true(gsi_derp_deadline(c) == T0 + DERP_READ_TIMEOUT);
    assert_int_equal(gsi_derp_feed(c, "\6\0\0\0\0", 5, T0 + 100 * S, &e), 5);
    assert_true(gsi_derp_deadline(c) == T0 + 100 * S + DERP_READ_TIMEOUT);
    assert_ok(gsi_derp_tick(c, T0 + 219 * S));
    assert_code(gsi_derp_tick(c, T0 + 220 * S), GS_ETIMEOUT);
    gsi_derp_client_free(c);
}

static void a_ping_is_answered_by_its_own_pong_alone(void **state)
{
    (void)state;
    uint8_t out[64], pong[DERP_HEADER_LEN + DERP_PING_LEN];
    struct derp_event e;
    struct derp_client *c = connected();
    gsi_derp_ping(c, T0);
    gsi_derp_ping(c, T0); /* one at a time */
    assert_int_equal(drain(c, out, sizeof out), sizeof pong);
    assert_true(gsi_derp_deadline(c) == T0 + DERP_PING_TIMEOUT);
    gsi_derp_head(pong, DERP_PONG, DERP_PING_LEN);
    memcpy(pong + DERP_HEADER_LEN, out + DERP_HEADER_LEN, DERP_PING_LEN);
    pong[sizeof pong - 1] ^= 1;
    assert_int_equal(gsi_derp_feed(c, pong, sizeof pong, T0 + S, &e), sizeof pong);
    assert_int_equal(e.kind, DERP_NOTHING);
    pong[sizeof pong - 1] ^= 1;
    assert_int_equal(gsi_derp_feed(c, pong, sizeof pong, T0 + S, &e), sizeof pong);
    assert_true(e.kind == DERP_PONGED && e.rtt_ns == S);
    assert_int_equal(gsi_derp_feed(c, pong, sizeof pong, T0 + S, &e), sizeof pong);
    assert_int_equal(e.kind, DERP_NOTHING);
    gsi_derp_ping(c, T0 + 2 * S);
    assert_code(gsi_derp_tick(c, T0 + 7 * S), GS_ETIMEOUT);
    gsi_derp_client_free(c);
}

static int init(void **state)
{
    (void)state;
    from(node, KEY_LEN, 0x81);
    from(relay, KEY_LEN, 0xc1);
    int e = gsi_crypto_init();
    gsi_x25519_public(relay_public, relay);
    return e;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_the_reference_s),
        cmocka_unit_test(a_life_is_the_same_in_any_pieces),
        cmocka_unit_test(a_packet_s_bytes_are_the_peer_s),
        cmocka_unit_test(answers_that_are_no_relay_s_are_refused),
        cmocka_unit_test(names_of_headers_are_read_in_any_case),
        cmocka_unit_test(a_login_with_any_changed_bit_fails),
        cmocka_unit_test(frames_out_of_place_or_shape_are_refused),
        cmocka_unit_test(an_announced_length_is_checked_before_anything_is_kept),
        cmocka_unit_test(a_full_queue_drops_and_keeps_places_for_disco),
        cmocka_unit_test(the_relay_s_rate_is_kept),
        cmocka_unit_test(silence_ends_the_connection),
        cmocka_unit_test(a_ping_is_answered_by_its_own_pong_alone),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
