/* gensock/transport.h: to extend the library: what carries the bytes of a stream.
 *
 * A transport is a static const table of slots, found by the scheme of an address. A base transport has connect, listen and
 * accept (tcp, unix, mem); a layer has upgrade and works over another transport (tls): "tls+unix:///s" is the layer tls
 * over the base unix, and "tls://host:443" is short for "tls+tcp://host:443". Anybody can register one of either kind:
 *
 *     static const struct gs_transport pigeon = {.size = sizeof pigeon, .scheme = "pigeon", .connect = …, .readv = …, …};
 *     gs_transport_register(&pigeon);
 *     gs_stream_connect(&s, "pigeon://loft", …);
 *
 * Rules for slots. They never block: what cannot be done now is -EAGAIN (or GS_EWANT_READ / GS_EWANT_WRITE where a slot
 * must wait for the other direction). They never call gs_stream_ or gs_mailbox_ functions. All calls for one connection come
 * one at a time, but readv and shutdown/writev may come from two threads at once. After close nothing is called any more.
 * Errors are -errno or GS_E codes; -EPIPE and -ECONNRESET mean the peer is gone.
 */
#ifndef GENSOCK_TRANSPORT_H
#define GENSOCK_TRANSPORT_H

#include <gensock/error.h>
#include <gensock/net.h>
#include <gensock/option.h>
#include <gensock/peer.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GS_T_SECURE = 1,        /* gs_stream_secure answers true */
    GS_T_HOST = 2,          /* the address is host:port: the library resolves it and calls connect per address */
    GS_T_KERNEL = 4,        /* ctx's descriptor is a kernel socket: the kernel's options apply to it directly */
    GS_T_NO_HALF_CLOSE = 8, /* shutdown(write) is -ENOTSUP */
};

#define GS_EWANT_READ (-1101)
#define GS_EWANT_WRITE (-1102)

typedef enum { GS_SHUT_READ, GS_SHUT_WRITE, GS_SHUT_BOTH } gs_how;

/* What a transport works through: the network it makes sockets in, and the stream that it must tell about readiness. For a
 * layer also the bytes below. Valid from the slot that gets it until close returns. */
typedef struct gs_io gs_io;

/* Where to connect or listen: the text behind "scheme://"; and, for GS_T_HOST, the address it stands for. */
typedef struct {
    const char *rest;
    const gs_addr *addr;
} gs_target;

/* What a layer tells of its handshake; strings and bytes live as long as ctx. */
typedef struct {
    const char *version, *cipher, *server_name;
    bool resumed;
    gs_bytes alpn;     /* n = 0: none */
    gs_bytes cert_der; /* the peer's certificate; n = 0: none */
} gs_security;

struct gs_transport {
    size_t size;        /* sizeof (struct gs_transport): the table may grow */
    const char *scheme; /* a-z 0-9 . -, at most 31 bytes */
    unsigned flags;

    /* Base. listen: bound and listening when it returns. connect: 0 connected; -EINPROGRESS: handshake says when; -EAGAIN: not
     * now, and nothing is left: the library calls again a little later (a full backlog of unix). accept: a connection, or
     * -EAGAIN; GS_ECLOSED: there will be none any more; may be called by several threads. opts: validated, in order, the caller's
     * until return; GS_OPT_FD in them is taken, also on failure. */
    int (*listen)(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx);
    int (*accept)(void *listener, gs_io *io, void **ctx);
    int (*connect)(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx);

    /* Layer. Over a connected io; at->rest names the peer where the address did ("host:443"). Never blocks: handshake works. */
    int (*upgrade)(gs_io *lower, bool server, const gs_target *at, const gs_opt *opts, void **ctx);

    /* Layer, NULL: anything goes. Are these options right? Asked before a listener or connection is opened, so that a wrong file
     * or a missing name is told at once. 0, or an error with its detail (gs_fail). May read files. */
    int (*check)(bool server, const gs_target *at, const gs_opt *opts);

    /* 0 done (default); -EINPROGRESS or GS_EWANT_WRITE: again when writable; GS_EWANT_READ: again when readable. */
    int (*handshake)(void *ctx);

    /* Bytes moved; readv: 0 = the peer's end. -EAGAIN. Never raise SIGPIPE. */
    ssize_t (*readv)(void *ctx, const struct iovec *iov, int n);
    ssize_t (*writev)(void *ctx, const struct iovec *iov, int n);
    /* For transports whose writev may take bytes and hold them back (a TLS record that did not fit). 0: everything that was taken
     * has gone to what is below; -EAGAIN: again when writable. Sends count as done, and close goes through, when it is 0. */
    int (*flush)(void *ctx);
    ssize_t (*sendfile)(void *ctx, int fd, off_t at, size_t n); /* NULL: the library reads and writes */
    int (*shutdown)(void *ctx, gs_how how); /* NULL with GS_T_NO_HALF_CLOSE only: then -ENOTSUP */

    /* Gives everything back; also after a failed handshake. reset: no graceful end (TCP: RST). */
    void (*close)(void *ctx, bool reset);

    /* The descriptor to wait for, or -1: then gs_transport_ready tells. *buffered: bytes readable above the descriptor. */
    int (*poll)(void *ctx, size_t *buffered);

    /* One option that is not the stream's own. -ENOTSUP (default): not here. name: local or the peer's address. */
    int (*setopt)(void *ctx, const gs_opt *o);
    int (*getopt)(void *ctx, gs_opt *o);
    int (*name)(void *ctx, bool peer, gs_addr *out);
    int (*peer)(void *ctx, gs_peer *out);          /* fills what it knows; strings live as long as ctx */
    int (*security)(void *ctx, gs_security *out);  /* GS_ENOTSECURE (default) */
};

/* Makes a transport known under its scheme; the table must live as long as the process. 0; -EEXIST: the scheme is taken;
 * -EINVAL: a slot is missing or contradicts another, the detail says which; -ENOMEM; GS_EBADARG. Any thread. */
GS_API GS_MUST_USE int gs_transport_register(const struct gs_transport *t);

/* The table of a scheme, or NULL. */
GS_API const struct gs_transport *gs_transport_find(const char *scheme);

/* For transports whose poll answers -1: after a slot answered -EAGAIN (or GS_EWANT_…), the transport calls this once when it
 * has become readable or writable (a listener: a connection waits). Any thread, any lock of the transport's own held. */
GS_API void gs_transport_ready(gs_io *io, bool readable, bool writable);

/* The scheme under which the transport that io was made for is registered, so that one set of slots can serve several schemes.
 * Lives as long as the process; NULL for an io that is none. */
GS_API const char *gs_io_scheme(const gs_io *io);

/* A socket of the network that io belongs to (SOCK_NONBLOCK | SOCK_CLOEXEC added): the descriptor or -errno. A transport that
 * makes its sockets otherwise leaves that network. */
GS_API GS_MUST_USE int gs_io_socket(gs_io *io, int domain, int type, int protocol);

/* For layers: the bytes below, as the slots of the same names. */
GS_API GS_MUST_USE ssize_t gs_io_readv(gs_io *lower, const struct iovec *iov, int n);
GS_API GS_MUST_USE ssize_t gs_io_writev(gs_io *lower, const struct iovec *iov, int n);
GS_API int gs_io_shutdown(gs_io *lower, gs_how how);
GS_API int gs_io_flush(gs_io *lower);

#ifdef __cplusplus
}
#endif
#endif
