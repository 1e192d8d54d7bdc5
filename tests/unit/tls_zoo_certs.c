/* The zoo of certificates: each is refused with its alert, by whichever side verifies, in TLS 1.3 and in 1.2, and no byte of the
 * program's crosses; the good ones among them get in. The far end is OpenSSL without any caution. */
#include <errno.h>
#include <gensock/tls.h>
#include <string.h>

#include "support.h"
#include "tls_peer.h"

enum { NO_INTERMEDIATE = 2, SELF_SIGNED = 4, OTHER_ROOT = 8, SWAPPED = 16, SERVER_ONLY = 32, CLIENT_ONLY = 64,
       TRUST_LEAF = 128, NO_CERT = 256, DOUBLE_LEAF = 512, SAME_NAME = 1024, STOLEN = 2048, TOO_LONG = 4096,
       ONLY_1_3 = 8192 };

#define HOST "good.test"
#define GOOD .cn = "leaf", .san = "DNS:good.test,IP:127.0.0.1,IP:::1"
#define CA .cn = "CA", .ca = true
#define MID .cn = "intermediate", .ca = true

struct row {
    const char *name;
    const char *alert; /* that the verifier sends; NULL: it is let in */
    struct pki_spec leaf, mid, root;
    unsigned flags;
    const char *host; /* NULL: HOST */
};

static const char big[130000]; /* more than OpenSSL takes of all certificates together */

