/* cli.h: the subcommands of `gensock`, one per file. Each gets its own name as argv[0] and answers the exit code: 0 success,
 * 1 failure, 2 wrong usage. */
#ifndef GENSOCK_CLI_H
#define GENSOCK_CLI_H

int cli_decode(int argc, char **argv);

#endif
