/* control/: its parts alone: HTTP/1.1 answers, GET /key, URLs, the map's framing, request bodies, back-off. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "support.h"
#include "tailnet/control/backoff.h"
#include "tailnet/control/http.h"
#include "tailnet/control/map_stream.h"
#include "tailnet/control/request.h"
#include "tailnet/control/server_key.h"
#include "tailnet/control/text.h"

#define S UINT64_C(1000000000)

/* ---- HTTP/1.1 ---- */

static struct http_answer a;

/* Fed in two parts, then ended when it is not done; what the last call answered: bytes taken, or a code. */
static ssize_t http(const char *text, size_t n, size_t cut, size_t body_max)
{
    gsi_http_fini(&a);
    gsi_http_init(&a, body_max);
    ssize_t first = gsi_http_feed(&a, text, cut);
    if (first < 0 || a.done)
        return first;
    assert_int_equal(first, cut);
    ssize_t rest = gsi_http_feed(&a, text + cut, n - cut);
    if (rest < 0)
        return rest;
    if (!a.done) {
        int e = gsi_http_end(&a);
        if (e)
            return e;
    }
    return first + rest;
}

static void answers_are_read_alike_at_every_cut(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
        const char *body;
        size_t left; /* bytes that are not HTTP's */
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloNEXT", 200, "hello", 4},
        {"HTTP/1.0 200\r\ncontent-length:\t0 \r\n\r\nN", 200, "", 1},
        {"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end", 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nT: x\r\n\r\nNEXT", 200,
         "hello world", 4},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx", 404,
         "x", 0},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nnoise", 101, "", 5},
        {"HTTP/1.1 204 None\r\n\r\nNEXT", 204, "", 4},
        {"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\nNEXT", 304, "", 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text);
        for (size_t cut = 0; cut <= n; cut++) {
            assert_int_equal(http(rows[i].text, n, cut, 100), n - rows[i].left);
            assert_true(a.done);
            assert_int_equal(a.status, rows[i].status);
            assert_int_equal(a.body_n, strlen(rows[i].body));
            if (a.body_n)
                assert_string_equal((char *)a.body, rows[i].body);
            if (cut < n - rows[i].left && i != 2) { /* shorter is not whole */
                assert_int_equal(http(rows[i].text, cut, cut, 100), GS_ECLOSED);
                assert_false(a.done);
            }
        }
    }
    gsi_http_fini(&a);
}

#define INTERIM "HTTP/1.1 100 C\r\n\r\n"

static void malformed_answers_are_refused_for_good(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.2 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "HTTP/1.1  200\r\n\r\n",
            "HTTP/1.1 20\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 000 OK\r\n\r\n", "\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "HTTP/1.1 200 OK\r\nA : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: x\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: x\x01\r\n\r\n", "HTTP/1.1 200 OK\r\nA: x\ny\r\n\r\n", "HTTP/1.1 200 OK\r\nA: x\rB: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        INTERIM INTERIM INTERIM INTERIM INTERIM INTERIM INTERIM INTERIM INTERIM,
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_code(http(rows[i], strlen(rows[i]), 0, 100), GS_EINVALID);
        assert_code(gsi_http_feed(&a, "HTTP/1.1 200 OK\r\n\r\n", 19), GS_EINVALID);
        assert_code(gsi_http_end(&a), GS_EINVALID);
    }
    gsi_http_fini(&a);
}

