/* control/: a control connection against a scripted server: opening, register, time, limits and ends. */
#include <errno.h>

#include "tailnet_control_ends.h"

/* ---- opening and register ---- */

static void a_request_asked_at_once_goes_out_when_the_channel_stands(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) {
        s.early = early;
        reply(200, authorized);
        assert_ok(gsi_control_register(c, &registration, now));
        assert_ok(pump());
        expect(CONTROL_OPEN);
        expect(CONTROL_LOGGED_IN);
        assert_string_equal(event.text, "me@test");
        assert_int_equal(event.request, CONTROL_REGISTER);
        expect_none();
        assert_string_equal(s.path[0], "/machine/register");
        assert_string_equal(s.lb[0], "nodekey:0303030303030303030303030303030303030303030303030303030303030303");
        assert_string_equal(s.request[0],
                            "{\"Version\":115,\"NodeKey\":\"nodekey:030303030303030303030303030303030303030303"
                            "0303030303030303030303\","
                                          "\"Auth\":{\"AuthKey\":\"tskey-1\"},\"Hostinfo\":{\"Hostname\":\"c-node\"}}");
        assert_int_equal(s.noise.version, CAPABILITY_VERSION);
        assert_non_null(strstr(s.hello, "\r\nHost: control.test\r\n"));
        gsi_control_free(c);
        server_reset(&s);
        assert_ok(start(&url));
    }
}

static void register_answers_are_judged_in_gos_order(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum control_event_type type;
        const char *text;
    } rows[] = {
        {200, "{\"MachineAuthorized\":true}", CONTROL_LOGGED_IN, ""},
        {200, "{\"MachineAuthorized\":false}", CONTROL_NEEDS_APPROVAL, ""},
        {200, "{}", CONTROL_NEEDS_APPROVAL, ""},
        {200, "{\"AuthURL\":\"https://control.test/a/1\"}", CONTROL_NEEDS_LOGIN, "https://control.test/a/1"},
        {200, "{\"AuthURL\":\"https://control.test/a\",\"NodeKeyExpired\":true}", CONTROL_KEY_EXPIRED, ""},
        {200, "{\"NodeKeySignature\":\"AAAA\",\"NodeKeyExpired\":true}", CONTROL_NEEDS_SIGNATURE, ""},
        {200, "{\"NodeKeySignature\":null,\"MachineAuthorized\":true}", CONTROL_LOGGED_IN, ""},
        {200, "{\"Error\":\"authkey\\u001b expired\",\"NodeKeyExpired\":true,\"AuthURL\":\"https://x/\"}", CONTROL_REJECTED,
         "authkey. expired"},
        {400, "unsupported client version: v1.48 (68)\n", CONTROL_FAILED, "unsupported client version: v1.48 (68)"},
        {500, "", CONTROL_FAILED, ""},
        {200, "", CONTROL_FAILED, ""},
        {200, "{\"AuthURL\":\"javascript:alert(1)\"}", CONTROL_FAILED, ""},
        {200, "[]", CONTROL_FAILED, ""},
        {200, "{\"MachineAuthorized\":true", CONTROL_FAILED, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        reply(rows[i].status, rows[i].body);
    assert_ok(pump());
    expect(CONTROL_OPEN);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(gsi_control_register(c, &registration, now));
        assert_ok(pump());
        expect(rows[i].type);
        assert_string_equal(event.text, rows[i].text);
        if (rows[i].type == CONTROL_FAILED) {
            assert_int_equal(event.status, rows[i].status == 200 ? 0 : rows[i].status);
            assert_int_equal(event.code, rows[i].status == 200 ? GS_EINVALID : 0);
        }
        expect_none();
    }
}

