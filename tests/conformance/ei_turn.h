/* ei_turn.h: registers a table for the suite, which may run under faults from its first line on. */
#ifndef TEST_EI_TURN_H
#define TEST_EI_TURN_H

#include <errno.h>
#include <gensock/ei.h>
#include <stdlib.h>

static inline void turn(const char *scheme, const ei_socket_callbacks *table, int size, void *setup)
{
    int e;
    do
        e = gs_transport_from_ei(scheme, table, size, setup);
    while (e == -ENOMEM);
    if (e < 0)
        abort();
}

/* The thread that watches is there before threads are counted. */
static inline void start_watching(const char *address)
{
    gs_stream l;
    if (gs_stream_listen(&l, address, NULL, GS_NO_MAILBOX) == 0)
        gs_stream_close(l);
}

#endif
