/* gensock/net.h: addresses, names and interfaces: Erlang's `net` module, and the address type of every other header.
 *
 *     gs_addr a;
 *     if (gs_addr_parse(&a, "[fe80::1%eth0]:80") < 0)
 *         fprintf(stderr, "%s\n", gs_error_detail(GS_EFORMAT));
 *     char text[GS_ADDR_TEXT_MAX];
 *     gs_addr_text(&a, text, sizeof text);
 *
 * Names are looked up by the C library on at most four threads of our own ("gs-resolver"), made when needed and gone after
 * ten idle seconds, so a slow name server costs a caller its timeout and no more. The C library and not a resolver of our
 * own, because then a name means here what it means to every other program of the machine (/etc/hosts, nsswitch.conf, mDNS,
 * LDAP), and the core depends on libc only. What that costs: a look-up that nobody waits for any more runs to its end in
 * the background, and holds one of the four threads until then.
 *
 * After fork the child has no such threads: it may exec or free, as for the rest of the library.
 * Every function may be called from any thread. Those on addresses never block; the others say how long they may.
 */
#ifndef GENSOCK_NET_H
#define GENSOCK_NET_H

#include <gensock/error.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- addresses ---------------------------------------------------------------------------------------------------- */

/* A socket address of any family: inet, inet6 (scope and flow included), local (a path, an abstract name, or unnamed), and
 * every other one as bytes. It holds no pointer: copy it freely. bind, connect and sendto take (const struct sockaddr
 * *)&a.sa with a.len. A zeroed one is none (len 0). */
typedef struct {
    socklen_t len; /* how much of sa is in use; 0 = none */
    struct sockaddr_storage sa;
} gs_addr;

typedef enum { GS_ADDR_ANY, GS_ADDR_LOOPBACK, GS_ADDR_BROADCAST } gs_addr_kind;

/* Room for every text that gs_addr_text can write, the NUL included. */
enum { GS_ADDR_TEXT_MAX = 512 };

/* Reads a numeric address; never a name. The forms:
 *
 *     1.2.3.4:80          inet; without ":80" the port is 0
 *     [fe80::1%eth0]:80   inet6; the scope is an interface's name or index; without ":80" the port is 0
 *     [::1]:80?flow=0x5   with flow information (RFC 3493 §3.3), in hexadecimal
 *     :80                 any address of inet, as gen_tcp's default is; [::]:80 is any address of inet6
 *     any:80 loopback:80 broadcast:80     of inet, Erlang's words
 *     /tmp/s ./s ../s     local, a path; local:s is the path "s"; local: alone is unnamed
 *     @name               local, an abstract name (Linux)
 *     raw:17:00ff         any other family by number, the bytes behind sa_family in hexadecimal
 *
 * In paths and names \xHH is a byte and \\ a backslash. An inet6 address without brackets is refused, as "::1:80" would mean
 * an address; gs_addr_ip takes one. 0 and *out; GS_EFORMAT: not an address; -ENODEV: no interface of that name;
 * -ENAMETOOLONG: the path or name does not fit; GS_EBADARG: a NULL. On failure *out is unchanged and the detail says what is
 * wrong where. */
GS_API GS_MUST_USE int gs_addr_parse(gs_addr *out, const char *text);

/* An IP address alone, "1.2.3.4", "::1" or "fe80::1%eth0", with a port: inet:parse_strict_address/1. Codes as
 * gs_addr_parse's. */
GS_API GS_MUST_USE int gs_addr_ip(gs_addr *out, const char *ip, uint16_t port);

/* any, loopback or broadcast of AF_INET, any or loopback of AF_INET6. 0; -EAFNOSUPPORT: another family; -EINVAL: inet6 has
 * no broadcast; GS_EBADARG. */
GS_API GS_MUST_USE int gs_addr_special(gs_addr *out, int family, gs_addr_kind kind, uint16_t port);

