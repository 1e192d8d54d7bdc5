/* layer.c: the slots of gensock/transport.h over one SSL object.
 *
 * The stream calls readv and writev from two threads at once; an SSL object allows one at a time, so each slot holds the
 * connection's mutex, and none of them ever waits for the peer with it.
 */
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "tls/tls.h"

enum {
    RECORD = 16 * 1024,        /* RFC 8446, 5.1: plaintext of a record */
    UPDATE_RECORDS = 1 << 22,  /* new keys long before AES-GCM's limit of 2^24.5 records (RFC 8446, 5.5) */
};

struct tls {
    pthread_mutex_t mutex;
    struct wire wire;
    struct context *context;
    SSL *ssl;
    char *peer; /* client: whom its sessions are for */
    int error;  /* why it is over, told to every later call */
    int verify;
    bool server, ready, said_goodbye, deaf, end_waits;
    bool unpresented; /* client: its certificate was asked for and did not go out */
    bool starved; /* the last read asked for more than there was: what OpenSSL still has is a part of a record */
    struct server_name name;
    struct alert alert;
    uint32_t records;       /* sent under the present keys */
    char *subject;          /* the verified name */
    uint8_t *cert;          /* the peer's, DER; made when it is asked for */
    int cert_n;
};

/* ---- making one ---- */

static void note_alert(const SSL *ssl, int where, int ret)
{
    struct tls *t = SSL_get_app_data(ssl);
    if (t)
        alert_note(&t->alert, where, ret);
}

/* An outgoing Certificate without one: RFC 5246, 7.4.6; RFC 8446, 4.4.2. */
static void note_certificate(int out, int version, int type, const void *bytes, size_t n, SSL *ssl, void *arg)
{
    enum { EMPTY_MAX = 8 }; /* type, length, TLS 1.3's context, length of the list */
    struct tls *t = arg;
    (void)version, (void)ssl;
    if (out && type == SSL3_RT_HANDSHAKE && n && n <= EMPTY_MAX && *(const uint8_t *)bytes == SSL3_MT_CERTIFICATE)
        t->unpresented = true;
}

/* A session remembers who presented what: one that went without (no memory, no common algorithm) would go on so. */
int layer_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls *t = SSL_get_app_data(ssl);
    if (!t || !t->peer || !t->context || t->unpresented)
        return 0;
    sessions_put(context_sessions(t->context), t->peer, session);
    return 1;
}

/* Whom a client's sessions belong to: the name that was verified, at the address that was asked for. */
static char *peer_key(const struct tls *t, const gs_target *at)
{
    const char *rest = at && at->rest ? at->rest : "";
    size_t n = strlen(rest) + strlen(t->name.text) + 2;
    char *key = OPENSSL_malloc(n);
    if (key)
        snprintf(key, n, "%s %s", t->name.text, rest);
    return key;
}

/* What a client expects of its peer, set before anything is sent. */
static int expect_peer(struct tls *t)
{
    const char *name = t->name.text;
    X509_VERIFY_PARAM *p = SSL_get0_param(t->ssl);
    X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    bool ok = true;
    if (*name && t->verify != GS_TLS_VERIFY_NONE)
        ok = t->name.ip ? X509_VERIFY_PARAM_set1_ip_asc(p, name) == 1 : X509_VERIFY_PARAM_set1_host(p, name, 0) == 1;
    if (ok && *name && !t->name.ip)
        ok = SSL_set_tlsext_host_name(t->ssl, name) == 1;
    return ok ? 0 : verdict_setup(-EINVAL, "the name to verify, %s, cannot be used", name);
}

static int resume(struct tls *t, const struct config *c, const gs_target *at)
{
    t->peer = peer_key(t, at);
    if (!t->peer)
        return -ENOMEM;
    SSL_SESSION *session = c->resume ? sessions_take(context_sessions(t->context), t->peer) : NULL;
    bool ok = !session || SSL_set_session(t->ssl, session) == 1;
    SSL_SESSION_free(session);
    return ok ? 0 : verdict_setup(-EINVAL, "the session cannot be resumed");
}

static int make_ssl(struct tls *t, const struct config *c, const gs_target *at)
{
    int e = context_get(c, &t->context);
    if (e < 0)
        return e;
    SSL_CTX *ctx = context_ssl(t->context);
    t->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    BIO *bio;
    if (!t->ssl || wire_bio(&t->wire, &bio) < 0)
        return verdict_setup(-ENOMEM, "a TLS connection");
    SSL_set_bio(t->ssl, bio, bio);
    if (SSL_set_app_data(t->ssl, t) != 1)
        return verdict_setup(-ENOMEM, "a TLS connection");
    SSL_set_info_callback(t->ssl, note_alert);
    if (t->server) {
        SSL_set_accept_state(t->ssl);
        return 0;
    }
    SSL_set_connect_state(t->ssl);
    if (c->certs) {
        SSL_set_msg_callback(t->ssl, note_certificate);
        SSL_set_msg_callback_arg(t->ssl, t);
    }
    e = expect_peer(t);
    return e < 0 ? e : resume(t, c, at);
}

