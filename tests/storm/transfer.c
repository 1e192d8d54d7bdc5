/* The ownership-transfer storm (promise P2): streams change their owner, their mode and their framing at random under full
 * traffic, while threads that own nothing receive, close, switch and steal; each frame must arrive once, in order, whole.
 *
 *     storm_transfer [--seconds S] [--transfers N] [--transport tcp|unix|mem]
 */
#include "transfer_peer.h"

enum { OWNERS = 4, MORTAL = OWNERS, PEERS = 2, CHAOS = 2, ACCEPTORS = 2, QUIT = 7, NOISE = 8, BIG = 1 << 16 };

/* The last owner is mortal: it frees its mailbox now and then. */
static _Atomic uint64_t mailboxes[OWNERS + 1];
static _Atomic bool quit_mortal;

static gs_mailbox mailbox(uint64_t i) { return (gs_mailbox){atomic_load(&mailboxes[i])}; }

struct owner {
    int me;
    gs_mailbox mb;
    struct rng r;
    uint8_t *big;
};

/* ---- modes ---- */

static void arm(gs_stream s, struct rng *r)
{
    uint64_t k = rng_below(r, 4);
    int64_t mode = k < 2 ? GS_ACTIVE_TRUE : k == 2 ? GS_ACTIVE_ONCE : 1 + (int64_t)rng_below(r, 40);
    only_answers(gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, mode))), GS_ECLOSED, -EINVAL);
}

static void arm_if_passive(struct owner *o, gs_stream s)
{
    gs_opt now[] = {{.name = GS_OPT_ACTIVE}, {.name = GS_OPT_END}};
    if (only_answers(gs_stream_getopts(s, now), GS_ECLOSED) == 0 && now[0].v.i == GS_ACTIVE_FALSE) {
        arm(s, &o->r);
        COUNT(rearmed);
    }
}

static bool make_passive(gs_stream s, gs_packet_type type)
{
    return only_answers(gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE), GS_INT(PACKET, type))), GS_ECLOSED) == 0;
}

/* ---- what an owner does with its stream, in its turn ---- */

static void give(struct owner *o, gs_stream s, struct con *c)
{
    uint64_t to = rng_below(&o->r, 200) ? rng_below(&o->r, OWNERS) : MORTAL;
    if (to == MORTAL && c)
        atomic_store(&c->doomed, true);
    else if (to == MORTAL)
        return;
    int e = gs_stream_controlling_process(s, o->mb, mailbox(to));
    if (e == 0)
        COUNT(transfers);
    else if (e != GS_ECLOSED && !(e == GS_EBADARG && to == MORTAL) && !(e == GS_ENOTOWNER && o->me == MORTAL))
        wrong("transfer %d -> %d: %s", o->me, (int)to, gs_error_name(e));
}

static void receive_passive(struct owner *o, gs_stream s)
{
    if (!make_passive(s, GS_PACKET_4))
        return;
    for (uint64_t k = rng_below(&o->r, 4); k--;) {
        bool fresh;
        ssize_t n = gs_stream_recv(s, o->big, BIG, 0, (int)rng_below(&o->r, 3));
        if (n >= 0) {
            got_frame(s.id, o->big, (size_t)n, "passive", &fresh);
            COUNT(passive);
        } else
            only_answers(n, GS_ECLOSED, GS_ETIMEOUT, -EINVAL, -EALREADY);
    }
    if (rng_below(&o->r, 2))
        arm(s, &o->r); /* else the caller does */
}

/* Exactly n raw bytes, whatever others do to the mode meanwhile. False: the stream is over. */
static bool read_exact(gs_stream s, uint8_t *to, size_t n, struct con *c)
{
    struct pulse pulse = pulse_of(c);
    for (;;) {
        ssize_t k = gs_stream_recv(s, to, n, n, STALL_MS);
        if (k == (ssize_t)n)
            return true;
        if (k >= 0) { /* the peer's end within a frame: only an aborted connection may */
            if (!atomic_load(&c->doomed))
                wrong("raw: connection %u: %zd of %zu bytes", number_of(c), k, n);
            return false;
        }
        if (k == -EINVAL || k == -EALREADY) {
            if (!make_passive(s, GS_PACKET_RAW))
                return false;
            nap_us(20);
            continue;
        }
        only_answers(k, GS_ECLOSED, GS_ETIMEOUT);
        if (k != GS_ETIMEOUT || !moves(c, &pulse, "raw"))
            return false;
    }
}

