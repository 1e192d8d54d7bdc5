/* The packet filter at its edges, one by one; tailnet_filter_naive.c has the rest. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "tailnet_filter_test.h"

/* ---- memory: the n-th allocation fails ---- */

static long fail_in = -1, live;

static bool fails(void) { return fail_in >= 0 && fail_in-- == 0; }
static void *counting_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    void *p = fails() ? NULL : malloc(n);
    live += p != NULL;
    return p;
}
static void *counting_realloc(void *old, size_t n, const char *file, int line)
{
    if (!old)
        return counting_malloc(n, file, line);
    return fails() ? NULL : realloc(old, n);
}
static void counting_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    live -= p != NULL;
    free(p);
}

/* ---- one by one ---- */

static void nothing_passes_before_the_first_rules_and_with_empty_ones(void **state)
{
    (void)state;
    struct filter *f;
    struct rules *r;
    struct packet p;
    struct sent syn = packet("100.64.0.2", "100.64.0.1", 6, 80), ack = syn, tsmp = packet("100.64.0.2", "100.64.0.1", 99, 0),
        later = syn;
    ack.flags = 0x10;
    later.fragment = 2;
    assert_ok(gsi_filter_new(&f, NULL, NULL));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(judge(f, &syn, 0), DROP_NO_RULES);
        assert_int_equal(judge(f, &ack, 0), DROP_NO_RULES);
        assert_int_equal(judge(f, &tsmp, 0), DROP_NO_RULES);
        assert_int_equal(judge(f, &later, 0), DROP_NO_RULES);
        assert_int_equal(gsi_filter_in(f, NULL, 0, 0, &p), PASS_KEEPALIVE);
        assert_ok(gsi_rules_compile(NULL, 0, NULL, 0, &r, NULL));
        gsi_filter_use(f, r);
        assert_int_equal(judge(f, &syn, 0), DROP_NOT_OURS);
        assert_int_equal(judge(f, &ack, 0), DROP_NOT_OURS);
        assert_ok(compile_lines(NULL, 0, own_few, &r, NULL));
        gsi_filter_use(f, r);
        assert_int_equal(judge(f, &syn, 0), DROP_NO_RULE);
        assert_int_equal(judge(f, &ack, 0), PASS_TCP);
        assert_int_equal(judge(f, &tsmp, 0), PASS_TSMP);
        assert_int_equal(gsi_filter_in(f, (const uint8_t *)"\x45", 1, 0, &p), DROP_MALFORMED);
        gsi_filter_use(f, NULL);
    }
    gsi_filter_free(f);
}

