/* gensock/socket.h: Erlang's `socket` module: the sockets of POSIX with timeouts, select messages and safe handles.
 *
 *     gs_socket s;
 *     gs_addr to;
 *     char buf[512];
 *     if (gs_socket_open(&s, AF_INET, SOCK_STREAM, 0, NULL) == 0 && gs_addr_parse(&to, "127.0.0.1:7") == 0 &&
 *         gs_socket_connect(s, &to, GS_MS(5000)) == 0 && gs_socket_send(s, "hello", 5, 0, GS_MS(1000)) == 5)
 *         n = gs_socket_recv(s, buf, sizeof buf, 0, GS_MS(1000));
 *     gs_socket_close(s);
 *
 * Everything that the kernel has can be used: domain, type and protocol are plain integers, flags are the MSG_ ones, options
 * are named ("ip:tos") or native. Sockets are non-blocking and close-on-exec inside; it is the calls that wait. None raises
 * SIGPIPE.
 *
 * Waiting. A call that may wait takes a gs_wait (NULL: for ever). Callers of the same direction (recv, send, accept, connect)
 * stand in a queue in the order they came, from whatever thread, blocking and nowait alike: nobody overtakes. A call with
 * timeout 0 is tried only when nobody is before it. Closing a socket ends every wait on it with GS_ECLOSED.
 *
 * Nowait. A call with GS_NOWAIT that cannot be done answers GS_ESELECT and fills wait.info; when it is its turn and the socket
 * is ready, its mailbox gets one GS_MSG_SELECT with the reference, and the call is to be made again, soon: its place at the
 * head of the queue is kept until then, or until gs_socket_cancel. Whoever calls with the same gs_wait or reference, with a
 * GS_NOWAIT that names the same mailbox, or in that mailbox's turn continues it. When the socket closes first, or the
 * mailbox cannot watch it, a GS_MSG_ABORT with the reference and the error comes instead: one message for each wait.
 *
 * Threads: every call, any thread, at any time. Every call may answer GS_ECLOSED (the handle was closed) and GS_EBADARG (not a
 * socket; a NULL that must not be; a wait that is none); this is not repeated below, nor that any -errno of the system call may
 * come.
 */
#ifndef GENSOCK_SOCKET_H
#define GENSOCK_SOCKET_H

#include <gensock/error.h>
#include <gensock/net.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GS_NO_SOCKET ((gs_socket){0})

/* ---- waiting -------------------------------------------------------------------------------------------------------- */

/* Erlang's SelectInfo: names one pending nowait call. */
typedef struct {
    gs_socket socket;
    uint64_t ref; /* 0: nothing is pending */
    int op;       /* the library's */
} gs_select;

/* How a call may wait. Zeroed it tries once. */
typedef struct {
    int timeout_ms; /* >= 0, GS_INFINITY or GS_NOWAIT */
    gs_mailbox to;  /* GS_NOWAIT: where the message goes */
    uint64_t ref;   /* GS_NOWAIT: its reference; 0 = make one */
    gs_select info; /* out: what is pending after GS_ESELECT or a short count; else its ref is 0. In: the wait to continue */
    size_t done;    /* out: bytes that a call moved before it failed */
} gs_wait;

/* gs_socket_recv(s, buf, n, 0, GS_MS(500)); lives to the end of the block. */
#define GS_MS(ms) (&(gs_wait){.timeout_ms = (ms)})

/* socket:cancel/2: takes a pending call out of its queue, and its select message back if that was not received yet;
 * whoever is next gets its turn. 0; GS_EINVALID: no such call is pending; GS_ECLOSED. Never a POSIX code. A cancelled
 * connect goes on in the kernel. */
GS_API int gs_socket_cancel(gs_socket s, const gs_select *info);

/* ---- opening, naming, ending ---------------------------------------------------------------------------------------- */

typedef enum { GS_FD_DUP, GS_FD_BORROW, GS_FD_TAKE } gs_fd_use;

