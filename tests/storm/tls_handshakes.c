/* The handshake storm: connects and accepts that are cancelled, time out, are closed by others or talk rubbish at every step of a
 * handshake, while the certificate's file is replaced and reloaded and the listener goes and comes back; connections that come up
 * are written and read by two threads at once, and no byte is another. Nothing may hang, and nothing is left.
 */
#include <gensock/tls.h>

#include "pki.h"
#include "storm.h"

enum { CONNECTORS = 3, ACCEPTORS = 3, SLOTS = 64, BYTES = 200000, PIECE = 5000, SILENCE_MS = 20000 };

static const char *scheme, *pem, *pem_of[2];
static _Atomic uint64_t listener, slots[SLOTS];
static _Atomic uint32_t slot_count;
static pthread_mutex_t place_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct place place;
static _Atomic bool stop_connecting, stop_accepting;
static _Atomic long moved, up, whole, timeouts, refused, cancelled, foreign, reloads, listeners;

#define COUNT(what) (atomic_fetch_add(&moved, 1), atomic_fetch_add_explicit(&what, 1, memory_order_relaxed))
/* What may meet a connection that others disturb. */
#define DISTURBED GS_ECLOSED, GS_ETIMEOUT, GS_ETRUNCATED, GS_EALERT, -ECONNRESET, -EPIPE, -ECONNREFUSED, -ENOENT, -ENOTCONN

/* ---- the certificate ---- */

static void copy_into(FILE *to, const char *path)
{
    char bytes[4096];
    FILE *from = fopen(path, "re");
    assert_non_null(from);
    fwrite(bytes, 1, fread(bytes, 1, sizeof bytes, from), to);
    fclose(from);
}

/* The certificate and its key in one file, so that replacing it is one step. */
static const char *one_file(const char *name, const struct pki_cert *by, const char *cn)
{
    struct pki_cert c = pki_make(&(struct pki_spec){.cn = cn, .san = "DNS:gensock.test"}, by);
    const char *cert = pki_cert_file("part.pem", (const struct pki_cert *const[]){&c}, 1);
    const char *key = pki_key_file("part.key", &c);
    const char *path = strdup(temp_path(name));
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    copy_into(f, cert);
    copy_into(f, key);
    assert_int_equal(fclose(f), 0);
    pki_free(&c);
    return path;
}

static int make_files(void **state)
{
    (void)state;
    struct pki_cert ca = pki_make(&(struct pki_spec){.cn = "storm CA", .ca = true}, NULL);
    const char *cas = pki_cert_file("ca.pem", (const struct pki_cert *const[]){&ca}, 1);
    pem_of[0] = one_file("a.pem", &ca, "a");
    pem_of[1] = one_file("b.pem", &ca, "b");
    pem = one_file("now.pem", &ca, "now");
    pki_free(&ca);
    if (gs_tls_register() < 0)
        return -1;
    int e = gs_set_default_opts(GS_LISTEN_DEFAULTS, GS_OPTS(GS_STR(TLS_CERT_FILE, pem), GS_INT(HANDSHAKE_TIMEOUT, 5000)));
    if (e < 0)
        return e;
    return gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS(GS_STR(TLS_CA_FILE, cas), GS_STR(TLS_SERVER_NAME, "gensock.test")));
}

static void *reload(void *unused)
{
    (void)unused;
    char fresh[200];
    snprintf(fresh, sizeof fresh, "%s", temp_path("fresh.pem"));
    for (int i = 0; !atomic_load(&stop_accepting); i++) {
        unlink(fresh);
        if (link(pem_of[i % 2], fresh) < 0 || rename(fresh, pem) < 0)
            wrong("the certificate's file cannot be replaced: %s", strerror(errno));
        only_answers(gs_tls_reload(), 0);
        COUNT(reloads);
        nap_us(20000);
    }
    return NULL;
}

/* ---- a connection that is up ---- */

struct way {
    gs_stream s;
    uint64_t seed;
    size_t n; /* moved */
    int e;
};

static void *send_all(void *arg)
{
    struct way *w = arg;
    uint8_t p[PIECE];
    for (w->n = 0; w->n < BYTES && w->e == 0; w->n += PIECE) {
        pattern_fill(p, PIECE, w->seed, w->n);
        w->e = only_answers(gs_stream_send(w->s, p, PIECE), DISTURBED);
    }
    return NULL;
}

