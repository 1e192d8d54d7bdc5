/* frames.c: frames.h. */
#include "tailnet/derp/frames.h"

#include <errno.h>
#include <string.h>

#include "tailnet/bytes/bytes.h"

const uint8_t gsi_derp_magic[DERP_MAGIC_LEN] = {0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};

/* How long a body may be; 0: an unknown type. */
static uint32_t longest(uint8_t type)
{
    switch (type) {
    case DERP_SERVER_KEY:
    case DERP_KEEP_ALIVE:
    case DERP_NOTE_PREFERRED:
    case DERP_PEER_GONE:
    case DERP_PEER_PRESENT:
    case DERP_WATCH_CONNS:
    case DERP_CLOSE_PEER:
    case DERP_PING:
    case DERP_PONG:
    case DERP_HEALTH:
    case DERP_RESTARTING: return DERP_SMALL_MAX;
    case DERP_CLIENT_INFO:
    case DERP_SERVER_INFO: return KEY_LEN + XNONCE_LEN + BOX_OVERHEAD + DERP_INFO_MAX;
    case DERP_SEND_PACKET:
    case DERP_RECV_PACKET: return KEY_LEN + DERP_PACKET_MAX;
    case DERP_FORWARD_PACKET: return 2 * KEY_LEN + DERP_PACKET_MAX;
    default: return 0;
    }
}

void gsi_derp_frames_fini(struct derp_frames *f)
{
    OPENSSL_free(f->body);
    *f = (struct derp_frames){0};
}

static int begin_body(struct derp_frames *f)
{
    struct reader r = reader_of(f->head, DERP_HEADER_LEN);
    uint32_t most = longest(read_u8(&r));
    f->length = read_u32(&r);
    f->got = 0;
    f->skips = !most;
    return f->length <= (most ? most : DERP_FRAME_MAX) ? 0 : GS_EINVALID;
}

/* Grown with what has come, so that an announced length costs its sender as much as us. */
static int gather(struct derp_frames *f, const uint8_t *in, size_t n)
{
    if (f->cap < f->got + n) {
        size_t cap = 2 * (f->got + n);
        cap = cap < f->length ? cap : f->length;
        uint8_t *more = OPENSSL_realloc(f->body, cap);
        if (!more)
            return -ENOMEM;
        f->body = more;
        f->cap = cap;
    }
    memcpy(f->body + f->got, in, n);
    return 0;
}

ssize_t gsi_derp_frames_feed(struct derp_frames *f, const void *in, size_t len, struct derp_frame *out)
{
    const uint8_t *p = in, *end = p + len;
    *out = (struct derp_frame){0};
    while (f->head_n < DERP_HEADER_LEN && p < end) {
        f->head[f->head_n++] = *p++;
        int e = f->head_n == DERP_HEADER_LEN ? begin_body(f) : 0;
        if (e < 0)
            return e;
    }
    if (f->head_n < DERP_HEADER_LEN)
        return (ssize_t)len;
    size_t left = f->length - f->got, n = (size_t)(end - p) < left ? (size_t)(end - p) : left;
    bool in_place = !f->got && n == left;
    int e = n && !f->skips && !in_place ? gather(f, p, n) : 0;
    if (e < 0)
        return e;
    f->got += (uint32_t)n;
    if (f->got == f->length) {
        f->head_n = 0;
        if (!f->skips)
            *out = (struct derp_frame){.whole = true, .type = f->head[0], .body = in_place ? p : f->body, .n = f->length};
    }
    return p + n - (const uint8_t *)in;
}

void gsi_derp_head(uint8_t out[DERP_HEADER_LEN], enum derp_type type, size_t n)
{
    struct writer w = writer_of(out, DERP_HEADER_LEN);
    write_u8(&w, (uint8_t)type);
    write_u32(&w, (uint32_t)n);
}
