/* The names of types, headers and methods, unknown types, and what the stream layer relies on. */
#include "packet_test.h"

static void unknown_types_are_badarg_with_and_without_input(void **state)
{
    (void)state;
    static const int unknown[] = {3, 16, -1, 1 << 20};
    for (size_t i = 0; i < 4; i++) {
        gs_decoder d = {.type = (gs_packet_type)unknown[i]};
        gs_packet p;
        uint8_t out[4];
        assert_int_equal(gs_decode(&d, "abc", 3, &p, NULL), GS_EBADARG);
        assert_int_equal(gs_decode(&d, NULL, 0, &p, NULL), GS_EBADARG);
        assert_int_equal(gs_encode_header(d.type, 1, out), GS_EBADARG);
        assert_null(gs_packet_type_name(d.type));
    }
}

static void no_input_wants_more_of_every_type(void **state)
{
    (void)state;
    for (int type = 0; type <= GS_PACKET_SSL_TLS; type++) {
        gs_decoder d = {.type = (gs_packet_type)type, .packet_size = 1, .line_length = 1};
        gs_packet p;
        size_t more = 77;
        if (!gs_packet_type_name(d.type))
            continue;
        assert_int_equal(gs_decode(&d, NULL, 0, &p, &more), 0);
        assert_int_equal(more, 0);
    }
}

static void type_names_are_erlangs(void **state)
{
    (void)state;
    static const char *const names[] = {"raw",  "1",    "2",     "4",        "asn1",      "sunrm",  "cdr", "fcgi",
                                        "tpkt", "line", "http", "httph", "http_bin", "httph_bin", "ssl_tls"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int type = gs_packet_type_parse(names[i]);
        assert_true(type >= 0);
        assert_string_equal(gs_packet_type_name((gs_packet_type)type), names[i]);
    }
    assert_int_equal(gs_packet_type_parse("0"), GS_PACKET_RAW);
    assert_int_equal(gs_packet_type_parse(""), GS_EBADARG);
    assert_int_equal(gs_packet_type_parse("HTTP"), GS_EBADARG);
    assert_int_equal(gs_packet_type_parse("http_"), GS_EBADARG);
}

static void only_1_2_and_4_add_a_header(void **state)
{
    (void)state;
    for (int type = 0; type <= GS_PACKET_SSL_TLS; type++) {
        uint8_t out[4] = {9, 9, 9, 9};
        int want = type == 3 ? GS_EBADARG : type == 1 || type == 2 || type == 4 ? type : 0;
        assert_int_equal(gs_encode_header((gs_packet_type)type, 5, out), want);
        if (want <= 0)
            assert_memory_equal(out, "\11\11\11\11", 4);
    }
}

static void http_names_have_erlangs_indexes(void **state)
{
    (void)state;
    assert_string_equal(gs_http_header_name(1), "Cache-Control");
    assert_string_equal(gs_http_header_name(38), "Content-Length");
    assert_string_equal(gs_http_header_name(52), "Proxy-Connection");
    assert_null(gs_http_header_name(0));
    assert_null(gs_http_header_name(53));
    assert_string_equal(gs_http_method_name(1), "OPTIONS");
    assert_string_equal(gs_http_method_name(7), "TRACE");
    assert_null(gs_http_method_name(0));
    assert_null(gs_http_method_name(8));
    for (int i = 1; i <= 52; i++) {
        const char *name = gs_http_header_name(i);
        assert_int_equal(gsi_http_header_index((gs_bytes){(const uint8_t *)name, strlen(name)}), i);
    }
}

static void a_copied_packet_owns_its_normalised_name(void **state)
{
    (void)state;
    gs_decoder d = GS_DECODER(GS_PACKET_HTTPH);
    gs_packet *first = malloc(sizeof *first), second;
    assert_true(gs_decode(&d, "x-mINE: 1\r\n\r\n", 13, first, NULL) > 0);
    gsi_packet_copy(&second, first);
    memset(first, 'z', sizeof *first);
    free(first);
    assert_bytes(second.u.field.name, B("X-Mine"));
    gs_packet known, copy;
    assert_true(gs_decode(&d, "hOST: a\r\n\r\n", 11, &known, NULL) > 0);
    gsi_packet_copy(&copy, &known);
    assert_ptr_equal(copy.u.field.name.p, gs_http_header_name(14));
}

static void an_http_stream_alternates_between_lines_and_headers(void **state)
{
    (void)state;
    gs_packet_type now = GS_PACKET_HTTP;
    now = gsi_packet_next_type(GS_PACKET_HTTP, now, GS_PK_HTTP_ERROR);
    assert_int_equal(now, GS_PACKET_HTTP);
    now = gsi_packet_next_type(GS_PACKET_HTTP, now, GS_PK_HTTP_REQUEST);
    assert_int_equal(now, GS_PACKET_HTTPH);
    now = gsi_packet_next_type(GS_PACKET_HTTP, now, GS_PK_HTTP_HEADER);
    now = gsi_packet_next_type(GS_PACKET_HTTP, now, GS_PK_HTTP_ERROR);
    assert_int_equal(now, GS_PACKET_HTTPH);
    now = gsi_packet_next_type(GS_PACKET_HTTP, now, GS_PK_HTTP_EOH);
    assert_int_equal(now, GS_PACKET_HTTP);
    assert_int_equal(gsi_packet_next_type(GS_PACKET_HTTP_BIN, GS_PACKET_HTTP_BIN, GS_PK_HTTP_RESPONSE),
                     GS_PACKET_HTTPH_BIN);
    assert_int_equal(gsi_packet_next_type(GS_PACKET_HTTPH, GS_PACKET_HTTPH, GS_PK_HTTP_EOH), GS_PACKET_HTTPH);
    assert_int_equal(gsi_packet_next_type(GS_PACKET_4, GS_PACKET_4, GS_PK_BYTES), GS_PACKET_4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_types_are_badarg_with_and_without_input),
        cmocka_unit_test(no_input_wants_more_of_every_type),
        cmocka_unit_test(type_names_are_erlangs),
        cmocka_unit_test(only_1_2_and_4_add_a_header),
        cmocka_unit_test(http_names_have_erlangs_indexes),
        cmocka_unit_test(a_copied_packet_owns_its_normalised_name),
        cmocka_unit_test(an_http_stream_alternates_between_lines_and_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