/* Zeroed (or a NULL pointer) means the defaults. */
typedef struct {
    const char *netns;          /* make the socket in this network namespace (a path such as /run/netns/blue) */
    const char *bind_to_device; /* an interface's name; as the option socket:bindtodevice, before anything else */
    gs_mailbox owner;           /* as the option otp:controlling_process; none at first */
    bool debug;                 /* as the option otp:debug */
    int use_registry;           /* > 0: the registry has it, < 0: not, 0: as gs_use_registry says */
    gs_fd_use fd_use;           /* gs_socket_open_fd: use a duplicate; borrow it, which leaves it open at close; or take it,
                                   which closes it also when the call fails */
} gs_socket_opts;

/* socket:open/4. Domain AF_INET, AF_INET6, AF_UNIX or any other number; type SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET …
 * without flags; protocol IPPROTO_TCP …, 0 = the default one. 0 and *out; -EMFILE, -ENFILE; -EAFNOSUPPORT,
 * -EPROTONOSUPPORT, -ESOCKTNOSUPPORT; -EPERM, -EACCES; -ENOENT, -ENODEV: namespace, interface; -EINVAL: a flag in
 * type; -ENOMEM. The detail says more. */
GS_API GS_MUST_USE int gs_socket_open(gs_socket *out, int domain, int type, int protocol, const gs_socket_opts *opts);
/* socket:open/2 on an existing descriptor, whose domain, type and protocol are asked of the kernel. It becomes
 * non-blocking (for every holder of it, as the kernel has it). 0; -EBADF, -ENOTSOCK, -EMFILE, -ENOMEM. */
GS_API GS_MUST_USE int gs_socket_open_fd(gs_socket *out, int fd, const gs_socket_opts *opts);

/* socket:bind/2. The port that is bound now (port 0 makes the kernel choose), 0 for families without ports; -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES, -EINVAL. */
GS_API GS_MUST_USE int gs_socket_bind(gs_socket s, const gs_addr *a);
/* socket:listen/2. */
GS_API GS_MUST_USE int gs_socket_listen(gs_socket s, int backlog);

/* socket:accept/2: the next connection, *out, without owner. 0; GS_ETIMEOUT, GS_ESELECT. After an error that
 * gs_error_is_transient the listener still stands, and after -EMFILE or -ENFILE the connection is still queued. */
GS_API GS_MUST_USE int gs_socket_accept(gs_socket s, gs_socket *out, gs_wait *w);

/* socket:connect/3, and with `to` NULL connect/1: finishes a connect that a nowait, a timeout or a cancel left behind.
 * 0; GS_ETIMEOUT (it goes on in the kernel), GS_ESELECT; -ECONNREFUSED, -ENETUNREACH, -ETIMEDOUT …; -EALREADY: another
 * caller's connect is under way; GS_EINVALID: NULL, and none is; with GS_NOWAIT -EAGAIN: a local listener's backlog is
 * full, of which the kernel tells no readiness. */
GS_API GS_MUST_USE int gs_socket_connect(gs_socket s, const gs_addr *to, gs_wait *w);

/* socket:shutdown/2: SHUT_RD, SHUT_WR or SHUT_RDWR (gs_how has the same values). -ENOTCONN. */
GS_API int gs_socket_shutdown(gs_socket s, int how);
/* socket:close/1. Ends every wait, then closes the descriptor: with socket:linger on and data unsent this call waits,
 * up to linger's seconds. Afterwards the port is free. 0; GS_ECLOSED: it was closed already; -EIO …: closed, but the
 * kernel complained. */
GS_API int gs_socket_close(gs_socket s);

/* socket:sockname/1, peername/1. -ENOTCONN. */
GS_API GS_MUST_USE int gs_socket_sockname(gs_socket s, gs_addr *out);
GS_API GS_MUST_USE int gs_socket_peername(gs_socket s, gs_addr *out);

/* socket:monitor/1: when the socket closes `to` gets a GS_MSG_DOWN with *ref and error GS_ECLOSED. 0; GS_EBADARG: no
 * such mailbox; -ENOMEM. cancel_monitor: 0; GS_EINVALID: no such monitor; GS_ECLOSED: it went off. */
