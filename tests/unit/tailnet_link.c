/* The node's UDP sockets: batches keep the borders of datagrams, with and without offloads; what the kernel refuses is told or
 * counted. */
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "support.h"
#include "tailnet/link/link.h"

enum { SEG = 1200, WAIT_MS = 10000 };

static struct link_calls real;

static struct endpoint loopback(uint16_t port, bool v6)
{
    struct endpoint e;
    char text[40];
    snprintf(text, sizeof text, v6 ? "[::1]:%u" : "127.0.0.1:%u", port);
    assert_ok(gsi_endpoint_parse(text, strlen(text), &e));
    return e;
}

static struct link *open_link(struct link_options o)
{
    struct link *l;
    assert_ok(gsi_link_open(&l, &o));
    return l;
}

/* Datagram k of a batch: its length and its bytes follow from k. */
struct sink {
    unsigned char seen[4096];
    int datagrams, joined;
};

static void check_datagram(struct sink *s, const uint8_t *p, size_t n)
{
    uint32_t k;
    assert_true(n >= sizeof k);
    memcpy(&k, p, sizeof k);
    assert_true(k < sizeof s->seen && !s->seen[k]);
    s->seen[k] = 1;
    assert_int_equal(pattern_check(p + sizeof k, n - sizeof k, k, 0), n - sizeof k);
    s->datagrams++;
}

static void make_datagram(uint8_t *p, size_t n, uint32_t k)
{
    memcpy(p, &k, sizeof k);
    pattern_fill(p + sizeof k, n - sizeof k, k, 0);
}

static void take(struct link *l, bool v6, struct sink *s, int wanted, const struct endpoint *from)
{
    struct arrival a[LINK_ARRIVALS];
    while (s->datagrams < wanted) {
        struct pollfd ready = {.fd = gsi_link_fd(l, v6), .events = POLLIN};
        assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
        int n = gsi_link_receive(l, v6, a);
        for (int i = 0; i < n; i++) {
            assert_true(gsi_endpoint_equal(&a[i].from, from));
            s->joined += a[i].n > a[i].segment;
            for (size_t at = 0; at < a[i].n; at += a[i].segment)
                check_datagram(s, a[i].p + at, a[i].n - at < a[i].segment ? a[i].n - at : a[i].segment);
        }
    }
}

/* 60 messages of different sizes: singles, runs of segments, runs with a short last one. */
static void carry(bool v6, bool no_offload)
{
    static uint8_t bytes[LINK_QUEUE][LINK_MESSAGE];
    struct link *a = open_link((struct link_options){.no_v4 = v6, .no_v6 = !v6, .no_offload = no_offload});
    struct link *b = open_link((struct link_options){.no_v4 = v6, .no_v6 = !v6, .no_offload = no_offload});
    struct endpoint to = loopback(gsi_link_port(b, v6), v6), from = loopback(gsi_link_port(a, v6), v6);
    struct sink sink = {0};
    uint32_t k = 0;
    uint64_t total = 0;
    for (int message = 0; message < 60; message++) {
        int count = message % 3 ? 1 + message % 20 : 1;
        size_t at = 0;
        for (int i = 0; i < count; i++, k++) {
            bool last = i == count - 1;
            size_t n = last && message % 2 ? 100 + (size_t)message : SEG;
            make_datagram(bytes[message] + at, n, k);
            at += n;
        }
        assert_ok(gsi_link_put(a, &to, bytes[message], at, at < SEG ? at : SEG));
        total += at;
        if (message % 5 == 4) { /* loopback has little room */
            gsi_link_flush(a);
            take(b, v6, &sink, (int)k, &from);
        }
    }
    struct link_stat sent = gsi_link_stat(a), came = gsi_link_stat(b);
    assert_int_equal(sent.sent, k);
    assert_int_equal(sent.sent_bytes, total);
    assert_int_equal(came.received, k);
    assert_int_equal(came.received_bytes, total);
    assert_int_equal(sent.dropped + came.dropped, 0);
    assert_true(no_offload ? sink.joined == 0 : sink.joined > 0);
    struct endpoint who;
    int error;
    assert_false(gsi_link_refused(a, &who, &error));
    gsi_link_close(a);
    gsi_link_close(b);
}

