/* tls_peer.c: OpenSSL on a socket pair, blocking, in a thread. */
#include "tls_peer.h"

#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

static void note(const SSL *ssl, int where, int ret)
{
    struct tls_peer *p = SSL_get_app_data(ssl);
    if (where & SSL_CB_ALERT && (ret & 0xff) != SSL_AD_CLOSE_NOTIFY)
        atomic_store(where & SSL_CB_READ ? &p->alert_received : &p->alert_sent, ret & 0xff);
}

static SSL_CTX *make_context(const struct peer_spec *s)
{
    SSL_CTX *ctx = SSL_CTX_new(s->server ? TLS_server_method() : TLS_client_method());
    if (!ctx)
        return NULL;
    SSL_CTX_set_security_level(ctx, s->careless ? 0 : 1);
    SSL_CTX_set_min_proto_version(ctx, s->min_version ? s->min_version : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ctx, s->max_version ? s->max_version : TLS1_3_VERSION);
    if (s->ciphers)
        SSL_CTX_set_cipher_list(ctx, s->ciphers);
    if (s->suites)
        SSL_CTX_set_ciphersuites(ctx, s->suites);
    for (int i = 0; i < 6 && s->chain[i]; i++) {
        if (i == 0) {
            SSL_CTX_use_certificate(ctx, s->chain[0]->cert);
            SSL_CTX_use_PrivateKey(ctx, s->chain[0]->key);
        } else
            SSL_CTX_add1_chain_cert(ctx, s->chain[i]->cert);
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY | (s->chain[0] ? SSL_MODE_NO_AUTO_CHAIN : 0));
    return ctx;
}

static void echo(struct tls_peer *p, SSL *ssl)
{
    char buf[16384];
    int k;
    while ((k = SSL_read(ssl, buf, sizeof buf)) > 0 && SSL_write(ssl, buf, k) == k)
        atomic_fetch_add(&p->echoed, k);
    if (SSL_get_error(ssl, k) == SSL_ERROR_ZERO_RETURN)
        SSL_shutdown(ssl);
}

static void *run(void *arg)
{
    struct tls_peer *p = arg;
    const struct peer_spec *s = &p->spec;
    sigset_t pipe; /* OpenSSL's own writes raise it */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    SSL_CTX *ctx = make_context(s);
    SSL *ssl = ctx ? SSL_new(ctx) : NULL;
    if (ssl && SSL_set_fd(ssl, p->fd) == 1 && SSL_set_app_data(ssl, p)) {
        SSL_set_info_callback(ssl, note);
        if (s->sni)
            SSL_set_tlsext_host_name(ssl, s->sni);
        if (s->change)
            s->change(ctx, ssl);
        int r = s->server ? SSL_accept(ssl) : SSL_connect(ssl);
        atomic_store(&p->shaken, r == 1);
        if (r == 1 && s->act)
            s->act(ssl, p->fd);
        else if (r == 1)
            echo(p, ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(p->fd);
    ERR_clear_error();
    OPENSSL_thread_stop();
    atomic_store(&p->ended, true);
    return NULL;
}

gs_stream peer_start(struct tls_peer *p, const struct peer_spec *spec)
{
    int fd[2];
    gs_stream s;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    *p = (struct tls_peer){.spec = *spec, .fd = fd[1], .alert_received = -1, .alert_sent = -1};
    assert_ok(gs_stream_import(&s, fd[0], NULL, GS_NO_MAILBOX));
    assert_int_equal(pthread_create(&p->thread, NULL, run, p), 0);
    return s;
}

void peer_join(struct tls_peer *p)
{
    assert_until(atomic_load(&p->ended), 20000);
    pthread_join(p->thread, NULL);
}

int upgrade_to_tls(gs_stream s, bool server, const gs_opt *opts, int timeout_ms, char *detail, size_t cap)
{
    int e = gs_stream_upgrade(s, "tls", server, opts, timeout_ms);
    snprintf(detail, cap, "%s", gs_error_detail(e));
    return e;
}
