/* What a TLS listener's owner sees of connections whose handshake ends, well or not, before the first message about them. */
#include <gensock/stream.h>
#include <gensock/tls.h>

#include "pki.h"
#include "support.h"
#include "tls_pair.h"

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

/* A selective receive for another stream finishes the handshake and, in OpenSSL's buffer, has the first half of a packet: nothing
 * in the kernel tells of that half, and the second one must still be heard of. */
static void half_a_packet_behind_the_handshake_is_no_end_of_watching(void **state)
{
    (void)state;
    struct tls_pair p, other;
    gs_mailbox server, client;
    gs_msg m;
    assert_ok(gs_mailbox_new(&server));
    assert_ok(gs_mailbox_new(&client));
    tls_pair_open(&other, TLS_CLIENT(NO_MORE), TLS_SERVER(NO_MORE));
    assert_ok(gs_stream_controlling_process(other.server, GS_NO_MAILBOX, server));

    tls_listen(&p, TLS_SERVER(GS_INT(PACKET, GS_PACKET_4)));
    assert_code(gs_stream_connect(&p.client, p.at, TLS_CLIENT(GS_INT(NODELAY, true)), client, GS_NOWAIT), GS_ESELECT);
    assert_ok(gs_stream_accept(p.listener, &p.server, server, TLS_WAIT_MS, NULL));
    for (int e = GS_ETIMEOUT; e == GS_ETIMEOUT;) {
        assert_code(gs_receive_from(server, other.server, &m, 0), GS_ETIMEOUT);
        e = gs_receive(client, &m, 0);
        assert_true(e == 0 || e == GS_ETIMEOUT);
    }
    assert_int_equal(m.kind, GS_MSG_CONNECT);
    assert_int_equal(m.error, 0);
    assert_ok(gs_stream_send(p.client, "\0\0\0\4ha", 6));
    assert_code(gs_receive_from(server, other.server, &m, 0), GS_ETIMEOUT);
    assert_code(gs_receive(server, &m, 0), GS_ETIMEOUT);
    assert_ok(gs_stream_send(p.client, "lf", 2));
    assert_ok(gs_receive(server, &m, TLS_WAIT_MS));
    assert_int_equal(m.kind, GS_MSG_DATA);
    assert_int_equal(m.packet.data.n, 4);
    assert_memory_equal(m.packet.data.p, "half", 4);
    tls_pair_close(&p);
    tls_pair_close(&other);
    gs_mailbox_free(server);
    gs_mailbox_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_before_the_accept_ends_that_connection_alone),
        cmocka_unit_test(half_a_packet_behind_the_handshake_is_no_end_of_watching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
