/* runner: tsan
 *
 * gs_tailnet_stop: what was sent arrives, also from streams that were closed before; and time is kept when it cannot. */
#include <linux/netlink.h>
#include <pthread.h>
#include <sys/socket.h>

#include "fault.h"
#include "tailnet/stack/namespace.h"
#include "tailnet/stack/undelivered.h"
#include "tailnet_nobody.h"
#include "tailnet_world.h"

enum { SIZE = 3 * 1000 * 1000, CHUNK = 64 * 1024 };

static struct world world;

static int begin(void **state)
{
    (void)state;
    world_begin(&world, (gs_lab_config){0});
    return 0;
}

static int end(void **state)
{
    (void)state;
    gs_lab_stop(world.lab);
    return 0;
}

#define OF(n) GS_INT(TAILNET_NODE, (int64_t)(n).id)

/* A connection from node `to`, whose end at `from` is *out; a first byte has gone. */
static gs_stream connect_nodes(gs_tailnet from, gs_tailnet to, gs_stream *out)
{
    gs_stream listener, s;
    char byte;
    assert_ok(gs_stream_listen(&listener, "tailnet://:0", GS_OPTS(OF(from)), GS_NO_MAILBOX));
    char address[64];
    assert_until(world_knows(to, "sender"), WAIT);
    snprintf(address, sizeof address, "tailnet://sender:%d", gs_stream_port(listener));
    assert_ok(gs_stream_connect(&s, address, GS_OPTS(OF(to)), GS_NO_MAILBOX, WAIT));
    assert_ok(gs_stream_accept(listener, out, GS_NO_MAILBOX, WAIT, NULL));
    assert_ok(gs_stream_send(s, "x", 1));
    assert_int_equal(gs_stream_recv(*out, &byte, 1, 1, WAIT), 1);
    gs_stream_close(listener);
    return s;
}

static void *read_all(void *arg)
{
    static char buf[CHUNK];
    gs_stream s = *(gs_stream *)arg;
    size_t total = 0;
    ssize_t n;
    while ((n = gs_stream_recv(s, buf, sizeof buf, 0, WAIT)) > 0)
        total += (size_t)n;
    return (void *)total;
}

static void what_a_closed_stream_had_sent_arrives_before_the_node_is_gone(void **state)
{
    (void)state;
    gs_tailnet sender = world_join(&world, "sender"), reader = world_join(&world, "reader");
    gs_stream out, in = connect_nodes(sender, reader, &out);
    char *bytes = calloc(1, SIZE);
    pthread_t thread;
    void *total;
    assert_int_equal(pthread_create(&thread, NULL, read_all, &in), 0);
    assert_ok(gs_stream_send(out, bytes, SIZE));
    gs_stream_close(out); /* the kernel has much of it still */
    assert_ok(gs_tailnet_stop(sender, WAIT));
    assert_int_equal(pthread_join(thread, &total), 0);
    assert_int_equal((size_t)total, SIZE);
    free(bytes);
    gs_stream_close(in);
    assert_ok(gs_tailnet_stop(reader, 1000));
}

/* The kernel takes nothing for a while, so all of it is the stream's, which is closed. */
static void what_a_stream_had_queued_arrives_too(void **state)
{
    (void)state;
    gs_tailnet sender = world_join(&world, "sender"), reader = world_join(&world, "reader");
    gs_stream out, in = connect_nodes(sender, reader, &out);
    gs_mailbox mb;
    char *bytes = calloc(1, SIZE);
    pthread_t thread;
    void *total;
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_stream_setopts(out, GS_OPTS(GS_INT(SNDBUF, 4096)))); /* the first write fills it */
    assert_ok(gs_stream_controlling_process(out, GS_NO_MAILBOX, mb));
    assert_int_equal(pthread_create(&thread, NULL, read_all, &in), 0);
    fault_fail_call(FAULT_send, 1, 5000, EAGAIN);
    assert_ok(gs_stream_send(out, bytes, SIZE));
    gs_stream_close(out);
    assert_ok(gs_tailnet_stop(sender, WAIT));
    assert_int_equal(fault_stop(), 5000);
    assert_int_equal(pthread_join(thread, &total), 0);
    assert_int_equal((size_t)total, SIZE);
    free(bytes);
    gs_stream_close(in);
    gs_mailbox_free(mb);
    assert_ok(gs_tailnet_stop(reader, 1000));
}

