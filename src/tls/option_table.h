/* option_table.h: one row for each option of TLS, the single source of their names, types, defaults and meanings: config.c makes
 * its list from it, docs/genoptions a section of docs/options.md; tests/cli/tls compares the command's with it.
 *
 *     GSTLS_OPTION(NAME, name, type, default, the command's, meaning)
 *
 * In C the name is GS_OPT_TLS_ and NAME.
 */

GSTLS_OPTION(VERIFY, "tls_verify", VERIFY, "peer for a client, none for a server", "--verify",
             "whom to let in. none: whoever it is. peer: a client verifies the server; a server asks for a certificate, verifies "
             "it, and lets a client without one in, unnamed. require: as peer, and a client without certificate is refused")
GSTLS_OPTION(CA_FILE, "tls_ca_file", FILE, "the system's", "--ca", "trust the CAs of this file and no others")
GSTLS_OPTION(EXTRA_CA_FILE, "tls_extra_ca_file", FILE, "", "--extra-ca", "trust the CAs of this file besides the system's")
GSTLS_OPTION(SERVER_NAME, "tls_server_name", NAME, "the address's host", "--servername",
             "client: the name or IP address that the certificate must have; a name is sent as SNI as well")
GSTLS_OPTION(CERT_FILE, "tls_cert_file", FILE, "", "--cert",
             "the certificate, then its chain. A server needs one; with several the client's SNI chooses, and the first is for "
             "names that none has. A client may have one")
GSTLS_OPTION(KEY_FILE, "tls_key_file", FILE, "the tls_cert_file", "--key",
             "the private key of the tls_cert_file before it; one with a passphrase is refused")
GSTLS_OPTION(ALPN, "tls_alpn", ALPN, "", "--alpn",
             "application protocols, the preferred first (RFC 7301); a server that shares none refuses")
GSTLS_OPTION(MIN_VERSION, "tls_min_version", VERSION, "1.2", "--tls-min", "the oldest version to speak")
GSTLS_OPTION(MAX_VERSION, "tls_max_version", VERSION, "1.3", "--tls-max", "the newest version to speak")
GSTLS_OPTION(RESUME, "tls_resume", BOOL, "true", "--resume",
             "offer and take session tickets: a later handshake of the same options and peer is shorter")
GSTLS_OPTION(KEY_UPDATE, "tls_key_update", BOOL, "", "",
             "setopts only, TLS 1.3: send under new keys from now on; true: and ask the peer to do so as well")