static void ports_and_addresses_hold_at_their_ends(void **state)
{
    (void)state;
    struct line lines[] = {line("100.64.0.4-100.64.0.6", "100.64.0.1", 80, 82), line("::/0", "*", 0, 65535),
        line("255.255.255.255", "*", 65535, 65535), line("::-ffff::", "*", 0, 65535)};
    struct filter *f = filter_of(lines, 4);
    static const struct {
        const char *src;
        unsigned port;
        bool passes;
    } rows[] = {{"100.64.0.3", 81, 0}, {"100.64.0.4", 80, 1}, {"100.64.0.6", 82, 1}, {"100.64.0.7", 81, 0}, {"100.64.0.5", 79, 0},
                {"100.64.0.5", 83, 0}, {"255.255.255.255", 65535, 1}, {"255.255.255.255", 65534, 0},
                {"255.255.255.254", 65535, 0}, {"0.0.0.0", 80, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sent s = packet(rows[i].src, "100.64.0.1", 6, rows[i].port);
        assert_int_equal(judge(f, &s, 0), rows[i].passes ? PASS_RULE : DROP_NO_RULE);
    }
    /* "::/0" is IPv6 alone, as is a range around IPv4's place in it, and all of it */
    static const char *const six[] = {"::", "::1", "::fffe:ffff:ffff", "::1:0:0:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "1::"};
    for (size_t i = 0; i < sizeof six / sizeof *six; i++) {
        struct sent s = packet(six[i], "fd7a:115c:a1e0::1", 17, 0);
        assert_int_equal(judge(f, &s, 0), PASS_RULE);
    }
    struct sent disguised = packet("::ffff:100.64.0.5", "fd7a:115c:a1e0::1", 6, 81);
    assert_int_equal(judge(f, &disguised, 0), DROP_MALFORMED);
    gsi_filter_free(f);
    /* an IPv4 address in IPv6's form, in a rule, is nobody's */
    static const char *const nobody[] = {"::ffff:100.64.0.5", "::ffff:100.64.0.0/112", "::ffff:0:0-::ffff:ffff:ffff"};
    for (size_t i = 0; i < 3; i++) {
        struct rules *r;
        size_t skipped;
        struct line l = line(nobody[i], "*", 0, 65535);
        assert_ok(compile_lines(&l, 1, own_few, &r, &skipped));
        assert_int_equal(skipped, 1);
        gsi_rules_free(r);
    }
}

static void an_error_in_rules_keeps_the_last_good_ones(void **state)
{
    (void)state;
    struct line l = line("100.64.0.2", "*", 80, 80);
    struct filter *f = filter_of(&l, 1);
    struct sent syn = packet("100.64.0.2", "100.64.0.1", 6, 80);
    struct filter_rule old = {.has_bits = true};
    struct filter_list list = {&old, 1};
    struct prefix own = {.bits = 129};
    struct rules *r = NULL;
    assert_code(gsi_rules_compile(NULL, 0, &list, 1, &r, NULL), GS_EINVALID);
    assert_code(gsi_rules_compile(&own, 1, NULL, 0, &r, NULL), GS_EINVALID);
    assert_null(r);
    assert_int_equal(judge(f, &syn, 0), PASS_RULE);
    gsi_filter_free(f);
}

static void what_is_not_understood_is_skipped_alone(void **state)
{
    (void)state;
    struct line l = {.n_sources = 3, .n_destinations = 3, .sources = {"nonsense", "100.64.0.2", "10.0.0.1/8"},
        .destinations = {"*", "cap:x", "100.64.0.1"},
        .first = {2, 0, 80}, .last = {1, 65535, 80}};
    struct rules *r;
    size_t skipped;
    assert_ok(compile_lines(&l, 1, own_few, &r, &skipped));
    assert_int_equal(skipped, 4);
    struct filter *f;
    assert_ok(gsi_filter_new(&f, NULL, NULL));
    gsi_filter_use(f, r);
    struct sent s = packet("100.64.0.2", "100.64.0.1", 6, 80);
    assert_int_equal(judge(f, &s, 0), PASS_RULE);
    s.dst_port = 81;
    assert_int_equal(judge(f, &s, 0), DROP_NO_RULE);
    gsi_filter_free(f);
}

static void flows_survive_new_rules_and_the_oldest_goes(void **state)
{
    (void)state;
    struct filter *f = filter_of(NULL, 0);
    struct rules *r;
    for (unsigned i = 0; i < 512; i++) {
        struct sent out = packet("100.64.0.1", "100.64.0.2", 17, i);
        send_out(f, &out, PASS_OUT);
    }
    struct sent in = packet("100.64.0.2", "100.64.0.1", 17, 1000);
    in.src_port = 0;
    assert_int_equal(judge(f, &in, FILTER_JAILED), PASS_REPLY); /* it is now the newest */
    assert_ok(compile_lines(NULL, 0, own_few, &r, NULL));
    gsi_filter_use(f, r);
    gsi_filter_set_shields_up(f, true);
    assert_int_equal(judge(f, &in, 0), PASS_REPLY);
    struct sent one_more = packet("100.64.0.1", "100.64.0.2", 132, 7);
    send_out(f, &one_more, PASS_OUT);
    assert_int_equal(judge(f, &in, 0), PASS_REPLY);
    in.src_port = 1;
    assert_int_equal(judge(f, &in, 0), DROP_SHIELDS_UP);
    in.src_port = 2;
    assert_int_equal(judge(f, &in, 0), PASS_REPLY);
    in.dst_port = 1001;
    assert_int_equal(judge(f, &in, FILTER_JAILED), DROP_JAILED);
    struct sent many = packet("100.64.0.1", "224.0.0.251", 17, 5353), near = packet("100.64.0.1", "169.254.3.4", 17, 1);
    send_out(f, &many, DROP_MULTICAST);
    send_out(f, &near, DROP_LINK_LOCAL);
    gsi_filter_free(f);
}

static void a_refused_syn_of_ipv4_is_told_and_nothing_else(void **state)
{
    (void)state;
    struct filter *f = filter_of(NULL, 0);
    uint8_t bytes[128];
    struct packet p;
    struct sent s = packet("100.64.0.2", "100.64.0.1", 6, 80), udp = packet("100.64.0.2", "100.64.0.1", 17, 80),
                six = packet("fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1", 6, 80),
                elsewhere = packet("100.64.0.2", "100.64.0.9", 6, 80);
    enum verdict v = gsi_filter_in(f, bytes, make(&s, bytes), 0, &p);
    assert_int_equal(gsi_verdict_reject(v, &p), 'A');
    assert_int_equal(gsi_verdict_reject(PASS_RULE, &p), 0);
    gsi_filter_set_shields_up(f, true);
    v = gsi_filter_in(f, bytes, make(&s, bytes), 0, &p);
    assert_int_equal(gsi_verdict_reject(v, &p), 'S');
    v = gsi_filter_in(f, bytes, make(&udp, bytes), 0, &p);
    assert_int_equal(gsi_verdict_reject(v, &p), 0);
    v = gsi_filter_in(f, bytes, make(&six, bytes), 0, &p);
    assert_int_equal(gsi_verdict_reject(v, &p), 0);
    v = gsi_filter_in(f, bytes, make(&elsewhere, bytes), 0, &p);
    assert_int_equal(gsi_verdict_reject(v, &p), 0);
    for (int i = 0; i < VERDICTS; i++)
        assert_true(strlen(gsi_verdict_text((enum verdict)i)) > 0);
    assert_string_equal(gsi_verdict_text(VERDICTS), "");
    gsi_filter_free(f);
}

#define TEXT(s) ((struct filter_text){s, sizeof(s) - 1})

static void capabilities_are_those_that_rules_grant_to_the_source_here(void **state)
{
    (void)state;
    const struct filter_text values[] = {TEXT("{\"a\":1}"), TEXT("2")}, here[] = {TEXT("100.64.0.1/32"), TEXT("bad")},
        there[] = {TEXT("100.64.0.9/32")}, all[] = {TEXT("0.0.0.0/0"), TEXT("::/0")};
    const struct filter_text two[] = {TEXT("100.64.0.2"), TEXT("fd7a:115c:a1e0::2")}, any[] = {TEXT("*")};
    const struct filter_capability plain[] = {{TEXT("example.com/plain"), NULL, 0}},
        valued[] = {{TEXT("example.com/valued"), values, 2}};
    const struct filter_grant g1[] = {{here, 2, plain, 1}, {there, 1, valued, 1}}, g2[] = {{all, 2, valued, 1}};
    const struct filter_rule rules[] = {{.sources = two, .n_sources = 2, .grants = g1, .n_grants = 2},
        {.sources = any, .n_sources = 1, .grants = g2, .n_grants = 1}};
    const struct filter_list list = {rules, 2};
    static const struct {
        const char *src, *own, *expected;
    } rows[] = {
        {"100.64.0.2", "100.64.0.1", "example.com/plain=- example.com/valued={\"a\":1} example.com/valued=2 "},
        {"100.64.0.3", "100.64.0.1", "example.com/valued={\"a\":1} example.com/valued=2 "},
        {"fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1", "example.com/valued={\"a\":1} example.com/valued=2 "},
        {"100.64.0.2", "100.64.0.9", ""},
    };
    struct prefix own[2];
    for (int i = 0; i < 2; i++)
        assert_ok(gsi_prefix_parse(own_few[i], strlen(own_few[i]), &own[i]));
    struct rules *r;
    size_t skipped;
    struct filter *f;
    assert_ok(gsi_rules_compile(own, 2, &list, 1, &r, &skipped));
    assert_int_equal(skipped, 1);
    assert_ok(gsi_filter_new(&f, NULL, NULL));
    gsi_filter_use(f, r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip src, to;
        struct filter_text name, value;
        char got[256] = "";
        assert_ok(gsi_ip_parse(rows[i].src, strlen(rows[i].src), &src));
        assert_ok(gsi_ip_parse(rows[i].own, strlen(rows[i].own), &to));
        for (size_t at = 0; gsi_filter_capability(f, &src, &to, &at, &name, &value);)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%.*s=%.*s ", (int)name.n, name.p, value.p ? (int)value.n : 1,
                     value.p ? value.p : "-");
        assert_string_equal(got, rows[i].expected);
    }
    /* they allow no packet, and shields take them away */
    struct sent s = packet("100.64.0.2", "100.64.0.1", 6, 80);
    assert_int_equal(judge(f, &s, 0), DROP_NO_RULE);
    size_t at = 0;
    struct filter_text name, value;
    gsi_filter_set_shields_up(f, true);
    assert_false(gsi_filter_capability(f, &own[0].ip, &own[0].ip, &at, &name, &value));
    gsi_filter_free(f);
}

static void each_maximum_is_an_error_not_a_hole(void **state)
{
    (void)state;
    static struct filter_rule rules[FILTER_RULES_MAX + 1];
    static struct filter_text sources[FILTER_SOURCES_MAX + 1];
    const struct filter_destination destination[] = {{TEXT("*"), 0, 65535}}, elsewhere[] = {{TEXT("10.9.9.9"), 0, 65535}};
    static char names[FILTER_SOURCE_CAPABILITIES_MAX + 1][16];
    struct prefix own;
    struct rules *r = NULL;
    assert_ok(gsi_prefix_parse("100.64.0.1/32", 13, &own));
    for (size_t i = 0; i <= FILTER_SOURCES_MAX; i++)
        sources[i] = TEXT("100.64.0.7");
    for (size_t i = 0; i <= FILTER_RULES_MAX; i++)
        rules[i] = (struct filter_rule){.sources = sources, .n_sources = 1, .destinations = elsewhere, .n_destinations = 1};
    struct filter_list list = {rules, FILTER_RULES_MAX + 1};
    /* those of others do not count */
    assert_ok(gsi_rules_compile(&own, 1, &list, 1, &r, NULL));
    assert_true(gsi_rules_size(r) < 8192);
    gsi_rules_free(r);
    r = NULL;
    for (size_t i = 0; i <= FILTER_RULES_MAX; i++)
        rules[i].destinations = destination;
    assert_code(gsi_rules_compile(&own, 1, &list, 1, &r, NULL), GS_ESYSLIMIT);
    assert_null(r);
    list.n = FILTER_RULES_MAX;
    assert_ok(gsi_rules_compile(&own, 1, &list, 1, &r, NULL));
    gsi_rules_free(r);
    list.n = 1;
    rules[0].n_sources = FILTER_SOURCES_MAX + 1;
    assert_code(gsi_rules_compile(&own, 1, &list, 1, &r, NULL), GS_ESYSLIMIT);
    for (size_t i = 0; i <= FILTER_SOURCE_CAPABILITIES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "cap:%zu", i);
        sources[i] = (struct filter_text){names[i], strlen(names[i])};
    }
    rules[0].n_sources = FILTER_SOURCE_CAPABILITIES_MAX + 1;
    assert_code(gsi_rules_compile(&own, 1, &list, 1, &r, NULL), GS_ESYSLIMIT);
    rules[0].n_sources--;
    assert_ok(gsi_rules_compile(&own, 1, &list, 1, &r, NULL));
    gsi_rules_free(r);
    static char long_name[FILTER_TEXT_MAX + 1];
    const struct filter_capability c = {{long_name, sizeof long_name}, NULL, 0};
    const struct filter_text to = TEXT("*");
    const struct filter_grant g = {&to, 1, &c, 1};
    const struct filter_rule grants = {.grants = &g, .n_grants = 1};
    list.rules = &grants;
    assert_code(gsi_rules_compile(&own, 1, &list, 1, &r, NULL), GS_ESYSLIMIT);
}

