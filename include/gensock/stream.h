/* gensock/stream.h: gen_tcp: listeners and connections with framing, an owner and active mode, over any transport.
 *
 *     gs_stream s;
 *     int e = gs_stream_connect(&s, "tcp://localhost:5678", GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), GS_NO_MAILBOX, 5000);
 *     if (e == 0)
 *         e = gs_stream_send(s, "Some Data", 9);
 *     gs_stream_close(s);
 *
 * An address is scheme://rest: tcp://127.0.0.1:80, tcp://[::1]:80, tcp://:0 (any), unix:///tmp/s, unix://@abstract,
 * mem://name, layer+base://rest, and whatever gs_transport_register made known.
 *
 * Owner. A stream may be owned by a mailbox: then its messages go there, active defaults to true, and it closes when the
 * mailbox ends. Without owner (GS_NO_MAILBOX) it is passive: gs_stream_recv reads it; asking for active is -EINVAL.
 *
 * Threads: every call, any thread, at any time; a call that waits holds no lock. Nearly every call may answer GS_ECLOSED (the
 * stream is closed) and GS_EBADARG (not a stream, or a NULL); these are not repeated below.
 */
#ifndef GENSOCK_STREAM_H
#define GENSOCK_STREAM_H

#include <gensock/mailbox.h>
#include <gensock/net.h>
#include <gensock/option.h>
#include <gensock/packet.h>
#include <gensock/peer.h>
#include <gensock/transport.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GS_NO_STREAM ((gs_stream){0})

/* gen_tcp:listen/2. 0 and *out; GS_EFORMAT, GS_ENOSCHEME, GS_ENXDOMAIN: the address; -EINVAL: an option (the detail names it);
 * -EADDRINUSE, -EACCES, … ; GS_ESYSLIMIT. opts as in option.h; accepted connections inherit them. A host name is waited for. */
GS_API GS_MUST_USE int gs_stream_listen(gs_stream *out, const char *address, const gs_opt *opts, gs_mailbox owner);

/* gen_tcp:accept/2. A connection, owned by `owner`, with the listener's options. Several threads may accept at once. GS_NOWAIT
 * needs an owner: GS_ESELECT, *ref (may be NULL else) names the GS_MSG_ACCEPT that follows. GS_ETIMEOUT; -EINVAL: the listener
 * delivers accept messages itself; GS_ECLOSED: it is closed, or its tailnet's node was stopped. gs_error_is_transient tells
 * errors after which the listener still accepts. */
GS_API GS_MUST_USE int gs_stream_accept(gs_stream listener, gs_stream *out, gs_mailbox owner, int timeout_ms, uint64_t *ref);

/* Takes a pending nowait accept back. 0: no message will come. GS_EINVALID: none such is pending. */
GS_API int gs_stream_cancel(gs_stream listener, uint64_t ref);

/* gen_tcp:connect/4. GS_NOWAIT (needs an owner): GS_ESELECT and a valid *out, whose GS_MSG_CONNECT follows; closing it cancels.
 * GS_ETIMEOUT is our timeout, -ETIMEDOUT the kernel's. Each address of a host name is tried in turn. */
GS_API GS_MUST_USE int gs_stream_connect(gs_stream *out, const char *address, const gs_opt *opts, gs_mailbox owner,
                                         int timeout_ms);

/* Makes a stream of a connected or listening descriptor (gen_tcp's {fd, Fd}); takes fd, also on failure. A listener's connections
 * inherit opts, as those of gs_stream_listen do. */
GS_API GS_MUST_USE int gs_stream_import(gs_stream *out, int fd, const gs_opt *opts, gs_mailbox owner);
/* Ends the stream and gives its descriptor to the caller. What was received and not delivered yet goes to *rest (n bytes,
 * gs_free gives it back). -EBUSY: output is still queued (flush first); -ENOTSUP: the transport has no descriptor alone. */
GS_API GS_MUST_USE int gs_stream_export(gs_stream s, uint8_t **rest, size_t *n);

