/* help.c: `gensock help [COMMAND | options | tls | tailnet | exit-codes]`. */
#include <string.h>

#include "cli.h"

static void print_commands(FILE *to)
{
    fprintf(to, "gensock COMMAND …: streams as Erlang's gen_tcp has them, over tcp, unix, TLS and tailnets\n\n");
    for (const struct cli_command *c = cli_commands; c->name; c++)
        fprintf(to, "  %-8s %s\n", c->name, c->what);
    fprintf(to, "\ngensock help COMMAND      how to use one\n"
                "gensock help options      the gen_tcp options that the commands take\n"
                "gensock help tls          the options of TLS\n"
                "gensock help tailnet      the options of a tailnet's node\n"
                "gensock help exit-codes   what they end with\n"
                "An ADDRESS is scheme://rest: tcp://127.0.0.1:80 tcp://[::1]:80 tcp://:0 unix:///tmp/s unix://@name\n"
                "tls://example.org:443 tls+unix:///tmp/s tailnet://peer:80 tailnet://:80 tls+tailnet://peer:443\n");
}

static void print_options(void)
{
    printf("Every option of gen_tcp has its Erlang name: --NAME VALUE. Their meaning: docs/options.md, inet(3erl).\n\n");
    for (int i = GS_OPT_END + 1; i < GS_OPT_COUNT; i++)
        if (i != GS_OPT_USER && gs_opt_name_text(i))
            printf("  --%s\n", gs_opt_name_text(i));
    printf("  --inet --inet6 --local --binary --list (without value)\n\n"
           "for example: --packet 4 --active once --nodelay true --linger true,5 --ip 127.0.0.1 --raw 6,1,01000000\n");
}

static void print_tls(void)
{
    printf("With an address tls://… or tls+unix://… the commands take:\n\n");
    cli_tls_help(stdout);
    printf("  --handshake_timeout MS\n      how long a handshake may take; 10000\n\n"
           "A client verifies the server's certificate and name. Their meaning: docs/options.md.\n\n"
           "for example: gensock echo tls://:4000 --cert server.pem --key server.key\n"
           "             gensock cat tls://localhost:4000 --ca ca.pem -v\n");
}

static void print_tailnet(void)
{
    printf(
        "With an address tailnet://peer:80 (a name of the tailnet, or an address), tailnet://:80 (listening) or tls+tailnet://…\n"
        "the commands join a tailnet first, as a node of their own; so do up, status, ping, whois and exec. They take:\n\n");
    cli_settings_help(stdout);
    printf(
        "\nThe same from the environment, in capitals with GENSOCK_ in front: GENSOCK_CONTROL,\n"
        "GENSOCK_STATE, GENSOCK_EPHEMERAL=1.\n"
        "The command line counts before the environment, the environment before the file.\n\n"
        "for example: TS_AUTHKEY=… gensock echo tailnet://:7 --hostname echo --packet 4\n"
        "             echo hello | gensock cat tailnet://echo:7 --ephemeral --packet 4 -v\n");
}

static void print_exit_codes(void)
{
#define PRINT(code, value, name, when) printf("%3d  %-10s  %s\n", value, name, when);
    CLI_EXITS(PRINT)
#undef PRINT
}

int cli_help(int argc, char **argv)
{
    struct cli_args a = {.command = "help"};
    const char *about = argc > 1 ? argv[1] : "help";
    const struct cli_command *c = cli_find(about);
    if (argc > 2)
        return cli_say(&a, CLI_USAGE, "one topic at a time");
    if (!strcmp(about, "help") || !strcmp(about, "--help")) {
        print_commands(stdout);
    } else if (!strcmp(about, "options")) {
        print_options();
    } else if (!strcmp(about, "tls")) {
        print_tls();
    } else if (!strcmp(about, "tailnet")) {
        print_tailnet();
    } else if (!strcmp(about, "exit-codes")) {
        print_exit_codes();
    } else if (c) {
        char name[16] = "", ask[] = "--help";
        char *call[] = {name, ask, NULL};
        snprintf(name, sizeof name, "%s", c->name);
        return c->run(2, call);
    } else {
        return cli_say(&a, CLI_USAGE, "%s: no such topic; `gensock help` lists them", about);
    }
    return cli_finish_stdout(&a, CLI_OK);
}
