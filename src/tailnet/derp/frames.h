/* frames.h: the frames of DERP, Tailscale's relay protocol: type 1 | length 4 | body. Both sides use it.
 *
 *     while (len) {
 *         ssize_t k = gsi_derp_frames_feed(&f, in, len, &frame);
 *         if (k < 0) …the stream is no DERP…
 *         if (frame.whole) …frame.type, frame.body, frame.n…
 *         in += k, len -= (size_t)k;
 *     }
 *
 * A frame that lies whole in what was fed is shown where it is; one that comes in pieces is gathered in memory that is made for
 * it. Frames of unknown types are passed over without being gathered.
 */
#ifndef GSI_TAILNET_DERP_FRAMES_H
#define GSI_TAILNET_DERP_FRAMES_H

#include <sys/types.h>

#include "tailnet/crypto/crypto.h"

enum derp_type {
    DERP_SERVER_KEY = 0x01,     /* s: magic 8, the server's public key, anything */
    DERP_CLIENT_INFO = 0x02,    /* c: the client's public key, nonce, box of JSON */
    DERP_SERVER_INFO = 0x03,    /* s: nonce, box of JSON */
    DERP_SEND_PACKET = 0x04,    /* c: to whom, packet */
    DERP_RECV_PACKET = 0x05,    /* s: from whom, packet */
    DERP_KEEP_ALIVE = 0x06,     /* s */
    DERP_NOTE_PREFERRED = 0x07, /* c: 1: this relay is the client's home, 0: not */
    DERP_PEER_GONE = 0x08,      /* s: who, why (absent: 0) */
    DERP_PEER_PRESENT = 0x09,   /* s, to mesh peers: not for us */
    DERP_FORWARD_PACKET = 0x0a, /* mesh */
    DERP_WATCH_CONNS = 0x10,    /* mesh */
    DERP_CLOSE_PEER = 0x11,     /* mesh */
    DERP_PING = 0x12,           /* both: 8 bytes, which a pong repeats */
    DERP_PONG = 0x13,
    DERP_HEALTH = 0x14,         /* s: text; none: healthy again */
    DERP_RESTARTING = 0x15,     /* s: reconnect in, and try for, ms each */
};

enum { DERP_GONE_DISCONNECTED = 0, DERP_GONE_NOT_HERE = 1 };

enum {
    DERP_HEADER_LEN = 5,
    DERP_MAGIC_LEN = 8,
    DERP_PACKET_MAX = 64 * 1024,
    DERP_INFO_MAX = 16 * 1024,     /* JSON of either side; Go's own is below 200 bytes */
    DERP_SMALL_MAX = 1024,
    DERP_FRAME_MAX = 1024 * 1024,  /* of unknown types, which are skipped */
    DERP_PING_LEN = 8,
    DERP_VERSION = 2,
};

extern const uint8_t gsi_derp_magic[DERP_MAGIC_LEN];

struct derp_frame {
    bool whole; /* else: nothing yet */
    enum derp_type type;
    const uint8_t *body; /* borrowed until the next feed, or while the fed bytes live */
    size_t n;
};

struct derp_frames {
    uint8_t head[DERP_HEADER_LEN];
    uint8_t head_n;
    bool skips;        /* the body of an unknown type */
    uint32_t length, got;
    uint8_t *body;     /* gathered; OPENSSL_malloc */
    size_t cap;
};

void gsi_derp_frames_fini(struct derp_frames *f);
/* The bytes taken, up to the end of a whole frame. GS_EINVALID: a frame longer than its type may be; -ENOMEM. Final. */
GS_MUST_USE ssize_t gsi_derp_frames_feed(struct derp_frames *f, const void *in, size_t len, struct derp_frame *out);
/* Writes a frame's head; DERP_HEADER_LEN bytes. */
void gsi_derp_head(uint8_t out[DERP_HEADER_LEN], enum derp_type type, size_t n);

#endif
