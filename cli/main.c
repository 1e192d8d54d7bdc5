/* main.c: the `gensock` command: finds the subcommand in a table and runs it. */
#include <signal.h>
#include <string.h>

#include "cli.h"

const struct cli_command cli_commands[] = {
    {"echo", cli_echo, "listen, and send back what arrives"},
    {"cat", cli_cat, "standard input to the peer, the peer to standard output"},
    {"send", cli_send, "send a file, checked by SHA-256"},
    {"recv", cli_recv, "receive a file, checked by SHA-256"},
    {"bench", cli_bench, "load an echo server; print its rate and latency"},
    {"decode", cli_decode, "answer requests as erlang:decode_packet/3 does"},
    {"up", cli_up, "join a tailnet, stay, and tell what happens"},
    {"status", cli_status, "print this node of a tailnet and its peers"},
    {"ping", cli_ping, "ask a peer of a tailnet for a sign of life; print path and time"},
    {"whois", cli_whois, "print who has an address of a tailnet"},
    {"exec", cli_exec, "run a program inside a tailnet"},
    {"lab", cli_lab, "run a private tailnet on this machine, to try things in"},
    {"help", cli_help, "tell about a command, the options, TLS, tailnets, or the exit codes"},
    {"version", cli_version, "print the version"},
    {NULL, NULL, NULL},
};

const struct cli_command *cli_find(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

static const char *without_dashes(const char *name)
{
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        return "help";
    return !strcmp(name, "--version") ? "version" : name;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "gensock: which command? `gensock help` lists them\n");
        return CLI_USAGE;
    }
    const struct cli_command *c = cli_find(without_dashes(argv[1]));
    if (!c) {
        fprintf(stderr, "gensock: %s is no command; `gensock help` lists them\n", argv[1]);
        return CLI_USAGE;
    }
    /* A reader of our stdout that is gone is an error of a write, with its own exit code. */
    signal(SIGPIPE, SIG_IGN);
    return c->run(argc - 1, argv + 1);
}
