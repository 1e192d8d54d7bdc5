/* The zoo of handshakes: peers that are old, wrong or slow are refused within the deadline with the right code and alert, and an
 * attacker below a good connection changes nothing without being noticed. What is no handshake at all: tls_zoo_scripted.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gensock/tls.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"
#include "tls_peer.h"

enum { WAIT = 10000, DEADLINE = 300 };

#define BYTES(text) text, sizeof text - 1

/* ---- both sides' options ---- */

static const gs_opt *server_opts(void)
{
    static gs_opt o[4];
    o[0] = (gs_opt)GS_STR(TLS_CERT_FILE, pki_default()->cert);
    o[1] = (gs_opt)GS_STR(TLS_KEY_FILE, pki_default()->key);
    o[2] = (gs_opt)GS_STR(TLS_ALPN, "gensock/1");
    return o;
}

static const gs_opt *client_opts(void)
{
    static gs_opt o[4];
    o[0] = (gs_opt)GS_STR(TLS_CA_FILE, pki_default()->ca);
    o[1] = (gs_opt)GS_STR(TLS_SERVER_NAME, "gensock.test");
    o[2] = (gs_opt)GS_INT(TLS_RESUME, 0);
    return o;
}

static const gs_opt *opts_of(bool server) { return server ? server_opts() : client_opts(); }

/* ---- OpenSSL at the far end, with something wrong ---- */

static struct pki_cert own;

static void make_own(void)
{
    if (own.cert)
        return;
    struct pki_cert ca = pki_make(&(struct pki_spec){.cn = "own CA", .ca = true}, NULL);
    own = pki_make(&(struct pki_spec){.cn = "own", .san = "DNS:gensock.test"}, &ca);
    pki_free(&ca);
}

static void offer_other_protocol(SSL_CTX *ctx, SSL *ssl)
{
    (void)ctx;
    SSL_set_alpn_protos(ssl, (const unsigned char *)"\x06" "other1", 7);
}

static void say_fallback(SSL_CTX *ctx, SSL *ssl)
{
    (void)ctx;
    SSL_set_mode(ssl, SSL_MODE_SEND_FALLBACK_SCSV);
}

struct wrong {
    const char *name;
    struct peer_spec far;
    int code;
    const char *detail; /* how it begins */
};