/* clang-format off */
static const struct row rows[] = {
    /* controls */
    {"good", NULL, {GOOD}, {0}, {CA}},
    {"good with an intermediate", NULL, {GOOD}, {MID}, {CA}},
    {"good RSA", NULL, {GOOD, .rsa_bits = 2048}, {0}, {CA}},
    {"good P-384 and SHA-384", NULL, {GOOD, .curve = "P-384", .digest = "SHA384"}, {0}, {CA}},
    {"upper case in the name asked for", NULL, {GOOD}, {0}, {CA}, 0, "GOOD.Test"},
    {"a trailing dot in the name asked for", NULL, {GOOD}, {0}, {CA}, 0, "good.test."},
    {"wildcard", NULL, {.san = "DNS:*.good.test"}, {0}, {CA}, 0, "a.good.test"},
    {"IPv4 address", NULL, {GOOD}, {0}, {CA}, 0, "127.0.0.1"},
    {"IPv6 address", NULL, {GOOD}, {0}, {CA}, 0, "::1"},
    {"permitted by name constraints", NULL, {GOOD}, {MID, .names = "critical,permitted;DNS:good.test,permitted;IP:127.0.0.0/255.0.0.0,permitted;IP:::/::"}, {CA}},
    {"no extended key usage at all", NULL, {GOOD, .eku = ""}, {0}, {CA}},
    {"any extended key usage beside", NULL, {GOOD, .eku = "serverAuth,clientAuth,codeSigning"}, {0}, {CA}},
    {"a path as long as allowed", NULL, {GOOD}, {MID}, {CA, .constraints = "critical,CA:TRUE,pathlen:1"}},
    {"the leaf sent twice", NULL, {GOOD}, {0}, {CA}, DOUBLE_LEAF},
    {"self-signed and trusted itself", NULL, {GOOD, .usage = "critical,digitalSignature,keyCertSign", .constraints = "critical,CA:TRUE"}, {0}, {CA}, SELF_SIGNED | TRUST_LEAF},
    {"an A-label", NULL, {.san = "DNS:xn--bcher-kva.test"}, {0}, {CA}, 0, "xn--bcher-kva.test"},
    {"the right name among others", NULL, {.san = "DNS:a.test,email:a@a.test,DNS:good.test,DNS:b.test"}, {0}, {CA}},
    /* times */
    {"expired", "certificate_expired", {GOOD, .days = -1}, {0}, {CA}},
    {"not yet valid", "bad_certificate", {GOOD, .from_s = 7200}, {0}, {CA}},
    {"expired intermediate", "certificate_expired", {GOOD}, {MID, .days = -1}, {CA}},
    {"intermediate not yet valid", "bad_certificate", {GOOD}, {MID, .from_s = 7200}, {CA}},
    {"expired root", "certificate_expired", {GOOD}, {0}, {CA, .days = -1}},
    {"over since a second", "certificate_expired", {GOOD, .from_s = -86401}, {0}, {CA}},
    /* trust */
    {"unknown CA", "unknown_ca", {GOOD}, {0}, {CA}, OTHER_ROOT},
    {"unknown CA of the same name", "unknown_ca", {GOOD}, {MID}, {CA}, OTHER_ROOT | SAME_NAME},
    {"self-signed", "unknown_ca", {GOOD}, {0}, {CA}, SELF_SIGNED},
    {"missing intermediate", "unknown_ca", {GOOD}, {MID}, {CA}, NO_INTERMEDIATE},
    {"intermediate before the leaf", "unsupported_certificate", {GOOD}, {MID}, {CA}, SWAPPED | ONLY_1_3},
    {"intermediate that is no CA", "unknown_ca", {GOOD}, {MID, .constraints = "critical,CA:FALSE"}, {CA}},
    {"intermediate without basic constraints", "unknown_ca", {GOOD}, {MID, .constraints = ""}, {CA}},
    {"intermediate that may not sign", "unknown_ca", {GOOD}, {MID, .usage = "critical,digitalSignature"}, {CA}},
    {"intermediate of version 1", "unknown_ca", {GOOD}, {.cn = "intermediate", .v1 = true}, {CA}},
    {"root that may not sign", "unknown_ca", {GOOD}, {MID}, {CA, .usage = "critical,digitalSignature"}},
    {"root that is no CA", "unknown_ca", {GOOD}, {MID}, {CA, .constraints = "critical,CA:FALSE"}},
    {"path longer than allowed", "unknown_ca", {GOOD}, {MID}, {CA, .constraints = "critical,CA:TRUE,pathlen:0"}},
    {"issuer's name is another", "unknown_ca", {GOOD, .issued_by = "who"}, {0}, {CA}},
    /* signatures and keys */
    {"broken signature", "decrypt_error", {GOOD, .broken = true}, {0}, {CA}},
    {"broken signature of the intermediate", "decrypt_error", {GOOD}, {MID, .broken = true}, {CA}},
    {"signed with SHA-1", "bad_certificate", {GOOD, .digest = "SHA1"}, {0}, {CA}},
    {"signed with MD5", "bad_certificate", {GOOD, .digest = "MD5"}, {0}, {CA, .rsa_bits = 2048}},
    {"intermediate signed with SHA-1", "bad_certificate", {GOOD}, {MID, .digest = "SHA1"}, {CA}},
    {"RSA of 1024 bits", "bad_certificate", {GOOD, .rsa_bits = 1024}, {0}, {CA}},
    {"intermediate with RSA of 1024 bits", "bad_certificate", {GOOD}, {MID, .rsa_bits = 1024}, {CA}},
    {"root with RSA of 1024 bits", "bad_certificate", {GOOD}, {0}, {CA, .rsa_bits = 1024}},
    {"without its key", "decrypt_error", {GOOD}, {0}, {CA}, STOLEN},
    {"longer than any should be", "illegal_parameter", {.raw_dns = big, .raw_n = sizeof big}, {0}, {CA}, TOO_LONG},
    /* purposes */
    {"for clients only", "unsupported_certificate", {GOOD, .eku = "clientAuth"}, {0}, {CA}, SERVER_ONLY},
    {"for servers only", "unsupported_certificate", {GOOD, .eku = "serverAuth"}, {0}, {CA}, CLIENT_ONLY},
    {"for code only", "unsupported_certificate", {GOOD, .eku = "codeSigning"}, {0}, {CA}},
    {"key that may not sign handshakes", "unsupported_certificate", {GOOD, .usage = "critical,keyCertSign"}, {0}, {CA}, ONLY_1_3},
    {"intermediate for code only", "unsupported_certificate", {GOOD}, {MID, .eku = "codeSigning"}, {CA}},
    {"unknown critical extension", "certificate_unknown", {GOOD, .critical = true}, {0}, {CA}},
    {"unknown critical extension of the intermediate", "certificate_unknown", {GOOD}, {MID, .critical = true}, {CA}},
    /* name constraints */
    {"outside permitted names", "certificate_unknown", {GOOD}, {MID, .names = "critical,permitted;DNS:other.test"}, {CA}},
    {"among excluded names", "certificate_unknown", {GOOD}, {MID, .names = "critical,excluded;DNS:good.test"}, {CA}},
    {"among excluded addresses", "certificate_unknown", {GOOD}, {MID, .names = "critical,excluded;IP:127.0.0.0/255.0.0.0"}, {CA}},
    {"excluded by the root", "certificate_unknown", {GOOD}, {MID}, {CA, .names = "critical,excluded;DNS:test"}},
    {"outside permitted addresses", "certificate_unknown", {GOOD}, {MID, .names = "critical,permitted;IP:10.0.0.0/255.0.0.0"}, {CA}},
    {"wildcard outside permitted names", "certificate_unknown", {.san = "DNS:*.good.test"}, {MID, .names = "critical,permitted;DNS:other.test"}, {CA}, SERVER_ONLY, "a.good.test"},
    /* names */
    {"another name", "bad_certificate", {.cn = HOST, .san = "DNS:bad.test"}, {0}, {CA}, SERVER_ONLY},
    {"common name only", "bad_certificate", {.cn = HOST}, {0}, {CA}, SERVER_ONLY},
    {"common name beside another kind of name", "bad_certificate", {.cn = HOST, .san = "email:a@good.test"}, {0}, {CA}, SERVER_ONLY},
    {"no name at all", "bad_certificate", {.cn = NULL}, {0}, {CA}, SERVER_ONLY},
    {"version 1 with a common name", "bad_certificate", {.cn = HOST, .v1 = true}, {0}, {CA}, SERVER_ONLY},
    {"NUL behind the name", "bad_certificate", {.raw_dns = "good.test\0.evil.test", .raw_n = 20}, {0}, {CA}, SERVER_ONLY},
    {"NUL at the end of the name", "bad_certificate", {.raw_dns = "good.test", .raw_n = 10}, {0}, {CA}, SERVER_ONLY},
    {"NUL before the name", "bad_certificate", {.raw_dns = "\0good.test", .raw_n = 10}, {0}, {CA}, SERVER_ONLY},
    {"empty DNS name", "bad_certificate", {.raw_dns = "", .raw_n = 0}, {0}, {CA}, SERVER_ONLY},
    {"longer name", "bad_certificate", {.san = "DNS:good.test.evil.test"}, {0}, {CA}, SERVER_ONLY},
    {"name within a longer label", "bad_certificate", {.san = "DNS:evilgood.test"}, {0}, {CA}, SERVER_ONLY},
    {"parent of the name", "bad_certificate", {.san = "DNS:test"}, {0}, {CA}, SERVER_ONLY},
    {"wildcard for the bare name", "bad_certificate", {.san = "DNS:*.good.test"}, {0}, {CA}, SERVER_ONLY},
    {"wildcard over two labels", "bad_certificate", {.san = "DNS:*.good.test"}, {0}, {CA}, SERVER_ONLY, "a.b.good.test"},
    {"wildcard of the top", "bad_certificate", {.san = "DNS:*.test"}, {0}, {CA}, SERVER_ONLY},
    {"wildcard alone", "bad_certificate", {.san = "DNS:*"}, {0}, {CA}, SERVER_ONLY},
    {"wildcard in the middle", "bad_certificate", {.san = "DNS:a.*.test"}, {0}, {CA}, SERVER_ONLY, "a.b.test"},
    {"part of a label as wildcard", "bad_certificate", {.san = "DNS:a*.good.test"}, {0}, {CA}, SERVER_ONLY, "ab.good.test"},
    {"wildcard for an A-label", "bad_certificate", {.san = "DNS:xn--*.good.test"}, {0}, {CA}, SERVER_ONLY, "xn--a.good.test"},
    {"two wildcards", "bad_certificate", {.san = "DNS:*.*.test"}, {0}, {CA}, SERVER_ONLY, "a.b.test"},
    {"wildcard behind a letter", "bad_certificate", {.san = "DNS:*b.good.test"}, {0}, {CA}, SERVER_ONLY, "ab.good.test"},
    {"name in letters beyond ASCII", "bad_certificate", {.raw_dns = "b\xc3\xbc" "cher.test", .raw_n = 12}, {0}, {CA}, SERVER_ONLY, "xn--bcher-kva.test"},
    {"space behind the name", "bad_certificate", {.raw_dns = "good.test ", .raw_n = 10}, {0}, {CA}, SERVER_ONLY},
    {"another's before the right one", "bad_certificate", {GOOD}, {.cn = "other", .san = "DNS:bad.test"}, {CA}, SERVER_ONLY | SWAPPED},
    {"address as a common name", "bad_certificate", {.cn = "127.0.0.1"}, {0}, {CA}, SERVER_ONLY, "127.0.0.1"},
    {"IPv4 address as a DNS name", "bad_certificate", {.san = "DNS:127.0.0.1"}, {0}, {CA}, SERVER_ONLY, "127.0.0.1"},
    {"another IPv4 address", "bad_certificate", {.san = "IP:127.0.0.2"}, {0}, {CA}, SERVER_ONLY, "127.0.0.1"},
    {"another IPv6 address", "bad_certificate", {.san = "IP:::2"}, {0}, {CA}, SERVER_ONLY, "::1"},
    {"IPv4 address mapped into IPv6", "bad_certificate", {.san = "IP:::ffff:127.0.0.1"}, {0}, {CA}, SERVER_ONLY, "127.0.0.1"},
    {"wildcard for an address", "bad_certificate", {.san = "DNS:*.0.0.1"}, {0}, {CA}, SERVER_ONLY, "127.0.0.1"},
    {"name as a URI", "bad_certificate", {.san = "URI:good.test"}, {0}, {CA}, SERVER_ONLY},
    {"no certificate", "certificate_required", {GOOD}, {0}, {CA}, CLIENT_ONLY | NO_CERT},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows };

