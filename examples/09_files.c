/* 09_files: a file over a unix socket: its length as a packet of {packet, 4}, then its bytes by sendfile, which the kernel moves
 * without a copy here; the receiver takes exactly as many in raw mode, and changes back. */
#include <gensock/stream.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_SIZE = 3 * 1000 * 1000, PIECE = 65536 };

static uint8_t byte_at(size_t i) { return (uint8_t)(i * 31 >> 3); }

static FILE *make_file(void)
{
    FILE *f = tmpfile();
    for (size_t i = 0; f && i < FILE_SIZE; i++)
        putc(byte_at(i), f);
    return f && fflush(f) == 0 ? f : NULL;
}

static void *sender(void *arg)
{
    FILE *f = make_file();
    gs_stream s;
    char size[20];
    int n = snprintf(size, sizeof size, "%d", FILE_SIZE);
    if (!f || gs_stream_connect(&s, arg, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), GS_NO_MAILBOX, 5000) < 0)
        return NULL;
    int64_t sent = gs_stream_send(s, size, (size_t)n);
    if (sent == 0)
        sent = gs_stream_sendfile(s, fileno(f), 0, 0); /* 0: to its end */
    if (sent >= 0 && gs_stream_send(s, "that was it", 11) < 0)
        sent = -1;
    printf("sender: %lld bytes by sendfile\n", (long long)sent);
    gs_stream_close(s);
    fclose(f);
    return NULL;
}

/* The bytes that are right. */
static size_t take_file(gs_stream s, size_t size)
{
    static uint8_t buf[PIECE];
    size_t at = 0, right = 0;
    while (at < size) {
        size_t want = size - at < PIECE ? size - at : PIECE;
        ssize_t n = gs_stream_recv(s, buf, sizeof buf, want, 5000);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++, at++)
            right += buf[i] == byte_at(at);
    }
    return right;
}

static bool receive(gs_stream s)
{
    char text[32] = "";
    if (gs_stream_recv(s, text, sizeof text - 1, 0, 5000) < 0 ||
        gs_stream_setopts(s, GS_OPTS(GS_INT(PACKET, GS_PACKET_RAW))) < 0)
        return false;
    size_t size = (size_t)atol(text), right = take_file(s, size);
    printf("receiver: %zu of %zu bytes are right\n", right, size);
    if (gs_stream_setopts(s, GS_OPTS(GS_INT(PACKET, GS_PACKET_4))) < 0)
        return false;
    ssize_t n = gs_stream_recv(s, text, sizeof text, 0, 5000);
    printf("receiver: %.*s\n", n > 0 ? (int)n : 0, text);
    return right == FILE_SIZE && n == 11;
}

int main(void)
{
    char address[64];
    gs_stream listener, s;
    pthread_t thread;
    bool right = false;
    snprintf(address, sizeof address, "unix://@gensock-example-09-%d", (int)getpid());
    if (gs_stream_listen(&listener, address, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), GS_NO_MAILBOX) < 0 ||
        pthread_create(&thread, NULL, sender, address) != 0)
        return 1;
    if (gs_stream_accept(listener, &s, GS_NO_MAILBOX, 5000, NULL) == 0) {
        right = receive(s);
        gs_stream_close(s);
    }
    pthread_join(thread, NULL);
    gs_stream_close(listener);
    return right ? 0 : 1;
}
