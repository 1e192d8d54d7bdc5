/* A relay and its clients joined in memory: who gets what, who is told whose end, what a flood costs, and what is no DERP. */
#include <errno.h>
#include <string.h>

#include "support.h"
#include "tailnet/derp/client.h"
#include "tailnet/derp/relay.h"

#define S UINT64_C(1000000000)
#define T0 (1000 * S)

enum { PEERS = 8, EVENTS = 400 };

struct peer {
    uint8_t private[KEY_LEN], public[KEY_LEN];
    struct derp_client *client;
    struct relay_conn *conn;
    int events;
    struct derp_event event[EVENTS];
    uint8_t first_byte[EVENTS];
};

static struct relay *relay;
static struct peer peers[PEERS];
static size_t piece = 4096;
static uint64_t now;

static void arrive(struct peer *p, int key)
{
    *p = (struct peer){0};
    for (int i = 0; i < KEY_LEN; i++)
        p->private[i] = (uint8_t)(key * 40 + i);
    gsi_x25519_public(p->public, p->private);
    p->client = gsi_derp_client_new(&(struct derp_options){.node_private = p->private, .host = "lab"}, now);
    p->conn = gsi_relay_join(relay, p, now);
    assert_non_null(p->client);
    assert_non_null(p->conn);
}

static void leave(struct peer *p)
{
    gsi_derp_client_free(p->client);
    gsi_relay_leave(p->conn);
    p->client = NULL;
    p->conn = NULL;
}

static bool up(struct peer *p)
{
    const uint8_t *out;
    size_t n = gsi_derp_output(p->client, &out);
    n = n < piece ? n : piece;
    if (n)
        assert_ok(gsi_relay_feed(p->conn, out, n, now));
    gsi_derp_sent(p->client, n);
    return n > 0;
}

static bool down(struct peer *p)
{
    const uint8_t *out;
    size_t n = gsi_relay_output(p->conn, &out);
    n = n < piece ? n : piece;
    for (size_t at = 0; at < n;) {
        struct derp_event e;
        at += (size_t)assert_ok(gsi_derp_feed(p->client, out + at, n - at, now, &e));
        if (e.kind == DERP_NOTHING)
            continue;
        assert_true(p->events < EVENTS);
        p->first_byte[p->events] = e.n ? *e.packet : 0;
        p->event[p->events++] = e;
    }
    gsi_relay_sent(p->conn, n);
    return n > 0;
}

/* Until nothing moves any more. */
static void settle(void)
{
    for (bool moves = true; moves;) {
        moves = false;
        for (int i = 0; i < PEERS; i++)
            if (peers[i].client)
                moves |= up(&peers[i]) | down(&peers[i]);
    }
    while (gsi_relay_next_ready(relay))
        ;
}

static void begin(int n)
{
    static const uint8_t key[KEY_LEN] = {1, 2, 3};
    now = T0;
    relay = gsi_relay_new(key, PEERS);
    assert_non_null(relay);
    for (int i = 0; i < n; i++)
        arrive(&peers[i], i + 1);
    settle();
    for (int i = 0; i < n; i++) {
        assert_int_equal(peers[i].events, 1);
        assert_int_equal(peers[i].event[0].kind, DERP_CONNECTED);
        assert_memory_equal(gsi_derp_server_key(peers[i].client), gsi_relay_public(relay), KEY_LEN);
        assert_memory_equal(gsi_relay_who(peers[i].conn), peers[i].public, KEY_LEN);
        assert_ptr_equal(gsi_relay_user(peers[i].conn), &peers[i]);
        peers[i].events = 0;
    }
}

static void end(void)
{
    for (int i = 0; i < PEERS; i++)
        if (peers[i].client)
            leave(&peers[i]);
    assert_int_equal(gsi_relay_stat(relay).connections, 0);
    gsi_relay_free(relay);
    gsi_relay_free(NULL);
}

static void say(int from, int to, const char *bytes, size_t n)
{
    assert_ok(gsi_derp_send(peers[from].client, peers[to].public, bytes, n, n > 5 && !memcmp(bytes, "TS\xf0", 3), now));
}

