/* micro.c: what the small things cost: handles, posts, timers, transfers, wakes by close. One JSON object per line: the row,
 * its ns (lowest of several repetitions), and where one makes sense what one would have without gensock, in the same run.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/handle.h"
#include "beside.h"
#include "gensock/stream.h"

enum { REPEATS = 7, HANDLES = 500000, POSTS = 50000, CONTENDED = 300000, TURNS = 2000, TIMERS = 10000, MOVES = 20000, MOVES_FULL = 2000,
       FRAMES = 20, WAKES = 100 };

static gs_mailbox mb, other;
static gs_stream listener;

static void must(const char *what, int64_t e)
{
    if (e >= 0)
        return;
    fprintf(stderr, "micro: %s: %s\n", what, gs_error_text((int)e));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The lowest of several repetitions of work, per each of its n steps. */
static double lowest(void (*work)(long), long n)
{
    double best = 1e18;
    for (int i = 0; i < REPEATS; i++) {
        double began = now();
        work(n);
        double each = (now() - began) / (double)n;
        best = each < best ? each : best;
    }
    return best;
}

static void row(const char *what, double ns, const char *beside, double beside_ns)
{
    printf("{\"row\":\"%s\",\"ns\":%.2f", what, ns);
    if (beside)
        printf(",\"contender\":\"%s\",\"contender_ns\":%.2f", beside, beside_ns);
    puts("}");
    fflush(stdout);
}

/* The first and the last core that the process may use: two threads that wake each other do so across cores, always. */
static cpu_set_t core[2];

static void find_cores(void)
{
    cpu_set_t usable;
    CPU_ZERO(&usable);
    must("affinity", sched_getaffinity(0, sizeof usable, &usable));
    for (size_t i = 0, found = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &usable)) {
            CPU_ZERO(&core[1]);
            CPU_SET(i, &core[1]);
            if (!found++)
                core[0] = core[1];
        }
}

static void in_thread(pthread_t *t, void *(*run)(void *), void *arg)
{
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setaffinity_np(&a, sizeof core[1], &core[1]);
    must("thread", -pthread_create(t, &a, run, arg));
    pthread_attr_destroy(&a);
}

/* ---- handles ---- */

static uint64_t looked_up;

