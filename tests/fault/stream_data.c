/* Every allocation and system call of moving bytes fails in every place: send in its modes, recv, unrecv, sendfile, active mode,
 * packets, half-close, what close leaves behind. */
#include <sys/mman.h>

#include "stream_fault.h"

#define PASSIVE GS_INT(ACTIVE, GS_ACTIVE_FALSE)

/* Frames of growing sizes, the last longer than a read buffer; answered from the handler, so that answers are corked. */
static int echo_frames(void *scheme)
{
    enum { FRAMES = 6, BIG = 90000 };
    static const size_t sizes[FRAMES] = {0, 1, 100, 2500, 5000, BIG};
    static uint8_t out[BIG], in[BIG];
    struct ends x;
    gs_msg m;
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, WAIT_MS)), true);
    then(gs_stream_setopts(x.b, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, WAIT_MS))));
    pattern_fill(out, sizeof out, 1, 0);
    for (int i = 0; e == 0 && i < FRAMES - 1; i++)
        then(gs_stream_send(x.b, out, sizes[i]));
    for (int i = 0; e == 0 && i < FRAMES - 1; i++) {
        then(await(x.mb, GS_MSG_DATA, &m));
        if (e == 0)
            must(m.packet.data.n == sizes[i] && pattern_check(m.packet.data.p, sizes[i], 1, 0) == sizes[i]);
        then(gs_stream_send(x.a, m.packet.data.p, m.packet.data.n));
    }
    if (e == 0 && gs_receive(x.mb, &m, 0) == 0) /* the batch ends: what is corked leaves */
        e = m.error < 0 ? m.error : GS_ECLOSED;
    for (int i = 0; e == 0 && i < FRAMES - 1; i++) {
        ssize_t n = gs_stream_recv(x.b, in, sizeof in, 0, WAIT_MS);
        e = first_code(0, n);
        if (e == 0)
            must((size_t)n == sizes[i] && pattern_check(in, sizes[i], 1, 0) == sizes[i]);
    }
    return ends_close(&x, e);
}

static int receive_a_long_frame(void *scheme)
{
    enum { BIG = 90000 };
    static uint8_t out[4 + BIG];
    struct ends x;
    gs_msg m;
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), true);
    then(gs_stream_setopts(x.b, GS_OPTS(GS_INT(SEND_TIMEOUT, WAIT_MS))));
    must(gs_encode_header(GS_PACKET_4, BIG, out) == 4);
    pattern_fill(out + 4, BIG, 2, 0);
    for (size_t at = 0; e == 0 && at < sizeof out; at += 30001) { /* in pieces that fit into any socket's buffer */
        size_t n = sizeof out - at < 30001 ? sizeof out - at : 30001;
        then(gs_stream_send(x.b, out + at, n));
        if (e == 0 && at + n < sizeof out) {
            int r = gs_receive(x.mb, &m, 0);
            e = r == GS_ETIMEOUT || r == -ENOMEM ? 0 : r == 0 ? (m.error < 0 ? m.error : GS_ECLOSED) : first_code(0, r);
        }
    }
    then(await(x.mb, GS_MSG_DATA, &m));
    if (e == 0)
        must(m.packet.data.n == BIG && pattern_check(m.packet.data.p, BIG, 2, 0) == BIG);
    return ends_close(&x, e);
}

/* Reads everything that comes until n bytes are there. */
static int drain(gs_stream s, size_t n, uint64_t seed)
{
    static uint8_t in[1 << 16];
    size_t at = 0;
    int e = 0;
    while (e == 0 && at < n) {
        ssize_t k = gs_stream_recv(s, in, sizeof in, 0, WAIT_MS);
        e = first_code(0, k);
        if (k > 0)
            must(pattern_check(in, (size_t)k, seed, at) == (size_t)k);
        at += k > 0 ? (size_t)k : 0;
    }
    return e;
}

