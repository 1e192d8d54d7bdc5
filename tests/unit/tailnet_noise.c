/* noise/: the handshake and the records of ts2021, against the vectors of tailnet-protocol.md A.4 and against each other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tailnet/noise/noise.h"

enum { VERSION = 113 };

static const char client_e[] = "229cae386259e74f5490d0b8cf5ef443c490b03a673f17e81dfc4ce6f5926546";
static const char server_e[] = "f3005f071cefe2d05dbba382c849b03abf0707209f7c66f13c438c5d57408eef";
static const char initiation_hex[] = "00710100602b65259201ba8237e417822d9adef6c810eba2bbb46c0569481c79ea6ace84"
"4c84ca51bd6a14b97c1f12b8fd6bd6d9e5bd"
                                     "34795e1ac2afa39418135b30c57db9ba96bda9daf6ee85f86526bb7787da9b139b8f8def"
                                     "03cd28f14d950056b27ea6";
static const char response_hex[] = "020030416ae31088b8771ecdad6ff1291385b000bdf62125ace2a7fb35ea7fd2063f140b36"
"db1d052e6447769afa1988c32806";

static size_t hex(uint8_t *out, const char *text)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)strtoul((char[]){text[2 * i], text[2 * i + 1], 0}, NULL, 16);
    return n;
}

#define assert_hex(bytes, text)                                                                                       \
    do {                                                                                                              \
        uint8_t want_[256];                                                                                           \
        size_t n_ = hex(want_, text);                                                                                 \
        assert_memory_equal(bytes, want_, n_);                                                                        \
    } while (0)

/* ---- keys and randomness that are known ---- */

static void (*kernel_random)(void *out, size_t n);
static const char *next_random; /* hex of 32 bytes, or NULL: the generator's */
static struct rng rng;

static void chosen_random(void *out, size_t n)
{
    if (next_random) {
        assert_int_equal(n, KEY_LEN);
        hex(out, next_random);
        next_random = NULL;
        return;
    }
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = (uint8_t)rng_next(&rng);
}

static uint8_t machine[KEY_LEN], machine_public[KEY_LEN], control[KEY_LEN], control_public[KEY_LEN];

static int set_up(void **state)
{
    (void)state;
    assert_ok(gsi_crypto_init());
    kernel_random = gsi_random_source;
    gsi_random_source = chosen_random;
    rng.s = 1;
    for (uint8_t i = 0; i < KEY_LEN; i++) {
        machine[i] = (uint8_t)(1 + i);
        control[i] = (uint8_t)(0x41 + i);
    }
    gsi_x25519_public(machine_public, machine);
    gsi_x25519_public(control_public, control);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gsi_random_source = kernel_random;
    return 0;
}

/* ---- both ends, open ---- */

struct ends {
    struct noise client, server;
};

static size_t take_all(struct noise *n, uint8_t *out, size_t cap)
{
    size_t got = 0, k;
    while ((k = gsi_noise_output(n, out + got, cap - got)) > 0)
        got += k;
    return got;
}

static void open_both(struct ends *x, uint8_t initiation[NOISE_INITIATION_LEN], uint8_t response[NOISE_RESPONSE_LEN])
{
    next_random = client_e;
    assert_ok(gsi_noise_client(&x->client, machine, control_public, VERSION, initiation));
    gsi_noise_server(&x->server, control);
    next_random = server_e;
    assert_int_equal(gsi_noise_feed(&x->server, initiation, NOISE_INITIATION_LEN), NOISE_INITIATION_LEN);
    assert_int_equal(take_all(&x->server, response, NOISE_RESPONSE_LEN), NOISE_RESPONSE_LEN);
    assert_int_equal(gsi_noise_feed(&x->client, response, NOISE_RESPONSE_LEN), NOISE_RESPONSE_LEN);
    assert_int_equal(x->client.state, NOISE_OPEN);
    assert_int_equal(x->server.state, NOISE_OPEN);
}

static void open_ends(struct ends *x)
{
    uint8_t initiation[NOISE_INITIATION_LEN], response[NOISE_RESPONSE_LEN];
    open_both(x, initiation, response);
}

