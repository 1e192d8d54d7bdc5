/* The listeners of tailnet_peer and their manners; tests/interop/tsnet/talk.go has the same, and says what each does. */
#include "tailnet_peer.h"
#include "tailnet_peer_bytes.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IDLE_MS = 30000, HOLD_MS = 30000 };

typedef struct served {
    gs_stream s;
    gs_tailnet id;
    void (*serve)(struct served *v);
    bool kept; /* the stream stays open when it was served */
} served;

static void serve_echo(served *v)
{
    char *buf = malloc(BLOCK);
    ssize_t n;
    while (buf && (n = gs_stream_recv(v->s, buf, BLOCK, 0, IDLE_MS)) > 0)
        if (gs_stream_send(v->s, buf, (size_t)n) < 0)
            break;
    free(buf);
}

static void serve_answer(served *v)
{
    char line[200], sum[SUM_TEXT], *buf = malloc(BLOCK);
    hash *h = hash_new();
    int64_t bytes = 0;
    ssize_t n = 0;
    while (buf && (n = gs_stream_recv(v->s, buf, BLOCK, 0, IDLE_MS)) > 0) {
        hash_add(h, buf, (size_t)n);
        bytes += n;
    }
    hash_end(h, sum);
    free(buf);
    int len = snprintf(line, sizeof line, "{\"bytes\":%lld,\"sha256\":\"%s\"}\n", (long long)bytes, sum);
    if (n == GS_ECLOSED && gs_stream_send(v->s, line, (size_t)len) == 0)
        gs_stream_shutdown(v->s, GS_SHUT_WRITE);
}

static void serve_frames(served *v)
{
    uint8_t *buf = malloc(FRAME_MAX);
    ssize_t n;
    while (buf && (n = gs_stream_recv(v->s, buf, FRAME_MAX, 0, IDLE_MS)) >= 0) {
        reverse(buf, (size_t)n);
        if (gs_stream_send(v->s, buf, (size_t)n) < 0)
            break;
    }
    free(buf);
}

static void serve_who(served *v)
{
    const gs_peer *p;
    char *text = NULL, rest[1];
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        abort();
    fputc('{', f);
    int e = gs_stream_peer(v->s, &p);
    if (e == 0) {
        print_peer(f, p);
        gs_peer_free(p);
    } else {
        fprintf(f, "\"error\":\"%s\"", gs_error_name(e));
    }
    fputs("}\n", f);
    fclose(f);
    /* The dialler closes first, so that TIME_WAIT is its. */
    if (gs_stream_send(v->s, text, n) == 0 && gs_stream_recv(v->s, rest, 1, 0, IDLE_MS) > 0)
        fprintf(stderr, "tailnet_peer: who: the dialler said something\n");
    free(text);
}

static void serve_reset(served *v)
{
    char byte;
    gs_opt off[] = {{.name = GS_OPT_LINGER, .v.linger = {true, 0}}, {.name = GS_OPT_END}};
    if (gs_stream_recv(v->s, &byte, 1, 1, IDLE_MS) == 1 && gs_stream_setopts(v->s, off) < 0)
        fprintf(stderr, "tailnet_peer: no linger\n");
}

static void serve_hold(served *v)
{
    (void)v;
    usleep(HOLD_MS * 1000);
}

/* The first byte says what is measured: 'p' 64-byte messages that come back, 'i' a connection that is idle afterwards, 'b' bytes
 * that are counted. */
static void serve_bench(served *v)
{
    char *buf = malloc(BLOCK), line[32];
    ssize_t n;
    int64_t total = 0;
    if (buf && gs_stream_recv(v->s, buf, 1, 1, IDLE_MS) == 1) {
        if (buf[0] == 'i') {
            v->kept = gs_stream_send(v->s, buf, 1) == 0;
        } else if (buf[0] == 'p') {
            while (gs_stream_recv(v->s, buf, 64, 64, IDLE_MS) == 64 && gs_stream_send(v->s, buf, 64) == 0)
                ;
        } else {
            while ((n = gs_stream_recv(v->s, buf, BLOCK, 0, IDLE_MS)) > 0)
                total += n;
            int len = snprintf(line, sizeof line, "%lld\n", (long long)total);
            if (gs_stream_send(v->s, line, (size_t)len) == 0)
                gs_stream_shutdown(v->s, GS_SHUT_WRITE);
        }
    }
    free(buf);
}

static const struct {
    const char *mode;
    void (*serve)(served *v);
} manners[] = {{"echo", serve_echo}, {"answer", serve_answer}, {"frames", serve_frames}, {"who", serve_who}, {"rst", serve_reset},
    {"hold", serve_hold}, {"bench", serve_bench}};

static void *run_connection(void *arg)
{
    served *v = arg;
    v->serve(v);
    if (!v->kept)
        gs_stream_close(v->s);
    free(v);
    return NULL;
}

