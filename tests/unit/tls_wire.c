/* TLS over a transport that is short, late, interrupted, cut or broken at any byte: everything that was taken arrives, in
 * order; what is held back is flushed; and poll tells of waiting bytes exactly while there is something to read without the
 * transport. */
#include "pki.h"
#include "support.h"
#include "tls_ends.h"

enum { ROOM = 70000 };

static gs_opt server_opts[4], client_opts[4];

static const struct tls_script kind = {.read_answer = 1};

/* ---- one direction of data ---- */

struct flow {
    struct tls_end *from, *to;
    uint64_t seed;
    size_t sent, came, total;
    int end; /* what the reader was told last, when it was an end: 1 none yet */
};

/* Several pieces of any size; the bytes taken, which may wait in the layer. */
static int send_some(struct flow *f, struct rng *r)
{
    static uint8_t bytes[ROOM];
    struct iovec v[4];
    size_t left = f->total - f->sent, n = rng_below(r, 8) ? rng_below(r, 600) : rng_below(r, ROOM), at = 0;
    n = n < left ? n : left;
    pattern_fill(bytes, n, f->seed, f->sent);
    for (int i = 0; i < 4; i++) {
        size_t k = i == 3 ? n - at : rng_below(r, n - at + 1);
        v[i] = (struct iovec){bytes + at, k};
        at += k;
    }
    if (!n)
        return 0;
    ssize_t k = tls_layer()->writev(f->from->tls, v, 4);
    if (k > 0)
        f->sent += (size_t)k;
    assert_true(k <= (ssize_t)n);
    return k < 0 ? (int)k : 0;
}

static ssize_t read_into(struct flow *f, size_t cap)
{
    static uint8_t bytes[ROOM];
    ssize_t k = tls_end_read(f->to, bytes, cap);
    if (k > 0) {
        assert_true((size_t)k <= cap && f->came + (size_t)k <= f->sent);
        assert_int_equal(pattern_check(bytes, (size_t)k, f->seed, f->came), k);
        f->came += (size_t)k;
    } else if (k != -EAGAIN)
        f->end = (int)k;
    return k;
}

static size_t some_room(struct rng *r) { return 1 + rng_below(r, rng_below(r, 4) ? 900 : ROOM); }

/* With nothing coming from below: what poll tells is there, what it does not tell is not, and reading without bytes (a
 * ticket, new keys) lowers it: nobody turns in circles. */
static void check_poll(struct flow *f, struct rng *r)
{
    f->to->script.deaf = true;
    for (;;) {
        size_t told = tls_end_buffered(f->to);
        ssize_t k = read_into(f, some_room(r));
        if (!told)
            assert_int_equal(k, -EAGAIN);
        if (k == -EAGAIN)
            assert_true(!told || tls_end_buffered(f->to) < told);
        if (!told || f->end != 1)
            break;
    }
    f->to->script.deaf = false;
}

static void read_some(struct flow *f, struct rng *r)
{
    if (f->end == 1)
        (void)read_into(f, some_room(r));
    if (f->end == 1 && rng_below(r, 4) == 0)
        check_poll(f, r);
}

static void open_ready(struct tls_ends *x, const struct tls_script *script)
{
    int c, s;
    assert_ok(tls_ends_open(x, client_opts, server_opts, script));
    if (!tls_ends_handshake(x, &c, &s))
        fail_msg("the handshake stands still: client %d, server %d; shorts %u, nothing %u, room %zu", c, s, script->shorts,
                 script->nothing, script->room);
    assert_code(c, 0);
    assert_code(s, 0);
}

/* Both directions at once, to the end. */
static void exchange(struct tls_ends *x, struct rng *r, size_t total)
{
    struct flow f[2] = {{&x->client, &x->server, 11, 0, 0, total, 1}, {&x->server, &x->client, 12, 0, 0, total, 1}};
    for (long steps = 0; f[0].came < total || f[1].came < total; steps++) {
        struct flow *one = &f[rng_below(r, 2)];
        int e = send_some(one, r);
        assert_true(e == 0 || e == -EAGAIN);
        if (rng_below(r, 2))
            (void)tls_layer()->flush(one->from->tls);
        read_some(&f[rng_below(r, 2)], r);
        if (steps > 4000000)
            fail_msg("%zu of %zu and %zu of %zu bytes: nothing moves any more", f[0].came, f[0].sent, f[1].came, f[1].sent);
    }
}

/* ---- the facts ---- */

