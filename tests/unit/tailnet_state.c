/* Keys as text, and the state of a node: what is written comes back; whatever is cut, changed or strange is an error that says
 * so. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hex.h"
#include "support.h"
#include "tailnet/keys/state.h"

static void (*random_source)(void *out, size_t n);

static void counting(void *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = (uint8_t)(i + 1);
}

/* ---- keys ---- */

static int parse(enum key_kind kind, const char *text, uint8_t key[KEY_LEN])
{
    return gsi_key_parse(kind, text, strlen(text), key);
}

#define HEX64 "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"

static void keys_come_back_as_they_were_written(void **state)
{
    (void)state;
    static const char *const texts[KEY_KINDS] = {"privkey:" HEX64, "mkey:" HEX64, "nodekey:" HEX64, "discokey:" HEX64,
                                                 "chalpub:" HEX64};
    uint8_t key[KEY_LEN];
    char text[KEY_TEXT_MAX], brief[KEY_SHORT_MAX];
    for (int kind = 0; kind < KEY_KINDS; kind++)
        for (int other = 0; other < KEY_KINDS; other++) {
            int e = parse((enum key_kind)kind, texts[other], key);
            assert_code(e, kind == other ? 0 : GS_EFORMAT);
            if (e == 0)
                assert_string_equal(gsi_key_text((enum key_kind)kind, key, text), texts[kind]);
        }
    assert_ok(parse(KEY_NODE, "nodekey:07A37CBC142093C8B755DC1B10E86CB426374AD16AA853ED0BDFC0B2B86D1C7C", key));
    assert_string_equal(gsi_key_text(KEY_NODE, key, text), texts[KEY_NODE]);
    assert_string_equal(gsi_key_short(KEY_NODE, key, brief), "[B6N8v]");
    assert_string_equal(gsi_key_short(KEY_MACHINE, key, brief), "[B6N8v]");
    assert_string_equal(gsi_key_short(KEY_DISCO, key, brief), "d:07a37cbc142093c8");
    assert_string_equal(gsi_key_short(KEY_PRIVATE, key, brief), "[private]");
}

static void what_is_no_key_is_refused_and_not_shown(void **state)
{
    (void)state;
    char text[] = "privkey:" HEX64 "00";
    uint8_t key[KEY_LEN] = {0xaa};
    for (size_t n = 0; n <= sizeof text - 1; n++) {
        int e = gsi_key_parse(KEY_PRIVATE, text, n, key);
        assert_code(e, n == sizeof text - 3 ? 0 : GS_EFORMAT);
    }
    memset(key, 0xaa, sizeof key);
    for (size_t i = 0; i < sizeof text - 3; i++) {
        static const char strange[] = {0, ' ', 'g', '-', ':', '\n', (char)0xe9};
        char was = text[i];
        for (size_t k = 0; k < sizeof strange; k++) {
            if (strange[k] == was)
                continue;
            text[i] = strange[k];
            assert_code(gsi_key_parse(KEY_PRIVATE, text, sizeof text - 3, key), GS_EFORMAT);
            assert_null(strstr(gs_error_detail(GS_EFORMAT), "07a37"));
            assert_true(key[0] == 0xaa && key[31] == 0xaa);
        }
        text[i] = was;
    }
}

/* ---- state ---- */

static struct state some_state(void)
{
    struct state s;
    gsi_random_source = counting;
    gsi_state_new(&s);
    gsi_state_rotate(&s);
    s.node[5] = 0x99;
    assert_ok(gsi_state_name(&s, "nCNTRL11"));
    uint8_t key[KEY_LEN] = {7};
    assert_ok(gsi_state_pin(&s, "https://control.example", key));
    key[0] = 8;
    assert_ok(gsi_state_pin(&s, "http://127.0.0.1:8080", key));
    return s;
}

static const char release_1[] =
    "gensock tailnet state 1\n"
    "machine privkey:0002030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f60\n"
    "node privkey:0002030405990708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f60\n"
    "old-node privkey:0002030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f60\n"
    "node-id nCNTRL11\n"
    "control mkey:0700000000000000000000000000000000000000000000000000000000000000 https://control.example\n"
    "control mkey:0800000000000000000000000000000000000000000000000000000000000000 http://127.0.0.1:8080\n"
    "end 471104f2eb7ee5c7b7b243423a3d6201e719f01472aa6f6e9902dee9da873dcc\n";