static void tls_free(struct tls *t)
{
    SSL_free(t->ssl);
    context_release(t->context);
    wire_free(&t->wire);
    pthread_mutex_destroy(&t->mutex);
    OPENSSL_free(t->peer);
    OPENSSL_free(t->subject);
    OPENSSL_free(t->cert);
    OPENSSL_free(t);
}

static int check(bool server, const gs_target *at, const gs_opt *opts)
{
    struct config c;
    struct server_name name;
    struct context *context;
    int e = config_read(&c, server, opts);
    if (e == 0)
        e = name_wanted(&c, at, &name);
    if (e == 0 && (e = context_get(&c, &context)) == 0)
        context_release(context);
    return e;
}

static int upgrade(gs_io *lower, bool server, const gs_target *at, const gs_opt *opts, void **ctx)
{
    struct config c;
    int e = config_read(&c, server, opts);
    struct tls *t = e == 0 ? OPENSSL_zalloc(sizeof *t) : NULL;
    if (!t)
        return e < 0 ? e : -ENOMEM;
    pthread_mutex_init(&t->mutex, NULL);
    t->wire.lower = lower;
    t->server = server;
    t->verify = c.verify;
    t->alert.code = -1;
    e = name_wanted(&c, at, &t->name);
    if (e == 0)
        e = make_ssl(t, &c, at);
    if (e < 0)
        tls_free(t);
    else
        *ctx = t;
    return e;
}

/* ---- calls of OpenSSL ---- */

/* Locked. False: *answer says why not. */
static bool begin(struct tls *t, int *answer)
{
    *answer = t->error;
    if (!t->error)
        *answer = wire_begin(&t->wire); /* a lack of memory is not the connection's end */
    ERR_clear_error();
    return *answer == 0;
}

/* It is over: what is left to send is the alert. */
static int fail(struct tls *t)
{
    t->error = verdict(t->ssl, &t->alert, &t->wire, !t->ready);
    ERR_clear_error();
    return t->error;
}

/* ---- handshake ---- */

/* OpenSSL has verified, or has failed: this looks again, so that no fault in setting it up lets an unverified peer in. */
static int check_peer(struct tls *t)
{
    if (t->verify == GS_TLS_VERIFY_NONE)
        return 0;
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (!cert && t->server && t->verify == GS_TLS_VERIFY_PEER)
        return 0;
    bool ok = cert && SSL_get_verify_result(t->ssl) == X509_V_OK && SSL_get_verify_mode(t->ssl) & SSL_VERIFY_PEER;
    if (ok && !t->server)
        ok = t->name.ip ? X509_check_ip_asc(cert, t->name.text, 0) == 1
                        : X509_check_host(cert, t->name.text, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
    if (!ok)
        return gs_fail(GS_EALERT, "the peer's certificate was not verified");
    t->subject = t->server ? name_of_client(cert) : OPENSSL_strdup(t->name.text);
    return t->subject ? 0 : -ENOMEM;
}

static int handshake_step(struct tls *t)
{
    if (t->ready)
        return 0;
    int r = SSL_do_handshake(t->ssl);
    if (r == 1) {
        int e = check_peer(t);
        if (e < 0)
            return t->error = e;
        t->ready = true;
        SSL_set_msg_callback(t->ssl, NULL);
        return 0;
    }
    return SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ ? GS_EWANT_READ : fail(t);
}

static int handshake(void *ctx)
{
    struct tls *t = ctx;
    int e;
    pthread_mutex_lock(&t->mutex);
    if (t->wire.out && (e = wire_flush(&t->wire)) == -EAGAIN)
        e = GS_EWANT_WRITE;
    else if (begin(t, &e)) {
        e = handshake_step(t);
        int sent = wire_end(&t->wire);
        if ((e == 0 || e == GS_EWANT_READ) && sent == -EAGAIN)
            e = GS_EWANT_WRITE;
        else if ((e == 0 || e == GS_EWANT_READ) && t->wire.error)
            e = t->error = t->wire.error;
        else if (e == GS_EWANT_READ && t->wire.broken) /* and no alert has come */
            e = t->error = t->wire.broken == -EPIPE ? -ECONNRESET : t->wire.broken;
    }
    pthread_mutex_unlock(&t->mutex);
    return e;
}

/* ---- bytes ---- */

/* Why a read of OpenSSL's gave nothing. */
static int no_bytes(struct tls *t, int r)
{
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_READ: return -EAGAIN;
    default: return fail(t);
    }
}