static void receive_all(struct way *w)
{
    uint8_t p[PIECE];
    while (w->n < BYTES) {
        ssize_t k = gs_stream_recv(w->s, p, sizeof p, 0, SILENCE_MS);
        if (k == GS_ETIMEOUT)
            wrong("a connection stands still after %zu of %d bytes", w->n, BYTES);
        if (k < 0) {
            w->e = only_answers(k, DISTURBED);
            return;
        }
        if (pattern_check(p, (size_t)k, w->seed, w->n) != (size_t)k)
            wrong("wrong bytes after %zu", w->n);
        w->n += (size_t)k;
    }
}

static void talk(gs_stream s, bool client)
{
    struct way out = {.s = s, .seed = client}, in = {.s = s, .seed = !client};
    COUNT(up);
    atomic_store(&slots[atomic_fetch_add(&slot_count, 1) % SLOTS], s.id);
    pthread_t t = go(send_all, &out);
    receive_all(&in);
    join(t);
    if (out.n >= BYTES && in.n >= BYTES)
        COUNT(whole);
}

/* ---- who accepts ---- */

static void serve(gs_stream s, struct rng *r)
{
    int e = GS_ECLOSED;
    uint64_t k = rng_below(r, 8);
    if (k == 0) /* at once, or within the handshake */
        nap_us((unsigned)rng_below(r, 2000));
    else
        e = only_answers(gs_stream_handshake(s, k == 1 ? (int)rng_below(r, 8) : SILENCE_MS), DISTURBED);
    if (e == 0)
        talk(s, false);
    only_answers(gs_stream_close(s), 0);
}

static void *accept_all(void *arg)
{
    struct rng r = {.s = test_seed() + (uintptr_t)arg};
    while (!atomic_load(&stop_accepting)) {
        gs_stream s, l = {atomic_load(&listener)};
        int e = gs_stream_accept(l, &s, GS_NO_MAILBOX, (int)rng_below(&r, 50), NULL);
        if (only_answers(e, GS_ETIMEOUT, GS_ECLOSED, -ECONNABORTED) == 0)
            serve(s, &r);
        else if (e == GS_ECLOSED)
            nap_us(500);
    }
    return NULL;
}

/* ---- who connects ---- */

static void where(struct place *to)
{
    pthread_mutex_lock(&place_mutex);
    *to = place;
    pthread_mutex_unlock(&place_mutex);
}

/* Taken back at any step, by a close. */
static void connect_and_cancel(const struct place *at, struct rng *r)
{
    gs_stream s;
    gs_mailbox mb;
    gs_msg m;
    only_answers(gs_mailbox_new(&mb), 0);
    if (only_answers(gs_stream_connect(&s, at->at, NULL, mb, GS_NOWAIT), GS_ESELECT, DISTURBED) == GS_ESELECT) {
        uint64_t end = real_ms() + rng_below(r, 6);
        while (real_ms() < end)
            only_answers(gs_receive(mb, &m, 1), GS_ETIMEOUT);
        only_answers(gs_stream_close(s), 0);
    }
    only_answers(gs_mailbox_free(mb), 0);
    COUNT(cancelled);
}

/* No TLS, or a part of it. */
static void connect_and_babble(const struct place *at, struct rng *r)
{
    static const uint8_t hello[] = {22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3};
    gs_stream s;
    const char *plain = strchr(at->at, '+') + 1;
    if (only_answers(gs_stream_connect(&s, plain, NULL, GS_NO_MAILBOX, SILENCE_MS), DISTURBED) < 0)
        return;
    only_answers(gs_stream_send(s, rng_below(r, 2) ? (const void *)hello : "GET / HTTP/1.1", 1 + rng_below(r, 11)), DISTURBED);
    if (rng_below(r, 2))
        nap_us((unsigned)rng_below(r, 5000));
    only_answers(gs_stream_close(s), 0);
    COUNT(refused);
}

static void *connect_all(void *arg)
{
    struct rng r = {.s = test_seed() * 7 + (uintptr_t)arg};
    while (!atomic_load(&stop_connecting) && !atomic_load(&wrongs)) {
        struct place at;
        gs_stream s;
        where(&at);
        uint64_t k = rng_below(&r, 8);
        if (k == 0)
            connect_and_cancel(&at, &r);
        else if (k == 1)
            connect_and_babble(&at, &r);
        else {
            int e = gs_stream_connect(&s, at.at, NULL, GS_NO_MAILBOX, k == 2 ? (int)rng_below(&r, 8) : SILENCE_MS);
            if (only_answers(e, DISTURBED) == 0) {
                talk(s, true);
                only_answers(gs_stream_close(s), 0);
            } else
                COUNT(timeouts);
        }
    }
    return NULL;
}

