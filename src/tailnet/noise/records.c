/* records.c: the messages of ts2021 cut from a byte stream, and the records of the open channel (tailnet-protocol.md 2.3 to
 * 2.5). */
#include <errno.h>
#include <string.h>

#include "tailnet/bytes/bytes.h"
#include "tailnet/noise/noise.h"
#include "tailnet/noise/wire.h"

enum { REFUSAL_TEXT_MAX = 200 };

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* 4 zero bytes, then the counter, big-endian. */
static void nonce_of(uint8_t nonce[NONCE_LEN], uint64_t counter)
{
    struct writer w = writer_of(nonce, NONCE_LEN);
    write_zeros(&w, NONCE_LEN - 8);
    write_be(&w, counter, 8);
}

/* ---- receiving ---- */

/* Where a message's type stands: the version is in front of an initiation. */
static size_t head_len(const struct noise *n)
{
    return n->state == NOISE_EXPECT_INITIATION ? 2 + NOISE_HEADER_LEN : NOISE_HEADER_LEN;
}

/* The length of the message that begins n->in, whose head is there; 0: no such message is due. */
static size_t message_len(const struct noise *n)
{
    struct reader r = reader_of(n->in, head_len(n));
    if (n->state == NOISE_EXPECT_INITIATION)
        (void)read_u16(&r);
    uint8_t type = read_u8(&r);
    size_t body = read_u16(&r), whole = head_len(n) + body;
    switch (n->state) {
    case NOISE_EXPECT_INITIATION:
        return type == INITIATION && whole == NOISE_INITIATION_LEN ? whole : 0;
    case NOISE_EXPECT_RESPONSE:
        return (type == RESPONSE && whole == NOISE_RESPONSE_LEN) || (type == REFUSAL && whole <= NOISE_RECORD_MAX) ? whole : 0;
    case NOISE_OPEN:
        return type == RECORD && body >= TAG_LEN && whole <= NOISE_RECORD_MAX ? whole : 0;
    default:
        return 0;
    }
}

/* The server's words are anybody's: what is not printable ASCII becomes a dot. */
static int refused(const uint8_t *text, size_t len)
{
    char shown[REFUSAL_TEXT_MAX + 1];
    len = smaller(len, REFUSAL_TEXT_MAX);
    for (size_t i = 0; i < len; i++)
        shown[i] = text[i] >= 0x20 && text[i] < 0x7f ? (char)text[i] : '.';
    shown[len] = 0;
    return gs_fail(-ECONNREFUSED, "the control server refused the handshake: \"%s\"", shown);
}

static int open_record(struct noise *n, size_t whole)
{
    uint8_t nonce[NONCE_LEN];
    if (n->received == UINT64_MAX)
        return GS_EINVALID;
    nonce_of(nonce, n->received);
    uint8_t *body = n->in + NOISE_HEADER_LEN;
    if (!gsi_open(body, n->receive_key, nonce, NULL, 0, body, whole - NOISE_HEADER_LEN))
        return GS_EINVALID;
    n->received++;
    n->plain_at = NOISE_HEADER_LEN;
    n->plain_end = whole - TAG_LEN;
    return 0;
}

static int take_message(struct noise *n, size_t whole)
{
    const uint8_t *body = n->in + head_len(n);
    switch (n->state) {
    case NOISE_EXPECT_INITIATION:
        n->version = (uint16_t)(n->in[0] << 8 | n->in[1]);
        return gsi_noise_read_initiation(n, body);
    case NOISE_EXPECT_RESPONSE:
        return n->in[0] == REFUSAL ? refused(body, whole - NOISE_HEADER_LEN) : gsi_noise_read_response(n, body);
    default:
        return open_record(n, whole);
    }
}

