/* What is said to epmd and read from it, as bytes: each as epmd of OTP 25 was seen to write it, and as it must never be. */
#include <errno.h>
#include <string.h>

#include "ei/epmd_wire.h"
#include "support.h"

#define BYTES(text) (text), sizeof(text) - 1

static uint8_t out[EPMD_REQUEST_MAX];

static void assert_request(size_t n, const char *wanted, size_t wanted_n)
{
    assert_int_equal(n, wanted_n);
    assert_memory_equal(out, wanted, n);
}

static void requests_are_written_as_epmd_reads_them(void **state)
{
    (void)state;
    gs_epmd_node node = {.name = "c1", .port = 0x1267, .type = 72, .protocol = 0, .highest = 6, .lowest = 5};
    assert_request(gsi_epmd_alive2(out, &node), BYTES("\0\17x\x12\x67H\0\0\6\0\5\0\2c1\0\0"));
    node.extra_len = 3;
    memcpy(node.extra, "a\0b", 3);
    assert_request(gsi_epmd_alive2(out, &node), BYTES("\0\22x\x12\x67H\0\0\6\0\5\0\2c1\0\3a\0b"));
    assert_request(gsi_epmd_port_please2(out, "c1"), BYTES("\0\3zc1"));
    assert_request(gsi_epmd_names(out), BYTES("\0\1n"));
}

static void the_longest_request_fits(void **state)
{
    (void)state;
    static gs_epmd_node node = {.port = 1, .extra_len = GS_EPMD_EXTRA_MAX};
    for (size_t i = 0; i < GS_EPMD_NAME_MAX; i += 4)
        memcpy(node.name + i, "\xf0\x9d\x84\x9e", 4);
    assert_true(gsi_epmd_name_ok(node.name, strlen(node.name)));
    assert_int_equal(gsi_epmd_alive2(out, &node), EPMD_REQUEST_MAX);
    assert_memory_equal(out, "\x08\x05x", 3);
}

