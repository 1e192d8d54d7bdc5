/* context.c: configurations to SSL_CTXs. Loading certificates and the system's CAs takes milliseconds, so what streams with the
 * same options need is made once and found again; its files are looked at when a handshake begins.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls/tls.h"

enum { UNUSED_MAX = 16, LOOK_MS = 1000, KEY_MAX = 64 * 1024, TICKET_KEYS = 80, READ_AHEAD = 64 * 1024 };

/* What is in use: one SSL_CTX for each certificate, the first is the one that decides everything else. */
struct set {
    SSL_CTX *ctx[CERTS_MAX];
    int n;
};

struct context {
    struct context *next;
    unsigned refs;
    char *key; /* every option, NUL-terminated, one after the other */
    size_t key_n;
    struct config config; /* its strings point into key */
    uint8_t alpn[ALPN_MAX];
    int alpn_n;
    struct set set;
    struct stamp *stamp;
    int stamps;
    uint64_t looked_ms;
    struct sessions sessions;
};

static struct {
    pthread_mutex_t mutex; /* of the list and of what is in it; files are read under it, so that they are read once */
    struct context *first; /* the last used first */
} all = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- what a handshake asks ---- */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in, unsigned in_n, void *arg)
{
    (void)ssl;
    const struct context *c = arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, n, c->alpn, (unsigned)c->alpn_n, in, in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* The certificate whose names the client's SNI matches, else the first. The set is that of the SSL's own SSL_CTX. */
static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    struct context *c = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_CTX *chosen = NULL;
    pthread_mutex_lock(&all.mutex);
    for (int i = 0; i < c->set.n && !chosen; i++)
        if (X509_check_host(SSL_CTX_get0_certificate(c->set.ctx[i]), name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1)
            chosen = c->set.ctx[i];
    bool ok = !chosen || SSL_set_SSL_CTX(ssl, chosen);
    pthread_mutex_unlock(&all.mutex);
    return ok ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- making one ---- */

static int use_trust(SSL_CTX *ctx, const struct config *c)
{
    if (c->verify == GS_TLS_VERIFY_NONE)
        return 0;
    int e = c->ca ? file_add_cas(ctx, "tls_ca_file", c->ca, c->server) : file_add_system_cas(ctx);
    if (e == 0 && c->extra_ca)
        e = file_add_cas(ctx, "tls_extra_ca_file", c->extra_ca, c->server);
    return e == 0 ? file_read_parts(ctx) : e;
}

static int verify_mode(const struct config *c)
{
    if (c->verify == GS_TLS_VERIFY_NONE)
        return SSL_VERIFY_NONE;
    return SSL_VERIFY_PEER | (c->verify == GS_TLS_VERIFY_REQUIRE ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
}

/* Forward secrecy and AEAD only; those of TLS 1.3 are so by themselves. */
static int use_rules(SSL_CTX *ctx, const struct context *cx)
{
    const struct config *c = &cx->config;
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | (c->resume ? 0 : SSL_OP_NO_TICKET));
    SSL_CTX_set_verify(ctx, verify_mode(c), NULL);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    bool ok = SSL_CTX_set_min_proto_version(ctx, c->min_version) == 1 && SSL_CTX_set_max_proto_version(ctx, c->max_version) == 1 &&
              SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL") == 1 && EVP_Digest(cx->key, cx->key_n, digest, &n, EVP_sha256(), NULL) == 1 &&
              SSL_CTX_set_session_id_context(ctx, digest, n) == 1 && (c->resume || SSL_CTX_set_num_tickets(ctx, 0) == 1);
    return ok ? 0 : verdict_setup(-EINVAL, "OpenSSL refuses the configuration");
}

static int use_handlers(SSL_CTX *ctx, struct context *cx)
{
    const struct config *c = &cx->config;
    SSL_CTX_set_session_cache_mode(ctx, c->server || !c->resume ? SSL_SESS_CACHE_OFF : SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (!c->server) {
        SSL_CTX_sess_set_new_cb(ctx, layer_new_session);
        bool ok = !cx->alpn_n || SSL_CTX_set_alpn_protos(ctx, cx->alpn, (unsigned)cx->alpn_n) == 0;
        return ok ? 0 : verdict_setup(-ENOMEM, "option tls_alpn");
    }
    if (cx->alpn_n)
        SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, cx);
    if (c->certs > 1) {
        SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
        SSL_CTX_set_tlsext_servername_arg(ctx, cx);
    }
    return 0;
}

static int make_one(struct context *cx, int i, SSL_CTX **out)
{
    const struct config *c = &cx->config;
    SSL_CTX *ctx = SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method());
    if (!ctx)
        return verdict_setup(-ENOMEM, "an SSL_CTX");
    SSL_CTX_set_app_data(ctx, cx);
    int e = use_rules(ctx, cx);
    if (e == 0)
        e = use_trust(ctx, c);
    if (e == 0)
        e = use_handlers(ctx, cx);
    if (e == 0 && i < c->certs)
        e = file_use_cert(ctx, c->file[i].cert);
    if (e == 0 && i < c->certs)
        e = file_use_key(ctx, c->file[i].key, c->file[i].cert);
    if (e < 0)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return e;
}

static void free_set(struct set *s)
{
    while (s->n)
        SSL_CTX_free(s->ctx[--s->n]);
}

static int make_set(struct context *cx, struct set *out)
{
    int wanted = cx->config.certs ? cx->config.certs : 1, e = 0;
    *out = (struct set){0};
    while (e == 0 && out->n < wanted) {
        e = make_one(cx, out->n, &out->ctx[out->n]);
        out->n += e == 0;
    }
    if (e < 0)
        free_set(out);
    return e;
}

/* ---- files ---- */

static int stamp_all(const struct config *c, struct stamp *out)
{
    int n = 0, e = 0;
    for (int i = 0; i < c->certs && e == 0; i++) {
        e = file_stamp("tls_cert_file", c->file[i].cert, &out[n++]);
        if (e == 0)
            e = file_stamp("tls_key_file", c->file[i].key, &out[n++]);
    }
    if (e == 0 && c->ca)
        e = file_stamp("tls_ca_file", c->ca, &out[n++]);
    if (e == 0 && c->extra_ca)
        e = file_stamp("tls_extra_ca_file", c->extra_ca, &out[n++]);
    return e < 0 ? e : n;
}

static bool same_stamps(const struct stamp *a, const struct stamp *b, int n)
{
    for (int i = 0; i < n; i++)
        if (a[i].dev != b[i].dev || a[i].ino != b[i].ino || a[i].size != b[i].size || a[i].changed.tv_sec != b[i].changed.tv_sec ||
            a[i].changed.tv_nsec != b[i].changed.tv_nsec)
            return false;
    return true;
}

/* Tickets of before stay good: a new certificate is no reason for every client to begin anew. */
static void keep_ticket_keys(SSL_CTX *to, SSL_CTX *from)
{
    unsigned char keys[TICKET_KEYS];
    if (SSL_CTX_get_tlsext_ticket_keys(from, keys, sizeof keys) == 1)
        (void)SSL_CTX_set_tlsext_ticket_keys(to, keys, sizeof keys);
    OPENSSL_cleanse(keys, sizeof keys);
}

/* Locked. The files, if they are others than those in use, or in any case. What cannot be read leaves everything as it is. */
static int refresh(struct context *cx, bool always)
{
    struct stamp now[2 * CERTS_MAX + 2];
    struct set fresh;
    int n = stamp_all(&cx->config, now);
    if (n < 0 || (!always && cx->stamp && same_stamps(now, cx->stamp, n)))
        return n < 0 ? n : 0;
    struct stamp *stamps = OPENSSL_malloc((size_t)n * sizeof *now + 1);
    int e = stamps ? make_set(cx, &fresh) : -ENOMEM;
    if (e < 0) {
        OPENSSL_free(stamps);
        return e;
    }
    memcpy(stamps, now, (size_t)n * sizeof *now);
    if (cx->set.n && cx->config.server)
        keep_ticket_keys(fresh.ctx[0], cx->set.ctx[0]);
    else if (cx->set.n) /* other CAs may be trusted now */
        sessions_clear(&cx->sessions);
    OPENSSL_free(cx->stamp);
    free_set(&cx->set);
    cx->stamp = stamps;
    cx->stamps = n;
    cx->set = fresh;
    return 0;
}

/* ---- the list ---- */

/* Every option as text; and, with a context, the configuration whose strings are there. */
struct key {
    char p[KEY_MAX];
    size_t n;
};

static const char *put(struct key *k, const char *s)
{
    size_t n = s ? strlen(s) + 1 : 1;
    if (n > sizeof k->p - k->n)
        return NULL;
    char *at = k->p + k->n;
    memcpy(at, s ? s : "", n);
    k->n += n;
    return at;
}

static int make_key(const struct config *c, struct key *k)
{
    k->n = (size_t)snprintf(k->p, sizeof k->p, "%d %d %d %d %d %d", c->server, c->resume, c->verify, c->min_version, c->max_version, c->certs) + 1;
    bool ok = put(k, c->ca) && put(k, c->extra_ca) && put(k, c->alpn);
    for (int i = 0; ok && i < c->certs; i++)
        ok = put(k, c->file[i].cert) && put(k, c->file[i].key);
    return ok ? 0 : gs_fail(-EINVAL, "the TLS options are longer than %d bytes in all", KEY_MAX);
}

static const char *next_string(const char **at)
{
    const char *s = *at;
    *at += strlen(s) + 1;
    return *s ? s : NULL;
}

/* The configuration with strings of the context's own. The name to verify is a connection's, not the context's. */
static void adopt_config(struct context *cx, const struct config *c)
{
    const char *at = cx->key;
    cx->config = *c;
    cx->config.server_name = NULL;
    (void)next_string(&at);
    cx->config.ca = next_string(&at);
    cx->config.extra_ca = next_string(&at);
    cx->config.alpn = next_string(&at);
    for (int i = 0; i < c->certs; i++) {
        cx->config.file[i].cert = next_string(&at);
        cx->config.file[i].key = next_string(&at);
    }
}

static void context_free(struct context *cx)
{
    free_set(&cx->set);
    sessions_clear(&cx->sessions);
    pthread_mutex_destroy(&cx->sessions.mutex);
    OPENSSL_free(cx->stamp);
    OPENSSL_free(cx->key);
    OPENSSL_free(cx);
}

static int context_new(const struct config *c, const struct key *k, struct context **out)
{
    struct context *cx = OPENSSL_zalloc(sizeof *cx);
    if (!cx)
        return -ENOMEM;
    pthread_mutex_init(&cx->sessions.mutex, NULL);
    cx->key = OPENSSL_memdup(k->p, k->n);
    cx->key_n = k->n;
    if (!cx->key) {
        context_free(cx);
        return -ENOMEM;
    }
    adopt_config(cx, c);
    cx->alpn_n = c->alpn ? alpn_wire(c->alpn, cx->alpn, sizeof cx->alpn) : 0;
    cx->looked_ms = now_ms();
    int e = refresh(cx, true);
    if (e < 0)
        context_free(cx);
    else
        *out = cx;
    return e;
}

/* Locked. Out of the list. */
static struct context *take_out(const struct key *k)
{
    for (struct context **at = &all.first; *at; at = &(*at)->next) {
        struct context *cx = *at;
        if (cx->key_n == k->n && memcmp(cx->key, k->p, k->n) == 0) {
            *at = cx->next;
            return cx;
        }
    }
    return NULL;
}

/* Locked. Those that nobody uses, but for the last used. */
static void forget_unused(void)
{
    int kept = 0;
    for (struct context **at = &all.first; *at;) {
        struct context *cx = *at;
        if (cx->refs || kept++ < UNUSED_MAX) {
            at = &cx->next;
            continue;
        }
        *at = cx->next;
        context_free(cx);
    }
}

int context_get(const struct config *c, struct context **out)
{
    struct key *k = OPENSSL_malloc(sizeof *k);
    if (!k)
        return -ENOMEM;
    int e = make_key(c, k);
    if (e < 0) {
        OPENSSL_free(k);
        return e;
    }
    pthread_mutex_lock(&all.mutex);
    struct context *cx = take_out(k);
    uint64_t now = now_ms();
    if (!cx)
        e = context_new(c, k, &cx);
    else if (now - cx->looked_ms >= LOOK_MS) {
        cx->looked_ms = now;
        (void)refresh(cx, false); /* the old ones stay in use; gs_tls_reload tells why */
    }
    if (e == 0) {
        cx->refs++;
        cx->next = all.first;
        all.first = cx;
        *out = cx;
    }
    forget_unused();
    pthread_mutex_unlock(&all.mutex);
    OPENSSL_free(k);
    ERR_clear_error();
    return e;
}

void context_release(struct context *cx)
{
    if (!cx)
        return;
    pthread_mutex_lock(&all.mutex);
    cx->refs--;
    pthread_mutex_unlock(&all.mutex);
}

SSL_CTX *context_ssl(struct context *cx)
{
    pthread_mutex_lock(&all.mutex);
    SSL_CTX *ctx = cx->set.ctx[0];
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&all.mutex);
    return ctx;
}

struct sessions *context_sessions(struct context *cx) { return &cx->sessions; }

int contexts_reload(void)
{
    int result = 0;
    char why[400] = "";
    pthread_mutex_lock(&all.mutex);
    for (struct context *cx = all.first; cx; cx = cx->next) {
        int e = refresh(cx, true);
        if (e < 0 && result == 0) {
            result = e;
            snprintf(why, sizeof why, "%s", gs_error_detail(e));
        }
    }
    pthread_mutex_unlock(&all.mutex);
    ERR_clear_error();
    return result < 0 ? gs_fail(result, "%s", why) : 0;
}
