/* {packet, line}: the delimiter, pieces of long lines, and how packet_size and line_length meet. */
#include "packet_test.h"

static void a_line_keeps_its_delimiter(void **state)
{
    (void)state;
    assert_packet(PACKET(GS_PACKET_LINE), B("ab\ncd\n"), 3, B("ab\n"));
    assert_packet(PACKET(GS_PACKET_LINE), B("ab\r\ncd"), 4, B("ab\r\n"));
    assert_packet(PACKET(GS_PACKET_LINE), B("\n\n"), 1, B("\n"));
    assert_more(PACKET(GS_PACKET_LINE), B("ab"), 0);
    assert_more(PACKET(GS_PACKET_LINE, .line_length = 3), B(""), 0);
}

static void any_byte_can_be_the_delimiter(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        uint8_t wire[] = {'\n', (uint8_t)(c ^ 1), (uint8_t)c, 'x'};
        gs_decoder d = {.type = GS_PACKET_LINE, .line_delimiter = (uint8_t)c};
        size_t used = c == '\n' ? 1 : (c ^ 1) == c ? 2 : 3;
        assert_packet(d, (gs_bytes){wire, 4}, used, (gs_bytes){wire, used});
    }
}

static void a_longer_line_comes_in_pieces(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_LINE, .line_length = 3);
    assert_packet(d, B("abcdef\n"), 3, B("abc"));
    assert_packet(d, B("abc"), 3, B("abc"));
    assert_packet(d, B("abc\n"), 3, B("abc"));
    assert_packet(d, B("ab\n"), 3, B("ab\n"));
    assert_packet(d, B("a\nb"), 2, B("a\n"));
    assert_more(d, B("ab"), 0);
    assert_packet(PACKET(GS_PACKET_LINE, .line_length = UINT32_MAX), B("abc\n"), 4, B("abc\n"));
}

static void a_line_beyond_packet_size_is_invalid(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_LINE, .packet_size = 3);
    assert_packet(d, B("ab\n"), 3, B("ab\n"));
    assert_invalid(d, B("abc\n"));
    assert_more(d, B("abc"), 0);
    assert_invalid(d, B("abcd"));
    assert_packet(PACKET(GS_PACKET_LINE, .packet_size = UINT32_MAX), B("abc\n"), 4, B("abc\n"));
}

static void packet_size_wins_over_line_length(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_LINE, .packet_size = 4, .line_length = 2);
    assert_packet(d, B("abc\n"), 2, B("ab"));
    assert_packet(d, B("abcd"), 2, B("ab"));
    assert_invalid(d, B("abcd\n"));
    assert_invalid(d, B("abcde"));
}

static void every_cut_of_a_line_answers_more_until_its_end(void **state)
{
    (void)state;
    assert_every_cut(PACKET(GS_PACKET_LINE), B("hello\nworld\n"), 6, 6);
    assert_every_cut(PACKET(GS_PACKET_LINE, .line_length = 4), B("hello\nworld\n"), 4, 4);
    assert_every_cut(PACKET(GS_PACKET_LINE, .packet_size = 6), B("hello\nworld\n"), 6, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_keeps_its_delimiter),
        cmocka_unit_test(any_byte_can_be_the_delimiter),
        cmocka_unit_test(a_longer_line_comes_in_pieces),
        cmocka_unit_test(a_line_beyond_packet_size_is_invalid),
        cmocka_unit_test(packet_size_wins_over_line_length),
        cmocka_unit_test(every_cut_of_a_line_answers_more_until_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