/* ---- who disturbs ---- */

static void *close_some(void *unused)
{
    struct rng r = {.s = test_seed() * 11};
    (void)unused;
    while (!atomic_load(&stop_connecting)) {
        gs_stream s = {atomic_exchange(&slots[rng_below(&r, SLOTS)], 0)};
        if (s.id && rng_below(&r, 3) == 0) {
            only_answers(gs_stream_close(s), 0);
            COUNT(foreign);
        }
        nap_us(2000);
    }
    return NULL;
}

static void open_listener(void)
{
    gs_stream l;
    pthread_mutex_lock(&place_mutex);
    if (only_answers(listen_at(scheme, GS_OPTS(GS_INT(BACKLOG, 64)), GS_NO_MAILBOX, &l, &place), 0) == 0)
        atomic_store(&listener, l.id);
    pthread_mutex_unlock(&place_mutex);
    COUNT(listeners);
}

static void close_listener(void) { only_answers(gs_stream_close((gs_stream){atomic_load(&listener)}), 0); }

static void disturb_until(uint64_t end)
{
    long seen = -1;
    uint64_t seen_ms = real_ms();
    for (int i = 1; real_ms() < end && !atomic_load(&wrongs); i++) {
        nap_us(5000);
        if (i % 80 == 0) {
            close_listener();
            open_listener();
        }
        long now = atomic_load(&up);
        if (now != seen)
            seen_ms = real_ms();
        else if (real_ms() - seen_ms > SILENCE_MS)
            wrong("no connection has come up for %d ms", SILENCE_MS);
        seen = now;
    }
}

/* What mailboxes need stays for the next ones: as many as there will be at once, so that the census sees no more. */
static void make_mailboxes(void)
{
    gs_mailbox mb[CONNECTORS];
    for (int i = 0; i < CONNECTORS; i++)
        assert_ok(gs_mailbox_new(&mb[i]));
    for (int i = 0; i < CONNECTORS; i++)
        assert_ok(gs_mailbox_free(mb[i]));
}

static void run_storm(long ms)
{
    pthread_t c[CONNECTORS], a[ACCEPTORS], reloader, closer;
    atomic_store(&stop_connecting, false);
    atomic_store(&stop_accepting, false);
    open_listener();
    for (uintptr_t i = 0; i < ACCEPTORS; i++)
        a[i] = go(accept_all, (void *)i);
    for (uintptr_t i = 0; i < CONNECTORS; i++)
        c[i] = go(connect_all, (void *)i);
    reloader = go(reload, NULL);
    closer = go(close_some, NULL);
    disturb_until(real_ms() + (uint64_t)ms);
    atomic_store(&stop_connecting, true);
    for (int i = 0; i < CONNECTORS; i++)
        join(c[i]);
    join(closer);
    atomic_store(&stop_accepting, true);
    for (int i = 0; i < ACCEPTORS; i++)
        join(a[i]);
    join(reloader);
    close_listener();
    assert_until(gsi_live_count(GSI_STREAM) == 0, 10000);
}

static void handshakes_survive(void **state)
{
    struct census before;
    scheme = *state;
    long ms = from_environment("GS_STORM_SECONDS", test_scale(2, 15)) * 1000;
    atomic_store(&wrongs, 0);
    make_mailboxes();
    run_storm(300);
    up = whole = timeouts = refused = cancelled = foreign = reloads = listeners = 0;
    census_take(&before);
    run_storm(ms);
    print_message("# %s: %ld ends up, %ld whole; %ld cancelled, %ld without TLS, %ld not connected, %ld foreign closes, "
                  "%ld reloads, %ld listeners\n", scheme, up, whole, cancelled, refused, timeouts, foreign, reloads, listeners);
    assert_int_equal(wrongs, 0);
    assert_true(up > 0 && whole > 0 && cancelled > 0 && refused > 0 && foreign > 0 && reloads > 0 && listeners > 1);
    census_assert(&before);
}

int main(void)
{
    (void)test_seed(); /* threads read it */
    static char tcp[] = "tls+tcp", local[] = "tls+unix";
    const struct CMUnitTest tests[] = {
        {"tls+tcp", handshakes_survive, NULL, NULL, tcp},
        {"tls+unix", handshakes_survive, NULL, NULL, local},
    };
    return cmocka_run_group_tests(tests, make_files, NULL);
}
