/* control/: the map stream and updates of a control connection; its life in every cutting and with every allocation failed. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <zstd.h>

#include "tailnet_control_ends.h"

/* ---- the map ---- */

static void map_messages_are_handed_over_whole(void **state)
{
    (void)state;
    open_map();
    assert_non_null(strstr(s.request[0], "\"KeepAlive\":true"));
    assert_non_null(strstr(s.request[0], "\"Stream\":true"));
    assert_null(strstr(s.request[0], "OmitPeers"));
    assert_null(strstr(s.request[0], "Compress"));
    server_message(&s, "{\"Node\":{}}", 11);
    server_message(&s, "{}", 2);
    assert_ok(pump());
    expect_message("{\"Node\":{}}");
    expect_message("{}");
    expect_none();
    /* an update and a ping beside it */
    reply(200, "");
    reply(204, "");
    assert_ok(gsi_control_update(c, &map, now));
    struct url ping;
    assert_ok(gsi_url_ping(&url, "https://control.test/ping/1?a=b", 31, &ping));
    assert_ok(gsi_control_ping(c, &ping, now));
    assert_ok(pump());
    expect(CONTROL_UPDATED);
    expect(CONTROL_PINGED);
    assert_int_equal(event.status, 204);
    assert_non_null(strstr(s.request[1], "\"OmitPeers\":true"));
    assert_null(strstr(s.request[1], "\"Stream\":true"));
    assert_string_equal(s.path[2], "/ping/1?a=b");
    assert_code(gsi_control_map(c, &map, now), -EBUSY);
    s.live_over = true;
    server_send(&s, "", 0);
    assert_ok(pump());
    expect(CONTROL_MAP_ENDED);
    assert_int_equal(event.code, GS_ECLOSED);
    expect_none();
}

static void a_compressed_map_is_opened(void **state)
{
    (void)state;
    char json[] = "{\"KeepAlive\":true}";
    uint8_t z[256];
    size_t n = ZSTD_compress(z, sizeof z, json, strlen(json), 1);
    map.compress = true;
    open_map();
    map.compress = false;
    assert_non_null(strstr(s.request[0], "\"Compress\":\"zstd\""));
    for (int i = 0; i < 3; i++)
        server_message(&s, z, n);
    server_message(&s, json, strlen(json)); /* was asked for compressed: it is not sniffed */
    assert_ok(pump());
    for (int i = 0; i < 3; i++)
        expect_message(json);
    expect(CONTROL_MAP_ENDED);
    assert_int_equal(event.code, GS_EINVALID);
    assert_ok(pump());
    expect_none();
}

/* Half a megabyte each, over windows of 256 KiB: they open only as messages are taken. */
static void a_message_larger_than_the_windows_arrives(void **state)
{
    (void)state;
    static uint8_t big[500 * 1024];
    open_map();
    for (int i = 0; i < 3; i++) {
        pattern_fill(big, sizeof big, (uint64_t)i, 0);
        server_message(&s, big, sizeof big);
    }
    int got = 0;
    for (int turns = 0; got < 3 && turns < 1000; turns++) {
        assert_ok(pump());
        while (gsi_control_next(c, &event)) {
            assert_int_equal(event.type, CONTROL_MAP);
            assert_int_equal(event.message.n, sizeof big);
            assert_int_equal(pattern_check(event.message.p, sizeof big, (uint64_t)got, 0), sizeof big);
            got++;
        }
    }
    assert_int_equal(got, 3);
}

static void a_map_that_nobody_takes_stops_the_server_not_the_connection(void **state)
{
    (void)state;
    static uint8_t big[900 * 1024];
    open_map();
    server_message(&s, big, sizeof big);
    reply(200, authorized);
    assert_ok(pump());
    assert_int_equal(s.live_at, 256 * 1024);
    assert_ok(gsi_control_register(c, &registration, now));
    assert_ok(pump());
    assert_int_equal(s.live_at, 256 * 1024);
    bool registered = false, mapped = false;
    for (int i = 0; i < 20; i++, assert_ok(pump()))
        while (gsi_control_next(c, &event)) {
            registered |= event.type == CONTROL_LOGGED_IN;
            mapped |= event.type == CONTROL_MAP;
        }
    assert_true(registered && mapped);
}

