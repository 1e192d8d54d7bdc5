/* map_stream.h: the body of a map answer, cut into messages (tailnet-protocol.md 4.2): u32 LE length, then JSON or a zstd frame
 * of it.
 *
 *     while (n && (k = gsi_map_stream_feed(&m, in, n, &message)) > 0) {
 *         if (message.p)
 *             use(message);
 *         in += k, n -= (size_t)k;
 *     }
 */
#ifndef GSI_TAILNET_CONTROL_MAP_STREAM_H
#define GSI_TAILNET_CONTROL_MAP_STREAM_H

#include "gensock/error.h"

struct map_stream {
    bool compressed;            /* as it was asked for: never told from the bytes */
    size_t frame_max, decoded_max;
    int error;
    size_t head_n, frame_n, frame_len, frame_cap, decoded_cap;
    uint8_t head[4];
    uint8_t *frame, *decoded;
    void *context;              /* zstd's */
};

void gsi_map_stream_init(struct map_stream *m, bool compressed, size_t frame_max, size_t decoded_max);
void gsi_map_stream_fini(struct map_stream *m);
/* How many bytes were taken: all, or up to the end of the first message, which is then in `message` (else its p is NULL),
 * borrowed until the next call. GS_EINVALID (malformed), -EMSGSIZE (over a limit), -ENOMEM; the first error is final. */
GS_MUST_USE ssize_t gsi_map_stream_feed(struct map_stream *m, const void *in, size_t n, gs_bytes *message);
/* The body ended: 0, or GS_ECLOSED within a message. */
GS_MUST_USE int gsi_map_stream_end(const struct map_stream *m);

#endif
