/* packet.c: every packet type, passive and active, cut anywhere; limits; lines in pieces; http. */
#include "suite.h"

#include <stdlib.h>

/* What a body of n bytes looks like on the wire, and how much of that a packet of the type shows. */
struct shape {
    const char *name;
    gs_packet_type type;
    bool header_stays; /* the packet is delivered with its header */
};
static const struct shape shapes[] = {
    {"1", GS_PACKET_1, false},      {"2", GS_PACKET_2, false},       {"4", GS_PACKET_4, false},
    {"asn1", GS_PACKET_ASN1, true}, {"sunrm", GS_PACKET_SUNRM, true}, {"cdr", GS_PACKET_CDR, true},
    {"fcgi", GS_PACKET_FCGI, true}, {"tpkt", GS_PACKET_TPKT, true},   {"line", GS_PACKET_LINE, true},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, FRAME_MAX = 2048 };

static size_t big_endian(uint8_t *p, size_t width, size_t value)
{
    for (size_t i = 0; i < width; i++)
        p[i] = (uint8_t)(value >> 8 * (width - 1 - i));
    return width;
}

/* The header of a body of n bytes; its length. */
static size_t make_header(gs_packet_type type, uint8_t *p, size_t n)
{
    switch (type) {
    case GS_PACKET_1:
    case GS_PACKET_2:
    case GS_PACKET_4: return big_endian(p, (size_t)type, n);
    case GS_PACKET_ASN1: /* SEQUENCE, long form of two bytes */
        p[0] = 0x30;
        p[1] = 0x82;
        return 2 + big_endian(p + 2, 2, n);
    case GS_PACKET_SUNRM: /* the last fragment */
        big_endian(p, 4, n);
        p[0] |= 0x80;
        return 4;
    case GS_PACKET_CDR: /* GIOP 1.0, big endian, request */
        memcpy(p, "GIOP\1\0\0\0", 8);
        return 8 + big_endian(p + 8, 4, n);
    case GS_PACKET_FCGI: /* version 1, type, request 1; no padding */
        memcpy(p, "\1\5\0\1", 4);
        big_endian(p + 4, 2, n);
        p[6] = p[7] = 0;
        return 8;
    case GS_PACKET_TPKT: /* RFC 1006: the length counts the header */
        p[0] = 3;
        p[1] = 0;
        return 2 + big_endian(p + 2, 2, n + 4);
    default: return 0;
    }
}

/* A frame with a pattern body on the wire; *shown..+*shown_n is what a receiver sees. */
static size_t make_frame(const struct shape *s, uint64_t seed, size_t n, uint8_t *wire, size_t *from)
{
    size_t header = make_header(s->type, wire, n);
    pattern_fill(wire + header, n, seed, 0);
    size_t total = header + n;
    if (s->type == GS_PACKET_LINE) {
        for (size_t i = 0; i < n; i++)
            wire[i] = (uint8_t)(wire[i] == '\n' ? ' ' : wire[i]);
        wire[total++] = '\n';
    }
    *from = s->header_stays ? 0 : header;
    return total;
}

enum { FRAMES = 40 };
struct traffic {
    uint8_t *wire;
    size_t n;
    struct {
        size_t at, n;
    } body[FRAMES];
};

static struct traffic make_traffic(struct world *w, const struct shape *s, struct rng *r)
{
    struct task *keeper = task_new(w, NULL); /* its buffer is freed with the world */
    struct traffic t = {.wire = keeper->buf = malloc(FRAMES * FRAME_MAX)};
    assert_non_null(t.wire);
    for (int i = 0; i < FRAMES; i++) {
        size_t from, most = s->type == GS_PACKET_1 ? 256 : i % 8 == 7 ? 1400 : 40;
        size_t k = make_frame(s, rng_next(r), rng_below(r, most), t.wire + t.n, &from);
        t.body[i].at = t.n + from;
        t.body[i].n = k - from;
        t.n += k;
    }
    return t;
}

