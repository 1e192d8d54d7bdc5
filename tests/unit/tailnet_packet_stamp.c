/* The stamp on a SYN, and where the kernel leaves it: what TCP_SAVED_SYN answers on loopback. */
#include <sys/socket.h>
#include <unistd.h>

#include "tailnet_packet_test.h"

static void a_stamp_is_read_back_and_changes_nothing_else(void **state)
{
    (void)state;
    struct rng r = {test_seed()};
    uint8_t b[ROOM], before[ROOM];
    struct packet p;
    for (int i = 0; i < 20000; i++) {
        bool four = i % 2;
        size_t n = four ? v4(b, (unsigned)rng_below(&r, 11) * 4, 6, 40) : v6(b, 6, 40);
        uint32_t most = four ? PACKET_STAMP_MAX_V4 : PACKET_STAMP_MAX_V6,
            index = i < 4 ? (i < 2 ? 0 : most) : (uint32_t)rng_below(&r, most + 1), got = ~0U;
        tcp(b + n - 40, PACKET_SYN);
        b[1] |= (uint8_t)(rng_next(&r) & 0xfe); /* service, or class and label */
        put16(b + (four ? 4 : 2), (unsigned)rng_below(&r, 0x10000));
        if (four)
            put16(b + 6, 0x4000);
        assert_ok(parse(b, n, &p));
        gsi_packet_checksums_set(b, &p);
        memcpy(before, b, n);
        assert_ok(gsi_packet_stamp(b, &p, index));
        assert_true(gsi_packet_checksums_good(b, &p));
        assert_ok(gsi_packet_stamp_read(b, n, &got));
        assert_int_equal(got, index);
        size_t from = four ? 4 : 1, to = four ? 6 : 4;
        if (!four) {
            assert_int_equal(b[1] & 0xf0, before[1] & 0xf0);
        } else {
            memcpy(before + 10, b + 10, 2);
        }
        memcpy(before + from, b + from, to - from);
        assert_memory_equal(b, before, n);
        assert_code(gsi_packet_stamp(b, &p, most + 1), GS_EINVALID);
    }
}

static void only_a_whole_syn_takes_a_stamp(void **state)
{
    (void)state;
    uint8_t b[ROOM];
    struct packet p;
    uint32_t index;
    size_t n = v4(b, 0, 6, 20);
    for (unsigned flags = 0; flags < 256; flags++) {
        tcp(b + 20, (uint8_t)flags);
        assert_ok(parse(b, n, &p));
        if ((flags & 0x12) == 2)
            assert_ok(gsi_packet_stamp(b, &p, 1));
        else
            assert_code(gsi_packet_stamp(b, &p, 1), GS_EINVALID);
    }
    tcp(b + 20, 2);
    put16(b + 6, 0x2000);
    assert_ok(parse(b, n, &p));
    assert_code(gsi_packet_stamp(b, &p, 1), GS_EINVALID);
    n = v4(b, 0, 17, 20);
    put16(b + 24, 20);
    assert_ok(parse(b, n, &p));
    assert_code(gsi_packet_stamp(b, &p, 1), GS_EINVALID);
    /* no SYN was saved, or no such header */
    assert_code(gsi_packet_stamp_read(b, 0, &index), GS_EINVALID);
    assert_code(gsi_packet_stamp_read(b, n, &index), GS_EINVALID); /* UDP */
    n = v4(b, 0, 6, 20);
    assert_code(gsi_packet_stamp_read(b, n - 1, &index), GS_EINVALID);
    assert_ok(gsi_packet_stamp_read(b, n, &index));
    n = v6(b, 6, 20);
    assert_code(gsi_packet_stamp_read(b, n - 1, &index), GS_EINVALID);
    assert_ok(gsi_packet_stamp_read(b, n, &index));
    b[0] = 0x50;
    assert_code(gsi_packet_stamp_read(b, n, &index), GS_EINVALID);
}

/* The kernel saves IP and TCP header, from the IP header's first byte on: where the stamp is looked for. */
static void the_kernel_saves_the_headers_of_a_syn(void **state)
{
    (void)state;
    enum { SAVE_SYN = 27, SAVED_SYN = 28 };
    int ran = 0;
    for (int four = 1; four >= 0; four--) {
        struct sockaddr_storage at = {0}, from;
        struct endpoint e = {.ip = four ? gsi_ip_of_v4((const uint8_t[]){127, 0, 0, 1}) : (struct ip){.b = {[15] = 1}}}, client;
        socklen_t len = gsi_endpoint_to_sockaddr(&e, &at), from_len = sizeof from;
        uint8_t saved[256];
        socklen_t n = sizeof saved;
        int l = socket(at.ss_family, SOCK_STREAM, 0), one = 1;
        assert_true(l >= 0);
        if (bind(l, (struct sockaddr *)&at, len) < 0) { /* a machine without ::1 */
            close(l);
            continue;
        }
        assert_int_equal(setsockopt(l, IPPROTO_TCP, SAVE_SYN, &one, sizeof one), 0);
        assert_int_equal(listen(l, 1), 0);
        assert_int_equal(getsockname(l, (struct sockaddr *)&at, &len), 0);
        int c = socket(at.ss_family, SOCK_STREAM, 0);
        assert_int_equal(connect(c, (struct sockaddr *)&at, len), 0);
        int a = accept(l, (struct sockaddr *)&from, &from_len);
        assert_true(a >= 0);
        assert_int_equal(getsockopt(a, IPPROTO_TCP, SAVED_SYN, saved, &n), 0);
        assert_ok(gsi_endpoint_of_sockaddr(&from, &client));
        print_message("# TCP_SAVED_SYN: %u bytes of IPv%u\n", (unsigned)n, saved[0] >> 4);
        struct packet p;
        uint32_t index;
        assert_ok(gsi_packet_parse(saved, n, &p));
        assert_true(gsi_packet_is_syn(&p));
        assert_int_equal(p.version, four ? 4 : 6);
        assert_int_equal(p.length, n);
        assert_int_equal(p.payload, n);
        assert_int_equal(p.src_port, client.port);
        assert_true(gsi_ip_equal(&p.src, &client.ip));
        assert_ok(gsi_packet_stamp(saved, &p, 4242));
        assert_ok(gsi_packet_stamp_read(saved, n, &index));
        assert_int_equal(index, 4242);
        /* once */
        n = sizeof saved;
        assert_int_equal(getsockopt(a, IPPROTO_TCP, SAVED_SYN, saved, &n), 0);
        assert_code(gsi_packet_stamp_read(saved, n, &index), GS_EINVALID);
        close(a);
        close(c);
        close(l);
        ran++;
    }
    assert_true(ran > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stamp_is_read_back_and_changes_nothing_else),
        cmocka_unit_test(only_a_whole_syn_takes_a_stamp),
        cmocka_unit_test(the_kernel_saves_the_headers_of_a_syn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
