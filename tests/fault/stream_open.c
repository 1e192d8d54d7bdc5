/* Every allocation and system call of opening streams fails in every place: listen, connect, accept in its three ways, import,
 * export, names. */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/resolve.h"
#include "stream_fault.h"

static int connect_and_echo(void *scheme)
{
    struct ends x;
    int e = ends_open(&x, scheme, NULL, false);
    then(pass(x.a, x.b, SOME, 1));
    then(pass(x.b, x.a, SOME, 2));
    return ends_close(&x, e);
}

static int listen_with_options(void *scheme)
{
    struct ends x = {0};
    gs_stream_info_t info;
    gs_opt ask[] = {{.name = GS_OPT_PACKET}, {.name = GS_OPT_RECBUF}, {.name = GS_OPT_BACKLOG}, {.name = GS_OPT_END}};
    const gs_opt *opts = strcmp(scheme, "mem") ? GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(RECBUF, 8192), GS_INT(BACKLOG, 3))
                                               : GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(BACKLOG, 3));
    ask[strcmp(scheme, "mem") ? 2 : 1].name = GS_OPT_END;
    int e = ends_listen(&x, scheme, opts, GS_NO_MAILBOX);
    then(gs_stream_getopts(x.l, ask));
    then(gs_stream_info(x.l, &info));
    if (e == 0)
        must(ask[0].v.i == GS_PACKET_4 && info.state == GS_LISTENER);
    return ends_close(&x, e);
}

static int accept_with_a_timeout(void *scheme)
{
    struct ends x = {0};
    int e = ends_listen(&x, scheme, NULL, GS_NO_MAILBOX);
    if (e == 0) {
        e = first_code(0, gs_stream_accept(x.l, &x.b, GS_NO_MAILBOX, 20, NULL));
        e = e == GS_ETIMEOUT ? 0 : e;
    }
    then(gs_stream_connect(&x.a, x.at, NULL, GS_NO_MAILBOX, WAIT_MS));
    then(gs_stream_accept(x.l, &x.b, GS_NO_MAILBOX, 20, NULL));
    then(pass(x.a, x.b, 10, 3));
    return ends_close(&x, e);
}

static int accept_nowait(void *scheme)
{
    struct ends x = {0};
    gs_msg m;
    uint64_t ref, gone;
    int e = first_code(0, gs_mailbox_new(&x.mb));
    then(ends_listen(&x, scheme, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), x.mb));
    if (e == 0) {
        e = first_code(0, gs_stream_accept(x.l, &x.b, x.mb, GS_NOWAIT, &gone));
        e = e == GS_ESELECT ? gs_stream_cancel(x.l, gone) : e;
    }
    if (e == 0) {
        e = first_code(0, gs_stream_accept(x.l, &x.b, x.mb, GS_NOWAIT, &ref));
        e = e == GS_ESELECT ? 0 : e;
    }
    then(gs_stream_connect(&x.a, x.at, NULL, GS_NO_MAILBOX, WAIT_MS));
    then(gs_receive_ref(x.mb, ref, &m, WAIT_MS));
    if (e == 0) {
        must(m.kind == GS_MSG_ACCEPT && (m.error < 0) == (m.fresh.id == 0));
        x.b = m.fresh;
        e = m.error;
    }
    then(pass(x.a, x.b, 10, 4));
    return ends_close(&x, e);
}

static int accept_by_message(void *scheme)
{
    struct ends x = {0};
    gs_msg m;
    int e = first_code(0, gs_mailbox_new(&x.mb));
    then(ends_listen(&x, scheme, GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_TRUE)), x.mb));
    then(gs_stream_connect(&x.a, x.at, NULL, GS_NO_MAILBOX, WAIT_MS));
    then(gs_stream_send(x.a, "hello", 5));
    for (int tries = 0; e == 0 && !x.b.id; tries++) { /* a transient error leaves the listener standing, and its queue */
        e = first_code(0, await(x.mb, GS_MSG_ACCEPT, &m));
        if (e == 0)
            x.b = m.fresh;
        else if (gs_error_is_transient(e) && m.kind == GS_MSG_ACCEPT && tries < 3)
            e = e == -ECONNABORTED ? e : 0;
    }
    then(await(x.mb, GS_MSG_DATA, &m));
    if (e == 0)
        must(m.stream.id == x.b.id && m.packet.data.n == 5 && !memcmp(m.packet.data.p, "hello", 5));
    return ends_close(&x, e);
}

