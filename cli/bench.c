/* bench.c: `gensock bench ADDRESS`: a closed loop against an echo server: each connection keeps `depth` packets on their way,
 * and every packet that comes back is compared with what was sent. One mailbox, one thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "histogram.h"

enum { SIZE_MOST = 16 * 1024 * 1024, DRAIN_MS = 5000, NUMBER_LEN = 8 };

enum phase { WARMING, MEASURING, DRAINING };

struct connection {
    gs_stream s;
    uint64_t sent, back;
    uint64_t owed;     /* packets to send that a full queue has turned away */
    uint64_t *sent_ns; /* of packet i at i % depth */
};

struct bench {
    struct cli_args a;
    long connections, depth, size, seconds, warmup_ms;
    gs_mailbox mb;
    struct connection *c;
    uint8_t *packet, *expected; /* a number, and a pattern that stays */
    enum phase phase;
    uint64_t on_their_way, messages, began_ns, ended_ns;
    uint64_t warm_ref, end_ref;
    struct histogram *latency;
};

static void put_number(const struct bench *b, uint8_t *p, uint64_t v)
{
    for (long i = 0; i < NUMBER_LEN && i < b->size; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

static int send_one(struct bench *b, struct connection *c)
{
    put_number(b, b->packet, c->sent);
    int e = gs_stream_send(c->s, b->packet, (size_t)b->size);
    if (e == -EAGAIN) {
        c->owed++;
        return 0;
    }
    if (e < 0)
        return cli_fail(&b->a, "sending", e);
    c->sent_ns[c->sent % (uint64_t)b->depth] = cli_now_ns();
    c->sent++;
    b->on_their_way++;
    return CLI_OK;
}

static int send_owed(struct bench *b, struct connection *c)
{
    uint64_t n = c->owed;
    c->owed = 0;
    for (int code; n > 0; n--) {
        if ((code = send_one(b, c)) != CLI_OK)
            return code;
        if (c->owed) {
            c->owed += n - 1;
            break;
        }
    }
    return CLI_OK;
}

static int on_data(struct bench *b, const gs_msg *m)
{
    struct connection *c = m->user;
    put_number(b, b->expected, c->back);
    if (c->back == c->sent || m->packet.data.n != (size_t)b->size || memcmp(m->packet.data.p, b->expected, (size_t)b->size))
        return cli_say(&b->a, CLI_PROTOCOL, "packet %llu of a connection came back wrong: the peer is no echo server",
                       (unsigned long long)c->back);
    if (b->phase == MEASURING) {
        b->messages++;
        histogram_add(b->latency, cli_now_ns() - c->sent_ns[c->back % (uint64_t)b->depth]);
    }
    c->back++;
    b->on_their_way--;
    if (b->phase == DRAINING)
        return CLI_OK;
    const gs_opt *active = cli_opt(&b->a, GS_OPT_ACTIVE);
    if (active->v.i == GS_ACTIVE_ONCE) {
        gs_opt once[] = {*active, {.name = GS_OPT_END}};
        int e = gs_stream_setopts(c->s, once);
        if (e < 0)
            return cli_fail(&b->a, "setopts", e);
    }
    return send_one(b, c);
}

static int start_timer(struct bench *b, long after_ms, uint64_t *ref)
{
    int e = gs_timer_start(b->mb, (int)after_ms, NULL, ref);
    return e < 0 ? cli_fail(&b->a, "timer", e) : CLI_OK;
}

static int on_timer(struct bench *b, const gs_msg *m)
{
    if (m->ref == b->warm_ref) {
        b->phase = MEASURING;
        b->began_ns = cli_now_ns();
        return start_timer(b, b->seconds * 1000, &b->end_ref);
    }
    b->phase = DRAINING;
    b->ended_ns = cli_now_ns();
    for (long i = 0; i < b->connections; i++) {
        b->c[i].owed = 0;
        /* once or N may have left it passive */
        int e = gs_stream_setopts(b->c[i].s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_TRUE)));
        if (e < 0)
            return cli_fail(&b->a, "setopts", e);
    }
    return CLI_OK;
}