static void map_messages_of_wrong_lengths_end_the_stream_alone(void **state)
{
    (void)state;
    static const struct {
        uint32_t len;
        int code;
    } rows[] = {{0, GS_EINVALID}, {1024 * 1024 + 1, -EMSGSIZE}, {0x7fffffff, -EMSGSIZE}, {0x80000000, -EMSGSIZE},
                {0x80000001, -EMSGSIZE}, {UINT32_MAX, -EMSGSIZE}};
    assert_ok(pump());
    expect(CONTROL_OPEN);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t head[4] = {(uint8_t)rows[i].len, (uint8_t)(rows[i].len >> 8), (uint8_t)(rows[i].len >> 16),
                           (uint8_t)(rows[i].len >> 24)};
        s.live_n = s.live_at = 0;
        s.replies[s.replies_n++] = (struct reply){.status = 200, .stays = true};
        assert_ok(gsi_control_map(c, &map, now));
        assert_ok(pump());
        server_send(&s, head, 4);
        server_send(&s, "more", 4);
        assert_ok(pump());
        expect(CONTROL_MAP_ENDED);
        assert_int_equal(event.code, rows[i].code);
        expect_none();
        assert_ok(pump());
    }
    reply(200, authorized);
    assert_ok(gsi_control_register(c, &registration, now));
    assert_ok(pump());
    expect(CONTROL_LOGGED_IN);
}

static void an_unknown_node_is_told_with_the_servers_words(void **state)
{
    (void)state;
    reply(404, "node not found\n");
    assert_ok(gsi_control_map(c, &map, now));
    assert_ok(pump());
    expect(CONTROL_OPEN);
    expect(CONTROL_FAILED);
    assert_int_equal(event.status, 404);
    assert_string_equal(event.text, "node not found");
    assert_int_equal(event.request, CONTROL_MAP_STREAM);
}

static void the_watchdog_counts_from_the_last_message(void **state)
{
    (void)state;
    open_map();
    for (int i = 0; i < 5; i++) { /* keep-alives only */
        now += 59 * S;
        server_message(&s, "{\"KeepAlive\":true}", 18);
        assert_ok(pump());
        expect_message("{\"KeepAlive\":true}");
    }
    uint64_t last = now;
    now += 60 * S; /* a sign of life of HTTP/2 is no message */
    assert_ok(gsi_control_tick(c, now));
    assert_ok(pump());
    assert_int_equal(s.pings, 1);
    assert_int_equal(gsi_control_deadline(c), last + 120 * S);
    assert_ok(gsi_control_tick(c, last + 120 * S - 1));
    assert_code(gsi_control_tick(c, last + 120 * S), GS_ETIMEOUT);
}

/* ---- every cut ---- */

/* One whole life; the server's bytes come in pieces of one size. */
static void a_life(size_t piece)
{
    s.early = true;
    reply(200, authorized);
    s.replies[s.replies_n++] = (struct reply){.status = 200, .stays = true};
    assert_ok(gsi_control_register(c, &registration, now));
    assert_ok(gsi_control_map(c, &map, now));
    assert_ok(pump_in(piece));
    server_message(&s, "{\"Node\":{}}", 11);
    server_message(&s, "{\"KeepAlive\":true}", 18);
    assert_ok(pump_in(piece));
    expect(CONTROL_OPEN);
    expect(CONTROL_LOGGED_IN);
    expect_message("{\"Node\":{}}");
    expect_message("{\"KeepAlive\":true}");
    expect_none();
}

static void any_size_of_pieces_tells_the_same(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 40; piece++) {
        a_life(piece);
        gsi_control_free(c);
        server_reset(&s);
        assert_ok(start(&url));
    }
}

