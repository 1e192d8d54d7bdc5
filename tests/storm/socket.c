/* The socket storm: threads with a mailbox each receive, send, wait, cancel, own, monitor and close sockets that they all share,
 * and end their mailboxes with waits pending. Every answer is one of those documented, nobody hangs, nothing is left. */
#include <sys/socket.h>

#include "gensock/mailbox.h"
#include "gensock/socket.h"
#include "storm.h"

enum { THREADS = 6, SLOTS = 12, WAITS = 4 };

static _Atomic uint64_t slot[SLOTS]; /* sockets in pairs: 0 with 1, 2 with 3 …; may be stale */
static atomic_bool stop;
static _Atomic long selects, aborts, downs, closes, cancels, ops_done[THREADS];

#define COUNT(what) atomic_fetch_add_explicit(&what, 1, memory_order_relaxed)

struct actor {
    struct rng r;
    gs_mailbox mb;
    gs_wait w[WAITS]; /* nowait calls that may be pending, newest anywhere */
    char buf[20000];
    int index;
};

static gs_socket any(struct actor *a) { return (gs_socket){atomic_load(&slot[rng_below(&a->r, SLOTS)])}; }

static void close_one(uint64_t id)
{
    if (id && only_answers(gs_socket_close((gs_socket){id}), GS_ECLOSED) == 0)
        COUNT(closes);
}

/* A fresh pair; whoever had its two places is closed. */
static void renew(struct actor *a)
{
    int fd[2];
    gs_socket s[2];
    const gs_socket_opts take = {.fd_use = GS_FD_TAKE};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0) {
        wrong("socketpair: %s", strerror(errno));
        return;
    }
    size_t at = rng_below(&a->r, SLOTS / 2) * 2;
    for (int i = 0; i < 2; i++)
        if (only_answers(gs_socket_open_fd(&s[i], fd[i], &take), 1) == 0)
            close_one(atomic_exchange(&slot[at + (size_t)i], s[i].id));
}

static void move_bytes(struct actor *a, bool nowait)
{
    gs_wait blocking = {.timeout_ms = (int)rng_below(&a->r, 3)}, *w = &blocking;
    if (nowait) {
        w = &a->w[rng_below(&a->r, WAITS)];
        w->timeout_ms = GS_NOWAIT;
        w->to = a->mb;
    }
    size_t n = 1 + rng_below(&a->r, sizeof a->buf);
    if (rng_below(&a->r, 2))
        only_answers(gs_socket_recv(any(a), a->buf, n, 0, w), GS_ECLOSED, GS_ETIMEOUT, GS_ESELECT, -ECONNRESET);
    else
        only_answers(gs_socket_send(any(a), a->buf, n, 0, w), GS_ECLOSED, GS_ETIMEOUT, GS_ESELECT, -EPIPE, -ECONNRESET);
}

/* What a select message asks for: the call again. Either direction may be meant; the other is then tried in vain. */
static void take_message(struct actor *a)
{
    gs_msg m;
    if (only_answers(gs_receive(a->mb, &m, (int)rng_below(&a->r, 2)), GS_ETIMEOUT) < 0)
        return;
    if (m.kind == GS_MSG_SELECT) {
        COUNT(selects);
        gs_wait w = {.timeout_ms = 0};
        only_answers(gs_socket_recv(m.socket, a->buf, sizeof a->buf, 0, &w), GS_ECLOSED, GS_ETIMEOUT, -ECONNRESET);
        only_answers(gs_socket_send(m.socket, a->buf, 1, 0, &w), GS_ECLOSED, GS_ETIMEOUT, -EPIPE, -ECONNRESET);
    } else if (m.kind == GS_MSG_ABORT) {
        COUNT(aborts);
        if (m.error != GS_ECLOSED)
            wrong("abort says %s", gs_error_name(m.error));
    } else if (m.kind == GS_MSG_DOWN)
        COUNT(downs);
    else
        wrong("a message of kind %d", m.kind);
}

static void own_or_watch(struct actor *a)
{
    uint64_t ref;
    gs_value v = {.kind = GS_VALUE_MAILBOX, .v.mailbox = a->mb};
    if (rng_below(&a->r, 2)) {
        if (rng_below(&a->r, 2))
            v.v.mailbox.id = 0;
        only_answers(gs_socket_setopt(any(a), "otp:controlling_process", &v), GS_ECLOSED, GS_ENOTOWNER);
    } else if (only_answers(gs_socket_monitor(any(a), a->mb, &ref), GS_ECLOSED) == 0 && rng_below(&a->r, 2))
        only_answers(gs_socket_cancel_monitor(any(a), ref), GS_ECLOSED, GS_EINVALID);
}