/* A local address of n bytes, as Erlang's `path`: a first byte of 0 makes it an abstract name (1 + at most 107 bytes, any
 * bytes), n = 0 unnamed, else a path (at most 108 bytes, no NUL; Linux takes 108, most other systems 103 or 107). 0;
 * -ENAMETOOLONG; -EINVAL: a NUL inside a path; GS_EBADARG. */
GS_API GS_MUST_USE int gs_addr_local(gs_addr *out, const void *path, size_t n);

/* A copy of what the kernel or another library gave; any family. 0; -EINVAL: too short or too long for its
 * family, or longer than sockaddr_storage; GS_EBADARG. */
GS_API GS_MUST_USE int gs_addr_make(gs_addr *out, const struct sockaddr *sa, socklen_t len);

/* The text, as gs_addr_parse reads it back to an equal address. Like snprintf: answers the length without the NUL, writes at
 * most cap bytes with it (buf may be NULL when cap is 0). Always printable ASCII, whatever bytes a peer chose for its path.
 * A scope is written as the name that the interface has in the calling thread's network namespace, else as its index.
 * GS_EBADARG: a is NULL, none or malformed (buf is then ""). */
GS_API int gs_addr_text(const gs_addr *a, char *buf, size_t cap);

/* AF_INET, AF_INET6, AF_UNIX …; GS_EBADARG: NULL, none or malformed. */
GS_API int gs_addr_family(const gs_addr *a);
/* 0..65535; 0 also for a family that has no ports, as Erlang does for local; GS_EBADARG: NULL, none or malformed. */
GS_API int gs_addr_port(const gs_addr *a);
/* 0; -EAFNOSUPPORT: the family has no ports; GS_EBADARG. */
GS_API int gs_addr_set_port(gs_addr *a, uint16_t port);
/* The bytes of a local address: a path, or an abstract name with its leading NUL; empty when unnamed or of another family.
 * A view into *a. */
GS_API gs_bytes gs_addr_path(const gs_addr *a);
/* Whether both name the same end point: family, address, port and scope, or path; padding and flow do not count. Two
 * unnamed ones are equal. False with NULL, none or malformed. */
GS_API bool gs_addr_equal(const gs_addr *a, const gs_addr *b);

/* ---- names (net:gethostname/0, getaddrinfo/2, getnameinfo/2) -------------------------------------------------------- */

/* This machine's name, as snprintf writes: answers its length. -ENAMETOOLONG: cap is too small (buf is ""); GS_EBADARG. */
GS_API GS_MUST_USE int gs_gethostname(char *buf, size_t cap);

/* What to look for; zeroed (or a NULL pointer) means anything. */
typedef struct {
    int family;        /* AF_INET, AF_INET6, or 0: both */
    int type;          /* SOCK_STREAM …, or 0: each */
    int protocol;      /* IPPROTO_TCP …, or 0: each */
    bool passive;      /* host NULL: the any address, to bind to, and not loopback */
    const char *netns; /* ask from inside this network namespace (a path such as /run/netns/blue); NULL: where we are */
} gs_hints;

typedef struct {
    int family, type, protocol;
    gs_addr addr;
} gs_addrinfo;

