/* STARTTLS dialogues on every base, on either side: what was received and not delivered when a stream is upgraded belongs to the
 * layer. Nothing of it is delivered as data, and nothing of the handshake is lost. runner: tsan */
#include <errno.h>
#include <gensock/stream.h>
#include <gensock/tls.h>
#include <pthread.h>
#include <string.h>

#include "pki.h"
#include "tls_openssl_end.h"

enum { TCP, UNIX, MEM, BASES };

/* A listener on this base, and where it is to be found. */
static void listen_on(int base, gs_stream *listener, const gs_opt *opts, char *address, size_t cap)
{
    static int number;
    char name[32];
    snprintf(name, sizeof name, "starttls%d", number++);
    if (base == UNIX)
        snprintf(address, cap, "unix://%s", temp_path(name));
    else
        snprintf(address, cap, base == TCP ? "tcp://127.0.0.1:0" : "mem://starttls");
    assert_ok(gs_stream_listen(listener, address, opts, GS_NO_MAILBOX));
    if (base == TCP)
        snprintf(address, cap, "tcp://127.0.0.1:%ld", assert_ok(gs_stream_port(*listener)));
}

/* How the server comes to the line that asks for the upgrade. */
enum way { PASSIVE_LINE, ACTIVE_ONCE, NOWAIT, WAYS };

struct server {
    gs_stream listener;
    enum way way;
    pthread_t thread;
    int accepted, upgraded, answered;
    char line[64], inside[64], detail[200];
    ssize_t inside_n;
};

static int take_line(gs_stream s, gs_mailbox mb, bool active, char *out, size_t cap)
{
    if (!active) {
        ssize_t n = gs_stream_recv(s, out, cap - 1, 0, END_WAIT_MS);
        out[n > 0 ? n : 0] = '\0';
        return n < 0 ? (int)n : 0;
    }
    gs_msg m;
    int e = gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_ONCE)));
    if (e == 0)
        e = gs_receive(mb, &m, END_WAIT_MS);
    if (e == 0 && m.kind != GS_MSG_DATA)
        e = -EPROTO;
    if (e == 0)
        snprintf(out, cap, "%.*s", (int)m.packet.data.n, (const char *)m.packet.data.p);
    return e;
}

static int upgrade(gs_stream s, gs_mailbox mb, bool nowait)
{
    const struct pki_files *f = pki_default();
    int e = gs_stream_upgrade(s, "tls", true, GS_OPTS(GS_STR(TLS_CERT_FILE, f->cert), GS_STR(TLS_KEY_FILE, f->key)),
                              nowait ? GS_NOWAIT : END_WAIT_MS);
    gs_msg m;
    if (!nowait)
        return e;
    if (e == GS_ESELECT)
        e = gs_receive(mb, &m, END_WAIT_MS);
    return e < 0 ? e : m.kind == GS_MSG_UPGRADE && m.stream.id == s.id ? m.error : -EPROTO;
}

/* Plain line, upgrade, then one line and its answer inside. Cmocka's asserts are for the other thread. */
static void *serve(void *arg)
{
    struct server *v = arg;
    gs_mailbox mb;
    gs_stream s;
    v->upgraded = v->answered = GS_EINVALID;
    v->accepted = gs_mailbox_new(&mb);
    if (v->accepted < 0)
        return NULL;
    v->accepted = gs_stream_accept(v->listener, &s, mb, END_WAIT_MS, NULL);
    if (v->accepted == 0)
        v->accepted = take_line(s, mb, v->way == ACTIVE_ONCE, v->line, sizeof v->line);
    if (v->accepted == 0) {
        v->upgraded = upgrade(s, mb, v->way == NOWAIT);
        snprintf(v->detail, sizeof v->detail, "%s", v->upgraded < 0 ? gs_error_detail(v->upgraded) : "");
        v->inside_n = take_line(s, mb, v->upgraded == 0 && v->way == ACTIVE_ONCE, v->inside, sizeof v->inside);
        v->answered = gs_stream_send(s, "250 ok\r\n", 8);
    }
    gs_mailbox_free(mb);
    return NULL;
}

/* A server that waits, and a plain connection to it. */
static gs_stream begin(struct server *v, int base, enum way way)
{
    char address[128];
    gs_stream s;
    *v = (struct server){.way = way};
    listen_on(base, &v->listener, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE), GS_INT(ACTIVE, GS_ACTIVE_FALSE)), address,
              sizeof address);
    assert_int_equal(pthread_create(&v->thread, NULL, serve, v), 0);
    assert_ok(gs_stream_connect(&s, address, NULL, GS_NO_MAILBOX, END_WAIT_MS));
    return s;
}

static void end(struct server *v, gs_stream s)
{
    gs_stream_close(s);
    pthread_join(v->thread, NULL);
    gs_stream_close(v->listener);
}

/* The line, what an attacker puts between, the ClientHello, and what stands behind it; `cut` bytes a write, 0: all in one. */
static void send_opening(struct openssl_end *c, const char *between, const char *behind, size_t cut)
{
    uint8_t all[4096], *p = all;
    p += snprintf((char *)p, 1024, "STARTTLS\r\n%s", between);
    assert_int_equal(SSL_get_error(c->ssl, SSL_do_handshake(c->ssl)), SSL_ERROR_WANT_READ);
    size_t hello = openssl_end_take(c, p, 2048);
    assert_true(hello > 100);
    p += hello;
    p += snprintf((char *)p, 512, "%s", behind);
    for (uint8_t *at = all; at < p;) {
        size_t n = cut && cut < (size_t)(p - at) ? cut : (size_t)(p - at);
        if (gs_stream_send(c->s, at, n) < 0)
            return; /* refused already */
        at += n;
    }
}