static int connect_nowait(void *scheme)
{
    struct ends x = {0};
    gs_msg m;
    int e = first_code(0, gs_mailbox_new(&x.mb));
    then(ends_listen(&x, scheme, NULL, GS_NO_MAILBOX));
    if (e == 0) {
        e = first_code(0, gs_stream_connect(&x.a, x.at, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), x.mb, GS_NOWAIT));
        e = e == GS_ESELECT ? 0 : e;
    }
    then(await(x.mb, GS_MSG_CONNECT, &m));
    then(gs_stream_accept(x.l, &x.b, GS_NO_MAILBOX, WAIT_MS, NULL));
    then(pass(x.b, x.a, 10, 5));
    return ends_close(&x, e);
}

/* The resolver's threads are stopped each time, so that a census is steady. */
static int connect_by_name(void *nowait)
{
    struct ends x = {0};
    gs_msg m;
    int e = first_code(0, gs_mailbox_new(&x.mb));
    then(ends_listen(&x, "tcp", NULL, GS_NO_MAILBOX));
    if (e == 0) {
        char at[80];
        snprintf(at, sizeof at, "tcp://localhost:%d", gs_stream_port(x.l));
        e = first_code(0,
                       gs_stream_connect(&x.a, at, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), x.mb, nowait ? GS_NOWAIT : WAIT_MS));
        if (nowait && e == GS_ESELECT)
            e = await(x.mb, GS_MSG_CONNECT, &m);
    }
    then(gs_stream_accept(x.l, &x.b, GS_NO_MAILBOX, WAIT_MS, NULL));
    then(pass(x.a, x.b, 10, 6));
    e = ends_close(&x, e);
    return gsi_resolver_stop(gsi_deadline(5000)) ? GS_ETIMEOUT : e;
}

/* Import takes the descriptor in any case: the census sees a lost or a twice closed one. */
static int import_and_export(void *unused)
{
    (void)unused;
    int fd[2];
    struct ends x = {0};
    uint8_t *rest = NULL;
    size_t n = 0;
    char in[8];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
        abort();
    int e = first_code(0, gs_stream_import(&x.a, fd[0], GS_OPTS(GS_INT(SNDBUF, 8192)), GS_NO_MAILBOX));
    then(write(fd[1], "abcdef", 6));
    then(gs_stream_recv(x.a, in, 2, 2, WAIT_MS));
    then(gs_stream_unrecv(x.a, in, 2));
    if (e == 0) {
        int back = gs_stream_export(x.a, &rest, &n);
        e = first_code(0, back);
        if (back >= 0)
            close(back);
    }
    if (e == 0)
        must(n >= 2 && !memcmp(rest, "abcdef", n));
    gs_free(rest);
    close(fd[1]);
    return ends_close(&x, e);
}

static int import_a_listener(void *unused)
{
    (void)unused;
    struct ends x = {0};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4) < 0)
        abort();
    int e = first_code(0, gs_stream_import(&x.l, fd, NULL, GS_NO_MAILBOX));
    if (e == 0)
        snprintf(x.at, sizeof x.at, "tcp://127.0.0.1:%d", gs_stream_port(x.l));
    then(gs_stream_connect(&x.a, x.at, NULL, GS_NO_MAILBOX, WAIT_MS));
    then(gs_stream_accept(x.l, &x.b, GS_NO_MAILBOX, WAIT_MS, NULL));
    then(pass(x.b, x.a, 10, 7));
    return ends_close(&x, e);
}