/* Looks up a host (a name or a numeric address; NULL: this machine) and a service ("http", "80", NULL: port 0; one of both
 * may be NULL), and answers how many addresses there are (at least 1, at most GS_ADDRINFO_MAX, in the order to try them),
 * *out being an array of that many, which gs_addrinfo_free gives back.
 *
 * Blocks up to timeout_ms; a numeric host with a numeric service never does. 0 tries once: what would need a look-up answers
 * GS_ETIMEOUT. An answer that comes later is dropped.
 *   GS_ENXDOMAIN  the name does not exist, or has no address of this family
 *   GS_ETIMEOUT   no answer in time
 *   -EAGAIN       the name server failed for now (EAI_AGAIN): the same call may succeed later
 *   -EIO          the name server failed for good (EAI_FAIL)
 *   GS_EFORMAT    not a host name (empty, too long, forbidden bytes), or no such service for this type (EAI_SERVICE)
 *   GS_ESYSLIMIT  256 look-ups are waiting already, or no thread could be made
 *   -EAFNOSUPPORT, -ESOCKTNOSUPPORT  family, type or protocol do not exist (together)
 *   -ENOENT, -EPERM, -EINVAL  the namespace cannot be opened, entered, is none
 *   GS_EBADARG    out NULL, both names NULL, timeout_ms negative and not GS_INFINITY (GS_NOWAIT has no meaning here)
 *   GS_EABORTED   the process is ending
 *   -ENOMEM, and any other -errno of the C library (EAI_SYSTEM) */
enum { GS_ADDRINFO_MAX = 256 };
GS_API GS_MUST_USE int gs_getaddrinfo(const char *host, const char *service, const gs_hints *hints, int timeout_ms,
                                      gs_addrinfo **out);
GS_API void gs_addrinfo_free(gs_addrinfo *list); /* NULL is allowed */

typedef struct {
    char host[1025];
    char service[32];
} gs_nameinfo;

/* The name of an inet or inet6 address and of its port; the numbers where there is no name. flags: NI_* of <netdb.h>:
 * NI_NUMERICHOST, NI_NUMERICSERV, NI_NAMEREQD (no name is GS_ENXDOMAIN), NI_DGRAM, NI_NOFQDN. Blocks up to timeout_ms;
 * with both NUMERIC flags never. 0, and the codes of gs_getaddrinfo; -EAFNOSUPPORT: another family. What a name server says
 * is not proof of who somebody is. */
GS_API GS_MUST_USE int gs_getnameinfo(const gs_addr *a, int flags, int timeout_ms, gs_nameinfo *out);

/* ---- interfaces (net:getifaddrs/2, if_names/0 …) -------------------------------------------------------------------- */

/* One address of an interface; an interface without addresses of the wanted family has none. */
typedef struct {
    char name[16];
    unsigned flags;    /* IFF_UP … of <net/if.h> */
    gs_addr addr;      /* each of these is none (len 0) where the kernel has none */
    gs_addr netmask;
    gs_addr broadaddr; /* with IFF_BROADCAST */
    gs_addr dstaddr;   /* with IFF_POINTOPOINT: the far end */
} gs_ifaddr;

/* A snapshot of all addresses of family AF_INET, AF_INET6 or AF_PACKET (0: all) in the network namespace at path netns
 * (NULL: the calling thread's). Answers how many; *out is an array of that many (NULL when 0), which gs_ifaddrs_free gives
 * back. Asks the kernel only. GS_EBADARG: out NULL; -ENOMEM; -EMFILE …; a namespace's codes as gs_getaddrinfo's. */
GS_API GS_MUST_USE int gs_getifaddrs(int family, const char *netns, gs_ifaddr **out);
GS_API void gs_ifaddrs_free(gs_ifaddr *list); /* NULL is allowed */

typedef struct {
    unsigned index;
    char name[16];
} gs_if_name;

/* All interfaces of the calling thread's network namespace, up or down, by index. Answers how many; *out as above, given
 * back with gs_if_names_free. */
GS_API GS_MUST_USE int gs_if_names(gs_if_name **out);
GS_API void gs_if_names_free(gs_if_name *list); /* NULL is allowed */

/* The index (1 …) of an interface. -ENODEV: there is none of this name; GS_EBADARG: NULL. */
GS_API GS_MUST_USE int gs_if_name2index(const char *name);
/* The name of an interface, as snprintf writes: answers its length. -ENXIO: there is none; -ENAMETOOLONG: cap is too small
 * (16 is enough); GS_EBADARG. */
GS_API GS_MUST_USE int gs_if_index2name(unsigned index, char *buf, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
