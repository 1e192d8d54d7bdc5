/* stream_frames.c: any bytes, cut anywhere, through a real stream over a socket pair, passive, active and changing between them:
 * the packets must be those that gs_decode takes off the whole, and malformed input must end the stream where it ends there.
 *
 * An input is: a decoder as in packet_check.h, the mode, a seed for the cuts, and then the stream.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gensock/stream.h"
#include "packet/packet.h"
#include "packet_check.h"

enum { PASSIVE, ACTIVE, ONCE, CHANGING, MODES, ROOM = 1 << 16 };

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

/* What came: of raw streams the bytes, whose cuts mean nothing, else each packet. */
struct log {
    uint64_t hash, packets, bytes;
    bool malformed;
};

static void add_bytes(struct log *l, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        l->hash = (l->hash ^ ((const uint8_t *)p)[i]) * UINT64_C(0x100000001b3);
    l->bytes += n;
}

static void add_packet(struct log *l, gs_packet_type type, const gs_packet *p)
{
    add_bytes(l, p->data.p, p->data.n);
    if (type == GS_PACKET_RAW)
        return;
    uint32_t about[2] = {(uint32_t)p->kind, (uint32_t)p->data.n};
    add_bytes(l, about, sizeof about);
    l->packets++;
}

static struct log decode_whole(const gs_decoder *d, gs_bytes in)
{
    struct log l = {0};
    gs_decoder now = *d;
    for (;;) {
        gs_packet p;
        ssize_t used = gs_decode(&now, in.p, in.n, &p, NULL);
        l.malformed = used < 0;
        if (used <= 0)
            return l;
        add_packet(&l, d->type, &p);
        now.type = gsi_packet_next_type(d->type, now.type, p.kind);
        in.p += used;
        in.n -= (size_t)used;
    }
}

struct run {
    gs_decoder *d; /* its limits become those that the stream has */
    gs_stream s;
    gs_mailbox mb;
    struct log log;
    bool ended;
};

static void set_active(struct run *r, int64_t mode)
{
    int e = gs_stream_setopts(r->s, GS_OPTS(GS_INT(ACTIVE, mode)));
    CHECK(e == 0 || e == GS_ECLOSED);
}

static void take_passive(struct run *r)
{
    static uint8_t buf[ROOM];
    while (!r->ended) {
        gs_packet p;
        ssize_t n = gs_stream_recv_packet(r->s, buf, sizeof buf, &p, 0);
        if (n == GS_ETIMEOUT)
            return;
        if (n < 0) {
            CHECK(n == -EMSGSIZE || n == GS_ECLOSED);
            r->log.malformed |= n == -EMSGSIZE;
            r->ended = true;
        } else
            add_packet(&r->log, r->d->type, &p);
    }
}

static void take_active(struct run *r, int mode)
{
    gs_msg m;
    if (mode == ONCE && !r->ended)
        set_active(r, GS_ACTIVE_ONCE);
    for (int e; (e = gs_receive(r->mb, &m, 0)) != GS_ETIMEOUT;) {
        CHECK(e == 0 && m.stream.id == r->s.id);
        CHECK(m.kind == GS_MSG_DATA || m.kind == GS_MSG_ERROR || m.kind == GS_MSG_CLOSED || m.kind == GS_MSG_PASSIVE);
        CHECK(m.kind != GS_MSG_ERROR || m.error == -EMSGSIZE);
        if (m.kind == GS_MSG_DATA)
            add_packet(&r->log, r->d->type, &m.packet);
        r->log.malformed |= m.kind == GS_MSG_ERROR;
        r->ended |= m.kind == GS_MSG_CLOSED;
        if (m.kind == GS_MSG_PASSIVE)
            set_active(r, 3);
        else if (m.kind == GS_MSG_DATA && mode == ONCE)
            set_active(r, GS_ACTIVE_ONCE);
    }
}