/* One record of the server's. */
static size_t record(struct noise *n, const void *plain, size_t len, uint8_t out[NOISE_RECORD_MAX])
{
    assert_int_equal(gsi_noise_put(n, plain, len), len);
    return take_all(n, out, NOISE_RECORD_MAX);
}

/* ---- known answers ---- */

static void handshake_and_records_are_those_of_the_vectors(void **state)
{
    (void)state;
    static struct ends x;
    uint8_t initiation[NOISE_INITIATION_LEN], response[NOISE_RESPONSE_LEN], wire[NOISE_RECORD_MAX];
    open_both(&x, initiation, response);
    assert_int_equal(strlen(initiation_hex), 2 * sizeof initiation);
    assert_int_equal(strlen(response_hex), 2 * sizeof response);
    assert_hex(initiation, initiation_hex);
    assert_hex(response, response_hex);
    assert_hex(x.client.hash, "2a7d27bc118016aab23904f053564034c28a6888161aa6abf6ae5917bcd3d27e");
    assert_memory_equal(x.server.hash, x.client.hash, HASH_LEN);
    assert_hex(x.client.send_key, "1adc63c515a63382c865824015597e947f42c5075b58aa8437b0543e85ef3a17");
    assert_hex(x.client.receive_key, "ac131ab2aa018f2bb5b73e1af41f4c3949d9e8986028782a1b9ede1fb139daea");
    assert_memory_equal(x.server.peer, machine_public, KEY_LEN);
    assert_memory_equal(x.client.peer, control_public, KEY_LEN);
    assert_int_equal(x.server.version, VERSION);
    assert_int_equal(record(&x.server, "hello", 5, wire), 24);
    assert_hex(wire, "04001597a5f8ea88d13f5e0cddba35cb2914d6590f43380e");
    assert_int_equal(record(&x.server, "world", 5, wire), 24);
    assert_hex(wire, "040015b448a88893b97e9944e277d0ac94eb6a0fa53e0f90");
    assert_int_equal(record(&x.client, "PRI", 3, wire), 22);
    assert_hex(wire, "0400133131cb6f50571b13e87a4239a020347297743a");
}

static void open_ends_keep_no_handshake_secret(void **state)
{
    (void)state;
    static struct ends x;
    open_ends(&x);
    assert_true(gsi_is_zero(x.client.own, KEY_LEN) && gsi_is_zero(x.client.ephemeral, KEY_LEN) && gsi_is_zero(x.client.ck,
        KEY_LEN));
    assert_true(gsi_is_zero(x.server.own, KEY_LEN) && gsi_is_zero(x.server.ephemeral, KEY_LEN) && gsi_is_zero(x.server.ck,
        KEY_LEN));
    gsi_noise_wipe(&x.client);
    assert_true(gsi_is_zero(&x.client, sizeof x.client));
}

/* ---- the handshake's negatives ---- */

static void each_flipped_bit_of_the_initiation_is_refused(void **state)
{
    (void)state;
    static struct noise c, s;
    uint8_t good[NOISE_INITIATION_LEN], bad[NOISE_INITIATION_LEN], out[64];
    assert_ok(gsi_noise_client(&c, machine, control_public, VERSION, good));
    for (size_t bit = 0; bit < 8 * sizeof good; bit++) {
        memcpy(bad, good, sizeof bad);
        bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
        gsi_noise_server(&s, control);
        ssize_t k = gsi_noise_feed(&s, bad, sizeof bad);
        /* X25519 ignores the top bit of the ephemeral key, the hash does not. */
        assert_true(k == -EACCES || k == GS_EINVALID);
        assert_int_equal(s.state, NOISE_FAILED);
        assert_int_equal(gsi_noise_output(&s, out, sizeof out), 0);
        assert_true(gsi_is_zero(s.own, KEY_LEN));
    }
}