static bool have_v6(void)
{
    struct link *l;
    if (gsi_link_open(&l, &(struct link_options){.no_v4 = true}) < 0)
        return false;
    gsi_link_close(l);
    return true;
}

static void batches_keep_the_borders_of_datagrams(void **state)
{
    (void)state;
    carry(false, false);
    carry(false, true);
    if (!have_v6())
        skip_because("no IPv6 on this machine");
    carry(true, false);
    carry(true, true);
}

static void both_families_have_one_port(void **state)
{
    (void)state;
    if (!have_v6())
        skip_because("no IPv6 on this machine");
    struct link *l = open_link((struct link_options){0}), *other;
    assert_true(gsi_link_port(l, false) != 0);
    assert_int_equal(gsi_link_port(l, false), gsi_link_port(l, true));
    assert_code(gsi_link_open(&other, &(struct link_options){.port = gsi_link_port(l, false)}), -EADDRINUSE);
    assert_non_null(strstr(gs_error_detail(-EADDRINUSE), "another program"));
    gsi_link_close(l);
    gsi_link_close(NULL);
}

static void what_is_no_batch_is_refused(void **state)
{
    (void)state;
    static uint8_t bytes[LINK_MESSAGE + 1];
    struct link *l = open_link((struct link_options){.no_v6 = true});
    struct endpoint to = loopback(9, false), six = loopback(9, true);
    assert_code(gsi_link_put(l, &to, bytes, 0, 0), -EMSGSIZE);
    assert_code(gsi_link_put(l, &to, bytes, 10, 0), -EMSGSIZE);
    assert_code(gsi_link_put(l, &to, bytes, 10, 11), -EMSGSIZE);
    assert_code(gsi_link_put(l, &to, bytes, LINK_SEGMENTS + 1, 1), -EMSGSIZE);
    assert_code(gsi_link_put(l, &to, bytes, LINK_MESSAGE + 1, 1300), -EMSGSIZE);
    assert_code(gsi_link_put(l, &six, bytes, 10, 10), -EAFNOSUPPORT);
    assert_code(gsi_link_put(l, &(struct endpoint){.port = 5}, bytes, 10, 10), -EAFNOSUPPORT);
    gsi_link_flush(l);
    assert_int_equal(gsi_link_stat(l).sent, 0);
    gsi_link_close(l);
}

/* ---- a kernel that refuses ---- */

static int refusal, refused_calls;
static bool only_segments;

static int refusing_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
    if (refusal && (!only_segments || m->msg_hdr.msg_controllen)) {
        refused_calls++;
        errno = refusal;
        return -1;
    }
    return real.sendmmsg(fd, m, only_segments ? 1 : n, flags);
}

static void with_refusal(int error, bool segments_only)
{
    refusal = error;
    only_segments = segments_only;
    refused_calls = 0;
    gsi_link_calls.sendmmsg = refusing_sendmmsg;
}

static void a_machine_without_segmentation_gets_single_datagrams(void **state)
{
    (void)state;
    static uint8_t bytes[10 * SEG];
    static const int errors[] = {EIO, EINVAL, EMSGSIZE};
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        struct link *a = open_link((struct link_options){.no_v6 = true}), *b = open_link((struct link_options){.no_v6 = true});
        struct endpoint to = loopback(gsi_link_port(b, false), false), from = loopback(gsi_link_port(a, false), false);
        struct sink sink = {0};
        for (uint32_t k = 0; k < 10; k++)
            make_datagram(bytes + k * SEG, SEG, k);
        with_refusal(errors[e], true);
        for (int round = 0; round < 2; round++) {
            assert_ok(gsi_link_put(a, &to, bytes, sizeof bytes, SEG));
            gsi_link_flush(a);
            take(b, false, &sink, 10, &from);
            sink = (struct sink){0};
        }
        assert_int_equal(refused_calls, errors[e] == EMSGSIZE ? 2 : 1); /* it is learned, unless it is the path's */
        assert_int_equal(gsi_link_stat(a).sent, 20);
        gsi_link_calls = real;
        gsi_link_close(a);
        gsi_link_close(b);
    }
}

