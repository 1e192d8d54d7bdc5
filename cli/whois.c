/* whois.c: `gensock whois ADDRESS`: who has an address of the tailnet now. */
#include <string.h>

#include "node.h"

static void put_text(const char *before, const char *text)
{
    fputs(before, stdout);
    cli_json_text(stdout, text ? text : "", text ? strlen(text) : 0);
}

static void put_json(const gs_peer *p)
{
    put_text("{\"node\":", p->node);
    put_text(",\"id\":", p->stable_id);
    put_text(",\"user\":", p->user);
    put_text(",\"display_name\":", p->display_name);
    fputs(",\"tags\":[", stdout);
    for (size_t i = 0; i < p->n_tags; i++)
        put_text(i ? "," : "", p->tags[i]);
    fputs("],\"capabilities\":[", stdout);
    for (size_t i = 0; i < p->n_caps; i++) {
        put_text(i ? ",{\"name\":" : "{\"name\":", p->caps[i]);
        put_text(",\"values\":", p->cap_json[i]);
        putchar('}');
    }
    puts("]}");
}

/* Nothing when there is no text. */
static void put_line(const char *before, const char *text)
{
    if (!text || !*text)
        return;
    fputs(before, stdout);
    cli_put_plain(stdout, text, strlen(text));
    putchar('\n');
}

static void put_lines(const gs_peer *p)
{
    put_line("node  ", p->node);
    put_line("id    ", p->stable_id);
    put_line("user  ", p->user);
    put_line("name  ", p->display_name);
    for (size_t i = 0; i < p->n_tags; i++)
        put_line("tag   ", p->tags[i]);
    for (size_t i = 0; i < p->n_caps; i++) {
        fputs("cap   ", stdout);
        cli_put_plain(stdout, p->caps[i], strlen(p->caps[i]));
        put_line(" ", p->cap_json[i] && *p->cap_json[i] ? p->cap_json[i] : "[]");
    }
}

static const char usage[] =
    "ADDRESS [--timeout MS] [--json] [--NODE-OPTION …]\n"
    "Joins a tailnet and prints who has ADDRESS (100.64.0.7, fd7a:115c:a1e0::7; a port behind it is not looked at) there now:\n"
    "node, user, tags, capabilities.\n"
    "  --timeout MS   for joining\n"
    "`gensock help tailnet` lists the options of the node.\n";

int cli_whois(int argc, char **argv)
{
    struct cli_args a = {.command = "whois", .usage = usage, .n_args = 1};
    gs_addr address;
    const gs_peer *peer;
    int code = cli_parse(&a, argc, argv, NULL);
    if (code >= 0)
        return cli_args_fini(&a, code);
    int e = gs_addr_ip(&address, a.arg[0], 0);
    if (e < 0)
        e = gs_addr_parse(&address, a.arg[0]);
    if (e < 0)
        return cli_args_fini(&a, cli_fail(&a, a.arg[0], e));
    code = cli_join_alone(&a, GS_NO_MAILBOX);
    if (code != CLI_OK)
        return cli_args_fini(&a, code);
    e = gs_tailnet_whois(cli_node(), &address, &peer);
    if (e == GS_ENXDOMAIN)
        return cli_args_fini(
            &a, cli_say(&a, CLI_ADDRESS, "%s: nobody of this tailnet has it (nxdomain): `gensock status` lists them", a.arg[0]));
    if (e < 0)
        return cli_args_fini(&a, cli_fail(&a, a.arg[0], e));
    if (a.json)
        put_json(peer);
    else
        put_lines(peer);
    gs_peer_free(peer);
    return cli_args_fini(&a, cli_finish_stdout(&a, CLI_OK));
}
