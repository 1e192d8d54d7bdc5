/* config.c: options to a configuration, checked: every value that is none is told by its name. */
#include <errno.h>
#include <string.h>

#include "tls/tls.h"

const char *option_name(int name)
{
    switch (name) {
#define GSTLS_OPTION(NAME, name, type, initial, command, meaning)                                                      \
    case GS_OPT_TLS_##NAME:                                                                                            \
        return name;
#include "tls/option_table.h"
#undef GSTLS_OPTION
    default:
        return NULL;
    }
}

static int bad(int name, const char *wanted) { return gs_fail(-EINVAL, "option %s: wanted is %s", option_name(name), wanted); }

static int set_int(struct config *c, int name, int64_t i)
{
    bool version = i == GS_TLS_1_2 || i == GS_TLS_1_3;
    switch (name) {
    case GS_OPT_TLS_VERIFY:
        c->verify = (int)i;
        return i >= GS_TLS_VERIFY_NONE && i <= GS_TLS_VERIFY_REQUIRE ? 0 : bad(name, "none, peer or require");
    case GS_OPT_TLS_MIN_VERSION:
        c->min_version = (int)i;
        return version ? 0 : bad(name, "GS_TLS_1_2 or GS_TLS_1_3");
    case GS_OPT_TLS_MAX_VERSION:
        c->max_version = (int)i;
        return version ? 0 : bad(name, "GS_TLS_1_2 or GS_TLS_1_3");
    case GS_OPT_TLS_RESUME:
        c->resume = i;
        return i == 0 || i == 1 ? 0 : bad(name, "true or false");
    case GS_OPT_TLS_KEY_UPDATE:
        return gs_fail(-EINVAL, "option tls_key_update: only for gs_stream_setopts on a connection");
    default:
        return 0; /* another transport's */
    }
}

static int add_cert(struct config *c, const char *path)
{
    if (c->certs == CERTS_MAX)
        return gs_fail(-EINVAL, "option tls_cert_file: more than %d certificates", CERTS_MAX);
    c->file[c->certs].cert = path;
    c->file[c->certs++].key = path;
    return 0;
}

static int add_key(struct config *c, const char *path)
{
    if (!c->certs || c->file[c->certs - 1].key != c->file[c->certs - 1].cert)
        return gs_fail(-EINVAL, "option tls_key_file: it stands behind the tls_cert_file that it belongs to");
    c->file[c->certs - 1].key = path;
    return 0;
}

static int set_string(struct config *c, int name, const char *s)
{
    if (!option_name(name))
        return 0; /* another transport's */
    if (!s || !*s)
        return bad(name, "a text, neither NULL nor empty");
    uint8_t wire[ALPN_MAX];
    int e = 0;
    switch (name) {
    case GS_OPT_TLS_CERT_FILE: return add_cert(c, s);
    case GS_OPT_TLS_KEY_FILE: return add_key(c, s);
    case GS_OPT_TLS_CA_FILE: c->ca = s; break;
    case GS_OPT_TLS_EXTRA_CA_FILE: c->extra_ca = s; break;
    case GS_OPT_TLS_SERVER_NAME: c->server_name = s; break;
    case GS_OPT_TLS_ALPN:
        c->alpn = s;
        e = alpn_wire(s, wire, sizeof wire);
        break;
    default: break;
    }
    return e < 0 ? e : 0;
}

static int check(const struct config *c)
{
    if (c->min_version > c->max_version)
        return gs_fail(-EINVAL, "option tls_min_version: it is above tls_max_version");
    if (c->server && !c->certs)
        return gs_fail(-EINVAL, "a TLS server needs a certificate: option tls_cert_file is missing");
    if (!c->server && c->certs > 1)
        return gs_fail(-EINVAL, "option tls_cert_file: a client has one certificate");
    if (c->ca && c->extra_ca)
        return gs_fail(-EINVAL, "option tls_ca_file replaces the system's CAs, tls_extra_ca_file adds to them: give one of the two");
    return 0;
}

int config_read(struct config *c, bool server, const gs_opt *opts)
{
    *c = (struct config){
        .server = server,
        .resume = true,
        .verify = server ? GS_TLS_VERIFY_NONE : GS_TLS_VERIFY_PEER,
        .min_version = GS_TLS_1_2,
        .max_version = GS_TLS_1_3,
    };
    int e = 0;
    for (const gs_opt *o = opts; o && o->name && e == 0; o++)
        e = o->name >= GS_OPT_TRANSPORT_STRING ? set_string(c, o->name, o->v.s) : set_int(c, o->name, o->v.i);
    return e < 0 ? e : check(c);
}

int alpn_wire(const char *text, uint8_t *out, size_t cap)
{
    size_t at = 0;
    for (const char *p = text;; p++) {
        size_t n = strcspn(p, ",");
        if (!n || n > ALPN_MAX || at + 1 + n > cap)
            return gs_fail(-EINVAL, "option tls_alpn: wanted are protocol names with commas between, %d bytes at most", ALPN_MAX - 1);
        out[at++] = (uint8_t)n;
        memcpy(out + at, p, n);
        at += n;
        p += n;
        if (!*p)
            return (int)at;
    }
}