static void each_flipped_bit_of_the_response_is_refused(void **state)
{
    (void)state;
    static struct noise c, s;
    uint8_t initiation[NOISE_INITIATION_LEN], good[NOISE_RESPONSE_LEN], bad[NOISE_RESPONSE_LEN];
    for (size_t bit = 0; bit < 8 * sizeof good; bit++) {
        assert_ok(gsi_noise_client(&c, machine, control_public, VERSION, initiation));
        gsi_noise_server(&s, control);
        assert_int_equal(gsi_noise_feed(&s, initiation, sizeof initiation), sizeof initiation);
        assert_int_equal(take_all(&s, good, sizeof good), sizeof good);
        memcpy(bad, good, sizeof bad);
        bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ssize_t k = gsi_noise_feed(&c, bad, sizeof bad);
        if (bit == 0) /* type 2 becomes 3: 48 bytes of a refusal's text */
            assert_int_equal(k, -ECONNREFUSED);
        else
            assert_true(k == -EACCES || k == GS_EINVALID);
        assert_int_equal(c.state, NOISE_FAILED);
        assert_int_equal(gsi_noise_feed(&c, good, sizeof good), k);
        assert_int_equal(gsi_noise_put(&c, "x", 1), k);
    }
}

static void other_keys_and_versions_do_not_open(void **state)
{
    (void)state;
    static struct noise c, s;
    uint8_t initiation[NOISE_INITIATION_LEN];
    assert_ok(gsi_noise_client(&c, machine, machine_public, VERSION, initiation));
    gsi_noise_server(&s, control);
    assert_int_equal(gsi_noise_feed(&s, initiation, sizeof initiation), -EACCES);
    assert_ok(gsi_noise_client(&c, machine, control_public, 9, initiation));
    gsi_noise_server(&s, control);
    assert_int_equal(gsi_noise_feed(&s, initiation, sizeof initiation), sizeof initiation);
    assert_int_equal(s.version, 9);
    assert_ok(gsi_noise_client(&c, machine, control_public, 65535, initiation));
    initiation[0] = 0;
    gsi_noise_server(&s, control);
    assert_int_equal(gsi_noise_feed(&s, initiation, sizeof initiation), -EACCES);
}

static void keys_of_small_order_are_refused(void **state)
{
    (void)state;
    static struct noise c;
    static const uint8_t zero[KEY_LEN], one[KEY_LEN] = {1};
    uint8_t initiation[NOISE_INITIATION_LEN];
    assert_int_equal(gsi_noise_client(&c, machine, zero, VERSION, initiation), GS_EINVALID);
    assert_int_equal(gsi_noise_client(&c, machine, one, VERSION, initiation), GS_EINVALID);
    assert_true(gsi_is_zero(initiation, sizeof initiation));
    assert_ok(gsi_noise_client(&c, machine, control_public, VERSION, initiation));
    uint8_t response[NOISE_RESPONSE_LEN] = {2, 0, 48};
    assert_int_equal(gsi_noise_feed(&c, response, sizeof response), GS_EINVALID);
}

static void a_cut_handshake_waits_and_a_split_one_goes_on(void **state)
{
    (void)state;
    static struct ends x;
    uint8_t initiation[NOISE_INITIATION_LEN], response[NOISE_RESPONSE_LEN], again[NOISE_RESPONSE_LEN];
    open_both(&x, initiation, response);
    for (size_t cut = 0; cut <= NOISE_INITIATION_LEN; cut++) {
        static struct noise s;
        gsi_noise_server(&s, control);
        next_random = server_e;
        assert_int_equal(gsi_noise_feed(&s, initiation, cut), cut);
        if (cut < NOISE_INITIATION_LEN)
            assert_int_equal(s.state, NOISE_EXPECT_INITIATION);
        assert_int_equal(gsi_noise_feed(&s, initiation + cut, NOISE_INITIATION_LEN - cut), NOISE_INITIATION_LEN - cut);
        assert_int_equal(take_all(&s, again, sizeof again), sizeof again);
        assert_memory_equal(again, response, sizeof again);
    }
    for (size_t cut = 0; cut <= NOISE_RESPONSE_LEN; cut++) {
        static struct noise c;
        next_random = client_e;
        assert_ok(gsi_noise_client(&c, machine, control_public, VERSION, initiation));
        assert_int_equal(gsi_noise_feed(&c, response, cut), cut);
        assert_int_equal(gsi_noise_put(&c, "early", 5), cut < NOISE_RESPONSE_LEN ? 0 : 5);
        assert_int_equal(gsi_noise_feed(&c, response + cut, NOISE_RESPONSE_LEN - cut), NOISE_RESPONSE_LEN - cut);
        assert_int_equal(c.state, NOISE_OPEN);
    }
}

