/* verdict.c: why it failed, as a code and a detail: alerts by RFC 8446's names, verification by its cause. */
#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tls/tls.h"

enum { TEXT_MAX = 300 };

void alert_note(struct alert *a, int where, int ret)
{
    if (!(where & SSL_CB_ALERT) || (ret & 0xff) == SSL_AD_CLOSE_NOTIFY)
        return;
    a->code = ret & 0xff;
    a->sent = where & SSL_CB_WRITE;
}

/* RFC 8446, 6, and those of RFC 5246 that TLS 1.2 still has. */
const char *alert_name(int code)
{
    static const struct {
        int code;
        const char *name;
    } names[] = {
        {0, "close_notify"},           {10, "unexpected_message"},      {20, "bad_record_mac"},
        {21, "decryption_failed"},     {22, "record_overflow"},         {30, "decompression_failure"},
        {40, "handshake_failure"},     {41, "no_certificate"},          {42, "bad_certificate"},
        {43, "unsupported_certificate"}, {44, "certificate_revoked"},   {45, "certificate_expired"},
        {46, "certificate_unknown"},   {47, "illegal_parameter"},       {48, "unknown_ca"},
        {49, "access_denied"},         {50, "decode_error"},            {51, "decrypt_error"},
        {60, "export_restriction"},    {70, "protocol_version"},        {71, "insufficient_security"},
        {80, "internal_error"},        {86, "inappropriate_fallback"},  {90, "user_canceled"},
        {100, "no_renegotiation"},     {109, "missing_extension"},      {110, "unsupported_extension"},
        {111, "certificate_unobtainable"}, {112, "unrecognized_name"},  {113, "bad_certificate_status_response"},
        {114, "bad_certificate_hash_value"}, {115, "unknown_psk_identity"}, {116, "certificate_required"},
        {120, "no_application_protocol"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].code == code)
            return names[i].name;
    return "unknown_alert";
}

/* What OpenSSL says of it; the queue is empty then. */
static const char *reason(char *buf, size_t cap)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(e), *data = NULL;
    int flags = 0;
    ERR_peek_last_error_data(&data, &flags);
    bool more = data && *data && flags & ERR_TXT_STRING;
    snprintf(buf, cap, "%s%s%s", text ? text : "no reason given", more ? ": " : "", more ? data : "");
    return buf;
}

static bool no_memory(void)
{
    unsigned long e = ERR_peek_error();
    return ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;
}

/* Whose certificate was wrong, and how. */
static const char *verification(const SSL *ssl, char *buf, size_t cap)
{
    long result = SSL_get_verify_result(ssl);
    if (result == X509_V_OK)
        return NULL;
    char name[160] = "";
    X509 *cert = SSL_get1_peer_certificate(ssl);
    if (cert)
        X509_NAME_oneline(X509_get_subject_name(cert), name, sizeof name);
    X509_free(cert);
    for (char *p = name; *p; p++)
        *p = *p < ' ' || *p > '~' ? '?' : *p;
    snprintf(buf, cap, "%s%s%s", X509_verify_cert_error_string(result), *name ? ", certificate of " : "", name);
    return buf;
}

int verdict(const SSL *ssl, const struct alert *a, const struct wire *w, bool handshaking)
{
    char text[TEXT_MAX];
    bool reset = w->error == -EPIPE || w->error == -ECONNRESET;
    if (reset && !handshaking)
        return gs_fail(GS_ETRUNCATED, "the connection was reset without close_notify");
    if (w->error)
        return reset ? -ECONNRESET : w->error;
    if (no_memory())
        return -ENOMEM;
    bool cut = w->eof && (a->code < 0 || (a->sent && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING));
    if (cut && handshaking)
        return gs_fail(GS_ECLOSED, "the peer closed the connection within the handshake");
    if (cut)
        return gs_fail(GS_ETRUNCATED, "the connection ended without close_notify");
    const char *why = handshaking ? verification(ssl, text, sizeof text) : NULL;
    if (!why)
        why = reason(text, sizeof text);
    if (a->code < 0)
        return gs_fail(GS_EALERT, "no alert: %s", why);
    return a->sent ? gs_fail(GS_EALERT, "sent %s: %s", alert_name(a->code), why)
                   : gs_fail(GS_EALERT, "received %s", alert_name(a->code));
}

int verdict_setup(int code, const char *format, ...)
{
    char what[TEXT_MAX], text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    bool memory = no_memory();
    reason(text, sizeof text);
    ERR_clear_error();
    return memory ? -ENOMEM : gs_fail(code, "%s: %s", what, text);
}