static void a_full_kernel_drops_and_an_unreachable_one_is_told_once(void **state)
{
    (void)state;
    static const uint8_t bytes[3 * SEG];
    struct link *l = open_link((struct link_options){.no_v6 = true});
    struct endpoint to = loopback(9, false), also = loopback(10, false), who;
    int error;
    with_refusal(EAGAIN, false);
    assert_ok(gsi_link_put(l, &to, bytes, sizeof bytes, SEG));
    gsi_link_flush(l);
    assert_int_equal(gsi_link_stat(l).dropped, 3);
    assert_false(gsi_link_refused(l, &who, &error));
    with_refusal(ENETUNREACH, false);
    for (int i = 0; i < 5; i++) {
        assert_ok(gsi_link_put(l, &to, bytes, SEG, SEG));
        assert_ok(gsi_link_put(l, &also, bytes, SEG, SEG));
        gsi_link_flush(l);
    }
    assert_int_equal(gsi_link_stat(l).dropped, 13);
    assert_true(gsi_link_refused(l, &who, &error) && gsi_endpoint_equal(&who, &to) && error == -ENETUNREACH);
    assert_true(gsi_link_refused(l, &who, &error) && gsi_endpoint_equal(&who, &also) && error == -ENETUNREACH);
    assert_false(gsi_link_refused(l, &who, &error));
    for (uint16_t port = 1; port <= 40; port++) { /* more than are remembered */
        struct endpoint many = loopback(port, false);
        assert_ok(gsi_link_put(l, &many, bytes, SEG, SEG));
    }
    gsi_link_flush(l);
    int told = 0;
    while (gsi_link_refused(l, &who, &error))
        assert_int_equal(who.port, ++told);
    assert_int_equal(told, 16);
    gsi_link_calls = real;
    gsi_link_close(l);
}

static int no_socket(int family, int type, int protocol)
{
    (void)type;
    if (family != AF_INET6)
        return real.socket(family, type, protocol);
    errno = EAFNOSUPPORT;
    return -1;
}

static int no_memory(int family, int type, int protocol)
{
    (void)family, (void)type, (void)protocol;
    errno = ENFILE;
    return -1;
}

static int no_options(int fd, int level, int name, const void *value, socklen_t n)
{
    (void)fd, (void)level, (void)name, (void)value, (void)n;
    errno = ENOPROTOOPT;
    return -1;
}

static void what_the_machine_lacks_is_left_out(void **state)
{
    (void)state;
    struct link *l;
    gsi_link_calls.socket = no_socket;
    assert_ok(gsi_link_open(&l, &(struct link_options){0}));
    assert_true(gsi_link_fd(l, false) >= 0 && gsi_link_fd(l, true) < 0);
    struct arrival a[LINK_ARRIVALS];
    assert_int_equal(gsi_link_receive(l, true, a), 0);
    gsi_link_close(l);
    assert_code(gsi_link_open(&l, &(struct link_options){.no_v4 = true}), -EAFNOSUPPORT);
    gsi_link_calls.socket = no_memory;
    assert_code(gsi_link_open(&l, &(struct link_options){0}), -ENFILE);
    gsi_link_calls = real;
    gsi_link_calls.setsockopt = no_options;
    carry(false, true);
    gsi_link_calls = real;
}

static int remember(void **state)
{
    (void)state;
    real = gsi_link_calls;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_keep_the_borders_of_datagrams),
        cmocka_unit_test(both_families_have_one_port),
        cmocka_unit_test(what_is_no_batch_is_refused),
        cmocka_unit_test(a_machine_without_segmentation_gets_single_datagrams),
        cmocka_unit_test(a_full_kernel_drops_and_an_unreachable_one_is_told_once),
        cmocka_unit_test(what_the_machine_lacks_is_left_out),
    };
    return cmocka_run_group_tests(tests, remember, NULL);
}
