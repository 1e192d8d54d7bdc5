/* load_tls.c: what the load sends and receives, in clear or (--tls) through OpenSSL. It verifies nobody: who verifies is no part of
 * what is measured. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

static SSL **by_fd; /* NULL: that descriptor is in clear */
static size_t by_fd_n;

static SSL *tls_of(int fd) { return (size_t)fd < by_fd_n ? by_fd[fd] : NULL; }

_Noreturn static void tls_die(const char *what)
{
    char text[200];
    ERR_error_string_n(ERR_peek_error(), text, sizeof text);
    wrong("%s: %s", what, text);
}

static SSL_CTX *context(void)
{
    static SSL_CTX *ctx;
    if (!ctx) {
        ctx = SSL_CTX_new(TLS_client_method());
        if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) || !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256"))
            tls_die("SSL_CTX");
        SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    }
    return ctx;
}

void start_tls(int fd)
{
    if ((size_t)fd >= by_fd_n) {
        size_t n = (size_t)fd * 2 + 64;
        by_fd = realloc(by_fd, n * sizeof *by_fd);
        if (!by_fd)
            die("memory");
        while (by_fd_n < n)
            by_fd[by_fd_n++] = NULL;
    }
    SSL *ssl = SSL_new(context());
    if (!ssl || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1)
        tls_die("the handshake");
    by_fd[fd] = ssl;
}

void do_not_wait(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK))
        die("fcntl");
}

/* -1 with EAGAIN, 0 at the end, as the calls of the kernel. */
static ssize_t answer(SSL *ssl, int r, const char *what)
{
    if (r > 0)
        return r;
    switch (SSL_get_error(ssl, r)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: tls_die(what);
    }
}

ssize_t send_pieces(int fd, const struct iovec *iov, int n)
{
    SSL *ssl = tls_of(fd);
    if (!ssl)
        return sendmsg(fd, &(struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n}, MSG_NOSIGNAL);
    ssize_t sent = 0;
    for (int i = 0; i < n; i++)
        for (size_t at = 0; at < iov[i].iov_len;) {
            ssize_t k = answer(ssl, SSL_write(ssl, (char *)iov[i].iov_base + at, (int)(iov[i].iov_len - at)), "SSL_write");
            if (k < 0)
                return sent ? sent : -1;
            at += (size_t)k;
            sent += k;
        }
    return sent;
}

ssize_t receive(int fd, void *p, size_t n)
{
    SSL *ssl = tls_of(fd);
    if (!ssl)
        return recv(fd, p, n, 0);
    size_t got = 0;
    while (got < n) { /* no event tells of what OpenSSL has read already */
        ssize_t k = answer(ssl, SSL_read(ssl, (char *)p + got, (int)(n - got)), "SSL_read");
        if (k <= 0)
            return got ? (ssize_t)got : k;
        got += (size_t)k;
        if (!SSL_has_pending(ssl))
            break;
    }
    return (ssize_t)got;
}

void finish_sending(int fd)
{
    SSL *ssl = tls_of(fd);
    if (ssl ? SSL_shutdown(ssl) < 0 : shutdown(fd, SHUT_WR))
        die("shutdown");
}

void hang_up(int fd)
{
    if (tls_of(fd)) {
        SSL_free(by_fd[fd]);
        by_fd[fd] = NULL;
    }
    close(fd);
}
