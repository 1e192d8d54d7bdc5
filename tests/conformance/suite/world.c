/* world.c: suite.h's helpers. */
#include "suite.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int wait_ms = 10000;

__attribute__((constructor)) static void wait_less_where_calls_fail(void)
{
    const char *fault = getenv("GS_FAULT");
    if (fault && (!strncmp(fault, "no", 2) || !strncmp(fault, "gone", 4)))
        wait_ms = 100;
}

int suite_wait_ms = 10000;

__attribute__((constructor)) static void look_at_profile(void)
{
    const char *p = getenv("GS_FAULT");
    if (p && (strncmp(p, "nofd", 4) == 0 || strncmp(p, "nomem", 5) == 0 || strncmp(p, "gone", 4) == 0))
        suite_wait_ms = 300;
}

/* ---- opening ---- */

void new_address(struct world *w)
{
    static _Atomic unsigned count;
    const char *from = w->on->address;
    size_t at = 0;
    for (; *from && at < sizeof w->at - 1; from++) {
        int k = 1;
        if (from[0] == '%' && from[1] == 'u')
            k = snprintf(w->at + at, sizeof w->at - at, "%u", atomic_fetch_add(&count, 1) + 1), from++;
        else if (from[0] == '%' && from[1] == 't')
            k = snprintf(w->at + at, sizeof w->at - at, "%s", temp_dir()), from++;
        else
            w->at[at] = *from;
        at += (size_t)k;
    }
    w->at[at] = '\0';
}

void open_listener(struct world *w, const gs_opt *opts, gs_mailbox owner)
{
    new_address(w);
    assert_ok(gs_stream_listen(&w->listener, w->at, opts, owner));
    char *end = w->at + strlen(w->at);
    if (end - w->at > 2 && strcmp(end - 2, ":0") == 0)
        snprintf(end - 1, sizeof w->at - (size_t)(end - 1 - w->at), "%ld", assert_ok(gs_stream_port(w->listener)));
}

static void run_connect(struct task *t)
{
    t->result = gs_stream_connect(&t->fresh, t->w->at, t->opts, t->mailbox, WAIT_MS);
}

/* In a thread, because a layer's handshake needs both ends. */
static struct task *connecting(struct world *w, const gs_opt *opts, gs_mailbox owner)
{
    struct task *t = task_new(w, run_connect);
    size_t n = 0;
    for (; opts && opts[n].name; n++) {
        assert_true(n + 1 < sizeof t->opts / sizeof *t->opts);
        t->opts[n] = opts[n];
    }
    t->mailbox = owner;
    task_go(t);
    return t;
}

void open_pair(struct world *w, unsigned owned, const gs_opt *client, const gs_opt *server)
{
    open_listener(w, server, GS_NO_MAILBOX);
    struct task *t = connecting(w, client, owned & A_OWNED ? w->ma : GS_NO_MAILBOX);
    assert_ok(gs_stream_accept(w->listener, &w->b, owned & B_OWNED ? w->mb : GS_NO_MAILBOX, WAIT_MS, NULL));
    assert_ok(gs_stream_handshake(w->b, WAIT_MS));
    assert_ok(task_result(t));
    w->a = t->fresh;
}

gs_stream open_client(struct world *w, const gs_opt *opts, gs_mailbox owner)
{
    gs_stream s;
    assert_ok(gs_stream_connect(&s, w->at, opts, owner, WAIT_MS));
    return s;
}

void close_all(struct world *w)
{
    gs_stream_close(w->a);
    gs_stream_close(w->b);
    gs_stream_close(w->listener);
}

/* ---- tasks ---- */

struct task *task_new(struct world *w, void (*run)(struct task *))
{
    struct task *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->w = w;
    t->run = run;
    t->joined = 1; /* until it goes */
    t->timeout_ms = WAIT_MS;
    t->next = w->tasks;
    w->tasks = t;
    return t;
}

static void *run_task(void *arg)
{
    struct task *t = arg;
    t->tid = (int)syscall(SYS_gettid);
    t->run(t);
    t->ended_ms = real_ms();
    t->ended = 1;
    return NULL;
}

void task_go(struct task *t)
{
    t->joined = 0;
    t->ended = 0;
    t->tid = 0;
    if (pthread_create(&t->thread, NULL, run_task, t) != 0) {
        t->joined = 1;
        fail_msg("no thread");
    }
}

struct task *task_start(struct world *w, void (*run)(struct task *), gs_stream s)
{
    struct task *t = task_new(w, run);
    t->stream = s;
    task_go(t);
    return t;
}

static bool sleeps(int tid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] && name_end[2] == 'S';
}

/* Three looks, so that a short wait for a lock does not count. */
bool task_blocks(struct task *t)
{
    for (int i = 0; i < 3; i++) {
        if (!t->tid || t->ended || !sleeps(t->tid))
            return false;
        pause_1ms();
    }
    return !t->ended;
}

long task_result(struct task *t)
{
    assert_until(t->ended, WAIT_MS + 2000);
    if (!t->joined)
        pthread_join(t->thread, NULL);
    t->joined = 1;
    return t->result;
}

void run_accept(struct task *t)
{
    t->result = gs_stream_accept(t->stream, &t->fresh, t->mailbox, t->timeout_ms, NULL);
}

void run_recv(struct task *t)
{
    size_t cap = t->n ? t->n : 64;
    if (!t->buf)
        t->buf = malloc(cap);
    t->result = gs_stream_recv(t->stream, t->buf, cap, t->n, t->timeout_ms);
}

