/* Registration of transports: what is refused and why, what is filled in, and which stack an address names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "support.h"
#include "transport/transport.h"

/* ---- transports that do as little as can be ---- */

static int listen_stub(gs_io *io, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)io, (void)at, (void)opts, (void)ctx;
    return -EADDRINUSE;
}
static int accept_stub(void *l, gs_io *io, void **ctx)
{
    (void)l, (void)io, (void)ctx;
    return -EAGAIN;
}
static int connect_stub(gs_io *io, const gs_target *to, const gs_opt *opts, void **ctx)
{
    (void)io, (void)to, (void)opts, (void)ctx;
    return -ECONNREFUSED;
}
static int upgrade_stub(gs_io *io, bool server, const gs_target *at, const gs_opt *opts, void **ctx)
{
    (void)io, (void)server, (void)at, (void)opts, (void)ctx;
    return 0;
}
static ssize_t readv_stub(void *ctx, const struct iovec *iov, int n)
{
    (void)ctx;
    if (n > 0)
        memset(iov[0].iov_base, 'r', iov[0].iov_len);
    return n > 0 ? (ssize_t)iov[0].iov_len : 0;
}
static ssize_t writev_stub(void *ctx, const struct iovec *iov, int n)
{
    (void)ctx, (void)iov;
    return n;
}
static int shutdown_stub(void *ctx, gs_how how)
{
    (void)ctx;
    return 10 + (int)how;
}
static void close_stub(void *ctx, bool reset) { (void)ctx, (void)reset; }
static int poll_stub(void *ctx, size_t *buffered)
{
    (void)ctx;
    *buffered = 0;
    return 0;
}
static int setopt_stub(void *ctx, const gs_opt *o)
{
    (void)ctx, (void)o;
    return 0;
}
static int getopt_stub(void *ctx, gs_opt *o)
{
    (void)ctx, (void)o;
    return 0;
}
static int security_stub(void *ctx, gs_security *out)
{
    (void)ctx, (void)out;
    return 0;
}

static struct gs_transport base(const char *scheme)
{
    return (struct gs_transport){.size = sizeof(struct gs_transport), .scheme = scheme, .connect = connect_stub, .readv = readv_stub,
                                 .writev = writev_stub, .shutdown = shutdown_stub, .close = close_stub};
}

static struct gs_transport layer(const char *scheme)
{
    struct gs_transport t = base(scheme);
    t.connect = NULL;
    t.upgrade = upgrade_stub;
    return t;
}

/* ---- registration ---- */

static void assert_refused(const struct gs_transport *t, const char *why)
{
    assert_code(gs_transport_register(t), -EINVAL);
    const char *detail = gs_error_detail(-EINVAL);
    if (!strstr(detail, why))
        fail_msg("\"%s\" does not tell \"%s\"", detail, why);
}

static void contradictions_are_refused_by_name(void **state)
{
    (void)state;
    struct gs_transport t;
#define REFUSED(start, change, why) (t = (start), change, assert_refused(&t, why))
    REFUSED(base("x"), t.size = 0, "size is 0");
    REFUSED(base("x"), t.size = sizeof t - 1, "sizeof (struct gs_transport)");
    REFUSED(base("x"), t.flags = 1u << 20, "flags");
    REFUSED(base("x"), t.connect = NULL, "neither connect nor listen");
    REFUSED(base("x"), t.upgrade = upgrade_stub, "cannot be both");
    REFUSED(base("x"), t.listen = listen_stub, "go together");
    REFUSED(base("x"), t.accept = accept_stub, "go together");
    REFUSED(base("x"), t.readv = NULL, "readv or writev");
    REFUSED(base("x"), t.writev = NULL, "readv or writev");
    REFUSED(base("x"), t.close = NULL, "close is missing");
    REFUSED(base("x"), t.shutdown = NULL, "GS_T_NO_HALF_CLOSE");
    REFUSED(base("x"), t.flags = GS_T_SECURE, "security is missing");
    REFUSED(base("x"), t.flags = GS_T_KERNEL, "poll is missing");
    REFUSED(base("x"), (t.flags = GS_T_KERNEL, t.poll = poll_stub), "setopt or getopt");
    REFUSED(base("x"), (t.flags = GS_T_KERNEL, t.poll = poll_stub, t.setopt = setopt_stub), "setopt or getopt");
    REFUSED(layer("x"), t.flags = GS_T_HOST, "of bases");
    REFUSED(layer("x"), t.flags = GS_T_KERNEL, "of bases");
    assert_null(gs_transport_find("x"));
    assert_code(gs_transport_register(NULL), GS_EBADARG);
}

static void schemes_are_short_and_plain(void **state)
{
    (void)state;
    static const char *const wrong[] = {NULL, "", "X", "aB", "1a", "-a", ".a", "a+b", "a:b", "a b", "a_b", "\xc3\xa4",
                                        "a1234567890123456789012345678901"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct gs_transport t = base(wrong[i]);
        assert_refused(&t, "scheme");
        assert_true(!wrong[i] || !gs_transport_find(wrong[i]));
    }
    struct gs_transport t = base("a-1.b67890123456789012345678901");
    assert_ok(gs_transport_register(&t));
    assert_non_null(gs_transport_find("a-1.b67890123456789012345678901"));
}

