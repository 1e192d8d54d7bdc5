/* asn1, sunrm, cdr, fcgi, tpkt: records that come with their header, except that fcgi loses its padding. */
#include "packet_test.h"

static void asn1_length_forms(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_ASN1);
    assert_packet(d, B("\x30\x03" "abcd"), 5, B("\x30\x03" "abc"));
    assert_packet(d, B("\x30\x81\x03" "abc"), 6, B("\x30\x81\x03" "abc"));
    assert_packet(d, B("\x30\x82\0\1a"), 5, B("\x30\x82\0\1a"));
    assert_packet(d, B("\x30\x83\0\0\1a"), 6, B("\x30\x83\0\0\1a"));
    assert_packet(d, B("\x30\x84\0\0\0\1a"), 7, B("\x30\x84\0\0\0\1a"));
    assert_more(d, B("\x30"), 0);
    assert_more(d, B("\x30\x03" "ab"), 5);
    assert_more(d, B("\x30\x82\1"), 0);
    assert_more(d, B("\x30\x82\1\0"), 260);
}

static void asn1_indefinite_length_is_an_empty_packet(void **state)
{
    (void)state;
    assert_packet(PACKET(GS_PACKET_ASN1), B("\x30\x80" "ab\0\0"), 2, B("\x30\x80"));
}

static void asn1_long_tags(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_ASN1);
    assert_packet(d, B("\x1f\x81\x01\x02" "ab"), 6, B("\x1f\x81\x01\x02" "ab"));
    assert_packet(d, B("\xff\x01\0"), 3, B("\xff\x01\0"));
    assert_more(d, B("\x1f\x80\x80\x80"), 0);
    assert_more(d, B("\x1f\x81\x01"), 0);
    assert_every_cut(d, B("\x3f\x81\x81\x01\x82\0\2abX"), 9, 9);
}

static void asn1_more_than_four_length_octets_are_invalid_once_they_are_there(void **state)
{
    (void)state;
    assert_more(PACKET(GS_PACKET_ASN1), B("\x30\x85\1\2\3\4"), 0);
    assert_invalid(PACKET(GS_PACKET_ASN1), B("\x30\x85\1\2\3\4\5"));
    assert_more(PACKET(GS_PACKET_ASN1), B("\x30\xff" "aaaa"), 0);
}

static void asn1_limits(void **state)
{
    (void)state;
    assert_more(PACKET(GS_PACKET_ASN1), B("\x30\x84\x7f\xff\xff\xf9"), INT32_MAX);
    assert_invalid(PACKET(GS_PACKET_ASN1), B("\x30\x84\x7f\xff\xff\xfa"));
    assert_invalid(PACKET(GS_PACKET_ASN1), B("\x30\x84\xff\xff\xff\xff"));
    assert_packet(PACKET(GS_PACKET_ASN1, .packet_size = 2), B("\x30\2ab"), 4, B("\x30\2ab"));
    assert_invalid(PACKET(GS_PACKET_ASN1, .packet_size = 1), B("\x30\2ab"));
}

static void sunrm_ignores_the_last_fragment_bit(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_SUNRM);
    assert_packet(d, B("\0\0\0\2abc"), 6, B("\0\0\0\2ab"));
    assert_packet(d, B("\x80\0\0\2abc"), 6, B("\x80\0\0\2ab"));
    assert_more(d, B("\xff\xff\xff\xfb"), INT32_MAX);
    assert_invalid(d, B("\xff\xff\xff\xfc"));
    assert_invalid(PACKET(GS_PACKET_SUNRM, .packet_size = 1), B("\x80\0\0\2"));
    assert_every_cut(d, B("\x80\0\0\3abcX"), 7, 7);
}

static void cdr_reads_the_size_in_the_order_of_its_flag(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_CDR);
    assert_packet(d, B("GIOP\1\1\0\0\0\0\0\1a"), 13, B("GIOP\1\1\0\0\0\0\0\1a"));
    assert_packet(d, B("GIOP\1\1\3\0\1\0\0\0a"), 13, B("GIOP\1\1\3\0\1\0\0\0a"));
    assert_more(d, B("GIOP\1\1\0\0\0\0\1\0"), 268);
    assert_more(d, B("XXXX\1\1\0\0\0\0\1"), 0); /* the magic is looked at with the whole header */
    assert_invalid(d, B("GIOp\1\1\0\0\0\0\1\0"));
    assert_more(d, B("GIOP\1\1\1\0\xf3\xff\xff\x7f"), INT32_MAX);
    assert_invalid(d, B("GIOP\1\1\1\0\xf4\xff\xff\x7f"));
    assert_invalid(d, B("GIOP\1\1\0\0\xff\xff\xff\xff"));
    assert_every_cut(d, B("GIOP\1\1\0\0\0\0\0\2abX"), 14, 14);
}

static void fcgi_bodies_lose_their_padding(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_FCGI);
    assert_packet(d, B("\1\5\0\1\0\2\3\0abPADx"), 13, B("\1\5\0\1\0\2\3\0ab"));
    assert_packet(d, B("\1\5\0\1\0\0\0\0"), 8, B("\1\5\0\1\0\0\0\0"));
    assert_more(d, B("\1\5\0\1\xff\xff\xff\0"), 8 + 65535 + 255);
    assert_more(d, B("\2\5\0\1\0\0\0"), 0);
    assert_invalid(d, B("\2\5\0\1\0\0\0\0"));
    assert_packet(PACKET(GS_PACKET_FCGI, .packet_size = 5), B("\1\5\0\1\0\2\3\0abPAD"), 13, B("\1\5\0\1\0\2\3\0ab"));
    assert_invalid(PACKET(GS_PACKET_FCGI, .packet_size = 4), B("\1\5\0\1\0\2\3\0abPAD"));
    assert_every_cut(d, B("\1\5\0\1\0\2\3\0abPADx"), 13, 13);
}

static void tpkt_counts_its_own_header(void **state)
{
    (void)state;
    gs_decoder d = PACKET(GS_PACKET_TPKT);
    assert_packet(d, B("\3\0\0\6ab"), 6, B("\3\0\0\6ab"));
    assert_packet(d, B("\3\0\0\4"), 4, B("\3\0\0\4"));
    assert_invalid(d, B("\3\0\0\3"));
    assert_invalid(d, B("\3\0\0\0"));
    assert_invalid(PACKET(GS_PACKET_TPKT, .packet_size = UINT32_MAX), B("\3\0\0\0"));
    assert_invalid(d, B("\2\0\0\6"));
    assert_invalid(PACKET(GS_PACKET_TPKT, .packet_size = 1), B("\3\0\0\6"));
    assert_every_cut(d, B("\3\0\0\6abX"), 6, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asn1_length_forms),
        cmocka_unit_test(asn1_indefinite_length_is_an_empty_packet),
        cmocka_unit_test(asn1_long_tags),
        cmocka_unit_test(asn1_more_than_four_length_octets_are_invalid_once_they_are_there),
        cmocka_unit_test(asn1_limits),
        cmocka_unit_test(sunrm_ignores_the_last_fragment_bit),
        cmocka_unit_test(cdr_reads_the_size_in_the_order_of_its_flag),
        cmocka_unit_test(fcgi_bodies_lose_their_padding),
        cmocka_unit_test(tpkt_counts_its_own_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
