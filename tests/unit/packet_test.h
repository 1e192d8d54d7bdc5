/* packet_test.h: expectations that the packet_*.c tests share. Inputs are string literals: B("\0\1a") is three bytes. Each
 * decode runs on an exact copy on the heap, so that ASan sees a read outside. */
#ifndef PACKET_TEST_H
#define PACKET_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "gensock/packet.h"
#include "packet/packet.h"

#define B(text) ((gs_bytes){(const uint8_t *)(text), sizeof(text) - 1})
/* PACKET(GS_PACKET_4, .packet_size = 3) */
#define PACKET(...) ((gs_decoder){.line_delimiter = '\n', .type = __VA_ARGS__})

static inline void assert_bytes(gs_bytes got, gs_bytes want)
{
    assert_int_equal(got.n, want.n);
    if (want.n)
        assert_memory_equal(got.p, want.p, want.n);
}

/* The exact copy; free it. */
static inline uint8_t *copy_of(gs_bytes in, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, in.p, n);
    return copy;
}

static inline ssize_t length_of(gs_decoder d, gs_bytes in, size_t n, size_t *more)
{
    gs_packet p;
    uint8_t *copy = copy_of(in, n);
    ssize_t used = gs_decode(&d, copy, n, &p, more);
    free(copy);
    return used;
}

static inline void assert_more(gs_decoder d, gs_bytes in, size_t want)
{
    size_t more = 12345;
    assert_int_equal(length_of(d, in, in.n, &more), 0);
    assert_int_equal(more, want);
}

static inline void assert_invalid(gs_decoder d, gs_bytes in)
{
    assert_int_equal(length_of(d, in, in.n, NULL), GS_EINVALID);
}

/* Bytes kinds: `used` bytes are taken off and the body is `body`; gsi_frame says the same. */
static inline void assert_packet(gs_decoder d, gs_bytes in, size_t used, gs_bytes body)
{
    gs_packet p;
    gs_bytes frame;
    size_t more;
    uint8_t *copy = copy_of(in, in.n);
    assert_int_equal(gs_decode(&d, copy, in.n, &p, NULL), used);
    assert_int_equal(p.kind, GS_PK_BYTES);
    assert_bytes(p.data, body);
    assert_int_equal(p.header.n, 0);
    assert_int_equal(gsi_frame(&d, copy, in.n, &frame, &more), used);
    assert_ptr_equal(frame.p, p.data.p);
    assert_int_equal(frame.n, p.data.n);
    free(copy);
}

/* Each prefix shorter than `whole` wants more, and never names another length than `length` (0: names none); each longer one
 * answers `length` bytes. */
static inline void assert_every_cut(gs_decoder d, gs_bytes in, size_t whole, size_t length)
{
    for (size_t n = 0; n <= in.n; n++) {
        size_t more = 0;
        ssize_t used = length_of(d, in, n, &more);
        assert_int_equal(used, n < whole ? 0 : (ssize_t)length);
        if (used == 0 && more)
            assert_int_equal(more, length);
    }
}

#endif
