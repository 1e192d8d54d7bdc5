/* Every allocation of OpenSSL's and of the layer's fails in every place of a connection's life: there is no connection, with
 * a code, and never one that is not verified as it was asked for.
 *
 * OpenSSL's allocations are counted and failed with those of the library. In the census are the layer's own blocks, and each
 * SSL, SSL_CTX, session, certificate, key, store and BIO; not every block of OpenSSL 3.0, which loses some of them where it
 * lacks memory (a group of EC_GROUP_dup while a key is read).
 */
#include <openssl/crypto.h>

#include "base/seam.h"
#include "fault_plan.h"
#include "pki.h"
#include "stream_fault.h"
#include "tls_ends.h"

/* ---- OpenSSL's memory ---- */

static bool is_ours(const char *file) { return file && strstr(file, "src/tls/"); }

/* Every block says whose it is: it may be freed from elsewhere. */
enum { HEAD_BYTES = 16 };

static void *ssl_realloc(void *p, size_t n, const char *file, int line)
{
    (void)line;
    char *at = p ? (char *)p - HEAD_BYTES : NULL;
    bool ours = at ? *at : is_ours(file);
    if (!n && at)
        ours ? gsi_free(at) : free(at);
    if (!n)
        return NULL;
    if (ours)
        at = gsi_realloc(at, n + HEAD_BYTES);
    else
        at = fault_decide(at ? FAULT_realloc : FAULT_malloc, -1, 0) ? NULL : realloc(at, n + HEAD_BYTES);
    if (!at)
        return NULL;
    *at = ours;
    return at + HEAD_BYTES;
}

static void *ssl_malloc(size_t n, const char *file, int line) { return ssl_realloc(NULL, n, file, line); }
static void ssl_free(void *p, const char *file, int line) { (void)(p && ssl_realloc(p, 0, file, line)); }

/* A block of the census for each object. */
static void count_in(void *object, void *unused, CRYPTO_EX_DATA *data, int i, long arg, void *more)
{
    (void)object, (void)unused, (void)arg, (void)more;
    void *token = census_malloc(1);
    if (CRYPTO_set_ex_data(data, i, token) != 1)
        census_free(token);
}

static void count_out(void *object, void *token, CRYPTO_EX_DATA *data, int i, long arg, void *more)
{
    (void)object, (void)data, (void)i, (void)arg, (void)more;
    census_free(token);
}

/* A session that is copied: the copy has its own block already. */
static int count_copy(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **token, int i, long arg, void *more)
{
    (void)from, (void)arg, (void)more;
    *token = CRYPTO_get_ex_data(to, i);
    return 1;
}

static void count_objects(void)
{
    static const int kinds[] = {CRYPTO_EX_INDEX_SSL, CRYPTO_EX_INDEX_SSL_CTX, CRYPTO_EX_INDEX_SSL_SESSION, CRYPTO_EX_INDEX_X509,
                                CRYPTO_EX_INDEX_X509_STORE, CRYPTO_EX_INDEX_EVP_PKEY, CRYPTO_EX_INDEX_BIO};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (CRYPTO_get_ex_new_index(kinds[i], 0, NULL, count_in, count_copy, count_out) < 0)
            abort();
}

/* ---- what is configured ---- */

enum { OPTS = 8 };

/* Who must never come up, whatever fails. SERVER_TRUST: nor trust, where one without a name may come in: a client that lacks the
 * memory to choose its certificate goes without one, and says so (RFC 8446, 4.4.2). */
enum wrong { NOBODY, CLIENT, SERVER, SERVER_TRUST };

struct plan {
    const char *name;
    gs_opt client[OPTS], server[OPTS];
    enum wrong refuses;
    const char *client_name; /* what the server calls a verified client; NULL: unverified */
};

