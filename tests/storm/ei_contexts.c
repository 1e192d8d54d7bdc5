/* Contexts of ei's table under many threads: reading, writing and closing the same sockets at random, with contexts that are long
 * closed, while their descriptors' numbers come again and again. A context never becomes another connection's, nobody stays
 * inside, and nothing is left. */
#include <gensock/ei.h>

#include "storm.h"

enum { WORKERS = 5, ACCEPTORS = 2, SLOTS = 24, ENTRIES = 1 << 15, UNKNOWN = -1 };

/* One context for ever, with what its peer writes: a byte that this connection alone has, again and again. */
struct entry {
    void *ctx;
    _Atomic int theirs; /* what is read here; UNKNOWN before the first */
    uint8_t ours;
};
static struct entry entry[ENTRIES];
static _Atomic uint32_t entries;
static _Atomic(struct entry *) slot[SLOTS];
static struct place at;
static void *listener;
static _Atomic bool stop;
static _Atomic long opened, moved, closed, stale;

#define COUNT(what) atomic_fetch_add_explicit(&what, 1, memory_order_relaxed)

static ei_socket_callbacks *table(void) { return gs_ei_callbacks(NULL); }

/* Callbacks answer errnos. */
static int only(int e, const char *what, const int *allowed)
{
    for (; e && *allowed; allowed++)
        if (e == *allowed)
            return e;
    if (e)
        wrong("%s answers %d (%s): %s", what, e, strerror(e), gs_error_detail(gs_ei_error()));
    return e;
}
#define ONLY(call, ...) only(call, #call, (const int[]){__VA_ARGS__, 0})

/* Into a slot; who is pushed out stays known to whoever holds it. */
static void put(void *ctx, struct rng *r)
{
    uint32_t n = atomic_fetch_add(&entries, 1);
    if (n >= ENTRIES) {
        (void)ONLY(table()->close(ctx), EBADF);
        return;
    }
    entry[n].ctx = ctx;
    entry[n].ours = (uint8_t)n;
    atomic_store(&entry[n].theirs, UNKNOWN);
    struct entry *out = atomic_exchange(&slot[rng_below(r, SLOTS)], &entry[n]);
    COUNT(opened);
    if (out && ONLY(table()->close(out->ctx), EBADF) == 0)
        COUNT(closed);
}

static void *accept_all(void *arg)
{
    struct rng r = {test_seed() + (uintptr_t)arg};
    struct sockaddr_in in;
    while (!atomic_load(&stop)) {
        void *ctx = listener;
        int len = sizeof in;
        int e = ONLY(table()->accept(&ctx, &in, &len, 10), ETIMEDOUT, EBADF, EALREADY, ECONNABORTED, ECONNRESET);
        if (e == 0)
            put(ctx, &r);
        else if (e == EALREADY)
            nap_us(500);
    }
    return NULL;
}

static void open_one(struct rng *r)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    void *ctx;
    if (atomic_load(&entries) >= ENTRIES - 64)
        return;
    if (gs_ei_next(at.at) < 0 || ONLY(table()->socket(&ctx, NULL), EMFILE))
        return;
    if (ONLY(table()->connect(ctx, &in, sizeof in, 50), ETIMEDOUT, ECONNREFUSED, ECONNRESET))
        (void)ONLY(table()->close(ctx), EBADF);
    else
        put(ctx, r);
}

static void read_some(struct entry *x, struct rng *r)
{
    uint8_t p[600];
    ssize_t len = (ssize_t)rng_below(r, sizeof p) + 1;
    unsigned tmo = (unsigned)rng_below(r, 3);
    tmo = tmo ? tmo : rng_below(r, 8) ? 0 : 5;
    int e = ONLY(table()->read(x->ctx, (char *)p, &len, tmo), ETIMEDOUT, EBADF, EALREADY, ECONNRESET);
    if (e == EBADF)
        COUNT(stale);
    for (ssize_t i = 0; e == 0 && i < len; i++) {
        int known = UNKNOWN;
        if (!atomic_compare_exchange_strong(&x->theirs, &known, p[i]) && known != p[i]) {
            wrong("a byte of another connection: %d, and it was %d", p[i], known);
            return;
        }
    }
    if (e == 0)
        COUNT(moved);
}

static void write_some(struct entry *x, struct rng *r)
{
    uint8_t p[900];
    ssize_t len = (ssize_t)rng_below(r, sizeof p) + 1;
    memset(p, x->ours, sizeof p);
    (void)ONLY(table()->write(x->ctx, (char *)p, &len, (unsigned)rng_below(r, 3)), ETIMEDOUT, EBADF, EPIPE, ECONNRESET);
}

