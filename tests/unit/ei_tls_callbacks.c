/* ei's table over TLS: over tcp, unix and mem, in both versions.
 * runner: tsan, serial */
#include <gensock/tls.h>

#include "ei_suite.h"
#include "pki.h"

int main(void)
{
    const struct pki_files *f = pki_default();
    const gs_opt *server = GS_OPTS(GS_STR(TLS_CERT_FILE, f->cert), GS_STR(TLS_KEY_FILE, f->key), GS_STR(TLS_CA_FILE, f->ca),
                                   GS_INT(TLS_VERIFY, GS_TLS_VERIFY_REQUIRE));
    const gs_opt *client = GS_OPTS(GS_STR(TLS_CERT_FILE, f->cert), GS_STR(TLS_KEY_FILE, f->key), GS_STR(TLS_CA_FILE, f->ca),
                                   GS_STR(TLS_SERVER_NAME, "gensock.test"));
    const gs_opt *old = GS_OPTS(GS_STR(TLS_CERT_FILE, f->cert), GS_STR(TLS_KEY_FILE, f->key), GS_STR(TLS_CA_FILE, f->ca),
                                GS_STR(TLS_SERVER_NAME, "gensock.test"), GS_INT(TLS_MAX_VERSION, GS_TLS_1_2));
    const struct row rows[] = {
        {"tls", "tls://127.0.0.1:0", "tls://127.0.0.1:%d", server, client, .header = 4, .tells_ip = true},
        {"tls 1.2", "tls://127.0.0.1:0", "tls://127.0.0.1:%d", server, old, .header = 4, .tells_ip = true},
        {"tls+unix", "tls+unix://%p/s", "tls+unix://%p/s", server, client, .header = 4},
        {"tls+mem", "tls+mem://ei", "tls+mem://ei", server, client, .header = 4},
    };
    if (gs_tls_register() < 0)
        return 1;
    return run_suite(rows, sizeof rows / sizeof rows[0]);
}