void run_receive(struct task *t) { t->result = gs_receive(t->mailbox, &t->msg, t->timeout_ms); }

void run_drain(struct task *t)
{
    enum { CHUNK = 64 * 1024 };
    t->buf = t->buf ? t->buf : malloc(CHUNK);
    t->n = 0;
    t->result = 0;
    while (!t->total || t->n < t->total) {
        size_t room = t->total && t->total - t->n < CHUNK ? (size_t)(t->total - t->n) : CHUNK;
        ssize_t k = gs_stream_recv(t->stream, t->buf, room, 0, t->timeout_ms);
        if (k <= 0) {
            t->result = (long)k;
            return;
        }
        if (pattern_check(t->buf, (size_t)k, t->seed, t->ref + t->n) != (size_t)k) {
            t->result = -EBADMSG;
            return;
        }
        t->n += (size_t)k;
    }
}

/* ---- acts ---- */

void send_text(gs_stream s, const char *text) { assert_ok(gs_stream_send(s, text, strlen(text))); }

void send_pattern(gs_stream s, uint64_t seed, uint64_t at, size_t n)
{
    uint8_t *p = malloc(n);
    assert_non_null(p);
    pattern_fill(p, n, seed, at);
    int e = gs_stream_send(s, p, n);
    free(p);
    assert_ok(e);
}

void recv_text(gs_stream s, const char *text)
{
    char got[1024];
    size_t n = strlen(text);
    assert_true(n < sizeof got);
    assert_code(gs_stream_recv(s, got, sizeof got, n, WAIT_MS), (long)n);
    assert_memory_equal(got, text, n);
}

void recv_one(gs_stream s, const char *text)
{
    char got[4096];
    size_t n = strlen(text);
    assert_code(gs_stream_recv(s, got, sizeof got, 0, WAIT_MS), (long)n);
    assert_memory_equal(got, text, n);
}

void recv_end(gs_stream s)
{
    char got[16];
    assert_code(gs_stream_recv(s, got, sizeof got, 0, WAIT_MS), GS_ECLOSED);
}

size_t fill_until_eagain(const struct world *w, gs_stream s, uint64_t seed, uint64_t at)
{
    size_t n = w->facts->holds; /* taken whole: the queue is empty, or at least below the watermark */
    send_pattern(s, seed, at, n);
    assert_code(gs_stream_send(s, "x", 1), -EAGAIN);
    return n;
}

/* ---- messages ---- */

const char *msg_kind_name(gs_msg_kind kind)
{
    static const char *const names[] = {"no message", "data",    "passive", "closed", "error", "accept", "connect", "upgrade",
                                        "drained",    "select", "abort",   "down",   "timer", "post",   "tailnet"};
    return kind <= GS_MSG_TAILNET ? names[kind] : "?";
}

void expect_at(gs_mailbox mb, gs_msg_kind kind, gs_stream s, gs_msg *m, const char *file, int line)
{
    int e = gs_receive(mb, m, WAIT_MS);
    if (e == 0 && m->kind == kind && m->stream.id == s.id)
        return;
    if (e < 0)
        print_error("no %s message, but %s\n", msg_kind_name(kind), gs_error_name(e));
    else
        print_error("a %s message (error %s, %zu bytes) of stream %llx, not %s of %llx\n", msg_kind_name(m->kind),
                    gs_error_name(m->error), m->kind == GS_MSG_DATA ? m->packet.data.n : 0, (unsigned long long)m->stream.id,
                    msg_kind_name(kind), (unsigned long long)s.id);
    _fail(file, line);
}

void expect_packet_at(gs_mailbox mb, gs_stream s, const void *p, size_t n, const char *file, int line)
{
    gs_msg m;
    expect_at(mb, GS_MSG_DATA, s, &m, file, line);
    if (m.packet.data.n == n && (n == 0 || memcmp(m.packet.data.p, p, n) == 0))
        return;
    print_error("a packet of %zu bytes \"%.*s\", not of %zu \"%.*s\"\n", m.packet.data.n,
                (int)(m.packet.data.n < 40 ? m.packet.data.n : 40), (const char *)m.packet.data.p, n, (int)(n < 40 ? n : 40),
                (const char *)p);
    _fail(file, line);
}

void expect_bytes_at(gs_mailbox mb, gs_stream s, const char *text, const char *file, int line)
{
    size_t n = strlen(text), at = 0;
    gs_msg m;
    while (at < n) {
        expect_at(mb, GS_MSG_DATA, s, &m, file, line);
        if (m.packet.data.n > n - at || memcmp(m.packet.data.p, text + at, m.packet.data.n) != 0) {
            print_error("\"%.*s\" behind the first %zu bytes of \"%s\"\n", (int)m.packet.data.n, (const char *)m.packet.data.p,
                        at, text);
            _fail(file, line);
        }
        at += m.packet.data.n;
    }
}

void expect_nothing_at(gs_mailbox mb, const char *file, int line)
{
    gs_msg m;
    int e = gs_receive(mb, &m, QUIET_MS);
    if (e == GS_ETIMEOUT)
        return;
    print_error("a message that should not be: %s\n", e < 0 ? gs_error_name(e) : msg_kind_name(m.kind));
    _fail(file, line);
}

/* ---- options ---- */

void set_int(gs_stream s, int name, int64_t value)
{
    gs_opt o[2] = {{.name = name, .v.i = value}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_setopts(s, o));
}

int64_t get_int(gs_stream s, int name)
{
    gs_opt o[2] = {{.name = name}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_getopts(s, o));
    return o[0].v.i;
}
