/* A careless caller of each public call of ei.h, and of each callback of the table, gets an answer, never a crash (promise
 * P7). */
#include <arpa/inet.h>
#include <errno.h>
#include <gensock/ei.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"

HOSTILE(gs_ei_next)
{
    (void)state;
    assert_ok(gs_ei_next(NULL));
    assert_code(gs_ei_next(""), GS_EFORMAT);
}

HOSTILE(gs_ei_error)
{
    (void)state;
    assert_int_equal(gs_ei_error(), 0);
}

HOSTILE(gs_ei_stream)
{
    (void)state;
    gs_stream s = {77};
    const int wrong[] = {-1, INT_MIN, INT_MAX, 0, 1, 1000, 1 << 20};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_code(gs_ei_stream(wrong[i], &s), GS_EBADARG);
    int size, fd;
    void *ctx;
    assert_int_equal(gs_ei_callbacks(&size)->socket(&ctx, NULL), 0);
    assert_int_equal(gs_ei_callbacks(NULL)->get_fd(ctx, &fd), 0);
    assert_code(gs_ei_stream(fd, NULL), GS_EBADARG);
    assert_code(gs_ei_stream(fd, &s), -ENOTCONN);
    assert_int_equal(gs_ei_callbacks(NULL)->close(ctx), 0);
    assert_code(gs_ei_stream(fd, &s), GS_EBADARG);
    assert_int_equal(s.id, 77);
}

/* Every callback with a context that is none; the errno is EBADF. */
static void with_a_wrong_context(void *ctx)
{
    const ei_socket_callbacks *t = gs_ei_callbacks(NULL);
    struct sockaddr_in in = {.sin_family = AF_INET};
    int len = sizeof in, n = 77;
    ssize_t size = 4;
    char buf[8] = "xxxxxxx";
    struct iovec v = {buf, 4};
    void *accepting = ctx;
    assert_int_equal(t->close(ctx), EBADF);
    assert_int_equal(gs_ei_error(), GS_EBADARG);
    assert_int_equal(t->listen(ctx, &in, &len, 5), EBADF);
    assert_int_equal(t->accept(&accepting, &in, &len, 0), EBADF);
    assert_ptr_equal(accepting, ctx);
    assert_int_equal(t->connect(ctx, &in, sizeof in, 0), EBADF);
    assert_int_equal(t->writev(ctx, &v, 1, &size, 0), EBADF);
    assert_int_equal(t->write(ctx, buf, &size, 0), EBADF);
    assert_int_equal(t->read(ctx, buf, &size, 0), EBADF);
    assert_int_equal(t->handshake_packet_header_size(ctx, &n), EBADF);
    assert_int_equal(t->connect_handshake_complete(ctx), EBADF);
    assert_int_equal(t->accept_handshake_complete(ctx), EBADF);
    assert_int_equal(t->get_fd(ctx, &n), EBADF);
    assert_int_equal(n, 77);
    assert_string_equal(buf, "xxxxxxx");
}

/* Opened, and neither connected nor listening; then every argument that can be wrong. */
static void with_wrong_arguments(void *ctx)
{
    const ei_socket_callbacks *t = gs_ei_callbacks(NULL);
    struct sockaddr_in in = {.sin_family = AF_INET};
    int len = sizeof in, short_len = 3, negative = -1, n;
    ssize_t size = 4, below = -1;
    char buf[8];
    void *accepting = ctx;
    assert_int_equal(t->accept(&accepting, &in, &len, 0), EINVAL);
    assert_int_equal(t->accept(NULL, &in, &len, 0), EBADF);
    assert_int_equal(t->read(ctx, buf, &size, 0), ENOTCONN);
    assert_int_equal(t->read(ctx, buf, NULL, 0), EINVAL);
    assert_int_equal(t->read(ctx, NULL, &size, 0), EINVAL);
    assert_int_equal(t->read(ctx, buf, &below, 0), EINVAL);
    assert_int_equal(t->write(ctx, buf, &size, 0), ENOTCONN);
    assert_int_equal(t->write(ctx, buf, NULL, 0), EINVAL);
    assert_int_equal(t->write(ctx, buf, &below, 0), EINVAL);
    assert_int_equal(t->writev(ctx, NULL, 1, &size, 0), EINVAL);
    assert_int_equal(t->writev(ctx, &(struct iovec){buf, 1}, -1, &size, 0), EINVAL);
    assert_int_equal(t->handshake_packet_header_size(ctx, &n), ENOTCONN);
    assert_int_equal(t->handshake_packet_header_size(ctx, NULL), EINVAL);
    assert_int_equal(t->connect_handshake_complete(ctx), ENOTCONN);
    assert_int_equal(t->get_fd(ctx, NULL), EINVAL);
    assert_int_equal(t->listen(ctx, NULL, &len, 5), EINVAL);
    assert_int_equal(t->listen(ctx, &in, NULL, 5), EINVAL);
    assert_int_equal(t->listen(ctx, &in, &short_len, 5), EINVAL);
    assert_int_equal(t->listen(ctx, &in, &negative, 5), EINVAL);
    assert_int_equal(t->connect(ctx, NULL, sizeof in, 0), EINVAL);
    assert_int_equal(t->connect(ctx, &in, 3, 0), EINVAL);
    assert_int_equal(t->connect(ctx, &in, -1, 0), EINVAL);
}

