/* cli.h: the subcommands of `gensock`, one per file, and what they share.
 *
 * A subcommand gets its own name as argv[0] and answers an exit code. Only public calls of the library are used.
 * Shared: options.c (arguments), report.c (errors, JSON), endpoint.c (connect or listen), tls.c, tailnet.c with settings.c (a
 * node of a tailnet; tailnet_none.c where its library is not built), signals.c, progress.c, sha256.c.
 */
#ifndef GENSOCK_CLI_H
#define GENSOCK_CLI_H

#include <gensock/stream.h>
#include <stdbool.h>
#include <stdio.h>

/* code, value, name, when. `gensock help exit-codes` prints this table, gensock(1) repeats it. */
#define CLI_EXITS(X)                                                                                                   \
    X(OK, 0, "ok", "done")                                                                                             \
    X(FAILURE, 1, "failure", "failed for a reason that has no code of its own")                                        \
    X(USAGE, 2, "usage", "an unknown command or option, a missing argument, a value out of its range")                 \
    X(REFUSED, 3, "refused", "nobody listens at the address, or no way leads there")                                   \
    X(TIMEOUT, 4, "timeout", "the time given by --timeout or send_timeout, or the kernel's own, is over")              \
    X(ADDRESS, 5, "address", "not an address, an unknown scheme or name, not of this machine, or already in use")      \
    X(PERMISSION, 6, "permission", "not allowed: the address, the option or the file; or the tailnet's rules forbid it") \
    X(CHECKSUM, 7, "checksum", "what arrived is not what was sent; nothing is left of it")                             \
    X(CLOSED, 8, "closed", "the peer left before the end")                                                             \
    X(FILE, 9, "file", "a file, standard input or standard output cannot be read or written")                          \
    X(PROTOCOL, 10, "protocol", "the peer speaks something else")                                                      \
    X(TLS, 11, "tls", "the TLS handshake failed, or TLS ended with an alert: the line names it")                       \
    X(TAILNET, 12, "tailnet", "the tailnet does not let this node in: the line tells why, and what to do")

enum cli_exit {
#define CLI_EXIT_ENUM(code, value, name, when) CLI_##code = (value),
    CLI_EXITS(CLI_EXIT_ENUM)
#undef CLI_EXIT_ENUM
};