static void a_scheme_is_taken_once(void **state)
{
    (void)state;
    struct gs_transport t = base("once");
    assert_ok(gs_transport_register(&t));
    assert_code(gs_transport_register(&t), -EEXIST);
    assert_non_null(strstr(gs_error_detail(-EEXIST), "once"));
    static const char *const built_in[] = {"tcp", "unix", "mem"};
    for (size_t i = 0; i < 3; i++) {
        assert_non_null(gs_transport_find(built_in[i]));
        t = base(built_in[i]);
        assert_code(gs_transport_register(&t), -EEXIST);
    }
}

static void registration_without_memory_changes_nothing(void **state)
{
    (void)state;
    struct gs_transport t = base("poor");
    fault_fail_call(FAULT_malloc, 1, 1, ENOMEM);
    int e = gs_transport_register(&t);
    assert_int_equal(fault_stop(), 1);
    assert_code(e, -ENOMEM);
    assert_null(gs_transport_find("poor"));
    assert_ok(gs_transport_register(&t));
}

static void a_longer_table_is_taken_when_the_rest_is_empty(void **state)
{
    (void)state;
    struct {
        struct gs_transport t;
        void (*slot_of_a_later_version)(void);
    } longer = {.t = base("later"), .slot_of_a_later_version = abort};
    longer.t.size = sizeof longer;
    assert_refused(&longer.t, "later gensock");
    longer.slot_of_a_later_version = NULL;
    assert_ok(gs_transport_register(&longer.t));
    assert_int_equal(gs_transport_find("later")->size, sizeof(struct gs_transport));
}

static void a_copy_with_every_slot_filled_is_kept(void **state)
{
    (void)state;
    char scheme[] = "copied";
    struct gs_transport t = base(scheme);
    t.flags = GS_T_NO_HALF_CLOSE;
    t.shutdown = NULL;
    assert_ok(gs_transport_register(&t));
    memset(&t, 0, sizeof t);
    memset(scheme, 'x', sizeof scheme - 1);
    const struct gs_transport *kept = gs_transport_find("copied");
    assert_non_null(kept);
    assert_string_equal(kept->scheme, "copied");
    assert_null(kept->sendfile);
    assert_null(kept->upgrade);
    size_t buffered = 5;
    gs_opt o = GS_INT(NODELAY, 1);
    gs_peer peer = {.kind = GS_PEER_TLS, .subject = "somebody"};
    gs_addr a;
    gs_security security;
    void *ctx;
    assert_code(kept->connect(NULL, NULL, NULL, &ctx), -ECONNREFUSED);
    assert_code(kept->listen(NULL, NULL, NULL, &ctx), -ENOTSUP);
    assert_code(kept->accept(NULL, NULL, &ctx), -ENOTSUP);
    assert_ok(kept->handshake(NULL));
    assert_code(kept->shutdown(NULL, GS_SHUT_WRITE), -ENOTSUP);
    assert_int_equal(kept->poll(NULL, &buffered), -1);
    assert_int_equal(buffered, 0);
    assert_code(kept->setopt(NULL, &o), -ENOTSUP);
    assert_code(kept->getopt(NULL, &o), -ENOTSUP);
    assert_code(kept->name(NULL, true, &a), -ENOTSUP);
    assert_ok(kept->peer(NULL, &peer));
    assert_int_equal(peer.kind, GS_PEER_UNKNOWN);
    assert_null(peer.subject);
    assert_code(kept->security(NULL, &security), GS_ENOTSECURE);
}

/* ---- stacks ---- */

static void register_words(void)
{
    static bool done;
    struct gs_transport t = layer("lay");
    if (!done)
        assert_ok(gs_transport_register(&t));
    t = layer("er");
    t.flags = GS_T_SECURE;
    t.security = security_stub;
    if (!done)
        assert_ok(gs_transport_register(&t));
    t = base("bas");
    t.listen = listen_stub;
    t.accept = accept_stub;
    t.flags = GS_T_KERNEL;
    t.poll = poll_stub;
    t.setopt = setopt_stub;
    t.getopt = getopt_stub;
    if (!done)
        assert_ok(gs_transport_register(&t));
    done = true;
}

/* "layer,layer/base/rest" */
static const char *stack_text(const char *address)
{
    static char text[200];
    struct gsi_stack s;
    assert_ok(gsi_stack_parse(address, &s));
    text[0] = '\0';
    for (int i = 0; i < s.layers; i++)
        strcat(strcat(text, s.layer[i]->scheme), i + 1 < s.layers ? "," : "");
    strcat(strcat(strcat(strcat(text, "/"), s.base->scheme), "/"), s.rest);
    assert_ptr_equal(s.rest, strstr(address, "://") + 3);
    return text;
}

