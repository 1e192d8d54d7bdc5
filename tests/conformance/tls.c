/* The suite over TLS, on every base: its cases know nothing of certificates, the process's default options do. runner: tsan */
#include <gensock/tls.h>

#include "conformance/conformance.h"
#include "pki.h"

static void prepare(void)
{
    const struct pki_files *f = pki_default();
    static gs_opt both[6];
    both[0] = (gs_opt)GS_STR(TLS_CERT_FILE, f->cert);
    both[1] = (gs_opt)GS_STR(TLS_KEY_FILE, f->key);
    both[2] = (gs_opt)GS_STR(TLS_CA_FILE, f->ca);
    both[3] = (gs_opt)GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE);
    both[4] = (gs_opt)GS_STR(TLS_SERVER_NAME, "gensock.test");
    conformance_listen = both;
    conformance_connect = both;
    if (gs_tls_register() < 0)
        abort();
}

CONFORMANCE_MAIN_WITH(prepare, {"tls", "tls+tcp://127.0.0.1:0"}, {"tls+unix", "tls+unix://%t/s%u"},
                      {"tls+mem", "tls+mem://x%u?seed=3"})
