/* Close at each step of a stream's life, from another thread (promise P11): who is blocked wakes within 50 ms with closed, what
 * is queued still goes out, what is being read stays readable, and nothing is left behind. */
#include <fcntl.h>
#include <sys/socket.h>

#include "close_steps.h"

/* ---- a layer whose handshake never ends ---- */

static int stuck_upgrade(gs_io *lower, bool server, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)server, (void)at, (void)opts;
    *ctx = lower;
    return 0;
}
static int stuck_handshake(void *ctx) { return (void)ctx, GS_EWANT_READ; }
static ssize_t stuck_readv(void *ctx, const struct iovec *v, int n) { return gs_io_readv(ctx, v, n); }
static ssize_t stuck_writev(void *ctx, const struct iovec *v, int n) { return gs_io_writev(ctx, v, n); }
static void stuck_close(void *ctx, bool reset) { (void)ctx, (void)reset; }
static int stuck_poll(void *ctx, size_t *buffered) { return (void)ctx, *buffered = 0, -1; }
static const struct gs_transport stuck = {
    .size = sizeof stuck,
    .scheme = "stuck",
    .flags = GS_T_NO_HALF_CLOSE,
    .upgrade = stuck_upgrade,
    .handshake = stuck_handshake,
    .readv = stuck_readv,
    .writev = stuck_writev,
    .close = stuck_close,
    .poll = stuck_poll,
};

/* ---- the calls that block ---- */

static char buffers[1 << 16];

static long run_recv(struct call *c) { return gs_stream_recv(c->s, buffers, sizeof buffers, 0, GS_INFINITY); }
static long run_recv_exact(struct call *c) { return gs_stream_recv(c->s, buffers, sizeof buffers, 1000, GS_INFINITY); }
static long run_recv_packet(struct call *c)
{
    gs_packet p;
    return gs_stream_recv_packet(c->s, buffers, sizeof buffers, &p, GS_INFINITY);
}
static long run_send(struct call *c)
{
    static char much[MUCH];
    for (;;) { /* the kernel may find room for another one */
        int e = gs_stream_send(c->s, much, sizeof much);
        if (e < 0)
            return e;
    }
}
static long run_flush(struct call *c)
{
    static char much[MUCH];
    for (;;) { /* the kernel may find room for all of it */
        int e = gs_stream_flush(c->s, GS_INFINITY);
        if (e == 0)
            e = gs_stream_send(c->s, much, sizeof much);
        if (e < 0 && e != -EAGAIN)
            return e;
    }
}
static long run_sendfile(struct call *c)
{
    for (;;) {
        int64_t n = gs_stream_sendfile(c->s, c->fd, 0, 0);
        if (n < 0)
            return (long)n;
    }
}
static long run_accept(struct call *c) { return gs_stream_accept(c->s, &c->out, GS_NO_MAILBOX, GS_INFINITY, NULL); }
static long run_upgrade(struct call *c) { return gs_stream_upgrade(c->s, "stuck", false, NULL, GS_INFINITY); }
static long run_connect(struct call *c) { return gs_stream_connect(&c->out, c->at.at, NULL, c->mb, GS_INFINITY); }
static long run_receive(struct call *c)
{
    gs_msg m;
    return gs_receive(c->mb, &m, GS_INFINITY);
}
static long run_receive_from(struct call *c)
{
    gs_msg m;
    return gs_receive_from(c->mb, c->s, &m, GS_INFINITY);
}

/* ---- a stream's call ---- */

struct step {
    const char *what;
    long (*run)(struct call *c);
    const gs_opt *opts;
    bool owned, full; /* its output is stuck */
};

