/* 02_client_server: the first example of the gen_tcp manual: a client that connects, sends "Some Data" and closes; a server
 * that receives all until the connection is closed. Without owner, so both are passive and simply call. */
#include <gensock/stream.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static int client(const char *address)
{
    gs_stream s;
    int e = gs_stream_connect(&s, address, GS_OPTS(GS_INT(PACKET, GS_PACKET_RAW)), GS_NO_MAILBOX, GS_INFINITY);
    if (e < 0)
        return e;
    e = gs_stream_send(s, "Some Data", 9);
    gs_stream_close(s);
    return e;
}

/* Everything that the first connection sends: its length, or an error. */
static ssize_t server(gs_stream listener, char *all, size_t cap)
{
    gs_stream s;
    size_t got = 0;
    int e = gs_stream_accept(listener, &s, GS_NO_MAILBOX, GS_INFINITY, NULL);
    if (e < 0)
        return e;
    ssize_t n;
    while ((n = gs_stream_recv(s, all + got, cap - got, 0, GS_INFINITY)) > 0)
        got += (size_t)n;
    gs_stream_close(s);
    return n == GS_ECLOSED ? (ssize_t)got : n;
}

static void *run_client(void *arg)
{
    int e = client(arg);
    printf("client: %s\n", gs_error_name(e));
    return NULL;
}

int main(void)
{
    gs_stream listener;
    int e = gs_stream_listen(&listener, "tcp://127.0.0.1:0", GS_OPTS(GS_INT(PACKET, GS_PACKET_RAW)), GS_NO_MAILBOX);
    if (e < 0) {
        fprintf(stderr, "listen: %s %s\n", gs_error_text(e), gs_error_detail(e));
        return 1;
    }
    char address[64], all[100];
    snprintf(address, sizeof address, "tcp://localhost:%d", gs_stream_port(listener));
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_client, address) != 0)
        return 1;
    ssize_t n = server(listener, all, sizeof all);
    pthread_join(thread, NULL);
    gs_stream_close(listener);
    printf("server: %s, %zd bytes: %.*s\n", gs_error_name((int)n), n, n > 0 ? (int)n : 0, all);
    return n == 9 && !memcmp(all, "Some Data", 9) ? 0 : 1;
}
