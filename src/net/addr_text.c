/* addr_text.c: an address as text (the grammar is gs_addr_parse's in gensock/net.h), and the escaping of hostile bytes.
 *
 * All writing goes through put and its friends: they count what the whole text needs and write what fits, as snprintf does.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/error.h"
#include "net/addr.h"

static void put(char *buf, size_t cap, size_t *at, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++, ++*at)
        if (*at < cap)
            buf[*at] = s[i];
}

__attribute__((format(printf, 4, 5))) static void put_format(char *buf, size_t cap, size_t *at, const char *format, ...)
{
    char text[64]; /* the longest is an inet6 address */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(buf, cap, at, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void gsi_escape(char *buf, size_t cap, size_t *at, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = (char)p[i];
        if (p[i] == '\\')
            put(buf, cap, at, "\\\\", 2);
        else if (p[i] >= 0x20 && p[i] < 0x7f)
            put(buf, cap, at, &c, 1);
        else
            put_format(buf, cap, at, "\\x%02x", p[i]);
    }
}

const char *gsi_quote(char *buf, size_t cap, const char *text)
{
    size_t at = 0;
    buf[at++] = '"';
    for (; *text; text++) {
        size_t before = at;
        gsi_escape(buf, cap, &at, (const uint8_t *)text, 1);
        if (at + sizeof "...\"" > cap) {
            at = before;
            memcpy(buf + at, "...", 3);
            at += 3;
            break;
        }
    }
    buf[at] = '"';
    buf[at + 1] = '\0';
    return buf;
}

int gsi_addr_bad(const char *text, const char *cause)
{
    char quoted[GSI_QUOTE_MAX];
    return gsi_fail(GS_EFORMAT, "%s: %s", gsi_quote(quoted, sizeof quoted, text), cause);
}

/* An interface may be called almost anything; a name that would not read back as itself is not used. */
static bool plain_name(const char *name)
{
    bool digits_only = true;
    for (; *name; name++) {
        if (*name <= 0x20 || *name >= 0x7f || strchr("]%?\\", *name))
            return false;
        digits_only = digits_only && *name >= '0' && *name <= '9';
    }
    return !digits_only;
}

static void put_inet6(char *buf, size_t cap, size_t *at, const gs_addr *a)
{
    struct sockaddr_in6 in6;
    memcpy(&in6, &a->sa, sizeof in6);
    char ip[INET6_ADDRSTRLEN] = "", name[IF_NAMESIZE];
    inet_ntop(AF_INET6, &in6.sin6_addr, ip, sizeof ip);
    put_format(buf, cap, at, "[%s", ip);
    if (in6.sin6_scope_id != 0) {
        if (gsi_if_name(in6.sin6_scope_id, name) == 0 && plain_name(name))
            put_format(buf, cap, at, "%%%s", name);
        else
            put_format(buf, cap, at, "%%%" PRIu32, in6.sin6_scope_id);
    }
    put_format(buf, cap, at, "]:%u", ntohs(in6.sin6_port));
    if (in6.sin6_flowinfo != 0)
        put_format(buf, cap, at, "?flow=0x%" PRIx32, ntohl(in6.sin6_flowinfo));
}

static void put_local(char *buf, size_t cap, size_t *at, const gs_addr *a)
{
    gs_bytes path = gs_addr_path(a);
    if (path.n > 0 && path.p[0] == 0) {
        put(buf, cap, at, "@", 1);
        gsi_escape(buf, cap, at, path.p + 1, path.n - 1);
        return;
    }
    const char *p = (const char *)path.p;
    bool starts_as_path = (path.n >= 1 && p[0] == '/') || (path.n >= 2 && !memcmp(p, "./", 2)) ||
                          (path.n >= 3 && !memcmp(p, "../", 3));
    if (!starts_as_path)
        put(buf, cap, at, "local:", 6);
    gsi_escape(buf, cap, at, path.p, path.n);
}

static void put_raw(char *buf, size_t cap, size_t *at, const gs_addr *a)
{
    const uint8_t *p = (const uint8_t *)&a->sa;
    put_format(buf, cap, at, "raw:%u:", a->sa.ss_family);
    for (size_t i = offsetof(struct sockaddr, sa_data); i < a->len; i++)
        put_format(buf, cap, at, "%02x", p[i]);
}

int gs_addr_text(const gs_addr *a, char *buf, size_t cap)
{
    if (cap > 0 && !buf)
        return GS_EBADARG;
    if (cap > 0)
        buf[0] = '\0';
    if (!gsi_addr_ok(a))
        return GS_EBADARG;
    size_t at = 0;
    struct sockaddr_in in;
    char ip[INET_ADDRSTRLEN] = "";
    switch (a->sa.ss_family) {
    case AF_INET:
        memcpy(&in, &a->sa, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, ip, sizeof ip);
        put_format(buf, cap, &at, "%s:%u", ip, ntohs(in.sin_port));
        break;
    case AF_INET6:
        put_inet6(buf, cap, &at, a);
        break;
    case AF_UNIX:
        put_local(buf, cap, &at, a);
        break;
    default:
        put_raw(buf, cap, &at, a);
    }
    if (cap > 0)
        buf[at < cap ? at : cap - 1] = '\0';
    return (int)at;
}
