/* echo_epoll_tls.c: the reference over TLS: {packet,4} echo and a counting sink, by hand on level-triggered epoll and OpenSSL.
 *
 * PROGRAM echo|sink CERT KEY. Read-ahead with a 64 KiB buffer (one recv for many records), buffers released while a connection is
 * idle, all whole packets of a wake-up in one SSL_write. A connection's own memory holds only a cut packet, or output that the
 * socket would not take.
 */
#include "serve.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 256, ACCEPTS = 64, READ_AHEAD = 64 * 1024 };

struct connection {
    SSL *ssl;
    int fd;
    bool shaken;
    uint8_t *cut; /* of a packet */
    size_t cut_n;
    uint8_t *out; /* nothing is read meanwhile */
    size_t out_n, out_at;
    uint64_t count;
};

static SSL_CTX *ctx;
static int set, listener;
static bool sink;
static uint8_t buffer[SERVE_BUFFER];

_Noreturn static void tls_die(const char *what)
{
    fprintf(stderr, "server: %s: %s\n", what, ERR_error_string(ERR_peek_error(), NULL));
    exit(1);
}

static void make_context(const char *cert, const char *key)
{
    ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) || SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        tls_die("the certificate");
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static void watch(struct connection *c, int how, uint32_t events)
{
    struct epoll_event v = {.events = events, .data.ptr = c};
    if (epoll_ctl(set, how, c ? c->fd : listener, &v))
        serve_die("epoll_ctl");
}

static void end(struct connection *c)
{
    if (c->shaken && !ERR_peek_error())
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    free(c->cut);
    free(c->out);
    free(c);
}

static void accept_some(void)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
            return;
        struct connection *c = fd < 0 ? NULL : calloc(1, sizeof *c);
        if (!c)
            serve_die("accept");
        c->fd = fd;
        c->ssl = SSL_new(ctx);
        if (!c->ssl || !SSL_set_fd(c->ssl, fd))
            tls_die("SSL_new");
        SSL_set_accept_state(c->ssl);
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void *copy(const void *p, size_t n)
{
    void *c = malloc(n);
    if (!c)
        serve_die("memory");
    return memcpy(c, p, n);
}

/* Sends n bytes, or keeps what the socket does not take. */
static bool reply(struct connection *c, const uint8_t *p, size_t n)
{
    size_t at = 0;
    while (at < n) {
        int k = SSL_write(c->ssl, p + at, (int)(n - at));
        if (k > 0) {
            at += (size_t)k;
            continue;
        }
        if (SSL_get_error(c->ssl, k) != SSL_ERROR_WANT_WRITE)
            return false;
        c->out = copy(p + at, n - at);
        c->out_n = n - at;
        c->out_at = 0;
        watch(c, EPOLL_CTL_MOD, EPOLLOUT);
        return true;
    }
    return true;
}

static bool flush(struct connection *c)
{
    while (c->out_at < c->out_n) {
        int k = SSL_write(c->ssl, c->out + c->out_at, (int)(c->out_n - c->out_at));
        if (k <= 0)
            return SSL_get_error(c->ssl, k) == SSL_ERROR_WANT_WRITE;
        c->out_at += (size_t)k;
    }
    free(c->out);
    c->out = NULL;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

/* What came, behind a cut packet: the bytes in the buffer; *goes_on: the connection is not over; *full: there may be more. */
static size_t read_all(struct connection *c, bool *goes_on, bool *full)
{
    size_t n = c->cut_n;
    if (n)
        memcpy(buffer, c->cut, n);
    free(c->cut);
    c->cut = NULL;
    c->cut_n = 0;
    *goes_on = true;
    while (n < sizeof buffer) {
        int k = SSL_read(c->ssl, buffer + n, (int)(sizeof buffer - n));
        if (k <= 0) {
            int e = SSL_get_error(c->ssl, k);
            *goes_on = e == SSL_ERROR_WANT_READ || (sink && e == SSL_ERROR_ZERO_RETURN);
            break;
        }
        n += (size_t)k;
        if (!SSL_has_pending(c->ssl))
            break;
    }
    *full = n == sizeof buffer;
    return n;
}

static bool echo(struct connection *c)
{
    bool goes_on = true, full = true;
    while (goes_on && full && !c->out) {
        size_t missing, n = read_all(c, &goes_on, &full), whole = serve_whole(buffer, n, &missing);
        if (whole == SIZE_MAX || (whole && !reply(c, buffer, whole)))
            return false;
        if (n > whole) {
            c->cut = copy(buffer + whole, n - whole);
            c->cut_n = n - whole;
        }
    }
    return goes_on;
}

static bool take(struct connection *c)
{
    bool goes_on, full = true;
    while (full) {
        c->count += read_all(c, &goes_on, &full);
        if (!goes_on)
            return false;
    }
    if (!(SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN))
        return true;
    uint8_t answer[8];
    serve_count(answer, c->count);
    if (SSL_write(c->ssl, answer, sizeof answer) != sizeof answer)
        serve_die("the answer");
    return false;
}

static bool shake(struct connection *c)
{
    int r = SSL_accept(c->ssl);
    c->shaken = r == 1;
    return c->shaken || SSL_get_error(c->ssl, r) == SSL_ERROR_WANT_READ;
}

static bool serve(struct connection *c)
{
    if (!c->shaken && (!shake(c) || !c->shaken))
        return !ERR_peek_error();
    return c->out ? flush(c) : sink ? take(c) : echo(c);
}

int main(int argc, char **argv)
{
    struct epoll_event v[EVENTS];
    if (argc != 4)
        serve_die("usage: echo_epoll_tls echo|sink CERT KEY");
    sink = serve_is_sink(2, argv);
    make_context(argv[2], argv[3]);
    listener = serve_bound();
    if (listen(listener, SERVE_BACKLOG))
        serve_die("listen");
    set = epoll_create1(EPOLL_CLOEXEC);
    watch(NULL, EPOLL_CTL_ADD, EPOLLIN);
    serve_tell_port(serve_port(listener));
    for (;;) {
        int n = epoll_wait(set, v, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = v[i].data.ptr;
            ERR_clear_error();
            if (!c)
                accept_some();
            else if (!serve(c))
                end(c);
        }
    }
}