static int on_message(struct bench *b, const gs_msg *m)
{
    gs_opt again[] = {*cli_opt(&b->a, GS_OPT_ACTIVE), {.name = GS_OPT_END}};
    switch (m->kind) {
    case GS_MSG_DATA:
        return on_data(b, m);
    case GS_MSG_DRAINED:
        return b->phase == DRAINING ? CLI_OK : send_owed(b, m->user);
    case GS_MSG_TIMER:
        return on_timer(b, m);
    case GS_MSG_PASSIVE: {
        int e = gs_stream_setopts(m->stream, again);
        return e < 0 ? cli_fail(&b->a, "setopts", e) : CLI_OK;
    }
    case GS_MSG_ERROR:
        return cli_fail(&b->a, "a connection", m->error);
    case GS_MSG_CLOSED:
        return cli_fail(&b->a, "a connection", GS_ECLOSED);
    default:
        return CLI_OK;
    }
}

static int load(struct bench *b)
{
    gs_msg m;
    int code = start_timer(b, b->warmup_ms, &b->warm_ref);
    for (long i = 0; i < b->connections && code == CLI_OK; i++)
        for (long k = 0; k < b->depth && code == CLI_OK; k++)
            code = send_one(b, &b->c[i]);
    while (code == CLI_OK && !(b->phase == DRAINING && b->on_their_way == 0)) {
        int e = gs_receive(b->mb, &m, b->phase == DRAINING ? DRAIN_MS : GS_INFINITY);
        if (e == GS_ETIMEOUT)
            return cli_say(&b->a, CLI_TIMEOUT, "%llu packets did not come back within %d ms",
                           (unsigned long long)b->on_their_way, DRAIN_MS);
        code = e < 0 ? cli_fail(&b->a, "receiving", e) : on_message(b, &m);
    }
    return code;
}

static int open_all(struct bench *b)
{
    for (long i = 0; i < b->connections; i++) {
        struct connection *c = &b->c[i];
        c->sent_ns = calloc((size_t)b->depth, sizeof *c->sent_ns);
        if (!c->sent_ns)
            return cli_say(&b->a, CLI_FAILURE, "no memory");
        int e = gs_stream_connect(&c->s, b->a.arg[0], b->a.opts, b->mb, b->a.timeout_ms);
        if (e == 0)
            e = gs_stream_setopts(c->s, GS_OPTS({.name = GS_OPT_USER, .v.ptr = c}));
        if (e < 0)
            return cli_connect_failed(&b->a, b->a.arg[0], e);
    }
    return CLI_OK;
}

static void print_result(const struct bench *b)
{
    static const struct {
        const char *name;
        double share;
    } shares[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
    double seconds = (double)(b->ended_ns - b->began_ns) / 1e9, rate = (double)b->messages / seconds;
    double mb = rate * (double)b->size / 1e6;
    const char *between = "";
    if (b->a.json)
        printf("{\"connections\":%ld,\"depth\":%ld,\"size\":%ld,\"seconds\":%.3f,\"messages\":%llu,\"rate\":%.1f,"
               "\"megabytes_per_second\":%.3f,\"latency_us\":{",
               b->connections, b->depth, b->size, seconds, (unsigned long long)b->messages, rate, mb);
    else
        printf("%ld connections, depth %ld, %ld bytes, %.2f s\n%llu messages, %.0f/s, %.1f MB/s each way\nlatency (µs):",
               b->connections, b->depth, b->size, seconds, (unsigned long long)b->messages, rate, mb);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++, between = ",") {
        double us = (double)histogram_at(b->latency, shares[i].share) / 1e3;
        if (b->a.json)
            printf("%s\"%s\":%.3f", between, shares[i].name, us);
        else
            printf("%s  %s %.1f", between, shares[i].name, us);
    }
    puts(b->a.json ? "}}" : "");
}

static void close_all(void *arg) { gs_mailbox_free(*(gs_mailbox *)arg); }

