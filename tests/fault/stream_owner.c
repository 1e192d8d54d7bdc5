/* Every allocation and system call of ownership fails in every place: mailboxes, posts, timers, transfers with undelivered input,
 * selective receives, upgrades by a layer. */
#include "stream_fault.h"

static int use_a_mailbox(void *unused)
{
    (void)unused;
    struct ends x = {0};
    gs_msg m, kept = {0};
    uint64_t ref, gone;
    int e = first_code(0, gs_mailbox_new(&x.mb));
    then(gs_mailbox_fd(x.mb));
    then(gs_post(x.mb, 1, "copied", 6));
    void *mine = malloc(5);
    must(mine != NULL);
    memcpy(mine, "taken", 5);
    if (e == 0)
        e = first_code(e, gs_post_take(x.mb, 2, mine, 5, free)); /* freed by the library in any case */
    else
        free(mine);
    then(gs_timer_start(x.mb, 1000000, NULL, &gone));
    then(gs_timer_cancel(x.mb, gone));
    then(gs_timer_start(x.mb, 5, &x, &ref));
    then(gs_receive_ref(x.mb, ref, &m, WAIT_MS));
    if (e == 0)
        must(m.kind == GS_MSG_TIMER && m.user == &x);
    then(await(x.mb, GS_MSG_POST, &m));
    then(gs_msg_keep(&m, &kept));
    then(await(x.mb, GS_MSG_POST, &m));
    if (e == 0)
        must(m.post.tag == 2 && !memcmp(m.post.body.p, "taken", 5) && !memcmp(kept.post.body.p, "copied", 6));
    gs_msg_drop(&kept);
    return ends_close(&x, e);
}

static int fill_the_timer_table(void *unused)
{
    (void)unused;
    struct ends x = {0};
    gs_msg m;
    uint64_t ref;
    int e = first_code(0, gs_mailbox_new(&x.mb)), started = 0;
    for (; e == 0 && started < 40; started += e == 0)
        then(gs_timer_start(x.mb, 1 + started % 7, NULL, &ref));
    for (int i = 0; i < started && e == 0; i++) /* those that started come, whatever happened to the others */
        then(await(x.mb, GS_MSG_TIMER, &m));
    return ends_close(&x, e);
}

/* Five frames come; the first owner takes two, the second gets the others in order, and a piece of the sixth is kept. */
static int transfer_with_leftover(void *scheme)
{
    struct ends x;
    gs_msg m;
    uint8_t f[6][102];
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(PACKET, GS_PACKET_2)), true);
    then(gs_mailbox_new(&x.other));
    for (int i = 0; i < 6; i++) {
        f[i][0] = 0, f[i][1] = 100;
        pattern_fill(f[i] + 2, 100, (uint64_t)i, 0);
    }
    then(gs_stream_send(x.b, f, 5 * 102 + 50));
    for (int i = 0; i < 2; i++)
        then(await(x.mb, GS_MSG_DATA, &m));
    then(gs_stream_controlling_process(x.a, x.mb, x.other));
    then(gs_stream_send(x.b, f[5] + 50, 52));
    for (uint64_t i = 2; i < 6; i++) {
        then(await(x.other, GS_MSG_DATA, &m));
        if (e == 0)
            must(m.stream.id == x.a.id && m.packet.data.n == 100 && pattern_check(m.packet.data.p, 100, i, 0) == 100);
    }
    return ends_close(&x, e);
}

/* A refused transfer leaves the old owner with everything: it asks again. */
static int transfer_until_it_works(void *scheme)
{
    struct ends x;
    gs_msg m;
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(PACKET, GS_PACKET_1)), true);
    then(gs_mailbox_new(&x.other));
    then(gs_stream_send(x.b, "\1a\1b\1c", 6));
    then(await(x.mb, GS_MSG_DATA, &m));
    int moved = -ENOMEM;
    for (int i = 0; e == 0 && moved == -ENOMEM && i < 3; i++)
        moved = gs_stream_controlling_process(x.a, x.mb, x.other);
    then(moved);
    for (int i = 0; i < 2; i++) {
        then(await(x.other, GS_MSG_DATA, &m));
        if (e == 0)
            must(m.packet.data.n == 1 && m.packet.data.p[0] == "bc"[i]);
    }
    return ends_close(&x, e);
}

static int receive_from_one_of_two(void *scheme)
{
    struct ends x;
    gs_stream c = {0}, d = {0};
    gs_msg m;
    int e = ends_open(&x, scheme, NULL, true);
    then(gs_stream_connect(&c, x.at, NULL, x.mb, WAIT_MS));
    then(gs_stream_accept(x.l, &d, GS_NO_MAILBOX, WAIT_MS, NULL));
    then(gs_stream_send(x.b, "first", 5));
    then(gs_stream_send(d, "second", 6));
    then(gs_receive_from(x.mb, c, &m, WAIT_MS));
    if (e == 0)
        must(m.kind != GS_MSG_DATA || (m.stream.id == c.id && m.packet.data.n == 6));
    then(await(x.mb, GS_MSG_DATA, &m));
    must(!c.id || gs_stream_close(c) == 0);
    must(!d.id || gs_stream_close(d) == 0);
    return ends_close(&x, e);
}

