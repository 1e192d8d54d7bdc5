/* option.c: setopts and getopts, statistics, names, and what a stream tells of itself. */
#include "suite.h"

static void setopts_changes_all_or_nothing(struct world *w)
{
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, 3)));
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(ACTIVE, 40000))), -EINVAL);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(HIGH_WATERMARK, 10), GS_INT(LOW_WATERMARK, 20))),
                -EINVAL);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(PACKET, 99))), -EINVAL);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), {.name = 999})), -EINVAL);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(ACCEPT, GS_ACTIVE_ONCE))), -EINVAL);
    assert_int_equal(GET(w->b, PACKET), GS_PACKET_1);
    assert_int_equal(GET(w->b, ACTIVE), 3);
    assert_ok(gs_stream_setopts(w->b, NULL));
}

static void an_option_that_only_opening_takes_is_einval_later(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(BACKLOG, 5))), -EINVAL);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(PORT, 5))), -EINVAL);
}

static void what_is_set_is_what_is_got(struct world *w)
{
    static const struct {
        int name;
        int64_t value;
    } row[] = {
        {GS_OPT_PACKET, GS_PACKET_LINE}, {GS_OPT_PACKET_SIZE, 12345},    {GS_OPT_LINE_DELIMITER, ';'},
        {GS_OPT_HEADER, 4},              {GS_OPT_BUFFER, 9999},          {GS_OPT_DELAY_SEND, 1},
        {GS_OPT_SEND_TIMEOUT, 4321},     {GS_OPT_SEND_TIMEOUT_CLOSE, 1}, {GS_OPT_HIGH_WATERMARK, 100000},
        {GS_OPT_LOW_WATERMARK, 50000},   {GS_OPT_EXIT_ON_CLOSE, 0},      {GS_OPT_SHOW_ECONNRESET, 1},
        {GS_OPT_SEND_MODE, GS_SEND_DIRECT}, {GS_OPT_ACTIVE, 12},         {GS_OPT_HIGH_MSGQ_WATERMARK, 5000},
        {GS_OPT_LOW_MSGQ_WATERMARK, 4000},
    };
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        set_int(w->b, row[i].name, row[i].value);
        assert_int_equal(get_int(w->b, row[i].name), row[i].value);
    }
    assert_int_equal(GET(w->a, PACKET), GS_PACKET_RAW); /* only its own */
    assert_code(gs_stream_getopts(w->b, NULL), GS_EBADARG);
}

static void defaults_are_erlangs(struct world *w)
{
    open_pair(w, B_OWNED, NULL, NULL);
    assert_int_equal(GET(w->b, PACKET), GS_PACKET_RAW);
    assert_int_equal(GET(w->b, HEADER), 0);
    assert_int_equal(GET(w->b, HIGH_WATERMARK), 8192);
    assert_int_equal(GET(w->b, LOW_WATERMARK), 4096);
    assert_int_equal(GET(w->b, SEND_TIMEOUT), GS_INFINITY);
    assert_int_equal(GET(w->b, SEND_TIMEOUT_CLOSE), 0);
    assert_int_equal(GET(w->b, EXIT_ON_CLOSE), 1);
    assert_int_equal(GET(w->b, SHOW_ECONNRESET), 0);
    assert_int_equal(GET(w->b, DELAY_SEND), 0);
    assert_int_equal(GET(w->b, LINE_DELIMITER), '\n');
    assert_int_equal(GET(w->b, PACKET_SIZE), 0);
    assert_int_equal(GET(w->b, SEND_MODE), GS_SEND_QUEUED);
    assert_int_equal(GET(w->a, SEND_MODE), GS_SEND_DIRECT); /* without an owner there is no queue */
}

static void kernel_options_are_where_a_kernel_is(struct world *w)
{
    open_pair(w, NOBODY, NULL, NULL);
    gs_opt o[] = {GS_INT(KEEPALIVE, 1), {.name = GS_OPT_END}};
    if (!w->facts->kernel) {
        assert_code(gs_stream_setopts(w->b, o), -ENOTSUP);
        assert_code(gs_stream_getopts(w->b, o), -ENOTSUP);
        return;
    }
    assert_ok(gs_stream_setopts(w->b, o));
    assert_int_equal(GET(w->b, KEEPALIVE), 1);
    SET(w->b, SNDBUF, 30000);
    assert_true(GET(w->b, SNDBUF) >= 30000);
    o[0] = (gs_opt)GS_INT(NODELAY, 1);
    if (w->facts->tcp) {
        assert_ok(gs_stream_setopts(w->b, o));
        assert_int_equal(GET(w->b, NODELAY), 1);
    } else
        assert_code(gs_stream_setopts(w->b, o), -ENOTSUP);
}

