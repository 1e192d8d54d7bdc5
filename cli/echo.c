/* echo.c: `gensock echo ADDRESS`: one mailbox serves every connection.
 *
 * A peer that sends and does not read must cost the others nothing: sends are nowait. When a stream's queue is full its
 * message is kept (in the stream's `user` pointer) and the stream made passive, until it is drained.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "cli.h"

enum { TAG_STOP = 1 };

struct echo {
    struct cli_args a;
    gs_mailbox mb;
    gs_stream listener;
    gs_opt active[2]; /* the active option, to set it again */
    long count;       /* connections to serve; 0: no end */
    bool listening, verbose;
    bool short_of; /* the last accept failed for want of something, and that is said */
    uint64_t connections, open, packets, bytes;
};

static void end_connection(struct echo *e, gs_stream s, void *held)
{
    gs_msg_drop(held);
    free(held);
    gs_stream_close(s);
    e->open--;
}

static int send_back(const gs_msg *m)
{
    const gs_packet *p = &m->packet;
    if (p->header.n == 0)
        return gs_stream_send(m->stream, p->data.p, p->data.n);
    struct iovec both[] = {{(void *)(uintptr_t)p->header.p, p->header.n}, {(void *)(uintptr_t)p->data.p, p->data.n}};
    return gs_stream_sendv(m->stream, both, 2, NULL);
}

/* The queue is full: nothing more is read until it is drained. */
static int hold(const gs_msg *m)
{
    gs_msg *kept = calloc(1, sizeof *kept);
    if (!kept)
        return -ENOMEM;
    int e = gs_msg_keep(m, kept);
    if (e == 0) {
        e = gs_stream_setopts(m->stream, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), {.name = GS_OPT_USER, .v.ptr = kept}));
        if (e == 0)
            return 0;
        gs_msg_drop(kept);
    }
    free(kept);
    return e;
}

static void on_data(struct echo *e, const gs_msg *m)
{
    e->packets++;
    e->bytes += m->packet.header.n + m->packet.data.n;
    int sent = send_back(m);
    if (sent == -EAGAIN)
        sent = hold(m);
    else if (sent >= 0 && e->active[0].v.i == GS_ACTIVE_ONCE)
        sent = gs_stream_setopts(m->stream, e->active);
    if (sent < 0)
        end_connection(e, m->stream, NULL);
}

static void on_drained(struct echo *e, const gs_msg *m)
{
    gs_msg *kept = m->user;
    if (!kept)
        return;
    int sent = send_back(kept);
    if (sent == -EAGAIN)
        return;
    gs_opt resume[] = {{.name = GS_OPT_USER, .v.ptr = NULL}, e->active[0], {.name = GS_OPT_END}};
    if (sent >= 0)
        sent = gs_stream_setopts(m->stream, resume);
    if (sent < 0) {
        end_connection(e, m->stream, kept);
        return;
    }
    gs_msg_drop(kept);
    free(kept);
}

/* 0: go on; else why not. */
static int on_accept(struct echo *e, const gs_msg *m)
{
    if (m->error < 0 && gs_error_is_transient(m->error)) {
        if (!e->short_of)
            cli_fail(&e->a, "connections have to wait", m->error);
        e->short_of = true;
        return 0;
    }
    if (m->error < 0)
        return m->error;
    e->short_of = false;
    e->connections++;
    e->open++;
    if (e->verbose)
        cli_tailnet_tell(&e->a, "accepted", m->fresh);
    if (e->count && e->connections == (uint64_t)e->count) {
        cli_unlisten(e->listener);
        e->listening = false;
    }
    return 0;
}

static int serve(struct echo *e)
{
    gs_msg m;
    int r = 0;
    while (r == 0 && (e->listening || e->open)) {
        r = gs_receive(e->mb, &m, e->a.timeout_ms);
        if (r < 0)
            break;
        switch (m.kind) {
        case GS_MSG_DATA:
            on_data(e, &m);
            break;
        case GS_MSG_PASSIVE:
            if (!m.user && gs_stream_setopts(m.stream, e->active) < 0)
                end_connection(e, m.stream, NULL);
            break;
        case GS_MSG_DRAINED:
            on_drained(e, &m);
            break;
        case GS_MSG_ACCEPT:
            r = on_accept(e, &m);
            break;
        case GS_MSG_ERROR: /* of a plain connection it means no more than its end */
            if (m.error == GS_EALERT || m.error == GS_ETRUNCATED)
                cli_fail(&e->a, "a connection", m.error);
            break;
        case GS_MSG_CLOSED:
            end_connection(e, m.stream, m.user);
            break;
        case GS_MSG_POST:
            return 0; /* TAG_STOP */
        default:
            break;
        }
    }
    return r;
}