/* What waits in the cork for its mailbox, and what a sender has given up. */
static void what_a_living_stream_has_taken_arrives_and_no_more_is_waited_for(void **state)
{
    (void)state;
    gs_tailnet sender = world_join(&world, "sender"), reader = world_join(&world, "reader");
    gs_stream corked, given_up, in[2];
    gs_mailbox mb;
    char got[8];
    in[0] = connect_nodes(sender, reader, &corked);
    in[1] = connect_nodes(sender, reader, &given_up);
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_stream_setopts(given_up, GS_OPTS(GS_INT(SEND_TIMEOUT, 50))));
    fault_fail_call(FAULT_sendmsg, 1, 1000000, EAGAIN);
    assert_code(gs_stream_send(given_up, "lost", 4), GS_ETIMEOUT);
    assert_true(fault_stop() > 0);
    assert_ok(gs_stream_controlling_process(corked, GS_NO_MAILBOX, mb));
    assert_ok(gs_stream_setopts(corked, GS_OPTS(GS_INT(DELAY_SEND, true))));
    assert_ok(gs_stream_send(corked, "corked", 6));
    assert_ok(gs_tailnet_stop(sender, GS_INFINITY)); /* ends */
    assert_int_equal(gs_stream_recv(in[0], got, sizeof got, 6, WAIT), 6);
    gs_stream_close(in[0]);
    gs_stream_close(in[1]);
    gs_stream_close(given_up);
    gs_mailbox_free(mb);
    assert_ok(gs_tailnet_stop(reader, 1000));
}

static void what_nobody_reads_is_waited_for_no_longer_than_asked(void **state)
{
    (void)state;
    gs_tailnet sender = world_join(&world, "sender"), reader = world_join(&world, "reader");
    gs_stream out, in = connect_nodes(sender, reader, &out);
    char *bytes = calloc(1, SIZE);
    int64_t sent = 0;
    assert_ok(gs_stream_setopts(out, GS_OPTS(GS_INT(SEND_TIMEOUT, 200))));
    while (sent < 64 * (int64_t)SIZE && gs_stream_send(out, bytes, SIZE) >= 0)
        sent += SIZE;
    assert_true(sent < 64 * (int64_t)SIZE); /* nobody reads, so a send did not go through */
    assert_ok(gs_tailnet_stop(sender, 50)); /* ends */
    free(bytes);
    gs_stream_close(out);
    gs_stream_close(in);
    assert_ok(gs_tailnet_stop(reader, 0));
}

/* In a process of its own: it sends, closes, and ends by exit(3). */
static int leave_by_exit(const char *url, const char *ca)
{
    struct world w;
    gs_mailbox mb;
    gs_stream s;
    static char bytes[SIZE];
    snprintf(w.url, sizeof w.url, "%s", url);
    snprintf(w.ca, sizeof w.ca, "%s", ca);
    gs_tailnet n = world_join(&w, "leaver");
    assert_until(world_knows(n, "stays"), WAIT);
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_stream_connect(&s, "tailnet://stays:7", GS_OPTS(OF(n)), mb, WAIT));
    assert_ok(gs_stream_setopts(s, GS_OPTS(GS_INT(HIGH_WATERMARK, 2 * SIZE)))); /* it waits for nobody */
    assert_ok(gs_stream_send(s, bytes, sizeof bytes));
    gs_stream_close(s);
    (void)!write(STDOUT_FILENO, "exits\n", 6);
    exit(0);
}

static bool is_in_lab(const char *name)
{
    gs_lab_node_info info;
    for (int i = 0; gs_lab_node(world.lab, i, &info) == 0; i++)
        if (strcmp(info.name, name) == 0)
            return true;
    return false;
}

static void a_process_that_exits_lets_arrive_what_it_sent_and_says_good_bye(void **state)
{
    (void)state;
    gs_stream listener, in;
    char said[512];
    gs_tailnet reader = world_join(&world, "stays");
    assert_ok(gs_stream_listen(&listener, "tailnet://:7", GS_OPTS(OF(reader)), GS_NO_MAILBOX));
    struct child c = child_start((const char *const[]){"/proc/self/exe", "leave", world.url, world.ca, NULL});
    if (!child_expect(&c, "exits", WAIT, said, sizeof said))
        fail_msg("%s", said);
    assert_ok(gs_stream_accept(listener, &in, GS_NO_MAILBOX, WAIT, NULL));
    usleep(200000); /* much of it is with its kernel still */
    assert_int_equal((size_t)read_all(&in), SIZE);
    assert_int_equal(child_wait(&c, WAIT), 0);
    assert_false(is_in_lab("leaver"));
    child_stop(&c);
    gs_stream_close(in);
    gs_stream_close(listener);
    assert_ok(gs_tailnet_stop(reader, 1000));
}

