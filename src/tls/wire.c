/* wire.c: ciphertext between OpenSSL and the connection below.
 *
 * While a call runs, a scratch holds what was read at once (one read for many records) and what is to be written at once (one
 * write for many records). OpenSSL's writes always succeed: what below does not take stays in wire.out, so that plaintext that
 * was accepted is never asked for again. Between calls a connection keeps only what could not go on.
 */
#include <errno.h>
#include <string.h>

#include "tls/tls.h"

enum {
    READ_MAX = 64 * 1024,
    WRITE_MAX = 64 * 1024,
    RECORD_ROOM = 17 * 1024, /* RFC 8446, 5.2: 2^14 + 256 and its header; with a goodbye behind it */
    SPARES = 4,
    HEADER = 5,
    DISCARDS = 16, /* tickets come in few pieces; who sends without end is reset */
    RECORD_MAX = 16384 + 2048, /* RFC 5246, 6.2.3: of a record's fragment at most */
};

struct scratch {
    size_t in_at, in_n, out_n;
    uint8_t in[READ_MAX], out[WRITE_MAX + RECORD_ROOM];
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
        s->in_at = s->in_n = s->out_n = 0;
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

static size_t take(uint8_t *to, size_t cap, const uint8_t *from, size_t *at, size_t n)
{
    size_t k = n - *at < cap ? n - *at : cap;
    memcpy(to, from + *at, k);
    *at += k;
    return k;
}

/* From below into the scratch: the bytes, 0 for the end, -EAGAIN, or an error. */
static ssize_t read_below(struct wire *w)
{
    ssize_t k;
    do
        k = gs_io_readv(w->lower, &(struct iovec){w->scratch->in, READ_MAX}, 1);
    while (k == -EINTR);
    if (k == GS_EWANT_READ || k == GS_EWANT_WRITE)
        return -EAGAIN;
    w->scratch->in_at = 0;
    w->scratch->in_n = k > 0 ? (size_t)k : 0;
    return k;
}

static int bio_read(BIO *bio, char *to, int cap)
{
    struct wire *w = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (cap <= 0 || w->error)
        return -1;
    if (w->in_at < w->in_n) {
        size_t k = take((uint8_t *)to, (size_t)cap, w->in, &w->in_at, w->in_n);
        if (w->in_at == w->in_n) {
            OPENSSL_free(w->in);
            w->in = NULL;
            w->in_at = w->in_n = 0;
        }
        return (int)k;
    }
    struct scratch *s = w->scratch;
    if (s->in_at == s->in_n) {
        ssize_t k = w->no_more_reads ? -EAGAIN : w->eof ? 0 : read_below(w);
        if (k == -EAGAIN)
            BIO_set_retry_read(bio);
        else if (k < 0)
            w->error = (int)k;
        else if (k == 0)
            w->eof = true;
        if (k <= 0)
            return k == 0 ? 0 : -1;
    }
    return (int)take((uint8_t *)to, (size_t)cap, s->in, &s->in_at, s->in_n);
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

static int flush_below(struct wire *w)
{
    int e;
    do
        e = gs_io_flush(w->lower);
    while (e == -EINTR);
    if (e == GS_EWANT_READ || e == GS_EWANT_WRITE)
        return -EAGAIN;
    return e < 0 && e != -EAGAIN ? (w->error = e) : e;
}

int wire_flush(struct wire *w)
{
    if (w->error)
        return w->error;
    if (w->out) {
        ssize_t k = write_below(w, w->out + w->out_at, w->out_n - w->out_at);
        if (k < 0)
            return w->error = (int)k;
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
    if (!w->error && !w->out) {
        ssize_t k = write_below(w, s->out, s->out_n);
        if (k < 0)
            w->error = (int)k;
        else if ((size_t)k < s->out_n)
            (void)hold(w, s->out + k, s->out_n - (size_t)k);
    } else if (!w->error)
        (void)hold(w, s->out, s->out_n);
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

/* What was read and not asked for waits in memory of the connection's own. */
static int keep_input(struct wire *w)
{
    struct scratch *s = w->scratch;
    size_t left = s->in_n - s->in_at;
    if (!left)
        return 0;
    uint8_t *own = OPENSSL_malloc(left);
    if (!own)
        return w->error = -ENOMEM;
    memcpy(own, s->in + s->in_at, left);
    w->in = own; /* empty, else the scratch had not been read into */
    w->in_at = 0;
    w->in_n = left;
    return 0;
}

int wire_end(struct wire *w)
{
    int e = drain(w);
    if (e == 0)
        e = keep_input(w);
    scratch_give(w->scratch);
    w->scratch = NULL;
    return e < 0 ? e : w->out ? -EAGAIN : flush_below(w);
}

size_t wire_record(const struct wire *w)
{
    size_t n = w->in_n - w->in_at;
    if (n < HEADER)
        return 0;
    const uint8_t *p = w->in + w->in_at;
    size_t record = HEADER + ((size_t)p[3] << 8 | p[4]);
    bool wrong = record > HEADER + RECORD_MAX || p[0] < 20 || p[0] > 24 || p[1] != 3; /* told without its end */
    return wrong ? n : record <= n ? record : 0;
}

void wire_discard(struct wire *w)
{
    struct scratch *s = w->eof || w->error ? NULL : scratch_take();
    if (!s)
        return;
    w->scratch = s;
    for (int i = 0; i < DISCARDS && read_below(w) > 0; i++)
        ;
    w->scratch = NULL;
    scratch_give(s);
}

void wire_free(struct wire *w)
{
    OPENSSL_free(w->in);
    OPENSSL_free(w->out);
    w->in = w->out = NULL;
}
