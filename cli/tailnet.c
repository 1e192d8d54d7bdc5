/* tailnet.c: the command's node of a tailnet: joined before the first tailnet:// address is opened, left at the end.
 *
 * Whoever must log in is told so on stderr, and waited for; a control server that does not answer is waited for a minute. */
#include <errno.h>
#include <gensock/tls.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"
#include "settings.h"

enum { JOIN_MS = 60 * 1000, TELL_MS = 3000 /* then a person wants to know what it waits for */, LEAVE_MS = 3000 };

static gs_tailnet node;
static bool is_there;
static const char *state_dir; /* of the node; NULL: ephemeral */
static pthread_mutex_t coming_or_going = PTHREAD_MUTEX_INITIALIZER; /* held by who starts or stops it: a signal may come meanwhile */

gs_tailnet cli_node(void) { return node; }

bool cli_is_tailnet(const char *address)
{
    const char *end = strstr(address, "://");
    size_t n = end ? (size_t)(end - address) : 0;
    return n >= 7 && !memcmp(end - 7, "tailnet", 7) && (n == 7 || end[-8] == '+');
}

/* ---- errors ---- */

const char *cli_tailnet_cure(int error)
{
    static const struct {
        int error;
        const char *cure;
    } cures[] = {
        {GS_EAUTHKEY, "make a new key, and give it by TS_AUTHKEY or --auth-key-file FILE"},
        {GS_EKEYEXPIRED, "start again without a key and log in, or with a new one in TS_AUTHKEY"},
        {GS_EAPPROVAL, "then start again; the keys are kept unless the node is ephemeral"},
        {GS_ELOGIN, "start again, and log in; or give a key by TS_AUTHKEY or --auth-key-file FILE"},
        {GS_EFILTERED, "the rules are made at the control server"},
        {GS_ECLOCK, "set the clock (timedatectl shows it)"},
    };
    for (size_t i = 0; i < sizeof cures / sizeof cures[0]; i++)
        if (error == cures[i].error)
            return cures[i].cure;
    return NULL;
}

static const char *ca_cure(const char *detail)
{
    return strstr(detail, "unknown_ca") ? ": --control-ca FILE names a CA to trust besides the system's" : "";
}

int cli_join_failed(const struct cli_args *a, int error, const char *detail)
{
    char text[8192];
    int code = cli_exit_of(error);
    const char *cure = cli_tailnet_cure(error);
    switch (error) {
    case -EBUSY:
        code = CLI_FILE;
        cure = "--state DIR makes a node of its own, --ephemeral one without state";
        break;
    case -EBADMSG:
    case -ENOTSUP:
    case -EFBIG:
        code = CLI_FILE;
        break;
    case -ENOENT:
    case -ENOSPC:
        code = CLI_FAILURE;
        break;
    default:
        break;
    }
    if (!strncmp(detail, "ca_file:", 8) || (state_dir && !strncmp(detail, state_dir, strlen(state_dir))))
        code = error == -EACCES || error == -EPERM ? CLI_PERMISSION : CLI_FILE;
    detail = *detail ? cli_setting_fault(detail, text, sizeof text) : gs_error_text(error);
    return cli_say(a, code, "joining the tailnet: %s (%s)%s%s%s", detail, gs_error_name(error), ca_cure(detail), cure ? ": " : "",
                   cure ? cure : "");
}

/* ---- what happens later ---- */

/* A command that serves may have to log in again: it is told so by a thread, which ends with the mailbox. */
static struct {
    gs_mailbox news;
    struct cli_args a;
    bool is_up; /* until then whoever waits for the node tells it */
} later;

static void *tell_news(void *unused)
{
    gs_msg m;
    while (gs_receive(later.news, &m, GS_INFINITY) == 0)
        if (m.kind == GS_MSG_TAILNET && m.post.tag == GS_TAILNET_LOGIN_URL && __atomic_load_n(&later.is_up, __ATOMIC_ACQUIRE))
            cli_say(&later.a, CLI_OK, "the tailnet wants a log-in again: open %.*s", (int)m.post.body.n, (const char *)m.post.body.p);
    return unused;
}