struct chain {
    struct pki_cert root, mid, leaf;
    const char *ca; /* file that the verifier trusts */
};

static const char *trusted_file(const struct chain *c, const struct row *r)
{
    char name[24]; /* one for each row: what is trusted by a file is looked at once a second */
    snprintf(name, sizeof name, "trusted%d.pem", (int)(r - rows));
    if (r->flags & TRUST_LEAF)
        return pki_cert_file(name, (const struct pki_cert *const[]){&c->leaf}, 1);
    if (!(r->flags & OTHER_ROOT))
        return pki_cert_file(name, (const struct pki_cert *const[]){&c->root}, 1);
    struct pki_spec spec = r->root;
    if (!(r->flags & SAME_NAME))
        spec.cn = "another CA";
    struct pki_cert other = pki_make(&spec, NULL);
    const char *file = pki_cert_file(name, (const struct pki_cert *const[]){&other}, 1);
    pki_free(&other);
    return file;
}

static struct chain make_chain(const struct row *r)
{
    struct chain c = {.root = pki_make(&r->root, NULL)};
    bool has_mid = r->mid.cn;
    if (has_mid)
        c.mid = pki_make(&r->mid, &c.root);
    c.leaf = pki_make(&r->leaf, r->flags & SELF_SIGNED ? NULL : has_mid ? &c.mid : &c.root);
    c.ca = trusted_file(&c, r);
    return c;
}

