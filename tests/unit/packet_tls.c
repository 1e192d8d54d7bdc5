/* {packet, ssl_tls}: TLS records, and the client hello of SSL 2 as Erlang shows it. */
#include "packet_test.h"

static void expect_record(gs_bytes in, size_t used, int content, int minor, gs_bytes prefix, gs_bytes data)
{
    gs_packet p;
    gs_decoder d = PACKET(GS_PACKET_SSL_TLS);
    uint8_t *copy = copy_of(in, in.n);
    assert_int_equal(gs_decode(&d, copy, in.n, &p, NULL), used);
    assert_int_equal(p.kind, GS_PK_SSL_TLS);
    assert_int_equal(p.u.record.content_type, content);
    assert_int_equal(p.u.record.major, 3);
    assert_int_equal(p.u.record.minor, minor);
    assert_bytes((gs_bytes){p.u.record.prefix, p.u.record.prefix_len}, prefix);
    assert_bytes(p.data, data);
    free(copy);
}

static void a_record_is_its_type_version_and_body(void **state)
{
    (void)state;
    expect_record(B("\x16\3\1\0\2abX"), 7, 22, 1, B(""), B("ab"));
    expect_record(B("\x17\3\3\0\0"), 5, 23, 3, B(""), B(""));
    expect_record(B("\xff\3\3\0\1a"), 6, 255, 3, B(""), B("a"));
}

static void an_ssl2_hello_looks_like_a_handshake_message(void **state)
{
    (void)state;
    expect_record(B("\x80\4\1\3\0aX"), 6, 22, 0, B("\1\0\0\3"), B("\3\0a"));
    expect_record(B("\x80\3\1\3\0"), 5, 22, 0, B("\1\0\0\2"), B("\3\0"));
}

static void an_ssl2_hello_without_room_for_its_version_is_invalid(void **state)
{
    (void)state;
    assert_invalid(PACKET(GS_PACKET_SSL_TLS), B("\x80\2\1\3\0"));
    assert_invalid(PACKET(GS_PACKET_SSL_TLS, .packet_size = UINT32_MAX), B("\x80\0\1\3\0"));
}

static void five_bytes_tell_the_length(void **state)
{
    (void)state;
    assert_more(PACKET(GS_PACKET_SSL_TLS), B("\x16\3\1\0"), 0);
    assert_more(PACKET(GS_PACKET_SSL_TLS), B("\x16\3\1\xff\xff"), 65540);
    assert_more(PACKET(GS_PACKET_SSL_TLS), B("\xff\xff\1\3\0"), 32769);
    assert_invalid(PACKET(GS_PACKET_SSL_TLS, .packet_size = 1), B("\x16\3\1\0\2"));
    assert_every_cut(PACKET(GS_PACKET_SSL_TLS), B("\x16\3\1\0\2abX"), 7, 7);
    assert_every_cut(PACKET(GS_PACKET_SSL_TLS), B("\x80\4\1\3\0aX"), 6, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_its_type_version_and_body),
        cmocka_unit_test(an_ssl2_hello_looks_like_a_handshake_message),
        cmocka_unit_test(an_ssl2_hello_without_room_for_its_version_is_invalid),
        cmocka_unit_test(five_bytes_tell_the_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
