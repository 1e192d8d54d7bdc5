/* name.c: whom a client means to talk to, and by what name a verified client is called. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "tls/tls.h"

/* "host:443" and "[::1]:443" name a host; "/run/s", "@s" and "loft" name none: 0. */
static size_t host_of(const char *rest, const char **host)
{
    const char *colon = strrchr(rest, ':');
    if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return 0;
    *host = rest;
    size_t n = (size_t)(colon - rest);
    if (n >= 2 && rest[0] == '[' && colon[-1] == ']') {
        *host = rest + 1;
        return n - 2;
    }
    return n && rest[0] != '/' && rest[0] != '@' ? n : 0;
}

static int check_name(const char *name)
{
    for (const char *p = name; *p; p++)
        if (*p <= ' ' || *p >= 0x7f)
            return gs_fail(-EINVAL, "option tls_server_name: only printable ASCII; an international name stands as xn--…");
    return 0;
}

int name_wanted(const struct config *c, const gs_target *at, struct server_name *out)
{
    *out = (struct server_name){0};
    const char *host = c->server_name;
    size_t n = host ? strlen(host) : host_of(at && at->rest ? at->rest : "", &host);
    if (n > NAME_MAX_BYTES)
        return gs_fail(-EINVAL, "the name to verify is longer than %d bytes", NAME_MAX_BYTES);
    if (n)
        memcpy(out->text, host, n);
    if (n > 1 && out->text[n - 1] == '.') /* "example.org.": the root is no part of a certificate's name */
        out->text[n - 1] = '\0';
    out->text[strcspn(out->text, "%")] = '\0'; /* fe80::1%eth0 */
    struct in6_addr any;
    out->ip = inet_pton(AF_INET, out->text, &any) == 1 || inet_pton(AF_INET6, out->text, &any) == 1;
    if (!*out->text && !c->server && c->verify != GS_TLS_VERIFY_NONE)
        return gs_fail(-EINVAL, "the address names no host to verify: give tls_server_name (or tls_verify none)");
    if (*out->text == '.' && !c->server && c->verify != GS_TLS_VERIFY_NONE) /* OpenSSL would take it for any name that ends so */
        return gs_fail(-EINVAL, "the name to verify, %s, begins with a dot", out->text);
    return check_name(out->text);
}

/* Of a type that is text; a name with a NUL in it is none. */
static char *text_name(const GENERAL_NAME *g)
{
    if (g->type != GEN_DNS && g->type != GEN_EMAIL && g->type != GEN_URI)
        return NULL;
    const ASN1_IA5STRING *s = g->d.ia5;
    int n = ASN1_STRING_length(s);
    const unsigned char *p = ASN1_STRING_get0_data(s);
    return n > 0 && !memchr(p, 0, (size_t)n) ? OPENSSL_strndup((const char *)p, (size_t)n) : NULL;
}

char *name_of_client(X509 *cert)
{
    char *name = NULL;
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; !name && i < sk_GENERAL_NAME_num(all); i++)
        name = text_name(sk_GENERAL_NAME_value(all, i));
    GENERAL_NAMES_free(all);
    if (name)
        return name;
    BIO *text = BIO_new(BIO_s_mem());
    char *p = NULL;
    if (text && X509_NAME_print_ex(text, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
        long n = BIO_get_mem_data(text, &p);
        name = n > 0 ? OPENSSL_strndup(p, (size_t)n) : NULL;
    }
    BIO_free(text);
    return name;
}