/* {fd, Fd}: taken also when the open fails before it is looked at. */
static int listen_on_a_descriptor(void *unused)
{
    (void)unused;
    struct ends x = {0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int e = first_code(0, gs_stream_listen(&x.l, "tcp://127.0.0.1:0", GS_OPTS(GS_INT(FD, fd)), GS_NO_MAILBOX));
    return ends_close(&x, e);
}

static int ask_for_everything(void *scheme)
{
    struct ends x;
    gs_addr addr;
    gs_stat stat;
    gs_stream_info_t info;
    const gs_peer *peer = NULL;
    uint64_t ref;
    gs_msg m;
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), true);
    if (e == 0 && strcmp(scheme, "mem")) {
        then(gs_stream_sockname(x.a, &addr));
        then(gs_stream_peername(x.a, &addr));
    }
    then(gs_stream_getstat(x.a, &stat));
    then(gs_stream_info(x.a, &info));
    then(gs_stream_peer(x.b, &peer));
    gs_peer_free(peer);
    then(gs_stream_monitor(x.b, x.mb, &ref));
    then(gs_stream_cancel_monitor(x.b, ref));
    then(gs_stream_monitor(x.b, x.mb, &ref));
    then(gs_stream_close(x.b));
    then(gs_receive_ref(x.mb, ref, &m, WAIT_MS));
    if (e == 0)
        must(m.kind == GS_MSG_DOWN && m.stream.id == x.b.id);
    return ends_close(&x, e);
}

static int use_process_defaults(void *scheme)
{
    struct ends x = {0};
    gs_opt ask[] = {{.name = GS_OPT_PACKET}, {.name = GS_OPT_END}};
    int e = first_code(0, gs_set_default_opts(GS_LISTEN_DEFAULTS, GS_OPTS(GS_INT(PACKET, GS_PACKET_2), GS_STR(NETNS, "/proc/self/ns/net"))));
    then(gs_set_default_opts(GS_LISTEN_DEFAULTS, GS_OPTS(GS_INT(PACKET, GS_PACKET_1))));
    then(gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS(GS_INT(PACKET, GS_PACKET_1))));
    if (e == 0)
        e = ends_open(&x, scheme, NULL, false);
    then(gs_stream_getopts(x.a, ask));
    if (e == 0)
        must(ask[0].v.i == GS_PACKET_1);
    then(pass(x.a, x.b, 0, 0));
    must(gs_set_default_opts(GS_CONNECT_DEFAULTS, NULL) == 0 && gs_set_default_opts(GS_LISTEN_DEFAULTS, NULL) == 0);
    return ends_close(&x, e);
}

ON_EACH_TRANSPORT(connect_echo, "connect and echo", connect_and_echo, &virtual_time)
ON_EACH_TRANSPORT(listening, "listen with options", listen_with_options, &virtual_time)
ON_EACH_TRANSPORT(accept_timeout, "accept with a timeout", accept_with_a_timeout, &virtual_time)
ON_EACH_TRANSPORT(accept_nowait, "accept nowait", accept_nowait, &virtual_time)
ON_EACH_TRANSPORT(accept_message, "accept by message", accept_by_message, &virtual_time)
ON_EACH_TRANSPORT(connect_nowait, "connect nowait", connect_nowait, &virtual_time)
ON_EACH_TRANSPORT(questions, "names, peer, monitors", ask_for_everything, &virtual_time)
ON_EACH_TRANSPORT(defaults, "process-wide defaults", use_process_defaults, &virtual_time)

static void names_survive_every_fault(void **state)
{
    (void)state;
    fault_run_with("connect by name", connect_by_name, NULL, &real_time);
    fault_run_with("connect by name, nowait", connect_by_name, "nowait", &real_time);
}

static void descriptors_survive_every_fault(void **state)
{
    (void)state;
    fault_run_with("import and export", import_and_export, NULL, &virtual_time);
    fault_run_with("import of a listener", import_a_listener, NULL, &virtual_time);
    fault_run_with("listen on a descriptor", listen_on_a_descriptor, NULL, &virtual_time);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(connect_echo),
        ROW(listening),
        ROW(accept_timeout),
        ROW(accept_nowait),
        ROW(accept_message),
        ROW(connect_nowait),
        ROW(questions),
        ROW(defaults),
        cmocka_unit_test(names_survive_every_fault),
        cmocka_unit_test(descriptors_survive_every_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
