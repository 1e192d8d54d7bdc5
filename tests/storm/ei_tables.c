/* Transports made of ei's tables under many threads: listeners, connections and attempts are closed at any step by anybody,
 * while the tables' own threads connect and accept for them, and descriptors tell the truth, nothing or too much. Each
 * connection has its own bytes, every socket is closed once, and nothing is left. */
#include <gensock/ei.h>
#include <gensock/mailbox.h>

#include "ei_tables.h"
#include "storm.h"

enum { CONNECTORS = 4, ACCEPTORS = 4, SLOTS = 12, ROWS = 3 };

static const char *const rows[ROWS] = {"s-plain", "s-full", "s-short"};

/* A listener of each row, closed and opened anew now and then. */
static struct {
    pthread_mutex_t mutex;
    gs_stream s;
    char at[64];
} place[ROWS] = {
    {.mutex = PTHREAD_MUTEX_INITIALIZER},
    {.mutex = PTHREAD_MUTEX_INITIALIZER},
    {.mutex = PTHREAD_MUTEX_INITIALIZER},
};

static _Atomic uint64_t slot[SLOTS]; /* streams that anybody may close */
static _Atomic bool stop;
static _Atomic unsigned begun;
static _Atomic long echoed, refused, broken, killed, given_up;

#define COUNT(what) atomic_fetch_add_explicit(&what, 1, memory_order_relaxed)

static void open_place(int row)
{
    char at[64];
    tables.shows = rand() % 4;
    snprintf(at, sizeof at, "%s://127.0.0.1:0", rows[row]);
    pthread_mutex_lock(&place[row].mutex);
    if (only_answers(gs_stream_listen(&place[row].s, at, NULL, GS_NO_MAILBOX), 0) == 0)
        snprintf(place[row].at, sizeof place[row].at, "%s://127.0.0.1:%d", rows[row], gs_stream_port(place[row].s));
    pthread_mutex_unlock(&place[row].mutex);
}

static gs_stream listener_of(int row, char *at)
{
    pthread_mutex_lock(&place[row].mutex);
    gs_stream s = place[row].s;
    if (at)
        strcpy(at, place[row].at);
    pthread_mutex_unlock(&place[row].mutex);
    return s;
}

/* Whatever was there is anybody's to close, and is closed. */
static void put(gs_stream s, struct rng *r)
{
    gs_stream old = {atomic_exchange(&slot[rng_below(r, SLOTS)], s.id)};
    if (old.id)
        only_answers(gs_stream_close(old), 0);
}

/* Gives every four bytes back, until it ends. */
static void serve(gs_stream s)
{
    uint32_t who;
    while (gs_stream_recv(s, &who, sizeof who, sizeof who, STALL_MS) == sizeof who && gs_stream_send(s, &who, sizeof who) == 0)
        ;
    only_answers(gs_stream_close(s), 0);
}

static void *accept_all(void *arg)
{
    struct rng r = {test_seed() + 1000 + (uintptr_t)arg};
    while (!atomic_load(&stop)) {
        gs_stream s;
        int e = gs_stream_accept(listener_of((int)rng_below(&r, ROWS), NULL), &s, GS_NO_MAILBOX, (int)rng_below(&r, 15), NULL);
        only_answers(e, GS_ETIMEOUT, GS_ECLOSED, -EBADF, -EINVAL, -ECONNABORTED);
        if (e == 0)
            serve(s);
    }
    return NULL;
}

static void talk(gs_stream s, uint32_t who, struct rng *r)
{
    for (int i = (int)rng_below(r, 4); i >= 0; i--) {
        uint32_t back = 0;
        ssize_t n = gs_stream_send(s, &who, sizeof who) < 0 ? -1 : gs_stream_recv(s, &back, sizeof back, sizeof back, 20);
        if (n != sizeof back) {
            COUNT(broken);
            return;
        }
        if (back != who)
            wrong("connection %u got what %u said", who, back);
        COUNT(echoed);
    }
}

