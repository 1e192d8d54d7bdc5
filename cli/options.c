/* options.c: command lines: the flags of a command, and every option of gen_tcp under its Erlang name. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

void cli_default(struct cli_args *a, gs_opt o)
{
    a->opts[a->n_opts++] = o;
    a->n_defaults = a->n_opts;
}

void cli_fallback(struct cli_args *a, gs_opt o)
{
    if (cli_opt(a, o.name) || a->n_opts == CLI_OPTS_MAX)
        return;
    a->opts[a->n_opts++] = o;
    a->opts[a->n_opts].name = GS_OPT_END;
}

void cli_nowait_sends(struct cli_args *a)
{
    const gs_opt *mode = cli_opt(a, GS_OPT_SEND_MODE);
    if (!mode || mode->v.i == GS_SEND_QUEUED)
        cli_fallback(a, (gs_opt)GS_INT(SEND_TIMEOUT, GS_NOWAIT));
}

int cli_check_active(const struct cli_args *a)
{
    int64_t mode = cli_opt(a, GS_OPT_ACTIVE)->v.i;
    if (mode > 0 && mode != GS_ACTIVE_FALSE)
        return -1;
    return cli_say(a, CLI_USAGE, "--active: this would hear nothing; true, once, or N above 0");
}

int cli_check_no_options(const struct cli_args *a)
{
    if (a->n_opts == 0)
        return -1;
    const char *name = gs_opt_name_text(a->opts[0].name);
    return cli_say(a, CLI_USAGE, "--%s: an option of streams, and this command opens none", name ? name : "…");
}

const gs_opt *cli_opt(const struct cli_args *a, int name)
{
    for (size_t i = a->n_opts; i-- > 0;)
        if (a->opts[i].name == name)
            return &a->opts[i];
    return NULL;
}

int cli_args_fini(struct cli_args *a, int code)
{
    (void)cli_signals_came();
    cli_tailnet_leave();
    while (a->n_opts > a->n_defaults)
        gs_opt_clear(&a->opts[--a->n_opts]);
    a->opts[a->n_opts].name = GS_OPT_END;
    return code;
}

static bool parse_number(const char *text, long least, long most, long *out)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < least || v > most)
        return false;
    *out = v;
    return true;
}

static int take_opt(struct cli_args *a, const char *name, const char *value)
{
    gs_opt *o = &a->opts[a->n_opts];
    if (!strcmp(name, gs_opt_name_text(GS_OPT_USER)))
        return cli_say(a, CLI_USAGE, "--%s: a pointer of the program's own; this one uses it itself", name);
    int e = gs_opt_parse(name, value, o);
    const char *detail = gs_error_detail(e);
    if (e == GS_EBADARG)
        return cli_say(a, CLI_USAGE, "--%s: %s; `gensock help %s` and `gensock help options` list all", name,
                       *detail ? detail : "no such option", a->command);
    if (e < 0)
        return cli_say(a, CLI_USAGE, "--%s %s: %s", name, value, *detail ? detail : gs_error_text(e));
    a->n_opts++;
    return -1;
}

/* gen_tcp's options that are one atom. -2: this is none. */
static int take_atom(struct cli_args *a, const char *name)
{
    static const char *const atoms[][2] = {{"inet", "family"}, {"inet6", "family"}, {"local", "family"},
                                           {"list", "mode"},   {"binary", "mode"}};
    for (size_t i = 0; i < sizeof atoms / sizeof atoms[0]; i++)
        if (!strcmp(name, atoms[i][0]))
            return take_opt(a, atoms[i][1], name);
    return -2;
}

static const struct cli_flag *find_flag(const struct cli_flag *flags, const char *name)
{
    for (; flags && flags->name; flags++)
        if (!strcmp(flags->name, name))
            return flags;
    return NULL;
}