static void packets_reach_whom_they_are_for(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 4096};
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
        piece = pieces[k];
        begin(4);
        for (int from = 0; from < 4; from++)
            for (int to = 0; to < 4; to++)
                say(from, to, (const char[]){(char)('a' + from)}, 1);
        settle();
        for (int to = 0; to < 4; to++) {
            assert_int_equal(peers[to].events, 4);
            bool seen[4] = {false};
            for (int i = 0; i < 4; i++) {
                assert_int_equal(peers[to].event[i].kind, DERP_RECEIVED);
                seen[peers[to].first_byte[i] - 'a'] = true;
            }
            assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
        }
        assert_int_equal(gsi_relay_stat(relay).relayed, 16);
        end();
    }
    piece = 4096;
}

static void the_end_is_told_to_those_one_talked_to(void **state)
{
    (void)state;
    begin(4);
    say(0, 1, "x", 1);
    say(2, 0, "x", 1);
    settle();
    peers[1].events = peers[2].events = peers[3].events = 0;
    uint8_t gone[KEY_LEN];
    memcpy(gone, peers[0].public, KEY_LEN);
    leave(&peers[0]);
    assert_ptr_equal(gsi_relay_next_ready(relay), peers[1].conn);
    assert_null(gsi_relay_next_ready(relay));
    settle();
    assert_int_equal(peers[1].events, 1);
    assert_true(peers[1].event[0].kind == DERP_PEER_LEFT && peers[1].event[0].gone == DERP_GONE_DISCONNECTED);
    assert_int_equal(peers[2].events + peers[3].events, 0);
    for (int i = 0; i < 20; i++) /* nobody is here: told for disco alone, and not without end */
        assert_ok(gsi_derp_send(peers[1].client, gone, i % 2 ? "TS\xf0\x9f\x92\xac......" : "wireguard", 9, i % 2, now));
    settle();
    assert_int_equal(peers[1].events, 1 + RELAY_NOT_HERE_PER_S);
    assert_int_equal(peers[1].event[1].gone, DERP_GONE_NOT_HERE);
    assert_int_equal(gsi_relay_stat(relay).unknown, 20);
    now += S;
    assert_ok(gsi_derp_send(peers[1].client, gone, "TS\xf0\x9f\x92\xac......", 12, true, now));
    settle();
    assert_int_equal(peers[1].events, 2 + RELAY_NOT_HERE_PER_S);
    end();
}

static void of_two_with_one_key_the_newer_gets_the_packets(void **state)
{
    (void)state;
    begin(2);
    arrive(&peers[2], 1); /* as peers[0] */
    settle();
    assert_true(peers[0].events == 1 && peers[0].event[0].kind == DERP_UNHEALTHY);
    assert_true(peers[2].events == 2 && peers[2].event[1].kind == DERP_UNHEALTHY);
    say(1, 0, "x", 1);
    settle();
    assert_true(peers[0].events == 1 && peers[2].events == 3 && peers[2].event[2].kind == DERP_RECEIVED);
    say(2, 1, "y", 1);
    settle();
    leave(&peers[2]);
    settle();
    assert_true(peers[1].events == 1); /* the key is still here: no PeerGone */
    assert_true(peers[0].events == 2 && peers[0].event[1].kind == DERP_HEALTHY);
    say(1, 0, "x", 1);
    settle();
    assert_true(peers[0].events == 3 && peers[0].event[2].kind == DERP_RECEIVED);
    arrive(&peers[3], 1);
    arrive(&peers[4], 1);
    settle();
    leave(&peers[3]); /* one from the middle */
    settle();
    leave(&peers[4]);
    settle();
    say(1, 0, "z", 1);
    settle();
    assert_int_equal(peers[0].event[peers[0].events - 1].kind, DERP_RECEIVED);
    end();
}

