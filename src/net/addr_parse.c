/* addr_parse.c: an address from its text. The grammar is gs_addr_parse's in gensock/net.h; addr_text.c writes it.
 *
 * Each form parses into a local gs_addr and tells its own cause; gs_addr_parse commits.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/error.h"
#include "net/addr.h"

enum { FLOW_DIGITS = 8 };

/* "fe80::1%eth0", the longest: an address and an interface's name. */
enum { IP_TEXT_MAX = INET6_ADDRSTRLEN + IF_NAMESIZE };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int gsi_port_parse(const char *s, size_t n)
{
    int port = 0;
    if (n == 0 || n > 5)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        port = port * 10 + (s[i] - '0');
    }
    return port <= UINT16_MAX ? port : -1;
}

/* A scope is an index in decimal, or the name of an interface here. */
static int parse_scope(const char *scope, uint32_t *out)
{
    uint64_t value = 0;
    const char *p = scope;
    for (; *p >= '0' && *p <= '9' && value <= UINT32_MAX; p++)
        value = value * 10 + (uint64_t)(*p - '0');
    if (p == scope && *p == '\0')
        return gsi_addr_bad(scope, "an interface's name or index stands behind the '%'");
    if (*p == '\0' && value <= UINT32_MAX) {
        *out = (uint32_t)value;
        return 0;
    }
    int index = gs_if_name2index(scope);
    if (index < 0)
        return index;
    *out = (uint32_t)index;
    return 0;
}

static int parse_inet6(const char *ip, struct sockaddr_in6 *out)
{
    char digits[INET6_ADDRSTRLEN];
    size_t n = strcspn(ip, "%");
    if (n >= sizeof digits)
        return gsi_addr_bad(ip, "not an IPv6 address");
    memcpy(digits, ip, n);
    digits[n] = '\0';
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET6, digits, &in6.sin6_addr) != 1)
        return gsi_addr_bad(ip, "not an IPv6 address");
    if (ip[n] == '%') {
        int e = parse_scope(ip + n + 1, &in6.sin6_scope_id);
        if (e < 0)
            return e;
    }
    *out = in6;
    return 0;
}

int gs_addr_ip(gs_addr *out, const char *ip, uint16_t port)
{
    if (!out || !ip)
        return GS_EBADARG;
    gs_addr a = {0};
    if (strchr(ip, ':')) {
        struct sockaddr_in6 in6;
        int e = parse_inet6(ip, &in6);
        if (e < 0)
            return e;
        in6.sin6_port = htons(port);
        memcpy(&a.sa, &in6, a.len = sizeof in6);
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
        if (inet_pton(AF_INET, ip, &in.sin_addr) != 1)
            return gsi_addr_bad(ip, "not an IP address: 1.2.3.4 or fe80::1%eth0");
        memcpy(&a.sa, &in, a.len = sizeof in);
    }
    *out = a;
    return 0;
}

/* The part behind the address: "", ":80", and for inet6 "?flow=0x5" behind both. */
static int parse_flow(const char *text, const char *at, gs_addr *a)
{
    static const char key[] = "?flow=0x";
    uint32_t flow = 0;
    size_t digits = 0;
    if (strncmp(at, key, sizeof key - 1) != 0)
        return gsi_addr_bad(text, "nothing but ?flow=0x… may follow the port");
    for (at += sizeof key - 1; hex_digit(*at) >= 0 && digits < FLOW_DIGITS; at++, digits++)
        flow = flow << 4 | (uint32_t)hex_digit(*at);
    if (digits == 0 || *at != '\0')
        return gsi_addr_bad(text, "the flow is 1 to 8 hexadecimal digits");
    struct sockaddr_in6 in6;
    memcpy(&in6, &a->sa, sizeof in6);
    in6.sin6_flowinfo = htonl(flow);
    memcpy(&a->sa, &in6, sizeof in6);
    return 0;
}

static int parse_bracketed(const char *text, gs_addr *out)
{
    char ip[IP_TEXT_MAX];
    const char *end = strchr(text, ']');
    if (!end)
        return gsi_addr_bad(text, "the bracket is not closed");
    size_t n = (size_t)(end - text) - 1;
    if (n >= sizeof ip)
        return gsi_addr_bad(text, "not an IPv6 address between the brackets");
    memcpy(ip, text + 1, n);
    ip[n] = '\0';
    if (!strchr(ip, ':'))
        return gsi_addr_bad(text, "not an IPv6 address between the brackets");
    const char *at = end + 1;
    int port = 0;
    if (*at == ':') {
        size_t digits = strcspn(at + 1, "?");
        port = gsi_port_parse(at + 1, digits);
        at += 1 + digits;
    }
    if (port < 0)
        return gsi_addr_bad(text, "a port is a number from 0 to 65535");
    int e = gs_addr_ip(out, ip, (uint16_t)port);
    return e < 0 || *at == '\0' ? e : parse_flow(text, at, out);
}