static void all_bytes_arrive_over_a_transport_that_behaves_badly(void **state)
{
    (void)state;
    static const struct tls_script scripts[] = {
        {.read_answer = 1},
        {.read_answer = 1, .shorts = 200},
        {.read_answer = 1, .eintr = 128, .eagain = 128},
        {.read_answer = 1, .shorts = 128, .room = 100},
        {.read_answer = 1, .shorts = 60, .eintr = 60, .eagain = 60, .nothing = 60, .room = 20000},
        {.read_answer = 1, .shorts = 255, .room = 1},
    };
    struct rng r = {.s = test_seed()};
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        for (long k = 0; k < test_scale(2, 30); k++) {
            struct tls_ends x;
            struct tls_script script = scripts[i];
            script.seed = rng_next(&r);
            open_ready(&x, &script);
            exchange(&x, &r, script.room == 1 ? 3000 : 200000);
            tls_ends_close(&x);
        }
    }
}

/* After a flush that answered 0 the bytes below are enough for everything that was taken. */
static void what_is_held_back_leaves_with_flush(void **state)
{
    (void)state;
    struct rng r = {.s = test_seed()};
    for (long k = 0; k < test_scale(60, 600); k++) {
        struct tls_ends x;
        open_ready(&x, &kind);
        x.client.script = (struct tls_script){.read_answer = 1, .seed = rng_next(&r), .shorts = 100, .eagain = 60};
        x.client.script.room = 1 + rng_below(&r, 40000);
        struct flow f = {&x.client, &x.server, 5, 0, 0, ROOM, 1};
        int e = 0;
        while (e == 0 && f.sent < f.total)
            e = send_some(&f, &r);
        assert_true(e == 0 || e == -EAGAIN);
        while ((e = tls_layer()->flush(x.client.tls)) != 0) {
            assert_code(e, -EAGAIN);
            x.client.script.room += 1000;
        }
        while (read_into(&f, some_room(&r)) > 0)
            ;
        assert_int_equal(f.came, f.sent);
        assert_true(f.sent > 0);
        tls_ends_close(&x);
    }
}

/* Bytes, then close_notify, in one read: the end is told without anything from below. */
static void poll_tells_of_an_end_behind_the_bytes(void **state)
{
    (void)state;
    struct tls_ends x;
    char in[100];
    open_ready(&x, &kind);
    assert_int_equal(tls_end_write(&x.client, "last words", 10), 10);
    assert_code(tls_layer()->shutdown(x.client.tls, GS_SHUT_WRITE), 0);
    assert_int_equal(tls_end_read(&x.server, in, sizeof in), 10);
    assert_true(tls_end_buffered(&x.server) > 0);
    x.server.script.deaf = true;
    assert_int_equal(tls_end_read(&x.server, in, sizeof in), 0);
    assert_int_equal(tls_end_buffered(&x.server), 0);
    x.server.script.deaf = false;
    assert_int_equal(tls_end_write(&x.server, "and back", 8), 8); /* half closed: this way is open */
    assert_int_equal(tls_end_read(&x.client, in, sizeof in), 8);
    tls_ends_close(&x);
}

/* A broken record behind good bytes: the bytes first, then the error, also when nothing more comes. */
static void poll_tells_of_an_error_behind_the_bytes(void **state)
{
    (void)state;
    static const uint8_t broken[][40] = {{23, 3, 3, 0, 35, 1}, {23, 3, 3, 0xff, 0xff}, {99, 3, 3, 0, 1}, {23, 9, 9, 0, 35}};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        for (size_t cap = 5; cap <= 100; cap += 95) { /* the record is met in the read of the bytes, or waits behind them */
            struct tls_ends x;
            char in[100];
            open_ready(&x, &kind);
            while (tls_end_read(&x.client, in, sizeof in) > 0) /* the tickets */
                ;
            assert_int_equal(tls_end_write(&x.server, "fine.", 5), 5);
            tls_pipe_put(&x.to_client, broken[i], sizeof *broken);
            assert_int_equal(tls_end_read(&x.client, in, cap), 5);
            x.client.script.deaf = true;
            assert_true(tls_end_buffered(&x.client) > 0);
            assert_code(tls_end_read(&x.client, in, sizeof in), GS_EALERT);
            assert_int_equal(tls_end_buffered(&x.client), 0);
            assert_code(tls_end_read(&x.client, in, sizeof in), GS_EALERT);
            tls_ends_close(&x);
        }
    }
}

