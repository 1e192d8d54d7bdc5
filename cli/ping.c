/* ping.c: `gensock ping PEER`: whether a peer of the tailnet is there, on what path, and how far. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "node.h"

enum { WAIT_MS = 5000 };

static void put_pong(const struct cli_args *a, const gs_tailnet_pong *p)
{
    char path[GS_ADDR_TEXT_MAX + 16], at[GS_ADDR_TEXT_MAX] = "";
    double ms = (double)p->rtt_ns / 1e6;
    if (!a->json) {
        printf("%s: %s, %.3f ms\n", a->arg[0], cli_path_text(p->path, &p->endpoint, p->relay, path, sizeof path), ms);
        return;
    }
    fputs("{\"peer\":", stdout);
    cli_json_text(stdout, a->arg[0], strlen(a->arg[0]));
    if (p->path == GS_PATH_DIRECT && gs_addr_text(&p->endpoint, at, sizeof at) > 0) {
        fputs(",\"path\":\"direct\",\"endpoint\":", stdout);
        cli_json_text(stdout, at, strlen(at));
    } else {
        fputs(",\"path\":\"relay\",\"relay\":", stdout);
        cli_json_text(stdout, p->relay, strlen(p->relay));
    }
    printf(",\"ms\":%.3f}\n", ms);
}

/* One question. 0: answered; -1: not, which is said; else the exit code. */
static int ask(const struct cli_args *a)
{
    gs_tailnet_pong pong;
    int wait_ms = a->timeout_ms == GS_INFINITY ? WAIT_MS : a->timeout_ms;
    int e = gs_tailnet_ping(cli_node(), a->arg[0], wait_ms, &pong);
    if (e == GS_ETIMEOUT) {
        cli_say(a, CLI_TIMEOUT, "%s: no answer within %d ms", a->arg[0], wait_ms);
        return -1;
    }
    if (e == GS_ENXDOMAIN)
        return cli_say(a, CLI_ADDRESS,
                       "%s: no peer of this tailnet has this name or address (nxdomain): `gensock status` lists them", a->arg[0]);
    if (e < 0)
        return cli_fail(a, a->arg[0], e);
    put_pong(a, &pong);
    return cli_finish_stdout(a, CLI_OK);
}

static int run(const struct cli_args *a, long count, long pause_ms)
{
    const struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000};
    long answered = 0;
    for (long i = 0; i < count; i++) {
        int code = ask(a);
        if (code > 0)
            return code;
        answered += code == 0;
        if (i + 1 < count)
            nanosleep(&pause, NULL);
    }
    return answered ? CLI_OK : CLI_TIMEOUT;
}

static const char usage[] =
    "PEER [-c N] [--interval MS] [--timeout MS] [--json] [--NODE-OPTION …]\n"
    "Asks a peer of the tailnet, by name or address, for a sign of life, and prints the path and the time of each answer. The\n"
    "first may come by a relay, and the later ones directly.\n"
    "  -c, --count N      how often; 4\n"
    "  --interval MS      between two; 1000\n"
    "  --timeout MS       for joining, and for each answer (5000)\n"
    "`gensock help tailnet` lists the options of the node.\n";

int cli_ping(int argc, char **argv)
{
    struct cli_args a = {.command = "ping", .usage = usage, .n_args = 1};
    long count = 4, pause_ms = 1000;
    const struct cli_flag flags[] = {
        {"count", CLI_NUMBER, &count, 1, INT_MAX}, {"interval", CLI_NUMBER, &pause_ms, 0, INT_MAX}, {NULL, CLI_FLAG, NULL, 0, 0}};
    int code = cli_parse(&a, argc, argv, flags);
    if (code < 0)
        code = cli_join_alone(&a, GS_NO_MAILBOX);
    else
        return cli_args_fini(&a, code);
    return cli_args_fini(&a, code == CLI_OK ? run(&a, count, pause_ms) : code);
}
