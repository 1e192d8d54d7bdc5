/* The ownership-transfer storm over TLS: what promise P2 says of streams holds through a layer as well. */
#include <gensock/tls.h>

#include "pki.h"

static void prepare(void)
{
    const struct pki_files *f = pki_default();
    if (gs_tls_register() < 0 ||
        gs_set_default_opts(GS_LISTEN_DEFAULTS, GS_OPTS(GS_STR(TLS_CERT_FILE, f->cert), GS_STR(TLS_KEY_FILE, f->key))) < 0 ||
        gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS(GS_STR(TLS_CA_FILE, f->ca), GS_STR(TLS_SERVER_NAME, "gensock.test"))) <
            0)
        abort();
}

#define TRANSFER_SCHEMES "tls+tcp", "tls+unix"
#include "transfer.c"