static void run_send_cut(struct task *t)
{
    struct rng r = {t->seed};
    for (size_t at = 0; at < t->n && t->result == 0;) {
        size_t k = 1 + rng_below(&r, rng_below(&r, 4) ? 30 : 3000);
        k = k < t->n - at ? k : t->n - at;
        t->result = gs_stream_send(t->stream, t->buf + at, k);
        at += k;
    }
}

static void every_type_arrives_whole(struct world *w, bool active)
{
    struct rng r = {test_seed()};
    uint8_t got[FRAME_MAX];
    gs_opt o[] = {GS_INT(ACTIVE, active ? GS_ACTIVE_TRUE : GS_ACTIVE_FALSE), {.name = GS_OPT_END}};
    for (int i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        open_pair(w, active ? B_OWNED : NOBODY, NULL, o);
        SET(w->b, PACKET, s->type);
        struct traffic t = make_traffic(w, s, &r);
        struct task *sender = task_new(w, run_send_cut);
        sender->stream = w->a;
        sender->seed = rng_next(&r);
        sender->n = t.n;
        sender->buf = malloc(t.n);
        assert_non_null(sender->buf);
        memcpy(sender->buf, t.wire, t.n);
        task_go(sender);
        for (int k = 0; k < FRAMES; k++) {
            if (active) {
                expect_packet_of(w->mb, w->b, t.wire + t.body[k].at, t.body[k].n);
                continue;
            }
            assert_code(gs_stream_recv(w->b, got, sizeof got, 0, WAIT_MS), (long)t.body[k].n);
            assert_memory_equal(got, t.wire + t.body[k].at, t.body[k].n);
        }
        assert_ok(task_result(sender));
        close_all(w);
    }
}

static void every_type_arrives_whole_passive(struct world *w) { every_type_arrives_whole(w, false); }
static void every_type_arrives_whole_active(struct world *w) { every_type_arrives_whole(w, true); }

/* Types 1, 2, 4: what is sent with the type on is received with the type on, at the edges of its sizes. */
static void headers_of_sends_are_taken_off_again(struct world *w)
{
    static const struct {
        gs_packet_type type;
        size_t n[5];
    } row[] = {{GS_PACKET_1, {0, 1, 254, 255}}, {GS_PACKET_2, {0, 1, 256, 65535}}, {GS_PACKET_4, {0, 1, 65536, 200000}}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        gs_opt o[] = {GS_INT(PACKET, row[i].type), {.name = GS_OPT_END}};
        open_pair(w, NOBODY, o, o);
        for (size_t k = 0; k < 4; k++) {
            struct task *t = task_new(w, run_send_cut);
            size_t n = row[i].n[k];
            uint8_t *out = malloc(n + 1), *in = t->buf = malloc(n + 1);
            assert_true(out && in);
            pattern_fill(out, n, k, 0);
            /* Queued with an owner, so that one thread can do both ends. */
            if (k == 0) {
                assert_ok(gs_stream_controlling_process(w->a, GS_NO_MAILBOX, w->ma));
                SET(w->a, SEND_TIMEOUT, GS_NOWAIT);
            }
            int e = gs_stream_send(w->a, out, n);
            free(out);
            assert_ok(e);
            assert_code(gs_stream_recv(w->b, in, n + 1, 0, WAIT_MS), (long)n);
            assert_int_equal(pattern_check(in, n, k, 0), n);
        }
        close_all(w);
    }
}

static void packet_size_is_the_limit(struct world *w)
{
    char buf[64];
    open_pair(w, NOBODY, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)), GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(PACKET_SIZE, 16)));
    send_text(w->a, "sixteen bytes ok");
    recv_one(w->b, "sixteen bytes ok");
    send_text(w->a, "seventeen are not");
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), -EMSGSIZE);
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), GS_ECLOSED);
}

/* Only the header has come: nothing is waited for, nothing reserved. */
static void a_hostile_length_ends_the_stream_at_once(struct world *w)
{
    char buf[64];
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(PACKET_SIZE, 1 << 20)));
    assert_ok(gs_stream_send(w->a, "\377\377\377\377", 4));
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), -EMSGSIZE);
    close_all(w);
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_TPKT)));
    assert_ok(gs_stream_send(w->a, "bad magic", 9));
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, WAIT_MS), -EMSGSIZE);
}

