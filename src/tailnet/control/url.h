/* url.h: the URLs of a control server, and which URLs of a PingRequest may be asked (tailnet-protocol.md 4.5, 13 row 15). */
#ifndef GSI_TAILNET_CONTROL_URL_H
#define GSI_TAILNET_CONTROL_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

enum { URL_HOST_MAX = 253, URL_PATH_MAX = 1024 };

struct url {
    bool tls; /* https */
    uint16_t port;
    char host[URL_HOST_MAX + 1];           /* lower case; IPv6 without brackets */
    char authority[URL_HOST_MAX + 1 + 8];  /* for Host: brackets, and the port unless it is the scheme's own */
    char path[URL_PATH_MAX + 1];           /* "/" at least; with the query */
};

/* A host's name, or an address without brackets: nothing in it means anything else in an address text, a URL or a header. */
bool gsi_is_host(const char *text);
/* http or https, a name or an address, no user, no fragment, visible ASCII. 0; GS_EFORMAT. */
GS_MUST_USE int gsi_url_parse(const char *text, size_t n, struct url *out);
/* A PingRequest's URL, parsed, when a node may answer it with HEAD: the control server's own host, port and scheme. 0;
 * GS_EFORMAT; -EACCES: it is elsewhere. */
GS_MUST_USE int gsi_url_ping(const struct url *control, const char *text, size_t n, struct url *out);
/* The HEAD request that answers it; the length. */
size_t gsi_url_head_request(const struct url *url, char *out, size_t cap);

#endif