/* Files that were written once must be read for ever: this text is the format. */
static void the_format_is_as_it_was(void **state)
{
    (void)state;
    struct state s = some_state(), back;
    char text[STATE_TEXT_MAX];
    int n = (int)assert_ok(gsi_state_write(&s, text));
    assert_int_equal(n, sizeof release_1 - 1);
    for (int i = 0; i < n; i++)
        if (text[i] != release_1[i])
            fail_msg("byte %d: %.*s", i, n, text);
    assert_ok(gsi_state_read(&back, release_1, sizeof release_1 - 1));
    assert_memory_equal(&s, &back, sizeof s);
    assert_non_null(gsi_state_control(&back, "https://control.example"));
    assert_int_equal(gsi_state_control(&back, "http://127.0.0.1:8080")[0], 8);
    assert_null(gsi_state_control(&back, "https://control.example/"));
}

static void a_fresh_state_comes_back(void **state)
{
    (void)state;
    struct state s, back;
    char text[STATE_TEXT_MAX];
    gsi_state_new(&s);
    int n = (int)assert_ok(gsi_state_write(&s, text));
    assert_ok(gsi_state_read(&back, text, (size_t)n));
    assert_memory_equal(&s, &back, sizeof s);
    gsi_state_wipe(&s);
    assert_true(gsi_is_zero(&s, sizeof s));
}

static void the_fullest_state_has_room(void **state)
{
    (void)state;
    struct state s = some_state(), back;
    char text[STATE_TEXT_MAX], url[STATE_URL_MAX + 2], id[STATE_ID_MAX + 2];
    memset(id, 'i', sizeof id - 1);
    id[sizeof id - 1] = 0;
    assert_code(gsi_state_name(&s, id), -EINVAL);
    assert_ok(gsi_state_name(&s, id + 1));
    memset(url, 'u', sizeof url - 1);
    url[sizeof url - 1] = 0;
    assert_code(gsi_state_pin(&s, url, s.node), -EINVAL);
    assert_code(gsi_state_pin(&s, "", s.node), -EINVAL);
    assert_code(gsi_state_pin(&s, "http://a b", s.node), -EINVAL);
    assert_code(gsi_state_name(&s, "a\nb"), -EINVAL);
    for (int i = 0; i < STATE_CONTROLS + 3; i++) {
        url[1] = (char)('a' + i);
        assert_ok(gsi_state_pin(&s, url + 1, s.node));
    }
    assert_int_equal(s.controls, STATE_CONTROLS);
    assert_string_equal(s.control[STATE_CONTROLS - 1].url, url + 1); /* the newest stays, the oldest is gone */
    assert_null(gsi_state_control(&s, "https://control.example"));
    assert_ok(gsi_state_pin(&s, url + 1, s.machine));
    assert_int_equal(s.controls, STATE_CONTROLS);
    int n = (int)assert_ok(gsi_state_write(&s, text));
    assert_ok(gsi_state_read(&back, text, (size_t)n));
    assert_memory_equal(&s, &back, sizeof s);
}

static void expect_refusal(const char *text, size_t n, int code, const char *says)
{
    struct state s, before;
    memset(&s, 0x5a, sizeof s);
    before = s;
    assert_code(gsi_state_read(&s, text, n), code);
    assert_memory_equal(&s, &before, sizeof s);
    assert_non_null(strstr(gs_error_detail(code), says));
    assert_null(strstr(gs_error_detail(code), "0203"));
}

static void a_file_cut_anywhere_is_damaged(void **state)
{
    (void)state;
    expect_refusal("", 0, -EBADMSG, "empty");
    for (size_t n = 1; n < sizeof release_1 - 1; n++)
        expect_refusal(release_1, n, -EBADMSG, "damaged");
    char more[sizeof release_1 + 1];
    memcpy(more, release_1, sizeof release_1 - 1);
    more[sizeof release_1 - 1] = '\n';
    expect_refusal(more, sizeof release_1, -EBADMSG, "damaged");
}

