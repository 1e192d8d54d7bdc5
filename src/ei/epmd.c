/* epmd.c: which port a node listens at, told and asked over any transport. One connection for each question, as epmd wants it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ei/epmd_wire.h"

enum { FOREVER = -1, EI_DISTRIBUTION = 6 }; /* the version that ei of OTP 25 and later speaks */

struct call {
    const char *epmd;
    char standard[32]; /* room for the address of this host's */
    int64_t deadline_ms;
    gs_stream s;
};

static const char late[] = "epmd at %s does not answer in time";

/* ---- time ---- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int left_ms(const struct call *c)
{
    if (c->deadline_ms == FOREVER)
        return GS_INFINITY;
    int64_t left = c->deadline_ms - now_ms();
    return left <= 0 ? 0 : left < INT_MAX ? (int)left : INT_MAX;
}

/* ---- the connection ---- */

/* As epmd's own clients find it: the loopback of this host, and the port that the environment tells. */
static int standard_address(struct call *c)
{
    const char *text = getenv("ERL_EPMD_PORT");
    unsigned long port = GS_EPMD_PORT;
    if (text) {
        size_t n = strlen(text);
        port = n > 0 && n < 6 && strspn(text, "0123456789") == n ? strtoul(text, NULL, 10) : 0;
        if (port == 0 || port > UINT16_MAX)
            return gs_fail(-EINVAL, "ERL_EPMD_PORT of the environment is no port: a number from 1 to 65535");
    }
    snprintf(c->standard, sizeof c->standard, "tcp://127.0.0.1:%lu", port);
    c->epmd = c->standard;
    return 0;
}

static int check_options(const gs_opt *opts)
{
    for (; opts && opts->name != GS_OPT_END; opts++)
        if (opts->name == GS_OPT_ACTIVE || opts->name == GS_OPT_PACKET || opts->name == GS_OPT_HEADER ||
            opts->name == GS_OPT_SEND_TIMEOUT)
            return gs_fail(-EINVAL, "option %s: a connection to epmd has its own", gs_opt_name_text(opts->name));
    return 0;
}

static int call_open(struct call *c, const char *epmd, const gs_opt *opts, int timeout_ms)
{
    if (timeout_ms < 0 && timeout_ms != GS_INFINITY)
        return GS_EBADARG;
    c->deadline_ms = timeout_ms == GS_INFINITY ? FOREVER : now_ms() + timeout_ms + (timeout_ms > 0); /* now_ms rounds down */
    c->epmd = epmd;
    int e = check_options(opts);
    if (e == 0 && !epmd)
        e = standard_address(c);
    if (e == 0)
        e = gs_stream_connect(&c->s, c->epmd, opts, GS_NO_MAILBOX, timeout_ms);
    if (e == -ECONNREFUSED)
        return gs_fail(e, "nobody listens at %s: is epmd running there?", c->epmd);
    if (e == GS_ETIMEOUT)
        return gs_fail(e, late, c->epmd);
    return e;
}

/* Whatever this process made the default of its connections. */
static int call_set_up(struct call *c)
{
    return gs_stream_setopts(c->s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(PACKET, GS_PACKET_RAW), GS_INT(HEADER, 0),
                                           GS_INT(SHOW_ECONNRESET, true), GS_INT(SEND_TIMEOUT, left_ms(c))));
}

static int call_read(struct call *c, struct gsi_epmd *m)
{
    for (;;) {
        uint8_t in[2048];
        ssize_t n = gs_stream_recv(c->s, in, sizeof in, 0, left_ms(c));
        if (n == GS_ECLOSED)
            return gsi_epmd_end(m);
        if (n < 0)
            return (int)n;
        int e = gsi_epmd_feed(m, in, (size_t)n);
        if (e != 0)
            return e < 0 ? e : 0;
        if (left_ms(c) == 0) /* who answers drop by drop has no more time than who does not answer */
            return GS_ETIMEOUT;
    }
}