/* The bytes that a whole life of a connection has each way, so that every place can be cut. */
static void measure(size_t *to_client, size_t *to_server)
{
    struct tls_ends x;
    struct rng r = {.s = 3};
    open_ready(&x, &kind);
    exchange(&x, &r, 2000);
    *to_client = x.server.written;
    *to_server = x.client.written;
    tls_ends_close(&x);
}

/* As exchange, until one end is told something. What came is what was sent, up to there. */
static int exchange_until_told(struct tls_ends *x, struct tls_end *victim)
{
    struct rng r = {.s = 3};
    int c, s;
    (void)tls_ends_handshake(x, &c, &s);
    int mine = victim == &x->client ? c : s, other = victim == &x->client ? s : c;
    if (mine < 0)
        return mine;
    struct tls_end *peer = victim == &x->client ? &x->server : &x->client;
    struct flow in = {peer, victim, 12, 0, 0, 4000, 1}, out = {victim, peer, 13, 0, 0, 4000, 1};
    for (int i = 0; i < 2000 && in.end == 1; i++) {
        if (other == 0)
            (void)send_some(&in, &r);
        int e = send_some(&out, &r);
        if (e < 0 && e != -EAGAIN)
            return e;
        read_some(&in, &r);
    }
    return in.end;
}

/* One end's transport ends or breaks after each number of bytes. */
static void break_everywhere(bool server, int read_answer, int write_error, int in_handshake, int afterwards)
{
    size_t to_client, to_server;
    measure(&to_client, &to_server);
    size_t all = server != (write_error != 0) ? to_server : to_client;
    long told[2] = {0, 0}, step = test_scale(67, 5);
    for (size_t at = 0; at < all; at += (size_t)step) {
        struct tls_ends x;
        assert_ok(tls_ends_open(&x, client_opts, server_opts, &kind));
        struct tls_end *victim = server ? &x.server : &x.client;
        victim->script.read_stop = victim->script.write_stop = at;
        victim->script.read_answer = read_answer;
        victim->script.write_error = write_error;
        int e = exchange_until_told(&x, victim);
        if (e != in_handshake && e != afterwards)
            fail_msg("after %zu of %zu bytes: %s (%s)", at, all, gs_error_name(e), gs_error_detail(e));
        told[0] += e == in_handshake;
        told[1] += e == afterwards;
        tls_ends_close(&x);
    }
    assert_true(told[0] > 0 && told[1] > 0);
}

static void an_end_at_any_byte_is_closed_or_truncated(void **state)
{
    (void)state;
    break_everywhere(false, 0, 0, GS_ECLOSED, GS_ETRUNCATED);
    break_everywhere(true, 0, 0, GS_ECLOSED, GS_ETRUNCATED);
}

static void an_error_at_any_byte_is_told(void **state)
{
    (void)state;
    break_everywhere(false, -ECONNRESET, 0, -ECONNRESET, GS_ETRUNCATED);
    break_everywhere(true, -ETIMEDOUT, 0, -ETIMEDOUT, -ETIMEDOUT);
}

static void a_write_that_fails_at_any_byte_is_told(void **state)
{
    (void)state;
    break_everywhere(false, 1, -EPIPE, -ECONNRESET, -EPIPE);
    break_everywhere(true, 1, -EPIPE, -ECONNRESET, -EPIPE);
}

static int set_up(void **state)
{
    (void)state;
    const struct pki_files *f = pki_default();
    server_opts[0] = (gs_opt)GS_STR(TLS_CERT_FILE, f->cert);
    server_opts[1] = (gs_opt)GS_STR(TLS_KEY_FILE, f->key);
    client_opts[0] = (gs_opt)GS_STR(TLS_CA_FILE, f->ca);
    client_opts[1] = (gs_opt)GS_STR(TLS_SERVER_NAME, "gensock.test");
    client_opts[2] = (gs_opt)GS_INT(TLS_RESUME, false); /* every handshake is a full one */
    return gs_tls_register();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_bytes_arrive_over_a_transport_that_behaves_badly),
        cmocka_unit_test(what_is_held_back_leaves_with_flush),
        cmocka_unit_test(poll_tells_of_an_end_behind_the_bytes),
        cmocka_unit_test(poll_tells_of_an_error_behind_the_bytes),
        cmocka_unit_test(an_end_at_any_byte_is_closed_or_truncated),
        cmocka_unit_test(an_error_at_any_byte_is_told),
        cmocka_unit_test(a_write_that_fails_at_any_byte_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
