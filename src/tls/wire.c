/* wire.c: ciphertext between OpenSSL and the connection below.
 *
 * OpenSSL reads ahead: one read below for many records. While a call runs, a scratch gathers what is written: one write below for
 * many records. OpenSSL's writes always succeed: what below does not take stays in wire.out, so that plaintext that was accepted
 * is never asked for again. Between calls a connection keeps only what could not go on.
 */
#include <errno.h>
#include <string.h>

#include "tls/tls.h"

enum {
    WRITE_MAX = 64 * 1024,
    RECORD_ROOM = 17 * 1024, /* RFC 8446, 5.2: 2^14 + 256 and its header; with a goodbye behind it */
    SPARES = 4,
    MISSES = 8,
    DISCARDS = 256, /* tickets come in few pieces; who sends without end is reset */
};

struct scratch {
    size_t out_n;
    uint8_t out[WRITE_MAX + RECORD_ROOM];
};

/* A few are kept: most calls need one, for a short time. */
static struct {
    pthread_mutex_t mutex;
    int n;
    struct scratch *p[SPARES];
} spare = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct scratch *scratch_take(void)
{
    pthread_mutex_lock(&spare.mutex);
    struct scratch *s = spare.n ? spare.p[--spare.n] : NULL;
    pthread_mutex_unlock(&spare.mutex);
    if (!s)
        s = OPENSSL_malloc(sizeof *s);
    if (s)
        s->out_n = 0;
    return s;
}

static void scratch_give(struct scratch *s)
{
    pthread_mutex_lock(&spare.mutex);
    bool kept = spare.n < SPARES;
    if (kept)
        spare.p[spare.n++] = s;
    pthread_mutex_unlock(&spare.mutex);
    if (!kept)
        OPENSSL_free(s);
}

/* ---- reading ---- */

/* The bytes, 0 for the end, -EAGAIN, or an error. */
static ssize_t read_below(struct wire *w, void *to, size_t cap)
{
    ssize_t k;
    do
        k = gs_io_readv(w->lower, &(struct iovec){to, cap}, 1);
    while (k == -EINTR);
    return k == GS_EWANT_READ || k == GS_EWANT_WRITE ? -EAGAIN : k;
}

static int bio_read(BIO *bio, char *to, int cap)
{
    struct wire *w = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (cap <= 0 || w->error)
        return -1;
    ssize_t k = w->no_more_reads ? -EAGAIN : w->eof ? 0 : read_below(w, to, (size_t)cap);
    if (k == -EAGAIN)
        BIO_set_retry_read(bio);
    else if (k < 0)
        w->error = (int)k;
    w->eof |= k == 0;
    return k < 0 ? -1 : (int)k;
}

/* ---- writing ---- */

/* As much as below takes now: the bytes, or an error. */
static ssize_t write_below(struct wire *w, const uint8_t *p, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t k = gs_io_writev(w->lower, &(struct iovec){(void *)(uintptr_t)(p + done), n - done}, 1);
        if (k == -EINTR)
            continue;
        if (k == 0 || k == -EAGAIN || k == GS_EWANT_READ || k == GS_EWANT_WRITE)
            break;
        if (k < 0)
            return k;
        done += (size_t)k;
    }
    return (ssize_t)done;
}

/* Behind what is held back already. */
static int hold(struct wire *w, const uint8_t *p, size_t n)
{
    if (!n)
        return 0;
    size_t held = w->out_n - w->out_at;
    uint8_t *fresh = OPENSSL_malloc(held + n);
    if (!fresh)
        return w->error = -ENOMEM;
    if (held)
        memcpy(fresh, w->out + w->out_at, held);
    memcpy(fresh + held, p, n);
    OPENSSL_free(w->out);
    w->out = fresh;
    w->out_at = 0;
    w->out_n = held + n;
    return 0;
}

/* Nothing can be written any more. What the peer sent before it went, an alert perhaps, is still read. */
static int broken(struct wire *w, int error)
{
    w->broken = error;
    OPENSSL_free(w->out);
    w->out = NULL;
    w->out_at = w->out_n = 0;
    return error;
}

