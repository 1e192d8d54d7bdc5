/* gensock/ei.h: Erlang C nodes (ei) over any transport of gensock; library gensock-ei.
 *
 *     static const gs_ei_setup tls = {.transport = "tls", .connect_opts = …, .listen_opts = …};
 *     int size;
 *     ei_socket_callbacks *table = gs_ei_callbacks(&size);
 *     ei_connect_xinit_ussi(&ec, "host", "alive", "alive@host", NULL, "cookie", 0, table, size, (void *)&tls);
 *     int fd = gs_ei_connect(&ec, "tls://host.example:4370", 5000);
 *     if (fd >= 0)
 *         ei_reg_send(&ec, fd, "server", x.buff, x.index);
 *
 * Everything that ei does with a descriptor (ei_receive, ei_send, ei_rpc, ei_accept, ei_close_connection …) then goes over
 * the transport. What ei does without one goes by the host: ei_connect, ei_xconnect and ei_publish ask epmd over a plain IPv4
 * socket, and ei_connect_init and ei_connect resolve names. Where nothing may leave beside the transport use
 * ei_connect_xinit_ussi, and gs_ei_connect, gs_ei_listen (or ei_xconnect_host_port and ei_xlisten).
 *
 * The descriptor is real, keeps its number, and is readable, for select and the like, when something can be read or accepted,
 * bytes that a layer has decrypted already included. A connection over tcp, unix or tailnet shows its own socket, in blocking
 * mode, as ei's are; all others, and listeners, something to wait for reading on. Close it by ei_close_connection alone: any
 * thread; who waits in a call of ei's wakes (in a select nobody does, as with every descriptor).
 *
 * Threads: every call, any thread. On one descriptor one thread reads, several may write.
 */
#ifndef GENSOCK_EI_H
#define GENSOCK_EI_H

#include <ei.h>
#include <gensock/stream.h>
#include <netinet/in.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- ei's table ---- */

enum { GS_EI_ADDRESS_MAX = 512 }; /* bytes of an address with its end */

/* The setup context of ei_connect_xinit_ussi: must outlive the ei_cnode and everything opened with it; read only, so several
 * threads and nodes may share it. NULL or zeros: tcp. TLS wants gs_tls_register first, as ever, and a certificate at both
 * ends where the other node asks for it. */
typedef struct {
    const char *transport;                    /* "tcp", "tls", "unix", "tailnet", "tls+unix", …; NULL: "tcp" */
    const gs_opt *connect_opts, *listen_opts; /* of the streams; PACKET, SEND_TIMEOUT and such are the bridge's own: EINVAL */
    /* What an address of ei's (all that ei can say: IPv4 and port) stands for: writes a whole gensock address,
     * "unix:///run/n.sock" or "tls+tcp://[::1]:4370", with its end into cap bytes. 0 or -errno. NULL:
     * TRANSPORT://a.b.c.d:port, and TRANSPORT://:port to listen on INADDR_ANY. Any thread that opens something calls it. */
    int (*map)(const struct sockaddr_in *in, bool listens, char *address, size_t cap, void *arg);
    void *map_arg;
} gs_ei_setup;

/* The table for ei_connect_init_ussi and ei_connect_xinit_ussi (EI_SCLBK_FLG_FULL_IMPL), and its size for cbs_sz. It is
 * static.
 *
 * Its callbacks answer 0 or a positive errno, of which ei's calls keep ETIMEDOUT and, of connecting and listening, all
 * (erl_errno); gs_ei_error has the rest. A write tells how much of it has left; nothing is sent twice. NODELAY and KEEPALIVE
 * are set once two nodes know each other, as ei does, if the setup does not name them. listen writes where it listens, accept
 * who came, as far as a sockaddr_in can say it: IPv4 and port; else 0.0.0.0 (and after listen on IPv6 the port). The silent
 * peer of a handshake of TLS is given up after the caller's timeout or HANDSHAKE_TIMEOUT, the sooner one. */
GS_API ei_socket_callbacks *gs_ei_callbacks(int *size);

/* The stream behind a descriptor of ei's: for its options, peer, certificate and true address. Do not read, write, upgrade or
 * close it, or change its owner; its statistics know only of what was waited for with a timeout. 0; GS_EBADARG: not one of
 * ours; -ENOTCONN: it has none yet. */