static struct {
    const struct pki_files *good;
    const char *other_ca;                    /* that has signed nothing */
    const char *expired, *expired_key;       /* of the good CA */
    const char *client, *client_key;         /* of the good CA, for "DNS:client.test" */
    const char *stranger, *stranger_key;     /* a client's, of the other CA */
    const char *second, *second_key;         /* the server's for second.test */
} file;

#define KEEP(pointer, what, spec, issuer)                                                                             \
    do {                                                                                                              \
        struct pki_cert c_ = pki_make(&(struct pki_spec)spec, issuer);                                                \
        file.pointer = pki_cert_file(what ".pem", (const struct pki_cert *const[]){&c_}, 1);                          \
        file.pointer##_key = pki_key_file(what ".key", &c_);                                                          \
        pki_free(&c_);                                                                                                \
    } while (0)
#define SPEC(...) {__VA_ARGS__}

/* A CA of our own besides pki_default's, whose key is not kept. */
static const char *make_files(void)
{
    file.good = pki_default();
    struct pki_cert ca = pki_make(&(struct pki_spec){.cn = "second CA", .ca = true}, NULL);
    struct pki_cert other = pki_make(&(struct pki_spec){.cn = "other CA", .ca = true}, NULL);
    const char *path = pki_cert_file("ca2.pem", (const struct pki_cert *const[]){&ca}, 1);
    file.other_ca = pki_cert_file("other.pem", (const struct pki_cert *const[]){&other}, 1);
    KEEP(expired, "expired", SPEC(.cn = "e", .san = "DNS:gensock.test", .days = -2), &ca);
    KEEP(client, "client", SPEC(.cn = "c", .san = "DNS:client.test"), &ca);
    KEEP(stranger, "stranger", SPEC(.cn = "s", .san = "DNS:client.test"), &other);
    KEEP(second, "second", SPEC(.cn = "2", .san = "DNS:second.test"), &ca);
    pki_free(&ca);
    pki_free(&other);
    return path;
}

#define PLANS 12
static struct plan plans[PLANS];
static int plan_count;

static void add_plan(const char *name, enum wrong refuses, const char *client_name, const gs_opt *client, const gs_opt *server)
{
    struct plan *p = &plans[plan_count++];
    must(plan_count <= PLANS);
    p->name = name;
    p->refuses = refuses;
    p->client_name = client_name;
    for (int i = 0; client[i].name; i++)
        p->client[i] = client[i];
    for (int i = 0; server[i].name; i++)
        p->server[i] = server[i];
}

#define CERT(c, k) GS_STR(TLS_CERT_FILE, c), GS_STR(TLS_KEY_FILE, k)
#define EXPECTS(ca, host) GS_STR(TLS_CA_FILE, ca), GS_STR(TLS_SERVER_NAME, host)

