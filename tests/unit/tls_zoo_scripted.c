/* The zoo of bytes: what is no TLS, or TLS as nobody may speak it, written out byte by byte. Each is refused within the deadline
 * with its alert in the detail and, where the stranger can understand one, on the wire.
 */
#include <gensock/tls.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "support.h"
#include "tls/tls.h"
#include "tls_peer.h"

enum { WAIT = 10000, DEADLINE = 300 };

struct raw {
    const char *name;
    bool server; /* our side */
    const char *bytes;
    size_t n;
    const char *detail; /* how it begins; of GS_EALERT only */
    int code;           /* 0: GS_EALERT */
    bool leaves;        /* closes behind them; else says nothing more */
};

#define BYTES(text) text, sizeof text - 1
#define EIGHT(text) text text text text text text text text
#define EMPTY "\x16\x03\x03\x00\x00"
#define RANDOM_24 "0123456789abcdef01234567"
#define RANDOM RANDOM_24 "89abcdef"

/* RFC 5246, 7.4.1.3: a ServerHello without extensions; with secure renegotiation (RFC 5746), as every good one of TLS 1.2. */
#define SERVER_HELLO(version, random, cipher, compression) \
    "\x16\x03\x03\x00\x2a\x02\x00\x00\x26" version random "\x00" cipher compression
#define GOOD_SERVER_HELLO \
    "\x16\x03\x03\x00\x31\x02\x00\x00\x2d\x03\x03" RANDOM "\x00\xc0\x2b\x00\x00\x05\xff\x01\x00\x01\x00"
#define AES "\xc0\x2b" /* TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 */

/* A ClientHello of TLS 1.2 with P-256 and ecdsa_secp256r1_sha256, to which the server answers up to its ServerHelloDone. */
#define GOOD_CLIENT_HELLO \
    "\x16\x03\x03\x00\x44\x01\x00\x00\x40\x03\x03" RANDOM "\x00\x00\x02\xc0\x2b\x01\x00\x00\x15" \
    "\x00\x0a\x00\x04\x00\x02\x00\x17\x00\x0d\x00\x04\x00\x02\x04\x03\xff\x01\x00\x01\x00"
#define NO_CERTIFICATES "\x16\x03\x03\x00\x07\x0b\x00\x00\x03\x00\x00\x00"
#define FINISHED "\x16\x03\x03\x00\x10\x14\x00\x00\x0c" "0123456789ab"
#define CHANGE_CIPHER "\x14\x03\x03\x00\x01\x01"

