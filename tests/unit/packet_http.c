/* {packet, http} and {packet, httph}: lines as terms. The answers were given by Erlang/OTP 25. */
#include "packet_test.h"

/* The packet at the front of a literal, checked to be of a kind and length; views point into the literal's static bytes. */
static gs_packet decoded(gs_packet_type type, gs_bytes in, size_t used, gs_packet_kind kind)
{
    static gs_packet p;
    gs_decoder d = GS_DECODER(type);
    assert_int_equal(gs_decode(&d, in.p, in.n, &p, NULL), used);
    assert_int_equal(p.kind, kind);
    assert_bytes(p.data, (gs_bytes){in.p, used});
    return p;
}

static void expect_uri(gs_bytes line, gs_uri_kind uri, gs_bytes host, int port, gs_bytes path)
{
    gs_packet p = decoded(GS_PACKET_HTTP, line, line.n, GS_PK_HTTP_REQUEST);
    assert_int_equal(p.u.request.uri, uri);
    if (uri == GS_URI_ABSOLUTE || uri == GS_URI_SCHEME)
        assert_bytes(p.u.request.host, host);
    if (uri == GS_URI_ABSOLUTE)
        assert_int_equal(p.u.request.port, port);
    if (uri != GS_URI_STAR)
        assert_bytes(p.u.request.path, path);
}

static void expect_error(gs_packet_type type, gs_bytes in, size_t used)
{
    decoded(type, in, used, GS_PK_HTTP_ERROR);
}

static void request_lines(void **state)
{
    (void)state;
    gs_packet p = decoded(GS_PACKET_HTTP, B("GET /a HTTP/1.1\r\nHost"), 17, GS_PK_HTTP_REQUEST);
    assert_int_equal(p.u.request.method, 2);
    assert_bytes(p.u.request.name, B("GET"));
    assert_int_equal(p.u.request.major, 1);
    assert_int_equal(p.u.request.minor, 1);
    p = decoded(GS_PACKET_HTTP_BIN, B("get\t /a \t HTTP/10.02 x\n"), 23, GS_PK_HTTP_REQUEST);
    assert_int_equal(p.u.request.method, 0);
    assert_bytes(p.u.request.name, B("get"));
    assert_int_equal(p.u.request.major, 10);
    assert_int_equal(p.u.request.minor, 2);
    p = decoded(GS_PACKET_HTTP, B("TRACE /\n"), 8, GS_PK_HTTP_REQUEST);
    assert_int_equal(p.u.request.method, 7);
    assert_int_equal(p.u.request.major, 0);
    assert_int_equal(p.u.request.minor, 9);
}

static void uris(void **state)
{
    (void)state;
    expect_uri(B("GET * HTTP/1.1\n"), GS_URI_STAR, B(""), 0, B(""));
    expect_uri(B("GET /a:b HTTP/1.1\n"), GS_URI_PATH, B(""), 0, B("/a:b"));
    expect_uri(B("GET x HTTP/1.1\n"), GS_URI_PATH, B(""), 0, B("x"));
    expect_uri(B("GET foo HTTP/1.1\n"), GS_URI_STRING, B(""), 0, B("foo"));
    expect_uri(B("GET ** HTTP/1.1\n"), GS_URI_STRING, B(""), 0, B("**"));
    expect_uri(B("GET ftp:// HTTP/1.1\n"), GS_URI_SCHEME, B("ftp"), 0, B("//"));
    expect_uri(B("GET http:/x\n"), GS_URI_SCHEME, B("http"), 0, B("/x"));
    expect_uri(B("GET host:80\n"), GS_URI_SCHEME, B("host"), 0, B("80"));
}

static void absolute_uris(void **state)
{
    (void)state;
    expect_uri(B("GET http://a.b:80/c?d HTTP/1.1\n"), GS_URI_ABSOLUTE, B("a.b"), 80, B("/c?d"));
    expect_uri(B("GET HtTp:// HTTP/1.0\n"), GS_URI_ABSOLUTE, B(""), 0, B("/"));
    expect_uri(B("GET http://a HTTP/1.0\n"), GS_URI_ABSOLUTE, B("a"), 0, B("/"));
    expect_uri(B("GET http://a:8x/ HTTP/1.0\n"), GS_URI_ABSOLUTE, B("a"), 0, B("/"));
    expect_uri(B("GET http://a: HTTP/1.0\n"), GS_URI_ABSOLUTE, B("a"), 0, B("/"));
    expect_uri(B("GET http://[::1]:80/x HTTP/1.1\n"), GS_URI_ABSOLUTE, B("["), 0, B("/x"));
    gs_packet p = decoded(GS_PACKET_HTTP, B("GET HTTPS://:80 HTTP/1.0\n"), 25, GS_PK_HTTP_REQUEST);
    assert_true(p.u.request.https);
    assert_int_equal(p.u.request.port, 80);
    p = decoded(GS_PACKET_HTTP, B("GET http://h/ HTTP/1.0\n"), 23, GS_PK_HTTP_REQUEST);
    assert_false(p.u.request.https);
}

