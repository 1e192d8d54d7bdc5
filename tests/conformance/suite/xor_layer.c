/* xor_layer.c: a user's layer: every byte XORed with a key, behind a handshake of one byte each way. It reads ahead no byte,
 * so what the base buffers is all there is; writes may be partial, as a transport's may.
 */
#include <stdlib.h>

#include "suite.h"

struct xor_ctx {
    gs_io *lower;
    bool said, heard;
};

static int xor_upgrade(gs_io *lower, bool server, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)server, (void)at, (void)opts;
    struct xor_ctx *x = calloc(1, sizeof *x);
    if (!x)
        return -ENOMEM;
    x->lower = lower;
    *ctx = x;
    return 0;
}

static int xor_handshake(void *ctx)
{
    struct xor_ctx *x = ctx;
    uint8_t hello = XOR_HELLO, theirs = 0;
    while (!x->said) {
        ssize_t k = gs_io_writev(x->lower, &(struct iovec){&hello, 1}, 1);
        if (k == -EINTR)
            continue;
        if (k < 0)
            return k == -EAGAIN ? GS_EWANT_WRITE : (int)k;
        x->said = true;
    }
    while (!x->heard) {
        ssize_t k = gs_io_readv(x->lower, &(struct iovec){&theirs, 1}, 1);
        if (k == -EINTR)
            continue;
        if (k <= 0)
            return k == -EAGAIN ? GS_EWANT_READ : k < 0 ? (int)k : -ECONNRESET;
        if (theirs != XOR_HELLO)
            return -EPROTO;
        x->heard = true;
    }
    return 0;
}

static ssize_t xor_readv(void *ctx, const struct iovec *iov, int n)
{
    struct xor_ctx *x = ctx;
    ssize_t got = gs_io_readv(x->lower, iov, n);
    size_t left = got > 0 ? (size_t)got : 0;
    for (int i = 0; left; i++) {
        size_t k = iov[i].iov_len < left ? iov[i].iov_len : left;
        for (size_t j = 0; j < k; j++)
            ((uint8_t *)iov[i].iov_base)[j] ^= XOR_KEY;
        left -= k;
    }
    return got;
}

static ssize_t xor_writev(void *ctx, const struct iovec *iov, int n)
{
    enum { PIECE = 8192 };
    struct xor_ctx *x = ctx;
    uint8_t piece[PIECE];
    size_t k = 0;
    for (int i = 0; i < n; i++)
        for (size_t j = 0; j < iov[i].iov_len && k < PIECE; j++)
            piece[k++] = ((const uint8_t *)iov[i].iov_base)[j] ^ XOR_KEY;
    return gs_io_writev(x->lower, &(struct iovec){piece, k}, 1);
}

static int xor_shutdown(void *ctx, gs_how how) { return gs_io_shutdown(((struct xor_ctx *)ctx)->lower, how); }

static void xor_close(void *ctx, bool reset)
{
    (void)reset;
    free(ctx);
}

static const struct gs_transport xor_layer = {
    .size = sizeof xor_layer,
    .scheme = "xor",
    .upgrade = xor_upgrade,
    .handshake = xor_handshake,
    .readv = xor_readv,
    .writev = xor_writev,
    .shutdown = xor_shutdown,
    .close = xor_close,
};

void xor_register(void)
{
    static bool known;
    if (!known && gs_transport_register(&xor_layer) < 0)
        abort();
    known = true;
}
