/* TLS as a program meets it: what was negotiated, who the peer is, certificates by name, sessions, key updates, reloads. Both ends
 * are gensock's. runner: tsan */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "tls_meet.h"

static gs_connection_information information(gs_stream s)
{
    gs_connection_information i;
    assert_ok(gs_stream_connection_information(s, &i));
    return i;
}

/* ---- what was negotiated ---- */

static void both_ends_know_what_was_negotiated(void **state)
{
    (void)state;
    static const struct {
        int version;
        const char *text;
    } versions[] = {{GS_TLS_1_2, "TLSv1.2"}, {GS_TLS_1_3, "TLSv1.3"}};
    for (int i = 0; i < 2; i++) {
        struct pair p;
        open_pair(&p, GS_OPTS(GS_STR(TLS_ALPN, "b,a")),
                  GS_OPTS(GS_STR(TLS_ALPN, "a,b,c"), GS_INT(TLS_MAX_VERSION, versions[i].version)));
        gs_stream both[] = {p.client, p.server};
        for (int k = 0; k < 2; k++) {
            gs_connection_information now = information(both[k]);
            char protocol[8];
            assert_string_equal(now.version, versions[i].text);
            assert_true(strstr(now.cipher, "GCM") || strstr(now.cipher, "CHACHA20"));
            assert_string_equal(now.server_name, "gensock.test");
            assert_false(now.resumed);
            assert_code(gs_stream_negotiated_protocol(both[k], protocol, sizeof protocol), 1);
            assert_string_equal(protocol, "b"); /* the server's choice */
            assert_true(gs_stream_secure(both[k]));
        }
        pass(p.client, p.server, "ping");
        pass(p.server, p.client, "pong");
        close_pair(&p);
    }
}

static void without_protocols_none_is_negotiated(void **state)
{
    (void)state;
    struct pair p;
    char protocol[8];
    open_pair(&p, NULL, GS_OPTS(GS_STR(TLS_ALPN, "a")));
    assert_code(gs_stream_negotiated_protocol(p.client, protocol, sizeof protocol), GS_ENOPROTO);
    assert_code(gs_stream_negotiated_protocol(p.server, protocol, sizeof protocol), GS_ENOPROTO);
    close_pair(&p);
}

static void a_version_that_the_other_lacks_is_refused(void **state)
{
    (void)state;
    struct pair p = {0};
    listen_with(&p, GS_OPTS(GS_INT(TLS_MIN_VERSION, GS_TLS_1_3)));
    assert_code(meet(&p, GS_OPTS(GS_INT(TLS_MAX_VERSION, GS_TLS_1_2))), GS_EALERT);
    assert_code(p.code, GS_EALERT);
    assert_string_equal(p.detail, "received protocol_version");
    close_pair(&p);
}

/* ---- who the peer is ---- */

static void assert_peer(gs_stream s, gs_peer_kind kind, const char *subject)
{
    const gs_peer *peer;
    assert_ok(gs_stream_peer(s, &peer));
    assert_int_equal(peer->kind, kind);
    if (subject)
        assert_string_equal(peer->subject, subject);
    gs_peer_free(peer);
}

static void assert_cert(gs_stream s, const char *file)
{
    uint8_t der[4096], *expected = NULL;
    BIO *f = BIO_new_file(file, "r");
    X509 *cert = PEM_read_bio_X509(f, NULL, NULL, NULL);
    int n = i2d_X509(cert, &expected);
    assert_code(gs_stream_peercert(s, der, sizeof der), n);
    assert_memory_equal(der, expected, (size_t)n);
    assert_code(gs_stream_peercert(s, NULL, 0), n); /* the size alone */
    OPENSSL_free(expected);
    X509_free(cert);
    BIO_free(f);
}

static void a_client_certificate_names_the_client(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, GS_OPTS(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE), GS_STR(TLS_CA_FILE, ca_file)),
              GS_OPTS(GS_STR(TLS_CERT_FILE, client_id.cert), GS_STR(TLS_KEY_FILE, client_id.key)));
    assert_peer(p.server, GS_PEER_TLS, "somebody@gensock.test");
    assert_peer(p.client, GS_PEER_TLS, "gensock.test");
    assert_cert(p.server, client_id.cert);
    assert_cert(p.client, server_id.cert);
    close_pair(&p);
}

