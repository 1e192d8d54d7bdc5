/* Addresses of the tailnet's protocols: text both ways, what is refused, prefixes, and which networks are which. */
#include "support.h"
#include "tailnet/endpoint/endpoint.h"

static int parse(const char *text, struct endpoint *e) { return gsi_endpoint_parse(text, strlen(text), e); }

static void text_comes_back_in_canonical_form(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"1.2.3.4:5", "1.2.3.4:5"}, {"255.255.255.255:65535", "255.255.255.255:65535"}, {"0.0.0.1:0", "0.0.0.1:0"},
        {"[::1]:443", "[::1]:443"}, {"[2001:DB8:0:0::1]:41641", "[2001:db8::1]:41641"}, {"[::ffff:10.0.0.1]:1", "10.0.0.1:1"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct endpoint e, again;
        char text[ENDPOINT_TEXT];
        assert_ok(parse(pairs[i][0], &e));
        assert_string_equal(gsi_endpoint_text(&e, text), pairs[i][1]);
        assert_ok(parse(text, &again));
        assert_true(gsi_endpoint_equal(&e, &again));
        struct sockaddr_storage kernel;
        assert_true(gsi_endpoint_to_sockaddr(&e, &kernel) > 0);
        assert_ok(gsi_endpoint_of_sockaddr(&kernel, &again));
        assert_true(gsi_endpoint_equal(&e, &again));
    }
}

static void what_is_no_endpoint_is_refused_and_nothing_written(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", ":", ":5", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:99999999", "1.2.3.4:-1", "1.2.3.4: 1", "1.2.3.4:01", "1.2.3:4", "1.2.3.4.5:6",
        "256.1.1.1:1", "::1:443", "[::1]", "[::1]443", "[::1:443", "[]:1", "[1.2.3.4]:5", "[fe80::1%eth0]:1", "[::1]:", "host:80", "[:::1]:1", "[",
        "[:1", "1.2.3.4:1x", "[11111111111111111111111111111111111111111111111111111111111111111111111111111]:1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct endpoint e = {.port = 7};
        assert_code(parse(wrong[i], &e), GS_EFORMAT);
        assert_int_equal(e.port, 7);
    }
    struct endpoint e;
    assert_code(gsi_endpoint_parse("1.2.3.4\0:1", 10, &e), GS_EFORMAT);
    assert_code(gsi_endpoint_of_sockaddr(&(struct sockaddr_storage){.ss_family = AF_UNIX}, &e), GS_EFORMAT);
    char text[ENDPOINT_TEXT];
    struct sockaddr_storage kernel;
    assert_string_equal(gsi_endpoint_text(&(struct endpoint){.port = 5}, text), "");
    assert_int_equal(gsi_endpoint_to_sockaddr(&(struct endpoint){.port = 5}, &kernel), 0);
}

/* Bit by bit. */
static bool has_naively(const struct prefix *p, const struct ip *ip)
{
    for (unsigned i = 0; i < p->bits; i++)
        if ((p->ip.b[i / 8] ^ ip->b[i / 8]) & 0x80 >> i % 8)
            return false;
    return true;
}

static void prefixes_hold_what_they_hold(void **state)
{
    (void)state;
    struct rng r = {.s = test_seed()};
    long held = 0;
    for (int i = 0; i < 100000; i++) {
        struct prefix p = {.bits = (uint8_t)rng_below(&r, 129)};
        struct ip ip;
        for (unsigned k = 0; k < IP_LEN; k++)
            ip.b[k] = (uint8_t)rng_below(&r, 256);
        for (unsigned k = 0; k < p.bits; k++)
            p.ip.b[k / 8] = (uint8_t)(p.ip.b[k / 8] | (ip.b[k / 8] & 0x80 >> k % 8));
        if (rng_below(&r, 2))
            ip.b[rng_below(&r, IP_LEN)] ^= (uint8_t)(1 << rng_below(&r, 8));
        held += has_naively(&p, &ip);
        assert_true(gsi_prefix_has(&p, &ip) == has_naively(&p, &ip));
    }
    assert_true(held > 50000 && held < 99000);
}

static void prefixes_are_read_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int bits;
    } good[] = {{"100.64.0.0/10", 106},      {"10.0.0.1", 128}, {"10.0.0.1/32", 128}, {"0.0.0.0/0", 96},
                {"fd7a:115c:a1e0::/48", 48}, {"::/0", 0},       {"::1", 128}};
    static const char *const wrong[] = {"",       "/",          "/8",          "10.0.0.0/",   "10.0.0.0/33", "10.0.0.1/8",
                                        "::/129", "fd7a::1/64", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0/8",    "*"};
    struct prefix p;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(gsi_prefix_parse(good[i].text, strlen(good[i].text), &p));
        assert_int_equal(p.bits, good[i].bits);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_code(gsi_prefix_parse(wrong[i], strlen(wrong[i]), &p), GS_EFORMAT);
}

static void networks_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *ip;
        const char *is; /* l loopback, k link-local, m multicast, p private */
    } rows[] = {
        {"127.0.0.1", "l"},   {"127.255.0.1", "l"},     {"128.0.0.1", ""},  {"::1", "l"},         {"::2", ""},
        {"169.254.1.1", "k"}, {"169.255.1.1", ""},      {"fe80::1", "k"},   {"febf::1", "k"},     {"fec0::1", ""},
        {"224.0.0.1", "m"},   {"239.255.255.255", "m"}, {"240.0.0.1", ""},  {"ff02::1", "m"},     {"10.1.2.3", "p"},
        {"172.16.0.1", "p"},  {"172.31.255.255", "p"},  {"172.32.0.1", ""}, {"192.168.5.5", "p"}, {"192.169.0.1", ""},
        {"fd00::1", "p"},     {"fc00::1", "p"},         {"fe00::1", ""},    {"100.64.0.1", ""},   {"8.8.8.8", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip ip;
        assert_ok(gsi_ip_parse(rows[i].ip, strlen(rows[i].ip), &ip));
        assert_true(gsi_ip_is_loopback(&ip) == !!strchr(rows[i].is, 'l'));
        assert_true(gsi_ip_is_link_local(&ip) == !!strchr(rows[i].is, 'k'));
        assert_true(gsi_ip_is_multicast(&ip) == !!strchr(rows[i].is, 'm'));
        assert_true(gsi_ip_is_private(&ip) == !!strchr(rows[i].is, 'p'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_back_in_canonical_form),
        cmocka_unit_test(what_is_no_endpoint_is_refused_and_nothing_written),
        cmocka_unit_test(prefixes_hold_what_they_hold),
        cmocka_unit_test(prefixes_are_read_strictly),
        cmocka_unit_test(networks_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
