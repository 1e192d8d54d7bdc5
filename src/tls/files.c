/* files.c: PEM files. They are read whole into memory that is wiped, since one of them is a private key. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#include "tls/tls.h"

enum { FILE_MAX_BYTES = 8 << 20 };

static int no_file(const char *what, const char *path, int error)
{
    return gs_fail(-error, "option %s: %s: %s", what, path, strerror(error));
}

static int open_file(const char *what, const char *path, struct stat *st)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return no_file(what, path, errno);
    int e = fstat(fd, st) < 0 ? no_file(what, path, errno) : 0;
    if (e == 0 && !S_ISREG(st->st_mode))
        e = gs_fail(-EINVAL, "option %s: %s is no regular file", what, path);
    if (e == 0 && st->st_size > FILE_MAX_BYTES)
        e = gs_fail(-EFBIG, "option %s: %s is longer than %d bytes", what, path, FILE_MAX_BYTES);
    if (e < 0)
        close(fd);
    return e < 0 ? e : fd;
}

int file_stamp(const char *what, const char *path, struct stamp *out)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return no_file(what, path, errno);
    *out = (struct stamp){.dev = st.st_dev, .ino = st.st_ino, .size = st.st_size, .changed = st.st_mtim};
    return 0;
}

struct content {
    uint8_t *p;
    size_t n, cap;
};

static void wipe(struct content *c)
{
    if (c->p)
        OPENSSL_clear_free(c->p, c->cap);
    *c = (struct content){0};
}

static int read_file(const char *what, const char *path, struct content *out)
{
    struct stat st;
    int fd = open_file(what, path, &st);
    if (fd < 0)
        return fd;
    *out = (struct content){.cap = (size_t)st.st_size + 1};
    out->p = OPENSSL_malloc(out->cap);
    int e = out->p ? 0 : -ENOMEM;
    while (e == 0 && out->n < out->cap) {
        ssize_t k = read(fd, out->p + out->n, out->cap - out->n);
        if (k == 0)
            break;
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            e = no_file(what, path, errno);
        else
            out->n += (size_t)k;
    }
    close(fd);
    if (e == 0 && out->n == out->cap) /* it grew meanwhile: the next look takes it */
        e = gs_fail(-EAGAIN, "option %s: %s changes while it is read", what, path);
    if (e < 0)
        wipe(out);
    return e;
}

/* PEM's reader over a file's content; the content lives on. */
static int open_pem(const char *what, const char *path, struct content *c, BIO **out)
{
    int e = read_file(what, path, c);
    if (e < 0)
        return e;
    *out = BIO_new_mem_buf(c->p, (int)c->n);
    if (*out)
        return 0;
    wipe(c);
    return -ENOMEM;
}

static bool at_end(void)
{
    unsigned long e = ERR_peek_last_error();
    if (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
        return false;
    ERR_clear_error();
    return true;
}

static bool lacked_memory(void) { return ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE; }

static bool whole(X509 *cert) { return X509_check_purpose(cert, -1, 0) == 1 && X509_get0_pubkey(cert); }

/* OpenSSL reads key and extensions at first use, and takes a lack of memory then for a wrong certificate, for good and without a
 * word: so they are read where the file is, and what looks wrong is read once more. What is really wrong is told when it is used. */
static int read_parts(X509 *cert)
{
    if (whole(cert))
        return 0;
    X509 *again = X509_dup(cert);
    bool lost = !again || whole(again);
    X509_free(again);
    ERR_clear_error();
    return lost ? -ENOMEM : 0;
}

int file_read_parts(SSL_CTX *ctx)
{
    const STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));
    for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
        if (cert && read_parts(cert) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* As SSL_CTX_set_default_verify_paths, which would go on with half of them where it lacks memory. */
int file_add_system_cas(SSL_CTX *ctx)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    X509_LOOKUP *file = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    X509_LOOKUP *folder = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());
    if (!file || !folder || X509_LOOKUP_add_dir(folder, NULL, X509_FILETYPE_DEFAULT) != 1)
        return verdict_setup(-ENOMEM, "the system's CAs cannot be used");
    ERR_clear_error();
    bool ok = X509_LOOKUP_load_file(file, NULL, X509_FILETYPE_DEFAULT) == 1 || !lacked_memory();
    ERR_clear_error(); /* there may be no such file: then nobody is trusted by it */
    return ok ? 0 : -ENOMEM;
}

/* The leaf, then whatever follows it as its chain. */
static int use_chain(SSL_CTX *ctx, BIO *pem, const char *path)
{
    X509 *cert = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
    if (!cert)
        return verdict_setup(-EINVAL, "option tls_cert_file: %s holds no PEM certificate", path);
    int e = read_parts(cert);
    bool ok = e == 0 && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    if (e < 0)
        return e;
    if (!ok)
        return verdict_setup(-EINVAL, "option tls_cert_file: %s cannot be used", path);
    SSL_CTX_clear_chain_certs(ctx);
    while ((cert = PEM_read_bio_X509(pem, NULL, NULL, NULL))) {
        ok = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
        if (!ok) {
            X509_free(cert);
            return verdict_setup(-EINVAL, "option tls_cert_file: %s: its chain cannot be used", path);
        }
    }
    return at_end() ? 0 : verdict_setup(-EINVAL, "option tls_cert_file: %s: its chain is damaged", path);
}

int file_use_cert(SSL_CTX *ctx, const char *path)
{
    struct content c;
    BIO *pem;
    int e = open_pem("tls_cert_file", path, &c, &pem);
    if (e < 0)
        return e;
    e = use_chain(ctx, pem, path);
    BIO_free(pem);
    wipe(&c);
    return e;
}

/* Nobody is asked for a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
    (void)buf, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

int file_use_key(SSL_CTX *ctx, const char *path, const char *cert_path)
{
    struct content c;
    BIO *pem;
    bool encrypted = false;
    int e = open_pem("tls_key_file", path, &c, &pem);
    if (e < 0)
        return e;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_passphrase, &encrypted);
    BIO_free(pem);
    wipe(&c);
    if (!key && encrypted)
        return verdict_setup(-EINVAL, "option tls_key_file: %s is encrypted; decrypt it: openssl pkey -in … -out …", path);
    if (!key)
        return verdict_setup(-EINVAL, "option tls_key_file: %s holds no PEM private key", path);
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
        e = verdict_setup(-EINVAL, "option tls_key_file: %s is not the key of %s", path, cert_path);
    EVP_PKEY_free(key);
    if (e == 0 && SSL_CTX_check_private_key(ctx) != 1)
        e = verdict_setup(-EINVAL, "option tls_key_file: %s is not the key of %s", path, cert_path);
    return e;
}

int file_add_cas(SSL_CTX *ctx, const char *what, const char *path, bool request)
{
    struct content c;
    BIO *pem;
    int e = open_pem(what, path, &c, &pem), n = 0;
    if (e < 0)
        return e;
    X509 *cert;
    while (e == 0 && (cert = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL))) {
        bool ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1 && (!request || SSL_CTX_add_client_CA(ctx, cert) == 1);
        X509_free(cert);
        n++;
        if (!ok)
            e = verdict_setup(-EINVAL, "option %s: certificate %d of %s cannot be used", what, n, path);
    }
    if (e == 0 && !at_end())
        e = verdict_setup(-EINVAL, "option %s: certificate %d of %s is damaged", what, n + 1, path);
    if (e == 0 && !n)
        e = gs_fail(-EINVAL, "option %s: %s holds no PEM certificate", what, path);
    BIO_free(pem);
    wipe(&c);
    return e;
}
