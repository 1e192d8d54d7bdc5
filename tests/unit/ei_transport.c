/* ei's table over a transport that the program has registered: on a kernel socket, which it sets non-blocking and reads as such, and
 * whose bytes it changes. */
#include <gensock/transport.h>

#include "ei_world.h"

enum { KEY = 0x5a, MOST = 4096 };

static const struct gs_transport *tcp;
static _Atomic size_t passed;

/* Whoever waits here does not know of the timeout. */
static ssize_t read_changed(void *ctx, const struct iovec *iov, int n)
{
    (void)n;
    size_t above;
    ssize_t k = read(tcp->poll(ctx, &above), iov->iov_base, iov->iov_len);
    for (ssize_t i = 0; i < k; i++)
        ((uint8_t *)iov->iov_base)[i] ^= KEY;
    if (k > 0)
        atomic_fetch_add(&passed, (size_t)k);
    return k < 0 ? -errno : k;
}

static ssize_t write_changed(void *ctx, const struct iovec *iov, int n)
{
    uint8_t out[MOST];
    size_t above, len = n > 0 && iov->iov_len < MOST ? iov->iov_len : n > 0 ? MOST : 0;
    for (size_t i = 0; i < len; i++)
        out[i] = ((const uint8_t *)iov->iov_base)[i] ^ KEY;
    ssize_t k = write(tcp->poll(ctx, &above), out, len);
    if (k > 0)
        atomic_fetch_add(&passed, (size_t)k);
    return k < 0 ? -errno : k;
}

static int set_up(void **state)
{
    (void)state;
    tcp = gs_transport_find("tcp");
    struct gs_transport changed = *tcp;
    changed.scheme = "changed";
    changed.readv = read_changed;
    changed.writev = write_changed;
    return gs_transport_register(&changed);
}

static const struct row row = {"changed", "changed://127.0.0.1:0", "changed://127.0.0.1:%d", .header = 2};

static void every_byte_passes_the_transport(void **state)
{
    (void)state;
    struct world w;
    char got[16] = "";
    ssize_t len = 13;
    world_open(&w, &row);
    atomic_store(&passed, 0);
    assert_int_equal(table()->write(w.client, "to the server", &len, EI_SCLBK_INF_TMO), 0);
    assert_int_equal(len, 13);
    assert_true(readable(w.server, LONG_WAIT));
    len = sizeof got;
    assert_int_equal(table()->read(w.server, got, &len, EI_SCLBK_INF_TMO), 0);
    assert_int_equal(len, 13);
    assert_memory_equal(got, "to the server", 13);
    assert_int_equal(atomic_load(&passed), 26);
    write_all(w.server, "back", 4);
    read_all(w.client, got, 4);
    assert_memory_equal(got, "back", 4);
    assert_int_equal(atomic_load(&passed), 34);
    world_close(&w);
}

static void *say_late(void *ctx)
{
    for (int i = 0; i < 300; i++)
        pause_1ms();
    write_all(ctx, "late", 4);
    return NULL;
}

/* Its sockets stay as it has made them: one that waits is woken by the bytes alone. */
static void its_timeouts_hold(void **state)
{
    (void)state;
    struct world w;
    char got[4];
    ssize_t len = sizeof got;
    pthread_t t;
    world_open(&w, &row);
    assert_int_equal(pthread_create(&t, NULL, say_late, w.client), 0);
    assert_int_equal(table()->read(w.server, got, &len, 0), ETIMEDOUT);
    assert_int_equal(table()->read(w.server, got, &len, 10), ETIMEDOUT);
    pthread_join(t, NULL);
    read_all(w.server, got, 4);
    assert_memory_equal(got, "late", 4);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_passes_the_transport),
        cmocka_unit_test(its_timeouts_hold),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
