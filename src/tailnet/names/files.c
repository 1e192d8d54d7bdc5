/* files.c: the two files of libc's that decide whom a name is asked of: resolv.conf(5), nsswitch.conf(5). */
#include <stdio.h>

#include "tailnet/names/dns.h"

static bool is_domain(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return n > 0 && n < 254;
}

void gsi_dns_resolv_conf(const struct netmap *m, const char *server, char out[DNS_FILE_MAX])
{
    const struct map_node *self = m ? gsi_netmap_self(m) : NULL;
    const char *dot = self ? strchr(self->name, '.') : NULL, *domain = dot ? dot + 1 : "";
    size_t n = strlen(domain);
    if (n && domain[n - 1] == '.')
        n--;
    bool good = is_domain(domain, n);
    (void)snprintf(out, DNS_FILE_MAX, "# the names of the tailnet, by gensock\nnameserver %.40s\n%s%.*s%s", server,
                   good ? "search " : "", good ? (int)n : 0, domain, good ? "\n" : "");
}

/* Whether the line is a database's: blanks, the name, blanks, a colon. */
static bool is_of(const char *line, size_t n, const char *database)
{
    size_t at = 0, len = strlen(database);
    while (at < n && (line[at] == ' ' || line[at] == '\t'))
        at++;
    if (n - at < len || memcmp(line + at, database, len) != 0)
        return false;
    for (at += len; at < n && (line[at] == ' ' || line[at] == '\t');)
        at++;
    return at < n && line[at] == ':';
}

bool gsi_dns_nsswitch(const char *text, size_t n, char out[DNS_FILE_MAX])
{
    static const char hosts[] = "hosts: files dns\n";
    size_t used = sizeof hosts - 1;
    memcpy(out, hosts, used);
    while (n) {
        const char *end = memchr(text, '\n', n);
        size_t line = end ? (size_t)(end - text) + 1 : n;
        if (!is_of(text, line, "hosts")) {
            if (memchr(text, 0, line) || used + line >= DNS_FILE_MAX)
                return false;
            memcpy(out + used, text, line);
            used += line;
        }
        text += line;
        n -= line;
    }
    out[used] = 0;
    return true;
}