/* Every message type with lengths around each limit, in each state. */
static void only_the_due_message_passes_in_each_state(void **state)
{
    (void)state;
    static const unsigned lens[] = {0, 1, 15, 16, 47, 48, 49, 95, 96, 97, 4092, 4093, 4094, 65534, 65535};
    static struct ends x;
    uint8_t initiation[NOISE_INITIATION_LEN];
    for (unsigned type = 0; type < 256; type++)
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            uint8_t head[5] = {0, VERSION, (uint8_t)type, (uint8_t)(lens[i] >> 8), (uint8_t)lens[i]};
            open_ends(&x);
            bool due = type == 4 && lens[i] >= 16 && lens[i] <= 4093;
            assert_int_equal(gsi_noise_feed(&x.client, head + 2, 3), due ? 3 : GS_EINVALID);
            gsi_noise_server(&x.server, control);
            assert_int_equal(gsi_noise_feed(&x.server, head, 5), type == 1 && lens[i] == 96 ? 5 : GS_EINVALID);
            assert_ok(gsi_noise_client(&x.client, machine, control_public, VERSION, initiation));
            due = (type == 2 && lens[i] == 48) || (type == 3 && lens[i] <= 4093);
            ssize_t k = gsi_noise_feed(&x.client, head + 2, 3);
            assert_int_equal(k, type == 3 && lens[i] == 0 ? -ECONNREFUSED : due ? 3 : GS_EINVALID);
        }
}

static void a_refusal_is_told_in_the_servers_words(void **state)
{
    (void)state;
    static struct noise c, s;
    uint8_t initiation[NOISE_INITIATION_LEN], wire[300];
    gsi_noise_server(&s, control);
    gsi_noise_refuse(&s, "go away\x1b[31m");
    size_t n = take_all(&s, wire, sizeof wire);
    for (size_t cut = 0; cut <= n; cut++) {
        assert_ok(gsi_noise_client(&c, machine, control_public, VERSION, initiation));
        if (cut < n)
            assert_int_equal(gsi_noise_feed(&c, wire, cut), cut);
        assert_int_equal(gsi_noise_feed(&c, wire + (cut < n ? cut : 0), cut < n ? n - cut : n), -ECONNREFUSED);
        assert_non_null(strstr(gs_error_detail(-ECONNREFUSED), "\"go away.[31m\""));
    }
    char text[400];
    memset(text, 'a', sizeof text);
    gsi_noise_server(&s, control);
    gsi_noise_refuse(&s, text);
    assert_int_equal(take_all(&s, wire, sizeof wire), 203);
    assert_int_equal(gsi_noise_put(&s, "x", 1), -ECONNREFUSED);
}

/* ---- records ---- */

static void each_flipped_bit_of_a_record_is_refused(void **state)
{
    (void)state;
    static struct ends x;
    uint8_t wire[NOISE_RECORD_MAX], plain[64];
    for (size_t bit = 0; bit < 8 * 24; bit++) {
        open_ends(&x);
        size_t n = record(&x.server, "hello", 5, wire);
        assert_int_equal(n, 24);
        wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ssize_t k = gsi_noise_feed(&x.client, wire, n);
        if (k == (ssize_t)n) /* the length grew: more is awaited, and then it is not authentic */
            k = gsi_noise_feed(&x.client, (uint8_t[4096]){0}, 4096);
        assert_int_equal(k, GS_EINVALID);
        assert_int_equal(gsi_noise_take(&x.client, plain, sizeof plain), 0);
        assert_true(gsi_is_zero(x.client.receive_key, KEY_LEN) && gsi_is_zero(x.client.send_key, KEY_LEN));
    }
}

