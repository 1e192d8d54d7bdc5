/* transfer.c: integrity (promise P1): what arrives is what was sent, in order and once, through random sizes, cuts, modes,
 * owners and unrecvs. Both ends hash what they handled, and the pattern names the first wrong byte.
 */
#include "suite.h"

#include <stdlib.h>

enum { SEED = 99, PIECE = 20000 };

/* Sends t->total pattern bytes in random pieces. */
static void run_send_random(struct task *t)
{
    struct rng r = {t->ref};
    uint8_t *p = malloc(PIECE);
    for (uint64_t at = 0; p && at < t->total && t->result == 0;) {
        size_t n = 1 + rng_below(&r, rng_below(&r, 8) ? 300 : PIECE - 1);
        n = n < t->total - at ? n : (size_t)(t->total - at);
        pattern_fill(p, n, t->seed, at);
        hash_feed(&t->hash, p, n);
        t->result = gs_stream_send(t->stream, p, n);
        at += n;
    }
    free(p);
}

static struct task *sending(struct world *w, gs_stream s, uint64_t seed, uint64_t total)
{
    struct task *t = task_new(w, run_send_random);
    t->stream = s;
    t->seed = seed;
    t->ref = test_seed() ^ seed;
    t->total = total;
    task_go(t);
    return t;
}

/* Receives by random lengths, now and then giving something back. */
static void run_recv_random(struct task *t)
{
    struct rng r = {t->ref};
    uint8_t *p = t->buf = malloc(PIECE);
    uint64_t at = 0;
    while (p && at < t->total) {
        size_t cap = 1 + rng_below(&r, PIECE), left = (size_t)(t->total - at);
        size_t length = rng_below(&r, 2) ? 0 : 1 + rng_below(&r, cap < left ? cap : left);
        ssize_t k = gs_stream_recv(t->stream, p, cap, length, t->timeout_ms);
        if (k <= 0 || (length && (size_t)k != length)) {
            t->result = k <= 0 ? (long)k : -EBADMSG;
            return;
        }
        size_t keep = (size_t)k;
        if (rng_below(&r, 10) == 0) {
            size_t back = rng_below(&r, keep + 1);
            keep -= back;
            t->result = gs_stream_unrecv(t->stream, p + keep, back);
            if (t->result < 0)
                return;
        }
        if (pattern_check(p, keep, t->seed, at) != keep) {
            t->result = -EBADMSG;
            return;
        }
        hash_feed(&t->hash, p, keep);
        at += keep;
    }
}

static struct task *receiving(struct world *w, gs_stream s, uint64_t seed, uint64_t total)
{
    struct task *t = task_new(w, run_recv_random);
    t->stream = s;
    t->seed = seed;
    t->ref = test_seed() + seed;
    t->total = total;
    task_go(t);
    return t;
}

static void assert_same(struct task *sender, struct task *receiver)
{
    assert_code(task_result(sender), 0);
    assert_code(task_result(receiver), 0);
    assert_int_equal(receiver->hash.n, sender->total);
    assert_true(hash_equal(&sender->hash, &receiver->hash));
}

static uint64_t load(void) { return (uint64_t)test_scale(1500000, 40000000); }

static void bytes_arrive_as_sent_both_ways_at_once(struct world *w)
{
    for (unsigned owned = 0; owned < 2; owned++) {
        gs_opt passive[] = {GS_INT(ACTIVE, GS_ACTIVE_FALSE), {.name = GS_OPT_END}};
        open_pair(w, owned ? BOTH_OWNED : NOBODY, passive, passive);
        struct task *s1 = sending(w, w->a, SEED, load()), *s2 = sending(w, w->b, SEED + 1, load());
        struct task *r1 = receiving(w, w->b, SEED, load()), *r2 = receiving(w, w->a, SEED + 1, load());
        assert_same(s1, r1);
        assert_same(s2, r2);
        close_all(w);
    }
}

/* What one end has received through messages and calls, checked as it comes. */
struct sink {
    struct stream_hash hash;
    uint64_t at;
};

static void swallow(struct sink *k, const void *p, size_t n)
{
    size_t right = pattern_check(p, n, SEED, k->at);
    if (right != n)
        fail_msg("byte %llu is wrong", (unsigned long long)(k->at + right));
    hash_feed(&k->hash, p, n);
    k->at += n;
}