static void take(struct run *r, int mode, unsigned step)
{
    bool active = mode == ACTIVE || mode == ONCE || (mode == CHANGING && step % 2);
    if (mode == CHANGING && !r->ended)
        set_active(r, active ? 3 : GS_ACTIVE_FALSE);
    if (active)
        take_active(r, mode);
    else
        take_passive(r);
}

static bool open_run(struct run *r, int fd, int mode)
{
    gs_decoder *d = r->d;
    CHECK(gs_mailbox_new(&r->mb) == 0);
    int64_t first = mode == ACTIVE ? GS_ACTIVE_TRUE : GS_ACTIVE_FALSE;
    int e = gs_stream_import(&r->s, fd,
                             GS_OPTS(GS_INT(ACTIVE, first), GS_INT(PACKET, d->type), GS_INT(BUFFER, d->line_length),
                                     GS_INT(PACKET_SIZE, d->packet_size), GS_INT(LINE_DELIMITER, d->line_delimiter)),
                             r->mb);
    gs_opt buffer[] = {{.name = GS_OPT_BUFFER}, {.name = GS_OPT_END}};
    CHECK(e < 0 || gs_stream_getopts(r->s, buffer) == 0);
    d->line_length = e < 0 ? 0 : (uint32_t)buffer[0].v.i;
    return e == 0;
}

static void run_stream(struct run *r, gs_bytes in, int mode, uint32_t seed)
{
    int fd[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
    bool open = open_run(r, fd[0], mode);
    for (unsigned step = 0; open && in.n && !r->ended; step++) {
        seed = seed * 1664525 + 1013904223;
        size_t n = 1 + (seed >> 16) % (seed >> 31 ? 7 : in.n);
        n = n < in.n ? n : in.n;
        CHECK(write(fd[1], in.p, n) == (ssize_t)n || errno == EPIPE);
        in.p += n;
        in.n -= n;
        take(r, mode, step);
    }
    close(fd[1]);
    for (unsigned step = 0; open && !r->ended && step < 4; step++)
        take(r, mode, step);
    CHECK(!open || r->ended);
    if (open)
        CHECK(gs_stream_close(r->s) == 0);
    else
        r->d = NULL;
    CHECK(gs_mailbox_free(r->mb) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const gs_packet_type types[] = {GS_PACKET_RAW, GS_PACKET_1, GS_PACKET_2, GS_PACKET_4, GS_PACKET_ASN1, GS_PACKET_SUNRM,
        GS_PACKET_CDR, GS_PACKET_FCGI, GS_PACKET_TPKT, GS_PACKET_LINE, GS_PACKET_HTTP, GS_PACKET_HTTPH, GS_PACKET_HTTP_BIN,
        GS_PACKET_HTTPH_BIN};
    gs_bytes in = {data, size};
    gs_decoder d;
    signal(SIGPIPE, SIG_IGN);
    if (!fuzz_take_decoder(types, sizeof types / sizeof types[0], &in, &d) || in.n < 3 || in.n > ROOM / 2)
        return 0;
    /* As in Erlang, a long line comes in pieces or is malformed by how much of it is there: with both limits cuts do matter. */
    if (d.type == GS_PACKET_LINE)
        d.packet_size = 0;
    /* An empty http line that is all there is passes every limit, also that of 1. */
    if (d.type >= GS_PACKET_HTTP) {
        d.packet_size += d.packet_size == 1;
        d.line_length += d.line_length < 2 ? 2 : 0;
    }
    int mode = in.p[0] % MODES;
    uint32_t seed = (uint32_t)in.p[1] << 8 | in.p[2];
    in.p += 3;
    in.n -= 3;
    struct run r = {.d = &d};
    run_stream(&r, in, mode, seed);
    if (!r.d) /* no stream has such limits */
        return 0;
    struct log whole = decode_whole(&d, in);
    CHECK(r.log.hash == whole.hash && r.log.packets == whole.packets && r.log.bytes == whole.bytes);
    CHECK(r.log.malformed == whole.malformed);
    return 0;
}