/* The packet option changes in the middle of traffic: one frame is read by hand. */
static void receive_raw(struct owner *o, gs_stream s, struct con *c)
{
    if (!make_passive(s, GS_PACKET_RAW))
        return;
    uint32_t length;
    bool fresh;
    ssize_t k = gs_stream_recv(s, &length, 4, 4, 1);
    if (k == 4 && ntohl(length) <= FRAME_MAX) {
        if (read_exact(s, o->big, ntohl(length), c)) {
            got_frame(s.id, o->big, ntohl(length), "raw", &fresh);
            COUNT(raw);
        }
    } else if (k == 4)
        wrong("raw: connection %u: a length of %u", number_of(c), ntohl(length));
    else
        only_answers(k, GS_ECLOSED, GS_ETIMEOUT, -EINVAL, -EALREADY);
    make_passive(s, GS_PACKET_4);
}

/* Some bytes out and in again, in two pieces. */
static void take_and_put_back(struct owner *o, gs_stream s, struct con *c)
{
    if (!make_passive(s, GS_PACKET_RAW))
        return;
    ssize_t n = gs_stream_recv(s, o->big, 1 + rng_below(&o->r, 3000), 0, 0);
    if (n > 0) {
        size_t half = rng_below(&o->r, (uint64_t)n + 1);
        int e = put_back(s, o->big + half, (size_t)n - half);
        e = e == 0 ? put_back(s, o->big, half) : e;
        if (e == GS_ECLOSED) /* a recv elsewhere met the peer's end meanwhile: what was in hand has nowhere to go */
            atomic_store(&c->doomed, true);
        COUNT(unrecvs);
    } else
        only_answers(n, GS_ECLOSED, GS_ETIMEOUT, -EINVAL, -EALREADY);
    make_passive(s, GS_PACKET_4);
}

static void echo(gs_stream s, gs_bytes b)
{
    int e = gs_stream_send(s, b.p, b.n);
    if (e == -EAGAIN)
        COUNT(nowait_full);
    else
        only_answers(e, GS_ECLOSED);
}

static void act(struct owner *o, gs_stream s, struct con *c, gs_bytes body)
{
    uint64_t k = rng_below(&o->r, 128);
    if (k < 16 && body.n <= 5000)
        echo(s, body); /* the body goes out framed as it came in */
    if (k == 16)
        receive_passive(o, s);
    else if (k == 17 && !c->shared)
        receive_raw(o, s, c);
    else if (k == 18 && !c->shared)
        take_and_put_back(o, s, c);
    else if (k == 19)
        only_answers(gs_post(mailbox(rng_below(&o->r, OWNERS)), NOISE, "noise", 5), -EAGAIN);
    else if (k == 20)
        nap_us(3000); /* away: the flusher looks after what it has sent */
    else if (k == 21)
        only_answers(gs_stream_setopts(s, GS_OPTS(GS_INT(DELAY_SEND, (int64_t)rng_below(&o->r, 2)))), GS_ECLOSED);
    else if (k == 22)
        only_answers(gs_stream_flush(s, 1), GS_ECLOSED, GS_ETIMEOUT);
    arm_if_passive(o, s);
    if (k % 4 == 1)
        give(o, s, c);
}

static gs_bytes whole_body(const gs_packet *p)
{
    return p->header.n ? (gs_bytes){p->header.p, p->header.n + p->data.n} : p->data;
}