static void heads_bodies_and_chunks_have_limits(void **state)
{
    (void)state;
    static char text[HTTP_HEAD_MAX + 1024];
    memset(text, 'a', sizeof text);
    memcpy(text, "HTTP/1.1 200 OK\r\nA: ", 20);
    assert_code(http(text, sizeof text, 0, 100), -EMSGSIZE);
    memcpy(text + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
    assert_int_equal(http(text, HTTP_HEAD_MAX, 0, 100), HTTP_HEAD_MAX);
    static const char *const at[] = {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
                                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n", "HTTP/1.1 200 OK\r\n\r\n"};
    static const char *const over[] = {"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
                                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n", "HTTP/1.1 200 OK\r\n\r\nx"};
    for (int i = 0; i < 3; i++) {
        memset(text, 'a', 400);
        memcpy(text, at[i], strlen(at[i]));
        memcpy(text + strlen(at[i]) + 100, "\r\n0\r\n\r\n", 7);
        assert_true(http(text, strlen(at[i]) + 100 + (i == 1 ? 7 : 0), 3, 100) > 0);
        assert_int_equal(a.body_n, 100);
        memset(text, 'a', 400);
        memcpy(text, over[i], strlen(over[i]));
        assert_code(http(text, strlen(over[i]) + 101, 3, 100), -EMSGSIZE);
    }
    memset(text, 'a', sizeof text);
    memcpy(text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", 49);
    assert_code(http(text, 49 + 300, 0, 100), GS_EINVALID);
    memcpy(text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: ", 53);
    assert_code(http(text, 53 + 4200, 0, 100), GS_EINVALID);
    gsi_http_fini(&a);
}

static void headers_are_found_in_either_case(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 101 S\r\nupgrade:  Derp \r\nX: \r\nUpgrade: other\r\nUp: y\r\n\r\n";
    size_t n;
    assert_true(http(text, sizeof text - 1, 0, 0) > 0);
    assert_true(gsi_http_header_is(&a, "Upgrade", "DERP"));
    assert_non_null(gsi_http_header(&a, "x", &n));
    assert_int_equal(n, 0);
    assert_null(gsi_http_header(&a, "Upgrad", &n));
    assert_true(gsi_http_header_is(&a, "UP", "y"));
}

/* ---- GET /key ---- */

static struct url url;

static int fetch(const char *answer, size_t cut, uint8_t key[KEY_LEN])
{
    size_t n = strlen(answer);
    struct server_key *k = gsi_server_key_new(&url, 115);
    char request[256];
    size_t out = gsi_server_key_output(k, request, 10);
    out += gsi_server_key_output(k, request + out, sizeof request - 1 - out);
    request[out] = 0;
    assert_string_equal(request, "GET /key?v=115 HTTP/1.1\r\nHost: control.test:8080\r\nConnection: close\r\n\r\n");
    assert_null(gsi_server_key_public(k));
    int e = gsi_server_key_feed(k, answer, cut);
    if (e == 0)
        e = gsi_server_key_feed(k, answer + cut, n - cut);
    if (e == 0)
        e = gsi_server_key_end(k);
    if (e == 1)
        memcpy(key, gsi_server_key_public(k), KEY_LEN);
    else
        assert_null(gsi_server_key_public(k));
    gsi_server_key_free(k);
    return e;
}

#define ZEROS "mkey:0000000000000000000000000000000000000000000000000000000000000000"
#define KEY_A "mkey:64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466"

static void both_servers_keys_are_read_and_others_refused(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int code;
        const char *detail;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 175\r\n\r\n{\"legacyPublicKey\":\"" ZEROS "\",\"publicKey\":\"" KEY_A "\"}", 1, ""},
        {"HTTP/1.1 200 OK\r\n\r\n{\"publicKey\":\"" KEY_A "\",\"more\":[{}]}\n", 1, ""},
        {"HTTP/1.1 200 OK\r\n\r\n{\"legacyPublicKey\":\"" KEY_A "\",\"publicKey\":\"" ZEROS "\"}", GS_EINVALID, "no key"},
        {"HTTP/1.1 200 OK\r\n\r\n{\"legacyPublicKey\":\"" KEY_A "\"}", GS_EINVALID, "no key"},
        {"HTTP/1.1 200 OK\r\n\r\n{\"publicKey\":\"" KEY_A "0\"}", GS_EINVALID, "no key"},
        {"HTTP/1.1 200 OK\r\n\r\n{\"publicKey\":\"nodekey:64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466\"}",
         GS_EINVALID, "no key"},
        {"HTTP/1.1 200 OK\r\n\r\n64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466", GS_EINVALID,
         "not a control server's"},
        {"HTTP/1.1 200 OK\r\n\r\n<html>", GS_EINVALID, "not a control server's"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", GS_EINVALID, "capability version 115"},
        {"HTTP/1.1 200 OK\r\n\r\n", GS_EINVALID, "capability version 115"},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nnothing\n", -EPROTO, "404: \"nothing\""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", -EMSGSIZE, "longer than"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", GS_ECLOSED, ""},
    };
    assert_ok(gsi_url_parse("http://Control.Test:8080", 24, &url));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t cut = 0; cut <= strlen(rows[i].answer); cut++) {
            uint8_t key[KEY_LEN] = {0};
            int e = fetch(rows[i].answer, cut, key);
            assert_int_equal(e, rows[i].code);
            assert_int_equal(key[0], e == 1 ? 0x64 : 0);
            assert_non_null(strstr(gs_error_detail(e), rows[i].detail));
        }
}

/* ---- URLs ---- */

static void a_host_is_a_name_or_an_address(void **state)
{
    (void)state;
    static const char *const good[] = {"derp1.tailscale.com", "Derp1.Test.", "a", "x_y-z.1", "192.0.2.1", "fd7a::1", "::1"};
    static const char *const wrong[] = {"", " ", "a b", "a:1", "a/b", "a%b", "user@host", "a\r\nHost: b", "[::1]", "fe80::1%lo", "a?b",
                                        "-a", ".", "\xc3\xa4.test", "a#b", "a\\b"};
    char text[URL_HOST_MAX + 2];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(gsi_is_host(good[i]));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(gsi_is_host(wrong[i]));
    memset(text, 'a', sizeof text);
    text[URL_HOST_MAX + 1] = 0;
    assert_false(gsi_is_host(text));
    text[URL_HOST_MAX] = 0;
    assert_true(gsi_is_host(text));
}

static void urls_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *authority, *path;
        bool tls;
        uint16_t port;
    } rows[] = {
        {"https://controlplane.tailscale.com", "controlplane.tailscale.com", "controlplane.tailscale.com", "/", true, 443},
        {"http://127.0.0.1:8080/", "127.0.0.1", "127.0.0.1:8080", "/", false, 8080},
        {"https://[2001:DB8::1]:443/a?b=c", "2001:db8::1", "[2001:db8::1]", "/a?b=c", true, 443},
        {"http://H?x", "h", "h", "/?x", false, 80},
        {"http://h:443/", "h", "h:443", "/", false, 443},
        {"https://h:65535", "h", "h:65535", "/", true, 65535},
    };
    static const char *const wrong[] = {"", "h", "ftp://h/", "https://", "https:///x", "https://h:0/", "https://h:65536/",
                                        "https://h:/", "https://h:1x/", "https://u@h/",
                                        "https://u:p@h/", "https://h/ x", "https://h/\r\nX: y", "https://h/#f", "https://[::1/",
                                            "https://[]/", "https://h\\@x/", "HTTPS://h/",
                                        "https://[::1]x/", "https://h/\x7f", "https://h/\xc3\xa4"};
    struct url u;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(gsi_url_parse(rows[i].text, strlen(rows[i].text), &u));
        assert_string_equal(u.host, rows[i].host);
        assert_string_equal(u.authority, rows[i].authority);
        assert_string_equal(u.path, rows[i].path);
        assert_int_equal(u.tls, rows[i].tls);
        assert_int_equal(u.port, rows[i].port);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_code(gsi_url_parse(wrong[i], strlen(wrong[i]), &u), GS_EFORMAT);
    char text[2000] = "https://h/";
    memset(text + 10, 'a', sizeof text - 10);
    assert_ok(gsi_url_parse(text, 9 + URL_PATH_MAX - 1, &u));
    assert_code(gsi_url_parse(text, 9 + URL_PATH_MAX, &u), GS_EFORMAT);
    memset(text + 8, 'a', sizeof text - 8);
    assert_ok(gsi_url_parse(text, 8 + URL_HOST_MAX, &u));
    assert_code(gsi_url_parse(text, 8 + URL_HOST_MAX + 1, &u), GS_EFORMAT);
}

static void only_the_control_servers_own_urls_are_pinged(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } rows[] = {{"https://control.test/p", 0}, {"https://CONTROL.test:443/p", 0}, {"http://control.test/p", -EACCES},
                {"https://control.test:8443/p", -EACCES},
                {"https://control.test.evil/p", -EACCES}, {"https://evil/?control.test", -EACCES}, {"https://169.254.169.254/",
                    -EACCES},
                {"https://control.test@evil/", GS_EFORMAT}, {"file:///etc/passwd", GS_EFORMAT}, {"http://control.test:443/",
                    -EACCES}};
    struct url control, u;
    char request[2048];
    assert_ok(gsi_url_parse("https://control.test", 20, &control));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_code(gsi_url_ping(&control, rows[i].text, strlen(rows[i].text), &u), rows[i].code);
    assert_ok(gsi_url_ping(&control, "https://control.test/p?q", 24, &u));
    size_t n = gsi_url_head_request(&u, request, sizeof request);
    assert_int_equal(n, strlen(request));
    assert_string_equal(request, "HEAD /p?q HTTP/1.1\r\nHost: control.test\r\nConnection: close\r\n\r\n");
    assert_int_equal(gsi_url_head_request(&u, request, n), 0);
}