ssize_t gsi_noise_feed(struct noise *n, const void *in, size_t len)
{
    struct reader r = reader_of(in, len);
    if (n->state == NOISE_FAILED)
        return n->error;
    while (r.n && n->plain_at == n->plain_end) {
        size_t head = head_len(n), whole = n->in_n < head ? head : message_len(n);
        if (!whole)
            return gsi_noise_fail(n, GS_EINVALID);
        size_t k = smaller(whole - n->in_n, r.n);
        read_copy(&r, n->in + n->in_n, k);
        n->in_n += k;
        if (n->in_n < head)
            continue;
        whole = message_len(n);
        if (!whole)
            return gsi_noise_fail(n, GS_EINVALID);
        if (n->in_n < whole)
            continue;
        int e = take_message(n, whole);
        if (e)
            return gsi_noise_fail(n, e);
        n->in_n = 0;
    }
    return (ssize_t)(len - r.n);
}

size_t gsi_noise_take(struct noise *n, void *out, size_t cap)
{
    size_t k = smaller(cap, n->plain_end - n->plain_at);
    if (k)
        memcpy(out, n->in + n->plain_at, k);
    n->plain_at += k;
    return k;
}

/* ---- sending ---- */

ssize_t gsi_noise_put(struct noise *n, const void *in, size_t len)
{
    uint8_t nonce[NONCE_LEN];
    if (n->state == NOISE_FAILED)
        return n->error;
    if (n->state != NOISE_OPEN || n->out_n || !len)
        return 0;
    if (n->sent == UINT64_MAX)
        return gsi_noise_fail(n, -EMSGSIZE);
    len = smaller(len, NOISE_PLAIN_MAX);
    struct writer w = writer_of(n->out, sizeof n->out);
    write_u8(&w, RECORD);
    write_u16(&w, (uint16_t)(len + TAG_LEN));
    nonce_of(nonce, n->sent++);
    gsi_seal(n->out + w.n, n->send_key, nonce, NULL, 0, in, len);
    n->out_n = w.n + len + TAG_LEN;
    return (ssize_t)len;
}

void gsi_noise_refuse(struct noise *n, const char *text)
{
    size_t len = strnlen(text, REFUSAL_TEXT_MAX);
    struct writer w = writer_of(n->out, sizeof n->out);
    write_u8(&w, REFUSAL);
    write_u16(&w, (uint16_t)len);
    write_bytes(&w, text, len);
    n->out_at = 0;
    n->out_n = w.n;
    (void)gsi_noise_fail(n, -ECONNREFUSED);
}

size_t gsi_noise_output(struct noise *n, void *out, size_t cap)
{
    size_t k = smaller(cap, n->out_n - n->out_at);
    if (k)
        memcpy(out, n->out + n->out_at, k);
    n->out_at += k;
    if (n->out_at == n->out_n)
        n->out_at = n->out_n = 0;
    return k;
}

/* ---- the early payload ---- */

static const uint8_t early_magic[] = {0xff, 0xff, 0xff, 'T', 'S'};

ssize_t gsi_early_feed(struct early *e, const void *in, size_t len)
{
    struct reader r = reader_of(in, len);
    while (r.n && !e->decided) {
        if (e->n < EARLY_HEAD_LEN)
            e->want = EARLY_HEAD_LEN;
        size_t k = smaller(e->want - e->n, r.n);
        read_copy(&r, e->bytes + e->n, k);
        e->n += k;
        if (e->n == EARLY_HEAD_LEN && !e->present) {
            struct reader head = reader_of(e->bytes + sizeof early_magic, 4);
            e->present = memcmp(e->bytes, early_magic, sizeof early_magic) == 0;
            size_t body = e->present ? read_u32(&head) : 0;
            if (body > EARLY_PAYLOAD_MAX) {
                e->present = false; /* and again so when fed again */
                return GS_EINVALID;
            }
            e->want = EARLY_HEAD_LEN + body;
        }
        e->decided = e->n == e->want && e->n >= EARLY_HEAD_LEN;
    }
    return (ssize_t)(len - r.n);
}
