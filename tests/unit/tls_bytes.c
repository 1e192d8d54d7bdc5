/* Bytes and their ends over TLS: upgrades in the middle of a dialogue, half closes, what waits above the descriptor, what is held
 * back below. Both ends are gensock's. runner: tsan */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_meet.h"

/* ---- upgrades ---- */

struct dialogue {
    gs_stream s;
    int fd;
    bool server;
    int code;
};

static void *run_upgrade(void *arg)
{
    struct dialogue *d = arg;
    const gs_opt *server = GS_OPTS(GS_STR(TLS_CERT_FILE, server_id.cert), GS_STR(TLS_KEY_FILE, server_id.key));
    const gs_opt *client = GS_OPTS(GS_STR(TLS_CA_FILE, ca_file), GS_STR(TLS_SERVER_NAME, "gensock.test"));
    d->code = gs_stream_upgrade(d->s, "tls", d->server, d->server ? server : client, WAIT);
    return NULL;
}

/* Two plain streams over a socket pair. */
static void plain_pair(gs_stream *a, gs_stream *b, const gs_opt *opts_of_b)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    assert_ok(gs_stream_import(a, fd[0], NULL, GS_NO_MAILBOX));
    assert_ok(gs_stream_import(b, fd[1], opts_of_b, GS_NO_MAILBOX));
}

static void upgrade_both(gs_stream client, gs_stream server)
{
    struct dialogue c = {.s = client}, d = {.s = server, .server = true};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, run_upgrade, &c), 0);
    run_upgrade(&d);
    pthread_join(t, NULL);
    assert_ok(c.code);
    assert_ok(d.code);
}

static void a_dialogue_turns_into_tls(void **state)
{
    (void)state;
    gs_stream client, server;
    char line[64];
    plain_pair(&client, &server, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)));
    assert_ok(gs_stream_send(client, "STARTTLS\r\n", 10));
    assert_code(gs_stream_recv(server, line, sizeof line, 0, WAIT), 10);
    pass(server, client, "220 go ahead\r\n");
    upgrade_both(client, server);
    assert_ok(gs_stream_send(client, "one\ntwo\n", 8));
    assert_code(gs_stream_recv(server, line, sizeof line, 0, WAIT), 4);
    assert_code(gs_stream_recv(server, line, sizeof line, 0, WAIT), 4);
    assert_true(gs_stream_secure(client) && gs_stream_secure(server));
    gs_stream_close(client);
    gs_stream_close(server);
}

/* The hello travels in the same segment as the line before it: it goes to the layer, whole. */
static void a_hello_behind_the_last_line_is_not_lost(void **state)
{
    (void)state;
    gs_stream client, server;
    char line[64];
    plain_pair(&client, &server, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)));
    struct dialogue c = {.s = client};
    pthread_t t;
    assert_ok(gs_stream_send(client, "STARTTLS\r\n", 10));
    assert_int_equal(pthread_create(&t, NULL, run_upgrade, &c), 0); /* does not wait for the answer */
    poll(NULL, 0, 50);
    assert_code(gs_stream_recv(server, line, sizeof line, 0, WAIT), 10); /* the hello was read with it */
    struct dialogue d = {.s = server, .server = true};
    run_upgrade(&d);
    pthread_join(t, NULL);
    assert_ok(c.code);
    assert_ok(d.code);
    assert_ok(gs_stream_setopts(server, GS_OPTS(GS_INT(PACKET, GS_PACKET_RAW))));
    pass(client, server, "works");
    gs_stream_close(client);
    gs_stream_close(server);
}

/* What an attacker adds in clear behind the line is handshake, and a wrong one: never a command within the connection. */
static void plaintext_behind_the_last_line_is_never_data(void **state)
{
    (void)state;
    gs_stream client, server;
    char line[64];
    plain_pair(&client, &server, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)));
    assert_ok(gs_stream_send(client, "STARTTLS\r\nDELETE everything\r\n", 29));
    assert_code(gs_stream_recv(server, line, sizeof line, 0, WAIT), 10);
    struct dialogue c = {.s = client}, d = {.s = server, .server = true};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, run_upgrade, &c), 0);
    run_upgrade(&d);
    pthread_join(t, NULL);
    assert_code(d.code, GS_EALERT);
    assert_true(c.code < 0);
    assert_code(gs_stream_recv(server, line, sizeof line, 0, 0), GS_ECLOSED);
}

/* ---- ends ---- */

static void a_half_close_leaves_the_other_half_open(void **state)
{
    (void)state;
    struct pair p;
    char got[8];
    open_pair(&p, GS_OPTS(GS_INT(EXIT_ON_CLOSE, 0)), NULL);
    pass(p.client, p.server, "question");
    assert_ok(gs_stream_shutdown(p.client, GS_SHUT_WRITE));
    assert_code(gs_stream_recv(p.server, got, sizeof got, 0, WAIT), GS_ECLOSED);
    assert_code(gs_stream_send(p.client, "x", 1), GS_ECLOSED);
    pass(p.server, p.client, "answer");
    assert_ok(gs_stream_shutdown(p.server, GS_SHUT_WRITE));
    assert_code(gs_stream_recv(p.client, got, sizeof got, 0, WAIT), GS_ECLOSED);
    close_pair(&p);
}

/* ---- above the descriptor ---- */

