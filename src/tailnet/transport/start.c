/* start.c: a node begins: what the process needs once, then the node itself. */
#include <gensock/tls.h>

#include "tailnet/crypto/crypto.h"
#include "tailnet/node/node.h"
#include "tailnet/transport/transport.h"

int gs_tailnet_start(gs_tailnet *out, const gs_tailnet_config *config)
{
    if (!out || !config)
        return GS_EBADARG;
    int e = gsi_crypto_init();
    if (e == 0)
        e = gs_tls_register(); /* for the control server and relays */
    if (e == 0)
        e = gsi_tailnet_register();
    return e == 0 ? gsi_node_start(out, config) : e;
}
