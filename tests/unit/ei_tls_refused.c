/* Connections of ei's table that TLS refuses, or that fall silent in its handshake: what is told, and that the listener goes
 * on.
 * runner: tsan */
#include <gensock/tls.h>

#include "ei_world.h"
#include "pki.h"

static const struct row *row_of(const gs_opt *listen, const gs_opt *connect)
{
    static struct row row;
    row = (struct row){"tls", "tls://127.0.0.1:0", "tls://127.0.0.1:%d", listen, connect, .header = 4, .tells_ip = true};
    return &row;
}

#define SERVER(...) GS_OPTS(GS_STR(TLS_CERT_FILE, pki_default()->cert), GS_STR(TLS_KEY_FILE, pki_default()->key), \
                            GS_STR(TLS_CA_FILE, pki_default()->ca), __VA_ARGS__)

/* One attempt from each end; their errnos and codes. */
struct attempt {
    int accepted, accept_code;
    struct dialing dialed;
    char detail[200];
};

static void attempt(struct world *w, struct attempt *a)
{
    pthread_t t;
    int len = sizeof w->from;
    a->dialed = (struct dialing){.w = w};
    assert_int_equal(pthread_create(&t, NULL, dial, &a->dialed), 0);
    w->server = w->listener;
    a->accepted = table()->accept(&w->server, &w->from, &len, LONG_WAIT);
    a->accept_code = a->accepted ? gs_ei_error() : 0;
    snprintf(a->detail, sizeof a->detail, "%s", gs_error_detail(a->accept_code));
    pthread_join(t, NULL);
    if (a->accepted)
        w->server = NULL;
}

static void a_client_that_trusts_another_ca_says_so_at_both_ends(void **state)
{
    (void)state;
    struct world w;
    struct attempt a;
    struct pki_cert other = pki_make(&(struct pki_spec){.cn = "other", .ca = true}, NULL);
    const struct pki_cert *chain[] = {&other};
    const char *their_ca = pki_cert_file("other", chain, 1);
    world_listen(&w, row_of(SERVER(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_NONE)), GS_OPTS(GS_STR(TLS_CA_FILE, their_ca))));
    attempt(&w, &a);
    assert_int_equal(a.dialed.e, EIO);
    assert_int_equal(a.dialed.code, GS_EALERT);
    assert_non_null(strstr(a.dialed.detail, "unknown_ca"));
    assert_int_equal(a.accepted, EIO);
    assert_int_equal(a.accept_code, GS_EALERT);
    assert_non_null(strstr(a.detail, "unknown_ca"));
    assert_int_equal(table()->close(w.client), 0);
    w.setup.connect_opts = GS_OPTS(GS_STR(TLS_CA_FILE, pki_default()->ca));
    attempt(&w, &a); /* the listener goes on, and the next one is let in */
    assert_int_equal(a.accepted, 0);
    assert_int_equal(a.dialed.e, 0);
    pki_free(&other);
    world_close(&w);
}

static void a_client_without_certificate_is_refused(void **state)
{
    (void)state;
    struct world w;
    struct attempt a;
    world_listen(&w, row_of(SERVER(GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE)), GS_OPTS(GS_STR(TLS_CA_FILE, pki_default()->ca))));
    attempt(&w, &a);
    assert_int_equal(a.accepted, EIO);
    assert_int_equal(a.accept_code, GS_EALERT);
    if (a.dialed.e == 0) { /* TLS 1.3: the client hears of it when it reads */
        char c;
        ssize_t len = 1;
        assert_int_equal(table()->read(w.client, &c, &len, LONG_WAIT), EIO);
        assert_int_equal(gs_ei_error(), GS_EALERT);
        assert_true(readable(w.client, 0));
    }
    world_close(&w);
}

