/* The mailbox storm: posts, timers and their cancellation, selective receives, and mailboxes that are freed with receivers
 * inside, from many threads. What one thread posts to one mailbox arrives in order; what was handed over is freed once; a
 * timer comes once, not early, or was cancelled.
 *
 *     storm_mailbox [--seconds S]
 */
#include <limits.h>

#include "storm.h"

/* The first FOREIGN mailboxes are freed by others too: there a message's bytes may end at any time, its tag does not. */
enum { PLACES = 4, FOREIGN = 2, POSTERS = 3, TIMERS_MAX = 32 };

/* A mailbox that comes and goes. Its receiver replaces it when somebody has freed it. */
struct place_of {
    _Atomic uint64_t id;
    _Atomic uint64_t received;
};
static struct place_of places[PLACES];
static _Atomic bool stop, stop_receivers;
static _Atomic long posts, taken, taken_freed, refused, timers, fired, cancelled, too_late, freed, selective, refs, fds;

#define COUNT(what) atomic_fetch_add_explicit(&what, 1, memory_order_relaxed)

/* What a poster sends: its number, the mailbox that it meant, and how many it has posted there. */
struct posted {
    uint64_t mailbox;
    uint32_t poster, seq;
    uint64_t plain; /* written before the post, read after the receive: the mailbox must order them */
};

struct timer {
    uint64_t ref, due_ms;
    int state; /* 0 free, 1 runs, 2 was taken back */
};

struct receiver {
    struct place_of *at;
    gs_mailbox mb;
    struct rng r;
    uint32_t expect[POSTERS];
    struct timer timer[TIMERS_MAX];
};

static void free_taken(void *p)
{
    COUNT(taken_freed);
    free(p);
}

/* ---- posters ---- */

struct poster {
    uint32_t me;
    struct rng r;
    uint64_t mailbox[PLACES];
    uint32_t seq[PLACES];
};

static void post_one(struct poster *p, uint64_t where)
{
    uint64_t id = atomic_load(&places[where].id);
    if (id != p->mailbox[where]) { /* a new one: counting begins anew */
        p->mailbox[where] = id;
        p->seq[where] = 0;
    }
    struct posted body = {id, p->me, p->seq[where], id ^ p->seq[where]};
    uint32_t tag = p->me << 24 | (p->seq[where] & 0xffffff);
    int e;
    if (rng_below(&p->r, 2)) {
        struct posted *mine = malloc(sizeof *mine);
        *mine = body;
        COUNT(taken);
        e = gs_post_take((gs_mailbox){id}, tag, mine, sizeof *mine, free_taken);
    } else
        e = gs_post((gs_mailbox){id}, tag, &body, sizeof body);
    only_answers(e, GS_ECLOSED, -EAGAIN);
    if (e == 0) {
        p->seq[where]++;
        COUNT(posts);
    } else
        COUNT(refused);
}

static void *post(void *arg)
{
    struct poster p = {.me = (uint32_t)(uintptr_t)arg, .r = {test_seed() + (uintptr_t)arg}};
    while (!atomic_load(&stop)) {
        uint64_t where = rng_below(&p.r, PLACES);
        for (uint64_t k = 1 + rng_below(&p.r, 20); k--;)
            post_one(&p, where);
        if (rng_below(&p.r, 4) == 0)
            nap_us((unsigned)rng_below(&p.r, 200));
    }
    return NULL;
}

/* ---- who frees, receives where another does, asks for descriptors ---- */

static void *meddle(void *arg)
{
    struct rng r = {.s = test_seed() * 3 + (uintptr_t)arg};
    while (!atomic_load(&stop)) {
        uint64_t where = rng_below(&r, PLACES), ref;
        gs_mailbox mb = {atomic_load(&places[where].id)};
        switch (rng_below(&r, 7)) {
        case 0:
            if (where < FOREIGN && rng_below(&r, 20) == 0 && only_answers(gs_mailbox_free(mb), GS_ECLOSED) == 0)
                COUNT(freed);
            break;
        case 1:
            if (only_answers(gs_timer_start(mb, (int)rng_below(&r, 3), NULL, &ref), GS_ECLOSED) == 0)
                only_answers(gs_timer_cancel(mb, ref), GS_EINVALID, GS_ECLOSED);
            break;
        case 2: only_answers(gs_timer_cancel(mb, gs_make_ref()), GS_EINVALID, GS_ECLOSED); break;
        case 3:
            if (rng_below(&r, 50) == 0 && only_answers(gs_mailbox_fd(mb), GS_ECLOSED) >= 0)
                COUNT(fds);
            break;
        case 4: only_answers(gs_mailbox_set_limit(mb, rng_below(&r, 4) ? 65536 : 40), GS_ECLOSED); break;
        default: nap_us(40);
        }
    }
    return NULL;
}

