/* version.c: `gensock version [--json]`. */
#include "cli.h"

int cli_version(int argc, char **argv)
{
    struct cli_args a = {.command = "version", .usage = "[--json]\nPrints the version of the library.\n"};
    int code = cli_parse(&a, argc, argv, NULL);
    if (code < 0) {
        printf(a.json ? "{\"version\":\"%s\"}\n" : "gensock %s\n", gs_version());
        code = cli_finish_stdout(&a, CLI_OK);
    }
    return cli_args_fini(&a, code);
}
