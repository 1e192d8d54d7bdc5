/* gensock/peer.h: who is at the other end of a connection: one notion on all transports, fixed at accept or connect. */
#ifndef GENSOCK_PEER_H
#define GENSOCK_PEER_H

#include <gensock/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    GS_PEER_UNKNOWN, /* tcp and mem: an address is no identity */
    GS_PEER_UNIX,    /* SO_PEERCRED: pid, uid, gid of who called connect or listen */
    GS_PEER_TLS,     /* subject: the name that was verified */
    GS_PEER_TAILNET, /* node, user, tags, capabilities of the session that opened this very connection */
} gs_peer_kind;

/* Strings are NUL-terminated UTF-8, NULL where the kind has none. */
typedef struct {
    gs_peer_kind kind;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    const char *subject;
    const char *node;         /* "alpha.tail.ts.net." */
    const char *user;         /* login name; "" for tagged nodes */
    const char *display_name;
    const char *stable_id;
    uint8_t node_key[32];
    const char *const *tags;
    size_t n_tags;
    const char *const *caps;     /* capability names, and the JSON that came with each */
    const char *const *cap_json;
    size_t n_caps;
} gs_peer;

#ifdef __cplusplus
}
#endif
#endif
