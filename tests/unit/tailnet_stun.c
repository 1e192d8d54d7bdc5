/* STUN as tailnets speak it: the reference's vectors, every cut and changed byte, the attributes of strange servers. */
#include "hex.h"
#include "support.h"
#include "tailnet/stun/stun.h"

static const uint8_t txid[STUN_TXID_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
static const char request_text[] = "000100142112a442000102030405060708090a0b802200087461696c6e6f6465802800048aabad90";
#define V4 "0101000c2112a442000102030405060708090a0b002000080001f523ea12d547"
#define V6 "010100182112a442000102030405060708090a0b00200014000220a90113a9fa000102030405060708090a0a"

static void assert_seen(const char *hex, const char *wanted)
{
    uint8_t in[256], id[STUN_TXID_LEN];
    struct endpoint seen;
    char text[ENDPOINT_TEXT];
    hex_bytes(in, hex);
    assert_true(gsi_stun_is(in, strlen(hex) / 2));
    assert_ok(gsi_stun_response_parse(in, strlen(hex) / 2, id, &seen));
    assert_string_equal(gsi_endpoint_text(&seen, text), wanted);
    assert_memory_equal(id, txid, sizeof id);
}

static void request_and_responses_are_the_reference_s(void **state)
{
    (void)state;
    uint8_t out[STUN_REQUEST_LEN], id[STUN_TXID_LEN], answer[STUN_RESPONSE_MAX];
    struct endpoint seen;
    gsi_stun_request(out, txid);
    assert_hex(out, sizeof out, request_text);
    assert_true(gsi_stun_is(out, sizeof out));
    assert_ok(gsi_stun_request_parse(out, sizeof out, id));
    assert_memory_equal(id, txid, sizeof id);
    assert_seen(V4, "203.0.113.5:54321");
    assert_seen(V6, "[2001:db8::1]:443");
    assert_ok(gsi_endpoint_parse("203.0.113.5:54321", 17, &seen));
    assert_hex(answer, gsi_stun_response(answer, txid, &seen), V4);
    assert_ok(gsi_endpoint_parse("[2001:db8::1]:443", 17, &seen));
    assert_hex(answer, gsi_stun_response(answer, txid, &seen), V6);
}

#define HEAD(length) "0101" length "2112a442000102030405060708090a0b"

static void strange_servers_are_understood(void **state)
{
    (void)state;
    assert_seen(HEAD("000c") "802000080001f523ea12d547", "203.0.113.5:54321");                           /* the old number */
    assert_seen(HEAD("000c") "000100080001d431cb007105", "203.0.113.5:54321");                           /* plain */
    assert_seen(HEAD("0018") "000100080001000101010101"
                             "002000080001f523ea12d547",
                "203.0.113.5:54321"); /* xored wins over plain */
    assert_seen(HEAD("0014") "8022000361626300"
                             "002000080001f523ea12d547",
                "203.0.113.5:54321"); /* padded attribute before it */
    assert_seen(V4 "ffffffff", "203.0.113.5:54321");                                                      /* bytes behind it */
    assert_seen(HEAD("001c") "00200008000900000000000000000000"
                             "000100080001d431cb007105",
                "203.0.113.5:54321"); /* no such family */
}

static int parse(const uint8_t *in, size_t n)
{
    uint8_t id[STUN_TXID_LEN] = {0xee}, before[STUN_TXID_LEN] = {0xee};
    struct endpoint seen = {.port = 77};
    int e = gsi_stun_response_parse(in, n, id, &seen);
    if (e < 0)
        assert_true(seen.port == 77 && memcmp(id, before, sizeof id) == 0);
    return e;
}

static void a_cut_response_is_none(void **state)
{
    (void)state;
    static const char *const responses[] = {V4, V6};
    for (int k = 0; k < 2; k++) {
        uint8_t in[64];
        size_t whole = strlen(responses[k]) / 2;
        hex_bytes(in, responses[k]);
        for (size_t n = 0; n < whole; n++)
            assert_code(parse(in, n), GS_EINVALID);
        for (unsigned length = 0; length <= UINT16_MAX; length++) { /* the header's own */
            in[2] = (uint8_t)(length >> 8), in[3] = (uint8_t)length;
            assert_int_equal(parse(in, whole) == 0, length == whole - STUN_HEADER_LEN);
        }
    }
    uint8_t errors[32];
    hex_bytes(errors, "0111000c2112a442000102030405060708090a0b002000080001f523ea12d547"); /* an error response */
    assert_code(parse(errors, sizeof errors), GS_EINVALID);
}

static void each_changed_bit_of_a_request_leaves_it_unanswered(void **state)
{
    (void)state;
    uint8_t in[STUN_REQUEST_LEN + 4] = {0}, id[STUN_TXID_LEN];
    gsi_stun_request(in, txid);
    for (size_t bit = 0; bit < STUN_REQUEST_LEN * 8; bit++) {
        in[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_code(gsi_stun_request_parse(in, STUN_REQUEST_LEN, id), GS_EINVALID);
        in[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < STUN_REQUEST_LEN; n++)
        assert_code(gsi_stun_request_parse(in, n, id), GS_EINVALID);
    assert_ok(gsi_stun_request_parse(in, sizeof in, id)); /* what follows is not the message's */
    in[3] += 4; /* now it is: FINGERPRINT is not the last */
    assert_code(gsi_stun_request_parse(in, sizeof in, id), GS_EINVALID);
}

static void other_packets_of_the_socket_are_no_stun(void **state)
{
    (void)state;
    uint8_t in[148] = {1};
    assert_false(gsi_stun_is(in, sizeof in)); /* WireGuard */
    memcpy(in, "TS\xf0\x9f\x92\xac", 6);
    assert_false(gsi_stun_is(in, sizeof in)); /* disco */
    assert_false(gsi_stun_is(NULL, 0));
    gsi_stun_request(in, txid);
    for (size_t n = 0; n < STUN_HEADER_LEN; n++)
        assert_false(gsi_stun_is(in, n));
    assert_true(gsi_stun_is(in, STUN_HEADER_LEN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_and_responses_are_the_reference_s),
        cmocka_unit_test(strange_servers_are_understood),
        cmocka_unit_test(a_cut_response_is_none),
        cmocka_unit_test(each_changed_bit_of_a_request_leaves_it_unanswered),
        cmocka_unit_test(other_packets_of_the_socket_are_no_stun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
