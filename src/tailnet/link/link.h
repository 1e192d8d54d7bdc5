/* link.h: the node's UDP sockets in the host's network, one per family. STUN, disco and WireGuard share them, since a mapping
 * that one learns serves the others.
 *
 * Batches in both directions: what is sent is queued by reference and leaves with one sendmmsg, equal-sized datagrams to one peer
 * as one message of UDP_SEGMENT; what comes is read by one recvmmsg into buffers of 64 KiB, joined by UDP_GRO. One thread uses a
 * link.
 *
 *     gsi_link_put(link, &peer, datagrams, n * 1296, 1296);
 *     gsi_link_flush(link);
 *
 * UDP loses: what the kernel has no room for is dropped and counted, never waited for.
 */
#ifndef GSI_TAILNET_LINK_H
#define GSI_TAILNET_LINK_H

#include <sys/socket.h>

#include "tailnet/endpoint/endpoint.h"

enum {
    LINK_SEGMENTS = 64,       /* the kernel's UDP_MAX_SEGMENTS when it was smallest */
    LINK_MESSAGE = 65000,     /* bytes of one message of segments, below what IP can carry */
    LINK_ARRIVALS = 8,        /* messages of one gsi_link_receive */
    LINK_ARRIVAL = 64 * 1024, /* bytes of one of them */
    LINK_QUEUE = 64,          /* messages put before a flush happens by itself */
};

struct link;

struct link_options {
    uint16_t port;      /* 0: any; then both families get the same one where it is free */
    bool no_v4, no_v6;
    bool no_offload;    /* one datagram, one message */
};

/* 0; -EADDRINUSE and other codes of the kernel's, with a detail; -ENOMEM. A family that this machine lacks is left out, unless
 * both are. */
GS_MUST_USE int gsi_link_open(struct link **out, const struct link_options *options);
/* NULL is nothing. What was put and not flushed is dropped. */
void gsi_link_close(struct link *l);

/* -1: this family is not there. To be watched for reading. */
int gsi_link_fd(const struct link *l, bool v6);
/* Host order; 0: this family is not there. */
uint16_t gsi_link_port(const struct link *l, bool v6);

/* Queues n bytes that leave as datagrams of `segment` bytes, the last may be shorter; borrowed until the flush. 0; -EAFNOSUPPORT:
 * the family is not there; -EMSGSIZE: no datagram of this size, or more than LINK_SEGMENTS or LINK_MESSAGE at once. */
GS_MUST_USE int gsi_link_put(struct link *l, const struct endpoint *to, const void *bytes, size_t n, size_t segment);
void gsi_link_flush(struct link *l);
/* Where a flush could not send to, and why (-ENETUNREACH, -EHOSTUNREACH, -EPERM …): one at a time, the oldest first. False: no
 * more. */
bool gsi_link_refused(struct link *l, struct endpoint *to, int *error);

struct arrival {
    struct endpoint from;
    uint8_t *p;      /* in the link's memory until the next receive; may be changed in place */
    size_t n;
    size_t segment;  /* datagrams are this long, the last may be shorter; n when there is one */
};

/* What waits, up to LINK_ARRIVALS; the caller comes back until it is 0. */
int gsi_link_receive(struct link *l, bool v6, struct arrival out[LINK_ARRIVALS]);

struct link_stat {
    uint64_t sent, sent_bytes, received, received_bytes; /* datagrams */
    uint64_t dropped;                                    /* not taken by the kernel, or cut in reading */
};
struct link_stat gsi_link_stat(const struct link *l);

/* The calls of the kernel, for tests to stand in for. */
struct link_calls {
    int (*socket)(int family, int type, int protocol);
    int (*setsockopt)(int fd, int level, int name, const void *value, socklen_t n);
    int (*bind)(int fd, const struct sockaddr *at, socklen_t n);
    int (*sendmmsg)(int fd, struct mmsghdr *messages, unsigned n, int flags);
    int (*recvmmsg)(int fd, struct mmsghdr *messages, unsigned n, int flags, struct timespec *timeout);
};
extern struct link_calls gsi_link_calls;

#endif