static int send_above_the_watermark(void *scheme)
{
    static uint8_t much[LOTS];
    struct ends x;
    gs_msg m;
    int e = ends_open(&x, scheme, GS_OPTS(PASSIVE, GS_INT(SEND_TIMEOUT, GS_NOWAIT)), true);
    then(make_narrow(&x, scheme));
    then(gs_stream_send(x.a, much, sizeof much)); /* taken whole; the rest is stuck */
    int full = e == 0 ? gs_stream_send(x.a, much, 1) : 0;
    if (e == 0 && full != 0 && full != -EAGAIN)
        e = first_code(0, full);
    then(gs_stream_setopts(x.a, GS_OPTS(GS_INT(SEND_TIMEOUT, 1))));
    int late = e == 0 ? gs_stream_send(x.a, much, 1) : 0;
    if (e == 0 && late != 0 && late != GS_ETIMEOUT)
        e = first_code(0, late);
    size_t left = sizeof much;
    while (e == 0 && left) {
        static uint8_t in[1 << 16];
        ssize_t k = gs_stream_recv(x.b, in, sizeof in, 0, WAIT_MS);
        e = traced(first_code(0, k), __LINE__);
        left -= k > 0 ? ((size_t)k < left ? (size_t)k : left) : 0;
    }
    then(gs_stream_flush(x.a, WAIT_MS));
    if (full == -EAGAIN)
        then(await(x.mb, GS_MSG_DRAINED, &m));
    return ends_close(&x, e);
}

static int send_direct_and_tell_the_rest(void *scheme)
{
    static uint8_t much[LOTS];
    struct ends x;
    gs_rest rest = {0};
    struct iovec v = {much, sizeof much};
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(SEND_TIMEOUT, 1)), false);
    then(make_narrow(&x, scheme));
    pattern_fill(much, sizeof much, 3, 0);
    int sent = e == 0 ? gs_stream_sendv(x.a, &v, 1, &rest) : 0;
    if (e == 0 && sent != GS_ETIMEOUT)
        e = first_code(0, sent);
    else if (e == 0)
        then(drain(x.b, rest.body_at, 3));
    return ends_close(&x, e);
}

static int send_many_pieces(void *scheme)
{
    enum { PIECES = 40 };
    static uint8_t bytes[PIECES * 10];
    struct ends x;
    struct iovec v[PIECES];
    pattern_fill(bytes, sizeof bytes, 4, 0);
    for (int i = 0; i < PIECES; i++)
        v[i] = (struct iovec){bytes + 10 * i, 10};
    int e = ends_open(&x, scheme, GS_OPTS(PASSIVE), true);
    then(gs_stream_sendv(x.a, v, PIECES, NULL));
    then(drain(x.b, sizeof bytes, 4));
    return ends_close(&x, e);
}

static int delay_sends(void *scheme)
{
    struct ends x;
    gs_msg m;
    uint8_t bytes[300];
    pattern_fill(bytes, sizeof bytes, 5, 0);
    int e = ends_open(&x, scheme, GS_OPTS(PASSIVE, GS_INT(DELAY_SEND, 1)), true);
    for (int i = 0; i < 3; i++)
        then(gs_stream_send(x.a, bytes + 100 * i, 100));
    int r = e == 0 ? gs_receive(x.mb, &m, 0) : 0;
    if (e == 0 && r != GS_ETIMEOUT)
        e = r < 0 ? first_code(0, r) : m.error < 0 ? m.error : GS_ECLOSED;
    then(drain(x.b, sizeof bytes, 5));
    return ends_close(&x, e);
}

