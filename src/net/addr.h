/* addr.h: what the layers above need of addresses beyond gensock/net.h: the texts that streams are opened with. */
#ifndef GSI_ADDR_H
#define GSI_ADDR_H

#include "gensock/net.h"

enum {
    GSI_HOST_MAX = 254,   /* RFC 1035 §3.1: 253 characters and the dot of the root, without NUL */
    GSI_SCHEME_MAX = 31,  /* ours */
};

/* Splits "scheme://rest": the scheme (RFC 3986 §3.1: a letter, then letters, digits, '+', '-', '.') in lower case to scheme,
 * *rest to what follows, a view. 0; GS_EFORMAT with a detail. */
GS_MUST_USE int gsi_scheme_split(const char *address, char *scheme, size_t cap, const char **rest);

/* Splits the rest of a tcp address: "host:80", "1.2.3.4:80", "[fe80::1%eth0]:80", ":80" (host is then ""; the caller decides
 * which family). Brackets are dropped. The host is "" or has been checked by gsi_host_check. cap of GSI_HOST_MAX + 1
 * is always enough. 0; GS_EFORMAT with a detail that names what is wrong; -ENAMETOOLONG: cap. */
GS_MUST_USE int gsi_hostport_split(const char *rest, char *host, size_t cap, uint16_t *port);

/* Whether this may be asked of a resolver: a name of 1..GSI_HOST_MAX bytes in labels of 1..63, letters, digits, '-', '_' and
 * '.', or an IPv6 address without brackets, whose scope is printable and not looked for. Safe to print then. 0; GS_EFORMAT
 * with a detail. */
GS_MUST_USE int gsi_host_check(const char *host);

/* text for a detail: printable, in quotes, cut with "..." where buf ends. Answers buf. cap >= 12. */
enum { GSI_QUOTE_MAX = 96 };
const char *gsi_quote(char *buf, size_t cap, const char *text);

/* GS_EFORMAT with the detail `"text": cause`. */
int gsi_addr_bad(const char *text, const char *cause);

/* The bytes as text that gs_addr_parse reads back: printable ASCII, else \xHH, \\. Appends at *at, which counts on past cap. */
void gsi_escape(char *buf, size_t cap, size_t *at, const uint8_t *p, size_t n);

/* Port of exactly the n characters at s, 1 to 5 digits: 0..65535, or -1. */
int gsi_port_parse(const char *s, size_t n);

/* len is what the family needs, and no more than sa holds. */
bool gsi_addr_ok(const gs_addr *a);

/* An interface's name by its index, without a detail: 0 or -errno. name has room for 16. */
GS_MUST_USE int gsi_if_name(unsigned index, char *name);

#endif