/* Fills the pieces with what is there; one read below is enough once something came. */
static ssize_t read_records(struct tls *t, const struct iovec *iov, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        uint8_t *p = iov[i].iov_base;
        for (size_t left = iov[i].iov_len; left;) {
            int r = SSL_read(t->ssl, p, left < INT_MAX ? (int)left : INT_MAX);
            if (r <= 0) {
                int e = no_bytes(t, r);
                t->starved = e == -EAGAIN;
                t->end_waits = total && e != -EAGAIN; /* the next call tells it, and poll that there is something to tell */
                return total ? (ssize_t)total : e;
            }
            p += r;
            left -= (size_t)r;
            total += (size_t)r;
            t->wire.no_more_reads = true;
        }
    }
    return (ssize_t)total;
}

static ssize_t tls_readv(void *ctx, const struct iovec *iov, int n)
{
    struct tls *t = ctx;
    int answer;
    ssize_t k;
    pthread_mutex_lock(&t->mutex);
    t->end_waits = t->starved = false;
    if (t->deaf)
        k = 0;
    else if (!begin(t, &answer))
        k = answer;
    else {
        k = read_records(t, iov, n);
        (void)wire_end(&t->wire);
        if (t->wire.error && !t->error && k <= 0)
            k = t->error = t->wire.error;
    }
    pthread_mutex_unlock(&t->mutex);
    return k;
}

/* The next plaintext for one record: in place where a piece is long enough, else gathered. *p and its length; 0: all is taken. */
static int next_plaintext(const struct iovec **iov, int *n, size_t *at, uint8_t *gather, const uint8_t **p)
{
    size_t have = 0;
    *p = gather;
    while (*n && have < RECORD) {
        const uint8_t *from = (const uint8_t *)(*iov)->iov_base + *at;
        size_t left = (*iov)->iov_len - *at, k = left < RECORD - have ? left : RECORD - have;
        if (!have && (k == RECORD || *n == 1)) {
            *p = from;
            *at += k;
            return (int)k;
        }
        if (k)
            memcpy(gather + have, from, k);
        have += k;
        *at += k;
        if (*at == (*iov)->iov_len) {
            (*iov)++;
            (*n)--;
            *at = 0;
        }
    }
    return (int)have;
}

static void new_keys_in_time(struct tls *t)
{
    if (++t->records < UPDATE_RECORDS || SSL_version(t->ssl) < TLS1_3_VERSION)
        return;
    t->records = 0;
    (void)SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
}

static ssize_t write_records(struct tls *t, const struct iovec *iov, int n)
{
    uint8_t gather[RECORD];
    size_t at = 0;
    ssize_t total = 0;
    const uint8_t *p;
    while (wire_room(&t->wire)) {
        int k = next_plaintext(&iov, &n, &at, gather, &p);
        if (!k)
            break;
        int r = SSL_write(t->ssl, p, k);
        if (r <= 0)
            return total ? total : fail(t);
        total += r;
        new_keys_in_time(t);
    }
    return t->wire.error && !total ? t->wire.error : total;
}

static ssize_t tls_writev(void *ctx, const struct iovec *iov, int n)
{
    struct tls *t = ctx;
    int answer = 0;
    ssize_t k;
    pthread_mutex_lock(&t->mutex);
    if (t->wire.out)
        answer = wire_flush(&t->wire);
    if (t->said_goodbye)
        k = -EPIPE;
    else if (answer < 0 || !begin(t, &answer))
        k = answer;
    else {
        k = write_records(t, iov, n);
        int e = wire_end(&t->wire);
        if (e < 0 && e != -EAGAIN)
            k = e;
    }
    pthread_mutex_unlock(&t->mutex);
    return k;
}

static int tls_flush(void *ctx)
{
    struct tls *t = ctx;
    pthread_mutex_lock(&t->mutex);
    int e = wire_flush(&t->wire);
    pthread_mutex_unlock(&t->mutex);
    return e;
}

/* ---- the end ---- */

static int say_goodbye(struct tls *t)
{
    int e = 0;
    if (t->said_goodbye || !begin(t, &e))
        return t->error ? -ENOTCONN : e;
    t->said_goodbye = true;
    if (SSL_shutdown(t->ssl) < 0) /* 0: the peer's own is read where everything is read */
        e = fail(t);
    int sent = wire_end(&t->wire);
    return e < 0 ? e : t->wire.broken ? -ENOTCONN : sent == -EAGAIN ? 0 : sent;
}

