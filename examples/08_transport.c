/* 08_transport: a transport of one's own: a layer that XORs each byte with a key, over any transport: "xor+tcp://…". It is a
 * table of functions that never block; whatever streams can do (packets, active mode, timeouts) they now do over it. */
#include <gensock/stream.h>
#include <stdio.h>

enum { KEY = 0x5a, PIECE = 4096 };

static int xor_upgrade(gs_io *lower, bool server, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)server, (void)at, (void)opts; /* both ends do the same, and there is nothing to set */
    *ctx = lower; /* no state of its own */
    return 0;
}

static ssize_t xor_readv(void *ctx, const struct iovec *iov, int n)
{
    ssize_t got = gs_io_readv(ctx, iov, n);
    for (size_t left = got > 0 ? (size_t)got : 0, k = 0; left > 0; iov++, left -= k) {
        k = iov->iov_len < left ? iov->iov_len : left;
        for (size_t i = 0; i < k; i++)
            ((uint8_t *)iov->iov_base)[i] ^= KEY;
    }
    return got;
}

/* A part of what is given, as write(2) may: the library comes again with the rest. */
static ssize_t xor_writev(void *ctx, const struct iovec *iov, int n)
{
    uint8_t piece[PIECE];
    size_t k = 0;
    for (int i = 0; i < n; i++)
        for (size_t j = 0; j < iov[i].iov_len && k < PIECE; j++)
            piece[k++] = ((const uint8_t *)iov[i].iov_base)[j] ^ KEY;
    struct iovec out = {piece, k};
    return gs_io_writev(ctx, &out, 1);
}

static int xor_shutdown(void *ctx, gs_how how) { return gs_io_shutdown(ctx, how); }

static void xor_close(void *ctx, bool reset)
{
    (void)ctx, (void)reset;
}

static const struct gs_transport xor_layer = {.size = sizeof xor_layer, .scheme = "xor", .upgrade = xor_upgrade,
    .readv = xor_readv, .writev = xor_writev, .shutdown = xor_shutdown, .close = xor_close};

/* Connects as `scheme` says; the two ends. */
static bool pair(gs_stream listener, const char *scheme, gs_packet_type packet, gs_stream *client, gs_stream *server)
{
    char address[64];
    snprintf(address, sizeof address, "%s://127.0.0.1:%d", scheme, gs_stream_port(listener));
    return gs_stream_connect(client, address, GS_OPTS(GS_INT(PACKET, packet)), GS_NO_MAILBOX, 5000) == 0 &&
           gs_stream_accept(listener, server, GS_NO_MAILBOX, 5000, NULL) == 0;
}

int main(void)
{
    gs_stream listener, a, b, plain, c;
    uint8_t text[64] = "", wire[7] = {0};
    if (gs_transport_register(&xor_layer) < 0 ||
        gs_stream_listen(&listener, "xor+tcp://127.0.0.1:0", GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_NO_MAILBOX) < 0)
        return 1;
    if (!pair(listener, "xor+tcp", GS_PACKET_2, &a, &b) || gs_stream_send(a, "hello", 5) < 0 ||
        gs_stream_recv(b, text, sizeof text - 1, 0, 5000) != 5 || !pair(listener, "tcp", GS_PACKET_RAW, &plain, &c) ||
        gs_stream_send(c, text, 5) < 0 || gs_stream_recv(plain, wire, sizeof wire, sizeof wire, 5000) != 7)
        return 1;
    printf("received: %s\non the wire:", (char *)text);
    for (size_t i = 0; i < sizeof wire; i++)
        printf(" %02x", wire[i]);
    printf("\n");
    gs_stream all[] = {a, b, plain, c, listener};
    for (size_t i = 0; i < 5; i++)
        gs_stream_close(all[i]);
    return wire[1] == (5 ^ KEY) && wire[2] == ('h' ^ KEY) ? 0 : 1;
}
