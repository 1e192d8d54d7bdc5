/* input.c: what waits above a descriptor: bytes that a layer has decrypted, those of a transport without descriptor, and
 * connections.
 *
 * Who select()s on the descriptor of ei must hear of them, and gensock tells of what is above by giving it. So after each
 * read that left nothing here, what there is already is taken out (a read that does not wait), and the bell rings while any
 * is kept or the end is known. What cannot be found out for lack of memory rings as well: bytes never hide.
 */
#include <errno.h>
#include <string.h>

#include "ei/bridge.h"

enum { AHEAD = 32 * 1024 /* two records of TLS */ };

static void set_bell(struct gsi_ei_box *b, bool rings)
{
    uint64_t count = 1;
    if (b->way == GSI_EI_PLAIN || rings == b->rings)
        return;
    if ((rings ? gsi_ei_sys.write(b->bell, &count, sizeof count) : gsi_ei_sys.read(b->bell, &count, sizeof count)) > 0)
        b->rings = rings;
}

static size_t ahead_n(const struct gsi_ei_box *b) { return b->ahead_end - b->ahead_at; }

static void drop_ahead(struct gsi_ei_box *b)
{
    gsi_ei_sys.free(b->ahead);
    b->ahead = NULL;
    b->ahead_at = b->ahead_end = 0;
}

static size_t take_ahead(struct gsi_ei_box *b, void *p, size_t n)
{
    n = n < ahead_n(b) ? n : ahead_n(b);
    memcpy(p, b->ahead + b->ahead_at, n);
    b->ahead_at += n;
    return n;
}

/* Nothing of it says that the stream has ended. */
static bool passes(int e) { return e == GS_ETIMEOUT || e == -ENOMEM || e == -EALREADY || e == -EINVAL; }

/* ---- bytes ---- */

/* BESIDE: what is above now. 0: ahead or ended; GS_ETIMEOUT: nothing. */
static int look_beside(struct gsi_ei_box *b)
{
    if (!b->ahead && !(b->ahead = gsi_ei_sys.malloc(AHEAD)))
        return -ENOMEM;
    ssize_t k = gs_stream_recv(gsi_ei_box_stream(b), b->ahead, AHEAD, 0, 0);
    b->ahead_at = 0;
    b->ahead_end = k > 0 ? (size_t)k : 0;
    if (k < 0)
        drop_ahead(b);
    if (k < 0 && !passes((int)k))
        b->ended = (int)k;
    return k > 0 || b->ended ? 0 : (int)k;
}

static int keep(struct gsi_ei_box *b, gs_bytes data)
{
    drop_ahead(b);
    if (!(b->ahead = gsi_ei_sys.malloc(data.n ? data.n : 1)))
        return -ENOMEM;
    memcpy(b->ahead, data.p, data.n);
    b->ahead_end = data.n;
    return 0;
}

/* MAIL: the next message. The mailbox is ready for what comes after only when it was asked in vain. */
static int receive_bytes(struct gsi_ei_box *b, int timeout_ms)
{
    gs_stream s = gsi_ei_box_stream(b);
    while (!ahead_n(b) && !b->ended) {
        gs_msg m;
        int e = b->armed ? 0 : gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_ONCE)));
        b->armed = e == 0;
        if (e == 0)
            e = gs_receive_from(b->mailbox, s, &m, timeout_ms);
        if (e < 0 && passes(e))
            return e;
        if (e < 0)
            b->ended = e;
        else if (m.kind == GS_MSG_DATA) {
            b->armed = false;
            b->ended = keep(b, m.packet.data); /* bytes that cannot be kept end the stream: none is ever missing in the middle */
        } else if (m.kind == GS_MSG_CLOSED || m.kind == GS_MSG_ERROR)
            b->ended = m.kind == GS_MSG_ERROR ? m.error : GS_ECLOSED;
    }
    return 0;
}

/* After a read: the bell tells what is left. */
static void look_above(struct gsi_ei_box *b)
{
    int e = 0;
    if (!ahead_n(b) && !b->ended)
        e = b->way == GSI_EI_MAIL ? receive_bytes(b, 0) : look_beside(b);
    set_bell(b, ahead_n(b) || b->ended || (e < 0 && e != GS_ETIMEOUT));
}

/* The peer's end is 0; our own is not. */
static ssize_t end_of(struct gsi_ei_box *b, int code)
{
    return code == GS_ECLOSED ? gsi_ei_box_is_open(b) ? 0 : GS_EBADARG : code;
}