static void free_chain(struct chain *c)
{
    pki_free(&c->root);
    pki_free(&c->leaf);
    if (c->mid.cert)
        pki_free(&c->mid);
}

static const struct pki_cert *stolen_from; /* the issuer; a leaf without its key has another one put in, and is signed again */

static void put_in_another_key(SSL_CTX *ctx, SSL *ssl)
{
    (void)ctx;
    X509 *cert = SSL_get_certificate(ssl);
    EVP_PKEY *other = EVP_EC_gen("P-256");
    X509_set_pubkey(cert, other);
    X509_sign(cert, stolen_from->key, EVP_sha256());
    EVP_PKEY_free(other);
}

/* One row, once: who verifies, and in which version. */
struct trial {
    const struct row *row;
    const struct chain *chain;
    bool server;
    int version, verify;
};

static struct peer_spec far_end(const struct trial *t)
{
    const struct row *r = t->row;
    const struct chain *c = t->chain;
    struct peer_spec s = {.server = !t->server, .careless = true, .min_version = t->version, .max_version = t->version};
    int n = 0;
    if (r->flags & NO_CERT)
        return s;
    if (r->flags & STOLEN)
        s.change = put_in_another_key;
    s.chain[n++] = r->flags & SWAPPED ? &c->mid : &c->leaf;
    if (r->flags & (SWAPPED | DOUBLE_LEAF))
        s.chain[n++] = &c->leaf;
    if (c->mid.cert && !(r->flags & (NO_INTERMEDIATE | SWAPPED)))
        s.chain[n++] = &c->mid;
    return s;
}

static const char *expected_alert(const struct trial *t)
{
    if (!(t->row->flags & NO_CERT))
        return t->row->alert;
    if (t->verify == GS_TLS_VERIFY_PEER)
        return NULL; /* let in, unnamed */
    return t->version == TLS1_3_VERSION ? t->row->alert : "handshake_failure"; /* RFC 5246, 7.4.6 */
}

static const char *describe(const struct trial *t)
{
    static char text[120];
    snprintf(text, sizeof text, "%s (%s verifies, TLS 1.%d)", t->row->name, t->server ? "server" : "client",
             t->version == TLS1_3_VERSION ? 3 : 2);
    return text;
}

/* A byte goes there and back. */
static void check_good(const struct trial *t, gs_stream s, int e, const char *detail)
{
    char got[8] = "";
    if (e < 0)
        fail_msg("%s: %s %s", describe(t), gs_error_name(e), detail);
    assert_true(gs_stream_secure(s));
    assert_ok(gs_stream_send(s, "ping", 4));
    assert_code(gs_stream_recv(s, got, 4, 4, 10000), 4);
    assert_memory_equal(got, "ping", 4);
}

