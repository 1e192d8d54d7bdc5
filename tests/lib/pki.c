/* pki.c: certificates by OpenSSL, as a CA would make them. */
#include "pki.h"

#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* OpenSSL counts references by atomics that ThreadSanitizer does not see in a library that is not built with it: what free and
 * memcpy do there for OpenSSL itself would be told as races. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "called_from_lib:libcrypto.so\ncalled_from_lib:libssl.so\n"; }

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

static void add_text(X509 *cert, X509 *issuer, int nid, const char *given, const char *right)
{
    const char *value = given ? given : right;
    if (value && *value)
        add_extension(cert, issuer, nid, value);
}

static void set_name(X509_NAME *name, const char *cn)
{
    if (cn)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
}

/* A DNS name of any bytes, as OpenSSL's configuration cannot write it. */
static void add_raw_name(X509 *cert, const char *p, int n)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    assert_true(names && name && text);
    assert_int_equal(ASN1_STRING_set(text, p, n), 1);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, name);
    assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

static void add_unknown(X509 *cert)
{
    ASN1_OBJECT *what = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05", 2);
    X509_EXTENSION *e = X509_EXTENSION_create_by_OBJ(NULL, what, 1, value);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(what);
}

static void add_extensions(X509 *cert, X509 *issuer, const struct pki_spec *s)
{
    add_text(cert, issuer, NID_basic_constraints, s->constraints, s->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_text(cert, issuer, NID_key_usage, s->usage, s->ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    add_extension(cert, issuer, NID_subject_key_identifier, "hash");
    if (issuer != cert && X509_get_ext_by_NID(issuer, NID_subject_key_identifier, -1) >= 0)
        add_extension(cert, issuer, NID_authority_key_identifier, "keyid");
    add_text(cert, issuer, NID_ext_key_usage, s->eku, s->ca ? NULL : "serverAuth,clientAuth");
    add_text(cert, issuer, NID_name_constraints, s->names, NULL);
    add_text(cert, issuer, NID_subject_alt_name, s->san, NULL);
    if (s->raw_dns)
        add_raw_name(cert, s->raw_dns, s->raw_n);
    if (s->critical)
        add_unknown(cert);
}

static void break_signature(X509 *cert)
{
    const ASN1_BIT_STRING *signature;
    X509_get0_signature(&signature, NULL, cert);
    signature->data[signature->length - 1] ^= 1;
}

struct pki_cert pki_make(const struct pki_spec *s, const struct pki_cert *issuer)
{
    static long serial = 1;
    struct pki_cert c = {X509_new(),
                         s->rsa_bits ? EVP_RSA_gen((unsigned)s->rsa_bits) : EVP_EC_gen(s->curve ? s->curve : "P-256")};
    assert_true(c.cert && c.key);
    const struct pki_cert *by = issuer ? issuer : &c;
    X509_set_version(c.cert, s->v1 ? X509_VERSION_1 : X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.cert), serial++);
    set_times(c.cert, s);
    X509_set_pubkey(c.cert, c.key);
    set_name(X509_get_subject_name(c.cert), s->cn);
    X509_set_issuer_name(c.cert, X509_get_subject_name(by->cert));
    if (s->issued_by)
        set_name(X509_get_issuer_name(c.cert), s->issued_by);
    if (!s->v1)
        add_extensions(c.cert, by->cert, s);
    assert_true(X509_sign(c.cert, by->key, EVP_get_digestbyname(s->digest ? s->digest : "SHA256")) > 0);
    if (s->broken)
        break_signature(c.cert);
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
    static struct kept {
        struct kept *next;
        char path[108];
    } *all;
    struct kept *k = calloc(1, sizeof *k);
    assert_non_null(k);
    snprintf(k->path, sizeof k->path, "%s", temp_path(name));
    k->next = all;
    all = k;
    *path = k->path;
    FILE *f = fopen(*path, "we");
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
