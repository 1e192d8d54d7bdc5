/* gs_transport_from_ei, tables with FULL_IMPL: whatever their descriptors are worth, nothing hangs and nothing spins.
 * runner: tsan */
#include <gensock/ei.h>
#include <gensock/mailbox.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ei_tables.h"
#include "support.h"

enum { WAIT = 10000 };

/* All that a table can show, and one that shows nothing at all. */
static const struct row {
    const char *scheme;
    int shows;
} rows[] = {
    {"w-full", SHOWS_TRUTH}, {"w-full", SHOWS_NOTHING}, {"w-full", SHOWS_NOISE},
    {"w-full", SHOWS_FILE},  {"w-short", SHOWS_TRUTH},
};
enum { ROWS = sizeof rows / sizeof *rows };

struct pair {
    gs_stream l, a, b;
    char at[64];
};

static void listen_on(struct pair *p, const struct row *r)
{
    char any[64];
    tables_reset();
    tables.shows = r->shows;
    snprintf(any, sizeof any, "%s://127.0.0.1:0", r->scheme);
    assert_ok(gs_stream_listen(&p->l, any, NULL, GS_NO_MAILBOX));
    snprintf(p->at, sizeof p->at, "%s://127.0.0.1:%d", r->scheme, gs_stream_port(p->l));
}

static void open_pair(struct pair *p, const struct row *r, gs_mailbox owner_of_b)
{
    listen_on(p, r);
    assert_ok(gs_stream_connect(&p->a, p->at, NULL, GS_NO_MAILBOX, WAIT));
    assert_ok(gs_stream_accept(p->l, &p->b, owner_of_b, WAIT, NULL));
}

static void close_pair(struct pair *p)
{
    gs_stream_close(p->a);
    gs_stream_close(p->b);
    gs_stream_close(p->l);
    assert_int_equal(tables.blocking, 0);
    assert_until(tables.closes == 3, WAIT);
}

/* A call of another thread. */
struct call {
    pthread_t thread;
    gs_stream s;
    long result;
    size_t n;
    _Atomic bool ended;
};

static void go(struct call *c, void *(*run)(void *), gs_stream s)
{
    c->s = s;
    c->ended = false;
    assert_int_equal(pthread_create(&c->thread, NULL, run, c), 0);
}

static long result_of(struct call *c)
{
    assert_until(c->ended, WAIT);
    pthread_join(c->thread, NULL);
    return c->result;
}

static void *run_recv(void *arg)
{
    struct call *c = arg;
    char buf[64];
    c->result = gs_stream_recv(c->s, buf, sizeof buf, 0, WAIT);
    c->ended = true;
    return NULL;
}

static void *run_accept(void *arg)
{
    struct call *c = arg;
    gs_stream s;
    c->result = gs_stream_accept(c->s, &s, GS_NO_MAILBOX, WAIT, NULL);
    if (c->result == 0)
        gs_stream_close(s);
    c->ended = true;
    return NULL;
}

/* Reads the pattern of seed 7 to the end, n bytes are expected; result: the first wrong place. */
static void *run_drain(void *arg)
{
    enum { ROOM = 100000 };
    struct call *c = arg;
    uint8_t *buf = malloc(ROOM);
    size_t at = 0;
    ssize_t k;
    while ((k = gs_stream_recv(c->s, buf, ROOM, 0, WAIT)) > 0) {
        size_t good = pattern_check(buf, (size_t)k, 7, at);
        at += good;
        if (good < (size_t)k)
            break;
    }
    free(buf);
    c->result = k < 0 ? k : -EBADMSG;
    c->n = at;
    c->ended = true;
    return NULL;
}

/* ---- it comes ---- */

static void bytes_come_to_a_waiting_recv(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        struct pair p;
        open_pair(&p, &rows[i], GS_NO_MAILBOX);
        for (int k = 0; k < 3; k++) {
            struct call c;
            tables.reads = 0;
            go(&c, run_recv, p.b);
            assert_until(tables.reads > 0, WAIT); /* it has found nothing */
            assert_ok(gs_stream_send(p.a, "hello", 5));
            assert_int_equal(result_of(&c), 5);
        }
        close_pair(&p);
    }
}

