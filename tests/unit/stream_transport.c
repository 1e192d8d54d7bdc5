/* What streams make of the transports' and options' own rules: options reach the kernel below a layer, a descriptor is tried
 * once, defaults stand in front of every list.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/seam.h"
#include "gensock/mailbox.h"
#include "gensock/stream.h"
#include "net/resolve.h"
#include "support.h"
#include "transport/transport.h"

/* ---- a layer that changes nothing ---- */

static int thin_upgrade(gs_io *lower, bool server, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)server, (void)at, (void)opts;
    *ctx = lower;
    return 0;
}
static ssize_t thin_readv(void *ctx, const struct iovec *iov, int n) { return gs_io_readv(ctx, iov, n); }
static ssize_t thin_writev(void *ctx, const struct iovec *iov, int n) { return gs_io_writev(ctx, iov, n); }
static int thin_shutdown(void *ctx, gs_how how) { return gs_io_shutdown(ctx, how); }
static void thin_close(void *ctx, bool reset) { (void)ctx, (void)reset; }

enum { THIN_OPTION = GS_OPT_TRANSPORT + 500 };
static int64_t thin_value;
static int thin_setopt(void *ctx, const gs_opt *o)
{
    (void)ctx;
    if (o->name != THIN_OPTION)
        return -ENOTSUP;
    thin_value = o->v.i;
    return 0;
}
static int thin_getopt(void *ctx, gs_opt *o)
{
    (void)ctx;
    if (o->name != THIN_OPTION)
        return -ENOTSUP;
    o->v.i = thin_value;
    return 0;
}

static const struct gs_transport thin = {.size = sizeof thin, .scheme = "thin", .upgrade = thin_upgrade, .readv = thin_readv,
    .writev = thin_writev, .shutdown = thin_shutdown, .close = thin_close, .setopt = thin_setopt, .getopt = thin_getopt};

static void listen_at(const char *address, const gs_opt *opts, gs_stream *l, char *dial, size_t cap)
{
    assert_ok(gs_stream_listen(l, address, opts, GS_NO_MAILBOX));
    snprintf(dial, cap, "%.*s127.0.0.1:%d", (int)(strstr(address, "://") + 3 - address), address, gs_stream_port(*l));
}

static int64_t option(gs_stream s, int name)
{
    gs_opt o[] = {{.name = name}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_getopts(s, o));
    return o[0].v.i;
}

static void options_reach_whatever_layer_knows_them(void **state)
{
    (void)state;
    gs_stream l, s;
    char dial[64];
    assert_ok(gs_transport_register(&thin));
    listen_at("thin+thin+tcp://127.0.0.1:0", NULL, &l, dial, sizeof dial);
    assert_ok(gs_stream_connect(&s, dial, NULL, GS_NO_MAILBOX, 5000));
    assert_int_equal(option(s, GS_OPT_NODELAY), 0);
    assert_ok(gs_stream_setopts(s, GS_OPTS(GS_INT(NODELAY, 1), {.name = THIN_OPTION, .v.i = 42})));
    assert_int_equal(option(s, GS_OPT_NODELAY), 1);
    assert_int_equal(option(s, THIN_OPTION), 42);
    assert_int_equal(option(s, GS_OPT_FAMILY), AF_INET);
    assert_code(gs_stream_setopts(s, GS_OPTS({.name = THIN_OPTION + 1})), -ENOTSUP);
    gs_stream_close(s);
    gs_stream_close(l);
}

/* ---- option fd ---- */

/* Two addresses where nobody listens, so that the library goes on from the first. */
static int two_addresses(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)host, (void)service;
    struct addrinfo numeric = *hints, *second;
    numeric.ai_flags |= AI_NUMERICHOST;
    int e = gsi_sys_default.getaddrinfo("127.0.0.1", NULL, &numeric, out);
    if (e == 0 && (e = gsi_sys_default.getaddrinfo("127.0.0.2", NULL, &numeric, &second)) == 0) {
        struct addrinfo *last = *out;
        while (last->ai_next)
            last = last->ai_next;
        last->ai_next = second;
    }
    return e;
}

static int free_port(void)
{
    gs_stream l;
    assert_ok(gs_stream_listen(&l, "tcp://127.0.0.1:0", NULL, GS_NO_MAILBOX));
    int port = gs_stream_port(l);
    gs_stream_close(l);
    return port;
}

static int attempts;
static int counting_connect(int fd, const struct sockaddr *a, socklen_t n)
{
    attempts++;
    return gsi_sys_default.connect(fd, a, n);
}