static void look_up(long n)
{
    struct gsi_object *o;
    for (long i = 0; i < n; i++)
        if (gsi_lock(GSI_MAILBOX, looked_up, &o) == 0)
            gsi_unlock(o);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock_mutex(long n)
{
    for (long i = 0; i < n; i++) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
}

static void handles(void)
{
    looked_up = mb.id;
    row("handle: look-up + lock + unlock", lowest(look_up, HANDLES), "pthread mutex: lock + unlock", lowest(lock_mutex, HANDLES));
    gs_mailbox gone;
    must("mailbox", gs_mailbox_new(&gone));
    must("free", gs_mailbox_free(gone));
    looked_up = gone.id;
    row("handle: a stale one is refused", lowest(look_up, HANDLES), NULL, 0);
}

/* ---- posts ---- */

static struct beside_queue queue, back_queue;

static void take_post(gs_mailbox from)
{
    gs_msg m;
    must("receive", gs_receive(from, &m, GS_INFINITY));
    if (m.kind != GS_MSG_POST) {
        fprintf(stderr, "micro: another message than the post\n");
        exit(1);
    }
}

static void post_awake(long n)
{
    for (long i = 0; i < n; i++)
        must("post", gs_post(mb, 1, NULL, 0));
    for (long i = 0; i < n; i++)
        take_post(mb);
}

static void queue_awake(long n)
{
    for (long i = 0; i < n; i++)
        beside_post(&queue);
    for (long i = 0; i < n; i++)
        beside_take(&queue);
}

static void *poster(void *n)
{
    for (long i = 0; i < *(long *)n; i++)
        must("post", gs_post(mb, 1, NULL, 0));
    return NULL;
}

static void post_contended(long n)
{
    pthread_t t;
    in_thread(&t, poster, &n);
    for (long i = 0; i < n; i++)
        take_post(mb);
    pthread_join(t, NULL);
}

static void *queue_poster(void *n)
{
    for (long i = 0; i < *(long *)n; i++)
        beside_post(&queue);
    return NULL;
}

static void queue_contended(long n)
{
    pthread_t t;
    in_thread(&t, queue_poster, &n);
    for (long i = 0; i < n; i++)
        beside_take(&queue);
    pthread_join(t, NULL);
}

static void *post_back(void *n)
{
    for (long i = 0; i < *(long *)n; i++) {
        take_post(other);
        must("post", gs_post(mb, 1, NULL, 0));
    }
    return NULL;
}

static void post_ping_pong(long n)
{
    pthread_t t;
    in_thread(&t, post_back, &n);
    for (long i = 0; i < n; i++) {
        must("post", gs_post(other, 1, NULL, 0));
        take_post(mb);
    }
    pthread_join(t, NULL);
}

static void *queue_back(void *n)
{
    for (long i = 0; i < *(long *)n; i++) {
        beside_take(&queue);
        beside_post(&back_queue);
    }
    return NULL;
}

static void queue_ping_pong(long n)
{
    pthread_t t;
    in_thread(&t, queue_back, &n);
    for (long i = 0; i < n; i++) {
        beside_post(&queue);
        beside_take(&back_queue);
    }
    pthread_join(t, NULL);
}

/* A bare event loop that is woken: eventfd and epoll_wait, nothing handed over. */
static int wake_fd[2], wake_set[2];

static void wake(int i)
{
    uint64_t one = 1;
    if (write(wake_fd[i], &one, sizeof one) != sizeof one)
        abort();
}

static void wait_for_wake(int i)
{
    struct epoll_event v;
    uint64_t count;
    while (epoll_wait(wake_set[i], &v, 1, -1) != 1)
        ;
    if (read(wake_fd[i], &count, sizeof count) != sizeof count)
        abort();
}

static void *eventfd_back(void *n)
{
    for (long i = 0; i < *(long *)n; i++) {
        wait_for_wake(0);
        wake(1);
    }
    return NULL;
}

static void eventfd_ping_pong(long n)
{
    pthread_t t;
    in_thread(&t, eventfd_back, &n);
    for (long i = 0; i < n; i++) {
        wake(0);
        wait_for_wake(1);
    }
    pthread_join(t, NULL);
}

static void posts(void)
{
    beside_init(&queue);
    beside_init(&back_queue);
    for (int i = 0; i < 2; i++) {
        wake_fd[i] = eventfd(0, EFD_CLOEXEC);
        wake_set[i] = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event v = {.events = EPOLLIN};
        must("epoll_ctl", epoll_ctl(wake_set[i], EPOLL_CTL_ADD, wake_fd[i], &v));
    }
    must("limit", gs_mailbox_set_limit(mb, 0));
    row("post to an awake mailbox + take it", lowest(post_awake, POSTS), "mutex + condition variable queue", lowest(queue_awake, POSTS));
    row("post while another thread takes", lowest(post_contended, CONTENDED), "mutex + condition variable queue", lowest(queue_contended, CONTENDED));
    double two = lowest(post_ping_pong, TURNS);
    row("post and answer of two sleeping mailboxes", two, "two queues", lowest(queue_ping_pong, TURNS));
    row("  the same", two, "two bare loops, eventfd + epoll", lowest(eventfd_ping_pong, TURNS));
}

/* ---- timers ---- */

static void timer_start_cancel(long n)
{
    uint64_t ref;
    for (long i = 0; i < n; i++) {
        must("timer", gs_timer_start(mb, 60000 + (int)(i % 1000), NULL, &ref));
        must("cancel", gs_timer_cancel(mb, ref));
    }
}

static int kernel_timer;

static void timerfd_start_cancel(long n)
{
    struct itimerspec on = {.it_value = {60, 0}}, off = {0};
    for (long i = 0; i < n; i++) {
        must("timerfd", timerfd_settime(kernel_timer, 0, &on, NULL));
        must("timerfd", timerfd_settime(kernel_timer, 0, &off, NULL));
    }
}

static void timer_pop(long n)
{
    uint64_t ref;
    gs_msg m;
    for (long i = 0; i < n; i++)
        must("timer", gs_timer_start(mb, 0, NULL, &ref));
    for (long i = 0; i < n; i++)
        must("receive", gs_receive(mb, &m, GS_INFINITY));
}

static void timers(void)
{
    static uint64_t running[TIMERS];
    kernel_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    must("timerfd", kernel_timer);
    row("timer: start + cancel", lowest(timer_start_cancel, TIMERS), "timerfd: arm + disarm", lowest(timerfd_start_cancel, TIMERS));
    row("timer: start + its message", lowest(timer_pop, TIMERS), NULL, 0);
    for (int i = 0; i < TIMERS; i++)
        must("timer", gs_timer_start(mb, 60000 + i * 37 % 5000, NULL, &running[i]));
    row("timer: start + cancel beside 10,000", lowest(timer_start_cancel, TIMERS), NULL, 0);
    row("timer: start + its message beside 10,000", lowest(timer_pop, TIMERS), NULL, 0);
    for (int i = 0; i < TIMERS; i++)
        must("cancel", gs_timer_cancel(mb, running[i]));
}

/* ---- streams ---- */

/* Both ends of a connection with {packet,4}, passive; `mine` is owned as told. */
static void connected(gs_stream *mine, gs_stream *peer, gs_mailbox owner)
{
    char address[64];
    const gs_opt *opts = GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(NODELAY, true));
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", gs_stream_port(listener));
    must("connect", gs_stream_connect(peer, address, opts, GS_NO_MAILBOX, 5000));
    must("accept", gs_stream_accept(listener, mine, owner, 5000, NULL));
}

static gs_stream moved;
static gs_mailbox from, to;

static void move(long n)
{
    for (long i = 0; i < n; i += 2) {
        must("controlling_process", gs_stream_controlling_process(moved, from, to));
        must("controlling_process", gs_stream_controlling_process(moved, to, from));
    }
}

static int plain[2];