static void a_login_is_followed_up_without_a_time_limit(void **state)
{
    (void)state;
    reply(200, "{\"AuthURL\":\"https://control.test/register/abc\"}");
    assert_ok(gsi_control_register(c, &registration, now));
    assert_ok(pump());
    expect(CONTROL_OPEN);
    expect(CONTROL_NEEDS_LOGIN);
    char followup[100];
    strcpy(followup, event.text);
    struct register_request r = registration;
    r.auth_key = NULL;
    r.followup = followup;
    r.old_node_key = old_key;
    assert_ok(gsi_control_register(c, &r, now));
    assert_ok(pump());
    assert_non_null(strstr(s.request[1], "\"Followup\":\"https://control.test/register/abc\""));
    assert_non_null(strstr(s.request[1], "\"OldNodeKey\":\"nodekey:0404"));
    for (int i = 0; i < 20; i++) { /* the server lives: it answers pings */
        now = gsi_control_deadline(c);
        assert_ok(gsi_control_tick(c, now));
        assert_ok(pump());
        expect_none();
    }
    assert_int_equal(s.pings, 20);
    assert_true(now >= 1000 * S + 20 * 60 * S);
}

static void a_server_that_falls_silent_is_left_after_two_minutes(void **state)
{
    (void)state;
    struct register_request r = registration;
    r.followup = "https://control.test/x";
    assert_ok(gsi_control_register(c, &r, now));
    assert_ok(pump());
    uint64_t began = now;
    now = gsi_control_deadline(c);
    assert_int_equal(now - began, 60 * S);
    assert_ok(gsi_control_tick(c, now));
    assert_int_equal(gsi_control_deadline(c) - began, 120 * S);
    assert_ok(gsi_control_tick(c, began + 120 * S - 1));
    assert_code(gsi_control_tick(c, began + 120 * S), GS_ETIMEOUT);
    assert_code(gsi_control_feed(c, "x", 1, now), GS_ETIMEOUT);
    assert_code(gsi_control_register(c, &r, now), GS_ETIMEOUT);
    assert_int_equal(gsi_control_deadline(c), UINT64_MAX);
}

static void an_answer_that_does_not_come_is_told_after_a_minute(void **state)
{
    (void)state;
    assert_ok(gsi_control_register(c, &registration, now));
    assert_ok(pump());
    expect(CONTROL_OPEN);
    assert_ok(gsi_control_tick(c, now + 60 * S));
    expect(CONTROL_FAILED);
    assert_int_equal(event.code, GS_ETIMEOUT);
    assert_ok(pump());
    s.replies_n = 2;
    s.replies[1] = (struct reply){.status = 200, .body = authorized, .n = strlen(authorized)};
    assert_ok(gsi_control_register(c, &registration, now));
    assert_ok(pump());
    expect(CONTROL_LOGGED_IN);
}

static void a_rate_limit_tells_how_long_to_wait(void **state)
{
    (void)state;
    static const struct {
        const char *after, *date;
        uint64_t least, most;
    } rows[] = {
        {"7", NULL, 7 * S, 7 * S},
        {"3600", NULL, 3600 * S, 3600 * S},
        {"3601", NULL, 5 * S, 10 * S},
        {"0", NULL, 5 * S, 10 * S},
        {"-1", NULL, 5 * S, 10 * S},
        {NULL, NULL, 5 * S, 10 * S},
        {"99999999999999999999", NULL, 5 * S, 10 * S},
        {"Sun, 06 Nov 1994 08:50:07 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", 30 * S, 30 * S},
        {"Thu, 01 Jan 2026 00:00:05 GMT", "Wed, 31 Dec 2025 23:59:55 GMT", 10 * S, 10 * S},
        {"Sun, 06 Nov 1994 08:50:07 GMT", NULL, 5 * S, 10 * S},
        {"Sun, 06 Nov 1994 08:49:07 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", 5 * S, 10 * S},
        {"Sun, 06 Xxx 1994 08:49:07 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", 5 * S, 10 * S},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        s.replies[s.replies_n++] = (struct reply){.status = i % 2 ? 503 : 429, .body = "slow", .n = 4,
                                                  .retry_after = rows[i].after, .date = rows[i].date};
    assert_ok(pump());
    expect(CONTROL_OPEN);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(i % 3 ? gsi_control_register(c, &registration, now) : gsi_control_update(c, &map, now));
        assert_ok(pump());
        expect(CONTROL_RATE_LIMITED);
        assert_in_range(event.wait_ns, rows[i].least, rows[i].most);
    }
}

