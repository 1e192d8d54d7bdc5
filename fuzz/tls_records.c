/* tls_records.c: any bytes as the peer of a TLS handshake, on either side; and, after a real handshake, ciphertext that is
 * changed, cut or doubled on its way: never a crash, and never plaintext that was not sent, or a clean end that nobody made.
 *
 * An input is: the mode, and then the peer's bytes, or the changes: operation, place (2 bytes), value. OpenSSL's random
 * numbers are a counter's, so that an input does the same each time.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* the only way to give it random numbers that repeat */
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#include "../tests/lib/tls_ends.h"

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

enum { TO_SERVER, TO_CLIENT, CHANGED, MODES, SENT = 2000, STEP = 4 };

static char pem[] = "/tmp/gensock-fuzz-XXXXXX";
static const struct tls_script well = {.read_answer = 1};
static uint64_t draws;

/* ---- a world that repeats itself ---- */

static int count_bytes(unsigned char *p, int n)
{
    for (int i = 0; i < n; i++) {
        uint64_t z = draws++ * UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        p[i] = (unsigned char)(z >> 56);
    }
    return 1;
}

static int always(void) { return 1; }

static void remove_file(void) { unlink(pem); }

/* A certificate that is its own CA, with its key, in one file. */
static void make_file(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    CHECK(key && cert);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 30L * 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"fuzz", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    X509_EXTENSION *name = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:fuzz.test");
    CHECK(name && X509_add_ext(cert, name, -1) == 1 && X509_sign(cert, key, EVP_sha256()) > 0);
    X509_EXTENSION_free(name);
    int fd = mkstemp(pem);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    CHECK(f && PEM_write_X509(f, cert) && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) && fclose(f) == 0);
    atexit(remove_file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void set_up(void)
{
    static const RAND_METHOD counter = {.bytes = count_bytes, .pseudorand = count_bytes, .status = always};
    static bool done;
    if (!done) {
        CHECK(RAND_set_rand_method(&counter) == 1 && gs_tls_register() == 0);
        make_file();
    }
    done = true;
    draws = 1;
}

static void open_ends(struct tls_ends *x)
{
    const gs_opt *client = GS_OPTS(GS_STR(TLS_CA_FILE, pem), GS_STR(TLS_SERVER_NAME, "fuzz.test"), GS_INT(TLS_RESUME, false));
    CHECK(tls_ends_open(x, client, GS_OPTS(GS_STR(TLS_CERT_FILE, pem), GS_INT(TLS_RESUME, false)), &well) == 0);
}

/* ---- what is fuzzed ---- */

/* Nobody is there who could finish a handshake. */
static void babble(struct tls_ends *x, bool server, const uint8_t *p, size_t n)
{
    struct tls_end *e = server ? &x->server : &x->client;
    int answer = tls_layer()->handshake(e->tls);
    for (size_t at = 0; at < n && tls_goes_on(answer);) {
        size_t k = 1 + (size_t)p[at] % 64;
        k = k < n - at ? k : n - at;
        tls_pipe_put(e->in, p + at, k);
        at += k;
        answer = tls_layer()->handshake(e->tls);
    }
    CHECK(answer != 0);
    char c;
    CHECK(tls_end_read(e, &c, 1) < 0); /* not before the handshake is done */
}

/* Whether it made a difference. */
static bool change(struct tls_pipe *q, const uint8_t *op)
{
    size_t n = q->n - q->at, at = n ? ((size_t)op[1] << 8 | op[2]) % n : 0;
    uint8_t *p = q->p + q->at;
    if (!n)
        return false;
    switch (op[0] % 4) {
    case 0: p[at] ^= op[3]; return op[3];
    case 1: /* bytes are missing */
        memmove(p + at, p + at + 1, n - at - 1);
        q->n--;
        return true;
    case 2: q->n = q->at + at; return true; /* the rest is missing */
    default: break;
    }
    uint8_t *copy = malloc(at + 1); /* everything up to there comes once more */
    CHECK(copy);
    memcpy(copy, p, at + 1);
    tls_pipe_put(q, copy, at + 1);
    free(copy);
    return true;
}

static void change_on_the_way(struct tls_ends *x, const uint8_t *p, size_t n)
{
    static uint8_t sent[SENT], came[SENT + 1];
    int client, server;
    CHECK(tls_ends_handshake(x, &client, &server) && client == 0 && server == 0);
    for (size_t i = 0; i < SENT; i++)
        sent[i] = (uint8_t)(i * 7 + i / 256);
    size_t out = 0, in = 0;
    for (size_t k = 10; out < SENT; k = k * 3 % 500 + 1) { /* records of several lengths */
        k = k < SENT - out ? k : SENT - out;
        CHECK(tls_end_write(&x->client, sent + out, k) == (ssize_t)k);
        out += k;
    }
    bool changed = false;
    for (; n >= STEP; p += STEP, n -= STEP)
        changed |= change(&x->to_server, p);
    ssize_t k = 1;
    while (k > 0) {
        k = tls_end_read(&x->server, came + in, sizeof came - in);
        in += k > 0 ? (size_t)k : 0;
        CHECK(in <= SENT && memcmp(came, sent, in) == 0);
    }
    CHECK(k < 0); /* no close_notify was sent */
    CHECK(changed || (in == SENT && k == -EAGAIN));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 15)
        return 0;
    set_up();
    struct tls_ends x;
    open_ends(&x);
    if (data[0] % MODES == CHANGED)
        change_on_the_way(&x, data + 1, size - 1);
    else
        babble(&x, data[0] % MODES == TO_SERVER, data + 1, size - 1);
    tls_ends_close(&x);
    return 0;
}