static int tls_shutdown(void *ctx, gs_how how)
{
    struct tls *t = ctx;
    int e = 0;
    pthread_mutex_lock(&t->mutex);
    if (how != GS_SHUT_READ)
        e = say_goodbye(t);
    if (e == 0 && how != GS_SHUT_WRITE) {
        t->deaf = true;
        e = gs_io_shutdown(t->wire.lower, GS_SHUT_READ);
    }
    pthread_mutex_unlock(&t->mutex);
    return e;
}

static void tls_close(void *ctx, bool reset)
{
    struct tls *t = ctx;
    if (!reset && t->ready) {
        (void)gs_io_shutdown(t->wire.lower, GS_SHUT_WRITE); /* what Nagle's algorithm still holds goes out before a reset could drop it */
        wire_discard(&t->wire);
    }
    tls_free(t);
}

/* ---- what it tells ---- */

static int tls_poll(void *ctx, size_t *buffered)
{
    struct tls *t = ctx;
    pthread_mutex_lock(&t->mutex);
    *buffered = t->end_waits;
    if (t->ready && !t->error)
        *buffered += !t->starved && SSL_has_pending(t->ssl);
    pthread_mutex_unlock(&t->mutex);
    return -1; /* the base's is the descriptor */
}

static int update_keys(struct tls *t, bool peers_too)
{
    int e = 0;
    if (SSL_version(t->ssl) < TLS1_3_VERSION)
        return gs_fail(-ENOTSUP, "option tls_key_update: %s has no key update", SSL_get_version(t->ssl));
    if (!begin(t, &e))
        return e;
    bool ok = SSL_key_update(t->ssl, peers_too ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
              SSL_do_handshake(t->ssl) == 1;
    if (!ok)
        e = fail(t);
    int sent = wire_end(&t->wire);
    return e < 0 ? e : sent == -EAGAIN ? 0 : sent;
}

static int tls_setopt(void *ctx, const gs_opt *o)
{
    struct tls *t = ctx;
    if (!option_name(o->name))
        return -ENOTSUP;
    if (o->name != GS_OPT_TLS_KEY_UPDATE)
        return gs_fail(-EINVAL, "a TLS option other than tls_key_update is given where the connection is opened");
    pthread_mutex_lock(&t->mutex);
    int e = update_keys(t, o->v.i != 0);
    pthread_mutex_unlock(&t->mutex);
    return e;
}

static int tls_getopt(void *ctx, gs_opt *o)
{
    (void)ctx;
    return option_name(o->name) ? gs_fail(-EINVAL, "what was negotiated is told by gs_stream_connection_information") : -ENOTSUP;
}

static int tls_peer(void *ctx, gs_peer *out)
{
    const struct tls *t = ctx;
    *out = (gs_peer){.kind = t->subject ? GS_PEER_TLS : GS_PEER_UNKNOWN, .subject = t->subject};
    return 0;
}

/* Locked. The peer's certificate, encoded when somebody wants it first. */
static int encode_cert(struct tls *t)
{
    X509 *cert = t->cert ? NULL : SSL_get0_peer_certificate(t->ssl);
    if (!cert)
        return 0;
    int n = i2d_X509(cert, &t->cert);
    if (n <= 0)
        return -ENOMEM;
    t->cert_n = n;
    return 0;
}

static int tls_security(void *ctx, gs_security *out)
{
    struct tls *t = ctx;
    const unsigned char *alpn;
    unsigned alpn_n;
    pthread_mutex_lock(&t->mutex);
    int e = encode_cert(t);
    SSL_get0_alpn_selected(t->ssl, &alpn, &alpn_n);
    const char *sni = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
    *out = (gs_security){
        .version = SSL_get_version(t->ssl),
        .cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(t->ssl)),
        .server_name = sni,
        .resumed = SSL_session_reused(t->ssl),
        .alpn = {alpn, alpn_n},
        .cert_der = {t->cert, (size_t)t->cert_n},
    };
    ERR_clear_error();
    pthread_mutex_unlock(&t->mutex);
    return e;
}

static const struct gs_transport tls = {
    .size = sizeof tls,
    .scheme = "tls",
    .flags = GS_T_SECURE,
    .check = check,
    .upgrade = upgrade,
    .handshake = handshake,
    .readv = tls_readv,
    .writev = tls_writev,
    .flush = tls_flush,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .poll = tls_poll,
    .setopt = tls_setopt,
    .getopt = tls_getopt,
    .peer = tls_peer,
    .security = tls_security,
};

int gs_tls_register(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static bool known;
    pthread_mutex_lock(&mutex);
    int e = known || OPENSSL_init_ssl(0, NULL) == 1 ? 0 : -ENOMEM; /* first: gensock's last writes come before its clean-up */
    if (e == 0 && !known)
        e = gs_transport_register(&tls);
    known |= e == 0;
    pthread_mutex_unlock(&mutex);
    return e;
}

int gs_tls_reload(void) { return contexts_reload(); }
