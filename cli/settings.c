/* settings.c: what a node of a tailnet is started with. Each setting is looked for on the command line (--control URL), then in
 * the environment (GENSOCK_CONTROL), then in a file of `control = URL` lines; a fault is told with the place it stands at. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "settings.h"

enum { FILE_MAX = 64 * 1024, KEY_MAX = 4096, TAGS_MAX = 64, PLACE_MAX = 4200 };
enum kind { TEXT, PLACE, BOOL, PORT_NUMBER };
enum {
    CONTROL, CONTROL_CA, HOSTNAME, STATE, EPHEMERAL, KEY_FILE, TAGS, UDP_PORT, RELAY_ONLY, SHIELDS_UP, PLAIN_CONTROL, SETTINGS
};

static const struct setting {
    const char *name, *variable;
    enum kind kind;
    const char *value, *what;
} settings[SETTINGS] = {
    [CONTROL] = {"control", "GENSOCK_CONTROL", TEXT, "URL", "the control server; https://controlplane.tailscale.com"},
    [CONTROL_CA] = {"control-ca", "GENSOCK_CONTROL_CA", PLACE, "FILE",
                    "trust these CAs (PEM) besides the system's for control and relays; "
                    "--ca is short for it where the address has no TLS"},
    [HOSTNAME] = {"hostname", "GENSOCK_HOSTNAME", TEXT, "NAME", "the name wished for; this machine's"},
    [STATE] = {"state", "GENSOCK_STATE", PLACE, "DIR", "where the keys are kept; ~/.local/state/gensock/tailnet"},
    [EPHEMERAL] = {"ephemeral", "GENSOCK_EPHEMERAL", BOOL, "", "keep no state; the tailnet forgets the node when it goes"},
    [KEY_FILE] = {"auth-key-file", "GENSOCK_AUTH_KEY_FILE", PLACE, "FILE",
                  "the auth key is in this file, if not in TS_AUTHKEY; without "
                  "one a person logs in by a URL"},
    [TAGS] = {"tags", "GENSOCK_TAGS", TEXT, "LIST", "tags to ask for: tag:server,tag:db"},
    [UDP_PORT] = {"udp-port", "GENSOCK_UDP_PORT", PORT_NUMBER, "N", "of the node, towards its peers; any"},
    [RELAY_ONLY] = {"relay-only", "GENSOCK_RELAY_ONLY", BOOL, "", "no direct paths: all goes by relays"},
    [SHIELDS_UP] = {"shields-up", "GENSOCK_SHIELDS_UP", BOOL, "", "nothing comes in but answers"},
    [PLAIN_CONTROL] = {"plain-control", "GENSOCK_PLAIN_CONTROL", BOOL, "",
                       "allow an http:// control server that is not on loopback"},
};

/* Where a setting stands; the higher one counts. */
enum level { IN_FILE, IN_ENVIRONMENT, ON_COMMAND_LINE, LEVELS };
static const char *said[LEVELS][SETTINGS];
static int line_of[SETTINGS]; /* in the file */
static const char *config_file;
static char file_text[FILE_MAX + 1];
static char auth_key[KEY_MAX + 1];
static bool key_is_of_environment;
static const char *tag_list[TAGS_MAX];

static int find(const char *name)
{
    int i = 0;
    while (i < SETTINGS && strcmp(name, settings[i].name))
        i++;
    return i;
}

/* ---- the command line ---- */

int cli_setting_kind(const char *name)
{
    if (!strcmp(name, "config") || !strcmp(name, "auth-key") || !strcmp(name, "authkey"))
        return 1;
    int i = find(name);
    return i == SETTINGS ? -1 : settings[i].kind != BOOL;
}

int cli_setting_take(const struct cli_args *a, const char *name, const char *value)
{
    if (!strcmp(name, "auth-key") || !strcmp(name, "authkey"))
        return cli_say(a, CLI_USAGE, "--%s: a key on the command line is readable for everybody on this machine: "
                                     "put it into TS_AUTHKEY, or name its file with --auth-key-file", name);
    if (value && !*value)
        return cli_say(a, CLI_USAGE, "--%s: a value is missing", name);
    if (!strcmp(name, "config"))
        config_file = value;
    else
        said[ON_COMMAND_LINE][find(name)] = value ? value : "true";
    return -1;
}