/* The peer ends at each byte of what it has to say: no event is there that was not whole. */
static void a_connection_cut_at_each_byte_is_over_and_told_so(void **state)
{
    (void)state;
    size_t cut = 0;
    for (bool whole = false; !whole; cut++) {
        static uint8_t buf[64 * 1024];
        size_t left = cut;
        s.early = true;
        reply(200, authorized);
        assert_ok(gsi_control_register(c, &registration, now));
        for (;;) {
            ssize_t n = gsi_control_output(c, buf, sizeof buf);
            assert_true(n >= 0);
            server_feed(&s, buf, (size_t)n);
            size_t k = s.out_n < left ? s.out_n : left;
            assert_ok(gsi_control_feed(c, s.out, k, now));
            left -= k;
            if (k < s.out_n || (!n && !k)) {
                whole = k == s.out_n;
                break;
            }
            s.out_n = 0;
        }
        int e = gsi_control_end(c);
        assert_true(e == GS_ECLOSED || e == GS_ENOUPGRADE);
        bool logged_in = false;
        while (gsi_control_next(c, &event))
            logged_in |= event.type == CONTROL_LOGGED_IN;
        assert_true(!whole || logged_in);
        gsi_control_free(c);
        server_reset(&s);
        assert_ok(start(&url));
    }
    assert_true(cut > 300);
}

/* ---- OpenSSL's memory, counted and failed ---- */

static long fail_at, allocations; /* 0: none fails */
static long blocks;

static bool fails(void) { return ++allocations == fail_at; }

static void *counted_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    void *p = fails() ? NULL : malloc(n);
    blocks += p != NULL;
    return p;
}

static void *counted_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    if (n && fails())
        return NULL;
    blocks += !p && n;
    blocks -= p && !n;
    if (n)
        return realloc(p, n);
    free(p);
    return NULL;
}

static void counted_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    blocks -= p != NULL;
    free(p);
}

static bool oom_life(void)
{
    static uint8_t buf[64 * 1024];
    bool mapped = false;
    s.early = true;
    reply(200, authorized);
    s.replies[s.replies_n++] = (struct reply){.status = 200, .body = "\2\0\0\0{}", .n = 6};
    int e = start(&url);
    if (e == 0)
        e = gsi_control_register(c, &registration, now);
    if (e == 0)
        e = gsi_control_map(c, &map, now);
    while (e == 0) {
        ssize_t n = gsi_control_output(c, buf, sizeof buf);
        if (n < 0) {
            e = (int)n;
            break;
        }
        long was = fail_at;
        fail_at = 0; /* the server has memory */
        long count = allocations;
        server_feed(&s, buf, (size_t)n);
        allocations = count;
        fail_at = was;
        if (!n && !s.out_n)
            break;
        e = gsi_control_feed(c, s.out, s.out_n, now);
        s.out_n = 0;
    }
    while (c && gsi_control_next(c, &event))
        mapped |= event.type == CONTROL_MAP;
    if (e)
        assert_code(e, -ENOMEM);
    gsi_control_free(c);
    c = NULL;
    return mapped;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    gsi_control_free(c);
    c = NULL;
    assert_true(oom_life());
    server_reset(&s);
    ERR_clear_error();
    long before = blocks, failed = 0;
    for (long n = 1;; n++) {
        allocations = 0;
        fail_at = n;
        bool whole = oom_life();
        bool fired = allocations >= n;
        fail_at = 0;
        server_reset(&s);
        ERR_clear_error(); /* its texts are blocks */
        assert_int_equal(blocks, before);
        failed += fired && !whole;
        if (!fired) {
            assert_true(whole);
            break;
        }
    }
    assert_true(failed > 30);
    assert_ok(start(&url));
}

int main(void)
{
    if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
        abort();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(map_messages_are_handed_over_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_compressed_map_is_opened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_larger_than_the_windows_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_map_that_nobody_takes_stops_the_server_not_the_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(map_messages_of_wrong_lengths_end_the_stream_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_node_is_told_with_the_servers_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_watchdog_counts_from_the_last_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_size_of_pieces_tells_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_cut_at_each_byte_is_over_and_told_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("tailnet control map", tests, NULL, NULL);
}
