/* addr.c: making, reading and comparing socket addresses (gensock/net.h). Their text is addr_text.c and addr_parse.c.
 *
 * sockaddr_storage is copied to and from the family's own struct: reading it through a cast pointer would break C's
 * aliasing rules.
 */
#include "net/addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "base/error.h"

enum { FAMILY_LEN = offsetof(struct sockaddr, sa_data), PATH_MAX_LEN = sizeof(((struct sockaddr_un *)0)->sun_path) };

/* The kernel gives a path of 108 bytes with its NUL: one byte more than sockaddr_un has. */
static bool is_longest_path(const gs_addr *a)
{
    const uint8_t *p = (const uint8_t *)&a->sa + offsetof(struct sockaddr_un, sun_path);
    return a->len == sizeof(struct sockaddr_un) + 1 && p[0] != 0 && p[PATH_MAX_LEN] == 0;
}

bool gsi_addr_ok(const gs_addr *a)
{
    if (!a || a->len < FAMILY_LEN || a->len > sizeof a->sa)
        return false;
    switch (a->sa.ss_family) {
    case AF_INET:
        return a->len >= sizeof(struct sockaddr_in);
    case AF_INET6:
        return a->len >= sizeof(struct sockaddr_in6);
    case AF_UNIX:
        return a->len <= sizeof(struct sockaddr_un) || is_longest_path(a);
    default:
        return true;
    }
}

int gs_addr_make(gs_addr *out, const struct sockaddr *sa, socklen_t len)
{
    if (!out || !sa)
        return GS_EBADARG;
    if (len > sizeof out->sa)
        return gsi_fail(-EINVAL, "an address of %u bytes is longer than sockaddr_storage", len);
    gs_addr a = {.len = len};
    memcpy(&a.sa, sa, len);
    if (!gsi_addr_ok(&a))
        return gsi_fail(-EINVAL, "an address of family %d is not %u bytes long", a.sa.ss_family, len);
    if (a.sa.ss_family == AF_INET)
        a.len = sizeof(struct sockaddr_in);
    else if (a.sa.ss_family == AF_INET6)
        a.len = sizeof(struct sockaddr_in6);
    *out = a;
    return 0;
}

int gs_addr_special(gs_addr *out, int family, gs_addr_kind kind, uint16_t port)
{
    if (!out || kind < GS_ADDR_ANY || kind > GS_ADDR_BROADCAST)
        return GS_EBADARG;
    gs_addr a = {0};
    if (family == AF_INET) {
        static const in_addr_t value[] = {INADDR_ANY, INADDR_LOOPBACK, INADDR_BROADCAST};
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(value[kind])};
        memcpy(&a.sa, &in, a.len = sizeof in);
    } else if (family == AF_INET6) {
        if (kind == GS_ADDR_BROADCAST)
            return gsi_fail(-EINVAL, "inet6 has no broadcast address; multicast takes its place");
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port),
                                   .sin6_addr = kind == GS_ADDR_ANY ? in6addr_any : in6addr_loopback};
        memcpy(&a.sa, &in6, a.len = sizeof in6);
    } else {
        return gsi_fail(-EAFNOSUPPORT, "only inet and inet6 have any, loopback and broadcast addresses");
    }
    *out = a;
    return 0;
}

int gs_addr_local(gs_addr *out, const void *path, size_t n)
{
    if (!out || (!path && n > 0))
        return GS_EBADARG;
    if (n > PATH_MAX_LEN)
        return gsi_fail(-ENAMETOOLONG, "a local address of %zu bytes: at most %d fit", n, (int)PATH_MAX_LEN);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (n > 0)
        memcpy(un.sun_path, path, n);
    bool is_path = n > 0 && un.sun_path[0] != '\0';
    if (is_path && memchr(un.sun_path, '\0', n))
        return gsi_fail(-EINVAL, "a path cannot hold a NUL");
    gs_addr a = {.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)};
    /* unix(7): a path's length counts its NUL where there is room for one; an abstract name has none. */
    if (is_path && n < PATH_MAX_LEN)
        a.len++;
    memcpy(&a.sa, &un, sizeof un);
    *out = a;
    return 0;
}

int gs_addr_family(const gs_addr *a) { return gsi_addr_ok(a) ? a->sa.ss_family : GS_EBADARG; }

int gs_addr_port(const gs_addr *a)
{
    if (!gsi_addr_ok(a))
        return GS_EBADARG;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    switch (a->sa.ss_family) {
    case AF_INET:
        memcpy(&in, &a->sa, sizeof in);
        return ntohs(in.sin_port);
    case AF_INET6:
        memcpy(&in6, &a->sa, sizeof in6);
        return ntohs(in6.sin6_port);
    default:
        return 0;
    }
}

int gs_addr_set_port(gs_addr *a, uint16_t port)
{
    if (!gsi_addr_ok(a))
        return GS_EBADARG;
    in_port_t wire = htons(port);
    size_t at;
    switch (a->sa.ss_family) {
    case AF_INET:
        at = offsetof(struct sockaddr_in, sin_port);
        break;
    case AF_INET6:
        at = offsetof(struct sockaddr_in6, sin6_port);
        break;
    default:
        return gsi_fail(-EAFNOSUPPORT, "addresses of family %d have no port", a->sa.ss_family);
    }
    memcpy((uint8_t *)&a->sa + at, &wire, sizeof wire);
    return 0;
}

gs_bytes gs_addr_path(const gs_addr *a)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    if (!gsi_addr_ok(a) || a->sa.ss_family != AF_UNIX || a->len <= head)
        return (gs_bytes){0};
    const uint8_t *p = (const uint8_t *)&a->sa + head;
    size_t n = a->len - head;
    return (gs_bytes){p, p[0] == 0 ? n : strnlen((const char *)p, n)};
}

static bool same_bytes(const void *a, size_t a_n, const void *b, size_t b_n)
{
    return a_n == b_n && (a_n == 0 || memcmp(a, b, a_n) == 0);
}

bool gs_addr_equal(const gs_addr *a, const gs_addr *b)
{
    if (!gsi_addr_ok(a) || !gsi_addr_ok(b) || a->sa.ss_family != b->sa.ss_family)
        return false;
    switch (a->sa.ss_family) {
    case AF_INET: {
        struct sockaddr_in x, y;
        memcpy(&x, &a->sa, sizeof x);
        memcpy(&y, &b->sa, sizeof y);
        return x.sin_port == y.sin_port && x.sin_addr.s_addr == y.sin_addr.s_addr;
    }
    case AF_INET6: {
        struct sockaddr_in6 x, y;
        memcpy(&x, &a->sa, sizeof x);
        memcpy(&y, &b->sa, sizeof y);
        return x.sin6_port == y.sin6_port && x.sin6_scope_id == y.sin6_scope_id &&
               memcmp(&x.sin6_addr, &y.sin6_addr, sizeof x.sin6_addr) == 0;
    }
    case AF_UNIX: {
        gs_bytes x = gs_addr_path(a), y = gs_addr_path(b);
        return same_bytes(x.p, x.n, y.p, y.n);
    }
    default:
        return same_bytes(&a->sa, a->len, &b->sa, b->len);
    }
}