static void start_detached(void *(*run)(void *), void *arg)
{
    pthread_t t;
    if (pthread_create(&t, NULL, run, arg) != 0)
        abort();
    pthread_detach(t);
}

static void *run_listener(void *arg)
{
    served *l = arg;
    for (;;) {
        gs_stream s;
        int e = gs_stream_accept(l->s, &s, GS_NO_MAILBOX, GS_INFINITY, NULL);
        if (e < 0 && !gs_error_is_transient(e))
            break;
        if (e < 0)
            continue;
        served *v = malloc(sizeof *v);
        if (!v)
            abort();
        *v = (served){s, l->id, l->serve, false};
        start_detached(run_connection, v);
    }
    free(l);
    return NULL;
}

static void *run_datagrams(void *arg)
{
    gs_socket *s = arg;
    char *buf = malloc(65536);
    gs_addr from;
    ssize_t n;
    while (buf && (n = gs_socket_recvfrom(*s, buf, 65536, &from, 0, NULL)) >= 0)
        if (gs_socket_sendto(*s, buf, (size_t)n, &from, 0, GS_MS(1000)) < 0)
            break;
    free(buf);
    free(s);
    return NULL;
}

static int listen_datagrams(const command *c, answer *a, const peer_node *n)
{
    static const int families[] = {AF_INET, AF_INET6};
    gs_socket sockets[2] = {GS_NO_SOCKET, GS_NO_SOCKET};
    int e = 0, port = (int)command_number(c, "port", 0);
    (void)a;
    for (int i = 0; i < 2 && e >= 0; i++) {
        gs_addr any;
        if ((e = gs_tailnet_socket(n->id, families[i], SOCK_DGRAM, 0, &sockets[i])) < 0)
            break;
        if (families[i] == AF_INET6)
            e = gs_socket_setopt(sockets[i], "ipv6:v6only", GS_VALUE_OF_INT(1));
        if (e < 0 || (e = gs_addr_special(&any, families[i], GS_ADDR_ANY, (uint16_t)port)) < 0)
            break;
        e = gs_socket_bind(sockets[i], &any);
    }
    if (e >= 0)
        e = keep_door(n->name, port, true, GS_NO_STREAM, sockets);
    for (int i = 0; i < 2; i++) {
        gs_socket *s = e < 0 ? NULL : malloc(sizeof *s);
        if (!s) {
            gs_socket_close(sockets[i]);
            continue;
        }
        *s = sockets[i];
        start_detached(run_datagrams, s);
    }
    return e < 0 ? e : 0;
}

/* listen {node, port, net, mode} */
int peer_listen(const command *c, answer *a)
{
    peer_node n;
    const char *mode = command_text(c, "mode"), *net = command_text(c, "net");
    int e = find_node(c, a, &n), port = (int)command_number(c, "port", 0);
    if (e < 0)
        return e;
    if (net && !strcmp(net, "udp"))
        return listen_datagrams(c, a, &n);
    size_t i = 0;
    while (i < sizeof manners / sizeof *manners && strcmp(manners[i].mode, mode ? mode : "echo"))
        i++;
    if (i == sizeof manners / sizeof *manners)
        return answer_fail(a, GS_EBADARG, "no mode %s", mode);
    served *l = malloc(sizeof *l);
    if (!l)
        return -ENOMEM;
    *l = (served){GS_NO_STREAM, n.id, manners[i].serve, false};
    char address[64];
    snprintf(address, sizeof address, "tailnet://:%d", port);
    bool frames = manners[i].serve == serve_frames;
    gs_opt opts[] = {{.name = GS_OPT_TAILNET_NODE, .v.i = (int64_t)n.id.id},
        GS_INT(PACKET, frames ? GS_PACKET_4 : GS_PACKET_RAW), GS_INT(EXIT_ON_CLOSE, false), GS_INT(SHOW_ECONNRESET, true),
        GS_INT(BACKLOG, 128), GS_INT(REUSEADDR, true), GS_INT(NODELAY, true), GS_INT(SEND_TIMEOUT, IDLE_MS),
        {.name = GS_OPT_END}};
    e = gs_stream_listen(&l->s, address, opts, GS_NO_MAILBOX);
    if (e == 0 && (e = keep_door(n.name, port, false, l->s, NULL)) < 0)
        gs_stream_close(l->s);
    if (e < 0) {
        free(l);
        return e;
    }
    start_detached(run_listener, l);
    return 0;
}

/* unlisten {node, port, net} */
int peer_unlisten(const command *c, answer *a)
{
    peer_node n;
    const char *net = command_text(c, "net");
    int e = find_node(c, a, &n);
    return e < 0 ? e : drop_door(n.name, (int)command_number(c, "port", 0), net && !strcmp(net, "udp"));
}
