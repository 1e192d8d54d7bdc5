/* watch.h: hears when links, addresses or the default route of this machine change (rtnetlink(7)). */
#ifndef GSI_TAILNET_WATCH_H
#define GSI_TAILNET_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gensock/error.h"

struct changes {
    bool addresses; /* or links */
    bool ways;      /* the default route */
};

/* A descriptor, readable when something has changed, in the calling thread's network; -errno. */
GS_MUST_USE int gsi_watch_open(void);
/* Adds what was said since the last call; does not block. More than the kernel could keep is a change of everything. */
void gsi_watch_read(int fd, struct changes *out);
/* One datagram of the kernel's. */
void gsi_watch_parse(const uint8_t *p, size_t n, struct changes *out);

#endif
