/* gs_transport_from_ei: a layer stands on a table's transport as on any other. */
#include <gensock/ei.h>
#include <gensock/tls.h>
#include <stdio.h>
#include <string.h>

#include "ei_tables.h"
#include "pki.h"
#include "support.h"

enum { WAIT = 10000, BIG = 3 << 20 };

struct acceptor {
    pthread_t thread;
    gs_stream l, s;
    int result;
};

static void *run_acceptor(void *arg)
{
    struct acceptor *a = arg;
    a->result = gs_stream_accept(a->l, &a->s, GS_NO_MAILBOX, WAIT, NULL);
    if (a->result == 0)
        a->result = gs_stream_handshake(a->s, WAIT);
    return NULL;
}

static void *run_sender(void *arg)
{
    struct acceptor *a = arg;
    uint8_t *all = malloc(BIG);
    pattern_fill(all, BIG, 3, 0);
    a->result = gs_stream_send(a->s, all, BIG);
    free(all);
    return NULL;
}

static void tls_goes_over_a_table(void **state)
{
    (void)state;
    const char *const schemes[] = {"under-plain", "under-full", "under-short"};
    const struct pki_files *f = pki_default();
    ei_socket_callbacks plain = tables_plain(), full = tables_full();
    assert_ok(gs_tls_register());
    assert_ok(gs_transport_from_ei(schemes[0], &plain, sizeof plain, NULL));
    assert_ok(gs_transport_from_ei(schemes[1], &full, sizeof full, NULL));
    assert_ok(gs_transport_from_ei(schemes[2], &full, TABLES_SHORT, NULL));
    uint8_t *in = malloc(BIG);
    for (int i = 0; i < 3; i++) {
        char at[64], word[16];
        struct acceptor a;
        gs_stream s;
        tables_reset();
        snprintf(at, sizeof at, "tls+%s://127.0.0.1:0", schemes[i]);
        assert_ok(gs_stream_listen(&a.l, at, GS_OPTS(GS_STR(TLS_CERT_FILE, f->cert), GS_STR(TLS_KEY_FILE, f->key)), GS_NO_MAILBOX));
        snprintf(at, sizeof at, "tls+%s://127.0.0.1:%d", schemes[i], gs_stream_port(a.l));
        assert_int_equal(pthread_create(&a.thread, NULL, run_acceptor, &a), 0);
        assert_ok(gs_stream_connect(&s, at, GS_OPTS(GS_STR(TLS_CA_FILE, f->ca), GS_STR(TLS_SERVER_NAME, "gensock.test")),
                                    GS_NO_MAILBOX, WAIT));
        pthread_join(a.thread, NULL);
        assert_ok(a.result);
        assert_true(gs_stream_secure(s));
        assert_ok(gs_stream_send(s, "word", 4));
        assert_int_equal(gs_stream_recv(a.s, word, sizeof word, 4, WAIT), 4);
        assert_int_equal(pthread_create(&a.thread, NULL, run_sender, &a), 0);
        assert_int_equal(gs_stream_recv(s, in, BIG, BIG, WAIT), BIG);
        pthread_join(a.thread, NULL);
        assert_ok(a.result);
        assert_int_equal(pattern_check(in, BIG, 3, 0), BIG);
        assert_ok(gs_stream_close(s));
        assert_code(gs_stream_recv(a.s, in, 1, 0, WAIT), GS_ECLOSED); /* and no cut: a goodbye has come */
        assert_ok(gs_stream_close(a.s));
        assert_ok(gs_stream_close(a.l));
        assert_until(tables.closes == 3, WAIT);
    }
    free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tls_goes_over_a_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