static int receive_exactly_and_put_back(void *scheme)
{
    struct ends x;
    uint8_t bytes[200], in[200];
    pattern_fill(bytes, sizeof bytes, 6, 0);
    int e = ends_open(&x, scheme, NULL, false);
    then(gs_stream_send(x.b, bytes, 120));
    int early = e == 0 ? (int)gs_stream_recv(x.a, in, sizeof in, 200, 5) : 0; /* too few: nothing is lost */
    if (e == 0)
        e = early == GS_ETIMEOUT ? 0 : early >= 0 ? GS_ECLOSED : first_code(0, early); /* fewer: the end came */
    then(gs_stream_send(x.b, bytes + 120, 80));
    if (e == 0) {
        ssize_t some = gs_stream_recv(x.a, in, 150, 150, WAIT_MS);
        e = some >= 0 && some < 150 ? GS_ECLOSED : first_code(0, some);
    }
    then(gs_stream_unrecv(x.a, in, 150));
    ssize_t n = e == 0 ? gs_stream_recv(x.a, in, sizeof in, 200, WAIT_MS) : 0;
    e = first_code(e, n);
    if (e == 0)
        must(pattern_check(in, (size_t)n, 6, 0) == (size_t)n);
    if (e == 0 && n < 200) /* the end came before */
        e = GS_ECLOSED;
    return ends_close(&x, e);
}

static int send_a_file(void *scheme)
{
    enum { SIZE = 50000 };
    struct ends x;
    static uint8_t bytes[SIZE];
    int fd = memfd_create("fault", MFD_CLOEXEC);
    pattern_fill(bytes, SIZE, 7, 0);
    must(fd >= 0 && write(fd, bytes, SIZE) == SIZE);
    int e = ends_open(&x, scheme, GS_OPTS(PASSIVE, GS_INT(SEND_TIMEOUT, WAIT_MS)), true);
    if (e == 0) {
        int64_t n = gs_stream_sendfile(x.a, fd, 0, SIZE);
        e = first_code(0, (long)n);
        must(n < 0 || n == SIZE);
    }
    then(drain(x.b, SIZE, 7));
    close(fd);
    return ends_close(&x, e);
}

static int read_http(void *scheme)
{
    static const char request[] = "GET /a HTTP/1.1\r\nHost: x\r\nX-Long: y\r\n\r\nbody";
    struct ends x;
    gs_packet p;
    uint8_t in[100];
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(PACKET, GS_PACKET_HTTP)), false);
    then(gs_stream_send(x.b, request, sizeof request - 1));
    then(gs_stream_recv_packet(x.a, in, sizeof in, &p, WAIT_MS));
    if (e == 0)
        must(p.kind == GS_PK_HTTP_REQUEST && p.u.request.path.n == 2);
    for (int i = 0; i < 2; i++)
        then(gs_stream_recv_packet(x.a, in, sizeof in, &p, WAIT_MS));
    then(gs_stream_recv_packet(x.a, in, sizeof in, &p, WAIT_MS));
    if (e == 0)
        must(p.kind == GS_PK_HTTP_EOH);
    then(gs_stream_setopts(x.a, GS_OPTS(GS_INT(PACKET, GS_PACKET_RAW))));
    then(gs_stream_recv(x.a, in, 4, 4, WAIT_MS));
    if (e == 0)
        must(!memcmp(in, "body", 4));
    return ends_close(&x, e);
}

/* The end of each side, in order, after all that was sent. */
static int half_close(void *scheme)
{
    struct ends x;
    gs_msg m;
    char in[8];
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(EXIT_ON_CLOSE, 0)), true);
    then(gs_stream_send(x.b, "ask", 3));
    then(gs_stream_shutdown(x.b, GS_SHUT_WRITE));
    then(await(x.mb, GS_MSG_DATA, &m));
    then(await(x.mb, GS_MSG_CLOSED, &m));
    then(gs_stream_send(x.a, "answer", 6));
    then(gs_stream_recv(x.b, in, 6, 6, WAIT_MS));
    return ends_close(&x, e);
}

/* More than fits is left to the flusher; the peer gets all of it, or its end. */
static int close_with_output_left(void *scheme)
{
    static uint8_t much[LOTS];
    struct ends x;
    int e = ends_open(&x, scheme, GS_OPTS(PASSIVE, GS_INT(HIGH_WATERMARK, LOTS * 2)), true);
    then(make_narrow(&x, scheme));
    pattern_fill(much, sizeof much, 8, 0);
    then(gs_stream_send(x.a, much, sizeof much));
    then(gs_stream_send(x.a, much, 0));
    if (x.a.id)
        must(gs_stream_close(x.a) == 0);
    then(drain(x.b, sizeof much, 8));
    if (e == 0) {
        e = first_code(0, gs_stream_recv(x.b, much, 1, 0, WAIT_MS));
        e = e == GS_ECLOSED ? 0 : e;
    }
    must(!x.b.id || gs_stream_close(x.b) == 0);
    e = ends_close(&x, e);
    must(wait_until(gsi_live_count(GSI_STREAM) == 0, 5000));
    return e;
}

