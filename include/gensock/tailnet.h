/* gensock/tailnet.h: a node of a Tailscale network inside this process: gen_tcp over a tailnet; library gensock-tailnet.
 *
 *     gs_tailnet node;
 *     gs_tailnet_config config = {.hostname = "echo", .state_dir = "/var/lib/echo", .auth_key = getenv("TS_AUTHKEY")};
 *     if (gs_tailnet_start(&node, &config) == 0 && gs_tailnet_up(node, 30000) == 0)
 *         gs_stream_listen(&listener, "tailnet://:7", GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), owner);
 *
 * A node is a full member: it has an address, a name, and the keys that prove them. It needs neither root nor Go: it makes a
 * private network namespace in which the kernel's own TCP carries the streams, so every option of tcp:// works, and moves their
 * packets to and from the peers by WireGuard, directly by UDP where a path is found, else by the tailnet's relays.
 *
 * Addresses. "tailnet://:80" listens on all own addresses, "tailnet://peer:80" connects by MagicDNS name ("peer" or
 * "peer.net.ts.net"), "tailnet://100.64.0.7:80" and "tailnet://[fd7a:115c:a1e0::7]:80" by address; "tls+tailnet://…" is TLS over
 * it. A name of a tailnet is looked up in the network map alone, never by the host's resolver: GS_ENXDOMAIN. The option
 * TAILNET_NODE says which node; without it, the one that was started first and still runs.
 *
 * Who is there. gs_stream_peer tells node, user, tags and capabilities of who opened this very connection, bound to it by the
 * kernel when the first packet came, never looked up by address afterwards. When an address passes to another node, or a peer
 * leaves the network, its connections are reset. What the control server's rules do not allow does not come in.
 *
 * Errors. Those of start and up come with a detail that names cause and cure. A peer's filter that refuses us is GS_EFILTERED.
 *
 * Threads: every call, any thread. A node has a few threads of its own ("gs-tailnet"); nothing of it leaves the machine but the
 * protocol: no logs. In a child of fork a node is gone: exec, or free.
 */
#ifndef GENSOCK_TAILNET_H
#define GENSOCK_TAILNET_H

#include <gensock/error.h>
#include <gensock/net.h>
#include <gensock/option.h>
#include <gensock/peer.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct { uint64_t id; } gs_tailnet;
#define GS_NO_TAILNET ((gs_tailnet){0})

/* Of listen and connect of tailnet://: v.i is the id of a gs_tailnet. */
enum { GS_OPT_TAILNET_NODE = GS_OPT_TRANSPORT + 200 };

/* Zeros are defaults; everything is copied. */
typedef struct {
    const char *hostname;      /* the name wished for, at most 63 letters, digits and hyphens; NULL: this machine's */
    const char *state_dir;     /* where the keys are kept between starts, made 0700; NULL: only for an ephemeral node */
    const char *control_url;   /* NULL: https://controlplane.tailscale.com */
    const char *auth_key;      /* NULL or "": a person logs in by the URL that gs_tailnet_up tells. May end with a newline */
    const char *ca_file;       /* PEM: besides the system's CAs, for control and relays */
    bool ephemeral;            /* the network forgets the node when it goes; keeps no state */
    bool plain_control;        /* allow http:// to a control server that is not on loopback: its first key could be forged */
    bool shields_up;           /* nothing comes in but answers */
    bool relay_only;           /* no direct paths: all goes by relays */
    uint16_t port;             /* of UDP; 0: any */
    const char *const *tags;   /* to ask for, "tag:server" */
    size_t n_tags;
    gs_mailbox events;         /* GS_MSG_TAILNET messages go here: post.tag is a gs_tailnet_event, ref the node's id */
} gs_tailnet_config;

typedef enum {
    GS_TAILNET_STATE = 1,   /* the body: the state's name */
    GS_TAILNET_LOGIN_URL,   /* the URL that a person must open */
    GS_TAILNET_KEY_EXPIRY,  /* the node's key will run out within a day: when, RFC 3339; or "expired" */
    GS_TAILNET_PEER,        /* a peer came, went, or changed: "+name", "-name", "=name" */
    GS_TAILNET_PATH,        /* "name relay nyc", "name direct 192.0.2.1:41641", "name none" */
    GS_TAILNET_HEALTH,      /* a warning of the control server, of a relay or of the node itself, for people */
} gs_tailnet_event;

