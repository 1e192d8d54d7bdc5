/* settings.h: the settings of a node of a tailnet: command line, environment, file (settings.c). */
#ifndef GENSOCK_CLI_SETTINGS_H
#define GENSOCK_CLI_SETTINGS_H

#include <gensock/tailnet.h>

#include "cli.h"

/* All settings, checked; the texts live as long as the process, the key until it is wiped. 0, or the exit code, all being said */
int cli_settings_read(const struct cli_args *a, gs_tailnet_config *out);
/* The detail of a failing gs_tailnet_start with what the person has said in the place of the config's fields: "--hostname: …",
 * "GENSOCK_TAGS: …", "file:3: control: …". detail itself when it is of something else, or out. */
const char *cli_setting_fault(const char *detail, char *out, size_t cap);
/* Once the node has the key. */
void cli_settings_wipe(void);

#endif