GS_API GS_MUST_USE int gs_ei_stream(int fd, gs_stream *out);

/* Why ei's last call in this thread failed, as a gensock code (gs_error_detail tells more): ei itself keeps little but EIO and
 * ETIMEDOUT. 0: no callback has failed; ei gave up by itself what came: a wrong cookie, a name in use, the peer's end. */
GS_API int gs_ei_error(void);

/* ---- addresses that ei has no words for ---- */

/* The next socket that ei opens in this thread is for this gensock address, whatever ei is told; the setup is asked for
 * options only. NULL: as ei is told again. 0; GS_EFORMAT: empty or too long; then nothing has changed. gs_ei_connect and
 * gs_ei_listen do it. */
GS_API GS_MUST_USE int gs_ei_next(const char *address);

/* What the two below answer: ei's descriptor, or why there is none. */
static inline int gs_ei_opened(int fd, const char *address)
{
    int e = fd < 0 ? gs_ei_error() : fd;
    if (gs_ei_next(NULL) < 0 || fd >= 0 || e < 0)
        return e;
    e = erl_errno > 0 ? -erl_errno : -EIO;
    return gs_fail(e, "%s: no handshake of Erlang's: another cookie, a name in use, or no node", address);
}

/* ei_xconnect_host_port_tmo to a gensock address ("tls://host.example:4370", "unix:///run/n.sock", "tailnet://peer:4370"):
 * the descriptor, or a negative code with its detail: that of connecting, GS_ETIMEOUT, or -EIO when ei's handshake failed.
 * Each step of it waits for timeout_ms (0 counts as 1 ms; GS_INFINITY). -EINVAL: ec was not initialised with gs_ei_callbacks. */
static inline int gs_ei_connect(ei_cnode *ec, const char *address, int timeout_ms)
{
    struct in_addr unused = {INADDR_ANY};
    if (!ec || !address || timeout_ms < GS_INFINITY)
        return GS_EBADARG;
    if (ec->cbs != gs_ei_callbacks(NULL))
        return gs_fail(-EINVAL, "this ei_cnode has other callbacks: initialise it with gs_ei_callbacks");
    int e = gs_ei_next(address);
    unsigned ms = timeout_ms > 0 ? (unsigned)timeout_ms : timeout_ms == 0 ? 1 : 0; /* ei's 0 is for ever */
    return e < 0 ? e : gs_ei_opened(ei_xconnect_host_port_tmo(ec, &unused, 0, ms), address);
}

/* ei_xlisten on a gensock address; gs_stream_sockname and gs_stream_port of gs_ei_stream tell where. Answers as gs_ei_connect. */
static inline int gs_ei_listen(ei_cnode *ec, const char *address, int backlog)
{
    struct in_addr unused = {INADDR_ANY};
    int port = 0;
    if (!ec || !address)
        return GS_EBADARG;
    if (ec->cbs != gs_ei_callbacks(NULL))
        return gs_fail(-EINVAL, "this ei_cnode has other callbacks: initialise it with gs_ei_callbacks");
    int e = gs_ei_next(address);
    return e < 0 ? e : gs_ei_opened(ei_xlisten(ec, &unused, &port, backlog), address);
}

/* ---- epmd ---- */

/* epmd knows the ports of a host's nodes. These calls ask it through any transport; ei's own know IPv4 sockets of this host.
 *
 * epmd: its address ("tailnet://host:4369", "tcp://[::1]:4369"); NULL: "tcp://127.0.0.1:" and ERL_EPMD_PORT of the environment,
 * or 4369. opts: of the connection to it; not active, packet, header or send_timeout, which are its own: -EINVAL. timeout_ms is
 * for all of a call; there is no GS_NOWAIT, and 0 is hardly ever enough. Besides what gs_stream_connect answers: GS_ETIMEOUT;
 * GS_ECLOSED: epmd went away; GS_EINVALID: what answers is no epmd; GS_EBADARG: a NULL; -EINVAL: a name that is not 1 to 255
 * characters of UTF-8 or has an @ or a control. gs_error_detail tells more of all of them.
 */