/* clang-format off */
static const struct raw raws[] = {
    /* no TLS */
    {"an HTTP request to a server", true, BYTES("GET / HTTP/1.1\r\nHost: gensock.test\r\n\r\n"), "no alert: http request"},
    {"an SSH banner to a client", false, BYTES("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), "no alert: wrong version number"},
    {"an SMTP banner to a client", false, BYTES("220 mail.gensock.test ESMTP\r\n"), "no alert: wrong version number"},
    {"zeros", true, BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "no alert: wrong version number"},
    {"a hello of SSL 2", true, BYTES("\x80\x1c\x01\x00\x02\x00\x03\x00\x00\x00\x10\x07\x00\xc0 0123456789abcdef"), "sent protocol_version:"},
    /* which knows no protocol_version */
    {"a hello of SSL 3", true, BYTES("\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" RANDOM "\x00\x00\x04\x00\x0a\x00\x05\x01\x00"), "sent handshake_failure:"},
    /* records */
    {"a record longer than records are", true, BYTES("\x16\x03\x01\xff\xff\x01\x00\x00\x00"), "sent record_overflow:"},
    {"a flood of empty records", true, BYTES(EIGHT(EIGHT(EMPTY))), "sent unexpected_message:"},
    {"application data before the handshake", true, BYTES("\x17\x03\x03\x00\x05hello"), "sent unexpected_message:"},
    {"application data to a client", false, BYTES("\x17\x03\x03\x00\x05hello"), "sent unexpected_message:"},
    {"a finished before the handshake", true, BYTES("\x16\x03\x03\x00\x04\x14\x00\x00\x00"), "sent unexpected_message:"},
    {"a server's hello to a server", true, BYTES("\x16\x03\x03\x00\x04\x02\x00\x00\x00"), "sent unexpected_message:"},
    {"a client's hello to a client", false, BYTES(GOOD_CLIENT_HELLO), "sent unexpected_message:"},
    {"a change of cipher first", true, BYTES(CHANGE_CIPHER), "sent unexpected_message:"},
    {"an unknown record type", true, BYTES("\x63\x03\x03\x00\x01\x01"), "sent unexpected_message:"},
    {"an alert of a stranger", true, BYTES("\x15\x03\x03\x00\x02\x02\x28"), "sent unexpected_message:"},
    {"an alert to a client", false, BYTES("\x15\x03\x03\x00\x02\x02\x28"), "received handshake_failure"},
    {"a warning alert and silence", true, BYTES("\x15\x03\x03\x00\x02\x01\x5a"), "sent unexpected_message:"},
    /* a client's messages */
    {"a hello whose length lies", true, BYTES("\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00"), "sent decode_error:"},
    {"a hello of 16 MiB", true, BYTES("\x16\x03\x01\x00\x08\x01\xff\xff\xff\x03\x03\x00\x00"), "sent illegal_parameter:"},
    {"a hello of TLS 1.3 without a key share", true, BYTES("\x16\x03\x01\x00\x36\x01\x00\x00\x32\x03\x03" RANDOM "\x00\x00\x02\x13\x01\x01\x00\x00\x07\x00\x2b\x00\x03\x02\x03\x04"), "sent missing_extension:"},
    {"a hello with compression only", true, BYTES("\x16\x03\x03\x00\x44\x01\x00\x00\x40\x03\x03" RANDOM "\x00\x00\x02\xc0\x2b\x01\x01\x00\x15\x00\x0a\x00\x04\x00\x02\x00\x17\x00\x0d\x00\x04\x00\x02\x04\x03\xff\x01\x00\x01\x00"), "sent decode_error:"},
    {"a hello with an extension twice", true, BYTES("\x16\x03\x03\x00\x44\x01\x00\x00\x40\x03\x03" RANDOM "\x00\x00\x02\xc0\x2b\x01\x00\x00\x15\x00\x0a\x00\x04\x00\x02\x00\x17\x00\x0a\x00\x04\x00\x02\x00\x17\xff\x01\x00\x01\x00"), "sent illegal_parameter:"},
    {"a second hello", true, BYTES(GOOD_CLIENT_HELLO GOOD_CLIENT_HELLO), "sent unexpected_message:"},
    {"a certificate that was not asked for", true, BYTES(GOOD_CLIENT_HELLO NO_CERTIFICATES), "sent unexpected_message:"},
    {"a change of cipher before the keys", true, BYTES(GOOD_CLIENT_HELLO CHANGE_CIPHER), "sent unexpected_message:"},
    {"a client's finished before the keys", true, BYTES(GOOD_CLIENT_HELLO FINISHED), "sent unexpected_message:"},
    {"application data within the handshake", true, BYTES(GOOD_CLIENT_HELLO "\x17\x03\x03\x00\x05hello"), "sent unexpected_message:"},
    /* a server's messages */
    {"a server that answers TLS 1.1", false, BYTES(SERVER_HELLO("\x03\x02", RANDOM, AES, "\x00")), "sent protocol_version:"},
    {"a server that answers SSL 3", false, BYTES(SERVER_HELLO("\x03\x00", RANDOM, AES, "\x00")), "sent protocol_version:"},
    {"a downgrade from TLS 1.3 to 1.2", false, BYTES(SERVER_HELLO("\x03\x03", RANDOM_24 "DOWNGRD\x01", AES, "\x00")), "sent illegal_parameter:"},
    {"a downgrade from TLS 1.3 to 1.1 and back", false, BYTES(SERVER_HELLO("\x03\x03", RANDOM_24 "DOWNGRD\x00", AES, "\x00")), "sent illegal_parameter:"},
    {"a server whose cipher was not offered", false, BYTES(SERVER_HELLO("\x03\x03", RANDOM, "\x00\x2f", "\x00")), "sent illegal_parameter:"},
    {"a cipher of TLS 1.3 in TLS 1.2", false, BYTES(SERVER_HELLO("\x03\x03", RANDOM, "\x13\x01", "\x00")), "sent illegal_parameter:"},
    {"a server that compresses", false, BYTES(SERVER_HELLO("\x03\x03", RANDOM, AES, "\x01")), "sent illegal_parameter:"},
    {"a server without secure renegotiation", false, BYTES(SERVER_HELLO("\x03\x03", RANDOM, AES, "\x00") NO_CERTIFICATES), "sent handshake_failure:"},
    {"a session id that is not the client's", false, BYTES("\x16\x03\x03\x00\x32\x02\x00\x00\x2e\x03\x03" RANDOM "\x00\x13\x01\x00\x00\x06\x00\x2b\x00\x02\x03\x04"), "sent illegal_parameter:"},
    {"an extension that was not asked for", false, BYTES("\x16\x03\x03\x00\x30\x02\x00\x00\x2c\x03\x03" RANDOM "\x00\xc0\x2b\x00\x00\x04\x00\x10\x00\x00"), "sent unsupported_extension:"},
    {"a certificate before the hello", false, BYTES(NO_CERTIFICATES), "sent unexpected_message:"},
    {"a server without certificates", false, BYTES(GOOD_SERVER_HELLO NO_CERTIFICATES), "sent decode_error:"},
    {"certificates of 1 MiB", false, BYTES(GOOD_SERVER_HELLO "\x16\x03\x03\x00\x07\x0b\x10\x00\x00\x00\x00\x00"), "sent illegal_parameter:"},
    {"a second server hello", false, BYTES(GOOD_SERVER_HELLO GOOD_SERVER_HELLO), "sent unexpected_message:"},
    {"a server hello done without a certificate", false, BYTES(GOOD_SERVER_HELLO "\x16\x03\x03\x00\x04\x0e\x00\x00\x00"), "sent unexpected_message:"},
    {"a server's finished without keys", false, BYTES(GOOD_SERVER_HELLO CHANGE_CIPHER FINISHED), "sent unexpected_message:"},
    {"a server's data within the handshake", false, BYTES(GOOD_SERVER_HELLO "\x17\x03\x03\x00\x05hello"), "sent unexpected_message:"},
    /* silence, and the end */
    {"silence towards a server", true, BYTES(""), NULL, GS_ETIMEOUT},
    {"silence towards a client", false, BYTES(""), NULL, GS_ETIMEOUT},
    {"half a record header", true, BYTES("\x16\x03"), NULL, GS_ETIMEOUT},
    {"half a record", true, BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), NULL, GS_ETIMEOUT},
    {"silence behind a client's hello", true, BYTES(GOOD_CLIENT_HELLO), NULL, GS_ETIMEOUT},
    {"silence behind a server's hello", false, BYTES(GOOD_SERVER_HELLO), NULL, GS_ETIMEOUT},
    {"who leaves at once, a server's", true, BYTES(""), NULL, GS_ECLOSED, true},
    {"who leaves at once, a client's", false, BYTES(""), NULL, GS_ECLOSED, true},
    {"who leaves within a record header", true, BYTES("\x16\x03"), NULL, GS_ECLOSED, true},
    {"who leaves within a record", true, BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"), NULL, GS_ECLOSED, true},
    {"who leaves behind a client's hello", true, BYTES(GOOD_CLIENT_HELLO), NULL, GS_ECLOSED, true},
    {"who leaves behind a server's hello", false, BYTES(GOOD_SERVER_HELLO), NULL, GS_ECLOSED, true},
};
/* clang-format on */
enum { RAWS = sizeof raws / sizeof *raws };

static int upgrade_raw(const struct raw *r, gs_stream s, char *detail, size_t cap)
{
    const struct pki_files *f = pki_default();
    const gs_opt *server = GS_OPTS(GS_STR(TLS_CERT_FILE, f->cert), GS_STR(TLS_KEY_FILE, f->key));
    const gs_opt *client = GS_OPTS(GS_STR(TLS_CA_FILE, f->ca), GS_STR(TLS_SERVER_NAME, "gensock.test"), GS_INT(TLS_RESUME, 0));
    return upgrade_to_tls(s, r->server, r->server ? server : client, GS_INFINITY, detail, cap);
}

/* What the stranger reads up to the end: the name of the fatal alert that comes last, NULL: none. No keys, so all is plaintext. */
static const char *last_alert(int fd)
{
    uint8_t got[8192];
    size_t n = 0;
    ssize_t k;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = WAIT / 1000}, sizeof(struct timeval)), 0);
    while (n < sizeof got && (k = recv(fd, got + n, sizeof got - n, 0)) > 0)
        n += (size_t)k;
    const uint8_t *a = got + n - 7;
    return n >= 7 && a[0] == 21 && a[1] == 3 && a[3] == 0 && a[4] == 2 && a[5] == 2 ? alert_name(a[6]) : NULL;
}

