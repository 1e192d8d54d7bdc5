/* tailnet_none.c: in place of tailnet.c and the commands of tailnets, where the library gensock-tailnet is not built. */
#include <string.h>

#include "cli.h"

static const char why[] =
    "this gensock is built without tailnets: libsodium, libnghttp2 or libzstd was missing (./run install brings them)";

static int without(const char *command)
{
    const struct cli_args a = {.command = command};
    return cli_say(&a, CLI_FAILURE, "%s", why);
}

int cli_exec(int argc, char **argv) { return (void)argc, without(argv[0]); }
int cli_lab(int argc, char **argv) { return (void)argc, without(argv[0]); }
int cli_ping(int argc, char **argv) { return (void)argc, without(argv[0]); }
int cli_status(int argc, char **argv) { return (void)argc, without(argv[0]); }
int cli_up(int argc, char **argv) { return (void)argc, without(argv[0]); }
int cli_whois(int argc, char **argv) { return (void)argc, without(argv[0]); }

int cli_setting_kind(const char *name) { return (void)name, -1; }
int cli_setting_take(const struct cli_args *a, const char *name, const char *value)
{
    return (void)a, (void)name, (void)value, -1;
}
const char *cli_setting_given(void) { return NULL; }
void cli_settings_help(FILE *to) { fprintf(to, "%s\n", why); }

bool cli_is_tailnet(const char *address)
{
    const char *end = strstr(address, "tailnet://");
    return end && (end == address || end[-1] == '+');
}

int cli_tailnet_prepare(struct cli_args *a, const char *address)
{
    return cli_is_tailnet(address) ? cli_say(a, CLI_ADDRESS, "%s: %s", address, why) : CLI_OK;
}

void cli_tailnet_leave(void) {}
void cli_tailnet_host(char *out, size_t cap) { snprintf(out, cap, "%s", ""); }
bool cli_tailnet_tell(const struct cli_args *a, const char *what, gs_stream s) { return (void)a, (void)what, (void)s, false; }
void cli_tailnet_troubles(const struct cli_args *a) { (void)a; }
const char *cli_tailnet_cure(int error) { return (void)error, NULL; }