GS_API GS_MUST_USE int gs_socket_monitor(gs_socket s, gs_mailbox to, uint64_t *ref);
GS_API int gs_socket_cancel_monitor(gs_socket s, uint64_t ref);

/* ---- sending -------------------------------------------------------------------------------------------------------- */

/* socket:send/4. The bytes sent. On a stream all n are waited for; fewer means that the time was over or an error came
 * (the next call tells it), or with GS_NOWAIT that the rest is to be sent after the select message: w->info is set
 * then. Other types send whole packets. GS_ETIMEOUT, GS_ESELECT: nothing was sent; -EPIPE, -ECONNRESET: the peer is
 * gone; -EMSGSIZE. With GS_NOWAIT -EAGAIN: an unconnected local datagram socket's peer is full, of which the kernel
 * tells no readiness. */
GS_API GS_MUST_USE ssize_t gs_socket_send(gs_socket s, const void *p, size_t n, int flags, gs_wait *w);
/* socket:sendto/5. */
GS_API GS_MUST_USE ssize_t gs_socket_sendto(gs_socket s, const void *p, size_t n, const gs_addr *to, int flags, gs_wait *w);

/* A message. Where recvmsg fills it in: */
typedef struct {
    gs_addr *addr;      /* whence (out), where to (in); NULL: not wanted, the connected peer */
    struct iovec *iov;
    int iovcnt;         /* <= 1024 */
    void *control;      /* control messages, see below; any alignment */
    size_t control_len; /* sendmsg: bytes of them; recvmsg: in the room, out the bytes */
    int flags;          /* recvmsg, out: MSG_TRUNC, MSG_CTRUNC, MSG_EOR, MSG_OOB, MSG_ERRQUEUE */
} gs_msghdr;

/* socket:sendmsg/4. As gs_socket_send; control messages go with the first byte. -EINVAL: iovcnt, or more control bytes
 * than otp:sndctrlbuf allows. */
GS_API GS_MUST_USE ssize_t gs_socket_sendmsg(gs_socket s, const gs_msghdr *m, int flags, gs_wait *w);

/* socket:sendfile/5: n bytes of a regular file from offset on (n 0: to its end); the file's own position stays. The bytes
 * sent; fewer than n also when the file ends; 0: it ends at or before offset. Else as gs_socket_send. */
GS_API GS_MUST_USE ssize_t gs_socket_sendfile(gs_socket s, int fd, off_t offset, size_t n, gs_wait *w);

/* ---- receiving ------------------------------------------------------------------------------------------------------ */

/* socket:recv/4. What there is, at most n bytes; with MSG_WAITALL exactly n of a stream: fewer means that the time was
 * over, the peer's end came, or with GS_NOWAIT that the rest follows after the select message (w->info is set).
 * MSG_PEEK, MSG_OOB and the others as recv(2). GS_ECLOSED also: the peer of a stream has ended its side (other types:
 * 0 is an empty packet, and at seqpacket the end too). GS_ETIMEOUT, GS_ESELECT; -ECONNRESET. */
GS_API GS_MUST_USE ssize_t gs_socket_recv(gs_socket s, void *p, size_t n, int flags, gs_wait *w);
/* socket:recvfrom/4. from may be NULL. With MSG_TRUNC in flags the answer is the packet's real length. */
GS_API GS_MUST_USE ssize_t gs_socket_recvfrom(gs_socket s, void *p, size_t n, gs_addr *from, int flags, gs_wait *w);
/* socket:recvmsg/5. Received descriptors are the caller's, and close-on-exec. */
GS_API GS_MUST_USE ssize_t gs_socket_recvmsg(gs_socket s, gs_msghdr *m, int flags, gs_wait *w);

/* ---- values of options and control messages ------------------------------------------------------------------------- */