/* ---- a layer that flips every bit, and greets: its handshake is one byte each way ---- */

struct flip {
    gs_io *lower;
    bool greeted;
};

static int flip_upgrade(gs_io *lower, bool server, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)server, (void)at, (void)opts;
    struct flip *f = gsi_zalloc(sizeof *f);
    if (!f)
        return -ENOMEM;
    f->lower = lower;
    *ctx = f;
    return 0;
}

static int flip_handshake(void *ctx)
{
    struct flip *f = ctx;
    struct iovec v = {"!", 1};
    char c;
    if (!f->greeted) {
        ssize_t k = gs_io_writev(f->lower, &v, 1);
        if (k != 1)
            return k == -EAGAIN ? GS_EWANT_WRITE : k < 0 ? (int)k : -EIO;
        f->greeted = true;
    }
    v.iov_base = &c;
    ssize_t k = gs_io_readv(f->lower, &v, 1);
    return k == 1 ? 0 : k == -EAGAIN ? GS_EWANT_READ : k < 0 ? (int)k : -ECONNRESET;
}

static ssize_t flip_readv(void *ctx, const struct iovec *v, int n)
{
    (void)n;
    ssize_t k = gs_io_readv(((struct flip *)ctx)->lower, v, 1);
    for (ssize_t i = 0; i < k; i++)
        ((uint8_t *)v->iov_base)[i] ^= 0xff;
    return k;
}

static ssize_t flip_writev(void *ctx, const struct iovec *v, int n)
{
    uint8_t piece[1000];
    size_t len = 0;
    for (int i = 0; i < n && len < sizeof piece; i++)
        for (size_t j = 0; j < v[i].iov_len && len < sizeof piece; j++)
            piece[len++] = (uint8_t)(((const uint8_t *)v[i].iov_base)[j] ^ 0xff);
    struct iovec one = {piece, len};
    return len ? gs_io_writev(((struct flip *)ctx)->lower, &one, 1) : 0;
}

static int flip_shutdown(void *ctx, gs_how how) { return gs_io_shutdown(((struct flip *)ctx)->lower, how); }

static void flip_close(void *ctx, bool reset)
{
    (void)reset;
    gsi_free(ctx);
}

static int flip_poll(void *ctx, size_t *buffered)
{
    (void)ctx;
    *buffered = 0;
    return -1;
}

static const struct gs_transport flip = {
    .size = sizeof flip,
    .scheme = "flip",
    .upgrade = flip_upgrade,
    .handshake = flip_handshake,
    .readv = flip_readv,
    .writev = flip_writev,
    .shutdown = flip_shutdown,
    .close = flip_close,
    .poll = flip_poll,
};

static void prepare_flip(void)
{
    prepare();
    must(gs_transport_register(&flip) == 0);
}

static const struct fault_options with_flip = {.prepare = prepare_flip};

/* One side by message, so that both can be done in one thread. */
static int upgrade_both(void *scheme)
{
    struct ends x;
    gs_msg m;
    int e = ends_open(&x, scheme, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), true);
    if (e == 0) {
        e = first_code(0, gs_stream_upgrade(x.a, "flip", false, NULL, GS_NOWAIT));
        e = e == GS_ESELECT ? 0 : e;
    }
    then(gs_stream_upgrade(x.b, "flip", true, NULL, WAIT_MS));
    then(await(x.mb, GS_MSG_UPGRADE, &m));
    then(pass(x.a, x.b, 900, 1));
    then(pass(x.b, x.a, 900, 2));
    return ends_close(&x, e);
}

/* What was received before the upgrade is the layer's. */
static int upgrade_with_early_bytes(void *scheme)
{
    struct ends x;
    char in[8];
    int e = ends_open(&x, scheme, NULL, false);
    then(gs_stream_send(x.b, "go!", 3));
    then(gs_stream_recv(x.a, in, 2, 2, WAIT_MS));
    then(gs_stream_unrecv(x.a, in, 2));
    then(gs_stream_recv(x.a, in, 2, 2, WAIT_MS));
    then(gs_stream_upgrade(x.a, "flip", true, NULL, WAIT_MS));
    then(gs_stream_recv(x.b, in, 1, 1, WAIT_MS));
    return ends_close(&x, e);
}

ON_EACH_TRANSPORT(leftover, "transfer with leftover", transfer_with_leftover, &virtual_time)
ON_EACH_TRANSPORT(again, "transfer until it works", transfer_until_it_works, &virtual_time)
/* Without memory for watch and timer the receive looks again and again, which takes no virtual time. */
ON_EACH_TRANSPORT(selective, "receive from one of two", receive_from_one_of_two, &real_time)
ON_EACH_TRANSPORT(upgrade, "upgrade", upgrade_both, &with_flip)
ON_EACH_TRANSPORT(early, "upgrade with early bytes", upgrade_with_early_bytes, &with_flip)

static void mailboxes_survive_every_fault(void **state)
{
    (void)state;
    fault_run_with("a mailbox", use_a_mailbox, NULL, &virtual_time);
    fault_run_with("many timers", fill_the_timer_table, NULL, &virtual_time);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailboxes_survive_every_fault), ROW(leftover), ROW(again), ROW(selective), ROW(upgrade), ROW(early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
