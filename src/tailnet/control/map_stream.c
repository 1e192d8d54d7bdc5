/* map_stream.c: messages cut from the body of a map answer, and opened when they are compressed. */
#include "tailnet/control/map_stream.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <zstd.h>

#include "tailnet/bytes/bytes.h"

enum {
    FIRST = 4 * 1024,      /* of a buffer: it grows as bytes come, whatever length was announced */
    IDLE_MAX = 64 * 1024,  /* what is kept between messages */
    WINDOW_LOG_MAX = 23,   /* 8 MiB: the largest window of Go's encoder at the levels that servers use */
};

void gsi_map_stream_init(struct map_stream *m, bool compressed, size_t frame_max, size_t decoded_max)
{
    memset(m, 0, sizeof *m);
    m->compressed = compressed;
    m->frame_max = frame_max;
    m->decoded_max = decoded_max;
}

void gsi_map_stream_fini(struct map_stream *m)
{
    OPENSSL_free(m->frame);
    OPENSSL_free(m->decoded);
    ZSTD_freeDCtx(m->context);
    memset(m, 0, sizeof *m);
    m->error = GS_ECLOSED;
}

static int grow(uint8_t **p, size_t *cap, size_t to)
{
    uint8_t *fresh = to > *cap ? OPENSSL_realloc(*p, to) : *p;
    if (!fresh)
        return -ENOMEM;
    *p = fresh;
    *cap = to > *cap ? to : *cap;
    return 0;
}

static size_t doubled(size_t cap, size_t max)
{
    size_t twice = cap ? 2 * cap : FIRST;
    return twice < max ? twice : max;
}

/* ---- zstd ---- */

static int too_long(const struct map_stream *m)
{
    return gs_fail(-EMSGSIZE, "a map message is longer than %zu bytes decoded; the limit is the configuration's", m->decoded_max);
}

static int zstd_context(struct map_stream *m)
{
    if (!m->context && !(m->context = ZSTD_createDCtx()))
        return -ENOMEM;
    size_t a = ZSTD_DCtx_reset(m->context, ZSTD_reset_session_only);
    size_t b = ZSTD_DCtx_setParameter(m->context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    return ZSTD_isError(a) || ZSTD_isError(b) ? -ENOMEM : 0;
}

/* Exactly one frame in m->frame; its size may be known in front, and is then not exceeded. */
static int decompress(struct map_stream *m, gs_bytes *message)
{
    unsigned long long known = ZSTD_getFrameContentSize(m->frame, m->frame_n);
    if (known == ZSTD_CONTENTSIZE_ERROR)
        return GS_EINVALID;
    if (known != ZSTD_CONTENTSIZE_UNKNOWN && known > m->decoded_max)
        return too_long(m);
    int e = zstd_context(m);
    size_t first = known == ZSTD_CONTENTSIZE_UNKNOWN ? doubled(0, m->decoded_max) : (size_t)known + 1;
    if (e == 0)
        e = grow(&m->decoded, &m->decoded_cap, first);
    ZSTD_inBuffer in = {m->frame, m->frame_n, 0};
    ZSTD_outBuffer out = {m->decoded, m->decoded_cap, 0};
    for (size_t left = 1; e == 0 && left;) {
        size_t in_was = in.pos, out_was = out.pos;
        left = ZSTD_decompressStream(m->context, &out, &in);
        if (ZSTD_isError(left))
            return GS_EINVALID;
        if (left && out.pos == out.size) {
            if (out.size >= m->decoded_max)
                return too_long(m);
            e = grow(&m->decoded, &m->decoded_cap, doubled(m->decoded_cap, m->decoded_max));
            out.dst = m->decoded;
            out.size = m->decoded_cap;
        } else if (left && in.pos == in_was && out.pos == out_was) {
            return GS_EINVALID; /* the frame goes on behind the message */
        }
    }
    if (e || in.pos != in.size || !out.pos || out.pos > m->decoded_max)
        return e ? e : out.pos > m->decoded_max ? too_long(m) : GS_EINVALID;
    *message = (gs_bytes){m->decoded, out.pos};
    return 0;
}

/* ---- frames ---- */

static int begin(struct map_stream *m)
{
    struct reader r = reader_of(m->head, sizeof m->head);
    m->frame_len = read_le32(&r);
    m->frame_n = 0;
    if (m->frame_cap > IDLE_MAX) {
        OPENSSL_free(m->frame);
        m->frame = NULL;
        m->frame_cap = 0;
    }
    if (m->decoded_cap > IDLE_MAX) {
        OPENSSL_free(m->decoded);
        m->decoded = NULL;
        m->decoded_cap = 0;
    }
    if (!m->frame_len)
        return gs_fail(GS_EINVALID, "a map message of no length");
    if (m->frame_len > m->frame_max)
        return gs_fail(-EMSGSIZE, "a map message of %zu bytes; the limit is %zu", m->frame_len, m->frame_max);
    return 0;
}

static int take_part(struct map_stream *m, struct reader *r)
{
    size_t n = m->frame_len - m->frame_n;
    n = n < r->n ? n : r->n;
    while (m->frame_cap < m->frame_n + n) {
        int e = grow(&m->frame, &m->frame_cap, doubled(m->frame_cap, m->frame_max));
        if (e)
            return e;
    }
    read_copy(r, m->frame + m->frame_n, n);
    m->frame_n += n;
    return 0;
}

ssize_t gsi_map_stream_feed(struct map_stream *m, const void *in, size_t n, gs_bytes *message)
{
    struct reader r = reader_of(in, n);
    *message = (gs_bytes){NULL, 0};
    while (r.n && !m->error && !message->p) {
        if (m->head_n < sizeof m->head) {
            m->head[m->head_n++] = read_u8(&r);
            if (m->head_n == sizeof m->head)
                m->error = begin(m);
            continue;
        }
        m->error = take_part(m, &r);
        if (m->error || m->frame_n < m->frame_len)
            continue;
        m->head_n = 0;
        if (m->compressed)
            m->error = decompress(m, message);
        else
            *message = (gs_bytes){m->frame, m->frame_n};
        if (m->error == GS_EINVALID)
            (void)gs_fail(GS_EINVALID, "a map message is not one zstd frame");
    }
    return m->error ? m->error : (ssize_t)(n - r.n);
}

int gsi_map_stream_end(const struct map_stream *m) { return m->error ? m->error : m->head_n ? GS_ECLOSED : 0; }