/* One random act of b's owner, whose stream is in whatever mode; mailboxes change too. */
static void act(struct world *w, struct rng *r, gs_mailbox *owner, struct sink *k)
{
    static uint8_t p[5000];
    gs_msg m;
    gs_mailbox other = owner->id == w->mb.id ? w->ma : w->mb;
    switch (rng_below(r, 8)) {
    case 0: SET(w->b, ACTIVE, GS_ACTIVE_ONCE); return;
    case 1: SET(w->b, ACTIVE, (int64_t)rng_below(r, 10)); return;
    case 2: SET(w->b, ACTIVE, GS_ACTIVE_TRUE); return;
    case 3: SET(w->b, ACTIVE, GS_ACTIVE_FALSE); return;
    case 4:
        assert_ok(gs_stream_controlling_process(w->b, *owner, other));
        *owner = other;
        return;
    case 5: {
        ssize_t n = gs_stream_recv(w->b, p, sizeof p, 0, 1);
        if (n >= 0) {
            size_t back = rng_below(r, 3) ? 0 : rng_below(r, (uint64_t)n + 1);
            assert_ok(gs_stream_unrecv(w->b, p + ((size_t)n - back), back));
            swallow(k, p, (size_t)n - back);
        } else
            assert_true(n == -EINVAL || n == GS_ETIMEOUT);
        return;
    }
    default: {
        int e = gs_receive(*owner, &m, 1);
        if (e == GS_ETIMEOUT)
            return;
        assert_ok(e);
        if (m.kind == GS_MSG_DATA)
            swallow(k, m.packet.data.p, m.packet.data.n);
        else
            assert_int_equal(m.kind, GS_MSG_PASSIVE);
    }
    }
}

static void bytes_arrive_as_sent_through_all_modes_and_owners(struct world *w)
{
    struct rng r = {test_seed()};
    struct sink k = {0};
    gs_mailbox owner = w->mb;
    uint64_t total = (uint64_t)test_scale(300000, 5000000);
    open_pair(w, B_OWNED, NULL, NULL);
    struct task *s = sending(w, w->a, SEED, total);
    uint64_t end = real_ms() + (uint64_t)test_scale(60000, 300000);
    while (k.at < total) {
        assert_true(real_ms() < end && (!s->ended || s->result == 0));
        act(w, &r, &owner, &k);
    }
    assert_code(task_result(s), 0);
    assert_true(hash_equal(&s->hash, &k.hash));
}

static void bytes_before_close_all_arrive(struct world *w)
{
    for (unsigned owned = 0; owned < 2; owned++) {
        open_pair(w, owned ? A_OWNED : NOBODY, NULL, NULL);
        struct task *r = receiving(w, w->b, SEED, 400000);
        struct task *s = sending(w, w->a, SEED, 400000);
        assert_code(task_result(s), 0);
        assert_ok(gs_stream_close(w->a));
        assert_same(s, r);
        recv_end(w->b);
        close_all(w);
    }
}

/* {packet,4} echo of random sizes in active mode at both ends, many in flight. */
static void an_echo_of_random_packets_is_exact(struct world *w)
{
    enum { N = 300, DEPTH = 8 };
    /* One thread serves both ends: no send may wait for the other. */
    gs_opt o[] = {GS_INT(PACKET, GS_PACKET_4), GS_INT(HIGH_WATERMARK, DEPTH * 100000), {.name = GS_OPT_END}};
    struct rng r = {test_seed()};
    size_t size[N];
    uint8_t *p = malloc(70000);
    assert_non_null(p);
    gs_msg m;
    open_pair(w, NOBODY, o, o);
    assert_ok(gs_stream_controlling_process(w->a, GS_NO_MAILBOX, w->mb));
    assert_ok(gs_stream_controlling_process(w->b, GS_NO_MAILBOX, w->mb));
    SET(w->a, ACTIVE, GS_ACTIVE_TRUE);
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    int e = 0;
    for (int sent = 0, back = 0; back < N && e == 0;) {
        for (; sent < N && sent < back + DEPTH && e == 0; sent++) {
            size[sent] = rng_below(&r, rng_below(&r, 4) ? 200 : 70000);
            pattern_fill(p, size[sent], (uint64_t)sent, 0);
            e = gs_stream_send(w->a, p, size[sent]);
        }
        if (e == 0)
            e = gs_receive(w->mb, &m, WAIT_MS);
        if (e < 0 || m.kind != GS_MSG_DATA)
            break;
        if (m.stream.id == w->b.id)
            e = gs_stream_send(w->b, m.packet.data.p, m.packet.data.n);
        else if (m.packet.data.n != size[back] || pattern_check(m.packet.data.p, size[back], (uint64_t)back, 0) != size[back])
            e = -EBADMSG;
        else if (++back == N)
            e = 1;
    }
    free(p);
    assert_code(e, 1);
}

CASES(transfer) = {
    CASE(bytes_arrive_as_sent_both_ways_at_once),
    CASE(bytes_arrive_as_sent_through_all_modes_and_owners),
    CASE(bytes_before_close_all_arrive),
    CASE(an_echo_of_random_packets_is_exact),
    {0},
};