/* Validated whole: an option that this transport lacks changes none of the others. */
static void an_option_that_the_transport_lacks_changes_nothing(struct world *w)
{
    if (w->facts->tcp)
        return;
    open_pair(w, NOBODY, NULL, NULL);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(NODELAY, 1))), -ENOTSUP);
    assert_int_equal(GET(w->b, PACKET), GS_PACKET_RAW);
}

/* Also what the kernel had taken already. */
static void an_option_that_fails_sets_back_those_before_it(struct world *w)
{
    if (!w->facts->kernel)
        return;
    open_pair(w, NOBODY, NULL, NULL);
    SET(w->b, SNDBUF, 20000);
    int64_t sndbuf = GET(w->b, SNDBUF);
    assert_code(gs_stream_setopts(w->b, GS_OPTS(GS_INT(KEEPALIVE, 1), GS_INT(PRIORITY, 3), GS_INT(SNDBUF, 30000),
                                                GS_INT(PACKET, 4), GS_INT(PRIORITY, 4), {.name = GS_OPT_TRANSPORT + 999})),
                -ENOTSUP);
    assert_int_equal(GET(w->b, KEEPALIVE), 0);
    assert_int_equal(GET(w->b, PRIORITY), 0);
    assert_int_equal(GET(w->b, SNDBUF), sndbuf);
    assert_int_equal(GET(w->b, PACKET), GS_PACKET_RAW);
}

static void statistics_count_bytes_and_packets(struct world *w)
{
    gs_stat a, b;
    open_pair(w, B_OWNED, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_OPTS(GS_INT(PACKET, GS_PACKET_2)));
    send_text(w->a, "12345678");
    send_text(w->a, "1234");
    expect_packet(w->mb, w->b, "12345678");
    expect_packet(w->mb, w->b, "1234");
    send_text(w->b, "12");
    recv_one(w->a, "12");
    assert_ok(gs_stream_getstat(w->a, &a));
    assert_ok(gs_stream_getstat(w->b, &b));
    assert_int_equal(a.send_oct, 12);
    assert_int_equal(a.send_cnt, 2);
    assert_int_equal(a.send_max, 8);
    assert_int_equal(a.send_avg, 6);
    assert_int_equal(a.send_pend, 0);
    assert_int_equal(a.recv_oct, 2);
    assert_int_equal(a.recv_cnt, 1);
    assert_int_equal(b.recv_oct, 12);
    assert_int_equal(b.recv_cnt, 2);
    assert_int_equal(b.recv_max, 8);
    assert_int_equal(b.recv_avg, 6);
    assert_int_equal(b.send_oct, 2);
    assert_code(gs_stream_getstat(w->a, NULL), GS_EBADARG);
}

/* A frame that the mailbox holds decoded, but has not delivered, is not counted if it goes back. */
static void statistics_count_what_was_delivered(struct world *w)
{
    gs_stat b;
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_1), GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    assert_ok(gs_stream_unrecv(w->b, "\3abc\3def\3ghi", 12));
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "abc");
    SET(w->b, ACTIVE, GS_ACTIVE_FALSE);
    assert_ok(gs_stream_getstat(w->b, &b));
    assert_int_equal(b.recv_cnt, 1);
    assert_int_equal(b.recv_oct, 3);
}

static void info_tells_what_it_is(struct world *w)
{
    gs_stream_info_t info;
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    assert_ok(gs_stream_info(w->listener, &info));
    assert_int_equal(info.state, GS_LISTENER);
    assert_ok(gs_stream_unrecv(w->b, "12345", 5));
    assert_ok(gs_stream_info(w->b, &info));
    assert_string_equal(info.transport, w->facts->scheme);
    assert_int_equal(info.state, GS_CONNECTED);
    assert_true(info.owner.id == w->mb.id);
    assert_int_equal(info.active, GS_ACTIVE_FALSE);
    assert_int_equal(info.buffered, 5);
    assert_int_equal(info.queued, 0);
    assert_ok(gs_stream_info(w->a, &info));
    assert_int_equal(info.owner.id, 0);
    assert_code(gs_stream_info(w->a, NULL), GS_EBADARG);
}

static void names_of_the_ends_match(struct world *w)
{
    gs_addr mine, theirs;
    open_pair(w, NOBODY, NULL, NULL);
    if (!w->facts->names) {
        assert_code(gs_stream_peername(w->a, &theirs), -ENOTSUP);
        assert_code(gs_stream_sockname(w->b, &mine), -ENOTSUP);
        return;
    }
    assert_ok(gs_stream_peername(w->a, &theirs));
    assert_ok(gs_stream_sockname(w->b, &mine));
    assert_true(gs_addr_equal(&mine, &theirs));
    assert_ok(gs_stream_sockname(w->listener, &theirs));
    assert_true(gs_addr_equal(&mine, &theirs));
    if (w->facts->port)
        assert_int_equal(gs_stream_port(w->b), gs_addr_port(&mine));
    assert_code(gs_stream_peername(w->listener, &theirs), -ENOTCONN);
    assert_code(gs_stream_sockname(w->a, NULL), GS_EBADARG);
}