static void numbers_wrap_at_32_bits(void **state)
{
    (void)state;
    expect_uri(B("GET http://a:4294967297/ HTTP/1.1\n"), GS_URI_ABSOLUTE, B("a"), 1, B("/"));
    expect_uri(B("GET http://a:2147483648/ HTTP/1.1\n"), GS_URI_ABSOLUTE, B("a"), INT32_MIN, B("/"));
    expect_uri(B("GET http://a:4294967295/ HTTP/1.1\n"), GS_URI_ABSOLUTE, B("a"), -1, B("/"));
    expect_uri(B("GET http://a:4294967296/ HTTP/1.1\n"), GS_URI_ABSOLUTE, B("a"), 0, B("/"));
    gs_packet p = decoded(GS_PACKET_HTTP, B("HTTP/99999999999.4294967295 99999999999 ok\r\n"), 44, GS_PK_HTTP_RESPONSE);
    assert_int_equal(p.u.response.major, 1215752191);
    assert_int_equal(p.u.response.minor, -1);
    assert_int_equal(p.u.response.status, 1215752191);
}

static void status_lines(void **state)
{
    (void)state;
    gs_packet p = decoded(GS_PACKET_HTTP, B("HTTP/1.1 404 Not  found\r\n"), 25, GS_PK_HTTP_RESPONSE);
    assert_int_equal(p.u.response.major, 1);
    assert_int_equal(p.u.response.status, 404);
    assert_bytes(p.u.response.phrase, B("Not  found"));
    p = decoded(GS_PACKET_HTTP, B("HTTP/1.0 200\n"), 13, GS_PK_HTTP_RESPONSE);
    assert_int_equal(p.u.response.status, 200);
    assert_bytes(p.u.response.phrase, B(""));
    p = decoded(GS_PACKET_HTTP, B("HTTP/1.0 \n"), 10, GS_PK_HTTP_RESPONSE);
    assert_int_equal(p.u.response.status, 0);
    expect_error(GS_PACKET_HTTP, B("HTTP/1.0\n"), 9);
    expect_error(GS_PACKET_HTTP, B("HTTP/1 200 OK\n"), 14);
    expect_error(GS_PACKET_HTTP, B("HTTP/.1 200 OK\n"), 15);
    expect_error(GS_PACKET_HTTP, B("HTTP/1.1 OK\n"), 12);
    expect_error(GS_PACKET_HTTP, B("HTTP/1.1 200x\n"), 14);
}

static void lines_of_no_form_are_errors_with_the_line_as_it_came(void **state)
{
    (void)state;
    expect_error(GS_PACKET_HTTP, B("xyz\r\nmore"), 5);
    expect_error(GS_PACKET_HTTP, B("\n"), 1);
    expect_error(GS_PACKET_HTTP, B("\r\nx"), 2);
    expect_error(GS_PACKET_HTTP, B("GET\n"), 4);
    expect_error(GS_PACKET_HTTP, B("GET \n"), 5);
    expect_error(GS_PACKET_HTTP, B("G:T / HTTP/1.1\n"), 15);
    expect_error(GS_PACKET_HTTP, B("GET / HTTP/1\n"), 13);
    expect_error(GS_PACKET_HTTP, B("GET / HTTP/1.\n"), 14);
    expect_error(GS_PACKET_HTTP, B("GET / http/1.1\n"), 15);
    expect_error(GS_PACKET_HTTP, B("GET / HTTP/a.1\n"), 15);
    expect_error(GS_PACKET_HTTPH, B("no colon\r\n\r\n"), 10);
    expect_error(GS_PACKET_HTTPH, B("Host : a\r\n\r\n"), 10);
    expect_error(GS_PACKET_HTTPH, B("Host\r\n\r\n"), 6);
    expect_error(GS_PACKET_HTTPH, B("\200a: x\n\n"), 6);
}

