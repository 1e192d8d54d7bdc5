/* The suite over TLS on a tailnet. runner: timeout 600 */
#include <gensock/tls.h>

#include "conformance/tailnet_ends.h"
#include "pki.h"

static void prepare(void)
{
    const struct pki_files *f = pki_default();
    static gs_opt listening[7], connecting[7];
    tailnet_prepare("tls+tailnet", listening, connecting);
    gs_opt *both[] = {listening, connecting};
    for (int i = 0; i < 2; i++) {
        both[i][1] = (gs_opt)GS_STR(TLS_CERT_FILE, f->cert);
        both[i][2] = (gs_opt)GS_STR(TLS_KEY_FILE, f->key);
        both[i][3] = (gs_opt)GS_STR(TLS_CA_FILE, f->ca);
        both[i][4] = (gs_opt)GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE);
        both[i][5] = (gs_opt)GS_STR(TLS_SERVER_NAME, "gensock.test");
    }
}

CONFORMANCE_MAIN_WITH(prepare, {"tls+tailnet", listen_at})