static void nothing_hides_above_the_descriptor(void **state)
{
    (void)state;
    enum { N = 16000 };
    static uint8_t out[N];
    struct pair p;
    open_pair(&p, NULL, NULL);
    pattern_fill(out, N, 3, 0);
    assert_ok(gs_stream_send(p.client, out, N)); /* one record, or two: then no byte more is on its way */
    for (size_t i = 0; i < N; i += 10) {
        uint8_t got[10];
        assert_code(gs_stream_recv(p.server, got, 10, 10, WAIT), 10);
        assert_int_equal(pattern_check(got, 10, 3, i), 10);
    }
    close_pair(&p);
}

static void a_mailbox_is_told_of_what_was_decrypted_already(void **state)
{
    (void)state;
    enum { LINES = 500 };
    struct pair p;
    gs_mailbox mb;
    gs_msg m;
    assert_ok(gs_mailbox_new(&mb));
    open_pair(&p, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE), GS_INT(ACTIVE, GS_ACTIVE_FALSE)), NULL);
    char text[LINES * 8 + 16] = "", line[16];
    for (int i = 0; i < LINES; i++)
        snprintf(text + strlen(text), 16, "%05d\n", i);
    assert_ok(gs_stream_send(p.client, text, strlen(text)));
    assert_ok(gs_stream_controlling_process(p.server, GS_NO_MAILBOX, mb));
    int fd = (int)assert_ok(gs_mailbox_fd(mb));
    for (int i = 0; i < LINES; i++) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_ok(gs_stream_setopts(p.server, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_ONCE))));
        assert_int_equal(poll(&ready, 1, WAIT), 1);
        assert_ok(gs_receive(mb, &m, WAIT));
        assert_int_equal(m.kind, GS_MSG_DATA);
        snprintf(line, sizeof line, "%05d\n", i);
        assert_memory_equal(m.packet.data.p, line, 6);
    }
    close_pair(&p);
    assert_ok(gs_mailbox_free(mb));
}

/* ---- what is held back ---- */

/* A full connection: what a send refused is really not sent, and something else may be. */
static void a_refused_send_leaves_no_trace(void **state)
{
    (void)state;
    enum { PIECE = 1000, LAST = 7 };
    struct pair p;
    gs_mailbox mb;
    static uint8_t piece[PIECE], got[PIECE];
    assert_ok(gs_mailbox_new(&mb));
    p = (struct pair){.owner = mb};
    listen_with(&p, NULL);
    assert_ok(meet(&p, GS_OPTS(GS_INT(SEND_TIMEOUT, GS_NOWAIT), GS_INT(ACTIVE, GS_ACTIVE_FALSE))));
    assert_ok(p.code);
    long sent = 0;
    int e;
    memset(piece, 'a', PIECE);
    while ((e = gs_stream_send(p.client, piece, PIECE)) == 0)
        sent++;
    assert_code(e, -EAGAIN);
    for (long i = 0; i < sent; i++) {
        assert_code(gs_stream_recv(p.server, got, PIECE, PIECE, WAIT), PIECE);
        assert_int_equal(memcmp(got, piece, PIECE), 0);
    }
    gs_msg m;
    assert_ok(gs_receive(mb, &m, WAIT));
    assert_int_equal(m.kind, GS_MSG_DRAINED);
    assert_ok(gs_stream_send(p.client, "another", LAST));
    assert_ok(gs_stream_flush(p.client, WAIT));
    assert_code(gs_stream_recv(p.server, got, PIECE, LAST, WAIT), LAST);
    assert_memory_equal(got, "another", LAST);
    assert_code(gs_stream_recv(p.server, got, PIECE, 0, 50), GS_ETIMEOUT);
    close_pair(&p);
    assert_ok(gs_mailbox_free(mb));
}

static void what_was_sent_before_close_arrives_with_a_goodbye(void **state)
{
    (void)state;
    enum { MUCH = 3 << 20 };
    struct pair p;
    gs_mailbox mb;
    uint8_t *much = malloc(MUCH);
    assert_non_null(much);
    pattern_fill(much, MUCH, 9, 0);
    assert_ok(gs_mailbox_new(&mb));
    p = (struct pair){.owner = mb};
    listen_with(&p, NULL);
    assert_ok(meet(&p, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(HIGH_WATERMARK, 2 * MUCH))));
    assert_ok(p.code);
    assert_ok(gs_stream_send(p.client, much, MUCH));
    assert_ok(gs_stream_close(p.client));
    size_t at = 0;
    ssize_t k;
    while ((k = gs_stream_recv(p.server, much, MUCH, 0, WAIT)) > 0) {
        assert_int_equal(pattern_check(much, (size_t)k, 9, at), k);
        at += (size_t)k;
    }
    assert_code(k, GS_ECLOSED); /* not truncated */
    assert_int_equal(at, MUCH);
    free(much);
    close_pair(&p);
    assert_ok(gs_mailbox_free(mb));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dialogue_turns_into_tls),
        cmocka_unit_test(a_hello_behind_the_last_line_is_not_lost),
        cmocka_unit_test(plaintext_behind_the_last_line_is_never_data),
        cmocka_unit_test(a_half_close_leaves_the_other_half_open),
        cmocka_unit_test(nothing_hides_above_the_descriptor),
        cmocka_unit_test(a_mailbox_is_told_of_what_was_decrypted_already),
        cmocka_unit_test(a_refused_send_leaves_no_trace),
        cmocka_unit_test(what_was_sent_before_close_arrives_with_a_goodbye),
    };
    return cmocka_run_group_tests(tests, make_identities, free_identities);
}