static void expect_header(gs_bytes in, size_t used, int index, gs_bytes name, gs_bytes original, gs_bytes value)
{
    gs_packet p;
    gs_decoder d = GS_DECODER(GS_PACKET_HTTPH);
    assert_int_equal(gs_decode(&d, in.p, in.n, &p, NULL), used);
    assert_int_equal(p.kind, GS_PK_HTTP_HEADER);
    assert_int_equal(p.u.field.index, index);
    assert_bytes(p.u.field.name, name);
    assert_bytes(p.u.field.original, original);
    assert_bytes(p.u.field.value, value);
    assert_ptr_equal(p.u.field.original.p, in.p);
}

static void headers(void **state)
{
    (void)state;
    expect_header(B("cONTENT-length:\t 12 \r\n\r\n"), 22, 38, B("Content-Length"), B("cONTENT-length"), B("12 "));
    expect_header(B("X-forwarded-FOR:a\n\n"), 18, 49, B("X-Forwarded-For"), B("X-forwarded-FOR"), B("a"));
    expect_header(B("ETAG:\n\n"), 6, 43, B("Etag"), B("ETAG"), B(""));
    expect_header(B("a--B-c9D: x: y\n\n"), 15, 0, B("A--b-C9d"), B("a--B-c9D"), B("x: y"));
    expect_header(B("-aB: x\n\n"), 7, 0, B("-ab"), B("-aB"), B("x"));
    expect_header(B(": x\n\n"), 4, 0, B(""), B(""), B("x"));
    expect_header(B("a\177: x\n\n"), 6, 0, B("A\177"), B("a\177"), B("x"));
}

static void every_known_header_is_found_in_any_case(void **state)
{
    (void)state;
    for (int i = 1; i <= 52; i++) {
        char line[64];
        size_t n = strlen(gs_http_header_name(i));
        gs_bytes name = {(const uint8_t *)gs_http_header_name(i), n};
        for (size_t k = 0; k < n; k++)
            line[k] = (char)(k % 2 ? name.p[k] & ~0x20 : name.p[k] | 0x20);
        for (size_t k = 0; k < n; k++)
            if (name.p[k] == '-' || (name.p[k] >= '0' && name.p[k] <= '9'))
                line[k] = (char)name.p[k];
        memcpy(line + n, ": v\r\n\r\n", 7);
        gs_bytes in = {(const uint8_t *)line, n + 7};
        expect_header(in, n + 5, i, name, (gs_bytes){in.p, n}, B("v"));
    }
}

static void every_known_method_is_found(void **state)
{
    (void)state;
    for (int i = 1; i <= 7; i++) {
        char line[32];
        int n = snprintf(line, sizeof line, "%s /\n", gs_http_method_name(i));
        gs_packet p = decoded(GS_PACKET_HTTP, (gs_bytes){(uint8_t *)line, (size_t)n}, (size_t)n, GS_PK_HTTP_REQUEST);
        assert_int_equal(p.u.request.method, i);
    }
}

static void names_up_to_50_bytes_are_normalised(void **state)
{
    (void)state;
#define TEN "aBcDeFgHiJ"
    expect_header(B(TEN TEN TEN TEN TEN ": x\n\n"), 54, 0,
                  B("Abcdefghijabcdefghijabcdefghijabcdefghijabcdefghij"), B(TEN TEN TEN TEN TEN), B("x"));
    expect_header(B(TEN TEN TEN TEN TEN "K: x\n\n"), 55, 0, B(TEN TEN TEN TEN TEN "K"), B(TEN TEN TEN TEN TEN "K"),
                  B("x"));
#undef TEN
}

static void headers_continue_on_lines_that_start_with_space(void **state)
{
    (void)state;
    expect_header(B("A: x\r\n y\r\n\tz\r\nB"), 14, 0, B("A"), B("A"), B("x\r\n y\r\n\tz"));
    assert_more(PACKET(GS_PACKET_HTTPH), B("A: x\r\n y\r\n "), 0);
    expect_error(GS_PACKET_HTTPH, B("a\n b\n"), 2); /* a line of one byte never continues */
}

static void headers_need_one_byte_of_look_ahead(void **state)
{
    (void)state;
    assert_more(PACKET(GS_PACKET_HTTPH), B("A: x\r\n"), 0);
    assert_more(PACKET(GS_PACKET_HTTPH), B("x\n"), 0);
    assert_every_cut(PACKET(GS_PACKET_HTTPH), B("Host: a\r\n\r\n"), 10, 9);
    assert_every_cut(PACKET(GS_PACKET_HTTP), B("GET / HTTP/1.1\r\n\r\n"), 16, 16);
    assert_every_cut(PACKET(GS_PACKET_HTTP_BIN), B("HTTP/1.1 200 OK\nx"), 16, 16);
}

