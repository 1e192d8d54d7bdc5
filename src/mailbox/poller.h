/* poller.h: the seam for the kernel's event queue; epoll here, kqueue may follow. Level-triggered, data is an id. */
#ifndef GSI_POLLER_H
#define GSI_POLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "gensock/error.h"

enum { GSI_EVENTS = 128 };

struct gsi_poller {
    int fd;
};

struct gsi_event {
    uint32_t events; /* EPOLLIN … */
    uint64_t id;
};

GS_MUST_USE int gsi_poller_open(struct gsi_poller *p);
void gsi_poller_close(struct gsi_poller *p);

/* Sets what fd is watched for. had: the set has it. events 0 with had removes it. 0 or -errno. In a forked child it does
 * nothing: the set is shared with the parent. */
int gsi_poller_set(struct gsi_poller *p, int fd, uint64_t id, uint32_t events, bool had);

/* Up to GSI_EVENTS ready ones; 0 on timeout or interruption; -errno. */
GS_MUST_USE int gsi_poller_wait(struct gsi_poller *p, struct gsi_event *out, int timeout_ms);

#endif