typedef enum {
    GS_VALUE_INT = 1, /* i: integers, booleans, enums */
    GS_VALUE_LINGER,  /* linger */
    GS_VALUE_TIME,    /* us: a struct timeval as microseconds */
    GS_VALUE_TEXT,    /* text */
    GS_VALUE_ADDR,    /* addr; its port has no meaning */
    GS_VALUE_MREQ,    /* mreq; set only */
    GS_VALUE_BYTES,   /* bytes: get: in the room, out the size */
    GS_VALUE_BUFFER,  /* buffer: otp:rcvbuf */
    GS_VALUE_MAILBOX, /* mailbox */
    GS_VALUE_PTR,     /* ptr */
    GS_VALUE_CRED,    /* cred */
    GS_VALUE_PKTINFO, /* pktinfo */
    GS_VALUE_FDS,     /* fds: set only; gs_cmsg_fds reads them */
    GS_VALUE_ERROR    /* error: of the error queue */
} gs_value_kind;

typedef struct {
    gs_value_kind kind;
    union {
        int64_t i;
        struct { bool on; int seconds; } linger;
        int64_t us;
        char text[64];
        gs_addr addr;
        struct { const gs_addr *group, *source, *interface; unsigned ifindex; } mreq; /* NULL, 0: it has none */
        struct { void *p; size_t n; } bytes;
        struct { unsigned count; size_t size; } buffer; /* count is kept and has no effect */
        gs_mailbox mailbox;
        void *ptr;
        struct { pid_t pid; uid_t uid; gid_t gid; } cred;
        struct { unsigned ifindex; gs_addr addr, local; } pktinfo; /* addr: the packet's; local: ip only, our own */
        struct { const int *fd; size_t n; } fds;
        struct { int error, origin, type, code; uint32_t info, data; gs_addr offender; } error; /* error as -errno */
    } v;
} gs_value;

#define GS_VALUE_OF_INT(x) (&(gs_value){.kind = GS_VALUE_INT, .v.i = (x)}) /* lives to the end of the block */

/* ---- options -------------------------------------------------------------------------------------------------------- */

/* socket:setopt/3, getopt/2. An option is "level:name" with Erlang's words: the levels are otp, socket, ip, ipv6, tcp,
 * udp and sctp; gs_supports("options", …) lists them. setopt: value->kind must be the option's (GS_VALUE_INT for
 * booleans, enums and numbers). getopt sets *value whole, but for GS_VALUE_BYTES options, which fill value->v.bytes.
 * 0; GS_EINVALID: no such option (the detail says so); -ENOPROTOOPT: not on this system, or not this way round;
 * -EINVAL: the value. The otp level:
 *   debug (a trace of the calls on stderr), meta (a pointer of the caller's), fd (get), controlling_process (the
 *     mailbox that owns the socket, and with whose end it closes; none at first; GS_ENOTOWNER: another mailbox's turn
 *     owns it), rcvbuf (the most that one recv or recvfrom without MSG_WAITALL takes), rcvctrlbuf, sndctrlbuf (the most control
 *     bytes of one message; all three: 0 = no limit, the default), use_registry (get), iow (kept and given back:
 *     counters of 64 bits do not wrap). */
GS_API GS_MUST_USE int gs_socket_setopt(gs_socket s, const char *option, const gs_value *value);
GS_API GS_MUST_USE int gs_socket_getopt(gs_socket s, const char *option, gs_value *value);

/* socket:setopt_native/3, getopt_native/3: level, number and bytes as setsockopt(2) has them. *n: in the room, out the
 * size. */
GS_API GS_MUST_USE int gs_socket_setopt_native(gs_socket s, int level, int number, const void *p, socklen_t n);
GS_API GS_MUST_USE int gs_socket_getopt_native(gs_socket s, int level, int number, void *p, socklen_t *n);

/* ---- control messages ----------------------------------------------------------------------------------------------- */

typedef struct {
    int level, type;
    gs_bytes data; /* into the control buffer; of any alignment */
} gs_cmsg;

/* Walks over the control messages of a received message: *at is 0 at first. False: there are no more. */
GS_API bool gs_cmsg_next(const gs_msghdr *m, size_t *at, gs_cmsg *out);
/* Appends one to m->control, whose size is room; m->control_len counts what is in it. 0; -EMSGSIZE: no room. */
GS_API GS_MUST_USE int gs_cmsg_put(gs_msghdr *m, size_t room, int level, int type, const void *p, size_t n);