static void on_data(struct owner *o, const gs_msg *m)
{
    bool fresh = false;
    gs_bytes body = whole_body(&m->packet);
    struct con *c = got_frame(m->stream.id, body.p, body.n, "message", &fresh);
    COUNT(messages);
    if (!c)
        return;
    if (m->user && m->user != c)
        wrong("message: the user pointer is another connection's");
    if (fresh)
        only_answers(gs_stream_setopts(m->stream, GS_OPTS({.name = GS_OPT_USER, .v.ptr = c})), GS_ECLOSED);
    if (rng_below(&o->r, 64) == 0) { /* a copy must outlive what follows, and the message itself must too */
        gs_msg kept;
        only_answers(gs_msg_keep(m, &kept), 0);
        act(o, m->stream, c, body);
        gs_bytes copy = whole_body(&kept.packet);
        if (copy.n != body.n || memcmp(copy.p, body.p, body.n) != 0)
            wrong("message: the bytes changed before the next receive");
        gs_msg_drop(&kept);
        COUNT(kept);
    } else
        act(o, m->stream, c, body);
}

static void on_message(struct owner *o, const gs_msg *m)
{
    switch (m->kind) {
    case GS_MSG_DATA: on_data(o, m); return;
    case GS_MSG_PASSIVE: arm(m->stream, &o->r); return;
    case GS_MSG_DRAINED: COUNT(drained); return;
    case GS_MSG_ACCEPT:
        COUNT(accepts[3]);
        if (m->error < 0 && !gs_error_is_transient(m->error))
            wrong("accept message: %s", gs_error_name(m->error));
        if (rng_below(&o->r, 4) == 0) {
            only_answers(gs_stream_controlling_process(m->stream, o->mb, mailbox(rng_below(&o->r, OWNERS))), GS_ECLOSED);
            COUNT(listener_moves);
        }
        return;
    case GS_MSG_ERROR: wrong("error message: %s", gs_error_name(m->error)); return;
    case GS_MSG_CLOSED: {
        const struct con *c = m->user;
        if (c && !atomic_load(&c->doomed) && !atomic_load(&c->total))
            wrong("closed message: connection %u, whose peer goes on", number_of(c));
        return;
    }
    case GS_MSG_POST: return;
    default: wrong("a message of kind %d", m->kind);
    }
}

/* Only about one stream; what comes may be the rest of the batch. */
static void receive_selective(struct owner *o, gs_stream s)
{
    gs_msg m;
    int e = gs_receive_from(o->mb, s, &m, 1);
    only_answers(e, GS_ETIMEOUT, GS_ECLOSED, GS_ENOTOWNER);
    if (e < 0)
        return;
    COUNT(selective);
    if (m.stream.id != s.id)
        wrong("selective receive: another stream's message");
    on_message(o, &m);
}

static void *own(void *arg)
{
    struct owner o = {.me = (int)(intptr_t)arg, .mb = mailbox((uint64_t)(intptr_t)arg), .big = malloc(BIG)};
    o.r.s = test_seed() * 31 + (uint64_t)o.me;
    for (gs_msg m;;) {
        int e = only_answers(gs_receive(o.mb, &m, 1000), GS_ETIMEOUT);
        if (e < 0)
            continue;
        if (m.kind == GS_MSG_POST && m.post.tag == QUIT)
            break;
        bool data = m.kind == GS_MSG_DATA;
        gs_stream s = m.stream;
        on_message(&o, &m);
        if (data && rng_below(&o.r, 64) == 0)
            receive_selective(&o, s);
    }
    free(o.big);
    return NULL;
}

/* An owner whose mailbox ends: its streams close, whoever transfers to it meanwhile is told. */
static void *own_and_die(void *arg)
{
    (void)arg;
    struct owner o = {.me = MORTAL, .big = malloc(BIG)};
    o.r.s = test_seed() * 37;
    while (!atomic_load(&quit_mortal)) {
        if (only_answers(gs_mailbox_new(&o.mb), 0) < 0)
            break;
        atomic_store(&mailboxes[MORTAL], o.mb.id);
        uint64_t end = real_ms() + 5 + rng_below(&o.r, 60);
        int e = 0;
        for (gs_msg m; e != GS_ECLOSED && real_ms() < end;)
            if ((e = gs_receive(o.mb, &m, 5)) == 0)
                on_message(&o, &m);
        only_answers(e, GS_ETIMEOUT, GS_ECLOSED);
        only_answers(gs_mailbox_free(o.mb), GS_ECLOSED);
        COUNT(deaths);
    }
    free(o.big);
    return NULL;
}