static void the_end_comes_to_a_waiting_recv(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        struct pair p;
        struct call c;
        open_pair(&p, &rows[i], GS_NO_MAILBOX);
        tables.reads = 0;
        go(&c, run_recv, p.b);
        assert_until(tables.reads > 0, WAIT);
        assert_ok(gs_stream_close(p.a));
        assert_code(result_of(&c), GS_ECLOSED);
        close_pair(&p);
    }
}

static void bytes_and_the_end_come_as_messages(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        struct pair p;
        gs_mailbox m;
        gs_msg msg;
        assert_ok(gs_mailbox_new(&m));
        open_pair(&p, &rows[i], m);
        for (int k = 0; k < 3; k++) {
            assert_code(gs_receive(m, &msg, 5), GS_ETIMEOUT);
            assert_ok(gs_stream_send(p.a, "hello", 5));
            assert_ok(gs_receive(m, &msg, WAIT));
            assert_int_equal(msg.kind, GS_MSG_DATA);
            assert_int_equal(msg.packet.data.n, 5);
        }
        assert_ok(gs_stream_close(p.a));
        assert_ok(gs_receive(m, &msg, WAIT));
        assert_int_equal(msg.kind, GS_MSG_CLOSED);
        assert_ok(gs_mailbox_free(m));
        close_pair(&p);
    }
}

static void connections_come_to_a_waiting_accept(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        struct pair p;
        struct call c;
        listen_on(&p, &rows[i]);
        assert_code(gs_stream_accept(p.l, &p.b, GS_NO_MAILBOX, 0, NULL), GS_ETIMEOUT);
        assert_code(gs_stream_accept(p.l, &p.b, GS_NO_MAILBOX, 20, NULL), GS_ETIMEOUT);
        for (int k = 0; k < 3; k++) {
            go(&c, run_accept, p.l);
            assert_ok(gs_stream_connect(&p.a, p.at, NULL, GS_NO_MAILBOX, WAIT));
            assert_code(result_of(&c), 0);
            assert_ok(gs_stream_close(p.a));
        }
        assert_ok(gs_stream_close(p.l));
        assert_until(tables.closes == 7, WAIT);
    }
}

static void more_than_fits_arrives_whole(void **state)
{
    (void)state;
    const size_t total = (size_t)test_scale(12, 60) << 20;
    uint8_t *all = malloc(total);
    pattern_fill(all, total, 7, 0);
    for (int i = 0; i < ROWS; i++) {
        struct pair p;
        struct call c;
        open_pair(&p, &rows[i], GS_NO_MAILBOX);
        go(&c, run_drain, p.b);
        assert_ok(gs_stream_send(p.a, all, total));
        assert_ok(gs_stream_close(p.a));
        assert_code(result_of(&c), GS_ECLOSED);
        assert_int_equal(c.n, total);
        close_pair(&p);
    }
    free(all);
}

static void closing_ends_what_waits(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        struct pair p;
        struct call recv, accept;
        open_pair(&p, &rows[i], GS_NO_MAILBOX);
        tables.reads = 0;
        go(&recv, run_recv, p.b);
        go(&accept, run_accept, p.l);
        assert_until(tables.reads > 0, WAIT);
        assert_ok(gs_stream_close(p.b));
        assert_ok(gs_stream_close(p.l));
        assert_code(result_of(&recv), GS_ECLOSED);
        assert_code(result_of(&accept), GS_ECLOSED);
        close_pair(&p);
    }
}

/* ---- and costs little while it does not ---- */

/* In 300 ms a loop makes tens of thousands of calls; pauses that double up to 32 ms make about 15, and some more come
 * before them. */