ssize_t gsi_ei_input_read(struct gsi_ei_box *b, void *p, size_t n, int timeout_ms)
{
    if (b->way == GSI_EI_PLAIN) {
        ssize_t k = timeout_ms == GS_INFINITY ? gsi_ei_plain_read(b, p, n) : -EAGAIN;
        if (k != -EAGAIN)
            return k;
        k = gs_stream_recv(gsi_ei_box_stream(b), p, n, 0, timeout_ms);
        return k < 0 ? end_of(b, (int)k) : k;
    }
    ssize_t got = 0;
    if (!ahead_n(b) && !b->ended) {
        got = b->way == GSI_EI_MAIL ? receive_bytes(b, timeout_ms) : gs_stream_recv(gsi_ei_box_stream(b), p, n, 0, timeout_ms);
        if (got < 0 && passes((int)got)) {
            if (b->way == GSI_EI_MAIL || b->rings)
                look_above(b);
            return got;
        }
        if (got < 0)
            b->ended = (int)got;
    }
    if (got <= 0 && ahead_n(b))
        got = (ssize_t)take_ahead(b, p, n);
    int ended = got > 0 ? 0 : b->ended;
    look_above(b);
    return ended ? end_of(b, ended) : got;
}

/* ---- connections ---- */

/* It goes to a mailbox of its own at once, in the turn that brought it. */
static int keep_connection(struct gsi_ei_box *b, gs_stream fresh)
{
    gs_mailbox home = GS_NO_MAILBOX;
    int e = gs_mailbox_new(&home);
    if (e == 0)
        e = gs_stream_controlling_process(fresh, b->mailbox, home);
    if (e < 0) {
        (void)gs_stream_close(fresh);
        (void)gs_mailbox_free(home);
        return e;
    }
    b->waiting = fresh;
    b->waiting_mailbox = home;
    return 0;
}

static int receive_connection(struct gsi_ei_box *b, int timeout_ms)
{
    gs_stream s = gsi_ei_box_stream(b);
    while (!b->waiting.id) {
        gs_msg m;
        int e = b->armed ? 0 : gs_stream_setopts(s, GS_OPTS(GS_INT(ACCEPT, GS_ACTIVE_ONCE)));
        b->armed = e == 0;
        if (e == 0)
            e = gs_receive_from(b->mailbox, s, &m, timeout_ms);
        if (e < 0)
            return e;
        if (m.kind != GS_MSG_ACCEPT)
            continue;
        b->armed = false;
        e = m.error < 0 ? m.error : keep_connection(b, m.fresh);
        if (e < 0)
            return e;
    }
    return 0;
}

static void look_for_connection(struct gsi_ei_box *b)
{
    int e = receive_connection(b, 0);
    set_bell(b, e != GS_ETIMEOUT);
}

int gsi_ei_input_accept(struct gsi_ei_box *b, gs_stream *out, gs_mailbox *mailbox, int timeout_ms)
{
    *mailbox = GS_NO_MAILBOX;
    if (b->way != GSI_EI_MAIL)
        return gs_stream_accept(gsi_ei_box_stream(b), out, GS_NO_MAILBOX, timeout_ms, NULL);
    int e = receive_connection(b, timeout_ms);
    if (e == 0) {
        *out = b->waiting;
        *mailbox = b->waiting_mailbox;
        b->waiting = GS_NO_STREAM;
    }
    look_for_connection(b);
    return e;
}

/* ---- life ---- */

void gsi_ei_input_begin(struct gsi_ei_box *b)
{
    if (b->way == GSI_EI_PLAIN)
        return;
    if (b->role == GSI_EI_CONNECTION)
        look_above(b);
    else if (b->way == GSI_EI_MAIL)
        look_for_connection(b);
}

void gsi_ei_input_free(struct gsi_ei_box *b)
{
    if (b->waiting.id) {
        (void)gs_stream_close(b->waiting);
        (void)gs_mailbox_free(b->waiting_mailbox);
    }
    if (b->mailbox.id)
        (void)gs_mailbox_free(b->mailbox);
    if (b->bell >= 0)
        (void)gsi_ei_sys.close(b->bell);
    drop_ahead(b);
    b->bell = -1;
    b->waiting = GS_NO_STREAM;
    b->mailbox = GS_NO_MAILBOX;
}