/* The verifier's code and detail name the alert, nothing works. */
static void check_bad(const struct trial *t, gs_stream s, int e, const char *detail, const char *alert)
{
    char wanted[80];
    snprintf(wanted, sizeof wanted, "sent %s: ", alert);
    if (e != GS_EALERT || strncmp(detail, wanted, strlen(wanted)) != 0)
        fail_msg("%s: %s \"%s\", wanted %s", describe(t), gs_error_name(e), detail, alert);
    assert_false(gs_stream_secure(s));
    assert_code(gs_stream_send(s, "ping", 4), GS_ECLOSED);
}

static void run_trial(const struct trial *t)
{
    struct tls_peer p;
    char detail[400];
    const struct pki_files *own = pki_default();
    struct peer_spec far = far_end(t);
    const char *ca = t->chain->ca, *host = t->row->host ? t->row->host : HOST, *alert = expected_alert(t);
    const gs_opt *client = GS_OPTS(GS_STR(TLS_CA_FILE, ca), GS_STR(TLS_SERVER_NAME, host), GS_INT(TLS_RESUME, 0));
    const gs_opt *server = GS_OPTS(GS_STR(TLS_CERT_FILE, own->cert), GS_STR(TLS_KEY_FILE, own->key), GS_STR(TLS_CA_FILE, ca),
                                   GS_INT(TLS_VERIFY, t->verify));
    gs_stream s = peer_start(&p, &far);
    int e = upgrade_to_tls(s, t->server, t->server ? server : client, 10000, detail, sizeof detail);
    if (alert)
        check_bad(t, s, e, detail, alert);
    else
        check_good(t, s, e, detail);
    gs_stream_close(s);
    peer_join(&p);
    assert_int_equal(p.echoed, alert ? 0 : 4);
    if (alert && !(t->row->flags & TOO_LONG) && atomic_load(&p.alert_received) < 0) /* too long: it still sends */
        fail_msg("%s: the far end was not told", describe(t));
}

/* A client with a bad certificate is refused where one without any would be let in, too. */
static void run_row(void **state)
{
    const struct row *r = *state;
    struct chain c = make_chain(r);
    const struct trial trials[] = {
        {r, &c, false, TLS1_3_VERSION, GS_TLS_VERIFY_PEER},
        {r, &c, false, TLS1_2_VERSION, GS_TLS_VERIFY_PEER},
        {r, &c, true, TLS1_3_VERSION, GS_TLS_VERIFY_REQUIRE},
        {r, &c, true, TLS1_2_VERSION, GS_TLS_VERIFY_REQUIRE},
        {r, &c, true, TLS1_3_VERSION, GS_TLS_VERIFY_PEER},
    };
    stolen_from = &c.root;
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        if (r->flags & (trials[i].server ? SERVER_ONLY : CLIENT_ONLY) || (trials[i].server && r->host))
            continue;
        if (r->flags & ONLY_1_3 && trials[i].version != TLS1_3_VERSION) /* OpenSSL has no cipher for such a key before */
            continue;
        run_trial(&trials[i]);
        if (r->flags & STOLEN) { /* its key was changed */
            pki_free(&c.leaf);
            c.leaf = pki_make(&r->leaf, &c.root);
        }
    }
    free_chain(&c);
}

/* X509_check_host takes ".good.test" for every name below good.test: nobody means that by a host. */
static void a_name_that_begins_with_a_dot_is_asked_of_nobody(void **state)
{
    (void)state;
    static const char *const names[] = {".good.test", ".test", ".", "..", ".good.test."};
    gs_stream s;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const gs_opt *opts = GS_OPTS(GS_STR(TLS_CA_FILE, pki_default()->ca), GS_STR(TLS_SERVER_NAME, names[i]));
        assert_code(gs_stream_connect(&s, "tls+unix:///nowhere", opts, GS_NO_MAILBOX, 10000), -EINVAL);
        assert_non_null(strstr(gs_error_detail(-EINVAL), "begins with a dot"));
    }
}

int main(void)
{
    static struct CMUnitTest tests[ROWS + 1];
    assert_ok(gs_tls_register());
    for (int i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){rows[i].name, run_row, NULL, NULL, (void *)(uintptr_t)&rows[i]};
    tests[ROWS] = (struct CMUnitTest)cmocka_unit_test(a_name_that_begins_with_a_dot_is_asked_of_nobody);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