static int parse_inet(const char *text, gs_addr *out)
{
    static const char *const words[] = {"any", "loopback", "broadcast"};
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    if (colon && strchr(colon + 1, ':'))
        return gsi_addr_bad(text, "an IPv6 address stands in brackets: [::1]:80");
    int port = colon ? gsi_port_parse(colon + 1, strlen(colon + 1)) : 0;
    if (port < 0)
        return gsi_addr_bad(text, "a port is a number from 0 to 65535");
    if (n == 0)
        return gs_addr_special(out, AF_INET, GS_ADDR_ANY, (uint16_t)port);
    for (gs_addr_kind k = GS_ADDR_ANY; k <= GS_ADDR_BROADCAST; k++)
        if (strlen(words[k]) == n && !memcmp(words[k], text, n))
            return gs_addr_special(out, AF_INET, k, (uint16_t)port);
    char ip[INET_ADDRSTRLEN] = "";
    struct in_addr unused;
    if (n < sizeof ip)
        memcpy(ip, text, n);
    if (inet_pton(AF_INET, ip, &unused) != 1)
        return gsi_addr_bad(text, "not a numeric address: 1.2.3.4:80, [::1]:80, :80, /path, @name");
    return gs_addr_ip(out, ip, (uint16_t)port);
}

/* One byte of an escaped text: what follows a backslash is xHH or another one. Answers the byte, or -1. */
static int next_byte(const char **at)
{
    const char *s = *at;
    if (*s != '\\') {
        *at = s + 1;
        return (uint8_t)*s;
    }
    if (s[1] == '\\') {
        *at = s + 2;
        return '\\';
    }
    if (s[1] != 'x' || hex_digit(s[2]) < 0 || hex_digit(s[3]) < 0)
        return -1;
    *at = s + 4;
    return hex_digit(s[2]) << 4 | hex_digit(s[3]);
}

static int parse_local(const char *text, const char *at, bool abstract, gs_addr *out)
{
    uint8_t path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    size_t n = 0;
    if (abstract)
        path[n++] = 0;
    while (*at) {
        int byte = next_byte(&at);
        if (byte < 0)
            return gsi_addr_bad(text, "a backslash is written \\\\, any other byte \\xHH");
        if (byte == 0 && !abstract)
            return gsi_addr_bad(text, "a path cannot hold a NUL; an abstract name starts with '@'");
        if (n == sizeof path) {
            char quoted[GSI_QUOTE_MAX];
            return gsi_fail(-ENAMETOOLONG, "%s: at most %zu bytes fit (%s)", gsi_quote(quoted, sizeof quoted, text),
                            sizeof path - abstract, "use a shorter path, or chdir and a relative one");
        }
        path[n++] = (uint8_t)byte;
    }
    return gs_addr_local(out, path, n);
}

static int parse_raw(const char *text, const char *at, gs_addr *out)
{
    struct sockaddr_storage sa = {0};
    size_t n = offsetof(struct sockaddr, sa_data), digits = strcspn(at, ":");
    int family = gsi_port_parse(at, digits); /* the same range: sa_family_t has 16 bits */
    if (family < 0 || at[digits] != ':')
        return gsi_addr_bad(text, "raw:FAMILY:HEX, FAMILY from 0 to 65535");
    sa.ss_family = (sa_family_t)family;
    for (at += digits + 1; *at; at += 2) {
        if (hex_digit(at[0]) < 0 || hex_digit(at[1]) < 0)
            return gsi_addr_bad(text, "the bytes are pairs of hexadecimal digits");
        if (n == sizeof sa)
            return gsi_addr_bad(text, "more bytes than sockaddr_storage holds");
        ((uint8_t *)&sa)[n++] = (uint8_t)(hex_digit(at[0]) << 4 | hex_digit(at[1]));
    }
    int e = gs_addr_make(out, (const struct sockaddr *)&sa, (socklen_t)n);
    return e == -EINVAL ? gsi_addr_bad(text, "too few bytes for this family") : e;
}

static bool starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

int gs_addr_parse(gs_addr *out, const char *text)
{
    if (!out || !text)
        return GS_EBADARG;
    gs_addr a = {0};
    int e;
    if (*text == '\0')
        e = gsi_addr_bad(text, "an empty address; :0 is any address and any port");
    else if (*text == '@')
        e = parse_local(text, text + 1, true, &a);
    else if (*text == '/' || starts(text, "./") || starts(text, "../"))
        e = parse_local(text, text, false, &a);
    else if (starts(text, "local:"))
        e = parse_local(text, text + strlen("local:"), false, &a);
    else if (starts(text, "raw:"))
        e = parse_raw(text, text + strlen("raw:"), &a);
    else if (*text == '[')
        e = parse_bracketed(text, &a);
    else
        e = parse_inet(text, &a);
    if (e == 0)
        *out = a;
    return e;
}
