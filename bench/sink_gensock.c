/* sink_gensock.c: the counting sink on gensock: raw, active, one mailbox; prints its port, SIGTERM ends it. (The echo servers
 * of the benchmark are the command itself: gensock echo.)
 */
#include <gensock/stream.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void fail(const char *what, int e)
{
    fprintf(stderr, "sink: %s: %s\n", what, gs_error_text(e));
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
}

int main(void)
{
    gs_mailbox mb;
    gs_stream listener;
    gs_msg m;
    int e = gs_mailbox_new(&mb);
    if (e == 0)
        e = gs_stream_listen(&listener, "tcp://127.0.0.1:0",
                             GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE), GS_INT(EXIT_ON_CLOSE, false), GS_INT(BACKLOG, 1024), GS_INT(NODELAY, true)), mb);
    if (e < 0)
        fail("listen", e);
    printf("%d\n", gs_stream_port(listener));
    fflush(stdout);

    /* The load has one stream at a time: one count is enough. */
    uint64_t count = 0;
    while ((e = gs_receive(mb, &m, GS_INFINITY)) == 0) {
        if (m.kind == GS_MSG_DATA) {
            count += m.packet.data.n;
        } else if (m.kind == GS_MSG_CLOSED) {
            answer(m.stream, count);
            count = 0;
            gs_stream_close(m.stream);
        } else if (m.kind == GS_MSG_ERROR || m.error < 0) {
            fail("a connection", m.error);
        }
    }
    fail("receive", e);
}