static void waiting_spins_on_no_descriptor(void **state)
{
    (void)state;
    enum { QUIET = 300, MOST = 100 };
    for (int i = 0; i < ROWS; i++) {
        struct pair p;
        char buf[8];
        open_pair(&p, &rows[i], GS_NO_MAILBOX);
        tables.reads = tables.accepts = 0;
        assert_code(gs_stream_recv(p.b, buf, sizeof buf, 0, QUIET), GS_ETIMEOUT);
        assert_true(tables.reads <= MOST);
        assert_code(gs_stream_accept(p.l, &p.a, GS_NO_MAILBOX, QUIET, NULL), GS_ETIMEOUT);
        assert_true(tables.accepts <= MOST);
        close_pair(&p);
    }
}

/* A mailbox whose descriptor an application waits for is not woken for nothing. */
static void waiting_wakes_nobody(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        struct pair p;
        gs_mailbox m;
        gs_msg msg;
        if (rows[i].shows == SHOWS_NOISE)
            continue; /* it says so itself */
        assert_ok(gs_mailbox_new(&m));
        open_pair(&p, &rows[i], m);
        int fd = (int)assert_ok(gs_mailbox_fd(m));
        assert_code(gs_receive(m, &msg, 0), GS_ETIMEOUT);
        while (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) > 0)
            assert_code(gs_receive(m, &msg, 0), GS_ETIMEOUT);
        tables.reads = 0;
        assert_until(tables.reads >= 3, WAIT); /* tried meanwhile, by others */
        assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0), 0);
        assert_ok(gs_mailbox_free(m));
        close_pair(&p);
    }
}

/* A truthful descriptor is heard at once: by pauses alone this would take seconds. */
static void a_descriptor_that_tells_the_truth_is_heard_at_once(void **state)
{
    (void)state;
    enum { ROUNDS = 200, PAUSE = 32 };
    struct pair p;
    gs_mailbox m;
    gs_msg msg;
    assert_ok(gs_mailbox_new(&m));
    open_pair(&p, &rows[0], m);
    uint64_t began = real_ms();
    for (int i = 0; i < ROUNDS; i++) {
        assert_code(gs_receive(m, &msg, 0), GS_ETIMEOUT);
        assert_ok(gs_stream_send(p.a, "x", 1));
        assert_ok(gs_receive(m, &msg, WAIT));
    }
    assert_true(real_ms() - began < ROUNDS * PAUSE / 2);
    assert_ok(gs_mailbox_free(m));
    close_pair(&p);
}

/* ---- a table that reads ahead: its descriptor is quiet while there are bytes ---- */

struct ahead {
    struct tables_ctx *below;
    char have[1000];
    size_t at, n;
};

static int ahead_of(void **ctx, struct tables_ctx *below)
{
    struct ahead *a = calloc(1, sizeof *a);
    a->below = below;
    *ctx = a;
    return 0;
}
static int ahead_socket(void **ctx, void *setup)
{
    void *below;
    int e = tables_socket_full(&below, setup);
    return e ? e : ahead_of(ctx, below);
}
static int ahead_close(void *ctx)
{
    struct ahead *a = ctx;
    int e = tables_close(a->below);
    free(a);
    return e;
}
static int ahead_listen(void *ctx, void *addr, int *len, int backlog)
{
    return tables_listen(((struct ahead *)ctx)->below, addr, len, backlog);
}
static int ahead_accept(void **ctx, void *addr, int *len, unsigned tmo)
{
    void *below = ((struct ahead *)*ctx)->below;
    int e = tables_accept(&below, addr, len, tmo);
    return e ? e : ahead_of(ctx, below);
}
static int ahead_connect(void *ctx, void *addr, int len, unsigned tmo)
{
    return tables_connect_full(((struct ahead *)ctx)->below, addr, len, tmo);
}
static int ahead_write(void *ctx, const char *buf, ssize_t *len, unsigned tmo)
{
    return tables_write(((struct ahead *)ctx)->below, buf, len, tmo);
}
/* A byte or two at a time, from what came in larger pieces. */
static int ahead_read(void *ctx, char *buf, ssize_t *len, unsigned tmo)
{
    struct ahead *a = ctx;
    if (a->at == a->n) {
        ssize_t k = sizeof a->have;
        int e = tables_read(a->below, a->have, &k, tmo);
        if (e)
            return e;
        a->at = 0;
        a->n = (size_t)k;
    }
    *len = *len > 2 ? 2 : *len;
    if ((size_t)*len > a->n - a->at)
        *len = (ssize_t)(a->n - a->at);
    memcpy(buf, a->have + a->at, (size_t)*len);
    a->at += (size_t)*len;
    return 0;
}
static int ahead_fd(void *ctx, int *fd) { return tables_get_fd(((struct ahead *)ctx)->below, fd); }