static void close_under(const struct step *step, const char *scheme, struct latencies *l)
{
    struct pair p;
    open_pair(&p, scheme, step->opts, step->owned);
    if (step->full)
        fill(p.a);
    if (step->full) /* from now on it waits */
        assert_ok(gs_stream_setopts(p.a, GS_OPTS(GS_INT(SEND_TIMEOUT, GS_INFINITY))));
    struct call c = {.run = step->run, .s = p.a, .fd = -1};
    if (step->run == run_sendfile) {
        c.fd = open(temp_path("file"), O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_true(c.fd >= 0 && ftruncate(c.fd, 4 * MUCH) == 0);
    }
    call_start(&c);
    assert_until(has_waiter(p.a.id), 5000);
    uint64_t from = now_us();
    assert_code(gs_stream_close(p.a), 0);
    add_latency(l, call_end(&c, from, GS_ECLOSED, step->what));
    assert_code(gs_stream_close(p.a), 0);
    if (c.fd >= 0)
        close(c.fd);
    close_pair(&p);
}

static void check_step(const struct step *step)
{
    for (int i = 0; i < SCHEMES; i++) {
        struct latencies l = {0}, warm = {0};
        struct census before;
        close_under(step, schemes[i], &warm);
        census_take(&before);
        for (int k = 0; k < REPEATS; k++)
            close_under(step, schemes[i], &l);
        check_latencies(&l, step->what, schemes[i]);
        census_assert(&before);
    }
}

#define NOWAIT GS_OPTS(GS_INT(SEND_TIMEOUT, GS_NOWAIT))
#define NOWAIT_PASSIVE GS_OPTS(GS_INT(SEND_TIMEOUT, GS_NOWAIT), GS_INT(ACTIVE, GS_ACTIVE_FALSE))

static void close_wakes_a_blocked_recv(void **state)
{
    (void)state;
    check_step(&(struct step){.what = "recv", .run = run_recv});
    check_step(&(struct step){.what = "recv, owned", .run = run_recv, .opts = NOWAIT_PASSIVE, .owned = true});
    check_step(&(struct step){.what = "recv exact", .run = run_recv_exact});
    check_step(&(struct step){.what = "recv_packet", .run = run_recv_packet, .opts = GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE))});
}

static void close_wakes_a_blocked_send(void **state)
{
    (void)state;
    check_step(&(struct step){.what = "send above the watermark", .run = run_send, .opts = NOWAIT, .owned = true, .full = true});
    check_step(&(struct step){.what = "send, direct", .run = run_send, .opts = NOWAIT, .full = true});
    check_step(&(struct step){.what = "flush", .run = run_flush, .opts = NOWAIT, .owned = true, .full = true});
    check_step(&(struct step){.what = "sendfile", .run = run_sendfile, .opts = NOWAIT, .full = true});
}

/* The second of two direct sends waits for the first. */
static void close_wakes_who_waits_for_another_sender(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMES; i++) {
        struct pair p;
        open_pair(&p, schemes[i], NULL, false);
        struct call c[3] = {{.run = run_send, .s = p.a}, {.run = run_send, .s = p.a}, {.run = run_flush, .s = p.a}};
        call_start(&c[0]);
        call_start(&c[1]);
        assert_until(waiters(p.a.id) == 2, 5000);
        call_start(&c[2]); /* with nobody sending it would have nothing to wait for */
        assert_until(waiters(p.a.id) == 3, 5000);
        uint64_t from = now_us();
        assert_code(gs_stream_close(p.a), 0);
        struct latencies l = {0};
        for (int k = 0; k < 3; k++)
            add_latency(&l, call_end(&c[k], from, GS_ECLOSED, "one of three senders"));
        check_latencies(&l, "three senders", schemes[i]);
        close_pair(&p);
    }
}

static void close_wakes_a_handshake(void **state)
{
    (void)state;
    check_step(&(struct step){.what = "upgrade", .run = run_upgrade});
}

/* ---- listeners ---- */

