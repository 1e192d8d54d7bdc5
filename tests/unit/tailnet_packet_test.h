/* For the programs about inner packets: headers to be filled, and a parser that sees a read beyond the packet. */
#ifndef TEST_TAILNET_PACKET_TEST_H
#define TEST_TAILNET_PACKET_TEST_H

#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tailnet/packet/packet.h"

enum { ROOM = 512 };

static inline void put16(uint8_t *p, unsigned v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }

/* A header and n bytes behind it, addresses 100.64.0.1 -> 100.64.0.2 and fd7a:115c:a1e0::1 -> ::2; the length. */
static inline size_t v4(uint8_t *out, unsigned options, uint8_t protocol, size_t n)
{
    size_t header = 20 + options;
    memset(out, 0, ROOM);
    out[0] = (uint8_t)(0x40 | header / 4);
    put16(out + 2, (unsigned)(header + n));
    out[8] = 64;
    out[9] = protocol;
    memcpy(out + 12, "\x64\x40\0\1\x64\x40\0\2", 8);
    return header + n;
}

static inline size_t v6(uint8_t *out, uint8_t next, size_t n)
{
    memset(out, 0, ROOM);
    out[0] = 0x60;
    put16(out + 4, (unsigned)n);
    out[6] = next;
    out[7] = 64;
    memcpy(out + 8, "\xfd\x7a\x11\x5c\xa1\xe0", 6);
    memcpy(out + 24, "\xfd\x7a\x11\x5c\xa1\xe0", 6);
    out[23] = 1;
    out[39] = 2;
    return 40 + n;
}

static inline void tcp(uint8_t *t, uint8_t flags)
{
    put16(t, 40000);
    put16(t + 2, 80);
    t[12] = 0x50;
    t[13] = flags;
}

/* In an allocation of exactly n bytes: a read beyond is seen. */
static inline int parse(const uint8_t *in, size_t n, struct packet *p)
{
    uint8_t *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    if (n)
        memcpy(exact, in, n);
    memset(p, 0xee, sizeof *p);
    int e = gsi_packet_parse(exact, n, p);
    struct packet none = {0};
    if (e < 0)
        assert_memory_equal(p, &none, sizeof none);
    free(exact);
    return e;
}

#endif