/* ---- who accepts ---- */

/* Without an owner, or under a mailbox that nobody receives from, the first frame is read here. */
static void introduce(gs_stream s, gs_mailbox from, struct rng *r, uint8_t *big)
{
    bool fresh = false;
    int e = from.id ? gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE))) : 0;
    ssize_t n = e < 0 ? e : gs_stream_recv(s, big, BIG, 0, STALL_MS);
    struct con *c = n > 0 ? got_frame(s.id, big, (size_t)n, "acceptor", &fresh) : NULL;
    if (n <= 0) /* the peer may have gone without a word */
        only_answers(n, GS_ECLOSED);
    if (!c) {
        only_answers(gs_stream_close(s), 0);
        return;
    }
    only_answers(gs_stream_setopts(s, GS_OPTS({.name = GS_OPT_USER, .v.ptr = c})), GS_ECLOSED);
    only_answers(gs_stream_controlling_process(s, from, mailbox(rng_below(r, OWNERS))), GS_ECLOSED);
    arm(s, r);
}

static void *acceptor(void *arg)
{
    struct rng r = {.s = test_seed() * 41 + (uintptr_t)arg};
    uint8_t *big = malloc(BIG);
    gs_mailbox mine;
    only_answers(gs_mailbox_new(&mine), 0);
    for (;;) {
        gs_stream s;
        uint64_t kind = rng_below(&r, 3);
        gs_mailbox owner = kind == 0 ? mailbox(rng_below(&r, OWNERS)) : kind == 1 ? GS_NO_MAILBOX : mine;
        int timeout_ms = rng_below(&r, 2) ? GS_INFINITY : (int)rng_below(&r, 20);
        int e = gs_stream_accept(storm->listener[0], &s, owner, timeout_ms, NULL);
        if (e == GS_ECLOSED)
            break;
        if (only_answers(e, GS_ETIMEOUT, -ECONNABORTED) < 0)
            continue;
        COUNT(accepts[kind]);
        if (kind != 0)
            introduce(s, owner, &r, big);
    }
    gs_mailbox_free(mine);
    free(big);
    return NULL;
}

/* ---- who owns nothing ---- */

static struct con *some_con(struct rng *r, gs_stream *s)
{
    uint32_t n = atomic_load(&con_count), window = 4 * PEERS * CONS_OF_PEER;
    if (!n)
        return NULL;
    struct con *c = &cons[(n > window ? n - window : 0) + rng_below(r, n > window ? window : n)];
    s->id = atomic_load(&c->id);
    return s->id ? c : NULL;
}

/* Passive, some frames, active again: the frames must reach somebody once. */
static void steal(gs_stream s, struct rng *r, uint8_t *big)
{
    if (only_answers(gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE))), GS_ECLOSED) < 0)
        return;
    for (uint64_t k = rng_below(r, 5); k--;) {
        bool fresh;
        ssize_t n = gs_stream_recv(s, big, BIG, 0, (int)rng_below(r, 3));
        if (n >= 0) {
            got_frame(s.id, big, (size_t)n, "thief", &fresh);
            COUNT(stolen);
        } else
            only_answers(n, GS_ECLOSED, GS_ETIMEOUT, -EINVAL, -EALREADY);
    }
    arm(s, r);
}