/* The typed form: "ip:tos", "ip:ttl", "ip:pktinfo", "ip:origdstaddr", "ip:recverr", "ipv6:tclass", "ipv6:hoplimit",
 * "ipv6:pktinfo", "ipv6:recverr", "socket:timestamp", "socket:rights", "socket:credentials". add: 0; -EMSGSIZE;
 * GS_EINVALID: no such name, or another kind of value. value: the name; NULL: unknown or malformed, take c->data. */
GS_API GS_MUST_USE int gs_cmsg_add(gs_msghdr *m, size_t room, const char *name, const gs_value *value);
GS_API const char *gs_cmsg_value(const gs_cmsg *c, gs_value *value);
/* Copies the descriptors of a "socket:rights": how many there are; GS_EINVALID: it is another message, or cap is too
 * small. */
GS_API GS_MUST_USE int gs_cmsg_fds(const gs_cmsg *c, int *out, size_t cap);

/* ---- what there is -------------------------------------------------------------------------------------------------- */

enum { GS_SOCKET_BOUND = 1, GS_SOCKET_LISTENING = 2, GS_SOCKET_CONNECTING = 4, GS_SOCKET_CONNECTED = 8 };

typedef struct {
    int domain, type, protocol, fd; /* fd: for looking at only */
    gs_mailbox owner;
    unsigned state;                 /* GS_SOCKET_ bits */
    size_t readers, writers, acceptors, connectors; /* calls that wait */
    uint64_t read_byte, read_pkg, read_pkg_max, read_tries, read_waits, read_fails;
    uint64_t write_byte, write_pkg, write_pkg_max, write_tries, write_waits, write_fails; /* sendfile included */
    uint64_t sendfile_byte, sendfile_tries, sendfile_fails;
    uint64_t acc_success, acc_tries, acc_waits, acc_fails;
} gs_socket_info_t;
/* socket:info/1. */
GS_API GS_MUST_USE int gs_socket_info(gs_socket s, gs_socket_info_t *out);

typedef struct {
    bool use_registry;
    size_t num_sockets; /* all, those outside the registry too; then by what they are */
    size_t num_inet, num_inet6, num_local, num_stream, num_dgram, num_seqpacket, num_tcp, num_udp, num_sctp;
} gs_info_t;
/* socket:info/0. */
GS_API GS_MUST_USE int gs_info(gs_info_t *out);

/* All that are set must hold; a zeroed one (or a NULL pointer) lets everything through. keep is called with no lock
 * held. */
typedef struct {
    int domain, type, protocol; /* 0: any */
    gs_mailbox owner;           /* none: any */
    bool (*keep)(gs_socket s, const gs_socket_info_t *info, void *arg);
    void *arg;
} gs_socket_filter;
/* socket:which_sockets/1: the sockets in the registry that pass. Answers how many there are, and writes at most cap of
 * them. */
GS_API size_t gs_which_sockets(const gs_socket_filter *filter, gs_socket *out, size_t cap);
/* socket:number_of/0: how many the registry has. */
GS_API size_t gs_number_of_sockets(void);
/* socket:use_registry/1: whether sockets opened from now on are registered (true at first). Answers what it was. */
GS_API bool gs_use_registry(bool use);

/* socket:is_supported/1,2: gs_is_supported("ipv6", NULL), ("msg_flags", "eor"), ("protocols", "sctp"), ("options",
 * "ip:tos"), ("cmsgs", "ip:pktinfo"). False for what is unknown. The first asks make a socket to see, and remember. */
GS_API bool gs_is_supported(const char *what, const char *name);
typedef struct {
    const char *name; /* static */
    bool supported;
} gs_support;
/* socket:supports/0,1: what is NULL, "msg_flags", "protocols", "options" or "cmsgs". Answers how many there are (0 for
 * another word), and writes at most cap of them. */
GS_API size_t gs_supports(const char *what, gs_support *out, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
