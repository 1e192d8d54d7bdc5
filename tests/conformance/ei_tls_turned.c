/* The suite over gensock's own table for ei with TLS below it, turned back into a transport: its descriptor is no socket, and its
 * accept does a handshake. */
#include <gensock/tls.h>

#include "conformance/conformance.h"
#include "conformance/ei_turn.h"
#include "pki.h"

static void turn_back(void)
{
    const struct pki_files *f = pki_default();
    static gs_opt both[6];
    both[0] = (gs_opt)GS_STR(TLS_CERT_FILE, f->cert);
    both[1] = (gs_opt)GS_STR(TLS_KEY_FILE, f->key);
    both[2] = (gs_opt)GS_STR(TLS_CA_FILE, f->ca);
    both[3] = (gs_opt)GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE);
    both[4] = (gs_opt)GS_STR(TLS_SERVER_NAME, "gensock.test");
    static gs_ei_setup tls = {.transport = "tls", .connect_opts = both, .listen_opts = both};
    int size;
    const ei_socket_callbacks *table = gs_ei_callbacks(&size);
    if (gs_tls_register() < 0)
        abort();
    turn("ei-tls", table, size, &tls);
    start_watching("ei-tls://127.0.0.1:0");
}

CONFORMANCE_MAIN_WITH(turn_back, {"ei-tls", "ei-tls://127.0.0.1:0"})