static void an_address_names_layers_and_a_base(void **state)
{
    (void)state;
    register_words();
    assert_string_equal(stack_text("tcp://h:1"), "/tcp/h:1");
    assert_string_equal(stack_text("unix:///s"), "/unix//s");
    assert_string_equal(stack_text("mem://x"), "/mem/x");
    assert_string_equal(stack_text("MEM://X"), "/mem/X");
    assert_string_equal(stack_text("bas://"), "/bas/");
    assert_string_equal(stack_text("lay+unix:///s"), "lay/unix//s");
    assert_string_equal(stack_text("lay://h:1"), "lay/tcp/h:1");
    assert_string_equal(stack_text("lay+er+lay+mem://x"), "lay,er,lay/mem/x");
    assert_string_equal(stack_text("lay+lay+lay+er+bas://x"), "lay,lay,lay,er/bas/x");
    assert_string_equal(stack_text("er+lay://h:1"), "er,lay/tcp/h:1");
    assert_string_equal(stack_text("mem://a://b+c"), "/mem/a://b+c");
}

static void what_is_no_stack_is_refused(void **state)
{
    (void)state;
    register_words();
    static const struct {
        const char *address;
        int code;
        const char *why;
    } rows[] = {
        {"", GS_EFORMAT, "scheme"},
        {"h:1", GS_EFORMAT, "scheme"},
        {"tcp:/h", GS_EFORMAT, "scheme"},
        {"://h", GS_EFORMAT, "scheme"},
        {"t_p://h", GS_EFORMAT, "scheme"},
        {"lay+://h", GS_EFORMAT, "empty"},
        {"lay++tcp://h", GS_EFORMAT, "empty"},
        {"tcp+lay://h", GS_EFORMAT, "base"},
        {"lay+tcp+unix://h", GS_EFORMAT, "base"},
        {"lay+lay+lay+lay+lay+mem://h", GS_EFORMAT, "4 layers"},
        {"nosuch://h", GS_ENOSCHEME, "nosuch"},
        {"lay+nosuch://h", GS_ENOSCHEME, "nosuch"},
        {"nosuch+tcp://h", GS_ENOSCHEME, "nosuch"},
        {"tls://h:443", GS_ENOSCHEME, "gs_tls_register of the library gensock-tls"},
        {"tailnet://h:443", GS_ENOSCHEME, "gensock-tailnet"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gsi_stack s = {.layers = 77};
        assert_code(gsi_stack_parse(rows[i].address, &s), rows[i].code);
        assert_int_equal(s.layers, 77);
        if (!strstr(gs_error_detail(rows[i].code), rows[i].why))
            fail_msg("%s: %s", rows[i].address, gs_error_detail(rows[i].code));
    }
}

/* ---- what a transport calls ---- */

static int told_readable, told_writable;
static void hear(struct gs_io *io, bool readable, bool writable)
{
    (void)io;
    told_readable += readable;
    told_writable += writable;
}

static void ready_sets_the_level_and_calls_the_hook(void **state)
{
    (void)state;
    struct gs_io io = {0};
    gs_transport_ready(&io, true, false);
    assert_int_equal(io.readable, 1);
    assert_int_equal(io.writable, 0);
    io.ready = hear;
    gs_transport_ready(&io, false, true);
    assert_int_equal(io.writable, 1);
    assert_int_equal(told_readable, 0);
    assert_int_equal(told_writable, 1);
    gs_transport_ready(NULL, true, true);
}

static void early_bytes_come_before_those_below(void **state)
{
    (void)state;
    struct gs_transport t = base("below");
    struct gs_io io = {.lower = &t, .early = gsi_alloc(10), .early_at = 2, .early_n = 7};
    char got[10], more[10];
    memcpy(io.early, "..abcde...", 10);
    struct iovec v[3] = {{got, 2}, {NULL, 0}, {more, 1}};
    assert_int_equal(gs_io_readv(&io, v, 3), 3);
    assert_memory_equal(got, "ab", 2);
    assert_int_equal(more[0], 'c');
    v[0].iov_len = 10;
    assert_int_equal(gs_io_readv(&io, v, 1), 2);
    assert_memory_equal(got, "de", 2);
    assert_null(io.early);
    assert_int_equal(gs_io_readv(&io, v, 1), 10);
    assert_int_equal(got[0], 'r');
    assert_int_equal(gs_io_writev(&io, v, 3), 3);
    assert_int_equal(gs_io_shutdown(&io, GS_SHUT_WRITE), 10 + GS_SHUT_WRITE);
    io.early = gsi_alloc(1); /* present but used up is not an end */
    assert_int_equal(gs_io_readv(&io, v, 1), 10);
    gsi_free(io.early);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradictions_are_refused_by_name),
        cmocka_unit_test(schemes_are_short_and_plain),
        cmocka_unit_test(a_scheme_is_taken_once),
        cmocka_unit_test(registration_without_memory_changes_nothing),
        cmocka_unit_test(a_longer_table_is_taken_when_the_rest_is_empty),
        cmocka_unit_test(a_copy_with_every_slot_filled_is_kept),
        cmocka_unit_test(an_address_names_layers_and_a_base),
        cmocka_unit_test(what_is_no_stack_is_refused),
        cmocka_unit_test(ready_sets_the_level_and_calls_the_hook),
        cmocka_unit_test(early_bytes_come_before_those_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
