/* channel.c: streams to the outside: the control server and relays. */
#include <errno.h>
#include <gensock/tls.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/node/parts.h"

enum { OPTIONS = 12, QUEUE = 1024 * 1024 };

/* An IPv6 address stands in brackets in an address text. */
static int write_address(const struct dial *to, char *out, size_t cap)
{
    bool v6 = strchr(to->host, ':');
    int len = snprintf(out, cap, "%s://%s%s%s:%u", to->tls ? "tls" : "tcp", v6 ? "[" : "", to->host, v6 ? "]" : "", to->port);
    return len < 0 || (size_t)len >= cap ? -ENAMETOOLONG : 0;
}

int gsi_channel_dial(struct node *n, struct channel *c, const struct dial *to)
{
    char address[URL_HOST_MAX + 32];
    gs_opt opts[OPTIONS] = {
        GS_INT(PACKET, GS_PACKET_RAW), GS_INT(ACTIVE, GS_ACTIVE_TRUE), GS_INT(NODELAY, true), GS_INT(SEND_TIMEOUT, GS_NOWAIT),
        GS_INT(HIGH_WATERMARK, QUEUE), GS_INT(LOW_WATERMARK, QUEUE / 2), {.name = GS_OPT_USER, .v.ptr = c},
    };
    int k = 7, e = write_address(to, address, sizeof address);
    if (e < 0 || !gsi_is_host(to->host) || (to->name && !gsi_is_host(to->name)))
        return gs_fail(GS_EFORMAT, "the control server names a host whose name is none");
    if (to->tls) {
        opts[k++] = (gs_opt)GS_STR(TLS_SERVER_NAME, to->name ? to->name : to->host);
        if (to->unverified)
            opts[k++] = (gs_opt)GS_INT(TLS_VERIFY, GS_TLS_VERIFY_NONE);
        else if (n->config.ca_file)
            opts[k++] = (gs_opt)GS_STR(TLS_EXTRA_CA_FILE, n->config.ca_file);
    }
    opts[k] = (gs_opt){.name = GS_OPT_END};
    e = gs_stream_connect(&c->stream, address, opts, n->mailbox, GS_NOWAIT);
    return e == GS_ESELECT ? 0 : e;
}

void gsi_channel_close(struct channel *c)
{
    if (c->stream.id)
        gs_stream_close(c->stream);
    c->stream = GS_NO_STREAM;
}

const char *gsi_channel_why(int error)
{
    const char *detail = gs_error_detail(error);
    return *detail ? detail : gs_error_text(error);
}