/* ---- receivers ---- */

static void check_posted(struct receiver *rc, const gs_msg *m)
{
    struct posted body;
    uint32_t poster = m->post.tag >> 24, seq = m->post.tag & 0xffffff;
    if (m->post.body.n != sizeof body || poster >= POSTERS) {
        wrong("a post of %zu bytes by %u", m->post.body.n, poster);
        return;
    }
    if (seq != (rc->expect[poster] & 0xffffff))
        wrong("poster %u: post %u instead of %u", poster, seq, rc->expect[poster]);
    rc->expect[poster]++;
    if (rc->at < places + FOREIGN)
        return;
    memcpy(&body, m->post.body.p, sizeof body);
    if (body.mailbox != rc->mb.id || body.poster != poster || body.seq != seq || body.plain != (body.mailbox ^ body.seq))
        wrong("a post that is another mailbox's");
}

static struct timer *timer_of(struct receiver *rc, uint64_t ref)
{
    for (int i = 0; i < TIMERS_MAX; i++)
        if (rc->timer[i].state && rc->timer[i].ref == ref)
            return &rc->timer[i];
    return NULL;
}

static void on_timer(struct receiver *rc, const gs_msg *m)
{
    if (!m->user) /* a meddler's, whose cancel came too late */
        return;
    struct timer *t = timer_of(rc, m->ref);
    if (!t || m->user != rc) {
        wrong("a timer that nobody waits for: %llx", (unsigned long long)m->ref);
        return;
    }
    if (t->state == 2)
        wrong("a timer that was cancelled");
    if (real_ms() < t->due_ms)
        wrong("a timer %llu ms too early", (unsigned long long)(t->due_ms - real_ms()));
    t->state = 0;
    COUNT(fired);
}

static void on_message(struct receiver *rc, const gs_msg *m)
{
    COUNT(rc->at->received);
    if (m->kind == GS_MSG_TIMER)
        on_timer(rc, m);
    else if (m->kind == GS_MSG_POST)
        check_posted(rc, m);
    else
        wrong("a message of kind %d", m->kind);
}

static void start_timer(struct receiver *rc)
{
    for (int i = 0; i < TIMERS_MAX; i++) {
        struct timer *t = &rc->timer[i];
        if (t->state)
            continue;
        int after = (int)rng_below(&rc->r, 20);
        t->due_ms = real_ms() + (uint64_t)after;
        if (only_answers(gs_timer_start(rc->mb, after, rc, &t->ref), GS_ECLOSED) < 0)
            return;
        t->state = 1;
        COUNT(timers);
        return;
    }
}

static void cancel_timer(struct receiver *rc)
{
    struct timer *t = &rc->timer[rng_below(&rc->r, TIMERS_MAX)];
    if (t->state != 1)
        return;
    int left = gs_timer_cancel(rc->mb, t->ref);
    only_answers(left, GS_EINVALID, GS_ECLOSED);
    if (left >= 0) {
        t->state = 0; /* its reference never comes back: the check is timer_of finding none */
        COUNT(cancelled);
    } else
        COUNT(too_late);
}

/* Its own timer, before everything that was posted earlier. */
static int receive_ref(struct receiver *rc)
{
    uint64_t ref, due;
    gs_msg m;
    int after = (int)rng_below(&rc->r, 4);
    due = real_ms() + (uint64_t)after;
    int e = only_answers(gs_timer_start(rc->mb, after, rc, &ref), GS_ECLOSED);
    if (e < 0)
        return e;
    e = only_answers(gs_receive_ref(rc->mb, ref, &m, STALL_MS), GS_ECLOSED);
    if (e == 0 && (m.kind != GS_MSG_TIMER || m.ref != ref || real_ms() < due))
        wrong("receive_ref: kind %d", m.kind);
    if (e == 0)
        COUNT(refs);
    return e;
}