/* ---- the map's framing ---- */

enum { FRAME_LIMIT = 100000, DECODED_LIMIT = 200000 };

/* All of it in pieces of one size; the messages' texts one behind the other in out. */
static int cut_map(bool compressed, const uint8_t *in, size_t n, size_t piece, uint8_t *out, size_t *out_n, int *count)
{
    struct map_stream m;
    gs_bytes message;
    ssize_t k = 0;
    gsi_map_stream_init(&m, compressed, FRAME_LIMIT, DECODED_LIMIT);
    *out_n = 0;
    *count = 0;
    for (size_t at = 0; at < n && k >= 0; at += k < 0 ? 0 : (size_t)k) {
        k = gsi_map_stream_feed(&m, in + at, piece < n - at ? piece : n - at, &message);
        if (k > 0 && message.p) {
            memcpy(out + *out_n, message.p, message.n);
            *out_n += message.n;
            ++*count;
        }
        assert_true(k != 0);
    }
    int e = gsi_map_stream_end(&m);
    if (k < 0)
        assert_int_equal(gsi_map_stream_feed(&m, "x", 1, &message), k);
    gsi_map_stream_fini(&m);
    return e;
}

static size_t frame(uint8_t *out, const void *p, size_t n)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(n >> 8 * i);
    memcpy(out + 4, p, n);
    return n + 4;
}