/* clang-format off */
static const struct wrong wrongs[] = {
    {"a client of TLS 1.0", {.careless = true, .min_version = TLS1_VERSION, .max_version = TLS1_VERSION, .ciphers = "ALL:@SECLEVEL=0"}, GS_EALERT, "sent protocol_version"},
    {"a client of TLS 1.1", {.careless = true, .min_version = TLS1_1_VERSION, .max_version = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0"}, GS_EALERT, "sent protocol_version"},
    {"a client that fell back", {.max_version = TLS1_2_VERSION, .change = say_fallback}, GS_EALERT, "sent inappropriate_fallback"},
    {"a client without forward secrecy", {.max_version = TLS1_2_VERSION, .ciphers = "AES128-GCM-SHA256"}, GS_EALERT, "sent handshake_failure"},
    {"a client with CBC only", {.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256"}, GS_EALERT, "sent handshake_failure"},
    {"a client without encryption", {.careless = true, .max_version = TLS1_2_VERSION, .ciphers = "eNULL:@SECLEVEL=0"}, GS_EALERT, "sent handshake_failure"},
    {"a client that is anonymous", {.careless = true, .max_version = TLS1_2_VERSION, .ciphers = "aNULL:@SECLEVEL=0"}, GS_EALERT, "sent handshake_failure"},
    {"a client of another protocol", {.change = offer_other_protocol}, GS_EALERT, "sent no_application_protocol"},
    {"a server of TLS 1.0", {.server = true, .careless = true, .min_version = TLS1_VERSION, .max_version = TLS1_VERSION, .ciphers = "ALL:@SECLEVEL=0", .chain = {&own}}, GS_EALERT, "received protocol_version"},
    {"a server of TLS 1.1", {.server = true, .careless = true, .min_version = TLS1_1_VERSION, .max_version = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0", .chain = {&own}}, GS_EALERT, "received protocol_version"},
    {"a server with CBC only", {.server = true, .max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA256", .chain = {&own}}, GS_EALERT, "received handshake_failure"},
    {"a server without certificate", {.server = true}, GS_EALERT, "received handshake_failure"},
    {"a server that is anonymous", {.server = true, .careless = true, .max_version = TLS1_2_VERSION, .ciphers = "aNULL:@SECLEVEL=0"}, GS_EALERT, "received handshake_failure"},
};
/* clang-format on */
enum { WRONGS = sizeof wrongs / sizeof *wrongs };

static void run_wrong(void **state)
{
    const struct wrong *w = *state;
    struct tls_peer p;
    char detail[400];
    make_own();
    gs_stream s = peer_start(&p, &w->far);
    int e = upgrade_to_tls(s, !w->far.server, opts_of(!w->far.server), WAIT, detail, sizeof detail);
    if (e != w->code || strncmp(detail, w->detail, strlen(w->detail)) != 0)
        fail_msg("%s: %s \"%s\", wanted \"%s\"", w->name, gs_error_name(e), detail, w->detail);
    assert_false(gs_stream_secure(s));
    gs_stream_close(s);
    peer_join(&p);
    assert_false(p.shaken && p.echoed);
}

/* ---- somebody in the middle of a good connection ---- */

/* Passes bytes between two descriptors, and does something to those from left to right. */
struct middle {
    int left, right;
    size_t cut_at;   /* closes both when so many bytes have passed; 0: never */
    size_t flip_at;  /* a bit of this byte; 0: none */
    size_t inject_at; /* bytes put in front of this one */
    const char *inject;
    size_t inject_n;
    int pause_ms; /* between single bytes; 0: as they come */
    bool from_server; /* the left is the server, not the client */
    int wait_ms;      /* of both upgrades; 0: WAIT */
    _Atomic size_t passed;
    pthread_t thread;
    _Atomic bool stop;
};

static bool pass_on(struct middle *m, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = atomic_fetch_add(&m->passed, 1); /* counted before anybody can have it */
        if (m->cut_at && at == m->cut_at)
            return false;
        if (m->inject && at == m->inject_at && send(m->right, m->inject, m->inject_n, MSG_NOSIGNAL) < 0)
            return false;
        if (m->flip_at && at == m->flip_at)
            p[i] ^= 0x10;
        if (send(m->right, p + i, 1, MSG_NOSIGNAL) != 1)
            return false;
        if (m->pause_ms)
            poll(NULL, 0, m->pause_ms);
    }
    return true;
}

static void *run_middle(void *arg)
{
    struct middle *m = arg;
    uint8_t buf[4096];
    struct pollfd p[2] = {{.fd = m->left, .events = POLLIN}, {.fd = m->right, .events = POLLIN}};
    bool goes_on = true;
    while (goes_on && !atomic_load(&m->stop)) {
        poll(p, 2, 50);
        ssize_t k = p[0].revents ? recv(m->left, buf, sizeof buf, MSG_DONTWAIT) : -1;
        if (k == 0 || (k > 0 && !pass_on(m, buf, (size_t)k)))
            goes_on = false;
        k = p[1].revents ? recv(m->right, buf, sizeof buf, MSG_DONTWAIT) : -1;
        if (k == 0 || (k > 0 && send(m->left, buf, (size_t)k, MSG_NOSIGNAL) != k))
            goes_on = false;
    }
    close(m->left);
    close(m->right);
    return NULL;
}

/* A client and a server, both ours, with m between them. */
struct ends {
    gs_stream client, server;
    int wait_ms;
    int client_code, server_code;
    char client_detail[400], server_detail[400];
};

static void *run_server(void *arg)
{
    struct ends *x = arg;
    x->server_code = upgrade_to_tls(x->server, true, server_opts(), x->wait_ms, x->server_detail, sizeof x->server_detail);
    return NULL;
}

static void connect_through(struct ends *x, struct middle *m)
{
    int a[2], b[2];
    pthread_t t;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
    m->left = m->from_server ? b[1] : a[1];
    m->right = m->from_server ? a[1] : b[1];
    x->wait_ms = m->wait_ms ? m->wait_ms : WAIT;
    assert_ok(gs_stream_import(&x->client, a[0], NULL, GS_NO_MAILBOX));
    assert_ok(gs_stream_import(&x->server, b[0], NULL, GS_NO_MAILBOX));
    assert_int_equal(pthread_create(&m->thread, NULL, run_middle, m), 0);
    assert_int_equal(pthread_create(&t, NULL, run_server, x), 0);
    x->client_code = upgrade_to_tls(x->client, false, client_opts(), x->wait_ms, x->client_detail, sizeof x->client_detail);
    if (x->client_code < 0)
        gs_stream_close(x->client);
    pthread_join(t, NULL);
}

static void part(struct ends *x, struct middle *m)
{
    gs_stream_close(x->client);
    gs_stream_close(x->server);
    atomic_store(&m->stop, true);
    pthread_join(m->thread, NULL);
}

/* How many bytes a client sends for a handshake, and with five bytes of data behind it. */
static size_t handshake_bytes(size_t *with_data)
{
    struct middle m = {0};
    struct ends x = {0};
    char got[5];
    connect_through(&x, &m);
    assert_ok(x.client_code);
    assert_ok(x.server_code);
    size_t n = m.passed;
    assert_ok(gs_stream_send(x.client, "hello", 5));
    assert_code(gs_stream_recv(x.server, got, 5, 5, WAIT), 5);
    *with_data = m.passed;
    part(&x, &m);
    return n;
}

static void a_handshake_cut_anywhere_is_no_connection(void **state)
{
    (void)state;
    size_t all, handshake = handshake_bytes(&all);
    for (size_t cut = 1; cut < handshake; cut += cut < 40 ? 1 : 17) {
        struct middle m = {.cut_at = cut};
        struct ends x = {0};
        connect_through(&x, &m);
        if (x.server_code != GS_ECLOSED && x.server_code != -ECONNRESET)
            fail_msg("cut at %zu: the server answers %s %s", cut, gs_error_name(x.server_code), x.server_detail);
        part(&x, &m);
    }
}

/* The first 500 bytes of what a server says: its hello, and most of the certificate. */
static void a_server_cut_anywhere_is_no_connection(void **state)
{
    (void)state;
    for (size_t cut = 1; cut < 500; cut += cut < 120 ? 3 : 17) {
        struct middle m = {.cut_at = cut, .from_server = true};
        struct ends x = {0};
        connect_through(&x, &m);
        if (x.client_code != GS_ECLOSED && x.client_code != -ECONNRESET)
            fail_msg("cut at %zu: the client answers %s %s", cut, gs_error_name(x.client_code), x.client_detail);
        part(&x, &m);
    }
}

/* In the hello, or in what is encrypted behind it. */
static void a_changed_bit_from_the_server_is_noticed(void **state)
{
    (void)state;
    for (size_t at = 1; at < 500; at += 7) {
        struct middle m = {.flip_at = at, .from_server = true, .wait_ms = 1000};
        struct ends x = {0};
        connect_through(&x, &m);
        if (x.client_code == 0)
            fail_msg("byte %zu: the client did not notice", at);
        part(&x, &m);
    }
}

static void a_changed_bit_anywhere_in_a_handshake_is_noticed(void **state)
{
    (void)state;
    size_t all, handshake = handshake_bytes(&all);
    for (size_t at = 1; at < handshake; at += 7) {
        struct middle m = {.flip_at = at, .wait_ms = 1000}; /* a longer length waits for more */
        struct ends x = {0};
        connect_through(&x, &m);
        if (x.server_code == 0 && x.client_code == 0)
            fail_msg("byte %zu of %zu: nobody noticed", at, handshake);
        assert_true(x.server_code < 0);
        part(&x, &m);
    }
}

static void a_changed_bit_of_a_record_ends_the_stream(void **state)
{
    (void)state;
    size_t all, handshake = handshake_bytes(&all);
    for (size_t at = handshake; at < all; at++) {
        struct middle m = {.flip_at = at};
        struct ends x = {0};
        char got[64];
        connect_through(&x, &m);
        assert_ok(x.client_code);
        assert_ok(x.server_code);
        assert_ok(gs_stream_send(x.client, "hello", 5));
        assert_ok(gs_stream_shutdown(x.client, GS_SHUT_WRITE)); /* a longer length waits for more */
        ssize_t e = gs_stream_recv(x.server, got, sizeof got, 0, 500);
        if (e == GS_ETIMEOUT) { /* its length says that more is to come: nothing is delivered before it has */
            gs_stream_close(x.client);
            e = gs_stream_recv(x.server, got, sizeof got, 0, WAIT);
        }
        if (e != GS_EALERT && e != GS_ETRUNCATED)
            fail_msg("byte %zu: %s", at - handshake, e < 0 ? gs_error_name((int)e) : "delivered");
        assert_code(gs_stream_recv(x.server, got, sizeof got, 0, WAIT), GS_ECLOSED);
        part(&x, &m);
    }
}

static void a_cut_behind_the_data_is_told_as_truncated(void **state)
{
    (void)state;
    size_t all, handshake = handshake_bytes(&all);
    struct middle m = {.cut_at = all};
    struct ends x = {0};
    char got[16];
    connect_through(&x, &m);
    assert_ok(x.server_code);
    assert_true(handshake < all);
    assert_ok(gs_stream_send(x.client, "hello", 5));
    assert_ok(gs_stream_shutdown(x.client, GS_SHUT_WRITE)); /* this goodbye never arrives */
    assert_code(gs_stream_recv(x.server, got, 5, 5, WAIT), 5);
    assert_code(gs_stream_recv(x.server, got, 5, 0, WAIT), GS_ETRUNCATED);
    assert_code(gs_stream_recv(x.server, got, 5, 0, WAIT), GS_ECLOSED);
    part(&x, &m);
}

static void plaintext_injected_behind_the_handshake_ends_the_stream(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } what[] = {{BYTES("\x17\x03\x03\x00\x05" "aaaaa")}, {BYTES("\x15\x03\x03\x00\x02\x01\x00")}, {BYTES("\x16\x03\x03\x00\x04\x00\x00\x00\x00")},
                {BYTES("hello, this is no record")}};
    size_t all, handshake = handshake_bytes(&all);
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        struct middle m = {.inject_at = handshake, .inject = what[i].bytes, .inject_n = what[i].n};
        struct ends x = {0};
        char got[16];
        connect_through(&x, &m);
        assert_ok(x.server_code);
        assert_ok(gs_stream_send(x.client, "hello", 5));
        assert_code(gs_stream_recv(x.server, got, sizeof got, 0, WAIT), GS_EALERT);
        part(&x, &m);
    }
}

static void a_slow_peer_gets_in_within_the_deadline(void **state)
{
    (void)state;
    struct middle m = {.pause_ms = 1};
    struct ends x = {0};
    char got[5];
    connect_through(&x, &m);
    assert_ok(x.client_code);
    assert_ok(x.server_code);
    assert_ok(gs_stream_send(x.client, "hello", 5));
    assert_code(gs_stream_recv(x.server, got, 5, 5, WAIT), 5);
    part(&x, &m);
}

static void a_peer_that_trickles_beyond_the_deadline_is_refused(void **state)
{
    (void)state;
    int fd[2];
    gs_stream s;
    struct middle m = {.pause_ms = 20};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    int b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
    m.left = fd[1];
    m.right = b[1];
    static const char slow[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on, byte by byte, as slow as it can be without silence";
    assert_int_equal(send(fd[0], slow, sizeof slow, 0), sizeof slow);
    assert_ok(gs_stream_import(&s, b[0], GS_OPTS(GS_INT(HANDSHAKE_TIMEOUT, DEADLINE)), GS_NO_MAILBOX));
    assert_int_equal(pthread_create(&m.thread, NULL, run_middle, &m), 0);
    assert_code(gs_stream_upgrade(s, "tls", true, server_opts(), GS_INFINITY), GS_ETIMEOUT);
    atomic_store(&m.stop, true);
    close(fd[0]);
    pthread_join(m.thread, NULL);
}

/* ---- after the handshake ---- */

static void renegotiate(SSL *ssl, int fd)
{
    (void)fd;
    char got[8];
    SSL_renegotiate(ssl);
    SSL_do_handshake(ssl); /* the request, or the new hello */
    SSL_write(ssl, "after", 5);
    (void)SSL_read(ssl, got, sizeof got);
}

/* The other side goes on without it, or refuses; the connection is never another one than was verified. */
static void renegotiation_is_refused(void **state)
{
    (void)state;
    for (int server = 0; server < 2; server++) {
        struct tls_peer p;
        char detail[400], got[8];
        struct pki_cert ca = pki_make(&(struct pki_spec){.cn = "a CA", .ca = true}, NULL);
        struct pki_cert leaf = pki_make(&(struct pki_spec){.cn = "leaf", .san = "DNS:gensock.test"}, &ca);
        const char *file = pki_cert_file("renegotiation.pem", (const struct pki_cert *const[]){&ca}, 1);
        struct peer_spec far = {.server = !server, .max_version = TLS1_2_VERSION, .act = renegotiate};
        far.chain[0] = server ? NULL : &leaf;
        gs_stream s = peer_start(&p, &far);
        const gs_opt *client = GS_OPTS(GS_STR(TLS_CA_FILE, file), GS_STR(TLS_SERVER_NAME, "gensock.test"));
        assert_ok(upgrade_to_tls(s, server, server ? server_opts() : client, WAIT, detail, sizeof detail));
        ssize_t e = gs_stream_recv(s, got, 5, 5, WAIT);
        assert_true(e == GS_EALERT || e == GS_ETRUNCATED || e == -ECONNRESET || (e == 5 && memcmp(got, "after", 5) == 0));
        gs_stream_close(s);
        peer_join(&p);
        pki_free(&leaf);
        pki_free(&ca);
    }
}

/* Both leave in TLS 1.2: a client of TLS 1.3 that leaves its tickets unread resets the connection, and the stream tells a reset as
 * closed (show_econnreset), over TLS, too. */
static void flood_of_warnings(SSL *ssl, int fd)
{
    (void)ssl;
    static const char warning[] = "\x15\x03\x03\x00\x02\x01\x5a";
    for (int i = 0; i < 2000 && send(fd, warning, 7, MSG_NOSIGNAL) == 7; i++)
        ;
}

static void a_flood_of_warnings_ends_the_stream(void **state)
{
    (void)state;
    struct tls_peer p;
    char detail[400], got[8];
    gs_stream s = peer_start(&p, &(struct peer_spec){.max_version = TLS1_2_VERSION, .act = flood_of_warnings});
    assert_ok(upgrade_to_tls(s, true, server_opts(), WAIT, detail, sizeof detail));
    assert_code(gs_stream_recv(s, got, sizeof got, 0, WAIT), GS_EALERT);
    gs_stream_close(s);
    peer_join(&p);
}

/* Reads on until we have closed: session tickets that nobody reads would make its end a reset. */
static void just_leave(SSL *ssl, int fd)
{
    char rest[512];
    SSL_write(ssl, "data", 4);
    shutdown(fd, SHUT_WR);
    while (read(fd, rest, sizeof rest) > 0)
        continue;
}

static void a_peer_that_leaves_without_a_word_is_truncated(void **state)
{
    (void)state;
    struct tls_peer p;
    char detail[400], got[8];
    gs_stream s = peer_start(&p, &(struct peer_spec){.max_version = TLS1_2_VERSION, .act = just_leave});
    assert_ok(upgrade_to_tls(s, true, server_opts(), WAIT, detail, sizeof detail));
    assert_code(gs_stream_recv(s, got, 4, 4, WAIT), 4);
    assert_code(gs_stream_recv(s, got, 4, 0, WAIT), GS_ETRUNCATED);
    gs_stream_close(s);
    peer_join(&p);
}

int main(void)
{
    static struct CMUnitTest tests[WRONGS + 16];
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(a_handshake_cut_anywhere_is_no_connection),
        cmocka_unit_test(a_server_cut_anywhere_is_no_connection),
        cmocka_unit_test(a_changed_bit_from_the_server_is_noticed),
        cmocka_unit_test(a_changed_bit_anywhere_in_a_handshake_is_noticed),
        cmocka_unit_test(a_changed_bit_of_a_record_ends_the_stream),
        cmocka_unit_test(a_cut_behind_the_data_is_told_as_truncated),
        cmocka_unit_test(plaintext_injected_behind_the_handshake_ends_the_stream),
        cmocka_unit_test(a_slow_peer_gets_in_within_the_deadline),
        cmocka_unit_test(a_peer_that_trickles_beyond_the_deadline_is_refused),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(a_flood_of_warnings_ends_the_stream),
        cmocka_unit_test(a_peer_that_leaves_without_a_word_is_truncated),
    };
    size_t n = 0;
    assert_ok(gs_tls_register());
    for (int i = 0; i < WRONGS; i++)
        tests[n++] = (struct CMUnitTest){wrongs[i].name, run_wrong, NULL, NULL, (void *)(uintptr_t)&wrongs[i]};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        tests[n++] = others[i];
    int failed = _cmocka_run_group_tests("tls_zoo_handshakes", tests, n, NULL, NULL);
    if (own.cert)
        pki_free(&own);
    return failed;
}
