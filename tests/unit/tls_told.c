/* What a handshake told, by the calls of ThousandIsland.Transport: protocol, certificate, version and names; which certificate
 * a server chose; and when a session is resumed. */
#include <errno.h>
#include <openssl/pem.h>
#include <string.h>

#include "tls_pair.h"

static gs_connection_information information(gs_stream s)
{
    gs_connection_information i;
    assert_ok(gs_stream_connection_information(s, &i));
    return i;
}

static void alpn_chooses_what_the_client_offers_and_the_server_has(void **state)
{
    (void)state;
    struct tls_pair p;
    char name[16];
    tls_pair_open(&p, TLS_CLIENT(GS_STR(TLS_ALPN, "h2,http/1.1")), TLS_SERVER(GS_STR(TLS_ALPN, "imap,http/1.1")));
    assert_code(gs_stream_negotiated_protocol(p.client, name, sizeof name), 8);
    assert_string_equal(name, "http/1.1");
    assert_code(gs_stream_negotiated_protocol(p.server, name, 5), 8);
    assert_string_equal(name, "http");
    tls_part(&p);
    tls_meet(&p, TLS_CLIENT(NO_MORE)); /* a client that offers nothing is let in */
    assert_code(p.accepted, 0);
    assert_code(gs_stream_negotiated_protocol(p.client, name, sizeof name), GS_ENOPROTO);
    assert_code(gs_stream_negotiated_protocol(p.server, name, sizeof name), GS_ENOPROTO);
    tls_part(&p);
    tls_meet(&p, TLS_CLIENT(GS_STR(TLS_ALPN, "smtp")));
    assert_code(p.accepted, GS_EALERT);
    assert_non_null(strstr(p.server_detail, "sent no_application_protocol"));
    assert_code(p.connected, GS_EALERT);
    assert_non_null(strstr(p.client_detail, "received no_application_protocol"));
    tls_pair_close(&p);
}

static void a_plain_stream_says_so(void **state)
{
    (void)state;
    gs_stream listener, s;
    uint8_t der[16];
    char name[16];
    gs_connection_information i;
    assert_ok(gs_stream_listen(&listener, "mem://plain", NULL, GS_NO_MAILBOX));
    assert_ok(gs_stream_connect(&s, "mem://plain", NULL, GS_NO_MAILBOX, TLS_WAIT_MS));
    assert_false(gs_stream_secure(s));
    assert_code(gs_stream_peercert(s, der, sizeof der), GS_ENOTSECURE);
    assert_code(gs_stream_connection_information(s, &i), GS_ENOTSECURE);
    assert_code(gs_stream_negotiated_protocol(s, name, sizeof name), GS_ENOPROTO);
    assert_code(gs_stream_handshake(s, TLS_WAIT_MS), 0);
    gs_stream_close(s);
    gs_stream_close(listener);
}

static void assert_peercert(gs_stream s, const char *pem)
{
    FILE *f = fopen(pem, "re");
    assert_non_null(f);
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    uint8_t *wanted = NULL, got[4096];
    int n = i2d_X509(cert, &wanted);
    assert_true(n > 0);
    assert_code(gs_stream_peercert(s, got, sizeof got), n);
    assert_memory_equal(got, wanted, (size_t)n);
    memset(got, 0xee, sizeof got);
    assert_code(gs_stream_peercert(s, got, 10), n); /* as far as cap */
    assert_memory_equal(got, wanted, 10);
    assert_int_equal(got[10], 0xee);
    OPENSSL_free(wanted);
    X509_free(cert);
}

static void assert_peer(gs_stream s, gs_peer_kind kind, const char *subject)
{
    const gs_peer *peer;
    assert_ok(gs_stream_peer(s, &peer));
    assert_int_equal(peer->kind, kind);
    if (subject)
        assert_string_equal(peer->subject, subject);
    else
        assert_null(peer->subject);
    gs_peer_free(peer);
}