static void a_client_without_certificate_is_unnamed_or_refused(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, GS_OPTS(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_PEER), GS_STR(TLS_CA_FILE, ca_file)), NULL);
    assert_peer(p.server, GS_PEER_UNIX, NULL); /* what is below knows it */
    assert_code(gs_stream_peercert(p.server, NULL, 0), GS_ENOTSECURE);
    close_pair(&p);
    p = (struct pair){0};
    listen_with(&p, GS_OPTS(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE), GS_STR(TLS_CA_FILE, ca_file)));
    assert_code(meet(&p, NULL), GS_EALERT);
    char got[4];
    if (p.code == 0) /* a client of TLS 1.3 is done before the server has looked */
        p.code = (int)gs_stream_recv(p.client, got, sizeof got, 0, WAIT);
    assert_code(p.code, GS_EALERT);
    close_pair(&p);
}

static void without_verification_nobody_is_named(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, NULL, GS_OPTS(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_NONE), GS_STR(TLS_SERVER_NAME, "nobody.test")));
    assert_peer(p.client, GS_PEER_UNIX, NULL);
    assert_cert(p.client, server_id.cert);
    assert_true(gs_stream_secure(p.client));
    close_pair(&p);
}

static void the_name_that_is_asked_for_chooses_the_certificate(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool other;
    } names[] = {{"gensock.test", false}, {"other.test", true}, {"a.wild.test", true}, {"b.wild.test", true}};
    struct pair p = {0};
    listen_with(&p, GS_OPTS(GS_STR(TLS_CERT_FILE, other_id.cert), GS_STR(TLS_KEY_FILE, other_id.key)));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_ok(meet(&p, GS_OPTS(GS_STR(TLS_SERVER_NAME, names[i].name))));
        assert_ok(p.code);
        assert_cert(p.client, names[i].other ? other_id.cert : server_id.cert);
        assert_peer(p.client, GS_PEER_TLS, names[i].name);
        part(&p);
    }
    assert_code(meet(&p, GS_OPTS(GS_STR(TLS_SERVER_NAME, "none.test"))), GS_EALERT); /* gets the first, and refuses it */
    assert_code(p.code, GS_EALERT);
    close_pair(&p);
}

/* ---- options ---- */

static void what_cannot_be_right_is_told_before_anything_is_opened(void **state)
{
    (void)state;
    gs_stream s;
    const char *garbage = temp_path("garbage.pem");
    FILE *f = fopen(garbage, "we");
    assert_non_null(f);
    fputs("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", f);
    fclose(f);
    const struct {
        gs_opt o[4];
        int code;
        const char *detail;
    } listens[] = {
        {{{0}}, -EINVAL, "tls_cert_file is missing"},
        {{GS_STR(TLS_CERT_FILE, "/nowhere/x.pem")}, -ENOENT, "/nowhere/x.pem"},
        {{GS_STR(TLS_CERT_FILE, "/")}, -EINVAL, "no regular file"},
        {{GS_STR(TLS_CERT_FILE, garbage)}, -EINVAL, "garbage.pem"},
        {{GS_STR(TLS_CERT_FILE, server_id.cert)}, -EINVAL, "no PEM private key"},
        {{GS_STR(TLS_CERT_FILE, server_id.cert), GS_STR(TLS_KEY_FILE, other_id.key)}, -EINVAL, "is not the key of"},
        {{GS_STR(TLS_KEY_FILE, server_id.key)}, -EINVAL, "stands behind"},
        {{GS_STR(TLS_CERT_FILE, "")}, -EINVAL, "empty"},
        {{GS_INT(TLS_VERIFY, 3)}, -EINVAL, "tls_verify"},
        {{GS_INT(TLS_MIN_VERSION, 0x0302)}, -EINVAL, "tls_min_version"},
        {{GS_INT(TLS_MIN_VERSION, GS_TLS_1_3), GS_INT(TLS_MAX_VERSION, GS_TLS_1_2)}, -EINVAL, "above"},
        {{GS_STR(TLS_ALPN, "a,,b")}, -EINVAL, "tls_alpn"},
        {{GS_INT(TLS_KEY_UPDATE, 1)}, -EINVAL, "tls_key_update"},
    };
    for (size_t i = 0; i < sizeof listens / sizeof *listens; i++) {
        assert_code(gs_stream_listen(&s, "tls://127.0.0.1:0", listens[i].o, GS_NO_MAILBOX), listens[i].code);
        if (!strstr(gs_error_detail(listens[i].code), listens[i].detail))
            fail_msg("\"%s\" does not say \"%s\"", gs_error_detail(listens[i].code), listens[i].detail);
    }
    assert_code(gs_stream_connect(&s, "tls+unix:///nowhere", NULL, GS_NO_MAILBOX, WAIT), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), "tls_server_name"));
    assert_code(gs_stream_connect(&s, "tls://localhost:1", GS_OPTS(GS_STR(TLS_CA_FILE, "/nowhere/ca")), GS_NO_MAILBOX, WAIT), -ENOENT);
}

