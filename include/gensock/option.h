/* gensock/option.h: the options of listen, connect, accept, setopts and getopts: one list type, Erlang's names.
 *
 *     gs_stream_listen(&l, "tcp://:0", GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(NODELAY, true)), owner);
 *
 * A list ends with GS_OPT_END. It is applied in order (ip, ifaddr and port depend on it) and validated whole before anything
 * changes. NULL is the empty list. The library copies what it keeps. docs/options.md has one row for each option: type,
 * default, where it applies, and for those of gen_tcp that have no meaning in C the reason.
 */
#ifndef GENSOCK_OPTION_H
#define GENSOCK_OPTION_H

#include <gensock/error.h>
#include <gensock/net.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    GS_OPT_END = 0,
    /* of the stream itself */
    GS_OPT_ACTIVE,             /* GS_ACTIVE_FALSE, _TRUE, _ONCE, or -32768..32767 = {active, N} */
    GS_OPT_ACCEPT,             /* listener with an owner: GS_ACTIVE_FALSE, _TRUE, _ONCE or N accept messages */
    GS_OPT_PACKET,             /* gs_packet_type */
    GS_OPT_PACKET_SIZE,        /* bytes; 0 = no limit */
    GS_OPT_LINE_DELIMITER,     /* 0..255 */
    GS_OPT_HEADER,             /* bytes that come in gs_packet.header instead of .data */
    GS_OPT_BUFFER,             /* bytes; the longest line delivered in one piece */
    GS_OPT_DELAY_SEND,         /* bool */
    GS_OPT_SEND_MODE,          /* GS_SEND_QUEUED or GS_SEND_DIRECT */
    GS_OPT_SEND_TIMEOUT,       /* ms, GS_INFINITY or GS_NOWAIT */
    GS_OPT_SEND_TIMEOUT_CLOSE, /* bool */
    GS_OPT_HANDSHAKE_TIMEOUT,  /* ms or GS_INFINITY, for the layers' handshakes; 10,000 */
    GS_OPT_HIGH_WATERMARK,     /* bytes */
    GS_OPT_LOW_WATERMARK,      /* bytes */
    GS_OPT_EXIT_ON_CLOSE,      /* bool */
    GS_OPT_SHOW_ECONNRESET,    /* bool */
    GS_OPT_DEBUG,              /* v.debug: a trace of this stream's calls and messages */
    GS_OPT_USER,               /* v.ptr: the pointer that every message of this stream carries */
    /* where it is opened */
    GS_OPT_FAMILY,             /* AF_INET, AF_INET6, AF_UNIX: Erlang's inet, inet6, local */
    GS_OPT_IP,                 /* v.addr: the local address; its port is not used */
    GS_OPT_IFADDR,             /* v.addr: the local address, port included */
    GS_OPT_PORT,               /* the local port of a connect */
    GS_OPT_FD,                 /* take this descriptor instead of making one; taken also on failure */
    GS_OPT_NETNS,              /* v.s: path of a network namespace */
    GS_OPT_BIND_TO_DEVICE,     /* v.s */
    GS_OPT_BACKLOG,            /* listen; 5 */
    /* of the kernel's socket */
    GS_OPT_LINGER,             /* v.linger */
    GS_OPT_NODELAY,
    GS_OPT_KEEPALIVE,
    GS_OPT_PRIORITY,
    GS_OPT_RECBUF,
    GS_OPT_SNDBUF,
    GS_OPT_REUSEADDR,
    GS_OPT_REUSEPORT,
    GS_OPT_REUSEPORT_LB,
    GS_OPT_TOS,
    GS_OPT_TCLASS,
    GS_OPT_TTL,
    GS_OPT_RECVTOS,
    GS_OPT_RECVTCLASS,
    GS_OPT_RECVTTL,
    GS_OPT_PKTOPTIONS,         /* get only: v.bin gets native control messages */
    GS_OPT_IPV6_V6ONLY,
    GS_OPT_DONTROUTE,
    GS_OPT_RAW,                /* v.raw */
    /* accepted, kept and given back, without effect: docs/options.md says why */
    GS_OPT_DELIVER,
    GS_OPT_MODE,
    GS_OPT_EXCLUSIVEADDRUSE,
    GS_OPT_HIGH_MSGQ_WATERMARK,
    GS_OPT_LOW_MSGQ_WATERMARK,
    GS_OPT_COUNT,
    /* from here on they belong to transports: passed through to their slots unread; what they point to outlives the stream */
    GS_OPT_TRANSPORT = 1000,
    /* from here on as well, and v.s is a string that the library copies with the list */
    GS_OPT_TRANSPORT_STRING = 2000
} gs_opt_name;

enum { GS_ACTIVE_FALSE = 0x10000, GS_ACTIVE_TRUE, GS_ACTIVE_ONCE };
enum { GS_SEND_QUEUED, GS_SEND_DIRECT }; /* what Erlang's inet and socket backends do */

/* One line of a stream's trace. Called with no lock held, from the thread whose call is traced; may not call gensock. */
typedef void gs_debug_fn(void *arg, gs_stream s, const char *line);

typedef struct {
    int name; /* a gs_opt_name */
    union {
        int64_t i; /* integers, booleans, enums */
        const char *s;
        void *ptr;
        const gs_addr *addr;
        struct {
            bool on;
            int seconds;
        } linger;
        struct {
            int level, number;
            void *p;
            size_t n; /* getopts: in the room (and initial value), out the size */
        } raw;
        struct {
            void *p;
            size_t n; /* getopts: in the room, out the size */
        } bin;
        struct {
            gs_debug_fn *fn; /* NULL: off */
            void *arg;
        } debug;
    } v;
} gs_opt;

#define GS_OPTS(...) ((const gs_opt[]){__VA_ARGS__, {.name = GS_OPT_END}}) /* lives to the end of the block */
#define GS_INT(NAME, value) {.name = GS_OPT_##NAME, .v.i = (value)}
#define GS_STR(NAME, value) {.name = GS_OPT_##NAME, .v.s = (value)}

/* The kernel application's inet_default_listen_options and inet_default_connect_options: options put in front of every
 * later listen or connect of this process. The list is validated and copied; NULL clears it. 0, -EINVAL, -ENOMEM. Any thread. */
typedef enum { GS_CONNECT_DEFAULTS, GS_LISTEN_DEFAULTS } gs_defaults;
GS_API GS_MUST_USE int gs_set_default_opts(gs_defaults which, const gs_opt *opts);

/* An option from its Erlang name and a value's text: ("nodelay", "true"), ("active", "once"), ("packet", "4"),
 * ("linger", "true,5"), ("ip", "127.0.0.1"), ("raw", "6,1,01000000"). Storage that the value needs (addresses, bytes, copies
 * of strings) is allocated into the option: give it back with gs_opt_clear. 0; GS_EBADARG: no such name; -EINVAL: not a
 * value of it, the detail says what is wanted; -ENOMEM. */
GS_API GS_MUST_USE int gs_opt_parse(const char *name, const char *value, gs_opt *out);
GS_API void gs_opt_clear(gs_opt *o);
/* The text of an option's value, as gs_opt_parse reads it: like snprintf; GS_EBADARG for no option. */
GS_API int gs_opt_text(const gs_opt *o, char *buf, size_t cap);
/* The Erlang name ("send_timeout"), or NULL. */
GS_API const char *gs_opt_name_text(int name);

#ifdef __cplusplus
}
#endif
#endif
