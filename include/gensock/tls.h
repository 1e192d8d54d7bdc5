/* gensock/tls.h: TLS as a layer over every transport; library gensock-tls, on OpenSSL 3.
 *
 *     gs_tls_register();
 *     gs_stream_connect(&s, "tls://example.org:443", GS_OPTS(GS_STR(TLS_ALPN, "http/1.1")), GS_NO_MAILBOX, 5000);
 *     gs_stream_listen(&l, "tls+unix:///run/x", GS_OPTS(GS_STR(TLS_CERT_FILE, "x.pem"), GS_STR(TLS_KEY_FILE, "x.key")), owner);
 *     gs_stream_upgrade(s, "tls", false, GS_OPTS(GS_STR(TLS_SERVER_NAME, "mail.example.org")), 5000);
 *
 * TLS 1.2 (RFC 5246, with ephemeral keys and AEAD ciphers only) and 1.3 (RFC 8446); no compression, no renegotiation, no early
 * data. A client verifies unless it is told not to: the chain up to the system's CAs (or those of TLS_CA_FILE), the purpose,
 * the times, and the name: the host of the address, or TLS_SERVER_NAME. Names are those of subjectAltName (RFC 6125); a common
 * name is no name.
 *
 * Errors. A handshake that fails answers GS_EALERT, and gs_error_detail names the alert and who sent it ("sent unknown_ca: …",
 * "received certificate_required"); GS_ECLOSED when the peer just left; GS_ETIMEOUT at the end of handshake_timeout (option.h).
 * The same code ends a stream on which an alert or a broken record comes later. An end of the bytes below without close_notify
 * may be an attacker's cut, and so may a reset: it is told as GS_ETRUNCATED, whatever show_econnreset says.
 *
 * gs_stream_shutdown(GS_SHUT_WRITE) sends close_notify and goes on reading (RFC 8446, 6.1); gs_stream_close sends it as well.
 * gs_stream_peer tells GS_PEER_TLS with the verified name; an unverified certificate has none. Private keys are read into
 * memory that is wiped, and are in no message or trace.
 *
 * Files. A set of options stands for one context, which streams with the same options share, sessions for resumption included.
 * Its files are looked at again when a handshake begins (at most once a second): a changed certificate is used from the next
 * connection on; one that cannot be read leaves the old one in use (gs_tls_reload tells why).
 *
 * Threads: every call, any thread.
 */
#ifndef GENSOCK_TLS_H
#define GENSOCK_TLS_H

#include <gensock/option.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GS_OPT_TLS_VERIFY = GS_OPT_TRANSPORT + 100, /* GS_TLS_VERIFY_…; default: peer for a client, none for a server */
    GS_OPT_TLS_MIN_VERSION,                     /* GS_TLS_1_2 (default) or GS_TLS_1_3 */
    GS_OPT_TLS_MAX_VERSION,                     /* GS_TLS_1_3 (default) or GS_TLS_1_2 */
    GS_OPT_TLS_RESUME,                          /* bool, default true: offer and take session tickets */
    GS_OPT_TLS_KEY_UPDATE,                      /* gs_stream_setopts only, TLS 1.3: new sending keys; true: the peer's too */

    GS_OPT_TLS_CERT_FILE = GS_OPT_TRANSPORT_STRING + 100, /* PEM: the certificate, then its chain. Several times on a server: */
    GS_OPT_TLS_KEY_FILE,      /* each with the key behind it; the client's SNI chooses, the first where none matches */
    GS_OPT_TLS_CA_FILE,       /* PEM: trust these CAs and no others */
    GS_OPT_TLS_EXTRA_CA_FILE, /* PEM: these besides the system's */
    GS_OPT_TLS_SERVER_NAME,   /* client: the name or IP address to verify, and to send as SNI; default: the address's host */
    GS_OPT_TLS_ALPN,          /* "h2,http/1.1", the preferred first; a server that shares none refuses (RFC 7301) */
};

enum {
    GS_TLS_VERIFY_NONE,    /* client: accept whoever it is. server: ask for no certificate */
    GS_TLS_VERIFY_PEER,    /* client: verify. server: ask; a client without one is let in, unnamed */
    GS_TLS_VERIFY_REQUIRE, /* client: as PEER. server: a client without certificate is refused */
};

enum { GS_TLS_1_2 = 0x0303, GS_TLS_1_3 = 0x0304 };

/* Makes the layer "tls" known. Again is no error. 0, -ENOMEM, or -EEXIST: somebody else's transport has the name. */
GS_API GS_MUST_USE int gs_tls_register(void);

/* Reads all files in use again, now. 0, or the first error (-EINVAL, -ENOENT …; the detail names the file): what could be read is
 * in use, the rest stays as it was. */
GS_API GS_MUST_USE int gs_tls_reload(void);

#ifdef __cplusplus
}
#endif
#endif