/* ---- listeners ---- */

static void *accept_one(void *arg)
{
    gs_stream s;
    return (void *)(intptr_t)gs_stream_accept(*(gs_stream *)arg, &s, GS_NO_MAILBOX, WAIT, NULL);
}

static void who_waits_for_a_connection_hears_at_once_that_the_node_stops(void **state)
{
    (void)state;
    gs_tailnet n = world_join(&world, "hearer");
    gs_stream blocking, nowait, messages, s;
    gs_mailbox mb;
    gs_msg m;
    pthread_t thread;
    void *result;
    uint64_t ref;
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(gs_stream_listen(&blocking, "tailnet://:7", GS_OPTS(OF(n)), GS_NO_MAILBOX));
    assert_ok(gs_stream_listen(&nowait, "tailnet://:8", GS_OPTS(OF(n)), GS_NO_MAILBOX));
    assert_ok(gs_stream_listen(&messages, "tailnet://:9", GS_OPTS(OF(n), GS_INT(ACCEPT, GS_ACTIVE_TRUE)), mb));
    assert_code(gs_stream_accept(nowait, &s, mb, GS_NOWAIT, &ref), GS_ESELECT);
    assert_int_equal(pthread_create(&thread, NULL, accept_one, &blocking), 0);
    assert_ok(gs_tailnet_stop(n, 1000));
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_code((int)(intptr_t)result, GS_ECLOSED);
    for (int i = 0; i < 2; i++) {
        assert_ok(gs_receive(mb, &m, WAIT));
        assert_int_equal(m.kind, GS_MSG_ACCEPT);
        assert_true(m.stream.id == (m.ref ? nowait.id : messages.id));
        assert_code(m.error, GS_ECLOSED);
    }
    assert_code(gs_receive(mb, &m, 300), GS_ETIMEOUT); /* once */
    assert_code(gs_stream_accept(blocking, &s, GS_NO_MAILBOX, WAIT, NULL), GS_ECLOSED);
    gs_stream_close(blocking);
    gs_stream_close(nowait);
    gs_mailbox_free(mb);
}

/* ---- what is asked of the kernel ---- */

static int undelivered(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    int e = gsi_tcp_undelivered(fd);
    close(fd);
    return e;
}

static void a_network_of_its_own_without_connections_has_nothing_to_deliver(void **state)
{
    (void)state;
    struct namespace *ns;
    assert_ok(gsi_namespace_open(&ns, &(struct namespace_options){0}));
    int fd = gsi_namespace_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    assert_ok(fd);
    assert_int_equal(gsi_tcp_undelivered(fd), 0);
    close(fd);
    gsi_namespace_close(ns);
}

static void a_wrong_socket_is_an_error(void **state)
{
    (void)state;
    assert_true(gsi_tcp_undelivered(-1) < 0);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_true(gsi_tcp_undelivered(fd) < 0);
    close(fd);
    assert_true(undelivered() >= 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_a_closed_stream_had_sent_arrives_before_the_node_is_gone),
    cmocka_unit_test(what_a_stream_had_queued_arrives_too),
    cmocka_unit_test(what_a_living_stream_has_taken_arrives_and_no_more_is_waited_for),
    cmocka_unit_test(what_nobody_reads_is_waited_for_no_longer_than_asked),
    cmocka_unit_test(a_process_that_exits_lets_arrive_what_it_sent_and_says_good_bye),
    cmocka_unit_test(who_waits_for_a_connection_hears_at_once_that_the_node_stops),
    cmocka_unit_test(a_network_of_its_own_without_connections_has_nothing_to_deliver),
    cmocka_unit_test(a_wrong_socket_is_an_error),
    cmocka_unit_test(all_of_it_works_as_nobody),
};

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "leave") == 0)
        return leave_by_exit(argv[2], argv[3]);
    if (argc > 1 && strcmp(argv[1], "nobody") == 0) {
        become_nobody(true);
        return cmocka_run_group_tests_name("as nobody", tests, begin, end) ? 1 : 0;
    }
    return cmocka_run_group_tests(tests, begin, end);
}