static void a_client_that_falls_silent_is_given_up(void **state)
{
    (void)state;
    struct world w;
    gs_stream quiet;
    char address[64];
    world_listen(&w, row_of(SERVER(GS_INT(HANDSHAKE_TIMEOUT, 50)), GS_OPTS(GS_STR(TLS_CA_FILE, pki_default()->ca))));
    struct census before;
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", gs_stream_port(stream_of(w.listener)));
    for (int i = 0; i < 3; i++) {
        int len = sizeof w.from;
        void *ctx = w.listener;
        uint64_t began = real_ms();
        assert_ok(gs_stream_connect(&quiet, address, NULL, GS_NO_MAILBOX, LONG_WAIT));
        /* by the option, for ever is not for ever; by the caller; by the sooner one */
        assert_int_equal(table()->accept(&ctx, &w.from, &len, i == 0 ? EI_SCLBK_INF_TMO : i == 1 ? 30 : LONG_WAIT), ETIMEDOUT);
        assert_int_equal(gs_ei_error(), GS_ETIMEOUT);
        assert_in_range(real_ms() - began, i == 1 ? 29 : 49, LONG_WAIT - 1000);
        assert_ptr_equal(ctx, w.listener);
        gs_stream_close(quiet);
        if (i == 0)
            census_take(&before);
    }
    census_assert(&before);
    world_close(&w);
}

struct accepting {
    void *ctx;
    _Atomic int result; /* -1: still inside */
};

static void *accept_for_ever(void *arg)
{
    struct accepting *a = arg;
    void *ctx = a->ctx;
    atomic_store(&a->result, table()->accept(&ctx, NULL, NULL, EI_SCLBK_INF_TMO));
    return NULL;
}

/* Two of them, in the handshakes of two clients that say nothing. */
static void closing_the_listener_wakes_who_is_in_a_handshake(void **state)
{
    (void)state;
    struct world w;
    struct accepting a[2];
    gs_stream quiet[2];
    pthread_t t[2];
    char address[64];
    const gs_opt *for_ever = SERVER(GS_INT(HANDSHAKE_TIMEOUT, GS_INFINITY));
    world_listen(&w, row_of(for_ever, GS_OPTS(GS_STR(TLS_CA_FILE, pki_default()->ca))));
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", gs_stream_port(stream_of(w.listener)));
    for (int i = 0; i < 2; i++) {
        a[i] = (struct accepting){.ctx = w.listener, .result = -1};
        assert_ok(gs_stream_connect(&quiet[i], address, NULL, GS_NO_MAILBOX, LONG_WAIT));
        assert_int_equal(pthread_create(&t[i], NULL, accept_for_ever, &a[i]), 0);
    }
    assert_true(wait_until(!readable(w.listener, 0), LONG_WAIT));
    for (int i = 0; i < 30; i++)
        pause_1ms();
    assert_int_equal(atomic_load(&a[0].result), -1);
    assert_int_equal(atomic_load(&a[1].result), -1);
    assert_int_equal(table()->close(w.listener), 0);
    for (int i = 0; i < 2; i++) {
        assert_until(atomic_load(&a[i].result) >= 0, LONG_WAIT);
        pthread_join(t[i], NULL);
        assert_int_equal(atomic_load(&a[i].result), EBADF);
        gs_stream_close(quiet[i]);
    }
}

static void a_wrong_certificate_is_told_at_listen(void **state)
{
    (void)state;
    void *ctx;
    struct sockaddr_in in = {.sin_family = AF_INET};
    int len = sizeof in;
    const gs_ei_setup setup = {.transport = "tls", .listen_opts = GS_OPTS(GS_STR(TLS_CERT_FILE, "/nonexistent.pem"))};
    assert_int_equal(table()->socket(&ctx, (void *)(uintptr_t)&setup), 0);
    assert_int_equal(table()->listen(ctx, &in, &len, 5), ENOENT);
    assert_non_null(strstr(gs_error_detail(gs_ei_error()), "/nonexistent.pem"));
    assert_int_equal(table()->close(ctx), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_trusts_another_ca_says_so_at_both_ends),
        cmocka_unit_test(a_client_without_certificate_is_refused),
        cmocka_unit_test(a_client_that_falls_silent_is_given_up),
        cmocka_unit_test(closing_the_listener_wakes_who_is_in_a_handshake),
        cmocka_unit_test(a_wrong_certificate_is_told_at_listen),
    };
    if (gs_tls_register() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