static void make_plans(void)
{
    const char *ca2 = make_files();
    const char *cert = file.good->cert, *key = file.good->key, *ca = file.good->ca;
    const gs_opt *server = GS_OPTS(CERT(cert, key));
    add_plan("full", NOBODY, NULL, GS_OPTS(EXPECTS(ca, "gensock.test"), GS_INT(TLS_RESUME, false)), server);
    add_plan("TLS 1.2, an address, ALPN", NOBODY, NULL,
             GS_OPTS(EXPECTS(ca, "127.0.0.1"), GS_INT(TLS_MAX_VERSION, GS_TLS_1_2), GS_STR(TLS_ALPN, "h2,http/1.1"),
                     GS_INT(TLS_RESUME, false)),
             GS_OPTS(CERT(cert, key), GS_STR(TLS_ALPN, "http/1.1")));
    add_plan("certificates by name", NOBODY, NULL, GS_OPTS(EXPECTS(ca2, "second.test"), GS_INT(TLS_RESUME, false)),
             GS_OPTS(CERT(cert, key), CERT(file.second, file.second_key)));
    add_plan("a client's certificate", NOBODY, "client.test",
             GS_OPTS(EXPECTS(ca, "gensock.test"), CERT(file.client, file.client_key), GS_INT(TLS_RESUME, false)),
             GS_OPTS(CERT(cert, key), GS_STR(TLS_CA_FILE, ca2), GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE)));
    add_plan("the system's CAs", NOBODY, NULL, GS_OPTS(GS_STR(TLS_SERVER_NAME, "localhost"), GS_INT(TLS_RESUME, false)), server);
    must(setenv("SSL_CERT_FILE", ca, 1) == 0); /* they are this one */
    add_plan("another CA", CLIENT, NULL, GS_OPTS(EXPECTS(file.other_ca, "gensock.test")), server);
    add_plan("another host", CLIENT, NULL, GS_OPTS(EXPECTS(ca, "wrong.test")), server);
    add_plan("another host, TLS 1.2", CLIENT, NULL, GS_OPTS(EXPECTS(ca, "127.0.0.2"), GS_INT(TLS_MAX_VERSION, GS_TLS_1_2)),
             server);
    add_plan("an expired certificate", CLIENT, NULL, GS_OPTS(EXPECTS(ca2, "gensock.test")),
             GS_OPTS(CERT(file.expired, file.expired_key)));
    add_plan("a client without certificate", SERVER, NULL, GS_OPTS(EXPECTS(ca, "gensock.test")),
             GS_OPTS(CERT(cert, key), GS_STR(TLS_CA_FILE, ca2), GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE)));
    add_plan("a stranger", SERVER_TRUST, NULL, GS_OPTS(EXPECTS(ca, "gensock.test"), CERT(file.stranger, file.stranger_key)),
             GS_OPTS(CERT(cert, key), GS_STR(TLS_CA_FILE, ca2), GS_INT(TLS_VERIFY, GS_TLS_VERIFY_PEER)));
}

/* ---- a connection's life, by its slots ---- */

static const struct tls_script well = {.read_answer = 1};

static const char *verified_name(struct tls_end *x)
{
    gs_peer peer;
    must(tls_layer()->peer(x->tls, &peer) == 0);
    must((peer.kind == GS_PEER_TLS) == (peer.subject != NULL));
    return peer.subject;
}

/* Both have come up: as they were told to. */
static int check_verified(struct tls_ends *x, const struct plan *p)
{
    gs_security s;
    const char *host = NULL, *name = verified_name(&x->server);
    for (const gs_opt *o = p->client; o->name; o++)
        host = o->name == GS_OPT_TLS_SERVER_NAME ? o->v.s : host;
    must(verified_name(&x->client) && !strcmp(verified_name(&x->client), host));
    must(p->client_name ? name && !strcmp(name, p->client_name) : !name);
    int e = first_code(0, tls_layer()->security(x->client.tls, &s));
    if (e == 0)
        must(s.cert_der.n > 0 && s.version && s.cipher);
    return e;
}

static int talk(struct tls_end *from, struct tls_end *to, size_t n, uint64_t seed)
{
    static uint8_t out[SOME], in[SOME];
    must(n <= SOME);
    pattern_fill(out, n, seed, 0);
    ssize_t k = tls_end_write(from, out, n);
    if (k < 0)
        return first_code(0, k);
    must(k == (ssize_t)n);
    size_t came = 0;
    for (int tries = 0; came < n && tries < 100; tries++) {
        k = tls_end_read(to, in + came, n - came);
        if (k == -EAGAIN)
            continue;
        if (k <= 0)
            return k < 0 ? first_code(0, k) : GS_ECLOSED;
        must(pattern_check(in + came, (size_t)k, seed, came) == (size_t)k);
        came += (size_t)k;
    }
    return came == n ? 0 : GS_ETIMEOUT;
}