static void close_wakes_every_blocked_accept(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    for (int i = 0; i < SCHEMES; i++) {
        struct latencies l = {0};
        for (int k = 0; k < REPEATS; k++) {
            gs_stream s;
            struct place at;
            struct call c[THREADS];
            assert_ok(listen_at(schemes[i], NULL, GS_NO_MAILBOX, &s, &at));
            for (int t = 0; t < THREADS; t++) {
                c[t] = (struct call){.run = run_accept, .s = s};
                call_start(&c[t]);
            }
            assert_until(waiters(s.id) == THREADS, 5000);
            uint64_t from = now_us(), worst = 0;
            assert_code(gs_stream_close(s), 0);
            for (int t = 0; t < THREADS; t++) {
                uint64_t us = call_end(&c[t], from, GS_ECLOSED, "accept");
                worst = us > worst ? us : worst;
            }
            add_latency(&l, worst);
            /* The place is free at once; a unix socket's file is its user's to remove. */
            if (!strncmp(at.at, "unix://", 7))
                (void)unlink(at.at + 7);
            assert_ok(gs_stream_listen(&s, at.at, i == 0 ? GS_OPTS(GS_INT(REUSEADDR, 1)) : NULL, GS_NO_MAILBOX));
            assert_code(gs_stream_close(s), 0);
        }
        check_latencies(&l, "the last of four accepts", schemes[i]);
    }
}

static void close_of_a_listener_aborts_a_nowait_accept(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMES; i++) {
        gs_stream l, out;
        gs_mailbox mb;
        gs_msg m;
        struct place at;
        uint64_t ref;
        assert_ok(gs_mailbox_new(&mb));
        assert_ok(listen_at(schemes[i], NULL, mb, &l, &at));
        assert_code(gs_stream_accept(l, &out, mb, GS_NOWAIT, &ref), GS_ESELECT);
        struct call c = {.run = run_receive, .mb = mb};
        call_start(&c);
        assert_until(is_asleep(mb), 5000);
        assert_code(gs_stream_close(l), 0);
        join(c.thread);
        assert_code(c.answer, 0);
        assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT); /* the abort was the only one */
        assert_code(gs_mailbox_free(mb), 0);
    }
}

/* ---- mailboxes ---- */

static void free_wakes_a_receiver(void **state)
{
    (void)state;
    struct latencies l = {0};
    for (int k = 0; k < REPEATS; k++) {
        struct call c = {.run = run_receive};
        assert_ok(gs_mailbox_new(&c.mb));
        call_start(&c);
        assert_until(is_asleep(c.mb), 5000);
        uint64_t from = now_us();
        assert_code(gs_mailbox_free(c.mb), 0);
        add_latency(&l, call_end(&c, from, GS_ECLOSED, "gs_receive"));
    }
    check_latencies(&l, "gs_receive", "no transport");
}

static void close_wakes_a_receive_from_that_stream(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMES; i++) {
        struct latencies l = {0};
        for (int k = 0; k < REPEATS; k++) {
            struct pair p;
            open_pair(&p, schemes[i], NULL, true);
            struct call c = {.run = run_receive_from, .mb = p.owner, .s = p.a};
            call_start(&c);
            assert_until(is_asleep(p.owner), 5000);
            uint64_t from = now_us();
            assert_code(gs_stream_close(p.a), 0);
            add_latency(&l, call_end(&c, from, GS_ECLOSED, "gs_receive_from"));
            close_pair(&p);
        }
        check_latencies(&l, "gs_receive_from", schemes[i]);
    }
}

/* ---- connecting ---- */

/* Connections until the next one would have to wait: they fill the listener's backlog. */
enum { BACKLOG_MAX = 64 };
static int fill_backlog(const struct place *at, gs_mailbox mb, gs_stream *out)
{
    for (int n = 0; n < BACKLOG_MAX; n++) {
        int e = gs_stream_connect(&out[n], at->at, NULL, mb, 100);
        if (e == GS_ETIMEOUT)
            return n;
        assert_ok(e);
    }
    return BACKLOG_MAX;
}