static void run_raw(void **state)
{
    const struct raw *r = *state;
    int fd[2], code = r->code ? r->code : GS_EALERT;
    gs_stream s;
    char detail[400];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    assert_ok(gs_stream_import(&s, fd[0], GS_OPTS(GS_INT(HANDSHAKE_TIMEOUT, code == GS_ETIMEOUT ? DEADLINE : WAIT)), GS_NO_MAILBOX));
    assert_int_equal(send(fd[1], r->bytes, r->n, MSG_NOSIGNAL), r->n);
    if (r->leaves)
        shutdown(fd[1], SHUT_WR);
    uint64_t began = real_ms();
    int e = upgrade_raw(r, s, detail, sizeof detail);
    uint64_t took = real_ms() - began;
    if (e != code || (r->detail && strncmp(detail, r->detail, strlen(r->detail)) != 0))
        fail_msg("%s: %s \"%s\", wanted %s \"%s\"", r->name, gs_error_name(e), detail, gs_error_name(code), r->detail ? r->detail : "");
    if (e == GS_ETIMEOUT)
        assert_true(took >= DEADLINE);
    assert_false(gs_stream_secure(s));
    assert_code(gs_stream_send(s, "x", 1), GS_ECLOSED);
    gs_stream_close(s);
    const char *told = last_alert(fd[1]), *sent = r->detail && strncmp(r->detail, "sent ", 5) == 0 ? r->detail + 5 : NULL;
    if (r->leaves) /* OpenSSL's word on an end within a message; whoever shut one half only can read it */
        sent = "decode_error";
    if (!told != !sent || (sent && strncmp(sent, told, strlen(told)) != 0))
        fail_msg("%s: the stranger is told %s", r->name, told ? told : "nothing");
    close(fd[1]);
}

int main(void)
{
    static struct CMUnitTest tests[RAWS];
    assert_ok(gs_tls_register());
    for (int i = 0; i < RAWS; i++)
        tests[i] = (struct CMUnitTest){raws[i].name, run_raw, NULL, NULL, (void *)(uintptr_t)&raws[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
