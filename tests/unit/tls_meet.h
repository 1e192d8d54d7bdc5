/* tls_meet.h: two ends of TLS, both gensock's, over a unix socket, and who they are. */
#ifndef TLS_MEET_H
#define TLS_MEET_H

#include <errno.h>
#include <gensock/mailbox.h>
#include <gensock/tls.h>
#include <string.h>

#include "support.h"
#include "tls_peer.h"

enum { WAIT = 10000, OPTS_MAX = 12 };

/* A CA, and a file of each kind that somebody signed by it may want. */
static struct pki_cert ca;
static const char *ca_file;

struct identity {
    const char *cert, *key;
};

static inline struct identity identity(const char *name, const char *cn, const char *san)
{
    char file[40];
    struct pki_cert c = pki_make(&(struct pki_spec){.cn = cn, .san = san}, &ca);
    snprintf(file, sizeof file, "%s.pem", name);
    struct identity i = {.cert = pki_cert_file(file, (const struct pki_cert *const[]){&c}, 1)};
    snprintf(file, sizeof file, "%s.key", name);
    i.key = pki_key_file(file, &c);
    pki_free(&c);
    return i;
}

static struct identity server_id, client_id, other_id;

static inline int make_identities(void **state)
{
    (void)state;
    ca = pki_make(&(struct pki_spec){.cn = "stream CA", .ca = true}, NULL);
    ca_file = pki_cert_file("stream-ca.pem", (const struct pki_cert *const[]){&ca}, 1);
    server_id = identity("server-id", "server", "DNS:gensock.test");
    other_id = identity("other-id", "other", "DNS:other.test,DNS:*.wild.test");
    client_id = identity("client-id", "client", "email:somebody@gensock.test");
    return gs_tls_register();
}

static inline int free_identities(void **state)
{
    (void)state;
    pki_free(&ca);
    return 0;
}

/* ---- a pair ---- */

struct pair {
    gs_stream listener, client, server;
    char at[128];
    const gs_opt *client_opts;
    gs_mailbox owner; /* of the client */
    int code;
    char detail[400];
};

static inline const gs_opt *with(gs_opt *all, const gs_opt *base, const gs_opt *more)
{
    size_t n = 0;
    for (; base->name; base++)
        all[n++] = *base;
    for (; more && more->name; more++)
        all[n++] = *more;
    assert_true(n < OPTS_MAX);
    all[n] = (gs_opt){0};
    return all;
}

static inline void *run_client(void *arg)
{
    struct pair *p = arg;
    p->code = gs_stream_connect(&p->client, p->at, p->client_opts, p->owner, WAIT);
    snprintf(p->detail, sizeof p->detail, "%s", gs_error_detail(p->code));
    return NULL;
}

static inline void listen_with(struct pair *p, const gs_opt *more)
{
    static unsigned count;
    char path[108];
    gs_opt all[OPTS_MAX];
    snprintf(path, sizeof path, "tls%u", count++);
    snprintf(p->at, sizeof p->at, "tls+unix://%s", temp_path(path));
    const gs_opt *base = GS_OPTS(GS_STR(TLS_CERT_FILE, server_id.cert), GS_STR(TLS_KEY_FILE, server_id.key));
    assert_ok(gs_stream_listen(&p->listener, p->at, with(all, base, more), GS_NO_MAILBOX));
}

/* Connects once more to p's listener; the server's answer to the handshake. */
static inline int meet(struct pair *p, const gs_opt *more)
{
    pthread_t t;
    gs_opt all[OPTS_MAX];
    p->client_opts = with(all, GS_OPTS(GS_STR(TLS_CA_FILE, ca_file), GS_STR(TLS_SERVER_NAME, "gensock.test")), more);
    assert_int_equal(pthread_create(&t, NULL, run_client, p), 0);
    assert_ok(gs_stream_accept(p->listener, &p->server, GS_NO_MAILBOX, WAIT, NULL));
    int e = gs_stream_handshake(p->server, WAIT);
    pthread_join(t, NULL);
    return e;
}

static inline void part(struct pair *p)
{
    gs_stream_close(p->client);
    gs_stream_close(p->server);
}

static inline void open_pair(struct pair *p, const gs_opt *server, const gs_opt *client)
{
    *p = (struct pair){0};
    listen_with(p, server);
    assert_ok(meet(p, client));
    assert_ok(p->code);
}

static inline void close_pair(struct pair *p)
{
    part(p);
    gs_stream_close(p->listener);
}

/* A text from one end to the other. */
static inline void pass(gs_stream from, gs_stream to, const char *text)
{
    char got[64] = "";
    assert_ok(gs_stream_send(from, text, strlen(text)));
    assert_code(gs_stream_recv(to, got, sizeof got, strlen(text), WAIT), (long)strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

#endif
