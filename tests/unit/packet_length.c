/* raw, 1, 2, 4: lengths in front, their limits, and the header that sending writes. */
#include <errno.h>

#include "packet_test.h"

static void raw_takes_everything_there_is(void **state)
{
    (void)state;
    assert_packet(PACKET(GS_PACKET_RAW), B("abc"), 3, B("abc"));
    assert_packet(PACKET(GS_PACKET_RAW, .packet_size = 1, .line_length = 1), B("abc"), 3, B("abc"));
    assert_more(PACKET(GS_PACKET_RAW), B(""), 0);
}

static void prefixed_bodies_come_without_their_header(void **state)
{
    (void)state;
    assert_packet(PACKET(GS_PACKET_1), B("\3abcd"), 4, B("abc"));
    assert_packet(PACKET(GS_PACKET_2), B("\0\3abcd"), 5, B("abc"));
    assert_packet(PACKET(GS_PACKET_4), B("\0\0\0\3abcd"), 7, B("abc"));
    assert_packet(PACKET(GS_PACKET_1), B("\0x"), 1, B(""));
    assert_packet(PACKET(GS_PACKET_2), B("\0\0"), 2, B(""));
    assert_packet(PACKET(GS_PACKET_4), B("\0\0\0\0"), 4, B(""));
}

static void more_is_unknown_until_the_header_is_whole(void **state)
{
    (void)state;
    assert_more(PACKET(GS_PACKET_1), B(""), 0);
    assert_more(PACKET(GS_PACKET_2), B("\1"), 0);
    assert_more(PACKET(GS_PACKET_4), B("\0\0\1"), 0);
    assert_more(PACKET(GS_PACKET_1), B("\377"), 256);
    assert_more(PACKET(GS_PACKET_2), B("\377\377"), 65537);
    assert_more(PACKET(GS_PACKET_4), B("\0\1\0\0"), 65540);
}

static void packet_size_limits_the_body(void **state)
{
    (void)state;
    assert_packet(PACKET(GS_PACKET_4, .packet_size = 3), B("\0\0\0\3abc"), 7, B("abc"));
    assert_invalid(PACKET(GS_PACKET_4, .packet_size = 2), B("\0\0\0\3abc"));
    assert_invalid(PACKET(GS_PACKET_2, .packet_size = 1), B("\0\2"));
    assert_invalid(PACKET(GS_PACKET_1, .packet_size = 1), B("\2"));
    assert_packet(PACKET(GS_PACKET_1, .packet_size = 1), B("\0"), 1, B(""));
}

static void a_packet_ends_at_2_31_minus_1_with_its_header(void **state)
{
    (void)state;
    assert_more(PACKET(GS_PACKET_4), B("\x7f\xff\xff\xfb"), INT32_MAX);
    assert_more(PACKET(GS_PACKET_4, .packet_size = UINT32_MAX), B("\x7f\xff\xff\xfb"), INT32_MAX);
    static const char *const beyond[] = {"\x7f\xff\xff\xfc", "\x7f\xff\xff\xff", "\x80\0\0\0",
                                         "\xff\xff\xff\xfb", "\xff\xff\xff\xfc", "\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        gs_bytes in = {(const uint8_t *)beyond[i], 4};
        assert_invalid(PACKET(GS_PACKET_4), in);
        assert_invalid(PACKET(GS_PACKET_4, .packet_size = UINT32_MAX), in);
        assert_invalid(PACKET(GS_PACKET_4, .packet_size = INT32_MAX), in);
    }
}

static void every_cut_answers_more_until_the_last_byte(void **state)
{
    (void)state;
    assert_every_cut(PACKET(GS_PACKET_1), B("\5helloX"), 6, 6);
    assert_every_cut(PACKET(GS_PACKET_2), B("\0\5hello\0\1"), 7, 7);
    assert_every_cut(PACKET(GS_PACKET_4), B("\0\0\0\5hello\0\0\0\1a"), 9, 9);
}

static void encoded_headers_decode_to_the_same_body(void **state)
{
    (void)state;
    static const gs_packet_type types[] = {GS_PACKET_1, GS_PACKET_2, GS_PACKET_4};
    static const size_t sizes[] = {0, 1, 127, 128, 255};
    for (size_t t = 0; t < 3; t++)
        for (size_t i = 0; i < 5; i++) {
            uint8_t wire[4 + 255] = {0};
            int head = gs_encode_header(types[t], sizes[i], wire);
            assert_int_equal(head, types[t]);
            gs_bytes in = {wire, (size_t)head + sizes[i]};
            assert_packet(PACKET(types[t]), in, in.n, (gs_bytes){wire + head, sizes[i]});
        }
}

static void a_body_beyond_the_length_field_is_emsgsize(void **state)
{
    (void)state;
    uint8_t out[4];
    assert_int_equal(gs_encode_header(GS_PACKET_1, 255, out), 1);
    assert_int_equal(gs_encode_header(GS_PACKET_1, 256, out), -EMSGSIZE);
    assert_int_equal(gs_encode_header(GS_PACKET_2, 65535, out), 2);
    assert_memory_equal(out, "\xff\xff", 2);
    assert_int_equal(gs_encode_header(GS_PACKET_2, 65536, out), -EMSGSIZE);
    assert_int_equal(gs_encode_header(GS_PACKET_4, UINT32_MAX, out), 4);
    assert_memory_equal(out, "\xff\xff\xff\xff", 4);
    assert_int_equal(gs_encode_header(GS_PACKET_4, (size_t)UINT32_MAX + 1, out), -EMSGSIZE);
    assert_int_equal(gs_encode_header(GS_PACKET_4, SIZE_MAX, out), -EMSGSIZE);
    assert_int_equal(gs_encode_header(GS_PACKET_4, 0x01020304, out), 4);
    assert_memory_equal(out, "\1\2\3\4", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_takes_everything_there_is),
        cmocka_unit_test(prefixed_bodies_come_without_their_header),
        cmocka_unit_test(more_is_unknown_until_the_header_is_whole),
        cmocka_unit_test(packet_size_limits_the_body),
        cmocka_unit_test(a_packet_ends_at_2_31_minus_1_with_its_header),
        cmocka_unit_test(every_cut_answers_more_until_the_last_byte),
        cmocka_unit_test(encoded_headers_decode_to_the_same_body),
        cmocka_unit_test(a_body_beyond_the_length_field_is_emsgsize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
