/* address.c: what gensock address an address of ei's stands for: by the setup's map, or the transport with IPv4 address and
 * port. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ei/bridge.h"

/* "tls+unix" -> "unix". */
static const char *base_of(const char *transport)
{
    const char *plus = strrchr(transport, '+');
    return plus ? plus + 1 : transport;
}

static int ask_map(const gs_ei_setup *setup, const struct sockaddr_in *in, bool listens, char *out)
{
    out[0] = '\0';
    int e = setup->map(in, listens, out, GS_EI_ADDRESS_MAX, setup->map_arg);
    if (e != 0)
        return gs_fail(e < 0 ? e : -EINVAL, "the setup's map knows no address for what ei wants");
    if (!out[0] || !memchr(out, '\0', GS_EI_ADDRESS_MAX))
        return gs_fail(GS_EFORMAT, "the setup's map wrote no address: it must write one, with its end, into cap bytes");
    return 0;
}

int gsi_ei_address(const gs_ei_setup *setup, const struct sockaddr_in *in, bool listens, char *out)
{
    const char *transport = setup && setup->transport ? setup->transport : "tcp";
    char host[INET_ADDRSTRLEN] = "";
    if (setup && setup->map)
        return ask_map(setup, in, listens, out);
    if (strcmp(base_of(transport), "unix") == 0) /* a number would become a file's name in the current folder */
        return gs_fail(-EINVAL, "ei cannot name a socket of %s: it takes a map in the setup, or gs_ei_connect, gs_ei_listen",
                       transport);
    if (!listens || in->sin_addr.s_addr != htonl(INADDR_ANY))
        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
    int n = snprintf(out, GS_EI_ADDRESS_MAX, "%s://%s:%u", transport, host, ntohs(in->sin_port));
    return n < GS_EI_ADDRESS_MAX ? 0 : gs_fail(GS_EFORMAT, "the setup's transport has a name of %zu bytes", strlen(transport));
}
