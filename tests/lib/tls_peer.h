/* tls_peer.h: the other end of a TLS connection, by OpenSSL alone and with none of its own caution, so that it can be wrong. */
#ifndef TEST_TLS_PEER_H
#define TEST_TLS_PEER_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "gensock/stream.h"
#include "pki.h"

/* How it is set up; all NULL or 0: a good one without a certificate. */
struct peer_spec {
    bool server;
    const struct pki_cert *chain[6]; /* sent as given, the first's key is used */
    int min_version, max_version;    /* 0: 1.2 to 1.3 */
    const char *ciphers, *suites;    /* TLS 1.2, TLS 1.3 */
    const char *sni;
    bool careless; /* the security level is 0 */
    void (*change)(SSL_CTX *ctx, SSL *ssl);
    void (*act)(SSL *ssl, int fd); /* after the handshake; NULL: an echo of what it reads, to the end */
};

/* A thread with a blocking socket: its handshake, then `act`. */
struct tls_peer {
    struct peer_spec spec;
    pthread_t thread;
    int fd;
    _Atomic int alert_received, alert_sent; /* -1: none */
    _Atomic bool shaken, ended;
    _Atomic long echoed;
};
/* The process's end of a socket pair as a stream; the other end is the peer's. */
gs_stream peer_start(struct tls_peer *p, const struct peer_spec *spec);
/* Waits for its end; close the stream before. */
void peer_join(struct tls_peer *p);

/* Upgrades s, made by peer_start, with these options; the code and its detail. */
int upgrade_to_tls(gs_stream s, bool server, const gs_opt *opts, int timeout_ms, char *detail, size_t cap);

#endif
