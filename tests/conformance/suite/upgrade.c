/* upgrade.c: a layer put over a connected stream; bytes that came early belong to it. */
#include "suite.h"

static void run_upgrade(struct task *t) { t->result = gs_stream_upgrade(t->stream, "xor", t->ref, NULL, t->timeout_ms); }

static void xored(const char *text, uint8_t *out)
{
    for (size_t i = 0; text[i]; i++)
        out[i] = (uint8_t)text[i] ^ XOR_KEY;
}

static void both_ends_upgrade(struct world *w)
{
    char name[40];
    gs_stream_info_t info;
    xor_register();
    open_pair(w, NOBODY, NULL, NULL);
    send_text(w->a, "plain");
    recv_text(w->b, "plain");
    struct task *t = task_start(w, run_upgrade, w->a);
    assert_ok(gs_stream_upgrade(w->b, "xor", true, NULL, WAIT_MS));
    assert_ok(task_result(t));
    send_text(w->a, "secret");
    recv_text(w->b, "secret");
    send_text(w->b, "answer");
    recv_text(w->a, "answer");
    assert_ok(gs_stream_info(w->b, &info));
    snprintf(name, sizeof name, "xor+%s", w->facts->scheme);
    assert_string_equal(info.transport, name);
}

/* The client speaks on at once behind its request: hello and data arrive with the last plain bytes. */
static void early_bytes_go_to_the_layer(struct world *w)
{
    uint8_t early[64] = "STARTXOR\n\xa5";
    xor_register();
    open_pair(w, NOBODY, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE)));
    xored("early\nmore\n", early + 10);
    assert_ok(gs_stream_send(w->a, early, 21));
    recv_one(w->b, "STARTXOR\n");
    assert_ok(gs_stream_unrecv(w->b, NULL, 0));
    assert_ok(gs_stream_upgrade(w->b, "xor", true, NULL, WAIT_MS));
    recv_one(w->b, "early\n");
    recv_one(w->b, "more\n");
    send_text(w->b, "hi");
    uint8_t answer[3], hi[2];
    assert_code(gs_stream_recv(w->a, answer, 3, 3, WAIT_MS), 3);
    xored("hi", hi);
    assert_int_equal(answer[0], XOR_HELLO);
    assert_memory_equal(answer + 1, hi, 2);
}

static void early_bytes_are_never_messages(struct world *w)
{
    uint8_t early[64] = "GO\n\xa5";
    xor_register();
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(PACKET, GS_PACKET_LINE), GS_INT(ACTIVE, GS_ACTIVE_ONCE)));
    xored("one\ntwo\n", early + 4);
    assert_ok(gs_stream_send(w->a, early, 12));
    expect_packet(w->mb, w->b, "GO\n");
    assert_code(gs_stream_upgrade(w->b, "xor", true, NULL, GS_NOWAIT), GS_ESELECT);
    gs_msg m;
    expect(w->mb, GS_MSG_UPGRADE, w->b, &m);
    assert_code(m.error, 0);
    expect_nothing(w->mb); /* it is passive */
    SET(w->b, ACTIVE, GS_ACTIVE_TRUE);
    expect_packet(w->mb, w->b, "one\n");
    expect_packet(w->mb, w->b, "two\n");
}

static void a_failed_upgrade_closes(struct world *w)
{
    gs_stream_info_t info;
    gs_msg m;
    xor_register();
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    send_text(w->a, "not a hello");
    assert_code(gs_stream_upgrade(w->b, "xor", true, NULL, WAIT_MS), -EPROTO);
    assert_code(gs_stream_info(w->b, &info), GS_ECLOSED);
    close_all(w);
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    send_text(w->a, "not a hello");
    assert_code(gs_stream_upgrade(w->b, "xor", true, NULL, GS_NOWAIT), GS_ESELECT);
    expect(w->mb, GS_MSG_UPGRADE, w->b, &m);
    assert_code(m.error, -EPROTO);
    assert_code(gs_stream_info(w->b, &info), GS_ECLOSED);
}

static void an_upgrade_times_out_and_closes(struct world *w)
{
    gs_stream_info_t info;
    xor_register();
    open_pair(w, NOBODY, NULL, NULL);
    assert_code(gs_stream_upgrade(w->b, "xor", true, NULL, 20), GS_ETIMEOUT);
    assert_code(gs_stream_info(w->b, &info), GS_ECLOSED);
}