enum { GS_EPMD_PORT = 4369, GS_EPMD_NAME_MAX = 1020, GS_EPMD_EXTRA_MAX = 1020 }; /* bytes: 255 characters */
enum { GS_EPMD_NORMAL = 77, GS_EPMD_HIDDEN = 72 }; /* a node of Erlang, a C node */

typedef struct {
    char name[GS_EPMD_NAME_MAX + 1]; /* what stands before the @ */
    uint16_t port;
    uint8_t type;     /* GS_EPMD_NORMAL, …; nodes registered by ei itself say 104 */
    uint8_t protocol; /* 0: TCP */
    uint16_t highest, lowest; /* versions of the distribution; from 6 on creations have 32 bits */
    uint16_t extra_len;
    uint8_t extra[GS_EPMD_EXTRA_MAX];
} gs_epmd_node;

/* Which port the node `alive` listens at. 0; GS_ENXDOMAIN: epmd knows none of this name. (Names of 255 characters epmd
 * registers, but does not find.) */
GS_API GS_MUST_USE int gs_epmd_lookup(const char *epmd, const gs_opt *opts, const char *alive, gs_epmd_node *out, int timeout_ms);

/* Makes a node known for as long as *out is open; gs_stream_close takes it back. Nothing is to be sent on *out, and it ends
 * when epmd does: who wants to know waits in gs_stream_recv, or gives it to a mailbox. A type of 0 is GS_EPMD_HIDDEN; a highest
 * version of 0 makes both versions 6, as ei of OTP 25 has them. creation (NULL is allowed): tells this life of the node from
 * earlier ones of its name, for ei_connect_xinit_ussi. 0; -EEXIST: a node has this name; GS_ECLOSED: from another host (epmd
 * registers its own alone). */
GS_API GS_MUST_USE int gs_epmd_register(const char *epmd, const gs_opt *opts, const gs_epmd_node *node, gs_stream *out,
                                        uint32_t *creation, int timeout_ms);

/* All that epmd knows: their number; of the first `cap` name and port are written, the rest is 0. Entries that are no names are
 * left out. -EMSGSIZE: more than 65,536. After an error some may have been written. */
GS_API GS_MUST_USE ssize_t gs_epmd_names(const char *epmd, const gs_opt *opts, gs_epmd_node *out, size_t cap, int timeout_ms);

/* ---- the other way round: what implements ei's table becomes a transport ---- */

/* Makes a transport of a table: addresses "scheme://host:port" (IPv4, as ei's), with everything that streams have on top:
 * framing, timeouts, active modes, ownership, layers ("tls+scheme://…"). cbs is copied, cbs_sz bytes of it: slots that a
 * smaller table lacks are as NULL. setup is what its `socket` gets; it must live as long as the process. 0, or as
 * gs_transport_register: -EEXIST; -EINVAL, with the reason in the detail: socket, close, listen, accept, connect, write and
 * read must be there, and get_fd without FULL_IMPL; no flags but ei's; -ENOMEM; GS_EBADARG: no table.
 *
 * What a table has to keep stands in ei_connect(3), "User Supplied Socket Implementation". What streams make of it:
 *
 * - Without EI_SCLBK_FLG_FULL_IMPL the descriptor of get_fd is set non-blocking for good, and waited for; tmo says nothing.
 * - With it read, write and writev are called with tmo 0, and for 16 KiB at most to write. ETIMEDOUT then means "not now",
 *   and that nothing was moved. Its descriptor may be of any kind, or none: what that fails to tell comes some milliseconds
 *   late. connect (for 120 s at most) and accept (for 10 s, when somebody waits) run in threads of their own, 256 at most.
 *   Closing the stream does not wait for them, nor does the end of the process.
 * - connect_handshake_complete and accept_handshake_complete are called when a connection stands: what follows is the
 *   stream's.
 * - The calls for one socket come one at a time, from any thread. If one raises SIGPIPE, nobody sees it.
 *
 * Tables have no words for a half close (gs_stream_shutdown: -ENOTSUP), a reset, and options of the kernel's (-ENOTSUP).
 * Names are what the table tells, else what its descriptor knows. */
GS_API GS_MUST_USE int gs_transport_from_ei(const char *scheme, const ei_socket_callbacks *cbs, int cbs_sz, void *setup);

#ifdef __cplusplus
}
#endif
#endif
