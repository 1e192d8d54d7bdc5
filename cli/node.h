/* node.h: the command's node of a tailnet, for the subcommands that are about it: up, status, ping, whois, exec (tailnet.c). */
#ifndef GENSOCK_CLI_NODE_H
#define GENSOCK_CLI_NODE_H

#include <gensock/stream.h>
#include <gensock/tailnet.h>

#include "cli.h"

/* For a command that opens no stream: starts the node, which cli_args_fini stops, and waits until it is up, at most --timeout
 * (the login URL goes to stderr); with a mailbox for its events it does not wait. Options of streams are refused, --ca is the
 * control server's. 0, or the exit code, all being said. */
int cli_join_alone(struct cli_args *a, gs_mailbox events);
/* One line on stderr: why the node cannot join, and what to do. Answers the exit code. */
int cli_join_failed(const struct cli_args *a, int error, const char *detail);
/* The node that was started. */
gs_tailnet cli_node(void);

/* "alpha.net.ts.net", without the dot at the end; "direct 192.0.2.1:41641", "relay lab", "no path yet". Both answer out. */
const char *cli_member_name(const gs_tailnet_member *m, char *out, size_t cap);
const char *cli_path_text(gs_path_kind kind, const gs_addr *endpoint, const char *relay, char *out, size_t cap);
/* Cuts ":0" and brackets off: "[fd7a::1]" is "fd7a::1". In place; answers where it begins. */
char *cli_without_port(char *text);
/* ["100.64.0.7","fd7a:115c:a1e0::7"] */
void cli_json_addresses(FILE *to, const gs_addr *list, size_t n);

#endif