static void the_peer_is_known_as_far_as_the_transport_knows(struct world *w)
{
    const gs_peer *peer = NULL;
    open_pair(w, NOBODY, NULL, NULL);
    assert_ok(gs_stream_peer(w->b, &peer));
    gs_peer copy = *peer;
    assert_ok(gs_stream_close(w->b));
    assert_int_equal(peer->kind, copy.kind); /* a snapshot outlives its stream */
    gs_peer_free(peer);
    assert_int_equal(copy.kind, w->facts->peer);
    assert_code(gs_stream_peer(w->a, NULL), GS_EBADARG);
}

static void only_what_is_secure_says_so(struct world *w)
{
    char buf[8];
    gs_connection_information info;
    bool secure = w->facts->secure;
    open_pair(w, NOBODY, NULL, NULL);
    assert_int_equal(gs_stream_secure(w->a), secure);
    assert_code(gs_stream_negotiated_protocol(w->a, buf, sizeof buf), GS_ENOPROTO);
    ssize_t n = gs_stream_peercert(w->a, buf, sizeof buf);
    assert_true(secure ? n > (ssize_t)sizeof buf : n == GS_ENOTSECURE);
    assert_code(gs_stream_connection_information(w->a, &info), secure ? 0 : GS_ENOTSECURE);
    assert_ok(gs_stream_handshake(w->a, 0)); /* none is left to do */
}

struct trace {
    _Atomic int lines;
    uint64_t stream;
};

static void note_line(void *arg, gs_stream s, const char *line)
{
    struct trace *t = arg;
    t->stream = s.id;
    t->lines += line && *line;
}

static void debug_traces_calls_and_messages(struct world *w)
{
    struct trace t = {0};
    open_pair(w, B_OWNED, NULL, NULL);
    gs_opt on[] = {{.name = GS_OPT_DEBUG, .v.debug = {.fn = note_line, .arg = &t}}, {.name = GS_OPT_END}};
    gs_opt off[] = {{.name = GS_OPT_DEBUG}, {.name = GS_OPT_END}};
    assert_ok(gs_stream_setopts(w->b, on));
    t.lines = 0;
    send_text(w->b, "x");
    assert_true(t.lines > 0);
    assert_true(t.stream == w->b.id);
    t.lines = 0;
    send_text(w->a, "y");
    expect_bytes(w->mb, w->b, "y");
    assert_true(t.lines > 0);
    assert_ok(gs_stream_setopts(w->b, off));
    t.lines = 0;
    send_text(w->b, "z");
    assert_int_equal(t.lines, 0);
}

static void process_defaults_come_before_the_calls_options(struct world *w)
{
    set_defaults(GS_CONNECT_DEFAULTS, GS_OPTS(GS_INT(PACKET, GS_PACKET_2), GS_INT(SEND_TIMEOUT, 77)));
    set_defaults(GS_LISTEN_DEFAULTS, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)));
    open_pair(w, NOBODY, GS_OPTS(GS_INT(SEND_TIMEOUT, 78)), NULL);
    int64_t of_a = GET(w->a, PACKET), of_b = GET(w->b, PACKET), timeout = GET(w->a, SEND_TIMEOUT);
    set_defaults(GS_CONNECT_DEFAULTS, NULL);
    set_defaults(GS_LISTEN_DEFAULTS, NULL);
    assert_int_equal(of_a, GS_PACKET_2);
    assert_int_equal(of_b, GS_PACKET_4);
    assert_int_equal(timeout, 78);
}

CASES(option) = {
    CASE(setopts_changes_all_or_nothing),
    CASE(an_option_that_only_opening_takes_is_einval_later),
    CASE(what_is_set_is_what_is_got),
    CASE(defaults_are_erlangs),
    CASE(kernel_options_are_where_a_kernel_is),
    CASE(an_option_that_the_transport_lacks_changes_nothing),
    CASE(an_option_that_fails_sets_back_those_before_it),
    CASE(statistics_count_bytes_and_packets),
    CASE(statistics_count_what_was_delivered),
    CASE(info_tells_what_it_is),
    CASE(names_of_the_ends_match),
    CASE(the_peer_is_known_as_far_as_the_transport_knows),
    CASE(only_what_is_secure_says_so),
    CASE(debug_traces_calls_and_messages),
    CASE(process_defaults_come_before_the_calls_options),
    {0},
};
