/* url.c: URLs of control servers. */
#include "tailnet/control/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tailnet/endpoint/endpoint.h"

enum { HTTP_PORT = 80, HTTPS_PORT = 443, PORT_MAX = 65535 };

static bool is_host_char(char c, bool v6)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (v6 ? c == ':' || c == '.' : c == '.' || c == '-' || c == '_');
}

bool gsi_is_host(const char *text)
{
    struct ip ip;
    size_t n = strnlen(text, URL_HOST_MAX + 1);
    if (!n || n > URL_HOST_MAX)
        return false;
    if (gsi_ip_parse(text, n, &ip) == 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 'a' - 'A') : text[i];
        if (!is_host_char(c, false))
            return false;
    }
    return text[0] != '-' && text[0] != '.';
}

static bool read_port(const char *p, const char *end, uint16_t *out)
{
    unsigned v = 0;
    if (p == end || end - p > 5)
        return false;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return false;
        v = v * 10 + (unsigned)(*p - '0');
    }
    *out = (uint16_t)v;
    return v > 0 && v <= PORT_MAX;
}

/* host, [v6], each with :port or without. */
static bool read_authority(const char *p, const char *end, struct url *u)
{
    bool v6 = p < end && *p == '[';
    const char *host = p + v6, *host_end = v6 ? memchr(p, ']', (size_t)(end - p)) : memchr(p, ':', (size_t)(end - p));
    if (!host_end)
        host_end = end;
    size_t n = (size_t)(host_end - host);
    if ((v6 && host_end == end) || !n || n > URL_HOST_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        u->host[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] + 'a' - 'A') : host[i];
        if (!is_host_char(u->host[i], v6))
            return false;
    }
    u->host[n] = 0;
    p = host_end + v6;
    uint16_t own = u->tls ? HTTPS_PORT : HTTP_PORT;
    u->port = own;
    if (p < end && (*p != ':' || !read_port(p + 1, end, &u->port)))
        return false;
    int k = snprintf(u->authority, sizeof u->authority, v6 ? "[%s]" : "%s", u->host);
    if (u->port != own)
        snprintf(u->authority + k, sizeof u->authority - (size_t)k, ":%u", u->port);
    return true;
}

int gsi_url_parse(const char *text, size_t n, struct url *out)
{
    static const char https[] = "https://", http[] = "http://";
    struct url u = {0};
    const char *p = text, *end = text + n;
    for (size_t i = 0; i < n; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f || text[i] == '#' || text[i] == '\\')
            return GS_EFORMAT;
    u.tls = n >= sizeof https - 1 && memcmp(p, https, sizeof https - 1) == 0;
    if (!u.tls && (n < sizeof http - 1 || memcmp(p, http, sizeof http - 1) != 0))
        return GS_EFORMAT;
    p += u.tls ? sizeof https - 1 : sizeof http - 1;
    const char *path = p;
    while (path < end && *path != '/' && *path != '?')
        path++;
    size_t path_n = (size_t)(end - path);
    if (!read_authority(p, path, &u) || path_n + 1 > URL_PATH_MAX)
        return GS_EFORMAT;
    u.path[0] = '/';
    bool slash = path < end && *path == '/';
    if (path_n)
        memcpy(u.path + !slash, path, path_n);
    *out = u;
    return 0;
}

int gsi_url_ping(const struct url *control, const char *text, size_t n, struct url *out)
{
    struct url u;
    int e = gsi_url_parse(text, n, &u);
    if (e)
        return e;
    if (u.tls != control->tls || u.port != control->port || strcmp(u.host, control->host) != 0)
        return -EACCES;
    *out = u;
    return 0;
}

size_t gsi_url_head_request(const struct url *url, char *out, size_t cap)
{
    int n = snprintf(out, cap, "HEAD %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", url->path, url->authority);
    return n < 0 || (size_t)n >= cap ? 0 : (size_t)n;
}
