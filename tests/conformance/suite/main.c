/* main.c: all cases on all rows, each in a world of its own. */
#include <stdlib.h>

#include "fault.h"
#include "suite.h"

static const struct suite_case *const groups[] = {
    open_cases,  accept_cases, passive_cases, active_cases, send_cases,    sendfile_cases, close_cases,
    reset_cases, owner_cases,  packet_cases,  option_cases, message_cases, upgrade_cases,  transfer_cases,
};
enum { GROUPS = sizeof groups / sizeof *groups };

const gs_opt *conformance_listen, *conformance_connect;

struct run {
    const struct subject *on;
    const struct suite_case *c;
};

static struct world *kept; /* of failed cases, and of the running one */

/* A transport without kernel sockets meets few of the faults that GS_FAULT makes: here the profile shows that it works. */
static void meet_faults(void)
{
    char at[64], text[100] = "";
    for (int i = 0; getenv("GS_FAULT") && i < 500 && fault_fired() == 0; i++) {
        gs_stream l = GS_NO_STREAM, a = GS_NO_STREAM, b = GS_NO_STREAM;
        if (gs_stream_listen(&l, "tcp://127.0.0.1:0", NULL, GS_NO_MAILBOX) == 0) {
            snprintf(at, sizeof at, "tcp://127.0.0.1:%d", gs_stream_port(l));
            if (gs_stream_connect(&a, at, NULL, GS_NO_MAILBOX, 100) == 0 &&
                gs_stream_accept(l, &b, GS_NO_MAILBOX, 100, NULL) == 0 && gs_stream_send(a, text, sizeof text) == 0)
                (void)!gs_stream_recv(b, text, sizeof text, 0, 100);
        }
        gs_stream_close(a);
        gs_stream_close(b);
        gs_stream_close(l);
    }
}

/* What the library keeps for good is there before the first census: the flusher with its tables, pages of handles, the
 * transports, this thread's eventfd. */
static void warm_up(void)
{
    static uint8_t bytes[1 << 20];
    gs_mailbox m;
    gs_stream l, a, b;
    meet_faults();
    if (gs_mailbox_new(&m) < 0)
        return;
    if (gs_stream_listen(&l, "mem://warm-up", NULL, m) == 0 &&
        gs_stream_connect(&a, "mem://warm-up", GS_OPTS(GS_INT(SEND_TIMEOUT, GS_NOWAIT)), m, 100) == 0 &&
        gs_stream_accept(l, &b, GS_NO_MAILBOX, 100, NULL) == 0) {
        (void)!gs_stream_recv(b, bytes, 1, 0, 1);
        for (int i = 0; i < 64 && gs_stream_send(a, bytes, sizeof bytes) == 0; i++)
            ;
        gs_stream_close(a);
        gs_stream_close(b);
        gs_stream_close(l);
    }
    gs_mailbox_free(m);
    if (gs_stream_listen(&l, "unix://", NULL, GS_NO_MAILBOX) == 0) {
        (void)!gs_stream_accept(l, &b, GS_NO_MAILBOX, 1, NULL); /* a set of this thread's for exclusive waits */
        gs_stream_close(l);
    }
    struct census now, later;
    do { /* what close left to the flusher goes */
        census_take(&now);
        (void)wait_until(false, 60);
        census_take(&later);
    } while (now.blocks != later.blocks);
}

/* The subject's own, and behind them a case's; NULL: none. */
void set_defaults(gs_defaults which, const gs_opt *opts)
{
    gs_opt all[16] = {0};
    const gs_opt *own = which == GS_LISTEN_DEFAULTS ? conformance_listen : conformance_connect;
    size_t n = 0;
    for (; own && own->name; own++)
        all[n++] = *own;
    for (; opts && opts->name; opts++)
        all[n++] = *opts;
    assert_true(n < sizeof all / sizeof *all);
    assert_ok(gs_set_default_opts(which, n ? all : NULL));
}

static int set_up(void **state)
{
    const struct run *r = *state;
    struct world *w = calloc(1, sizeof *w);
    if (!w)
        return -1;
    *w = (struct world){.next = kept, .on = r->on, .facts = facts_of(r->on->address), .began = real_ms()};
    kept = w;
    set_defaults(GS_CONNECT_DEFAULTS, NULL);
    set_defaults(GS_LISTEN_DEFAULTS, NULL);
    census_take(&w->before);
    *state = w;
    return gs_mailbox_new(&w->ma) < 0 || gs_mailbox_new(&w->mb) < 0 ? -1 : 0;
}

static bool tasks_ended(struct world *w)
{
    for (struct task *t = w->tasks; t; t = t->next) {
        if (!t->joined && !wait_until(t->ended, 2000))
            return false;
        if (!t->joined)
            pthread_join(t->thread, NULL);
        t->joined = 1;
    }
    return true;
}

static void free_world(struct world *w)
{
    for (struct task *t = w->tasks, *next; t; t = next) {
        next = t->next;
        free(t->buf);
        free(t);
    }
    kept = w->next;
    free(w);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    (void)!gs_set_default_opts(GS_CONNECT_DEFAULTS, NULL); /* a failed case may have left some */
    (void)!gs_set_default_opts(GS_LISTEN_DEFAULTS, NULL);
    close_all(w);
    gs_mailbox_free(w->ma);
    gs_mailbox_free(w->mb);
    if (!tasks_ended(w)) {
        print_error("a thread of this case still runs\n");
        return -1;
    }
    char why[2000] = "";
    int result = 0;
    if (w->done && !census_equal(&w->before, 3000, why, sizeof why)) {
        print_error("not everything was given back:\n%s\n", why);
        result = -1;
    }
    if (getenv("GS_CASE_TIMES"))
        print_message("# %llu ms\n", (unsigned long long)(real_ms() - w->began));
    free_world(w);
    return result;
}

static const struct run *running;

static void run_one(void **state)
{
    struct world *w = *state;
    const struct run *r = running;
    r->c->run(w);
    w->done = true;
}

static int set_up_and_note(void **state)
{
    running = *state;
    return set_up(state);
}

int conformance_run(const struct subject *subjects)
{
    size_t n = 0, at = 0, rows = 0;
    while (subjects[rows].name)
        rows++;
    for (int g = 0; g < GROUPS; g++)
        for (const struct suite_case *c = groups[g]; c->name; c++)
            n += rows;
    struct CMUnitTest *tests = calloc(n, sizeof *tests);
    struct run *runs = calloc(n, sizeof *runs);
    char(*names)[160] = calloc(n, sizeof *names);
    if (!tests || !runs || !names)
        return 1;
    fault_stop();
    xor_register(); /* it may fail in no profile */
    fault_start_asked();
    warm_up();
    const char *only = getenv("GS_CASE"); /* for debugging: cases whose name contains this */
    for (size_t row = 0; row < rows; row++) {
        for (int g = 0; g < GROUPS; g++)
            for (const struct suite_case *c = groups[g]; c->name; c++) {
                snprintf(names[at], sizeof *names, "%s: %s", subjects[row].name, c->name);
                if (only && !strstr(names[at], only))
                    continue;
                runs[at] = (struct run){&subjects[row], c};
                tests[at] = (struct CMUnitTest){names[at], run_one, set_up_and_note, tear_down, &runs[at]};
                at++;
            }
    }
    int failed = _cmocka_run_group_tests("conformance", tests, at, NULL, NULL);
    free(tests);
    free(runs);
    free(names);
    return failed;
}
