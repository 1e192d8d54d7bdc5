/* gensock/ei.h: Erlang's ei over any transport of gensock; library gensock-ei.
 *
 * Threads: every call, any thread.
 */
#ifndef GENSOCK_EI_H
#define GENSOCK_EI_H

#include <ei.h>
#include <gensock/stream.h>
#include <netinet/in.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { GS_EI_ADDRESS_MAX = 512 }; /* bytes of an address with its end */

/* The setup context of ei_connect_xinit_ussi: must outlive the ei_cnode and everything opened with it; read only, so several threads
 * and nodes may share it. */
typedef struct {
    const char *transport;                    /* "tcp", "tls", "unix", "tailnet", "tls+unix", …; NULL: "tcp" */
    const gs_opt *connect_opts, *listen_opts; /* of the streams; ACTIVE, PACKET and such are the bridge's own: -EINVAL */
    /* What an address of ei's (all that ei can say: IPv4 and port) stands for: writes a whole gensock address, "unix:///run/n.sock"
     * or "tls+tcp://[::1]:4370", with its end into cap bytes. 0 or -errno. NULL: TRANSPORT://a.b.c.d:port, and TRANSPORT://:port to
     * listen on INADDR_ANY. Any thread that opens something calls it. */
    int (*map)(const struct sockaddr_in *in, bool listens, char *address, size_t cap, void *arg);
    void *map_arg;
} gs_ei_setup;

/* The next socket that ei opens in this thread is for this gensock address, whatever ei is told. NULL: as ei is told again. 0;
 * GS_EFORMAT: empty or too long; then nothing has changed. */
GS_API GS_MUST_USE int gs_ei_next(const char *address);

/* Why the last callback of this thread failed, as a gensock code (gs_error_detail tells more): ei itself keeps little but EIO and
 * ETIMEDOUT. 0: none has failed since gs_ei_next was called. */
GS_API int gs_ei_error(void);

/* ---- epmd, which knows the ports of a host's nodes, asked through any transport; ei's own calls know this host's IPv4 only ----
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

/* Which port the node `alive` listens at. 0; GS_ENXDOMAIN: epmd knows none of this name. (Names of 255 characters the epmd of OTP 25
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

#ifdef __cplusplus
}
#endif
#endif
