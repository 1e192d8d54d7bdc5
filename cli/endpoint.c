/* endpoint.c: listening and connecting for the commands. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

/* The address that others connect to: with the port that the kernel chose. */
static void bound_text(gs_stream listener, const char *address, char *out, size_t cap)
{
    gs_addr bound;
    char text[GS_ADDR_TEXT_MAX];
    const char *rest = strstr(address, "://");
    if (rest && gs_stream_sockname(listener, &bound) == 0 && gs_addr_text(&bound, text, sizeof text) > 0) {
        char host[256] = "";
        if (cli_is_tailnet(address) && rest[3] == ':')
            cli_tailnet_host(host, sizeof host);
        if (*host)
            snprintf(text, sizeof text, "%s:%d", host, gs_addr_port(&bound));
        snprintf(out, cap, "%.*s://%s", (int)(rest - address), address, text);
    } else {
        snprintf(out, cap, "%s", address);
    }
}

/* The path that listening made, "" when it made none. A process listens once. */
static char made_path[GS_ADDR_TEXT_MAX];

static void note_path(gs_stream listener)
{
    gs_addr bound;
    *made_path = '\0';
    if (gs_stream_sockname(listener, &bound) < 0)
        return;
    gs_bytes p = gs_addr_path(&bound);
    if (p.n > 0 && p.n < sizeof made_path && p.p[0]) {
        memcpy(made_path, p.p, p.n);
        made_path[p.n] = '\0';
    }
}

int cli_prepare(struct cli_args *a, const char *address)
{
    int code = cli_tailnet_prepare(a, address);
    return code == CLI_OK ? cli_tls_prepare(a, address) : code;
}

int cli_listen(const struct cli_args *a, const char *address, gs_mailbox owner, gs_stream *listener)
{
    char text[GS_ADDR_TEXT_MAX + 64];
    int e = gs_stream_listen(listener, address, a->opts, owner);
    if (e < 0)
        return cli_fail(a, address, e);
    bound_text(*listener, address, text, sizeof text);
    note_path(*listener);
    if (a->json) {
        fputs("{\"address\":", stdout);
        cli_json_text(stdout, text, strlen(text));
        puts("}");
    } else {
        puts(text);
    }
    int code = cli_finish_stdout(a, CLI_OK);
    if (code != CLI_OK)
        cli_unlisten(*listener);
    return code;
}

void cli_unlisten(gs_stream listener)
{
    struct stat st;
    gs_stream_close(listener);
    if (*made_path && lstat(made_path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(made_path);
    *made_path = '\0';
}

static void close_listener(void *arg) { gs_stream_close(*(gs_stream *)arg); }

static int accept_one(const struct cli_args *a, const char *address, gs_mailbox owner, gs_stream *out)
{
    gs_stream listener;
    cli_signals_hold();
    int code = cli_listen(a, address, GS_NO_MAILBOX, &listener);
    if (code != CLI_OK) {
        cli_signals_release();
        return code;
    }
    int came = 0, e = cli_signals_start(close_listener, &listener);
    if (e == 0) {
        e = gs_stream_accept(listener, out, owner, a->timeout_ms, NULL);
        came = cli_signals_stop();
    }
    cli_unlisten(listener);
    if (came)
        cli_die_of(came);
    if (e == 0)
        e = gs_stream_handshake(*out, a->timeout_ms);
    return e < 0 ? cli_fail(a, address, e) : CLI_OK;
}

int cli_connect_failed(const struct cli_args *a, const char *address, int error)
{
    int code = cli_fail(a, address, error);
    if (code == CLI_TIMEOUT && cli_is_tailnet(address))
        cli_tailnet_troubles(a);
    return code;
}

int cli_open(struct cli_args *a, const char *address, bool listen, gs_mailbox owner, gs_stream *out)
{
    int code = cli_prepare(a, address);
    if (code != CLI_OK)
        return code;
    if (listen)
        return accept_one(a, address, owner, out);
    int e = gs_stream_connect(out, address, a->opts, owner, a->timeout_ms);
    return e < 0 ? cli_connect_failed(a, address, e) : CLI_OK;
}