/* ---- sessions ---- */

/* TLS 1.3's tickets come behind the handshake. */
static bool resumed(struct pair *p, const gs_opt *more)
{
    assert_ok(meet(p, more));
    assert_ok(p->code);
    pass(p->server, p->client, "ticket");
    gs_connection_information at_client = information(p->client), at_server = information(p->server);
    assert_int_equal(at_client.resumed, at_server.resumed);
    if (at_client.resumed) {
        assert_peer(p->client, GS_PEER_TLS, at_client.server_name);
        assert_cert(p->client, server_id.cert);
    }
    part(p);
    return at_client.resumed;
}

static void the_second_connection_resumes_the_first(void **state)
{
    (void)state;
    for (int version = GS_TLS_1_2; version <= GS_TLS_1_3; version++) {
        struct pair p = {0};
        const gs_opt *o = GS_OPTS(GS_INT(TLS_MAX_VERSION, version));
        listen_with(&p, NULL);
        assert_false(resumed(&p, o));
        for (int i = 0; i < 5; i++)
            assert_true(resumed(&p, o));
        assert_false(resumed(&p, GS_OPTS(GS_INT(TLS_MAX_VERSION, version), GS_INT(TLS_RESUME, 0))));
        gs_stream_close(p.listener);
    }
}

static void a_session_is_only_for_who_made_it(void **state)
{
    (void)state;
    struct pair p = {0};
    struct identity both = identity("both-id", "both", "DNS:gensock.test,DNS:other.test");
    server_id.cert = both.cert;
    server_id.key = both.key;
    listen_with(&p, NULL);
    assert_false(resumed(&p, NULL));
    assert_true(resumed(&p, NULL));
    assert_false(resumed(&p, GS_OPTS(GS_STR(TLS_SERVER_NAME, "other.test"))));    /* another name */
    assert_false(resumed(&p, GS_OPTS(GS_STR(TLS_ALPN, "x"))));                    /* other options */
    assert_ok(meet(&p, GS_OPTS(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_NONE))));         /* what was not verified … */
    pass(p.server, p.client, "ticket");
    part(&p);
    assert_true(resumed(&p, NULL)); /* … is not resumed as verified: this one is the first's */
    gs_stream_close(p.listener);
    server_id = identity("server-id", "server", "DNS:gensock.test");
}

static void a_server_that_offers_none_is_not_resumed(void **state)
{
    (void)state;
    struct pair p = {0};
    listen_with(&p, GS_OPTS(GS_INT(TLS_RESUME, 0)));
    assert_false(resumed(&p, NULL));
    assert_false(resumed(&p, NULL));
    gs_stream_close(p.listener);
}

/* ---- new keys ---- */