static void each_flipped_bit_is_noticed(void **state)
{
    (void)state;
    char text[sizeof release_1];
    memcpy(text, release_1, sizeof text);
    for (size_t bit = 0; bit < (sizeof text - 1) * 8; bit++) {
        struct state s;
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        int e = gsi_state_read(&s, text, sizeof text - 1);
        assert_true(e == -EBADMSG || e == -ENOTSUP); /* the version's own digit may become a newer one */
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
}

/* Well-sealed, but not what this version writes. */
static void expect_sealed_refusal(const char *lines, int code)
{
    char text[2 * STATE_TEXT_MAX];
    uint8_t hash[HASH_LEN];
    size_t n = strlen(lines);
    memcpy(text, lines, n);
    assert_ok(gsi_hash(hash, lines, n, NULL, 0));
    n += (size_t)snprintf(text + n, sizeof text - n, "end ");
    for (int i = 0; i < HASH_LEN; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%02x", hash[i]);
    text[n++] = '\n';
    struct state s;
    assert_code(gsi_state_read(&s, text, n), code);
}

#define HEAD "gensock tailnet state 1\n"
#define KEYS "machine privkey:" HEX64 "\nnode privkey:" HEX64 "\n"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static void other_texts_are_refused_for_what_they_are(void **state)
{
    (void)state;
    expect_refusal("{\"_machinekey\":\"cHJpdmtleQ==\"}", 31, -ENOTSUP, "another program");
    expect_refusal("gensock tailnet state 2\nwhatever\n", 33, -ENOTSUP, "newer gensock");
    expect_sealed_refusal(HEAD KEYS, 0);
    expect_sealed_refusal("gensock tailnet state 0\n" KEYS, -EBADMSG);
    expect_sealed_refusal("gensock tailnet state \n" KEYS, -EBADMSG);
    expect_sealed_refusal("gensock tailnet state 01\n" KEYS, -EBADMSG);
    expect_sealed_refusal("gensock tailnet state 99999999999999999999\n" KEYS, -EBADMSG);
    expect_sealed_refusal(HEAD, -EBADMSG);
    expect_sealed_refusal(HEAD "machine privkey:" HEX64 "\n", -EBADMSG);
    expect_sealed_refusal(HEAD "machine privkey:" HEX64 "\nnode privkey:" ZEROS "\n", -EBADMSG);
    expect_sealed_refusal(HEAD "node privkey:" HEX64 "\nmachine privkey:" HEX64 "\n", -EBADMSG);
    expect_sealed_refusal(HEAD KEYS "unknown line\n", -EBADMSG);
    expect_sealed_refusal(HEAD KEYS "\n", -EBADMSG);
    expect_sealed_refusal(HEAD KEYS "node-id \n", -EBADMSG);
    expect_sealed_refusal(HEAD KEYS "node-id a\nnode-id b\n", -EBADMSG);
    expect_sealed_refusal(HEAD KEYS "control mkey:" HEX64 "\n", -EBADMSG);
    expect_sealed_refusal(HEAD KEYS "control mkey:" HEX64 " \n", -EBADMSG);
    expect_sealed_refusal(HEAD KEYS "control nodekey:" HEX64 " http://a\n", -EBADMSG);
    expect_sealed_refusal(HEAD "machine privkey:07A37CBC142093C8B755DC1B10E86CB426374AD16AA853ED0BDFC0B2B86D1C7C\nnode privkey:" HEX64 "\n", -EBADMSG);
    char many[STATE_TEXT_MAX] = HEAD KEYS;
    for (int i = 0; i <= STATE_CONTROLS; i++)
        strcat(many, "control mkey:" HEX64 " http://a\n");
    expect_sealed_refusal(many, -EBADMSG);
}

/* A longer format is for a newer version to know; no advice to remove it may follow. */
static void a_newer_file_of_any_length_is_told_as_newer(void **state)
{
    (void)state;
    static char text[4 * STATE_TEXT_MAX];
    memset(text, 'x', sizeof text);
    memcpy(text, "gensock tailnet state 2\n", 24);
    expect_refusal(text, sizeof text, -ENOTSUP, "newer gensock");
    text[22] = '1';
    expect_refusal(text, sizeof text, -EBADMSG, "damaged");
}

/* The key that control knows must outlive each try to replace it: without it the next registration is a new machine. */
static void a_rotation_tried_again_keeps_the_key_that_control_knows(void **state)
{
    (void)state;
    struct state s;
    uint8_t known[KEY_LEN], tried[KEY_LEN];
    gsi_random_source = random_source;
    gsi_state_new(&s);
    memcpy(known, s.node, KEY_LEN);
    for (int i = 0; i < 3; i++) {
        memcpy(tried, s.node, KEY_LEN);
        gsi_state_rotate(&s);
        assert_memory_equal(s.old_node, known, KEY_LEN);
        assert_memory_not_equal(s.node, tried, KEY_LEN);
    }
    memcpy(tried, s.node, KEY_LEN);
    gsi_state_rotated(&s);
    assert_true(gsi_is_zero(s.old_node, KEY_LEN));
    gsi_state_rotate(&s);
    assert_memory_equal(s.old_node, tried, KEY_LEN);
}

/* Nothing is written that could not be read again. */
static void keys_that_are_absent_are_neither_pinned_nor_written(void **state)
{
    (void)state;
    struct state s = some_state();
    static const uint8_t none[KEY_LEN];
    char text[STATE_TEXT_MAX];
    assert_code(gsi_state_pin(&s, "https://control.example", none), -EINVAL);
    assert_int_equal(gsi_state_control(&s, "https://control.example")[0], 7);
    memset(s.node, 0, KEY_LEN);
    assert_code(gsi_state_write(&s, text), -EINVAL);
    s = some_state();
    memset(s.machine, 0, KEY_LEN);
    assert_code(gsi_state_write(&s, text), -EINVAL);
    gsi_state_wipe(&s);
    assert_code(gsi_state_write(&s, text), -EINVAL);
}

/* ---- a lack of memory ---- */

static long allocations, fail_at;

static bool fails(void) { return ++allocations == fail_at; }
static void *some_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(n);
}
static void *some_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(p, n);
}
static void some_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