/* A handle of a generation that was, or that is yet to come, is never another's connection. */
static void use_stale(gs_stream s, struct rng *r)
{
    gs_stream old = {s.id - (UINT64_C(1) << 32) * (1 + rng_below(r, 3))}, young = {s.id + (UINT64_C(1) << 40)};
    gs_stream_info_t info;
    gs_opt now[] = {{.name = GS_OPT_ACTIVE}, {.name = GS_OPT_END}};
    gs_stream both[] = {old, young};
    for (int i = 0; i < 2; i++) {
        if (gs_stream_send(both[i], "x", 1) >= 0 || gs_stream_recv(both[i], now, 1, 0, 0) >= 0 ||
            gs_stream_setopts(both[i], GS_OPTS(GS_INT(ACTIVE, 0))) >= 0 || gs_stream_getopts(both[i], now) >= 0 ||
            gs_stream_info(both[i], &info) >= 0 || gs_stream_shutdown(both[i], GS_SHUT_BOTH) >= 0 ||
            gs_stream_controlling_process(both[i], mailbox(0), mailbox(1)) >= 0)
            wrong("a stale handle did something");
    }
    int e = gs_stream_close(young);
    if (e != GS_EBADARG)
        wrong("close of a handle never issued: %s", gs_error_name(e));
}

static void meddle(struct rng *r, uint8_t *big)
{
    gs_stream s;
    gs_stream_info_t info;
    gs_stat stat;
    struct con *c = some_con(r, &s);
    if (!c) {
        nap_us(100);
        return;
    }
    switch (rng_below(r, 10)) {
    case 0: only_answers(gs_stream_info(s, &info), GS_ECLOSED); break;
    case 1: only_answers(gs_stream_getstat(s, &stat), GS_ECLOSED); break;
    case 2: { /* has the right mailbox, perhaps, but not its turn */
        int e = gs_stream_controlling_process(s, mailbox(rng_below(r, OWNERS)), mailbox(rng_below(r, OWNERS)));
        if (e == GS_ENOTOWNER)
            COUNT(refused);
        else if (e != GS_ECLOSED)
            wrong("a transfer by who does not own: %s", gs_error_name(e));
        break;
    }
    case 3: { /* takes the reader's place, but no packet */
        uint64_t seen = atomic_load(&c->progress);
        int e = (int)gs_stream_recv(s, NULL, 0, 0, (int)rng_below(r, 3));
        only_answers(e, GS_ECLOSED, GS_ETIMEOUT, -EINVAL, -EALREADY, -EMSGSIZE);
        if (e == GS_ECLOSED && !atomic_load(&c->doomed) && !atomic_load(&c->total) && !c->shared)
            wrong("recv: connection %u is closed after %llu frames", number_of(c), (unsigned long long)seen);
        if (e == -EMSGSIZE && gs_stream_info(s, &info) == 0 && info.state == GS_ENDED && !c->doomed)
            wrong("recv: connection %u has a malformed frame after %llu", number_of(c), (unsigned long long)seen);
        break;
    }
    case 4: use_stale(s, r); break;
    case 5:
        if (c->shared)
            steal(s, r, big);
        break;
    case 6: /* another mode, and back to one that goes on */
        only_answers(gs_stream_setopts(s, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE))), GS_ECLOSED);
        if (rng_below(r, 2))
            nap_us(50);
        arm(s, r);
        break;
    case 7: only_answers(gs_stream_setopts(s, GS_OPTS(GS_INT(HEADER, (int64_t)rng_below(r, 3)), GS_INT(PACKET_SIZE, 1 << 20))), GS_ECLOSED); break;
    case 8:
        if (rng_below(r, 150) == 0) {
            atomic_store(&c->doomed, true);
            only_answers(gs_stream_close(s), 0);
            atomic_store_explicit(&c->closed, true, memory_order_release);
            COUNT(foreign_closes);
        }
        break;
    default: nap_us(50);
    }
}

static void *chaos(void *arg)
{
    struct rng r = {.s = test_seed() * 43 + (uintptr_t)arg};
    uint8_t *big = malloc(BIG);
    while (!atomic_load(&storm->stop_chaos))
        meddle(&r, big);
    free(big);
    return NULL;
}

/* ---- a run ---- */