HOSTILE(gs_ei_callbacks)
{
    (void)state;
    int size = 0, fd;
    const ei_socket_callbacks *t = gs_ei_callbacks(&size);
    assert_int_equal(size, sizeof *t);
    assert_ptr_equal(gs_ei_callbacks(NULL), t);
    assert_int_equal(t->flags, EI_SCLBK_FLG_FULL_IMPL);
    with_a_wrong_context(NULL);
    with_a_wrong_context((void *)(uintptr_t)1);
    with_a_wrong_context((void *)UINTPTR_MAX);
    with_a_wrong_context((void *)(uintptr_t)&size);
    assert_int_equal(t->socket(NULL, NULL), EINVAL);
    void *ctx, *again;
    assert_int_equal(t->socket(&ctx, NULL), 0);
    with_wrong_arguments(ctx);
    assert_int_equal(t->get_fd(ctx, &fd), 0);
    assert_int_equal(t->close(ctx), 0);
    with_a_wrong_context(ctx);
    assert_int_equal(t->socket(&again, NULL), 0); /* the same number, and another socket */
    with_a_wrong_context(ctx);
    assert_int_equal(t->get_fd(again, &size), 0);
    assert_int_equal(size, fd);
    close(fd); /* behind ei's back */
    void *taken;
    assert_int_equal(t->socket(&taken, NULL), EBUSY);
    assert_int_equal(t->close(again), 0);
    assert_int_equal(t->socket(&taken, NULL), 0);
    assert_int_equal(t->close(taken), 0);
}

/* Of the header's inline calls. */
static void the_calls_over_ei_survive_a_careless_caller(void **state)
{
    (void)state;
    ei_cnode ec = {0}, own;
    int size;
    assert_int_equal(ei_init(), 0);
    assert_code(gs_ei_connect(NULL, "tcp://127.0.0.1:1", 0), GS_EBADARG);
    assert_code(gs_ei_connect(&ec, NULL, 0), GS_EBADARG);
    assert_code(gs_ei_connect(&ec, "tcp://127.0.0.1:1", -3), GS_EBADARG);
    assert_code(gs_ei_connect(&ec, "tcp://127.0.0.1:1", 0), -EINVAL);
    assert_code(gs_ei_listen(NULL, "tcp://127.0.0.1:0", 5), GS_EBADARG);
    assert_code(gs_ei_listen(&ec, NULL, 5), GS_EBADARG);
    assert_code(gs_ei_listen(&ec, "tcp://127.0.0.1:0", 5), -EINVAL);
    ei_socket_callbacks *table = gs_ei_callbacks(&size);
    assert_int_equal(ei_connect_xinit_ussi(&own, "host", "a", "a@host", NULL, "cookie", 0, table, size, NULL), 0);
    assert_code(gs_ei_connect(&own, "", 0), GS_EFORMAT);
    assert_code(gs_ei_connect(&own, "nonsense", 100), GS_EFORMAT);
    assert_code(gs_ei_listen(&own, "pigeon://x", -1), GS_ENOSCHEME);
    assert_code(gs_ei_error(), GS_ENOSCHEME);
}

HOSTILE(gs_transport_from_ei)
{
    (void)state;
    int size;
    ei_socket_callbacks none = {0}, noise;
    const ei_socket_callbacks *table = gs_ei_callbacks(&size);
    memset(&noise, 0xff, sizeof noise);
    assert_code(gs_transport_from_ei("x", NULL, size, NULL), GS_EBADARG);
    assert_code(gs_transport_from_ei("x", table, INT_MIN, NULL), GS_EBADARG);
    assert_code(gs_transport_from_ei("x", table, 0, NULL), GS_EBADARG);
    assert_code(gs_transport_from_ei("x", &none, sizeof none, NULL), -EINVAL);
    assert_code(gs_transport_from_ei("x", &noise, sizeof noise, NULL), -EINVAL);
    assert_code(gs_transport_from_ei(NULL, table, size, NULL), -EINVAL);
    assert_code(gs_transport_from_ei("", table, size, NULL), -EINVAL);
    assert_code(gs_transport_from_ei("%n%s", table, size, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_ei_next),
        ROW(gs_ei_error),
        ROW(gs_ei_stream),
        ROW(gs_ei_callbacks),
        ROW(gs_transport_from_ei),
        cmocka_unit_test(the_calls_over_ei_survive_a_careless_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