/* The oldest go; what the last ones say arrives, and path discovery outlives the rest. */
static void who_does_not_read_loses_its_oldest_packets(void **state)
{
    (void)state;
    begin(2);
    for (int i = 0; i < 10; i++) {
        say(0, 1, "TS\xf0\x9f\x92\xac...", 9);
        while (up(&peers[0]))
            ;
    }
    for (int i = 0; i < 200; i++) {
        say(0, 1, (const char[]){(char)i}, 1);
        while (up(&peers[0]))
            ;
    }
    struct relay_stat stat = gsi_relay_stat(relay);
    settle();
    assert_int_equal(stat.relayed, 210);
    assert_int_equal(stat.dropped, 210 - DERP_QUEUE);
    assert_int_equal(peers[1].events, DERP_QUEUE);
    int disco = 0;
    for (int i = 0; i < peers[1].events; i++)
        disco += peers[1].event[i].n == 9;
    assert_int_equal(disco, 10);
    assert_int_equal(peers[1].first_byte[DERP_QUEUE - 1], 199);
    assert_int_equal(peers[1].first_byte[10], 199 - (DERP_QUEUE - 10) + 1);
    end();
}

static int ask(const char *request, size_t n, char *answer, size_t cap)
{
    const uint8_t *p;
    struct relay_conn *c = gsi_relay_join(relay, NULL, now);
    assert_non_null(c);
    int e = gsi_relay_feed(c, request, n, now);
    size_t k = gsi_relay_output(c, &p);
    assert_true(k < cap);
    memcpy(answer, k ? p : (const uint8_t *)"", k);
    answer[k] = 0;
    if (e < 0)
        assert_code(gsi_relay_feed(c, "x", 1, now), e);
    gsi_relay_leave(c);
    return e;
}
#define ASK(request, answer) ask(request, sizeof(request) - 1, answer, sizeof answer)