static int set_and_get_options(void *scheme)
{
    struct ends x;
    gs_opt ask[] = {{.name = GS_OPT_PACKET},
                    {.name = GS_OPT_HIGH_WATERMARK},
                    {.name = GS_OPT_USER},
                    {.name = GS_OPT_NODELAY},
                    {.name = GS_OPT_END}};
    int e = ends_open(&x, scheme, GS_OPTS(PASSIVE), true);
    then(gs_stream_setopts(x.a, GS_OPTS(GS_INT(PACKET, GS_PACKET_2), GS_INT(HIGH_WATERMARK, 99999), {.name = GS_OPT_USER, .v.ptr = ask})));
    if (!strcmp(scheme, "tcp"))
        then(gs_stream_setopts(x.a, GS_OPTS(GS_INT(NODELAY, 1), GS_INT(PACKET, GS_PACKET_2), GS_INT(KEEPALIVE, 1))));
    else
        ask[3].name = GS_OPT_END;
    then(gs_stream_getopts(x.a, ask));
    if (e == 0)
        must(ask[0].v.i == GS_PACKET_2 && ask[1].v.i == 99999 && ask[2].v.ptr == ask);
    return ends_close(&x, e);
}

ON_EACH_TRANSPORT(frames, "echo of frames", echo_frames, &real_time)
ON_EACH_TRANSPORT(long_frame, "a long frame", receive_a_long_frame, &virtual_time)
ON_EACH_TRANSPORT(direct, "direct send, the rest told", send_direct_and_tell_the_rest, &virtual_time)
ON_EACH_TRANSPORT(pieces, "send of many pieces", send_many_pieces, &virtual_time)
ON_EACH_TRANSPORT(delayed, "delay_send", delay_sends, &real_time)
ON_EACH_TRANSPORT(exact, "recv exact, unrecv", receive_exactly_and_put_back, &virtual_time)
ON_EACH_TRANSPORT(file, "sendfile", send_a_file, &virtual_time)
ON_EACH_TRANSPORT(http, "recv_packet of http", read_http, &virtual_time)
ON_EACH_TRANSPORT(half, "half-close", half_close, &virtual_time)
ON_EACH_TRANSPORT(options, "setopts, getopts", set_and_get_options, &virtual_time)

/* How often sender and receiver wait for each other is the kernel's: some of the later places are not reached each time. */
static void explore_each_transport(const char *name, scenario_fn scenario)
{
    static const char *const schemes[] = {"tcp", "unix", "mem"};
    for (int i = 0; i < 3; i++) {
        struct fault_report r = fault_explore(name, scenario, (void *)(uintptr_t)schemes[i], &real_time);
        print_message("# %s, %s: %ld runs with a fault, %ld fired\n", name, schemes[i], r.runs, r.fired);
        if (r.findings)
            fail_msg("%ld findings, the first: %s", r.findings, r.first);
        assert_true(r.calls_cold > 0 && (getenv("GS_FAULT_ONLY") || r.fired > r.runs / 2));
    }
}

static void watermark_survives_every_fault(void **state)
{
    (void)state;
    explore_each_transport("send above the watermark", send_above_the_watermark);
}

static void leftovers_survives_every_fault(void **state)
{
    (void)state;
    explore_each_transport("close with output left", close_with_output_left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(frames), ROW(long_frame), ROW(watermark), ROW(direct), ROW(pieces),    ROW(delayed),
        ROW(exact),  ROW(file),       ROW(http),      ROW(half),   ROW(leftovers), ROW(options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