const char *cli_setting_given(void)
{
    for (int i = 0; i < SETTINGS; i++)
        if (said[ON_COMMAND_LINE][i])
            return settings[i].name;
    return config_file ? "config" : NULL;
}

void cli_settings_help(FILE *to)
{
    for (int i = 0; i < SETTINGS; i++)
        fprintf(to, "  --%s%s%s\n      %s\n", settings[i].name, *settings[i].value ? " " : "", settings[i].value,
                settings[i].what);
    fputs("  --config FILE\n"
          "      a file of lines `hostname = echo`, named as here without --; ~/.config/gensock/tailnet.conf\n", to);
}

/* ---- the file ---- */

/* folder/rest, which lives as long as the process; NULL: no memory. */
static char *path_in(const char *folder, int len, const char *rest)
{
    static char *kept[SETTINGS];
    static size_t n;
    char *path = NULL;
    if (n == SETTINGS || asprintf(&path, "%.*s/%s", len, folder, rest) < 0)
        return NULL;
    return kept[n++] = path;
}

/* $variable/gensock/rest, or $HOME/home/gensock/rest; NULL: neither is set. */
static char *own_path(const char *variable, const char *home, const char *rest)
{
    char below[64];
    const char *base = getenv(variable);
    bool is_set = base && *base == '/';
    if (!is_set)
        base = getenv("HOME");
    snprintf(below, sizeof below, "%s%sgensock/%s", is_set ? "" : home, is_set ? "" : "/", rest);
    return base && *base ? path_in(base, (int)strlen(base), below) : NULL;
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r", text[n - 1]))
        n--;
    text[n] = '\0';
    return text;
}

static int take_line(const struct cli_args *a, char *line, int number)
{
    char *text = trim(line), *equal = strchr(text, '=');
    if (!*text || *text == '#')
        return CLI_OK;
    if (!equal)
        return cli_say(a, CLI_USAGE, "%s:%d: a line is `key = value`", config_file, number);
    *equal = '\0';
    const char *key = trim(text), *value = trim(equal + 1);
    int i = find(key);
    if (i == SETTINGS)
        return cli_say(a, CLI_USAGE, "%s:%d: %.40s is no setting; `gensock help tailnet` lists them", config_file, number, key);
    if (!*value)
        return cli_say(a, CLI_USAGE, "%s:%d: %s: a value is missing", config_file, number, key);
    said[IN_FILE][i] = value;
    line_of[i] = number;
    return CLI_OK;
}

static int read_config(const struct cli_args *a)
{
    bool asked = config_file != NULL;
    if (!asked)
        config_file = own_path("XDG_CONFIG_HOME", ".config", "tailnet.conf");
    if (!config_file)
        return CLI_OK;
    FILE *f = fopen(config_file, "re");
    if (!f && !asked && (errno == ENOENT || errno == ENOTDIR))
        return CLI_OK;
    size_t n = f ? fread(file_text, 1, sizeof file_text, f) : 0;
    if (!f || ferror(f)) {
        int e = errno;
        if (f)
            fclose(f);
        return cli_say(a, e == EACCES || e == EPERM ? CLI_PERMISSION : CLI_FILE, "--config %s: %s", config_file, strerror(e));
    }
    fclose(f);
    if (n > FILE_MAX || memchr(file_text, '\0', n))
        return cli_say(a, CLI_USAGE, "--config %s: not a text of at most %d bytes", config_file, FILE_MAX);
    int code = CLI_OK, number = 1;
    for (char *line = file_text, *end; code == CLI_OK && line; line = end, number++) {
        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        code = take_line(a, line, number);
    }
    return code;
}

/* ---- what counts ---- */

static enum level level_of(int i)
{
    return said[ON_COMMAND_LINE][i] ? ON_COMMAND_LINE : said[IN_ENVIRONMENT][i] ? IN_ENVIRONMENT : IN_FILE;
}

static const char *text_of(int i) { return said[level_of(i)][i]; }

