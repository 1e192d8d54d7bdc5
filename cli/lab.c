/* lab.c: `gensock lab`: a private tailnet on this machine, its control server, relay and STUN, to try things in. */
#include <errno.h>
#include <gensock/lab.h>
#include <gensock/mailbox.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { TAG_STOP = 1, LOOK_MS = 100, KEY_MAX = 1024, LINE_MAX_ = 16 * 1024, TOLD_MAX = 10000 };

struct lab {
    struct cli_args a;
    const char *dir, *address, *key_file, *domain, *filter;
    long port;
    bool approve, commands;
    gs_lab lab;
    gs_mailbox mb;
    char temporary[64]; /* our own folder, "" when it is the user's */
    char key[KEY_MAX + 1];
    char line[LINE_MAX_];
    size_t n; /* of line */
    gs_lab_node_info told[TOLD_MAX];
    int n_told;
};

/* ---- starting ---- */

static int read_key(struct lab *l)
{
    FILE *f = fopen(l->key_file, "re");
    size_t n = f ? fread(l->key, 1, sizeof l->key, f) : 0;
    bool failed = !f || ferror(f);
    int e = errno;
    if (f)
        fclose(f);
    if (failed)
        return cli_say(&l->a, e == EACCES || e == EPERM ? CLI_PERMISSION : CLI_FILE, "--auth-key-file: %s: %s", l->key_file,
                       strerror(e));
    l->key[n > KEY_MAX ? 0 : n] = '\0';
    l->key[strcspn(l->key, "\r\n")] = '\0';
    return *l->key ? CLI_OK : cli_say(&l->a, CLI_USAGE, "--auth-key-file: %s holds no key", l->key_file);
}

static int start(struct lab *l)
{
    int code = l->key_file ? read_key(l) : CLI_OK;
    if (code != CLI_OK)
        return code;
    if (!l->dir) {
        snprintf(l->temporary, sizeof l->temporary, "/tmp/gensock-lab-XXXXXX");
        if (!mkdtemp(l->temporary)) {
            *l->temporary = '\0';
            return cli_say(&l->a, CLI_FILE, "no folder in /tmp: %s: --dir DIR names one", strerror(errno));
        }
    }
    const gs_lab_config config = {.directory = l->dir ? l->dir : l->temporary,
                                  .address = l->address,
                                  .control_port = (uint16_t)l->port,
                                  .auth_key = *l->key ? l->key : NULL,
                                  .domain = l->domain,
                                  .filter = l->filter,
                                  .approve_nodes = l->approve};
    int e = gs_lab_start(&l->lab, &config);
    explicit_bzero(l->key, sizeof l->key);
    const char *detail = gs_error_detail(e);
    if (e == 0)
        return CLI_OK;
    code = e == GS_EINVALID                                                  ? CLI_USAGE
           : e == -EBUSY || e == GS_EFORMAT || e == -ENOENT || e == -ENOTDIR ? CLI_FILE
                                                                             : cli_exit_of(e);
    return cli_say(&l->a, code, "%s (%s)", *detail ? detail : gs_error_text(e), gs_error_name(e));
}

static int print_where(struct lab *l)
{
    char url[128], ca[4096];
    int e = gs_lab_control_url(l->lab, url, sizeof url);
    if (e >= 0)
        e = gs_lab_ca_file(l->lab, ca, sizeof ca);
    if (e < 0)
        return cli_fail(&l->a, "asking the lab", e);
    if (l->a.json) {
        fputs("{\"control\":", stdout);
        cli_json_text(stdout, url, strlen(url));
        fputs(",\"ca\":", stdout);
        cli_json_text(stdout, ca, strlen(ca));
        printf(",\"relay_port\":%d,\"stun_port\":%d}\n", gs_lab_port(l->lab, GS_LAB_RELAY), gs_lab_port(l->lab, GS_LAB_STUN));
    } else {
        printf("GENSOCK_CONTROL=%s\nGENSOCK_CONTROL_CA=%s\n%s", url, ca, l->key_file ? "" : "TS_AUTHKEY=any\n");
    }
    return cli_finish_stdout(&l->a, CLI_OK);
}

/* ---- who comes and goes ---- */

static void put_node(const struct lab *l, const gs_lab_node_info *n, const char *what)
{
    if (!l->a.json) {
        printf("%s %s %s %s %s%s%s%s\n", what, n->name, n->ipv4, n->ipv6, n->login, n->ephemeral ? " ephemeral" : "",
               n->authorized ? "" : " not-authorized", n->expired ? " expired" : "");
        return;
    }
    printf("{\"event\":\"%s\",\"id\":%lld,\"name\":", what, (long long)n->id);
    cli_json_text(stdout, n->name, strlen(n->name));
    fputs(",\"login\":", stdout);
    cli_json_text(stdout, n->login, strlen(n->login));
    printf(",\"addresses\":[\"%s\",\"%s\"],\"ephemeral\":%s,\"authorized\":%s,\"expired\":%s}\n", n->ipv4, n->ipv6,
           n->ephemeral ? "true" : "false", n->authorized ? "true" : "false", n->expired ? "true" : "false");
}

