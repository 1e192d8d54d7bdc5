/* flusher.h: the core's one background thread, made by the first output that is stuck, and there for good from then on: for tests
 * that count threads, descriptors and blocks. */
#ifndef TEST_FLUSHER_H
#define TEST_FLUSHER_H

#include <gensock/mailbox.h>
#include <gensock/stream.h>

#include "support.h"

static inline void flusher_is_there(void)
{
    static uint8_t bytes[1 << 20];
    gs_mailbox m;
    gs_stream l, a, b;
    int e = 0;
    assert_ok(gs_mailbox_new(&m));
    assert_ok(gs_stream_listen(&l, "mem://flusher-is-there", NULL, m));
    assert_ok(gs_stream_connect(&a, "mem://flusher-is-there", GS_OPTS(GS_INT(SEND_TIMEOUT, GS_NOWAIT)), m, 1000));
    assert_ok(gs_stream_accept(l, &b, GS_NO_MAILBOX, 1000, NULL));
    for (int i = 0; i < 64 && e == 0; i++)
        e = gs_stream_send(a, bytes, sizeof bytes);
    assert_true(e < 0);
    gs_stream_close(a);
    gs_stream_close(b);
    gs_stream_close(l);
    gs_mailbox_free(m);
}

#endif
