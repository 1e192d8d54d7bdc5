/* options.c: command lines: the flags of a command, and every option of gen_tcp under its Erlang name. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

int cli_check_active(const struct cli_args *a)
{
    int64_t mode = cli_opt(a, GS_OPT_ACTIVE)->v.i;
    if (mode > 0 && mode != GS_ACTIVE_FALSE)
        return -1;
    return cli_say(a, CLI_USAGE, "--active: this would hear nothing; true, once, or N above 0");
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

/* gen_tcp's options that are one atom. */
static bool take_family(struct cli_args *a, const char *name)
{
    static const struct {
        const char *name;
        int family;
    } families[] = {{"inet", AF_INET}, {"inet6", AF_INET6}, {"local", AF_UNIX}};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (!strcmp(name, families[i].name)) {
            a->opts[a->n_opts++] = (gs_opt)GS_INT(FAMILY, families[i].family);
            return true;
        }
    return false;
}

static int take_opt(struct cli_args *a, const char *name, const char *value)
{
    gs_opt *o = &a->opts[a->n_opts];
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
    if (f && f->kind == CLI_FLAG && !equal) {
        *(bool *)f->value = true;
        return -1;
    }
    if (a->n_opts == CLI_OPTS_MAX)
        return cli_say(a, CLI_USAGE, "more than %d options", CLI_OPTS_MAX);
    if (!equal && take_family(a, name))
        return -1;
    if (!equal && *i + 1 == argc)
        return cli_say(a, CLI_USAGE, "--%s: a value is missing, or there is no such option", name);
    const char *value = equal ? equal + 1 : argv[++*i];
    if (!f)
        return take_opt(a, name, value);
    if (f->kind == CLI_FLAG)
        return cli_say(a, CLI_USAGE, "--%s takes no value", name);
    if (!parse_number(value, f->least, f->most, f->value))
        return cli_say(a, CLI_USAGE, "--%s %s: a number from %ld to %ld is wanted", name, value, f->least, f->most);
    return -1;
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