int cli_bench(int argc, char **argv);
int cli_cat(int argc, char **argv);
int cli_decode(int argc, char **argv);
int cli_echo(int argc, char **argv);
int cli_exec(int argc, char **argv);
int cli_help(int argc, char **argv);
int cli_lab(int argc, char **argv);
int cli_ping(int argc, char **argv);
int cli_recv(int argc, char **argv);
int cli_send(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_up(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_whois(int argc, char **argv);

struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
};
/* Ends with a row without name. */
extern const struct cli_command cli_commands[];
/* The row of a name, or NULL. */
const struct cli_command *cli_find(const char *name);

/* ---- options.c: arguments ------------------------------------------------------------------------------------------- */

enum { CLI_ARGS_MAX = 2, CLI_OPTS_MAX = 64 };

enum cli_kind { CLI_FLAG, CLI_NUMBER, CLI_TEXT };

/* An option of the command itself: --name, --name N with least <= N <= most, or --name TEXT. */
struct cli_flag {
    const char *name;
    enum cli_kind kind;
    void *value; /* bool *, long *, const char ** */
    long least, most;
};

/* What a command line says. Set command, usage and n_args, add the command's own defaults, then parse. */
struct cli_args {
    const char *command;
    const char *usage;
    int n_args;                     /* how many arguments there must be */
    const char *arg[CLI_ARGS_MAX];
    bool json;
    int timeout_ms;                 /* --timeout; GS_INFINITY when not given: cli_parse sets it */
    gs_opt opts[CLI_OPTS_MAX + 1];  /* the defaults, then the user's, in order; ends with GS_OPT_END */
    size_t n_opts;
    size_t n_defaults;              /* those that cli_default added */
};

/* An option in front of the user's. */
void cli_default(struct cli_args *a, gs_opt o);
/* Reads --json, --timeout MS, --help, the command's flags (ending with a row without name; -v is --verbose, -c --count), those of
 * TLS and of a tailnet's node, and every other --NAME VALUE as the gen_tcp option of that name. -1: go on; else the exit code,
 * all being said. */
int cli_parse(struct cli_args *a, int argc, char **argv, const struct cli_flag *flags);
/* After parsing: an option for who has given none of its name. */
void cli_fallback(struct cli_args *a, gs_opt o);
/* The last option of this name, or NULL. */
const gs_opt *cli_opt(const struct cli_args *a, int name);
/* After parsing: sends are nowait, unless the user says how long they may wait, or that they are direct (which has no queue). */
void cli_nowait_sends(struct cli_args *a);
/* For commands that live on messages: -1 when the active option brings any, else the exit code. */
int cli_check_active(const struct cli_args *a);
/* For commands that open no stream: -1 when no option of streams is given, else the exit code. */
int cli_check_no_options(const struct cli_args *a);
/* Gives back what cli_parse took. Answers `code`. */
int cli_args_fini(struct cli_args *a, int code);

/* ---- report.c: errors and JSON ---------------------------------------------------------------------------------------- */

/* One line on stderr: `gensock COMMAND: what: text (atom): detail`. Answers the exit code that stands for the error. */
int cli_fail(const struct cli_args *a, const char *what, int error);
/* The same with words of our own and an exit code. Says nothing when a signal has come: what fails then fails of it. */
__attribute__((format(printf, 3, 4))) int cli_say(const struct cli_args *a, int exit_code, const char *format, ...);
/* The exit code of an error of the library. */
int cli_exit_of(int error);
/* What a peer or server chose, for a terminal: control characters become '?'. */
void cli_put_plain(FILE *to, const char *p, size_t n);
/* A JSON string with its quotes: bytes that are no UTF-8 become U+FFFD. */
void cli_json_text(FILE *to, const void *p, size_t n);
/* Whether bytes are UTF-8 and so survive cli_json_text. */
bool cli_is_utf8(const void *p, size_t n);
/* Has everything on stdout arrived there? If not says so, and answers CLI_FILE instead of CLI_OK; other codes stay. */
int cli_finish_stdout(const struct cli_args *a, int code);

/* ---- endpoint.c: where to listen and connect ----------------------------------------------------------------------- */

/* Before an address is opened (cli_open does it), and before signals are held: TLS is there, the node has joined its tailnet,
 * which may take as long as a person needs to log in. 0, or the exit code, all being said. */
int cli_prepare(struct cli_args *a, const char *address);
/* After cli_prepare: listens with the options, and prints the bound address as a line of stdout: {"address":"…"} with --json. 0,
 * or the exit code, all being said. cli_unlisten closes it and removes the path that a unix address has made. */
int cli_listen(const struct cli_args *a, const char *address, gs_mailbox owner, gs_stream *listener);
void cli_unlisten(gs_stream listener);
/* One connection: connects, or listens for one (SIGINT and SIGTERM then clean up and end the process). 0, or the exit code. */
int cli_open(struct cli_args *a, const char *address, bool listen, gs_mailbox owner, gs_stream *out);
/* Says why, and what may be behind it. Answers the exit code. */
int cli_connect_failed(const struct cli_args *a, const char *address, int error);

/* ---- tls.c ----------------------------------------------------------------------------------------------------------- */

/* --NAME VALUE as an option of TLS: -1: taken; -2: there is none of this name; else the exit code. value outlives a. */
int cli_tls_take(struct cli_args *a, const char *name, const char *value);
bool cli_is_tls(const char *address);
/* After parsing, before the address is opened: 0, or the exit code: TLS is not to be had, or its options meet another address. */
int cli_tls_prepare(const struct cli_args *a, const char *address);
/* One line on stderr: version, cipher, ALPN, who was verified, whether the session was resumed. */
void cli_tls_tell(const struct cli_args *a, gs_stream s);
/* What to do about an error, or NULL. */
const char *cli_tls_cure(int error, const char *detail);
/* Whether it is a file that cannot be read, not an address. */
bool cli_tls_is_file_error(int error, const char *detail);
void cli_tls_help(FILE *to);

/* ---- tailnet.c, settings.c: the node of a tailnet; a process has one ----------------------------------------------------- */

/* Of an option --NAME: -1: none of a node; 0: one without value; 1: one with a value. */
int cli_setting_kind(const char *name);
/* Takes one; value outlives a. -1, or the exit code. */
int cli_setting_take(const struct cli_args *a, const char *name, const char *value);
/* The first one on the command line, NULL: none. */
const char *cli_setting_given(void);
void cli_settings_help(FILE *to);

bool cli_is_tailnet(const char *address);
/* Part of cli_prepare; before that of TLS. */
int cli_tailnet_prepare(struct cli_args *a, const char *address);
/* Leaves the tailnet, if it was joined. */
void cli_tailnet_leave(void);
/* The host that others may use for a listener on all own addresses, "" when it is not known. */
void cli_tailnet_host(char *out, size_t cap);
/* Says on stderr who is at the other end, and on what path, where a tailnet knows it. */
bool cli_tailnet_tell(const struct cli_args *a, const char *what, gs_stream s);
/* Says on stderr what hinders the node: a line for each thing, such as a relay that is not trusted. */
void cli_tailnet_troubles(const struct cli_args *a);
/* What to do about an error, or NULL. */
const char *cli_tailnet_cure(int error);

/* ---- signals.c: SIGINT and SIGTERM ------------------------------------------------------------------------------------- */

/* Before a node starts, as its threads inherit what is blocked: from now on SIGINT, SIGTERM and SIGHUP leave the tailnet before
 * they end the process. 0; -errno. leave_alone: the caller takes signals itself, and there is no guard. */
int cli_signals_guard(void);
void cli_signals_leave_alone(void);
/* What the guard does first of all, in its thread: closing streams, so that nothing more is sent. NULL: nothing, and what was
 * asked for is not running any more. */
void cli_signals_at_death(void (*at_death)(void *arg), void *arg);
/* From now on SIGINT and SIGTERM wait, until release, or until start. */
void cli_signals_hold(void);
void cli_signals_release(void);
/* After hold: the first of them calls on(arg), once, in a thread of its own. 0; -errno: released. */
int cli_signals_start(void (*on)(void *arg), void *arg);
/* Signals end the process again. Answers the signal that came, or 0. */
int cli_signals_stop(void);
/* Whether one came since start. Does not answer where another thread is about to end the process. */
bool cli_signals_came(void);
/* Leaves the tailnet and ends the process as that signal would have; another signal meanwhile does so at once. */
_Noreturn void cli_die_of(int signal_number);

/* ---- progress.c ---------------------------------------------------------------------------------------------------------- */

/* A line on the terminal, if stderr is one: how much, how fast, how long still. */
struct cli_progress {
    bool on;
    uint64_t total; /* UINT64_MAX: not known */
    uint64_t began_ns, drawn_ns, drawn_at;
    double rate;    /* bytes per second, of late */
};
uint64_t cli_now_ns(void);
void cli_progress_start(struct cli_progress *p, uint64_t total);
void cli_progress_at(struct cli_progress *p, uint64_t done);
/* Takes the line away. Answers the seconds since the start. */
double cli_progress_end(struct cli_progress *p);

#endif
