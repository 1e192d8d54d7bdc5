/* status.c: `gensock status`: a node joins, and prints itself and the peers that it sees. */
#include <string.h>

#include "node.h"

static const char *kind_name(gs_path_kind kind)
{
    return kind == GS_PATH_DIRECT ? "direct" : kind == GS_PATH_RELAY ? "relay" : "none";
}

static void put_text(const char *before, const char *text)
{
    fputs(before, stdout);
    cli_json_text(stdout, text ? text : "", text ? strlen(text) : 0);
}

static void put_texts(const char *before, const char *const *texts, size_t n)
{
    fputs(before, stdout);
    putchar('[');
    for (size_t i = 0; i < n; i++)
        put_text(i ? "," : "", texts[i]);
    putchar(']');
}

/* Without its closing brace. */
static void put_member_json(const gs_tailnet_member *m)
{
    char name[256];
    put_text("{\"name\":", cli_member_name(m, name, sizeof name));
    fputs(",\"addresses\":", stdout);
    cli_json_addresses(stdout, m->addresses, m->n_addresses);
    put_text(",\"id\":", m->stable_id);
    put_text(",\"user\":", m->user);
    put_text(",\"os\":", m->os);
    put_texts(",\"tags\":", m->tags, m->n_tags);
    fputs(",\"node_key\":\"", stdout);
    for (size_t i = 0; i < sizeof m->node_key; i++)
        printf("%02x", m->node_key[i]);
    printf("\",\"online\":%s,\"expired\":%s", m->online ? "true" : "false", m->expired ? "true" : "false");
    put_text(",\"relay\":", m->relay);
}

static void put_peer_json(const gs_tailnet_member *m)
{
    char at[GS_ADDR_TEXT_MAX];
    put_member_json(m);
    printf(",\"path\":\"%s\"", kind_name(m->path));
    if (m->path == GS_PATH_DIRECT && gs_addr_text(&m->endpoint, at, sizeof at) > 0)
        put_text(",\"endpoint\":", at);
    if (m->latency_ns > 0)
        printf(",\"latency_ms\":%.3f", (double)m->latency_ns / 1e6);
    printf(",\"sent\":%llu,\"received\":%llu}", (unsigned long long)m->sent, (unsigned long long)m->received);
}

static void put_json(const gs_tailnet_status_t *s)
{
    char at[GS_ADDR_TEXT_MAX];
    printf("{\"state\":\"%s\"", gs_tailnet_state_name(s->state));
    put_text(",\"domain\":", s->domain);
    fputs(",\"self\":", stdout);
    put_member_json(&s->self);
    fputs(",\"endpoints\":[", stdout);
    for (size_t i = 0; i < s->n_endpoints; i++)
        if (gs_addr_text(&s->endpoints[i], at, sizeof at) > 0)
            put_text(i ? "," : "", at);
    fputs("]},\"peers\":[", stdout);
    for (size_t i = 0; i < s->n_peers; i++) {
        fputs(i ? "," : "", stdout);
        put_peer_json(&s->peers[i]);
    }
    put_texts("],\"health\":", s->health, s->n_health);
    puts("}");
}

static void put_row(const gs_tailnet_member *m, const char *path)
{
    char name[256], address[GS_ADDR_TEXT_MAX] = "-", row[1024];
    if (m->n_addresses)
        gs_addr_text(&m->addresses[0], address, sizeof address);
    cli_member_name(m, name, sizeof name);
    snprintf(row, sizeof row, "%-16s %-28s %-20s %-8s %s", cli_without_port(address), name,
             m->n_tags ? m->tags[0] : m->user && *m->user ? m->user : "-", m->os && *m->os ? m->os : "-", path);
    cli_put_plain(stdout, row, strlen(row));
    putchar('\n');
}

static void put_line(const char *before, const char *text)
{
    fputs(before, stdout);
    cli_put_plain(stdout, text, strlen(text));
    putchar('\n');
}

static void put_table(const gs_tailnet_status_t *s)
{
    char path[GS_ADDR_TEXT_MAX + 16], home[64];
    snprintf(home, sizeof home, "this node, relay %s", s->self.relay && *s->self.relay ? s->self.relay : "none");
    put_row(&s->self, home);
    for (size_t i = 0; i < s->n_peers; i++) {
        const gs_tailnet_member *m = &s->peers[i];
        cli_path_text(m->path, &m->endpoint, m->relay, path, sizeof path);
        put_row(m, m->expired ? "key expired" : m->online ? path : "offline");
    }
    for (size_t i = 0; i < s->n_health; i++)
        put_line("health: ", s->health[i]);
}

static const char usage[] =
    "[--timeout MS] [--json] [--NODE-OPTION …]\n"
    "Joins a tailnet and prints this node and its peers: address, name, user or tag, system, path.\n"
    "  --timeout MS   for joining\n"
    "`gensock help tailnet` lists the options of the node.\n";

int cli_status(int argc, char **argv)
{
    struct cli_args a = {.command = "status", .usage = usage};
    int code = cli_parse(&a, argc, argv, NULL);
    if (code >= 0 || (code = cli_join_alone(&a, GS_NO_MAILBOX)) != CLI_OK)
        return cli_args_fini(&a, code);
    const gs_tailnet_status_t *s;
    int e = gs_tailnet_status(cli_node(), &s);
    if (e < 0)
        return cli_args_fini(&a, cli_fail(&a, "status", e));
    if (a.json)
        put_json(s);
    else
        put_table(s);
    gs_tailnet_status_free(s);
    return cli_args_fini(&a, cli_finish_stdout(&a, CLI_OK));
}
