/* tls.h: the layer as the files of this folder share it.
 *
 *   layer.c    the slots of gensock/transport.h, over one SSL object     config.c   options to a checked configuration
 *   wire.c     ciphertext between OpenSSL and the connection below       context.c  configurations to SSL_CTXs, kept and reloaded
 *   files.c    PEM files: certificates, keys, CAs                        session.c  client sessions for resumption
 *   verdict.c  alerts and verification as errors with a detail           name.c     whom to verify, and who was verified
 *
 * It stands on gensock's public headers alone, as any transport of a user's would.
 */
#ifndef GSTLS_TLS_H
#define GSTLS_TLS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "gensock/tls.h"
#include "gensock/transport.h"

/* ---- config.c ---- */

enum { CERTS_MAX = 64, NAME_MAX_BYTES = 255, ALPN_MAX = 255 };

/* "tls_verify"; NULL: not an option of TLS. */
const char *option_name(int name);
/* What a list of options says; the strings are the list's. */
struct config {
    bool server, resume;
    int verify, min_version, max_version;
    int certs;
    struct {
        const char *cert, *key; /* key: may be the same file */
    } file[CERTS_MAX];
    const char *ca, *extra_ca, *server_name, *alpn;
};
GS_MUST_USE int config_read(struct config *c, bool server, const gs_opt *opts);
/* "h2,http/1.1" as RFC 7301 writes it; the bytes written, -EINVAL. */
GS_MUST_USE int alpn_wire(const char *text, uint8_t *out, size_t cap);

/* ---- name.c ---- */

/* Whom a client means: a DNS name or an IP address, "" for nobody. */
struct server_name {
    char text[NAME_MAX_BYTES + 1];
    bool ip;
};
GS_MUST_USE int name_wanted(const struct config *c, const gs_target *at, struct server_name *out);
/* A name to call a verified client by: its first DNS, e-mail, URI or IP name, or its subject. NULL: no memory. OPENSSL_free. */
char *name_of_client(X509 *cert);

/* ---- files.c ---- */

struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};
/* -errno with a detail when there is no such file. */
GS_MUST_USE int file_stamp(const char *what, const char *path, struct stamp *out);
GS_MUST_USE int file_use_cert(SSL_CTX *ctx, const char *path);
GS_MUST_USE int file_use_key(SSL_CTX *ctx, const char *path, const char *cert_path);
/* Adds CAs to the store; with a list their names too, for a server's request. */
GS_MUST_USE int file_add_cas(SSL_CTX *ctx, const char *what, const char *path, bool request);
/* The CAs that OpenSSL finds by SSL_CERT_FILE, SSL_CERT_DIR or in its own folder. */
GS_MUST_USE int file_add_system_cas(SSL_CTX *ctx);
/* Keys and extensions of all CAs in the store: a lack of memory shows here, not as an unknown CA later. -ENOMEM. */
GS_MUST_USE int file_read_parts(SSL_CTX *ctx);

/* ---- session.c ---- */

enum { SESSIONS = 64 };
struct sessions {
    pthread_mutex_t mutex;
    int next;
    struct {
        char *peer;
        SSL_SESSION *session;
    } slot[SESSIONS];
};
/* Takes the session, also when it cannot be kept. */
void sessions_put(struct sessions *s, const char *peer, SSL_SESSION *session);
/* The caller's to free; NULL: none. One of TLS 1.3 is given once (RFC 8446, C.4). */
SSL_SESSION *sessions_take(struct sessions *s, const char *peer);
void sessions_clear(struct sessions *s);

/* ---- context.c ---- */

struct context;
/* The context of these options, made or found, its files read again when they changed; context_release. */
GS_MUST_USE int context_get(const struct config *c, struct context **out);
void context_release(struct context *c);
/* A connection's own reference to what is in use now. */
SSL_CTX *context_ssl(struct context *c);
struct sessions *context_sessions(struct context *c);
GS_MUST_USE int contexts_reload(void);

/* ---- layer.c ---- */

/* OpenSSL's new_session_cb. */
int layer_new_session(SSL *ssl, SSL_SESSION *session);

/* ---- wire.c ---- */

/* Ciphertext on its way. Between calls only what could not go on is kept, so an idle connection has none of it. */
struct wire {
    gs_io *lower;
    uint8_t *out; /* not yet taken by what is below */
    size_t out_at, out_n;
    struct scratch *scratch; /* while a call runs */
    bool no_more_reads;      /* this call has something to answer: it asks below no more */
    bool eof;
    int error;  /* of reading below, or -ENOMEM: nothing more can go right */
    int broken; /* of writing below: nothing more can be written */
};
GS_MUST_USE int wire_bio(struct wire *w, BIO **out);
/* Around every call of OpenSSL. -ENOMEM. */
GS_MUST_USE int wire_begin(struct wire *w);
/* Sends and keeps the rest. 0; -EAGAIN: some is held back; or why nothing more can go. */
int wire_end(struct wire *w);
/* Sends what is held back: as wire_end. */
int wire_flush(struct wire *w);
/* A call that writes much: sends when the scratch is nearly full. False: below takes no more now. */
bool wire_room(struct wire *w);
/* Takes what is left below, so that closing is no reset because of an unread ticket. */
void wire_discard(struct wire *w);
void wire_free(struct wire *w);

/* ---- verdict.c ---- */

/* The alert that ended it. */
struct alert {
    int code; /* -1: none yet */
    bool sent;
};
void alert_note(struct alert *a, int where, int ret);
/* RFC 8446, 6: "handshake_failure". */
const char *alert_name(int code);
/* What OpenSSL's last failure on this thread is as an error, its detail set. */
int verdict(const SSL *ssl, const struct alert *a, const struct wire *w, bool handshaking);
/* The last failure of a set-up call, with what was being done. */
int verdict_setup(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
