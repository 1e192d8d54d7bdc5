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

#ifdef __cplusplus
}
#endif
#endif