static void the_owners_end_wakes_a_blocked_connect(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMES; i++) {
        gs_stream l, s[BACKLOG_MAX];
        struct place at;
        assert_ok(listen_at(schemes[i], GS_OPTS(GS_INT(BACKLOG, 1)), GS_NO_MAILBOX, &l, &at));
        int n = fill_backlog(&at, GS_NO_MAILBOX, s);
        struct latencies lat = {0};
        for (int k = 0; k < REPEATS && n < BACKLOG_MAX; k++) {
            struct call c = {.run = run_connect, .at = at};
            assert_ok(gs_mailbox_new(&c.mb));
            size_t live = gsi_live_count(GSI_STREAM);
            call_start(&c);
            assert_until(gsi_live_count(GSI_STREAM) == live + 1, 5000);
            uint64_t from = now_us();
            assert_code(gs_mailbox_free(c.mb), 0);
            join(c.thread);
            if (c.answer == GS_EBADARG) /* the owner ended before the new stream was its own */
                continue;
            assert_code(c.answer, GS_ECLOSED);
            add_latency(&lat, c.ended_us > from ? c.ended_us - from : 0);
        }
        if (lat.n)
            check_latencies(&lat, "connect", schemes[i]);
        else
            print_message("# connect, %s: its backlog has no end\n", schemes[i]);
        for (int k = 0; k < n; k++)
            assert_code(gs_stream_close(s[k]), 0);
        assert_code(gs_stream_close(l), 0);
    }
}

static void close_cancels_a_nowait_connect(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMES; i++) {
        gs_stream l, s[BACKLOG_MAX], waiting;
        gs_mailbox mb;
        gs_msg m;
        struct place at;
        assert_ok(gs_mailbox_new(&mb));
        assert_ok(listen_at(schemes[i], GS_OPTS(GS_INT(BACKLOG, 1)), GS_NO_MAILBOX, &l, &at));
        int n = fill_backlog(&at, GS_NO_MAILBOX, s);
        assert_code(gs_stream_connect(&waiting, at.at, NULL, mb, GS_NOWAIT), GS_ESELECT);
        assert_code(gs_stream_close(waiting), 0);
        assert_code(gs_receive(mb, &m, 30), GS_ETIMEOUT);
        for (int k = 0; k < n; k++)
            assert_code(gs_stream_close(s[k]), 0);
        assert_code(gs_stream_close(l), 0);
        assert_code(gs_mailbox_free(mb), 0);
    }
}

/* ---- with something under way ---- */

static long close_it(struct call *c) { return gs_stream_close(c->s); }

static void close_leaves_the_message_that_is_being_handled(void **state)
{
    (void)state;
    enum { FRAMES = 500, BODY = 100 };
    for (int i = 0; i < SCHEMES * 2; i++) {
        bool foreign = i % 2;
        struct pair p;
        open_pair(&p, schemes[i / 2], GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), true);
        uint8_t frames[FRAMES][2 + BODY];
        for (int k = 0; k < FRAMES; k++) {
            frames[k][0] = 0, frames[k][1] = BODY;
            pattern_fill(frames[k] + 2, BODY, (uint64_t)k, 0);
        }
        assert_ok(gs_stream_send(p.b, frames, sizeof frames));
        gs_msg m;
        assert_ok(gs_receive(p.owner, &m, 5000));
        struct call c = {.run = close_it, .s = p.a};
        if (foreign) {
            call_start(&c);
            call_end(&c, now_us(), 0, "a foreign close");
        } else
            assert_code(gs_stream_close(p.a), 0);
        int more = 0;
        for (int e = 0; e == 0; e = gs_receive(p.owner, &m, 0)) {
            if (more > 0 || m.kind == GS_MSG_DATA) {
                assert_int_equal(m.packet.data.n, BODY);
                assert_int_equal(pattern_check(m.packet.data.p, BODY, (uint64_t)more, 0), BODY);
            }
            more++;
        }
        assert_in_range(more, 1, foreign ? 33 : 1);
        close_pair(&p);
    }
}

