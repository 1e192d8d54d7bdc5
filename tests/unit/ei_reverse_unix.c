/* gs_transport_from_ei: a table over unix sockets, where a connect that finds no room has not begun. */
#include <gensock/ei.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "ei_tables.h"
#include "support.h"

enum { WAIT = 10000 };

/* What a port stands for: a name of the abstract namespace, of this process. */
static socklen_t name_of(const void *addr, struct sockaddr_un *un)
{
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(un->sun_path + 1, sizeof un->sun_path - 1, "ei-%d-%d", (int)getpid(),
                     ntohs(((const struct sockaddr_in *)addr)->sin_port));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int local_socket(void **ctx, void *setup)
{
    (void)setup;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tables.sockets++;
    return fd < 0 ? errno : tables_new(ctx, fd, false);
}

static int local_listen(void *ctx, void *addr, int *len, int backlog)
{
    struct tables_ctx *c = ctx;
    struct sockaddr_un un;
    socklen_t n = name_of(addr, &un);
    (void)len;
    return bind(c->fd, (struct sockaddr *)&un, n) < 0 || listen(c->fd, backlog) < 0 ? errno : 0;
}

static int local_connect(void *ctx, void *addr, int len, unsigned tmo)
{
    struct tables_ctx *c = ctx;
    struct sockaddr_un un;
    socklen_t n = name_of(addr, &un);
    (void)len, (void)tmo;
    tables.connects++;
    return connect(c->fd, (struct sockaddr *)&un, n) < 0 ? errno : 0;
}

static int local_accept(void **ctx, void *addr, int *len, unsigned tmo)
{
    int e = tables_accept(ctx, NULL, &(int){0}, tmo);
    (void)addr;
    *len = 0; /* it has no words for who came */
    return e;
}

struct client {
    pthread_t thread;
    gs_stream s;
    int result;
};

static void *run_connect(void *arg)
{
    struct client *c = arg;
    c->result = gs_stream_connect(&c->s, "local://127.0.0.1:7", NULL, GS_NO_MAILBOX, WAIT);
    return NULL;
}

static void who_finds_no_room_waits_for_it(void **state)
{
    (void)state;
    enum { ROOM = 2, ALL = 5 };
    struct client c[ALL];
    gs_stream l, s[ALL];
    char word[8];
    ei_socket_callbacks t = tables_plain();
    t.socket = local_socket;
    t.listen = local_listen;
    t.connect = local_connect;
    t.accept = local_accept;
    assert_ok(gs_transport_from_ei("local", &t, sizeof t, NULL));
    assert_code(gs_stream_connect(&l, "local://127.0.0.1:7", NULL, GS_NO_MAILBOX, WAIT), -ECONNREFUSED);
    tables_reset();
    assert_ok(gs_stream_listen(&l, "local://127.0.0.1:7", GS_OPTS(GS_INT(BACKLOG, ROOM - 1)), GS_NO_MAILBOX));
    for (int i = 0; i < ALL; i++)
        assert_int_equal(pthread_create(&c[i].thread, NULL, run_connect, &c[i]), 0);
    assert_until(tables.connects > ALL + 10, WAIT); /* some have come again, and again */
    for (int i = 0; i < ALL; i++) {
        assert_ok(gs_stream_accept(l, &s[i], GS_NO_MAILBOX, WAIT, NULL));
        assert_ok(gs_stream_send(s[i], "room", 4));
    }
    for (int i = 0; i < ALL; i++) {
        pthread_join(c[i].thread, NULL);
        assert_ok(c[i].result);
        assert_int_equal(gs_stream_recv(c[i].s, word, sizeof word, 4, WAIT), 4);
        assert_ok(gs_stream_close(c[i].s));
        assert_ok(gs_stream_close(s[i]));
    }
    assert_ok(gs_stream_close(l));
    assert_int_equal(tables.closes, tables.sockets + ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_finds_no_room_waits_for_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