/* Receives until its mailbox is gone. */
static void receive_to_the_end(struct receiver *rc)
{
    for (gs_msg m;;) {
        int e = gs_receive(rc->mb, &m, (int)rng_below(&rc->r, 10));
        if (e == GS_ECLOSED)
            return;
        if (e == 0)
            on_message(rc, &m);
        else if (only_answers(e, GS_ETIMEOUT) != GS_ETIMEOUT)
            return;
        uint64_t k = rng_below(&rc->r, 16);
        if (k == 0)
            start_timer(rc);
        else if (k == 1)
            cancel_timer(rc);
        else if (k == 2 && rng_below(&rc->r, 8) == 0)
            e = receive_ref(rc);
        else if (k == 3 && rng_below(&rc->r, 8) == 0) {
            e = gs_receive_from(rc->mb, (gs_stream){UINT64_C(1) << 32 | UINT64_C(3) << 28 | 0xfffffff}, &m, 0);
            only_answers(e, GS_EBADARG, GS_ECLOSED);
            COUNT(selective);
        } else if (k == 4 && rng_below(&rc->r, 400) == 0) { /* in its own turn */
            if (only_answers(gs_mailbox_free(rc->mb), GS_ECLOSED) == 0)
                COUNT(freed);
        }
        if (atomic_load(&stop_receivers))
            only_answers(gs_mailbox_free(rc->mb), GS_ECLOSED);
    }
}

static void *receive(void *arg)
{
    struct receiver rc = {.at = arg, .r = {test_seed() * 5 + (uintptr_t)arg}};
    for (rc.mb.id = atomic_load(&rc.at->id);;) {
        receive_to_the_end(&rc);
        if (atomic_load(&stop_receivers))
            return NULL;
        memset(rc.expect, 0, sizeof rc.expect);
        memset(rc.timer, 0, sizeof rc.timer);
        if (only_answers(gs_mailbox_new(&rc.mb), 0) < 0)
            return NULL;
        atomic_store(&rc.at->id, rc.mb.id);
    }
}

/* ---- the storm ---- */

static void watch_for_stalls(uint64_t end)
{
    uint64_t last[PLACES] = {0}, moved[PLACES];
    for (int i = 0; i < PLACES; i++)
        moved[i] = real_ms();
    while (real_ms() < end && !atomic_load(&wrongs)) {
        pause_1ms();
        for (int i = 0; i < PLACES; i++) {
            uint64_t now = atomic_load(&places[i].received);
            if (now != last[i])
                moved[i] = real_ms();
            last[i] = now;
            if (real_ms() - moved[i] > STALL_MS)
                wrong("mailbox %d received nothing for %d ms", i, STALL_MS);
        }
    }
}

static long seconds;

static void messages_come_once_in_order_and_nothing_is_left(void **state)
{
    (void)state;
    struct census before;
    gs_mailbox first[PLACES + 1];
    pthread_t receivers[PLACES], posters[POSTERS], meddlers[2];
    for (int i = 0; i <= PLACES; i++) /* the table's page */
        assert_ok(gs_mailbox_new(&first[i]));
    for (int i = 0; i <= PLACES; i++)
        assert_ok(gs_mailbox_free(first[i]));
    census_take(&before);
    for (int i = 0; i < PLACES; i++) {
        atomic_store(&places[i].id, first[i].id); /* freed: the receivers make the next ones */
        receivers[i] = go(receive, &places[i]);
    }
    for (uintptr_t i = 0; i < POSTERS; i++)
        posters[i] = go(post, (void *)i);
    for (uintptr_t i = 0; i < 2; i++)
        meddlers[i] = go(meddle, (void *)i);
    watch_for_stalls(real_ms() + (uint64_t)seconds * 1000);
    atomic_store(&stop, true);
    for (int i = 0; i < POSTERS; i++)
        join(posters[i]);
    for (int i = 0; i < 2; i++)
        join(meddlers[i]);
    atomic_store(&stop_receivers, true);
    for (int i = 0; i < PLACES; i++)
        join(receivers[i]);

    long received = 0;
    for (int i = 0; i < PLACES; i++)
        received += (long)places[i].received;
    print_message("# %ld posts, %ld refused, %ld received; %ld handed over, %ld of them freed; %ld timers, %ld fired, %ld cancelled, %ld too late; "
                  "%ld mailboxes freed, %ld by reference, %ld selective, %ld descriptors\n", posts, refused, received, taken,
                  taken_freed, timers, fired, cancelled, too_late, freed, refs, selective, fds);
    assert_int_equal(wrongs, 0);
    assert_int_equal(taken, taken_freed);
    assert_true(posts > 0 && received > 0 && refused > 0 && fired > 0 && cancelled > 0 && freed > 0 && refs > 0 && fds > 0);
    census_assert(&before);
}

int main(int argc, char **argv)
{
    (void)test_seed(); /* threads read it */
    seconds = from_environment("GS_STORM_SECONDS", test_scale(4, 60));
    if (argc == 3 && !strcmp(argv[1], "--seconds"))
        seconds = atol(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(messages_come_once_in_order_and_nothing_is_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
