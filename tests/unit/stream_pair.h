/* stream_pair.h: two ends of a TCP connection on loopback, for tests of what only a kernel's streams show. */
#ifndef TEST_STREAM_PAIR_H
#define TEST_STREAM_PAIR_H

#include <stdio.h>

#include "gensock/stream.h"
#include "support.h"

enum { PAIR_WAIT_MS = 10000 };

struct tcp_pair {
    gs_stream listener, a, b; /* a connects, without owner; b is accepted for mb, or without owner */
    gs_mailbox mb;
    char at[64];
};

static inline void tcp_listen(struct tcp_pair *p, const gs_opt *opts, gs_mailbox owner)
{
    assert_ok(gs_stream_listen(&p->listener, "tcp://127.0.0.1:0", opts, owner));
    snprintf(p->at, sizeof p->at, "tcp://127.0.0.1:%ld", assert_ok(gs_stream_port(p->listener)));
}

static inline void tcp_pair_open(struct tcp_pair *p, const gs_opt *client, const gs_opt *server, bool owned)
{
    assert_ok(gs_mailbox_new(&p->mb));
    tcp_listen(p, server, GS_NO_MAILBOX);
    assert_ok(gs_stream_connect(&p->a, p->at, client, GS_NO_MAILBOX, PAIR_WAIT_MS));
    assert_ok(gs_stream_accept(p->listener, &p->b, owned ? p->mb : GS_NO_MAILBOX, PAIR_WAIT_MS, NULL));
}

static inline void tcp_pair_close(struct tcp_pair *p)
{
    gs_stream_close(p->a);
    gs_stream_close(p->b);
    gs_stream_close(p->listener);
    gs_mailbox_free(p->mb);
}

#endif