/* gen_tcp:send/2: one packet, its header added. With an owner (send_mode queued): taken whole while the queue is below
 * high_watermark; above it the call waits until below low_watermark, for send_timeout: GS_ETIMEOUT: the bytes *are* queued
 * (send_timeout_close then closes); send_timeout GS_NOWAIT: -EAGAIN: nothing was taken, GS_MSG_DRAINED follows.
 * Without one, or with send_mode direct: sends all, or GS_ETIMEOUT with the rest told by gs_stream_sendv. -EMSGSIZE: too long
 * for the packet type. GS_ECLOSED, or with show_econnreset -ECONNRESET: the peer is gone. -ENOMEM: nothing was taken. */
GS_API GS_MUST_USE int gs_stream_send(gs_stream s, const void *p, size_t n);

/* What a direct send did not send (gen_tcp's RestData): header[0..header_n), then the caller's bytes from `body_at` on; all, where
 * the stream could not be sent to any more. Set the packet option to raw, send these, set it back. */
typedef struct {
    uint8_t header[4];
    size_t header_n, body_at, body_left;
} gs_rest;
/* The same from several pieces; rest may be NULL. iovcnt <= 1024. */
GS_API GS_MUST_USE int gs_stream_sendv(gs_stream s, const struct iovec *iov, int iovcnt, gs_rest *rest);

/* Sends n bytes of a file from offset (0 = to its end), unframed. The bytes sent. GS_EEOF: the file is shorter. GS_ETIMEOUT. */
GS_API GS_MUST_USE int64_t gs_stream_sendfile(gs_stream s, int fd, off_t offset, size_t n);

/* Waits until everything queued has gone to the transport. 0, GS_ETIMEOUT, or why it cannot. */
GS_API GS_MUST_USE int gs_stream_flush(gs_stream s, int timeout_ms);

/* gen_tcp:recv/3: one packet into buf, or in raw mode exactly `length` bytes (0: what there is). The bytes copied (0: an empty
 * packet). -EINVAL: active; -EALREADY: another recv waits; -EMSGSIZE: cap is too small, the packet stays (gs_stream_pending
 * tells its size), or the peer's packet is malformed or above packet_size: then the stream ends; GS_ETIMEOUT: nothing is lost.
 * The last bytes before the peer's end may be fewer than length. http types: gs_stream_recv_packet. */
GS_API GS_MUST_USE ssize_t gs_stream_recv(gs_stream s, void *buf, size_t cap, size_t length, int timeout_ms);
/* The same, decoded: *out's views point into buf. The bytes of buf used. */
GS_API GS_MUST_USE ssize_t gs_stream_recv_packet(gs_stream s, void *buf, size_t cap, gs_packet *out, int timeout_ms);
/* The size that buf needs for the packet at the front, 0 when none is complete. */
GS_API ssize_t gs_stream_pending(gs_stream s);
/* gen_tcp:unrecv/2: puts bytes in front of what is received next. 0, -ENOMEM. */
GS_API GS_MUST_USE int gs_stream_unrecv(gs_stream s, const void *p, size_t n);

/* gen_tcp:shutdown/2. Writing: postponed until the queue is out; if that fails the stream closes. -ENOTCONN, -ENOTSUP. */
GS_API int gs_stream_shutdown(gs_stream s, gs_how how);
/* gen_tcp:close/1. 0 also when it is closed already. Queued output goes on in the background: for linger's seconds if set, else
 * as long as it makes progress within 10 s, then the connection is reset. Never waits. */
GS_API int gs_stream_close(gs_stream s);

/* gen_tcp:controlling_process/2: moves the stream and its undelivered input, atomically and in order. GS_ENOTOWNER: `from` does
 * not own it, or the caller does not have from's turn while one exists. GS_EBADARG: `to` is none or gone. -ENOMEM. After an error
 * the owner is who it was. A stream without owner: from is GS_NO_MAILBOX, and the first caller wins. */
GS_API GS_MUST_USE int gs_stream_controlling_process(gs_stream s, gs_mailbox from, gs_mailbox to);

/* inet:setopts/2, getopts/2. -EINVAL: an option or value; -ENOTSUP: the transport has it not; -ENOMEM; or what the kernel
 * answers. After an error nothing has changed: the kernel's options before the one that failed are set back. Of those only raw
 * ones, and a transport's own, stay as they were set, and recbuf and sndbuf end the kernel's own sizing of their buffers.
 * getopts fills the values of the names in opts; strings live until the stream closes. */