static void every_failing_allocation_is_enomem_and_leaves_nothing(void **state)
{
    (void)state;
    struct rng random = {7};
    static struct line lines[40];
    struct rules *r = NULL;
    struct filter *f;
    long before = live, fired = 0;
    for (int i = 0; i < 40; i++)
        lines[i] = random_line(&random);
    for (long n = 0; fired == n; n++) {
        fail_in = n;
        int e = compile_lines(lines, 40, own_world, &r, NULL);
        bool fell = fail_in < 0;
        fail_in = -1;
        /* giving back the room behind an array may fail and does no harm */
        assert_true(e == 0 || e == -ENOMEM);
        assert_true(e == 0 || fell);
        fired += fell;
        if (e == 0)
            gsi_rules_free(r);
        assert_int_equal(live, before);
    }
    assert_true(fired > 20);
    fail_in = 0;
    assert_code(gsi_filter_new(&f, NULL, NULL), -ENOMEM);
    fail_in = -1;
    assert_int_equal(live, before);
}

int main(void)
{
    if (CRYPTO_set_mem_functions(counting_malloc, counting_realloc, counting_free) != 1)
        abort();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_passes_before_the_first_rules_and_with_empty_ones),
        cmocka_unit_test(ports_and_addresses_hold_at_their_ends),
        cmocka_unit_test(an_error_in_rules_keeps_the_last_good_ones),
        cmocka_unit_test(what_is_not_understood_is_skipped_alone),
        cmocka_unit_test(flows_survive_new_rules_and_the_oldest_goes),
        cmocka_unit_test(a_refused_syn_of_ipv4_is_told_and_nothing_else),
        cmocka_unit_test(capabilities_are_those_that_rules_grant_to_the_source_here),
        cmocka_unit_test(each_maximum_is_an_error_not_a_hole),
        cmocka_unit_test(every_failing_allocation_is_enomem_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