static void logout_sends_an_expiry_of_the_past(void **state)
{
    (void)state;
    reply(200, "{\"NodeKeyExpired\":true,\"MachineAuthorized\":true}");
    assert_ok(gsi_control_logout(c, &registration, now));
    assert_ok(pump());
    expect(CONTROL_OPEN);
    expect(CONTROL_LOGGED_OUT);
    assert_non_null(strstr(s.request[0], "\"Expiry\":\"1970-01-01T00:02:03Z\""));
}

/* ---- limits and ends ---- */

static void answers_over_their_limits_fail_their_request_alone(void **state)
{
    (void)state;
    static char big[1024 * 1024 + 2];
    memset(big, ' ', sizeof big - 1);
    static char long_header[17000];
    memset(long_header, 'a', sizeof long_header - 1);
    reply(200, big);
    reply(500, big);
    reply(200, authorized);
    s.replies[s.replies_n++] = (struct reply){.status = 200, .date = long_header, .body = "{}", .n = 2};
    reply(200, authorized);
    static const enum control_event_type types[] = {CONTROL_FAILED, CONTROL_FAILED, CONTROL_LOGGED_IN, CONTROL_FAILED,
                                                    CONTROL_LOGGED_IN};
    static const int codes[] = {-EMSGSIZE, 0, 0, -EMSGSIZE, 0};
    assert_ok(pump());
    expect(CONTROL_OPEN);
    for (int i = 0; i < 5; i++) {
        assert_ok(gsi_control_register(c, &registration, now));
        assert_ok(pump());
        expect(types[i]);
        assert_int_equal(event.code, codes[i]);
        assert_true(strlen(event.text) <= 200);
    }
}

static void requests_have_limits_of_their_own(void **state)
{
    (void)state;
    static char name[70000];
    memset(name, 'a', sizeof name - 1);
    struct hostinfo wide = {.hostname = name};
    struct register_request r = registration;
    r.host = &wide;
    assert_code(gsi_control_register(c, &r, now), -ENOBUFS);
    r.host = NULL;
    assert_code(gsi_control_register(c, &r, now), GS_EINVALID);
    struct map_request m = map;
    m.disco_key = NULL;
    assert_code(gsi_control_map(c, &m, now), GS_EINVALID);
    for (int i = 0; i < 8; i++)
        assert_ok(gsi_control_update(c, &map, now));
    assert_code(gsi_control_update(c, &map, now), -EBUSY);
    assert_code(gsi_control_map(c, &map, now), -EBUSY);
}