typedef enum {
    GS_TAILNET_STARTING = 1,  /* looking for the control server */
    GS_TAILNET_LOGIN,         /* a person must log in */
    GS_TAILNET_APPROVAL,      /* an admin of the tailnet must approve the machine */
    GS_TAILNET_RUNNING,
    GS_TAILNET_FAILED,        /* finally: status tells why */
    GS_TAILNET_STOPPED,
} gs_tailnet_state;

/* Makes a node and lets it join; does not wait for the network. 0 and *out. -EINVAL: the configuration; the codes of the private
 * network's making (-EPERM, -ENOSPC, -ENOENT, -EACCES: no namespaces, no /dev/net/tun); those of the state directory (-EBUSY:
 * another process has it; -EPERM: not ours, or others may read it; -EBADMSG: damaged; -ENOTSUP: of a newer version): never a
 * silent new identity; -EADDRINUSE: the port; GS_ESYSLIMIT: 64 nodes; -ENOMEM. */
GS_API GS_MUST_USE int gs_tailnet_start(gs_tailnet *out, const gs_tailnet_config *config);

/* Waits until the node has an address and the network map. 0. GS_ELOGIN: a person must log in, the detail is the URL; call again
 * to wait for it. GS_EAPPROVAL. GS_EAUTHKEY: the control server refuses the key; GS_EKEYEXPIRED; GS_ELOCKED: Tailnet Lock is on,
 * which this library cannot verify; GS_ETIMEOUT: the detail says what it waits for (the control server cannot be reached, its
 * certificate …); GS_EABORTED: stopped meanwhile. timeout_ms: not GS_NOWAIT. */
GS_API GS_MUST_USE int gs_tailnet_up(gs_tailnet n, int timeout_ms);

/* Leaves the network: listeners answer GS_ECLOSED at once, what was sent and has not arrived yet gets timeout_ms to do so, an
 * ephemeral node logs out in the same time; then the node's connections are reset, and its threads have ended, but for one
 * that waits for a name server, 2 s at most. Streams stay to be closed by their owners. 0; GS_ECLOSED.
 * exit(3) stops the nodes that still run, with 2 s for all of them; a process that ends otherwise just leaves. */
GS_API int gs_tailnet_stop(gs_tailnet n, int timeout_ms);

/* Gives the node's key up at the control server; joining again needs a login. The node is GS_TAILNET_FAILED with GS_ELOGIN then.
 * 0; -ENOTCONN: it is not logged in; GS_ECONTROL; GS_ETIMEOUT; GS_EABORTED. */
GS_API GS_MUST_USE int gs_tailnet_logout(gs_tailnet n, int timeout_ms);

/* ---- looking around ---- */

typedef enum { GS_PATH_NONE, GS_PATH_RELAY, GS_PATH_DIRECT } gs_path_kind;

typedef struct {
    const char *name;        /* "alpha.net.ts.net." */
    const char *stable_id, *user, *os;
    uint8_t node_key[32];
    const gs_addr *addresses;
    size_t n_addresses;
    const char *const *tags;
    size_t n_tags;
    bool online, expired;    /* online: as the control server says; true when it does not say */
    gs_path_kind path;       /* of a peer, as data would go now */
    gs_addr endpoint;        /* direct */
    const char *relay;       /* the code of the relay region by which it is reached, "" for none; of self: its home */
    int64_t latency_ns;      /* direct; 0: unknown */
    uint64_t sent, received; /* bytes, encrypted */
} gs_tailnet_member;

typedef struct {
    gs_tailnet_state state;
    int error;                /* FAILED: why; else what hinders it now, 0: nothing */
    const char *detail;       /* of error */
    const char *login_url;    /* LOGIN; else "" */
    const char *domain;       /* "net.ts.net" */
    gs_tailnet_member self;
    const gs_tailnet_member *peers;
    size_t n_peers;
    const gs_addr *endpoints; /* where this node may be reached from outside */
    size_t n_endpoints;
    const char *const *health;
    size_t n_health;
} gs_tailnet_status_t;