static int flush_below(struct wire *w)
{
    int e;
    do
        e = gs_io_flush(w->lower);
    while (e == -EINTR);
    if (e == GS_EWANT_READ || e == GS_EWANT_WRITE)
        return -EAGAIN;
    return e < 0 && e != -EAGAIN ? broken(w, e) : e;
}

int wire_flush(struct wire *w)
{
    if (w->error || w->broken)
        return w->error ? w->error : w->broken;
    if (w->out) {
        ssize_t k = write_below(w, w->out + w->out_at, w->out_n - w->out_at);
        if (k < 0)
            return broken(w, (int)k);
        w->out_at += (size_t)k;
        if (w->out_at < w->out_n)
            return -EAGAIN;
        OPENSSL_free(w->out);
        w->out = NULL;
        w->out_at = w->out_n = 0;
    }
    return flush_below(w);
}

/* The scratch's output goes below or is held back. */
static int drain(struct wire *w)
{
    struct scratch *s = w->scratch;
    if (!s->out_n)
        return w->error;
    bool goes = !w->error && !w->broken;
    ssize_t k = goes && !w->out ? write_below(w, s->out, s->out_n) : 0;
    if (k < 0)
        (void)broken(w, (int)k);
    else if (goes && (size_t)k < s->out_n)
        (void)hold(w, s->out + k, s->out_n - (size_t)k);
    s->out_n = 0;
    return w->error;
}

static int bio_write(BIO *bio, const char *p, int n)
{
    struct wire *w = BIO_get_data(bio);
    struct scratch *s = w->scratch;
    BIO_clear_retry_flags(bio);
    if (n <= 0 || w->error)
        return -1;
    if ((size_t)n > sizeof s->out - s->out_n && drain(w) < 0)
        return -1;
    if ((size_t)n > sizeof s->out)
        return hold(w, (const uint8_t *)p, (size_t)n) < 0 ? -1 : n;
    memcpy(s->out + s->out_n, p, (size_t)n);
    s->out_n += (size_t)n;
    return n;
}

bool wire_room(struct wire *w)
{
    return w->scratch->out_n < WRITE_MAX - RECORD_ROOM || (drain(w) == 0 && !w->out);
}

/* ---- the BIO ---- */

static long bio_ctrl(BIO *bio, int what, long n, void *p)
{
    (void)n, (void)p;
    const struct wire *w = BIO_get_data(bio);
    switch (what) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return w->eof;
    default: return 0;
    }
}

static BIO_METHOD *method;

static void make_method(void)
{
    int type = BIO_get_new_index();
    method = type > 0 ? BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "gensock") : NULL;
    if (method && (!BIO_meth_set_read(method, bio_read) || !BIO_meth_set_write(method, bio_write) || !BIO_meth_set_ctrl(method, bio_ctrl))) {
        BIO_meth_free(method);
        method = NULL;
    }
}

int wire_bio(struct wire *w, BIO **out)
{
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER; /* again after a lack of memory */
    pthread_mutex_lock(&once);
    if (!method)
        make_method();
    pthread_mutex_unlock(&once);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio)
        return -ENOMEM;
    BIO_set_data(bio, w);
    BIO_set_init(bio, 1);
    *out = bio;
    return 0;
}

/* ---- calls ---- */

int wire_begin(struct wire *w)
{
    w->no_more_reads = false;
    w->scratch = scratch_take();
    return w->scratch ? 0 : -ENOMEM;
}

int wire_end(struct wire *w)
{
    int e = drain(w);
    scratch_give(w->scratch);
    w->scratch = NULL;
    return e < 0 ? e : w->broken ? w->broken : w->out ? -EAGAIN : flush_below(w);
}

void wire_discard(struct wire *w)
{
    uint8_t waste[4096];
    int misses = 0; /* one EAGAIN may be for nothing; a ticket left behind would cost the peer what is still under way to it */
    for (int i = 0; i < DISCARDS && misses < MISSES && !w->eof && !w->error; i++) {
        ssize_t k = read_below(w, waste, sizeof waste);
        if (k != -EAGAIN && k <= 0)
            break;
        misses += k == -EAGAIN;
    }
}

void wire_free(struct wire *w)
{
    OPENSSL_free(w->out);
    w->out = NULL;
}
