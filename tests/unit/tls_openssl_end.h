/* tls_openssl_end.h: OpenSSL's end of a connection in memory, its records carried by a plain stream: the test decides which bytes
 * go together and what stands between them. */
#ifndef TEST_TLS_OPENSSL_END_H
#define TEST_TLS_OPENSSL_END_H

#include <openssl/ssl.h>

#include "gensock/stream.h"
#include "support.h"

enum { END_WAIT_MS = 10000 };

struct openssl_end {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
    gs_stream s;   /* raw */
};

/* cert and key: PEM files, NULL for a client. */
static inline void openssl_end_open(struct openssl_end *e, gs_stream s, const char *cert, const char *key)
{
    *e = (struct openssl_end){.s = s, .ctx = SSL_CTX_new(TLS_method()), .in = BIO_new(BIO_s_mem()), .out = BIO_new(BIO_s_mem())};
    assert_true(e->ctx && e->in && e->out);
    if (cert) {
        assert_int_equal(SSL_CTX_use_certificate_chain_file(e->ctx, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(e->ctx, key, SSL_FILETYPE_PEM), 1);
    }
    e->ssl = SSL_new(e->ctx);
    assert_non_null(e->ssl);
    SSL_set_bio(e->ssl, e->in, e->out);
    if (cert)
        SSL_set_accept_state(e->ssl);
    else
        SSL_set_connect_state(e->ssl);
}

static inline void openssl_end_close(struct openssl_end *e)
{
    SSL_free(e->ssl);
    SSL_CTX_free(e->ctx);
}

/* The records that wait to be sent, without sending them. */
static inline size_t openssl_end_take(struct openssl_end *e, uint8_t *p, size_t cap)
{
    int n = BIO_read(e->out, p, (int)cap);
    return n > 0 ? (size_t)n : 0;
}

/* What waits goes out; what comes goes in. The first error of the stream's, else 0. */
static inline int openssl_end_exchange(struct openssl_end *e, bool wait)
{
    uint8_t buf[16384];
    for (size_t n; (n = openssl_end_take(e, buf, sizeof buf));) {
        int error = gs_stream_send(e->s, buf, n);
        if (error < 0)
            return error;
    }
    ssize_t k = wait ? gs_stream_recv(e->s, buf, sizeof buf, 0, END_WAIT_MS) : 0;
    if (k > 0)
        BIO_write(e->in, buf, (int)k);
    return k < 0 ? (int)k : 0;
}

/* True when both are through. */
static inline bool openssl_end_handshake(struct openssl_end *e)
{
    for (;;) {
        int r = SSL_do_handshake(e->ssl), why = SSL_get_error(e->ssl, r);
        if (openssl_end_exchange(e, r != 1 && why == SSL_ERROR_WANT_READ) < 0)
            return false;
        if (r == 1 || why != SSL_ERROR_WANT_READ)
            return r == 1;
    }
}

/* The bytes, or -1 at the end or after an error. */
static inline int openssl_end_read(struct openssl_end *e, void *p, int cap)
{
    for (;;) {
        int r = SSL_read(e->ssl, p, cap);
        if (r > 0)
            return r;
        if (SSL_get_error(e->ssl, r) != SSL_ERROR_WANT_READ || openssl_end_exchange(e, true) < 0)
            return -1;
    }
}

static inline void openssl_end_write(struct openssl_end *e, const void *p, int n)
{
    assert_int_equal(SSL_write(e->ssl, p, n), n);
    assert_ok(openssl_end_exchange(e, false));
}

#endif