static void each_end_tells_who_the_other_is(void **state)
{
    (void)state;
    const struct pki_files *f = pki_default();
    struct tls_pair p;
    struct pki_cert ca = pki_make(&(struct pki_spec){.cn = "clients", .ca = true}, NULL);
    struct pki_cert me = pki_make(&(struct pki_spec){.cn = "me", .san = "DNS:client.test"}, &ca);
    const char *ca_file = pki_cert_file("clients.pem", (const struct pki_cert *const[]){&ca}, 1);
    const char *cert = pki_cert_file("me.pem", (const struct pki_cert *const[]){&me}, 1), *key = pki_key_file("me.key", &me);
    tls_pair_open(&p, TLS_CLIENT(GS_STR(TLS_CERT_FILE, cert), GS_STR(TLS_KEY_FILE, key), GS_STR(TLS_SERVER_NAME, "gensock.test")),
                  TLS_SERVER(GS_STR(TLS_CA_FILE, ca_file), GS_INT(TLS_VERIFY, GS_TLS_VERIFY_PEER)));
    assert_true(gs_stream_secure(p.client) && gs_stream_secure(p.server));
    assert_peercert(p.client, f->cert);
    assert_peercert(p.server, cert);
    assert_peer(p.client, GS_PEER_TLS, "gensock.test");
    assert_peer(p.server, GS_PEER_TLS, "client.test");
    gs_connection_information i = information(p.server);
    assert_string_equal(i.version, "TLSv1.3");
    assert_memory_equal(i.cipher, "TLS_", 4);
    assert_string_equal(i.server_name, "gensock.test");
    assert_false(i.resumed);
    tls_part(&p);
    /* Without a certificate: let in, unnamed. And a client that does not verify does not name. */
    tls_meet(&p, GS_OPTS(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_NONE), GS_INT(TLS_MAX_VERSION, GS_TLS_1_2)));
    assert_code(p.accepted, 0);
    assert_peer(p.server, GS_PEER_UNKNOWN, NULL);
    assert_peer(p.client, GS_PEER_UNKNOWN, NULL);
    uint8_t der[8];
    assert_true(gs_stream_peercert(p.server, der, sizeof der) <= 0);
    assert_peercert(p.client, f->cert); /* it may be looked at all the same */
    assert_string_equal(information(p.client).version, "TLSv1.2");
    tls_pair_close(&p);
    pki_free(&me);
    pki_free(&ca);
}

static void sni_chooses_the_certificate(void **state)
{
    (void)state;
    struct pki_cert ca = pki_make(&(struct pki_spec){.cn = "sni CA", .ca = true}, NULL);
    struct pki_cert a = pki_make(&(struct pki_spec){.san = "DNS:a.test"}, &ca),
                    b = pki_make(&(struct pki_spec){.san = "DNS:*.b.test"}, &ca);
    struct pki_cert c = pki_make(&(struct pki_spec){.san = "DNS:c.test", .rsa_bits = 2048}, &ca);
    const char *file[3] = {pki_cert_file("sni-a.pem", (const struct pki_cert *const[]){&a}, 1),
                           pki_cert_file("sni-b.pem", (const struct pki_cert *const[]){&b}, 1),
                           pki_cert_file("sni-c.pem", (const struct pki_cert *const[]){&c}, 1)};
    struct tls_pair p;
    tls_listen(&p, GS_OPTS(GS_STR(TLS_CERT_FILE, file[0]), GS_STR(TLS_KEY_FILE, pki_key_file("sni-a.key", &a)),
                           GS_STR(TLS_CERT_FILE, file[1]), GS_STR(TLS_KEY_FILE, pki_key_file("sni-b.key", &b)),
                           GS_STR(TLS_CERT_FILE, file[2]), GS_STR(TLS_KEY_FILE, pki_key_file("sni-c.key", &c))));
    const char *trust = pki_cert_file("sni-ca.pem", (const struct pki_cert *const[]){&ca}, 1);
    static const struct {
        const char *name;
        int chosen;
        bool verified;
    } rows[] = {{"a.test", 0, true}, {"x.b.test", 1, true}, {"c.test", 2, true}, {"y.x.b.test", 0, false}, {"none.test", 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int version = GS_TLS_1_2; version <= GS_TLS_1_3; version++) {
            tls_meet(&p, GS_OPTS(GS_STR(TLS_CA_FILE, trust), GS_STR(TLS_SERVER_NAME, rows[i].name), GS_INT(TLS_MAX_VERSION, version)));
            assert_code(p.connected, rows[i].verified ? 0 : GS_EALERT);
            if (rows[i].verified) {
                assert_peercert(p.client, file[rows[i].chosen]);
                assert_string_equal(information(p.server).server_name, rows[i].name);
            }
            tls_part(&p);
        }
    tls_meet(&p, GS_OPTS(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_NONE))); /* an address is no SNI: the first */
    assert_code(p.connected, 0);
    assert_peercert(p.client, file[0]);
    assert_string_equal(information(p.server).server_name, "");
    tls_pair_close(&p);
    pki_free(&a);
    pki_free(&b);
    pki_free(&c);
    pki_free(&ca);
}