static void a_lack_of_memory_is_no_damage(void **state)
{
    (void)state;
    struct state s = some_state(), back, before;
    char text[STATE_TEXT_MAX];
    int told = 0;
    for (bool failed = true; failed; told += failed) {
        allocations = 0;
        fail_at = told + 1;
        int e = gsi_state_write(&s, text);
        failed = allocations >= fail_at;
        assert_true(failed ? e == -ENOMEM : e == sizeof release_1 - 1);
    }
    assert_true(told > 0);
    memset(&back, 0x5a, sizeof back);
    before = back;
    for (int n = 1; n <= told; n++) {
        allocations = 0;
        fail_at = n;
        assert_code(gsi_state_read(&back, release_1, sizeof release_1 - 1), -ENOMEM);
        assert_memory_equal(&back, &before, sizeof back);
    }
    fail_at = 0;
    assert_ok(gsi_state_read(&back, release_1, sizeof release_1 - 1));
}

static int init(void **state)
{
    (void)state;
    random_source = gsi_random_source;
    return CRYPTO_set_mem_functions(some_malloc, some_realloc, some_free) == 1 ? gsi_crypto_init() : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_come_back_as_they_were_written),
        cmocka_unit_test(what_is_no_key_is_refused_and_not_shown),
        cmocka_unit_test(the_format_is_as_it_was),
        cmocka_unit_test(a_fresh_state_comes_back),
        cmocka_unit_test(the_fullest_state_has_room),
        cmocka_unit_test(a_file_cut_anywhere_is_damaged),
        cmocka_unit_test(each_flipped_bit_is_noticed),
        cmocka_unit_test(other_texts_are_refused_for_what_they_are),
        cmocka_unit_test(a_newer_file_of_any_length_is_told_as_newer),
        cmocka_unit_test(a_rotation_tried_again_keeps_the_key_that_control_knows),
        cmocka_unit_test(keys_that_are_absent_are_neither_pinned_nor_written),
        cmocka_unit_test(a_lack_of_memory_is_no_damage),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