/* An announced length is a claim, not memory. */
static void a_claimed_length_reserves_no_memory(struct world *w)
{
    struct census before, after;
    char buf[64];
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_4)));
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, 1), GS_ETIMEOUT);
    census_take(&before);
    assert_ok(gs_stream_send(w->a, "\100\0\0\0some", 8)); /* 1 GiB */
    assert_code(gs_stream_recv(w->b, buf, sizeof buf, 0, 20), GS_ETIMEOUT);
    census_take(&after);
    assert_true(after.bytes - before.bytes < 1024 * 1024);
}

static void a_line_longer_than_the_buffer_comes_in_pieces(struct world *w)
{
    char line[201], got[300];
    memset(line, 'x', sizeof line);
    line[200] = '\n';
    for (int active = 0; active < 2; active++) {
        gs_opt o[] = {GS_INT(PACKET, GS_PACKET_LINE), GS_INT(BUFFER, 64),
                      GS_INT(ACTIVE, active ? GS_ACTIVE_TRUE : GS_ACTIVE_FALSE), {.name = GS_OPT_END}};
        open_pair(w, active ? B_OWNED : NOBODY, NULL, o);
        assert_ok(gs_stream_send(w->a, line, sizeof line));
        send_text(w->a, "short\n");
        size_t n = 0, pieces = 0;
        while (n < sizeof line) {
            gs_msg m;
            size_t k;
            if (active) {
                expect(w->mb, GS_MSG_DATA, w->b, &m);
                k = m.packet.data.n;
                assert_true(k <= sizeof got - n);
                memcpy(got + n, m.packet.data.p, k);
            } else
                k = (size_t)assert_ok(gs_stream_recv(w->b, got + n, sizeof got - n, 0, WAIT_MS));
            assert_in_range(k, 1, 64);
            n += k;
            pieces++;
        }
        assert_int_equal(n, sizeof line);
        assert_int_equal(pieces, 4);
        assert_memory_equal(got, line, sizeof line);
        if (active)
            expect_packet(w->mb, w->b, "short\n");
        else
            recv_one(w->b, "short\n");
        close_all(w);
    }
}

static void a_line_may_end_with_another_byte(struct world *w)
{
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE), GS_INT(LINE_DELIMITER, ';')));
    send_text(w->a, "a;b\n;;");
    recv_one(w->b, "a;");
    recv_one(w->b, "b\n;");
    recv_one(w->b, ";");
}

static void header_splits_a_message(struct world *w)
{
    gs_msg m, kept;
    open_pair(w, B_OWNED, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), GS_OPTS(GS_INT(PACKET, GS_PACKET_2), GS_INT(HEADER, 3)));
    send_text(w->a, "HDRbody");
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_int_equal(m.packet.header.n, 3);
    assert_memory_equal(m.packet.header.p, "HDR", 3);
    assert_int_equal(m.packet.data.n, 4);
    assert_memory_equal(m.packet.data.p, "body", 4);
    assert_ok(gs_msg_keep(&m, &kept));
    send_text(w->a, "ab"); /* shorter than the header */
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_int_equal(m.packet.header.n, 2);
    assert_int_equal(m.packet.data.n, 0);
    assert_memory_equal(kept.packet.header.p, "HDR", 3);
    assert_memory_equal(kept.packet.data.p, "body", 4);
    gs_msg_drop(&kept);
}

/* ---- http ---- */

static const char request[] = "POST /form?x=1 HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\nX-Own: a\r\n\r\nbodyGET / HTTP/1.0\r\n";

static void expect_field(const gs_packet *p, int index, const char *name, const char *value)
{
    assert_int_equal(p->kind, GS_PK_HTTP_HEADER);
    assert_int_equal(p->u.field.index, index);
    assert_int_equal(p->u.field.name.n, strlen(name));
    assert_memory_equal(p->u.field.name.p, name, strlen(name));
    assert_int_equal(p->u.field.value.n, strlen(value));
    assert_memory_equal(p->u.field.value.p, value, strlen(value));
}

