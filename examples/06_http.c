/* 06_http: {packet, http} takes requests apart; the answer is sent raw. One thread, blocking calls, a timeout on each.
 *
 *     06_http tcp://127.0.0.1:8080    prints its address and answers until it is killed:  curl -i http://127.0.0.1:8080/x
 *     06_http                         answers one request, which it makes itself in a thread
 */
#include <gensock/stream.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Reads a request's line and headers. 0, or the error that ended it. */
static int read_request(gs_stream s, char *method, char *path, size_t cap, int *headers)
{
    char line[8192];
    gs_packet p;
    for (*headers = 0;; ++*headers) {
        ssize_t n = gs_stream_recv_packet(s, line, sizeof line, &p, 5000);
        if (n < 0)
            return (int)n;
        if (p.kind == GS_PK_HTTP_EOH || p.kind == GS_PK_HTTP_ERROR)
            return p.kind == GS_PK_HTTP_EOH && *method ? 0 : GS_EINVALID;
        if (p.kind == GS_PK_HTTP_REQUEST) {
            snprintf(method, cap, "%.*s", (int)p.u.request.name.n, (const char *)p.u.request.name.p);
            snprintf(path, cap, "%.*s", (int)p.u.request.path.n, (const char *)p.u.request.path.p);
        } else if (p.kind == GS_PK_HTTP_HEADER) {
            printf("server: %.*s = %.*s\n", (int)p.u.field.name.n, (const char *)p.u.field.name.p, (int)p.u.field.value.n,
                   (const char *)p.u.field.value.p);
        }
    }
}

static int answer(gs_stream s)
{
    char method[256] = "", path[256] = "", body[600], head[200];
    int headers, e = read_request(s, method, path, sizeof path, &headers);
    if (e < 0)
        return e;
    int n = snprintf(body, sizeof body, "gensock took your %s of %s with %d headers apart\n", method, path, headers - 1);
    int h = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                                        "Connection: close\r\n\r\n", n);
    struct iovec both[] = {{head, (size_t)h}, {body, (size_t)n}};
    printf("server: %s %s\n", method, path);
    return gs_stream_sendv(s, both, 2, NULL);
}

static void *client(void *arg)
{
    static const char request[] = "GET /hello?x=1 HTTP/1.1\r\nHost: localhost\r\nuser-AGENT: example 06\r\n\r\n";
    char address[64], all[1000];
    gs_stream s;
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", *(int *)arg);
    if (gs_stream_connect(&s, address, NULL, GS_NO_MAILBOX, 5000) < 0)
        return NULL;
    ssize_t n = gs_stream_send(s, request, sizeof request - 1);
    if (n == 0)
        n = gs_stream_recv(s, all, sizeof all, 0, 5000);
    gs_stream_close(s);
    printf("client: %.*s", n > 0 ? (int)n : 0, all);
    return n > 12 && !memcmp(all, "HTTP/1.1 200", 12) ? arg : NULL;
}

int main(int argc, char **argv)
{
    gs_stream listener, s;
    pthread_t thread;
    void *went_well = NULL;
    int e = gs_stream_listen(&listener, argc > 1 ? argv[1] : "tcp://127.0.0.1:0",
                             GS_OPTS(GS_INT(PACKET, GS_PACKET_HTTP_BIN), GS_INT(REUSEADDR, true)), GS_NO_MAILBOX);
    if (e < 0)
        return fprintf(stderr, "%s. %s\n", gs_error_text(e), gs_error_detail(e)), 1;
    int port = gs_stream_port(listener);
    printf("http://127.0.0.1:%d/\n", port);
    fflush(stdout);
    if (argc == 1 && pthread_create(&thread, NULL, client, &port) != 0)
        return 1;
    while ((e = gs_stream_accept(listener, &s, GS_NO_MAILBOX, GS_INFINITY, NULL)) == 0) {
        if ((e = answer(s)) < 0)
            printf("server: %s\n", gs_error_text(e));
        gs_stream_close(s);
        fflush(stdout);
        if (argc == 1)
            break;
    }
    if (argc == 1)
        pthread_join(thread, &went_well);
    gs_stream_close(listener);
    return e == 0 && went_well ? 0 : 1;
}