GS_API GS_MUST_USE int gs_stream_setopts(gs_stream s, const gs_opt *opts);
GS_API GS_MUST_USE int gs_stream_getopts(gs_stream s, gs_opt *opts);

/* inet:getstat/2: bytes and packets; sizes of packets: largest, mean, mean deviation; send_pend: bytes queued, headers included.
 * Exact for the owner's turn. Another thread may find the answers to the batch that the turn is just handling in send_pend and
 * not in the counts yet, and the one being sent this moment in neither. */
typedef struct {
    uint64_t recv_oct, recv_cnt, send_oct, send_cnt;
    uint64_t recv_max, recv_avg, recv_dvi, send_max, send_avg, send_pend;
} gs_stat;
GS_API GS_MUST_USE int gs_stream_getstat(gs_stream s, gs_stat *out);

/* inet:sockname/1, peername/1, port/1. -ENOTCONN; -ENOTSUP: the transport has none. */
GS_API GS_MUST_USE int gs_stream_sockname(gs_stream s, gs_addr *out);
GS_API GS_MUST_USE int gs_stream_peername(gs_stream s, gs_addr *out);
GS_API GS_MUST_USE int gs_stream_port(gs_stream s);

/* Who is at the other end: a counted snapshot that outlives the stream; gs_peer_free gives it back. */
GS_API GS_MUST_USE int gs_stream_peer(gs_stream s, const gs_peer **out);
GS_API void gs_peer_free(const gs_peer *p);
/* Another one of the same content, its strings copied. 0; -ENOMEM. */
GS_API GS_MUST_USE int gs_peer_copy(const gs_peer *p, const gs_peer **out);

/* ThousandIsland.Transport. upgrade: puts a layer ("tls") over a connected passive stream, as client or server; received and
 * undelivered bytes go to the layer. handshake: finishes one that an accept or connect began; 0 at once where there is none.
 * GS_NOWAIT: GS_ESELECT, GS_MSG_UPGRADE follows. A failed one closes the stream. GS_ENOUPGRADE; -EINVAL: active. */
GS_API GS_MUST_USE int gs_stream_upgrade(gs_stream s, const char *layer, bool server, const gs_opt *opts, int timeout_ms);
GS_API GS_MUST_USE int gs_stream_handshake(gs_stream s, int timeout_ms);
/* The ALPN protocol: its length, copied like snprintf; GS_ENOPROTO. */
GS_API GS_MUST_USE int gs_stream_negotiated_protocol(gs_stream s, char *buf, size_t cap);
/* The peer's certificate as DER: its length, copied as far as cap; GS_ENOTSECURE. */
GS_API GS_MUST_USE ssize_t gs_stream_peercert(gs_stream s, void *der, size_t cap);
typedef struct {
    char version[16], cipher[64], server_name[256];
    bool resumed;
} gs_connection_information;
/* GS_ENOTSECURE on a plain one. */
GS_API GS_MUST_USE int gs_stream_connection_information(gs_stream s, gs_connection_information *out);
GS_API bool gs_stream_secure(gs_stream s);

typedef enum { GS_LISTENER, GS_CONNECTING, GS_CONNECTED, GS_ENDED } gs_stream_state; /* ENDED: the peer's end was delivered */
typedef struct {
    char transport[32];    /* "tls+unix" */
    gs_stream_state state;
    gs_mailbox owner;
    int active;            /* as GS_OPT_ACTIVE */
    size_t buffered, queued; /* bytes received and undelivered; sent and not yet with the transport */
    int fd;                /* for looking at only; -1 none */
} gs_stream_info_t;
GS_API GS_MUST_USE int gs_stream_info(gs_stream s, gs_stream_info_t *out);

/* inet:monitor/1: a GS_MSG_DOWN with *ref goes to `to` when the stream closes. demonitor: 0, or GS_EINVALID when it came. */
GS_API GS_MUST_USE int gs_stream_monitor(gs_stream s, gs_mailbox to, uint64_t *ref);
GS_API int gs_stream_cancel_monitor(gs_stream s, uint64_t ref);

#ifdef __cplusplus
}
#endif
#endif