static void answers_that_are_no_upgrade_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int code;
        const char *detail;
    } rows[] = {
        {"HTTP/1.1 400 Bad Request\r\nContent-Length: 36\r\n\r\nmissing Tailscale handshake header\r\n", GS_ENOUPGRADE,
         "400: \"missing Tailscale handshake header\""},
        {"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nInternal\r\n0\r\n\r\n", GS_ENOUPGRADE,
         "500: \"Internal\" (a proxy"},
        {"HTTP/1.1 200 OK\r\n\r\n<html>", GS_ENOUPGRADE, "200: \"<html>\""},
        {"HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\nhalf", GS_ENOUPGRADE, "400: \"half\""},
        {"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n\r\n", GS_ENOUPGRADE, "another protocol"},
        {"HTTP/1.1 101 OK\r\n\r\n", GS_ENOUPGRADE, "another protocol"},
        {"HTTP/1.1 101 OK\r\nUpgrade: tailscale-control-protocol\r\n\r\n", GS_ECLOSED, "capability version 115"},
        {"HTTP/1.1 101 OK\r\nUpgrade: Tailscale-Control-Protocol\r\n\r\n\x03\x01\x02", GS_ECLOSED, "ended the connection"},
        {"HTTP/1.1 101 OK\r\nUpgrade: tailscale-control-protocol\r\n\r\n\x05", GS_ECLOSED, ""},
        {"HTTP/1.1 101 OK\r\nUpgrade: tailscale-control-protocol\r\n\r\n\x05\x01\x02", GS_EINVALID, ""},
        {"SSH-2.0-OpenSSH\r\n\r\n", GS_EINVALID, "status line"},
        {"", GS_ECLOSED, "ended the connection"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        s.instead = rows[i].answer;
        int e = pump();
        if (e == 0)
            e = gsi_control_end(c);
        assert_code(e, rows[i].code);
        assert_non_null(strstr(gs_error_detail(e), rows[i].detail));
        assert_code(gsi_control_tick(c, now), e);
        gsi_control_free(c);
        server_reset(&s);
        assert_ok(start(&url));
    }
}

static void another_server_key_ends_in_the_handshake(void **state)
{
    (void)state;
    s.key[0] ^= 8;
    assert_ok(pump());
    assert_code(gsi_control_end(c), GS_ECLOSED);
    s.key[0] ^= 8;
    uint8_t zero[KEY_LEN] = {0};
    struct control *none;
    assert_code(gsi_control_new(&none, &(struct control_config){.url = &url, .server_key = zero, .machine_private = machine},
                                now), GS_EINVALID);
    assert_null(none);
}

static void a_channel_that_does_not_open_is_left_after_ten_seconds(void **state)
{
    (void)state;
    assert_int_equal(gsi_control_deadline(c), now + 10 * S);
    assert_ok(gsi_control_tick(c, now + 10 * S - 1));
    assert_code(gsi_control_tick(c, now + 10 * S), GS_ETIMEOUT);
}

static void a_goodbye_is_told_and_later_requests_are_not_taken(void **state)
{
    (void)state;
    open_map();
    assert_int_equal(nghttp2_submit_goaway(s.h2, 0, 1, 0, NULL, 0), 0);
    server_flush(&s);
    assert_ok(pump());
    expect(CONTROL_GOING_AWAY);
    assert_ok(gsi_control_register(c, &registration, now));
    assert_ok(pump());
    expect(CONTROL_FAILED);
    assert_int_equal(event.code, GS_ECLOSED);
    server_message(&s, "{}", 2); /* the stream goes on */
    assert_ok(pump());
    expect_message("{}");
    s.live_over = true;
    server_send(&s, "", 0);
    assert_code(pump(), GS_ECLOSED);
    expect(CONTROL_MAP_ENDED);
    expect_none();
}

static void broken_http2_ends_the_connection_after_saying_so(void **state)
{
    (void)state;
    open_map();
    server_plain(&s, "\0\0\1\0\0\0\0\0\0x", 10); /* DATA on stream 0 */
    assert_code(pump(), GS_EINVALID);
    assert_code(gsi_control_end(c), GS_EINVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_asked_at_once_goes_out_when_the_channel_stands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(register_answers_are_judged_in_gos_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_login_is_followed_up_without_a_time_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_falls_silent_is_left_after_two_minutes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_that_does_not_come_is_told_after_a_minute, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rate_limit_tells_how_long_to_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(logout_sends_an_expiry_of_the_past, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_over_their_limits_fail_their_request_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_have_limits_of_their_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_that_are_no_upgrade_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_server_key_ends_in_the_handshake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_channel_that_does_not_open_is_left_after_ten_seconds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_goodbye_is_told_and_later_requests_are_not_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(broken_http2_ends_the_connection_after_saying_so, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("tailnet control", tests, NULL, NULL);
}