static void what_was_queued_before_a_close_arrives(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMES; i++) {
        for (int k = 0; k < 3; k++) {
            struct pair p;
            open_pair(&p, schemes[i], GS_OPTS(GS_INT(HIGH_WATERMARK, 64 * MUCH)), true);
            uint8_t *all = malloc(4 * MUCH);
            pattern_fill(all, 4 * MUCH, (uint64_t)k, 0);
            assert_ok(gs_stream_send(p.a, all, 4 * MUCH));
            struct call c = {.run = close_it, .s = p.a};
            call_start(&c);
            call_end(&c, now_us(), 0, "a foreign close");
            size_t at = 0;
            ssize_t n;
            while ((n = gs_stream_recv(p.b, all, 4 * MUCH, 0, 5000)) > 0) {
                assert_int_equal(pattern_check(all, (size_t)n, (uint64_t)k, at), n);
                at += (size_t)n;
            }
            assert_code(n, GS_ECLOSED);
            assert_int_equal(at, 4 * MUCH);
            free(all);
            close_pair(&p);
        }
    }
}

/* Who shares the descriptor keeps the connection: nobody is woken by shutdown(2). */
static void a_shared_descriptor_survives_the_close(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct pair p;
        gs_stream_info_t info;
        open_pair(&p, schemes[i], NULL, false);
        assert_ok(gs_stream_info(p.a, &info));
        int shared = dup(info.fd);
        struct call c = {.run = run_recv, .s = p.a};
        call_start(&c);
        assert_until(has_waiter(p.a.id), 5000);
        assert_code(gs_stream_close(p.a), 0);
        call_end(&c, now_us(), GS_ECLOSED, "recv");
        assert_int_equal(send(shared, "still here", 10, MSG_NOSIGNAL), 10);
        assert_code(gs_stream_recv(p.b, buffers, sizeof buffers, 10, 5000), 10);
        close(shared);
        assert_code(gs_stream_recv(p.b, buffers, sizeof buffers, 0, 5000), GS_ECLOSED);
        close_pair(&p);
    }
}

/* ---- races of the close itself ---- */

struct ping_pong {
    gs_stream s;
    gs_mailbox mb[2];
    pthread_barrier_t start;
    long transfers;
};

/* Both mailboxes have this thread's turn, so that it may transfer there and back. */
static void *transfer_to_the_end(void *arg)
{
    struct ping_pong *p = arg;
    gs_msg m;
    for (int i = 0; i < 2; i++)
        only_answers(gs_receive(p->mb[i], &m, 0), GS_ETIMEOUT);
    pthread_barrier_wait(&p->start);
    for (int e = 0, i = 0; e == 0; i ^= 1) {
        e = gs_stream_controlling_process(p->s, p->mb[i], p->mb[i ^ 1]);
        only_answers(e, GS_ECLOSED);
        p->transfers += e == 0;
    }
    return NULL;
}

static void close_during_transfers_ends_them(void **state)
{
    (void)state;
    struct rng r = {.s = test_seed()};
    long transfers = 0;
    atomic_store(&wrongs, 0);
    for (int i = 0; i < SCHEMES; i++) {
        for (long k = test_scale(40, 400); k--;) {
            struct pair p;
            open_pair(&p, schemes[i], NULL, true);
            struct ping_pong pp = {.s = p.a, .mb = {p.owner}};
            assert_ok(gs_mailbox_new(&pp.mb[1]));
            pthread_barrier_init(&pp.start, NULL, 2);
            assert_ok(gs_stream_send(p.b, "undelivered", 11));
            pthread_t t = go(transfer_to_the_end, &pp);
            pthread_barrier_wait(&pp.start);
            nap_us((unsigned)rng_below(&r, 300));
            assert_code(gs_stream_close(p.a), 0);
            join(t);
            transfers += pp.transfers;
            pthread_barrier_destroy(&pp.start);
            assert_code(gs_mailbox_free(pp.mb[1]), 0);
            close_pair(&p);
        }
    }
    print_message("# %ld transfers\n", transfers);
    assert_true(transfers > 0);
    assert_int_equal(wrongs, 0);
}