/* 0, or the library's error. */
static int start_news(const struct cli_args *a)
{
    pthread_t thread;
    later.a.command = a->command;
    int e = gs_mailbox_new(&later.news);
    if (e == 0 && (e = -pthread_create(&thread, NULL, tell_news, NULL)) == 0)
        pthread_detach(thread);
    return e;
}

/* ---- joining ---- */

static int start(const struct cli_args *a, gs_mailbox events)
{
    gs_tailnet_config config;
    int code = cli_settings_read(a, &config), e = code == CLI_OK ? cli_signals_guard() : 0;
    if (e < 0)
        code = cli_fail(a, "starting", e);
    if (code == CLI_OK && events.id == 0 && (e = start_news(a)) < 0)
        code = cli_fail(a, "starting", e);
    if (code == CLI_OK) {
        config.events = events.id ? events : later.news;
        state_dir = config.state_dir;
        pthread_mutex_lock(&coming_or_going);
        e = gs_tailnet_start(&node, &config);
        is_there = e == 0;
        pthread_mutex_unlock(&coming_or_going);
        if (e < 0)
            code = cli_join_failed(a, e, gs_error_detail(e));
    }
    cli_settings_wipe();
    return code;
}

static int wait_up(const struct cli_args *a)
{
    char url[1024] = "", told[512] = "";
    uint64_t began = cli_now_ns();
    for (;;) {
        bool is_endless = *url && a->timeout_ms == GS_INFINITY;
        uint64_t most = a->timeout_ms == GS_INFINITY ? JOIN_MS : (uint64_t)a->timeout_ms;
        uint64_t passed = (cli_now_ns() - began) / 1000000, left = passed < most ? most - passed : 0;
        bool is_last = !is_endless && left <= TELL_MS;
        int e = gs_tailnet_up(node, is_endless ? GS_INFINITY : is_last ? (int)left : TELL_MS);
        const char *detail = gs_error_detail(e);
        if (e == 0) {
            __atomic_store_n(&later.is_up, true, __ATOMIC_RELEASE);
            return CLI_OK;
        }
        if (e == GS_ELOGIN && strcmp(url, detail)) {
            snprintf(url, sizeof url, "%s", detail);
            cli_say(a, CLI_OK, "to log in, open %s", url);
        } else if (e != GS_ETIMEOUT || is_last) {
            return cli_join_failed(a, e, detail);
        } else if (strcmp(told, detail)) {
            snprintf(told, sizeof told, "%s", detail);
            cli_say(a, CLI_OK, "still joining the tailnet: %s", told);
        }
    }
}

/* --ca without TLS is the control server's. */
static int take_ca(struct cli_args *a)
{
    size_t kept = a->n_defaults;
    int code = -1;
    for (size_t i = a->n_defaults; i < a->n_opts; i++) {
        if (a->opts[i].name == GS_OPT_TLS_CA_FILE)
            code = cli_setting_take(a, "control-ca", a->opts[i].v.s);
        else
            a->opts[kept++] = a->opts[i];
    }
    a->n_opts = kept;
    a->opts[kept].name = GS_OPT_END;
    return code < 0 ? CLI_OK : code;
}

int cli_join_alone(struct cli_args *a, gs_mailbox events)
{
    int code = take_ca(a);
    if (code == CLI_OK && a->n_opts > 0)
        code = cli_check_no_options(a);
    if (code == CLI_OK)
        code = start(a, events);
    return code == CLI_OK && events.id == 0 ? wait_up(a) : code;
}

int cli_tailnet_prepare(struct cli_args *a, const char *address)
{
    const char *given = cli_setting_given();
    if (!cli_is_tailnet(address))
        return given ? cli_say(a, CLI_USAGE, "--%s: %s is no tailnet:// address", given, address) : CLI_OK;
    if (is_there)
        return CLI_OK;
    const char *port = strrchr(address, ':') + 1; /* looked at before it takes a minute to join */
    if (!*port || strspn(port, "0123456789") != strlen(port) || strtoul(port, NULL, 10) > UINT16_MAX)
        return cli_say(a, CLI_ADDRESS, "%s: at its end a port from 0 to 65535 is wanted: tailnet://peer:80", address);
    int code = cli_is_tls(address) ? CLI_OK : take_ca(a);
    if (code == CLI_OK)
        code = start(a, GS_NO_MAILBOX);
    return code == CLI_OK ? wait_up(a) : code;
}