/* One --name[=value] or --name value; *i is where it stands and then where it ends. */
static int take_option(struct cli_args *a, int argc, char **argv, int *i, const struct cli_flag *flags)
{
    char name[64];
    const char *word = argv[*i] + 2, *equal = strchr(word, '=');
    size_t n = equal ? (size_t)(equal - word) : strlen(word);
    if (n == 0 || n >= sizeof name)
        return cli_say(a, CLI_USAGE, "%s: no such option", argv[*i]);
    memcpy(name, word, n);
    name[n] = '\0';

    const struct cli_flag *f = find_flag(flags, name);
    int setting = f ? -1 : cli_setting_kind(name);
    if (f && f->kind == CLI_FLAG && !equal) {
        *(bool *)f->value = true;
        return -1;
    }
    if (setting == 0 && !equal)
        return cli_setting_take(a, name, NULL);
    if (a->n_opts == CLI_OPTS_MAX)
        return cli_say(a, CLI_USAGE, "more than %d options", CLI_OPTS_MAX);
    int taken = equal || f ? -2 : take_atom(a, name);
    if (taken != -2)
        return taken;
    if (!equal && *i + 1 == argc)
        return cli_say(a, CLI_USAGE, "--%s: a value is missing, or there is no such option", name);
    const char *value = equal ? equal + 1 : argv[++*i];
    if (setting >= 0)
        return cli_setting_take(a, name, value);
    taken = f ? -2 : cli_tls_take(a, name, value);
    if (taken != -2)
        return taken;
    if (!f)
        return take_opt(a, name, value);
    if (f->kind == CLI_FLAG)
        return cli_say(a, CLI_USAGE, "--%s takes no value", name);
    if (f->kind == CLI_TEXT) {
        *(const char **)f->value = value;
        return *value ? -1 : cli_say(a, CLI_USAGE, "--%s: a value is missing", name);
    }
    if (!parse_number(value, f->least, f->most, f->value))
        return cli_say(a, CLI_USAGE, "--%s %s: a number from %ld to %ld is wanted", name, value, f->least, f->most);
    return -1;
}

/* -v and -c are short for flags that some commands have. */
static char *long_form(char *word, const struct cli_flag *flags)
{
    static char verbose[] = "--verbose", count[] = "--count";
    if (!strcmp(word, "-v") && find_flag(flags, "verbose"))
        return verbose;
    return !strcmp(word, "-c") && find_flag(flags, "count") ? count : word;
}

int cli_parse(struct cli_args *a, int argc, char **argv, const struct cli_flag *flags)
{
    bool help = false, ended = false;
    long timeout = GS_INFINITY;
    const struct cli_flag common[] = {
        {"help", CLI_FLAG, &help, 0, 0},
        {"json", CLI_FLAG, &a->json, 0, 0},
        {"timeout", CLI_NUMBER, &timeout, 0, INT_MAX},
        {NULL, CLI_FLAG, NULL, 0, 0},
    };
    int n = 0;
    for (int i = 1; i < argc; i++) {
        if (!ended)
            argv[i] = long_form(argv[i], flags);
        if (!ended && !strcmp(argv[i], "--")) {
            ended = true;
        } else if (!ended && !strncmp(argv[i], "--", 2)) {
            const char *name = argv[i] + 2;
            bool is_common = find_flag(common, name) || !strncmp(name, "timeout=", 8);
            int code = take_option(a, argc, argv, &i, is_common ? common : flags);
            if (code >= 0)
                return code;
        } else {
            if (n < a->n_args)
                a->arg[n] = argv[i];
            n++;
        }
    }
    if (help) {
        printf("usage: gensock %s %s", a->command, a->usage);
        return cli_finish_stdout(a, CLI_OK);
    }
    if (n != a->n_args)
        return cli_say(a, CLI_USAGE, "%d argument%s wanted, %d given; `gensock help %s` shows which", a->n_args,
                       a->n_args == 1 ? " is" : "s are", n, a->command);
    a->timeout_ms = (int)timeout;
    a->opts[a->n_opts].name = GS_OPT_END;
    return -1;
}
