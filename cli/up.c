/* up.c: `gensock up`: a node of a tailnet that stays, and tells what happens to it. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

enum { TAG_STOP = 1, LOOK_MS = 1000 };

struct up {
    struct cli_args a;
    gs_mailbox mb;
    bool running;
    uint64_t began_ns, look_ref;
    char told[512]; /* what is waited for, as it was said last */
};

static void put_event(const struct up *u, const char *event, const char *text, size_t n)
{
    if (u->a.json) {
        printf("{\"event\":\"%s\",\"text\":", event);
        cli_json_text(stdout, text, n);
        puts("}");
    } else {
        printf("%s ", event);
        cli_put_plain(stdout, text, n);
        putchar('\n');
    }
}

/* Who we are, once the node is up. */
static void put_self(const gs_tailnet_status_t *s, bool json)
{
    char name[256], text[GS_ADDR_TEXT_MAX];
    cli_member_name(&s->self, name, sizeof name);
    if (json) {
        fputs("{\"event\":\"up\",\"name\":", stdout);
        cli_json_text(stdout, name, strlen(name));
        fputs(",\"addresses\":", stdout);
        cli_json_addresses(stdout, s->self.addresses, s->self.n_addresses);
        puts("}");
        return;
    }
    fputs("up ", stdout);
    cli_put_plain(stdout, name, strlen(name));
    for (size_t i = 0; i < s->self.n_addresses; i++)
        if (gs_addr_text(&s->self.addresses[i], text, sizeof text) > 0)
            printf(" %s", cli_without_port(text));
    putchar('\n');
}

/* What the node's state means for the command: -1: go on; else the exit code. */
static int look(struct up *u)
{
    const gs_tailnet_status_t *s;
    int code = -1, e = gs_tailnet_status(cli_node(), &s);
    if (e < 0)
        return cli_fail(&u->a, "status", e);
    uint64_t passed_ms = (cli_now_ns() - u->began_ns) / 1000000;
    if (s->state == GS_TAILNET_FAILED) {
        code = cli_join_failed(&u->a, s->error, s->detail);
    } else if (s->state == GS_TAILNET_RUNNING && !u->running) {
        u->running = true;
        put_self(s, u->a.json);
    } else if (!u->running && u->a.timeout_ms != GS_INFINITY && passed_ms >= (uint64_t)u->a.timeout_ms) {
        code = cli_say(&u->a, CLI_TIMEOUT, "not up after %d ms: %s", u->a.timeout_ms,
                       *s->detail ? s->detail : gs_tailnet_state_name(s->state));
    } else if (*s->detail && strcmp(s->detail, u->told) && passed_ms >= LOOK_MS) {
        snprintf(u->told, sizeof u->told, "%s", s->detail);
        cli_say(&u->a, CLI_OK, "%s%s", u->running ? "" : "waiting: ", s->detail);
    }
    gs_tailnet_status_free(s);
    return code;
}

static int on_event(struct up *u, const gs_msg *m)
{
    static const char *const names[] = {
        [GS_TAILNET_STATE] = "state", [GS_TAILNET_LOGIN_URL] = "login", [GS_TAILNET_KEY_EXPIRY] = "key_expiry",
        [GS_TAILNET_PEER] = "peer",   [GS_TAILNET_PATH] = "path",       [GS_TAILNET_HEALTH] = "health"};
    uint32_t event = m->post.tag;
    if (event < sizeof names / sizeof names[0] && names[event])
        put_event(u, names[event], (const char *)m->post.body.p, m->post.body.n);
    return event == GS_TAILNET_STATE ? look(u) : -1;
}

static int on_timer(struct up *u)
{
    int code = look(u);
    int e = code < 0 ? gs_timer_start(u->mb, LOOK_MS, NULL, &u->look_ref) : 0;
    return e < 0 ? cli_fail(&u->a, "timer", e) : code;
}

static int serve(struct up *u)
{
    gs_msg m;
    int code = on_timer(u);
    while (code < 0) {
        int e = gs_receive(u->mb, &m, GS_INFINITY);
        if (e < 0)
            return cli_fail(&u->a, "waiting", e);
        if (m.kind == GS_MSG_POST)
            return CLI_OK; /* TAG_STOP */
        if (m.kind == GS_MSG_TIMER)
            code = on_timer(u);
        else if (m.kind == GS_MSG_TAILNET)
            code = on_event(u, &m);
        if (cli_finish_stdout(&u->a, CLI_OK) != CLI_OK)
            return CLI_FILE;
    }
    return code;
}

static void stop(void *arg)
{
    gs_mailbox *mb = arg;
    if (gs_post(*mb, TAG_STOP, NULL, 0) < 0)
        exit(CLI_FAILURE);
}

static const char usage[] =
    "[--timeout MS] [--json] [--NODE-OPTION …]\n"
    "Joins a tailnet and stays until SIGINT or SIGTERM. Prints the URL to log in at when a person must, then its name and\n"
    "addresses, then what happens: states, peers that come and go, paths to them, warnings; a line each.\n"
    "  --timeout MS   ends with exit code 4 when it is not up after MS\n"
    "`gensock help tailnet` lists the options of the node.\n"
    "for example: gensock up --hostname laptop --state ~/.laptop\n";

int cli_up(int argc, char **argv)
{
    struct up u = {.a = {.command = "up", .usage = usage}};
    int code = cli_parse(&u.a, argc, argv, NULL);
    if (code >= 0)
        return cli_args_fini(&u.a, code);
    u.began_ns = cli_now_ns();
    int e = gs_mailbox_new(&u.mb);
    if (e < 0)
        return cli_args_fini(&u.a, cli_fail(&u.a, "starting", e));
    cli_signals_hold();
    code = cli_join_alone(&u.a, u.mb);
    e = code == CLI_OK ? cli_signals_start(stop, &u.mb) : 0;
    if (e < 0)
        code = cli_fail(&u.a, "starting", e);
    else if (code == CLI_OK) {
        code = serve(&u);
        cli_signals_stop();
    }
    cli_tailnet_leave();
    gs_mailbox_free(u.mb);
    return cli_args_fini(&u.a, code);
}