static size_t zstd_frame(uint8_t *out, const void *p, size_t n, bool size_known)
{
    static uint8_t z[400000];
    ZSTD_CCtx *x = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(x, ZSTD_c_contentSizeFlag, size_known);
    size_t z_n = ZSTD_compress2(x, z, sizeof z, p, n);
    assert_false(ZSTD_isError(z_n));
    ZSTD_freeCCtx(x);
    return frame(out, z, z_n);
}

static uint8_t wire[800000], got[800000];
static size_t got_n;
static int count;

static void messages_come_whole_for_every_cutting(void **state)
{
    (void)state;
    size_t n = frame(wire, "{\"a\":1}", 7);
    n += frame(wire + n, "x", 1);
    n += frame(wire + n, "{}", 2);
    for (size_t piece = 1; piece <= n; piece++) {
        assert_ok(cut_map(false, wire, n, piece, got, &got_n, &count));
        assert_int_equal(count, 3);
        assert_memory_equal(got, "{\"a\":1}x{}", 10);
    }
    for (size_t cut = 1; cut < n; cut++)
        assert_code(cut_map(false, wire, cut, n, got, &got_n, &count), cut == 11 || cut == 16 ? 0 : GS_ECLOSED);
    for (int known = 0; known < 2; known++) {
        n = zstd_frame(wire, "{\"a\":1}", 7, known);
        n += zstd_frame(wire + n, "{}", 2, known);
        for (size_t piece = 1; piece <= n; piece++) {
            assert_ok(cut_map(true, wire, n, piece, got, &got_n, &count));
            assert_int_equal(count, 2);
            assert_memory_equal(got, "{\"a\":1}{}", 9);
        }
    }
}