static void nothing_of_a_pipelined_handshake_is_lost(void **state)
{
    (void)state;
    static const size_t cuts[] = {0, 1, 9, 10, 11, 14, 15, 100, 200};
    for (int b = 0; b < BASES; b++)
        for (enum way way = PASSIVE_LINE; way < WAYS; way++)
            for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
                struct server v;
                struct openssl_end c;
                char answer[64];
                openssl_end_open(&c, begin(&v, b, way), NULL, NULL);
                send_opening(&c, "", "", cuts[k]);
                assert_true(openssl_end_handshake(&c));
                openssl_end_write(&c, "EHLO x\r\n", 8);
                assert_int_equal(openssl_end_read(&c, answer, sizeof answer), 8);
                assert_memory_equal(answer, "250 ok\r\n", 8);
                end(&v, c.s);
                openssl_end_close(&c);
                assert_code(v.accepted, 0);
                assert_string_equal(v.line, "STARTTLS\r\n");
                assert_code(v.upgraded, 0);
                assert_string_equal(v.inside, "EHLO x\r\n");
            }
}

/* On every base, whichever way the server reads: the upgrade fails with an alert, and nothing is told of the injected line. */
static void refused(const char *between, const char *behind)
{
    for (int b = 0; b < BASES; b++)
        for (enum way way = PASSIVE_LINE; way < WAYS; way++) {
            struct server v;
            struct openssl_end c;
            openssl_end_open(&c, begin(&v, b, way), NULL, NULL);
            send_opening(&c, between, behind, 0);
            (void)openssl_end_handshake(&c);
            end(&v, c.s);
            openssl_end_close(&c);
            assert_code(v.accepted, 0);
            assert_code(v.upgraded, GS_EALERT);
            assert_string_equal(v.inside, "");
            assert_true(v.inside_n < 0 && v.answered < 0);
        }
}

static void plaintext_between_the_line_and_the_hello_is_no_data(void **state)
{
    (void)state;
    refused("RCPT TO:<evil@example.org>\r\n", "");
}

static void plaintext_behind_the_hello_is_no_data(void **state)
{
    (void)state;
    refused("", "RCPT TO:<evil@example.org>\r\n");
}

/* ---- the client's side ---- */

struct client {
    gs_stream s;
    pthread_t thread;
    int upgraded, sent;
    ssize_t got;
    char greeting[64], inside[64];
};

static void *ask(void *arg)
{
    struct client *c = arg;
    c->upgraded = c->sent = GS_EINVALID;
    if (take_line(c->s, GS_NO_MAILBOX, false, c->greeting, sizeof c->greeting) < 0)
        return NULL;
    c->upgraded = gs_stream_upgrade(c->s, "tls", false, GS_OPTS(GS_STR(TLS_CA_FILE, pki_default()->ca), GS_STR(TLS_SERVER_NAME, "gensock.test")),
                                    END_WAIT_MS);
    c->sent = gs_stream_send(c->s, "EHLO x\r\n", 8);
    c->got = take_line(c->s, GS_NO_MAILBOX, false, c->inside, sizeof c->inside);
    return NULL;
}

/* The server says `greeting` in one write; then, if it comes so far, the handshake and an answer inside. */
static void greet(int base, const char *greeting, bool good)
{
    char address[128], got[64];
    gs_stream listener, s;
    struct client c = {0};
    struct openssl_end o;
    const struct pki_files *f = pki_default();
    listen_on(base, &listener, NULL, address, sizeof address);
    assert_ok(gs_stream_connect(&c.s, address, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)), GS_NO_MAILBOX, END_WAIT_MS));
    assert_ok(gs_stream_accept(listener, &s, GS_NO_MAILBOX, END_WAIT_MS, NULL));
    openssl_end_open(&o, s, f->cert, f->key);
    assert_int_equal(pthread_create(&c.thread, NULL, ask, &c), 0);
    assert_ok(gs_stream_send(s, greeting, strlen(greeting)));
    assert_int_equal(openssl_end_handshake(&o), good);
    if (good) {
        assert_int_equal(openssl_end_read(&o, got, sizeof got), 8);
        openssl_end_write(&o, "250 ok\r\n", 8);
    }
    pthread_join(c.thread, NULL);
    assert_string_equal(c.greeting, "220 go ahead\r\n");
    assert_code(c.upgraded, good ? 0 : GS_EALERT);
    assert_string_equal(c.inside, good ? "250 ok\r\n" : "");
    assert_int_equal(c.sent == 0, good);
    gs_stream_close(c.s);
    gs_stream_close(s);
    gs_stream_close(listener);
    openssl_end_close(&o);
}

static void a_client_upgrades_behind_the_greeting(void **state)
{
    (void)state;
    for (int b = 0; b < BASES; b++)
        greet(b, "220 go ahead\r\n", true);
}

static void an_answer_injected_behind_the_greeting_is_no_data(void **state)
{
    (void)state;
    for (int b = 0; b < BASES; b++)
        greet(b, "220 go ahead\r\n250 AUTH PLAIN\r\n", false);
}

static int prepare(void **state)
{
    (void)state;
    (void)pki_default(); /* before there are threads */
    return gs_tls_register();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_a_pipelined_handshake_is_lost),
        cmocka_unit_test(plaintext_between_the_line_and_the_hello_is_no_data),
        cmocka_unit_test(plaintext_behind_the_hello_is_no_data),
        cmocka_unit_test(a_client_upgrades_behind_the_greeting),
        cmocka_unit_test(an_answer_injected_behind_the_greeting_is_no_data),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
