/* tls_gensock.c: the same on gensock: `PROGRAM echo|sink CERT KEY`, active, one mailbox; prints its port, SIGTERM ends it. */
#include <gensock/stream.h>
#include <gensock/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void fail(const char *what, int e)
{
    fprintf(stderr, "server: %s: %s %s\n", what, gs_error_text(e), gs_error_detail(e));
    exit(1);
}

static void answer(gs_stream s, uint64_t count)
{
    uint8_t out[8];
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(count >> (56 - 8 * i));
    int e = gs_stream_send(s, out, sizeof out);
    if (e < 0)
        fail("the answer", e);
    gs_stream_close(s);
}

int main(int argc, char **argv)
{
    gs_mailbox mb;
    gs_stream listener;
    gs_msg m;
    if (argc != 4)
        fail("usage: tls_gensock echo|sink CERT KEY", GS_EBADARG);
    bool sink = !strcmp(argv[1], "sink");
    int e = gs_tls_register();
    if (e == 0)
        e = gs_mailbox_new(&mb);
    if (e == 0)
        e = gs_stream_listen(&listener, "tls://127.0.0.1:0",
                             GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(EXIT_ON_CLOSE, !sink), GS_INT(BACKLOG, 1024), GS_INT(NODELAY, true),
                                     GS_INT(PACKET, sink ? GS_PACKET_RAW : GS_PACKET_4), GS_STR(TLS_CERT_FILE, argv[2]),
                                     GS_STR(TLS_KEY_FILE, argv[3])), mb);
    if (e < 0)
        fail("listen", e);
    printf("%d\n", gs_stream_port(listener));
    fflush(stdout);

    /* The load has one bulk stream at a time: one count is enough. */
    uint64_t count = 0;
    while ((e = gs_receive(mb, &m, GS_INFINITY)) == 0) {
        if (m.kind == GS_MSG_DATA && sink)
            count += m.packet.data.n;
        else if (m.kind == GS_MSG_DATA)
            (void)!gs_stream_send(m.stream, m.packet.data.p, m.packet.data.n);
        else if (m.kind == GS_MSG_CLOSED && sink) {
            answer(m.stream, count);
            count = 0;
        }
    }
    fail("receive", e);
}