static void other_requests_have_their_answers(void **state)
{
    (void)state;
    char answer[400];
    begin(0);
    assert_code(ASK("GET /derp/probe HTTP/1.1\r\n\r\n", answer), GS_ECLOSED);
    assert_true(strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
    assert_code(ASK("GET /derp/latency-check HTTP/1.1\r\nA: b\r\n\r\n", answer), GS_ECLOSED);
    assert_true(strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
    assert_code(ASK("GET / HTTP/1.1\r\n\r\n", answer), GS_ECLOSED);
    assert_true(strncmp(answer, "HTTP/1.1 404 ", 13) == 0);
    assert_code(ASK("GET /derp HTTP/1.1\r\n\r\n", answer), GS_ECLOSED);
    assert_true(strncmp(answer, "HTTP/1.1 426 ", 13) == 0);
    assert_code(ASK("GET /derp HTTP/1.1\r\n\0\r\n\r\n", answer), GS_EINVALID);
    assert_ok(ASK("GET /derp HTTP/1.1\r\nupgrade: derp\r\n\r\n", answer));
    assert_true(strncmp(answer, "HTTP/1.1 101 ", 13) == 0);
    static char much[RELAY_HTTP_MAX + 1];
    memset(much, 'a', sizeof much);
    assert_code(ask(much, sizeof much, answer, sizeof answer), GS_EINVALID);
    end();
}

static void frames_that_no_client_sends_end_the_connection(void **state)
{
    (void)state;
    static const struct {
        unsigned type;
        size_t n;
        int code;
    } wrong[] = {
        {DERP_SEND_PACKET, KEY_LEN - 1, GS_EINVALID}, {DERP_PING, 7, GS_EINVALID}, {DERP_NOTE_PREFERRED, 2, GS_EINVALID}, {DERP_NOTE_PREFERRED, 0, GS_EINVALID},
        {DERP_CLIENT_INFO, 80, -EACCES}, {DERP_FORWARD_PACKET, 80, -EACCES}, {DERP_WATCH_CONNS, 0, -EACCES}, {DERP_CLOSE_PEER, 32, -EACCES},
        {DERP_SEND_PACKET, KEY_LEN + DERP_PACKET_MAX + 1, GS_EINVALID},
    };
    static uint8_t frame[DERP_HEADER_LEN + KEY_LEN + DERP_PACKET_MAX + 1];
    char request[] = "GET /derp HTTP/1.1\r\nUpgrade: DERP\r\n\r\n";
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        begin(1);
        gsi_derp_head(frame, (enum derp_type)wrong[i].type, wrong[i].n);
        assert_code(gsi_relay_feed(peers[0].conn, frame, DERP_HEADER_LEN + wrong[i].n, now), wrong[i].code);
        end();
    }
    begin(0);
    for (unsigned type = 1; type <= DERP_RESTARTING; type++) { /* before it has said who it is */
        struct relay_conn *c = gsi_relay_join(relay, NULL, now);
        assert_ok(gsi_relay_feed(c, request, sizeof request - 1, now));
        gsi_derp_head(frame, (enum derp_type)type, 80);
        bool unknown = type > DERP_FORWARD_PACKET && type < DERP_WATCH_CONNS;
        assert_code(gsi_relay_feed(c, frame, DERP_HEADER_LEN + 80, now), unknown ? 0 : GS_EINVALID);
        assert_null(gsi_relay_who(c));
        gsi_relay_leave(c);
    }
    end();
}

static void a_login_with_any_changed_bit_is_nobody_s(void **state)
{
    (void)state;
    begin(0);
    arrive(&peers[0], 1);
    uint8_t info[400];
    const uint8_t *p;
    struct derp_event e;
    size_t n = gsi_derp_output(peers[0].client, &p);
    assert_ok(gsi_relay_feed(peers[0].conn, p, n, now));
    gsi_derp_sent(peers[0].client, n);
    for (size_t k; (k = gsi_relay_output(peers[0].conn, &p)) > 0; gsi_relay_sent(peers[0].conn, k))
        assert_int_equal(gsi_derp_feed(peers[0].client, p, k, now, &e), k);
    n = gsi_derp_output(peers[0].client, &p);
    memcpy(info, p, n);
    static const char request[] = "GET /derp HTTP/1.1\r\nUpgrade: DERP\r\n\r\n";
    for (size_t bit = DERP_HEADER_LEN * 8; bit < n * 8; bit++) {
        if (bit == (DERP_HEADER_LEN + KEY_LEN) * 8 - 1)
            continue; /* X25519 ignores it: another name for the same key */
        struct relay_conn *c = gsi_relay_join(relay, NULL, now);
        assert_ok(gsi_relay_feed(c, request, sizeof request - 1, now));
        info[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(gsi_relay_feed(c, info, n, now) < 0);
        info[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_null(gsi_relay_who(c));
        gsi_relay_leave(c);
    }
    end();
}

static void time_ends_logins_and_keeps_the_rest_alive(void **state)
{
    (void)state;
    begin(1);
    struct relay_conn *slow = gsi_relay_join(relay, NULL, now);
    assert_ok(gsi_relay_tick(slow, now + RELAY_HANDSHAKE - 1));
    assert_code(gsi_relay_tick(slow, now + RELAY_HANDSHAKE), GS_ETIMEOUT);
    gsi_relay_leave(slow);
    assert_true(gsi_relay_deadline(peers[0].conn) == now + RELAY_KEEP_ALIVE);
    for (int minute = 0; minute < 10; minute++) {
        now += RELAY_KEEP_ALIVE;
        assert_ok(gsi_relay_tick(peers[0].conn, now));
        settle();
        assert_ok(gsi_derp_tick(peers[0].client, now));
    }
    assert_int_equal(peers[0].events, 0);
    for (int i = 1; i < PEERS; i++)
        arrive(&peers[i], i + 1);
    assert_null(gsi_relay_join(relay, NULL, now)); /* full */
    settle();
    end();
}

static int init(void **state)
{
    (void)state;
    return gsi_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_reach_whom_they_are_for),
        cmocka_unit_test(the_end_is_told_to_those_one_talked_to),
        cmocka_unit_test(of_two_with_one_key_the_newer_gets_the_packets),
        cmocka_unit_test(who_does_not_read_loses_its_oldest_packets),
        cmocka_unit_test(other_requests_have_their_answers),
        cmocka_unit_test(frames_that_no_client_sends_end_the_connection),
        cmocka_unit_test(a_login_with_any_changed_bit_is_nobody_s),
        cmocka_unit_test(time_ends_logins_and_keeps_the_rest_alive),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