static void records_repeated_swapped_or_left_out_are_refused(void **state)
{
    (void)state;
    static struct ends x;
    uint8_t one[NOISE_RECORD_MAX], two[NOISE_RECORD_MAX], plain[64];
    open_ends(&x);
    size_t n = record(&x.server, "hello", 5, one);
    (void)record(&x.server, "world", 5, two);
    struct noise c = x.client;
    assert_int_equal(gsi_noise_feed(&c, two, n), GS_EINVALID);
    assert_int_equal(gsi_noise_feed(&x.client, one, n), n);
    assert_int_equal(gsi_noise_take(&x.client, plain, sizeof plain), 5);
    assert_int_equal(gsi_noise_feed(&x.client, one, n), GS_EINVALID);
    /* nor may it be the other direction's */
    open_ends(&x);
    n = record(&x.server, "hello", 5, one);
    assert_int_equal(gsi_noise_feed(&x.server, one, n), GS_EINVALID);
}

static void an_empty_record_is_legal_and_nothing(void **state)
{
    (void)state;
    static struct ends x;
    uint8_t wire[64] = {4, 0, TAG_LEN}, plain[64];
    open_ends(&x);
    gsi_seal(wire + 3, x.server.send_key, (uint8_t[NONCE_LEN]){0}, NULL, 0, NULL, 0);
    x.server.sent++;
    size_t n = 3 + TAG_LEN;
    uint8_t next[NOISE_RECORD_MAX];
    size_t next_n = record(&x.server, "a", 1, next);
    memcpy(wire + n, next, next_n);
    assert_int_equal(gsi_noise_feed(&x.client, wire, n + next_n), n + next_n);
    assert_int_equal(gsi_noise_take(&x.client, plain, sizeof plain), 1);
    assert_int_equal(gsi_noise_put(&x.client, "", 0), 0);
    assert_int_equal(gsi_noise_output(&x.client, plain, sizeof plain), 0);
}

static void the_last_nonce_is_not_used(void **state)
{
    (void)state;
    static struct ends x;
    uint8_t wire[NOISE_RECORD_MAX], plain[8];
    open_ends(&x);
    x.server.sent = x.client.received = UINT64_MAX - 1;
    size_t n = record(&x.server, "a", 1, wire);
    assert_int_equal(gsi_noise_feed(&x.client, wire, n), n);
    assert_int_equal(gsi_noise_take(&x.client, plain, 8), 1);
    assert_int_equal(gsi_noise_put(&x.server, "a", 1), -EMSGSIZE);
    assert_int_equal(gsi_noise_feed(&x.client, wire, n), GS_EINVALID);
}

static void the_largest_record_holds_4077_bytes(void **state)
{
    (void)state;
    static struct ends x;
    static uint8_t plain[2 * NOISE_PLAIN_MAX], wire[NOISE_RECORD_MAX];
    open_ends(&x);
    assert_int_equal(NOISE_PLAIN_MAX, 4077);
    assert_int_equal(gsi_noise_put(&x.server, plain, sizeof plain), NOISE_PLAIN_MAX);
    assert_int_equal(gsi_noise_put(&x.server, plain, sizeof plain), 0);
    assert_int_equal(take_all(&x.server, wire, sizeof wire), NOISE_RECORD_MAX);
    assert_int_equal(gsi_noise_feed(&x.client, wire, sizeof wire), sizeof wire);
    assert_int_equal(gsi_noise_take(&x.client, plain, sizeof plain), NOISE_PLAIN_MAX);
}

/* Cut at random into puts, outputs, feeds and takes, what comes out is what went in. */
static void any_cutting_carries_the_stream_both_ways(void **state)
{
    (void)state;
    static struct ends x;
    static uint8_t buf[6000];
    struct rng r = {test_seed()};
    open_ends(&x);
    for (int way = 0; way < 2; way++) {
        struct noise *from = way ? &x.client : &x.server, *to = way ? &x.server : &x.client;
        uint64_t put = 0, got = 0, total = 300000;
        static uint8_t pipe[NOISE_RECORD_MAX];
        size_t at = 0, end = 0;
        while (got < total) {
            size_t n = (size_t)rng_below(&r, sizeof buf) + 1;
            n = n < total - put ? n : (size_t)(total - put);
            pattern_fill(buf, n, 7, put);
            put += (uint64_t)assert_ok(gsi_noise_put(from, buf, n));
            if (at == end) {
                at = 0;
                end = gsi_noise_output(from, pipe, (size_t)rng_below(&r, sizeof pipe) + 1);
            }
            at += (size_t)assert_ok(gsi_noise_feed(to, pipe + at, (size_t)rng_below(&r, end - at + 1)));
            n = gsi_noise_take(to, buf, (size_t)rng_below(&r, sizeof buf));
            assert_int_equal(pattern_check(buf, n, 7, got), n);
            got += n;
        }
        assert_int_equal(got, total);
    }
}

