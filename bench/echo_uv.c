/* echo_uv.c: the same on libuv, as its documentation would have it written by somebody in a hurry for speed: one read buffer,
 * replies of a whole read in one uv_try_write, reading stopped while output is stuck.
 */
#include "serve.h"

#include <uv.h>

struct connection {
    uv_tcp_t tcp;
    uint8_t *cut; /* a cut packet: n bytes */
    size_t n;
    uint64_t count;
};

struct rest { /* of a reply that the socket did not take */
    uv_write_t request;
    uint8_t bytes[];
};

static uv_loop_t *loop;
static bool sink;
static uint8_t buffer[SERVE_BUFFER];

static void on_closed(uv_handle_t *h)
{
    struct connection *c = h->data;
    free(c->cut);
    free(c);
}

static void end(struct connection *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *b)
{
    (void)h;
    (void)hint;
    *b = uv_buf_init((char *)buffer, sizeof buffer);
}

static void on_read(uv_stream_t *s, ssize_t got, const uv_buf_t *b);

static void on_written(uv_write_t *w, int status)
{
    struct connection *c = w->handle->data;
    free(w);
    if (status < 0 || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read))
        end(c);
}

static bool reply(struct connection *c, const uint8_t *p, size_t n)
{
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)p, (unsigned)n);
    int put = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
    if (put < 0 && put != UV_EAGAIN)
        return false;
    size_t done = put < 0 ? 0 : (size_t)put;
    if (done == n)
        return true;
    struct rest *r = malloc(sizeof *r + n - done);
    if (!r)
        return false;
    memcpy(r->bytes, p + done, n - done);
    b = uv_buf_init((char *)r->bytes, (unsigned)(n - done));
    uv_read_stop((uv_stream_t *)&c->tcp);
    return uv_write(&r->request, (uv_stream_t *)&c->tcp, &b, 1, on_written) == 0;
}

/* Whole packets go back in one write; the cut one behind them is kept. */
static bool echo(struct connection *c, const uint8_t *p, size_t n)
{
    size_t missing, whole = serve_whole(p, n, &missing);
    if (whole == SIZE_MAX || (whole && !reply(c, p, whole)))
        return false;
    uint8_t *cut = NULL;
    if (n > whole) {
        cut = malloc(n - whole);
        if (!cut)
            return false;
        memcpy(cut, p + whole, n - whole);
    }
    free(c->cut);
    c->cut = cut;
    c->n = n - whole;
    return true;
}

/* What was cut is put together with what came. */
static bool echo_joined(struct connection *c, const uint8_t *p, size_t n)
{
    uint8_t *joined = realloc(c->cut, c->n + n);
    if (!joined)
        return false;
    c->cut = NULL;
    memcpy(joined + c->n, p, n);
    bool ok = echo(c, joined, c->n + n);
    free(joined);
    return ok;
}

static void on_read(uv_stream_t *s, ssize_t got, const uv_buf_t *b)
{
    struct connection *c = s->data;
    const uint8_t *p = (const uint8_t *)b->base;
    if (sink && got >= 0) {
        c->count += (uint64_t)got;
        return;
    }
    if (sink && got == UV_EOF) {
        uint8_t answer[8];
        serve_count(answer, c->count);
        uv_buf_t a = uv_buf_init((char *)answer, sizeof answer);
        uv_try_write(s, &a, 1);
    }
    if (got < 0 || (got > 0 && !(c->cut ? echo_joined(c, p, (size_t)got) : echo(c, p, (size_t)got))))
        end(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct connection *c = calloc(1, sizeof *c);
    if (status < 0 || !c || uv_tcp_init(loop, &c->tcp))
        serve_die("connection");
    c->tcp.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read))
        end(c);
}

int main(int argc, char **argv)
{
    uv_tcp_t listener;
    sink = serve_is_sink(argc, argv);
    loop = uv_default_loop();
    int fd = serve_bound();
    if (uv_tcp_init(loop, &listener) || uv_tcp_open(&listener, fd) || uv_listen((uv_stream_t *)&listener, SERVE_BACKLOG, on_connection))
        serve_die("listen");
    serve_tell_port(serve_port(fd));
    return uv_run(loop, UV_RUN_DEFAULT);
}