static void decoded_messages_are_limited_whether_announced_or_not(void **state)
{
    (void)state;
    static uint8_t zeros[DECODED_LIMIT + 100000];
    for (int known = 0; known < 2; known++) {
        size_t n = zstd_frame(wire, zeros, DECODED_LIMIT, known);
        assert_true(n < 1000);
        assert_ok(cut_map(true, wire, n, n, got, &got_n, &count));
        assert_int_equal(got_n, DECODED_LIMIT);
        n = zstd_frame(wire, zeros, DECODED_LIMIT + 1, known);
        assert_code(cut_map(true, wire, n, n, got, &got_n, &count), -EMSGSIZE);
        n = zstd_frame(wire, zeros, sizeof zeros, known);
        assert_code(cut_map(true, wire, n, n, got, &got_n, &count), -EMSGSIZE);
    }
}

static void a_message_is_exactly_one_frame_of_zstd(void **state)
{
    (void)state;
    uint8_t z[200];
    size_t n = ZSTD_compress(z, sizeof z - 60, "{\"KeepAlive\":true}", 18, 1), w;
    for (size_t cut = 1; cut < n; cut++) {
        w = frame(wire, z, cut);
        assert_code(cut_map(true, wire, w, w, got, &got_n, &count), GS_EINVALID);
    }
    memcpy(z + n, z, n);
    w = frame(wire, z, 2 * n);
    assert_code(cut_map(true, wire, w, w, got, &got_n, &count), GS_EINVALID);
    w = frame(wire, z, n + 1);
    assert_code(cut_map(true, wire, w, w, got, &got_n, &count), GS_EINVALID);
    w = frame(wire, "{}", 2);
    assert_code(cut_map(true, wire, w, w, got, &got_n, &count), GS_EINVALID);
    w = zstd_frame(wire, "", 0, true);
    assert_code(cut_map(true, wire, w, w, got, &got_n, &count), GS_EINVALID);
    w = frame(wire, "\x50\x2a\x4d\x18\x01\0\0\0x", 9); /* a skippable frame */
    assert_code(cut_map(true, wire, w, w, got, &got_n, &count), GS_EINVALID);
    /* a window of 2^41 bytes, the size unknown */
    w = frame(wire, "\x28\xb5\x2f\xfd\0\xf8\x01\0\0", 9);
    assert_code(cut_map(true, wire, w, w, got, &got_n, &count), GS_EINVALID);
}

static void announced_lengths_take_no_memory(void **state)
{
    (void)state;
    struct map_stream m;
    gs_bytes message;
    gsi_map_stream_init(&m, false, FRAME_LIMIT, DECODED_LIMIT);
    assert_int_equal(gsi_map_stream_feed(&m, "\xa0\x86\x01\0xyz", 7, &message), 7);
    assert_int_equal(m.frame_len, FRAME_LIMIT);
    assert_true(m.frame_cap <= 4096);
    gsi_map_stream_fini(&m);
}

/* ---- bodies and back-off ---- */