static ei_socket_callbacks table_ahead(void)
{
    return (ei_socket_callbacks){.flags = EI_SCLBK_FLG_FULL_IMPL, .socket = ahead_socket, .close = ahead_close,
        .listen = ahead_listen, .accept = ahead_accept, .connect = ahead_connect, .write = ahead_write, .read = ahead_read,
        .get_fd = ahead_fd};
}

static void bytes_above_the_descriptor_do_not_hide(void **state)
{
    (void)state;
    const struct row row = {"w-ahead", SHOWS_TRUTH};
    struct pair p;
    gs_mailbox m;
    gs_msg msg;
    char in[64];
    const char text[] = "0123456789";
    assert_ok(gs_mailbox_new(&m));
    open_pair(&p, &row, m);
    assert_ok(gs_stream_send(p.a, text, 10));
    for (size_t at = 0; at < 10; at += msg.packet.data.n) {
        assert_ok(gs_receive(m, &msg, WAIT));
        assert_int_equal(msg.kind, GS_MSG_DATA);
        assert_memory_equal(msg.packet.data.p, &text[at], msg.packet.data.n);
    }
    assert_ok(gs_stream_setopts(p.b, GS_OPTS(GS_INT(PACKET, GS_PACKET_1))));
    assert_ok(gs_stream_send(p.a, "\3abc\4defg\2", 10));
    assert_ok(gs_receive(m, &msg, WAIT));
    assert_memory_equal(msg.packet.data.p, "abc", 3);
    assert_ok(gs_receive(m, &msg, WAIT));
    assert_memory_equal(msg.packet.data.p, "defg", 4);
    assert_ok(gs_stream_setopts(p.b, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE))));
    assert_ok(gs_stream_send(p.a, "hi\3xyz", 6));
    assert_int_equal(gs_stream_recv(p.b, in, sizeof in, 0, WAIT), 2);
    assert_int_equal(gs_stream_recv(p.b, in, sizeof in, 0, WAIT), 3);
    assert_ok(gs_mailbox_free(m));
    close_pair(&p);
}

static int set_up(void **state)
{
    (void)state;
    ei_socket_callbacks full = tables_full(), ahead = table_ahead();
    return gs_transport_from_ei("w-full", &full, sizeof full, NULL) ||
           gs_transport_from_ei("w-short", &full, TABLES_SHORT, NULL) ||
           gs_transport_from_ei("w-ahead", &ahead, sizeof ahead, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_to_a_waiting_recv),
        cmocka_unit_test(the_end_comes_to_a_waiting_recv),
        cmocka_unit_test(bytes_and_the_end_come_as_messages),
        cmocka_unit_test(connections_come_to_a_waiting_accept),
        cmocka_unit_test(more_than_fits_arrives_whole),
        cmocka_unit_test(closing_ends_what_waits),
        cmocka_unit_test(waiting_spins_on_no_descriptor),
        cmocka_unit_test(waiting_wakes_nobody),
        cmocka_unit_test(a_descriptor_that_tells_the_truth_is_heard_at_once),
        cmocka_unit_test(bytes_above_the_descriptor_do_not_hide),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