static void move_plain(long n)
{
    struct epoll_event v = {.events = EPOLLIN};
    for (long i = 0; i < n; i++) {
        must("epoll_ctl", epoll_ctl(wake_set[i & 1], EPOLL_CTL_DEL, plain[0], NULL));
        must("epoll_ctl", epoll_ctl(wake_set[!(i & 1)], EPOLL_CTL_ADD, plain[0], &v));
    }
}

static void expect_frame(gs_mailbox at)
{
    gs_msg m;
    must("a moved frame", gs_receive(at, &m, 5000));
    if (m.kind != GS_MSG_DATA || m.packet.data.n != 64) {
        fprintf(stderr, "micro: another message than the frame\n");
        exit(1);
    }
}

/* FRAMES frames come, one is received, the others move: only the move is timed. */
static double move_full(gs_stream peer)
{
    uint8_t frame[64] = {0};
    double spent = 0;
    for (int i = 0; i < MOVES_FULL; i++) {
        gs_mailbox a = i & 1 ? to : from, b = i & 1 ? from : to;
        for (int k = 0; k < FRAMES; k++)
            must("send", gs_stream_send(peer, frame, sizeof frame));
        expect_frame(a);
        double began = now();
        must("controlling_process", gs_stream_controlling_process(moved, a, b));
        spent += now() - began;
        for (int k = 1; k < FRAMES; k++)
            expect_frame(b);
    }
    return spent / MOVES_FULL;
}

static void transfers(void)
{
    gs_stream peer;
    must("mailbox", gs_mailbox_new(&from)); /* never received from: anybody may move what they own */
    must("mailbox", gs_mailbox_new(&to));
    must("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, plain));
    struct epoll_event v = {.events = EPOLLIN};
    must("epoll_ctl", epoll_ctl(wake_set[0], EPOLL_CTL_ADD, plain[0], &v));

    connected(&moved, &peer, from);
    row("transfer of a passive stream", lowest(move, MOVES), NULL, 0);
    must("active", gs_stream_setopts(moved, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_TRUE))));
    row("transfer of an active stream", lowest(move, MOVES), "two epoll_ctl: out of a set, into another", lowest(move_plain, MOVES));
    row("transfer with 19 frames undelivered", move_full(peer), NULL, 0);
    gs_stream_close(moved);
    gs_stream_close(peer);
}

static _Atomic int waiting;
static double woken_at;

static void *blocked_recv(void *arg)
{
    char byte;
    gs_stream s = *(gs_stream *)arg;
    waiting = 1;
    ssize_t e = gs_stream_recv(s, &byte, 1, 0, GS_INFINITY);
    woken_at = now();
    if (e != GS_ECLOSED)
        must("recv answered other than closed", -EPROTO);
    return NULL;
}

static void *blocked_plain_recv(void *arg)
{
    char byte;
    waiting = 1;
    ssize_t n = recv(*(int *)arg, &byte, 1, 0);
    woken_at = now();
    must("recv", (int)-n);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median time from before the close to after the blocked call, which has 2 ms to fall asleep. */
static double wake_by(void *(*blocked)(void *), void *arg, void (*open_one)(void *), void (*close_one)(void *))
{
    static double took[WAKES];
    for (int i = 0; i < WAKES; i++) {
        pthread_t t;
        open_one(arg);
        waiting = 0;
        in_thread(&t, blocked, arg);
        while (!waiting)
            poll(NULL, 0, 1);
        poll(NULL, 0, 2);
        double began = now();
        close_one(arg);
        pthread_join(t, NULL);
        took[i] = woken_at - began;
    }
    qsort(took, WAKES, sizeof took[0], by_value);
    return took[WAKES / 2];
}

static gs_stream wake_peer;
static void open_stream(void *s) { connected(s, &wake_peer, GS_NO_MAILBOX); }

static void close_stream(void *s)
{
    gs_stream_close(*(gs_stream *)s);
    gs_stream_close(wake_peer);
}

static void open_plain(void *pair) { must("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)); }
static void close_plain(void *pair) { shutdown(*(int *)pair, SHUT_RDWR); }

static void *nothing(void *arg) { return arg; }

int main(void)
{
    gs_stream s;
    int pair[2];
    pthread_t t;
    const gs_opt *opts = GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(ACTIVE, GS_ACTIVE_FALSE));
    find_cores();
    must("affinity", sched_setaffinity(0, sizeof core[0], &core[0]));
    in_thread(&t, nothing, NULL); /* libc's mutexes and malloc do without atomics before the first thread */
    pthread_join(t, NULL);
    must("mailbox", gs_mailbox_new(&mb));
    must("mailbox", gs_mailbox_new(&other));
    must("listen", gs_stream_listen(&listener, "tcp://127.0.0.1:0", opts, GS_NO_MAILBOX));
    handles();
    posts();
    timers();
    transfers();
    row("close wakes a blocked recv (median)", wake_by(blocked_recv, &s, open_stream, close_stream), "shutdown(2) wakes recv(2)",
        wake_by(blocked_plain_recv, pair, open_plain, close_plain));
    return 0;
}
