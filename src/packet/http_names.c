/* http_names.c: the 52 headers and 7 methods that Erlang knows by an atom; a header's place in the list is its index. */
#include <string.h>

#include "packet/packet.h"

/* HttpField and HttpMethod of erlang:decode_packet/3, normalised as it does ("Etag", "Www-Authenticate", "Content-Md5"). */
#define HEADERS(X)                                                                                                     \
    X("Cache-Control") X("Connection") X("Date") X("Pragma") X("Transfer-Encoding") X("Upgrade") X("Via") X("Accept")  \
    X("Accept-Charset") X("Accept-Encoding") X("Accept-Language") X("Authorization") X("From") X("Host")               \
    X("If-Modified-Since") X("If-Match") X("If-None-Match") X("If-Range") X("If-Unmodified-Since") X("Max-Forwards")   \
    X("Proxy-Authorization") X("Range") X("Referer") X("User-Agent") X("Age") X("Location") X("Proxy-Authenticate")    \
    X("Public") X("Retry-After") X("Server") X("Vary") X("Warning") X("Www-Authenticate") X("Allow")                   \
    X("Content-Base") X("Content-Encoding") X("Content-Language") X("Content-Length") X("Content-Location")            \
    X("Content-Md5") X("Content-Range") X("Content-Type") X("Etag") X("Expires") X("Last-Modified")                    \
    X("Accept-Ranges") X("Set-Cookie") X("Set-Cookie2") X("X-Forwarded-For") X("Cookie") X("Keep-Alive")               \
    X("Proxy-Connection")
#define METHODS(X) X("OPTIONS") X("GET") X("HEAD") X("POST") X("PUT") X("DELETE") X("TRACE")

#define NAME(name) name,
#define LENGTH(name) sizeof name - 1,
static const char *const headers[] = {HEADERS(NAME)};
static const uint8_t header_lengths[] = {HEADERS(LENGTH)};
static const char *const methods[] = {METHODS(NAME)};
static const uint8_t method_lengths[] = {METHODS(LENGTH)};
#undef NAME
#undef LENGTH

enum { HEADERS_N = sizeof header_lengths, METHODS_N = sizeof method_lengths };
_Static_assert(HEADERS_N == 52 && METHODS_N == 7, "Erlang's tables");

/* The lengths lie together, so that memchr finds the few candidates. */
static int find(gs_bytes name, const char *const *names, const uint8_t *lengths, size_t n)
{
    if (name.n > UINT8_MAX)
        return 0;
    for (const uint8_t *l = lengths; (l = memchr(l, (int)name.n, (size_t)(lengths + n - l))); l++)
        if (!memcmp(names[l - lengths], name.p, name.n))
            return (int)(l - lengths) + 1;
    return 0;
}

int gsi_http_header_index(gs_bytes name) { return find(name, headers, header_lengths, HEADERS_N); }
int gsi_http_method_index(gs_bytes name) { return find(name, methods, method_lengths, METHODS_N); }

const char *gs_http_header_name(int index) { return index >= 1 && index <= HEADERS_N ? headers[index - 1] : NULL; }
const char *gs_http_method_name(int method) { return method >= 1 && method <= METHODS_N ? methods[method - 1] : NULL; }
