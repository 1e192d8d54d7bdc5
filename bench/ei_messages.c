/* One of two C nodes over tcp on loopback, on stock ei or on gensock's callbacks; bench/ei starts both.
 *
 *     ei_messages receive stock|gensock COUNT MS             prints its port; then the CPU time that COUNT messages took, ns
 *     ei_messages send    stock|gensock COUNT MS PORT SIZE   sends them; prints ns of time and CPU time until the last was received
 *
 * MS: the timeout of each call; 0: none.
 */
#include <gensock/ei.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static ei_cnode node;
static const char *how;
static unsigned ms;

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    const char *detail = strcmp(how, "stock") ? gs_error_detail(gs_ei_error()) : "";
    fprintf(stderr, "ei_messages: %s: error %d %s\n", what, erl_errno, detail);
    exit(1);
}

static long long ns_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void node_init(const char *alive)
{
    char name[64];
    struct in_addr none = {0};
    int size, e;
    (void)snprintf(name, sizeof name, "%s@localhost", alive);
    ei_init();
    if (strcmp(how, "stock")) {
        ei_socket_callbacks *table = gs_ei_callbacks(&size);
        e = ei_connect_xinit_ussi(&node, "localhost", alive, name, &none, "bench", 0, table, size, NULL);
    } else {
        e = ei_connect_xinit(&node, "localhost", alive, name, &none, "bench", 0);
    }
    need(e == 0, "xinit");
}

static void receive(long count)
{
    struct in_addr loopback = {.s_addr = htonl(INADDR_LOOPBACK)};
    erlang_msg msg = {0};
    ei_x_buff x;
    int port = 0;
    long long cpu = 0;
    node_init("far");
    int listening = ei_xlisten(&node, &loopback, &port, 1);
    need(listening >= 0, "listen");
    printf("%d\n", port);
    fflush(stdout);
    int fd = ei_accept(&node, listening, NULL);
    need(fd >= 0, "accept");
    ei_x_new(&x);
    for (long i = 0; i < count; i++) {
        need(ei_xreceive_msg_tmo(fd, &msg, &x, ms) == ERL_MSG, "receive");
        if (i == 0)
            cpu = ns_of(CLOCK_PROCESS_CPUTIME_ID);
    }
    printf("%lld\n", ns_of(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    x.index = 0;
    ei_x_encode_version(&x);
    ei_x_encode_atom(&x, "done");
    need(ei_send(fd, &msg.from, x.buff, x.index) == 0, "the answer");
    ei_close_connection(fd);
    ei_close_connection(listening);
    ei_x_free(&x);
}

static void send_all(long count, int port, int size)
{
    struct in_addr loopback = {.s_addr = htonl(INADDR_LOOPBACK)};
    erlang_msg msg;
    ei_x_buff x, in;
    char *bytes = calloc(1, (size_t)size), sink[] = "sink";
    node_init("near");
    int fd = ei_xconnect_host_port(&node, &loopback, port);
    need(fd >= 0 && bytes, "connect");
    ei_x_new(&in);
    ei_x_new_with_version(&x);
    ei_x_encode_binary(&x, bytes, size);
    long long cpu = ns_of(CLOCK_PROCESS_CPUTIME_ID), wall = ns_of(CLOCK_MONOTONIC);
    for (long i = 0; i < count; i++)
        need(ei_reg_send_tmo(&node, fd, sink, x.buff, x.index, ms) == 0, "send");
    need(ei_xreceive_msg(fd, &msg, &in) == ERL_MSG, "the answer");
    wall = ns_of(CLOCK_MONOTONIC) - wall;
    printf("%lld %lld\n", wall, ns_of(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    ei_close_connection(fd);
    ei_x_free(&in);
    ei_x_free(&x);
    free(bytes);
}

int main(int argc, char **argv)
{
    how = argc > 2 ? argv[2] : "";
    ms = argc > 4 ? (unsigned)atoi(argv[4]) : 0;
    if (argc == 5 && !strcmp(argv[1], "receive")) {
        receive(atol(argv[3]));
        return 0;
    }
    if (argc == 7 && !strcmp(argv[1], "send")) {
        send_all(atol(argv[3]), atoi(argv[5]), atoi(argv[6]));
        return 0;
    }
    fprintf(stderr, "ei_messages receive|send stock|gensock COUNT MS [PORT SIZE]\n");
    return 2;
}