void cli_tailnet_leave(void)
{
    pthread_mutex_lock(&coming_or_going);
    if (is_there)
        gs_tailnet_stop(node, LEAVE_MS);
    is_there = false;
    if (later.news.id)
        gs_mailbox_free(later.news); /* once more does nothing */
    pthread_mutex_unlock(&coming_or_going);
}

/* ---- telling ---- */

const char *cli_member_name(const gs_tailnet_member *m, char *out, size_t cap)
{
    const char *name = m->name ? m->name : "";
    size_t n = strlen(name);
    snprintf(out, cap, "%.*s", (int)(n && name[n - 1] == '.' ? n - 1 : n), name);
    return out;
}

void cli_tailnet_host(char *out, size_t cap)
{
    const gs_tailnet_status_t *s;
    *out = '\0';
    if (!is_there || gs_tailnet_status(node, &s) < 0)
        return;
    cli_member_name(&s->self, out, cap);
    gs_tailnet_status_free(s);
}

const char *cli_path_text(gs_path_kind kind, const gs_addr *endpoint, const char *relay, char *out, size_t cap)
{
    char at[GS_ADDR_TEXT_MAX];
    if (kind == GS_PATH_DIRECT && gs_addr_text(endpoint, at, sizeof at) > 0)
        snprintf(out, cap, "direct %s", at);
    else if (kind == GS_PATH_RELAY)
        snprintf(out, cap, "relay %s", relay);
    else
        snprintf(out, cap, "%s", kind == GS_PATH_DIRECT ? "direct" : "no path yet");
    return out;
}

char *cli_without_port(char *text)
{
    char *end = *text == '[' ? strchr(text, ']') : strchr(text, ':');
    if (end)
        *end = '\0';
    return text + (*text == '[');
}

void cli_json_addresses(FILE *to, const gs_addr *list, size_t n)
{
    char text[GS_ADDR_TEXT_MAX];
    fputc('[', to);
    for (size_t i = 0; i < n; i++) {
        const char *ip = gs_addr_text(&list[i], text, sizeof text) > 0 ? cli_without_port(text) : "";
        fputs(i ? "," : "", to);
        cli_json_text(to, ip, strlen(ip));
    }
    fputc(']', to);
}

void cli_tailnet_troubles(const struct cli_args *a)
{
    const gs_tailnet_status_t *s;
    if (!is_there || gs_tailnet_status(node, &s) < 0)
        return;
    if (*s->detail)
        cli_say(a, CLI_OK, "the tailnet: %s%s", s->detail, ca_cure(s->detail));
    for (size_t i = 0; i < s->n_health; i++)
        cli_say(a, CLI_OK, "the tailnet: %s%s", s->health[i], ca_cure(s->health[i]));
    gs_tailnet_status_free(s);
}

/* The path to the peer of this name. */
static void path_to(const char *name, char *out, size_t cap)
{
    const gs_tailnet_status_t *s;
    snprintf(out, cap, "no path yet");
    if (gs_tailnet_status(node, &s) < 0)
        return;
    for (size_t i = 0; i < s->n_peers; i++)
        if (s->peers[i].name && !strcmp(s->peers[i].name, name))
            cli_path_text(s->peers[i].path, &s->peers[i].endpoint, s->peers[i].relay, out, cap);
    gs_tailnet_status_free(s);
}

bool cli_tailnet_tell(const struct cli_args *a, const char *what, gs_stream s)
{
    const gs_peer *peer = NULL;
    bool known = gs_stream_peer(s, &peer) == 0 && peer->kind == GS_PEER_TAILNET && peer->node;
    if (known) {
        char path[GS_ADDR_TEXT_MAX + 16];
        path_to(peer->node, path, sizeof path);
        cli_say(a, CLI_OK, "%s: %s, %s, %s", what, peer->node,
                peer->n_tags ? peer->tags[0] : peer->user && *peer->user ? peer->user : "no user", path);
    }
    if (peer)
        gs_peer_free(peer);
    return known;
}
