/* 01_echo: an echo server. One mailbox owns the listener and every connection; one thread serves them all. It waits for nobody:
 * send_timeout is nowait, so a peer whose queue is full, because it does not read, is cut off.
 *
 *     01_echo tcp://:4000    serves until it is killed:  gensock cat tcp://localhost:4000 --packet line
 *     01_echo                serves one client, which it starts itself in a thread
 */
#include <gensock/stream.h>
#include <pthread.h>
#include <stdio.h>

static int serve(gs_mailbox mb, bool for_ever)
{
    gs_msg m;
    int e;
    while ((e = gs_receive(mb, &m, GS_INFINITY)) == 0) {
        if (m.kind == GS_MSG_ACCEPT && m.error == 0)
            printf("server: a connection\n");
        if (m.kind == GS_MSG_DATA && gs_stream_send(m.stream, m.packet.data.p, m.packet.data.n) < 0)
            gs_stream_close(m.stream);
        if (m.kind == GS_MSG_CLOSED)
            printf("server: it is closed\n");
        if (m.kind == GS_MSG_CLOSED && !for_ever)
            break;
    }
    return e;
}

static void *client(void *arg)
{
    char address[64], answer[64];
    gs_stream s;
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", *(int *)arg);
    if (gs_stream_connect(&s, address, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)), GS_NO_MAILBOX, 5000) < 0)
        return NULL;
    ssize_t n = gs_stream_send(s, "hello\n", 6);
    if (n == 0)
        n = gs_stream_recv(s, answer, sizeof answer, 0, 5000);
    printf("client: sent 6 bytes, got %zd back: %.*s", n, n > 0 ? (int)n : 0, answer);
    gs_stream_close(s);
    return arg;
}

int main(int argc, char **argv)
{
    gs_mailbox mb;
    gs_stream listener;
    const gs_opt *opts = GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(PACKET, GS_PACKET_LINE), GS_INT(REUSEADDR, true),
                                 GS_INT(SEND_TIMEOUT, GS_NOWAIT));
    const char *address = argc > 1 ? argv[1] : "tcp://127.0.0.1:0";
    int e = gs_mailbox_new(&mb);
    if (e == 0)
        e = gs_stream_listen(&listener, address, opts, mb);
    if (e < 0) {
        fprintf(stderr, "%s: %s. %s\n", address, gs_error_text(e), gs_error_detail(e));
        return 1;
    }
    pthread_t thread;
    void *went_well = NULL;
    int port = gs_stream_port(listener);
    if (argc == 1 && pthread_create(&thread, NULL, client, &port) != 0)
        return 1;
    e = serve(mb, argc > 1);
    if (argc == 1)
        pthread_join(thread, &went_well);
    gs_mailbox_free(mb); /* closes what it owns */
    return e == 0 && went_well ? 0 : 1;
}
