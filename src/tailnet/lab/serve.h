/* serve.h: a running lab: its thread, streams and socket. lab.c starts and asks it, serve.c is the thread. */
#ifndef GSI_TAILNET_LAB_SERVE_H
#define GSI_TAILNET_LAB_SERVE_H

#include <limits.h>
#include <pthread.h>

#include "gensock/lab.h"
#include "gensock/socket.h"
#include "gensock/stream.h"
#include "tailnet/derp/relay.h"
#include "tailnet/lab/coordination.h"
#include "tailnet/store/store.h"

enum {
    LAB_LINKS_MAX = 8192,     /* connections, of both kinds */
    LAB_RELAY_MAX = 4096,
    LAB_REGION = 900,         /* where the numbers begin that Tailscale leaves to others */
    LAB_SEND = 16 * 1024,
    LAB_HIGH_WATER = 256 * 1024,
};

/* A connection. */
struct lab_link {
    gs_stream stream;
    struct coordination_conn *control; /* one of the two */
    struct relay_conn *relay;
    bool blocked;                      /* until it has drained */
    uint8_t *held;                     /* control's: what the stream did not take */
    size_t held_n;
};

struct lab {
    /* Of the one who starts it, then constant. */
    gs_mailbox mailbox;
    pthread_t thread;
    char address[64], host[72]; /* host: with brackets if it is IPv6 */
    char url[128], directory[PATH_MAX];
    struct store *store;

    /* Under the mutex: whoever calls, and the thread while it handles a message. */
    pthread_mutex_t mutex;
    bool stopping;
    struct coordination *control;
    struct relay *relay;
    gs_stream control_listener, relay_listener;
    uint16_t control_port, relay_port, stun_port;
    gs_socket stun;
    gs_wait stun_wait;
    struct lab_link *links[LAB_LINKS_MAX];
    int links_n;                /* used of them at most */
    uint64_t relay_wake;
    uint8_t out[LAB_SEND];
};

uint64_t gsi_lab_now(void);
/* Under the mutex. Listens, on the port it has or then gets. */
GS_MUST_USE int gsi_lab_listen(struct lab *l, gs_lab_part part);
/* Under the mutex: the listener and all connections of this kind. */
void gsi_lab_hang_up(struct lab *l, gs_lab_part part);
/* The thread; the argument is the lab. Ends when it is stopping. */
void *gsi_lab_thread(void *lab);

#endif