static void begin_storm(const char *scheme)
{
    const gs_opt *common = GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, GS_NOWAIT), GS_INT(BACKLOG, 64));
    const gs_opt *messages = GS_OPTS(GS_INT(PACKET, GS_PACKET_4), GS_INT(SEND_TIMEOUT, GS_NOWAIT), GS_INT(BACKLOG, 64),
                                     GS_INT(ACCEPT, GS_ACTIVE_TRUE));
    memset(cons, 0, sizeof cons);
    atomic_store(&con_count, 0);
    atomic_store(&wrongs, 0);
    atomic_store(&quit_mortal, false);
    for (int i = 0; i < OWNERS; i++) {
        gs_mailbox mb;
        gs_msg m;
        assert_ok(gs_mailbox_new(&mb));
        assert_code(gs_receive(mb, &m, 0), GS_ETIMEOUT); /* from here on there is a turn */
        atomic_store(&mailboxes[i], mb.id);
    }
    atomic_store(&mailboxes[MORTAL], 0);
    assert_ok(listen_at(scheme, common, GS_NO_MAILBOX, &storm->listener[0], &storm->at[0]));
    assert_ok(listen_at(scheme, messages, mailbox(0), &storm->listener[1], &storm->at[1]));
}

static void run_until(uint64_t end, long transfers)
{
    while (real_ms() < end && atomic_load(&storm->transfers) < transfers && !atomic_load(&wrongs))
        pause_1ms();
}

static void run_threads(double seconds, long transfers)
{
    pthread_t owners[OWNERS + 1], peers[PEERS], chaoses[CHAOS], acceptors[ACCEPTORS];
    for (intptr_t i = 0; i < OWNERS; i++)
        owners[i] = go(own, (void *)i);
    owners[MORTAL] = go(own_and_die, NULL);
    for (intptr_t i = 0; i < ACCEPTORS; i++)
        acceptors[i] = go(acceptor, (void *)i);
    for (intptr_t i = 0; i < PEERS; i++)
        peers[i] = go(peer, (void *)(i + 1));
    for (intptr_t i = 0; i < CHAOS; i++)
        chaoses[i] = go(chaos, (void *)i);

    run_until(real_ms() + (uint64_t)(seconds * 1000), transfers);
    atomic_store(&storm->stop_chaos, true);
    for (int i = 0; i < CHAOS; i++)
        join(chaoses[i]);
    atomic_store(&storm->stop_peers, true);
    for (int i = 0; i < PEERS; i++)
        join(peers[i]);
    atomic_store(&quit_mortal, true);
    join(owners[MORTAL]);
    for (int i = 0; i < 2; i++)
        only_answers(gs_stream_close(storm->listener[i]), 0);
    for (int i = 0; i < ACCEPTORS; i++)
        join(acceptors[i]);
    for (int i = 0; i < OWNERS; i++)
        only_answers(gs_post(mailbox((uint64_t)i), QUIT, NULL, 0), 0);
    for (int i = 0; i < OWNERS; i++)
        join(owners[i]);
    for (int i = 0; i < OWNERS; i++)
        only_answers(gs_mailbox_free(mailbox((uint64_t)i)), 0);
}

/* The library's own thread and tables come with first use and stay: they belong to the census of before. */
static void warm_up(const char *scheme)
{
    static char much[1 << 16];
    gs_stream ends[2], a;
    gs_mailbox mb;
    struct place at;
    assert_ok(gs_mailbox_new(&mb));
    assert_ok(listen_at(scheme, NULL, GS_NO_MAILBOX, &ends[0], &at));
    pthread_t t = go(accept_one, ends); /* a handshake needs both ends at once */
    assert_ok(gs_stream_connect(&a, at.at, GS_OPTS(GS_INT(SEND_TIMEOUT, GS_NOWAIT)), mb, 5000));
    join(t);
    int e = 0;
    while (e != -EAGAIN)
        assert_true((e = gs_stream_send(a, much, sizeof much)) == 0 || e == -EAGAIN);
    assert_code(gs_stream_recv(ends[1], much, 1, 1, 100), 1);
    assert_ok(gs_stream_close(a)); /* leaves output to the flusher */
    for (int i = 0; i < 2; i++)
        assert_ok(gs_stream_close(ends[i]));
    assert_ok(gs_mailbox_free(mb));
    assert_until(gsi_live_count(GSI_STREAM) == 0, 2000);
}

