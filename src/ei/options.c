/* options.c: the options of the streams that ei's table opens: passive, unframed and unqueued, whatever the process's
 * defaults are. */
#include <errno.h>
#include <string.h>

#include "ei/bridge.h"

/* What decides how the bridge itself uses a stream. */
static const int own[] = {
    GS_OPT_ACTIVE,     GS_OPT_ACCEPT,    GS_OPT_PACKET,       GS_OPT_PACKET_SIZE,        GS_OPT_LINE_DELIMITER, GS_OPT_HEADER,
    GS_OPT_DELAY_SEND, GS_OPT_SEND_MODE, GS_OPT_SEND_TIMEOUT, GS_OPT_SEND_TIMEOUT_CLOSE, GS_OPT_FD,             GS_OPT_BACKLOG,
};
enum { OWN = sizeof own / sizeof own[0], FIXED = 12, MOST = 256 };

static bool is_own(int name)
{
    for (int i = 0; i < OWN; i++)
        if (own[i] == name)
            return true;
    return false;
}

static const gs_opt *find(const gs_opt *opts, int name)
{
    while (opts && opts->name != GS_OPT_END && opts->name != name)
        opts++;
    return opts && opts->name == name ? opts : NULL;
}

/* How many there are, or -EINVAL. */
static int count(const gs_opt *opts)
{
    int n = 0;
    for (; opts && opts[n].name != GS_OPT_END; n++) {
        const char *name = gs_opt_name_text(opts[n].name);
        if (is_own(opts[n].name))
            return gs_fail(-EINVAL, "option %s: ei and its timeouts decide that: take it out of the setup", name ? name : "?");
        if (n == MOST)
            return gs_fail(-EINVAL, "a setup has at most %d options", MOST);
    }
    return n;
}

/* "tls+tcp://…" has ports, "unix:///…" has not. A layer alone stands on tcp. */
static bool has_ports(const char *address)
{
    size_t n = strcspn(address, ":");
    size_t at = n;
    while (at && address[at - 1] != '+')
        at--;
    size_t base = n - at;
    return (base == 3 && (!memcmp(address + at, "tcp", 3) || !memcmp(address + at, "tls", 3))) ||
           (base == 7 && !memcmp(address + at, "tailnet", 7));
}

int gsi_ei_options(const gs_ei_setup *setup, const char *address, int backlog, gs_opt **out)
{
    bool listens = backlog >= 0;
    const gs_opt *theirs = !setup ? NULL : listens ? setup->listen_opts : setup->connect_opts;
    int n = count(theirs), at = 0;
    if (n < 0)
        return n;
    const gs_opt ours[] = {
        GS_INT(ACTIVE, GS_ACTIVE_FALSE),       GS_INT(PACKET, GS_PACKET_RAW),     GS_INT(PACKET_SIZE, 0),      GS_INT(HEADER, 0),
        GS_INT(DELAY_SEND, false),             GS_INT(SEND_MODE, GS_SEND_DIRECT), GS_INT(SEND_TIMEOUT, GS_INFINITY),
        GS_INT(SEND_TIMEOUT_CLOSE, false),     GS_INT(EXIT_ON_CLOSE, false),      GS_INT(SHOW_ECONNRESET, true),
        GS_INT(BACKLOG, backlog),              GS_INT(REUSEADDR, true), /* these two to listen, as ei's own sockets do */
    };
    gs_opt *o = gsi_ei_sys.malloc(((size_t)n + FIXED + 1) * sizeof *o);
    if (!o)
        return -ENOMEM;
    at = !listens ? FIXED - 2 : has_ports(address) ? FIXED : FIXED - 1;
    memcpy(o, ours, (size_t)at * sizeof *o);
    if (n)
        memcpy(o + at, theirs, (size_t)n * sizeof *o);
    o[at + n] = (gs_opt){.name = GS_OPT_END};
    *out = o;
    return 0;
}

int gsi_ei_options_after_handshake(gs_stream s, const gs_opt *of_setup)
{
    static const gs_opt set[] = {GS_INT(NODELAY, true), GS_INT(KEEPALIVE, true)};
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) {
        const gs_opt one[] = {set[i], {.name = GS_OPT_END}};
        int e = find(of_setup, set[i].name) ? 0 : gs_stream_setopts(s, one);
        if (e < 0 && e != -ENOTSUP && e != -EINVAL && e != -ENOPROTOOPT) /* a transport without the option needs it not */
            return e;
    }
    return 0;
}