static void keys_are_renewed_in_the_middle_of_traffic(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, NULL, NULL);
    for (int i = 0; i < 20; i++) {
        gs_stream from = i & 1 ? p.client : p.server;
        assert_ok(gs_stream_setopts(from, GS_OPTS(GS_INT(TLS_KEY_UPDATE, i & 2))));
        pass(p.client, p.server, "to the server");
        pass(p.server, p.client, "to the client");
    }
    close_pair(&p);
    open_pair(&p, NULL, GS_OPTS(GS_INT(TLS_MAX_VERSION, GS_TLS_1_2)));
    assert_code(gs_stream_setopts(p.client, GS_OPTS(GS_INT(TLS_KEY_UPDATE, 1))), -ENOTSUP);
    assert_code(gs_stream_setopts(p.client, GS_OPTS(GS_INT(TLS_VERIFY, 0))), -EINVAL);
    pass(p.client, p.server, "still");
    close_pair(&p);
}

/* ---- new files ---- */

static void copy_file(const char *from, const char *to)
{
    char text[8192], fresh[128];
    FILE *in = fopen(from, "re");
    assert_non_null(in);
    size_t n = fread(text, 1, sizeof text, in);
    fclose(in);
    snprintf(fresh, sizeof fresh, "%s.new", to);
    FILE *out = fopen(fresh, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, n, out), n);
    fclose(out);
    assert_int_equal(rename(fresh, to), 0);
}

static bool serves(struct pair *p, const char *cert)
{
    uint8_t der[4096];
    assert_ok(meet(p, GS_OPTS(GS_INT(TLS_RESUME, 0))));
    assert_ok(p->code);
    ssize_t n = assert_ok(gs_stream_peercert(p->client, der, sizeof der));
    BIO *f = BIO_new_file(cert, "r");
    X509 *wanted = PEM_read_bio_X509(f, NULL, NULL, NULL);
    const uint8_t *at = der;
    X509 *got = d2i_X509(NULL, &at, n);
    bool same = X509_cmp(got, wanted) == 0;
    X509_free(got);
    X509_free(wanted);
    BIO_free(f);
    part(p);
    return same;
}

static void a_changed_certificate_is_served_from_the_next_connection_on(void **state)
{
    (void)state;
    struct identity now = identity("now", "now", "DNS:gensock.test"), next = identity("next", "next", "DNS:gensock.test");
    struct identity kept = {.cert = strdup(now.cert), .key = strdup(now.key)};
    struct identity was = server_id;
    server_id = kept;
    struct pair p = {0}, old = {0};
    listen_with(&p, NULL);
    assert_true(serves(&p, kept.cert));
    old = p;
    assert_ok(meet(&old, NULL));
    copy_file(next.key, kept.key); /* not its certificate's: what is in use stays */
    assert_code(gs_tls_reload(), -EINVAL);
    assert_non_null(strstr(gs_error_detail(-EINVAL), "is not the key of"));
    assert_ok(meet(&p, NULL));
    part(&p);
    copy_file(next.cert, kept.cert);
    assert_until(serves(&p, next.cert), WAIT); /* without a word, within a second or so */
    assert_ok(gs_tls_reload());
    pass(old.client, old.server, "the old connection goes on");
    part(&old);
    gs_stream_close(p.listener);
    server_id = was;
    free((void *)(uintptr_t)kept.cert);
    free((void *)(uintptr_t)kept.key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_know_what_was_negotiated),
        cmocka_unit_test(without_protocols_none_is_negotiated),
        cmocka_unit_test(a_version_that_the_other_lacks_is_refused),
        cmocka_unit_test(a_client_certificate_names_the_client),
        cmocka_unit_test(a_client_without_certificate_is_unnamed_or_refused),
        cmocka_unit_test(without_verification_nobody_is_named),
        cmocka_unit_test(the_name_that_is_asked_for_chooses_the_certificate),
        cmocka_unit_test(what_cannot_be_right_is_told_before_anything_is_opened),
        cmocka_unit_test(the_second_connection_resumes_the_first),
        cmocka_unit_test(a_session_is_only_for_who_made_it),
        cmocka_unit_test(a_server_that_offers_none_is_not_resumed),
        cmocka_unit_test(keys_are_renewed_in_the_middle_of_traffic),
        cmocka_unit_test(a_changed_certificate_is_served_from_the_next_connection_on),
    };
    return cmocka_run_group_tests(tests, make_identities, free_identities);
}