/* Where a setting stands. */
static const char *place_said(int i, char *out, size_t cap)
{
    bool in_file = level_of(i) == IN_FILE && said[IN_FILE][i];
    if (in_file)
        snprintf(out, cap, "%s:%d: %s", config_file, line_of[i], settings[i].name);
    else if (level_of(i) == IN_ENVIRONMENT)
        snprintf(out, cap, "%s", settings[i].variable);
    else
        snprintf(out, cap, "--%s", settings[i].name);
    return out;
}

static int wrong(const struct cli_args *a, int i, int code, const char *what)
{
    char place[PLACE_MAX];
    return cli_say(a, code, "%s: %s", place_said(i, place, sizeof place), what);
}

const char *cli_setting_fault(const char *detail, char *out, size_t cap)
{
    static const struct {
        const char *field;
        int setting;
    } fields[] = {{"hostname: ", HOSTNAME}, {"control_url: ", CONTROL}, {"auth_key: ", KEY_FILE},
                  {"tags: ", TAGS},         {"ca_file: ", CONTROL_CA},  {"UDP port ", UDP_PORT}};
    static const char field[] = "set plain_control", flag[] = "allow it by --plain-control";
    char place[PLACE_MAX];
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        size_t n = strlen(fields[i].field);
        if (strncmp(detail, fields[i].field, n) != 0)
            continue;
        bool is_variable = fields[i].setting == KEY_FILE && key_is_of_environment;
        const char *where = is_variable ? "TS_AUTHKEY" : place_said(fields[i].setting, place, sizeof place);
        const char *what = detail + (fields[i].setting == UDP_PORT ? 0 : n), *at = strstr(what, field);
        snprintf(out, cap, "%s: %.*s%s%s", where, at ? (int)(at - what) : (int)strlen(what), what, at ? flag : "",
                 at ? at + sizeof field - 1 : "");
        return out;
    }
    return detail;
}

static int read_bool(const struct cli_args *a, int i, bool *out)
{
    const char *text = text_of(i);
    *out = text && (!strcmp(text, "true") || !strcmp(text, "yes") || !strcmp(text, "1"));
    if (!text || *out || !strcmp(text, "false") || !strcmp(text, "no") || !strcmp(text, "0"))
        return CLI_OK;
    return wrong(a, i, CLI_USAGE, "true or false is wanted");
}

static int read_port(const struct cli_args *a, uint16_t *out)
{
    const char *text = text_of(UDP_PORT);
    if (!text)
        return CLI_OK;
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (strspn(text, "0123456789") != strlen(text) || v > UINT16_MAX)
        return wrong(a, UDP_PORT, CLI_USAGE, "a port from 0 to 65535 is wanted");
    *out = (uint16_t)v;
    return CLI_OK;
}

/* A path of the file is one beside the file, or of the home folder. */
static const char *place_of(int i)
{
    const char *text = text_of(i), *slash = config_file ? strrchr(config_file, '/') : NULL, *home = getenv("HOME");
    if (!text || level_of(i) != IN_FILE || *text == '/')
        return text;
    if (!strncmp(text, "~/", 2) && home)
        return path_in(home, (int)strlen(home), text + 2);
    return slash ? path_in(config_file, (int)(slash - config_file), text) : text;
}

static int read_tags(const struct cli_args *a, gs_tailnet_config *out)
{
    const char *text = text_of(TAGS);
    char *copy = text ? strdup(text) : NULL, *rest;
    for (char *tag = copy ? strtok_r(copy, ", ", &rest) : NULL; tag; tag = strtok_r(NULL, ", ", &rest)) {
        if (out->n_tags == TAGS_MAX)
            return wrong(a, TAGS, CLI_USAGE, "more than 64 tags");
        tag_list[out->n_tags++] = tag;
    }
    out->tags = tag_list;
    return CLI_OK;
}

/* Keeps state, or is ephemeral: what is said nearest counts. */
static int read_life(const struct cli_args *a, gs_tailnet_config *out)
{
    bool ephemeral;
    int code = read_bool(a, EPHEMERAL, &ephemeral);
    if (code != CLI_OK)
        return code;
    bool both = ephemeral && text_of(STATE);
    if (both && level_of(STATE) == level_of(EPHEMERAL))
        return wrong(a, EPHEMERAL, CLI_USAGE, "an ephemeral node keeps no state: this, or a state folder");
    out->ephemeral = ephemeral && !(both && level_of(STATE) > level_of(EPHEMERAL));
    if (!out->ephemeral)
        out->state_dir = place_of(STATE);
    return CLI_OK;
}