static void a_map_request_says_everything(void **state)
{
    (void)state;
    static const char *const routes[] = {"10.0.0.0/8"}, *const tags[] = {"tag:a", "tag:b"};
    static const struct derp_latency latencies[] = {{1, false, 1234000}, {2, true, 2000000000}};
    static const struct net_info net = {.mapping_varies_by_dest_ip = KNOWN_NO, .working_udp = KNOWN_YES, .preferred_derp = 7,
                                        .latencies = latencies, .latencies_n = 2};
    static const struct hostinfo host = {.hostname = "n\"1", .os = "linux", .routable_ips = routes, .routable_ips_n = 1,
                                         .request_tags = tags, .request_tags_n = 2,
                                         .userspace = true, .shields_up = true, .net = &net};
    struct own_endpoint endpoints[2] = {{.type = OWN_STUN}, {.type = OWN_LOCAL}};
    uint8_t node[KEY_LEN] = {0xab}, disco[KEY_LEN] = {0xcd};
    char body[2048];
    assert_ok(gsi_endpoint_parse("203.0.113.5:54321", 17, &endpoints[0].at));
    assert_ok(gsi_endpoint_parse("[2001:db8::1]:443", 17, &endpoints[1].at));
    struct map_request r = {.node_key = node, .disco_key = disco, .host = &host, .endpoints = endpoints, .endpoints_n = 2,
                            .compress = true};
    ssize_t n = gsi_map_body(body, sizeof body, 115, &r, false);
    assert_true(n > 0);
    body[n] = 0;
    assert_string_equal(body,
        "{\"Version\":115,\"NodeKey\":\"nodekey:ab00000000000000000000000000000000000000000000000000000000000000\","
        "\"DiscoKey\":\"discokey:cd00000000000000000000000000000000000000000000000000000000000000\",\"OmitPeers\":true,"
        "\"Hostinfo\":{\"OS\":\"linux\",\"Hostname\":\"n\\\"1\",\"RoutableIPs\":[\"10.0.0.0/8\"],\"RequestTags"
        "\":[\"tag:a\",\"tag:b\"],\"ShieldsUp\":true,\"Userspace\":true,"
        "\"NetInfo\":{\"MappingVariesByDestIP\":false,\"WorkingUDP\":true,\"PreferredDERP\":7,\"DERPLatency\":"
        "{\"1-v4\":0.001234,\"2-v6\":2}}},"
        "\"Endpoints\":[\"203.0.113.5:54321\",\"[2001:db8::1]:443\"],\"EndpointTypes\":[2,1]}");
    for (size_t cap = 0; cap < (size_t)n; cap++)
        assert_code(gsi_map_body(body, cap, 115, &r, false), -ENOBUFS);
    assert_int_equal(gsi_map_body(body, (size_t)n, 115, &r, false), n);
}

static void server_words_are_made_printable(void **state)
{
    (void)state;
    char out[8];
    gsi_text_words(out, sizeof out, "a\x1b\xff\n \r\n", 7);
    assert_string_equal(out, "a..");
    gsi_text_words(out, sizeof out, "0123456789", 10);
    assert_string_equal(out, "0123456");
    gsi_text_words(out, sizeof out, NULL, 0);
    assert_string_equal(out, "");
}

static void backoff_grows_with_the_square_up_to_its_maximum(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct backoff b = {.max_ns = BACKOFF_CONTROL_NS};
        for (uint64_t n = 1; n < 100; n++) {
            uint64_t d = n * n * BACKOFF_STEP_NS < b.max_ns ? n * n * BACKOFF_STEP_NS : b.max_ns, wait = gsi_backoff_next(&b);
            assert_in_range(wait, d / 2, d / 2 + d);
        }
        b.tries = UINT32_MAX;
        assert_in_range(gsi_backoff_next(&b), 15 * S, 45 * S);
    }
}

int main(void)
{
    if (gsi_crypto_init() < 0)
        abort();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_a_name_or_an_address),
        cmocka_unit_test(answers_are_read_alike_at_every_cut),
        cmocka_unit_test(malformed_answers_are_refused_for_good),
        cmocka_unit_test(heads_bodies_and_chunks_have_limits),
        cmocka_unit_test(headers_are_found_in_either_case),
        cmocka_unit_test(both_servers_keys_are_read_and_others_refused),
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(only_the_control_servers_own_urls_are_pinged),
        cmocka_unit_test(messages_come_whole_for_every_cutting),
        cmocka_unit_test(decoded_messages_are_limited_whether_announced_or_not),
        cmocka_unit_test(a_message_is_exactly_one_frame_of_zstd),
        cmocka_unit_test(announced_lengths_take_no_memory),
        cmocka_unit_test(a_map_request_says_everything),
        cmocka_unit_test(server_words_are_made_printable),
        cmocka_unit_test(backoff_grows_with_the_square_up_to_its_maximum),
    };
    return cmocka_run_group_tests_name("tailnet control parts", tests, NULL, NULL);
}