static void an_empty_line_ends_the_headers(void **state)
{
    (void)state;
    decoded(GS_PACKET_HTTPH, B("\r\n"), 2, GS_PK_HTTP_EOH);
    decoded(GS_PACKET_HTTPH, B("\n"), 1, GS_PK_HTTP_EOH);
    decoded(GS_PACKET_HTTPH_BIN, B("\r\nbody"), 2, GS_PK_HTTP_EOH);
    decoded(GS_PACKET_HTTPH, B("\r\n body"), 2, GS_PK_HTTP_EOH);
    assert_more(PACKET(GS_PACKET_HTTPH), B("\r"), 0);
}

static void limits_count_the_whole_line(void **state)
{
    (void)state;
    gs_bytes line = B("GET / HTTP/1.1\n");
    assert_int_equal(length_of(PACKET(GS_PACKET_HTTP, .packet_size = 15), line, 15, NULL), 15);
    assert_invalid(PACKET(GS_PACKET_HTTP, .packet_size = 14), line);
    assert_invalid(PACKET(GS_PACKET_HTTP, .packet_size = 14), B("GET / HTTP/1.1"));
    assert_more(PACKET(GS_PACKET_HTTP, .packet_size = 15), B("GET / HTTP/1.1"), 0);
    /* line_length limits only where packet_size does not */
    assert_invalid(PACKET(GS_PACKET_HTTP, .line_length = 14), line);
    assert_int_equal(length_of(PACKET(GS_PACKET_HTTP, .packet_size = 15, .line_length = 3), line, 15, NULL), 15);
    assert_invalid(PACKET(GS_PACKET_HTTPH, .packet_size = 5), B("A: x\r\n y\r\n"));
    assert_more(PACKET(GS_PACKET_HTTPH, .packet_size = 11), B("A: x\r\n y\r\n"), 0);
    /* a lone empty line passes any limit */
    decoded(GS_PACKET_HTTPH, B("\r\n"), 2, GS_PK_HTTP_EOH);
    assert_int_equal(length_of(PACKET(GS_PACKET_HTTPH, .packet_size = 1), B("\r\n"), 2, NULL), 2);
    assert_invalid(PACKET(GS_PACKET_HTTPH, .packet_size = 1), B("\r\nx"));
}

static void a_request_can_be_read_to_its_end(void **state)
{
    (void)state;
    gs_bytes in = B("POST /x HTTP/1.1\r\nHost: h\r\nX-A:\r\n folded\r\n\r\nbody");
    static const gs_packet_kind kinds[] = {GS_PK_HTTP_REQUEST, GS_PK_HTTP_HEADER, GS_PK_HTTP_HEADER, GS_PK_HTTP_EOH};
    gs_decoder d = GS_DECODER(GS_PACKET_HTTP);
    for (size_t i = 0; i < 4; i++) {
        gs_packet p;
        ssize_t used = gs_decode(&d, in.p, in.n, &p, NULL);
        assert_true(used > 0);
        assert_int_equal(p.kind, kinds[i]);
        d.type = gsi_packet_next_type(GS_PACKET_HTTP, d.type, p.kind);
        in = (gs_bytes){in.p + used, in.n - (size_t)used};
    }
    assert_int_equal(d.type, GS_PACKET_HTTP);
    assert_bytes(in, B("body"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_lines),
        cmocka_unit_test(uris),
        cmocka_unit_test(absolute_uris),
        cmocka_unit_test(numbers_wrap_at_32_bits),
        cmocka_unit_test(status_lines),
        cmocka_unit_test(lines_of_no_form_are_errors_with_the_line_as_it_came),
        cmocka_unit_test(headers),
        cmocka_unit_test(every_known_header_is_found_in_any_case),
        cmocka_unit_test(every_known_method_is_found),
        cmocka_unit_test(names_up_to_50_bytes_are_normalised),
        cmocka_unit_test(headers_continue_on_lines_that_start_with_space),
        cmocka_unit_test(headers_need_one_byte_of_look_ahead),
        cmocka_unit_test(an_empty_line_ends_the_headers),
        cmocka_unit_test(limits_count_the_whole_line),
        cmocka_unit_test(a_request_can_be_read_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
