/* What a TLS listener tells of connections whose handshake fails at once: the connection ends, the listener does not rest. */
#include <gensock/stream.h>
#include <gensock/tls.h>

#include "pki.h"
#include "support.h"

/* Garbage waits in the kernel when the connection is accepted, so the first step of the handshake fails within the accept. */
static void garbage_before_the_accept_ends_that_connection_alone(void **state)
{
    (void)state;
    const struct pki_files *files = pki_default();
    gs_mailbox mb;
    gs_stream listener, plain, fresh;
    gs_msg m;
    char address[64];
    assert_ok(gs_tls_register());
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_stream_listen(&listener, "tls://127.0.0.1:0",
                               GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_STR(TLS_CERT_FILE, files->cert), GS_STR(TLS_KEY_FILE, files->key)), mb));
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", gs_stream_port(listener));
    assert_ok(gs_stream_connect(&plain, address, NULL, GS_NO_MAILBOX, 10000));
    assert_ok(gs_stream_send(plain, "GET / HTTP/1.1\r\n\r\n", 18));

    assert_ok(gs_receive(mb, &m, 10000));
    assert_int_equal(m.kind, GS_MSG_ACCEPT);
    assert_int_equal(m.error, 0);
    fresh = m.fresh;
    assert_ok(gs_receive(mb, &m, 10000));
    assert_int_equal(m.kind, GS_MSG_ERROR);
    assert_int_equal(m.error, GS_EALERT);
    assert_true(m.stream.id == fresh.id);
    assert_ok(gs_receive(mb, &m, 10000));
    assert_int_equal(m.kind, GS_MSG_CLOSED);
    gs_stream_close(plain);
    gs_stream_close(listener);
    gs_mailbox_free(mb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(garbage_before_the_accept_ends_that_connection_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