static long options_seconds, options_transfers;
static const char *only_transport;

static void storm_over(const char *scheme)
{
    if (only_transport && strcmp(only_transport, scheme) != 0)
        skip_because("another transport was asked for");
    static struct storm now;
    memset(&now, 0, sizeof now);
    now.scheme = scheme;
    storm = &now;
    for (size_t i = 0; i < sizeof filler; i++)
        filler[i] = pattern_byte(99, i);
    warm_up(scheme);
    warm_up(scheme); /* twice: what the first leaves with the flusher is gone when the second ends */
    struct census before;
    pause_1ms();
    census_take(&before);
    begin_storm(scheme);
    run_threads((double)options_seconds, options_transfers);

    long checked = 0;
    uint32_t n = atomic_load(&con_count) < CONS_MAX ? atomic_load(&con_count) : CONS_MAX;
    for (uint32_t i = 0; i < n; i++)
        checked += check_con(&cons[i]);
    print_message("# %s: %ld messages, %ld transfers, %ld refused, %ld passive, %ld raw, %ld unrecv, %ld selective, %ld stolen, "
                  "%ld rearmed, %ld kept\n", scheme, now.messages, now.transfers, now.refused, now.passive, now.raw, now.unrecvs,
                  now.selective, now.stolen, now.rearmed, now.kept);
    print_message("# %u connections, %ld complete; accepted %ld for an owner, %ld for none, %ld for another, %ld by message; listener moved "
                  "%ld; %ld foreign closes, %ld aborts, %ld deaths; %ld echoes, %ld full, %ld drained; %ld stalls\n", n, checked,
                  now.accepts[0], now.accepts[1], now.accepts[2], now.accepts[3], now.listener_moves, now.foreign_closes, now.aborted,
                  now.deaths, now.echoes, now.nowait_full, now.drained, now.stalls);
    assert_int_equal(wrongs, 0);
    assert_true(checked > 0 && now.transfers > 0 && now.refused > 0 && now.passive > 0 && now.raw > 0 && now.unrecvs > 0);
    assert_true(now.stolen > 0 && now.foreign_closes > 0 && now.deaths > 0 && now.echoes > 0 && now.listener_moves > 0);
    for (int i = 0; i < 4; i++)
        assert_true(now.accepts[i] > 0);
    census_assert(&before);
}

static void transfers_lose_and_mix_nothing(void **state) { storm_over(*state); }

/* storm/tls_transfer.c includes this file with schemes and a preparation of its own. */
#ifndef TRANSFER_SCHEMES
#define TRANSFER_SCHEMES "tcp", "unix", "mem"
static void prepare(void) {}
#endif
int main(int argc, char **argv)
{
    (void)test_seed(); /* threads read it */
    options_seconds = from_environment("GS_STORM_SECONDS", test_scale(3, 150));
    options_transfers = from_environment("GS_STORM_TRANSFERS", test_scale(1L << 40, 340000));
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seconds"))
            options_seconds = atol(argv[i + 1]);
        else if (!strcmp(argv[i], "--transfers"))
            options_transfers = atol(argv[i + 1]);
        else if (!strcmp(argv[i], "--transport"))
            only_transport = argv[i + 1];
    }
    prepare();
    static char *const schemes[] = {TRANSFER_SCHEMES};
    enum { SCHEMES = sizeof schemes / sizeof *schemes };
    struct CMUnitTest tests[SCHEMES];
    for (int i = 0; i < SCHEMES; i++)
        tests[i] = (struct CMUnitTest){schemes[i], transfers_lose_and_mix_nothing, NULL, NULL, schemes[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
