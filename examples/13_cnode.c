/* 13_cnode: a C node that an Erlang shell calls over TLS. Both ends show certificates and verify; no epmd, for the port is known.
 *
 *     13_cnode 4370 server.pem server.key ca.pem
 *     erl -sname shell@localhost -setcookie secret -proto_dist inet_tls -ssl_dist_optfile $PWD/tls.conf \
 *         -dist_listen false -start_epmd false -erl_epmd_port 4370
 *     (shell@localhost)1> gen_server:call({calc, cnode@localhost}, {add, 20, 22}).
 *     42
 * tls.conf: [{client, [{verify, verify_peer}, {cacertfile, "ca.pem"}, {certfile, "server.pem"}, {keyfile, "server.key"}]}].
 */
#include <gensock/ei.h>
#include <gensock/tls.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static ei_cnode node;

/* {'$gen_call', {Pid, Tag}, {add, A, B}}: to Pid goes {Tag, A + B}, as a gen_server answers. */
static int answer(int fd, const char *message)
{
    char call[MAXATOMLEN], what[MAXATOMLEN];
    erlang_pid from;
    ei_x_buff reply;
    long a, b;
    int at = 0, version, n;
    if (ei_decode_version(message, &at, &version) < 0 || ei_decode_tuple_header(message, &at, &n) < 0 || n != 3 ||
        ei_decode_atom(message, &at, call) < 0 || strcmp(call, "$gen_call") || ei_decode_tuple_header(message, &at, &n) < 0 ||
        n != 2 || ei_decode_pid(message, &at, &from) < 0)
        return 0; /* not a call: nobody waits */
    int tag = at;
    if (ei_skip_term(message, &at) < 0 || ei_x_new_with_version(&reply) < 0)
        return -1;
    int e = ei_x_encode_tuple_header(&reply, 2) | ei_x_append_buf(&reply, message + tag, at - tag);
    if (ei_decode_tuple_header(message, &at, &n) == 0 && n == 3 && ei_decode_atom(message, &at, what) == 0 &&
        !strcmp(what, "add") && ei_decode_long(message, &at, &a) == 0 && ei_decode_long(message, &at, &b) == 0)
        e |= ei_x_encode_longlong(&reply, (long long)a + b);
    else
        e |= ei_x_encode_atom(&reply, "badarg");
    if (e == 0)
        e = ei_send(fd, &from, reply.buff, reply.index);
    ei_x_free(&reply);
    return e;
}

/* One Erlang node, until it leaves. */
static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg, got;
    erlang_msg m;
    ei_x_buff x;
    gs_stream s;
    const gs_peer *peer;
    if (gs_ei_stream(fd, &s) == 0 && gs_stream_peer(s, &peer) == 0) {
        printf("a node with the certificate of %s\n", peer->subject);
        gs_peer_free(peer);
    }
    ei_x_new(&x);
    while ((got = ei_xreceive_msg(fd, &m, &x)) != ERL_ERROR)
        if (got == ERL_MSG && m.msgtype == ERL_REG_SEND && answer(fd, x.buff) < 0)
            break;
    ei_x_free(&x);
    return (void *)(intptr_t)ei_close_connection(fd);
}

int main(int argc, char **argv)
{
    if (argc != 5 || gs_tls_register() < 0 || ei_init() != 0)
        return 2;
    const gs_opt *opts = GS_OPTS(GS_STR(TLS_CERT_FILE, argv[2]), GS_STR(TLS_KEY_FILE, argv[3]), GS_STR(TLS_CA_FILE, argv[4]),
                                 GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE));
    gs_ei_setup setup = {.listen_opts = opts};
    char address[64];
    int size;
    ei_socket_callbacks *table = gs_ei_callbacks(&size);
    snprintf(address, sizeof address, "tls://127.0.0.1:%s", argv[1]);
    ei_connect_xinit_ussi(&node, "localhost", "cnode", "cnode@localhost", NULL, "secret", 0, table, size, &setup);
    int listener = gs_ei_listen(&node, address, 5), fd;
    gs_stream s;
    pthread_t thread;
    if (listener < 0 || gs_ei_stream(listener, &s) < 0)
        return fprintf(stderr, "%s: %s\n", gs_error_name(listener), gs_error_detail(listener)), 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("cnode@localhost listens at port %d\n", gs_stream_port(s));
    for (;;)
        if ((fd = ei_accept(&node, listener, NULL)) < 0)
            printf("refused: %s %s\n", gs_ei_error() ? gs_error_name(gs_ei_error()) : "by ei", gs_error_detail(gs_ei_error()));
        else if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0 || pthread_detach(thread) != 0)
            ei_close_connection(fd);
}