static int run(struct bench *b)
{
    b->c = calloc((size_t)b->connections, sizeof *b->c);
    b->packet = malloc((size_t)b->size);
    b->expected = malloc((size_t)b->size);
    b->latency = calloc(1, sizeof *b->latency);
    if (!b->c || !b->packet || !b->expected || !b->latency)
        return cli_say(&b->a, CLI_FAILURE, "no memory");
    for (long i = 0; i < b->size; i++)
        b->packet[i] = b->expected[i] = (uint8_t)(i * 131 + 7);
    int e = gs_mailbox_new(&b->mb);
    if (e < 0)
        return cli_fail(&b->a, "starting", e);
    int code = cli_prepare(&b->a, b->a.arg[0]);
    cli_signals_at_death(close_all, &b->mb);
    if (code == CLI_OK)
        code = open_all(b);
    if (code == CLI_OK)
        code = load(b);
    cli_signals_at_death(NULL, NULL);
    if (code == CLI_OK && b->messages == 0)
        code = cli_say(&b->a, CLI_TIMEOUT, "nothing came back in %ld s", b->seconds);
    if (code == CLI_OK)
        print_result(b);
    return cli_finish_stdout(&b->a, code);
}

/* The echo needs to know where a packet ends. */
static bool is_framed(const struct cli_args *a)
{
    int64_t type = cli_opt(a, GS_OPT_PACKET)->v.i;
    return type == GS_PACKET_1 || type == GS_PACKET_2 || type == GS_PACKET_4;
}

static const char usage[] =
    "ADDRESS [--connections N] [--depth N] [--size BYTES] [--duration S] [--warmup MS] [--json] [--OPTION VALUE …]\n"
    "Keeps `depth` packets on their way on each connection to an echo server, checks what comes back, and prints messages per\n"
    "second and latency percentiles. Defaults: 100 connections, depth 1, 64 bytes, 5 s after a warm-up of 500 ms,\n"
    "--packet 4 --active true, on tcp --nodelay true. The server needs the same --packet (1, 2 or 4).\n";

int cli_bench(int argc, char **argv)
{
    struct bench b = {.a = {.command = "bench", .usage = usage, .n_args = 1},
                      .connections = 100, .depth = 1, .size = 64, .seconds = 5, .warmup_ms = 500};
    const struct cli_flag flags[] = {
        {"connections", CLI_NUMBER, &b.connections, 1, 100000},
        {"depth", CLI_NUMBER, &b.depth, 1, 100000},
        {"size", CLI_NUMBER, &b.size, 1, SIZE_MOST},
        {"duration", CLI_NUMBER, &b.seconds, 1, 86400},
        {"warmup", CLI_NUMBER, &b.warmup_ms, 0, 60000},
        {NULL, CLI_FLAG, NULL, 0, 0},
    };
    cli_default(&b.a, (gs_opt)GS_INT(PACKET, GS_PACKET_4));
    cli_default(&b.a, (gs_opt)GS_INT(ACTIVE, GS_ACTIVE_TRUE));
    int code = cli_parse(&b.a, argc, argv, flags);
    if (code < 0 && !is_framed(&b.a))
        code = cli_say(&b.a, CLI_USAGE, "--packet 1, 2 or 4 is wanted: else nobody knows where a message ends");
    if (code < 0)
        code = cli_check_active(&b.a);
    if (code < 0) {
        cli_nowait_sends(&b.a);
        /* Or a packet would wait for the answer of the one before. */
        if (!strncmp(b.a.arg[0], "tcp://", 6) || !strncmp(b.a.arg[0], "tls://", 6) || cli_is_tailnet(b.a.arg[0]))
            cli_fallback(&b.a, (gs_opt)GS_INT(NODELAY, true));
        code = run(&b);
        gs_mailbox_free(b.mb);
        for (long i = 0; b.c && i < b.connections; i++)
            free(b.c[i].sent_ns);
        free(b.c);
        free(b.packet);
        free(b.expected);
        free(b.latency);
    }
    return cli_args_fini(&b.a, code);
}