/* After the first try the number may be somebody else's descriptor. */
static void fd_is_tried_for_the_first_address_only(void **state)
{
    (void)state;
    gs_stream s;
    char dial[64];
    snprintf(dial, sizeof dial, "tcp://two.example:%d", free_port());
    struct gsi_sys was = gsi_sys;
    gsi_sys.getaddrinfo = two_addresses;
    gsi_sys.connect = counting_connect;
    attempts = 0;
    int plain = gs_stream_connect(&s, dial, NULL, GS_NO_MAILBOX, 5000), both = attempts;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    attempts = 0;
    int given = gs_stream_connect(&s, dial, GS_OPTS(GS_INT(FD, fd)), GS_NO_MAILBOX, 5000);
    gsi_sys = was;
    assert_int_equal(gsi_resolver_stop(gsi_deadline(5000)), 0);
    assert_code(plain, -ECONNREFUSED);
    assert_int_equal(both, 2);
    assert_code(given, -ECONNREFUSED);
    assert_int_equal(attempts, 1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* ---- defaults ---- */

static void defaults_hold_where_the_list_says_nothing(void **state)
{
    (void)state;
    gs_stream l, a, b;
    char dial[64];
    assert_ok(gs_set_default_opts(GS_LISTEN_DEFAULTS, GS_OPTS(GS_INT(KEEPALIVE, 1), GS_INT(PACKET, GS_PACKET_2))));
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS, GS_OPTS(GS_INT(NODELAY, 1), GS_INT(HEADER, 3))));
    listen_at("tcp://127.0.0.1:0", GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), &l, dial, sizeof dial);
    assert_ok(gs_stream_connect(&a, dial, GS_OPTS(GS_INT(HEADER, 1)), GS_NO_MAILBOX, 5000));
    assert_ok(gs_stream_accept(l, &b, GS_NO_MAILBOX, 5000, NULL));
    assert_ok(gs_set_default_opts(GS_LISTEN_DEFAULTS, NULL));
    assert_ok(gs_set_default_opts(GS_CONNECT_DEFAULTS, NULL));
    assert_int_equal(option(l, GS_OPT_KEEPALIVE), 1);
    assert_int_equal(option(b, GS_OPT_KEEPALIVE), 1);
    assert_int_equal(option(b, GS_OPT_PACKET), GS_PACKET_4);
    assert_int_equal(option(a, GS_OPT_NODELAY), 1);
    assert_int_equal(option(a, GS_OPT_HEADER), 1);
    assert_int_equal(option(a, GS_OPT_PACKET), GS_PACKET_RAW);
    gs_stream_close(a), gs_stream_close(b), gs_stream_close(l);
}

/* The text of each default in the table is what a fresh stream answers. */
static void fresh_streams_answer_the_tables_defaults(void **state)
{
    (void)state;
    gs_stream l, s;
    char dial[64], text[64];
    listen_at("tcp://127.0.0.1:0", NULL, &l, dial, sizeof dial);
    assert_ok(gs_stream_connect(&s, dial, NULL, GS_NO_MAILBOX, 5000));
    int asked = 0;
    for (int name = 1; name < GS_OPT_COUNT; name++) {
        const struct gsi_opt_row *row = gsi_opt_row(name);
        gs_opt o, ask[] = {{.name = name}, {.name = GS_OPT_END}};
        if (!(row->where & GSI_ON_GET) || row->type == GSI_RAW || row->type == GSI_BIN ||
            gs_opt_parse(row->erlang, row->initial, &o) < 0)
            continue; /* "the kernel's" and its like */
        gs_opt_clear(&o);
        int e = gs_stream_getopts(s, ask);
        if (e == -ENOTSUP && (name == GS_OPT_TCLASS || name == GS_OPT_RECVTCLASS))
            continue; /* inet6's */
        assert_ok(e);
        assert_true(gs_opt_text(&ask[0], text, sizeof text) > 0);
        if (strcmp(text, row->initial))
            fail_msg("%s is %s, not %s", row->erlang, text, row->initial);
        asked++;
    }
    assert_true(asked >= 30);
    gs_stream_close(s), gs_stream_close(l);
}

/* ---- one set of slots under two schemes ---- */

static const char *asked_as[8];
static int asked;
static void note_scheme(const gs_io *io) { asked_as[asked++ % 8] = gs_io_scheme(io); }

static int twin_listen(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)at, (void)opts;
    note_scheme(io);
    *ctx = io;
    return 0;
}
static int twin_accept(void *listener, gs_io *io, void **ctx)
{
    (void)listener;
    note_scheme(io);
    *ctx = io;
    return 0;
}
static int twin_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    (void)to, (void)opts;
    note_scheme(io);
    *ctx = io;
    return 0;
}
static ssize_t twin_bytes(void *ctx, const struct iovec *iov, int n)
{
    (void)ctx, (void)iov, (void)n;
    return -EAGAIN;
}
static int thin_noting_upgrade(gs_io *lower, bool server, const gs_target *at, const gs_opt *opts, void **ctx)
{
    note_scheme(lower);
    return thin_upgrade(lower, server, at, opts, ctx);
}