static void *connect_all(void *arg)
{
    struct rng r = {test_seed() + (uintptr_t)arg};
    gs_mailbox m;
    if (only_answers(gs_mailbox_new(&m), 0) < 0)
        return NULL;
    while (!atomic_load(&stop)) {
        char at[64];
        gs_stream s;
        uint32_t who = atomic_fetch_add(&begun, 1);
        (void)listener_of((int)rng_below(&r, ROWS), at);
        if (rng_below(&r, 3) == 0) { /* given up at once, or a little later */
            if (only_answers(gs_stream_connect(&s, at, NULL, m, GS_NOWAIT), GS_ESELECT) == GS_ESELECT) {
                if (rng_below(&r, 2))
                    nap_us((unsigned)rng_below(&r, 300));
                only_answers(gs_stream_close(s), 0);
                COUNT(given_up);
            }
            continue;
        }
        int e = gs_stream_connect(&s, at, NULL, GS_NO_MAILBOX, rng_below(&r, 4) ? STALL_MS : 1);
        only_answers(e, -ECONNREFUSED, -ECONNRESET, GS_ETIMEOUT);
        if (e < 0) {
            COUNT(refused);
            continue;
        }
        put(s, &r);
        talk(s, who, &r);
        if (rng_below(&r, 2))
            only_answers(gs_stream_close(s), 0);
    }
    assert_int_equal(gs_mailbox_free(m), 0);
    return NULL;
}

/* Closes this and that, and a listener now and then. */
static void *kill_some(void *arg)
{
    struct rng r = {test_seed() + 2000 + (uintptr_t)arg};
    while (!atomic_load(&stop)) {
        gs_stream s = {atomic_exchange(&slot[rng_below(&r, SLOTS)], 0)};
        nap_us((unsigned)rng_below(&r, 1000));
        if (s.id && only_answers(gs_stream_close(s), 0) == 0)
            COUNT(killed);
        if (rng_below(&r, 20) == 0) {
            int row = (int)rng_below(&r, ROWS);
            only_answers(gs_stream_close(listener_of(row, NULL)), 0);
            open_place(row);
        }
    }
    return NULL;
}

static void run_storm(long ms)
{
    pthread_t t[CONNECTORS + ACCEPTORS + 1];
    int n = 0;
    atomic_store(&stop, false);
    for (int i = 0; i < ROWS; i++)
        open_place(i);
    for (uintptr_t i = 0; i < CONNECTORS; i++)
        t[n++] = go(connect_all, (void *)i);
    for (uintptr_t i = 0; i < ACCEPTORS; i++)
        t[n++] = go(accept_all, (void *)i);
    t[n++] = go(kill_some, NULL);
    uint64_t end = real_ms() + (uint64_t)ms;
    while (real_ms() < end && !atomic_load(&wrongs))
        pause_1ms();
    atomic_store(&stop, true);
    for (int i = 0; i < n; i++)
        join(t[i]);
    for (int i = 0; i < SLOTS; i++)
        gs_stream_close((gs_stream){atomic_exchange(&slot[i], 0)});
    for (int i = 0; i < ROWS; i++)
        gs_stream_close(place[i].s);
    assert_until(gsi_live_count(GSI_STREAM) == 0, 5000);
    assert_until(tables.closes == tables.sockets + tables.accepted, 5000);
}

static void tables_and_their_threads_survive_closes_at_any_step(void **state)
{
    (void)state;
    struct census before;
    ei_socket_callbacks plain = tables_plain(), full = tables_full();
    assert_ok(gs_transport_from_ei(rows[0], &plain, sizeof plain, NULL));
    assert_ok(gs_transport_from_ei(rows[1], &full, sizeof full, NULL));
    assert_ok(gs_transport_from_ei(rows[2], &full, TABLES_SHORT, NULL));
    tables_reset();
    run_storm(100);
    census_take(&before);
    run_storm(from_environment("GS_STORM_SECONDS", test_scale(3, 30)) * 1000);
    print_message("# %u connections: %ld words echoed, %ld refused or late, %ld broken, %ld killed, %ld given up\n", begun,
                  echoed, refused, broken, killed, given_up);
    assert_int_equal(wrongs, 0);
    assert_true(echoed > 0 && broken > 0 && killed > 0 && given_up > 0);
    census_assert(&before);
}

int main(void)
{
    (void)test_seed();
    const struct CMUnitTest tests[] = {cmocka_unit_test(tables_and_their_threads_survive_closes_at_any_step)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