static int header_index(const char *name)
{
    for (int i = 1; gs_http_header_name(i); i++)
        if (strcmp(gs_http_header_name(i), name) == 0)
            return i;
    return 0;
}

static void a_request_is_received_packet_by_packet(struct world *w)
{
    char buf[128];
    gs_packet p;
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_HTTP_BIN)));
    send_text(w->a, request);
    assert_ok(gs_stream_recv_packet(w->b, buf, sizeof buf, &p, WAIT_MS));
    assert_int_equal(p.kind, GS_PK_HTTP_REQUEST);
    assert_string_equal(gs_http_method_name(p.u.request.method), "POST");
    assert_int_equal(p.u.request.uri, GS_URI_PATH);
    assert_int_equal(p.u.request.major, 1);
    assert_int_equal(p.u.request.minor, 1);
    assert_ok(gs_stream_recv_packet(w->b, buf, sizeof buf, &p, WAIT_MS));
    expect_field(&p, header_index("Host"), "Host", "example.org");
    assert_ok(gs_stream_recv_packet(w->b, buf, sizeof buf, &p, WAIT_MS));
    expect_field(&p, header_index("Content-Length"), "Content-Length", "4");
    assert_ok(gs_stream_recv_packet(w->b, buf, sizeof buf, &p, WAIT_MS));
    expect_field(&p, 0, "X-Own", "a");
    assert_ok(gs_stream_recv_packet(w->b, buf, sizeof buf, &p, WAIT_MS));
    assert_int_equal(p.kind, GS_PK_HTTP_EOH);
    SET(w->b, PACKET, GS_PACKET_RAW);
    recv_text(w->b, "body");
    SET(w->b, PACKET, GS_PACKET_HTTP_BIN);
    assert_ok(gs_stream_recv_packet(w->b, buf, sizeof buf, &p, WAIT_MS));
    assert_int_equal(p.kind, GS_PK_HTTP_REQUEST);
    assert_int_equal(p.u.request.minor, 0);
}

static void a_request_comes_as_messages(struct world *w)
{
    gs_msg m;
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_HTTP_BIN)));
    send_text(w->a, request);
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_int_equal(m.packet.kind, GS_PK_HTTP_REQUEST);
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    expect_field(&m.packet, header_index("Host"), "Host", "example.org");
    gs_msg kept;
    assert_ok(gs_msg_keep(&m, &kept));
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    expect_field(&m.packet, 0, "X-Own", "a");
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_int_equal(m.packet.kind, GS_PK_HTTP_EOH);
    SET(w->b, PACKET, GS_PACKET_RAW);
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_memory_equal(m.packet.data.p, "body", m.packet.data.n < 4 ? m.packet.data.n : 4);
    expect_field(&kept.packet, header_index("Host"), "Host", "example.org");
    gs_msg_drop(&kept);
}

static void a_bad_request_line_is_a_packet_too(struct world *w)
{
    gs_msg m;
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_HTTP_BIN)));
    send_text(w->a, "not http at all\r\nGET / HTTP/1.1\r\n");
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_int_equal(m.packet.kind, GS_PK_HTTP_ERROR);
    expect(w->mb, GS_MSG_DATA, w->b, &m);
    assert_int_equal(m.packet.kind, GS_PK_HTTP_REQUEST);
}

CASES(packet) = {
    CASE(every_type_arrives_whole_passive),
    CASE(every_type_arrives_whole_active),
    CASE(headers_of_sends_are_taken_off_again),
    CASE(packet_size_is_the_limit),
    CASE(a_hostile_length_ends_the_stream_at_once),
    CASE(a_claimed_length_reserves_no_memory),
    CASE(a_line_longer_than_the_buffer_comes_in_pieces),
    CASE(a_line_may_end_with_another_byte),
    CASE(header_splits_a_message),
    CASE(a_request_is_received_packet_by_packet),
    CASE(a_request_comes_as_messages),
    CASE(a_bad_request_line_is_a_packet_too),
    {0},
};
