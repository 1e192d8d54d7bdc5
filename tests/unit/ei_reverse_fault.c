/* gs_transport_from_ei where memory, descriptors or threads are missing: a code, nothing left, and all is well afterwards. */
#include <gensock/ei.h>
#include <stdio.h>
#include <string.h>

#include "ei/seam.h"
#include "ei_tables.h"
#include "support.h"

enum { WAIT = 10000 };

static struct gsi_ei_sys healthy;

/* ---- what fails ---- */

static _Atomic int countdown; /* the n-th from now on; 0: none */
static _Atomic int fired;

static bool strikes(void)
{
    bool now = countdown > 0 && --countdown == 0;
    fired += now;
    return now;
}

static void *no_memory(size_t n) { return strikes() ? NULL : healthy.malloc(n); }
static int no_thread(pthread_t *out, void *(*run)(void *), void *arg)
{
    return strikes() ? EAGAIN : healthy.thread_create(out, run, arg);
}
static int no_epoll(int flags)
{
    if (!strikes())
        return healthy.epoll_create1(flags);
    errno = EMFILE;
    return -1;
}
static int no_eventfd(unsigned count, int flags)
{
    if (!strikes())
        return healthy.eventfd(count, flags);
    errno = EMFILE;
    return -1;
}
static int no_watch(int epoll_fd, int op, int fd, struct epoll_event *e)
{
    if (!strikes())
        return healthy.epoll_ctl(epoll_fd, op, fd, e);
    errno = ENOSPC;
    return -1;
}

/* ---- one life of three sockets ---- */

struct pair {
    gs_stream l, a, b;
};

/* The first call that failed, or 0. */
static int live(const char *scheme, struct pair *p)
{
    char at[64], in[8];
    *p = (struct pair){0};
    snprintf(at, sizeof at, "%s://127.0.0.1:0", scheme);
    int e = gs_stream_listen(&p->l, at, NULL, GS_NO_MAILBOX);
    if (e < 0)
        return e;
    snprintf(at, sizeof at, "%s://127.0.0.1:%d", scheme, gs_stream_port(p->l));
    if ((e = gs_stream_connect(&p->a, at, NULL, GS_NO_MAILBOX, WAIT)) < 0 ||
        (e = gs_stream_accept(p->l, &p->b, GS_NO_MAILBOX, WAIT, NULL)) < 0 || (e = gs_stream_send(p->a, "hello", 5)) < 0)
        return e;
    ssize_t k = gs_stream_recv(p->b, in, sizeof in, 5, WAIT);
    return k == 5 ? 0 : k < 0 ? (int)k : -EBADMSG;
}

static void end(struct pair *p)
{
    gs_stream_close(p->a);
    gs_stream_close(p->b);
    gs_stream_close(p->l);
}

/* Fails the n-th such call of a life, for every n that there is; answers how many. */
static int fail_each(const char *scheme, int code, int other)
{
    for (int n = 1;; n++) {
        struct pair p;
        tables_reset();
        fired = 0;
        countdown = n;
        int e = live(scheme, &p);
        countdown = 0;
        if (!fired) {
            assert_ok(e);
            end(&p);
            return n - 1;
        }
        if (e != 0 && e != code && e != other)
            fail_msg("the %d-th: %s", n, gs_error_name(e));
        end(&p);
        assert_until(tables.closes == tables.sockets + (int)tables.accept_completes, WAIT); /* whoever was accepted was told so */
        assert_ok(live(scheme, &p));
        end(&p);
    }
}

static int set_up(void **state)
{
    (void)state;
    ei_socket_callbacks plain = tables_plain(), full = tables_full();
    healthy = gsi_ei_sys;
    return gs_transport_from_ei("f-plain", &plain, sizeof plain, NULL) ||
           gs_transport_from_ei("f-full", &full, sizeof full, NULL);
}

static int heal(void **state)
{
    (void)state;
    gsi_ei_sys = healthy;
    return 0;
}

/* ---- the facts; the first ones before anything is watched ---- */

static void without_descriptors_nobody_watches_and_listen_says_so(void **state)
{
    (void)state;
    struct pair p;
    gsi_ei_sys.epoll_create1 = no_epoll;
    countdown = 1;
    assert_code(live("f-full", &p), -EMFILE);
    gsi_ei_sys.epoll_create1 = healthy.epoll_create1;
    gsi_ei_sys.eventfd = no_eventfd;
    countdown = 1;
    assert_code(live("f-full", &p), -EMFILE);
    gsi_ei_sys.eventfd = healthy.eventfd;
    gsi_ei_sys.epoll_ctl = no_watch;
    countdown = 1;
    assert_code(live("f-full", &p), -ENOSPC);
    assert_int_equal(tables.closes, tables.sockets);
}

static void without_a_thread_nobody_watches_and_listen_says_so(void **state)
{
    (void)state;
    struct pair p;
    gsi_ei_sys.thread_create = no_thread;
    countdown = 1;
    assert_code(live("f-full", &p), GS_ESYSLIMIT);
    assert_true(strlen(gs_error_detail(GS_ESYSLIMIT)) > 0);
    assert_int_equal(tables.closes, tables.sockets);
    assert_ok(live("f-full", &p));
    end(&p);
}

static void without_memory_calls_say_so_and_leave_nothing(void **state)
{
    (void)state;
    gsi_ei_sys.malloc = no_memory;
    assert_int_equal(fail_each("f-plain", -ENOMEM, 0), 3);
    assert_true(fail_each("f-full", -ENOMEM, 0) >= 5);
}

static void without_threads_calls_say_so_and_leave_nothing(void **state)
{
    (void)state;
    gsi_ei_sys.thread_create = no_thread;
    assert_int_equal(fail_each("f-plain", 0, 0), 0);
    assert_int_equal(fail_each("f-full", GS_ESYSLIMIT, 0), 2);
}

/* Then its descriptors are tried now and then. */
static void without_memory_of_the_kernels_to_watch_all_goes_on(void **state)
{
    (void)state;
    gsi_ei_sys.epoll_ctl = no_watch;
    assert_true(fail_each("f-full", 0, 0) >= 3);
}

static void without_memory_nothing_is_registered(void **state)
{
    (void)state;
    ei_socket_callbacks t = tables_plain();
    gsi_ei_sys.malloc = no_memory;
    countdown = 1;
    assert_code(gs_transport_from_ei("f-never", &t, sizeof t, NULL), -ENOMEM);
    assert_null(gs_transport_find("f-never"));
    assert_ok(gs_transport_from_ei("f-never", &t, sizeof t, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(without_descriptors_nobody_watches_and_listen_says_so, heal),
        cmocka_unit_test_teardown(without_a_thread_nobody_watches_and_listen_says_so, heal),
        cmocka_unit_test_teardown(without_memory_calls_say_so_and_leave_nothing, heal),
        cmocka_unit_test_teardown(without_threads_calls_say_so_and_leave_nothing, heal),
        cmocka_unit_test_teardown(without_memory_of_the_kernels_to_watch_all_goes_on, heal),
        cmocka_unit_test_teardown(without_memory_nothing_is_registered, heal),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