static void put_gone(const struct lab *l, const gs_lab_node_info *was)
{
    if (l->a.json) {
        printf("{\"event\":\"gone\",\"id\":%lld,\"name\":", (long long)was->id);
        cli_json_text(stdout, was->name, strlen(was->name));
        puts("}");
    } else {
        printf("gone %s\n", was->name);
    }
}

/* The lab's list is in the order of joining, by rising ids: who is missing is seen when the next one is reached. */
static void look(struct lab *l)
{
    static gs_lab_node_info now[TOLD_MAX];
    int n = 0, was = 0;
    while (n < TOLD_MAX && gs_lab_node(l->lab, n, &now[n]) == 0)
        n++;
    if (n < TOLD_MAX && gs_lab_nodes(l->lab) != n)
        return; /* it changed meanwhile */
    for (int i = 0; i < n; i++) {
        for (; was < l->n_told && l->told[was].id < now[i].id; was++)
            put_gone(l, &l->told[was]);
        bool known = was < l->n_told && l->told[was].id == now[i].id;
        if (now[i].online != (known && l->told[was].online))
            put_node(l, &now[i], now[i].online ? "online" : "offline");
        was += known;
    }
    for (; was < l->n_told; was++)
        put_gone(l, &l->told[was]);
    memcpy(l->told, now, (size_t)n * sizeof *now);
    l->n_told = n;
}

/* ---- commands ---- */

/* The node of a name or an id; 0: none. */
static int64_t find_node(const struct lab *l, const char *which)
{
    gs_lab_node_info n;
    char *end;
    long long id = strtoll(which, &end, 10);
    for (int i = 0; gs_lab_node(l->lab, i, &n) == 0; i++)
        if (!strcmp(n.name, which) || (*which && !*end && n.id == id))
            return n.id;
    return 0;
}

static int on_node(const struct lab *l, const char *which, int (*act)(gs_lab lab, int64_t id))
{
    int64_t id = find_node(l, which);
    return id ? act(l->lab, id) : gs_fail(GS_EINVALID, "no node \"%.63s\"", which);
}

static int put_nodes(const struct lab *l)
{
    gs_lab_node_info n;
    for (int i = 0; gs_lab_node(l->lab, i, &n) == 0; i++)
        put_node(l, &n, n.online ? "online" : "offline");
    return 0;
}

static int run_command(const struct lab *l, const char *verb, const char *rest)
{
    if (!strcmp(verb, "approve")) {
        char url[512] = "", login[128] = "";
        sscanf(rest, "%511s %127s", url, login);
        return gs_lab_approve(l->lab, url, *login ? login : NULL);
    }
    if (!strcmp(verb, "authorize"))
        return on_node(l, rest, gs_lab_authorize);
    if (!strcmp(verb, "remove"))
        return on_node(l, rest, gs_lab_remove);
    if (!strcmp(verb, "expire"))
        return on_node(l, rest, gs_lab_expire);
    if (!strcmp(verb, "filter"))
        return gs_lab_set_filter(l->lab, rest);
    if (!strcmp(verb, "restart"))
        return gs_lab_restart(l->lab, !strcmp(rest, "control") ? GS_LAB_CONTROL : !strcmp(rest, "relay") ? GS_LAB_RELAY : 0);
    if (!strcmp(verb, "nodes"))
        return put_nodes(l);
    return gs_fail(GS_EINVALID,
                   "approve URL [LOGIN], authorize NODE, remove NODE, expire NODE, filter JSON, restart control|relay, nodes");
}

/* A line answers `ok`, or its error on stderr. */
static void take_line(const struct lab *l, char *line)
{
    line += strspn(line, " \t");
    line[strcspn(line, "\r")] = '\0';
    char *rest = line + strcspn(line, " \t");
    if (*rest)
        *rest++ = '\0';
    if (!*line)
        return;
    int e = run_command(l, line, rest);
    const char *detail = gs_error_detail(e);
    if (e < 0)
        cli_say(&l->a, CLI_OK, "%s: %s (%s)", line, *detail ? detail : gs_error_text(e), gs_error_name(e));
    else
        puts(l->a.json ? "{\"event\":\"ok\"}" : "ok");
}

static void read_commands(struct lab *l)
{
    ssize_t n = read(STDIN_FILENO, l->line + l->n, sizeof l->line - 1 - l->n);
    if (n <= 0) {
        l->commands = n < 0 && (errno == EINTR || errno == EAGAIN);
        return;
    }
    l->n += (size_t)n;
    for (char *end; (end = memchr(l->line, '\n', l->n));) {
        size_t used = (size_t)(end - l->line) + 1;
        *end = '\0';
        take_line(l, l->line);
        memmove(l->line, l->line + used, l->n - used);
        l->n -= used;
    }
    if (l->n == sizeof l->line - 1) {
        cli_say(&l->a, CLI_OK, "a line is longer than %d bytes", LINE_MAX_ - 2);
        l->n = 0;
    }
}