/* ~/.local/state/gensock/tailnet, with the folders on the way to it. */
static int default_state(const struct cli_args *a, const char **out)
{
    char *path = own_path("XDG_STATE_HOME", ".local/state", "tailnet");
    if (!path)
        return cli_say(a, CLI_USAGE, "HOME is not set, so tell where to keep the keys: --state DIR, or --ephemeral");
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            int e = errno, code = e == EACCES || e == EPERM || e == EROFS ? CLI_PERMISSION : CLI_FILE;
            return cli_say(a, code, "%s: %s: --state DIR keeps the keys elsewhere, --ephemeral nowhere", path, strerror(e));
        }
        *slash = '/';
    }
    *out = path;
    return CLI_OK;
}

static int read_key_file(const struct cli_args *a)
{
    const char *path = place_of(KEY_FILE);
    if (!strncmp(path, "tskey-", 6))
        return wrong(a, KEY_FILE, CLI_USAGE, "this is a key, and a file with it is wanted");
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(auth_key, 1, sizeof auth_key, f) : 0;
    if (!f || ferror(f)) {
        int e = errno;
        char what[512];
        if (f)
            fclose(f);
        snprintf(what, sizeof what, "%s: %s", path, strerror(e));
        return wrong(a, KEY_FILE, e == EACCES || e == EPERM ? CLI_PERMISSION : CLI_FILE, what);
    }
    fclose(f);
    auth_key[n > KEY_MAX ? 0 : n] = '\0';
    if (n > KEY_MAX || strlen(auth_key) != n || strspn(auth_key, " \t\r\n") == n)
        return wrong(a, KEY_FILE, CLI_USAGE, "the file holds no auth key");
    return CLI_OK;
}

/* The file on the command line, the key of the environment, a file named elsewhere: in this order. */
static int read_key(const struct cli_args *a, gs_tailnet_config *out)
{
    char *key = getenv("TS_AUTHKEY");
    int code = CLI_OK;
    if (text_of(KEY_FILE) && (level_of(KEY_FILE) == ON_COMMAND_LINE || !key || !*key))
        code = read_key_file(a);
    else if (key && strlen(key) > KEY_MAX)
        code = cli_say(a, CLI_USAGE, "TS_AUTHKEY: longer than a key is");
    else if (key) {
        memcpy(auth_key, key, strlen(key) + 1);
        key_is_of_environment = true;
    }
    if (key) /* in /proc/PID/environ no more */
        explicit_bzero(key, strlen(key));
    unsetenv("TS_AUTHKEY");
    out->auth_key = *auth_key ? auth_key : NULL;
    return code;
}

int cli_settings_read(const struct cli_args *a, gs_tailnet_config *out)
{
    *out = (gs_tailnet_config){0};
    int code = read_config(a);
    for (int i = 0; i < SETTINGS; i++) {
        const char *text = getenv(settings[i].variable);
        said[IN_ENVIRONMENT][i] = text && *text ? text : NULL;
    }
    if (code == CLI_OK)
        code = read_life(a, out);
    if (code == CLI_OK)
        code = read_bool(a, RELAY_ONLY, &out->relay_only);
    if (code == CLI_OK)
        code = read_bool(a, SHIELDS_UP, &out->shields_up);
    if (code == CLI_OK)
        code = read_bool(a, PLAIN_CONTROL, &out->plain_control);
    if (code == CLI_OK)
        code = read_port(a, &out->port);
    if (code == CLI_OK)
        code = read_tags(a, out);
    if (code == CLI_OK)
        code = read_key(a, out);
    if (code == CLI_OK && !out->ephemeral && !out->state_dir)
        code = default_state(a, &out->state_dir);
    out->control_url = text_of(CONTROL);
    out->hostname = text_of(HOSTNAME);
    out->ca_file = place_of(CONTROL_CA);
    return code;
}

void cli_settings_wipe(void) { explicit_bzero(auth_key, sizeof auth_key); }
