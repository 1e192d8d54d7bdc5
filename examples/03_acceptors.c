/* 03_acceptors: the gen_tcp manual's {active, once} server: several workers accept on one listener, each serves its
 * connections by messages. The client calls; closing the listener ends the workers. */
#include <gensock/stream.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { WORKERS = 3, CALLS = 6 };

/* What the manual leaves out: the answer to a request. In capitals here. */
static void process(const gs_bytes in, char *out)
{
    for (size_t i = 0; i < in.n; i++)
        out[i] = (char)(in.p[i] >= 'a' && in.p[i] <= 'z' ? in.p[i] - 32 : in.p[i]);
}

static void loop(gs_mailbox self, gs_stream s)
{
    gs_msg m;
    char answer[65536];
    while (gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_ONCE))) == 0 &&
           gs_receive_from(self, s, &m, GS_INFINITY) == 0 && m.kind == GS_MSG_DATA) {
        process(m.packet.data, answer);
        if (gs_stream_send(s, answer, m.packet.data.n) < 0)
            break;
    }
    gs_stream_close(s);
}

static void *worker(void *arg)
{
    gs_stream listener = *(gs_stream *)arg, s;
    gs_mailbox self;
    int e = gs_mailbox_new(&self), served = 0;
    if (e < 0)
        return NULL;
    while ((e = gs_stream_accept(listener, &s, self, GS_INFINITY, NULL)) == 0 || gs_error_is_transient(e))
        if (e == 0) {
            loop(self, s);
            served++;
        }
    printf("worker: served %d, accept returned %s - goodbye!\n", served, gs_error_name(e));
    gs_mailbox_free(self);
    return NULL;
}

static ssize_t call(int port, const char *message, char *answer, size_t cap)
{
    char address[64];
    gs_stream s;
    snprintf(address, sizeof address, "tcp://localhost:%d", port);
    ssize_t n = gs_stream_connect(&s, address, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_NO_MAILBOX, 5000);
    if (n < 0)
        return n;
    n = gs_stream_send(s, message, strlen(message));
    if (n == 0)
        n = gs_stream_recv(s, answer, cap, 0, 5000);
    gs_stream_close(s);
    return n;
}

int main(void)
{
    gs_stream listener;
    pthread_t threads[WORKERS];
    int right = 0;
    if (gs_stream_listen(&listener, "tcp://127.0.0.1:0",
                         GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(PACKET, GS_PACKET_2)), GS_NO_MAILBOX) < 0)
        return 1;
    for (int i = 0; i < WORKERS; i++)
        if (pthread_create(&threads[i], NULL, worker, &listener) != 0)
            return 1;
    for (int i = 0; i < CALLS; i++) {
        char answer[64] = "";
        ssize_t n = call(gs_stream_port(listener), "make me big", answer, sizeof answer - 1);
        printf("client: %s\n", n < 0 ? gs_error_text((int)n) : answer);
        right += n == 11 && !memcmp(answer, "MAKE ME BIG", 11);
    }
    gs_stream_close(listener);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    return right == CALLS ? 0 : 1;
}