static void names_are_readable_utf8_of_255_characters(void **state)
{
    (void)state;
    static const struct {
        const char *p;
        size_t n;
        bool ok;
    } rows[] = {
        {BYTES("a"), true}, {BYTES("n\xc3\xb6\xc3\xa9"), true}, {BYTES("\xe2\x82\xac"), true}, {BYTES("\xf4\x8f\xbf\xbf"), true},
        {BYTES(""), false}, {BYTES("a\0b"), false}, {BYTES("a\nb"), false}, {BYTES("\x1b[2J"), false}, {BYTES("\x7f"), false},
        {BYTES("\xc2\x9b"), false},         /* a control of 8 bits */
        {BYTES("\xc0\x80"), false}, {BYTES("\xe0\x9f\xbf"), false}, {BYTES("\xf0\x8f\xbf\xbf"), false}, /* longer than need be */
        {BYTES("\xed\xa0\x80"), false}, {BYTES("\xf4\x90\x80\x80"), false}, {BYTES("\xff"), false}, {BYTES("\x80"), false},
        {BYTES("\xc3"), false}, {BYTES("\xe2\x82"), false}, {BYTES("\xe2" "a\xac"), false},
        {BYTES("\xf8\x88\x80\x80\x80"), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (gsi_epmd_name_ok(rows[i].p, rows[i].n) != rows[i].ok)
            fail_msg("row %zu", i);
    char long_one[256];
    memset(long_one, 'a', sizeof long_one);
    assert_true(gsi_epmd_name_ok(long_one, 255));
    assert_false(gsi_epmd_name_ok(long_one, 256));
}

/* The same answer whole, byte by byte, and with something behind it. */
static int read_creation(const char *in, size_t n, uint32_t *creation)
{
    struct gsi_epmd m;
    gsi_epmd_expect_creation(&m, creation);
    int e = 0;
    for (size_t i = 0; i < n && e == 0; i++)
        e = gsi_epmd_feed(&m, in + i, 1);
    uint32_t again = *creation;
    gsi_epmd_expect_creation(&m, creation);
    assert_int_equal(gsi_epmd_feed(&m, in, n), e);
    assert_int_equal(*creation, again);
    return e == 0 ? gsi_epmd_end(&m) : e;
}

static void a_creation_has_16_or_32_bits(void **state)
{
    (void)state;
    uint32_t creation = 0;
    assert_int_equal(read_creation(BYTES("y\0\xff\3"), &creation), 1);
    assert_int_equal(creation, 0xff03);
    assert_int_equal(read_creation(BYTES("v\0\xfb\1\xbf\x1f"), &creation), 1);
    assert_int_equal(creation, 0xfb01bf1f);
    assert_int_equal(read_creation(BYTES("y\0\0\2behind"), &creation), 1);
    assert_int_equal(creation, 2);
}

static void a_registration_that_fails_writes_no_creation(void **state)
{
    (void)state;
    uint32_t creation = 7;
    assert_code(read_creation(BYTES("v\1\0\0\0c"), &creation), -EEXIST);
    assert_code(read_creation(BYTES("y\1"), &creation), -EEXIST);
    assert_code(read_creation(BYTES("w\0"), &creation), GS_EINVALID);
    assert_code(read_creation(BYTES(""), &creation), GS_ECLOSED);
    assert_code(read_creation(BYTES("v"), &creation), GS_ECLOSED);
    assert_code(read_creation(BYTES("v\0\1\2\3"), &creation), GS_ECLOSED);
    assert_code(read_creation(BYTES("y\0\1"), &creation), GS_ECLOSED);
    assert_int_equal(creation, 7);
}

static int read_port(const char *in, size_t n, gs_epmd_node *node)
{
    struct gsi_epmd m;
    gsi_epmd_expect_port(&m, "c1", node);
    int e = 0;
    for (size_t i = 0; i < n && e == 0; i++)
        e = gsi_epmd_feed(&m, in + i, 1);
    gs_epmd_node again = *node;
    gsi_epmd_expect_port(&m, "c1", node);
    assert_int_equal(gsi_epmd_feed(&m, in, n), e);
    assert_memory_equal(node, &again, sizeof again);
    return e == 0 ? gsi_epmd_end(&m) : e;
}

static void all_that_epmd_knows_of_a_node_is_told(void **state)
{
    (void)state;
    gs_epmd_node node;
    memset(&node, 0x5a, sizeof node);
    assert_int_equal(read_port(BYTES("w\0\x12\x67M\1\0\6\0\5\0\2c1\0\3a\0b"), &node), 1);
    assert_string_equal(node.name, "c1");
    assert_int_equal(node.port, 4711);
    assert_int_equal(node.type, GS_EPMD_NORMAL);
    assert_int_equal(node.protocol, 1);
    assert_int_equal(node.highest, 6);
    assert_int_equal(node.lowest, 5);
    assert_int_equal(node.extra_len, 3);
    assert_memory_equal(node.extra, "a\0b\0\0", 5);
    assert_int_equal(read_port(BYTES("w\0\x12\x67h\0\0\6\0\6\0\2c1\0\0behind"), &node), 1);
    assert_int_equal(node.extra_len, 0);
}

static void lengths_of_an_answer_are_not_believed(void **state)
{
    (void)state;
    static const struct {
        uint16_t name, extra;
        int e;
    } rows[] = {{0, 0, GS_EINVALID}, {1, 0, GS_EINVALID}, {3, 0, GS_EINVALID}, {0x7fff, 0, GS_EINVALID}, {0x8000, 0, GS_EINVALID},
                {0xffff, 0, GS_EINVALID}, {2, 0, 1}, {2, 1, GS_ECLOSED}, {2, GS_EPMD_EXTRA_MAX, GS_ECLOSED},
                {2, GS_EPMD_EXTRA_MAX + 1, GS_EINVALID}, {2, 0x7fff, GS_EINVALID}, {2, 0xffff, GS_EINVALID}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char in[] = "w\0\x12\x67H\0\0\6\0\6\0\2c1\0";
        gs_epmd_node node = {0}, untouched = {0};
        in[10] = (char)(rows[i].name >> 8), in[11] = (char)rows[i].name;
        in[14] = (char)(rows[i].extra >> 8), in[15] = (char)rows[i].extra;
        assert_code(read_port(in, 16, &node), rows[i].e);
        if (rows[i].e < 0)
            assert_memory_equal(&node, &untouched, sizeof node);
    }
    struct gsi_epmd m;
    static char longest[EPMD_ANSWER_MAX] = "w\0\x12\x67H\0\0\6\0\6\0\2c1\3\xfc";
    static gs_epmd_node node;
    longest[16 + 1019] = 'z';
    gsi_epmd_expect_port(&m, "c1", &node);
    assert_int_equal(gsi_epmd_feed(&m, longest, 16 + 1020), 1);
    assert_int_equal(node.extra[1019], 'z');
}

static void a_node_that_is_not_known_and_answers_of_others(void **state)
{
    (void)state;
    gs_epmd_node node = {.port = 7};
    assert_code(read_port(BYTES("w\1"), &node), GS_ENXDOMAIN);
    assert_code(read_port(BYTES("w\xff"), &node), GS_ENXDOMAIN);
    assert_code(read_port(BYTES("HTTP/1.0"), &node), GS_EINVALID);
    assert_code(read_port(BYTES("w\0\x12\x67M\0\0\6\0\5\0\2c2\0\0"), &node), GS_EINVALID); /* another node's */
    assert_code(read_port(BYTES("w\0\x12\x67M\0\0\6\0\5"), &node), GS_ECLOSED);
    assert_code(read_port(BYTES(""), &node), GS_ECLOSED);
    assert_int_equal(node.port, 7);
}

enum { NODES = 3 };

static ssize_t read_names(const char *in, size_t n, gs_epmd_node node[NODES])
{
    struct gsi_epmd m;
    ssize_t e = 0;
    for (size_t cut = 1; cut <= n + 1; cut += n / 7 + 1) { /* in parts of several sizes */
        gsi_epmd_expect_names(&m, node, NODES);
        e = 0;
        for (size_t at = 0; at < n && e == 0; at += cut)
            e = gsi_epmd_feed(&m, in + at, cut < n - at ? cut : n - at);
        if (e == 0)
            e = gsi_epmd_end(&m);
        if (e == 0)
            e = (ssize_t)m.n;
    }
    return e;
}

static void names_are_counted_and_written_as_far_as_there_is_room(void **state)
{
    (void)state;
    gs_epmd_node node[NODES] = {0};
    assert_int_equal(read_names(BYTES("\0\0\x11\x11"), node), 0);
    assert_int_equal(read_names(BYTES("\0\0\x11\x11name n1 at port 35649\nname c1 at port 4711\n"), node), 2);
    assert_string_equal(node[0].name, "n1");
    assert_int_equal(node[0].port, 35649);
    assert_string_equal(node[1].name, "c1");
    assert_int_equal(node[1].port, 4711);
    assert_int_equal(node[1].type, 0);
    assert_string_equal(node[2].name, "");
    assert_int_equal(read_names(BYTES("\0\0\x11\x11name a at port 1\nname b at port 2\nname c at port 3\n"
                                      "name d at port 4\n"), node), 4);
    assert_string_equal(node[2].name, "c");
}

static void lines_that_are_no_names_hide_nobody(void **state)
{
    (void)state;
    gs_epmd_node node[NODES] = {0};
    assert_int_equal(read_names(BYTES("\0\0\x11\x11" "name  at port 7\nname b at port 65536\nname c at port \nx\n\n"
                                      "name d\x1b at port 1\n"
                                      "name \xff at port 1\nname at port 5\nname a\tat port 5\n"
                                      "name f at port 000001\nname e at port 65535\n"
                                      "active name     <g> at port 5, fd = 4\nname a at port 5 at port 6\n"), node), 2);
    assert_string_equal(node[0].name, "e");
    assert_int_equal(node[0].port, 65535);
    assert_string_equal(node[1].name, "a at port 5");
    assert_int_equal(node[1].port, 6);
}

static void names_that_are_cut_or_endless_are_errors(void **state)
{
    (void)state;
    gs_epmd_node node[NODES] = {0};
    assert_code(read_names(BYTES(""), node), GS_ECLOSED);
    assert_code(read_names(BYTES("\0\0\x11"), node), GS_ECLOSED);
    assert_code(read_names(BYTES("\0\0\x11\x11name n1 at port 35649\nname c1 at port 47"), node), GS_ECLOSED);
    assert_code(read_names(BYTES("HTTP/1.0 400 Bad Request\r\n\r\n"), node), GS_EINVALID);

    static char line[EPMD_LINE_MAX];
    struct gsi_epmd m;
    memset(line, 'a', sizeof line);
    memcpy(line, "name ", 5);
    memcpy(line + 5 + 255, " at port 65535", 14);
    gsi_epmd_expect_names(&m, node, NODES);
    assert_int_equal(gsi_epmd_feed(&m, "\0\0\x11\x11", 4), 0);
    assert_int_equal(gsi_epmd_feed(&m, line, 5 + 255 + 14), 0);
    assert_int_equal(gsi_epmd_feed(&m, "\n", 1), 0);
    assert_int_equal(m.n, 1);
    assert_int_equal(gsi_epmd_feed(&m, line, sizeof line - 1), 0);
    assert_code(gsi_epmd_feed(&m, "b", 1), GS_EINVALID);

    gsi_epmd_expect_names(&m, node, NODES);
    assert_int_equal(gsi_epmd_feed(&m, "\0\0\x11\x11", 4), 0);
    for (int i = 0; i < EPMD_LINES_MAX; i++)
        assert_int_equal(gsi_epmd_feed(&m, BYTES("name n at port 1\n")), 0);
    assert_code(gsi_epmd_feed(&m, BYTES("name n at port 1\n")), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_written_as_epmd_reads_them),
        cmocka_unit_test(the_longest_request_fits),
        cmocka_unit_test(names_are_readable_utf8_of_255_characters),
        cmocka_unit_test(a_creation_has_16_or_32_bits),
        cmocka_unit_test(a_registration_that_fails_writes_no_creation),
        cmocka_unit_test(all_that_epmd_knows_of_a_node_is_told),
        cmocka_unit_test(lengths_of_an_answer_are_not_believed),
        cmocka_unit_test(a_node_that_is_not_known_and_answers_of_others),
        cmocka_unit_test(names_are_counted_and_written_as_far_as_there_is_room),
        cmocka_unit_test(lines_that_are_no_names_hide_nobody),
        cmocka_unit_test(names_that_are_cut_or_endless_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
