/* tls_pair.h: two ends of TLS by gensock in one process: a thread connects while the test accepts. */
#ifndef TEST_TLS_PAIR_H
#define TEST_TLS_PAIR_H

#include <gensock/stream.h>
#include <gensock/tls.h>
#include <pthread.h>
#include <stdio.h>

#include "pki.h"
#include "support.h"

enum { TLS_WAIT_MS = 10000 };

struct tls_pair {
    gs_stream listener, client, server; /* a closed end is {0} */
    char at[128];
    const gs_opt *opts;
    int connected, accepted; /* how each handshake ended */
    char client_detail[200], server_detail[200];
};

/* The options of a listener with the default certificate, and of a client that trusts it, with more behind them. */
#define TLS_SERVER(...) GS_OPTS(GS_STR(TLS_CERT_FILE, pki_default()->cert), GS_STR(TLS_KEY_FILE, pki_default()->key), __VA_ARGS__)
#define TLS_CLIENT(...) GS_OPTS(GS_STR(TLS_CA_FILE, pki_default()->ca), __VA_ARGS__)
#define NO_MORE {.name = GS_OPT_END}

static inline void tls_listen(struct tls_pair *p, const gs_opt *opts)
{
    *p = (struct tls_pair){0};
    assert_ok(gs_tls_register());
    assert_ok(gs_stream_listen(&p->listener, "tls://127.0.0.1:0", opts, GS_NO_MAILBOX));
    snprintf(p->at, sizeof p->at, "tls://127.0.0.1:%ld", assert_ok(gs_stream_port(p->listener)));
}

static inline void *tls_pair_connect(void *arg)
{
    struct tls_pair *p = arg;
    p->connected = gs_stream_connect(&p->client, p->at, p->opts, GS_NO_MAILBOX, TLS_WAIT_MS);
    if (p->connected < 0) {
        snprintf(p->client_detail, sizeof p->client_detail, "%s", gs_error_detail(p->connected));
        p->client = GS_NO_STREAM;
    }
    return NULL;
}

/* Both handshakes to their ends, whatever these are. */
static inline void tls_meet(struct tls_pair *p, const gs_opt *opts)
{
    pthread_t thread;
    p->opts = opts;
    assert_int_equal(pthread_create(&thread, NULL, tls_pair_connect, p), 0);
    int e = gs_stream_accept(p->listener, &p->server, GS_NO_MAILBOX, TLS_WAIT_MS, NULL);
    p->accepted = e < 0 ? e : gs_stream_handshake(p->server, TLS_WAIT_MS);
    if (p->accepted < 0)
        snprintf(p->server_detail, sizeof p->server_detail, "%s", gs_error_detail(p->accepted));
    pthread_join(thread, NULL);
}

static inline void tls_part(struct tls_pair *p)
{
    gs_stream_close(p->client);
    gs_stream_close(p->server);
    p->client = p->server = GS_NO_STREAM;
}

static inline void tls_pair_open(struct tls_pair *p, const gs_opt *client, const gs_opt *server)
{
    tls_listen(p, server);
    tls_meet(p, client);
    assert_code(p->connected, 0);
    assert_code(p->accepted, 0);
}

static inline void tls_pair_close(struct tls_pair *p)
{
    tls_part(p);
    gs_stream_close(p->listener);
}

/* n bytes of a pattern go from one end to the other and are right: in pieces that the sockets take without a second thread. */
static inline void tls_carry(gs_stream from, gs_stream to, size_t n)
{
    static uint8_t out[16384], in[16384];
    for (size_t at = 0; at < n;) {
        size_t k = n - at < sizeof out ? n - at : sizeof out;
        pattern_fill(out, k, 7, at);
        assert_ok(gs_stream_send(from, out, k));
        assert_int_equal(assert_ok(gs_stream_recv(to, in, sizeof in, k, TLS_WAIT_MS)), (long)k);
        assert_int_equal(pattern_check(in, k, 7, at), k);
        at += k;
    }
}

#endif