/* ---- the early payload ---- */

static ssize_t feed_early(struct early *e, const uint8_t *in, size_t n, size_t cut)
{
    memset(e, 0, sizeof *e);
    ssize_t a = gsi_early_feed(e, in, cut), b = a < 0 || (size_t)a < cut ? 0 : gsi_early_feed(e, in + cut, n - cut);
    return a < 0 ? a : b < 0 ? b : a + b;
}

static void an_early_payload_is_told_from_http2_at_every_cut(void **state)
{
    (void)state;
    static struct early e;
    static const uint8_t with[] = "\xff\xff\xffTS\0\0\0\2{}SETTINGS", empty[] = "\xff\xff\xffTS\0\0\0\0x",
        without[] = "\0\0\x24\4\0\0\0\0\0rest";
    for (size_t cut = 0; cut < sizeof with; cut++) {
        assert_int_equal(feed_early(&e, with, sizeof with, cut), 11);
        assert_true(e.decided && e.present && e.n == 11 && memcmp(e.bytes + EARLY_HEAD_LEN, "{}", 2) == 0);
    }
    for (size_t cut = 0; cut < sizeof empty; cut++) {
        assert_int_equal(feed_early(&e, empty, sizeof empty, cut), 9);
        assert_true(e.decided && e.present && e.n == 9);
    }
    for (size_t cut = 0; cut < sizeof without; cut++) {
        assert_int_equal(feed_early(&e, without, sizeof without, cut), 9);
        assert_true(e.decided && !e.present && e.n == 9 && memcmp(e.bytes, without, 9) == 0);
    }
    for (size_t n = 0; n < 11; n++) {
        assert_int_equal(feed_early(&e, with, n, n), n);
        assert_false(e.decided);
    }
}

static void an_early_payload_is_at_most_4096_bytes(void **state)
{
    (void)state;
    static struct early e;
    static const uint32_t lens[] = {4096, 4097, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        static uint8_t in[EARLY_HEAD_LEN + 5000] = "\xff\xff\xffTS";
        for (int b = 0; b < 4; b++)
            in[5 + b] = (uint8_t)(lens[i] >> (24 - 8 * b));
        assert_int_equal(feed_early(&e, in, sizeof in, 0), lens[i] == 4096 ? 9 + 4096 : GS_EINVALID);
        if (lens[i] > 4096)
            assert_int_equal(gsi_early_feed(&e, in, 1), GS_EINVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_and_records_are_those_of_the_vectors),
        cmocka_unit_test(open_ends_keep_no_handshake_secret),
        cmocka_unit_test(each_flipped_bit_of_the_initiation_is_refused),
        cmocka_unit_test(each_flipped_bit_of_the_response_is_refused),
        cmocka_unit_test(other_keys_and_versions_do_not_open),
        cmocka_unit_test(keys_of_small_order_are_refused),
        cmocka_unit_test(a_cut_handshake_waits_and_a_split_one_goes_on),
        cmocka_unit_test(only_the_due_message_passes_in_each_state),
        cmocka_unit_test(a_refusal_is_told_in_the_servers_words),
        cmocka_unit_test(each_flipped_bit_of_a_record_is_refused),
        cmocka_unit_test(records_repeated_swapped_or_left_out_are_refused),
        cmocka_unit_test(an_empty_record_is_legal_and_nothing),
        cmocka_unit_test(the_last_nonce_is_not_used),
        cmocka_unit_test(the_largest_record_holds_4077_bytes),
        cmocka_unit_test(any_cutting_carries_the_stream_both_ways),
        cmocka_unit_test(an_early_payload_is_told_from_http2_at_every_cut),
        cmocka_unit_test(an_early_payload_is_at_most_4096_bytes),
    };
    return cmocka_run_group_tests_name("tailnet noise", tests, set_up, tear_down);
}
