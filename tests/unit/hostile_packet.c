/* A careless caller of each public packet call gets an answer, never a crash (promise P7). check-hostile counts the rows. */
#include "packet_test.h"

#define HOSTILE(symbol) static void symbol##_survives(void **state)
#define ROW(symbol) cmocka_unit_test(symbol##_survives)

static const int out_of_range[] = {-1, 3, 16, 53, 1 << 20, INT_MAX, INT_MIN};
enum { OUT_OF_RANGE = sizeof out_of_range / sizeof out_of_range[0] };

HOSTILE(gs_decode)
{
    (void)state;
    gs_decoder d = GS_DECODER(GS_PACKET_4);
    gs_packet p;
    size_t more;
    assert_int_equal(gs_decode(NULL, NULL, SIZE_MAX, NULL, NULL), GS_EBADARG);
    assert_int_equal(gs_decode(NULL, "abc", 3, &p, &more), GS_EBADARG);
    assert_int_equal(gs_decode(&d, NULL, 3, &p, &more), GS_EBADARG);
    assert_int_equal(gs_decode(&d, "abc", 3, NULL, &more), GS_EBADARG);
    assert_int_equal(gs_decode(&d, "abc", (size_t)SSIZE_MAX + 1, &p, &more), GS_EBADARG);
    assert_int_equal(gs_decode(&d, NULL, 0, &p, NULL), 0);
    for (size_t i = 0; i < OUT_OF_RANGE; i++) {
        d.type = (gs_packet_type)out_of_range[i];
        assert_int_equal(gs_decode(&d, "abc", 3, &p, &more), GS_EBADARG);
        assert_int_equal(gs_decode(&d, NULL, 0, &p, NULL), GS_EBADARG);
    }
}

HOSTILE(gs_encode_header)
{
    (void)state;
    uint8_t out[4];
    assert_int_equal(gs_encode_header(GS_PACKET_4, 1, NULL), GS_EBADARG);
    assert_int_equal(gs_encode_header(GS_PACKET_RAW, 1, NULL), GS_EBADARG);
    for (size_t i = 0; i < OUT_OF_RANGE; i++)
        assert_int_equal(gs_encode_header((gs_packet_type)out_of_range[i], SIZE_MAX, out), GS_EBADARG);
}

HOSTILE(gs_packet_type_parse)
{
    (void)state;
    assert_int_equal(gs_packet_type_parse(NULL), GS_EBADARG);
    assert_int_equal(gs_packet_type_parse(""), GS_EBADARG);
    assert_int_equal(gs_packet_type_parse("4 "), GS_EBADARG);
    assert_int_equal(gs_packet_type_parse("%n%n%n"), GS_EBADARG);
}

HOSTILE(gs_packet_type_name)
{
    (void)state;
    for (size_t i = 0; i < OUT_OF_RANGE; i++)
        assert_null(gs_packet_type_name((gs_packet_type)out_of_range[i]));
}

HOSTILE(gs_http_method_name)
{
    (void)state;
    for (size_t i = 0; i < OUT_OF_RANGE; i++)
        if (out_of_range[i] != 3)
            assert_null(gs_http_method_name(out_of_range[i]));
    assert_null(gs_http_method_name(0));
    assert_null(gs_http_method_name(8));
}

HOSTILE(gs_http_header_name)
{
    (void)state;
    for (size_t i = 0; i < OUT_OF_RANGE; i++)
        if (out_of_range[i] < 1 || out_of_range[i] > 52)
            assert_null(gs_http_header_name(out_of_range[i]));
    assert_null(gs_http_header_name(0));
    assert_null(gs_http_header_name(53));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(gs_decode),           ROW(gs_encode_header),    ROW(gs_packet_type_parse),
        ROW(gs_packet_type_name), ROW(gs_http_method_name), ROW(gs_http_header_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