static void look(struct entry *x)
{
    int fd, size;
    gs_stream s;
    if (ONLY(table()->get_fd(x->ctx, &fd), EBADF) == 0)
        (void)only_answers(gs_ei_stream(fd, &s), GS_EBADARG, -ENOTCONN);
    (void)ONLY(table()->handshake_packet_header_size(x->ctx, &size), EBADF);
}

static void *work(void *arg)
{
    struct rng r = {test_seed() * 3 + (uintptr_t)arg};
    struct entry *old = NULL;
    while (!atomic_load(&stop)) {
        struct entry *x = rng_below(&r, 6) ? atomic_load(&slot[rng_below(&r, SLOTS)]) : old;
        uint64_t what = rng_below(&r, 16);
        if (!x || what == 0)
            open_one(&r);
        else if (what < 8)
            read_some(x, &r);
        else if (what < 14)
            write_some(x, &r);
        else if (what == 14)
            look(x);
        else if (rng_below(&r, 4) == 0 && ONLY(table()->close(x->ctx), EBADF) == 0)
            COUNT(closed);
        old = x;
    }
    return NULL;
}

/* Waits for ever in a read: the close of the end takes it out. */
static void *wait_for_ever(void *arg)
{
    const struct entry *x = arg;
    char c;
    for (ssize_t len = 1; table()->read(x->ctx, &c, &len, EI_SCLBK_INF_TMO) == 0 && len;)
        len = 1;
    return NULL;
}

static void storm(long ms)
{
    pthread_t workers[WORKERS], acceptors[ACCEPTORS], waiting[SLOTS];
    struct sockaddr_in in = {.sin_family = AF_INET};
    int len = sizeof in, n = 0;
    gs_stream taken;
    const char *scheme = at.at;
    char address[120];
    snprintf(address, sizeof address, "%s", scheme);
    assert_ok(gs_ei_next(address));
    assert_int_equal(table()->socket(&listener, NULL), 0);
    assert_int_equal(table()->listen(listener, &in, &len, 64), 0);
    int fd;
    assert_int_equal(table()->get_fd(listener, &fd), 0);
    assert_ok(gs_ei_stream(fd, &taken));
    int port = gs_stream_port(taken);
    if (port > 0)
        snprintf(at.at, sizeof at.at, "tcp://127.0.0.1:%d", port);
    atomic_store(&stop, false);
    for (uintptr_t i = 0; i < ACCEPTORS; i++)
        acceptors[i] = go(accept_all, (void *)(i + 100));
    for (uintptr_t i = 0; i < WORKERS; i++)
        workers[i] = go(work, (void *)i);
    uint64_t end = real_ms() + (uint64_t)ms;
    while (real_ms() < end && !atomic_load(&wrongs))
        pause_1ms();
    atomic_store(&stop, true);
    for (int i = 0; i < WORKERS; i++)
        join(workers[i]);
    for (int i = 0; i < ACCEPTORS; i++)
        join(acceptors[i]);
    for (int i = 0; i < SLOTS; i++)
        if (slot[i])
            waiting[n++] = go(wait_for_ever, slot[i]);
    for (int i = 0; i < SLOTS; i++)
        if (slot[i])
            (void)ONLY(table()->close(slot[i]->ctx), EBADF);
    for (int i = 0; i < n; i++)
        join(waiting[i]);
    for (int i = 0; i < SLOTS; i++)
        slot[i] = NULL;
    assert_int_equal(table()->close(listener), 0);
}

static void storm_over(const char *address)
{
    struct census before;
    for (int round = 0; round < 2; round++) {
        snprintf(at.at, sizeof at.at, "%s", address);
        atomic_store(&entries, 0);
        opened = moved = closed = stale = 0;
        if (round == 1)
            census_take(&before);
        storm(round ? test_scale(1500, 15000) : 200);
        assert_until(gsi_live_count(GSI_STREAM) == 0, STALL_MS);
        if (strstr(address, "unix:///"))
            unlink(address + strlen("unix://"));
    }
    print_message("# %s: %ld sockets, %ld reads with bytes, %ld closes, %ld reads of the closed\n", address, opened, moved, closed,
                  stale);
    assert_int_equal(wrongs, 0);
    assert_true(opened > 20 && moved > 20 && closed > 10 && stale > 10);
    census_assert(&before);
}

static void contexts_over_tcp(void **state) { (void)state, storm_over("tcp://127.0.0.1:0"); }
static void contexts_over_mem(void **state) { (void)state, storm_over("mem://contexts"); }

static void contexts_over_unix(void **state)
{
    (void)state;
    char address[120];
    snprintf(address, sizeof address, "unix://%s", temp_path("contexts"));
    storm_over(address);
}

int main(void)
{
    (void)test_seed(); /* threads read it */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_over_tcp),
        cmocka_unit_test(contexts_over_unix),
        cmocka_unit_test(contexts_over_mem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
