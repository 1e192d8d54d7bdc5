/* tls.c: TLS for the commands: its options under short names, what was negotiated, and what to do about its errors. The texts of
 * errors that this file looks for are those of src/tls; tests/cli/tls sees to it that they are found.
 */
#include <errno.h>
#include <gensock/tls.h>
#include <string.h>

#include "cli.h"

struct word {
    const char *text;
    int64_t value;
};
static const struct word verifications[] = {
    {"none", GS_TLS_VERIFY_NONE}, {"peer", GS_TLS_VERIFY_PEER}, {"require", GS_TLS_VERIFY_REQUIRE}, {NULL, 0}};
static const struct word versions[] = {{"1.2", GS_TLS_1_2}, {"1.3", GS_TLS_1_3}, {NULL, 0}};
static const struct word bools[] = {{"true", true}, {"false", false}, {NULL, 0}};

/* words: NULL for a text. */
static const struct tls_option {
    const char *name;
    int option;
    const struct word *words;
    const char *value, *what;
} options[] = {
    {"cert", GS_OPT_TLS_CERT_FILE, NULL, "FILE", "certificate and chain (PEM); a server needs one, and may have several"},
    {"key", GS_OPT_TLS_KEY_FILE, NULL, "FILE", "the private key of the --cert before it"},
    {"ca", GS_OPT_TLS_CA_FILE, NULL, "FILE", "trust these CAs and no others"},
    {"extra-ca", GS_OPT_TLS_EXTRA_CA_FILE, NULL, "FILE", "trust these CAs besides the system's"},
    {"verify", GS_OPT_TLS_VERIFY, verifications, "none|peer|require", "whom to let in; a client verifies by default"},
    {"servername", GS_OPT_TLS_SERVER_NAME, NULL, "NAME",
     "the name that the certificate must have; by default the address's host"},
    {"alpn", GS_OPT_TLS_ALPN, NULL, "LIST", "application protocols, the preferred first: h2,http/1.1"},
    {"tls-min", GS_OPT_TLS_MIN_VERSION, versions, "1.2|1.3", "the oldest version to speak"},
    {"tls-max", GS_OPT_TLS_MAX_VERSION, versions, "1.2|1.3", "the newest version to speak"},
    {"resume", GS_OPT_TLS_RESUME, bools, "true|false", "offer and take session tickets; true"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

int cli_tls_take(struct cli_args *a, const char *name, const char *value)
{
    const struct tls_option *t = NULL;
    for (int i = 0; i < OPTIONS; i++)
        if (!strcmp(name, options[i].name))
            t = &options[i];
    if (!t)
        return -2;
    gs_opt o = {.name = t->option, .v.s = value};
    if (t->words) {
        const struct word *w = t->words;
        while (w->text && strcmp(w->text, value))
            w++;
        if (!w->text)
            return cli_say(a, CLI_USAGE, "--%s %s: %s is wanted", name, value, t->value);
        o.v.i = w->value;
    }
    a->opts[a->n_opts++] = o;
    return -1;
}

void cli_tls_help(FILE *to)
{
    for (int i = 0; i < OPTIONS; i++)
        fprintf(to, "  --%s %s\n      %s\n", options[i].name, options[i].value, options[i].what);
}

bool cli_is_tls(const char *address)
{
    size_t n = strcspn(address, "+:");
    return n == 3 && !memcmp(address, "tls", 3);
}

int cli_tls_prepare(const struct cli_args *a, const char *address)
{
    if (cli_is_tls(address)) {
        int e = gs_tls_register();
        return e < 0 ? cli_fail(a, "TLS", e) : CLI_OK;
    }
    for (int i = 0; i < OPTIONS; i++)
        if (cli_opt(a, options[i].option))
            return cli_say(a, CLI_USAGE, "--%s: %s is no tls:// address", options[i].name, address);
    return CLI_OK;
}

void cli_tls_tell(const struct cli_args *a, gs_stream s)
{
    gs_connection_information info;
    char alpn[256];
    const gs_peer *peer = NULL;
    if (gs_stream_connection_information(s, &info) < 0) {
        cli_say(a, CLI_OK, "connected, not secure");
        return;
    }
    bool agreed = gs_stream_negotiated_protocol(s, alpn, sizeof alpn) >= 0;
    bool known = gs_stream_peer(s, &peer) == 0 && peer->kind == GS_PEER_TLS;
    cli_say(a, CLI_OK, "connected: %s, %s, ALPN %s, %s%s%s", info.version, info.cipher, agreed ? alpn : "none",
            known ? "verified " : "the peer is not verified", known ? peer->subject : "", info.resumed ? ", resumed" : "");
    if (peer)
        gs_peer_free(peer);
}

bool cli_tls_is_file_error(int error, const char *detail)
{
    return error != -EINVAL && !strncmp(detail, "option tls_", 11) && strstr(detail, "_file: ");
}

const char *cli_tls_cure(int error, const char *detail)
{
    static const struct {
        int error;
        const char *part, *cure;
    } cures[] = {
        {-EINVAL, "option tls_cert_file is missing", "--cert FILE names it, --key FILE its private key"},
        {-EINVAL, "option tls_key_file: it stands behind", "--cert FILE comes first, then --key FILE"},
        {-EINVAL, "holds no PEM private key", "--key FILE names the private key of the --cert before it"},
        {-EINVAL, "names no host to verify", "--servername NAME, or --verify none to trust anybody"},
        {GS_EALERT, "hostname mismatch", "--servername NAME is the name to look for in the certificate"},
        {GS_EALERT, "IP address mismatch", "--servername NAME is the name to look for in the certificate"},
        {GS_EALERT, "sent unknown_ca",
         "the certificate is not trusted: --ca FILE names the CA, --extra-ca FILE one besides the system's"},
        {GS_EALERT, "received unknown_ca", "the peer does not trust our certificate's CA"},
        {GS_EALERT, "received certificate_required", "the peer wants a certificate: --cert FILE --key FILE"},
        {GS_EALERT, "no_application_protocol", "the two sides share no protocol of --alpn"},
        {GS_EALERT, "protocol_version", "the two sides share no version: --tls-min, --tls-max"},
        {GS_EALERT, "wrong version number", "the peer does not speak TLS"},
    };
    for (size_t i = 0; i < sizeof cures / sizeof cures[0]; i++)
        if (error == cures[i].error && strstr(detail, cures[i].part))
            return cures[i].cure;
    return NULL;
}
