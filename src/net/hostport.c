/* hostport.c: the texts that streams are opened with, "scheme://host:port" (addr.h). Called by the transports. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "base/error.h"
#include "net/addr.h"

enum { LABEL_MAX = 63 };

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

int gsi_scheme_split(const char *address, char *scheme, size_t cap, const char **rest)
{
    const char *end = strstr(address, "://");
    if (!end)
        return gsi_addr_bad(address, "not scheme://…, as tcp://host:80 or unix:///path");
    size_t n = (size_t)(end - address);
    if (n == 0 || n > GSI_SCHEME_MAX || n >= cap || !is_letter(address[0]))
        return gsi_addr_bad(address, "a scheme is a letter and up to 30 letters, digits, '+', '-' or '.'");
    for (size_t i = 0; i < n; i++) {
        char c = address[i];
        if (!is_letter(c) && !is_digit(c) && c != '+' && c != '-' && c != '.')
            return gsi_addr_bad(address, "a scheme is a letter and up to 30 letters, digits, '+', '-' or '.'");
        scheme[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    scheme[n] = '\0';
    *rest = end + 3;
    return 0;
}

/* An IPv6 address and perhaps a scope, whose interface is not looked for: it may belong to another network namespace. */
static int check_inet6(const char *host)
{
    char digits[INET6_ADDRSTRLEN];
    struct in6_addr unused;
    size_t n = strcspn(host, "%");
    if (n >= sizeof digits)
        return gsi_addr_bad(host, "not an IPv6 address");
    memcpy(digits, host, n);
    digits[n] = '\0';
    if (inet_pton(AF_INET6, digits, &unused) != 1)
        return gsi_addr_bad(host, "not an IPv6 address");
    if (host[n] == '\0')
        return 0;
    const char *scope = host + n + 1;
    size_t len = strlen(scope);
    if (len == 0 || len >= IF_NAMESIZE)
        return gsi_addr_bad(host, "an interface's name or index stands behind the '%'");
    for (size_t i = 0; i < len; i++)
        if (scope[i] <= 0x20 || scope[i] >= 0x7f)
            return gsi_addr_bad(host, "the interface's name is not printable; its index can stand there too");
    return 0;
}

int gsi_host_check(const char *host)
{
    size_t label = 0, n = 0;
    if (strchr(host, ':'))
        return check_inet6(host);
    for (; host[n]; n++) {
        char c = host[n];
        if ((unsigned char)c >= 0x80)
            return gsi_addr_bad(host, "a host name is ASCII; write an international one in its xn-- form");
        if (c == '.' && label == 0)
            return gsi_addr_bad(host, "a host name has no empty label");
        if (c != '.' && !is_letter(c) && !is_digit(c) && c != '-' && c != '_')
            return gsi_addr_bad(host, "a host name is letters, digits, '-', '_' and '.'");
        label = c == '.' ? 0 : label + 1;
        if (label > LABEL_MAX)
            return gsi_addr_bad(host, "a label of a host name has at most 63 characters");
        if (n >= GSI_HOST_MAX)
            return gsi_addr_bad(host, "a host name has at most 253 characters");
    }
    if (n == 0)
        return gsi_fail(GS_EFORMAT, "an empty host name");
    if (n == GSI_HOST_MAX && host[n - 1] != '.')
        return gsi_addr_bad(host, "a host name has at most 253 characters");
    return 0;
}

int gsi_hostport_split(const char *rest, char *host, size_t cap, uint16_t *port)
{
    bool bracketed = *rest == '[';
    const char *begin = rest + bracketed;
    size_t n = strcspn(begin, bracketed ? "]" : ":");
    const char *colon = begin + n + bracketed;
    if (bracketed && begin[n] == '\0')
        return gsi_addr_bad(rest, "the bracket is not closed");
    if (!bracketed && begin[n] == ':' && strchr(begin + n + 1, ':'))
        return gsi_addr_bad(rest, "an IPv6 address stands in brackets: [::1]:80");
    if (*colon != ':')
        return gsi_addr_bad(rest, *colon == '\0' ? "the port is missing: host:80" : "only :PORT may follow the bracket");
    int number = gsi_port_parse(colon + 1, strlen(colon + 1));
    if (number < 0)
        return gsi_addr_bad(rest, "a port is a number from 0 to 65535");
    char copy[GSI_HOST_MAX + 1];
    if (n > GSI_HOST_MAX)
        return gsi_addr_bad(rest, "a host name has at most 253 characters");
    memcpy(copy, begin, n);
    copy[n] = '\0';
    if (bracketed && !strchr(copy, ':'))
        return gsi_addr_bad(rest, "not an IPv6 address between the brackets");
    int e = n > 0 ? gsi_host_check(copy) : 0;
    if (e < 0)
        return e;
    if (n >= cap)
        return gsi_fail(-ENAMETOOLONG, "a host name of %zu characters does not fit here", n);
    memcpy(host, copy, n + 1);
    *port = (uint16_t)number;
    return 0;
}