/* Keys, bytes, the end; a lack of memory ends it with a code, and no byte is another. */
static int talk_to_the_end(struct tls_ends *x, const struct plan *p)
{
    int e = 0;
    bool tls13 = true;
    for (const gs_opt *o = p->client; o->name; o++)
        tls13 &= o->name != GS_OPT_TLS_MAX_VERSION;
    then(talk(&x->client, &x->server, SOME, 1));
    then(talk(&x->server, &x->client, SOME, 2));
    if (tls13)
        then(tls_layer()->setopt(x->client.tls, &(gs_opt)GS_INT(TLS_KEY_UPDATE, true)));
    then(talk(&x->client, &x->server, 100, 3));
    then(talk(&x->server, &x->client, 100, 4));
    then(tls_layer()->shutdown(x->client.tls, GS_SHUT_WRITE));
    if (e == 0) {
        char c;
        ssize_t k = tls_end_read(&x->server, &c, 1);
        must(k == 0 || (fault_armed() && k < 0)); /* close_notify did not get lost */
        e = first_code(0, k);
    }
    then(talk(&x->server, &x->client, 100, 5));
    return e;
}

static int connect_once(const struct plan *p)
{
    struct tls_ends x = {0};
    int client = 0, server = 0;
    int e = first_code(0, tls_layer()->check(true, &(gs_target){.rest = ""}, p->server));
    then(tls_layer()->check(false, &(gs_target){.rest = ""}, p->client));
    then(tls_ends_open(&x, p->client, p->server, &well));
    if (e == 0) {
        must(tls_ends_handshake(&x, &client, &server));
        must(p->refuses != CLIENT || client != 0);
        must(p->refuses != SERVER || server != 0);
        must(p->refuses != SERVER_TRUST || server != 0 || (fault_armed() && !verified_name(&x.server)));
        e = p->refuses >= SERVER ? server : client;
        e = e == GS_EWANT_READ || e == GS_EWANT_WRITE ? GS_ECLOSED : e; /* the other has left: nothing comes any more */
        if (e == 0 && p->refuses == NOBODY)
            e = tls_goes_on(server) ? GS_ECLOSED : server;
        e = first_code(0, e);
    }
    if (e == 0)
        e = check_verified(&x, p);
    then(talk_to_the_end(&x, p));
    tls_ends_close(&x);
    return e;
}

/* Where somebody refuses, being refused is how it works. */
static int live(void *arg)
{
    const struct plan *p = arg;
    int e = first_code(0, gs_tls_register());
    then(connect_once(p));
    if (p->refuses == NOBODY || e == 0)
        return e;
    return e == GS_EALERT ? 0 : e;
}

static int resume(void *arg)
{
    const struct plan *p = arg;
    int e = 0;
    then(connect_once(p));
    then(connect_once(p));
    return e;
}

static int reload(void *arg)
{
    int e = 0;
    then(gs_tls_reload());
    then(connect_once(arg));
    return e;
}

/* ---- what comes with first use ---- */

/* OpenSSL's own tables, filled once: by other contexts than those of the scenario. */
static void warm(void)
{
    must(gs_tls_register() == 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < plan_count; i++) {
            struct plan p = plans[i];
            int n = 0;
            while (p.server[n].name)
                n++;
            p.server[n] = (gs_opt)GS_INT(TLS_RESUME, false);
            (void)connect_once(&p);
        }
    }
}

static const struct fault_options few = {.prepare = warm, .at_most = 8};

static void a_life(void **state)
{
    (void)state;
    for (int i = 0; i < plan_count; i++)
        fault_run_with(plans[i].name, live, &plans[i], &few);
}

static void resumption(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct plan p = plans[i];
        struct fault_options options = few;
        options.census_may_grow = true; /* sessions are kept, until the room for them is full */
        for (gs_opt *o = p.client; o->name; o++)
            if (o->name == GS_OPT_TLS_RESUME)
                o->v.i = true;
        fault_run_with(i ? "resumed, TLS 1.2" : "resumed", resume, &p, &options);
    }
}

static void reloading(void **state)
{
    (void)state;
    fault_run_with("reload", reload, &plans[3], &few);
}

int main(void)
{
    if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1)
        abort();
    count_objects();
    make_plans();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life),
        cmocka_unit_test(resumption),
        cmocka_unit_test(reloading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
