/* 10_tls: packets over TLS. The server shows its certificate; a client verifies it up to a CA, and that it names the host of the
 * address. A second client trusts only another CA, so there is no connection for it, and both sides know why.
 *
 *     10_tls server.pem server.key ca.pem other-ca.pem
 */
#include <gensock/stream.h>
#include <gensock/tls.h>
#include <pthread.h>
#include <stdio.h>

struct job {
    char address[64];
    const char *ca, *other_ca;
};

static int talk(const char *address, const char *ca)
{
    char answer[64];
    gs_connection_information info;
    const gs_peer *peer;
    gs_stream s;
    int e = gs_stream_connect(&s, address, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_STR(TLS_CA_FILE, ca)), GS_NO_MAILBOX, 10000);
    if (e < 0) {
        printf("client: %s: %s\n", gs_error_name(e), gs_error_detail(e));
        return e;
    }
    if ((e = gs_stream_connection_information(s, &info)) == 0 && (e = gs_stream_peer(s, &peer)) == 0) {
        printf("client: %s with %s\n", info.version, peer->subject);
        gs_peer_free(peer);
    }
    ssize_t n = e < 0 ? e : gs_stream_send(s, "hello", 5);
    if (n == 0)
        n = gs_stream_recv(s, answer, sizeof answer, 0, 10000);
    printf("client: %zd bytes back: %.*s\n", n, n > 0 ? (int)n : 0, answer);
    gs_stream_close(s); /* tells the server with close_notify */
    return n < 0 ? (int)n : 0;
}

static void *clients(void *arg)
{
    const struct job *job = arg;
    int good = talk(job->address, job->ca), refused = talk(job->address, job->other_ca);
    return good == 0 && refused == GS_EALERT ? arg : NULL;
}

/* Until two connections have ended: that of the refused client with an error. */
static int serve(gs_mailbox mb)
{
    gs_msg m;
    int e = 0;
    for (int ended = 0; ended < 2 && (e = gs_receive(mb, &m, 20000)) == 0; ended += m.kind == GS_MSG_CLOSED) {
        if (m.kind == GS_MSG_DATA && gs_stream_send(m.stream, m.packet.data.p, m.packet.data.n) < 0)
            gs_stream_close(m.stream);
        if (m.kind == GS_MSG_ERROR)
            printf("server: %s: %s\n", gs_error_name(m.error), gs_error_detail(m.error));
    }
    return e;
}

int main(int argc, char **argv)
{
    if (argc != 5 || gs_tls_register() < 0)
        return 2;
    const gs_opt *opts = GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, GS_NOWAIT),
                                 GS_STR(TLS_CERT_FILE, argv[1]), GS_STR(TLS_KEY_FILE, argv[2]));
    struct job job = {.ca = argv[3], .other_ca = argv[4]};
    gs_mailbox mb;
    gs_stream listener;
    pthread_t thread;
    int e = gs_mailbox_new(&mb);
    if (e == 0)
        e = gs_stream_listen(&listener, "tls://127.0.0.1:0", opts, mb);
    if (e < 0) {
        fprintf(stderr, "listen: %s %s\n", gs_error_text(e), gs_error_detail(e));
        return 1;
    }
    snprintf(job.address, sizeof job.address, "tls://localhost:%d", gs_stream_port(listener));
    if (pthread_create(&thread, NULL, clients, &job) != 0)
        return 1;
    void *went_well;
    e = serve(mb);
    pthread_join(thread, &went_well);
    gs_mailbox_free(mb); /* closes what it owns */
    return e == 0 && went_well ? 0 : 1;
}