static long export_it(struct call *c)
{
    uint8_t *rest = NULL;
    size_t n;
    int fd = gs_stream_export(c->s, &rest, &n);
    if (fd < 0)
        return fd;
    gs_free(rest);
    close(fd);
    return 0;
}

static long shut_it(struct call *c) { return gs_stream_shutdown(c->s, GS_SHUT_BOTH); }

/* Close, close, export and shutdown at once: each ends the stream or finds it ended, and no descriptor is lost or closed twice */
static void many_ends_at_once_are_one_end(void **state)
{
    (void)state;
    long (*const ends[])(struct call *) = {close_it, close_it, export_it, shut_it, run_recv};
    enum { ENDS = 5 };
    struct census before = {0};
    for (long k = 0; k < test_scale(60, 600); k++) {
        struct pair p;
        struct call c[ENDS];
        open_pair(&p, schemes[k % 2], NULL, false);
        for (int i = 0; i < ENDS; i++) {
            c[i] = (struct call){.run = ends[i], .s = p.a};
            call_start(&c[i]);
        }
        for (int i = 0; i < ENDS; i++)
            join(c[i].thread);
        assert_code(c[0].answer, 0);
        assert_code(c[1].answer, 0);
        assert_true(c[2].answer == 0 || c[2].answer == GS_ECLOSED || c[2].answer == -EALREADY);
        assert_true(c[3].answer == 0 || c[3].answer == GS_ECLOSED);
        assert_code(c[4].answer, GS_ECLOSED);
        close_pair(&p);
        if (k == 3)
            census_take(&before);
    }
    census_assert(&before);
}

static void a_foreign_close_is_told_to_monitors(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMES; i++) {
        struct pair p;
        uint64_t ref;
        gs_msg m;
        open_pair(&p, schemes[i], NULL, true);
        assert_ok(gs_stream_monitor(p.b, p.owner, &ref));
        struct call c = {.run = close_it, .s = p.b};
        call_start(&c);
        call_end(&c, now_us(), 0, "a foreign close");
        assert_ok(gs_receive_ref(p.owner, ref, &m, 5000));
        assert_int_equal(m.kind, GS_MSG_DOWN);
        assert_true(m.ref == ref && m.stream.id == p.b.id);
        close_pair(&p);
    }
}

static int register_layer(void **state)
{
    (void)state;
    return gs_transport_register(&stuck);
}

int main(void)
{
    (void)test_seed(); /* threads read it */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_wakes_a_blocked_recv),
        cmocka_unit_test(close_wakes_a_blocked_send),
        cmocka_unit_test(close_wakes_who_waits_for_another_sender),
        cmocka_unit_test(close_wakes_a_handshake),
        cmocka_unit_test(close_wakes_every_blocked_accept),
        cmocka_unit_test(close_of_a_listener_aborts_a_nowait_accept),
        cmocka_unit_test(free_wakes_a_receiver),
        cmocka_unit_test(close_wakes_a_receive_from_that_stream),
        cmocka_unit_test(the_owners_end_wakes_a_blocked_connect),
        cmocka_unit_test(close_cancels_a_nowait_connect),
        cmocka_unit_test(close_leaves_the_message_that_is_being_handled),
        cmocka_unit_test(what_was_queued_before_a_close_arrives),
        cmocka_unit_test(a_shared_descriptor_survives_the_close),
        cmocka_unit_test(close_during_transfers_ends_them),
        cmocka_unit_test(many_ends_at_once_are_one_end),
        cmocka_unit_test(a_foreign_close_is_told_to_monitors),
    };
    return cmocka_run_group_tests(tests, register_layer, NULL);
}
