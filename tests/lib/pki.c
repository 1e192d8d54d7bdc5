/* pki.c: certificates by OpenSSL, as a CA would make them. */
#include "pki.h"

#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { DAY = 86400, HOUR = 3600 };

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static void set_times(X509 *cert, const struct pki_spec *s)
{
    long from = s->from_s ? s->from_s : -HOUR, days = s->days ? s->days : 1;
    if (days < 0)
        from += 2 * days * DAY;
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), from));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), from + labs(days) * DAY));
}

struct pki_cert pki_make(const struct pki_spec *s, const struct pki_cert *issuer)
{
    static long serial = 1;
    struct pki_cert c = {X509_new(), EVP_EC_gen("P-256")};
    assert_true(c.cert && c.key);
    const struct pki_cert *by = issuer ? issuer : &c;
    X509_set_version(c.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.cert), serial++);
    set_times(c.cert, s);
    X509_set_pubkey(c.cert, c.key);
    if (s->cn)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(c.cert), "CN", MBSTRING_UTF8, (const unsigned char *)s->cn, -1, -1, 0);
    X509_set_issuer_name(c.cert, X509_get_subject_name(by->cert));
    add_extension(c.cert, by->cert, NID_basic_constraints, s->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(c.cert, by->cert, NID_key_usage, s->ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    add_extension(c.cert, by->cert, NID_subject_key_identifier, "hash");
    if (issuer)
        add_extension(c.cert, by->cert, NID_authority_key_identifier, "keyid");
    if (!s->ca)
        add_extension(c.cert, by->cert, NID_ext_key_usage, "serverAuth,clientAuth");
    if (s->san)
        add_extension(c.cert, by->cert, NID_subject_alt_name, s->san);
    assert_true(X509_sign(c.cert, by->key, EVP_sha256()) > 0);
    return c;
}

void pki_free(struct pki_cert *c)
{
    X509_free(c->cert);
    EVP_PKEY_free(c->key);
    *c = (struct pki_cert){0};
}

static FILE *create(const char *name, const char **path)
{
    *path = strdup(temp_path(name));
    FILE *f = *path ? fopen(*path, "we") : NULL;
    assert_non_null(f);
    return f;
}

const char *pki_cert_file(const char *name, const struct pki_cert *const *chain, int n)
{
    const char *path;
    FILE *f = create(name, &path);
    for (int i = 0; i < n; i++)
        assert_int_equal(PEM_write_X509(f, chain[i]->cert), 1);
    assert_int_equal(fclose(f), 0);
    return path;
}

const char *pki_key_file(const char *name, const struct pki_cert *c)
{
    const char *path;
    FILE *f = create(name, &path);
    assert_int_equal(PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    return path;
}

const struct pki_files *pki_default(void)
{
    static struct pki_files files;
    if (files.ca)
        return &files;
    struct pki_cert ca = pki_make(&(struct pki_spec){.cn = "gensock test CA", .ca = true}, NULL);
    struct pki_cert server = pki_make(&(struct pki_spec){.cn = "server", .san = "DNS:gensock.test,DNS:localhost,IP:127.0.0.1,IP:::1"}, &ca);
    files = (struct pki_files){
        .cert = pki_cert_file("server.pem", (const struct pki_cert *const[]){&server}, 1),
        .key = pki_key_file("server.key", &server),
        .ca = pki_cert_file("ca.pem", (const struct pki_cert *const[]){&ca}, 1),
    };
    pki_free(&server);
    pki_free(&ca);
    return &files;
}