static void reborn(struct actor *a)
{
    if (a->mb.id)
        only_answers(gs_mailbox_free(a->mb), 1);
    only_answers(gs_mailbox_new(&a->mb), 1);
}

static void act(struct actor *a)
{
    gs_socket_info_t i;
    gs_socket some[4];
    gs_wait *w = &a->w[rng_below(&a->r, WAITS)];
    uint64_t dice = rng_below(&a->r, 100);
    if (dice < 30)
        move_bytes(a, false);
    else if (dice < 60)
        move_bytes(a, true);
    else if (dice < 78)
        take_message(a);
    else if (dice < 84) {
        if (only_answers(gs_socket_cancel(w->info.socket.id ? w->info.socket : any(a), &w->info), GS_ECLOSED, GS_EINVALID) == 0)
            COUNT(cancels);
    } else if (dice < 90)
        own_or_watch(a);
    else if (dice < 93)
        renew(a);
    else if (dice < 95)
        close_one(any(a).id);
    else if (dice < 96)
        reborn(a);
    else if (dice < 98)
        only_answers(gs_socket_info(any(a), &i), GS_ECLOSED);
    else
        (void)gs_which_sockets(&(gs_socket_filter){.owner = a->mb}, some, 4);
}

static void *actor_main(void *arg)
{
    struct actor *a = arg;
    while (!atomic_load(&stop)) {
        act(a);
        COUNT(ops_done[a->index]);
    }
    only_answers(gs_mailbox_free(a->mb), 1);
    return NULL;
}

static void every_answer_is_documented_and_nothing_is_left(void **state)
{
    (void)state;
    static struct actor a[THREADS];
    pthread_t t[THREADS];
    struct census before;
    reborn(&a[0]); /* tables and pages of objects stay: make the first */
    for (int i = 0; i < SLOTS; i++)
        renew(&a[0]);
    for (int i = 0; i < SLOTS; i++)
        close_one(atomic_exchange(&slot[i], 0));
    assert_code(gs_mailbox_free(a[0].mb), 0);
    assert_int_equal(gs_number_of_sockets(), 0);
    a[0].mb.id = 0;
    census_take(&before);

    for (int i = 0; i < THREADS; i++) {
        a[i].index = i;
        a[i].r.s = test_seed() + (uint64_t)i;
        reborn(&a[i]);
    }
    for (size_t i = 0; i < SLOTS; i += 2)
        while (!atomic_load(&slot[i]))
            renew(&a[0]);
    for (int i = 0; i < THREADS; i++)
        t[i] = go(actor_main, &a[i]);
    long seconds = from_environment("GS_STORM_SECONDS", test_scale(4, 30));
    uint64_t end = real_ms() + (uint64_t)seconds * 1000;
    for (long last[THREADS] = {0}; real_ms() < end;) {
        nap_us(900000);
        nap_us(900000);
        for (int i = 0; i < THREADS; i++) {
            long now = atomic_load(&ops_done[i]);
            if (now == last[i])
                wrong("thread %d stands still", i);
            last[i] = now;
        }
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        join(t[i]);
    for (int i = 0; i < SLOTS; i++)
        close_one(atomic_exchange(&slot[i], 0));

    long sum = 0;
    for (int i = 0; i < THREADS; i++)
        sum += atomic_load(&ops_done[i]);
    print_message("# %ld calls, %ld selects, %ld aborts, %ld downs, %ld cancels, %ld closes\n", sum, atomic_load(&selects),
                  atomic_load(&aborts), atomic_load(&downs), atomic_load(&cancels), atomic_load(&closes));
    assert_true(selects > 0 && aborts > 0 && downs > 0 && cancels > 0 && closes > 0);
    assert_int_equal(gs_number_of_sockets(), 0);
    assert_int_equal(wrongs, 0);
    struct census after;
    census_take(&after);
    assert_int_equal(after.fds, before.fds);
}

int main(void)
{
    (void)test_seed();
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_answer_is_documented_and_nothing_is_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