/* One connection that also takes the tickets; whether both ends say that it was resumed. */
static bool resumed(struct tls_pair *p, const gs_opt *client)
{
    tls_meet(p, client);
    assert_code(p->connected, 0);
    assert_code(p->accepted, 0);
    tls_carry(p->server, p->client, 100);
    tls_carry(p->client, p->server, 100);
    bool r = information(p->client).resumed;
    assert_int_equal(information(p->server).resumed, r);
    assert_peer(p->client, GS_PEER_TLS, "gensock.test");
    assert_peercert(p->client, pki_default()->cert);
    tls_part(p);
    return r;
}

static void a_second_connection_resumes(void **state)
{
    (void)state;
    for (int version = GS_TLS_1_2; version <= GS_TLS_1_3; version++) {
        struct tls_pair p;
        const gs_opt *client = TLS_CLIENT(GS_STR(TLS_SERVER_NAME, "gensock.test"), GS_INT(TLS_MAX_VERSION, version));
        tls_listen(&p, TLS_SERVER(NO_MORE));
        assert_false(resumed(&p, client));
        assert_true(resumed(&p, client));
        assert_true(resumed(&p, client));
        assert_ok(gs_tls_reload()); /* the client's trust may be another now; the server's tickets stay good */
        assert_false(resumed(&p, client));
        assert_true(resumed(&p, client));
        tls_pair_close(&p);
    }
}

static void without_resume_there_is_none(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++)
        for (int version = GS_TLS_1_2; version <= GS_TLS_1_3; version++) {
            struct tls_pair p;
            const gs_opt *client = TLS_CLIENT(GS_STR(TLS_SERVER_NAME, "gensock.test"), GS_INT(TLS_MAX_VERSION, version),
                                              GS_INT(TLS_RESUME, who == 0));
            tls_listen(&p, TLS_SERVER(GS_INT(TLS_RESUME, who == 1)));
            for (int i = 0; i < 3; i++)
                assert_false(resumed(&p, client));
            tls_pair_close(&p);
        }
}

/* A session made with one name, trust or mode says nothing about another. */
static void a_session_does_not_cross_names_trust_or_modes(void **state)
{
    (void)state;
    const struct pki_files *f = pki_default();
    struct pki_cert other = pki_make(&(struct pki_spec){.cn = "other CA", .ca = true}, NULL);
    const char *other_ca = pki_cert_file("other-ca.pem", (const struct pki_cert *const[]){&other}, 1);
    for (int version = GS_TLS_1_2; version <= GS_TLS_1_3; version++) {
        struct tls_pair p;
        tls_listen(&p, TLS_SERVER(NO_MORE));
        tls_meet(&p, GS_OPTS(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_NONE), GS_STR(TLS_SERVER_NAME, "gensock.test"),
                             GS_INT(TLS_MAX_VERSION, version)));
        tls_carry(p.server, p.client, 10);
        tls_part(&p);
        assert_false(resumed(&p, GS_OPTS(GS_STR(TLS_CA_FILE, f->ca), GS_STR(TLS_SERVER_NAME, "gensock.test"), GS_INT(TLS_MAX_VERSION, version))));
        tls_meet(&p,
                 GS_OPTS(GS_STR(TLS_CA_FILE, f->ca), GS_STR(TLS_SERVER_NAME, "wrong.test"), GS_INT(TLS_MAX_VERSION, version)));
        assert_code(p.connected, GS_EALERT);
        tls_part(&p);
        tls_meet(&p, GS_OPTS(GS_STR(TLS_CA_FILE, other_ca), GS_STR(TLS_SERVER_NAME, "gensock.test"),
                             GS_INT(TLS_MAX_VERSION, version)));
        assert_code(p.connected, GS_EALERT);
        assert_non_null(strstr(p.client_detail, "unknown_ca"));
        tls_part(&p);
        tls_meet(&p, GS_OPTS(GS_STR(TLS_CA_FILE, f->ca), GS_STR(TLS_SERVER_NAME, "localhost"), GS_INT(TLS_MAX_VERSION, version)));
        assert_code(p.connected, 0);
        assert_false(information(p.client).resumed);
        tls_pair_close(&p);
    }
    pki_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alpn_chooses_what_the_client_offers_and_the_server_has),
        cmocka_unit_test(a_plain_stream_says_so),
        cmocka_unit_test(each_end_tells_who_the_other_is),
        cmocka_unit_test(sni_chooses_the_certificate),
        cmocka_unit_test(a_second_connection_resumes),
        cmocka_unit_test(without_resume_there_is_none),
        cmocka_unit_test(a_session_does_not_cross_names_trust_or_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
