/* certificate.c: a CA and one certificate of it, P-256, good for a year. */
#include "tailnet/lab/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tailnet/crypto/crypto.h"

enum { DAY_S = 86400, HOUR_S = 3600, DAYS = 365 };

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = e && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool set_serial(X509 *cert)
{
    uint64_t serial;
    gsi_random(&serial, sizeof serial);
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1) == 1;
}

static bool set_name(X509_NAME *name, const char *text)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1, -1, 0) == 1;
}

/* address NULL: the CA itself. NULL: no memory. */
static X509 *make(EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key, const char *address)
{
    char san[128];
    X509 *c = X509_new();
    X509 *by = ca ? ca : c;
    snprintf(san, sizeof san, "IP:%s", address ? address : "");
    bool ok = c && X509_set_version(c, X509_VERSION_3) == 1 && set_serial(c) && X509_gmtime_adj(X509_getm_notBefore(c), -HOUR_S)
              && X509_gmtime_adj(X509_getm_notAfter(c), (long)DAYS * DAY_S) && X509_set_pubkey(c, key) == 1
              && set_name(X509_get_subject_name(c), address ? address : "gensock lab CA")
              && X509_set_issuer_name(c, X509_get_subject_name(by)) == 1;
    ok = ok && add_extension(c, by, NID_basic_constraints, address ? "critical,CA:FALSE" : "critical,CA:TRUE,pathlen:0")
         && add_extension(c, by, NID_key_usage, address ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign")
         && add_extension(c, by, NID_subject_key_identifier, "hash");
    if (address)
        ok = ok && add_extension(c, by, NID_authority_key_identifier, "keyid")
             && add_extension(c, by, NID_ext_key_usage, "serverAuth") && add_extension(c, by, NID_subject_alt_name, san);
    if (ok && X509_sign(c, ca_key, EVP_sha256()) > 0)
        return c;
    X509_free(c);
    return NULL;
}

static int write_file(const char *directory, const char *name, mode_t mode, BIO *text)
{
    char path[PATH_MAX], beside[PATH_MAX];
    char *bytes;
    long n = BIO_get_mem_data(text, &bytes);
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path
        || snprintf(beside, sizeof beside, "%s/%s.new", directory, name) >= (int)sizeof beside)
        return gs_fail(-ENAMETOOLONG, "the lab's directory has too long a name");
    (void)unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    int e = fd < 0 ? -errno : 0;
    if (fd >= 0 && write(fd, bytes, (size_t)n) != n)
        e = errno ? -errno : -EIO;
    if (fd >= 0 && close(fd) != 0 && !e)
        e = -errno;
    if (!e && rename(beside, path) != 0)
        e = -errno;
    return e ? gs_fail(e, "the lab cannot write %s: %s", path, gs_error_text(e)) : 0;
}

static int write_cert(const char *directory, const char *name, X509 *cert)
{
    BIO *b = BIO_new(BIO_s_mem());
    int e = b && PEM_write_bio_X509(b, cert) == 1 ? write_file(directory, name, 0644, b) : -ENOMEM;
    BIO_free(b);
    return e;
}

static int write_key(const char *directory, const char *name, EVP_PKEY *key)
{
    BIO *b = BIO_new(BIO_s_secmem());
    bool ok = b && PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1;
    int e = ok ? write_file(directory, name, 0600, b) : -ENOMEM;
    BIO_free(b);
    return e;
}

/* ---- those of an earlier start ---- */

static BIO *open_file(const char *directory, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", directory, name) < (int)sizeof path ? BIO_new_file(path, "r") : NULL;
}

static X509 *read_cert(const char *directory, const char *name)
{
    BIO *b = open_file(directory, name);
    X509 *cert = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
    BIO_free(b);
    return cert;
}

static EVP_PKEY *read_private(const char *directory, const char *name)
{
    BIO *b = open_file(directory, name);
    EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
    BIO_free(b);
    return key;
}

static bool lasts(const X509 *cert)
{
    time_t later = time(NULL) + 30 * DAY_S;
    return X509_cmp_time(X509_get0_notAfter(cert), &later) > 0;
}

/* All that is needed is there and fits. */
static bool are_good(const char *directory, const char *address)
{
    X509 *ca = read_cert(directory, "ca.pem"), *cert = read_cert(directory, "relay.pem");
    EVP_PKEY *key = read_private(directory, "relay.key");
    bool good = ca && cert && key && lasts(ca) && lasts(cert) && X509_check_private_key(cert, key) == 1
                && X509_verify(cert, X509_get0_pubkey(ca)) == 1 && X509_check_ip_asc(cert, address, 0) == 1;
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error(); /* that there were none is no error */
    return good;
}

int gsi_lab_certificates(const char *directory, const char *address)
{
    if (are_good(directory, address))
        return 0;
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = ca_key && key ? make(ca_key, NULL, ca_key, NULL) : NULL;
    X509 *cert = ca ? make(key, ca, ca_key, address) : NULL;
    int e = cert ? write_key(directory, "relay.key", key) : -ENOMEM;
    if (e == 0)
        e = write_cert(directory, "relay.pem", cert);
    if (e == 0)
        e = write_cert(directory, "ca.pem", ca);
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    return e ? e : 1;
}