/* ---- the loop ---- */

static int serve(struct lab *l)
{
    gs_msg m;
    int fd = gs_mailbox_fd(l->mb), code = CLI_OK;
    if (fd < 0)
        return cli_fail(&l->a, "waiting", fd);
    while (code == CLI_OK) {
        struct pollfd wait[] = {{.fd = fd, .events = POLLIN}, {.fd = l->commands ? STDIN_FILENO : -1, .events = POLLIN}};
        if (poll(wait, 2, LOOK_MS) < 0 && errno != EINTR)
            return cli_say(&l->a, CLI_FAILURE, "poll: %s", strerror(errno));
        if (wait[0].revents && gs_receive(l->mb, &m, 0) == 0)
            return CLI_OK; /* TAG_STOP */
        look(l);
        if (wait[1].revents)
            read_commands(l);
        code = cli_finish_stdout(&l->a, CLI_OK);
    }
    return code;
}

static void stop(void *arg)
{
    gs_mailbox *mb = arg;
    if (gs_post(*mb, TAG_STOP, NULL, 0) < 0)
        exit(CLI_FAILURE);
}

/* What the lab puts into its folder. */
static void remove_temporary(const struct lab *l)
{
    static const char *const left[] = {"ca.pem", "relay.pem", "relay.key", "state/lock", "state/state", "state", ""};
    char path[96];
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", l->temporary, left[i]);
        remove(path);
    }
}

static int run(struct lab *l)
{
    int code = start(l);
    if (code == CLI_OK)
        code = print_where(l);
    if (code == CLI_OK)
        code = serve(l);
    if (l->lab.id)
        gs_lab_stop(l->lab);
    if (*l->temporary)
        remove_temporary(l);
    return code;
}

static const char usage[] =
    "[--dir DIR] [--port N] [--address IP] [--auth-key-file FILE] [--filter JSON] [--approve] [--commands] [--json]\n"
    "Runs a private tailnet on this machine until SIGINT or SIGTERM: a control server, a relay, STUN. Prints what nodes need,\n"
    "as lines for the environment, and then the nodes that come and go.\n"
    "  --dir DIR             the lab's keys and ca.pem, kept from one start to the next (nodes are not: they join again);\n"
    "                        else a folder in /tmp that is removed at the end\n"
    "  --port N              of the control server; any\n"
    "  --address IP          where to listen; 127.0.0.1\n"
    "  --auth-key-file FILE  the key that lets nodes in; without it any key does\n"
    "  --domain NAME         of the nodes' names; lab.test\n"
    "  --filter JSON         who may reach whom, an array of rules as Tailscale's; everybody everybody\n"
    "  --approve             a new node sees nobody before it is authorized\n"
    "  --commands            lines of standard input: approve URL [LOGIN], authorize NODE, remove NODE, expire NODE,\n"
    "                        filter JSON, restart control|relay, nodes\n"
    "for example: gensock lab > lab.env & sleep 1\n"
    "             export $(head -n 3 lab.env); gensock status --ephemeral\n";

int cli_lab(int argc, char **argv)
{
    static struct lab l = {.a = {.command = "lab", .usage = usage}};
    const struct cli_flag flags[] = {
        {"dir", CLI_TEXT, &l.dir, 0, 0},
        {"port", CLI_NUMBER, &l.port, 0, UINT16_MAX},
        {"address", CLI_TEXT, &l.address, 0, 0},
        {"auth-key-file", CLI_TEXT, &l.key_file, 0, 0},
        {"domain", CLI_TEXT, &l.domain, 0, 0},
        {"filter", CLI_TEXT, &l.filter, 0, 0},
        {"approve", CLI_FLAG, &l.approve, 0, 0},
        {"commands", CLI_FLAG, &l.commands, 0, 0},
        {NULL, CLI_FLAG, NULL, 0, 0},
    };
    int code = cli_parse(&l.a, argc, argv, flags);
    if (code < 0 && cli_setting_given())
        code = cli_say(&l.a, CLI_USAGE, "--%s: an option of nodes, and this is none", cli_setting_given());
    if (code < 0)
        code = cli_check_no_options(&l.a);
    if (code >= 0)
        return cli_args_fini(&l.a, code);
    int e = gs_mailbox_new(&l.mb);
    cli_signals_hold();
    if (e == 0)
        e = cli_signals_start(stop, &l.mb);
    if (e < 0)
        return cli_args_fini(&l.a, cli_fail(&l.a, "starting", e));
    code = run(&l);
    cli_signals_stop();
    gs_mailbox_free(l.mb);
    return cli_args_fini(&l.a, code);
}