static void expect_asked_as(const char *scheme)
{
    assert_int_equal(asked, 1);
    assert_string_equal(asked_as[0], scheme);
    asked = 0;
}

static void an_io_says_for_which_scheme_it_is(void **state)
{
    (void)state;
    static const char *const names[] = {"twin-a", "twin-b"};
    struct gs_transport twin = {.size = sizeof twin, .listen = twin_listen, .accept = twin_accept, .connect = twin_connect,
        .readv = twin_bytes, .writev = twin_bytes, .close = thin_close, .flags = GS_T_NO_HALF_CLOSE};
    struct gs_transport layer = thin;
    layer.scheme = "noting";
    layer.upgrade = thin_noting_upgrade;
    assert_ok(gs_transport_register(&layer));
    for (int i = 0; i < 2; i++) {
        gs_stream l, a, b;
        char address[32];
        twin.scheme = names[i];
        assert_ok(gs_transport_register(&twin));
        snprintf(address, sizeof address, "%s://x", names[i]);
        assert_ok(gs_stream_listen(&l, address, NULL, GS_NO_MAILBOX));
        expect_asked_as(names[i]);
        assert_ok(gs_stream_connect(&a, address, NULL, GS_NO_MAILBOX, 0));
        expect_asked_as(names[i]);
        assert_ok(gs_stream_accept(l, &b, GS_NO_MAILBOX, 0, NULL));
        expect_asked_as(names[i]);
        assert_ok(gs_stream_upgrade(a, "noting", false, NULL, 0));
        expect_asked_as("noting");
        gs_stream_close(a);
        gs_stream_close(b);
        gs_stream_close(l);
    }
}

/* ---- a base with a descriptor that reads ahead of it ---- */

struct ahead {
    int fd;
    size_t at, n;
    char have[64];
};

static int ahead_connect(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    (void)io, (void)opts;
    static struct ahead one;
    one = (struct ahead){.fd = atoi(to->rest)};
    *ctx = &one;
    return 0;
}
/* One byte a time. */
static ssize_t ahead_readv(void *ctx, const struct iovec *iov, int n)
{
    struct ahead *a = ctx;
    if (a->at == a->n) {
        ssize_t k = recv(a->fd, a->have, sizeof a->have, MSG_DONTWAIT);
        if (k <= 0)
            return k < 0 ? -errno : 0;
        a->at = 0;
        a->n = (size_t)k;
    }
    assert_true(n > 0 && iov[0].iov_len > 0);
    *(char *)iov[0].iov_base = a->have[a->at++];
    return 1;
}
static void ahead_close(void *ctx, bool reset)
{
    (void)reset;
    close(((struct ahead *)ctx)->fd);
}
static int ahead_poll(void *ctx, size_t *buffered)
{
    struct ahead *a = ctx;
    *buffered = a->n - a->at;
    return a->fd;
}

static void bytes_above_a_bases_descriptor_do_not_hide(void **state)
{
    (void)state;
    struct gs_transport t = {.size = sizeof t, .scheme = "ahead", .flags = GS_T_NO_HALF_CLOSE, .connect = ahead_connect,
        .readv = ahead_readv, .writev = twin_bytes, .close = ahead_close, .poll = ahead_poll};
    int fd[2];
    char address[32];
    gs_mailbox m;
    gs_stream s;
    gs_msg msg;
    assert_ok(gs_transport_register(&t));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    assert_int_equal(write(fd[1], "\3abc\2de", 7), 7);
    snprintf(address, sizeof address, "ahead://%d", fd[0]);
    assert_ok(gs_mailbox_new(&m));
    assert_ok(gs_stream_connect(&s, address, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)), m, 0));
    assert_ok(gs_receive(m, &msg, 5000));
    assert_int_equal(msg.packet.data.n, 3);
    assert_ok(gs_receive(m, &msg, 5000));
    assert_memory_equal(msg.packet.data.p, "de", 2);
    assert_ok(gs_mailbox_free(m));
    close(fd[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_reach_whatever_layer_knows_them),
        cmocka_unit_test(fd_is_tried_for_the_first_address_only),
        cmocka_unit_test(defaults_hold_where_the_list_says_nothing),
        cmocka_unit_test(fresh_streams_answer_the_tables_defaults),
        cmocka_unit_test(an_io_says_for_which_scheme_it_is),
        cmocka_unit_test(bytes_above_a_bases_descriptor_do_not_hide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