/* A snapshot. 0; -ENOMEM; GS_ECLOSED; GS_EBADARG. */
GS_API GS_MUST_USE int gs_tailnet_status(gs_tailnet n, const gs_tailnet_status_t **out);
GS_API void gs_tailnet_status_free(const gs_tailnet_status_t *s);
/* "running" */
GS_API const char *gs_tailnet_state_name(gs_tailnet_state s);

/* Who has this address now: advice, nothing about a connection, for which gs_stream_peer is. The port is not looked at.
 * gs_peer_free gives it back. GS_ENXDOMAIN: nobody. */
GS_API GS_MUST_USE int gs_tailnet_whois(gs_tailnet n, const gs_addr *address, const gs_peer **out);

/* The addresses of a name, IPv4 first: how many there are, of which out gets the first cap. GS_ENXDOMAIN; -EAGAIN: no network map
 * yet. */
GS_API GS_MUST_USE int gs_tailnet_resolve(gs_tailnet n, const char *name, gs_addr *out, size_t cap);

typedef struct {
    int64_t rtt_ns;
    gs_path_kind path; /* of the answer */
    gs_addr endpoint;  /* direct */
    char relay[32];    /* the region's code */
} gs_tailnet_pong;
/* Asks a peer (a name or an address) for a sign of life, below its IP stack. 0; GS_ENXDOMAIN; GS_ETIMEOUT; -EHOSTUNREACH: it
 * cannot be asked, the detail says why: it is this node, does not speak disco, or no way to it is known; GS_EABORTED. */
GS_API GS_MUST_USE int gs_tailnet_ping(gs_tailnet n, const char *peer, int timeout_ms, gs_tailnet_pong *out);

/* ---- sockets ---- */

/* socket:open/3 inside the tailnet: family AF_INET or AF_INET6, SOCK_STREAM or SOCK_DGRAM. Everything of gensock/socket.h works
 * on it. For a datagram's sender gs_tailnet_whois is right at the time of its receipt. When a peer leaves, TCP connections with
 * it end with -ECONNABORTED; UDP sockets that are connected to it stay as they are. When the node stops, listeners answer
 * -EINVAL. */
GS_API GS_MUST_USE int gs_tailnet_socket(gs_tailnet n, int family, int type, int protocol, gs_socket *out);

/* ---- programs ---- */

/* Runs a program inside the tailnet, as posix_spawnp would: as the same user, with this process's standard streams, directory,
 * session and terminal. It sees no network but the tailnet; libc there finds MagicDNS names, by a DNS server of the node's at
 * 100.100.100.100, and no others. argv ends with NULL; argv[0] is looked for in the PATH of envp, unless there is a / in it;
 * envp NULL: environ. No signal is blocked in it; ignored ones stay ignored. Its process ids are a world of its own. What it
 * leaves running ends with it, and all of it with gs_tailnet_stop, or with this process, however that ends.
 *
 * *pid is a child of this process, for waitpid: it ends with the program's code or by its signal, stops when it stops, and hands
 * signals on to it; SIGKILL ends both. The caller waits for it, also when gs_tailnet_stop has ended it. As long as it runs it
 * shares this process's memory as of now, copied where either writes.
 *
 *     const char *const argv[] = {"curl", "http://alpha:8000/", NULL};
 *     pid_t pid;
 *     int status;
 *     if (gs_tailnet_spawn(node, argv, NULL, &pid) == 0)
 *         waitpid(pid, &status, 0);
 *
 * Call it when gs_tailnet_up has answered: the tailnet's domain is known then. Blocks until the program runs. -ENOENT, -EACCES,
 * -ENOEXEC: no such program, or none that can be executed; GS_ESYSLIMIT: 32 run already; -EADDRINUSE: somebody of this node's
 * listens at port 53 of all addresses; -ENOSPC: no more namespaces; other codes of the kernel's; GS_EABORTED, GS_ECLOSED. */
GS_API GS_MUST_USE int gs_tailnet_spawn(gs_tailnet n, const char *const argv[], const char *const envp[], pid_t *pid);

#ifdef __cplusplus
}
#endif
#endif
