/* tailnet_control_map.c: the framing of the map's body. The first byte: compressed or not, and the size of the pieces; whole and
 * in pieces it is the same, and within the limits. */
#include <assert.h>
#include <string.h>

#include "tailnet/control/map_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FRAME_MAX = 4096, DECODED_MAX = 16384 };

/* A hash of the messages, and how it ended. */
static uint64_t read_in_pieces(bool compressed, const uint8_t *p, size_t n, size_t piece, int *end)
{
    struct map_stream m;
    gs_bytes message;
    uint64_t hash = 14695981039346656037u;
    ssize_t k = 0;
    gsi_map_stream_init(&m, compressed, FRAME_MAX, DECODED_MAX);
    for (size_t at = 0; at < n && k >= 0; at += k > 0 ? (size_t)k : 0) {
        k = gsi_map_stream_feed(&m, p + at, piece < n - at ? piece : n - at, &message);
        assert(k != 0);
        if (k < 0 || !message.p)
            continue;
        assert(message.n && message.n <= (compressed ? (size_t)DECODED_MAX : (size_t)FRAME_MAX));
        for (size_t i = 0; i < message.n; i++)
            hash = (hash ^ message.p[i]) * 1099511628211u;
        hash = (hash ^ 256) * 1099511628211u;
    }
    assert(m.frame_cap <= FRAME_MAX);
    *end = gsi_map_stream_end(&m);
    gsi_map_stream_fini(&m);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int a, b;
    if (!size)
        return 0;
    bool compressed = data[0] & 1;
    uint64_t whole = read_in_pieces(compressed, data + 1, size - 1, size, &a), split = read_in_pieces(compressed, data + 1,
        size - 1, 1u + (data[0] >> 1), &b);
    assert(whole == split && a == b);
    return 0;
}