/* What a person reads about a question without an answer. */
static int call_failed(const struct call *c, const struct gsi_epmd *m, const char *name, int e)
{
    switch (e) {
    case GS_ETIMEOUT: return gs_fail(e, late, c->epmd);
    case GS_EINVALID: return gs_fail(e, "what answers at %s is no epmd", c->epmd);
    case GS_ENXDOMAIN: return gs_fail(e, "epmd at %s knows no node %s", c->epmd, name);
    case -EEXIST: return gs_fail(e, "epmd at %s refuses the name %s: a node has it already", c->epmd, name);
    case GS_ECLOSED:
        if (m->state == EPMD_EXPECT_ALIVE2_RESP)
            return gs_fail(e, "epmd at %s closed without an answer: it registers only those who come from its own host", c->epmd);
        return gs_fail(e, "epmd at %s closed before its answer was whole", c->epmd);
    default: return e;
    }
}

/* Sends the request and reads the answer; the stream is open after 0 only. */
static int call_ask(struct call *c, struct gsi_epmd *m, const uint8_t *request, size_t n, const char *name)
{
    int e = call_set_up(c);
    if (e == 0)
        e = gs_stream_send(c->s, request, n);
    if (e == 0)
        e = call_read(c, m);
    if (e == 0)
        return 0;
    gs_stream_close(c->s);
    return call_failed(c, m, name, e);
}

/* ---- the three questions ---- */

static int check_name(const char *alive)
{
    size_t n = strnlen(alive, GS_EPMD_NAME_MAX + 1);
    if (n > GS_EPMD_NAME_MAX || !gsi_epmd_name_ok(alive, n))
        return gs_fail(-EINVAL, "the name of the node: 1 to %d characters of UTF-8, none of them a control", EPMD_NAME_CHARS);
    if (memchr(alive, '@', n))
        return gs_fail(-EINVAL, "the name %s: epmd knows nodes by what stands before the @", alive);
    return 0;
}

int gs_epmd_lookup(const char *epmd, const gs_opt *opts, const char *alive, gs_epmd_node *out, int timeout_ms)
{
    struct call c = {0};
    if (!alive || !out)
        return GS_EBADARG;
    int e = check_name(alive);
    if (e == 0)
        e = call_open(&c, epmd, opts, timeout_ms);
    if (e < 0)
        return e;
    uint8_t request[EPMD_REQUEST_MAX];
    struct gsi_epmd m;
    gsi_epmd_expect_port(&m, alive, out);
    e = call_ask(&c, &m, request, gsi_epmd_port_please2(request, alive), alive);
    gs_stream_close(c.s);
    return e;
}

static gs_epmd_node with_defaults(const gs_epmd_node *node)
{
    gs_epmd_node n = *node;
    if (n.type == 0)
        n.type = GS_EPMD_HIDDEN;
    if (n.highest == 0)
        n.highest = n.lowest = EI_DISTRIBUTION;
    return n;
}

int gs_epmd_register(const char *epmd, const gs_opt *opts, const gs_epmd_node *node, gs_stream *out, uint32_t *creation,
                     int timeout_ms)
{
    struct call c = {0};
    if (!node || !out)
        return GS_EBADARG;
    if (node->extra_len > GS_EPMD_EXTRA_MAX)
        return gs_fail(-EINVAL, "the node's extra is longer than %d bytes", GS_EPMD_EXTRA_MAX);
    if (node->port == 0)
        return gs_fail(-EINVAL, "the node's port is 0: register the one that it listens at");
    int e = check_name(node->name);
    if (e == 0)
        e = call_open(&c, epmd, opts, timeout_ms);
    if (e < 0)
        return e;
    gs_epmd_node said = with_defaults(node);
    uint8_t request[EPMD_REQUEST_MAX];
    uint32_t given;
    struct gsi_epmd m;
    gsi_epmd_expect_creation(&m, &given);
    e = call_ask(&c, &m, request, gsi_epmd_alive2(request, &said), said.name);
    if (e < 0)
        return e;
    *out = c.s;
    if (creation)
        *creation = given;
    return 0;
}

ssize_t gs_epmd_names(const char *epmd, const gs_opt *opts, gs_epmd_node *out, size_t cap, int timeout_ms)
{
    struct call c = {0};
    if (!out && cap > 0)
        return GS_EBADARG;
    int e = call_open(&c, epmd, opts, timeout_ms);
    if (e < 0)
        return e;
    uint8_t request[EPMD_REQUEST_MAX];
    struct gsi_epmd m;
    gsi_epmd_expect_names(&m, out, cap);
    e = call_ask(&c, &m, request, gsi_epmd_names(request), "");
    gs_stream_close(c.s);
    return e < 0 ? e : (ssize_t)m.n;
}
