/* bytes.h: the bounded reader and writer that every protocol of the tailnet goes through.
 *
 * Both remember the first overrun: a parser reads all its fields and asks once, `if (!r.ok)`; a reader that ran over answers
 * zeros. Network order unless the name says le.
 *
 *     struct reader r = reader_of(in, n);
 *     uint8_t type = read_u8(&r);
 *     const uint8_t *key = read_bytes(&r, KEY_LEN);
 *     if (!r.ok)
 *         return GS_EINVALID;
 */
#ifndef GSI_TAILNET_BYTES_H
#define GSI_TAILNET_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct reader {
    const uint8_t *p;
    size_t n; /* left */
    bool ok;
};

static inline struct reader reader_of(const void *p, size_t n) { return (struct reader){p, n, true}; }

/* The next n bytes, borrowed from the input; NULL when there are not so many. */
static inline const uint8_t *read_bytes(struct reader *r, size_t n)
{
    if (!r->ok || n > r->n) {
        r->ok = false;
        r->n = 0;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    r->n -= n;
    return p;
}

static inline void read_copy(struct reader *r, void *out, size_t n)
{
    const uint8_t *p = read_bytes(r, n);
    if (p)
        memcpy(out, p, n);
    else
        memset(out, 0, n);
}

static inline uint64_t read_be(struct reader *r, int bytes)
{
    const uint8_t *p = read_bytes(r, (size_t)bytes);
    uint64_t v = 0;
    for (int i = 0; p && i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static inline uint64_t read_le(struct reader *r, int bytes)
{
    const uint8_t *p = read_bytes(r, (size_t)bytes);
    uint64_t v = 0;
    for (int i = bytes; p && i > 0; i--)
        v = v << 8 | p[i - 1];
    return v;
}

static inline uint8_t read_u8(struct reader *r) { return (uint8_t)read_be(r, 1); }
static inline uint16_t read_u16(struct reader *r) { return (uint16_t)read_be(r, 2); }
static inline uint32_t read_u32(struct reader *r) { return (uint32_t)read_be(r, 4); }
static inline uint32_t read_le32(struct reader *r) { return (uint32_t)read_le(r, 4); }
static inline uint64_t read_le64(struct reader *r) { return read_le(r, 8); }

struct writer {
    uint8_t *p;
    size_t n, cap; /* written, room in all */
    bool ok;
};

static inline struct writer writer_of(void *p, size_t cap) { return (struct writer){p, 0, cap, true}; }

/* Room for n bytes, to be filled by the caller; NULL when there is none. */
static inline uint8_t *write_room(struct writer *w, size_t n)
{
    if (!w->ok || n > w->cap - w->n) {
        w->ok = false;
        return NULL;
    }
    uint8_t *p = w->p + w->n;
    w->n += n;
    return p;
}

static inline void write_bytes(struct writer *w, const void *from, size_t n)
{
    uint8_t *p = write_room(w, n);
    if (p && n)
        memcpy(p, from, n);
}

static inline void write_zeros(struct writer *w, size_t n)
{
    uint8_t *p = write_room(w, n);
    if (p && n)
        memset(p, 0, n);
}

static inline void write_be(struct writer *w, uint64_t v, int bytes)
{
    uint8_t *p = write_room(w, (size_t)bytes);
    for (int i = bytes; p && i > 0; i--, v >>= 8)
        p[i - 1] = (uint8_t)v;
}

static inline void write_le(struct writer *w, uint64_t v, int bytes)
{
    uint8_t *p = write_room(w, (size_t)bytes);
    for (int i = 0; p && i < bytes; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

static inline void write_u8(struct writer *w, uint8_t v) { write_be(w, v, 1); }
static inline void write_u16(struct writer *w, uint16_t v) { write_be(w, v, 2); }
static inline void write_u32(struct writer *w, uint32_t v) { write_be(w, v, 4); }
static inline void write_le32(struct writer *w, uint32_t v) { write_le(w, v, 4); }
static inline void write_le64(struct writer *w, uint64_t v) { write_le(w, v, 8); }

#endif