static void print_summary(const struct echo *e)
{
    const char *format = e->a.json ? "{\"connections\":%llu,\"packets\":%llu,\"bytes\":%llu}\n"
                                   : "%llu connections, %llu packets, %llu bytes\n";
    printf(format, (unsigned long long)e->connections, (unsigned long long)e->packets, (unsigned long long)e->bytes);
}

static void stop(void *arg)
{
    gs_mailbox *mb = arg;
    if (gs_post(*mb, TAG_STOP, NULL, 0) < 0)
        exit(CLI_FAILURE);
}

static int run(struct echo *e)
{
    int code = cli_listen(&e->a, e->a.arg[0], e->mb, &e->listener);
    if (code != CLI_OK)
        return code;
    e->listening = true;
    int r = serve(e);
    if (e->listening)
        cli_unlisten(e->listener);
    if (r == GS_ETIMEOUT)
        return cli_say(&e->a, CLI_TIMEOUT, "nothing has happened for %d ms", e->a.timeout_ms);
    if (r < 0)
        return cli_fail(&e->a, "serving", r);
    print_summary(e);
    return cli_finish_stdout(&e->a, CLI_OK);
}

static const char usage[] =
    "ADDRESS [--count N] [-v] [--active true|once|N] [--timeout MS] [--json] [--OPTION VALUE …]\n"
    "Listens at ADDRESS, prints where (port 0 is a free one), and sends every packet back. SIGINT and SIGTERM end it.\n"
    "  --count N      ends when N connections have come and gone\n"
    "  -v, --verbose  tells on stderr who connects, where a tailnet knows it, and on what path\n"
    "  --timeout MS   ends with exit code 4 when nothing happens for MS\n"
    "for example: gensock echo tcp://127.0.0.1:0 --packet 4 --active once --nodelay true\n"
    "             gensock echo tls://:4000 --cert server.pem --key server.key\n"
    "             gensock echo tailnet://:7 --hostname echo\n";

int cli_echo(int argc, char **argv)
{
    struct echo e = {.a = {.command = "echo", .usage = usage, .n_args = 1}};
    const struct cli_flag flags[] = {
        {"count", CLI_NUMBER, &e.count, 1, LONG_MAX}, {"verbose", CLI_FLAG, &e.verbose, 0, 0}, {NULL, CLI_FLAG, NULL, 0, 0}};
    cli_default(&e.a, (gs_opt)GS_INT(ACCEPT, GS_ACTIVE_TRUE));
    cli_default(&e.a, (gs_opt)GS_INT(ACTIVE, GS_ACTIVE_TRUE));
    cli_default(&e.a, (gs_opt)GS_INT(REUSEADDR, true));
    cli_default(&e.a, (gs_opt)GS_INT(BACKLOG, 1024));
    int code = cli_parse(&e.a, argc, argv, flags);
    if (code < 0)
        code = cli_check_active(&e.a);
    if (code >= 0)
        return cli_args_fini(&e.a, code);
    cli_nowait_sends(&e.a);
    e.active[0] = *cli_opt(&e.a, GS_OPT_ACTIVE);

    code = cli_prepare(&e.a, e.a.arg[0]);
    if (code != CLI_OK)
        return cli_args_fini(&e.a, code);
    int r = gs_mailbox_new(&e.mb);
    cli_signals_hold();
    if (r == 0)
        r = cli_signals_start(stop, &e.mb);
    if (r < 0)
        return cli_args_fini(&e.a, cli_fail(&e.a, "starting", r));
    code = run(&e);
    cli_signals_stop();
    gs_mailbox_free(e.mb);
    return cli_args_fini(&e.a, code);
}