static void closing_wakes_an_upgrade(struct world *w)
{
    xor_register();
    open_pair(w, NOBODY, NULL, NULL);
    struct task *t = task_start(w, run_upgrade, w->b);
    assert_blocks(t);
    assert_ok(gs_stream_close(w->b));
    assert_code(task_result(t), GS_ECLOSED);
}

static void closing_cancels_a_nowait_upgrade(struct world *w)
{
    xor_register();
    open_pair(w, B_OWNED, NULL, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)));
    assert_code(gs_stream_upgrade(w->b, "xor", true, NULL, GS_NOWAIT), GS_ESELECT);
    expect_nothing(w->mb);
    assert_code(gs_stream_handshake(w->b, 0), -EALREADY);
    assert_ok(gs_stream_close(w->b));
    expect_nothing(w->mb);
}

static void what_cannot_be_upgraded_says_so(struct world *w)
{
    xor_register();
    open_pair(w, B_OWNED, NULL, NULL);
    assert_code(gs_stream_upgrade(w->b, "xor", true, NULL, 0), -EINVAL); /* active */
    assert_code(gs_stream_upgrade(w->a, "no-such-layer", false, NULL, 0), GS_ENOSCHEME);
    assert_code(gs_stream_upgrade(w->a, "mem", false, NULL, 0), GS_ENOUPGRADE);
    assert_code(gs_stream_upgrade(w->a, "xor", false, NULL, GS_NOWAIT), -EINVAL); /* nobody to tell */
    assert_code(gs_stream_upgrade(w->a, NULL, false, NULL, 0), GS_EBADARG);
    assert_code(gs_stream_upgrade(w->listener, "xor", true, NULL, 0), -ENOTCONN);
    send_text(w->a, "alive");
    expect_bytes(w->mb, w->b, "alive");
}

static void layers_stack_up_to_a_limit(struct world *w)
{
    xor_register();
    open_pair(w, NOBODY, NULL, NULL);
    int e = 0, depth = 0;
    for (; depth < 10; depth++) {
        struct task *t = task_start(w, run_upgrade, w->a);
        e = gs_stream_upgrade(w->b, "xor", true, NULL, WAIT_MS);
        assert_code(task_result(t), e);
        if (e < 0)
            break;
        send_text(w->a, "deep");
        recv_text(w->b, "deep");
    }
    assert_code(e, GS_ENOUPGRADE);
    assert_true(depth >= 3);
    send_text(w->b, "still works");
    recv_text(w->a, "still works");
}

static void an_upgrade_waits_for_the_message_of_the_connect(struct world *w)
{
    gs_msg m;
    xor_register();
    open_listener(w, NULL, GS_NO_MAILBOX);
    assert_code(gs_stream_connect(&w->a, w->at, GS_OPTS(GS_INT(ACTIVE, GS_ACTIVE_FALSE)), w->ma, GS_NOWAIT), GS_ESELECT);
    int e = gs_stream_upgrade(w->a, "xor", false, NULL, GS_NOWAIT);
    assert_true(e == -EALREADY || e == -ENOTCONN);
    if (w->facts->layered)
        return;
    expect(w->ma, GS_MSG_CONNECT, w->a, &m);
    assert_code(m.error, 0);
    assert_ok(gs_stream_accept(w->listener, &w->b, GS_NO_MAILBOX, WAIT_MS, NULL));
    send_text(w->b, "plain");
    recv_text(w->a, "plain");
}

CASES(upgrade) = {
    CASE(an_upgrade_waits_for_the_message_of_the_connect),
    CASE(both_ends_upgrade),
    CASE(early_bytes_go_to_the_layer),
    CASE(early_bytes_are_never_messages),
    CASE(a_failed_upgrade_closes),
    CASE(an_upgrade_times_out_and_closes),
    CASE(closing_wakes_an_upgrade),
    CASE(closing_cancels_a_nowait_upgrade),
    CASE(what_cannot_be_upgraded_says_so),
    CASE(layers_stack_up_to_a_limit),
    {0},
};
